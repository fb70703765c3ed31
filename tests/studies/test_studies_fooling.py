"""What fools a net whose answer is the brighter colour: every share has a closed form."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from zfnet.figures import fooling as telling
from zfnet.figures.kit.show import to_image
from zfnet.models.net import Net, Normalise
from zfnet.pipeline.survey import SURVEY, Fooling
from zfnet.report.study import page
from zfnet.results import Results, save
from zfnet.studies import fooling
from zfnet.studies.base import Inputs
from zfnet.studies.fooling import EPSILONS, OWN, Viewer, change, compared, linear_classifier

PX = 16
LEADS = (1, 3, 5, 9, 17, 33)  # grey levels by which the own colour is the brighter one
CPU = torch.device("cpu")


class Brighter(nn.Module):
    """Logits: the mean of each colour, times `slope`."""

    def __init__(self, slope: float = 0.3) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.slope * x.mean((2, 3))


class Constant(nn.Module):
    """Says the first class to everything."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0 * x.mean((2, 3)) + torch.tensor([1.0, 0.0, 0.0])


def net_of(model: nn.Module, name: str = "zfnet", **more) -> Net:
    return Net(
        model=model.eval(), input_px=PX, classes=["red", "green", "blue"], name=name, arch="made",
        normalise=Normalise.mean_image(np.full((3, PX, PX), 100, np.float32), PX), taps={}, **more,
    )  # fmt: skip


@pytest.fixture
def colours(set_of):
    """Six leads of three colours; classes take turns."""
    images = np.full((18, PX, PX, 3), 128, np.uint8)
    for i in range(18):
        images[i, :, :, i % 3] += LEADS[i // 3]
    return set_of(images, [i % 3 for i in range(18)])


def study(prepared, net, second=None, **changes):
    cfg = Fooling(**{"max_images": 18, "smallest": 3, "steps": 60, "device": "cpu"} | changes)
    inputs = Inputs(prepared, "val", net, CPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inputs, "of_stage", classmethod(lambda cls, cfg, paths, split, **_: inputs))
        patch.setattr(fooling, "second_net", lambda paths, device: second)
        return fooling.run(cfg, SimpleNamespace(leads=True))


def pictures(prepared):
    return torch.from_numpy(prepared.split("val")._images).permute(0, 3, 1, 2).float()


def test_a_step_changes_the_answers_that_lead_by_less_than_two_steps(colours):
    found = study(colours, net_of(Brighter())).estimates
    for epsilon in EPSILONS:
        share = sum(lead < 2 * epsilon for lead in LEADS) / len(LEADS)
        assert found[f"fgsm_{epsilon}"].value == pytest.approx(share)
        gap, noise = found[f"fgsm_minus_noise_{epsilon}"], found[f"noise_{epsilon}"]
        assert gap.value == pytest.approx(share - noise.value)
    assert found["noise_1"].value == found["noise_2"].value == 0
    assert found["images"].value == found["fgsm_1"].n == 18
    assert found["fgsm_minus_noise_2"].low > 0


def test_of_equal_changes_nothing_is_left(colours):
    tested = change(Viewer.of(net_of(Brighter()), CPU), pictures(colours), np.arange(18) % 3, 0)
    both = {"fgsm": tested.wrong["noise"], "noise": tested.wrong["noise"]}
    assert all(compared(both, OWN, "gap")[f"gap_{e}"].value == 0 for e in EPSILONS)


def test_pictures_are_on_the_grid_and_no_further_than_the_step(colours):
    clean = pictures(colours)
    tested = change(Viewer.of(net_of(Brighter()), CPU), clean, np.arange(18) % 3, 0, None, [4])
    image = tested.pictures["clean_pictures"][0].astype(int)
    for kind in OWN:
        moved = tested.pictures[f"{kind}_pictures"][0].astype(int) - image
        assert [np.unique(np.abs(each)).tolist() for each in moved] == [[1], [2], [4], [8]]


def test_a_like_net_errs_on_its_own_changes_and_not_on_those_of_another_class(colours):
    model = Viewer.of(net_of(Brighter()), CPU)
    tested = change(model, pictures(colours), np.arange(18) % 3, 0, model)
    assert np.array_equal(tested.wrong["transfer_fgsm"], tested.wrong["fgsm"])
    assert np.array_equal(tested.wrong["transfer_noise"], tested.wrong["noise"])
    assert not tested.wrong["transfer_other"].any()


def test_the_other_change_is_the_one_before_in_a_ring_also_across_blocks(colours, monkeypatch):
    monkeypatch.setattr(fooling, "BATCH", 4)
    same = np.zeros(6, np.int64)
    one_class = pictures(colours)[::3]  # all of one class: another's change is as good as its own
    model = Viewer.of(net_of(Brighter()), CPU)
    tested = change(model, one_class, same, 0, model)
    assert np.array_equal(tested.wrong["transfer_other"], tested.wrong["fgsm"])


def test_only_images_that_both_know_are_counted(colours):
    found = study(colours, net_of(Brighter()), net_of(Constant(), "alexnet")).estimates
    assert found["transfer_fgsm_16"].n == 6  # the red ones
    assert found["transfer_minus_noise_16"].value == found["transfer_minus_other_16"].value == 0
    assert found["fooled_alone"].value == pytest.approx(2 / 3)


def test_a_net_that_is_never_right_has_no_answers_to_change(colours):
    wrong = net_of(Brighter(), class_index=np.array([1, 2, 0]))
    result = study(colours, wrong, net_of(Brighter(), "alexnet"))
    assert result.estimates["images"].value == 0
    assert not [key for key in result.estimates if re.match(r"(fgsm|noise|transfer|small)", key)]
    assert result.estimates["confidence_errors"].n == 18
    assert result.estimates["fooled_classes"].value == 1


def test_a_net_without_the_data_s_classes_measures_the_linear_one_alone(colours):
    result = study(colours, net_of(Brighter(), class_index=np.full(3, -1)))
    assert {key.split("_")[0] for key in result.estimates} == {"images", "linear"}


def test_the_smallest_change_is_that_of_a_linear_net(colours):
    result = study(colours, net_of(Brighter()), smallest=18)
    assert result.estimates["smallest_found"].value == 1
    labels = np.random.default_rng([0, 51]).permutation(18)
    for row, record in zip(labels, result.tables["smallest"].records(), strict=True):
        least = LEADS[row // 3] / math.sqrt(6)  # half the lead off one colour and onto another
        assert least * 0.999 <= record["rms_unrounded"] <= 1.4 * least
    values = sorted(record["rms"] for record in result.tables["smallest"].records())
    assert result.estimates["smallest_rms"].value == pytest.approx((values[8] + values[9]) / 2)


def test_a_flat_net_is_never_sure_of_pictures_of_nothing(colours):
    assert study(colours, net_of(Brighter(0.3))).estimates["fooled_classes"].value == 1
    flat = study(colours, net_of(Brighter(1e-4)), net_of(Brighter(), "alexnet")).estimates
    assert flat["fooled_classes"].value == flat["fooled_start"].value == 0
    assert "fooled_alone" not in flat


def test_the_first_known_images_are_taken_and_unknown_classes_left_out(colours):
    net = net_of(Brighter(), class_index=np.array([0, -1, 1]))  # blue counts as output 1: wrong
    inputs = Inputs(colours, "val", net, CPU)
    order = np.arange(18)[::-1].copy()
    known = fooling.first_known(
        Viewer.of(net, CPU), order, inputs.outputs, lambda rows: inputs.pixels(rows).float(), 4
    )
    assert known.rows.tolist() == [15, 12, 9, 6]
    assert (known.answered, len(known.errors), known.looked) == (12, 6, 18)


# ------------------------------------------------------------------------------ a linear classifier
@pytest.fixture
def noisy():
    """Forty noisy pictures (40, 3, 6, 6) of two classes."""
    rng = np.random.default_rng(3)
    labels = np.arange(40) % 2 * 5  # labels need not be 0 and 1
    images = rng.integers(60, 190, (40, 3, 6, 6)) + 8 * (labels == 5)[:, None, None, None]
    return torch.from_numpy(images).float(), labels


def test_the_linear_classifier_is_scikit_learn_s(noisy):
    from sklearn.linear_model import LogisticRegression

    images, labels = noisy
    model, classes = linear_classifier(images, labels)
    assert classes.tolist() == [0, 5]
    flat = images.double().flatten(1).numpy()
    flat -= flat.mean(0)
    flat /= np.sqrt((flat**2).sum(1).mean())
    # Its one row of weights is the difference of our two: half the penalty for the same difference.
    theirs = LogisticRegression(C=2.0, tol=1e-8).fit(flat, labels).decision_function(flat)
    ours = model.logits(images).diff(dim=1)[:, 0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=0.02)


def test_a_step_against_it_costs_the_sum_of_its_weights(noisy):
    images, labels = noisy
    model, _ = linear_classifier(images, labels)
    outputs = model.answers(images)[0]
    lead = model.logits(images).diff(dim=1)[:, 0].numpy() * np.where(outputs == 1, 1, -1)
    one = torch.full((1, 3, 6, 6), 100.0)
    basis = torch.eye(108).view(108, 3, 6, 6)
    slopes = (model.logits(one + basis) - model.logits(one)).diff(dim=1)[:, 0]
    cost = float(slopes.abs().sum())
    tested = change(model, images, outputs, 0)
    for e, epsilon in enumerate(EPSILONS):
        assert np.array_equal(tested.wrong["fgsm"][e], lead < epsilon * cost)


# -------------------------------------------------------------------------------- what is written
@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize("knows", [True, False])
def test_every_number_is_declared_and_everything_is_told(colours, place, second, knows):
    index = None if knows else np.array([1, 2, 0])
    other = net_of(Brighter(), "alexnet") if second else None
    net = net_of(Brighter(), class_index=index)
    result, again = (study(colours, net, other) for _ in range(2))
    assert result.estimates == again.estimates
    patterns = [quantity.pattern for quantity in SURVEY["fooling"].quantities]
    for key in result.estimates:
        assert any(re.fullmatch(pattern, key) for pattern in patterns), key
    save(result, place / "results" / "fooling", place / "metrics" / "fooling.json")
    read = Results(place / "results" / "fooling", place)
    names = [each.name for each in telling.figures(read)]
    assert names[-1] == "grown"
    assert (telling.CARD in names) == bool([key for key in result.estimates if "fgsm" in key])
    assert ("image_3" in names) == knows
    for figure in telling.figures(read):
        assert min(to_image(figure.draw()).size) > 200
    for name, shown in telling.tables(read).items():
        assert all(len(row) == len(shown.headings) for row in shown.rows(read.tables[name]))
    answer, parted, _ = page("fooling", read).partition("\n---\n")
    assert parted
    assert answer.strip()


def test_another_net_of_the_training_is_asked_only_if_it_was_trained_here(tmp_path):
    paths = SimpleNamespace(folder_of=lambda net: tmp_path / net)
    assert fooling.second_net(paths, CPU) is None
