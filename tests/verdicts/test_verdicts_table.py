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
from verdicts_made import claims_of, document, evidence

from zfnet.errors import UserError
from zfnet.stats.estimate import Estimate
from zfnet.verdicts import command, compare, table
from zfnet.verdicts.judge import Judgement, in_words, judge_all

NAMES = ("purity_slope", "spread_difference", "support_share", "layer1_purity")


def judgement(source: str = "synthetic") -> Judgement:
    claims = claims_of(
        **{name: {"measured": [{"study": "features", "key": name}]} for name in NAMES}
    )
    numbers = {
        "purity_slope": Estimate(0.104, 0.085, 0.122, 342),
        "spread_difference": Estimate(-0.2, -0.22, -0.18, 158, "points"),
        "support_share": Estimate(0.01, -0.2, 0.22, 100),
    }
    return judge_all(claims, evidence({"features": numbers}, source))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# --------------------------------------------------------------------------------------- table
@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    told = table.text(judgement(), width)
    assert max(map(len, told.splitlines())) <= width
    for name in NAMES:
        assert name in told
    for word in ("holds here", "fails here", "undecided", "not measured"):
        assert word in told


def test_caveats_stand_below_what_was_measured() -> None:
    claims = claims_of(
        there={"caveat": "Other measures disagree."},
        missing={
            "caveat": "Never told.",
            "measured": [{"study": "features", "key": "spread_difference"}],
        },
    )
    numbers = {"features": {"purity_slope": Estimate(0.1, 0.08, 0.12, 342)}}
    told = table.text(judge_all(claims, evidence(numbers)))
    assert "there: Other measures disagree." in told
    assert "Never told." not in told


def test_columns_go_as_the_terminal_narrows() -> None:
    heads = {
        width: next(
            (line.split() for line in table.text(judgement(), width).splitlines()
             if line.startswith("id ")), [],
        )
        for width in (120, 76, 60, 40)
    }  # fmt: skip
    assert heads[120] == ["id", "claim", "measured", "paper", "verdict"]
    assert "claim" not in heads[76]
    assert heads[40] == []


def test_what_stands_in_the_table() -> None:
    told = table.text(judgement(), 140)
    assert "made, seed 1: rendered images (synthetic), 1,281,167 training images" in told
    assert "0.104 [0.085, 0.122]" in told
    assert "\N{MINUS SIGN}0.200 [\N{MINUS SIGN}0.220," in told
    assert "3 claims were judged" in told
    assert "3 of them rest on one training of each net" in re.sub(r"\s+", " ", told)
    assert "Rendered images prove nothing about photographs." in told
    assert "features has no layer1_purity in this run." in told
    assert "Rendered images" not in table.text(judgement("imagenette"), 120)


def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not table.is_coloured(io.StringIO())
    assert table.is_coloured(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not table.is_coloured(Terminal())
    plain, painted = (table.text(judgement(), 100, colour) for colour in (False, True))
    assert "\x1b" not in plain
    assert "\x1b[32mholds here\x1b[0m" in painted
    assert "\x1b[31mfails here\x1b[0m" in painted
    assert re.sub(r"\x1b\[\d*m", "", painted) == plain


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert table.width_of(io.StringIO()) == table.WIDTH
    monkeypatch.setenv("COLUMNS", "77")
    assert table.width_of(io.StringIO()) == 77
    assert table.width_of(Terminal()) == 77
    monkeypatch.setenv("COLUMNS", "3")
    assert table.width_of(Terminal()) == table.NARROWEST


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (Estimate(0.104, 0.085, 0.122), "0.104 [0.085, 0.122]"),
        (Estimate(-3.0, -4.5, -1.5, unit="points"), "−3.0 [−4.5, −1.5] points"),
        (Estimate(1234.0, 1100.0, 1400.0), "1,234 [1,100, 1,400]"),
        (Estimate(5.0), "5"),
        (Estimate(0.01234), "0.0123"),
        (Estimate(6.0, 6.0, 6.0), "6 [6, 6]"),
        (Estimate(-0.0, -0.1, 0.1), "0.00 [−0.10, 0.10]"),
    ],
)
def test_numbers_in_words(number: Estimate, told: str) -> None:
    assert in_words(number) == told


# ------------------------------------------------------------------------------------- compare
def entries(**words: str) -> dict[str, Any]:
    return {"claims": {name: {"verdict": word, "value": 1.5} for name, word in words.items()}}


def test_changes() -> None:
    before = entries(a="reproduced", b="undecided", gone="undecided")
    now = entries(a="reproduced", b="contradicted", new="undecided")
    assert compare.changes(before, now) == [
        ("b", "undecided", "contradicted"),
        ("new", "no such claim", "undecided"),
        ("gone", "undecided", "no such claim"),
    ]
    told = compare.text("HEAD~1", before, now)
    assert "b     undecided (1.5) → contradicted (1.5)\n" in told
    assert told.endswith("1 verdict as in HEAD~1, 3 changed.\n")
    assert compare.text("HEAD", now, now) == "3 verdicts as in HEAD, 0 changed.\n"


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
    for name, text in {
        "paper/claims.yaml": yaml.safe_dump(document()),
        "build/config.yaml": yaml.safe_dump({"name": "quick", "data": {"source": "synthetic"}}),
        "metrics/features.json": json.dumps(
            {"purity_slope": {"value": 0.1, "low": 0.08, "high": 0.12, "n": 342}}
        ),
        "results/features/result.json": json.dumps(
            {"metrics": {"purity_slope": {"value": 0.1, "note": "bootstrap over maps"}}}
        ),
        ".gitignore": "results/\n",
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


def test_the_command_prints_the_table(repository: Path) -> None:
    assert "holds here" in said(repository)


def test_the_command_compares_with_a_commit(repository: Path) -> None:
    told = said(repository, "--compare", "HEAD")
    assert (
        told
        == "hierarchy  fails here (1.5) → holds here (0.1)\n0 verdicts as in HEAD, 1 changed.\n"
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


def test_without_results_the_committed_verdicts_are_told(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A clone has metrics/ and no results/: what is judged there would lack the studies' notes."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repository), str(clone))
    told = said(clone)
    assert told.startswith("results/features not here, without which nothing can be judged anew")
    assert "`dvc pull` or `dvc repro`" in told.replace("\n", " ")
    assert told.endswith("\nhierarchy  fails here (1.5)\n")
    assert capsys.readouterr().err == ""
    assert said(clone, "--compare", "HEAD") == "1 verdict as in HEAD, 0 changed.\n"
    assert "results/features not here" in capsys.readouterr().err
    claims = clone / "metrics" / "claims.json"
    claims.write_text('{"claims": {}}', encoding="utf-8")
    with pytest.raises(UserError, match="holds no verdicts: run `dvc pull`"):
        said(clone)
    claims.unlink()
    with pytest.raises(UserError, match=r"no metrics/claims\.json: run `dvc pull`"):
        said(clone)


def test_which_of_several_numbers_is_shown() -> None:
    several = {"measured": [{"study": "features", "key": key} for key in NAMES[:2]]}
    numbers = {"purity_slope": Estimate(5, 4, 6, 9), "spread_difference": Estimate(2, 1, 3, 9)}
    told = table.text(judge_all(claims_of(it=several), evidence({"features": numbers})), 160)
    assert "it: Deciding, of 2: spread_difference." in told
    lost = judge_all(claims_of(it=several), evidence({"features": {"purity_slope": Estimate(-5)}}))
    assert "Not counted: features has no spread_difference" in table.text(lost, 200)
    numbers = {"purity_slope": Estimate(-5, -6, -4, 9)}
    against = table.text(judge_all(claims_of(it=several), evidence({"features": numbers})), 200)
    assert "it: Not counted: features has no spread_difference in this run." in against


def test_a_seed_that_was_known_is_marked_with_one_that_was_not() -> None:
    from dataclasses import replace

    from zfnet.verdicts.claims import Seen

    claims = replace(claims_of(), seen=(Seen("made", (0, 1, 4), ("features",)),))
    numbers = {"features": {"purity_slope": Estimate(0.1, 0.08, 0.12, 342)}}
    told = table.text(judge_all(claims, evidence(numbers)), 200)
    assert "reproduced *" in told
    assert "run another seed (set: [seed=5])" in told
    assert "seed=" not in table.text(judge_all(claims, evidence(numbers, seed=2)), 200)


def test_a_wrong_option_is_named(repository: Path) -> None:
    with pytest.raises(UserError, match="unrecognized arguments: --colour"):
        said(repository, "--colour")
