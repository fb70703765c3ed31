"""A prepared set of bright marks and nets whose answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

SIZE = 20
PX = 16


class Split:
    """Like a split of a prepared set, in memory."""

    def __init__(self, images, labels, boxes=None):
        self._images = images
        self.labels = np.asarray(labels, np.int64)
        self.ids = [f"class{label}/{i}.png" for i, label in enumerate(labels)]
        self.boxes = boxes

    def __len__(self):
        return len(self._images)

    def image(self, row):
        return self._images[row]

    def images(self, rows):
        return self._images[np.asarray(rows)]


class Set:
    """Like a prepared set, with one split for both names."""

    def __init__(self, split, classes=("red", "green", "blue")):
        self._split = split
        self.size = split._images.shape[1]
        self.classes = [SimpleNamespace(index=i, id=c, name=c) for i, c in enumerate(classes)]

    def split(self, name):
        return self._split


@pytest.fixture(scope="session")
def set_of():
    """A set of images (N, H, W, 3) and labels."""
    return lambda images, labels: Set(Split(images, labels))


@pytest.fixture
def marks():
    """Thirty black images; image i has one pixel of channel i % 3 and brightness 60 + i.

    Its place in the net's view: (2 + i % 10, 3 + i % 7), so (4 + …) in the prepared image.
    """
    images = np.zeros((30, SIZE, SIZE, 3), np.uint8)
    for i in range(30):
        images[i, 2 + 2 + i % 10, 2 + 3 + i % 7, i % 3] = 60 + i
    return Set(Split(images, [i % 3 for i in range(30)]))


def bundle(model, taps, px=PX, **more):
    """A Net whose input is the raw pixels."""
    from zfnet.models.net import Net, Normalise

    return Net(
        model=model.eval(),
        input_px=px,
        normalise=Normalise.mean_image(np.zeros((3, px, px), np.float32), px),
        classes=["red", "green", "blue"],
        name="made",
        arch="made",
        taps=taps,
        **more,
    )


@pytest.fixture
def place(tmp_path, root):
    """A checkout with the paper's tables and claims and no nets."""
    (tmp_path / "paper").mkdir()
    for name in ("tables.yaml", "claims.yaml"):
        (tmp_path / "paper" / name).write_bytes((root / "paper" / name).read_bytes())
    return tmp_path


class Probe(nn.Module):
    """Three maps, one a colour, by 3 x 3 filters; logits are the maps' sums. Map 3 is dead."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.zero_()
            for colour in range(3):
                self.conv.weight[colour, colour] = torch.tensor(
                    [[0.0, 0.25, 0.0], [-0.5, 1.0, 0.5], [0.0, -0.25, 0.0]]
                )
            self.conv.bias[3] = -1.0

    def forward(self, x):
        return self.relu(self.conv(x))[:, :3].sum((2, 3)) / 40


@pytest.fixture
def probe():
    return bundle(Probe(), {"1.relu": "relu", "1.conv": "conv", "5.relu": "relu"})


@pytest.fixture
def deeper():
    """Two layers of random filters."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    return bundle(model, {"1.relu": "1", "2.relu": "3"})
