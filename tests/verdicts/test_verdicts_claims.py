"""paper/claims.yaml: its form, its faults, and that every claim can come out each way."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from verdicts_made import claims_of, document, evidence

from zfnet.errors import UserError
from zfnet.paper import parse
from zfnet.pipeline.studies import STUDIES, TRAINING_QUANTITIES, quantity_of
from zfnet.stats.estimate import Estimate
from zfnet.verdicts import verdict
from zfnet.verdicts.claims import Claim, Claims, Number, read_claims
from zfnet.verdicts.rules import PARAMETERS
from zfnet.verdicts.verdict import judge_claim

ROOT = Path(__file__).resolve().parents[2]
WHOLE = read_claims(ROOT)
CLAIMS = WHOLE.claims


def test_every_kind_of_rule_is_used() -> None:
    assert {claim.rule.kind for claim in CLAIMS.values()} == set(PARAMETERS)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_of_the_paper_is_true_of_the_papers_own_number(name: str) -> None:
    claim = CLAIMS[name]
    low, high = claim.rule.region
    if claim.paper.value is not None and claim.rule.kind != "order":
        assert low < claim.paper.value < high
    if claim.rule.kind == "absolute":
        assert claim.paper.value == claim.rule.value
    assert WHOLE.needs(claim)
    assert WHOLE.tests[claim.test].error <= 0.05
    if len(claim.groups) > 1:  # read from YAML, where a bare `on` would be a boolean
        for on, numbers in claim.groups:
            unseen = numbers[0].keys[0].startswith("unseen")
            assert on == ("rendered" if unseen else "photographs")


# ------------------------------------------------------------------------------- every way out
def numbers_for(claim: Claim, value: float, half: float, on: str) -> dict[str, dict[str, Estimate]]:
    """Numbers of a claim that all measure `value` (its steps, of an order), ± `half`."""
    found: dict[str, dict[str, Estimate]] = {}

    def put(number: Number, at: float, wide: float) -> None:
        if number.minus:  # takes nothing off beyond its own constant
            put(number.minus, 0.0, 1e-9)
        at += number.less
        for key in number.keys:
            found.setdefault(number.study, {})[key] = Estimate(at, at - wide, at + wide, 1000)

    for place, numbers in claim.groups:
        if place in ("", on):
            for k, number in enumerate(numbers):
                put(number, 10 + (k + 1) * value if claim.rule.kind == "order" else value, half)
    for _, need in WHOLE.needs(claim):
        if need.study and need.key:
            enough = need.least if need.least is not None else need.most
            found.setdefault(need.study, {})[need.key] = Estimate(enough or 0.0)
    return found


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_can_come_out_each_way(name: str) -> None:
    claim = CLAIMS[name]
    low, high = claim.rule.region
    inside = (low + high) / 2
    if math.isinf(inside):
        inside = low + 1 if math.isinf(high) else high - 1
    outside = high + 1 if math.isfinite(high) else low - 1

    def word(value: float, half: float, on: str = "photographs", **changes: Any) -> str:
        source = "imagenette" if on == "photographs" else "synthetic"
        numbers = numbers_for(claim, value, half, on)
        return judge_claim(name, WHOLE, evidence(numbers, source, **changes)).word

    ways = ((inside, 1e-3), (outside, 1e-3), (inside, 1e3))
    words = [word(*way) for way in ways]
    assert words == [verdict.REPRODUCED, verdict.CONTRADICTED, verdict.UNDECIDED]
    assert {word(*way, classes=5) for way in ways} == {verdict.OUT_OF_SCALE}
    assert judge_claim(name, WHOLE, evidence({})).word == verdict.NOT_MEASURED
    drawn = [word(*way, "rendered", classes=12) for way in ways]
    every = [verdict.HOLDS, verdict.FAILS, verdict.UNDECIDED]
    assert drawn == ([verdict.OUT_OF_SCALE] * 3 if claim.rule.kind == "absolute" else every)


# ------------------------------------------------------------------------ the numbers there are
def test_each_number_of_the_committed_run_is_declared_and_others_are_not() -> None:
    for file in (ROOT / "metrics").glob("*.json"):
        if file.stem in STUDIES:
            for key in json.loads(file.read_text(encoding="utf-8")):
                assert quantity_of(file.stem, key), f"{file.stem}: {key}"
    assert quantity_of("train_zfnet_wide", "val_top1_error")
    for source, key in (
        ("features", "purity_slop"), ("features", "xpurity_slope"), ("nonsense", "purity_slope"),
        ("train_", "val_top1_error"), ("train_zfnet", "purity_slope"),
    ):  # fmt: skip
        assert quantity_of(source, key) is None


def test_headlines_are_numbers_that_are_written_and_no_failure_to_dvc() -> None:
    """DVC's metrics commands report every key `error` as a file that could not be read."""
    for name, study in STUDIES.items():
        assert all(quantity_of(name, key) for key in study.headline), name
    every = [*TRAINING_QUANTITIES, *(q for study in STUDIES.values() for q in study.quantities)]
    names = [quantity.headline for quantity in every if quantity.headline]
    assert all(name.count(".") == 1 and "error" not in name.split(".") for name in names)


# ------------------------------------------------------------------------------------ the form
def test_over_fills_names_and_spreads_lists() -> None:
    over = [
        {"target": "caltech101", "n": [15, 30], "images": "photographs"},
        {"target": "unseen", "n": [5], "images": "rendered"},
    ]
    key = "{target}_pretrained_minus_scratch_{n}"
    claims = claims_of(wins={"over": over, "measured": [{"study": "transfer", "key": key}]})
    groups = claims.claims["wins"].groups
    assert [(on, [number.keys[0] for number in numbers]) for on, numbers in groups] == [
        ("photographs", [f"caltech101_pretrained_minus_scratch_{n}" for n in (15, 30)]),
        ("rendered", ["unseen_pretrained_minus_scratch_5"]),
    ]


def test_needs_are_those_of_the_scale_and_the_claims_own() -> None:
    whole = claims_of(it={"scale": "imagenet", "needs": {"input_px": {"most": 0.75, "why": "so"}}})
    asked = [need.text(name) for name, need in whole.needs(whole.claims["it"])]
    assert asked == ["classes ≥ 1,000", "input px ≤ 0.75"]


TREND = {"kind": "trend", "sign": "positive", "why": "so"}
PURITY = {"study": "features", "key": "purity_slope"}
NIL = {"study": "features", "key": "nil", "most": 1, "why": "so"}
FIGURE = {"kind": "absolute", "value": 1, "tolerance": 1, "why": "so"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"colour": "red"}, "claims.it.colour"),
        ({"scale": "galaxy"}, "claims.it.scale=galaxy: choose from photos, imagenet"),
        ({"test": "guess"}, "claims.it.test=guess: choose from bootstrap"),
        ({"nets": ["zfnett"]}, "nets=zfnett: choose from"),
        ({"measured": []}, "claims.it.measured"),
        ({"measured": [{"study": "features", "key": "purity"}]}, "features writes no number"),
        ({"measured": [{"study": "nothing", "key": "purity"}]}, "nothing writes no number"),
        ({"measured": [{"study": "train_zf", "key": "val_top1_error"}]}, "train_zf writes no"),
        ({"measured": [{"study": "transfer", "key": "mars_scratch_5"}]}, "writes no number mars"),
        ({"measured": [{**PURITY, "minus": {"study": "features", "key": "x"}}]}, "no number x"),
        ({"measured": [{"study": "features", "key": "layer{k}_purity"}]}, "over has no 'k'"),
        ({"over": [{"images": "moon"}]}, "images=moon: choose from photographs, rendered"),
        ({"over": [{True: "rendered"}]}, "no key of measured has {true}"),
        ({"over": [{"layer": 1}]}, "no key of measured has {layer}"),
        ({"rule": {**TREND, "margin": -1}}, "claims.it.rule.margin=-1: must be at least 0"),
        ({"rule": {**TREND, "margin": True}}, "claims.it.rule.margin=true: must be a number"),
        ({"rule": {**TREND, "low": 2.0}}, "claims.it.rule: kind trend asks for {'sign'}"),
        ({"rule": {"kind": "equivalence", "why": "so"}}, "asks for {'margin'}"),
        ({"rule": {"kind": "between", "low": 3, "high": 3, "why": "so"}}, "nothing lies between"),
        ({"rule": {**FIGURE, "tolerance": -1}}, "nothing lies between"),
        ({"rule": FIGURE}, "scale=photos: figures are compared at imagenet only"),
        ({"rule": {"kind": "order", "way": "rising", "why": "so"}}, "at least two numbers"),
        ({"needs": {"luck": {"least": 1, "why": "so"}}}, "luck: choose one of classes"),
        ({"needs": {"classes": {"why": "so"}}}, "claims.it.needs.classes: give least or most"),
        ({"needs": {"classes": {"least": 1, "most": 2, "why": "so"}}}, "give least or most"),
        ({"needs": {"share": NIL}}, "features writes no number nil"),
    ],
)
def test_a_fault_is_named_with_file_and_key(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=r"^claims\.yaml: ") as caught:
        parse(document(it=changed), Claims, "claims.yaml")
    assert message in str(caught.value)


def test_a_fault_of_the_whole_file_is_named() -> None:
    needs = {"photos": {"luck": {"least": 1, "why": "so"}}}
    for changed, message in (
        ({"claims": {}}, "claims={}"),
        ({"claims": {"Bad name": {"place": "x"}}}, "claims.Bad name"),
        ({"scales": needs}, "luck: choose one of classes"),
        ({"seen": [{"experiment": "a", "seeds": [0], "studies": ["x"]}]}, "studies=x: choose from"),
    ):
        with pytest.raises(UserError, match=rf"^claims\.yaml: .*{message}"):
            parse({**document(), **changed}, Claims, "claims.yaml")


def test_a_missing_file_and_one_without_claims_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fetch it from git"):
        read_claims(tmp_path)
    (tmp_path / "paper").mkdir()
    for text in ("", "[1, 2]", "format: [", "2026-01-01: 3"):
        (tmp_path / "paper" / "claims.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"claims\.yaml"):
            read_claims(tmp_path)
