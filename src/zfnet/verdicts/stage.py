"""The verdicts stage: writes what this run says of every claim, and which run it was."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfnet.files import read_json, write_json
from zfnet.pipeline.origin import KEYS, UNKNOWN
from zfnet.pipeline.registry import CONFIG_FILE, NETS
from zfnet.verdicts.evidence import LEFT_OUT, TRAINING, Run
from zfnet.verdicts.judge import document, headline, judge, summary
from zfnet.verdicts.table import tally
from zfnet.verdicts.verdict import NOT_MEASURED

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths


def run(cfg: Any, paths: Paths) -> None:
    """Write results/claims.json and metrics/{claims,headline,run,verdicts}.json.

    `cfg` is unused: verdicts read build/config.json and metrics/. `dvc metrics` shows headline.json
    and verdicts.json. Equal inputs give equal bytes. Raises UserError for what cannot be read.
    """
    judgement = judge(paths.root)
    told = document(judgement)
    words = {name: claim["verdict"] for name, claim in told["claims"].items()}
    measured = {name: word for name, word in words.items() if word != NOT_MEASURED}
    write_json(paths.results.with_name("claims.json"), told, sort_keys=False)
    metrics = {
        "claims": summary(told),
        "headline": headline(judgement.run, told["counts"]),
        "run": origins(judgement.run, paths.root),
        "verdicts": measured,
    }
    for name, value in metrics.items():
        write_json(paths.metrics.with_name(f"{name}.json"), value, sort_keys=False)
    print(f"zfnet: {tally(told)}", file=sys.stderr)


def origins(run: Run, root: Path) -> dict[str, Any]:
    """Which run it was: its seeds, and each place where nets were trained with those nets.

    A place is a processor, versions and a commit (`zfnet.pipeline.origin`); `nets`: how often each
    was trained. An adopted net's place is that of its evaluation.
    """
    data = read_json(root / CONFIG_FILE).get("data") or {}
    places: dict[tuple[str, ...], dict[str, int]] = {}
    for net in NETS:
        if run.fact("status", net) in (None, LEFT_OUT):
            continue
        trainings = run.numbers[f"{TRAINING}{net}"].get("trainings")
        where = tuple(str(run.fact(key, net) or UNKNOWN) for key in KEYS)
        places.setdefault(where, {})[net] = int(trainings.value) if trainings else 1
    return {
        "experiment": run.experiment,
        "seed": run.seed,
        "data_seed": data.get("seed") if run.rendered else None,
        "source": run.source,
        "places": [
            {**dict(zip(KEYS, where, strict=True)), "nets": nets} for where, nets in places.items()
        ],
    }
