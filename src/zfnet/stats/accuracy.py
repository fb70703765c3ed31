"""Mean accuracy per class over random folds, its deviation and its interval. Needs no torch.

The folds of one set share images, so their deviation says how much the draw of training images
matters and nothing of new images. The interval resamples images within their class, the same ones
in every fold that tests them: it holds for other test images and these trained classifiers.

Arguments: `predicted`, fold by fold, the label given to each test image (n,). `rows`, fold by fold,
which images they are (n,). `labels` (N,) of all images.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from zfnet.stats.bootstrap import counts, percentiles
from zfnet.stats.estimate import Estimate

DRAWS = 1000
COVERED = "interval: other test images, these draws of training images"
Folds = Sequence[np.ndarray]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a classifier in %, or the difference of two in points.

    folds: (F,), of each. draws: (DRAWS,), their mean for samples of the test images. images: how
    many distinct ones.
    """

    folds: np.ndarray
    draws: np.ndarray
    images: int

    def __sub__(self, other: Accuracy) -> Accuracy:
        """Paired by image and fold, as both have the same draws."""
        return Accuracy(self.folds - other.folds, self.draws - other.draws, self.images)

    @property
    def deviation(self) -> float | None:
        """Standard deviation over folds (n − 1), None for a single one."""
        return float(np.std(self.folds, ddof=1)) if len(self.folds) > 1 else None

    def estimate(self, note: str = "", unit: str = "%", invalid: str = "") -> Estimate:
        """Mean over the folds with its 95 % bootstrap interval over test images."""
        low, high = percentiles(self.draws)
        over = f"mean of {len(self.folds)} folds" if len(self.folds) > 1 else ""
        notes = "; ".join(filter(None, [note, over, COVERED]))
        value = round(float(self.folds.mean()), 9) + 0.0  # equal answers differ by exactly 0
        ends = float(low), float(high)
        return Estimate(value, *ends, self.images, unit, notes, invalid=invalid)


def fold_accuracies(predicted: Folds, rows: Folds, labels: np.ndarray) -> np.ndarray:
    """Mean over classes of each class's share of right answers, %, fold by fold: (F,).

    A class without a test image does not count.
    """
    means = []
    for answer, tested in zip(predicted, rows, strict=True):
        _, place = np.unique(labels[tested], return_inverse=True)
        hits = np.bincount(place, np.asarray(answer) == labels[tested])
        means.append(100 * float((hits / np.bincount(place)).mean()))
    return np.array(means)


def accuracies(
    predicted: Mapping[Key, Folds], rows: Folds, labels: np.ndarray, seed: int
) -> dict[Key, Accuracy]:
    """The accuracy of each classifier. Deterministic in `seed`.

    All share their draws, so that differences between them are paired; what one gets does not
    depend on the others. An image that several folds test is drawn with all its answers.
    """
    images = np.unique(np.concatenate(list(rows)))
    right = np.zeros((len(images), len(rows), len(predicted)))
    tested = np.zeros((len(images), len(rows)))
    for fold, which in enumerate(rows):
        place = np.searchsorted(images, which)
        tested[place, fold] = 1
        for column, answers in enumerate(predicted.values()):
            right[place, fold, column] = np.asarray(answers[fold]) == labels[which]
    rng = np.random.default_rng([seed, len(images), len(rows), 31])
    total, counted = np.zeros((DRAWS, *right.shape[1:])), np.zeros((DRAWS, len(rows), 1))
    of = labels[images]
    for label in np.unique(of):
        own = np.flatnonzero(of == label)
        times = counts(len(own), rng, DRAWS).astype(np.float64)
        there = (times @ tested[own])[:, :, None]
        sums = np.tensordot(times, right[own], 1)
        # a sample may miss every image that a fold tests of a class
        total += np.divide(sums, there, out=np.zeros(sums.shape), where=there > 0)
        counted += there > 0
    draws = 100 * (total / np.maximum(counted, 1)).mean(1)
    return {
        key: Accuracy(fold_accuracies(each, rows, labels), draws[:, column], len(images))
        for column, (key, each) in enumerate(predicted.items())
    }
