"""paper/claims.yaml: its form, its faults, and that every claim can come out each way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from verdicts_made import claims_of, document, evidence, inside, numbers_for, outside

from zfnet.errors import UserError
from zfnet.paper import parse
from zfnet.pipeline.studies import STUDIES, TRAINING_QUANTITIES, quantity_of
from zfnet.verdicts import verdict
from zfnet.verdicts.claims import Claims, read_claims
from zfnet.verdicts.rules import PARAMETERS
from zfnet.verdicts.verdict import judge_claim

ROOT = Path(__file__).resolve().parents[2]
WHOLE = read_claims(ROOT)
CLAIMS = WHOLE.claims


# ------------------------------------------------------------------------------- the real file
def test_every_kind_of_rule_is_used() -> None:
    assert {claim.rule.kind for claim in CLAIMS.values()} == set(PARAMETERS)


@pytest.mark.parametrize("name", CLAIMS)
def test_the_papers_own_number_satisfies_its_claim(name: str) -> None:
    claim = CLAIMS[name]
    low, high = claim.rule.region
    if claim.paper.value is not None and claim.rule.kind != "order":
        assert low < claim.paper.value < high
    if claim.rule.kind == "absolute":
        assert claim.paper.value == claim.rule.value
    assert WHOLE.needs(claim)
    assert WHOLE.tests[claim.test].error <= 0.05


@pytest.mark.parametrize("name", CLAIMS)
def test_targets_count_on_their_own_kind_of_images(name: str) -> None:
    """The real file, since its YAML and a test's dictionaries need not read alike."""
    if len(CLAIMS[name].groups) > 1:
        for on, numbers in CLAIMS[name].groups:
            unseen = numbers[0].keys[0].startswith("unseen")
            assert on == ("rendered" if unseen else "photographs")


# ------------------------------------------------------------------------------- every way out
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_can_come_out_each_way_on_photographs(name: str) -> None:
    claim = CLAIMS[name]
    within, beyond = inside(claim), outside(claim)

    def word(value: float, half: float, **changes: Any) -> str:
        numbers = numbers_for(WHOLE, claim, value, half, "photographs")
        return judge_claim(name, WHOLE, evidence(numbers, **changes)).word

    assert word(within, 1e-3) == verdict.REPRODUCED
    assert word(beyond, 1e-3) == verdict.CONTRADICTED
    assert word(within, 1e3) == word(beyond, 1e3) == verdict.UNDECIDED
    assert word(within, 1e-3, classes=5) == word(beyond, 1e-3, classes=5) == verdict.OUT_OF_SCALE
    assert judge_claim(name, WHOLE, evidence({})).word == verdict.NOT_MEASURED


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_can_come_out_each_way_on_rendered_images(name: str) -> None:
    claim = CLAIMS[name]
    words = []
    for value, half in ((inside(claim), 1e-3), (outside(claim), 1e-3), (inside(claim), 1e3)):
        numbers = numbers_for(WHOLE, claim, value, half, "rendered")
        words.append(judge_claim(name, WHOLE, evidence(numbers, "synthetic", classes=12)).word)
    every = [verdict.HOLDS, verdict.FAILS, verdict.UNDECIDED]
    assert words == ([verdict.OUT_OF_SCALE] * 3 if claim.rule.kind == "absolute" else every)


# ------------------------------------------------------------------------ the numbers there are
def test_a_number_that_nothing_writes_is_not_known() -> None:
    assert quantity_of("features", "purity_slope")
    assert quantity_of("train_zfnet_wide", "val_top1_error")
    for source, key in (
        ("features", "purity_slop"), ("features", "xpurity_slope"), ("nonsense", "purity_slope"),
        ("train_", "val_top1_error"), ("train_zfnet", "purity_slope"),
    ):  # fmt: skip
        assert quantity_of(source, key) is None


def test_each_number_of_the_committed_run_is_declared() -> None:
    for file in (ROOT / "metrics").glob("*.json"):
        if file.stem in STUDIES:
            for key in json.loads(file.read_text(encoding="utf-8")):
                assert quantity_of(file.stem, key), f"{file.stem}: {key}"


def test_the_keys_on_cards_are_numbers_that_studies_write() -> None:
    for name, study in STUDIES.items():
        assert all(quantity_of(name, key) for key in study.headline), name


def test_no_headline_is_a_name_that_dvc_takes_for_a_failure() -> None:
    """DVC's metrics commands report every key `error` as a file that could not be read."""
    every = [*TRAINING_QUANTITIES, *(q for study in STUDIES.values() for q in study.quantities)]
    names = [quantity.headline for quantity in every if quantity.headline]
    assert all(name.count(".") == 1 and "error" not in name.split(".") for name in names)


# ------------------------------------------------------------------------------------ the form
def test_over_fills_names_and_spreads_lists() -> None:
    claim = claims_of(
        wins={
            "over": [
                {"target": "caltech101", "n": [15, 30], "images": "photographs"},
                {"target": "unseen", "n": [5], "images": "rendered"},
            ],
            "measured": [{"study": "transfer", "key": "{target}_pretrained_minus_scratch_{n}"}],
        }
    ).claims["wins"]
    assert [(on, [number.keys[0] for number in numbers]) for on, numbers in claim.groups] == [
        ("photographs", [f"caltech101_pretrained_minus_scratch_{n}" for n in (15, 30)]),
        ("rendered", ["unseen_pretrained_minus_scratch_5"]),
    ]


def test_needs_are_those_of_the_scale_and_the_claims_own() -> None:
    whole = claims_of(it={"needs": {"input_px": {"most": 0.75, "why": "so"}}})
    told = [need.text(name) for name, need in whole.needs(whole.claims["it"])]
    assert told == ["classes ≥ 10", "input px ≤ 0.75"]
    large = claims_of(it={"scale": "imagenet"})
    assert [need.text(name) for name, need in large.needs(large.claims["it"])] == [
        "classes ≥ 1,000"
    ]


TREND = {"kind": "trend", "sign": "positive", "why": "so"}
PURITY = {"study": "features", "key": "purity_slope"}


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"claim": ""}, "claims.it.claim"),
        ({"place": 3}, "claims.it.place=3"),
        ({"colour": "red"}, "claims.it.colour"),
        ({"scale": "galaxy"}, "claims.it.scale=galaxy: choose from photos, imagenet"),
        ({"test": "guess"}, "claims.it.test=guess: choose from bootstrap"),
        ({"committed": "yesterday"}, "claims.it.committed=yesterday"),
        ({"nets": ["zfnett"]}, "nets=zfnett: choose from"),
        ({"measured": []}, "claims.it.measured"),
        (
            {"measured": [{"study": "features", "key": "purity"}]},
            "features writes no number purity",
        ),
        ({"measured": [{"study": "nothing", "key": "purity"}]}, "nothing writes no number"),
        ({"measured": [{"study": "train_zf", "key": "val_top1_error"}]}, "train_zf writes no"),
        ({"measured": [{"study": "transfer", "key": "mars_scratch_5"}]}, "writes no number mars"),
        ({"measured": [{**PURITY, "minus": {"study": "features", "key": "x"}}]}, "no number x"),
        ({"measured": [{**PURITY, "plus": 1}]}, "claims.it.measured[0].plus"),
        ({"measured": [{"study": "features", "key": "layer{k}_purity"}]}, "over has no 'k'"),
        ({"measured": [{**PURITY, "less": "2"}]}, "measured[0].less=2: must be a number"),
        ({"measured": [{**PURITY, "key": 3}]}, "claims.it.measured[0].key"),
        ({"over": {"a": 1}}, "claims.it.over"),
        ({"over": [{"images": "moon"}]}, "images=moon: choose from photographs, rendered"),
        ({"over": [{True: "rendered"}]}, "no key of measured has {true}"),
        ({"over": [{"layer": 1}]}, "no key of measured has {layer}"),
        ({"rule": {"kind": "magic", "why": "so"}}, "claims.it.rule.kind=magic"),
        ({"rule": {**TREND, "sign": "up"}}, "claims.it.rule.sign=up"),
        ({"rule": {**TREND, "margin": -1}}, "claims.it.rule.margin=-1: must be at least 0"),
        (
            {"rule": {**TREND, "margin": float("nan")}},
            "rule.margin=NaN: must be a finite",
        ),
        ({"rule": {**TREND, "margin": True}}, "claims.it.rule.margin=true: must be a number"),
        ({"rule": {**TREND, "bound": 2}}, "claims.it.rule.bound"),
        ({"rule": {**TREND, "low": 2.0}}, "claims.it.rule: kind trend asks for {'sign'}"),
        ({"rule": {"kind": "trend", "sign": "positive"}}, "claims.it.rule.why is missing"),
        ({"rule": {"kind": "equivalence", "margin": 0, "why": "so"}}, "nothing lies between"),
        ({"rule": {"kind": "equivalence", "why": "so"}}, "asks for {'margin'}"),
        ({"rule": {"kind": "between", "low": 3, "high": 3, "why": "so"}}, "nothing lies between"),
        ({"rule": {"kind": "ratio", "why": "so"}}, "asks for {'above'}"),
        (
            {"rule": {"kind": "absolute", "value": 1, "tolerance": -1, "why": "so"}},
            "nothing lies between",
        ),
        (
            {"rule": {"kind": "absolute", "value": 1, "tolerance": 1, "why": "so"}},
            "scale=photos: figures are compared at imagenet only",
        ),
        ({"rule": {"kind": "order", "way": "rising", "why": "so"}}, "at least two numbers"),
        ({"paper": {"value": 3}}, "claims.it.paper.text is missing"),
        ({"paper": {"text": "a", "value": "3"}}, "claims.it.paper.value=3"),
        ({"needs": {"luck": {"least": 1, "why": "so"}}}, "luck: choose one of classes"),
        ({"needs": {"classes": {"why": "so"}}}, "claims.it.needs.classes: give least or most"),
        ({"needs": {"classes": {"least": 1, "most": 2, "why": "so"}}}, "give least or most"),
        ({"needs": {"classes": {"least": 1}}}, "claims.it.needs.classes.why is missing"),
        (
            {"needs": {"share": {"study": "features", "key": "nil", "most": 1, "why": "so"}}},
            "features writes no number nil",
        ),
        ({"edits": None}, "claims.it.edits"),
        ({"edits": [{"date": "now", "reason": "so"}]}, "claims.it.edits[0].date=now"),
    ],
)
def test_a_fault_is_named_with_file_and_key(changed: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(document(it=changed), Claims, "claims.yaml")
    assert key in str(caught.value)
    assert str(caught.value).startswith("claims.yaml: ")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("format", 2, "format=2"),
        ("claims", {}, "claims={}"),
        ("claims", {"Bad name": {"place": "x"}}, "claims.Bad name"),
        ("committed", None, "committed=null"),
        ("scales", {"photos": {"luck": {"least": 1, "why": "so"}}}, "luck: choose one of classes"),
        ("tests", {"bootstrap": {"text": "x", "error": 5}}, "tests.bootstrap.error=5"),
        ("seen", [{"experiment": "a", "seeds": [0], "studies": ["x"]}], "studies=x: choose from"),
        ("seen", [{"experiment": "a", "seeds": 0, "studies": ["features"]}], "seen[0].seeds=0"),
        ("more", 1, "more"),
    ],
)
def test_a_fault_of_the_whole_file_is_named(key: str, value: object, told: str) -> None:
    with pytest.raises(UserError, match=r"claims\.yaml") as caught:
        parse({**document(), key: value}, Claims, "claims.yaml")
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "format: [", "3", "2026-01-01: 3"])
def test_no_mapping(tmp_path: Path, text: str) -> None:
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "claims.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"claims\.yaml"):
        read_claims(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fetch it from git"):
        read_claims(tmp_path)
