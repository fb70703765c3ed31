"""Error rates of trained nets and of averages of them, and how much two differ. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from zfnet.models.trained import VIEWS, TrainedNet, Training
from zfnet.results import TRAINING_COLUMNS, Table, training_row
from zfnet.stats.estimate import AT_CHANCE, STILL_LEARNING, Estimate, in_words
from zfnet.stats.paired import Difference, difference, error_rate


class Errors(Protocol):
    """What is compared: one net with its trainings, or several trainings averaged."""

    @property
    def trainings(self) -> Sequence[Training]:
        """All that it rests on."""

    def wrong(self, view: str, guesses: int = 1) -> np.ndarray:
        """(S, N) bool."""


def rate_of(own: Errors, view: str, guesses: int = 1) -> Estimate:
    """Error rate in % as `paired.error_rate`, invalid if it rests on a training at chance."""
    return marked(error_rate(own.wrong(view, guesses), VIEWS[view]), own.trainings, compared=False)


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

    pairs: the first net less the second, by key.
    """
    rows = []
    for key, nets in pairs.items():
        for pair in zip(*(net.trainings for net in in_common(*nets)), strict=True):
            one, other = (replace(n, trainings=[t]) for n, t in zip(nets, pair, strict=True))
            gap = gap_of(one, other, view, 0, key).images
            rows.append(training_row(key, pair[0].seed, gap))
    return Table.of(rows, TRAINING_COLUMNS)


def marked(estimate: Estimate, trainings: Iterable[Training], *, compared: bool = True) -> Estimate:
    """The estimate, invalid where one of the trainings behind it is no evidence.

    They stayed at chance or, where nets are compared, were still learning.
    """
    trainings = list(trainings)
    for state in (AT_CHANCE, STILL_LEARNING) if compared else (AT_CHANCE,):
        nets = sorted({each.net for each in trainings if each.ended == state})
        if nets:
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
