"""One picture: ground, clutter, shadow, object, occluders, light."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from zfnet.data.sample import Sample
from zfnet.data.synthetic import clutter
from zfnet.data.synthetic.kit import Kit, Subject, new_face
from zfnet.data.synthetic.palette import Scheme, apart, mix, scheme
from zfnet.data.synthetic.raster import Canvas, Paint, Pose, blurred
from zfnet.data.synthetic.shapes import Point
from zfnet.data.synthetic.stream import Stream, cos_sin
from zfnet.data.synthetic.textures import TEXTURES, texture

# Each aspect has its own stream, so that no class's drawing shifts another aspect's numbers.
_POSE, _COLOUR, _TEXTURE, _GROUND, _FACE, _SHAPE, _LIGHT, _FRONT = range(8)

SCALE, LIGHT = (0.62, 0.86), (0.78, 1.12)  # what keys draw lies between these
TILT = 0.055  # turns from upright, at most
_FREE = 0.06  # of the picture's side that an object may be moved beyond the border


@dataclass(frozen=True)
class Change:
    """What of a scene is drawn otherwise than its keys say, all else alike; None: as they say.

    `scale`: side of the object's unit square over the picture's; the object stays where it is, but
    for what would lie farther outside the picture than objects may. `turns`: rotation, 1 = 360
    degrees clockwise. `clutter`: shapes behind the object, the first of them the scene's own.
    `light`: gain. `texture`: name of the body's.
    """

    scale: float | None = None
    turns: float | None = None
    clutter: int | None = None
    light: float | None = None
    texture: str | None = None


UNCHANGED = Change()


def render(
    subject: Subject, size: int, *keys: int, id: str, label: int, change: Change = UNCHANGED
) -> Sample:
    """Render one picture of a subject; the keys alone decide it, `size` only its resolution.

    change: draws the same scene with something else in it.
    """
    colours = scheme(Stream(*keys, _COLOUR))
    pose = _changed(_new_pose(Stream(*keys, _POSE)), change)
    lamp = Stream(*keys, _LIGHT)
    cosine, sine = cos_sin(lamp.unit())
    direction = (cosine, sine)

    ground = Stream(*keys, _GROUND)
    canvas = Canvas(size, Pose(0.5, 0.5, 1.0), reach=0.5, light=direction)
    clutter.paint_ground(canvas, ground, colours)
    count = clutter.scatter(canvas, ground, colours, change.clutter)

    thing = Canvas(size, pose, light=_into_object(direction, pose))
    kit, name = _new_kit(thing, colours, keys, change.texture)
    subject.draw(kit)
    _sticker(thing, kit)
    _cast_shadow(canvas, thing, direction, lamp.uniform(0.15, 0.45), lamp.uniform(0.02, 0.05))
    _compose(canvas, thing)

    front = Canvas(size, Pose(0.5, 0.5, 1.0), reach=0.5, light=direction)
    count += clutter.occlude(front, Stream(*keys, _FRONT), colours, pose)
    _compose(canvas, front)

    gain = lamp.uniform(*LIGHT)
    gain = gain if change.light is None else change.light
    pixels = _light(canvas.rgb, direction, gain, lamp)
    parts = kit.face.parts if subject.is_face else {}
    return Sample(
        id=id,
        label=label,
        image=pixels,
        box=_visible_box(thing, front),
        parts=_parts_in_pixels(parts, pose, size),
        attributes={
            "scale": pose.scale,
            "rotation": pose.turns * 360.0,
            "clutter": count,
            "texture": name,
            "light": gain,
        },
    )


def _new_pose(stream: Stream) -> Pose:
    scale = stream.uniform(*SCALE)
    slack = 1.0 - scale + _FREE
    return Pose(
        u=0.5 + (stream.unit() - 0.5) * slack,
        v=0.5 + (stream.unit() - 0.5) * slack,
        scale=scale,
        turns=(stream.unit() + stream.unit() - 1.0) * TILT,
        width=stream.uniform(0.92, 1.08),
        mirror=stream.sign(),
    )


def _changed(pose: Pose, change: Change) -> Pose:
    """The pose with another scale or rotation; moved inwards as far as a larger object must be."""
    if change.turns is not None:
        pose = replace(pose, turns=change.turns)
    if change.scale is None:
        return pose
    reach = 0.5 * max(0.0, 1.0 - change.scale + _FREE)
    u, v = (min(max(at, 0.5 - reach), 0.5 + reach) for at in (pose.u, pose.v))
    return replace(pose, u=u, v=v, scale=change.scale)


def _into_object(direction: Point, pose: Pose) -> Point:
    """Turn the light's direction into the object's own coordinates."""
    cosine, sine = cos_sin(pose.turns)
    along = direction[0] * cosine + direction[1] * sine
    return along * pose.mirror, direction[1] * cosine - direction[0] * sine


def _new_kit(
    layer: Canvas, colours: Scheme, keys: tuple[int, ...], body: str | None
) -> tuple[Kit, str]:
    """Choose textures, line and shading; return the kit and the name of the main texture.

    body: the name of the main texture in place of the one chosen.
    """
    stream = Stream(*keys, _TEXTURE)
    unit = layer.pixels_per_unit
    volume = stream.uniform(0.05, 0.28) if stream.chance(0.75) else 0.0
    name = stream.choice(TEXTURES)
    name = body or name  # every texture draws the same numbers
    main = texture(name, stream, unit)
    other = texture(stream.choice(TEXTURES), stream, unit, 1.3)
    style = stream.choice((0, 1, 1, 2, 3))
    line = (0.0, 0.014, 0.021, 0.017)[style]
    line_colour = mix(colours.body, colours.dark, 0.75) if style == 3 else colours.dark
    if style == 2 and apart(colours.dark, colours.ground[0]) < 50.0:
        line_colour = colours.light
    kit = Kit(
        layer=layer,
        stream=Stream(*keys, _SHAPE),
        scheme=colours,
        body=Paint(colours.body, colours.body_shade, main, volume),
        second=Paint(colours.second, colours.second_shade, other, volume),
        accent=Paint(colours.accent, volume=volume),
        light=Paint(colours.light, volume=volume * 0.5),
        pale=Paint(colours.pale, volume=volume * 0.5),
        dark=Paint(colours.dark, volume=volume),
        line=line,
        line_colour=line_colour,
        face=new_face(Stream(*keys, _FACE)),
    )
    return kit, name


def _sticker(thing: Canvas, kit: Kit) -> None:
    """Give some objects a pale rim, as a cut-out has."""
    if not kit.stream.chance(0.2):
        return
    wide = blurred(thing.alpha, max(1, thing.size // 64))
    rim = np.minimum(np.maximum(wide * 12.0 - 1.5, 0.0), 1.0)
    under = rim * (1.0 - thing.alpha)
    for channel in range(3):
        thing.rgb[channel] += under * kit.scheme.light[channel]
    thing.alpha += under


def _cast_shadow(
    canvas: Canvas, thing: Canvas, direction: Point, strength: float, distance: float
) -> None:
    """Darken the ground on the side away from the light."""
    size = canvas.size
    cover = np.zeros((size, size), dtype=np.float32)
    dx, dy = int(-direction[0] * distance * size), int(-direction[1] * distance * size)
    y0, y1 = max(thing.y0 + dy, 0), min(thing.y1 + dy, size)
    x0, x1 = max(thing.x0 + dx, 0), min(thing.x1 + dx, size)
    rows = slice(y0 - thing.y0 - dy, y1 - thing.y0 - dy)
    columns = slice(x0 - thing.x0 - dx, x1 - thing.x0 - dx)
    cover[y0:y1, x0:x1] = thing.alpha[rows, columns]
    canvas.rgb *= 1.0 - blurred(cover, max(1, size // 48)) * strength


def _compose(canvas: Canvas, layer: Canvas) -> None:
    window = (slice(layer.y0, layer.y1), slice(layer.x0, layer.x1))
    keep = 1.0 - layer.alpha
    for channel in range(3):
        plane = canvas.rgb[channel][window]
        plane *= keep
        plane += layer.rgb[channel]


def _light(rgb: np.ndarray, direction: Point, gain: float, stream: Stream) -> np.ndarray:
    """Apply side light, vignette, colour cast, tone curve and grain; return uint8 (H, W, 3)."""
    size = rgb.shape[1]
    axis = (np.arange(size).astype(np.float32) + 0.5) * (1.0 / size) - 0.5
    side = stream.uniform(0.0, 0.3)
    edge = stream.uniform(0.0, 0.45)
    field = gain + axis[None, :] * (direction[0] * side) + axis[:, None] * (direction[1] * side)
    field = field * (1.0 - (axis[None, :] * axis[None, :] + axis[:, None] * axis[:, None]) * edge)
    bend = stream.integer(161) - 80
    amount = stream.integer(9)
    grain = (stream.table(size * size).reshape(size, size) - 0.5) * float(amount)
    level = np.arange(256)
    curve = np.clip(level + level * (255 - level) * bend // (255 * 256), 0, 255).astype(np.uint8)
    out = np.empty((size, size, 3), dtype=np.uint8)
    for channel in range(3):
        cast = stream.uniform(0.94, 1.06)
        plane = np.floor(rgb[channel] * (field * cast) + grain + 0.5)
        out[:, :, channel] = curve[np.clip(plane, 0.0, 255.0).astype(np.uint8)]
    return out


def _visible_box(thing: Canvas, front: Canvas) -> tuple[float, float, float, float]:
    """Return the tight box of the pixels that show more object than anything else."""
    hidden = front.alpha[thing.y0 : thing.y1, thing.x0 : thing.x1]
    seen = thing.alpha * (1.0 - hidden) > 0.5
    rows = np.flatnonzero(seen.any(axis=1))
    columns = np.flatnonzero(seen.any(axis=0))
    return (
        float(thing.x0 + columns[0]),
        float(thing.y0 + rows[0]),
        float(thing.x0 + columns[-1] + 1),
        float(thing.y0 + rows[-1] + 1),
    )


def _parts_in_pixels(parts: dict[str, Point], pose: Pose, size: int) -> dict[str, Point]:
    """Map parts to pixels; left and right are as seen in the picture."""
    if not parts:
        return {}
    placed = {
        name: tuple(size * value for value in pose.to_picture(*at)) for name, at in parts.items()
    }
    if pose.mirror < 0.0:
        placed["left_eye"], placed["right_eye"] = placed["right_eye"], placed["left_eye"]
    return {name: (at[0], at[1]) for name, at in placed.items()}
