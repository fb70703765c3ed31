"""How similar pictures of one field are, and how much of it a projection fills. Plain numpy.

Spread is 1 − correlation: each of two pictures is brought to zero mean and unit norm over the
pixels that both know, so that a signed projection and a photograph, a faint and a strong one, are
read on one scale: 0 for the same picture up to brightness and contrast, 1 for unrelated ones, 2 for
a picture and its negative. `MEASURES` says what is compared:

coarse   size of the grey picture's gradient, averaged over 8 x 8 cells of the field: neither an
         edge's sign nor its exact place counts
colour   the three colour planes, pixel by pixel

Projections are finer than photographs, so that pixel by pixel a small shift costs them more:
`moved` measures that, and shows which measure treats both kinds alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MEASURES = ("coarse", "colour")  # the one that is judged, and one that contradicts it
CELLS = 8
# A variance below this share of the mean square is rounding: the picture is of one colour.
FLAT = 1e-12
# Finer than any digit shown, coarser than the rounding of sums whose order threads may change.
DECIMALS = 9


@dataclass(frozen=True)
class Pictures:
    """k pictures of one field, laid over each other.

    values (k, h, w, 3) float64, 0 where unknown; known (k, h, w) bool: inside the image.
    """

    values: np.ndarray
    known: np.ndarray

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Size of the grey pictures' gradient (k, h - 1, w - 1), and where it is known.

        Where a neighbour is unknown it is not: there the frame would be an edge.
        """
        grey, known = self.values @ np.ones(3) / 3, self.known
        down, right = np.diff(grey, axis=1)[:, :, :-1], np.diff(grey, axis=2)[:, :-1]
        inside = known[:, :-1, :-1] & known[:, 1:, :-1] & known[:, :-1, 1:]
        return np.sqrt(down * down + right * right) * inside, inside


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


def correlations(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Correlation (k, k) of each two pictures over the pixels that both know; NaN if one is flat.

    values: (k, P, planes), 0 where unknown; known: (k, P). A picture's planes share one mean.
    """
    common = known.astype(np.float64)
    rows = values.reshape(len(values), -1)
    squares = np.einsum("kpc,kpc->kp", values, values)
    count = values.shape[2] * (common @ common.T)
    sums = values @ np.ones(values.shape[2])  # many times as fast as numpy's over so few planes
    first = sums @ common.T  # first[i, j]: the sum of i where j is known
    second = squares @ common.T
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = second - first**2 / count
        variance[~(variance > FLAT * second)] = np.nan
        covariance = rows @ rows.T - first * first.T / count
        return np.clip(covariance / np.sqrt(variance * variance.T), -1, 1)


def cell_means(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means (k, ≤ 8, ≤ 8) over the cells of pictures (k, h, w), and which cells are all known."""
    starts = [np.unique(np.arange(CELLS) * length // CELLS) for length in values.shape[1:]]

    def sums(x: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(x, starts[0], axis=1), starts[1], axis=2)

    size = sums(np.ones((1, *values.shape[1:])))
    whole = sums(known.astype(np.float64)) == size
    return sums(values) / size * whole, whole


def spread_pairs(pictures: Pictures, measure: str) -> np.ndarray:
    """1 − correlation (k, k) of each two pictures, NaN where it has no meaning; see `MEASURES`."""
    values, known = pictures.values, pictures.known
    if measure == "coarse":
        values, known = cell_means(*pictures.edges())
    known = known.reshape(len(known), -1)
    planes = values.reshape(*known.shape, -1)
    return np.round(1 - correlations(planes, known), DECIMALS)


def spreads(
    projections: Pictures, patches: Pictures, least: float, measure: str
) -> tuple[float, float]:
    """Mean spread among projections and among patches, over the same pairs and the same pixels.

    A pair counts if both pictures know at least `least` common pixels and both its spreads have a
    meaning. (NaN, NaN) where no pair does.
    """
    one, two = spread_pairs(projections, measure), spread_pairs(patches, measure)
    common = projections.known.reshape(len(one), -1).astype(np.float64)
    counts = np.triu(np.isfinite(one) & np.isfinite(two) & (common @ common.T >= least), 1)
    if not counts.any():
        return float("nan"), float("nan")
    return float(one[counts].mean()), float(two[counts].mean())


def moved(pictures: Pictures, measure: str) -> float:
    """Spread between the first picture and itself, moved by one pixel down and right."""
    values, known = pictures.values[0], pictures.known[0]
    both = known[1:, 1:] & known[:-1, :-1]
    pair = np.stack([values[1:, 1:], values[:-1, :-1]]) * both[..., None]
    return float(spread_pairs(Pictures(pair, np.stack([both] * 2)), measure)[0, 1])


def support_side(energy: np.ndarray, share: float) -> int:
    """Side of the smallest upright square that holds at least `share` of `energy` (h, w) ≥ 0.

    The square may reach over the border. 0 if there is no energy.
    """
    total = float(energy.sum())
    if total <= 0:
        return 0
    height, width = energy.shape
    table = np.zeros((height + 1, width + 1))  # sums above and left of
    np.cumsum(np.cumsum(energy, axis=0, dtype=np.float64), axis=1, out=table[1:, 1:])
    # A hair less than asked, or rounding could demand a pixel more where the share is met exactly.
    wanted = share * total * (1 - 1e-9)
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
