"""Embedding: nets whose codes are known, and grids whose neighbours can be counted."""

import math

import numpy as np
import pytest
import torch
from answered import read_back
from torch import nn

from zfnet.errors import UserError
from zfnet.figures import embedding as telling
from zfnet.figures.kit.show import to_image
from zfnet.methods.embedding import grid
from zfnet.models.net import Net, Normalise
from zfnet.pipeline.survey import Embedding
from zfnet.results import save
from zfnet.studies import embedding
from zfnet.studies.base import Inputs
from zfnet.studies.embedding import (
    Plan,
    choose_rows,
    layer_of,
    neighbours,
    perplexity,
    read,
    study,
)
from zfnet.studies.embedding_grid import adjacent, greedy, lay, of_one_class

PX, CLASSES, EACH = 8, 4, 12


class Sorts(nn.Module):
    """Codes are the class, which one pixel of the red plane tells, and noise of the others."""

    def __init__(self, inplace=False, noise=0.05):
        super().__init__()
        self.linear, self.relu = nn.Linear(3 * PX * PX, CLASSES), nn.ReLU(inplace=inplace)
        with torch.no_grad():
            self.linear.weight.normal_(0, noise / 100, generator=torch.Generator().manual_seed(0))
            self.linear.bias.fill_(0)
            for label in range(CLASSES):
                self.linear.weight[label, label] = 0.06
                self.linear.weight[label, 8] = -0.01  # black everywhere: no part of any code

    def forward(self, x):
        return self.relu(self.linear(x.flatten(1)))


@pytest.fixture
def noise(set_of, monkeypatch):
    """Noise, whose first four pixels of red tell the class; in an order that mixes the classes."""
    monkeypatch.setattr(embedding, "PERMUTATIONS", 20)
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(CLASSES), EACH))
    images = rng.integers(0, 200, (len(labels), PX, PX, 3), np.uint8)
    images[:, 0, :9, 0] = 0
    images[np.arange(len(labels)), 0, labels, 0] = 80
    made = set_of(images, labels)
    made.classes = [type(made.classes[0])(index=i, id=c, name=c) for i, c in enumerate("abcd")]
    return made


def net_of(model, layer=7, tap="relu", **more):
    return Net(
        model=model.eval(), input_px=PX, arch="made", name="made", classes=list("abcd"),
        normalise=Normalise.mean_image(np.zeros((3, PX, PX), np.float32), PX),
        taps={f"{layer}.relu": tap}, **more,
    )  # fmt: skip


def inputs_of(data, net):
    return Inputs(data, "val", net, torch.device("cpu"))


def untrained_by(model):
    """In place of the drawn net: the same bundle around another model."""
    return lambda net, seed: net_of(model)


# ------------------------------------------------------------------------------------- the study
def test_codes_that_sort_pass_and_those_that_do_not_fail(noise, monkeypatch):
    torch.manual_seed(0)
    blind = nn.Sequential(nn.Flatten(), nn.Linear(3 * PX * PX, 16), nn.ReLU(), nn.Linear(16, 4))
    monkeypatch.setattr(embedding, "untrained", lambda net, seed: net_of(blind, tap="2"))
    found = study(
        inputs_of(noise, net_of(Sorts(), rebuild={"kind": "made"})), Embedding()
    ).estimates
    chance = (EACH - 1) / (CLASSES * EACH - 1)
    assert found["agreement_chance"].value == pytest.approx(chance, abs=0.02)
    assert found["agreement_codes"].value > 0.95
    assert found["agreement_codes_2d"].value > 0.95
    for space in ("pixels", "untrained"):
        assert found[f"agreement_{space}_2d"].value < chance + 0.15
        assert found[f"codes_minus_{space}_2d"].low > 0.5
    assert found["codes_minus_pixels"].n == CLASSES * EACH
    assert found["grid_minus_permuted"].low > 0.2
    assert found["grid_permuted"].value == pytest.approx(chance, abs=0.02)
    assert found["trustworthiness_codes"].value > 0.9
    assert "agreement_errors_2d" not in found  # no image is wrong
    # the control in place of the codes: the claims' numbers must not come true
    plain = study(inputs_of(noise, net_of(blind, tap="2", rebuild={})), Embedding()).estimates
    assert plain["codes_minus_pixels_2d"].high < 0.2
    assert "agreement_untrained" not in plain


@pytest.mark.parametrize("inplace", [False, True])
def test_before_and_after_the_rectifier_are_read_as_they_are(noise, inplace):
    inputs = inputs_of(noise, net_of(Sorts(inplace)))
    after, before, answers = read(inputs, inputs.rows, "relu")
    pixels = inputs.pixels(inputs.rows).float().flatten(1)
    with torch.no_grad():
        expected = inputs.net.model.linear(pixels).numpy()
    assert before == pytest.approx(expected, abs=1e-3)
    assert (before < 0).any()
    assert np.array_equal(after, np.maximum(before, 0))
    assert answers.tolist() == after.argmax(1).tolist() == inputs.labels.tolist()
    assert not inputs.net.model.relu._forward_pre_hooks


def test_a_module_that_is_no_rectifier_has_no_before(noise):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * PX * PX, 8), nn.GELU(), nn.Linear(8, 4))
    found = study(inputs_of(noise, net_of(model, tap="2")), Embedding())
    assert not [key for key in found.estimates if "before" in key]
    assert found.facts["numbers"] == {"codes": 8, "pixels": 3 * PX * PX}


def test_each_image_is_averaged_over_the_starts_before_the_interval(noise, monkeypatch):
    """Three starts whose neighbours all have the class, none, and all: two thirds, surely."""
    labels = noise.split("val").labels
    apart = np.stack([10.0 * labels, np.zeros(len(labels))], 1)
    mixed = np.array([[i // 2, 0] for i in range(len(labels))], float)
    order = np.argsort(labels, kind="stable")  # each two neighbours: of two classes
    mixed[order] = [[i % (len(labels) // 2), 0] for i in range(len(labels))]
    starts = iter([apart, mixed, apart])
    monkeypatch.setattr(embedding, "embed", lambda *_, **__: next(starts))
    one = Plan(labels, 1, 5, 0).space(np.random.default_rng(0).normal(size=(len(labels), 3)))
    assert one.near_2d == pytest.approx(np.full(len(labels), 2 / 3))


def test_codes_that_are_all_the_same_are_left_out(noise, place):
    dead = Sorts()
    with torch.no_grad():
        dead.linear.weight.zero_()
    measured = study(inputs_of(noise, net_of(dead)), Embedding())
    assert measured.facts["same"] == ["codes", "before_relu"]
    assert not [key for key in measured.estimates if "codes" in key or "grid" in key]
    results, module, words = read_back("embedding", measured, place)
    assert "cannot be told" in words
    assert [figure.name for figure in module.figures(results)] == ["scatter", "shares"]
    with torch.no_grad():
        dead.linear.weight.fill_(math.nan)
    with pytest.raises(UserError, match="not finite"):
        study(inputs_of(noise, net_of(dead)), Embedding())


def test_errors_are_counted_among_classes_that_the_net_knows(noise, monkeypatch):
    monkeypatch.setattr(embedding, "STARTS", 1)

    def errors(alone=True, **more):
        found = study(inputs_of(noise, net_of(Sorts(), **more)), Embedding(), alone=alone)
        return found.facts["errors"], found.estimates.get("agreement_errors_2d")

    swapped, share = errors(class_index=np.array([1, 0, 2, 3]))
    assert (swapped, share.n) == (2 * EACH, 2 * EACH)
    assert share.value > 0.9  # wrong by name, but side by side
    assert errors(class_index=np.array([-1, 0, 2, 3]))[0] == EACH
    assert errors() == (0, None)
    assert math.isnan(errors(alone=False)[1].value)  # another training may have some


# -------------------------------------------------------------------------------------- choosing
def test_neighbours_fill_half_a_class_and_the_perplexity_a_tenth():
    assert [neighbours(n, c) for n, c in ((120, 12), (600, 12), (24, 12), (30, 30))] == [
        5,
        10,
        1,
        1,
    ]
    assert [perplexity(n) for n in (16, 120, 1000)] == [5, 12, 30]


def test_of_many_classes_some_are_drawn_so_that_each_has_its_images(set_of):
    labels = np.arange(3000) % 300
    inputs = inputs_of(set_of(np.zeros((3000, PX, PX, 3), np.uint8), labels), net_of(Sorts()))
    rows = choose_rows(inputs, 200, (0, 0))
    assert len(np.unique(labels[rows])) == 10
    assert np.bincount(labels[rows]).max() == 10
    assert not np.array_equal(rows, choose_rows(inputs, 200, (0, 1)))
    assert np.array_equal(rows, choose_rows(inputs, 200, (0, 0)))
    few = inputs_of(set_of(np.zeros((3000, PX, PX, 3), np.uint8), labels % 3), net_of(Sorts()))
    rows = choose_rows(few, 200, (0, 0))
    assert len(rows) == 200
    assert len(np.unique(labels[rows] % 3)) == 3


def test_the_layer_is_the_seventh_or_the_last_that_there_is():
    assert layer_of(net_of(Sorts())) == 7
    assert layer_of(net_of(Sorts(), layer=5)) == 5
    with pytest.raises(UserError, match=r"7\.relu"):
        layer_of(net_of(Sorts(), layer=8))


# ------------------------------------------------------------------------------------------ grid
def test_adjacent_images_are_those_whose_cells_share_a_side():
    cells = np.array([[0, 0], [0, 1], [1, 0], [1, 2]])  # of 2 x 3, two cells are empty
    assert sorted(map(tuple, adjacent(cells).tolist())) == [(0, 1), (0, 2)]
    assert of_one_class(cells, np.array([7, 7, 1, 7])).tolist() == [2, 0, 0, 0]
    assert of_one_class(cells, np.array([7, 7, 1, 7])).mean() == 0.5  # one pair of two


def test_greedy_fills_row_by_row_and_the_best_assignment_costs_no_more():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(30, 2))
    cells = greedy(points, (5, 6))
    assert len({tuple(cell) for cell in cells.tolist()}) == 30

    def cost(cells):
        unit = (points - points.min(0)) / np.ptp(points, axis=0)
        return ((unit - np.stack([cells[:, 1] / 5, 1 - cells[:, 0] / 4], 1)) ** 2).sum()

    unit = (points - points.min(0)) / np.ptp(points, axis=0)
    first = int((unit[:, 0] ** 2 + (1 - unit[:, 1]) ** 2).argmin())
    assert cells[first].tolist() == [0, 0]
    assert cost(grid(points, (5, 6))) < cost(cells)
    lattice = np.stack(np.meshgrid(np.arange(4.0), np.arange(3.0)), -1).reshape(-1, 2)
    shuffled = rng.permutation(12)
    expected = np.stack([2 - lattice[shuffled, 1], lattice[shuffled, 0]], 1)
    assert np.array_equal(greedy(lattice[shuffled], (3, 4)), expected)


def test_a_grid_of_halves_keeps_neighbours_and_labels_at_random_do_not():
    lattice = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), -1).reshape(-1, 2)
    halves = lay([lattice] * 2, (lattice[:, 0] > 4).astype(int), 0)
    assert halves.same.mean() == pytest.approx(170 / 180)  # ten pairs lie across
    assert halves.permuted == pytest.approx(49 / 99, abs=0.02)
    kept = 0
    for seed in range(40):
        labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(10), 10))
        gap = lay([lattice], labels, seed).estimates()["grid_minus_permuted"]
        kept += gap.low <= 0 <= gap.high
    assert kept >= 35


# ---------------------------------------------------------------------------------------- telling
@pytest.fixture
def told(noise, place, monkeypatch):
    monkeypatch.setattr(telling.Prepared, "open", lambda folder: noise)
    net = net_of(Sorts(), class_index=np.array([1, 0, 2, 3]))
    return read_back("embedding", study(inputs_of(noise, net), Embedding()), place)


def test_figures_and_tables_are_drawn_for_few_and_for_many_classes(told, monkeypatch):
    results, module, words = told
    for colours in (module.CATEGORICAL, module.CATEGORICAL[:2]):
        monkeypatch.setattr(module, "CATEGORICAL", colours)
        figures = module.figures(results)
        assert [figure.name for figure in figures] == ["scatter", "grid", "shares"]
        assert to_image(figures[0].draw()).width < 1900
        assert to_image(figures[1].draw()).width <= 1500
        assert ("largest have a colour" in figures[0].caption) == (len(colours) < 5)
    for name, shown in module.tables(results).items():
        assert all(len(row) == len(shown.headings) for row in shown.rows(results.tables[name]))
    assert not {"None", "nan"} & set(words.replace(",", " ").split())


def test_words_follow_the_numbers(told, place):
    _, _, words = told
    assert "Codes lie together by class more than pixels do" in words
    assert "stays open" in words or "Codes embed better" in words


def test_the_bytes_repeat_and_a_training_that_does_not_lead_keeps_numbers_alone(
    noise, tmp_path, monkeypatch
):
    monkeypatch.setattr(embedding, "STARTS", 1)
    for name in ("one", "two"):
        measured = study(inputs_of(noise, net_of(Sorts())), Embedding())
        save(measured, tmp_path / name, tmp_path / f"{name}.json")
    for file in (tmp_path / "one").rglob("*.*"):
        assert (
            file.read_bytes()
            == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()
        )
    other = study(inputs_of(noise, net_of(Sorts())), Embedding(), leads=False)
    assert not other.arrays
    assert set(other.estimates) == set(measured.estimates)
    assert set(other.tables) == {"spaces"}
