"""Shapes as signed distances; lengths are in the units of the object's own coordinates.

A shape gives, for every point, its distance to the shape's edge (negative inside). Arrays are
float32 and see only +, -, *, /, sqrt, min and max, one operation at a time: IEEE 754 fixes their
results to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zfnet.data.synthetic.stream import cos_sin, on_circle

Point = tuple[float, float]
Bounds = tuple[float, float, float, float]
Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Shape:
    """A region of the plane: bounds (u0, v0, u1, v1) and a signed distance, in the same units."""

    bounds: Bounds
    distance: Field


def ellipse(u: float, v: float, ru: float, rv: float, turns: float = 0.0) -> Shape:
    """Return an ellipse with centre (u, v), radii ru and rv, turned by `turns`."""
    if ru == rv:
        return Shape((u - ru, v - ru, u + ru, v + ru), lambda x, y: _length(x - u, y - v) - ru)
    cosine, sine = cos_sin(turns)
    reach_u = abs(ru * cosine) + abs(rv * sine)
    reach_v = abs(ru * sine) + abs(rv * cosine)
    cu, su, cv, sv = cosine / ru, sine / ru, cosine / rv, sine / rv

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = x - u, y - v
        a = x * cu + y * su
        b = y * cv - x * sv
        near = _length(a, b)
        slope = _length(a * (1.0 / ru), b * (1.0 / rv)) + 1e-4
        # First-order distance; close to exact near the edge, which is where it is used.
        return near * (near - 1.0) / slope

    return Shape((u - reach_u, v - reach_v, u + reach_u, v + reach_v), distance)


def disc(u: float, v: float, radius: float) -> Shape:
    """Return a disc."""
    return ellipse(u, v, radius, radius)


def box(u: float, v: float, ru: float, rv: float, corner: float = 0.0) -> Shape:
    """Return an upright rectangle with half sides ru and rv and rounded corners."""
    inner_u, inner_v = ru - corner, rv - corner

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x = np.abs(x - u) - inner_u
        y = np.abs(y - v) - inner_v
        outside = _length(np.maximum(x, 0.0), np.maximum(y, 0.0))
        return outside + np.minimum(np.maximum(x, y), 0.0) - corner

    return Shape((u - ru, v - rv, u + ru, v + rv), distance)


def limb(a: Point, b: Point, ra: float, rb: float | None = None) -> Shape:
    """Return a thick line from a to b with round ends of radius ra and rb."""
    rb = ra if rb is None else rb
    (au, av), (bu, bv) = a, b
    du, dv = bu - au, bv - av
    scale = 1.0 / (du * du + dv * dv + 1e-12)
    su, sv = du * scale, dv * scale
    r = max(ra, rb)

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = x - au, y - av
        t = np.minimum(np.maximum(x * su + y * sv, 0.0), 1.0)
        return _length(x - t * du, y - t * dv) - (t * (rb - ra) + ra)

    return Shape((min(au, bu) - r, min(av, bv) - r, max(au, bu) + r, max(av, bv) + r), distance)


def ray(middle: Point, turns: float, near: float, far: float, width: float) -> Shape:
    """Return a line of half width `width` that points away from `middle` at an angle in turns."""
    return limb(on_circle(turns, near, middle), on_circle(turns, far, middle), width)


def arc(u: float, v: float, radius: float, width: float, middle: float, half: float) -> Shape:
    """Return a bent line: part of a circle, `half` turns to both sides of the angle `middle`.

    Angles are in turns, from the u axis towards the v axis (v points down: clockwise on screen).
    """
    axis_u, axis_v = cos_sin(middle)
    open_c, open_s = cos_sin(half)
    end_a, end_b = radius * open_c, radius * open_s

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = x - u, y - v
        along = x * axis_u + y * axis_v
        across = np.abs(y * axis_u - x * axis_v)
        ring = np.abs(_length(along, across) - radius)
        ends = _length(along - end_a, across - end_b)
        return np.where(across * open_c > along * open_s, ends, ring) - width

    reach = radius + width
    return Shape((u - reach, v - reach, u + reach, v + reach), distance)


def polygon(*points: Point, corner: float = 0.0) -> Shape:
    """Return a simple polygon; `corner` grows it by that much with round corners."""
    closed = [*points[1:], points[0]]
    edges = list(zip(points, closed, strict=True))

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        square = np.full(x.shape, 1e6, dtype=np.float32)
        inside = np.zeros(x.shape, dtype=bool)
        for (au, av), (bu, bv) in edges:
            du, dv = bu - au, bv - av
            scale = 1.0 / (du * du + dv * dv + 1e-12)
            pu, pv = x - au, y - av
            t = np.minimum(np.maximum(pu * (du * scale) + pv * (dv * scale), 0.0), 1.0)
            eu, ev = pu - t * du, pv - t * dv
            np.minimum(square, eu * eu + ev * ev, out=square)
            if av != bv:
                between = (y >= min(av, bv)) & (y < max(av, bv))
                inside ^= between & ((pu * dv - pv * du < 0.0) == (dv > 0.0))
        away = np.sqrt(square)
        return np.where(inside, -away, away) - corner

    us, vs = zip(*points, strict=True)
    bounds = (min(us) - corner, min(vs) - corner, max(us) + corner, max(vs) + corner)
    return Shape(bounds, distance)


def _length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y)
