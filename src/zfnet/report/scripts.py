"""Data for pages that are opened from disk: scripts, since there a page may not fetch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_global(file: Path, variable: str, value: Any) -> None:
    """Write a script that sets a global variable to `value`. ValueError for a NaN."""
    _write(file, f"window.{variable} = {_literal(value)};\n")


def write_call(file: Path, function: str, key: str, value: Any) -> None:
    """Write a script that hands `value` under `key` to a page's global function."""
    _write(file, f"window.{function}({_literal(key)}, {_literal(value)});\n")


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
