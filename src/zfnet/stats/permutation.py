"""One-sided permutation tests; every p counts the observed order, so that it is never 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

PAIRINGS = 2000


def pairing_p(table: np.ndarray, seed: int, permutations: int = PAIRINGS) -> float:
    """p of the diagonal of `table` (n, n) being as large on the mean under shuffled columns.

    table[i, j]: agreement of i with the partner of j. Rows whose own agreement is NaN are left out;
    NaN with fewer than two others.
    """
    valid = np.flatnonzero(~np.isnan(table.diagonal()))
    if len(valid) < 2:
        return math.nan
    table = table[np.ix_(valid, valid)]
    rng = np.random.default_rng([seed, 7])
    places = np.arange(len(valid))
    means = [table[places, rng.permutation(places)].mean() for _ in range(permutations)]
    as_large = int((np.array(means) >= table.diagonal().mean() - 1e-12).sum())
    return (1 + as_large) / (1 + permutations)


def roles_p(
    distances: Sequence[np.ndarray],
    parts: Sequence[int],
    randoms: Sequence[int],
    permutations: int,
    seed: int,
) -> float:
    """p of distance(randoms) - distance(parts), means over each and over pairs, being as large.

    distances: of each group's n images under C conditions, (n, C, n, C); only pairs under the same
    condition count. `parts`, `randoms`: the conditions that are compared. In each permutation every
    image shuffles by itself which of them has which role. Groups weigh by their number of images;
    NaN where no group has a pair to compare under every condition.
    """
    slots = [*parts, *randoms]
    rng = np.random.default_rng([seed, len(slots), 14])
    observed, shuffled, images = 0.0, np.zeros(permutations), 0
    for distance in distances:
        n = len(distance)
        own = np.arange(len(slots))
        order = rng.permuted(np.tile(own, (permutations * n, 1)), axis=1)
        order = np.concatenate([np.tile(own, (1, n, 1)), order.reshape(permutations, n, -1)])
        means = _means(distance[:, slots][:, :, :, slots], order)
        gaps = means[:, len(parts) :].mean(1) - means[:, : len(parts)].mean(1)
        if np.isnan(gaps[0]):
            continue  # a condition without a pair that can be compared
        observed += n * gaps[0]
        shuffled += n * gaps[1:]
        images += n
    if not images:
        return math.nan
    # What cannot be compared once shuffled counts against the finding.
    as_large = permutations - int((shuffled < observed - 1e-9 * images).sum())
    return (1 + as_large) / (1 + permutations)


def _means(distance: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(P, S): mean over pairs of images of distance (n, S, n, S) at the slots order (P, n, S)."""
    there = ~np.isnan(distance)
    values, whole = np.where(there, distance, 0.0), bool(there.all())
    total, known = np.zeros((2, *order[:, 0].shape))
    for i in range(len(distance)):
        for j in range(i + 1, len(distance)):
            at = order[:, i], order[:, j]
            total += values[i, :, j][at]
            known += 1 if whole else there[i, :, j][at]
    return np.divide(total, known, out=np.full(total.shape, np.nan), where=known > 0)
