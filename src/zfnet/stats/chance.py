"""When a net counts as guessing."""

from __future__ import annotations

import math


def at_chance(train_loss: float, classes: int, within: float = 0.05) -> bool:
    """Whether a training loss (nat) is still within 5 % of log(classes), that of guessing.

    1 % would be too little: a net that began to learn and fell back to guessing ended at 2 %.
    """
    return train_loss > (1 - within) * math.log(classes)
