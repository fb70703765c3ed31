"""Inversion of codes: priors in closed form, exact recovery, the two errors, the optimiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods import UnsupportedModel
from zfnet.methods.inversion import (
    ALPHA_WEIGHT,
    TV_WEIGHT,
    TYPICAL_RMS,
    _priors,
    alpha_norm,
    code_spread,
    invert,
    mean_distance,
    minimise,
    pixel_error,
    total_variation,
)
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.spec import build_spec

FREE = {"alpha_weight": 0.0, "tv_weight": 0.0}
AT_4 = 0.05 * (227 / 4) ** 2  # weight of TV that has some effect on 4 px, and on 15
AT_15 = 5 * (227 / 15) ** 2


def randn(*shape: int, seed: int = 0, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * size


@pytest.fixture(scope="module")
def small() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(12, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 25, 6),
    ).double().eval()  # fmt: skip


IMAGES = randn(4, 3, 15, 15, seed=6, size=60)


# ------------------------------------------------------------------------------- the priors
def tv_by_hand(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and gradient of the total variation of one picture (C, H, W), pixel by pixel."""
    value, gradient = 0.0, np.zeros_like(x)
    for place in np.ndindex(x.shape):
        c, i, j = place
        for other in ((c, i, j + 1), (c, i + 1, j)):
            if other[1] < x.shape[1] and other[2] < x.shape[2]:
                step = x[other] - x[place]
                value += step**2
                gradient[other] += 2 * step
                gradient[place] -= 2 * step
    return value, gradient


def alpha_by_hand(x: np.ndarray) -> tuple[float, np.ndarray]:
    return float((np.abs(x) ** 6).sum()), 6 * np.abs(x) ** 5 * np.sign(x)


@pytest.mark.parametrize(
    ("prior", "by_hand"), [(total_variation, tv_by_hand), (alpha_norm, alpha_by_hand)]
)
def test_priors_and_their_gradients(prior, by_hand):
    x = randn(3, 2, 4, 5, seed=1).requires_grad_()
    values = prior(x)
    (gradient,) = torch.autograd.grad(values.sum(), x)
    for i in range(3):
        value, slope = by_hand(x[i].detach().numpy())
        assert float(values[i].detach()) == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(gradient[i].numpy(), slope, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(prior, x)  # finite differences


def test_scaling_a_picture_leaves_the_priors_as_they_were():
    def smooth(px: int) -> Tensor:
        at = (torch.arange(px).double() + 0.5) / px
        return 60 * (torch.sin(3 * at)[:, None] * torch.cos(2 * at)).expand(1, 3, px, px)

    sizes = []
    for px in (40, 160):
        size = TYPICAL_RMS**2 * 3
        sizes.append(
            [float(total_variation(smooth(px))), float(alpha_norm(smooth(px))) / (size * px**2)]
        )
    assert sizes[0] == pytest.approx(sizes[1], rel=0.03)


def test_the_priors_written_out_are_those_of_autograd():
    x = randn(3, 2, 4, 5, seed=1).requires_grad_()
    values = 0.3 * alpha_norm(x) + 0.7 * total_variation(x)
    (gradient,) = torch.autograd.grad(values.sum(), x)
    own, slope = _priors(x.detach(), 0.3, 0.7)
    torch.testing.assert_close(own, values.detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(slope, gradient, rtol=1e-12, atol=1e-12)


def test_priors_of_simple_pictures():
    flat = torch.full((2, 3, 6, 7), -42.0, dtype=torch.float64)
    assert total_variation(flat).tolist() == [0, 0]
    assert alpha_norm(flat).tolist() == [126 * 42.0**6] * 2  # even, so a negative picture counts
    edge = torch.zeros(1, 2, 6, 7, dtype=torch.float64)
    edge[:, :, :, 3:] = 10  # one edge of 10 grey levels, 6 pixels long, in two colours
    assert total_variation(edge).tolist() == [2 * 6 * 100]


def test_the_weights_are_the_papers():
    # For pictures of unit norm at 227 px the paper has 2.16e8 and, at middle layers, 5.
    norm = TYPICAL_RMS * (3 * 227 * 227) ** 0.5
    assert norm == pytest.approx(27098.1)
    assert ALPHA_WEIGHT * norm**4 == pytest.approx(2.16e8, rel=2e-3)
    assert TV_WEIGHT == 5


@pytest.mark.parametrize("px", [15, 30])
def test_the_first_loss_is_the_objective(px):
    """The objective, written once more, at the start; in grey levels whatever the net's input."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).double()
    grey = torch.tensor([50.0, 60.0, 70.0], dtype=torch.float64)
    images = randn(2, 3, px, px, seed=2)
    # without any weight nothing pulls, and the picture is still the noise that it started from
    start = invert(model, images, "1", steps=1, seed=7, **FREE, code_weight=0).images
    norms = start.flatten(1).norm(dim=1) / (3 * px**2) ** 0.5
    assert norms.tolist() == pytest.approx([TYPICAL_RMS] * 2)
    found = invert(model, images, "1", steps=1, seed=7, scale=grey, code_weight=0.5)
    target = model(images).detach()
    code = model(start / grey.view(3, 1, 1)).detach()
    squares = (code - target).square().sum((1, 2, 3)) / target.square().sum((1, 2, 3))
    size = TYPICAL_RMS**2 * 3 * px**2
    smooth = total_variation(start) / (TYPICAL_RMS**2 * 3 * 227**2)
    want = 0.5 * squares + 4e-10 * alpha_norm(start) / size + 5 * smooth
    torch.testing.assert_close(found.loss[:, 0], want)


# ------------------------------------------------------------------------------- recovery
def test_an_invertible_linear_layer_gives_the_image_back():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 48)).double()
    with torch.no_grad():  # singular values from 1 to 5
        u, _, v = torch.linalg.svd(model[1].weight)
        model[1].weight.copy_(u @ torch.linspace(1, 5, 48).double().diag() @ v)
    images = randn(3, 3, 4, 4, seed=3)
    found = invert(model, images, "1", scale=57.0, steps=150, **FREE)
    torch.testing.assert_close(found.images, images, rtol=0, atol=1e-7)
    assert found.code_error.max() < 1e-14
    assert pixel_error(found.images, images, 57.0).max() < 1e-5
    assert found.images.shape == images.shape
    assert found.loss.shape == (3, 151)
    torch.testing.assert_close(found.norm, model(images).square().sum(1).detach())


def test_what_a_layer_does_not_say_is_left_to_the_priors():
    """A linear layer with priors: the minimum solves linear equations where alpha has no weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 6, bias=False)).double()
    image = randn(1, 2, 4, 4, seed=3, size=60)
    found = invert(model, image, "1", steps=300, alpha_weight=0.0, tv_weight=AT_4)
    weight = model[1].weight.detach()
    target = weight @ image.flatten()
    eye = torch.eye(32, dtype=torch.float64).view(32, 2, 4, 4)
    plus = [[total_variation((a + b)[None]).item() for b in eye] for a in eye]
    single = total_variation(eye)
    bilinear = (torch.tensor(plus).double() - single[:, None] - single[None, :]) / 2
    size = TYPICAL_RMS**2 * 32
    left = weight.T @ weight / target.square().sum() + 0.05 * bilinear / size
    right = weight.T @ target / target.square().sum()
    want = torch.linalg.solve(left, right)
    torch.testing.assert_close(found.images.flatten(), want, rtol=0, atol=1e-3)
    assert 0 <= found.late_fall.item() < 1e-9


def test_without_the_code_the_priors_alone_flatten_the_picture(small):
    alone = invert(small, IMAGES, "4", steps=60, code_weight=0)
    assert total_variation(alone.images).max() < 1e-3 * total_variation(IMAGES).min()
    other = invert(small, IMAGES.flip(0), "4", steps=60, code_weight=0)
    assert torch.equal(alone.images, other.images)  # no image has a say in it
    with_code = invert(small, IMAGES, "4", steps=60)
    assert (with_code.code_error < 0.5 * alone.code_error).all()


def test_an_inverted_code_is_nearer_to_its_own_image(small):
    found = invert(small, IMAGES, "1", steps=150, tv_weight=AT_15 / 1000)
    each = [pixel_error(found.images, IMAGES.roll(shift, 0)) for shift in range(4)]
    assert all((each[0] < 0.5 * other).all() for other in each[1:])
    assert (found.loss.diff(dim=1) <= 0).all()


# ------------------------------------------------------------------------------- errors
def test_mean_distance_is_that_of_all_pairs(small):
    values = randn(5, 3, 2, seed=8) + 1e3
    pairs = [(a - b).square().sum() for i, a in enumerate(values) for b in values[:i]]
    assert mean_distance(values) == pytest.approx(float(sum(pairs)) / 10, rel=1e-10)
    spread = code_spread(small, IMAGES, "1", batch_size=3)
    assert spread == pytest.approx(mean_distance(small[:2](IMAGES).detach()), rel=1e-12)
    with pytest.raises(UserError, match="at least two images"):
        mean_distance(values[:1])


def test_pixel_error_is_in_grey_levels():
    image = torch.zeros(2, 3, 4, 4)
    image[1, 0] = 0.1
    error = pixel_error(image, torch.zeros_like(image), torch.tensor([30.0, 20.0, 10.0]))
    torch.testing.assert_close(error, torch.tensor([0.0, 3 / 3**0.5]))
    with pytest.raises(UserError, match="do not pair up"):
        pixel_error(image, image[:1])


def test_distance_and_norm_are_those_of_the_result(small):
    found = invert(small, IMAGES, "4", steps=20)
    code, target = (small[:5](x).detach().flatten(1) for x in (found.images, IMAGES))
    torch.testing.assert_close(found.distance, (code - target).square().sum(1))
    torch.testing.assert_close(found.norm, target.square().sum(1))
    torch.testing.assert_close(found.code_error, found.distance / found.norm)


# ------------------------------------------------------------------------------- the optimiser
def test_the_optimiser_meets_scipys():
    """Rosenbrock's valley and a badly scaled bowl, together and each row by itself."""

    def rosenbrock(x: Tensor) -> Tensor:
        return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)

    def objective(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        leaf = x.detach().requires_grad_()
        values = rosenbrock(leaf)
        (gradient,) = torch.autograd.grad(values.sum(), leaf)
        return values.detach(), gradient

    start = randn(3, 4, seed=9)
    x, values, _ = minimise(objective, start, 200)
    assert values.shape == (3, 201)
    assert (values.diff(dim=1) <= 0).all()
    for i in range(3):
        theirs = minimize(
            lambda p: tuple(t[0].numpy() for t in objective(torch.tensor(p)[None], None)),
            start[i].numpy(), jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-12},
        )  # fmt: skip
        np.testing.assert_allclose(x[i].numpy(), theirs.x, atol=1e-6)
        alone, *_ = minimise(objective, start[i : i + 1], 200)
        torch.testing.assert_close(alone[0], x[i], rtol=0, atol=1e-10)


def test_the_optimiser_turns_back_from_where_there_are_no_numbers():
    def objective(x: Tensor, _) -> tuple[Tensor, Tensor]:  # x − log x of each number, least at 1
        return (x - x.log()).sum(1), 1 - 1 / x

    x, values, _ = minimise(objective, torch.tensor([[1e-3, 40.0], [3.0, 0.5]]).double(), 80)
    torch.testing.assert_close(x, torch.ones_like(x), rtol=0, atol=1e-6)
    assert values.isfinite().all()


def test_a_row_ends_by_itself_once_it_has_converged():
    """Bowls of different condition: each ends in its own time, as it would alone."""
    curved = torch.stack([torch.ones(30), torch.logspace(0, 4, 30)]).double()
    asked = []

    def objective(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(rows.tolist())
        return 1 + (curved[rows] * x.square()).sum(1), 2 * curved[rows] * x

    start = randn(2, 30, seed=4)
    x, values, passes = minimise(objective, start, 300, 1e-3)
    assert 30 <= passes[0] < passes[1] < 300
    assert len(asked) == passes[1] + 1
    assert asked[passes[0]] == [0, 1]
    assert asked[passes[0] + 1] == [1]
    for i, end in enumerate(passes.tolist()):
        own = values[i]
        assert (own[end:] == own[end]).all()
        assert own[end - end // 10] - own[end] <= 1e-3 * own[end - end // 10]
        before = own[end - 1 - (end - 1) // 10]
        assert end == 30 or before - own[end - 1] > 1e-3 * before
        alone, *_ = minimise(
            lambda x, _, i=i: objective(x, torch.tensor([i])), start[i : i + 1], end
        )
        torch.testing.assert_close(alone[0], x[i])
    whole, _, all_passes = minimise(objective, start, 300)
    assert all_passes.tolist() == [300, 300]
    assert whole.abs().max() < 0.01


def test_equal_convergence_by_tolerance(small):
    found = invert(small, IMAGES, "4", steps=400, tolerance=0.02, tv_weight=AT_15)
    assert (found.late_fall <= 0.02).all()
    assert (found.passes < 400).all()
    assert found.loss.shape == (4, 401)
    # late_fall is that of the passes made: as many without a tolerance tell the same
    most = int(found.passes.max())
    slow = invert(small, IMAGES, "4", steps=most, tv_weight=AT_15)
    last = int(found.passes.argmax())
    torch.testing.assert_close(slow.late_fall[last], found.late_fall[last])
    assert slow.passes.tolist() == [most] * 4


# ------------------------------------------------------------------------------- seeds, batches
def test_batches_and_company_do_not_matter(small):
    whole = invert(small, IMAGES, "4", steps=25)
    parts = invert(small, IMAGES, "4", steps=25, batch_size=3)
    first = invert(small, IMAGES[:2], "4", steps=25)
    for name in ("images", "loss", "distance", "norm"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
        torch.testing.assert_close(getattr(first, name), getattr(whole, name)[:2])


def test_the_seed_decides_the_start(small):
    one, same, other = (invert(small, IMAGES, "4", steps=10, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.loss, same.loss)
    assert pixel_error(one.images, other.images).min() > 1
    assert pixel_error(one.images[:1], one.images[1:2]) > 1  # each image has its own noise


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_any_gradient_mode_and_only_what_leads_to_the_layer(small, context):
    expected, ran = invert(small, IMAGES, "4", steps=3), []
    handle = small[5].register_forward_hook(lambda *_: ran.append(1))
    with context():
        assert torch.equal(invert(small, IMAGES * 1, "4", steps=3).images, expected.images)
    handle.remove()
    assert ran == []


def test_the_model_is_left_as_it_was(unchanged):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten()
    ).double()
    model[0].weight.requires_grad = False
    model[1].eval()
    images = IMAGES.clone()
    with unchanged(model):
        invert(model, images, "4", steps=3)
        code_spread(model, images, "4")
    with unchanged(model), pytest.raises(UserError):
        invert(model, images[:, :2], "4", steps=3, scale=torch.ones(3))
    assert torch.equal(images, IMAGES)


def test_layers_of_torchvisions_nets_and_the_papers_numbers():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    images = randn(1, 3, 32, 32).float()
    for model, layers in [
        (resnet18(), ["relu", "layer1.0.relu#1", "layer3.1", "avgpool", "fc"]),
        (ConvNet(build_spec("zfnet", num_classes=3, width=0.1, input_px=64)), [2, "5.out", 7]),
    ]:
        if isinstance(model, ConvNet):
            init_weights(model, "he")
            images = randn(1, 3, 64, 64, size=60).float()
        for layer in layers:
            found = invert(model, images, layer, steps=8)
            assert found.loss[0, -1] < 0.6 * found.loss[0, 0], layer
            assert found.images.isfinite().all()


# ------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"layer": "conv5"}, "no layer 'conv5' in Sequential"),
        ({"layer": 5}, "defines none; give a module path"),
        ({"images": IMAGES[0]}, r"\(N, C, H, W\)"),
        ({"images": IMAGES[:0]}, "no image"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"scale": torch.ones(2)}, "3 of them, one per channel"),
        ({"scale": 0.0}, "positive number"),
    ],
)
def test_mistakes_are_named(small, change, told):
    call = {"images": IMAGES, "layer": "4"} | change
    with pytest.raises(UserError, match=told):
        invert(small, **call)


def test_a_dead_code_and_a_layer_without_one_are_refused():
    dead = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).double()
    nn.init.constant_(dead[0].bias, -1e6)
    with pytest.raises(UserError, match="4 of 4 images are all zero or not finite"):
        invert(dead, IMAGES, "1")

    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.windows = nn.Unflatten(0, (-1, 1))
            self.cut = nn.Identity()

        def forward(self, x):
            return self.cut(self.windows(x.flatten(0, 1)).detach())

    with pytest.raises(UnsupportedModel, match="not one code per image"):
        invert(Windows(), IMAGES, "windows")
    with pytest.raises(UnsupportedModel, match="not connected to the image by autograd"):
        invert(nn.Sequential(nn.Conv2d(3, 2, 3), Detached()).double(), IMAGES, "1")


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()
