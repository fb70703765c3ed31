"""Errors of nets on the same images, compared image by image. Arrays only.

Errors are bool matrices (S, N): a row a training (the seeds of one net), a column an image; rates
are in %, differences in points. Two things vary: which images are shown, and which weights a
training ends with. An interval over images holds for these very nets and new images, one over
trainings for new trainings and these very images, one over both for new trainings and new images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zfnet.stats.bootstrap import alike_means, percentiles
from zfnet.stats.estimate import IMAGES, TRAININGS, Estimate
from zfnet.stats.intervals import rate, student_mean

DRAWS = 4000
BLOCK = 4096  # images whose probabilities are ranked at once
NO_IMAGE = "no image tells them apart, so that there is no interval"


def mean_top(tables: Iterable[np.ndarray], most: int) -> np.ndarray:
    """(N, most): the best classes by the mean of tables of probabilities (N, C).

    Of equal ones the lower class comes first. One table is held beside the sum.
    """
    rest = iter(tables)
    total = next(rest).astype(np.float64)
    for table in rest:
        total += table
    blocks = (-total[start : start + BLOCK] for start in range(0, len(total), BLOCK))
    return np.concatenate([np.argsort(p, axis=1, kind="stable")[:, :most] for p in blocks])


def error_rate(wrong: np.ndarray, note: str = "") -> Estimate:
    """Error rate in %, the mean where there are several trainings.

    One training: Wilson's interval over images. Several: for other images and other trainings.
    """
    count, n = wrong.shape
    if count == 1 or wrong.all() or not wrong.any():
        return replace(rate(int(wrong[0].sum()), n, 100, "%", note), trainings=count)
    one = crossed(wrong.astype(np.float64), note)
    assert one.low is not None
    assert one.high is not None
    return replace(one, low=max(0.0, one.low), high=min(100.0, one.high), unit="%")


def spread(wrong: np.ndarray) -> float | None:
    """Standard deviation (n - 1) of the trainings' error rates in points; None for a single one."""
    errors = wrong.sum(1)  # whole numbers: equal trainings have a spread of exactly 0
    return 100 * float(errors.std(ddof=1)) / wrong.shape[1] if len(wrong) > 1 else None


@dataclass(frozen=True)
class Difference:
    """Error rate of the first minus that of the second, in points, on the same images.

    `images`: with the interval over images. `trainings`: Student's over pairs of trainings with the
    same seed; `both`: over images and trainings; None where there is one pair only, or where one
    side is an ensemble. `only_first`, `only_second`: images that one of the first pair gets wrong
    alone; `p`: McNemar's exact test on them, two-sided.
    """

    images: Estimate
    trainings: Estimate | None
    both: Estimate | None
    only_first: int
    only_second: int
    p: float

    @property
    def widest(self) -> Estimate:
        """The interval that holds for new images, and for new trainings where several are known."""
        return self.both or self.images

    def record(self) -> dict[str, Any]:
        """As a row of a table: `images`, `trainings` and `both`, each with its ends; the test."""
        record: dict[str, Any] = {}
        for name in ("images", "trainings", "both"):
            record |= cells(name, getattr(self, name))
        record |= {"only_first": self.only_first, "only_second": self.only_second, "p": self.p}
        return record | {"invalid": self.widest.invalid}


def cells(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """An estimate as cells of a table: its value under `name`, its ends; all empty for None."""
    value, low, high = (estimate.value, estimate.low, estimate.high) if estimate else (None,) * 3
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def difference(first: np.ndarray, second: np.ndarray, seed: int, note: str = "") -> Difference:
    """Compare error matrices row by row.

    A single row against several is one ensemble: it is compared with each of the others, which are
    no pairs of independent trainings, so that the interval is over images alone.
    """
    change = first.astype(np.int8) - second.astype(np.int8)
    count = len(change)
    images = _weighed(change, seed, note)
    if images.low is None:
        return Difference(images, None, None, 0, 0, 1.0)
    trainings = both = None
    if count > 1 and len(first) == len(second):
        own = student_mean(100 * change.mean(1), "points", note, covers=(TRAININGS,))
        trainings = replace(own, trainings=count)
        both = crossed(change, note)
    only_first, only_second = int((change[0] > 0).sum()), int((change[0] < 0).sum())
    p = mcnemar(only_first, only_second)
    return Difference(images, trainings, both, only_first, only_second, p)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p value of McNemar's test (1947): are the two counts a fair coin's?"""
    from scipy.special import bdtr

    n = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), n, 0.5))) if n else 1.0


def combination(parts: Sequence[tuple[float, np.ndarray]], seed: int, note: str = "") -> Estimate:
    """Weighted sum of the error rates of several nets on the same images, in points.

    parts: (weight, errors (S, N)), all with the same S. Interval over images, and over trainings
    where there are several.
    """
    values = np.sum([weight * wrong for weight, wrong in parts], axis=0)
    if len(values) == 1 or not values.any():
        return _weighed(values, seed, note)
    return crossed(values, note)


def over_images(values: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap interval over images of 100 times the mean of `values` (S, N)."""
    rng = np.random.default_rng([seed, *values.shape, 21])
    low, high = percentiles(alike_means(values, rng, DRAWS))
    return 100 * float(low), 100 * float(high)


def crossed(values: np.ndarray, note: str = "") -> Estimate:
    """100 times the mean of `values` (S, N) in points, for new images and new trainings.

    Both are random, crossed effects: the mean's variance is (training + image - rest) / (S N) in
    mean squares of the analysis of variance, with Satterthwaite's (1946) degrees of freedom, which
    are few where the trainings differ more than the images tell. Trainings that differ less than
    chance lets them count as if they differed by chance: few that agree are no proof. A bootstrap
    of rows and columns would count the rest three times (Owen 2007).
    """
    from scipy.special import stdtrit

    count, n = values.shape
    mean = float(values.mean())
    training = n * float(values.mean(1).var(ddof=1))
    image = count * float(values.mean(0).var(ddof=1))
    freedom = count - 1, n - 1, (count - 1) * (n - 1)
    total = float(((values - mean) ** 2).sum())
    rest = max(0.0, total - freedom[0] * training - freedom[1] * image) / freedom[2]
    training = max(training, rest)
    square = training + image - rest
    parts = zip((training, image, rest), freedom, strict=True)
    degrees = square**2 / sum(each**2 / own for each, own in parts)
    half = float(stdtrit(degrees, 0.975)) * math.sqrt(square / (count * n))
    ends = 100 * (mean - half), 100 * (mean + half)
    over = (IMAGES, TRAININGS)
    return Estimate(100 * mean, *ends, n, "points", note, degrees, count, over)


def _weighed(values: np.ndarray, seed: int, note: str) -> Estimate:
    """100 times the mean of `values` (S, N) in points, with an interval over images."""
    count, n = values.shape
    if not values.any():
        return Estimate(0.0, n=n, unit="points", note=note, trainings=count).noting(NO_IMAGE)
    low, high = over_images(values, seed)
    return Estimate(100 * float(values.mean()), low, high, n, "points", note, trainings=count)
