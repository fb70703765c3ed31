import math

import pytest
import torch

from zfnet.errors import UserError
from zfnet.methods.filters import (
    ORDERS,
    band_areas,
    band_shares,
    changed_shape,
    filter_rms,
    grid_energy,
    grid_masks,
    power_spectrum,
    radial_profile,
    radius,
    smoothness,
)

EDGES = (0.125, 0.25)


def wave(frequency, px, angle=0.0):
    y, x = torch.meshgrid(torch.arange(px), torch.arange(px), indexing="ij")
    along = x * math.cos(angle) + y * math.sin(angle)
    return torch.cos(2 * math.pi * frequency * along)[None].expand(3, -1, -1)


def test_rms_by_hand():
    weights = torch.zeros(2, 3, 2, 2)
    weights[0, 0, 0, 0] = 6.0
    weights[1] = -2.0
    assert filter_rms(weights).tolist() == pytest.approx([math.sqrt(36 / 12), 2.0])


def test_power_spectrum_keeps_the_energy_and_refuses_what_does_not_fit():
    filters = torch.randn(4, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    energy = filters.square().sum((1, 2, 3))
    for size in (7, 32, 33):  # Parseval
        assert torch.allclose(power_spectrum(filters, size).sum((1, 2)) / size**2, energy)
    with pytest.raises(UserError, match="do not fit"):
        power_spectrum(filters, 6)


@pytest.mark.parametrize("px", [7, 11])
@pytest.mark.parametrize("angle", [0.0, 0.6, math.pi / 2])
def test_waves_fall_into_their_bands_whatever_the_kernel(px, angle):
    waves = torch.stack([wave(f, px, angle) for f in (0.02, 0.19, 0.4)])
    window = torch.hann_window(px + 2, periodic=False)[1:-1]
    shares = band_shares(power_spectrum(waves * window * window[:, None], 64), EDGES)
    assert shares.argmax(1).tolist() == [0, 1, 2]
    assert shares.max(1).values.min() > 0.55
    assert torch.allclose(shares.sum(1), torch.ones(3))


def test_white_noise_has_the_bands_areas_whatever_the_kernel():
    for px in (3, 7, 11):
        noise = torch.randn(3000, 3, px, px, generator=torch.Generator().manual_seed(px))
        shares = band_shares(power_spectrum(noise, 32), EDGES).mean(0)
        assert torch.allclose(shares, band_areas(32, EDGES), atol=0.015)
    assert band_shares(power_spectrum(torch.zeros(1, 3, 7, 7), 32), EDGES).isnan().all()
    areas = band_areas(512, EDGES).tolist()
    assert areas == pytest.approx([math.pi / 64, math.pi * 3 / 64, 1 - math.pi / 16], abs=0.002)


def test_the_profile_of_a_point_is_flat_and_of_a_wave_peaks_at_it():
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 3.0
    centres, density = radial_profile(power_spectrum(point, 64), 12)
    assert torch.allclose(density, torch.ones(1, 12), atol=1e-4)
    _, density = radial_profile(power_spectrum(wave(0.3, 32)[None], 64), 12)
    assert abs(float(centres[density[0].argmax()]) - 0.3) < 0.03
    assert float(radius(64).max()) == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize(("stride", "points"), [(2, 3), (3, 8), (4, 15)])
def test_the_grid_has_all_its_harmonics_but_zero(stride, points):
    at, around = grid_masks(12 * stride, (stride, stride), 1e-3, (0.02, 0.2))
    assert int(at.sum()) == points
    assert not at[0, 0]
    assert not (at & around).any()
    f = torch.fft.fftfreq(12 * stride)
    y, x = at.nonzero().unbind(1)
    for axis in (f[y], f[x]):
        assert torch.allclose(axis * stride, (axis * stride).round(), atol=1e-5)


def blobs(places, px=48, spread=1.5):
    """The same small blob at each place (n, 2) of an otherwise empty picture."""
    y, x = torch.meshgrid(torch.arange(px), torch.arange(px), indexing="ij")
    away = (y[..., None] - places[:, 0]) ** 2 + (x[..., None] - places[:, 1]) ** 2
    return torch.exp(-away / (2 * spread**2)).sum(-1)[None, None]


def test_what_lies_on_a_grid_shows_it_and_what_lies_anywhere_does_not():
    lattice = torch.cartesian_prod(torch.arange(8, 40, 4), torch.arange(8, 40, 4)).float()
    generator = torch.Generator().manual_seed(1)
    clean = [blobs(8 + 32 * torch.rand(20, 2, generator=generator)) for _ in range(20)]
    aliased = [
        blobs(lattice[torch.rand(len(lattice), generator=generator) < 0.7], spread=s)
        for s in torch.linspace(0.5, 1.0, 20)
    ]
    for pictures, low, high in ((clean, 0.3, 1.6), (aliased, 4.0, math.inf)):
        power = power_spectrum(torch.cat(pictures), 192)
        found = grid_energy(power, (4, 4), 1 / 48, (1.5 / 48, 3 / 48))
        assert low < float(found.ratio.log().mean().exp()) < high
    assert float(found.excess.min()) > 0.05
    # The same pictures show no grid of 3 px: it is the 4 px grid that is told, not sharpness.
    other = grid_energy(power, (3, 3), 1 / 48, (1.5 / 48, 3 / 48))
    assert float(other.ratio.log().mean().exp()) < 1.5


def test_excess_is_the_share_of_the_energy_by_hand():
    power = torch.zeros(1, 64, 64)
    power[0, 0, 0] = 3.0
    power[0, 0, 32] = 1.0  # (0, 0.5): a point of the 2 px grid
    found = grid_energy(power, (2, 2), 0.02, (0.04, 0.1))
    assert float(found.excess) == pytest.approx(0.25)
    assert float(found.ratio) == math.inf
    flat = grid_energy(torch.ones(2, 64, 64), (2, 2), 0.04, (0.06, 0.12))
    assert flat.ratio.tolist() == pytest.approx([1, 1])
    assert flat.excess.tolist() == pytest.approx([0, 0])


def test_grids_that_cannot_be_told_are_refused():
    with pytest.raises(UserError, match="1 px"):
        grid_energy(torch.ones(1, 16, 16), (1, 1), 0.05, (0.1, 0.2))
    with pytest.raises(UserError, match="too small"):
        grid_energy(torch.ones(1, 16, 16), (4, 4), 0.1, (0.15, 0.3))


# ------------------------------------------------------------------------------------- smoothness
def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("planes", "side"), [(1, 3), (3, 7), (64, 2)])
def test_noise_has_a_smoothness_of_one_however_few_its_taps(planes, side):
    found = smoothness(seeded(6000, planes, side, side)).numpy()
    error = found.std() / math.sqrt(len(found))
    assert abs(found.mean() - 1) < 3.5 * error + 2e-3
    assert error < 0.004


def test_smoothness_against_shuffling_one_filter_by_hand():
    filters, sums = seeded(2, 3, 5, 4).cumsum(3), []

    def variation(one):
        down, across = one[:, 1:] - one[:, :-1], one[:, :, 1:] - one[:, :, :-1]
        return float(down.abs().sum() + across.abs().sum())

    generator = torch.Generator().manual_seed(7)
    for _ in range(ORDERS):
        order = torch.randperm(20, generator=generator)
        sums.append(1 / variation(filters[1].flatten(1)[:, order].view(3, 5, 4)))
    expected = ORDERS / sum(sums) / variation(filters[1])
    assert float(smoothness(filters, seed=7)[1]) == pytest.approx(expected, rel=1e-5)
    assert expected > 1.1


def test_smoothness_tells_waves_from_chessboards_and_ignores_size_and_mean():
    wavy, chess = wave(0.1, 7)[None], wave(0.5, 7)[None]
    assert (
        float(smoothness(wavy)) > 1.5 > 0.8 > float(smoothness(chess + wave(0.5, 7, math.pi / 2)))
    )
    mixed = wavy + 0.3 * seeded(1, 3, 7, 7)
    offset = torch.tensor([5.0, -2.0, 0.5]).view(1, 3, 1, 1)
    same = smoothness(torch.cat([mixed, -0.01 * mixed, mixed + offset]))
    assert torch.allclose(same, same[:1], rtol=1e-4)  # a colour blob gains nothing by its colour
    less = [float(smoothness(wavy + size * seeded(1, 3, 7, 7))) for size in (0.0, 0.3, 1.0, 10.0)]
    assert less == sorted(less, reverse=True)


def test_what_has_no_space_has_no_smoothness():
    assert smoothness(seeded(4, 8, 1, 1)).isnan().all()
    found = smoothness(torch.cat([torch.ones(1, 3, 3, 3), seeded(1, 3, 3, 3)]))
    assert found.isnan().tolist() == [True, False]
    assert smoothness(seeded(4, 8, 1, 3)).isfinite().all()


def test_smoothness_is_the_same_in_stretches(monkeypatch):
    filters, before = seeded(9, 4, 3, 3), seeded(9, 4, 3, 3, seed=1)
    whole = smoothness(filters), changed_shape(filters, before)
    monkeypatch.setattr("zfnet.methods.filters.STRETCH", 80)
    assert torch.equal(whole[0], smoothness(filters))
    assert torch.equal(whole[1], changed_shape(filters, before))


def test_a_shape_that_only_grew_or_shrank_has_not_changed():
    before = seeded(5, 2, 3, 3)
    after = before.clone()
    after[0] *= 0.3
    after[1] += 0.1 * seeded(2, 3, 3, seed=1)
    after[2] = 0
    after[3] = -after[3]
    found = changed_shape(after, before)
    assert found[[0, 3, 4]].max() < 1e-6
    assert found[1] > 0.05
    assert found[2] == 1
    orthogonal = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]])
    assert float(changed_shape(*orthogonal)) == pytest.approx(0.8)
