"""The terminal's table and the comparison with another revision."""

from __future__ import annotations

import io
import json
import re
import subprocess
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


def told(source: str = "synthetic") -> dict[str, Any]:
    claims = {
        name: {"measured": [{"study": "features", "key": name}], "caveat": f"Of {name}."}
        for name in NAMES
    }
    return judge.document(judged(claims, {"features": NUMBERS}, source))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# --------------------------------------------------------------------------------------- table
@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = table.text(told(), width)
    assert max(map(len, text.splitlines())) <= width
    flat = re.sub(r"\s+", " ", text)
    for name, claim in told()["claims"].items():
        assert re.search(rf"{claim['verdict']} {name}:", flat)


def test_what_stands_beside_a_verdict() -> None:
    text = table.text(told(), 200)
    for part in (
        "seed 1: rendered images (synthetic)", "1,281,167 images", "0.104 [0.085, 0.122]",
        "−0.200 [−0.220, −0.180] points", "paper: rises", "3 claims were judged",
        "features has no layer1_purity in this run.", "Of purity_slope.",
    ):  # fmt: skip
        assert part in text
    assert "Of layer1_purity." not in text  # a caveat is about a number
    assert "Rendered images" in text
    assert "Rendered images" not in table.text(told("imagenette"), 200)


def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not table.is_coloured(io.StringIO())
    assert table.is_coloured(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not table.is_coloured(Terminal())
    plain, painted = (table.text(told(), 100, colour) for colour in (False, True))
    assert "\x1b" not in plain
    assert "\x1b[32mholds here\x1b[0m" in painted
    assert re.sub(r"\x1b\[\d*m", "", painted) == plain


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert table.width_of(io.StringIO()) == table.WIDTH
    monkeypatch.setenv("COLUMNS", "77")
    assert table.width_of(io.StringIO()) == table.width_of(Terminal()) == 77
    monkeypatch.setenv("COLUMNS", "3")
    assert table.width_of(Terminal()) == table.NARROWEST


def test_which_of_several_numbers_is_shown_and_which_are_missing() -> None:
    several = {"it": {"measured": [{"study": "features", "key": key} for key in NAMES[:2]]}}
    numbers = {"purity_slope": Estimate(5, 4, 6, 9), "spread_difference": Estimate(2, 1, 3, 9)}
    text = table.text(judge.document(judged(several, {"features": numbers})), 200)
    assert "2.0 [1.0, 3.0] (spread_difference, deciding of 2)" in text
    lost = {"features": {"purity_slope": Estimate(-5, -6, -4, 9)}}
    text = table.text(judge.document(judged(several, lost)), 200)
    assert "Not counted: features has no spread_difference in this run." in text


def test_a_seed_that_was_known_is_marked_with_one_that_was_not() -> None:
    found = told()
    found["seen"] = [{"experiment": "made", "seeds": [0, 1, 4], "studies": ["features"]}]
    found["claims"]["purity_slope"]["seen_seeds"] = [1]
    assert "holds here *" in table.text(found, 200)
    assert "set: [seed=5]" in table.text(found, 200)
    assert "seed=" not in table.text(told(), 200)


# ------------------------------------------------------------------------------------- compare
def entries(**words: str) -> dict[str, Any]:
    return {"claims": {name: {"verdict": word, "value": 1.5} for name, word in words.items()}}


def test_changes() -> None:
    before = entries(a="reproduced", b="undecided", gone="undecided")
    now = entries(a="reproduced", b="contradicted", new="undecided")
    assert command.changes(before, now) == [
        ("b", "undecided (1.5)", "contradicted (1.5)"),
        ("new", "no such claim", "undecided (1.5)"),
        ("gone", "undecided (1.5)", "no such claim"),
    ]
    text = command.comparison("HEAD~1", before, now)
    assert "b     undecided (1.5) → contradicted (1.5)\n" in text
    assert text.endswith("1 verdict as in HEAD~1, 3 changed.\n")
    assert command.comparison("HEAD", now, now) == "3 verdicts as in HEAD, 0 changed.\n"


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(root), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A run with one claim, whose first commit has no verdicts and whose second has another."""
    git(tmp_path, "init", "-q")
    slope = {"value": 0.1, "low": 0.08, "high": 0.12, "n": 342}
    for name, text in {
        "paper/claims.yaml": yaml.safe_dump(document()),
        "build/config.json": json.dumps({"name": "quick", "data": {"source": "synthetic"}}),
        "metrics/features.json": json.dumps({"purity_slope": slope}),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    verdicts = tmp_path / "metrics" / "claims.json"
    verdicts.write_text(json.dumps(entries(hierarchy="fails here")), encoding="utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "second")
    return tmp_path


def said(root: Path, *arguments: str) -> str:
    out = io.StringIO()
    assert command.main(list(arguments), root, out) == 0
    return out.getvalue()


def test_a_fresh_clone_is_judged(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(repository), str(tmp_path / "clone"))
    assert "holds here" in said(tmp_path / "clone")


def test_the_command_compares_with_a_commit(repository: Path) -> None:
    assert said(repository, "--compare", "HEAD") == (
        "hierarchy  fails here (1.5) → holds here (0.1)\n0 verdicts as in HEAD, 1 changed.\n"
    )
    with pytest.raises(UserError, match=r"HEAD~1 has no metrics/claims\.json"):
        said(repository, "--compare", "HEAD~1")


def test_the_command_compares_with_an_experiment(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "update-ref", f"refs/exps/ab/{commit}/calm-tern", commit)
    assert "fails here (1.5) → holds here" in said(repository, "--compare=calm-tern")
    git(repository, "update-ref", f"refs/exps/cd/{commit}/calm-tern", commit)
    with pytest.raises(UserError, match="2 experiments have that name"):
        said(repository, "--compare=calm-tern")


@pytest.mark.parametrize("revision", ["nowhere", "", "--output=x"])
def test_an_unknown_revision_is_named(repository: Path, revision: str) -> None:
    with pytest.raises(UserError, match="--compare"):
        said(repository, f"--compare={revision}")


def test_damaged_verdicts_are_named(repository: Path) -> None:
    (repository / "metrics" / "claims.json").write_text("[1]", encoding="utf-8")
    git(repository, "commit", "-qam", "third")
    with pytest.raises(UserError, match=r"claims\.json of HEAD cannot be read"):
        said(repository, "--compare", "HEAD")


def test_a_wrong_option_is_named(repository: Path) -> None:
    with pytest.raises(UserError, match="unrecognized arguments: --colour"):
        said(repository, "--colour")
