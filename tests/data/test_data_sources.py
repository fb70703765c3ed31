"""Each source lists the right files under the right labels, and says what is wrong otherwise."""

from __future__ import annotations

import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from data_trees import data_config, labelled, split_tree, write
from scipy.io import savemat

from zfnet.data.sample import Source
from zfnet.data.sources import build_source
from zfnet.data.sources.folder import folder_source
from zfnet.data.sources.imagenet import imagenet_source
from zfnet.data.sources.imagenette import CLASS_NAMES, imagenette_source
from zfnet.errors import UserError

# -- folder --------------------------------------------------------------------------------------


def test_split_tree(tmp_path: Path) -> None:
    split_tree(tmp_path, ["zebra", "ant"], each=2)
    write(tmp_path / "train/ant/deeper/more.jpg", 9)
    (tmp_path / "train/ant/.DS_Store").touch()
    (tmp_path / "train/ant/Thumbs.db").touch()
    source = folder_source(tmp_path)
    assert isinstance(source, Source)
    assert [(c.index, c.id, c.name) for c in source.classes] == [
        (0, "ant", "ant"),
        (1, "zebra", "zebra"),
    ]
    assert labelled(source, "train") == [
        ("train/ant/ant_0.png", 0),
        ("train/ant/ant_1.png", 0),
        ("train/ant/deeper/more.jpg", 0),
        ("train/zebra/zebra_0.png", 1),
        ("train/zebra/zebra_1.png", 1),
    ]
    assert labelled(source, "val") == [("val/ant/ant_0.png", 0), ("val/zebra/zebra_0.png", 1)]
    samples = pickle.loads(pickle.dumps(source.splits()["val"]))  # goes to worker processes
    assert samples[0].path == tmp_path / "val/ant/ant_0.png"


def flat_tree(root: Path, each: int = 10) -> Path:
    for name in ("cat", "dog"):
        for i in range(each):
            write(root / name / f"{i}.png", i)
    return root


def test_flat_tree_is_split_by_hash(tmp_path: Path) -> None:
    source = folder_source(flat_tree(tmp_path), val_fraction=0.3)
    train, val = (labelled(source, split) for split in ("train", "val"))
    assert len(train) == 14
    assert sorted(train + val) == sorted((f"{n}/{i}.png", k) for k, n in enumerate(["cat", "dog"])
                                         for i in range(10))  # fmt: skip
    assert [label for _, label in val] == [0] * 3 + [1] * 3
    assert labelled(folder_source(tmp_path, val_fraction=0.3), "val") == val
    assert labelled(folder_source(tmp_path, val_fraction=0.3, seed=1), "val") != val
    shutil.copytree(tmp_path, tmp_path.parent / "moved")
    assert labelled(folder_source(tmp_path.parent / "moved", val_fraction=0.3), "val") == val
    write(tmp_path / "cat/new.png", 99)  # more images move few others
    after = {id for id, _ in labelled(folder_source(tmp_path, val_fraction=0.3), "val")}
    assert len({id for id, _ in val} - after) <= 1


def test_val_fraction_is_for_trees_without_splits(tmp_path: Path) -> None:
    source = folder_source(split_tree(tmp_path), val_fraction=0.3)
    assert [c.id for c in source.classes] == ["cat", "dog"]
    shutil.rmtree(tmp_path / "val")
    with pytest.raises(UserError, match="looked for val/"):
        folder_source(tmp_path, val_fraction=0.3)


@pytest.mark.parametrize("val_fraction", [None, 0.2])
def test_wrong_folder_says_which_was_meant(tmp_path: Path, val_fraction: float | None) -> None:
    tree = split_tree(tmp_path / "sets" / "pets")
    write(tree.parent / "loose" / "a.png", 0)
    write(tree.parent / "more" / "b.png", 0)
    for wrong in (tree.parent, tree / "train", tree / "val" / "cat"):
        with pytest.raises(UserError, match=f"looked for .* found .* set data.path={tree}\\."):
            folder_source(wrong, val_fraction=val_fraction)


def test_flat_tree_without_val_fraction_and_classes_of_one_image(tmp_path: Path) -> None:
    flat_tree(tmp_path, 2)
    with pytest.raises(UserError, match=r"2 folders \(cat, dog\).*data.val_fraction=0.2"):
        folder_source(tmp_path)
    (tmp_path / "cat/1.png").unlink()
    with pytest.raises(UserError, match="class cat: one image cannot be split"):
        folder_source(tmp_path, val_fraction=0.5)


def test_classes_must_have_images_and_agree(tmp_path: Path) -> None:
    split_tree(tmp_path, ["ant", "cat", "dog"])
    for split in ("train", "val"):
        (tmp_path / split / "eel").mkdir()
    with pytest.raises(UserError, match=r"train/eel: the class folder holds no images"):
        folder_source(tmp_path)
    (tmp_path / "train/eel").rmdir()
    with pytest.raises(UserError, match=r"1 class in val/ but not in train/: eel"):
        folder_source(tmp_path)
    (tmp_path / "val/eel").rmdir()
    shutil.rmtree(tmp_path / "val/ant")  # would shift the labels of val by one
    with pytest.raises(UserError, match=r"1 class in train/ but not in val/: ant"):
        folder_source(tmp_path)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("names.json", '{"cat": "tabby cat", "dog": "guide dog"}'),
        ("names.txt", "cat tabby cat\n\ndog guide dog\n"),
        ("names.tsv", "cat\ttabby cat\ndog\tguide dog\n"),
    ],
)
def test_class_names(tmp_path: Path, file: str, text: str) -> None:
    split_tree(tmp_path)
    (tmp_path / file).write_text(text)
    source = folder_source(tmp_path, class_names=tmp_path / file)
    assert [c.name for c in source.classes] == ["tabby cat", "guide dog"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("a.json", "[1]", "must hold one object"),
        ("a.json", "{", "is not JSON"),
        ("a.txt", "cat\n", "line 1: expected 'folder name'"),
        ("a.txt", "bird a bird\n", "names none of the class folders"),
    ],
)
def test_bad_class_names(tmp_path: Path, file: str, text: str, message: str) -> None:
    split_tree(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=message):
        folder_source(tmp_path, class_names=tmp_path / file)


# -- the registry --------------------------------------------------------------------------------


def test_paths_are_found_under_root_and_its_raw_folder(tmp_path: Path) -> None:
    split_tree(tmp_path / "raw" / "pets")
    for path in ("pets", "raw/pets", str(tmp_path / "raw/pets")):
        source = build_source(data_config(root=str(tmp_path), path=path))
        assert [c.id for c in source.classes] == ["cat", "dog"]
    with pytest.raises(UserError, match=r"raw/fish or .*/fish"):
        build_source(data_config(root=str(tmp_path), path="fish"))
    with pytest.raises(UserError, match=r"data\.path: name the folder"):
        build_source(data_config(root=str(tmp_path)))
    (tmp_path / "raw/pets/names.txt").write_text("cat tabby\n")
    source = build_source(data_config(root=str(tmp_path), path="pets", class_names="names.txt"))
    assert [c.name for c in source.classes] == ["tabby", "dog"]


# -- imagenette ----------------------------------------------------------------------------------


def test_imagenette_names(tmp_path: Path) -> None:
    split_tree(tmp_path / "raw/imagenette2-320", list(CLASS_NAMES), each=1)
    for path in (None, "imagenette2-320"):
        source = build_source(data_config(source="imagenette", root=str(tmp_path), path=path))
        assert [c.name for c in source.classes] == list(CLASS_NAMES.values())
        assert [c.id for c in source.classes] == sorted(CLASS_NAMES)
    assert source.name == "imagenette"


def test_imagenette_split_by_what_ilsvrc_trained_on(tmp_path: Path) -> None:
    place = tmp_path / "raw/imagenette2-320"
    for number, wnid in enumerate(CLASS_NAMES):
        write(place / f"train/{wnid}/{wnid}_1.png", 0)
        write(place / f"train/{wnid}/ILSVRC2012_val_{number}.png", 0)
        write(place / f"val/{wnid}/{wnid}_2.png", 0)
    config = data_config(source="imagenette", root=str(tmp_path), split="ilsvrc")
    source = build_source(config)
    train, val = (labelled(source, split) for split in ("train", "val"))
    assert [Path(name).name for name, _ in val] == [f"ILSVRC2012_val_{i}.png" for i in range(10)]
    assert [label for _, label in val] == list(range(10))
    assert [(Path(name).name, label) for name, label in train] == [
        (f"{wnid}_{i}.png", label) for label, wnid in enumerate(CLASS_NAMES) for i in (1, 2)
    ]
    next(place.rglob("ILSVRC2012_val_3.png")).unlink()
    with pytest.raises(UserError, match="n03000684"):
        build_source(config)


def test_imagenette_must_be_the_ten_classes(tmp_path: Path) -> None:
    nine = split_tree(tmp_path / "nine", list(CLASS_NAMES)[:9], each=1)
    with pytest.raises(UserError, match="lacks classes of Imagenette: n03888257"):
        imagenette_source(nine)
    with pytest.raises(UserError, match=r"no class of Imagenette: cat, dog.*data\.source=folder"):
        imagenette_source(split_tree(tmp_path / "pets"))
    for size, folder in ((16, "imagenette2-320"), (512, "imagenette2")):
        with pytest.raises(UserError, match=rf"{folder}\. Set data\.download=true"):
            build_source(data_config(source="imagenette", root=str(tmp_path), size=size))


@pytest.fixture
def torchvision_imagenette(monkeypatch: pytest.MonkeyPatch) -> type:
    """Stand in for torchvision's Imagenette (and spare the import of torchvision)."""
    import sys
    import types

    class Imagenette:
        fails: BaseException | None = None  # raised when three classes have been unpacked

        def __init__(self, root: str, split: str, size: str, download: bool) -> None:
            assert (split, download) == ("train", True)
            folder = Path(root) / {"320px": "imagenette2-320", "full": "imagenette2"}[size]
            if folder.exists():  # torchvision's own test of whether it is there
                return
            split_tree(folder, list(CLASS_NAMES)[: 3 if self.fails else 10], each=1)
            if self.fails:
                raise self.fails

    module = types.ModuleType("torchvision.datasets")
    module.Imagenette = Imagenette  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    return Imagenette


def test_interrupted_download_is_not_taken_for_the_whole(
    tmp_path: Path, torchvision_imagenette: type
) -> None:
    config = data_config(source="imagenette", root=str(tmp_path), download=True)
    torchvision_imagenette.fails = KeyboardInterrupt()  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        build_source(config)
    assert not (tmp_path / "raw/imagenette2-320").exists()
    for fails in (None, AssertionError("not again")):
        torchvision_imagenette.fails = fails  # type: ignore[attr-defined]
        assert len(build_source(config).splits()["train"]) == 10
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["imagenette2-320"]


def test_interrupted_unpacking_is_not_taken_for_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = split_tree(tmp_path / "elsewhere", list(CLASS_NAMES), each=2)
    (tmp_path / "raw").mkdir()
    with tarfile.open(tmp_path / "raw/imagenette2-320.tgz", "w:gz") as tar:
        tar.add(tree, "imagenette2-320")
    config = data_config(source="imagenette", root=str(tmp_path))

    def killed(tar: tarfile.TarFile, to: Path, **options: object) -> None:
        for member in tar.getmembers()[:30]:
            tar.extract(member, to, filter="data")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extractall", killed)
        with pytest.raises(KeyboardInterrupt):
            build_source(config)
    assert not (tmp_path / "raw/imagenette2-320").exists()
    (tmp_path / "raw/.imagenette2-320.partial/imagenette2-320/train/n00000000").mkdir()
    assert len(build_source(config).splits()["train"]) == 20


@pytest.mark.slow
def test_torchvision_still_names_them_so() -> None:
    from torchvision.datasets import Imagenette

    from zfnet.data.sources.imagenette import VARIANTS

    archives = {size: Path(url).stem for size, (url, _) in Imagenette._ARCHIVES.items()}
    assert VARIANTS.items() <= archives.items()
    assert sorted(Imagenette._WNID_TO_CLASS) == sorted(CLASS_NAMES)


# -- imagenet ------------------------------------------------------------------------------------

# The kit counts classes in an order of its own, not that of the wnids: here 1 is the last wnid.
KIT = [(1, "n03000003", "crane, hoist"), (2, "n01000001", "tench, Tinca tinca"),
       (3, "n02000002", "crane, bird"), (4, "n09000009", "animal")]  # fmt: skip
WNIDS = ["n01000001", "n02000002", "n03000003"]
TRUTH = [3, 1, 2, 2, 1]
IN_VAL = [WNIDS.index({i: w for i, w, _ in KIT}[t]) for t in TRUTH]


def write_kit(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = np.array([(i, w, words, 2 * (i == 4)) for i, w, words in KIT], dtype=kinds)
    savemat(folder / "meta.mat", {"synsets": rows.reshape(-1, 1)})
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, TRUTH)))


def imagenet_tree(root: Path) -> Path:
    """Training folders and a flat val."""
    for k, wnid in enumerate(WNIDS):
        for i in range(2):
            write(root / "train" / wnid / f"{wnid}_{i}.JPEG", 10 * k + i)
    for i in range(1, 6):
        write(root / "val" / f"ILSVRC2012_val_{i:08d}.JPEG", 100 + i)
    return root


@pytest.mark.parametrize("place", [".", "data", "ILSVRC2012_devkit_t12/data", "../data"])
def test_flat_val_is_labelled_by_the_kit(tmp_path: Path, place: str) -> None:
    root = imagenet_tree(tmp_path / "imagenet")
    write_kit(root / place)
    source = imagenet_source(root)
    assert [c.id for c in source.classes] == WNIDS
    assert [c.name for c in source.classes] == ["tench", "crane, bird", "crane, hoist"]
    assert [label for _, label in labelled(source, "val")] == IN_VAL == [1, 2, 0, 0, 2]
    assert labelled(source, "val")[0][0] == "val/ILSVRC2012_val_00000001.JPEG"
    assert [label for _, label in labelled(source, "train")] == [0, 0, 1, 1, 2, 2]
    (root / "val/ILSVRC2012_val_00000002.JPEG").unlink()  # shifts no label
    assert [label for _, label in labelled(imagenet_source(root), "val")] == [1, 0, 0, 2]


def test_kit_as_an_archive(tmp_path: Path) -> None:
    root = imagenet_tree(tmp_path / "imagenet")
    write_kit(tmp_path / "ILSVRC2012_devkit_t12/data")
    with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12")
    shutil.rmtree(tmp_path / "ILSVRC2012_devkit_t12")
    assert [label for _, label in labelled(imagenet_source(root), "val")] == IN_VAL


def test_kaggle_layout(tmp_path: Path) -> None:
    imagenet_tree(tmp_path / "ILSVRC/Data/CLS-LOC")
    wnid = {i: w for i, w, _ in KIT}
    rows = [f"ILSVRC2012_val_{i:08d},{wnid[t]} 1 2 3 4 " for i, t in enumerate(TRUTH, 1)]
    header = "ImageId,PredictionString"
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join([header, *reversed(rows)]))
    (tmp_path / "LOC_synset_mapping.txt").write_text(
        "n01000001 tench, Tinca\nn02000002 crane\nn03000003 chair\n"
    )
    for path in (tmp_path, tmp_path / "ILSVRC", tmp_path / "ILSVRC/Data/CLS-LOC"):
        source = imagenet_source(path)
        assert [label for _, label in labelled(source, "val")] == IN_VAL
        assert [c.name for c in source.classes] == ["tench", "crane", "chair"]


def test_val_in_folders_needs_no_kit(tmp_path: Path) -> None:
    split_tree(tmp_path / "raw/imagenet", WNIDS)
    source = build_source(data_config(source="imagenet", root=str(tmp_path)))
    assert [c.name for c in source.classes] == WNIDS
    assert [label for _, label in labelled(source, "val")] == [0, 0, 1, 1, 2, 2]


def test_flat_val_without_labels_for_all(tmp_path: Path) -> None:
    root = imagenet_tree(tmp_path)
    with pytest.raises(UserError, match=r"holds its images flat.*meta\.mat.*LOC_val_solution"):
        imagenet_source(root)
    write_kit(root / "data")
    (root / "data/meta.mat").unlink()
    with pytest.raises(UserError, match=r"but not meta\.mat"):
        imagenet_source(root)
    write_kit(root / "data")
    write(root / "val/holiday.JPEG", 1)
    with pytest.raises(UserError, match=r"no ground truth for holiday\.JPEG"):
        imagenet_source(root)
    (root / "val/holiday.JPEG").rename(root / "val/ILSVRC2012_val_00000006.JPEG")
    with pytest.raises(UserError, match="no ground truth for ILSVRC2012_val_00000006"):
        imagenet_source(root)


def test_imagenet_faults(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not named by a wnid.*: n01, n02.*data\.source=folder"):
        imagenet_source(split_tree(tmp_path / "short", ["n01", "n02"]))
    root = imagenet_tree(tmp_path / "part")
    write_kit(root)
    shutil.rmtree(root / "train" / WNIDS[0])
    with pytest.raises(UserError, match="in val/ but not in train/: n01000001"):
        imagenet_source(root)
    shutil.rmtree(root / "train")
    with pytest.raises(UserError, match="looked for train/"):
        imagenet_source(root)
    shutil.rmtree(root / "val")
    with pytest.raises(UserError, match="looked for train/ and val/"):
        imagenet_source(root)
