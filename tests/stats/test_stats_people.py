"""Means over people and error consistency, against cases worked out by hand and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zfnet.stats.paired import crossed, difference
from zfnet.stats.people import PEOPLE, consistency, error_of, over_people

NAN = np.nan


def test_one_person_is_compared_over_pictures():
    rng = np.random.default_rng(0)
    net, person = rng.random((2, 1, 80)) < 0.3
    one = over_people(net * 1.0 - person, 5)
    assert one == difference(net, person, 5).images
    assert error_of(person * 1.0, 5).covers == ("images",)


def test_people_with_the_same_pictures_are_crossed_with_them():
    values = (np.random.default_rng(1).random((4, 60)) < 0.3) * 1.0
    one, same = over_people(values, 0), crossed(values)
    assert (one.value, one.low, one.high, one.df) == (same.value, same.low, same.high, same.df)
    assert one.covers == ("images", PEOPLE)
    assert one.trainings == 1


def test_people_with_different_pictures_count_alike():
    values = np.array([[1.0, 1, 0, 0, NAN, NAN, NAN], [NAN, NAN, NAN, 0, 0, 0, 1]])
    one = over_people(values, 0)
    assert one.value == pytest.approx(100 * (2 / 4 + 1 / 4) / 2)
    assert one.n == 7
    assert one.low < one.value < one.high
    nobody = np.full((2, 3), NAN)
    assert over_people(np.hstack([values, nobody]), 0) == one  # pictures that nobody saw


def test_intervals_of_different_pictures_hold_what_they_promise():
    """People with an own rate, pictures with an own difficulty, two thirds of them each."""
    rng, held, draws = np.random.default_rng(2), 0, 200
    for _ in range(draws):
        p = 0.3 + 0.1 * rng.standard_normal((5, 1)) + 0.15 * rng.standard_normal((1, 90))
        values = (rng.random((5, 90)) < p) * 1.0
        values[rng.random(values.shape) < 1 / 3] = NAN
        one = over_people(values, 0)
        held += one.low <= 30 <= one.high
    assert held / draws >= 0.93


@pytest.mark.parametrize("people", [1, 3])
def test_nothing_that_differs_has_no_interval(people):
    one = over_people(np.zeros((people, 40)), 0)
    assert (one.value, one.low) == (0, None)
    even = np.tile(np.eye(2), 20)  # each errs at what the other gets right
    assert over_people(even, 0).low is None


def test_kappa_by_hand():
    # both err on 2, neither on 5, one alone on 2, the other alone on 1
    one = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0.0])
    other = np.array([1, 1, 0, 0, 1, 0, 0, 0, 0, 0.0])
    o, e = 0.7, 0.4 * 0.3 + 0.6 * 0.7
    assert consistency([(one, other)], 0).value == pytest.approx((o - e) / (1 - e))
    assert consistency([(one, one)], 0).value == 1
    assert consistency([(one, 1 - one)], 0).value < 0
    more = np.append(one, [1, NAN]), np.append(other, [NAN, 0])  # seen by one alone
    assert consistency([more], 0).value == pytest.approx((o - e) / (1 - e))
    mean = consistency([(one, other), (one, one)], 0)
    assert mean.value == pytest.approx(((o - e) / (1 - e) + 1) / 2)


def test_without_errors_there_is_nothing_to_agree_on():
    wrong = np.array([1, 0, 0, 1.0])
    for other in (np.zeros(4), np.ones(4)):
        assert math.isnan(consistency([(wrong, other)], 0).value)
    assert consistency([(wrong, np.zeros(4)), (wrong, wrong)], 0).value == 1


def test_independent_errors_have_no_kappa():
    rng, held = np.random.default_rng(3), 0
    for seed in range(60):
        one, other = (rng.random((2, 200)) < 0.3) * 1.0
        kappa = consistency([(one, other)], seed)
        held += kappa.low <= 0 <= kappa.high
    assert held >= 53
