import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from answered import read_back
from torch import nn

from zfnet.figures.kit.show import to_image
from zfnet.methods.filters import smoothness
from zfnet.models.checkpoint import first_model, save_weights
from zfnet.models.convnet import ConvNet
from zfnet.models.net import convnet_net
from zfnet.models.spec import build_spec
from zfnet.pipeline.studies import quantity_of
from zfnet.pipeline.survey import Filters
from zfnet.studies.convergence import read_snapshots
from zfnet.studies.filters import dead, filters_of, layers_of, measure

CFG = Filters()


@pytest.fixture
def net():
    """One of our own nets with the weights that its record says it began with."""
    model = ConvNet(build_spec("zfnet", width=1 / 6, input_px=100, num_classes=3))
    mean = np.full((3, 100, 100), 127.0, np.float32)
    record = {"training": {"init": "he"}, "seed": 5}
    made = convnet_net(model, mean, ["red", "green", "blue"], "tiny", record)
    model.load_state_dict(first_model(made, 0).state_dict())
    return made


def bump(side):
    x = torch.linspace(-1, 1, side)
    return torch.exp(-2 * x[:, None] ** 2 - 2 * x[None] ** 2)


def learn(net, layer=1, share=1.0):
    """Add something smooth to every filter of a layer, so large as its noise times `share`."""
    with torch.no_grad():
        weight = net.model.get_submodule(f"layer{layer}.conv").weight
        size = share * weight.std() / bump(weight.shape[2]).std()
        signs = torch.sign(weight.mean((2, 3), keepdim=True))
        weight += size * signs * bump(weight.shape[2])


@pytest.fixture
def keep(tmp_path):
    """Write the model's weights as the snapshots of epochs 1, 2 …, after each of some changes."""

    def written(net, changes):
        folder = tmp_path / "epochs"
        folder.mkdir()
        for epoch, change in enumerate(changes, 1):
            change(net)
            save_weights(net.model, folder / f"epoch_{epoch:03d}.pt")
        kept = list(range(1, len(changes) + 1))
        (folder / "epochs.json").write_text(json.dumps({"kept": kept}))
        return read_snapshots(folder)

    return written


def test_first_weights_are_noise_and_have_gained_nothing(net):
    found = measure(net, {}, CFG).estimates
    for n in range(1, 7):
        one = found[f"layer{n}_smoothness"]
        assert one.low < 1 < one.high
        assert abs(one.value - 1) < 0.02
        assert one.n == len(net.model.get_submodule(f"layer{n}")[0 if n < 6 else 1].weight)
        assert found[f"layer{n}_smoothness_gain"].value == 0
        assert found[f"layer{n}_dead"].value == 0
    assert found["layer1_roughness"].value == pytest.approx(1)
    assert "layer7_smoothness" not in found  # which has no space
    assert all(quantity_of("filters", key) for key in found)


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.3, "is largely noise"), (3.0, "is not largely noise")],
)
def test_what_is_learned_is_smooth_and_the_page_says_how_noisy_layer_1_is(net, place, share, words):
    learn(net, share=share)
    found = measure(net, {}, CFG)
    assert found.estimates["layer1_smoothness"].low > 1
    assert found.estimates["layer1_smoothness_gain"].low > 0
    noise = 1 / (1 + share**2)  # of the energy of what varies
    assert found.estimates["layer1_roughness"].value == pytest.approx(noise, abs=0.12)
    assert found.estimates["layer2_smoothness_gain"].value == 0
    results, telling, said = read_back("filters", found, place)
    assert words in said
    assert ("sign of a training that was too short" in said) == (share < 1)
    assert "Neighbouring taps are more alike than shuffled ones in layer" in said
    for one in telling.figures(results):
        assert min(to_image(one.draw()).size) > 200
    assert list(telling.tables(results)) == ["layers", "filters"]


def test_noise_that_stays_noise_is_said_to_be(net, place):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in net.model.parameters():
            parameter.mul_(0.5).add_(0.1 * parameter.std() * torch.randn_like(parameter))
    _, _, said = read_back("filters", measure(net, {}, CFG), place)
    assert "Layer 1 is largely noise" in said
    assert "training raised it" not in said


def test_rough_filters_are_below_one(net):
    with torch.no_grad():
        weight = net.model.layer1.conv.weight
        y, x = np.indices(weight.shape[2:])
        weight.abs_().mul_(torch.from_numpy((-1.0) ** (y + x)).float())
    found = measure(net, {}, CFG).estimates
    assert found["layer1_smoothness"].high < 1
    assert found["layer1_smoothness_gain"].high < 0


def test_the_columns_of_the_first_linear_layer_lie_as_the_maps_below_it(net):
    """Weights smooth within each map are smooth; the same numbers laid map by place are not."""
    weights = layers_of(net)
    maps, height, width = weights[6].reads
    torch.manual_seed(0)
    assert weights[7].reads is None
    linear = net.model.layer6.linear
    assert (maps * height * width, height) == (linear.in_features, 2)
    one = torch.randn(len(linear.weight), maps, 1, 1) + 0.1 * torch.randn(1, 1, height, width)
    slope = torch.tensor([[0.0, 0.1], [0.9, 1.0]])
    planes = torch.randn(len(linear.weight), maps, 1, 1) * slope + one
    with torch.no_grad():
        linear.weight.copy_(planes.flatten(1))
    own = filters_of(weights, net.model.state_dict())[6]
    assert torch.equal(own, planes)
    assert measure(net, {}, CFG).estimates["layer6_smoothness"].low > 1.05
    other = planes.flatten(2).transpose(1, 2).reshape(planes.shape)
    assert float(smoothness(other).mean()) < 1.05


class Functional(nn.Module):
    """As others write nets: flattening is no module, a tap names a whole block."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Conv2d(8, 6, 1), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(6, 7, 3, bias=False), nn.BatchNorm2d(7), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(63, 9), nn.ReLU(), nn.Linear(9, 63))
        self.act = nn.ReLU()

    def forward(self, x):
        x = torch.flatten(self.pool(self.last(self.block(x))), 1)
        return self.act(self.head(x))


def test_of_other_nets_the_convolution_with_space_before_the_tap_is_taken(probe, place):
    torch.manual_seed(0)
    taps = {"1.relu": "block", "2.relu": "last.2", "6.relu": "head.2", "7.relu": "act"}
    net = replace(probe, model=Functional().eval(), taps=taps)
    found = layers_of(net)
    paths = {n: of.path for n, of in found.items()}
    assert paths == {1: "block.0", 2: "last.0", 6: "head.1", 7: "head.3"}
    assert (found[6].reads, found[7].reads) == ((7, 3, 3), None)
    measured = measure(net, {}, CFG)
    assert set(measured.estimates) == {
        *(f"layer{n}_smoothness" for n in (1, 2, 6)),
        *(f"layer{n}_dead" for n in (1, 2, 6, 7)),
    }
    results, telling, said = read_back("filters", measured, place)
    assert "largely noise" not in said  # without first weights that is not known
    assert [one.name for one in telling.figures(results)] == ["layer1", "planes", "smoothness"]


def test_a_filter_that_no_gradient_reaches_is_dead_and_left_out(net, keep):
    def epoch(net):
        with torch.no_grad():
            for number, module in enumerate(net.model.modules()):
                if isinstance(module, nn.Conv2d | nn.Linear):
                    generator = torch.Generator().manual_seed(number)
                    noise = torch.empty(module.weight.shape).normal_(0, 1, generator=generator)
                    module.weight += 0.02 * module.weight.std() * noise

    def last(net):
        kept = net.model.layer2.conv.weight.clone()
        epoch(net)
        with torch.no_grad():
            net.model.layer2.conv.weight[3] = 0.97 * kept[3]  # decay alone
            net.model.layer2.conv.weight[4] = -kept[4]
            net.model.layer2.conv.weight[5] = 0
            net.model.layer2.conv.weight[6] = kept[6]
            net.model.layer2.conv.weight[6, 0, 0, 0] += 0.01

    found = measure(net, keep(net, [epoch, last]), CFG)
    one = found.estimates["layer2_dead"]
    filters = one.n
    assert one.value == 3
    assert found.estimates["layer2_smoothness"].n == filters - 3
    assert found.estimates["layer1_dead"].value == 0
    shown = found.tables["filters"].records()
    listed = [row["filter"] for row in shown if row["layer"] == 2 and row["dead"]]
    assert listed == [3, 4, 5]
    assert not set(found.arrays["layer2_numbers"].tolist()) & {3, 4, 5}
    epochs = [row for row in found.tables["epochs"].records() if row["layer"] == 2]
    assert [row["epoch"] for row in epochs] == [0, 1, 2]
    end = found.estimates["layer2_smoothness"].value
    assert epochs[-1]["smoothness"] == pytest.approx(end)


def test_a_layer_that_stood_still_tells_of_no_dead_filter():
    filters = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert not dead(filters, filters * 0.5).any()
    assert not dead(filters, None).any()
    filters[2] = 0
    assert dead(filters, None).tolist() == [False, False, True, False, False, False]


def test_drawn_are_the_strongest_filters_and_planes(net):
    with torch.no_grad():
        net.model.layer3.conv.weight[9] *= 4
        net.model.layer3.conv.weight[9, 13] *= 4
        net.model.layer3.conv.weight[2] *= 3
    found = measure(net, {}, CFG)
    assert found.arrays["layer3_numbers"][:2].tolist() == [9, 2]
    assert found.arrays["layer3_inputs"][0, 0] == 13
    own = net.model.layer3.conv.weight[9, 13].detach().numpy()
    assert np.array_equal(found.arrays["layer3_planes"][0, 0], own)
    assert not measure(net, {}, CFG, leads=False).arrays
