"""Fig. 8 and Table 1 from a small made result, with the paper's numbers."""

import numpy as np
import pytest

from zfnet.figures import correspondence
from zfnet.report.study import page
from zfnet.results import Measurement, Results, Table, save
from zfnet.stats.estimate import Estimate

PARTS = ["right_eye", "left_eye", "nose"]
PX = 32


def measured(gap=-0.03, **facts):
    estimates, rows = {}, []
    for layer in (5, 7):
        for name in (*PARTS, "random", "parts"):
            estimates[f"layer{layer}_{name}"] = Estimate(0.4, 0.35, 0.45, 20, df=3)
            row = {"layer": layer, "hidden": name, "delta": 0.4, "delta_low": 0.35,
                   "delta_high": 0.45, "spread": 0.05, "minus_random": None,
                   "minus_random_low": None, "minus_random_high": None, "p": None,
                   "unchanged": 0.5}  # fmt: skip
            if name != "random":
                estimates[f"layer{layer}_{name}_minus_random"] = Estimate(
                    gap, gap - 0.01, gap + 0.01
                )
                estimates[f"layer{layer}_{name}_p"] = Estimate(0.001, n=20)
            rows.append(row)
    estimates["gap_first_minus_last_layer"] = Estimate(0.01, -0.01, 0.03, 20)
    varied = [
        {"choice": choice, "setting": setting, "layer": layer, "gap": value,
         "gap_low": value, "gap_high": value, "p": 0.01, "images": 20}
        for choice, setting, value in (
            ("measured", None, -0.02), ("zeros", "both", -0.1), ("places", "shared", 0.01),
        )
        for layer in (5, 7)
    ]  # fmt: skip
    faces = [["0.png", "dog", 0, "", False], ["1.png", "dog", None, "few", None]]
    images = Table(["image", "class", "group", "excluded", "trained"], faces)
    facts = {
        "measured": True, "adopted": False, "input_px": PX, "size_px": 8, "draws": 10,
        "parts": PARTS, "layers": [5, 7], "pooled": False, "groups": 4, "group_size": 5,
        "min_groups": 4, "faces": 20, "classes": ["dog", "cat"], "excluded": {"few": 1},
        "field_limit": 0.75, "large_fields": [7], "drawn": ["0.png"],
    } | facts  # fmt: skip
    tables = {"table1": Table.of(rows), "sensitivity": Table.of(varied), "images": images}
    arrays = {
        "faces": np.full((1, PX, PX, 3), 200, np.uint8),
        "faces_corners": np.array([[[0, 0], [8, 8], [20, 20], [0, 20], [20, 0]]]),
    }
    return Measurement("zfnet", "5.out, 7.out", 0, estimates, tables, arrays, facts)


def results_of(measurement, folder, root):
    save(measurement, folder / "correspondence", folder / "m.json")
    return Results(folder / "correspondence", root)


def test_table_1_stands_with_the_papers(tmp_path, root):
    results = results_of(measured(), tmp_path, root)
    shown = correspondence.tables(results)
    assert list(shown) == ["table1", "sensitivity", "images"]
    rows = shown["table1"].rows(results.tables["table1"])
    assert [row[-1] for row in rows[:5]] == [
        "0.067 ± 0.007", "0.069 ± 0.007", "0.079 ± 0.017", "0.107 ± 0.017", "–",
    ]  # fmt: skip
    assert rows[8][-1] == "0.073 ± 0.014"
    assert shown["images"].rows(results.tables["images"])[1][2:] == [
        None, "fewer than five faces of its class", "not known",
    ]  # fmt: skip


def test_faces_and_chart_are_drawn(tmp_path, root):
    faces, chart = correspondence.figures(results_of(measured(), tmp_path, root))
    assert faces.name == correspondence.CARD
    picture = np.asarray(faces.draw())
    assert picture.shape[1] <= 1200
    assert (picture == 128).all(2).sum() > 1000  # the grey squares
    axes = chart.draw().axes
    assert [axis.get_title() for axis in axes] == ["layer 5", "layer 7"]


def test_each_hidden_square_is_outlined(tmp_path, root):
    made = measured(parts=["nose"])
    made.arrays["faces_corners"] = np.array([[[8, 16]]])
    sheet = np.asarray(correspondence.figures(results_of(made, tmp_path, root))[0].draw())
    ys, xs = np.nonzero((sheet[..., 0] > 200) & (sheet[..., 1] < 100))
    assert ys.min() - 44 == pytest.approx(220 * 8 / PX, abs=1)
    assert xs.min() - (220 + 6 + 16) == pytest.approx(220 * 16 / PX, abs=1)
    assert xs.max() - xs.min() == pytest.approx(220 * 8 / PX, abs=2)


@pytest.mark.parametrize(
    ("gap", "answer"), [(-0.03, "more similarly"), (0.03, "less similarly"), (0.0, "neither more")]
)
def test_the_page_answers_by_the_interval(tmp_path, root, gap, answer):
    words = page("correspondence", results_of(measured(gap), tmp_path, root))
    assert words.count(answer) == 2
    assert "1 of 2 at layer 5 and 1 of 2 at layer 7" in words
    assert "0.067, 0.069, 0.079 against 0.107" in words
    assert "None" not in words.replace("None of them was trained on", "")


def test_photos_and_their_training_set_are_told(tmp_path, root):
    more = {"photos": "mine.json", "photos_note": "by eye", "training_images": 90, "by_name": True}
    words = page("correspondence", results_of(measured(pooled=True, **more), tmp_path, root))
    assert "“by eye”" in words
    assert "90 training images" in words


@pytest.mark.parametrize(
    ("excluded", "told"), [({}, "study.correspondence.photos"), ({"few": 8}, "8 in classes")]
)
def test_where_nothing_was_measured_the_page_says_why(tmp_path, root, excluded, told):
    facts = measured(measured=False, excluded=excluded).facts
    results = results_of(Measurement("zfnet", "5.out", 0, facts=facts), tmp_path, root)
    assert not correspondence.figures(results)
    assert not correspondence.tables(results)
    assert told in page("correspondence", results)
