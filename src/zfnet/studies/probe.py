"""What does each layer know? Linear classifiers on its features (Zeiler & Fergus 2014, Table 7).

The trained net stays as it is; a linear SVM, or a softmax, is trained on the features of one layer
for the classes of a target set and tested on other images, on random folds. The same net with
random weights is the control: what the architecture and the pixels give without any learning.

The paper does not state, and here is chosen: C (from a grid, on the training images of the fold
alone), how features are scaled (one number a layer and fold: zfnet.methods.linear), which crop is
taken (the centre), on which side of pooling a layer is read (behind it), what its ± spans (taken as
the deviation over folds). The intervals are over test images: see zfnet.stats.accuracy.

At the size of Caltech-101 a layer's classifiers take minutes; those of each finished layer are kept
in paths.work until all are done, and a stopped study goes on with the next.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.files import read_json, write_json
from zfnet.methods import linear
from zfnet.methods.linear import LinearSVM, Softmax, Span, fit_best, gram
from zfnet.progress import progress
from zfnet.results import Measurement, Table
from zfnet.stats import folds
from zfnet.stats.accuracy import COVERED, deviation, fold_means, resampled, right
from zfnet.stats.bootstrap import percentiles
from zfnet.stats.estimate import Estimate
from zfnet.stats.folds import Fold, draw_folds
from zfnet.studies.exclusions import excluded_rows
from zfnet.studies.feature_store import TRAINED, UNTRAINED, FeatureStore
from zfnet.work import WorkFolder, key_of

if TYPE_CHECKING:
    from zfnet.pipeline.options import TargetOptions
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Probe

SVM, SOFTMAX = "svm", "softmax"
CLASSIFIERS: dict[str, type[LinearSVM] | type[Softmax]] = {SVM: LinearSVM, SOFTMAX: Softmax}
SPLIT = "train"  # where a target without a split of its own keeps all its images
PER_CLASS = "per_class"  # the protocol of the targets that are probed
STAGE = "probe"
PLAIN: tuple[str, float | None] = ("norm", None)
# The SVM under other choices: scaling of the features (linear.SCALINGS), and C where it is fixed.
VARIANTS: dict[str, tuple[str, float | None]] = {
    "unit": ("unit", None),
    "centred": ("centred", None),
    "fixed": ("norm", 1.0),
}


def run(cfg: Probe, paths: Paths) -> Measurement:
    """Table 7 on every target that is run; facts["targets"]: what was done on each.

    Estimates <target>_svm_<layer>, _softmax_, _gain_, _rise, _trend, _trend_untrained; tables
    <target>_table7 and <target>_sensitivity.
    """
    names = [name for name, each in cfg.targets.items() if each.run and each.protocol == PER_CLASS]
    if not names:
        wanted = "set targets.<name>.run=true for a set with training images a class"
        print(f"probe: no target is run: {wanted}", file=sys.stderr)
        return Measurement("", "", cfg.seed, facts={"targets": {}})
    store = FeatureStore.open(paths.codes)
    sets = [LabelledSet.open(name, cfg.targets[name], paths) for name in names]
    work = WorkFolder(paths.work, STAGE, _key(store, sets, cfg))
    with work.locked():
        for folder in work.others():
            done = len(list(folder.glob("*.json")))
            print(
                f"kept: {folder}, {done} layers probed with other settings; delete it when no "
                "longer wanted",
                file=sys.stderr,
            )
        probed = {each.name: probe(store, each, cfg, work.path) for each in sets}
    tables = {f"{name}_table7": one.table7() for name, one in probed.items()}
    if cfg.sensitivity_folds:
        tables |= {f"{name}_sensitivity": one.sensitivity() for name, one in probed.items()}
    return Measurement(
        store.net,
        ", ".join(f"{layer}: {path}" for layer, path in sorted(store.taps.items())),
        cfg.seed,
        estimates={key: each for one in probed.values() for key, each in one.estimates().items()},
        tables=tables,
        facts={
            "grids": {
                SVM: _listed(sorted(cfg.svm_grid)),
                SOFTMAX: _listed(sorted(cfg.softmax_grid)),
            },
            "inner_folds": cfg.inner_folds,
            "sensitivity_folds": cfg.sensitivity_folds,
            "targets": {name: one.facts() for name, one in probed.items()},
        },
        on_saved=work.remove,
    )


@dataclass(frozen=True)
class LabelledSet:
    """A target with the labels (N,) of its images, its classes' names, the rows to leave out."""

    name: str
    target: TargetOptions
    labels: np.ndarray
    classes: Sequence[str]
    excluded: Sequence[int] = ()

    @staticmethod
    def open(name: str, target: TargetOptions, paths: Paths) -> LabelledSet:
        """Read labels and exclusions."""
        prepared = Prepared.open(paths.targets / name)
        classes = [entry.name for entry in prepared.classes]
        excluded = sorted(excluded_rows(paths, name).get(SPLIT, ()))
        labels = np.asarray(prepared.split(SPLIT).labels)
        return LabelledSet(name, target, labels, classes, excluded)


def _key(store: FeatureStore, sets: Sequence[LabelledSet], cfg: Probe) -> str:
    """Of all that the classifiers depend on; features by their files' sizes and times."""
    modules = (linear, folds, sys.modules[__name__])
    files = [(file, file.stat()) for file in sorted(store.path.rglob("*.npy"))]
    return key_of(
        {
            "features": [
                [file.relative_to(store.path).as_posix(), stat.st_size, stat.st_mtime_ns]
                for file, stat in files
            ],
            "sets": [
                [each.name, each.target.probe_per_class, each.target.test_per_class,
                 each.target.folds, each.labels.tolist(), list(each.excluded)]
                for each in sets
            ],
            "options": cfg.model_dump(mode="json", exclude={"targets"}),
            "code": [Path(str(module.__file__)).read_text(encoding="utf-8") for module in modules],
        }
    )  # fmt: skip


# ------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class LayerAnswers:
    """One classifier on one layer: predicted labels of each fold's test images, and the C chosen.

    Of one of VARIANTS: of the first folds alone.
    """

    predicted: list[list[int]]
    constants: list[float]


Key = tuple[str, str, int]  # net, classifier or variant, layer


def probe(store: FeatureStore, own: LabelledSet, cfg: Probe, keep: Path) -> Probed:
    """Train and test every row of Table 7 on every fold of a set.

    keep: a folder for finished layers, which are taken from there when it is called again. Raises
    UserError if the features are of other images, or of none of the layers asked for.
    """
    asked = {SVM: cfg.svm_layers, SOFTMAX: cfg.softmax_layers}
    there = store.layers(own.name, SPLIT)
    if not set(there) & set(cfg.svm_layers):
        raise UserError(
            f"study.probe.svm_layers={list(cfg.svm_layers)}: features of {own.name} are of layers "
            f"{', '.join(map(str, there))}; see study.codes.layers"
        )
    target = own.target
    drawn = draw_folds(
        own.labels, [target.probe_per_class], target.test_per_class, target.folds, cfg.seed,
        own.excluded, own.classes,
    )  # fmt: skip
    answers: dict[Key, LayerAnswers] = {}
    dims: dict[int, int] = {}
    layers = [layer for layer in there if any(layer in each for each in asked.values())]
    jobs = [(net, layer) for net in store.nets(own.name, SPLIT) for layer in layers]
    for net, layer in progress(jobs, len(jobs), f"probe: {own.name}", "layer"):
        features = store.layer(own.name, SPLIT, net, layer, len(own.labels))
        dims[layer] = features.shape[1]
        wanted = [name for name in CLASSIFIERS if layer in asked[name]]
        if net == TRAINED and SVM in wanted and cfg.sensitivity_folds:
            wanted += VARIANTS
        file = keep / f"{own.name}_{net}_{layer}.json"
        if not file.is_file():
            write_json(file, probe_layer(features, own.labels, drawn, wanted, cfg))
        for name, each in read_json(file).items():
            answers[net, name, layer] = LayerAnswers(**each)
    return Probed(own, drawn, answers, dims, cfg)


def probe_layer(
    features: np.ndarray,
    labels: np.ndarray,
    drawn: Sequence[Fold],
    wanted: Sequence[str],
    cfg: Probe,
) -> dict[str, dict[str, Any]]:
    """Each of `wanted`, CLASSIFIERS or VARIANTS, on one layer's features (N, d), fold by fold.

    Returns by name what `LayerAnswers` is made from. One Gram matrix, of the images that any fold
    uses, serves them all.
    """
    trained = [next(iter(fold.train.values())) for fold in drawn]
    used = np.unique(np.concatenate([*trained, *(fold.test for fold in drawn)]))
    products, labels = gram(features, used), labels[used]
    found: dict[str, dict[str, Any]] = {name: {"predicted": [], "constants": []} for name in wanted}
    for number, fold in enumerate(drawn):
        train, test = (np.searchsorted(used, rows) for rows in (trained[number], fold.test))
        tried = [name for name in wanted if name in CLASSIFIERS or number < cfg.sensitivity_folds]
        for scaling in linear.SCALINGS:  # one after the other: coordinates are large
            names = [name for name in tried if VARIANTS.get(name, PLAIN)[0] == scaling]
            if not names:
                continue
            span = Span.of(products, train, scaling)
            rest = span.project(products, test)
            for name in names:
                fixed = VARIANTS.get(name, PLAIN)[1]
                grid = (fixed,) if fixed else cfg.softmax_grid if name == SOFTMAX else cfg.svm_grid
                fitted = fit_best(
                    CLASSIFIERS.get(name, LinearSVM), span.train, labels[train], grid,
                    seed=cfg.seed + number, inner_folds=cfg.inner_folds,
                )  # fmt: skip
                found[name]["predicted"].append(fitted.predict(rest).tolist())
                found[name]["constants"].append(fitted.C)
    return found


# ---------------------------------------------------------------------------------------- numbers
@dataclass(frozen=True)
class Probed:
    """One target measured; dims: features by layer."""

    set: LabelledSet
    folds: list[Fold]
    answers: dict[Key, LayerAnswers]
    dims: dict[int, int]
    cfg: Probe

    def layers(self, classifier: str) -> list[int]:
        """The layers a classifier was trained on, ascending."""
        return sorted({layer for _, name, layer in self.answers if name == classifier})

    @cached_property
    def tests(self) -> list[np.ndarray]:
        """Test images of each fold."""
        return [fold.test for fold in self.folds]

    @cached_property
    def draws(self) -> dict[Key, np.ndarray]:
        """Accuracy, %, of each classifier for resampled test images."""
        own = {key: self._right(key) for key in self.answers if key[1] in CLASSIFIERS}
        drawn = resampled(own, self.tests, self.set.labels, self.cfg.seed)
        return {key: 100 * each for key, each in drawn.items()}

    def _right(self, key: Key) -> list[np.ndarray]:
        predicted = [np.array(each) for each in self.answers[key].predicted]
        return right(predicted, self.tests[: len(predicted)], self.set.labels)

    def accuracies(self, key: Key) -> np.ndarray:
        """Mean per-class accuracy of each fold, %."""
        own = self._right(key)
        return 100 * fold_means(own, self.tests[: len(own)], self.set.labels)

    def accuracy(self, key: Key) -> Estimate:
        """Mean over the folds, %."""
        means = self.accuracies(key)
        return self._estimate(means.mean(), self.draws[key], "%", f"mean of {len(means)} folds")

    def difference(self, first: Key, second: Key, note: str) -> Estimate:
        """Accuracy of one classifier less another's, points, on the same test images."""
        value = self.accuracies(first).mean() - self.accuracies(second).mean()
        return self._estimate(value, self.draws[first] - self.draws[second], "points", note)

    def gain(self, classifier: str, layer: int) -> Estimate:
        """Trained less untrained."""
        first, second = (TRAINED, classifier, layer), (UNTRAINED, classifier, layer)
        return self.difference(first, second, "trained net less the same net untrained")

    def rise(self) -> Estimate:
        """The SVM's accuracy at the last layer less that at the first, of the trained net."""
        first, *_, last = self.layers(SVM)
        note = f"linear SVM on layer {last} less layer {first}"
        return self.difference((TRAINED, SVM, last), (TRAINED, SVM, first), note)

    def trend(self, net: str) -> Estimate:
        """Spearman's rank correlation of the SVM's accuracy with depth."""
        keys = [(net, SVM, layer) for layer in self.layers(SVM)]
        each = np.stack([self.accuracies(key) for key in keys], 1)
        drawn = rank_trend(np.stack([self.draws[key] for key in keys], 1))
        own = rank_trend(each)
        note = (
            f"rank correlation of accuracy with depth; by fold {own.min():.2f} to {own.max():.2f}"
        )
        return self._estimate(rank_trend(each.mean(0)[None])[0], drawn, "", note)

    def _estimate(self, value: float, sample: np.ndarray, unit: str, note: str) -> Estimate:
        low, high = percentiles(sample)
        images = len(np.unique(np.concatenate(self.tests)))
        return Estimate(float(value), float(low), float(high), images, unit, f"{note}; {COVERED}")

    @property
    def control(self) -> bool:
        """Whether the untrained net was probed."""
        return any(net == UNTRAINED for net, _, _ in self.answers)

    def estimates(self) -> dict[str, Estimate]:
        """By name."""
        name, layers = self.set.name, self.layers(SVM)
        found = {
            f"{name}_{classifier}_{layer}": self.accuracy((TRAINED, classifier, layer))
            for classifier in CLASSIFIERS
            for layer in self.layers(classifier)
        }
        if len(layers) > 1:
            found[f"{name}_rise"] = self.rise()
        if len(layers) > 2:
            found[f"{name}_trend"] = self.trend(TRAINED)
        if self.control:
            found |= {f"{name}_gain_{layer}": self.gain(SVM, layer) for layer in layers}
        if self.control and len(layers) > 2:
            found[f"{name}_trend_untrained"] = self.trend(UNTRAINED)
        return found

    def table7(self) -> Table:
        """A row a classifier and layer; without a control its columns are empty.

        constants: the trained net's C, fold by fold; at_edge: most of them the largest on offer.
        """
        rows: list[dict[str, Any]] = []
        for classifier in CLASSIFIERS:
            for layer in self.layers(classifier):
                row = {"classifier": classifier, "layer": layer, "features": self.dims[layer]}
                for net in (TRAINED, UNTRAINED):
                    key = (net, classifier, layer)
                    got = self.accuracy(key) if key in self.answers else None
                    row |= _with_ends(net, got)
                    row[f"{net}_deviation"] = deviation(self.accuracies(key)) if got else None
                row |= _with_ends("gain", self.gain(classifier, layer) if self.control else None)
                chosen = self.answers[TRAINED, classifier, layer].constants
                row["constants"] = _listed(chosen)
                grid = self.cfg.svm_grid if classifier == SVM else self.cfg.softmax_grid
                row["at_edge"] = len(grid) > 1 and 2 * chosen.count(max(grid)) > len(chosen)
                rows.append(row)
        return Table.of(rows)

    def sensitivity(self) -> Table:
        """The SVM on the trained net under other choices, mean of the first folds."""
        layers = self.layers(SVM)
        rows: list[dict[str, Any]] = []
        first = len(self.answers[TRAINED, next(iter(VARIANTS)), layers[0]].predicted)
        for choice in (SVM, *VARIANTS):
            each = [self.accuracies((TRAINED, choice, n))[:first].mean() for n in layers]
            accuracies = {f"layer{n}": value for n, value in zip(layers, each, strict=True)}
            rows.append({"choice": choice, **accuracies, "trend": rank_trend(np.array([each]))[0]})
        return Table.of(rows)

    def facts(self) -> dict[str, Any]:
        """What was done, for figures and pages."""
        own, size = self.set, self.set.target.probe_per_class
        counts = np.unique(own.labels[self.tests[0]], return_counts=True)[1]
        short = self.folds[0].short.get(size, {})
        return {
            "paper": own.target.paper,
            "classes": len(np.unique(own.labels)),
            "lacking": [n for n in self.cfg.svm_layers if n not in self.layers(SVM)],
            "left_out": len(own.excluded),
            "train_per_class": size,
            "short": {own.classes[label]: count for label, count in short.items()},
            "folds": len(self.folds),
            "test_images": len(self.tests[0]),  # of each fold: classes always leave as many
            "test_per_class": [counts.min(), counts.max()],
        }


def _listed(constants: Sequence[float]) -> str:
    return ", ".join(f"{c:g}" for c in constants)


def _with_ends(key: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return dict.fromkeys((key, f"{key}_low", f"{key}_high"))
    return {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}


def rank_trend(values: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each row of `values` (n, k) with 0..k−1: (n,).

    Equal values share their mean rank. 0 where all of a row are equal, or k is 1.
    """
    above = (values[:, :, None] > values[:, None, :]).sum(2)
    equal = (values[:, :, None] == values[:, None, :]).sum(2)
    ranks = above + (equal - 1) / 2
    ranks -= ranks.mean(1, keepdims=True)
    depth = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    norm = np.sqrt((ranks**2).sum(1) * (depth**2).sum())
    return np.divide(ranks @ depth, norm, out=np.zeros(len(values)), where=norm > 0)
