"""Answers of several people to the same pictures, or to some of them. Arrays only.

Matrices (P, N) have a row a person and a column a picture, NaN where a person was not asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zfnet.stats.bootstrap import counts
from zfnet.stats.estimate import IMAGES, Estimate
from zfnet.stats.intervals import critical, rate
from zfnet.stats.paired import NO_IMAGE, crossed, over_images

PEOPLE = "people"  # what an interval may cover
NOBODY_ERRED = "one of the two made no error, or nothing but errors"


def over_people(values: np.ndarray, seed: int, note: str = "") -> Estimate:
    """100 times the mean over people of each one's mean of `values` (P, N), in points.

    One person: bootstrap interval over pictures. Several with the same pictures: for other pictures
    and other people, as `paired.crossed`. Several with different ones: the variances over people
    and over pictures are added; what both share counts twice, too wide rather than too narrow.
    """
    values = values[:, ~np.isnan(values).all(0)]
    own = np.nanmean(values, 1)
    people, n = values.shape
    mean = float(own.mean())
    several = (IMAGES, PEOPLE) if people > 1 else (IMAGES,)
    plain = Estimate(100 * mean, n=n, unit="points", note=note, covers=several)
    if np.nanmin(values) == np.nanmax(values):
        return plain.noting(NO_IMAGE)
    if people == 1:
        low, high = over_images(values, seed)
        return replace(plain, low=low, high=high)
    if not np.isnan(values).any():
        one = replace(crossed(values, note), trainings=1, covers=several)
        # errors that lie so evenly that nothing varies over people nor over pictures
        return one if one.df else plain.noting(NO_IMAGE)
    weights = ~np.isnan(values) / (people * (~np.isnan(values)).sum(1, keepdims=True))
    parts = np.nansum(weights * (values - own[:, None]), 0)
    over = float(own.var(ddof=1)) / people, float((parts**2).sum()) * n / (n - 1)
    if not sum(over):
        return plain.noting(NO_IMAGE)
    degrees = sum(over) ** 2 / sum(
        part**2 / free for part, free in zip(over, (people - 1, n - 1), strict=True)
    )
    half = 100 * critical(0.05, degrees) * math.sqrt(sum(over))
    return replace(plain, low=100 * mean - half, high=100 * mean + half, df=degrees)


def error_of(wrong: np.ndarray, seed: int, note: str = "") -> Estimate:
    """Mean over people of their error rates in %, as `over_people`; of one person Wilson's."""
    if len(wrong) == 1:
        known = wrong[0][~np.isnan(wrong[0])]
        return rate(int(known.sum()), len(known), 100, "%", note)
    one = replace(over_people(wrong, seed, note), unit="%")
    if one.low is None or one.high is None:
        return one
    return replace(one, low=max(0.0, one.low), high=min(100.0, one.high))


def consistency(pairs: Sequence[tuple[np.ndarray, np.ndarray]], seed: int) -> Estimate:
    """Error consistency (Geirhos et al. 2020), mean over pairs; bootstrap over pictures.

    pairs: whether each of two erred, (N,) float, NaN where not asked, all about the same N. Kappa
    is (o - e) / (1 - e): o the share of pictures on which both err or neither does, e what two that
    err independently would have. Where one of a pair never erred there is nothing to agree on: the
    pair is left out, and without any the value is NaN.
    """
    n = len(pairs[0][0])
    value = float(_mean_kappa(pairs, np.ones((1, n)))[0])
    estimate = Estimate(value, n=n, note="error consistency")
    if math.isnan(value):
        return estimate.noting(NOBODY_ERRED)
    times = counts(n, np.random.default_rng([seed, n, len(pairs), 22]))
    drawn = _mean_kappa(pairs, times.astype(np.float64))
    low, high = np.quantile(drawn[~np.isnan(drawn)], [0.025, 0.975])
    return replace(estimate, low=float(low), high=float(high))


def _mean_kappa(pairs: Sequence[tuple[np.ndarray, np.ndarray]], times: np.ndarray) -> np.ndarray:
    """(D,): mean over pairs where pictures count as often as `times` (D, N) says."""
    total, known = np.zeros(len(times)), np.zeros(len(times))
    for one, other in pairs:
        asked = (~np.isnan(one) & ~np.isnan(other)).astype(np.float64)
        columns = np.stack([asked, one * asked, other * asked, (one == other) * asked], 1)
        n, a, b, o = (times @ np.nan_to_num(columns)).T
        with np.errstate(invalid="ignore", divide="ignore"):
            a, b, o = a / n, b / n, o / n
            e = a * b + (1 - a) * (1 - b)
            kappa = (o - e) / (1 - e)
        fits = (n > 0) & (a > 0) & (a < 1) & (b > 0) & (b < 1)
        total += np.where(fits, kappa, 0)
        known += fits
    with np.errstate(invalid="ignore"):
        return np.asarray(total / known)
