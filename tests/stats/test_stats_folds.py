"""Folds: sizes nested, test images apart, short classes told, the same draw every time."""

from __future__ import annotations

import numpy as np
import pytest

from zfnet.errors import UserError
from zfnet.stats.folds import Fold, draw_folds, without

LABELS = np.repeat([0, 1, 2], [40, 36, 50])


def test_sizes_are_nested_and_the_test_images_are_what_the_largest_leaves() -> None:
    for fold in draw_folds(LABELS, [15, 30], None, folds=3, seed=0):
        small, large = set(fold.train[15]), set(fold.train[30])
        assert small < large
        assert not large & set(fold.test)
        assert large | set(fold.test) == set(range(len(LABELS)))
        assert np.bincount(LABELS[fold.train[15]]).tolist() == [15, 15, 15]
        assert np.bincount(LABELS[fold.train[30]]).tolist() == [30, 30, 30]
        assert np.bincount(LABELS[fold.test]).tolist() == [10, 6, 20]
        assert not fold.short


def test_a_fold_is_told_by_its_seed_and_number_alone() -> None:
    one = draw_folds(LABELS, [15, 30], 20, folds=5, seed=3)
    again = draw_folds(LABELS, [15, 30], 20, folds=2, seed=3)
    for a, b in zip(one, again, strict=False):
        assert np.array_equal(a.train[30], b.train[30])
        assert np.array_equal(a.test, b.test)
    assert not np.array_equal(one[0].test, one[1].test)
    assert np.bincount(LABELS[one[0].test]).tolist() == [10, 6, 20]
    few = draw_folds(LABELS, [30], 8, folds=1, seed=0)[0].test
    assert np.bincount(LABELS[few]).tolist() == [8, 6, 8]
    other = draw_folds(LABELS, [15, 30], 20, folds=1, seed=4)[0]
    assert not np.array_equal(one[0].test, other.test)
    alone = draw_folds(LABELS, [15], 20, folds=1, seed=3)[0]  # what trains: of other sizes free
    assert np.array_equal(alone.train[15], one[0].train[15])


def test_every_image_of_a_class_is_as_likely_to_train() -> None:
    folds = draw_folds(np.repeat([0, 1], 10), [5], None, folds=400, seed=0)
    times = np.bincount(np.concatenate([fold.train[5] for fold in folds]), minlength=20)
    assert abs(times - 200).max() < 45  # 4.5 standard deviations of a binomial


def test_excluded_images_are_in_neither_part() -> None:
    excluded = [0, 1, 2, 41, 42]
    for fold in draw_folds(LABELS, [30], None, 2, 0, excluded):
        assert not set(excluded) & {*fold.train[30], *fold.test}
        assert np.bincount(LABELS[fold.test]).tolist() == [7, 4, 20]


def test_a_class_with_too_few_images_keeps_one_for_the_test_and_is_told() -> None:
    labels = np.repeat([0, 1], [40, 12])
    (fold,) = draw_folds(labels, [5, 30], None, folds=1, seed=0)
    assert np.bincount(labels[fold.train[30]]).tolist() == [30, 11]
    assert np.bincount(labels[fold.train[5]]).tolist() == [5, 5]
    assert np.bincount(labels[fold.test]).tolist() == [10, 1]
    assert fold.short == {30: {1: 11}}


def test_a_class_that_cannot_be_split_is_named() -> None:
    labels = np.array([0] * 9 + [1])
    with pytest.raises(UserError, match="class badger has 1 usable images"):
        draw_folds(labels, [5], None, 1, 0, names=["otter", "badger"])
    with pytest.raises(UserError, match="class 0 has 1 usable"):
        draw_folds(np.zeros(4, int), [1], None, 1, 0, excluded=[0, 1, 2])


@pytest.mark.parametrize(("sizes", "test", "folds"), [([0], None, 1), ([5], 0, 1), ([5], None, 0)])
def test_sizes_below_one_are_refused(sizes: list[int], test: int | None, folds: int) -> None:
    with pytest.raises(UserError, match="at least 1"):
        draw_folds(LABELS, sizes, test, folds, 0)


def test_short_classes_are_counted_anew_when_images_are_left_out() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    fold = Fold({1: np.array([0, 3, 6]), 2: np.array([0, 1, 3, 4, 6, 7])}, np.array([2, 5, 8]), {})
    left = without(fold, labels, {0, 1, 3, 8})
    assert {size: rows.tolist() for size, rows in left.train.items()} == {1: [6], 2: [4, 6, 7]}
    assert left.test.tolist() == [2, 5]
    assert left.short == {1: {0: 0, 1: 0}, 2: {0: 0, 1: 1}}
    # what was short before stays so
    (drawn,) = draw_folds(np.repeat([0, 1], [40, 12]), [5, 30], None, folds=1, seed=0)
    assert without(drawn, np.repeat([0, 1], [40, 12]), ()).short == drawn.short
