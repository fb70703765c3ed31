"""For every claim of paper/claims.yaml a result at which a careless rule would mislead its reader.

Each case is a run of five trainings, made by hand: what was measured, the word that it must get,
and, where the rule of 2026-11-22 gave another, that word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from verdicts_made import DRAWN, NO, NONE, OPEN, SMALL, YES, Case, evidence, net, one
from verdicts_survey import CASES as SURVEY

from zfnet.paper import parse
from zfnet.pipeline.registry import NETS
from zfnet.stats.estimate import AT_CHANCE, STILL_LEARNING, Estimate
from zfnet.verdicts.claims import Claims, Number, read_claims
from zfnet.verdicts.verdict import judge_claim

ROOT = Path(__file__).resolve().parents[2]
WHOLE = read_claims(ROOT)
# Numbers of each claim by its first rule, where more were added.
FIRST = {
    "depth_beyond_sum": 2, "wider_overfits": 1, "hierarchy": 1, "rotation_not_tolerated": 2,
    "parts_less_so_layer7": 1, "depth_knows_more": 1,
}  # fmt: skip
NOISE = "filters are mostly noise"
UNFIT = "did not fit its training images"


def whole(name: str, value: float, half: float, invalid: str) -> dict[str, dict[str, Estimate]]:
    """Every number that a claim names, all alike."""
    found: dict[str, dict[str, Estimate]] = {}
    numbers: list[Number] = [n for _, group in WHOLE.claims[name].groups for n in group]
    for number in (each for first in numbers for each in first.all()):
        for key in number.keys:
            found.setdefault(number.study, {})[key] = one(value, half, invalid)
    return found


def ablation(**numbers: Estimate) -> dict[str, dict[str, Estimate]]:
    return {"ablation": numbers}


def both_rates(**numbers: Estimate) -> dict[str, dict[str, Estimate]]:
    """The same at the full learning rate and at the lower one."""
    slow = {f"{key}_slow": each for key, each in numbers.items() if key.startswith("cost")}
    return {"ablation": {**numbers, **slow}}


def invariance(**numbers: Estimate) -> dict[str, dict[str, Estimate]]:
    return {"invariance": numbers}


def changes(value: float, half: float) -> dict[str, Estimate]:
    """Of both full nets with half and twice the units."""
    return {f"change_{name}_fc{n}": one(value, half)
            for name in ("zfnet", "alexnet") for n in (2048, 8192)}  # fmt: skip


def probe(accuracies: list[float], half: float) -> dict[str, dict[str, Estimate]]:
    """Accuracies of layers 1 to 5 and 7, each ± half, and the rises."""
    layers = dict(zip((1, 2, 3, 4, 5, 7), accuracies, strict=True))
    numbers = {f"unseen_svm_{n}": one(value, half) for n, value in layers.items()}
    for key, first in (("rise", 1), ("rise_upper", 2)):
        numbers[f"unseen_{key}"] = one(layers[7] - layers[first], half)
    return {"probe": numbers}


CASES = [
    Case(
        "beats_alexnet", "AlexNet is not done, and the better for it is named",
        {"classification": {
            "zfnet_minus_alexnet": one(-9.5, 3, STILL_LEARNING),
            "top1_zfnet": one(5.2, 2), "top1_alexnet": one(14.7, 3),
        }},
        OPEN, YES,
    ),
    Case(
        "beats_alexnet", "AlexNet came to rest at a high error: it failed to train",
        {"classification": {
            "zfnet_minus_alexnet": one(-27, 4), "top1_zfnet": one(45, 2),
            "top1_alexnet": one(72, 3),
        }},
        SMALL, YES,
    ),
    Case(
        "top1_figure", "the figure on a dozen classes of rendered images",
        {"classification": {"top1_zfnet": one(38.4, 0.5)}}, SMALL, run=DRAWN,
    ),
    Case(
        "top5_figure", "the figure after a short training",
        {"classification": {"top5_zfnet": one(16.5, 0.5)}},
        SMALL, run={"nets": {name: net(epochs=20) for name in NETS}},
    ),
    Case(
        "alexnet_figure", "the figure of weights that others trained",
        {"classification": {"top5_alexnet": one(18.1, 0.5)}},
        NONE, run={"nets": {"zfnet": net(), "alexnet": net("adopted", None)}},
    ),
    Case(
        "ensembles_help", "nets that are not done differ more, and gain more",
        {"classification": {"ensemble_minus_one": one(-6, 1, STILL_LEARNING)}}, OPEN, YES,
    ),
    Case(
        "cost_of_3_4", "no room for a cost above the full net's error",
        ablation(cost_removing_3_4=one(2, 1), val_top1_alexnet=one(89, 1)), SMALL, YES,
    ),
    Case(
        "cost_of_6_7", "the full net is not done, the shallower one learns faster",
        ablation(cost_removing_6_7=one(-9, 3, STILL_LEARNING), val_top1_alexnet=one(14.7, 3)),
        OPEN, NO,
    ),
    Case(
        "cost_of_both", "at the lower rate it is not done",
        ablation(
            cost_removing_3_4_6_7=one(36, 4),
            cost_removing_3_4_6_7_slow=one(21, 4, STILL_LEARNING), val_top1_alexnet=one(15, 2),
        ),
        OPEN, YES,
    ),
    Case(
        "cost_of_both", "no room for a cost of ten points above the full net's error",
        both_rates(cost_removing_3_4_6_7=one(3, 1), val_top1_alexnet=one(88, 1)), SMALL, NO,
    ),
    Case(
        "depth_beyond_sum", "every removal makes the net better: −9.0 − (−5.2 − 14.8) = 11",
        both_rates(
            cost_beyond_sum=one(11, 3), cost_removing_3_4_6_7=one(-9, 2),
            cost_beyond_3_4=one(-3.8, 2), cost_beyond_6_7=one(5.8, 2),
            val_top1_alexnet=one(29, 3),
        ),
        NO, YES,
    ),
    Case(
        "depth_beyond_sum", "all cost the same as one pair, the other is a gain: 5 − (5 − 10) = 10",
        both_rates(
            cost_beyond_sum=one(10, 3), cost_removing_3_4_6_7=one(5, 2),
            cost_beyond_3_4=one(0, 2), cost_beyond_6_7=one(15, 2), val_top1_alexnet=one(29, 3),
        ),
        OPEN, YES,
    ),
    Case(
        "fully_connected_size", "all nets err next to nothing, and one twice as much as another",
        ablation(**changes(0.8, 0.4), val_top1_zfnet=one(0.9, 0.3), val_top1_alexnet=one(1, 0.3)),
        SMALL, YES,
    ),
    Case(
        "fully_connected_size", "all nets guess nearly",
        ablation(**changes(0.2, 0.4), val_top1_zfnet=one(88, 1), val_top1_alexnet=one(89, 1)),
        SMALL, YES,
    ),
    Case(
        "wider_helps", "the wider net failed to train",
        ablation(change_zfnet_wide=one(31, 4), val_top1_zfnet_wide=one(69, 4)), SMALL, NO,
    ),
    Case(
        "wider_overfits", "with more units it errs more on its training images too",
        ablation(
            change_fc8192_of_wide=one(3, 1), training_gain_fc8192_of_wide=one(-5, 1),
            val_top1_zfnet_wide_fc8192=one(41, 2),
        ),
        NO, YES,
    ),
    Case(
        "rms_limit", "a spread of noise", whole("rms_limit", -1, 0.2, NOISE), OPEN, YES,
    ),
    Case(
        "fewer_dead_filters", "no dead filter in either net, of few",
        {"architecture": {"difference_layer1_never_active": one(0, 0.14)}}, OPEN,
    ),
    Case(
        "middle_frequencies", "a spectrum of noise",
        whole("middle_frequencies", 0.1, 0.02, NOISE), OPEN, YES,
    ),
    Case(
        "less_aliasing", "projections through noise",
        whole("less_aliasing", -0.1, 0.02, NOISE), OPEN, YES,
    ),
    Case(
        "hierarchy", "only layer 1 is less pure, the others are all alike",
        {"features": {
            "purity_slope_within": one(0.1, 0.02), "layer2_purity": one(0.52, 0.04),
            "layer5_purity": one(0.51, 0.04),
        }},
        OPEN, YES,
    ),
    Case(
        "patches_vary_more", "every patch is nearly the whole image",
        {"features": {"spread_difference": one(0.2, 0.03, "field above 0.75 of the side")}},
        OPEN, YES,
    ),
    Case(
        "upper_layers_settle_later", "layer 1 hardly left its random start",
        whole("upper_layers_settle_later", 2, 0.4, "layer 1 stays near its start"),
        OPEN, "holds here", DRAWN,
    ),
    Case(
        "layer1_reacts_more", "neither layer reacts, layer 7 four times less",
        invariance(
            translation_slope_ratio=one(4, 0.5), scale_slope_ratio=one(4, 0.5),
            translation_slope_layer1=one(0.002, 0.0002), scale_slope_layer1=one(0.2, 0.02),
        ),
        SMALL, YES,
    ),
    Case(
        "top_layer_quasi_linear", "a curve that hardly leaves 0",
        invariance(
            translation_straightness_layer7=one(0.95, 0.02),
            scale_straightness_layer7=one(0.95, 0.02),
            translation_slope_layer7=one(0.0003, 0.0001), scale_slope_layer7=one(0.01, 0.001),
        ),
        SMALL, YES,
    ),
    Case(
        "rotation_not_tolerated", "the answer is lost under shifts and scalings as well",
        invariance(
            p_clean=one(0.86, 0.02), translation_p_mean=one(0.2, 0.02),
            scale_p_mean=one(0.25, 0.02), rotation_p_mean=one(0.1, 0.02),
        ),
        NO, YES,
    ),
    Case(
        "symmetric_objects", "a peak that no figure would show",
        invariance(disc_peak_180=one(0.004, 0.002), p_clean=one(0.86, 0.02)), NO, YES,
    ),
    Case(
        "symmetric_objects", "the net knows few images as they are",
        invariance(disc_peak_180=one(0.02, 0.005), p_clean=one(0.12, 0.02)), SMALL, YES,
    ),
    Case(
        "hiding_the_object", "p is near 0 everywhere",
        {"occlusion": {"inside_minus_outside": one(0.005, 0.002), "worst_drop": one(0.02, 0.01)}},
        SMALL, YES,
    ),
    Case(
        "hiding_elsewhere", "hiding the object changes nothing either",
        {"occlusion": {
            "drop_outside_box": one(0.001, 0.001), "inside_minus_outside": one(0.002, 0.002),
        }},
        SMALL, YES,
    ),
    Case(
        "activity_at_projection", "the map loses no activity anywhere",
        {"occlusion": {
            "projection_correlation_gain": one(0.2, 0.05), "field_share": one(0.6, 0.0),
            "activity_drop": one(0.01, 0.005),
        }},
        SMALL, YES,
    ),
    Case(
        "parts_alike_layer5", "the square changes nearly no feature",
        {"correspondence": {
            "layer5_parts_minus_random": one(-0.003, 0.001), "layer5_random": one(0.004, 0.001),
        }},
        SMALL, YES,
    ),
    Case(
        "parts_less_so_layer7", "layer 5 tells nothing, layer 7 has the opposite sign",
        {"correspondence": {
            "gap_first_minus_last_layer": one(0.04, 0.01),
            "layer7_parts_minus_random": one(0.03, 0.01), "layer5_random": one(0.3, 0.02),
        }},
        OPEN, YES,
    ),
    Case(
        "pretraining_wins", "with the most images the net from scratch is not done",
        {"transfer": {
            "unseen_pretrained_minus_scratch_5": one(22, 5),
            "unseen_pretrained_minus_scratch_15": one(27, 5),
            "unseen_pretrained_minus_scratch_30": one(31, 5, STILL_LEARNING),
        }},
        OPEN, "holds here", DRAWN,
    ),
    Case(
        "few_images_suffice", "the net from scratch has not learned its own images",
        {"transfer": {
            "unseen_pretrained_5": one(44, 3), "unseen_scratch_30": one(30, 5, UNFIT),
        }},
        OPEN, "holds here", DRAWN,
    ),
    Case(
        "caltech101_figure", "the figure of features of ten classes",
        {"transfer": {"caltech101_pretrained_30": one(86.5, 0.5)}}, SMALL, run={"classes": 10},
    ),
    Case(
        "caltech256_figure", "the figure of features of small images",
        {"transfer": {"caltech256_pretrained_60": one(74.2, 0.5)}},
        SMALL, run={"nets": {name: net(px=112) for name in NETS}},
    ),
    Case(
        "pascal_transfers_less", "far behind the earlier methods on both sets",
        {"transfer": {
            "caltech101_pretrained_30": one(34, 1), "caltech101_pretrained_15": one(28, 1),
            "voc2012_softmax_map": one(24, 1),
        }},
        SMALL, YES,
    ),
    Case(
        "depth_knows_more", "layer 1 carries the rise",
        probe([39.5, 62.1, 61.2, 61.9, 62.9, 60.2], 3.0), OPEN, "holds here", DRAWN,
    ),
    Case(
        "depth_knows_more", "and layer 7 knows less than layer 2",
        probe([39.5, 66.1, 65.2, 64.9, 62.9, 60.2], 3.0), "fails here", "holds here", DRAWN,
    ),
    Case(
        "each_layer_knows_more", "from layer 3 on there is next to nothing left to know",
        probe([60.0, 97.0, 99.5, 99.8, 99.6, 99.7], 0.3), OPEN, run=DRAWN,
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def first() -> Claims:
    """The claims by their first rules: no needs of their own, no numbers added, no margin."""
    document = yaml.safe_load((ROOT / "paper" / "claims.yaml").read_text(encoding="utf-8"))
    for name, claim in document["claims"].items():
        claim.pop("needs", None)
        claim["measured"] = claim["measured"][: FIRST.get(name)]
    document["claims"]["symmetric_objects"]["rule"].pop("margin")
    return parse(document, Claims, "claims.yaml")


def plain(numbers: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, Estimate]]:
    """Without what is known against the numbers."""
    return {
        study: {key: replace(each, invalid="") for key, each in own.items()}
        for study, own in numbers.items()
    }


CASES += SURVEY


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.claim}: {case.what}")
def test_no_word_misleads(case: Case, first: Claims) -> None:
    found = judge_claim(case.claim, WHOLE, evidence(case.numbers, **case.run))
    assert found.word == case.word
    if case.once:
        assert judge_claim(case.claim, first, evidence(plain(case.numbers), **case.run)).word == (
            case.once
        )
    if case.word == SMALL and WHOLE.claims[case.claim].needs:
        # rendered images take only the other needs off
        assert judge_claim(case.claim, WHOLE, evidence(case.numbers, **DRAWN)).word == SMALL
    for why in {each.invalid for own in case.numbers.values() for each in own.values()} - {""}:
        assert why in found.reason(1)


def test_every_claim_has_a_case() -> None:
    assert {case.claim for case in CASES} == set(WHOLE.claims)
    paper = [claim for claim in WHOLE.claims.values() if claim.work == "paper"]
    assert (len(paper), len(WHOLE.claims)) == (35, 62)


@pytest.mark.parametrize("name", [name for name in WHOLE.claims if WHOLE.claims[name].nets])
def test_a_net_at_chance_gets_no_word(name: str) -> None:
    claim = WHOLE.claims[name]
    numbers = whole(name, 1, 0.1, "")
    for each in claim.nets:
        nets = {other: net(AT_CHANCE if other == each else "trained") for other in NETS}
        assert judge_claim(name, WHOLE, evidence(numbers, nets=nets)).word == NONE
