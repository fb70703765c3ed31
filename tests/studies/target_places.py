"""Where the studies of targets read and write, in a test's folder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from zfnet.results import Measurement, save


def write_overlap(folder: Path, duplicates: dict[str, Any]) -> None:
    """What stage overlap says of targets, in `folder`/overlap."""
    overlap = Measurement("", "", facts={"duplicates": duplicates})
    save(overlap, folder / "overlap", folder / "overlap.json")


def paths_in(folder: Path, root: Path) -> SimpleNamespace:
    """Where the studies of targets read and write."""
    return SimpleNamespace(
        root=root, net=folder / "net", targets=folder / "targets", codes=folder / "codes",
        scratch=folder / "scratch", work=folder / "work", result_of=lambda name: folder / name,
    )  # fmt: skip
