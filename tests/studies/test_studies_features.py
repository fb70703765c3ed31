import numpy as np
import pytest
import torch
from answered import read_back

from zfnet import results
from zfnet.data.signed import ZERO, signed_to_rgb
from zfnet.errors import UserError
from zfnet.figures import features as telling
from zfnet.figures.kit.show import to_image
from zfnet.pipeline.studies import Features
from zfnet.report.study import est
from zfnet.studies import feature_numbers, features
from zfnet.studies.base import Inputs
from zfnet.studies.features import (
    chance_purity,
    choose_maps,
    project_layer,
    rotation,
    rotations,
    scan,
    study,
)

FOUR = {"layers": (1,), "top_k": 4, "figure_maps": {1: 4}}
ONE = Features(**FOUR)


def inputs_of(marks, net):
    return Inputs(marks, "val", net, torch.device("cpu"))


def chosen(layer, **options):
    return choose_maps(1, layer.values, layer.purity, Features(layers=(1,), **options))


def test_the_strongest_are_the_brightest_marks_at_their_places(marks, probe):
    (layer,) = scan(inputs_of(marks, probe), ONE)
    assert layer.rows[:3].tolist() == [[27, 24, 21, 18], [28, 25, 22, 19], [29, 26, 23, 20]]
    assert layer.values[0].tolist() == [87.0, 84.0, 81.0, 78.0]
    assert layer.places[0, 0].tolist() == [2 + 27 % 10, 3 + 27 % 7]
    assert layer.windows.boxes[0, 0].tolist() == [8, 8, 11, 11]
    assert layer.windows.reach.size == (3, 3)
    assert layer.windows.canvas == (3, 3)


def test_dead_maps_are_counted_and_purity_is_that_of_the_classes(marks, probe):
    (layer,) = scan(inputs_of(marks, probe), ONE)
    assert layer.dead.tolist() == [False, False, False, True]
    assert layer.purity[:3].tolist() == [1.0, 1.0, 1.0]
    measured = study(inputs_of(marks, probe), ONE)
    purity = measured.estimates["layer1_purity"]
    assert (measured.estimates["layer1_dead_maps"].value, purity.value, purity.n) == (1, 1, 3)
    assert measured.facts["layers"]["1"]["dead"] == [3]
    rows = measured.tables["maps"].records()
    assert [(row["class"], row["of_class"], row["active"]) for row in rows] == [
        ("red", 4, 4), ("green", 4, 4), ("blue", 4, 4), (None, 0, 0),
    ]  # fmt: skip


def test_purity_of_directions_is_that_of_their_strongest_images(marks, probe, monkeypatch):
    """An image of colour c scores v[c] times its brightness, or 0 (the dark) where v[c] < 0."""
    inputs, expected, lists = inputs_of(marks, probe), [], []
    vectors = np.random.default_rng(5).standard_normal((4, 4))
    monkeypatch.setattr(features, "rotation", lambda size, rng: vectors)
    (layer,) = scan(inputs, Features(layers=(1,), top_k=12, seed=3))
    for vector in vectors:
        scores = np.maximum(vector[inputs.labels], 0) * (60 + np.arange(30))
        best = np.argsort(-scores, kind="stable")[:12]
        if scores[best[-1]] > 0:  # one colour alone excites no twelve images
            expected.append(np.bincount(inputs.labels[best]).max() / 12)
            lists.append(best.tolist())
    assert 1 < len(expected) < 4
    assert layer.directions.tolist() == expected
    assert layer.direction_rows.tolist() == lists
    assert len(layer.values) == 4


def test_a_rotation_turns_lengths_and_angles_into_themselves_and_prefers_no_axis():
    turned = [rotation(5, np.random.default_rng(seed)) for seed in range(400)]
    for one in turned:
        assert one @ one.T == pytest.approx(np.eye(5), abs=1e-12)
    # QR alone leaves the diagonal negative or positive by the library's choice
    assert np.abs(np.mean(turned, 0)).max() < 4 / np.sqrt(5 * 400)
    assert np.mean(np.square(turned), 0) == pytest.approx(np.full((5, 5), 0.2), abs=0.05)


def test_rotations_are_seeded_and_leave_the_maps_as_they_are(marks, probe, monkeypatch):
    inputs = inputs_of(marks, probe)
    one, again, other = (
        rotations(inputs, {1: "relu"}, Features(layers=(1,), seed=seed))["relu"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)
    assert one @ one.T == pytest.approx(np.eye(4), abs=1e-6)
    (layer,) = scan(inputs, ONE)
    monkeypatch.setattr(features, "rotation", lambda size, rng: np.eye(size))
    (same,) = scan(inputs, ONE)  # maps that are not turned are their own directions
    assert np.array_equal(same.values, layer.values)
    assert np.array_equal(same.direction_rows, layer.rows[layer.full])
    found = study(inputs, ONE).estimates
    assert found["layer1_directions_minus_units"].value == 0
    assert found["layer1_overlap_directions"] == found["layer1_overlap_units"]


def test_a_projection_is_the_filter_cut_to_the_field(marks, probe):
    inputs = inputs_of(marks, probe)
    (layer,) = scan(inputs, ONE)
    _, projections = project_layer(inputs, layer, fixed=True)
    assert projections.shape == (4, 4, 3, 3, 3)
    weights = probe.model.conv.weight[0].detach().permute(1, 2, 0).numpy()
    assert np.array_equal(projections[0, 0], signed_to_rgb(weights * 87))
    assert (projections[3] == ZERO).all()  # dead in, grey out


def test_groups_of_maps_of_any_size_give_the_same(marks, deeper, monkeypatch):
    inputs = inputs_of(marks, deeper)
    cfg = Features(layers=(2,), top_k=4)
    (layer,) = scan(inputs, cfg)
    _, whole = project_layer(inputs, layer, fixed=False)
    monkeypatch.setattr(features, "BATCH", 8)
    _, parts = project_layer(inputs, layer, fixed=False)
    assert whole.astype(int) == pytest.approx(parts.astype(int), abs=1)  # a scale's last bit


def test_random_choice_is_seeded_takes_dead_maps_and_active_does_not(marks, probe):
    (layer,) = scan(inputs_of(marks, probe), ONE)
    assert chosen(layer, figure_maps={1: 4}) == (0, 1, 2, 3)
    assert chosen(layer, figure_maps={1: 4}, choose="active") == (0, 1, 2)
    assert chosen(layer, figure_maps={1: 1}, choose="strongest") == (2,)
    assert len({chosen(layer, figure_maps={1: 2}, seed=seed) for seed in range(20)}) > 1


def test_the_most_specific_maps_are_the_purest_ones_that_are_active(marks, probe):
    inputs = inputs_of(marks, probe)
    inputs.labels = np.array([0 if i % 3 == 1 else i % 2 for i in range(30)])  # green: all class 0
    (layer,) = scan(inputs, ONE)
    assert layer.purity[1] == 1.0 > max(layer.purity[0], layer.purity[2])
    assert chosen(layer, figure_maps={1: 1}, choose="specific") == (1,)
    assert chosen(layer, figure_maps={1: 9}, choose="specific") == (0, 1, 2)
    layer.purity[:] = 1.0  # equally specific ones are chosen by seed
    picks = [chosen(layer, figure_maps={1: 2}, choose="specific", seed=s) for s in range(20)]
    assert len(set(picks)) > 1


def test_named_maps_keep_their_order_and_other_layers_their_random_subset(marks, deeper):
    inputs = inputs_of(marks, deeper)
    common = {"layers": (1, 2), "top_k": 4, "figure_maps": {1: 2, 2: 2}}
    measured = study(inputs, Features(**common, maps={2: (3, 0, 3)})).facts["layers"]
    assert measured["2"]["shown"] == [3, 0]
    assert [measured[number]["named"] for number in "12"] == [False, True]
    assert tuple(measured["1"]["shown"]) == scan(inputs, Features(**common))[0].shown
    with pytest.raises(UserError, match="layer 2 has no map 4; it has 4"):
        scan(inputs, Features(**common, maps={2: (4,)}))


def test_marks_alike_up_to_brightness_have_no_spread_until_their_surroundings_differ(marks, probe):
    """A map's marks differ in brightness alone, and so do their projections, one filter."""
    alike = study(inputs_of(marks, probe), ONE).tables["maps"].records()
    assert [row["spread_projections"] for row in alike[:3]] == [0, 0, 0]
    assert [row["spread_patches"] for row in alike[:3]] == [0, 0, 0]
    assert np.isnan(alike[3]["spread_patches"])  # dead
    rng = np.random.default_rng(0)
    images = marks.split("val")._images
    images[images == 0] = rng.integers(0, 25, (images == 0).sum())
    noisy = study(inputs_of(marks, probe), ONE)
    rows = noisy.tables["maps"].records()[:3]
    assert all(row["spread_projections"] == 0 < row["spread_patches"] for row in rows)
    assert np.isnan(noisy.estimates["spread_difference"].value)  # nothing but filters
    assert noisy.facts["judged"] == []


def test_different_maps_are_the_measure_of_unrelated_pictures(marks, probe):
    """The three maps are one filter in three colours: unrelated in colour, the same in grey."""
    inputs = inputs_of(marks, probe)
    (layer,) = scan(inputs, ONE)
    numbers, _ = project_layer(inputs, layer, fixed=True)
    assert min(numbers.means("unrelated", "colour")) > 0.9
    assert numbers.means("unrelated", "coarse").tolist() == [0, 0]
    assert len(numbers.pairs("colour")) == 3
    assert len(numbers.pairs("coarse")) == 0


def test_the_support_is_that_of_the_filter(marks, probe, monkeypatch):
    """A filter of 1, ±0.5 and ±0.25: its cross needs the whole 3 px for 90 % of its energy."""
    found = study(inputs_of(marks, probe), ONE).estimates
    assert found["layer1_support_px"].value == 3
    assert found["layer1_support_share"].value == 1
    monkeypatch.setattr(features, "ENERGY", 0.5)
    assert study(inputs_of(marks, probe), ONE).estimates["layer1_support_px"].value == 1


def test_fields_too_large_for_the_input_make_no_claims(marks, deeper, monkeypatch):
    cfg = Features(layers=(1, 2), top_k=4)
    assert study(inputs_of(marks, deeper), cfg).estimates["spread_difference"].n > 0
    monkeypatch.setattr(feature_numbers, "FIELD_LIMIT", 0.25)  # 3 of 16 px, then 5
    small = study(inputs_of(marks, deeper), cfg)
    assert small.facts["no_claims"] == [2]
    assert np.isnan(small.estimates["spread_difference"].value)  # layer 1 is its filters


@pytest.mark.parametrize(("layers", "filters"), [((1, 2), True), ((2, 1), True), ((2,), False)])
def test_filters_are_kept_in_any_order_of_layers(marks, deeper, layers, filters):
    measured = study(inputs_of(marks, deeper), Features(layers=layers, top_k=4))
    assert [f"layer{n}_filters" in measured.arrays for n in (1, 2)] == [filters, False]


def test_chance_of_purity():
    assert chance_purity(np.zeros(20, np.int64), 9, 0) == 1.0
    # two images of two equally common classes: same or not, 9/19 to 10/19
    halves = np.arange(20) % 2
    assert chance_purity(halves, 2, 0) == pytest.approx(0.5 + 0.5 * 9 / 19, abs=0.01)


def test_the_measurement_is_whole_and_its_bytes_repeat(marks, probe, tmp_path):
    for name in ("one", "two"):
        measured = study(inputs_of(marks, probe), ONE)
        results.save(measured, tmp_path / name, tmp_path / f"{name}.json")
    one = results.Results(tmp_path / "one", tmp_path)
    weights = probe.model.conv.weight.detach().permute(0, 2, 3, 1).numpy()
    scales = one.array("layer1_filter_scales")[:, None, None, None]
    again = (one.array("layer1_filters").astype(float) - ZERO) / 127 * scales
    assert again == pytest.approx(weights, abs=1 / 254)
    names = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(names) > 8
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_depends_on_data_or_net_is_refused_by_name(marks, probe):
    with pytest.raises(UserError, match="top_k=31: the split val has 30 images"):
        study(inputs_of(marks, probe), Features(layers=(1,), top_k=31))
    with pytest.raises(UserError, match=r"no tap 4\.relu"):
        study(inputs_of(marks, probe), Features(layers=(4,)))


# ---------------------------------------------------------------------------------------- telling
@pytest.fixture
def told(marks, deeper, place, monkeypatch):
    """A measurement of two layers, saved and read back, and its page."""
    monkeypatch.setattr(telling.Prepared, "open", lambda folder: marks)
    cfg = Features(layers=(1, 2), top_k=4, figure_maps={1: 4, 2: 2})
    results, _, words = read_back("features", study(inputs_of(marks, deeper), cfg), place)
    return results, words


def test_every_layer_has_its_figure_and_sheets_of_all_maps_where_some_are_drawn(told, monkeypatch):
    results, words = told
    monkeypatch.setattr(telling, "SHEET_MAPS", 3)
    figures = telling.figures(results)
    names = ["layer1", "layer2", "layer1_filters", "by_layer", "all_layer2_1", "all_layer2_2"]
    assert [figure.name for figure in figures] == names
    for figure in figures:
        assert to_image(figure.draw()).width < 1900
    for name, shown in telling.tables(results).items():
        assert all(len(row) == len(shown.headings) for row in shown.rows(results.tables[name]))
    assert est(results["spread_difference"]) in words
    assert not {"None", "nan"} & set(words.replace(",", " ").split())


def test_patches_are_the_windows_and_intervals_those_measured(told, marks):
    results, _ = told
    results.facts["no_claims"] = [2]
    layer = telling.LayerPictures(results, "1")
    row, (y, x) = int(layer.array("images")[3, 1]), layer.array("corners")[3, 1] + 2
    assert np.array_equal(layer.patches(3)[1], marks.split("val").image(row)[y : y + 3, x : x + 3])
    spread, *_ = telling.figures(results)[3].draw().axes
    measured = [results[f"layer{n}_spread_patches"] for n in (1, 2)]
    assert [one.value for one in measured] in [line.get_ydata().tolist() for line in spread.lines]
    bars = [bar.get_segments()[0][:, 1].tolist() for bar in spread.collections]
    assert [measured[1].low, measured[1].high] in bars
    assert len(spread.patches) == 1  # the ground of layer 2
