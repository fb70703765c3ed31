"""The one entry point: `zfnet STAGE --config build/config.yaml` (what DVC runs), `zfnet STAGE
[overrides]` (a run of one's own), and the small tools `show`, `publish`, `doctor` and `deps`.

Help, version and every error about the configuration come before torch is imported.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zfnet import MAIN_NET
from zfnet.errors import UserError

HELP = """\
zfnet - Visualizing and Understanding Convolutional Networks (Zeiler & Fergus 2014), reproduced

The whole pipeline:
  dvc repro                       run every stage whose inputs changed; params.yaml says on what
  dvc exp run -S experiment=NAME  the same as an experiment; NAME: {experiments}

One stage by hand, written under runs/ (KEY=VALUE are Hydra overrides, -m sweeps over commas):
  zfnet STAGE [--net NET] [-m] [KEY=VALUE ...]      NET: the net to train or to study
  zfnet train -m model=zfnet,alexnet seed=0,1
  STAGE: {stages}

Tools:
  zfnet show IMAGE [--model M] [--layer L] [--unit U] [--method X] [--out PNG]
                                  one picture: what in IMAGE drives one unit (show --help)
  zfnet compose [KEY=VALUE ...]   print the composed configuration
  zfnet verdicts [--compare REV]  what this run says of each claim of the paper; what changed
  zfnet publish [--draft]         upload the W&B runs, write a W&B Report (publish --help)
  zfnet doctor                    devices, disk, data found, versions
  zfnet deps [STAGE ...]          source files whose change re-runs a stage
  zfnet --version
"""
TOOLS = ("show", "publish", "doctor", "deps")
LONGEST_NAME = 200  # of a sweep's folder, made of its overrides; file systems allow 255 bytes
NETLESS = (
    "compose",
    "prepare",
    "targets",
    "verdicts",
    "track",
    "report",
)  # stages that are about no one net


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; exits 0, 2 (a fault of the request), 130 (interrupted) or 143."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _prefer_local_source()
    try:
        code = _dispatch(arguments)
    except UserError as error:
        print(f"zfnet: error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print(
            "zfnet: interrupted; what was finished is kept, run the same command again",
            file=sys.stderr,
        )
        code = 130
    except BrokenPipeError:
        code = 0
    sys.exit(code)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help(), end="")
        return 0
    if arguments[0] in ("-V", "--version", "version"):
        from zfnet import __version__

        print(f"zfnet {__version__}")
        return 0
    command, rest = arguments[0], arguments[1:]
    if command == "show":
        from zfnet.show import main as show

        return show(rest)
    if command == "doctor":
        from zfnet.doctor import main as doctor

        return doctor(rest)
    if command == "publish":
        from zfnet.pipeline.compose import find_root, main_checkout
        from zfnet.report.publish import main as publish

        root = find_root()
        return publish(rest, root, main_checkout(root))
    if command == "deps":
        return _deps(rest)
    if command == "verdicts" and not any(item.startswith("--config") for item in rest):
        from zfnet.pipeline.compose import find_root
        from zfnet.verdicts.command import main as verdicts

        return verdicts(rest, find_root())
    return _stage(command, rest)


def _help() -> str:
    from zfnet.pipeline.compose import find_root

    try:
        root = find_root()
        experiments = ", ".join(
            sorted(p.stem for p in (root / "conf" / "experiment").glob("*.yaml"))
        )
        stages = ", ".join(_stage_names(root))
    except UserError:
        experiments, stages = "quick, small, imagenette, imagenet", "prepare, train, ..., report"
    return HELP.format(experiments=experiments, stages=stages)


def _stage_names(root: Path) -> list[str]:
    from zfnet.pipeline.stages import pipeline

    return list(pipeline(root))


def _stage(command: str, rest: list[str]) -> int:
    from zfnet.pipeline import compose as conf

    root = conf.find_root()
    known = [*_stage_names(root), *TOOLS]
    if command not in known:
        found = difflib.get_close_matches(command, known, n=1)
        hint = f" (did you mean '{found[0]}'?)" if found else f"; known: {', '.join(known)}"
        raise UserError(f"unknown command '{command}'{hint}")
    if "-h" in rest or "--help" in rest:
        print(_help(), end="")
        return 0
    options, overrides = _options(rest)
    if command in NETLESS and "--net" in options:
        raise UserError(f"--net goes with train and the studies; {command} is about no one net")
    if command == "compose":
        return _compose(root, overrides)
    net = options.get("--net", MAIN_NET)
    if "--config" in options:
        if overrides or "--multirun" in options:
            raise UserError(
                f"--config takes everything from its file; drop {' '.join(overrides) or '-m'}, or "
                "drop --config to compose afresh"
            )
        return _run_composed(root, command, net, Path(options["--config"]))
    return _run_adhoc(root, command, net, overrides, multirun="--multirun" in options)


def _options(rest: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split `--config FILE --net NET -m` from Hydra overrides."""
    options: dict[str, str] = {}
    overrides: list[str] = []
    items = iter(rest)
    for item in items:
        name, equals, value = item.partition("=")
        if name in ("--config", "--net"):
            given = value if equals else next(items, "")
            if not given:
                raise UserError(f"{name} needs a value")
            options[name] = given
        elif item in ("-m", "--multirun"):
            options["--multirun"] = "yes"
        elif item.startswith("-"):
            raise UserError(f"unknown option '{item}'; known: --config FILE, --net NET, -m, --help")
        elif "=" in item or item.startswith("~"):
            overrides.append(item)
        else:
            raise UserError(f"'{item}' is no override; write KEY=VALUE, e.g. training.lr=0.02")
    return options, overrides


def _compose(root: Path, overrides: list[str]) -> int:
    """Write build/config.yaml from params.yaml, or print what `overrides` give."""
    from zfnet.pipeline import compose as conf

    if overrides:
        import yaml

        print(yaml.safe_dump(conf.compose(root, overrides), sort_keys=False), end="")
        return 0
    config = conf.compose(root, conf.read_params(root))
    conf.refuse_machine_paths(config)
    # DVC keeps four copies of this section in dvc.lock, which it parses at every stage
    config["targets"] = {name: each for name, each in config["targets"].items() if each["run"]}
    conf.write(config, root / conf.CONFIG_FILE)
    _write_code_hashes(root)
    return 0


def _write_code_hashes(root: Path) -> None:
    """Write build/code.json: for each stage the hash of the source files that it imports.

    One number a stage instead of thirty files: dvc.lock is read and written at every stage, and
    its length was a tenth of the default run's time.
    """
    from zfnet.pipeline import compose as conf
    from zfnet.pipeline import stages
    from zfnet.pipeline.closure import closure_hashes

    names = [name for name in _stage_names(root) if name != "compose"]
    hashes = closure_hashes({name: stages.module_of(name) for name in names})
    text = json.dumps(hashes, indent=1) + "\n"
    (root / conf.CODE_FILE).write_text(text, encoding="utf-8")


def _run_composed(root: Path, stage: str, net: str, file: Path) -> int:
    """Run a stage of the pipeline on a composed configuration, as DVC does."""
    from zfnet.pipeline import compose as conf
    from zfnet.pipeline import stages

    started = time.time()
    config = conf.read(file)
    _check_net(config, net)
    if stage != "train" and net != MAIN_NET:
        raise UserError(
            f"--net {net} with --config would write over the pipeline's results, which are of "
            f"{MAIN_NET}; drop --config, and the results go to a folder of their own under runs/"
        )
    data_root = _bind_to_machine(config, root, net if stage == "train" else None)
    cfg = conf.StageConfig(config, stages.declared_keys(root, stage, net), stage)
    paths = stages.pipeline_paths(root, stage, net, file.resolve(), data_root)
    if stage == "train":
        nets = config["nets"].items()
        others = {name: each for name, each in nets if each["seeds"] > 0 and name != net}
        paths = replace(paths, others=others)
    _execute(stage, net, cfg, _with_live_logger(paths, config, stage, net), started)
    return 0


def _check_net(config: dict[str, Any], net: str) -> None:
    """Raise UserError for a net that is not configured."""
    nets = list(config["nets"])
    if net not in nets:
        found = difflib.get_close_matches(net, nets, n=1)
        hint = f" (did you mean '{found[0]}'?)" if found else ""
        raise UserError(f"--net {net}: no such net{hint}; configured: {', '.join(nets)}")


def _bind_to_machine(config: dict[str, Any], root: Path, net: str | None) -> Path:
    """Put this machine's paths into a configuration that is about to be used; the data folder.

    `net`: the net to be trained or adopted, whose weights are looked for.
    """
    from zfnet.pipeline import compose as conf

    data_root = conf.resolve_data_root(config["data"]["root"], root)
    config["data"]["root"] = str(data_root)
    section = config["nets"][net] if net else {}
    if section.get("weights"):
        found = conf.find_weights(section["arch"], section["weights"], root, data_root)
        section["weights"] = found
    return data_root


def _with_live_logger(paths: Any, config: dict[str, Any], stage: str, net: str) -> Any:
    """Let a training log to W&B while it runs, if tracking is online.

    `tracking` is no key of the train stage: changing it must retrain nothing.
    """
    if stage != "train" or config["tracking"]["mode"] != "online":
        return paths
    from zfnet.pipeline.compose import StageConfig
    from zfnet.report.track import live_logger

    cfg = StageConfig(config, ["tracking"], "train")
    return replace(paths, live_logger=live_logger(cfg, paths, net))


def _run_adhoc(root: Path, stage: str, net: str, overrides: list[str], multirun: bool) -> int:
    """Run a stage on a configuration composed afresh, through Hydra, writing below runs/."""
    from zfnet.pipeline import compose as conf

    for combination in _checked_combinations(overrides, multirun):
        config = conf.compose(root, combination)
        _check_net(config, net)
        _refuse_other_inputs(root, stage, net, config)
    conf.register_schema()
    os.environ["ZFNET_STAGE"] = stage
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach main(), which words them
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    def task(composed: Any) -> None:
        out = Path(HydraConfig.get().runtime.output_dir).resolve()
        _run_job(root, stage, net, conf.finalize(composed, root), out)

    GlobalHydra.instance().clear()
    before = sys.argv
    sys.argv = [
        "zfnet",
        *overrides,
        *_short_names(overrides),
        *(["--multirun"] if multirun else []),
    ]
    try:
        hydra.main(config_path=str(root / "conf"), config_name="config", version_base="1.3")(task)()
    finally:
        sys.argv = before
    return 0


def _short_names(overrides: list[str]) -> list[str]:
    """An override that numbers a sweep's folders where their names would be too long for a file."""
    if sum(len(override) + 1 for override in overrides) <= LONGEST_NAME:
        return []
    return ["hydra.sweep.subdir=${hydra.job.num}"]


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

    A stage run by hand reads what `dvc repro` made by build/config.yaml: train the prepared
    images, a study also the trained net, unless the net under study is adopted.
    """
    from zfnet.pipeline import compose as conf

    file = root / conf.CONFIG_FILE
    if stage in NETLESS or not file.is_file():
        return
    made = conf.read(file)
    machine = ("root", "download")  # say where the data come from, not what they are

    def inputs(whole: dict[str, Any]) -> dict[str, Any]:
        data = {key: value for key, value in whole.get("data", {}).items() if key not in machine}
        if stage == "train" or config["nets"][net]["weights"]:
            return {"data": data}
        section = whole.get("nets", {}).get(net)
        return {"data": data, "nets": {net: section}, "training": whole.get("training")}

    found = list(conf.differences(inputs(config), inputs(made)))
    if not found:
        return
    key, here, there = found[0]
    key = conf.as_override(key)
    wanted, instead = f"{key}={_in_yaml(here)}", f"{key}={_in_yaml(there)}"
    what = f"{wanted} decides what {stage} reads, but that was made with {instead}"
    more = f" ({len(found) - 1} more keys differ)" if len(found) > 1 else ""
    if config["name"] != made.get("name"):
        wanted, instead = f"experiment={config['name']}", f"experiment={made.get('name')}"
    raise UserError(
        f"{what}{more}, as {conf.CONFIG_FILE} says. Put {wanted} into params.yaml and run "
        f"`uv run dvc repro`, or drop it here and run with {instead}."
    )


def _in_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _run_job(root: Path, stage: str, net: str, config: dict[str, Any], out: Path) -> None:
    from zfnet.pipeline import compose as conf
    from zfnet.pipeline import stages

    started = time.time()
    _refuse_other_inputs(root, stage, net, config)
    if stage == "train":  # asked for by name: also where the experiment leaves it out
        config["nets"][net]["seeds"] = max(1, config["nets"][net]["seeds"])
    conf.write(config, out / "config.yaml")
    # A studied net that is given, not trained, is adopted first, as train@<net> does under DVC.
    adopted = stage not in stages.MODULES and bool(config["nets"][net]["weights"])
    data_root = _bind_to_machine(config, root, net if adopted or stage == "train" else None)
    paths = stages.adhoc_paths(root, stage, net, out, data_root)
    paths = _with_live_logger(paths, config, stage, net)
    if adopted:
        adopt = replace(
            paths,
            final=out / "net",
            epochs=out / "net_epochs",
            metrics=out / "net.json",
            timing=out / "net_timing.json",
        )
        view = conf.StageConfig(config, stages.declared_keys(root, "train", net), "train")
        _execute("train", net, view, adopt, started)
        paths = replace(paths, net=adopt.final)
    cfg = conf.StageConfig(config, stages.declared_keys(root, stage, net), stage)
    _execute(stage, net, cfg, paths, started)
    print(f"zfnet: {stage} wrote {_short(out)}", file=sys.stderr)


def _execute(stage: str, net: str, cfg: Any, paths: Any, started: float) -> None:
    """Run one stage's module, save what it returns, and write how long it took."""
    import importlib

    from zfnet.allocator import keep_freed_memory
    from zfnet.pipeline import stages

    name = f"train@{net}" if stage == "train" else stage
    if stage == "train" and cfg.nets[net].seeds == 0:
        from zfnet.models.absent import publish_absent

        nothing = publish_absent(net, paths.final, paths.epochs, paths.metrics)
        stages.write_timing(paths.timing, name, started, nothing)
        return
    keep_freed_memory()
    module = importlib.import_module(stages.module_of(stage))
    outcome = module.run(cfg, paths, net) if stage == "train" else module.run(cfg, paths)
    timing = outcome if isinstance(outcome, dict) else None
    if outcome is not None and timing is None:
        from zfnet.studies.result import save_result

        save_result(outcome, paths.results, paths.metrics)
    stages.write_timing(paths.timing, name, started, timing)


def _deps(rest: list[str]) -> int:
    """Print each stage's import closure, what build/code.json holds the hash of."""
    from zfnet.pipeline import stages
    from zfnet.pipeline.closure import import_closure
    from zfnet.pipeline.compose import find_root

    for stage in rest or _stage_names(find_root()):
        files = import_closure(stages.module_of(stage))
        print("\n".join([f"{stage}:", *(f"  - src/{path.as_posix()}" for path in files)]))
    return 0


def _prefer_local_source() -> None:
    """Start again on the checkout's own src/ if another copy of the package was found first.

    DVC runs queued experiments in a copy of the checkout, while the installed (editable) package
    points to the main one: without this they would run code that is not theirs.
    """
    local = Path.cwd() / "src" / "zfnet"
    if not (local / "cli.py").is_file() or local.resolve() == Path(__file__).resolve().parent:
        return
    if os.environ.get("ZFNET_LOCAL_SOURCE") == str(local):
        return
    path = os.pathsep.join(filter(None, [str(local.parent), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "ZFNET_LOCAL_SOURCE": str(local)}
    os.execve(sys.executable, [sys.executable, "-m", "zfnet", *sys.argv[1:]], environment)


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
