"""The numbers that studies write, as patterns: what a claim may name.

The claims' file is written by hand before anything has run; a key that no study writes would make a
claim that is never measured, and nobody would notice.
"""

from __future__ import annotations

import re

_TARGET = r"(unseen|caltech101|caltech256|voc2007|voc2012)"
_BAND = r"(never_active|weak|dominance|low|mid|high)"
_NET = r"(alexnet|zfnet)(_[a-z0-9]+)*"

KNOWN: dict[str, tuple[str, ...]] = {
    "ablation": (
        r"cost_removing_(3_4|7|6_7|3_4_6_7|3_4_6_7_slow)",
        r"change_fc8192_of_wide",
        r"change_(alexnet|zfnet)_fc(2048|8192)",
        r"change_zfnet_wide(_fc8192)?",
        r"cost_beyond_sum(_slow)?",
        rf"val_top1_{_NET}",
    ),
    "architecture": (
        rf"(zfnet|alexnet|difference)_layer[12]_{_BAND}",
        r"(zfnet|alexnet|difference)_layer2_(grid_excess|grid_ratio|field_share)",
        r"(unlimited|limit)_layer1_dominance",
    ),
    "classification": (
        r"top[15]_(zfnet|alexnet|zfnet_ensemble|zfnet_wide|both)",
        r"zfnet_minus_alexnet|ensemble_minus_one|wide_minus_zfnet|both_minus_ensemble",
        r"ten_crops_minus_centre",
    ),
    "correspondence": (
        r"layer\d_(right_eye|left_eye|nose|parts)(_minus_random|_p)?",
        r"layer\d_random",
        r"gap_first_minus_last_layer",
    ),
    "evolution": (
        r"layer\d_(settled|settled_share|unsettled|image_changes|floor|dead_maps)",
        r"upper_minus_lower(_share)?",
    ),
    "features": (
        r"layer\d_(maps|dead_maps|purity|purity_directions|field_px|field_share)",
        r"layer\d_spread_(projections|patches|difference)",
        r"layer\d_support_(share|px)",
        r"spread_difference|support_share|purity_slope|purity_slope_within|purity_chance",
    ),
    "invariance": (
        r"p_clean",
        r"(translation|scale|rotation|disc)_(slope_layer\d|slope_ratio|p_mean)",
        r"(translation|scale)_(straightness_layer\d|straight_layer\d|p_end)",
        r"(translation|scale|rotation)_unfilled_ratio",
        r"(rotation|disc)_(peak|nearer)_(90|180|270)",
    ),
    "occlusion": (
        r"worst_drop|label_changed|activity_drop|inside_minus_outside|field_share",
        r"drop_(inside|outside)_box",
        r"projection_correlation(_other|_gain|_p)?",
    ),
    "overlap": (rf"({_TARGET}|source)_(shared|most_in_a_class|strongest|repeated)",),
    "probe": (
        rf"{_TARGET}_(svm|softmax|gain)_\d",
        rf"{_TARGET}_(trend|rise)(_untrained)?",
    ),
    "transfer": (
        rf"{_TARGET}_(pretrained|scratch|untrained)_\d+",
        rf"{_TARGET}_pretrained_minus_(scratch|untrained)_\d+",
        rf"{_TARGET}_few_images",
        r"voc20(07|12)_(softmax|sigmoids|untrained)_map",
    ),
    rf"train_{_NET}": (
        r"(val|val_ten_crop)_top[15]_error|train_top1_error|train_loss|epochs|parameters",
        r"filters_rescaled|largest_filter_rms",
    ),
}  # fmt: skip


def is_known(study: str, key: str) -> bool:
    """Whether a study writes numbers of that name."""
    return any(
        re.fullmatch(pattern, key)
        for name, patterns in KNOWN.items()
        if re.fullmatch(name, study)
        for pattern in patterns
    )


def is_study(study: str) -> bool:
    """Whether there is such a file of numbers."""
    return any(re.fullmatch(name, study) for name in KNOWN)
