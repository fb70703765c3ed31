"""Fig. 8: faces with their parts hidden; Table 1 as a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from zfnet.figures.kit.grid import resize
from zfnet.figures.kit.style import CATEGORICAL, FAINT, MARK, figure, sheet, text_width, write


def hidden_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    heads: Sequence[str],
    corners: np.ndarray,
    size: int,
    width: int = 1200,
) -> Image.Image:
    """Rows of images (px, px, 3) uint8 under headings, each hidden square outlined.

    The first image of a row is the original; the others have a square of `size` px at `corners`
    (rows, columns − 1, 2), y and x. Returns an RGB picture at most `width` px wide.
    """
    columns, gap, split, head = len(heads), 6, 16, 44
    tile = min(220, (width - split - (columns - 1) * gap) // columns)
    total = columns * tile + (columns - 1) * gap + split
    picture, draw = sheet(total, head + len(rows) * tile + (len(rows) - 1) * gap)
    letters = 26
    while letters > 12 and max(text_width(text, letters, True) for text in heads) > tile:
        letters -= 1
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            x = column * (tile + gap) + (split if column else 0)
            y = head + row * (tile + gap)
            if row == 0:
                write(
                    draw, (x + tile / 2, head / 2), heads[column], letters, bold=True, anchor="mm"
                )
            picture.paste(resize(image, tile), (x, y))
            if column:
                scale = tile / image.shape[0]
                top, left = (int(v) for v in corners[row, column - 1])
                box = (x + left * scale, y + top * scale,
                       x + (left + size) * scale - 1, y + (top + size) * scale - 1)  # fmt: skip
                draw.rectangle(box, outline=ImageColor.getrgb(MARK), width=2)
    return picture


@dataclass(frozen=True)
class Level:
    """One row of Table 1: a name, Δ with its interval, and the paper's mean and ±."""

    name: str
    value: float
    low: float | None
    high: float | None
    paper: tuple[float, float] | None


def delta_chart(panels: Mapping[str, Sequence[Level]]) -> Any:
    """Δ by what is hidden, one panel a layer with a scale of its own, as one matplotlib figure."""
    drawn = figure(8.0, 3.5)
    axes = drawn.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, levels) in zip(axes, panels.items(), strict=True):
        for place, level in enumerate(levels):
            colour = FAINT_HEX if level.name == "random" else CATEGORICAL[0]
            low = level.value if level.low is None else level.low
            high = level.value if level.high is None else level.high
            axis.errorbar(
                place - 0.13, level.value, yerr=[[level.value - low], [high - level.value]],
                fmt="o", markersize=7, capsize=4, color=colour, linewidth=1.8,
            )  # fmt: skip
            if level.paper is not None:
                axis.errorbar(
                    place + 0.17, level.paper[0], yerr=level.paper[1], fmt="x", markersize=7,
                    capsize=3, color=CATEGORICAL[1], linewidth=1.3,
                )  # fmt: skip
        axis.set_title(title, fontsize=13)
        axis.set_xticks(range(len(levels)), [level.name.replace(" ", "\n") for level in levels])
        axis.set_xlim(-0.5, len(levels) - 0.5)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=11)
        axis.grid(axis="y", alpha=0.3)
    axes[0].set_ylabel("Δ, share of features\nthat change otherwise", fontsize=11.5)
    _legend(drawn)
    drawn.tight_layout(rect=(0, 0.09, 1, 1))
    return drawn


def _legend(drawn: Any) -> None:
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"linestyle": "none", "markersize": 8}
    entries = [
        Line2D([], [], marker="o", color=CATEGORICAL[0], label="part hidden", **look),
        Line2D([], [], marker="o", color=FAINT_HEX, label="random place hidden", **look),
        Line2D([], [], marker="x", color=CATEGORICAL[1], label="the paper's Table 1", **look),
    ]
    drawn.legend(handles=entries, loc="lower center", ncols=3, frameon=False, fontsize=11)


FAINT_HEX = "#{:02x}{:02x}{:02x}".format(*FAINT)
