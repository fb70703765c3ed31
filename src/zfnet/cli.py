"""The one entry point: `zfnet STAGE --config build/config.json` (what DVC runs), `zfnet STAGE
[overrides]` (a run of one's own), and the small tools `show`, `publish`, `doctor` and `deps`.

Help, version and every error about the configuration come before torch is imported.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

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
  zfnet lens PHOTO [--model M] [--weights W] [--steps S,S] [--out HTML]
                                  one page: all that a net makes of PHOTO (lens --help)
  zfnet label [--n N] [--seed S] [--out HTML]
                                  a page on which a person labels the net's pictures
  zfnet humans add FILE.csv       take the answers that the page gave into data/humans
  zfnet compose [KEY=VALUE ...]   print the composed configuration
  zfnet verdicts [--compare REV]  what this run says of each claim of the paper; what changed
  zfnet publish [--draft]         upload the W&B runs, write a W&B Report (publish --help)
  zfnet doctor                    devices, disk, data found, versions
  zfnet deps [STAGE ...]          source files whose change re-runs a stage
  zfnet dvc [--check]             write dvc.yaml from the registry, or compare
  zfnet reference [--check]       write docs/reference.md's tables from metrics/, or compare
  zfnet --version
"""


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
    if command in TOOLS:
        return TOOLS[command](rest)
    if (command, *rest[:1]) in ACTIONS:
        return ACTIONS[command, rest[0]](rest[1:])
    if command == "verdicts" and not any(item.startswith("--config") for item in rest):
        return _verdicts(rest)
    return _stage(command, rest)


# ------------------------------------------------------------------------------------------- tools
def _show(rest: list[str]) -> int:
    from zfnet.show import main as show

    return show(rest)


def _lens(rest: list[str]) -> int:
    from zfnet.lens import main as lens

    return lens(rest)


def _label(rest: list[str]) -> int:
    from zfnet.label import main as label

    return label(rest)


def _add_answers(rest: list[str]) -> int:
    from zfnet.label import add

    return add(rest)


def _doctor(rest: list[str]) -> int:
    from zfnet.doctor import main as doctor

    return doctor(rest)


def _publish(rest: list[str]) -> int:
    from zfnet.pipeline.paths import find_root, main_checkout
    from zfnet.report.publish import main as publish

    root = find_root()
    return publish(rest, root, main_checkout(root))


def _verdicts(rest: list[str]) -> int:
    from zfnet.pipeline.paths import find_root
    from zfnet.verdicts.command import main as verdicts

    return verdicts(rest, find_root())


def _dvc(rest: list[str]) -> int:
    from zfnet.pipeline.dvcfile import main as dvc
    from zfnet.pipeline.paths import find_root

    return dvc(rest, find_root())


def _reference(rest: list[str]) -> int:
    from zfnet.pipeline.paths import find_root
    from zfnet.report.reference import main as reference

    return reference(rest, find_root())


def _deps(rest: list[str]) -> int:
    """Print each stage's import closure, what build/code.json holds the hash of."""
    from zfnet.pipeline.closure import import_closure
    from zfnet.pipeline.registry import STAGES
    from zfnet.pipeline.run import modules_of

    for stage in rest or STAGES:
        if stage not in STAGES:
            raise UserError(f"unknown stage '{stage}'; known: {', '.join(STAGES)}")
        files = {path for module in modules_of(stage) for path in import_closure(module)}
        print("\n".join([f"{stage}:", *(f"  - src/{path.as_posix()}" for path in sorted(files))]))
    return 0


TOOLS: dict[str, Callable[[list[str]], int]] = {
    "show": _show,
    "lens": _lens,
    "label": _label,
    "publish": _publish,
    "doctor": _doctor,
    "deps": _deps,
    "dvc": _dvc,
    "reference": _reference,
}
# What is done for a stage beside running it: its first argument is no override.
ACTIONS: dict[tuple[str, ...], Callable[[list[str]], int]] = {("humans", "add"): _add_answers}


# ------------------------------------------------------------------------------------------ stages
def _stage(command: str, rest: list[str]) -> int:
    from zfnet.pipeline.paths import find_root
    from zfnet.pipeline.registry import NETLESS
    from zfnet.pipeline.run import run_by_hand, run_composed, stage_names

    root = find_root()
    known = stage_names(list(TOOLS))
    if command not in known:
        found = difflib.get_close_matches(command, known, n=1)
        hint = f" (did you mean '{found[0]}'?)" if found else f"; known: {', '.join(known)}"
        raise UserError(f"unknown command '{command}'{hint}")
    if "-h" in rest or "--help" in rest:
        print(_help(), end="")
        return 0
    options, overrides = _options(rest)
    if command in ("compose", *NETLESS) and "--net" in options:
        raise UserError(f"--net goes with train and the studies; {command} is about no one net")
    if command == "compose":
        return _compose(root, overrides)
    net = options.get("--net", MAIN_NET)
    if "--config" not in options:
        run_by_hand(root, command, net, overrides, multirun="--multirun" in options)
        return 0
    if overrides or "--multirun" in options:
        raise UserError(
            f"--config takes everything from its file; drop {' '.join(overrides) or '-m'}, or "
            "drop --config to compose afresh"
        )
    run_composed(root, command, net, Path(options["--config"]))
    return 0


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
    """Write build/config.json from params.yaml, or print what `overrides` give."""
    from zfnet.pipeline.compose import compose
    from zfnet.pipeline.run import compose_stage

    if not overrides:
        compose_stage(root)
        return 0
    import yaml

    print(yaml.safe_dump(compose(root, overrides), sort_keys=False), end="")
    return 0


def _help() -> str:
    from zfnet.pipeline.compose import option_names
    from zfnet.pipeline.paths import find_root
    from zfnet.pipeline.run import stage_names

    try:
        experiments = ", ".join(option_names(find_root(), "experiment"))
    except UserError:
        experiments = "quick, small, imagenette, imagenet"
    stages = [each for each in stage_names() if each != "verdicts"]  # a tool, by hand
    return HELP.format(experiments=experiments, stages=", ".join(stages))


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
