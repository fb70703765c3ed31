"""Error rates of trained nets and of averages of them, and how much two differ. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from zfnet.models.trained import VIEWS, TrainedNet, Training
from zfnet.results import Table
from zfnet.stats.estimate import AT_CHANCE, STILL_LEARNING, Estimate, in_words
from zfnet.stats.paired import Difference, cells, difference, error_rate


class Errors(Protocol):
    """What is compared: one net with its trainings, or several trainings averaged."""

    @property
    def trainings(self) -> Sequence[Training]:
        """All that it rests on."""

    def wrong(self, view: str, guesses: int = 1) -> np.ndarray:
        """(S, N) bool."""


def rate_of(own: Errors, view: str, guesses: int = 1) -> Estimate:
    """Error rate in % as `paired.error_rate`, invalid if it rests on a training at chance."""
    return marked(error_rate(own.wrong(view, guesses), VIEWS[view]), own.trainings)


def gap_of(first: Errors, second: Errors, view: str, seed: int, note: str) -> Difference:
    """Top-1 error of the first minus the second's as `paired.difference`, invalid as in `rate_of`.

    Two nets are compared over the seeds that both have.
    """
    if isinstance(first, TrainedNet) and isinstance(second, TrainedNet):
        first, second = in_common(first, second)
    gap = difference(first.wrong(view), second.wrong(view), seed, f"{note}, {VIEWS[view]}")
    trainings = [*first.trainings, *second.trainings]
    both = gap.both and marked(gap.both, trainings)
    return replace(gap, images=marked(gap.images, trainings), both=both)


def by_training(pairs: Mapping[str, tuple[TrainedNet, TrainedNet]], view: str) -> Table:
    """What each pair of trainings gives, a row a key and seed: the difference of their errors.

    pairs: the first net less the second, by key. With the columns of `studies.trainings`.
    """
    rows = []
    for key, nets in pairs.items():
        first, second = in_common(*nets)
        change = 100 * (first.wrong(view).mean(1) - second.wrong(view).mean(1))
        for i, (training, value) in enumerate(zip(first.trainings, change, strict=True)):
            own = difference(first.wrong(view)[i : i + 1], second.wrong(view)[i : i + 1], 0).images
            one = marked(replace(own, value=float(value)), [training, second.trainings[i]])
            rows.append(
                {"key": key, "seed": training.seed} | cells("value", one) | {"invalid": one.invalid}
            )
    return Table.of(rows, ("key", "seed", *cells("value", None), "invalid"))


def marked(estimate: Estimate, trainings: Iterable[Training]) -> Estimate:
    """The estimate, invalid where one of the trainings behind it is no evidence.

    They stayed at chance, or, of a difference of two nets' errors, were still learning.
    """
    trainings = list(trainings)
    for state, ended in ((AT_CHANCE, "at_chance"), (STILL_LEARNING, "still_learning")):
        nets = sorted({each.net for each in trainings if getattr(each, ended)})
        if nets and (state == AT_CHANCE or estimate.unit == "points"):
            return replace(estimate, invalid=state).noting(f"{in_words(nets)}: {state}")
    return estimate


def in_common(*nets: TrainedNet) -> list[TrainedNet]:
    """The nets with the trainings of the seeds that all share; without any, the first of each."""
    shared = [seed for seed in nets[0].seeds if all(seed in net.seeds for net in nets)]
    places = [[net.seeds.index(seed) for seed in shared] or [0] for net in nets]
    return [
        replace(net, trainings=[net.trainings[place] for place in own])
        for net, own in zip(nets, places, strict=True)
    ]
