"""How features form: each map's strongest activation, projected epoch by epoch (Fig. 4).

The paper shows pictures and judges by eye when they stop changing. Here every map gets an epoch
from which its projection stays similar to that of the last epoch. What is similar, and what to
compare when another image becomes the strongest, the paper leaves open. Two measures are taken:

- "fixed": the image and place that are strongest at the last epoch, projected through the net of
  every epoch. Whatever differs is the feature, not the image; a map that is silent there at some
  epoch has an empty projection, which is similar to nothing.
- "own": at each epoch its own strongest image, as in the paper's figure. Projections are laid over
  each other by their receptive fields; small shifts are allowed (`convergence.SHIFT`).

Similarity is the cosine over the pixels of the receptive field, so contrast plays no part. Two maps
of one layer have similar projections too when both start from one place of one image, because the
pools' switches are the image's: that `floor` is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from zfnet.results import Measurement, Table
from zfnet.stats.bootstrap import bootstrap, bootstrap_mean
from zfnet.stats.estimate import MAPS, Estimate
from zfnet.stats.intervals import rate
from zfnet.studies.base import FIELD_LIMIT, Inputs
from zfnet.studies.convergence import Trace, convergence_index, follow, read_snapshots

if TYPE_CHECKING:
    from zfnet.pipeline.stages import Paths
    from zfnet.pipeline.studies import Evolution

SPLIT = "train"  # as in the paper
PAPER_EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)  # the columns of the paper's figure …
PAPER_LENGTH = 70  # … of so many epochs
MAX_EPOCHS = 24  # about so many snapshots are measured: a pass over the images each
LOWER, UPPER = (1, 2), (4, 5)  # the layers that are compared
THRESHOLDS = (0.5, 0.9)  # others than the chosen one, in the table of sensitivity


def run(cfg: Evolution, paths: Paths) -> Measurement:
    """Fig. 4 for the net under study; its snapshots lie in the folder epochs beside its own."""
    inputs = Inputs.of_stage(cfg, paths, SPLIT, max_images=cfg.max_images or None)
    return measure(inputs, read_snapshots(paths.net.parent / "epochs"), cfg)


def measure(inputs: Inputs, snapshots: Mapping[int, Path], cfg: Evolution) -> Measurement:
    """The same for one net and its snapshots, {epoch: file}. The net is afterwards as before.

    With fewer than two snapshots (an adopted net has none) there are no numbers; facts say why.
    """
    facts: dict[str, Any] = {
        "arch": inputs.net.arch,
        "split": SPLIT,
        "split_images": len(inputs.split),
        "input_px": inputs.net.input_px,
        "adopted": "adopted" in inputs.net.provenance,
        "measured": len(snapshots) > 1,
        "epochs": list(snapshots),
    }
    if not facts["measured"]:
        return Measurement(inputs.net.name, cfg.tap, cfg.seed, facts=facts)
    columns = scaled_epochs(list(snapshots), PAPER_EPOCHS, PAPER_LENGTH)
    epochs = measured_epochs(list(snapshots), columns, MAX_EPOCHS)
    traces = follow(inputs, {epoch: snapshots[epoch] for epoch in epochs}, cfg)
    rules = rules_of(cfg)
    estimates = _estimates(traces, rules[0], len(inputs.rows), cfg.seed)
    tables = {
        "layers": _layer_table(traces, estimates),
        "sensitivity": _sensitivity_table(traces, rules, cfg.seed),
        "steps": _step_table(traces, rules[0]),
        "maps": _map_table(traces, rules[0], inputs.split.ids),
    }
    facts |= {
        "epochs": list(epochs),
        "columns": list(columns),
        "measure": cfg.measure,
        "threshold": cfg.threshold,
        "lower": LOWER,
        "upper": UPPER,
        "field_limit": FIELD_LIMIT,
        "beyond_field_limit": [trace.number for trace in traces if _beyond_limit(trace)],
        "layers": {
            trace.number: {"module": trace.path, "maps": trace.total}
            | {"field": trace.reach.size, "shown": trace.shown}
            for trace in traces
        },
    }
    arrays = _arrays(traces)
    return Measurement(inputs.net.name, cfg.tap, cfg.seed, estimates, tables, arrays, facts)


def scaled_epochs(kept: Sequence[int], wanted: Sequence[int], length: int) -> tuple[int, ...]:
    """The figure's columns: `wanted` epochs of a run of `length`, scaled to this run's length.

    An epoch is rounded up: the first by whose end that share of the run had passed. The nearest
    snapshot kept is taken; each once, ascending, the last always.
    """
    last = max(kept)
    scaled = [min(last, max(1, -(-epoch * last // length))) for epoch in wanted]
    nearest = {min(kept, key=lambda have: (abs(have - epoch), have)) for epoch in scaled}
    return tuple(sorted(nearest | {last}))


def measured_epochs(kept: Sequence[int], columns: Sequence[int], most: int) -> tuple[int, ...]:
    """Which snapshots are measured: all, or about `most` evenly spaced ones and the columns."""
    if len(kept) <= most:
        return tuple(kept)
    spaced = np.linspace(0, len(kept) - 1, most).round().astype(int)
    return tuple(sorted({kept[i] for i in spaced} | set(columns)))


# --------------------------------------------------------------------------------------- estimates
class ConvergenceRule(NamedTuple):
    """One way to decide from which epoch on a map stays similar to its last projection.

    `above_floor`: the threshold is counted from the layer's floor, not from 0.
    """

    measure: str
    threshold: float
    above_floor: bool = False

    def epochs(self, trace: Trace) -> np.ndarray:
        """That epoch (live maps,) float; the last one also for maps that never are similar."""
        threshold = self.threshold
        if self.above_floor and trace.live.sum() > 1:
            floor = float(np.nanmean(trace.floor))
            threshold = floor + (1 - floor) * threshold
        similarity = trace.fixed if self.measure == "fixed" else trace.own
        index = convergence_index(similarity[trace.live], threshold)
        return np.asarray(trace.epochs, np.float64)[index]


def rules_of(cfg: Evolution) -> list[ConvergenceRule]:
    """The rule that the estimates rest on, then the alternatives of the table of sensitivity."""
    return [
        *(ConvergenceRule(cfg.measure, threshold) for threshold in (cfg.threshold, *THRESHOLDS)),
        ConvergenceRule(cfg.measure, cfg.threshold, above_floor=True),
        ConvergenceRule("own" if cfg.measure == "fixed" else "fixed", cfg.threshold),
    ]


def difference(
    lower: Sequence[np.ndarray], upper: Sequence[np.ndarray], seed: int, note: str = ""
) -> Estimate:
    """Mean over `upper` layers minus mean over `lower` ones, each layer's epochs (n,) averaged.

    Every layer weighs the same, however many maps it has. 95 % percentile bootstrap over the maps
    of each layer. Not a number where one side has no maps.
    """
    lower, upper = ([layer for layer in side if len(layer)] for side in (lower, upper))
    n = sum(len(layer) for layer in (*lower, *upper))
    if not lower or not upper:
        nothing = Estimate(float("nan"), n=n, unit="epochs", note=note, covers=(MAPS,))
        return nothing.noting("one side has no live maps")
    weights = [*[1 / len(upper)] * len(upper), *[-1 / len(lower)] * len(lower)]
    return bootstrap(
        [*upper, *lower], (seed, n, 10), weights=weights, unit="epochs", note=note, covers=(MAPS,)
    )


def _epochs_of(
    traces: Sequence[Trace], layers: Sequence[int], rule: ConvergenceRule
) -> list[np.ndarray]:
    """Each map's epoch in those of `layers` that were followed, an array a layer."""
    return [rule.epochs(trace) for trace in traces if trace.number in layers]


def _estimates(
    traces: Sequence[Trace], rule: ConvergenceRule, images: int, seed: int
) -> dict[str, Estimate]:
    epochs = traces[0].epochs
    estimates = {
        "images": Estimate(images, unit="images", note="a count"),
        "run_epochs": Estimate(epochs[-1], unit="epochs", note="a count"),
        "measured_epochs": Estimate(len(epochs), unit="epochs", note="a count"),
    }
    for trace in traces:
        for name, estimate in _layer_estimates(trace, rule, seed).items():
            estimates[f"layer{trace.number}_{name}"] = estimate
    note = "layers weigh the same; maps that never become similar count at the last epoch"
    lower, upper = (_epochs_of(traces, layers, rule) for layers in (LOWER, UPPER))
    between = difference(lower, upper, seed, note)
    share = _share(between, epochs[-1])
    return estimates | {"upper_minus_lower": between, "upper_minus_lower_share": share}


def _layer_estimates(trace: Trace, rule: ConvergenceRule, seed: int) -> dict[str, Estimate]:
    epochs = rule.epochs(trace)
    n, late = len(epochs), int((epochs == trace.epochs[-1]).sum())
    notes = ["median over live maps"]
    if n and 2 * late >= n:
        notes.append("a lower bound: half of the maps or more are similar at the last epoch alone")
    if n and 2 * (epochs == trace.epochs[0]).sum() >= n:
        notes.append("an upper bound: half of the maps or more are similar from the first snapshot")
    if _beyond_limit(trace):
        notes.append(f"the field is larger than {FIELD_LIMIT:g} of the image's side")
    median = bootstrap(
        [epochs], (seed, n, 9), statistic=lambda drawn: np.median(drawn, axis=-1),
        unit="epoch", note="; ".join(notes), covers=(MAPS,),
    )  # fmt: skip
    changed = trace.changed[trace.live]
    changed = changed[~np.isnan(changed).all(1)]
    return {
        "settled": median,
        "settled_share": _share(median, trace.epochs[-1]),
        "unsettled": rate(
            late, n, unit="of live maps", note="not similar before the last epoch", covers=(MAPS,)
        ),
        "image_changes": bootstrap_mean(
            np.nanmean(changed, 1) if len(changed) else np.zeros(0), seed, "of steps",
            "between measured epochs, mean over live maps", covers=(MAPS,),
        ),
        "floor": bootstrap_mean(
            trace.floor[~np.isnan(trace.floor)], seed,
            note="two maps' projections from one place, last epoch", covers=(MAPS,),
        ),
        "dead_maps": Estimate(
            int((~trace.live).sum()), n=len(trace.maps), unit="maps", covers=(MAPS,),
            note="a count of those without an activation at the last epoch",
        ),
    }  # fmt: skip


def _share(epochs: Estimate, length: int) -> Estimate:
    """The same number as a share of the run's length."""
    low, high = (None if end is None else end / length for end in (epochs.low, epochs.high))
    return replace(epochs, value=epochs.value / length, low=low, high=high, unit="of the run")


def _beyond_limit(trace: Trace) -> bool:
    """Whether the field is so large that the image's border takes part in every projection."""
    return max(trace.reach.size) > FIELD_LIMIT * max(trace.reach.image)


# -------------------------------------------------------------------------- tables, arrays, facts
def _layer_table(traces: Sequence[Trace], estimates: Mapping[str, Estimate]) -> Table:
    records = []
    for trace in traces:
        own: dict[str, Any] = {"layer": trace.number, "module": trace.path, "maps": trace.total}
        own |= {"measured": len(trace.maps), "field_px": trace.reach.size[0]}
        for name in ("settled", "settled_share", "unsettled", "image_changes", "floor"):
            one = estimates[f"layer{trace.number}_{name}"]
            own |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
        records.append(own | {"dead_maps": int((~trace.live).sum())})
    return Table.of(records)


def _sensitivity_table(
    traces: Sequence[Trace], rules: Sequence[ConvergenceRule], seed: int
) -> Table:
    """The comparison of lower and upper layers by every rule, the chosen one first."""
    records = []
    for rule in rules:
        lower, upper = (_epochs_of(traces, layers, rule) for layers in (LOWER, UPPER))
        between = difference(lower, upper, seed)
        late = [(layer == traces[0].epochs[-1]).mean() for layer in upper if len(layer)]
        records.append(
            rule._asdict()
            | {"lower": _mean_of(lower), "upper": _mean_of(upper), "difference": between.value}
            | {"difference_low": between.low, "difference_high": between.high}
            | {"upper_unsettled": float(np.mean(late)) if late else None}
        )
    return Table.of(records)


def _mean_of(groups: Sequence[np.ndarray]) -> float | None:
    """Mean of the groups' means; None without members."""
    means = [group.mean() for group in groups if len(group)]
    return float(np.mean(means)) if means else None


def _step_table(traces: Sequence[Trace], rule: ConvergenceRule) -> Table:
    """Means over each layer's live maps at every measured epoch."""
    rows = []
    for trace in traces:
        live, settled = trace.live, rule.epochs(trace)
        for e, epoch in enumerate(trace.epochs):
            changed = trace.changed[live, e - 1] if e else np.zeros(0)
            means = (
                trace.fixed[live, e], settled <= epoch, trace.own[live, e],
                changed[~np.isnan(changed)],
            )  # fmt: skip
            rows.append([trace.number, epoch, *(_mean_of([each]) for each in means)])
    return Table(["layer", "epoch", "fixed", "settled", "own", "changed"], rows)


def _map_table(traces: Sequence[Trace], rule: ConvergenceRule, ids: Sequence[str]) -> Table:
    """Every measured map; those without an epoch are dead at the last one."""
    rows: list[list[Any]] = []
    for trace in traces:
        settled = dict(zip(np.flatnonzero(trace.live), rule.epochs(trace), strict=True))
        for i, number in enumerate(trace.maps.tolist()):
            own: list[Any] = [None] * 4
            if i in settled:
                changes, image = int(np.nansum(trace.changed[i])), ids[trace.rows[i, -1]]
                own = [int(settled[i]), bool(settled[i] < trace.epochs[-1]), changes, image]
            rows.append([trace.number, number, *own])
    return Table(["layer", "map", "settled", "before_end", "image_changes", "image"], rows)


def _arrays(traces: Sequence[Trace]) -> dict[str, np.ndarray]:
    arrays = {"epochs": np.array(traces[0].epochs, np.int32)}
    for trace in traces:
        boxes = trace.reach.boxes(torch.from_numpy(trace.places)).numpy()
        own: dict[str, np.ndarray] = {
            "maps": trace.maps.astype(np.int32),
            "values": trace.values,
            "images": trace.rows.astype(np.int32),
            "places": trace.places.astype(np.int16),
            "fixed": trace.fixed.astype(np.float32),
            "own": trace.own.astype(np.float32),
            "boxes": boxes.astype(np.int16),
            "corners": trace.corners(trace.places).astype(np.int16),
            "pictured": trace.pictured.astype(np.int32),
            "projections": trace.pictures,
            "scales": trace.scales,
        }
        arrays |= {f"layer{trace.number}_{name}": array for name, array in own.items()}
    return arrays
