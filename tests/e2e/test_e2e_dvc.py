"""DVC and Hydra together, in a copy: what an edit re-runs, experiments, queues, sweeps.

Most of it needs no training: `dvc commit` records made-up outs, and `dvc status` then tells what an
edit would run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from zfnet.pipeline import closure
from zfnet.pipeline.registry import NETS, STAGES
from zfnet.pipeline.run import ADOPT, code_hashes, modules_of

from .conftest import Run, copy_checkout

TRAININGS = {f"train@{net}" for net in NETS}
TELLING = {"verdicts", "figures", "track", "report"}
CARRIED = ("targets", "scratch", "transfer", "probe")  # whatever reads the section `targets`


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


@pytest.fixture(scope="module")
def committed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A copy in which every stage counts as done; tests put back what they edit."""
    folder = tmp_path_factory.mktemp("committed")
    run = copy_checkout(root, folder)
    run("dvc", "repro", "-q", "compose")
    _fake_outs(folder)
    run("dvc", "commit", "-q", "-f")
    assert _changed(run) == set()
    return folder, run


def _changed(run: Run) -> set[str]:
    """Stages that `dvc repro` would run because an input of theirs changed."""
    return set(json.loads(run("dvc", "status", "--json").stdout or "{}"))


def _importing(file: str) -> set[str]:
    """Stages whose code includes `file`, a path below src/; train stands for every training."""
    found = {
        name
        for name in STAGES
        if any(Path(file) in closure.import_closure(module) for module in modules_of(name))
    }
    return found - {"train"} | (TRAININGS if "train" in found else set())


def _edit(file: Path, before: str, after: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "before", "after", "affected"),
    [
        (
            *("conf/training/paper.yaml", "momentum: 0.9", "momentum: 0.8"),
            {*TRAININGS, "scratch"},
        ),
        ("conf/experiment/quick.yaml", "    max_maps: 16", "    max_maps: 15", {"evolution"}),
        pytest.param(
            *("conf/experiment/small.yaml", "  width: 0.25", "  width: 0.3", TRAININGS),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "src/zfnet/pipeline/registry.py",
            '{"without": [3, 4]}',
            '{"without": [3]}',
            {"train@alexnet_no34"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("conf/target/unseen.yaml", "images: 600", "images: 480", {*CARRIED}),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("conf/data/synthetic.yaml", "store: raw", "store: jpeg", {"prepare", "attributes"}),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("conf/data/synthetic.yaml", "store: raw", "store:  raw", set()),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_edit_of_a_value_reruns_exactly_what_it_affects(
    committed: tuple[Path, Run], file: str, before: str, after: str, affected: set[str]
) -> None:
    folder, run = committed
    _edit(folder / file, before, after)
    try:
        run("dvc", "repro", "-q", "compose")
        # these read the whole configuration; an edit of the registry is one of their code too
        wanted = affected | {"verdicts", "report", "track"} if affected else set()
        assert _changed(run) - {"figures"} == wanted
    finally:
        _edit(folder / file, after, before)


def _appended(folder: Path, run: Run, files: Iterable[Path]) -> set[str]:
    """Stages that would run after a line was added to each of `files`, which are put back."""
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    try:
        for file, text in texts.items():
            file.write_text(text + "\n", encoding="utf-8")
        run("dvc", "repro", "-q", "compose")
        return _changed(run)
    finally:
        for file, text in texts.items():
            file.write_text(text, encoding="utf-8")


def test_an_edit_of_what_tells_measures_and_trains_nothing(committed: tuple[Path, Run]) -> None:
    folder, run = committed
    package = folder / "src" / "zfnet"
    told = [package / "paper.py"]
    for room in ("figures", "report", "verdicts"):
        kinds = (".py", ".j2", ".css", ".js")
        told += [file for file in sorted((package / room).rglob("*")) if file.suffix in kinds]
    assert len(told) > 40
    assert _appended(folder, run, told) == TELLING


def test_an_edit_of_the_foreign_net_adapter_retrains_nothing(committed: tuple[Path, Run]) -> None:
    folder, run = committed
    changed = _appended(folder, run, [folder / "src/zfnet/models/foreign.py"])
    assert changed == set()  # no net of the default is foreign
    nets = {"zfnet": {"weights": None}, "adopted": {"weights": "net.pth"}}
    before = code_hashes(nets)["train"]
    assert before["zfnet"] != before["adopted"]  # which does depend on it
    adapter = Path("zfnet/models/foreign.py")
    assert adapter in closure.import_closure(ADOPT)


@pytest.mark.parametrize("file", ["studies/occlusion.py", "models/spec.py"])
def test_an_edit_of_code_reruns_the_stages_that_import_it(
    committed: tuple[Path, Run], file: str
) -> None:
    folder, run = committed
    changed = _appended(folder, run, [folder / "src" / "zfnet" / file])
    assert changed == _importing(f"zfnet/{file}")


def test_a_plain_repro_composes_what_was_edited_and_says_what_is_wrong(
    project: tuple[Path, Run],
) -> None:
    folder, run = project
    run("dvc", "repro", "-q", "compose")
    _edit(folder / "conf/training/paper.yaml", "momentum: 0.9", "momentum: 0.8")
    run("dvc", "repro", "-q", "compose")
    built = folder / "build" / "config.json"
    assert json.loads(built.read_text(encoding="utf-8"))["training"]["momentum"] == 0.8
    _edit(folder / "conf/training/paper.yaml", "momentum: 0.8", "momentun: 0.8")
    done = run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "training.momentun" in done.stderr
    assert "training.momentum" in done.stderr


def test_an_experiment_takes_overrides_with_hydras_grammar(project: tuple[Path, Run]) -> None:
    folder, run = project
    run(
        "dvc", "exp", "run", "compose", "-n", "one", "-S", "experiment=small",
        "-S", "set=['training.lr=0.02','model.without=[3,4]','data.path=\"a b\"']",
    )  # fmt: skip
    config = json.loads((folder / "build" / "config.json").read_text(encoding="utf-8"))
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
    common = "'data=folder','scale.zfnet_px=72','scale.alexnet_px=72'"
    for size in (72, 80):
        run(
            "dvc", "exp", "run", "--queue", "prepare", "-n", f"size{size}",
            "-S", f"set=[{common},'data.size={size}']", ZFNET_DATA=str(root),
        )  # fmt: skip
    run("dvc", "exp", "run", "--run-all", ZFNET_DATA=str(root))
    for size in (72, 80):
        config = _of_experiment(run, f"size{size}", "build/config.json")
        lock = _of_experiment(run, f"size{size}", "dvc.lock")
        assert json.loads(config)["data"]["size"] == size
        prepare = yaml.safe_load(lock)["stages"]["prepare"]
        assert prepare["params"]["build/config.json"]["data"]["size"] == size
        assert str(tmp_path) not in config + lock
        outs = {out["path"]: out["md5"] for out in prepare["outs"]}
        cached = folder / ".dvc/cache/files/md5" / outs["data/prepared"][:2]
        listing = json.loads((cached / outs["data/prepared"][2:]).read_text(encoding="utf-8"))
        assert {"train.arrow", "val.arrow", "meta.json"} <= {item["relpath"] for item in listing}


def _of_experiment(run: Run, name: str, file: str) -> str:
    """Text of `file` in the commit that holds a DVC experiment."""
    refs = run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    (ref,) = [ref for ref in refs if ref.endswith(f"/{name}")]
    return run("git", "show", f"{ref}:{file}").stdout


@pytest.mark.slow
def test_a_queued_experiment_runs_its_own_code(project: tuple[Path, Run]) -> None:
    """The queue works in a copy; an editable install elsewhere must not be what it runs."""
    folder, run = project
    _edit(folder / "src/zfnet/pipeline/options.py", "epochs: Count = 70", "epochs: Count = 71")
    _edit(folder / "conf/training/paper.yaml", "epochs: 70", "")
    _edit(folder / "conf/experiment/quick.yaml", "  epochs: 8", "  flip: true")
    _edit(folder / "conf/experiment/small.yaml", "  epochs: 16", "")
    run("dvc", "exp", "run", "--queue", "compose", "-n", "own")
    run("dvc", "exp", "run", "--run-all")
    config = json.loads(_of_experiment(run, "own", "build/config.json"))
    assert config["training"]["epochs"] == 71
