"""Composition: conf/ and the registry to one plain, wholly checked dictionary.

Composition is Hydra's; this module adds the schema, made from the declared options, an error that
names the key at fault, and a check of every value of the whole configuration, so that what the last
stage could not do is refused before the first one runs. Needs no torch.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zfnet import MAIN_NET
from zfnet.errors import UserError
from zfnet.files import read_json, read_yaml
from zfnet.pipeline import wording
from zfnet.pipeline.options import (
    SEED_LIMIT,
    DataOptions,
    Device,
    ModelOptions,
    ScaleOptions,
    Section,
    Seed,
    TargetOptions,
    TrackingOptions,
    TrainingOptions,
    checked,
    defaults,
    nearest,
    shared,
)
from zfnet.pipeline.registry import CONFIG_FILE, NETS, TARGETS, net_node
from zfnet.pipeline.studies import STUDIES

MACHINE_KEYS = (  # keys that may name a file of this machine
    "data.path",
    "data.class_names",
    "nets.*.weights",
    "nets.*.also.*.weights",
    "targets.*.path",
    "study.correspondence.photos",
    "study.alignment.photos",
)


SECTIONS = ("data", "model", "nets", "scale", "targets", "training", "tracking", "study")
LAYERS = (1, 2, 3, 4, 5, 7)  # of which stage codes takes features where codes.layers is null


class RunOptions(Section):
    """The keys of the configuration's top that are no sections."""

    name: str = "quick"  # the experiment's
    seed: Seed = 0
    device: Device = "auto"


# ---------------------------------------------------------------------------------------- schema
def schema() -> dict[str, Any]:
    """Every key with its default, as Hydra's first node; {} is null there, so that it takes any."""
    model = defaults(ModelOptions)
    nets = {name: {**model, **net_node(name)} for name in NETS if name != MAIN_NET}
    whole = {
        **defaults(RunOptions),
        "weights": None,  # a short name for model.weights
        "data": defaults(DataOptions),
        "model": model,
        "nets": nets,
        "scale": defaults(ScaleOptions),
        "targets": {name: defaults(TargetOptions) for name in TARGETS},
        "training": defaults(TrainingOptions),
        "tracking": defaults(TrackingOptions),
        "study": {name: defaults(study.options) for name, study in STUDIES.items()},
    }
    found: dict[str, Any] = _without_empty(whole)
    return found


def _without_empty(value: Any) -> Any:
    """A null takes any mapping by an override, an empty mapping of a strict section takes none."""
    if isinstance(value, dict):
        return {key: _without_empty(each) for key, each in value.items()} or None
    return value


def register_schema() -> None:
    """Register the schema, `model=<net>` and `model=torchvision/<name>` in Hydra's store."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="schema", node=schema())
    for name in NETS:
        node = {**defaults(ModelOptions), **net_node(name)}
        store.store(group="model", name=name, node=_without_empty(node))
    for name in torchvision_names():
        arch = {"arch": f"torchvision/{name}"}
        store.store(group="model/torchvision", name=name, node=arch, package="model")


def torchvision_names() -> Sequence[str]:
    """The classifiers of torchvision, without importing it."""
    names: Sequence[str] = importlib.import_module(
        "zfnet.models.torchvision_names"
    ).TORCHVISION_NAMES
    return names


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
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise wording.explain(error, known_keys(), groups(root), overrides) from error
    return finalize(composed)


def finalize(composed: Any) -> dict[str, Any]:
    """Turn a composed DictConfig into a plain dictionary and check it.

    Every interpolation is resolved but `data.root`, which stays as written: paths of one machine
    must not enter a file that is committed.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    raw: dict[str, Any] = OmegaConf.to_container(composed, resolve=False)  # type: ignore[assignment]
    try:
        plain: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise UserError(f"conf/: {str(error).splitlines()[0]}") from error
    plain.pop("hydra", None)
    if plain["data"]:
        plain["data"]["root"] = raw["data"]["root"]
    return check(plain)


# ----------------------------------------------------------------------------------------- checks
def check(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Check a whole configuration and give it its canonical form: nets.zfnet for model.

    Raises UserError naming the first key whose value is impossible.
    """
    keys = known_keys()
    for key in SECTIONS:
        if not isinstance(plain[key], Mapping):
            raise UserError(f"{key}={plain[key]!r}: must be a section with keys")
    known = (*SECTIONS, "weights", *RunOptions.model_fields)
    unknown = [key for key in plain if key not in known]
    if unknown:
        raise UserError(f"unknown key '{unknown[0]}'{wording.nearest_key(unknown[0], keys)}")
    rest = {key: value for key, value in plain.items() if key in RunOptions.model_fields}
    _section(ScaleOptions, plain["scale"], "scale")
    found = _section(RunOptions, rest, "")
    found["data"] = _section(DataOptions, plain["data"], "data")
    found["training"] = _section(TrainingOptions, plain["training"], "training")
    found["tracking"] = _section(TrackingOptions, plain["tracking"], "tracking")
    if MAIN_NET in plain["nets"]:
        key = f"nets.{MAIN_NET}"
        raise UserError(f"unknown key '{key}'{wording.nearest_key(key, keys)}")
    nets = {MAIN_NET: plain["model"], **plain["nets"]}
    where = {name: "model" if name == MAIN_NET else f"nets.{name}" for name in nets}
    found["nets"] = {name: _section(ModelOptions, net, where[name]) for name, net in nets.items()}
    found["nets"][MAIN_NET]["seeds"] = found["nets"][MAIN_NET]["seeds"] or 1
    for name, net in found["nets"].items():
        _check_net(net, where[name], found)
        for number, section in enumerate(net["also"]):
            key = f"{where[name]}.also[{number}]"
            beside = net["also"][number] = _section(ModelOptions, section, key)
            _check_also(beside, key, net)
            _check_net(beside, key, found)
    found["targets"] = {
        name: _section(TargetOptions, each, f"targets.{name}")
        for name, each in plain["targets"].items()
    }
    for name, target in found["targets"].items():
        if target["protocol"] == "per_class" and not target["train_per_class"]:
            raise UserError(
                f"targets.{name}.train_per_class: name at least one number of images a class"
            )
    for name in plain["study"]:
        if name not in STUDIES:
            raise UserError(f"unknown key 'study.{name}'{nearest(name, STUDIES)}")
    found["study"] = {
        name: _section(study.options, _or_empty(plain["study"][name]), f"study.{name}")
        for name, study in STUDIES.items()
    }
    _check_together(found)
    return found


def _check_together(config: Mapping[str, Any]) -> None:
    """What no section alone can say: seeds that run out, layers of which there are no features."""
    most = max(net["seeds"] for net in config["nets"].values())
    if config["seed"] + most > SEED_LIMIT:
        raise UserError(
            f"seed={config['seed']}: seeds are counted upwards for {most} trainings and must stay "
            f"below {SEED_LIMIT}"
        )
    study = config["study"]
    there = study["codes"]["layers"] or LAYERS
    for key, wanted in (
        ("probe.svm_layers", study["probe"]["svm_layers"]),
        ("probe.softmax_layers", study["probe"]["softmax_layers"]),
        ("codes.layers, for transfer", (7,)),
    ):
        lacking = sorted(set(wanted) - set(there))
        if lacking and any(target["run"] for target in config["targets"].values()):
            raise UserError(
                f"study.{key}: stage codes takes features of layers {list(there)} "
                f"(study.codes.layers), not of {lacking}"
            )


def _or_empty(section: Any) -> Any:
    """A study without options of its own has no keys, which the schema holds as null."""
    return {} if section is None else section


def _section(kind: type[Section], section: Any, where: str) -> dict[str, Any]:
    """The checked section as plain JSON types, without the keys that it shares."""
    if not isinstance(section, Mapping):
        raise UserError(f"{where}={section!r}: must be a section with keys")
    given = {
        key: value
        for key, value in section.items()
        if value is not None or not _is_mapping(kind, key)
    }
    dropped = set(shared(kind))
    wrong = sorted(dropped & set(given))
    if wrong:
        raise UserError(f"unknown key '{where}.{wrong[0]}' (write '{wrong[0]}' alone)")
    plain: dict[str, Any] = checked(kind, given, where).model_dump(mode="json", exclude=dropped)
    return plain


def _is_mapping(kind: type[Section], key: str) -> bool:
    return key in kind.model_fields and isinstance(kind.model_fields[key].default, dict)


def _check_net(net: dict[str, Any], where: str, config: Mapping[str, Any]) -> None:
    """What types cannot say of one net: its recipe, its size, its weights."""
    if "threads" in net["training"]:
        raise UserError(
            f"{where}.training.threads: the same for all nets, which share cores; training.threads"
        )
    recipe = merged(config["training"], net["training"])
    checked(TrainingOptions, recipe, f"{where}.training")
    if recipe["devices"] == 0:
        raise UserError("training.devices=0: give a number of processes, or -1 for every GPU")
    foreign = net["arch"].startswith("torchvision/")
    if foreign:
        if net["arch"].partition("/")[2] not in torchvision_names():
            raise wording.unknown_torchvision(net["arch"].partition("/")[2], torchvision_names())
        if not net["weights"]:
            raise UserError(
                f"model={net['arch']} needs weights: weights=<file below weights/> or "
                "weights=<torchvision's name, e.g. DEFAULT>"
            )
        return
    if net["seeds"] and net["input_px"] > config["data"]["size"]:
        raise UserError(
            f"{where}.input_px={net['input_px']} is larger than data.size="
            f"{config['data']['size']}: the net cannot see more than is stored. "
            "Raise data.size or lower input_px."
        )
    same = ("width", "input_px", "without", "fc_units", "middle_maps", "grouped", "lrn", "changes")
    try:
        importlib.import_module("zfnet.models.spec").build_spec(
            net["arch"], num_classes=2, **{key: net[key] for key in same}
        )
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _check_also(net: Mapping[str, Any], where: str, beside: Mapping[str, Any]) -> None:
    """Nets that answer side by side must all come with their weights."""
    if not net["weights"]:
        raise UserError(f"{where}.weights: must be given, as nothing is trained beside another net")
    if not beside["weights"] or net["also"]:
        raise UserError(f"{where}: goes beside a net with weights, and beside no other such net")


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, sections key by key."""
    found = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if both else value
    return found


def refuse_machine_paths(config: Mapping[str, Any]) -> None:
    """Raise UserError for a path of this machine, which must not enter build/config.json."""
    data_root = config["data"]["root"]
    # Also as what an interpolation falls back on: ${oc.env:ZFNET_DATA,/disk}.
    if any(map(_is_machine_path, data_root.split(","))):
        raise UserError(
            f"data.root={data_root} is a path of this machine, which must not enter {CONFIG_FILE}. "
            "Drop it and set the environment's ZFNET_DATA instead, e.g. ZFNET_DATA=/disk uv run "
            "dvc repro."
        )
    patterns = [re.escape(key).replace(r"\*", r"\w+") for key in MACHINE_KEYS]
    for key, value in flatten(config):
        named = any(re.fullmatch(pattern, key) for pattern in patterns)
        if named and value and _is_machine_path(value):
            place = "weights/" if key.endswith("weights") else "raw/"
            raise UserError(
                f"{as_override(key)}={value} is a path of this machine, which must not enter "
                f"{CONFIG_FILE}. Put (or link) it below the data root's {place}, name it from "
                "there, and let ZFNET_DATA say where the data root is."
            )


def _is_machine_path(text: str) -> bool:
    return text.strip(" '\"").startswith(("/", "~"))


# ------------------------------------------------------------------------------------------ files
def write(config: Mapping[str, Any], path: Path) -> None:
    """Write a composed configuration as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its own for each process: those of one torchrun write the same file at the same time.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    text = json.dumps(dict(config), indent=1, ensure_ascii=False, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Read what `write` wrote. Raises UserError if it is missing or no mapping."""
    if not path.is_file():
        raise UserError(f"{path} is missing: run `uv run dvc repro compose`, which writes it")
    return read_json(path)


def read_params(root: Path) -> list[str]:
    """Return params.yaml as Hydra overrides: the experiment first, then the items of `set`.

    Raises UserError if `set` is not a list of strings or another key is there.
    """
    try:
        params = read_yaml(root / "params.yaml")
    except UserError as error:
        reason = str(error).splitlines()[0].partition(": run")[0]
        raise UserError(
            f"{reason}: params.yaml holds `experiment: NAME` and `set: []`; "
            "`git checkout params.yaml` brings the default back"
        ) from error
    known = ("experiment", "set")
    for key in params:
        if key not in known:
            raise UserError(
                f"params.yaml: unknown key '{key}'{nearest(str(key), known)}; it holds only "
                "`experiment` and `set`. To change a value write set: ['the.key=value']."
            )
    experiment = params.get("experiment", "quick")
    if not isinstance(experiment, str) or not experiment:
        raise UserError(f"params.yaml: experiment={experiment!r}: must be a name, e.g. quick")
    overrides = params.get("set") or []
    if not isinstance(overrides, list) or not all(isinstance(item, str) for item in overrides):
        raise UserError(
            "params.yaml: `set` must be a list of override strings, e.g. "
            "set: ['training.lr=0.02', 'seed=1']"
        )
    return [f"experiment={experiment}", *overrides]


# ------------------------------------------------------------------------------------------- keys
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
        if isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
            value = {str(number): each for number, each in enumerate(value)}
        if isinstance(value, Mapping):
            yield from flatten(value, f"{dotted}.")


def known_keys() -> list[str]:
    """Return every dotted key that may be overridden."""
    return [key for key, _ in flatten(schema())]


def option_names(root: Path, group: str) -> list[str]:
    """Return the options of one Hydra group, the files of its folder in conf/."""
    return sorted(path.stem for path in (root / "conf" / group).glob("*.yaml"))


def groups(root: Path) -> dict[str, list[str]]:
    """Return every Hydra group and its options."""
    found = {"model": list(NETS), "model/torchvision": list(torchvision_names())}
    for path in sorted((root / "conf").rglob("*.yaml")):
        group = path.parent.relative_to(root / "conf").as_posix()
        if group != ".":
            found.setdefault(group, []).append(path.stem)
    return found
