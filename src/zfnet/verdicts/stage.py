"""The verdicts stage: writes what this run says of every claim."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from zfnet.files import write_json
from zfnet.verdicts.judge import document, headline, judge, summary
from zfnet.verdicts.verdict import NOT_MEASURED

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths


def run(cfg: Any, paths: Paths) -> None:
    """Write results/claims.json and metrics/{claims,headline,verdicts}.json.

    `cfg` is unused: verdicts read build/config.json and metrics/. `dvc metrics` shows headline.json
    and verdicts.json. Equal inputs give equal bytes. Raises UserError for what cannot be read.
    """
    judgement = judge(paths.root)
    told = document(judgement)
    words = {name: claim["verdict"] for name, claim in told["claims"].items()}
    measured = {name: word for name, word in words.items() if word != NOT_MEASURED}
    write_json(paths.results.with_name("claims.json"), told, sort_keys=False)
    numbers = headline(judgement.run, told["counts"])
    metrics = {"claims": summary(told), "headline": numbers, "verdicts": measured}
    for name, value in metrics.items():
        write_json(paths.metrics.with_name(f"{name}.json"), value, sort_keys=False)
    counts = ", ".join(f"{word} {count}" for word, count in told["counts"].items())
    print(f"zfnet: {len(words)} claims: {counts}", file=sys.stderr)
