"""What a number depends on beside data and seed: processor, versions, commit. Needs no torch."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from zfnet.machine import host
from zfnet.pipeline.closure import source_folder

KEYS = ("processor", "versions", "commit")
PACKAGES = ("python", "torch", "zfnet")
CODE = ("src", "conf")  # whose changes count; metrics/ and dvc.lock change with every run
CHANGED = "+changes"
UNKNOWN = "not known"


def origin(on_gpu: bool) -> dict[str, str]:
    """KEYS in words, without a name or a path of the machine; `on_gpu`: what computed is a GPU."""
    facts = host()
    versions = [f"{name} {facts['versions'].get(name, UNKNOWN)}" for name in PACKAGES]
    computed = dict.fromkeys(facts["gpus"]) if on_gpu else [facts["processor"]]
    words = (", ".join(computed), ", ".join(versions), commit())
    return dict(zip(KEYS, words, strict=True))


def commit() -> str:
    """The commit of the code that runs, "+changes" behind it where CODE differs from it."""
    root = source_folder().parent
    head, top = _git("rev-parse", "--short", "HEAD"), _git("rev-parse", "--show-toplevel")
    changes = _git("status", "--porcelain", "--", *CODE)
    if not head or changes is None or Path(top or "") != root:  # inside another repository
        return UNKNOWN
    return f"{head}{CHANGED}" if changes else head


def _git(*arguments: str) -> str | None:
    """What git says of this checkout; None where it cannot."""
    root = source_folder().parent
    if not (root / "conf").is_dir():  # installed, perhaps inside a repository of something else
        return None
    # No optional locks: several trainings ask at the same time, beside whatever a person does.
    command = ["git", "-C", str(root), "--no-optional-locks", *arguments]
    try:
        own = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=own)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
