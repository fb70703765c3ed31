"""Curves against a transform: the panels of Fig. 5, all layers at once, turned classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfnet.figures.kit.style import CATEGORICAL, figure

TITLE_POINTS = 12
TEXT_POINTS = 10.5
FILLED = "#d9d9d9"
BAND = "#9a9a9a"


@dataclass(frozen=True)
class Curve:
    """A mean at `x` (T,) and its interval (T,), (T,).

    lines (K, S): single images, drawn thin, at the steps of their row.
    """

    label: str
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lines: np.ndarray | None = None


@dataclass(frozen=True)
class Row:
    """One transform: its steps `x` (S,), share of filled pixels (S,) 0..1, examples and curves.

    tiles: (K, M, h, w, 3) uint8, K images at M steps named by `marks`. curves: one a column.
    """

    name: str
    x: np.ndarray
    label: str
    ticks: Sequence[float]
    filled: np.ndarray
    curves: Sequence[Curve]
    tiles: np.ndarray | None = None
    marks: Sequence[str] = ()


def panels(rows: Sequence[Row], columns: Sequence[str], names: Sequence[str]) -> Any:
    """Fig. 5: a row per transform; example images, then one column of curves per title.

    names: of the images, in the order of tiles and lines. The last column's axis ends at 1.
    """
    drawn = figure(11.2, 9.2)
    grid = drawn.add_gridspec(
        len(rows), 1 + len(columns), width_ratios=[1.12, 1, 1, 1], left=0.055, right=0.985,
        top=0.96, bottom=0.135, wspace=0.3, hspace=0.4,
    )  # fmt: skip
    for r, row in enumerate(rows):
        axis = drawn.add_subplot(grid[r, 0])
        _mosaic(axis, row)
        if r == 0:
            axis.set_title("images", fontsize=TITLE_POINTS)
        for c, curve in enumerate(row.curves):
            axis = drawn.add_subplot(grid[r, 1 + c])
            _curves(axis, row, [curve])
            probability = c == len(columns) - 1
            axis.set_ylim(0, 1.02 if probability else None)
            if r == 0:
                axis.set_title(columns[c], fontsize=TITLE_POINTS)
    _legend(drawn, names)
    return drawn


def _mosaic(axis: Any, row: Row) -> None:
    """Images below each other, steps side by side, a bar in the image's colour before each."""
    from matplotlib.patches import Rectangle

    if row.tiles is None:
        axis.set_axis_off()
        return
    count, steps, height, width = row.tiles.shape[:4]
    gap = max(1, height // 24)
    sheet = np.full((count * (height + gap), steps * (width + gap), 3), 255, np.uint8)
    for i in range(count):
        for j in range(steps):
            y, x = i * (height + gap), j * (width + gap)
            sheet[y : y + height, x : x + width] = row.tiles[i, j]
    axis.imshow(sheet, interpolation="antialiased", aspect="equal")
    for i in range(count):
        bar = Rectangle(
            (-4 * gap, i * (height + gap)), 2.5 * gap, height, color=CATEGORICAL[i], clip_on=False
        )
        axis.add_patch(bar)
    axis.set_yticks([])
    centres = [j * (width + gap) + width / 2 for j in range(steps)]
    axis.set_xticks(centres, list(row.marks))
    axis.tick_params(labelsize=TEXT_POINTS - 1, length=0)
    axis.set_ylabel(row.name, fontsize=TITLE_POINTS, fontweight="bold", labelpad=10)
    axis.set_xlabel(row.label, fontsize=TEXT_POINTS, labelpad=2)
    for side in axis.spines.values():
        side.set_visible(False)


def _curves(axis: Any, row: Row, curves: Sequence[Curve], colours: Sequence[Any] = ()) -> None:
    """Curves with bands over a grey hill whose height is the share of filled pixels."""
    hill = axis.get_xaxis_transform()
    axis.fill_between(row.x, 0, row.filled, color=FILLED, transform=hill, linewidth=0, zorder=0)
    for k, curve in enumerate(curves):
        colour = colours[k] if len(colours) else "black"
        alpha = 0.2 if len(colours) else 0.55
        axis.fill_between(
            curve.x, curve.low, curve.high, color=colour if len(colours) else BAND, alpha=alpha,
            linewidth=0, zorder=2,
        )  # fmt: skip
        for i, line in enumerate(() if curve.lines is None else curve.lines):
            axis.plot(row.x, line, color=CATEGORICAL[i], linewidth=1.0, zorder=3)
        axis.plot(curve.x, curve.mean, color=colour, linewidth=1.9, label=curve.label, zorder=4)
        if not len(colours):
            axis.plot(curve.x, curve.mean, "o", color=colour, markersize=3.2, zorder=4)
    axis.set_xlim(float(row.x.min()), float(row.x.max()))
    axis.set_ylim(bottom=0)
    axis.set_xticks(list(row.ticks))
    axis.set_xlabel(row.label, fontsize=TEXT_POINTS, labelpad=2)
    axis.tick_params(labelsize=TEXT_POINTS - 1, length=3)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(drawn: Any, names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = [
        Line2D([], [], color=CATEGORICAL[i], linewidth=2, label=name)
        for i, name in enumerate(names)
    ]
    entries += [
        Line2D([], [], color="black", linewidth=2, label="mean of the measured images"),
        Patch(facecolor=BAND, alpha=0.55, label="95 % band of the mean"),
        Patch(facecolor=FILLED, label="share of filled pixels (axis height = all)"),
    ]
    drawn.legend(
        handles=entries, loc="lower center", ncols=4, frameon=False, fontsize=TEXT_POINTS,
        handlelength=1.6, columnspacing=1.6, bbox_to_anchor=(0.5, 0.005),
    )  # fmt: skip


def all_layers(rows: Sequence[Row], ylabel: str) -> Any:
    """A panel per transform with one curve per layer, dark (first) to light (last)."""
    import matplotlib

    drawn = figure(11.2, 4.3)
    axes = drawn.subplots(1, len(rows), sharey=True)
    for axis, row in zip(np.atleast_1d(axes), rows, strict=True):
        shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(row.curves)))
        _curves(axis, row, row.curves, list(shades))
        axis.set_title(row.name, fontsize=TITLE_POINTS)
    first = np.atleast_1d(axes)[0]
    first.set_ylabel(ylabel, fontsize=TEXT_POINTS)
    handles, labels = first.get_legend_handles_labels()
    drawn.legend(
        handles, labels, loc="lower center", ncols=len(labels), frameon=False,
        fontsize=TEXT_POINTS, handlelength=1.4, columnspacing=1.4,
    )  # fmt: skip
    drawn.subplots_adjust(left=0.07, right=0.985, top=0.92, bottom=0.225, wspace=0.1)
    return drawn


def turned(
    square: Row,
    disc: Row,
    titles: Sequence[str],
    angles: np.ndarray,
    heat: np.ndarray,
    names: Sequence[str],
) -> Any:
    """Rotation: whole view against disc in one panel a title, and classes as a heat map.

    heat: (classes, T), probabilities at `angles` (T,); names: of its rows. Without classes the map
    is left out.
    """
    columns = len(titles) + bool(len(names))
    drawn = figure(11.2, max(4.2, 1.9 + 0.23 * len(names)))
    grid = drawn.add_gridspec(
        1, columns, left=0.06, right=0.93, top=0.9, bottom=0.23, wspace=0.3,
        width_ratios=[1] * len(titles) + [1.5] * bool(len(names)),
    )  # fmt: skip
    colours = [CATEGORICAL[0], CATEGORICAL[5]]
    for c, title in enumerate(titles):
        axis = drawn.add_subplot(grid[0, c])
        _curves(axis, square, [square.curves[c], disc.curves[c]], colours)
        if c == 0:
            axis.set_ylim(0, 1.02)
        axis.set_title(title, fontsize=TITLE_POINTS)
    handles, labels = axis.get_legend_handles_labels()
    drawn.legend(
        handles, labels, loc="lower left", ncols=2, frameon=False, fontsize=TEXT_POINTS,
        bbox_to_anchor=(0.05, 0.0), handlelength=1.4,
    )  # fmt: skip
    if len(names):
        spot = grid[0, len(titles)].get_position(drawn)
        left = spot.x0 + 0.065
        axis = drawn.add_axes((left, spot.y0, spot.x1 - left - 0.01, spot.height))
        edges = _edges(angles)
        mesh = axis.pcolormesh(
            edges, np.arange(len(names) + 1), heat, cmap="viridis", vmin=0, vmax=1, shading="flat"
        )
        axis.set(ylim=(len(names), 0), yticks=np.arange(len(names)) + 0.5)
        axis.set_yticklabels(list(names))
        axis.set_xticks(list(disc.ticks))
        axis.set_xlabel(disc.label, fontsize=TEXT_POINTS, labelpad=2)
        axis.tick_params(labelsize=TEXT_POINTS - 1.5, length=3)
        axis.set_title("p(true class) by class, disc", fontsize=TITLE_POINTS)
        bar_axis = drawn.add_axes((spot.x1, spot.y0, 0.013, spot.height))
        bar = drawn.colorbar(mesh, cax=bar_axis)
        bar.set_label("mean probability", fontsize=TEXT_POINTS)
        bar.ax.tick_params(labelsize=TEXT_POINTS - 1.5, length=3)
        bar.outline.set_linewidth(0.6)
    return drawn


def _edges(x: np.ndarray) -> np.ndarray:
    """Edges of the cells around sorted `x` (T,); the outer ones as wide as their neighbours."""
    middle = (x[1:] + x[:-1]) / 2
    return np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
