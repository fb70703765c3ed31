"""The report stage: reads what the other stages left and writes the site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfnet.report.gather import gather
from zfnet.report.site import build

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths


def run(cfg: Any, paths: Paths) -> None:
    """Write the site to `paths.reports`. `cfg` is unused: the report reads files, not options."""
    index = build(gather(paths.root), paths.reports)
    total = sum(file.stat().st_size for file in paths.reports.rglob("*") if file.is_file())
    shown = index.relative_to(Path.cwd()) if index.is_relative_to(Path.cwd()) else index
    print(f"zfnet: report of {total / 1e6:.1f} MB, open {shown}", file=sys.stderr)
