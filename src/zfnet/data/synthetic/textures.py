"""Textures: a share 0..1 of the second colour at every point, in an object's own coordinates."""

from __future__ import annotations

import numpy as np

from zfnet.data.synthetic.shapes import Field
from zfnet.data.synthetic.stream import Stream, cos_sin

TEXTURES = ("plain", "gradient", "stripes", "waves", "checks", "dots", "mottled", "fur", "weave")

_LATTICE = 32


def texture(name: str, stream: Stream, pixels_per_unit: float, frequency: float = 1.0) -> Field:
    """Return a texture of the given name with random phase, direction and pitch.

    pixels_per_unit keeps edges one pixel wide; frequency multiplies the usual repeats per unit.
    """
    cosine, sine = cos_sin(stream.unit())
    phase_a, phase_b = stream.unit(), stream.unit()
    pitch = frequency * stream.uniform(7.0, 13.0)
    sharp = pixels_per_unit / pitch * 0.5
    table = stream.table(_LATTICE * _LATTICE)

    def axes(u: np.ndarray, v: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        a = u * (cosine * scale) + v * (sine * scale) + phase_a
        b = v * (cosine * scale) - u * (sine * scale) + phase_b
        return a, b

    def plain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.zeros(u.shape, dtype=np.float32)

    def gradient(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return _clip(u * (cosine * 0.9 * frequency) + v * (sine * 0.9 * frequency) + 0.5)

    def stripes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a, _ = axes(u, v, pitch)
        return _clip((_triangle(a) - 0.5) * sharp + 0.5)

    def waves(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a, b = axes(u, v, pitch)
        return _clip((_triangle(a + _smooth(_triangle(b * 0.7)) * 0.5) - 0.5) * sharp + 0.5)

    def checks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a, b = axes(u, v, pitch * 0.7)
        first = np.clip((_triangle(a) - 0.5) * sharp, -0.5, 0.5)
        second = np.clip((_triangle(b) - 0.5) * sharp, -0.5, 0.5)
        return first * second * 2.0 + 0.5

    def dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a, b = axes(u, v, pitch)
        row = np.floor(b)
        a = a + (row - 2.0 * np.floor(row * 0.5)) * 0.5
        x, y = a - np.floor(a) - 0.5, b - row - 0.5
        return _clip((0.3 - np.sqrt(x * x + y * y)) * (sharp * 2.0) + 0.5)

    def mottled(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a, b = axes(u, v, pitch * 0.6)
        rough = _noise(table, a, b) * 0.65 + _noise(table, a * 2.3 + 7.0, b * 2.3 + 3.0) * 0.35
        return _clip((rough - 0.5) * 2.6 + 0.5)

    def fur(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a, b = axes(u, v, pitch)
        bend = _noise(table, a * 0.3 + 5.0, b * 0.3 + 9.0)
        return _clip((_noise(table, a * 2.6 + bend * 3.0, b * 0.55) - 0.5) * 2.4 + 0.5)

    def weave(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a, b = axes(u, v, pitch * 0.8)
        return _smooth(_triangle(a)) * 0.5 + _smooth(_triangle(b)) * 0.5

    made = (plain, gradient, stripes, waves, checks, dots, mottled, fur, weave)
    return dict(zip(TEXTURES, made, strict=True))[name]


def _clip(x: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(x, 0.0), 1.0)


def _triangle(x: np.ndarray) -> np.ndarray:
    """Triangle wave of period 1, values 0..1."""
    return np.abs((x - np.floor(x)) * 2.0 - 1.0)


def _smooth(x: np.ndarray) -> np.ndarray:
    return x * x * (3.0 - 2.0 * x)


def _noise(table: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Value noise, 0..1: random values on a lattice, smoothly interpolated."""
    ia, ib = np.floor(a), np.floor(b)
    fa, fb = _smooth(a - ia), _smooth(b - ib)
    ja = ia.astype(np.int32)
    jb = ib.astype(np.int32)
    left, right = ja & (_LATTICE - 1), (ja + 1) & (_LATTICE - 1)
    top, bottom = (jb & (_LATTICE - 1)) * _LATTICE, ((jb + 1) & (_LATTICE - 1)) * _LATTICE
    t00, t01 = table[top + left], table[top + right]
    t10, t11 = table[bottom + left], table[bottom + right]
    upper = t00 + (t01 - t00) * fa
    lower = t10 + (t11 - t10) * fa
    return upper + (lower - upper) * fb
