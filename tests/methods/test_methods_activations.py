import math

import pytest
import torch
from torch import nn

from zfnet.errors import UserError
from zfnet.methods import UnsupportedModel
from zfnet.methods.activations import activity, locality, upper_bounds, zeros
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.spec import build_spec


def batches(*images):
    return [(one, None) for one in images]


def test_zeros_and_locality_by_hand():
    maps = torch.zeros(1, 4, 2, 2)
    maps[0, 0] = 3.0  # everywhere the same
    maps[0, 1, 1, 0] = 0.1  # one place
    maps[0, 2, 0] = torch.tensor([1.0, 1.0])  # half of the places
    assert zeros(maps).tolist() == [(0 + 3 + 2 + 4) / 16]
    found = locality(maps)[0]
    assert found[:3].tolist() == pytest.approx([0, 1, 1 - math.log(2) / math.log(4)])
    assert found[3].isnan()
    assert torch.allclose(locality(1e4 * maps[:, :3]), found[:3], atol=1e-9)  # of any size
    assert locality(maps[:, :, :1, :1])[0, 0].isnan()  # one place tells nothing


def test_locality_is_one_less_the_entropy_against_a_second_implementation():
    from scipy.stats import entropy

    maps = torch.randn(3, 5, 6, 7, generator=torch.Generator().manual_seed(0)).relu()
    expected = 1 - entropy(maps.flatten(2).numpy(), axis=2) / math.log(42)
    assert torch.allclose(locality(maps), torch.from_numpy(expected).double(), atol=1e-6)


class Layers(nn.Module):
    """Four maps of a grey image: itself, minus itself, itself plus 1, what is above 0.9."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.last = nn.Conv2d(1, 4, 1), nn.ReLU(inplace=True), nn.Linear(4, 3)
        with torch.no_grad():
            self.conv.weight[:, 0, 0, 0] = torch.tensor([1.0, -1.0, 1.0, 1.0])
            self.conv.bias.copy_(torch.tensor([0.0, 0.0, 1.0, -0.9]))

    def forward(self, x):
        return self.last(self.relu(self.conv(x)).mean((2, 3)))


def test_silent_and_always_on_maps_over_batches():
    model, dark, bright = Layers().train(), torch.zeros(5, 1, 3, 3), torch.zeros(1, 1, 3, 3)
    dark[:, 0, 1, 1] = 0.5
    bright[0, 0, 2, 2] = 0.95
    found = activity(model, batches(dark[:2], dark[2:]), ["relu"])["relu"]
    assert found.silent.tolist() == [False, True, False, True]
    assert found.always_on.tolist() == [False, False, True, False]
    assert found.zeros.tolist() == pytest.approx([(8 + 9 + 0 + 9) / 36] * 5)
    # a map alive on one image alone is not silent
    both = activity(model, batches(dark, bright), ["relu"])["relu"]
    assert both.silent.tolist() == [False, True, False, False]
    assert both.highest.tolist() == pytest.approx([0.95, 0, 1.95, 0.05], abs=1e-6)
    flat = 1 - -(1.5 / 9.5 * math.log(1.5 / 9.5) + 8 / 9.5 * math.log(1 / 9.5)) / math.log(9)
    assert float(both.locality[0]) == pytest.approx((1 + flat) / 2, abs=1e-6)
    assert model.training
    assert both.rectified
    assert both.places == (3, 3)


def test_batches_change_nothing_and_layers_without_space_have_no_locality():
    model = Layers().eval()
    with torch.no_grad():  # below 0 somewhere, whatever was drawn
        for values in model.last.parameters():
            values.copy_(-values.abs())
    images = torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    one = activity(model, batches(images), ["relu", "last"])
    many = activity(model, batches(*images.split(2)), ["relu", "last"])
    for path in ("relu", "last"):
        for key in ("zeros", "highest", "lowest"):
            assert torch.allclose(getattr(one[path], key), getattr(many[path], key), atol=1e-6)
    assert torch.allclose(one["relu"].locality, many["relu"].locality, atol=1e-6)
    assert one["last"].locality.isnan().all()
    assert one["last"].places == (1, 1)
    assert not one["last"].rectified


def test_what_has_no_activity_is_refused():
    with pytest.raises(UserError, match="no images"):
        activity(Layers(), [], ["relu"])
    model = nn.Sequential(nn.Flatten(2), nn.ReLU())
    with pytest.raises(UnsupportedModel, match="no maps"):
        activity(model, batches(torch.zeros(1, 3, 4, 4)), ["1"])


# ---------------------------------------------------------------------------------------- bounds
def net(groups_of="alexnet"):
    model = ConvNet(build_spec(groups_of, width=1 / 12, input_px=67, num_classes=3)).eval()
    init_weights(model, "he", seed=0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.bias.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    return model


def chain(model):
    return {path: m for path, m in model.named_modules() if not list(m.children())}


LOW, HIGH = torch.tensor([-120.0, -110.0, -100.0]), torch.tensor([135.0, 145.0, 155.0])


@pytest.mark.parametrize("arch", ["zfnet", "alexnet"])
def test_no_picture_passes_the_bounds_and_the_first_is_reached(arch):
    model = net(arch)
    bounds = upper_bounds(chain(model), LOW, HIGH)
    assert list(bounds) == [f"layer{n}.relu" for n in range(1, 8)]
    kernel = model.layer1.conv.weight.shape[2]
    generator = torch.Generator().manual_seed(2)
    images = (
        LOW.view(3, 1, 1)
        + (HIGH - LOW).view(3, 1, 1) * torch.rand(4, 3, 67, 67, generator=generator).round()
    )
    pad = model.layer1.conv.padding[0]  # the worst picture for the first filter
    worst = torch.where(model.layer1.conv.weight[0] > 0, HIGH.view(3, 1, 1), LOW.view(3, 1, 1))
    step = model.layer1.conv.stride[0]
    at = step * (-(-pad // step)) - pad
    images[0, :, at : at + kernel, at : at + kernel] = worst
    before = {}
    for path in bounds:
        layer = model.get_submodule(path)
        layer.register_forward_pre_hook(lambda _, x, p=path: before.update({p: x[0]}))
    with torch.no_grad():
        model(images)
    for path, bound in bounds.items():
        reached = before[path].transpose(0, 1).flatten(1).amax(1)
        assert (reached <= bound.float() * (1 + 1e-5) + 1e-3).all()
    first = before["layer1.relu"][0, 0].max()
    assert float(first) == pytest.approx(float(bounds["layer1.relu"][0]), rel=1e-4)


def test_a_map_killed_by_its_bias_is_found_and_no_other():
    model = net()
    assert all((bound > 0).all() for bound in upper_bounds(chain(model), LOW, HIGH).values())
    for path, number in (("layer1.conv", 3), ("layer4.conv", 7), ("layer6.linear", 11)):
        with torch.no_grad():
            model.get_submodule(path).bias[number] = -1e15
    dead = {
        path: (bound <= 0).nonzero().flatten().tolist()
        for path, bound in upper_bounds(chain(model), LOW, HIGH).items()
    }
    wanted = {"layer1.relu": [3], "layer4.relu": [7], "layer6.relu": [11]}
    assert {path: which for path, which in dead.items() if which} == wanted


def test_bounds_follow_what_is_dead_below():
    """A unit that reads nothing but a dead map is dead if its bias is."""
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.ReLU())
    with torch.no_grad():
        model[0].bias[0] = -1e6
        model[2].weight[:, :, 0, 0] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        model[2].bias.copy_(torch.tensor([0.0, 0.1]))
    bounds = upper_bounds(dict(model.named_children()), LOW, HIGH)
    assert (bounds["3"] <= 0).tolist() == [True, False]
    with pytest.raises(UnsupportedModel, match="BatchNorm2d"):
        upper_bounds({"norm": nn.BatchNorm2d(3)}, LOW, HIGH)
