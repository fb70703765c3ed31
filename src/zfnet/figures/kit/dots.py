"""Values with their intervals as dots, a row a net: ours, the paper's, the single trainings'."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfnet.figures.kit.style import CATEGORICAL, FAINT, MARK, figure
from zfnet.results import Table

TEXT_POINTS = 11
CURVES = tuple(colour for i, colour in enumerate(CATEGORICAL) if i != 6)  # no yellow on white
FAINT_HEX = "#{:02x}{:02x}{:02x}".format(*FAINT)


@dataclass(frozen=True)
class Dots:
    """One kind of mark: (row, value), or (row, value, low, high) with an interval.

    `shift`: rows below a row's own line.
    """

    label: str
    marker: str
    color: str
    points: Sequence[Sequence[Any]]
    shift: float
    hollow: bool = False


@dataclass(frozen=True)
class DotPanel:
    """One chart, its rows from the top down.

    `notes`: of each row, or ""; they stand on the line of the first of `dots`.
    """

    title: str
    rows: Sequence[str]
    dots: Sequence[Dots]
    notes: Sequence[str]


def points(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[Any, ...]]:
    """What `Dots` takes: the values under `key` with their ends, of the rows that have one."""
    return [
        (place, row[key], row.get(f"{key}_low"), row.get(f"{key}_high"))
        for place, row in enumerate(rows)
        if row[key] is not None
    ]


def dot_chart(
    panels: Sequence[DotPanel],
    measure: str,
    level: tuple[float, str] | None = None,
    row_inches: float = 0.43,
) -> Any:
    """Panels below each other on one scale, which starts at 0 unless a value is below.

    measure: the axis' title. level: of a dashed vertical line, and its name.
    """
    counts = [len(panel.rows) for panel in panels]
    labels = dict.fromkeys(dots.label for panel in panels for dots in panel.dots if dots.points)
    columns = len(labels) if max(map(len, labels), default=0) < 25 else 2
    below = 0.2 + 0.22 * math.ceil(len(labels) / max(1, columns))  # inches of legend
    height = 0.95 + below + row_inches * sum(counts) + 0.5 * len(counts)
    drawn = figure(9.2, height)
    axes = drawn.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=counts)[:, 0]
    handles: dict[str, Any] = {}
    for axis, panel in zip(axes, panels, strict=True):
        for dots in panel.dots:
            handles |= {dots.label: _marks(axis, dots)} if dots.points else {}
        axis.set_title(panel.title, fontsize=TEXT_POINTS + 1, loc="left")
        axis.set_yticks(range(len(panel.rows)), panel.rows, fontsize=TEXT_POINTS)
        axis.set_ylim(len(panel.rows) - 0.45, -0.55)
        axis.margins(x=0.05)
        tidy(axis, "x")
        if level is not None:
            axis.axvline(level[0], color="#777777", linewidth=1.1, linestyle="--", zorder=1)
    axes[-1].set_xlabel(measure, fontsize=TEXT_POINTS)
    if axes[0].dataLim.x0 >= 0:
        axes[0].set_xlim(left=0)
    for axis, panel in zip(axes, panels, strict=True):  # now that the scale is known
        for row, note in enumerate(panel.notes):
            _note(axis, row, note, panel.dots, level)
    if level is not None:
        axes[0].text(
            *(level[0], 1.01, level[1]), fontsize=TEXT_POINTS - 1.5, color="#555555", ha="center",
            va="bottom", transform=axes[0].get_xaxis_transform(),
        )  # fmt: skip
    drawn.legend(
        handles.values(), handles, loc="lower center", ncols=max(1, columns), frameon=False,
        fontsize=TEXT_POINTS,
    )  # fmt: skip
    drawn.tight_layout(rect=(0, below / height, 1, 1))
    return drawn


def tidy(axis: Any, grid: str) -> None:
    """A pale grid along one axis, and no frame."""
    axis.grid(axis=grid, alpha=0.3)
    axis.tick_params(labelsize=TEXT_POINTS - 0.5, length=3)
    axis.spines[["top", "right"]].set_visible(False)


def curve(axis: Any, x: Sequence[float], points: Sequence[Sequence[Any]], **look: Any) -> None:
    """Points (value, low, high) over `x`; `look` as matplotlib's `plot` takes it, with a colour.

    Intervals are bars of their points' colour; low and high None: none.
    """
    value, low, high = zip(*points, strict=True)
    axis.plot(x, value, **{"zorder": 3, "linewidth": 1.6, "markersize": 6.5} | look)
    ends = np.array([low, high], float)
    axis.vlines(x, *ends, color=look["color"], linewidth=3, alpha=0.5, zorder=2)


def epoch_curves(axis: Any, table: Table, key: str, title: str) -> None:
    """The column `key` of a table over its column epoch, a curve for each value of layer."""
    for i, number in enumerate(dict.fromkeys(table.column("layer"))):
        own = [r for r in table.records() if r["layer"] == number and r[key] is not None]
        axis.plot(
            [row["epoch"] for row in own], [row[key] for row in own], label=f"layer {number}",
            color=CURVES[i % len(CURVES)], marker="osD^vPX"[i % 7], markersize=4.5, linewidth=1.6,
        )  # fmt: skip
    axis.set_title(title, fontsize=12, loc="left")
    axis.set_xlabel("epoch", fontsize=TEXT_POINTS)
    axis.xaxis.get_major_locator().set_params(integer=True)
    tidy(axis, "y")


def accuracy_axes(axis: Any, guess: float, x: str) -> None:
    """Accuracies per class in %, from 0 to 100, with the level of guessing; x: what is along it."""
    axis.axhline(guess, color=FAINT_HEX, linewidth=1.2, linestyle="--", label="guessing")
    axis.set_ylim(0, 100)
    axis.set_xlabel(x, fontsize=TEXT_POINTS)
    axis.set_ylabel("mean accuracy per class, %", fontsize=TEXT_POINTS)
    tidy(axis, "y")


def _marks(axis: Any, dots: Dots) -> Any:
    for row, _, *ends in dots.points:
        if ends and None not in ends:
            y = [row + dots.shift] * 2
            axis.plot(ends, y, color=dots.color, linewidth=2.5, alpha=0.6, zorder=2)
    rows, values = zip(*(point[:2] for point in dots.points), strict=True)
    (line,) = axis.plot(
        values, [row + dots.shift for row in rows], dots.marker, color=dots.color, markersize=6.5,
        markeredgewidth=2 if dots.marker == "x" else 1.4, zorder=3 if dots.hollow else 4,
        clip_on=False, markerfacecolor="white" if dots.hollow else dots.color,
    )  # fmt: skip
    return line


def _note(
    axis: Any, row: int, note: str, dots: Sequence[Dots], level: tuple[float, str] | None
) -> None:
    """Beside the marks where there is more room; without marks at the end that the level is off."""
    left, right = axis.get_xlim()
    on_line = [point for each in dots if each.shift == dots[0].shift for point in each.points]
    marks = [x for place, *xs in on_line if place == row for x in xs if x is not None]
    before = level is not None and 2 * level[0] < left + right
    look: dict[str, Any] = {"color": FAINT_HEX, "style": "italic"}
    if marks:
        before, look = min(marks) - left > right - max(marks), {"color": MARK}
    else:
        marks = [right if before else left]
    x, gap, side = (min(marks), -8, "right") if before else (max(marks), 8, "left")
    axis.annotate(
        note, (x, row + dots[0].shift), (gap, 0), textcoords="offset points", va="center", ha=side,
        fontsize=TEXT_POINTS - 1.5, annotation_clip=False, **look,
    )  # fmt: skip
