"""Table 3 as dots: the error of each changed net beside the paper's, and its change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zfnet import paper
from zfnet.figures.kit.differences import EXPLAINED, VIEWS, compared, remark, widest
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import CATEGORICAL, FAINT, MARK, figure
from zfnet.pipeline.registry import NETS
from zfnet.results import Results, Table
from zfnet.stats.estimate import decimal

CARD = "ablation_errors"
TEXT_POINTS = 11
FAINT_HEX = "#{:02x}{:02x}{:02x}".format(*FAINT)
REMEDY, REMEDIED = "alexnet_no3467_slow", "alexnet_no3467"  # the first is no row of the paper


@dataclass(frozen=True)
class Dot:
    """One row: our value with its interval, the paper's, and the same of the training error.

    `value` None: there is none, and `note` says why. Else `note` is written beside the dot.
    """

    label: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    paper: float | None = None
    train: float | None = None
    paper_train: float | None = None
    note: str = ""


def figures(results: Results) -> list[Figure]:
    """The errors of all rows, and their changes from the full net where there is one."""
    facts = results.facts
    images, classes, view = facts["images"], facts["classes"], VIEWS[facts["view"]]
    errors = results.tables["table_3"].records()
    changes = results.tables["against_the_full_net"].records()
    levels = "; ".join(f"{row['net']} {row['val_top1']:.1f} %" for row in errors)
    shifts = "; ".join(
        f"{row['net']} {decimal(row['images'], 1)}"
        + (f" (a net stayed {row['invalid']})" if row["invalid"] else "")
        for row in changes
    )
    guess = 100 - 100 / classes
    axis = "change of top-1 error from the full net, points"
    drawn = [
        Figure(
            "ablation_errors",
            f"Table 3: top-1 error on {images:,} validation images ({view}) with 95 % intervals "
            "over images, and on training images (hollow: centre crop, dropout off). Crosses: the "
            f"paper's, on 1,000 classes. Dashed: guessing among {classes:,} classes.",
            f"Top-1 validation errors: {levels}.",
            lambda: dot_plot(error_dots(results), "top-1 error, %", guess, "guessing"),
        ),
        Figure(
            "ablation_changes",
            "Change of the top-1 validation error from the full net, in points, with 95 % "
            "intervals (over images; over images and trainings where there are several). Crosses: "
            "the paper's. Right of the line: worse than the full net.",
            f"Differences from the full net in points: {shifts}.",
            lambda: dot_plot(change_dots(results), axis, 0.0, errors=False),
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
            "intervals over images. A row with several trainings, which differ in their seed, is "
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
            note = remark(nets[net]) if net in nets else f"not trained here: nets.{net}.seeds=1"
            printed = {f"paper_{key}": reported.value(net, key) for key in reported.columns}
            rows.append(measured.get(net, empty) | printed | {"net": net, "note": note})
    return rows


def printed_gap(reported: paper.PaperTable, net: str) -> float | None:
    """The paper's top-1 validation error of a row minus its full net's, in points."""
    row = reported.value(REMEDIED if net == REMEDY else net, "val_top1")
    full = reported.value(net.partition("_")[0], "val_top1")
    return None if row is None or full is None else round(row - full, 3)


def error_dots(results: Results) -> dict[str, list[Dot]]:
    """Validation and training errors, by full net."""
    groups: dict[str, list[Dot]] = {}
    for row in joined(results):
        full = row["net"].partition("_")[0]
        dot = Dot(
            NETS[row["net"]].title, row["val_top1"], row["val_top1_low"], row["val_top1_high"],
            row["paper_val_top1"], row["train_top1"], row["paper_train_top1"],
            row["note"].partition(":")[0],
        )  # fmt: skip
        groups.setdefault(f"{NETS[full].title} and its changes", []).append(dot)
    return groups


def change_dots(results: Results) -> dict[str, list[Dot]]:
    """Differences from the full net, by full net.

    A net at chance has no dot: it would set a scale on which no other shows.
    """
    reported = paper.tables(results.root)["table3"]
    changes = results.tables["against_the_full_net"].records()
    measured = {row["net"]: widest(row) for row in changes}
    groups: dict[str, list[Dot]] = {}
    for net in (row["net"] for row in joined(results) if "_" in row["net"]):
        full, change = net.partition("_")[0], measured.get(net)
        gap = printed_gap(reported, net) if net != REMEDY else None
        if change is None:
            alone = net in results.facts["nets"]
            note = "no full net to compare with" if alone else "not trained here"
        elif change.invalid:
            note = f"a net stayed {change.invalid}: {decimal(change.value, 1)} points"
        else:
            note = ""
        dot = Dot(NETS[net].title, paper=gap, note=note)
        if change is not None and not note:
            dot = replace(dot, value=change.value, low=change.low, high=change.high)
        groups.setdefault(f"Changes of {NETS[full].title}", []).append(dot)
    return groups


# --------------------------------------------------------------------------------------- chart
def dot_plot(
    groups: Mapping[str, Sequence[Dot]],
    measure: str,
    level: float,
    name: str = "",
    *,
    errors: bool = True,
) -> Any:
    """Rows from the top down, one panel a group on a common scale; matplotlib figure.

    measure: the axis' title. level, name: of a vertical line. errors: whether these are error
    rates, from 0 on and of training too, or their changes.
    """
    counts = [len(rows) for rows in groups.values()]
    height = 1.35 + 0.43 * sum(counts) + 0.5 * len(counts)
    drawn = figure(9.2, height)
    axes = drawn.subplots(len(groups), 1, squeeze=False, sharex=True, height_ratios=counts)[:, 0]
    for axis, (title, rows) in zip(axes, groups.items(), strict=True):
        axis.axvline(level, color="#777777", linewidth=1.1, linestyle="--", zorder=1)
        for place, row in enumerate(rows):
            _dot(axis, place, row, (0.01, "left") if errors else (0.99, "right"))
        axis.set_title(title, fontsize=TEXT_POINTS + 1, loc="left")
        axis.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=TEXT_POINTS)
        axis.set_ylim(len(rows) - 0.45, -0.55)
        axis.grid(axis="x", alpha=0.3)
        axis.tick_params(labelsize=TEXT_POINTS - 0.5, length=3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(measure, fontsize=TEXT_POINTS)
    axes[0].margins(x=0.05)
    if errors:
        axes[0].set_xlim(left=0)
    for axis, rows in zip(axes, groups.values(), strict=True):
        for place, row in enumerate(rows):
            if row.note and row.value is not None:
                _note(axis, place, row)
    axes[0].text(
        level, 1.01, name, fontsize=TEXT_POINTS - 1.5, color="#555555", ha="center", va="bottom",
        transform=axes[0].get_xaxis_transform(),
    )  # fmt: skip
    _legend(drawn, errors)
    drawn.tight_layout(rect=(0, 0.4 / height, 1, 1))
    return drawn


def _dot(axis: Any, place: int, row: Dot, words_at: tuple[float, str]) -> None:
    ours, paper = CATEGORICAL[0], CATEGORICAL[1]
    up, down = place - 0.16, place + 0.18
    if row.train is not None:
        axis.plot(row.train, up, "o", color=ours, markersize=6.5, markerfacecolor="white", zorder=3)
    if row.paper_train is not None:
        axis.plot(row.paper_train, down, "+", color=paper, markersize=8, markeredgewidth=1.4)
    if row.paper is not None:
        axis.plot(row.paper, down, "x", color=paper, markersize=7, markeredgewidth=2, zorder=3)
    if row.value is None:
        x, side = words_at
        axis.text(
            x, up, row.note, fontsize=TEXT_POINTS - 1.5, color=FAINT_HEX, va="center", ha=side,
            style="italic", transform=axis.get_yaxis_transform(),
        )  # fmt: skip
        return
    low = row.value if row.low is None else row.low
    high = row.value if row.high is None else row.high
    axis.plot([low, high], [up, up], color=ours, linewidth=2.6, alpha=0.6, zorder=2)
    axis.plot(row.value, up, "o", color=ours, markersize=7, zorder=4)


def _note(axis: Any, place: int, row: Dot) -> None:
    """The note of a row with a value, on the side of its marks that has more room."""
    marks = [mark for mark in (row.value, row.low, row.high, row.train) if mark is not None]
    left, right = axis.get_xlim()
    before = min(marks) - left > right - max(marks)
    x, gap, side = (min(marks), -8, "right") if before else (max(marks), 8, "left")
    axis.annotate(
        row.note, (x, place - 0.16), (gap, 0), textcoords="offset points", va="center", ha=side,
        color=MARK, fontsize=TEXT_POINTS - 1.5, annotation_clip=False,
    )  # fmt: skip


def _legend(drawn: Any, training: bool) -> None:
    from matplotlib.lines import Line2D

    ours, paper = CATEGORICAL[0], CATEGORICAL[1]
    look: dict[str, Any] = {"linestyle": "none", "markersize": 7.5}
    entries = [
        Line2D([], [], marker="o", color=ours, label="validation", **look),
        Line2D([], [], marker="x", color=paper, markeredgewidth=2, label="the paper's", **look),
    ]
    if training:
        entries += [
            Line2D([], [], marker="o", color=ours, mfc="white", label="training", **look),
            Line2D([], [], marker="+", color=paper, label="the paper's training", **look),
        ]
    drawn.legend(
        handles=entries, loc="lower center", ncols=len(entries), frameon=False, fontsize=TEXT_POINTS
    )
