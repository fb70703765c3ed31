"""Source `imagenette`: ten easily told ImageNet classes, as packed by fast.ai."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

import zfnet.data.sources.files as files
from zfnet.data.sample import ClassInfo
from zfnet.data.sources.fetched import Fetched, by_torchvision
from zfnet.data.sources.folder import folder_source
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

UNSEEN = "ILSVRC2012_val_"  # begins the names of photos that ILSVRC did not train on

# torchvision's name of each size, and the folder that its archive unpacks to.
VARIANTS = {"full": "imagenette2", "320px": "imagenette2-320"}


def imagenette_source(path: Path) -> files.FileSource:
    """Imagenette in path/{train,val}/<wnid>/; the ten classes in the order of their wnids.

    Raises `UserError` as `folder_source` does, and if the folders are not the ten classes.
    """
    source = folder_source(path, name="imagenette")
    found = {info.id for info in source.classes}
    wrong = sorted(found - CLASS_NAMES.keys()) or sorted(CLASS_NAMES.keys() - found)
    if wrong:
        what = "has folders that are no class of" if wrong[0] in found else "lacks classes of"
        raise UserError(
            f"data.path: {path} {what} Imagenette: {files.first_few(wrong)}. For other images set "
            f"data.source=folder."
        )
    return replace(
        source, classes=[ClassInfo(c.index, c.id, CLASS_NAMES[c.id]) for c in source.classes]
    )


def split_by_ilsvrc(source: files.FileSource) -> files.FileSource:
    """The same photos, split for nets that were trained on ImageNet.

    val: those of ILSVRC's validation set ("ILSVRC2012_val_…"), from whichever folder; train: the
    others, whose names begin with a wnid, as they were in ILSVRC's training set. Raises `UserError`
    where a class has no photo of one kind.
    """
    parts = [
        samples for samples in source.samples.values() if isinstance(samples, files.FileSamples)
    ]
    labels = np.concatenate([part.labels for part in parts])
    together = files.FileSamples(source.folder, [f for part in parts for f in part.files], labels)
    order = np.argsort(labels, kind="stable")  # class by class, as in a folder
    unseen = np.array([Path(file).name.startswith(UNSEEN) for file in together.files], bool)
    samples = {
        "train": together.rows(order[~unseen[order]]), "val": together.rows(order[unseen[order]])
    }  # fmt: skip
    for split, each in samples.items():
        if missing := set(range(len(source.classes))) - set(each.labels.tolist()):
            kind = f"{UNSEEN}*" if split == "val" else "<wnid>_*"
            raise UserError(
                f"data.split=ilsvrc: {source.folder} has no {kind} of class "
                f"{source.classes[min(missing)].id}; keep the photos' own names"
            )
    return replace(source, samples=samples)


def to_fetch(variant: str) -> Fetched:
    """Say where Imagenette ("full" or "320px") lies below the raw folder and how it is fetched."""
    name = VARIANTS[variant]
    fetch = by_torchvision("Imagenette", split="train", size=variant)
    page = "https://github.com/fastai/imagenette"
    return Fetched("Imagenette", Path(name), (f"{name}.tgz",), Path(), fetch, page)
