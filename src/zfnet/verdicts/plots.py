"""The tables behind `dvc plots show`: fixed names and columns whatever nets and sets a run has.

dvc.yaml lists the plots; `panel` and `series` are the columns that the template .dvc/plots/panels
draws side by side and in colours. A table without rows draws nothing. Needs no torch.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zfnet import MAIN_NET
from zfnet.errors import UserError

PANEL = ("panel", "series")
ENDS = ("low", "high")
COLUMNS = {
    "training": (*PANEL, "epoch", "top1_error", *ENDS),
    "invariance": (*PANEL, "amount", "distance", *ENDS),
    "invariance_answer": (*PANEL, "amount", "p", *ENDS),
    "probe": (*PANEL, "layer", "accuracy", *ENDS),
    "confusion": ("true class", "called"),
}
TRAINED = {
    "validation images, centre crop": "val_top1_error",
    "training views, dropout on": "train_top1_error",
}
AMOUNTS = {"translation": "px", "scale": "times", "rotation": "degrees"}  # by a word of the name
MOST_CLASSES = 30  # of a confusion matrix that can be read
OTHERS = "other classes"

Row = Sequence[Any]


def write_plots(root: Path, folder: Path) -> None:
    """Write <folder>/<plot>.csv for every plot of COLUMNS from what the checkout `root` holds.

    Raises UserError naming a file that cannot be read.
    """
    steps = root / "results" / "invariance" / "tables" / "steps.csv"
    rows = {
        "training": training(root / "models"),
        "invariance": distances(steps),
        "invariance_answer": answers(steps),
        "probe": by_layer(root / "results" / "probe" / "tables"),
        "confusion": confusion(root / "models" / MAIN_NET / "final"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in COLUMNS.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows[name])


def training(models: Path) -> Iterator[Row]:
    """Top-1 error, %, of each net and epoch: the mean over its trainings, the least and the most.

    Nets that were not trained here have no rows.
    """
    for panel, column in TRAINED.items():
        for final in sorted(models.glob("*/final")):
            files = [final / "history.csv", *sorted(final.glob("seed_*/history.csv"))]
            histories = [_read(file) for file in files if file.is_file()]
            if (final / "net.json").is_file() and histories:
                yield from _epochs(panel, final.parent.name, histories, column)


def _epochs(
    panel: str, net: str, histories: Sequence[Sequence[dict[str, str]]], column: str
) -> Iterator[Row]:
    for rows in zip(*histories, strict=False):  # a broken one ends them all
        errors = [float(row[column]) for row in rows if row.get(column)]
        if errors:
            ends = (min(errors), max(errors)) if len(errors) > 1 else ("", "")
            mean = sum(errors) / len(errors)
            yield (panel, net, rows[0]["epoch"], f"{mean:.4g}", *ends)


def distances(steps: Path) -> Iterator[Row]:
    """How far the features of each compared layer move, with 95 % intervals over images."""
    for row in _read(steps):
        for column, value in row.items():
            found = re.fullmatch(r"layer(\w+) distance", column)
            if found and value:
                ends = (row.get(f"{column} {end}", "") for end in ENDS)
                yield (_amount(row["transform"]), f"layer {found[1]}", row["x"], value, *ends)


def answers(steps: Path) -> Iterator[Row]:
    """p(true class), mean over images, with 95 % intervals."""
    for row in _read(steps):
        if row.get("p"):
            ends = (row.get(f"p {end}", "") for end in ENDS)
            yield (_amount(row["transform"]), "p(true class)", row["x"], row["p"], *ends)


def _amount(transform: str) -> str:
    unit = next((unit for word, unit in AMOUNTS.items() if word in transform), "")
    return f"{transform}, {unit}" if unit else transform


def by_layer(tables: Path) -> Iterator[Row]:
    """Accuracy, %, of a classifier on each layer's features: trained, untrained, the paper's."""
    for file in sorted(tables.glob("*_table7.csv")):
        panel = file.name.removesuffix("_table7.csv")
        for row in _read(file):
            name, layer = row["classifier"], row["layer"]
            ends = (row.get("low", ""), row.get("high", ""))
            for series, value, both in (
                (f"{name}, trained net", row.get("trained, %"), ends),
                (f"{name}, untrained net", row.get("untrained, %"), ("", "")),
                (f"{name}, the paper's", row.get("paper, %"), ("", "")),
            ):
                if value:
                    yield (panel, series, layer, value, *both)


def confusion(final: Path) -> Iterator[Row]:
    """True class and answer (centre crop) of each validation image, in words.

    Of more than MOST_CLASSES classes those with the most mistakes; answers outside them are OTHERS.
    """
    import numpy as np

    file = final / "val_predictions.npz"
    if not (file.is_file() and (final / "net.json").is_file()):
        return
    try:
        classes = json.loads((final / "net.json").read_text(encoding="utf-8"))["classes"]
        with np.load(file, allow_pickle=False) as held:
            label, called = held["label"], held["centre_top"][:, 0]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{final} cannot be read ({error!r}): train the net again") from error
    pairs = [(int(a), int(b)) for a, b in zip(label, called, strict=True) if a >= 0]
    shown = set(_most_mistaken(pairs))
    for true, answer in pairs:
        if true in shown:
            yield (classes[true], classes[answer] if answer in shown else OTHERS)


def _most_mistaken(pairs: Sequence[tuple[int, int]]) -> list[int]:
    mistakes = Counter({true: 0 for true, _ in sorted(pairs)})
    mistakes.update(true for true, answer in pairs if true != answer)
    return [true for true, _ in mistakes.most_common(MOST_CLASSES)]


def _read(file: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; none where there is no file."""
    if not file.is_file():
        return []
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file} cannot be read ({error}): run the stage that writes it") from error
