"""Mean accuracy per class over random folds, with its spread and its interval. Needs no torch.

The folds of one set share images, so their spread says how much the draw of training images
matters and nothing of new images. The interval resamples images within their class, the same ones
in every fold that tests them: it says what other test images would give, the trained classifiers
being what they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from zfnet.stats.estimate import Estimate

DRAWS = 1000
UNTESTED = "interval: other test images, the draws of training images as they were"
Key = TypeVar("Key", bound=Hashable)


def fold_means(
    values: Sequence[np.ndarray], rows: Sequence[np.ndarray], labels: np.ndarray
) -> np.ndarray:
    """Mean over classes of each class's mean, fold by fold: (folds,) float64.

    values: a number for each test image of a fold, (n,) (1 for a right answer, or a difference of
    two methods); rows: which images they are, (n,); labels of all images. A class without a test
    image does not count.
    """
    means = []
    for own, tested in zip(values, rows, strict=True):
        of = labels[tested]
        classes, place = np.unique(of, return_inverse=True)
        sums = np.bincount(place, weights=np.asarray(own, np.float64), minlength=len(classes))
        means.append(float((sums / np.bincount(place)).mean()))
    return np.array(means)


def spread(means: np.ndarray) -> float | None:
    """Standard deviation over folds (n − 1), None for a single one."""
    return float(np.std(means, ddof=1)) if len(means) > 1 else None


def percent(
    values: Sequence[np.ndarray],
    rows: Sequence[np.ndarray],
    labels: np.ndarray,
    seed: int,
    note: str = "",
    unit: str = "%",
) -> Estimate:
    """100 × the mean over folds of `fold_means`, with a 95 % bootstrap interval over test images.

    n counts the distinct test images. Deterministic in `seed`.
    """
    means = 100 * fold_means(values, rows, labels)
    images = np.unique(np.concatenate(list(rows)))
    sample = 100 * resampled({"": values}, rows, labels, seed)[""]
    low, high = np.quantile(sample, [0.025, 0.975])
    told = [note, UNTESTED]
    if len(means) > 1:
        told.insert(1, f"mean of {len(means)} folds, standard deviation {spread(means):.2f}")
    return Estimate(
        float(means.mean()),
        float(low),
        float(high),
        len(images),
        unit,
        "; ".join(filter(None, told)),
    )


def in_words(measured: Estimate) -> str:
    """A number with its interval, to one decimal."""
    if measured.low is None or measured.high is None:
        return f"{measured.value:.1f}"
    return f"{measured.value:.1f} ({measured.low:.1f} to {measured.high:.1f})"


def resampled(
    values: Mapping[Key, Sequence[np.ndarray]],
    rows: Sequence[np.ndarray],
    labels: np.ndarray,
    seed: int,
) -> dict[Key, np.ndarray]:
    """`fold_means`' mean over folds for samples of images with replacement: (DRAWS,) for each key.

    values: as for `fold_means`, by key. All keys share their draws, so that differences between
    them are paired; what one key gets does not depend on the others. An image that several folds
    test is drawn with all its values.
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
        times = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=DRAWS)
        there = (times @ tested[own])[:, :, None]
        sums = np.tensordot(times, value[own], 1)
        # a sample may miss every image that a fold tests of a class
        total += np.divide(sums, there, out=np.zeros(sums.shape), where=there > 0)
        counted += there > 0
    means = (total / np.maximum(counted, 1)).mean(1)
    return {key: means[:, column] for column, key in enumerate(keys)}
