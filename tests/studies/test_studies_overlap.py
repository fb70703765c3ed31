"""Planted duplicates are found, counted, listed and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zfnet.data.prepare import prepare
from zfnet.data.sample import ClassInfo, Sample
from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.studies import overlap
from zfnet.studies.overlap import Options, Photos
from zfnet.studies.result import load_result, save_result

SIZE = 32
OPTIONS = Options(side=16, drawn=3)


def picture(seed: int) -> np.ndarray:
    """A random picture of 4 px blocks, (32, 32, 3)."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return small.repeat(4, 0).repeat(4, 1)


def made(folder: Path, train: list[np.ndarray], val: list[np.ndarray], classes: int = 2) -> Photos:
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
    return Photos(Prepared.open(folder), folder.name)


@pytest.fixture
def source(tmp_path: Path) -> Photos:
    """Eight train and four val images, all different."""
    photos = made(
        tmp_path / "prepared", [picture(i) for i in range(8)], [picture(i) for i in range(8, 12)]
    )
    photos.name = "source"
    return photos


@pytest.fixture
def target(tmp_path: Path) -> Photos:
    """Ten images. 1: copy of train 3; 4: val 9, paler; 6: train 5 mirrored; 7 repeats 2."""
    images = [picture(100 + i) for i in range(10)]
    images[1] = picture(3)
    images[4] = picture(9) // 2 + 60
    images[6] = picture(5)[:, ::-1]
    images[7] = images[2] // 2
    return made(tmp_path / "targets" / "mine", images, [])


def test_what_is_planted_is_found(source: Photos, target: Photos) -> None:
    result = overlap.study(source, [target], OPTIONS)
    assert result.extra["duplicates"] == {"mine": [1, 4, 6]}
    assert result.metrics["mine_shared"].value == 3
    assert result.metrics["mine_shared"].n == 10
    assert result.metrics["mine_most_in_a_class"].value == 2  # 4 and 6 are of class 0
    assert "class 0" in result.metrics["mine_most_in_a_class"].note
    assert result.metrics["mine_strongest"].value == 1
    columns = list(result.tables["pairs"].columns)
    rows = [dict(zip(columns, row, strict=True)) for row in result.tables["pairs"].rows]
    assert [(row["row"], row["source split"], row["source row"], row["mirrored"])
            for row in sorted(rows, key=lambda row: row["row"])] == [
        (1, "train", 3, False), (4, "val", 1, False), (6, "train", 5, True),
    ]  # fmt: skip
    assert all(row["correlation"] > 0.999 for row in rows)
    best = result.arrays["mine_best"]
    assert isinstance(best, np.ndarray)
    assert np.flatnonzero(best >= 0.95).tolist() == [1, 4, 6]
    np.testing.assert_array_equal(result.arrays["mine_pairs"], [[1, 3], [4, 9], [6, 5]])


def test_nothing_is_found_where_nothing_is_shared(tmp_path: Path, source: Photos) -> None:
    other = made(tmp_path / "other", [picture(500 + i) for i in range(6)], [])
    result = overlap.study(source, [other], OPTIONS)
    assert result.extra["duplicates"] == {"other": []}
    assert result.metrics["other_shared"].value == 0
    assert "pairs" not in result.tables
    assert result.metrics["source_repeated"].value == 0
    assert result.metrics["other_repeated"].value == 0


def test_without_mirroring_a_mirrored_copy_is_not_seen(source: Photos, target: Photos) -> None:
    result = overlap.study(source, [target], Options(side=16, mirror=False))
    assert result.extra["duplicates"] == {"mine": [1, 4]}


def test_a_target_with_two_splits_lists_the_rows_of_each(tmp_path: Path, source: Photos) -> None:
    two = made(
        tmp_path / "two", [picture(700), picture(2)], [picture(701), picture(702), picture(10)]
    )
    result = overlap.study(source, [two], OPTIONS)
    assert result.extra["duplicates"] == {"two": {"train": [1], "val": [2]}}


def test_several_targets_are_kept_apart(tmp_path: Path, source: Photos, target: Photos) -> None:
    first = made(tmp_path / "first", [picture(800), picture(11), picture(0)[:, ::-1]], [])
    result = overlap.study(source, [first, target], OPTIONS)
    assert result.extra["duplicates"] == {"first": [1, 2], "mine": [1, 4, 6]}
    alone = overlap.study(source, [target], OPTIONS)
    np.testing.assert_array_equal(result.arrays["mine_best"], alone.arrays["mine_best"])


def test_repeats_inside_a_set(tmp_path: Path, source: Photos, target: Photos) -> None:
    leaking = made(tmp_path / "leaking", [picture(i) for i in range(4)], [picture(2), picture(50)])
    leaking.name = "source"
    result = overlap.study(leaking, [target], OPTIONS)
    rows = {row[0]: row for row in result.tables["repeats"].rows}
    assert rows["source"][1:5] == [6, 2, 1, 1]  # one picture twice, across train and val
    assert rows["mine"][1:5] == [10, 2, 1, 0]
    assert result.extra["repeats"]["mine"].tolist() == [[2, 7]]
    skipped = overlap.study(leaking, [target], Options(side=16, within_limit=7))
    assert {row[0]: row[2] for row in skipped.tables["repeats"].rows} == {"source": 2, "mine": None}
    assert "mine_repeated" not in skipped.metrics
    off = overlap.study(leaking, [target], Options(side=16, within=False))
    assert "repeats" not in off.tables


def test_reading_the_source_block_by_block_finds_the_same(
    source: Photos, target: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = overlap.study(source, [target], OPTIONS)
    monkeypatch.setattr(overlap, "_READ", 5)
    parts = overlap.study(source, [target], Options(side=16, drawn=3, within_limit=0))
    assert parts.extra["duplicates"] == whole.extra["duplicates"]
    np.testing.assert_array_equal(parts.arrays["mine_best"], whole.arrays["mine_best"])


def test_the_sensitivity_table_counts_by_hand(source: Photos, target: Photos) -> None:
    result = overlap.study(source, [target], Options(side=16, thresholds=(0.3, 0.999)))
    best = np.asarray(result.arrays["mine_best"])
    rows = result.tables["sensitivity"].rows
    assert [row[1] for row in rows] == [0.3, 0.95, 0.999]
    assert [row[2] for row in rows] == [int((best >= t).sum()) for t in (0.3, 0.95, 0.999)]


def test_the_paper_stands_beside_ours_where_it_has_the_target(
    tmp_path: Path, source: Photos
) -> None:
    named = made(tmp_path / "caltech101", [picture(900), picture(901)], [])
    other = made(tmp_path / "other", [picture(902), picture(903)], [])
    reported = {"caltech101": {"shared": 44, "images": 9144, "most_in_a_class": 10}}
    result = overlap.study(source, [named, other], OPTIONS, reported=reported)
    assert [row[-3:] for row in result.tables["shared"].rows] == [[44, 9144, 10], [None] * 3]


def test_long_lists_are_cut_in_the_table_and_whole_in_the_array(tmp_path: Path) -> None:
    same = picture(1)
    photos = made(tmp_path / "one", [same, picture(2), same], [picture(3)])
    twins = made(tmp_path / "twins", [same] * 4, [])
    result = overlap.study(photos, [twins], Options(side=16, listed=5))
    assert len(result.tables["pairs"].rows) == 5
    assert "The 5 strongest of 8" in result.tables["pairs"].caption
    assert np.asarray(result.arrays["twins_pairs"]).shape == (8, 2)


def stage(tmp_path: Path, **options: Any) -> tuple[SimpleNamespace, SimpleNamespace]:
    values = {**Options.__dict__, **options}
    section = SimpleNamespace(**{name: values[name] for name in Options.__dataclass_fields__})
    cfg = SimpleNamespace(study=SimpleNamespace(overlap=section), device="cpu")
    root = Path(__file__).parents[2]
    paths = SimpleNamespace(prepared=tmp_path / "prepared", targets=tmp_path / "targets", root=root)
    return cfg, paths


def test_the_stage_writes_the_same_bytes_twice(
    tmp_path: Path, source: Photos, target: Photos
) -> None:
    cfg, paths = stage(tmp_path, side=16, thresholds=[0.5])
    for name in ("a", "b"):
        save_result(overlap.run(cfg, paths), tmp_path / name, tmp_path / f"{name}.json")
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert Path("figures/overlap_nearest.png") in files
    assert Path("figures/overlap_pairs.webp") in files
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    found = load_result(tmp_path / "a")
    assert found["extra"]["duplicates"] == {"mine": [1, 4, 6]}
    assert set(found["extra"]["headline"]) <= set(json.loads((tmp_path / "a.json").read_text()))
    assert found["extra"]["card"] in [figure["name"] for figure in found["figures"]]


def test_the_stage_without_targets_says_so(tmp_path: Path, source: Photos) -> None:
    cfg, paths = stage(tmp_path, side=16)
    result = overlap.run(cfg, paths)
    assert "No target is run" in result.text
    assert result.extra["duplicates"] == {}
    assert not result.figures
    save_result(result, tmp_path / "out", tmp_path / "out.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "a threshold of 0 is none"),
        ({"thresholds": (0.5, 1.5)}, "a threshold of 1.5 is none"),
        ({"mean": "median"}, r"study\.overlap\.mean=median: choose one of colour, image"),
        ({"side": 1}, r"study\.overlap\.side=1: must be 2 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Options(**options)


def test_cells_finer_than_the_images_are_refused(source: Photos, target: Photos) -> None:
    with pytest.raises(UserError, match=r"study\.overlap\.side=64: images of source have 32 px"):
        overlap.study(source, [target], Options(side=64))


def test_large_work_is_told_first(
    source: Photos,
    target: Photos,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    overlap.study(source, [target], OPTIONS)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(overlap, "LARGE", 1)
    overlap.study(source, [target], OPTIONS)
    told = capsys.readouterr().err
    assert "10 target images and their mirror images with 12 of the source" in told
    assert "operations" in told
    assert "about" in told
