"""How alike pictures of one field are, and how much of the field a projection fills. Plain numpy.

Spread is 1 − correlation: each of two pictures is brought to zero mean and unit norm over the
pixels that both know, so that a signed projection and a photograph, a faint and a strong one, are
read on one scale: 0 for the same picture up to brightness and contrast, 1 for unrelated ones, 2 for
a picture and its negative. `MEASURES` says what is compared:

colour   the three colour planes at once, pixel by pixel
grey     their mean
edges    the size of the grey picture's gradient: the sign of an edge does not count
coarse   its means over 8 x 8 cells of the field: an edge's exact place does not count either
support  colour, pixels weighted by the projections' energy: what surrounds it does not count

Projections are finer than photographs, so that pixel by pixel a small shift costs them more:
`moved` measures that, and tells which measures treat both kinds alike.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MEASURES = ("colour", "grey", "edges", "coarse", "support")
CELLS = 8
# A variance below this share of the mean square is rounding: the picture is of one colour.
FLAT = 1e-12
# Finer than any digit told, coarser than the rounding of sums whose order threads may change.
DECIMALS = 9


@dataclass(frozen=True)
class Pictures:
    """k pictures of one field, laid over each other.

    values (k, h, w, 3) float64, 0 where unknown; known (k, h, w) bool: inside the image.
    """

    values: np.ndarray
    known: np.ndarray

    def some(self, count: int) -> Pictures:
        """The first `count` of them."""
        return Pictures(self.values[:count], self.known[:count])

    @functools.cached_property
    def grey(self) -> np.ndarray:
        """Mean of the colour planes (k, h, w)."""
        return _sum_of_planes(self.values) / 3

    @functools.cached_property
    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Size of the grey pictures' gradient (k, h - 1, w - 1), and where it is known.

        Where a neighbour is unknown it is not: there the frame would be an edge.
        """
        grey, known = self.grey, self.known
        down, right = np.diff(grey, axis=1)[:, :, :-1], np.diff(grey, axis=2)[:, :-1]
        inside = known[:, :-1, :-1] & known[:, 1:, :-1] & known[:, :-1, 1:]
        return np.sqrt(down * down + right * right) * inside, inside

    def energy(self) -> np.ndarray:
        """Squared values summed over the colour planes (k, h, w)."""
        return np.einsum("khwc,khwc->khw", self.values, self.values)


def overlay(
    pictures: np.ndarray, boxes: np.ndarray, fields: np.ndarray, size: tuple[int, int]
) -> Pictures:
    """Cut the field of each picture and lay the fields over each other.

    pictures: (k, H, W, 3); boxes: (k, 4) y0, x0, y1, x1, the fields as far as they lie in the
    picture; fields: (k, 2) their top left, also outside it; size: (h, w) of the whole field.
    """
    values = np.zeros((len(pictures), *size, 3))
    known = np.zeros((len(pictures), *size), bool)
    for i, ((y0, x0, y1, x1), (top, left)) in enumerate(
        zip(boxes.tolist(), fields.tolist(), strict=True)
    ):
        place = (i, slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        values[place] = pictures[i, y0:y1, x0:x1]
        known[place] = True
    return Pictures(values, known)


def correlations(
    values: np.ndarray, known: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Correlation (k, k) of each two pictures over the pixels that both know; NaN if one is flat.

    values: (k, P, planes), 0 where unknown; known: (k, P). A picture's planes share one mean.
    weights (k, P): pixels count by the sum of the two pictures' weights.
    """
    planes = values.shape[2]
    seen = known.astype(np.float64)
    sums, squares = _sum_of_planes(values), np.einsum("kpc,kpc->kp", values, values)
    rows = values.reshape(len(values), -1)
    if weights is None:
        total, first = seen @ seen.T, sums @ seen.T  # first[i, j]: the sum of i where j is known
        second, product = squares @ seen.T, rows @ rows.T
    else:
        w = weights * seen
        total = _with_transposed(w @ seen.T)
        first = (w * sums) @ seen.T + sums @ w.T
        second = (w * squares) @ seen.T + squares @ w.T
        product = _with_transposed((w[..., None] * values).reshape(rows.shape) @ rows.T)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = second - first**2 / (planes * total)
        variance[~(variance > FLAT * second)] = np.nan
        covariance = product - first * first.T / (planes * total)
        return np.clip(covariance / np.sqrt(variance * variance.T), -1, 1)


def _sum_of_planes(values: np.ndarray) -> np.ndarray:
    """Sum over the last axis; for so few planes several times as fast as numpy's."""
    total = values[..., 0].copy()
    for plane in range(1, values.shape[-1]):
        total += values[..., plane]
    return total


def _with_transposed(matrix: np.ndarray) -> np.ndarray:
    return matrix + matrix.T


def coarse(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means (k, ≤ 8, ≤ 8) over the cells of pictures (k, h, w), and which cells are all known."""
    starts = [np.unique(np.arange(CELLS) * length // CELLS) for length in values.shape[1:]]

    def sums(x: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(x, starts[0], axis=1), starts[1], axis=2)

    size = sums(np.ones((1, *values.shape[1:])))
    whole = sums(known.astype(np.float64)) == size
    return sums(values) / size * whole, whole


def spread_pairs(pictures: Pictures, measure: str, energy: np.ndarray) -> np.ndarray:
    """1 − correlation (k, k) of each two pictures, NaN where it has no meaning; see `MEASURES`.

    energy (k, h, w): what weighs the pixels of "support", each picture's summing to 1.
    """
    if measure not in MEASURES:
        raise ValueError(f"{measure} is none of {', '.join(MEASURES)}")
    count, weights = len(pictures.values), None
    values, known = pictures.values, pictures.known
    if measure == "support":
        weights = energy.reshape(count, -1)
    elif measure == "grey":
        values = pictures.grey
    elif measure in ("edges", "coarse"):
        values, known = pictures.edges
        if measure == "coarse":
            values, known = coarse(values, known)
    known = known.reshape(count, -1)
    planes = values.reshape(count, known.shape[1], -1)
    return np.round(1 - correlations(planes, known, weights), DECIMALS)


def spreads(
    projections: Pictures,
    patches: Pictures,
    least: float,
    measures: Sequence[str] = MEASURES,
) -> dict[str, tuple[float, float]]:
    """Mean spread among projections and among patches, over the same pairs and the same pixels.

    A pair counts if both pictures know at least `least` common pixels and both its spreads have a
    meaning. (NaN, NaN) where no pair does.
    """
    energy = projections.energy()
    total = energy.sum((1, 2), keepdims=True)
    energy = np.divide(energy, total, out=np.zeros_like(energy), where=total > 0)
    seen = projections.known.reshape(len(energy), -1).astype(np.float64)
    told = {}
    for measure in measures:
        one = spread_pairs(projections, measure, energy)
        two = spread_pairs(patches, measure, energy)
        counts = np.triu(np.isfinite(one) & np.isfinite(two) & (seen @ seen.T >= least), 1)
        nothing = (float("nan"), float("nan"))
        told[measure] = (
            (float(one[counts].mean()), float(two[counts].mean())) if counts.any() else nothing
        )
    return told


def support_sides(energy: np.ndarray, shares: Sequence[float]) -> list[int]:
    """Sides of the smallest upright squares that hold at least `shares` of `energy` (h, w) ≥ 0.

    A square may reach over the border. 0 if there is no energy.
    """
    total = float(energy.sum())
    if total <= 0:
        return [0] * len(shares)
    table = np.zeros((energy.shape[0] + 1, energy.shape[1] + 1))
    np.cumsum(np.cumsum(energy, axis=0, dtype=np.float64), axis=1, out=table[1:, 1:])
    # A hair less than asked, or rounding could demand a pixel more where the share is met exactly.
    return [_side(table, share * total * (1 - 1e-9)) for share in shares]


def _side(table: np.ndarray, wanted: float) -> int:
    """Smallest square with a sum of `wanted`, by bisection; table: sums above and left of."""
    height, width = table.shape[0] - 1, table.shape[1] - 1
    low, high = 1, max(height, width)
    while low < high:
        side = (low + high) // 2
        h, w = min(side, height), min(side, width)
        held = table[h:, w:] - table[:-h, w:] - table[h:, :-w] + table[:-h, :-w]
        if held.max() >= wanted:
            high = side
        else:
            low = side + 1
    return low


def support_pixels(energy: np.ndarray, share: float) -> int:
    """The smallest number of pixels that hold at least `share` of `energy` ≥ 0; 0 if there is none.

    They need not lie together.
    """
    total = float(energy.sum())
    if total <= 0:
        return 0
    held = np.cumsum(np.sort(energy, axis=None)[::-1], dtype=np.float64)
    return int(np.searchsorted(held, share * total * (1 - 1e-9))) + 1


def moved(pictures: Pictures, measure: str) -> float:
    """Mean spread between each picture and itself, moved by one pixel down and right."""
    found = []
    for values, known in zip(pictures.values, pictures.known, strict=True):
        both = known[1:, 1:] & known[:-1, :-1]
        pair = np.stack([values[1:, 1:], values[:-1, :-1]]) * both[..., None]
        even = np.full((2, *both.shape), 1 / max(1, both.size))
        found.append(spread_pairs(Pictures(pair, np.stack([both] * 2)), measure, even)[0, 1])
    known_ones = [one for one in found if np.isfinite(one)]
    return float(np.mean(known_ones)) if known_ones else float("nan")
