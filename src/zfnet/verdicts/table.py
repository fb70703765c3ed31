"""The verdicts as a table for the terminal. Colour only on a terminal; as wide as it is."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Sequence
from typing import TextIO

from zfnet.verdicts.judge import (
    CONTRADICTED,
    FAILS,
    HOLDS,
    NOT_MEASURED,
    OUT_OF_SCALE,
    REPRODUCED,
    UNDECIDED,
    Judgement,
    Verdict,
    in_words,
    missing_in_words,
)

WIDTH = 120  # of output that is no terminal
NARROWEST = 40
LEAST_CLAIM = 22  # columns, for a claim's words
MISSING = "–"
HEADS = ("id", "claim", "measured", "paper", "verdict")
COLOURS = {
    REPRODUCED: "32",
    HOLDS: "32",
    CONTRADICTED: "31",
    FAILS: "31",
    UNDECIDED: "33",
    OUT_OF_SCALE: "2",
    NOT_MEASURED: "2",
}


def width_of(stream: TextIO) -> int:
    """Columns of a terminal; of a file or pipe WIDTH, unless COLUMNS says otherwise."""
    if stream.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return max(NARROWEST, shutil.get_terminal_size((WIDTH, 24)).columns)
    return WIDTH


def is_coloured(stream: TextIO) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def text(judgement: Judgement, width: int = WIDTH, colour: bool = False) -> str:
    """The whole table with a head line and what stands below it; every line ends with a newline."""
    rows = [_row(one) for one in judgement.verdicts]
    words = [one.word for one in judgement.verdicts]
    lines = [*textwrap.wrap(_head(judgement), width), ""]
    lines += _table(rows, words, width, colour)
    lines += ["", *_foot(judgement, width)]
    return "\n".join(lines) + "\n"


def _head(judgement: Judgement) -> str:
    run = judgement.run
    size = [
        f"{count:,.0f} {what}"
        for count, what in ((run.images, "training images"), (run.classes, "classes"))
        if count is not None
    ]
    kind = "rendered images" if run.rendered else "photographs"
    told = ", ".join([f"{kind} ({run.source})", *size])
    counts = ", ".join(f"{word} {count}" for word, count in judgement.counts.items())
    return f"{run.experiment or 'run'}, seed {run.seed}: {told}. Claims: {counts}."


def _row(one: Verdict) -> tuple[str, ...]:
    measured = in_words(one.measured) if one.measured else MISSING
    if one.outcome and one.deciding:
        measured += f" (deciding, of {len(one.outcome.checks)})"
    word = one.word
    if one.word == UNDECIDED and one.alone != UNDECIDED:
        word += f" after correction (alone: {one.alone})"
    if one.seen:
        word += " *"
    return one.claim.id, one.claim.claim, measured, one.claim.paper, word


def _foot(judgement: Judgement, width: int) -> list[str]:
    verdicts = judgement.verdicts
    lines: list[str] = []
    for told in _reasons(verdicts):
        lines += textwrap.wrap(told, width, subsequent_indent="  ")
    if lines:
        lines.append("")
    notes = []
    if judgement.family:
        notes.append(
            f"{judgement.family} claims were judged; Holm's correction keeps the chance of even "
            "one wrong decision among them at 5\N{NO-BREAK SPACE}%. Brackets are "
            "95\N{NO-BREAK SPACE}% intervals, uncorrected."
        )
        single = sum(one.trainings == 1 for one in verdicts if one.p_holm is not None)
        if single:
            notes.append(
                f"{single} of them rest on one training of each net: their intervals cover other "
                "images or maps, not other trainings."
            )
    if any(one.seen for one in verdicts):
        notes.append(
            "* numbers of this very seed were known when the rules were written or last edited; "
            f"run another seed (set: [seed={_unseen(judgement)}])."
        )
    if judgement.run.rendered:
        notes.append("Rendered images prove nothing about photographs.")
    for note in notes:
        lines += textwrap.wrap(note, width)
    return lines


def _unseen(judgement: Judgement) -> int:
    """The first seed above those known."""
    run = judgement.run
    known = [k for s in judgement.claims.seen if s.experiment == run.experiment for k in s.seeds]
    return max([run.seed, *known]) + 1


def _reasons(verdicts: Sequence[Verdict]) -> list[str]:
    """Why claims are not decided, and what to know of those that were measured.

    Claims that lack the same are told together.
    """
    told = []
    lacking: dict[str, list[str]] = {}
    for one in verdicts:
        if one.word == NOT_MEASURED:
            lacking.setdefault(one.reason, []).append(one.claim.id)
            continue
        open_ = one.word in (UNDECIDED, OUT_OF_SCALE)
        why = [one.reason, one.more] if open_ else [_deciding(one), missing_in_words(one)]
        said = " ".join(filter(None, [*why, one.claim.caveat]))
        if said:
            told.append(f"{one.claim.id}: {said}")
    return told + [f"{', '.join(names)}: {reason}" for reason, names in lacking.items()]


def _deciding(one: Verdict) -> str:
    """Which of several numbers is shown; "" for a claim of one."""
    if not one.outcome or not one.deciding:
        return ""
    return f"Deciding, of {len(one.outcome.checks)}: {one.deciding}."


# --------------------------------------------------------------------------------------- layout
def _table(
    rows: Sequence[Sequence[str]], words: Sequence[str], width: int, colour: bool
) -> list[str]:
    shown = _columns(rows, width)
    if shown is None:
        return _blocks(rows, words, width, colour)
    widths = shown
    kept = [i for i, wide in enumerate(widths) if wide]
    lines = ["  ".join(HEADS[i].ljust(widths[i]) for i in kept).rstrip()]
    lines.append("  ".join("─" * widths[i] for i in kept))
    for row, word in zip(rows, words, strict=True):
        cells = [textwrap.wrap(row[i], widths[i]) or [""] for i in kept]
        for k in range(max(map(len, cells))):
            line = []
            for i, cell in zip(kept, cells, strict=True):
                part = (cell[k] if k < len(cell) else "").ljust(widths[i])
                line.append(_paint(part, word) if colour and i == len(HEADS) - 1 else part)
            lines.append("  ".join(line).rstrip())
    return lines


def _columns(rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Widths of the columns, 0 for one left out; None where only blocks fit.

    The claim's words take what the others leave; without room for them they go, then the paper's.
    """
    natural = [max([len(HEADS[i]), *(len(row[i]) for row in rows)]) for i in range(len(HEADS))]
    wanted = [natural[0], 0, min(natural[2], 26), min(natural[3], 22), min(natural[4], 17)]
    room = width - sum(wanted) - 2 * (len(HEADS) - 1)
    if room >= LEAST_CLAIM:
        return [wanted[0], min(room, natural[1]), *wanted[2:]]
    room = width - sum(wanted) - 2 * 3
    if room >= 0:
        return wanted
    wanted[3] = 0
    return wanted if width - sum(wanted) - 2 * 2 >= 0 else None


def _blocks(
    rows: Sequence[Sequence[str]], words: Sequence[str], width: int, colour: bool
) -> list[str]:
    """One claim below the other, for narrow terminals."""
    lines: list[str] = []
    for row, word in zip(rows, words, strict=True):
        told = textwrap.wrap(row[4], width - 2)
        lines += [row[0], *("  " + (_paint(each, word) if colour else each) for each in told)]
        lines += textwrap.wrap(row[2], width, initial_indent="  ", subsequent_indent="  ")
    return lines


def _paint(part: str, word: str) -> str:
    kept = part.rstrip()
    return f"\x1b[{COLOURS[word]}m{kept}\x1b[0m{part[len(kept) :]}" if kept else part
