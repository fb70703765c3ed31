from __future__ import annotations

import math

import numpy as np
import pytest

from zfnet.stats.intervals import holm, rate, student_mean, wilson


def test_wilson_interval_agrees_with_scipy() -> None:
    from scipy.stats import binomtest

    for count, n in ((0, 10), (3, 10), (600, 600), (231, 600)):
        low, high = wilson(count, n)
        other = binomtest(count, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((other.low, other.high), abs=1e-6)


def test_a_rate_in_percent_and_as_a_count() -> None:
    # the textbook's interval of 10 in 100: 5.52 to 17.44 %
    found = rate(10, 100, 100, "%")
    assert (found.value, found.n, found.unit) == (10, 100, "%")
    assert (found.low, found.high) == pytest.approx((5.52, 17.44), abs=0.01)
    assert rate(10, 50, 50).value == 10
    assert math.isnan(rate(0, 0).value)


def test_student_interval_is_the_textbooks() -> None:
    found = student_mean(np.array([1.0, 2.0, 3.0, 4.0]))
    # t(3, 0.975) = 3.18245; standard error = 1.29099 / 2
    assert (found.value, found.n) == (2.5, 4)
    assert found.half == pytest.approx(3.18245 * 1.29099 / 2, rel=1e-4)


def test_student_leaves_out_the_unknown_and_keeps_to_the_limits() -> None:
    found = student_mean(np.array([0.9, 1.0, np.nan]), limits=(0, 1))
    assert (found.n, found.high) == (2, 1.0)
    assert student_mean(np.array([3.0])).low is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9]) == [0.9]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
