"""Runs one stage: on the composed configuration, as DVC does, or afresh by hand below runs/."""

from __future__ import annotations

import difflib
import importlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from zfnet import MAIN_NET
from zfnet.errors import UserError
from zfnet.pipeline import compose
from zfnet.pipeline.closure import closure_hash
from zfnet.pipeline.options import (
    DataOptions,
    ModelOptions,
    Section,
    TargetOptions,
    TrackingOptions,
    TrainingOptions,
    checked,
    shared,
)
from zfnet.pipeline.paths import Paths, find_weights, resolve_data_root
from zfnet.pipeline.registry import CODE_FILE, CONFIG_FILE, FOLDERS, NAMED_MODULES, NETLESS, STAGES
from zfnet.pipeline.studies import STUDIES
from zfnet.pipeline.timing import write_timing

SECTIONS: Mapping[str, type[Section]] = {
    "data": DataOptions,
    "training": TrainingOptions,
    "tracking": TrackingOptions,
}
EACH = "zfnet.studies.trainings"  # calls a study for each training of its nets
ADOPT = "zfnet.training.adopt"  # run by name, so that no net of our own depends on it
LONGEST_NAME = 200  # of a sweep's folder, made of its overrides; file systems allow 255 bytes


# ------------------------------------------------------------------------------ what a stage gets
def options_of(stage: str, config: Mapping[str, Any], net: str) -> Any:
    """The keys that a stage declares, typed: a study's options, or a namespace of sections."""
    if stage in STUDIES:
        kind = STUDIES[stage].options
        same = {key: config[key] for key in shared(kind)}
        return checked(kind, {**config["study"][stage], **same}, f"study.{stage}")
    found: dict[str, Any] = {}
    for key in STAGES[stage].keys:
        if key in SECTIONS:
            found[key] = checked(SECTIONS[key], config[key], key)
        elif key == "targets":
            found[key] = {
                name: checked(TargetOptions, each, f"targets.{name}")
                for name, each in config[key].items()
            }
        elif key == "nets.{net}":
            found["nets"] = {net: checked(ModelOptions, config["nets"][net], f"nets.{net}")}
        else:
            found[key] = config[key]
    return SimpleNamespace(**found)


def code_hashes(nets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The hash of each stage's code: what its module imports, what it runs or reads by name.

    One number a stage instead of thirty files: dvc.lock is read and written at every stage. Of
    train one a net: those that are adopted depend on what adopts them, the others do not.
    """
    read: dict[str, list[str]] = {}
    found: dict[str, Any] = {
        name: closure_hash(modules_of(name), read=read, folders=FOLDERS.get(name, ()))
        for name in STAGES
    }
    adopted = closure_hash((*modules_of("train"), ADOPT), read=read)
    found["train"] = {
        name: adopted if net["weights"] else found["train"] for name, net in nets.items()
    }
    return found


def modules_of(stage: str) -> tuple[str, ...]:
    """The modules whose imports are a stage's code."""
    every = (EACH,) if stage in STUDIES and STUDIES[stage].each else ()
    return (STAGES[stage].module, *every, *NAMED_MODULES.get(stage, ()))


# ------------------------------------------------------------------------------------ entry points
def compose_stage(root: Path) -> None:
    """The stage compose: build/config.json from params.yaml and conf/, and the hashes of the code.

    Both are composed and checked before either is written.
    """
    config = compose.compose(root, compose.read_params(root))
    compose.refuse_machine_paths(config)
    # DVC keeps four copies of this section in dvc.lock, which it parses at every stage
    config["targets"] = {name: each for name, each in config["targets"].items() if each["run"]}
    hashes = code_hashes(config["nets"])
    compose.write(config, root / CONFIG_FILE)
    compose.write(hashes, root / CODE_FILE)


def run_composed(root: Path, stage: str, net: str, file: Path) -> None:
    """Run a stage of the pipeline on a composed configuration, as DVC does."""
    started = time.time()
    config = compose.read(file)
    check_net(config, net)
    if stage != "train" and net != MAIN_NET:
        raise UserError(
            f"--net {net} with --config would write over the pipeline's results, which are of "
            f"{MAIN_NET}; drop --config, and the results go to a folder of their own under runs/"
        )
    data_root = bind_to_machine(config, root, net if stage == "train" else None)
    paths = Paths.of(root, stage, net, file.resolve(), data_root)
    if stage == "train":
        nets = config["nets"].items()
        others = {name: each for name, each in nets if each["seeds"] > 0 and name != net}
        paths = replace(paths, others=others)
    _execute(stage, net, config, _with_live_logger(paths, config, stage, net), started)


def run_by_hand(root: Path, stage: str, net: str, overrides: list[str], multirun: bool) -> None:
    """Run a stage on a configuration composed afresh, through Hydra, writing below runs/."""
    for combination in _checked_combinations(overrides, multirun):
        config = compose.compose(root, combination)
        check_net(config, net)
        _refuse_other_inputs(root, stage, net, config)
    compose.register_schema()
    os.environ["ZFNET_STAGE"] = stage
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach main(), which words them
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    def task(composed: Any) -> None:
        out = Path(HydraConfig.get().runtime.output_dir).resolve()
        _run_job(root, stage, net, compose.finalize(composed), out)

    GlobalHydra.instance().clear()
    before = sys.argv
    short = ["hydra.sweep.subdir=${hydra.job.num}"]  # names of all overrides may be too long a file
    sys.argv = [
        "zfnet",
        *overrides,
        *(short if sum(len(each) + 1 for each in overrides) > LONGEST_NAME else []),
        *(["--multirun"] if multirun else []),
    ]
    try:
        hydra.main(config_path=str(root / "conf"), config_name="config", version_base="1.3")(task)()
    finally:
        sys.argv = before


def check_net(config: Mapping[str, Any], net: str) -> None:
    """Raise UserError for a net that is not configured."""
    nets = list(config["nets"])
    if net not in nets:
        found = difflib.get_close_matches(net, nets, n=1)
        hint = f" (did you mean '{found[0]}'?)" if found else ""
        raise UserError(f"--net {net}: no such net{hint}; configured: {', '.join(nets)}")


def bind_to_machine(config: dict[str, Any], root: Path, net: str | None) -> Path:
    """Put this machine's paths into a configuration that is about to be used; the data folder.

    `net`: the net to be trained or adopted, whose weights are looked for.
    """
    data_root = resolve_data_root(config["data"]["root"], root)
    config["data"]["root"] = str(data_root)
    section = config["nets"][net] if net else {}
    for each in (section, *section.get("also", ())):
        if each.get("weights"):
            each["weights"] = find_weights(each["arch"], each["weights"], root, data_root)
    return data_root


# ----------------------------------------------------------------------------------------- by hand
def _checked_combinations(overrides: list[str], multirun: bool) -> list[list[str]]:
    """Return override lists without sweeps that between them hold every value of every sweep.

    Raises UserError for a sweep where no multirun is asked for.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        raise UserError(str(error).splitlines()[0]) from error
    values = []
    for text, override in zip(overrides, parsed, strict=True):
        if not override.is_sweep_override():
            values.append([text])
            continue
        if not multirun:
            raise UserError(
                f"{text} gives several values: add -m to run one job for each, or put the value in "
                "quotes if it is one"
            )
        try:
            swept = list(override.sweep_string_iterator())
        except HydraException:
            continue  # a glob or an interval, which only the sweeper itself can enumerate
        key = override.get_key_element()
        values.append([f"{key}={value}" for value in swept])
    first = [options[0] for options in values]
    combinations = [first]
    for i, options in enumerate(values):
        combinations += [[*first[:i], option, *first[i + 1 :]] for option in options[1:]]
    return combinations


def _refuse_other_inputs(root: Path, stage: str, net: str, config: dict[str, Any]) -> None:
    """Raise UserError if `config` would have had other inputs made than those that are read.

    A stage run by hand reads what `dvc repro` made by build/config.json: train the prepared
    images, a study also the trained net, unless the net under study is adopted.
    """
    file = root / CONFIG_FILE
    if stage in NETLESS or not file.is_file():
        return
    made = compose.read(file)
    machine = ("root", "download")  # say where the data come from, not what they are

    def inputs(whole: dict[str, Any]) -> dict[str, Any]:
        data = {key: value for key, value in whole.get("data", {}).items() if key not in machine}
        if stage == "train" or config["nets"][net]["weights"]:
            return {"data": data}
        section = whole.get("nets", {}).get(net)
        return {"data": data, "nets": {net: section}, "training": whole.get("training")}

    found = list(compose.differences(inputs(config), inputs(made)))
    if not found:
        return
    key, here, there = found[0]
    key = compose.as_override(key)
    wanted, instead = f"{key}={_as_typed(here)}", f"{key}={_as_typed(there)}"
    what = f"{wanted} decides what {stage} reads, but that was made with {instead}"
    more = f" ({len(found) - 1} more keys differ)" if len(found) > 1 else ""
    if config["name"] != made.get("name"):
        wanted, instead = f"experiment={config['name']}", f"experiment={made.get('name')}"
    raise UserError(
        f"{what}{more}, as {CONFIG_FILE} says. Put {wanted} into params.yaml and run "
        f"`uv run dvc repro`, or drop it here and run with {instead}."
    )


def _as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _run_job(root: Path, stage: str, net: str, config: dict[str, Any], out: Path) -> None:
    started = time.time()
    _refuse_other_inputs(root, stage, net, config)
    if stage == "train":  # asked for by name: also where the experiment leaves it out
        config["nets"][net]["seeds"] = max(1, config["nets"][net]["seeds"])
    compose.write(config, out / "config.json")
    # A studied net that is given, not trained, is adopted first, as train@<net> does under DVC.
    adopted = stage in STUDIES and bool(config["nets"][net]["weights"])
    data_root = bind_to_machine(config, root, net if adopted or stage == "train" else None)
    paths = Paths.by_hand(root, stage, net, out, data_root)
    paths = _with_live_logger(paths, config, stage, net)
    if adopted:
        adopt = replace(
            paths,
            final=out / "net",
            epochs=out / "net_epochs",
            metrics=out / "net.json",
            timing=out / "net_timing.json",
        )
        _execute("train", net, config, adopt, started)
        paths = replace(paths, net=adopt.final)
    _execute(stage, net, config, paths, started)
    if stage in STUDIES and STUDIES[stage].measures:
        _draw(stage, paths.results, out / "figures", root)
    print(f"zfnet: {stage} wrote {short(out)}", file=sys.stderr)


def _draw(study: str, results: Path, out: Path, root: Path) -> None:
    importlib.import_module(STAGES["figures"].module).draw(study, results, out, root)


def short(path: Path) -> str:
    """A path as seen from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


# --------------------------------------------------------------------------------------- execution
def _with_live_logger(paths: Paths, config: dict[str, Any], stage: str, net: str) -> Paths:
    """Let a training log to W&B while it runs, if tracking is online.

    `tracking` is no key of the train stage: changing it must retrain nothing.
    """
    if stage != "train" or config["tracking"]["mode"] != "online":
        return paths
    track = importlib.import_module(STAGES["track"].module)
    return replace(
        paths, live_logger=track.live_logger(options_of("track", config, net), paths, net)
    )


def _execute(stage: str, net: str, config: dict[str, Any], paths: Paths, started: float) -> None:
    """Run one stage's module, save what it returns, and write how long it took."""
    from zfnet.allocator import keep_freed_memory
    from zfnet.results import Measurement, save

    name = f"train@{net}" if stage == "train" else stage
    options = options_of(stage, config, net)
    if stage == "train" and options.nets[net].seeds == 0:
        absent = importlib.import_module("zfnet.models.absent")
        nothing = absent.publish_absent(net, paths.final, paths.epochs, paths.metrics)
        write_timing(paths.timing, name, started, nothing)
        return
    keep_freed_memory()
    if stage in STUDIES and STUDIES[stage].each:
        each = importlib.import_module(EACH).run_each
        outcome = each(STUDIES[stage], STAGES[stage].module, options, paths)
    else:
        run = importlib.import_module(STAGES[stage].module).run
        outcome = run(options, paths, net) if stage == "train" else run(options, paths)
    if isinstance(outcome, Measurement):
        save(outcome, paths.results, paths.metrics)
    write_timing(paths.timing, name, started, outcome if isinstance(outcome, dict) else None)


def stage_names(more: Sequence[str] = ()) -> list[str]:
    """Every stage of the pipeline, in order."""
    return ["compose", *STAGES, *more]
