"""Class models and saliency against closed forms, captum and hand-computed shares."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods import UnsupportedModel
from zfnet.methods.class_models import (
    centre_prior,
    class_model,
    class_saliency,
    edge_energy,
    share_in_box,
)

SHAPE = (3, 6, 5)
MEAN = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 255


def linear() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(SHAPE), 4)).double().eval()


def small(act: type[nn.Module] = nn.ReLU, **options: bool) -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), act(**options), nn.MaxPool2d(2), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(6 * 3 * 2, 4),
    ).double()  # fmt: skip


def weights_of(model: nn.Sequential) -> Tensor:
    return model[1].weight.detach().view(-1, *SHAPE)


IMAGES = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
CLASSES = torch.tensor([2, 0, 3])


# ------------------------------------------------------------------------------- class models
@pytest.mark.parametrize("scale", [1.0, torch.tensor([58.0, 57.0, 56.0]).view(3, 1, 1)])
def test_a_linear_nets_class_model_is_its_weights(scale):
    # S = w·g/scale + b, objective S − penalty · ‖g‖²/D: optimum g = D · w / (2 · penalty · scale)
    model, size = linear(), math.prod(SHAPE)
    made = class_model(model, CLASSES, MEAN, scale=scale, penalty=0.5, steps=400)
    best = weights_of(model)[CLASSES] / scale * size / (2 * 0.5)
    torch.testing.assert_close(made.images, MEAN + best, rtol=1e-7, atol=1e-7)
    score = (weights_of(model)[CLASSES] / scale * best).sum(dim=(1, 2, 3)) + model[1].bias[CLASSES]
    torch.testing.assert_close(made.scores[-1], score)
    torch.testing.assert_close(made.scores[0], model[1].bias[CLASSES])  # of the zero image
    torch.testing.assert_close(made.rms[-1], best.square().mean(dim=(1, 2, 3)).sqrt())
    objective = score - 0.5 * best.square().sum(dim=(1, 2, 3)) / size
    torch.testing.assert_close(made.objective[-1], objective)
    outside = ((MEAN + best < 0) | (MEAN + best > 255)).double().mean(dim=(1, 2, 3))
    torch.testing.assert_close(made.outside, outside)


def test_plain_ascent_comes_near_by_the_rate_at_every_step():
    model, best = linear(), weights_of(linear())[1] * math.prod(SHAPE) / (2 * 0.3)
    made = class_model(model, 1, MEAN, penalty=0.3, steps=7, rate=0.2, momentum=0)
    torch.testing.assert_close(made.images[0], MEAN + (1 - 0.8**7) * best)
    way = best.square().mean().sqrt() * (1 - 0.8 ** torch.arange(8, dtype=torch.float64))
    torch.testing.assert_close(made.rms[:, 0], way)
    once = class_model(model, 1, MEAN, penalty=0.3, steps=1, rate=1, momentum=0)
    torch.testing.assert_close(once.images[0], MEAN + best)


@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU])
def test_steps_are_those_of_torchs_sgd(act):
    # the optimiser on the paper's own objective, with λ = penalty / D, is the second implementation
    model, scale, size, penalty = small(act).eval(), 40.0, math.prod(SHAPE), 0.02
    grey = torch.zeros(1, *SHAPE, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([grey], lr=0.03 * size / (2 * penalty), momentum=0.9, maximize=True)
    for _ in range(30):
        sgd.zero_grad()
        (model(grey / scale)[0, 2] - penalty / size * grey.square().sum()).backward()
        sgd.step()
    made = class_model(model, 2, MEAN, scale=scale, penalty=penalty, steps=30, rate=0.03)
    torch.testing.assert_close(made.images, grey.detach() + MEAN)
    assert made.objective[-1] > made.objective[0]


def test_classes_do_not_depend_on_each_other_nor_the_seed_on_them():
    model, options = small(), {"penalty": 0.01, "steps": 10, "noise": 3.0, "seed": 5}
    together = class_model(model, [2, 0, 3], MEAN, **options)
    assert together.scores.shape == (11, 3)
    for i, unit in enumerate(CLASSES.tolist()):
        alone = class_model(model, unit, MEAN, **options)
        torch.testing.assert_close(alone.images[0], together.images[i])
        torch.testing.assert_close(alone.scores[:, 0], together.scores[:, i])
    parts = class_model(model, CLASSES, MEAN, batch_size=2, **options)
    torch.testing.assert_close(parts.images, together.images)
    again = class_model(model, CLASSES, MEAN, **options)
    assert torch.equal(again.images, together.images)
    assert torch.equal(again.scores, together.scores)
    other = class_model(model, CLASSES, MEAN, **options | {"seed": 6})
    assert not torch.allclose(other.images, together.images)


def test_noise_is_in_grey_levels_around_the_mean_image():
    mean = torch.full((3, 64, 64), 100.0)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    made = class_model(model, [0, 1], mean, scale=50.0, noise=4.0, steps=1, rate=1e-9)
    torch.testing.assert_close(made.rms[0], torch.full((2,), 4.0), rtol=0.02, atol=0)
    torch.testing.assert_close(made.images[0], made.images[1], rtol=0, atol=1e-2)


def test_a_dead_start_is_refused_and_noise_helps():
    model = small()
    nn.init.zeros_(model[0].bias)  # as an untrained net has it: at the zero image nothing is active
    with pytest.raises(UserError, match=r"classes \[1\] does not change .* noise"):
        class_model(model, 1, MEAN)
    assert class_model(model, 1, MEAN, noise=1.0, steps=3).scores[-1].isfinite().all()


@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU])
def test_the_model_is_left_as_it_was_in_any_gradient_mode(act, unchanged):
    model = small(act).train()  # dropout must be off inside, and on again afterwards
    expected = class_model(model.eval(), CLASSES, MEAN, steps=3).images
    saliency = class_saliency(model, IMAGES, CLASSES)
    model.train()
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with unchanged(model), mode():
            made = class_model(model, CLASSES.tolist(), MEAN * 1, steps=3)
            assert torch.equal(made.images, expected)
            assert torch.equal(class_saliency(model, IMAGES * 1, CLASSES * 1), saliency)
    with unchanged(model), pytest.raises(UserError):
        class_model(model, 4, MEAN)


def test_a_model_that_works_in_place_is_fine():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(math.prod(SHAPE), 2))
    model.double()
    mean = MEAN.clone()
    made = class_model(model, 0, mean, noise=1.0, steps=3)
    assert torch.equal(mean, MEAN)
    assert made.scores[-1] > made.scores[0]


def test_bytes_are_numbers_of_classes_and_no_mask():
    numbers = torch.ones(4, dtype=torch.uint8)  # as many as the model has outputs
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(SHAPE), 4)).double()
    made, wanted = (class_model(model, n, MEAN, steps=2) for n in (numbers, numbers.long()))
    assert torch.equal(made.scores, wanted.scores)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"classes": 4}, r"0\.\.3"),
        ({"classes": [-1, 2]}, r"0\.\.3"),
        ({"classes": []}, "at least one"),
        ({"classes": 1.0}, "integers"),
        ({"classes": [True, False]}, "integers"),
        ({"mean": MEAN[None]}, r"\(C, H, W\)"),
        ({"mean": MEAN.to(torch.uint8)}, "float"),
        ({"scale": torch.ones(2)}, "scale"),
        ({"penalty": 0.0}, "penalty"),
        ({"rate": math.nan}, "rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"steps": 0}, "steps"),
        ({"noise": -1.0}, "noise"),
        ({"rate": 50.0, "momentum": 0.0, "steps": 400}, "ran away"),
        ({"model": nn.Conv2d(3, 2, 3).double()}, r"\(N, classes\)"),
    ],
)
def test_mistakes_are_named(change, told):
    with pytest.raises(UserError, match=told):
        class_model(**{"model": linear(), "classes": 0, "mean": MEAN} | change)


def test_a_detached_model_is_an_error():
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1)

    with pytest.raises(UnsupportedModel, match="not connected"):
        class_model(Cut(), 0, MEAN)


# ------------------------------------------------------------------------------- saliency
def test_a_linear_nets_saliency_is_the_size_of_its_weights():
    model = linear()
    expected = weights_of(model)[CLASSES].abs().amax(dim=1)
    torch.testing.assert_close(class_saliency(model, IMAGES, CLASSES), expected)
    torch.testing.assert_close(class_saliency(model, IMAGES, 1, batch_size=2)[2],
                               weights_of(model)[1].abs().amax(dim=0))  # fmt: skip
    with pytest.raises(UserError, match=r"units 0\.\.3"):
        class_saliency(model, IMAGES, 4)


@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU])
def test_captum_agrees(act):
    captum = pytest.importorskip("captum.attr")
    model = small(act).eval()
    theirs = captum.Saliency(model).attribute(IMAGES.clone().requires_grad_(), target=CLASSES)
    ours = class_saliency(model, IMAGES, CLASSES)
    assert ours.shape == (3, 6, 5)
    assert ours.max() > 0
    torch.testing.assert_close(ours, theirs.amax(dim=1), rtol=0, atol=1e-14)


# ------------------------------------------------------------------------------- shares
def test_shares_by_hand():
    grid = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    boxes = torch.tensor(
        [[0, 0, 2, 3], [0, 1, 1, 3], [0.5, 0, 2, 1.5], [0, 0, 2, 9], [math.nan] * 4]
    )
    share, area = share_in_box(grid[None], boxes)
    # (0.5 · 1 + 4) + half of (0.5 · 2 + 5): rows count 0.5 and 1, columns 1 and 0.5
    expected = [1, 5 / 21, (4.5 + 3) / 21, 1, math.nan]
    assert share.tolist() == pytest.approx(expected, nan_ok=True)
    assert area.tolist() == pytest.approx([1, 2 / 6, 1.5 * 1.5 / 6, 1, math.nan], nan_ok=True)
    assert share.dtype == area.dtype == torch.float64
    each = torch.stack([grid, grid.flip(1), torch.zeros(2, 3)])
    share, area = share_in_box(each, torch.tensor([[0, 0, 2, 1]] * 3))
    assert share.tolist() == pytest.approx([5 / 21, 9 / 21, math.nan], nan_ok=True)
    assert area.tolist() == pytest.approx([1 / 3] * 3)


def test_a_flat_map_has_the_share_of_the_area():
    corners = torch.rand(50, 2, 2, generator=torch.Generator().manual_seed(4)).double() * 7
    low, high = corners.amin(dim=1), corners.amax(dim=1)
    share, area = share_in_box(torch.ones(50, 7, 7), torch.cat([low, high], dim=1))
    torch.testing.assert_close(share, area)
    torch.testing.assert_close(area, (high - low).prod(dim=1) / 49)


@pytest.mark.parametrize(
    ("maps", "boxes", "told"),
    [
        (torch.ones(2, 2), torch.ones(1, 4), r"maps must be \(N, H, W\)"),
        (torch.ones(1, 2, 2), torch.ones(1, 3), r"boxes \(N, 4\)"),
        (-torch.ones(1, 2, 2), torch.tensor([[0, 0, 1, 1]]), "0 or more"),
        (torch.full((1, 2, 2), math.nan), torch.tensor([[0, 0, 1, 1]]), "finite"),
        (torch.ones(1, 2, 2), torch.tensor([[0, 0, 1, 1], [1, 1, 1, 2]]), r"\[1\] hold no pixel"),
        (torch.ones(1, 2, 2), torch.tensor([[3, 3, 4, 4]]), "hold no pixel"),
        (torch.ones(2, 2, 2), torch.tensor([[0, 0, 1, 1]] * 3), "maps must be one or 3"),
    ],
)
def test_mistakes_of_shares_are_named(maps, boxes, told):
    with pytest.raises(UserError, match=told):
        share_in_box(maps, boxes)


# ------------------------------------------------------------------------------- control maps
def test_the_centre_prior_is_a_gaussian_of_a_quarter_of_each_side():
    prior = centre_prior(40, 60)
    y, x = np.mgrid[:40, :60] + 0.5
    expected = np.exp(-(((y - 20) / 10) ** 2 + ((x - 30) / 15) ** 2) / 2)
    np.testing.assert_allclose(prior[0].numpy(), expected, rtol=1e-12)
    share, area = share_in_box(prior, torch.tensor([[10, 15, 30, 45], [0, 0, 20, 30]]))
    # one deviation either way, of a Gaussian cut at two: (0.6827 / 0.9545)²; a quadrant: a quarter
    assert share.tolist() == pytest.approx([(0.6827 / 0.9545) ** 2, 0.25], abs=2e-3)
    assert area.tolist() == [0.25, 0.25]


def test_edges_are_scipys_sobel_and_a_ramp_gives_its_slope():
    images = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(5)).double() * 255
    # plane by plane, as scipy smooths along every other axis
    planes = images.reshape(6, 9, 8).numpy()
    sobel = [
        np.stack([ndimage.sobel(plane, axis, mode="nearest") / 8 for plane in planes])
        for axis in (0, 1)
    ]
    expected = np.hypot(*sobel).reshape(2, 3, 9, 8).max(axis=1)
    np.testing.assert_allclose(edge_energy(images).numpy(), expected, rtol=1e-10)
    ramp = (3 * torch.arange(8.0)).expand(1, 1, 6, 8)
    torch.testing.assert_close(edge_energy(ramp)[:, :, 1:-1], torch.full((1, 6, 6), 3.0))
    assert torch.count_nonzero(edge_energy(torch.full((1, 3, 5, 5), 200.0))) == 0
