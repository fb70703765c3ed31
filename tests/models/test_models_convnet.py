"""The nets built from the layer lists, at the paper's size and through every row of its Table 3."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zfnet.errors import UserError
from zfnet.models.convnet import (
    ContrastNorm,
    ConvNet,
    conv_weights,
    init_weights,
    local_response_norm,
)
from zfnet.models.spec import build_spec, output_shapes

# Table 3 of the paper, in its order.
TABLE3 = {
    "alexnet": {"arch": "alexnet"},
    "alexnet without 3,4": {"arch": "alexnet", "without": [3, 4]},
    "alexnet without 7": {"arch": "alexnet", "without": [7]},
    "alexnet without 6,7": {"arch": "alexnet", "without": [6, 7]},
    "alexnet without 3,4,6,7": {"arch": "alexnet", "without": [3, 4, 6, 7]},
    "alexnet fc 2048": {"arch": "alexnet", "fc_units": 2048},
    "alexnet fc 8192": {"arch": "alexnet", "fc_units": 8192},
    "zfnet": {"arch": "zfnet"},
    "zfnet fc 2048": {"arch": "zfnet", "fc_units": 2048},
    "zfnet fc 8192": {"arch": "zfnet", "fc_units": 8192},
    "zfnet 512-1024-512": {"arch": "zfnet", "middle_maps": [512, 1024, 512]},
    "zfnet both": {"arch": "zfnet", "fc_units": 8192, "middle_maps": [512, 1024, 512]},
}


def small(**options):
    defaults = {"width": 0.1, "input_px": 96, "num_classes": 7}
    model = ConvNet(build_spec(**{**defaults, **options}))
    init_weights(model, "he", seed=1)
    return model


def at_paper_size(**options):
    with torch.device("meta"):
        return ConvNet(build_spec(**options))


@pytest.mark.parametrize(
    ("options", "total"),
    [
        ({"arch": "zfnet"}, 62_357_608),
        ({"arch": "zfnet", "middle_maps": [512, 1024, 512]}, 107_627_624),
        ({"arch": "alexnet"}, 60_965_224),
        ({"arch": "alexnet", "grouped": False}, 62_378_344),
    ],
)
def test_parameter_counts_at_paper_size(options, total):
    model = at_paper_size(**options)
    assert sum(p.numel() for p in model.parameters()) == total


@pytest.mark.parametrize("options", TABLE3.values(), ids=TABLE3.keys())
def test_every_row_of_table_3_learns_and_its_taps_have_the_announced_shapes(options):
    model = small(**options)
    seen = {}
    for tap, path in model.taps.items():
        model.get_submodule(path).register_forward_hook(
            lambda m, i, out, tap=tap: seen.__setitem__(tap, tuple(out.shape[1:]))
        )
    model.train()(torch.randn(2, 3, 96, 96)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.layer1.conv.weight.grad.abs().max() > 0
    assert seen == output_shapes(model.spec)


@pytest.mark.parametrize(("arch", "px"), [("zfnet", 47), ("alexnet", 67)])
@torch.no_grad()
def test_smallest_input_announced_by_the_errors_works(arch, px):
    assert small(arch=arch, input_px=px).eval()(torch.zeros(1, 3, px, px)).shape == (1, 7)
    with pytest.raises(UserError, match=f"{px} px"):
        build_spec(arch, input_px=px - 1)


@torch.no_grad()
def test_taps_read_what_the_layer_hands_on():
    model = small().eval()
    outputs, inputs = {}, {}
    for tap in ("3.out", "6.out", "7.out"):
        model.get_submodule(model.taps[tap]).register_forward_hook(
            lambda m, i, out, tap=tap: outputs.__setitem__(tap, out)
        )
    for name in ("layer4", "layer7", "layer8"):
        model.get_submodule(name).register_forward_hook(
            lambda m, i, out, name=name: inputs.__setitem__(name, i[0])
        )
    x = torch.randn(2, 3, 96, 96)
    first = model(x)
    assert torch.equal(outputs["3.out"], inputs["layer4"])
    assert torch.equal(outputs["6.out"], inputs["layer7"])
    assert torch.equal(outputs["7.out"], inputs["layer8"])
    assert torch.equal(first, model(x))  # dropout rests in evaluation
    assert not torch.equal(model.train()(x), first)


def test_order_of_the_steps():
    def steps(model, layer):
        return [name for name, _ in model.get_submodule(layer).named_children()]

    zfnet, alexnet = small(arch="zfnet"), small(arch="alexnet")
    assert steps(zfnet, "layer1") == ["conv", "relu", "pool", "norm"]
    assert steps(alexnet, "layer1") == ["conv", "relu", "norm", "pool"]
    assert steps(zfnet, "layer6") == ["flatten", "linear", "relu", "dropout"]
    assert steps(small(without=[6]), "layer7")[0] == "flatten"
    assert steps(small(without=[6, 7]), "layer8") == ["flatten", "linear"]
    assert all(not m.inplace for m in zfnet.modules() if isinstance(m, nn.ReLU))


@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_contrast_norm_equals_torchs(size, beta):
    x = (torch.randn(2, 12, 4, 5, dtype=torch.float64) * 40).requires_grad_()
    ours = local_response_norm(x, size, 0.01, beta, 2.0)
    torchs = F.local_response_norm(x, size, 0.01, beta, 2.0)
    torch.testing.assert_close(ours, torchs, rtol=1e-12, atol=1e-12)
    grads = [torch.autograd.grad(y.square().sum(), x)[0] for y in (ours, torchs)]
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)


def test_contrast_norm_can_be_overridden_like_torchs():
    class Seen(torch.overrides.TorchFunctionMode):
        names = ()

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.names = (*self.names, func.__name__)
            return func(*args, **(kwargs or {}))

    norm = ContrastNorm(5)
    assert isinstance(norm, nn.LocalResponseNorm)
    with Seen() as seen:
        norm(torch.rand(1, 8, 2, 2))
    assert "local_response_norm" in seen.names


def test_alpha_is_divided_by_the_size():
    x = torch.rand(1, 8, 2, 2, dtype=torch.float64) * 100
    by_hand = torch.stack(
        [
            x[0, c] / (2 + 1e-2 * x[0, max(0, c - 2) : c + 3].square().sum(0)) ** 0.75
            for c in range(8)
        ]
    )
    norm = small(lrn={"alpha": 5e-2}).layer1.norm
    torch.testing.assert_close(norm(x)[0], by_hand)


@pytest.mark.parametrize("kind", ["paper", "scaled", "he"])
def test_init_has_the_stated_spread_and_depends_on_the_seed_alone(kind):
    first, second, third = (ConvNet(build_spec(width=0.25, input_px=96)) for _ in range(3))
    torch.manual_seed(5)
    init_weights(first, kind, width=0.25, seed=3)
    state = torch.get_rng_state()
    torch.manual_seed(6)
    second.to(memory_format=torch.channels_last)
    init_weights(second, kind, width=0.25, seed=3)
    init_weights(third, kind, width=0.25, seed=4)
    torch.manual_seed(5)
    assert torch.equal(state, torch.get_rng_state())  # the global generator was left alone
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.layer3.conv.weight, third.layer3.conv.weight)
    weight = first.layer3.conv.weight
    wanted = {"paper": 0.01, "scaled": 0.02, "he": math.sqrt(2 / (64 * 9))}[kind]
    assert weight.std().item() == pytest.approx(wanted, rel=0.02)
    assert weight.mean().abs().item() < wanted / 50
    assert not first.layer3.conv.bias.any()
    assert not first.layer8.linear.bias.any()


def test_conv_weights_are_the_filters_by_layer():
    model = small(without=[3, 4])
    assert [number for number, _ in conv_weights(model)] == [1, 2, 5]
    assert conv_weights(model)[0][1] is model.layer1.conv.weight
