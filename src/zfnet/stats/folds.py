"""Random training and test images a class, as in the paper's transfer tables. Needs numpy alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from zfnet.errors import UserError


@dataclass(frozen=True)
class Fold:
    """One random draw of training and test images; rows are rows of the labels, ascending.

    train: int64 rows by images a class; the images of a smaller size are among those of a larger
    one. test: int64 rows, the same for every size. short: for each size, the classes that have
    fewer training images than it asks, with how many they have.
    """

    train: dict[int, np.ndarray]
    test: np.ndarray
    short: dict[int, dict[int, int]] = field(default_factory=dict)


def draw_folds(
    labels: np.ndarray,
    train_per_class: Sequence[int],
    test_per_class: int | None,
    folds: int,
    seed: int,
    excluded: Collection[int] = (),
    names: Sequence[str] | None = None,
) -> list[Fold]:
    """Draw `folds` random splits of the rows of `labels` (n,), each class on its own.

    Of each class the first `size` rows of a random order train, for every size in
    `train_per_class`; of what the largest size leaves, up to `test_per_class` (None: all) test.
    A class with too few images keeps one for the test and trains on the rest: `Fold.short` tells.
    `excluded` rows are in neither. A fold depends on the labels, the excluded rows, `seed` and its
    own number; what trains does not depend on the other sizes. Folds overlap in their images.
    `names`: class names by label, for errors. Raises `UserError` for a class that has fewer than
    two images, or for sizes below 1.
    """
    labels = np.asarray(labels)
    sizes = sorted(set(train_per_class))
    if min([*sizes, folds, 1 if test_per_class is None else test_per_class]) < 1 or not sizes:
        raise UserError(
            f"train_per_class={list(train_per_class)}, test_per_class={test_per_class}, "
            f"folds={folds}: all must be at least 1"
        )
    usable = np.ones(len(labels), bool)
    usable[np.asarray(sorted(excluded), np.int64)] = False
    rows = {int(c): np.flatnonzero((labels == c) & usable) for c in np.unique(labels)}
    for label, own in rows.items():
        if len(own) < 2:
            raise UserError(
                f"class {names[label] if names else label} has {len(own)} usable images: one to "
                "train and one to test are the least; add images or leave the class out"
            )
    return [_fold(rows, sizes, test_per_class, seed, number) for number in range(folds)]


def without(fold: Fold, labels: np.ndarray, out: Collection[int]) -> Fold:
    """`fold` less the rows `out`; `short` then counts what is left, which may be no image at all.

    labels (n,) of all rows.
    """
    gone = np.asarray(sorted(out), np.int64)
    train = {size: rows[~np.isin(rows, gone)] for size, rows in fold.train.items()}
    classes = np.unique(labels)
    short: dict[int, dict[int, int]] = {}
    for size, rows in train.items():
        counts = (labels[rows][:, None] == classes).sum(0).tolist()
        few = {int(c): had for c, had in zip(classes, counts, strict=True) if had < size}
        if few:
            short[size] = few
    return Fold(train, fold.test[~np.isin(fold.test, gone)], short)


def _fold(
    rows: dict[int, np.ndarray], sizes: list[int], test_per_class: int | None, seed: int, fold: int
) -> Fold:
    rng = np.random.default_rng([seed, fold])
    train: dict[int, list[np.ndarray]] = {size: [] for size in sizes}
    short: dict[int, dict[int, int]] = {}
    test = []
    for label, own in rows.items():
        order = rng.permutation(own)
        for size in sizes:
            taken = min(size, len(order) - 1)
            train[size].append(order[:taken])
            if taken < size:
                short.setdefault(size, {})[label] = taken
        left = order[min(sizes[-1], len(order) - 1) :]
        test.append(left[:test_per_class])
    joined = {size: np.sort(np.concatenate(parts)) for size, parts in train.items()}
    return Fold(joined, np.sort(np.concatenate(test)), short)
