"""Near-duplicates: how alike each image's nearest one is, and the most alike pairs themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from zfnet.figures.kit.grid import resize
from zfnet.figures.kit.style import CATEGORICAL, FAINT, MARK, figure, sheet, text_width, write

BINS = 60


@dataclass(frozen=True)
class Nearest:
    """The strongest correlation of every image of one set: a title and values (N,) in -1..1."""

    title: str
    values: np.ndarray


def nearest_histograms(panels: Sequence[Nearest], threshold: float) -> Any:
    """One panel a set: how many images have their nearest at which correlation, counts on a log
    axis; the dashed red line is the threshold."""
    low = min(0.0, *(float(panel.values.min()) for panel in panels))
    height = 0.55 + 2.3 * len(panels)
    drawn = figure(7.6, height)
    axes = drawn.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    edges = np.linspace(low, 1.0, BINS + 1)
    for axis, panel in zip(axes, panels, strict=True):
        axis.hist(panel.values, bins=edges, color=CATEGORICAL[0])
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_ylim(bottom=0.7)
        axis.axvline(threshold, color=MARK, linestyle="--", linewidth=1.6)
        over = int((panel.values >= threshold).sum())
        axis.set_title(
            f"{panel.title}: {over:,} of {len(panel.values):,} at {threshold:g} or above",
            fontsize=12, loc="left",
        )  # fmt: skip
        axis.set_ylabel("images", fontsize=11.5)
        axis.tick_params(labelsize=11)
        axis.grid(axis="y", alpha=0.3)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[-1].set_xlim(low, 1.005)
    axes[-1].set_xlabel("correlation with the most alike source image", fontsize=11.5)
    drawn.tight_layout()
    return drawn


@dataclass(frozen=True)
class Couple:
    """Two images (px, px, 3) uint8 with what is written above and below; `marked`: outlined."""

    left: np.ndarray
    right: np.ndarray
    head: str
    foot: str
    marked: bool


def couples_sheet(groups: Sequence[tuple[str, Sequence[Couple]]], width: int = 1200) -> Image.Image:
    """Couples of images side by side under a heading for each group, four couples a row.

    Marked couples have a red frame. Returns an RGB picture at most `width` px wide.
    """
    columns, gap, apart = 4, 4, 24
    tile = (width - (columns - 1) * apart - columns * gap) // (2 * columns)
    cell = 2 * tile + gap
    title, head, foot = 44, 28, 30
    rows = [-(-len(couples) // columns) for _, couples in groups]
    total = sum(title + count * (head + tile + foot) for count in rows)
    picture, draw = sheet(columns * cell + (columns - 1) * apart, total)
    y = 0
    for (name, couples), count in zip(groups, rows, strict=True):
        write(draw, (0, y + title // 2), name, 26, bold=True)
        for number, couple in enumerate(couples):
            row, column = divmod(number, columns)
            x = column * (cell + apart)
            top = y + title + row * (head + tile + foot)
            write(draw, (x, top + head // 2), couple.head, _fitting(couple.head, 21, cell))
            picture.paste(resize(couple.left, tile), (x, top + head))
            picture.paste(resize(couple.right, tile), (x + tile + gap, top + head))
            if couple.marked:
                frame = (x, top + head, x + cell - 1, top + head + tile - 1)
                draw.rectangle(frame, outline=ImageColor.getrgb(MARK), width=3)
            small = _fitting(couple.foot, 17, cell)
            write(draw, (x, top + head + tile + 13), couple.foot, small, fill=FAINT)
        y += title + count * (head + tile + foot)
    return picture


def _fitting(text: str, size: int, room: int) -> int:
    while size > 10 and text_width(text, size) > room:
        size -= 1
    return size
