import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from zfnet.errors import UserError
from zfnet.studies.agreement import Agreement, correlations, ranks, window_energy
from zfnet.studies.base import Inputs
from zfnet.studies.occlusion import (
    Options,
    choose_images,
    look,
    occluded,
    project,
    row_panels,
    sensitivity,
    strongest_others,
    study,
    tell,
)
from zfnet.studies.result import load_result, save_result

SMALL = Options(
    images=2, measured=3, size=4, stride=2, reference_px=16, fill="zero", layer=1,
    measured_stride=2, varied_images=2, varied_strides=(4,), varied_sizes=(6, 1),
    varied_fills=("mean",), varied_layers=(5, 7),
)  # fmt: skip


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
    result = study(Inputs(bright, "val", probe), dataclasses.replace(SMALL, ids=names))
    assert result.extra["ids"] == list(names)
    assert [figure.name for figure in result.figures] == ["occlusion_1", "occlusion_2", "per_image"]
    with pytest.raises(UserError, match=r"no image 'nowhere\.png'"):
        study(Inputs(bright, "val", probe), Options(ids=("nowhere.png",), layer=1))


def test_a_class_the_net_does_not_know_gives_way_to_its_own_label(bright, probe):
    probe.class_index = np.array([0, -1, 2])
    options = dataclasses.replace(SMALL, ids=("class1/4.png",))
    result = study(Inputs(bright, "val", probe), options)
    assert "does not know the image's class (green)" in result.figures[0].caption
    assert "own top label is watched" in result.text


def test_the_row_shows_the_worst_place_the_map_and_the_classes(bright, probe):
    inputs = inputs_of(bright, probe)
    chosen = choose_images(inputs, SMALL, seed=0)
    maps = occluded(inputs, chosen, SMALL, seed=0)
    output = int(chosen.outputs[1])
    given = {"image": inputs.display(chosen.rows)[1], "classes": ["a", "b", "c"], "layer": 1}
    assert len(row_panels(maps, 1, output=output, **given)) == 4
    down = np.zeros((16, 16, 3), np.float32)
    down[2, 3, 0] = -7
    image, activity, projection, probability, label = row_panels(
        maps, 1, output=output, box=(1.0, 2.0, 3.0, 4.0), projection=down, **given
    )
    assert projection.frame
    assert projection.image[2, 3].tolist() == [1, 128, 128]
    assert projection.image[5, 5].tolist() == [128, 128, 128]
    y0, x0, y1, x1 = image.occluder
    row, col = maps.rows.tolist().index(y0), maps.cols.tolist().index(x0)
    assert (y1 - y0, x1 - x0) == maps.size == (4, 4)
    assert maps.probability[1, row, col] == maps.probability[1].min()
    assert activity.title == f"(b) layer 1, map {int(maps.unit[1])}"
    assert probability.title == f"(d) p({'abc'[output]})"
    assert np.array_equal(probability.values, maps.probability[1].numpy())
    assert label.first == int(maps.clean_label[1])
    assert all(panel.box == (1, 2, 3, 4) for panel in (image, activity, probability, label))


def test_size_and_stride_scale_with_the_input():
    assert Options().pixels(224) == (48, 8)
    assert Options().pixels(128) == (27, 5)
    assert Options().pixels(8) == (2, 1)


def test_more_images_are_measured_with_a_wider_step_than_are_drawn(bright, probe):
    options = dataclasses.replace(SMALL, measured=5, measured_stride=4)
    result = study(inputs_of(bright, probe), options)
    assert result.arrays["probability"].shape == (5, 4, 4)
    assert result.arrays["drawn_probability"].shape == (2, 7, 7)
    # the places of the wide step are among those of the narrow one
    assert np.array_equal(
        result.arrays["drawn_probability"][:, ::2, ::2], result.arrays["probability"][:2]
    )
    assert (result.extra["stride_px"], result.extra["drawn_stride_px"]) == (4, 2)
    assert result.metrics["stride_px"].value == 4
    assert result.metrics["images"].value == 5


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
    assert [figure["name"] for figure in told["figures"]] == [
        "occlusion_1", "occlusion_2", "per_image",
    ]  # fmt: skip
    assert told["arrays"]["energy"]["shape"] == [3, 7, 7]
    assert told["arrays"]["projections"]["shape"] == [3, 16, 16, 3]
    assert told["arrays"]["scales"]["shape"] == [3]
    assert told["extra"]["fill_rgb"] == [0, 0, 0]  # 0 in the input of a net without a mean
    assert told["arrays"]["probability"]["shape"] == [3, 7, 7]
    assert len(told["tables"]["images"]["rows"]) == 3
    for path in (tmp_path / "one").rglob("*.*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()


def test_faulty_options_are_named():
    for wrong, message in (
        ({"stride": 50}, "study.occlusion.stride=50"),
        ({"measured_stride": 49}, "study.occlusion.measured_stride=49"),
        ({"fill": "green"}, "study.occlusion.fill=green"),
        ({"images": 0}, "study.occlusion.images=0"),
        ({"others": -1}, "study.occlusion.others=-1"),
        ({"projected": "some"}, "study.occlusion.projected=some"),
        ({"varied_fills": ("grey", "green")}, "study.occlusion.varied_fills=green"),
        ({"varied_sizes": (0,)}, "study.occlusion.varied_sizes"),
    ):
        with pytest.raises(UserError, match=message):
            Options(**wrong)


def test_the_stage_reads_only_what_it_declares(bright, probe, tmp_path, monkeypatch):
    from zfnet.pipeline.compose import StageConfig
    from zfnet.studies import base as inputs, occlusion

    section = {
        "images": 1, "measured": 2, "ids": [], "size": 4, "stride": 2, "reference_px": 16,
        "fill": "grey", "layer": 1, "projected": "all", "others": 1, "varied_images": 1,
        "measured_stride": 4, "varied_strides": None, "varied_sizes": None,
        "varied_fills": [], "varied_layers": None, "batch_size": 16, "split": "val",
    }  # fmt: skip
    whole = {"seed": 0, "device": "cpu", "data": {}, "study": {"occlusion": section}}
    monkeypatch.setattr(inputs, "load_net", lambda folder: probe)
    monkeypatch.setattr(inputs.Prepared, "open", lambda folder: bright)
    cfg = StageConfig(whole, ["study.occlusion", "seed", "device"], "occlusion")
    result = occlusion.run(cfg, SimpleNamespace(net=tmp_path, prepared=tmp_path))
    assert result.extra["drawn"] == 1
    assert result.metrics["worst_drop"].n == 2


# ------------------------------------------------------------------------ projection and activity
def test_energy_is_the_sum_of_squares_in_the_window():
    picture = np.zeros((1, 5, 6, 2))
    picture[0, 1, 2] = (3, 4)
    picture[0, 4, 5, 0] = 2
    energy = window_energy(picture, np.array([0, 1, 2]), np.array([0, 2, 3]), (3, 3))
    assert energy[0].tolist() == [[25, 25, 0], [25, 25, 0], [0, 0, 4]]


def test_correlations_are_pearson_s_of_every_pair():
    rng = np.random.default_rng(0)
    loss, energy = rng.random((2, 3, 4)), rng.random((2, 3, 4))
    table = correlations(loss, energy)
    for i in range(2):
        for j in range(2):
            expected = np.corrcoef(loss[i].ravel(), energy[j].ravel())[0, 1]
            assert table[i, j] == pytest.approx(expected)
    assert correlations(loss, 5 * loss + 1).diagonal() == pytest.approx([1, 1])
    assert correlations(loss, -loss).diagonal() == pytest.approx([-1, -1])


def test_what_does_not_vary_has_no_correlation():
    loss = np.stack([np.full((2, 2), 0.1) + 1e-12 * np.eye(2), np.eye(2)])
    table = correlations(loss, np.stack([np.eye(2), np.zeros((2, 2))]))
    assert np.isnan(table).tolist() == [[True, True], [False, True]]
    told = Agreement(table)
    assert np.isnan(told.own).all()
    assert told.other[1] == pytest.approx(1)  # what is left of its row
    assert math.isnan(told.chance(seed=0))


def test_ranks_share_ties():
    assert ranks(np.array([[[10.0, 30.0], [20.0, 20.0]]]))[0].tolist() == [[1, 4], [2.5, 2.5]]


def test_the_null_is_the_other_images():
    told = Agreement(np.array([[0.9, 0.1, 0.3], [0.2, 0.8, 0.4], [0.0, 0.2, 0.7]]))
    assert told.own.tolist() == [0.9, 0.8, 0.7]
    assert told.other == pytest.approx([0.2, 0.3, 0.1])


def test_chance_tells_an_own_projection_from_anyone_s():
    own = Agreement(np.full((8, 8), 0.1) + 0.8 * np.eye(8))
    assert own.chance(seed=0) < 0.01
    same = Agreement(np.full((8, 8), 0.5))  # every projection fits as well: all in the middle
    assert same.chance(seed=0) == 1
    assert own.chance(seed=3) == own.chance(seed=3)


def test_the_activity_falls_where_the_projection_lies(bright, probe):
    """One mark an image, at different places: own projections match, those of others do not."""
    result = study(inputs_of(bright, probe), dataclasses.replace(SMALL, measured=12))
    metrics = result.metrics
    assert metrics["projection_correlation"].value > 0.7
    assert metrics["projection_correlation_gain"].low > 0.3
    assert metrics["projection_correlation_p"].value < 0.01
    assert metrics["projection_correlation_gain"].n == 12
    assert "beyond what any projection would do" in result.text
    assert result.extra["beyond_field_limit"] == []
    assert "see text" not in metrics["projection_correlation"].note


def test_marks_at_one_place_show_no_gain_over_others(bright, probe):
    split = bright.split("val")
    split._images[:] = 0
    for i in range(30):
        split._images[i, 10, 10, i % 3] = 250
    result = study(inputs_of(bright, probe), dataclasses.replace(SMALL, measured=6))
    assert result.metrics["projection_correlation"].value > 0.7
    assert abs(result.metrics["projection_correlation_gain"].value) < 1e-6
    assert result.metrics["projection_correlation_p"].value > 0.5
    assert "do not show more than any image's projection would" in result.text


def test_a_projection_lies_at_its_mark(bright, probe):
    inputs = inputs_of(bright, probe)
    rows = np.array([4, 8])
    down = project(inputs, rows, "relu", rows % 3, "strongest", 16)
    for i, row in enumerate(rows.tolist()):
        y, x = 2 + row % 10, 3 + row % 7
        assert down[i, :, :, row % 3][y - 1 : y + 2, x - 1 : x + 2].any()
        down[i, y - 1 : y + 3, x - 2 : x + 3] = 0
        assert not down[i].any()


def test_a_field_larger_than_the_limit_is_marked(bright, probe):
    model = nn.Sequential(nn.Conv2d(3, 3, 15, padding=7), nn.ReLU(), nn.Flatten())
    model.append(nn.Linear(3 * 256, 3))
    probe.model, probe.taps = model.eval(), {"1.relu": "1"}
    result = study(inputs_of(bright, probe), SMALL)
    assert result.metrics["field_share"].value == pytest.approx(15 / 16)
    assert "projection_correlation_gain" in result.extra["beyond_field_limit"]
    assert "beyond 0.75" in result.metrics["projection_correlation"].note
    assert "says less of the paper's claim" in result.text
    assert "Within the limit of the field: none of them." in result.text


def test_a_net_without_deconvnet_goes_without_panel_c(bright, probe):
    probe.model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.GELU(), nn.Flatten())
    probe.model.append(nn.Linear(3 * 256, 3)).eval()
    probe.taps = {"1.relu": "1"}
    result = study(inputs_of(bright, probe), SMALL)
    assert "Gelu" in result.extra["no_projection"]
    assert "Panel (c) and its measurement are missing" in result.text
    assert "projection_correlation" not in result.metrics
    assert "worst_drop" in result.metrics
    assert result.figures[0].draw() is not None


# ---------------------------------------------------------------------------------- other images
def test_the_strongest_other_images_are_the_map_s_and_never_the_image(bright, probe):
    split = bright.split("val")
    for i in range(30):  # brighter from image to image
        split._images[i][split._images[i] > 0] = 200 + i
    inputs = inputs_of(bright, probe)
    options = dataclasses.replace(SMALL, ids=("class1/28.png", "class0/0.png"), others=2)
    seen = look(inputs, choose_images(inputs, options, 0), options, 0)
    assert seen.maps.unit.tolist() == [1, 0]
    green, red = strongest_others(inputs, seen, options)
    assert [name.split(",")[0] for name in green.names] == ["green", "green"]
    assert green.names[0].endswith("activation 225")  # image 25: 28 is the image itself
    assert red.names[0].endswith("activation 227")
    projection, patch = red.pairs[0]
    assert projection.shape == patch.shape == (3, 3, 3)
    assert patch[1, 1].tolist() == [227, 0, 0]
    assert projection[1, 1, 0] > 128


def test_a_map_that_nothing_else_excites_has_no_other_images(bright, probe):
    split = bright.split("val")
    split._images[1:] = 0
    inputs = inputs_of(bright, probe)
    options = dataclasses.replace(SMALL, ids=("class0/0.png",), others=3)
    seen = look(inputs, choose_images(inputs, options, 0), options, 0)
    (strip,) = strongest_others(inputs, seen, options)
    assert strip.pairs == []
    assert study(inputs, options).figures[0].draw() is not None


# ----------------------------------------------------------------------------------- sensitivity
def test_every_choice_has_its_row(bright, probe):
    inputs = inputs_of(bright, probe)
    seen = look(inputs, choose_images(inputs, SMALL, 0), SMALL, 0)
    choices = sensitivity(inputs, seen, SMALL, 0)
    assert [choice.name for choice in choices] == [
        "as measured", "correlation of ranks", "the whole map projected", "step 4",
        "size 6", "size 1, step 1", "fill mean", "layer 5",
    ]  # fmt: skip
    first, by_rank, whole, step, size, *_ = choices
    assert len(first.seen.told.worst_drop) == 2
    assert first.agreement.own == pytest.approx(seen.agreement.own[:2])
    assert by_rank.agreement.own != pytest.approx(first.agreement.own)
    assert whole.seen is first.seen
    assert step.seen.maps.rows.tolist() == [0, 4, 8, 12]
    assert (size.size, size.stride) == (6, 2)
    assert size.seen.maps.size == (6, 6)
    assert not sensitivity(inputs, seen, dataclasses.replace(SMALL, varied_images=0), 0)


def test_the_table_tells_the_numbers_of_each_choice(bright, probe):
    result = study(inputs_of(bright, probe), dataclasses.replace(SMALL, varied_images=3))
    table = result.tables["sensitivity"]
    first = dict(zip(table.columns, table.rows[0], strict=True))
    assert first["worst drop"] == pytest.approx(result.metrics["worst_drop"].value)
    assert first["inside − outside box"] == pytest.approx(
        result.metrics["inside_minus_outside"].value
    )
    assert first["difference"] == pytest.approx(result.metrics["projection_correlation_gain"].value)
    assert "Under the 8 choices of the sensitivity table (3 images)" in result.text
