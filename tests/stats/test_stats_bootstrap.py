import numpy as np
import pytest

from zfnet.stats.bootstrap import bootstrap_mean, student_mean


def test_student_interval_is_the_textbooks():
    told = student_mean(np.array([1.0, 2.0, 3.0, 4.0]))
    # t(3, 0.975) = 3.18245; standard error = 1.29099 / 2
    assert told.value == 2.5
    assert told.high - 2.5 == pytest.approx(3.18245 * 1.29099 / 2, rel=1e-4)
    assert told.n == 4


def test_student_leaves_out_the_unknown_and_keeps_to_the_limits():
    told = student_mean(np.array([0.9, 1.0, np.nan]), limits=(0, 1))
    assert told.n == 2
    assert told.high == 1.0


def test_one_member_has_no_interval_and_says_so():
    for told in (student_mean(np.array([3.0])), bootstrap_mean(np.array([3.0]), 0)):
        assert (told.value, told.low, told.high) == (3.0, None, None)
        assert "too few" in told.note


def test_bootstrap_is_seeded_and_holds_the_mean():
    values = np.random.default_rng(0).normal(size=200)
    one, two = bootstrap_mean(values, 1), bootstrap_mean(values, 1)
    assert one == two
    assert one.low < one.value < one.high
    assert one.high - one.low == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.2)
