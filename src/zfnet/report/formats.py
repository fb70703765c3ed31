"""How plain values, times and dates are written on the pages; estimates are `stats.estimate`'s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zfnet.figures.kit.show import NOTHING
from zfnet.stats.estimate import decimal, decimals

THIN = "\N{NARROW NO-BREAK SPACE}"  # between a number and its unit
SMALLEST = 1e-5  # below, decimals would show nothing but zeros


def number(value: Any) -> str:
    """A plain value as a cell shows it: "62,357,608", "0.537", "0.7", "yes", "–" for nothing."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if 0 < abs(value) < SMALLEST:
        return f"{value:.2e}".replace("-", "\N{MINUS SIGN}")
    most = decimals(value)
    return decimal(value, next((p for p in range(most) if round(value, p) == value), most))


def is_number(cell: Any) -> bool:
    """Whether a cell holds a number, with an interval or without."""
    if isinstance(cell, str):
        return cell.removeprefix("\N{MINUS SIGN}")[:1].isdigit() and ("[" in cell or "." in cell)
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def duration(seconds: float | None) -> str:
    """Seconds as people say them: "4.2 s", "3 min 07 s", "2 h 05 min"."""
    if seconds is None:
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f}{THIN}s" if seconds < 10 else f"{seconds:.0f}{THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{THIN}min {rest:02d}{THIN}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{THIN}h {minutes:02d}{THIN}min"


def date(iso: str | None) -> str:
    """An ISO time as "2026-11-22 00:09 UTC"."""
    if not iso:
        return NOTHING
    day, _, clock = str(iso).partition("T")
    return f"{day} {clock[:5]} UTC" if clock else day


def numeric_columns(rows: Sequence[Sequence[Any]]) -> list[int]:
    """Columns, the first left out, that hold numbers only."""
    columns = [[cell for cell in column if cell is not None] for column in zip(*rows, strict=True)]
    return [i for i, cells in enumerate(columns) if i and cells and all(map(is_number, cells))]
