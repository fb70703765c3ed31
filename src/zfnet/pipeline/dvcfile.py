"""dvc.yaml as the registry has it: `zfnet dvc` writes it, `zfnet dvc --check` compares."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zfnet.errors import UserError
from zfnet.files import write_text
from zfnet.pipeline.registry import CODE_FILE, CONFIG_FILE, NETS, STAGES, Stage

FILE = "dvc.yaml"
HEADER = """\
# images -> nets -> studies -> report. `uv run dvc repro` runs what changed.
# Written by `zfnet dvc` from src/zfnet/pipeline/registry.py and studies.py: edit those.
# Each stage names the keys of build/config.json that it uses (it receives no others);
# build/code.json holds the hash of the source files that it imports (`zfnet deps STAGE`).
"""
COMPARED = ("metrics/headline.json", "metrics/verdicts.json")  # what `dvc metrics` compares runs by
PLOTS = {  # drawn by `dvc plots show`; the template panels lies in .dvc/plots/
    "training": ("Training curves", "epoch", "top1_error", "top-1 error, %"),
    "invariance": (
        "Fig. 5: how far features move when the image does, mean over images",
        "amount",
        "distance",
        "distance from the untransformed image's features",
    ),
    "invariance_answer": (
        "Fig. 5: probability of the true class when the image moves, mean over images",
        "amount",
        "p",
        "p(true class)",
    ),
    "probe": (
        "Table 7: what a classifier can tell from each layer's features",
        "layer",
        "accuracy",
        "accuracy, %",
    ),
    "activations": (
        "Activations: share of zeros, and how local a map's activity is, by epoch",
        "epoch",
        "share",
        "share",
    ),
    "filters": (
        "Filters: smoothness against shuffled taps by epoch; noise has 1",
        "epoch",
        "smoothness",
        "times",
    ),
    "fooling": (
        "Fooling: share of answers that a change of every pixel changes",
        "grey_levels",
        "share",
        "share of answers changed",
    ),
}
X_LABELS = {"amount": "amount of the transformation", "grey_levels": "grey levels of 255"}


def main(arguments: Sequence[str], root: Path) -> int:
    """Write dvc.yaml, or with --check return 1 where it is not as the registry has it."""
    if arguments not in ([], ["--check"]):
        raise UserError("usage: zfnet dvc [--check]")
    text, file = render(), root / FILE
    if not arguments:
        write_text(file, text)
        return 0
    if file.read_text(encoding="utf-8") == text:
        return 0
    print(f"{FILE} is not as the registry has it: run `zfnet dvc`", file=sys.stderr)
    return 1


def render() -> str:
    """The whole file."""
    import yaml

    document = {"stages": _stages(), "plots": _plots()}
    return HEADER + yaml.safe_dump(document, sort_keys=False, width=100, allow_unicode=True)


def _stages() -> dict[str, Any]:
    compose = {
        "desc": "params.yaml and conf/ to one checked configuration",
        "cmd": "zfnet compose",
        "params": ["experiment", "set"],
        "deps": ["src/zfnet", "conf"],
        "outs": [_kept(CONFIG_FILE), CODE_FILE],
    }
    return {"compose": compose, **{name: _stage(name, each) for name, each in STAGES.items()}}


def _stage(name: str, stage: Stage) -> dict[str, Any]:
    option = "--net ${item.net} " if name == "train" else ""
    params: list[Any] = [{CODE_FILE: ["train.${item.net}" if name == "train" else name]}]
    if stage.keys:
        params.append({CONFIG_FILE: [_net(key) for key in stage.keys]})
    timing = [f"timing/{'train_{net}' if name == 'train' else name}.json"] if stage.timed else []
    outs: list[Any] = [_net(out) for out in (*stage.outs, *timing)]
    if stage.persist:
        outs = [{out: {"persist": True}} for out in outs]
    found: dict[str, Any] = {"desc": stage.desc}
    if name == "train":
        found["matrix"] = {"net": list(NETS)}
    found |= {"cmd": f"zfnet {name} {option}--config {CONFIG_FILE}", "params": params}
    if stage.deps:
        found["deps"] = list(stage.deps)
    shown = [each for each in stage.metrics if each in COMPARED]
    found["outs"] = [*outs, *(_kept(_net(each)) for each in stage.metrics if each not in shown)]
    if shown:
        found["metrics"] = [_kept(each) for each in shown]
    return found


def _net(text: str) -> str:
    return text.replace("{net}", "${item.net}")


def _kept(file: str) -> dict[str, Any]:
    return {file: {"cache": False}}


def _plots() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            name: {
                "title": title,
                "template": "panels",
                "x": x,
                "y": {f"results/plots/{name}.csv": y},
                "x_label": X_LABELS.get(x, x),
                "y_label": label,
            }
        }
        for name, (title, x, y, label) in PLOTS.items()
    ]
    confusion = {
        "title": "Confusion matrix of zfnet (validation images, centre crop): share of each true "
        "class",
        "template": "confusion_normalized",
        "x": "called",
        "y": {"results/plots/confusion.csv": "true class"},
        "x_label": "answer",
        "y_label": "true class",
    }
    return [*found, {"confusion": confusion}]
