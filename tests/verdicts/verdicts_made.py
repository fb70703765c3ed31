"""Constructed claims, runs and numbers with known answers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from zfnet.paper import parse
from zfnet.stats.estimate import Estimate
from zfnet.verdicts.claims import Claim, Claims, Number
from zfnet.verdicts.evidence import Run
from zfnet.verdicts.judge import Judgement, judge_all

NETS = (
    "zfnet",
    "zfnet_nolimit",
    "zfnet_fc2048",
    "zfnet_fc8192",
    "zfnet_wide",
    "zfnet_wide_fc8192",
    "alexnet",
    "alexnet_no34",
    "alexnet_no67",
    "alexnet_fc2048",
    "alexnet_fc8192",
)
ENTRY = {
    "place": "Fig. 2",
    "claim": "Features form a hierarchy.",
    "measured": [{"study": "features", "key": "purity_slope"}],
    "rule": {"kind": "trend", "sign": "positive", "why": "purity grows"},
    "paper": {"text": "rises"},
    "test": "bootstrap",
    "units": "maps",
    "scale": "photos",
    "edits": [],
}
DOCUMENT: dict[str, Any] = {
    "format": 1,
    "edits": [],
    "correction": "Holm",
    "seen": [],
    "tests": {"bootstrap": {"text": "95 % bootstrap interval", "error": 0.05}},
    "scales": {
        "photos": {"classes": {"least": 10, "why": "few classes are told by colour"}},
        "imagenet": {"classes": {"least": 1000, "why": "the figure is of 1000 classes"}},
    },
}


def document(**claims: Mapping[str, Any]) -> dict[str, Any]:
    """A claims file of `claims`, each what it changes of ENTRY."""
    made = {**copy.deepcopy(DOCUMENT), "committed": "2026-11-22"}
    made["claims"] = {
        name: {**copy.deepcopy(ENTRY), "committed": "2026-11-22", **copy.deepcopy(dict(changed))}
        for name, changed in (claims or {"hierarchy": {}}).items()
    }
    return made


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
    seed: int = 1,
    experiment: str = "made",
) -> Run:
    """A run above every need, but for what is changed."""
    known: dict[str, Any] = dict(nets or {name: net() for name in NETS})
    if known["zfnet"]["status"] != "adopted":
        known["zfnet"] = {**known["zfnet"], "classes": classes, "images": images}
    return Run(experiment, seed, source, known, numbers)


def judged(
    claims: Mapping[str, Mapping[str, Any]], numbers: Any, *more: Any, **run: Any
) -> Judgement:
    return judge_all(claims_of(**claims), evidence(numbers, *more, **run))


def inside(claim: Claim) -> float:
    low, high = claim.rule.region
    if low == -float("inf"):
        return high - 1
    return low + 1 if high == float("inf") else (low + high) / 2


def outside(claim: Claim) -> float:
    low, high = claim.rule.region
    return high + 1 if high < float("inf") else low - 1


def numbers_for(
    claims: Claims, claim: Claim, value: float, half: float, on: str
) -> dict[str, dict[str, Estimate]]:
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
    for _, need in claims.needs(claim):
        if need.study and need.key:
            enough = need.least if need.least is not None else need.most
            found.setdefault(need.study, {})[need.key] = Estimate(enough or 0.0)
    return found
