import math
from dataclasses import replace

import numpy as np
import pytest

from zfnet.stats.estimate import Estimate
from zfnet.studies.feature_numbers import (
    LayerNumbers,
    Told,
    mean_over,
    metrics,
    over_layers,
    panels,
    slope_over,
    support_choices,
    support_shares,
    tables,
    words,
)
from zfnet.studies.likeness import MEASURES


def layer(number, *, projections=0.3, patches=0.8, share=0.2, purity=0.5, maps=12, fixed=False):
    rng = np.random.default_rng(number)
    both = np.stack(
        [np.full(maps, projections), patches + 0.01 * rng.standard_normal(maps)], axis=1
    )
    return LayerNumbers(
        number=number,
        field=int(128 * share),
        share=share,
        fixed=fixed,
        spread={name: both.copy() for name in MEASURES},
        unrelated={name: np.ones((4, 2)) for name in MEASURES},
        moved={name: np.full((maps, 2), 0.1) for name in MEASURES},
        support_px=np.full(maps, 10.0),
        support={name: np.full(maps, 0.5) for name in support_choices(0.9)},
        purity=np.clip(purity + 0.01 * rng.standard_normal(maps), 0, 1),
        directions=np.full(5, 0.4),
    )


def told(*layers, measure="coarse"):
    return Told(layers, measure, 0.9, 0.75, 0)


def numbers_of(one):
    extra = {f"layer{n.number}_purity": Estimate(float(np.sum(n.purity))) for n in one.layers}
    return metrics(one) | extra


def test_every_layer_counts_alike_however_many_maps_it_has():
    groups = [np.full(100, 1.0), np.full(2, 3.0)]
    one = mean_over(groups, 0, "")
    assert (one.value, one.low, one.high, one.n) == (2.0, 2.0, 2.0, 102)


def test_slope_of_a_line_is_its_own_in_both_directions():
    groups = [np.full(5, v) for v in (0.2, 0.3, 0.4)]
    assert slope_over([1, 2, 3], groups, 0, "").value == pytest.approx(0.1)
    assert slope_over([1, 3, 5], groups, 0, "").value == pytest.approx(0.05)
    assert slope_over([1, 2, 3], groups[::-1], 0, "").value == pytest.approx(-0.1)
    gone = [groups[0], np.zeros(0), groups[2]]
    assert slope_over([1, 2, 3], gone, 0, "").value == pytest.approx(0.1)
    assert math.isnan(slope_over([1, 2], [groups[0], np.zeros(0)], 0, "").value)


def test_the_interval_is_that_of_resampled_maps():
    rng = np.random.default_rng(0)
    groups = [rng.normal(m, 1, 50) for m in (0, 1, 2)]
    one = slope_over([1, 2, 3], groups, 0, "")
    # Variance of (mean3 - mean1) / 2.
    half = 1.96 * math.sqrt(groups[0].var() / 50 + groups[2].var() / 50) / 2
    assert one.high - one.low == pytest.approx(2 * half, rel=0.1)
    assert one.low < one.value < one.high
    assert one == slope_over([1, 2, 3], groups, 0, "")


def test_no_layers_or_an_empty_one_give_no_number():
    assert math.isnan(mean_over([], 0, "").value)
    assert math.isnan(over_layers([np.ones(3), np.zeros(0)], [1, 1], 0, "").value)
    assert over_layers([np.ones(1)], [1], 0, "x").low is None


def test_filters_and_wide_fields_are_no_part_of_the_claim():
    one = told(
        layer(1, fixed=True, projections=0), layer(2), layer(3, patches=0.5), layer(4, share=0.84)
    )
    assert [n.number for n in one.judged] == [2, 3]
    assert [n.number for n in one.beyond] == [4]
    found = numbers_of(one)
    assert found["spread_difference"].value == pytest.approx(0.35, abs=0.01)
    assert found["spread_difference"].n == 24
    assert "no claim" in found["layer4_spread_patches"].note
    assert "no claim" in found["layer4_support_px"].note
    assert "no claim" not in found["layer3_spread_patches"].note
    assert "by construction" in found["layer1_spread_projections"].note
    table = tables(one, found)["spread"]
    assert [row[1] for row in table.rows] == [True, True, True, False]


@pytest.mark.parametrize(
    ("patches", "said"),
    [
        (0.8, "patches vary more, as in the paper"),
        (0.1, "projections vary more, unlike in the paper"),
        (0.3, "undecided"),
    ],
)
def test_the_words_follow_the_numbers(patches, said):
    one = told(layer(1, fixed=True, projections=0), layer(2, patches=patches))
    text = words(one, numbers_of(one))
    assert said in text
    assert "Layer 1 is left out" in text
    assert "nothing is claimed" not in text


@pytest.mark.parametrize(
    ("purities", "said"),
    [
        ((0.3, 0.5, 0.7), "grows with depth"),
        ((0.7, 0.5, 0.3), "falls with depth"),
        ((0.5, 0.5, 0.5), "does not change"),
    ],
)
def test_purity_is_said_to_grow_only_where_it_does(purities, said):
    one = told(*(layer(n, purity=p) for n, p in enumerate(purities, 1)))
    if said == "does not change":
        one = told(*(replace(n, purity=np.linspace(0.4, 0.6, 12)) for n in one.layers))
    text = words(one, numbers_of(one))
    assert said in text
    assert "random directions by 0.000" in text


def test_growth_is_told_apart_for_layers_with_small_fields():
    one = told(layer(1, purity=0.3), layer(2, purity=0.5), layer(3, purity=0.5, share=0.9))
    found = numbers_of(one)
    assert found["purity_slope_within"].value == pytest.approx(0.2, abs=0.02)
    assert found["purity_slope"].value == pytest.approx(0.1, abs=0.02)
    assert "layers 1, 2 alone" in words(one, found)
    assert "purity_slope_within" not in numbers_of(told(layer(1), layer(2)))


def test_sensitivity_sets_the_headline_beside_other_choices():
    one = told(layer(1), layer(2, purity=0.7))
    one.layers[1].spread["edges"][:, 1] = 0.2
    table = tables(one, numbers_of(one))["sensitivity"]
    spread = [row for row in table.rows if row[0].startswith("spread")]
    assert [row[1] for row in spread] == ["coarse", "colour", "grey", "edges", "support"]
    assert spread[0][2] == metrics(one)["spread_difference"].value
    assert spread[3][2] < spread[0][2]
    assert spread[3][-1] == pytest.approx(-0.1)
    assert all(len(row) == len(table.columns) for row in table.rows)
    other = tables(told(*one.layers, measure="edges"), numbers_of(one))["sensitivity"]
    assert [row[1] for row in other.rows][:2] == ["edges", "colour"]


def test_spread_is_told_as_a_share_of_that_of_unrelated_pictures():
    one = layer(2, projections=0.3, patches=0.8)
    one.unrelated["coarse"][:] = [0.5, 1.0]
    shares = one.pairs("coarse").mean(0)
    assert shares == pytest.approx([0.6, 0.8], abs=0.01)
    one.unrelated["coarse"][1:] = np.nan  # of the groups that were compared
    assert one.pairs("coarse").mean(0) == pytest.approx([0.6, 0.8], abs=0.01)
    one.unrelated["coarse"][0] = [0.0, 1.0]
    assert len(one.pairs("coarse")) == 0  # a measure that sees no difference at all
    row = tables(told(layer(2)), numbers_of(told(layer(2))))["measures"].rows[0]
    assert row[1:] == pytest.approx([0.3, 0.8, 1, 1, 0.1, 0.1], abs=0.01)


def test_measures_that_disagree_are_told_with_the_cost_of_a_pixel():
    one = told(layer(2, patches=0.8))
    for name in ("colour", "grey"):
        one.layers[0].spread[name][:, 1] = 0.1
    one.layers[0].moved["colour"][:] = [0.5, 0.25]
    text = words(one, numbers_of(one))
    assert "The same by edges 0.50" in text
    assert "Not so by colour -0.20" in text
    assert "0.10 and 0.10 by coarse, 0.50 and 0.25 by colour" in text


def test_support_by_square_and_by_pixels():
    energy = np.zeros((20, 40))
    energy[10, 0] = energy[10, 19] = 1.0
    px, shares = support_shares(energy, 0.9)
    assert px == 20
    assert shares == pytest.approx([0.5, 1 / 40, 0.5, math.sqrt(2) / 40])
    assert len(support_choices(0.9)) == len(shares) == 4
    assert len(support_choices(0.5)) == len(support_shares(energy, 0.5)[1]) == 3


def test_a_layer_without_measured_maps_says_so():
    blank = layer(2)
    for values in (*blank.spread.values(), *blank.support.values(), blank.support_px):
        values[:] = np.nan
    one = told(replace(blank, purity=np.zeros(0), directions=np.zeros(0), unrelated={}))
    found = numbers_of(one)
    assert math.isnan(found["spread_difference"].value)
    assert "No layer has a field" in words(one, found)
    assert "needs two layers" in words(one, found)
    tables(one, found)


def test_the_charts_have_a_point_for_every_layer():
    one = told(layer(1), layer(2))
    drawn = panels(one, numbers_of(one), 0.3)
    assert [panel.title for panel in drawn] == [
        "Spread within a map", "Support of a projection", "Class purity",
    ]  # fmt: skip
    assert all(len(series.points) == 2 for panel in drawn for series in panel.series)
    assert drawn[2].levels == {"chance": 0.3}
