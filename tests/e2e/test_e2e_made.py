"""What `uv run dvc repro` left in this checkout: run by CI after the pipeline, `pytest -m made`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from PIL import Image

from .conftest import site_problems

pytestmark = pytest.mark.made

STUDIES = (
    "features",
    "evolution",
    "invariance",
    "architecture",
    "occlusion",
    "correspondence",
    "classification",
    "ablation",
    "overlap",
    "transfer",
    "probe",
)
NETS = ("zfnet", "alexnet", "alexnet_no34", "alexnet_no67", "alexnet_no3467")


def _json(path: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_left_numbers_and_pictures(root: Path, study: str) -> None:
    result = _json(root / "results" / study / "result.json")
    assert result["metrics"]
    figures = result["figures"]
    assert isinstance(figures, list)
    assert figures
    for figure in figures:
        with Image.open(root / "results" / study / figure["file"]) as picture:
            picture.load()
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 50, figure["file"]
        assert figure["alt"]
    assert _json(root / "metrics" / f"{study}.json")


@pytest.mark.parametrize("net", NETS)
def test_every_net_left_weights_and_beats_chance(root: Path, net: str) -> None:
    final = root / "models" / net / "final"
    for name in ("net.json", "weights.pt", "history.csv", "departures.json"):
        assert (final / name).stat().st_size > 0
    metrics = json.loads((root / "metrics" / f"train_{net}.json").read_text(encoding="utf-8"))
    classes = len(_json(root / "data" / "prepared" / "meta.json")["classes"])  # type: ignore[arg-type]
    chance = 100 * (1 - 1 / classes)
    assert metrics["val_top1_error"]["high"] < chance


def test_the_main_net_kept_every_epoch(root: Path) -> None:
    config = yaml.safe_load((root / "build" / "config.yaml").read_text(encoding="utf-8"))
    kept = _json(root / "models" / "zfnet" / "epochs" / "epochs.json")["kept"]
    assert isinstance(kept, list)
    assert len(kept) == config["training"]["epochs"]
    assert _json(root / "models" / "alexnet" / "epochs" / "epochs.json")["kept"] == []


def test_dvc_has_nothing_left_to_do(root: Path) -> None:
    done = subprocess.run(
        ["dvc", "status", "--json"], cwd=root, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout or "{}") == {}


def test_no_path_of_this_machine_in_what_git_holds(root: Path) -> None:
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in done.stdout.splitlines():
        file = root / name
        if file.suffix in {".json", ".yaml", ".lock", ".csv", ".md", ".py", ".toml"}:
            assert str(root) not in file.read_text(encoding="utf-8"), name


def test_the_site_is_whole_in_a_browser(root: Path) -> None:
    assert (root / "reports" / "index.html").is_file()
    assert site_problems(root / "reports") == []
