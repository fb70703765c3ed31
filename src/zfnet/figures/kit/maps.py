"""Maps over an image: heat maps with colour bars, label maps with a legend, the Fig. 7 sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfnet.figures.kit.style import CATEGORICAL, MARK, NEUTRAL, figure

HEAT = "viridis"
TITLE_POINTS = 11.5
TEXT_POINTS = 10
NAMED = 7  # labels with a colour and a name of their own; the others share one

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ImagePanel:
    """An image (H, W, 3) uint8 with rectangles drawn on it.

    `occluder`: (y0, x0, y1, x1) filled with `fill` (raw RGB 0..255; None: outline alone);
    `box`: only its outline. `frame`: a black frame, as the paper marks the image's own projection.
    `origin`: the (y, x) px at which the axes start, for a part cut from a larger image.
    """

    title: str
    image: np.ndarray
    occluder: Box | None = None
    fill: tuple[int, int, int] | None = (128, 128, 128)
    box: Box | None = None
    origin: tuple[int, int] = (0, 0)
    frame: bool = False


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


Panel = ImagePanel | HeatPanel | LabelPanel


@dataclass(frozen=True)
class Strip:
    """Pairs of pictures (h, w, 3) uint8 side by side, each pair with a name below it."""

    title: str
    pairs: Sequence[tuple[np.ndarray, np.ndarray]]
    names: Sequence[str]


def cell_edges(centres: np.ndarray, length: int) -> np.ndarray:
    """Edges of the cells around sorted `centres` (n,): midpoints, and the image's own borders.

    Every pixel takes the value of the nearest place, also where places are unevenly spaced.
    """
    centres = np.asarray(centres, dtype=np.float64)
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[0.0], middle, [float(length)]])


def panel_sheet(
    rows: Sequence[Sequence[Panel]],
    strip: Strip | None = None,
    *,
    title: str = "",
    panel_inches: float = 2.1,
) -> Any:
    """Rows of panels of equal size in common columns, a strip of pairs below the first row.

    The paper's Fig. 7 for one image: (a), (b), (c), then other projections as the strip, then (d)
    and (e). Returns a matplotlib figure, narrow enough to be read when it is shown 800 px wide.
    Axes are placed by hand, not by a layout engine: all images then have the same size whatever
    stands beside them. Panels with the px of their row's first have no numbers of their own.
    """
    left, bottom, head, edge = 0.62, 0.5, 0.3, 0.06
    columns = max(len(row) for row in rows)
    # What stands to the right of a row's last panel (a legend) may use the columns that follow.
    widths = [
        max(panel_inches + _room(row, c, panel_inches) for row in rows if len(row) > c + 1)
        for c in range(columns - 1)
    ]
    right = [
        sum(widths[: len(row) - 1]) + panel_inches + max(0, _room(row, -1, panel_inches))
        for row in rows
    ]
    width = left + max(right) + edge
    tile, beside, between = 0.0, 0.04, 0.3
    if strip is not None and strip.pairs:
        count = len(strip.pairs)
        spare = width - left - edge - count * beside - (count - 1) * between
        tile = min(spare / (2 * count), 0.75 * panel_inches)
    strip_height = tile + 0.78 if tile else 0.0
    top = 0.34 if title else 0.04
    height = top + len(rows) * (head + panel_inches + bottom) + strip_height
    drawn = figure(width, height)
    if title:
        # A bold letter is about 0.66 of its size wide: long titles get smaller letters, not cut.
        points = min(TITLE_POINTS + 1.5, 72 * (width - left) / (0.66 * len(title)))
        drawn.text(left / width, 1 - 0.17 / height, title, fontsize=points, fontweight="bold",
                   ha="left", va="center")  # fmt: skip
    y = height - top
    for number, row in enumerate(rows):
        y -= head + panel_inches
        for column, panel in enumerate(row):
            axis = _add_panel(drawn, panel, (left + sum(widths[:column]), y), panel_inches)
            if column == 0:
                axis.set_ylabel("y (px)", fontsize=TEXT_POINTS, labelpad=2)
            elif _span(panel) == _span(row[0]):
                axis.set_yticklabels([])
        y -= bottom
        if number == 0 and strip is not None and tile:
            y -= strip_height
            _draw_strip(drawn, strip, (left, y + 0.38), tile, (beside, between))
    return drawn


def _draw_strip(
    drawn: Any, strip: Strip, at: tuple[float, float], tile: float, gaps: tuple[float, float]
) -> None:
    """Pairs from the corner `at` (x, y, inches) to the right; the title above, names below."""
    width, height = drawn.get_size_inches()
    x, y = at
    drawn.text(x / width, (y + tile + 0.16) / height, strip.title, fontsize=TITLE_POINTS,
               ha="left", va="center")  # fmt: skip
    for pair, name in zip(strip.pairs, strip.names, strict=True):
        drawn.text((x + tile + gaps[0] / 2) / width, (y - 0.13) / height, name,
                   fontsize=TEXT_POINTS, ha="center", va="center")  # fmt: skip
        for picture in pair:
            axis = drawn.add_axes((x / width, y / height, tile / width, tile / height))
            axis.imshow(picture, interpolation="antialiased")
            axis.set(xticks=[], yticks=[])
            x += tile + gaps[0]
        x += gaps[1] - gaps[0]


def _add_panel(drawn: Any, panel: Panel, at: tuple[float, float], inches: float) -> Any:
    """Draw a panel in the square of `inches` whose lower left corner is `at` (x, y, inches)."""
    width, height = drawn.get_size_inches()
    panel_width, panel_height = _panel_size(panel, inches)
    x, y = at[0], at[1] + (inches - panel_height) / 2
    axis = drawn.add_axes((x / width, y / height, panel_width / width, panel_height / height))
    axis.set_title(panel.title, fontsize=TITLE_POINTS, pad=5)
    bar = None
    if isinstance(panel, HeatPanel):
        bar = drawn.add_axes(
            ((x + panel_width + 0.08) / width, y / height, 0.13 / width, panel_height / height)
        )
    _draw_panel(axis, bar, panel)
    axis.set_xlabel("x (px)", fontsize=TEXT_POINTS, labelpad=2)
    return axis


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


def _room(row: Sequence[Panel], place: int, inches: float) -> float:
    """Inches to the right of a panel: gap, colour bar or legend, numbers of the next panel."""
    panel, spare = row[place], inches - _panel_size(row[place], inches)[0]
    if place >= 0 and _span(row[place + 1]) != _span(row[0]):
        spare -= 0.22  # its own numbers
    if isinstance(panel, ImagePanel):
        return 0.3 - spare
    if isinstance(panel, HeatPanel):
        return (1.0 if panel.unit else 0.78) - spare
    longest = max(len(name) for name in _legend_names(panel))
    return 0.45 + 0.092 * longest - spare


def label_order(labels: np.ndarray, first: int | None) -> list[int]:
    """Labels in the legend's order: `first`, then by area (ties: lower number), at most NAMED."""
    found, counts = np.unique(labels, return_counts=True)
    order = found[np.lexsort((found, -counts))].tolist()
    return sorted(order, key=lambda label: label != first)[:NAMED]


def _draw_panel(axis: Any, bar: Any, panel: Panel) -> None:
    y0, x0, y1, x1 = _span(panel)
    if isinstance(panel, ImagePanel):
        axis.imshow(panel.image, extent=(x0, x1, y1, y0), interpolation="antialiased")
        if panel.occluder is not None:
            face = "none" if panel.fill is None else tuple(v / 255 for v in panel.fill)
            _rectangle(axis, panel.occluder, facecolor=face, edgecolor="white", linewidth=1.0)
        if panel.box is not None:
            _rectangle(axis, panel.box, fill=False, edgecolor=MARK, linewidth=1.8)
        if panel.frame:
            for spine in axis.spines.values():
                spine.set_linewidth(3.0)
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
    mesh = _cells(axis, panel, panel.values, cmap=HEAT, vmin=low, vmax=high)
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


def _cells(axis: Any, panel: HeatPanel | LabelPanel, values: np.ndarray, **look: Any) -> Any:
    """One coloured cell a place of the occluder."""
    x, y = cell_edges(panel.xs, panel.extent[1]), cell_edges(panel.ys, panel.extent[0])
    return axis.pcolormesh(x, y, values, shading="flat", **look)


def _limits(panel: HeatPanel) -> tuple[float, float]:
    clean = [] if panel.clean is None else [panel.clean]
    shown = [*clean, float(np.nanmin(panel.values)), float(np.nanmax(panel.values))]
    low = min(shown) if panel.low is None else panel.low
    high = max(shown) if panel.high is None else panel.high
    return (low, high) if high > low else (low, low + 1.0)


def _draw_labels(axis: Any, panel: LabelPanel) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    order = label_order(panel.labels, panel.first)
    ranks = np.full(panel.labels.shape, len(order), dtype=np.int64)
    for rank, label in enumerate(order):
        ranks[panel.labels == label] = rank
    colours = [*CATEGORICAL[: len(order)], NEUTRAL]
    _cells(axis, panel, ranks, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(order) + 0.5)
    named = zip(colours, _legend_names(panel), strict=False)
    entries = [Patch(facecolor=colour, label=name) for colour, name in named]
    axis.legend(
        handles=entries, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0,
        frameon=False, fontsize=TEXT_POINTS, handlelength=1.1, handleheight=1.1,
    )  # fmt: skip


def _legend_names(panel: LabelPanel) -> list[str]:
    order = label_order(panel.labels, panel.first)
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
