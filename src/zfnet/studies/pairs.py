"""Means, intervals and tests over pairs of images, with the image as the unit of inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zfnet.stats.bootstrap import student_mean
from zfnet.stats.estimate import Estimate


def estimate(
    matrices: Sequence[np.ndarray], pooled: bool, seed: int, note: str, draws: int = 2000
) -> Estimate:
    """Mean over all pairs i ≠ j of each group's matrix (n, n), with an interval.

    Disjoint groups: Student's interval over the groups' means. pooled: images are resampled within
    each group, and groups weigh by their number of images; a resampled image is not paired with
    itself. Missing pairs (NaN) are left out. n counts images.
    """
    images = sum(len(matrix) for matrix in matrices)
    if not pooled:
        means = np.array([_pair_mean(matrix) for matrix in matrices])
        over = f"{note}; Student's interval over {len(means)} disjoint groups of images"
        return replace(student_mean(means, note=over), n=images)
    total, resampled = 0.0, np.zeros(draws)
    rng = np.random.default_rng([seed, images, 13])
    for matrix in matrices:
        n = len(matrix)
        known = ~np.isnan(matrix) & ~np.eye(n, dtype=bool)
        times = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
        above = ((times @ np.where(known, matrix, 0.0)) * times).sum(1)
        below = ((times @ known.astype(np.float64)) * times).sum(1)
        means = np.divide(above, below, out=np.full(draws, np.nan), where=below > 0)
        resampled += n / images * means
        total += n / images * _pair_mean(matrix)
    note += "; all pairs of the images of a class, which overlap: bootstrap over images"
    if np.isnan(resampled).all():
        return Estimate(float(total), n=images, note=note + "; no interval: nothing to compare")
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Estimate(float(total), float(low), float(high), images, note=note)


def _pair_mean(matrix: np.ndarray) -> float:
    values = matrix[np.triu_indices(len(matrix), 1)]
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def permutation_p(
    distances: Sequence[np.ndarray],
    parts: Sequence[int],
    randoms: Sequence[int],
    permutations: int,
    seed: int,
) -> float:
    """One-sided p value of Δ(random) − Δ(part), mean over `parts`, being as large by chance.

    distances: one (n, C, n, C) a group; `parts`, `randoms`: which of the C conditions are compared.
    In each permutation every image shuffles by itself which of its squares has which role. Counts
    the observed order as one of them, so that p is at least 1 / (permutations + 1). Groups weigh by
    their number of images; NaN where no group has a pair to compare under every condition.
    """
    slots = [*parts, *randoms]
    rng = np.random.default_rng([seed, len(slots), 14])
    observed, shuffled, images = 0.0, np.zeros(permutations), 0
    for distance in distances:
        n = len(distance)
        own = np.arange(len(slots))
        order = rng.permuted(np.tile(own, (permutations * n, 1)), axis=1)
        order = np.concatenate([np.tile(own, (1, n, 1)), order.reshape(permutations, n, -1)])
        own_slots = distance[:, slots][:, :, :, slots]
        there = ~np.isnan(own_slots)
        values, whole = np.where(there, own_slots, 0.0), bool(there.all())
        total, known = np.zeros((2, *order[:, 0].shape))
        for i in range(n):
            for j in range(i + 1, n):
                at = order[:, i], order[:, j]
                total += values[i, :, j][at]
                known += 1 if whole else there[i, :, j][at]
        delta = np.divide(total, known, out=np.full(total.shape, np.nan), where=known > 0)
        gaps = delta[:, len(parts) :].mean(1) - delta[:, : len(parts)].mean(1)
        if np.isnan(gaps[0]):
            continue  # a condition without a pair that can be compared
        observed += n * gaps[0]
        shuffled += n * gaps[1:]
        images += n
    if not images:
        return float("nan")
    # What cannot be compared once shuffled counts against the finding.
    as_large = permutations - int((shuffled < observed - 1e-9 * images).sum())
    return (1 + as_large) / (1 + permutations)


def mean_of(pairs: np.ndarray, which: Sequence[int]) -> np.ndarray:
    """(n, n): mean of some conditions' pair matrices; a pair is NaN where none of them has it."""
    chosen = pairs[list(which)]
    known = ~np.isnan(chosen)
    total, count = np.where(known, chosen, 0.0).sum(0), known.sum(0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def spread_of(pairs: np.ndarray, which: Sequence[int]) -> float:
    """Standard deviation (n − 1) over the distinct pairs of a group, mean over conditions."""
    above = np.triu_indices(pairs.shape[1], 1)
    values = [v[~np.isnan(v)] for v in (pairs[c][above] for c in which)]
    spreads = [np.std(v, ddof=1) for v in values if len(v) > 1]
    return float(np.mean(spreads)) if spreads else float("nan")
