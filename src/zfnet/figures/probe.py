"""Table 7: accuracy of linear classifiers by layer, of the trained and an untrained net."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

from zfnet import paper
from zfnet.figures.kit.dots import TEXT_POINTS, accuracy_axes, curve
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import CATEGORICAL, figure
from zfnet.paper import Reported
from zfnet.pipeline.registry import TARGETS
from zfnet.results import Results, Table

CARD = ""  # a figure a target
TABLE = "table7"
CLASSIFIERS = {"svm": "linear SVM", "softmax": "softmax"}
CHOICES = {
    "svm": "as in the table",
    "unit": "each image divided by its own norm",
    "fixed": "C = 1, not chosen",
}
COLUMNS = [
    Column("classifier", "classifier", words=CLASSIFIERS),
    Column("layer", "layer"),
    Column("features", "features"),
    Column("trained", "trained net, %", interval=True),
    Column("trained_deviation", "± over folds"),
    Column("untrained", "untrained net, %", interval=True),
    Column("untrained_deviation", "± over folds"),
    Column("gain", "difference, points", interval=True),
    Column("constants", "C of each fold"),
    Column("paper", "the paper, %"),
]
COLOURS = {"trained": CATEGORICAL[0], "untrained": CATEGORICAL[7], "paper": CATEGORICAL[5]}
MARKERS = {"svm": "o", "softmax": "^"}
PAPER_SHIFT, SOFTMAX_SHIFT = -0.28, 0.14  # side by side at one layer


def figures(results: Results) -> list[Figure]:
    """A chart a target."""
    drawn = []
    for name, facts in results.facts["targets"].items():
        words = TARGETS.get(name, name)
        svm = [row for row in _rows(results, name) if row["classifier"] == "svm"]
        values = ", ".join(f"layer {row['layer']} {row['trained']:.1f} %" for row in svm)
        drawn.append(
            Figure(
                f"probe_{name}",
                f"Table 7 on {words}: accuracy of linear classifiers on each layer's features. "
                "Bars: 95 % intervals."
                + (" Hollow: the paper's numbers with their ±." if printed(results, name) else ""),
                f"Accuracy by layer on {words}. Trained net, linear SVM: {values}; chance "
                f"{100 / facts['classes']:.1f} %.",
                functools.partial(depth_chart, results, name),
            )
        )
    return drawn


def tables(results: Results) -> dict[str, Shown]:
    """Table 7 with the paper's numbers, and what other choices give."""
    shown = {}
    for name, facts in results.facts["targets"].items():
        theirs, words = printed(results, name), TARGETS.get(name, name)
        records = [
            {**row, "paper": str(theirs.get((row["classifier"], row["layer"]), ""))}
            for row in _rows(results, name)
        ]
        control = any(row["untrained"] is not None for row in records)
        columns = [
            column for column in COLUMNS
            if (control or not column.key.startswith(("untrained", "gain")))
            and (theirs or column.key != "paper")
        ]  # fmt: skip
        shown[f"{name}_{TABLE}"] = Shown(
            columns,
            f"Table 7 on {words}: mean accuracy per class over {facts['folds']} folds, "
            f"{facts['train_per_class']} training images a class. Brackets: 95 % intervals over "
            "test images. ±: standard deviation over folds.",
            Table.of(records),
        )
        tried = results.tables.get(f"{name}_sensitivity")
        if tried is not None:
            layers = [key for key in tried.columns if key.startswith("layer")]
            shown[f"{name}_sensitivity"] = Shown(
                [Column("choice", "choice", words=CHOICES),
                 *(Column(key, f"layer {key[5:]}, %") for key in layers),
                 Column("trend", "rank correlation with depth")],
                f"The linear SVM on the trained net under other choices, on {words}. Number of "
                f"folds: {results.facts['sensitivity_folds']}.",
            )  # fmt: skip
    return shown


def _rows(results: Results, name: str) -> list[dict[str, Any]]:
    return results.tables[f"{name}_{TABLE}"].records()


def printed(results: Results, name: str) -> Mapping[tuple[str, int], Reported]:
    """The paper's numbers for a target by classifier and layer.

    The config names the set's table of accuracies; Table 7 has a column for each such set.
    """
    table = paper.tables(results.root)[TABLE]
    if results.facts["targets"][name]["paper"] is None:
        return {}
    keys = [(row["classifier"], row["layer"]) for row in _rows(results, name)]
    cells = {key: table.get(f"{key[0]}_{key[1]}", name) for key in keys}
    return {key: cell for key, cell in cells.items() if cell is not None}


def depth_chart(results: Results, name: str) -> Any:
    """Accuracy, %, by layer as one matplotlib figure; the paper's values are hollow, unjoined."""
    rows, theirs = _rows(results, name), printed(results, name)
    layers = sorted({row["layer"] for row in rows})
    drawn = figure(7.6, 4.3)
    axis = drawn.subplots()
    for net, (classifier, words) in itertools.product(COLOURS, CLASSIFIERS.items()):
        softmax, points, x = classifier == "softmax", [], []
        look = {"marker": MARKERS[classifier], "linestyle": "--" if softmax else "-"}
        for row in (row for row in rows if row["classifier"] == classifier):
            cell = theirs.get((classifier, row["layer"]))
            if net == "paper" and cell:
                spread = cell.spread or 0.0
                points.append((cell.value, cell.value - spread, cell.value + spread))
            elif row.get(net) is not None:
                points.append((row[net], row[f"{net}_low"], row[f"{net}_high"]))
            else:
                continue
            x.append(layers.index(row["layer"]) + SOFTMAX_SHIFT * softmax)
        label = f"{net} net, {words}"
        if net == "paper":
            label, x = f"the paper, {words}", [each + PAPER_SHIFT for each in x]
            look |= {"linestyle": "none", "markerfacecolor": "white"}
        if points:
            curve(axis, x, points, color=COLOURS[net], label=label, **look)
    accuracy_axes(axis, 100 / results.facts["targets"][name]["classes"], "layer")
    axis.set_xticks(range(len(layers)), [str(layer) for layer in layers])
    axis.set_xlim(-0.5, len(layers) - 0.4)
    axis.legend(
        fontsize=TEXT_POINTS - 1, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0,
    )  # fmt: skip
    drawn.tight_layout()
    return drawn
