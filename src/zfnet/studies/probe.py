"""What does each layer know? Linear classifiers on its features (Zeiler & Fergus 2014, Table 7).

The trained net stays as it is; a linear SVM, or a softmax, is trained on the features of one layer
for the classes of a target set, on a fixed number of images a class, and tested on others. The
paper repeats that over five random folds; its ± is taken to be the standard deviation over them.
The same net with random weights is the control: what its layers reach, the architecture and the
pixels give without any learning.

The paper does not state, and the config chooses: C (from a grid, on the training images of the fold
alone), how features are scaled (one number a layer and fold: `zfnet.methods.linear`), which crop is taken
(the centre), and on which side of pooling a layer is read (behind it).

Two things vary, and are told apart. The deviation over folds is the paper's ±; folds share images,
so it says nothing of new ones. The intervals are over test images, resampled within each class, all
layers and both nets on the same draws: they hold for these nets and classifiers on new images.

At the size of Caltech-101 a layer's classifiers take minutes; those of each finished layer are kept
in paths.work until all are done, and a stopped study goes on with the next.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.figures.probe import Depth, Point, depth_chart
from zfnet.files import read_json, write_json
from zfnet.methods.linear import LinearSVM, Softmax, Span, fit_best, gram
from zfnet.paper import PaperTable, Reported, tables
from zfnet.pipeline.closure import closure_hash
from zfnet.progress import progress
from zfnet.stats.estimate import Estimate
from zfnet.stats.folds import Fold, draw_folds
from zfnet.studies.code_files import Codes
from zfnet.studies.left_out import rows_in_source
from zfnet.studies.over_folds import UNTESTED, fold_means, resampled, spread
from zfnet.studies.result import Figure, Result, Table
from zfnet.work import WorkFolder, key_of

CLASSIFIERS: dict[str, type[LinearSVM] | type[Softmax]] = {"svm": LinearSVM, "softmax": Softmax}
WORDS = {"svm": "linear SVM", "softmax": "softmax"}
SPLIT = "train"  # where a target without a split of its own keeps all its images
AS_TABLED = "as in the table"
FIXED_C = 1.0
VARIANTS = {
    "each image divided by its own norm": ("unit", None),
    "the training images' mean taken off": ("centred", None),
    f"C = {FIXED_C:g}, not chosen": ("norm", FIXED_C),
}
TABLE = "table7"
STAGE = "probe"


@dataclass(frozen=True)
class Options:
    """The section `study.probe` of the config, checked; see conf/study/probe.yaml."""

    svm_layers: Sequence[int] = (1, 2, 3, 4, 5, 7)
    softmax_layers: Sequence[int] = (5, 7)
    svm_grid: Sequence[float] = (0.1, 1.0, 10.0, 100.0)
    softmax_grid: Sequence[float] = (1.0, 10.0, 100.0, 1000.0)
    inner_folds: int = 2
    leave_out_overlap: bool = True
    sensitivity_folds: int = 1

    def __post_init__(self) -> None:
        for key in ("svm_grid", "softmax_grid"):
            grid = getattr(self, key)
            if not grid or min(grid) <= 0:
                raise UserError(f"study.probe.{key}={list(grid)}: give values of C above 0")
        least = {"inner_folds": 2, "sensitivity_folds": 0}
        for key, low in least.items():
            if getattr(self, key) < low:
                raise UserError(f"study.probe.{key}={getattr(self, key)}: must be at least {low}")
        if not self.svm_layers:
            raise UserError("study.probe.svm_layers: name at least one layer")

    def grid(self, classifier: str) -> Sequence[float]:
        """The values of C that a classifier chooses from."""
        return self.svm_grid if classifier == "svm" else self.softmax_grid

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section."""
        return Options(
            svm_layers=tuple(section.svm_layers or ()),
            softmax_layers=tuple(section.softmax_layers or ()),
            svm_grid=tuple(section.svm_grid or ()),
            softmax_grid=tuple(section.softmax_grid or ()),
            inner_folds=section.inner_folds,
            leave_out_overlap=section.leave_out_overlap,
            sensitivity_folds=section.sensitivity_folds,
        )


@dataclass(frozen=True)
class Target:
    """A target set and its protocol: labels (N,) of its images, names of its classes.

    excluded: rows that are left out. paper: the column of Table 7 that stands beside ours, None if
    there is none.
    """

    name: str
    labels: np.ndarray
    classes: Sequence[str]
    train_per_class: int
    test_per_class: int | None
    folds: int
    excluded: Collection[int] = ()
    paper: str | None = None


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.probe, targets and seed."""
    table = tables(paths.root)[TABLE]
    options, targets = _asked(cfg, paths, table)
    if not targets:
        return study(None, [], options, seed=cfg.seed, paper=table)
    codes = Codes.open(paths.codes)
    work = WorkFolder(Path(paths.work), STAGE, _key(codes, targets, options, cfg.seed))
    with work.locked():
        for folder in work.others():
            done = len(list(folder.glob("*.json")))
            print(
                f"kept: {folder}, {done} layers probed with other settings; delete it when no "
                "longer wanted",
                file=sys.stderr,
            )
        found = study(codes, targets, options, seed=cfg.seed, paper=table, keep=work.path)
    return replace(found, on_saved=work.remove)


def _asked(cfg: Any, paths: Any, table: PaperTable) -> tuple[Options, list[Target]]:
    """Options and targets of the config."""
    options = Options.read(cfg.study.probe)
    names = cfg.targets.keys()
    sections = {name: cfg.targets[name] for name in names}
    chosen = {
        name: section
        for name, section in sections.items()
        if section.run and section.protocol == "per_class"
    }
    targets = []
    for name, section in chosen.items():
        prepared = Prepared.open(Path(paths.targets) / name)
        out = rows_in_source(paths, name, "probe") if options.leave_out_overlap else {}
        targets.append(
            Target(
                name=name,
                labels=np.asarray(prepared.split(SPLIT).labels),
                classes=[entry.name for entry in prepared.classes],
                train_per_class=section.probe_per_class,
                test_per_class=section.test_per_class,
                folds=section.folds,
                excluded=out.get(SPLIT, ()),
                # the config names the set's table of accuracies; Table 7 has a column for each set
                paper=name if section.paper is not None and name in table.columns else None,
            )
        )
    return options, targets


def _key(codes: Codes, targets: Sequence[Target], options: Options, seed: int) -> str:
    """Of all that the classifiers depend on; features by their files' sizes and times."""
    files = [(file, file.stat()) for file in sorted(codes.path.rglob("*.npy"))]
    return key_of(
        {
            "features": [
                [file.relative_to(codes.path).as_posix(), stat.st_size, stat.st_mtime_ns]
                for file, stat in files
            ],
            "targets": [
                asdict(target)
                | {
                    "labels": target.labels.tolist(),
                    "classes": list(target.classes),
                    "excluded": sorted(map(int, target.excluded)),
                }
                for target in targets
            ],
            "options": asdict(options),
            "seed": int(seed),
            "code": closure_hash(__name__),
        }
    )


def study(
    codes: Codes | None,
    targets: Sequence[Target],
    options: Options,
    *,
    seed: int = 0,
    paper: PaperTable | None = None,
    keep: Path | None = None,
) -> Result:
    """Table 7 for one net on each of `targets`; codes: None if there are no targets.

    keep: a folder for what is finished, taken from there when it is called again. Raises UserError
    if codes and labels differ.
    """
    draft = Result(
        study="probe",
        title="What each layer knows: linear classifiers on its features",
        paper="Table 7",
        text="No target is run: nothing was measured. Set targets.<name>.run=true for a set with "
        "training images a class.",
        net="",
        tap="",
        seed=seed,
    )
    if codes is None or not targets:
        print(f"probe: {draft.text}", file=sys.stderr)
        return draft
    found = [measure(codes, target, options, seed, keep) for target in targets]
    metrics: dict[str, Estimate] = {}
    all_tables: dict[str, Table] = {}
    figures: list[Figure] = []
    for one in found:
        metrics |= _metrics(one)
        all_tables |= _tables(one, paper)
        figures.append(_figure(one, paper))
    first = found[0].target.name
    last = found[0].layers("svm")[-1]
    names = [f"{first}_svm_{last}", f"{first}_trend", f"{first}_gain_{last}"]
    return replace(
        draft,
        net=codes.net,
        tap=", ".join(f"{layer}: {path}" for layer, path in sorted(codes.taps.items())),
        text=" ".join([_protocol(options), *(_told(one, options, paper) for one in found)]),
        metrics=metrics,
        tables=all_tables,
        figures=figures,
        extra={
            "headline": [name for name in names if name in metrics],
            "card": figures[0].name,
            "taps": codes.taps,
            "targets": {one.target.name: _facts(one) for one in found},
        },
    )


# ------------------------------------------------------------------------------------- measuring
Key = tuple[str, str, int]  # net, classifier, layer


@dataclass(frozen=True)
class Answer:
    """One classifier on one fold: predicted labels of its test images, and the C it chose."""

    predicted: np.ndarray
    C: float


@dataclass(frozen=True)
class Found:
    """One target measured. answers: one a fold; dims: features by layer; others: accuracy (folds,)
    of the SVM on the trained net's layers by variant; draws: resampled accuracies (draws, keys).
    """

    target: Target
    folds: list[Fold]
    answers: dict[Key, list[Answer]]
    dims: dict[int, int]
    others: dict[str, dict[int, list[float]]]
    draws: dict[Key, np.ndarray]

    @property
    def labels(self) -> np.ndarray:
        """The classes, ascending."""
        return np.unique(self.target.labels)

    def layers(self, classifier: str) -> list[int]:
        """The layers a classifier was trained on, ascending."""
        return sorted({layer for _, name, layer in self.answers if name == classifier})

    def nets(self) -> list[str]:
        """Of "trained" and "untrained", those measured."""
        return list(dict.fromkeys(net for net, _, _ in self.answers))

    @property
    def tested(self) -> int:
        """How many different images were tested in all folds together."""
        return len(np.unique(np.concatenate([fold.test for fold in self.folds])))

    def accuracies(self, key: Key) -> np.ndarray:
        """Mean per-class accuracy of each fold, %."""
        labels, rows = self.target.labels, rows_of_tests(self.folds)
        return 100 * fold_means(right(self.answers[key], rows, labels), rows, labels)

    def accuracy(self, key: Key) -> Estimate:
        """Mean over the folds, %, with its interval over test images."""
        low, high = np.quantile(self.draws[key], [0.025, 0.975])
        own = self.accuracies(key)
        note = f"mean over {len(own)} folds"
        if len(own) > 1:
            note += f", standard deviation {spread(own):.2f}"
        return self._measured(float(own.mean()), low, high, f"{note}; {UNTESTED}", "%")

    def gain(self, classifier: str, layer: int) -> Estimate:
        """Trained minus untrained, points of accuracy, on the same test images."""
        keys = [(net, classifier, layer) for net in ("trained", "untrained")]
        low, high = np.quantile(self.draws[keys[0]] - self.draws[keys[1]], [0.025, 0.975])
        value = self.accuracies(keys[0]).mean() - self.accuracies(keys[1]).mean()
        note = f"trained net minus the same net untrained, the same images; {UNTESTED}"
        return self._measured(float(value), low, high, note, "points")

    def trend(self, net: str) -> Estimate:
        """Spearman's rank correlation of the SVM's accuracy with depth."""
        layers = self.layers("svm")
        keys = [(net, "svm", layer) for layer in layers]
        means = np.array([self.accuracies(key).mean() for key in keys])
        drawn = rank_trend(np.stack([self.draws[key] for key in keys], 1))
        low, high = np.quantile(drawn, [0.025, 0.975])
        each = rank_trend(np.stack([self.accuracies(key) for key in keys], 1))
        note = (
            f"Spearman's rank correlation of accuracy with depth over layers {_listed(layers)}; by "
            f"fold {each.min():.2f} to {each.max():.2f}; {UNTESTED}"
        )
        return self._measured(float(rank_trend(means[None])[0]), low, high, note)

    def rise(self, net: str) -> Estimate:
        """The SVM's accuracy at the last layer minus that at the first, points."""
        layers = self.layers("svm")
        last, first = (net, "svm", layers[-1]), (net, "svm", layers[0])
        low, high = np.quantile(self.draws[last] - self.draws[first], [0.025, 0.975])
        value = self.accuracies(last).mean() - self.accuracies(first).mean()
        note = (
            f"linear SVM on layer {layers[-1]} minus layer {layers[0]}, percentage points, the "
            f"same images; {UNTESTED}"
        )
        return self._measured(float(value), low, high, note, "points")

    def _measured(
        self, value: float, low: float, high: float, note: str, unit: str = ""
    ) -> Estimate:
        return Estimate(value, float(low), float(high), self.tested, unit, note)


def measure(
    codes: Codes, target: Target, options: Options, seed: int, keep: Path | None = None
) -> Found:
    """Train and test every row of Table 7 on every fold of `target`.

    One Gram matrix a net and layer serves all folds and classifiers. keep: as in `study`. Raises
    UserError if the codes are of another number of images, or of none of the layers asked for.
    """
    folds = draw_folds(
        target.labels,
        [target.train_per_class],
        target.test_per_class,
        target.folds,
        seed,
        target.excluded,
        target.classes,
    )
    asked = {"svm": options.svm_layers, "softmax": options.softmax_layers}
    there = codes.layers(target.name, SPLIT)
    layers = [layer for layer in there if any(layer in each for each in asked.values())]
    if not any(layer in asked["svm"] for layer in layers):
        raise UserError(
            f"study.probe.svm_layers={list(options.svm_layers)}: codes of {target.name} hold "
            f"layers {', '.join(map(str, there))}; see study.codes.layers"
        )
    nets = codes.nets(target.name, SPLIT)
    answers: dict[Key, list[Answer]] = {}
    others: dict[str, dict[int, list[float]]] = {}
    dims: dict[int, int] = {}
    work = [(net, layer) for net in nets for layer in layers]
    for net, layer in progress(work, len(work), f"probe: {target.name}", "layer"):
        features = codes.layer(target.name, SPLIT, net, layer)
        if len(features) != len(target.labels):
            raise UserError(
                f"codes of {target.name} are of {len(features)} images, data/targets/{target.name} "
                f"holds {len(target.labels)}: run the stage codes again"
            )
        dims[layer] = features.shape[1]
        wanted = [name for name in CLASSIFIERS if layer in asked[name]]
        tried = options.sensitivity_folds if net == "trained" and "svm" in wanted else 0
        file = keep / f"{target.name}_{net}_{layer}.json" if keep is not None else None
        if file is not None and file.is_file():
            done = Layer.read(file)
        else:
            done = Bench(features, target.labels, folds, seed, options).layer(wanted, tried)
            if file is not None:
                done.write(file)
        for name, each in done.answers.items():
            answers[net, name, layer] = each
        for name, accuracies in done.variants.items():
            others.setdefault(name, {})[layer] = accuracies
    rows = rows_of_tests(folds)
    values = {key: right(each, rows, target.labels) for key, each in answers.items()}
    drawn = resampled(values, rows, target.labels, seed)
    draws = {key: 100 * means for key, means in drawn.items()}
    return Found(target, folds, answers, dims, others, draws)


def rows_of_tests(folds: Sequence[Fold]) -> list[np.ndarray]:
    """Test images of each fold, (n,)."""
    return [fold.test for fold in folds]


def right(
    answers: Sequence[Answer], rows: Sequence[np.ndarray], labels: np.ndarray
) -> list[np.ndarray]:
    """1 for every right answer, (n,) float, fold by fold."""
    pairs = zip(answers, rows, strict=True)
    return [(answer.predicted == labels[own]).astype(np.float64) for answer, own in pairs]


@dataclass(frozen=True)
class Layer:
    """What was found on one layer: each classifier's answers and each variant's accuracies."""

    answers: dict[str, list[Answer]]
    variants: dict[str, list[float]]

    def write(self, file: Path) -> None:
        """Keep it as JSON."""
        answers = {
            name: [{"predicted": each.predicted.tolist(), "C": each.C} for each in found]
            for name, found in self.answers.items()
        }
        write_json(file, {"answers": answers, "variants": self.variants})

    @classmethod
    def read(cls, file: Path) -> Layer:
        """What `write` kept."""
        found = read_json(file)
        answers = {
            name: [Answer(np.asarray(each["predicted"]), each["C"]) for each in every]
            for name, every in _in_order(found["answers"], CLASSIFIERS)
        }
        return cls(answers, dict(_in_order(found["variants"], VARIANTS)))


def _in_order(found: dict[str, Any], names: Collection[str]) -> list[tuple[str, Any]]:
    """Items in the order of `names`, which a file sorts by letter."""
    return [(name, found[name]) for name in names if name in found]


class Bench:
    """The features of one layer, as the Gram matrix of those images that any fold uses."""

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        folds: Sequence[Fold],
        seed: int,
        options: Options,
    ) -> None:
        trained = [next(iter(fold.train.values())) for fold in folds]
        used = np.unique(np.concatenate([*trained, *(fold.test for fold in folds)]))
        self.gram = gram(features, used)
        self.labels = labels[used]
        self.train = [np.searchsorted(used, rows) for rows in trained]
        self.test = [np.searchsorted(used, fold.test) for fold in folds]
        self.seed = seed
        self.options = options

    def layer(self, classifiers: Sequence[str], tried: int) -> Layer:
        """Every fold; the first `tried` of them under VARIANTS too."""
        found = Layer({name: [] for name in classifiers}, {})
        for fold in range(len(self.train)):
            for name, answer in self.answers(fold, classifiers).items():
                found.answers[name].append(answer)
            for name, accuracy in (self.variants(fold) if fold < tried else {}).items():
                found.variants.setdefault(name, []).append(accuracy)
        return found

    def answers(self, fold: int, classifiers: Sequence[str]) -> dict[str, Answer]:
        """Train each on a fold's training images, predict its test images."""
        both = self._coordinates(fold, "norm")
        return {
            name: self._answer(name, fold, both, self.options.grid(name)) for name in classifiers
        }

    def variants(self, fold: int) -> dict[str, float]:
        """The SVM's accuracy, %, under each of VARIANTS."""
        found = {}
        for name, (scaling, fixed) in VARIANTS.items():
            grid = self.options.svm_grid if fixed is None else (fixed,)
            answer = self._answer("svm", fold, self._coordinates(fold, scaling), grid)
            rows = [self.test[fold]]
            means = fold_means(right([answer], rows, self.labels), rows, self.labels)
            found[name] = 100 * float(means[0])
        return found

    def _coordinates(self, fold: int, scaling: str) -> tuple[np.ndarray, np.ndarray]:
        """Those of a fold's training and test images."""
        span = Span.of(self.gram, self.train[fold], scaling)
        return span.train, span.project(self.gram, self.test[fold])

    def _answer(
        self,
        classifier: str,
        fold: int,
        coordinates: tuple[np.ndarray, np.ndarray],
        grid: Sequence[float],
    ) -> Answer:
        fitted = fit_best(
            CLASSIFIERS[classifier],
            coordinates[0],
            self.labels[self.train[fold]],
            grid,
            seed=self.seed + fold,
            inner_folds=self.options.inner_folds,
        )
        return Answer(fitted.predict(coordinates[1]), fitted.C)


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


# ------------------------------------------------------------------------------------- reporting
def _metrics(found: Found) -> dict[str, Estimate]:
    name = found.target.name
    metrics = {
        f"{name}_{classifier}_{layer}": found.accuracy(("trained", classifier, layer))
        for classifier in CLASSIFIERS
        for layer in found.layers(classifier)
    }
    if len(found.layers("svm")) > 1:
        metrics[f"{name}_rise"] = found.rise("trained")
    many = len(found.layers("svm")) > 2
    if many:
        metrics[f"{name}_trend"] = found.trend("trained")
    if "untrained" in found.nets():
        for layer in found.layers("svm"):
            metrics[f"{name}_gain_{layer}"] = found.gain("svm", layer)
        if many:
            metrics[f"{name}_trend_untrained"] = found.trend("untrained")
    return metrics


def _tables(found: Found, paper: PaperTable | None) -> dict[str, Table]:
    name = found.target.name
    made = {f"{name}_table7": _table7(found, paper), f"{name}_folds": _folds_table(found)}
    if found.others:
        made[f"{name}_sensitivity"] = _sensitivity(found)
    return made


def _table7(found: Found, paper: PaperTable | None) -> Table:
    control = "untrained" in found.nets()
    columns = ["classifier", "layer", "features", "trained, %", "± over folds", "low", "high"]
    if control:
        columns += ["untrained, %", "± over folds (untrained)", "gain, points", "low (gain)"]
        columns += ["high (gain)"]
    columns += ["test images a fold", "paper, %", "paper, ±"]
    rows: list[list[Any]] = []
    for classifier in CLASSIFIERS:
        for layer in found.layers(classifier):
            own = found.accuracy(("trained", classifier, layer))
            row: list[Any] = [WORDS[classifier], layer, found.dims[layer], own.value]
            row += [spread(found.accuracies(("trained", classifier, layer))), own.low, own.high]
            if control:
                key = ("untrained", classifier, layer)
                gain = found.gain(classifier, layer)
                row += [found.accuracy(key).value, spread(found.accuracies(key))]
                row += [gain.value, gain.low, gain.high]
            there = _printed(paper, found.target, classifier, layer)
            row += [_test_counts(found), there.value if there else None]
            row += [there.spread if there else None]
            rows.append(row)
    return Table(
        columns,
        rows,
        f"Table 7 on {found.target.name}: mean per-class accuracy of {len(found.folds)} folds, "
        f"{found.target.train_per_class} training images a class. ±: standard deviation over folds "
        "(n − 1). low, high: 95 % interval over test images.",
    )


def _folds_table(found: Found) -> Table:
    trained = len(next(iter(found.folds[0].train.values())))
    rows = [
        [net, WORDS[classifier], layer, k + 1, accuracy, answer.C, trained, len(fold.test)]
        for (net, classifier, layer), answers in found.answers.items()
        for k, (accuracy, answer, fold) in enumerate(
            zip(
                found.accuracies((net, classifier, layer)).tolist(),
                answers,
                found.folds,
                strict=True,
            )
        )
    ]
    columns = ["net", "classifier", "layer", "fold", "accuracy, %", "C", "training images"]
    return Table(
        [*columns, "test images"],
        rows,
        "Every fold: its accuracy and the C chosen on its training images.",
    )


def _sensitivity(found: Found) -> Table:
    layers = found.layers("svm")
    count = len(next(iter(next(iter(found.others.values())).values())))
    keys = {layer: ("trained", "svm", layer) for layer in layers}
    tabled = {layer: found.accuracies(key)[:count].tolist() for layer, key in keys.items()}
    rows: list[list[Any]] = []
    for name, each in {AS_TABLED: tabled, **found.others}.items():
        means = [float(np.mean(each[layer])) for layer in layers]
        rows.append([name, *means, float(rank_trend(np.array([means]))[0])])
    return Table(
        ["choice", *(f"layer {layer}, %" for layer in layers), "trend with depth"],
        rows,
        f"The linear SVM on the trained net under other choices, mean of the first {count} folds.",
    )


def _facts(found: Found) -> dict[str, Any]:
    target = found.target
    return {
        "classes": len(found.labels),
        "images": len(target.labels),
        "left_out": len(target.excluded),
        "train_per_class": target.train_per_class,
        "short_classes": _short(found),
        "test_images": _test_counts(found),
        "different_test_images": found.tested,
        "chance": 100 / len(found.labels),
    }


def _short(found: Found) -> dict[str, int]:
    """Classes with fewer training images than asked, by name, with how many they have."""
    short = found.folds[0].short.get(found.target.train_per_class, {})
    return {found.target.classes[label]: count for label, count in short.items()}


def _test_counts(found: Found) -> int:
    """Test images of a fold: the same number in each, since classes always leave as many."""
    return len(found.folds[0].test)


def _printed(
    paper: PaperTable | None, target: Target, classifier: str, layer: int
) -> Reported | None:
    if paper is None or target.paper is None:
        return None
    return paper.get(f"{classifier}_{layer}", target.paper)


# ------------------------------------------------------------------------------------------ text
def _protocol(options: Options) -> str:
    svm, softmax = (
        ", ".join(f"{value:g}" for value in sorted(options.grid(name))) for name in WORDS
    )
    return (
        "A linear SVM (squared hinge, one class against the rest, as scikit-learn's LinearSVC) or "
        "a softmax is trained on the features of one layer of the net, read behind its pooling and "
        "normalisation on the centre crop, and tested on other images of the same classes; the net "
        "itself learns nothing. All features of a layer are divided by one number, the root of the "
        f"training images' mean squared norm, and C is chosen on the training images of each fold "
        f"alone ({options.inner_folds} inner parts), from {svm} for the SVM and {softmax} for the "
        "softmax. The control is the same net with "
        "random weights. ± is the standard deviation over folds, as the paper's is taken to be; "
        "intervals are over test images, for these nets."
    )


def _told(found: Found, options: Options, paper: PaperTable | None) -> str:
    target, layers = found.target, found.layers("svm")
    smallest, largest = _test_range(found)
    each = f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
    told = [
        f"{target.name}: {len(found.labels)} classes, {target.train_per_class} training and {each} "
        f"test images a class ({_test_counts(found)} in all), {len(found.folds)} folds; chance is "
        f"{100 / len(found.labels):.1f} %."
    ]
    short = _short(found)
    if short:
        told.append(
            f"{len(short)} classes have too few images and keep one for the test: "
            + ", ".join(f"{name} trains on {count}" for name, count in short.items())
            + "."
        )
    told.append(_left_out(target))
    missing = [str(layer) for layer in options.svm_layers if layer not in layers]
    if missing:
        told.append(f"The net has no layer {', '.join(missing)}, or no codes of it were made.")
    told.append(_claim(found))
    for name, word in WORDS.items():
        top = max(options.grid(name))
        edge = [
            str(layer)
            for (net, classifier, layer), answers in found.answers.items()
            if (net, classifier) == ("trained", name)
            and 2 * [answer.C for answer in answers].count(top) > len(answers)
        ]
        if len(options.grid(name)) > 1 and edge:
            told.append(
                f"At layer {', '.join(edge)} most folds choose the largest C on offer for the "
                f"{word}: a wider grid may help there."
            )
    if paper is not None and target.paper in paper.columns:
        told.append(_against(found, paper))
    return " ".join(part for part in told if part)


def _left_out(target: Target) -> str:
    count = len(target.excluded)
    return f"{count} images that are in the net's own data as well are left out." if count else ""


def _claim(found: Found) -> str:
    """What the numbers say of: higher layers know more, and learning is what makes them."""
    layers = found.layers("svm")
    if len(layers) < 2:
        return ""
    rise = found.rise("trained")
    low, high = rise.low or 0.0, rise.high or 0.0
    told = (
        f"From layer {layers[0]} to layer {layers[-1]} the SVM's accuracy changes by "
        f"{rise.value:+.1f} "
        f"points (95 % interval {low:+.1f} to {high:+.1f})"
    )
    steady = low > 0 or high < 0
    if len(layers) > 2:
        trend = found.trend("trained")
        ends = trend.low or 0.0, trend.high or 0.0
        told += (
            f", and its rank correlation with depth is {trend.value:.2f} ({ends[0]:.2f} to "
            f"{ends[1]:.2f})"
        )
        steady = ends[0] > 0 if low > 0 else ends[1] < 0
    way = "rises" if low > 0 else "falls"
    if low <= 0 <= high:
        told += ": no rise with depth is shown."
    elif steady:
        told += f": it {way} with depth."
    else:
        told += f": it {way}, but not steadily from layer to layer."
    if "untrained" in found.nets():
        gains = {layer: found.gain("svm", layer) for layer in layers}
        better = [str(layer) for layer, gain in gains.items() if (gain.low or 0) > 0]
        worse = [str(layer) for layer, gain in gains.items() if (gain.high or 0) < 0]
        told += (
            f" Against the untrained net, learning helps at layers {', '.join(better)}"
            if better
            else " Against the untrained net, no layer is shown to gain by learning"
        )
        told += f" and harms at {', '.join(worse)}." if worse else "."
    return told


def _against(found: Found, paper: PaperTable) -> str:
    """How ours compare with the paper's figures."""
    gaps = []
    for classifier in CLASSIFIERS:
        for layer in found.layers(classifier):
            printed = _printed(paper, found.target, classifier, layer)
            if printed is not None:
                own = found.accuracies(("trained", classifier, layer)).mean()
                gaps.append(own - printed.value)
    if not gaps:
        return ""
    return (
        f"Beside the paper's {paper.columns[str(found.target.paper)]}, ours are "
        f"{min(gaps):+.1f} to {max(gaps):+.1f} points away; the paper's net had 1.3 million "
        "training images of 1000 classes."
    )


def _test_range(found: Found) -> tuple[int, int]:
    """Fewest and most test images of a class in a fold."""
    counts = np.bincount(found.target.labels[found.folds[0].test])
    counts = counts[counts > 0]
    return int(counts.min()), int(counts.max())


def _listed(layers: Sequence[int]) -> str:
    return ", ".join(map(str, layers))


# --------------------------------------------------------------------------------------- figures
def _figure(found: Found, paper: PaperTable | None) -> Figure:
    name = found.target.name
    layers = found.layers("svm")
    values = {layer: found.accuracy(("trained", "svm", layer)).value for layer in layers}
    compared = paper is not None and found.target.paper in paper.columns
    return Figure(
        f"probe_{name}",
        f"Table 7 on {name}: accuracy of linear classifiers on each layer's features, "
        f"{found.target.train_per_class} training images a class, {len(found.folds)} folds, "
        f"{_test_counts(found)} test images each. Bars: 95 % interval over test images."
        + (" Hollow: the paper's, with its ±." if compared else ""),
        f"Accuracy by layer on {name}. Trained net, linear SVM: "
        + ", ".join(f"layer {layer} {value:.1f} %" for layer, value in values.items())
        + f"; chance {100 / len(found.labels):.1f} %.",
        functools.partial(_draw, found, paper),
    )


def _draw(found: Found, paper: PaperTable | None) -> Any:
    series = []
    for net in found.nets():
        for classifier in CLASSIFIERS:
            points = {}
            for layer in found.layers(classifier):
                own = found.accuracy((net, classifier, layer))
                points[layer] = Point(own.value, own.low, own.high)
            if points:
                series.append(Depth(f"{net} net, {WORDS[classifier]}", net, classifier, points))
    for classifier in CLASSIFIERS:
        points = {}
        for layer in found.layers(classifier):
            there = _printed(paper, found.target, classifier, layer)
            if there is not None:
                spread = there.spread or 0.0
                points[layer] = Point(there.value, there.value - spread, there.value + spread)
        if points:
            series.append(Depth(f"the paper, {WORDS[classifier]}", "paper", classifier, points))
    layers = sorted({layer for one in series for layer in one.points})
    return depth_chart(series, layers, 100 / len(found.labels))
