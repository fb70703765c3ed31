"""Table 6: several labels an image (PASCAL VOC), scored by the average precision of each class.

The paper trains one softmax over the 20 classes on one exclusive label an image, although an image
may show several; how that label was chosen is not stated. A row of our own trains a sigmoid a class
on all labels. Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.data.multilabel import labels_of
from zfnet.data.store import Prepared
from zfnet.methods.linear import SEARCH_TOL, LinearFit, Sigmoids, Softmax, fit_best
from zfnet.progress import progress
from zfnet.results import Measurement, Table
from zfnet.stats.precision import mean_precision, precisions
from zfnet.studies.feature_store import TRAINED, UNTRAINED, FeatureStore
from zfnet.studies.target_sets import LAYER, Basis

if TYPE_CHECKING:
    from zfnet.pipeline.options import TargetOptions
    from zfnet.pipeline.studies import Transfer

INNER_FOLDS = 3  # parts into which the training images are dealt to choose C
LAST_ELEVEN = 2009  # the last year whose measure is the eleven-point average
SOFTMAX, SIGMOIDS = "softmax", "sigmoids"  # UNTRAINED: the softmax on random weights


def measure_pascal(
    name: str,
    target: TargetOptions,
    prepared: Prepared,
    store: FeatureStore,
    out: Mapping[str, Sequence[int]],
    cfg: Transfer,
) -> Measurement:
    """Train a softmax and sigmoids on the split train of a multi-label set, score the split val.

    out: rows to leave out, by split.
    """
    sides, flags = {}, {}
    for split in ("train", "val"):
        rows = np.arange(len(prepared.split(split)))
        sides[split] = rows[~np.isin(rows, list(out.get(split, ())))]
        present, difficult = labels_of(prepared, split)
        flags[split] = present[sides[split]], ~difficult[sides[split]]
    labels = prepared.split("train").labels[sides["train"]]
    train, val = np.split(np.arange(sum(map(len, sides.values()))), [len(labels)])
    shown, counts = flags["val"]
    eleven = target.year <= LAST_ELEVEN
    note = "eleven-point average" if eleven else "area under the precision-recall curve"
    ids = [entry.id for entry in prepared.classes]
    table: dict[str, list[Any]] = {"class": [*ids, "mean"]}
    estimates, areas = {}, {}
    control = cfg.untrained and UNTRAINED in store.nets(name, "train")
    methods = [SOFTMAX, SIGMOIDS, *([UNTRAINED] if control else [])]
    for method in progress(methods, desc=name, unit="row"):
        net = UNTRAINED if method == UNTRAINED else TRAINED
        parts = [store.layer(name, split, net, LAYER)[rows] for split, rows in sides.items()]
        x, rest = Basis(np.concatenate(parts)).coordinates(train, val)
        if method == SIGMOIDS:
            scores = best_sigmoids(x, *flags["train"], cfg).scores(rest)
        else:
            fitted = fit_best(Softmax, x, labels, cfg.grid, seed=cfg.seed, inner_folds=INNER_FOLDS)
            scores = class_scores(fitted, rest, len(ids))
        own = mean_precision(scores, shown, counts, eleven_points=eleven, seed=cfg.seed, note=note)
        by_class = 100 * precisions(scores, shown, counts, eleven_points=eleven)
        table[method] = [*(None if math.isnan(x) else x for x in by_class.tolist()), own.value]
        areas[method] = 100 * float(np.nanmean(precisions(scores, shown, counts)))
        estimates[f"{name}_{method}_map"] = own
    table["images"] = [*(shown & counts).sum(0).tolist(), len(shown)]
    facts: dict[str, Any] = {
        "protocol": target.protocol,
        "paper": target.paper,
        "eleven_points": eleven,
        "train_images": len(labels),
        "test_images": len(shown),
        "left_out": sum(len(set(rows)) for rows in out.values()),
        "area": areas,
    }
    tables = {f"{name}_precision": Table(list(table), list(zip(*table.values(), strict=True)))}
    return Measurement(store.net, str(LAYER), cfg.seed, estimates, tables, facts=facts)


def class_scores(fitted: LinearFit, x: np.ndarray, classes: int) -> np.ndarray:
    """Log of the softmax's probability of each class, (n, K); −inf for one it never saw."""
    raw = fitted.scores(x)
    raw = raw - raw.max(1, keepdims=True)
    scores = np.full((len(x), classes), -np.inf)
    scores[:, fitted.classes] = raw - np.log(np.exp(raw).sum(1, keepdims=True))
    return scores


def best_sigmoids(
    x: np.ndarray, present: np.ndarray, counts: np.ndarray, cfg: Transfer
) -> LinearFit:
    """Sigmoids whose common constant has the best mean precision on held-out training images.

    x: (n, r); present, counts: (n, K) bool. Equal precision: the smallest constant.
    """
    weight = counts.astype(np.float64)
    grid = sorted(cfg.grid)
    chosen = grid[0]
    if len(grid) > 1:
        part = np.random.default_rng([cfg.seed, 33]).permutation(len(x)) % INNER_FOLDS
        means = np.zeros((len(grid), INNER_FOLDS))
        for i, c in enumerate(grid):
            for number in range(INNER_FOLDS):
                rest, held = part != number, part == number
                fitted = Sigmoids(c, SEARCH_TOL).fit(x[rest], present[rest], weight[rest])
                each = precisions(fitted.scores(x[held]), present[held], counts[held])
                means[i, number] = np.nanmean(each)
        chosen = grid[int(np.argmax(means.mean(1)))]
    return Sigmoids(chosen).fit(x, present, weight)
