"""Table 7: accuracy of linear classifiers by layer, of the trained and an untrained net."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

from zfnet import paper
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import CATEGORICAL, figure
from zfnet.paper import Reported
from zfnet.results import Results, Table

CARD = ""  # a figure a target
TABLE = "table7"
CLASSIFIERS = {"svm": "linear SVM", "softmax": "softmax"}
CHOICES = {
    "svm": "as in the table",
    "unit": "each image divided by its own norm",
    "centred": "the training images' mean taken off",
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
TEXT_POINTS = 11.5


def figures(results: Results) -> list[Figure]:
    """A chart a target."""
    drawn = []
    for name, facts in results.facts["targets"].items():
        svm = [row for row in _rows(results, name) if row["classifier"] == "svm"]
        values = ", ".join(f"layer {row['layer']} {row['trained']:.1f} %" for row in svm)
        drawn.append(
            Figure(
                f"probe_{name}",
                f"Table 7 on {name}: accuracy of linear classifiers on each layer's features. "
                "Bars: 95 % intervals over test images."
                + (" Hollow: the paper's numbers with their ±." if _printed(results, name) else ""),
                f"Accuracy by layer on {name}. Trained net, linear SVM: {values}; chance "
                f"{100 / facts['classes']:.1f} %.",
                functools.partial(depth_chart, results, name),
            )
        )
    return drawn


def tables(results: Results) -> dict[str, Shown]:
    """Table 7 with the paper's numbers, and what other choices give."""
    shown = {}
    for name, facts in results.facts["targets"].items():
        printed = _printed(results, name)
        records = [
            {**row, "paper": str(printed.get((row["classifier"], row["layer"]), ""))}
            for row in _rows(results, name)
        ]
        control = any(row["untrained"] is not None for row in records)
        columns = [
            column for column in COLUMNS
            if (control or not column.key.startswith(("untrained", "gain")))
            and (printed or column.key != "paper")
        ]  # fmt: skip
        shown[f"{name}_{TABLE}"] = Shown(
            columns,
            f"Table 7 on {name}: mean accuracy per class over {facts['folds']} folds, "
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
                f"The linear SVM on the trained net under other choices, {name}. Folds: the first "
                f"{results.facts['sensitivity_folds']}.",
            )  # fmt: skip
    return shown


def _rows(results: Results, name: str) -> list[dict[str, Any]]:
    return results.tables[f"{name}_{TABLE}"].records()


def _printed(results: Results, name: str) -> Mapping[tuple[str, int], Reported]:
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
    rows, printed = _rows(results, name), _printed(results, name)
    layers = sorted({row["layer"] for row in rows})
    drawn = figure(7.6, 4.3)
    axis = drawn.subplots()
    for net, (classifier, words) in itertools.product(COLOURS, CLASSIFIERS.items()):
        if net == "paper":
            cells = {n: cell for (kind, n), cell in printed.items() if kind == classifier}
            points = {n: (c.value, *_around(c)) for n, c in cells.items()}
        else:
            points = {
                row["layer"]: (row[net], row[f"{net}_low"], row[f"{net}_high"])
                for row in rows
                if row["classifier"] == classifier and row[net] is not None
            }
        if points:
            label = "the paper" if net == "paper" else f"{net} net"
            places = {layers.index(layer): point for layer, point in points.items()}
            _series(axis, net, classifier, f"{label}, {words}", places)
    guess = 100 / results.facts["targets"][name]["classes"]
    axis.axhline(guess, color="#555555", linewidth=1.2, linestyle=":", label="chance")
    axis.set_xlabel("layer", fontsize=TEXT_POINTS)
    axis.set_ylabel("mean accuracy per class, %", fontsize=TEXT_POINTS)
    axis.set_xticks(range(len(layers)), [str(layer) for layer in layers])
    axis.set_xlim(-0.5, len(layers) - 0.4)
    axis.set_ylim(0, 100)
    axis.tick_params(labelsize=TEXT_POINTS - 1)
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(
        fontsize=TEXT_POINTS - 1, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0,
    )  # fmt: skip
    drawn.tight_layout()
    return drawn


def _around(cell: Reported) -> tuple[float, float]:
    spread = cell.spread or 0.0
    return cell.value - spread, cell.value + spread


def _series(
    axis: Any,
    net: str,
    classifier: str,
    label: str,
    points: Mapping[int, tuple[float, float, float]],
) -> None:
    """One line: (value, low, high) by place."""
    hollow, softmax, colour = net == "paper", classifier == "softmax", COLOURS[net]
    x = [place + PAPER_SHIFT * hollow + SOFTMAX_SHIFT * softmax for place in points]
    y, low, high = zip(*points.values(), strict=True)
    axis.plot(
        x, y, color=colour, linestyle="none" if hollow else "--" if softmax else "-", zorder=3,
        linewidth=1.5, label=label, marker=MARKERS[classifier], markersize=7,
        markerfacecolor="white" if hollow else colour,
    )  # fmt: skip
    axis.vlines(x, low, high, color=colour, linewidth=2.6, alpha=0.5, zorder=2)
