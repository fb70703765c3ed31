"""What the pages say: plain rows and sentences made of the evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from zfnet.report import charts, formats
from zfnet.report.gather import TITLES, Evidence, NetRun
from zfnet.stats.estimate import AT_CHANCE

DATA_SETS = {
    "synthetic": "rendered images",
    "imagenette": "Imagenette photographs",
    "imagenet": "ImageNet photographs",
    "folder": "images of one's own",
}


def words(name: str) -> str:
    """A file or key name as a heading: "layer_2" becomes "Layer 2"."""
    text = re.sub(r"(?<=[a-z])(?=\d)", " ", name.replace("_", " ").strip())
    return text[:1].upper() + text[1:]


def chance_error(evidence: Evidence) -> float | None:
    """Error of a blind choice among the data's classes, %; None if the data are unknown."""
    classes = evidence.data.meta.get("classes") if evidence.data else None
    return round(100 * (1 - 1 / len(classes)), 1) if classes else None


def validation_error(net: NetRun, crops: str = "val") -> dict[str, Any] | None:
    """Final top-1 validation error (%), by the centre crop or (`val_ten_crop`) ten crops."""
    found = net.metrics.get(f"{crops}_top1_error")
    return found if found and found.get("value") is not None else None


def error_rows(nets: list[NetRun]) -> list[dict[str, Any]]:
    """One row per net with a validation error; places on the 0 to 100 scale included."""
    rows = []
    for net in nets:
        error = validation_error(net)
        if error is None:
            continue
        low, high = error.get("low"), error.get("high")
        rows.append(
            {
                "net": net.title,
                "error": formats.measured(error),
                "interval": formats.interval(error),
                "at": formats.share(error["value"], 100),
                "low": None if low is None else formats.share(low, 100),
                "high": None if high is None else formats.share(high, 100),
                "n": error.get("n"),
                "note": error.get("note", ""),
                "lost": net.metrics.get("status", {}).get("value") == AT_CHANCE,
            }
        )
    return rows


def lead(evidence: Evidence) -> str:
    """What ran, in one or two sentences."""
    trained = named(net for net in evidence.nets if net.history)
    adopted = named(net for net in evidence.nets if not net.history)
    if not evidence.nets:
        return "Nothing has been trained yet; what has run so far is shown below."
    parts = []
    if trained:
        verb = "was" if len(trained) == 1 else "were"
        parts.append(f"{_and(trained)} {verb} trained on {_data_words(evidence)}.")
    if adopted:
        verb = "was" if len(adopted) == 1 else "were"
        parts.append(f"{_and(adopted)} {verb} adopted with given weights, not trained here.")
    if evidence.studies:
        parts.append(
            "Then the experiments of Zeiler and Fergus were repeated on what had been learned."
        )
    return " ".join(parts)


def named(nets: Iterable[NetRun]) -> list[str]:
    """The nets as a sentence names them: beyond three, those that are compared, and a count."""
    every = list(nets)
    main = [net.title for net in every if net.name in ("zfnet", "alexnet")]
    if len(every) <= 3 or not main:
        return [net.title for net in every]
    return [*main, f"{len(every) - len(main)} variants of them"]


def _data_words(evidence: Evidence) -> str:
    if evidence.data is None:
        return "data that are no longer there"
    meta = evidence.data.meta
    what = DATA_SETS.get(str(meta.get("source")), f"images ({meta.get('source')})")
    count = formats.number(meta.get("splits", {}).get("train"))
    return f"{count} {what} of {len(meta.get('classes', []))} classes"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def glance(evidence: Evidence) -> list[dict[str, str]]:
    """The facts in the strip under the title."""
    facts = []
    if evidence.data:
        meta = evidence.data.meta
        splits = meta.get("splits", {})
        facts.append(
            _fact(
                "Data",
                DATA_SETS.get(str(meta.get("source")), str(meta.get("source"))),
                f"{formats.number(splits.get('train'))} to train, "
                f"{formats.number(splits.get('val'))} to validate",
            )
        )
    if evidence.nets:
        epochs = sorted({net.epochs for net in evidence.nets if net.history})
        note = f"{' and '.join(map(str, epochs))} epochs" if epochs else "none trained here"
        facts.append(_fact("Nets", _and(named(evidence.nets)), note))
    main = evidence.nets[0] if evidence.nets else None
    error = validation_error(main) if main else None
    if main and error:
        chance = chance_error(evidence)
        note = f"chance is {formats.number(chance)}{formats.THIN}%" if chance is not None else ""
        facts.append(_fact(f"Validation error, {main.title}", with_interval(error), note))
    if evidence.timings:
        hosts = host_groups(evidence.timings)
        note = hosts[0]["short"] if len(hosts) == 1 else f"{len(hosts)} machines"
        facts.append(_fact("Time, all stages", formats.duration(total_seconds(evidence)), note))
    return facts


def with_interval(measured: Mapping[str, Any]) -> str:
    """A number with its interval in brackets: "15.6 % (14.5 to 16.8)"."""
    inner = formats.interval(measured)
    return f"{formats.measured(measured)} ({inner})" if inner else formats.measured(measured)


def _fact(name: str, value: Any, note: str = "") -> dict[str, str]:
    return {"name": name, "value": formats.number(value), "note": note}


def total_seconds(evidence: Evidence) -> float:
    """Wall time of all stages together, seconds."""
    return sum(float(timing.get("seconds") or 0) for timing in evidence.timings.values())


def training_lead(nets: list[NetRun]) -> str:
    """What the training page shows, in one sentence."""
    trained = named(net for net in nets if net.history)
    adopted = named(net for net in nets if not net.history)
    parts = [f"Every epoch of {_and(trained)}."] if trained else ["No net was trained here."]
    if adopted:
        verb = "has" if len(adopted) == 1 else "have"
        parts.append(f"{_and(adopted)} came with given weights and {verb} no history.")
    return " ".join(parts)


def net_table(nets: list[NetRun]) -> tuple[list[str], list[list[Any]]]:
    """Every net side by side: columns and rows."""
    columns = ["Net", "Architecture", "Parameters", "Input, px", "Epochs", "Error, centre crop",
               "Error, ten crops", "Images/s", "Time"]  # fmt: skip
    rows = []
    for net in nets:
        parameters = net.metrics.get("parameters", {}).get("value")
        errors = [validation_error(net, crops) for crops in ("val", "val_ten_crop")]
        timing = net.timing or {}
        rows.append(
            [
                net.title,
                net.info.get("arch", formats.MISSING),
                int(parameters) if parameters else None,
                net.info.get("input_px"),
                net.epochs or "adopted",
                *(with_interval(error) if error else None for error in errors),
                rate(timing),
                formats.duration(own_seconds(timing)),
            ]
        )
    return columns, rows


def own_seconds(timing: Mapping[str, Any]) -> float | None:
    """Seconds that a net's trainings and evaluations took, whichever stage they ran in.

    An adopted net's are its stage's.
    """
    keys = ("training_seconds", "evaluation_seconds")
    each = [run.get(key) for run in timing.get("seeds", [timing]) for key in keys]
    known = [float(value) for value in each if value is not None]
    return sum(known) if "training_seconds" in timing else timing.get("seconds")


def rate(timing: Mapping[str, Any]) -> int | None:
    """Training images per second as the stage recorded them, the median over its epochs."""
    value = timing.get("images_per_second")
    return round(float(value)) if value is not None else None


def history_table(net: NetRun) -> dict[str, Any]:
    """The history of a net as a table, one row per epoch."""
    history = net.history or {}
    names = [name for name in history if name != "epoch"]
    length = net.epochs
    epochs = charts.epochs_of(net, length)
    rows = [[epochs[i], *(history[name][i] for name in names)] for i in range(length)]
    return {
        "net": net.title,
        "columns": ["Epoch", *(words(name) for name in names)],
        "rows": rows,
        "numeric": range(1, len(names) + 1),
    }


KINDS = {
    "departure": (
        "Departures",
        "Done otherwise than the paper says, and why. What is not listed follows it.",
    ),
    "row": ("Rows of the paper’s ablation", "Changed on purpose, as its Table 3 does."),
    "open": ("Where the paper is silent", "What had to be chosen."),
}


def departure_groups(nets: list[NetRun]) -> list[dict[str, Any]]:
    """Departures by kind, entries that several nets share joined into one row."""
    joined: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for net in nets:
        for entry in net.departures:
            kind = entry["kind"] if entry["kind"] in KINDS else "departure"
            key = tuple(entry[name] for name in ("what", "paper", "here", "why"))
            joined.setdefault(kind, {}).setdefault(key, []).append(net.title)
    groups = []
    for kind, (title, text) in KINDS.items():
        rows = [
            [words(what), paper, here, why, "all" if 1 < len(nets) == len(names) else _and(names)]
            for (what, paper, here, why), names in joined.get(kind, {}).items()
        ]
        if rows:
            columns = ["What", "Paper", "Here", "Why", "Nets"]
            groups.append({"title": title, "text": text, "columns": columns, "rows": rows})
    return groups


def data_facts(evidence: Evidence) -> list[dict[str, str]] | None:
    """What was prepared: source, counts, storage, fingerprint."""
    if evidence.data is None:
        return None
    meta = evidence.data.meta
    splits, upsampled = meta.get("splits", {}), meta.get("upsampled", {})
    total = sum(splits.values())
    raised = sum(upsampled.values()) if upsampled else 0
    config = evidence.config.get("data", {})
    facts = [
        _fact("Source", meta.get("source"), DATA_SETS.get(str(meta.get("source")), "")),
        _fact("Classes", len(meta.get("classes", []))),
        _fact(
            "Images", total, ", ".join(f"{formats.number(n)} {name}" for name, n in splits.items())
        ),
        _fact(
            "Stored at", f"{meta.get('size')} × {meta.get('size')} px", f"as {meta.get('store')}"
        ),
        _fact(
            "Upsampled",
            raised,
            f"{100 * raised / total:.1f}{formats.THIN}% were smaller than the stored size"
            if raised
            else "",
        ),
        _fact(
            "In quarantine",
            meta.get("quarantined", len(evidence.data.quarantine)),
            "files that could not be decoded",
        ),
    ]
    if config.get("source") == "synthetic":
        facts.append(
            _fact("Generator", f"version {config.get('version')}, seed {config.get('seed')}")
        )
    facts.append(_fact("Source scanned", formats.date(evidence.data.scan_date)))
    facts.append(
        _fact("Fingerprint", meta.get("fingerprint"), "SHA-256 of the stored images and labels")
    )
    return facts


def class_name(item: Mapping[str, Any]) -> str:
    """A class by name, with its id where that says something else."""
    name, id_ = str(item.get("name", "")), str(item.get("id", ""))
    return name if name == id_ or not id_ else f"{name} ({id_})"


def trained_ahead(evidence: Evidence) -> bool:
    """Whether a train stage trained nets of later stages beside its own."""
    return any((net.timing or {}).get("trained_for_later_stages") for net in evidence.nets)


def stage_times(
    timings: Mapping[str, dict[str, Any]], hosts: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One row per stage in the order they started."""
    longest = max((float(t.get("seconds") or 0) for t in timings.values()), default=0)
    where = {stage: host["name"] for host in hosts for stage in host["stages"]}
    rows = []
    for name, timing in sorted(timings.items(), key=lambda item: str(item[1].get("started"))):
        stage = str(timing.get("stage", name))
        rows.append(
            {
                "stage": stage,
                "time": formats.duration(timing.get("seconds")),
                "share": formats.share(float(timing.get("seconds") or 0), longest),
                "rate": rate(timing),
                "memory": memory(timing),
                "started": formats.date(timing.get("started")),
                "host": where.get(stage, formats.MISSING),
            }
        )
    return rows


def memory(timing: Mapping[str, Any]) -> str:
    """Peak memory of the stage and of its largest child process, whichever is more."""
    keys = ("peak_memory_mib", "peak_memory_child_mib")
    peak = max((float(timing.get(key) or 0) for key in keys), default=0)
    return f"{peak / 1024:.1f}{formats.THIN}GiB" if peak else formats.MISSING


def host_groups(timings: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The machines that stages ran on, each with its stages; equal ones joined.

    A stage that uses no GPU may not have looked for one: a machine whose other facts agree is the
    same.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, timing in timings.items():
        host = timing.get("host")
        if not isinstance(host, dict):
            continue
        gpus = host.get("gpus") or []
        key = json.dumps({k: v for k, v in host.items() if k != "gpus"}, sort_keys=True)
        group = groups.setdefault(key, {"host": dict(host), "stages": []})
        group["host"]["gpus"] = group["host"].get("gpus") or gpus
        group["stages"].append(str(timing.get("stage", name)))
    return [
        {
            "name": chr(ord("A") + index),
            "stages": group["stages"],
            "facts": _host_facts(group["host"]),
            "short": _host_words(group["host"]),
        }
        for index, group in enumerate(groups.values())
    ]


def _host_words(host: Mapping[str, Any]) -> str:
    if host.get("gpus"):
        return _count(host["gpus"])
    cores = host.get("cores")
    return f"{cores} CPU core{'' if cores == 1 else 's'}" if cores else ""


def _count(names: list[str]) -> str:
    counted = {name: names.count(name) for name in dict.fromkeys(names)}
    return ", ".join(f"{n} × {name}" if n > 1 else name for name, n in counted.items())


def _host_facts(host: Mapping[str, Any]) -> list[dict[str, str]]:
    facts = [
        _fact("Processor", host.get("processor"), f"{host.get('cores')} cores"),
        _fact("Memory", f"{formats.number(host.get('memory_gib'))}{formats.THIN}GiB"),
        _fact("GPU", _count(host["gpus"]) if host.get("gpus") else "none used"),
        _fact("System", host.get("platform")),
    ]
    versions = host.get("versions")
    if isinstance(versions, dict):
        facts.append(
            _fact("Software", ", ".join(f"{name} {text}" for name, text in versions.items()))
        )
    return facts


def code_facts(evidence: Evidence) -> list[dict[str, str]]:
    """Commit and whether the source files differ from it."""
    code = evidence.code
    if code.commit is None:
        return [_fact("Commit", "none recorded", "not a git checkout, or nothing committed yet")]
    state = "as committed"
    if code.changed:
        plural = "file differs" if len(code.changed) == 1 else "files differ"
        state = f"{len(code.changed)} {plural} from the commit"
    return [_fact("Commit", code.commit, code.date or ""), _fact("Source files", state)]


def study_facts(study: Mapping[str, Any], timing: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Which net, read where, with which seed, in what time."""
    net = TITLES.get(study["net"], study["net"])
    facts = []
    if study["net"] != "none":
        facts.append(_fact("Net", net))
    if study["tap"] not in ("softmax", "images", ""):
        facts.append(_fact("Read at", study["tap"]))
    if study.get("seed") is not None:
        facts.append(_fact("Seed", study["seed"]))
    if timing:
        facts.append(_fact("Wall time", formats.duration(timing.get("seconds"))))
    return facts


def metric(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A study's measured number as the pages print it."""
    return {
        "key": name,
        "id": anchor(name),
        "name": words(name),
        "value": formats.measured(value),
        "interval": formats.interval(value),
        "n": value.get("n"),
        "note": value.get("note", ""),
    }


def anchor(key: str) -> str:
    """The id of a number's row on its page."""
    return f"number-{key}"


def net_metrics(net: NetRun) -> list[dict[str, Any]]:
    """A net's own numbers; words (its status) are left out."""
    numbers = {
        key: value
        for key, value in net.metrics.items()
        if not isinstance(value.get("value"), str | bool)
    }
    return [
        metric(key, value) | {"id": anchor(f"{net.name}-{key}")} for key, value in numbers.items()
    ]


def telling_metrics(
    metrics: Mapping[str, Mapping[str, Any]], count: int, headline: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """At most `count` metrics for a card: the study's own `headline`, as far as it has them.

    Else spread over those with an interval, else the first.
    """
    named = [name for name in headline if name in metrics]
    if named:
        return [metric(name, metrics[name]) for name in named[:count]]
    names = [name for name, value in metrics.items() if value.get("low") is not None]
    if not names:
        names = list(metrics)[:count]
    if len(names) > count:
        step = (len(names) - 1) / (count - 1)
        names = [names[round(i * step)] for i in range(count)]
    return [metric(name, metrics[name]) for name in names]


def planned_card(name: str) -> dict[str, Any]:
    """The card of a study that the configuration has and that has not run."""
    return {
        "href": "",
        "title": words(name),
        "paper": "",
        "picture": None,
        "metrics": [],
        "how": f"uv run dvc repro {name}",
    }


def tracking_facts(tracking: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the track stage wrote, its runs as rows; None where it has not run."""
    if tracking is None:
        return None
    runs = [[run.get("name"), run.get("id")] for run in tracking.get("runs", [])]
    return {"mode": tracking.get("mode"), "group": tracking.get("group"), "runs": runs}


def numeric_columns(columns: list[str], rows: list[list[Any]]) -> list[int]:
    """Columns, the first left out, that hold numbers only."""
    numeric = []
    for index in range(1, len(columns)):
        cells = [row[index] for row in rows if row[index] is not None]
        if cells and all(isinstance(cell, (int, float)) for cell in cells):
            numeric.append(index)
    return numeric
