"""What each W&B run will hold, under names that stay the same from run to run (docs/wandb.md).

One run per net, one per study and one for the verdicts, in one group per pipeline run.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zfnet.files import read_json
from zfnet.report.evolution_panels import SECTION, Panel, panels, settling
from zfnet.report.gather import Evidence, NetRun
from zfnet.results import FILE, Table
from zfnet.stats.estimate import Estimate

ID_DIGITS = 12
GROUP_DIGITS = 8
FIGURES, TABLES = "figures", "tables"
NUMBERS = "numbers"  # every number of a run with its unit and note, as a table
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
    step, which is the epoch. `panels`: (step, key, panel) of each picture that has one for every
    epoch, made as they are asked for. Figures and tables are logged at the last step.
    """

    id: str
    key: str
    tags: list[str]
    history: dict[int, dict[str, float]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    figures: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    panels: Iterable[tuple[int, str, Panel]] = ()

    @property
    def job_type(self) -> str:
        """W&B's word for the kind of a run."""
        return self.key.partition(" ")[0]


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
    """Id of a run: its group, then a hash of what it is about.

    The group takes part so that each group is whole: a study that two experiments share has a run
    in both.
    """
    return group_prefix(group) + short_hash(inputs)


def net_id(group: str, config: Mapping[str, Any], fingerprint: str | None, net: str) -> str:
    """Id of a net's run, known before it is trained: a hash of its config sections and its data."""
    sections = {key: config.get(key) for key in ("training", "seed")}
    model = (config.get("nets") or {}).get(net)
    return run_id(group, "train", net, model, sections, fingerprint)


def fingerprint_of(root: Path) -> str | None:
    """Fingerprint of the prepared data; None without them."""
    meta = read_json(root / "data" / "prepared" / "meta.json", missing_ok=True)
    return meta.get("fingerprint")


def tags_of(config: Mapping[str, Any], *more: str) -> list[str]:
    """The experiment's name and `more`, without repetition."""
    return list(dict.fromkeys(str(tag) for tag in (config.get("name"), *more) if tag))


# ------------------------------------------------------------------------------------ records
def records_of(evidence: Evidence, group: str) -> Iterator[Record]:
    """Every net, every study and the verdicts, each as one record."""
    fingerprint = fingerprint_of(evidence.root)
    for net in evidence.nets:
        yield _net_record(net, evidence, fingerprint, group)
    for name, study in evidence.studies.items():
        yield _study_record(name, study, evidence, group)
    if evidence.claims:
        yield _verdict_record(evidence.claims, evidence, group)


def _net_record(net: NetRun, evidence: Evidence, fingerprint: str | None, group: str) -> Record:
    rows = [
        {name: value for name, column in net.history.items() if (value := column[i]) is not None}
        for i in range(net.epochs)
    ]
    departed = {f"{TABLES}/departures": Table.of(net.departures)} if net.departures else {}
    return Record(
        id=net_id(group, evidence.config, fingerprint, net.name),
        key=f"train {net.name}",
        tags=tags_of(evidence.config, "train", net.name),
        history=dict(enumerate(rows, start=1)),
        summary=_summary(net.estimates) | net.words,
        tables={NUMBERS: _numbers(net.estimates)} | departed,
    )


def _study_record(name: str, study: Mapping[str, Any], evidence: Evidence, group: str) -> Record:
    results, by_epoch = study["results"], name == SECTION
    tables = {f"{TABLES}/{key}": table for key, table in results.tables.items()}
    return Record(
        id=run_id(group, name, (results.folder / FILE).read_text(encoding="utf-8")),
        key=name,
        tags=tags_of(evidence.config, name, results.net, study["paper"]),
        history=settling(study) if by_epoch else {},
        summary=_summary(results.estimates),
        figures=study["figures"],
        tables={NUMBERS: _numbers(results.estimates)} | tables,
        panels=panels(study, evidence.root) if by_epoch else (),
    )


def _verdict_record(document: Mapping[str, Any], evidence: Evidence, group: str) -> Record:
    claims = document["claims"]
    rows: list[list[Any]] = []
    summary: dict[str, Any] = {}
    for work, counts in document["counts"].items():
        name = "count" if work == "paper" else f"count_{work}"
        summary |= {f"{name}/{word}": count for word, count in counts.items()}
    for name, claim in claims.items():
        row = {**claim, "id": name, "paper": claim["paper"]["text"], "why": claim["reason"]}
        rows.append([row[column] for column in CLAIM_COLUMNS])
        summary[f"verdict/{name}"] = claim["verdict"]
        if claim["value"] is not None:
            ends = {key: claim[key] for key in ("low", "high", "n")}
            summary |= _summary({name: Estimate(claim["value"], **ends)})
    return Record(
        id=run_id(group, VERDICTS, document),
        key=VERDICTS,
        tags=tags_of(evidence.config, VERDICTS),
        summary=summary,
        tables={CLAIMS: Table(CLAIM_COLUMNS, rows)},
    )


def _numbers(estimates: Mapping[str, Estimate]) -> Table:
    rows = [
        [name, *(_known(getattr(each, column)) for column in NUMBER_COLUMNS[1:])]
        for name, each in estimates.items()
    ]
    return Table(NUMBER_COLUMNS, rows)


def _summary(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """Each number under its name, the ends of its interval with it."""
    flat = {
        f"{name}{suffix}": _known(getattr(each, key))
        for name, each in estimates.items()
        for key, suffix in (("value", ""), ("low", "/low"), ("high", "/high"), ("n", "/n"))
    }
    return {name: value for name, value in flat.items() if value is not None}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
