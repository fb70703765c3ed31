"""The few numbers of `dvc metrics`: names, rounding, what is left out, what dvc.yaml registers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from verdicts_made import claims_of, evidence

from zfnet.pipeline import stages
from zfnet.stats.estimate import Estimate
from zfnet.verdicts.headline import HEADLINE, Number, headline, words
from zfnet.verdicts.judge import judge_all

SLOPE = {"features": {"purity_slope": Estimate(0.1, 0.08, 0.12)}}


def _of(numbers: dict[str, dict[str, Estimate]]) -> dict[str, Any]:
    return headline(numbers, judge_all(claims_of(), evidence(SLOPE)))


def test_a_number_by_its_pattern() -> None:
    one = Number("probe.{set}_layer{n}", "probe", "{set}_svm_{n}")
    assert one.matches("probe", "unseen_svm_5") == "probe.unseen_layer5"
    assert one.matches("probe", "voc_2012_svm_7") == "probe.voc_2012_layer7"
    assert one.matches("probe", "unseen_svm_top") is None  # {n} is digits
    assert one.matches("probe", "unseen_svm_5_low") is None
    assert one.matches("transfer", "unseen_svm_5") is None
    net = Number("top1_error.{net}", "train_{net}", "val_top1_error")
    assert net.matches("train_alexnet_no34", "val_top1_error") == "top1_error.alexnet_no34"
    twice = Number("{net}", "train_{net}", "{net}_x")
    assert twice.matches("train_a", "a_x") == "a"
    assert twice.matches("train_a", "b_x") is None


def test_a_difference_is_no_value_of_its_own() -> None:
    numbers = {
        "transfer": {
            "unseen_scratch_5": Estimate(16.25, 12.0, 20.5),
            "unseen_pretrained_minus_scratch_5": Estimate(18.0, 12.0, 25.0),
        },
        "architecture": {
            "alexnet_layer2_never_active": Estimate(2.0),
            "difference_layer2_never_active": Estimate(-0.02),
        },
    }
    found = _of(numbers)
    assert found["scratch"] == {"unseen_5": 16.2}
    assert found["dead_filters"] == {"alexnet_layer2": 2}


def test_numbers_are_rounded_as_far_as_their_interval_tells() -> None:
    found = _of(
        {
            "train_zfnet": {"val_top1_error": Estimate(18.33333, 15.442, 21.6276)},
            "train_alexnet": {"val_top1_error": Estimate(41.6, 10.0, 90.0)},
            "occlusion": {"inside_minus_outside": Estimate(0.0917165, 0.07, 0.11)},
        }
    )
    assert found["top1_error"] == {"zfnet": 18.3, "alexnet": 42}
    assert found["occlusion"] == {"object_minus_elsewhere": 0.092}


def test_the_mean_over_seeds_goes_before_the_first_seed() -> None:
    numbers = {"val_top1_error": Estimate(18.0, 15, 21)}
    assert _of({"train_zfnet": numbers})["top1_error"] == {"zfnet": 18.0}
    numbers["val_top1_error_over_seeds"] = Estimate(20.0, 17, 23)
    assert _of({"train_zfnet": numbers})["top1_error"] == {"zfnet": 20.0}
    numbers["val_top1_error_over_seeds"] = Estimate(float("nan"))
    assert _of({"train_zfnet": numbers})["top1_error"] == {"zfnet": 18.0}


def test_what_was_not_measured_is_left_out() -> None:
    assert set(_of({})) == {"claims"}
    found = _of({"train_zfnet": {}, "train_alexnet": {"val_top1_error": Estimate(float("nan"))}})
    assert set(found) == {"claims"}


def test_words_of_the_measured_claims_and_their_counts() -> None:
    claims = claims_of(
        hierarchy={}, other={"measured": [{"study": "probe", "key": "unseen_svm_5"}]}
    )
    judgement = judge_all(claims, evidence(SLOPE))
    assert words(judgement) == {"hierarchy": "reproduced"}
    assert headline({}, judgement)["claims"] == {"reproduced": 1, "not_measured": 1}


def test_no_name_is_one_that_dvc_takes_for_a_failure() -> None:
    """DVC's metrics commands report every key `error` as a file that could not be read."""
    parts = [part for one in HEADLINE for part in one.name.split(".")]
    assert "error" not in parts
    assert all(one.name.count(".") == 1 for one in HEADLINE)


def test_every_entry_finds_its_number_in_the_committed_run(root: Path) -> None:
    """A study that renames a key would silently drop it from the comparisons."""
    keys = {
        file.stem: list(json.loads(file.read_text(encoding="utf-8")))
        for file in (root / "metrics").glob("*.json")
    }
    if "probe" not in keys:
        pytest.skip("a copy without metrics/")
    for one in HEADLINE:
        assert any(one.matches(study, key) for study in keys for key in keys[study]), one.name


def test_only_the_headline_and_the_words_are_registered_as_metrics(root: Path) -> None:
    registered = {
        next(iter(entry))
        for stage in stages.pipeline(root).values()
        for entry in stage.get("metrics") or []
    }
    assert registered == {"metrics/headline.json", "metrics/verdicts.json"}
