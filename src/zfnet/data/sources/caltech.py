"""Sources `caltech101` and `caltech256`: photos in one folder a class, not split."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zfnet.data.sample import ClassInfo
from zfnet.data.sources.fetched import Fetched
from zfnet.data.sources.files import (
    FileSamples,
    describe,
    is_litter,
    list_folders,
    printable,
    require_folder,
)
from zfnet.errors import UserError


@dataclass(frozen=True)
class Edition:
    """One of the two sets: its folder, its class of unrelated pictures, how classes are named."""

    name: str
    folder: str
    background: str
    pattern: re.Pattern[str]


CALTECH_101 = Edition(
    "caltech101", "101_ObjectCategories", "BACKGROUND_Google", re.compile(r"(\w+)")
)
CALTECH_256 = Edition(
    "caltech256", "256_ObjectCategories", "257.clutter", re.compile(r"\d{3}\.(.+)")
)


class CaltechSource:
    """Caltech-101 or Caltech-256: path/<class>/*.jpg, all in the split train; val is empty.

    Classes are numbered in the order of their sorted folder names. The class of unrelated pictures
    (BACKGROUND_Google, 257.clutter) is left out unless `background`. Only files named .jpg lying in
    the class folder itself are its pictures, as both sets have them.

    Raises `UserError`, naming the key below `section`, for a folder that is not such a set.
    """

    def __init__(
        self, path: Path, edition: Edition, *, background: bool = False, section: str
    ) -> None:
        setting = f"{section}.path"
        require_folder(path, setting)
        inside = path / edition.folder
        self.folder = inside if inside.is_dir() else path
        self.name = edition.name
        self.part_names: list[str] = []
        ids = [id for id in list_folders(self.folder) if edition.pattern.fullmatch(id)]
        if not background:
            ids = [id for id in ids if id != edition.background]
        if len(ids) < 2:
            raise UserError(
                f"{setting}: looked for {edition.folder}/ or for its class folders in {path} and "
                f"found {describe(path)}."
            )
        self.watched = ids
        self.classes = [
            ClassInfo(i, printable(id), _readable(id, edition)) for i, id in enumerate(ids)
        ]
        files: list[str] = []
        labels: list[int] = []
        for label, id in enumerate(ids):
            found = _pictures(self.folder / id)
            if not found:
                raise UserError(
                    f"{self.folder / id}: holds no .jpg file. Unpack the set again, or remove the "
                    "folder to leave the class out."
                )
            files += [f"{id}/{name}" for name in found]
            labels += [label] * len(found)
        self._train = FileSamples(self.folder, files, np.array(labels, np.int32))
        self._val = FileSamples(self.folder, [], np.zeros(0, np.int32))

    def splits(self) -> dict[str, FileSamples]:
        """Return {"train": all of it, class by class in the order of the names, "val": nothing}."""
        return {"train": self._train, "val": self._val}


def _readable(id: str, edition: Edition) -> str:
    match = edition.pattern.fullmatch(id)
    return printable(match[1] if match else id).replace("_", " ").replace("-", " ")


def _pictures(folder: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.suffix.lower() == ".jpg" and not is_litter(entry.name) and entry.is_file()
    )


def to_fetch(edition: Edition) -> Fetched:
    """Say where a set lies below the raw folder and how it is fetched."""
    below = Path(edition.name)
    if edition is CALTECH_101:
        return Fetched(
            "Caltech-101", below / edition.folder,
            (
                "caltech101/caltech-101.zip", "caltech-101.zip",
                "caltech101/101_ObjectCategories.tar.gz", "101_ObjectCategories.tar.gz",
            ),
            below, _fetch_101, "https://data.caltech.edu/records/mzrjq-6wc02",
        )  # fmt: skip
    return Fetched(
        "Caltech-256", below / edition.folder,
        ("caltech256/256_ObjectCategories.tar", "256_ObjectCategories.tar"),
        below, _fetch_256, "https://data.caltech.edu/records/nyy15-4j048",
    )  # fmt: skip


def _fetch_101(raw: Path) -> None:
    from torchvision.datasets import Caltech101

    Caltech101(root=str(raw), download=True)


def _fetch_256(raw: Path) -> None:
    from torchvision.datasets import Caltech256

    Caltech256(root=str(raw), download=True)
