"""Trainings at the same time: the same nets, waiting for their own stages; no orphans."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from zfnet.errors import UserError
from zfnet.training import pool, processes, run, stage
from zfnet.training.job import write_jobs
from zfnet.work import TakenError, WorkFolder

Config = Callable[..., SimpleNamespace]
Places = Callable[..., SimpleNamespace]
CPU = torch.device("cpu")
WEIGHTS = ("weights.pt", "history.csv", "val_predictions.npz", "train_predictions.npz")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "cores", lambda: 2)


@pytest.fixture
def pair(config: Config, places: Places) -> Callable[..., tuple[Any, Any, Any]]:
    """Makes config and paths of zfnet, with alexnet as the other net, and paths of alexnet."""

    def make(root: Path, **changes: Any) -> tuple[Any, Any, Any]:
        def paths(net: str, **more: Any) -> Any:
            found = places(root, timing=root / "timing" / f"train_{net}.json", **more)
            found.final, found.epochs = (root / "models" / net / n for n in ("final", "epochs"))
            found.metrics = root / "metrics" / f"train_{net}.json"
            found.folder_of = lambda other: root / "models" / other / "final"
            return found

        cfg = config(threads=1, epochs=1, **changes)
        cfg.nets["alexnet"] = cfg.nets["zfnet"].model_copy(update={"arch": "alexnet"})
        others = {"alexnet": cfg.nets["alexnet"].model_dump(mode="json")}
        return cfg, paths("zfnet", others=others), paths("alexnet", others={})

    return make


@pytest.mark.parametrize(
    ("cores", "threads", "most", "fit"),
    [(2, None, "", 1), (2, 1, "", 2), (2, 3, "", 1), (64, 1, "", processes.AT_MOST),
     (64, 32, "", 2), (16, 1, "1", 1), (16, 1, "12", 12)],
)  # fmt: skip
def test_how_many_fit(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int | None, most: str, fit: int
) -> None:
    monkeypatch.setattr(processes, "cores", lambda: cores)
    monkeypatch.setenv("ZFNET_AT_ONCE", most)
    assert processes.at_once({"threads": threads}, CPU) == fit
    assert processes.at_once({"threads": threads}, torch.device("cuda")) == 1
    monkeypatch.setenv("ZFNET_AT_ONCE", "all")
    with pytest.raises(UserError, match="ZFNET_AT_ONCE=all"):
        processes.at_once({"threads": threads}, CPU)


def test_a_training_on_all_cores_gets_them_back() -> None:
    before = torch.get_num_threads()
    processes.use_threads(CPU, None)
    all_cores = torch.get_num_threads()
    processes.use_threads(CPU, 1)
    assert torch.get_num_threads() == 1
    processes.use_threads(CPU, None)
    assert torch.get_num_threads() == all_cores
    torch.set_num_threads(before)


def test_a_net_is_the_same_with_others_beside_it(
    pair: Any, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, zfnet, alexnet = pair(tmp_path / "beside", model_seeds=2)
    train, here = run.train, []

    def zfnets_first_alone(job: Any, live: Any = None) -> Any:
        if (job.net, job.seed) != ("zfnet", 3):
            raise TakenError("left to the helper")
        here.append(job)
        return train(job, live)

    monkeypatch.setattr(run, "train", zfnets_first_alone)
    timing = stage.run(cfg, zfnet)
    assert len(here) == 1
    assert timing["trained_for_later_stages"] == 2
    assert len(timing["seeds"]) == 2
    assert not alexnet.final.exists()
    waiting = sorted(alexnet.work.glob("alexnet-*-done"))
    assert len(waiting) == 2
    monkeypatch.setattr(run, "train", lambda job, live=None: 1 / 0)  # nothing is left to train
    found = stage.run(cfg, alexnet, "alexnet")
    assert not any(alexnet.work.iterdir())
    assert {each["key"] for each in found["seeds"]} == {
        folder.name.removeprefix("alexnet-").removesuffix("-done") for folder in waiting
    }
    monkeypatch.setattr(run, "train", train)
    monkeypatch.setenv("ZFNET_AT_ONCE", "1")
    alone = places(tmp_path / "alone")
    for net, made in (("zfnet", zfnet), ("alexnet", alexnet)):
        stage.run(cfg, alone, net)
        for name in WEIGHTS:
            for at in ("", "seed_4/"):
                left = (made.final / f"{at}{name}").read_bytes()
                assert left == (alone.final / f"{at}{name}").read_bytes()


def test_a_stop_while_the_waiting_place_is_cleared_costs_no_published_net(
    pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, zfnet, _ = pair(tmp_path)
    zfnet.others = {}
    removed = shutil.rmtree

    def stopping(path: Any, *given: Any, **more: Any) -> None:
        if str(path).endswith("-done"):
            removed(Path(path) / "final")
            raise SystemExit(143)
        removed(path, *given, **more)

    monkeypatch.setattr(pool.shutil, "rmtree", stopping)
    with pytest.raises(SystemExit):
        stage.run(cfg, zfnet)
    monkeypatch.undo()
    monkeypatch.setattr(processes, "cores", lambda: 2)
    before = (zfnet.final / "weights.pt").read_bytes()
    stage.run(cfg, zfnet)
    assert (zfnet.final / "weights.pt").read_bytes() == before


def test_a_net_that_another_run_published_meanwhile_is_told(
    pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, zfnet, _ = pair(tmp_path)
    zfnet.others = {}
    collect = pool.collect

    def late(jobs: Any, paths: Any) -> None:
        shutil.rmtree(jobs[0].done)
        collect(jobs, paths)

    monkeypatch.setattr(pool, "collect", late)
    with pytest.raises(UserError, match="published this very net; run again"):
        stage.run(cfg, zfnet)


def test_a_net_that_stands_is_not_trained_again(pair: Any, tmp_path: Path) -> None:
    cfg, zfnet, alexnet = pair(tmp_path)
    timing = stage.run(cfg, alexnet, "alexnet")
    alexnet.timing.parent.mkdir()
    alexnet.timing.write_text(json.dumps(timing))
    stage.run(cfg, zfnet)
    assert not list(zfnet.work.glob("alexnet-*"))
    cfg.training = cfg.training.model_copy(update={"lr": 0.002})  # another net
    stage.run(cfg, zfnet)
    (other,) = zfnet.work.glob("alexnet-*-done")
    assert timing["key"] not in other.name
    # nor does one stand that was lost, or whose timing is
    assert pool.published(alexnet.timing, alexnet.final) == {timing["key"]}
    assert pool.published(alexnet.timing, alexnet.final / "gone") == set()
    assert pool.published(tmp_path / "no.json", alexnet.final) == set()
    alexnet.timing.write_text("{")
    assert pool.published(alexnet.timing, alexnet.final) == set()


def test_tracking_that_watches_trains_one_net_at_a_time(pair: Any, tmp_path: Path) -> None:
    cfg, zfnet, _ = pair(tmp_path)
    rows: list[Any] = []
    zfnet.live_logger = rows.append
    stage.run(cfg, zfnet)
    assert len(rows) == 1
    assert not list(zfnet.work.glob("alexnet-*"))


def test_another_nets_fault_of_any_kind_does_not_keep_this_one_back(
    pair: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cfg, zfnet, _ = pair(tmp_path)
    train = run.train

    def too_large(job: Any, live: Any = None) -> Any:
        if job.net == "alexnet":
            raise RuntimeError("not enough memory")
        return train(job, live)

    monkeypatch.setattr(run, "train", too_large)
    monkeypatch.setattr(processes, "helpers", lambda jobs, wanted: nullcontext())
    assert stage.run(cfg, zfnet)["trained_for_later_stages"] == 0
    assert (zfnet.final / "weights.pt").is_file()
    assert "alexnet: not enough memory (train@alexnet will try" in capsys.readouterr().err


def test_a_fault_of_the_net_itself_stops_the_helpers(
    pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, zfnet, _ = pair(tmp_path)
    started: list[Any] = []
    begin = subprocess.Popen

    def noting(*arguments: Any, **more: Any) -> Any:
        started.append(begin(*arguments, **more))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noting)
    monkeypatch.setattr(run, "train", lambda job, live=None: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stage.run(cfg, zfnet)
    assert [process.poll() is not None for process in started] == [True]


def test_a_helper_ends_with_the_process_that_started_it(pair: Any, tmp_path: Path) -> None:
    cfg, zfnet, _ = pair(tmp_path)
    cfg.training = cfg.training.model_copy(update={"epochs": 100_000})
    first, _ = stage.job_of("zfnet", cfg.nets["zfnet"].model_dump(mode="json"), cfg, zfnet)
    (job,) = pool.jobs_of(first, 1, "code")
    work = job.folder
    write_jobs(tmp_path / "jobs.json", [job])
    starts = (
        "import os, subprocess, sys;"
        "command = [sys.executable, '-m', 'zfnet.training.worker', 'share', *sys.argv[1:]];"
        "command.append(str(os.getpid()));"
        "subprocess.Popen(command, stdin=subprocess.DEVNULL);"
        "sys.stdin.read()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", starts, str(tmp_path / "jobs.json")],
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: work.last_checkpoint() is not None)
    assert not is_free(work)
    starter.kill()
    starter.communicate()
    until(lambda: is_free(work))


def is_free(work: WorkFolder) -> bool:
    """Whether no process holds the folder."""
    try:
        with work.locked():
            return True
    except TakenError:
        return False


def until(true: Callable[[], bool]) -> None:
    """Wait until something is true; fail after a minute."""
    ends = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.1)
