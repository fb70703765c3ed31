"""Planted duplicates are found, counted, listed and nothing else is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zfnet.data.prepare import prepare
from zfnet.data.sample import ClassInfo, Sample
from zfnet.figures import overlap as telling
from zfnet.pipeline.studies import Overlap
from zfnet.report.study import page
from zfnet.results import Measurement, Results, save
from zfnet.studies import overlap

SIZE = 32


def picture(seed: int) -> np.ndarray:
    """A random picture of 4 px blocks, (32, 32, 3)."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return small.repeat(4, 0).repeat(4, 1)


def prepared(
    folder: Path, train: list[np.ndarray], val: list[np.ndarray], classes: int = 2
) -> None:
    """A prepared set of given pictures; labels go 0, 1, 0, 1, …"""

    def samples(name: str, images: list[np.ndarray]) -> list[Sample]:
        return [
            Sample(f"{folder.name}/{name}/{i}", i % classes, image=image)
            for i, image in enumerate(images)
        ]

    source = SimpleNamespace(
        name="made",
        classes=[ClassInfo(i, f"c{i}", f"class {i}") for i in range(classes)],
        part_names=[],
        splits=lambda: {"train": samples("train", train), "val": samples("val", val)},
    )
    prepare(source, folder, size=SIZE, workers=1, val_may_be_empty=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Source: eight train and four val images, all different."""
    folder = tmp_path / "data"
    prepared(
        folder / "prepared", [picture(i) for i in range(8)], [picture(i) for i in range(8, 12)]
    )
    return folder


def plant(data: Path) -> None:
    """Ten images. 1: copy of train 3; 4: val 9, paler; 6: train 5 mirrored; 7 repeats 2."""
    images = [picture(100 + i) for i in range(10)]
    images[1] = picture(3)
    images[4] = picture(9) // 2 + 60
    images[6] = picture(5)[:, ::-1]
    images[7] = images[2] // 2
    prepared(data / "targets" / "mine", images, [])


def measured(data: Path, **options: Any) -> Measurement:
    paths: Any = SimpleNamespace(prepared=data / "prepared", targets=data / "targets")
    return overlap.run(Overlap(device="cpu", **options), paths)


def test_what_is_planted_is_found(data: Path) -> None:
    plant(data)
    found = measured(data)
    assert found.facts["duplicates"] == {"mine": [1, 4, 6]}
    assert found.estimates["mine_shared"].value == 3
    assert found.estimates["mine_shared"].n == 10
    assert found.estimates["mine_most_in_a_class"].value == 2  # 4 and 6 are of class 0
    assert found.tables["shared"].column("class_most") == ["class 0"]
    assert found.estimates["mine_strongest"].value == 1
    pairs = sorted(found.tables["pairs"].records(), key=lambda pair: pair["row"])
    assert [(p["row"], p["source_split"], p["source_row"], p["flipped"]) for p in pairs] == [
        (1, "train", 3, False), (4, "val", 1, False), (6, "train", 5, True),
    ]  # fmt: skip
    assert all(pair["correlation"] > 0.999 for pair in pairs)
    best = np.asarray(found.arrays["mine_best"])
    assert np.flatnonzero(best >= 0.95).tolist() == [1, 4, 6]
    sensitivity = found.tables["sensitivity"]
    levels = sensitivity.column("threshold")
    assert levels == sorted({*overlap.THRESHOLDS, 0.95})
    assert sensitivity.column("shared") == [int((best >= level).sum()) for level in levels]
    nearest = found.tables["nearest"].column("correlation")
    assert nearest == pytest.approx(sorted(best.tolist(), reverse=True)[: overlap.DRAWN])


def test_a_target_with_two_splits_lists_the_rows_of_each(data: Path) -> None:
    val = [picture(701), picture(702), picture(10)]
    prepared(data / "targets" / "two", [picture(700), picture(2)], val)
    assert measured(data).facts["duplicates"] == {"two": {"train": [1], "val": [2]}}


def test_several_targets_are_kept_apart(data: Path) -> None:
    plant(data)
    alone = measured(data)
    prepared(data / "targets" / "first", [picture(800), picture(11), picture(0)[:, ::-1]], [])
    both = measured(data)
    assert both.facts["duplicates"] == {"first": [1, 2], "mine": [1, 4, 6]}
    assert both.estimates["source_repeated"].value == both.estimates["first_repeated"].value == 0
    np.testing.assert_array_equal(both.arrays["mine_best"], alone.arrays["mine_best"])


def test_repeats_inside_a_set(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(data)
    prepared(data / "prepared", [picture(i) for i in range(4)], [picture(2), picture(50)])
    found = measured(data)
    rows = {row[0]: row for row in found.tables["repeats"].rows}
    assert rows["source"][1:5] == [6, 2, 1, 1]  # one picture twice, across train and val
    assert rows["mine"][1:5] == [10, 2, 1, 0]
    monkeypatch.setattr(overlap, "REPEATS_LIMIT", 7)
    skipped = measured(data)
    counts = {row[0]: row[2] for row in skipped.tables["repeats"].rows}
    assert counts == {"source": 2, "mine": None}
    assert "mine_repeated" not in skipped.estimates


def test_reading_the_source_block_by_block_finds_the_same(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(data)
    whole = measured(data)
    monkeypatch.setattr(overlap, "READ", 5)
    monkeypatch.setattr(overlap, "REPEATS_LIMIT", 0)
    parts = measured(data)
    assert parts.facts["duplicates"] == whole.facts["duplicates"]
    np.testing.assert_array_equal(parts.arrays["mine_best"], whole.arrays["mine_best"])


def test_long_lists_are_cut(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "LISTED", 5)
    same = picture(1)
    prepared(data / "prepared", [same, picture(2), same], [picture(3)])
    prepared(data / "targets" / "twins", [same] * 4, [])
    found = measured(data)
    assert len(found.tables["pairs"].rows) == 5
    assert found.facts["pairs"] == 8


def test_images_smaller_than_the_comparison_are_compared_at_their_own_size(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(data)
    monkeypatch.setattr(overlap, "SIDE", 64)
    found = measured(data)
    assert found.facts["side"] == SIZE
    assert found.facts["duplicates"] == {"mine": [1, 4, 6]}


def test_the_measurement_is_told_and_repeats(data: Path, root: Path, tmp_path: Path) -> None:
    (tmp_path / "paper").symlink_to(root / "paper")
    plant(data)
    prepared(data / "targets" / "caltech101", [picture(900), picture(901)], [])
    for name in ("one", "two"):
        save(measured(data), tmp_path / name, tmp_path / f"{name}.json")
    for file in (tmp_path / "one").rglob("*.*"):
        again = tmp_path / "two" / file.relative_to(tmp_path / "one")
        assert again.read_bytes() == file.read_bytes()
    results = Results(tmp_path / "one", tmp_path)
    drawn = {figure.name: figure.draw() for figure in telling.figures(results)}
    assert telling.CARD in drawn
    pixels = np.asarray(drawn["overlap_pairs"])
    assert (pixels == (232, 56, 79)).all(-1).any()  # red frames
    shown = telling.tables(results)
    rows = shown["shared"].rows(results.tables["shared"])
    assert [row[-3:] for row in rows] == [[44, 9144, 10], [None] * 3]
    for name, each in shown.items():
        assert all(len(row) == len(each.headings) for row in each.rows(results.tables[name]))
    words = page("overlap", results)
    assert "of 10 images, 3" in words
    assert "None" not in words


def test_without_targets_there_is_nothing_to_compare(
    data: Path, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "paper").symlink_to(root / "paper")
    found = measured(data)
    assert found.facts["duplicates"] == {}
    save(found, tmp_path / "out", tmp_path / "out.json")
    results = Results(tmp_path / "out", tmp_path)
    assert telling.figures(results) == []
    assert telling.tables(results)["repeats"].rows(results.tables["repeats"])
    assert "No target is run" in page("overlap", results)
