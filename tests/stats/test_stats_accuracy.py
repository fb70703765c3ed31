"""Mean accuracy per class over folds, and its interval by resampling images within classes."""

import numpy as np
import pytest

from zfnet.stats import accuracy
from zfnet.stats.accuracy import deviation, fold_means, percent, resampled, right
from zfnet.stats.folds import draw_folds

LABELS = np.repeat([0, 1, 2], [40, 25, 60])


def made(*rates, seed=0):
    """Rows of three folds, and right answers at each rate."""
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.permutation(125)[:100]) for _ in range(3)]
    return rows, [[(rng.random(100) < rate).astype(float) for _ in rows] for rate in rates]


def test_accuracy_is_the_mean_over_classes_not_over_images():
    labels = np.array([0, 0, 0, 1])
    rows = [np.array([0, 1, 2, 3]), np.array([0, 3])]
    hits = right([np.array([0, 0, 0, 0]), np.array([1, 1])], rows, labels)
    assert [each.tolist() for each in hits] == [[1, 1, 1, 0], [0, 1]]
    assert fold_means(hits, rows, labels).tolist() == [0.5, 0.5]
    hits[0][0] = 0
    means = fold_means(hits, rows, labels)
    assert means.tolist() == pytest.approx([1 / 3, 0.5])
    assert deviation(means) == pytest.approx(np.std([1 / 3, 0.5], ddof=1))
    assert deviation(means[:1]) is None


def test_the_interval_is_that_of_resampling_the_images_of_every_class(monkeypatch):
    monkeypatch.setattr(accuracy, "DRAWS", 4000)
    rows, (values,) = made(0.7)
    found = percent(values, rows, LABELS, 1, invalid="at chance")
    assert found.value == pytest.approx(100 * fold_means(values, rows, LABELS).mean())
    images = np.unique(np.concatenate(rows))
    assert (found.n, found.unit, found.invalid) == (len(images), "%", "at chance")
    assert found.covers == ("images",)
    table = {(f, r): v for f in range(3) for r, v in zip(rows[f], values[f], strict=True)}
    rng, sample = np.random.default_rng(0), []
    for _ in range(1500):  # the same by loops
        drawn = [
            rng.choice(own, len(own)) for own in (images[LABELS[images] == c] for c in range(3))
        ]
        folds = [
            np.mean([np.mean([table[f, r] for r in own if (f, r) in table]) for own in drawn])
            for f in range(3)
        ]
        sample.append(100 * np.mean(folds))
    low, high = np.quantile(sample, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.8)
    same = percent([np.ones(100)] * 3, rows, LABELS, 1)
    assert (same.low, same.value, same.high) == (100, 100, 100)


def test_all_that_are_resampled_together_share_their_draws():
    rows, (one, other) = made(0.7, 0.4)
    gaps = [a - b for a, b in zip(one, other, strict=True)]
    values = {"one": one, "other": other, "gap": gaps, "again": one}
    drawn = resampled(values, rows, LABELS, 5)
    assert {len(each) for each in drawn.values()} == {accuracy.DRAWS}
    assert np.allclose(drawn["one"] - drawn["other"], drawn["gap"])
    assert np.array_equal(drawn["one"], drawn["again"])
    assert drawn["gap"].std() > 0
    # a key by itself gets the same draws: equal answers, equal intervals, in whatever study
    assert np.allclose(resampled({0: one}, rows, LABELS, 5)[0], drawn["one"])
    alone = percent(one, rows, LABELS, 5)
    ends = 100 * np.quantile(drawn["one"], [0.025, 0.975])
    assert (alone.low, alone.high) == pytest.approx(tuple(ends))


def test_resampling_every_image_once_gives_the_mean_over_folds(monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    rows = [fold.test for fold in draw_folds(labels, [1], 2, folds=4, seed=0)]
    values = [rng.random(len(own)) for own in rows]
    monkeypatch.setattr(accuracy, "counts", lambda n, rng, draws: np.ones((draws, n), int))
    drawn = resampled({"it": values}, rows, labels, 0)["it"]
    assert np.allclose(drawn, fold_means(values, rows, labels).mean())
