"""How a number decides a claim: regions, intervals, tests, what more would do. Touches no file.

Every rule names a region in which the number must lie for the claim to be true: above a bound,
below it, between two. A claim is decided by a 95 % interval that lies wholly inside the region (for
the claim) or wholly outside (against it), and undecided by one that holds a bound. The two-sided p
value of a bound is that of Student's t at which the interval, widened or narrowed, would just touch
it; so p ≤ 0.05 says the same as the interval.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from zfnet.stats.estimate import Estimate

LEVEL = 0.05
NARROW = 0.0499  # p of an interval without width that excludes a bound: below LEVEL, no more said
FOR, AGAINST = "for", "against"
MOST_TIMES = 1000  # beyond so many times as many units the estimate lies on the bound

# Each kind's parameters: name to whether it must be given.
KINDS: dict[str, dict[str, bool]] = {
    "absolute": {"value": True, "tolerance": True},
    "direction": {"sign": True, "margin": False},
    "between": {"low": True, "high": True},
    "equivalence": {"margin": True},
    "ratio": {"above": True},
    "trend": {"sign": True, "margin": False},
    "order": {"way": True, "margin": False},
}
SIGNS = ("positive", "negative")
WAYS = ("rising", "falling")


# ------------------------------------------------------------------------------------- regions
@dataclass(frozen=True)
class Region:
    """Where a number must lie for a claim to be true: low < number < high."""

    low: float = -math.inf
    high: float = math.inf

    def holds(self, value: float) -> bool:
        """Whether `value` lies inside; a bound does not."""
        return self.low < value < self.high

    def __str__(self) -> str:
        if math.isinf(self.low):
            return f"below {signed(self.high)}"
        if math.isinf(self.high):
            return f"above {signed(self.low)}"
        return f"between {signed(self.low)} and {signed(self.high)}"


def signed(value: float) -> str:
    """A number in few digits, with a true minus."""
    return f"{value + 0.0:g}".replace("-", "\N{MINUS SIGN}")


def region_of(kind: str, parameters: Mapping[str, Any]) -> Region:
    """The region of a rule; of an order, that of the difference of neighbours (next − before)."""
    margin = float(parameters.get("margin", 0.0))
    if kind == "absolute":
        value, tolerance = float(parameters["value"]), float(parameters["tolerance"])
        return Region(value - tolerance, value + tolerance)
    if kind == "between":
        return Region(float(parameters["low"]), float(parameters["high"]))
    if kind == "equivalence":
        return Region(-margin, margin)
    if kind == "ratio":
        return Region(low=float(parameters["above"]))
    if kind == "order":
        return Region(low=margin) if parameters["way"] == "rising" else Region(high=-margin)
    if kind in ("direction", "trend"):
        return Region(low=margin) if parameters["sign"] == "positive" else Region(high=-margin)
    raise ValueError(f"{kind} is no kind of rule")


def in_words(kind: str, parameters: Mapping[str, Any]) -> str:
    """A rule as one phrase."""
    region = region_of(kind, parameters)
    if kind == "absolute":
        value, tolerance = parameters["value"], parameters["tolerance"]
        return f"figure: {signed(value)} ± {signed(tolerance)}"
    if kind == "equivalence":
        return f"equivalence: within ±{signed(parameters['margin'])}"
    if kind == "order":
        return f"order: {parameters['way']}, each step {region}"
    return f"{kind}: {region}"


# ------------------------------------------------------------------------------- what is known
_FREEDOM = re.compile(r"(\d[\d.]*(?:e[+-]?\d+)?) degrees of freedom")
_TRAININGS = re.compile(r"(\d+) (?:pairs of )?trainings")
_GROUPS = re.compile(r"over (\d+) disjoint groups")
_NETS = re.compile(r"mean of (\d+) nets")
_COUNTS_TRAININGS = re.compile(r"n counts (?:trainings|pairs)")
_MIXED = "one interval covers other trainings, the other new images or maps"
# What an interval covers.
UNITS, TRAININGS = "units", "trainings"


def freedom(measured: Estimate) -> float:
    """Degrees of freedom behind an interval, as the number's note tells; else its units less 1.

    An interval over images and a few trainings is given those of the trainings, which are the
    fewest that it may have. Infinite where neither note nor n tells.
    """
    found = _FREEDOM.search(measured.note)
    if found:
        return max(1.0, float(found[1]))
    counted = _TRAININGS.search(measured.note) or _GROUPS.search(measured.note)
    n = int(counted[1]) if counted else measured.n
    return math.inf if n is None else max(1.0, n - 1.0)


def trainings(measured: Estimate) -> tuple[int, frozenset[str]]:
    """How many trainings stand behind a number, and what its interval covers: new UNITS (images or
    maps), other TRAININGS, or both.
    """
    if _COUNTS_TRAININGS.search(measured.note) and measured.n:
        return measured.n, frozenset({TRAININGS})
    counted = _TRAININGS.search(measured.note)
    if counted:
        return int(counted[1]), frozenset({UNITS, TRAININGS})
    nets = _NETS.search(measured.note)
    covered = frozenset() if _MIXED in measured.note else frozenset({UNITS})
    return int(nets[1]) if nets else 1, covered


def shifted(measured: Estimate, by: float) -> Estimate:
    """A number less the constant `by`."""
    low = None if measured.low is None else measured.low - by
    high = None if measured.high is None else measured.high - by
    return replace(measured, value=measured.value - by, low=low, high=high)


def less(first: Estimate, second: Estimate) -> Estimate:
    """`first` minus `second`, their half widths added in quadrature.

    That is right for numbers of different images or maps, and too wide, never too narrow, for two
    that rise and fall with the same images.
    """
    low = high = None
    ends = (first.low, first.high, second.low, second.high)
    value = first.value - second.value
    if all(end is not None for end in ends):
        a, b, c, d = (float(end) for end in ends if end is not None)
        low = value - math.hypot(first.value - a, d - second.value)
        high = value + math.hypot(b - first.value, second.value - c)
    counts = [n for n in (first.n, second.n) if n is not None]
    degrees = min(freedom(first), freedom(second))
    told = ["difference of two numbers, half widths added in quadrature"]
    if math.isfinite(degrees):
        told.append(f"{degrees:g} degrees of freedom")
    told.append(_behind(first, second))
    unit = "points" if first.unit == "%" else first.unit
    note = "; ".join(filter(None, told))
    return Estimate(value, low, high, min(counts) if counts else None, unit, note)


def _behind(first: Estimate, second: Estimate) -> str:
    """What `trainings` is to find in the note of a difference: the fewer, and what both cover."""
    behind = trainings(first), trainings(second)
    count, covered = min(each for each, _ in behind), behind[0][1] & behind[1][1]
    if covered == {UNITS, TRAININGS}:
        return f"interval over both and {count} trainings"
    if covered == {TRAININGS}:
        return "n counts trainings"
    nets = f"mean of {count} nets" if count > 1 else ""
    return nets if covered else "; ".join(filter(None, [_MIXED, nets]))


# -------------------------------------------------------------------------------------- checks
@dataclass(frozen=True)
class Check:
    """One number against one region.

    `side`: where the estimate lies. `p`: two-sided, of the bounds between it and the other side.
    `distance`, `half`: from the estimate to the bound that decides, and the interval's half width
    towards it. `why`: what keeps the number from being tested; p is then 1.
    """

    measured: Estimate
    region: Region
    side: str
    p: float
    distance: float = 0.0
    half: float = 0.0
    why: str = ""


def check(measured: Estimate, region: Region) -> Check:
    """Hold a number against a region."""
    value = measured.value
    if value is None or not math.isfinite(value):
        return Check(measured, region, AGAINST, 1.0, why="it has no value")
    side = FOR if region.holds(value) else AGAINST
    if measured.low is None or measured.high is None:
        return Check(measured, region, side, 1.0, why="it has no interval")
    if not measured.low <= value <= measured.high:
        return Check(measured, region, side, 1.0, why="its interval does not hold it")
    found = [_bound(measured, bound) for bound in (region.low, region.high) if math.isfinite(bound)]
    # Inside, both bounds must be excluded; outside, the nearer one.
    p, distance, half = max(found) if side == FOR else min(found, key=lambda each: each[1])
    return Check(measured, region, side, p, distance, half)


def _bound(measured: Estimate, bound: float) -> tuple[float, float, float]:
    """Two-sided p, distance and half width of one bound."""
    below = bound < measured.value
    end = measured.low if below else measured.high
    assert end is not None
    distance, half = abs(measured.value - bound), abs(end - measured.value)
    if distance == 0:
        return 1.0, 0.0, half
    if half == 0:
        # It excludes the bound and says no more: how fast it would widen is not known.
        return NARROW, distance, 0.0
    degrees = freedom(measured)
    return two_sided(distance / half * critical(LEVEL, degrees), degrees), distance, half


def critical(level: float, degrees: float) -> float:
    """Student's two-sided critical value."""
    from scipy.special import ndtri, stdtrit

    at = 1 - level / 2
    return float(ndtri(at) if math.isinf(degrees) else stdtrit(degrees, at))


def two_sided(t: float, degrees: float) -> float:
    """Two-sided p value of Student's t."""
    from scipy.special import ndtr, stdtr

    return 2 * float(ndtr(-abs(t)) if math.isinf(degrees) else stdtr(degrees, -abs(t)))


@dataclass(frozen=True)
class Outcome:
    """What all numbers of one claim say together.

    For the claim, each must lie in its region: p is the largest. Against it, one that lies outside
    is enough: p is the smallest of those times their number (Bonferroni). `pivot`: the place of the
    number that decides. `lost`: numbers that should be there and are not; while there are any, p
    is 1 for the claim, and they count among the tests against it.
    """

    checks: Sequence[Check]
    side: str
    p: float
    pivot: int
    lost: int = 0

    def decided(self, level: float = LEVEL) -> bool:
        """Whether p lies below `level`; an interval that just touches its bound does not decide."""
        return self.p < level * (1 - 1e-9)

    @property
    def deciding(self) -> Check:
        """The number that decides."""
        return self.checks[self.pivot]

    @property
    def tests(self) -> int:
        """How many numbers the claim is about, with those that are lost."""
        return len(self.checks) + self.lost


def together(checks: Sequence[Check], lost: int = 0) -> Outcome:
    """Join the checks of one claim; at least one."""
    outside = [i for i, one in enumerate(checks) if one.side == AGAINST]
    if not outside:
        pivot = max(range(len(checks)), key=lambda i: checks[i].p)
        return Outcome(checks, FOR, 1.0 if lost else checks[pivot].p, pivot, lost)
    pivot = min(outside, key=lambda i: checks[i].p)
    p = min(1.0, (len(checks) + lost) * checks[pivot].p)
    return Outcome(checks, AGAINST, p, pivot, lost)


def decide(
    chains: Sequence[Sequence[Estimate]],
    kind: str,
    parameters: Mapping[str, Any],
    lost: int = 0,
) -> Outcome:
    """Apply one rule to the numbers of a claim.

    `chains`: lists of numbers; of an order, each list is a chain whose neighbours are compared, of
    any other rule every number is tested by itself. `lost`: how many more the claim is about.
    Raises ValueError for a chain of one.
    """
    region = region_of(kind, parameters)
    if kind != "order":
        return together([check(each, region) for chain in chains for each in chain], lost)
    steps = []
    for chain in chains:
        if len(chain) < 2:
            raise ValueError("an order needs at least two numbers")
        steps += [less(after, before) for before, after in pairwise(chain)]
    return together([check(step, region) for step in steps], lost)


# ---------------------------------------------------------------------------------- all claims
def levels(p: Sequence[float]) -> list[float]:
    """The level that Holm's correction (`zfnet.stats.intervals.holm`) holds each p against."""
    found = [0.0] * len(p)
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        found[i] = LEVEL / (len(p) - rank)
    return found


def needed(one: Check, level: float) -> int | None:
    """How many units in all would decide a check at `level`, were the estimate to stay.

    The interval shrinks with the root of their number, and its degrees of freedom grow with it.
    None where no number up to MOST_TIMES as many would, or where n or the interval is not known.
    """
    n = one.measured.n
    if not n or one.distance <= 0 or one.half <= 0:
        return None
    degrees = freedom(one.measured)
    single = one.half / critical(LEVEL, degrees)

    def decides(count: int) -> bool:
        grown = max(1.0, degrees * count / n)
        return single * math.sqrt(n / count) * critical(level, grown) < one.distance

    low, high = n, n
    while not decides(high):
        low, high = high, 2 * high
        if high > MOST_TIMES * n:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high
