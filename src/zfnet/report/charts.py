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
from zfnet.stats.chance import first_drop

# Distinguishable on white and on near-black, and by readers with a colour deficiency.
COLOURS = (
    "#3a7fc1", "#d9772b", "#2d9d78", "#bd5b9b", "#8b74cf", "#a98a1d", "#6f8090", "#c74b44",
)  # fmt: skip
LINES = {"val": ("solid", "validation"), "train": ("dash", "training")}  # dash and name
MARKED = 20  # epochs: of longer curves, and of several trainings, the points are not marked


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
    drops: bool = False  # whether it shows where the rate dropped


CHARTS = (
    ChartSpec(
        "error",
        "Error",
        "top-1 error, %",
        "Full lines: validation, centre crop, dropout off. Dashed: training views as they were "
        "trained on, dropout on, averaged while the weights moved.",
        ("val_top1_error", "train_top1_error"),
        digits=".1f",
        drops=True,
    ),
    ChartSpec(
        "loss",
        "Loss",
        "cross-entropy, nats",
        "Full lines: validation. Dashed: training, dropout on.",
        ("val_loss", "train_loss"),
        drops=True,
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
    """One figure per quantity, a line for every training; quantities that no net has are left out.

    `levels`: chart id to the (name, value) of a dotted level line, such as chance.
    """
    charts = (_chart(spec, nets, (levels or {}).get(spec.id)) for spec in CHARTS)
    return [chart for chart in charts if chart is not None]


def _values(net: NetRun, column: str) -> dict[int, list[float | None]]:
    """A column of each training's history by seed, or the first's images/s of the timing file."""
    times = [epoch.get(column) for epoch in net.timing.get("epochs") or []]
    every = {seed: history.get(column, []) for seed, history in net.histories.items()}
    if times and not any(every.values()):
        every = {next(iter(every)): times}
    return {s: values for s, values in every.items() if any(v is not None for v in values)}


def _chart(
    spec: ChartSpec, nets: Sequence[NetRun], level: tuple[str, float] | None
) -> dict[str, Any] | None:
    traces, said, colour, caption = [], [], colours(nets), spec.caption
    for net in (net for net in nets if net.history):
        several = len(net.histories) > 1
        caption = spec.caption + " Each line is one training." if several else caption
        for column in spec.columns:
            every = _values(net, column)
            if not every:
                continue
            dash, label = LINES.get(column.partition("_")[0], ("solid", ""))
            said.append(_said(f"{net.title}, {label}" if label else net.title, every))
            for seed, values in every.items():
                name = ", ".join(filter(None, [net.title, f"seed {seed}" * several, label]))
                traces.append(
                    {
                        "type": "scatter",
                        "mode": "lines+markers"
                        if len(values) <= MARKED and not several
                        else "lines",
                        "name": name,
                        "legendgroup": net.name,
                        "x": list(range(1, len(values) + 1)),
                        "y": values,
                        "line": {
                            "color": colour[net.name],
                            "width": 1 if several else 2,
                            "dash": dash,
                            "shape": "hv" if spec.steps else "linear",
                        },
                        "marker": {"size": 5, "color": colour[net.name]},
                        "hovertemplate": f"%{{y:{spec.digits}}}<extra>{name}</extra>",
                    }
                )
    if not traces:
        return None
    layout: dict[str, Any] = {"xaxis": {"title": {"text": "epoch"}, "rangemode": "tozero"}}
    if spec.drops and (drops := _drops(nets)):
        layout["shapes"] = [_upright(epoch) for epoch in drops]
        caption += " Upright line: the learning rate first fell."
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
        "layout": layout | {"yaxis": yaxis},
    }


def _said(name: str, every: Mapping[int, Sequence[float | None]]) -> str:
    """What a screen reader hears of a net's curves: where they begin and end."""
    ends = []
    for place in (0, -1):
        known = [[v for v in values if v is not None][place] for values in every.values()]
        low, high = formats.number(min(known)), formats.number(max(known))
        ends.append(low if len(known) == 1 else f"{low} to {high}")
    return f"{name}: {ends[0]} after the first epoch, {ends[1]} after the last."


def _drops(nets: Sequence[NetRun]) -> list[int]:
    """Epochs after which some training's rate first fell."""
    rates = [each.get("lr", []) for net in nets for each in net.histories.values()]
    drops = {first_drop([rate or 0.0 for rate in own]) for own in rates}
    return sorted(drop for drop in drops if drop is not None)


def _upright(epoch: int) -> dict[str, Any]:
    line = {"color": "soft", "width": 1, "dash": "dashdot"}
    ends = {"x0": epoch, "x1": epoch, "y0": 0, "y1": 1}
    return {"type": "line", "yref": "paper", "layer": "below", "line": line} | ends


def _level(value: float, epochs: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [1, max(2, epochs)],
        "y": [value, value],
        "line": {"color": "soft", "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }
