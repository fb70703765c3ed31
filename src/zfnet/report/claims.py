"""The verdict table of the first page: what results/claims.json says, as the page prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zfnet.report import formats
from zfnet.report.pictures import Picture
from zfnet.stats.estimate import LESS

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
class Source:
    """Where the evidence of one study or training stands in the site.

    `numbers`: the place of each number, by key. `picture`: its key figure, small, which leads to
    `figure`. `files`: the stage's files in the checkout, with an empty href where the site does not
    lie beside them.
    """

    page: Link
    numbers: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[Link] = ()
    figure: str = ""
    picture: Picture | None = None
    explorer: Link | None = None
    files: Sequence[Link] = ()


def rows(document: Mapping[str, Any] | None, sources: Mapping[str, Source]) -> list[dict[str, Any]]:
    """One row a claim, in the file's order; empty without a document.

    `sources`: by the names that claims.json has for studies (`features`, `train_zfnet_wide`).
    """
    claims = (document or {}).get("claims", {})
    return [_row(name, claim, sources) for name, claim in claims.items()]


def lead(document: Mapping[str, Any] | None) -> str:
    """How many claims came out how, in one sentence; "" without a document."""
    if not document:
        return ""
    counts = [f"{word} {count}" for word, count in document["counts"].items() if count]
    return f"{len(document['claims'])} claims of the paper: {', '.join(counts)}."


def legend(document: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What those verdicts mean that need a word, where they occur."""
    counts = (document or {}).get("counts", {})
    return [(word, text) for word, text in LEGEND if counts.get(word)]


def notes(document: Mapping[str, Any] | None) -> list[str]:
    """What holds for the whole table: correction, rendered images, later edits of the rules."""
    if not document:
        return []
    found = [f"{document['correction']} Claims judged here: {document['family']}."]
    if document["run"].get("rendered"):
        found.append(
            "The images of this run are rendered: “holds here” and “fails here” are about them, "
            "and prove nothing about photographs."
        )
    found += [f"Rules edited on {e['date']}: {e['reason']}" for e in document.get("edits", [])]
    return found


def _row(name: str, claim: Mapping[str, Any], sources: Mapping[str, Source]) -> dict[str, Any]:
    verdict = claim["verdict"]
    alone = claim.get("alone")
    there = [sources[study] for study in claim["studies"] if study in sources]
    measured = [entry for entry in claim["numbers"] if entry.get("value") is not None]
    deciding = _deciding(claim, measured)
    return {
        "id": name,
        "claim": claim["claim"],
        "place": claim["place"],
        "measured": formats.measured(claim) if claim.get("value") is not None else formats.MISSING,
        "interval": formats.interval(claim),
        "deciding": f"deciding, of {claim['of']}" if deciding else "",
        "paper": claim["paper"]["text"],
        "verdict": verdict,
        "later": f"without correction: {alone}" if alone and alone != verdict else "",
        "mark": MARKS.get(verdict, "none"),
        "facts": [
            {"name": key, "value": value, "note": ""} for key, value in _facts(claim) if value
        ],
        "numbers": [
            _number(entry, sources) | {"decides": entry["key"] in deciding} for entry in measured
        ],
        "sources": there,
        "explorers": list(dict.fromkeys(one.explorer for one in there if one.explorer)),
        "files": [link for one in there for link in one.files],
    }


def _facts(claim: Mapping[str, Any]) -> list[tuple[str, str | list[str]]]:
    missing = claim.get("missing", "")
    # Said once: the judge's sentence ends with what is missing, which has a line of its own here.
    reason = claim["reason"].removesuffix(f" Not counted: {missing}.")
    return [
        ("Why", " ".join(filter(None, (reason, claim["more"])))),
        ("Rule", f"{claim['rule']['text']}: {claim['rule']['why']}"),
        ("Test", claim["test"]["text"]),
        ("Trainings", claim["remark"]),
        ("Caution", claim["caveat"]),
        ("Not there", "" if missing in reason else missing.split("; ")),
        ("Seeds", _seeds(claim)),
        ("Needed to judge the paper", _needs(claim)),
        ("Committed", _committed(claim)),
    ]


def _deciding(claim: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """The key of the number that decides, or both keys of a pair; none where there is only one."""
    deciding = claim.get("deciding", "")
    keys = [entry["key"] for entry in measured]
    return [deciding] if deciding in keys else deciding.split(LESS) if deciding else []


def _number(entry: Mapping[str, Any], sources: Mapping[str, Source]) -> dict[str, Any]:
    links = []
    for part in entry["key"].split(LESS):
        study, _, key = part.rpartition(": ")  # what is taken off may be another study's
        source = sources.get(study or entry["study"])
        links.append(Link(source.numbers.get(key, "") if source else "", part))
    return {
        "study": entry["study"],
        "links": links,
        "value": formats.measured(entry),
        "interval": formats.interval(entry),
        "n": entry.get("n"),
        "note": entry["note"],
    }


def _seeds(claim: Mapping[str, Any]) -> str:
    seeds = ", ".join(map(str, claim.get("seeds", [])))
    seen = claim.get("seen_seeds")
    if not seen:
        return seeds
    which = f"seed {seen[0]}" if len(seen) == 1 else f"seeds {', '.join(map(str, seen))}"
    return f"{seeds}; numbers of {which} were known when the rule was written"


def _needs(claim: Mapping[str, Any]) -> list[str]:
    """What the claim needs and the run does not have, with what it has and why it is needed."""
    unmet = [need for need in claim["needs"] if not need["met"]]
    told = claim.get("unmet", [need["need"] for need in unmet])
    return [f"{text}: {need['why']}" for text, need in zip(told, unmet, strict=True)]


def _committed(claim: Mapping[str, Any]) -> str:
    edits = [f"edited {edit['date']}: {edit['reason']}" for edit in claim.get("edits", [])]
    return "; ".join([str(claim["committed"]), *edits])
