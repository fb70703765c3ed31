"""How a number decides a claim: regions, intervals, tests, what more would do. Touches no file.

Every rule names a region in which the number must lie for the claim to be true: above a bound,
below it, between two. A claim is decided by a 95 % interval that lies wholly inside the region (for
the claim) or wholly outside (against it), and undecided by one that holds a bound. The two-sided p
value of a bound is that of Student's t at which the interval, widened or narrowed, would just touch
it; so p ≤ 0.05 says the same as the interval.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from zfnet.paper import Words
from zfnet.pipeline.options import Section
from zfnet.stats.estimate import LESS, MINUS, TRAININGS, Estimate
from zfnet.stats.intervals import critical, tail_p

LEVEL = 0.05
NARROW = 0.0499  # p of an interval without width that excludes a bound: below LEVEL, no more said
FOR, AGAINST = "for", "against"
UNITS = "units"
MOST_TIMES = 1000  # beyond so many times as many units the estimate lies on the bound
# What each kind of rule must say; those with a sign or a way may have a margin besides.
PARAMETERS = {
    "absolute": {"value", "tolerance"},
    "direction": {"sign"},
    "trend": {"sign"},
    "order": {"way"},
    "between": {"low", "high"},
    "equivalence": {"margin"},
    "ratio": {"above"},
}


class Rule(Section):
    """Where a number must lie; of an order, the difference of neighbours (next - before)."""

    kind: Literal["absolute", "direction", "trend", "order", "between", "equivalence", "ratio"]
    why: Words
    sign: Literal["positive", "negative"] | None = None
    way: Literal["rising", "falling"] | None = None
    margin: Annotated[float, Field(ge=0)] = 0.0
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    value: float = 0.0
    tolerance: float = 0.0

    @model_validator(mode="after")
    def _whole(self) -> Rule:
        given, needed = self.model_fields_set - {"kind", "why"}, PARAMETERS[self.kind]
        optional = {"margin"} if needed & {"sign", "way"} else set()
        if (odd := given ^ needed) - optional:
            raise ValueError(f"kind {self.kind} asks for {needed}, and {odd} does not fit")
        if not self.region[0] < self.region[1]:
            raise ValueError(f"kind {self.kind}: nothing lies between {self.region}")
        return self

    @property
    def region(self) -> tuple[float, float]:
        """The bounds, both outside; infinite where there is none."""
        if self.kind == "absolute":
            return self.value - self.tolerance, self.value + self.tolerance
        if self.kind == "equivalence":
            return -self.margin, self.margin
        if self.kind in ("between", "ratio"):
            return max(self.low, self.above), self.high
        up = self.sign == "positive" or self.way == "rising"
        return (self.margin, math.inf) if up else (-math.inf, -self.margin)

    @property
    def asked(self) -> str:
        """The region in words: "above 0"."""
        low, high = (f"{end + 0.0:g}".replace("-", MINUS) for end in self.region)
        if math.isinf(self.region[0]):
            return f"below {high}"
        return f"above {low}" if math.isinf(self.region[1]) else f"between {low} and {high}"

    def __str__(self) -> str:
        return f"{self.kind}: {'each step ' if self.kind == 'order' else ''}{self.asked}"


# ------------------------------------------------------------------------------------ differences
def shifted(measured: Estimate, by: float) -> Estimate:
    """A number less the constant `by`."""
    ends = (None if end is None else end - by for end in (measured.low, measured.high))
    return replace(measured, value=measured.value - by, low=next(ends), high=next(ends))


def less(first: Estimate, second: Estimate) -> Estimate:
    """`first` minus `second`, their half widths added in quadrature.

    That is right for numbers of different images or maps, and too wide, never too narrow, for two
    that rise and fall with the same images. It rests on the fewer degrees of freedom and trainings,
    and covers what both cover.
    """
    low = high = None
    value = first.value - second.value
    if None not in (first.low, first.high, second.low, second.high):
        a, b, c, d = (float(end or 0) for end in (first.low, first.high, second.low, second.high))
        low = value - math.hypot(first.value - a, d - second.value)
        high = value + math.hypot(b - first.value, second.value - c)
    freedom = min(first.freedom, second.freedom)
    return Estimate(
        value,
        low,
        high,
        n=min((n for n in (first.n, second.n) if n is not None), default=None),
        unit="points" if first.unit == "%" else first.unit,
        note="difference of two numbers, half widths added in quadrature",
        df=None if math.isinf(freedom) else freedom,
        trainings=min(first.trainings, second.trainings),
        covers=tuple(each for each in first.covers if each in second.covers),
        invalid=first.invalid or second.invalid,
    )


# -------------------------------------------------------------------------------------- checks
@dataclass(frozen=True)
class Check:
    """One number, called `name`, against one region.

    `side`: where the estimate lies. `p`: two-sided, of the bounds between it and the other side.
    `distance`, `half`: from the estimate to the bound that decides, and the interval's half width
    towards it. `why`: what keeps the number from being tested; p is then 1.
    """

    name: str
    measured: Estimate
    side: str
    p: float = 1.0
    distance: float = 0.0
    half: float = 0.0
    why: str = ""


def check(measured: Estimate, region: tuple[float, float], name: str = "") -> Check:
    """Hold a number against a region; a bound lies outside."""
    value, low, high = measured.value, measured.low, measured.high
    side = FOR if region[0] < value < region[1] else AGAINST
    if not math.isfinite(value):
        return Check(name, measured, side, why="it has no value")
    if measured.invalid:
        return Check(name, measured, side, why=measured.invalid)
    if low is None or high is None:
        return Check(name, measured, side, why="it has no interval")
    if not low <= value <= high:
        return Check(name, measured, side, why="its interval does not hold it")
    found = [
        _bound(abs(value - bound), value - low if bound < value else high - value, measured.freedom)
        for bound in region
        if math.isfinite(bound)
    ]
    # Inside, both bounds must be excluded; outside, the nearer one.
    p, distance, half = max(found) if side == FOR else min(found, key=lambda each: each[1])
    return Check(name, measured, side, p, distance, half)


def _bound(distance: float, half: float, freedom: float) -> tuple[float, float, float]:
    """Two-sided p of a bound so far away, with what it comes from."""
    if distance == 0:
        return 1.0, distance, half
    if half == 0:  # it excludes the bound and says no more: how fast it would widen is not known
        return NARROW, distance, half
    return tail_p(distance, half, freedom), distance, half


@dataclass(frozen=True)
class Outcome:
    """What all numbers of one claim say together.

    For the claim, each must lie in its region: p is the largest. Against it, one that lies outside
    is enough: p is the smallest of those times their number (Bonferroni). `deciding`: the number
    that decides. `lost`: numbers that should be there and are not; while there are any, p is 1 for
    the claim, and they count among the tests against it.
    """

    checks: Sequence[Check]
    side: str
    p: float
    deciding: Check
    lost: int = 0

    @property
    def tests(self) -> int:
        """How many numbers the claim is about, with those that are lost."""
        return len(self.checks) + self.lost

    @property
    def untested(self) -> bool:
        """Whether the claim cannot be decided by these numbers, whatever their intervals are."""
        return bool(self.deciding.why) or (self.side == FOR and self.lost > 0)

    @property
    def trainings(self) -> int:
        """How many trainings stand behind the number that has the fewest."""
        return min(each.measured.trainings for each in self.checks)

    @property
    def covers(self) -> frozenset[str]:
        """What all intervals cover: other TRAININGS, new UNITS (images or maps), or both."""
        each = [one.measured.covers for one in self.checks]
        every = ({TRAININGS if what == TRAININGS else UNITS for what in covers} for covers in each)
        return frozenset.intersection(*map(frozenset, every))


def decided(p: float) -> bool:
    """Whether p is small enough; an interval that just touches its bound does not decide."""
    return p < LEVEL * (1 - 1e-9)


def decide(chains: Sequence[Sequence[tuple[str, Estimate]]], rule: Rule, lost: int = 0) -> Outcome:
    """Apply one rule to the numbers of a claim, at least one, each with its name.

    `chains`: of an order, lists whose neighbours are compared; of any other rule every number is
    tested by itself. `lost`: how many more the claim is about.
    """
    numbers = [each for chain in chains for each in chain]
    if rule.kind == "order":
        steps = [step for chain in chains for step in pairwise(chain)]
        numbers = [(f"{after}{LESS}{before}", less(b, a)) for (before, a), (after, b) in steps]
    checks = [check(measured, rule.region, name) for name, measured in numbers]
    outside = [each for each in checks if each.side == AGAINST]
    if outside:
        first = min(outside, key=lambda each: each.p)
        return Outcome(checks, AGAINST, min(1.0, (len(checks) + lost) * first.p), first, lost)
    last = max(checks, key=lambda each: each.p)
    return Outcome(checks, FOR, 1.0 if lost else last.p, last, lost)


def needed(one: Check, level: float) -> int | None:
    """How many units in all would decide a check at `level`, were the estimate to stay.

    The interval shrinks with the root of their number, and its degrees of freedom grow with it.
    None where no number up to MOST_TIMES as many would, or where n or the interval is not known.
    """
    n, freedom = one.measured.n, one.measured.freedom
    if not n or one.distance <= 0 or one.half <= 0:
        return None
    single = one.half / critical(LEVEL, freedom)

    def decides(count: int) -> bool:
        grown = max(1.0, freedom * count / n)
        return single * math.sqrt(n / count) * critical(level, grown) < one.distance

    counts = range(n, MOST_TIMES * n + 1)
    place = bisect_left(counts, True, key=decides)
    return counts[place] if place < len(counts) else None
