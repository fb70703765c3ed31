"""Composition, its errors, and the view that a stage receives."""

from __future__ import annotations

import copy
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from zfnet.errors import UserError
from zfnet.pipeline import compose as conf
from zfnet.pipeline.options import StudyOptions, TrainingOptions
from zfnet.pipeline.paths import find_weights, resolve_data_root
from zfnet.pipeline.registry import NETS, STAGES
from zfnet.pipeline.run import options_of
from zfnet.pipeline.studies import STUDIES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """A copy of what composition reads, to be damaged."""
    shutil.copytree(root / "conf", tmp_path / "conf")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(root / name, tmp_path / name)
    return tmp_path


@functools.cache
def _composed(*overrides: str) -> dict[str, Any]:
    return conf.compose(ROOT, overrides)


def composed(*overrides: str) -> dict[str, Any]:
    """A copy of what Hydra composes, which takes half a second, and the check makes of it."""
    return copy.deepcopy(_composed(*overrides))


@functools.cache
def _unchecked() -> dict[str, Any]:
    """The default as Hydra hands it to the check."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conf, "check", lambda plain: plain)
        return conf.compose(ROOT)


def changed(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy with one value changed."""
    node = whole = copy.deepcopy(config)
    *path, last = key.split(".")
    for part in path:
        node = node[part]
    node[last] = value
    return whole


EXPERIMENTS = conf.option_names(ROOT, "experiment")
GROUPS = {group: conf.option_names(ROOT, group) for group in ("data", "training", "tracking")}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_says_how_it_is_called(experiment: str) -> None:
    assert composed(f"experiment={experiment}")["name"] == experiment
    head = (ROOT / "conf" / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8")
    assert head.splitlines()[1].startswith("# Command:  uv run dvc")


@pytest.mark.parametrize(("place", "net"), list(enumerate(NETS)))
def test_every_option_composes(place: int, net: str) -> None:
    """A net a time, with options of the other groups, which are fewer, in turn."""
    assert all(len(options) <= len(NETS) for options in GROUPS.values())
    others = [f"{group}={options[place % len(options)]}" for group, options in GROUPS.items()]
    assert composed(f"model={net}", *others, "data.size=256", "scale.zfnet_px=80",
                    "scale.alexnet_px=80")  # fmt: skip


def test_paper_recipe_is_the_default_of_the_schema(root: Path) -> None:
    paper = yaml.safe_load((root / "conf" / "training" / "paper.yaml").read_text(encoding="utf-8"))
    defaults = TrainingOptions()
    for key, value in paper.items():
        assert getattr(defaults, key) == value, key


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("traning.lr=1", ["traning.lr", "training.lr"]),
        ("training.plateau.factr=1", ["training.plateau.factr", "training.plateau.factor"]),
        ("experiment=qick", ["experiment=qick", "'quick'", "imagenette"]),
        ("experimnt=quick", ["experimnt", "experiment"]),
        ("dataa=folder", ["dataa", "'data'"]),
        ("model=zfnett", ["zfnett", "'zfnet'"]),
        ("model=torchvision/resnet19", ["resnet19", "'resnet18'"]),
        ("model=torchvision/alexnet", ["torchvision/alexnet", "weights="]),
        ("+training.foo=1", ["training.foo"]),
        ("nets.alexnt.width=1", ["nets.alexnt.width", "'nets.alexnet.width'"]),
        ("nets.zfnet.width=1", ["nets.zfnet.width", "'model.width'"]),
        ("study.features.figure_maps={6:2}", ["has no item '6'", "+study.features.figure_maps="]),
        ("+study.scratch.seed=1", ["study.scratch.seed", "'seed'"]),
        ("training.lr=abc", ["training.lr=abc", "number"]),
    ],
)
def test_a_bad_override_names_the_key_and_the_nearest_right_one(
    override: str, expected: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        conf.compose(ROOT, [override])
    for part in expected:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs=0", "training.epochs=0: must be at least 1"),
        ("training.crop=tem", "training.crop=tem.*'ten'"),
        ("training.devices=0", "training.devices=0.*-1"),
        ("model.input_px=500", "model.input_px=500.*data.size=112"),
        ("study.features.top_k=null", "study.features.top_k=null.*whole number"),
        ("study.features.choose=randm", "study.features.choose=randm.*'random'"),
        ("study.features.layers=[1,a]", r"study.features.layers\[1\]=a.*whole number"),
        ("study.features.figure_maps={a:2}", "study.features.figure_maps.a.*whole number"),
        ("study.features.max_images=[1]", r"study.features.max_images=\[1\].*whole number"),
        ("study.features.maps={6: [1]}", "maps"),
        ("study.occlusion.measured_stride=64", "measured_stride"),
        ("study.probe.svm_layers=[]", "svm_layers"),
        ("study.overlap.threshold=1.1", "threshold"),
        ("seed=100000000000000000000", "seed"),
        ("tracking.mode=on", "tracking.mode"),
        ("device=tpu", "device=tpu"),
        ("model.changes=3", "changes"),
        ("model.changes={1: {kernl: 3}}", "model: changes.1.kernl.*'kernel'"),
        ("nets.alexnet.seeds=99999999999", "seed=10: seeds are counted upwards"),
        ("study.probe.svm_layers=[6]", r"probe\.svm_layers.*\[6\]"),
        ("study.codes.layers=[5]", r"codes\.layers.*not of \["),
        ("study.features.layers=[1,1]", r"features\.layers.*each once"),
        ("training.steps.at=[0.9,0.1]", r"training\.steps\.at.*larger"),
        ("model.without=[3,3]", r"model\.without.*each once"),
        ("targets=null", "targets=None"),
        ("training=null", "training=None"),
        ("data.size=99999999999999999999", r"data\.size"),
        ("model.without=[9]", r"model.without\[0\]=9.*at most 7"),
        ("nets.alexnet.input_px=8", "nets.alexnet.*67 px"),
        ("nets.alexnet.training={lrr: 1}", r"'nets\.alexnet\.training\.lrr'.*training\.lr'"),
        ("nets.alexnet.training={init: hee}", r"alexnet\.training\.init=hee.*paper, scaled or he"),
        ("nets.alexnet.training={threads: 1}", r"nets\.alexnet\.training\.threads"),
        ("nets.alexnet.training=5", r"nets\.alexnet\.training=5: must be a mapping"),
        ("nets.alexnet.training={lr: -1}", r"nets\.alexnet\.training\.lr=-1.*above 0"),
        ("targets.unseen.year=1999", "year=1999"),
        ("targets.unseen.train_per_class=[]", r"targets\.unseen\.train_per_class: name at least"),
        ("targets.unseen.train_per_class=[5,0]", r"unseen\.train_per_class\[1\]=0: must be"),
    ],
)
def test_an_impossible_value_of_any_stage_is_refused_before_the_first(
    override: str, message: str
) -> None:
    given = OverridesParser.create().parse_override(override)
    with pytest.raises(UserError, match=message):
        conf.check(changed(_unchecked(), given.key_or_group, given.value()))


def test_a_fault_in_a_file_of_conf_is_named(project: Path) -> None:
    file = project / "conf" / "training" / "paper.yaml"
    right = file.read_text(encoding="utf-8")
    for wrong, message in (
        (right.replace("epochs: 70", "epohcs: 70"), "training.epohcs.*'training.epochs'"),
        (right.replace("momentum: 0.9", "momentum: many"), "training.momentum=many.*number"),
    ):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(UserError, match=message):
            conf.compose(project)


def test_strings_lists_and_null_pass_through_hydras_grammar() -> None:
    config = composed(
        "data=folder",
        "data.path='my photos, 2'",
        "model.without=[3,4]",
        "training.max_filter_rms=null",
        "model.changes={1:{kernel:11,stride:4}}",
        "study.occlusion.ids=[a/b.png,'c d.png']",
    )
    assert config["data"]["path"] == "my photos, 2"
    assert config["nets"]["zfnet"]["without"] == [3, 4]
    assert config["training"]["max_filter_rms"] is None
    assert config["nets"]["zfnet"]["changes"] == {"1": {"kernel": 11, "stride": 4}}
    assert config["study"]["occlusion"]["ids"] == ["a/b.png", "c d.png"]


IMPOSSIBLE = ("nan", "inf", "-inf", "-1", "1.0e+400", "true", "[]", "{}", "'x'")


def _numbers() -> list[str]:
    """Every key of the configuration whose default is a number."""
    return [
        key
        for key, value in conf.flatten(conf.schema())
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


@pytest.mark.parametrize("value", IMPOSSIBLE)
def test_an_impossible_number_passes_nowhere(value: str) -> None:
    given = OverridesParser.create().parse_override(f"it={value}").value()
    passed = []
    for key in _numbers():
        if key == "training.devices" and value == "-1":
            continue
        try:
            conf.check(changed(_unchecked(), key, given))
        except UserError as error:
            passed += [] if key.rpartition(".")[2] in str(error) else [f"{key}: {error}"]
        else:
            passed.append(key)
    assert passed == []


def test_a_net_may_be_added_by_an_experiment(project: Path) -> None:
    file = project / "conf" / "experiment" / "three.yaml"
    head = (
        "# @package _global_\ndefaults:\n  - quick\n  - /model@nets.wide: zfnet_wide\n  - _self_\n"
    )
    file.write_text(f"{head}nets: {{wide: {{input_px: 64}}}}\n", encoding="utf-8")
    nets = conf.compose(project, ["experiment=three", "nets.wide.width=0.5"])["nets"]
    assert nets["wide"]["middle_maps"] == [512, 1024, 512]
    assert (nets["wide"]["input_px"], nets["wide"]["width"]) == (64, 0.5)
    file.write_text(head.replace("nets.wide", "nets.zfnet"), encoding="utf-8")
    with pytest.raises(UserError, match=r"nets\.zfnet.*write 'model'"):
        conf.compose(project, ["experiment=three"])


def test_params_yaml_is_two_keys_and_a_list(project: Path) -> None:
    params = project / "params.yaml"
    params.write_text("experiment: small\nset: ['seed=3']\n", encoding="utf-8")
    assert conf.read_params(project) == ["experiment=small", "seed=3"]
    params.write_text("set: {training.lr: 1}\n", encoding="utf-8")
    with pytest.raises(UserError, match="list of override strings"):
        conf.read_params(project)
    params.write_text("experimnt: small\n", encoding="utf-8")
    with pytest.raises(UserError, match="experiment"):
        conf.read_params(project)


def test_the_data_root_stays_unresolved_and_nothing_else_does(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZFNET_DATA", str(tmp_path / "elsewhere"))
    config = conf.compose(root)  # not one of before: the environment counts
    assert config["data"]["root"] == "${oc.env:ZFNET_DATA,data}"
    text = yaml.safe_dump(config)
    assert text.count("${") == 1
    assert str(tmp_path) not in text
    assert resolve_data_root(config["data"]["root"], root) == tmp_path / "elsewhere"
    monkeypatch.delenv("ZFNET_DATA")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert resolve_data_root(config["data"]["root"], root / "copy") == tmp_path / "data"


def test_the_studied_net_takes_the_first_slot() -> None:
    nets = composed("model=torchvision/resnet18", "weights=resnet18.pth")["nets"]
    assert nets["zfnet"]["arch"] == "torchvision/resnet18"
    assert nets["zfnet"]["weights"] == "resnet18.pth"
    assert nets["alexnet"]["weights"] is None


def test_write_read_round_trip(tmp_path: Path) -> None:
    config = composed()
    conf.write(config, tmp_path / "build" / "config.json")
    assert conf.read(tmp_path / "build" / "config.json") == config
    assert [file.name for file in (tmp_path / "build").iterdir()] == ["config.json"]
    with pytest.raises(UserError, match="compose"):
        conf.read(tmp_path / "missing.json")


def test_processes_that_write_the_same_file_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the ranks of one torchrun do, in the folder of their run."""
    file, replace = tmp_path / "config.json", Path.replace

    def late(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        conf.write(CONFIG, file)  # the other process, from beginning to end
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", late)
    conf.write(CONFIG, file)
    assert conf.read(file) == CONFIG


CONFIG = {"seed": 0, "training": {"lr": 0.01, "plateau": {"factor": 0.1}}}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_receives_the_keys_that_it_declares_and_no_others(stage: str) -> None:
    options = options_of(stage, composed(), "zfnet")
    held = set(options.model_dump() if isinstance(options, StudyOptions) else vars(options))
    declared = {key.partition(".")[0] for key in STAGES[stage].keys}
    own = set() if stage not in STUDIES else set(STUDIES[stage].options.model_fields)
    assert held == declared - {"study"} | own


def test_a_bad_key_is_reported_without_a_traceback(root: Path) -> None:
    command = [sys.executable, "-m", "zfnet", "train", "training.lrr=1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, "training.lrr" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import zfnet.cli, zfnet.pipeline.compose, zfnet.pipeline.run",
        "from zfnet.pipeline import compose as c, paths; c.compose(paths.find_root())",
        "from zfnet.cli import _dispatch; _dispatch(['--help'])",
        "import zfnet.report.stage",
        "import zfnet.report.track",
        "import zfnet.verdicts.command, zfnet.verdicts.stage",
    ],
)
def test_light_commands_import_nothing_heavy(root: Path, code: str) -> None:
    heavy = "('torch', 'torchvision', 'pytorch_lightning', 'wandb', 'sklearn', 'matplotlib', 'dvc')"
    program = (
        f"import sys\n{code}\nprint([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_weights_are_found_under_the_data_root_or_taken_for_torchvisions_name(
    tmp_path: Path,
) -> None:
    root, data = tmp_path / "checkout", tmp_path / "data"
    (data / "weights").mkdir(parents=True)
    (data / "weights" / "net.pth").write_bytes(b"x")
    arch = "torchvision/alexnet"
    found = find_weights(arch, "net.pth", root, data)
    assert found == str(data / "weights" / "net.pth")
    for name in ("IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1", "random"):
        assert find_weights(arch, name, root, data) == name
    with pytest.raises(UserError, match=r"gone\.pth: no such file"):
        find_weights(arch, "gone.pth", root, data)
    with pytest.raises(UserError, match="no such file"):
        find_weights("zfnet", "IMAGENET1K_V1", root, data)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("nets.zfnet.weights", "/disk/x.pt", "model.weights"),
        ("nets.alexnet.weights", "~/x.pt", "nets.alexnet.weights"),
        ("data.path", "/disk/photos", "data.path"),
        ("data.root", "/disk", "data.root=/disk .*ZFNET_DATA"),
        ("data.root", "${oc.env:ZFNET_DATA, /disk}", "data.root=.*ZFNET_DATA"),
    ],
)
def test_paths_of_a_machine_do_not_enter_the_committed_file(
    key: str, value: str, message: str
) -> None:
    config = changed(composed(), key, value)  # fine for a run by hand
    with pytest.raises(UserError, match=message):
        conf.refuse_machine_paths(config)
    conf.refuse_machine_paths(composed())
    conf.refuse_machine_paths(changed(composed(), "data.root", "elsewhere"))


def test_scale_moves_every_net_and_a_model_key_one() -> None:
    nets = composed("scale.width=0.5", "model.width=0.75")["nets"]
    assert nets["zfnet"]["width"] == 0.75
    assert {net["width"] for name, net in nets.items() if name != "zfnet"} == {0.5}


def test_experiments_say_which_rows_of_table_3_are_trained() -> None:
    def trained(experiment: str) -> dict[str, int]:
        nets = composed(f"experiment={experiment}")["nets"]
        return {name: net["seeds"] for name, net in nets.items() if net["seeds"]}

    assert trained("quick") == {"zfnet": 5, "alexnet": 3}
    assert trained("small") == dict.fromkeys(composed()["nets"], 3)
    assert trained("imagenette_cpu") == {"zfnet": 3, "alexnet": 3}
    assert len(trained("imagenette")) == 14
    assert trained("imagenet") == {"zfnet": 1, "alexnet": 1, "zfnet_wide": 1}
    # a row may be the net under study; it is then trained whatever the experiment says
    assert composed("model=alexnet_no7")["nets"]["zfnet"]["seeds"] == 1
