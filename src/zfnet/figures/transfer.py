"""Fig. 9: accuracy by training images a class. Tables 4 to 6 beside the paper's, 6 as a chart."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from zfnet import paper
from zfnet.figures.kit.dots import (
    TEXT_POINTS,
    DotPanel,
    Dots,
    accuracy_axes,
    curve,
    dot_chart,
    points,
)
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import CATEGORICAL, figure
from zfnet.paper import PaperTable
from zfnet.pipeline.registry import TARGETS, title_of
from zfnet.results import Results, Table

CARD = "transfer_curve"
VOC = "voc"  # the protocol of Table 6
PRETRAINED, SCRATCH = "pretrained", "scratch"
METHODS = {
    PRETRAINED: "layers 1–7 kept, new softmax",
    "untrained": "layers 1–7 with random weights, new softmax",
    SCRATCH: "the same net from scratch",
}
ROWS = {
    "softmax": "softmax on one label an image",
    "sigmoids": "a sigmoid per class",
    "untrained": "softmax, random weights",
}
# The paper's words for VOC's classes, where they differ by more than spaces.
VOC_WORDS = {"airplane": "aeroplane", "tv": "tvmonitor"}
MARKERS, PRINTED_MARKERS = "o^s", "x+12"
GREY = "#666666"


def figures(results: Results) -> list[Figure]:
    """The learning curves of all sets with training images a class; a chart for each PASCAL set."""
    targets = results.facts["targets"]
    names = [name for name, facts in targets.items() if facts["protocol"] != VOC]
    drawn = [_curve_figure(results, names)] if names else []
    return drawn + [_precision_figure(results, name) for name in targets if name not in names]


def tables(results: Results) -> dict[str, Shown]:
    """Tables 4 to 6: the paper's numbers and ours."""
    shown = {}
    for name, facts in results.facts["targets"].items():
        if facts["protocol"] == VOC:
            shown[f"{name}_precision"] = _precisions_shown(results, name)
        else:
            shown[f"{name}_accuracy"] = _accuracies_shown(results, name)
    return shown


def _named(target: str) -> str:
    words = TARGETS.get(target, target)
    return words[:1].upper() + words[1:]


def paper_table(results: Results, name: str) -> PaperTable | None:
    """The paper's table for a target, None where there is none."""
    key = results.facts["targets"][name]["paper"]
    return None if key is None else paper.tables(results.root)[key]


# --------------------------------------------------------------------------- Tables 4, 5, Fig. 9
def _by_method(results: Results, name: str) -> dict[str, list[dict[str, Any]]]:
    """The measured rows of each method, by training images a class."""
    records = results.tables[f"{name}_accuracy"].records()
    own = {method: [row for row in records if row["method"] == method] for method in METHODS}
    return {method: rows for method, rows in own.items() if rows}


def _accuracies_shown(results: Results, name: str) -> Shown:
    facts, printed = results.facts["targets"][name], paper_table(results, name)
    own = _by_method(results, name)
    sizes = sorted({row["train_per_class"] for rows in own.values() for row in rows})
    made: list[list[Any]] = []
    for entry in printed.rows.values() if printed else ():
        cells = [entry.cells.get(f"train{size}") for size in sizes]
        made.append([f"the paper: {entry.label}", *(c and str(c) for c in cells), None, None])
    for method, rows in own.items():
        own_cells = {row["train_per_class"]: _plus_minus(row) for row in rows}
        most = [max(row[key] for row in rows) for key in ("folds", "images")]
        label = f"{title_of(results.net)}: {METHODS[method]}"
        made.append([label, *map(own_cells.get, sizes), *most])
    guess = f"{100 / facts['classes']:.1f}"
    made.append(["guessing", *[guess] * len(sizes), None, None])
    heads = ["method", *(f"{size} a class" for size in sizes), "folds", "test images in all"]
    caption = (
        f"{_named(name)}: mean accuracy per class, %, by training images a class. ±: standard "
        "deviation over folds, which share images. The file has 95 % intervals "
        "and the C of each fold."
    )
    if printed:
        caption += f" Above: the paper's {printed.place}; it does not say what its ± spans."
    return Shown([Column(head, head) for head in heads], caption, Table(heads, made))


def _plus_minus(row: Mapping[str, Any]) -> str:
    spread = row["deviation"]
    return f"{row['accuracy']:.1f}" + ("" if spread is None else f" ± {spread:.1f}")


def _curve_figure(results: Results, names: Sequence[str]) -> Figure:
    values = [
        f"{_named(name)}, {METHODS[method]}: "
        + ", ".join(f"{row['accuracy']:.0f} % at {row['train_per_class']}" for row in rows)
        for name in names
        for method, rows in _by_method(results, name).items()
    ]
    printed = any(paper_table(results, name) for name in names)
    return Figure(
        CARD,
        f"Fig. 9: mean accuracy per class of {title_of(results.net)} by training images a class. "
        "Bars: 95 % intervals. Dashed: guessing."
        + (" Hollow and grey marks: the paper's numbers." if printed else ""),
        f"Accuracy against training images a class. {'; '.join(values)}.",
        functools.partial(learning_curves, results, names),
    )


def learning_curves(results: Results, names: Sequence[str]) -> Any:
    """One panel a set over linear axes from 0, as the paper draws it; a matplotlib figure."""
    reported = [paper_table(results, name) for name in names]
    entries = 4 + max(len(table.rows) if table else 0 for table in reported)
    drawn = figure(max(7.0, 5.2 * len(names)), 4.2 + 0.2 * entries)
    axes = drawn.subplots(1, len(names), squeeze=False)[0]
    for axis, name, printed in zip(axes, names, reported, strict=True):
        _panel(axis, results, name, printed)
    drawn.tight_layout(w_pad=2.0)
    return drawn


def _panel(axis: Any, results: Results, name: str, printed: PaperTable | None) -> None:
    from matplotlib.transforms import ScaledTranslation

    facts = results.facts["targets"][name]
    looks: dict[str, dict[str, Any]] = {}
    for method, rows in _by_method(results, name).items():
        place = list(METHODS).index(method)
        looks[method] = {"color": CATEGORICAL[place], "marker": MARKERS[place]}
        curve(
            axis, [row["train_per_class"] for row in rows],
            [[row[f"accuracy{end}"] for end in ("", "_low", "_high")] for row in rows],
            label=METHODS[method], linestyle="none" if method == SCRATCH else "-", **looks[method],
        )  # fmt: skip
    others = iter(PRINTED_MARKERS * 9)
    for key, row in printed.rows.items() if printed else ():
        cells = {size: row.cells.get(f"train{size}") for size in facts["train_per_class"]}
        there = {size: cell.value for size, cell in cells.items() if cell is not None}
        if there:
            look = looks.get(key) or {"marker": next(others), "color": GREY}
            axis.plot(
                list(there), list(there.values()), linestyle="none", markersize=8.5, zorder=4,
                label=f"the paper: {row.label}", markerfacecolor="none", **look,
            )  # fmt: skip
    accuracy_axes(axis, 100 / facts["classes"], "training images a class")
    axis.set_xlim(0, 1.06 * max(results.tables[f"{name}_accuracy"].column("train_per_class")))
    axis.set_title(f"{_named(name)} ({facts['classes']} classes)", fontsize=13, fontweight="bold")
    below = axis.transAxes + ScaledTranslation(0, -0.55, axis.figure.dpi_scale_trans)  # inches
    axis.legend(
        fontsize=TEXT_POINTS - 1.5, frameon=False, loc="upper left", bbox_to_anchor=(0, 0),
        bbox_transform=below,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------- Table 6
def _by_class(results: Results, name: str) -> dict[str, list[float | None]]:
    """Average precision, %, by class and at the end their mean: the paper's columns, then ours."""
    own, printed = results.tables[f"{name}_precision"], paper_table(results, name)
    columns: dict[str, list[float | None]] = {}
    if printed is not None:
        names = {row: VOC_WORDS.get(row, row.replace("_", "")) for row in printed.rows}
        for key, words in printed.columns.items():
            cells = {own_name: printed.value(row, key) for row, own_name in names.items()}
            cells["mean"] = printed.printed.get("mean", {}).get(key)
            columns[f"the paper: {words}"] = [cells.get(each) for each in own.column("class")]
    ours = {f"here: {words}": own.column(key) for key, words in ROWS.items() if key in own.columns}
    return columns | ours


def _precisions_shown(results: Results, name: str) -> Shown:
    own = results.tables[f"{name}_precision"]
    columns = {
        "class": own.column("class"),
        **_by_class(results, name),
        "images": own.column("images"),
    }
    how = "area under the precision-recall curve, as in VOC from 2010"
    if results.facts["targets"][name]["eleven_points"]:
        how = "mean of the precision at eleven recalls, as in VOC until 2009"
    caption = (
        f"{_named(name)}: average precision by class, %: {how}. Images whose objects of a class "
        "are all marked difficult do not count for it. The last column counts the images "
        "that show it."
    )
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return Shown([Column(head, head) for head in columns], caption, Table(list(columns), rows))


def _precision_figure(results: Results, name: str) -> Figure:
    means = [
        f"{label} {values[-1]:.1f} %"
        for label, values in _by_class(results, name).items()
        if values[-1]
    ]
    return Figure(
        f"{name}_precision",
        f"Table 6: average precision by class on {_named(name)}, and at the end its mean. Crosses: "
        "the paper's net on VOC 2012's test part.",
        f"Average precision by class; means: {', '.join(means)}.",
        functools.partial(precision_chart, results, name),
    )


def precision_chart(results: Results, name: str) -> Any:
    """Average precision of each class and their mean, a row each, as a matplotlib figure."""
    series = _by_class(results, name)
    theirs, ours = ([key for key in series if key.startswith(who)] for who in ("the", "here"))
    looks = [*zip(ours, MARKERS, CATEGORICAL, strict=False)]
    looks += [(label, "x", GREY) for label in theirs[-1:]]  # the net, no earlier method
    dots = [
        Dots(label, marker, colour, points([{"": each} for each in series[label]], ""), 0.0)
        for label, marker, colour in looks
    ]
    classes = results.tables[f"{name}_precision"].column("class")
    panel = DotPanel(_named(name), classes, dots, [""] * len(classes))
    return dot_chart([panel], "average precision, %", row_inches=0.27)
