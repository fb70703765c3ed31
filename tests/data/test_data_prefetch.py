"""What is prefetched comes in order, and stops being read when nobody wants it."""

from __future__ import annotations

import threading

import pytest

from zfnet.data import prefetch as module
from zfnet.data.prefetch import prefetch


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_order_of_the_parts(threads: int) -> None:
    assert list(prefetch(str, range(7), threads)) == list("0123456")
    assert list(prefetch(str, [], threads)) == []


def test_no_more_wait_than_there_are_threads_and_one() -> None:
    taken: list[int] = []

    def parts() -> object:
        for i in range(10):
            taken.append(i)
            yield i

    results = prefetch(str, parts(), 2)
    assert taken == []  # nothing is read before the first is wanted
    assert next(results) == "0"
    assert taken == [0, 1, 2, 3]
    results.close()


def test_leaving_early_cancels_what_has_not_begun() -> None:
    begun: list[int] = []
    hold = threading.Event()

    def read(i: int) -> int:
        begun.append(i)
        if i:
            hold.wait(10)
        return i

    results = prefetch(read, range(20), 1)
    assert next(results) == 0
    results.close()
    hold.set()
    for thread in threading.enumerate():
        if thread.name.startswith("prefetch"):
            thread.join(10)
            assert not thread.is_alive()
    assert begun in ([0], [0, 1])  # 2 was waiting


def test_a_thread_a_core_and_at_most_four(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def record(pool: object, read: object, parts: object, waiting: int) -> list[str]:
        asked.append(waiting - 1)
        return []

    monkeypatch.setattr(module, "in_order", record)
    for allowed in (1, 2, 64):
        monkeypatch.setattr(module, "cores", lambda allowed=allowed: allowed)
        list(prefetch(str, range(7)))
    assert asked == [1, 2, 4]
