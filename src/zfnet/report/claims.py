"""The verdict table of the first page: what results/claims.json says, as the page prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zfnet.figures.kit.show import NOTHING
from zfnet.report.pictures import Placed
from zfnet.stats.estimate import LESS, Estimate, decimal, decimals, text
from zfnet.stats.trainings import ENOUGH
from zfnet.verdicts.table import counted, judged
from zfnet.verdicts.verdict import (
    DECIDED_AGAINST,
    DECIDED_FOR,
    FAILS,
    FEW,
    HOLDS,
    IN_NET,
    NOT_MEASURED,
    OUT_OF_SCALE,
    UNDECIDED,
    UNJUDGED,
)

HEADINGS = {"paper": "Does the paper hold up?", "survey": "What the other techniques show"}
# How a verdict is marked; the words themselves stand beside the mark, so colour is never alone.
MARKS = {
    **dict.fromkeys(DECIDED_FOR, "for"),
    **dict.fromkeys(DECIDED_AGAINST, "against"),
    **dict.fromkeys((UNDECIDED, *UNJUDGED), "open"),
    NOT_MEASURED: "none",
}
LEGEND = (
    *((word, "an adopted net, which is one net") for word in IN_NET.values()),
    (UNDECIDED, "the interval, corrected for all claims, includes both answers"),
    *(
        (word, f"a claim about nets needs {ENOUGH}; the number is shown, not judged")
        for word in FEW.values()
    ),
    (
        OUT_OF_SCALE,
        "the run is below what the claim needs, so its number is shown, not judged",
    ),
    (NOT_MEASURED, "no number to judge by; the row says why"),
)


@dataclass(frozen=True)
class Link:
    """A page of the site, or a place on one: `href` relative to the site's root."""

    href: str
    text: str


@dataclass(frozen=True)
class StudyLinks:
    """Where the evidence of one study or training stands in the site.

    `numbers`: the place of each number, by key. `trainings`: what each training gave, by key: rows
    of seed, value, invalid. `picture`: its key figure, small, which leads to `figure`. `files`: the
    stage's files in the checkout, with an empty href where the site does not lie beside them; None
    where the stage has not run.
    """

    page: Link
    numbers: Mapping[str, str] = field(default_factory=dict)
    files: Link | None = None
    figure: str = ""
    picture: Placed | None = None
    explorer: Link | None = None
    trainings: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class ClaimTable:
    """The claims of one work, as the first page has them; `rows`: one a claim, in file order."""

    name: str
    heading: str
    lead: str
    rows: list[dict[str, Any]]


def parts(document: Mapping[str, Any], links: Mapping[str, StudyLinks]) -> list[ClaimTable]:
    """The claims of the paper, then those of the other techniques, where there are any.

    `links`: by the names that claims.json has for studies (`features`, `train_zfnet_wide`).
    """
    found = []
    for work, heading in HEADINGS.items():
        own = {name: c for name, c in document["claims"].items() if c["work"] == work}
        if own:
            rows = [_row(name, claim, links) for name, claim in own.items()]
            lead = f"{counted(document, work)} {_trainings(own)}".strip()
            found.append(ClaimTable(work, heading, lead, rows))
    return found


def _trainings(claims: Mapping[str, Any]) -> str:
    """Over how many trainings the claims were judged; "" where nothing was measured."""
    measured = [c for c in claims.values() if c["verdict"] != NOT_MEASURED]
    judged = [claim for claim in measured if claim["verdict"] not in UNJUDGED]
    counts = sorted({claim["trainings"] for claim in judged or measured})
    if not counts:
        return ""
    if counts == [1]:
        return "One training of each net stands behind them, which decides nothing about nets."
    span = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return f"They are judged over {span} trainings of each net."


def legend(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the words that occur mean, where that is not plain."""
    there = {claim["verdict"] for claim in document["claims"].values()}
    return [(word, meaning) for word, meaning in LEGEND if word in there]


def caution(document: Mapping[str, Any]) -> str:
    """What the verdicts of rendered images do not show; "" of photographs."""
    words = (
        f"The images of this run are rendered: “{HOLDS}” and “{FAILS}” are about them, and prove "
        "nothing about photographs."
    )
    return words if document["run"]["rendered"] else ""


def notes(document: Mapping[str, Any]) -> list[str]:
    """How all were judged: the correction, later edits of the rules."""
    return [
        f"{document['correction']} Claims judged here: {judged(document)}.",
        *(f"Rules edited on {e['date']}: {e['reason']}" for e in document["edits"]),
    ]


def measured(entry: Mapping[str, Any]) -> str:
    """A number of the document with its interval; a dash where nothing was measured."""
    if entry.get("value") is None:
        return NOTHING
    return text(Estimate(entry["value"], entry["low"], entry["high"], unit=entry["unit"]))


def _row(name: str, claim: Mapping[str, Any], links: Mapping[str, StudyLinks]) -> dict[str, Any]:
    there = [links[study] for study in claim["studies"] if study in links]
    numbers = [entry for entry in claim["numbers"] if entry.get("value") is not None]
    keys, deciding = [entry["key"] for entry in numbers], claim["deciding"]
    # one number, or a pair of which the one is held against the other
    decides = [deciding] if deciding in keys else deciding.split(LESS) if deciding else []
    alone, verdict = claim["alone"], claim["verdict"]
    return {
        "id": name,
        "claim": claim["claim"],
        "place": claim["place"],
        "measured": measured(claim),
        "deciding": f"deciding, of {claim['of']}" if decides else "",
        "paper": claim["paper"]["text"],
        "verdict": verdict,
        "later": "" if alone == verdict else f"without correction: {alone}",
        "mark": MARKS[verdict],
        "facts": [{"name": key, "value": value} for key, value in _facts(claim) if value],
        "numbers": [
            {
                "study": entry["study"],
                "links": _links(entry, links),
                "value": measured(entry),
                "n": entry["n"],
                "note": entry["note"],
                "decides": entry["key"] in decides,
            }
            for entry in numbers
        ],
        "spreads": [
            found
            for entry in numbers
            if entry["key"] in decides or len(numbers) == 1
            if (found := _spread(entry, links)) is not None
        ],
        "links": there,
        "explorers": list(dict.fromkeys(one.explorer for one in there if one.explorer)),
        "files": [one.files for one in there if one.files],
    }


def _facts(claim: Mapping[str, Any]) -> list[tuple[str, str | list[str]]]:
    missing = claim["missing"]
    edits = [f"edited {edit['date']}: {edit['reason']}" for edit in claim["edits"]]
    return [
        ("Why", " ".join(filter(None, (claim["reason"], claim["more"])))),
        ("Rule", f"{claim['rule']['text']}: {claim['rule']['why']}"),
        ("Test", claim["test"]["text"]),
        ("Trainings", claim["remark"]),
        ("Caution", claim["caveat"]),
        ("Not there", "" if missing in claim["reason"] else missing.split("; ")),
        ("Seeds", _seeds(claim)),
        (
            "Needed to judge the paper",
            [f"{n['need']} (here {n['here']}): {n['why']}" for n in claim["needs"] if not n["met"]],
        ),
        ("Committed", "; ".join([claim["committed"], *edits])),
    ]


def _spread(entry: Mapping[str, Any], links: Mapping[str, StudyLinks]) -> dict[str, Any] | None:
    """A number's trainings on one scale, places in %; None where they are not known one by one.

    Of a difference, each seed's. A number that a constant was taken off is left
    out: its trainings are those of the whole number.
    """
    every = [_by_seed(part, entry["study"], links) for part in entry["key"].split(LESS)]
    seeds = [seed for seed in every[0] if all(seed in each for each in every)]
    if len(seeds) < 2 or entry["low"] is None:
        return None
    values = dict.fromkeys(seeds, 0.0)
    for each in reversed(every):  # what is taken off may be a difference too
        values = {seed: each[seed][0] - less for seed, less in values.items()}
    ends = [entry["low"], entry["high"], *values.values()]
    low, high = min(ends), max(ends)
    if not abs(sum(values.values()) / len(seeds) - entry["value"]) <= 0.01 * (high - low):
        return None
    places = decimals(entry["value"], entry["low"], entry["high"])
    said = {seed: f"seed {seed}: {decimal(value, places)}" for seed, value in values.items()}

    def place(value: float) -> float:
        return round(3 + 94 * (value - low) / (high - low), 2)

    return {
        "name": entry["key"],
        "alt": f"{entry['key']}, {'; '.join(said.values())}; mean {measured(entry)}.",
        "dots": [
            {"left": place(values[s]), "text": said[s], "invalid": any(e[s][1] for e in every)}
            for s in seeds
        ],
        "mean": place(entry["value"]),
        "bar": [place(entry["low"]), round(place(entry["high"]) - place(entry["low"]), 2)],
        "zero": place(0) if low < 0 < high else None,
        "low": decimal(low, places),
        "high": decimal(high, places),
        "seeds": f" (seeds {', '.join(map(str, seeds))})",
    }


def _by_seed(part: str, own: str, links: Mapping[str, StudyLinks]) -> dict[int, tuple[float, str]]:
    """What each training gave for one number, and why it is no evidence."""
    study, _, key = part.rpartition(": ")
    source = links.get(study or own)
    rows = source.trainings.get(key, ()) if source else ()
    return {row["seed"]: (row["value"], row["invalid"]) for row in rows if row["value"] is not None}


def _links(entry: Mapping[str, Any], links: Mapping[str, StudyLinks]) -> list[Link]:
    """Where a number stands; of a difference, both numbers."""
    found = []
    for part in entry["key"].split(LESS):
        study, _, key = part.rpartition(": ")  # what is taken off may be another study's
        source = links.get(study or entry["study"])
        found.append(Link(source.numbers.get(key, "") if source else "", part))
    return found


def _seeds(claim: Mapping[str, Any]) -> str:
    seeds, seen = (", ".join(map(str, claim[key])) for key in ("seeds", "seen_seeds"))
    which = f"seed{'' if len(claim['seen_seeds']) == 1 else 's'} {seen}"
    return f"{seeds}; numbers of {which} were known when the rule was written" if seen else seeds
