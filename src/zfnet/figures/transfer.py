"""Fig. 9: accuracy by training images a class. Table 6 as a chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zfnet.figures.kit.style import CATEGORICAL, figure

TITLE_POINTS = 13
TEXT_POINTS = 11.5
MARKERS = "o^s"
MARKER_WORDS = ("Circles", "Triangles", "Squares")
PRINTED_MARKERS = "x+12"
GREY = "#666666"


@dataclass(frozen=True)
class Curve:
    """Accuracy in % at `sizes` training images a class: (value, low, high), None: no interval.

    look: which of MARKERS and of the colours. like: label of the curve whose marker and colour one
    of the paper's takes, hollow; without it is a grey mark.
    """

    label: str
    sizes: Sequence[int]
    points: Sequence[tuple[float, float | None, float | None]]
    look: int = 0
    joined: bool = True
    like: str | None = None


@dataclass(frozen=True)
class CurvePanel:
    """One set: our curves, the paper's figures beside them, and the accuracy of guessing, %."""

    title: str
    curves: Sequence[Curve]
    printed: Sequence[Curve] = field(default_factory=list)
    chance: float | None = None


def learning_curves(panels: Sequence[CurvePanel]) -> Any:
    """One panel a set over linear axes from 0, as the paper draws it; a matplotlib figure."""
    entries = max(len(panel.curves) + len(panel.printed) for panel in panels)
    drawn = figure(max(7.0, 5.2 * len(panels)), 4.2 + 0.2 * entries)
    axes = drawn.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _panel(axis, panel)
    axes[0].set_ylabel("mean accuracy per class, %", fontsize=TEXT_POINTS)
    drawn.tight_layout(w_pad=2.0)
    return drawn


def _panel(axis: Any, panel: CurvePanel) -> None:
    from matplotlib.transforms import ScaledTranslation

    looks: dict[str | None, dict[str, Any]] = {}
    for curve in panel.curves:
        colour, marker = CATEGORICAL[curve.look], MARKERS[curve.look]
        looks[curve.label] = {"marker": marker, "color": colour, "markerfacecolor": "none"}
        values = [value for value, _, _ in curve.points]
        axis.plot(
            curve.sizes, values, color=colour, marker=marker, markersize=6.5,
            linestyle="-" if curve.joined else "none", linewidth=1.7, label=curve.label, zorder=3,
        )  # fmt: skip
        for size, (_, low, high) in zip(curve.sizes, curve.points, strict=True):
            if low is not None and high is not None:
                axis.plot([size, size], [low, high], color=colour, linewidth=3.2, alpha=0.55)
    others = iter(PRINTED_MARKERS * len(panel.printed))
    for curve in panel.printed:
        look = looks.get(curve.like) or {"marker": next(others), "color": GREY}
        values = [value for value, _, _ in curve.points]
        axis.plot(
            curve.sizes, values, linestyle="none", markersize=8.5, label=curve.label, zorder=4,
            **look,
        )  # fmt: skip
    if panel.chance is not None:
        axis.axhline(panel.chance, color=GREY, linewidth=1.2, linestyle="--", label="guessing")
    largest = max(size for curve in (*panel.curves, *panel.printed) for size in curve.sizes)
    axis.set_xlim(0, largest * 1.06)
    axis.set_ylim(0, 100)
    axis.set_title(panel.title, fontsize=TITLE_POINTS, fontweight="bold")
    axis.set_xlabel("training images a class", fontsize=TEXT_POINTS)
    axis.tick_params(labelsize=TEXT_POINTS - 1)
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    below = axis.transAxes + ScaledTranslation(0, -0.55, axis.figure.dpi_scale_trans)  # inches
    axis.legend(
        fontsize=TEXT_POINTS - 2, frameon=False, loc="upper left", bbox_to_anchor=(0, 0),
        bbox_transform=below,
    )  # fmt: skip


@dataclass(frozen=True)
class Dots:
    """One value in % a class, NaN: none. printed: the paper's."""

    label: str
    values: Sequence[float]
    printed: bool = False


def precision_chart(classes: Sequence[str], dots: Sequence[Dots]) -> Any:
    """Average precision of each class, one line a class, as a matplotlib figure."""
    drawn = figure(7.6, 1.9 + 0.27 * len(classes))
    axis = drawn.subplots()
    places = range(len(classes))
    own = 0
    for series in dots:
        look: dict[str, Any] = {"marker": "x", "color": GREY, "markersize": 7}
        if not series.printed:
            look = {"marker": MARKERS[own], "color": CATEGORICAL[own], "markersize": 6.5}
            own += 1
        axis.plot(series.values, places, linestyle="none", label=series.label, **look)
        known = [value for value in series.values if not math.isnan(value)]
        if known:
            axis.axvline(
                sum(known) / len(known), color=look["color"], linewidth=1, linestyle="--",
                zorder=0,
            )  # fmt: skip
    axis.set_yticks(list(places), list(classes))
    axis.set_ylim(len(classes) - 0.4, -0.6)
    axis.set_xlim(0, 100)
    axis.set_xlabel("average precision, % (dashed: mean over classes)", fontsize=TEXT_POINTS)
    axis.tick_params(labelsize=TEXT_POINTS - 1.5)
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(
        fontsize=TEXT_POINTS - 1.5, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0),
        ncols=2,
    )  # fmt: skip
    drawn.tight_layout()
    return drawn
