"""Verdicts of whole constructed runs: words, needs, correction, what is missing, files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from verdicts_made import claims_of, document, evidence, run

from zfnet.errors import UserError
from zfnet.stats.estimate import Estimate
from zfnet.verdicts import judge, rules, stage
from zfnet.verdicts.claims import Seen, read_claims
from zfnet.verdicts.judge import Net, Verdict, judge_all, judge_claim

SLOPE = {"features": {"purity_slope": Estimate(0.1, 0.08, 0.12, 342)}}
FIELD = {
    "needs": {
        "field_share": {
            "study": "features", "key": "layer5_field_share", "what": "field over side",
            "most": 0.75, "why": "the border takes part",
        }
    }
}  # fmt: skip


def only(numbers: Any, source: str = "imagenette", claim: Any = None, **changes: Any) -> Verdict:
    claims = claims_of(it=claim or {})
    return judge_all(claims, evidence(numbers, source, **changes)).verdicts[0]


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
    assert only(numbers).word == photographs
    assert only(numbers, "folder").word == photographs
    assert only(numbers, "synthetic").word == rendered
    assert only(numbers, "unseen").word == rendered


def test_below_its_needs_a_photo_run_is_shown_and_not_judged() -> None:
    small = only(SLOPE, classes=9)
    assert small.word == "out of scale"
    assert small.p_holm is None
    assert small.reason == (
        "0.100 [0.080, 0.120], not judged: the claim needs classes ≥ 10 (here 9)."
    )
    assert only(SLOPE, classes=10).word == "reproduced"
    assert only(SLOPE, classes=None).unmet == ["classes ≥ 10 (here not known)"]


def test_below_its_needs_a_rendered_run_is_judged_and_told() -> None:
    small = only(SLOPE, "synthetic", classes=9)
    assert small.word == "holds here"
    assert small.unmet == ["classes ≥ 10 (here 9)"]


def test_a_need_of_a_studys_number() -> None:
    narrow = {**SLOPE["features"], "layer5_field_share": Estimate(0.62)}
    wide = {**SLOPE["features"], "layer5_field_share": Estimate(1.09)}
    assert only({"features": narrow}, claim=FIELD).word == "reproduced"
    assert only({"features": wide}, claim=FIELD).word == "out of scale"
    assert only({"features": wide}, claim=FIELD).unmet == ["field over side ≤ 0.75 (here 1.09)"]
    assert only(SLOPE, claim=FIELD).word == "out of scale"
    assert only({"features": wide}, "synthetic", claim=FIELD).word == "holds here"


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
    nets = {"zfnet": Net("trained", 70, 224), "alexnet": Net("trained", 10, 227)}
    assert only(SLOPE, claim=claim, nets=nets).unmet == ["epochs ≥ 20 (here 10)"]
    assert only(SLOPE, claim={**claim, "nets": ["zfnet"]}, nets=nets).word == "reproduced"
    unknown = {**nets, "alexnet": Net("trained", None, 227)}
    assert only(SLOPE, claim=claim, nets=unknown).unmet == ["epochs ≥ 20 (here not known)"]


def test_trainings_can_be_needed() -> None:
    claim = {"needs": {"trainings": {"least": 3, "why": "so"}}}
    thrice = {
        "features": {
            "purity_slope": Estimate(0.1, 0.099, 0.101, 600, note="images and 3 trainings")
        }
    }
    assert only(thrice, claim=claim).word == "reproduced"
    assert only(SLOPE, claim=claim).unmet == ["trainings ≥ 3 (here 1)"]


def test_adopted_weights_leave_the_needs_unknown() -> None:
    nets = {"zfnet": Net("adopted", None, 224)}
    assert only(SLOPE, nets=nets).word == "out of scale"
    told = only(SLOPE, nets=nets, claim={"nets": ["zfnet"]})
    assert told.word == "not measured"
    assert "was adopted" in told.reason


# ------------------------------------------------------------------------------------- missing
def test_missing_studies_and_numbers() -> None:
    assert only({}).reason == "features has not run here."
    assert only({"features": {}}).reason == "features has no numbers in this run."
    other = {"features": {"spread_difference": Estimate(1, 0, 2, 9)}}
    assert only(other).reason == "features has no purity_slope in this run."
    nothing = {"features": {"purity_slope": Estimate(float("nan"), note="one layer only")}}
    assert only(nothing).word == "not measured"
    assert only(nothing).reason == "features could not give purity_slope: one layer only."


def test_one_image_decides_nothing() -> None:
    single = only({"features": {"purity_slope": Estimate(0.3, n=1)}})
    assert (single.word, single.more) == ("undecided", "")
    assert "it has no interval, so it decides nothing" in single.reason


def test_a_net_at_chance_is_no_evidence() -> None:
    both = {
        "measured": [
            {"study": "ablation", "key": ["cost_removing_3_4_6_7", "cost_removing_3_4_6_7_slow"]}
        ]
    }
    lost = Estimate(87, 85, 89, 600, "points", "alexnet_no3467 minus alexnet; stayed at chance")
    kept = Estimate(20, 18, 22, 600, "points", "alexnet_no3467_slow minus alexnet")
    assert only({"ablation": {"cost_removing_3_4_6_7": lost}}, claim=both).word == "not measured"
    found = only(
        {"ablation": {"cost_removing_3_4_6_7": lost, "cost_removing_3_4_6_7_slow": kept}},
        claim=both,
    )
    assert found.word == "reproduced"
    assert [part.key for part in found.parts] == ["cost_removing_3_4_6_7_slow"]
    # as in paper/claims.yaml: the slower one also on its own; it counts once, and is tested once
    own = {"study": "ablation", "key": "cost_removing_3_4_6_7_slow"}
    numbers = {"cost_removing_3_4_6_7": lost, "cost_removing_3_4_6_7_slow": kept}
    twice = only({"ablation": numbers}, claim={"measured": [*both["measured"], own]})
    assert [part.key for part in twice.parts] == ["cost_removing_3_4_6_7_slow"]
    assert twice.outcome is not None
    assert found.outcome is not None
    assert twice.outcome.p == found.outcome.p
    assert len(twice.outcome.checks) == 1
    nets = {"zfnet": Net("at chance", 70, 224)}
    told = only(SLOPE, nets=nets, claim={"nets": ["zfnet"]})
    assert (told.word, "ended at chance" in told.reason) == ("not measured", True)


TWO = {
    "over": [{"layer": [1, 2]}],
    "measured": [{"study": "features", "key": "layer{layer}_purity"}],
}


def test_a_missing_number_keeps_a_claim_from_being_true_but_not_from_being_false() -> None:
    good, bad = Estimate(1, 0.9, 1.1, 9), Estimate(-1, -1.1, -0.9, 9)
    first = only({"features": {"layer1_purity": good}}, claim=TWO)
    assert (first.word, first.alone, first.more) == ("undecided", "undecided", "")
    assert first.reason == (
        "1.00 [0.90, 1.10], asked above 0: nothing is decided, as 1 of 2 numbers is missing and "
        "might lie elsewhere. Not counted: features has no layer2_purity in this run."
    )
    assert only({"features": {"layer1_purity": bad}}, claim=TWO).word == "contradicted"
    both = {"layer1_purity": good, "layer2_purity": good}
    assert only({"features": both}, claim=TWO).word == "reproduced"
    assert only({"features": both}, claim=TWO).missing == ""
    assert only({"features": {"purity_slope": good}}, claim=TWO).word == "not measured"


WINS = {
    "over": [{"target": "caltech101", "n": [15, 30]}, {"target": "caltech256", "n": [15, 30, 60]}],
    "measured": [{"study": "transfer", "key": "{target}_pretrained_minus_scratch_{n}"}],
}


def wins(**numbers: Estimate) -> Verdict:
    """A verdict on Caltech-101 as given, and on Caltech-256 good at all three numbers or not."""
    named = {
        f"{name.rpartition('_')[0]}_pretrained_minus_scratch_{name.rpartition('_')[2]}": value
        for name, value in numbers.items()
    }
    return only({"transfer": named}, claim=WINS)


def test_a_number_at_chance_keeps_the_others_from_deciding() -> None:
    good = Estimate(40, 36, 44, 600, "points", "paired")
    stuck = Estimate(60, 56, 64, 600, "points", "paired; 1 of 5 nets ended at chance")
    every = {"caltech256_15": good, "caltech256_30": good, "caltech256_60": good}
    assert wins(**every).word == "reproduced"  # a whole set that was not run hinders nothing
    assert "has no caltech101_pretrained_minus_scratch_15, caltech101_" in wins(**every).missing
    held = wins(**{**every, "caltech256_15": stuck, "caltech256_60": stuck})
    assert held.word == "undecided"
    assert "2 of 3 numbers are missing" in held.reason
    assert (
        "transfer has caltech256_pretrained_minus_scratch_15, caltech256_pretrained_minus_scratch"
        "_60 of a net that ended at chance, a failure to train and no evidence"
    ) in held.reason
    assert wins(**every, caltech101_15=stuck, caltech101_30=stuck).word == "undecided"
    bad = Estimate(-40, -44, -36, 600, "points")
    against = wins(**{**every, "caltech256_15": stuck, "caltech256_30": bad})
    assert against.word == "contradicted"
    assert against.outcome is not None
    assert against.outcome.tests == 3
    assert "ended at chance" in against.reason
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
    assert (whole.word, whole.names[0]) == ("reproduced", "layer2_purity − layer1_purity")
    assert of(layer1=1, layer2=2, layer4=1.5).word == "undecided"
    back = of(layer1=2, layer2=1, layer4=4)
    assert (back.word, back.names) == ("contradicted", ("layer2_purity − layer1_purity",))
    assert of(layer1=1, layer3=3).word == "not measured"


def test_what_was_passed_over_is_told() -> None:
    claim = {
        "measured": [
            {"study": "ablation", "key": ["cost_removing_3_4_6_7", "cost_removing_3_4_6_7_slow"]}
        ]
    }
    numbers = {
        "cost_removing_3_4_6_7": Estimate(70, 66, 74, 600, "points", "stayed at chance"),
        "cost_removing_3_4_6_7_slow": Estimate(20, 18, 22, 600, "points"),
    }
    told = only({"ablation": numbers}, claim=claim)
    assert told.word == "reproduced"
    assert "Not counted: ablation has cost_removing_3_4_6_7 of a net that ended at" in told.reason


def test_a_claim_that_names_no_net_needs_a_main_net_that_learned() -> None:
    nets = {"zfnet": Net("at chance", 70, 224), "alexnet": Net("trained", 70, 224)}
    told = only(SLOPE, nets=nets)
    assert (told.word, told.reason[:21]) == ("not measured", "zfnet ended at chance")
    assert only(SLOPE, nets=nets, claim={"nets": ["alexnet"]}).word == "reproduced"
    assert only(SLOPE, nets={"zfnet": Net("trained", 70, 224)}).word == "reproduced"


def test_sets_of_the_other_kind_of_images_do_not_count() -> None:
    claim = {
        "over": [{"layer": 1, "images": "photographs"}, {"layer": 2, "images": "rendered"}],
        "measured": [{"study": "features", "key": "layer{layer}_purity"}],
    }
    up, down = Estimate(1, 0.9, 1.1, 9), Estimate(-1, -1.1, -0.9, 9)
    numbers = {"features": {"layer1_purity": up, "layer2_purity": down}}
    assert only(numbers, claim=claim).word == "reproduced"
    assert only(numbers, "synthetic", claim=claim).word == "fails here"


def test_numbers_over_seeds_are_preferred() -> None:
    claim = {"measured": [{"study": "train_zfnet", "key": "val_top1_error"}]}
    single = Estimate(5, 4, 6, 600, "%", "centre crop")
    seeds = Estimate(7, 1, 13, 3, "%", "interval over them (Student); n counts trainings")
    one = {"train_zfnet": {"val_top1_error": single}}
    assert only(one, claim=claim).measured == single
    many = {"train_zfnet": {"val_top1_error": single, "val_top1_error_over_seeds": seeds}}
    found = only(many, claim=claim)
    assert (found.measured, found.trainings) == (seeds, 3)
    assert "3" in found.remark
    lone = {**many["train_zfnet"], "val_top1_error_over_seeds": Estimate(7, n=1)}
    assert only({"train_zfnet": lone}, claim=claim).measured == single


def test_differences_and_constants() -> None:
    claim = {
        "measured": [
            {
                "study": "transfer", "key": "caltech101_pretrained_30", "less": 84.3,
                "minus": {"study": "transfer", "key": "voc2012_softmax_map", "less": 82.2},
            }
        ]
    }  # fmt: skip
    numbers = {
        "transfer": {
            "caltech101_pretrained_30": Estimate(86.5, 86.1, 86.9, 4000, "%"),
            "voc2012_softmax_map": Estimate(79.0, 78.7, 79.3, 5823, "%"),
        }
    }
    found = only(numbers, claim=claim)
    assert found.measured is not None
    assert found.measured.value == pytest.approx(5.4)
    assert found.measured.low == pytest.approx(4.9)
    assert found.word == "reproduced"
    del numbers["transfer"]["voc2012_softmax_map"]
    assert only(numbers, claim=claim).word == "not measured"


# ---------------------------------------------------------------------------------- correction
def several(count: int, barely: int) -> dict[str, Any]:
    """A claims file of `count` claims on as many numbers, and numbers, `barely` of them unsure."""
    keys = [f"layer{k // 10}_{name}" for k in range(10, 60, 10) for name in NAMES][:count]
    claims = claims_of(
        **{f"c{i}": {"measured": [{"study": "features", "key": k}]} for i, k in enumerate(keys)}
    )
    numbers = {
        key: Estimate(1.0, 0.05 if i < barely else 0.9, 1.95 if i < barely else 1.1, 1000)
        for i, key in enumerate(keys)
    }
    return {"claims": claims, "numbers": {"features": numbers}}


NAMES = ("purity", "support_px", "spread_patches", "maps")


def test_the_more_claims_the_more_it_takes() -> None:
    alone = several(1, 1)
    assert judge_all(alone["claims"], evidence(alone["numbers"])).verdicts[0].word == "reproduced"
    many = several(20, 20)
    found = judge_all(many["claims"], evidence(many["numbers"]))
    assert found.family == 20
    assert {one.word for one in found.verdicts} == {"undecided"}
    assert {one.alone for one in found.verdicts} == {"reproduced"}
    assert "by itself “reproduced”, undecided after correction" in found.verdicts[0].reason
    assert "more maps" in found.verdicts[0].more


def test_sure_claims_leave_more_to_the_unsure() -> None:
    mixed = several(20, 1)
    found = judge_all(mixed["claims"], evidence(mixed["numbers"]))
    assert found.counts == {"reproduced": 20}
    assert found.verdicts[0].p_holm == pytest.approx(0.039, abs=0.001)


def test_only_what_is_judged_is_counted() -> None:
    mixed = several(20, 20)
    first = dict(list(mixed["numbers"]["features"].items())[:1])
    found = judge_all(mixed["claims"], evidence({"features": first}))
    assert found.family == 1
    assert found.counts == {"reproduced": 1, "not measured": 19}
    none = judge_all(mixed["claims"], evidence(mixed["numbers"], classes=3))
    assert (none.family, none.counts) == (0, {"out of scale": 20})


def test_how_many_more_would_decide() -> None:
    unsure = only({"features": {"purity_slope": Estimate(1.0, -1.0, 3.0, 1000)}})
    assert unsure.more.startswith("About 2,993 more maps (3,993 in all)")
    assert unsure.more.endswith("would decide, were the estimate to stay.")
    never = only({"features": {"purity_slope": Estimate(0.0, -1.0, 1.0, 1000)}})
    assert never.more == "Not even 1,000 times as many maps would decide at this estimate."
    note = "interval over images and 3 pairs of trainings"
    both = only({"features": {"purity_slope": Estimate(1.0, -1.0, 3.0, 1000, note=note)}})
    assert both.more.startswith("About 1.9 times as many maps and trainings would decide")
    few = rules.critical(0.05, 2)  # the estimate's standard error is 2 / few, the distance 1

    def decides(factor: float) -> bool:
        return 2 / few * rules.critical(0.05, 2 * factor) / factor**0.5 < 1

    assert not decides(1.8)
    assert decides(1.9)
    seeds = only({"features": {"purity_slope": Estimate(1, -1, 3, 3, note="n counts trainings")}})
    assert "more trainings (" in seeds.more


def test_one_training_is_remarked() -> None:
    assert only(SLOPE).remark.startswith("One training: the interval is over maps")
    two = only(SLOPE, claim={"nets": ["zfnet", "alexnet"]})
    assert two.remark.startswith("One training of each net")
    seeds = "mean over trainings; interval over them (Student); n counts trainings"
    over = {"features": {"purity_slope": Estimate(1, 0.9, 1.1, 3, note=seeds)}}
    assert only(over).remark == (
        "Covers other trainings on these maps, of which there were 3, not new maps."
    )
    crossed = "interval over images and 3 trainings; 12.3 degrees of freedom"
    both = {"features": {"purity_slope": Estimate(1, 0.9, 1.1, 9, note=crossed)}}
    assert only(both).remark == "Covers new maps and other trainings, of which there were 3."
    mixed = {"layer1_purity": over["features"]["purity_slope"], "layer2_purity": Estimate(1, 0, 2)}
    assert "neither wholly" in only({"features": mixed}, claim=TWO).remark
    averaged = {"features": {"purity_slope": Estimate(1, 0.9, 1.1, 9, note="mean of 3 nets")}}
    assert only(averaged).remark.startswith("Mean of 3 trainings; the interval is over maps and")


def test_the_fewest_trainings_count() -> None:
    thrice = Estimate(1, 0.9, 1.1, 9, note="interval over images and 3 trainings")
    numbers = {"layer1_purity": thrice, "layer2_purity": Estimate(1, 0.9, 1.1, 9)}
    mixed = only({"features": numbers}, claim=TWO)
    assert (mixed.trainings, mixed.seeds) == (1, (1,))
    both = only({"features": dict.fromkeys(numbers, thrice)}, claim=TWO)
    assert (both.trainings, both.seeds) == (3, (1, 2, 3))


def test_one_of_two_against_takes_more_to_decide_than_one_alone() -> None:
    unsure, good = Estimate(-1, -2, 0, 900), Estimate(1, 0.9, 1.1, 900)
    alone = only({"features": {"purity_slope": unsure}})
    pair = only({"features": {"layer1_purity": unsure, "layer2_purity": good}}, claim=TWO)
    counts = [int(one.more.split()[1].replace(",", "")) for one in (alone, pair)]
    assert counts[1] > counts[0] + 100


def test_seeds_known_before_the_rules_are_marked() -> None:
    from dataclasses import replace

    claims = claims_of()
    seen = Seen("made", (0, 1), ("features",))
    known = replace(claims, seen=(seen,))
    assert judge_all(known, evidence(SLOPE)).verdicts[0].seen == (1,)
    assert judge_all(known, evidence(SLOPE, seed=2)).verdicts[0].seen == ()
    assert judge_all(known, evidence(SLOPE, experiment="other")).verdicts[0].seen == ()
    other = replace(claims, seen=(replace(seen, studies=("probe",)),))
    assert judge_all(other, evidence(SLOPE)).verdicts[0].seen == ()


def test_the_strongest_result_passes_among_neighbours_if_its_number_is_fine_enough() -> None:
    """An interval without width decides beside claims that are all decided, and not beside an open
    one, so no rule should rest on one.
    """
    made = several(5, 0)
    flat = {**made["numbers"]["features"], "layer1_purity": Estimate(1.0, 1.0, 1.0, 543)}
    found = judge_all(made["claims"], evidence({"features": flat}))
    assert {one.word for one in found.verdicts} == {"reproduced"}
    flat["layer2_purity"] = Estimate(0.01, -1.0, 1.0, 1000)
    found = judge_all(made["claims"], evidence({"features": flat}))
    first, *others, unsure = found.verdicts
    assert unsure.word == "undecided"
    assert (first.word, first.alone) == ("undecided", "reproduced")
    assert first.more.startswith("The interval has no width")
    assert {one.word for one in others} == {"reproduced"}

    real = read_claims(Path(__file__).resolve().parents[2])
    rise = {"unseen_rise": Estimate(22.3, 18.0, 26.7, 543, "points")}
    steps = {f"unseen_svm_{k}": Estimate(20.0 * k, 20.0 * k - 3, 20.0 * k + 3, 543) for k in
             range(1, 6)}  # fmt: skip
    unsure_slope = {"features": {"purity_slope": Estimate(0.01, -1.0, 1.0, 342)}}
    other = {"probe": {**rise, **steps}, **unsure_slope}
    judged = {one.claim.id: one for one in judge_all(real, evidence(other, "synthetic")).verdicts}
    assert judged["hierarchy"].word == "undecided"
    assert judged["depth_knows_more"].word == "holds here"
    assert judged["each_layer_knows_more"].word == "holds here"
    down = {"probe": {"unseen_rise": Estimate(-22.3, -26.7, -18.0, 543, "points"), **steps}}
    judged = {one.claim.id: one for one in judge_all(real, evidence(down, "synthetic")).verdicts}
    assert judged["depth_knows_more"].word == "fails here"


def test_the_deciding_number_or_pair_is_named() -> None:
    numbers = {"layer1_purity": Estimate(1, 0.9, 1.1, 9), "layer2_purity": Estimate(2, 1, 3, 9)}
    claims = claims_of(it=TWO, alone={"measured": [{"study": "features", "key": "layer1_purity"}]})
    judged = judge_all(claims, evidence({"features": numbers}))
    entries = judge.document(judged)["claims"]
    assert (entries["it"]["deciding"], entries["it"]["of"]) == ("layer2_purity", 2)
    assert (entries["alone"]["deciding"], entries["alone"]["of"]) == ("", 1)
    small = judge_all(claims, evidence({"features": numbers}, classes=3))
    assert judge.document(small)["claims"]["it"]["unmet"] == ["classes ≥ 10 (here 3)"]
    lost = judge_all(claims, evidence({"features": {"layer1_purity": Estimate(1, 0.9, 1.1, 9)}}))
    told = "features has no layer2_purity in this run"
    assert judge.document(lost)["claims"]["it"]["missing"] == told


@pytest.mark.parametrize(
    ("factor", "told"),
    [(1.81, "1.9"), (1.9, "1.9"), (9.91, "10.0"), (12.1, "13"), (533.2, "540"), (1000, "1,000")],
)
def test_factors_are_rounded_up(factor: float, told: str) -> None:
    assert judge._times(factor) == told


# --------------------------------------------------------------------------------------- files
@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A run on rendered images with one study, as the stages leave it."""
    config = {
        "name": "quick",
        "seed": 3,
        "data": {"source": "synthetic", "train_images": 2400},
        "nets": {"zfnet": {"input_px": 128, "weights": None}},
    }
    meta = {
        "source": "synthetic",
        "classes": [{"index": k} for k in range(12)],
        "splits": {"train": 2400, "val": 600},
    }
    number = {"value": 0.1, "low": 0.08, "high": 0.12, "n": 342, "unit": ""}
    files: dict[str, Any] = {
        "data/prepared/meta.json": meta,
        "metrics/features.json": {"purity_slope": number, "images": {"value": 600}},
        "metrics/train_zfnet.json": {
            "epochs": {"value": 10},
            "status": {"value": "trained"},
            "val_top1_error": {"value": None, "low": None},
        },
        "metrics/claims.json": {"counts": {}},
        "results/features/result.json": {
            "metrics": {
                "purity_slope": {**number, "note": "images and 4 trainings"},
                "images": {"value": 600},
            }
        },
    }
    for name, value in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value), encoding="utf-8")
    for name, value in {"build/config.yaml": config, "paper/claims.yaml": document()}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(value), encoding="utf-8")
    return tmp_path


def test_gather(checkout: Path) -> None:
    found = judge.gather(checkout)
    assert found.run.rendered
    assert (found.run.experiment, found.run.seed) == ("quick", 3)
    assert (found.run.classes, found.run.images) == (12, 2400)
    assert found.run.nets == {"zfnet": Net("trained", 10, 128)}
    assert set(found.numbers) == {"features", "train_zfnet"}
    assert found.numbers["features"]["purity_slope"].note == "images and 4 trainings"
    assert "status" not in found.numbers["train_zfnet"]
    value = found.numbers["train_zfnet"]["val_top1_error"].value
    assert value != value


def test_epochs_from_the_history_where_the_metrics_have_none(checkout: Path) -> None:
    (checkout / "metrics" / "train_zfnet.json").write_text("{}", encoding="utf-8")
    assert judge.gather(checkout).run.nets["zfnet"].epochs is None
    history = checkout / "models" / "zfnet" / "final" / "history.csv"
    history.parent.mkdir(parents=True)
    history.write_text("epoch,lr\n1,0.1\n2,0.1\n", encoding="utf-8")
    assert judge.gather(checkout).run.nets["zfnet"].epochs == 2


def test_without_prepared_images_the_config_tells_what_it_can(checkout: Path) -> None:
    (checkout / "data" / "prepared" / "meta.json").unlink()
    run_ = judge.gather(checkout).run
    assert (run_.rendered, run_.images, run_.classes) == (True, 2400, None)


def test_numbers_without_their_notes_are_not_judged(checkout: Path) -> None:
    assert judge.without_notes(checkout) == []
    result = checkout / "results" / "features" / "result.json"
    text = result.read_text(encoding="utf-8")
    result.write_text(text.replace("0.1", "0.2"), encoding="utf-8")
    with pytest.raises(UserError, match=r"of different runs \(purity_slope\): run `dvc checkout`"):
        judge.gather(checkout)
    result.unlink()
    assert judge.without_notes(checkout) == ["features"]
    with pytest.raises(UserError, match=r"features.result\.json is missing.*`dvc pull`"):
        judge.gather(checkout)
    (checkout / "metrics" / "features.json").write_text("{}", encoding="utf-8")
    assert judge.without_notes(checkout) == []  # a study of nothing has nothing to note


def test_faults_of_files_are_named(checkout: Path) -> None:
    (checkout / "metrics" / "features.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"features\.json cannot be read"):
        judge.gather(checkout)
    (checkout / "build" / "config.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.yaml is no YAML"):
        judge.gather(checkout)
    (checkout / "build" / "config.yaml").unlink()
    with pytest.raises(UserError, match="dvc repro"):
        judge.gather(checkout)


def test_the_stage_writes_both_files(checkout: Path) -> None:
    paths = SimpleNamespace(
        root=checkout,
        results=checkout / "results" / "verdicts",
        metrics=checkout / "metrics" / "verdicts.json",
    )
    stage.run(None, paths)
    whole = json.loads((checkout / "results" / "claims.json").read_text(encoding="utf-8"))
    entry = whole["claims"]["hierarchy"]
    assert (entry["verdict"], entry["value"], entry["seeds"]) == ("holds here", 0.1, [3, 4, 5, 6])
    assert entry["numbers"][0]["key"] == "purity_slope"
    assert entry["needs"][0] == {
        "need": "classes ≥ 10", "here": 12, "met": True, "why": "few classes are told by colour",
    }  # fmt: skip
    assert whole["run"]["rendered"] is True
    file = checkout / "metrics" / "claims.json"
    short = json.loads(file.read_text(encoding="utf-8"))
    assert short["claims"] == {"hierarchy": {"verdict": "holds here", "value": 0.1}}
    assert short["counts"]["holds_here"] == 1
    assert sum(short["counts"].values()) == 1
    words = (checkout / "metrics" / "verdicts.json").read_text(encoding="utf-8")
    assert json.loads(words) == {"hierarchy": "holds here"}
    number = json.loads((checkout / "metrics" / "headline.json").read_text(encoding="utf-8"))
    assert number == {"claims": {"holds_here": 1}}
    assert (checkout / "results" / "plots" / "training.csv").is_file()
    before = file.read_bytes()
    stage.run(None, paths)  # its own numbers are no evidence
    assert file.read_bytes() == before


def test_nothing_but_json_survives(checkout: Path) -> None:
    numbers = {"purity_slope": {"value": None, "low": None, "high": None, "n": 0, "unit": ""}}
    (checkout / "metrics" / "features.json").write_text(json.dumps(numbers), encoding="utf-8")
    result = checkout / "results" / "features" / "result.json"
    result.write_text(json.dumps({"metrics": numbers}), encoding="utf-8")
    found = judge.document(judge.judge(checkout))
    assert found["claims"]["hierarchy"]["verdict"] == "not measured"
    json.dumps(found, allow_nan=False)


def test_no_torch(root: Path) -> None:
    code = (
        "import sys; import zfnet.verdicts.command, zfnet.verdicts.stage; "
        "print([m for m in ('torch', 'wandb', 'hydra', 'omegaconf', 'matplotlib') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root / "src"), "PATH": ""},
    )
    assert done.stdout.strip() == "[]"


def test_a_run_knows_what_it_has() -> None:
    assert run().has("classes", ["zfnet"]) == 1000
    assert run().has("input_px", ["zfnet", "alexnet"]) == 224
    assert run().has("epochs", ["nobody"]) is None
    judged = judge_claim(claims_of().claims["hierarchy"], evidence(SLOPE))
    assert judged.p_holm is None
