"""Training curves as plain plotly figures (data and layout), drawn in the browser by plotly.js."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
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
VALIDATION, TRAINING = ("solid", "validation"), ("dash", "training")  # dash, name


@dataclass(frozen=True)
class ChartSpec:
    """One chart: its axis title (with the unit), what there is to know about it, its curves.

    `curves`: for each column of history.csv the dash and the name of its line.
    """

    id: str
    title: str
    axis: str
    caption: str
    curves: Mapping[str, tuple[str, str]]
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
        {"val_top1_error": VALIDATION, "train_top1_error": TRAINING},
        digits=".1f",
    ),
    ChartSpec(
        "loss",
        "Loss",
        "cross-entropy, nats",
        "Full lines: validation. Dashed: training, dropout on.",
        {"val_loss": VALIDATION, "train_loss": TRAINING},
    ),
    ChartSpec(
        "rate",
        "Learning rate",
        "learning rate",
        "On a logarithmic scale.",
        {"lr": ("solid", "")},
        log=True,
        steps=True,
    ),
    ChartSpec(
        "rescaled",
        "Filters scaled back",
        "filters scaled back in the epoch",
        "How often a convolution filter was above the RMS limit after a step and was scaled back "
        "to it. Where this never happens, nothing can be said about the rule.",
        {"filters_rescaled": ("solid", "")},
    ),
    ChartSpec(
        "rms",
        "Largest filter RMS",
        "RMS of the largest filter",
        "The largest root mean square among the filters of the convolution layers.",
        {"largest_filter_rms": ("solid", "")},
    ),
    ChartSpec(
        "speed",
        "Images per second",
        "training images/s",
        "Training only, without evaluation. A fact of the machine, not of the method.",
        {"images_per_second": ("solid", "")},
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


def training_charts(
    nets: Sequence[NetRun], levels: Mapping[str, tuple[str, float]] | None = None
) -> list[dict[str, Any]]:
    """One figure per quantity, every trained net in it; quantities that no net has are left out.

    `levels`: chart id to the (name, value) of a dotted level line, such as chance.
    """
    trained = [net for net in nets if net.history]
    charts = (_chart(spec, trained, (levels or {}).get(spec.id)) for spec in CHARTS)
    return [chart for chart in charts if chart is not None]


def _values(net: NetRun, column: str) -> list[float | None]:
    """A column of the net's history, or images/s of its timing file; [] if it has none."""
    times = [epoch.get(column) for epoch in net.timing.get("epochs") or []]
    values = net.history.get(column, times)
    return values if any(value is not None for value in values) else []


def _chart(
    spec: ChartSpec, nets: Iterable[NetRun], level: tuple[str, float] | None
) -> dict[str, Any] | None:
    traces, said, longest = [], [], 0
    for index, net in enumerate(nets):
        for column, (dash, label) in spec.curves.items():
            values = _values(net, column)
            if not values:
                continue
            name = f"{net.title}, {label}" if label else net.title
            colour = COLOURS[index % len(COLOURS)]
            first = column == next(iter(spec.curves))
            traces.append(_trace(spec, net, values, name, dash, colour, first))
            said.append(_in_words(name, values))
            longest = max(longest, len(values))
    if not traces:
        return None
    if level is not None:
        traces.append(_level(level[1], longest, level[0]))
    yaxis: dict[str, Any] = {"title": {"text": spec.axis}, "rangemode": "tozero"}
    if spec.log:
        yaxis |= {"type": "log", "rangemode": "normal", "dtick": 1}
    return {
        "id": spec.id,
        "title": spec.title,
        "caption": spec.caption,
        "alt": f"{spec.title} by epoch. " + " ".join(said),
        "data": traces,
        "layout": {"xaxis": {"title": {"text": "epoch"}, "rangemode": "tozero"}, "yaxis": yaxis},
    }


def _trace(
    spec: ChartSpec,
    net: NetRun,
    values: list[float | None],
    name: str,
    dash: str,
    colour: str,
    first: bool,
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(values) <= 20 else "lines",
        # One entry a net in the legend: it hides and shows all the net's lines.
        "name": net.title,
        "legendgroup": net.name,
        "showlegend": first,
        "x": list(range(1, len(values) + 1)),
        "y": values,
        "line": {
            "color": colour,
            "width": 2,
            "dash": dash,
            "shape": "hv" if spec.steps else "linear",
        },
        "marker": {"size": 5, "color": colour},
        "hovertemplate": f"%{{y:{spec.digits}}}<extra>{name}</extra>",
    }


def _level(value: float, epochs: int, name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [1, max(2, epochs)],
        "y": [value, value],
        "line": {"color": "soft", "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _in_words(name: str, values: Iterable[float | None]) -> str:
    present = [formats.number(value) for value in values if value is not None]
    return f"{name}: {present[0]} after the first epoch, {present[-1]} after the last."
