"""Table 2 as dots with intervals, and which classes a net takes for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zfnet import paper
from zfnet.figures.kit.differences import EXPLAINED, VIEWS, compared, remark
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import CATEGORICAL, FAINT, MARK, figure
from zfnet.results import Results, Table

CARD = "classification_errors"
TEXT_POINTS = 11
NUMBERED = 20  # classes up to which each field of the confusion matrix bears its number
NAMED = 60  # classes up to which they are named along the axes
FAINT_HEX = "#{:02x}{:02x}{:02x}".format(*FAINT)
OURS = {"centre": (CATEGORICAL[0], "o", -0.17), "ten": (CATEGORICAL[2], "s", 0.17)}
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
            f"Table 2: error on {facts['images']:,} validation images, with 95 % intervals over "
            "images. Ticks below a dot: the single trainings whose mean it is. Crosses: the "
            f"paper's, on 1,000 classes.{few}",
            f"Top-1 error ({view}): {errors}.",
            lambda: error_chart(results),
        ),
        Figure(
            "classification_confusion",
            f"Which classes {results.net} takes for which ({view}, first training, "
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
            f"Error on {facts['images']:,} validation images. In brackets are 95 % intervals over "
            "images. sd of nets: standard deviation of the top-1 errors of trainings that differ "
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
            f"Most frequent confusions of {results.net} ({VIEWS[facts['view']]}, first training)"
            f"{unknown if facts['unknown'] else ''}.",
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
            if key in nets:
                note, arch = remark(nets[key]), nets[key]["arch"]
                if arch != key.partition("_")[0]:  # what stands in one of our nets' place is named
                    label = f"{arch} as {key}, 1 net"
            elif row["nets"]:
                note = "averages a net at chance" if results[f"top1_{key}"].invalid else ""
            else:
                note = MISSING.get(key, f"not trained here: nets.{key}.seeds=1")
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
    labels = {row["row"]: row["label"] for row in rows}
    panels = (1, 5) if any(row["top5"] is not None for row in rows) else (1,)
    height = 1.55 + 0.62 * len(labels)
    drawn = figure(4.3 + 3.4 * len(panels), height)
    axes = drawn.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    single = results.tables["trainings"].records()
    for axis, top in zip(axes, panels, strict=True):
        for row in rows:
            errors = [
                each["error"] for each in single
                if (each["row"], each["view"], each["top"]) == (row["row"], row["view"], top)
            ]  # fmt: skip
            _row(axis, list(labels).index(row["row"]), row, f"top{top}", errors)
        axis.set_title(f"top-{top} error", fontsize=TEXT_POINTS + 1.5)
        axis.set_xlabel("%", fontsize=TEXT_POINTS)
        axis.set_xlim(left=0)
        axis.margins(x=0.06)
        axis.grid(axis="x", alpha=0.3)
        axis.tick_params(labelsize=TEXT_POINTS - 0.5, length=3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(labels)), list(labels.values()), fontsize=TEXT_POINTS)
    axes[0].set_ylim(len(labels) - 0.45, -0.55)
    _legend(drawn, several=any(len(net["seeds"]) > 1 for net in results.facts["nets"].values()))
    drawn.tight_layout(rect=(0, 0.42 / height, 1, 1))
    return drawn


def _row(
    axis: Any, place: int, row: Mapping[str, Any], measure: str, single: Sequence[float]
) -> None:
    colour, marker, shift = OURS[row["view"]]
    value, y = row[measure], place + shift
    if value is not None:
        ends = [row[f"{measure}_low"], row[f"{measure}_high"]]
        axis.plot(ends, [y, y], color=colour, linewidth=2.4, alpha=0.6, zorder=2)
        axis.plot(value, y, marker, color=colour, markersize=6.5, zorder=3)
    if len(single) > 1:
        look = {"color": colour, "markersize": 6, "alpha": 0.8, "zorder": 3}
        axis.plot(single, np.full(len(single), y + 0.14), "|", **look)
    if row.get(f"val_{measure}") is not None:
        x = row[f"val_{measure}"]
        axis.plot(x, place, "x", color=CATEGORICAL[1], markersize=7.5, markeredgewidth=2)
    if row["note"]:
        style = {"color": MARK} if row["nets"] else {"color": FAINT_HEX, "style": "italic"}
        axis.text(
            0.02, place - 0.37 * bool(row["nets"]), row["note"].partition(":")[0], va="center",
            fontsize=TEXT_POINTS - 1.5, transform=axis.get_yaxis_transform(), **style,
        )  # fmt: skip


def _legend(drawn: Any, several: bool) -> None:
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"linestyle": "none", "markersize": 7.5}
    entries = [
        Line2D([], [], marker=marker, color=colour, label=VIEWS[view], **look)
        for view, (colour, marker, _) in OURS.items()
    ]
    look["markeredgewidth"] = 2
    paper_s = Line2D([], [], marker="x", color=CATEGORICAL[1], label="the paper's Table 2", **look)
    entries.append(paper_s)
    if several:
        one = Line2D([], [], marker="|", color=FAINT_HEX, label="one training each", **look)
        entries.append(one)
    drawn.legend(handles=entries, loc="lower center", ncols=4, frameon=False, fontsize=TEXT_POINTS)


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
