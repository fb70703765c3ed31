"""What a run says of one claim, before the correction for how many are judged. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from zfnet import MAIN_NET
from zfnet.stats.estimate import AT_CHANCE
from zfnet.verdicts.claims import Claim, Claims, Need, amount
from zfnet.verdicts.evidence import ADOPTED, FAILED, Part, Run, find, whys
from zfnet.verdicts.rules import FOR, LEVEL, Outcome, decide, decided

REPRODUCED, CONTRADICTED = "reproduced", "contradicted"
HOLDS, FAILS = "holds here", "fails here"
UNDECIDED, OUT_OF_SCALE, NOT_MEASURED = "undecided", "out of scale", "not measured"
WORDS = (REPRODUCED, CONTRADICTED, HOLDS, FAILS, UNDECIDED, OUT_OF_SCALE, NOT_MEASURED)


@dataclass(frozen=True)
class Verdict:
    """What a run says of one claim.

    `alone`: the word before the correction. `outcome`: None where nothing was measured, `why` then
    says why. `needs`: each as "need" and what there is of it "here", in words, whether it is "met",
    and "why" it is needed. After the correction, where the claim was judged: `p_holm`, and the
    `level` that the claim's own p had to stay below.
    """

    id: str
    claim: Claim
    word: str
    alone: str
    parts: tuple[Part, ...] = ()
    outcome: Outcome | None = None
    needs: tuple[dict[str, Any], ...] = ()
    why: str = ""
    p_holm: float | None = None
    level: float = LEVEL

    @property
    def unmet(self) -> list[str]:
        """Needs that the run does not meet, with what it has."""
        return [f"{each['need']} (here {each['here']})" for each in self.needs if not each["met"]]

    @property
    def deciding(self) -> str:
        """The number or pair that decides, where there are several; else ""."""
        several = self.outcome and len(self.outcome.checks) > 1
        return self.outcome.deciding.name if self.outcome and several else ""


def judge_claim(name: str, claims: Claims, run: Run) -> Verdict:
    """The claim `name` by itself."""
    claim = claims.claims[name]
    if why := _untrained(claim, run):
        return Verdict(name, claim, NOT_MEASURED, NOT_MEASURED, why=why)
    chains, missing, lost = _collect(claim, run)
    if not chains:
        why = f"{whys(missing)}."
        return Verdict(name, claim, NOT_MEASURED, NOT_MEASURED, tuple(missing), why=why)
    found = [[(part.key, part.measured) for part in chain if part.measured] for chain in chains]
    outcome = decide(found, claim.rule, lost)
    needs = tuple(
        _asked(key, need, claim, outcome.trainings, run) for key, need in claims.needs(claim)
    )
    word = _word(claim, outcome, run, all(each["met"] for each in needs))
    parts = (*(part for chain in chains for part in chain), *missing)
    return Verdict(name, claim, word, word, parts, outcome, needs)


def _untrained(claim: Claim, run: Run) -> str:
    """Why a net's training makes the claim unmeasured; "" where none does."""
    for net in claim.nets or (MAIN_NET,):  # what is about no training is measured on the main net
        status = run.fact("status", net)
        if status == AT_CHANCE:
            return f"{net} {FAILED}."
        if status == ADOPTED and claim.nets:
            return f"{net} was adopted: its training is not known here."
    return ""


def _collect(claim: Claim, run: Run) -> tuple[list[list[Part]], list[Part], int]:
    """Chains of the parts found, the parts missing, and how many of these the claim cannot do
    without: those of a set of which others were measured, and those that are no evidence.
    """
    chains, missing, lost = [], [], 0
    for on, numbers in claim.groups:
        if on not in ("", "rendered" if run.rendered else "photographs"):
            continue
        parts = [find(number, run) for number in numbers]
        absent = [part for part in parts if part.measured is None]
        missing += absent
        if len(absent) < len(parts) or any(part.invalid for part in absent):
            lost += len(absent)
        chains += _chains(parts, claim)
    return chains, missing, lost


def _chains(parts: Sequence[Part], claim: Claim) -> list[list[Part]]:
    """The parts that were measured; of an order, runs of neighbours, as a gap has no step."""
    if claim.rule.kind == "order":
        runs = groupby(parts, key=lambda part: part.measured is not None)
        found = [list(neighbours) for there, neighbours in runs if there]
        return [chain for chain in found if len(chain) > 1]
    once: dict[tuple[str, str, float], Part] = {}  # one that stands in for another counts once
    for part in parts:
        if part.measured is not None:
            once.setdefault((part.number.study, part.key, part.number.less), part)
    return [list(once.values())] if once else []


def _asked(name: str, need: Need, claim: Claim, trainings: int, run: Run) -> dict[str, Any]:
    """A need held against the run: the least of the nets' that the claim is about."""
    here: float | None = trainings
    if need.study and need.key:
        measured = run.numbers.get(need.study, {}).get(need.key)
        here = measured.value if measured and measured.value == measured.value else None
    elif name != "trainings":
        nets = (MAIN_NET,) if name in ("classes", "images") else claim.nets or (MAIN_NET,)
        known = [run.fact(name, net) for net in nets]
        here = None if None in known else min(known)
    told = {"need": need.text(name), "here": "not known" if here is None else amount(here)}
    return {**told, "met": here is not None and need.met(here), "why": need.why}


def _word(claim: Claim, outcome: Outcome, run: Run, met: bool) -> str:
    if not met and (claim.rule.kind == "absolute" or not run.rendered):
        return OUT_OF_SCALE
    if not decided(outcome.p):
        return UNDECIDED
    if run.rendered:
        return HOLDS if outcome.side == FOR else FAILS
    return REPRODUCED if outcome.side == FOR else CONTRADICTED
