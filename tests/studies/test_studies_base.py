from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from zfnet.studies import base as inputs


def test_no_more_threads_read_than_there_are_allowed_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def record(function: Callable, parts: list, threads: int) -> Iterator:
        asked.append(threads)
        return map(function, parts)

    monkeypatch.setattr(inputs, "read_ahead", record)
    for allowed in (1, 2, 64):
        monkeypatch.setattr(inputs, "cores", lambda allowed=allowed: allowed)
        assert list(inputs.ahead(len, [np.arange(3), np.arange(2)])) == [3, 2]
    assert asked == [1, 2, 4]
