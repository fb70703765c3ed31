"""The sets that a net is tried on: found, fetched, read, prepared; and what is said otherwise."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from data_trees import drawn, labelled, write

from zfnet.data import targets
from zfnet.data.multilabel import labels_of
from zfnet.data.prepare import prepare
from zfnet.data.sample import Source
from zfnet.data.scan import check_scan
from zfnet.data.sources import caltech, voc
from zfnet.data.sources.caltech import CALTECH_101, CALTECH_256, caltech_source
from zfnet.data.sources.voc import CLASSES, voc_source
from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.pipeline.options import TargetOptions


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFNET_WORKERS", "1")


def config(**sections: dict[str, Any]) -> SimpleNamespace:
    """What the stage receives: targets by name."""
    small = {"run": True, "size": 16, "max_bad_fraction": 0.01, "images": 24}
    whole = {name: TargetOptions(**{**small, **changes}) for name, changes in sections.items()}
    return SimpleNamespace(targets=whole)


def paths(folder: Path) -> SimpleNamespace:
    return SimpleNamespace(
        targets=folder / "data/targets",
        target_scans=folder / "data/target_scans",
        data_root=folder / "root",
    )


# -- Caltech ---------------------------------------------------------------------------------------


def tree_101(root: Path, each: int = 2) -> Path:
    for number, name in enumerate(("BACKGROUND_Google", "Faces_easy", "ant")):
        for i in range(1, each + 1):
            write(root / "101_ObjectCategories" / name / f"image_{i:04d}.jpg", 10 * number + i)
    return root


def tree_256(root: Path) -> Path:
    for number, name in enumerate(("002.american-flag", "056.dog", "257.clutter"), 1):
        for i in range(1, 3):
            write(
                root / "256_ObjectCategories" / name / f"{number:03d}_{i:04d}.jpg", 10 * number + i
            )
    return root


def test_caltech_101_leaves_the_background_out(tmp_path: Path) -> None:
    source = caltech_source(tree_101(tmp_path), CALTECH_101, section="targets.c")
    assert isinstance(source, Source)
    assert source.name == "caltech101"
    assert [c.name for c in source.classes] == ["Faces easy", "ant"]
    files = [f"{name}/image_000{i}.jpg" for name in ("Faces_easy", "ant") for i in (1, 2)]
    assert labelled(source) == list(zip(files, (0, 0, 1, 1), strict=True))
    assert labelled(source, "val") == []
    inside = caltech_source(tmp_path / "101_ObjectCategories", CALTECH_101, section="targets.c")
    assert labelled(inside) == labelled(source)


def test_caltech_keeps_the_background_where_asked(tmp_path: Path) -> None:
    source = caltech_source(tree_101(tmp_path), CALTECH_101, background=True, section="targets.c")
    assert [c.id for c in source.classes] == ["BACKGROUND_Google", "Faces_easy", "ant"]
    clutter = caltech_source(tree_256(tmp_path), CALTECH_256, background=True, section="targets.c")
    assert [c.name for c in clutter.classes] == ["american flag", "dog", "clutter"]


def test_caltech_256_takes_only_its_own_pictures(tmp_path: Path) -> None:
    """Stray files and folders lie between those of the published archive."""
    folder = tree_256(tmp_path) / "256_ObjectCategories"
    (folder / "056.dog" / "RENAME").write_text("no picture")
    write(folder / "056.dog" / "deeper" / "056_0001.jpg", 5)
    (folder / "notes").mkdir()
    source = caltech_source(tmp_path, CALTECH_256, section="targets.c")
    assert [c.id for c in source.classes] == ["002.american-flag", "056.dog"]
    names = ["001_0001", "001_0002", "002_0001", "002_0002"]
    assert [Path(id).stem for id, _ in labelled(source)] == names


def test_a_folder_that_is_no_such_set_is_told(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(UserError, match=r"targets\.c\.path: looked for 101_ObjectCategories/ .* 1"):
        caltech_source(tmp_path, CALTECH_101, section="targets.c")
    (tmp_path / "two").mkdir()
    with pytest.raises(UserError, match=r"one: the class folder holds no images"):
        caltech_source(tmp_path, CALTECH_101, section="targets.c")
    with pytest.raises(UserError, match=r"targets\.c\.path: no folder at"):
        caltech_source(tmp_path / "nowhere", CALTECH_101, section="targets.c")


# -- PASCAL VOC ------------------------------------------------------------------------------------


def annotation(*objects: tuple[str, int, tuple[int, int, int, int]]) -> str:
    """XML of objects as (class, difficult, (xmin, ymin, xmax, ymax)), with a part inside one."""
    told = "".join(
        f"<object><name>{name}</name><difficult>{hard}</difficult><bndbox>"
        f"<xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
        "</bndbox></part></object>"
        for name, hard, b in objects
    )
    return f"<annotation><size><width>30</width></size>{told}</annotation>"


PHOTOS = {
    "a": (("dog", 0, (1, 1, 10, 10)), ("person", 0, (2, 2, 20, 20)), ("dog", 1, (1, 1, 30, 20))),
    "b": (("cat", 1, (3, 4, 28, 19)), ("boat", 0, (1, 1, 5, 5))),
    "c": (("cat", 1, (1, 1, 9, 9)), ("car", 1, (1, 1, 12, 12))),
    "d": (("sofa", 0, (1, 1, 6, 6)), ("bird", 0, (11, 11, 16, 16))),
}


def tree_voc(root: Path, year: int, sets: dict[str, str]) -> Path:
    """A tree of VOC<year> with the photos of each image set, e.g. {"train": "ab"}."""
    folder = root / "VOCdevkit" / f"VOC{year}"
    lists = folder / "ImageSets" / "Main"
    for sub in (lists, folder / "Annotations"):
        sub.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate("".join(sets.values())):
        write(folder / "JPEGImages" / f"{name}.jpg", seed)
        (folder / "Annotations" / f"{name}.xml").write_text(annotation(*PHOTOS[name]))
    for image_set, names in sets.items():
        (lists / f"{image_set}.txt").write_text("".join(f"{name}\n" for name in names))
        for id in CLASSES:
            rows = []
            for name in names:
                hard = [difficult for found, difficult, _ in PHOTOS[name] if found == id]
                rows.append(f"{name} {-1 if not hard else 0 if all(hard) else 1:2d}\n")
            (lists / f"{id}_{image_set}.txt").write_text("".join(rows))
    return root


def test_voc_labels(tmp_path: Path) -> None:
    source = voc_source(tree_voc(tmp_path, 2012, {"train": "abc", "val": "d"}), 2012, section="t.v")
    assert isinstance(source, Source)
    assert source.name == "voc2012"
    assert len(source.classes) == 20
    assert source.classes[10].name == "dining table"
    a, b, c = source.splits()["train"]
    (d,) = source.splits()["val"]
    # The largest clear box is the person's; the largest of all is a difficult dog's.
    assert (a.id, source.classes[a.label].id) == ("JPEGImages/a.jpg", "person")
    assert a.box == (1.0, 1.0, 20.0, 20.0)
    assert a.attributes == {"present": "dog person", "difficult": ""}
    assert source.classes[b.label].id == "boat"
    assert b.attributes == {"present": "boat", "difficult": "cat"}
    # Nothing is clear: the largest of all boxes names the class, which counts as neither.
    assert source.classes[c.label].id == "car"
    assert c.attributes == {"present": "", "difficult": "car cat"}
    assert source.classes[d.label].id == "sofa"  # of equal boxes the first


def test_voc_2007_is_trained_on_trainval_and_scored_on_test(tmp_path: Path) -> None:
    tree_voc(tmp_path, 2007, {"trainval": "ab", "test": "cd", "train": "a", "val": "b"})
    source = voc_source(tmp_path / "VOCdevkit" / "VOC2007", 2007, section="t.v")
    assert [id for id, _ in labelled(source)] == ["JPEGImages/a.jpg", "JPEGImages/b.jpg"]
    assert [id for id, _ in labelled(source, "val")] == ["JPEGImages/c.jpg", "JPEGImages/d.jpg"]


def test_voc_prepared_and_read_back(tmp_path: Path) -> None:
    source = voc_source(tree_voc(tmp_path, 2012, {"train": "abc", "val": "d"}), 2012, section="t.v")
    prepare(source, tmp_path / "out", size=16)
    prepared = Prepared.open(tmp_path / "out")
    present, difficult = labels_of(prepared, "train")
    names = [info.id for info in prepared.classes]
    shown, unclear = (
        [[names[i] for i in np.flatnonzero(row)] for row in rows] for rows in (present, difficult)
    )
    assert shown == [["dog", "person"], ["boat"], []]
    assert unclear == [[], ["cat"], ["car", "cat"]]
    assert labels_of(prepared, "val")[0].sum() == 2
    prepare(drawn(), tmp_path / "plain", size=16)
    with pytest.raises(UserError, match="no attributes difficult and present"):
        labels_of(Prepared.open(tmp_path / "plain"), "train")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("ImageSets/Main/dog_train.txt", "a 1\n", r"dog_train\.txt: says nothing of b, c"),
        ("ImageSets/Main/dog_train.txt", "a 1\nb x\nc 1\n", r"dog_train\.txt: expected lines"),
        ("Annotations/b.xml", "<annotation>", r"b\.xml: cannot be read as an annotation"),
        ("Annotations/b.xml", annotation(("zebra", 0, (1, 1, 2, 2))), r"b\.xml: names no object"),
        ("ImageSets/Main/val.txt", None, r"val\.txt: cannot be read"),
    ],
)
def test_voc_says_what_does_not_fit(
    tmp_path: Path, file: str, text: str | None, message: str
) -> None:
    tree_voc(tmp_path, 2012, {"train": "abc", "val": "d"})
    with pytest.raises(UserError, match=r"t\.v\.path: looked for VOCdevkit/VOC2007/"):
        voc_source(tmp_path, 2007, section="t.v")
    broken = tmp_path / "VOCdevkit/VOC2012" / file
    if text is None:
        broken.unlink()
    else:
        broken.write_text(text)
    with pytest.raises(UserError, match=message):
        voc_source(tmp_path, 2012, section="t.v")


# -- the stage -------------------------------------------------------------------------------------


def test_only_targets_that_run_are_prepared(tmp_path: Path) -> None:
    cfg = config(
        unseen={"source": "unseen", "size": 48}, caltech101={"source": "caltech101", "run": False}
    )
    facts = targets.run(cfg, paths(tmp_path))
    assert list(facts["targets"]) == ["unseen"]
    prepared = Prepared.open(tmp_path / "data/targets/unseen")
    assert facts["targets"]["unseen"] == {
        "images_train": 24,
        "images_val": 0,
        "classes": 12,
        "upsampled": 0,
        "quarantined": 0,
        "fingerprint": prepared.meta.fingerprint,
    }
    assert prepared.meta.source == "unseen"
    assert check_scan(tmp_path / "data/target_scans/unseen.parquet").folder is None


def test_an_empty_val_split_is_read_as_empty(tmp_path: Path) -> None:
    targets.run(config(unseen={"source": "unseen", "size": 48}), paths(tmp_path))
    prepared = Prepared.open(tmp_path / "data/targets/unseen")
    val, train = prepared.split("val"), prepared.split("train")
    assert (len(val), len(val.labels), val.ids) == (0, 0, [])
    assert val.images([]).shape == (0, 48, 48, 3)
    assert val.boxes is None or val.boxes.shape == (0, 4)
    assert not any(len(values) for values in val.attributes.values())
    mean = train.images(np.arange(24)).astype(np.float64).mean(0).transpose(2, 0, 1)
    np.testing.assert_allclose(prepared.mean, mean, atol=1e-4)


def test_what_an_earlier_run_left_goes(tmp_path: Path) -> None:
    place = paths(tmp_path)
    both = {"unseen": {"source": "unseen", "size": 48}, "more": {"source": "unseen", "size": 48}}
    targets.run(config(**both), place)
    (place.targets / "mine").mkdir()
    both["more"]["run"] = False
    assert list(targets.run(config(**both), place)["targets"]) == ["unseen"]
    assert sorted(entry.name for entry in place.targets.iterdir()) == ["mine", "unseen"]
    assert [entry.name for entry in place.target_scans.iterdir()] == ["unseen.parquet"]
    both["unseen"]["run"] = False
    assert targets.run(config(**both), place) == {"targets": {}}
    assert place.targets.is_dir()


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    for i, name in enumerate(("cup", "spoon", "cup", "spoon")):
        write(tmp_path / "root/raw/kitchen" / name / f"{i}.png", i)
    targets.run(config(kitchen={"path": "kitchen"}), paths(tmp_path))
    assert not check_scan(tmp_path / "data/target_scans/kitchen.parquet")
    prepared = Prepared.open(tmp_path / "data/targets/kitchen")
    assert [info.id for info in prepared.classes] == ["cup", "spoon"]
    assert prepared.split("train").ids == ["cup/0.png", "cup/2.png", "spoon/1.png", "spoon/3.png"]
    with pytest.raises(UserError, match=r"targets\.kitchen\.path: name the folder"):
        targets.run(config(kitchen={}), paths(tmp_path))
    with pytest.raises(UserError, match=r"targets\.kitchen\.path: no folder at .*raw/attic or"):
        targets.run(config(kitchen={"path": "attic"}), paths(tmp_path))
    shutil.rmtree(tmp_path / "root/raw/kitchen/cup")
    with pytest.raises(UserError, match=r"targets\.kitchen\.path: looked for one folder of"):
        targets.run(config(kitchen={"path": "kitchen"}), paths(tmp_path))


def test_a_missing_target_is_told_before_another_is_prepared(tmp_path: Path) -> None:
    cfg = config(unseen={"source": "unseen", "size": 48}, caltech101={"source": "caltech101"})
    place = tmp_path / "root/raw/caltech101/101_ObjectCategories"
    ways = ("download=true", "path", "run=false")
    message = f"{place}.*" + ".*".join(rf"targets\.caltech101\.{way}" for way in ways)
    with pytest.raises(UserError, match=message):
        targets.run(cfg, paths(tmp_path))
    assert not (tmp_path / "data").exists()


def test_too_many_bad_files_name_the_targets_own_key(tmp_path: Path) -> None:
    folder = tree_101(tmp_path / "root/raw/caltech101") / "101_ObjectCategories"
    (folder / "ant" / "image_0002.jpg").write_bytes(b"nothing")
    cfg = config(caltech101={"source": "caltech101"})
    with pytest.raises(UserError, match=r"targets\.caltech101\.max_bad_fraction=0.01 allows"):
        targets.run(cfg, paths(tmp_path))
    cfg = config(caltech101={"source": "caltech101", "max_bad_fraction": 0.5})
    facts = targets.run(cfg, paths(tmp_path))["targets"]["caltech101"]
    assert (facts["images_train"], facts["quarantined"]) == (3, 1)


# -- archives and downloads ------------------------------------------------------------------------


def packed(folder: Path, archive: Path, mode: str = "w") -> Path:
    """Pack a folder's content as .tar or .tar.gz."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, mode) as tar:
        for entry in sorted(folder.iterdir()):
            tar.add(entry, entry.name)
    return archive


def official_101(folder: Path, archive: Path) -> Path:
    """Caltech-101 as published: a zip that holds the pictures as .tar.gz."""
    inner = packed(folder, archive.parent / "inner.tar.gz", "w:gz")
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(inner, "caltech-101/101_ObjectCategories.tar.gz")
        zipped.writestr("caltech-101/show_annotation.m", "% not a picture")
        zipped.writestr("__MACOSX/caltech-101/._101_ObjectCategories.tar.gz", b"\0\5\x16\7")
    inner.unlink()
    return archive


@pytest.mark.parametrize("where", ["caltech101/caltech-101.zip", "caltech-101.zip"])
def test_an_archive_put_there_by_hand_is_unpacked(tmp_path: Path, where: str) -> None:
    archive = tmp_path / "root/raw" / where
    archive.parent.mkdir(parents=True)
    official_101(tree_101(tmp_path / "made"), archive)
    cfg = config(caltech101={"source": "caltech101"})
    assert targets.run(cfg, paths(tmp_path))["targets"]["caltech101"]["images_train"] == 4
    assert not list((tmp_path / "root/raw").glob(".*partial"))
    archive.unlink()
    assert targets.run(cfg, paths(tmp_path))["targets"]["caltech101"]["images_train"] == 4


def test_caltech_256_and_voc_from_archives(tmp_path: Path) -> None:
    raw = tmp_path / "root/raw"
    packed(tree_256(tmp_path / "made"), raw / "256_ObjectCategories.tar")
    packed(tree_voc(tmp_path / "v1", 2007, {"trainval": "ab"}), raw / "VOCtrainval_06-Nov-2007.tar")
    cfg = config(c={"source": "caltech256"}, v={"source": "voc", "year": 2007})
    with pytest.raises(UserError, match=r"PASCAL VOC 2007 \(test\) is not at .*VOCtest_06-Nov"):
        targets.run(cfg, paths(tmp_path))
    packed(tree_voc(tmp_path / "v2", 2007, {"test": "cd"}), raw / "VOCtest_06-Nov-2007.tar")
    facts = targets.run(cfg, paths(tmp_path))["targets"]
    assert facts["c"]["images_train"] == 4
    assert (facts["v"]["images_train"], facts["v"]["images_val"]) == (2, 2)
    assert not list(raw.glob(".*partial"))


def test_broken_and_foreign_archives_are_told(tmp_path: Path) -> None:
    archive = tmp_path / "root/raw/256_ObjectCategories.tar"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"no archive")
    cfg = config(c={"source": "caltech256"})
    with pytest.raises(UserError, match=r"256_ObjectCategories\.tar: cannot be unpacked"):
        targets.run(cfg, paths(tmp_path))
    packed(tree_101(tmp_path / "made"), archive)
    with pytest.raises(UserError, match=r"holds no 256_ObjectCategories, so it is not"):
        targets.run(cfg, paths(tmp_path))
    assert sorted(entry.name for entry in archive.parent.iterdir()) == [archive.name]


class Downloads:
    """Stands for torchvision's data sets: writes what the real ones would, notes the calls."""

    def __init__(self, trees: dict[str, Any]) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.trees = trees

    def named(self, name: str) -> Any:
        def fetch(**options: Any) -> None:
            self.calls.append((name, options))
            assert options["download"] is True
            self.trees[name](Path(options["root"]), options)

        return fetch


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Downloads:
    import torchvision.datasets

    def pascal(root: Path, options: dict[str, Any]) -> None:
        sets = {"trainval": {"trainval": "ab", "train": "a", "val": "b"}, "test": {"test": "cd"}}
        tree_voc(root, int(options["year"]), sets[options["image_set"]])

    made = Downloads(
        {
            "Caltech101": lambda root, _: tree_101(root / "caltech101"),
            "Caltech256": lambda root, _: tree_256(root / "caltech256"),
            "VOCDetection": pascal,
        }
    )
    for name in made.trees:
        monkeypatch.setattr(torchvision.datasets, name, made.named(name))
    return made


def test_torchvision_downloads_once(tmp_path: Path, downloads: Downloads) -> None:
    cfg = config(
        a={"source": "caltech101", "download": True},
        b={"source": "caltech256", "download": True},
        c={"source": "voc", "year": 2007, "download": True},
        d={"source": "voc", "year": 2012, "download": True},
    )
    facts = targets.run(cfg, paths(tmp_path))["targets"]
    assert [facts[name]["images_train"] for name in "abcd"] == [4, 4, 2, 1]
    assert [facts[name]["images_val"] for name in "abcd"] == [0, 0, 2, 1]
    told = [(name, o.get("year"), o.get("image_set")) for name, o in downloads.calls]
    assert told == [
        ("Caltech101", None, None),
        ("Caltech256", None, None),
        ("VOCDetection", "2007", "trainval"),
        ("VOCDetection", "2007", "test"),
        ("VOCDetection", "2012", "trainval"),
    ]
    targets.run(cfg, paths(tmp_path))
    assert len(downloads.calls) == 5
    assert not list((tmp_path / "root/raw").glob(".*partial"))


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("File not found")])
def test_a_failed_download_says_what_to_do_by_hand(
    tmp_path: Path, downloads: Downloads, error: Exception
) -> None:
    def fail(root: Path, options: dict[str, Any]) -> None:
        (root / "caltech101" / "101_ObjectCategories").mkdir(parents=True)
        raise error

    downloads.trees["Caltech101"] = fail
    cfg = config(caltech101={"source": "caltech101", "download": True})
    with pytest.raises(UserError, match=r"could not be downloaded .*By hand: fetch caltech101/"):
        targets.run(cfg, paths(tmp_path))
    # What the attempt left is not taken for the set.
    assert not (tmp_path / "root/raw/caltech101/101_ObjectCategories").exists()


def test_torchvisions_own_names_and_addresses_are_those_that_we_tell(tmp_path: Path) -> None:
    """By hand must mean the same files as by torchvision."""
    import inspect

    from torchvision.datasets import Caltech101, Caltech256
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    for edition, official in ((CALTECH_101, Caltech101), (CALTECH_256, Caltech256)):
        part = caltech.to_fetch(edition)
        text = inspect.getsource(official)
        assert Path(part.archives[0]).name in text
        assert part.page in text
        assert part.marker.name in text
    archives = [part.archives[0] for year in (2007, 2012) for part in voc.to_fetch(year)]
    keys = ("2007", "2007-test", "2012")
    assert archives == [DATASET_YEAR_DICT[key]["filename"] for key in keys]
