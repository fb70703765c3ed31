"""Batches read ahead by threads: slicing and decoding release the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from torch import Tensor

Batch = dict[str, Tensor]


class Loader:
    """Iterates over `batches()`, reading each with `read`, in order, `threads` of them ahead.

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
        todo = iter(self._batches())
        if not self._threads:
            yield from map(self._batch, todo)
            return
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="loader")
        try:
            ahead: deque[Future[Batch]] = deque()
            for items in islice(todo, self._threads + 1):
                ahead.append(pool.submit(self._batch, items))
            while ahead:
                batch = ahead.popleft().result()
                for items in islice(todo, 1):
                    ahead.append(pool.submit(self._batch, items))
                yield batch
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _batch(self, items: Sequence[Any]) -> Batch:
        batch = self._read(items)
        if self._pin:
            return {name: value.pin_memory() for name, value in batch.items()}
        return batch
