"""Images on a grid by their embedding: how often adjacent ones are of one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zfnet.methods.embedding import grid
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import student_mean

PERMUTATIONS = 100
SHARE, GAP = (0, 1), (-1, 1)  # where means lie


@dataclass(frozen=True)
class Laid:
    """Images on a grid, from each start: shares of adjacent pairs of one class.

    shape: rows, columns. cells (N, 2): of the first start. same, greedy (N,): numbers of images
    whose mean is the share, by the best assignment and by Karpathy's. permuted: the share for
    images in random order.
    """

    shape: tuple[int, int]
    cells: np.ndarray
    same: np.ndarray
    greedy: np.ndarray
    permuted: float

    def estimates(self) -> dict[str, Estimate]:
        """All as estimates."""
        note = "share of pairs of adjacent images of one class"
        permuted = Estimate(self.permuted, note=f"{note}, {PERMUTATIONS} permutations")
        return {
            "grid_same": student_mean(self.same, "", note, SHARE),
            "grid_permuted": permuted,
            "grid_greedy": student_mean(self.greedy, "", note, SHARE),
            "grid_minus_permuted": student_mean(self.same - self.permuted, "", note, GAP),
        }


def lay(flat: Sequence[np.ndarray], labels: np.ndarray, seed: int) -> Laid:
    """Lay the images on an almost square grid by each of the embeddings (N, 2)."""
    n = len(labels)
    columns = int(np.ceil(np.sqrt(n)))
    shape = -(-n // columns), columns
    cells = [grid(points, shape) for points in flat]
    rng = np.random.default_rng([seed, n, 50])
    pairs = adjacent(cells[0])
    permuted = [
        float(np.equal(*rng.permutation(labels)[pairs].T).mean()) for _ in range(PERMUTATIONS)
    ]
    return Laid(
        shape,
        cells[0],
        np.mean([of_one_class(each, labels) for each in cells], 0),
        np.mean([of_one_class(greedy(points, shape), labels) for points in flat], 0),
        float(np.mean(permuted)),
    )


def adjacent(cells: np.ndarray) -> np.ndarray:
    """Pairs (P, 2) of images whose cells (N, 2) share a side, the left or upper one first."""
    rows, columns = cells.max(0) + 2
    image = np.full((rows, columns), -1)
    image[cells[:, 0], cells[:, 1]] = np.arange(len(cells))
    sides = [
        np.stack([image[:, :-1].ravel(), image[:, 1:].ravel()], 1),
        np.stack([image[:-1].ravel(), image[1:].ravel()], 1),
    ]
    pairs = np.concatenate(sides)
    return np.asarray(pairs[(pairs >= 0).all(1)])


def of_one_class(cells: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,): neighbours to the right and below of an image's class, scaled.

    The mean is the share of pairs. A pair counts at one of its images: at both, an interval over
    images would be too short by a factor of √2.
    """
    pairs = adjacent(cells)
    same = pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]], 0]
    return np.asarray(np.bincount(same, minlength=len(labels)) * len(labels) / max(1, len(pairs)))


def greedy(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Cells (N, 2) as Karpathy (2014) fills them: row by row, each by the nearest image left."""
    low, extent = points.min(0), np.ptp(points, axis=0)
    x, y = ((points - low) / np.where(extent > 0, extent, 1)).T
    rows, columns = shape
    left, cells = np.ones(len(points), bool), np.zeros((len(points), 2), int)
    for cell in range(min(len(points), rows * columns)):
        row, column = divmod(cell, columns)
        away = (x - column / max(1, columns - 1)) ** 2 + (y - 1 + row / max(1, rows - 1)) ** 2
        taken = int(np.where(left, away, np.inf).argmin())
        left[taken], cells[taken] = False, (row, column)
    return cells
