"""A copy of the checkout to run the real pipeline in, with its own git and DVC."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def checkout_files(root: Path) -> list[str]:
    """Files of the checkout: tracked, and untracked that git does not ignore."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in done.stdout.splitlines() if (root / name).is_file()]


def environment(**extra: str) -> dict[str, str]:
    """The environment of a user in a fresh clone: this interpreter's programs first on PATH."""
    base = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "ZFNET_", "WANDB_"))}
    base["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{base['PATH']}"
    base["ZFNET_PROGRESS"] = "0"
    return {**base, **extra}


def copy_checkout(root: Path, target: Path, with_tests: bool = False) -> Run:
    """Copy the checkout, make it a git and DVC repository, and return a command runner."""
    for name in checkout_files(root):
        if name.startswith(("tests/", "docs/", "benchmarks/", "metrics/")) and not with_tests:
            continue
        if name == "dvc.lock":
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)

    def run(*command: str, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=target,
            env=environment(**extra),
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    run("git", "init", "-q", "-b", "main")
    run("git", "config", "user.email", "test@example.org")
    run("git", "config", "user.name", "test")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "copy")
    return run


@pytest.fixture
def project(root: Path, tmp_path: Path) -> tuple[Path, Run]:
    """An own copy of the checkout and a runner of commands in it."""
    target = tmp_path / "project"
    target.mkdir()
    return target, copy_checkout(root, target)


def site_problems(site: Path) -> list[str]:
    """What a browser finds wrong with the pages under `site`; skips without one outside CI."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
    import browser

    if browser.find_chromium() is None and not os.environ.get("CI"):
        pytest.skip("no chromium here")
    with browser.chromium() as chromium:
        problems: list[str] = browser.check_site(chromium, site)
    return problems
