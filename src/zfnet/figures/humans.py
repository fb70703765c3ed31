"""People and net on the same pictures: who errs how often, and which pictures these are."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from zfnet.data.answers import REASONS
from zfnet.data.store import Prepared
from zfnet.data.views import NetView
from zfnet.figures.kit.dots import DotPanel, Dots, dot_chart
from zfnet.figures.kit.grid import even_columns, image_grid, paste
from zfnet.figures.kit.maps import shorten
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import CATEGORICAL, FAINT, fitting, heading, sheet, write
from zfnet.pipeline.registry import title_of
from zfnet.results import Results, Table
from zfnet.stats.estimate import Estimate, text

CARD = "humans"
OURS, THEIRS = CATEGORICAL[:2]
TILE, GAP, LINE = 190, 14, 22  # px
KINDS = {
    "net": "the net errs, nobody else",
    "people": "most people err, the net does not",
    "both": "the net errs, and so do most people",
}
NONE_CHOSEN = "cannot tell"


def figures(results: Results) -> list[Figure]:
    """Error rates and the pictures behind them; reassessed labels; else what nobody labelled."""
    drawn = []
    if "people" in results.tables:
        drawn = [_rates(results)]
        if results.tables["pictures"].rows:
            drawn.append(_pictures(results))
    if "outside_labels_difference" in results.estimates:
        drawn.append(_labels(results, "labels" if drawn else CARD))
    return drawn or ([_unlabelled(results)] if "shown" in results.facts else [])


def tables(results: Results) -> dict[str, Shown]:
    """A row a person; the reasons that were given; the pictures drawn."""
    net = title_of(results.net)
    shown = {
        "people": Shown(
            [
                Column("person", "person"), Column("pictures", "pictures"),
                Column("human_error", "errs, %", interval=True),
                Column("net_error", f"{net} errs, %", interval=True),
                Column("net_minus_human", "net − person, points", interval=True),
                Column("only_net", "wrong only net"), Column("only_human", "wrong only person"),
                Column("p", "p, McNemar"), Column("kappa", "kappa with net"),
                Column("cannot_tell", "cannot tell"), Column("seconds", "seconds, median"),
                Column("repeated", "repeated"),
            ],
            "Each person alone, on the pictures that this person saw. Who is wrong alone, and "
            "McNemar's exact two-sided test of it, are of the first training; the rest is the mean "
            "over trainings. Repeated answers are not counted.",
        ),
        "reasons": Shown(
            [
                Column("reason", "what made it hard", words=REASONS),
                Column("answers", "answers"), Column("wrong", "of these wrong"),
                Column("net_wrong", "wrong by the net too"),
            ],
            "What people gave as the reason, all people together; of the net the first training.",
        ),
        "pictures": Shown(
            [
                Column("who", "who errs", words=KINDS), Column("class", "class"),
                Column("net", "the net says"), Column("people", "people say", words={None: "–"}),
                Column("erred", "people wrong"), Column("asked", "people asked"),
            ],
            "The pictures drawn.",
        ),
    }  # fmt: skip
    return {key: one for key, one in shown.items() if key in results.tables}


# -------------------------------------------------------------------------------------- the charts
def _rates(results: Results) -> Figure:
    net, people = title_of(results.net), results.tables["people"].records()
    means = [(f"{net}, on all their pictures", results["net_error"], OURS)]
    if len(people) > 1:
        means.append((f"mean of {len(people)} people", results["human_error"], THEIRS))
    told = "; ".join(f"{name} {text(one)}" for name, one, _ in means)
    told += "".join(f"; {row['person']} {row['human_error']:.1f} %" for row in people)
    return Figure(
        CARD,
        f"Share of pictures answered wrongly, with 95 % intervals. Upper dots of a person's row: "
        f"{net} on the same pictures; lower dots: the person.",
        f"Error rates: {told}.",
        functools.partial(_draw_rates, net, means, people),
    )


def _draw_rates(
    net: str, means: Sequence[tuple[str, Estimate, str]], people: Sequence[dict[str, Any]]
) -> Any:
    """Means in the first rows, then a row a person."""
    rows = [name for name, _, _ in means] + [shorten(row["person"], 24) for row in people]
    ours: list[tuple[Any, ...]] = []
    theirs: list[tuple[Any, ...]] = []
    for place, (_, one, colour) in enumerate(means):
        (ours if colour == OURS else theirs).append((place, one.value, one.low, one.high))
    for place, row in enumerate(people, len(means)):
        for points, key in ((ours, "net_error"), (theirs, "human_error")):
            points.append((place, row[key], row[f"{key}_low"], row[f"{key}_high"]))
    marks = [Dots(net, "o", OURS, ours, -0.14), Dots("people", "D", THEIRS, theirs, 0.14)]
    panel = DotPanel("Who errs, and how often", rows, marks, [""] * len(rows))
    return dot_chart([panel], "pictures answered wrongly, %")


def _labels(results: Results, name: str) -> Figure:
    net = title_of(results.net)
    parts = {f"outside_labels_{key}": key for key in ("errors", "hits")}
    told = "; ".join(f"of the {key} {text(results[name])}" for name, key in parts.items())
    return Figure(
        name,
        f"Share of ILSVRC validation photographs whose given label is none of those that other "
        f"people gave: among the errors of {net}, and among its hits. 95 % intervals.",
        f"Given label not among the reassessed: {told}.",
        functools.partial(_draw_labels, results, net, parts),
    )


def _draw_labels(results: Results, net: str, parts: dict[str, str]) -> Any:
    points = []
    for place, key in enumerate(parts):
        one = results[key]
        ends = [None if end is None else 100 * end for end in (one.low, one.high)]
        points.append((place, 100 * one.value, *ends))
    rows = [f"{net}'s {what}" for what in parts.values()]
    panel = DotPanel(
        "Whose label do other people not share?", rows, [Dots("", "o", OURS, points, 0)], ["", ""]
    )
    return dot_chart([panel], "photographs whose given label others do not share, %")


# ------------------------------------------------------------------------------------ the pictures
def _view(results: Results) -> NetView:
    prepared = Prepared.open(results.root / "data" / "prepared")
    return NetView(prepared, results.facts["split"], results.facts["input_px"])


def _unlabelled(results: Results) -> Figure:
    return Figure(
        CARD,
        f"Nobody has labelled yet. The first {len(results.facts['shown'])} pictures that `zfnet "
        f"label` shows, at {results.facts['input_px']} px as the net sees them.",
        "Pictures that a person would be asked about.",
        functools.partial(_draw_unlabelled, results),
        "webp",
    )


def _draw_unlabelled(results: Results) -> Any:
    view, rows = _view(results), results.facts["shown"]
    tiles = [view.image(row) for row in rows]
    return image_grid(tiles, even_columns(len(tiles), 1.6), TILE, gap=6)


def _pictures(results: Results) -> Figure:
    table = results.tables["pictures"]
    counted = {words: table.column("who").count(key) for key, words in KINDS.items()}
    told = "; ".join(f"{n} of: {words}" for words, n in counted.items() if n)
    return Figure(
        "pictures",
        "Pictures on which net or people err, the first of each kind. Below each: its label, what "
        "the net said (first training), what most of the people who erred said.",
        f"Pictures with labels and answers. {told}.",
        functools.partial(_draw_pictures, results, table),
        "webp",
    )


def _draw_pictures(results: Results, table: Table) -> Any:
    """A row of tiles a kind, three lines under each."""
    view, records = _view(results), table.records()
    kinds = {key: [row for row in records if row["who"] == key] for key in KINDS}
    kinds = {key: rows for key, rows in kinds.items() if rows}
    columns = max(4, *(len(rows) for rows in kinds.values()))
    step, high = TILE + GAP, 44 + TILE + 3 * LINE + GAP
    width = columns * step - GAP
    picture, draw = sheet(width, 88 + high * len(kinds))
    heading(draw, "Where net and people err", "label; the net's answer; people's answer", width)
    for band, (key, rows) in enumerate(kinds.items()):
        y = 88 + band * high
        write(draw, (0, y + 20), KINDS[key][0].upper() + KINDS[key][1:], 22, bold=True)
        for i, row in enumerate(rows):
            at = (i * step, y + 44)
            paste(picture, np.asarray(view.image(row["row"])), at, TILE)
            wrong = f"{row['people'] or NONE_CHOSEN} ({row['erred']}/{row['asked']} err)"
            lines = (
                f"label: {row['class']}",
                f"net: {row['net']}",
                f"people: {wrong if row['erred'] else row['class']}",
            )
            for n, line in enumerate(lines):
                size = fitting([line], 16, TILE)
                place = (at[0], at[1] + TILE + LINE * n + LINE // 2 + 2)
                write(draw, place, line, size, bold=n == 0, fill=FAINT if n else (34, 34, 34))
    return picture
