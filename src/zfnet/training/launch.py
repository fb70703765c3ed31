"""Training on several devices: join the processes that there are, or start them.

Lightning's own launcher is never used: it re-runs the command line, which under a Hydra sweep
would start the whole sweep again.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from zfnet.errors import UserError
from zfnet.training.sharing import TERMINATED

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """One training as plain values, so that it can be handed to another process."""

    net: str
    model: dict[str, Any]
    training: dict[str, Any]
    seed: int
    device: str  # auto | cpu | cuda
    prepared: str
    work: str
    final: str
    epochs: str
    metrics: str
    key: str = ""  # of all that it depends on: names its work folder
    snapshots: bool = False  # keep the weights of every epoch
    label: str = ""  # begins the lines that it prints, where others print theirs in between


@dataclass(frozen=True)
class Place:
    """This process among those of the training. `by`: alone, torchrun or slurm."""

    by: str = "alone"
    rank: int = 0
    world: int = 1


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
        return Place()
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


def command(devices: int, job: Path, live: Path) -> list[str]:
    """Return the command that starts `devices` processes of the job in the file `job`."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*run, f"--nproc-per-node={devices}", "-m", __name__, str(job), str(live)]


def start(job: Job, devices: int, live: Callable[[dict[str, Any]], None] | None) -> dict[str, Any]:
    """Run `job` on `devices` processes of this machine and return what their rank 0 returned.

    `live` is called here, in this process, with each row of history as it appears. Raises
    SystemExit with the processes' exit code if they fail; SIGTERM is passed on to them.
    """
    with tempfile.TemporaryDirectory(prefix="zfnet-train-") as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(dataclasses.asdict(job)), encoding="utf-8")
        rows = folder / "live.jsonl"
        rows.touch()
        process = subprocess.Popen(command(devices, folder / "job.json", rows))
        seen = 0
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                seen = _forward(rows, seen, live)
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        if process.returncode:
            raise SystemExit(process.returncode if process.returncode > 0 else TERMINATED)
        _forward(rows, seen, live)
        return dict(json.loads((folder / "timing.json").read_text(encoding="utf-8")))


def main(arguments: list[str]) -> None:
    """Train the job in the file `arguments[0]`; rank 0 appends rows to the file `arguments[1]`."""
    from zfnet.training.stage import train

    file, rows = Path(arguments[0]), Path(arguments[1])

    def append(row: dict[str, Any]) -> None:
        with rows.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")

    try:
        with stopped_by_sigterm():
            timing = train(Job(**json.loads(file.read_text(encoding="utf-8"))), append)
    except UserError as error:
        print(f"zfnet: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    if timing is None:
        raise SystemExit(0)
    (file.parent / "timing.json").write_text(json.dumps(timing), encoding="utf-8")


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


def _forward(rows: Path, seen: int, live: Callable[[dict[str, Any]], None] | None) -> int:
    lines = [line for line in rows.read_text(encoding="utf-8").splitlines(True) if line[-1] == "\n"]
    if live is not None:
        for line in lines[seen:]:
            live(json.loads(line))
    return len(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
