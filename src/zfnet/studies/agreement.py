"""Do two maps of one image agree in place, more than with another image's? Arrays only."""

from __future__ import annotations

import math

import numpy as np


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
    """Each image's values (n, R, C) as ranks (n, R · C), ties by the mean rank."""
    from scipy.stats import rankdata

    ranked: np.ndarray = rankdata(values.reshape(len(values), -1), axis=1)
    return ranked


def others(table: np.ndarray) -> np.ndarray:
    """(n,): mean of each row of `table` (n, n) but for its diagonal, the null; NaN if nothing."""
    rest = table.copy()
    np.fill_diagonal(rest, np.nan)
    count = (~np.isnan(rest)).sum(1)
    total = np.nansum(rest, 1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
