"""Sources `caltech101` and `caltech256`: photos in one folder a class, not split."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import zfnet.data.sources.files as files
from zfnet.data.sources.fetched import Fetched, by_torchvision


@dataclass(frozen=True)
class Edition:
    """One of the two sets: its folder, its class of unrelated pictures, how classes are named.

    `archives` and `page` as in `Fetched`; `title` without its hyphen is torchvision's name.
    """

    title: str
    folder: str
    background: str
    pattern: re.Pattern[str]
    archives: tuple[str, ...]
    page: str

    @property
    def name(self) -> str:
        """The source's name in the config."""
        return self.title.lower().replace("-", "")


CALTECH_101 = Edition(
    "Caltech-101",
    "101_ObjectCategories",
    "BACKGROUND_Google",
    re.compile(r"(\w+)"),
    ("caltech-101.zip", "101_ObjectCategories.tar.gz"),
    "https://data.caltech.edu/records/mzrjq-6wc02",
)
CALTECH_256 = Edition(
    "Caltech-256",
    "256_ObjectCategories",
    "257.clutter",
    re.compile(r"\d{3}\.(.+)"),
    ("256_ObjectCategories.tar",),
    "https://data.caltech.edu/records/nyy15-4j048",
)


def caltech_source(
    path: Path, edition: Edition, *, background: bool = False, section: str
) -> files.FileSource:
    """Caltech-101 or Caltech-256: path/<class>/*.jpg, all in the split train; val is empty.

    Classes are numbered in the order of their sorted folder names. The class of unrelated pictures
    (BACKGROUND_Google, 257.clutter) is left out unless `background`. Only files named .jpg lying in
    the class folder itself are its pictures, as both sets have them.

    Raises `UserError`, naming the key below `section`, for a folder that is not such a set.
    """
    files.require_folder(path, f"{section}.path")
    inside = path / edition.folder
    folder = inside if inside.is_dir() else path
    names = {id: edition.pattern.fullmatch(id) for id in files.list_folders(folder)}
    readable = {
        id: files.printable(match[1]).replace("_", " ").replace("-", " ")
        for id, match in names.items()
        if match and (background or id != edition.background)
    }
    if len(readable) < 2:
        wanted = f"{edition.folder}/ or for its class folders"
        raise files.not_found(f"{section}.path", wanted, path)
    ids = list(readable)
    samples = files.class_tree(folder, ".", ids, _pictures).unsplit()
    return files.FileSource(edition.name, folder, files.class_infos(ids, readable), samples, ids)


def _pictures(folder: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.suffix.lower() == ".jpg" and not files.is_litter(entry.name) and entry.is_file()
    )


def to_fetch(edition: Edition) -> Fetched:
    """Say where a set lies below the raw folder and how it is fetched."""
    below = Path(edition.name)
    archives = [place for each in edition.archives for place in (f"{below}/{each}", each)]
    fetch = by_torchvision(edition.title.replace("-", ""))
    return Fetched(edition.title, below / edition.folder, archives, below, fetch, edition.page)
