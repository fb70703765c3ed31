"""How numbers, times and intervals are written on the pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from zfnet.stats.estimate import decimal, decimals

THIN = "\u202f"  # narrow no-break space, between a number and its unit
MISSING = "–"


def measured(value: Mapping[str, Any]) -> str:
    """A measured number with its unit, rounded to what its interval can tell: "15.6 %"."""
    number = value.get("value")
    if number is None:
        return "not defined"
    return with_unit(decimal(number, _places(value)), value.get("unit", ""))


def interval(value: Mapping[str, Any]) -> str:
    """The 95 % interval "14.5 to 16.8", or "" where there is none."""
    low, high = value.get("low"), value.get("high")
    if low is None or high is None:
        return ""
    places = _places(value)
    return f"{decimal(low, places)} to {decimal(high, places)}"


def _places(value: Mapping[str, Any]) -> int:
    return decimals(value.get("value"), value.get("low"), value.get("high"))


def with_unit(number: str, unit: str) -> str:
    """`number` and `unit` kept on one line."""
    return f"{number}{THIN}{unit}" if unit else number


def number(value: Any) -> str:
    """A plain number or word: thousands grouped, at most four significant digits after rounding."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and value < 0:
        return f"\u2212{number(-value)}"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3g}"
    if value == int(value):
        return f"{int(value):,}"
    text = f"{value:,.{max(0, 3 - math.floor(math.log10(abs(value))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float | None) -> str:
    """Seconds as people say them: "4.2 s", "3 min 07 s", "2 h 05 min"."""
    if seconds is None:
        return MISSING
    if seconds < 59.95:
        return with_unit(f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}", "s")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{THIN}min {rest:02d}{THIN}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{THIN}h {minutes:02d}{THIN}min"


def date(iso: str | None) -> str:
    """An ISO time as "2026-11-22 00:09 UTC"; MISSING for None."""
    if not iso:
        return MISSING
    day, _, clock = str(iso).partition("T")
    return f"{day} {clock[:5]} UTC" if clock else day


def share(value: float, of: float) -> float:
    """`value` as percent of `of`, kept within 0..100."""
    return 0.0 if of <= 0 else min(100.0, max(0.0, 100.0 * value / of))
