"""Intervals of rates and of means of few members, and p values of several tests together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zfnet.stats.estimate import IMAGES, Estimate

Z95 = 1.959964


def wilson(count: float, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of the proportion count / n (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    p, z2 = count / n, Z95**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return 0.0 if count == 0 else middle - half, 1.0 if count == n else middle + half


def rate(
    count: float,
    n: int,
    scale: float = 1.0,
    unit: str = "",
    note: str = "",
    covers: tuple[str, ...] = (IMAGES,),
) -> Estimate:
    """`scale` times count / n with Wilson's interval: 100 for %, n for the count itself."""
    low, high = wilson(count, n)
    value = scale * count / n if n else float("nan")
    return Estimate(value, scale * low, scale * high, n, unit, note, covers=covers)


def rate_difference(first: Estimate, second: Estimate) -> Estimate:
    """`first` minus `second`, two rates of `rate`, with Newcombe's (1998) interval, his number 10.

    The two are taken as independent, which is too wide for rates of the same units.
    """
    assert first.low is not None
    assert first.high is not None
    assert second.low is not None
    assert second.high is not None
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    n = (first.n or 0) + (second.n or 0)
    note = "difference of shares, Newcombe's interval"
    return replace(first, value=value, low=low, high=high, n=n, note=note)


def critical(level: float, freedom: float) -> float:
    """Student's two-sided critical value; the normal one for infinite degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - level / 2))


def student(
    values: Sequence[float], limits: tuple[float, float] | None = None
) -> tuple[float | None, float | None]:
    """Student's 95 % interval of the mean of `values`, cut at `limits`; None for fewer than two."""
    n = len(values)
    if n < 2:
        return None, None
    mean = statistics.fmean(values)
    half = critical(0.05, n - 1) * statistics.stdev(values) / math.sqrt(n)
    low, high = mean - half, mean + half
    return (low, high) if limits is None else (max(low, limits[0]), min(high, limits[1]))


def student_mean(
    values: np.ndarray,
    unit: str = "",
    note: str = "",
    limits: tuple[float, float] | None = None,
    covers: tuple[str, ...] = (IMAGES,),
) -> Estimate:
    """Mean of `values` (n,) with Student's 95 % interval, cut at `limits`.

    For few members, where the bootstrap's interval is too short. NaN members are left out.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    n = len(values)
    low, high = student(values.tolist(), limits)
    value = float(values.mean()) if n else float("nan")
    estimate = Estimate(value, low, high, n, unit, note, covers=covers)
    return estimate if n > 1 else estimate.noting("too few for an interval")


def holm(p: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p values, in the order given.

    Below a level together, they keep the chance of even one wrong rejection at that level.
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = largest
    return adjusted


def two_sided_p(estimate: Estimate) -> float:
    """Two-sided p of the value 0, from the side of the interval towards it.

    1 where there is no interval, or none with a width: how the value varies is not known then.
    """
    value, end = estimate.value, estimate.low if estimate.value > 0 else estimate.high
    if end is None or not abs(value - end) > 0:
        return 1.0
    return tail_p(abs(value), abs(value - end), estimate.freedom)


def tail_p(distance: float, half: float, freedom: float) -> float:
    """Two-sided p of what lies `distance` away, where the 95 % interval reaches `half` (above 0).

    Student's t at which the interval, widened or narrowed, would just touch it.
    """
    from scipy.special import stdtr

    return 2 * float(stdtr(freedom, -distance / half * critical(0.05, freedom)))
