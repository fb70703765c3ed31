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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.errors import UserError
from zfnet.files import read_json, write_json
from zfnet.methods import linear
from zfnet.methods.linear import LinearSVM, Softmax, Span, fit_best, gram
from zfnet.progress import progress
from zfnet.results import Measurement, Table
from zfnet.stats import folds
from zfnet.stats.accuracy import COVERED, Accuracy, accuracies, fold_accuracies
from zfnet.stats.bootstrap import percentiles
from zfnet.stats.estimate import Estimate
from zfnet.stats.folds import Fold, draw_folds
from zfnet.stats.paired import cells
from zfnet.studies.feature_store import TRAINED, UNTRAINED, FeatureStore
from zfnet.studies.target_sets import SPLIT, LabelledSet
from zfnet.work import WorkFolder, key_of

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Probe

SVM, SOFTMAX = "svm", "softmax"
UNIT, FIXED = VARIANTS = ("unit", "fixed")  # the SVM on images of norm 1, and with C = 1
INNER_FOLDS = 2  # parts into which the training images are dealt to choose C
PER_CLASS = "per_class"  # the protocol of the targets that are probed
STAGE = "probe"


def run(cfg: Probe, paths: Paths) -> Measurement:
    """Table 7 on every target that is run; facts["targets"]: what was done on each.

    Estimates <target>_svm_<layer>, _softmax_, _gain_, _rise, _rise_upper, _trend,
    _trend_untrained; tables <target>_table7 and <target>_sensitivity.
    """
    names = [name for name, each in cfg.targets.items() if each.run and each.protocol == PER_CLASS]
    if not names:
        wanted = "set targets.<name>.run=true for a set with training images a class"
        print(f"probe: no target is run: {wanted}", file=sys.stderr)
        return Measurement("", "", cfg.seed, facts={"targets": {}})
    store = FeatureStore.open(paths.codes)
    sets = [LabelledSet.open(name, cfg.targets[name], paths) for name in names]
    own = "_".join(filter(None, [STAGE, paths.further]))  # one a training of the net
    if not paths.leads:  # other choices are tried on one training
        cfg = cfg.model_copy(update={"sensitivity_folds": 0})
    work = WorkFolder(paths.work, own, _key(store, sets, cfg))
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
            "inner_folds": INNER_FOLDS,
            "sensitivity_folds": cfg.sensitivity_folds,
            "targets": {name: one.facts() for name, one in probed.items()},
        },
        on_saved=work.remove,
    )


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


Key = tuple[str, str, int]  # net, classifier or variant, layer
Answers = Mapping[str, list[Any]]  # fold by fold: "predicted", labels of test images; "constants"


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
    answers: dict[Key, Answers] = {}
    dims: dict[int, int] = {}
    layers = [layer for layer in there if any(layer in each for each in asked.values())]
    jobs = [(net, layer) for net in store.nets(own.name, SPLIT) for layer in layers]
    for net, layer in progress(jobs, len(jobs), f"probe: {own.name}", "layer"):
        features = store.layer(own.name, SPLIT, net, layer, len(own.labels))
        dims[layer] = features.shape[1]
        wanted = [name for name in asked if layer in asked[name]]
        if net == TRAINED and SVM in wanted and cfg.sensitivity_folds:
            wanted += VARIANTS
        file = keep / f"{own.name}_{net}_{layer}.json"
        if not file.is_file():
            write_json(file, probe_layer(features, own.labels, drawn, wanted, cfg))
        answers |= {(net, name, layer): each for name, each in read_json(file).items()}
    return Probed(own, drawn, answers, dims, cfg)


def probe_layer(
    features: np.ndarray,
    labels: np.ndarray,
    drawn: Sequence[Fold],
    wanted: Sequence[str],
    cfg: Probe,
) -> dict[str, Answers]:
    """Each of `wanted`, SVM, SOFTMAX or VARIANTS, on one layer's features (N, d), fold by fold.

    VARIANTS on the first folds alone. One Gram matrix, of the images that any fold uses, serves
    them all.
    """
    trained = [next(iter(fold.train.values())) for fold in drawn]
    used = np.unique(np.concatenate([*trained, *(fold.test for fold in drawn)]))
    products, labels = gram(features, used), labels[used]
    grids = {SVM: cfg.svm_grid, SOFTMAX: cfg.softmax_grid, UNIT: cfg.svm_grid, FIXED: (1.0,)}
    found: dict[str, Answers] = {name: {"predicted": [], "constants": []} for name in wanted}
    for number, fold in enumerate(drawn):
        train, test = (np.searchsorted(used, rows) for rows in (trained[number], fold.test))
        tried = [name for name in wanted if name not in VARIANTS or number < cfg.sensitivity_folds]
        for unit in (False, True):  # one after the other: coordinates are large
            names = [name for name in tried if (name == UNIT) == unit]
            if not names:
                continue
            span = Span.of(products, train, unit=unit)
            rest = span.project(products, test)
            for name in names:
                fitted = fit_best(
                    Softmax if name == SOFTMAX else LinearSVM, span.train, labels[train],
                    grids[name], seed=cfg.seed + number, inner_folds=INNER_FOLDS,
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
    answers: dict[Key, Answers]
    dims: dict[int, int]
    cfg: Probe

    def layers(self, classifier: str) -> list[int]:
        """The layers a classifier was trained on, ascending."""
        return sorted({layer for _, name, layer in self.answers if name == classifier})

    @cached_property
    def accuracies(self) -> dict[Key, Accuracy]:
        """Of each classifier on all folds."""
        own = {k: each["predicted"] for k, each in self.answers.items() if k[1] not in VARIANTS}
        return accuracies(own, [fold.test for fold in self.folds], self.set.labels, self.cfg.seed)

    def gain(self, classifier: str, layer: int) -> Estimate:
        """Trained less untrained."""
        trained, untrained = (
            self.accuracies[net, classifier, layer] for net in (TRAINED, UNTRAINED)
        )
        return (trained - untrained).estimate("trained net less the same net untrained", "points")

    def rise(self, place: int = 0) -> Estimate:
        """The SVM's accuracy at the last layer less that at the one at `place`, trained net."""
        layers = self.layers(SVM)
        first, last = layers[place], layers[-1]
        gap = self.accuracies[TRAINED, SVM, last] - self.accuracies[TRAINED, SVM, first]
        return gap.estimate(f"linear SVM on layer {last} less layer {first}", "points")

    def trend(self, net: str) -> Estimate:
        """Spearman's rank correlation of the SVM's accuracy with depth."""
        own = [self.accuracies[net, SVM, layer] for layer in self.layers(SVM)]
        folds = np.stack([each.folds for each in own], 1)
        low, high = percentiles(rank_trend(np.stack([each.draws for each in own], 1)))
        each, value = rank_trend(folds), rank_trend(folds.mean(0)[None])[0]
        note = (
            f"rank correlation of accuracy with depth; by fold {each.min():.2f} to {each.max():.2f}"
        )
        note = f"{note}; {COVERED}"
        return Estimate(float(value), float(low), float(high), own[0].images, note=note)

    @property
    def control(self) -> bool:
        """Whether the untrained net was probed."""
        return any(net == UNTRAINED for net, _, _ in self.answers)

    def estimates(self) -> dict[str, Estimate]:
        """By name."""
        name, layers = self.set.name, self.layers(SVM)
        found = {
            f"{name}_{classifier}_{layer}": self.accuracies[TRAINED, classifier, layer].estimate()
            for classifier in (SVM, SOFTMAX)
            for layer in self.layers(classifier)
        }
        if len(layers) > 1:
            found[f"{name}_rise"] = self.rise()
        if len(layers) > 2:
            found[f"{name}_rise_upper"] = self.rise(1)  # beyond the first layer
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
        for classifier, grid in ((SVM, self.cfg.svm_grid), (SOFTMAX, self.cfg.softmax_grid)):
            for layer in self.layers(classifier):
                row = {"classifier": classifier, "layer": layer, "features": self.dims[layer]}
                for net in (TRAINED, UNTRAINED):
                    own = self.accuracies.get((net, classifier, layer))
                    row |= cells(net, own.estimate() if own else None)
                    row[f"{net}_deviation"] = own and own.deviation
                row |= cells("gain", self.gain(classifier, layer) if self.control else None)
                chosen = self.answers[TRAINED, classifier, layer]["constants"]
                row["constants"] = _listed(chosen)
                row["at_edge"] = len(grid) > 1 and 2 * chosen.count(max(grid)) > len(chosen)
                rows.append(row)
        return Table.of(rows)

    def sensitivity(self) -> Table:
        """The SVM on the trained net under other choices, mean of the first folds."""
        layers, folds = self.layers(SVM), self.cfg.sensitivity_folds
        rows: list[dict[str, Any]] = []
        for choice in (SVM, *VARIANTS):
            means = []
            for layer in layers:
                predicted = self.answers[TRAINED, choice, layer]["predicted"][:folds]
                tests = [fold.test for fold in self.folds[:folds]]
                means.append(fold_accuracies(predicted, tests, self.set.labels).mean())
            own = {f"layer{n}": value for n, value in zip(layers, means, strict=True)}
            rows.append({"choice": choice, **own, "trend": rank_trend(np.array([means]))[0]})
        return Table.of(rows)

    def facts(self) -> dict[str, Any]:
        """What was done, for figures and pages."""
        size = self.set.target.probe_per_class
        return {
            **self.set.facts(self.folds),
            "lacking": [n for n in self.cfg.svm_layers if n not in self.layers(SVM)],
            "train_per_class": size,
            "short": self.set.short(self.folds, size),
        }


def _listed(constants: Sequence[float]) -> str:
    return ", ".join(f"{c:g}" for c in constants)


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
