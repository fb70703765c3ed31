"""What a number says of where it was computed."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

from zfnet.pipeline import origin


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository with code, of which `commit` believes that it runs."""
    for name in ("src/code.py", "conf/config.yaml", "metrics/one.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n", encoding="utf-8")
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    for command in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "first")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(origin, "source_folder", lambda: tmp_path / "src")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("src/code.py", True),
        ("src/new.py", True),
        ("conf/config.yaml", True),
        ("metrics/one.json", False),
    ],
)
def test_only_changes_of_code_and_configuration_are_marked(
    checkout: Path, name: str, changed: bool
) -> None:
    head = origin.commit()
    assert 7 <= len(head) < 40
    (checkout / name).write_text("2\n", encoding="utf-8")
    assert origin.commit() == (f"{head}+changes" if changed else head)


def test_no_checkout_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "source_folder", lambda: tmp_path / "src")
    assert origin.commit() == "not known"


def test_the_words_name_the_processor_and_versions_and_nothing_of_the_host(root: Path) -> None:
    found = origin.origin(on_gpu=False)
    assert tuple(found) == origin.KEYS
    assert f"python {platform.python_version()}" in found["versions"]
    assert "torch " in found["versions"]
    assert found["processor"]
    words = " ".join(found.values())
    assert platform.node() not in words
    assert str(root) not in words
