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
from zfnet.studies.feature_store import FeatureStore
from zfnet.studies.layer7 import LAYER, NETS, PRETRAINED, UNTRAINED, Basis

if TYPE_CHECKING:
    from zfnet.pipeline.options import TargetOptions
    from zfnet.pipeline.studies import Transfer

LAST_ELEVEN = 2009  # the last year whose measure is the eleven-point average
SOFTMAX, SIGMOIDS, CONTROL = "softmax", "sigmoids", "untrained"  # CONTROL: softmax, random weights


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
    methods = [SOFTMAX, SIGMOIDS]
    if cfg.untrained and NETS[UNTRAINED] in store.nets(name, "train"):
        methods.append(CONTROL)
    shown, counts = flags["val"]
    eleven = target.year <= LAST_ELEVEN
    by_class: dict[str, np.ndarray] = {}
    estimates, areas, constants = {}, {}, {}
    for method in progress(methods, desc=name, unit="row"):
        net = NETS[UNTRAINED if method == CONTROL else PRETRAINED]
        parts = [store.layer(name, split, net, LAYER)[rows] for split, rows in sides.items()]
        x, rest = Basis(np.concatenate(parts)).coordinates(train, val)
        if method == SIGMOIDS:
            fitted = best_sigmoids(x, *flags["train"], cfg)
            scores = fitted.scores(rest)
        else:
            fitted = fit_best(
                Softmax, x, labels, cfg.grid, seed=cfg.seed, inner_folds=cfg.inner_folds
            )
            scores = class_scores(fitted, rest, len(prepared.classes))
        constants[method] = fitted.C
        by_class[method] = 100 * precisions(scores, shown, counts, eleven_points=eleven)
        areas[method] = 100 * float(np.nanmean(precisions(scores, shown, counts)))
        estimates[f"{name}_{method}_map"] = mean_precision(
            scores, shown, counts, eleven_points=eleven, seed=cfg.seed,
            note="eleven-point average" if eleven else "area under the precision-recall curve",
        )  # fmt: skip
    images = (shown & counts).sum(0).tolist()
    columns = [list(map(_or_none, each)) for each in by_class.values()]
    rows_ = [
        [entry.id, *each] for entry, *each in zip(prepared.classes, *columns, images, strict=True)
    ]
    means = [estimates[f"{name}_{method}_map"].value for method in methods]
    rows_.append(["mean", *means, len(shown)])
    facts: dict[str, Any] = {
        "protocol": target.protocol,
        "paper": target.paper,
        "eleven_points": eleven,
        "train_images": len(labels),
        "test_images": len(shown),
        "left_out": sum(len(set(rows)) for rows in out.values()),
        "constants": constants,
        "area": areas,
    }
    table = Table(["class", *by_class, "images"], rows_)
    return Measurement(
        store.net, str(LAYER), cfg.seed, estimates, {f"{name}_precision": table}, facts=facts
    )


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
        part = np.random.default_rng([cfg.seed, 33]).permutation(len(x)) % cfg.inner_folds
        means = np.zeros((len(grid), cfg.inner_folds))
        for i, c in enumerate(grid):
            for number in range(cfg.inner_folds):
                rest, held = part != number, part == number
                fitted = Sigmoids(c, SEARCH_TOL).fit(x[rest], present[rest], weight[rest])
                each = precisions(fitted.scores(x[held]), present[held], counts[held])
                means[i, number] = np.nanmean(each)
        chosen = grid[int(np.argmax(means.mean(1)))]
    return Sigmoids(chosen).fit(x, present, weight)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
