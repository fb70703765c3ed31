"""The sources of images by name: what `data.source` may say, and how each is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zfnet.data.sample import Source
from zfnet.data.sources.files import require_folder
from zfnet.errors import UserError


def build_source(cfg: Any) -> Source:
    """Build the source that the data section of the config names.

    Raises `UserError` for an unknown name, and whatever the source finds wrong with its files.
    """
    if cfg.source not in SOURCES:
        raise UserError(f"data.source: {cfg.source} is none of {', '.join(SOURCES)}.")
    return SOURCES[cfg.source](cfg)


def _synthetic(cfg: Any) -> Source:
    from zfnet.data.synthetic import SyntheticSource

    return SyntheticSource(
        size=cfg.size,
        train_images=cfg.train_images,
        val_images=cfg.val_images,
        seed=cfg.seed,
        version=cfg.version,
    )


def _folder(cfg: Any) -> Source:
    from zfnet.data.sources.folder import FolderSource

    if cfg.path is None:
        raise UserError("data.path: name the folder with the images (data.source=folder needs it).")
    folder = data_folder(cfg.root, cfg.path)
    names = folder / cfg.class_names if cfg.class_names else None
    return FolderSource(folder, val_fraction=cfg.val_fraction, seed=cfg.seed, class_names=names)


def _imagenette(cfg: Any) -> Source:
    from zfnet.data.sources import imagenette

    if cfg.path is not None:
        return imagenette.ImagenetteSource(data_folder(cfg.root, cfg.path))
    variant = "320px" if cfg.size <= 320 else "full"
    folder = imagenette.find(Path(cfg.root) / "raw", variant, download=cfg.download)
    return imagenette.ImagenetteSource(folder)


def _imagenet(cfg: Any) -> Source:
    from zfnet.data.sources.imagenet import ImageNetSource

    return ImageNetSource(data_folder(cfg.root, cfg.path or "imagenet"))


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


SOURCES: dict[str, Callable[[Any], Source]] = {
    "synthetic": _synthetic,
    "folder": _folder,
    "imagenette": _imagenette,
    "imagenet": _imagenet,
}
