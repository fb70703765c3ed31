"""Table 2 as dots with intervals, and the confusions of a net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zfnet import paper
from zfnet.figures.kit.differences import EXPLAINED, compared, remark
from zfnet.figures.kit.dots import FAINT_HEX, TEXT_POINTS, DotPanel, Dots, dot_chart, points
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import CATEGORICAL, figure
from zfnet.models.trained import VIEWS
from zfnet.pipeline.registry import title_of
from zfnet.results import Results, Table

CARD = "classification_errors"
NUMBERED = 20  # classes up to which each field of the confusion matrix bears its number
NAMED = 60  # classes up to which they are named along the axes
OURS = {"centre": (CATEGORICAL[0], "o", -0.24), "ten": (CATEGORICAL[2], "s", 0.02)}
# The rows that are the paper's own nets, in its order, and what to say where an average is missing.
LABELS = {
    "alexnet": "AlexNet, 1 net",
    "zfnet": "ZFNet, 1 net",
    "zfnet_ensemble": "(a) ZFNet, several nets",
    "zfnet_wide": "(b) 512-1024-512, 1 net",
    "both": "(a) and (b)",
}
SEVERAL = "needs several trainings of ZFNet"
MISSING = {"zfnet_ensemble": SEVERAL, "both": f"{SEVERAL}, and (b)"}
PAIRS = {
    "zfnet_minus_alexnet": ("zfnet", "alexnet", "ZFNet minus AlexNet"),
    "ensemble_minus_one": ("zfnet_ensemble", "zfnet", "(a) minus one ZFNet"),
    "wide_minus_zfnet": ("zfnet_wide", "zfnet", "(b) minus ZFNet"),
    "both_minus_ensemble": ("both", "zfnet_ensemble", "(a) and (b) minus (a)"),
}


def figures(results: Results) -> list[Figure]:
    """The errors of all rows, and the confusion matrix of one net."""
    facts = results.facts
    view, names = VIEWS[facts["view"]], facts["classes"]
    rows = [row for row in joined(results) if row["view"] == facts["view"] and row["nets"]]
    errors = "; ".join(f"{row['label']} {row['top1']:.1f} %" for row in rows)
    few = f" Top-5 says nothing among {len(names)} classes." if rows[0]["top5"] is None else ""
    counts = np.asarray(results.array("confusion"))
    right = 100 * np.trace(counts) / max(1, counts.sum())
    return [
        Figure(
            "classification_errors",
            f"Table 2: error on {facts['images']:,} validation images, with 95 % intervals. "
            "Ticks below a dot: the single trainings whose mean it is. Crosses: the "
            f"paper's, on 1,000 classes.{few}",
            f"Top-1 error ({view}): {errors}.",
            lambda: error_chart(results),
        ),
        Figure(
            "classification_confusion",
            f"True and predicted classes of {title_of(results.net)} ({view}, first training, "
            f"{counts.sum():,} validation images). Each row sums to 100 %.",
            f"Confusion matrix of {len(names)} classes; {right:.0f} % lie on the diagonal.",
            lambda: confusion_chart(counts, names),
        ),
    ]


def tables(results: Results) -> dict[str, Shown]:
    """The errors and the differences beside the paper's, and the most frequent confusions."""
    reported, facts = paper.tables(results.root)["table2"], results.facts
    heads = [Column(key, f"paper: {heading}, %") for key, heading in reported.columns.items()]
    errors = [
        Column("label", "model"), Column("view", "view", words=VIEWS), Column("nets", "nets"),
        Column("top1", "top-1, %", interval=True), Column("top5", "top-5, %", interval=True),
        Column("top1_sd", "sd of nets, points"), *heads, Column("note", "note"),
    ]  # fmt: skip
    words = {key: words for key, (*_, words) in PAIRS.items()}
    names = [Column("difference", "difference", words=words), Column("view", "view", words=VIEWS)]
    confusions = [
        Column("true", "true class"), Column("predicted", "predicted"), Column("times", "times"),
        Column("images", "images of the class"),
    ]  # fmt: skip
    unknown = f"; {facts['unknown']:,} images of classes that it lacks are left out"
    return {
        "table_2": Shown(
            errors,
            f"Error on {facts['images']:,} validation images. In brackets are 95 % intervals. "
            "sd of nets: standard deviation of the top-1 errors of trainings that differ "
            "in their seed, whose mean a single net's row is. Several nets: mean of their softmax. "
            "The paper does not say which view it scored; its figures stand in the first line of "
            f"a row. {' '.join(reported.slips)}",
            Table.of([row for row in joined(results) if row["nets"] or row["view"] == "centre"]),
        ),
        "differences": compared(
            results.tables["differences"],
            names,
            ("first", "second"),
            lambda name: printed_gap(reported, name),
            f"Top-1 error of the first minus that of the second on the same images. {EXPLAINED} "
            "There is one (a), made of these very nets: its differences have an interval over "
            "images alone.",
        ),
        "confusions": Shown(
            confusions,
            f"Most frequent confusions of {title_of(results.net)} ({VIEWS[facts['view']]}, "
            f"first training){unknown if facts['unknown'] else ''}.",
        ),
    }


def joined(results: Results) -> list[dict[str, Any]]:
    """All rows and views: as measured (`nets` 0: not), the paper's, label, note, trainings' errors.

    The paper's figures and the note stand with the first view alone.
    """
    reported, nets = paper.tables(results.root)["table2"], results.facts["nets"]
    table = results.tables["table_2"]
    measured = {(row["row"], row["view"]): row for row in table.records()}
    rows = []
    for key, words in LABELS.items():
        for view in VIEWS:
            row = measured.get((key, view), dict.fromkeys(table.columns) | {"nets": 0})
            label, note = words.replace("several", str(row["nets"] or "several")), ""
            if key in MISSING and row["nets"]:
                note = "averages a net at chance" * bool(results[f"top1_{key}"].invalid)
            else:
                note = MISSING.get(key) or remark(nets, key)
            if key in nets and nets[key]["arch"] != key.partition("_")[0]:
                label = f"{nets[key]['arch']} as {key}, 1 net"  # what stands in our net's place
            own = {"row": key, "view": view, "label": label, "note": note}
            columns = {each: reported.value(key, each) for each in reported.columns}
            if view != "centre":
                own["note"], columns = "", dict.fromkeys(columns)
            rows.append(row | columns | own)
    return rows


def printed_gap(reported: paper.PaperTable, difference: str) -> float | None:
    """The paper's difference of top-1 errors, points."""
    first, second = (reported.value(key, "val_top1") for key in PAIRS[difference][:2])
    return None if first is None or second is None else round(first - second, 3)


# --------------------------------------------------------------------------------------- charts
def error_chart(results: Results) -> Any:
    """Error rates from the top row down, one panel a measure; matplotlib figure."""
    rows = joined(results)
    first = [row for row in rows if row["view"] == "centre"]
    place = {row["row"]: number for number, row in enumerate(first)}
    many = {name: len(net["seeds"]) > 1 for name, net in results.facts["nets"].items()}
    single = results.tables["errors"].records()
    panels = []
    for top in (1, 5) if any(row["top5"] is not None for row in rows) else (1,):
        ours, ticks = [], []
        for view, (colour, marker, shift) in OURS.items():
            own = [row for row in rows if row["view"] == view]
            ours.append(Dots(VIEWS[view], marker, colour, points(own, f"top{top}"), shift))
            errors = [
                (place[each["row"]], each["error"]) for each in single
                if (each["view"], each["top"]) == (view, top) and many[each["row"]]
            ]  # fmt: skip
            ticks.append(Dots("one training each", "|", FAINT_HEX, errors, shift + 0.12))
        printed = points(first, f"val_top{top}")
        theirs = Dots("the paper's Table 2", "x", CATEGORICAL[1], printed, 0.27)
        notes = [row["note"].partition(":")[0] for row in first]
        labels = [row["label"] for row in first]
        panels.append(DotPanel(f"top-{top} error", labels, [*ours, theirs, *ticks], notes))
    return dot_chart(panels, "error, %", row_inches=0.58)


def confusion_chart(counts: np.ndarray, names: Sequence[str]) -> Any:
    """Share (%) of each true class (rows) that is predicted as each class (columns).

    counts (R, K); a column more than rows counts the classes that no image has.
    """
    totals = counts.sum(1, keepdims=True)
    shares = 100 * np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = min(11.0, max(5.2, 2.6 + 0.47 * len(names)))
    drawn = figure(side + 1.2, side)
    axis = drawn.subplots()
    image = axis.imshow(shares, cmap="cividis", vmin=0, vmax=100, interpolation="nearest")
    axis.set_xlabel("predicted class", fontsize=TEXT_POINTS)
    axis.set_ylabel("true class", fontsize=TEXT_POINTS)
    if len(names) <= NAMED:
        size = TEXT_POINTS - 0.5 if len(names) <= NUMBERED else 7
        columns = [*names, "other classes"][: counts.shape[1]]
        axis.set_xticks(range(len(columns)), columns, rotation=90, fontsize=size)
        axis.set_yticks(range(len(names)), names, fontsize=size)
    if len(names) <= NUMBERED:
        for (y, x), share in np.ndenumerate(shares):
            if share >= 0.5:
                axis.text(
                    x, y, f"{share:.0f}", ha="center", va="center", fontsize=TEXT_POINTS - 2,
                    color="white" if share < 55 else "black",
                )  # fmt: skip
    bar = drawn.colorbar(image, ax=axis, fraction=0.045, pad=0.02)
    bar.set_label("share of the true class, %", fontsize=TEXT_POINTS)
    bar.ax.tick_params(labelsize=TEXT_POINTS - 1)
    drawn.tight_layout()
    return drawn
