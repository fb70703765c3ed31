"""Windows against a receptive field known by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from zfnet.methods.receptive_field import receptive_field
from zfnet.methods.windows import Windows


@pytest.fixture
def windows():
    """Fields of 5 px, 2 apart, the first from -2: of 4 x 4 units on images of 8 px."""
    net = nn.Sequential(nn.Conv2d(1, 1, 5, stride=2, padding=2))
    return Windows(receptive_field(net, "0", 8))


def test_windows_lie_inside_the_image_and_where_the_field_lies(windows):
    assert windows.size == (5, 5)
    places = np.array([[[0, 0], [1, 2]], [[3, 3], [2, 0]]])
    assert windows.corners(places).tolist() == [[[0, 0], [0, 2]], [[3, 3], [2, 0]]]


def test_pictures_are_cut_each_at_its_own_place(windows):
    pictures = np.arange(2 * 8 * 8 * 3).reshape(2, 8, 8, 3)
    cut = windows.cut(pictures, np.array([[1, 2], [3, 0]]))
    assert np.array_equal(cut[0], pictures[0, 0:5, 2:7])
    assert np.array_equal(cut[1], pictures[1, 3:8, 0:5])
    assert windows.cut(pictures[:0], np.zeros((0, 2), int)).shape == (0, 5, 5, 3)


def test_a_field_beyond_the_image_gives_the_image():
    net = nn.Sequential(nn.Conv2d(1, 1, 15, padding=7))
    windows = Windows(receptive_field(net, "0", 8))
    assert windows.size == (8, 8)
    assert windows.corners(np.array([[7, 0]])).tolist() == [[0, 0]]
    picture = torch.rand(1, 8, 8).numpy()
    assert np.array_equal(windows.cut(picture, np.array([[3, 4]])), picture)
