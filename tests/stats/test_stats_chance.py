"""When a net counts as guessing."""

import math

import pytest

from zfnet.stats.chance import at_chance, fall_before_drop, still_learning


def test_near_the_entropy_of_the_classes_is_guessing() -> None:
    assert at_chance(math.log(10), 10)
    assert at_chance(0.96 * math.log(10), 10)
    assert not at_chance(0.94 * math.log(10), 10)
    assert not at_chance(0.96 * math.log(10), 10, within=0.01)


def test_a_net_whose_loss_still_falls_is_still_learning() -> None:
    flat, rates = [2.3, 1.5, 0.9, 0.6, 0.55, 0.5, 0.48, 0.2], [0.01] * 7 + [0.001]
    # the last quarter of eight epochs, before the drop: from 0.55 to 0.48, less than 5 % of log(10)
    assert fall_before_drop(flat, rates, 10) == pytest.approx(0.07)
    assert not still_learning(flat, rates, 10)
    falling = [2.3, 2.2, 2.1, 1.9, 1.7, 1.4, 1.1, 0.4]  # from 1.7 to 1.1
    assert still_learning(falling, rates, 10)
    assert still_learning(falling, [0.01] * 8, 10)  # without a drop to the very end


def test_a_rate_that_falls_too_early_does_not_hide_that_a_net_learns() -> None:
    losses, rates = [2.0, 1.5, 1.1, 1.0, 0.99, 0.98, 0.97, 0.96], [0.01] * 3 + [0.001] * 5
    assert still_learning(losses, rates, 10)
    dropped_twice = [0.01] * 3 + [0.001] * 3 + [0.0001] * 2
    assert still_learning(losses, dropped_twice, 10)


def test_what_a_drop_of_the_rate_gains_is_no_sign_of_learning() -> None:
    losses, rates = [1.0, 0.9, 0.88, 0.87, 0.3, 0.29, 0.28, 0.27], [0.01] * 4 + [0.001] * 4
    assert not still_learning(losses, rates, 10)


def test_a_net_with_nothing_left_to_learn_has_learned_and_one_that_is_stuck_has_not() -> None:
    rates = [0.01] * 3
    assert not still_learning([2.0, 1.0, 0.1], rates, 10)
    assert still_learning([1.5, 1.5, 1.5], rates, 10)  # above half of log(10)
    assert not still_learning([1.1, 1.1, 1.1], rates, 10)


def test_a_single_epoch_is_compared_with_guessing() -> None:
    assert still_learning([1.0], [0.01], 10)
