import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zfnet.errors import UserError
from zfnet.figures.kit.grid import ZERO, signed_to_rgb
from zfnet.methods.gradients import deconvnet
from zfnet.studies import features
from zfnet.studies.features import (
    Options,
    Projector,
    _directions,
    chance_purity,
    choose_maps,
    first_filters,
    scan,
    sheet_columns,
    study,
)
from zfnet.studies.base import Inputs
from zfnet.studies.result import load_result, save_result

ONE = Options(layers=(1,), top_k=4, batch_size=8, figure_maps={1: 4})


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("ZFNET_PROGRESS", "0")


def inputs_of(marks, probe):
    return Inputs(marks, "val", probe, torch.device("cpu"))


def test_the_strongest_are_the_brightest_marks_at_their_places(marks, probe):
    (layer,) = scan(inputs_of(marks, probe), ONE, seed=0)
    assert layer.rows[:3].tolist() == [[27, 24, 21, 18], [28, 25, 22, 19], [29, 26, 23, 20]]
    assert layer.values[0].tolist() == [87.0, 84.0, 81.0, 78.0]
    assert layer.places[0, 0].tolist() == [2 + 27 % 10, 3 + 27 % 7]
    assert layer.boxes[0, 0].tolist() == [8, 8, 11, 11]
    assert layer.size == (3, 3)
    assert layer.canvas == (3, 3)


def test_dead_maps_are_told_and_purity_is_that_of_the_classes(marks, probe):
    (layer,) = scan(inputs_of(marks, probe), ONE, seed=0)
    assert layer.active.tolist() == [True, True, True, False]
    assert layer.purity[:3].tolist() == [1.0, 1.0, 1.0]
    metrics = study(Inputs(marks, "val", probe), ONE).metrics
    assert metrics["layer1_dead_maps"].value == 1
    assert metrics["layer1_purity"].value == 1.0
    assert metrics["layer1_purity"].n == 3


def test_purity_has_the_digits_of_a_count(marks, probe):
    labels = np.random.default_rng(0).integers(3, size=30)
    inputs = inputs_of(marks, probe)
    inputs.labels = labels
    (layer,) = scan(inputs, Options(layers=(1,), top_k=9, batch_size=8), seed=0)
    counts = [np.bincount(labels[rows]).max() / 9 for rows in layer.rows]
    assert layer.purity.tolist() == counts


def test_purity_of_random_directions_is_that_of_their_strongest_images(marks, probe):
    """An image of colour c scores v[c] times its brightness, or 0 (the dark) where v[c] < 0."""
    inputs = inputs_of(marks, probe)
    for top_k in (4, 12):
        options = replace(ONE, top_k=top_k, directions=20)
        (layer,) = scan(inputs, options, seed=3)
        vectors = _directions(inputs, {1: "relu"}, options, 3)["relu"].numpy()
        assert vectors.shape == (20, 4)
        assert np.allclose((vectors**2).sum(1), 1)
        expected = []
        for vector in vectors:
            scores = np.maximum(vector[inputs.labels], 0) * (60 + np.arange(30))
            best = np.argsort(-scores, kind="stable")[:top_k]
            if scores[best[-1]] > 0:  # one colour alone excites no twelve images
                expected.append(np.bincount(inputs.labels[best]).max() / top_k)
        assert 5 < len(expected) < (21 if top_k == 4 else 20)
        assert top_k == 4 or len(set(expected)) > 1
        assert layer.direction_purity.tolist() == expected
        assert layer.maps == 4


def test_random_directions_are_seeded_and_leave_the_maps_as_they_are(marks, probe):
    inputs = inputs_of(marks, probe)
    layers = [
        scan(inputs, replace(ONE, top_k=12, directions=count), seed)[0]
        for count, seed in ((0, 0), (9, 0), (9, 0), (9, 1))
    ]
    assert len(layers[0].direction_purity) == 0
    assert layers[1].direction_purity.tolist() == layers[2].direction_purity.tolist()
    assert layers[1].direction_purity.tolist() != layers[3].direction_purity.tolist()
    for layer in layers:
        assert np.array_equal(layer.values, layers[0].values)
        assert np.array_equal(layer.rows, layers[0].rows)


def test_random_directions_are_set_beside_maps_and_chance(marks, probe):
    result = study(inputs_of(marks, probe), replace(ONE, directions=9))
    measured = result.metrics["layer1_purity_directions"]
    maps, chance = result.metrics["layer1_purity"].value, result.metrics["purity_chance"].value
    assert measured.low <= measured.value <= measured.high
    assert measured.n <= 9
    said = f"{maps:.2f} for single maps and {measured.value:.2f} for 9 random directions"
    assert said in result.text
    assert f"give {chance:.2f}" in result.text
    table = result.tables["layers"]
    (row,) = table.rows
    assert row[table.columns.index("purity directions")] == measured.value
    without = study(inputs_of(marks, probe), replace(ONE, directions=0))
    assert "directions" not in without.text
    assert "layer1_purity_directions" not in without.metrics
    assert len(without.tables["layers"].columns) == len(without.tables["layers"].rows[0]) == 9


@pytest.mark.parametrize(
    ("split", "provenance", "said"),
    [
        ("val", {}, "None of them was trained on."),
        ("train", {}, "These images were trained on."),
        ("val", {"adopted": "w.pth"}, "trained elsewhere: whether these images were among"),
    ],
)
def test_it_is_told_whether_the_images_were_trained_on(marks, probe, split, provenance, said):
    probe.provenance = provenance
    text = study(Inputs(marks, split, probe), replace(ONE, split=split)).text
    assert said in text
    assert ("None of them was trained on" in text) == (split == "val" and not provenance)


def test_a_projection_is_the_filter_cut_to_the_field(marks, probe):
    inputs = inputs_of(marks, probe)
    (layer,) = scan(inputs, ONE, seed=0)
    (block,) = Projector(inputs, layer, Options(top_k=4, batch_size=64)).blocks()
    assert block.shape == (4, 4, 3, 3, 3)
    weights = probe.model.conv.weight[0].detach().permute(1, 2, 0).numpy()
    assert np.array_equal(block[0, 0], signed_to_rgb(weights * 87))
    assert (block[3] == ZERO).all()  # dead in, grey out


def test_blocks_and_scales_stream_in_the_maps_order(marks, probe):
    inputs = inputs_of(marks, probe)
    (layer,) = scan(inputs, ONE, seed=0)
    projector = Projector(inputs, layer, Options(top_k=4, batch_size=8))
    blocks = list(projector.blocks())
    assert [len(block) for block in blocks] == [2, 2]
    (scales,) = projector.all_scales()
    assert scales.shape == (4, 4)
    assert scales[0].tolist() == [87.0, 84.0, 81.0, 78.0]
    assert (scales[3] == 0).all()


def test_patches_show_what_the_field_sees(marks, probe):
    inputs = inputs_of(marks, probe)
    (layer,) = scan(inputs, ONE, seed=0)
    patch = Projector(inputs, layer, ONE).patches(1)[0]
    assert patch[1, 1].tolist() == [0, 88, 0]
    assert patch.sum() == 88


def test_a_field_at_the_border_stays_in_its_place(marks, probe):
    images = marks.split("val")._images
    images[27] = 0
    images[27, 2, 2, 0] = 255  # top left of the net's view
    inputs = inputs_of(marks, probe)
    (layer,) = scan(inputs, ONE, seed=0)
    assert layer.rows[0, 0] == 27
    assert layer.boxes[0, 0].tolist() == [0, 0, 2, 2]
    assert layer.corners[0, 0].tolist() == [0, 0]  # the window moves inwards
    projector = Projector(inputs, layer, ONE)
    patch = projector.patches(0)[0]
    assert patch[0, 0].tolist() == [255, 0, 0]
    assert (patch[:2, :2, 1:] == 0).all()
    assert (patch[2] > 0).all()  # pale: not in the field
    crop = projector.shown()[0][0]
    assert crop[0, 0, 0] == 255
    assert (crop[2] == ZERO).all()
    assert (crop[:, 2] == ZERO).all()


def test_random_choice_is_seeded_takes_dead_maps_and_active_does_not(marks, probe):
    (layer,) = scan(inputs_of(marks, probe), ONE, seed=0)
    all_four = Options(layers=(1,), figure_maps={1: 4})
    assert choose_maps(layer, all_four, 0) == (0, 1, 2, 3)
    active = Options(layers=(1,), figure_maps={1: 4}, choose="active")
    assert choose_maps(layer, active, 0) == (0, 1, 2)
    strongest = Options(layers=(1,), figure_maps={1: 1}, choose="strongest")
    assert choose_maps(layer, strongest, 0) == (2,)
    two = Options(layers=(1,), figure_maps={1: 2})
    assert choose_maps(layer, two, 5) == choose_maps(layer, two, 5)
    assert len({choose_maps(layer, two, seed) for seed in range(20)}) > 1


def test_the_most_specific_maps_are_the_purest_ones_that_are_active(marks, probe):
    inputs = inputs_of(marks, probe)
    inputs.labels = np.array([0 if i % 3 == 1 else i % 2 for i in range(30)])  # green: all class 0
    (layer,) = scan(inputs, ONE, seed=0)
    assert layer.purity[1] == 1.0
    assert max(layer.purity[0], layer.purity[2]) < 1.0
    for seed in range(5):
        one = Options(layers=(1,), figure_maps={1: 1}, choose="specific")
        assert choose_maps(layer, one, seed) == (1,)
        assert choose_maps(layer, replace(one, figure_maps={1: 9}), seed) == (0, 1, 2)


def test_equally_specific_maps_are_chosen_by_seed(marks, probe):
    (layer,) = scan(inputs_of(marks, probe), ONE, seed=0)
    two = Options(layers=(1,), figure_maps={1: 2}, choose="specific")
    assert choose_maps(layer, two, 5) == choose_maps(layer, two, 5)
    assert len({choose_maps(layer, two, seed) for seed in range(20)}) > 1


def test_named_maps_keep_their_order_and_other_layers_their_random_subset(marks, deeper):
    inputs = inputs_of(marks, deeper)
    counts = {1: 2, 2: 2}
    named = Options(layers=(1, 2), top_k=4, figure_maps=counts, choose="named", maps={2: (3, 0, 3)})
    plain = replace(named, choose="random", maps={})
    one, two = scan(inputs, named, seed=0)
    assert two.shown == (3, 0)
    assert one.shown == scan(inputs, plain, seed=0)[0].shown
    told = {figure.name: figure.caption for figure in study(inputs, named).figures}
    assert "those that the config names" in told["layer2"]
    assert "a seeded random subset" in told["layer1"]
    with pytest.raises(UserError, match="layer 2 has no map 4; it has 4"):
        scan(inputs, replace(named, maps={2: (4,)}), seed=0)


def test_every_map_can_be_browsed_where_the_figure_shows_some(marks, deeper, monkeypatch):
    inputs = inputs_of(marks, deeper)
    some = Options(layers=(1, 2), top_k=4, batch_size=8, figure_maps={2: 1})
    result = study(inputs, some)
    sheets = [figure for figure in result.figures if figure.name.startswith("all_")]
    assert [sheet.name for sheet in sheets] == ["all_layer2"]  # layer 1 shows all as it is
    assert result.extra["groups"] == [
        {"title": "All maps", "figures": ["all_layer2"], "folded": True}
    ]
    assert "all 4 maps" in sheets[0].caption
    drawn = sheets[0].draw()
    assert drawn.width < 1400
    monkeypatch.setattr(features, "SHEET_MAPS", 3)
    paged = [figure.name for figure in study(inputs, some).figures]
    assert paged[-2:] == ["all_layer2_1", "all_layer2_2"]
    without = study(inputs, replace(some, all_maps=False))
    assert "groups" not in without.extra
    assert not any(figure.name.startswith("all_") for figure in without.figures)


COLOUR = replace(ONE, batch_size=32, spread="colour")


def test_marks_alike_up_to_brightness_have_no_spread_until_their_surroundings_differ(marks, probe):
    """A map's marks differ in brightness alone, and so do their projections, one filter."""
    metrics = study(inputs_of(marks, probe), COLOUR).metrics
    assert metrics["layer1_spread_projections"].value == 0
    assert metrics["layer1_spread_patches"].value == 0
    assert metrics["layer1_spread_patches"].n == 3
    rng = np.random.default_rng(0)
    images = marks.split("val")._images
    images[images == 0] = rng.integers(0, 25, (images == 0).sum())
    noisy = study(inputs_of(marks, probe), COLOUR)
    assert noisy.metrics["layer1_spread_projections"].value == 0
    difference = noisy.metrics["layer1_spread_difference"]
    assert 0 < difference.low <= difference.value == noisy.metrics["layer1_spread_patches"].value
    assert "Layer 1 is left out" in noisy.text
    assert np.isnan(noisy.metrics["spread_difference"].value)  # nothing but filters


def test_different_maps_are_the_measure_of_unrelated_pictures(marks, probe):
    """The three maps are one filter in three colours: unrelated in colour, the same in grey."""
    (layer,) = scan(inputs_of(marks, probe), COLOUR, seed=0)
    numbers = Projector(inputs_of(marks, probe), layer, COLOUR).measure(fixed=True, whole=True)
    projections, patches = numbers.means("unrelated", "colour")
    assert min(projections, patches) > 0.9
    assert numbers.means("unrelated", "grey") == [0, 0]
    assert len(numbers.pairs("colour")) == 3
    assert len(numbers.pairs("grey")) == 0


def test_the_support_is_that_of_the_filter(marks, probe):
    """A filter of 1, ±0.5 and ±0.25: its cross needs the whole 3 px for 90 % of its energy."""
    metrics = study(inputs_of(marks, probe), ONE).metrics
    assert metrics["layer1_support_px"].value == 3
    assert metrics["layer1_support_share"].value == 1
    half = study(inputs_of(marks, probe), replace(ONE, energy=0.5)).metrics
    assert half["layer1_support_px"].value == 1


def test_fields_too_large_for_the_input_make_no_claims(marks, deeper):
    options = replace(ONE, layers=(1, 2), field_limit=0.25)  # 3 of 16 px, then 5
    result = study(inputs_of(marks, deeper), options)
    assert result.extra["no_claims"] == [2]
    assert "no claim" in result.metrics["layer2_support_px"].note
    assert [row[1] for row in result.tables["spread"].rows] == [True, False]
    assert "Grey ground" in {f.name: f.caption for f in result.figures}["by_layer"]
    free = study(inputs_of(marks, deeper), replace(options, field_limit=0.75))
    assert free.extra["no_claims"] == []
    assert free.metrics["spread_difference"].n > 0


def test_what_does_not_fit_in_memory_is_projected_twice_with_the_same_result(
    marks, deeper, tmp_path, monkeypatch
):
    projected = []

    def counting(model, images, *given, **options):
        projected.append(len(images))
        return deconvnet(model, images, *given, **options)

    monkeypatch.setattr(features, "deconvnet", counting)
    options = replace(ONE, layers=(2,))
    for name, room in (("kept", 2**30), ("twice", 10)):
        monkeypatch.setattr(features, "KEPT_BYTES", room)
        save_result(study(inputs_of(marks, deeper), options), tmp_path / name, tmp_path / "m.json")
        assert sum(projected) == (16 if name == "kept" else 48)
    for file in (tmp_path / "kept").rglob("*.*"):
        assert (
            file.read_bytes()
            == (tmp_path / "twice" / file.relative_to(tmp_path / "kept")).read_bytes()
        )


def test_the_papers_arrangement():
    counts = Options().figure_maps
    assert [(sheet_columns(n, counts[n]), -(-counts[n] // sheet_columns(n, counts[n])))
            for n in (2, 3, 4, 5)] == [(4, 4), (4, 3), (2, 5), (2, 5)]  # fmt: skip


def test_filters_are_shown_for_the_first_convolution_only(marks, probe):
    (layer,) = scan(inputs_of(marks, probe), ONE, seed=0)
    filters = first_filters(probe, layer)
    assert filters is not None
    assert filters.shape == (4, 3, 3, 3)
    probe.model.conv = torch.nn.Conv2d(6, 4, 3)
    assert first_filters(probe, layer) is None


def test_filters_are_shown_in_any_order_of_layers(marks, deeper):
    for layers, filters in (((1, 2), True), ((2, 1), True), ((2,), False)):
        options = replace(ONE, layers=layers, figure_maps={})
        figures = study(Inputs(marks, "val", deeper), options).figures
        names = [f"layer{number}" for number in layers] + ["layer1_filters"] * filters
        names.append("by_layer")
        assert [figure.name for figure in figures] == names
        told = {figure.name: figure.caption for figure in figures}
        assert "deconvnet" in told["layer2"]
        assert not filters or "the map's filter" in told["layer1"]


def test_chance_of_purity():
    assert chance_purity(np.zeros(20, np.int64), 9, 0) == 1.0
    # two images of two equally common classes: same or not, 9/19 to 10/19
    halves = np.arange(20) % 2
    assert chance_purity(halves, 2, 0) == pytest.approx(0.5 + 0.5 * 9 / 19, abs=0.01)


def test_images_of_one_seeded_sample(marks, probe):
    one, two = (
        Inputs(marks, "val", probe, torch.device("cpu"), max_images=10, seed=s).rows for s in (0, 1)
    )
    assert len(one) == 10
    assert one.tolist() == sorted(one.tolist())
    assert one.tolist() != two.tolist()


def test_small_images_are_enlarged_to_the_input(marks, probe):
    probe.input_px = probe.normalise.input_px = 40
    probe.normalise.mean = torch.zeros(3, 40, 40)
    inputs = inputs_of(marks, probe)
    assert inputs.view.factor == 2.0
    assert inputs.batch(np.array([0])).shape == (1, 3, 40, 40)


def test_result_is_whole_and_its_bytes_repeat(marks, probe, tmp_path):
    for name in ("one", "two"):
        result = study(Inputs(marks, "val", probe), ONE, seed=1)
        save_result(result, tmp_path / name, tmp_path / f"{name}.json")
    told = load_result(tmp_path / "one")
    assert told["paper"] == "Fig. 2"
    assert [figure["name"] for figure in told["figures"]] == [
        "layer1",
        "layer1_filters",
        "by_layer",
    ]
    assert told["arrays"]["layer1_projections"]["shape"] == [4, 4, 3, 3, 3]
    assert told["arrays"]["layer1_scales"]["shape"] == [4, 4]
    filters = np.load(told["arrays"]["layer1_filters"]["path"])
    scales = np.load(told["arrays"]["layer1_filter_scales"]["path"])
    weights = probe.model.conv.weight.detach().permute(0, 2, 3, 1).numpy()
    again = (filters.astype(float) - 128) / 127 * scales[:, None, None, None]
    assert again == pytest.approx(weights, abs=1 / 254)
    assert told["extra"]["layers"]["1"]["dead"] == [3]
    assert len(told["tables"]["maps"]["rows"]) == 4
    names = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(names) > 8
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_the_figure_does_not_need_the_arrays_first(marks, probe, tmp_path):
    early = study(Inputs(marks, "val", probe), ONE).figures[0].draw()
    late = study(Inputs(marks, "val", probe), ONE)
    save_result(late, tmp_path, tmp_path / "m.json")
    assert early.tobytes() == late.figures[0].draw().tobytes()


def test_a_figure_drawn_alone_projects_no_more_than_a_batch(marks, probe, monkeypatch):
    projected = []

    def counting(model, images, *given, **options):
        projected.append(len(images))
        return deconvnet(model, images, *given, **options)

    monkeypatch.setattr(features, "deconvnet", counting)
    inputs = inputs_of(marks, probe)
    (layer,) = scan(inputs, ONE, seed=0)
    crops = Projector(inputs, layer, ONE).shown()
    assert list(crops) == [0, 1, 2, 3]
    assert projected == [8, 8]


def test_faulty_options_are_named(marks, probe):
    for wrong, message in (
        ({"choose": "best"}, "study.features.choose=best"),
        ({"lrn": "none"}, "study.features.lrn=none"),
        ({"top_k": 0}, "study.features.top_k=0"),
        ({"layers": ()}, "study.features.layers"),
        ({"directions": -1}, "study.features.directions=-1"),
        ({"spread": "hue"}, "study.features.spread=hue"),
        ({"energy": 0.0}, "study.features.energy=0.0"),
        ({"field_limit": 1.5}, "study.features.field_limit=1.5"),
        ({"choose": "named"}, "choose=named with maps={}"),
        ({"maps": {1: (0,)}}, "choose=random with maps"),
        ({"choose": "named", "maps": {9: (0,)}}, "names layer 9"),
    ):
        with pytest.raises(UserError, match=message):
            Options(**wrong)
    with pytest.raises(UserError, match="holds only 30 images"):
        study(Inputs(marks, "val", probe), Options(layers=(1,), top_k=31))
    with pytest.raises(UserError, match=r"no tap 4\.relu"):
        study(Inputs(marks, "val", probe), Options(layers=(4,)))


def test_the_stage_reads_only_what_it_declares(marks, probe, tmp_path, monkeypatch):
    from zfnet.pipeline.compose import StageConfig
    from zfnet.studies import base as inputs

    section = {
        "layers": [1], "top_k": 4, "tap": "relu", "figure_maps": {"1": 2}, "choose": "random",
        "split": "val", "batch_size": 8, "lrn": "identity", "directions": 3,
        "max_images": None, "maps": {}, "all_maps": True, "spread": "grey", "min_overlap": 0.25,
        "energy": 0.9, "field_limit": 0.75,
    }  # fmt: skip
    whole = {
        "seed": 7, "device": "cpu", "data": {"size": 20},
        "study": {"features": section, "occlusion": {"size": 3}},
    }  # fmt: skip
    monkeypatch.setattr(inputs, "load_net", lambda folder: probe)
    monkeypatch.setattr(inputs.Prepared, "open", lambda folder: marks)
    cfg = StageConfig(whole, ["study.features", "seed", "device"], "features")
    result = features.run(cfg, SimpleNamespace(net=tmp_path, prepared=tmp_path))
    assert result.seed == 7
    assert len(result.extra["layers"]["1"]["shown"]) == 2
    assert result.extra["spread"] == "grey"
    section |= {"choose": "named", "maps": {"1": [3, 0]}}
    cfg = StageConfig(whole, ["study.features", "seed", "device"], "features")
    named = features.run(cfg, SimpleNamespace(net=tmp_path, prepared=tmp_path))
    assert named.extra["layers"]["1"]["shown"] == [3, 0]
    json.dumps(result.extra)
