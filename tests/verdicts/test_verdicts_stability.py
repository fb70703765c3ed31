"""benchmarks/stability.py: its table, its count of words, its exit status. Nothing is trained."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
from verdicts_made import document

from zfnet.errors import UserError
from zfnet.files import write_json, write_text
from zfnet.stats.estimate import AT_CHANCE, Estimate, to_dict

H, F, U = "holds here", "fails here", "undecided"


@pytest.fixture(scope="module")
def stability(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("stability", root / "benchmarks/stability.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["stability"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(**claims: str) -> dict[str, dict[str, str]]:
    """Words by run; a claim is given as a letter for each run."""
    known = {"h": H, "f": F, "u": U, "r": "reproduced", "1": "one training", "-": "not measured"}
    runs: dict[str, dict[str, str]] = {}
    for claim, letters in claims.items():
        for i, letter in enumerate(letters):
            runs.setdefault(str(i), {})[claim] = known[letter]
    return runs


@pytest.mark.parametrize(("runs", "most"), [(1, 1), (2, 1), (4, 1), (6, 1), (8, 2), (20, 3)])
def test_how_many_runs_may_have_a_wrong_word(stability: ModuleType, runs: int, most: int) -> None:
    assert stability.allowed(runs) == most

    def at_least(d: int) -> float:
        return sum(math.comb(runs, k) * 0.05**k * 0.95 ** (runs - k) for k in range(d, runs + 1))

    assert at_least(most) > 0.0499
    assert at_least(most + 1) < 0.05


def test_each_claim_is_counted_once(stability: ModuleType) -> None:
    runs = words(same="hhhh", also="rhhh", mixed="huhh", gone="hhh1", never="u-uu", out="--1-",
                 both="hhfu")  # fmt: skip
    found = stability.tally(runs, dict.fromkeys(runs["0"], H))
    assert (found.same, found.mixed) == (("same", "also"), ("mixed", "gone"))
    assert (found.never, found.unjudged, found.both) == (("never",), ("out",), ("both",))
    assert found.unsupported == {"2": ["both"]}
    assert found.faults == ["both holds in one run and fails in another."]


@pytest.mark.parametrize(
    ("claims", "whole", "fault"),
    [
        ({"a": "hhhhhhhh"}, H, False),
        ({"a": "huuuuuuu"}, H, False),  # undecided is no error: all together bear the one out
        ({"a": "hhuuuuuu"}, U, False),  # two of eight may be wrong
        ({"a": "hhhuuuuu"}, U, True),
        ({"a": "hhuuuuuu", "b": "uuhuuuuu"}, U, True),  # counted by run
        ({"a": "hhuuuuuu", "b": "hhuuuuuu"}, U, False),
        ({"a": "fffuuuuu"}, H, True),
        ({"a": "ffuuuuuu"}, H, False),
        ({"a": "uuuuuuuu"}, H, False),
        ({"a": "hhhhhhhf"}, H, True),  # both words
    ],
)
def test_too_many_words_that_all_runs_do_not_bear_out(
    stability: ModuleType, claims: dict[str, str], whole: str, fault: bool
) -> None:
    found = stability.tally(words(**claims), dict.fromkeys(claims, whole))
    assert bool(found.faults) == fault


def test_means_over_runs(stability: ModuleType) -> None:
    values = [Estimate(value, value - 1, value + 1, n=600, trainings=5) for value in (1.0, 2, 3)]
    found = stability.mean_of([*values, Estimate(90.0, 80, 99, invalid=AT_CHANCE)])
    assert (found.value, found.n, found.trainings, found.df) == (2.0, 3, 15, None)
    half = 4.302653 / math.sqrt(3)  # Student's, 2 degrees of freedom
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    assert found.covers == ("images", "trainings")
    assert stability.mean_of([Estimate(12)] * 3) == Estimate(12)
    lost = Estimate(90.0, 80, 99, invalid=AT_CHANCE)
    none = stability.mean_of([lost, lost])  # no single run stands for all of them
    assert (math.isnan(none.value), none.low, none.invalid) == (True, None, AT_CHANCE)


def put_run(folder: Path, seed: int, slope: float, verdict: str) -> None:
    """A pair's folder with one number of one study, and the claim's word."""
    number = Estimate(slope, slope - 0.3, slope + 0.3, n=300, trainings=5)
    facts = {"classes": 12, "images": 2400, "input_px": 112, "epochs": 9, "trainings": 5,
             "status": "trained", "source": "synthetic"}  # fmt: skip
    place = {"processor": "Xeon", "versions": "torch 2", "commit": "abc", "nets": {"zfnet": 5}}
    claim = {"verdict": verdict, "value": slope}
    for name, value in {
        "config": {"name": "made", "seed": seed, "data": {"source": "synthetic"}},
        "metrics/features": {"purity_slope": to_dict(number)},
        "metrics/train_zfnet": {k: {**to_dict(Estimate(0)), "value": v} for k, v in facts.items()},
        "metrics/train_alexnet": {},
        "metrics/claims": {"claims": {"hierarchy": claim}},
        "metrics/verdicts": {"hierarchy": verdict},
        "metrics/run": {"experiment": "made", "seed": seed, "data_seed": 7, "places": [place]},
    }.items():
        write_json(folder / f"{name}.json", value)


def test_tabulate(
    stability: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_text(tmp_path / "paper" / "claims.yaml", json.dumps(document()))
    monkeypatch.setattr(stability, "ROOT", tmp_path)
    slopes = (0.9, 1.0, 1.1, 1.0)
    folders = [tmp_path / f"run{i}" for i in range(4)]
    for i, (folder, slope) in enumerate(zip(folders, slopes, strict=True)):
        put_run(folder, 10 * i, slope, U if i else H)
    arguments = ["--tabulate", *map(str, folders)]
    assert stability.main(arguments) == 0
    table = capsys.readouterr().out
    written = tmp_path / "runs" / "stability" / "stability.md"
    assert written.read_text(encoding="utf-8") == table
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert rows[0] == "| claim | 0 / 7 | 10 / 7 | 20 / 7 | 30 / 7 | all together |"
    assert rows[2].startswith("| hierarchy | holds 0.9 | undecided 1 | undecided 1.1 |")
    assert "| holds 1.00 [0.87, 1.13] |" in rows[2]
    assert "4 of them trained on Xeon, torch 2, abc." in table
    put_run(folders[3], 30, -1.0, F)
    assert stability.main(arguments) == 1  # holds and fails
    capsys.readouterr()
    assert stability.main(["--tabulate", *map(str, folders[:3])]) == 0
    assert "all together" not in capsys.readouterr().out  # three decide less than one
    with pytest.raises(UserError, match="claims"):
        stability.main(["--tabulate", str(tmp_path / "nothing")])


def test_pairs_share_no_training_and_no_image(stability: ModuleType) -> None:
    found = stability.pairs(8, 21)
    trainings = {pair.seed + i for pair in found for i in range(5)}
    assert (len(trainings), len({pair.data_seed for pair in found})) == (40, 8)
    assert found[1].name == "seed31_data22"
