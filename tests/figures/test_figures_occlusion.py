"""Fig. 7 from a small made result: panels, strips, the page."""

import numpy as np
import pytest

from zfnet.figures import occlusion
from zfnet.figures.occlusion import row_panels
from zfnet.report.study import page
from zfnet.results import Measurement, Results, Table, save
from zfnet.stats.estimate import Estimate

PX = 16
PLACES = np.array([0, 4, 8, 12])


def maps(count):
    """p falls most at row 1, column 2."""
    probability = np.full((count, 4, 4), 0.9, np.float32)
    probability[:, 1, 2] = 0.2
    return {
        "rows": PLACES,
        "cols": PLACES,
        "probability": probability,
        "label": np.where(probability < 0.5, 1, 0),
        "activity": 10 * probability,
    }


def measured(**facts):
    """Two images measured, the first drawn."""
    columns = {
        "image": "0.png", "class": "red", "output": "red", "known": True, "p_clean": 0.9, "map": 7,
        "worst_drop": 0.7, "label_changed": 0.06, "activity_drop": 0.5, "drop_inside_box": 0.3,
        "drop_outside_box": 0.1, "projection_correlation": 0.8, "projection_correlation_other": 0.2,
    }  # fmt: skip
    choice = {
        "choice": "layer", "setting": 3, "images": 2, "size_px": 4, "stride_px": 4,
        "worst_drop": 0.7, "inside_minus_outside": 0.2, "projection_correlation": 0.8,
        "projection_correlation_other": 0.2, "projection_correlation_gain": 0.6,
        "projection_correlation_gain_low": 0.5, "projection_correlation_gain_high": 0.7,
        "field_share": 0.5,
    }  # fmt: skip
    arrays = {
        **maps(2),
        **{f"drawn_{name}": value for name, value in maps(1).items()},
        "unit": np.array([7, 7]),
        "outputs": np.array([0, 0]),
        "clean_probability": np.array([0.9, 0.9]),
        "clean_label": np.array([0, 0]),
        "clean_activity": np.array([9.0, 9.0]),
        "drawn_boxes": np.array([[1.0, 2, 9, 10]]),
        "drawn_pictures": np.zeros((1, PX, PX, 3), np.uint8),
        "projections": np.full((2, PX, PX, 3), 128, np.uint8),
        "others_projections": np.full((1, 3, 3, 3), 128, np.uint8),
        "others_patches": np.zeros((1, 3, 3, 3), np.uint8),
    }
    estimates = {
        "images": Estimate(2, unit="images"),
        "worst_drop": Estimate(0.7, 0.6, 0.8, 2),
        "label_changed": Estimate(0.06, 0.01, 0.1, 2),
        "activity_drop": Estimate(0.5, 0.4, 0.6, 2),
        "drop_inside_box": Estimate(0.3, 0.2, 0.4, 2),
        "drop_outside_box": Estimate(0.1, 0.0, 0.2, 2),
        "inside_minus_outside": Estimate(0.2, 0.1, 0.3, 2),
        "projection_correlation": Estimate(0.8, 0.7, 0.9, 2),
        "projection_correlation_other": Estimate(0.2, 0.1, 0.3, 2),
        "projection_correlation_gain": Estimate(0.6, 0.5, 0.7, 2),
        "projection_correlation_p": Estimate(0.001, n=2),
        "field_share": Estimate(1.2),
    }
    facts = {
        "split": "val", "input_px": PX, "size_px": 4, "stride_px": 4, "drawn_stride_px": 4,
        "fill": "grey", "fill_rgb": [128] * 3, "layer": 5, "drawn": 1,
        "named": False, "sure": 0.5, "less_sure": 1, "unknown_class": 0, "classes": ["red", "blue"],
        "field_limit": 0.75, "no_projection": "",
    } | facts  # fmt: skip
    tables = {
        "images": Table.of([columns, columns | {"image": "1.png", "drop_inside_box": None}]),
        "sensitivity": Table.of([choice]),
        "others": Table(["drawn", "map", "class", "activation"], [[0, 7, "red", 3.25]]),
    }  # fmt: skip
    return Measurement("zfnet", "5.relu", 0, estimates, tables, arrays, facts)


def results_of(measurement, folder, root):
    save(measurement, folder / "occlusion", folder / "m.json")
    return Results(folder / "occlusion", root)


def test_the_row_shows_the_worst_place_the_map_and_the_classes():
    arrays = maps(1) | {"unit": np.array([7])}
    arrays |= {f"clean_{name}": np.array([1]) for name in ("probability", "label", "activity")}
    given = {"image": np.zeros((PX, PX, 3), np.uint8), "classes": ["red", "blue"], "layer": 5}
    assert len(row_panels(arrays, 0, 4, output=1, **given)) == 4
    down = np.full((PX, PX, 3), 128, np.uint8)
    image, activity, projection, probability, label = row_panels(
        arrays, 0, 4, output=1, box=(1.0, 2.0, 3.0, 4.0), projection=down, **given
    )
    assert image.occluder == (4, 8, 8, 12)
    assert projection.frame
    assert activity.title == "(b) layer 5, map 7"
    assert activity.ys.tolist() == [2, 6, 10, 14]
    assert probability.title == "(d) p(blue)"
    assert np.array_equal(probability.values, arrays["probability"][0])
    assert label.first == 1
    assert all(panel.box == (1, 2, 3, 4) for panel in (image, activity, probability, label))


def test_every_drawn_image_has_its_sheet_and_all_have_one_figure(tmp_path, root):
    results = results_of(measured(), tmp_path, root)
    figures = occlusion.figures(results)
    assert [figure.name for figure in figures] == ["occlusion_1", "per_image"]
    assert occlusion.CARD == "occlusion_1"
    sheet = figures[0].draw()
    assert any("map 7 in its strongest other images" in text.get_text() for text in sheet.texts)
    assert len(figures[1].draw().axes) == 2
    shown = occlusion.tables(results)
    assert shown["sensitivity"].rows(results.tables["sensitivity"])[0][-2] == "0.60 [0.50, 0.70]"


def test_a_net_without_projections_has_panels_without_them(tmp_path, root):
    whole = measured(no_projection="GELU")
    for name in ("projections", "others_projections", "others_patches"):
        del whole.arrays[name]
    del whole.tables["others"]
    for name in [
        key for key in whole.estimates if key.startswith("projection") or key == "field_share"
    ]:
        del whole.estimates[name]
    results = results_of(whole, tmp_path, root)
    sheet, per_image = occlusion.figures(results)
    assert "(c)" not in sheet.caption
    assert sheet.draw() is not None
    assert len(per_image.draw().axes) == 1
    words = page("occlusion", results)
    assert "GELU" in words
    assert "None" not in words


@pytest.mark.parametrize(("low", "rests"), [(0.1, True), (-0.1, False)])
def test_the_page_answers_by_the_interval(tmp_path, root, low, rests):
    whole = measured()
    whole.estimates["inside_minus_outside"] = Estimate(0.2, low, 0.3, 2)
    words = page("occlusion", results_of(whole, tmp_path, root))
    assert ("do not show that the answer" in words) != rests
    for number in ("0.30 [0.20, 0.40]", "0.60 [0.50, 0.70]", "0.001", "1.2"):
        assert number in words
    assert "None" not in words
    assert "nan" not in words
