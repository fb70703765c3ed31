"""The examples of README.md and docs/methods.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def run_examples(page: Path) -> tuple[int, dict[str, Any]]:
    """Run the Python blocks of a page one after the other; how many, and the names they made."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    names: dict[str, Any] = {}
    for block in blocks:
        assert len(block.splitlines()) < 10
        # the one thing changed: no weights are downloaded
        exec(block.replace('weights="DEFAULT"', "weights=None"), names)
    return len(blocks), names


def test_examples_of_the_methods_page(root: Path) -> None:
    count, names = run_examples(root / "docs" / "methods.md")
    assert count == 9
    assert names["projection"].shape == (2, 3, 224, 224)
    assert (names["field"].size, names["field"].stride) == ((163, 163), (16, 16))
    assert str(names["found"]) == "guided: overrode 7 rectifiers"
    assert names["top"]["features.11"].images.shape == (256, 2)
    assert names["maps"].probability.shape == (2, 7, 7)


def test_example_of_the_readme(root: Path) -> None:
    count, names = run_examples(root / "README.md")
    assert count == 1
    assert names["picture"].shape == (8, 3, 224, 224)
    assert names["picture"].abs().sum() > 0
