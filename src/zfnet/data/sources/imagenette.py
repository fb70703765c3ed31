"""Source `imagenette`: ten easily told ImageNet classes, as packed by fast.ai."""

from __future__ import annotations

from pathlib import Path

from zfnet.data.sample import ClassInfo
from zfnet.data.sources.files import first_few, require_folder
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


def download(raw: Path, variant: str) -> Path:
    """Fetch Imagenette ("full" or "320px") to `raw` with torchvision unless there; return where.

    Raises `UserError` if the download fails, saying where to put the folder by hand.
    """
    folder = raw / VARIANTS[variant]
    if folder.is_dir():
        return folder
    raw.mkdir(parents=True, exist_ok=True)
    from torchvision.datasets import Imagenette

    try:
        Imagenette(root=str(raw), split="train", size=variant, download=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; RuntimeError: bad checksum
        raise UserError(
            f"Imagenette could not be downloaded ({error}). Without a network: fetch "
            f"{VARIANTS[variant]}.tgz elsewhere and unpack it to {folder}, or set data.path to a "
            f"folder with train/<wnid>/ and val/<wnid>/."
        ) from error
    require_folder(folder, "data.path")
    return folder
