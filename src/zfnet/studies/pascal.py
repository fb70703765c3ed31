"""Table 6: several labels an image (PASCAL VOC), scored by the average precision of each class.

The paper trains one softmax over the 20 classes on one exclusive label an image, although an image
may show several; how that label was chosen is not stated. A row of our own trains a sigmoid a class
on all labels. Needs no torch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfnet.data.multilabel import labels_of
from zfnet.data.store import Prepared
from zfnet.figures.transfer import Dots, precision_chart
from zfnet.methods.linear import SEARCH_TOL, Linear, Sigmoids, Softmax, fit_best
from zfnet.paper import PaperTable
from zfnet.progress import progress
from zfnet.stats.estimate import Estimate
from zfnet.studies.code_files import Codes
from zfnet.studies.over_folds import in_words
from zfnet.studies.precision import LAST_ELEVEN, average_precision, mean_precision_interval
from zfnet.studies.result import Figure, Table
from zfnet.studies.trials import LAYER, NETS, PRETRAINED, UNTRAINED, Basis, Options

# The paper's words for VOC's classes, where they are not VOC's own.
VOC_WORDS = {
    "airplane": "aeroplane",
    "dining_table": "diningtable",
    "potted_plant": "pottedplant",
    "tv": "tvmonitor",
}
SOFTMAX, SIGMOIDS, CONTROL = "softmax", "sigmoids", "untrained"
PASCAL_WORDS = {
    SOFTMAX: "softmax on one label an image",
    SIGMOIDS: "a sigmoid per class",
    CONTROL: "softmax, random weights",
}


@dataclass(frozen=True)
class Pascal:
    """What was found on one set with several labels an image.

    scores: by row (SOFTMAX, SIGMOIDS, CONTROL), (n, K) of the scored images; present, counts: which
    classes an image shows, and for which it counts, (n, K); intervals: of the mean precision.
    """

    name: str
    target: Mapping[str, Any]
    ids: Sequence[str]
    scores: Mapping[str, np.ndarray]
    present: np.ndarray
    counts: np.ndarray
    constants: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    trained: int
    left_out: int

    @property
    def eleven(self) -> bool:
        """Whether the year's own measure is the eleven-point average."""
        return bool(self.target["year"] <= LAST_ELEVEN)

    @property
    def test_images(self) -> int:
        """Scored images."""
        return len(self.present)

    @property
    def headline(self) -> list[str]:
        """Metrics for the report's card."""
        return [f"{self.name}_{row}_map" for row in (SOFTMAX, SIGMOIDS)]

    def precisions(self, row: str, eleven_points: bool) -> np.ndarray:
        """Average precision of each class in %, (K,)."""
        values = [
            average_precision(
                self.scores[row][self.counts[:, k], k],
                self.present[self.counts[:, k], k],
                eleven_points=eleven_points,
            )
            for k in range(len(self.ids))
        ]
        return 100 * np.array(values)

    def metrics(self) -> dict[str, Estimate]:
        """By name: <target>_<row>_map."""
        how = "eleven-point average" if self.eleven else "area under the curve"
        found = {}
        for row in self.scores:
            mean = float(np.nanmean(self.precisions(row, self.eleven)))
            low, high = self.intervals[row]
            note = f"{PASCAL_WORDS[row]}; mean average precision, {how}; interval over images"
            found[f"{self.name}_{row}_map"] = Estimate(
                mean, 100 * low, 100 * high, self.test_images, "%", note
            )
        return found


def measure_pascal(
    name: str,
    target: Mapping[str, Any],
    prepared: Prepared,
    codes: Codes,
    doubles: Mapping[str, Sequence[int]],
    options: Options,
    seed: int,
) -> Pascal:
    """Train a softmax and sigmoids on the split train of a multi-label set, score the split val."""
    ids = [entry.id for entry in prepared.classes]
    sides = {}
    for split in ("train", "val"):
        rows = np.arange(len(prepared.split(split)))
        sides[split] = rows[~np.isin(rows, list(doubles.get(split, [])))]
    train, val = sides["train"], sides["val"]
    present, difficult = (flag[train] for flag in labels_of(prepared, "train"))
    shown, unclear = (flag[val] for flag in labels_of(prepared, "val"))
    scored, n = ~unclear, len(train)
    labels = prepared.split("train").labels[train]
    scores: dict[str, np.ndarray] = {}
    constants: dict[str, float] = {}
    for row in progress(_pascal_rows(name, codes, options), desc=name, unit="row"):
        net = NETS[UNTRAINED if row == CONTROL else PRETRAINED]
        parts = [codes.layer(name, split, net, LAYER)[sides[split]] for split in sides]
        basis = Basis(np.concatenate(parts))
        x, rest = basis.coordinates(np.arange(n), np.arange(n, n + len(val)))
        if row == SIGMOIDS:
            found = best_sigmoids(x, present, ~difficult, options, seed)
            scores[row] = found.scores(rest)
        else:
            found = fit_best(
                Softmax, x, labels, list(options.grid), seed=seed,
                inner_folds=options.inner_folds,
            )  # fmt: skip
            scores[row] = class_scores(found, rest, len(ids))
        constants[row] = found.C
    eleven = target["year"] <= LAST_ELEVEN
    intervals = {
        row: mean_precision_interval(
            each, shown, scored, eleven_points=eleven, seed=seed, draws=options.precision_draws
        )
        for row, each in scores.items()
    }
    left = sum(len(set(rows)) for rows in doubles.values())
    return Pascal(name, target, ids, scores, shown, scored, constants, intervals, len(train), left)


def _pascal_rows(name: str, codes: Codes, options: Options) -> list[str]:
    control = options.untrained and UNTRAINED in codes.nets(name, "train")
    return [SOFTMAX, SIGMOIDS, *([CONTROL] if control else [])]


def class_scores(found: Linear, x: np.ndarray, classes: int) -> np.ndarray:
    """Log of the softmax's probability of each class, (n, K); −inf for one it never saw."""
    raw = found.scores(x)
    raw = raw - raw.max(1, keepdims=True)
    scores = np.full((len(x), classes), -np.inf)
    scores[:, found.classes] = raw - np.log(np.exp(raw).sum(1, keepdims=True))
    return scores


def best_sigmoids(
    x: np.ndarray, present: np.ndarray, counts: np.ndarray, options: Options, seed: int
) -> Linear:
    """Sigmoids whose common constant has the best mean precision on held-out training images.

    Equal precision: the smallest constant.
    """
    weight = counts.astype(np.float64)
    constants = sorted(options.grid)
    if len(constants) > 1:
        part = np.random.default_rng([seed, 33]).permutation(len(x)) % options.inner_folds
        means = []
        for c in constants:
            reached = []
            for held in range(options.inner_folds):
                kept, out = part != held, part == held
                found = Sigmoids(c, SEARCH_TOL).fit(x[kept], present[kept], weight[kept])
                scores = found.scores(x[out])
                each = [
                    average_precision(
                        scores[counts[out][:, k], k], present[out][counts[out][:, k], k]
                    )
                    for k in range(present.shape[1])
                ]
                reached.append(np.nanmean(each))
            means.append(float(np.mean(reached)))
        constants = [constants[int(np.argmax(means))]]
    return Sigmoids(constants[0]).fit(x, present, weight)


def pascal_table(one: Pascal, table: PaperTable | None) -> Table:
    """Table 6: average precision per class, the paper's columns and ours."""
    keys = list(table.columns) if table else []
    rows_of = _rows_by_class(table)
    ours = {row: one.precisions(row, one.eleven) for row in one.scores}
    rows: list[list[Any]] = []
    for k, name in enumerate(one.ids):
        printed = [table.value(rows_of.get(name, ""), key) for key in keys] if table else []
        values = [_or_none(each[k]) for each in ours.values()]
        rows.append([name, *printed, *values, int((one.present & one.counts)[:, k].sum())])
    means = [float(np.nanmean(each)) for each in ours.values()]
    total = [table.printed.get("mean", {}).get(key) for key in keys] if table else []
    rows.append(["mean", *total, *means, one.test_images])
    if one.eleven:
        area = [float(np.nanmean(one.precisions(row, False))) for row in one.scores]
        caption = "mean, by the area under the curve"
        rows.append([caption, *[None] * len(keys), *area, one.test_images])
    columns = [
        "class",
        *(f"paper: {table.columns[key]}" for key in keys if table),
        *(f"here: {PASCAL_WORDS[row]}" for row in one.scores),
        "images",
    ]
    return Table(columns, rows, _pascal_caption(one, table))


def _rows_by_class(table: PaperTable | None) -> dict[str, str]:
    """The keys of the paper's rows by VOC's names of the classes."""
    return {VOC_WORDS.get(key, key.replace("_", "")): key for key in (table.rows if table else ())}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _pascal_caption(one: Pascal, table: PaperTable | None) -> str:
    how = (
        "the mean of the precision at eleven recalls, as in VOC until 2009"
        if one.eleven
        else "the area under the precision-recall curve, as in VOC from 2010"
    )
    return (
        f"{one.name}: average precision per class in % ({how}); images whose objects of a class "
        f"are all marked difficult do not count for it. {one.trained} training images, "
        f"{one.test_images} scored; the last column counts those that show the class. "
        + _halves(one)
        + (f" The paper's columns are its {table.place}, as printed." if table else "")
    )


def _halves(one: Pascal) -> str:
    if one.eleven:
        return "Trained on the training and validation parts, scored on the test part."
    return (
        "Trained on the training part and scored on the validation part, since the labels of the "
        "test part are not public; the paper trained on both and was scored on the test part."
    )


def precision_figure(one: Pascal, table: PaperTable | None) -> Figure:
    """Table 6 as a chart."""
    ours = {row: one.precisions(row, one.eleven) for row in one.scores}
    dots = [Dots(PASCAL_WORDS[row], list(values)) for row, values in ours.items()]
    rows_of = _rows_by_class(table)
    if table is not None and PRETRAINED in table.columns:
        printed = [table.value(rows_of.get(name, ""), PRETRAINED) for name in one.ids]
        values = [math.nan if value is None else value for value in printed]
        dots.append(Dots("the paper's net, VOC 2012 test", values, printed=True))
    means = ", ".join(
        f"{PASCAL_WORDS[row]} {np.nanmean(values):.1f} %" for row, values in ours.items()
    )
    return Figure(
        f"{one.name}_precision",
        f"Table 6: average precision of each class on {one.name}, {one.test_images} images scored. "
        + _halves(one),
        f"Average precision by class; means: {means}.",
        functools.partial(precision_chart, list(one.ids), dots),
    )


def tell_pascal(one: Pascal, table: PaperTable | None) -> str:
    """The finding on a set with several labels an image."""
    found = one.metrics()
    parts = [f"{PASCAL_WORDS[row]} {in_words(found[f'{one.name}_{row}_map'])} %"
             for row in one.scores]  # fmt: skip
    mean = table.printed.get("mean", {}).get(PRETRAINED) if table else None
    beside = f" The paper prints a mean of {mean:g} % for VOC 2012's test part." if mean else ""
    return (
        f"{one.name} ({one.trained} training images, {one.test_images} scored): mean average "
        f"precision of {'; '.join(parts)}. {_halves(one)}{beside}"
    )
