"""The rule on rectifiers: every spelling is caught, everything else is named, nothing leaks."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods import UnsupportedModel, deconvnet, gradient, guided_backprop, rectifier_rule

RULES = ("plain", "deconvnet", "guided", "linear")


class Calls(nn.Module):
    """Two convolutions around an activation given as a function."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 2, 3, padding=1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.function(self.conv1(x)))


SPELLINGS = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "torch.clamp": lambda x: torch.clamp(x, 0),
    "clamp_": lambda x: x.clamp_(min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "clip": lambda x: x.clip(0.0),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "threshold in place": lambda x: F.threshold(x, 0, 0, inplace=True),
    "nn.Threshold": nn.Threshold(0, 0),
}
SPELLINGS6 = {
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "F.relu6 in place": lambda x: F.relu6(x, inplace=True),
    "nn.Hardtanh": nn.Hardtanh(0, 6),
    "F.hardtanh": lambda x: F.hardtanh(x, min_val=0.0, max_val=6.0),
    "F.hardtanh_": lambda x: F.hardtanh_(x, 0.0, 6.0),
    "clamp": lambda x: x.clamp(0, 6),
    "clamp_": lambda x: torch.clamp_(x, 0, max=6),
}


def by_hand(model: Calls, x: Tensor, rule: str, upper: float = float("inf")) -> Tensor:
    """The projection of unit (0, 2, 2) written out for this net."""
    before = model.conv1(x)
    after = model.conv2(before.clamp(0, upper))
    seed = torch.zeros_like(after)
    seed[:, 0, 2, 2] = after[:, 0, 2, 2]
    down = F.conv_transpose2d(seed, model.conv2.weight, padding=1)
    if rule in ("deconvnet", "guided"):
        down = down.clamp(min=0)
    if rule in ("plain", "guided"):
        down = down * ((before > 0) & (before < upper))
    return F.conv_transpose2d(down, model.conv1.weight, padding=1)


def through_rule(model: nn.Module, x: Tensor, rule: str) -> Tensor:
    leaf = x.clone().requires_grad_()
    with rectifier_rule(model, rule):
        out = model(leaf)
        seed = torch.zeros_like(out)
        seed[:, 0, 2, 2] = out[:, 0, 2, 2].detach()
        (down,) = torch.autograd.grad(out, leaf, seed)
    return down


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("name", "upper"),
    [(name, float("inf")) for name in SPELLINGS] + [(name, 6.0) for name in SPELLINGS6],
)
def test_every_spelling_of_a_rectifier_is_caught(rule, name, upper):
    model = Calls((SPELLINGS6 if upper == 6 else SPELLINGS)[name]).double()
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64) * 8  # large: ReLU6 meets its upper limit too
    assert torch.allclose(through_rule(model, x, rule), by_hand(model, x, rule, upper), atol=1e-12)


@pytest.mark.parametrize("name", ["nn.ReLU", "nn.ReLU in place", "F.relu in place", "Tensor.relu_"])
def test_it_tells_how_many_it_overrode_and_where(name):
    first, second = (copy.deepcopy(SPELLINGS[name]) for _ in range(2))
    model = nn.Sequential(Calls(first), Calls(second))
    with rectifier_rule(model, "guided") as found:
        model(torch.randn(1, 2, 5, 5, requires_grad=True))
    where = ["0.function", "1.function"] if name.startswith("nn") else ["0", "1"]
    assert found.rectifiers == where
    assert str(found) == "guided: overrode 2 rectifiers"


def test_rectifiers_that_see_no_image_are_left_alone():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2, 1, 1))

        def forward(self, x):
            return F.relu(x) * F.relu(self.scale)

    with rectifier_rule(model := Constant(), "deconvnet") as found:
        model(torch.randn(1, 2, 3, 3, requires_grad=True))
    assert len(found.rectifiers) == 1


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("inplace", [False, True])
def test_sum_of_input_and_rectified_input(rule, inplace):
    # In place, `h` itself is rectified before the sum reads it: h + relu_(h) is 2·relu(h).
    class Residual(nn.Module):
        def forward(self, x):
            h = x * 1.0
            r = F.relu(h, inplace=inplace)
            return h + r

    x = torch.tensor([-2.0, 3.0]).view(1, 1, 1, 2).requires_grad_()
    seed = torch.tensor([1.0, -1.0]).view(1, 1, 1, 2)
    with rectifier_rule(model := Residual(), rule):
        out = model(x)
        (down,) = torch.autograd.grad(out, x, seed)
    masks = {"plain": (0, -1), "deconvnet": (1, 0), "guided": (0, 0), "linear": (1, -1)}[rule]
    a, b = masks
    if inplace:
        assert out.flatten().tolist() == [0, 6]
        # the sum hands 2·g to the one rectifier
        assert down.flatten().tolist() == [2 * a, 2 * b]
    else:
        assert out.flatten().tolist() == [-2, 6]
        assert down.flatten().tolist() == [1 + a, -1 + b]


def test_a_rectifier_on_a_view_changes_its_base():
    class Half(nn.Module):
        def forward(self, x):
            h = x * 1.0
            h[:, :1].relu_()
            return h

    x = torch.tensor([-1.0, -1.0]).view(1, 2, 1, 1).requires_grad_()
    with rectifier_rule(model := Half(), "plain", lrn="identity"):
        assert model(x).flatten().tolist() == [0, -1]
    with rectifier_rule(model, "deconvnet") as found:
        out = model(x)
        (down,) = torch.autograd.grad(out, x, torch.full_like(out, -1.0))
    assert len(found.rectifiers) == 1
    assert out.flatten().tolist() == [0, -1]
    assert down.flatten().tolist() == [0, -1]  # masked where rectified, passed where not


UNSUPPORTED = {
    "gelu": (nn.GELU(), "Gelu"),
    "silu": (nn.SiLU(), "Silu"),
    "silu in place": (nn.SiLU(inplace=True), "Silu"),
    "hardswish": (nn.Hardswish(), "Hardswish"),
    "leaky": (nn.LeakyReLU(0.1), "LeakyRelu"),
    "prelu": (nn.PReLU(), "PreluKernel"),
    "elu": (nn.ELU(), "Elu"),
    "sigmoid": (nn.Sigmoid(), "Sigmoid"),
    "tanh": (torch.tanh, "Tanh"),
    "hardsigmoid": (nn.Hardsigmoid(), "Hardsigmoid"),
    "softmax": (nn.Softmax(1), "Softmax"),
    "other clamp": (lambda x: x.clamp(-1, 1), "Clamp"),
    "where": (lambda x: torch.where(x > 0, x, 0.0), "Where"),
    "maximum": (lambda x: torch.maximum(x, torch.zeros(())), "Maximum with a constant"),
    "square": (lambda x: x**2, "Pow"),
    "gate": (lambda x: x * x.mean((2, 3), keepdim=True), "Mul of two activations"),
    "group norm": (nn.GroupNorm(1, 3), "NativeGroupNorm"),
    "batch statistics": (nn.BatchNorm2d(3, track_running_stats=False), "batch_norm over"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_has_no_rule_is_an_error_that_names_it(name):
    function, told = UNSUPPORTED[name]
    model = nn.Sequential(Calls(nn.ReLU()), Calls(function))
    x = torch.randn(2, 2, 5, 5)
    with pytest.raises(UnsupportedModel, match=told):
        deconvnet(model, x, "1.conv2", 0)
    with pytest.raises(UnsupportedModel, match=told), rectifier_rule(model, "guided"):
        model(x.clone().requires_grad_())
    # before it, all is well; on request, and for the gradient, it passes
    assert deconvnet(model, x, "0", 0).abs().sum() > 0
    assert deconvnet(model, x, "1", 0, unsupported="plain").isfinite().all()
    assert gradient(model, x, "1", 0).isfinite().all()


def test_what_stands_in_the_way_is_named_with_its_place():
    model, x = nn.Sequential(Calls(nn.ReLU()), Calls(nn.GELU())), torch.randn(1, 2, 5, 5)
    with pytest.raises(UnsupportedModel, match=r"Gelu \(in 1\.function\).*unsupported='plain'"):
        guided_backprop(model, x, "1", 0)
    with pytest.raises(UnsupportedModel, match="no rectifier"):
        deconvnet(model, x, "0.conv1", 0)
    assert gradient(model, x, "0.conv1", 0).shape == x.shape


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_rectifiers_out_of_sight_and_scripted_models_are_errors():
    @torch.jit.script
    def hidden(x):
        return torch.relu(x)

    model = nn.Sequential(Calls(nn.ReLU()), Calls(lambda x: hidden(x)))
    x = torch.randn(1, 2, 5, 5)
    with pytest.raises(UnsupportedModel, match="Relu"):
        deconvnet(model, x, "1", 0)
    scripted = torch.jit.trace(nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU()), x)
    with pytest.raises(UnsupportedModel, match="TorchScript"):
        deconvnet(nn.Sequential(scripted), x, "0", 0)


@pytest.mark.slow  # torch.compile imports for ten seconds
def test_compiled_models_are_refused():
    compiled = torch.compile(nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU()))
    with pytest.raises(UnsupportedModel, match=r"torch\.compile"):
        deconvnet(compiled, torch.randn(1, 2, 5, 5), "_orig_mod.0", 0)


@pytest.mark.parametrize(
    ("option", "value"), [("rule", "deconv"), ("lrn", "none"), ("unsupported", "skip")]
)
def test_unknown_options_are_named(option, value):
    given = {"rule": "guided", option: value}
    rule = given.pop("rule")
    with pytest.raises(UserError, match=value), rectifier_rule(nn.ReLU(), rule, **given):
        pass


class Faulty(nn.Module):
    """Fails in its forward pass on demand."""

    def __init__(self):
        super().__init__()
        self.fail = False

    def forward(self, x):
        if self.fail:
            raise RuntimeError("broken on purpose")
        return x


def awkward_model() -> nn.Sequential:
    """Partly training, partly frozen, channels-last."""
    model = nn.Sequential(
        Calls(nn.ReLU(inplace=True)), nn.BatchNorm2d(2), nn.Dropout(0.5), Faulty(), Calls(F.relu)
    ).to(memory_format=torch.channels_last)
    model.train()
    model[1].eval()
    model[0].conv1.weight.requires_grad_(False)
    return model


@pytest.mark.parametrize("method", [deconvnet, guided_backprop, gradient])
def test_the_model_is_left_as_it_was(method, unchanged):
    model, x = awkward_model(), torch.randn(2, 2, 6, 6)
    with unchanged(model):  # batch statistics included
        assert torch.equal(method(model, x, "4", 0), method(model, x, "4", 0))  # no dropout
    model[3].fail = True
    with unchanged(model), pytest.raises(RuntimeError, match="on purpose"):
        method(model, x, "4", 0)


def test_errors_inside_the_block_are_not_hidden():
    model = Calls(nn.GELU())

    def use():
        with rectifier_rule(model, "guided"):
            model(torch.randn(1, 2, 5, 5, requires_grad=True))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
