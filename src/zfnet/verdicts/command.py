"""`zfnet verdicts`: print what this checkout's run says of every claim, or what changed."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from zfnet.errors import UserError
from zfnet.verdicts import table
from zfnet.verdicts.judge import document, judge, summary

FILE = "metrics/claims.json"


class _Parser(argparse.ArgumentParser):
    """Faults of the command line end like every other fault of what was asked for."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"zfnet verdicts: {message}")


def main(argv: Sequence[str], root: Path) -> int:
    """Judge the checkout `root` and print the verdicts.

    Raises UserError for a wrong option and for a file that cannot be read.
    """
    what = "What the run in this checkout says of each of the paper's claims."
    parser = _Parser(prog="zfnet verdicts", description=what)
    helps = "print what changed against another git revision or DVC experiment instead"
    parser.add_argument("--compare", metavar="REV", help=helps)
    revision = parser.parse_args(list(argv)).compare
    if revision is None:
        text = table.text(document(judge(root)), table.width(), table.coloured())
    else:
        before = at_revision(root, revision)
        text = comparison(revision, before, summary(document(judge(root)))["claims"])
    print(text, end="")
    return 0


# ------------------------------------------------------------------------------------- compare
def at_revision(root: Path, revision: str) -> dict[str, Any]:
    """The claims of metrics/claims.json in a git revision, or in a DVC experiment of that name.

    Raises UserError if there is no such revision, or no such file in it.
    """
    done = _git(root, "show", f"{_commit(root, revision)}:{FILE}")
    if done.returncode:
        raise UserError(f"{revision} has no {FILE}: no verdicts were committed; name another")
    try:
        return dict(json.loads(done.stdout)["claims"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{FILE} of {revision} cannot be read ({error!r})") from error


def _commit(root: Path, revision: str) -> str:
    if not revision.strip() or revision.startswith("-"):
        raise UserError(f"--compare {revision!r}: name a git revision, e.g. HEAD~1, or experiment")
    found = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if found.returncode == 0:
        return found.stdout.strip()
    # DVC keeps experiments as refs/exps/<2 digits>/<rest of the base commit>/<name>.
    listed = _git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    lines = [line.split() for line in listed.stdout.splitlines()]
    matches = [commit for commit, name in lines if name.rpartition("/")[2] == revision]
    if len(matches) == 1:
        return matches[0]
    many = f"{len(matches)} experiments have that name" if matches else "git knows no such revision"
    raise UserError(f"--compare {revision}: {many}; see `git log` and `dvc exp list`")


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"git cannot be run ({error}); --compare needs it") from error


def comparison(revision: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Claims whose verdicts differ, a line each in the order of `now`, and how many stayed."""
    names = list(dict.fromkeys([*now, *before]))
    pairs = {name: (before.get(name, {}), now.get(name, {})) for name in names}
    changed = {k: p for k, p in pairs.items() if p[0].get("verdict") != p[1].get("verdict")}
    wide = max(map(len, changed), default=0)
    lines = [f"{k.ljust(wide)}  {_entry(a)} → {_entry(b)}" for k, (a, b) in changed.items()]
    same = len(names) - len(changed)
    stayed = f"{same} {'verdict' if same == 1 else 'verdicts'} as in {revision}"
    return "\n".join([*lines, f"{stayed}, {len(changed)} changed."]) + "\n"


def _entry(claim: Mapping[str, Any]) -> str:
    value = "" if claim.get("value") is None else f" ({claim['value']:g})"
    return f"{claim.get('verdict', 'no such claim')}{value}"
