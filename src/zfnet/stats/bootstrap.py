"""Intervals of the studies: always over units of inference (images, maps, seeds)."""

from __future__ import annotations

import numpy as np

from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import student


def bootstrap_mean(
    values: np.ndarray, seed: int, unit: str = "", note: str = "", draws: int = 2000
) -> Estimate:
    """Mean of `values` (n,) with a 95 % percentile bootstrap interval over its n members.

    No interval with fewer than two members. Deterministic in `seed`.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2:
        value = float(values.mean()) if n else float("nan")
        return Estimate(value, n=n, unit=unit, note=_join(note, "too few for an interval"))
    rng = np.random.default_rng([seed, n, 2])
    means = values[rng.integers(n, size=(draws, n))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), n, unit, note)


def student_mean(
    values: np.ndarray,
    unit: str = "",
    note: str = "",
    limits: tuple[float, float] | None = None,
) -> Estimate:
    """Mean of `values` (n,) with Student's 95 % interval, cut at `limits`.

    For few members, where the bootstrap's interval is too short. NaN members are left out.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    n = len(values)
    if n < 2:
        value = float(values.mean()) if n else float("nan")
        return Estimate(value, n=n, unit=unit, note=_join(note, "too few for an interval"))
    low, high = student(values.tolist(), limits)
    return Estimate(float(values.mean()), low, high, n, unit, note)


def _join(note: str, more: str) -> str:
    return f"{note}; {more}" if note else more
