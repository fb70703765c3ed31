"""Shapes as signed distances, and a layer that paints them with exact edge coverage.

A shape gives, for every point, its distance to the shape's edge (negative inside). The share of a
pixel that it covers follows from that distance, which makes every edge anti-aliased at any size.
Arrays are float32 and see only +, -, *, /, sqrt, min and max, one operation at a time: IEEE 754
fixes their results to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from zfnet.data.synthetic.stream import cos_sin

Point = tuple[float, float]
Bounds = tuple[float, float, float, float]
Field = Callable[[np.ndarray, np.ndarray], np.ndarray]
Colour = tuple[float, float, float]


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


def polygon(points: Sequence[Point], corner: float = 0.0) -> Shape:
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

    us = [p[0] for p in points]
    vs = [p[1] for p in points]
    bounds = (min(us) - corner, min(vs) - corner, max(us) + corner, max(vs) + corner)
    return Shape(bounds, distance)


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

    boxes = [shape.bounds for shape in shapes]
    bounds = (
        min(b[0] for b in boxes) - blend * 0.25,
        min(b[1] for b in boxes) - blend * 0.25,
        max(b[2] for b in boxes) + blend * 0.25,
        max(b[3] for b in boxes) + blend * 0.25,
    )
    return Shape(bounds, distance)


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

    bounds = shape.bounds
    for other in limits:
        o = other.bounds
        bounds = (
            max(bounds[0], o[0]),
            max(bounds[1], o[1]),
            min(bounds[2], o[2]),
            min(bounds[3], o[3]),
        )
    return Shape(bounds, distance)


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
    us = [p[0] for p in corners]
    vs = [p[1] for p in corners]
    return Shape((min(us), min(vs), max(us), max(vs)), distance)


@dataclass(frozen=True)
class Pose:
    """Where an object's unit square lies in the picture.

    u, v: its centre, as fractions of the picture's side; scale: its side, likewise; turns: rotation
    (positive is clockwise on screen); width: stretch along u; mirror: -1 or 1.
    """

    u: float
    v: float
    scale: float
    turns: float = 0.0
    width: float = 1.0
    mirror: float = 1.0

    def to_picture(self, u: float, v: float) -> Point:
        """Map object coordinates to fractions of the picture's side."""
        cosine, sine = cos_sin(self.turns)
        a = u * self.width * self.mirror
        x = self.u + self.scale * (cosine * a - sine * v)
        y = self.v + self.scale * (sine * a + cosine * v)
        return x, y


@dataclass(frozen=True)
class Paint:
    """What fills a shape: a colour, or two mixed by a texture; RGB in 0..255.

    volume: strength of the light falling over each shape, 0 for flat.
    """

    colour: Colour
    second: Colour | None = None
    texture: Field | None = None
    volume: float = 0.0


class Layer:
    """A part of the picture with premultiplied colour: rgb (3, h, w) and alpha (h, w), float32."""

    def __init__(self, size: int, pose: Pose, reach: float = 0.62, light: Point = (0, 0)) -> None:
        corners = [pose.to_picture(a, b) for a in (-reach, reach) for b in (-reach, reach)]
        self.size = size
        self.pose = pose
        self.light = light
        self.x0 = max(0, int(min(p[0] for p in corners) * size))
        self.y0 = max(0, int(min(p[1] for p in corners) * size))
        self.x1 = max(self.x0, min(size, int(max(p[0] for p in corners) * size) + 1))
        self.y1 = max(self.y0, min(size, int(max(p[1] for p in corners) * size) + 1))
        shape = (self.y1 - self.y0, self.x1 - self.x0)
        self.pixels_per_unit = pose.scale * size
        cosine, sine = cos_sin(pose.turns)
        step = 1.0 / self.pixels_per_unit
        x = (np.arange(self.x0, self.x1).astype(np.float32) + (0.5 - pose.u * size)) * step
        y = (np.arange(self.y0, self.y1).astype(np.float32) + (0.5 - pose.v * size)) * step
        along = x[None, :] * cosine + y[:, None] * sine
        self.u = along * (pose.mirror / pose.width)
        self.v = y[:, None] * cosine - x[None, :] * sine
        self.rgb = np.zeros((3, *shape), dtype=np.float32)
        self.alpha = np.zeros(shape, dtype=np.float32)

    def window(self, bounds: Bounds, margin: float) -> tuple[slice, slice] | None:
        """Return the rows and columns that the bounds can touch, None where they touch none."""
        u0, v0, u1, v1 = bounds
        corners = [
            self.pose.to_picture(a, b)
            for a in (u0 - margin, u1 + margin)
            for b in (v0 - margin, v1 + margin)
        ]
        x0 = max(int(min(p[0] for p in corners) * self.size) - self.x0 - 1, 0)
        y0 = max(int(min(p[1] for p in corners) * self.size) - self.y0 - 1, 0)
        x1 = min(int(max(p[0] for p in corners) * self.size) - self.x0 + 2, self.x1 - self.x0)
        y1 = min(int(max(p[1] for p in corners) * self.size) - self.y0 + 2, self.y1 - self.y0)
        if x0 >= x1 or y0 >= y1:
            return None
        return slice(y0, y1), slice(x0, x1)

    def draw(
        self,
        shape: Shape,
        paint: Paint,
        *,
        line: float = 0.0,
        line_colour: Colour = (0.0, 0.0, 0.0),
        opacity: float = 1.0,
        soft: float = 0.0,
    ) -> None:
        """Paint a shape over what is there.

        line: width of an outline inside the shape's edge; soft: width over which the edge fades,
        both in the layer's units.
        """
        window = self.window(shape.bounds, 1.0 / self.pixels_per_unit + soft)
        if window is None:
            return
        u, v = self.u[window], self.v[window]
        distance = shape.distance(u, v)
        slope = self.pixels_per_unit if soft == 0.0 else 1.0 / (soft + 1.0 / self.pixels_per_unit)
        if line > 0.0:
            self._over(window, line_colour, None, self._cover(distance, slope, opacity))
            distance = distance + line
        cover = self._cover(distance, slope, opacity)
        shade = None
        if paint.volume > 0.0:
            u0, v0, u1, v1 = shape.bounds
            gain = paint.volume * 2.0 / max(u1 - u0, v1 - v0)
            side = (u - (u0 + u1) * 0.5) * (self.light[0] * gain)
            shade = 1.0 + side + (v - (v0 + v1) * 0.5) * (self.light[1] * gain)
        if paint.texture is None or paint.second is None:
            self._over(window, paint.colour, shade, cover)
        else:
            self._over_mix(window, paint, paint.texture(u, v), shade, cover)

    @staticmethod
    def _cover(distance: np.ndarray, slope: float, opacity: float) -> np.ndarray:
        cover = np.minimum(np.maximum(0.5 - distance * slope, 0.0), 1.0)
        return cover if opacity == 1.0 else cover * opacity

    def _over(
        self,
        window: tuple[slice, slice],
        colour: Colour,
        shade: np.ndarray | None,
        cover: np.ndarray,
    ) -> None:
        keep = 1.0 - cover
        weight = cover if shade is None else cover * shade
        for channel in range(3):
            plane = self.rgb[channel][window]
            plane *= keep
            plane += weight * colour[channel]
        alpha = self.alpha[window]
        alpha *= keep
        alpha += cover

    def _over_mix(
        self,
        window: tuple[slice, slice],
        paint: Paint,
        share: np.ndarray,
        shade: np.ndarray | None,
        cover: np.ndarray,
    ) -> None:
        assert paint.second is not None
        keep = 1.0 - cover
        weight = cover if shade is None else cover * shade
        for channel in range(3):
            first, second = paint.colour[channel], paint.second[channel]
            plane = self.rgb[channel][window]
            plane *= keep
            plane += weight * (share * (second - first) + first)
        alpha = self.alpha[window]
        alpha *= keep
        alpha += cover


def blurred(alpha: np.ndarray, radius: int) -> np.ndarray:
    """Blur a coverage map, values 0..1, by two passes of a box of 2 radius + 1; exact integers."""
    out = (alpha * 4095.0).astype(np.int64)
    side = 2 * radius + 1
    for _ in range(2):
        for axis in (0, 1):
            widths = [(0, 0), (0, 0)]
            widths[axis] = (radius + 1, radius)
            total = np.cumsum(np.pad(out, widths), axis=axis)
            high = total[side:] if axis == 0 else total[:, side:]
            low = total[:-side] if axis == 0 else total[:, :-side]
            out = (high - low) // side
    return out.astype(np.float32) * np.float32(1.0 / 4095.0)


def _length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y)
