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

# Told apart on white and on near-black, and by readers with a colour deficiency.
COLOURS = (
    "#3a7fc1", "#d9772b", "#2d9d78", "#bd5b9b", "#8b74cf", "#a98a1d", "#6f8090", "#c74b44",
)  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """One column of history.csv: how its line is drawn and named."""

    column: str
    dash: str
    label: str


@dataclass(frozen=True)
class ChartSpec:
    """One chart: its curves, axis title (with the unit) and what there is to know about it."""

    id: str
    title: str
    axis: str
    caption: str
    curves: tuple[Curve, ...]
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
        (
            Curve("val_top1_error", "solid", "validation"),
            Curve("train_top1_error", "dash", "training"),
        ),
        digits=".1f",
    ),
    ChartSpec(
        "loss",
        "Loss",
        "cross-entropy, nats",
        "Full lines: validation. Dashed: training, dropout on.",
        (Curve("val_loss", "solid", "validation"), Curve("train_loss", "dash", "training")),
    ),
    ChartSpec(
        "rate",
        "Learning rate",
        "learning rate",
        "On a logarithmic scale.",
        (Curve("lr", "solid", ""),),
        log=True,
        steps=True,
    ),
    ChartSpec(
        "rescaled",
        "Filters scaled back",
        "filters scaled back in the epoch",
        "How often a convolution filter was above the RMS limit after a step and was scaled back "
        "to it. Where this never happens, nothing can be said about the rule.",
        (Curve("filters_rescaled", "solid", ""),),
    ),
    ChartSpec(
        "rms",
        "Largest filter RMS",
        "RMS of the largest filter",
        "The largest root mean square among the filters of the convolution layers.",
        (Curve("largest_filter_rms", "solid", ""),),
    ),
    ChartSpec(
        "speed",
        "Images per second",
        "training images/s",
        "Training only, without evaluation. A fact of the machine, not of the method.",
        (Curve("images_per_second", "solid", ""),),
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


def column(net: NetRun, name: str) -> list[float | None] | None:
    """A column of the net's history, or images/s of its timing file; None if it has none."""
    if net.history and name in net.history:
        return net.history[name]
    epochs = (net.timing or {}).get("epochs") or []
    values = [epoch.get(name) for epoch in epochs]
    return values if any(value is not None for value in values) else None


def _chart(
    spec: ChartSpec, nets: Iterable[NetRun], level: tuple[str, float] | None
) -> dict[str, Any] | None:
    traces, said, longest = [], [], 0
    for index, net in enumerate(nets):
        for curve in spec.curves:
            values = column(net, curve.column)
            if values is None or all(value is None for value in values):
                continue
            traces.append(_trace(spec, curve, net, values, COLOURS[index % len(COLOURS)]))
            said.append(_in_words(net, curve, values))
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
    spec: ChartSpec, curve: Curve, net: NetRun, values: list[float | None], colour: str
) -> dict[str, Any]:
    name = f"{net.title}, {curve.label}" if curve.label else net.title
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(values) <= 20 else "lines",
        # One entry a net in the legend: it hides and shows all the net's lines.
        "name": net.title,
        "legendgroup": net.name,
        "showlegend": curve is spec.curves[0],
        "x": epochs_of(net, len(values)),
        "y": values,
        "line": {
            "color": colour,
            "width": 2,
            "dash": curve.dash,
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


def epochs_of(net: NetRun, length: int) -> list[int]:
    """The epoch numbers of a column of `length` values, counted from 1 unless history says."""
    given = (net.history or {}).get("epoch")
    if given and len(given) == length and all(value is not None for value in given):
        return [int(value) for value in given if value is not None]
    return list(range(1, length + 1))


def _in_words(net: NetRun, curve: Curve, values: list[float | None]) -> str:
    present = [value for value in values if value is not None]
    name = f"{net.title}, {curve.label}" if curve.label else net.title
    first, last = formats.number(present[0]), formats.number(present[-1])
    return f"{name}: {first} after the first epoch, {last} after the last."
