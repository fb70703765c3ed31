"""Pictures that change from epoch to epoch (Fig. 4), and curves of them by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from zfnet.figures.kit.grid import ZERO, resize
from zfnet.figures.kit.style import (
    CATEGORICAL,
    FAINT,
    INK,
    MARK,
    figure,
    sheet,
    text_width,
    write,
)

JUMP = ImageColor.getrgb(MARK)
SETTLED = ImageColor.getrgb(CATEGORICAL[2])
LETTERS = 24
GAP = 12
APART = 48
UNDER = 16
HEAD = 92
BLOCK_HEAD = 76
MARKERS = "osD^vPX*"


@dataclass(frozen=True)
class Track:
    """One map through the epochs: a picture (h, w, 3) uint8 for each column.

    `jumps`: whether the picture comes from another image than the one before; `settled`: whether
    the map stays similar to its last picture from there on. Both one bool a column.
    """

    name: str
    tiles: Sequence[np.ndarray]
    jumps: Sequence[bool]
    settled: Sequence[bool]


@dataclass(frozen=True)
class Block:
    """The tracks of one layer. `sharp` keeps the pixels of very small pictures square."""

    title: str
    tracks: Sequence[Track]
    sharp: bool = False


def evolution_sheet(
    blocks: Sequence[Block],
    epochs: Sequence[int],
    *,
    title: str,
    subtitle: str = "",
    columns: int = 2,
    width: int = 1800,
    max_tile: int = 120,
) -> Image.Image:
    """The paper's Fig. 4: a block a layer, a row a map, a column an epoch; and what marks mean.

    Blocks are laid row by row in `columns` columns. A red bar stands before a picture whose image
    is another one than in the column before, a green line below those that are settled.
    """
    label = 8 + max(
        text_width(name, LETTERS) for b in blocks for name in ("epoch", *(t.name for t in b.tracks))
    )
    span = (width - (columns - 1) * APART) // columns
    tile = max(8, min(max_tile, (span - label) // len(epochs) - GAP))
    used = label + len(epochs) * (tile + GAP)
    rows = max(len(block.tracks) for block in blocks)
    height = BLOCK_HEAD + rows * (tile + UNDER)
    lines = math.ceil((len(blocks) + 1) / columns)
    total = columns * used + (columns - 1) * APART
    picture, draw = sheet(total, HEAD + lines * height + (lines - 1) * 24)
    for y, text, size, bold in ((22, title, 36, True), (64, subtitle, 25, False)):
        while size > 12 and text_width(text, size, bold) > total:
            size -= 1
        write(draw, (0, y), text, size, bold=bold, fill=INK if bold else FAINT)
    for number in range(len(blocks) + 1):
        line, column = divmod(number, columns)
        corner = (column * (used + APART), HEAD + line * (height + 24))
        if number < len(blocks):
            _draw_block(picture, draw, blocks[number], epochs, corner, label, tile)
        else:
            _draw_key(draw, corner, used)
    return picture


def _draw_block(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    block: Block,
    epochs: Sequence[int],
    corner: tuple[int, int],
    label: int,
    tile: int,
) -> None:
    left, top = corner
    write(draw, (left, top + 16), block.title, LETTERS + 4, bold=True)
    write(draw, (left, top + 54), "epoch", LETTERS, fill=FAINT)
    starts = [left + label + GAP + i * (tile + GAP) for i in range(len(epochs))]
    for x, epoch in zip(starts, epochs, strict=True):
        write(draw, (x + tile // 2, top + 54), str(epoch), LETTERS, anchor="mm", fill=FAINT)
    for row, track in enumerate(block.tracks):
        y = top + BLOCK_HEAD + row * (tile + UNDER)
        write(draw, (left, y + tile // 2), track.name, LETTERS)
        for i, x in enumerate(starts):
            drawn = resize(track.tiles[i], tile, block.sharp)
            picture.paste(drawn, (x + (tile - drawn.width) // 2, y + (tile - drawn.height) // 2))
            if track.jumps[i]:
                draw.rectangle((x - GAP + 2, y, x - 4, y + tile - 1), fill=JUMP)
            if track.settled[i]:
                end = x + tile - 1 + (GAP if i + 1 < len(starts) else 0)
                draw.rectangle((x, y + tile + 3, end, y + tile + 9), fill=SETTLED)


def _draw_key(draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int) -> None:
    """What the marks mean, where a next block would stand."""
    left, top = corner
    entries = (
        ("another image has become the strongest", JUMP),
        ("from here on similar to the last epoch", SETTLED),
        ("no activation in any image", (ZERO,) * 3),
    )
    size = LETTERS
    while size > 12 and max(text_width(text, size) for text, _ in entries) > width - 72:
        size -= 1
    for line, (text, colour) in enumerate(entries):
        y = top + BLOCK_HEAD + 28 + line * 64
        box = (left + 20, y - 24, left + 26, y + 24)  # a bar, a line, a square: as in the blocks
        if colour == SETTLED:
            box = (left, y - 3, left + 48, y + 3)
        elif colour != JUMP:
            box = (left, y - 24, left + 48, y + 24)
        draw.rectangle(box, fill=colour)
        write(draw, (left + 68, y), text, size)


@dataclass(frozen=True)
class CurvePanel:
    """One set of curves over the epochs: `curves` by name, values (E,), NaN where unknown.

    `line`: a level drawn across, with `line_name`.
    """

    title: str
    axis: str
    curves: dict[str, np.ndarray]
    limits: tuple[float, float]
    line: float | None = None
    line_name: str = ""


def curve_panels(panels: Sequence[CurvePanel], epochs: Sequence[int], title: str) -> Any:
    """Panels two by two over the same epochs, one legend for all, as a matplotlib figure."""
    rows = math.ceil(len(panels) / 2)
    width, height = 9.6, 0.95 + 3.1 * rows
    drawn = figure(width, height)
    names = list(panels[0].curves)
    handles = []
    for number, panel in enumerate(panels):
        row, column = divmod(number, 2)
        bottom = height - 0.95 - 3.1 * row - 2.45
        axis = drawn.add_axes(
            ((0.72 + 4.8 * column) / width, bottom / height, 3.95 / width, 2.35 / height)
        )
        for rank, name in enumerate(names):
            (line,) = axis.plot(
                epochs, panel.curves[name], label=name, color=CATEGORICAL[rank % 6],
                marker=MARKERS[rank % len(MARKERS)], markersize=5, linewidth=1.6, clip_on=False,
            )  # fmt: skip
            if number == 0:
                handles.append(line)
        if panel.line is not None:
            axis.axhline(panel.line, color="#555555", linestyle="--", linewidth=1.1)
            axis.annotate(
                panel.line_name, (0.99, panel.line), xycoords=("axes fraction", "data"),
                xytext=(0, -3), textcoords="offset points", ha="right", va="top", fontsize=10,
            )  # fmt: skip
        axis.set_title(panel.title, fontsize=12, loc="left")
        axis.set_xlabel("epoch", fontsize=11, labelpad=2)
        axis.set_ylabel(panel.axis, fontsize=11)
        axis.set(xlim=(0, max(epochs) * 1.02), ylim=panel.limits)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.tick_params(labelsize=10)
        axis.grid(color="#e3e3e3", linewidth=0.7)
        axis.spines[["top", "right"]].set_visible(False)
    drawn.text(0.72 / width, 1 - 0.17 / height, title, fontsize=13, fontweight="bold", va="center")
    drawn.legend(
        handles=handles, loc="center left", ncols=len(names), frameon=False, fontsize=11,
        bbox_to_anchor=(0.6 / width, 1 - 0.45 / height), columnspacing=1.4, handlelength=1.8,
    )  # fmt: skip
    return drawn
