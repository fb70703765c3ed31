"""Reads what the stages left on disk into plain values; a missing piece is None, never an error."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from zfnet.files import read_json, read_yaml
from zfnet.studies.result import load_result

PACKAGES = (
    "zfnet",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "numpy",
    "scipy",
    "scikit-learn",
    "pyarrow",
    "pillow",
    "matplotlib",
    "hydra-core",
    "dvc",
    "wandb",
)
TITLES = {
    "zfnet": "ZFNet",
    "zfnet_fc2048": "ZFNet, 2048 units in 6, 7",
    "zfnet_fc8192": "ZFNet, 8192 units in 6, 7",
    "zfnet_wide": "ZFNet, 512-1024-512 maps",
    "zfnet_wide_fc8192": "ZFNet, 512-1024-512 maps, 8192 units",
    "zfnet_nolimit": "ZFNet, no RMS limit",
    "alexnet": "AlexNet",
    "alexnet_no34": "AlexNet without 3, 4",
    "alexnet_no7": "AlexNet without 7",
    "alexnet_no67": "AlexNet without 6, 7",
    "alexnet_no3467": "AlexNet without 3, 4, 6, 7",
    "alexnet_no3467_slow": "AlexNet without 3, 4, 6, 7, lower rate",
    "alexnet_fc2048": "AlexNet, 2048 units in 6, 7",
    "alexnet_fc8192": "AlexNet, 8192 units in 6, 7",
}
# These stages run after, or are, the report: what lies there is of an older run.
LATER = ("report", "track")
# What a result depends on and a person edits; a pipeline run rewrites the rest of the tree itself.
SOURCES = ("src", "conf", "paper", "dvc.yaml", "params.yaml", "pyproject.toml")

# Stages with options of their own that make what several studies read, not results.
SHARED = ("codes", "scratch")

DEPARTURE = ("kind", "what", "paper", "here", "why")

History = dict[str, list[float | None]]


@dataclass(frozen=True)
class NetRun:
    """One net as its training stage (or an adopted net's conversion) left it.

    `history` maps each column of history.csv to its values, one per epoch; None where the net was
    not trained here.
    """

    name: str
    info: dict[str, Any]
    history: History | None
    departures: list[dict[str, str]]
    metrics: dict[str, dict[str, Any]]
    timing: dict[str, Any] | None

    @property
    def title(self) -> str:
        """The net's name as people write it."""
        return TITLES.get(self.name, self.name)

    @property
    def epochs(self) -> int:
        """Epochs trained, 0 for an adopted net."""
        return len(next(iter(self.history.values()), [])) if self.history else 0


@dataclass(frozen=True)
class PreparedData:
    """The prepared data's own account of itself (meta.json) and what it put in quarantine."""

    meta: dict[str, Any]
    quarantine: list[dict[str, str]]
    scan_date: str | None


@dataclass(frozen=True)
class Code:
    """The state of the code: commit hash or None outside git, and the source files that differ."""

    commit: str | None
    date: str | None
    changed: list[str]
    packages: dict[str, str]


@dataclass(frozen=True)
class Evidence:
    """All that one run of the pipeline left behind."""

    root: Path
    config_text: str | None
    config: dict[str, Any]
    data: PreparedData | None
    nets: list[NetRun]
    studies: dict[str, dict[str, Any]]
    planned: list[str]
    timings: dict[str, dict[str, Any]]
    tracking: dict[str, Any] | None
    claims: dict[str, Any] | None = None
    code: Code = field(default_factory=lambda: Code(None, None, [], {}))


def gather(root: Path) -> Evidence:
    """Read every stage's files under `root`. Raises UserError for a file that cannot be parsed."""
    config_file = root / "build" / "config.yaml"
    config_text = config_file.read_text(encoding="utf-8") if config_file.is_file() else None
    config = read_yaml(config_file) if config_text else {}
    timings = {
        file.stem: read_json(file)
        for file in sorted((root / "timing").glob("*.json"))
        if file.stem not in LATER
    }
    studies = {
        file.parent.name: load_result(file.parent)
        for file in sorted((root / "results").glob("*/result.json"))
    }
    declared = config.get("study")
    return Evidence(
        root=root,
        config_text=config_text,
        config=config,
        data=_prepared(root),
        nets=_nets(root, config, timings),
        studies=_in_paper_order(studies),
        planned=[name for name in declared or {} if name not in (*studies, *SHARED)],
        timings=timings,
        tracking=read_json(root / "results" / "track.json", missing_ok=True) or None,
        claims=read_json(root / "results" / "claims.json", missing_ok=True) or None,
        code=_code(root),
    )


def _read_rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _prepared(root: Path) -> PreparedData | None:
    folder = root / "data" / "prepared"
    meta = read_json(folder / "meta.json", missing_ok=True)
    if not meta:
        return None
    timing = read_json(root / "timing" / "prepare.json", missing_ok=True)
    # Prepare walks the source when it runs, so the day it started is the day of the scan.
    return PreparedData(meta, _read_rows(folder / "quarantine.csv"), timing.get("started"))


def _nets(
    root: Path, config: Mapping[str, Any], timings: Mapping[str, dict[str, Any]]
) -> list[NetRun]:
    folders = sorted(file.parent.parent for file in (root / "models").glob("*/final/net.json"))
    order = list(config.get("nets") or {})
    folders.sort(key=lambda folder: (_rank(order, folder.name), folder.name))
    return [_net(root, folder, timings.get(f"train_{folder.name}")) for folder in folders]


def _rank(order: list[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _net(root: Path, folder: Path, timing: dict[str, Any] | None) -> NetRun:
    final = folder / "final"
    rows = _read_rows(final / "history.csv")
    metrics = read_json(root / "metrics" / f"train_{folder.name}.json", missing_ok=True)
    return NetRun(
        name=folder.name,
        info=read_json(final / "net.json"),
        history={key: [_number(row[key]) for row in rows] for key in rows[0]} if rows else None,
        departures=_departures(final / "departures.json"),
        metrics={key: _measured(value) for key, value in metrics.items()},
        timing=timing,
    )


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if number == number and abs(number) != float("inf") else None


def _measured(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"value": value}


def _departures(file: Path) -> list[dict[str, str]]:
    """The net's departures.json: entries with kind, what, paper, here, why."""
    if not file.is_file():
        return []
    entries = json.loads(file.read_text(encoding="utf-8"))
    return [{key: str(entry.get(key, "")) for key in DEPARTURE} for entry in entries]


def _in_paper_order(studies: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Figures first, then tables, each by number, as one meets them in the paper."""

    def key(name: str) -> tuple[int, int, str]:
        place = str(studies[name].get("paper", ""))
        digits = "".join(char if char.isdigit() else " " for char in place).split()
        kind = 0 if place.startswith("Fig") else 1 if place.startswith("Tab") else 2
        return kind, int(digits[0]) if digits else 99, name

    return {name: studies[name] for name in sorted(studies, key=key)}


def _code(root: Path) -> Code:
    commit = _git(root, "rev-parse", "HEAD")
    date = _git(root, "show", "-s", "--format=%cs", "HEAD")
    status = _git(root, "status", "--porcelain", "--", *SOURCES) or ""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    changed = [line.strip().split(maxsplit=1)[-1] for line in status.splitlines()]
    return Code(commit, date, changed, packages)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
