"""Replays what the stages wrote to W&B: one run per trained net and per study.

Offline (the default) needs no account and writes under wandb/ in the main checkout; `disabled` does
not import wandb. Because it is a replay, switching to online also logs what DVC restored from its
cache. Only training logs while it runs, and only online: see `live_logger`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from zfnet.errors import UserError
from zfnet.report.gather import Evidence, NetRun, gather

ID_DIGITS = 12
LARGEST_TABLE = 10_000  # rows; W&B shows no more
Live = Callable[[dict[str, Any]], None]


class TrackPaths(Protocol):
    """The paths that this stage uses."""

    @property
    def root(self) -> Path:
        """Checkout whose files are read."""

    @property
    def main(self) -> Path:
        """Checkout that W&B's folder lies in; a DVC experiment's own copy vanishes."""

    @property
    def results(self) -> Path:
        """Without its suffix, the JSON file that this stage writes."""

    @property
    def config(self) -> Path:
        """The composed configuration."""


@dataclass(frozen=True)
class Record:
    """What one W&B run will hold. `history`: one dict an epoch, logged at steps 1, 2, …"""

    id: str
    name: str
    job_type: str
    tags: list[str]
    history: list[dict[str, float]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    figures: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)


def run(cfg: Any, paths: TrackPaths) -> None:
    """Replay every net and study under `paths.root`; reads the key tracking.

    Writes results/track.json: mode, group and the runs' ids and names. Raises UserError if
    tracking.mode is online and nobody is logged in.
    """
    mode = str(cfg.tracking.mode)
    out = paths.results.with_name(f"{paths.results.name}.json")
    if mode == "disabled":
        _write(out, {"mode": mode, "group": None, "runs": []})
        return
    evidence = gather(paths.root)
    group = group_of(evidence.config_text or "")
    records = list(records_of(evidence))
    with _wandb_folder(paths.main):
        if mode == "online":
            _need_login()
        for record in records:
            _replay(record, cfg.tracking, group, evidence.config, paths.main)
    runs = [{"id": record.id, "name": record.name, "group": group} for record in records]
    _write(out, {"mode": mode, "group": group, "runs": runs})


def live_logger(cfg: Any, paths: TrackPaths, net: str) -> Live | None:
    """A function that training calls with each epoch's row of history; None unless online.

    The run has the id that the replay of the finished net has, and is overwritten by it. It begins
    with the first row: neither an adopted net nor a process that logs nothing opens one.
    Raises UserError if nobody is logged in.
    """
    if str(cfg.tracking.mode) != "online":
        return None
    import yaml

    text = paths.config.read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    record = Record(
        id=net_id(config, _fingerprint(paths.root), net),
        name=f"train {net}",
        job_type="train",
        tags=_tags(config, "train", net),
    )
    with _wandb_folder(paths.main):
        _need_login()
    run: Any = None

    def log(row: dict[str, Any]) -> None:
        nonlocal run
        if run is None:
            with _wandb_folder(paths.main):
                group = group_of(text)
                run = _start(record, cfg.tracking, group, config, paths.main, resume="allow")
        epoch = int(row["epoch"])
        if epoch >= run.step:
            run.log({key: value for key, value in row.items() if value is not None}, step=epoch)

    return log


# ------------------------------------------------------------------------------------- naming
def short_hash(value: Any) -> str:
    """A short id of plain JSON values: equal values, equal id."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def group_of(config_text: str) -> str:
    """The DVC experiment's name, or a hash of the composed configuration."""
    return os.environ.get("DVC_EXP_NAME") or short_hash(config_text)


def net_id(config: Mapping[str, Any], fingerprint: str | None, net: str) -> str:
    """Id of a net's run, known before it is trained: a hash of its config sections and its data."""
    sections = {key: config.get(key) for key in ("training", "seed")}
    model = (config.get("nets") or {}).get(net)
    return short_hash(["train", net, model, sections, fingerprint])


def study_id(root: Path, name: str) -> str:
    """Id of a study's run: a hash of what dvc.lock records of its inputs, else of its result."""
    folder = f"results/{name}"
    for entry in _lock(root).values():
        if any(out.get("path") == folder for out in entry.get("outs", [])):
            return short_hash(["study", name, entry.get("deps"), entry.get("params")])
    return short_hash(["study", name, (root / folder / "result.json").read_text(encoding="utf-8")])


def _lock(root: Path) -> dict[str, Any]:
    file = root / "dvc.lock"
    if not file.is_file():
        return {}
    import yaml

    return dict((yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("stages") or {})


def _fingerprint(root: Path) -> str | None:
    file = root / "data" / "prepared" / "meta.json"
    if not file.is_file():
        return None
    return str(json.loads(file.read_text(encoding="utf-8")).get("fingerprint"))


def _tags(config: Mapping[str, Any], *more: str) -> list[str]:
    return list(dict.fromkeys(str(tag) for tag in (config.get("name"), *more) if tag))


# ------------------------------------------------------------------------------------ records
def records_of(evidence: Evidence) -> Iterator[Record]:
    """Every net and every study as one record, under names that stay the same from run to run."""
    fingerprint = evidence.data.meta.get("fingerprint") if evidence.data else None
    for net in evidence.nets:
        yield _net_record(net, evidence, fingerprint)
    for name, study in evidence.studies.items():
        yield _study_record(name, study, evidence)


def _net_record(net: NetRun, evidence: Evidence, fingerprint: str | None) -> Record:
    history = net.history or {}
    rows = [
        {name: value for name, column in history.items() if (value := column[i]) is not None}
        for i in range(net.epochs)
    ]
    columns = ["kind", "what", "paper", "here", "why"]
    departures = {
        "columns": columns,
        "rows": [[entry[column] for column in columns] for entry in net.departures],
    }
    return Record(
        id=net_id(evidence.config, fingerprint, net.name),
        name=f"train {net.name}",
        job_type="train",
        tags=_tags(evidence.config, "train", net.name),
        history=rows,
        summary=_summary(net.metrics),
        tables={"departures": departures} if net.departures else {},
    )


def _study_record(name: str, study: Mapping[str, Any], evidence: Evidence) -> Record:
    return Record(
        id=study_id(evidence.root, name),
        name=name,
        job_type=name,
        tags=_tags(evidence.config, name, study["net"], study["paper"]),
        summary=_summary(study["metrics"]),
        figures=list(study["figures"]),
        tables=dict(study["tables"]),
    )


def _summary(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Each metric under its name, the ends of its interval beside it."""
    flat: dict[str, Any] = {}
    for name, value in metrics.items():
        for key, suffix in (("value", ""), ("low", "/low"), ("high", "/high"), ("n", "/n")):
            if value.get(key) is not None:
                flat[f"{name}{suffix}"] = value[key]
    return flat


# ---------------------------------------------------------------------------------------- W&B
@contextmanager
def _wandb_folder(main: Path) -> Iterator[None]:
    """Keep all that W&B writes inside `main`/wandb, and its chatter off the terminal."""
    folder = main / "wandb"
    folder.mkdir(exist_ok=True)
    ours = {
        "WANDB_DIR": str(main),
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_SILENT": "true",
    }
    before = {key: os.environ.get(key) for key in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _need_login() -> None:
    import wandb

    if not wandb.login(prompt=False):
        raise UserError(
            "tracking=online needs an account: run `uv run wandb login`, or choose "
            "tracking=offline, which needs none."
        )


def _start(
    record: Record,
    tracking: Any,
    group: str,
    config: Mapping[str, Any],
    main: Path,
    resume: Literal["allow"] | None,
) -> Any:
    import wandb

    mode: Any = str(tracking.mode)
    return wandb.init(
        id=record.id,
        name=record.name,
        job_type=record.job_type,
        tags=record.tags,
        group=group,
        config=dict(config),
        project=tracking.project,
        entity=tracking.entity,
        mode=mode,
        dir=str(main),
        resume=resume,
        reinit="finish_previous",  # the next job of a multirun lives in the same process
        settings=wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            # The machine that replays is not the one that trained.
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        ),
    )


def _replay(
    record: Record, tracking: Any, group: str, config: Mapping[str, Any], main: Path
) -> None:
    """Write one run; an older offline folder of the same id goes, an online run is overwritten."""
    import wandb

    for older in (main / "wandb").glob(f"offline-run-*-{record.id}"):
        shutil.rmtree(older)
    with _start(record, tracking, group, config, main, resume=None) as run:
        media: dict[str, Any] = {
            f"figures/{figure['name']}": wandb.Image(str(figure["path"]), caption=figure["caption"])
            for figure in record.figures
        }
        for name, table in record.tables.items():
            rows = table["rows"][:LARGEST_TABLE]
            media[f"tables/{name}"] = wandb.Table(
                columns=table["columns"], data=rows, allow_mixed_types=True
            )
        steps: list[dict[str, Any]] = [dict(row) for row in record.history] or [{}]
        steps[-1] |= media
        for step, row in enumerate(steps, start=1):
            run.log(row, step=step, commit=True)
        # After the last step is committed: it would overwrite final values of the same name.
        run.summary.update(record.summary)


def _write(file: Path, value: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
