import math
from dataclasses import replace

import numpy as np
import pytest

from zfnet.studies.feature_numbers import (
    LayerNumbers,
    directions_minus_units,
    estimates,
    judged,
    mean_overlap,
    measures_table,
    overlaps,
    purity_slope,
    spread_difference,
)
from zfnet.studies.similarity import MEASURES


def layer(number, *, projections=0.3, patches=0.8, share=0.2, purity=0.5, maps=12, fixed=False):
    rng = np.random.default_rng(number)
    both = np.stack(
        [np.full(maps, projections), patches + 0.01 * rng.standard_normal(maps)], axis=1
    )
    return LayerNumbers(
        number=number,
        share=share,
        fixed=fixed,
        spread={name: both.copy() for name in MEASURES},
        unrelated={name: np.ones((4, 2)) for name in MEASURES},
        moved={name: np.full((maps, 2), 0.1) for name in MEASURES},
        support_px=np.full(maps, 10.0),
        support_share=np.full(maps, 0.5),
        purity=np.clip(purity + 0.01 * rng.standard_normal(maps), 0, 1),
        directions=np.full(5, 0.4),
    )


def flat(number, values):
    return replace(layer(number), purity=np.asarray(values, np.float64))


def test_every_layer_counts_alike_however_many_maps_it_has():
    layers = [layer(2, maps=100, patches=0.5), layer(3, maps=2, patches=0.9)]
    found = estimates(layers, 0)
    means = [found[f"layer{n}_spread_difference"].value for n in (2, 3)]
    assert found["spread_difference"].value == pytest.approx(np.mean(means))
    assert found["spread_difference"].n == 102
    assert found["support_share"].value == found["support_share"].low == 0.5


def test_slope_of_a_line_is_its_own_in_both_directions():
    def slope(numbers, means):
        layers = [flat(n, np.full(5, v)) for n, v in zip(numbers, means, strict=True)]
        return purity_slope(layers, "purity", 0).value

    assert slope([1, 2, 3], [0.2, 0.3, 0.4]) == pytest.approx(0.1)
    assert slope([1, 3, 5], [0.2, 0.3, 0.4]) == pytest.approx(0.05)
    assert slope([1, 2, 3], [0.4, 0.3, 0.2]) == pytest.approx(-0.1)
    gone = [flat(1, [0.2, 0.2]), flat(2, []), flat(3, [0.4, 0.4])]
    assert purity_slope(gone, "purity", 0).value == pytest.approx(0.1)
    assert math.isnan(purity_slope(gone[:2], "purity", 0).value)


def test_the_interval_is_that_of_resampled_maps():
    rng = np.random.default_rng(0)
    groups = [rng.normal(m, 1, 50) for m in (0, 1, 2)]
    one = purity_slope([flat(n, group) for n, group in enumerate(groups, 1)], "purity", 0)
    # Variance of (mean3 - mean1) / 2.
    half = 1.96 * math.sqrt(groups[0].var() / 50 + groups[2].var() / 50) / 2
    assert one.high - one.low == pytest.approx(2 * half, rel=0.1)
    assert one.low < one.value < one.high
    assert one.covers == ("maps",)


def test_filters_and_wide_fields_are_no_part_of_the_claim():
    layers = [
        layer(1, fixed=True, projections=0), layer(2), layer(3, patches=0.5), layer(4, share=0.84),
    ]  # fmt: skip
    assert [one.number for one in judged(layers)] == [2, 3]
    found = estimates(layers, 0)
    assert found["spread_difference"].value == pytest.approx(0.35, abs=0.01)
    assert found["spread_difference"].n == 24
    for key in ("spread_patches", "spread_difference", "support_px", "support_share"):
        invalid = [n for n in (1, 2, 3, 4) if found[f"layer{n}_{key}"].invalid]
        assert invalid == [4]


def test_growth_has_a_number_of_its_own_for_layers_with_small_fields():
    found = estimates(
        [layer(1, purity=0.3), layer(2, purity=0.5), layer(3, purity=0.5, share=0.9)], 0
    )
    assert found["purity_slope_within"].value == pytest.approx(0.2, abs=0.02)
    assert found["purity_slope"].value == pytest.approx(0.1, abs=0.02)
    assert "purity_slope_within" not in estimates([layer(1), layer(2)], 0)


def test_spread_is_a_share_of_that_of_unrelated_pictures():
    one = layer(2, projections=0.3, patches=0.8)
    one.unrelated["coarse"][:] = [0.5, 1.0]
    assert one.pairs("coarse").mean(0) == pytest.approx([0.6, 0.8], abs=0.01)
    one.unrelated["coarse"][1:] = np.nan
    assert one.pairs("coarse").mean(0) == pytest.approx([0.6, 0.8], abs=0.01)
    one.unrelated["coarse"][0] = [0.0, 1.0]
    assert len(one.pairs("coarse")) == 0  # a measure that sees no difference at all


def test_the_measures_stand_side_by_side():
    one = layer(2)
    one.spread["colour"][:, 1] = 0.1
    one.moved["colour"][:] = [0.5, 0.25]
    coarse, colour = measures_table([one], 0).records()
    assert coarse["difference"] == estimates([one], 0)["spread_difference"].value
    assert colour["difference"] == pytest.approx(-0.2)
    assert colour["difference"] == spread_difference([one], "colour", 0).value
    assert [colour[f"moved_{kind}"] for kind in ("projections", "patches")] == [0.5, 0.25]


def test_a_layer_without_measured_maps_gives_no_number():
    blank = LayerNumbers.blank(
        4, number=2, share=0.2, fixed=False, purity=np.zeros(0), directions=np.zeros(0)
    )
    found = estimates([blank], 0)
    assert math.isnan(found["spread_difference"].value)
    assert math.isnan(found["purity_slope"].value)
    assert math.isnan(estimates([], 0)["spread_difference"].value)


def test_directions_and_units_are_drawn_by_themselves():
    rng = np.random.default_rng(1)
    directions, units = rng.normal(0.6, 0.1, 80), rng.normal(0.5, 0.2, 40)
    one = directions_minus_units(directions, units, 0)
    assert one.value == pytest.approx(directions.mean() - units.mean())
    half = 1.96 * math.sqrt(directions.var() / 80 + units.var() / 40)
    assert one.half == pytest.approx(half, rel=0.1)
    assert one.low > 0
    assert math.isnan(directions_minus_units(directions, units[:0], 0).value)


def test_overlap_is_that_of_every_pair_of_lists():
    lists = np.array([[3, 900, 7], [7, 3, 11], [12, 13, 14], [900, 3, 7]])
    expected = np.zeros((4, 4))
    for i, one in enumerate(lists):
        for j, two in enumerate(lists):
            if i != j:
                expected[i, j] = len({*one} & {*two}) / len({*one} | {*two})
    assert overlaps(lists) == pytest.approx(expected)
    assert mean_overlap(lists).value == pytest.approx(expected.sum() / 12)
    apart = mean_overlap(np.arange(30).reshape(10, 3))
    assert (apart.value, apart.low, apart.high) == (0, 0, 0)
    alike = mean_overlap(np.tile([1, 2, 3], (10, 1)))
    assert (alike.value, alike.low) == (1, 1)
    assert math.isnan(mean_overlap(lists[:1]).value)
    assert mean_overlap(lists[:2]).low is None


def test_the_interval_of_an_overlap_is_that_of_other_lists():
    """Lists of two of twelve images, again and again: it holds the mean of all such lists."""
    rng, kept = np.random.default_rng(2), 0
    weights = np.arange(1, 13) / 78
    many = np.array([rng.choice(12, 2, replace=False, p=weights) for _ in range(3000)])
    truth = overlaps(many).sum() / (3000 * 2999)
    for _ in range(200):
        one = mean_overlap(many[rng.choice(3000, 25, replace=False)])
        kept += one.low <= truth <= one.high
    assert 180 <= kept <= 199
