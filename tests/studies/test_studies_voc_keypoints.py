"""Berkeley's VOC keypoints: made annotations and photographs, read, cut and carried."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from zfnet.errors import UserError
from zfnet.pipeline.survey import Alignment
from zfnet.studies.alignment import readout, study
from zfnet.studies.alignment_pairs import FacePairs, couple
from zfnet.studies.base import Inputs
from zfnet.studies.faces import find_photos
from zfnet.studies.voc_keypoints import faces_of_objects, read_objects

PX = 64
XML = """<?xml version="1.0" encoding="utf-8"?>
<annotation><image>{image}</image><voc_id>1</voc_id><category>cat</category>
<visible_bounds height="{h}" width="{w}" xmin="{x}" ymin="{y}"/>
<keypoints>{points}</keypoints></annotation>"""
POINT = '<keypoint name="{}" visible="{}" x="{}" y="{}" z="0.00"/>'


def annotate(root, category, image, bounds, points, number=1):
    """Write a photograph with a dot of 5 px at each keypoint, and its annotation."""
    photos = root / "VOC2011" / "JPEGImages"
    photos.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(image)).integers(0, 80, (150, 200, 3), dtype=np.uint8)
    for _, _, x, y in points:
        pixels[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 255
    Image.fromarray(pixels).save(photos / f"{image}.jpg", quality=98)
    folder = root / "keypoints" / category
    folder.mkdir(parents=True, exist_ok=True)
    x, y, w, h = bounds
    told = "".join(POINT.format(*point) for point in points)
    text = XML.format(image=image, x=x, y=y, w=w, h=h, points=told)
    (folder / f"{image}_{number}.xml").write_text(text, encoding="utf-8")
    return root / "keypoints"


@pytest.fixture
def folder(tmp_path):
    eyes = [("L_Eye", 1, 70, 40), ("R_Eye", 1, 100, 40), ("Nose", 0, 85, 60)]
    annotate(tmp_path, "cat", "2008_000001", (50, 20, 80, 60), eyes)
    annotate(tmp_path, "cat", "2008_000002", (60, 30, 80, 60), eyes)
    wheels = [("L_FrontWheel", 1, 60, 90), ("R_BackWheel", 1, 120, 90), ("Roof", 1, 90, 30)]
    annotate(tmp_path, "car", "2008_000003", (40, 20, 100, 80), wheels)
    annotate(tmp_path, "car", "2008_000004", (10, 10, 30, 30), wheels)  # too small
    return annotate(tmp_path, "car", "2008_000005", (30, 20, 120, 90), wheels[1:])


@pytest.fixture
def inputs(probe):
    return SimpleNamespace(net=SimpleNamespace(input_px=PX))


def test_objects_are_read_with_what_is_in_sight(folder):
    found = {each.name: each for each in read_objects(folder)}
    assert sorted(found) == [
        "car/2008_000003_1", "car/2008_000005_1", "cat/2008_000001_1", "cat/2008_000002_1"
    ]  # fmt: skip
    cat = found["cat/2008_000001_1"]
    assert cat.box == (20, 50, 80, 130)
    assert cat.parts == {"L_Eye": (40, 70), "R_Eye": (40, 100)}  # the nose is hidden


def test_the_cut_puts_every_keypoint_where_its_dot_is(folder, inputs):
    faces, names = faces_of_objects(read_objects(folder), inputs)
    assert names == ["L_Eye", "L_FrontWheel", "R_BackWheel", "R_Eye", "Roof"]
    cat = faces.ids.index("cat/2008_000001_1")
    assert np.isnan(faces.parts[cat, 1]).all()
    # a square of ceil(1.2 * 80) px about (50, 90): from (2, 42)
    assert faces.parts[cat, 0] == pytest.approx(((40 - 2) * PX / 96, (70 - 42) * PX / 96))
    assert faces.boxes[cat] == pytest.approx(np.array([18, 8, 78, 88]) * PX / 96)
    for i, place in zip(*np.nonzero(~np.isnan(faces.parts[..., 0])), strict=True):
        y, x = faces.parts[i, place].astype(int)
        assert faces.pixels[i, :, y, x].min() > 150


def test_pairs_are_of_one_class_and_share_a_keypoint(folder, inputs):
    faces, _ = faces_of_objects(read_objects(folder), inputs)
    couples = couple(faces, PX, 0)
    assert {tuple(sorted(faces.groups[i] for i in pair)) for pair in couples} == {
        ("cat", "cat"), ("car", "car")
    }  # fmt: skip
    pairs = FacePairs.of(faces, couples, PX, 0)
    exact = torch.stack([pairs.parts[1], pairs.parts[0]])
    assert pairs.hits(exact).tolist() == [[1, 1, 1]] * 2  # of those that both have
    either, other = pairs.at_mirrored(exact, range(5))
    assert (either.tolist(), other.tolist()) == ([1, 1], [0, 0])
    # one with nothing in common is no pair
    lone = faces.parts.copy()
    lone[faces.ids.index("car/2008_000005_1")] = np.nan
    lone[faces.ids.index("car/2008_000005_1"), 0] = 20.0
    assert len(couple(replace(faces, parts=lone), PX, 0)) == 1


def test_unknown_keypoints_are_not_read_out():
    values = torch.eye(3).expand(2, 20, 3, 3).clone()
    known = np.ones((2, 20, 3), bool)
    known[:, :10, 2] = False
    values[:, :10, 2] = torch.tensor([1.0, 0, 0])  # what stands there would be wrong
    shares = readout(values, ["cat"] * 10 + ["car"] * 10, known)
    assert shares.tolist() == [1.0] * 40


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("<annotation>", "no keypoint annotation"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "document type"),
        (XML.format(image="../../etc/x", h=90, w=90, x=1, y=1, points=""), "no keypoint"),
        (XML.format(image="missing", h=90, w=90, x=1, y=1,
                    points=POINT.format("a", 1, 2, 3) + POINT.format("b", 1, 2, 3)), "missing.jpg"),
        (XML.format(image="a", h="nan", w=90, x=1, y=1, points=""), "no keypoint annotation"),
        (XML.format(image="a", h="tall", w=90, x=1, y=1, points=""), "no keypoint annotation"),
    ],
)  # fmt: skip
def test_what_is_no_annotation_is_named(folder, text, named):
    (folder / "cat" / "bad_1.xml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=named):
        read_objects(folder)


def test_folders_that_lack_something_say_what(tmp_path, folder):
    with pytest.raises(UserError, match="in it"):
        read_objects(tmp_path)
    for photo in (tmp_path / "VOC2011" / "JPEGImages").iterdir():
        photo.unlink()
    (tmp_path / "VOC2011" / "JPEGImages").rmdir()
    with pytest.raises(UserError, match="JPEGImages"):
        read_objects(folder)
    assert find_photos(tmp_path, "keypoints", "study.alignment.photos", folders=True) == folder
    with pytest.raises(UserError, match=r"study\.correspondence\.photos"):
        find_photos(tmp_path, "keypoints")


def test_the_study_measures_objects_with_different_keypoints(set_of, probe, folder):
    prepared = set_of(np.zeros((3, PX, PX, 3), np.uint8), [0, 1, 2])
    prepared.split("val").size = PX
    inputs = Inputs(prepared, "val", probe)
    faces, names = faces_of_objects(read_objects(folder), SimpleNamespace(net=probe))
    found = study(Alignment(layers=(1,)), inputs, faces, names, source={"photos": "keypoints/"})
    assert found.estimates["pairs"].value == 2
    assert 0 <= found.estimates["patches_pck"].value <= 1
    assert found.estimates["keypoint_chance"].value == pytest.approx(1 / 5)
    assert found.facts["held_out"] == "images"
