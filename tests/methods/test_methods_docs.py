"""The examples of docs/methods.md run as they stand."""

from __future__ import annotations

import re


def test_examples_run(root):
    text = (root / "docs" / "methods.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert len(blocks) == 4
    names: dict = {}
    for block in blocks:
        assert len(block.splitlines()) < 10
        exec(block, names)
    assert names["projection"].shape == (2, 3, 224, 224)
    assert (names["field"].size, names["field"].stride) == ((163, 163), (16, 16))
    assert str(names["found"]) == "guided: overrode 7 rectifiers"
    assert names["top"]["features.11"].images.shape == (256, 2)
    assert names["maps"].probability.shape == (2, 7, 7)
