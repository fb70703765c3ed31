"""Verdicts of whole constructed runs: words, needs, correction, what is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from verdicts_made import judged, net

from zfnet.stats.estimate import AT_CHANCE, IMAGES, TRAININGS, Estimate
from zfnet.verdicts.judge import document
from zfnet.verdicts.verdict import Verdict

SLOPE = {"features": {"purity_slope": Estimate(0.1, 0.08, 0.12, 342)}}
BOTH = (IMAGES, TRAININGS)
GOOD, BAD = Estimate(1, 0.9, 1.1, 9), Estimate(-1, -1.1, -0.9, 9)
CROSSED = Estimate(1, 0.9, 1.1, 9, df=2, trainings=3, covers=BOTH)


def only(numbers: Any, source: str = "imagenette", claim: Any = None, **changes: Any) -> Verdict:
    return judged({"it": claim or {}}, numbers, source, **changes).verdicts[0]


def entry(numbers: Any, source: str = "imagenette", claim: Any = None, **changes: Any) -> Any:
    """What results/claims.json says of the one claim."""
    return document(judged({"it": claim or {}}, numbers, source, **changes))["claims"]["it"]


def unmet(*given: Any, **changes: Any) -> list[tuple[str, str]]:
    """Needs that a run does not meet, and what it has; none of them is judged on photographs."""
    found = only(*given, **changes)
    assert found.word == "out of scale"
    return [(need["need"], need["here"]) for need in found.needs if not need["met"]]


# --------------------------------------------------------------------------------------- needs
def test_below_its_needs_a_photo_run_is_not_judged_and_a_rendered_one_is() -> None:
    assert unmet(SLOPE, classes=9) == [("classes ≥ 10", "9")]
    assert unmet(SLOPE, classes=None) == [("classes ≥ 10", "not known")]
    small = entry(SLOPE, classes=9)
    assert (small["p_holm"], "classes ≥ 10 (here 9)" in small["reason"]) == (None, True)
    assert only(SLOPE, classes=10).word == "reproduced"
    rendered = only(SLOPE, "synthetic", classes=9)
    assert (rendered.word, rendered.needs[0]["met"]) == ("holds here", False)


def test_a_need_of_a_studys_number() -> None:
    need = {"study": "features", "key": "layer5_field_share", "what": "field over side",
            "most": 0.75, "why": "so"}  # fmt: skip
    claim = {"needs": {"field_share": need}}
    narrow, wide = (
        {"features": {**SLOPE["features"], "layer5_field_share": Estimate(share)}}
        for share in (0.62, 1.09)
    )
    assert only(narrow, claim=claim).word == "reproduced"
    assert unmet(wide, claim=claim) == [("field over side ≤ 0.75", "1.09")]
    assert unmet(SLOPE, claim=claim) == [("field over side ≤ 0.75", "not known")]
    assert only(wide, "synthetic", claim=claim).word == "holds here"


def test_needs_of_nets_are_those_of_the_least() -> None:
    claim = {"nets": ["zfnet", "alexnet"], "needs": {"epochs": {"least": 20, "why": "so"}}}
    nets = {"zfnet": net(), "alexnet": net(epochs=10)}
    assert unmet(SLOPE, claim=claim, nets=nets) == [("epochs ≥ 20", "10")]
    assert only(SLOPE, claim={**claim, "nets": ["zfnet"]}, nets=nets).word == "reproduced"
    for unknown in (net(epochs=None), {"status": "left out"}):
        run = {"zfnet": net(), "alexnet": unknown}
        assert unmet(SLOPE, claim=claim, nets=run) == [("epochs ≥ 20", "not known")]


def test_trainings_can_be_needed() -> None:
    claim = {"needs": {"trainings": {"least": 3, "why": "so"}}}
    assert only({"features": {"purity_slope": CROSSED}}, claim=claim).word == "reproduced"
    assert unmet(SLOPE, claim=claim, trainings=2) == [("trainings ≥ 3", "2")]


def test_the_seeds_are_those_that_the_nets_share() -> None:
    nets = {"zfnet": {**net(), "seeds": "4; 6; 7"}, "alexnet": {**net(), "seeds": "4; 7"}}
    claim = {"nets": ["zfnet", "alexnet"]}
    assert entry(SLOPE, trainings=3, nets=nets)["seeds"] == [4, 6, 7]
    assert entry(SLOPE, trainings=2, nets=nets, claim=claim)["seeds"] == [4, 7]
    assert entry(SLOPE, trainings=3, nets=nets)["seen_seeds"] == [4]


@pytest.mark.parametrize(("trainings", "word"), [(1, "one training"), (2, "two trainings")])
def test_below_three_trainings_a_number_is_shown_and_not_judged(trainings: int, word: str) -> None:
    found = entry(SLOPE, trainings=trainings)
    assert (found["verdict"], found["value"], found["p_holm"]) == (word, 0.1, None)
    assert entry(SLOPE, trainings=3)["verdict"] == "reproduced"
    assert entry(SLOPE, trainings=trainings, classes=3)["verdict"] == "out of scale"


@pytest.mark.parametrize("source", ["imagenette", "synthetic"])
def test_one_adopted_net_speaks_of_itself(source: str) -> None:
    claim = {"scale": "photos", "needs": {}}
    adopted = {"zfnet": net("adopted", None)}
    run = {"nets": adopted, "trainings": 1, "claim": claim}
    below = {"features": {"purity_slope": Estimate(-0.1, -0.12, -0.08, 342)}}
    assert entry(SLOPE, source, **run)["verdict"] == "holds in this net"
    assert entry(below, source, **run)["verdict"] == "fails in this net"
    judged_over_nets = entry(SLOPE, source, **{**run, "trainings": 3})
    assert judged_over_nets["verdict"] in ("reproduced", "holds here")


@pytest.mark.parametrize(
    ("status", "word"), [("trained", "contradicted"), ("still learning", "undecided")]
)
def test_no_claim_fails_on_a_net_that_was_still_learning(status: str, word: str) -> None:
    below = {"features": {"purity_slope": Estimate(-1, -1.1, -0.9, 9)}}
    found = entry(below, nets={"zfnet": net(status)})
    assert found["verdict"] == word
    assert ("still learning" in found["reason"]) == (word == "undecided")
    assert entry(SLOPE, nets={"zfnet": net(status)})["verdict"] == "reproduced"


@pytest.mark.parametrize("trainings", [1, 3])
def test_what_separates_a_run_from_the_papers_keeps_nothing_from_one_adopted_net(
    trainings: int,
) -> None:
    run = {"nets": {"zfnet": net("adopted", None)}, "classes": None, "images": None}
    found = entry(SLOPE, trainings=trainings, **run)
    assert found["verdict"] == ("holds in this net" if trainings == 1 else "out of scale")


def test_a_net_that_was_still_learning_decides_nothing() -> None:
    learning = Estimate(1, 0.9, 1.1, 9, invalid="still learning")
    found = entry({"features": {"purity_slope": learning}})
    assert (found["verdict"], found["value"], found["p"]) == ("undecided", 1, 1.0)
    assert "still learning: " not in found["missing"]
    assert "training.epochs" in found["reason"]
    beside = entry(two(learning, Estimate(-1, -1.1, -0.9, 9)), claim=TWO)
    assert beside["verdict"] == "contradicted"  # the other number is enough against


def test_adopted_weights_leave_the_needs_unknown() -> None:
    nets = {"zfnet": net("adopted", None)}
    assert unmet(SLOPE, nets=nets, classes=None) == [("classes ≥ 10", "not known")]
    assert only(SLOPE, nets=nets, claim={"nets": ["zfnet"]}).word == "not measured"


# ------------------------------------------------------------------------------------- missing
@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        (None, "features has not run here."),
        ({}, "features has no numbers in this run."),
        ({"support_share": GOOD}, "features has no purity_slope in this run."),
        (
            {"purity_slope": Estimate(float("nan"), note="one layer only")},
            "features could not give purity_slope: one layer only.",
        ),
    ],
)
def test_what_is_not_measured_says_why(numbers: Any, reason: str) -> None:
    found = entry({} if numbers is None else {"features": numbers})
    assert (found["verdict"], found["reason"]) == ("not measured", reason)
    json.dumps(found, allow_nan=False)


FAST, SLOW = "cost_removing_3_4_6_7", "cost_removing_3_4_6_7_slow"
EITHER = {"study": "ablation", "key": [FAST, SLOW]}


def test_a_net_at_chance_is_no_evidence_and_another_stands_in() -> None:
    stuck = {FAST: Estimate(87, 85, 89, 600, "points", invalid=AT_CHANCE)}
    either = {"measured": [EITHER]}
    assert only({"ablation": stuck}, claim=either).word == "not measured"
    both = {"ablation": {**stuck, SLOW: Estimate(20, 18, 22, 600, "points")}}
    found = only(both, claim=either)
    assert found.word == "reproduced"
    assert [part.key for part in found.parts] == [SLOW]
    assert f"{FAST} of a net that ended at chance" in entry(both, claim=either)["missing"]
    # as in paper/claims.yaml: the slower one also on its own; it counts once, and is tested once
    twice = only(both, claim={"measured": [EITHER, {"study": "ablation", "key": SLOW}]})
    assert twice.outcome == found.outcome


def test_a_main_net_at_chance_keeps_every_claim_from_being_judged() -> None:
    nets = {"zfnet": net(AT_CHANCE)}
    assert only(SLOPE, nets=nets).word == "not measured"
    assert only(SLOPE, nets=nets, claim={"nets": ["zfnet"]}).word == "not measured"
    other = {"zfnet": net(), "alexnet": net(AT_CHANCE)}
    assert only(SLOPE, nets=other, claim={"nets": ["zfnet", "alexnet"]}).word == "not measured"
    assert only(SLOPE, nets=other).word == "reproduced"


def layers(**over: Any) -> dict[str, Any]:
    """A claim about the purity of layers."""
    return {"measured": [{"study": "features", "key": "layer{layer}_purity"}], **over}


TWO = layers(over=[{"layer": [1, 2]}])


def two(first: Estimate, second: Estimate | None = None) -> dict[str, dict[str, Estimate]]:
    return {"features": {"layer1_purity": first, **({"layer2_purity": second} if second else {})}}


def test_a_missing_number_keeps_a_claim_from_being_true_but_not_from_being_false() -> None:
    first = entry(two(GOOD), claim=TWO)
    assert (first["verdict"], first["alone"], first["more"]) == ("undecided", "undecided", "")
    assert first["missing"] == "features has no layer2_purity in this run"
    assert only(two(BAD), claim=TWO).word == "contradicted"
    assert only(two(GOOD, GOOD), claim=TWO).word == "reproduced"
    assert entry(two(GOOD, GOOD), claim=TWO)["missing"] == ""


STUCK = Estimate(60, 56, 64, 600, "points", invalid=AT_CHANCE)


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        ("", "+++", "reproduced"),  # a whole set that was not run hinders nothing
        ("", "x+x", "undecided"),
        ("xx", "+++", "undecided"),
        ("", "x-+", "contradicted"),
        ("", "xxx", "not measured"),
    ],
)
def test_a_number_at_chance_keeps_the_others_from_deciding(
    first: str, second: str, word: str
) -> None:
    over = [{"target": "caltech101", "n": [15, 30]}, {"target": "caltech256", "n": [15, 30, 60]}]
    key = "{target}_pretrained_minus_scratch_{n}"
    claim = {"over": over, "measured": [{"study": "transfer", "key": key}]}
    kinds = {"+": GOOD, "-": BAD, "x": STUCK}
    numbers = {
        key.format(target=target, n=n): kinds[kind]
        for target, marks in (("caltech101", first), ("caltech256", second))
        for n, kind in zip((15, 30, 60), marks, strict=False)
    }
    found = only({"transfer": numbers}, claim=claim)
    assert found.word == word
    if second == "x+x":
        assert found.outcome
        assert (found.outcome.lost, found.outcome.tests) == (2, 3)


@pytest.mark.parametrize(
    ("values", "word", "steps"),
    [
        ((1, 2, 3, 4), "reproduced", 3),
        ((1, 2, None, 1.5), "undecided", 1),  # no step over the gap
        ((2, 1, None, 4), "contradicted", 1),
        ((1, None, 3, None), "not measured", 0),
    ],
)
def test_an_order_has_no_step_over_a_gap(values: Any, word: str, steps: int) -> None:
    rule = {"kind": "order", "way": "rising", "why": "so"}
    numbers = {
        f"layer{k}_purity": Estimate(v, v - 0.1, v + 0.1, 900)
        for k, v in enumerate(values, 1)
        if v is not None
    }
    claim = layers(over=[{"layer": [1, 2, 3, 4]}], rule=rule)
    found = only({"features": numbers}, claim=claim)
    assert (found.word, len(found.outcome.checks) if found.outcome else 0) == (word, steps)


def test_a_list_of_keys_takes_the_first_that_is_there() -> None:
    claim = {"measured": [{"study": "features", "key": ["purity_slope_within", "purity_slope"]}]}
    assert [part.key for part in only(SLOPE, claim=claim).parts] == ["purity_slope"]
    found = only({"features": {**SLOPE["features"], "purity_slope_within": BAD}}, claim=claim)
    assert [part.key for part in found.parts] == ["purity_slope_within"]
    assert found.word == "contradicted"


def test_the_mean_over_seeds_goes_before_the_first_seed() -> None:
    rule = {"kind": "ratio", "above": 15, "why": "so"}
    claim = {"measured": [{"study": "train_zfnet", "key": "val_top1_error"}], "rule": rule}
    numbers = {"val_top1_error": Estimate(18.0, 17, 19, 600)}
    assert only({"train_zfnet": numbers}, claim=claim).word == "reproduced"
    numbers["val_top1_error_over_seeds"] = Estimate(12.0, 11, 13, 3, covers=(TRAININGS,))
    assert only({"train_zfnet": numbers}, claim=claim).word == "contradicted"


def test_numbers_and_constants_are_taken_off() -> None:
    minus = {"study": "transfer", "key": "voc2012_softmax_map", "less": 82.2}
    measured = {"study": "transfer", "key": "caltech101_pretrained_30", "less": 84.3}
    claim = {"measured": [{**measured, "minus": minus}]}
    numbers = {
        "caltech101_pretrained_30": Estimate(86.5, 86.1, 86.9, 4000, "%"),
        "voc2012_softmax_map": Estimate(79.0, 78.7, 79.3, 5823, "%"),
    }
    found = entry({"transfer": numbers}, claim=claim)
    assert (found["value"], found["low"]) == (pytest.approx(5.4), pytest.approx(4.9))
    assert found["verdict"] == "reproduced"
    del numbers["voc2012_softmax_map"]
    assert only({"transfer": numbers}, claim=claim).word == "not measured"


# ---------------------------------------------------------------------------------- correction
KEYS = [f"layer{k}_{name}" for k in range(1, 6)
        for name in ("purity", "support_px", "spread_patches", "maps")]  # fmt: skip


def several(count: int, barely: int) -> tuple[dict[str, Any], dict[str, dict[str, Estimate]]]:
    """`count` claims on as many numbers, and the numbers, `barely` of them unsure."""
    claims = {key: {"measured": [{"study": "features", "key": key}]} for key in KEYS[:count]}
    sure, unsure = Estimate(1.0, 0.9, 1.1, 1000), Estimate(1.0, 0.05, 1.95, 1000)
    numbers = {key: unsure if i < barely else sure for i, key in enumerate(KEYS[:count])}
    return claims, {"features": numbers}


def test_the_more_claims_the_more_it_takes() -> None:
    assert judged(*several(1, 1)).counts() == {"reproduced": 1}
    found = judged(*several(20, 20))
    assert (found.families["paper"], found.counts()) == (20, {"undecided": 20})
    assert {one.alone for one in found.verdicts} == {"reproduced"}
    sure = judged(*several(20, 1))
    assert sure.counts() == {"reproduced": 20}
    assert sure.verdicts[0].p_holm == pytest.approx(0.039, abs=0.001)


def test_each_p_is_held_against_holms_level() -> None:
    assert judged(*several(4, 1)).verdicts[0].level == pytest.approx(0.05)  # the largest p of four
    claims, numbers = several(2, 0)
    numbers["features"][KEYS[1]] = Estimate(1.0, 0.5, 1.5, 1000)
    assert [one.level for one in judged(claims, numbers).verdicts] == pytest.approx([0.025, 0.05])


def test_claims_of_other_techniques_are_corrected_among_themselves() -> None:
    claims, numbers = several(20, 20)
    alone = judged({KEYS[0]: claims[KEYS[0]]}, numbers).verdicts[0]
    others = {key: {**claims[key], "work": "survey"} for key in KEYS[1:]}
    found = judged({KEYS[0]: claims[KEYS[0]], **others}, numbers)
    assert found.families == {"paper": 1, "survey": 19}
    assert (found.verdicts[0].word, found.verdicts[0].p_holm) == (alone.word, alone.p_holm)
    assert found.counts("survey") == {"undecided": 19}


def test_only_what_is_judged_is_counted() -> None:
    claims, numbers = several(20, 20)
    found = judged(claims, {"features": {KEYS[0]: numbers["features"][KEYS[0]]}})
    assert (found.families["paper"], found.counts()) == (1, {"reproduced": 1, "not measured": 19})
    none = judged(claims, numbers, classes=3)
    assert (none.families["paper"], none.counts()) == (0, {"out of scale": 20})


def test_an_interval_without_width_decides_beside_claims_that_are_all_decided() -> None:
    """And not beside an open one, so no rule should rest on one."""
    claims, numbers = several(5, 0)
    numbers["features"][KEYS[0]] = Estimate(1.0, 1.0, 1.0, 543)
    assert judged(claims, numbers).counts() == {"reproduced": 5}
    numbers["features"][KEYS[4]] = Estimate(0.01, -1.0, 1.0, 1000)
    found = judged(claims, numbers)
    assert [one.word for one in found.verdicts] == ["undecided", *["reproduced"] * 3, "undecided"]
    assert found.verdicts[0].alone == "reproduced"


# --------------------------------------------------------------------------------- what it says
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "About 4 times as many maps would"),
        ({"value": 0.0, "high": 1.0}, "Not even 1,000 times as many maps"),
        ({"df": 2, "trainings": 3, "covers": BOTH}, "1.9 times as many maps and trainings"),
        ({"n": 3, "trainings": 3, "covers": (TRAININGS,)}, "times as many trainings would"),
    ],
)
def test_how_many_more_would_decide(changes: dict[str, Any], words: str) -> None:
    number = Estimate(**{"value": 1.0, "low": -1.0, "high": 3.0, "n": 1000, **changes})
    assert words in entry({"features": {"purity_slope": number}})["more"]


def test_one_of_two_against_takes_more_to_decide_than_one_alone() -> None:
    unsure, good = Estimate(-1, -2, 0, 900), Estimate(1, 0.9, 1.1, 900)
    assert entry({"features": {"purity_slope": unsure}})["more"].startswith("About 1.1 times")
    assert entry(two(unsure, good), claim=TWO)["more"].startswith("About 1.4 times")


def test_the_fewest_trainings_count_and_give_the_seeds() -> None:
    mixed = entry(two(CROSSED, GOOD), claim=TWO, trainings=2)
    assert (mixed["trainings"], mixed["seeds"]) == (2, [11, 12])
    assert "2 trainings; covers new maps, not other trainings" in mixed["remark"]
    both = entry(two(CROSSED, CROSSED), claim=TWO)
    assert (both["trainings"], both["seeds"], both["seen_seeds"]) == (3, [11, 12, 13], [])


def test_seeds_known_before_the_rules_are_marked() -> None:
    assert entry(two(CROSSED, CROSSED), claim=TWO, seed=3)["seen_seeds"] == [4]
    assert entry(SLOPE, seed=0)["seen_seeds"] == [0, 4]
    assert entry(SLOPE, seed=0, experiment="other")["seen_seeds"] == []
    other = {"measured": [{"study": "probe", "key": "unseen_rise"}]}
    assert entry({"probe": {"unseen_rise": GOOD}}, claim=other, seed=0)["seen_seeds"] == []


def test_the_deciding_number_is_named_where_there_are_several() -> None:
    found = entry(two(GOOD, Estimate(2, 1, 3, 9)), claim=TWO)
    assert (found["deciding"], found["of"]) == ("layer2_purity", 2)
    alone = entry(two(GOOD), claim={"measured": [{"study": "features", "key": "layer1_purity"}]})
    assert (alone["deciding"], alone["of"]) == ("", 1)
