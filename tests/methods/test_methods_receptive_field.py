"""Receptive fields against the paper's numbers and the support of the gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zfnet.errors import UserError
from zfnet.methods import ReceptiveField, UnsupportedModel, receptive_field
from zfnet.models.convnet import ConvNet
from zfnet.models.spec import build_spec

SLOW = pytest.mark.slow

# layer: (size, stride), paper.md 1.1 [calc]
ZFNET = {
    "layer1.conv": (7, 2), "layer1.pool": (11, 4), "layer1": (11, 4), "layer2.conv": (27, 8),
    "layer2": (43, 16), "layer3": (75, 16), "layer4": (107, 16), "layer5.relu": (139, 16),
    "layer5": (171, 32),
}  # fmt: skip
ALEXNET = {
    "features.0": (11, 4), "features.3": (51, 8), "features.6": (99, 16), "features.8": (131, 16),
    "features.10": (163, 16), "features.12": (195, 32),
}  # fmt: skip


class _Positive(TorchFunctionMode):
    """Makes the model a sum of all it can see: weights 1, rectifiers out, pools by average."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.__name__
        if name == "conv2d":
            x, weight, _, *rest = args
            return func(x, torch.full_like(weight, 1 / weight[0].numel()), None, *rest)
        if name in ("relu", "relu_", "hardtanh", "batch_norm", "local_response_norm", "dropout"):
            return args[0]
        if name == "max_pool2d":
            x, kernel = args[:2]
            stride, padding = kwargs["stride"], kwargs["padding"]
            return AllMax.apply(x, kernel, stride, padding, kwargs["ceil_mode"])
        return func(*args, **kwargs)


class AllMax(torch.autograd.Function):
    """A max pool whose gradient reaches the whole window."""

    @staticmethod
    def forward(ctx, x, kernel, stride, padding, ceil_mode):
        ctx.window = (kernel, stride, padding)
        ctx.shape = x.shape
        return F.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil_mode)

    @staticmethod
    def backward(ctx, grad):
        kernel, stride, padding = ctx.window
        wide = [n + 2 * padding + stride + kernel for n in ctx.shape[2:]]  # room for ceil mode
        up = grad.new_zeros(*ctx.shape[:2], *wide)
        for dy in range(kernel):
            for dx in range(kernel):
                rows = slice(dy, dy + stride * grad.shape[2], stride)
                cols = slice(dx, dx + stride * grad.shape[3], stride)
                up[:, :, rows, cols] += grad
        h, w = ctx.shape[2:]
        return up[:, :, padding : padding + h, padding : padding + w], None, None, None, None


def supports(model: nn.Module, layers: list[str], px: tuple[int, int]):
    """For a layer and a place: the bounding box of the pixels it depends on, by gradients."""
    image = torch.ones(1, 3, *px, requires_grad=True)
    kept = {}
    handles = [
        model.get_submodule(layer).register_forward_hook(
            lambda m, a, out, layer=layer: kept.setdefault(layer, out)
        )
        for layer in layers
    ]
    with _Positive():
        model(image * 1)
    for handle in handles:
        handle.remove()

    def box(layer: str, y: int, x: int) -> tuple[int, ...]:
        unit = kept[layer][0, :, y, x].sum()
        (grad,) = torch.autograd.grad(unit, image, retain_graph=True)
        seen = (grad[0].abs().amax(0) > 0).numpy()
        rows, cols = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        return rows[0], cols[0], rows[-1] + 1, cols[-1] + 1

    return box


def check_all(model: nn.Module, layers: list[str], px: tuple[int, int]) -> list[ReceptiveField]:
    """Compare boxes with supports at two corners and in the middle of each layer."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    truth = supports(model, layers, px)
    fields = [receptive_field(model, layer, px) for layer in layers]
    for layer, field in zip(layers, fields, strict=True):
        h, w = field.places
        for y, x in {(0, w - 1), (h - 1, 0), (h // 2, w // 2)}:
            assert field.box(y, x) == truth(layer, y, x), (layer, y, x)
    return fields


@pytest.fixture(scope="module")
def zfnet():
    return ConvNet(build_spec("zfnet", width=0.03125, num_classes=2, fc_units=4)).eval()


def test_zfnet_has_the_papers_fields(zfnet):
    for layer, field in zip(ZFNET, check_all(zfnet, list(ZFNET), (224, 224)), strict=True):
        assert (field.size, field.stride) == tuple((n, n) for n in ZFNET[layer]), layer
        y, x = (n // 2 for n in field.places)
        y0, x0, y1, x1 = field.box(y, x, clip=False)
        assert (y1 - y0, x1 - x0) == field.size
        assert y0 == field.offset[0] + y * field.stride[0]
        assert x0 == field.offset[1] + x * field.stride[1]


def test_layers_after_the_maps_see_everything(zfnet):
    for layer in ("layer6", "layer8"):
        field = receptive_field(zfnet, layer, 224)
        assert (field.size, field.stride, field.places) == ((224, 224), (0, 0), (1, 1))
        assert field.box(0, 0) == (0, 0, 224, 224)


def test_pixels_that_nothing_reaches_are_not_in_a_field():
    model = nn.Sequential(nn.Conv2d(3, 1, 5, stride=4))
    assert check_all(model, ["0"], (16, 19))[0].box(2, 3) == (8, 12, 13, 17)


def test_alexnet():
    from torchvision.models import alexnet

    with torch.device("meta"):
        model = alexnet()
    model.classifier = nn.Linear(9216, 2)
    model = model.to_empty(device="cpu").eval()
    for layer, field in zip(ALEXNET, check_all(model, list(ALEXNET), (224, 224)), strict=True):
        assert (field.size, field.stride) == tuple((n, n) for n in ALEXNET[layer]), layer


@pytest.mark.parametrize(
    ("name", "layers", "px"),
    [
        ("resnet18", ["layer1", "layer2.0.conv1", "layer3", "layer4.1"], (96, 80)),
        ("googlenet", ["inception3a", "inception4a", "maxpool3"], (64, 80)),
        ("squeezenet1_1", ["features.5", "features.12"], (99, 99)),
        pytest.param("inception_v3", ["Mixed_5b", "Mixed_6b"], (155, 131), marks=SLOW),
        pytest.param("densenet121", ["features.denseblock2"], (64, 64), marks=SLOW),
        pytest.param("shufflenet_v2_x0_5", ["stage2", "stage4"], (96, 96), marks=SLOW),
        pytest.param("mobilenet_v2", ["features.6", "features.18"], (96, 96), marks=SLOW),
    ],
)
def test_branches(name, layers, px):
    from torchvision import models

    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = getattr(models, name)(weights=None, **options).eval()
    check_all(model, layers, px)


def test_squeeze_and_excitation_sees_the_whole_image():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, x):
            x = self.conv(x)
            return x * torch.sigmoid(self.pool(x))

    model = Gated()
    assert receptive_field(model, "conv", 9).size == (3, 3)
    field = receptive_field(model, "", 9)
    assert field.places == (7, 7)
    assert field.box(0, 0) == field.box(3, 6) == (0, 0, 9, 9)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_modes(mode):
    model = nn.Sequential(nn.Conv2d(3, 2, 5, padding=2, padding_mode=mode))
    (field,) = check_all(model, ["0"], (9, 8))
    assert field.size == (5, 5)
    if mode == "circular":  # both ends of the image: the box is all that lies between
        assert field.box(0, 4) == (0, 2, 9, 7)


@pytest.mark.filterwarnings("ignore:Using padding=")
def test_same_padding_dilation_and_rectangles():
    model = nn.Sequential(
        nn.Conv2d(3, 2, (1, 4), padding="same"), nn.Conv2d(2, 2, (3, 1), dilation=(2, 1)),
        nn.MaxPool2d((1, 3), (1, 2), ceil_mode=True),
    )  # fmt: skip
    check_all(model, ["0", "1"], (9, 10))
    assert receptive_field(model, "1", (9, 10)).size == (5, 4)
    field = receptive_field(model, "2", (9, 10))
    assert (field.size, field.stride, field.places) == ((5, 6), (1, 2), (5, 5))


def test_batched_boxes(zfnet, unchanged):
    with unchanged(zfnet.train()):
        field = receptive_field(zfnet, "layer5.relu", (224, 200))
    zfnet.eval()
    places = torch.tensor([[[0, 0], [3, 4]], [[12, 10], [6, 6]]])
    boxes = field.boxes(places)
    assert boxes.shape == (2, 2, 4)
    assert boxes.dtype == torch.int64
    assert tuple(boxes[0, 1].tolist()) == field.box(3, 4)
    with pytest.raises(UserError, match="row 13"):
        field.box(13, 0)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.roll(x, 1, 2), "'roll'"),
        (lambda x: x[:, :, 1:], "'__getitem__'"),
        (lambda x: F.interpolate(x, scale_factor=2), "'interpolate'"),
        (lambda x: x.flatten(2), "'flatten'"),
        (lambda x: torch.zeros(1, 4, 8, 8), "does not depend"),
    ],
)
def test_what_cannot_be_followed_is_refused(function, message):
    with pytest.raises(UnsupportedModel, match=message):
        receptive_field(Function(function), "", 8)
    with pytest.raises(UserError, match="no layer"):
        receptive_field(Function(F.relu), "nothing", 8)


def test_shapes_that_come_and_go_are_followed():
    def shuffle(x):
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)

    field = receptive_field(Function(shuffle), "", 8)
    assert (field.size, field.places) == ((1, 1), (8, 8))
