"""The one bootstrap: units of inference drawn again with replacement, within strata (Efron 1979).

`drawn` takes units by index, for any statistic of a few thousand units. `counts` says how often
each unit was drawn, for means of many columns under the same draws (`counted_means`), which makes
differences between columns paired. Draws depend on the generator alone: on its key, that is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zfnet.stats.estimate import IMAGES, Estimate

DRAWS = 2000
TOO_FEW = "too few for an interval"
STRETCH = 2048  # units weighed at a time
Statistic = Callable[[np.ndarray], np.ndarray]  # along the last axis


def mean(values: np.ndarray) -> np.ndarray:
    """Mean along the last axis."""
    return np.asarray(values.mean(-1))


def percentiles(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends (...) of the 95 % percentile interval of draws (D, ...)."""
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return low, high


def drawn(
    values: np.ndarray, rng: np.random.Generator, statistic: Statistic = mean, draws: int = DRAWS
) -> np.ndarray:
    """(draws,): `statistic` of samples of `values` (n,), as large as it."""
    n = len(values)
    return statistic(values[rng.integers(n, size=(draws, n))])


def counts(n: int, rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """(draws, n) uint8: how often each of n units is in each sample."""
    even = np.full(n, 1 / n)
    times = np.empty((draws, n), np.uint8)  # a byte is enough; 50,000 images are 100 MB
    for row in times:
        row[:] = rng.multinomial(n, even)
    return times


def counted_means(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(draws, ...): means of `values` (n, ...) over each sample of `times` (draws, n)."""
    n, draws = len(values), len(times)
    flat = values.reshape(n, -1)
    total = np.zeros((draws, flat.shape[1]))
    for i in range(0, n, STRETCH):
        stretch = times[:, i : i + STRETCH].astype(np.float64)
        total += stretch @ flat[i : i + STRETCH].astype(np.float64)
    return (total / n).reshape(draws, *values.shape[1:])


def alike_means(values: np.ndarray, rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """(draws,): mean over samples of the n columns of `values` (S, n) of the columns' means.

    Columns that are alike are counted together: where the values are few (right, wrong), the cost
    does not grow with n.
    """
    n = values.shape[1]
    kinds, times = np.unique(values, axis=1, return_counts=True)
    return np.asarray(rng.multinomial(n, times / n, size=draws) / n @ kinds.mean(0))


def bootstrap(
    groups: Sequence[np.ndarray],
    key: Sequence[int],
    *,
    weights: Sequence[float] = (1.0,),
    statistic: Statistic = mean,
    draws: int = DRAWS,
    unit: str = "",
    note: str = "",
    covers: tuple[str, ...] = (IMAGES,),
) -> Estimate:
    """Sum over groups of weight times `statistic`, each group (n,) resampled by itself.

    `key`: of the generator, which all groups share in their order. n counts the units of all
    groups. Not a number where a group has no members; no interval for fewer than two units.
    """
    n = sum(len(group) for group in groups)
    own = [np.asarray(group, np.float64) for group in groups]
    if not own or any(len(group) == 0 for group in own):
        nothing = Estimate(float("nan"), n=n, unit=unit, note=note, covers=covers)
        return nothing.noting("nothing to measure" if len(own) > 1 else TOO_FEW)
    value = float(sum(w * statistic(group) for w, group in zip(weights, own, strict=True)))
    estimate = Estimate(value, n=n, unit=unit, note=note, covers=covers)
    if n < 2:
        return estimate.noting(TOO_FEW)
    rng = np.random.default_rng(list(key))
    samples = np.zeros(draws)
    for weight, group in zip(weights, own, strict=True):
        samples += weight * drawn(group, rng, statistic, draws)
    low, high = percentiles(samples)
    return Estimate(value, float(low), float(high), n, unit, note, covers=covers)


def bootstrap_mean(
    values: np.ndarray,
    seed: int,
    unit: str = "",
    note: str = "",
    draws: int = DRAWS,
    covers: tuple[str, ...] = (IMAGES,),
) -> Estimate:
    """Mean of `values` (n,) with its interval over them."""
    key = (seed, len(values), 2)
    return bootstrap([values], key, draws=draws, unit=unit, note=note, covers=covers)
