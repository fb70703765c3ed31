"""Sets that torchvision can download: found in the raw folder, unpacked there, or fetched."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zfnet.data.sources.files import data_folder, is_litter
from zfnet.errors import UserError

if TYPE_CHECKING:
    from zfnet.pipeline.options import DataOptions, TargetOptions

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True)
class Fetched:
    """One part of a set: where it lies below the raw folder, and how it gets there.

    name: for messages; marker: the folder or file that shows that it is there; archives: files in
    the raw folder that hold it, the first being the official one; unpacked: where that archive's
    content belongs, below the raw folder; fetch: has torchvision download it into a folder that
    stands for the raw one; page: where a person finds it.
    """

    name: str
    marker: Path
    archives: Sequence[str]
    unpacked: Path
    fetch: Callable[[Path], None]
    page: str


def by_torchvision(name: str, **options: object) -> Callable[[Path], None]:
    """Have torchvision's data set `name` download, check and unpack into the folder given."""

    def fetch(raw: Path) -> None:
        import torchvision.datasets as known

        getattr(known, name)(root=str(raw), download=True, **options)

    return fetch


def place(
    cfg: DataOptions | TargetOptions, root: Path, parts: Sequence[Fetched], section: str
) -> Path:
    """Return the folder that `cfg.path` names, or the last of `parts` found below root/raw.

    `section` holds the keys that errors name. Raises `UserError` as `data_folder` and `find` do.
    """
    if cfg.path is not None:
        return data_folder(root, cfg.path, f"{section}.path")
    return [find(root / "raw", part, download=cfg.download, section=section) for part in parts][-1]


def find(raw: Path, part: Fetched, *, download: bool, section: str) -> Path:
    """Return the marker of a set in `raw`, putting the set there if need be.

    It comes from its archive in `raw` if there is one, else, with `download`, from torchvision. It
    is unpacked beside its place and moved there when whole, the marker last, so that what an
    interruption left is never taken for it. Raises `UserError` for a broken archive, a failed
    download, or neither.
    """
    if (raw / part.marker).exists():
        return raw / part.marker
    archive = next((raw / name for name in part.archives if (raw / name).is_file()), None)
    by_hand = (
        f"fetch {part.archives[0]} from {part.page} and put it at {raw / part.archives[0]}, or set "
        f"{section}.path to the unpacked folder"
    )
    if archive is None and not download:
        without = f"; or leave it out with {section}.run=false" if section != "data" else ""
        raise UserError(
            f"{part.name} is not at {raw / part.marker}. Set {section}.download=true to fetch it; "
            f"or {by_hand}{without}."
        )
    partial = raw / f".{part.marker.as_posix().replace('/', '-')}.partial"
    # What a run that was killed has unpacked; an archive beside it is checked and used again.
    shutil.rmtree(partial / part.marker.parts[0], ignore_errors=True)
    (partial / part.unpacked).mkdir(parents=True, exist_ok=True)
    if archive is not None:
        unpack(archive, partial / part.unpacked, section)
    else:
        try:
            part.fetch(partial)
        except (OSError, RuntimeError, *_BROKEN) as error:  # URLError is an OSError
            shutil.rmtree(partial, ignore_errors=True)
            raise UserError(
                f"{part.name} could not be downloaded ({error}). By hand: {by_hand}."
            ) from error
        for name in part.archives:  # not kept beside what they held
            (partial / name).unlink(missing_ok=True)
    if not (partial / part.marker).exists():
        shutil.rmtree(partial)
        raise UserError(
            f"{archive or part.name}: holds no {part.marker.name}, so it is not the archive of "
            f"{part.name}. Remove it; then {by_hand}."
        )
    _merge(partial, raw, partial / part.marker)
    shutil.rmtree(partial)
    return raw / part.marker


def unpack(archive: Path, to: Path, section: str) -> None:
    """Unpack a .tar, .tar.gz or .zip; of a zip also the .tar.gz files that it holds.

    Raises `UserError` for a broken one.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(to)
            for inner in sorted(to.rglob("*.tar.gz")):
                if not is_litter(inner.name):  # macOS packs a "._" twin of each file
                    with tarfile.open(inner) as tar:
                        tar.extractall(to, filter="data")
                inner.unlink()
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(to, filter="data")
    except _BROKEN as error:
        raise UserError(
            f"{archive}: cannot be unpacked ({error}). Fetch it again, or remove it and set "
            f"{section}.download=true."
        ) from error


def _merge(new: Path, into: Path, last: Path) -> None:
    """Move `new` into a tree that may have some of its folders; `last`, and what holds it, last."""
    for entry in sorted(new.iterdir(), key=lambda e: (e == last or e in last.parents, e.name)):
        place = into / entry.name
        if entry.is_dir() and place.is_dir():
            _merge(entry, place, last)
        else:
            entry.replace(place)
