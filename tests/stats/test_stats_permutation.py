"""Permutation tests: both directions, their level, and what cannot be compared."""

import math

import numpy as np
import pytest

from zfnet.stats.permutation import pairing_p, roles_p


def test_own_partners_are_told_from_anyone_s():
    own = np.full((8, 8), 0.1) + 0.8 * np.eye(8)
    assert pairing_p(own, seed=0) < 0.01
    assert pairing_p(np.full((8, 8), 0.5), seed=0) == 1  # every partner fits as well
    assert pairing_p(own, seed=3) == pairing_p(own, seed=3)


def test_rows_without_an_agreement_are_left_out():
    table = np.full((3, 3), np.nan)
    table[0, 0] = 0.5
    assert math.isnan(pairing_p(table, seed=0))


def distances_of(signs):
    """(n, C, D) signs to (n, C, n, C)."""
    flat = signs.reshape(-1, signs.shape[2])
    n, c = signs.shape[:2]
    return (flat[:, None] != flat[None]).mean(2).reshape(n, c, n, c)


def test_the_test_of_roles_tells_both_directions():
    rng = np.random.default_rng(0)
    signs = rng.integers(-1, 2, (4, 5, 6, 60))
    alike = signs.copy()
    alike[:, :, 0] = alike[:, :1, 0]  # the part changes all images of a group alike
    low = roles_p([distances_of(s) for s in alike], [0], [1, 2, 3, 4, 5], 199, 0)
    assert low == pytest.approx(1 / 200)
    alike = signs.copy()
    alike[:, :, 1:] = alike[:, :1, 1:]  # random places do
    assert roles_p([distances_of(s) for s in alike], [0], [1, 2, 3, 4, 5], 199, 0) > 0.99


def test_pairs_that_cannot_be_compared_never_help_a_finding():
    distance = np.full((5, 3, 5, 3), 0.5)
    distance[:, 0, :, 0] = 0.1
    assert roles_p([distance], [0], [1, 2], 99, 0) < 0.1
    distance[:, 0, :, 1:] = distance[:, 1:, :, 0] = np.nan  # shuffled, hardly any pair is left
    assert roles_p([distance], [0], [1, 2], 99, 0) > 0
    distance[:, 0, :, 0] = np.nan
    assert np.isnan(roles_p([distance], [0], [1, 2], 99, 0))


def test_the_test_of_roles_keeps_its_level():
    # Squares that differ only by chance; images differ in how much they change (more zeros).
    rng = np.random.default_rng(1)
    values = []
    for seed in range(150):
        signs = rng.integers(-1, 2, (5, 4, 30)) * (rng.random((5, 1, 30)) < rng.random((5, 1, 1)))
        values.append(roles_p([distances_of(signs)], [0], [1, 2, 3], 99, seed))
    values = np.array(values)
    assert 0.02 < (values <= 0.1).mean() < 0.19
    assert 0.4 < values.mean() < 0.6
