"""When a net counts as guessing, and when as still learning."""

from __future__ import annotations

import math
from collections.abc import Sequence

LAST = 0.25  # of the run: over so much of it the fall of the loss is taken
FALL = (
    0.05  # of log(classes), what guessing costs: a net whose loss falls by more is still learning
)


def at_chance(train_loss: float, classes: int, within: float = 0.05) -> bool:
    """Whether a training loss (nat) is still within 5 % of log(classes), that of guessing.

    1 % would be too little: a net that began to learn and fell back to guessing ended at 2 %.
    """
    return train_loss > (1 - within) * math.log(classes)


def still_learning(losses: Sequence[float], rates: Sequence[float], classes: int) -> bool:
    """Whether a training ended before its net had learned what it learns at that rate.

    losses: training loss (nat) of each epoch, or of equal stretches of steps; rates: the learning
    rate of each. At the rate before its last drop, over the last quarter of the run, the loss must
    have fallen by no more than FALL of log(classes). What a drop of the rate itself gains does not
    count. Before the first epoch the loss is that of guessing.
    """
    guessing = math.log(classes)
    drops = [i for i in range(1, len(rates)) if rates[i] < rates[i - 1]]
    end = drops[-1] if drops else len(losses)  # losses[end] is the first at the last rate
    before = [guessing, *losses][: end + 1]
    stretch = math.ceil(LAST * len(losses))
    return before[max(0, end - stretch)] - before[-1] > FALL * guessing
