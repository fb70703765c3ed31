"""The terminal's table and the comparison with another revision."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from verdicts_made import document, judged

from zfnet.errors import UserError
from zfnet.stats.estimate import Estimate
from zfnet.verdicts import command, judge, table

NAMES = ("purity_slope", "spread_difference", "support_share", "layer1_purity")
NUMBERS = {
    "purity_slope": Estimate(0.104, 0.085, 0.122, 342),
    "spread_difference": Estimate(-0.2, -0.22, -0.18, 158, "points"),
    "support_share": Estimate(0.01, -0.2, 0.22, 100),
}


def made(source: str = "synthetic", **run: Any) -> dict[str, Any]:
    claims = {
        name: {"measured": [{"study": "features", "key": name}], "caveat": f"Of {name}."}
        for name in NAMES
    }
    return judge.document(judged(claims, {"features": NUMBERS}, source, **run))


# --------------------------------------------------------------------------------------- table
@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = table.text(made(), width)
    assert max(map(len, text.splitlines())) <= width
    flat = re.sub(r"\s+", " ", text)
    for name, claim in made()["claims"].items():
        assert re.search(rf"{claim['verdict']} {name}:", flat)


def test_what_stands_beside_a_verdict() -> None:
    text = table.text(made(), 200)
    for part in (
        "1,281,167 images", "0.104 [0.085, 0.122]", "−0.200 [−0.220, −0.180] points",
        "paper: rises", "3 claims", "features has no layer1_purity", "Of purity_slope.",
    ):  # fmt: skip
        assert part in text
    assert "Of layer1_purity." not in text  # a caveat is about a number
    assert "Rendered images" in text
    assert "Rendered images" not in table.text(made("imagenette"), 200)


def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert not table.coloured()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert table.coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not table.coloured()
    plain, painted = (table.text(made(), 100, colour) for colour in (False, True))
    assert "\x1b" not in plain
    assert "\x1b[32mholds here\x1b[0m" in painted
    assert re.sub(r"\x1b\[\d*m", "", painted) == plain


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, width in (("77", 77), ("3", table.NARROWEST)):
        monkeypatch.setenv("COLUMNS", columns)
        assert table.width() == width


def test_which_of_several_numbers_is_shown() -> None:
    several = {"it": {"measured": [{"study": "features", "key": key} for key in NAMES[:2]]}}
    numbers = {"purity_slope": Estimate(5, 4, 6, 9), "spread_difference": Estimate(2, 1, 3, 9)}
    text = table.text(judge.document(judged(several, {"features": numbers})), 200)
    assert "2.0 [1.0, 3.0] (spread_difference, deciding of 2)" in text


def test_a_seed_that_was_known_is_marked_with_one_that_was_not() -> None:
    text = table.text(made(seed=0), 200)
    assert "holds here *" in text
    assert "set: [seed=5]" in text
    assert "seed=" not in table.text(made(), 200)


# ------------------------------------------------------------------------------------- compare
def entries(**words: str) -> dict[str, Any]:
    return {name: {"verdict": word, "value": 1.5} for name, word in words.items()}


def test_changes_are_listed_and_the_others_counted() -> None:
    before = entries(a="reproduced", b="undecided", gone="undecided")
    now = entries(a="reproduced", b="contradicted", new="undecided")
    assert command.comparison("HEAD~1", before, now).splitlines() == [
        "b     undecided (1.5) → contradicted (1.5)",
        "new   no such claim → undecided (1.5)",
        "gone  undecided (1.5) → no such claim",
        "1 verdict as in HEAD~1, 3 changed.",
    ]
    assert command.comparison("HEAD", now, now) == "3 verdicts as in HEAD, 0 changed.\n"


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(root), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one claim: a commit without verdicts, one with others, one with damaged ones."""
    root = tmp_path_factory.mktemp("run")
    git(root, "init", "-q")
    slope = {"value": 0.1, "low": 0.08, "high": 0.12, "n": 3, "trainings": 3}
    training = {
        "status": "trained",
        "source": "synthetic",
        "classes": 9,
        "images": 9,
        "input_px": 9,
    }
    for name, text in {
        "paper/claims.yaml": yaml.safe_dump(document()),
        "build/config.json": json.dumps({"name": "quick", "data": {"source": "synthetic"}}),
        "metrics/features.json": json.dumps({"purity_slope": slope}),
        "metrics/train_zfnet.json": json.dumps({k: {"value": v} for k, v in training.items()}),
    }.items():
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text(text, encoding="utf-8")
    for verdicts in ("", json.dumps({"claims": entries(hierarchy="fails here")}), "[1]"):
        if verdicts:
            (root / "metrics" / "claims.json").write_text(verdicts, encoding="utf-8")
        git(root, "add", "-A")
        git(root, "commit", "-qm", "one more")
    commit = git(root, "rev-parse", "HEAD~1")
    for name in ("ab/calm-tern", "ab/wet-owl", "cd/wet-owl"):
        git(root, "update-ref", f"refs/exps/{name.replace('/', f'/{commit}/')}", commit)
    return root


CHANGED = "hierarchy  fails here (1.5) → holds here (0.1)\n0 verdicts as in {}, 1 changed.\n"


def test_a_fresh_clone_is_judged(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "clone", "-q", str(repository), str(tmp_path / "clone"))
    assert command.main([], tmp_path / "clone") == 0
    assert "holds here" in capsys.readouterr().out


@pytest.mark.parametrize("revision", ["HEAD~1", "calm-tern"])
def test_the_command_compares_with_a_commit_or_an_experiment(
    repository: Path, capsys: pytest.CaptureFixture[str], revision: str
) -> None:
    assert command.main(["--compare", revision], repository) == 0
    assert capsys.readouterr().out == CHANGED.format(revision)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--compare=HEAD~2", r"HEAD~2 has no metrics/claims\.json"),
        ("--compare=HEAD", r"claims\.json of HEAD cannot be read"),
        ("--compare=wet-owl", "2 experiments have that name"),
        ("--compare=nowhere", "--compare nowhere: git knows no such revision"),
        ("--compare=", "--compare"),
        ("--compare=--output=x", "--compare"),
        ("--colour", "unrecognized arguments: --colour"),
    ],
)
def test_what_cannot_be_compared_is_named(repository: Path, argument: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        command.main([argument], repository)
