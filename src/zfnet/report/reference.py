"""docs/reference.md's tables, from metrics in git: `zfnet reference`, or `--check` to compare.

A table stands between `<!-- table: NAME RUN -->` and `<!-- end -->`; what is around is written by
hand. Without RUN it is of metrics/, the run that the checkout holds; else of docs/runs/RUN/, which
keeps of another run metrics/{claims,run,train_*}.json, or the stability.md of the benchmark.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from zfnet.errors import UserError
from zfnet.files import read_json, write_text
from zfnet.pipeline.origin import KEYS
from zfnet.pipeline.registry import NETS, SOURCES, title_of
from zfnet.results import read_metrics
from zfnet.stats.estimate import from_dict, text
from zfnet.verdicts.claims import Work, read_claims
from zfnet.verdicts.evidence import SEEDS, TRAINING
from zfnet.verdicts.verdict import NOT_MEASURED

FILE = Path("docs") / "reference.md"
RUNS = Path("docs") / "runs"
BLOCK = re.compile(r"(<!-- table: (\w+) ?(\w*) -->\n).*?(<!-- end -->)", re.DOTALL)
NUMBER = ("value", "low", "high", "unit")
ERRORS = {  # columns of the table of nets
    "val_top1_error": "top-1, validation",
    "val_ten_crop_top1_error": "ten crops",
    "train_top1_error": "top-1, training",
}


def main(arguments: Sequence[str], root: Path) -> int:
    """Fill the tables, or with --check return 1 where they are not what the metrics give."""
    if arguments not in ([], ["--check"]):
        raise UserError("usage: zfnet reference [--check]")
    file = root / FILE
    if not file.is_file():
        raise UserError(f"{file} is missing: fetch it from git")
    before = file.read_text(encoding="utf-8")
    try:
        after = filled(before, root)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{FILE}: its metrics are damaged or of another version ({error!r})"
        ) from error
    if not arguments:
        write_text(file, after)
    elif before != after:
        print(f"{FILE} is not as metrics/ has it: run `zfnet reference`", file=sys.stderr)
        return 1
    return 0


def filled(document: str, root: Path) -> str:
    """`document` with every table made anew. Raises UserError for a block that cannot be made."""
    blocks = len(BLOCK.findall(document))
    if not blocks == document.count("<!-- table") == document.count("<!-- end -->"):
        raise UserError(f"{FILE}: a table needs <!-- table: NAME --> before and <!-- end --> after")

    def made(block: re.Match[str]) -> str:
        start, name, run, end = block.groups()
        if name not in TABLES:
            raise UserError(f"{FILE}: no table {name}; there are {', '.join(TABLES)}")
        folder = root / RUNS / run if run else root
        if not folder.is_dir():
            raise UserError(f"{FILE}: table {name} of {run}: there is no folder {folder}")
        return f"{start}\n{TABLES[name](folder, root)}\n\n{end}"

    return BLOCK.sub(made, document)


def run_table(folder: Path, root: Path) -> str:
    """Which run it was: experiment, seeds, and where its nets were trained."""
    run = read_json(folder / "metrics" / "run.json", missing_ok=True)
    if not run:
        return "Where this run was trained was not recorded."
    seeds = {"seed": run["seed"], "data.seed": run["data_seed"]}
    named = [f"`{run['experiment']}`", SOURCES.get(run["source"], run["source"])]
    named += [f"`{key}` {value}" for key, value in seeds.items() if value is not None]
    rows = [[_nets(place["nets"]), *(place[key] for key in KEYS)] for place in run["places"]]
    return f"{', '.join(named)}.\n\n{_table(['trainings of each net', *KEYS], rows)}"


def _nets(nets: Mapping[str, int]) -> str:
    return ", ".join(f"{title_of(net)} {count}" for net, count in nets.items())


def claims_table(folder: Path, root: Path, work: Work = "paper") -> str:
    """Every claim of a work that was measured, with its number, the source's and the verdict."""
    judged, rows = read_json(folder / "metrics" / "claims.json")["claims"], []
    absent = []
    claims = read_claims(root).claims.items()
    for name, claim in (each for each in claims if each[1].work == work):
        one = judged.get(name, {"verdict": NOT_MEASURED})
        if one["verdict"] == NOT_MEASURED:
            absent.append(name)
            continue
        number = text(from_dict({key: one[key] for key in NUMBER if key in one}))
        trainings = str(one.get("trainings", ""))
        said = f"`{name}` {claim.claim}"
        rows.append([claim.place, said, number, trainings, claim.paper.text, one["verdict"]])
    heads = [
        "place",
        "claim",
        "measured [95 %]",
        "trainings",
        "source" if work == "survey" else "paper",
        "verdict",
    ]
    missing = f"\n\nNot measured in this run: {', '.join(absent)}." if absent else ""
    return _table(heads, rows) + missing


def errors_table(folder: Path, root: Path) -> str:
    """Error rates of every net: means over its trainings, where there are several."""
    rows = []
    for net in NETS:
        file = folder / "metrics" / f"{TRAINING}{net}.json"
        numbers, words = read_metrics(file) if file.is_file() else ({}, {})
        if not numbers:
            continue
        errors = (numbers.get(f"{key}{SEEDS}", numbers.get(key)) for key in ERRORS)
        shown = [text(one) if one else "" for one in errors]
        trainings = f"{numbers['trainings'].value:.0f}" if "trainings" in numbers else ""
        rows.append([title_of(net), trainings, words.get("status", ""), *shown])
    return _table(["net", "trainings", "ended", *ERRORS.values()], rows)


def stability_table(folder: Path, root: Path) -> str:
    """What benchmarks/stability.py wrote."""
    file = folder / "stability.md"
    if not file.is_file():
        return "Not measured yet at this version."
    return file.read_text(encoding="utf-8").strip()


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


TABLES: Mapping[str, Callable[[Path, Path], str]] = {
    "run": run_table,
    "claims": claims_table,
    "survey": partial(claims_table, work="survey"),
    "errors": errors_table,
    "stability": stability_table,
}
