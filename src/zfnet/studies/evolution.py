"""How features form: each map's strongest activation, projected epoch by epoch (Fig. 4).

A map has settled from the epoch on after which its projection stays similar to that of the last
epoch. The image and place that are strongest at the last epoch are projected through the net of
every epoch: whatever differs is the feature, not the image. A map that is silent there at some
epoch has an empty projection, which is similar to nothing. The figure shows each epoch's own
strongest image, as the paper's does; its similarity is measured beside the other, laid over the
last by their receptive fields with small shifts allowed (`convergence.SHIFT`).

Similarity is the cosine over the pixels of the receptive field, so contrast plays no part. It must
be seen against that before training, which is measured with the weights that training began with:

- A map whose projection was similar to its last one already then has not left its start. Training
  is not what made it so, and it has no settling epoch. Its weights may have hardly moved, or the
  image's switches and the layers below, which both projections share, may be all that they have in
  common: the cosine alone is asked, as either leaves nothing to settle.
- Another map's similarity is counted from that at its start: it must have come THRESHOLD of the
  way from there to 1. One minus the cosine is half the squared distance of the projections at unit
  length, so a map of any start has to cover the same share of its own way. Counted from 0, a layer
  that begins half way seems to settle early.

Two maps of one layer have similar projections too when both start from one place of one image,
because the pools' switches are the image's: that `floor` is measured, and the table of sensitivity
counts from it as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from zfnet.models.checkpoint import first_model
from zfnet.results import Measurement, Table
from zfnet.stats.bootstrap import bootstrap, bootstrap_mean
from zfnet.stats.estimate import MAPS, Estimate, in_words
from zfnet.stats.intervals import rate
from zfnet.studies.base import FIELD_LIMIT, Inputs, with_ends
from zfnet.studies.convergence import (
    THRESHOLD,
    Trace,
    convergence_index,
    follow,
    measured_epochs,
    read_snapshots,
)

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Evolution

SPLIT = "train"  # as in the paper
PAPER_EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)  # the columns of the paper's figure …
PAPER_LENGTH = 70  # … of so many epochs
LOWER, UPPER = (1, 2), (4, 5)  # the layers that are compared …
LEFT_LEAST = 0.5  # … where so many maps left their start: of fewer the typical map has no epoch
THRESHOLDS = (0.5, 0.9)  # others than the chosen one, in the table of sensitivity


def run(cfg: Evolution, paths: Paths) -> Measurement:
    """Fig. 4 for the training under study."""
    inputs = Inputs.of_stage(cfg, paths, SPLIT, max_images=cfg.max_images or None)
    snapshots = read_snapshots(paths.epochs_of_net)
    first: Mapping[str, Tensor] = {}
    if len(snapshots) > 1:
        first = first_model(inputs.net, cfg.seed).state_dict()
    return measure(inputs, first, snapshots, cfg)


def measure(
    inputs: Inputs, first: Mapping[str, Tensor], snapshots: Mapping[int, Path], cfg: Evolution
) -> Measurement:
    """The same for one net, the weights it began with, and its snapshots, {epoch: file}.

    The net is afterwards as before. With fewer than two snapshots (an adopted net has none) there
    are no numbers; facts say why.
    """
    facts: dict[str, Any] = {
        "arch": inputs.net.arch,
        "split": SPLIT,
        "split_images": len(inputs.split),
        "input_px": inputs.net.input_px,
        **inputs.origin,
        "measured": len(snapshots) > 1,
        "epochs": list(snapshots),
    }
    if not facts["measured"]:
        return Measurement(inputs.net.name, cfg.tap, cfg.seed, facts=facts)
    columns = scaled_epochs(list(snapshots))
    epochs = measured_epochs(list(snapshots), columns)
    traces = follow(inputs, first, {epoch: snapshots[epoch] for epoch in epochs}, cfg)
    estimates = _estimates(traces, len(inputs.rows), cfg.seed)
    tables = {
        "layers": _layer_table(traces, estimates),
        "sensitivity": _sensitivity_table(traces, cfg.seed),
        "steps": _step_table(traces),
        "maps": _map_table(traces),
    }
    facts |= {
        "epochs": list(epochs),
        "columns": list(columns),
        "threshold": THRESHOLD,
        "lower": LOWER,
        "upper": UPPER,
        "left_least": LEFT_LEAST,
        "left_out": left_out(traces),
        "field_limit": FIELD_LIMIT,
        "beyond_field_limit": [trace.number for trace in traces if _beyond_limit(trace)],
        "layers": {
            trace.number: {"field": trace.reach.size, "shown": trace.shown} for trace in traces
        },
    }
    arrays = {name: array for trace in traces for name, array in _arrays(trace).items()}
    return Measurement(inputs.net.name, cfg.tap, cfg.seed, estimates, tables, arrays, facts)


def scaled_epochs(kept: Sequence[int]) -> tuple[int, ...]:
    """The figure's columns: the paper's epochs, scaled to the length of this run.

    An epoch is rounded up: the first by whose end that share of the run had passed. The nearest
    snapshot kept is taken; each once, ascending, the last always.
    """
    last = max(kept)
    scaled = [min(last, max(1, -(-epoch * last // PAPER_LENGTH))) for epoch in PAPER_EPOCHS]
    nearest = {min(kept, key=lambda have: (abs(have - epoch), have)) for epoch in scaled}
    return tuple(sorted(nearest | {last}))


# --------------------------------------------------------------------------------------- estimates
class ConvergenceRule(NamedTuple):
    """One way to decide from which epoch on a map stays similar to its last projection.

    `threshold`: share of the way from `counted_from` to 1: "start", each map's own similarity
    before training, "floor", the layer's, or "zero".
    """

    threshold: float = THRESHOLD
    counted_from: str = "start"

    def epochs(self, trace: Trace) -> np.ndarray:
        """That epoch of each map that left its start, float; the last also if it never is similar.

        A start or floor below 0 counts as 0.
        """
        base = np.zeros(int(trace.left.sum()))
        if self.counted_from == "start":
            base = trace.start[trace.left]
        elif self.counted_from == "floor" and trace.live.sum() > 1:
            base = np.full(len(base), np.nanmean(trace.floor))
        base = np.maximum(base, 0)
        index = convergence_index(trace.fixed[trace.left], base + (1 - base) * self.threshold)
        return np.asarray(trace.epochs, np.float64)[index]


CHOSEN = ConvergenceRule()
RULES = (  # of the table of sensitivity
    CHOSEN,
    *(ConvergenceRule(threshold) for threshold in THRESHOLDS),
    *(ConvergenceRule(counted_from=base) for base in ("zero", "floor")),
)


def left_out(traces: Sequence[Trace]) -> list[int]:
    """The layers of which too few live maps left their start to be compared."""
    few = (t.number for t in traces if t.left.sum() < max(1, LEFT_LEAST * t.live.sum()))
    return [number for number in few if number in LOWER + UPPER]


def difference(lower: Sequence[np.ndarray], upper: Sequence[np.ndarray], seed: int) -> Estimate:
    """Mean over `upper` layers minus mean over `lower` ones, each layer's epochs (n,) averaged.

    Every layer weighs the same, however many maps it has. 95 % percentile bootstrap over the maps
    of each layer. Not a number where one side has no layer with maps.
    """
    lower, upper = ([layer for layer in side if len(layer)] for side in (lower, upper))
    n = sum(len(layer) for layer in (*lower, *upper))
    if not lower or not upper:
        note = "one side has no layer left to compare"
        return Estimate(float("nan"), n=n, unit="epochs", note=note, covers=(MAPS,))
    weights = [*[1 / len(upper)] * len(upper), *[-1 / len(lower)] * len(lower)]
    return bootstrap(
        [*upper, *lower], (seed, n, 10), weights=weights, unit="epochs", covers=(MAPS,),
        note="layers weigh the same; maps that never become similar count at the last epoch",
    )  # fmt: skip


def _sides(
    traces: Sequence[Trace], rule: ConvergenceRule
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The epochs of the maps of the lower and of the upper layers, an array a layer compared."""
    out = left_out(traces)
    epochs = {trace.number: rule.epochs(trace) for trace in traces if trace.number not in out}
    lower, upper = ([epochs[n] for n in layers if n in epochs] for layers in (LOWER, UPPER))
    return lower, upper


def _estimates(traces: Sequence[Trace], images: int, seed: int) -> dict[str, Estimate]:
    epochs = traces[0].epochs
    estimates = {
        "images": Estimate(images, unit="images", note="a count"),
        "run_epochs": Estimate(epochs[-1], unit="epochs", note="a count"),
        "measured_epochs": Estimate(len(epochs), unit="epochs", note="a count"),
    }
    for trace in traces:
        for name, estimate in _layer_estimates(trace, seed).items():
            estimates[f"layer{trace.number}_{name}"] = estimate
    between = difference(*_sides(traces, CHOSEN), seed)
    if out := left_out(traces):
        layers = f"layer{'s' * (len(out) > 1)} {in_words([str(number) for number in out])}"
        between = between.noting(f"without {layers}: too few maps left their start")
    share = _share(between, epochs[-1])
    return estimates | {"upper_minus_lower": between, "upper_minus_lower_share": share}


def _layer_estimates(trace: Trace, seed: int) -> dict[str, Estimate]:
    epochs = CHOSEN.epochs(trace)
    n, late = len(epochs), int((epochs == trace.epochs[-1]).sum())
    notes = ["median over maps that left their start"]
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
        "left_start": rate(
            n, int(trace.live.sum()), unit="of live maps", covers=(MAPS,),
            note="projection before training not similar to the last",
        ),
        "start": bootstrap_mean(
            trace.start[trace.live], seed, covers=(MAPS,),
            note="cosine of the projection before training with the last, mean over live maps",
        ),
        "settled": median,
        "settled_share": _share(median, trace.epochs[-1]),
        "unsettled": rate(
            late, n, unit="of maps", covers=(MAPS,),
            note="that left their start and are not similar before the last epoch",
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
        names = "left_start", "start", "settled", "settled_share", "unsettled", "image_changes"
        for name in (*names, "floor"):
            own |= with_ends(name, estimates[f"layer{trace.number}_{name}"])
        records.append(own | {"dead_maps": int((~trace.live).sum())})
    return Table.of(records)


def _sensitivity_table(traces: Sequence[Trace], seed: int) -> Table:
    """The comparison of lower and upper layers by every rule, the chosen one first."""
    records = []
    for rule in RULES:
        lower, upper = _sides(traces, rule)
        record = rule._asdict() | {"lower": _mean_of(lower), "upper": _mean_of(upper)}
        records.append(record | with_ends("difference", difference(lower, upper, seed)))
    return Table.of(records)


def _mean_of(groups: Sequence[np.ndarray]) -> float | None:
    """Mean of the groups' means; None without members."""
    means = [group.mean() for group in groups if len(group)]
    return float(np.mean(means)) if means else None


def _step_table(traces: Sequence[Trace]) -> Table:
    """Means at every measured epoch; epoch 0 is before training.

    settled: over the maps that left their start; the others: over all live ones.
    """
    rows: list[list[Any]] = []
    for trace in traces:
        live, settled = trace.live, CHOSEN.epochs(trace)
        rows.append([trace.number, 0, _mean_of([trace.start[live]]), None, None, None])
        for e, epoch in enumerate(trace.epochs):
            changed = trace.changed[live, e - 1] if e else np.zeros(0)
            means = (
                trace.fixed[live, e], settled <= epoch, trace.own[live, e],
                changed[~np.isnan(changed)],
            )  # fmt: skip
            rows.append([trace.number, epoch, *(_mean_of([each]) for each in means)])
    return Table(["layer", "epoch", "fixed", "settled", "own", "changed"], rows)


def _map_table(traces: Sequence[Trace]) -> Table:
    """Every measured map; without a start: dead at the last epoch; without an epoch: not left."""
    rows: list[list[Any]] = []
    for trace in traces:
        settled = np.full(len(trace.maps), np.nan)
        settled[trace.left] = CHOSEN.epochs(trace)
        columns = trace.maps.tolist(), trace.start.tolist(), settled.tolist()
        for number, start, epoch in zip(*columns, strict=True):
            known = [None, None] if np.isnan(epoch) else [int(epoch), epoch < trace.epochs[-1]]
            rows.append([trace.number, number, None if np.isnan(start) else start, *known])
    return Table(["layer", "map", "start", "settled", "before_end"], rows)


def _arrays(trace: Trace) -> dict[str, np.ndarray]:
    windows = trace.windows(trace.places)
    own: dict[str, np.ndarray] = {
        "maps": trace.maps.astype(np.int32),
        "values": trace.values,
        "images": trace.rows.astype(np.int32),
        "fixed": trace.fixed.astype(np.float32),
        "own": trace.own.astype(np.float32),
        "boxes": windows.boxes.astype(np.int16),
        "corners": windows.corners.astype(np.int16),
        "pictured": trace.pictured.astype(np.int32),
        "projections": trace.pictures,
    }
    return {f"layer{trace.number}_{name}": array for name, array in own.items()}
