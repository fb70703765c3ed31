"""`zfnet doctor`: what this machine has, what data it finds, and what of it has changed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from zfnet.errors import UserError
from zfnet.pipeline.compose import compose, read_params
from zfnet.pipeline.paths import find_root, main_checkout, resolve_data_root

GOOD, NOTE, BAD = "ok", "--", "!!"


def main(arguments: Sequence[str]) -> int:
    """Print the findings; return 1 if something stands in the way of the default run, else 0."""
    if arguments:
        raise UserError(f"zfnet doctor takes no arguments, got {' '.join(arguments)}")
    root = find_root()
    findings = [*_machine(), *_disk(root), *_configuration(root), *_data(root), *_work(root)]
    for mark, subject, text in findings:
        print(f"  {mark}  {subject:<14} {text}")
    return 1 if any(mark == BAD for mark, _, _ in findings) else 0


def _machine() -> list[tuple[str, str, str]]:
    import torch

    from zfnet.machine import host

    facts = host()
    found = [
        (GOOD, "processor", f"{facts['processor']}, {facts['cores']} cores"),
        (GOOD, "memory", f"{facts['memory_gib']} GiB"),
        (GOOD, "versions", ", ".join(f"{k} {v}" for k, v in facts["versions"].items())),
    ]
    if torch.cuda.is_available():
        found += [(GOOD, "GPU", name) for name in facts["gpus"]]
    else:
        found.append((NOTE, "GPU", "none; quick and small need none, photos at paper size do"))
    return found


def _disk(root: Path) -> list[tuple[str, str, str]]:
    free = shutil.disk_usage(root).free / 2**30
    mark = GOOD if free >= 5 else BAD
    return [(mark, "disk", f"{free:.0f} GiB free at {root} (the default run needs 5)")]


def _configuration(root: Path) -> list[tuple[str, str, str]]:
    try:
        config = compose(root, read_params(root))
    except UserError as error:
        return [(BAD, "configuration", str(error))]
    nets = ", ".join(config["nets"])
    text = f"experiment {config['name']}, data {config['data']['source']}, nets {nets}"
    data_root = resolve_data_root(config["data"]["root"], root)
    return [
        (GOOD, "configuration", text),
        (GOOD, "data root", f"{data_root} (set ZFNET_DATA to move it)"),
    ]


def _data(root: Path) -> list[tuple[str, str, str]]:
    from zfnet.data.store import Prepared

    folder = root / "data" / "prepared"
    if not folder.is_dir():
        return [(NOTE, "prepared data", "none yet: `uv run dvc repro prepare` makes it")]
    try:
        meta = Prepared.open(folder).meta
    except UserError as error:
        return [(BAD, "prepared data", str(error))]
    counts = ", ".join(f"{n} {split}" for split, n in meta.splits.items())
    found = [(GOOD, "prepared data", f"{meta.source}, {counts}, {meta.size} px, {meta.store}")]
    if meta.quarantined:
        text = f"{meta.quarantined} files, listed in {folder / 'quarantine.csv'}"
        found.append((NOTE, "quarantine", text))
    return found + _scan(root)


def _scan(root: Path) -> list[tuple[str, str, str]]:
    from zfnet.data.scan import check_scan

    scans = {root / "data" / "scan.parquet": "prepare"}
    scans |= dict.fromkeys(sorted((root / "data" / "target_scans").glob("*.parquet")), "targets")
    found = []
    for scan, stage in scans.items():
        if not scan.is_file():
            continue
        of = "" if stage == "prepare" else f"of {scan.stem}: "
        try:
            changes = check_scan(scan)
        except (OSError, ValueError) as error:
            text = f"{of}{scan} cannot be read ({error}): run `uv run dvc repro -f {stage}`"
            found.append((BAD, "source files", text))
            continue
        found.append((NOTE if changes else GOOD, "source files", of + changes.describe(stage)))
    return found


def _work(root: Path) -> list[tuple[str, str, str]]:
    """Work that is not finished or not published: what runs now, and what was stopped."""
    from zfnet.work import KEY_DIGITS, WAITS, WorkFolder

    work = main_checkout(root) / "work"
    digits = "[0-9a-f]" * KEY_DIGITS
    folders = sorted(work.glob(f"*-{digits}"))
    stopped = {
        folder
        for net in {folder.name.rpartition("-")[0] for folder in folders}
        for folder in WorkFolder(work, net, key="").others()
    }
    found = []
    for folder in folders:
        size = f"{folder} ({_size(folder) / 2**20:.0f} MiB)"
        if not folder.is_dir():  # finished while this looked
            continue
        if folder in stopped:
            text = f"{size}: continued when its inputs return; delete it when no longer wanted"
            found.append((NOTE, "unfinished", text))
        else:
            found.append((GOOD, "under way", f"{size}: in use, leave it"))
    for folder in sorted(work.glob(f"*-{digits}{WAITS}")):
        text = "finished, waits for its stage; delete it when no longer wanted"
        found.append((NOTE, "finished net", f"{folder} ({_size(folder) / 2**20:.0f} MiB): {text}"))
    return found


def _size(folder: Path) -> int:
    """Bytes of the files under a folder that another process may be changing."""
    total = 0
    for here, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += Path(here, name).stat().st_size
    return total
