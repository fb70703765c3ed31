"""Constructed claims, runs and numbers with known answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from zfnet.paper import parse
from zfnet.pipeline.registry import NETS
from zfnet.stats.estimate import IMAGES, TRAININGS, Estimate
from zfnet.verdicts.claims import Claims
from zfnet.verdicts.evidence import Run
from zfnet.verdicts.judge import Judgement, judge_all

ENTRY = {
    "place": "Fig. 2",
    "claim": "Features form a hierarchy.",
    "measured": [{"study": "features", "key": "purity_slope"}],
    "rule": {"kind": "trend", "sign": "positive", "why": "purity grows"},
    "paper": {"text": "rises"},
    "test": "bootstrap",
    "units": "maps",
    "scale": "photos",
    "committed": "2026-11-22",
    "edits": [],
}
DOCUMENT = {
    "format": 1,
    "committed": "2026-11-22",
    "edits": [],
    "correction": "Holm",
    "seen": [{"experiment": "made", "seeds": [0, 4], "studies": ["features"]}],
    "tests": {"bootstrap": {"text": "95 % bootstrap interval", "error": 0.05}},
    "scales": {
        "photos": {"classes": {"least": 10, "why": "few classes are told by colour"}},
        "imagenet": {"classes": {"least": 1000, "why": "the figure is of 1000 classes"}},
    },
}


def document(**claims: Mapping[str, Any]) -> dict[str, Any]:
    """A claims file of `claims`, each what it changes of ENTRY."""
    changed = claims or {"hierarchy": {}}
    return {**DOCUMENT, "claims": {name: {**ENTRY, **each} for name, each in changed.items()}}


def claims_of(**claims: Mapping[str, Any]) -> Claims:
    return parse(document(**claims), Claims, "claims.yaml")


def net(status: str = "trained", epochs: int | None = 70, px: int = 224) -> dict[str, Any]:
    return {"status": status, "epochs": epochs, "input_px": px}


def evidence(
    numbers: Mapping[str, Mapping[str, Estimate]],
    source: str = "imagenette",
    *,
    classes: int | None = 1000,
    images: int | None = 1_281_167,
    nets: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 11,
    experiment: str = "made",
    trainings: int = 5,
) -> Run:
    """A run above every need, but for what is changed; `trainings`: of numbers that say one."""
    numbers = {
        study: {
            key: replace(one, trainings=trainings) if one.trainings == 1 else one
            for key, one in own.items()
        }
        for study, own in numbers.items()
    }
    seeds = "; ".join(str(each) for each in range(seed, seed + 5))
    given = nets or {name: net() for name in NETS}
    known = {name: {"seeds": seeds, **each} for name, each in given.items()}
    known["zfnet"] = {"classes": classes, "images": images, **known["zfnet"]}
    return Run(experiment, seed, source, known, numbers)


def judged(
    claims: Mapping[str, Mapping[str, Any]], numbers: Any, *more: Any, **run: Any
) -> Judgement:
    return judge_all(claims_of(**claims), evidence(numbers, *more, **run))


# ------------------------------------------------------------------ a result at which words mislead
YES, NO, OPEN, SMALL, NONE = (
    "reproduced", "contradicted", "undecided", "out of scale", "not measured"
)  # fmt: skip
DRAWN = {"source": "synthetic", "classes": 12, "images": 2400}


def one(value: float, half: float, invalid: str = "") -> Estimate:
    """A number of five trainings with its 95 % interval."""
    ends = value - half, value + half
    covers = (IMAGES, TRAININGS)
    return Estimate(value, *ends, 600, df=4, trainings=5, covers=covers, invalid=invalid)


@dataclass(frozen=True)
class Case:
    """`numbers`: by study and key; `once`: the word by the first rule, "" for the same."""

    claim: str
    what: str
    numbers: Mapping[str, Mapping[str, Estimate]]
    word: str
    once: str = ""
    run: Mapping[str, Any] = field(default_factory=dict)
