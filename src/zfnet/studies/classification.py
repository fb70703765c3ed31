"""How often are the nets wrong? One net, several averaged, the wider one (Table 2).

Reads the predictions that training saved for every validation image: nothing is classified again,
and torch is not needed. The rows are those of Zeiler & Fergus 2014, Table 2, that are theirs: the
replica of Krizhevsky et al.'s net, one net of Fig. 3, (a) several of them that differ in their
seed, (b) one with 512, 1024, 512 maps in layers 3 to 5, and (a) and (b) together. Several nets are
averaged after the softmax. The paper states neither how it averaged nor whether it scored the
centre crop or its ten crops: the tables have both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.errors import UserError
from zfnet.models.trained import (
    ENOUGH_CLASSES,
    TOP,
    VIEWS,
    TrainedNet,
    Training,
    missed,
    read_nets,
)
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate
from zfnet.stats.paired import Difference, cells, difference, mean_top, spread
from zfnet.stats.trainings import over_trainings
from zfnet.studies.error_rates import Errors, by_training, gap_of, marked, rate_of

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Classification

ZFNET, ALEXNET, WIDE = "zfnet", "alexnet", "zfnet_wide"
ENSEMBLE, BOTH = "zfnet_ensemble", "both"
ROWS = (ALEXNET, ZFNET, ENSEMBLE, WIDE, BOTH)
# The key of each difference, and its two rows: the first minus the second.
PAIRS = {
    "zfnet_minus_alexnet": (ZFNET, ALEXNET),
    "ensemble_minus_one": (ENSEMBLE, ZFNET),
    "wide_minus_zfnet": (WIDE, ZFNET),
    "both_minus_ensemble": (BOTH, ENSEMBLE),
}
MOST_CONFUSIONS = 15  # listed; all are in the array
Rows = Mapping[str, Errors]


@dataclass(frozen=True)
class Ensemble:
    """Several trainings averaged: `top`, by view, their best classes (N, K)."""

    trainings: Sequence[Training]
    top: Mapping[str, np.ndarray]

    @staticmethod
    def of(trainings: Sequence[Training]) -> Ensemble:
        """Their mean softmax. Raises UserError if their outputs are not the same classes."""
        first = trainings[0]
        for each in trainings:
            if each.classes != first.classes or not np.array_equal(each.label, first.label):
                raise UserError(
                    f"{each.folder}: its outputs are other classes than those of {first.folder}; "
                    "such nets cannot be averaged"
                )
        top = {v: mean_top((each.probabilities(v) for each in trainings), TOP) for v in VIEWS}
        return Ensemble(trainings, top)

    def wrong(self, view: str, guesses: int = 1) -> np.ndarray:
        """(1, N) bool, as of one net."""
        return missed(self.top[view], self.trainings[0].label, guesses)[None]


def run(cfg: Classification, paths: Paths) -> Measurement:
    """Table 2 from the nets that there are."""
    nets = read_nets((ZFNET, ALEXNET, WIDE), paths.folder_of)
    first = next(iter(nets.values()))
    rows = table_rows(nets)
    confusion = confusions(first.label, first.trainings[0].top(cfg.view)[:, 0])
    names = [first.classes[i] for i in np.unique(first.label[first.label >= 0])]
    guesses = (1, TOP) if len(names) >= ENOUGH_CLASSES else (1,)
    gaps = {view: compare(rows, view, cfg.seed) for view in VIEWS}
    estimates = {
        f"top{count}_{key}": rate_of(row, cfg.view, count)
        for key, row in rows.items()
        for count in guesses
    }
    estimates |= {name: gap.widest for name, gap in gaps[cfg.view].items()}
    if ENSEMBLE in rows and len(nets[ZFNET].trainings) > 2:
        estimates["ensemble_minus_one"] = ensemble_gain(nets[ZFNET], cfg.view, cfg.seed)
    if ZFNET in nets:
        net = nets[ZFNET]
        crops = difference(net.wrong("ten"), net.wrong("centre"), cfg.seed, ZFNET)
        estimates["ten_crops_minus_centre"] = marked(crops.widest, net.trainings, compared=False)
    differences = [
        {"difference": name, "view": view} | gap.record()
        for view in VIEWS
        for name, gap in gaps[view].items()
    ]
    return Measurement(
        net=first.name,
        tap="softmax",
        seed=cfg.seed,
        estimates=estimates,
        tables={
            "table_2": _main_table(rows, guesses),
            "errors": _errors_table(nets, guesses),
            "trainings": by_training(
                {
                    key: (nets[one], nets[other])
                    for key, (one, other) in PAIRS.items()
                    if one in nets and other in nets
                },
                cfg.view,
            ),
            "differences": Table.of(differences, () if differences else ("difference", "view")),
            "confusions": _confusion_table(confusion, names),
        },
        arrays={"confusion": confusion},
        facts={
            "view": cfg.view,
            "images": len(first.label),
            "classes": names,
            "unknown": int((first.label < 0).sum()),
            "nets": {name: net.facts for name, net in nets.items()},
        },
    )


def table_rows(nets: Mapping[str, TrainedNet]) -> Rows:
    """The rows that can be made of these nets, in the paper's order.

    (a) averages all trainings of ZFNet, of which there must be two; the last row adds one of the
    wider net to them, as in the paper.
    """
    rows: dict[str, Errors] = dict(nets)
    if ZFNET in nets and len(nets[ZFNET].trainings) > 1:
        rows[ENSEMBLE] = Ensemble.of(nets[ZFNET].trainings)
        if WIDE in nets:
            rows[BOTH] = Ensemble.of([*nets[ZFNET].trainings, nets[WIDE].trainings[0]])
    return {key: rows[key] for key in ROWS if key in rows}


def compare(rows: Rows, view: str, seed: int) -> dict[str, Difference]:
    """The differences of PAIRS whose two rows are there.

    There is one ensemble of each kind, made of the very nets that it is compared with: its
    differences have no interval over trainings.
    """
    return {
        name: gap_of(rows[one], rows[other], view, seed, f"{one} minus {other}")
        for name, (one, other) in PAIRS.items()
        if one in rows and other in rows
    }


def ensemble_gain(net: TrainedNet, view: str, seed: int) -> Estimate:
    """Error of all trainings averaged minus their mean error, in points, for other trainings.

    There is one ensemble of all. How much it varies with the trainings is told by leaving each one
    out (jackknife, Tukey 1958); the images are the same throughout.
    """

    def gain(trainings: Sequence[Training]) -> float:
        own = replace(net, trainings=trainings).wrong(view)
        return 100 * float(Ensemble.of(trainings).wrong(view).mean() - own.mean())

    count, note = len(net.trainings), "ensemble minus one; trainings by jackknife"
    whole = gap_of(Ensemble.of(net.trainings), net, view, seed, note).images
    without = [gain([t for t in net.trainings if t is not out]) for out in net.trainings]
    pseudo = [count * whole.value - (count - 1) * each for each in without]
    half = whole.half or 0.0
    each = [
        replace(whole, value=value, low=value - half, high=value + half, trainings=1)
        for value in pseudo
    ]
    joined = over_trainings(each, shared=True)
    half = joined.half or 0.0
    ends = whole.value - half, whole.value + half
    return replace(joined, value=whole.value, low=ends[0], high=ends[1], note=whole.note)


def _main_table(rows: Rows, guesses: Sequence[int]) -> Table:
    records = []
    for key, row in rows.items():
        for view in VIEWS:
            record: dict[str, Any] = {"row": key, "view": view, "nets": len(row.trainings)}
            for count in (1, TOP):
                rate = rate_of(row, view, count) if count in guesses else None
                record |= cells(f"top{count}", rate)
            records.append(record | {"top1_sd": spread(row.wrong(view))})
    return Table.of(records)


def _errors_table(nets: Mapping[str, TrainedNet], guesses: Sequence[int]) -> Table:
    records = [
        {"row": key, "seed": training.seed, "view": view, "top": count, "error": error}
        for key, net in nets.items()
        for view in VIEWS
        for count in guesses
        for training, error in zip(net.trainings, 100 * net.wrong(view, count).mean(1), strict=True)
    ]
    return Table.of(records)


def confusions(label: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """(R, K) int32: how often each true class (rows) was predicted as each class (columns).

    label, guess: (N,), labels below 0 are left out. Rows are the classes that images have; so are
    columns, and one more counts all others, where some were predicted.
    """
    known = label >= 0
    classes, true = np.unique(label[known], return_inverse=True)
    place = np.minimum(np.searchsorted(classes, guess[known]), len(classes) - 1)
    predicted = np.where(classes[place] == guess[known], place, len(classes))
    counts = np.zeros((len(classes), len(classes) + 1), np.int32)
    np.add.at(counts, (true, predicted), 1)
    return counts if counts[:, -1].any() else counts[:, :-1]


def _confusion_table(counts: np.ndarray, names: Sequence[str]) -> Table:
    """The most frequent ones; ties in the classes' order."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    predicted = [*names, "other classes"]
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    body = [
        [names[i], predicted[j], int(wrong[i, j]), int(counts[i].sum())]
        for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[i, j]
    ]
    return Table(["true", "predicted", "times", "images"], body)
