"""Means and spreads over pairs of images, with the image as the unit of inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zfnet.stats.bootstrap import DRAWS, counts
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import student_mean


def pair_mean(matrices: Sequence[np.ndarray], pooled: bool, seed: int, note: str) -> Estimate:
    """Mean over all pairs i ≠ j of each group's matrix (n, n), with a 95 % interval.

    Disjoint groups: Student's interval over the groups' means. pooled: images are resampled within
    each group, and groups weigh by their number of images; a resampled image is not paired with
    itself. Missing pairs (NaN) are left out. n counts images.
    """
    images = sum(len(matrix) for matrix in matrices)
    if not pooled:
        means = np.array([_mean(matrix) for matrix in matrices])
        note += f"; Student's interval over {len(means)} disjoint groups of images"
        return replace(student_mean(means, note=note), n=images, df=len(means) - 1)
    total, resampled = 0.0, np.zeros(DRAWS)
    rng = np.random.default_rng([seed, images, 13])
    for matrix in matrices:
        n = len(matrix)
        known = ~np.isnan(matrix) & ~np.eye(n, dtype=bool)
        times = counts(n, rng).astype(np.float64)
        above = ((times @ np.where(known, matrix, 0.0)) * times).sum(1)
        below = ((times @ known.astype(np.float64)) * times).sum(1)
        means = np.divide(above, below, out=np.full(DRAWS, np.nan), where=below > 0)
        resampled += n / images * means
        total += n / images * _mean(matrix)
    note += "; all pairs of the images of a class, which overlap: bootstrap over images"
    if np.isnan(resampled).all():
        return Estimate(float(total), n=images, note=note + "; no interval: nothing to compare")
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Estimate(float(total), float(low), float(high), images, note=note)


def _mean(matrix: np.ndarray) -> float:
    values = matrix[np.triu_indices(len(matrix), 1)]
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def mean_of(pairs: np.ndarray, which: Sequence[int]) -> np.ndarray:
    """(n, n): mean of some conditions' pair matrices (C, n, n); NaN where none has the pair."""
    chosen = pairs[list(which)]
    known = ~np.isnan(chosen)
    total, count = np.where(known, chosen, 0.0).sum(0), known.sum(0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def spread_of(pairs: np.ndarray, which: Sequence[int]) -> float:
    """Standard deviation (n - 1) over the distinct pairs of a group, mean over conditions."""
    above = np.triu_indices(pairs.shape[1], 1)
    values = [v[~np.isnan(v)] for v in (pairs[c][above] for c in which)]
    spreads = [np.std(v, ddof=1) for v in values if len(v) > 1]
    return float(np.mean(spreads)) if spreads else float("nan")
