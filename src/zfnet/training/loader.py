"""Batches prefetched by threads, and how many of them a process may start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

from zfnet.data.datasets import Batch
from zfnet.data.prefetch import prefetch
from zfnet.training.processes import share_of_cores


class Loader:
    """Iterates over `batches()`, prefetching each with `read`, in order, by `threads`.

    `batches` is called when an iteration begins and gives the lists of items of that epoch;
    `length` is their number. threads 0 reads in the caller's thread. `pin` puts the batch into
    page-locked memory, from where it goes to a GPU without waiting.
    """

    def __init__(
        self,
        read: Callable[[Sequence[Any]], Batch],
        batches: Callable[[], Iterable[Sequence[Any]]],
        length: int,
        threads: int = 0,
        pin: bool = False,
    ) -> None:
        self._read = read
        self._batches = batches
        self._length = length
        self._threads = threads
        self._pin = pin

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        # a generator: `batches` is called at the first item, when the epoch's number is known
        yield from prefetch(self._batch, self._batches(), self._threads)

    def _batch(self, items: Sequence[Any]) -> Batch:
        batch = self._read(items)
        if self._pin:
            return {name: value.pin_memory() for name, value in batch.items()}
        return batch


def reading_threads(store: str, device: torch.device) -> int:
    """Return how many batches to prefetch: raw slices cost little, JPEG needs every core."""
    if device.type == "cpu":
        return 0 if store == "raw" else 1
    return 2 if store == "raw" else max(2, min(16, share_of_cores()))
