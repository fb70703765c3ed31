"""Source `folder`: any tree of images with one folder per class."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

import zfnet.data.sources.files as files
from zfnet.data.sample import SPLITS
from zfnet.errors import UserError

_SPLIT_NAMES = {*SPLITS, "valid", "validation", "test"}


def folder_source(
    path: Path,
    *,
    val_fraction: float | None = None,
    seed: int = 0,
    class_names: Path | None = None,
    name: str = "folder",
) -> files.FileSource:
    """Images in path/{train,val}/<class>/, or in path/<class>/ split by `val_fraction`.

    Classes are numbered in the order of their sorted folder names. In a tree without train/ and
    val/, `val_fraction` of every class (at least one image) goes to val, chosen by a hash of (seed,
    file), so that adding images moves few of the others. `class_names` is a file of readable names.

    Raises `UserError` for a missing folder or split, an empty class, or classes that differ
    between the splits.
    """
    setting = "data.path"
    files.require_folder(path, setting)
    names = files.read_class_names(class_names, "data.class_names") if class_names else {}
    here = set(files.list_folders(path))
    if val_fraction is None or here & _SPLIT_NAMES:
        _refuse_classes(path, here, setting)
        ids = files.require_splits(path, setting)
        samples = {split: files.class_tree(path, split, ids) for split in SPLITS}
        watched = list(SPLITS)
    else:
        ids = _flat_classes(path, setting)
        samples = _split(files.class_tree(path, ".", ids), ids, val_fraction, seed)
        watched = ["."]
    if names and not any(id in names for id in ids):
        raise UserError(
            f"data.class_names: {class_names} names none of the class folders "
            f"(it has {next(iter(names))}, the data has {ids[0]})."
        )
    return files.FileSource(name, path, files.class_infos(ids, names), samples, watched)


def unsplit_folder_source(path: Path, *, section: str) -> files.FileSource:
    """Images in path/<class>/, all in the split train; val is empty.

    Classes are numbered in the order of their sorted folder names. Raises `UserError`, naming the
    key below `section`, for a missing folder, fewer than two classes, or an empty one.
    """
    files.require_folder(path, f"{section}.path")
    ids = files.list_folders(path)
    if len(ids) < 2 or set(ids) <= _SPLIT_NAMES:
        raise files.not_found(f"{section}.path", "one folder of images a class", path)
    samples = files.class_tree(path, ".", ids).unsplit()
    return files.FileSource("folder", path, files.class_infos(ids, {}), samples, ["."])


def _refuse_classes(path: Path, here: set[str], setting: str) -> None:
    """Raise `UserError` for class folders where train/ and val/ are wanted."""
    if not here or here & _SPLIT_NAMES:
        return
    filled = [name for name in here if _has_files(path / name)]
    if len(filled) > 1 and not files.probably_meant(path, setting):
        hint = " If these are the classes, set data.val_fraction=0.2 to split each of them."
        raise files.not_found(setting, "train/ and val/", path, hint)


def _flat_classes(path: Path, setting: str) -> list[str]:
    """Return the class folder names of path/<class>/."""
    ids = files.list_folders(path)
    if path.name in SPLITS and (path.parent / SPLITS[1]).is_dir():
        files.require_splits(path, setting)  # says that the folder above is meant
    nested = any((path / id / split).is_dir() for id in ids for split in SPLITS)
    if nested or len(ids) < 2 or not any(_has_files(path / id) for id in ids):
        wanted = "train/ and val/, or for one folder of images per class,"
        raise files.not_found(setting, wanted, path, files.probably_meant(path, setting))
    return ids


def _has_files(folder: Path) -> bool:
    return any(entry.is_file() for entry in folder.iterdir())


def _split(
    samples: files.FileSamples, ids: list[str], fraction: float, seed: int
) -> dict[str, files.FileSamples]:
    """Send `fraction` of each class to val, chosen by a hash of (seed, file)."""
    keys = [
        hashlib.sha256(f"{seed}:{files.printable(file)}".encode()).digest()
        for file in samples.files
    ]
    in_val = np.zeros(len(samples), bool)
    for label, id in enumerate(ids):
        rows = np.flatnonzero(samples.labels == label)
        if len(rows) < 2:
            raise UserError(f"class {id}: one image cannot be split into train and val.")
        share = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        in_val[sorted(rows, key=lambda row: keys[row])[:share]] = True
    return {
        split: samples.rows(np.flatnonzero(chosen))
        for split, chosen in (("train", ~in_val), ("val", in_val))
    }
