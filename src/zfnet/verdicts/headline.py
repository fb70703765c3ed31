"""The few numbers that `dvc metrics` and `dvc exp show` compare runs by; all are in metrics/ too.

HEADLINE is the whole list: a name, and where its number stands. What a run did not measure is left
out. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zfnet.stats.estimate import Estimate, decimals
from zfnet.verdicts.judge import NOT_MEASURED, SEEDS, Judgement


@dataclass(frozen=True)
class Number:
    """`name` as shown, `study` and `key` as in metrics/<study>.json.

    {words} stand for whatever is there, letters, digits and underscores, but not for a difference;
    {n}: digits. Where a net was trained with several seeds the mean over them is taken.
    """

    name: str
    study: str
    key: str

    def matches(self, study: str, key: str) -> str | None:
        """The name of this number of a study, None where it is another one."""
        found = re.fullmatch(_pattern(f"{self.study}/{self.key}"), f"{study}/{key}")
        return self.name.format(**found.groupdict()) if found else None


HEADLINE = (
    # Tables 2 and 3, validation images, centre crop, %
    Number("top1_error.{net}", "train_{net}", "val_top1_error"),
    Number("top5_error.{net}", "classification", "top5_{net}"),
    # Table 3: points of error more than the whole AlexNet
    Number("cost_without.{layers}", "ablation", "cost_removing_{layers}"),
    # Fig. 2: share of a map's nine strongest images that are of one class
    Number("purity.layer{n}", "features", "layer{n}_purity"),
    # Fig. 4: epochs that the upper layers settle later
    Number("evolution.upper_layers_later", "evolution", "upper_minus_lower"),
    # Fig. 5: how many times more steeply the lower of the two compared layers reacts
    Number("invariance.translation_ratio", "invariance", "translation_slope_ratio"),
    Number("invariance.scale_ratio", "invariance", "scale_slope_ratio"),
    Number("invariance.rotation_ratio", "invariance", "rotation_slope_ratio"),
    # Fig. 6: maps that no image activates; aliasing of layer 2
    Number("dead_filters.{net}_layer{n}", "architecture", "{net}_layer{n}_never_active"),
    Number("aliasing.zfnet_minus_alexnet", "architecture", "difference_layer2_grid_excess"),
    # Fig. 7: drop of p(true class), hiding the object less hiding elsewhere; the strongest map
    Number("occlusion.object_minus_elsewhere", "occlusion", "inside_minus_outside"),
    Number("occlusion.follows_projection", "occlusion", "projection_correlation_gain"),
    # Table 1: below 0 where a part changes faces more alike than a random place
    Number("parts_minus_random.layer{n}", "correspondence", "layer{n}_parts_minus_random"),
    # Tables 4 to 7: accuracy, %
    Number("transfer.{set}_{n}", "transfer", "{set}_pretrained_{n}"),
    Number("scratch.{set}_{n}", "transfer", "{set}_scratch_{n}"),
    Number("probe.{set}_layer{n}", "probe", "{set}_svm_{n}"),
)


def headline(numbers: Mapping[str, Mapping[str, Estimate]], judgement: Judgement) -> dict[str, Any]:
    """HEADLINE of a run, and how many claims got which word: {group: {name: number}}.

    Rounded to what its interval tells, as every verdict's number is. No key may be `error`: DVC
    takes that for a file that it could not read.
    """
    found: dict[str, Any] = {
        "claims": {word.replace(" ", "_"): count for word, count in judgement.counts.items()}
    }
    for wanted in HEADLINE:
        for study, measured in numbers.items():
            for key, one in measured.items():
                name = wanted.matches(study, key)
                if name is None:
                    continue
                over = measured.get(f"{key}{SEEDS}")
                one = over if over is not None and over.value == over.value else one
                if one.value == one.value:
                    group, _, rest = name.partition(".")
                    places = decimals(one.value, one.low, one.high)
                    value = round(one.value, places) + 0.0  # no −0.0
                    found.setdefault(group, {})[rest] = value if places else int(value)
    return found


def words(judgement: Judgement) -> dict[str, str]:
    """The word of each claim that was measured, by its id."""
    return {one.claim.id: one.word for one in judgement.verdicts if one.word != NOT_MEASURED}


def _pattern(written: str) -> str:
    """A regular expression of a name with {words}; the same word twice must be the same."""
    parts, seen = [], set()
    for literal, word in re.findall(r"([^{}]*)(?:\{(\w+)\})?", written):
        parts.append(re.escape(literal))
        if word:
            parts.append(f"(?P={word})" if word in seen else f"(?P<{word}>{_allowed(word)})")
            seen.add(word)
    return "".join(parts)


def _allowed(word: str) -> str:
    return r"\d+" if word == "n" else r"(?!difference_|\w*_minus_)\w+?"
