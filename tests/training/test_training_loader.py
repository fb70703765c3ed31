from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from zfnet.training import processes
from zfnet.training.loader import Batch, Loader, reading_threads
from zfnet.training.processes import share_of_cores


def read(items: Sequence[int]) -> Batch:
    return {"index": torch.tensor(list(items))}


def lists(n: int) -> list[list[int]]:
    return [[2 * i, 2 * i + 1] for i in range(n)]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_come_in_order_every_epoch(threads: int) -> None:
    loader = Loader(read, lambda: lists(6), 6, threads)
    for _ in range(2):
        assert [batch["index"].tolist() for batch in loader] == lists(6)
    assert len(loader) == 6


def test_the_epochs_order_is_asked_for_at_its_first_batch() -> None:
    epoch = 0

    def batches() -> list[list[int]]:
        return [[epoch]]

    iterator = iter(Loader(read, batches, 1))
    epoch = 5  # what Lightning does: it makes the iterator before it restores the epoch
    assert next(iterator)["index"].tolist() == [5]


def test_cores_are_shared_where_torchrun_shares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(processes, "cores", lambda: 8)
    # srun gives each of its processes its own cores: all that are allowed are there to be used
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert share_of_cores() == 8
    assert reading_threads("jpeg", gpu) == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert share_of_cores() == 4
    assert reading_threads("jpeg", gpu) == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert share_of_cores() == 1
    assert reading_threads("jpeg", gpu) == reading_threads("raw", gpu) == 2
    assert (reading_threads("jpeg", cpu), reading_threads("raw", cpu)) == (1, 0)
