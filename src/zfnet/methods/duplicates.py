"""Near-duplicate images of two sets, by normalised correlation; exact, in flat memory.

Zeiler & Fergus look for images that ImageNet shares with Caltech-101 and Caltech-256 by normalised
correlation (section 5.2); neither the size at which they compare nor their threshold is stated.
Here an image is brought to `side` x `side` px by area averaging (each pixel counts by the area that
it shares with a cell), its 3 · side² numbers to mean 0 and length 1, so that the dot product of two
images is their correlation. Equal pictures give 1, also where brightness or contrast differ. The
mean is that of the image, or of each colour by itself: with one mean for all, two pictures of
hardly anything but blue are alike, because in both the blue numbers are large and the red ones
small, wherever in the picture they are.

Every image of one set meets every image of the other: there is no index and no shortcut that could
miss a pair. Products are taken in float32, block by block; each pair within `SLACK` of the
threshold or above is computed again in float64, so that what is found does not depend on the size
of the blocks, the number of threads or the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

BLOCK = 2048  # images of either set in one product: a block of it takes 16 MB
SLACK = 1e-3  # more than float32 can be wrong by: 3072 products of size ≤ 1 in all
DECIMALS = 6  # finer than the sum's rounding in float64, coarser than what threads could change

MEANS = ("colour", "image")

Multiply = Callable[[np.ndarray, np.ndarray], np.ndarray]


def vectors(images: np.ndarray, side: int, mean: str = "colour") -> np.ndarray:
    """Turn images (n, S, S, 3) uint8 into vectors (n, 3·side²) float32 of mean 0 and length 1.

    mean: "colour" takes off the mean of each colour, "image" that of all numbers. What is flat then
    has no correlation: its vector is 0. Cell sums are integers, and thus the
    same whatever the order of summation. Raises ValueError if `side` is larger than S.
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
    values -= values.mean((1, 3) if mean == "colour" else (1, 2, 3), keepdims=True)
    flat = values.reshape(len(images), -1)
    length = np.sqrt(np.einsum("nd,nd->n", flat, flat))[:, None]
    return np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-6).astype(np.float32)


def _shares(size: int, side: int) -> np.ndarray:
    """How much of each of `size` pixels lies in each of `side` cells, in units of 1/side px."""
    pixel, cell = np.arange(size)[None, :] * side, np.arange(side)[:, None] * size
    return np.maximum(np.minimum(pixel + side, cell + size) - np.maximum(pixel, cell), 0)


def mirrored(vectors: np.ndarray, side: int) -> np.ndarray:
    """Vectors of the same images seen in a mirror (left and right exchanged)."""
    cells = vectors.reshape(len(vectors), side, 3, side)
    return np.ascontiguousarray(cells[..., ::-1]).reshape(vectors.shape)


@dataclass(frozen=True)
class Found:
    """Pairs at or above the threshold: rows in the streamed and in the held set, correlations."""

    streamed: np.ndarray
    held: np.ndarray
    correlation: np.ndarray


@dataclass
class Best:
    """For every held image the strongest correlation so far, and with which streamed image.

    correlation (M,) float64, -1 before the first; streamed (M,) int64, -1 likewise. Of equal ones
    the first stays; where two differ by less than float32 shows, either may be named.
    """

    correlation: np.ndarray
    streamed: np.ndarray

    @staticmethod
    def none(images: int) -> Best:
        """Nothing compared yet."""
        return Best(np.full(images, -1.0), np.full(images, -1, np.int64))

    def update(self, correlation: np.ndarray, streamed: np.ndarray, held: slice) -> None:
        """Take what is larger; of equal ones the first stays."""
        better = correlation > self.correlation[held]
        self.correlation[held] = np.where(better, correlation, self.correlation[held])
        self.streamed[held] = np.where(better, streamed, self.streamed[held])


def near_duplicates(
    held: np.ndarray,
    streamed: Iterable[np.ndarray],
    threshold: float,
    *,
    best: Best | None = None,
    within: bool = False,
    multiply: Multiply = np.matmul,
    block: int = BLOCK,
) -> Iterator[Found]:
    """Yield the pairs of a held and a streamed image whose correlation is `threshold` or more.

    held: vectors (M, D) in memory, best the smaller set; streamed: blocks of vectors (n, D) in the
    order of their rows, of any length. Beside `held` and the block at hand at most one product of
    `block` x `block` float32 is in memory. `best` is brought up to date on the way. within: both
    are the same set (or one in a mirror), and only pairs with the streamed row below the held one
    count: none of an image with itself, each other pair once. multiply(a, b) returns a @ b as
    numpy, for example from a GPU.
    """
    first = 0
    for whole in streamed:
        for start in range(0, len(whole), block):
            part = whole[start : start + block]
            for low in range(first // block * block if within else 0, len(held), block):
                columns = slice(low, min(low + block, len(held)))
                product = multiply(part, held[columns].T)
                if within:
                    rows = np.arange(first, first + len(part))[:, None]
                    product[rows >= np.arange(columns.start, columns.stop)] = _NO_PAIR
                if best is not None:
                    _update(best, product, part, held, columns, first)
                found = _above(product, part, held, columns, first, threshold)
                if len(found.held):
                    yield found
            first += len(part)


_NO_PAIR = -2.0


def _update(
    best: Best, product: np.ndarray, part: np.ndarray, held: np.ndarray, columns: slice, first: int
) -> None:
    """Enter the strongest of each column, computed anew in float64."""
    rows = product.argmax(0)
    own = np.arange(product.shape[1])
    exact = _exact(part, held[columns], rows, own)
    best.update(np.where(product[rows, own] > _NO_PAIR, exact, -1.0), rows + first, columns)


def _above(
    product: np.ndarray,
    part: np.ndarray,
    held: np.ndarray,
    columns: slice,
    first: int,
    threshold: float,
) -> Found:
    rows, own = np.nonzero(product >= threshold - SLACK)
    exact = _exact(part, held[columns], rows, own)
    sure = (exact >= threshold) & (product[rows, own] > _NO_PAIR)
    return Found(rows[sure] + first, own[sure] + columns.start, exact[sure])


def _exact(one: np.ndarray, other: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Correlation of one[rows] with other[cols] in float64: (n,), rounded to `DECIMALS`."""
    total = np.empty(len(rows))
    for start in range(0, len(rows), _PAIRS):
        part = slice(start, start + _PAIRS)
        total[part] = np.einsum(
            "nd,nd->n", one[rows[part]].astype(np.float64), other[cols[part]].astype(np.float64)
        )
    return np.clip(np.round(total, DECIMALS), -1.0, 1.0)


_PAIRS = 512  # pairs computed at once in float64


# ------------------------------------------------------------------------------------------ cost
@dataclass(frozen=True)
class Cost:
    """What comparing two sets takes.

    operations: multiplications and additions; held_bytes: the vectors kept in memory; block_bytes:
    what is needed beside them; seconds: expected time of the products, None if not timed.
    """

    operations: int
    held_bytes: int
    block_bytes: int
    seconds: float | None = None

    def __str__(self) -> str:
        text = (
            f"{self.operations:.2g} operations, {_size(self.held_bytes)} of vectors held and "
            f"{_size(self.block_bytes)} of blocks"
        )
        return text if self.seconds is None else f"{text}, about {_duration(self.seconds)}"


def cost(held: int, streamed: int, dims: int, *, times: int = 1, block: int = BLOCK) -> Cost:
    """What it takes to compare `held` with `streamed` images, `times` times (2: mirrored too)."""
    blocks = 4 * block * (block + 2 * dims)
    return Cost(2 * held * streamed * dims * times, 4 * held * dims * times, blocks)


def timed(cost: Cost, dims: int, multiply: Multiply = np.matmul, block: int = BLOCK) -> Cost:
    """The same cost with the time it will take, from one product of `block` x `block`."""
    one = np.full((block, dims), 1.0 / dims, np.float32)
    multiply(one[:64], one[:64].T)  # starts threads or the device
    begun = time.perf_counter()
    multiply(one, one.T)
    each = (time.perf_counter() - begun) / (2 * block * block * dims)
    return Cost(cost.operations, cost.held_bytes, cost.block_bytes, cost.operations * each)


def on_device(device: Any) -> Multiply:
    """Products on a torch device, in full float32 (no TF32), the result back as numpy.

    The right-hand factors stay there: blocks of what is held are asked for again and again.
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


def _size(count: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count = round(count / 1000)
    return f"{count:,} GB"


def _duration(seconds: float) -> str:
    for limit, unit in ((90, "s"), (5400, "min")):
        if seconds < limit:
            return f"{max(1, round(seconds))} {unit}"
        seconds /= 60
    return f"{seconds:.1f} h"
