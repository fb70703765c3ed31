"""The sources of images by name: what `data.source` may say, and how each is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from zfnet.data.sample import Source
from zfnet.data.sources.files import data_folder
from zfnet.errors import UserError

if TYPE_CHECKING:
    from zfnet.pipeline.options import DataOptions


def build_source(cfg: DataOptions) -> Source:
    """Build the source that the data section of the config names.

    Raises `UserError` for whatever the source finds wrong with its files.
    """
    return SOURCES[cfg.source](cfg)


def _synthetic(cfg: DataOptions) -> Source:
    from zfnet.data.synthetic import SyntheticSource

    images = (cfg.train_images, cfg.val_images)
    return SyntheticSource(cfg.size, images, cfg.seed, cfg.version)


def _folder(cfg: DataOptions) -> Source:
    from zfnet.data.sources.folder import folder_source

    if cfg.path is None:
        raise UserError("data.path: name the folder with the images (data.source=folder needs it).")
    folder = data_folder(cfg.root, cfg.path)
    names = folder / cfg.class_names if cfg.class_names else None
    return folder_source(folder, val_fraction=cfg.val_fraction, seed=cfg.seed, class_names=names)


def _imagenette(cfg: DataOptions) -> Source:
    from zfnet.data.sources import fetched, imagenette

    part = imagenette.to_fetch("320px" if cfg.size <= 320 else "full")
    source = imagenette.imagenette_source(fetched.place(cfg, Path(cfg.root), [part], "data"))
    return imagenette.split_by_ilsvrc(source) if cfg.split == "ilsvrc" else source


def _imagenet(cfg: DataOptions) -> Source:
    from zfnet.data.sources.imagenet import imagenet_source

    return imagenet_source(data_folder(cfg.root, cfg.path or "imagenet"))


SOURCES: dict[str, Callable[[DataOptions], Source]] = {
    "synthetic": _synthetic,
    "folder": _folder,
    "imagenette": _imagenette,
    "imagenet": _imagenet,
}
