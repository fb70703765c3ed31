"""Stages run by hand: which net, which inputs, which weights; the stages themselves do nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from zfnet import cli
from zfnet.errors import UserError
from zfnet.pipeline import compose as conf
from zfnet.pipeline import run

Calls = list[tuple[str, str, Any, Any]]


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what composition reads, with the configuration that its inputs were made with."""
    folder = tmp_path_factory.mktemp("made") / "checkout"
    shutil.copytree(root / "conf", folder / "conf")
    shutil.copy(root / "dvc.yaml", folder)
    (folder / "params.yaml").write_text("experiment: quick\nset: []\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        cli._dispatch(["compose"])
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of its own for each test, which works in it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What would have been executed: stage, net, its view of the configuration, paths."""
    done: Calls = []

    def note(stage: str, net: str, config: Any, paths: Any, started: float) -> None:
        done.append((stage, net, run.options_of(stage, config, net), paths))

    monkeypatch.setattr(run, "_execute", note)
    monkeypatch.setattr(run, "_draw", lambda *given: None)
    return done


# ----------------------------------------------------------------------------------- which net
@pytest.mark.parametrize(("options", "net"), [(["--net", "alexnet"], "alexnet"), ([], "zfnet")])
def test_a_study_reads_the_net_that_is_named(
    project: Path, calls: Calls, options: list[str], net: str
) -> None:
    cli._dispatch(["features", *options])
    ((stage, _, _, paths),) = calls
    assert stage == "features"
    assert paths.net == project / "models" / net / "final"


def test_another_nets_study_does_not_write_over_the_pipelines_results(
    project: Path, calls: Calls
) -> None:
    with pytest.raises(UserError, match="drop --config"):
        cli._dispatch(["features", "--net", "alexnet", "--config", "build/config.json"])
    assert calls == []


@pytest.mark.parametrize(("net", "section"), [("alexnet", "nets.alexnet"), ("zfnet", "model")])
def test_a_given_net_is_adopted_before_it_is_studied(
    project: Path, calls: Calls, net: str, section: str
) -> None:
    arch = "torchvision/squeezenet1_1"
    given = [f"{section}.arch={arch}", f"{section}.weights=random", "training.epochs=3"]
    cli._dispatch(["features", "--net", net, *given])
    (adopted, studied) = calls
    assert adopted[:2] == ("train", net)
    assert adopted[2].nets[net].arch == arch
    assert studied[0] == "features"
    assert studied[3].net == adopted[3].final
    assert studied[3].net.is_relative_to(project / "runs" / "features")


def test_the_option_names_a_net_that_there_is_of_a_stage_about_one(
    project: Path, calls: Calls
) -> None:
    for stage in ("compose", "prepare", "track", "report"):
        with pytest.raises(UserError, match=f"--net goes with .*{stage} is about no one net"):
            cli._dispatch([stage, "--net", "alexnet"])
    for how in (["train"], ["features"], ["features", "--config", "build/config.json"]):
        with pytest.raises(UserError, match=r"--net alexnt: .*'alexnet'.*zfnet, alexnet"):
            cli._dispatch([*how, "--net", "alexnt"])
    assert not calls


# -------------------------------------------------------------------------------- which inputs
@pytest.mark.parametrize(
    ("command", "key", "value", "expected"),
    [
        ("train", "data.seed", 5, ["data.seed=5", "train", "data.seed=2", "params.yaml"]),
        ("features", "data.seed", 5, ["data.seed=5", "features", "data.seed=2"]),
        ("features", "nets.zfnet.width", 0.5, ["model.width=0.5", "model.width=0.25", "dvc repro"]),
        ("features", "nets.zfnet.without", [3], ["model.without=[3]", "model.without=[]"]),
        ("features alexnet", "nets.alexnet.width", 0.5, ["nets.alexnet.width=0.5", "width=0.25"]),
        ("occlusion", "training.lr", 0.02, ["training.lr=0.02", "training.lr=0.003"]),
        ("features", "training.max_filter_rms", None, ["=null", "training.max_filter_rms=0.1"]),
        ("train", "nets.zfnet.width", 0.5, []),
        ("train", "training.lr", 0.02, []),
        ("features", "study.features.top_k", 4, []),
        ("features", "seed", 3, []),
        ("features", "nets.alexnet.width", 0.5, []),
        ("features", "data.root", "elsewhere", []),
        ("prepare", "data.seed", 5, []),
        ("track", "data.seed", 5, []),
        ("report", "nets.zfnet.width", 0.5, []),
    ],
)
def test_what_decides_the_inputs_is_refused_and_no_more(
    project: Path, command: str, key: str, value: Any, expected: list[str]
) -> None:
    node = config = conf.read(project / "build" / "config.json")
    *path, last = key.split(".")
    for part in path:
        node = node[part]
    assert node[last] != value
    node[last] = value
    stage, _, net = command.partition(" ")
    if not expected:
        run._refuse_other_inputs(project, stage, net or "zfnet", config)
        return
    with pytest.raises(UserError) as caught:
        run._refuse_other_inputs(project, stage, net or "zfnet", config)
    for part in expected:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "-m", "data.seed=2,5"], "data.seed=5.* data.seed=2"),
        (["features", "experiment=small"], "experiment=small.*run with experiment=quick"),
    ],
)
def test_a_refused_run_leaves_nothing(
    project: Path, calls: Calls, command: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        cli._dispatch(command)
    assert not calls
    assert not (project / "runs").exists()


def test_without_a_composed_configuration_nothing_is_compared(project: Path, calls: Calls) -> None:
    shutil.rmtree(project / "build")
    cli._dispatch(["features", "model.width=0.5", "study.features.top_k=4"])
    assert [call[2].top_k for call in calls] == [4]
    assert list(project.glob("runs/features/*/config.json"))


# -------------------------------------------------------------------------------------- sweeps
def test_a_sweep_of_many_overrides_has_numbered_folders(project: Path, calls: Calls) -> None:
    shutil.rmtree(project / "build")
    cli._dispatch(["train", "-m", f"study.features.maps={{2: {list(range(90))}}}"])
    assert [call[3].final.parent.name for call in calls] == ["0"]


def test_a_sweep_runs_every_combination(project: Path, calls: Calls) -> None:
    cli._dispatch(["train", "-m", "model=zfnet,zfnet_wide", "seed=0,1"])  # as README has it
    assert len({call[3].final for call in calls}) == 4
    seen = {(bool(cfg.nets["zfnet"].middle_maps), cfg.seed) for _, _, cfg, _ in calls}
    assert seen == {(False, 0), (False, 1), (True, 0), (True, 1)}


def test_a_sweep_needs_its_option(project: Path, calls: Calls) -> None:
    for override in ("seed=0,1", "seed=range(0,3)", "model=glob(*)"):
        with pytest.raises(UserError) as caught:
            cli._dispatch(["features", override])
        assert f"{override} gives several values: add -m" in str(caught.value)
    with pytest.raises(UserError, match="seed"):
        cli._dispatch(["compose", "seed=0,1"])
    assert not calls


# ------------------------------------------------------------------------------------- weights
def test_weights_are_looked_for_only_where_their_net_is_trained_or_adopted(
    project: Path, calls: Calls
) -> None:
    cli._dispatch(["train", "--net", "alexnet", "weights=gone.pth"])
    with pytest.raises(UserError, match=r"weights=gone\.pth: no such file"):
        cli._dispatch(["features", "weights=gone.pth"])
    config = conf.compose(project, ["weights=gone.pth"])
    conf.write(config, project / "build" / "config.json")
    for stage in ("prepare", "features", "report"):
        cli._dispatch([stage, "--config", "build/config.json"])
    with pytest.raises(UserError, match=r"weights=gone\.pth: no such file"):
        cli._dispatch(["train", "--config", "build/config.json"])
