from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from zfnet.errors import UserError
from zfnet.figures import occlusion as telling
from zfnet.pipeline.options import checked
from zfnet.pipeline.studies import Occlusion
from zfnet.report.study import page
from zfnet.results import Results, save
from zfnet.stats.estimate import Estimate, text
from zfnet.studies import occlusion
from zfnet.studies.agreement import correlations, others, ranks, window_energy
from zfnet.studies.base import Inputs
from zfnet.studies.occlusion import (
    choose_images,
    hide,
    other_images,
    pixels,
    projections,
    run,
    sensitivity,
    slide,
)

# On 16 px: a square of 4 px in steps of 2.
SMALL = Occlusion(
    images=2, measured=3, size=56, stride=28, measured_stride=28, fill="zero", layer=1
)


def small(**changes):
    return SMALL.model_copy(update=changes)


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


def study(cfg, inputs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inputs, "of_stage", classmethod(lambda cls, cfg, paths, split, **_: inputs))
        return run(cfg, SimpleNamespace(leads=True))


def inputs_of(marks, probe):
    return Inputs(marks, "val", probe, torch.device("cpu"))


def hidden_of(inputs, cfg):
    rows, outputs, _ = choose_images(cfg, inputs)
    return hide(inputs, rows, outputs, cfg)


def test_the_probability_falls_where_the_mark_is_covered(bright, probe):
    inputs = inputs_of(bright, probe)
    rows, outputs, _ = choose_images(SMALL, inputs)
    maps = slide(inputs, rows, outputs, SMALL)
    assert maps.size == (4, 4)
    for i, row in enumerate(rows.tolist()):
        y, x = 2 + row % 10, 3 + row % 7
        for r, top in enumerate(maps.rows.tolist()):
            for c, left in enumerate(maps.cols.tolist()):
                covered = top <= y < top + 4 and left <= x < left + 4
                p = float(maps.probability[i, r, c])
                assert p == pytest.approx(1 / 3 if covered else float(maps.clean_probability[i]))
                assert (float(maps.activity[i, r, c]) == 0) == covered


def test_numbers_follow_from_the_maps(bright, probe):
    inputs = inputs_of(bright, probe)
    hidden = hidden_of(inputs, SMALL)
    assert hidden.numbers["activity_drop"].tolist() == [1.0, 1.0, 1.0]
    assert (hidden.numbers["worst_drop"] > 0.3).all()
    drop = hidden.maps["clean_probability"][0] - hidden.maps["probability"][0]
    y0, x0, y1, x1 = inputs.boxes(hidden.rows)[0]
    inside = [
        drop[r, c]
        for r, y in enumerate(hidden.maps["rows"] + 2)
        for c, x in enumerate(hidden.maps["cols"] + 2)
        if y0 <= y < y1 and x0 <= x < x1
    ]
    assert hidden.numbers["drop_inside_box"][0] == pytest.approx(np.mean(inside))
    assert (hidden.numbers["drop_inside_box"] > hidden.numbers["drop_outside_box"]).all()
    estimates = study(SMALL, inputs).estimates
    assert estimates["inside_minus_outside"].value > 0
    assert estimates["worst_drop"].n == 3
    assert estimates["worst_drop"].low is not None


def test_classes_take_turns(bright, probe):
    inputs = inputs_of(bright, probe)
    cfg = Occlusion(images=4, measured=6, seed=3)
    rows, outputs, less_sure = choose_images(cfg, inputs)
    labels = inputs.labels[rows]
    assert sorted(labels[:3].tolist()) == [0, 1, 2]
    assert sorted(labels[3:].tolist()) == [0, 1, 2]
    assert outputs.tolist() == labels.tolist()
    assert less_sure == 0
    assert choose_images(cfg, inputs)[0].tolist() == rows.tolist()


def test_unsure_images_fill_up_and_without_boxes_nothing_is_measured_of_them(marks, probe):
    marks.split("val")._images[:] = 0  # the net knows nothing
    result = study(SMALL, inputs_of(marks, probe))
    assert len(result.tables["images"].rows) == result.facts["less_sure"] == 3
    assert "drop_inside_box" not in result.estimates


def test_named_images_are_taken_as_they_come(bright, probe):
    names = ("class1/4.png", "class0/0.png")
    result = study(small(ids=names), inputs_of(bright, probe))
    assert result.tables["images"].column("image") == list(names)
    assert result.facts["drawn"] == 2
    with pytest.raises(UserError, match=r"no image 'nowhere\.png'"):
        study(small(ids=("nowhere.png",)), inputs_of(bright, probe))


def test_a_class_the_net_does_not_know_gives_way_to_its_own_label(bright, probe):
    probe.class_index = np.array([0, -1, 2])
    result = study(small(ids=("class1/4.png",)), inputs_of(bright, probe))
    assert result.facts["unknown_class"] == 1
    (row,) = result.tables["images"].records()
    assert not row["known"]
    assert row["output"] == "green"


def test_size_and_stride_scale_with_the_input():
    assert [pixels(Occlusion(), px) for px in (224, 128, 8)] == [(48, 8), (27, 5), (2, 1)]


def test_more_images_are_measured_with_a_wider_step_than_are_drawn(bright, probe):
    result = study(small(measured=5, measured_stride=56), inputs_of(bright, probe))
    fine, wide = result.arrays["drawn_probability"], result.arrays["probability"]
    assert (wide.shape, fine.shape) == ((5, 4, 4), (2, 7, 7))
    # the places of the wide step are among those of the narrow one
    assert np.array_equal(fine[:, ::2, ::2], wide[:2])
    assert (result.facts["stride_px"], result.facts["drawn_stride_px"]) == (4, 2)
    assert result.estimates["stride_px"].value == 4
    assert result.estimates["images"].value == 5


def test_grey_is_raw_128_under_any_normalisation(bright, probe, monkeypatch):
    probe.normalise.mean = torch.full((3, 16, 16), 100.0)
    fills = []
    monkeypatch.setattr(occlusion, "occlude", lambda *_, fill, **__: fills.append(fill))
    slide(inputs_of(bright, probe), np.array([0]), np.array([0]), small(fill="grey"))
    assert (fills[0] == 28).all()


def test_result_is_whole_and_its_bytes_repeat(bright, probe, tmp_path):
    for name in ("one", "two"):
        save(study(SMALL, inputs_of(bright, probe)), tmp_path / name, tmp_path / f"{name}.json")
    found = Results(tmp_path / "one", tmp_path)
    shapes = {name: tuple(found.arrays[name]["shape"]) for name in found.arrays}
    assert shapes["probability"] == (3, 7, 7)
    assert shapes["projections"] == (3, 16, 16, 3)
    assert shapes["drawn_pictures"] == (2, 16, 16, 3)
    assert len(found.tables["images"].rows) == 3
    for path in (tmp_path / "one").rglob("*.*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("key", ["stride", "measured_stride"])
def test_a_step_that_leaves_pixels_uncovered_is_refused(key):
    with pytest.raises(UserError, match=f"{key}=50 is larger than size=48"):
        checked(Occlusion, {key: 50}, "study.occlusion")


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
    assert others(table)[1] == pytest.approx(1)  # what is left of its row
    table = np.array([[0.9, 0.1, 0.3], [0.2, 0.8, 0.4], [0.0, 0.2, 0.7]])
    assert others(table) == pytest.approx([0.2, 0.3, 0.1])
    assert ranks(np.array([[[10.0, 30.0], [20.0, 20.0]]]))[0].tolist() == [1, 4, 2.5, 2.5]


def test_the_activity_falls_where_the_projection_lies(bright, probe):
    """One mark an image, at different places: own projections match, those of others do not."""
    estimates = study(small(measured=12), inputs_of(bright, probe)).estimates
    assert estimates["projection_correlation"].value > 0.7
    assert estimates["projection_correlation_gain"].low > 0.3
    assert estimates["projection_correlation_gain"].n == 12
    assert estimates["projection_correlation_p"].value < 0.01


def test_marks_at_one_place_show_no_gain_over_others(bright, probe):
    split = bright.split("val")
    split._images[:] = 0
    for i in range(30):
        split._images[i, 10, 10, i % 3] = 250
    estimates = study(small(measured=6), inputs_of(bright, probe)).estimates
    assert estimates["projection_correlation"].value > 0.7
    assert abs(estimates["projection_correlation_gain"].value) < 1e-6
    assert estimates["field_share"].value == 3 / 16
    assert estimates["projection_correlation_p"].value > 0.5


def test_a_projection_lies_at_its_mark(bright, probe):
    rows = np.array([4, 8])
    down = projections(inputs_of(bright, probe), rows, 1, rows % 3)
    for i, row in enumerate(rows.tolist()):
        y, x = 2 + row % 10, 3 + row % 7
        assert down[i, :, :, row % 3][y - 1 : y + 2, x - 1 : x + 2].any()
        down[i, y - 1 : y + 3, x - 2 : x + 3] = 0
        assert not down[i].any()


# ---------------------------------------------------------------------------------- other images
def test_the_strongest_other_images_are_the_map_s_and_never_the_image(bright, probe, monkeypatch):
    split = bright.split("val")
    for i in range(30):  # brighter from image to image
        split._images[i][split._images[i] > 0] = 200 + i
    monkeypatch.setattr(occlusion, "OTHERS", 2)
    inputs = inputs_of(bright, probe)
    hidden = hidden_of(inputs, small(ids=("class1/28.png", "class0/0.png")))
    assert hidden.maps["unit"].tolist() == [1, 0]
    table, arrays = other_images(inputs, hidden, 2)
    assert table.column("drawn") == [0, 0, 1, 1]
    assert table.column("class") == ["green", "green", "red", "red"]
    assert table.column("activation")[0] == 225  # image 25: 28 is the image itself
    assert table.column("activation")[2] == 227
    projection, patch = arrays["others_projections"][2], arrays["others_patches"][2]
    assert projection.shape == patch.shape == (3, 3, 3)
    assert patch[1, 1].tolist() == [227, 0, 0]
    assert projection[1, 1, 0] > 128


def test_a_map_that_nothing_else_excites_has_no_other_images(bright, probe):
    bright.split("val")._images[1:] = 0
    inputs = inputs_of(bright, probe)
    table, arrays = other_images(inputs, hidden_of(inputs, small(ids=("class0/0.png",))), 1)
    assert not table.rows
    assert not arrays


# ----------------------------------------------------------------------------------- sensitivity
def test_every_choice_has_its_row(bright, probe, monkeypatch):
    monkeypatch.setattr(occlusion, "VARIED_IMAGES", 2)
    changes = (("stride", 56), ("size", 84), ("size", 14), ("size", 56), ("fill", "mean"),
               ("layer", 5), ("layer", 7))  # fmt: skip
    monkeypatch.setattr(occlusion, "VARIED", changes)
    inputs = inputs_of(bright, probe)
    hidden = hidden_of(inputs, SMALL)
    rows = sensitivity(inputs, hidden).records()
    # what is as measured already gives no row, nor a layer that the net does not have
    assert [(row["choice"], row["setting"]) for row in rows] == [
        ("measured", None), ("ranks", None), ("whole_map", None), ("stride", 56), ("size", 84),
        ("size", 14), ("fill", "mean"), ("layer", 5),
    ]  # fmt: skip
    first, by_rank, *_ = rows
    assert first["worst_drop"] == pytest.approx(hidden.numbers["worst_drop"][:2].mean())
    assert first["projection_correlation"] == pytest.approx(hidden.table.diagonal()[:2].mean())
    assert by_rank["projection_correlation"] != pytest.approx(first["projection_correlation"])
    assert [(row["size_px"], row["stride_px"]) for row in rows[3:6]] == [(4, 4), (6, 2), (2, 2)]


# --------------------------------------------------------------------------------------- telling
@pytest.fixture
def saved(bright, probe, root, tmp_path):
    """Saves a measurement, by default that of three images with the first drawn."""
    measured = study(small(images=1), inputs_of(bright, probe))

    def results(measurement=measured, **estimates):
        changed = replace(measurement, estimates={**measurement.estimates, **estimates})
        save(changed, tmp_path / "occlusion", tmp_path / "occlusion.json")
        return Results(tmp_path / "occlusion", root)

    return results


def test_every_drawn_image_has_its_sheet_and_all_have_one_figure(saved):
    results = saved()
    figures = telling.figures(results)
    assert [figure.name for figure in figures] == [telling.CARD, "per_image"]
    sheet = figures[0].draw()
    assert any("in its strongest other images" in text.get_text() for text in sheet.texts)
    assert len(figures[1].draw().axes) == 2
    for name, shown in telling.tables(results).items():
        assert all(len(row) == len(shown.headings) for row in shown.rows(results.tables[name]))


def test_a_net_without_deconvnet_goes_without_panel_c(saved, bright, probe):
    probe.model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.GELU(), nn.Flatten())
    probe.model.append(nn.Linear(3 * 256, 3)).eval()
    probe.taps = {"1.relu": "1"}
    result = study(small(images=1), inputs_of(bright, probe))
    assert "projection_correlation" not in result.estimates
    assert "worst_drop" in result.estimates
    assert "projections" not in result.arrays
    results = saved(result)
    sheet, per_image = telling.figures(results)
    assert "(c)" not in sheet.caption
    assert sheet.draw()
    assert len(per_image.draw().axes) == 1
    words = page("occlusion", results)
    assert "Gelu" in words
    assert "None" not in words


@pytest.mark.parametrize(("low", "rests"), [(0.1, True), (-0.1, False)])
def test_the_page_answers_by_the_interval(saved, low, rests):
    gap = Estimate(0.2, low, 0.3, 2)
    words = page("occlusion", saved(inside_minus_outside=gap))
    assert ("do not show that the answer" in words) != rests
    assert text(gap, places=3) in words
    assert not {"None", "nan"} & {*words.split()}


def test_the_row_shows_the_worst_place_the_map_and_the_classes():
    places, p = np.array([0, 4, 8, 12]), np.full((1, 4, 4), 0.9)
    p[0, 1, 2] = 0.2
    maps = {"rows": places, "cols": places, "probability": p, "label": p < 0.5, "activity": 10 * p,
            "unit": np.array([7]), "clean_probability": np.array([0.9]),
            "clean_label": np.array([1]), "clean_activity": np.array([9.0])}  # fmt: skip
    image, down = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 128, np.uint8)
    given = {"image": image, "classes": ["red", "blue"], "layer": 5, "output": 1}
    assert len(telling.row_panels(maps, 0, 4, **given)) == 4
    panels = telling.row_panels(maps, 0, 4, box=(1, 2, 3, 4), projection=down, **given)
    view, activity, projection, probability, label = panels
    assert view.occluder == (4, 8, 8, 12)
    assert projection.frame
    assert activity.title == "(b) layer 5, map 7"
    assert activity.ys.tolist() == [2, 6, 10, 14]
    assert probability.title == "(d) p(blue)"
    assert np.array_equal(probability.values, p[0])
    assert label.first == 1
    assert all(panel.box == (1, 2, 3, 4) for panel in (view, activity, probability, label))
