"""Maps over an image: heat maps with colour bars, label maps with a legend, the Fig. 7 row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfnet.drawing.style import CATEGORICAL, MARK, NEUTRAL, figure

HEAT = "viridis"
TITLE_POINTS = 11.5
TEXT_POINTS = 10

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ImagePanel:
    """An image (H, W, 3) uint8 with rectangles drawn on it.

    `occluder`: (y0, x0, y1, x1) filled with `fill` (raw RGB 0..255; None: outline alone);
    `box`: only its outline.
    `origin`: the (y, x) px at which the axes start, for a part cut from a larger image.
    """

    title: str
    image: np.ndarray
    occluder: Box | None = None
    fill: tuple[int, int, int] | None = (128, 128, 128)
    box: Box | None = None
    origin: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class HeatPanel:
    """One value per occluder place (R, C), laid over the image's pixels.

    `ys`, `xs`: the occluder's centre of each row and column in px; `extent`: (H, W) of the image.
    `low`, `high`: ends of the colour scale, None: those of the values. `clean`: the value without
    occluder, marked on the bar.
    """

    title: str
    values: np.ndarray
    ys: np.ndarray
    xs: np.ndarray
    extent: tuple[int, int]
    low: float | None = 0.0
    high: float | None = None
    unit: str = ""
    clean: float | None = None
    box: Box | None = None


@dataclass(frozen=True)
class LabelPanel:
    """The label (class number) at each occluder place (R, C); `names` by class number.

    `first`: the label that takes the first colour (the one without occluder).
    """

    title: str
    labels: np.ndarray
    ys: np.ndarray
    xs: np.ndarray
    extent: tuple[int, int]
    names: Sequence[str]
    first: int | None = None
    box: Box | None = None
    most: int = 7


Panel = ImagePanel | HeatPanel | LabelPanel


def cell_edges(centres: np.ndarray, length: int) -> np.ndarray:
    """Edges of the cells around sorted `centres` (n,): midpoints, and the image's own borders.

    Every pixel takes the value of the nearest place, also where places are unevenly spaced.
    """
    centres = np.asarray(centres, dtype=np.float64)
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[0.0], middle, [float(length)]])


def panel_row(panels: Sequence[Panel], title: str = "", panel_inches: float = 2.0) -> Any:
    """A row of panels of equal size with px axes as one matplotlib figure.

    Axes are placed by hand, not by a layout engine: all images then have the same size whatever
    stands beside them. Only the first panel carries the numbers of the row axis.
    """
    left, bottom, top = 0.68, 0.5, 0.62 if title else 0.32
    widths = [panel_inches + _room(panel, panel_inches) for panel in panels]
    for number, panel in enumerate(panels[1:]):
        if _span(panel) != _span(panels[0]):  # room for its own numbers
            widths[number] += 0.22
    width, height = left + sum(widths), bottom + panel_inches + top
    drawn = figure(width, height)
    if title:
        # A bold letter is about 0.66 of its size wide: long titles get smaller letters, not cut.
        points = min(TITLE_POINTS + 1.5, 72 * (width - left) / (0.66 * len(title)))
        drawn.text(
            left / width, 1 - 0.17 / height, title, fontsize=points,
            fontweight="bold", ha="left", va="center",
        )  # fmt: skip
    for number, panel in enumerate(panels):
        x = left + sum(widths[:number])
        panel_width, panel_height = _panel_size(panel, panel_inches)
        y = bottom + (panel_inches - panel_height) / 2
        axis = drawn.add_axes((x / width, y / height, panel_width / width, panel_height / height))
        axis.set_title(panel.title, fontsize=TITLE_POINTS, pad=5)
        bar = None
        if isinstance(panel, HeatPanel):
            place = (x + panel_width + 0.08, y, 0.13, panel_height)
            bar = drawn.add_axes(
                (place[0] / width, place[1] / height, place[2] / width, place[3] / height)
            )
        _draw_panel(axis, bar, panel)
        axis.set_xlabel("x (px)", fontsize=TEXT_POINTS, labelpad=2)
        if number == 0:
            axis.set_ylabel("y (px)", fontsize=TEXT_POINTS, labelpad=2)
        elif _span(panel) == _span(panels[0]):
            axis.set_yticklabels([])
    return drawn


def _span(panel: Panel) -> tuple[int, int, int, int]:
    """What the axes show: (y0, x0, y1, x1) in px."""
    if isinstance(panel, ImagePanel):
        (y, x), (height, width) = panel.origin, panel.image.shape[:2]
        return y, x, y + height, x + width
    return 0, 0, panel.extent[0], panel.extent[1]


def _panel_size(panel: Panel, inches: float) -> tuple[float, float]:
    y0, x0, y1, x1 = _span(panel)
    longer = max(y1 - y0, x1 - x0)
    return inches * (x1 - x0) / longer, inches * (y1 - y0) / longer


def _room(panel: Panel, inches: float) -> float:
    """Inches to the right of a panel: gap, and what its colour bar or its legend needs."""
    spare = inches - _panel_size(panel, inches)[0]
    if isinstance(panel, ImagePanel):
        return 0.3 - spare
    if isinstance(panel, HeatPanel):
        return (1.0 if panel.unit else 0.78) - spare
    longest = max(len(name) for name in _legend_names(panel))
    return 0.45 + 0.092 * longest - spare


def label_order(labels: np.ndarray, first: int | None, most: int) -> list[int]:
    """Labels in the legend's order: `first`, then by area (ties: lower number), at most `most`."""
    found, counts = np.unique(labels, return_counts=True)
    order = [int(found[i]) for i in np.lexsort((found, -counts))]
    if first is not None and first in order:
        order.remove(first)
        order.insert(0, first)
    return order[:most]


def _draw_panel(axis: Any, bar: Any, panel: Panel) -> None:
    y0, x0, y1, x1 = _span(panel)
    if isinstance(panel, ImagePanel):
        axis.imshow(panel.image, extent=(x0, x1, y1, y0), interpolation="antialiased")
        if panel.occluder is not None:
            face = "none" if panel.fill is None else tuple(v / 255 for v in panel.fill)
            _rectangle(axis, panel.occluder, facecolor=face, edgecolor="white", linewidth=1.0)
        if panel.box is not None:
            _rectangle(axis, panel.box, fill=False, edgecolor=MARK, linewidth=1.8)
    elif isinstance(panel, HeatPanel):
        _draw_heat(axis, bar, panel)
    else:
        _draw_labels(axis, panel)
    if not isinstance(panel, ImagePanel) and panel.box is not None:
        _rectangle(axis, panel.box, fill=False, edgecolor=MARK, linewidth=1.4, linestyle="--")
    axis.set(xlim=(x0, x1), ylim=(y1, y0), aspect="equal")
    axis.set_xticks([x0, (x0 + x1) // 2, x1])
    axis.set_yticks([y0, (y0 + y1) // 2, y1])
    axis.tick_params(labelsize=TEXT_POINTS - 1, length=3)


def _draw_heat(axis: Any, bar_axis: Any, panel: HeatPanel) -> None:
    low, high = _limits(panel)
    mesh = axis.pcolormesh(
        cell_edges(panel.xs, panel.extent[1]),
        cell_edges(panel.ys, panel.extent[0]),
        panel.values,
        cmap=HEAT,
        vmin=low,
        vmax=high,
        shading="flat",
    )
    bar = axis.figure.colorbar(mesh, cax=bar_axis)
    bar.ax.tick_params(labelsize=TEXT_POINTS - 1, length=3)
    bar.outline.set_linewidth(0.6)
    if panel.unit:
        bar.set_label(panel.unit, fontsize=TEXT_POINTS)
    if panel.clean is not None:
        bar.ax.plot(
            [-0.15], [panel.clean], marker=">", color=MARK, markersize=7, clip_on=False,
            transform=bar.ax.get_yaxis_transform(),
        )  # fmt: skip


def _limits(panel: HeatPanel) -> tuple[float, float]:
    clean = [] if panel.clean is None else [panel.clean]
    shown = [*clean, float(np.nanmin(panel.values)), float(np.nanmax(panel.values))]
    low = min(shown) if panel.low is None else panel.low
    high = max(shown) if panel.high is None else panel.high
    return (low, high) if high > low else (low, low + 1.0)


def _draw_labels(axis: Any, panel: LabelPanel) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    order = label_order(panel.labels, panel.first, panel.most)
    ranks = np.full(panel.labels.shape, len(order), dtype=np.int64)
    for rank, label in enumerate(order):
        ranks[panel.labels == label] = rank
    colours = [*CATEGORICAL[: len(order)], NEUTRAL]
    axis.pcolormesh(
        cell_edges(panel.xs, panel.extent[1]),
        cell_edges(panel.ys, panel.extent[0]),
        ranks,
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=len(order) + 0.5,
        shading="flat",
    )
    entries = [
        Patch(facecolor=colours[rank], label=name) for rank, name in enumerate(_legend_names(panel))
    ]
    axis.legend(
        handles=entries, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0,
        frameon=False, fontsize=TEXT_POINTS, handlelength=1.1, handleheight=1.1,
    )  # fmt: skip


def _legend_names(panel: LabelPanel) -> list[str]:
    order = label_order(panel.labels, panel.first, panel.most)
    names = [shorten(panel.names[label], 20) for label in order]
    others = len(np.unique(panel.labels)) - len(order)
    return [*names, f"{others} other{'s' * (others > 1)}"] if others else names


def shorten(name: str, most: int) -> str:
    """A class name of at most `most` letters, cut with an ellipsis."""
    name = name.split(",")[0].strip()
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def _rectangle(axis: Any, box: Box, **look: Any) -> None:
    from matplotlib.patches import Rectangle

    y0, x0, y1, x1 = box
    axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, **look))
