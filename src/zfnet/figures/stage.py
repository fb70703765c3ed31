"""The stage that draws: every study's figures from what it measured, into results/figures/<study>/.

The tables behind `dvc plots` go to results/plots/. A study whose measurement and drawing code are
as they were is not drawn again.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from zfnet import paper
from zfnet.errors import UserError
from zfnet.figures.kit import trainings
from zfnet.figures.kit.show import WEBP_QUALITY, Figure, to_image
from zfnet.figures.plots import write_plots
from zfnet.files import read_json, write_json, write_whole
from zfnet.machine import cores, end_with
from zfnet.pipeline.closure import closure_hash
from zfnet.results import FILE, Results

INDEX = "figures.json"


def run(cfg: Any, paths: Any) -> None:
    """Draw what is new of every study below `paths.root`/results; clear away what is gone.

    `cfg` is unused: figures depend on what was measured, and on no option.
    """
    out = paths.results
    found = sorted(file.parent for file in (paths.root / "results").glob(f"*/{FILE}"))
    for old in sorted(out.iterdir()) if out.is_dir() else []:
        if old.name not in {folder.name for folder in found}:
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink()
    calls = [(folder.name, folder, out / folder.name, paths.root) for folder in found]
    stale = [call for call in calls if not _is_drawn(call[2], _key(*call[:2], paths.root))]
    for call, _ in zip(stale, _drawn_each(stale), strict=True):
        print(f"figures: {call[0]} drawn", file=sys.stderr)
    write_plots(paths.root, out.with_name("plots"))


def _drawn_each(calls: Sequence[tuple[str, Path, Path, Path]]) -> Iterator[bool]:
    """`draw` of all, in order, as many at the same time as there are cores."""
    together = min(cores(), len(calls))
    if together < 2:
        yield from (draw(*call) for call in calls)
        return
    pool = ProcessPoolExecutor(together, get_context("spawn"), end_with, (os.getpid(),))
    try:
        for future in [pool.submit(draw, *call) for call in calls]:
            yield future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "figures: a process that drew was ended from outside, perhaps for want of memory; "
            "run again to go on"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def draw(study: str, results: Path, out: Path, root: Path) -> bool:
    """Draw one study's figures into `out`; False where they are there already.

    `out`/figures.json, written last, holds name, file, caption, alt, size of each, and the key of
    what they were made from.
    """
    module = module_of(study)
    key = _key(study, results, root)
    if _is_drawn(out, key):
        return False
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        read = Results(results, root)
        figures = [*module.figures(read), *trainings.figures(study, read)]
    except KeyError as error:
        raise UserError(
            f"{results} lacks {error}: an older version wrote it; run the stage {study} again"
        ) from error
    names = [figure.name for figure in figures]
    if len(set(names)) < len(names):
        raise ValueError(f"two figures of {study} share a name: {names}")
    figures = [
        replace(
            each,
            caption=trainings.of_nets(each.caption, read),
            alt=trainings.of_nets(each.alt, read),
        )
        for each in figures
    ]
    entries = [_save(figure, out) for figure in figures]
    write_json(out / INDEX, {"key": key, "figures": entries})
    return True


def module_of(study: str) -> Any:
    """The module that tells of a study: figures, tables, CARD."""
    return importlib.import_module(f"zfnet.figures.{study}")


def drawn(out: Path) -> list[dict[str, Any]]:
    """The figures in `out`, each with its `path`. Raises UserError where nothing was drawn."""
    if not (out / INDEX).is_file():
        raise UserError(f"{out / INDEX} is missing: run `dvc repro figures`")
    entries = [{**each, "path": out / each["file"]} for each in read_json(out / INDEX)["figures"]]
    for entry in entries:
        if not entry["path"].is_file():
            raise UserError(f"{entry['path']} is missing: run `dvc repro -f -s figures`")
    return entries


def _is_drawn(out: Path, key: str) -> bool:
    """Whether the figures of `key` are all there."""
    try:
        index = read_json(out / INDEX, missing_ok=True)
        files = [out / entry["file"] for entry in index.get("figures", [])]
    except (UserError, KeyError, TypeError):
        return False  # damaged: drawn anew
    return index.get("key") == key and all(file.is_file() for file in files)


def _key(study: str, results: Path, root: Path) -> str:
    code = closure_hash([f"zfnet.figures.{study}", trainings.__name__])
    digest = hashlib.sha256(code.encode())
    digest.update((results / FILE).read_bytes())
    # figures set the paper's numbers beside ours, and show each training for what claims name
    tables = root / paper.FILE
    digest.update(tables.read_bytes() if tables.is_file() else b"")
    digest.update("\n".join(trainings.claimed(root, study)).encode())
    return digest.hexdigest()


def _save(figure: Figure, folder: Path) -> dict[str, Any]:
    image = to_image(figure.draw())
    file = folder / f"{figure.name}.{figure.format}"
    if figure.format == "webp":
        write_whole(file, lambda to: image.save(to, "WEBP", quality=WEBP_QUALITY, method=4))
    else:
        write_whole(file, lambda to: image.save(to, "PNG", optimize=True))
    return {
        "name": figure.name,
        "file": file.name,
        "caption": figure.caption,
        "alt": figure.alt,
        "width": image.width,
        "height": image.height,
        "folded": figure.folded,
    }
