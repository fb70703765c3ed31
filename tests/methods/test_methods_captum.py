"""Captum: the same where it is right; different where it is known to be wrong."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zfnet.methods import deconvnet, gradient, guided_backprop, occlude

captum = pytest.importorskip("captum.attr")
models = pytest.importorskip("torchvision.models")

PX = 64


def torchvision_net(name: str) -> nn.Module:
    """The net in evaluation mode with random weights, its linear layers slim, nothing in place."""
    with torch.device("meta"):
        options = {"init_weights": False} if name == "googlenet" else {}
        net = getattr(models, name)(weights=None, **options)
    if name in ("alexnet", "vgg11"):
        features = 9216 if name == "alexnet" else 25088
        net.classifier = nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, 10))
    net = net.to_empty(device="cpu").double().eval()
    generator = torch.Generator().manual_seed(0)
    for p in net.parameters():
        deviation = (2 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.1
        nn.init.normal_(p, 1.0 if p.ndim == 1 and "net" in name else 0.0, deviation, generator)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = False
    return net


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, PX, PX, generator=generator, dtype=torch.float64)


def theirs(method: str, model: nn.Module, images: torch.Tensor, unit: int) -> torch.Tensor:
    kind = {"deconvnet": captum.Deconvolution, "guided": captum.GuidedBackprop}[method]
    return kind(model).attribute(images.clone().requires_grad_(), target=unit).detach()


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


OURS = {"deconvnet": deconvnet, "guided": guided_backprop}


@pytest.mark.filterwarnings("ignore:Setting (forward|backward):UserWarning")
@pytest.mark.parametrize("method", OURS)
@pytest.mark.parametrize(
    ("name", "last"), [("alexnet", "classifier"), ("vgg11", "classifier"), ("resnet18", "fc")]
)
def test_agrees_where_captum_is_right(images, method, name, last):
    model = torchvision_net(name)
    reference = theirs(method, model, images, 3)
    ours = OURS[method](model, images, last, 3, values=1.0)
    assert reference.norm() > 0
    assert relative(ours, reference) < 1e-10


@pytest.mark.filterwarnings("ignore:Setting (forward|backward):UserWarning")
@pytest.mark.parametrize(
    ("name", "last", "count"), [("googlenet", "fc", 57), ("mobilenet_v2", "classifier", 35)]
)
def test_differs_where_captum_returns_the_plain_gradient(images, name, last, count):
    from zfnet.methods import rectifier_rule

    model = torchvision_net(name).float()  # depthwise convolutions crawl in double precision
    images = images[:1].float()
    plain = gradient(model, images, last, 3)
    assert relative(theirs("deconvnet", model, images, 3), plain) < 1e-4  # what captum gives
    with rectifier_rule(model, "deconvnet") as found:
        model(images.clone().requires_grad_())
    assert len(found.rectifiers) == count
    assert relative(deconvnet(model, images, last, 3, values=1.0), plain) > 0.1


@pytest.mark.filterwarnings("ignore:Setting (forward|backward):UserWarning")
def test_differs_on_sums_with_a_rectified_branch():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first = nn.Conv2d(3, 4, 3)
            self.relu = nn.ReLU()
            self.last = nn.Linear(4 * 36, 2)

        def forward(self, x):
            h = self.first(x)
            return self.last((h + self.relu(h)).flatten(1))

    model = Residual().double()
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    row = model.last.weight[1].view(1, 4, 6, 6)
    true = F.conv_transpose2d(row + row.clamp(min=0), model.first.weight).detach()
    assert relative(deconvnet(model, x, "last", 1, values=1.0), true) < 1e-12
    assert relative(theirs("deconvnet", model, x, 1), true) > 0.2


def test_occlusion_agrees_where_the_semantics_coincide(images):
    # captum's last row and column are those flush with the border when the stride divides
    model = torchvision_net("alexnet").float()
    x = images.float()
    classes = torch.tensor([2, 7])
    ours = occlude(model, x, classes=classes, size=16, stride=8, progress=False)
    reference = captum.Occlusion(model).attribute(
        x, (3, 16, 16), strides=(3, 8, 8), target=classes, baselines=0, perturbations_per_eval=8
    )
    # captum gives each pixel the mean drop of the logit over the places that cover it
    drop = ours.clean_logit[:, None, None] - ours.logit
    spread, times = torch.zeros(2, *ours.image_size), torch.zeros(ours.image_size)
    for r, y in enumerate(ours.rows.tolist()):
        for c, x_ in enumerate(ours.cols.tolist()):
            spread[:, y : y + 16, x_ : x_ + 16] += drop[:, r, c, None, None]
            times[y : y + 16, x_ : x_ + 16] += 1
    spread /= times
    assert (spread - reference[:, 0]).abs().max() < 1e-4
