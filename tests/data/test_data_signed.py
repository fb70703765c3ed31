import numpy as np
import pytest

from zfnet.data.signed import ZERO, signed_scale, signed_to_rgb


def test_zero_is_grey_and_the_scale_is_symmetric():
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert signed_to_rgb(x, scale=2.0).tolist() == [1, 64, ZERO, 192, 255]
    assert np.array_equal(
        signed_to_rgb(-x, scale=2.0).astype(int) - ZERO,
        ZERO - signed_to_rgb(x, scale=2.0).astype(int),
    )


def test_values_beyond_the_scale_saturate():
    assert signed_to_rgb(np.array([-9.0, 9.0]), scale=1.0).tolist() == [1, 255]


def test_dead_projection_is_plain_grey():
    assert (signed_to_rgb(np.zeros((5, 5, 3))) == ZERO).all()
    assert signed_scale(np.zeros(0)) == 0.0


def test_scale_is_the_quantile_unless_that_is_zero():
    x = np.zeros(1000)
    x[:4] = 7.0
    assert signed_scale(x) == 7.0  # the 99.5 % quantile is 0: nearly all is zero
    x = np.linspace(-1, 1, 2001)
    assert signed_scale(x) == pytest.approx(0.995, abs=2e-3)
