"""Table 2 as dots with intervals, and which classes a net takes for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfnet.figures.kit.style import CATEGORICAL, FAINT, MARK, figure

TEXT_POINTS = 11
NUMBERED = 20  # classes up to which each field of the confusion matrix bears its number
NAMED = 60  # classes up to which they are named along the axes
FAINT_HEX = "#{:02x}{:02x}{:02x}".format(*FAINT)
OURS = {"centre crop": (CATEGORICAL[0], "o", -0.17), "ten crops": (CATEGORICAL[2], "s", 0.17)}


@dataclass(frozen=True)
class Rate:
    """A rate in % with its interval, and the single nets' rates where it is their mean."""

    value: float
    low: float | None = None
    high: float | None = None
    single: Sequence[float] = ()


@dataclass(frozen=True)
class RateRow:
    """One row: `rates` by view ("centre crop", "ten crops"), the paper's figure, or `why` none.

    `note` is written above the rates.
    """

    label: str
    rates: Mapping[str, Rate]
    paper: float | None = None
    why: str = ""
    note: str = ""


def error_chart(panels: Mapping[str, Sequence[RateRow]]) -> Any:
    """Error rates from the top row down, one panel a measure ("top-1 error"); matplotlib figure."""
    rows = max(len(entries) for entries in panels.values())
    height = 1.55 + 0.62 * rows
    drawn = figure(4.3 + 3.4 * len(panels), height)
    axes = drawn.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (title, entries) in zip(axes, panels.items(), strict=True):
        for place, row in enumerate(entries):
            _row(axis, place, row)
        axis.set_title(title, fontsize=TEXT_POINTS + 1.5)
        axis.set_xlabel("%", fontsize=TEXT_POINTS)
        axis.set_xlim(left=0)
        axis.margins(x=0.06)
        axis.grid(axis="x", alpha=0.3)
        axis.tick_params(labelsize=TEXT_POINTS - 0.5, length=3)
        axis.spines[["top", "right"]].set_visible(False)
    labels = [row.label for row in next(iter(panels.values()))]
    axes[0].set_yticks(range(rows), labels, fontsize=TEXT_POINTS)
    axes[0].set_ylim(rows - 0.45, -0.55)
    _legend(drawn, panels)
    drawn.tight_layout(rect=(0, 0.42 / height, 1, 1))
    return drawn


def _row(axis: Any, place: int, row: RateRow) -> None:
    for view, rate in row.rates.items():
        colour, marker, shift = OURS[view]
        y = place + shift
        low = rate.value if rate.low is None else rate.low
        high = rate.value if rate.high is None else rate.high
        axis.plot([low, high], [y, y], color=colour, linewidth=2.4, alpha=0.6, zorder=2)
        axis.plot(rate.value, y, marker, color=colour, markersize=6.5, zorder=3)
        if len(rate.single) > 1:
            axis.plot(
                rate.single, np.full(len(rate.single), y + 0.14), "|", color=colour, markersize=6,
                alpha=0.8, zorder=3,
            )  # fmt: skip
    if row.paper is not None:
        axis.plot(row.paper, place, "x", color=CATEGORICAL[1], markersize=7.5, markeredgewidth=2)
    if row.note:
        axis.text(
            0.02, place - 0.37, row.note, fontsize=TEXT_POINTS - 2, color=MARK, va="center",
            transform=axis.get_yaxis_transform(),
        )  # fmt: skip
    if row.why:
        axis.text(
            0.02, place, row.why, fontsize=TEXT_POINTS - 1, color=FAINT_HEX, va="center",
            style="italic", transform=axis.get_yaxis_transform(),
        )  # fmt: skip


def _legend(drawn: Any, panels: Mapping[str, Sequence[RateRow]]) -> None:
    from matplotlib.lines import Line2D

    rates = [rate for rows in panels.values() for row in rows for rate in row.rates.values()]

    look: dict[str, Any] = {"linestyle": "none", "markersize": 7.5}
    entries = [
        Line2D([], [], marker=marker, color=colour, label=view, **look)
        for view, (colour, marker, _) in OURS.items()
    ]
    look["markeredgewidth"] = 2
    paper = Line2D([], [], marker="x", color=CATEGORICAL[1], label="the paper's Table 2", **look)
    entries.append(paper)
    if any(len(rate.single) > 1 for rate in rates):
        one = Line2D([], [], marker="|", color=FAINT_HEX, label="one training each", **look)
        entries.append(one)
    drawn.legend(handles=entries, loc="lower center", ncols=4, frameon=False, fontsize=TEXT_POINTS)


def confusion_chart(counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Any:
    """Share (%) of each true class (rows) that is called each class (columns); counts (R, K)."""
    totals = counts.sum(1, keepdims=True)
    shares = 100 * np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    named = max(counts.shape) <= NAMED
    side = min(11.0, max(5.2, 2.6 + 0.47 * len(rows)))
    drawn = figure(side + 1.2, side)
    axis = drawn.subplots()
    image = axis.imshow(shares, cmap="cividis", vmin=0, vmax=100, interpolation="nearest")
    axis.set_xlabel("predicted class", fontsize=TEXT_POINTS)
    axis.set_ylabel("true class", fontsize=TEXT_POINTS)
    if named:
        size = TEXT_POINTS - 0.5 if len(rows) <= NUMBERED else 7
        axis.set_xticks(range(len(columns)), columns, rotation=90, fontsize=size)
        axis.set_yticks(range(len(rows)), rows, fontsize=size)
    if max(counts.shape) <= NUMBERED:
        for (y, x), share in np.ndenumerate(shares):
            if share >= 0.5:
                axis.text(
                    x, y, f"{share:.0f}", ha="center", va="center", fontsize=TEXT_POINTS - 2,
                    color="white" if share < 55 else "black",
                )  # fmt: skip
    bar = drawn.colorbar(image, ax=axis, fraction=0.045, pad=0.02)
    bar.set_label("share of the true class, %", fontsize=TEXT_POINTS)
    bar.ax.tick_params(labelsize=TEXT_POINTS - 1)
    drawn.tight_layout()
    return drawn
