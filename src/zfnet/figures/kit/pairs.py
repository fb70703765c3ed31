"""Two numbers of each image beside each other: paired dots with means and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfnet.figures.kit.style import CATEGORICAL, MARK, figure

TITLE_POINTS = 12
TEXT_POINTS = 10.5


@dataclass(frozen=True)
class Pairs:
    """`values` (n, 2), one row an image; NaN rows are left out.

    `names`: of the two columns; `intervals`: (mean, low, high) of each, or None where there is no
    interval; `unit`: the axis' label.
    """

    title: str
    values: np.ndarray
    names: tuple[str, str]
    intervals: tuple[tuple[float, float, float] | None, tuple[float, float, float] | None]
    unit: str


def paired_dots(panels: Sequence[Pairs], panel_inches: float = 3.4) -> Any:
    """One panel a measurement: each image a line between its two numbers; red: mean, interval."""
    left, gap, bottom, top = 0.85, 0.95, 0.45, 0.4
    width = left + len(panels) * panel_inches + (len(panels) - 1) * gap + 0.15
    height = bottom + 0.85 * panel_inches + top
    drawn = figure(width, height)
    for number, panel in enumerate(panels):
        x = left + number * (panel_inches + gap)
        axis = drawn.add_axes(
            (x / width, bottom / height, panel_inches / width, 0.85 * panel_inches / height)
        )
        _draw_pairs(axis, panel)
    return drawn


def _draw_pairs(axis: Any, panel: Pairs) -> None:
    values = panel.values[~np.isnan(panel.values).any(1)]
    axis.axhline(0, color="#999999", linewidth=0.8)
    for pair in values:
        axis.plot([0, 1], pair, color=CATEGORICAL[4], linewidth=0.9, alpha=0.6, zorder=2)
    for column in (0, 1):
        axis.plot(
            np.full(len(values), column), values[:, column], "o", color=CATEGORICAL[0],
            markersize=4, alpha=0.75, zorder=3,
        )  # fmt: skip
        interval = panel.intervals[column]
        if interval is not None:
            mean, low, high = interval
            beside = column + (0.16 if column else -0.16)
            axis.errorbar(
                [beside], [mean], yerr=[[mean - low], [high - mean]], fmt="D", color=MARK,
                markersize=6, capsize=4, linewidth=1.6, zorder=4,
            )  # fmt: skip
    axis.set_xlim(-0.4, 1.4)
    axis.set_xticks([0, 1], panel.names, fontsize=TEXT_POINTS)
    axis.set_ylabel(panel.unit, fontsize=TEXT_POINTS)
    axis.set_title(panel.title, fontsize=TITLE_POINTS, pad=6)
    axis.tick_params(labelsize=TEXT_POINTS - 0.5, length=3)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
