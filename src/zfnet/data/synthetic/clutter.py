"""Grounds, and the shapes that lie behind and before an object; alike for every class."""

from __future__ import annotations

from collections.abc import Callable

from zfnet.data.synthetic.joins import cut, placed, shell, union
from zfnet.data.synthetic.palette import Scheme, mix
from zfnet.data.synthetic.raster import Canvas, Paint, Pose
from zfnet.data.synthetic.shapes import Point, Shape, arc, box, disc, ellipse, limb, polygon
from zfnet.data.synthetic.stream import Stream, on_circle
from zfnet.data.synthetic.textures import TEXTURES, texture

FEWEST, MOST = 2, 11  # shapes behind an object


def paint_ground(canvas: Canvas, stream: Stream, colours: Scheme) -> None:
    """Fill the canvas with one of several textured grounds."""
    layout = stream.choice(("sheet", "room", "hills", "bokeh", "patches"))
    fills = [_ground_paint(canvas, stream, colours, i) for i in (0, 1, 2)]
    canvas.draw(box(0.0, 0.0, 0.6, 0.6), fills[0])
    if layout == "room":
        level, tilt = stream.uniform(0.1, 0.35), stream.uniform(-0.08, 0.08)
        floor = polygon((-0.6, level - tilt), (0.6, level + tilt), (0.6, 0.6), (-0.6, 0.6))
        canvas.draw(floor, fills[1])
    elif layout == "hills":
        for i in (1, 2):
            u, v = stream.uniform(-0.4, 0.4), stream.uniform(0.05, 0.2) + 0.15 * i
            radius = stream.uniform(0.5, 0.9)
            canvas.draw(ellipse(u, v + 0.35, radius, 0.42), fills[i])
    elif layout == "bokeh":
        for _ in range(9):
            spot = disc(
                stream.uniform(-0.5, 0.5), stream.uniform(-0.5, 0.5), stream.uniform(0.05, 0.2)
            )
            colour = stream.choice(colours.ground)
            canvas.draw(spot, Paint(mix(colour, colours.light, 0.3)), opacity=0.45, soft=0.03)
    elif layout == "patches":
        turns = stream.unit()
        for i in (1, 2):
            at = stream.uniform(0.15, 0.35) * (1.0 if i == 1 else -1.0)
            slab = placed(box(0.0, 0.4, 1.0, 0.4), 0.0, 0.0, 1.0, turns + 0.5 * (i - 1))
            cosine, sine = on_circle(turns, 1.0)
            canvas.draw(placed(slab, -sine * at, cosine * at, 1.0), fills[i])


def _ground_paint(canvas: Canvas, stream: Stream, colours: Scheme, index: int) -> Paint:
    colour = colours.ground[index]
    other = mix(colour, colours.ground[(index + 1) % 3], stream.uniform(0.15, 0.45))
    if stream.chance(0.4):
        other = mix(colour, stream.choice((colours.light, colours.dark)), stream.uniform(0.1, 0.25))
    name = stream.choice(TEXTURES)
    field = texture(name, stream, canvas.pixels_per_unit, stream.uniform(0.5, 1.4))
    return Paint(colour, other, field)


def scatter(canvas: Canvas, stream: Stream, colours: Scheme, wanted: int | None = None) -> int:
    """Lay distracting shapes on the ground; return how many. wanted: in place of a random count."""
    count = FEWEST + stream.integer(MOST - FEWEST + 1)
    count = count if wanted is None else wanted
    for _ in range(count):
        at = (stream.uniform(-0.5, 0.5), stream.uniform(-0.5, 0.5))
        _scrap(canvas, stream, colours, at, stream.uniform(0.035, 0.12))
    return count


def occlude(front: Canvas, stream: Stream, colours: Scheme, pose: Pose) -> int:
    """Lay up to two shapes over the object's rim, never over its middle; return how many."""
    count = stream.integer(3)
    for _ in range(count):
        turns, far = stream.unit(), pose.scale * stream.uniform(0.45, 0.56)
        at = on_circle(turns, far, (pose.u - 0.5, pose.v - 0.5))
        _scrap(front, stream, colours, at, pose.scale * stream.uniform(0.06, 0.12))
    return count


def _scrap(layer: Canvas, stream: Stream, colours: Scheme, at: Point, radius: float) -> None:
    """Draw one distractor: a plain shape, or one that looks like a part of an object."""
    first, second = stream.choice(colours.clutter), stream.choice(colours.clutter)
    outlined = 0.008 if stream.chance(0.25) else 0.0
    turns = stream.unit()
    paint = Paint(first, volume=0.15)
    if stream.chance(0.3):
        field = texture(stream.choice(TEXTURES), stream, layer.pixels_per_unit, 1.5)
        paint = Paint(first, second, field)
    make = stream.choice(_SCRAPS)
    for i, shape in enumerate(make(stream)):
        layer.draw(
            placed(shape, at[0], at[1], radius, turns),
            paint if i == 0 else Paint((second, colours.dark)[i % 2]),
            line=outlined if i == 0 else 0.0,
            line_colour=colours.dark,
        )


def _star(stream: Stream) -> list[Shape]:
    tips = 4 + stream.integer(3)
    points = [on_circle(i / (2.0 * tips), (1.0, 0.45)[i % 2]) for i in range(2 * tips)]
    return [polygon(*points, corner=0.05)]


def _blossom(stream: Stream) -> list[Shape]:
    petals = 5 + stream.integer(4)
    discs = [disc(*on_circle(i / petals, 0.65), 0.36) for i in range(petals)]
    return [union(*discs), disc(0.0, 0.0, 0.35)]


def _wheel(stream: Stream) -> list[Shape]:
    spokes = [limb((-0.8, 0.0), (0.8, 0.0), 0.06), limb((0.0, -0.8), (0.0, 0.8), 0.06)]
    return [union(shell(disc(0.0, 0.0, 0.85), 0.12), *spokes), disc(0.0, 0.0, 0.2)]


_SCRAPS: tuple[Callable[[Stream], list[Shape]], ...] = (
    lambda s: [ellipse(0.0, 0.0, 1.0, s.uniform(0.5, 1.0))],
    lambda s: [shell(disc(0.0, 0.0, 0.8), s.uniform(0.1, 0.25))],
    lambda s: [box(0.0, 0.0, 1.0, s.uniform(0.3, 0.9), 0.15)],
    lambda s: [polygon((-0.8, 0.7), (s.uniform(-0.5, 0.5), -0.9), (0.8, 0.7), corner=0.08)],
    lambda s: [limb((-1.3, 0.0), (1.3, 0.0), s.uniform(0.1, 0.3), s.uniform(0.05, 0.3))],
    lambda s: [arc(0.0, 0.0, 0.8, s.uniform(0.1, 0.25), 0.25, s.uniform(0.15, 0.4))],
    _star,
    _blossom,
    lambda s: [disc(0.0, 0.0, 0.9), disc(0.1, 0.0, s.uniform(0.4, 0.6))],
    _wheel,
    lambda s: [cut(disc(0.0, 0.0, 0.95), disc(s.uniform(0.35, 0.6), 0.0, 0.85))],
    lambda s: [union(box(0.0, 0.0, 0.95, 0.25, 0.1), box(0.0, 0.0, 0.25, 0.95, 0.1))],
)
