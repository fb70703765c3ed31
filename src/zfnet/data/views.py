"""Prepared images as a net sees them: the centre square of its input, or all of it, enlarged.

Needs no torch: whoever draws what a study measured reads the same pixels by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from zfnet.data.store import Prepared, PreparedSplit


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

    def cut(self, image: np.ndarray) -> np.ndarray:
        """What the net sees of a prepared square (S, S, 3): (px, px, 3), both uint8."""
        if self.factor != 1:
            px = round(self.side * self.factor)
            return np.asarray(Image.fromarray(image).resize((px, px), Image.Resampling.BICUBIC))
        end = self.start + self.side
        return image[self.start : end, self.start : end]


class NetView:
    """The images of one split of a prepared set as a net of input `px` sees them."""

    def __init__(self, prepared: Prepared, split: str, px: int) -> None:
        self.split: PreparedSplit = prepared.split(split)
        self.px = px
        self.view = View.of(prepared.size, px)

    def __len__(self) -> int:
        return len(self.split)

    def image(self, row: int) -> np.ndarray:
        """The net's view (px, px, 3) uint8 of a row."""
        return self.view.cut(self.split.image(row))

    def box(self, row: int) -> list[float] | None:
        """The object's box y0, x0, y1, x1 in net input px, cut at the border; None if unknown."""
        if self.split.boxes is None or np.isnan(self.split.boxes[row]).any():
            return None
        moved = (self.split.boxes[row].astype(float) - self.view.start) * self.view.factor
        x0, y0, x1, y1 = moved
        return [round(float(v), 1) for v in np.clip([y0, x0, y1, x1], 0, self.px)]
