"""Typed schema of the whole configuration, its composition, and the views that stages receive.

`conf/` holds the values, this file their names and types. Composition is Hydra's; this module adds
three things: an error that names the key at fault and the nearest right one, one plain dictionary
without interpolations (but for `data.root`, which belongs to the machine), and `StageConfig`, which
lets a stage read only the keys that it declares in dvc.yaml.

Nothing here imports torch: a misspelt key must be reported in seconds.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from zfnet import MAIN_NET
from zfnet.errors import UserError

CONFIG_FILE = "build/config.yaml"
CODE_FILE = "build/code.json"  # hash of each stage's code
HEADER = """\
# Composed from conf/ and params.yaml by `zfnet compose`, the first stage of `dvc repro`.
# Written anew each time: edit params.yaml (which experiment, which overrides) or conf/ (values).
"""


# --------------------------------------------------------------------------------------- schema
@dataclass
class DataConfig:
    """Where images come from and how they are stored once (zfnet.data)."""

    source: str = "synthetic"  # synthetic | folder | imagenette | imagenet
    root: str = "${oc.env:ZFNET_DATA,data}"  # machine's data folder; relative: to the checkout
    path: str | None = None  # folder of the source, below <root>/raw or <root>
    download: bool = False  # fetch what torchvision can fetch
    size: int = 256  # side of the stored square, px
    store: str = "raw"  # raw (uint8) | jpeg (quality 95, 4:4:4)
    max_bad_fraction: float = 0.001  # more undecodable files than this share is an error
    val_fraction: float | None = None  # folder without train/ and val/: share held out per class
    class_names: str | None = None  # folder: file of "<folder><tab><name>" lines, or JSON
    train_images: int = 2400  # synthetic
    val_images: int = 600  # synthetic
    seed: int = 0  # synthetic drawing, folder split
    version: int = 1  # of the synthetic generator


@dataclass
class LRNConfig:
    """Contrast normalisation across maps (Krizhevsky's constants; the paper prints none)."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0


@dataclass
class ModelConfig:
    """One net; zfnet.models.spec says what each value changes."""

    arch: str = "zfnet"  # zfnet | alexnet | torchvision/<name>
    width: float = 1.0  # multiplies maps and hidden units
    input_px: int = 224  # side of the square that the net sees
    without: list[int] = field(default_factory=list)  # layers left out, the paper's numbers
    fc_units: int = 4096  # units of layers 6 and 7, before `width`
    middle_maps: list[int] | None = None  # maps of layers 3-5, e.g. [512, 1024, 512]
    grouped: bool = False  # AlexNet: Krizhevsky's groups of two in layers 2, 4, 5
    lrn: LRNConfig = field(default_factory=LRNConfig)
    changes: Any = None  # alterations of layers, e.g. {1: {kernel: 11, stride: 4}}
    weights: str | None = None  # adopt these weights (file or torchvision's name), train nothing
    layers: Any = None  # torchvision nets: paper's layer number -> module path
    training: Any = None  # what this net's recipe changes, e.g. {init: he} (TrainingConfig's keys)
    seeds: int = 1  # nets trained: seed, seed + 1, ...; 0: not trained in this experiment


@dataclass
class ScaleConfig:
    """What the nets of conf/model/ share; `model.width` changes the net under study alone."""

    width: float = 1.0
    zfnet_px: int = 224
    alexnet_px: int = 227
    seeds: int = 1  # of zfnet, zfnet_wide and alexnet
    row_seeds: int = 1  # of the other nets


@dataclass
class TargetConfig:
    """One set that the trained net is carried over to (Tables 4-7), and its protocol."""

    run: bool = False
    source: str = "folder"  # unseen | caltech101 | caltech256 | voc | folder
    path: str | None = None  # below <data root>/raw
    download: bool = False
    size: int = 256  # side of the stored square, px
    store: str = "raw"
    max_bad_fraction: float = 0.001
    year: int = 2012  # voc: 2007 | 2012
    background: bool = False  # caltech: keep the background or clutter class
    images: int = 600  # unseen
    seed: int = 0  # unseen
    version: int = 1  # unseen
    protocol: str = "per_class"  # per_class (Tables 4, 5, 7) | voc (Table 6)
    train_per_class: list[int] = field(default_factory=lambda: [15, 30])
    curve_per_class: list[int] = field(default_factory=list)  # Fig. 9
    test_per_class: int | None = 50  # images a class at most; null: all that are left
    folds: int = 5
    scratch_folds: int = 5  # of them, at most how many train a net from scratch
    probe_per_class: int = 30  # Table 7
    paper: str | None = None  # table of paper/tables.yaml that stands beside ours


@dataclass
class PlateauConfig:
    """Lower the rate when validation error has not improved for `patience` epochs."""

    factor: float = 0.1  # new rate = rate x factor
    patience: int = 3  # epochs without improvement that pass first
    threshold: float = 0.1  # improvement that counts, points (%) of validation error


@dataclass
class StepsConfig:
    """Lower the rate at fixed shares of the training length."""

    at: list[float] = field(default_factory=lambda: [0.6, 0.85])  # shares of `epochs`
    factor: float = 0.1


@dataclass
class TrainingConfig:
    """How a net is trained; the defaults are the paper's, or its silence (zfnet.training)."""

    epochs: int = 70
    batch_size: int = 128  # images a step, over all processes
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0  # the paper states none
    schedule: str = "plateau"  # plateau | steps
    plateau: PlateauConfig = field(default_factory=PlateauConfig)
    steps: StepsConfig = field(default_factory=StepsConfig)
    crop: str = "ten"  # ten (the paper's sub-crops) | random | centre
    flip: bool = True  # mirrored views
    init: str = "paper"  # paper: N(0, 0.01^2) | scaled: N(0, (0.01/sqrt(width))^2) | he
    max_filter_rms: float | None = 0.1  # conv filters above are scaled back; null: rule off
    dropout: float = 0.5  # layers 6, 7
    precision: str = "32-true"  # 32-true | bf16-mixed
    channels_last: bool = True
    compile: bool = False
    threads: int | None = None  # of a training on a CPU, others beside it; null: all cores
    devices: int = 1  # processes on this machine, one GPU each; -1: every GPU there is
    nodes: int = 1


@dataclass
class TrackingConfig:
    """W&B; `offline` needs no account, `disabled` does not import it."""

    mode: str = "offline"  # offline | online | disabled
    project: str = "zfnet"
    entity: str | None = None


@dataclass
class Config:
    """The whole configuration. `study` holds one section a study, typed by its file in conf/."""

    name: str = "quick"  # the experiment's
    seed: int = 0
    device: str = "auto"  # auto | cpu | cuda
    weights: str | None = None  # for `model`: adopt, do not train
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    nets: dict[str, ModelConfig] = field(default_factory=dict)  # what train@<net> trains
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    targets: dict[str, TargetConfig] = field(default_factory=dict)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    study: dict[str, Any] = field(default_factory=dict)


CHOICES: dict[str, tuple[str, ...]] = {  # keys as file name patterns
    "data.source": ("synthetic", "folder", "imagenette", "imagenet"),
    "data.store": ("raw", "jpeg"),
    "targets.*.source": ("unseen", "caltech101", "caltech256", "voc", "folder"),
    "targets.*.store": ("raw", "jpeg"),
    "targets.*.protocol": ("per_class", "voc"),
    "training.schedule": ("plateau", "steps"),
    "training.crop": ("ten", "random", "centre"),
    "training.init": ("paper", "scaled", "he"),
    "training.precision": ("32-true", "bf16-mixed"),
    "tracking.mode": ("offline", "online", "disabled"),
    "device": ("auto", "cpu", "cuda"),
    "study.*.split": ("train", "val"),
    "study.*.lrn": ("identity", "jacobian"),
    "study.features.choose": ("random", "active", "strongest", "specific", "named"),
    "study.features.spread": ("coarse", "edges", "colour", "grey", "support"),
    "study.evolution.choose": ("random", "active"),
    "study.evolution.measure": ("fixed", "own"),
    "study.invariance.fill": ("mean", "grey", "replicate"),
    "study.invariance.interpolation": ("bilinear", "bicubic"),
    "study.invariance.normalise": ("others", "norm", "none"),
    "study.occlusion.fill": ("grey", "zero", "mean", "blur", "noise"),
    "study.occlusion.projected": ("strongest", "all"),
    "study.classification.view": ("centre", "ten"),
    "study.ablation.view": ("centre", "ten"),
    "study.overlap.mean": ("colour", "image"),
    "study.correspondence.fill": ("grey", "mean", "zero"),
    "study.correspondence.random": ("own", "shared", "face"),
    "study.correspondence.within": ("image", "box"),
    "study.correspondence.zeros": ("third", "both", "chance"),
}
NET_MAPPINGS = {
    "changes": "{1: {kernel: 11}}",
    "layers": "{1: features.0}",
    "training": "{init: he}",
}
# What stands for null in a study's options, where that is not just any number.
NULL_TYPES: dict[str, type] = {
    "study.features.max_images": int,
    "study.architecture.max_images": int,
    "study.invariance.max_images": int,
    "study.codes.layers": list,
    "study.scratch.batch_size": int,
    "study.scratch.init": str,
    "study.scratch.normalise": str,
    "study.correspondence.classes": list,
    "study.correspondence.draw": str,
    "study.correspondence.photos": str,
}


# ------------------------------------------------------------------------------------ locations
def find_root(start: Path | None = None) -> Path:
    """Return the project's root: the nearest folder upwards that holds dvc.yaml and conf/.

    Outside any checkout the one that this package was installed from (editable) is taken.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "dvc.yaml").is_file() and (folder / "conf" / "config.yaml").is_file():
            return folder
    raise UserError(
        f"no project found: neither {here} nor a folder above it holds dvc.yaml and "
        "conf/config.yaml. Run zfnet inside a checkout of the project."
    )


def main_checkout(root: Path) -> Path:
    """Return the checkout whose ignored folders outlive a DVC experiment.

    Inside a queued or --temp experiment `root` is a copy that vanishes; DVC_ROOT names the main
    one.
    """
    return Path(os.environ.get("DVC_ROOT") or root).resolve()


def resolve_data_root(value: str, root: Path) -> Path:
    """Resolve `data.root` as composed, e.g. "${oc.env:ZFNET_DATA,data}", on this machine."""
    from omegaconf import OmegaConf

    resolved = str(OmegaConf.to_container(OmegaConf.create({"v": value}), resolve=True)["v"])  # type: ignore[index, call-overload]
    return (main_checkout(root) / Path(resolved).expanduser()).resolve()


def find_weights(arch: str, weights: str, root: Path, data_root: Path) -> str:
    """Return the file that `weights` names, or the name itself where it is torchvision's.

    A file is looked for under <data root>/weights/, then under the checkout. torchvision's names
    are such as DEFAULT and ResNet18_Weights.IMAGENET1K_V1. Raises UserError.
    """
    places = [data_root / "weights" / weights, root / weights, main_checkout(root) / weights]
    for place in places:
        if place.is_file():
            return str(place)
    if arch.startswith("torchvision/") and re.fullmatch(r"(\w+_Weights\.)?\w+", weights):
        return weights
    raise UserError(
        f"weights={weights}: no such file; looked for {' and '.join(map(str, places[:2]))}"
    )


# ---------------------------------------------------------------------------------- composition
def register_schema() -> None:
    """Register the schema and `model=torchvision/<name>` in Hydra's store."""
    from hydra.core.config_store import ConfigStore

    from zfnet.models.torchvision_names import TORCHVISION_NAMES

    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for name in TORCHVISION_NAMES:
        store.store(
            group="model/torchvision",
            name=name,
            node={"arch": f"torchvision/{name}"},
            package="model",
        )


def compose(root: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Compose `conf/` with `overrides` into one plain, checked dictionary.

    Raises UserError with the key or option at fault, and the nearest right one.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        try:
            composed = hydra_compose("config", list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise _explain(error, root, overrides, _default_nets()) from error
    return finalize(composed, root)


def finalize(composed: Any, root: Path) -> dict[str, Any]:
    """Turn a composed DictConfig into a plain dictionary and check what types cannot say.

    Every interpolation is resolved but `data.root`, which stays as written: paths of one machine
    must not enter a file that is committed.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    raw_root = OmegaConf.to_container(composed.data, resolve=False)["root"]  # type: ignore[index, call-overload]
    try:
        plain: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise UserError(f"conf/: {str(error).splitlines()[0]}") from error
    plain.pop("hydra", None)
    plain["data"]["root"] = raw_root
    plain.pop("weights", None)  # a short name for model.weights
    plain.pop("scale")  # resolved into every net
    _check_keys(plain, root)
    plain["nets"] = {MAIN_NET: plain.pop("model"), **plain["nets"]}
    plain["nets"][MAIN_NET]["seeds"] = plain["nets"][MAIN_NET]["seeds"] or 1
    for name, net in plain["nets"].items():
        for key, example in NET_MAPPINGS.items():
            given = net[key] or {}
            if not isinstance(given, dict):
                raise UserError(f"nets.{name}.{key}={given!r}: must be a mapping, e.g. {example}")
            net[key] = {str(item): value for item, value in given.items()}
    _check_choices(plain)
    _check_study_types(plain, root)
    _check_values(plain)
    return plain


def write(config: Mapping[str, Any], path: Path) -> None:
    """Write a composed configuration as YAML, atomically."""
    import yaml

    path.parent.mkdir(parents=True, exist_ok=True)
    text = HEADER + yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=100)
    # Its own for each process: those of one torchrun write the same file at the same time.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Read what `write` wrote. Raises UserError if it is missing or no mapping."""
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: run `uv run dvc repro compose`, which writes it"
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no mapping: run `uv run dvc repro compose` to write it anew")
    return config


def read_params(root: Path) -> list[str]:
    """Return params.yaml as Hydra overrides: the experiment first, then the items of `set`.

    Raises UserError if `set` is not a list of strings or another key is there.
    """
    import yaml

    path = root / "params.yaml"
    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: {error}") from error
    known = ("experiment", "set")
    for key in params:
        if key not in known:
            raise UserError(
                f"params.yaml: unknown key '{key}'{_nearest(str(key), known)}; it holds only "
                "`experiment` and `set`. To change a value write set: ['the.key=value']."
            )
    overrides = params.get("set") or []
    if not isinstance(overrides, list) or not all(isinstance(item, str) for item in overrides):
        raise UserError(
            "params.yaml: `set` must be a list of override strings, e.g. "
            "set: ['training.lr=0.02', 'seed=1']"
        )
    return [f"experiment={params.get('experiment', 'quick')}", *overrides]


# ----------------------------------------------------------------------------------- validation
def _check_keys(config: Mapping[str, Any], root: Path) -> None:
    """Refuse keys that `+key=value` added: nothing would read them."""
    keys = known_keys(root, config["nets"])
    for key, _ in flatten(config):
        free = key.startswith("study.") or any(f".{item}." in key for item in NET_MAPPINGS)
        if as_override(key) != key or (key not in keys and not free):
            raise UserError(f"unknown key '{key}'{_nearest_key(key, keys)}")


def _check_choices(config: Mapping[str, Any]) -> None:
    for key, value in flatten(config):
        for pattern, choices in CHOICES.items():
            if fnmatchcase(key, pattern) and value not in choices:
                hint = _nearest(str(value), choices)
                raise UserError(
                    f"{key}={value}: unknown choice{hint}; choose from {', '.join(choices)}"
                )


def _check_study_types(config: Mapping[str, Any], root: Path) -> None:
    """Hold every study's values against the types of the defaults in conf/study/<name>.yaml."""
    import yaml

    for study, section in config["study"].items():
        path = root / "conf" / "study" / f"{study}.yaml"
        if not path.is_file():
            raise UserError(f"conf/study/{study}.yaml is missing, but `study` names {study}")
        defaults = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for key, value in section.items():
            if key not in defaults:
                raise UserError(f"unknown key 'study.{study}.{key}'{_nearest(key, defaults)}")
            where = f"study.{study}.{key}"
            kind = NULL_TYPES.get(where, float)
            fault = _misfit(where, value, kind() if defaults[key] is None else defaults[key])
            if fault and not (value is None and defaults[key] is None):
                raise UserError(f"{fault} in conf/study/{study}.yaml (default {defaults[key]!r})")


def _misfit(key: str, value: Any, example: Any) -> str:
    """Say how `value` is not of the type of `example`; "" if it is.

    Lists and mappings are held against their example's first item; null stands for an empty one.
    """
    if isinstance(example, list | dict) and value is None:
        return ""
    if isinstance(value, bool) != isinstance(example, bool) or not (
        isinstance(value, type(example)) or (isinstance(example, float) and isinstance(value, int))
    ):
        found = "null" if value is None else type(value).__name__
        return f"{key}={value!r} is {found}, where {type(example).__name__} belongs, as"
    faults: list[str] = []
    if isinstance(value, list) and example:
        faults = [_misfit(f"{key}[{i}]", item, example[0]) for i, item in enumerate(value)]
    if isinstance(value, dict) and example:
        name, first = next(iter(example.items()))
        faults = [_misfit(f"{key}, its key", item, name) for item in value]
        faults += [_misfit(f"{key}.{k}", item, example.get(k, first)) for k, item in value.items()]
    return next(filter(None, faults), "")


def _check_values(config: Mapping[str, Any]) -> None:
    _check_training("training", config["training"])
    for name, target in config["targets"].items():
        _check_target(f"targets.{name}", target)
    for name, net in config["nets"].items():
        _check_recipe(name, net["training"], config["training"])
        if net["seeds"] < 0:
            raise UserError(f"nets.{name}.seeds={net['seeds']}: must be 0 (not trained) or more")
        external = str(net["arch"]).startswith("torchvision/")
        if not external and net["seeds"] and net["input_px"] > config["data"]["size"]:
            raise UserError(
                f"nets.{name}.input_px={net['input_px']} is larger than data.size="
                f"{config['data']['size']}: the net cannot see more than is stored. "
                "Raise data.size or lower input_px."
            )
        weights = net["weights"]
        if external and not weights:
            raise UserError(
                f"model={net['arch']} needs weights: weights=<file below weights/> or "
                "weights=<torchvision's name, e.g. DEFAULT>"
            )


def _check_training(where: str, training: Mapping[str, Any]) -> None:
    for key in ("epochs", "batch_size", "nodes"):
        _at_least(f"{where}.{key}", training[key], 1)
    if training["threads"] is not None:
        _at_least(f"{where}.threads", training["threads"], 1)
    if training["lr"] <= 0:
        raise UserError(f"{where}.lr={training['lr']}: must be above 0")
    if training["devices"] == 0 or training["devices"] < -1:
        raise UserError(
            f"{where}.devices={training['devices']}: give a number of processes, or -1 for "
            "every GPU"
        )


def _check_target(where: str, target: Mapping[str, Any]) -> None:
    for key in ("folds", "probe_per_class"):
        _at_least(f"{where}.{key}", target[key], 1)
    _at_least(f"{where}.scratch_folds", target["scratch_folds"], 0)
    if target["test_per_class"] is not None:
        _at_least(f"{where}.test_per_class", target["test_per_class"], 1)
    if target["protocol"] == "per_class" and not target["train_per_class"]:
        raise UserError(f"{where}.train_per_class: name at least one number of images a class")
    for key in ("train_per_class", "curve_per_class"):
        for i, images in enumerate(target[key]):
            _at_least(f"{where}.{key}[{i}]", images, 1)


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise UserError(f"{key}={value}: must be at least {least}")


def _check_recipe(name: str, changes: Mapping[str, Any], training: Mapping[str, Any]) -> None:
    """Hold one net's changes of the recipe against the section that they change."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    known = dict(flatten(training))
    for key, value in flatten(changes):
        where = f"nets.{name}.training.{key}"
        if key not in known:
            raise UserError(f"unknown key '{where}'{_nearest(key, known)}")
        if key == "threads":
            raise UserError(f"{where}: the same for all nets, which share cores; training.threads")
        choices = CHOICES.get(f"training.{key}")
        if choices and value not in choices:
            raise UserError(f"{where}={value}: unknown choice; choose from {', '.join(choices)}")
    try:
        recipe = OmegaConf.structured(TrainingConfig)
        merged = OmegaConf.merge(recipe, dict(training), dict(changes))
    except OmegaConfBaseException as error:
        raise UserError(f"nets.{name}.training: {str(error).splitlines()[0]}") from error
    _check_training(f"nets.{name}.training", dict(merged))


def refuse_machine_paths(config: Mapping[str, Any]) -> None:
    """Raise UserError for a path of this machine, which must not enter build/config.yaml."""
    data_root = config["data"]["root"]
    # Also as what an interpolation falls back on: ${oc.env:ZFNET_DATA,/disk}.
    if any(map(_is_machine_path, data_root.split(","))):
        raise UserError(
            f"data.root={data_root} is a path of this machine, which must not enter {CONFIG_FILE}. "
            "Drop it and set the environment's ZFNET_DATA instead, e.g. ZFNET_DATA=/disk uv run "
            "dvc repro."
        )
    found = {"data.path": config["data"]["path"], "data.class_names": config["data"]["class_names"]}
    found |= {f"nets.{name}.weights": net["weights"] for name, net in config["nets"].items()}
    found |= {f"targets.{name}.path": each["path"] for name, each in config["targets"].items()}
    photos = config["study"].get("correspondence", {}).get("photos")
    found["study.correspondence.photos"] = photos
    for key, value in found.items():
        if value and _is_machine_path(value):
            place = "weights/" if key.endswith("weights") else "raw/"
            raise UserError(
                f"{key}={value} is a path of this machine, which must not enter {CONFIG_FILE}. "
                f"Put (or link) it below the data root's {place}, name it from there, and let "
                "ZFNET_DATA say where the data root is."
            )


def _is_machine_path(text: str) -> bool:
    return text.strip(" '\"").startswith(("/", "~"))


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, value in `one`, value in `other`) where they differ; None: not there."""
    for key in {**one, **other}:
        here, there = one.get(key), other.get(key)
        if here and there and isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from differences(here, there, f"{prefix}{key}.")
        elif here != there:
            yield f"{prefix}{key}", here, there


def as_override(key: str) -> str:
    """Return a key of the composed configuration as one writes it in an override."""
    return re.sub(rf"^nets\.{MAIN_NET}\b", "model", key)


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every node, sections included."""
    for key, value in config.items():
        dotted = f"{prefix}{key}"
        yield dotted, value
        if isinstance(value, Mapping):
            yield from flatten(value, f"{dotted}.")


def _nearest(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{found[0]}'?)" if found else ""


def _nearest_key(key: str, known: Sequence[str]) -> str:
    """Suggest by the whole dotted key first, then by its last part anywhere."""
    if as_override(key) != key:
        return f" (the net under study is `model`: write '{as_override(key)}')"
    found = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    if not found:
        last = key.rsplit(".", 1)[-1]
        by_last = {k.rsplit(".", 1)[-1]: k for k in known}
        found = [
            by_last[m] for m in difflib.get_close_matches(last, list(by_last), n=1, cutoff=0.6)
        ]
    return f" (did you mean '{found[0]}'?)" if found else ""


def known_keys(root: Path, nets: Iterable[str]) -> list[str]:
    """Return every dotted key that the schema and conf/study/ define, `nets` being configured."""
    import yaml
    from omegaconf import OmegaConf

    schema: dict[str, Any] = OmegaConf.to_container(OmegaConf.structured(Config), resolve=False)  # type: ignore[assignment]
    for path in sorted((root / "conf" / "study").glob("*.yaml")):
        schema["study"][path.stem] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    schema["nets"] = {net: dict(schema["model"]) for net in nets}
    target = OmegaConf.to_container(OmegaConf.structured(TargetConfig), resolve=False)
    schema["targets"] = dict.fromkeys(option_names(root, "target"), target)
    return [key for key, _ in flatten(schema)]


def option_names(root: Path, group: str) -> list[str]:
    """Return the options of one Hydra group, the files of its folder in conf/."""
    return sorted(path.stem for path in (root / "conf" / group).glob("*.yaml"))


def _default_nets() -> list[str]:
    """Return the nets that conf/ configures beside `model`; Hydra must be initialised on it."""
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        return [str(net) for net in hydra_compose("config").nets]
    except (HydraException, OmegaConfBaseException):
        return []  # the fault is in conf/ itself


def groups(root: Path) -> dict[str, list[str]]:
    """Return every Hydra group and its options, read from the folders of conf/."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / "conf").rglob("*.yaml")):
        group = path.parent.relative_to(root / "conf").as_posix()
        if group != ".":
            found.setdefault(group, []).append(path.stem)
    return found


def _explain(
    error: Exception, root: Path, overrides: Sequence[str], nets: Sequence[str]
) -> UserError:
    """Translate Hydra's error into one line that names the key and the nearest right one."""
    text = str(error)
    options = groups(root)
    match = re.search(r"Could not find '([\w./-]+)/([^'/]+)'", text)
    if match:
        return _unknown_option(match.group(1), match.group(2), options)
    match = re.search(r"Could not override '([\w.@/-]+)'", text) or re.search(
        r"Key '([\w.]+)' is not in struct", text
    )
    keys = known_keys(root, nets)
    full = re.search(r"full_key: ([\w.\[\]]+)", text)
    if match and (not full or "not in" in text or "No match" in text):
        key = full.group(1) if full else match.group(1)
        item = re.search(r"Key '([^']*)' is not in struct", str(error.__cause__))
        if item and key in keys:
            return UserError(f"{key} has no item '{item.group(1)}'; to add it write +{key}=…")
        hint = _nearest_key(key, [*keys, *options])
        return UserError(f"unknown key '{key}'{hint}")
    match = re.search(r"Key '([\w.]+)' not in '(\w+)'", text)
    if match:
        key = full.group(1) if full else match.group(1)
        return UserError(f"unknown key '{key}'{_nearest_key(key, keys)}")
    lines = text.strip().splitlines()
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    cause = error.__cause__
    detail = str(cause).strip().splitlines()[0] if cause and str(cause) not in text else ""
    where = f" (at {full.group(1)})" if full else ""
    if not full and cause:
        deeper = re.search(r"full_key: ([\w.]+)", str(cause))
        where = f" (at {deeper.group(1)})" if deeper else ""
    given = f"; overrides given: {list(overrides)}" if overrides else ""
    return UserError(f"{first}{': ' + detail if detail else ''}{where}{given}")


def _unknown_option(group: str, option: str, options: dict[str, list[str]]) -> UserError:
    if group.startswith("model") and (group.endswith("torchvision") or "torchvision" in option):
        from zfnet.models.torchvision_names import TORCHVISION_NAMES

        return UserError(
            f"model=torchvision/{option}: torchvision has no such classifier"
            f"{_nearest(option, TORCHVISION_NAMES)}"
        )
    if group not in options:
        return UserError(f"unknown group '{group}'{_nearest(group, options)}")
    return UserError(
        f"{group}={option}: no such option{_nearest(option, options[group])}; "
        f"choose from {', '.join(options[group])}"
    )


# ----------------------------------------------------------------------------------- stage view
class StageConfig:
    """The part of a configuration that one stage declared in dvc.yaml, by attribute.

    `cfg.study.features.top_k` works for the stage that declares `study.features`; any other key
    raises UserError: DVC would not know that the stage depends on it.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        keys: Sequence[str] | None,
        stage: str,
        prefix: str = "",
    ) -> None:
        self._config = config
        self._keys = None if keys is None else tuple(keys)
        self._stage = stage
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        dotted = f"{self._prefix}{name}"
        keys = self._keys
        if keys is not None:
            if dotted in keys:
                keys = None
            elif not any(key.startswith(f"{dotted}.") for key in keys):
                raise UserError(
                    f"stage {self._stage} reads the config key '{dotted}', which it does not "
                    f"declare: add it under its params in dvc.yaml (declared: "
                    f"{', '.join(self._keys or ())})"
                )
        if name not in self._config:
            raise UserError(
                f"stage {self._stage} reads the config key '{dotted}', which conf/ does not "
                f"define{_nearest(name, self._config)}"
            )
        value = self._config[name]
        if isinstance(value, Mapping):
            return StageConfig(value, keys, self._stage, f"{dotted}.")
        return value

    def keys(self) -> list[str]:
        """Return the names at this level."""
        return list(self._config)

    def to_dict(self) -> dict[str, Any]:
        """Return what may be read, as a plain nested dictionary."""
        if self._keys is None:
            return {
                k: v.to_dict() if isinstance(v := self[k], StageConfig) else v for k in self._config
            }
        allowed: dict[str, Any] = {}
        for name in self._config:
            dotted = f"{self._prefix}{name}"
            if any(key == dotted or key.startswith(f"{dotted}.") for key in self._keys):
                value = self[name]
                allowed[name] = value.to_dict() if isinstance(value, StageConfig) else value
        return allowed
