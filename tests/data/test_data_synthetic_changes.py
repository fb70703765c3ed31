"""One scene with one attribute drawn otherwise: nothing else in it changes."""

import numpy as np
import pytest

from zfnet.data.synthetic import SyntheticSource
from zfnet.data.synthetic.clutter import FEWEST, MOST
from zfnet.data.synthetic.scene import LIGHT, SCALE, TILT, UNCHANGED, Change
from zfnet.data.synthetic.textures import TEXTURES

SCENES = range(12)  # one of each class


@pytest.fixture(scope="module")
def split():
    return SyntheticSource(64, (12, 24), seed=3).splits()["val"]


@pytest.fixture(scope="module")
def own(split):
    return [split[index] for index in SCENES]


def same(a, b):
    return np.array_equal(a.image, b.image) and (a.box, a.parts) == (b.box, b.parts)


@pytest.mark.parametrize("name", ["scale", "light", "texture"])
def test_an_attributes_own_value_gives_the_same_bytes(split, own, name):
    for index, sample in enumerate(own):
        again = split.changed(index, Change(**{name: sample.attributes[name]}))
        assert again.attributes == sample.attributes
        assert same(again, sample)


def test_the_own_rotation_gives_the_same_bytes(split, own):
    for index, sample in enumerate(own):
        turns = sample.attributes["rotation"] / 360  # degrees were rounded once
        near = (np.nextafter(turns, -1), turns, np.nextafter(turns, 1))
        assert any(same(split.changed(index, Change(turns=float(t))), sample) for t in near)


def test_the_own_number_of_shapes_gives_the_same_bytes(split, own):
    for index in (0, 2):
        counts = range(FEWEST, MOST + 1)
        each = [split.changed(index, Change(clutter=count)) for count in counts]
        found = [one for one in each if same(one, own[index])]
        assert own[index].attributes["clutter"] in [one.attributes["clutter"] for one in found]


def test_no_change_is_the_scene(split, own):
    assert all(same(split.changed(index, UNCHANGED), own[index]) for index in SCENES)


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        (Change(scale=0.4), {"scale"}),
        (Change(turns=0.25), {"rotation"}),
        (Change(clutter=40), {"clutter"}),
        (Change(light=0.5), {"light"}),
        (Change(texture="fur"), {"texture"}),
    ],
)
def test_a_change_changes_its_attribute_alone(split, own, change, keys):
    for index, sample in enumerate(own):
        changed = split.changed(index, change)
        told = changed.attributes
        assert {key for key in told if told[key] != sample.attributes[key]} <= keys
        assert not np.array_equal(changed.image, sample.image) or keys == {"texture"}
        if keys <= {"clutter", "light"}:
            assert (changed.box, changed.parts) == (sample.box, sample.parts)


def test_pixels_far_from_the_object_know_nothing_of_its_texture_and_turn(split, own):
    for index, sample in enumerate(own):
        for change in (Change(texture="stripes"), Change(texture="plain")):
            differs = (split.changed(index, change).image != sample.image).any(-1)
            x0, y0, x1, y1 = (int(v) for v in sample.box)
            differs[max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2] = False
            assert not differs.any()


def test_light_and_size_go_the_way_they_say(split, own):
    for index in SCENES:
        levels = [split.changed(index, Change(light=g)).image.mean() for g in (0.4, 0.8, 1.2)]
        assert levels == sorted(levels)
        areas = []
        for scale in (0.3, 0.5, 0.7):
            x0, y0, x1, y1 = split.changed(index, Change(scale=scale)).box
            areas.append((x1 - x0) * (y1 - y0))
        assert areas == sorted(areas)
        assert areas[0] < 0.4 * areas[2]


@pytest.mark.parametrize("size", [32, 64])
def test_any_scale_and_turn_can_be_drawn(size):
    split = SyntheticSource(size, (12, 60), seed=1).splits()["val"]
    for index in range(48):
        for change in (Change(scale=0.3), Change(scale=1.2), Change(turns=0.25), Change(clutter=0)):
            x0, y0, x1, y1 = split.changed(index, change).box
            assert 0 <= x0 < x1 <= size
            assert 0 <= y0 < y1 <= size


def test_what_is_said_to_be_drawn_is_drawn():
    split = SyntheticSource(32, (12, 300), seed=5).splits()["val"]
    facts = [split[index].attributes for index in range(0, 300, 3)]
    for key, low, high in (("scale", *SCALE), ("light", *LIGHT)):
        values = [each[key] for each in facts]
        assert low <= min(values) < low + 0.02
        assert high - 0.02 < max(values) < high
    assert 0.7 * 360 * TILT < max(abs(each["rotation"]) for each in facts) <= 360 * TILT
    assert {each["texture"] for each in facts} == set(TEXTURES)
