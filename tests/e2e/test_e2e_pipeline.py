"""The whole pipeline, really run on a tiny setting, in a copy of the checkout."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import Run, copy_checkout, site_problems

pytestmark = pytest.mark.slow

TINY = [
    "data.size=80",
    "data.train_images=72",
    "data.val_images=36",
    "scale.zfnet_px=72",
    "scale.alexnet_px=72",
    "scale.width=0.1",
    "training.epochs=2",
    "targets.unseen.images=96",
    "targets.unseen.train_per_class=[2,4]",
    "targets.unseen.curve_per_class=[1,2,4]",
    "targets.unseen.probe_per_class=4",
    "targets.unseen.folds=2",
    "study.scratch.steps=3",
    "study.occlusion.images=2",
    "study.occlusion.measured=2",
]


@pytest.fixture(scope="module")
def done(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A copy in which `dvc repro` has run from nothing."""
    folder = tmp_path_factory.mktemp("pipeline")
    run = copy_checkout(root, folder)
    params = yaml.safe_dump({"experiment": "quick", "set": TINY})
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    run("dvc", "repro")
    return folder, run


def test_every_stage_ran_and_a_second_repro_runs_nothing(done: tuple[Path, Run]) -> None:
    folder, run = done
    assert json.loads(run("dvc", "status", "--json").stdout or "{}") == {}
    again = run("dvc", "repro")
    assert "Running stage" not in again.stdout
    for name in ("train_zfnet", "train_alexnet", "features", "occlusion", "transfer", "ablation"):
        assert json.loads((folder / "metrics" / f"{name}.json").read_text(encoding="utf-8"))
    kept = json.loads((folder / "models/zfnet/epochs/epochs.json").read_text(encoding="utf-8"))
    assert kept["kept"] == [1, 2]
    assert not list((folder / "work").glob("*/"))


def test_what_git_would_hold_names_no_path_of_this_machine(done: tuple[Path, Run]) -> None:
    folder, run = done
    listed = run("git", "ls-files", "-co", "--exclude-standard").stdout.splitlines()
    assert "dvc.lock" in listed
    assert "metrics/features.json" in listed
    for name in listed:
        data = (folder / name).read_bytes()
        assert str(folder).encode() not in data, name
    heavy = ("models/", "results/", "reports/", "timing/", "data/prepared", "wandb/", "work/")
    assert not [name for name in listed if name.startswith(heavy)]


def test_dvc_draws_its_plots_and_compares_few_numbers(done: tuple[Path, Run]) -> None:
    folder, run = done
    shown = run("dvc", "plots", "show", "--json")
    assert "failed to load" not in shown.stderr
    document = json.loads(shown.stdout)
    assert not document.get("errors")
    drawn = {name: plot[0]["content"] for name, plot in document["data"].items()}
    assert set(drawn) == {"training", "invariance", "invariance_answer", "probe", "confusion"}
    for name, content in drawn.items():
        spec = json.loads(content) if isinstance(content, str) else content
        assert spec["data"]["values"], name
        assert "<DVC_METRIC" not in json.dumps(spec), name
    rows = csv.DictReader((folder / "results/plots/training.csv").open(encoding="utf-8"))
    trained = {row["series"] for row in rows}
    assert {"zfnet", "alexnet"} <= trained
    assert "alexnet_no7" not in trained  # left out by the experiment, and no fault
    metrics = run("dvc", "metrics", "show", "--json")
    assert "failed to load" not in metrics.stderr
    (found,) = json.loads(metrics.stdout).values()
    assert set(found["data"]) == {"metrics/headline.json", "metrics/verdicts.json"}


def test_the_site_is_whole_in_a_browser(done: tuple[Path, Run]) -> None:
    folder, _ = done
    assert site_problems(folder / "reports") == []


def test_offline_runs_were_written_for_every_net_and_study(done: tuple[Path, Run]) -> None:
    folder, _ = done
    track = json.loads((folder / "results" / "track.json").read_text(encoding="utf-8"))
    assert track["mode"] == "offline"
    for entry in track["runs"]:
        assert list((folder / "wandb").glob(f"offline-run-*-{entry['id']}")), entry["name"]
    assert len(track["runs"]) >= 4


def test_a_hydra_multirun_leaves_the_pipeline_clean(done: tuple[Path, Run]) -> None:
    folder, run = done
    overrides = [*TINY, "training.epochs=1", "study.features.top_k=4"]
    run("zfnet", "train", "-m", "model=zfnet,zfnet_wide", "seed=0,1", *overrides)
    finals = sorted(folder.glob("runs/train/*/*/final/weights.pt"))
    assert len(finals) == 4
    assert len({file.read_bytes() for file in finals}) == 4
    assert json.loads(run("dvc", "status", "--json").stdout or "{}") == {}
    assert run("git", "status", "--short", "runs").stdout == ""


def test_a_stage_by_hand_with_a_torchvision_net_standing_in(done: tuple[Path, Run]) -> None:
    folder, run = done
    run(
        "zfnet", "features", *TINY, "model=torchvision/squeezenet1_1", "weights=random",
        "study.features.layers=[2,4]", "study.features.figure_maps={2:4,4:4}",
        "study.features.max_images=12", "study.features.top_k=4",
    )  # fmt: skip
    (out,) = folder.glob("runs/features/*")
    assert json.loads((out / "results" / "measured.json").read_text(encoding="utf-8"))["tables"]
    assert json.loads((out / "figures" / "figures.json").read_text(encoding="utf-8"))["figures"]
    assert json.loads(run("dvc", "status", "--json").stdout or "{}") == {}


def test_disabled_tracking_imports_no_wandb(done: tuple[Path, Run]) -> None:
    folder, _ = done
    program = (
        "import sys; from zfnet.cli import _dispatch;"
        "code = _dispatch(['track', 'tracking=disabled']);"
        "sys.exit(code or ('wandb' in sys.modules) or ('dvc' in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
