"""Colours: every class draws from the same wide range, so that colour says nothing about class."""

from __future__ import annotations

from dataclasses import dataclass

from zfnet.data.synthetic.raster import Colour
from zfnet.data.synthetic.stream import Stream

# (saturation low, high, value low, high) of the moods a picture can have.
_TONES = (
    (0.25, 0.45, 0.82, 0.97),  # pastel
    (0.55, 0.80, 0.75, 0.95),  # bright
    (0.45, 0.70, 0.45, 0.68),  # rich
    (0.35, 0.60, 0.24, 0.42),  # deep
    (0.12, 0.28, 0.50, 0.78),  # muted
    (0.02, 0.12, 0.80, 0.98),  # pale
)

# The hue circle at even steps of how different hues look: less of it is green and violet than in
# HSV, and the pure ones of these are toned down. Hue and saturation factor at 12 even places.
_HUES = (0.00, 0.04, 0.08, 0.12, 0.16, 0.25, 0.38, 0.48, 0.56, 0.63, 0.74, 0.90, 1.00)
_STRENGTHS = (1.00, 1.00, 1.00, 1.00, 0.90, 0.75, 0.65, 0.80, 0.95, 0.95, 0.75, 0.80, 1.00)


@dataclass(frozen=True)
class Scheme:
    """The colours of one picture, RGB 0..255."""

    body: Colour
    body_shade: Colour
    second: Colour
    second_shade: Colour
    accent: Colour
    dark: Colour
    light: Colour
    pale: Colour
    ground: tuple[Colour, Colour, Colour]
    clutter: tuple[Colour, ...]


def hsv(place: float, saturation: float, value: float) -> Colour:
    """Convert a place on the hue circle (turns), saturation and value (0..1) to RGB 0..255."""
    place = (place - (place // 1.0)) * 12.0
    step = min(int(place), 11)
    hue, next_hue = _HUES[step : step + 2]
    strong, next_strong = _STRENGTHS[step : step + 2]
    saturation = saturation * (strong + (next_strong - strong) * (place - step))
    hue = (hue + (next_hue - hue) * (place - step)) * 6.0
    sector = int(hue)
    part = hue - sector
    top = value * 255.0
    low = top * (1.0 - saturation)
    fall = top * (1.0 - saturation * part)
    rise = top * (1.0 - saturation * (1.0 - part))
    return (
        (top, rise, low),
        (fall, top, low),
        (low, top, rise),
        (low, fall, top),
        (rise, low, top),
        (top, low, fall),
    )[sector % 6]


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return a with a share of b."""
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


def luma(colour: Colour) -> float:
    """Return the perceived brightness, 0..255 (Rec. 601 weights)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def apart(a: Colour, b: Colour) -> float:
    """Return how different two colours look: brightness counts twice."""
    red, green, blue = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return abs(luma(a) - luma(b)) + (abs(red) + abs(green) + abs(blue)) / 3.0


def shifted(colour: Colour, stream: Stream, amount: float) -> Colour:
    """Return a lighter or darker neighbour of a colour, for its texture."""
    target = (255.0, 250.0, 240.0) if stream.chance(0.5) else (25.0, 20.0, 40.0)
    return mix(colour, target, amount)


def scheme(stream: Stream) -> Scheme:
    """Draw the colours of one picture; object and ground stand apart, either one the lighter."""
    hue = stream.unit()
    body = _tone(stream, hue)
    second = _distinct(stream, hue + stream.choice((0.0, 0.08, -0.08, 0.5)), [body], 90.0)
    accent = _distinct(stream, hue + stream.uniform(0.25, 0.75), [body, second], 70.0)
    ground_hue = stream.unit()
    first = _distinct(stream, ground_hue, [body], 130.0)
    ground = (
        first,
        mix(_tone(stream, ground_hue + stream.uniform(-0.1, 0.1)), first, 0.65),
        mix(_tone(stream, ground_hue + stream.uniform(0.2, 0.8)), first, 0.6),
    )
    amount = stream.uniform(0.14, 0.3)
    dark = hsv(stream.unit(), stream.uniform(0.2, 0.6), stream.uniform(0.08, 0.2))
    light = hsv(stream.unit(), stream.uniform(0.0, 0.1), stream.uniform(0.93, 1.0))
    haze = stream.uniform(0.25, 0.55)
    clutter = tuple(
        mix(_tone(stream, ground_hue + stream.uniform(-0.3, 0.3)), first, haze) for _ in range(5)
    )
    return Scheme(
        body=body,
        body_shade=shifted(body, stream, amount),
        second=second,
        second_shade=shifted(second, stream, amount),
        accent=accent,
        dark=dark,
        light=light,
        pale=_pale(stream, light, body),
        ground=ground,
        clutter=(*clutter, mix(body, first, haze), mix(accent, first, haze), mix(dark, first, 0.4)),
    )


def _pale(stream: Stream, light: Colour, body: Colour) -> Colour:
    """A light tint, for faces of clocks and snouts of dogs, on which dark marks still show."""
    best = light
    for _ in range(4):
        best = mix(light, _tone(stream, stream.unit()), stream.uniform(0.0, 0.6))
        if apart(best, body) >= 45.0:
            break
    return best


def _tone(stream: Stream, hue: float) -> Colour:
    s0, s1, v0, v1 = stream.choice(_TONES)
    return hsv(hue, stream.uniform(s0, s1), stream.uniform(v0, v1))


def _distinct(stream: Stream, hue: float, others: list[Colour], least: float) -> Colour:
    best, gap = _tone(stream, hue), -1.0
    for _ in range(12):
        colour = _tone(stream, hue)
        nearest = min(apart(colour, other) for other in others)
        if nearest >= least:
            return colour
        if nearest > gap:
            best, gap = colour, nearest
    return best
