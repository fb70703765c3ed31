"""The verdict table of the first page: what results/claims.json says, as the page prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zfnet.figures.kit.show import NOTHING
from zfnet.report.pictures import Placed
from zfnet.stats.estimate import LESS, Estimate, text

# How a verdict is marked; the words themselves stand beside the mark, so colour is never alone.
MARKS = {
    "reproduced": "for",
    "holds here": "for",
    "contradicted": "against",
    "fails here": "against",
    "undecided": "open",
    "out of scale": "open",
    "not measured": "none",
}
LEGEND = (
    ("undecided", "the interval, corrected for all claims, includes both answers"),
    ("out of scale", "the run is below what the claim needs, so its number is shown, not judged"),
    ("not measured", "no number to judge by; the row says why"),
)


@dataclass(frozen=True)
class Link:
    """A page of the site, or a place on one: `href` relative to the site's root."""

    href: str
    text: str


@dataclass(frozen=True)
class StudyLinks:
    """Where the evidence of one study or training stands in the site.

    `numbers`: the place of each number, by key. `picture`: its key figure, small, which leads to
    `figure`. `files`: the stage's files in the checkout, with an empty href where the site does not
    lie beside them; None where the stage has not run.
    """

    page: Link
    numbers: Mapping[str, str] = field(default_factory=dict)
    files: Link | None = None
    figure: str = ""
    picture: Placed | None = None
    explorer: Link | None = None


def rows(document: Mapping[str, Any], links: Mapping[str, StudyLinks]) -> list[dict[str, Any]]:
    """One row a claim, in the file's order.

    `links`: by the names that claims.json has for studies (`features`, `train_zfnet_wide`).
    """
    return [_row(name, claim, links) for name, claim in document["claims"].items()]


def lead(document: Mapping[str, Any]) -> str:
    """How many claims came out how, in one sentence."""
    counts = [f"{word} {count}" for word, count in document["counts"].items() if count]
    return f"{len(document['claims'])} claims of the paper: {', '.join(counts)}."


def caution(document: Mapping[str, Any]) -> str:
    """What the verdicts of rendered images do not show; "" of photographs."""
    words = (
        "The images of this run are rendered: “holds here” and “fails here” are about them, and "
        "prove nothing about photographs."
    )
    return words if document["run"]["rendered"] else ""


def notes(document: Mapping[str, Any]) -> list[str]:
    """How all were judged: the correction, later edits of the rules."""
    return [
        f"{document['correction']} Claims judged here: {document['family']}.",
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
