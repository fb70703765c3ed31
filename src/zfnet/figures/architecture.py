"""Fig. 6: panels of filters and features of nets, and plots of what they are made of."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from zfnet.figures.kit.grid import even_columns, resize
from zfnet.figures.kit.style import (
    CATEGORICAL,
    FAINT,
    MARK,
    OUTSIDE,
    figure,
    sheet,
    text_width,
    write,
)

TITLE, TEXT = 11.0, 9.5
FLOOR = 1e-3
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class TilePanel:
    """One lettered panel: tiles (h, w, 3) uint8, or a message where there are none.

    framed: positions of tiles drawn with a red frame.
    """

    title: str
    subtitle: str
    tiles: Sequence[np.ndarray] = ()
    message: str = ""
    sharp: bool = False
    framed: frozenset[int] = frozenset()


def panel_sheet(rows: Sequence[Sequence[TilePanel]], width: int = 1800) -> Image.Image:
    """Rows of panels, each row's panels of equal width; as high as their tiles need."""
    apart, head = 40, 78
    drawn: list[list[Image.Image]] = []
    for row in rows:
        side = (width - apart * (len(row) - 1)) // len(row)
        drawn.append([_panel(panel, side, head, 1.6 if len(row) < 3 else 1.15) for panel in row])
    heights = [max(one.height for one in pictures) for pictures in drawn]
    picture, _ = sheet(width, sum(heights) + 34 * (len(rows) - 1))
    y = 0
    for pictures, height in zip(drawn, heights, strict=True):
        x = 0
        for one in pictures:
            picture.paste(one, (x, y))
            x += one.width + apart
        y += height + 34
    return picture


def _panel(panel: TilePanel, side: int, head: int, aspect: float) -> Image.Image:
    if not panel.tiles:
        picture, draw = sheet(side, head + side // 2)
        draw.rectangle((0, head, side - 1, head + side // 2 - 1), fill=OUTSIDE)
        lines = textwrap.wrap(panel.message, max(12, side // 17))
        for number, line in enumerate(lines):
            y = head + side // 4 + (number - (len(lines) - 1) / 2) * 34
            write(draw, (side / 2, y), line, 26, anchor="mm", fill=FAINT)
    else:
        gap = 4
        columns = even_columns(len(panel.tiles), aspect)
        px = (side - gap * (columns - 1)) // columns
        rows = math.ceil(len(panel.tiles) / columns)
        picture, draw = sheet(side, head + rows * (px + gap) - gap)
        for number, tile in enumerate(panel.tiles):
            row, column = divmod(number, columns)
            x, y = column * (px + gap), head + row * (px + gap)
            small = resize(tile, px, panel.sharp)
            picture.paste(small, (x + (px - small.width) // 2, y + (px - small.height) // 2))
            if number in panel.framed:
                draw.rectangle((x, y, x + px - 1, y + px - 1), outline=_mark(), width=4)
    _write_head(draw, panel, side)
    return picture


def _mark() -> tuple[int, int, int]:
    red, green, blue = ImageColor.getrgb(MARK)[:3]
    return red, green, blue


def _write_head(draw: ImageDraw.ImageDraw, panel: TilePanel, side: int) -> None:
    for y, text, size, bold in ((18, panel.title, 32, True), (54, panel.subtitle, 25, False)):
        while size > 11 and text_width(text, size, bold) > side:
            size -= 1
        write(draw, (0, y), text, size, bold=bold, fill=(34, 34, 34) if bold else FAINT)


@dataclass(frozen=True)
class Frequencies:
    """One net's first layer in the plot of frequencies.

    density (filters, bins): energy density at `centres` (bins,), white noise being 1; band (2,
    bins): the interval of its mean; shares (filters, 3); means: interval of each band's mean.
    """

    name: str
    centres: np.ndarray
    density: np.ndarray
    band: np.ndarray
    shares: np.ndarray
    means: Sequence[Interval]


def frequency_plot(
    nets: Sequence[Frequencies], edges: tuple[float, float], noise: Sequence[float]
) -> Any:
    """Left: energy density against frequency; right: shares of the three bands, filter by filter.

    noise: the shares of white noise.
    """
    drawn = figure(8.6, 3.7)
    left, right = drawn.subplots(1, 2, gridspec_kw={"width_ratios": [1.15, 1]})
    drawn.subplots_adjust(left=0.085, right=0.99, top=0.84, bottom=0.145, wspace=0.24)
    for colour, net in zip(CATEGORICAL, nets, strict=False):
        left.plot(net.centres, net.density.mean(0), color=colour, linewidth=2, label=net.name)
        left.fill_between(net.centres, *net.band, color=colour, alpha=0.2, linewidth=0)
    left.axhline(1, color="#555555", linestyle=":", linewidth=1.3, label="white noise")
    for edge in edges:
        left.axvline(edge, color="#aaaaaa", linewidth=1)
    left.set(yscale="log", xlim=(0, 0.7072))
    for at, name in zip((0, *edges), ("low", "mid", "high"), strict=True):
        left.text(
            at + 0.008,
            1.015,
            name,
            transform=left.get_xaxis_transform(),
            fontsize=TEXT,
            va="bottom",
        )
    left.set_xlabel("frequency (cycles per px)", fontsize=TEXT)
    left.set_ylabel("energy density (white noise = 1)", fontsize=TEXT)
    left.legend(fontsize=TEXT - 0.5, frameon=False, loc="upper right")
    left.set_title("Layer 1: mean over its filters", fontsize=TITLE, pad=19, loc="left")
    groups = [
        Strip(net.name, [net.shares[:, band] for band in range(3)], list(net.means)) for net in nets
    ]
    _strips(right, groups, ["low", "mid", "high"])
    for place, value in enumerate(noise):
        right.hlines(value, place - 0.42, place + 0.42, color="#555555", linestyle=":")
    right.set_ylim(0, 1)
    right.set_ylabel("share of a filter's energy", fontsize=TEXT)
    right.set_title("Shares of the bands (dots: filters)", fontsize=TITLE, pad=19, loc="left")
    _small_ticks(left, right)
    return drawn


@dataclass(frozen=True)
class Strip:
    """One net's values in each of several groups, with the interval of each group's centre."""

    name: str
    values: Sequence[np.ndarray]
    centres: Sequence[Interval]


def _strips(axis: Any, nets: Sequence[Strip], groups: Sequence[str]) -> None:
    """Values as dots, spread by rank so that none hides another; centres with their intervals."""
    width = 0.8 / len(nets)
    for number, net in enumerate(nets):
        colour = CATEGORICAL[number]
        for group, (values, centre) in enumerate(zip(net.values, net.centres, strict=True)):
            x = group + (number - (len(nets) - 1) / 2) * width
            spread = (np.arange(len(values)) * 0.618034) % 1 - 0.5
            axis.plot(
                x + spread * width * 0.7, np.sort(values), ".", color=colour, alpha=0.6,
                markersize=4, markeredgewidth=0,
            )  # fmt: skip
            value, low, high = centre
            axis.errorbar(
                [x], [value], [[max(0, value - low)], [max(0, high - value)]], fmt="o",
                color=colour, markeredgecolor="white", markersize=7, capsize=4, linewidth=2,
                label=net.name if group == 0 else None, zorder=3,
            )  # fmt: skip
    axis.set_xticks(range(len(groups)), groups)
    axis.set_xlim(-0.5, len(groups) - 0.5)


@dataclass(frozen=True)
class Strength:
    """One net's filters and maps in the plot of strength: by layer, over the layer's median."""

    name: str
    weights: dict[int, np.ndarray] = field(default_factory=dict)
    activity: dict[int, np.ndarray] = field(default_factory=dict)


def strength_plot(nets: Sequence[Strength], weak: float) -> Any:
    """Left: RMS of each filter, right: strongest activation of each map, both over the median."""
    drawn = figure(8.6, 3.5)
    axes = drawn.subplots(1, 2)
    drawn.subplots_adjust(left=0.085, right=0.98, top=0.9, bottom=0.15, wspace=0.22)
    for colour, net in zip(CATEGORICAL, nets, strict=False):
        for axis, kind in zip(axes, (net.weights, net.activity), strict=True):
            for layer, values in kind.items():
                ranked = np.sort(values)[::-1]
                x = 100 * (np.arange(len(ranked)) + 0.5) / len(ranked)
                axis.plot(
                    x, np.maximum(ranked, FLOOR), color=colour, linewidth=1.8,
                    linestyle="-" if layer == 1 else "--", label=f"{net.name}, layer {layer}",
                )  # fmt: skip
    axes[0].axhline(weak, color="#777777", linestyle=":", linewidth=1.2)
    axes[0].text(1, weak * 1.06, "weak below", fontsize=TEXT - 1, color="#555555", va="bottom")
    axes[1].axhline(FLOOR, color="#777777", linestyle=":", linewidth=1.2)
    axes[1].text(1, FLOOR * 1.1, "never active", fontsize=TEXT - 1, color="#555555", va="bottom")
    axes[1].set_ylim(FLOOR * 0.8, None)
    for axis, what in zip(axes, ("filters", "maps"), strict=True):
        axis.set(yscale="log", xlim=(0, 100))
        axis.set_xlabel(f"{what}, strongest first (%)", fontsize=TEXT)
    axes[0].set_ylim(min(weak * 0.6, axes[0].get_ylim()[0]), None)
    axes[0].set_ylabel("over the layer's median", fontsize=TEXT)
    axes[0].set_title("RMS of the weights", fontsize=TITLE, loc="left")
    axes[1].set_title("Strongest activation in the split", fontsize=TITLE, loc="left")
    axes[0].legend(fontsize=TEXT - 0.5, frameon=False, loc="best")
    _small_ticks(*axes)
    return drawn


@dataclass(frozen=True)
class GridTrace:
    """One net's second layer in the plot of the sampling grid.

    spectrum (S, S): mean energy density of its projections, white noise being 1, in the order of
    `fftfreq`; stride (down, across) px of the grid; within: radius that counts as a point of it;
    excess (maps,): % of the energy at the grid beyond what is beside it; centre: their mean's
    interval.
    """

    name: str
    spectrum: np.ndarray
    stride: tuple[int, int]
    within: float
    excess: np.ndarray
    centre: Interval


def grid_plot(nets: Sequence[GridTrace]) -> Any:
    """Mean spectrum of each net's projections, the grid's frequencies ringed; its trace."""
    from matplotlib.patches import Circle

    width = 0.75 + 2.75 * len(nets) + 0.75 + 2.4
    height = 3.35
    drawn = figure(width, height)
    logs = [np.log10(np.maximum(np.fft.fftshift(net.spectrum), 1e-12)) for net in nets]
    low = min(float(np.quantile(log, 0.02)) for log in logs)
    high = max(float(np.quantile(log, 0.999)) for log in logs)
    mesh = None
    for number, (net, log) in enumerate(zip(nets, logs, strict=True)):
        axis = drawn.add_axes(
            ((0.68 + 2.7 * number) / width, 0.55 / height, 2.45 / width, 2.45 / height)
        )
        half = 0.5 / log.shape[0]
        mesh = axis.imshow(
            log, extent=(-0.5 - half, 0.5 - half, 0.5 - half, -0.5 - half), cmap="viridis",
            vmin=low, vmax=high, interpolation="nearest",
        )  # fmt: skip
        for y, x in _grid_points(net.stride):
            axis.add_patch(Circle((x, y), max(net.within, 0.015), fill=False, edgecolor=MARK,
                                  linewidth=1.3))  # fmt: skip
        axis.set_xticks([-0.25, 0, 0.25])
        axis.set_yticks([-0.5, -0.25, 0, 0.25, 0.5])
        # After the ticks, which would widen them.
        axis.set(xlim=(-0.5 - half, 0.5 - half), ylim=(0.5 - half, -0.5 - half))
        axis.set_xlabel("across (cycles per px)", fontsize=TEXT)
        if number == 0:
            axis.set_ylabel("down (cycles per px)", fontsize=TEXT)
        else:
            axis.set_yticklabels([])
        axis.set_title(f"{net.name}: grid of {_px(net.stride)}", fontsize=TITLE, loc="left")
        _small_ticks(axis)
    start = 0.68 + 2.7 * len(nets) - 0.15
    if mesh is not None:
        bar = drawn.add_axes((start / width, 0.55 / height, 0.12 / width, 2.45 / height))
        scale = drawn.colorbar(mesh, cax=bar)
        scale.set_label("log₁₀ density (white noise = 0)", fontsize=TEXT)
        bar.tick_params(labelsize=TEXT - 1)
    strip = drawn.add_axes(
        ((start + 1.35) / width, 0.55 / height, (width - start - 1.45) / width, 2.45 / height)
    )
    for number, net in enumerate(nets):
        one = Strip(net.name, [net.excess], [net.centre])
        _one_strip(strip, one, number)
    strip.axhline(0, color="#555555", linestyle=":", linewidth=1.2)
    strip.set(xlim=(-0.5, len(nets) - 0.5))
    strip.set_xticks(range(len(nets)), [net.name for net in nets])
    strip.set_ylabel("energy at the grid beyond beside (%)", fontsize=TEXT)
    strip.set_title("Its trace (dots: maps)", fontsize=TITLE, loc="left")
    _small_ticks(strip)
    return drawn


def _one_strip(axis: Any, strip: Strip, number: int) -> None:
    values = np.sort(strip.values[0])
    spread = (np.arange(len(values)) * 0.618034) % 1 - 0.5
    axis.plot(
        number + spread * 0.55, values, ".", color=CATEGORICAL[number], alpha=0.6, markersize=5,
        markeredgewidth=0,
    )  # fmt: skip
    value, low, high = strip.centres[0]
    axis.errorbar(
        [number], [value], [[max(0, value - low)], [max(0, high - value)]], fmt="o", capsize=4,
        color=CATEGORICAL[number], markeredgecolor="white", markersize=7, linewidth=2, zorder=3,
    )  # fmt: skip


def _grid_points(stride: tuple[int, int]) -> list[tuple[float, float]]:
    """Every frequency (down, across) of a grid within ±0.5, zero itself left out."""
    along = [
        [m / s for m in range(-s, s + 1) if abs(m / s) <= 0.5] if s > 1 else [0.0] for s in stride
    ]
    return [(y, x) for y in along[0] for x in along[1] if (y, x) != (0.0, 0.0)]


def _px(stride: tuple[int, int]) -> str:
    return f"{stride[0]} px" if stride[0] == stride[1] else f"{stride[0]} x {stride[1]} px"


def _small_ticks(*axes: Any) -> None:
    for axis in axes:
        axis.tick_params(labelsize=TEXT - 1, length=3)
