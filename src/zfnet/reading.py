"""Reads the stages' JSON and YAML, and writes a measured number in as many decimals as it bears.

For whoever shows results: verdicts and report read the same files and print the same numbers.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from zfnet.errors import UserError

LESS = " − "  # between the keys of a number that is a difference


def read_json(file: Path, missing_ok: bool = False) -> dict[str, Any]:
    """The JSON object in `file`; {} for an absent one if `missing_ok`.

    Raises UserError naming a file that cannot be read or holds anything else.
    """
    if missing_ok and not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): run the stage that writes it") from error
    if not isinstance(found, dict):
        raise UserError(f"{file} holds no JSON object: run the stage that writes it")
    return found


def read_yaml(file: Path) -> dict[str, Any]:
    """The configuration in `file`, as composed for a run.

    Raises UserError naming a file that is missing, is no YAML or holds no mapping.
    """
    import yaml

    if not file.is_file():
        raise UserError(f"{file} is missing: run `dvc repro` (or `zfnet compose`) first")
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file} is no YAML ({error}): run `dvc repro compose`") from error
    if not isinstance(found, dict):
        raise UserError(f"{file} holds no configuration: run `dvc repro compose`")
    return found


def decimals(value: float | None, low: float | None = None, high: float | None = None) -> int:
    """Decimals, 0 to 6, that leave two digits of the interval's half width, or three in all."""
    if low is not None and high is not None and high > low:
        return min(6, max(0, 1 - math.floor(math.log10((high - low) / 2))))
    if not value or value == int(value):
        return 0
    return min(6, max(0, 2 - math.floor(math.log10(abs(value)))))


def decimal(value: float, places: int) -> str:
    """A number in so many decimals, thousands grouped, with a true minus: "−1,234.5"."""
    return f"{value + 0.0:,.{places}f}".replace("-", "\N{MINUS SIGN}")
