"""Prepared images as a net wants them: the same centre view for every study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from zfnet.data import datasets
from zfnet.data.ahead import read_ahead
from zfnet.data.store import Prepared
from zfnet.machine import cores, pick_device
from zfnet.models.net import Net, load_net

T = TypeVar("T")


def options_of(kind: type[T], section: Any) -> T:
    """The options `kind` of a study from its section of the config; lists become tuples."""
    values = {}
    for field in fields(kind):  # type: ignore[arg-type]
        value = getattr(section, field.name)
        if value is None and isinstance(field.default, tuple):
            value = ()
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def to_device(net: Net, device: torch.device) -> Net:
    """Move a net to `device`, in evaluation mode and channels-last. Returns the same net."""
    net.to(device)
    net.model.to(memory_format=torch.channels_last)
    net.model.eval()
    return net


@dataclass(frozen=True)
class View:
    """Which part of a prepared square the net sees: `side` px from (`start`, `start`).

    `factor` turns prepared pixels into net input pixels: 1 unless the square is enlarged.
    """

    start: int
    side: int
    factor: float

    @staticmethod
    def of(size: int, px: int) -> View:
        """The view of a net with input `px` on prepared images of side `size`."""
        if size >= px:
            return View((size - px) // 2, px, 1.0)
        return View(0, size, px / size)


class Inputs:
    """One split of a prepared set as inputs of one net. Rows are rows of the split.

    `rows`: int64, all rows or a seeded random sample of `max_images`, ascending. The net is moved
    to `device` (the CPU by default), in evaluation mode and channels-last.
    """

    def __init__(
        self,
        prepared: Prepared,
        split: str,
        net: Net,
        device: torch.device | None = None,
        *,
        max_images: int | None = None,
        seed: int = 0,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.split_name = split
        self.split = prepared.split(split)
        self.net = to_device(net, self.device)
        self.view = View.of(prepared.size, net.input_px)
        self.labels = np.asarray(self.split.labels)
        self.class_names = [entry.name for entry in prepared.classes]
        self.rows = np.arange(len(self.split), dtype=np.int64)
        if max_images is not None and max_images < len(self.rows):
            chosen = np.random.default_rng([seed, 1]).permutation(self.rows)[:max_images]
            self.rows = np.sort(chosen)

    @classmethod
    def of_stage(cls, cfg: Any, paths: Any, split: str, *, max_images: int | None = None) -> Inputs:
        """What a study's stage works on: the prepared set, the net and the device of the config.

        Keys read are seed and device.
        """
        device = pick_device(cfg.device)  # first: a missing GPU is told before anything is read
        prepared, net = Prepared.open(paths.prepared), load_net(paths.net)
        return cls(prepared, split, net, device, max_images=max_images, seed=cfg.seed)

    @property
    def origin(self) -> str:
        """A sentence on whether the net was trained on these images."""
        if "adopted" in self.net.provenance:
            return (
                "The net was trained elsewhere: whether these images were among its training set "
                "is not known."
            )
        if self.split_name == "train":
            return "These images were trained on."
        return "None of them was trained on."

    def pixels(self, rows: np.ndarray) -> Tensor:
        """The view of `rows` as uint8 (n, 3, px, px) on the CPU."""
        return datasets.fit_to(datasets.pixels(self.split, rows), self.net.input_px)

    def display(self, rows: np.ndarray) -> np.ndarray:
        """The same pixels for drawing: (n, px, px, 3) uint8."""
        return np.ascontiguousarray(self.pixels(rows).permute(0, 2, 3, 1).numpy())

    def normalised(self, pixels: Tensor) -> Tensor:
        """Raw pixels to net input (n, 3, px, px), float, channels-last, on the device."""
        x = self.net.normalise(pixels.to(self.device))
        return x.contiguous(memory_format=torch.channels_last)

    def batch(self, rows: np.ndarray) -> Tensor:
        """Net input of `rows`."""
        return self.normalised(self.pixels(rows))

    def batches(self, rows: np.ndarray, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(net input, rows as int64 Tensor) of at most `size` images, read ahead by threads."""
        parts = [rows[i : i + size] for i in range(0, len(rows), size)]
        for part, pixels in zip(parts, ahead(self.pixels, parts), strict=True):
            yield self.normalised(pixels), torch.from_numpy(np.ascontiguousarray(part))

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """The net's output index of each row's class; -1 where the net does not know it."""
        return self.net.outputs_for(self.labels[rows])

    def boxes(self, rows: np.ndarray) -> np.ndarray | None:
        """Object boxes (n, 4) float as y0, x0, y1, x1 in net input px, clipped; NaN if unknown."""
        boxes = self.split.boxes
        if boxes is None:
            return None
        x0, y0, x1, y1 = np.asarray(boxes, np.float64)[rows].T
        moved = (np.stack([y0, x0, y1, x1], 1) - self.view.start) * self.view.factor
        return np.clip(moved, 0, self.net.input_px)


def ahead(function: Callable[[np.ndarray], T], parts: list[np.ndarray]) -> Iterator[T]:
    """`function` of each part, in order, computed by a few threads that run ahead."""
    return read_ahead(function, parts, min(4, cores()))


def when_it_fits(function: Callable[[int], T], size: int) -> T:
    """`function(size)`; halves the batch size each time the GPU's memory does not suffice."""
    while True:
        try:
            return function(size)
        except torch.cuda.OutOfMemoryError:
            if size <= 1:
                raise
            torch.cuda.empty_cache()
            size = size // 2
