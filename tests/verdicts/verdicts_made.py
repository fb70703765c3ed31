"""Constructed claims, runs and numbers with known answers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from zfnet.stats.estimate import Estimate
from zfnet.verdicts.claims import Claim, Claims, Number, parse
from zfnet.verdicts.judge import Evidence, Net, Run
from zfnet.verdicts.rules import Region, region_of

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
    import datetime

    day = datetime.date(2026, 11, 22)
    made = copy.deepcopy(DOCUMENT)
    made["committed"] = day
    made["claims"] = {
        name: {**copy.deepcopy(ENTRY), "committed": day, **copy.deepcopy(dict(changed))}
        for name, changed in (claims or {"hierarchy": {}}).items()
    }
    return made


def claims_of(**claims: Mapping[str, Any]) -> Claims:
    return parse(document(**claims), "claims.yaml")


def run(source: str = "imagenette", **changes: Any) -> Run:
    """A run above every need."""
    nets = {name: Net("trained", 70, 224) for name in NETS}
    values: dict[str, Any] = {
        "experiment": "made",
        "seed": 1,
        "source": source,
        "classes": 1000,
        "images": 1_281_167,
        "nets": nets,
    }
    return Run(**{**values, **changes})


def evidence(
    numbers: Mapping[str, Mapping[str, Estimate]], source: str = "imagenette", **changes: Any
) -> Evidence:
    return Evidence(run(source, **changes), numbers)


def inside(region: Region) -> float:
    if region.low == -float("inf"):
        return region.high - 1
    return region.low + 1 if region.high == float("inf") else (region.low + region.high) / 2


def outside(region: Region) -> float:
    return region.high + 1 if region.high < float("inf") else region.low - 1


def numbers_for(claim: Claim, value: float, half: float, on: str) -> dict[str, dict[str, Estimate]]:
    """Numbers of a claim that all measure `value` (its steps, of an order), ± `half`."""
    found: dict[str, dict[str, Estimate]] = {}

    def put(number: Number, at: float, wide: float) -> None:
        exact = 1e-9 if number.minus else 0.0
        if number.minus:  # takes nothing off beyond its own constant
            put(number.minus, 0.0, exact)
        at += number.less
        measured = Estimate(at, at - wide, at + wide, 1000)
        for key in number.keys:
            found.setdefault(number.study, {})[key] = measured

    for group in claim.groups:
        if group.on in ("", on):
            for k, number in enumerate(group.numbers):
                at = 10 + (k + 1) * value if claim.kind == "order" else value
                put(number, at, half)
    for need in claim.needs:
        if need.number is not None:
            enough = need.least if need.least is not None else need.most
            assert enough is not None
            put(need.number, enough, 0.0)
    return found


def region(claim: Claim) -> Region:
    return region_of(claim.kind, claim.parameters)
