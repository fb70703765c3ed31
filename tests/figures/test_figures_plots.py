"""The tables behind `dvc plots show`: what they hold, and that the plots use their columns."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zfnet.errors import UserError
from zfnet.figures.plots import COLUMNS, MOST_CLASSES, OTHERS, write_plots
from zfnet.pipeline.dvcfile import PLOTS
from zfnet.results import Measurement, Table, save

HISTORY = "epoch,lr,train_top1_error,val_top1_error\n"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _net(root: Path, name: str, *histories: str, classes: Any = ("cat", "dog", "owl")) -> Path:
    final = root / "models" / name / "final"
    _write(final / "net.json", json.dumps({"classes": list(classes), "arch": "zfnet"}))
    _write(final / "seeds.json", json.dumps({"seeds": list(range(max(1, len(histories))))}))
    for seed, rows in enumerate(histories):
        _write((final / f"seed_{seed}" if seed else final) / "history.csv", HISTORY + rows)
    return final


def _plot(root: Path, name: str) -> list[tuple[str, ...]]:
    write_plots(root, root / "plots")
    with (root / "plots" / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return [tuple(row) for row in csv.reader(stream)][1:]


def _study(root: Path, name: str, tables: dict[str, Table], **facts: Any) -> None:
    measured = Measurement("zfnet", "out", tables=tables, facts=facts)
    save(measured, root / "results" / name, root / "metrics" / f"{name}.json")


def test_training_curves_of_the_nets_that_there_are(tmp_path: Path) -> None:
    _answered(_net(tmp_path, "zfnet", "1,0.1,90,80\n2,0.1,50,40\n"), [0], [0])
    _net(tmp_path, "alexnet", "1,0.1,90,70\n2,0.1,,30\n", "1,0.1,90,80\n")
    _write(tmp_path / "models/alexnet_no7/final/absent.json", "{}")
    rows = _plot(tmp_path, "training")
    told = {(row[0].split()[0], row[1], row[2]): row[3:] for row in rows}
    assert {row[1] for row in rows} == {"zfnet", "alexnet"}
    assert told["validation", "zfnet", "2"] == ("40", "", "")
    assert told["training", "zfnet", "1"] == ("90", "", "")
    assert told["validation", "alexnet", "1"] == ("75", "70.0", "80.0")
    assert ("validation", "alexnet", "2") not in told  # the second training stopped before


def test_invariance_of_the_lowest_and_the_highest_layer(tmp_path: Path) -> None:
    keys = ("distance", "distance_low", "distance_high", "p", "p_low", "p_high")
    rows = [["scale", 1.8, layer, layer / 10, 0.05, 0.9, 0.3, 0.2, 0.4] for layer in (2, 5, 7)]
    _study(tmp_path, "invariance", {"steps": Table(["transform", "x", "layer", *keys], rows)})
    assert _plot(tmp_path, "invariance") == [
        ("scale, times", "layer 2", "1.8", "0.2", "0.05", "0.9"),
        ("scale, times", "layer 7", "1.8", "0.7", "0.05", "0.9"),
    ]
    assert _plot(tmp_path, "invariance_answer") == [
        ("scale, times", "p(true class)", "1.8", "0.3", "0.2", "0.4")
    ]


def test_probe_of_every_set_with_the_papers_numbers(tmp_path: Path, root: Path) -> None:
    (tmp_path / "paper").mkdir()
    shutil.copy(root / "paper" / "tables.yaml", tmp_path / "paper")
    nets = [f"{net}{end}" for net in ("trained", "untrained") for end in ("", "_low", "_high")]
    columns = ["classifier", "layer", *nets]
    tables = {
        "caltech101_table7": Table(columns, [["svm", 1, 40, 38, 42, 20, 19, 21]]),
        "unseen_table7": Table(columns, [["softmax", 7, 50, 45, 55, None, None, None]]),
    }
    targets = {"caltech101": {"paper": "table4"}, "unseen": {"paper": None}}
    _study(tmp_path, "probe", tables, targets=targets)
    assert _plot(tmp_path, "probe") == [
        ("caltech101", "linear SVM, trained net", "1", "40", "38", "42"),
        ("caltech101", "linear SVM, untrained net", "1", "20", "19", "21"),
        ("caltech101", "linear SVM, the paper's", "1", "44.8", "", ""),
        ("unseen", "softmax, trained net", "7", "50", "45", "55"),
    ]


def _answered(final: Path, label: list[int], called: list[int]) -> None:
    top = np.stack([np.array(called), np.zeros(len(called), int)], 1)
    np.savez(final / "val_predictions.npz", label=np.array(label), centre_top=top)


def test_confusion_in_the_classes_words(tmp_path: Path) -> None:
    _answered(_net(tmp_path, "zfnet"), [0, 1, 2, -1], [0, 2, 2, 1])
    assert _plot(tmp_path, "confusion") == [("cat", "cat"), ("dog", "owl"), ("owl", "owl")]


def test_of_many_classes_those_with_the_most_mistakes(tmp_path: Path) -> None:
    count = MOST_CLASSES + 5
    classes = [f"class {k}" for k in range(count)]
    final = _net(tmp_path, "zfnet", classes=classes)
    wrong = [*range(count), *range(5, count)]  # the first five are never mistaken
    _answered(final, wrong, [*range(count), *[0] * (count - 5)])
    rows = _plot(tmp_path, "confusion")
    assert {true for true, _ in rows} == set(classes[5:])
    assert {called for _, called in rows} == {*classes[5:], OTHERS}


def test_a_damaged_file_is_named_and_nothing_gives_heads_alone(tmp_path: Path) -> None:
    assert [_plot(tmp_path, name) for name in COLUMNS] == [[]] * len(COLUMNS)
    (_net(tmp_path, "zfnet") / "val_predictions.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="models/zfnet/final"):
        write_plots(tmp_path, tmp_path / "plots")


def test_dvcs_template_uses_columns_that_are_written(root: Path) -> None:
    template = (root / ".dvc" / "plots" / "panels.json").read_text(encoding="utf-8")
    fields = set(re.findall(r'"(?:field|y2)": (?:\{"field": )?"(\w+)"', template)) - {"rev"}
    for name, (_, x, y, _) in PLOTS.items():
        assert {x, y} | fields == set(COLUMNS[name])
