"""What all file sources share: listing folders in a fixed order, and saying what is wrong there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zfnet.data.sample import SPLITS, ClassInfo, Sample, Samples
from zfnet.errors import UserError

_LITTER = {"thumbs.db", "desktop.ini"}


def is_litter(name: str) -> bool:
    """Say whether a file is the system's own (.DS_Store, Thumbs.db …) and no part of the data."""
    return name.startswith(".") or name.lower() in _LITTER


def printable(path: str) -> str:
    """Return a relative path with forward slashes, its undecodable bytes written as escapes."""
    return path.replace(os.sep, "/").encode("utf-8", "backslashreplace").decode()


def list_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted by code point, hidden ones left out."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def walk_files(folder: Path) -> Iterator[str]:
    """Yield every file at any depth under a folder as a relative path, in a fixed order.

    System litter and hidden files and folders are left out; everything else is taken for an image,
    so that what cannot be decoded is reported and not passed over.
    """
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        below = os.path.relpath(here, folder)
        for name in sorted(files):
            if not is_litter(name):
                yield name if below == "." else os.path.join(below, name)  # noqa: PTH118 (hot)


@dataclass(frozen=True)
class FileSamples:
    """Labelled files under one folder: `files` relative to `folder`, `labels` (N,) int32.

    Small enough to send to worker processes also for 1.28 million files.
    """

    folder: Path
    files: list[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        file = self.files[index]
        return Sample(printable(file), int(self.labels[index]), path=self.folder / file)

    def rows(self, chosen: np.ndarray) -> FileSamples:
        """The samples at the places `chosen`, int (n,), in that order."""
        return FileSamples(self.folder, [self.files[row] for row in chosen], self.labels[chosen])

    def unsplit(self) -> dict[str, FileSamples]:
        """All of them as the split train; val is empty."""
        return {"train": self, "val": self.rows(np.zeros(0, np.int64))}


@dataclass
class FileSource:
    """A source of files below `folder`, of which it lists the subfolders `watched`."""

    name: str
    folder: Path
    classes: list[ClassInfo]
    samples: Mapping[str, Samples]
    watched: list[str]
    part_names: list[str] = field(default_factory=list)

    def splits(self) -> Mapping[str, Samples]:
        """Return the samples of {"train": …, "val": …}, in storage order."""
        return self.samples


def class_tree(
    folder: Path,
    split: str,
    classes: Sequence[str],
    listed: Callable[[Path], Iterable[str]] = walk_files,
) -> FileSamples:
    """List the files of folder/split/<class>/ class by class, as `listed` orders them.

    `split` may be "." for a tree without splits. Raises `UserError` for a class without files.
    """
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        inside = Path(split) / name
        found = [str(inside / file) for file in listed(folder / inside)]
        if not found:
            raise UserError(
                f"{folder / inside}: the class folder holds no images. Put some there, or remove "
                f"the folder (from every split) to leave the class out."
            )
        files += found
        labels += [label] * len(found)
    return FileSamples(folder, files, np.array(labels, np.int32))


def not_found(setting: str, wanted: str, folder: Path, hint: str = "") -> UserError:
    """The error of a folder that does not hold what was looked for, to be raised."""
    return UserError(
        f"{setting}: looked for {wanted} in {folder} and found {describe(folder)}.{hint}"
    )


def require_folder(folder: Path, setting: str, looked: Sequence[Path] = ()) -> None:
    """Raise `UserError` naming `setting` unless `folder` is an existing folder."""
    if folder.is_dir():
        return
    if folder.exists():
        raise UserError(f"{setting}: {folder} is a file, not a folder.")
    places = " or ".join(str(place) for place in looked or (folder,))
    raise UserError(f"{setting}: no folder at {places}. Put the data there or change {setting}.")


def data_folder(root: str | Path, path: str, setting: str = "data.path") -> Path:
    """Find the folder `path`: absolute, or under root/raw, or under root.

    Raises `UserError`, naming the key `setting`, if it is in none of them.
    """
    given = Path(path).expanduser()
    places = [given] if given.is_absolute() else [Path(root) / "raw" / given, Path(root) / given]
    for place in places:
        if place.is_dir():
            return place
    existing = next((place for place in places if place.exists()), places[0])
    require_folder(existing, setting, [existing] if existing.exists() else places)
    return existing


def require_splits(folder: Path, setting: str) -> list[str]:
    """Check that a folder holds train/<class>/ and val/<class>/; return the class folder names.

    Raises `UserError` that says what was looked for, what is there, and which folder was probably
    meant: the parent, a subfolder, or other names of the splits.
    """
    here = list_folders(folder)
    missing = [split for split in SPLITS if split not in here]
    if missing:
        wanted = " and ".join(f"{split}/" for split in missing)
        raise not_found(setting, wanted, folder, probably_meant(folder, setting))
    train, val = (list_folders(folder / split) for split in SPLITS)
    for split, names in (("train", train), ("val", val)):
        if not names:
            raise not_found(setting, "one folder per class", folder / split)
    same_classes(folder, set(train), set(val))
    return train


def same_classes(folder: Path, train: set[str], val: set[str]) -> None:
    """Raise `UserError` unless both splits have the same classes."""
    for names, present, absent in ((train - val, "train", "val"), (val - train, "val", "train")):
        if names:
            raise UserError(
                f"{folder}: {count(len(names), 'class', 'classes')} in {present}/ but not in "
                f"{absent}/: {first_few(sorted(names))}. Both splits need the same class folders; "
                f"labels are never shifted to fit."
            )


def probably_meant(folder: Path, setting: str) -> str:
    """Guess which folder was meant where the splits are missing; empty if nothing suggests one."""
    for parent in (folder.parent, folder.parent.parent):
        if all((parent / split).is_dir() for split in SPLITS):
            return f" The folder above has them: set {setting}={parent}."
    for name in list_folders(folder)[:1000]:
        if all((folder / name / split).is_dir() for split in SPLITS):
            return f" A subfolder has them: set {setting}={folder / name}."
    here = list_folders(folder)
    others = [n for n in here if n.lower() in ("valid", "validation", "test", "eval")]
    if others and "train" in here:
        return f" If {others[0]}/ is the validation split, link or rename it to val/."
    return ""


def describe(folder: Path) -> str:
    """Say in a few words what lies in a folder: 'nothing', '3 folders (a, b, c) and 12 files'."""
    folders = list_folders(folder)
    files = sorted(f.name for f in folder.iterdir() if f.is_file() and not is_litter(f.name))
    parts = []
    if folders:
        parts.append(f"{count(len(folders), 'folder', 'folders')} ({first_few(folders)})")
    if files:
        parts.append(f"{count(len(files), 'file', 'files')} ({first_few(files)})")
    return " and ".join(parts) or "nothing"


def first_few(names: Sequence[str], most: int = 4) -> str:
    """Join up to `most` names with commas, and an ellipsis if there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def count(n: int, one: str, many: str) -> str:
    """Return '1 folder' or '2 folders'."""
    return f"{n:,} {one if n == 1 else many}"


def read_class_names(file: Path, setting: str) -> dict[str, str]:
    """Read readable class names: JSON {id: name}, or lines of 'id name …' (as ImageNet's mapping).

    Raises `UserError` if the file is missing or has neither form.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{setting}: cannot read {file}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{setting}: {file} is not UTF-8 text.") from error
    if file.suffix == ".json":
        try:
            names = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"{setting}: {file} is not JSON: {error}.") from error
        if not isinstance(names, dict):
            raise UserError(f'{setting}: {file} must hold one object {{"folder": "name", …}}.')
        return {str(key): str(value) for key, value in names.items()}
    names = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, _, name = line.strip().partition("\t" if "\t" in line else " ")
        if not name.strip():
            raise UserError(f"{setting}: {file}, line {number}: expected 'folder name', got {key}.")
        names[key] = name.strip()
    return names


def class_infos(ids: Sequence[str], names: Mapping[str, str]) -> list[ClassInfo]:
    """Number the classes in the order given; a class without a name keeps its id."""
    return [ClassInfo(i, printable(id), names.get(id, printable(id))) for i, id in enumerate(ids)]
