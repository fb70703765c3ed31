"""The look that every picture shares: one font, one palette, white paper."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Collection
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from zfnet.stats.estimate import Estimate

PAPER = (255, 255, 255)
INK = (34, 34, 34)
FAINT = (110, 110, 110)
OUTSIDE = (236, 236, 236)
GAP = (200, 200, 200)
MARK = "#e8384f"
DPI = 150
# Okabe and Ito's colours, then four muted ones: told apart by readers with any colour vision.
CATEGORICAL = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
    "#f0e442", "#7f7f7f", "#8c564b", "#4b4e9e", "#a6c64c", "#b8a9c9",
)  # fmt: skip
NEUTRAL = "#dddddd"
HEAD = 88  # px that `heading` takes above a sheet


@functools.cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at `size` px: matplotlib's own font, found without importing matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("matplotlib is not installed; its font is needed")
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    file = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name
    return ImageFont.truetype(str(file), size)


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Width of one line in px, rounded up."""
    return int(font(size, bold).getlength(text)) + 1


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    *,
    bold: bool = False,
    anchor: str = "lm",
    fill: tuple[int, int, int] = INK,
) -> None:
    """Write one line; `anchor` as in Pillow (l/m/r, then a/m/s/d)."""
    draw.text(at, text, font=font(size, bold), fill=fill, anchor=anchor)


def fitting(texts: Collection[str], size: int, width: float, bold: bool = False) -> int:
    """The largest size up to `size`, at least 11 px, at which each of the lines fits in `width`."""
    while size > 11 and max(text_width(text, size, bold) for text in texts) > width:
        size -= 1
    return size


def heading(draw: ImageDraw.ImageDraw, title: str, subtitle: str, width: int) -> None:
    """A bold title and a faint line below it, at the top left; long ones get smaller letters."""
    write(draw, (0, 20), title, fitting([title], 34, width, True), bold=True)
    write(draw, (0, 62), subtitle, fitting([subtitle], 25, width), fill=FAINT)


def figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of `width` x `height` inches at 150 dpi, white."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, facecolor="white")


def tidy(axis: Any, points: float, grid: str = "") -> None:
    """Small ticks with numbers of `points`, a frame left and below; `grid`: "x", "y" or "both"."""
    axis.tick_params(labelsize=points, length=3)
    axis.spines[["top", "right"]].set_visible(False)
    if grid:
        axis.grid(axis=grid, color="#e3e3e3", linewidth=0.7)


def whisker(axis: Any, x: float, estimate: Estimate, scale: float = 1, **look: Any) -> None:
    """`scale` times an estimate as a dot above `x`, with its interval where it has one."""
    ends = [estimate.value if end is None else end for end in (estimate.low, estimate.high)]
    spans = [[abs(scale * (end - estimate.value))] for end in ends]
    look = {"fmt": "o", "markersize": 7, "capsize": 4, "linewidth": 2} | look
    axis.errorbar([x], [scale * estimate.value], spans, **look)


def sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A white RGB canvas and its pen."""
    image = Image.new("RGB", (width, height), PAPER)
    return image, ImageDraw.Draw(image)
