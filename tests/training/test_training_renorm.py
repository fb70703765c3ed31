from __future__ import annotations

import pytest
import torch

from zfnet.training.renorm import rescale_filters


def rms(weight: torch.Tensor) -> torch.Tensor:
    return weight.double().square().mean(dim=(1, 2, 3)).sqrt()


def test_filters_above_the_limit_end_exactly_on_it_and_the_others_keep_their_bits() -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 3, 7, 7, generator=draw) * torch.tensor(
        [0.02, 0.5, 0.0, 0.0999, 0.1001, 3.0]
    ).view(-1, 1, 1, 1)
    before, was = weight.clone(), rms(weight)
    above = was > 0.1
    count, largest = rescale_filters([weight], 0.1)
    assert int(count) == int(above.sum()) >= 2
    assert float(largest) == pytest.approx(float(was.max()), rel=1e-6)
    assert torch.allclose(rms(weight)[above], torch.tensor(0.1, dtype=torch.float64), rtol=1e-6)
    assert torch.equal(weight[~above], before[~above])
    ratio = weight[above] / before[above]
    assert torch.allclose(ratio, ratio[:, :1, :1, :1].expand_as(ratio), rtol=1e-5)


def test_a_filter_just_scaled_back_is_not_counted_again() -> None:
    weight = torch.randn(64, 5, 3, 3, generator=torch.Generator().manual_seed(1))
    assert int(rescale_filters([weight], 0.1)[0]) == 64
    once = weight.clone()
    assert int(rescale_filters([weight], 0.1)[0]) == 0
    assert torch.equal(weight, once)


def test_the_filter_is_all_that_makes_one_map_also_channels_last_and_over_several_layers() -> None:
    first = torch.zeros(2, 4, 3, 3)
    first[0, 1] = 1.0  # RMS 1/2: over the inputs too, not per input
    second = torch.full((3, 2, 1, 1), 0.05).to(memory_format=torch.channels_last)
    count, largest = rescale_filters([first, second], 0.4)
    assert (int(count), float(largest)) == (1, 0.5)
    assert float(rms(first)[0]) == pytest.approx(0.4, rel=1e-6)
    before = first.clone()
    assert int(rescale_filters([first, second], None)[0]) == 0  # without a limit it only measures
    assert torch.equal(first, before)
