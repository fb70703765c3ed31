"""Keypoints carried between made faces, by nets that know their colours and by nets that do not."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.svm import LinearSVC
from torch import nn

from zfnet.errors import UserError
from zfnet.figures import alignment as telling
from zfnet.pipeline.studies import quantity_of
from zfnet.pipeline.survey import Alignment
from zfnet.report.study import page
from zfnet.results import Results, save
from zfnet.studies import alignment
from zfnet.studies.alignment import readout, step_of, study
from zfnet.studies.alignment_pairs import (
    FacePairs,
    boxes_of_parts,
    couple,
    cut_of,
    enlarged,
    mirrored,
)
from zfnet.studies.base import Inputs
from zfnet.studies.faces import Faces
from zfnet.studies.trainings import joined

PX = 32
CFG = Alignment(layers=(3, 4))
PARTS = ("left_eye", "right_eye", "nose")


class Colours(nn.Module):
    """Maps of red, green and blue over 5 x 5 px and a level; or of random contrasts (`blank`)."""

    def __init__(self, blank=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, padding=2)
        self.relu = nn.ReLU()
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.copy_(torch.tensor([-0.3, -0.3, -0.3, 0.5]))
            for colour in range(3):
                self.conv.weight[colour] = -1 / 25 / 255
                self.conv.weight[colour, colour] = 1 / 25 / 255
            if blank:
                drawn = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
                self.conv.weight.copy_(drawn - drawn.mean((2, 3), keepdim=True))

    def forward(self, x):
        return self.relu(self.conv(x)).mean((2, 3))


def made_faces(count=24, classes=("cat", "dog"), seed=0):
    """Noise with a red, a green and a blue square of 5 px on it; boxes of 24 px."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 90, (count, PX, PX, 3)).astype(np.uint8)
    parts = np.zeros((count, 3, 2))
    for i in range(count):
        corner = rng.integers(3, 10, 2)
        for k, by in enumerate(((0, 0), (0, 10), (9, 5))):
            y, x = corner + by + rng.integers(0, 3, 2)
            pixels[i, y : y + 5, x : x + 5] = 0
            pixels[i, y : y + 5, x : x + 5, k] = 255
            parts[i, k] = y + 2.5, x + 2.5
    return Faces(
        ids=[f"{i}.png" for i in range(count)],
        groups=[classes[i % len(classes)] for i in range(count)],
        pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2),
        parts=parts,
        boxes=np.concatenate([parts.mean(1) - 12, parts.mean(1) + 12], 1),
        trained=[False] * count,
    )


@pytest.fixture
def inputs(set_of, probe, monkeypatch):
    net = replace(
        probe,
        model=Colours().eval(),
        input_px=PX,
        normalise=type(probe.normalise).mean_image(np.zeros((3, PX, PX), np.float32), PX),
        taps={"4.relu": "relu"},
        rebuild={"kind": "made"},
    )
    blank = replace(net, model=Colours(blank=True).eval())
    monkeypatch.setattr(alignment, "untrained", lambda net, seed: blank)
    monkeypatch.setattr(alignment, "STEP", 2.5 / PX)  # every other place of patches and SIFT
    prepared = set_of(np.zeros((3, PX, PX, 3), np.uint8), [0, 1, 2])
    prepared.split("val").size = PX
    return Inputs(prepared, "val", net)


# --------------------------------------------------------------------------------- what is decided
def test_a_net_that_knows_the_parts_finds_them_and_controls_do_not(inputs):
    found = study(CFG, inputs, made_faces(), PARTS)
    numbers = found.estimates
    assert numbers["pairs"].value == 12
    assert numbers["conv_pck"].value > 0.95
    assert numbers["layer4_pck_untrained"].value < 0.3
    for control in ("copied", "untrained"):
        assert numbers[f"conv_minus_{control}"].low > 0.4
        assert numbers[f"conv_minus_{control}"].n == 12
    assert numbers["layer4_keypoint"].value == 1
    assert numbers["layer4_keypoint"].n == 24
    assert numbers["keypoint_chance"].value == pytest.approx(1 / 3)
    assert found.facts["held_out"] == "classes"
    assert found.facts["layer"] == 4
    assert list(found.facts["refused"]) == ["3"]
    assert all(quantity_of("alignment", key) for key in numbers)


def test_an_untrained_net_shows_no_alignment(inputs):
    inputs.net = replace(inputs.net, model=Colours(blank=True).eval())
    numbers = study(CFG, inputs, made_faces(), PARTS).estimates
    assert numbers["conv_minus_untrained"].value == 0
    assert not numbers["conv_minus_patches"].low > 0


def test_pixels_of_the_same_marks_are_found_by_patches_and_sift(inputs):
    """One picture in all places: patches and SIFT find it where it was put."""
    faces = made_faces(4)
    same = replace(faces, pixels=faces.pixels[:1].repeat(4, 1, 1, 1))
    same.parts[:], same.boxes[:] = faces.parts[0], faces.boxes[0]
    pairs = FacePairs.of(same, np.array([[0, 2]]), PX, 0)
    pairs = replace(pairs, pixels=(pairs.pixels[0], pairs.pixels[0]))
    pairs = replace(pairs, parts=(pairs.parts[0],) * 2, boxes=(pairs.boxes[0],) * 2)
    for reader in alignment.pixel_readers(0.25, PX, 1).values():
        there = alignment.carry(reader, pairs).places
        assert there.numpy() == pytest.approx(np.stack([pairs.parts[0]] * 2))


def test_the_layer_is_the_nearest_that_has_columns(inputs):
    inputs.net.taps = {"1.relu": "conv", "2.relu": "relu"}
    found = study(Alignment(), inputs, made_faces(12), PARTS)
    assert found.facts["layers"] == [1, 2]
    assert found.estimates["layer"].value == 2
    assert found.estimates["conv_pck"] == found.estimates["layer2_pck"]


def test_a_net_without_columns_leaves_the_controls(inputs, place):
    inputs.net.taps = {}
    found = study(CFG, inputs, made_faces(12), PARTS)
    assert "conv_pck" not in found.estimates
    assert "patches_pck" in found.estimates
    told(found, place)


def test_a_net_that_cannot_be_built_anew_has_no_untrained_control(inputs, place):
    inputs.net = replace(inputs.net, rebuild={})
    found = study(CFG, inputs, made_faces(12), PARTS)
    assert "conv_minus_untrained" not in found.estimates
    assert "conv_minus_patches" in found.estimates
    told(found, place)


def test_without_boxes_the_keypoints_make_one_and_it_is_not_copied(inputs, place):
    faces = made_faces(12)
    faces.boxes[:] = np.nan
    found = study(CFG, inputs, faces, PARTS)
    assert not found.facts["boxed"]
    assert found.estimates["conv_pck"].value > 0.9
    assert "copied_box_pck" not in found.estimates
    told(found, place)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_faces_are_told_not_stumbled_over(inputs, place, count):
    found = study(CFG, inputs, made_faces(count, ("cat",)), PARTS)
    assert found.estimates["pairs"].value == count // 2
    assert ("conv_pck" in found.estimates) == (count == 2)
    told(found, place)


def test_without_known_parts_nothing_is_measured(inputs, place, monkeypatch):
    inputs.split.parts = {}
    monkeypatch.setattr(Inputs, "of_stage", classmethod(lambda *_, **__: inputs))
    found = alignment.run(CFG, SimpleNamespace(share=(0, 1)))
    assert list(found.estimates) == ["pairs"]
    told(found, place)


# ---------------------------------------------------------------------------------------- dealing
def test_pairs_are_dealt_or_all_trainings_have_the_same(inputs):
    def listed(faces, share):
        found = study(CFG, inputs, faces, PARTS, share)
        rows = found.tables["pairs"].records()
        return found.facts["dealt"], [row[key] for row in rows for key in ("first", "second")]

    each = [listed(made_faces(24), (i, 2)) for i in range(2)]
    assert [dealt for dealt, _ in each] == [True, True]
    assert sorted(each[0][1] + each[1][1]) == sorted(made_faces(24).ids)
    each = [listed(made_faces(20), (i, 2)) for i in range(2)]
    assert each[0] == each[1]
    assert not each[0][0]


def test_further_trainings_are_joined_and_bring_no_pictures(inputs, place):
    each = [study(CFG, inputs, made_faces(36), PARTS, (i, 3)) for i in range(3)]
    assert not each[1].arrays
    whole = joined(each, [0, 1, 2], "dealt")
    assert whole.estimates["conv_pck"].trainings == 3
    told(whole, place)


def test_pairs_are_disjoint_of_one_class_and_wholly_seen():
    faces = made_faces(21, ("cat", "dog", "owl"))
    faces.parts[4, 1] = 3.0, PX  # beyond the view
    pairs = couple(faces, PX, 1)
    used = pairs.ravel().tolist()
    assert len(used) == len(set(used)) == 18
    assert 4 not in used
    groups = [[faces.groups[i] for i in pair] for pair in pairs]
    assert all(a == b for a, b in groups)
    assert {a for a, _ in groups[:3]} == {"cat", "dog", "owl"}
    assert np.array_equal(pairs, couple(faces, PX, 1))
    assert not np.array_equal(pairs, couple(faces, PX, 2))


# --------------------------------------------------------------------------------------- geometry
def test_a_mark_moves_with_the_cut():
    picture = torch.zeros(3, PX, PX, dtype=torch.uint8)
    picture[:, 12:16, 20:24] = 200
    corner, side = np.array([5, 8]), 20
    weight = enlarged(picture, corner, side)[0].double()
    centre = [
        float((weight.sum(1 - axis) * (torch.arange(PX) + 0.5)).sum() / weight.sum())
        for axis in (0, 1)
    ]
    assert centre == pytest.approx((np.array([14, 22]) - corner) * PX / side, abs=0.1)


def test_the_cut_holds_every_keypoint_and_varies():
    faces, rng, seen = made_faces(40), np.random.default_rng(0), set()
    for parts, box in zip(faces.parts, faces.boxes, strict=True):
        corner, side = cut_of(parts, box, PX, rng)
        assert (corner >= 0).all()
        assert (corner + side <= PX).all()
        assert ((parts >= corner) & (parts <= corner + side)).all()
        assert 0.7 * PX - 0.5 <= side <= 0.9 * PX + 0.5
        seen.add((*corner.tolist(), side))
    assert len(seen) > 20
    spread = np.array([[0.5, 0.5], [PX - 0.5, PX - 0.5]])
    corner, side = cut_of(spread, np.array([0, 0, PX, PX]), PX, rng)
    assert (corner.tolist(), side) == ([0, 0], PX)


def test_shares_by_hand():
    """Boxes of 100 px: found within 5, 10, 20 px; one pair, three parts, both ways."""
    parts = torch.tensor([[[50.0, 30.0], [50.0, 70.0], [80.0, 50.0]]], dtype=torch.float64)
    box = torch.tensor([[0.0, 0.0, 100.0, 60.0]])
    pairs = FacePairs([("a", "b")], ["x"], (torch.zeros(1),) * 2, (parts,) * 2, (box,) * 2, None)
    there = parts + torch.tensor([[[3.0, 4.0], [0.0, 10.0], [12.0, 16.0]]])
    back = parts[:, [1, 0, 2]].clone()  # eyes swapped, the nose right
    places = torch.stack([there, back])
    assert pairs.hits(places)[0] == pytest.approx([(1 + 1) / 6, (2 + 1) / 6, (3 + 1) / 6])
    either, other = pairs.at_mirrored(places, mirrored(PARTS))
    assert (either[0], other[0]) == (pytest.approx(5 / 6), pytest.approx(2 / 6))
    assert pairs.limits() == pytest.approx([10.0])
    assert pairs.hits(pairs.copies())[0] == pytest.approx([1, 1, 1])


def test_copies_within_boxes_undo_the_cut():
    faces = made_faces(2, ("cat",))
    faces.parts[1], faces.boxes[1] = faces.parts[0], faces.boxes[0]
    pairs = FacePairs.of(faces, np.array([[0, 1]]), PX, 0)
    assert pairs.moved().max() > 0.05
    assert pairs.hits(pairs.copies(boxes=True))[0] == pytest.approx([1, 1, 1])


def test_names_of_mirror_images_boxes_and_steps():
    assert mirrored(PARTS) == [1, 0, 2]
    assert mirrored(("left_eye", "nose")) == [0, 1]
    box = boxes_of_parts(np.array([[[10.0, 10.0], [10.0, 30.0], [16.0, 20.0]]]))
    assert box.tolist() == [[13 - 30, 20 - 30, 13 + 30, 20 + 30]]
    sizes = [(16, 100), (16, 224), (2, 100), (6, 100), (0, 100), (7, 100)]
    assert [step_of((stride, stride), px) for stride, px in sizes] == [4, 8, 2, 3, 4, 1]


# -------------------------------------------------------------------------------- which part is it
def test_parts_are_read_from_columns_that_tell_them_and_from_no_others():
    rng = np.random.default_rng(0)
    told_apart = torch.from_numpy(rng.normal(0, 0.1, (2, 20, 3, 5)))
    told_apart[..., range(3), range(3)] += 1
    groups = ["cat", "dog"] * 10
    assert readout(told_apart, groups).tolist() == [1.0] * 40
    noise = torch.from_numpy(rng.normal(0, 1, (2, 20, 3, 5)))
    assert abs(readout(noise, groups).mean() - 1 / 3) < 0.15
    assert readout(torch.zeros(2, 20, 3, 5), groups) == pytest.approx(1 / 3)
    assert readout(told_apart, ["cat"] * 20).tolist() == [1.0] * 40
    assert np.isnan(readout(told_apart[:, :1], ["cat"])).all()


def test_a_class_is_held_out_and_fits_are_those_of_liblinear():
    rng = np.random.default_rng(1)
    values = torch.from_numpy(rng.normal(0, 0.8, (2, 12, 3, 8)))
    values[..., range(3), range(3)] += 1
    groups = ["cat", "dog", "owl"] * 4
    flat = nn.functional.normalize(values.reshape(72, 8), dim=1).numpy()
    kinds, labels = np.tile(np.repeat(groups, 3), 2), np.tile(np.arange(3), 24)
    right = np.zeros(72)
    for kind in set(groups):
        own = kinds == kind
        fit = LinearSVC(C=10 / (flat[~own] ** 2).sum(1).mean(), tol=1e-8, max_iter=100_000)
        right[own] = fit.fit(flat[~own], labels[~own]).predict(flat[own]) == labels[own]
    assert readout(values, groups) == pytest.approx(right.reshape(24, 3).mean(1))


# ----------------------------------------------------------------------------------------- photos
@pytest.fixture
def album(tmp_path):
    faces, entries = made_faces(9), []
    for i in range(9):
        picture = faces.pixels[i].permute(1, 2, 0).numpy()
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        places = {
            name: [float(x), float(y)] for name, (y, x) in zip(PARTS, faces.parts[i], strict=True)
        }
        entries.append({"file": f"{i}.png", "group": faces.groups[i], **places})
    (tmp_path / "mine.json").write_text(json.dumps({"note": "made", "images": entries}))
    return faces


def test_photos_of_the_list_are_used_but_for_training_images(album, inputs, place, monkeypatch):
    monkeypatch.setattr(Inputs, "of_stage", classmethod(lambda *_, **__: inputs))
    monkeypatch.setattr(
        alignment, "Prepared", SimpleNamespace(open=lambda _: SimpleNamespace(split=lambda _: None))
    )
    monkeypatch.setattr(alignment, "in_training", lambda faces, *_: [True, *[None] * 8])
    paths = SimpleNamespace(share=(0, 1), data_root=place, prepared=None)
    cfg = Alignment(layers=(4,), photos="mine.json")
    found = alignment.run(cfg, paths)
    assert found.facts["of_training"] == 1
    assert found.estimates["pairs"].value == 4
    used = {row[key] for row in found.tables["pairs"].records() for key in ("first", "second")}
    assert "0.png" not in used
    assert found.estimates["conv_pck"].value > 0.9
    told(found, place)
    with pytest.raises(UserError, match=r"study\.alignment\.photos=none\.json"):
        alignment.run(cfg.model_copy(update={"photos": "none.json"}), paths)


# ----------------------------------------------------------------------------------------- telling
def read(found, place, name="alignment"):
    """Save it and read it back."""
    save(found, place / name, place / "m.json")
    return Results(place / name, place)


def told(found, place, name="alignment"):
    """Draw it and write the page."""
    results = read(found, place, name)
    figures = telling.figures(results)
    for shown in figures:
        shown.draw()
    for table, shown in telling.tables(results).items():
        assert len(shown.rows(results.tables[table])) == len(results.tables[table].rows)
    assert len(figures) == (2 if found.arrays else "methods" in found.tables)
    return page("alignment", results)


def test_what_is_drawn_is_what_was_measured_and_its_bytes_repeat(inputs, place):
    found = study(CFG, inputs, made_faces(12), PARTS)
    results = read(found, place, "one")
    read(study(CFG, inputs, made_faces(12), PARTS), place, "two")
    for path in (place / "one").rglob("*.*"):
        assert path.read_bytes() == (place / "two" / path.relative_to(place / "one")).read_bytes()
    drawn = telling.figures(results)[0].draw()
    counts = [axis.get_xlabel() for axis in drawn.axes if axis.get_title() == "layer 4"]
    places, true = results.array("places_conv")[0], results.array("keypoints")[0, 1]
    near = (np.linalg.norm(places - true, axis=-1) <= results.array("limits")[0]).sum()
    assert counts == [f"{near} of 3"]


def test_the_page_claims_no_more_than_the_intervals(inputs, place):
    found = study(CFG, inputs, made_faces(12), PARTS)
    good = replace(
        found,
        estimates={
            **found.estimates,
            **{
                f"conv_minus_{name}": replace(
                    found.estimates["conv_minus_copied"], value=0.4, low=0.2, high=0.6
                )
                for name in ("patches", "copied", "untrained", "sift")
            },
        },
    )

    def answer(found):
        return page("alignment", read(found, place)).split("---")[0]

    assert "more than each of these controls" in answer(good)
    assert "not shown" not in answer(good)
    for name in ("patches", "copied", "untrained"):
        gap = replace(good.estimates[f"conv_minus_{name}"], low=-0.1)
        bad = replace(good, estimates={**good.estimates, f"conv_minus_{name}": gap})
        assert "not shown" in answer(bad)
