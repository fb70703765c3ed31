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
from collections.abc import Mapping, Sequence
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
from zfnet.stats.accuracy import Accuracy, accuracies
from zfnet.stats.estimate import AT_CHANCE, STILL_LEARNING, Estimate
from zfnet.stats.folds import Fold, draw_folds, without
from zfnet.stats.paired import cells
from zfnet.studies.feature_store import TRAINED, UNTRAINED, FeatureStore
from zfnet.studies.pascal import INNER_FOLDS, measure_pascal
from zfnet.studies.target_sets import LAYER, SPLIT, Basis, LabelledSet, excluded_rows

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Transfer

VOC = "voc"  # the protocol of Table 6
PRETRAINED, SCRATCH = "pretrained", "scratch"
METHODS = (PRETRAINED, SCRATCH, UNTRAINED)
# Of a net from scratch that gets more than UNFIT of its few training images wrong, though its loss
# has come to rest: it says how it was trained, not what so few images can teach.
UNFITTED, UNFIT = "did not fit its training images", 0.1
FAULTS = {
    AT_CHANCE: "ended at chance",
    STILL_LEARNING: "were still learning",
    UNFITTED: f"get more than {100 * UNFIT:.0f} % of their training images wrong",
}
RECIPE = ("batch_size", "lr", "init", "dropout", "normalise")  # of the nets from scratch


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
        if target.protocol == VOC:
            prepared, out = Prepared.open(paths.targets / name), excluded_rows(paths, name)
            parts[name] = measure_pascal(name, target, prepared, store, out, cfg)
        else:
            scratch = ScratchPredictions.open(paths.scratch) if target.scratch_folds else None
            own = LabelledSet.open(name, target, paths)
            parts[name] = measure_per_class(own, store, scratch, cfg).measurement
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
    train_errors, the share of training images that each gets wrong, and faults, why it is no
    evidence of what so few images can teach (AT_CHANCE, STILL_LEARNING, UNFITTED), "" if it is.
    """

    predicted: list[np.ndarray] = field(default_factory=list)
    constants: list[float] = field(default_factory=list)
    train_errors: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def invalid(self) -> str:
        """The gravest fault of the nets from scratch; "" for none."""
        return next((each for each in FAULTS if each in self.faults), "")

    @property
    def failed(self) -> str:
        """How many of the nets from scratch had which fault, in words; "" for none."""
        counts = {words: self.faults.count(each) for each, words in FAULTS.items()}
        return ", ".join(
            f"{count} of {len(self.faults)} nets from scratch {words}"
            for words, count in counts.items()
            if count
        )


Method = tuple[str, int]  # and training images a class


@dataclass(frozen=True)
class PerClass:
    """One target by the protocol of Tables 4 and 5.

    answers: by method (one of METHODS) and training images a class. folds: as drawn, less the
    images that the source set holds too. recipe: that of the nets from scratch.
    """

    set: LabelledSet
    folds: Sequence[Fold]
    answers: Mapping[Method, MethodAnswers]
    seed: int
    net: str
    recipe: Mapping[str, Any]

    @property
    def sizes(self) -> list[int]:
        """Training images a class in the paper's table."""
        return sorted(self.set.target.train_per_class)

    @cached_property
    def scored(self) -> dict[int, dict[Method, Accuracy]]:
        """The accuracies on the first folds, by their number: those that a method has."""
        counts = {method: len(each.predicted) for method, each in self.answers.items()}
        return {
            first: accuracies(
                {m: self.answers[m].predicted[:first] for m, n in counts.items() if n >= first},
                [fold.test for fold in self.folds[:first]], self.set.labels, self.seed,
            )
            for first in set(counts.values())
        }  # fmt: skip

    def own(self, method: Method) -> Accuracy:
        """On all its folds."""
        return self.scored[len(self.answers[method].predicted)][method]

    def accuracy(self, method: Method) -> Estimate:
        """Mean accuracy per class, %, with an interval over test images."""
        note = f"{method[1]} training images a class"
        return self._estimate(self.own(method), note, "%", method)

    def difference(self, first: Method, second: Method) -> Estimate:
        """Accuracy of one method less that of another on the same images of the same folds."""
        both = self.scored[min(len(self.answers[each].predicted) for each in (first, second))]
        note = f"{first[0]} ({first[1]} a class) less {second[0]} ({second[1]}), paired by image"
        return self._estimate(both[first] - both[second], note, "points", first, second)

    def _estimate(self, own: Accuracy, note: str, unit: str, *methods: Method) -> Estimate:
        bad = next((one for each in methods if (one := self.answers[each]).invalid), None)
        notes = "; ".join(filter(None, [note, bad.failed if bad else ""]))
        return own.estimate(notes, unit, bad.invalid if bad else "")

    @cached_property
    def few(self) -> Estimate | None:
        """Fewest training images a class with which the kept features beat the net from scratch.

        That is the one with the most images; beat: by an interval above 0. NaN: none of the sizes
        tried does. None without nets from scratch.
        """
        most = max((size for method, size in self.answers if method == SCRATCH), default=None)
        if most is None:
            return None
        scratch, unit = self.answers[SCRATCH, most], "images a class"
        failed, invalid = scratch.failed, scratch.invalid
        note = "; ".join(filter(None, [f"against {most} a class from scratch", failed]))
        for size in sorted(size for method, size in self.answers if method == PRETRAINED):
            gap = self.difference((PRETRAINED, size), (SCRATCH, most))
            if gap.low is not None and gap.low > 0:
                note = f"{note}; better by {gap}; the fewest of the sizes tried has no interval"
                return Estimate(size, n=gap.n, unit=unit, note=note, invalid=invalid)
        note = f"none of the sizes tried; {note}"
        return Estimate(math.nan, unit=unit, note=note, invalid=invalid)

    @property
    def measurement(self) -> Measurement:
        """Estimates <target>_<method>_<images a class>, their differences, few_images; a table."""
        name = self.set.name
        own = [(m, size) for m in METHODS for size in self.sizes if (m, size) in self.answers]
        estimates = {f"{name}_{m}_{size}": self.accuracy((m, size)) for m, size in own}
        for method, size in own:
            if method != PRETRAINED:
                gap = self.difference((PRETRAINED, size), (method, size))
                estimates[f"{name}_{PRETRAINED}_minus_{method}_{size}"] = gap
        if self.few is not None:
            estimates[f"{name}_few_images"] = self.few
        rows = []
        for (method, size), answers in sorted(self.answers.items()):
            row: dict[str, Any] = {"method": method, "train_per_class": size}
            one, of = self.accuracy((method, size)), self.own((method, size))
            row |= cells("accuracy", one) | {"deviation": of.deviation, "folds": len(of.folds)}
            constants = ", ".join(f"{c:g}" for c in answers.constants)
            rows.append(row | {"images": one.n, "constants": constants})
        tables = {f"{name}_accuracy": Table.of(rows)}
        return Measurement(self.net, str(LAYER), self.seed, estimates, tables, facts=self._facts())

    def _facts(self) -> dict[str, Any]:
        own = {size: each for (method, size), each in self.answers.items() if method == SCRATCH}
        scratch = {
            **self.recipe,
            "most": max(own),
            "folds": max(len(each.predicted) for each in own.values()),
            "train_error": {size: 100 * max(each.train_errors) for size, each in own.items()},
            "failed": {size: each.failed for size, each in own.items() if each.failed},
        } if own else None  # fmt: skip
        short = {size: self.set.short(self.folds, size) for size in self.sizes}
        return {
            **self.set.facts(self.folds),
            "train_per_class": self.sizes,
            "short": {size: each for size, each in short.items() if each},
            "untested": self.untested(),
            "scratch": scratch,
        }

    def untested(self) -> list[str]:
        """Classes of which a fold has no test image left; that fold's mean is over the others."""
        labels = self.set.labels
        lost = [np.setdiff1d(labels, labels[fold.test]) for fold in self.folds]
        return [self.set.classes[label] for label in np.unique(np.concatenate(lost))]


def measure_per_class(
    own: LabelledSet, store: FeatureStore, scratch: ScratchPredictions | None, cfg: Transfer
) -> PerClass:
    """Train and test every softmax of one target, and read the nets from scratch.

    The folds are drawn before images are left out, so that they are those of the nets from scratch.
    Raises UserError where features or nets are not those of the target.
    """
    name, target, labels = own.name, own.target, own.labels
    sizes = sorted({*target.train_per_class, *target.curve_per_class})
    drawn = draw_folds(
        labels, sizes, target.test_per_class, target.folds, cfg.seed, names=own.classes
    )
    folds = [without(fold, labels, own.excluded) for fold in drawn]
    jobs = [(PRETRAINED, size, number) for number in range(len(folds)) for size in sizes]
    if cfg.untrained and UNTRAINED in store.nets(name, SPLIT):  # the table's sizes alone
        jobs += [(UNTRAINED, n, k) for k in range(len(folds)) for n in target.train_per_class]
    bases: dict[str, Basis] = {}
    answers: dict[Method, MethodAnswers] = {}
    for method, size, number in progress(jobs, desc=f"softmax on {name}", unit="fit"):
        if method not in bases:
            net = TRAINED if method == PRETRAINED else UNTRAINED
            bases[method] = Basis(store.layer(name, SPLIT, net, LAYER, len(labels)))
        train, test = folds[number].train[size], folds[number].test
        x, rest = bases[method].coordinates(train, test)
        fitted = fit_best(
            Softmax, x, labels[train], cfg.grid, seed=cfg.seed + number, inner_folds=INNER_FOLDS
        )
        each = answers.setdefault((method, size), MethodAnswers())
        each.predicted.append(fitted.predict(rest))
        each.constants.append(fitted.C)
    recipe: Mapping[str, Any] = {}
    if scratch is not None:
        answers |= scratch.answers(own, folds, store.net)
        recipe = {"steps": scratch.steps, **{key: scratch.recipe[key] for key in RECIPE}}
    return PerClass(own, folds, answers, cfg.seed, store.net, recipe)


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
        self, own: LabelledSet, folds: Sequence[Fold], net: str
    ) -> dict[Method, MethodAnswers]:
        """The nets' answers on the test images of their folds, those left out of `own` aside.

        Raises UserError if they answered other images, or are not of the architecture of `net`.
        """
        if self.net != net:
            raise UserError(
                f"{self.path}: nets from scratch of {self.net}, but the features are of {net}: run "
                "`dvc repro scratch`"
            )
        found: dict[Method, MethodAnswers] = {}
        for record in sorted(self.targets.get(own.name, []), key=lambda r: (r["size"], r["fold"])):
            file = self.path / record["file"]
            try:
                with np.load(file, allow_pickle=False) as stored:
                    rows, predicted, true = (stored[k] for k in ("test", "predicted", "true"))
                    error = float(stored["train_error"])
            except (OSError, ValueError, KeyError) as fault:
                raise UserError(
                    f"{file} cannot be read ({fault}): run `dvc repro scratch`"
                ) from fault
            each = found.setdefault((SCRATCH, record["size"]), MethodAnswers())
            number, used = len(each.predicted), ~np.isin(rows, own.excluded)
            if (
                record["fold"] != number
                or number >= len(folds)
                or not np.array_equal(rows[used], folds[number].test)
                or not np.array_equal(own.labels[rows], true)
            ):
                raise UserError(
                    f"{file}: tested other images than fold {number} of {own.name} has; run `dvc "
                    "repro scratch` with the config of this run"
                )
            each.predicted.append(predicted[used])
            each.train_errors.append(error)
            faults = (record["at_chance"], record["still_learning"], error > UNFIT)
            each.faults.append(next((f for f, yes in zip(FAULTS, faults, strict=True) if yes), ""))
        return found
