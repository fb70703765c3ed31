import numpy as np
import pytest

from zfnet.studies.similarity import (
    MEASURES,
    Pictures,
    cell_means,
    correlations,
    moved,
    overlay,
    spread_pairs,
    spreads,
    support_side,
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def whole(values):
    return Pictures(values, np.ones(values.shape[:3], bool))


def test_fields_are_laid_over_each_other_and_know_what_the_border_cuts():
    pictures = np.arange(2 * 4 * 4 * 3, dtype=np.float64).reshape(2, 4, 4, 3) + 1
    boxes = np.array([[1, 1, 4, 4], [0, 2, 2, 4]])
    fields = np.array([[1, 1], [-1, 2]])
    laid = overlay(pictures, boxes, fields, (3, 3))
    assert np.array_equal(laid.values[0], pictures[0, 1:4, 1:4])
    assert laid.known[0].all()
    assert laid.known[1].tolist() == [[False] * 3, [True, True, False], [True, True, False]]
    assert np.array_equal(laid.values[1, 1:, :2], pictures[1, 0:2, 2:4])
    assert (laid.values[1][~laid.known[1]] == 0).all()


def test_correlation_is_that_of_the_common_elements():
    values, known = noise(3, 40), noise(3, 40, seed=1) > -0.5
    found = correlations((values * known)[..., None], known)
    for i in range(3):
        for j in range(3):
            both = known[i] & known[j]
            expected = np.corrcoef(values[i, both], values[j, both])[0, 1]
            assert found[i, j] == pytest.approx(expected, abs=1e-12)
    values[0] = 37.3  # a flat picture has none
    assert np.isnan(correlations(values[..., None], np.ones((3, 40), bool))[0]).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_brightness_and_contrast_do_not_count_so_photos_and_projections_are_on_one_scale(measure):
    one = noise(24, 24, 3)
    same = whole(np.stack([one, 1e-3 * one, 120 + 40 * one]))
    assert np.abs(spread_pairs(same, measure)).max() < 1e-8


def test_the_negative_is_farthest_unless_only_edges_count():
    one = noise(24, 24, 3)
    pair = whole(np.stack([one, -one]))
    assert spread_pairs(pair, "colour")[0, 1] == 2.0
    assert spread_pairs(pair, "coarse")[0, 1] == 0.0


def test_edges_are_those_of_the_grey_picture():
    ramp = np.broadcast_to(3.0 * np.arange(5)[:, None, None], (1, 5, 5, 3)).copy()
    ramp[..., 1] += 4.0 * np.arange(5) * 3  # a third of it counts
    edges, known = whole(ramp).edges()
    assert edges == pytest.approx(np.full((1, 4, 4), 5.0))
    assert known.all()


def test_the_frame_is_no_edge():
    """Bright pictures known in different parts: a step at the frame would be all there is."""
    values = np.full((2, 24, 24, 3), 200.0) + noise(24, 24, 3)
    known = np.zeros((2, 24, 24), bool)
    known[0, :18], known[1, 6:] = True, True
    cut = Pictures(values * known[..., None], known)
    assert spread_pairs(cut, "coarse")[0, 1] == pytest.approx(0, abs=1e-8)


def test_pairs_that_share_too_little_do_not_count():
    values, known = noise(3, 8, 8, 3), np.ones((3, 8, 8), bool)
    known[0, 2:] = False
    cut = Pictures(values * known[..., None], known)
    every = spread_pairs(cut, "colour")
    assert spreads(cut, cut, 17, "colour") == (every[1, 2], every[1, 2])
    loose = spreads(cut, cut, 16, "colour")[0]
    assert loose == pytest.approx(every[np.triu_indices(3, 1)].mean())
    assert np.isnan(spreads(cut, cut, 65, "colour")).all()


def test_both_kinds_rest_on_the_same_pairs():
    """A patch of one colour has no correlation: its projection leaves the mean with it."""
    projections, patches = noise(3, 6, 6, 3), noise(3, 6, 6, 3, seed=1)
    patches[2] = 7.0
    one, two = spreads(whole(projections), whole(patches), 1, "colour")
    assert one == spread_pairs(whole(projections), "colour")[0, 1]
    assert two == spread_pairs(whole(patches), "colour")[0, 1]


def test_support_of_a_square_of_nothing_and_of_two_points():
    square = np.zeros((20, 20))
    square[3:8, 10:15] = 1
    assert support_side(square, 1.0) == 5
    assert support_side(np.zeros((4, 4)), 0.9) == 0
    two = np.zeros((30, 40))
    two[5, 5] = two[5, 35] = 1
    assert [support_side(two, share) for share in (0.5, 0.9)] == [1, 31]


def test_support_is_what_trying_all_squares_finds():
    energy = noise(7, 11) ** 4
    for share in (0.3, 0.6, 0.9, 0.99):
        best = next(
            side
            for side in range(1, 12)
            if any(
                energy[y : y + side, x : x + side].sum() >= share * energy.sum()
                for y in range(7)
                for x in range(11)
            )
        )
        assert support_side(energy, share) == best


def test_a_shift_costs_fine_pictures_more_unless_cells_are_compared():
    smooth = np.cumsum(np.cumsum(noise(1, 40, 40, 3), axis=1), axis=2)
    assert moved(whole(noise(1, 40, 40, 3)), "colour") > 0.9
    assert moved(whole(smooth), "colour") < 0.2
    bars = np.zeros((1, 40, 40, 3))
    bars[:, 8:32, 8:16], bars[:, 20:30, 16:32] = noise(1, 24, 8, 1), noise(1, 10, 16, 1, seed=1)
    assert moved(whole(bars), "colour") > 0.9
    assert moved(whole(bars), "coarse") < 0.3
    assert np.isnan(moved(whole(np.ones((1, 5, 5, 3))), "colour"))


def test_cells_are_means_of_what_is_wholly_known():
    values = np.arange(2 * 16 * 12, dtype=np.float64).reshape(2, 16, 12)
    known = np.ones((2, 16, 12), bool)
    known[1, 0, 0] = False
    means, cells = cell_means(values * known, known)
    assert means.shape == (2, 8, 8)
    assert means[0, 0, 0] == values[0, :2, :1].mean()
    assert means[0, 7, 7] == values[0, 14:, 10:].mean()
    assert cells[0].all()
    assert cells[1].sum() == 63
    assert cell_means(values[:, :3, :1], known[:, :3, :1])[0].shape == (2, 3, 1)
