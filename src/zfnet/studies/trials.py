"""Softmaxes on kept features by the protocol of Tables 4 and 5, beside the nets from scratch.

Needs no torch.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from zfnet.errors import UserError
from zfnet.methods.linear import Linear, Softmax, Span, fit_best, gram
from zfnet.progress import progress
from zfnet.stats.estimate import Estimate
from zfnet.stats.folds import Fold, draw_folds, without
from zfnet.studies.code_files import Codes
from zfnet.studies.over_folds import fold_means, in_words, percent, spread

LAYER = 7
PRETRAINED, SCRATCH, UNTRAINED = "pretrained", "scratch", "untrained"
NETS = {PRETRAINED: "trained", UNTRAINED: "untrained"}  # whose features a method rests on
WORDS = {
    PRETRAINED: "layers 1-7 kept, new softmax",
    SCRATCH: "the same net from scratch",
    UNTRAINED: "layers 1-7 with random weights, new softmax",
}
GRAM_IMAGES = 11_000  # larger sets would need more than 1 GB for the inner products of all pairs


@dataclass(frozen=True)
class Options:
    """The section `study.transfer` of the config, checked; see conf/study for each value."""

    grid: Sequence[float] = (1.0, 10.0, 100.0, 1000.0)
    inner_folds: int = 3
    untrained: bool = True
    leave_out_overlap: bool = True
    precision_draws: int = 200

    def __post_init__(self) -> None:
        if not self.grid or min(self.grid) <= 0:
            raise UserError(f"study.transfer.grid={list(self.grid)}: name at least one, above 0")
        if self.inner_folds < 2:
            raise UserError(f"study.transfer.inner_folds={self.inner_folds}: must be at least 2")
        if self.precision_draws < 20:
            raise UserError(
                f"study.transfer.precision_draws={self.precision_draws}: must be at least 20"
            )

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section."""
        return Options(**{each.name: getattr(section, each.name) for each in fields(Options)})


# -------------------------------------------------------------------------- features, coordinates
class Basis:
    """Features (N, d) of a set as coordinates that a softmax learns the same from.

    With fewer training images than dimensions these are coordinates in the span of the training
    images, by the inner products of all pairs; else, or with too many images for those, the
    features themselves.
    """

    def __init__(self, features: np.ndarray) -> None:
        self.features = features

    @functools.cached_property
    def gram(self) -> np.ndarray:
        """Inner products of all pairs."""
        return gram(self.features)

    def coordinates(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the rows `train` and `test`, both divided by what the training rows say."""
        images, dimensions = self.features.shape
        if len(train) < dimensions and images <= GRAM_IMAGES:
            span = Span.of(self.gram, train)
            return span.train, span.project(self.gram, test)
        own = self.features[train].astype(np.float64)
        scale = math.sqrt(float(np.square(own).sum(1).mean())) or 1.0
        return own / scale, self.features[test].astype(np.float64) / scale


# ------------------------------------------------------------------------ Tables 4, 5 and Fig. 9
@dataclass(frozen=True)
class Trial:
    """One method with one number of training images a class: its answers, fold by fold.

    rows: test images (n,); predicted: their labels (n,); constants: C. Of nets from scratch:
    train_errors, the share of training images that each gets wrong, and guessing, whether its
    training loss never left that of guessing.
    """

    rows: list[np.ndarray] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    constants: list[float] = field(default_factory=list)
    train_errors: list[float] = field(default_factory=list)
    guessing: list[bool] = field(default_factory=list)

    @property
    def stuck(self) -> str:
        """How many of the nets from scratch ended at chance, in words; "" for none."""
        count = sum(self.guessing)
        if not count:
            return ""
        return f"{count} of {len(self.guessing)} nets ended at chance"

    def right(self, labels: np.ndarray) -> list[np.ndarray]:
        """1 for every right answer, (n,) float, fold by fold."""
        pairs = zip(self.predicted, self.rows, strict=True)
        return [(guess == labels[rows]).astype(np.float64) for guess, rows in pairs]


@dataclass(frozen=True)
class PerClass:
    """What was found on one target by the protocol of Tables 4 and 5.

    trials: by method (PRETRAINED, SCRATCH, UNTRAINED) and training images a class. folds: as drawn,
    less what was left out. left_out: images of the target found in the source set. recipe: that of
    the nets from scratch, in words.
    """

    name: str
    target: Mapping[str, Any]
    labels: np.ndarray
    classes: Sequence[str]
    folds: Sequence[Fold]
    trials: Mapping[tuple[str, int], Trial]
    left_out: int
    seed: int
    recipe: str = ""

    @property
    def sizes(self) -> list[int]:
        """Training images a class in the table."""
        return sorted(self.target["train_per_class"])

    @property
    def test_images(self) -> list[int]:
        """Test images, fold by fold."""
        return [len(fold.test) for fold in self.folds]

    @property
    def headline(self) -> list[str]:
        """Metrics for the report's card."""
        largest = self.sizes[-1]
        names = [f"{self.name}_{PRETRAINED}_{largest}"]
        if (SCRATCH, largest) in self.trials:
            names.append(f"{self.name}_{PRETRAINED}_minus_{SCRATCH}_{largest}")
        return names

    @functools.cached_property
    def accuracies(self) -> dict[tuple[str, int], Estimate]:
        """Mean accuracy per class in %, mean over folds, with an interval over test images.

        By method and training images a class.
        """
        return {
            (method, size): percent(
                trial.right(self.labels),
                trial.rows,
                self.labels,
                self.seed,
                "; ".join(
                    filter(None, [f"{size} training images a class, {WORDS[method]}", trial.stuck])
                ),
            )
            for (method, size), trial in self.trials.items()
        }

    def short(self, size: int) -> dict[str, tuple[int, int]]:
        """Classes with fewer than `size` training images in a fold: fewest and most over the folds.

        By name, those with the fewest first.
        """
        labels = sorted({label for fold in self.folds for label in fold.short.get(size, {})})
        had = {
            label: [fold.short.get(size, {}).get(label, size) for fold in self.folds]
            for label in labels
        }
        ordered = sorted(had, key=lambda label: (min(had[label]), label))
        return {self.classes[label]: (min(had[label]), max(had[label])) for label in ordered}

    def untested(self) -> list[str]:
        """Classes of which a fold has no test image left; that fold's mean is over the others."""
        every = np.unique(self.labels)
        lost = {int(c) for fold in self.folds for c in np.setdiff1d(every, self.labels[fold.test])}
        return [self.classes[label] for label in sorted(lost)]

    def deviation(self, method: str, size: int) -> float | None:
        """Standard deviation over folds in points."""
        trial = self.trials[method, size]
        found = spread(fold_means(trial.right(self.labels), trial.rows, self.labels))
        return None if found is None else 100 * found

    def difference(self, first: tuple[str, int], second: tuple[str, int]) -> Estimate:
        """Accuracy of one trial less that of another on the same images of the same folds."""
        one, other = self.trials[first], self.trials[second]
        both = min(len(one.rows), len(other.rows))
        pairs = zip(one.right(self.labels)[:both], other.right(self.labels)[:both], strict=True)
        gaps = [mine - theirs for mine, theirs in pairs]
        note = f"{WORDS[first[0]]} ({first[1]} a class) less {WORDS[second[0]]} ({second[1]})"
        note += "; paired by test image"
        note += "".join(f"; {trial.stuck}" for trial in (one, other) if trial.stuck)
        return percent(gaps, one.rows[:both], self.labels, self.seed, note, unit="points")

    @functools.cached_property
    def few(self) -> Estimate | None:
        """Fewest training images a class with which the kept features beat the net from scratch.

        That is the one with the most images; beat: by an interval above 0. NaN: none of the sizes
        tried does. None without nets from scratch.
        """
        largest = self.most_scratch
        if largest is None:
            return None
        note = f"of the sizes tried; the net from scratch had {largest} a class"
        stuck = self.trials[SCRATCH, largest].stuck
        note += f"; {stuck}" if stuck else ""
        for size in sorted(n for method, n in self.trials if method == PRETRAINED):
            gap = self.difference((PRETRAINED, size), (SCRATCH, largest))
            if gap.low is not None and gap.low > 0:
                told = f"{note}; better by {in_words(gap)} points; no interval of its own"
                return Estimate(size, n=gap.n, unit="images a class", note=told)
        return Estimate(math.nan, unit="images a class", note=f"none {note}")

    @property
    def most_scratch(self) -> int | None:
        """Most training images a class of a net from scratch."""
        return max((size for method, size in self.trials if method == SCRATCH), default=None)

    def metrics(self) -> dict[str, Estimate]:
        """By name: <target>_<method>_<images a class>, differences, and how few images suffice."""
        found: dict[str, Estimate] = {}
        for method in (PRETRAINED, SCRATCH, UNTRAINED):
            for size in self.sizes:
                if (method, size) in self.trials:
                    found[f"{self.name}_{method}_{size}"] = self.accuracies[method, size]
        for method in (SCRATCH, UNTRAINED):
            for size in self.sizes:
                if (method, size) in self.trials:
                    gap = self.difference((PRETRAINED, size), (method, size))
                    found[f"{self.name}_{PRETRAINED}_minus_{method}_{size}"] = gap
        if self.few is not None:
            found[f"{self.name}_few_images"] = self.few
        return found

    def train_errors(self) -> dict[int, list[float]]:
        """Share of its training images that each net from scratch gets wrong, by size."""
        return {n: t.train_errors for (method, n), t in self.trials.items() if method == SCRATCH}


@dataclass(frozen=True)
class Scratch:
    """Reader of what the stage scratch wrote; targets: by name, the list of its trainings."""

    path: Path
    net: str
    targets: dict[str, list[dict[str, Any]]]
    steps: int
    recipe: dict[str, Any]

    @staticmethod
    def open(path: Path) -> Scratch:
        """Open a folder. Raises UserError if it is missing or damaged."""
        file = path / "scratch.json"
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            given = (record[key] for key in ("net", "targets", "steps", "recipe"))
            return Scratch(path, *given)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{file} cannot be read ({error}): run `dvc repro scratch`") from error

    @property
    def told(self) -> str:
        """How the nets were trained, in words."""
        recipe = self.recipe
        dropout = "as built" if recipe["dropout"] is None else f"{recipe['dropout']:g}"
        first = "as torchvision draws them" if recipe["init"] is None else recipe["init"]
        return (
            f"{self.steps} steps of {recipe['batch_size']} images, first rate {recipe['lr']:g}, "
            f"first weights {first}, dropout {dropout}, input "
            f"{recipe['normalise'].replace('_', ' ')}"
        )

    def trials(
        self, target: str, labels: np.ndarray, folds: Sequence[Fold], out: Collection[int]
    ) -> dict[tuple[str, int], Trial]:
        """The nets' answers on the test images of their folds, those in `out` left out.

        Raises UserError if they answered other images.
        """
        found: dict[tuple[str, int], Trial] = {}
        for record in sorted(self.targets.get(target, []), key=lambda r: (r["size"], r["fold"])):
            file = self.path / record["file"]
            try:
                with np.load(file, allow_pickle=False) as stored:
                    rows, guess, true = (stored[key] for key in ("test", "predicted", "true"))
                    error = float(stored["train_error"])
            except (OSError, ValueError, KeyError) as fault:
                raise UserError(f"{file} cannot be read ({fault}): run `dvc repro scratch`") from (
                    fault
                )
            trial = found.setdefault((SCRATCH, record["size"]), Trial())
            number = len(trial.rows)
            keep = ~np.isin(rows, list(out))
            if (
                record["fold"] != number
                or number >= len(folds)
                or not np.array_equal(rows[keep], folds[number].test)
                or not np.array_equal(labels[rows], true)
            ):
                raise UserError(
                    f"{file}: tested other images than fold {number} of {target} has; run `dvc "
                    "repro scratch` with the config of this run"
                )
            trial.rows.append(rows[keep])
            trial.predicted.append(guess[keep])
            trial.train_errors.append(error)
            trial.guessing.append(bool(record["at_chance"]))
        return found


def measure_per_class(
    name: str,
    target: Mapping[str, Any],
    labels: np.ndarray,
    classes: Sequence[str],
    codes: Codes,
    scratch: Scratch | None,
    out: Collection[int],
    options: Options,
    seed: int,
) -> PerClass:
    """Train and test every softmax of one target, and read the nets from scratch.

    out: rows to leave out of training and test. The folds are drawn before, so that they are those
    of the nets from scratch.
    """
    sizes = sorted({*target["train_per_class"], *target["curve_per_class"]})
    drawn = draw_folds(
        labels, sizes, target["test_per_class"], target["folds"], seed, names=classes
    )
    folds = [without(fold, labels, out) for fold in drawn]
    trials: dict[tuple[str, int], Trial] = {}
    jobs = list(_jobs(name, target, sizes, folds, codes, options))
    bases: dict[str, Basis] = {}
    for method, size, fold, number in progress(jobs, desc=f"softmax on {name}", unit="fit"):
        if method not in bases:
            bases[method] = Basis(codes.layer(name, "train", NETS[method], LAYER))
            if len(bases[method].features) != len(labels):
                raise UserError(
                    f"{codes.path / name}: codes of {len(bases[method].features)} images, but "
                    f"{name} has {len(labels)}: run `dvc repro codes`"
                )
        found, test = _softmax(bases[method], fold.train[size], fold.test, labels, options,
                               seed + number)  # fmt: skip
        trial = trials.setdefault((method, size), Trial())
        trial.rows.append(fold.test)
        trial.predicted.append(found.predict(test))
        trial.constants.append(found.C)
    if scratch is not None:
        if scratch.net != codes.net:
            raise UserError(
                f"{scratch.path}: nets from scratch of {scratch.net}, but the features are of "
                f"{codes.net}: run `dvc repro scratch`"
            )
        trials |= scratch.trials(name, labels, folds, out)
    recipe = scratch.told if scratch else ""
    return PerClass(name, target, labels, classes, folds, trials, len(set(out)), seed, recipe)


def _jobs(
    name: str,
    target: Mapping[str, Any],
    sizes: Sequence[int],
    folds: Sequence[Fold],
    codes: Codes,
    options: Options,
) -> Iterator[tuple[str, int, Fold, int]]:
    """Every (method, size, fold, its number); the control only at the sizes of the table."""
    for number, fold in enumerate(folds):
        for size in sizes:
            yield PRETRAINED, size, fold, number
            there = UNTRAINED in codes.nets(name, "train") and options.untrained
            if there and size in target["train_per_class"]:
                yield UNTRAINED, size, fold, number


def _softmax(
    basis: Basis,
    train: np.ndarray,
    test: np.ndarray,
    labels: np.ndarray,
    options: Options,
    seed: int,
) -> tuple[Linear, np.ndarray]:
    """A softmax with its constant chosen on the training rows, and the test rows' coordinates."""
    x, rest = basis.coordinates(train, test)
    grid = list(options.grid)
    found = fit_best(Softmax, x, labels[train], grid, seed=seed, inner_folds=options.inner_folds)
    return found, rest
