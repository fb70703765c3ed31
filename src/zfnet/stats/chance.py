"""When a net counts as guessing, and when as still learning."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zfnet.stats.estimate import AT_CHANCE, STILL_LEARNING

TRAINED = "trained"  # how a training ended, if neither at chance nor still learning
LAST = 0.25  # of the run: over so much of it the fall of the loss is taken
# Of log(classes), what guessing costs: a net whose loss falls by more is still learning, unless
# less than that is left; one that ends above half of it is stuck rather than done.
FALL, STUCK = 0.05, 0.5
GUESSES = 0.05  # of log(classes): a loss that lies no further below it is that of guessing


def at_chance(train_loss: float, classes: int, within: float = GUESSES) -> bool:
    """Whether a training loss (nat) is still within 5 % of log(classes), that of guessing.

    1 % would be too little: a net that began to learn and fell back to guessing ended at 2 %.
    """
    return train_loss > (1 - within) * math.log(classes)


def still_learning(losses: Sequence[float], rates: Sequence[float], classes: int) -> bool:
    """Whether a training ended before its net had learned: more epochs would change its errors.

    A net has learned if less than FALL of log(classes) is left of its loss; or if its loss is below
    STUCK of log(classes) and fell by no more than FALL of it over the last quarter of the run at
    the first rate. Arguments as in `fall_before_drop`.
    """
    guessing = math.log(classes)
    if losses[-1] <= FALL * guessing:
        return False
    fall = fall_before_drop(losses, rates, classes)
    return losses[-1] > STUCK * guessing or fall > FALL * guessing


def ended(losses: Sequence[float], rates: Sequence[float], classes: int) -> str:
    """TRAINED, STILL_LEARNING or AT_CHANCE. Arguments as in `fall_before_drop`."""
    if at_chance(losses[-1], classes):
        return AT_CHANCE
    return STILL_LEARNING if still_learning(losses, rates, classes) else TRAINED


def first_drop(rates: Sequence[float]) -> int | None:
    """After how many epochs the rate first fell; None if it never did."""
    return next((i for i in range(1, len(rates)) if rates[i] < rates[i - 1]), None)


def fall_before_drop(losses: Sequence[float], rates: Sequence[float], classes: int) -> float:
    """By how much (nat) the loss fell before the rate first did, over a quarter of the run.

    losses: training loss (nat) of each epoch, or of equal stretches of steps; rates: the learning
    rate of each. What a drop of the rate gains does not count: every net gains then, and one whose
    rate falls too early seems done. Before the first epoch the loss is that of guessing.
    """
    end = first_drop(rates) or len(losses)  # losses[end] is the first at a lower rate
    before = [math.log(classes), *losses][: end + 1]
    stretch = math.ceil(LAST * len(losses))
    return before[max(0, end - stretch)] - before[-1]
