"""Source `folder`: any tree of images with one folder per class."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from zfnet.data.sample import SPLITS
from zfnet.data.sources.files import (
    FileSamples,
    class_infos,
    class_tree,
    describe,
    list_folders,
    printable,
    probably_meant,
    read_class_names,
    require_folder,
    require_splits,
)
from zfnet.errors import UserError


class FolderSource:
    """Images in path/{train,val}/<class>/, or in path/<class>/ split by `val_fraction`.

    Classes are numbered in the order of their sorted folder names. In a tree without train/ and
    val/, `val_fraction` of every class (at least one image) goes to val, chosen by a hash of (seed,
    file), so that adding images moves few of the others. `class_names` is a file of readable names.

    Raises `UserError` for a missing folder or split, an empty class, or classes that differ
    between the splits.
    """

    part_names: list[str]

    def __init__(
        self,
        path: Path,
        *,
        val_fraction: float | None = None,
        seed: int = 0,
        class_names: Path | None = None,
        name: str = "folder",
        setting: str = "data.path",
    ) -> None:
        require_folder(path, setting)
        self.name = name
        self.folder = path
        self.part_names = []
        names = read_class_names(class_names, "data.class_names") if class_names else {}
        here = set(list_folders(path))
        if val_fraction is None or here & {*SPLITS, "valid", "validation", "test"}:
            ids = self._split_tree(setting)
            self.watched = list(SPLITS)
        else:
            ids = self._flat_tree(val_fraction, seed, setting)
            self.watched = ["."]
        self.classes = class_infos(ids, names)
        if names and not any(id in names for id in ids):
            raise UserError(
                f"data.class_names: {class_names} names none of the class folders "
                f"(it has {next(iter(names))}, the data has {ids[0]})."
            )

    def splits(self) -> dict[str, FileSamples]:
        """Return {"train": …, "val": …}, class by class, files in sorted order."""
        return self._splits

    def _split_tree(self, setting: str) -> list[str]:
        """List path/{train,val}/<class>/; return the class folder names."""
        here = list_folders(self.folder)
        if here and not set(here) & {*SPLITS, "valid", "validation", "test"}:
            inside = [name for name in here if _has_files(self.folder / name)]
            if len(inside) > 1 and not probably_meant(self.folder, setting):
                raise UserError(
                    f"{setting}: looked for train/ and val/ in {self.folder} and found "
                    f"{describe(self.folder)}. If these are the classes, set "
                    f"data.val_fraction=0.2 to split each of them."
                )
        ids = require_splits(self.folder, setting)
        self._splits = {}
        for split in SPLITS:
            files, labels = class_tree(self.folder, split, ids)
            self._splits[split] = FileSamples(self.folder, files, np.array(labels, np.int32))
        return ids

    def _flat_tree(self, val_fraction: float, seed: int, setting: str) -> list[str]:
        """List path/<class>/ and divide each class by hash; return the class folder names."""
        if not 0 < val_fraction < 1:
            raise UserError(f"data.val_fraction: {val_fraction} is not between 0 and 1.")
        ids = list_folders(self.folder)
        if self.folder.name in SPLITS and (self.folder.parent / SPLITS[1]).is_dir():
            require_splits(self.folder, setting)  # says that the folder above is meant
        nested = any((self.folder / id / split).is_dir() for id in ids for split in SPLITS)
        if nested or len(ids) < 2 or not any(_has_files(self.folder / id) for id in ids):
            raise UserError(
                f"{setting}: looked for train/ and val/, or for one folder of images per class, in "
                f"{self.folder} and found {describe(self.folder)}."
                f"{probably_meant(self.folder, setting)}"
            )
        files, labels = class_tree(self.folder, ".", ids)
        in_val = _choose_val(files, labels, ids, val_fraction, seed)
        self._splits = {}
        for split, chosen in (("train", ~in_val), ("val", in_val)):
            rows = np.flatnonzero(chosen)
            self._splits[split] = FileSamples(
                self.folder, [files[r] for r in rows], np.array(labels, np.int32)[rows]
            )
        return ids


class UnsplitFolderSource:
    """Images in path/<class>/, all in the split train; val is empty.

    Classes are numbered in the order of their sorted folder names. Raises `UserError`, naming the
    key below `section`, for a missing folder, fewer than two classes, or an empty one.
    """

    def __init__(self, path: Path, *, section: str, name: str = "folder") -> None:
        setting = f"{section}.path"
        require_folder(path, setting)
        ids = list_folders(path)
        if len(ids) < 2 or set(ids) <= {*SPLITS, "valid", "validation", "test"}:
            raise UserError(
                f"{setting}: looked for one folder of images a class in {path} and found "
                f"{describe(path)}."
            )
        self.name = name
        self.folder = path
        self.part_names: list[str] = []
        self.watched = ["."]
        self.classes = class_infos(ids, {})
        files, labels = class_tree(path, ".", ids)
        self._splits = {
            "train": FileSamples(path, files, np.array(labels, np.int32)),
            "val": FileSamples(path, [], np.zeros(0, np.int32)),
        }

    def splits(self) -> dict[str, FileSamples]:
        """Return {"train": all of it, "val": nothing}, class by class, files in sorted order."""
        return self._splits


def _has_files(folder: Path) -> bool:
    return any(entry.is_file() for entry in folder.iterdir())


def _choose_val(
    files: list[str], labels: list[int], ids: list[str], fraction: float, seed: int
) -> np.ndarray:
    """Return (N,) bool: True for the files that a hash of (seed, file) sends to val."""
    keys = [hashlib.sha256(f"{seed}:{printable(file)}".encode()).digest() for file in files]
    in_val = np.zeros(len(files), bool)
    label_of = np.array(labels)
    for label, id in enumerate(ids):
        rows = np.flatnonzero(label_of == label)
        if len(rows) < 2:
            raise UserError(f"class {id}: one image cannot be split into train and val.")
        share = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        in_val[sorted(rows, key=lambda row: keys[row])[:share]] = True
    return in_val
