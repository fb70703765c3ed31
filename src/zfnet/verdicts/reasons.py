"""A verdict in sentences: why it came out so, what would decide, what its intervals cover."""

from __future__ import annotations

import math

from zfnet.stats.estimate import TRAININGS
from zfnet.verdicts import rules
from zfnet.verdicts.rules import FOR
from zfnet.verdicts.verdict import OUT_OF_SCALE, UNDECIDED, Verdict


def reason(one: Verdict, family: int) -> str:
    """Why the word is what it is; `family`: how many claims were judged."""
    if one.outcome is None:
        return one.why
    outcome, check = one.outcome, one.outcome.deciding
    if one.word == OUT_OF_SCALE:
        return f"Not judged: the claim needs {', '.join(one.unmet)}."
    said = f"Asked {one.claim.rule.asked}"
    if one.deciding:
        inside = sum(each.side == FOR for each in outcome.checks)
        said += f" ({inside} of {len(outcome.checks)} numbers are; {one.deciding} decides)"
    if outcome.lost and outcome.side == FOR:
        return f"{said}: undecided, as {outcome.lost} of {outcome.tests} numbers are missing."
    if check.why:
        return f"{said}: {check.why}, so it decides nothing."
    corrected = _p(one.p_holm or 0.0).removeprefix("= ")
    end = f"p {_p(outcome.p)}; corrected for {family} claims, {corrected}"
    if one.word == UNDECIDED and one.alone != UNDECIDED:
        end += f"; by itself “{one.alone}”, undecided after correction"
    elif one.word == UNDECIDED:
        end = f"the interval includes both; {end}"
    return f"{said}: {end}."


def _p(p: float) -> str:
    """A p value in words: far in the tail the interval tells no more than that it is small."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def more(one: Verdict) -> str:
    """How many more units would decide; "" for a claim that is decided or cannot be so."""
    outcome = one.outcome
    if outcome is None or one.word != UNDECIDED:
        return ""
    check, n = outcome.deciding, outcome.deciding.measured.n
    if check.why or (outcome.lost and outcome.side == FOR):
        return ""
    if check.half == 0 and check.distance > 0:
        return "The interval has no width, so it does not tell how many more would decide."
    covers, units = check.measured.covers, one.claim.units
    if covers == (TRAININGS,):
        units = "trainings"
    elif TRAININGS in covers or not covers:
        units += " and trainings"
    count = rules.needed(check, one.level if outcome.side == FOR else one.level / outcome.tests)
    if count is None or not n:
        return f"Not even {rules.MOST_TIMES:,} times as many {units} would decide at this estimate."
    times = math.ceil(10 * count / n) / 10 if count < 10 * n else math.ceil(count / n)
    return f"About {times:,g} times as many {units} would decide, were the estimate to stay."


def remark(one: Verdict) -> str:
    """How many trainings stand behind all numbers, and what all intervals cover; "" for none."""
    if one.outcome is None:
        return ""
    count, covers = one.outcome.trainings, one.outcome.covers
    kinds = {rules.UNITS: f"new {one.claim.units}", TRAININGS: "other trainings"}
    covered = [words for kind, words in kinds.items() if kind in covers]
    lacking = [words for kind, words in kinds.items() if kind not in covers]
    said = f"Rests on {'one training' if count == 1 else f'{count} trainings'}"
    said += " of each net" if one.claim.nets else ""
    said += f"; covers {' and '.join(covered) or 'nothing wholly'}"
    return f"{said}, not {' nor '.join(lacking)}." if lacking else f"{said}."
