"""The bundle: normalisation, taps, and files that come back as they went."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from zfnet.errors import UserError
from zfnet.models.checkpoint import (
    draw_anew,
    load_net,
    load_weights,
    read_state,
    save_net,
    save_weights,
)
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.net import Net, Normalise, convnet_net
from zfnet.models.spec import build_spec


@pytest.fixture
def net() -> Net:
    model = ConvNet(build_spec(width=0.1, input_px=64, num_classes=3))
    init_weights(model, "he", seed=2)
    mean = np.random.default_rng(0).uniform(0, 255, (3, 72, 72)).astype(np.float32)
    return convnet_net(model, mean, ["ant", "bee", "çat"], "small", {"seed": 2})


def crops(images, offsets, flips, px):
    views = []
    for image, (y, x), flip in zip(images, offsets.tolist(), flips.tolist(), strict=True):
        view = image[:, y : y + px, x : x + px]
        views.append(view.flip(2) if flip else view)
    return torch.stack(views)


def test_mean_image_is_cropped_and_flipped_with_the_image():
    images = torch.randint(0, 256, (6, 3, 20, 20), dtype=torch.uint8)
    mean = torch.rand(3, 20, 20) * 255
    offsets = torch.tensor([[0, 0], [0, 4], [4, 0], [4, 4], [2, 2], [1, 3]], dtype=torch.int32)
    flips = torch.tensor([False, True, True, False, True, False])
    normalise = Normalise.mean_image(mean, 16)
    pixels = crops(images, offsets, flips, 16)
    x = normalise(pixels, offsets, flips)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, crops(images.float() - mean, offsets, flips, 16))


def test_mean_image_defaults_to_the_centre():
    image = torch.rand(1, 3, 20, 20) * 255
    mean = torch.rand(3, 20, 20)
    normalise = Normalise.mean_image(mean.numpy(), 16)
    x = normalise(image[..., 2:18, 2:18])
    torch.testing.assert_close(x, (image - mean)[..., 2:18, 2:18])
    torch.testing.assert_close(normalise.inverse(x), image[..., 2:18, 2:18])
    flipped = normalise(image[..., 2:18, 2:18].flip(3), None, torch.tensor([True]))
    torch.testing.assert_close(flipped, x.flip(3))


def test_standardise_and_back():
    normalise = Normalise.standardise([0.4, 0.5, 0.6], [0.2, 0.25, 0.5], 8)
    pixels = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    x = normalise(pixels)
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([3.0, 2.0, 0.8]))
    torch.testing.assert_close(normalise.inverse(x), pixels.float())


def test_sizes_that_do_not_match_are_errors():
    with pytest.raises(UserError, match="takes 16 px but the data was prepared at 12 px"):
        Normalise.mean_image(torch.zeros(3, 12, 12), 16)
    with pytest.raises(UserError, match=r"\(3, S, S\)"):
        Normalise.mean_image(torch.zeros(3, 12, 13), 10)
    with pytest.raises(UserError, match=r"\(N, 3, 10, 10\), found \(1, 3, 12, 12\)"):
        Normalise.mean_image(torch.zeros(3, 12, 12), 10)(torch.zeros(1, 3, 12, 12))


def test_tap_accepts_numbers_taps_and_paths(net):
    assert net.tap(5) == "layer5.relu"
    assert net.tap("5", "out") == "layer5"
    assert net.tap("5.out") == "layer5"
    assert net.tap("layer2.pool") == "layer2.pool"
    with pytest.raises(UserError, match=r"no tap 9.relu.*It has 1.conv"):
        net.tap(9)
    with pytest.raises(UserError, match=r"did you mean '3\.relu'"):
        net.tap(3, "rellu")


def test_outputs_for_labels(net):
    labels = np.array([2, 0])
    assert net.outputs_for(labels).tolist() == [2, 0]
    net.class_index = np.array([7, -1, 4])
    assert net.outputs_for(labels).tolist() == [4, 7]


def test_class_names_must_match_the_outputs(net):
    with pytest.raises(UserError, match="2 class names for the 3 outputs"):
        convnet_net(net.model, net.normalise.mean, ["a", "b"], "small")


@torch.no_grad()
def test_a_saved_net_comes_back(net, tmp_path):
    save_net(net, tmp_path / "a")
    back = load_net(tmp_path / "a")
    x = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(net.model(net.normalise(x)), back.model(back.normalise(x)))
    assert not back.model.training
    assert (back.name, back.arch, back.classes) == ("small", "zfnet", ["ant", "bee", "çat"])
    assert (back.taps, back.input_px) == (net.taps, 64)
    assert back.provenance == {"seed": 2}
    assert back.model.spec == net.model.spec
    assert back.class_index is None


def test_saving_gives_the_same_bytes_in_any_memory_format(net, tmp_path):
    save_net(net, tmp_path / "a")
    net.model.to(memory_format=torch.channels_last)
    save_net(net, tmp_path / "elsewhere" / "b")
    for name in ("net.json", "weights.pt", "mean.npy"):
        a, b = (tmp_path / folder / name for folder in ("a", "elsewhere/b"))
        assert a.read_bytes() == b.read_bytes(), name
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "mean.npy",
        "net.json",
        "weights.pt",
    ]


def test_an_architecture_is_drawn_anew_by_the_seed_alone(net):
    first, same, other = (draw_anew(net.rebuild, "he", seed, 5) for seed in (2, 2, 3))
    states = [model.state_dict() for model in (first, same, other)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert not torch.equal(states[0]["layer1.conv.weight"], states[2]["layer1.conv.weight"])
    assert first.spec.num_classes == 5
    whole = draw_anew(net.rebuild, "he", 2).state_dict()  # the net of the fixture, with its seed
    assert all(torch.equal(value, whole[key]) for key, value in net.model.state_dict().items())


def test_weights_of_an_epoch_load_into_the_net(net, tmp_path):
    save_weights(net.model, tmp_path / "epoch_001.pt")
    other = ConvNet(net.model.spec)
    kept = other.layer1.conv.weight  # an optimiser may hold it
    load_weights(other, tmp_path / "epoch_001.pt")
    assert other.layer1.conv.weight is kept
    assert torch.equal(kept, net.model.layer1.conv.weight)


def damage_json(folder: Path) -> None:
    (folder / "net.json").write_text("{")


def cut(folder: Path) -> None:
    path = folder / "weights.pt"
    path.write_bytes(path.read_bytes()[:1000])


def another_net(folder: Path) -> None:
    record = json.loads((folder / "net.json").read_text())
    record["rebuild"]["spec"] = build_spec(width=0.2, input_px=64, num_classes=3).to_dict()
    (folder / "net.json").write_text(json.dumps(record))


def lose_key(folder: Path) -> None:
    record = json.loads((folder / "net.json").read_text())
    del record["classes"]
    (folder / "net.json").write_text(json.dumps(record))


def other_format(folder: Path) -> None:
    (folder / "net.json").write_text('{"format": 99}')


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda f: (f / "net.json").unlink(), r"net\.json: not found"),
        (lambda f: (f / "weights.pt").unlink(), r"weights\.pt: no such file"),
        (lambda f: (f / "mean.npy").unlink(), r"mean\.npy: not found"),
        (lambda f: (f / "mean.npy").write_bytes(b"x"), r"mean\.npy: damaged"),
        (damage_json, r"net\.json cannot be read"),
        (lose_key, r"net\.json: not a complete description.*classes"),
        (other_format, r"not a net of format 1"),
        (cut, r"weights\.pt: cannot be read as weights"),
        (another_net, r"another net; of another shape: layer1\.conv\.weight \(8, .*and \d+ more"),
    ],
)
def test_broken_folders_name_the_file(net, tmp_path, harm, says):
    save_net(net, tmp_path)
    harm(tmp_path)
    with pytest.raises(UserError, match=says):
        load_net(tmp_path)


def test_state_dicts_of_others_are_read(net, tmp_path):
    state = net.model.state_dict()
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth"
    )
    assert read_state(tmp_path / "w.pth").keys() == state.keys()
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="holds no state dict"):
        read_state(tmp_path / "list.pth")


def test_files_that_hold_code_are_refused(net, tmp_path):
    torch.save(net.model, tmp_path / "whole.pth")
    with pytest.raises(UserError, match="holds more than tensors"):
        read_state(tmp_path / "whole.pth")
