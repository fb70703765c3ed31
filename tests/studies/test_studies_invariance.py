from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from zfnet.errors import UserError
from zfnet.studies.base import Inputs
from zfnet.studies.invariance import chosen_examples, chosen_layers, chosen_rows, run, study
from zfnet.studies.invariance_numbers import (
    Bootstrap,
    Layers,
    Told,
    folded,
    peaks,
    slopes,
    straight_range,
    straightness,
)
from zfnet.studies.invariance_sweeps import (
    Curves,
    Options,
    Units,
    Views,
    coarse_steps,
    hidden,
    measure,
    sweeps,
    thinned,
    whole_pixels,
    whole_side,
)
from zfnet.studies.result import load_result, plain, save_result

SMALL = Options(
    images=3, max_images=12, coarse=1, layers=(1, 2), low=1, high=2,
    translation=6, translation_step=1, near_translation=2,
    scale_step=0.2, near_scale=0.2, rotation_step=30, near_rotation=30,
    neighbour=30, reference_px=16, fill="mean", sensitivity_images=6, batch_size=5,
)  # fmt: skip


def one_sweep(inputs, rows, sweep, paths, options=SMALL):
    return measure(inputs, rows, {sweep.name: sweep}, paths, options)[sweep.name]


def seen(inputs, rows, sweep, fill="mean", interpolation="bilinear"):
    """Raw pixels of all steps of a sweep (n, T, 3, px, px)."""
    views = Views(inputs, [sweep], fill, interpolation)
    made = views(whole_pixels(inputs, rows))
    raw = inputs.net.normalise.inverse(made.flatten(0, 1)).unflatten(0, made.shape[:2])
    return raw[:, torch.from_numpy(views.places[sweep.name])]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("ZFNET_PROGRESS", "0")


class Pooled(nn.Module):
    """Layer 1: the pixels. Layer 2: each colour's sum, which no move within the view changes."""

    def __init__(self):
        super().__init__()
        self.pixels = nn.ReLU()
        self.sums = nn.ReLU()

    def forward(self, x):
        return self.sums(self.pixels(x).sum((2, 3))) / 20


@pytest.fixture
def pooled():
    from zfnet.models.net import Net, Normalise

    return Net(
        model=Pooled().eval(),
        input_px=16,
        normalise=Normalise.mean_image(np.zeros((3, 16, 16), np.float32), 16),
        classes=["red", "green", "blue"],
        name="made",
        arch="made",
        taps={"1.out": "pixels", "2.out": "sums", "1.relu": "pixels"},
    )


@pytest.fixture
def bright(marks):
    """The marks made bright enough for the net to be sure of each."""
    split = marks.split("val")
    split._images[split._images > 0] = 200
    return marks


def test_a_layer_of_pixels_reacts_where_a_sum_does_not(bright, pooled):
    inputs = Inputs(bright, "val", pooled)
    rows = np.arange(6)
    sweep = sweeps(SMALL, 16, 20)["translation"]
    found = one_sweep(inputs, rows, sweep, ("pixels", "sums"))
    clean = sweep.clean
    assert sweep.x[clean] == 0
    assert (found.distance[:, clean] == 0).all()
    moved = np.abs(sweep.x) == 1
    np.testing.assert_allclose(found.distance[:, moved, 0], 200 * 2**0.5, rtol=1e-6)
    assert (found.distance[:, moved, 1] == 0).all()
    assert found.right[:, clean].all()
    # Two marks of one colour differ in their place alone, of two colours also in their sums.
    np.testing.assert_allclose(found.between[:, 0], 200 * 2**0.5, rtol=1e-6)
    np.testing.assert_allclose(found.between[:, 1], 200 * 2**0.5 * 4 / 5, rtol=1e-5)
    np.testing.assert_allclose(found.norm, 200)
    np.testing.assert_allclose(found.relative("others")[:, moved, 0], 1, rtol=1e-6)
    np.testing.assert_allclose(found.relative("norm")[:, moved, 0], 2**0.5, rtol=1e-6)
    assert found.relative("none") is found.distance


def test_a_mark_that_leaves_the_picture_takes_the_answer_along(bright, pooled):
    inputs = Inputs(bright, "val", pooled)
    sweep = sweeps(SMALL, 16, 20)["translation"]
    found = one_sweep(inputs, np.array([0]), sweep, ("pixels", "sums"))
    place = sweep.x.tolist().index  # the mark lies in row 2 of the view, four of the picture
    assert found.probability[0, place(-2)] == found.probability[0, place(0)] > 0.9
    assert found.probability[0, place(-3)] == pytest.approx(1 / 3)
    assert sweep.filled[place(-2)] == sweep.filled[place(2)] == 0  # two px of margin
    assert sweep.filled[place(3)] == pytest.approx(1 / 16)
    assert sweep.filled[place(-6)] == pytest.approx(4 / 16)


def test_views_without_change_are_the_inputs_own_pixels(marks, pooled):
    rng = np.random.default_rng(0)
    marks.split("val")._images[:] = rng.integers(0, 256, (30, 20, 20, 3), dtype=np.uint8)
    inputs = Inputs(marks, "val", pooled)
    rows = np.array([3, 1])
    made = sweeps(SMALL, 16, 20)
    for name in ("translation", "scale", "rotation"):
        for interpolation in ("bilinear", "bicubic"):
            for fill in ("mean", "grey", "replicate"):
                views = Views(inputs, [made[name]], fill, interpolation)
                clean = views(whole_pixels(inputs, rows), 0, 1)[:, 0]
                assert torch.equal(clean, inputs.batch(rows))
        assert made[name].filled[made[name].clean] == 0


def test_views_are_the_same_alone_and_among_others(marks, pooled):
    rng = np.random.default_rng(0)
    marks.split("val")._images[:] = rng.integers(0, 256, (30, 20, 20, 3), dtype=np.uint8)
    inputs = Inputs(marks, "val", pooled)
    views = Views(inputs, list(sweeps(SMALL, 16, 20).values()), "mean", "bilinear")
    assert views.count == 1 + 12 + 4 + 11 + 12
    assert views.groups == [(0, 28), (28, 40)]
    many = views(whole_pixels(inputs, np.arange(6)))
    for i in range(6):
        assert torch.equal(views(whole_pixels(inputs, np.array([i])), 3, 30)[0], many[i, 3:30])


def test_what_lies_beyond_the_picture_is_filled_as_asked(marks, pooled):
    pooled.normalise.mean = torch.full((3, 16, 16), 77.0)
    marks.split("val")._images[:] = 9
    inputs = Inputs(marks, "val", pooled)
    sweep = sweeps(SMALL, 16, 20)["translation"]
    top = {
        fill: float(seen(inputs, np.array([0]), sweep, fill)[0, -1, 0, 0, 0])
        for fill in ("mean", "grey", "replicate")
    }
    assert top == {"mean": 77, "grey": 128, "replicate": 9}


def test_views_are_normalised_as_the_net_has_it(marks, pooled):
    from zfnet.models.net import Normalise

    pooled.normalise = Normalise.standardise([0.4, 0.5, 0.6], [0.2, 0.3, 0.4], 16)
    rng = np.random.default_rng(0)
    marks.split("val")._images[:] = rng.integers(0, 256, (30, 20, 20, 3), dtype=np.uint8)
    inputs = Inputs(marks, "val", pooled)
    sweep, rows = sweeps(SMALL, 16, 20)["translation"], np.array([2, 5])
    for interpolation in ("bilinear", "bicubic"):
        views = Views(inputs, [sweep], "grey", interpolation)
        made = views(whole_pixels(inputs, rows))
        torch.testing.assert_close(made[:, 0], inputs.batch(rows))
        grey = pooled.normalise(torch.full((1, 3, 16, 16), 128.0))[0, :, 0, 0]
        torch.testing.assert_close(made[0, -1, :, 0, 0], grey)  # the farthest shift down


def test_a_disc_fills_the_same_pixels_at_every_angle(marks, pooled):
    marks.split("val")._images[:] = 200
    inputs = Inputs(marks, "val", pooled)
    made = sweeps(SMALL, 16, 20)
    filled = hidden(made["disc"].matrices, 16, 20, True)
    pixels = seen(inputs, np.array([0]), made["disc"])[0]
    for step in range(12):
        assert torch.equal(filled[step], filled[0])
        torch.testing.assert_close(pixels[step], pixels[0])
    assert filled[0, 0, 0]
    assert not filled[0, 1, 8]
    assert made["disc"].filled == pytest.approx([float(filled[0].float().mean())] * 12)
    found = one_sweep(inputs, np.array([0, 1]), made["disc"], ("pixels",))
    assert found.distance.max() < 1e-3  # a round picture looks the same at every angle
    square = one_sweep(inputs, np.array([0, 1]), made["rotation"], ("pixels",))
    assert square.distance[0, 1, 0] > 100  # the whole view shows its filled corners
    assert (square.distance[:, [0, 3, 6, 9]] == 0).all()


def test_a_disc_is_as_blurred_at_quarter_turns_as_between(marks, pooled):
    rng = np.random.default_rng(0)
    marks.split("val")._images[:] = rng.integers(0, 256, (30, 20, 20, 3), dtype=np.uint8)
    inputs = Inputs(marks, "val", pooled)
    made = sweeps(SMALL, 16, 20)
    quarter, between = [0, 3, 6, 9], [1, 2, 4, 5, 7, 8, 10, 11]
    means = {}
    for name in ("rotation", "disc"):  # interpolation takes the more contrast the more it mixes
        views = seen(inputs, np.arange(30), made[name])[..., 5:11, 5:11]
        means[name] = [views[:, steps].std() for steps in (quarter, between)]
    assert means["rotation"][0] > 1.3 * means["rotation"][1]
    assert float(means["disc"][0]) == pytest.approx(float(means["disc"][1]), rel=0.03)


def test_small_images_are_enlarged_as_for_every_study(marks, pooled):
    from zfnet.models.net import Normalise

    pooled.input_px = 24
    pooled.normalise = Normalise.mean_image(np.zeros((3, 24, 24), np.float32), 24)
    inputs = Inputs(marks, "val", pooled)
    rows = np.array([0, 1])
    assert whole_side(inputs) == 24
    sweep = sweeps(SMALL, 24, 24)["scale"]
    assert torch.equal(seen(inputs, rows, sweep)[:, sweep.clean], inputs.pixels(rows).float())


def test_ranges_scale_with_the_input_and_shifts_are_whole():
    made = sweeps(Options(), 224, 256)
    assert made["translation"].x.tolist() == list(range(-60, 61, 5))
    assert made["translation"].matrices[0, 0, 2] == 60  # up: what lies below comes in
    assert made["scale"].x[[0, -1]].tolist() == pytest.approx([1, 1.8])
    assert len(made["scale"].x) == 17
    assert made["rotation"].x.tolist() == list(range(0, 360, 10))
    assert made["rotation"].away[35] == 10
    small = sweeps(Options(), 128, 144)["translation"]
    down = -small.matrices[:, 0, 2].numpy()
    assert (down == np.round(down)).all()
    assert (down == -down[::-1]).all()
    assert down.max() == 34
    np.testing.assert_allclose(small.x, down * 224 / 128)


def test_the_coarse_grid_keeps_every_step_that_a_number_needs():
    made = sweeps(Options(), 224, 256)
    kept = {name: coarse_steps(sweep, Options()) for name, sweep in made.items()}
    x = {name: made[name].x[steps].tolist() for name, steps in kept.items()}
    down = [5, 10, 15, 20, 30, 40, 50, 60]  # 15 px is the last shift without fill
    assert x["translation"] == [*(-step for step in down[::-1]), 0, *down]
    assert x["scale"] == pytest.approx([1, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8])
    for name in ("rotation", "disc"):
        assert {0, 10, 20, 340, 350, 90, 180, 270, 50, 130, 140, 220, 230, 310} <= {*x[name]}
        assert np.diff(x[name]).max() == 20
    for name, sweep in made.items():
        thin = thinned(sweep, kept[name])
        assert thin.weight.sum() == pytest.approx(len(sweep.x))
        assert thin.weight[thin.clean] == 1
        near = (thin.away > 0) & (thin.away <= sweep.near + 1e-9)
        assert near.sum() == ((sweep.away > 0) & (sweep.away <= sweep.near + 1e-9)).sum()
    every = Options(coarse=1)
    assert all(len(coarse_steps(each, every)) == len(each.x) for each in made.values())
    assert (thinned(made["disc"], np.arange(36)).weight == 1).all()


def test_numbers_of_the_coarse_grid_are_those_of_the_fine():
    """A smooth curve has the same mean, straightness and slope at both."""
    options = Options()
    made = sweeps(options, 224, 256)
    layers, found = Layers((1, 7), ("a", "b"), 0, 1), []
    for coarse in (False, True):
        curves = {}
        for name, sweep in made.items():
            if coarse:
                sweep = thinned(sweep, coarse_steps(sweep, options))
            bent = np.stack([sweep.away**0.5, sweep.away**0.9], -1)[None].repeat(3, 0)
            chance = np.exp(-sweep.away / sweep.away.max())[None].repeat(3, 0)
            ones = np.ones((3, 2))
            curves[name] = Curves(sweep, bent, chance, chance > 0, ones, ones)
        found.append(Told(options, layers, curves, 0).metrics)
    fine, thin = found
    assert fine.keys() == thin.keys()
    for key, one in fine.items():
        exact = "slope" in key or "peak" in key or key.endswith(("_p_end", "p_clean"))
        if "straight_" in key:  # up to a step of the grid
            assert abs(one.value - thin[key].value) <= {"t": 5, "s": 0.05}[key[0]] + 1e-9
        elif "unfilled" not in key:
            assert thin[key].value == pytest.approx(one.value, abs=1e-9 if exact else 0.03), key


def test_units_are_mean_distances_to_the_first_others():
    features = torch.randn(23, 5, generator=torch.Generator().manual_seed(0))
    apart = torch.cdist(features, features).double()
    for most in (2, 7, 12, 23, 40):
        units = Units(most)
        for block in features.split(5):
            units.add(block)
        between, norm = units.told()
        for i in range(23):
            others = [j for j in range(min(most, 23)) if j != i]
            assert between[i] == pytest.approx(float(apart[i, others].mean()), rel=1e-5)
        np.testing.assert_allclose(norm, features.norm(dim=1), rtol=1e-6)
        assert units.known == min(most, 23)


def test_batches_of_any_size_give_the_same(bright, deeper, capsys):
    inputs, made = Inputs(bright, "val", deeper), sweeps(SMALL, 16, 20)
    deeper.model.append(torch.nn.Flatten())  # thousands of classes are as good as three
    found = [
        measure(inputs, np.arange(19), made, ("1", "3"), replace(SMALL, batch_size=size),
                announce=size == 7)
        for size in (1, 7, 40, 200)
    ]  # fmt: skip
    for other in found[1:]:
        for name, each in found[0].items():
            np.testing.assert_allclose(other[name].distance, each.distance, rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(other[name].between, each.between, rtol=1e-4)
            np.testing.assert_allclose(other[name].probability, each.probability, atol=1e-4)
    told = capsys.readouterr().err
    assert "19 images x 40 views = 760 forward passes on cpu, about" in told
    assert "study.invariance.max_images" in told


def test_drawn_images_are_seen_at_every_step(bright, pooled):
    thin, full = replace(SMALL, coarse=4), SMALL
    some, all_steps = (study(Inputs(bright, "val", pooled), each) for each in (thin, full))
    assert len(some.arrays["translation_x"]) < len(all_steps.arrays["translation_x"])
    for name in ("translation", "scale", "rotation", "disc"):
        for what in ("x", "distance", "probability", "between"):
            key = f"drawn_{name}_{what}"
            np.testing.assert_allclose(some.arrays[key], all_steps.arrays[key], rtol=1e-5)
    rows = [result.tables["sensitivity"].rows for result in (some, all_steps)]
    assert [row[0] for row in rows[0]][1] == "the steps of all images"
    assert len(rows[0]) == len(rows[1]) + 1
    assert rows[0][0][1:] == pytest.approx(rows[1][0][1:], nan_ok=True)


def test_slopes_are_least_squares_through_zero():
    away = np.array([2.0, 1, 0, 1, 2])
    distance = np.array([[100, 3, 0, 3, 100.0], [8, 4, 0, 4, 8]])
    assert slopes(away, 1, distance).tolist() == [3, 4]
    assert slopes(away, 2, distance)[1] == 4
    assert slopes(away, 2, distance)[0] == pytest.approx((3 + 200 + 3 + 200) / 10)
    assert slopes(away, 0.5, distance).tolist() == [3, 4]  # none that near: the nearest


def test_straight_ranges_of_known_curves():
    x = np.arange(11.0)
    bent = np.where(x <= 6, x, 6)
    curves = np.stack([x * 2, np.sqrt(x), bent, np.minimum(x, 1), 0 * x])
    reach = straight_range(x, curves, 0.95)
    assert reach[0] == 10
    assert reach[1] < 5
    assert 6 <= reach[2] < 10
    assert reach[3] < 3
    assert np.isnan(reach[4])
    layers = straight_range(x, np.stack([curves[:2].T, curves[[2, 0]].T]), 0.95)
    assert layers.shape == (2, 2)
    assert layers[:, 0].tolist() == [10, reach[2]]
    fine = np.linspace(0, 1, 2001)
    told = straightness(fine, np.stack([3 * fine, np.sqrt(fine), (fine > 0) * 1.0, 0 * fine]))
    assert told[:2].tolist() == pytest.approx([1, 0.64], abs=1e-3)
    assert told[2] < 0
    assert np.isnan(told[3])


def test_both_sides_are_averaged():
    away = np.array([2.0, 1, 0, 1])
    x, values = folded(away, np.array([[5.0, 1, 0, 3]]))
    assert x.tolist() == [0, 1, 2]
    assert values.tolist() == [[0, 2, 5]]


def test_peaks_stand_out_of_their_neighbours_or_not():
    x = np.arange(0, 360, 30.0)
    p = np.full((2, 12), 0.5)
    p[0, [3, 6]] = 0.9
    p[1, 9] = 0.1
    found = peaks(x, p, 30)
    assert found[90].tolist() == pytest.approx([0.4, 0])
    assert found[180].tolist() == pytest.approx([0.4, 0])
    assert found[270].tolist() == pytest.approx([0, -0.4])
    assert peaks(x[::2], p[:, ::2], 30) == {}


def test_the_interval_covers_the_mean_and_shrinks_with_the_number_of_images():
    rng = np.random.default_rng(3)
    widths = []
    for n in (10, 160):
        values = rng.normal(5, 1, n)
        told = Bootstrap(n, 0).told(Bootstrap(n, 0).means(values))
        assert told.low < told.value < told.high
        assert told.value == pytest.approx(values.mean())
        widths.append(told.high - told.low)
    assert 2 < widths[0] / widths[1] < 8
    same = Bootstrap(4, 1).told(Bootstrap(4, 1).means(np.ones(4)))
    assert (same.low, same.high) == pytest.approx((1, 1))


def curves_of(probability, right):
    sweep = sweeps(SMALL, 16, 20)["scale"]
    steps = len(sweep.x)
    n = len(probability)
    return Curves(
        sweep, np.zeros((n, steps, 1)), np.tile(np.array(probability)[:, None], steps),
        np.tile(np.array(right)[:, None], steps), np.ones((n, 1)), np.ones((n, 1)),
    )  # fmt: skip


def test_examples_are_right_sure_and_of_different_classes(bright, pooled):
    inputs = Inputs(bright, "val", pooled)
    rows = np.array([0, 3, 1, 4, 2])  # classes 0 0 1 1 2
    clean = curves_of([0.9, 0.9, 0.3, 0.8, 0.9], [True, True, True, True, False])
    drawn = chosen_examples(inputs, SMALL, rows, clean)
    assert drawn.places == [0, 3, 1]
    assert "1 of them are not" in drawn.how
    clean = curves_of([0.9] * 5, [True] * 5)
    drawn = chosen_examples(inputs, SMALL, rows, clean)
    assert drawn.places == [0, 2, 4]
    assert "want" not in drawn.how


def test_rows_are_seeded_and_of_classes_that_the_net_knows(bright, pooled):
    inputs = Inputs(bright, "val", pooled)
    rows = chosen_rows(inputs, SMALL, 0)
    assert len(set(rows.tolist())) == 12
    assert chosen_rows(inputs, SMALL, 0).tolist() == rows.tolist()
    assert chosen_rows(inputs, SMALL, 1).tolist() != rows.tolist()
    assert np.bincount(inputs.labels[rows]).tolist() == [4, 4, 4]  # classes take turns
    named = Options(max_images=4, ids=("class2/29.png", "class1/4.png"))
    assert chosen_rows(inputs, named, 0)[:2].tolist() == [29, 4]
    assert sorted(chosen_rows(inputs, Options(), 0)) == list(range(30))  # all by default
    pooled.class_index = np.array([0, -1, 2])
    assert (inputs.labels[chosen_rows(inputs, SMALL, 0)] != 1).all()
    pooled.class_index = np.array([-1, -1, -1])
    with pytest.raises(UserError, match="holds 0 images of classes"):
        chosen_rows(inputs, SMALL, 0)
    with pytest.raises(UserError, match=r"no image 'nowhere\.png'"):
        chosen_rows(inputs, Options(ids=("nowhere.png",)), 0)


def test_layers_follow_the_net(pooled):
    layers = chosen_layers(pooled, Options())
    assert layers.numbers == (1, 2)
    assert (layers.low, layers.high) == (0, 1)
    pooled.taps |= {f"{n}.out": "sums" for n in (4, 6, 8)}
    layers = chosen_layers(pooled, Options())
    assert layers.numbers == (1, 2, 4, 6)  # not the classifier
    assert layers.pair() == (("layer1", 0), ("layer6", 3))
    with pytest.raises(UserError, match="no tap 3"):
        chosen_layers(pooled, Options(layers=(1, 3)))
    with pytest.raises(UserError, match="two layers are needed"):
        chosen_layers(pooled, Options(layers=(1,)))


def test_hooks_are_gone_after_a_failure(bright, pooled):
    inputs = Inputs(bright, "val", pooled)

    def broken(*args):
        raise RuntimeError("stop")

    pooled.model.sums.register_forward_hook(broken)
    with pytest.raises(RuntimeError, match="stop"):
        one_sweep(inputs, np.arange(2), sweeps(SMALL, 16, 20)["scale"], ("pixels", "sums"))
    assert len(pooled.model.pixels._forward_hooks) == 0
    assert len(pooled.model.sums._forward_hooks) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fill": "red"}, "fill=red: choose one of mean, grey, replicate"),
        ({"normalise": "no"}, "normalise=no: choose"),
        ({"rotation_step": 7}, "must divide 90"),
        ({"neighbour": 15}, "multiple of rotation_step"),
        ({"scale": 0.9}, "above 1"),
        ({"max_images": 1}, "at least 2 images"),
        ({"others": 1}, "at least 2"),
        ({"coarse": 0}, "at least 1"),
        ({"images": 0}, "at least 1"),
        ({"straight": 1.5}, "between 0 and 1"),
    ],
)
def test_options_are_checked(change, told):
    with pytest.raises(UserError, match=told):
        Options(**change)


def test_the_configs_defaults_are_the_options(root):
    section = yaml.safe_load((root / "conf" / "study" / "invariance.yaml").read_text())
    assert Options.read(SimpleNamespace(**section)) == Options()


def test_result_is_whole_and_repeats(bright, pooled, tmp_path):
    result = study(Inputs(bright, "val", pooled), SMALL)
    again = study(Inputs(bright, "val", pooled), SMALL)
    assert plain(again.tables["steps"].rows) == plain(result.tables["steps"].rows)
    assert repr(again.metrics) == repr(result.metrics)
    assert again.text == result.text
    save_result(result, tmp_path / "one", tmp_path / "one.json")
    told = load_result(tmp_path / "one")
    assert told["paper"] == "Fig. 5"
    assert [figure["name"] for figure in told["figures"]] == [
        "invariance", "invariance_layers", "invariance_rotation",
    ]  # fmt: skip
    assert all(figure["alt"] and figure["caption"] for figure in told["figures"])
    metrics = told["metrics"]
    assert (
        metrics["translation_slope_layer1"]["value"] > metrics["translation_slope_layer2"]["high"]
    )
    assert metrics["translation_slope_layer1"]["n"] == 12
    assert all(one["low"] is not None or one["note"] for one in metrics.values())
    choices = [row[0] for row in told["tables"]["sensitivity"]["rows"]]
    assert choices == [
        "as configured, every step", "fill: grey", "fill: replicate", "interpolation: bicubic",
        "every second step", "normalise: norm", "normalise: none",
    ]  # fmt: skip
    steps = told["tables"]["steps"]["rows"]
    assert len(steps) == 13 + 5 + 12 + 12


def test_the_stage_reads_only_its_own_keys(root, bright, pooled, monkeypatch):
    section = yaml.safe_load((root / "conf" / "study" / "invariance.yaml").read_text())
    section |= {"max_images": 4, "sensitivity_images": 0, "rotation_step": 45, "neighbour": 45}
    section |= {"translation_step": 30, "scale_step": 0.4}
    config = SimpleNamespace(
        study=SimpleNamespace(invariance=SimpleNamespace(**section)), seed=3, device="cpu"
    )
    monkeypatch.setattr(
        Inputs,
        "of_stage",
        classmethod(lambda cls, cfg, paths, split: Inputs(bright, split, pooled)),
    )
    result = run(config, None)
    assert result.seed == 3
    assert "sensitivity" not in result.tables
    assert "high" in "".join(result.tables["layers"].columns)
