"""Average precision by hand, by VOC's own program and by scikit-learn's; its interval."""

import numpy as np
import pytest

from zfnet.stats.precision import average_precision, mean_precision, precisions


def devkit(scores, positive, eleven_points):
    """VOC's own program in other words: pad the curve, make it fall, sum its steps."""
    order = np.argsort(-scores)
    hits = positive[order]
    recall = np.concatenate([[0], np.cumsum(hits) / hits.sum(), [1]])
    precision = np.concatenate([[0], np.cumsum(hits) / np.arange(1, len(hits) + 1), [0]])
    if eleven_points:
        tops = [precision[recall >= t - 1e-12].max(initial=0) for t in np.linspace(0, 1, 11)]
        return np.mean(tops)
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    steps = np.flatnonzero(recall[1:] != recall[:-1])
    return ((recall[steps + 1] - recall[steps]) * precision[steps + 1]).sum()


def test_average_precision_by_hand():
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    # recall 0.5 at precision 1, recall 1 at precision 2/3
    found = average_precision(scores, np.array([1, 0, 1, 0]))
    assert found == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    eleven = average_precision(scores, np.array([1, 0, 1, 0]), eleven_points=True)
    assert eleven == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    # precision is 1/2 then 2/3: the envelope lifts the first to 2/3
    assert average_precision(scores, np.array([0, 1, 1, 0])) == pytest.approx(2 / 3)
    assert np.isnan(average_precision(scores, np.zeros(4)))
    # equal scores have one rank: 2 of 4 at every recall
    assert average_precision(np.ones(4), np.array([1, 0, 1, 0])) == pytest.approx(0.5)


@pytest.mark.parametrize("eleven_points", [False, True])
def test_average_precision_is_that_of_vocs_program(eleven_points):
    rng = np.random.default_rng(0)
    for n in (5, 20, 200):
        for _ in range(20):
            scores, positive = rng.random(n), rng.random(n) < 0.4
            positive[rng.integers(n)] = True
            found = average_precision(scores, positive, eleven_points=eleven_points)
            assert found == pytest.approx(devkit(scores, positive, eleven_points))


def test_the_area_is_scikit_learns_where_precision_falls_by_itself():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(1)
    equal = 0
    for _ in range(120):
        positive, scores = rng.random(8) < 0.5, rng.permutation(8).astype(float)
        if not positive.any():
            continue
        found = average_precision(scores, positive)
        theirs = average_precision_score(positive, scores)
        ranked = positive[np.argsort(-scores)]
        at_hits = (np.cumsum(ranked) / np.arange(1, 9))[ranked]
        if (np.diff(at_hits) <= 0).all():
            assert found == pytest.approx(theirs)
            equal += 1
        else:
            assert found > theirs
    assert equal > 20


@pytest.mark.parametrize("eleven_points", [False, True])
def test_the_interval_of_the_mean_precision_holds_its_value(eleven_points):
    rng = np.random.default_rng(2)
    present = rng.random((400, 5)) < 0.3
    counts = rng.random((400, 5)) < 0.9
    noise = rng.normal(size=present.shape)
    # a poor ranking's samples lie above its value: the interval holds it all the same
    for scores in (present + noise, noise):
        each = precisions(scores, present, counts, eleven_points=eleven_points)
        by_hand = [
            devkit(scores[counts[:, k], k], present[counts[:, k], k], eleven_points)
            for k in range(5)
        ]
        assert each == pytest.approx(np.array(by_hand))
        mean = mean_precision(scores, present, counts, eleven_points=eleven_points, seed=1)
        assert mean.value == pytest.approx(100 * each.mean())
        assert (mean.n, mean.unit) == (400, "%")
        assert mean.low < mean.value < mean.high
        assert 3 < mean.high - mean.low < 20
    # a perfect ranking stays perfect in every sample
    best = mean_precision(present.astype(float), present, counts, eleven_points=eleven_points)
    assert (best.low, best.value, best.high) == pytest.approx((100, 100, 100))
