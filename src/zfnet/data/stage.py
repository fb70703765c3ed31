"""Stage prepare: from the data section of the config to data/prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zfnet.data.prepare import prepare
from zfnet.data.sources import build_source

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths


def run(cfg: Any, paths: Paths) -> dict[str, Any]:
    """Prepare the data that `cfg.data` names; return the counts and the fingerprint.

    Writes the folder `paths.prepared` and the file `paths.scan`. Raises `UserError` for whatever is
    wrong with the config or the files.
    """
    meta = prepare(
        build_source(cfg.data),
        paths.prepared,
        size=cfg.data.size,
        store=cfg.data.store,
        max_bad_fraction=cfg.data.max_bad_fraction,
        scan=paths.scan,
    )
    return {
        "images_train": meta.splits["train"],
        "images_val": meta.splits["val"],
        "classes": len(meta.classes),
        "upsampled_train": meta.upsampled["train"],
        "upsampled_val": meta.upsampled["val"],
        "quarantined": meta.quarantined,
        "fingerprint": meta.fingerprint,
    }
