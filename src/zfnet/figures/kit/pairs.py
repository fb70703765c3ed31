"""Two numbers of each image beside each other: paired dots with means and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfnet.figures.kit.style import CATEGORICAL, MARK, figure, tidy, whisker
from zfnet.stats.estimate import Estimate

TITLE_POINTS = 12
TEXT_POINTS = 10.5


@dataclass(frozen=True)
class Pairs:
    """`values` (n, 2), one row an image; NaN rows are left out.

    `names`, `means`: of the two columns; a mean without an interval is not drawn; `unit`: the axis'
    label.
    """

    title: str
    values: np.ndarray
    names: Sequence[str]
    means: Sequence[Estimate]
    unit: str


def paired_dots(panels: Sequence[Pairs]) -> Any:
    """One panel a measurement: each image a line between its two numbers; red: mean, interval."""
    drawn = figure(0.1 + 4.3 * len(panels), 3.75)
    for axis, panel in zip(drawn.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_pairs(axis, panel)
    drawn.tight_layout(w_pad=2)
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
        mean = panel.means[column]
        if mean.low is not None:
            beside = column + (0.16 if column else -0.16)
            whisker(axis, beside, mean, fmt="D", color=MARK, markersize=6, linewidth=1.6, zorder=4)
    axis.set_xlim(-0.4, 1.4)
    axis.set_xticks([0, 1], panel.names, fontsize=TEXT_POINTS)
    axis.set_ylabel(panel.unit, fontsize=TEXT_POINTS)
    axis.set_title(panel.title, fontsize=TITLE_POINTS, pad=6)
    tidy(axis, TEXT_POINTS - 0.5)
