from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zfnet.errors import UserError
from zfnet.studies.inputs import Inputs
from zfnet.studies.occlusion import (
    Options,
    choose_images,
    occluded,
    row_panels,
    study,
    tell,
)
from zfnet.studies.result import load_result, save_result

SMALL = Options(images=2, measured=3, size=4, stride=2, reference_px=16, fill="zero", layer=1)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("ZFNET_PROGRESS", "0")


@pytest.fixture
def bright(marks):
    """The marks made bright enough for the net to be sure of each."""
    split = marks.split("val")
    split._images[split._images > 0] = 250
    split.boxes = np.full((30, 4), np.nan, np.float32)
    for i in range(30):
        y, x = 4 + i % 10, 5 + i % 7
        split.boxes[i] = (x - 1, y - 1, x + 2, y + 2)
    return marks


def inputs_of(marks, probe):
    return Inputs(marks, "val", probe, torch.device("cpu"))


def test_the_probability_falls_where_the_mark_is_covered(bright, probe):
    inputs = inputs_of(bright, probe)
    chosen = choose_images(inputs, SMALL, seed=0)
    maps = occluded(inputs, chosen, SMALL, seed=0)
    for i, row in enumerate(chosen.rows.tolist()):
        y, x = 2 + row % 10, 3 + row % 7
        for r, top in enumerate(maps.rows.tolist()):
            for c, left in enumerate(maps.cols.tolist()):
                covered = top <= y < top + 4 and left <= x < left + 4
                p = float(maps.probability[i, r, c])
                assert p == pytest.approx(1 / 3 if covered else float(maps.clean_probability[i]))
                assert (float(maps.activity[i, r, c]) == 0) == covered


def test_numbers_follow_from_the_maps(bright, probe):
    inputs = inputs_of(bright, probe)
    chosen = choose_images(inputs, SMALL, seed=0)
    told = tell(inputs, chosen, occluded(inputs, chosen, SMALL, seed=0))
    assert told.activity_drop.tolist() == [1.0, 1.0, 1.0]
    assert (told.worst_drop > 0.3).all()
    assert (told.inside > told.outside).all()
    metrics = study(Inputs(bright, "val", probe), SMALL).metrics
    assert metrics["inside_minus_outside"].value > 0
    assert metrics["worst_drop"].n == 3
    assert metrics["worst_drop"].low is not None


def test_without_boxes_nothing_is_said_of_them(marks, probe):
    assert "drop_inside_box" not in study(Inputs(marks, "val", probe), SMALL).metrics


def test_classes_take_turns(bright, probe):
    inputs = inputs_of(bright, probe)
    chosen = choose_images(inputs, Options(images=4, measured=6), seed=3)
    labels = inputs.labels[chosen.rows]
    assert sorted(labels[:3].tolist()) == [0, 1, 2]
    assert sorted(labels[3:].tolist()) == [0, 1, 2]
    assert chosen.known.all()
    again = choose_images(inputs, Options(images=4, measured=6), seed=3)
    assert again.rows.tolist() == chosen.rows.tolist()
    assert "want of better" not in chosen.how


def test_unsure_images_fill_up_and_are_told(marks, probe):
    marks.split("val")._images[:] = 0  # the net knows nothing
    chosen = choose_images(inputs_of(marks, probe), SMALL, seed=0)
    assert len(chosen.rows) == 3
    assert "want of better ones" in chosen.how


def test_named_images_are_taken_as_they_come(bright, probe):
    names = ("class1/4.png", "class0/0.png")
    result = study(
        Inputs(bright, "val", probe), Options(ids=names, size=4, stride=2, reference_px=16, layer=1)
    )
    assert result.extra["ids"] == list(names)
    assert len(result.figures) == 2
    with pytest.raises(UserError, match=r"no image 'nowhere\.png'"):
        study(Inputs(bright, "val", probe), Options(ids=("nowhere.png",), layer=1))


def test_a_class_the_net_does_not_know_gives_way_to_its_own_label(bright, probe):
    probe.class_index = np.array([0, -1, 2])
    options = Options(ids=("class1/4.png",), size=4, stride=2, reference_px=16, layer=1)
    result = study(Inputs(bright, "val", probe), options)
    assert "does not know the image's class (green)" in result.figures[0].caption
    assert "own top label is watched" in result.text


def test_the_row_shows_the_worst_place_the_map_and_the_classes(bright, probe):
    inputs = inputs_of(bright, probe)
    chosen = choose_images(inputs, SMALL, seed=0)
    maps = occluded(inputs, chosen, SMALL, seed=0)
    output = int(chosen.outputs[1])
    image, activity, probability, label = row_panels(
        maps, 1, image=inputs.display(chosen.rows)[1], classes=["a", "b", "c"], output=output,
        layer=1, box=(1.0, 2.0, 3.0, 4.0),
    )  # fmt: skip
    y0, x0, y1, x1 = image.occluder
    row, col = maps.rows.tolist().index(y0), maps.cols.tolist().index(x0)
    assert (y1 - y0, x1 - x0) == maps.size == (4, 4)
    assert maps.probability[1, row, col] == maps.probability[1].min()
    assert activity.title == f"layer 1, map {int(maps.unit[1])}"
    assert probability.title == f"p({'abc'[output]})"
    assert np.array_equal(probability.values, maps.probability[1].numpy())
    assert label.first == int(maps.clean_label[1])
    assert all(panel.box == (1, 2, 3, 4) for panel in (image, activity, probability, label))


def test_size_and_stride_scale_with_the_input():
    assert Options().pixels(224) == (32, 8)
    assert Options().pixels(128) == (18, 5)
    assert Options().pixels(8) == (2, 1)


def test_grey_is_raw_128_under_any_normalisation(bright, probe):
    from zfnet.studies.occlusion import _fill

    probe.normalise.mean = torch.full((3, 16, 16), 100.0)
    fill = _fill(inputs_of(bright, probe), Options())
    assert (fill == 28).all()


def test_result_is_whole_and_its_bytes_repeat(bright, probe, tmp_path):
    for name in ("one", "two"):
        save_result(
            study(Inputs(bright, "val", probe), SMALL), tmp_path / name, tmp_path / f"{name}.json"
        )
    told = load_result(tmp_path / "one")
    assert [figure["name"] for figure in told["figures"]] == ["occlusion_1", "occlusion_2"]
    assert told["arrays"]["probability"]["shape"] == [3, 7, 7]
    assert len(told["tables"]["images"]["rows"]) == 3
    for path in (tmp_path / "one").rglob("*.*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()


def test_faulty_options_are_named():
    for wrong, message in (
        ({"stride": 40}, "study.occlusion.stride=40"),
        ({"fill": "green"}, "study.occlusion.fill=green"),
        ({"images": 0}, "study.occlusion.images=0"),
    ):
        with pytest.raises(UserError, match=message):
            Options(**wrong)


def test_the_stage_reads_only_what_it_declares(bright, probe, tmp_path, monkeypatch):
    from zfnet.config import StageConfig
    from zfnet.studies import inputs, occlusion

    section = {
        "images": 1, "measured": 2, "ids": [], "size": 4, "stride": 2, "reference_px": 16,
        "fill": "grey", "layer": 1, "batch_size": 16, "split": "val",
    }  # fmt: skip
    whole = {"seed": 0, "device": "cpu", "data": {}, "study": {"occlusion": section}}
    monkeypatch.setattr(inputs, "load_net", lambda folder: probe)
    monkeypatch.setattr(inputs.Prepared, "open", lambda folder: bright)
    cfg = StageConfig(whole, ["study.occlusion", "seed", "device"], "occlusion")
    result = occlusion.run(cfg, SimpleNamespace(net=tmp_path, prepared=tmp_path))
    assert result.extra["drawn"] == 1
    assert result.metrics["worst_drop"].n == 2
