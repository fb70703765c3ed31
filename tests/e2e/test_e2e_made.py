"""What `uv run dvc repro` left in this checkout: run by CI after the pipeline, `pytest -m made`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from zfnet.figures.stage import drawn
from zfnet.pipeline.registry import MEASURED
from zfnet.results import Results, read_metrics

from .conftest import site_problems

pytestmark = pytest.mark.made

NETS = ("zfnet", "alexnet")


def _json(path: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("study", MEASURED)
def test_every_study_left_numbers_and_pictures(root: Path, study: str) -> None:
    results = Results(root / "results" / study, root)
    assert (results.estimates, {}) == read_metrics(root / "metrics" / f"{study}.json")
    figures = drawn(root / "results" / "figures" / study)
    assert figures
    for figure in figures:
        with Image.open(figure["path"]) as picture:
            picture.load()
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 50, figure["name"]
        assert figure["alt"]


@pytest.mark.parametrize("net", NETS)
def test_every_net_left_weights_and_beats_chance(root: Path, net: str) -> None:
    final = root / "models" / net / "final"
    for name in ("net.json", "weights.pt", "history.csv"):
        assert (final / name).stat().st_size > 0
    metrics = json.loads((root / "metrics" / f"train_{net}.json").read_text(encoding="utf-8"))
    classes = len(_json(root / "data" / "prepared" / "meta.json")["classes"])  # type: ignore[arg-type]
    chance = 100 * (1 - 1 / classes)
    assert metrics["val_top1_error"]["high"] < chance


def test_every_training_of_the_main_net_kept_its_epochs(root: Path) -> None:
    config = _json(root / "build" / "config.json")
    epochs = root / "models" / "zfnet" / "epochs"
    folders = [epochs, *epochs.glob("seed_*")]
    assert len(folders) == config["nets"]["zfnet"]["seeds"]  # type: ignore[index]
    for folder in folders:
        kept = _json(folder / "epochs.json")["kept"]
        assert isinstance(kept, list)
        assert len(kept) == config["training"]["epochs"]  # type: ignore[index]
    assert _json(root / "models" / "alexnet" / "epochs" / "epochs.json")["kept"] == []


def test_dvc_has_nothing_left_to_do(root: Path) -> None:
    done = subprocess.run(
        ["dvc", "status", "--json"], cwd=root, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout or "{}") == {}


def test_files_are_linked_and_not_copied(root: Path) -> None:
    """Where the file system has links: the cache and the checkout share what is large."""
    large = max((root / "data" / "prepared").iterdir(), key=lambda file: file.stat().st_size)
    twin = root / ".dvc" / "probe"
    try:
        os.link(large, twin)
    except OSError:
        pytest.skip("no hard links here")
    twin.unlink()
    assert large.stat().st_nlink > 1


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
