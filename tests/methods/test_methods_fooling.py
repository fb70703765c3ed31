"""FGSM, smallest perturbations and fooling images against the closed forms of linear nets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods import UnsupportedModel
from zfnet.methods.fooling import (
    LEAD,
    fgsm,
    fooling_image,
    noise_like,
    on_grid,
    smallest_perturbation,
)
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.net import Normalise
from zfnet.models.spec import build_spec

SIDE = 8


def normalise(pixels: Tensor) -> Tensor:
    """As torchvision's models ask for: a grey level is 1 / 57.4 of the net's unit."""
    return (pixels / 255 - 0.45) / 0.225


GREY = 255 * 0.225


def pictures(n: int, low: int = 60, high: int = 196, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (n, 3, SIDE, SIDE), generator=generator).double()


def linear(classes: int, scale: float = 0.1, seed: int = 1, side: int = SIDE) -> nn.Sequential:
    layer = nn.Linear(3 * side * side, classes).double()
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(layer.weight, 0, scale, generator=generator)
    nn.init.normal_(layer.bias, 0, 1, generator=generator)
    return nn.Sequential(nn.Flatten(), layer)


def weights(net: nn.Sequential) -> Tensor:
    """Rows (classes, 3, H, W): the change of a logit for one grey level more in a pixel."""
    return net[1].weight.detach().view(-1, 3, SIDE, SIDE) / GREY


@torch.no_grad()
def logits_of(net: nn.Module, pixels: Tensor) -> Tensor:
    return net(normalise(pixels))


def convolutional(activation: type[nn.Module] = nn.GELU, seed: int = 2) -> nn.Sequential:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), activation(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8), activation(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 4),
    ).double()  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        deviation = (4 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.5
        nn.init.normal_(parameter, 0.0, deviation, generator=generator)
    return net


# ------------------------------------------------------------------------------- FGSM
def test_fgsm_of_a_linear_net_is_the_closed_form():
    net, x = linear(2), pictures(3)
    labels = logits_of(net, x).argmax(dim=1)
    w = weights(net)[1 - labels] - weights(net)[labels]
    moved = fgsm(net, x, labels, 3, normalise=normalise)
    assert torch.equal(moved, x + 3 * w.sign())

    def margins(pixels: Tensor) -> Tensor:
        rows, logits = torch.arange(3), logits_of(net, pixels)
        return logits[rows, 1 - labels] - logits[rows, labels]

    by_hand = margins(x) + 3 * w.abs().sum(dim=(1, 2, 3))  # margin + epsilon |w|_1
    torch.testing.assert_close(margins(moved), by_hand)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_fgsm_follows_the_gradient_of_cross_entropy(activation):
    net, x, labels = convolutional(activation).eval(), pictures(5), torch.tensor([0, 1, 2, 3, 0])
    leaf = x.clone().requires_grad_()
    F.cross_entropy(net(normalise(leaf)), labels, reduction="sum").backward()
    moved = fgsm(net, x, labels, 2, normalise=normalise, batch_size=2)
    assert torch.equal(moved, x + 2 * leaf.grad.sign())


def test_fgsm_works_where_the_softmax_is_saturated():
    net, x = linear(3, scale=100.0), pictures(2)
    logits = logits_of(net, x)
    labels, second = logits.topk(2).indices.unbind(1)
    assert (logits.topk(2).values.diff() < -100).all()  # p = 1 in float64: cross-entropy is flat
    leaf = x.clone().requires_grad_()
    F.cross_entropy(net(normalise(leaf)), labels).backward()
    assert not leaf.grad.sign().any()
    w = weights(net)[second] - weights(net)[labels]
    assert torch.equal(fgsm(net, x, labels, 1, normalise=normalise), x + w.sign())


def test_several_epsilons_stay_in_the_box_on_the_grid_and_within_the_bound():
    net, x = convolutional(), pictures(4, low=0, high=256)
    epsilons = [0, 1, 2, 8]
    moved = fgsm(net, x, 1, epsilons, normalise=normalise)
    assert moved.shape == (4, *x.shape)
    for epsilon, one in zip(epsilons, moved, strict=True):
        assert torch.equal(one, fgsm(net, x, 1, epsilon, normalise=normalise))
        assert (one - x).abs().max() == epsilon
        assert one.min() >= 0
        assert one.max() <= 255
        assert torch.equal(on_grid(one).pixels, one)


def test_pixels_without_influence_stay():
    net, x = linear(2), pictures(1)
    net[1].weight.data.view(2, 3, SIDE, SIDE)[:, :, 2:] = 0
    moved = fgsm(net, x, 0, 4, normalise=normalise) != x
    assert moved[:, :, :2].all()
    assert not moved[:, :, 2:].any()


# ------------------------------------------------------------------------------- the control
def test_noise_has_the_same_norms_and_no_direction():
    net = linear(2, scale=0.02)
    net[1].bias.data.zero_()
    x = torch.cat([pictures(20), pictures(20, low=0, high=256, seed=3)])
    labels = logits_of(net, x).argmax(dim=1)
    moved = fgsm(net, x, labels, 16, normalise=normalise)
    noisy = noise_like(x, moved, seed=5)
    change, noise = (moved - x).flatten(1), (noisy - x).flatten(1)
    # the very same sizes, hence the same L1, L2 and largest change
    assert torch.equal(change.abs().sort(dim=1).values, noise.abs().sort(dim=1).values)
    assert noisy.min() >= 0
    assert noisy.max() <= 255
    assert torch.equal(noisy, noisy.round())
    alike = (change.sign() * noise.sign()).mean(dim=1)
    assert alike.abs().max() < 5 / (3 * SIDE**2) ** 0.5
    fooled = (logits_of(net, moved).argmax(dim=1) != labels).double().mean()
    astray = (logits_of(net, noisy).argmax(dim=1) != labels).double().mean()
    assert fooled > 0.9
    assert astray < fooled / 2


def test_noise_on_burnt_out_pixels_is_not_the_perturbation_itself():
    x = torch.full((1, 3, SIDE, SIDE), 255.0)
    moved = x.clone()
    moved[..., : SIDE // 2] -= 4  # half of the white pixels, which noise can only darken
    noise = noise_like(x, moved) - x
    assert (noise == -4).sum() == x.numel() // 2
    assert set(noise.unique().tolist()) == {-4.0, 0.0}
    assert 0.3 < (noise[..., : SIDE // 2] != 0).float().mean() < 0.7


def test_noise_depends_on_seed_and_picture_alone():
    x = pictures(3)
    moved = x + 2
    noisy = noise_like(x, moved, seed=1)
    assert torch.equal(noise_like(x, moved, seed=1), noisy)
    assert torch.equal(noise_like(x[1:2], moved[1:2], seed=1), noisy[1:2])
    assert not torch.equal(noise_like(x, moved, seed=2), noisy)
    assert not torch.equal(noisy[0] - x[0], noisy[1] - x[1])


# ------------------------------------------------------------------------------- the smallest
def test_the_smallest_perturbation_of_a_linear_net_is_the_closed_form():
    net, x = linear(2), pictures(4)
    logits = logits_of(net, x)
    targets = logits.argmin(dim=1)
    rows = torch.arange(4)
    w = weights(net)[targets] - weights(net)[1 - targets]
    gap = logits[rows, 1 - targets] - logits[rows, targets] + LEAD
    by_hand = (gap / w.square().sum(dim=(1, 2, 3)))[:, None, None, None] * w
    assert (x + by_hand).min() > 0  # the box plays no part
    found = smallest_perturbation(net, x, targets, normalise=normalise)
    assert found.success.all()
    torch.testing.assert_close(found.pixels - x, by_hand, rtol=1e-4, atol=1e-6)


def test_the_smallest_perturbation_keeps_to_the_box():
    net, x = linear(2, scale=0.02, seed=4), pictures(2, low=0, high=256, seed=6)
    x[x < 60], x[x > 195] = 0, 255
    logits = logits_of(net, x)
    targets = logits.argmin(dim=1)
    found = smallest_perturbation(net, x, targets, normalise=normalise)
    for i, target in enumerate(targets):
        w = weights(net)[target] - weights(net)[1 - target]
        gap = float(logits[i, 1 - target] - logits[i, target]) + LEAD
        low, high = 0.0, 1e6  # Karush-Kuhn-Tucker: r = multiplier x w, clipped to the box
        for _ in range(100):
            middle = (low + high) / 2
            r = (x[i] + middle * w).clamp(0, 255) - x[i]
            low, high = (low, middle) if (w * r).sum() >= gap else (middle, high)
        assert ((x[i] + high * w < 0) | (x[i] + high * w > 255)).any()
        torch.testing.assert_close(found.pixels[i] - x[i], r, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("scale", "excess"), [(0.3, 0.1), (10.0, 0.005)])  # steep: one rival
def test_the_smallest_perturbation_among_classes_is_near_the_quadratic_programme(scale, excess):
    from scipy.optimize import minimize

    net, x = linear(5, scale), pictures(3)
    logits, w = logits_of(net, x), weights(net).flatten(1).numpy()
    targets = logits.argmin(dim=1)
    found = smallest_perturbation(net, x, targets, normalise=normalise)
    assert found.success.all()
    for i, target in enumerate(targets.tolist()):
        # The least |r| lies in the span of the rows, where there are few unknowns.
        rows = np.delete(w[target] - w, target, axis=0)
        gaps = np.delete((logits[i] - logits[i, target]).numpy(), target) + LEAD
        unit = np.abs(gaps).max()
        rows, gaps = rows / unit, gaps / unit
        gram = rows @ rows.T
        least = minimize(
            lambda a, g=gram: a @ g @ a, np.ones(4), jac=lambda a, g=gram: 2 * g @ a,
            constraints={"type": "ineq", "fun": lambda a, g=gram, b=gaps: g @ a - b,
                         "jac": lambda a, g=gram: g}, method="SLSQP",
        )  # fmt: skip
        assert least.success
        ours = float((found.pixels[i] - x[i]).norm())
        assert 1 - 1e-5 <= ours / least.fun**0.5 <= 1 + excess


def test_the_smallest_perturbation_of_a_gelu_net_succeeds_on_the_grid_too(unchanged):
    net, x = convolutional().train(), pictures(4, low=0, high=256)
    net[0].weight.requires_grad_(False)
    rough = torch.randn(3, generator=torch.Generator().manual_seed(0))  # the generator stays, too
    with unchanged(net):
        found = smallest_perturbation(net, x, 3, normalise=normalise)
        again = smallest_perturbation(net, x, 3, normalise=normalise, batch_size=1)
        alone = smallest_perturbation(net, x[2:3], 3, normalise=normalise)
        moved = fgsm(net, x, 3, [1, 32], normalise=normalise)
    assert torch.equal(rough, torch.randn(3, generator=torch.Generator().manual_seed(0)))
    net.eval()
    assert found.success.all()
    assert found.grid_success.all()
    clean = logits_of(net, x).argmax(dim=1) == 3
    for pixels in (found.pixels, found.grid):
        assert (logits_of(net, pixels).argmax(dim=1) == 3).all()
        assert pixels.min() >= 0
        assert pixels.max() <= 255
        assert torch.equal(pixels[clean], x[clean])  # nothing to do, nothing done
        assert (pixels != x).flatten(1).any(dim=1)[~clean].all()
    assert torch.equal(found.grid, found.grid.round())
    # smaller than the change by which FGSM leaves the class, and reproducible
    assert (found.pixels - x).norm() < (moved[1] - x).norm()
    torch.testing.assert_close(again.pixels, found.pixels, rtol=0, atol=1e-6)
    torch.testing.assert_close(alone.pixels, found.pixels[2:3], rtol=0, atol=1e-6)


def test_a_target_out_of_reach_is_no_success():
    net, x = linear(3), pictures(2)
    net[1].weight.data[2] = 0
    net[1].bias.data[:2], net[1].bias.data[2] = 0, -1e4
    found = smallest_perturbation(net, x, 2, normalise=normalise, iterations=5)
    assert not found.success.any()
    assert not found.grid_success.any()
    assert torch.equal(found.pixels, x)


# ------------------------------------------------------------------------------- from noise
def test_fooling_images_of_a_linear_net_go_along_the_weights():
    net = linear(2, scale=0.01, seed=7)
    made = fooling_image(net, [0, 1], (SIDE, SIDE), normalise=normalise, steps=1, rate=20)
    w = weights(net)[[0, 1]] - weights(net)[[1, 0]]
    step = 20 * w / w.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    assert torch.equal(made.pixels, (made.start + step).clamp(0, 255).round())
    assert made.steps.tolist() == [1, 1]
    assert (made.probability > made.start_probability).all()


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_fooling_images_have_the_probability_they_name(activation, unchanged):
    net, classes = convolutional(activation).train(), [2, 0, 3, 2]
    call = {"size": (SIDE, SIDE), "normalise": normalise, "rate": 3.0}
    with unchanged(net):
        made = fooling_image(net, classes, **call)
        alone = fooling_image(net, classes[:1], **call)
        other = fooling_image(net, classes[:1], **call, seed=1)
    net.eval()
    rows = torch.arange(4)
    for pixels, named in [
        (made.pixels, made.probability),
        (made.start, made.start_probability),
    ]:
        assert torch.equal(on_grid(pixels).pixels, pixels)
        there = logits_of(net, pixels).softmax(dim=1)[rows, torch.tensor(classes)]
        torch.testing.assert_close(named, there)
    assert (made.probability >= 0.99).all()
    assert (made.steps <= 200).all()
    assert torch.equal(made.pixels[0], made.pixels[3])  # of one class, one seed
    torch.testing.assert_close(alone.pixels, made.pixels[:1], rtol=0, atol=1)
    assert not torch.equal(other.start, alone.start)


def test_a_class_that_no_pixel_moves_stays_noise():
    net = linear(2)
    net[1].weight.data.zero_()
    net[1].bias.data = torch.tensor([1.0, 0.0]).double()
    made = fooling_image(net, [1], (SIDE, SIDE), normalise=normalise, steps=3)
    assert torch.equal(made.pixels, made.start)
    assert made.steps.item() == 3
    assert made.probability.item() == pytest.approx(1 / (1 + np.e))


# ------------------------------------------------------------------------------- the grid
def test_on_grid_rounds_clips_and_says_what_changed():
    x = torch.tensor([[-3.0, 0.4, 1.5, 2.5], [255.2, 260.0, 100.0, 7.75]]).view(2, 1, 1, 4)
    grid = on_grid(x)
    assert grid.pixels.flatten().tolist() == [0, 0, 2, 2, 255, 255, 100, 8]
    np.testing.assert_allclose(grid.largest, [3.0, 5.0], rtol=1e-6)
    squares = [9 + 0.16 + 0.25 + 0.25, 0.04 + 25 + 0 + 0.0625]
    np.testing.assert_allclose(grid.rms, np.sqrt(np.array(squares) / 4), rtol=1e-5)


@pytest.mark.parametrize("epsilon", [0.4, 0.7, 1.5, 2.0, 3.6])
def test_the_bound_holds_after_rounding(epsilon):
    x = pictures(2, low=0, high=256)
    moved = fgsm(convolutional(), x, 0, epsilon, normalise=normalise)
    grid = on_grid(moved, clean=x, epsilon=epsilon).pixels
    assert torch.equal(grid, grid.round())
    assert (grid - x).abs().max() == int(epsilon)
    beyond = on_grid(moved).pixels
    assert ((beyond - x).abs().max() > epsilon) == (epsilon in (0.7, 3.6, 1.5))
    with pytest.raises(UserError, match="whole grey levels"):
        on_grid(moved, clean=x + 0.5, epsilon=epsilon)


# ------------------------------------------------------------------------------- the project's nets
def test_the_projects_nets_and_pixels_in_float32(unchanged):
    net = ConvNet(build_spec("zfnet", width=0.125, input_px=64, num_classes=5, fc_units=16))
    init_weights(net, "he", seed=1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (3, 3, 64, 64), generator=generator).float()
    mean = Normalise.mean_image(torch.full((3, 64, 64), 120.0), 64)
    with torch.inference_mode():
        labels, targets = net.eval()(mean(x)).topk(2).indices.unbind(1)
    with torch.inference_mode(), unchanged(net.train()):  # as some callers are
        moved = fgsm(net, x, labels, [1, 4], normalise=mean)
        alone = torch.cat([fgsm(net, x[i : i + 1], labels[i], 4, normalise=mean) for i in range(3)])
        found = smallest_perturbation(net, x, targets, normalise=mean)
        made = fooling_image(net, [0, 4], (64, 64), normalise=mean, steps=3)
    assert (moved[1] == alone).float().mean() > 0.999  # float32 sums in another order
    assert moved.dtype == found.pixels.dtype == made.pixels.dtype == torch.float32
    assert found.success.all()
    net.eval()
    with torch.no_grad():
        for i, pixels in itertools.product(range(3), (found.pixels, found.grid)):
            assert net(mean(pixels[i : i + 1])).argmax() == targets[i]  # in a batch of its own
    assert (made.probability > made.start_probability).all()


def test_a_model_that_writes_into_its_input():
    net, x = linear(2), pictures(2)
    rude = nn.Sequential(nn.Hardtanh(-10, 10, inplace=True), *net)
    before = x.clone()

    def same(pixels: Tensor) -> Tensor:
        return pixels.sub_(128).div_(64)

    moved = fgsm(rude, x, 0, 1, normalise=same)
    smallest_perturbation(rude, x, 0, normalise=same)
    assert torch.equal(x, before)
    assert torch.equal(moved, x + (weights(net)[1] - weights(net)[0]).sign())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pixels": pictures(2) - 128}, "net input"),
        ({"pixels": pictures(2) / 255}, r"not net input or 0\.\.1"),
        ({"pixels": pictures(2)[0]}, r"\(N, 3, H, W\)"),
        ({"pixels": pictures(2)[:0]}, r"\(N, 3, H, W\)"),
        ({"pixels": pictures(2).to(torch.uint8)}, "float"),
        ({"pixels": torch.full((1, 3, SIDE, SIDE), torch.nan)}, "grey levels"),
        ({"labels": 3}, r"0\.\.2"),
        ({"labels": -1}, r"0\.\.2"),
        ({"labels": torch.tensor([0.0, 1.0])}, "integers"),
        ({"labels": torch.tensor([0, 1, 2])}, "one or 2"),
        ({"epsilon": -1}, "epsilon"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"normalise": lambda x: normalise(x).detach()}, "not connected"),
        ({"model": linear(1)}, "two classes or more"),
        ({"model": nn.Conv2d(3, 3, 3).double()}, "logits"),
    ],
)
def test_mistakes_are_named(change, reason, unchanged):
    call = {"model": linear(3), "pixels": pictures(2), "labels": 0, "epsilon": 1}
    call |= {"normalise": normalise} | change
    with unchanged(call["model"]), pytest.raises(UserError, match=reason):
        fgsm(**call)
    if "epsilon" not in change:
        call["targets"] = call.pop("labels")
        del call["epsilon"]
        with unchanged(call["model"]), pytest.raises(UserError, match=reason):
            smallest_perturbation(**call)


def test_other_mistakes_are_named():
    with pytest.raises(UserError, match="no perturbed"):
        noise_like(pictures(2), pictures(1))
    for change in ({"classes": []}, {"probability": 1.0}, {"rate": 0.0}):
        call = {"model": linear(2), "classes": [0], "size": (SIDE, SIDE)} | change
        with pytest.raises(UserError, match="at least one class"):
            fooling_image(**call, normalise=normalise)
    with pytest.raises(UserError, match=r"0\.\.1"):
        fooling_image(linear(2), [-1], (SIDE, SIDE), normalise=normalise)
    assert issubclass(UnsupportedModel, UserError)
