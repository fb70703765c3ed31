"""Intervals of rates, for whoever counts errors."""

from __future__ import annotations

import math

Z95 = 1.959964


def wilson(count: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of the proportion count / n (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    p, z2 = count / n, Z95**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return 0.0 if count == 0 else middle - half, 1.0 if count == n else middle + half
