"""What every class is drawn with: the layer, the picture's paints, its line and random shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zfnet.data.synthetic.palette import Scheme
from zfnet.data.synthetic.raster import Canvas, Colour, Paint
from zfnet.data.synthetic.shapes import Point, Shape
from zfnet.data.synthetic.stream import Stream


@dataclass(frozen=True)
class Face:
    """Where a face's parts lie in object coordinates; drawn alike for every animal."""

    left_eye: Point
    right_eye: Point
    nose: Point
    eye: float  # radius
    eye_style: str
    gaze: Point

    @property
    def parts(self) -> dict[str, Point]:
        """The named parts."""
        return {"left_eye": self.left_eye, "right_eye": self.right_eye, "nose": self.nose}


@dataclass(frozen=True)
class Kit:
    """A layer with paints; shapes are in the unit square -0.5 .. 0.5, v pointing down."""

    layer: Canvas
    stream: Stream
    scheme: Scheme
    body: Paint
    second: Paint
    accent: Paint
    light: Paint
    pale: Paint
    dark: Paint
    line: float
    line_colour: Colour
    face: Face

    def draw(self, shape: Shape, paint: Paint, *, opacity: float = 1.0) -> None:
        """Paint a shape, with the picture's outline if it has one."""
        self.layer.draw(shape, paint, self.line, self.line_colour, opacity)

    def fill(self, shape: Shape, paint: Paint, *, opacity: float = 1.0) -> None:
        """Paint a shape without an outline."""
        self.layer.draw(shape, paint, opacity=opacity)

    @property
    def ink(self) -> Paint:
        """The dark colour, plain."""
        return Paint(self.dark.colour)

    @property
    def white(self) -> Paint:
        """The light colour, plain."""
        return Paint(self.light.colour)

    @property
    def outline(self) -> Paint:
        """The outline's colour, plain."""
        return Paint(self.line_colour)

    def vary(self, low: float, high: float) -> float:
        """Return a random proportion."""
        return self.stream.uniform(low, high)


@dataclass(frozen=True)
class Subject:
    """One class: its name, and how it is drawn."""

    name: str
    draw: Callable[[Kit], None]
    is_face: bool = False


def new_face(stream: Stream) -> Face:
    """Draw the geometry of a face, the same distribution for every animal."""
    spread = stream.uniform(0.125, 0.175)
    level = stream.uniform(-0.065, 0.015)
    turn = stream.uniform(-0.045, 0.045)
    nose = level + stream.uniform(0.15, 0.195)
    return Face(
        left_eye=(turn - spread, level),
        right_eye=(turn + spread, level),
        nose=(turn * 1.35, nose),
        eye=stream.uniform(0.048, 0.066),
        eye_style=stream.choice(("bead", "round", "round", "iris")),
        gaze=(stream.uniform(-1.0, 1.0), stream.uniform(-1.0, 1.0)),
    )
