"""Animal faces. All share one distribution of eye and nose places (`kit.new_face`)."""

from __future__ import annotations

from zfnet.data.synthetic.joins import grown, union, within
from zfnet.data.synthetic.kit import Kit
from zfnet.data.synthetic.palette import luma, mix
from zfnet.data.synthetic.raster import Paint
from zfnet.data.synthetic.shapes import Point, Shape, arc, disc, ellipse, limb, polygon
from zfnet.data.synthetic.stream import on_circle

SIDES = (-1.0, 1.0)


def cat(kit: Kit) -> None:
    """Pointed ears, whiskers, slit pupils, stripes on the brow."""
    wide, tip = kit.vary(0.36, 0.42), kit.vary(0.42, 0.5)
    apart = kit.vary(0.28, 0.34)
    for side in SIDES:
        ear = polygon((side * 0.34, 0.0), (side * apart, -tip), (side * 0.07, -0.23), corner=0.015)
        kit.draw(ear, kit.body)
        inner = polygon(
            (side * 0.31, -0.08), (side * (apart - 0.01), -tip + 0.085), (side * 0.14, -0.22)
        )
        kit.fill(inner, kit.accent)
    head = union(
        ellipse(0.0, 0.05, wide, 0.32),
        ellipse(-0.2, 0.17, 0.2, 0.17),
        ellipse(0.2, 0.17, 0.2, 0.17),
        blend=0.06,
    )
    kit.draw(head, kit.body)
    if kit.stream.chance(0.75):
        for x, length in ((-0.08, 0.07), (0.0, 0.1), (0.08, 0.07)):
            mark = limb((x, -0.25), (x * 0.7, -0.25 + length), 0.022, 0.006)
            kit.fill(within(mark, head), kit.second)
    _eyes(kit, slit=True)
    x, y = kit.face.nose
    for side in SIDES:
        kit.fill(ellipse(x + side * 0.07, y + 0.075, 0.085, 0.065), kit.pale)
    _mouth(kit, x, y + 0.04, 0.06)
    nose = polygon((x - 0.035, y - 0.018), (x + 0.035, y - 0.018), (x, y + 0.02), corner=0.014)
    kit.fill(nose, kit.accent)
    _whiskers(kit, x, y + 0.06)


def dog(kit: Kit) -> None:
    """Hanging ears, a broad muzzle with a big nose, a tongue."""
    wide = kit.vary(0.29, 0.34)
    droop, out = kit.vary(0.14, 0.26), kit.vary(0.36, 0.41)
    head = union(ellipse(0.0, -0.06, wide, 0.32), ellipse(0.0, 0.16, 0.27, 0.25), blend=0.12)
    kit.draw(head, kit.body)
    if kit.stream.chance(0.5):
        eye = kit.face.left_eye if kit.stream.chance(0.5) else kit.face.right_eye
        spot = ellipse(eye[0], eye[1] - 0.02, 0.11, 0.135, 0.0)
        kit.fill(within(spot, head), kit.second)
    for side in SIDES:
        ear = union(
            limb((side * 0.2, -0.29), (side * out, -0.16), 0.075, 0.09),
            limb((side * out, -0.16), (side * (out + 0.01), droop), 0.09, 0.105),
            blend=0.08,
        )
        kit.draw(ear, kit.second)
    x, y = kit.face.nose
    if kit.stream.chance(0.65):
        tongue = limb((x, y + 0.16), (x + 0.01, y + kit.vary(0.23, 0.29)), 0.05, 0.055)
        kit.draw(tongue, kit.accent)
    muzzle = union(
        ellipse(x, y + 0.03, 0.13, 0.11),
        ellipse(x - 0.075, y + 0.1, 0.11, 0.095),
        ellipse(x + 0.075, y + 0.1, 0.11, 0.095),
        blend=0.05,
    )
    kit.draw(muzzle, kit.pale)
    _eyes(kit)
    _mouth(kit, x, y + 0.09, 0.075)
    kit.fill(ellipse(x, y, 0.075, 0.055), kit.dark)
    kit.fill(ellipse(x - 0.02, y - 0.02, 0.022, 0.012), kit.pale, opacity=0.8)


def rabbit(kit: Kit) -> None:
    """Two long ears, cheeks, front teeth."""
    lean, bent = kit.vary(0.08, 0.2), kit.stream.chance(0.25)
    length = kit.vary(0.44, 0.5)
    for side in SIDES:
        root, tip = (side * 0.13, -0.12), (side * lean, -length + 0.08)
        if bent and side > 0:
            knee = (side * (lean * 0.6 + 0.07), -0.33)
            outer = union(limb(root, knee, 0.07, 0.08), limb(knee, (side * 0.38, -0.2), 0.08, 0.05))
            kit.draw(outer, kit.body)
            kit.fill(limb(root, knee, 0.035, 0.035), kit.accent)
            continue
        middle = (0.5 * (root[0] + tip[0]) + side * 0.015, 0.5 * (root[1] + tip[1]))
        outer = union(limb(root, middle, 0.06, 0.088), limb(middle, tip, 0.088, 0.06))
        kit.draw(outer, kit.body)
        inner = union(limb(root, middle, 0.03, 0.05), limb(middle, tip, 0.05, 0.025))
        kit.fill(inner, kit.accent)
    head = union(
        ellipse(0.0, 0.07, 0.27, 0.27),
        ellipse(-0.13, 0.2, 0.19, 0.18),
        ellipse(0.13, 0.2, 0.19, 0.18),
        blend=0.1,
    )
    kit.draw(head, kit.body)
    x, y = kit.face.nose
    for side in SIDES:
        kit.fill(disc(x + side * 0.2, y + 0.06, 0.055), kit.accent, opacity=0.6)
    _eyes(kit)
    edges = ((-0.04, -0.004, -0.004, -0.036), (0.004, 0.04, 0.036, 0.004))
    teeth = union(
        *(
            polygon((x + a, y + 0.09), (x + b, y + 0.09), (x + c, y + 0.16), (x + d, y + 0.16))
            for a, b, c, d in edges
        )
    )
    kit.fill(grown(teeth, 0.012), kit.dark)
    kit.fill(teeth, kit.white)
    for side in SIDES:
        kit.fill(ellipse(x + side * 0.055, y + 0.055, 0.07, 0.052), kit.pale)
    kit.fill(ellipse(x, y, 0.035, 0.026), kit.dark)
    if kit.stream.chance(0.5):
        _whiskers(kit, x, y + 0.05)


def owl(kit: Kit) -> None:
    """A disc round each eye, a beak, tufts, rows of feathers."""
    wide, tuft = kit.vary(0.35, 0.41), kit.vary(0.4, 0.48)
    trunk = ellipse(0.0, 0.07, wide, 0.41)
    tufts = [
        polygon((s * wide * 0.9, 0.0), (s * wide * 0.93, -tuft), (s * 0.02, -0.29), corner=0.01)
        for s in SIDES
    ]
    whole = union(trunk, *tufts, blend=0.05)
    kit.draw(whole, kit.body)
    x, y = kit.face.nose
    chest = within(ellipse(0.0, 0.36, 0.27, 0.26), trunk)
    kit.fill(chest, kit.second)
    for row in range(3):
        for column in range(-2, 3):
            a = (column + 0.5 * (row % 2)) * 0.11
            feather = arc(a, 0.24 + row * 0.075, 0.04, 0.008, 0.25, 0.2)
            kit.fill(within(feather, chest), kit.dark, opacity=0.7)
    radius = kit.vary(0.15, 0.18)
    for eye in (kit.face.left_eye, kit.face.right_eye):
        kit.draw(disc(*eye, radius), kit.pale)
        kit.fill(disc(*eye, radius * 0.72), kit.second, opacity=0.55)
    _eyes(kit, grow=1.4)
    beak = polygon((x - 0.045, y - 0.05), (x + 0.045, y - 0.05), (x, y + 0.06), corner=0.012)
    kit.draw(beak, kit.accent)


def lion(kit: Kit) -> None:
    """A mane of locks all round, small round ears, a broad nose."""
    locks = 11 + kit.stream.integer(6)
    reach, lock = kit.vary(0.335, 0.37), kit.vary(0.1, 0.125)
    start = kit.stream.unit()
    curls = [disc(*on_circle(start + i / locks, reach, (0.0, 0.02)), lock) for i in range(locks)]
    mane = union(disc(0.0, 0.02, reach), *curls)
    kit.draw(mane, kit.second)
    for side in SIDES:
        kit.draw(disc(side * 0.24, -0.22, 0.085), kit.body)
        kit.fill(disc(side * 0.24, -0.22, 0.045), kit.accent)
    head = union(ellipse(0.0, 0.0, 0.28, 0.25), ellipse(0.0, 0.14, 0.22, 0.2), blend=0.1)
    kit.draw(head, kit.body)
    _eyes(kit)
    x, y = kit.face.nose
    bridge = polygon(
        (x - 0.035, kit.face.left_eye[1]),
        (x + 0.035, kit.face.left_eye[1]),
        (x + 0.05, y),
        (x - 0.05, y),
    )
    kit.fill(bridge, Paint(mix(kit.body.colour, kit.light.colour, 0.35)), opacity=0.8)
    for side in SIDES:
        kit.fill(ellipse(x + side * 0.065, y + 0.085, 0.085, 0.07), kit.pale)
        for dot in range(3):
            spot = disc(x + side * (0.06 + 0.03 * dot), y + 0.07 + 0.022 * (dot % 2), 0.008)
            kit.fill(spot, kit.dark)
    _mouth(kit, x, y + 0.05, 0.06)
    nose = polygon(
        (x - 0.06, y - 0.025),
        (x + 0.06, y - 0.025),
        (x + 0.02, y + 0.025),
        (x - 0.02, y + 0.025),
        corner=0.014,
    )
    kit.fill(nose, kit.dark)


def panda(kit: Kit) -> None:
    """Round ears and a slanting patch round each eye, in the same second colour."""
    wide, ear = kit.vary(0.37, 0.42), kit.vary(0.115, 0.145)
    for side in SIDES:
        kit.draw(disc(side * 0.29, -0.26, ear), kit.second)
    head = union(ellipse(0.0, 0.04, wide, 0.345), ellipse(0.0, 0.2, 0.33, 0.2), blend=0.1)
    kit.draw(head, kit.body)
    slant = kit.vary(0.08, 0.14)
    for side, eye in zip(SIDES, (kit.face.left_eye, kit.face.right_eye), strict=True):
        patch = ellipse(eye[0] + side * 0.015, eye[1] + 0.02, 0.095, 0.13, side * slant)
        kit.fill(patch, kit.second)
    _eyes(kit)
    x, y = kit.face.nose
    kit.fill(ellipse(x, y + 0.05, 0.12, 0.085), kit.pale, opacity=0.7)
    _mouth(kit, x, y + 0.05, 0.05)
    kit.fill(ellipse(x, y, 0.05, 0.034), kit.dark)


def _eyes(kit: Kit, *, slit: bool = False, grow: float = 1.0) -> None:
    """Draw both eyes in the picture's eye style, gazing the same way."""
    radius = kit.face.eye * grow
    for eye in (kit.face.left_eye, kit.face.right_eye):
        _eye(kit, eye, radius, slit)


def _eye(kit: Kit, eye: Point, radius: float, slit: bool) -> None:
    x, y = eye
    style = kit.face.eye_style
    at = (x + kit.face.gaze[0] * radius * 0.18, y + kit.face.gaze[1] * radius * 0.18)
    white: Shape = disc(x, y, radius)
    if style == "bead":
        kit.fill(disc(x, y, radius * 0.92), kit.white)
        kit.fill(disc(x, y, radius * 0.78), kit.ink)
    else:
        kit.fill(grown(white, 0.012), kit.ink)
        colour = kit.light.colour
        if style == "iris":
            colour = mix(kit.accent.colour, kit.light.colour, 0.35)
        kit.fill(white, Paint(colour))
        pupil = ellipse(*at, radius * (0.3 if slit else 0.58), radius * 0.72)
        kit.fill(pupil if slit else disc(*at, radius * 0.58), kit.ink)
    kit.fill(disc(at[0] - radius * 0.22, at[1] - radius * 0.26, radius * 0.2), kit.white)


def _mouth(kit: Kit, x: float, y: float, width: float) -> None:
    """Draw the two curves under a nose."""
    for side in SIDES:
        smile = arc(x + side * width * 0.5, y, width * 0.5, 0.0085, 0.25, 0.22)
        kit.fill(smile, kit.ink)


def _whiskers(kit: Kit, x: float, y: float) -> None:
    colour = kit.light.colour if luma(kit.body.colour) < 120.0 else kit.dark.colour
    for side in SIDES:
        for rise in (-0.05, 0.0, 0.05):
            hair = limb(
                (x + side * 0.12, y + rise * 0.4), (x + side * 0.34, y + rise * 1.3), 0.007, 0.004
            )
            kit.fill(hair, Paint(colour))
