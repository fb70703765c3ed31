"""Measure a grid of places coarsely, refine where it changes, tell how wrong the rest may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Interpolated:
    """Which places coarse-to-fine filled in, and how wrong that was where it was checked.

    places: bool (N, R, C), True where the value is interpolated. checked: how many interpolated
    places, drawn at random over all images, were measured afterwards (their values are the measured
    ones). probability_error, logit_error, activity_error: largest error among those; label_errors:
    how many had another top label.
    """

    places: Tensor
    checked: int
    probability_error: float
    logit_error: float
    activity_error: float | None
    label_errors: int

    def share_beyond(self, confidence: float = 0.95) -> float:
        """The error bound: at most this share of the interpolated places is off by more.

        "More" than the largest error among the checked places, with this `confidence`: were a
        share s worse, all of m places drawn at random would miss them with probability (1 − s)^m.
        """
        if not bool(self.places.any()):
            return 0.0
        return 1.0 if not self.checked else 1 - (1 - confidence) ** (1 / self.checked)


def coarse_to_fine(
    grids: Sequence[Tensor],
    limits: Sequence[Tensor | None],
    label: Tensor,
    measure: Callable[[Tensor], None],
    *,
    coarse: int,
    checks: int,
    seed: int,
) -> Interpolated:
    """Fill (N, R, C) in place, measuring between coarse places only where those differ.

    grids: float (N, R, C) each: probability, logit and perhaps activity. limits: for each, how far
    the corners of a cell may lie apart, (N,), or None. label: int64 (N, R, C). All are written by
    `measure`, which is given the numbers of places in the flat (N, R, C). Then a sample is checked.
    """
    n, height, width = shape = label.shape
    device = label.device
    known = torch.zeros(shape, dtype=torch.bool, device=device)
    number = torch.arange(n * height * width, device=device).view(shape)

    def measure_at(wanted: Tensor) -> None:
        measure(number[wanted])
        known.masked_fill_(wanted, True)

    rows, cols = _every(height, coarse), _every(width, coarse)
    first = torch.zeros_like(known)
    first[:, rows[:, None], cols] = True
    measure_at(first)
    while coarse > 1:
        coarse = -(-coarse // 2)
        fine_rows, fine_cols = _halved(rows, coarse), _halved(cols, coarse)
        at = (slice(None), rows[:, None], cols)
        # cells between four places that differ; a place is wanted if any cell it touches differs
        corners = _corners(label[at])
        differ = (corners != corners[:1]).any(dim=0)
        for grid, limit in zip(grids, limits, strict=True):
            if limit is not None:
                corners = _corners(grid[at])
                differ |= corners.amax(dim=0) - corners.amin(dim=0) > limit[:, None, None]
        touched = torch.einsum(
            "fr,nrc,gc->nfg",
            _touches(rows, fine_rows, device), differ.float(), _touches(cols, fine_cols, device),
        ) > 0  # fmt: skip
        down, across = _hats(rows, fine_rows, device), _hats(cols, fine_cols, device)
        fine = (slice(None), fine_rows[:, None], fine_cols)
        wanted = torch.zeros_like(known)
        wanted[fine] = touched & ~known[fine]
        new = ~known[fine] & ~wanted[fine]
        for grid in grids:
            between = torch.einsum("fr,nrc,gc->nfg", down, grid[at], across)
            grid[fine] = torch.where(new, between, grid[fine])
        nearest = label[at][:, down.argmax(dim=1)][:, :, across.argmax(dim=1)]
        label[fine] = torch.where(new, nearest, label[fine])
        if bool(wanted.any()):
            measure_at(wanted)
        rows, cols = fine_rows, fine_cols
    return _checked(grids, label, measure, ~known, checks, seed)


def _checked(
    grids: Sequence[Tensor],
    label: Tensor,
    measure: Callable[[Tensor], None],
    guessed: Tensor,
    checks: int,
    seed: int,
) -> Interpolated:
    """Measure `checks` of the places that were guessed, and tell how far off they were."""
    places = guessed.flatten().nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    sample = places[torch.randperm(len(places), generator=generator)[:checks].to(places.device)]
    sample = sample.sort().values  # image by image, so that few windows are rewritten
    before = [grid.view(-1)[sample] for grid in grids]
    labels = label.view(-1)[sample]
    if len(sample):
        measure(sample)
    errors = [
        float((grid.view(-1)[sample] - old).abs().amax()) if len(sample) else 0.0
        for grid, old in zip(grids, before, strict=True)
    ]
    left = guessed.clone()
    left.view(-1)[sample] = False
    return Interpolated(
        places=left,
        checked=len(sample),
        probability_error=errors[0],
        logit_error=errors[1],
        activity_error=errors[2] if len(errors) > 2 else None,
        label_errors=int((label.view(-1)[sample] != labels).sum()),
    )


def _every(length: int, step: int) -> Tensor:
    """0, step, 2·step, … and the last of `length`."""
    return torch.unique(torch.cat([torch.arange(0, length, step), torch.tensor([length - 1])]))


def _halved(at: Tensor, step: int) -> Tensor:
    """`at` with places added between, so that none are more than `step` apart."""
    parts = [torch.arange(a, b, step) for a, b in pairwise(at.tolist())]
    return torch.cat([*parts, at[-1:]])


def _corners(grid: Tensor) -> Tensor:
    """The four corners of every cell: (N, R, C) → (4, N, max(1, R − 1), max(1, C − 1))."""
    low_y, high_y = (grid[:, :-1], grid[:, 1:]) if grid.shape[1] > 1 else (grid, grid)
    pairs = [(y[:, :, :-1], y[:, :, 1:]) if y.shape[2] > 1 else (y, y) for y in (low_y, high_y)]
    return torch.stack([corner for pair in pairs for corner in pair])


def _touches(coarse: Tensor, fine: Tensor, device: torch.device) -> Tensor:
    """Whether each fine place lies in or at the border of each coarse cell: float (fine, cells)."""
    low, high = (coarse[:-1], coarse[1:]) if len(coarse) > 1 else (coarse, coarse)
    inside = (fine[:, None] >= low) & (fine[:, None] <= high)
    return inside.float().to(device)


def _hats(coarse: Tensor, fine: Tensor, device: torch.device) -> Tensor:
    """Weights (fine, coarse) of linear interpolation from coarse places to fine ones."""
    if len(coarse) == 1:
        return torch.ones(len(fine), 1, device=device)
    cell = torch.searchsorted(coarse, fine, right=True).clamp(1, len(coarse) - 1) - 1
    share = (fine - coarse[cell]).float() / (coarse[cell + 1] - coarse[cell]).float()
    weights = torch.zeros(len(fine), len(coarse))
    row = torch.arange(len(fine))
    weights[row, cell] = 1 - share
    weights[row, cell + 1] = share
    return weights.to(device)
