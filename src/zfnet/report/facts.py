"""What the pages say of nets and studies: plain rows and sentences made of the evidence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zfnet import MAIN_NET
from zfnet.figures.kit.words import words
from zfnet.pipeline.registry import SOURCES
from zfnet.pipeline.studies import STUDIES
from zfnet.report import formats
from zfnet.report.gather import Evidence, NetRun
from zfnet.report.provenance import fact, host_groups, total_seconds
from zfnet.stats.chance import FALL, TRAINED, fall_before_drop, first_drop
from zfnet.stats.estimate import Estimate, in_words, text
from zfnet.verdicts.evidence import SEEDS

ON_A_CARD = 3  # numbers
NO_TAP = ("softmax", "images", "")  # of studies that read no layer

_PARTS = {"conv": "the convolution of ", "relu": "the rectifier of ", "out": ""}


def where(tap: str) -> str:
    """What was read, from the tap as recorded: "5.relu", "relu", or "1: layer1, 2: layer2"."""
    layers, parts = [], set()
    for each in tap.split(", "):
        layer, colon, _ = each.partition(": ")  # codes list modules, each the end of its layer
        layer, _, part = (layer, "", "out") if colon else each.rpartition(".")
        layers.append(layer)
        parts.add(part)
    if len(parts) > 1 or not parts <= set(_PARTS):
        return tap
    of = f"layer{'s' * (len(layers) > 1)} {in_words(layers)}" if layers[0] else "each layer"
    return f"output of {_PARTS[parts.pop()]}{of}"


# -------------------------------------------------------------------------------------- first page
def lead(evidence: Evidence) -> str:
    """What ran, in one or two sentences."""
    if not evidence.nets:
        return "Nothing has been trained yet; what has run so far is shown below."
    trained, adopted = _by_origin(evidence.nets)
    parts = []
    if trained:
        verb = "was" if len(trained) == 1 else "were"
        parts.append(f"{in_words(trained)} {verb} trained on {_data_words(evidence)}.")
    if adopted:
        verb = "was" if len(adopted) == 1 else "were"
        parts.append(f"{in_words(adopted)} {verb} adopted with given weights, not trained here.")
    if evidence.studies:
        parts.append(
            "Then the experiments of Zeiler and Fergus were repeated on what had been learned."
        )
    return " ".join(parts)


def _by_origin(nets: Iterable[NetRun]) -> tuple[list[str], list[str]]:
    """Names of the nets trained here and of those adopted."""
    every = list(nets)
    return _named([n for n in every if n.history]), _named([n for n in every if not n.history])


def _named(nets: Sequence[NetRun]) -> list[str]:
    """The nets as a sentence names them: beyond three, the main ones and a count."""
    main = [net.title for net in nets if net.name in (MAIN_NET, "alexnet")]
    if len(nets) <= 3 or not main:
        return [net.title for net in nets]
    return [*main, f"{len(nets) - len(main)} variants of them"]


def _data_words(evidence: Evidence) -> str:
    if evidence.data is None:
        return "data that are no longer there"
    meta = evidence.data.meta
    what = SOURCES.get(str(meta.get("source")), f"images ({meta.get('source')})")
    count = formats.number(meta.get("splits", {}).get("train"))
    return f"{count} {what} of {len(meta.get('classes', []))} classes"


def glance(evidence: Evidence) -> list[dict[str, Any]]:
    """The facts in the strip under the title: the main net's error, epochs, the time."""
    facts = []
    if several := {net.title: len(net.histories) for net in evidence.nets if net.history}:
        every = in_words([f"{count} of {title}" for title, count in list(several.items())[:2]])
        others = sum(list(several.values())[2:])
        facts.append(fact("Trainings", every, f"and {others} of other nets" if others else ""))
    error = validation_error(evidence.nets[0]) if evidence.nets else None
    if error:
        main, chance = evidence.nets[0], chance_error(evidence)
        note = "" if chance is None else f"chance is {formats.number(chance)} %"
        facts.append(fact(f"Validation error, {main.title}", text(error), note))
        facts.append(fact(f"Epochs, {main.title}", main.epochs or "adopted"))
    if evidence.timings:
        hosts = host_groups(evidence.timings)
        note = hosts[0]["short"] if len(hosts) == 1 else f"{len(hosts)} machines"
        time = formats.duration(total_seconds(evidence.timings))
        facts.append(fact("Time, all stages", time, note))
    return facts


def chance_error(evidence: Evidence) -> float | None:
    """Error of a blind choice among the data's classes, %; None if the data are unknown."""
    classes = evidence.data.meta.get("classes") if evidence.data else None
    return round(100 * (1 - 1 / len(classes)), 1) if classes else None


def validation_error(net: NetRun, crops: str = "val") -> Estimate | None:
    """Final top-1 validation error (%), by the centre crop or (`val_ten_crop`) ten crops.

    Over several trainings their mean, with the interval over them.
    """
    one, over = (net.estimates.get(f"{crops}_top1_error{end}") for end in ("", SEEDS))
    return one if over is None or over.low is None else over


def error_rows(nets: Iterable[NetRun]) -> list[dict[str, Any]]:
    """One row per net with a validation error."""
    return [
        {
            "net": net.title,
            "error": text(error),
            "estimate": error,
            "trainings": error.trainings,
            "state": state(net),
        }
        for net in nets
        if (error := validation_error(net)) is not None
    ]


def errors_by_seed(net: NetRun) -> dict[str, list[dict[str, Any]]]:
    """The final validation error of each of several trainings, as `trainings.by_key` gives rows."""
    ends = {each.seed: net.histories[each.seed].get("val_top1_error", [None])[-1]
            for each in net.trained.learned.trainings if each.history}  # fmt: skip
    rows = [{"seed": seed, "value": value, "invalid": ""} for seed, value in ends.items()]
    return {"val_top1_error": rows} if len(rows) > 1 else {}


def state(net: NetRun) -> str:
    """How its trainings ended where they are no evidence, or not all: "still learning (2 of 5)"."""
    ended = Counter(training.ended for training in net.trained.trainings)
    del ended[TRAINED]
    count = len(net.trained.trainings)
    return ", ".join(
        f"{how} ({those} of {count})" if count > 1 else how for how, those in ended.items()
    )


# ---------------------------------------------------------------------------------------- training
def training_lead(nets: Sequence[NetRun]) -> str:
    """What the training page shows, in one or two sentences."""
    trained, adopted = _by_origin(nets)
    of = "every training of " if any(len(net.histories) > 1 for net in nets) else ""
    first = f"Every epoch of {of}{in_words(trained)}." if trained else "No net was trained here."
    if not adopted:
        return first
    verb = "has" if len(adopted) == 1 else "have"
    return f"{first} {in_words(adopted)} came with given weights and {verb} no history."


def net_table(nets: Iterable[NetRun]) -> tuple[list[str], list[list[Any]]]:
    """Every net side by side: columns and rows."""
    columns = ["Net", "Trainings", "Ended", "Error, centre crop", "Error, ten crops", "Epochs",
               "Parameters", "Time"]  # fmt: skip
    rows = []
    for net in nets:
        parameters = net.estimates.get("parameters")
        errors = [validation_error(net, crops) for crops in ("val", "val_ten_crop")]
        rows.append(
            [
                net.title,
                len(net.trained.trainings),
                state(net) or (TRAINED if net.history else "adopted"),
                *(error and text(error) for error in errors),
                net.epochs or None,
                parameters and int(parameters.value),
                formats.duration(own_seconds(net.timing)),
            ]
        )
    return columns, rows


def ending_table(nets: Iterable[NetRun]) -> tuple[list[str], list[list[Any]]]:
    """How every training ended, by what `stats.chance` asks: columns and rows."""
    nets = [net for net in nets if net.histories]
    limit = FALL * math.log(len(nets[0].trained.classes)) if nets else 0.0
    fell = f"Fall of the loss in the quarter before, nat (limit {limit:.3f})"
    columns = ["Net", "Seed", "Ended", "Rate first fell after epoch", fell, "Loss at the end, nat"]
    rows: list[list[Any]] = []
    for net in nets:
        for training in (each for each in net.trained.trainings if each.history):
            losses, rates = ([row[key] for row in training.history] for key in ("train_loss", "lr"))
            fall = fall_before_drop(losses, rates, training.classes)
            drop = first_drop(rates)
            rows.append([net.title, training.seed, training.ended, drop, fall, losses[-1]])
    return columns, rows


def own_seconds(timing: Mapping[str, Any]) -> float | None:
    """Seconds that a net's trainings and evaluations took, whichever stage they ran in.

    An adopted net's are its stage's.
    """
    if "training_seconds" not in timing:
        return timing.get("seconds")
    keys = ("training_seconds", "evaluation_seconds")
    each = [run.get(key) for run in timing.get("seeds", [timing]) for key in keys]
    return sum(float(value) for value in each if value is not None)


KINDS = {
    "departure": (
        "Departures",
        "Done otherwise than the paper says, and why. What is not listed follows it.",
    ),
    "row": ("Rows of the paper’s ablation", "Changed on purpose, as its Table 3 does."),
    "open": ("Where the paper is silent", "What had to be chosen."),
}


def departure_groups(nets: Sequence[NetRun]) -> list[dict[str, Any]]:
    """Departures by kind, entries that several nets share joined into one row."""
    joined: dict[str, dict[tuple[str, ...], list[str]]] = {kind: {} for kind in KINDS}
    for net in nets:
        for entry in net.departures:
            key = tuple(entry[name] for name in ("what", "paper", "here", "why"))
            joined[entry["kind"]].setdefault(key, []).append(net.title)
    groups = []
    for kind, (title, told) in KINDS.items():
        rows = [
            [words(what), paper, here, why, _which([net.title for net in nets], of)]
            for (what, paper, here, why), of in joined[kind].items()
        ]
        if rows:
            columns = ["What", "Paper", "Here", "Why", "Nets"]
            groups.append({"title": title, "text": told, "columns": columns, "rows": rows})
    return groups


def _which(nets: Sequence[str], of: Sequence[str]) -> str:
    """Those of the nets that an entry is about; their titles hold commas."""
    others = [net for net in nets if net not in of]
    if not others and len(nets) > 1:
        return "all"
    return f"all but {'; '.join(others)}" if len(others) == 1 < len(of) else "; ".join(of)


# ----------------------------------------------------------------------------------------- studies
def study_facts(study: Mapping[str, Any], evidence: Evidence) -> list[dict[str, Any]]:
    """Which net, read where, with which seed, in what time."""
    facts, results = [], study["results"]
    if results.net not in ("none", ""):
        facts.append(fact("Net", evidence.title(results.net)))
    if results.tap not in NO_TAP:
        facts.append(fact("Read at", where(results.tap)))
    if results.seed is not None:
        facts.append(fact("Seed", results.seed))
    timing = evidence.timings.get(study["study"])
    if timing:
        facts.append(fact("Wall time", formats.duration(timing.get("seconds"))))
    return facts


def numbers(estimates: Mapping[str, Estimate], net: str = "") -> list[dict[str, Any]]:
    """Numbers of a study, or of a net, as the pages print them."""
    return [
        {
            "key": key,
            "id": f"number-{net}-{key}" if net else f"number-{key}",
            "name": words(key),
            "value": text(each),
            "n": each.n,
            "note": "; ".join(filter(None, [each.invalid, each.note])),
        }
        for key, each in estimates.items()
    ]


def card_numbers(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers on a study's card: those the registry names, else the first with intervals."""
    estimates: Mapping[str, Estimate] = study["results"].estimates
    named = [key for key in STUDIES[study["study"]].headline if key in estimates]
    names = named or [key for key, each in estimates.items() if each.low is not None] or estimates
    return numbers({key: estimates[key] for key in list(names)[:ON_A_CARD]})
