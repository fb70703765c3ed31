from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from zfnet.errors import UserError
from zfnet.training import launch
from zfnet.training.launch import Job, Place, find_place

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
SRUN = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
JOB = Job("zfnet", {}, {}, 0, "cpu", "p", "w", "f", "e", "m", "c")


def test_one_device_runs_here_and_several_are_started_unless_they_are_there() -> None:
    assert find_place(1, 1, {}) == Place()
    assert find_place(2, 1, {}) is None
    assert find_place(2, 1, TORCHRUN) == Place("torchrun", 1, 2)
    assert find_place(2, 2, SRUN) == Place("slurm", 3, 4)
    # an allocation is not yet a set of processes
    assert find_place(1, 1, {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) == Place()


def test_processes_that_do_not_match_the_config_are_refused() -> None:
    with pytest.raises(UserError, match="asks for 4 processes, but torchrun started 2"):
        find_place(4, 1, TORCHRUN)
    with pytest.raises(UserError, match=r"training\.nodes=2.*torchrun"):
        find_place(4, 2, {})


def test_the_command_starts_that_many_processes_of_this_job() -> None:
    argv = launch.command(3, Path("job.json"), Path("rows"))
    assert argv[0] == sys.executable
    assert argv[1:] == [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=3",
        "-m",
        "zfnet.training.launch",
        "job.json",
        "rows",
    ]


def test_rows_and_timing_come_back_from_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import json, sys, pathlib\n"
        "job, rows = map(pathlib.Path, sys.argv[1:])\n"
        "assert json.loads(job.read_text())['net'] == 'zfnet'\n"
        "for epoch in (1, 2): rows.open('a').write(json.dumps({'epoch': epoch}) + '\\n')\n"
        "(job.parent / 'timing.json').write_text('{\"training_seconds\": 2.5}')\n"
    )
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(
        launch, "command", lambda n, job, rows: [sys.executable, "-c", script, str(job), str(rows)]
    )
    live: list[dict[str, Any]] = []
    assert launch.start(JOB, 2, live.append) == {"training_seconds": 2.5}
    assert live == [{"epoch": 1}, {"epoch": 2}]


@pytest.mark.parametrize(
    ("script", "code"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 15)", 143)],
)
def test_a_failure_of_the_processes_is_ours(
    monkeypatch: pytest.MonkeyPatch, script: str, code: int
) -> None:
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(launch, "command", lambda n, job, rows: [sys.executable, "-c", script])
    with pytest.raises(SystemExit) as stop:
        launch.start(JOB, 2, None)
    assert stop.value.code == code
