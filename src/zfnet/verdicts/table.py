"""The verdicts for the terminal, as wide as it is; colour only on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

from zfnet.stats.estimate import Estimate
from zfnet.stats.estimate import text as in_words
from zfnet.verdicts.verdict import (
    DECIDED_AGAINST,
    DECIDED_FOR,
    NOT_MEASURED,
    UNDECIDED,
    UNJUDGED,
    WORDS,
)

WIDTH = 120  # of output that is no terminal
NARROWEST = 40
COLUMN = 20  # of the verdicts
NAMES = {"paper": "the paper", "survey": "other techniques"}
GREEN, RED, YELLOW, FAINT = "32", "31", "33", "2"
COLOURS = {
    **dict.fromkeys(WORDS, FAINT),
    **dict.fromkeys(DECIDED_FOR, GREEN),
    **dict.fromkeys(DECIDED_AGAINST, RED),
    UNDECIDED: YELLOW,
}


def width() -> int:
    """Columns of the terminal, or as COLUMNS says; WIDTH of a file or pipe."""
    return max(NARROWEST, shutil.get_terminal_size((WIDTH, 24)).columns)


def coloured() -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def text(document: Mapping[str, Any], columns: int, colour: bool = False) -> str:
    """A claim below the other, each verdict on the left; every line ends with a newline."""
    lines = [*textwrap.wrap(_head(document), columns), ""]
    for name, claim in document["claims"].items():
        word, said = claim["verdict"], _said(name, claim)
        first, *rest = [line for each in said for line in textwrap.wrap(each, columns - COLUMN)]
        left = f"{word} *" if claim["seen_seeds"] else word
        pad = " " * (COLUMN - len(left))
        lines.append((f"\x1b[{COLOURS[word]}m{left}\x1b[0m" if colour else left) + pad + first)
        lines += [" " * COLUMN + line for line in rest]
    for note in _notes(document):
        lines += ["", *textwrap.wrap(note, columns)]
    return "\n".join(lines) + "\n"


def _head(document: Mapping[str, Any]) -> str:
    run = document["run"]
    kind = "rendered images" if run["rendered"] else "photographs"
    size = [f"{run[what]:,.0f} {what}" for what in ("images", "classes") if run[what] is not None]
    trained = f", trained on {' of '.join(size)}" if size else ""
    named = f"{run['experiment'] or 'run'}, seed {run['seed']}"
    return f"{named}: {kind} ({run['source']}){trained}. {tally(document)}"


def tally(document: Mapping[str, Any]) -> str:
    """How many claims came out how, a sentence for each work."""
    return " ".join(filter(None, (counted(document, work) for work in NAMES)))


def counted(document: Mapping[str, Any], work: str) -> str:
    """How many claims of a work came out how, in one sentence; "" where it has none."""
    counts = document["counts"][work]
    each = ", ".join(f"{word} {count}" for word, count in counts.items())
    return f"{sum(counts.values())} claims of {NAMES[work]}: {each}." if counts else ""


def judged(document: Mapping[str, Any]) -> str:
    """How many claims of each work were judged: "20 of the paper"; "none"."""
    families = document["families"].items()
    return ", ".join(f"{n} of {NAMES[work]}" for work, n in families if n) or "none"


def _said(name: str, claim: Mapping[str, Any]) -> list[str]:
    """What stands beside a verdict: the number and the paper's, the claim, then what to know."""
    if claim["verdict"] == NOT_MEASURED:
        return [f"{name}: {claim['reason']}", claim["claim"]]
    number = Estimate(claim["value"], claim["low"], claim["high"], unit=claim["unit"])
    which = f" ({claim['deciding']}, deciding of {claim['of']})" if claim["deciding"] else ""
    open_ = claim["verdict"] in (UNDECIDED, *UNJUDGED)
    told = [claim["reason"], claim["more"]] if open_ else []
    told += [f"Not counted: {claim['missing']}."] if claim["missing"] else []
    told = [" ".join(filter(None, [*told, claim["caveat"]]))]
    first = f"{name}: {in_words(number)}{which}; paper: {claim['paper']['text']}"
    return [first, claim["claim"], *filter(None, told)]


def _notes(document: Mapping[str, Any]) -> list[str]:
    run, claims, found = document["run"], document["claims"].values(), []
    if any(document["families"].values()):
        found.append(
            f"Claims judged: {judged(document)}. Holm's correction keeps the chance of even one "
            "wrong decision among each at 5 %. Brackets are 95 % intervals, uncorrected."
        )
    if any(each["seen_seeds"] for each in claims):
        trained = [seed for each in claims for seed in each["seeds"]]
        known = [k for s in document["seen"] if s["experiment"] == run["experiment"]
                 for k in s["seeds"]]  # fmt: skip
        found.append(
            "* numbers of this very seed were known when the rules were written or last edited; "
            f"run another seed (set: [seed={max(known + trained) + 1}])."
        )
    if run["rendered"]:
        found.append("Rendered images prove nothing about photographs.")
    return found
