"""The verdicts stage: writes what this run says of every claim."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Protocol

from zfnet.verdicts.claims import read_claims
from zfnet.verdicts.headline import headline, words
from zfnet.verdicts.judge import document, gather, judge_all, summary
from zfnet.verdicts.plots import write_plots


class VerdictPaths(Protocol):
    """The paths that this stage uses."""

    @property
    def root(self) -> Path:
        """Checkout whose files are read."""

    @property
    def results(self) -> Path:
        """Beside it lie claims.json, everything about every claim, and plots/, for DVC."""

    @property
    def metrics(self) -> Path:
        """The file beside which claims.json, headline.json and verdicts.json are written.

        claims.json has counts and verdicts; `dvc metrics` shows the other two.
        """


def run(cfg: Any, paths: VerdictPaths) -> None:
    """Write results/claims.json and results/plots/, metrics/{claims,headline,verdicts}.json.

    `cfg` is unused: verdicts read files that stages wrote, build/config.yaml among them. Equal
    inputs give equal bytes. Raises UserError for a file that cannot be read.
    """
    evidence = gather(paths.root)
    judgement = judge_all(read_claims(paths.root), evidence)
    _write(paths.results.with_name("claims.json"), document(judgement))
    _write(paths.metrics.with_name("claims.json"), summary(judgement))
    _write(paths.metrics.with_name("headline.json"), headline(evidence.numbers, judgement))
    _write(paths.metrics.with_name("verdicts.json"), words(judgement))
    write_plots(paths.root, paths.results.with_name("plots"))
    told = ", ".join(f"{word} {count}" for word, count in judgement.counts.items())
    print(f"zfnet: {len(judgement.verdicts)} claims: {told}", file=sys.stderr)


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
