"""The tables behind `dvc plots show`: what they hold, and that dvc.yaml and the template fit."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from zfnet.errors import UserError
from zfnet.verdicts.plots import COLUMNS, MOST_CLASSES, OTHERS, write_plots

HISTORY = "epoch,lr,train_top1_error,val_top1_error\n"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _net(root: Path, name: str, *histories: str) -> Path:
    final = root / "models" / name / "final"
    _write(final / "net.json", json.dumps({"classes": ["cat", "dog", "owl"]}))
    for seed, rows in enumerate(histories):
        folder = final / f"seed_{seed}" if seed else final
        _write(folder / "history.csv", HISTORY + rows)
    return final


def _plot(root: Path, name: str) -> list[dict[str, str]]:
    write_plots(root, root / "plots")
    with (root / "plots" / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_nothing_there_gives_heads_alone(tmp_path: Path) -> None:
    write_plots(tmp_path, tmp_path / "plots")
    for name, columns in COLUMNS.items():
        text = (tmp_path / "plots" / f"{name}.csv").read_text(encoding="utf-8")
        assert text == ",".join(columns) + "\n"


def test_training_curves_of_the_nets_that_there_are(tmp_path: Path) -> None:
    _net(tmp_path, "zfnet", "1,0.1,90,80\n2,0.1,50,40\n")
    _net(tmp_path, "alexnet", "1,0.1,90,70\n2,0.1,,30\n", "1,0.1,90,80\n")
    _write(tmp_path / "models/alexnet_no7/final/absent.json", "{}")
    rows = _plot(tmp_path, "training")
    assert {row["series"] for row in rows} == {"zfnet", "alexnet"}
    told = {
        (row["panel"].split()[0], row["series"], row["epoch"]): (
            float(row["top1_error"]), row["low"], row["high"],
        )
        for row in rows
    }  # fmt: skip
    assert told["validation", "zfnet", "2"] == (40, "", "")
    assert told["training", "zfnet", "1"] == (90, "", "")
    assert told["validation", "alexnet", "1"] == (75, "70.0", "80.0")
    assert ("validation", "alexnet", "2") not in told  # the second training stopped before


def test_invariance_by_the_layers_that_were_compared(tmp_path: Path) -> None:
    steps = tmp_path / "results/invariance/tables/steps.csv"
    _write(
        steps,
        "transform,x,layer2 raw,layer2 distance,layer2 distance low,layer2 distance high,p,p low,"
        "p high\nscale,1.8,9,0.5,0.4,0.6,0.3,0.2,0.4\nrotation of a disc,90,9,0.7,0.6,0.8,,,\n",
    )
    assert [list(row.values()) for row in _plot(tmp_path, "invariance")] == [
        ["scale, times", "layer 2", "1.8", "0.5", "0.4", "0.6"],
        ["rotation of a disc, degrees", "layer 2", "90", "0.7", "0.6", "0.8"],
    ]
    assert [list(row.values()) for row in _plot(tmp_path, "invariance_answer")] == [
        ["scale, times", "p(true class)", "1.8", "0.3", "0.2", "0.4"]
    ]


def test_probe_of_every_set_with_the_papers_numbers(tmp_path: Path) -> None:
    tables = tmp_path / "results/probe/tables"
    _write(
        tables / "caltech101_table7.csv",
        'classifier,layer,"trained, %",low,high,"untrained, %","paper, %"\n'
        "linear SVM,1,40,38,42,20,44.8\n",
    )
    head = 'classifier,layer,"trained, %",low,high\n'
    _write(tables / "unseen_table7.csv", head + "softmax,7,50,45,55\n")
    _write(tables / "unseen_folds.csv", head)
    assert [tuple(row.values()) for row in _plot(tmp_path, "probe")] == [
        ("caltech101", "linear SVM, trained net", "1", "40", "38", "42"),
        ("caltech101", "linear SVM, untrained net", "1", "20", "", ""),
        ("caltech101", "linear SVM, the paper's", "1", "44.8", "", ""),
        ("unseen", "softmax, trained net", "7", "50", "45", "55"),
    ]


def _answered(final: Path, label: list[int], called: list[int]) -> None:
    top = np.stack([np.array(called), np.zeros(len(called), int)], 1)
    np.savez(final / "val_predictions.npz", label=np.array(label), centre_top=top)


def test_confusion_in_the_classes_words(tmp_path: Path) -> None:
    final = _net(tmp_path, "zfnet")
    _answered(final, [0, 1, 2, -1], [0, 2, 2, 1])
    assert [tuple(row.values()) for row in _plot(tmp_path, "confusion")] == [
        ("cat", "cat"), ("dog", "owl"), ("owl", "owl"),
    ]  # fmt: skip


def test_of_many_classes_those_with_the_most_mistakes(tmp_path: Path) -> None:
    final = _net(tmp_path, "zfnet")
    count = MOST_CLASSES + 5
    classes = [f"class {k}" for k in range(count)]
    (final / "net.json").write_text(json.dumps({"classes": classes}), encoding="utf-8")
    wrong = [*range(count), *range(5, count)]  # the first five are never mistaken
    _answered(final, wrong, [*range(count), *[0] * (count - 5)])
    rows = _plot(tmp_path, "confusion")
    assert {row["true class"] for row in rows} == set(classes[5:])
    assert {row["called"] for row in rows} == {*classes[5:], OTHERS}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    final = _net(tmp_path, "zfnet")
    (final / "val_predictions.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="models/zfnet/final"):
        write_plots(tmp_path, tmp_path / "plots")


def test_dvcs_plots_and_their_template_use_columns_that_are_written(root: Path) -> None:
    document = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    assert "results/plots" in document["stages"]["verdicts"]["outs"]
    plots = {name: plot for entry in document["plots"] for name, plot in entry.items()}
    assert set(plots) == set(COLUMNS)
    template = (root / ".dvc" / "plots" / "panels.json").read_text(encoding="utf-8")
    fields = set(re.findall(r'"(?:field|y2)": (?:\{"field": )?"(\w+)"', template)) - {"rev"}
    assert fields == {"panel", "series", "low", "high"}
    for name, plot in plots.items():
        assert set(plot["y"]) == {f"results/plots/{name}.csv"}
        drawn = {plot["x"], *plot["y"].values()}
        assert all(plot[words] for words in ("title", "x_label", "y_label"))
        if plot["template"] == "panels":
            drawn |= fields
        assert drawn == set(COLUMNS[name]), name


def test_the_nets_whose_curves_are_drawn_are_deps(root: Path) -> None:
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    deps = stages["verdicts"]["deps"]
    for net in stages["train"]["matrix"]["net"]:
        assert f"models/{net}/final" in deps
