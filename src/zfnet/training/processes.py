"""Processes of trainings: who joins whom, how many share a machine's cores, how each one ends.

Every process that is started here is `python -m zfnet.training.worker`. Lightning's own launcher is
never used: it re-runs the command line, which under a Hydra sweep would start the whole sweep
again.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from zfnet.errors import UserError
from zfnet.files import read_json
from zfnet.machine import TERMINATED, cores
from zfnet.training.job import Job, write_jobs

if TYPE_CHECKING:
    import torch

Live = Callable[[dict[str, Any]], None]  # called with each epoch's row of history
WORKER = "zfnet.training.worker"  # computes nothing itself, so it is no part of a net's code hash
RANK, SHARE = "rank", "share"  # the worker's two tasks
AT_MOST = 4  # trainings at the same time; each holds about 1.5 GB at the sizes meant for a CPU
POLL_SECONDS = 0.5


# ------------------------------------------------------------------ several processes, one training
@dataclass(frozen=True)
class Place:
    """This process among those of the training. `by`: alone, torchrun or slurm."""

    by: str = "alone"
    rank: int = 0
    world: int = 1


ALONE = Place()


def count(training: Mapping[str, Any], device: torch.device) -> int:
    """How many processes train on this machine; -1 in the config: one for every GPU there is."""
    import torch

    devices = int(training["devices"])
    if devices != -1:
        return devices
    return max(1, torch.cuda.device_count()) if device.type == "cuda" else 1


def find_place(devices: int, nodes: int, env: Mapping[str, str] = os.environ) -> Place | None:
    """Return this process's place, or None if the processes have yet to be started.

    Raises UserError if the environment's processes are not the ones that the config asks for.
    """
    world = devices * nodes
    if "TORCHELASTIC_RUN_ID" in env and "RANK" in env:
        place = Place("torchrun", int(env["RANK"]), int(env["WORLD_SIZE"]))
    elif int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        tasks = int(env["SLURM_STEP_NUM_TASKS"])
        place = Place("slurm", int(env["SLURM_PROCID"]), tasks)
    elif world == 1:
        return ALONE
    elif nodes > 1:
        raise UserError(
            f"training.nodes={nodes}: start the same command on each machine with torchrun or srun "
            f"(torchrun --nnodes={nodes} --nproc-per-node={devices} … -m zfnet train …)"
        )
    else:
        return None
    if place.world != world:
        raise UserError(
            f"training.devices={devices} x training.nodes={nodes} asks for {world} processes, but "
            f"{place.by} started {place.world}; set both to match"
        )
    return place


def command(devices: int, job: Path, rows: Path) -> list[str]:
    """Return the command that starts `devices` processes of the job in the file `job`."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*run, f"--nproc-per-node={devices}", "-m", WORKER, RANK, str(job), str(rows)]


def start(job: Job, devices: int, live: Live | None) -> dict[str, Any]:
    """Run `job` on `devices` processes of this machine and return what their rank 0 returned.

    `live` is called here, in this process, with each row of history as it appears. Raises
    SystemExit with the processes' exit code if they fail; SIGTERM is passed on to them.
    """
    with tempfile.TemporaryDirectory(prefix="zfnet-train-") as name:
        folder = Path(name)
        write_jobs(folder / "job.json", [job])
        rows = folder / "live.jsonl"
        rows.touch()
        process = subprocess.Popen(command(devices, folder / "job.json", rows))
        forwarded = 0
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                forwarded = _forward(rows, forwarded, live)
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        if process.returncode:
            raise SystemExit(process.returncode if process.returncode > 0 else TERMINATED)
        _forward(rows, forwarded, live)
        return read_json(folder / "timing.json")


def _forward(rows: Path, forwarded: int, live: Live | None) -> int:
    lines = [line for line in rows.read_text(encoding="utf-8").splitlines(True) if line[-1] == "\n"]
    if live is not None:
        for line in lines[forwarded:]:
            live(json.loads(line))
    return len(lines)


# ------------------------------------------------------------------ several trainings, one machine
def at_once(training: Mapping[str, Any], device: torch.device) -> int:
    """How many trainings by this section fit on this machine's cores at the same time.

    The environment's ZFNET_AT_ONCE, no key of the config since it changes no net, replaces AT_MOST.
    Raises UserError if it is no number.
    """
    most = os.environ.get("ZFNET_AT_ONCE") or str(AT_MOST)
    if not most.isdecimal() or not int(most):
        raise UserError(
            f"ZFNET_AT_ONCE={most}: give a number of trainings at the same time, from 1"
        )
    if device.type != "cpu" or not training["threads"]:
        return 1
    return max(1, min(int(most), cores() // training["threads"]))


def use_threads(device: torch.device, threads: int | None, place: Place = ALONE) -> None:
    """Let this process compute on `threads` threads of a CPU; None: on as many as it began with.

    Those that torchrun starts share the cores: it allows each only one.
    """
    import torch

    began_with = _threads_at_first()
    if device.type != "cpu":
        return
    if place.by == "torchrun":
        torch.set_num_threads(share_of_cores())
    else:
        torch.set_num_threads(min(threads, cores()) if threads else began_with)


def share_of_cores() -> int:
    """Return how many cores are this process's own, at least one.

    torchrun starts several processes on the same cores and says how many; srun gives each its own.
    """
    return max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


@functools.cache
def _threads_at_first() -> int:
    import torch

    return torch.get_num_threads()


@contextmanager
def helpers(jobs: Sequence[Job], wanted: int) -> Iterator[None]:
    """Have `wanted` more processes do what they can of `jobs`; wait for them.

    An error or a signal here stops them, which lose the epoch under way.
    """
    with tempfile.TemporaryDirectory(prefix="zfnet-jobs-") as folder:
        file = Path(folder) / "jobs.json"
        write_jobs(file, jobs)
        each = [sys.executable, "-m", WORKER, SHARE, str(file), str(os.getpid())]
        running = [subprocess.Popen(each) for _ in range(wanted)]
        try:
            yield
        except BaseException:
            for process in running:
                process.send_signal(signal.SIGTERM)
            raise
        finally:
            for process in running:
                process.wait()


# ------------------------------------------------------------------------------------------- ends
@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit(143) at once; what is on disk is whole at every moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
