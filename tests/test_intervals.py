from __future__ import annotations

import pytest

from zfnet.intervals import wilson


def test_wilson_interval_agrees_with_scipy() -> None:
    from scipy.stats import binomtest

    for count, n in ((0, 10), (3, 10), (600, 600), (231, 600)):
        low, high = wilson(count, n)
        other = binomtest(count, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((other.low, other.high), abs=1e-6)
