"""The report stage: reads what the other stages left and writes the site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol

from zfnet.report.gather import gather
from zfnet.report.site import build


class ReportPaths(Protocol):
    """The two paths that this stage uses."""

    @property
    def root(self) -> Path:
        """Checkout whose files are read."""

    @property
    def reports(self) -> Path:
        """Folder of the site."""


def run(cfg: Any, paths: ReportPaths) -> None:
    """Write the site to `paths.reports`. `cfg` is unused: the report reads files, not options."""
    index = build(gather(paths.root), paths.reports)
    total = sum(file.stat().st_size for file in paths.reports.rglob("*") if file.is_file())
    try:
        shown = index.relative_to(Path.cwd())
    except ValueError:
        shown = index
    print(f"zfnet: report of {total / 1e6:.1f} MB, open {shown}", file=sys.stderr)
