"""Torch side of the prepared data: pixels, fixed crops, training views, and their order.

A training image is seen through one of its views. A view is one integer: which crop, flipped or
not. The sampler draws (index, view) pairs from (seed, epoch) alone, so an epoch can be repeated
exactly, in any number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch

from zfnet.data.store import PreparedSplit
from zfnet.errors import UserError

Batch = dict[str, torch.Tensor]


def pixels(split: PreparedSplit, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
    """Read whole images: (n, 3, S, S) uint8, channels-last in memory; copied once, by the read."""
    return torch.from_numpy(split.images(indices)).permute(0, 3, 1, 2)


def centre_crop(x: torch.Tensor, px: int) -> torch.Tensor:
    """Cut the centre out of (…, H, W): a view (…, px, px).

    Raises `UserError` if the images are smaller.
    """
    height, width = x.shape[-2:]
    y, left = centre_offset(height, px), centre_offset(width, px)
    return x[..., y : y + px, left : left + px]


def fit_to(x: torch.Tensor, px: int) -> torch.Tensor:
    """The centre `px` square of pixels (N, 3, S, S) in 0..255, or the whole enlarged if S < px."""
    if x.shape[-1] >= px:
        return centre_crop(x, px)
    large = torch.nn.functional.interpolate(x.float(), (px, px), mode="bicubic", antialias=True)
    return large.round().clamp(0, 255).to(x.dtype)


def centre_offset(size: int, px: int) -> int:
    """Return where a centred crop of `px` begins in `size` pixels."""
    if px > size:
        raise UserError(
            f"a crop of {px} px does not fit images of {size} px: lower model.input_px or prepare "
            f"with a larger data.size."
        )
    return (size - px) // 2


def ten_crop_offsets(size: int, px: int) -> list[tuple[int, int]]:
    """Return (y, x) of five crops: top left, top right, bottom left, bottom right, centre.

    With their mirror images they are the ten sub-crops of the paper (section 3).
    """
    c, end = centre_offset(size, px), size - px
    return [(0, 0), (0, end), (end, 0), (end, end), (c, c)]


def ten_views(x: torch.Tensor, px: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All ten views of whole images (N, 3, S, S), image by image, in `TrainingViews`' order.

    Returns pixels (10 N, 3, px, px), channels-last in memory, offset (10 N, 2) int32 and flip
    (10 N,) bool, on the images' device.
    """
    places = ten_crop_offsets(x.shape[-1], px)
    whole = x.permute(0, 2, 3, 1)
    crops = torch.stack([whole[:, y : y + px, left : left + px] for y, left in places], 1)
    views = torch.cat([crops, crops.flip(3)], 1).flatten(0, 1).permute(0, 3, 1, 2)
    offset = torch.tensor(places, dtype=torch.int32, device=x.device).repeat(2 * len(x), 1)
    flip = torch.arange(2 * len(places), device=x.device) >= len(places)
    return views, offset, flip.repeat(len(x))


class TrainingViews:
    """Crops of a split for training, read batch-wise by lists of (index, view).

    `crop` is "ten" (the five fixed crops; views 5..9 are 0..4 mirrored), "random" (any offset) or
    "centre"; without `flip` no view is mirrored. A batch is

    - pixels (n, 3, px, px) uint8 RGB, channels-last in memory, already mirrored where flip says so,
    - label (n,) int64, index (n,) int64 in the split,
    - offset (n, 2) int32: y, x of the crop in the prepared image, flip (n,) bool.
    """

    def __init__(self, split: PreparedSplit, px: int, crop: str = "ten", flip: bool = True) -> None:
        self.split = split
        self.px = px
        self.crop = crop
        self.flip = flip
        self._fixed = np.array(ten_crop_offsets(split.size, px), np.int32)
        self._span = split.size - px + 1
        places = {"ten": 5, "random": self._span**2, "centre": 1}[crop]
        self.views = places * (2 if flip else 1)

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> Batch:
        """Return the batch of the given (index, view) pairs, in their order."""
        index, view = np.array(items, np.int64).reshape(-1, 2).T
        offset, flip = self.decode_views(view)
        return _read(self.split, index, offset, flip, self.px)

    def decode_views(self, view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn views (n,) into offsets (n, 2) int32 as y, x and flips (n,) bool."""
        if ((view < 0) | (view >= self.views)).any():
            raise IndexError(f"views go from 0 to {self.views - 1}")
        places = self.views // 2 if self.flip else self.views
        flip, place = np.divmod(view, places)
        if self.crop == "random":
            offset = np.stack(np.divmod(place, self._span), 1).astype(np.int32)
        else:
            offset = self._fixed[place] if self.crop == "ten" else self._fixed[[4] * len(view)]
        return offset, flip.astype(bool)


def _read(
    split: PreparedSplit, index: np.ndarray, offset: np.ndarray, flip: np.ndarray, px: int
) -> Batch:
    """Cut crops out of images while they are read, so that only the crops are copied."""
    out = np.empty((len(index), px, px, 3), np.uint8)
    for place, i, (y, x) in zip(out, index.tolist(), offset.tolist(), strict=True):
        place[...] = split.image(i)[y : y + px, x : x + px]
    images = torch.from_numpy(out).permute(0, 3, 1, 2)
    for i in np.flatnonzero(flip).tolist():
        images[i] = images[i].flip(-1)  # numpy's mirroring of 3-byte pixels is several times slower
    return {
        "pixels": images,
        "label": torch.from_numpy(split.labels[index]),
        "offset": torch.from_numpy(offset),
        "flip": torch.from_numpy(flip),
        "index": torch.from_numpy(index),
    }


@dataclass
class EpochSampler:
    """Yields one process's batches of (index, view) pairs, drawn from (seed, epoch) alone.

    Every image comes once an epoch, in an order and with views that do not depend on the number of
    processes: the g-th global batch of `batch_size * world_size` images is the g-th stretch of one
    permutation, and rank r takes the r-th part of it. `batch_size` is per process. The last batch
    is smaller; where it does not divide evenly, images from the start of the epoch fill it up (at
    most world_size - 1), so that every rank weighs the same in the mean gradient.
    """

    images: int
    views: int
    batch_size: int
    _: KW_ONLY
    seed: int
    rank: int = 0
    world_size: int = 1
    epoch: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1 or not 0 <= self.rank < self.world_size:
            raise ValueError(f"{self.batch_size=}, {self.rank=}, {self.world_size=}")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) that the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.images // (self.batch_size * self.world_size))

    def order(self) -> np.ndarray:
        """Return the whole epoch, all ranks together: (images, 2) int64 of index, view."""
        draw = np.random.default_rng((self.seed, self.epoch))
        index = draw.permutation(self.images)
        return np.stack([index, draw.integers(0, self.views, self.images)], 1)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = self.order()
        stretch = self.batch_size * self.world_size
        for start in range(0, self.images, stretch):
            batch = order[start : start + stretch]
            filled = -(-len(batch) // self.world_size) * self.world_size
            if filled > len(batch):
                more = np.resize(order, (filled - len(batch), 2))
                batch = np.concatenate([batch, more])
            share = len(batch) // self.world_size
            mine = batch[self.rank * share : (self.rank + 1) * share]
            yield [(index, view) for index, view in mine.tolist()]
