"""What filters and projections are made of: strength, frequencies, the trace of a sampling grid.

Pure measures of tensors. Frequencies are in cycles per pixel: at most 0.5 along each axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zfnet.errors import UserError

# Mean roughness up to which a layer counts as learned: in a filter that is the noise of its start
# and something smooth, the noise's share of the energy is the roughness, or less. The mean lets a
# bank of smooth filters hold some clean gratings finer than 4 px, which are as rough as that.
SMOOTH = 0.5

ORDERS = 32  # of shuffled taps: their mean is then known to a few per cent of what smoothness adds
STRETCH = 2**22  # weights worked on at a time


def filter_rms(weights: Tensor) -> Tensor:
    """Root mean square of each filter: (C, I, k, k) → (C,)."""
    return weights.float().square().flatten(1).mean(1).sqrt()


def smoothness(filters: Tensor, seed: int = 0) -> Tensor:
    """Total variation of the taps in random order over the filter's own: (C, I, h, w) → (C,).

    Of each kernel (h, w) the taps are shuffled within it, in ORDERS seeded orders, the same for all
    kernels, over which the harmonic mean is taken: noise then has 1 on average however few its taps
    are, where the plain mean of such a ratio would lie above. Above 1 neighbours are alike. Neither
    a factor nor a kernel's mean changes it. NaN for kernels of one tap and filters of flat kernels.
    """
    height, width = filters.shape[2:]
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(height * width, generator=generator) for _ in range(ORDERS)]
    found = []
    for part in _parts(filters):
        taps = part.float().flatten(2)
        shuffled = torch.stack([_variation(taps[..., o].view(part.shape)) for o in orders])
        found.append(1 / _variation(part.float()) / (1 / shuffled).mean(0))
    return torch.cat(found)


def _variation(filters: Tensor) -> Tensor:
    """Sum of the differences between neighbouring taps of each filter: (C,) float64."""
    steps = (filters.diff(dim=axis).abs().flatten(1) for axis in (2, 3))
    return sum((step.sum(1, dtype=torch.float64) for step in steps), torch.zeros(()))


def _parts(filters: Tensor) -> tuple[Tensor, ...]:
    """The filters in stretches that fit in memory several times."""
    return filters.split(max(1, STRETCH // max(1, filters[0].numel())))


def changed_shape(filters: Tensor, before: Tensor) -> Tensor:
    """Share of each filter (C, …) that no multiple of itself `before` explains: (C,), 0..1.

    0: only its size has changed, as decay and a limit on it do without any gradient. 1 for a filter
    of zeros now, or before.
    """
    found = []
    for part, earlier in zip(_parts(filters), _parts(before), strict=True):
        now, then = part.double().flatten(1), earlier.double().flatten(1)
        factor = (now * then).sum(1) / then.square().sum(1)
        found.append((now - factor[:, None] * then).norm(dim=1) / now.norm(dim=1))
    return torch.cat(found).nan_to_num(1.0, 1.0)


def power_spectrum(pictures: Tensor, size: int) -> Tensor:
    """Energy at each frequency, summed over the colours: (N, C, h, w) → (N, size, size).

    The order is that of `torch.fft.fftfreq(size)` along both axes. Pictures are padded with zeros
    to `size`, so that kernels of different sizes are read at the same frequencies; a kernel has no
    weights outside its window, which makes this its exact frequency response and needs no taper.
    Raises UserError if a picture is larger than `size`.
    """
    if max(pictures.shape[2:]) > size:
        raise UserError(f"pictures of {tuple(pictures.shape[2:])} px do not fit a size of {size}")
    return torch.fft.fft2(pictures.float(), s=(size, size)).abs().square().sum(1)


def radius(size: int) -> Tensor:
    """Distance of each frequency from zero, cycles per pixel: (size, size), up to 0.707."""
    f = torch.fft.fftfreq(size)
    return torch.hypot(f[:, None], f[None, :])


def band_shares(power: Tensor, edges: tuple[float, float]) -> Tensor:
    """Share of the energy in three radial bands: (N, S, S) → (N, 3); NaN where there is none.

    low: below the first edge; high: from the second on, corners of the square included.
    White noise has `band_areas`, whatever the size of its kernel.
    """
    sums = torch.stack([power[:, mask].sum(1) for mask in _bands(power.shape[-1], edges)], 1)
    return sums / sums.sum(1, keepdim=True)


def band_areas(size: int, edges: tuple[float, float]) -> Tensor:
    """Share of all frequencies that each band of `band_shares` holds: (3,)."""
    return torch.stack([mask.float().mean() for mask in _bands(size, edges)])


def _bands(size: int, edges: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor]:
    r = radius(size)
    low, high = r < edges[0], r >= edges[1]
    return low, ~low & ~high, high


def radial_profile(power: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Energy density by distance from zero frequency, white noise being 1.

    (N, S, S) → centres (bins,) in cycles per pixel up to the corner, and densities (N, bins).
    """
    size = power.shape[-1]
    step = 0.5 * 2**0.5 / bins
    ring = (radius(size) / step).long().clamp(max=bins - 1).flatten()
    area = torch.bincount(ring, minlength=bins).float() / size**2
    share = torch.zeros(len(power), bins).index_add_(1, ring, power.flatten(1).cpu())
    density = share / power.flatten(1).sum(1, keepdim=True).cpu() / area
    return (torch.arange(bins) + 0.5) * step, density


@dataclass(frozen=True)
class GridEnergy:
    """What pictures hold at the frequencies of a sampling grid.

    ratio (N,): energy density there over that at neighbouring frequencies; 1: no trace of the grid.
    excess (N,): share of all energy that lies there beyond what the neighbours predict; may be
    negative. NaN for pictures without energy.
    """

    ratio: Tensor
    excess: Tensor


def grid_energy(
    power: Tensor, stride: tuple[int, int], within: float, ring: tuple[float, float]
) -> GridEnergy:
    """Energy at the frequencies of a grid of `stride` (down, across) px against its neighbours.

    power: (N, S, S) as from `power_spectrum`. A picture laid on a grid repeats its spectrum at
    every multiple of 1/stride: these points, zero itself left out, are compared with rings around
    them. within: distance up to which a frequency counts as the point's; ring: from and to where
    neighbours lie, cycles per pixel; it ends half way to the next point at the latest. Frequencies
    wrap around at 0.5. Raises UserError for a grid of 1 px, which has no such points, and for a
    ring that finds no room between them.
    """
    at, around = grid_masks(power.shape[-1], stride, within, ring)
    inside, beside = power[:, at].mean(1), power[:, around].mean(1)
    whole = power.sum((1, 2))
    return GridEnergy(inside / beside, (inside - beside) * at.sum() / whole)


def grid_masks(
    size: int, stride: tuple[int, int], within: float, ring: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Which frequencies (size, size) count as the grid's and which as their neighbours."""
    if max(stride) < 2:
        raise UserError("a grid of 1 px has no frequencies of its own below the pixels'")
    end = min(ring[1], 0.5 / max(stride))
    if not 0 < within <= ring[0] < end:
        raise UserError(
            f"no neighbours between {ring[0]:.3g} and {end:.3g} cycles per px around the grid of "
            f"{max(stride)} px: the pictures are too small to tell its frequencies apart"
        )
    f = torch.fft.fftfreq(size, dtype=torch.float64)
    point = [torch.round(f * s) for s in stride]
    away = torch.hypot(
        (f - point[0] / stride[0])[:, None].expand(size, size),
        (f - point[1] / stride[1])[None, :].expand(size, size),
    )
    zero = ((point[0] % stride[0]) == 0)[:, None] & ((point[1] % stride[1]) == 0)[None, :]
    # Rounding must not decide whether a frequency exactly on an edge belongs to it.
    slack = 1e-9
    at = (away <= within + slack) & ~zero
    around = (away > ring[0] + slack) & (away <= end + slack) & ~zero
    return at, around


def roughness(filters: Tensor) -> np.ndarray:
    """Mean squared difference of neighbouring weights over twice their mean square: (C,).

    About 1 for white noise and 0 for a flat filter; NaN for one of zeros. After von Neumann (1941),
    but about zero: the mean is a filter's slowest frequency.
    """
    w = filters.double()
    steps = [w.diff(dim=axis).square().flatten(1) for axis in (2, 3)]
    return (torch.cat(steps, 1).mean(1) / 2 / w.square().flatten(1).mean(1)).numpy()


def relative_roughness(filters: Tensor, first: Tensor) -> np.ndarray:
    """Roughness (C,) over the mean of that of `first`, the weights before training."""
    return np.asarray(roughness(filters) / (roughness(first).mean() if len(first) else 1.0))
