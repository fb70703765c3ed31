"""A verdict in sentences: why it came out so, what would decide, what its intervals cover."""

from __future__ import annotations

import math

from zfnet.stats.estimate import TRAININGS, text
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
    said = f"{text(check.measured)}, asked {one.claim.rule.asked}"
    if one.deciding:
        inside = sum(each.side == FOR for each in outcome.checks)
        said = (
            f"{inside} of {len(outcome.checks)} lie where asked; the deciding one, "
            f"{one.deciding}, is {said}"
        )
    if outcome.lost and outcome.side == FOR:
        return f"{said}: undecided, as {outcome.lost} of {outcome.tests} numbers are missing."
    if check.why:
        return f"{said}: {check.why}, so it decides nothing."
    corrected = _p(one.p_holm or 0.0).removeprefix("= ")
    numbers = f"p {_p(outcome.p)}; corrected for {family} claims, {corrected}"
    if one.word != UNDECIDED:
        return f"{said}: {numbers}."
    if one.alone != UNDECIDED:
        return f"{said}: {numbers}; by itself “{one.alone}”, undecided after correction."
    return f"{said}: the interval includes both; {numbers}."


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
    covers = check.measured.covers
    units = "trainings" if covers == (TRAININGS,) else one.claim.units
    crossed = covers != (TRAININGS,) and (TRAININGS in covers or not covers)
    units += " and trainings" if crossed else ""
    level = one.level if outcome.side == FOR else one.level / outcome.tests
    count = rules.needed(check, level)
    if count is None or not n:
        return f"Not even {rules.MOST_TIMES:,} times as many {units} would decide at this estimate."
    many = f"{count - n:,} more {units} ({count:,} in all)"
    if crossed:
        many = f"{math.ceil(10 * count / n) / 10:,g} times as many {units}"
    return f"About {many} would decide, were the estimate to stay."


def remark(one: Verdict) -> str:
    """What the intervals of all numbers cover; "" where nothing was measured."""
    if one.outcome is None:
        return ""
    units, count, covers = one.claim.units, one.outcome.trainings, one.outcome.covers
    if not covers:
        return f"Some intervals are over {units}, others over trainings: together over neither."
    if covers == {TRAININGS}:
        return f"Covers other trainings, of which there were {count}, on these {units}."
    if TRAININGS in covers:
        return f"Covers new {units} and other trainings, of which there were {count}."
    one_each = "One training of each net" if one.claim.nets else "One training"
    rests = f"Mean of {count} trainings" if count > 1 else one_each
    return f"{rests}: the interval is over {units} and does not cover other trainings."
