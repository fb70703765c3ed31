import numpy as np
import pytest

from zfnet.data.signed import ZERO, signed_scale, signed_to_rgb


def test_zero_is_grey_the_scale_symmetric_and_what_lies_beyond_saturates():
    x = np.array([-9.0, -2.0, -1.0, 0.0, 1.0, 2.0, 9.0])
    assert signed_to_rgb(x, scale=2.0).tolist() == [1, 1, 64, ZERO, 192, 255, 255]
    assert (signed_to_rgb(np.zeros((5, 5, 3))) == ZERO).all()  # a dead projection


def test_scale_is_the_quantile_unless_that_is_zero():
    x = np.zeros(1000)
    x[:4] = 7.0
    assert signed_scale(x) == 7.0  # the 99.5 % quantile is 0: nearly all is zero
    assert signed_scale(np.linspace(-1, 1, 2001)) == pytest.approx(0.995, abs=2e-3)
    assert signed_scale(np.zeros(0)) == 0.0
