"""How features form: each map's strongest activation, projected epoch by epoch (Fig. 4).

The paper shows pictures and judges by eye when they stop changing. Here every map gets an epoch
from which its projection stays similar to that of the last epoch. The paper leaves open what is
similar, and what to compare when another image becomes the strongest. Two measures are taken:

- "fixed": the image and place that are strongest at the last epoch, projected through the net of
  every epoch. Whatever differs is the feature, not the image; a map that is silent there at some
  epoch has an empty projection, which is similar to nothing.
- "own": at each epoch its own strongest image, as in the paper's figure. Projections are laid over
  each other by their receptive fields; small shifts are forgiven (`shift`).

Similarity is the cosine over the pixels of the receptive field, so contrast plays no part. Two maps
of one layer have similar projections too when both start from one place of one image, because the
pools' switches are the image's: that `floor` is measured, and a table shows what counting from it
would change.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from zfnet.errors import UserError
from zfnet.figures.evolution import Block, CurvePanel, Track, curve_panels, evolution_sheet
from zfnet.models.net import Net
from zfnet.stats.bootstrap import bootstrap_mean
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import wilson
from zfnet.studies.base import Inputs, options_of
from zfnet.studies.result import Figure, Result, Table
from zfnet.studies.settling import (
    CONTRAST,
    Run,
    Snapshots,
    Trace,
    field_corners,
    follow,
    measured_epochs,
    scaled_epochs,
    settled_index,
)

if TYPE_CHECKING:
    from PIL.Image import Image

CHOICES = ("random", "active")
MEASURES = ("fixed", "own")
FIELD_LIMIT = 0.75  # of the image side: a larger field is mostly the image's border
DRAWS = 2000
TITLE = "Evolution: when features settle"
PAPER_UPPER = (40, 50)  # epochs that the paper says the upper layers need


@dataclass(frozen=True)
class Options:
    """The section `study.evolution` of the config, checked.

    `figure_maps`: maps drawn a layer. `paper_epochs` of `paper_length`: the figure's columns,
    scaled to the run. `max_epochs`: about how many snapshots are measured. `max_images`,
    `max_maps`: seeded samples; 0: all. `threshold`: cosine from which a projection counts as
    similar; `thresholds`: others for the table of sensitivity. `measure`: "fixed" or "own", see the
    module. `shift`: share of the field's side by which own projections may be shifted. `lower`,
    `upper`: the layers that are compared.
    """

    layers: Sequence[int] = (1, 2, 3, 4, 5)
    tap: str = "relu"
    figure_maps: int = 6
    choose: str = "random"
    paper_epochs: Sequence[int] = (1, 2, 5, 10, 20, 30, 40, 64)
    paper_length: int = 70
    max_epochs: int = 24
    split: str = "train"
    max_images: int = 800
    max_maps: int = 32
    threshold: float = 0.7
    thresholds: Sequence[float] = (0.5, 0.9)
    measure: str = "fixed"
    shift: float = 0.1
    lower: Sequence[int] = (1, 2)
    upper: Sequence[int] = (4, 5)
    lrn: str = "identity"
    batch_size: int = 64

    def __post_init__(self) -> None:
        for key, allowed in (
            ("choose", CHOICES),
            ("measure", MEASURES),
            ("lrn", ("identity", "jacobian")),
        ):
            if getattr(self, key) not in allowed:
                raise UserError(
                    f"study.evolution.{key}={getattr(self, key)}: "
                    f"choose one of {', '.join(allowed)}"
                )
        for key in ("figure_maps", "paper_length", "max_epochs", "batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"study.evolution.{key}={getattr(self, key)}: must be at least 1")
        for key in ("max_images", "max_maps"):
            if getattr(self, key) < 0:
                raise UserError(f"study.evolution.{key}={getattr(self, key)}: 0 (all) or more")
        for value in (self.threshold, *self.thresholds):
            if not 0 < value < 1:
                raise UserError(f"study.evolution: threshold {value} must lie between 0 and 1")
        if not 0 <= self.shift <= 0.5:
            raise UserError(f"study.evolution.shift={self.shift}: must lie between 0 and 0.5")
        if not self.layers:
            raise UserError("study.evolution.layers is empty: name at least one layer, e.g. [1, 2]")
        if not self.paper_epochs or min(self.paper_epochs) < 1:
            raise UserError("study.evolution.paper_epochs: name at least one epoch, counted from 1")

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section."""
        return options_of(Options, section)


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.evolution, seed and device.

    The snapshots lie in the folder epochs beside that of the final net, `paths.net`.
    """
    options = Options.read(cfg.study.evolution)
    inputs = Inputs.of_stage(cfg, paths, options.split, max_images=options.max_images or None)
    snapshots = Snapshots.open(Path(paths.net).parent / "epochs")
    return study(inputs, snapshots, options, seed=cfg.seed)


def study(inputs: Inputs, snapshots: Snapshots, options: Options, *, seed: int = 0) -> Result:
    """Fig. 4 for one net and its snapshots. The net's weights are afterwards as before.

    With fewer than two snapshots (an adopted net has none) the result says so and holds no numbers.
    """
    if len(snapshots.epochs) < 2:
        return _without(inputs, snapshots, options, seed)
    columns = scaled_epochs(snapshots.epochs, options.paper_epochs, options.paper_length)
    epochs = measured_epochs(snapshots.epochs, columns, options.max_epochs)
    traces = follow(inputs, snapshots, epochs, options, seed)
    run_ = Run(epochs, columns, snapshots.epochs[-1], tuple(traces))
    metrics = _metrics(run_, inputs, options, seed)
    tables = _tables(run_, inputs, options, metrics, seed)
    return Result(
        study="evolution",
        title=TITLE,
        paper="Fig. 4",
        text=_text(run_, inputs, options, metrics, tables["sensitivity"]),
        net=inputs.net.name,
        tap=options.tap,
        seed=seed,
        metrics=metrics,
        tables=tables,
        arrays=_arrays(run_, inputs.net.input_px),
        figures=[_sheet(run_, inputs, options), _curves(run_, inputs, options)],
        extra=_extra(run_, inputs, options),
    )


# ------------------------------------------------------------------------------------ statistics
def bootstrap_median(values: np.ndarray, seed: int, unit: str = "", note: str = "") -> Estimate:
    """Median of `values` (n,) with a 95 % percentile bootstrap interval over its n members."""
    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2:
        value = float(values[0]) if n else float("nan")
        return Estimate(value, n=n, unit=unit, note=f"{note}; too few for an interval")
    rng = np.random.default_rng([seed, n, 9])
    medians = np.median(values[rng.integers(n, size=(DRAWS, n))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return Estimate(float(np.median(values)), float(low), float(high), n, unit, note)


def difference(
    lower: Sequence[np.ndarray], upper: Sequence[np.ndarray], seed: int, note: str = ""
) -> Estimate:
    """Mean over `upper` layers minus mean over `lower` ones, each layer's values (n,) averaged.

    Every layer weighs the same, however many maps it has. 95 % percentile bootstrap over the maps
    of each layer. Not a number where one side has no maps.
    """
    lower = [values for values in lower if len(values)]
    upper = [values for values in upper if len(values)]
    n = sum(len(values) for values in (*lower, *upper))
    if not lower or not upper:
        return Estimate(float("nan"), n=n, unit="epochs", note=f"{note}; one side has no maps")
    rng = np.random.default_rng([seed, n, 10])

    def drawn(values: np.ndarray) -> np.ndarray:
        return values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(1)

    value = np.mean([v.mean() for v in upper]) - np.mean([v.mean() for v in lower])
    draws = np.mean([drawn(v) for v in upper], 0) - np.mean([drawn(v) for v in lower], 0)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high), n, "epochs", note)


@dataclass(frozen=True)
class Rule:
    """One way to decide when a map has settled; `above_floor`: threshold counted from the floor."""

    name: str
    measure: str
    threshold: float
    above_floor: bool = False

    def index(self, trace: Trace) -> np.ndarray:
        """Index of the epoch from which each live map is settled."""
        threshold = self.threshold
        if self.above_floor and len(trace.floor[trace.live]) > 1:
            floor = float(np.nanmean(trace.floor[trace.live]))
            threshold = floor + (1 - floor) * threshold
        return settled_index(trace.similarity(self.measure), threshold)

    def epochs(self, trace: Trace, epochs: Sequence[int]) -> np.ndarray:
        """Epoch from which each live map is settled; the last one also for those never settled."""
        return np.asarray(epochs)[self.index(trace)].astype(np.float64)


def rules(options: Options) -> list[Rule]:
    """The rule that the numbers rest on, then the alternatives of the table of sensitivity."""
    names = {"fixed": "last epoch's image", "own": "each epoch's own image"}

    def rule(measure: str, threshold: float, above: bool = False) -> Rule:
        more = " above the floor" if above else ""
        return Rule(f"{names[measure]}, {threshold:g}{more}", measure, threshold, above)

    here, other = options.measure, MEASURES[1 - MEASURES.index(options.measure)]
    return [
        rule(here, options.threshold),
        *(rule(here, threshold) for threshold in options.thresholds),
        rule(here, options.threshold, above=True),
        rule(other, options.threshold),
    ]


def _sides(run_: Run, options: Options, rule: Rule) -> tuple[list[np.ndarray], list[np.ndarray]]:
    by_layer = {trace.number: rule.epochs(trace, run_.epochs) for trace in run_.traces}
    return (
        [by_layer[number] for number in options.lower if number in by_layer],
        [by_layer[number] for number in options.upper if number in by_layer],
    )


# --------------------------------------------------------------------------------------- telling
def _beyond(trace: Trace, net: Net) -> bool:
    return max(trace.reach.size) > FIELD_LIMIT * net.input_px


def _metrics(run_: Run, inputs: Inputs, options: Options, seed: int) -> dict[str, Estimate]:
    rule = rules(options)[0]
    counted = "counted: no interval"
    metrics = {
        "images": Estimate(len(inputs.rows), unit="images", note=counted),
        "run_epochs": Estimate(run_.length, unit="epochs", note=counted),
        "measured_epochs": Estimate(len(run_.epochs), unit="epochs", note=counted),
    }
    for trace in run_.traces:
        metrics |= {
            f"layer{trace.number}_{name}": value
            for name, value in _layer_metrics(trace, run_, inputs.net, rule, seed).items()
        }
    lower, upper = _sides(run_, options, rule)
    wide = [t.number for t in run_.traces if t.number in options.upper and _beyond(t, inputs.net)]
    told = (
        "mean settling epoch, layers weighing the same, maps never settled counted at the last "
        "epoch; bootstrap over maps of this one net"
    )
    if wide:
        told += f"; the fields of layers {_listed(wide)} pass {FIELD_LIMIT:g} of the image side"
    between = difference(lower, upper, seed, told)
    metrics["upper_minus_lower"] = between
    metrics["upper_minus_lower_share"] = _share(between, run_.length)
    return metrics


def _share(epochs: Estimate, length: int) -> Estimate:
    """The same number as a share of the run's length."""
    low = None if epochs.low is None else epochs.low / length
    high = None if epochs.high is None else epochs.high / length
    return Estimate(epochs.value / length, low, high, epochs.n, "of the run", epochs.note)


def _layer_metrics(trace: Trace, run_: Run, net: Net, rule: Rule, seed: int) -> dict[str, Estimate]:
    index = rule.index(trace)
    n = len(index)
    late = int((index == len(run_.epochs) - 1).sum())
    share = max(trace.reach.size) / net.input_px
    wide = (
        f"; its field is {share:.2f} of the image side, beyond {FIELD_LIMIT:g}"
        if _beyond(trace, net)
        else ""
    )
    note = "median over live maps; bootstrap over maps"
    if 2 * late >= n > 0:
        note += "; at least this: half of the maps or more did not settle before the last epoch"
    if n and (index == 0).sum() * 2 >= n:
        note += "; at most this: half of the maps or more were settled at the first snapshot"
    median = bootstrap_median(rule.epochs(trace, run_.epochs), seed, "epoch", note + wide)
    low, high = wilson(late, n)
    live = trace.changed[trace.live]
    told = ~np.isnan(live).all(1)
    changes = np.nanmean(live[told], 1) if told.any() else np.zeros(0)
    return {
        "settled": median,
        "settled_share": _share(median, run_.length),
        "unsettled": Estimate(
            late / n if n else float("nan"), low, high, n, "of live maps",
            "not settled before the last epoch; Wilson interval over maps" + wide,
        ),
        "image_changes": bootstrap_mean(
            changes, seed, "of steps",
            "share of the steps between measured epochs at which another image becomes the "
            "strongest, mean over live maps; bootstrap over maps" + wide,
        ),
        "floor": bootstrap_mean(
            trace.floor[~np.isnan(trace.floor)], seed,
            note="similarity of the projections of two maps from one place of one image, last "
            "epoch; bootstrap over maps" + wide,
        ),
        "dead_maps": Estimate(
            int((~trace.live).sum()), n=len(trace.maps), unit="maps",
            note="no activation at the last epoch; counted: no interval",
        ),
    }  # fmt: skip


def _tables(
    run_: Run, inputs: Inputs, options: Options, metrics: dict[str, Estimate], seed: int
) -> dict[str, Table]:
    return {
        "layers": _layer_table(run_, inputs.net, metrics),
        "sensitivity": _sensitivity(run_, options, seed),
        "steps": _step_table(run_, rules(options)[0]),
        "maps": _map_table(run_, inputs, options),
    }


def _layer_table(run_: Run, net: Net, metrics: dict[str, Estimate]) -> Table:
    rows: list[list[str | int | float | bool | None]] = []
    for trace in run_.traces:
        told = {
            name: metrics[f"layer{trace.number}_{name}"]
            for name in ("settled", "settled_share", "unsettled", "image_changes", "floor")
        }
        median = told["settled"]
        rows.append(
            [trace.number, trace.path, trace.total, len(trace.maps), int((~trace.live).sum()),
             trace.reach.size[0], _beyond(trace, net), median.value, median.low, median.high,
             told["settled_share"].value, told["unsettled"].value, told["image_changes"].value,
             told["floor"].value]
        )  # fmt: skip
    return Table(
        ["layer", "module", "maps", "measured", "dead at the end", "field px",
         f"field above {FIELD_LIMIT:g} of side", "settled from epoch (median)", "low", "high",
         "share of the run", "not settled before the end", "image changes a step", "floor"],
        rows,
        f"Layers: when their maps' projections settle, of {run_.length} epochs.",
    )  # fmt: skip


def _sensitivity(run_: Run, options: Options, seed: int) -> Table:
    rows: list[list[str | int | float | bool | None]] = []
    for number, rule in enumerate(rules(options)):
        lower, upper = _sides(run_, options, rule)
        between = difference(lower, upper, seed)
        late = [
            (rule.index(t) == len(run_.epochs) - 1).mean()
            for t in run_.traces
            if t.number in options.upper and t.live.any()
        ]
        rows.append(
            [rule.name + (" (chosen)" if number == 0 else ""), _mean_of(lower), _mean_of(upper),
             between.value, between.low, between.high, float(np.mean(late)) if late else None]
        )  # fmt: skip
    return Table(
        ["image and threshold", f"layers {_listed(options.lower)}: mean epoch",
         f"layers {_listed(options.upper)}: mean epoch", "difference", "low", "high",
         "upper maps not settled before the end"],
        rows,
        "What other choices would have given: mean epoch from which projections stay similar to "
        "the last epoch's, lower against upper layers, with 95 % bootstrap over maps.",
    )  # fmt: skip


def _mean_of(layers: Sequence[np.ndarray]) -> float | None:
    means = [values.mean() for values in layers if len(values)]
    return float(np.mean(means)) if means else None


def _step_table(run_: Run, rule: Rule) -> Table:
    rows: list[list[str | int | float | bool | None]] = []
    for trace in run_.traces:
        curves = _layer_curves(trace, run_, rule)
        for e, epoch in enumerate(run_.epochs):
            rows.append([trace.number, epoch, *(float(curve[e]) for curve in curves)])
    return Table(
        ["layer", "epoch", "similarity, last epoch's image", "settled",
         "similarity, own image", "strongest image changed"],
        rows,
        "Every layer and measured epoch: mean similarity to the last epoch over live maps, share "
        "of live maps settled, share whose strongest image is another than at the epoch measured "
        "before.",
    )  # fmt: skip


def _layer_curves(trace: Trace, run_: Run, rule: Rule) -> tuple[np.ndarray, ...]:
    """Over the epochs (E,): fixed similarity, share settled, own similarity, share changed."""
    count = len(run_.epochs)
    nothing = np.full(count, np.nan)
    if not trace.live.any():
        return nothing, nothing, nothing, nothing
    settled = (rule.index(trace)[:, None] <= np.arange(count)).mean(0)
    changed = nothing.copy()
    for e in range(1, count):
        step = trace.changed[trace.live, e - 1]
        if not np.isnan(step).all():
            changed[e] = np.nanmean(step)
    return trace.similarity("fixed").mean(0), settled, trace.similarity("own").mean(0), changed


def _map_table(run_: Run, inputs: Inputs, options: Options) -> Table:
    rows: list[list[str | int | float | bool | None]] = []
    rule = rules(options)[0]
    for trace in run_.traces:
        epochs = iter(rule.epochs(trace, run_.epochs).tolist())
        for i, number in enumerate(trace.maps.tolist()):
            if not trace.live[i]:
                rows.append([trace.number, number, None, None, None, None])
                continue
            epoch = int(next(epochs))
            rows.append(
                [trace.number, number, epoch, epoch < run_.epochs[-1],
                 int(np.nansum(trace.changed[i])), inputs.split.ids[trace.rows[i, -1]]]
            )  # fmt: skip
    return Table(
        ["layer", "map", "settled from epoch", "settled before the end", "image changes",
         "strongest image at the end"],
        rows,
        "Every measured map; those without an epoch are dead at the last one.",
    )  # fmt: skip


def _arrays(run_: Run, px: int) -> dict[str, Any]:
    arrays: dict[str, Any] = {"epochs": np.array(run_.epochs, np.int32)}
    for trace in run_.traces:
        name = f"layer{trace.number}"
        arrays[f"{name}_maps"] = trace.maps.astype(np.int32)
        arrays[f"{name}_values"] = trace.values
        arrays[f"{name}_images"] = trace.rows.astype(np.int32)
        arrays[f"{name}_places"] = trace.places.astype(np.int16)
        arrays[f"{name}_fixed"] = trace.fixed.astype(np.float32)
        arrays[f"{name}_own"] = trace.own.astype(np.float32)
        everyone = np.arange(len(trace.maps))
        arrays[f"{name}_boxes"] = (
            trace.reach.boxes(torch.from_numpy(trace.places)).numpy().astype(np.int16)
        )
        corners = [field_corners(trace, everyone, e, px) for e in range(len(run_.epochs))]
        arrays[f"{name}_corners"] = np.stack(corners, 1).astype(np.int16)
        if trace.pictured:
            arrays[f"{name}_pictured"] = np.array(trace.pictured, np.int32)
            arrays[f"{name}_projections"] = _pictures(trace, run_.epochs)
            arrays[f"{name}_scales"] = _scales(trace, run_.epochs)
    return arrays


def _pictures(trace: Trace, epochs: Sequence[int]) -> Iterator[np.ndarray]:
    """The kept pictures (1, E, h, w, 3) uint8, one map after the other."""
    for number in trace.pictured:
        yield np.stack([trace.tiles[number, epoch] for epoch in epochs])[None]


def _scales(trace: Trace, epochs: Sequence[int]) -> np.ndarray:
    """What 255 stands for in each kept picture: (maps, E) float32."""
    found = [[trace.scales[number, epoch] for epoch in epochs] for number in trace.pictured]
    return np.array(found, np.float32)


def _extra(run_: Run, inputs: Inputs, options: Options) -> dict[str, Any]:
    return {
        "card": "evolution",
        "headline": ["layer1_settled", "layer5_settled", "upper_minus_lower"],
        "split": options.split,
        "input_px": inputs.net.input_px,
        "epochs": list(run_.epochs),
        "columns": list(run_.columns),
        "measure": options.measure,
        "threshold": options.threshold,
        "beyond_field_limit": [t.number for t in run_.traces if _beyond(t, inputs.net)],
        "layers": {
            str(trace.number): {
                "module": trace.path,
                "maps": trace.total,
                "field": list(trace.reach.size),
                "shown": list(trace.shown),
            }
            for trace in run_.traces
        },
    }


# --------------------------------------------------------------------------------------- showing
def _sheet(run_: Run, inputs: Inputs, options: Options) -> Figure:
    caption = (
        f"{_chosen(options)} of each layer (rows) after the epochs {_listed(run_.columns)} "
        f"(columns): the strongest activation over {len(inputs.rows)} images of the "
        f"{options.split} split, projected to the pixels by the deconvnet of that epoch and cut to "
        "its receptive field, each on its own symmetric scale (grey = 0, contrast stretched to the "
        f"{CONTRAST:.0%} quantile). A red bar: the strongest image is another one than in the "
        "column before. A green line below, from the first column on that lies at or after the "
        f"epoch of settling: similar to the last epoch ({rules(options)[0].name}). Plain grey: the "
        "map is not active in any image."
    )
    alt = (
        f"Rows of maps of layers {_listed(t.number for t in run_.traces)}; columns are epochs "
        f"{_listed(run_.columns)}; each tile is the projection of the map's strongest activation."
    )
    draw = functools.partial(_draw_sheet, run_, inputs.net.input_px, options)
    return Figure("evolution", caption, alt, draw, format="webp")


def _chosen(options: Options) -> str:
    what = "maps" if options.choose == "random" else "maps that are active at the end"
    return f"A seeded random subset of the {what}"


def _draw_sheet(run_: Run, px: int, options: Options) -> Image:
    rule = rules(options)[0]
    blocks = []
    for trace in run_.traces:
        settled = dict(zip(trace.maps[trace.live].tolist(), rule.index(trace), strict=True))
        tracks = [_track(trace, number, run_, settled.get(number)) for number in trace.shown]
        size = f"{trace.reach.size[0]} px" if max(trace.reach.size) < px else "whole image"
        title = f"Layer {trace.number} ({size})"
        blocks.append(Block(title, tracks, sharp=max(trace.reach.size) <= 15))
    return evolution_sheet(
        [block for block in blocks if block.tracks],
        run_.columns,
        title="Evolution of features",
        subtitle="The strongest activation of single maps, projected, after the epochs above",
    )


def _track(trace: Trace, number: int, run_: Run, settled: int | None) -> Track:
    member = int(np.flatnonzero(trace.maps == number)[0])
    where = [run_.epochs.index(epoch) for epoch in run_.columns]
    live = trace.values[member, where] > 0
    rows = trace.rows[member, where]
    jumps = [False, *(live[1:] & live[:-1] & (rows[1:] != rows[:-1])).tolist()]
    late = settled is None or settled == len(run_.epochs) - 1
    return Track(
        str(number),
        [trace.tiles[number, epoch] for epoch in run_.columns],
        jumps,
        [not late and e >= settled for e in where],  # type: ignore[operator]
    )


def _curves(run_: Run, inputs: Inputs, options: Options) -> Figure:
    rule = rules(options)[0]
    wide = [t.number for t in run_.traces if _beyond(t, inputs.net)]
    more = (
        f" The fields of layers {_listed(wide)} pass {FIELD_LIMIT:g} of the image side."
        if wide
        else ""
    )
    caption = (
        "Mean over the live maps of each layer, over the measured epochs. Top left: similarity "
        "(cosine) of the projection of the last epoch's strongest image through the net of each "
        "epoch; bottom left: of each epoch's own strongest image, small shifts forgiven. Top "
        f"right: share of maps that from here on stay similar to the last epoch ({rule.name}). "
        f"Bottom right: share whose strongest image is another than at the epoch before.{more}"
    )
    alt = (
        "Four panels of curves over the epochs, one curve a layer: similarity to the last epoch by "
        "two measures, share of maps settled, share of maps whose strongest image changed."
    )
    return Figure("settling", caption, alt, functools.partial(_draw_curves, run_, options))


def _draw_curves(run_: Run, options: Options) -> Any:
    rule = rules(options)[0]
    curves = {f"layer {t.number}": _layer_curves(t, run_, rule) for t in run_.traces}

    def panel(which: int, title: str, axis: str, scale: float = 1.0) -> CurvePanel:
        values = {name: found[which] * scale for name, found in curves.items()}
        line = options.threshold if scale == 1 and which == 2 * (rule.measure == "own") else None
        low = min(0.0, min((np.nanmin(v) for v in values.values() if not np.isnan(v).all()),
                           default=0.0))  # fmt: skip
        return CurvePanel(title, axis, values, (low, scale * 1.02), line, "threshold")

    panels = [
        panel(0, "Similarity, last epoch's image", "cosine to the last epoch"),
        panel(1, "Settled", "% of live maps", 100),
        panel(2, "Similarity, each epoch's own image", "cosine to the last epoch"),
        panel(3, "Strongest image changed", "% of live maps", 100),
    ]
    return curve_panels(panels, run_.epochs, "When features settle")


# ------------------------------------------------------------------------------------------ text
def _text(
    run_: Run, inputs: Inputs, options: Options, metrics: dict[str, Estimate], others: Table
) -> str:
    found = f"{_found(run_, options, metrics)}{_robust(others)}"
    return "\n\n".join([_what(run_, inputs, options), found, _limits(run_, inputs)])


def _robust(others: Table) -> str:
    """What the table of sensitivity says of the difference, in a sentence."""
    rows = [row for row in others.rows[1:] if row[4] is not None and row[5] is not None]
    if not rows:
        return ""
    values = [float(row[3]) for row in rows]  # type: ignore[arg-type]
    sides = {(float(row[4]) > 0) - (float(row[5]) < 0) for row in rows}  # type: ignore[arg-type]
    same = {1: "all above 0", -1: "all below 0", 0: "all holding 0"}
    told = same[sides.pop()] if len(sides) == 1 else "not all on one side of 0"
    return (
        f" Under {len(rows)} other choices of image and threshold the difference lies between "
        f"{min(values):+.2f} and {max(values):+.2f} epochs, the intervals {told}."
    )


def _what(run_: Run, inputs: Inputs, options: Options) -> str:
    images = (
        f"all {len(inputs.rows)} images"
        if len(inputs.rows) == len(inputs.split)
        else f"a seeded sample of {len(inputs.rows)} of {len(inputs.split)} images"
    )
    watched = {
        "fixed": "the image and place that are strongest at the last epoch, projected through the "
        "net of each epoch, so that nothing but the feature can differ",
        "own": "each epoch's own strongest image, laid over the last epoch's by their fields",
    }[options.measure]
    return (
        f"After {len(run_.epochs)} of {run_.length} epochs the strongest activation of every "
        f"measured map over {images} of the {options.split} split (centre view; tap: "
        f"{options.tap}) was found anew and projected by the deconvnet with that epoch's weights. "
        f"The figure shows the paper's epochs scaled to this run. A map counts as settled from the "
        f"epoch after which the cosine of its projection with that of the last epoch stays at "
        f"{options.threshold:g} or above; compared is {watched}. The paper judges by eye and "
        "states no measure."
    )


def _found(run_: Run, options: Options, metrics: dict[str, Estimate]) -> str:
    def each(name: str, form: str, scale: float = 1.0) -> str:
        found = [metrics[f"layer{trace.number}_{name}"].value * scale for trace in run_.traces]
        return _listed("unknown" if math.isnan(value) else format(value, form) for value in found)

    layers = _listed(trace.number for trace in run_.traces)
    between = metrics["upper_minus_lower"]
    lower, upper = _listed(options.lower), _listed(options.upper)
    told = (
        f"In layers {layers} half of the live maps had settled by epoch {each('settled', 'g')}; "
        f"{each('unsettled', '.0f', 100)} % had not before the last epoch. From one measured epoch "
        f"to the next another image became the strongest for {each('image_changes', '.0f', 100)} % "
        "of them. "
    )
    if between.low is None or between.high is None:
        return told + f"Layers {lower} and {upper} cannot be compared: one side has no live maps."
    if between.low > 0:
        verdict = "later than the lower ones, as the paper says"
    elif between.high < 0:
        verdict = "earlier than the lower ones, against the paper"
    else:
        verdict = "neither earlier nor later than the lower ones as far as these maps can tell"
    share = metrics["upper_minus_lower_share"]
    low, high = (epochs / options.paper_length for epochs in PAPER_UPPER)
    return told + (
        f"Layers {upper} settled {verdict}: {between.value:+.2f} epochs against layers {lower} "
        f"(95 % interval {between.low:+.2f} to {between.high:+.2f}), {share.value:+.0%} of the "
        f"run. The paper gives a few epochs for the lower layers and {PAPER_UPPER[0]} to "
        f"{PAPER_UPPER[1]} of {options.paper_length}, {low:.0%} to {high:.0%} of its run, for the "
        "upper ones."
    )


def _limits(run_: Run, inputs: Inputs) -> str:
    said = [
        "The epoch named is the first measured one at which it held. Settling is judged against "
        "the last snapshot: maps that reach the threshold only there are right-censored and "
        "counted at the last epoch, so means and differences that hold many of them are lower "
        "bounds; those settled at the first snapshot may have settled earlier. A net also stops "
        "changing because its learning rate is lowered.",
        "Two maps' projections from one place resemble each other (floor "
        + _listed(
            f"{np.nanmean(t.floor):.2f}" if (~np.isnan(t.floor)).any() else "unknown"
            for t in run_.traces
        )
        + "), because the pools' switches are the image's: where the floor nears the threshold, "
        "settling is told too early, and the table of sensitivity counts from the floor as well.",
        "Intervals are over the maps of this one net, not over trainings.",
    ]
    wide = [t.number for t in run_.traces if _beyond(t, inputs.net)]
    if wide:
        said.append(
            f"The receptive fields of layers {_listed(wide)} pass {FIELD_LIMIT:g} of the "
            f"{inputs.net.input_px} px input: their numbers are given but the image's border takes "
            "part in them."
        )
    return " ".join(said)


def _without(inputs: Inputs, snapshots: Snapshots, options: Options, seed: int) -> Result:
    """What can be said where there are no epochs to compare."""
    if "adopted" in inputs.net.provenance:
        why = "its weights were adopted, so there are no snapshots of its training"
    elif not snapshots.epochs:
        why = "no snapshots of its training were kept"
    else:
        why = "its training has one snapshot alone, and nothing to compare it with"
    return Result(
        study="evolution",
        title=TITLE,
        paper="Fig. 4",
        text=(
            f"Nothing was measured: of {inputs.net.name} ({inputs.net.arch}) {why}. How features "
            "evolve can be told only of a net that this pipeline trains for two epochs or more."
        ),
        net=inputs.net.name,
        tap=options.tap,
        seed=seed,
        extra={"epochs": list(snapshots.epochs), "measured": False},
    )


def _listed(items: Any) -> str:
    return ", ".join(str(item) for item in items)
