"""Rules, tests and corrections against cases worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from zfnet.stats.estimate import IMAGES, TRAININGS, Estimate
from zfnet.stats.intervals import holm
from zfnet.verdicts import rules
from zfnet.verdicts.rules import AGAINST, FOR, LEVEL, Outcome, Rule, decided

ABOVE_0, WITHIN_2 = (0.0, math.inf), (-2.0, 2.0)


def measured(value: float, half: float, n: int | None = 1000, df: float | None = None) -> Estimate:
    return Estimate(value, value - half, value + half, n, df=df)


def rule(kind: str, **parameters: Any) -> Rule:
    return Rule.model_validate({"kind": kind, "why": "so", **parameters})


def outcome(chains: list[list[Estimate]], kind: str, lost: int = 0, **parameters: Any) -> Outcome:
    named = [[(f"{i}{k}", each) for k, each in enumerate(c)] for i, c in enumerate(chains)]
    return rules.decide(named, rule(kind, **parameters), lost)


def word(chains: list[list[Estimate]], kind: str, **parameters: Any) -> str:
    found = outcome(chains, kind, **parameters)
    return found.side if decided(found.p) else "undecided"


def one(number: Estimate, kind: str, **parameters: Any) -> str:
    return word([[number]], kind, **parameters)


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
    parameters: dict[str, Any],
    inside: tuple[float, float],
    outside: tuple[float, float],
    between: tuple[float, float],
) -> None:
    assert one(measured(*inside), kind, **parameters) == FOR
    assert one(measured(*outside), kind, **parameters) == AGAINST
    assert one(measured(*between), kind, **parameters) == "undecided"


def test_order_needs_every_step() -> None:
    rising = [measured(value, 0.5) for value in (10, 20, 30, 40)]
    assert word([rising], "order", way="rising") == FOR
    assert word([rising[::-1]], "order", way="rising") == AGAINST
    assert word([rising[::-1]], "order", way="falling") == FOR
    one_back = [*rising[:2], measured(15, 0.5), rising[3]]
    assert word([one_back], "order", way="rising") == AGAINST
    assert outcome([one_back], "order", way="rising").deciding.name == "02 − 01"
    unsure = [*rising[:2], measured(20.2, 0.5), rising[3]]
    assert word([unsure], "order", way="rising") == "undecided"
    assert word([rising], "order", way="rising", margin=15) == AGAINST


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
    found = outcome([[good, bad, wide]], "ratio", above=2)
    assert found.deciding.measured is bad
    assert found.p == pytest.approx(3 * rules.check(bad, (2, math.inf)).p)


def test_one_of_many_against_is_corrected_for_their_number() -> None:
    barely = measured(-1, 0.95)
    assert word([[barely]], "direction", sign="positive") == AGAINST
    assert word([[barely, *[measured(5, 1)] * 9]], "direction", sign="positive") == "undecided"


# ------------------------------------------------------------------------------------- edges
def test_outside_the_nearer_bound_decides() -> None:
    assert one(measured(2.5, 1), "equivalence", margin=2) == "undecided"
    assert one(measured(-2.5, 1), "equivalence", margin=2) == "undecided"
    assert rules.check(measured(4, 1), WITHIN_2).distance == 2


def test_an_interval_that_touches_its_bound_does_not_decide() -> None:
    assert not decided(LEVEL)
    assert decided(0.0499)
    assert one(measured(1, 1), "direction", sign="positive") == "undecided"
    assert one(measured(-1, 1), "direction", sign="positive") == "undecided"
    assert one(measured(1, 0.9999), "direction", sign="positive") == FOR
    assert one(measured(0, 1), "direction", sign="positive") == "undecided"
    assert one(measured(0, 1), "equivalence", margin=1) == "undecided"


@pytest.mark.parametrize(
    "number",
    [
        Estimate(math.nan, 1, 2, 10),
        Estimate(math.inf, 1, 2, 10),
        Estimate(5.0, n=1),
        Estimate(5.0, 4.0, None, 10),
        Estimate(5.0, 1.0, 2.0, 10),  # not within its own interval
    ],
)
def test_what_cannot_be_tested_decides_nothing(number: Estimate) -> None:
    found = rules.check(number, ABOVE_0)
    assert found.p == 1.0
    assert found.why


def test_an_interval_without_width_decides_alone_and_in_no_family() -> None:
    flat = outcome([[Estimate(6.0, 6.0, 6.0, 32)]], "direction", sign="positive")
    assert decided(flat.p)
    assert holm([flat.p, 0.5])[0] > LEVEL
    assert one(Estimate(0.0, 0.0, 0.0, 32), "direction", sign="positive") == "undecided"


def test_the_side_towards_the_bound_counts() -> None:
    skewed = Estimate(1.0, 0.1, 9.0, 100)
    assert one(skewed, "direction", sign="positive") == FOR
    assert one(skewed, "direction", sign="negative") == AGAINST
    assert one(skewed, "equivalence", margin=2) == "undecided"
    assert one(Estimate(-1.0, -9.0, -0.1, 100), "direction", sign="negative") == FOR


def test_p_is_that_of_students_t() -> None:
    # mean 2, standard error 1, 9 degrees of freedom: the interval's half width is 2.262.
    assert rules.check(measured(2, 2.262157, n=10), ABOVE_0).p == pytest.approx(0.0766, abs=1e-4)
    assert rules.check(measured(2, 2.262157, 600, df=9), ABOVE_0).p == pytest.approx(
        0.0766, abs=1e-4
    )
    normal = rules.check(Estimate(1.96, 0.0, 3.92), ABOVE_0)  # n unknown
    assert normal.p == pytest.approx(0.05, abs=1e-4)


def test_few_trainings_weigh_less_in_a_family() -> None:
    many = rules.check(measured(5, 1, 600), ABOVE_0)
    few = rules.check(measured(5, 1, 600, df=2), ABOVE_0)
    assert many.p < 1e-9
    assert 0.001 < few.p < LEVEL


# --------------------------------------------------------------------------------- differences
def test_less_adds_half_widths_in_quadrature() -> None:
    gap = rules.less(Estimate(10, 7, 13, 50, "%"), Estimate(4, 0, 8, 20, "%"))
    assert (gap.value, gap.low, gap.high, gap.n, gap.unit) == (6, 1, 11, 20, "points")
    assert gap.freedom == 19
    uneven = rules.less(Estimate(10, 7, 14), Estimate(4, 0, 7))
    assert (uneven.low, uneven.high) == (6 - math.hypot(3, 3), 6 + math.hypot(4, 4))
    assert rules.less(Estimate(1), Estimate(0, -1, 1)).low is None
    assert math.isinf(rules.less(Estimate(1), Estimate(0)).freedom)


BOTH = (IMAGES, TRAININGS)
CASES = {
    "crossed": Estimate(1, 0, 2, 600, df=17.5, trainings=3, covers=BOTH),
    "trainings": Estimate(1, 0, 2, 5, trainings=5, covers=(TRAININGS,)),
    "averaged": Estimate(1, 0, 2, 600, trainings=4),
    "images": Estimate(1, 0, 2, 600),
}


@pytest.mark.parametrize(
    ("first", "second", "trainings", "covers", "freedom"),
    [
        ("crossed", "crossed", 3, BOTH, 17.5),
        ("crossed", "images", 1, (IMAGES,), 17.5),
        ("trainings", "crossed", 3, (TRAININGS,), 4),
        ("trainings", "images", 1, (), 4),
        ("trainings", "averaged", 4, (), 4),
        ("averaged", "images", 1, (IMAGES,), 599),
    ],
)
def test_a_difference_rests_on_what_both_numbers_rest_on(
    first: str, second: str, trainings: int, covers: tuple[str, ...], freedom: float
) -> None:
    for a, b in ((CASES[first], CASES[second]), (CASES[second], CASES[first])):
        gap = rules.less(a, b)
        assert (gap.trainings, gap.covers, gap.freedom) == (trainings, covers, freedom)
        joined = outcome([[a, b]], "direction", sign="positive")
        assert (joined.trainings, len(joined.covers)) == (trainings, len(covers))
        assert (TRAININGS in joined.covers) == (TRAININGS in covers)


def test_images_and_maps_are_units_alike() -> None:
    maps = Estimate(1, 0, 2, 64, covers=("maps",))
    assert outcome([[maps, CASES["images"]]], "direction", sign="positive").covers == {"units"}


def test_a_difference_with_a_number_at_chance_is_no_evidence() -> None:
    assert rules.less(Estimate(1), Estimate(0, invalid="at chance")).invalid == "at chance"


def test_shifted() -> None:
    moved = rules.shifted(Estimate(86.5, 86, 87, 9, trainings=3), 84.3)
    assert moved.value == pytest.approx(2.2)
    assert (moved.low, moved.high) == (pytest.approx(1.7), pytest.approx(2.7))
    assert (moved.n, moved.trainings) == (9, 3)
    assert rules.shifted(Estimate(1.0), 1.0).low is None


# -------------------------------------------------------------------------------- all together
def test_a_lost_number_keeps_a_claim_from_being_true_and_costs_one_test_against_it() -> None:
    good, bad = measured(3, 0.5), measured(-3, 0.5)
    assert outcome([[good]], "direction", sign="positive").p < 1e-9
    held = outcome([[good]], "direction", 1, sign="positive")
    assert (held.side, held.p, held.tests) == (FOR, 1.0, 2)
    alone = outcome([[bad]], "direction", sign="positive")
    against = outcome([[bad]], "direction", 2, sign="positive")
    assert against.side == AGAINST
    assert against.p == pytest.approx(3 * alone.p)


def test_how_many_would_decide() -> None:
    # Normal: half width 2 at distance 1 needs four times as many.
    unsure = rules.check(Estimate(1.0, -1.0, 3.0, 10_000), ABOVE_0)
    count = rules.needed(unsure, LEVEL)
    assert count is not None
    assert 39_990 <= count <= 40_010
    stricter = rules.needed(unsure, LEVEL / 10)
    assert stricter is not None
    assert stricter > count


def test_how_many_trainings_would_decide_counts_degrees_of_freedom() -> None:
    single = rules.check(measured(1.0, 4.303 / math.sqrt(3), 3), ABOVE_0)
    count = rules.needed(single, LEVEL)  # standard deviation 1, distance 1: t test by hand
    assert count == 7  # 2.447 / sqrt(7) < 1 <= 2.571 / sqrt(6)


@pytest.mark.parametrize(
    "number", [measured(0, 1), measured(1e-6, 1), Estimate(1.0, n=1), Estimate(1.0, -1, 3)]
)
def test_when_no_number_would_decide(number: Estimate) -> None:
    assert rules.needed(rules.check(number, ABOVE_0), LEVEL) is None


def test_a_rule_in_words() -> None:
    assert str(rule("trend", sign="positive")) == "trend: above 0"
    assert rule("direction", sign="negative", margin=10).asked == "below \N{MINUS SIGN}10"
    assert rule("equivalence", margin=2).asked == "between \N{MINUS SIGN}2 and 2"
    assert str(rule("order", way="rising")) == "order: each step above 0"
