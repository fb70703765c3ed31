"""Reads what the stages left on disk into plain values; a missing piece is None, never an error."""

from __future__ import annotations

import csv
import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from zfnet.errors import UserError
from zfnet.figures.departures import departures
from zfnet.files import read_json
from zfnet.models.trained import TrainedNet
from zfnet.pipeline.registry import CONFIG_FILE, NETS, STAGES, title_of
from zfnet.report.study import load_study, studies_in
from zfnet.results import read_metrics
from zfnet.stats.estimate import Estimate

History = dict[str, list[float | None]]
# What a result depends on and a person edits; a pipeline run rewrites the rest of the tree itself.
EDITED = ("src", "conf", "paper", "dvc.yaml", "params.yaml", "pyproject.toml")


@dataclass(frozen=True)
class NetRun:
    """One net as its training stage (or an adopted net's conversion) left it.

    `estimates`: the numbers of metrics/train_<net>.json; `words`: its values that are none, such as
    the status. `histories`: of each seed the columns of history.csv, one value an epoch; {} where
    the net was not trained here.
    """

    name: str
    info: dict[str, Any]
    trained: TrainedNet
    histories: dict[int, History]
    estimates: dict[str, Estimate]
    words: dict[str, str]
    timing: dict[str, Any]

    @property
    def title(self) -> str:
        """The net's name as people write it; for other architectures than the declared, theirs."""
        declared = self.name not in NETS or NETS[self.name].arch == self.trained.arch
        return title_of(self.name) if declared else self.trained.arch.rpartition("/")[2]

    @property
    def history(self) -> History:
        """That of the first training."""
        return next(iter(self.histories.values()), {})

    @property
    def epochs(self) -> int:
        """Epochs trained, 0 for an adopted net."""
        return len(next(iter(self.history.values()), []))

    @cached_property
    def departures(self) -> list[dict[str, str]]:
        """Where it departs from the paper: entries of kind, what, paper, here, why."""
        return departures(self.info)


@dataclass(frozen=True)
class PreparedData:
    """The prepared data's own account of itself (meta.json) and what it put in quarantine."""

    meta: dict[str, Any]
    quarantine: list[list[str]]  # file, split, reason


@dataclass(frozen=True)
class CodeState:
    """Commit hash, None outside git; the source files that differ from it; package versions."""

    commit: str | None
    date: str | None
    changed: list[str]
    packages: dict[str, str]


@dataclass(frozen=True)
class Evidence:
    """All that one run of the pipeline left behind.

    `config_text`: the composed configuration as it lies on disk, None without one. `studies`: as
    `load_study` gives them. `timings`: by stage.
    """

    root: Path
    config_text: str | None
    config: dict[str, Any]
    data: PreparedData | None
    nets: list[NetRun]
    studies: dict[str, dict[str, Any]]
    timings: dict[str, dict[str, Any]]
    tracking: dict[str, Any] | None
    claims: dict[str, Any] | None
    code: CodeState

    def title(self, net: str) -> str:
        """The title of the net that a study names."""
        return next((one.title for one in self.nets if one.name == net), title_of(net))


def gather(root: Path) -> Evidence:
    """Read every stage's files under `root`. Raises UserError for a file that cannot be parsed."""
    file = root / CONFIG_FILE
    config = read_json(file, missing_ok=True)
    timings = {
        stage.stem: read_json(stage)
        for stage in sorted((root / "timing").glob("*.json"))
        if _is_timed(stage.stem)
    }
    results = root / "results"
    return Evidence(
        root=root,
        config_text=file.read_text(encoding="utf-8") if config else None,
        config=config,
        data=_prepared(root),
        nets=_nets(root, config, timings),
        studies={name: load_study(name, root) for name in studies_in(results)},
        timings=timings,
        tracking=read_json(results / "track.json", missing_ok=True) or None,
        claims=read_json(results / "claims.json", missing_ok=True) or None,
        code=_code(root),
    )


def _is_timed(name: str) -> bool:
    """Whether a file of timing/ is of a stage that still writes one."""
    stage = STAGES.get("train" if name.startswith("train_") else name)
    return stage is not None and stage.timed


def _prepared(root: Path) -> PreparedData | None:
    folder = root / "data" / "prepared"
    meta = read_json(folder / "meta.json", missing_ok=True)
    if not meta:
        return None
    rows: list[list[str]] = []
    if (folder / "quarantine.csv").is_file():
        with (folder / "quarantine.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))[1:]
    return PreparedData(meta, rows)


def _nets(
    root: Path, config: Mapping[str, Any], timings: Mapping[str, dict[str, Any]]
) -> list[NetRun]:
    order = list(config.get("nets") or NETS)
    names = [file.parents[1].name for file in (root / "models").glob("*/final/net.json")]
    names.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
    return [_net(root, name, timings.get(f"train_{name}", {})) for name in names]


def _net(root: Path, name: str, timing: dict[str, Any]) -> NetRun:
    folder = root / "models" / name / "final"
    trained = TrainedNet.open(name, folder)
    if trained is None:
        raise UserError(f"{folder} holds no net: run `dvc repro`")
    histories = {each.seed: _columns(each.history) for each in trained.trainings if each.history}
    file = root / "metrics" / f"train_{name}.json"
    numbers, words = read_metrics(file) if file.is_file() else ({}, {})
    info = read_json(folder / "net.json")
    return NetRun(name, info, trained, histories, numbers, words, timing)


def _columns(rows: Sequence[Mapping[str, float]]) -> History:
    return {
        column: [None if math.isnan(row[column]) else row[column] for row in rows]
        for column in rows[0]
    }


def _code(root: Path) -> CodeState:
    status = _git(root, "status", "--porcelain", "--", *EDITED) or ""
    return CodeState(
        commit=_git(root, "rev-parse", "HEAD"),
        date=_git(root, "show", "-s", "--format=%cs", "HEAD"),
        changed=[line.strip().split(maxsplit=1)[-1] for line in status.splitlines()],
        packages=_packages(),
    )


def _packages() -> dict[str, str]:
    """Versions of this package and of those that it asks for."""
    try:
        asked = [each for each in metadata.requires("zfnet") or [] if "extra ==" not in each]
        names = ["zfnet", *(re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in asked)]
        return {name: metadata.version(name) for name in names}
    except metadata.PackageNotFoundError:
        return {}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
