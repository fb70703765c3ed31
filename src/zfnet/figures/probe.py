"""Table 7 as a chart: accuracy of linear classifiers by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zfnet.figures.kit.style import CATEGORICAL, figure

COLOURS = {"trained": CATEGORICAL[0], "untrained": CATEGORICAL[7], "paper": CATEGORICAL[5]}
MARKERS = {"svm": "o", "softmax": "^"}
# Side by side at one layer: the nets, and within them the classifiers.
SHIFTS = {"trained": 0.0, "untrained": 0.0, "paper": -0.28}
SOFTMAX_SHIFT = 0.14


@dataclass(frozen=True)
class Point:
    """A value, %, and the ends of its bar."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Depth:
    """One line: its words, whose it is (a key of COLOURS), its classifier, its values by layer."""

    label: str
    whose: str
    classifier: str
    points: Mapping[int, Point]


def depth_chart(series: Sequence[Depth], layers: Sequence[int], chance: float) -> Any:
    """Accuracy, %, by layer as one matplotlib figure; the paper's values are hollow, unjoined.

    chance: accuracy of guessing, a dashed line.
    """
    drawn = figure(7.6, 4.3)
    axis = drawn.subplots()
    places = {layer: place for place, layer in enumerate(layers)}
    for one in series:
        shift = SHIFTS[one.whose] + SOFTMAX_SHIFT * (one.classifier == "softmax")
        colour, hollow = COLOURS[one.whose], one.whose == "paper"
        x = [places[layer] + shift for layer in one.points]
        y = [point.value for point in one.points.values()]
        joined = "none" if hollow else "--" if one.classifier == "softmax" else "-"
        axis.plot(
            x, y, color=colour, linestyle=joined, linewidth=1.5, label=one.label, markersize=7,
            marker=MARKERS[one.classifier], markerfacecolor="white" if hollow else colour,
            zorder=3,
        )  # fmt: skip
        for place, point in zip(x, one.points.values(), strict=True):
            if point.low is not None and point.high is not None:
                axis.plot(
                    [place, place], [point.low, point.high], color=colour, linewidth=2.6,
                    alpha=0.5, solid_capstyle="butt", zorder=2,
                )  # fmt: skip
    axis.axhline(chance, color="#555555", linewidth=1.2, linestyle=":", label="chance")
    axis.set_xlabel("layer", fontsize=11.5)
    axis.set_ylabel("mean per-class accuracy, %", fontsize=11.5)
    axis.set_xticks(list(places.values()), [str(layer) for layer in layers])
    axis.set_xlim(-0.5, len(layers) - 0.4)
    axis.set_ylim(0, 100)
    axis.tick_params(labelsize=10.5)
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(
        fontsize=10.5, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0
    )
    drawn.tight_layout()
    return drawn
