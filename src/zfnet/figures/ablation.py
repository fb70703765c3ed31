"""Table 3 as dots: the error of each changed net beside the paper's, and its change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zfnet import paper
from zfnet.figures.kit.differences import EXPLAINED, compared, remark, widest
from zfnet.figures.kit.dots import DotPanel, Dots, dot_chart, points
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import CATEGORICAL
from zfnet.models.trained import VIEWS
from zfnet.pipeline.registry import NETS
from zfnet.results import Results, Table
from zfnet.stats.estimate import decimal
from zfnet.stats.paired import cells

CARD = "ablation_errors"
OURS, PAPER = CATEGORICAL[:2]
UP, DOWN = -0.16, 0.18  # our marks lie above a row's line, the paper's below
REMEDY, REMEDIED = "alexnet_no3467_slow", "alexnet_no3467"  # the first is no row of the paper


def figures(results: Results) -> list[Figure]:
    """The errors of all rows, and their changes from the full net where there is one."""
    facts = results.facts
    images, classes, view = facts["images"], facts["classes"], VIEWS[facts["view"]]
    errors = results.tables["table_3"].records()
    changes = results.tables["against_the_full_net"].records()
    levels = "; ".join(f"{NETS[row['net']].title} {row['val_top1']:.1f} %" for row in errors)
    shifts = "; ".join(
        f"{NETS[row['net']].title} {decimal(row['images'], 1)}"
        + (f" (a net was {row['invalid']})" if row["invalid"] else "")
        for row in changes
    )
    drawn = [
        Figure(
            "ablation_errors",
            f"Table 3: top-1 error on {images:,} validation images ({view}) with 95 % intervals, "
            "and on training images (hollow: centre crop, dropout off). Crosses: the "
            f"paper's, on 1,000 classes. Dashed: guessing among {classes:,} classes.",
            f"Top-1 validation errors: {levels}.",
            lambda: error_chart(results),
        ),
        Figure(
            "ablation_changes",
            "Change of the top-1 validation error from the full net, in points, with 95 % "
            "intervals. Crosses: the paper's. Right of the line: worse than the full net.",
            f"Differences from the full net in points: {shifts}.",
            lambda: change_chart(results),
        ),
    ]
    return drawn if changes else drawn[:1]


def tables(results: Results) -> dict[str, Shown]:
    """The errors and the differences from the full nets, beside the paper's."""
    reported, facts = paper.tables(results.root)["table3"], results.facts
    view, trained = VIEWS[facts["view"]], facts["training_images"]
    title = Column("net", "net", words={name: row.title for name, row in NETS.items()})
    errors = [
        title, Column("trainings", "trainings"),
        Column("train_top1", "training top-1, %", interval=True),
        Column("val_top1", "validation top-1, %", interval=True),
        Column("val_top1_sd", "sd of trainings, points"),
        Column("val_top5", "validation top-5, %", interval=True),
        *(Column(f"paper_{key}", f"paper: {head}, %") for key, head in reported.columns.items()),
        Column("parameters", "parameters"), Column("note", "note"),
    ]  # fmt: skip
    return {
        "table_3": Shown(
            errors,
            f"Errors on {facts['images']:,} validation images ({view})"
            f"{f' and {trained:,} training images' if trained else ''} (centre crop, dropout off, "
            "final weights; the paper does not say how it took them). In brackets are 95 % "
            "intervals. A row with several trainings, which differ in their seed, is "
            f"their mean. The paper prints no parameter counts. {' '.join(reported.slips)}",
            Table.of(joined(results)),
        ),
        "against_the_full_net": compared(
            results.tables["against_the_full_net"],
            [title],
            ("here", "full"),
            lambda net: printed_gap(reported, net),
            f"Top-1 validation error ({view}) minus that of the full net on the same images. "
            f"{EXPLAINED} Holm: corrected over the paper's rows that are here.",
            [Column("p_holm", "p, Holm")],
        ),
    }


# ----------------------------------------------------------------------------------------- rows
def joined(results: Results) -> list[dict[str, Any]]:
    """The paper's rows and the remedy, by full net: measured (`trainings` 0: not), paper, note."""
    reported, nets = paper.tables(results.root)["table3"], results.facts["nets"]
    measured = {row["net"]: row for row in results.tables["table_3"].records()}
    empty = dict.fromkeys(results.tables["table_3"].columns) | {"trainings": 0}
    rows = []
    for net in sorted(NETS, key=lambda name: name.partition("_")[0]):
        if net in reported.rows or net == REMEDY:
            printed = {f"paper_{key}": reported.value(net, key) for key in reported.columns}
            rows.append(
                measured.get(net, empty) | printed | {"net": net, "note": remark(nets, net)}
            )
    return rows


def printed_gap(reported: paper.PaperTable, net: str) -> float | None:
    """The paper's top-1 validation error of a row minus its full net's, in points."""
    row = reported.value(REMEDIED if net == REMEDY else net, "val_top1")
    full = reported.value(net.partition("_")[0], "val_top1")
    return None if row is None or full is None else round(row - full, 3)


def changes(results: Results) -> list[dict[str, Any]]:
    """Differences from the full net, points: `change` with its ends, the paper's, a note.

    A net at chance has no number but in its note: it would set a scale on which no other shows.
    """
    reported = paper.tables(results.root)["table3"]
    measured = results.tables["against_the_full_net"].records()
    gaps = {row["net"]: widest(row) for row in measured}
    rows = []
    for net in (row["net"] for row in joined(results) if "_" in row["net"]):
        gap, note = gaps.get(net), ""
        if gap is None:
            alone = net in results.facts["nets"]
            note = "no full net to compare with" if alone else "not trained here"
        elif gap.invalid:
            note = f"a net was {gap.invalid}: {decimal(gap.value, 1)} points"
        printed = printed_gap(reported, net) if net != REMEDY else None
        own = cells("change", None if note else gap)
        rows.append({"net": net, "paper": printed, "note": note} | own)
    return rows


# --------------------------------------------------------------------------------------- charts
def error_chart(results: Results) -> Any:
    """Validation and training errors beside the paper's, by full net; matplotlib figure."""
    panels = []
    for full, rows in _by_full_net(joined(results)).items():
        train = [(place, value) for place, value, *_ in points(rows, "train_top1")]
        dots = [
            Dots("validation", "o", OURS, points(rows, "val_top1"), UP),
            Dots("the paper's", "x", PAPER, points(rows, "paper_val_top1"), DOWN),
            Dots("training", "o", OURS, train, UP, hollow=True),
            Dots("the paper's training", "+", PAPER, points(rows, "paper_train_top1"), DOWN),
        ]
        panels.append(_panel(f"{full} and its changes", rows, dots))
    guess = 100 - 100 / results.facts["classes"]
    return dot_chart(panels, "top-1 error, %", (guess, "guessing"))


def change_chart(results: Results) -> Any:
    """Changes of the validation error beside the paper's, by full net; matplotlib figure."""
    panels = []
    for full, rows in _by_full_net(changes(results)).items():
        dots = [
            Dots("validation", "o", OURS, points(rows, "change"), UP),
            Dots("the paper's", "x", PAPER, points(rows, "paper"), DOWN),
        ]
        panels.append(_panel(f"Changes of {full}", rows, dots))
    measure = "change of top-1 error from the full net, points"
    return dot_chart(panels, measure, (0.0, ""))


def _by_full_net(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(NETS[row["net"].partition("_")[0]].title, []).append(row)
    return groups


def _panel(title: str, rows: Sequence[Mapping[str, Any]], dots: Sequence[Dots]) -> DotPanel:
    notes = [row["note"].partition(": nets.")[0] for row in rows]
    return DotPanel(title, [NETS[row["net"]].title for row in rows], dots, notes)
