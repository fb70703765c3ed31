"""What each W&B run will hold, under names that stay the same from run to run (docs/wandb.md).

One run per net, one per study and one for the verdicts, in one group per pipeline run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zfnet.report.evolution_panels import SECTION, Panel, panels, settling
from zfnet.report.gather import Evidence, NetRun

ID_DIGITS = 12
GROUP_DIGITS = 8
FIGURES, TABLES = "figures", "tables"
NUMBERS = "numbers"  # every metric of a run with its unit and note, as a table
VERDICTS = "verdicts"
CLAIMS = "claims"
NUMBER_COLUMNS = ("name", "value", "low", "high", "n", "unit", "note")
CLAIM_COLUMNS = (
    "id", "place", "claim", "value", "low", "high", "n", "unit", "paper", "verdict", "why",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """What one W&B run will hold.

    `key`: what it is about: "train <net>", a study's name or "verdicts". `history`: numbers by
    step, which is the epoch. `panels`: called for (step, key, panel) of each picture that has one
    for every epoch. Figures and tables are logged at the last step.
    """

    id: str
    key: str
    job_type: str
    tags: list[str]
    history: dict[int, dict[str, float]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    figures: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    panels: Callable[[], Iterator[tuple[int, str, Panel]]] = field(default=lambda: iter(()))


# ------------------------------------------------------------------------------------- naming
def short_hash(value: Any, digits: int = ID_DIGITS) -> str:
    """A short id of plain JSON values: equal values, equal id."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def group_of(config_text: str) -> str:
    """The DVC experiment's name, or a hash of the composed configuration."""
    return os.environ.get("DVC_EXP_NAME") or short_hash(config_text)


def group_prefix(group: str) -> str:
    """What the ids of all runs of a group begin with."""
    return short_hash(group, GROUP_DIGITS)


def run_id(group: str, *inputs: Any) -> str:
    """Id of a run: its group, then a hash of what it was made from.

    The group takes part so that each group is whole: a study that two experiments share has a run
    in both.
    """
    return group_prefix(group) + short_hash(inputs)


def net_id(group: str, config: Mapping[str, Any], fingerprint: str | None, net: str) -> str:
    """Id of a net's run, known before it is trained: a hash of its config sections and its data."""
    sections = {key: config.get(key) for key in ("training", "seed")}
    model = (config.get("nets") or {}).get(net)
    return run_id(group, "train", net, model, sections, fingerprint)


def output_id(
    group: str, key: str, lock: Mapping[str, Any], out: str, result: Callable[[], str]
) -> str:
    """Id of the run of what a stage wrote to `out`: a hash of the stage's inputs in dvc.lock.

    `result` gives what is hashed where the lock does not know `out`.
    """
    for entry in lock.values():
        if any(known.get("path") == out for known in entry.get("outs", [])):
            return run_id(group, key, entry.get("deps"), entry.get("params"))
    return run_id(group, key, result())


def read_lock(root: Path) -> dict[str, Any]:
    """The stages in dvc.lock; empty without one."""
    file = root / "dvc.lock"
    if not file.is_file():
        return {}
    import yaml

    # The file is long, and libyaml, where it is there, reads it twenty times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
    return dict((document or {}).get("stages") or {})


def fingerprint_of(root: Path) -> str | None:
    """Fingerprint of the prepared data; None without them."""
    file = root / "data" / "prepared" / "meta.json"
    if not file.is_file():
        return None
    return str(json.loads(file.read_text(encoding="utf-8")).get("fingerprint"))


def tags_of(config: Mapping[str, Any], *more: str) -> list[str]:
    """The experiment's name and `more`, without repetition."""
    return list(dict.fromkeys(str(tag) for tag in (config.get("name"), *more) if tag))


# ------------------------------------------------------------------------------------ records
def records_of(evidence: Evidence, group: str) -> Iterator[Record]:
    """Every net, every study and the verdicts, each as one record."""
    fingerprint = evidence.data.meta.get("fingerprint") if evidence.data else None
    for net in evidence.nets:
        yield _net_record(net, evidence, fingerprint, group)
    lock = read_lock(evidence.root)
    for name, study in evidence.studies.items():
        yield _study_record(name, study, evidence, lock, group)
    if evidence.claims:
        yield _verdict_record(evidence.claims, evidence, group)


def _net_record(net: NetRun, evidence: Evidence, fingerprint: str | None, group: str) -> Record:
    history = net.history or {}
    rows = [
        {name: value for name, column in history.items() if (value := column[i]) is not None}
        for i in range(net.epochs)
    ]
    columns = ["kind", "what", "paper", "here", "why"]
    departed = [[entry[column] for column in columns] for entry in net.departures]
    tables = {f"{TABLES}/departures": _table(columns, departed)} if departed else {}
    return Record(
        id=net_id(group, evidence.config, fingerprint, net.name),
        key=f"train {net.name}",
        job_type="train",
        tags=tags_of(evidence.config, "train", net.name),
        history=dict(enumerate(rows, start=1)),
        summary=_summary(net.metrics),
        tables={NUMBERS: _numbers(net.metrics)} | tables,
    )


def _study_record(
    name: str, study: Mapping[str, Any], evidence: Evidence, lock: Mapping[str, Any], group: str
) -> Record:
    folder = f"results/{name}"

    def result() -> str:
        return (evidence.root / folder / "result.json").read_text(encoding="utf-8")

    tables = {f"{TABLES}/{key}": table for key, table in study["tables"].items()}
    by_epoch = name == SECTION
    return Record(
        id=output_id(group, name, lock, folder, result),
        key=name,
        job_type=name,
        tags=tags_of(evidence.config, name, study["net"], study["paper"]),
        history=settling(study) if by_epoch else {},
        summary=_summary(study["metrics"]),
        figures=list(study["figures"]),
        tables={NUMBERS: _numbers(study["metrics"])} | tables,
        panels=(lambda: panels(study, evidence.root)) if by_epoch else lambda: iter(()),
    )


def _verdict_record(document: Mapping[str, Any], evidence: Evidence, group: str) -> Record:
    claims = document["claims"]
    words = {f"verdict/{name}": claim["verdict"] for name, claim in claims.items()}
    counts = {f"count/{word}": count for word, count in document["counts"].items()}
    return Record(
        id=run_id(group, VERDICTS, document),
        key=VERDICTS,
        job_type=VERDICTS,
        tags=tags_of(evidence.config, VERDICTS),
        summary=_summary(claims) | words | counts,
        tables={CLAIMS: _table(CLAIM_COLUMNS, [_claim(*item) for item in claims.items()])},
    )


def _claim(name: str, claim: Mapping[str, Any]) -> list[Any]:
    told = {**claim, "id": name, "paper": claim["paper"]["text"], "why": claim["reason"]}
    return [told.get(column) for column in CLAIM_COLUMNS]


def _numbers(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    rows = [
        [name, *(value.get(column) for column in NUMBER_COLUMNS[1:])]
        for name, value in metrics.items()
    ]
    return _table(NUMBER_COLUMNS, rows)


def _table(columns: Sequence[str], rows: list[list[Any]]) -> dict[str, Any]:
    return {"columns": list(columns), "rows": rows}


def _summary(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Each metric under its name, the ends of its interval beside it."""
    flat: dict[str, Any] = {}
    for name, value in metrics.items():
        for key, suffix in (("value", ""), ("low", "/low"), ("high", "/high"), ("n", "/n")):
            if value.get(key) is not None:
                flat[f"{name}{suffix}"] = value[key]
    return flat
