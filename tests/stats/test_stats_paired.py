"""Rates, differences and tests against cases worked out by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import stdtrit

from zfnet.stats import paired
from zfnet.stats.paired import (
    combination,
    crossed,
    difference,
    error_rate,
    mcnemar,
    mean_top,
    spread,
)


def errors(n, *places):
    """bool (S, N): wrong at the given places, one list a training."""
    found = np.zeros((len(places), n), bool)
    for row, where in zip(found, places, strict=True):
        row[where] = True
    return found


# ------------------------------------------------------------------------------------ averages


def test_the_mean_is_of_the_probabilities_not_of_the_votes(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK", 1)
    # two nets lean to class 1 by a little, one is sure of class 0; equals go to the lower class
    equal = [1 / 3] * 3
    tables = np.array([[[0.45, 0.55, 0], equal], [[0.45, 0.55, 0], equal], [[0.9, 0.1, 0], equal]])
    assert mean_top(iter(tables), 2).tolist() == [[0, 1], [0, 1]]


# --------------------------------------------------------------------------------------- rates
def test_one_trainings_rate_has_wilsons_interval():
    rate = error_rate(errors(100, range(10)))
    assert (rate.value, rate.n, rate.unit, rate.trainings) == (pytest.approx(10.0), 100, "%", 1)
    assert (rate.low, rate.high) == pytest.approx((5.52, 17.44), abs=0.01)


def test_several_trainings_rate_is_their_mean_over_the_same_images():
    wrong = errors(100, range(10), range(30))
    rate = error_rate(wrong)
    assert rate.value == pytest.approx(20.0)
    assert crossed(wrong.astype(float)).low < 0  # an error rate's interval ends at 0
    assert (rate.low, rate.trainings, rate.covers) == (0, 2, ("images", "trainings"))
    assert error_rate(errors(100, [], [])).low == 0
    assert error_rate(errors(100, [], [])).high == pytest.approx(3.70, abs=0.01)  # Wilson's
    assert spread(wrong) == pytest.approx(np.std([10, 30], ddof=1))
    assert spread(wrong[:1]) is None


# --------------------------------------------------------------------------------- differences
def test_a_difference_counts_only_the_images_that_differ():
    first, second = errors(200, range(50)), errors(200, range(20, 80))
    found = difference(first, second, seed=0)
    assert found.images.value == pytest.approx(-5.0)
    assert (found.only_first, found.only_second) == (20, 30)
    # variance of the mean of (20 times +1, 30 times -1, 150 times 0)
    se = 100 * np.sqrt((50 / 200 - 0.05**2) / 200)
    assert found.images.half / (1.96 * se) == pytest.approx(1, abs=0.06)
    assert (found.trainings, found.both) == (None, None)
    assert found.widest is found.images
    assert difference(first, second, seed=0) == found != difference(first, second, seed=6)


def test_over_trainings_and_both():
    rng = np.random.default_rng(1)
    first = np.stack([rng.random(300) < p for p in (0.30, 0.36, 0.33)])
    second = np.stack([rng.random(300) < p for p in (0.20, 0.20, 0.20)])
    found = difference(first, second, seed=0)
    gaps = 100 * (first.mean(1) - second.mean(1))
    own = found.trainings
    assert (own.n, own.trainings, own.covers) == (3, 3, ("trainings",))
    assert own.value == pytest.approx(gaps.mean())
    assert own.half == pytest.approx(4.302653 * gaps.std(ddof=1) / np.sqrt(3), rel=1e-4)
    assert found.both.value == pytest.approx(found.images.value)
    assert found.both.half > found.images.half
    assert (found.both.n, found.both.trainings) == (300, 3)
    assert found.both.covers == ("images", "trainings")
    assert found.widest is found.both


def test_one_ensemble_has_no_interval_over_trainings():
    rng = np.random.default_rng(4)
    members = rng.random((3, 400)) < np.array([[0.2], [0.3], [0.4]])
    ensemble = (members.sum(0) > 1)[None]
    found = difference(ensemble, members, seed=0)
    assert (found.trainings, found.both, found.record()["both"]) == (None, None, None)
    mean = 100 * (ensemble.mean() - members.mean())
    assert found.images.value == pytest.approx(mean)
    # images resampled, the nets as they are: 1.96 standard errors of the mean over them
    se = 100 * (ensemble - members.mean(0)).std() / 20
    assert found.images.half / (1.96 * se) == pytest.approx(1, abs=0.06)
    assert (found.images.trainings, found.images.covers) == (3, ("images",))
    assert found.images.freedom == 399
    assert difference(members, ensemble, seed=0).images.value == pytest.approx(-mean)
    # the same rows as pairs of trainings are far less sure
    assert difference(np.repeat(ensemble, 3, 0), members, seed=0).both is not None


def test_equal_predictions_have_no_interval():
    wrong = errors(50, [1, 2])
    found = difference(wrong, wrong, seed=0)
    assert (found.images.value, found.images.low, found.p) == (0.0, None, 1.0)
    same = combination([(1.0, wrong), (-1.0, wrong)], seed=0)
    assert (same.value, same.low, same.high) == (0.0, None, None)


# ------------------------------------------------------------------------ images and trainings
def test_the_interval_over_both_is_the_analysis_of_variance_by_hand():
    change = np.array([[0, 1, 0, 1], [1, 0, 1, 1]])
    found, mean = crossed(change), 5 / 8
    # means of the trainings 4/8 and 6/8, of the images 1/2, 1/2, 1/2, 1
    net, image = 4 * (1 / 8) ** 2 * 2 / 1, 2 * (3 * (1 / 8) ** 2 + (3 / 8) ** 2) / 3
    total = 5 * (3 / 8) ** 2 + 3 * (5 / 8) ** 2
    rest = (total - net - 3 * image) / 3
    assert net < rest  # the trainings' spread is no more than the rest explains: it counts as that
    assert found.df == pytest.approx(image**2 / (rest**2 + (image**2 + rest**2) / 3))
    assert found.half == pytest.approx(100 * stdtrit(found.df, 0.975) * np.sqrt(image / 8))
    assert found.value == pytest.approx(100 * mean)
    found = crossed(change + np.array([[0], [2]]))
    net = 4 * (9 / 8) ** 2 * 2
    square = net + image - rest
    assert found.df == pytest.approx(square**2 / (net**2 + (image**2 + rest**2) / 3))
    assert found.half == pytest.approx(100 * stdtrit(found.df, 0.975) * np.sqrt(square / 8))
    assert found.value == pytest.approx(100 * (1 + mean))


@pytest.mark.parametrize(("nets", "images", "rest"), [(0.02, 0.3, 0.3), (0.0, 0.2, 0.4)])
def test_the_interval_over_both_covers_what_it_should(nets, images, rest):
    rng = np.random.default_rng(7)
    within = 0
    for _ in range(400):
        values = (
            nets * rng.normal(size=(3, 1))
            + images * rng.normal(size=(1, 80))
            + rest * rng.normal(size=(3, 80))
        )
        found = crossed(values)
        within += found.low < 0 < found.high
    assert 0.92 <= within / 400 <= 0.995


@pytest.mark.parametrize(("apart", "least", "most"), [(0.2, 0, 3), (0.0, 30, 1e9)])
@pytest.mark.parametrize("images", [40, 3000])
def test_degrees_of_freedom_are_few_where_trainings_differ(apart, least, most, images):
    rng = np.random.default_rng(images)
    rates = 0.3 + apart * np.array([[-1], [0], [1]])
    hard = rng.random(images)  # which images are, for all trainings alike
    first = hard + rng.normal(0, 0.002, (3, images)) < rates
    second = np.repeat(rng.random((1, images)) < 0.2, 3, 0)
    for found in (
        difference(first, second, seed=0).both,
        combination([(1.0, first), (-1.0, second)], seed=0),
    ):
        assert least < found.df < most
        assert found.trainings == 3


# ------------------------------------------------------------------------------ several nets
def test_a_combination_of_four_nets():
    full, one, other = errors(100, range(10)), errors(100, range(20)), errors(100, range(15))
    both = errors(100, range(60))
    parts = [(1.0, both), (-1.0, one), (-1.0, other), (1.0, full)]
    found = combination(parts, seed=0)
    assert found.value == pytest.approx(60 - 20 - 15 + 10)
    # images 10 to 14: all but the full net are wrong; 20 to 59: `both` alone; else they cancel
    se = 100 * np.std([0] * 15 + [-1] * 5 + [1] * 40 + [0] * 40) / 10
    assert found.half / (1.96 * se) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("counts", [(0, 0), (0, 6), (3, 8), (5, 5)])
def test_mcnemar_against_counting_every_outcome(counts):
    n = sum(counts)
    extreme = abs(counts[0] - n / 2)
    as_far = sum(abs(sum(coins) - n / 2) >= extreme for coins in product((0, 1), repeat=n))
    assert mcnemar(*counts) == mcnemar(*counts[::-1]) == pytest.approx(as_far / 2**n)
