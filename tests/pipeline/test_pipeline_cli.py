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


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what composition reads, with the configuration that its inputs were made with."""
    shutil.copytree(root / "conf", tmp_path / "conf")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(root / name, tmp_path / name)
    (tmp_path / "params.yaml").write_text("experiment: quick\nset: []\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    cli._dispatch(["compose"])
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
@pytest.mark.parametrize("net", ["alexnet", "zfnet"])
def test_a_study_reads_the_net_that_is_named(project: Path, calls: Calls, net: str) -> None:
    cli._dispatch(["features", "--net", net])
    ((stage, _, _, paths),) = calls
    assert stage == "features"
    assert paths.net == project / "models" / net / "final"


def test_another_nets_study_does_not_write_over_the_pipelines_results(
    project: Path, calls: Calls
) -> None:
    with pytest.raises(UserError, match="drop --config"):
        cli._dispatch(["features", "--net", "alexnet", "--config", "build/config.json"])
    assert calls == []


def test_the_net_under_study_is_the_default(project: Path, calls: Calls) -> None:
    cli._dispatch(["occlusion"])
    assert calls[0][3].net == project / "models" / "zfnet" / "final"


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


@pytest.mark.parametrize("stage", ["compose", "prepare", "track", "report"])
def test_a_stage_about_no_one_net_refuses_the_option(
    project: Path, calls: Calls, stage: str
) -> None:
    with pytest.raises(UserError, match=f"--net goes with .*{stage} is about no one net"):
        cli._dispatch([stage, "--net", "alexnet"])
    assert not calls


@pytest.mark.parametrize("how", [[], ["--config", "build/config.json"]])
@pytest.mark.parametrize("stage", ["train", "features"])
def test_an_unknown_net_is_named_with_the_nearest(
    project: Path, calls: Calls, stage: str, how: list[str]
) -> None:
    with pytest.raises(UserError, match=r"--net alexnt: .*'alexnet'.*zfnet, alexnet"):
        cli._dispatch([stage, "--net", "alexnt", *how])
    assert not calls


# -------------------------------------------------------------------------------- which inputs
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["train", "data.seed=5"], ["data.seed=5", "train", "data.seed=1", "params.yaml"]),
        (["train", "-m", "data.seed=1,5"], ["data.seed=5", "data.seed=1"]),
        (["features", "data.seed=5"], ["data.seed=5", "features", "data.seed=1"]),
        (["features", "model.width=0.5"], ["model.width=0.5", "model.width=0.25", "dvc repro"]),
        (["features", "model.without=[3,4]"], ["model.without=[3, 4]", "model.without=[]"]),
        (
            ["features", "--net", "alexnet", "nets.alexnet.width=0.5"],
            ["nets.alexnet.width=0.5", "nets.alexnet.width=0.25"],
        ),
        (["occlusion", "training.lr=0.02"], ["training.lr=0.02", "training.lr=0.003"]),
        (["features", "experiment=small"], ["experiment=small", "run with experiment=quick"]),
        (["features", "training.max_filter_rms=null"], ["=null", "training.max_filter_rms=0.1"]),
    ],
)
def test_an_override_that_decides_the_inputs_is_refused(
    project: Path, calls: Calls, command: list[str], expected: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        cli._dispatch(command)
    for part in expected:
        assert part in str(caught.value)
    assert not calls
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["train", "model.width=0.5", "training.lr=0.02", "seed=3"],
        ["features", "study.features.top_k=4", "seed=3", "device=cpu", "tracking=disabled"],
        ["features", "nets.alexnet.width=0.5"],
        ["features", "data.root=elsewhere", "data.download=true"],
        ["prepare", "data.seed=5"],
        ["track", "data.seed=5"],
        ["report", "model.width=0.5"],
    ],
)
def test_other_overrides_are_the_runs_own(project: Path, calls: Calls, command: list[str]) -> None:
    cli._dispatch(command)
    assert [call[0] for call in calls] == command[:1]
    assert list(project.glob(f"runs/{command[0]}/*/config.json"))


def test_without_a_composed_configuration_nothing_is_compared(project: Path, calls: Calls) -> None:
    shutil.rmtree(project / "build")
    cli._dispatch(["features", "model.width=0.5"])
    assert calls


# -------------------------------------------------------------------------------------- sweeps
def test_a_sweep_of_many_overrides_has_numbered_folders(project: Path, calls: Calls) -> None:
    many = [
        *("training.lr=0.02", "training.momentum=0.8", "training.weight_decay=0.001"),
        *("training.epochs=3", "training.steps.factor=0.2", "training.plateau.factor=0.2"),
        *("training.plateau.patience=4", "training.max_filter_rms=0.2", "training.flip=false"),
    ]
    cli._dispatch(["train", "-m", "seed=0,1", *many])
    assert sorted(call[3].final.parent.name for call in calls) == ["0", "1"]


def test_a_sweep_runs_every_combination(project: Path, calls: Calls) -> None:
    cli._dispatch(["train", "-m", "model=zfnet,zfnet_wide", "seed=0,1"])  # as README has it
    assert len({call[3].final for call in calls}) == 4
    seen = {(bool(cfg.nets["zfnet"].middle_maps), cfg.seed) for _, _, cfg, _ in calls}
    assert seen == {(False, 0), (False, 1), (True, 0), (True, 1)}


@pytest.mark.parametrize("override", ["seed=0,1", "seed=range(0,3)", "model=glob(*)"])
def test_a_sweep_needs_its_option(project: Path, calls: Calls, override: str) -> None:
    for stage in ("train", "features"):
        with pytest.raises(UserError) as caught:
            cli._dispatch([stage, override])
        assert f"{override} gives several values: add -m" in str(caught.value)
    with pytest.raises(UserError, match="seed"):
        cli._dispatch(["compose", "seed=0,1"])
    assert not calls


# ------------------------------------------------------------------------------------- weights
def test_weights_are_looked_for_only_where_their_net_is_trained_or_adopted(
    project: Path, calls: Calls
) -> None:
    for command in (["prepare"], ["track"], ["report"], ["train", "--net", "alexnet"]):
        cli._dispatch([*command, "weights=gone.pth"])
    assert len(calls) == 4
    for stage in ("train", "features"):
        with pytest.raises(UserError, match=r"weights=gone\.pth: no such file"):
            cli._dispatch([stage, "weights=gone.pth"])
    config = conf.compose(project, ["weights=gone.pth"])
    conf.write(config, project / "build" / "config.json")
    for stage in ("prepare", "features", "report"):
        cli._dispatch([stage, "--config", "build/config.json"])
    with pytest.raises(UserError, match=r"weights=gone\.pth: no such file"):
        cli._dispatch(["train", "--config", "build/config.json"])
