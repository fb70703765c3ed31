"""The verdicts stage: writes what this run says of every claim."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Protocol

from zfnet.verdicts.judge import document, judge, summary


class VerdictPaths(Protocol):
    """The paths that this stage uses."""

    @property
    def root(self) -> Path:
        """Checkout whose files are read."""

    @property
    def results(self) -> Path:
        """Beside it lies claims.json, everything about every claim."""

    @property
    def metrics(self) -> Path:
        """Beside it lies claims.json, counts and verdicts; itself in a run by hand."""


def run(cfg: Any, paths: VerdictPaths) -> None:
    """Write results/claims.json and metrics/claims.json.

    `cfg` is unused: verdicts read files that stages wrote, build/config.yaml among them. Equal
    inputs give equal bytes. Raises UserError for a file that cannot be read.
    """
    judgement = judge(paths.root)
    by_hand = paths.metrics.name == "metrics.json"
    _write(paths.results.with_name("claims.json"), document(judgement))
    _write(paths.metrics if by_hand else paths.metrics.with_name("claims.json"), summary(judgement))
    told = ", ".join(f"{word} {count}" for word, count in judgement.counts.items())
    print(f"zfnet: {len(judgement.verdicts)} claims: {told}", file=sys.stderr)


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
