"""Files that are either whole or not there, and the one reader of JSON and YAML."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from zfnet.errors import UserError


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, then move it to `path`.

    Whoever reads `path` sees the old bytes or the new ones, never a part, whenever the process or
    the machine stops.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    _flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    write_whole(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any, *, sort_keys: bool = True) -> None:
    """Write `value` as JSON: equal values give equal bytes."""
    text = json.dumps(value, indent=1, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def publish_folder(built: Path, target: Path) -> None:
    """Make `target` a copy of the folder `built`, subfolders included, in one step.

    What was there is replaced. Files are hard-linked where the file system allows it, else copied.
    A stop on the way leaves `target` as it was, or absent, and a leftover beside it that the next
    call clears away. Raises NotADirectoryError if `built` is no folder.
    """
    if not built.is_dir():
        raise NotADirectoryError(str(built))
    partial = target.with_name(f".{target.name}.partial")
    old = target.with_name(f".{target.name}.old")
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    for source in sorted(built.rglob("*")):
        place = partial / source.relative_to(built)
        if source.is_dir():
            place.mkdir()
        else:
            _link(source, place)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    _flush_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(file: Path, missing_ok: bool = False) -> dict[str, Any]:
    """The JSON object in `file`; {} for an absent one if `missing_ok`.

    Raises UserError naming a file that cannot be read or holds anything else.
    """
    if missing_ok and not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): run the stage that writes it") from error
    if not isinstance(found, dict):
        raise UserError(f"{file} holds no JSON object: run the stage that writes it")
    return found


def read_yaml(file: Path) -> dict[str, Any]:
    """The configuration in `file`, as composed for a run.

    Raises UserError naming a file that is missing, is no YAML or holds no mapping.
    """
    import yaml

    if not file.is_file():
        raise UserError(f"{file} is missing: run `dvc repro` (or `zfnet compose`) first")
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file} is no YAML ({error}): run `dvc repro compose`") from error
    if not isinstance(found, dict):
        raise UserError(f"{file} holds no configuration: run `dvc repro compose`")
    return found
