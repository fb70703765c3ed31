"""torchvision's models as nets: their names, weights, normalisation, classes and layers."""

import re
import urllib.error
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from zfnet.errors import UserError
from zfnet.models import foreign
from zfnet.models.checkpoint import load_net, save_net
from zfnet.models.foreign import automatic_taps, build_model, torchvision_net
from zfnet.models.torchvision_names import TORCHVISION_NAMES


@dataclass
class ClassOf:
    """A class of the data as the studies' sources give it."""

    id: str
    name: str


PETS = [ClassOf("cat", "cat"), ClassOf("dog", "dog"), ClassOf("emu", "emu")]


@pytest.fixture(scope="module")
def squeezenet_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.manual_seed(0)
    torch.save(build_model("squeezenet1_1", 1000).state_dict(), path)
    return path


def test_names_are_torchvisions():
    import torchvision

    listed = set(torchvision.models.list_models(module=torchvision.models))
    assert listed == set(TORCHVISION_NAMES)
    assert list(TORCHVISION_NAMES) == sorted(TORCHVISION_NAMES)


@torch.no_grad()
def test_random_weights_have_the_datas_classes_and_come_from_the_seed(tmp_path):
    net = torchvision_net("torchvision/resnet18", "random", PETS, input_px=64)
    torch.rand(1)
    again = torchvision_net("resnet18", "random", PETS, input_px=64)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    x = net.normalise(pixels)
    logits = net.model(x)
    assert logits.shape == (2, 3)
    assert torch.equal(logits, again.model(x))
    assert (net.arch, net.name, net.classes) == (
        "torchvision/resnet18",
        "resnet18",
        ["cat", "dog", "emu"],
    )
    assert net.class_index is None
    assert net.tap(1) == "relu"
    assert [net.tap(n) for n in (2, 3, 4, 5)] == ["layer1", "layer2", "layer3", "layer4"]
    assert net.tap(7, "out") == "avgpool"
    assert net.tap(1, "conv") == "conv1"
    save_net(net, tmp_path)
    back = load_net(tmp_path)
    assert torch.equal(logits, back.model(x))
    assert torch.equal(back.normalise(pixels), x)
    assert back.taps == net.taps
    assert not (tmp_path / "mean.npy").exists()


@torch.no_grad()
def test_alexnets_numbers_are_the_papers():
    taps = automatic_taps(build_model("alexnet", 4), 224)
    paths = [taps[f"{n}.relu"] for n in range(1, 8)]
    assert paths == [
        "features.1",
        "features.4",
        "features.7",
        "features.9",
        "features.11",
        "classifier.2",
        "classifier.5",
    ]


class Pyramid(nn.Module):
    """Three resolutions; the second ends in a functional ReLU, the third in no rectifier."""

    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(2)
        self.b = Block()
        self.c = nn.Conv2d(8, 16, 3, 2)
        self.end = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, 2)

    def forward(self, x):
        return self.fc(self.end(self.c(self.b(self.pool(self.a(x))))).flatten(1))


class Block(nn.Module):
    """A bottleneck with a sum and a functional ReLU."""

    def __init__(self):
        super().__init__()
        self.narrow = nn.Sequential(nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1))

    def forward(self, x):
        return (x + self.narrow(x)).relu()


def test_maps_are_the_last_rectified_of_each_resolution():
    model = Pyramid().train()
    taps = automatic_taps(model, 64)
    assert taps["1.conv"] == "a.0"
    assert [taps[f"{n}.relu"] for n in (1, 2, 3)] == ["a", "b", "c"]
    assert "4.relu" not in taps
    assert taps["7.out"] == "end"
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())


def small_transformer(name, num_classes, draw=True):
    """A vision transformer as torchvision builds them: for images of 224 px alone."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(224, 32, 1, 2, 16, 16, num_classes=num_classes).eval()


def test_a_transformer_takes_the_size_that_it_is_built_for_and_no_other(monkeypatch):
    monkeypatch.setattr(foreign, "build_model", small_transformer)
    net = torchvision_net("vit_h_14", "random", PETS)  # its usual weights are for 518 px
    assert net.input_px == net.normalise.input_px == 224
    with pytest.raises(UserError, match=r"vit_h_14.*no feature maps to number"):
        net.tap(5)
    assert net.tap("encoder.ln") == "encoder.ln"
    says = r"input_px: vit_h_14 .* 518 px \(Wrong image height.*\); give another"
    with pytest.raises(UserError, match=says):
        torchvision_net("vit_h_14", "random", PETS, input_px=518)


@torch.no_grad()
def test_a_file_of_imagenet_weights_is_matched_by_name(squeezenet_file):
    data = [
        ClassOf("n03028079", "n03028079"),  # Imagenette's folder for church
        ClassOf("x", "Golf_Ball"),
        ClassOf("y", "tench, Tinca tinca"),
        ClassOf("z", "zeppelin of old"),
    ]
    net = torchvision_net("squeezenet1_1", squeezenet_file, data, layers={5: "features.12"})
    assert net.class_index.tolist() == [497, 574, 0, -1]
    assert [net.classes[i] for i in net.class_index[:3]] == ["church", "golf ball", "tench"]
    assert len(net.classes) == net.model(torch.zeros(1, 3, 224, 224)).shape[1] == 1000
    assert net.tap(5) == net.tap(5, "out") == "features.12"
    assert net.normalise.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert net.provenance == {"weights": "mine.pth"}


def test_the_thousand_are_matched_by_their_wordnet_order(squeezenet_file):
    ids = [f"n{i:08d}" for i in range(1000)]
    order = np.random.default_rng(0).permutation(1000)
    data = [ClassOf(ids[i], "any") for i in order]
    net = torchvision_net("squeezenet1_1", str(squeezenet_file), data)
    assert net.class_index.tolist() == order.tolist()


def test_fine_tuned_weights_keep_the_datas_order(tmp_path):
    state = build_model("squeezenet1_1", 3).state_dict()
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "pets.pth")
    net = torchvision_net("squeezenet1_1", tmp_path / "pets.pth", PETS)
    assert net.class_index is None
    assert net.classes == ["cat", "dog", "emu"]
    assert torch.equal(net.model.classifier[1].weight, state["classifier.1.weight"])
    with pytest.raises(UserError, match="3 outputs match neither the data's 2 classes"):
        torchvision_net("squeezenet1_1", tmp_path / "pets.pth", PETS[:2])


def test_auxiliary_heads_in_a_file_are_left_out(tmp_path):
    import torchvision

    full = torchvision.models.googlenet(num_classes=3, aux_logits=True, init_weights=False)
    torch.save(full.state_dict(), tmp_path / "g.pth")
    net = torchvision_net("googlenet", tmp_path / "g.pth", PETS, input_px=64)
    assert net.model.transform_input
    assert net.input_px == 64
    assert torch.equal(net.model.fc.weight, full.fc.weight)


def test_older_files_of_weights_fit(tmp_path):
    state = build_model("densenet121", 3).state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", key): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "d.pth")
    net = torchvision_net("densenet121", tmp_path / "d.pth", PETS, input_px=64)
    assert all(torch.equal(net.model.state_dict()[key], state[key]) for key in state)


@torch.no_grad()
def test_a_model_that_reads_its_version_is_saved_and_loaded(tmp_path):
    net = torchvision_net("mnasnet0_5", "random", PETS, input_px=64)
    save_net(net, tmp_path)
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(load_net(tmp_path).model(x), net.model(x))


@pytest.mark.slow
def test_inception_takes_its_own_size():
    net = torchvision_net("inception_v3", "random", PETS)
    assert net.input_px == net.normalise.input_px == 299
    assert net.tap(5) == "Mixed_7c"


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("resnet81", {}, "no classifier 'resnet81'; did you mean 'resnet18'"),
        ("resnet18", {"weights": None}, "needs weights; give a file .* IMAGENET1K_V1, .*random"),
        ("resnet18", {"weights": "IMAGENET1K_V7"}, "unknown; did you mean 'IMAGENET1K_V1'"),
        ("resnet18", {"layers": {5: "layre4"}}, "layers.5: .* did you mean 'layer4'"),
    ],
)
def test_errors_say_what_to_give(name, options, says):
    with pytest.raises(UserError, match=says):
        torchvision_net(name, **{"weights": "random", "data_classes": PETS, **options})


def test_without_a_network_the_file_to_fetch_is_named(monkeypatch):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nowhere/hub")
    monkeypatch.setattr("os.makedirs", lambda *a, **k: None)
    with pytest.raises(
        UserError,
        match=r"download https://.*resnet18-\w+\.pth.*put resnet18-\w+\.pth into .*/nowhere",
    ):
        torchvision_net("resnet18", "DEFAULT", PETS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "densenet121",
        "efficientnet_b0",
        "mobilenet_v2",
        "regnet_y_400mf",
        "shufflenet_v2_x0_5",
        "vgg11_bn",
        "convnext_tiny",
        "mnasnet0_5",
        "maxvit_t",
    ],
)
@torch.no_grad()
def test_five_maps_of_falling_size_in_every_family(name):
    model = build_model(name, 10)
    taps = automatic_taps(model, 224)
    sizes = {}
    for number in range(1, 6):
        model.get_submodule(taps[f"{number}.relu"]).register_forward_hook(
            lambda m, i, out, number=number: sizes.update({number: out.shape})
        )
    model(torch.zeros(1, 3, 224, 224))
    assert list(sizes) == [1, 2, 3, 4, 5]  # in the order in which they run
    assert all(len(shape) == 4 and shape[2] == shape[3] > 1 for shape in sizes.values())
    falling = [shape[2] for shape in sizes.values()]
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) >= 4
