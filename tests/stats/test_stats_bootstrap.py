from __future__ import annotations

import math

import numpy as np
import pytest

from zfnet.stats.bootstrap import (
    alike_means,
    bootstrap,
    bootstrap_mean,
    counted_means,
    counts,
    drawn,
    percentiles,
)

VALUES = np.random.default_rng(0).normal(size=200)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, 1])


def test_bootstrap_is_seeded_and_as_wide_as_the_standard_error() -> None:
    one, two = bootstrap_mean(VALUES, 1), bootstrap_mean(VALUES, 1)
    assert one == two != bootstrap_mean(VALUES, 2)
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.value < one.high
    assert one.high - one.low == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.2)


def test_strata_are_resampled_each_by_itself() -> None:
    groups = [VALUES, 10 + VALUES[:50]]
    found = bootstrap(groups, (3, 250, 7), weights=(-0.5, 0.5), covers=("maps",))
    assert found.value == pytest.approx((groups[1].mean() - groups[0].mean()) / 2)
    # 10 apart: were the groups mixed, the interval would be five times as wide
    se = math.sqrt((VALUES.var() / 200 + VALUES[:50].var() / 50) / 4)
    assert found.half == pytest.approx(1.96 * se, rel=0.1)
    assert (found.n, found.covers) == (250, ("maps",))


def test_too_few_units_have_no_interval() -> None:
    found = bootstrap_mean(np.array([3.0]), 0)
    assert (found.value, found.low, found.high, found.n) == (3.0, None, None, 1)
    nothing = bootstrap([VALUES, np.array([])], (0,), weights=(1, -1))
    assert math.isnan(nothing.value)
    assert nothing.low is None


def test_counts_and_indices_are_the_same_bootstrap() -> None:
    times = counts(200, rng(), 3000)
    assert (times.sum(1) == 200).all()
    by_count = counted_means(np.stack([VALUES, -VALUES], 1), times)
    expected = [np.repeat(VALUES, row).mean() for row in times[:5]]
    assert np.allclose(by_count[:5, 0], expected)
    assert by_count.shape == (3000, 2)
    assert np.allclose(by_count[:, 0], -by_count[:, 1])  # columns share their draws
    assert by_count[:, 0].std() == pytest.approx(drawn(VALUES, rng()).std(), rel=0.08)
    low, high = percentiles(by_count)
    assert low.shape == high.shape == (2,)


def test_counting_alike_columns_together_is_the_plain_bootstrap() -> None:
    wrong = np.random.default_rng(3).random((3, 150)) < 0.4
    together = alike_means(wrong.astype(np.int8), rng(), 20000)
    plain = drawn(wrong.mean(0), rng(), draws=20000)
    assert together.mean() == pytest.approx(plain.mean(), abs=1e-3)
    assert together.std() == pytest.approx(plain.std(), rel=0.03)
