"""Mean accuracy per class over folds, and its interval by resampling images within classes."""

import numpy as np
import pytest

from zfnet.stats import accuracy
from zfnet.stats.accuracy import accuracies, fold_accuracies

LABELS = np.repeat([0, 1, 2], [40, 25, 60])


def made(*rates, seed=0):
    """Rows of three folds, and predictions that are right at each rate."""
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.permutation(125)[:100]) for _ in range(3)]
    return rows, [[np.where(rng.random(100) < p, LABELS[r], -1) for r in rows] for p in rates]


def test_accuracy_is_the_mean_over_classes_not_over_images():
    labels = np.array([0, 0, 0, 1])
    rows = [np.array([0, 1, 2, 3]), np.array([0, 3])]
    assert fold_accuracies([[0, 0, 0, 0], [1, 1]], rows, labels).tolist() == [50, 50]
    own = accuracies({"": [[1, 0, 0, 0], [1, 1]]}, rows, labels, 0)[""]
    assert own.folds.tolist() == pytest.approx([100 / 3, 50])
    assert own.deviation == pytest.approx(np.std([100 / 3, 50], ddof=1))
    assert accuracies({"": [[1, 0, 0, 0]]}, rows[:1], labels, 0)[""].deviation is None


def test_the_interval_is_that_of_resampling_the_images_of_every_class(monkeypatch):
    monkeypatch.setattr(accuracy, "DRAWS", 4000)
    rows, (predicted,) = made(0.7)
    found = accuracies({"": predicted}, rows, LABELS, 1)[""].estimate(invalid="at chance")
    assert found.value == pytest.approx(fold_accuracies(predicted, rows, LABELS).mean())
    images = np.unique(np.concatenate(rows))
    assert (found.n, found.unit, found.invalid) == (len(images), "%", "at chance")
    assert found.covers == ("images",)
    table = {
        (f, r): p == LABELS[r] for f in range(3) for r, p in zip(rows[f], predicted[f], strict=True)
    }
    rng, sample = np.random.default_rng(0), []
    for _ in range(800):  # the same by loops
        drawn = [
            rng.choice(own, len(own)) for own in (images[LABELS[images] == c] for c in range(3))
        ]
        folds = [
            np.mean([np.mean([table[f, r] for r in own if (f, r) in table]) for own in drawn])
            for f in range(3)
        ]
        sample.append(100 * np.mean(folds))
    low, high = np.quantile(sample, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=1)


def test_all_classifiers_share_their_draws():
    rows, (one, other) = made(0.7, 0.4)
    both = accuracies({"one": one, "other": other, "again": one}, rows, LABELS, 5)
    assert np.array_equal(both["one"].draws, both["again"].draws)
    nothing = (both["one"] - both["again"]).estimate(unit="points")
    assert (nothing.low, nothing.value, nothing.high) == (0, 0, 0)
    gap = (both["one"] - both["other"]).estimate()
    assert gap.value == pytest.approx(both["one"].folds.mean() - both["other"].folds.mean())
    # one by itself gets the same draws: equal answers, equal intervals, in whatever study
    assert np.allclose(accuracies({0: one}, rows, LABELS, 5)[0].draws, both["one"].draws)
