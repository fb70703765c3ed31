"""How a run was made, as the run page says it: data, times, machines, code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from zfnet.figures.kit.show import NOTHING
from zfnet.pipeline.registry import SOURCES
from zfnet.report import formats
from zfnet.report.gather import Evidence

Timings = Mapping[str, Mapping[str, Any]]


def fact(name: str, value: Any, note: str = "") -> dict[str, Any]:
    """One entry of a list of facts."""
    return {"name": name, "value": formats.number(value), "note": note}


def data_facts(evidence: Evidence) -> list[dict[str, Any]]:
    """What was prepared: source, counts, storage, fingerprint; empty without data."""
    if evidence.data is None:
        return []
    meta, config = evidence.data.meta, evidence.config.get("data", {})
    splits = meta.get("splits", {})
    total, raised = sum(splits.values()), sum(meta.get("upsampled", {}).values())
    size, source = meta.get("size"), str(meta.get("source"))
    counts = ", ".join(f"{formats.number(n)} {name}" for name, n in splits.items())
    part = f"{100 * raised / total:.1f} % were smaller than the stored size" if raised else ""
    bad = meta.get("quarantined", len(evidence.data.quarantine))
    facts = [
        fact("Source", source, SOURCES.get(source, "")),
        fact("Classes", len(meta.get("classes", []))),
        fact("Images", total, counts),
        fact("Stored at", f"{size} × {size} px", f"as {meta.get('store')}"),
        fact("Upsampled", raised, part),
        fact("In quarantine", bad, "files that could not be decoded"),
    ]
    if config.get("source") == "synthetic":
        made = f"version {config.get('version')}, seed {config.get('seed')}"
        facts.append(fact("Generator", made))
    return [
        *facts,
        # Prepare walks the source when it runs: the day it started is the day of the scan.
        fact("Source scanned", formats.date(evidence.timings.get("prepare", {}).get("started"))),
        fact("Fingerprint", meta.get("fingerprint"), "SHA-256 of the stored images and labels"),
    ]


def class_names(evidence: Evidence) -> list[str]:
    """The classes by name, with their ids where these say something else."""
    classes = evidence.data.meta.get("classes", []) if evidence.data else []
    pairs = [(str(each.get("name", "")), str(each.get("id", ""))) for each in classes]
    return [name if id_ in (name, "") else f"{name} ({id_})" for name, id_ in pairs]


def config_text(evidence: Evidence) -> str:
    """The composed configuration as YAML, which people read more easily; "" without one."""
    import yaml

    return yaml.safe_dump(evidence.config, sort_keys=False, width=100) if evidence.config else ""


# ------------------------------------------------------------------------------------------- times
def total_seconds(timings: Timings) -> float:
    """Wall time of all stages together, seconds."""
    return sum(float(timing.get("seconds") or 0) for timing in timings.values())


def stage_times(timings: Timings, hosts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per stage in the order they started."""
    longest = max((float(t.get("seconds") or 0) for t in timings.values()), default=0) or 1
    where = {stage: host["name"] for host in hosts for stage in host["stages"]}
    rows = []
    for name, timing in sorted(timings.items(), key=lambda item: str(item[1].get("started"))):
        stage = str(timing.get("stage", name))
        rate = timing.get("images_per_second")
        rows.append(
            {
                "stage": stage,
                "time": formats.duration(timing.get("seconds")),
                "share": 100 * float(timing.get("seconds") or 0) / longest,
                "rate": None if rate is None else round(float(rate)),
                "memory": _memory(timing),
                "started": formats.date(timing.get("started")),
                "host": where.get(stage, NOTHING),
            }
        )
    return rows


def _memory(timing: Mapping[str, Any]) -> str:
    """Peak memory of the stage or of its largest child process, whichever is more."""
    keys = ("peak_memory_mib", "peak_memory_child_mib")
    peak = max(float(timing.get(key) or 0) for key in keys)
    return f"{peak / 1024:.1f}{formats.THIN}GiB" if peak else NOTHING


# ---------------------------------------------------------------------------------------- machines
def host_groups(timings: Timings) -> list[dict[str, Any]]:
    """The machines that stages ran on, each with its stages; equal ones joined.

    A stage that uses no GPU may not have looked for one: a machine whose other facts agree is the
    same.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, timing in timings.items():
        host = timing.get("host")
        if not isinstance(host, dict):
            continue
        key = json.dumps({k: v for k, v in host.items() if k != "gpus"}, sort_keys=True)
        group = groups.setdefault(key, {"host": dict(host), "stages": []})
        group["host"]["gpus"] = group["host"].get("gpus") or host.get("gpus") or []
        group["stages"].append(str(timing.get("stage", name)))
    return [
        {
            "name": f"Machine {index}",
            "stages": group["stages"],
            "facts": _host_facts(group["host"]),
            "short": _count(group["host"]["gpus"]) or f"{group['host'].get('cores')} CPU cores",
        }
        for index, group in enumerate(groups.values(), start=1)
    ]


def _count(names: Sequence[str]) -> str:
    counted = {name: names.count(name) for name in dict.fromkeys(names)}
    return ", ".join(f"{n} × {name}" if n > 1 else name for name, n in counted.items())


def _host_facts(host: Mapping[str, Any]) -> list[dict[str, Any]]:
    versions = (host.get("versions") or {}).items()
    return [
        fact("Processor", host.get("processor"), f"{host.get('cores')} cores"),
        fact("Memory", f"{formats.number(host.get('memory_gib'))}{formats.THIN}GiB"),
        fact("GPU", _count(host["gpus"]) or "none used"),
        fact("System", host.get("platform")),
        fact("Software", ", ".join(f"{name} {version}" for name, version in versions)),
    ]


def code_facts(evidence: Evidence) -> list[dict[str, Any]]:
    """Commit, whether the source files differ from it, and at which commits nets were trained."""
    code, state = evidence.code, "as committed"
    trained = dict.fromkeys(filter(None, (net.words.get("commit") for net in evidence.nets)))
    if code.commit is None:
        return [fact("Commit", "none recorded", "not a git checkout, or nothing committed yet")]
    if code.changed:
        plural = "file differs" if len(code.changed) == 1 else "files differ"
        state = f"{len(code.changed)} {plural} from the commit"
    found = [fact("Commit", code.commit, code.date or ""), fact("Source files", state)]
    return [*found, fact("Nets trained at", ", ".join(trained))] if trained else found
