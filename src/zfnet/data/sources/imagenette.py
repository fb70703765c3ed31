"""Source `imagenette`: ten easily told ImageNet classes, as packed by fast.ai."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path

from zfnet.data.sample import ClassInfo
from zfnet.data.sources.files import first_few
from zfnet.data.sources.folder import FolderSource
from zfnet.errors import UserError

CLASS_NAMES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}

# torchvision's name of each size, and the folder that its archive unpacks to.
VARIANTS = {"full": "imagenette2", "320px": "imagenette2-320"}


class ImagenetteSource(FolderSource):
    """Imagenette in path/{train,val}/<wnid>/; the ten classes in the order of their wnids.

    Raises `UserError` as `FolderSource` does, and if the folders are not the ten classes.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, name="imagenette")
        found = {info.id for info in self.classes}
        wrong = sorted(found - CLASS_NAMES.keys()) or sorted(CLASS_NAMES.keys() - found)
        if wrong:
            what = "has folders that are no class of" if wrong[0] in found else "lacks classes of"
            raise UserError(
                f"data.path: {path} {what} Imagenette: {first_few(wrong)}. For other images set "
                f"data.source=folder."
            )
        self.classes = [ClassInfo(c.index, c.id, CLASS_NAMES[c.id]) for c in self.classes]


def find(raw: Path, variant: str, *, download: bool) -> Path:
    """Return the folder of Imagenette ("full" or "320px") in `raw`, putting it there if need be.

    It comes from the archive in `raw` if there is one, else, with `download`, from torchvision. It
    is unpacked beside its place and moved there when whole, so that what an interruption left is
    never taken for it. Raises `UserError` for a broken archive, a failed download, or neither.
    """
    name = VARIANTS[variant]
    folder, archive = raw / name, raw / f"{name}.tgz"
    if folder.is_dir():
        return folder
    if not archive.is_file() and not download:
        raise UserError(
            f"Imagenette is not at {folder}. Set data.download=true to fetch it, put its archive "
            f"at {archive}, or set data.path to a folder with train/<wnid>/ and val/<wnid>/."
        )
    partial = raw / f".{name}.partial"
    shutil.rmtree(partial / name, ignore_errors=True)  # left by a run that was killed
    partial.mkdir(parents=True, exist_ok=True)
    if archive.is_file():
        _unpack(archive, partial)
    else:
        _fetch(partial, variant, archive)
    if not (partial / name).is_dir():
        shutil.rmtree(partial)
        raise UserError(
            f"{archive}: holds no folder {name}, so it is not Imagenette's archive. Replace or "
            f"remove it, or set data.path to a folder with train/<wnid>/ and val/<wnid>/."
        )
    (partial / name).rename(folder)
    shutil.rmtree(partial)
    return folder


def _unpack(archive: Path, to: Path) -> None:
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(to, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"{archive}: cannot be unpacked ({error}). Fetch it again, or remove it and set "
            f"data.download=true."
        ) from error


def _fetch(to: Path, variant: str, archive: Path) -> None:
    """Have torchvision download, check and unpack; it takes up a download that is already whole."""
    from torchvision.datasets import Imagenette

    try:
        Imagenette(root=str(to), split="train", size=variant, download=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; RuntimeError: bad checksum
        raise UserError(
            f"Imagenette could not be downloaded ({error}). Without a network: fetch "
            f"{archive.name} elsewhere and put it at {archive}, or set data.path to a folder with "
            f"train/<wnid>/ and val/<wnid>/."
        ) from error
