"""Rules, tests and corrections against cases worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from zfnet.stats.estimate import IMAGES, MAPS, TRAININGS, Estimate
from zfnet.stats.intervals import holm
from zfnet.verdicts import rules
from zfnet.verdicts.rules import AGAINST, FOR, LEVEL, Outcome, Rule, decided

ABOVE_0, WITHIN_2 = (0.0, math.inf), (-2.0, 2.0)
POSITIVE = {"kind": "direction", "sign": "positive"}
NEGATIVE = {"kind": "direction", "sign": "negative"}
RISING = {"kind": "order", "way": "rising"}
TWICE = {"kind": "ratio", "above": 2}
NEAR_0 = {"kind": "equivalence", "margin": 2}
FIGURE = {"kind": "absolute", "value": 38.4, "tolerance": 2}
SMALL = {"kind": "between", "low": 0, "high": 10}


def measured(value: float, half: float, n: int | None = 1000, df: float | None = None) -> Estimate:
    return Estimate(value, value - half, value + half, n, df=df)


def outcome(rule: dict[str, Any], *chains: list[Estimate], lost: int = 0) -> Outcome:
    named = [[(f"{i}{k}", each) for k, each in enumerate(c)] for i, c in enumerate(chains)]
    return rules.decide(named, Rule.model_validate({"why": "so", **rule}), lost)


def word(rule: dict[str, Any], *chains: list[Estimate]) -> str:
    found = outcome(rule, *chains)
    return found.side if decided(found.p) else "undecided"


# ------------------------------------------------------------------------------- rule by rule
@pytest.mark.parametrize(
    ("rule", "inside", "outside", "between"),
    [
        (POSITIVE, (2, 1), (-2, 1), (0.5, 1)),
        (NEGATIVE, (-2, 1), (2, 1), (-0.5, 1)),
        ({**POSITIVE, "margin": 10}, (12, 1), (5, 1), (10.5, 1)),
        ({**NEGATIVE, "margin": 10}, (-12, 1), (-5, 1), (-10.5, 1)),
        ({**NEGATIVE, "kind": "trend"}, (-2, 0.5), (1, 0.5), (0, 0.5)),
        (SMALL, (5, 1), (12, 1), (9.5, 1)),
        (SMALL, (5, 1), (-2, 1), (0.5, 1)),
        (NEAR_0, (0.5, 1), (4, 1), (1.5, 1)),
        (NEAR_0, (-0.5, 1), (-4, 1), (0, 3)),
        (NEAR_0, (0.9, 1), (-4, 1), (-2.5, 1)),
        (TWICE, (3.8, 0.3), (1.5, 0.3), (2.1, 0.3)),
        (FIGURE, (39, 0.4), (45, 0.4), (40.2, 0.4)),
        (FIGURE, (37.5, 0.4), (30, 0.4), (36.5, 0.4)),
    ],
)
def test_every_rule_comes_out_each_way(
    rule: dict[str, Any], inside: Any, outside: Any, between: Any
) -> None:
    assert word(rule, [measured(*inside)]) == FOR
    assert word(rule, [measured(*outside)]) == AGAINST
    assert word(rule, [measured(*between)]) == "undecided"


def test_order_needs_every_step() -> None:
    rising = [measured(value, 0.5) for value in (10, 20, 30, 40)]
    assert word(RISING, rising) == FOR
    assert word(RISING, rising[::-1]) == AGAINST
    assert word({**RISING, "way": "falling"}, rising[::-1]) == FOR
    assert word({**RISING, "margin": 15}, rising) == AGAINST
    back = [*rising[:2], measured(15, 0.5), rising[3]]
    assert word(RISING, back) == AGAINST
    assert outcome(RISING, back).deciding.name == "02 − 01"
    assert word(RISING, [*rising[:2], measured(20.2, 0.5), rising[3]]) == "undecided"
    # two sets are not compared with each other
    assert word(RISING, rising[2:], rising[:2]) == FOR
    assert word(RISING, [*rising[2:], *rising[:2]]) == AGAINST


def test_several_numbers_must_all_lie_inside_and_one_outside_is_corrected() -> None:
    good, bad, wide = measured(3, 0.5), measured(1, 0.5), measured(2.2, 1)
    assert word(TWICE, [good, good]) == FOR
    assert word(TWICE, [good, bad]) == AGAINST
    assert word(TWICE, [good], [wide]) == "undecided"
    found = outcome(TWICE, [good, bad, wide])
    assert found.deciding.measured is bad
    assert found.p == pytest.approx(3 * rules.check(bad, (2, math.inf)).p)
    barely = measured(-1, 0.95)
    assert word(POSITIVE, [barely]) == AGAINST
    assert word(POSITIVE, [barely, *[measured(5, 1)] * 9]) == "undecided"


def test_a_lost_number_keeps_a_claim_from_being_true_and_costs_one_test_against_it() -> None:
    good, bad = measured(3, 0.5), measured(-3, 0.5)
    assert outcome(POSITIVE, [good]).p < 1e-9
    held = outcome(POSITIVE, [good], lost=1)
    assert (held.side, held.p, held.tests) == (FOR, 1.0, 2)
    against = outcome(POSITIVE, [bad], lost=2)
    assert against.side == AGAINST
    assert against.p == pytest.approx(3 * outcome(POSITIVE, [bad]).p)


# ------------------------------------------------------------------------------------- edges
def test_an_interval_that_touches_its_bound_does_not_decide() -> None:
    assert (decided(LEVEL), decided(0.0499)) == (False, True)
    assert word(POSITIVE, [measured(1, 1)]) == "undecided"
    assert word(POSITIVE, [measured(-1, 1)]) == "undecided"
    assert word(POSITIVE, [measured(1, 0.9999)]) == FOR
    assert word(POSITIVE, [measured(0, 1)]) == "undecided"
    assert rules.check(measured(4, 1), WITHIN_2).distance == 2  # the nearer bound decides


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
    flat = outcome(POSITIVE, [Estimate(6.0, 6.0, 6.0, 32)])
    assert decided(flat.p)
    assert holm([flat.p, 0.5])[0] > LEVEL
    assert word(POSITIVE, [Estimate(0.0, 0.0, 0.0, 32)]) == "undecided"


def test_the_side_towards_the_bound_counts() -> None:
    skewed = Estimate(1.0, 0.1, 9.0, 100)
    assert word(POSITIVE, [skewed]) == FOR
    assert word(NEGATIVE, [skewed]) == AGAINST
    assert word(NEAR_0, [skewed]) == "undecided"
    assert word(NEGATIVE, [Estimate(-1.0, -9.0, -0.1, 100)]) == FOR


def test_p_is_that_of_students_t() -> None:
    # mean 2, standard error 1, 9 degrees of freedom: the interval's half width is 2.262.
    for nine in (measured(2, 2.262157, n=10), measured(2, 2.262157, 600, df=9)):
        assert rules.check(nine, ABOVE_0).p == pytest.approx(0.0766, abs=1e-4)
    normal = rules.check(Estimate(1.96, 0.0, 3.92), ABOVE_0)  # n unknown
    assert normal.p == pytest.approx(0.05, abs=1e-4)
    assert rules.check(measured(5, 1, 600), ABOVE_0).p < 1e-9
    assert 0.001 < rules.check(measured(5, 1, 600, df=2), ABOVE_0).p < LEVEL


# --------------------------------------------------------------------------------- differences
def test_less_adds_half_widths_in_quadrature() -> None:
    gap = rules.less(Estimate(10, 7, 13, 50, "%"), Estimate(4, 0, 8, 20, "%"))
    assert (gap.value, gap.low, gap.high, gap.n, gap.unit) == (6, 1, 11, 20, "points")
    assert gap.freedom == 19
    uneven = rules.less(Estimate(10, 7, 14), Estimate(4, 0, 7))
    assert (uneven.low, uneven.high) == (6 - math.hypot(3, 3), 6 + math.hypot(4, 4))
    assert rules.less(Estimate(1), Estimate(0, -1, 1)).low is None
    assert math.isinf(rules.less(Estimate(1), Estimate(0)).freedom)
    assert rules.less(Estimate(1), Estimate(0, invalid="at chance")).invalid == "at chance"
    moved = rules.shifted(Estimate(86.5, 86, 87, 9, trainings=3), 80)
    assert moved == Estimate(6.5, 6, 7, 9, trainings=3)
    assert rules.shifted(Estimate(1.0), 1.0).low is None


BOTH = (IMAGES, TRAININGS)
CROSSED = Estimate(1, 0, 2, 600, df=17.5, trainings=3, covers=BOTH)
SEEDS = Estimate(1, 0, 2, 5, trainings=5, covers=(TRAININGS,))
AVERAGED = Estimate(1, 0, 2, 600, trainings=4)
ONE = Estimate(1, 0, 2, 600)


@pytest.mark.parametrize(
    ("first", "second", "trainings", "covers", "freedom"),
    [
        (CROSSED, CROSSED, 3, BOTH, 17.5),
        (CROSSED, ONE, 1, (IMAGES,), 17.5),
        (SEEDS, CROSSED, 3, (TRAININGS,), 4),
        (SEEDS, ONE, 1, (), 4),
        (SEEDS, AVERAGED, 4, (), 4),
        (AVERAGED, ONE, 1, (IMAGES,), 599),
    ],
)
def test_a_difference_rests_on_what_both_numbers_rest_on(
    first: Estimate, second: Estimate, trainings: int, covers: tuple[str, ...], freedom: float
) -> None:
    for a, b in ((first, second), (second, first)):
        gap = rules.less(a, b)
        assert (gap.trainings, gap.covers, gap.freedom) == (trainings, covers, freedom)
        joined = outcome(POSITIVE, [a, b])
        assert (joined.trainings, len(joined.covers)) == (trainings, len(covers))
        assert (TRAININGS in joined.covers) == (TRAININGS in covers)


def test_images_and_maps_are_units_alike() -> None:
    maps = Estimate(1, 0, 2, 64, covers=(MAPS,))
    assert outcome(POSITIVE, [maps, ONE]).covers == {rules.UNITS}


# ------------------------------------------------------------------------------------ how many
def test_how_many_would_decide() -> None:
    # Normal: half width 2 at distance 1 needs four times as many.
    unsure = rules.check(Estimate(1.0, -1.0, 3.0, 10_000), ABOVE_0)
    assert rules.needed(unsure, LEVEL) == pytest.approx(40_000, abs=10)
    assert (rules.needed(unsure, LEVEL / 10) or 0) > 40_010
    # Three trainings, standard deviation 1, distance 1: 2.447 / sqrt(7) < 1 <= 2.571 / sqrt(6).
    few = rules.check(measured(1.0, 4.303 / math.sqrt(3), 3), ABOVE_0)
    assert rules.needed(few, LEVEL) == 7
    for number in (measured(0, 1), measured(1e-6, 1), Estimate(1.0, n=1), Estimate(1.0, -1, 3)):
        assert rules.needed(rules.check(number, ABOVE_0), LEVEL) is None
