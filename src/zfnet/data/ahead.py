"""Computing ahead, in order. By threads: slicing and decoding release the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
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
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        yield from in_order(pool, read, parts, threads + 1)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def in_order(
    pool: Executor, function: Callable[[Part], Made], parts: Iterable[Part], waiting: int
) -> Iterator[Made]:
    """Yield `function` of each part, in order, by `pool`; at most `waiting` results wait."""
    todo = iter(parts)
    begun = deque(pool.submit(function, part) for part in islice(todo, waiting))
    while begun:
        made = begun.popleft().result()
        begun.extend(pool.submit(function, part) for part in islice(todo, 1))
        yield made
