"""Rules on numbers whose answer is known: each comes out for, against and undecided."""

from __future__ import annotations

import math

import pytest

from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import holm
from zfnet.verdicts import rules
from zfnet.verdicts.rules import AGAINST, FOR, LEVEL, TRAININGS, UNITS, Region

ONLY_UNITS, ONLY_TRAININGS = frozenset({UNITS}), frozenset({TRAININGS})
BOTH = ONLY_UNITS | ONLY_TRAININGS


def measured(value: float, half: float | None, n: int | None = 1000, note: str = "") -> Estimate:
    if half is None:
        return Estimate(value, n=n, note=note)
    return Estimate(value, value - half, value + half, n, note=note)


def word(chains: list[list[Estimate]], kind: str, **parameters: object) -> str:
    outcome = rules.decide(chains, kind, parameters)
    return outcome.side if outcome.decided() else "undecided"


def one(at: float, half: float | None, kind: str, **parameters: object) -> str:
    return word([[measured(at, half)]], kind, **parameters)


# ------------------------------------------------------------------------------- rule by rule
@pytest.mark.parametrize(
    ("kind", "parameters", "inside", "outside", "between"),
    [
        ("direction", {"sign": "positive"}, (2, 1), (-2, 1), (0.5, 1)),
        ("direction", {"sign": "negative"}, (-2, 1), (2, 1), (-0.5, 1)),
        ("direction", {"sign": "positive", "margin": 10}, (12, 1), (5, 1), (10.5, 1)),
        ("direction", {"sign": "negative", "margin": 10}, (-12, 1), (-5, 1), (-10.5, 1)),
        ("trend", {"sign": "positive"}, (0.1, 0.05), (-0.1, 0.05), (0.1, 0.2)),
        ("trend", {"sign": "negative", "margin": 1}, (-2, 0.5), (0, 0.5), (-1.2, 0.5)),
        ("between", {"low": 0, "high": 10}, (5, 1), (12, 1), (9.5, 1)),
        ("between", {"low": 0, "high": 10}, (5, 1), (-2, 1), (0.5, 1)),
        ("equivalence", {"margin": 2}, (0.5, 1), (4, 1), (1.5, 1)),
        ("equivalence", {"margin": 2}, (-0.5, 1), (-4, 1), (0, 3)),
        ("ratio", {"above": 2}, (3.8, 0.3), (1.5, 0.3), (2.1, 0.3)),
        ("absolute", {"value": 38.4, "tolerance": 2}, (39, 0.4), (45, 0.4), (40.2, 0.4)),
        ("absolute", {"value": 38.4, "tolerance": 2}, (37.5, 0.4), (30, 0.4), (36.5, 0.4)),
    ],
)
def test_every_rule_comes_out_each_way(
    kind: str,
    parameters: dict[str, object],
    inside: tuple[float, float],
    outside: tuple[float, float],
    between: tuple[float, float],
) -> None:
    assert one(*inside, kind, **parameters) == FOR
    assert one(*outside, kind, **parameters) == AGAINST
    assert one(*between, kind, **parameters) == "undecided"


def test_a_small_effect_is_against_a_claim_of_a_large_one() -> None:
    assert one(5, 1, "direction", sign="positive") == FOR
    assert one(5, 1, "direction", sign="positive", margin=10) == AGAINST


def test_order_needs_every_step() -> None:
    rising = [measured(value, 0.5) for value in (10, 20, 30, 40)]
    assert word([rising], "order", way="rising") == FOR
    assert word([rising[::-1]], "order", way="rising") == AGAINST
    assert word([rising[::-1]], "order", way="falling") == FOR
    one_back = [*rising[:2], measured(15, 0.5), rising[3]]
    assert word([one_back], "order", way="rising") == AGAINST
    unsure = [*rising[:2], measured(20.2, 0.5), rising[3]]
    assert word([unsure], "order", way="rising") == "undecided"
    assert word([rising], "order", way="rising", margin=15) == AGAINST
    with pytest.raises(ValueError, match="at least two"):
        rules.decide([[rising[0]]], "order", {"way": "rising"})


def test_orders_of_two_sets_are_not_compared_with_each_other() -> None:
    first = [measured(value, 0.5) for value in (50, 60)]
    second = [measured(value, 0.5) for value in (10, 20)]
    assert word([first, second], "order", way="rising") == FOR
    assert word([[*first, *second]], "order", way="rising") == AGAINST


def test_several_numbers_must_all_lie_inside() -> None:
    good, bad, wide = measured(3, 0.5), measured(1, 0.5), measured(2.2, 1)
    assert word([[good, good]], "ratio", above=2) == FOR
    assert word([[good, bad]], "ratio", above=2) == AGAINST
    assert word([[good], [wide]], "ratio", above=2) == "undecided"
    outcome = rules.decide([[good, bad, wide]], "ratio", {"above": 2})
    assert outcome.deciding.measured is bad
    assert outcome.p == pytest.approx(3 * rules.check(bad, Region(low=2)).p)


def test_one_of_many_against_is_corrected_for_their_number() -> None:
    barely = measured(-1, 0.95)
    assert word([[barely]], "direction", sign="positive") == AGAINST
    assert word([[barely, *[measured(5, 1)] * 9]], "direction", sign="positive") == "undecided"


# ------------------------------------------------------------------------------------- edges
def test_outside_the_nearer_bound_decides() -> None:
    assert one(2.5, 1, "equivalence", margin=2) == "undecided"
    assert one(-2.5, 1, "equivalence", margin=2) == "undecided"
    assert rules.check(measured(4, 1), Region(-2, 2)).distance == 2


def test_a_p_of_the_level_itself_does_not_decide() -> None:
    check = rules.check(measured(5, 1), Region(low=0))
    assert not rules.Outcome([check], FOR, LEVEL, 0).decided()
    assert rules.Outcome([check], FOR, 0.0499, 0).decided()


def test_an_interval_that_touches_its_bound_does_not_decide() -> None:
    assert one(1, 1, "direction", sign="positive") == "undecided"
    assert one(-1, 1, "direction", sign="positive") == "undecided"
    assert one(1, 0.9999, "direction", sign="positive") == FOR
    assert one(0, 1, "direction", sign="positive") == "undecided"
    assert one(0, 1, "equivalence", margin=1) == "undecided"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_value_decides_nothing(value: float) -> None:
    check = rules.check(Estimate(value, 1, 2, 10), Region(low=0))
    assert (check.p, check.why) == (1.0, "it has no value")


def test_no_interval_decides_nothing() -> None:
    single = Estimate(5.0, n=1)
    assert rules.check(single, Region(low=0)).why == "it has no interval"
    assert word([[single]], "direction", sign="positive") == "undecided"
    assert one(0, None, "equivalence", margin=1) == "undecided"
    half = Estimate(5.0, 4.0, None, 10)
    assert rules.check(half, Region(low=0)).why == "it has no interval"


def test_an_interval_beside_its_number_decides_nothing() -> None:
    biased = Estimate(5.0, 1.0, 2.0, 10)
    assert rules.check(biased, Region(low=0)).why == "its interval does not hold it"


def test_an_interval_without_width_decides_alone_and_in_no_family() -> None:
    flat = Estimate(6.0, 6.0, 6.0, 32)
    outcome = rules.decide([[flat]], "direction", {"sign": "positive"})
    assert outcome.decided()
    assert holm([outcome.p, 0.5])[0] > LEVEL
    assert word([[Estimate(0.0, 0.0, 0.0, 32)]], "direction", sign="positive") == "undecided"


def test_the_side_towards_the_bound_counts() -> None:
    skewed = Estimate(1.0, 0.1, 9.0, 100)
    assert word([[skewed]], "direction", sign="positive") == FOR
    assert word([[skewed]], "direction", sign="negative") == AGAINST
    assert word([[skewed]], "equivalence", margin=2) == "undecided"
    assert word([[Estimate(-1.0, -9.0, -0.1, 100)]], "direction", sign="negative") == FOR


def test_p_is_that_of_students_t() -> None:
    # mean 2, standard error 1, 9 degrees of freedom: the interval's half width is 2.262.
    check = rules.check(measured(2, 2.262157, n=10), Region(low=0))
    assert check.p == pytest.approx(0.0766, abs=1e-4)
    known = rules.check(Estimate(1.96, 0.0, 3.92), Region(low=0))  # n unknown: normal
    assert known.p == pytest.approx(0.05, abs=1e-4)


# ----------------------------------------------------------------------- what the notes tell
@pytest.mark.parametrize(
    ("note", "n", "degrees", "counted"),
    [
        ("interval over images (bootstrap)", 600, 599, (1, ONLY_UNITS)),
        ("a minus b; interval over images and 3 pairs of trainings", 600, 2, (3, BOTH)),
        ("interval over images and 4 trainings", 600, 3, (4, BOTH)),
        ("Student's interval over 3 pairs of trainings; n counts pairs", 3, 2, (3, ONLY_TRAININGS)),
        ("interval over them (Student); n counts trainings", 5, 4, (5, ONLY_TRAININGS)),
        ("mean of 3 nets; interval over images", 600, 599, (3, ONLY_UNITS)),
        ("Student's interval over 30 disjoint groups of images", 150, 29, (1, ONLY_UNITS)),
        ("images and 3 pairs of trainings, 17.5 degrees of freedom", 600, 17.5, (3, BOTH)),
        ("images and 3 trainings; 12.3 degrees of freedom", 600, 12.3, (3, BOTH)),
        ("images and 3 trainings; 599 degrees of freedom", 600, 599, (3, BOTH)),
        ("images and 3 trainings; 2.8e+03 degrees of freedom", 2800, 2800, (3, BOTH)),
        ("images and 3 trainings; 5e+04 degrees of freedom", 50000, 50000, (3, BOTH)),
        ("", None, math.inf, (1, ONLY_UNITS)),
        ("", 1, 1, (1, ONLY_UNITS)),
    ],
)
def test_notes(
    note: str, n: int | None, degrees: float, counted: tuple[int, frozenset[str]]
) -> None:
    number = measured(1, 1, n, note)
    assert rules.freedom(number) == degrees
    assert rules.trainings(number) == counted


@pytest.mark.parametrize("degrees", [1.0, 2.37, 12.345, 599.0, 2799.0, 49999.0, 1.2e6])
def test_degrees_of_freedom_are_read_as_studies_write_them(degrees: float) -> None:
    note = f"interval over images and 3 trainings; {degrees:.3g} degrees of freedom"
    assert rules.freedom(measured(1, 1, 600, note)) == pytest.approx(degrees, rel=5e-3)


def test_few_trainings_weigh_less_in_a_family() -> None:
    many = rules.check(measured(5, 1, 600), Region(low=0))
    few = rules.check(measured(5, 1, 600, "images and 3 trainings"), Region(low=0))
    assert many.p < 1e-9
    assert 0.001 < few.p < LEVEL


def test_less_adds_half_widths_in_quadrature() -> None:
    gap = rules.less(Estimate(10, 7, 13, 50, "%"), Estimate(4, 0, 8, 20, "%"))
    assert (gap.value, gap.low, gap.high, gap.n) == (6, 1, 11, 20)
    assert gap.unit == "points"
    assert rules.freedom(gap) == 19
    uneven = rules.less(Estimate(10, 7, 14), Estimate(4, 0, 7))
    assert (uneven.low, uneven.high) == (6 - math.hypot(3, 3), 6 + math.hypot(4, 4))
    assert rules.less(Estimate(1), Estimate(0, -1, 1)).low is None


def test_less_takes_the_fewer_degrees_of_freedom() -> None:
    note = "n counts trainings"
    gap = rules.less(measured(1, 1, 3, note), measured(1, 1, 5, note))
    assert rules.freedom(gap) == 2
    assert rules.trainings(gap) == (3, ONLY_TRAININGS)
    told = rules.less(measured(1, 1, 9, "40 degrees of freedom"), measured(1, 1, 5))
    assert rules.freedom(told) == 4


@pytest.mark.parametrize(
    ("first", "second", "behind"),
    [
        (("images and 3 trainings", 600), ("images and 5 trainings", 600), (3, BOTH)),
        (("images and 3 trainings", 600), ("images", 600), (1, ONLY_UNITS)),
        (("n counts trainings", 3), ("n counts pairs", 5), (3, ONLY_TRAININGS)),
        (("n counts trainings", 3), ("images and 5 trainings", 600), (3, ONLY_TRAININGS)),
        (("n counts trainings", 3), ("images", 600), (1, frozenset())),
        (("n counts trainings", 3), ("mean of 3 nets", 600), (3, frozenset())),
        (("mean of 4 nets", 600), ("mean of 3 nets", 600), (3, ONLY_UNITS)),
        (("mean of 4 nets; 7 degrees of freedom", 600), ("images", 600), (1, ONLY_UNITS)),
    ],
)
def test_a_difference_covers_what_both_numbers_cover(
    first: tuple[str, int], second: tuple[str, int], behind: tuple[int, frozenset[str]]
) -> None:
    a, b = (measured(1, 1, n, note) for note, n in (first, second))
    assert rules.trainings(rules.less(a, b)) == behind
    assert rules.trainings(rules.less(b, a)) == behind
    assert rules.freedom(rules.less(a, b)) == min(rules.freedom(a), rules.freedom(b))


def test_shifted() -> None:
    moved = rules.shifted(Estimate(86.5, 86, 87, 9), 84.3)
    assert moved.value == pytest.approx(2.2)
    assert (moved.low, moved.high, moved.n) == (pytest.approx(1.7), pytest.approx(2.7), 9)
    assert rules.shifted(Estimate(1.0), 1.0).low is None


# -------------------------------------------------------------------------------- all together
def test_levels_of_holms_correction() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    assert rules.levels(p) == pytest.approx([0.05 / 3, 0.05, 0.05 / 2, 0.05 / 4])
    assert rules.levels([]) == []
    # Sorted, p and level agree with the adjusted p up to the first that fails.
    below = [one <= level for one, level in zip(p, rules.levels(p), strict=True)]
    assert below == [True, True, False, True]
    assert [each <= LEVEL for each in holm(p)] == [True, False, False, True]


def test_a_lost_number_keeps_a_claim_from_being_true_and_costs_one_test_against_it() -> None:
    good, bad = measured(3, 0.5), measured(-3, 0.5)
    assert rules.decide([[good]], "direction", {"sign": "positive"}).p < 1e-9
    held = rules.decide([[good]], "direction", {"sign": "positive"}, lost=1)
    assert (held.side, held.p, held.tests, held.decided()) == (FOR, 1.0, 2, False)
    alone = rules.decide([[bad]], "direction", {"sign": "positive"})
    against = rules.decide([[bad]], "direction", {"sign": "positive"}, lost=2)
    assert against.side == AGAINST
    assert against.p == pytest.approx(3 * alone.p)


def test_how_many_would_decide() -> None:
    # Normal: half width 2 at distance 1 needs four times as many.
    unsure = rules.check(Estimate(1.0, -1.0, 3.0, 10_000), Region(low=0))
    count = rules.needed(unsure, LEVEL)
    assert count is not None
    assert 39_990 <= count <= 40_010
    stricter = rules.needed(unsure, LEVEL / 10)
    assert stricter is not None
    assert stricter > count
    assert 2.0 * math.sqrt(10_000 / count) == pytest.approx(1.0, rel=1e-3)


def test_how_many_trainings_would_decide_counts_degrees_of_freedom() -> None:
    note = "n counts trainings"
    single = rules.check(measured(1.0, 4.303 / math.sqrt(3), 3, note), Region(low=0))
    count = rules.needed(single, LEVEL)  # standard deviation 1, distance 1: t test by hand
    assert count == 7  # 2.447 / sqrt(7) < 1 <= 2.571 / sqrt(6)


def test_when_no_number_would_decide() -> None:
    assert rules.needed(rules.check(measured(0, 1), Region(low=0)), LEVEL) is None
    assert rules.needed(rules.check(measured(1e-6, 1), Region(low=0)), LEVEL) is None
    assert rules.needed(rules.check(Estimate(1.0, n=1), Region(low=0)), LEVEL) is None
    assert rules.needed(rules.check(Estimate(1.0, -1, 3), Region(low=0)), LEVEL) is None


def test_words() -> None:
    assert str(Region(low=0)) == "above 0"
    assert str(Region(high=-10)) == "below \N{MINUS SIGN}10"
    assert str(Region(-2, 2)) == "between \N{MINUS SIGN}2 and 2"
    assert rules.in_words("equivalence", {"margin": 2}) == "equivalence: within ±2"
    assert rules.in_words("absolute", {"value": 38.4, "tolerance": 2}) == "figure: 38.4 ± 2"
    assert rules.in_words("order", {"way": "rising"}) == "order: rising, each step above 0"
    with pytest.raises(ValueError, match="no kind"):
        rules.region_of("guess", {})
