"""What a run says of one claim, before the correction for how many are judged. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from zfnet import MAIN_NET
from zfnet.stats.estimate import STILL_LEARNING, TRAININGS
from zfnet.stats.trainings import ENOUGH
from zfnet.verdicts.claims import Claim, Claims, Need, amount
from zfnet.verdicts.evidence import Part, Run, find, untrained, whys
from zfnet.verdicts.rules import (
    AGAINST,
    FOR,
    LEVEL,
    MOST_TIMES,
    UNITS,
    Outcome,
    decide,
    decided,
    needed,
)

REPRODUCED, CONTRADICTED = "reproduced", "contradicted"
HOLDS, FAILS = "holds here", "fails here"
IN_NET = {FOR: "holds in this net", AGAINST: "fails in this net"}  # of one that was adopted
UNDECIDED, OUT_OF_SCALE, NOT_MEASURED = "undecided", "out of scale", "not measured"
FEW = {1: "one training", 2: "two trainings"}  # in place of a verdict
WORDS = (
    REPRODUCED, CONTRADICTED, HOLDS, FAILS, *IN_NET.values(), UNDECIDED, *FEW.values(),
    OUT_OF_SCALE, NOT_MEASURED,
)  # fmt: skip
DECIDED_FOR, DECIDED_AGAINST = (
    (REPRODUCED, HOLDS, IN_NET[FOR]),
    (CONTRADICTED, FAILS, IN_NET[AGAINST]),
)
UNJUDGED = {OUT_OF_SCALE, *FEW.values()}  # measured, and no part of what is corrected for
LEARN = " Longer training would help: training.epochs."


@dataclass(frozen=True)
class Verdict:
    """What a run says of one claim.

    `alone`: the word before the correction. `outcome`: None where nothing was measured, `why` then
    says why. `needs`: each as "need" and what there is of it "here", in words, whether it is "met",
    whether it "keeps" the claim from being judged, and "why" it is needed. `learning`: a net of the
    claim was still learning: it may hold, but not yet fail. After the correction,
    where the claim was judged: `p_holm`, and the `level` that the claim's own p had to stay below.
    """

    id: str
    claim: Claim
    word: str
    alone: str
    parts: tuple[Part, ...] = ()
    outcome: Outcome | None = None
    needs: tuple[dict[str, Any], ...] = ()
    why: str = ""
    learning: bool = False
    p_holm: float | None = None
    level: float = LEVEL

    @property
    def deciding(self) -> str:
        """The number or pair that decides, where there are several; else ""."""
        several = self.outcome and len(self.outcome.checks) > 1
        return self.outcome.deciding.name if self.outcome and several else ""

    def reason(self, family: int) -> str:
        """Why the word is what it is; `family`: how many claims were judged."""
        if self.outcome is None:
            return self.why
        outcome, check = self.outcome, self.outcome.deciding
        if self.word == OUT_OF_SCALE:
            unmet = [f"{n['need']} (here {n['here']})" for n in self.needs if n["keeps"]]
            return f"Not judged: the claim needs {', '.join(unmet)}."
        if self.word in FEW.values():
            return (
                f"Not judged: a claim about nets needs {ENOUGH} trainings that learned or more "
                f"(scale.seeds), and here it rests on {outcome.trainings}."
            )
        said = f"Asked {self.claim.rule.asked}"
        if self.deciding:
            inside = sum(each.side == FOR for each in outcome.checks)
            said += f" ({inside} of {len(outcome.checks)} numbers are; {self.deciding} decides)"
        if outcome.lost and outcome.side == FOR:
            return f"{said}: undecided, as {outcome.lost} of {outcome.tests} numbers are missing."
        if check.why:
            longer = LEARN if check.why == STILL_LEARNING else ""
            return f"{said}: undecided, as the number is no evidence: {check.why}.{longer}"
        if self.learning and outcome.side == AGAINST and decided(outcome.p):
            return f"{said}: undecided, as it fails on a net that was still learning.{LEARN}"
        corrected = _p(self.p_holm or 0.0).removeprefix("= ")
        end = f"p {_p(outcome.p)}; corrected for {family} claims, {corrected}"
        if self.word == UNDECIDED and self.alone != UNDECIDED:
            end += f"; by itself “{self.alone}”, undecided after correction"
        elif self.word == UNDECIDED:
            end = f"the interval includes both; {end}"
        return f"{said}: {end}."

    @property
    def more(self) -> str:
        """How many more units would decide; "" for a claim that is decided or cannot be so."""
        outcome = self.outcome
        if outcome is None or self.word != UNDECIDED:
            return ""
        check, n = outcome.deciding, outcome.deciding.measured.n
        if check.why or (outcome.lost and outcome.side == FOR):
            return ""
        if check.half == 0 and check.distance > 0:
            return "The interval has no width, so it does not tell how many more would decide."
        covers, units = check.measured.covers, self.claim.units
        if n == check.measured.trainings and TRAININGS in covers:
            units = "trainings"
        elif TRAININGS in covers or not covers:
            units += " and trainings"
        level = self.level if outcome.side == FOR else self.level / outcome.tests
        count = needed(check, level)
        if count is None or not n:
            return f"Not even {MOST_TIMES:,} times as many {units} would decide at this estimate."
        times = math.ceil(10 * count / n) / 10 if count < 10 * n else math.ceil(count / n)
        return f"About {times:,g} times as many {units} would decide, were the estimate to stay."

    @property
    def remark(self) -> str:
        """How many trainings stand behind the numbers, and what their intervals cover."""
        if self.outcome is None:
            return ""
        count, covers = self.outcome.trainings, self.outcome.covers
        kinds = {UNITS: f"new {self.claim.units}", TRAININGS: "other trainings"}
        covered = [words for kind, words in kinds.items() if kind in covers]
        lacking = [words for kind, words in kinds.items() if kind not in covers]
        said = f"Rests on {'one training' if count == 1 else f'{count} trainings'}"
        said += " of each net" if self.claim.nets else ""
        said += f"; covers {' and '.join(covered) or 'nothing wholly'}"
        return f"{said}, not {' nor '.join(lacking)}." if lacking else f"{said}."


def _p(p: float) -> str:
    """A p value in words: far in the tail the interval tells no more than that it is small."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def judge_claim(name: str, claims: Claims, run: Run) -> Verdict:
    """The claim `name` by itself."""
    claim = claims.claims[name]
    if why := untrained(claim.nets, run):
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
    kept = any(each["keeps"] for each in needs)
    learning = STILL_LEARNING in {run.fact("status", net) for net in claim.nets or (MAIN_NET,)}
    word = _word(outcome, run, kept, learning)
    parts = (*(part for chain in chains for part in chain), *missing)
    return Verdict(name, claim, word, word, parts, outcome, needs, learning=learning)


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
    met = here is not None and need.met(here)
    if name == "epochs" and run.adopted:  # it asks whether training has ended, not how long it took
        told["here"], met = "trained elsewhere", True
    speaks_of_the_paper = not run.rendered and not (run.adopted and trainings == 1)
    counts = need.everywhere or claim.rule.kind == "absolute" or speaks_of_the_paper
    return {**told, "met": met, "keeps": counts and not met, "why": need.why}


def _word(outcome: Outcome, run: Run, kept: bool, learning: bool) -> str:
    if kept:
        return OUT_OF_SCALE
    one_net = run.adopted and outcome.trainings == 1
    if outcome.trainings < ENOUGH and not one_net:
        return FEW[outcome.trainings]
    if not decided(outcome.p) or (learning and outcome.side == AGAINST):
        return UNDECIDED
    if one_net:
        return IN_NET[outcome.side]
    if run.rendered:
        return HOLDS if outcome.side == FOR else FAILS
    return REPRODUCED if outcome.side == FOR else CONTRADICTED
