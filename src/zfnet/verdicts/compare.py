"""Verdicts of now against those of another commit or experiment. Reads git, changes nothing."""

from __future__ import annotations

import json
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zfnet.errors import UserError
from zfnet.verdicts.judge import NOT_MEASURED

FILE = "metrics/claims.json"
ABSENT = "no such claim"


def at_revision(root: Path, revision: str) -> dict[str, Any]:
    """What metrics/claims.json holds in a git revision, or in a DVC experiment of that name.

    Raises UserError if there is no such revision, or no such file in it.
    """
    commit = _commit(root, revision)
    done = _git(root, "show", f"{commit}:{FILE}")
    if done.returncode:
        raise UserError(
            f"{revision} has no {FILE}: no verdicts were committed there; run `dvc repro` at that "
            "revision, or name another"
        )
    try:
        found = json.loads(done.stdout)
        return {"claims": dict(found["claims"]), **found}
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
    matches = [
        line.split()[0]
        for line in listed.stdout.splitlines()
        if line.rpartition("/")[2] == revision
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(f"--compare {revision}: {len(matches)} experiments have that name")
    raise UserError(
        f"--compare {revision}: git in {root} knows no such revision or experiment; see `git log` "
        "and `dvc exp list`"
    )


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"git cannot be run ({error}); --compare needs it") from error


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Claims whose verdicts differ: (id, then, now), in the order of `now`, the lost ones last."""
    old = {name: _word(entry) for name, entry in before["claims"].items()}
    new = {name: _word(entry) for name, entry in now["claims"].items()}
    names = [*new, *(name for name in old if name not in new)]
    pairs = [(name, old.get(name, ABSENT), new.get(name, ABSENT)) for name in names]
    return [(name, then, here) for name, then, here in pairs if then != here]


def _word(entry: Any) -> str:
    return str(entry.get("verdict", NOT_MEASURED)) if isinstance(entry, Mapping) else str(entry)


def text(revision: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What changed, a line a claim with the measured values, and how many stayed."""
    found = changes(before, now)
    same = len(now["claims"]) - sum(here != ABSENT for _, _, here in found)
    lines = []
    if found:
        wide = max(len(name) for name, _, _ in found)
        lines = [
            f"{name.ljust(wide)}  {_told(then, before, name)} → {_told(here, now, name)}"
            for name, then, here in found
        ]
    stayed = f"{same} {'verdict' if same == 1 else 'verdicts'} as in {revision}"
    lines.append(f"{stayed}, {len(found)} changed.")
    return "\n".join(lines) + "\n"


def _told(word: str, summary: Mapping[str, Any], name: str) -> str:
    entry = summary["claims"].get(name)
    value = entry.get("value") if isinstance(entry, Mapping) else None
    return word if value is None else f"{word} ({value:g})"


def committed(summary: Mapping[str, Any], why: str, width: int) -> str:
    """The verdicts of a metrics/claims.json, a line a claim, below the reason for no more."""
    wide = max(map(len, summary["claims"]))
    lines = [*textwrap.wrap(why, width), ""]
    for name, entry in summary["claims"].items():
        lines.append(f"{name.ljust(wide)}  {_told(_word(entry), summary, name)}")
    return "\n".join(lines) + "\n"
