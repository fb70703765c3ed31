"""Class models and saliency of nets whose answers follow from their weights."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from zfnet.data.datasets import fit_to
from zfnet.errors import UserError
from zfnet.figures import class_models as telling
from zfnet.models.net import Normalise
from zfnet.pipeline.studies import quantity_of
from zfnet.pipeline.survey import ClassAscent
from zfnet.report.study import page
from zfnet.results import Results, save
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import rate, rate_difference, wilson
from zfnet.studies import class_models
from zfnet.studies.base import Inputs, to_device
from zfnet.studies.class_models import (
    NOISES,
    PENALTY,
    best_scores,
    make,
    noise_like,
    overlap,
    overlaps,
    salient_box,
    scores,
    transfers,
)
from zfnet.studies.trainings import joined

CFG = ClassAscent(steps=30, max_images=30)
GREY = 100.0


class Linear(nn.Module):
    """The mean over the pixels of one colour a class, or of the colours in another order."""

    def __init__(self, order=(0, 1, 2), bias=(0.0, 0.0, 0.0)):
        super().__init__()
        self.order, self.bias = list(order), nn.Parameter(torch.tensor(bias))

    def forward(self, x):
        return x.mean((2, 3))[:, self.order] + self.bias


def made_net(model, like, px=16):
    """`like` with another model, which expects grey where its input is 0."""
    normalise = Normalise.mean_image(np.full((3, px, px), GREY, np.float32), px)
    net = replace(like, model=model.eval(), normalise=normalise, input_px=px)
    return to_device(net, torch.device("cpu"))


@pytest.fixture
def boxed(marks):
    """The marks made bright, each in a box of 5 px."""
    split = marks.split("val")
    split._images[split._images > 0] = 250
    split.boxes = np.full((30, 4), np.nan, np.float32)
    for i in range(30):
        y, x = 4 + i % 10, 5 + i % 7
        split.boxes[i] = (x - 2, y - 2, x + 3, y + 3)
    return marks


def study(net, data, second=None, cfg=CFG, leads=True):
    inputs = Inputs(data, "val", net, max_images=cfg.max_images, seed=cfg.seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inputs, "of_stage", classmethod(lambda cls, *_, **__: inputs))
        patch.setattr(class_models, "_second_net", lambda *_: second)
        return class_models.run(cfg, SimpleNamespace(leads=leads))


# ---------------------------------------------------------------------------------- class models
def test_a_linear_nets_picture_is_its_weights_as_a_file_holds_them(probe):
    # score = sum of w g, w = 1 / 256 on one colour; the best is g = w D / (2 penalty), D = 3 · 256
    net = made_net(Linear(), probe)
    own = make(net, np.array([2, 0]), 400)
    best = 3 / (2 * PENALTY)
    assert best == pytest.approx(150)
    picture = own.pixels.numpy()
    for place, colour in enumerate((2, 0)):
        assert (picture[place, colour] == 250).all()
        assert (np.delete(picture[place], colour, 0) == GREY).all()
    assert own.rms == pytest.approx([150 / 3**0.5] * 2, rel=1e-4)
    assert own.outside.tolist() == [0, 0]
    assert scores(net, own.pixels).argmax(1).tolist() == [2, 0]


def test_what_leaves_the_grey_levels_is_clipped_and_told(probe):
    net = made_net(Linear(), probe)
    net.normalise.mean.fill_(200)
    own = make(net, np.array([1]), 400)
    assert own.pixels[0, 1].unique().tolist() == [255]
    assert own.outside[0] == pytest.approx(1 / 3)


def test_a_standardised_nets_picture_is_in_grey_levels_too(probe):
    net = made_net(Linear(), probe)
    grey = make(net, np.array([0, 1]), 30)
    net.normalise = Normalise.standardise([GREY / 255] * 3, [0.2, 0.25, 0.5], 16)
    own = make(net, np.array([0, 1]), 30)
    # one unit of input is 51 grey levels of red, 64 of green: the score rises 51 times less
    rms = torch.tensor(own.rms) * torch.tensor([51.0, 63.75])
    assert rms.tolist() == pytest.approx(grey.rms.tolist(), rel=1e-4)


def test_noise_is_as_far_from_the_mean_image_as_the_picture(probe):
    net = made_net(Linear(), probe)
    noise = noise_like(net, np.array([5.0, 20.0]), 3).float()
    rms = (noise - GREY).square().mean((1, 2, 3)).sqrt().reshape(2, NOISES)
    assert rms[0].tolist() == pytest.approx([5] * NOISES, abs=0.05)  # it is rounded
    assert rms[1].tolist() == pytest.approx([20] * NOISES, abs=0.05)
    assert torch.equal(noise, noise_like(net, np.array([5.0, 20.0]), 3).float())
    assert len(torch.unique(noise.flatten(1), dim=0)) == 2 * NOISES


def test_the_highest_score_is_that_of_the_classs_own_images(boxed, probe):
    inputs = Inputs(boxed, "val", made_net(Linear(), probe), max_images=3)
    inputs.labels[inputs.labels == 1] = 0  # no image of class 1 is left
    found = best_scores(inputs, np.array([0, 1, 2]))
    every = scores(inputs.net, inputs.pixels(np.arange(30)))
    for label in (0, 2):
        assert found[label] == pytest.approx(every[inputs.labels == label, label].max())
    assert np.isnan(found[1])


def test_another_nets_view_is_cut_or_enlarged_like_any_image(probe):
    picture = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    for px in (12, 20):
        net = made_net(Linear(), probe, px)
        expected = fit_to(picture, px).float().mean((2, 3)) - GREY
        assert scores(net, picture) == pytest.approx(expected.numpy(), abs=1e-3)


def test_transfers_by_hand():
    found = transfers(np.array([True] * 6 + [False] * 6), np.array([1.0] + [0.0] * 11), 12)
    assert found["transfer"].value == 0.5
    assert found["transfer_minus_chance"].value == pytest.approx(0.5 - 1 / 12)
    low, high = wilson(6, 12)
    assert found["transfer_minus_chance"].low == pytest.approx(low - 1 / 12)
    l2, u2 = wilson(1, 12)
    gap = found["transfer_minus_noise"]
    assert gap.value == pytest.approx(5 / 12)
    assert gap.low == pytest.approx(5 / 12 - np.hypot(0.5 - low, u2 - 1 / 12))
    assert gap.high == pytest.approx(5 / 12 + np.hypot(high - 0.5, 1 / 12 - l2))
    assert gap.n == 24


def test_newcombes_interval_is_that_of_his_table():
    # 1998, table II, (a): 56/70 less 48/80, method 10
    one = rate_difference(rate(56, 70), rate(48, 80))
    assert (one.value, one.low, one.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(("order", "transfer"), [((0, 1, 2), 1.0), ((1, 2, 0), 0.0)])
def test_a_second_net_agrees_or_is_not_fooled(boxed, probe, order, transfer):
    net, second = made_net(Linear(), probe), made_net(Linear(order, (0.0, 1e-4, 0.0)), probe)
    result = study(net, boxed, second)
    found = result.estimates
    assert found["score_beats_images"].value == 1
    assert result.facts["recognised"] == result.facts["made"] == 3
    assert found["transfer"].value == found["transfer_back"].value == transfer
    assert found["transfer_minus_chance"].value == pytest.approx(transfer - 1 / 3)
    assert 0 <= found["transfer_noise"].value < 0.8


def test_noise_unmasks_a_net_that_gives_one_class_to_everything(boxed, probe):
    second = made_net(Linear(bias=(0.0, 1e6, 0.0)), probe)
    found = study(made_net(Linear(), probe), boxed, second).estimates
    assert found["transfer"].value == found["transfer_noise"].value == pytest.approx(1 / 3)
    assert found["transfer_minus_noise"].value == 0
    assert found["transfer_minus_noise"].low < 0


def test_a_picture_may_stay_below_the_best_image(boxed, probe):
    boxed.split("val")._images[:3] = 255  # nothing made of 30 steps is as bright in all pixels
    net = made_net(Linear(), probe)
    net.normalise.mean.fill_(0)
    found = study(net, boxed).estimates
    assert found["score_beats_images"].value == 0
    assert "transfer" not in found


def test_classes_that_a_net_does_not_know_are_left_out(boxed, probe):
    net = made_net(Linear(), probe)
    second = made_net(Linear(), probe)
    net.class_index, second.class_index = np.array([0, -1, 2]), np.array([0, 1, -1])
    result = study(net, boxed, second)
    assert result.tables["classes"].column("class") == ["red", "blue"]
    assert result.estimates["transfer"].n == 1
    net = made_net(nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), probe)
    net.class_index = np.array([-1, -1, -1])
    result = study(net, boxed, second)
    assert not {"score_beats_images", "saliency_in_box", "classes"} & set(result.estimates)
    assert "gradient_other_class" in result.estimates  # of its own answer
    assert (result.facts["known"], result.facts["boxed"]) == (0, 0)


def test_of_many_classes_some_are_drawn(boxed, probe, monkeypatch):
    monkeypatch.setattr(class_models, "MOST_CLASSES", 2)
    result = study(made_net(Linear(), probe), boxed)
    assert result.estimates["classes"].value == 2
    assert len(result.tables["classes"].rows) == 2


def test_where_the_score_is_flat_there_are_no_pictures(boxed, probe, root, tmp_path):
    result = study(probe, boxed)  # rectifiers that are all off at the zero image
    assert "no way up" in result.facts["no_pictures"]
    assert "score_beats_images" not in result.estimates
    assert "saliency_in_box" in result.estimates
    save(result, tmp_path / "class_models", tmp_path / "metrics.json")
    results = Results(tmp_path / "class_models", root)
    assert telling.CARD not in [figure.name for figure in telling.figures(results)]
    assert "No pictures were made" in page("class_models", results)


# ------------------------------------------------------------------------------ saliency and maps
def test_saliency_lies_at_the_mark_and_no_net_beats_itself(boxed, probe, monkeypatch):
    monkeypatch.setattr(class_models, "untrained", lambda net, seed: net)
    found = study(probe, boxed).estimates
    assert found["saliency_in_box"].value == pytest.approx(1)
    assert found["box_area"].value == pytest.approx(25 / 256)
    assert found["saliency_minus_area"].low > 0.8
    assert found["saliency_minus_centre"].low > 0.3
    # the control: the trained net in the place of the untrained one
    assert found["saliency_minus_untrained"].value == 0
    assert found["gradient_untrained"].value == found["guided_untrained"].value == pytest.approx(1)
    assert found["guided_minus_gradient_untrained"].value == pytest.approx(0)


def test_an_untrained_net_is_no_better_than_its_likes(boxed, probe, monkeypatch):
    def drawn(seed):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 256, 3)
        ).eval()

    monkeypatch.setattr(class_models, "untrained", lambda net, seed: replace(net, model=drawn(1)))
    gaps = study(made_net(drawn(0), probe), boxed).estimates["saliency_minus_untrained"]
    assert abs(gaps.value) < 0.03
    assert gaps.n == 30


def test_numbers_follow_from_each_images_maps(boxed, probe):
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(96, 3)
    )
    torch.manual_seed(4)
    for part in model.parameters():
        nn.init.normal_(part, std=0.1)
    net = made_net(model, probe)
    result = study(net, boxed, cfg=ClassAscent(steps=5, max_images=7))
    inputs = Inputs(boxed, "val", net, max_images=7)
    from scipy.stats import spearmanr

    for row, told in zip(inputs.rows.tolist(), result.tables["images"].records(), strict=True):
        x = inputs.batch(np.array([row])).requires_grad_()
        logits = net.model(x)
        maps = {}
        for name, unit in enumerate(net.classes):
            maps[unit] = torch.autograd.grad(logits[0, name], x, retain_graph=True)[0].abs().amax(1)
        own, other = (maps[told[name]][0].numpy() for name in ("watched", "other"))
        assert told["watched"] == told["class"] != told["other"]
        y0, x0, y1, x1 = inputs.boxes(np.array([row]))[0].astype(int)
        assert told["in_box"] == pytest.approx(own[y0:y1, x0:x1].sum() / own.sum(), rel=1e-4)
        expected = spearmanr(own.ravel(), other.ravel()).statistic
        assert told["gradient_other_class"] == pytest.approx(expected, abs=1e-4)


def test_ranks_of_magnitudes_do_not_see_what_signs_do(boxed, probe):
    """Class 1 is class 0 turned round: the same places matter."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 196, 2))
    with torch.no_grad():
        model[2].weight[1] = -model[2].weight[0]
    net = made_net(model, probe)
    net.classes, net.class_index = ["red", "green"], np.array([0, 1, -1])
    result = study(net, boxed)
    rows = {(r["rule"], r["choice"]): r for r in result.tables["choices"].records()}
    assert rows["gradient", "ranks"]["other_class"] == pytest.approx(1)
    assert rows["gradient", "signed"]["other_class"] == pytest.approx(-1)
    assert result.estimates["gradient_other_class"].value == pytest.approx(1)


def test_guided_maps_of_two_classes_are_more_alike_than_gradients(boxed, probe):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
              nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1),
              nn.ReLU(), nn.Flatten(), nn.Linear(12 * 64, 3)]  # fmt: skip
    found = study(made_net(nn.Sequential(*layers), probe), boxed).estimates
    assert found["guided_minus_gradient_other_class"].low > 0


def test_a_net_without_rectifiers_goes_without_guided_maps(boxed, probe, root, tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.GELU(), nn.Flatten(), nn.Linear(588, 3))
    result = study(made_net(model, probe), boxed)
    assert not [key for key in result.estimates if "guided" in key or "deconvnet" in key]
    assert {"saliency_in_box", "gradient_other_class"} <= set(result.estimates)
    assert "Gelu" in result.facts["no_guided"]
    save(result, tmp_path / "class_models", tmp_path / "metrics.json")
    results = Results(tmp_path / "class_models", root)
    assert [figure.name for figure in telling.figures(results) if figure.draw()]
    assert "Gelu" in page("class_models", results)


def test_without_boxes_or_another_class_their_numbers_are_missing(marks, probe):
    net = made_net(nn.Sequential(nn.Flatten(), nn.Linear(768, 1)), probe)
    net.classes, net.class_index = ["red"], np.array([0, -1, -1])
    result = study(net, marks)
    missing = {"saliency_in_box", "box_area", "saliency_localises", "gradient_other_class"}
    assert not missing & set(result.estimates)
    assert "localisation" not in result.tables
    assert "no_untrained" in result.facts
    assert result.estimates["images"].value == 30


# ---------------------------------------------------------------------------- boxes from saliency
def test_the_salient_box_is_that_of_the_largest_component():
    values = np.zeros((20, 20))
    values[2, 3] = values[3, 4] = values[4, 4] = 2  # three that touch, one by a corner
    values[10:12, 15] = 5  # stronger, but two
    assert salient_box(values, "component").tolist() == [2, 3, 5, 5]
    assert salient_box(values, "all").tolist() == [2, 3, 12, 16]
    assert salient_box(np.ones((20, 20)), "all") is None


def test_overlap_is_intersection_over_union():
    assert overlap(np.array([0, 0, 4, 4]), np.array([2, 2, 6, 6])) == pytest.approx(4 / 28)
    assert overlap(np.array([0, 0, 4, 4]), np.array([0, 0, 4, 2])) == 0.5
    assert overlap(np.array([0, 0, 1, 1]), np.array([3, 3, 4, 4])) == 0


def test_a_centred_box_is_as_large_as_the_salient_one():
    values = np.zeros((3, 20, 20))
    values[0, 2:6, 2:6] = values[1, 8:12, 8:12] = 1  # 16 of 400 pixels: above the quantile
    boxes = np.array([[2, 2, 6, 6], [8, 8, 12, 12], [0, 0, 5, 5]], float)
    own, centre = overlaps(values, boxes, "component", 0)
    assert own[:2].tolist() == [1, 1]
    assert centre[:2].tolist() == [0, 1]
    assert np.isnan([own[2], centre[2]]).all()  # nothing is salient
    boxes[0] = np.nan
    assert np.isnan(overlaps(values, boxes, "component", 0)[:, 0]).all()


# --------------------------------------------------------------------------------------- telling
@pytest.fixture
def measured(boxed, probe, monkeypatch):
    monkeypatch.setattr(class_models, "untrained", lambda net, seed: net)
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(576, 3),
    )  # fmt: skip
    second = made_net(Linear((0, 2, 1)), probe)
    second.name = "alexnet"
    return lambda **more: study(made_net(model, probe), boxed, second, **more)


@pytest.fixture
def saved(measured, root, tmp_path):
    def results(**estimates):
        result = measured()
        changed = replace(result, estimates={**result.estimates, **estimates})
        save(changed, tmp_path / "class_models", tmp_path / "metrics.json")
        return Results(tmp_path / "class_models", root)

    return results


def test_every_number_is_declared_and_repeats(measured):
    one, two = measured(), measured()
    assert one.estimates == two.estimates
    assert all(quantity_of("class_models", key) for key in one.estimates)
    for name, array in one.arrays.items():
        assert np.array_equal(array, two.arrays[name]), name
    assert not measured(leads=False).arrays


def test_trainings_join(measured):
    both = joined([measured(), measured(), measured(leads=False)], [0, 1, 2], "dealt")
    assert both.estimates["transfer"].trainings == 3
    assert both.estimates["transfer"].covers == ("trainings",)  # the classes are always the same
    assert len(both.tables["choices"].rows) == 9


def test_figures_and_tables(saved):
    results = saved()
    figures = {figure.name: figure for figure in telling.figures(results)}
    assert list(figures) == [telling.CARD, "saliency", "rules", "in_box", "alike"]
    assert all(figure.draw() for figure in figures.values())
    for name, shown in telling.tables(results).items():
        assert all(len(row) == len(shown.headings) for row in shown.rows(results.tables[name]))
    assert telling.bright(np.array([[0.0, 1.0], [1.0, 1.0]]))[..., 0].tolist() == [
        [0, 255],
        [255, 255],
    ]
    assert not telling.bright(np.zeros((2, 2))).any()


@pytest.mark.parametrize(("low", "holds"), [(0.1, True), (-0.1, False)])
def test_the_page_answers_by_the_intervals(saved, low, holds):
    gap = Estimate(0.2, low, 0.3, 3)
    keys = ("transfer_minus_chance", "transfer_minus_noise", "saliency_minus_edges",
            "guided_minus_gradient_other_class")  # fmt: skip
    words = page("class_models", saved(**dict.fromkeys(keys, gap)))
    assert ("it is not shown that they hold" in words) != holds
    assert ("It is not shown that guided backprop depends less on the class" in words) != holds
    answer = words.partition("\n---\n")[0]
    assert ("fooling images" in answer) == (saved()["transfer"].value < 1)
    assert not {"None", "nan"} & {*words.split()}


def test_a_missing_second_net_is_no_error(boxed, probe, tmp_path, root):
    paths = SimpleNamespace(folder_of=lambda name: tmp_path / name)
    assert class_models._second_net(paths, torch.device("cpu")) is None
    result = study(made_net(Linear(), probe), boxed)
    save(result, tmp_path / "class_models", tmp_path / "metrics.json")
    results = Results(tmp_path / "class_models", root)
    assert all(figure.draw() for figure in telling.figures(results))
    assert "no second net" in page("class_models", results)


def test_refusals_are_user_errors(probe):
    with pytest.raises(UserError):
        make(probe, np.array([0]), 3)
