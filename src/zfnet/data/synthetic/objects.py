"""Everyday objects, drawn with the same paints, textures and lines as the faces."""

from __future__ import annotations

from zfnet.data.synthetic.joins import cut, placed, shell, union, within
from zfnet.data.synthetic.kit import Kit
from zfnet.data.synthetic.shapes import Shape, arc, box, disc, ellipse, limb, polygon, ray


def bicycle(kit: Kit) -> None:
    """Two spoked wheels, a frame, saddle and handlebar."""
    radius, base = kit.vary(0.19, 0.22), kit.vary(0.25, 0.28)
    tyre, tube = kit.vary(0.02, 0.03), kit.vary(0.02, 0.028)
    level = 0.2
    spin = kit.stream.unit()
    for side in (-1.0, 1.0):
        wheel = disc(side * base, level, radius)
        kit.fill(wheel, kit.pale, opacity=0.55)
        for i in range(5):
            spoke = ray((side * base, level), spin + i * 0.1, -radius, radius, 0.005)
            kit.fill(spoke, kit.ink)
        kit.draw(shell(wheel, tyre), kit.second)
        kit.fill(disc(side * base, level, 0.035), kit.accent)
    crank, seat = (-0.02, level + 0.01), (-0.13, -0.1 + kit.vary(-0.03, 0.03))
    head = (base - 0.1, -0.12)
    rear, front = (-base, level), (base, level)
    for a, b in ((rear, crank), (rear, seat), (seat, crank), (crank, head), (seat, head)):
        kit.draw(limb(a, b, tube), kit.body)
    kit.draw(limb((head[0] - 0.03, head[1] - 0.13), front, tube), kit.body)
    bar = union(
        limb((head[0] - 0.03, head[1] - 0.14), (head[0] + 0.09, head[1] - 0.17), 0.02),
        limb((head[0] - 0.03, head[1] - 0.14), (head[0] - 0.09, head[1] - 0.11), 0.02),
    )
    kit.fill(bar, kit.dark)
    kit.fill(limb(seat, (seat[0] - 0.02, seat[1] - 0.1), 0.016), kit.dark)
    saddle = limb((seat[0] - 0.1, seat[1] - 0.11), (seat[0] + 0.07, seat[1] - 0.1), 0.04, 0.022)
    kit.draw(saddle, kit.accent)
    kit.draw(disc(*crank, 0.05), kit.accent)


def car(kit: Kit) -> None:
    """A body with a cabin, windows, two wheels and lamps, seen from the side."""
    roof, front = kit.vary(0.2, 0.28), kit.vary(0.12, 0.2)
    wheel, base = kit.vary(0.095, 0.12), kit.vary(0.25, 0.29)
    back = kit.vary(0.28, 0.38)
    cabin = polygon(
        (-back, 0.0), (-back + 0.1, -roof), (front - 0.02, -roof), (front + 0.14, 0.0), corner=0.03
    )
    lower = box(0.0, 0.07, 0.48, 0.115, 0.07)
    kit.draw(union(cabin, lower, blend=0.05), kit.body)
    glass = polygon(
        (-back + 0.05, -0.01),
        (-back + 0.12, -roof + 0.03),
        (front - 0.04, -roof + 0.03),
        (front + 0.08, -0.01),
    )
    kit.draw(glass, kit.pale)
    post = -0.08 + kit.vary(-0.04, 0.04)
    kit.fill(within(box(post, -0.1, 0.02, 0.3), glass), kit.body)
    if kit.stream.chance(0.6):
        kit.fill(box(0.0, 0.09, 0.475, 0.025), kit.second)
    kit.fill(limb((post, 0.03), (post, 0.15), 0.005), kit.ink)
    kit.fill(limb((post + 0.04, 0.045), (post + 0.09, 0.045), 0.011), kit.dark)
    kit.draw(ellipse(0.45, 0.045, 0.03, 0.04), kit.accent)
    kit.fill(ellipse(-0.46, 0.045, 0.02, 0.035), kit.accent)
    kit.draw(limb((0.38, 0.16), (0.48, 0.16), 0.02), kit.pale)
    for side in (-1.0, 1.0):
        kit.fill(disc(side * base, 0.18, wheel + 0.02), kit.outline)
        kit.fill(disc(side * base, 0.18, wheel), kit.dark)
        kit.draw(disc(side * base, 0.18, wheel * 0.58), kit.second)
        kit.fill(disc(side * base, 0.18, wheel * 0.2), kit.pale)


def clock(kit: Kit) -> None:
    """A dial with ticks and two hands in a case, some with alarm bells and feet."""
    radius = kit.vary(0.36, 0.43)
    square = kit.stream.chance(0.3)
    bells = not square and kit.stream.chance(0.5)
    middle = 0.04 if bells else 0.0
    if bells:
        radius = min(radius, 0.37)
        for side in (-1.0, 1.0):
            kit.draw(limb((side * 0.2, 0.3), (side * 0.3, 0.46), 0.035), kit.dark)
            kit.draw(placed(_bell(), side * 0.24, -0.3, 1.0, side * 0.1), kit.second)
    case = box(0.0, middle, radius, radius, 0.08) if square else disc(0.0, middle, radius)
    kit.draw(case, kit.body)
    dial = disc(0.0, middle, radius * 0.8)
    kit.draw(dial, kit.pale)
    for i in range(12):
        inner, width = (0.6, 0.015) if i % 3 == 0 else (0.68, 0.009)
        kit.fill(ray((0.0, middle), i / 12.0, radius * inner, radius * 0.73, width), kit.ink)
    time = kit.stream.unit()
    for turns, length, width in ((time, 0.38, 0.022), (time * 12.0, 0.6, 0.016)):
        kit.fill(ray((0.0, middle), turns, 0.0, radius * length, width), kit.ink)
    kit.fill(disc(0.0, middle, 0.035), kit.accent)


def teapot(kit: Kit) -> None:
    """A round body with spout, handle and lid."""
    wide, high = kit.vary(0.26, 0.31), kit.vary(0.22, 0.27)
    middle = 0.11
    handle = shell(ellipse(-wide - 0.02, middle - 0.02, 0.14, kit.vary(0.13, 0.17)), 0.028)
    kit.draw(handle, kit.second)
    lip = kit.vary(-0.16, -0.08)
    spout = union(
        limb((wide - 0.08, middle + 0.1), (wide + 0.08, middle + 0.02), 0.085, 0.055),
        limb((wide + 0.08, middle + 0.02), (0.45, lip), 0.055, 0.032),
        blend=0.05,
    )
    kit.draw(spout, kit.body)
    kit.draw(box(0.0, middle + high, wide * 0.55, 0.03, 0.02), kit.second)
    pot = ellipse(0.0, middle, wide, high)
    kit.draw(pot, kit.body)
    if kit.stream.chance(0.6):
        band = within(box(0.0, middle + 0.03, 0.4, kit.vary(0.03, 0.055)), pot)
        kit.fill(band, kit.accent)
    top = middle - high
    lid = within(ellipse(0.0, top + 0.06, wide * 0.66, 0.12), box(0.0, top - 0.45, 0.5, 0.5))
    kit.draw(lid, kit.second)
    kit.fill(limb((-wide * 0.68, top + 0.05), (wide * 0.68, top + 0.05), 0.018), kit.accent)
    kit.draw(disc(0.0, top - 0.085, kit.vary(0.035, 0.05)), kit.accent)


def umbrella(kit: Kit) -> None:
    """An open canopy of panels with a scalloped hem, a stick and a hooked handle."""
    wide, hem = kit.vary(0.42, 0.48), kit.vary(0.0, 0.06)
    crown = kit.vary(0.38, 0.46)
    hook = kit.stream.sign()
    kit.draw(limb((0.0, hem - 0.1), (0.0, 0.38), 0.018), kit.dark)
    kit.draw(arc(hook * 0.07, 0.38, 0.07, 0.024, 0.25, 0.25), kit.accent)
    kit.fill(limb((0.0, hem - crown - 0.05), (0.0, hem - crown + 0.05), 0.015), kit.dark)
    panels = 3 + kit.stream.integer(3)
    step = 2.0 * wide / panels
    scallops = [
        ellipse(-wide + (i + 0.5) * step, hem + 0.005, step * 0.5, step * 0.28)
        for i in range(panels)
    ]
    dome = within(ellipse(0.0, hem, wide, crown), box(0.0, hem - 0.5, 0.6, 0.5))
    canopy = cut(dome, *scallops)
    kit.draw(canopy, kit.body)
    for i in range(panels):
        left, right = -wide + i * step, -wide + (i + 1) * step
        if i % 2 == 1:
            panel = _meridians(left, right, hem, crown)
            kit.fill(within(canopy, panel), kit.second)
        if i > 0:
            rib = _meridians(left - 0.007, left + 0.007, hem, crown)
            kit.fill(within(canopy, rib), kit.outline, opacity=0.8)


def _meridians(left: float, right: float, hem: float, crown: float) -> Shape:
    """The part of a canopy between the seams that meet its hem at left and right."""
    if left < 0.0 < right:
        return union(_meridians(left, -1e-6, hem, crown), _meridians(1e-6, right, hem, crown))
    far, near = max(abs(left), abs(right)), min(abs(left), abs(right))
    side = box(-0.5 if right <= 0.0 else 0.5, hem, 0.501, 1.0)
    outer = ellipse(0.0, hem, far, crown * 1.02)
    if near < 1e-3:
        return within(outer, side)
    return cut(within(outer, side), ellipse(0.0, hem, near, crown * 1.02))


def _bell() -> Shape:
    """The dome of an alarm bell."""
    return within(ellipse(0.0, 0.06, 0.13, 0.15), box(0.0, -0.1, 0.2, 0.16))


def guitar(kit: Kit) -> None:
    """A waisted body with a sound hole, a long neck, strings and pegs."""
    lean = kit.vary(0.06, 0.15)
    low, up = kit.vary(0.19, 0.215), kit.vary(0.14, 0.165)
    neck_end = -0.62

    def put(shape: Shape) -> Shape:
        return placed(shape, -0.07, 0.1, 0.9, lean)

    neck = box(0.0, -0.25, 0.035, 0.36, 0.01)
    kit.draw(put(neck), kit.second)
    for i in range(6):
        fret = box(0.0, -0.52 + i * 0.07, 0.033, 0.005)
        kit.fill(put(fret), kit.pale)
    for side in (-1.0, 1.0):
        for i in range(3):
            kit.fill(put(disc(side * 0.07, neck_end + 0.04 + i * 0.05, 0.022)), kit.accent)
    kit.draw(put(box(0.0, neck_end + 0.08, 0.055, 0.085, 0.02)), kit.second)
    body = union(disc(0.0, 0.22, low), ellipse(0.0, 0.0, up, 0.14), blend=0.12)
    kit.draw(put(body), kit.body)
    hole = kit.vary(0.065, 0.08)
    kit.fill(put(disc(0.0, 0.06, hole + 0.022)), kit.accent)
    kit.fill(put(disc(0.0, 0.06, hole)), kit.dark)
    kit.draw(put(box(0.0, 0.27, 0.09, 0.022, 0.01)), kit.dark)
    for x in (-0.02, 0.0, 0.02):
        kit.fill(put(limb((x, neck_end + 0.12), (x, 0.27), 0.004)), kit.white)
