"""Mean accuracy per class over random folds, its deviation and its interval. Needs no torch.

The folds of one set share images, so their deviation says how much the draw of training images
matters and nothing of new images. The interval resamples images within their class, the same ones
in every fold that tests them: it holds for other test images and these trained classifiers.

Arguments: `values`, fold by fold, a number for each test image (n,): 1 for a right answer, or a
difference of two methods. `rows`, fold by fold, which images they are (n,). `labels` (N,) of all
images.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from zfnet.stats.bootstrap import counts, percentiles
from zfnet.stats.estimate import Estimate

DRAWS = 1000
COVERED = "interval: other test images, these draws of training images"
Folds = Sequence[np.ndarray]
Key = TypeVar("Key", bound=Hashable)


def right(predicted: Folds, rows: Folds, labels: np.ndarray) -> list[np.ndarray]:
    """1 for every right answer, (n,) float64, fold by fold; predicted: labels (n,) of `rows`."""
    pairs = zip(predicted, rows, strict=True)
    return [(answer == labels[own]).astype(np.float64) for answer, own in pairs]


def fold_means(values: Folds, rows: Folds, labels: np.ndarray) -> np.ndarray:
    """Mean over classes of each class's mean, fold by fold: (folds,) float64.

    A class without a test image does not count.
    """
    means = []
    for own, tested in zip(values, rows, strict=True):
        _, place = np.unique(labels[tested], return_inverse=True)
        sums = np.bincount(place, weights=np.asarray(own, np.float64))
        means.append(float((sums / np.bincount(place)).mean()))
    return np.array(means)


def deviation(means: np.ndarray) -> float | None:
    """Standard deviation over folds (n − 1), None for a single one."""
    return float(np.std(means, ddof=1)) if len(means) > 1 else None


def percent(
    values: Folds,
    rows: Folds,
    labels: np.ndarray,
    seed: int,
    note: str = "",
    unit: str = "%",
    invalid: str = "",
) -> Estimate:
    """100 × the mean over folds of `fold_means`, with a 95 % bootstrap interval over test images.

    n counts the distinct test images. Deterministic in `seed`.
    """
    means = 100 * fold_means(values, rows, labels)
    low, high = percentiles(100 * resampled({"": values}, rows, labels, seed)[""])
    images = len(np.unique(np.concatenate(list(rows))))
    over = f"mean of {len(means)} folds" if len(means) > 1 else ""
    notes = "; ".join(filter(None, [note, over, COVERED]))
    value = float(means.mean())
    return Estimate(value, float(low), float(high), images, unit, notes, invalid=invalid)


def resampled(
    values: Mapping[Key, Folds], rows: Folds, labels: np.ndarray, seed: int
) -> dict[Key, np.ndarray]:
    """Mean over folds of `fold_means` for samples of images with replacement: (DRAWS,) for a key.

    All keys share their draws, so that differences between them are paired; what one key gets does
    not depend on the others. An image that several folds test is drawn with all its values.
    """
    keys, folds = list(values), len(rows)
    images = np.unique(np.concatenate(list(rows)))
    value = np.zeros((len(images), folds, len(keys)))
    tested = np.zeros((len(images), folds))
    for fold, which in enumerate(rows):
        place = np.searchsorted(images, which)
        tested[place, fold] = 1
        for column, key in enumerate(keys):
            value[place, fold, column] = values[key][fold]
    rng = np.random.default_rng([seed, len(images), folds, 31])
    total, counted = np.zeros((DRAWS, folds, len(keys))), np.zeros((DRAWS, folds, 1))
    of = labels[images]
    for label in np.unique(of):
        own = np.flatnonzero(of == label)
        times = counts(len(own), rng, DRAWS).astype(np.float64)
        there = (times @ tested[own])[:, :, None]
        sums = np.tensordot(times, value[own], 1)
        # a sample may miss every image that a fold tests of a class
        total += np.divide(sums, there, out=np.zeros(sums.shape), where=there > 0)
        counted += there > 0
    means = (total / np.maximum(counted, 1)).mean(1)
    return {key: means[:, column] for column, key in enumerate(keys)}
