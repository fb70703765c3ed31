"""Verdicts of whole constructed runs: words, needs, correction, what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from verdicts_made import claims_of, evidence, judged, net

from zfnet.stats.estimate import AT_CHANCE, IMAGES, TRAININGS, Estimate
from zfnet.verdicts import rules
from zfnet.verdicts.claims import read_claims
from zfnet.verdicts.judge import document, judge_all
from zfnet.verdicts.verdict import Verdict

SLOPE = {"features": {"purity_slope": Estimate(0.1, 0.08, 0.12, 342)}}
BOTH = (IMAGES, TRAININGS)


def only(numbers: Any, source: str = "imagenette", claim: Any = None, **changes: Any) -> Verdict:
    return judged({"it": claim or {}}, numbers, source, **changes).verdicts[0]


def told(numbers: Any, source: str = "imagenette", claim: Any = None, **changes: Any) -> Any:
    """What results/claims.json says of the one claim."""
    return document(judged({"it": claim or {}}, numbers, source, **changes))["claims"]["it"]


# --------------------------------------------------------------------------------------- words
@pytest.mark.parametrize(
    ("value", "photographs", "rendered"),
    [
        (0.1, "reproduced", "holds here"),
        (-0.1, "contradicted", "fails here"),
        (0.01, "undecided", "undecided"),
    ],
)
def test_words_by_what_the_images_are(value: float, photographs: str, rendered: str) -> None:
    numbers = {"features": {"purity_slope": Estimate(value, value - 0.02, value + 0.02, 342)}}
    for source in ("imagenette", "folder"):
        assert only(numbers, source).word == photographs
    for source in ("synthetic", "unseen"):
        assert only(numbers, source).word == rendered


def test_below_its_needs_a_photo_run_is_not_judged_and_a_rendered_one_is() -> None:
    small = told(SLOPE, classes=9)
    assert (small["verdict"], small["p_holm"]) == ("out of scale", None)
    assert small["unmet"] == ["classes ≥ 10 (here 9)"]
    assert "classes ≥ 10 (here 9)" in small["reason"]
    assert only(SLOPE, classes=10).word == "reproduced"
    assert only(SLOPE, classes=None).unmet == ["classes ≥ 10 (here not known)"]
    rendered = only(SLOPE, "synthetic", classes=9)
    assert (rendered.word, rendered.unmet) == ("holds here", ["classes ≥ 10 (here 9)"])


def test_a_need_of_a_studys_number() -> None:
    need = {"study": "features", "key": "layer5_field_share", "what": "field over side",
            "most": 0.75, "why": "so"}  # fmt: skip
    claim = {"needs": {"field_share": need}}
    narrow = {**SLOPE["features"], "layer5_field_share": Estimate(0.62)}
    wide = {**SLOPE["features"], "layer5_field_share": Estimate(1.09)}
    assert only({"features": narrow}, claim=claim).word == "reproduced"
    assert only({"features": wide}, claim=claim).word == "out of scale"
    assert only({"features": wide}, claim=claim).unmet == ["field over side ≤ 0.75 (here 1.09)"]
    assert only(SLOPE, claim=claim).word == "out of scale"
    assert only({"features": wide}, "synthetic", claim=claim).word == "holds here"


def test_a_figure_is_compared_at_its_scale_only() -> None:
    figure = {
        "rule": {"kind": "absolute", "value": 0.1, "tolerance": 0.05, "why": "so"},
        "scale": "imagenet",
    }
    assert only(SLOPE, claim=figure).word == "reproduced"
    assert only(SLOPE, claim=figure, classes=10).word == "out of scale"
    assert only(SLOPE, "synthetic", claim=figure, classes=12).word == "out of scale"


def test_needs_of_nets_are_those_of_the_least() -> None:
    claim = {"nets": ["zfnet", "alexnet"], "needs": {"epochs": {"least": 20, "why": "so"}}}
    nets = {"zfnet": net(), "alexnet": net(epochs=10)}
    assert only(SLOPE, claim=claim, nets=nets).unmet == ["epochs ≥ 20 (here 10)"]
    assert only(SLOPE, claim={**claim, "nets": ["zfnet"]}, nets=nets).word == "reproduced"
    unknown = {**nets, "alexnet": net(epochs=None)}
    assert only(SLOPE, claim=claim, nets=unknown).unmet == ["epochs ≥ 20 (here not known)"]
    absent = {"zfnet": net()}
    assert only(SLOPE, claim=claim, nets=absent).unmet == ["epochs ≥ 20 (here not known)"]


def test_trainings_can_be_needed() -> None:
    claim = {"needs": {"trainings": {"least": 3, "why": "so"}}}
    thrice = Estimate(0.1, 0.099, 0.101, 600, df=2, trainings=3, covers=BOTH)
    assert only({"features": {"purity_slope": thrice}}, claim=claim).word == "reproduced"
    assert only(SLOPE, claim=claim).unmet == ["trainings ≥ 3 (here 1)"]


def test_adopted_weights_leave_the_needs_unknown() -> None:
    nets = {"zfnet": net("adopted", None)}
    assert only(SLOPE, nets=nets).word == "out of scale"
    found = told(SLOPE, nets=nets, claim={"nets": ["zfnet"]})
    assert (found["verdict"], "was adopted" in found["reason"]) == ("not measured", True)


# ------------------------------------------------------------------------------------- missing
@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ({}, "features has not run here."),
        ({"features": {}}, "features has no numbers in this run."),
        (
            {"features": {"spread_difference": Estimate(1, 0, 2, 9)}},
            "features has no purity_slope in this run.",
        ),
        (
            {"features": {"purity_slope": Estimate(float("nan"), note="one layer only")}},
            "features could not give purity_slope: one layer only.",
        ),
        (
            {"features": {"purity_slope": Estimate(1, 0.9, 1.1, 9, invalid="still learning")}},
            "features has purity_slope, no evidence: still learning.",
        ),
    ],
)
def test_what_is_not_measured_says_why(numbers: Any, reason: str) -> None:
    found = told(numbers)
    assert (found["verdict"], found["reason"]) == ("not measured", reason)
    json.dumps(found, allow_nan=False)


def test_one_image_decides_nothing() -> None:
    single = told({"features": {"purity_slope": Estimate(0.3, n=1)}})
    assert (single["verdict"], single["more"], single["p"]) == ("undecided", "", 1.0)


EITHER = {"study": "ablation", "key": ["cost_removing_3_4_6_7", "cost_removing_3_4_6_7_slow"]}
LOST = Estimate(87, 85, 89, 600, "points", invalid=AT_CHANCE)
KEPT = Estimate(20, 18, 22, 600, "points")


def test_a_net_at_chance_is_no_evidence_and_another_stands_in() -> None:
    both = {"measured": [EITHER]}
    assert only({"ablation": {"cost_removing_3_4_6_7": LOST}}, claim=both).word == "not measured"
    numbers = {"cost_removing_3_4_6_7": LOST, "cost_removing_3_4_6_7_slow": KEPT}
    found = only({"ablation": numbers}, claim=both)
    assert found.word == "reproduced"
    assert [part.key for part in found.parts] == ["cost_removing_3_4_6_7_slow"]
    assert (
        "cost_removing_3_4_6_7 of a net that ended"
        in told({"ablation": numbers}, claim=both)["missing"]
    )
    # as in paper/claims.yaml: the slower one also on its own; it counts once, and is tested once
    own = {"study": "ablation", "key": "cost_removing_3_4_6_7_slow"}
    twice = only({"ablation": numbers}, claim={"measured": [EITHER, own]})
    assert twice.outcome
    assert found.outcome
    assert (len(twice.outcome.checks), twice.outcome.p) == (1, found.outcome.p)


def test_a_main_net_at_chance_keeps_every_claim_from_being_judged() -> None:
    nets = {"zfnet": net(AT_CHANCE)}
    assert only(SLOPE, nets=nets).word == "not measured"
    assert only(SLOPE, nets=nets, claim={"nets": ["zfnet"]}).word == "not measured"
    other = {"zfnet": net(), "alexnet": net(AT_CHANCE)}
    assert only(SLOPE, nets=other, claim={"nets": ["zfnet", "alexnet"]}).word == "not measured"
    assert only(SLOPE, nets=other).word == "reproduced"


TWO = {
    "over": [{"layer": [1, 2]}],
    "measured": [{"study": "features", "key": "layer{layer}_purity"}],
}


def two(first: Estimate, second: Estimate | None = None) -> dict[str, dict[str, Estimate]]:
    return {"features": {"layer1_purity": first, **({"layer2_purity": second} if second else {})}}


def test_a_missing_number_keeps_a_claim_from_being_true_but_not_from_being_false() -> None:
    good, bad = Estimate(1, 0.9, 1.1, 9), Estimate(-1, -1.1, -0.9, 9)
    first = told(two(good), claim=TWO)
    assert (first["verdict"], first["alone"], first["more"]) == ("undecided", "undecided", "")
    assert first["missing"] == "features has no layer2_purity in this run"
    assert only(two(bad), claim=TWO).word == "contradicted"
    assert only(two(good, good), claim=TWO).word == "reproduced"
    assert told(two(good, good), claim=TWO)["missing"] == ""


WINS = {
    "over": [{"target": "caltech101", "n": [15, 30]}, {"target": "caltech256", "n": [15, 30, 60]}],
    "measured": [{"study": "transfer", "key": "{target}_pretrained_minus_scratch_{n}"}],
}


def wins(**numbers: Estimate) -> Verdict:
    """A verdict on two sets, numbers by set and size."""
    named = {
        f"{name.rpartition('_')[0]}_pretrained_minus_scratch_{name.rpartition('_')[2]}": value
        for name, value in numbers.items()
    }
    return only({"transfer": named}, claim=WINS)


def test_a_number_at_chance_keeps_the_others_from_deciding() -> None:
    good, bad = Estimate(40, 36, 44, 600, "points"), Estimate(-40, -44, -36, 600, "points")
    stuck = Estimate(60, 56, 64, 600, "points", invalid=AT_CHANCE)
    every = {"caltech256_15": good, "caltech256_30": good, "caltech256_60": good}
    assert wins(**every).word == "reproduced"  # a whole set that was not run hinders nothing
    held = wins(**{**every, "caltech256_15": stuck, "caltech256_60": stuck})
    assert held.word == "undecided"
    assert held.outcome
    assert (held.outcome.lost, held.outcome.tests) == (2, 3)
    assert wins(**every, caltech101_15=stuck, caltech101_30=stuck).word == "undecided"
    against = wins(**{**every, "caltech256_15": stuck, "caltech256_30": bad})
    assert against.word == "contradicted"
    only_stuck = wins(caltech256_15=stuck, caltech256_30=stuck, caltech256_60=stuck)
    assert only_stuck.word == "not measured"


def test_an_order_with_a_gap_has_no_step_over_it() -> None:
    claim = {
        "over": [{"layer": [1, 2, 3, 4]}],
        "measured": [{"study": "features", "key": "layer{layer}_purity"}],
        "rule": {"kind": "order", "way": "rising", "why": "so"},
    }

    def of(**values: float) -> Verdict:
        numbers = {f"{k}_purity": Estimate(v, v - 0.1, v + 0.1, 900) for k, v in values.items()}
        return only({"features": numbers}, claim=claim)

    whole = of(layer1=1, layer2=2, layer3=3, layer4=4)
    assert whole.word == "reproduced"
    assert whole.outcome
    assert whole.outcome.checks[0].name == "layer2_purity − layer1_purity"
    assert of(layer1=1, layer2=2, layer4=1.5).word == "undecided"
    back = of(layer1=2, layer2=1, layer4=4)
    assert back.outcome
    assert (back.word, len(back.outcome.checks)) == ("contradicted", 1)
    assert of(layer1=1, layer3=3).word == "not measured"


def test_a_list_of_keys_takes_the_first_that_is_there() -> None:
    claim = {"measured": [{"study": "features", "key": ["purity_slope_within", "purity_slope"]}]}
    assert [part.key for part in only(SLOPE, claim=claim).parts] == ["purity_slope"]
    within = {**SLOPE["features"], "purity_slope_within": Estimate(-1, -1.1, -0.9, 342)}
    found = only({"features": within}, claim=claim)
    assert ([part.key for part in found.parts], found.word) == (
        ["purity_slope_within"], "contradicted",
    )  # fmt: skip


def test_the_mean_over_seeds_goes_before_the_first_seed() -> None:
    claim = {
        "measured": [{"study": "train_zfnet", "key": "val_top1_error"}],
        "rule": {"kind": "ratio", "above": 15, "why": "so"},
    }
    numbers = {"val_top1_error": Estimate(18.0, 17, 19, 600)}
    assert only({"train_zfnet": numbers}, claim=claim).word == "reproduced"
    over = Estimate(12.0, 11, 13, 3, trainings=3, covers=(TRAININGS,))
    numbers["val_top1_error_over_seeds"] = over
    assert only({"train_zfnet": numbers}, claim=claim).word == "contradicted"


def test_numbers_and_constants_are_taken_off() -> None:
    claim = {
        "measured": [
            {"study": "transfer", "key": "caltech101_pretrained_30", "less": 84.3,
             "minus": {"study": "transfer", "key": "voc2012_softmax_map", "less": 82.2}}
        ]
    }  # fmt: skip
    numbers = {
        "caltech101_pretrained_30": Estimate(86.5, 86.1, 86.9, 4000, "%"),
        "voc2012_softmax_map": Estimate(79.0, 78.7, 79.3, 5823, "%"),
    }
    found = told({"transfer": numbers}, claim=claim)
    assert (found["value"], found["low"]) == (pytest.approx(5.4), pytest.approx(4.9))
    assert found["verdict"] == "reproduced"
    del numbers["voc2012_softmax_map"]
    assert only({"transfer": numbers}, claim=claim).word == "not measured"


# ---------------------------------------------------------------------------------- correction
NAMES = ("purity", "support_px", "spread_patches", "maps")
KEYS = [f"layer{k}_{name}" for k in range(1, 6) for name in NAMES]


def several(count: int, barely: int) -> tuple[dict[str, Any], dict[str, dict[str, Estimate]]]:
    """`count` claims on as many numbers, and the numbers, `barely` of them unsure."""
    claims = {key: {"measured": [{"study": "features", "key": key}]} for key in KEYS[:count]}
    sure, unsure = Estimate(1.0, 0.9, 1.1, 1000), Estimate(1.0, 0.05, 1.95, 1000)
    numbers = {key: unsure if i < barely else sure for i, key in enumerate(KEYS[:count])}
    return claims, {"features": numbers}


def test_the_more_claims_the_more_it_takes() -> None:
    assert judged(*several(1, 1)).counts == {"reproduced": 1}
    found = judged(*several(20, 20))
    assert (found.family, found.counts) == (20, {"undecided": 20})
    assert {one.alone for one in found.verdicts} == {"reproduced"}
    entry = document(found)["claims"][KEYS[0]]
    assert "by itself “reproduced”" in entry["reason"]
    assert "times as many maps" in entry["more"]


def test_sure_claims_leave_more_to_the_unsure() -> None:
    found = judged(*several(20, 1))
    assert found.counts == {"reproduced": 20}
    assert found.verdicts[0].p_holm == pytest.approx(0.039, abs=0.001)


def test_each_p_is_held_against_holms_level() -> None:
    levels = [one.level for one in judged(*several(4, 1)).verdicts]
    assert levels[0] == pytest.approx(0.05)  # the largest p of four
    claims, numbers = several(2, 0)
    numbers["features"][KEYS[1]] = Estimate(1.0, 0.5, 1.5, 1000)
    assert [one.level for one in judged(claims, numbers).verdicts] == pytest.approx([0.025, 0.05])


def test_only_what_is_judged_is_counted() -> None:
    claims, numbers = several(20, 20)
    found = judged(claims, {"features": {KEYS[0]: numbers["features"][KEYS[0]]}})
    assert (found.family, found.counts) == (1, {"reproduced": 1, "not measured": 19})
    none = judged(claims, numbers, classes=3)
    assert (none.family, none.counts) == (0, {"out of scale": 20})


def test_how_many_more_would_decide() -> None:
    def more(**estimate: Any) -> str:
        number = Estimate(**{"value": 1.0, "low": -1.0, "high": 3.0, "n": 1000, **estimate})
        return str(told({"features": {"purity_slope": number}})["more"])

    assert more().startswith("About 4 times as many maps would")
    assert more(value=0.0, high=1.0).startswith("Not even 1,000 times as many maps")
    assert "1.9 times as many maps and trainings" in more(df=2, trainings=3, covers=BOTH)
    few = rules.critical(0.05, 2)  # the estimate's standard error is 2 / few, the distance 1

    def decides(factor: float) -> bool:
        return 2 / few * rules.critical(0.05, 2 * factor) / factor**0.5 < 1

    assert not decides(1.8)
    assert decides(1.9)
    assert "times as many trainings would" in more(n=3, trainings=3, covers=(TRAININGS,))


def test_one_of_two_against_takes_more_to_decide_than_one_alone() -> None:
    unsure, good = Estimate(-1, -2, 0, 900), Estimate(1, 0.9, 1.1, 900)
    alone = told({"features": {"purity_slope": unsure}})
    pair = told(two(unsure, good), claim=TWO)
    assert alone["more"].startswith("About 1.1 times")
    assert pair["more"].startswith("About 1.4 times")


SEEDS = Estimate(1, 0.9, 1.1, 3, trainings=3, covers=(TRAININGS,))
CROSSED = Estimate(1, 0.9, 1.1, 9, df=2, trainings=3, covers=BOTH)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (SLOPE["features"]["purity_slope"], None, "one training; covers new maps, not other train"),
        (SEEDS, None, "3 trainings; covers other trainings, not new maps."),
        (CROSSED, None, "3 trainings; covers new maps and other trainings."),
        (Estimate(1, 0.9, 1.1, 9, trainings=3), None, "3 trainings; covers new maps, not other"),
        (SEEDS, Estimate(1, 0.9, 1.1), "covers nothing wholly, not new maps nor other trainings."),
    ],
)
def test_what_the_intervals_cover_is_remarked(
    first: Estimate, second: Estimate | None, words: str
) -> None:
    found = told(two(first, second or first), claim=TWO)
    assert words in found["remark"]


def test_the_fewest_trainings_count_and_give_the_seeds() -> None:
    mixed = told(two(CROSSED, Estimate(1, 0.9, 1.1, 9)), claim=TWO)
    assert (mixed["trainings"], mixed["seeds"]) == (1, [1])
    both = told(two(CROSSED, CROSSED), claim=TWO)
    assert (both["trainings"], both["seeds"]) == (3, [1, 2, 3])


def test_seeds_known_before_the_rules_are_marked() -> None:
    def seen(studies: tuple[str, ...] = ("features",), **run: Any) -> Any:
        known = {"experiment": "made", "seeds": (0, 1), "studies": studies}
        claims = claims_of()
        whole = claims.model_copy(update={"seen": (type(CLAIMS.seen[0]).model_validate(known),)})
        return document(judge_all(whole, evidence(SLOPE, **run)))["claims"]["hierarchy"][
            "seen_seeds"
        ]

    assert seen() == [1]
    assert seen(seed=2) == seen(experiment="other") == seen(("probe",)) == []


CLAIMS = read_claims(Path(__file__).resolve().parents[2])


def test_the_strongest_result_passes_among_neighbours_if_its_number_is_fine_enough() -> None:
    """An interval without width decides beside claims that are all decided, and not beside an open
    one, so no rule should rest on one.
    """
    claims, numbers = several(5, 0)
    numbers["features"][KEYS[0]] = Estimate(1.0, 1.0, 1.0, 543)
    assert judged(claims, numbers).counts == {"reproduced": 5}
    numbers["features"][KEYS[4]] = Estimate(0.01, -1.0, 1.0, 1000)
    found = judged(claims, numbers)
    assert [one.word for one in found.verdicts] == ["undecided", *["reproduced"] * 3, "undecided"]
    assert found.verdicts[0].alone == "reproduced"

    steps = {f"unseen_svm_{k}": Estimate(20.0 * k, 20.0 * k - 3, 20.0 * k + 3, 543)
             for k in range(1, 6)}  # fmt: skip
    unsure = {"features": {"purity_slope": Estimate(0.01, -1.0, 1.0, 342)}}
    for sign, word in ((1, "holds here"), (-1, "fails here")):
        rise = Estimate(sign * 22.3, min(sign * 18.0, sign * 26.7), max(sign * 18.0, sign * 26.7))
        run = evidence({"probe": {"unseen_rise": rise, **steps}, **unsure}, "synthetic")
        words = {one.id: one.word for one in judge_all(CLAIMS, run).verdicts}
        assert words["hierarchy"] == "undecided"
        assert words["depth_knows_more"] == word
        assert words["each_layer_knows_more"] == "holds here"


def test_the_deciding_number_is_named_where_there_are_several() -> None:
    numbers = two(Estimate(1, 0.9, 1.1, 9), Estimate(2, 1, 3, 9))
    entry = told(numbers, claim=TWO)
    assert (entry["deciding"], entry["of"]) == ("layer2_purity", 2)
    alone = told(numbers, claim={"measured": [{"study": "features", "key": "layer1_purity"}]})
    assert (alone["deciding"], alone["of"]) == ("", 1)
