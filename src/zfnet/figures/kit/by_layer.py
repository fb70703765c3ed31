"""Numbers by layer with their intervals, as small charts side by side."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from zfnet.figures.kit.style import CATEGORICAL, figure

TITLE_POINTS = 13
TEXT_POINTS = 11.5
MARKERS = "os^D"


@dataclass(frozen=True)
class Series:
    """One number a layer: (value, low, high); low and high None where there is no interval.

    A value that is not a number leaves a gap.
    """

    label: str
    points: Sequence[tuple[float, float | None, float | None]]


@dataclass(frozen=True)
class LayerPanel:
    """One chart: its title, what its axis measures, its series; `levels`: named heights."""

    title: str
    measure: str
    series: Sequence[Series]
    levels: dict[str, float] = field(default_factory=dict)


def layer_panels(
    panels: Sequence[LayerPanel], layers: Sequence[int], beyond: Collection[int] = ()
) -> Any:
    """Charts over the same `layers`, as one matplotlib figure; axes start at 0.

    Layers in `beyond` stand on a grey ground: no claim is made about them.
    """
    drawn = figure(3.75 * len(panels), 3.7)
    axes = drawn.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _draw(axis, panel, list(layers), beyond)
    drawn.tight_layout(w_pad=1.5)
    return drawn


def _draw(axis: Any, panel: LayerPanel, layers: list[int], beyond: Collection[int]) -> None:
    places = range(len(layers))
    for place, layer in enumerate(layers):
        if layer in beyond:
            axis.axvspan(place - 0.5, place + 0.5, color="#ececec", linewidth=0, zorder=0)
    for number, series in enumerate(panel.series):
        colour = CATEGORICAL[number]
        values = [value for value, _, _ in series.points]
        axis.plot(
            places, values, color=colour, marker=MARKERS[number], markersize=6, linewidth=1.6,
            label=series.label,
        )  # fmt: skip
        for place, (value, low, high) in zip(places, series.points, strict=True):
            if low is not None and high is not None and math.isfinite(value):
                axis.plot([place, place], [low, high], color=colour, linewidth=3.2, alpha=0.55)
    for name, height in panel.levels.items():
        axis.axhline(height, color="#555555", linewidth=1.2, linestyle="--", label=name)
    axis.set_title(panel.title, fontsize=TITLE_POINTS, fontweight="bold")
    axis.set_xlabel("layer", fontsize=TEXT_POINTS)
    axis.set_ylabel(panel.measure, fontsize=TEXT_POINTS)
    axis.set_xticks(list(places), [str(layer) for layer in layers])
    axis.set_xlim(-0.5, len(layers) - 0.5)
    axis.set_ylim(0, max(1.0, axis.get_ylim()[1]) * 1.08)
    axis.tick_params(labelsize=TEXT_POINTS - 1)
    axis.spines[["top", "right"]].set_visible(False)
    if len(panel.series) + len(panel.levels) > 1:
        axis.legend(fontsize=TEXT_POINTS - 1, frameon=False, loc="best")
