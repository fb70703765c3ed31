"""Coarse-to-fine occlusion against measuring every place."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods import Interpolated, occlude
from zfnet.methods._coarse import coarse_to_fine

IMAGES = torch.ones(2, 1, 40, 40)


class Spot(nn.Module):
    """Logits (8 · mean of a window of the image, 0); counts the images it was shown."""

    def __init__(self, top: int, left: int, size: int) -> None:
        super().__init__()
        self.map = nn.Identity()
        self.window = (slice(top, top + size), slice(left, left + size))
        self.shown = 0

    def forward(self, x: Tensor) -> Tensor:
        self.shown += len(x)
        seen = self.map(x[:, :, *self.window])
        score = 8 * seen.mean(dim=(1, 2, 3))
        return torch.stack([score, torch.zeros_like(score)], dim=1)


def run(model: Spot, size: int, **options):
    return occlude(
        model, IMAGES, classes=0, size=size, stride=1, layer="map", progress=False, **options
    )


def test_flat_parts_are_not_measured_and_the_rest_is_exact():
    everywhere, sparse = Spot(20, 30, 6), Spot(20, 30, 6)
    full = run(everywhere, 4)
    found = run(sparse, 4, coarse=4, tolerance=0.0)
    for name in ("probability", "logit", "activity"):
        torch.testing.assert_close(getattr(found, name), getattr(full, name))
    assert torch.equal(found.label, full.label)
    assert full.interpolated is None
    assert sparse.shown < everywhere.shown / 2
    left = found.interpolated
    assert left.checked == 59
    assert (left.probability_error, left.label_errors) == (pytest.approx(0, abs=1e-6), 0)
    measured = 2 * 37 * 37 - int(left.places.sum())
    assert sparse.shown == measured + 2  # and the two clean images


def test_what_falls_between_coarse_places_is_found_by_the_checks():
    # a window of one pixel that no coarse place hides: interpolation cannot know of it
    blind = run(Spot(3, 5, 1), 1, coarse=8, checks=0)
    assert blind.probability.amin() > 0.99
    assert blind.interpolated.share_beyond() == 1.0
    found = run(Spot(3, 5, 1), 1, coarse=8, checks=10_000)
    drop = torch.tensor(8.0).sigmoid().item() - 0.5
    assert found.interpolated.probability_error == pytest.approx(drop)
    assert found.interpolated.logit_error == pytest.approx(8)
    assert found.interpolated.activity_error == pytest.approx(1)
    assert not found.interpolated.places.any()
    assert found.interpolated.share_beyond() == 0.0
    assert found.probability[0, 3, 5] == pytest.approx(0.5)


def test_bound_by_hand():
    # 0.95 = 1 - (1 - s)^59 gives s = 0.0495; with one check at 50 %, half of the places
    bound = Interpolated(torch.ones(1, 2, 2, dtype=torch.bool), 59, 0.1, 0.2, None, 0)
    assert bound.share_beyond() == pytest.approx(0.04950, abs=1e-5)
    one = Interpolated(torch.ones(1, 2, 2, dtype=torch.bool), 1, 0.1, 0.2, None, 0)
    assert one.share_beyond(0.5) == pytest.approx(0.5)


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 23), st.integers(1, 23)),
    coarse=st.integers(2, 9),
    tolerance=st.sampled_from([0.0, 0.1, 0.5, 10.0]),
    checks=st.sampled_from([0, 3, 10_000]),
    seed=st.integers(0, 99),
)
def test_every_place_is_filled_and_the_error_is_the_true_one(
    shape, coarse, tolerance, checks, seed
):
    generator = torch.Generator().manual_seed(seed)
    n, height, width = shape
    y, x = torch.rand(2, n, 1, 1, generator=generator)
    rows, cols = torch.arange(height)[:, None] / 23, torch.arange(width) / 23
    truth = torch.exp(-8 * ((rows - y) ** 2 + (cols - x) ** 2))
    true_label = (truth > 0.6).long()
    grid = torch.full(shape, torch.nan)
    logit = torch.full(shape, torch.nan)
    label = torch.full(shape, -1)
    asked: list[int] = []

    def measure(wanted: Tensor) -> None:
        asked.extend(wanted.tolist())
        grid.view(-1)[wanted] = truth.flatten()[wanted]
        logit.view(-1)[wanted] = 3 * truth.flatten()[wanted]
        label.view(-1)[wanted] = true_label.flatten()[wanted]

    limits = [torch.full((n,), tolerance), None]
    told = coarse_to_fine(
        [grid, logit], limits, label, measure, coarse=coarse, checks=checks, seed=seed
    )
    assert len(asked) == len(set(asked))
    known = torch.zeros(truth.numel(), dtype=torch.bool)
    known[asked] = True
    assert torch.equal(told.places.flatten(), ~known)
    assert torch.equal(grid.flatten()[known], truth.flatten()[known])
    assert torch.equal(label.flatten()[known], true_label.flatten()[known])
    assert not grid.isnan().any()
    assert (label >= 0).all()
    torch.testing.assert_close(logit, 3 * grid)  # interpolation is linear
    assert grid.max() <= truth.max() + 1e-6  # and invents no extremes
    if checks == 10_000:
        assert not told.places.any()
        assert told.logit_error == pytest.approx(3 * told.probability_error, rel=1e-4, abs=1e-6)
    if height <= 2 and width <= 2:
        assert known.all()


@pytest.mark.parametrize("wrong", [{"coarse": 0}, {"tolerance": -1.0}, {"checks": -1}])
def test_mistakes_are_named(wrong):
    with pytest.raises(UserError, match="coarse must be at least 1"):
        run(Spot(3, 5, 1), 4, **wrong)
