"""The learning rate as a function of the recipe and the history. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def learning_rate(training: Mapping[str, Any], epoch: int, val_errors: Sequence[float]) -> float:
    """Rate of `epoch` (from 1), given the validation errors (%) of the epochs before it.

    A pure function of the history, so that a resumed run needs no state of a scheduler. "plateau"
    does what the paper's authors did by hand: when the error has not improved by `threshold` points
    for more than `patience` epochs, the rate is multiplied by `factor` and the count starts anew.
    "steps" multiplies by `factor` after each of the shares `at` of the training length.
    """
    rate = float(training["lr"])
    if training["schedule"] == "steps":
        steps = training["steps"]
        passed = [share for share in steps["at"] if epoch - 1 >= round(share * training["epochs"])]
        return float(rate * steps["factor"] ** len(passed))
    plateau = training["plateau"]
    best, bad = float("inf"), 0
    for error in val_errors[: epoch - 1]:
        if error < best - plateau["threshold"]:
            best, bad = error, 0
        else:
            bad += 1
        if bad > plateau["patience"]:
            rate, bad = rate * plateau["factor"], 0
    return rate
