"""One measured number and all that its judge must know of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

MINUS = "\N{MINUS SIGN}"
IMAGES, MAPS, TRAININGS = "images", "maps", "trainings"  # what an interval may cover
AT_CHANCE, STILL_LEARNING = "at chance", "still learning"  # of a net, which is then no evidence
LESS = f" {MINUS} "  # between the keys of a number that is a difference


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    `low`, `high`: ends of the interval, None where there is none (`note` says why). `n`: how many
    units of inference stand behind it (images, maps, folds, trainings). `unit`: of the value.
    `df`: degrees of freedom of the interval where they are not n - 1. `trainings`: how many
    trainings of each net it rests on. `covers`: over what the interval generalises: "images" (or
    "maps", the units of one net), "trainings", or both; empty where it covers neither wholly.
    `invalid`: why it is no evidence, e.g. "at chance"; "" if it is. `note`: for people alone,
    nothing reads it.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    note: str = ""
    df: float | None = None
    trainings: int = 1
    covers: tuple[str, ...] = (IMAGES,)
    invalid: str = ""

    @property
    def freedom(self) -> float:
        """Degrees of freedom behind the interval; infinite where neither `df` nor `n` tells."""
        if self.df is not None:
            return max(1.0, self.df)
        return math.inf if self.n is None else max(1.0, self.n - 1.0)

    @property
    def half(self) -> float | None:
        """Half the interval's width."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2

    def noting(self, *notes: str) -> Estimate:
        """The same with more notes."""
        return replace(self, note="; ".join(filter(None, [self.note, *notes])))

    def __str__(self) -> str:
        return text(self)


_DEFAULTS = {field.name: field.default for field in fields(Estimate) if field.name != "value"}
_ALWAYS = ("value", "low", "high", "n", "unit")


def to_dict(estimate: Estimate) -> dict[str, Any]:
    """As plain JSON; what has its default is left out, but for value, low, high, n and unit."""
    found: dict[str, Any] = {}
    for field in fields(Estimate):
        value = getattr(estimate, field.name)
        if field.name in _ALWAYS or value != _DEFAULTS[field.name]:
            found[field.name] = list(value) if isinstance(value, tuple) else value
    return found


def from_dict(entry: Mapping[str, Any]) -> Estimate:
    """What `to_dict` gave; a null value is NaN. Raises ValueError naming what does not fit."""
    unknown = sorted(set(entry) - {field.name for field in fields(Estimate)})
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}")
    for name in ("value", "low", "high", "n", "df"):
        value = entry.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{name}={value!r} is no number")
        if value is not None and math.isinf(value):
            raise ValueError(f"{name} is infinite")
    trainings = entry.get("trainings", 1)
    if type(trainings) is not int or trainings < 1:
        raise ValueError(f"trainings={trainings!r} is no number of trainings")
    for name in ("unit", "note", "invalid"):
        if not isinstance(entry.get(name, ""), str):
            raise ValueError(f"{name}={entry[name]!r} is no text")
    if any(not isinstance(each, str) for each in entry.get("covers", ())):
        raise ValueError(f"covers={entry['covers']!r} is no list of words")
    more = {key: entry[key] for key in _DEFAULTS if key in entry}
    if "covers" in more:
        more["covers"] = tuple(more["covers"])
    value = entry.get("value")
    return Estimate(value=math.nan if value is None else float(value), **more)


# -------------------------------------------------------------------------------------- printing
def decimals(value: float | None, low: float | None = None, high: float | None = None) -> int:
    """Decimals, 0 to 6, that leave two digits of the interval's half width, or three in all."""
    if low is not None and high is not None and high > low:
        return min(6, max(0, 1 - math.floor(math.log10((high - low) / 2))))
    if not value or not math.isfinite(value) or value == int(value):
        return 0
    return min(6, max(0, 2 - math.floor(math.log10(abs(value)))))


def decimal(value: float, places: int) -> str:
    """A number in so many decimals, thousands grouped, with a true minus: "−1,234.5"."""
    return f"{round(value, places) + 0.0:,.{places}f}".replace("-", MINUS)


def text(estimate: Estimate, *, places: int | None = None, unit: bool = True) -> str:
    """The one way to print an estimate: "0.104 [0.085, 0.122] points"."""
    if not math.isfinite(estimate.value):
        return "not known"
    if places is None:
        places = decimals(estimate.value, estimate.low, estimate.high)
    told = decimal(estimate.value, places)
    if estimate.low is not None and estimate.high is not None:
        told += f" [{decimal(estimate.low, places)}, {decimal(estimate.high, places)}]"
    return f"{told} {estimate.unit}".rstrip() if unit else told


def in_words(values: Sequence[str]) -> str:
    """Names as a sentence lists them: "a, b and c"."""
    if len(values) < 2:
        return "".join(values)
    return f"{', '.join(values[:-1])} and {values[-1]}"
