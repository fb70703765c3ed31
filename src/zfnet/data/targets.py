"""Stage targets: the sets that a trained net is tried on, each into a prepared folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfnet.data.prepare import prepare
from zfnet.data.sample import Source
from zfnet.data.sources.files import data_folder
from zfnet.errors import UserError

if TYPE_CHECKING:
    from zfnet.pipeline.options import TargetOptions
    from zfnet.pipeline.paths import Paths


def run(cfg: Any, paths: Paths) -> dict[str, Any]:
    """Prepare every target of `cfg.targets` whose `run` is true; return counts and fingerprints.

    Writes `paths.targets`/<name>/ in the prepared format and `paths.target_scans`/<name>.parquet;
    the data root is `paths.data_root`. All sources are looked up before anything is prepared.
    Raises `UserError`, naming the key, for whatever is wrong with the config or the files.
    """
    chosen = {name: target for name, target in cfg.targets.items() if target.run}
    sources = {
        name: SOURCES[target.source](target, paths.data_root, f"targets.{name}")
        for name, target in chosen.items()
    }
    for folder in (paths.targets, paths.target_scans):
        folder.mkdir(parents=True, exist_ok=True)
    _drop_others(paths.targets, paths.target_scans, set(sources))
    facts = {}
    for name, source in sources.items():
        meta = prepare(
            source,
            paths.targets / name,
            size=chosen[name].size,
            store=chosen[name].store,
            max_bad_fraction=chosen[name].max_bad_fraction,
            scan=paths.target_scans / f"{name}.parquet",
            section=f"targets.{name}",
            val_may_be_empty=True,
        )
        facts[name] = {
            "images_train": meta.splits["train"],
            "images_val": meta.splits["val"],
            "classes": len(meta.classes),
            "upsampled": sum(meta.upsampled.values()),
            "quarantined": meta.quarantined,
            "fingerprint": meta.fingerprint,
        }
    return {"targets": facts}


def _drop_others(folder: Path, scans: Path, wanted: set[str]) -> None:
    """Remove prepared targets that are no longer run: studies take what they find here."""
    for meta in folder.glob("*/meta.json"):
        if meta.parent.name not in wanted:
            shutil.rmtree(meta.parent)
            (scans / f"{meta.parent.name}.parquet").unlink(missing_ok=True)


def _unseen(target: TargetOptions, data_root: Path, section: str) -> Source:
    from zfnet.data.synthetic import SyntheticSource

    images = (target.images, 0)
    return SyntheticSource(target.size, images, target.seed, target.version, "unseen", section)


def _caltech(target: TargetOptions, data_root: Path, section: str) -> Source:
    from zfnet.data.sources import caltech, fetched

    edition = caltech.CALTECH_101 if target.source == "caltech101" else caltech.CALTECH_256
    folder = fetched.place(target, data_root, [caltech.to_fetch(edition)], section)
    return caltech.caltech_source(folder, edition, background=target.background, section=section)


def _voc(target: TargetOptions, data_root: Path, section: str) -> Source:
    from zfnet.data.sources import fetched, voc

    found = fetched.place(target, data_root, voc.to_fetch(target.year), section)
    folder = found if target.path is not None else data_root / "raw"
    return voc.voc_source(folder, target.year, section=section)


def _folder(target: TargetOptions, data_root: Path, section: str) -> Source:
    from zfnet.data.sources.folder import unsplit_folder_source

    if target.path is None:
        raise UserError(
            f"{section}.path: name the folder with one folder of images a class "
            f"({section}.source=folder needs it)."
        )
    folder = data_folder(data_root, target.path, f"{section}.path")
    return unsplit_folder_source(folder, section=section)


SOURCES: dict[str, Callable[[TargetOptions, Path, str], Source]] = {
    "unseen": _unseen,
    "caltech101": _caltech,
    "caltech256": _caltech,
    "voc": _voc,
    "folder": _folder,
}
