"""Objects that the first class set does not know, drawn with the same paints, textures and lines.

They are what transfer is tried on: other things made of like parts. None of them has a face.
"""

from __future__ import annotations

from zfnet.data.synthetic.joins import cut, placed, shell, union, within
from zfnet.data.synthetic.kit import Kit
from zfnet.data.synthetic.shapes import Shape, arc, box, disc, ellipse, limb, polygon, ray
from zfnet.data.synthetic.stream import cos_sin, on_circle

SIDES = (-1.0, 1.0)


def aeroplane(kit: Kit) -> None:
    """A fuselage with a row of windows, two wings, an engine and a tail fin, from the side."""
    thick, fin = kit.vary(0.085, 0.115), kit.vary(0.25, 0.33)
    sweep, nose = kit.vary(0.06, 0.18), kit.vary(0.31, 0.36)
    far = polygon(
        (0.14, -0.04), (-sweep, -0.24), (-0.1 - sweep, -0.24), (-0.06, -0.04), corner=0.012
    )
    kit.draw(far, kit.second)
    tail = polygon((-0.42, -0.02), (-0.48, -fin), (-0.38, -fin), (-0.2, -0.04), corner=0.012)
    kit.draw(tail, kit.second)
    hull = union(
        limb((-0.43, -0.04), (-0.08, 0.0), 0.035, thick),
        limb((-0.08, 0.0), (0.2, 0.0), thick),
        limb((0.2, 0.0), (nose, 0.025), thick, thick * 0.62),
        blend=0.03,
    )
    kit.draw(hull, kit.body)
    if kit.stream.chance(0.6):
        kit.fill(within(box(0.0, 0.05, 0.6, 0.02), hull), kit.accent)
    cockpit = within(
        polygon((nose, -0.06), (nose + 0.09, -0.005), (nose - 0.04, -0.005), corner=0.01), hull
    )
    kit.fill(cockpit, kit.dark)
    windows = 5 + kit.stream.integer(4)
    for i in range(windows):
        at = -0.24 + 0.48 * i / (windows - 1)
        kit.fill(box(at, -0.03, 0.016, 0.02, 0.012), kit.pale)
    engine = limb((-0.02, 0.16), (0.1, 0.15), 0.045, 0.052)
    kit.draw(engine, kit.accent)
    kit.fill(ellipse(0.135, 0.15, 0.016, 0.042), kit.dark)
    near = polygon(
        (0.1, 0.05), (-0.12 - sweep, 0.34), (-0.25 - sweep, 0.34), (-0.15, 0.05), corner=0.014
    )
    kit.draw(near, kit.second)
    kit.draw(
        polygon((-0.31, -0.03), (-0.43, 0.08), (-0.49, 0.08), (-0.42, -0.03), corner=0.01), kit.body
    )


def boat(kit: Kit) -> None:
    """A hull with a stripe, a mast with two sails and a pennant."""
    deck, keel = kit.vary(0.2, 0.25), kit.vary(0.39, 0.44)
    stern, top = kit.vary(0.36, 0.42), kit.vary(0.42, 0.48)
    mast = kit.vary(-0.07, 0.03)
    kit.draw(limb((mast, deck), (mast, -top), 0.016), kit.dark)
    pennant = polygon((mast, -top), (mast - 0.14, -top + 0.035), (mast, -top + 0.075), corner=0.004)
    kit.fill(pennant, kit.accent)
    foot = deck - 0.05
    main = polygon((mast - 0.03, -top + 0.1), (mast - 0.03, foot), (-0.36, foot), corner=0.012)
    kit.draw(main, kit.body)
    for i in range(kit.stream.integer(3)):
        seam = box(-0.2, foot - 0.1 - 0.11 * i, 0.3, 0.008)
        kit.fill(within(seam, main), kit.outline, opacity=0.8)
    jib = polygon(
        (mast + 0.04, -top + 0.16), (mast + 0.04, foot), (kit.vary(0.28, 0.38), foot), corner=0.012
    )
    kit.draw(jib, kit.pale if kit.stream.chance(0.5) else kit.body)
    hull = polygon((-stern, deck), (0.48, deck), (0.32, keel), (-stern + 0.1, keel), corner=0.015)
    kit.draw(hull, kit.second)
    if kit.stream.chance(0.7):
        kit.fill(within(box(0.0, deck + 0.055, 0.6, 0.02), hull), kit.accent)
    for i in range(kit.stream.integer(4)):
        port = (-0.16 + 0.15 * i, deck + 0.125)
        kit.fill(disc(*port, 0.027), kit.dark)
        kit.fill(disc(*port, 0.017), kit.pale)


def chair(kit: Kit) -> None:
    """A back of slats or a panel, a slanting seat, four legs, some with a rung."""
    wide, top = kit.vary(0.21, 0.26), kit.vary(0.42, 0.47)
    seat, shift = kit.vary(0.06, 0.11), kit.vary(0.07, 0.12)
    leg, thick = kit.vary(0.018, 0.028), kit.vary(0.024, 0.034)
    for side in SIDES:
        kit.draw(limb((side * wide + shift, seat), (side * wide + shift, 0.38), leg), kit.second)
    for side in SIDES:
        post = limb((side * wide + shift, seat), (side * wide + shift, -top), thick)
        kit.draw(post, kit.body)
    middle = 0.5 * (seat - top)
    if kit.stream.chance(0.6):
        slats = 2 + kit.stream.integer(3)
        upright = kit.stream.chance(0.5)
        for i in range(slats):
            share = (i + 1.0) / (slats + 1.0)
            if upright:
                at = shift - wide + 2.0 * wide * share
                kit.draw(limb((at, seat), (at, -top + 0.05), 0.018), kit.second)
            else:
                at = -top + 0.06 + (seat + top - 0.1) * (share - 0.15)
                kit.draw(box(shift, at, wide, 0.03, 0.012), kit.second)
    else:
        kit.draw(box(shift, middle - 0.08, wide, 0.17, 0.05), kit.second)
    kit.draw(limb((shift - wide, -top), (shift + wide, -top), thick * 1.25), kit.body)
    front = seat + 0.11
    for side in SIDES:
        at = side * (wide + 0.03) - shift
        kit.draw(limb((at, front), (at - 0.01, 0.47), leg * 1.25), kit.body)
    if kit.stream.chance(0.5):
        rung = limb((-wide - shift, 0.34), (wide - shift, 0.34), 0.014)
        kit.draw(rung, kit.body)
    plate = polygon(
        (-wide + shift, seat - 0.01),
        (wide + shift, seat - 0.01),
        (wide + 0.05 - shift, front),
        (-wide - 0.05 - shift, front),
        corner=0.02,
    )
    kit.draw(plate, kit.accent if kit.stream.chance(0.4) else kit.body)


def fish(kit: Kit) -> None:
    """A body with scales, a forked tail, fins, a gill and one eye."""
    long, high = kit.vary(0.27, 0.32), kit.vary(0.15, 0.22)
    fork, up = kit.vary(0.15, 0.22), kit.vary(0.09, 0.15)
    tail = polygon((-0.22, 0.0), (-0.46, -fork), (-0.38, 0.0), (-0.46, fork), corner=0.018)
    kit.draw(tail, kit.second)
    back = polygon(
        (-0.1, -high * 0.7),
        (-0.08, -high - up),
        (0.08, -high - up * 0.5),
        (0.15, -high * 0.7),
        corner=0.015,
    )
    kit.draw(back, kit.second)
    kit.draw(
        polygon((0.0, high * 0.7), (-0.1, high + up * 0.8), (-0.13, high * 0.6), corner=0.015),
        kit.second,
    )
    body = union(
        ellipse(0.06, 0.0, long, high), limb((-0.1, 0.0), (-0.28, 0.0), 0.1, 0.045), blend=0.06
    )
    kit.draw(body, kit.body)
    gill = 0.06 + long * 0.42
    if kit.stream.chance(0.6):
        for row in range(3):
            for column in range(3):
                x = gill - 0.13 - 0.085 * column
                y = (row - 1 + 0.5 * (column % 2)) * 0.09
                scale = arc(x, y, 0.045, 0.008, 0.5, 0.2)
                kit.fill(within(scale, body), kit.dark, opacity=0.6)
    else:
        for i in range(2 + kit.stream.integer(2)):
            band = box(gill - 0.12 - 0.11 * i, 0.0, 0.024, 0.4)
            kit.fill(within(band, body), kit.accent)
    kit.fill(arc(gill - 0.1, 0.0, 0.12, 0.01, 0.0, 0.15), kit.ink)
    fin = ellipse(gill - 0.09, 0.055, 0.075, 0.035, kit.vary(0.05, 0.12))
    kit.draw(fin, kit.accent)
    eye = (gill + 0.1, -high * 0.28)
    kit.draw(disc(*eye, 0.042), kit.white)
    kit.fill(disc(eye[0] + 0.008, eye[1], 0.023), kit.ink)
    mouth = arc(0.06 + long * 0.93, 0.045, 0.05, 0.009, 0.55, 0.11)
    kit.fill(mouth, kit.ink)


def hat(kit: Kit) -> None:
    """A crown with a band on a wide brim; tall and flat or low and round, some with a feather."""
    brim, level = kit.vary(0.4, 0.47), kit.vary(0.18, 0.24)
    tall = kit.stream.chance(0.5)
    wide = kit.vary(0.2, 0.26)
    high = kit.vary(0.4, 0.52) if tall else kit.vary(0.28, 0.36)
    if kit.stream.chance(0.4):
        root = (wide * 0.7, level - 0.08)
        quill = limb(root, (wide + 0.14, level - 0.36), 0.012, 0.004)
        kit.draw(union(limb(root, (wide + 0.13, level - 0.34), 0.015, 0.05), quill), kit.accent)
        kit.fill(quill, kit.outline)
    kit.draw(ellipse(0.0, level + 0.03, brim, 0.1), kit.body)
    kit.fill(ellipse(0.0, level + 0.015, brim * 0.72, 0.055), kit.dark, opacity=0.35)
    if tall:
        flare = kit.vary(-0.03, 0.05)
        top = level - high
        crown = union(
            polygon(
                (-wide, level),
                (-wide - flare, top),
                (wide + flare, top),
                (wide, level),
                corner=0.01,
            ),
            ellipse(0.0, level, wide + 0.01, 0.05),
        )
        kit.draw(crown, kit.body)
        kit.draw(ellipse(0.0, top, wide + flare, 0.045), kit.second)
    else:
        dome = ellipse(0.0, level, wide + 0.03, high)
        crown = union(
            within(dome, box(0.0, level - 0.5, 0.6, 0.5)), ellipse(0.0, level, wide + 0.03, 0.05)
        )
        kit.draw(crown, kit.body)
    curve = union(box(0.0, level - 0.045, 0.4, 0.035), ellipse(0.0, level - 0.01, wide, 0.05))
    kit.fill(within(curve, crown), kit.accent)
    if kit.stream.chance(0.5):
        kit.draw(box(wide * 0.45, level - 0.03, 0.035, 0.045, 0.01), kit.pale)


def house(kit: Kit) -> None:
    """Walls under a pitched roof, a door, windows with bars, some with a chimney."""
    wide, eaves = kit.vary(0.29, 0.36), kit.vary(-0.1, -0.02)
    ridge, over = kit.vary(0.4, 0.48), kit.vary(0.05, 0.09)
    if kit.stream.chance(0.65):
        at = kit.stream.sign() * wide * 0.55
        kit.draw(box(at, -ridge + 0.14, 0.05, 0.16), kit.second)
        kit.draw(box(at, -ridge - 0.02, 0.065, 0.022), kit.accent)
    kit.draw(box(0.0, 0.5 * (eaves + 0.42), wide, 0.5 * (0.42 - eaves)), kit.body)
    flat = kit.vary(0.0, 0.16)
    roof = polygon(
        (-wide - over, eaves),
        (-flat, -ridge),
        (flat + 0.001, -ridge),
        (wide + over, eaves),
        corner=0.012,
    )
    kit.draw(roof, kit.second)
    if kit.stream.chance(0.35):
        kit.draw(disc(0.0, eaves - 0.13, 0.055), kit.pale)
    door = kit.vary(-0.1, 0.1)
    kit.draw(box(door, 0.31, 0.065, 0.11), kit.accent)
    kit.fill(disc(door + 0.04, 0.31, 0.012), kit.dark)
    half = kit.vary(0.045, 0.06)
    rows = [(-wide * 0.62, 0.27), (wide * 0.62, 0.27)] if abs(door) < 0.06 else []
    rows += [(-wide * 0.55, 0.1), (wide * 0.55, 0.1)]
    for u, v in rows:
        v = max(v, eaves + half + 0.05)
        kit.draw(box(u, v, half, half), kit.pale)
        for bar in (box(u, v, half, 0.007), box(u, v, 0.007, half)):
            kit.fill(bar, kit.ink)


def key(kit: Kit) -> None:
    """A bow with a hole, a shaft with a collar, and a bit of several teeth."""
    turns = kit.stream.sign() * kit.vary(0.06, 0.16)
    radius, rim = kit.vary(0.14, 0.17), kit.vary(0.045, 0.06)
    thick = kit.vary(0.026, 0.036)
    kind = kit.stream.integer(3)

    def put(shape: Shape) -> Shape:
        return placed(shape, 0.0, 0.0, 1.0, turns)

    bow: Shape = disc(-0.29, 0.0, radius)
    if kind == 1:
        bow = box(-0.29, 0.0, radius, radius * 0.85, 0.05)
    elif kind == 2:
        middles = [on_circle(0.5 + (i - 1) * 0.25, 0.09, (-0.27, 0.0)) for i in range(3)]
        petals = [disc(*each, radius * 0.62) for each in middles]
        bow = union(*petals, blend=0.03)
    teeth = 2 + kit.stream.integer(3)
    parts: list[Shape] = [limb((-0.16, 0.0), (0.43, 0.0), thick)]
    for i in range(teeth):
        deep = kit.vary(0.06, 0.13)
        parts.append(box(0.42 - i * 0.065, 0.5 * deep, 0.022, 0.5 * deep + 0.01))
    kit.draw(put(union(*parts)), kit.body)
    hole = disc(
        -0.29 - (0.02 if kind == 2 else 0.0), 0.0, radius - rim - (0.03 if kind == 2 else 0.0)
    )
    kit.draw(put(cut(bow, hole)), kit.body)
    for i in range(1 + kit.stream.integer(3)):
        kit.draw(put(box(-0.1 + i * 0.055, 0.0, 0.017, thick + 0.022, 0.01)), kit.second)


def lamp(kit: Kit) -> None:
    """A shade on a turned stem with a foot, a cord or a chain hanging down."""
    wide, narrow = kit.vary(0.27, 0.34), kit.vary(0.11, 0.19)
    top, hem = kit.vary(0.42, 0.47), kit.vary(-0.06, 0.02)
    stem = kit.vary(0.02, 0.032)
    kit.draw(limb((0.0, hem - 0.1), (0.0, 0.42), stem), kit.second)
    for i in range(kit.stream.integer(3)):
        kit.draw(ellipse(0.0, hem + 0.13 + i * 0.11, 0.06 + 0.02 * i, 0.05), kit.second)
    foot = kit.vary(0.16, 0.22)
    plate = within(ellipse(0.0, 0.46, foot, 0.12), box(0.0, 0.26, 0.6, 0.2))
    kit.draw(plate, kit.accent)
    kit.fill(disc(0.0, hem, 0.055), kit.pale)
    if kit.stream.chance(0.6):
        at = wide * 0.5
        end = hem + kit.vary(0.12, 0.2)
        kit.fill(limb((at, hem), (at, end), 0.007), kit.ink)
        kit.fill(disc(at, end, 0.024), kit.accent)
    shade = polygon((-wide, hem), (-narrow, -top), (narrow, -top), (wide, hem), corner=0.012)
    kit.draw(shade, kit.body)
    for v, half in ((hem - 0.01, wide), (-top + 0.01, narrow + 0.01)):
        kit.fill(within(box(0.0, v, half + 0.02, 0.02), shade), kit.second)
    if kit.stream.chance(0.5):
        for i in range(-1, 2):
            fold = limb((i * narrow * 0.6, -top), (i * wide * 0.6, hem), 0.006)
            kit.fill(within(fold, shade), kit.outline, opacity=0.7)


def mug(kit: Kit) -> None:
    """A straight cup with a ring for a handle, an open rim, some with a band, some steaming."""
    wide, high = kit.vary(0.21, 0.26), kit.vary(0.25, 0.31)
    middle, side = 0.1, -0.09
    taper = kit.vary(-0.01, 0.05)
    ear = shell(ellipse(side + wide + 0.02, middle, 0.14, high * 0.6), kit.vary(0.03, 0.042))
    kit.draw(ear, kit.body)
    cup = union(
        polygon(
            (side - wide, middle - high),
            (side + wide, middle - high),
            (side + wide - taper, middle + high),
            (side - wide + taper, middle + high),
            corner=0.01,
        ),
        ellipse(side, middle + high, wide - taper, 0.05),
    )
    kit.draw(cup, kit.body)
    pattern = kit.stream.integer(3)
    if pattern == 0:
        kit.fill(within(box(side, middle, 0.4, kit.vary(0.04, 0.09)), cup), kit.accent)
    elif pattern == 1:
        kit.draw(disc(side, middle + 0.03, kit.vary(0.08, 0.12)), kit.second)
    else:
        for i in range(-1, 2):
            kit.fill(within(box(side + i * 0.13, middle, 0.03, 0.5), cup), kit.second)
    kit.draw(ellipse(side, middle - high, wide + 0.005, 0.065), kit.body)
    kit.fill(ellipse(side, middle - high, wide - 0.025, 0.046), kit.dark)
    if kit.stream.chance(0.5):
        for end in SIDES:
            at = side + end * 0.07
            kit.fill(arc(at, -0.31, 0.045, 0.011, 0.5, 0.2), kit.light, opacity=0.8)
            kit.fill(arc(at - 0.01, -0.39, 0.045, 0.011, 0.0, 0.2), kit.light, opacity=0.8)


def mushroom(kit: Kit) -> None:
    """A domed cap with spots over gills, a stem with a collar."""
    wide, high = kit.vary(0.36, 0.44), kit.vary(0.3, 0.42)
    hem = kit.vary(-0.02, 0.06)
    stem, foot = kit.vary(0.075, 0.105), kit.vary(0.1, 0.15)
    bend = kit.vary(-0.04, 0.04)
    kit.draw(limb((0.0, hem), (bend, 0.37), stem, foot), kit.pale)
    if kit.stream.chance(0.6):
        kit.draw(ellipse(bend * 0.4, hem + 0.15, stem + 0.05, 0.04), kit.accent)
    kit.draw(ellipse(0.0, hem, wide - 0.02, 0.06), kit.second)
    for i in range(-3, 4):
        gill = limb((i * 0.03, hem), (i * wide * 0.28, hem + 0.04), 0.005)
        kit.fill(gill, kit.ink, opacity=0.7)
    cap = within(ellipse(0.0, hem, wide, high + 0.02), box(0.0, hem - 0.49, 0.6, 0.5, 0.02))
    kit.draw(cap, kit.body)
    for _ in range(3 + kit.stream.integer(5)):
        u = (kit.stream.unit() - 0.5) * 1.7 * wide
        v = hem - kit.vary(0.05, 0.95) * high
        kit.fill(within(disc(u, v, kit.vary(0.025, 0.06)), cap), kit.pale)


def snail(kit: Kit) -> None:
    """A coiled shell on a flat foot, a raised head with two feelers."""
    radius, at = kit.vary(0.24, 0.29), kit.vary(-0.1, -0.04)
    level, neck = 0.33, kit.vary(0.28, 0.35)
    head = (neck, kit.vary(-0.02, 0.08))
    for lean in (0.02, 0.12):
        tip = (head[0] + lean, head[1] - kit.vary(0.15, 0.21))
        kit.draw(limb(head, tip, 0.018, 0.012), kit.second)
        kit.fill(disc(*tip, 0.027), kit.ink)
    body = union(
        limb((-0.44, level + 0.05), (0.2, level), 0.025, 0.085),
        limb((0.2, level), head, 0.085, 0.075),
        blend=0.06,
    )
    kit.draw(body, kit.second)
    kit.fill(arc(head[0] + 0.02, head[1] + 0.015, 0.045, 0.008, 0.15, 0.12), kit.ink)
    middle = level - radius * 0.86
    whorls = ((0.0, 0.0, 1.0), (0.05, 0.03, 0.68), (0.02, 0.05, 0.4), (0.03, 0.03, 0.18))
    paints = (kit.body, kit.accent, kit.body, kit.accent)
    for (u, v, share), paint in zip(whorls, paints, strict=True):
        kit.draw(disc(at + u * radius * 2.0, middle + v * radius * 2.0, radius * share), paint)
    if kit.stream.chance(0.5):
        for i in range(5):
            rib = ray((at, middle), 0.45 + i * 0.11, radius * 0.8, radius * 0.97, 0.008)
            kit.fill(rib, kit.outline, opacity=0.8)


def tree(kit: Kit) -> None:
    """A trunk under a round crown with fruit, or under the tiers of a fir."""
    trunk = kit.vary(0.045, 0.07)
    if kit.stream.chance(0.4):
        kit.draw(box(0.0, 0.37, trunk, 0.11), kit.second)
        tiers = 3 + kit.stream.integer(2)
        wide = kit.vary(0.3, 0.37)
        for i in range(tiers):
            share = 1.0 - i / (tiers + 0.6)
            low = 0.3 - i * 0.56 / tiers
            tip = max(low - 0.42 * (0.55 + 0.45 * share), -0.49)
            tier = polygon((-wide * share, low), (0.0, tip), (wide * share, low), corner=0.015)
            kit.draw(tier, kit.body)
        return
    root = limb((0.0, -0.05), (0.0, 0.44), trunk * 0.8, trunk * 1.25)
    branches = [limb((0.0, 0.16), (s * 0.15, 0.0), trunk * 0.5, trunk * 0.35) for s in SIDES]
    kit.draw(union(root, *branches, blend=0.03), kit.second)
    count = 6 + kit.stream.integer(4)
    reach, puff = kit.vary(0.19, 0.23), kit.vary(0.12, 0.15)
    start = kit.stream.unit()
    puffs = []
    for i in range(count):
        cosine, sine = cos_sin(start + i / count)
        puffs.append(disc(reach * 1.15 * cosine, -0.15 + reach * sine, puff))
    crown = union(disc(0.0, -0.15, reach), *puffs)
    kit.draw(crown, kit.body)
    if kit.stream.chance(0.6):
        for _ in range(4 + kit.stream.integer(4)):
            fruit = on_circle(kit.stream.unit(), kit.vary(0.03, 0.25), (0.0, -0.15))
            kit.draw(disc(*fruit, 0.03), kit.accent)
    else:
        for i in range(5):
            at = (kit.vary(-0.2, 0.2), -0.15 + kit.vary(-0.2, 0.16))
            leaf = arc(*at, 0.05, 0.009, 0.25 if i % 2 else 0.75, 0.18)
            kit.fill(leaf, kit.dark, opacity=0.6)
