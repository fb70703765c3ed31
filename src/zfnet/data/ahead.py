"""Reading ahead by threads: slicing and decoding release the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Part = TypeVar("Part")
Made = TypeVar("Made")


def read_ahead(read: Callable[[Part], Made], parts: Iterable[Part], threads: int) -> Iterator[Made]:
    """Yield `read` of each part, in order, computed by `threads` threads that run ahead.

    At most `threads` + 1 results wait. threads 0 reads in the caller's thread. What `read` raises
    comes in its turn; whoever leaves early cancels what has not begun.
    """
    if not threads:
        yield from map(read, parts)
        return
    todo = iter(parts)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        waiting: deque[Future[Made]] = deque()
        for part in islice(todo, threads + 1):
            waiting.append(pool.submit(read, part))
        while waiting:
            made = waiting.popleft().result()
            for part in islice(todo, 1):
                waiting.append(pool.submit(read, part))
            yield made
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
