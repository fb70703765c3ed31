"""One number of several trainings as one number of nets, against hand-computed cases and scipy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from zfnet.stats.estimate import IMAGES, MAPS, TRAININGS, Estimate
from zfnet.stats.trainings import over_trainings


def normal(value: float, deviation: float, covers: str = IMAGES) -> Estimate:
    """A number whose 95 % interval is a normal one of such a standard deviation."""
    half = stats.norm.ppf(0.975) * deviation
    return Estimate(value, value - half, value + half, covers=(covers,))


def test_trainings_that_differ_much_give_students_interval() -> None:
    values = [1.0, 2.0, 4.0, 5.0, 3.5]
    one = over_trainings([normal(v, 0.01) for v in values], shared=False)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (one.value, one.low, one.high) == pytest.approx((np.mean(values), low, high))
    assert (one.n, one.trainings, one.freedom, one.covers) == (5, 5, 4, (IMAGES, TRAININGS))


def test_trainings_that_agree_by_chance_are_no_surer_than_their_own_intervals() -> None:
    one = over_trainings([normal(2.0, 0.3, MAPS)] * 4, shared=False)
    assert one.half == pytest.approx(stats.norm.ppf(0.975) * 0.3 / 2)
    assert one.freedom == 3
    assert one.covers == (MAPS, TRAININGS)


def test_two_trainings_say_nothing_of_a_third() -> None:
    two = [normal(10.0, 0.3), normal(12.0, 0.3)]
    own, same = (over_trainings(two, shared=shared) for shared in (False, True))
    half = stats.norm.ppf(0.975) * 0.3
    assert (own.value, own.trainings, own.covers) == (11.0, 2, (IMAGES,))
    assert own.half == pytest.approx(half / math.sqrt(2))
    assert same.half == pytest.approx(half)


def test_the_same_images_move_all_trainings_alike() -> None:
    values = [1.0, 2.0, 4.0]
    one = over_trainings([normal(v, 0.5) for v in values], shared=True)
    between = np.var(values, ddof=1) / 3
    trainings, images = stats.t.ppf(0.975, 2) * math.sqrt(between), stats.norm.ppf(0.975) * 0.5
    assert one.half == pytest.approx(math.hypot(trainings, images), rel=1e-5)
    # as many degrees of freedom as say so of the two variances together
    factor = stats.t.ppf(0.975, one.freedom)
    assert factor * math.sqrt(between + 0.25) == pytest.approx(one.half, rel=1e-5)
    assert 2 < one.freedom < math.inf


@pytest.mark.parametrize("between", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("shared", [False, True])
def test_intervals_hold_the_truth_as_often_as_they_say(between: float, shared: bool) -> None:
    rng = np.random.default_rng(5)
    held, runs, k = 0, 500, 4
    for _ in range(runs):
        nets = rng.normal(0, between, k)
        noise = rng.normal(0, 1, 1 if shared else k)
        one = over_trainings([normal(v, 1.0) for v in nets + noise], shared=shared)
        held += one.low < 0 < one.high  # type: ignore[operator]
    assert held / runs > 0.935


def test_what_is_counted_and_equal_stays_as_it_is() -> None:
    field = Estimate(67, unit="px", note="of the architecture")
    assert over_trainings([field] * 3, shared=False) == replace(field, trainings=3)
    dead = over_trainings([Estimate(float(v), unit="maps") for v in (0, 2, 1)], shared=False)
    assert (dead.value, dead.covers) == (1, (TRAININGS,))
    assert dead.half == pytest.approx(stats.t.ppf(0.975, 2) / math.sqrt(3))


def test_numbers_that_are_not_known_are_left_out_with_a_word() -> None:
    unknown = Estimate(math.nan, note="no map")
    one = over_trainings([unknown, normal(1, 1), normal(2, 1)], shared=False)
    assert (one.value, one.trainings) == (1.5, 2)
    assert "of 1 it is not known" in one.note
    alone = over_trainings([unknown, normal(1, 1)], shared=False)
    assert (alone.value, alone.trainings, alone.half) == (1, 1, normal(1, 1).half)
    assert "of 1 trainings it is not known" in alone.note
    assert math.isnan(over_trainings([unknown] * 3, shared=False).value)


def test_trainings_without_an_interval_do_not_narrow_that_of_the_others() -> None:
    whole = [normal(v, 0.5) for v in (1.0, 2.0, 3.0, 4.0)]
    bare = [replace(one, low=None, high=None) for one in whole]
    for shared in (False, True):
        all_known = over_trainings(whole, shared=shared)
        some = over_trainings([*whole[:2], *bare[2:]], shared=shared)
        assert (some.low, some.high) == pytest.approx((all_known.low, all_known.high))


def test_one_training_that_is_no_evidence_makes_the_mean_none() -> None:
    noise = replace(normal(1, 1), invalid="mostly noise")
    assert over_trainings([normal(1, 1), noise, normal(2, 1)], shared=False).invalid


def test_two_intervals_without_width_stay_intervals() -> None:
    still = Estimate(0.0, 0.0, 0.0, 30)
    two = over_trainings([still, still], shared=False)
    assert (two.low, two.value, two.high) == (0, 0, 0)
    assert over_trainings([Estimate(1.0), Estimate(2.0)], shared=False).low is None
