"""Do the features transfer? Layers 1-7 kept, a new softmax for other classes: Tables 4-6, Fig. 9.

On each target set a softmax is trained on the net's layer-7 features of a few images a class, and
compared with the same architecture trained on those images from scratch (stage `scratch`) and, as a
control of our own, with the same softmax on the features of random weights. Accuracy is the mean
over classes of each class's share of right answers, averaged over random folds (Zeiler & Fergus
2014, section 4.3). A set with several labels an image (PASCAL VOC) is scored by `pascal` instead.

The paper does not state, and here is chosen: one centre crop an image; features divided by one
number (zfnet.methods.linear); the softmax's constant C, chosen on each fold's training images; what
the ± spans (taken as the deviation over folds).

The unit of inference is the test image. Folds share images and say nothing of new ones.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.files import read_json
from zfnet.methods.linear import Softmax, fit_best
from zfnet.progress import progress
from zfnet.results import Measurement, Table
from zfnet.stats.accuracy import deviation, fold_means, percent, right
from zfnet.stats.estimate import AT_CHANCE, Estimate
from zfnet.stats.folds import Fold, draw_folds, without
from zfnet.studies.exclusions import excluded_rows
from zfnet.studies.feature_store import FeatureStore
from zfnet.studies.layer7 import LAYER, NETS, PRETRAINED, SCRATCH, UNTRAINED, Basis
from zfnet.studies.pascal import measure_pascal

if TYPE_CHECKING:
    from zfnet.pipeline.options import TargetOptions
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Transfer

VOC = "voc"  # the protocol of Table 6
SPLIT = "train"  # where a target without a split of its own keeps all its images
METHODS = (PRETRAINED, SCRATCH, UNTRAINED)
RECIPE = ("batch_size", "lr", "init", "dropout", "normalise")  # of the nets from scratch
COLUMNS = (
    "method", "train_per_class", "accuracy", "accuracy_low", "accuracy_high", "deviation", "folds",
    "images", "constants",
)  # fmt: skip


def run(cfg: Transfer, paths: Paths) -> Measurement:
    """Measure every target that is run; facts["targets"]: what was done on each."""
    targets = {name: target for name, target in cfg.targets.items() if target.run}
    tap = f"{LAYER}.out"
    if not targets:
        print("transfer: no target is run: set targets.<name>.run=true", file=sys.stderr)
        return Measurement("", tap, cfg.seed, facts={"module": "", "targets": {}})
    store = FeatureStore.open(paths.codes)
    parts: dict[str, Measurement] = {}
    for name, target in targets.items():
        prepared = Prepared.open(paths.targets / name)
        out = excluded_rows(paths, name)
        if target.protocol == VOC:
            parts[name] = measure_pascal(name, target, prepared, store, out, cfg)
            continue
        scratch = ScratchPredictions.open(paths.scratch) if target.scratch_folds else None
        split = prepared.split(SPLIT)
        classes = [entry.name for entry in prepared.classes]
        parts[name] = measure_per_class(
            name, target, split.labels, classes, store, scratch, out.get(SPLIT, ()), cfg
        ).measurement
    return Measurement(
        store.net,
        tap,
        cfg.seed,
        estimates={key: each for part in parts.values() for key, each in part.estimates.items()},
        tables={key: each for part in parts.values() for key, each in part.tables.items()},
        facts={
            "module": store.taps.get(LAYER, ""),
            "targets": {name: part.facts for name, part in parts.items()},
        },
    )


@dataclass(frozen=True)
class MethodAnswers:
    """One method with one number of training images a class: its answers, fold by fold.

    predicted: labels (n,) of the fold's test images; constants: C. Of nets from scratch:
    train_errors, the share of training images that each gets wrong, and guessing, whether its
    training loss never left that of guessing.
    """

    predicted: list[np.ndarray] = field(default_factory=list)
    constants: list[float] = field(default_factory=list)
    train_errors: list[float] = field(default_factory=list)
    guessing: list[bool] = field(default_factory=list)

    @property
    def failed(self) -> str:
        """How many of the nets from scratch ended at chance, in words; "" for none."""
        count, nets = sum(self.guessing), len(self.guessing)
        return f"{count} of {nets} nets from scratch ended at chance" if count else ""


Method = tuple[str, int]  # and training images a class


@dataclass(frozen=True)
class PerClass:
    """One target by the protocol of Tables 4 and 5.

    answers: by method (one of METHODS) and training images a class. folds: as drawn, less the
    `left_out` images that the source set holds too. recipe: that of the nets from scratch.
    """

    name: str
    target: TargetOptions
    labels: np.ndarray
    classes: Sequence[str]
    folds: Sequence[Fold]
    answers: Mapping[Method, MethodAnswers]
    left_out: int
    seed: int
    net: str
    recipe: Mapping[str, Any]

    @property
    def sizes(self) -> list[int]:
        """Training images a class in the paper's table."""
        return sorted(self.target.train_per_class)

    def hits(self, method: Method, folds: int | None = None) -> list[np.ndarray]:
        """1 for every right answer, (n,), of the first `folds` folds."""
        predicted = self.answers[method].predicted[:folds]
        return right(predicted, self.tests(len(predicted)), self.labels)

    def tests(self, folds: int) -> list[np.ndarray]:
        """Test images of the first `folds` folds."""
        return [fold.test for fold in self.folds[:folds]]

    @cached_property
    def accuracies(self) -> dict[Method, Estimate]:
        """Mean accuracy per class in %, mean over folds, with an interval over test images."""
        found = {}
        for (method, size), answers in self.answers.items():
            hits, note = self.hits((method, size)), f"{size} training images a class"
            found[method, size] = percent(
                hits, self.tests(len(hits)), self.labels, self.seed,
                "; ".join(filter(None, [note, answers.failed])),
                invalid=AT_CHANCE if answers.failed else "",
            )  # fmt: skip
        return found

    def difference(self, first: Method, second: Method) -> Estimate:
        """Accuracy of one method less that of another on the same images of the same folds."""
        both = min(len(self.answers[each].predicted) for each in (first, second))
        pairs = zip(self.hits(first, both), self.hits(second, both), strict=True)
        failed = self.answers[first].failed or self.answers[second].failed
        note = f"{first[0]} ({first[1]} a class) less {second[0]} ({second[1]}), paired by image"
        return percent(
            [mine - theirs for mine, theirs in pairs], self.tests(both), self.labels, self.seed,
            "; ".join(filter(None, [note, failed])), "points", AT_CHANCE if failed else "",
        )  # fmt: skip

    @cached_property
    def few(self) -> Estimate | None:
        """Fewest training images a class with which the kept features beat the net from scratch.

        That is the one with the most images; beat: by an interval above 0. NaN: none of the sizes
        tried does. None without nets from scratch.
        """
        most = max((size for method, size in self.answers if method == SCRATCH), default=None)
        if most is None:
            return None
        failed = self.answers[SCRATCH, most].failed
        invalid, unit = AT_CHANCE if failed else "", "images a class"
        note = "; ".join(filter(None, [f"against {most} a class from scratch", failed]))
        for size in sorted(size for method, size in self.answers if method == PRETRAINED):
            gap = self.difference((PRETRAINED, size), (SCRATCH, most))
            if gap.low is not None and gap.low > 0:
                note = f"{note}; better by {gap}; the fewest of the sizes tried has no interval"
                return Estimate(size, n=gap.n, unit=unit, note=note, invalid=invalid)
        return Estimate(
            math.nan, unit=unit, note=f"none of the sizes tried; {note}", invalid=invalid
        )

    @property
    def measurement(self) -> Measurement:
        """Estimates <target>_<method>_<images a class>, their differences, few_images; a table."""
        own = [(m, size) for m in METHODS for size in self.sizes if (m, size) in self.answers]
        estimates = {f"{self.name}_{m}_{size}": self.accuracies[m, size] for m, size in own}
        for method, size in own:
            if method != PRETRAINED:
                gap = self.difference((PRETRAINED, size), (method, size))
                estimates[f"{self.name}_{PRETRAINED}_minus_{method}_{size}"] = gap
        if self.few is not None:
            estimates[f"{self.name}_few_images"] = self.few
        tables = {f"{self.name}_accuracy": self._table()}
        return Measurement(self.net, str(LAYER), self.seed, estimates, tables, facts=self._facts())

    def _table(self) -> Table:
        rows: list[list[Any]] = []
        for (method, size), answers in sorted(self.answers.items()):
            got = self.accuracies[method, size]
            hits = self.hits((method, size))
            means = 100 * fold_means(hits, self.tests(len(hits)), self.labels)
            constants = ", ".join(f"{c:g}" for c in answers.constants)
            rows.append([method, size, got.value, got.low, got.high, deviation(means), len(hits),
                         got.n, constants])  # fmt: skip
        return Table(COLUMNS, rows)

    def _facts(self) -> dict[str, Any]:
        tests = [fold.test for fold in self.folds]
        counts = np.concatenate([np.unique(self.labels[t], return_counts=True)[1] for t in tests])
        images = [len(test) for test in tests]
        return {
            "protocol": self.target.protocol,
            "paper": self.target.paper,
            "classes": len(self.classes),
            "train_per_class": self.sizes,
            "folds": len(self.folds),
            "test_images": [min(images), max(images)],
            "test_per_class": [counts.min(), counts.max()],
            "left_out": self.left_out,
            "short": {n: short for n in self.sizes if (short := self.short(n))},
            "untested": self.untested(),
            "scratch": self._scratch_facts(),
        }

    def _scratch_facts(self) -> dict[str, Any] | None:
        own = {size: each for (method, size), each in self.answers.items() if method == SCRATCH}
        if not own:
            return None
        return {
            **self.recipe,
            "most": max(own),
            "folds": max(len(each.predicted) for each in own.values()),
            "train_error": {size: 100 * max(each.train_errors) for size, each in own.items()},
            "failed": {size: each.failed for size, each in own.items() if each.failed},
        }

    def short(self, size: int) -> dict[str, list[int]]:
        """Classes with fewer than `size` training images in a fold: [fewest, most] over the folds.

        By name, those with the fewest first.
        """
        labels = sorted({label for fold in self.folds for label in fold.short.get(size, {})})
        had = {n: [fold.short.get(size, {}).get(n, size) for fold in self.folds] for n in labels}
        ordered = sorted(had, key=lambda label: (min(had[label]), label))
        return {self.classes[label]: [min(had[label]), max(had[label])] for label in ordered}

    def untested(self) -> list[str]:
        """Classes of which a fold has no test image left; that fold's mean is over the others."""
        every = np.unique(self.labels)
        lost = {int(c) for fold in self.folds for c in np.setdiff1d(every, self.labels[fold.test])}
        return [self.classes[label] for label in sorted(lost)]


def measure_per_class(
    name: str,
    target: TargetOptions,
    labels: np.ndarray,
    classes: Sequence[str],
    store: FeatureStore,
    scratch: ScratchPredictions | None,
    out: Collection[int],
    cfg: Transfer,
) -> PerClass:
    """Train and test every softmax of one target, and read the nets from scratch.

    out: rows to leave out of training and test. The folds are drawn before, so that they are those
    of the nets from scratch. Raises UserError where features or nets are not those of the target.
    """
    sizes = sorted({*target.train_per_class, *target.curve_per_class})
    drawn = draw_folds(labels, sizes, target.test_per_class, target.folds, cfg.seed, names=classes)
    folds = [without(fold, labels, out) for fold in drawn]
    jobs = [(PRETRAINED, size, number) for number in range(len(folds)) for size in sizes]
    if cfg.untrained and NETS[UNTRAINED] in store.nets(name, SPLIT):  # the table's sizes alone
        jobs += [(UNTRAINED, n, k) for k in range(len(folds)) for n in target.train_per_class]
    bases: dict[str, Basis] = {}
    answers: dict[Method, MethodAnswers] = {}
    for method, size, number in progress(jobs, desc=f"softmax on {name}", unit="fit"):
        if method not in bases:
            bases[method] = Basis(store.layer(name, SPLIT, NETS[method], LAYER, len(labels)))
        train, test = folds[number].train[size], folds[number].test
        x, rest = bases[method].coordinates(train, test)
        fitted = fit_best(
            Softmax, x, labels[train], cfg.grid, seed=cfg.seed + number, inner_folds=cfg.inner_folds
        )
        own = answers.setdefault((method, size), MethodAnswers())
        own.predicted.append(fitted.predict(rest))
        own.constants.append(fitted.C)
    recipe: Mapping[str, Any] = {}
    if scratch is not None:
        answers |= scratch.answers(name, labels, folds, out, store.net)
        recipe = {"steps": scratch.steps, **{key: scratch.recipe[key] for key in RECIPE}}
    return PerClass(
        name, target, labels, classes, folds, answers, len(set(out)), cfg.seed, store.net, recipe
    )


@dataclass(frozen=True)
class ScratchPredictions:
    """Reader of what the stage scratch wrote; targets: by name, the list of its trainings."""

    path: Path
    net: str
    targets: dict[str, list[dict[str, Any]]]
    steps: int
    recipe: dict[str, Any]

    @staticmethod
    def open(path: Path) -> ScratchPredictions:
        """Open a folder. Raises UserError if it is missing or damaged."""
        file = path / "scratch.json"
        try:
            record = read_json(file)
            given = (record[key] for key in ("net", "targets", "steps", "recipe"))
            return ScratchPredictions(path, *given)
        except (UserError, KeyError) as error:
            raise UserError(f"{file} cannot be read ({error}): run `dvc repro scratch`") from error

    def answers(
        self,
        target: str,
        labels: np.ndarray,
        folds: Sequence[Fold],
        out: Collection[int],
        net: str,
    ) -> dict[Method, MethodAnswers]:
        """The nets' answers on the test images of their folds, those in `out` left out.

        Raises UserError if they answered other images, or are not of the architecture of `net`.
        """
        if self.net != net:
            raise UserError(
                f"{self.path}: nets from scratch of {self.net}, but the features are of {net}: run "
                "`dvc repro scratch`"
            )
        found: dict[Method, MethodAnswers] = {}
        for record in sorted(self.targets.get(target, []), key=lambda r: (r["size"], r["fold"])):
            file = self.path / record["file"]
            try:
                with np.load(file, allow_pickle=False) as stored:
                    rows, predicted, true = (stored[k] for k in ("test", "predicted", "true"))
                    error = float(stored["train_error"])
            except (OSError, ValueError, KeyError) as fault:
                told = f"{file} cannot be read ({fault}): run `dvc repro scratch`"
                raise UserError(told) from fault
            own = found.setdefault((SCRATCH, record["size"]), MethodAnswers())
            number, used = len(own.predicted), ~np.isin(rows, list(out))
            if (
                record["fold"] != number
                or number >= len(folds)
                or not np.array_equal(rows[used], folds[number].test)
                or not np.array_equal(labels[rows], true)
            ):
                raise UserError(
                    f"{file}: tested other images than fold {number} of {target} has; run `dvc "
                    "repro scratch` with the config of this run"
                )
            own.predicted.append(predicted[used])
            own.train_errors.append(error)
            own.guessing.append(bool(record["at_chance"]))
        return found
