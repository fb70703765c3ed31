"""Intervals of rates, and p values of several tests, for whoever counts errors."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

Z95 = 1.959964


def wilson(count: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of the proportion count / n (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    p, z2 = count / n, Z95**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return 0.0 if count == 0 else middle - half, 1.0 if count == n else middle + half


def student(
    values: Sequence[float], limits: tuple[float, float] | None = None
) -> tuple[float | None, float | None]:
    """Student's 95 % interval of the mean of `values`, cut at `limits`; None for fewer than two."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return None, None
    mean = statistics.fmean(values)
    half = float(stdtrit(n - 1, 0.975)) * statistics.stdev(values) / math.sqrt(n)
    low, high = mean - half, mean + half
    return (low, high) if limits is None else (max(low, limits[0]), min(high, limits[1]))


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
