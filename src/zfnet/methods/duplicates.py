"""Near-duplicate images of two sets, by normalised correlation; exact, in flat memory.

Zeiler & Fergus look for images that ImageNet shares with Caltech-101 and Caltech-256 by normalised
correlation (section 5.2); neither the size at which they compare nor their threshold is stated.
Here an image is brought to `side` x `side` px by area averaging (each pixel counts by the area that
it shares with a cell), the side² numbers of each colour to mean 0, all 3 · side² to length 1, so
that the dot product of two images is their correlation. Equal pictures give 1, also where
brightness or contrast differ. With one mean for all colours, two pictures of hardly anything but
blue would be alike wherever the blue is.

Every image of one set meets every image of the other: there is no index and no shortcut that could
miss a pair. Products are taken in float32, block by block; each pair within `SLACK` of the
threshold or above is computed again in float64, so that the pairs do not depend on the size of the
blocks, the number of threads or the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

BLOCK = 2048  # images of either set in one product: a block of it takes 16 MB
SLACK = 1e-3  # more than float32 can be wrong by: 3072 products of size ≤ 1 in all
DECIMALS = 6  # finer than the sum's rounding in float64, coarser than what threads could change
EXACT_PAIRS = 512  # computed at once in float64
NO_PAIR = -2.0  # below every correlation

Multiply = Callable[[np.ndarray, np.ndarray], np.ndarray]


def vectors(images: np.ndarray, side: int) -> np.ndarray:
    """Turn images (n, S, S, 3) uint8 into vectors (n, 3·side²) float32 of length 1.

    Each colour has mean 0. What is flat has no correlation: its vector is 0. Cell sums are
    integers, and thus the same whatever the order of summation. Raises ValueError if `side` > S.
    """
    size = images.shape[1]
    if side > size:
        raise ValueError(f"images of {size} px have no {side} x {side} cells")
    # float32 holds integers up to 2^24 exactly; the largest sum is 255 S².
    kind = np.float32 if 255 * size * size < 2**24 else np.float64
    share = _shares(size, side).astype(kind)
    rows = np.matmul(share, images.reshape(len(images), size, size * 3).astype(kind))
    cells = rows.reshape(len(images) * side, size, 3).transpose(0, 2, 1) @ share.T
    values = cells.reshape(len(images), side, 3, side).astype(np.float64)
    values -= values.mean((1, 3), keepdims=True)
    flat = values.reshape(len(images), -1)
    length = np.sqrt(np.einsum("nd,nd->n", flat, flat))[:, None]
    return np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-6).astype(np.float32)


def _shares(size: int, side: int) -> np.ndarray:
    """How much of each of `size` pixels lies in each of `side` cells, in units of 1/side px."""
    pixel, cell = np.arange(size)[None, :] * side, np.arange(side)[:, None] * size
    return np.maximum(np.minimum(pixel + side, cell + size) - np.maximum(pixel, cell), 0)


def mirrored(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, 3·side²) of the same images with left and right exchanged."""
    side = math.isqrt(vectors.shape[1] // 3)
    cells = vectors.reshape(len(vectors), side, 3, side)
    return np.ascontiguousarray(cells[..., ::-1]).reshape(vectors.shape)


@dataclass(frozen=True)
class SimilarPairs:
    """Pairs of an image of a first and one of a second set, and every first image's nearest.

    first, second (P,): rows, sorted by both; correlation (P,): at the threshold or above; flipped
    (P,): whether it is with the mirror image (where both reach the threshold, the stronger counts).
    nearest (M,): the second image that correlates most with each first one, -1 if there is none;
    nearest_correlation, nearest_flipped (M,): how strongly, -1 if there is none, and how.
    """

    first: np.ndarray
    second: np.ndarray
    correlation: np.ndarray
    flipped: np.ndarray
    nearest: np.ndarray
    nearest_correlation: np.ndarray
    nearest_flipped: np.ndarray


def similar_pairs(
    first: np.ndarray,
    second: Iterable[np.ndarray],
    threshold: float,
    *,
    mirror: bool = True,
    within: bool = False,
    multiply: Multiply = np.matmul,
    block: int = BLOCK,
) -> SimilarPairs:
    """Find the pairs of a first and a second image whose correlation is `threshold` or more.

    first: `vectors` (M, D) in memory, best the smaller set; second: blocks of them (n, D) in the
    order of their rows, of any length. mirror: each two are also compared with one of them in a
    mirror. within: both sets are the same, and only first rows below the second count: no image
    with itself, each other pair once. multiply(a, b): a @ b as numpy, e.g. `on_device`. Beside
    `first` and the block at hand at most one product of `block` x `block` float32 is in memory.
    """
    found: list[tuple[np.ndarray, ...]] = [(*[np.zeros(0, np.int64)] * 2, np.zeros(0), np.zeros(0))]
    nearest = [_Nearest(len(first)) for _ in range(1 + mirror)]
    for start, part in _parts(second, block):
        for flipped, best in enumerate(nearest):
            streamed = mirrored(part) if flipped else part
            for low in range(
                0, min(len(first), start + len(part)) if within else len(first), block
            ):
                held = first[low : low + block]
                product = multiply(streamed, held.T)
                if within:
                    later = np.arange(start, start + len(part))[:, None]
                    product[later <= np.arange(low, low + len(held))] = NO_PAIR
                best.update(product, streamed, held, start, low)
                rows, columns = np.nonzero(product >= max(threshold - SLACK, -1.5))
                exact = _exact(streamed, held, rows, columns)
                sure = exact >= threshold
                pair = columns[sure] + low, rows[sure] + start, exact[sure]
                found.append((*pair, np.full(len(pair[0]), flipped)))
    one, other, correlation, flips = (np.concatenate(each) for each in zip(*found, strict=True))
    # Strongest first, so that of a plain and a mirrored match of the same two the stronger stays.
    order = np.lexsort((flips, -correlation, other, one))
    both = np.stack([one[order], other[order]], 1)
    order = order[np.append(True, (both[1:] != both[:-1]).any(1))[: len(order)]]
    flip = nearest[-1].correlation > nearest[0].correlation  # never, where nothing was mirrored
    return SimilarPairs(
        one[order],
        other[order],
        correlation[order],
        flips[order].astype(bool),
        np.where(flip, nearest[-1].row, nearest[0].row),
        np.where(flip, nearest[-1].correlation, nearest[0].correlation),
        flip,
    )


def _parts(blocks: Iterable[np.ndarray], most: int) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of at most so many rows, and the number of the first row of each."""
    start = 0
    for whole in blocks:
        for low in range(0, len(whole), most):
            yield start + low, whole[low : low + most]
        start += len(whole)


class _Nearest:
    """For every first image the strongest correlation so far, and with which second image."""

    def __init__(self, images: int) -> None:
        self.correlation = np.full(images, -1.0)
        self.row = np.full(images, -1, np.int64)

    def update(
        self, product: np.ndarray, streamed: np.ndarray, held: np.ndarray, start: int, low: int
    ) -> None:
        """Take what is larger, computed anew in float64; of equal ones the earlier stays.

        Where two differ by less than float32 shows, either may be named.
        """
        rows, columns = product.argmax(0), np.arange(product.shape[1])
        pair = product[rows, columns] > NO_PAIR
        rows, columns = rows[pair], columns[pair]
        exact = _exact(streamed, held, rows, columns)
        better = exact > self.correlation[columns + low]
        self.correlation[columns[better] + low] = exact[better]
        self.row[columns[better] + low] = rows[better] + start


def _exact(one: np.ndarray, other: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Correlation of one[rows] with other[columns] in float64: (n,), rounded to `DECIMALS`."""
    total = np.empty(len(rows))
    for start in range(0, len(rows), EXACT_PAIRS):
        part = slice(start, start + EXACT_PAIRS)
        total[part] = np.einsum(
            "nd,nd->n", one[rows[part]].astype(np.float64), other[columns[part]].astype(np.float64)
        )
    return np.clip(np.round(total, DECIMALS), -1.0, 1.0)


def on_device(device: Any) -> Multiply:
    """Products on a torch device, in full float32 (no TF32), the result back as numpy.

    The right-hand factors stay there: blocks of the first set are asked for again and again.
    """
    import torch

    kept: dict[tuple[int, tuple[int, ...]], tuple[np.ndarray, Any]] = {}

    def multiply(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        place = other.__array_interface__["data"][0], other.shape
        if place not in kept:  # holding the array keeps its address from being given to another
            kept[place] = other, torch.from_numpy(np.ascontiguousarray(other)).to(device)
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            product = torch.from_numpy(np.ascontiguousarray(one)).to(device) @ kept[place][1]
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
        return np.asarray(product.cpu().numpy())

    return multiply
