"""Deconvnet, guided backprop and gradient against hand-worked cases and an explicit oracle."""

from __future__ import annotations

import gc
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import chain, explicit_deconvnet
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods import (
    UnsupportedModel,
    deconvnet,
    gradient,
    guided_backprop,
    occlude,
    project,
    receptive_field,
    saliency,
    top_activations,
)
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.spec import build_spec

METHODS = {"deconvnet": deconvnet, "guided": guided_backprop, "plain": gradient}


# ------------------------------------------------------------------------------- by hand
def row(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def tiny(second: tuple[float, float], bias: float) -> nn.Sequential:
    """conv [1, −1] → ReLU → pool 3/2 (overlapping) → conv `second` → ReLU → pool 2/2, on a row."""
    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 1, (1, 2), bias=False),
            relu1=nn.ReLU(inplace=True),
            pool1=nn.MaxPool2d((1, 3), (1, 2)),
            conv2=nn.Conv2d(1, 1, (1, 2)),
            relu2=nn.ReLU(inplace=True),
            pool2=nn.MaxPool2d((1, 2), (1, 2)),
        )
    ).double()
    with torch.no_grad():
        net.conv1.weight.copy_(row(1, -1))
        net.conv2.weight.copy_(row(*second))
        net.conv2.bias.fill_(bias)
    return net


def test_shared_switch_and_tie_by_hand():
    # conv1: 2 −3 3 −4 −4 3 −1 → relu: 2 0 3 0 0 3 0 → pool windows 203, 300, 030: 3 3 3, the first
    # two from the same place 2. conv2 with [2, 1]: 9 9, a tie, of which the pool takes the first.
    # Down: 9 → (18, 9, 0) → place 2 gets 18 + 9 = 27 (overwriting would leave 9 or 18) → (27, −27).
    net = tiny((2, 1), bias=0)
    image = row(0, -2, 1, -2, 2, 6, 3, 4)
    down = deconvnet(net, image, "pool2", 0)
    assert down.flatten().tolist() == [0, 0, 27, -27, 0, 0, 0, 0]
    # nothing was masked differently here: all forward values on the path are positive
    assert torch.equal(guided_backprop(net, image, "pool2", 0), down)
    assert torch.equal(gradient(net, image, "pool2", 0), down / 9)
    # at the layer before, the second of the tied places: 9 → (0, 18, 9) → 18 at 2, 9 at 5
    second = deconvnet(net, image, "relu2", 0, places=torch.tensor([[0, 1]]))
    assert second.flatten().tolist() == [0, 0, 18, -18, 0, 9, -9, 0]
    # the whole map keeps both activations: 18 at place 0, 27 at 1, 9 at 2 → 45 at 2, 9 at 5
    whole = deconvnet(net, image, "relu2", 0, places="all")
    assert whole.flatten().tolist() == [0, 0, 45, -45, 0, 9, -9, 0]


def test_the_four_rules_differ_by_hand():
    # A rising row: conv1 gives −1 everywhere, ReLU 0, pools 0 from places 0, 2, 4 (first of ties);
    # conv2 with [2, −1] and bias 1 gives 1. Down from 1: (2, −1) to places 0 and 2.
    net = tiny((2, -1), bias=1)
    image = row(0, 1, 2, 3, 4, 5, 6, 7)

    def down(rule: str) -> list[float]:
        return project(net, image, "pool2", 0, rule=rule).flatten().tolist()

    assert down("plain") == [0] * 8  # the forward mask is zero everywhere
    assert down("guided") == [0] * 8
    assert down("deconvnet") == [2, -2, 0, 0, 0, 0, 0, 0]  # ignores it, drops the −1
    assert down("linear") == [2, -2, -1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_dead_map_projects_to_exact_zeros(method):
    net = tiny((2, 1), bias=-100)
    down = method(net, row(0, -2, 1, -2, 2, 6, 3, 4), "relu2", 0)
    assert torch.count_nonzero(down) == 0


# ------------------------------------------------------------------------------- the oracle
def zfnet(**changes) -> ConvNet:
    net = ConvNet(
        build_spec("zfnet", width=0.125, input_px=96, num_classes=5, fc_units=32, **changes)
    )
    init_weights(net, "he", seed=1)
    for parameter in net.parameters():
        if parameter.ndim == 1:  # biases must not matter on the way down, but they do on the way up
            torch.nn.init.normal_(parameter, 0, 0.1, generator=torch.Generator().manual_seed(2))
    return net.double().eval()


@pytest.fixture(scope="module")
def nets():
    from torchvision.models import alexnet, vgg11

    return {
        "zfnet": (zfnet(), 96, 50.0),
        "alexnet": (slim(alexnet, 256 * 36), 79, 2.0),
        "vgg11": (slim(vgg11, 512 * 49), 50, 2.0),
    }


def slim(builder, features: int) -> nn.Module:
    """A torchvision net with 16 hidden units in its linear layers: those cost time, not insight."""
    with torch.device("meta"):
        net = builder()
    net.classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(features, 16), nn.ReLU(inplace=True), nn.Linear(16, 7)
    )
    net = net.to_empty(device="cpu").double().eval()
    generator = torch.Generator().manual_seed(3)
    for p in net.parameters():
        deviation = (2 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.1
        nn.init.normal_(p, 0, deviation, generator=generator)
    return net


@pytest.mark.parametrize("rule", METHODS)
@pytest.mark.parametrize("name", ["zfnet", "alexnet", "vgg11"])
def test_float64_oracle(nets, name, rule):
    model, px, scale = nets[name]
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(2, 3, px, px, generator=generator, dtype=torch.float64) * scale
    steps = chain(model)
    probes = [i for i, (_, m) in enumerate(steps) if isinstance(m, (nn.MaxPool2d, nn.ReLU))]
    for last in [probes[2], probes[-4], probes[-2], len(steps) - 1]:
        path = steps[last][0]
        units = [1, 3]
        ours = METHODS[rule](
            model, images, path, torch.tensor(units), values=1.7, **_identity(rule)
        )
        theirs = explicit_deconvnet(
            [m for _, m in steps[: last + 1]], images, units, rule=rule, value=1.7
        ).detach()
        assert ours.abs().max() > 0 or rule != "deconvnet", path
        error = (ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-300)
        assert error <= 1e-10, (path, float(error))


def _identity(rule: str) -> dict:
    return {} if rule != "plain" else {"lrn": "identity"}


POOLS = {
    "overlapping": nn.MaxPool2d(3, 2),
    "ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "padded": nn.MaxPool2d(3, 2, padding=1),
    "dilated": nn.MaxPool2d(3, 1, dilation=2),
    "adaptive average": nn.AdaptiveAvgPool2d((3, 4)),
    "adaptive, not dividing": nn.AdaptiveAvgPool2d(4),
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("tied", [False, True])
def test_pools_pass_down_by_their_adjoint(name, tied):
    torch.manual_seed(0)
    steps = [
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), POOLS[name], nn.Conv2d(4, 3, 3, padding=1),
        nn.ReLU(),
    ]  # fmt: skip
    model = nn.Sequential(*steps).double()
    images = torch.randn(3, 2, 11, 10, dtype=torch.float64)
    if tied:  # whole numbers of few values: nearly every window has a tie
        images = images.round().clamp(-1, 1)
        steps[0].weight.data.round_()
    theirs = explicit_deconvnet(steps, images, [0, 1, 2]).detach()
    ours = deconvnet(model, images, "4", torch.tensor([0, 1, 2]))
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_average_and_adaptive_max_pools_are_their_own_adjoint():
    # <P x, g> = <x, Pᵀ g> for a linear P; a max pool is linear once its switches are fixed.
    for pool in (
        nn.AvgPool2d(3, 2, padding=1, ceil_mode=True),
        nn.AvgPool2d(2, count_include_pad=False),
        nn.AdaptiveMaxPool2d(4),
        nn.AdaptiveAvgPool2d(3),
    ):
        model = nn.Sequential(nn.ReLU(), pool).double()
        x = torch.rand(1, 2, 9, 9, dtype=torch.float64)
        out = model(x)
        down = deconvnet(model, x, "1", 1, places="all")
        assert torch.isclose((down * x).sum(), (out[:, 1] ** 2).sum())


# ------------------------------------------------------------------------------- contrast norm
def test_contrast_norm_identity_and_jacobian():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.LocalResponseNorm(5, alpha=0.5, k=2), nn.Conv2d(8, 4, 3)
    ).double()
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    before = model[:2](x).detach()
    seed = torch.zeros(2, 4, 5, 5, dtype=torch.float64)
    seed[:, 1, 2, 2] = 1
    at_norm = F.conv_transpose2d(seed, model[3].weight)
    places = torch.tensor([[2, 2]])

    def down(through: Tensor) -> Tensor:
        return F.conv_transpose2d(through.clamp(min=0), model[0].weight)

    identity = deconvnet(model, x, "3", 1, places=places, values=1.0)
    assert torch.allclose(identity, down(at_norm), atol=1e-12)
    _, vjp = torch.autograd.functional.vjp(model[2], before, at_norm)
    jacobian = deconvnet(model, x, "3", 1, places=places, values=1.0, lrn="jacobian")
    assert torch.allclose(jacobian, down(vjp), atol=1e-12)
    assert not torch.allclose(identity, jacobian, rtol=1e-2)


def test_the_projects_own_contrast_norm_is_seen():
    net = zfnet()
    x = torch.randn(1, 3, 96, 96, dtype=torch.float64) * 50
    leaf = x.clone().requires_grad_()
    (true,) = torch.autograd.grad(net.layer3(net.layer2(net.layer1(leaf)))[0, 2, 1, 1], leaf)
    places = torch.tensor([[1, 1]])
    assert torch.allclose(gradient(net, x, "layer3", 2, places=places), true, atol=1e-14)
    identity = deconvnet(net, x, "layer3.conv", 2, places=places)
    jacobian = deconvnet(net, x, "layer3.conv", 2, places=places, lrn="jacobian")
    assert 0.9 < torch.cosine_similarity(identity.flatten(), jacobian.flatten(), dim=0) < 1 - 1e-6


# ------------------------------------------------------------------------------- seeds and shapes
@pytest.fixture(scope="module")
def small():
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2), nn.Conv2d(6, 5, 3),
        nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 4),
    ).double().eval()  # fmt: skip


IMAGES = torch.randn(4, 3, 15, 15, generator=torch.Generator().manual_seed(6), dtype=torch.float64)


def test_strongest_place_is_the_default(small):
    maps = small[:5](IMAGES)[torch.arange(4), torch.tensor([0, 1, 2, 3])]
    flat = maps.flatten(1).argmax(1)
    places = torch.stack([flat // 4, flat % 4], 1)
    units = torch.arange(4)
    assert torch.equal(
        deconvnet(small, IMAGES, "4", units), deconvnet(small, IMAGES, "4", units, places=places)
    )


def test_starting_value_scales(small):
    one = deconvnet(small, IMAGES, "6", 2, values=1.0)
    assert torch.allclose(deconvnet(small, IMAGES, "6", 2, values=3.0), 3 * one)
    each = torch.tensor([1.0, 2.0, 3.0, 4.0])
    scaled = deconvnet(small, IMAGES, "6", 2, values=each)
    assert torch.allclose(scaled, each.double().view(4, 1, 1, 1) * one)


def test_gradient_is_the_derivative(small):
    leaf = IMAGES.clone().requires_grad_()
    (true,) = torch.autograd.grad(small(leaf)[:, 1].sum(), leaf)
    ours = gradient(small, IMAGES, "6", 1)
    assert torch.allclose(ours, true)
    assert torch.equal(saliency(ours), ours.abs().amax(1))


def test_one_image_stands_for_many_units(small):
    together = deconvnet(small, IMAGES[:1], "4", torch.arange(5))
    each = torch.cat([deconvnet(small, IMAGES[:1], "4", unit) for unit in range(5)])
    assert torch.allclose(together, each, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(4)), batch=st.integers(1, 5))
def test_batch_size_and_order_do_not_matter(small, order, batch):
    units = torch.tensor([0, 3, 2, 2])
    whole = deconvnet(small, IMAGES, "4", units)
    order = torch.tensor(order)
    some = deconvnet(small, IMAGES[order], "4", units[order], batch_size=batch)
    assert torch.allclose(some, whole[order], atol=1e-12)


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_only_what_leads_to_the_layer_runs_in_any_gradient_mode(small, context):
    expected, ran = deconvnet(small, IMAGES, "4", 0), []
    handle = small[5].register_forward_hook(lambda *_: ran.append(1))
    with context():
        assert torch.equal(deconvnet(small, IMAGES * 1, "4", 0), expected)
    handle.remove()
    assert ran == []


def test_a_module_used_twice_is_addressed_by_its_call():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.relu(self.conv(self.relu(self.conv(x))))

    torch.manual_seed(0)
    model = Twice().double()
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    assert torch.equal(deconvnet(model, x, "relu", 0), deconvnet(model, x, "relu#0", 0))
    assert torch.equal(deconvnet(model, x, "relu#1", 0), deconvnet(model, x, "", 0))
    with pytest.raises(UserError, match="less often"):
        deconvnet(model, x, "relu#2", 0)
    with pytest.raises(UserError, match="counted from 0"):
        deconvnet(model, x, "relu#last", 0)


def test_a_model_that_writes_into_its_input_is_fine(small):
    class Rude(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = small

        def forward(self, x):
            x -= 1
            return self.body(x)

    images = IMAGES.clone()
    down = deconvnet(Rude().eval(), images, "body.4", 0)
    assert torch.equal(images, IMAGES)
    assert torch.allclose(down, deconvnet(small, IMAGES - 1, "4", 0))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"layer": "5.conv"}, "no layer '5.conv'"),
        ({"units": 5}, r"units 0\.\.4"),
        ({"units": -1}, r"units 0\.\.4"),
        ({"units": torch.tensor([0, 1])}, "do not pair up"),
        ({"units": 1.0}, "integers"),
        ({"places": torch.tensor([[0, 4]])}, "4 x 4"),
        ({"places": "most"}, "places must be"),
        ({"places": torch.zeros(3, 2, dtype=torch.int64)}, "places must be one or 4"),
        ({"values": torch.ones(3)}, "values must be one or 4"),
        ({"images": IMAGES[0]}, r"\(N, C, H, W\)"),
        ({"images": (IMAGES * 10).to(torch.uint8)}, "float"),
        ({"images": IMAGES[:0]}, "no image"),
    ],
)
def test_mistakes_are_named(small, change, told):
    call = {"images": IMAGES, "layer": "4", "units": 0} | change
    with pytest.raises(UserError, match=told):
        deconvnet(small, **call)


def test_a_detached_layer_is_an_error():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(x.detach())

    with pytest.raises(UnsupportedModel, match="not connected"):
        gradient(Cut(), IMAGES, "relu", 0)


def test_200_calls_leave_nothing_behind(small, unchanged):
    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(o), Tensor) for o in gc.get_objects())

    deconvnet(small, IMAGES[:1], "4", 0)
    with unchanged(small):
        before = tensors()
        for _ in range(200):
            deconvnet(small, IMAGES[:1], "4", 0)
        assert tensors() <= before


# ------------------------------------------------------------------- layers by number, triples
def test_triples_of_image_layer_and_unit(small):
    layers, units = ["4", "1", "4"], torch.tensor([2, 0, 1])
    places = torch.tensor([[0, 1], [3, 2], [2, 2]])
    together = deconvnet(small, IMAGES[:3], layers, units, places=places, batch_size=2)
    for i, layer in enumerate(layers):
        alone = deconvnet(small, IMAGES[i : i + 1], layer, int(units[i]), places=places[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)
    one_unit = deconvnet(small, IMAGES[:1], ["1", "4"], 1)
    torch.testing.assert_close(one_unit[1:], deconvnet(small, IMAGES[:1], "4", 1))
    with pytest.raises(UserError, match="3 images, 1 units and 2 layers do not pair up"):
        deconvnet(small, IMAGES[:3], ["1", "4"], 0)


def test_layers_by_the_papers_number():
    model = ConvNet(build_spec("zfnet", num_classes=3, width=0.1, input_px=64))
    init_weights(model, "he")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    options = {"classes": 0, "size": 32, "stride": 32, "unit": 1, "progress": False}
    for number, path in [(2, "layer2.relu"), ("2.out", model.taps["2.out"])]:
        by_number, by_path = (deconvnet(model, images, layer, 4) for layer in (number, path))
        torch.testing.assert_close(by_number, by_path)
        assert receptive_field(model, number, 64).size == receptive_field(model, path, 64).size
        one, two = (occlude(model, images, layer=layer, **options) for layer in (number, path))
        torch.testing.assert_close(one.activity, two.activity)
    top = top_activations(model, [(images, torch.arange(2))], [2, "layer3.relu"], k=1)
    assert list(top) == [2, "layer3.relu"]
    with pytest.raises(UserError, match=r"no layer of the paper's number 9: it has 1, 2, 3"):
        deconvnet(model, images, 9, 0)
    with pytest.raises(UserError, match="defines none; give a module path"):
        deconvnet(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), images, 1, 0)


class ChannelsLast(nn.Module):
    """A net whose blocks keep the channels last, as Swin and ConvNeXt do inside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
        self.after = nn.ReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.after(x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return self.head(x.mean(dim=(2, 3)))


@pytest.mark.parametrize("layer", ["mlp", "mlp.0", "mlp.1", "mlp.2"])
def test_layers_with_channels_last_are_refused_not_misread(layer):
    model, images = ChannelsLast().eval(), torch.randn(1, 3, 20, 20)
    with pytest.raises(UnsupportedModel, match="channels last"):
        gradient(model, images, layer, 0)
    with pytest.raises(UnsupportedModel, match="channels last"):
        top_activations(model, [(images, torch.zeros(1))], [layer])
    with pytest.raises(UnsupportedModel, match="channels last"):
        occlude(model, images, classes=0, size=5, stride=5, layer=layer, progress=False)
    for fine in ("stem", "after"):
        assert gradient(model, images, fine, 0).shape == images.shape
