from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from zfnet.errors import UserError
from zfnet.figures import invariance as telling
from zfnet.models.net import Net, Normalise
from zfnet.pipeline.studies import Invariance
from zfnet.report.study import page
from zfnet.results import Results, save
from zfnet.studies import invariance
from zfnet.studies.base import Inputs
from zfnet.studies.invariance import (
    Summary,
    chosen_examples,
    chosen_layers,
    chosen_rows,
    folded,
    peaks,
    run,
    slopes,
    straight_range,
    straightness,
)
from zfnet.studies.invariance_sweeps import (
    Curves,
    Views,
    between_images,
    coarse,
    hidden,
    mean_distance,
    measure,
    sweeps,
    whole_pixels,
)

PATHS = ("pixels", "sums")
PX = 14.0  # px of 224 in a pixel of the net's input


def raw_views(inputs, rows, sweep, **how):
    """Raw pixels of all steps of a sweep (n, T, 3, px, px)."""
    made = Views(inputs, sweep, **how)(whole_pixels(inputs, rows))
    return inputs.net.normalise.inverse(made.flatten(0, 1)).unflatten(0, made.shape[:2])


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


@pytest.fixture
def noisy(marks):
    """Random pixels."""
    rng = np.random.default_rng(0)
    marks.split("val")._images[:] = rng.integers(0, 256, (30, 20, 20, 3), dtype=np.uint8)
    return marks


# ---------------------------------------------------------------------------------- transforming
def test_ranges_scale_with_the_input_and_shifts_are_whole():
    made = sweeps(224, 256)
    assert made["translation"].x.tolist() == list(range(-60, 61, 5))
    assert made["translation"].matrices[0, 0, 2] == 60  # up: what lies below comes in
    assert made["scale"].x[[0, -1]].tolist() == pytest.approx([1, 1.8])
    assert len(made["scale"].x) == 17
    assert made["rotation"].x.tolist() == list(range(0, 360, 10))
    assert made["rotation"].away[35] == 10
    small = sweeps(128, 144)["translation"]
    down = -small.matrices[:, 0, 2].numpy()
    assert (down == np.round(down)).all()
    assert (down == -down[::-1]).all()
    assert down.max() == 34
    np.testing.assert_allclose(small.x, down * 224 / 128)


def test_the_coarse_grid_keeps_every_step_that_a_number_needs():
    made = sweeps(224, 256)
    thin = {name: coarse(sweep) for name, sweep in made.items()}
    down = [5, 10, 15, 20, 30, 40, 50, 60]  # 15 px is the last shift without fill
    assert thin["translation"].x.tolist() == [*(-step for step in down[::-1]), 0, *down]
    assert thin["scale"].x == pytest.approx([1, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8])
    for name in ("rotation", "disc"):
        x = thin[name].x.tolist()
        assert {0, 10, 20, 340, 350, 90, 180, 270, 50, 130, 140, 220, 230, 310} <= {*x}
        assert np.diff(x).max() == 20
    for name, sweep in made.items():
        assert thin[name].weight.sum() == pytest.approx(len(sweep.x))
        assert thin[name].weight[thin[name].clean] == 1
        assert thin[name].fitted.sum() == sweep.fitted.sum()


def test_views_without_change_are_the_inputs_own_pixels(noisy, pooled):
    inputs, rows = Inputs(noisy, "val", pooled), np.array([3, 1])
    for name, sweep in sweeps(16, 20).items():
        if name == "disc":
            continue
        for interpolation in ("bilinear", "bicubic"):
            for repeat in (False, True):
                views = Views(inputs, sweep, repeat=repeat, interpolation=interpolation)
                clean = views(whole_pixels(inputs, rows))[:, sweep.clean]
                assert torch.equal(clean, inputs.batch(rows))
        assert sweep.filled[sweep.clean] == 0


def test_what_lies_beyond_the_picture_is_filled_as_asked(marks, pooled):
    pooled.normalise.mean = torch.full((3, 16, 16), 77.0)
    marks.split("val")._images[:] = 9
    inputs = Inputs(marks, "val", pooled)
    sweep = sweeps(16, 20)["translation"]
    for repeat, level in ((False, 77), (True, 9)):
        views = raw_views(inputs, np.array([0]), sweep, repeat=repeat)
        assert float(views[0, -1, 0, 0, 0]) == level


def test_views_are_normalised_as_the_net_has_it(noisy, pooled):
    pooled.normalise = Normalise.standardise([0.4, 0.5, 0.6], [0.2, 0.3, 0.4], 16)
    inputs = Inputs(noisy, "val", pooled)
    sweep, rows = sweeps(16, 20)["translation"], np.array([2, 5])
    for interpolation in ("bilinear", "bicubic"):
        made = Views(inputs, sweep, interpolation=interpolation)(whole_pixels(inputs, rows))
        torch.testing.assert_close(made[:, sweep.clean], inputs.batch(rows))
        assert (made[0, -1, :, 0, 0] == 0).all()  # the farthest shift down: the training mean


def test_a_disc_fills_the_same_pixels_at_every_angle(marks, pooled):
    marks.split("val")._images[:] = 200
    inputs, rows = Inputs(marks, "val", pooled), np.array([0, 1])
    made, ones = sweeps(16, 20), np.ones((2, 1))
    filled = hidden("disc", made["disc"].matrices, 16, 20)
    pixels = raw_views(inputs, rows[:1], made["disc"])[0]
    for step in range(36):
        assert torch.equal(filled[step], filled[0])
        torch.testing.assert_close(pixels[step], pixels[0])
    assert filled[0, 0, 0]
    assert not filled[0, 1, 8]
    assert made["disc"].filled == pytest.approx([float(filled[0].float().mean())] * 36)
    found = measure(inputs, rows, made["disc"], PATHS[:1], ones)
    assert found.distance.max() < 1e-3  # a round picture looks the same at every angle
    square = measure(inputs, rows, made["rotation"], PATHS[:1], ones)
    assert square.distance[0, 3, 0] > 100  # the whole view shows its filled corners
    assert (square.distance[:, ::9] == 0).all()


def test_a_disc_is_as_blurred_at_quarter_turns_as_between(noisy, pooled):
    inputs, made = Inputs(noisy, "val", pooled), sweeps(16, 20)
    quarter = np.arange(36) % 9 == 0
    means = {}
    for name in ("rotation", "disc"):  # interpolation takes the more contrast the more it mixes
        views = raw_views(inputs, np.arange(30), made[name])[..., 5:11, 5:11]
        means[name] = [views[:, steps].std() for steps in (quarter, ~quarter)]
    assert means["rotation"][0] > 1.3 * means["rotation"][1]
    assert float(means["disc"][0]) == pytest.approx(float(means["disc"][1]), rel=0.03)


def test_small_images_are_enlarged_as_for_every_study(marks, pooled):
    pooled.input_px = 24
    pooled.normalise = Normalise.mean_image(np.zeros((3, 24, 24), np.float32), 24)
    inputs, rows = Inputs(marks, "val", pooled), np.array([0, 1])
    assert whole_pixels(inputs, rows).shape[-1] == 24
    views = raw_views(inputs, rows, sweeps(24, 24)["scale"])
    assert torch.equal(views[:, 0], inputs.pixels(rows).float())


# ------------------------------------------------------------------------------------- measuring
def test_a_layer_of_pixels_reacts_where_a_sum_does_not(bright, pooled):
    inputs, rows = Inputs(bright, "val", pooled), np.arange(6)
    sweep = sweeps(16, 20)["translation"]
    between = between_images(inputs, rows, sweep, PATHS)
    found = measure(inputs, rows, sweep, PATHS, between)
    assert sweep.x[sweep.clean] == 0
    assert (found.distance[:, sweep.clean] == 0).all()
    moved = np.abs(sweep.x) == PX
    np.testing.assert_allclose(found.distance[:, moved, 0], 200 * 2**0.5, rtol=1e-6)
    assert (found.distance[:, moved, 1] == 0).all()
    assert found.right.all()
    one = Summary((1, 2), {"translation": found}, 0)
    ratio = one.estimate(one.ratio("translation"))  # over 0
    assert (ratio.n, ratio.low) == (6, None)
    end = one.estimate(one.at_end("translation"))
    assert end.low < end.value < end.high
    assert end.value == pytest.approx(found.probability[:, [0, -1]].mean())
    # Two marks of one colour differ in their place alone, of two colours also in their sums.
    np.testing.assert_allclose(between[:, 0], 200 * 2**0.5, rtol=1e-6)
    np.testing.assert_allclose(between[:, 1], 200 * 2**0.5 * 4 / 5, rtol=1e-5)
    np.testing.assert_allclose(found.relative[:, moved, 0], 1, rtol=1e-6)


def test_a_mark_that_leaves_the_picture_takes_the_answer_along(bright, pooled):
    inputs, sweep = Inputs(bright, "val", pooled), sweeps(16, 20)["translation"]
    found = measure(inputs, np.array([0]), sweep, PATHS, np.ones((1, 2)))
    place = (sweep.x / PX).tolist().index  # the mark lies in row 2 of the view, four of the picture
    assert found.probability[0, place(-2)] == found.probability[0, place(0)] > 0.9
    assert found.probability[0, place(-3)] == pytest.approx(1 / 3)
    assert sweep.filled[place(-2)] == sweep.filled[place(2)] == 0  # two px of margin
    assert sweep.filled[place(3)] == pytest.approx(1 / 16)
    assert sweep.filled[place(-4)] == pytest.approx(2 / 16)


def test_units_are_mean_distances_to_the_first_others(noisy, pooled, monkeypatch):
    inputs, rows = Inputs(noisy, "val", pooled), np.arange(30)[::-1].copy()
    sweep, features = sweeps(16, 20)["scale"], inputs.batch(rows).flatten(1)
    apart = torch.cdist(features, features).double()
    assert mean_distance(features, features[:2]).tolist() == apart[:, :2].mean(1).tolist()
    monkeypatch.setattr("zfnet.studies.invariance_sweeps.CLEAN_PACK", 4)
    for most in (2, 7, 30, 200):
        monkeypatch.setattr("zfnet.studies.invariance_sweeps.OTHERS", most)
        for i, between in enumerate(between_images(inputs, rows, sweep, PATHS[:1])[:, 0]):
            others = [j for j in range(min(most, 30)) if j != i]
            assert between == pytest.approx(float(apart[i, others].mean()), rel=1e-4)


def test_batches_of_any_size_give_the_same(bright, deeper, monkeypatch):
    inputs, sweep, found = Inputs(bright, "val", deeper), sweeps(16, 20)["rotation"], []
    deeper.model.append(torch.nn.Flatten())  # thousands of classes are as good as three
    for size in (1, 80, 200):
        monkeypatch.setattr("zfnet.studies.invariance_sweeps.BATCH", size)
        found.append(measure(inputs, np.arange(10), sweep, ("1", "3"), np.ones((10, 2))))
        np.testing.assert_allclose(found[-1].distance, found[0].distance, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(found[-1].probability, found[0].probability, atol=1e-4)


# ------------------------------------------------------------------------------------ concluding
def test_numbers_of_the_coarse_grid_are_those_of_the_fine():
    """A smooth curve has the same mean, straightness and slope at both."""
    found = []
    for thin in (False, True):
        curves = {}
        for name, sweep in sweeps(224, 256).items():
            sweep = coarse(sweep) if thin else sweep
            bent = np.stack([sweep.away**0.5, sweep.away**0.9], -1)[None].repeat(3, 0)
            chance = np.exp(-sweep.away / sweep.away.max())[None].repeat(3, 0)
            curves[name] = Curves(sweep, bent, chance, np.ones(3, bool), np.ones((3, 2)))
        found.append(Summary((1, 7), curves, 0).estimates())
    fine, thin = found
    assert fine.keys() == thin.keys()
    for key, one in fine.items():
        exact = "slope" in key or "peak" in key or key.endswith(("_p_end", "p_clean"))
        if "straight_" in key:  # up to a step of the grid
            assert abs(one.value - thin[key].value) <= {"t": 5, "s": 0.05}[key[0]] + 1e-9
        elif "unfilled" not in key:
            assert thin[key].value == pytest.approx(one.value, abs=1e-9 if exact else 0.03), key


def test_slopes_are_least_squares_through_zero():
    sweep = sweeps(224, 256)["translation"].steps(np.array([9, 10, 11, 12, 13, 14, 15]))
    away = sweep.away
    assert away.tolist() == [15, 10, 5, 0, 5, 10, 15]  # near: up to 11
    assert slopes(sweep, np.stack([3 * away, 4 * away])).tolist() == pytest.approx([3, 4])
    bent = np.where(away == 10, 100, 3 * away)[None]
    assert slopes(sweep, bent)[0] == pytest.approx((15 * 5 + 100 * 10) / (25 + 100))
    assert slopes(sweep.steps(np.array([0, 3, 6])), np.array([[30.0, 0, 30]]))[0] == 2


def test_straight_ranges_of_known_curves():
    x, even = np.arange(11.0), np.ones(11)
    bent = np.where(x <= 6, x, 6)
    curves = np.stack([x * 2, np.sqrt(x), bent, np.minimum(x, 1), 0 * x])
    reach = straight_range(x, curves, even)
    assert reach[0] == 10
    assert reach[1] < 5
    assert 6 <= reach[2] < 10
    assert reach[3] < 3
    assert np.isnan(reach[4])
    layers = straight_range(x, np.stack([curves[:2].T, curves[[2, 0]].T]), even)
    assert layers.shape == (2, 2)
    assert layers[:, 0].tolist() == [10, reach[2]]
    fine = np.linspace(0, 1, 2001)
    known = np.stack([3 * fine, np.sqrt(fine), (fine > 0) * 1.0, 0 * fine])
    share = straightness(fine, known, np.ones(2001))
    assert share[:2].tolist() == pytest.approx([1, 0.64], abs=1e-3)
    assert share[2] < 0
    assert np.isnan(share[3])


def test_sides_are_averaged_and_peaks_stand_out_of_their_neighbours_or_not():
    x, values = folded(np.array([2.0, 1, 0, 1]), np.array([[5.0, 1, 0, 3]]))
    assert x.tolist() == [0, 1, 2]
    assert values.tolist() == [[0, 2, 5]]
    p = np.full((2, 36), 0.5)
    p[0, [9, 18]] = 0.9
    p[1, 27] = 0.1
    found = peaks(np.arange(0, 360, 10.0), p)
    assert np.stack([*found.values()]) == pytest.approx(np.array([[0.4, 0], [0.4, 0], [0, -0.4]]))


# -------------------------------------------------------------------------------------- choosing
def test_examples_are_right_sure_and_of_different_classes():
    sweep, labels = sweeps(16, 20)["scale"], np.array([0, 0, 1, 1, 2])

    def chosen(probability, right, **options):
        p = np.tile(np.array(probability)[:, None], len(sweep.x))
        ones = np.ones((5, 1))
        clean = Curves(sweep, np.zeros((*p.shape, 1)), p, np.array(right), ones)
        places, unsure = chosen_examples(labels, Invariance(images=3, **options), clean)
        return places.tolist(), unsure

    right = [True, True, True, True, False]
    assert chosen([0.9, 0.9, 0.3, 0.8, 0.9], right) == ([0, 3, 1], 1)
    assert chosen([0.9] * 5, [True] * 5) == ([0, 2, 4], 0)
    assert chosen([0.1] * 5, [False] * 5, ids=("a", "b")) == ([0, 1], 0)


def test_rows_are_seeded_and_of_classes_that_the_net_knows(bright, pooled):
    inputs = Inputs(bright, "val", pooled)

    def rows(**options):
        return chosen_rows(inputs, Invariance(**options)).tolist()

    few = rows(max_images=12)
    assert len(set(few)) == 12
    assert rows(max_images=12) == few
    assert rows(max_images=12, seed=1) != few
    assert np.bincount(inputs.labels[few]).tolist() == [4, 4, 4]  # classes take turns
    assert rows(max_images=4, ids=("class2/29.png", "class1/4.png"))[:2] == [29, 4]
    assert sorted(rows()) == list(range(30))  # all by default
    pooled.class_index = np.array([0, -1, 2])
    assert (inputs.labels[rows(max_images=12)] != 1).all()
    with pytest.raises(UserError, match=r"does not know the class of class1/4\.png"):
        rows(ids=("class2/29.png", "class1/4.png"))
    pooled.class_index = np.array([-1, -1, -1])
    with pytest.raises(UserError, match="holds 0 images of classes"):
        rows()


def test_layers_follow_the_net(pooled):
    assert chosen_layers(pooled, Invariance()) == {1: "pixels", 2: "sums"}
    pooled.taps |= {f"{n}.out": "sums" for n in (4, 6, 8)}
    assert list(chosen_layers(pooled, Invariance())) == [1, 2, 4, 6]  # not the classifier
    with pytest.raises(UserError, match="no tap 3"):
        chosen_layers(pooled, Invariance(layers=(1, 3)))
    with pytest.raises(UserError, match="two layers are needed"):
        chosen_layers(pooled, Invariance(layers=(1,)))


# ------------------------------------------------------------------------------------- the whole
@pytest.fixture
def measured(bright, pooled, monkeypatch):
    inputs = Inputs(bright, "val", pooled)
    monkeypatch.setattr(Inputs, "of_stage", classmethod(lambda cls, cfg, paths, split, **_: inputs))
    monkeypatch.setattr(invariance, "SENSITIVITY_IMAGES", 4)
    return lambda: run(Invariance(images=3, max_images=15, seed=2), SimpleNamespace(leads=True))


def test_the_measurement_is_whole_told_and_repeats(measured, root, tmp_path):
    (tmp_path / "paper").symlink_to(root / "paper")
    for name in ("one", "two"):
        save(measured(), tmp_path / name, tmp_path / f"{name}.json")
    for file in (tmp_path / "one").rglob("*.*"):
        assert (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes() == (
            file.read_bytes()
        )
    results = Results(tmp_path / "one", tmp_path)
    assert results["translation_slope_layer1"].value > results["translation_slope_layer2"].high
    assert results["translation_slope_layer1"].n == 15
    steps = results.tables["steps"]
    assert {"transform", "x", "layer", "distance", "distance_low", "distance_high", "p", "p_low",
            "p_high"} <= {*steps.columns}  # fmt: skip
    grid = {name: coarse(sweep) for name, sweep in sweeps(16, 20).items()}
    assert len(steps.rows) == 2 * sum(len(sweep.x) for sweep in grid.values())
    for name, sweep in grid.items():
        mine = [row for row in steps.records() if row["transform"] == name and row["layer"] == 1]
        assert [row["x"] for row in mine] == pytest.approx(sweep.x.tolist(), rel=1e-5)
    assert len(results.array("drawn_rotation_x")) == 36  # images drawn: every step
    assert results.array("views_rotation").shape == (3, 5, 16, 16, 3)
    choices = results.tables["sensitivity"]
    assert choices.column("choice") == list(telling.WORDS["choice"])
    assert choices.column("images") == [4] * 3
    figures = telling.figures(results)
    assert telling.CARD in [figure.name for figure in figures]
    assert all(figure.draw() for figure in figures)
    for name, shown in telling.tables(results).items():
        assert all(shown.rows(results.tables[name]))
    words = page("invariance", results)
    assert "15 of the 30 validation images" in words
    assert not {"None", "nan"} & {*words.split()}
