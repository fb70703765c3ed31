"""The tables behind `dvc plots show`: fixed names and columns whatever nets and sets a run has.

dvc.yaml lists the plots; `panel` and `series` are the columns that the template .dvc/plots/panels
draws side by side and in colours. A table without rows draws nothing. Needs no torch.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zfnet import MAIN_NET
from zfnet.figures.probe import CLASSIFIERS, printed
from zfnet.files import write_text
from zfnet.models.trained import TrainedNet
from zfnet.results import FILE, Results

PANEL, ENDS = ("panel", "series"), ("low", "high")
COLUMNS = {
    "training": (*PANEL, "epoch", "top1_error", *ENDS),
    "invariance": (*PANEL, "amount", "distance", *ENDS),
    "invariance_answer": (*PANEL, "amount", "p", *ENDS),
    "probe": (*PANEL, "layer", "accuracy", *ENDS),
    "activations": (*PANEL, "epoch", "share", *ENDS),
    "filters": (*PANEL, "epoch", "smoothness", *ENDS),
    "fooling": (*PANEL, "grey_levels", "share", *ENDS),
    "confusion": ("true class", "called"),
}
TRAINED = {
    "validation images, centre crop": "val_top1_error",
    "training views, dropout on": "train_top1_error",
}
TRANSFORMS = {
    "translation": "vertical translation, px",
    "scale": "scale, times",
    "rotation": "rotation, degrees",
    "disc": "rotation of a disc, degrees",
}
SERIES = {"trained": "trained net", "untrained": "untrained net", "paper": "the paper's"}
FOOLED = {
    "the net": {"fgsm": "along the gradient's sign", "noise": "random signs"},
    "a linear classifier": {
        "linear_fgsm": "along the gradient's sign",
        "linear_noise": "random signs",
    },
}
MOST_CLASSES = 30  # of a confusion matrix that can be read
OTHERS = "other classes"

Row = Sequence[Any]


def write_plots(root: Path, folder: Path) -> None:
    """Write <folder>/<plot>.csv for every plot of COLUMNS from what the checkout `root` holds.

    Raises UserError naming a file that cannot be read.
    """
    rows = {
        "training": training(root / "models"),
        "invariance": distances(_steps(root)),
        "invariance_answer": answers(_steps(root)),
        "probe": by_layer(root),
        "activations": by_epoch(root, "activations", {"zeros": "zeros", "locality": "locality"}),
        "filters": by_epoch(root, "filters", {"smoothness": "smoothness"}),
        "fooling": by_grey_levels(root),
        "confusion": confusion(root / "models" / MAIN_NET / "final"),
    }
    for name, columns in COLUMNS.items():
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows[name])
        write_text(folder / f"{name}.csv", text.getvalue())


def training(models: Path) -> Iterator[Row]:
    """Top-1 error, %, of each net and epoch: the mean over its trainings, the least and the most.

    Nets that were not trained here have no rows.
    """
    opened = [TrainedNet.open(each.parent.name, each) for each in sorted(models.glob("*/final"))]
    for panel, column in TRAINED.items():
        for net in filter(None, opened):
            histories = [training.history for training in net.trainings]
            for rows in zip(*histories, strict=False):  # a broken one ends them all
                errors = [row[column] for row in rows if not math.isnan(row[column])]
                if errors:
                    ends = (min(errors), max(errors)) if len(errors) > 1 else ("", "")
                    mean = sum(errors) / len(errors)
                    yield (panel, net.name, int(rows[0]["epoch"]), f"{mean:.4g}", *ends)


def _steps(root: Path) -> list[dict[str, Any]]:
    results = _results(root, "invariance")
    return results.tables["steps"].records() if results else []


def distances(steps: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """How far the features of the lowest and highest layer move, with 95 % intervals."""
    layers = [row["layer"] for row in steps]
    for row in steps:
        if row["layer"] in (layers[0], layers[-1]):
            series = f"layer {row['layer']}"
            yield (TRANSFORMS[row["transform"]], series, row["x"], *_interval(row, "distance"))


def answers(steps: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """p(true class), mean over images, with 95 % intervals; a step has the same for every layer."""
    for row in steps:
        if row["layer"] == steps[0]["layer"]:
            yield (TRANSFORMS[row["transform"]], "p(true class)", row["x"], *_interval(row, "p"))


def by_layer(root: Path) -> Iterator[Row]:
    """Accuracy, %, of a classifier on each layer's features: trained, untrained, the paper's."""
    results = _results(root, "probe")
    if results is None:
        return
    for target in results.facts["targets"]:
        theirs = printed(results, target)
        for row in results.tables[f"{target}_table7"].records():
            name, layer = row["classifier"], row["layer"]
            cell = theirs.get((name, layer))
            row["paper"] = cell and cell.value
            for key, series in SERIES.items():
                if row[key] is not None:
                    yield (target, f"{CLASSIFIERS[name]}, {series}", layer, *_interval(row, key))


def by_epoch(root: Path, study: str, panels: Mapping[str, str]) -> Iterator[Row]:
    """What a study follows over the epochs of one training, by layer; `panels`: by column."""
    results = _results(root, study)
    followed = results.tables.get("epochs") if results else None
    for row in followed.records() if followed else ():
        for column, panel in panels.items():
            if row[column] is not None:
                yield (panel, f"layer {row['layer']}", row["epoch"], row[column], "", "")


def by_grey_levels(root: Path) -> Iterator[Row]:
    """Share of answers that a change of so many grey levels changes, with 95 % intervals."""
    results = _results(root, "fooling")
    for row in results.tables["levels"].records() if results else ():
        for panel, series in FOOLED.items():
            for key, name in series.items():
                if row.get(key) is not None:
                    yield (panel, name, row["epsilon"], *_interval(row, key))


def confusion(final: Path) -> Iterator[Row]:
    """True class and answer (centre crop) of each validation image, in words.

    Of more than MOST_CLASSES classes those with the most mistakes; answers outside them are OTHERS.
    """
    net = TrainedNet.open(MAIN_NET, final)
    if net is None:
        return
    label, called = net.label.tolist(), net.trainings[0].top("centre")[:, 0].tolist()
    pairs = [(true, answer) for true, answer in zip(label, called, strict=True) if true >= 0]
    mistakes = Counter({true: 0 for true, _ in sorted(pairs)})
    mistakes.update(true for true, answer in pairs if true != answer)
    shown = {true for true, _ in mistakes.most_common(MOST_CLASSES)}
    for true, answer in pairs:
        if true in shown:
            yield (net.classes[true], net.classes[answer] if answer in shown else OTHERS)


def _results(root: Path, study: str) -> Results | None:
    folder = root / "results" / study
    return Results(folder, root) if (folder / FILE).is_file() else None


def _interval(row: dict[str, Any], key: str) -> Row:
    ends = (row.get(f"{key}_{end}") for end in ENDS)
    return (row[key], *("" if end is None else end for end in ends))
