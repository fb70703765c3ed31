"""Shapes made of shapes: joined, cut, moved, outlined."""

from __future__ import annotations

import numpy as np

from zfnet.data.synthetic.shapes import Shape
from zfnet.data.synthetic.stream import cos_sin


def union(*shapes: Shape, blend: float = 0.0) -> Shape:
    """Return all shapes as one; `blend` melts the joints over that distance."""

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        total = shapes[0].distance(x, y)
        for shape in shapes[1:]:
            other = shape.distance(x, y)
            if blend > 0.0:
                near = np.maximum(blend - np.abs(total - other), 0.0)
                total = np.minimum(total, other) - near * near * (0.25 / blend)
            else:
                total = np.minimum(total, other)
        return total

    u0, v0, u1, v1 = zip(*(shape.bounds for shape in shapes), strict=True)
    room = blend * 0.25
    return Shape((min(u0) - room, min(v0) - room, max(u1) + room, max(v1) + room), distance)


def cut(shape: Shape, *holes: Shape) -> Shape:
    """Return the shape without the holes."""

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        total = shape.distance(x, y)
        for hole in holes:
            total = np.maximum(total, -hole.distance(x, y))
        return total

    return Shape(shape.bounds, distance)


def within(shape: Shape, *limits: Shape) -> Shape:
    """Return the part of the shape that lies in all the limits."""

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        total = shape.distance(x, y)
        for limit in limits:
            total = np.maximum(total, limit.distance(x, y))
        return total

    u0, v0, u1, v1 = zip(*(each.bounds for each in (shape, *limits)), strict=True)
    return Shape((max(u0), max(v0), min(u1), min(v1)), distance)


def shell(shape: Shape, width: float) -> Shape:
    """Return the shape's edge as a line of half width `width`."""
    u0, v0, u1, v1 = shape.bounds
    bounds = (u0 - width, v0 - width, u1 + width, v1 + width)
    return Shape(bounds, lambda x, y: np.abs(shape.distance(x, y)) - width)


def grown(shape: Shape, by: float) -> Shape:
    """Return the shape grown by a distance, or shrunk where it is negative."""
    u0, v0, u1, v1 = shape.bounds
    return Shape((u0 - by, v0 - by, u1 + by, v1 + by), lambda x, y: shape.distance(x, y) - by)


def placed(shape: Shape, u: float, v: float, scale: float, turns: float = 0.0) -> Shape:
    """Return the shape scaled, turned about its origin, then moved to (u, v)."""
    cosine, sine = cos_sin(turns)
    c, s = cosine / scale, sine / scale

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = x - u, y - v
        return shape.distance(x * c + y * s, y * c - x * s) * scale

    corners = [
        (u + scale * (cosine * a - sine * b), v + scale * (sine * a + cosine * b))
        for a in (shape.bounds[0], shape.bounds[2])
        for b in (shape.bounds[1], shape.bounds[3])
    ]
    us, vs = zip(*corners, strict=True)
    return Shape((min(us), min(vs), max(us), max(vs)), distance)
