import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from answered import read_back
from torch import nn

from zfnet.figures.kit.show import to_image
from zfnet.models.checkpoint import first_model, save_weights
from zfnet.models.convnet import ConvNet
from zfnet.models.net import convnet_net
from zfnet.models.spec import build_spec
from zfnet.pipeline.studies import quantity_of
from zfnet.pipeline.survey import Activations
from zfnet.studies.activations import SHOWN_MAPS, dead_by_weights, draw, measure
from zfnet.studies.base import Inputs
from zfnet.studies.convergence import read_snapshots

CFG = Activations(device="cpu")


@pytest.fixture
def images(set_of):
    pixels = np.random.default_rng(3).integers(0, 256, (24, 72, 72, 3)).astype(np.uint8)
    return set_of(pixels, [i % 3 for i in range(24)])


@pytest.fixture
def net():
    """One of our own nets with the weights that its record says it began with."""
    model = ConvNet(build_spec("zfnet", width=1 / 12, input_px=72, num_classes=3))
    mean = np.full((3, 72, 72), 127.0, np.float32)
    record = {"training": {"init": "he"}, "seed": 5}
    made = convnet_net(model, mean, ["red", "green", "blue"], "tiny", record)
    model.load_state_dict(first_model(made, 0).state_dict())
    return made


def measured(images, net, snapshots=None, **more):
    return measure(Inputs(images, "train", net), snapshots or {}, CFG, **more)


def trained(net, change=-30.0):
    """The net as if training had lowered the biases of layers 2 to 5."""
    with torch.no_grad():
        for n in (2, 3, 4, 5):
            net.model.get_submodule(f"layer{n}.conv").bias += change * 0.85**n
    return net


def test_first_weights_against_themselves_have_not_changed(images, net):
    found = measured(images, net).estimates
    for n in range(1, 8):
        change = found[f"layer{n}_zeros_change"]
        assert (change.value, change.low, change.high, change.n) == (0, 0, 0, 24)
        assert 0.3 < found[f"layer{n}_zeros_start"].value < 0.7  # half, by symmetry
    assert found["layer5_locality_change"].value == 0
    assert "layer6_locality" not in found  # which has no space
    assert all(quantity_of("activations", key) for key in found)
    assert found["silent_bound"].value == 3 / 24
    assert found["maps"].value == sum(found[f"layer{n}_silent"].n for n in range(1, 8))


def test_what_makes_maps_sparser_and_more_local_is_seen(images, net):
    found = measured(images, trained(net), leads=False)
    for n in (2, 3):
        assert found.estimates[f"layer{n}_zeros_change"].low > 0.05
        assert found.estimates[f"layer{n}_locality_change"].low > 0
    assert abs(found.estimates["layer1_zeros_change"].value) < 1e-6
    assert not found.arrays
    row = found.tables["layers"].records()[1]
    assert row["zeros"] - row["zeros_start"] == pytest.approx(row["zeros_change"])


def test_zeros_are_counted_at_the_rectifier_against_a_plain_pass(images, net):
    found, inputs = measured(images, net).estimates, Inputs(images, "train", net)
    with torch.no_grad():
        maps = net.model.layer1.relu(net.model.layer1.conv(inputs.batch(inputs.rows)))
    assert found["layer1_zeros"].value == pytest.approx(float((maps == 0).float().mean()))
    active = maps.amax((2, 3)) > 0
    share = maps.flatten(2) / maps.flatten(2).sum(2, keepdim=True)
    entropy = -(share * share.clamp(min=1e-30).log()).sum(2) / np.log(maps[0, 0].numel())
    local = torch.stack([(1 - one[own]).mean() for one, own in zip(entropy, active, strict=True)])
    assert found["layer1_locality"].value == pytest.approx(float(local.mean()), abs=1e-5)


def test_silent_dead_and_always_on_maps_are_told_apart(images, net):
    with torch.no_grad():
        first = net.model.layer1.conv
        first.weight[1:4] = 0
        first.weight[1, 0, 0, 0] = 1e-3
        first.bias[1] = -1e-3 * 127  # silent on any darker image, alive where a pixel is 255
        first.bias[2] = -1e6
        first.bias[3] = 1.0
    pixels = images._split._images
    pixels[pixels == 255] = 254
    found = measured(images, net, leads=False).estimates
    assert found["layer1_silent"].value == 2
    assert found["layer1_dead_by_weights"].value == 1
    assert found["layer1_always_on"].value == 1
    assert dead_by_weights(net)["layer1.relu"].nonzero().flatten().tolist() == [2]
    pixels[0, 41, 41] = 255  # on one image
    assert measured(images, net, leads=False).estimates["layer1_silent"].value == 1


def test_other_nets_have_what_can_be_known_of_them(marks, probe):
    found = measure(Inputs(marks, "train", probe), {}, CFG)
    assert not any(key.endswith(("_start", "_change")) for key in found.estimates)
    assert "layer1_dead_by_weights" not in found.estimates
    assert found.estimates["layer1_silent"].value == 1  # the probe's dead map
    assert found.tables["epochs"].rows == []


def test_a_layer_that_is_not_rectified_is_left_out(marks, probe, place):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(784, 3))
    net = replace(probe, model=model.eval(), taps={"1.relu": "1"})
    found = measure(Inputs(marks, "train", net), {}, CFG)
    assert set(found.estimates) == {"images", "maps", "silent_bound"}
    assert found.facts["not_rectified"] == [1]
    results, telling, said = read_back("activations", found, place)
    assert [one.name for one in telling.figures(results)] == ["activations_1", "activations_2"]
    assert "falls below 0" in said


@pytest.fixture
def snapshots(net, tmp_path):
    """Two epochs: the first weights once more, then those of `trained`, which stay in the net."""
    folder = tmp_path / "epochs"
    folder.mkdir()
    save_weights(net.model, folder / "epoch_001.pt")
    save_weights(trained(net).model, folder / "epoch_002.pt")
    (folder / "epochs.json").write_text(json.dumps({"kept": [1, 2]}))
    return read_snapshots(folder)


def test_curves_go_from_the_first_weights_to_the_last(images, net, snapshots):
    before = {key: value.clone() for key, value in net.model.state_dict().items()}
    found = measured(images, net, snapshots)
    rows = {(row["epoch"], row["layer"]): row for row in found.tables["epochs"].records()}
    assert sorted({epoch for epoch, _ in rows}) == [0, 1, 2]
    for n in range(1, 8):
        assert rows[0, n]["zeros"] == rows[1, n]["zeros"]
        assert rows[2, n]["zeros"] == pytest.approx(found.estimates[f"layer{n}_zeros"].value)
    assert rows[2, 2]["locality"] > rows[1, 2]["locality"]
    after = net.model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_pictures_are_of_several_classes_and_their_maps_sorted(images, net):
    inputs = Inputs(images, "train", net)
    layers = {n: net.tap(n, "relu") for n in (2, 6)}
    arrays, facts = draw(inputs, layers, CFG.model_copy(update={"images": 3}))
    again, _ = draw(inputs, layers, CFG.model_copy(update={"images": 3}))
    assert {one["class"] for one in facts} == {"red", "green", "blue"}
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    rows = [inputs.split.ids.index(one["image"]) for one in facts]
    with torch.no_grad():
        maps = net.model.layer2[:2](net.model.layer1(inputs.batch(np.array(rows))))
    peaks = maps.amax((2, 3))
    assert arrays["layer2_maps"].shape[1] == min(SHOWN_MAPS, maps.shape[1])
    assert (np.diff(arrays["layer2_highest"], axis=1) <= 0).all()
    for i in range(3):
        own = arrays["layer2_numbers"][i]
        assert np.allclose(arrays["layer2_highest"][i], peaks[i][own], rtol=1e-5)
        grey = 255 * (maps[i][own] / maps.max()).sqrt().numpy()
        assert np.abs(arrays["layer2_maps"][i] - grey).max() < 0.51  # one scale for all
        assert facts[i]["active"][2] == int((peaks[i] > 0).sum())
    assert arrays["layer6_units"].shape == (3, 344)


@pytest.mark.parametrize(
    ("change", "words"),
    [(-30.0, "layers 2, 3, 4 and 5 sparser"), (30.0, "denser"), (0.0, "not decided")],
)
def test_the_page_follows_the_numbers(images, net, place, change, words):
    results, telling, said = read_back("activations", measured(images, trained(net, change)), place)
    answer = said.split("---")[0]
    assert (words in answer) or change == 0.0
    assert ("sparser" in answer.split(".")[0] and "not shown" not in answer) == (change < 0)
    for one in telling.figures(results):
        assert min(to_image(one.draw()).size) > 200
    assert list(telling.tables(results)) == ["layers"]
