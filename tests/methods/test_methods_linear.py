"""Linear classifiers in the span of the training images: scikit-learn's, on the raw features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from zfnet.errors import UserError
from zfnet.methods import linear
from zfnet.methods.linear import LinearSVM, Sigmoids, Softmax, Span, fit_best, gram

CLASSES = 4


def rectified(n: int, d: int, spread: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Features as a net's: float32, not negative, one direction a class; and their labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % CLASSES
    centres = rng.normal(size=(CLASSES, d))
    values = centres[labels] + spread * rng.normal(size=(n, d))
    return np.maximum(values, 0).astype(np.float32), labels


class Part:
    """Features (120, d) in the span of the first 80, and as scikit-learn gets them."""

    def __init__(self, d: int = 600, *, unit: bool = False, spread: float = 1.5) -> None:
        self.features, self.labels = rectified(120, d, spread)
        self.train, self.test = np.arange(80), np.arange(80, 120)
        K = gram(self.features)
        span = Span.of(K, self.train, unit=unit)
        self.x, self.rest = span.train, span.project(K, self.test)
        raw = self.features.astype(np.float64)
        if unit:
            raw /= np.linalg.norm(raw, axis=1, keepdims=True)
        self.raw = raw / span.scale


def test_gram_in_blocks_is_the_product(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "features.npy", rectified(600, 400)[0])
    features = np.load(tmp_path / "features.npy", mmap_mode="r")
    exact = features.astype(np.float64) @ features.T.astype(np.float64)
    assert_allclose(gram(features), exact, rtol=1e-12)
    monkeypatch.setattr(linear, "BLOCK_MIB", 1)
    assert_allclose(gram(features), exact, rtol=1e-12)  # blocks of 218 columns
    rows = np.array([7, 3, 550, 3])
    assert_allclose(gram(features, rows), exact[np.ix_(rows, rows)], rtol=1e-12)


def test_gram_tells_features_that_are_no_numbers() -> None:
    features, _ = rectified(30, 500)
    features[11, 3] = np.nan
    with pytest.raises(UserError, match=r"1 of 30 images \(first: row 11\)"):
        gram(features)


@pytest.mark.parametrize("d", [600, 50])
def test_coordinates_keep_every_inner_product(d: int) -> None:
    part = Part(d)
    train, test = part.raw[part.train], part.raw[part.test]
    assert part.x.shape == (80, min(80, d))
    assert (train**2).sum(1).mean() == pytest.approx(1)
    assert_allclose(part.x @ part.x.T, train @ train.T, atol=1e-12)
    assert_allclose(part.rest @ part.x.T, test @ train.T, atol=1e-9)


def test_an_image_that_is_there_twice_adds_no_dimension() -> None:
    features, _ = rectified(80, 600)
    span = Span.of(gram(np.concatenate([features, features[:5]])), np.arange(85))
    assert span.train.shape == (85, 80)
    assert_allclose(span.train[:5], span.train[80:], atol=1e-9)


@pytest.mark.parametrize(
    ("part", "C"), [({}, 0.1), ({}, 30.0), ({"unit": True}, 1.0), ({"d": 30, "spread": 3}, 1.0)]
)
def test_the_svm_is_linear_svc_on_the_raw_features(part: dict, C: float) -> None:
    made = Part(**part)
    labels, raw = made.labels, made.raw
    ours = LinearSVM(C, tol=1e-10).fit(made.x, labels[made.train])
    theirs = LinearSVC(C=C, tol=1e-10, max_iter=100_000).fit(raw[made.train], labels[made.train])
    assert_allclose(ours.scores(made.rest), theirs.decision_function(raw[made.test]), atol=1e-6)
    assert_allclose(ours.intercept, theirs.intercept_, atol=1e-6)
    predicted = ours.predict(made.rest)
    assert np.array_equal(predicted, theirs.predict(raw[made.test]))
    assert 0.4 < (predicted == labels[made.test]).mean() <= 1


@pytest.mark.parametrize("C", [0.1, 30.0])
def test_the_softmax_is_logistic_regression_on_the_raw_features(C: float) -> None:
    made = Part()
    ours = Softmax(C, tol=1e-10).fit(made.x, made.labels[made.train])
    theirs = LogisticRegression(C=C, tol=1e-10, solver="newton-cg", max_iter=10_000)
    theirs.fit(made.raw[made.train], made.labels[made.train])
    scores = ours.scores(made.rest)
    # a softmax knows its scores but for one number an image
    scores -= scores.mean(1, keepdims=True)
    expected = theirs.decision_function(made.raw[made.test])
    assert_allclose(scores, expected - expected.mean(1, keepdims=True), atol=1e-6)


def test_sigmoids_are_one_logistic_regression_a_class() -> None:
    made, rng = Part(), np.random.default_rng(1)
    train, labels = made.train, made.labels[made.train]
    present = (labels[:, None] == np.arange(CLASSES)) | (rng.random((80, CLASSES)) < 0.2)
    weight = (rng.random((80, CLASSES)) < 0.8).astype(float)
    scores = Sigmoids(2.0, tol=1e-10).fit(made.x, present, weight).scores(made.rest)
    for k in range(CLASSES):
        one = LogisticRegression(C=2.0, tol=1e-10, solver="newton-cg", max_iter=10_000)
        one.fit(made.raw[train], present[:, k], sample_weight=weight[:, k])
        assert_allclose(scores[:, k], one.decision_function(made.raw[made.test]), atol=1e-6)


def test_two_classes() -> None:
    features, labels = rectified(80, 200)
    labels = labels % 2
    span = Span.of(gram(features), np.arange(80))
    ours = LinearSVM(1.0, tol=1e-10).fit(span.train, labels)
    theirs = LinearSVC(C=1.0, tol=1e-10, max_iter=100_000).fit(span.train, labels)
    assert_allclose(ours.scores(span.train)[:, 1], theirs.decision_function(span.train), atol=1e-6)
    with pytest.raises(UserError, match="at least two classes"):
        LinearSVM().fit(span.train, np.zeros(80))
    assert Softmax().fit(span.train, labels).predict(span.train).tolist() == labels.tolist()


@pytest.mark.parametrize("kind", [LinearSVM, Softmax])
def test_a_start_changes_the_way_and_not_the_end(kind) -> None:
    made = Part()
    labels = made.labels[made.train]
    near = kind(1.0, tol=1e-9).fit(made.x, labels)
    started = kind(2.0, tol=1e-9).fit(made.x, labels, start=near)
    alone = kind(2.0, tol=1e-9).fit(made.x, labels)
    assert_allclose(started.weights, alone.weights, atol=1e-7)


def plain_search(x, labels, grid, folds: int, seed: int) -> dict[float, float]:
    """Mean accuracy of every C over the inner parts, by scikit-learn."""
    part = linear._dealt(labels, folds, np.random.default_rng([seed, len(labels), 31]))
    found = {}
    for C in grid:
        right = np.zeros(len(labels), bool)
        for k in range(folds):
            svc = LinearSVC(C=C, dual=False).fit(x[part != k], labels[part != k])
            right[part == k] = svc.predict(x[part == k]) == labels[part == k]
        found[C] = np.mean([right[labels == c].mean() for c in np.unique(labels)])
    return found


def test_c_is_that_of_a_plain_search_over_the_same_parts() -> None:
    features, labels = rectified(90, 60, spread=4)
    x = Span.of(gram(features), np.arange(90)).train
    grid = [0.01, 1.0, 100.0]
    chosen = fit_best(LinearSVM, x, labels, grid, seed=5, inner_folds=3)
    score = plain_search(x, labels, grid, 3, 5)
    assert max(score, key=score.__getitem__) == chosen.C
    assert len(set(score.values())) > 1
    exact = LinearSVM(chosen.C, tol=1e-10).fit(x, labels)
    assert_allclose(chosen.scores(x), exact.scores(x), atol=1e-2)


def test_what_all_features_have_in_common_does_not_end_a_search_early() -> None:
    """Of many classes against the rest, the gradient at zero weights is nearly all of the mean."""
    rng, grid = np.random.default_rng(3), [1.0, 10.0, 100.0]
    labels = np.repeat(np.arange(40), 12)
    silent = rng.normal(size=(480, 30))
    telling = 0.2 * (rng.normal(size=(40, 30))[labels] + 0.7 * rng.normal(size=(480, 30)))
    features = np.hstack([silent, telling]) + 10
    x = Span.of(gram(features), np.arange(480)).train
    score = plain_search(x, labels, grid, 2, 0)
    assert score[100.0] > 2 * score[10.0]
    chosen = fit_best(LinearSVM, x, labels, grid, seed=0, inner_folds=2)
    assert chosen.C == 100.0
    exact = LinearSVC(C=100.0, dual=False, tol=1e-6).fit(x, labels)
    assert (chosen.predict(x) == exact.predict(x)).mean() >= 0.995


def test_inner_parts_hold_as_many_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [9, 10, 3])
    part = linear._dealt(labels, 3, np.random.default_rng(0))
    for label in (0, 1, 2):
        counts = np.bincount(part[labels == label], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_equal_scores_choose_the_smallest_c() -> None:
    x = np.repeat(np.eye(3) * 10, 6, 0)
    labels = np.repeat([4, 5, 9], 6)
    fitted = fit_best(Softmax, x, labels, [10.0, 0.1, 1.0], seed=0)
    assert fitted.C == 0.1
    assert fitted.predict(np.eye(3)).tolist() == [4, 5, 9]


@pytest.mark.parametrize(("grid", "C"), [([0.1, 1.0, 10.0], 1.0), ([3.0], 3.0)])
def test_one_image_a_class_leaves_nothing_to_choose_by(grid: list[float], C: float) -> None:
    fitted = fit_best(LinearSVM, np.eye(3), np.array([2, 3, 5]), grid, seed=0)
    assert fitted.C == C
    assert fitted.predict(np.eye(3)).tolist() == [2, 3, 5]


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("counts", [(8, 8, 8), (12, 9, 3)])
def test_features_that_never_vary_leave_a_softmax_how_many_of_each_class(
    value: float, counts: tuple[int, ...]
) -> None:
    """A dead layer, of rank 0 or 1; the gradient of equal classes is rounding from the start."""
    labels = np.repeat([0, 1, 2], counts)
    K = gram(np.full((24, 40), value, np.float32))
    span = Span.of(K, np.arange(24))
    assert span.train.shape == (24, int(value))
    fitted = fit_best(Softmax, span.train, labels, [1.0, 10.0, 1000.0], seed=0)
    scores = fitted.scores(span.project(K, np.arange(24)))
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert_allclose(p, np.broadcast_to(np.array(counts) / 24, (24, 3)), atol=1e-3)
    hinge = fit_best(LinearSVM, span.train, labels, [1.0, 10.0], seed=0)
    shares = 2 * np.array(counts) / 24 - 1  # the squared hinge's best constant
    assert_allclose(hinge.scores(span.train), np.broadcast_to(shares, (24, 3)), atol=0.06)


@pytest.mark.parametrize("varies", [1e-1, 1e-3, 1e-4, 1e-6])
@pytest.mark.parametrize("rank", ["one", "full"])
def test_features_that_hardly_vary_are_fitted_for_all_that(varies: float, rank: str) -> None:
    """A large common part says nothing to a softmax, whose intercept is free."""
    rng = np.random.default_rng(0)
    n, d = 60, 200
    labels = np.arange(n) % CLASSES
    own = rng.normal(size=(n, 1)) * rng.random(d) if rank == "one" else rng.normal(size=(n, d))
    features = (1 + varies * own).astype(np.float32)
    x = Span.of(gram(features), np.arange(n)).train
    for kind in (Softmax, LinearSVM):
        found = fit_best(kind, x, labels, [1.0, 10.0, 100.0, 1000.0], seed=0, inner_folds=2)
        assert np.isfinite(found.scores(x)).all()
        kind(1000.0).fit(x.astype(np.float32), labels)
    if varies < 1e-4:  # less is lost in float32 features and in the Gram matrix
        return
    centred = x - x.mean(0)
    C = 0.1 / varies**2
    alone = Softmax(C, tol=1e-8).fit(centred, labels)
    for tol in (1e-8, 1e-6):
        fitted = Softmax(C, tol=tol).fit(x, labels)
        scores, expected = fitted.scores(x), alone.scores(centred)
        gaps = scores - scores.mean(1, keepdims=True) - expected + expected.mean(1, keepdims=True)
        assert np.abs(gaps).max() < 1e-3
        assert np.abs(expected - expected.mean(0)).max() > 0.01  # something was learnt


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_without_any_sense_end_too(dtype) -> None:
    """Every image twice, with two labels: nothing can be separated, at any C, in either type."""
    features, _ = rectified(40, 90)
    x = Span.of(gram(np.concatenate([features, features])), np.arange(80)).train.astype(dtype)
    labels = np.repeat([0, 1], 40)
    for kind in (Softmax, LinearSVM):
        for C in (1e-6, 1e6):
            scores = kind(C).fit(x, labels).scores(x)
            assert np.abs(scores[:, 0] - scores[:, 1]).max() < 1e-3
