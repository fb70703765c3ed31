"""docs/reference.md: its tables are what the metrics in git give."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from zfnet.errors import UserError
from zfnet.files import write_json, write_text
from zfnet.report import reference

PLACE = {"processor": "Xeon", "versions": "torch 2", "commit": "abc", "nets": {"zfnet": 5}}
HEADS = 2  # lines of a table above its rows


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """The claims' file, metrics of a default run, and some of another run."""
    write_text(tmp_path / "paper" / "claims.yaml", (root / "paper/claims.yaml").read_text("utf-8"))
    number: dict[str, Any] = {"value": -9.5, "low": -12.8, "high": -6.2, "unit": "points"}
    claims = {
        "beats_alexnet": {"verdict": "holds here", **number, "trainings": 5},
        "ensembles_help": {"verdict": "not measured"},
    }
    run = {"experiment": "quick", "seed": 5, "data_seed": 1, "source": "synthetic"}
    error = {"value": 5.0, "low": 4.0, "high": 6.0, "n": 600, "unit": "%"}
    trained = {
        "status": {"value": "trained"},
        "trainings": {"value": 5},
        "val_top1_error": error,
        "val_top1_error_over_seeds": {**error, "value": 7.0, "low": 5.0, "high": 9.0},
    }
    for name, value in {
        "metrics/claims": {"claims": claims},
        "metrics/run": {**run, "places": [PLACE, {**PLACE, "processor": "EPYC"}]},
        "metrics/train_zfnet": trained,
        "metrics/train_alexnet": {},
        "docs/runs/other/metrics/claims": {"claims": {"hierarchy": {"verdict": "undecided"}}},
    }.items():
        write_json(tmp_path / f"{name}.json", value)
    return tmp_path


def table(checkout: Path, name: str) -> list[str]:
    return reference.filled(f"<!-- table: {name} -->\n<!-- end -->", checkout).splitlines()[2:-2]


def test_the_committed_tables_are_what_the_metrics_give(root: Path) -> None:
    command = ["git", "-C", str(root), "status", "--porcelain", "--", "metrics"]
    if subprocess.run(command, capture_output=True, check=False).stdout:
        pytest.skip("metrics/ is of another run than git's")
    assert reference.main(["--check"], root) == 0, "run `zfnet reference`"


def test_what_it_shows_lies_there(root: Path) -> None:
    text = (root / reference.FILE).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (root / "docs" / target).exists(), target


def test_claims(checkout: Path) -> None:
    lines = table(checkout, "claims")
    (row,) = [line for line in lines[HEADS:] if line.startswith("|")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1].startswith("`beats_alexnet` A smaller")
    assert cells[2:4] == ["−9.5 [−12.8, −6.2] points", "5"]
    assert cells[5] == "holds here"
    assert "ensembles_help" in lines[-1]
    assert "`hierarchy`" in table(checkout, "claims other")[HEADS]


def test_errors_and_run(checkout: Path) -> None:
    lines = table(checkout, "errors")
    assert lines[HEADS:] == ["| ZFNet | 5 | trained | 7.0 [5.0, 9.0] % |  |  |"]
    lines = table(checkout, "run")
    assert lines[0] == "`quick`, rendered images, `seed` 5, `data.seed` 1."
    assert lines[-2:] == [f"| ZFNet 5 | {cpu} | torch 2 | abc |" for cpu in ("Xeon", "EPYC")]
    assert "not recorded" in table(checkout, "run other")[0]


def test_stability_is_taken_as_it_is(checkout: Path) -> None:
    assert len(table(checkout, "stability other")) == 1
    write_text(checkout / "docs/runs/other/stability.md", "| a |\n|---|\n")
    assert table(checkout, "stability other") == ["| a |", "|---|"]


def test_written_once_and_checked(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = "by hand\n<!-- table: errors -->\nold\n<!-- end -->\nby hand\n"
    write_text(checkout / reference.FILE, before)
    assert reference.main(["--check"], checkout) == 1
    assert (checkout / reference.FILE).read_text(encoding="utf-8") == before
    assert reference.main([], checkout) == 0
    after = (checkout / reference.FILE).read_text(encoding="utf-8")
    assert after.startswith("by hand\n<!-- table: errors -->\n\n| net |")
    assert after.endswith("<!-- end -->\nby hand\n")
    assert reference.main(["--check"], checkout) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: nothing -->\n<!-- end -->", "no table nothing"),
        ("<!-- table: run -->\n", "<!-- end -->"),
        ("<!-- table: run -->\n<!-- table: run -->\n<!-- end -->", "<!-- end -->"),
        ("<!-- table: claims missing -->\n<!-- end -->", "no folder .*missing"),
    ],
)
def test_a_block_that_cannot_be_made_is_named(checkout: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        reference.filled(text, checkout)
