"""Preparing is exact, repeatable byte for byte, all or nothing, and accounts for every file."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from data_trees import Drawn, drawn, picture, split_tree, write
from PIL import Image

from zfnet.data import prepare as module
from zfnet.data.decode import open_upright
from zfnet.data.prepare import default_workers, prepare, to_prepared
from zfnet.data.sample import ClassInfo, Sample, Source
from zfnet.data.scan import check_scan
from zfnet.data.sources.files import FileSamples
from zfnet.data.sources.folder import folder_source
from zfnet.data.store import Prepared
from zfnet.errors import UserError


def digests(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}


def decoded(path: Path) -> np.ndarray:
    return np.asarray(open_upright(path)[0])


def test_folder_holds_what_was_promised(tmp_path: Path) -> None:
    meta = prepare(one(picture(0, 15, 90)), tmp_path / "prepared", size=16, workers=1)
    names = "index.parquet mean.npy meta.json quarantine.csv train.arrow val.arrow"
    assert sorted(p.name for p in (tmp_path / "prepared").iterdir()) == names.split()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prepared", "scan.parquet"]
    assert Prepared.open(tmp_path / "prepared").meta == meta
    assert meta.splits == {"train": 12, "val": 6}
    assert meta.classes[1] == ClassInfo(1, "c1", "class 1")
    assert (meta.attributes, meta.part_names) == (["scale", "texture"], ["nose"])
    index = pq.read_table(tmp_path / "prepared/index.parquet").to_pydict()
    assert index["split"] == ["train"] * 12 + ["val"] * 6
    assert index["row"] == [*range(12), *range(6)]
    assert index["id"][12] == "val/0"
    assert meta.upsampled == {"train": 1, "val": 0}
    assert index["upsampled"] == [True] + [False] * 17
    assert (index["source_width"][0], index["source_height"][0]) == (90, 15)
    assert not (tmp_path / "prepared/meta.json").read_text().count(str(tmp_path))


@pytest.mark.parametrize(("store", "more"), [("raw", 2), ("jpeg", 1)])
def test_repeated_is_identical_with_any_number_of_workers(
    tmp_path: Path, store: str, more: int
) -> None:
    source = folder_source(split_tree(tmp_path / "tree", each=40))
    (tmp_path / "tree/train/cat/bad.jpg").write_bytes(b"no picture")
    runs = []
    for i, workers in enumerate((1, more)):
        out = tmp_path / f"run{i}" / "prepared"
        prepare(source, out, size=24, store=store, workers=workers, max_bad_fraction=0.1)
        runs.append(digests(out))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("store", ["raw", "jpeg"])
def test_mean_is_that_of_the_stored_training_pixels(tmp_path: Path, store: str) -> None:
    prepare(drawn(train=70), tmp_path / "p", size=16, store=store, workers=1)
    prepared = Prepared.open(tmp_path / "p")
    stored = prepared.split("train").images(range(70)).astype(np.float64)
    assert prepared.mean.shape == (3, 16, 16)
    assert prepared.mean.dtype == np.float32
    assert np.array_equal(prepared.mean, stored.mean(0).transpose(2, 0, 1).astype(np.float32))


def test_fingerprint_tells_apart_what_matters(tmp_path: Path) -> None:
    def fingerprint(source: Drawn, **options: object) -> str:
        return prepare(source, tmp_path / "p", workers=1, **{"size": 16, **options}).fingerprint

    base = fingerprint(drawn())
    assert fingerprint(drawn()) == base
    changed = drawn()
    changed.samples["val"][3].image[0, 0, 0] ^= 1  # type: ignore[index]
    relabelled = drawn()
    relabelled.samples["train"][0].label = 2
    renamed = drawn()
    renamed.classes[0] = ClassInfo(0, "c0", "another name")
    moved = drawn()
    moved.samples["train"][1].box = (1.0, 2.0, 9.0, 11.0)
    others = [fingerprint(s) for s in (changed, relabelled, renamed, moved)]
    others += [fingerprint(drawn(), size=20), fingerprint(drawn(), store="jpeg")]
    assert len({base, *others}) == 7


def one(image: np.ndarray, **facts: object) -> Drawn:
    """A source whose first training image is `image`, with the given facts."""
    source = drawn()
    source.samples["train"][0] = Sample("it", 0, image=image, **facts)  # type: ignore[arg-type]
    return source


@pytest.mark.parametrize(("height", "width"), [(40, 80), (80, 40), (40, 40), (20, 60)])
def test_boxes_and_parts_follow_the_pixels(tmp_path: Path, height: int, width: int) -> None:
    """A bright square drawn in the source is where its box and part say, after scaling."""
    image = np.zeros((height, width, 3), np.uint8)
    y, x, side = height // 2 - 2, width // 2 + 1, 4
    image[y : y + side, x : x + side] = 255
    source = one(image, box=(x, y, x + side, y + side), parts={"nose": (x + 2.0, y + 2.0)})
    prepare(source, tmp_path / "p", size=80, workers=1)
    split = Prepared.open(tmp_path / "p").split("train")
    weight = split.image(0)[..., 0].astype(float)
    ys, xs = np.mgrid[0:80, 0:80] + 0.5
    centre = [(weight * xs).sum() / weight.sum(), (weight * ys).sum() / weight.sum()]
    assert split.parts["nose"][0] == pytest.approx(centre, abs=0.2)
    assert split.boxes is not None
    box = split.boxes[0]
    assert [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] == pytest.approx(centre, abs=0.2)
    assert box[2] - box[0] == pytest.approx(side * 80 / min(height, width))


def test_what_lies_outside_the_square_is_cut_or_unknown(tmp_path: Path) -> None:
    image = picture(0, 20, 60)  # the square is x 20..40
    source = one(image, box=(10, 5, 30, 15), parts={"nose": (5.0, 5.0)})
    source.samples["train"][1] = Sample("b", 0, image=image, box=(0, 5, 9, 15))
    source.samples["train"][2] = Sample("c", 0, image=image, parts={"nose": (30.0, 10.0)})
    prepare(source, tmp_path / "p", size=10, workers=1)
    split = Prepared.open(tmp_path / "p").split("train")
    assert split.boxes is not None
    assert split.boxes[0].tolist() == [0, 2.5, 5, 7.5]
    assert np.isnan(split.boxes[1:3]).all()
    assert np.isnan(split.parts["nose"][:2]).all()
    assert split.parts["nose"][2].tolist() == [5, 5]
    assert to_prepared(20, 0, 60, 20, 10) == (0, 0)


def test_boxes_follow_exif_orientation(tmp_path: Path) -> None:
    """Facts are given in the upright image, so turning the file does not move them."""
    upright = np.zeros((20, 40, 3), np.uint8)
    upright[4:8, 24:28] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(path, exif=exif)
    source = drawn()
    source.samples["train"][0] = Sample("it", 0, path=path, box=(24, 4, 28, 8))
    prepare(source, tmp_path / "p", size=20, workers=1)
    split = Prepared.open(tmp_path / "p").split("train")
    assert split.boxes is not None
    x0, y0, x1, y1 = split.boxes[0].astype(int)
    assert (x0, y0, x1, y1) == (14, 4, 18, 8)
    assert (split.image(0)[y0:y1, x0:x1] == 255).all()
    assert split.image(0).sum() == 16 * 255 * 3


# -- what goes wrong -----------------------------------------------------------------------------


def bad_tree(root: Path) -> Source:
    split_tree(root, each=10)
    (root / "train/cat/aaa.jpg").touch()
    buffer = io.BytesIO()
    Image.fromarray(picture(1)).save(buffer, "PNG")
    (root / "val/dog/cut.png").write_bytes(buffer.getvalue()[:900])
    (root / "train/dog/notes.txt").write_text("not a picture")
    return folder_source(root)


def test_quarantine_names_every_bad_file_and_shifts_no_label(tmp_path: Path) -> None:
    source = bad_tree(tmp_path / "tree")
    meta = prepare(source, tmp_path / "p", size=20, workers=1, max_bad_fraction=0.2)
    with (tmp_path / "p/quarantine.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["file"], r["split"]) for r in rows] == [
        ("train/cat/aaa.jpg", "train"),
        ("train/dog/notes.txt", "train"),
        ("val/dog/cut.png", "val"),
    ]
    assert rows[0]["reason"] == "empty file"
    assert "truncated" in rows[2]["reason"]
    assert meta.quarantined == 3
    assert meta.splits == {"train": 20, "val": 10}
    split = Prepared.open(tmp_path / "p").split("train")
    for i, (id, label) in enumerate(zip(split.ids, split.labels, strict=True)):
        assert id.startswith(f"train/{source.classes[label].id}/")
        assert np.array_equal(split.image(i), decoded(tmp_path / "tree" / id)[:, 5:25])


def test_too_many_bad_files(tmp_path: Path) -> None:
    source = bad_tree(tmp_path / "tree")
    out = tmp_path / "data" / "prepared"
    kept = out.parent / "quarantine.csv"
    message = rf"3 of 33 .*data\.max_bad_fraction=0\.05.*{kept}.*train/cat/aaa\.jpg: empty file"
    with pytest.raises(UserError, match=message):
        prepare(source, out, size=20, workers=1, max_bad_fraction=0.05)
    assert len(kept.read_text().splitlines()) == 4
    assert [p.name for p in out.parent.iterdir()] == ["quarantine.csv"]
    prepare(source, out, size=20, workers=1, max_bad_fraction=0.2)
    assert not kept.exists()


def test_class_whose_files_are_all_bad(tmp_path: Path) -> None:
    split_tree(tmp_path / "tree", each=50)
    for file in (tmp_path / "tree/val/cat").iterdir():
        file.write_bytes(b"x")
    with pytest.raises(UserError, match="no image of cat in val can be decoded"):
        prepare(
            folder_source(tmp_path / "tree"), tmp_path / "p", size=20, workers=1, max_bad_fraction=1
        )


def test_a_failed_run_leaves_the_old_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "prepared"
    (tmp_path / ".prepared.partial").mkdir()  # left by a run that was killed
    (tmp_path / ".prepared.partial/rubbish").touch()
    prepare(drawn(), out, size=16, workers=1)
    before = digests(out)
    assert "rubbish" not in before

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_judge", fail)
    with pytest.raises(KeyboardInterrupt):
        prepare(drawn(train=24), out, size=16, workers=1)
    assert digests(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prepared", "scan.parquet"]


def test_impossible_parameters(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.size: 0 is not between"):
        prepare(drawn(), tmp_path / "p", size=0)
    with pytest.raises(UserError, match="the split val has no images"):
        prepare(drawn(val=0), tmp_path / "p", size=16)
    with pytest.raises(UserError, match="one class is not enough"):
        prepare(drawn(classes=1), tmp_path / "p", size=16)


def test_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"18 raw images of 16 px need .* data\.store=jpeg"):
        prepare(drawn(), tmp_path / "p", size=16)


def test_workers_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFNET_WORKERS", "3")
    assert default_workers() == 3
    monkeypatch.setenv("ZFNET_WORKERS", "many")
    with pytest.raises(UserError, match="ZFNET_WORKERS: many"):
        default_workers()
    monkeypatch.delenv("ZFNET_WORKERS")
    assert default_workers() >= 1


# -- the scan ------------------------------------------------------------------------------------


def test_scan_finds_what_changed(tmp_path: Path) -> None:
    tree = split_tree(tmp_path / "tree")
    (tree / "train/cat/bad.jpg").touch()
    prepare(folder_source(tree), tmp_path / "p", size=16, workers=1, max_bad_fraction=0.5)
    scan = tmp_path / "scan.parquet"
    table = pq.read_table(scan).to_pydict()
    assert table["path"][0] == "train/cat/bad.jpg"  # quarantined files are watched, too
    assert table["size"][1] == (tree / "train/cat/cat_0.png").stat().st_size
    same = check_scan(scan)
    assert not same
    assert same.describe() == "13 source files as prepared"
    write(tree / "train/eel/new.png", 5)
    (tree / "val/cat/cat_0.png").unlink()
    os.utime(tree / "train/dog/dog_1.png", ns=(0, 0))
    found = check_scan(scan)
    assert found
    assert found.new == ["train/eel/new.png"]
    assert found.missing == ["val/cat/cat_0.png"]
    assert found.changed == ["train/dog/dog_1.png"]
    assert "1 changed (train/dog/dog_1.png), 1 missing" in found.describe()
    tree.rename(tmp_path / "gone")
    assert len(check_scan(scan).missing) == 13


@pytest.mark.parametrize("split_by", ["folders", "fraction"])
def test_files_beside_the_classes_are_not_new(tmp_path: Path, split_by: str) -> None:
    tree = split_tree(tmp_path / "tree")
    if split_by == "fraction":
        tree = tree / "train"
        tree.rename(tree.with_name("pets"))
        tree = tree.with_name("pets")
        shutil.rmtree(tree.with_name("val"))
    source = folder_source(tree, val_fraction=0.5 if split_by == "fraction" else None)
    prepare(source, tmp_path / "p", size=16, workers=1)
    classes = tree / "train" if split_by == "folders" else tree
    for name in ("README", "names.txt", "cat.tar"):
        (classes / name).touch()
    assert not check_scan(tmp_path / "scan.parquet")
    write(classes / "cat/new.png", 5)
    new = (classes / "cat/new.png").relative_to(tree).as_posix()
    assert check_scan(tmp_path / "scan.parquet").new == [new]


def test_new_files_of_a_flat_split_are_seen(tmp_path: Path) -> None:
    tree = split_tree(tmp_path / "tree")
    source = folder_source(tree)
    flat = sorted(path.name for path in (tree / "val/cat").iterdir())
    for name in flat:  # as ImageNet's val is unpacked
        (tree / "val/cat" / name).rename(tree / "val" / name)
    val = FileSamples(tree, [f"val/{name}" for name in flat], np.zeros(len(flat), np.int32))
    source = replace(source, samples={**source.samples, "val": val})
    prepare(source, tmp_path / "p", size=16, workers=1)
    assert check_scan(tmp_path / "scan.parquet").new == ["val/dog/dog_0.png", "val/dog/dog_1.png"]
    write(tree / "val/new.png", 5)
    assert "val/new.png" in check_scan(tmp_path / "scan.parquet").new


def test_scan_of_a_rendered_source(tmp_path: Path) -> None:
    prepare(drawn(), tmp_path / "p", size=16, workers=1, scan=tmp_path / "other.parquet")
    assert check_scan(tmp_path / "other.parquet").describe() == (
        "rendered source, no files to compare"
    )
    with pytest.raises(UserError, match="no record of the source files"):
        check_scan(tmp_path / "scan.parquet")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    tree = split_tree(tmp_path / "tree")
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (tree / "train/cat/cat_0.png").rename(tree / "train/cat" / name)
    except OSError:
        pytest.skip("this file system refuses such names")
    prepare(folder_source(tree), tmp_path / "p", size=16, workers=1)
    assert "train/cat/caf\\udce9.png" in Prepared.open(tmp_path / "p").split("train").ids
    assert not check_scan(tmp_path / "scan.parquet")
