from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zfnet.studies import base
from zfnet.studies.base import Inputs, Windows, cut_windows, first_filters, strongest, turns


def test_a_batch_is_halved_until_it_fits() -> None:
    tried: list[int] = []

    def function(size: int) -> int:
        tried.append(size)
        if size > 3:
            raise torch.cuda.OutOfMemoryError
        return size

    assert base.when_it_fits(function, 16) == 2
    assert tried == [16, 8, 4, 2]


def test_a_stage_works_on_a_seeded_sample_of_the_split(
    marks: Any, probe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "load_net", lambda folder: probe)
    monkeypatch.setattr(base.Prepared, "open", lambda folder: marks)
    paths, cfg = SimpleNamespace(net="", prepared=""), SimpleNamespace(seed=1, device="cpu")
    rows = Inputs.of_stage(cfg, paths, "val", max_images=10).rows.tolist()
    one, two = (Inputs(marks, "val", probe, max_images=10, seed=n).rows.tolist() for n in (1, 2))
    assert len(rows) == 10
    assert sorted(rows) == rows == one != two


def test_small_images_are_enlarged_to_the_input(marks: Any, probe: Any) -> None:
    probe.input_px = probe.normalise.input_px = 40
    probe.normalise.mean = torch.zeros(3, 40, 40)
    inputs = Inputs(marks, "val", probe)
    assert inputs.view.factor == 2.0
    assert inputs.batch(np.array([0])).shape == (1, 3, 40, 40)


def test_boxes_are_in_px_of_the_nets_input_and_end_at_its_border(marks: Any, probe: Any) -> None:
    assert Inputs(marks, "val", probe).boxes(np.array([0])) is None
    marks.split("val").boxes = np.array([[1.0, 4, 19, 10]] * 30)  # x0, y0, x1, y1 of 20 px
    found = Inputs(marks, "val", probe).boxes(np.array([0]))
    assert found is not None
    assert found.tolist() == [[2, 0, 8, 16]]


def test_one_pass_finds_the_strongest_in_batches_of_any_size(
    marks: Any, probe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = Inputs(marks, "val", probe)
    whole = strongest(inputs, ["relu", "conv"], 4)
    assert whole["relu"].images[0].tolist() == [27, 24, 21, 18]
    monkeypatch.setattr(base, "BATCH", 7)
    parts = strongest(inputs, ["relu", "conv"], 4)
    for path in whole:
        assert torch.equal(whole[path].images, parts[path].images)


def test_windows_move_inwards_at_the_border_and_hold_the_field(probe: Any, deeper: Any) -> None:
    places = torch.tensor([[[0, 0], [0, 7]], [[15, 15], [5, 5]]])
    windows = Windows.of(probe, "relu", places)  # 3 x 3 with padding, 16 px
    assert windows.canvas == windows.reach.size == (3, 3)
    assert windows.boxes[0].tolist() == [[0, 0, 2, 2], [0, 6, 2, 9]]
    assert windows.fields[0].tolist() == [[-1, -1], [-1, 6]]
    assert windows.corners.tolist() == [[[0, 0], [0, 6]], [[13, 13], [4, 4]]]
    deeper.input_px = 5
    assert Windows.of(deeper, "3", torch.tensor([[0, 0]])).canvas == (5, 5)


def test_cut_windows_reach_beyond_the_image_as_zeros() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4).repeat(3, 1, 1, 1)
    windows = cut_windows(image, np.array([(-1, -1), (1, 2), (5, 0)]), (3, 3))
    assert windows[0, 0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 4, 5]]
    assert windows[1, 0].tolist() == [[6, 7, 0], [10, 11, 0], [14, 15, 0]]
    assert (windows[2] == 0).all()


def test_the_first_convolution_must_read_the_pixels(probe: Any) -> None:
    filters, stride = first_filters(probe)
    assert (tuple(filters.shape), stride) == ((4, 3, 3, 3), (1, 1))
    for model in (nn.Conv2d(1, 4, 3), nn.Sequential(nn.Flatten(), nn.Linear(4, 2))):
        probe.model = model
        assert len(first_filters(probe)[0]) == 0


def test_turns_count_what_came_before_with_the_same_keys() -> None:
    label, sure = np.array([3, 1, 3, 3, 1]), np.array([True, True, False, True, True])
    assert turns(label).tolist() == [0, 0, 1, 2, 1]
    assert turns(label, sure).tolist() == [0, 0, 0, 1, 1]
