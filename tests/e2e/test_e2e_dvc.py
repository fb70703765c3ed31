"""DVC and Hydra together, in a copy: what an edit re-runs, experiments, queues, sweeps.

Most of it needs no training: `dvc commit` records made-up outs, and `dvc status` then tells what an
edit would run.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from .conftest import Run


def _fake_outs(project: Path) -> None:
    """Put something where every stage's outs belong."""
    stages = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in stages.values():
        for net in (stage.get("matrix") or {"net": [""]})["net"]:
            for out in [*(stage.get("outs") or []), *(stage.get("metrics") or [])]:
                name = next(iter(out)) if isinstance(out, dict) else out
                path = project / name.replace("${item.net}", net)
                if path.exists():
                    continue
                if path.suffix:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text("{}\n", encoding="utf-8")
                else:
                    path.mkdir(parents=True)
                    (path / "file").write_text(name, encoding="utf-8")


@pytest.fixture
def committed(project: tuple[Path, Run]) -> tuple[Path, Run]:
    """A copy in which every stage counts as done."""
    folder, run = project
    run("dvc", "repro", "-q", "compose")
    _fake_outs(folder)
    run("dvc", "commit", "-q", "-f")
    assert _changed(run) == set()
    return folder, run


def _changed(run: Run) -> set[str]:
    """Stages that `dvc repro` would run because an input of theirs changed."""
    return set(json.loads(run("dvc", "status", "--json").stdout or "{}"))


def _edit(file: Path, before: str, after: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


def test_an_edit_reruns_exactly_what_it_affects(committed: tuple[Path, Run]) -> None:
    folder, run = committed
    report = {"report", "track"}
    edits = [
        ("conf/study/occlusion.yaml", "stride: 8", "stride: 6", {"occlusion"}),
        (
            "conf/training/paper.yaml",
            "momentum: 0.9",
            "momentum: 0.8",
            {"train@zfnet", "train@alexnet"},
        ),
        ("conf/experiment/quick.yaml", "    width: 0.25", "    width: 0.3", {"train@alexnet"}),
        ("conf/tracking/offline.yaml", "mode: offline", "mode: disabled", set()),
        ("conf/data/synthetic.yaml", "store: raw", "store: jpeg", {"prepare"}),
        ("conf/model/zfnet_wide.yaml", "arch: zfnet", "arch:  zfnet", None),
    ]
    for name, before, after, affected in edits:
        _edit(folder / name, before, after)
        run("dvc", "repro", "-q", "compose")
        changed = _changed(run)
        assert changed == (set() if affected is None else affected | report), name
        _edit(folder / name, after, before)
    run("dvc", "repro", "-q", "compose")
    assert _changed(run) == set()


def test_a_template_edit_retrains_nothing_and_a_method_edit_reruns_its_studies(
    committed: tuple[Path, Run],
) -> None:
    folder, run = committed
    template = folder / "src/zfnet/report/templates/index.html.j2"
    template.write_text(template.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert _changed(run) == {"report"}
    method = folder / "src/zfnet/methods/occlusion.py"
    method.write_text(method.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    assert _changed(run) == {"report", "occlusion"}


def test_a_plain_repro_composes_what_was_edited_and_says_what_is_wrong(
    project: tuple[Path, Run],
) -> None:
    folder, run = project
    run("dvc", "repro", "-q", "compose")
    _edit(folder / "conf/training/paper.yaml", "lr: 0.01", "lr: 0.02")
    run("dvc", "repro", "-q", "compose")
    built = folder / "build" / "config.yaml"
    assert yaml.safe_load(built.read_text(encoding="utf-8"))["training"]["lr"] == 0.02
    _edit(folder / "conf/training/paper.yaml", "lr: 0.02", "lrr: 0.02")
    done = run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "training.lrr" in done.stderr
    assert "training.lr'" in done.stderr


def test_an_experiment_takes_overrides_with_hydras_grammar(project: tuple[Path, Run]) -> None:
    folder, run = project
    run(
        "dvc", "exp", "run", "compose", "-n", "one", "-S", "experiment=small",
        "-S", "set=['training.lr=0.02','model.without=[3,4]','data.path=\"a b\"']",
    )  # fmt: skip
    config = yaml.safe_load((folder / "build" / "config.yaml").read_text(encoding="utf-8"))
    assert config["name"] == "small"
    assert config["training"]["lr"] == 0.02
    assert config["nets"]["zfnet"]["without"] == [3, 4]
    assert config["data"]["path"] == "a b"


def _photo_folder(target: Path) -> None:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (2, 3, 40, 48, 3), dtype=np.uint8)
    for i, name in enumerate(("a", "b")):
        for split in ("train", "val"):
            for k in range(3):
                file = target / split / name / f"{k}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels[i, k]).save(file)


@pytest.mark.slow
def test_a_queued_sweep_finds_a_data_root_outside_the_repository(
    project: tuple[Path, Run], tmp_path: Path
) -> None:
    folder, run = project
    root = tmp_path / "machine data"
    _photo_folder(root / "raw" / "photos")
    common = "'data=folder','model.input_px=32','nets.alexnet.input_px=32'"
    for size in (32, 40):
        run(
            "dvc", "exp", "run", "--queue", "prepare", "-n", f"size{size}",
            "-S", f"set=[{common},'data.size={size}']", ZFNET_DATA=str(root),
        )  # fmt: skip
    run("dvc", "exp", "run", "--run-all", ZFNET_DATA=str(root))
    for size in (32, 40):
        run("dvc", "exp", "apply", f"size{size}")
        meta = json.loads((folder / "data/prepared/meta.json").read_text(encoding="utf-8"))
        assert meta["size"] == size
        assert meta["splits"] == {"train": 6, "val": 6}
        committed = (folder / "dvc.lock").read_text() + (folder / "build/config.yaml").read_text()
        assert str(tmp_path) not in committed


@pytest.mark.slow
def test_a_queued_experiment_runs_its_own_code(project: tuple[Path, Run]) -> None:
    """The queue works in a copy; an editable install elsewhere must not be what it runs."""
    folder, run = project
    _edit(folder / "src/zfnet/config.py", 'HEADER = """\\\n', 'HEADER = """\\\n# of this copy\n')
    run("dvc", "exp", "run", "--queue", "compose", "-n", "own")
    run("dvc", "exp", "run", "--run-all")
    run("dvc", "exp", "apply", "own")
    assert "# of this copy" in (folder / "build/config.yaml").read_text(encoding="utf-8")
