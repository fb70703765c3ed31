"""Training curves as plain plotly figures (data and layout), drawn in the browser by plotly.js."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zfnet.errors import UserError
from zfnet.report import formats
from zfnet.report.gather import NetRun

# Distinguishable on white and on near-black, and by readers with a colour deficiency.
COLOURS = (
    "#3a7fc1", "#d9772b", "#2d9d78", "#bd5b9b", "#8b74cf", "#a98a1d", "#6f8090", "#c74b44",
)  # fmt: skip
LINES = {"val": ("solid", "validation"), "train": ("dash", "training")}  # dash and name
MARKED = 20  # epochs: of longer curves the points are not marked


@dataclass(frozen=True)
class ChartSpec:
    """One chart: columns of history.csv by epoch, its axis title with the unit, its caption."""

    id: str
    title: str
    axis: str
    caption: str
    columns: tuple[str, ...]
    digits: str = ".4~g"
    log: bool = False
    steps: bool = False


CHARTS = (
    ChartSpec(
        "error",
        "Error",
        "top-1 error, %",
        "Full lines: validation, centre crop, dropout off. Dashed: training views as they were "
        "trained on, dropout on, averaged while the weights moved.",
        ("val_top1_error", "train_top1_error"),
        digits=".1f",
    ),
    ChartSpec(
        "loss",
        "Loss",
        "cross-entropy, nats",
        "Full lines: validation. Dashed: training, dropout on.",
        ("val_loss", "train_loss"),
    ),
    ChartSpec(
        "rate",
        "Learning rate",
        "learning rate",
        "On a logarithmic scale.",
        ("lr",),
        log=True,
        steps=True,
    ),
    ChartSpec(
        "rescaled",
        "Filters scaled back",
        "filters scaled back in the epoch",
        "How often a convolution filter was above the RMS limit after a step and was scaled back "
        "to it. Where this never happens, nothing can be said about the rule.",
        ("filters_rescaled",),
    ),
    ChartSpec(
        "rms",
        "Largest filter RMS",
        "RMS of the largest filter",
        "The largest root mean square among the filters of the convolution layers.",
        ("largest_filter_rms",),
    ),
    ChartSpec(
        "speed",
        "Images per second",
        "training images/s",
        "Training only, without evaluation. A fact of the machine, not of the method.",
        ("images_per_second",),
    ),
)


def plotly_script() -> Path:
    """The file plotly.js inside the installed Python package, found without importing it."""
    found = importlib.util.find_spec("plotly")
    for folder in (found.submodule_search_locations or []) if found else []:
        script = Path(folder) / "package_data" / "plotly.min.js"
        if script.is_file():
            return script
    raise UserError("plotly.min.js was not found in the package plotly: run `uv sync`.")


def colours(nets: Sequence[NetRun]) -> dict[str, str]:
    """Each trained net's colour, by name: the same in all charts."""
    trained = [net.name for net in nets if net.history]
    return dict(zip(trained, itertools.cycle(COLOURS), strict=False))


def training_charts(
    nets: Sequence[NetRun], levels: Mapping[str, tuple[str, float]] | None = None
) -> list[dict[str, Any]]:
    """One figure per quantity, every trained net in it; quantities that no net has are left out.

    `levels`: chart id to the (name, value) of a dotted level line, such as chance.
    """
    charts = (_chart(spec, nets, (levels or {}).get(spec.id)) for spec in CHARTS)
    return [chart for chart in charts if chart is not None]


def _values(net: NetRun, column: str) -> list[float | None]:
    """A column of the net's history, or images/s of its timing file; [] if it has none."""
    times = [epoch.get(column) for epoch in net.timing.get("epochs") or []]
    values = net.history.get(column, times)
    return values if any(value is not None for value in values) else []


def _chart(
    spec: ChartSpec, nets: Sequence[NetRun], level: tuple[str, float] | None
) -> dict[str, Any] | None:
    traces, said, colour = [], [], colours(nets)
    for net in (net for net in nets if net.history):
        for column in spec.columns:
            values = _values(net, column)
            if not values:
                continue
            dash, label = LINES.get(column.partition("_")[0], ("solid", ""))
            name = f"{net.title}, {label}" if label else net.title
            present = [formats.number(value) for value in values if value is not None]
            said.append(
                f"{name}: {present[0]} after the first epoch, {present[-1]} after the last."
            )
            shape = "hv" if spec.steps else "linear"
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(values) <= MARKED else "lines",
                    "name": name,
                    "legendgroup": net.name,
                    "x": list(range(1, len(values) + 1)),
                    "y": values,
                    "line": {"color": colour[net.name], "width": 2, "dash": dash, "shape": shape},
                    "marker": {"size": 5, "color": colour[net.name]},
                    "hovertemplate": f"%{{y:{spec.digits}}}<extra>{name}</extra>",
                }
            )
    if not traces:
        return None
    caption = spec.caption
    if level is not None:
        traces.append(_level(level[1], max(len(trace["x"]) for trace in traces)))
        caption += f" Dotted: {level[0]}."
    yaxis: dict[str, Any] = {"title": {"text": spec.axis}, "rangemode": "tozero"}
    if spec.log:
        yaxis |= {"type": "log", "rangemode": "normal", "dtick": 1, "tickformat": "~g"}
    return {
        "id": spec.id,
        "title": spec.title,
        "caption": caption,
        "alt": f"{spec.title} by epoch. " + " ".join(said),
        "data": traces,
        "layout": {"xaxis": {"title": {"text": "epoch"}, "rangemode": "tozero"}, "yaxis": yaxis},
    }


def _level(value: float, epochs: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [1, max(2, epochs)],
        "y": [value, value],
        "line": {"color": "soft", "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }
