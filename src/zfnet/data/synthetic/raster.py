"""A canvas that paints shapes with exact edge coverage, which anti-aliases them at any size.

The share of a pixel that a shape covers follows from the shape's signed distance. The arithmetic is
that of `shapes`, the same to the bit on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zfnet.data.synthetic.shapes import Bounds, Field, Point, Shape
from zfnet.data.synthetic.stream import cos_sin

Colour = tuple[float, float, float]


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

    def around(self, u0: float, v0: float, u1: float, v1: float) -> Bounds:
        """Map a box of object coordinates to the upright box around it, fractions of the side."""
        corners = [self.to_picture(u, v) for u in (u0, u1) for v in (v0, v1)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True)
class Paint:
    """What fills a shape: a colour, or two mixed by a texture; RGB in 0..255.

    volume: strength of the light falling over each shape, 0 for flat.
    """

    colour: Colour
    second: Colour | None = None
    texture: Field | None = None
    volume: float = 0.0


class Canvas:
    """A part of the picture with premultiplied colour: rgb (3, h, w) and alpha (h, w), float32."""

    def __init__(self, size: int, pose: Pose, reach: float = 0.62, light: Point = (0, 0)) -> None:
        x0, y0, x1, y1 = (int(each * size) for each in pose.around(-reach, -reach, reach, reach))
        self.size = size
        self.pose = pose
        self.light = light
        self.x0, self.y0 = max(0, x0), max(0, y0)
        self.x1, self.y1 = max(self.x0, min(size, x1 + 1)), max(self.y0, min(size, y1 + 1))
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
        around = self.pose.around(u0 - margin, v0 - margin, u1 + margin, v1 + margin)
        x0, y0, x1, y1 = (int(each * self.size) for each in around)
        x0, y0 = max(x0 - self.x0 - 1, 0), max(y0 - self.y0 - 1, 0)
        x1, y1 = min(x1 - self.x0 + 2, self.x1 - self.x0), min(y1 - self.y0 + 2, self.y1 - self.y0)
        if x0 >= x1 or y0 >= y1:
            return None
        return slice(y0, y1), slice(x0, x1)

    def draw(
        self,
        shape: Shape,
        paint: Paint,
        line: float = 0.0,
        line_colour: Colour = (0.0, 0.0, 0.0),
        opacity: float = 1.0,
        *,
        soft: float = 0.0,
    ) -> None:
        """Paint a shape over what is there.

        line: width of an outline inside the shape's edge; soft: width over which the edge fades,
        both in the canvas's units.
        """
        window = self.window(shape.bounds, 1.0 / self.pixels_per_unit + soft)
        if window is None:
            return
        u, v = self.u[window], self.v[window]
        distance = shape.distance(u, v)
        slope = self.pixels_per_unit if soft == 0.0 else 1.0 / (soft + 1.0 / self.pixels_per_unit)
        if line > 0.0:
            self._over(window, Paint(line_colour), self._cover(distance, slope, opacity))
            distance = distance + line
        cover = self._cover(distance, slope, opacity)
        shade = None
        if paint.volume > 0.0:
            u0, v0, u1, v1 = shape.bounds
            gain = paint.volume * 2.0 / max(u1 - u0, v1 - v0)
            side = (u - (u0 + u1) * 0.5) * (self.light[0] * gain)
            shade = 1.0 + side + (v - (v0 + v1) * 0.5) * (self.light[1] * gain)
        share = None if paint.texture is None else paint.texture(u, v)
        self._over(window, paint, cover, shade, share)

    @staticmethod
    def _cover(distance: np.ndarray, slope: float, opacity: float) -> np.ndarray:
        cover = np.minimum(np.maximum(0.5 - distance * slope, 0.0), 1.0)
        return cover if opacity == 1.0 else cover * opacity

    def _over(
        self,
        window: tuple[slice, slice],
        paint: Paint,
        cover: np.ndarray,
        shade: np.ndarray | None = None,
        share: np.ndarray | None = None,
    ) -> None:
        """Lay a paint over `window`: a `share` of its second colour, times `shade`, by `cover`."""
        keep = 1.0 - cover
        weight = cover if shade is None else cover * shade
        for channel in range(3):
            colour: float | np.ndarray = paint.colour[channel]
            if share is not None and paint.second is not None:
                colour = share * (paint.second[channel] - paint.colour[channel]) + colour
            plane = self.rgb[channel][window]
            plane *= keep
            plane += weight * colour
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
