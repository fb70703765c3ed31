"""The verdict table of the first page: what results/claims.json says, as the page prints it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zfnet.report import formats

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


def rows(document: Mapping[str, Any] | None, studies: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row a claim, in the file's order; empty without a document.

    `studies`: title of each study that has a page, by name.
    """
    claims = (document or {}).get("claims", {})
    return [_row(name, claim, studies) for name, claim in claims.items()]


def lead(document: Mapping[str, Any] | None) -> str:
    """How many claims came out how, in one sentence; "" without a document."""
    if not document:
        return ""
    counts = [f"{count} {word}" for word, count in document["counts"].items() if count]
    return f"Of {len(document['claims'])} claims: {', '.join(counts)}."


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


def _row(name: str, claim: Mapping[str, Any], studies: Mapping[str, str]) -> dict[str, Any]:
    verdict = claim["verdict"]
    alone = claim.get("alone")
    later = f"alone: {alone}" if alone and alone != verdict else ""
    facts = [
        ("Why", " ".join(filter(None, (claim["reason"], claim["more"])))),
        ("Rule", f"{claim['rule']['text']}: {claim['rule']['why']}"),
        ("Test", claim["test"]["text"]),
        ("Trainings", claim["remark"]),
        ("Mind", claim["caveat"]),
        ("Seeds", _seeds(claim)),
        ("To speak of the paper", "; ".join(_needs(claim))),
        ("Committed", _committed(claim)),
    ]
    return {
        "id": name,
        "claim": claim["claim"],
        "place": claim["place"],
        "measured": formats.measured(claim) if claim.get("value") is not None else formats.MISSING,
        "interval": formats.interval(claim),
        "paper": claim["paper"]["text"],
        "verdict": verdict,
        "later": later,
        "mark": MARKS.get(verdict, "none"),
        "facts": [{"name": key, "value": value, "note": ""} for key, value in facts if value],
        "numbers": [_number(entry) for entry in claim["numbers"] if entry.get("value") is not None],
        "pages": [
            {"href": f"studies/{study}.html", "title": studies[study]}
            for study in claim["studies"]
            if study in studies
        ],
    }


def _number(entry: Mapping[str, Any]) -> list[Any]:
    value = formats.measured(entry)
    interval = formats.interval(entry)
    return [f"{entry['study']}: {entry['key']}", value, interval, entry.get("n"), entry["note"]]


def _seeds(claim: Mapping[str, Any]) -> str:
    seeds = ", ".join(map(str, claim.get("seeds", [])))
    if claim.get("seen_seeds"):
        return f"{seeds}; numbers of this very seed were known when the rule was written"
    return seeds


def _needs(claim: Mapping[str, Any]) -> list[str]:
    unmet = [need for need in claim["needs"] if not need["met"]]
    return [f"{need['need']} (here {formats.number(need['here'])})" for need in unmet]


def _committed(claim: Mapping[str, Any]) -> str:
    edits = [f"{edit['date']}: {edit['reason']}" for edit in claim.get("edits", [])]
    return "; ".join([str(claim["committed"]), *edits])
