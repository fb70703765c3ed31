"""Do two maps of one image agree in place, more than with another image's? Arrays only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

PERMUTATIONS = 2000


def window_energy(
    pictures: np.ndarray, rows: np.ndarray, cols: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Sum of squares of pictures (n, H, W, C) in the windows of `size` (h, w): (n, R, C).

    rows (R,), cols (C,): first pixels of the windows.
    """
    squares = (pictures.astype(np.float64) ** 2).sum(3)
    total = np.pad(squares, ((0, 0), (1, 0), (1, 0))).cumsum(1).cumsum(2)
    y, x = rows[:, None], cols[None, :]
    y1, x1 = y + size[0], x + size[1]
    return total[:, y1, x1] - total[:, y, x1] - total[:, y1, x] + total[:, y, x]


def correlations(loss: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """Pearson's correlation over places of every image's loss with every image's energy: (n, n).

    loss, energy: (n, R, C). NaN where one of the two does not vary.
    """
    return _standard(loss) @ _standard(energy).T


def _standard(values: np.ndarray) -> np.ndarray:
    """Rows (n, R·C) with mean 0 and length 1; NaN where a row does not vary."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    size = np.abs(flat).max(1, keepdims=True)
    flat = flat - flat.mean(1, keepdims=True)
    length = np.sqrt((flat**2).sum(1, keepdims=True))
    # What rounding alone leaves of a constant row must not be stretched to length 1.
    varies = length > 1e-6 * size * math.sqrt(flat.shape[1])
    return np.divide(flat, length, out=np.full_like(flat, np.nan), where=varies)


def ranks(values: np.ndarray) -> np.ndarray:
    """Each image's values (n, R, C) replaced by their ranks, ties by the mean rank."""
    out = np.empty(values.shape)
    for i, one in enumerate(values):
        _, place, counts = np.unique(one, return_inverse=True, return_counts=True)
        out[i] = (np.cumsum(counts) - (counts - 1) / 2)[place].reshape(one.shape)
    return out


@dataclass(frozen=True)
class Agreement:
    """How well loss of activity and energy of a projection agree in place.

    table (n, n): correlation of image i's loss with the energy of image j's projection.
    """

    table: np.ndarray

    @property
    def own(self) -> np.ndarray:
        """(n,): with the image's own projection."""
        return np.diagonal(self.table)

    @property
    def other(self) -> np.ndarray:
        """(n,): mean over the other images' projections, the null; NaN where there is none."""
        others = self.table.copy()
        np.fill_diagonal(others, np.nan)
        count = (~np.isnan(others)).sum(1)
        total = np.nansum(others, 1)
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)

    def chance(self, seed: int, draws: int = PERMUTATIONS) -> float:
        """One-sided p: how often shuffled projections agree as well on the mean as their own.

        NaN with fewer than two images that can be compared.
        """
        valid = np.flatnonzero(~np.isnan(self.own))
        if len(valid) < 2:
            return math.nan
        table = self.table[np.ix_(valid, valid)]
        own = self.own[valid].mean()
        rng = np.random.default_rng([seed, 7])
        places = np.arange(len(valid))
        means = [table[places, rng.permutation(places)].mean() for _ in range(draws)]
        return (1 + int((np.array(means) >= own - 1e-12).sum())) / (1 + draws)
