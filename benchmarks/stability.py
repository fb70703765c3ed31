"""Do the verdict words stand? One experiment on k fresh pairs of `seed` and `data.seed`.

    python benchmarks/stability.py --pairs 8 --first 21 [--experiment quick] [--set KEY=VALUE ...]
                                   [--work DIR] [--keep]
    python benchmarks/stability.py --tabulate FOLDER [FOLDER ...] [--work DIR]

Pair i has seed = first + 10 i and data.seed = first + i: a run of seed s trains with s, s + 1, …,
so that no two pairs share a training or an image. Each runs `dvc repro verdicts` in a clone of the
commit that is checked out, below DIR/<pair>/, which keeps the run's metrics/, its config.json and a
log; the clone goes unless --keep. Repeated, the command goes on where it was stopped. --tabulate
takes such folders of pairs, or checkouts, from other machines too. The table goes to stdout and to
DIR/stability.md; docs/runs/<name>/stability.md is where docs/reference.md takes it from.

The last column judges all runs together by the same rules: every number's mean over the runs with
Student's interval over them, each run being fresh trainings on fresh images. A number of a run
that is no evidence (a net at chance or still learning) is left out of the mean. That takes at least
four runs: below, so few degrees of freedom decide less than the trainings of one run do.

Exit status 1:

- A claim holds in one run and fails in another: one of the two words is wrong.
- More runs than the error rate allows have a decided word that all runs together do not bear out:
  they leave the claim undecided, or say the opposite. To be undecided is no error, however many
  runs are: a run may lack the power. But all together have more of it than one, so that what one
  run decides and all do not is what an error looks like. Holm's correction keeps the chance of
  even one wrong decision in a run at 5 %; of k runs the number with one is then at most binomial,
  and d of them are too many when P(Bin(k, 0.05) >= d) < 0.05: more than 1 of 4, or 2 of 8.

2: a run failed, or a request cannot be met. 0 otherwise.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zfnet.errors import UserError
from zfnet.files import read_json, write_json, write_text
from zfnet.pipeline.origin import KEYS
from zfnet.pipeline.registry import CONFIG_FILE
from zfnet.results import plain, read_metrics
from zfnet.stats.estimate import IMAGES, MINUS, TRAININGS, Estimate, text, to_dict
from zfnet.stats.intervals import student
from zfnet.verdicts import claims as paper
from zfnet.verdicts.evidence import LEFT_OUT, TRAINED
from zfnet.verdicts.judge import document, judge
from zfnet.verdicts.verdict import DECIDED_AGAINST, DECIDED_FOR, UNDECIDED

ROOT = Path(__file__).resolve().parents[1]
ERROR = 0.05  # chance of even one wrong word in a run, which Holm's correction keeps
FEWEST = 4  # runs that say together more than one: Student's t at a level of 0.05 / 24
APART = 10  # between the seeds of two pairs: more than a run has trainings of a net
HOLDS, FAILS = "holds", "fails"
SIDES = {
    **dict.fromkeys(DECIDED_FOR, HOLDS),
    **dict.fromkeys(DECIDED_AGAINST, FAILS),
    UNDECIDED: UNDECIDED,
}
VERDICTS = Path("metrics") / "claims.json"


# ------------------------------------------------------------------------------------------ runs
@dataclass(frozen=True)
class Pair:
    """Seeds of one run: of its trainings, and of its images."""

    seed: int
    data_seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"seed{self.seed}_data{self.data_seed}"


def pairs(count: int, first: int) -> list[Pair]:
    """`count` pairs that share no training and no image."""
    return [Pair(first + APART * i, first + i) for i in range(count)]


def run_pair(pair: Pair, experiment: str, changes: Sequence[str], work: Path, keep: bool) -> bool:
    """Run one pair, unless its verdicts are there; whether they are now."""
    folder = work / pair.name
    if (folder / VERDICTS).is_file():
        return True
    clone, started = folder / "zfnet", time.time()
    if not clone.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        partial = folder / "partial"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(partial)], check=True)
        partial.rename(clone)
    seeds = [f"seed={pair.seed}", f"data.seed={pair.data_seed}"]
    seeds.append(f"targets.unseen.seed={pair.data_seed}")
    write_json(clone / "params.yaml", {"experiment": experiment, "set": [*seeds, *changes]})
    with (folder / "log.txt").open("ab") as log:
        command = [sys.executable, "-m", "dvc", "repro", "verdicts"]
        done = subprocess.run(
            command, cwd=clone, env=environment(clone), stdout=log, stderr=subprocess.STDOUT
        )
    if done.returncode or not (clone / VERDICTS).is_file():
        print(f"{pair.name} failed, see {folder / 'log.txt'}", file=sys.stderr)
        return False
    shutil.copy(clone / CONFIG_FILE, folder / "config.json")
    shutil.rmtree(folder / "copied", ignore_errors=True)
    shutil.copytree(clone / "metrics", folder / "copied")
    (folder / "copied").rename(folder / "metrics")
    if not keep:
        shutil.rmtree(clone)
    print(f"{pair.name}: {(time.time() - started) / 60:.1f} minutes", file=sys.stderr)
    return True


def environment(clone: Path) -> dict[str, str]:
    """That of a user in `clone` with this interpreter: its own source, this checkout's raw data."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))}
    programs = str(Path(sys.executable).parent)
    return {
        "ZFNET_DATA": str(ROOT / "data"),
        **kept,
        "PATH": os.pathsep.join([programs, kept.get("PATH", "")]),
        "PYTHONPATH": str(clone / "src"),
        "ZFNET_PROGRESS": "0",
    }


def check_same_work(work: Path, experiment: str, changes: Sequence[str]) -> None:
    """Raise UserError if `work` holds runs of another commit or experiment than is asked for."""
    commit = _git("rev-parse", "HEAD")
    asked = {"commit": commit, "experiment": experiment, "set": list(changes)}
    there = read_json(work / "asked.json", missing_ok=True) or asked
    if there != asked and any(work.glob("seed*_data*")):
        raise UserError(f"{work} holds runs of {json.dumps(there)}; name another --work")
    write_json(work / "asked.json", asked)
    if _git("status", "--porcelain", "--", "src", "conf", "paper"):
        print(f"changes that are not committed take no part: runs are of {commit}", file=sys.stderr)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


# ------------------------------------------------------------------------------ all runs together
@dataclass(frozen=True)
class Run:
    """One run as its folder has it: `claims` and `origin` are metrics/claims.json and run.json."""

    folder: Path
    claims: Mapping[str, Mapping[str, Any]]
    origin: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its seeds, those of its trainings first."""
        seeds = [self.origin.get(key) for key in ("seed", "data_seed")]
        return " / ".join(str(each) for each in seeds if each is not None) or self.folder.name


def read_run(folder: Path) -> Run:
    """Read a pair's folder or a checkout. Raises UserError for one without verdicts."""
    origin = read_json(folder / "metrics" / "run.json", missing_ok=True)
    try:
        claims = read_json(folder / VERDICTS)["claims"]
        whole = all("verdict" in claim for claim in claims.values())
        whole = whole and all(set(KEYS) <= set(place) for place in origin.get("places", []))
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise UserError(f"{folder}: its metrics are damaged or of another version; run it again")
    return Run(folder, claims, origin)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of one number over runs with Student's interval over those where it is evidence."""
    sound = [one for one in estimates if not one.invalid and math.isfinite(one.value)]
    values = [one.value for one in sound]
    if not sound or (len(set(values)) == 1 and sound[0].low is None):  # a size, not a measurement
        return sound[0] if sound else replace(estimates[0], value=math.nan, low=None, high=None)
    low, high = student(values)
    return replace(
        sound[0],
        value=statistics.fmean(values),
        low=low,
        high=high,
        n=len(values),
        df=None,
        trainings=sum(one.trainings for one in sound),
        covers=(IMAGES, TRAININGS),
        note=f"mean over {len(values)} of {len(estimates)} runs",
    )


def together(runs: Sequence[Run]) -> dict[str, Any]:
    """What all runs together say: the `document` of their means, judged as one run is."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        first = runs[0].folder
        config = first / "config.json"
        (root / "paper").mkdir()
        shutil.copy(ROOT / paper.FILE, root / paper.FILE)
        whole = read_json(config if config.is_file() else first / CONFIG_FILE)
        write_json(root / CONFIG_FILE, whole)
        for file in sorted((first / "metrics").glob("*.json")):
            if file.stem not in ("claims", "headline", "run", "verdicts"):
                pooled = pool([run.folder / "metrics" / file.name for run in runs])
                write_json(root / "metrics" / file.name, pooled)
        return document(judge(root))


def pool(files: Sequence[Path]) -> dict[str, Any]:
    """One metrics file of means over runs; of words those of a run in which the net was trained."""
    every = [read_metrics(file) for file in files]
    numbers = [numbers for numbers, _ in every]
    keys = dict.fromkeys(key for each in numbers for key in each)
    found = {key: to_dict(mean_of([each[key] for each in numbers if key in each])) for key in keys}
    trained = [words for _, words in every if words.get("status") == TRAINED]
    words = (trained or [words for _, words in every])[0]
    found |= {key: {**to_dict(Estimate(0)), "value": word} for key, word in words.items()}
    return dict(plain(found))


# ------------------------------------------------------------------------------------- the tally
def side(word: str) -> str:
    """HOLDS, FAILS or UNDECIDED; "" for a word that says that the claim was not judged."""
    return SIDES.get(word, "")


def allowed(count: int) -> int:
    """The most of `count` runs that may have a wrong word at the stated rate: more are too many."""
    chances = [math.comb(count, d) * ERROR**d * (1 - ERROR) ** (count - d) for d in range(count)]
    return next((d - 1 for d in range(count + 1) if 1 - sum(chances[:d]) < ERROR), count)


@dataclass(frozen=True)
class Tally:
    """Claims by what their words did over the runs; `unsupported`: run -> claims.

    `same`: decided the same way in every run; `mixed`: decided in some, one way, and not in the
    others; `never`: judged and never decided; `both`: decided both ways; `unjudged`: in no run.
    """

    runs: int
    same: tuple[str, ...]
    mixed: tuple[str, ...]
    never: tuple[str, ...]
    both: tuple[str, ...]
    unjudged: tuple[str, ...]
    unsupported: Mapping[str, Sequence[str]]

    @property
    def faults(self) -> list[str]:
        """Why the exit status is 1."""
        found = [f"{name} holds in one run and fails in another." for name in self.both]
        if len(self.unsupported) > allowed(self.runs):
            found.append(
                f"{len(self.unsupported)} of {self.runs} runs have a decided word that all runs "
                f"together do not bear out; the error rate allows {allowed(self.runs)}."
            )
        return found


def tally(runs: Mapping[str, Mapping[str, str]], whole: Mapping[str, str]) -> Tally:
    """Count words. `runs`: claim -> word by run; `whole`: claim -> word of all runs together, {}
    where they are too few to say more than one.
    """
    kinds: dict[str, list[str]] = {k: [] for k in ("same", "mixed", "never", "both", "unjudged")}
    unsupported: dict[str, list[str]] = {}
    for claim in dict.fromkeys(name for words in runs.values() for name in words):
        sides = {run: side(words.get(claim, LEFT_OUT)) for run, words in runs.items()}
        decided = {run: each for run, each in sides.items() if each in (HOLDS, FAILS)}
        if len(set(decided.values())) == 2:
            kind = "both"
        elif len(decided) == len(runs):
            kind = "same"
        else:
            kind = "mixed" if decided else "never" if any(sides.values()) else "unjudged"
        kinds[kind].append(claim)
        for run, each in decided.items():
            if whole and side(whole.get(claim, LEFT_OUT)) != each:
                unsupported.setdefault(run, []).append(claim)
    return Tally(
        runs=len(runs),
        unsupported=unsupported,
        **{kind: tuple(names) for kind, names in kinds.items()},
    )


# ------------------------------------------------------------------------------------- the table
def report(runs: Sequence[Run]) -> tuple[str, Tally]:
    """The whole of stability.md, and what its exit status is decided by."""
    whole = together(runs)["claims"] if len(runs) >= FEWEST else {}
    names = [run.name for run in runs]
    if len(set(names)) < len(names):  # the same seeds on two machines
        names = [f"{name} ({i})" for i, name in enumerate(names, 1)]
    words = {
        name: {claim: str(one["verdict"]) for claim, one in run.claims.items()}
        for name, run in zip(names, runs, strict=True)
    }
    found = tally(words, {claim: str(one["verdict"]) for claim, one in whole.items()})
    judged = [claim for claim in runs[0].claims if claim not in found.unjudged]
    rows = [["claim", *names], ["---"] * (len(runs) + 1)]
    rows += [[claim, *(_cell(run.claims.get(claim, {})) for run in runs)] for claim in judged]
    if whole:
        last = [_cell(whole.get(claim, {}), interval=True) for claim in judged]
        rows = [[*row, end] for row, end in zip(rows, ["all together", "---", *last], strict=True)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*_head(runs), "", *lines, "", *_summary(found)]) + "\n", found


def _cell(claim: Mapping[str, Any], interval: bool = False) -> str:
    word = str(claim.get("verdict", LEFT_OUT))
    if claim.get("value") is None:
        return word
    shown = f"{claim['value']:g}".replace("-", MINUS)
    if interval:
        shown = text(Estimate(claim["value"], claim.get("low"), claim.get("high")))
    return f"{side(word) or word} {shown}"


def _head(runs: Sequence[Run]) -> list[str]:
    experiments = dict.fromkeys(str(run.origin.get("experiment", "")) for run in runs)
    places = Counter(
        ", ".join(str(place[key]) for key in KEYS)
        for run in runs
        for place in run.origin.get("places", [])
    )
    head = f"`{', '.join(experiments)}`, {len(runs)} runs; columns: `seed` / `data.seed`."
    return [head, *(f"{n} of them trained on {place}." for place, n in places.items())]


def _summary(found: Tally) -> list[str]:
    def listed(claims: Sequence[str]) -> str:
        return f"{len(claims)}" + (f" ({', '.join(claims)})" if claims else "")

    lines = [
        f"- Decided the same way in all runs: {listed(found.same)}",
        f"- Decided in some runs, undecided or not judged in others: {listed(found.mixed)}",
        f"- Never decided: {listed(found.never)}",
        f"- Both words: {listed(found.both)}",
        f"- Judged in no run: {listed(found.unjudged)}",
    ]
    if found.runs < FEWEST:
        return lines
    lines += [
        f"- Runs with a decided word that all runs together do not bear out: "
        f"{len(found.unsupported)}, of which the error rate allows {allowed(found.runs)}",
    ]
    lines += [f"  - {run}: {', '.join(claims)}" for run, claims in found.unsupported.items()]
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--first", type=int, help="first seed; choose one that nobody looked at")
    parser.add_argument("--experiment", default="quick")
    parser.add_argument("--set", nargs="*", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "stability")
    parser.add_argument("--keep", action="store_true", help="keep the clones, 0.5 GB each")
    parser.add_argument("--tabulate", nargs="+", type=Path, metavar="FOLDER")
    given = parser.parse_args(argv)
    folders, work, failed = given.tabulate, given.work.resolve(), False
    if not folders:
        if given.first is None:
            parser.error("--first or --tabulate is needed")
        if given.pairs < 1:
            parser.error(f"--pairs {given.pairs}: at least 1")
        check_same_work(work, given.experiment, given.set)
        asked = pairs(given.pairs, given.first)
        done = [p for p in asked if run_pair(p, given.experiment, given.set, work, given.keep)]
        failed = len(done) < len(asked)
        folders = [work / pair.name for pair in done]
    if not folders:
        return 2
    table, found = report([read_run(folder) for folder in folders])
    write_text(work / "stability.md", table)
    print(table, end="")
    for fault in found.faults:
        print(f"stability: {fault}", file=sys.stderr)
    return 2 if failed else int(bool(found.faults))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (UserError, subprocess.CalledProcessError) as error:
        print(f"stability: {error}", file=sys.stderr)
        sys.exit(2)  # 1 is a finding
