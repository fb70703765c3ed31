"""How features form: each map's strongest activation, projected epoch by epoch (Fig. 4).

Every map gets an epoch from which its projection stays similar to that of the last epoch. Two
measures are taken:

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

from zfnet.results import Measurement, Table
from zfnet.stats.bootstrap import bootstrap, bootstrap_mean
from zfnet.stats.estimate import MAPS, Estimate
from zfnet.stats.intervals import rate
from zfnet.studies.base import FIELD_LIMIT, Inputs, with_ends
from zfnet.studies.convergence import Trace, convergence_index, follow, read_snapshots

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Evolution

SPLIT = "train"  # as in the paper
PAPER_EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)  # the columns of the paper's figure …
PAPER_LENGTH = 70  # … of so many epochs
MEASURE = "fixed"  # judged; "own", each epoch's own strongest image, stands beside it
THRESHOLD = 0.7  # cosine from which a projection is similar; its square is the energy in common
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
        "adopted": inputs.adopted,
        "measured": len(snapshots) > 1,
        "epochs": list(snapshots),
    }
    if not facts["measured"]:
        return Measurement(inputs.net.name, cfg.tap, cfg.seed, facts=facts)
    columns = scaled_epochs(list(snapshots))
    epochs = measured_epochs(list(snapshots), columns)
    traces = follow(inputs, {epoch: snapshots[epoch] for epoch in epochs}, cfg)
    rules = rules_of(cfg)
    estimates = _estimates(traces, rules[0], len(inputs.rows), cfg.seed)
    tables = {
        "layers": _layer_table(traces, estimates),
        "sensitivity": _sensitivity_table(traces, rules, cfg.seed),
        "steps": _step_table(traces, rules[0]),
        "maps": _map_table(traces, rules[0]),
    }
    facts |= {
        "epochs": list(epochs),
        "columns": list(columns),
        "measure": MEASURE,
        "threshold": THRESHOLD,
        "lower": LOWER,
        "upper": UPPER,
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


def measured_epochs(kept: Sequence[int], columns: Sequence[int]) -> tuple[int, ...]:
    """Which snapshots are measured: all, or about MAX_EPOCHS evenly spaced ones and the columns."""
    if len(kept) <= MAX_EPOCHS:
        return tuple(kept)
    spaced = np.linspace(0, len(kept) - 1, MAX_EPOCHS).round().astype(int)
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
        *(ConvergenceRule(MEASURE, threshold) for threshold in (THRESHOLD, *THRESHOLDS)),
        ConvergenceRule(MEASURE, THRESHOLD, above_floor=True),
        ConvergenceRule("own", THRESHOLD),
    ]


def difference(lower: Sequence[np.ndarray], upper: Sequence[np.ndarray], seed: int) -> Estimate:
    """Mean over `upper` layers minus mean over `lower` ones, each layer's epochs (n,) averaged.

    Every layer weighs the same, however many maps it has. 95 % percentile bootstrap over the maps
    of each layer. Not a number where one side has no maps.
    """
    lower, upper = ([layer for layer in side if len(layer)] for side in (lower, upper))
    n = sum(len(layer) for layer in (*lower, *upper))
    if not lower or not upper:
        note = "one side has no live maps"
        return Estimate(float("nan"), n=n, unit="epochs", note=note, covers=(MAPS,))
    weights = [*[1 / len(upper)] * len(upper), *[-1 / len(lower)] * len(lower)]
    return bootstrap(
        [*upper, *lower], (seed, n, 10), weights=weights, unit="epochs", covers=(MAPS,),
        note="layers weigh the same; maps that never become similar count at the last epoch",
    )  # fmt: skip


def _sides(
    traces: Sequence[Trace], rule: ConvergenceRule
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The epochs of the maps of the lower and of the upper layers, an array a layer."""
    epochs = {trace.number: rule.epochs(trace) for trace in traces}
    lower, upper = ([epochs[n] for n in layers if n in epochs] for layers in (LOWER, UPPER))
    return lower, upper


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
    between = difference(*_sides(traces, rule), seed)
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
            own |= with_ends(name, estimates[f"layer{trace.number}_{name}"])
        records.append(own | {"dead_maps": int((~trace.live).sum())})
    return Table.of(records)


def _sensitivity_table(
    traces: Sequence[Trace], rules: Sequence[ConvergenceRule], seed: int
) -> Table:
    """The comparison of lower and upper layers by every rule, the chosen one first."""
    records = []
    for rule in rules:
        lower, upper = _sides(traces, rule)
        record = rule._asdict() | {"lower": _mean_of(lower), "upper": _mean_of(upper)}
        records.append(record | with_ends("difference", difference(lower, upper, seed)))
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


def _map_table(traces: Sequence[Trace], rule: ConvergenceRule) -> Table:
    """Every measured map; those without an epoch are dead at the last one."""
    rows: list[list[Any]] = []
    for trace in traces:
        settled = np.full(len(trace.maps), np.nan)
        settled[trace.live] = rule.epochs(trace)
        for number, epoch in zip(trace.maps.tolist(), settled.tolist(), strict=True):
            known = [None, None] if np.isnan(epoch) else [int(epoch), epoch < trace.epochs[-1]]
            rows.append([trace.number, number, *known])
    return Table(["layer", "map", "settled", "before_end"], rows)


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
