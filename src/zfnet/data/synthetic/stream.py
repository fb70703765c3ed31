"""Random numbers and trigonometry that give the same bits on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_TWO_PI = 6.283185307179586


def mix64(value: int) -> int:
    """Scramble a 64-bit integer (the finaliser of splitmix64; Steele, Lea and Flood 2014)."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * _MIX_1) & _MASK
    value = ((value ^ (value >> 27)) * _MIX_2) & _MASK
    return value ^ (value >> 31)


class Stream:
    """Counter-based random stream: a function of its integer keys alone, in integer arithmetic."""

    def __init__(self, *keys: int) -> None:
        state = 0x243F6A8885A308D3
        for key in keys:
            state = mix64(state ^ mix64((key + 1) * _GOLDEN))
        self._state = state

    def bits(self) -> int:
        """Return the next 64 random bits as an integer."""
        self._state = (self._state + _GOLDEN) & _MASK
        return mix64(self._state)

    def unit(self) -> float:
        """Return a float in [0, 1) on a grid of 2^-53."""
        return (self.bits() >> 11) * (1.0 / (1 << 53))

    def uniform(self, low: float, high: float) -> float:
        """Return a float in [low, high)."""
        return low + (high - low) * self.unit()

    def integer(self, count: int) -> int:
        """Return an integer in 0 .. count - 1."""
        return (self.bits() * count) >> 64

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.unit() < probability

    def sign(self) -> float:
        """Return -1.0 or 1.0."""
        return 1.0 if self.bits() & 1 else -1.0

    def choice(self, options: Sequence[T]) -> T:
        """Return one of the options, each equally likely."""
        return options[self.integer(len(options))]

    def table(self, count: int) -> np.ndarray:
        """Return `count` random floats in [0, 1): float32 (count,), on a grid of 2^-24."""
        counter = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        value = counter + np.uint64(self.bits())
        value = (value ^ (value >> np.uint64(30))) * np.uint64(_MIX_1)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(_MIX_2)
        value = value ^ (value >> np.uint64(31))
        return (value >> np.uint64(40)).astype(np.float32) * np.float32(1.0 / (1 << 24))


def on_circle(
    turns: float, radius: float, middle: tuple[float, float] = (0.0, 0.0)
) -> tuple[float, float]:
    """Return the point of a circle at an angle in turns."""
    cosine, sine = cos_sin(turns)
    return middle[0] + radius * cosine, middle[1] + radius * sine


def cos_sin(turns: float) -> tuple[float, float]:
    """Return the cosine and sine of an angle in turns (1.0 = 360 degrees).

    Taylor series in fixed-order double arithmetic on a reduced octant: the C library's functions
    may differ in the last bit between machines.
    """
    turns = turns - (turns // 1.0)
    quarter = int(turns * 4.0 + 0.5)
    x = (turns - quarter * 0.25) * _TWO_PI
    x2 = x * x
    sine = x * (
        1.0
        - x2 / 6.0 * (1.0 - x2 / 20.0 * (1.0 - x2 / 42.0 * (1.0 - x2 / 72.0 * (1 - x2 / 110.0))))
    )
    cosine = 1.0 - x2 / 2.0 * (
        1.0
        - x2 / 12.0 * (1.0 - x2 / 30.0 * (1.0 - x2 / 56.0 * (1.0 - x2 / 90.0 * (1 - x2 / 132.0))))
    )
    return ((cosine, sine), (-sine, cosine), (-cosine, -sine), (sine, -cosine))[quarter & 3]
