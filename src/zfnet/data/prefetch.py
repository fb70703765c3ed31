"""Results computed before they are asked for, in order: by threads, or by a pool of processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from zfnet.machine import cores

Part = TypeVar("Part")
Made = TypeVar("Made")


def prefetch(
    read: Callable[[Part], Made], parts: Iterable[Part], threads: int | None = None
) -> Iterator[Made]:
    """Yield `read` of each part, in order, computed beforehand by threads.

    At most `threads` + 1 results wait (default: a thread a core, at most 4). threads 0 reads in the
    caller's thread. What `read` raises comes in its turn; whoever leaves early cancels what has not
    begun.
    """
    threads = min(4, cores()) if threads is None else threads
    if not threads:
        yield from map(read, parts)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
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
