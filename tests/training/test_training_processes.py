"""Trainings in processes of their own: killed and run again, and on two devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from blots import make_prepared

from zfnet.errors import UserError
from zfnet.training import processes
from zfnet.training.job import Job
from zfnet.training.processes import Place, find_place
from zfnet.training.stage import run

Config = Callable[..., SimpleNamespace]
Places = Callable[..., SimpleNamespace]

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
SRUN = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
JOB = Job("zfnet", {}, {}, 0, "cpu", "p", "w", "k")
SCRIPT = """
import json, sys
from pathlib import Path
from types import SimpleNamespace

if __name__ == "__main__":
    cfg, paths = json.loads(Path(sys.argv[1]).read_text())
    from zfnet.pipeline.options import ModelOptions, TrainingOptions, checked
    from zfnet.training.stage import run

    paths = SimpleNamespace(**{name: Path(path) for name, path in paths.items()})
    cfg["nets"] = {net: checked(ModelOptions, each, net) for net, each in cfg["nets"].items()}
    cfg["training"] = checked(TrainingOptions, cfg["training"], "training")
    timing = run(SimpleNamespace(**cfg), paths)
    Path(sys.argv[1]).with_suffix(".timing").write_text(json.dumps(timing))
"""


class Runner:
    """Starts the same training again and again, each time in a new process."""

    def __init__(self, folder: Path, cfg: SimpleNamespace, paths: SimpleNamespace) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.script, self.job, self.paths = folder / "train.py", folder / "job.json", paths
        self.script.write_text(SCRIPT)
        plain = {name: str(path) for name, path in vars(paths).items()}
        given = vars(cfg) | {
            "nets": {net: each.model_dump(mode="json") for net, each in cfg.nets.items()},
            "training": cfg.training.model_dump(mode="json"),
        }
        self.job.write_text(json.dumps([given, plain]))

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(self.script), str(self.job)]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)

    def finish(self) -> str:
        process = self.start()
        error = process.communicate(timeout=300)[1]
        assert process.returncode == 0, error
        return error

    def wait_for(self, pattern: str, process: subprocess.Popen[str]) -> None:
        """Wait until a file of the work folder appears."""
        deadline = time.monotonic() + 240
        while not list(self.paths.work.glob(pattern)):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.005)


def published(paths: SimpleNamespace) -> dict[str, bytes]:
    found = [*paths.final.iterdir(), *paths.epochs.iterdir(), paths.metrics]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in found}


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


def test_rows_and_timing_come_back_from_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import json, sys, pathlib\n"
        "job, rows = map(pathlib.Path, sys.argv[1:])\n"
        "assert json.loads(job.read_text())['jobs'][0]['net'] == 'zfnet'\n"
        "for epoch in (1, 2): rows.open('a').write(json.dumps({'epoch': epoch}) + '\\n')\n"
        "(job.parent / 'timing.json').write_text('{\"training_seconds\": 2.5}')\n"
    )
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(
        processes,
        "command",
        lambda n, job, rows: [sys.executable, "-c", script, str(job), str(rows)],
    )
    live: list[dict[str, Any]] = []
    assert processes.start(JOB, 2, live.append) == {"training_seconds": 2.5}
    assert live == [{"epoch": 1}, {"epoch": 2}]


@pytest.mark.parametrize(
    ("script", "code"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 15)", 143)],
)
def test_a_failure_of_the_processes_is_ours(
    monkeypatch: pytest.MonkeyPatch, script: str, code: int
) -> None:
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(processes, "command", lambda n, job, rows: [sys.executable, "-c", script])
    with pytest.raises(SystemExit) as stop:
        processes.start(JOB, 2, None)
    assert stop.value.code == code


@pytest.mark.slow
def test_killed_twice_and_run_again_it_ends_with_the_same_bytes(
    config: Config, places: Places, tmp_path: Path
) -> None:
    cfg = config(epochs=8)
    unbroken = places(tmp_path / "a")
    run(cfg, unbroken)
    broken = Runner(tmp_path / "b", cfg, places(tmp_path / "b"))
    # SIGKILL at the first sight of epoch 2's snapshot: its checkpoint may be there, whole, or not
    process = broken.start()
    broken.wait_for("*/results/epochs/epoch_002.pt", process)
    process.kill()
    process.communicate()
    assert process.returncode == -9
    assert not broken.paths.final.exists()
    # SIGTERM in a later epoch
    process = broken.start()
    broken.wait_for("*/checkpoints/epoch_005.ckpt", process)
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 143
    assert not broken.paths.final.exists()
    assert not broken.paths.metrics.exists()
    assert "resumed after epoch" in broken.finish()
    assert published(broken.paths) == published(unbroken)
    assert not any(broken.paths.work.iterdir())


@pytest.mark.slow
def test_two_processes_take_the_same_steps_and_one_publishes(
    config: Config, places: Places, tmp_path: Path
) -> None:
    runner = Runner(tmp_path, config(epochs=2, devices=2, dropout=0.0), places(tmp_path))
    error = runner.finish()
    assert error.count("epoch 2/2") == 1
    timing = json.loads(runner.job.with_suffix(".timing").read_text())
    assert [entry["epoch"] for entry in timing["epochs"]] == [1, 2]
    alone = places(tmp_path / "alone")
    run(config(epochs=2, dropout=0.0), alone)
    both = [
        torch.load(paths.final / "weights.pt", weights_only=True) for paths in (runner.paths, alone)
    ]
    for name, weight in both[0].items():
        # the same images in the same steps: only the order of summation differs
        torch.testing.assert_close(weight, both[1][name], rtol=1e-3, atol=1e-5)
    metrics = json.loads(runner.paths.metrics.read_text())
    assert metrics["train_top1_error"]["n"] == 44


@pytest.mark.slow
def test_a_net_learns_what_can_be_learnt(config: Config, places: Places, tmp_path: Path) -> None:
    paths = places(tmp_path)
    make_prepared(tmp_path / "data", train=300, val=120)
    paths.prepared = tmp_path / "data"
    run(config(epochs=10, init="he", lr=1e-4, dropout=0.0, model_width=0.1), paths)
    metrics = json.loads(paths.metrics.read_text())
    assert metrics["status"]["value"] == "still learning"  # above half of guessing's loss
    assert metrics["train_loss"]["value"] < 1.6  # guessing among six classes is 1.79
