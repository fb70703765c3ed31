from __future__ import annotations

import pytest

from zfnet.stats.intervals import holm, wilson


def test_wilson_interval_agrees_with_scipy() -> None:
    from scipy.stats import binomtest

    for count, n in ((0, 10), (3, 10), (600, 600), (231, 600)):
        low, high = wilson(count, n)
        other = binomtest(count, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((other.low, other.high), abs=1e-6)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9]) == [0.9]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
