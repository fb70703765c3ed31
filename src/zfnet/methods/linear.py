"""Linear classifiers on features too wide to hold, exactly, in the span of the training images.

A linear classifier with a squared penalty on its weights has its weights in the span of the n
training features (adding anything orthogonal to them raises the penalty and changes no score). So
n coordinates an image say as much as its d features:

    K = gram(features)                     # (n, n) of all images, once a layer
    span = Span.of(K, train_rows)          # K_train = X Xᵀ
    found = fit_best(LinearSVM, span.train, labels[train_rows], grid, seed=0)
    predicted = found.predict(span.project(K, test_rows))

The result is that of scikit-learn's `LinearSVC` (squared hinge, one against the rest, intercept as
a feature of value 1) or multinomial `LogisticRegression` on the features divided by `span.scale`,
to the solver's tolerance. One `gram` serves every fold, size and classifier.

The solver is our own, and scikit-learn is not imported: liblinear handles one class after the other
and one image after the other, while all classes at once are products of matrices.

Scaling: features are divided by the root of the mean squared norm of the training images
(`Span.scale`), one number a layer and fold, so that C has a comparable meaning in all layers. No
feature is centred or scaled by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from zfnet.errors import UserError

BLOCK_MIB = 128
SEARCH_TOL = 1e-3  # of the fits that only serve to choose C
NEWTON_STEPS = 200
CG_STEPS = 500
ROUNDING = 500  # machine epsilons of the objective below which it is not known to fall
GRADIENT_ROUNDING = 10  # machine epsilons of its terms below which a gradient is as good as 0
STILL_STEPS = 10  # so many steps in a row that change the objective by rounding alone end the fit


def gram(features: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Inner products of all pairs of rows of `features` (N, d): (N, N) float64.

    features: float32 or float64, also memory-mapped; read once, in blocks of columns, summed in
    float64. rows: (n,) only these, in this order. Costs n² d floating-point operations and, beside
    the result, about three times BLOCK_MIB. Raises UserError if a feature is not a finite number.
    """
    from scipy.linalg.blas import dsyrk

    n, d = features.shape
    n = n if rows is None else len(rows)
    total = np.zeros((n, n), order="F")
    width = max(1, (BLOCK_MIB << 20) // (8 * max(n, 1)))
    for start in range(0, d, width):
        columns = features[:, start : start + width]
        block = np.ascontiguousarray(columns if rows is None else columns[rows], np.float64)
        # the transpose of C order is the Fortran order that BLAS wants: nothing is copied
        total = dsyrk(1.0, block.T, beta=1.0, c=total, trans=1, lower=1, overwrite_c=1)
    bad = np.flatnonzero(~np.isfinite(np.diagonal(total)))
    if len(bad):
        raise UserError(
            f"features of {len(bad)} of {n} images (first: row {bad[0]}) are not finite numbers; "
            "look at the net's weights"
        )
    for start in range(0, n, 1024):  # the upper triangle, without a second matrix of this size
        stop = min(start + 1024, n)
        corner = total[start:stop, start:stop]
        corner[...] = np.tril(corner) + np.tril(corner, -1).T
        total[start:stop, stop:] = total[stop:, start:stop].T
    return total


@dataclass(frozen=True)
class Span:
    """Coordinates in the span of some training images, which keep all inner products with them.

    train: (n, r) float64, r ≤ n the rank. scale: what features were divided by. unit: whether each
    image was divided by its own norm before.
    """

    train: np.ndarray
    scale: float
    unit: bool
    _basis: np.ndarray = field(repr=False)  # rows of r training images in the Gram matrix
    _factor: np.ndarray = field(repr=False)  # (r, r) lower: the coordinates of those

    @staticmethod
    def of(gram: np.ndarray, rows: np.ndarray, *, unit: bool = False) -> Span:
        """The span of the images `rows` (n,) of a Gram matrix of all images (N, N).

        By Cholesky's factorisation with pivots: each step takes the image that the earlier ones
        explain least, and it ends when nothing is left but rounding, as with fewer dimensions than
        images, or an image that is there twice. n³ / 3 operations; the eigenvectors that would do
        the same cost thirty times that.
        """
        from scipy.linalg.lapack import dpstrf

        rows = np.asarray(rows)
        own = np.asfortranarray(_products(gram, rows, rows, unit))
        scale = float(np.sqrt(np.diagonal(own).mean())) or 1.0  # 1: every feature is 0
        own /= scale**2
        rounding = 10 * len(rows) * np.finfo(np.float64).eps * float(np.diagonal(own).max())
        factor, order, rank, info = dpstrf(own, tol=rounding, lower=1, overwrite_a=1)
        if info < 0:
            raise ValueError(f"dpstrf: argument {-info}")
        order = order - 1
        lower = np.tril(factor)[:, :rank]
        train = np.empty((len(rows), rank))
        train[order] = lower
        factor = np.ascontiguousarray(lower[:rank])
        return Span(train, scale, unit, rows[order[:rank]], factor)

    def project(self, gram: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Coordinates (m, r) of the images `rows` (m,), their part outside the span left out."""
        from scipy.linalg import solve_triangular

        products = _products(gram, self._basis, np.asarray(rows), self.unit)
        products /= self.scale**2
        return np.ascontiguousarray(solve_triangular(self._factor, products, lower=True).T)


def _products(gram: np.ndarray, left: np.ndarray, right: np.ndarray, unit: bool) -> np.ndarray:
    """Inner products (left, right) of the features, divided by their norms if `unit`."""
    block = gram[np.ix_(left, right)]
    if unit:
        norms = [np.sqrt(gram[rows, rows]) for rows in (left, right)]
        one, other = (np.where(norm > 0, norm, 1) for norm in norms)
        block /= one[:, None] * other
    return block


@dataclass(frozen=True)
class LinearFit:
    """A fitted classifier: scores are coordinates @ weights + intercept.

    classes: (K,) labels, ascending; weights: (r, K); intercept: (K,); C: what it was fitted with.
    """

    classes: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    C: float

    def scores(self, coordinates: np.ndarray) -> np.ndarray:
        """Score of each class: (m, r) → (m, K)."""
        return coordinates @ self.weights + self.intercept

    def predict(self, coordinates: np.ndarray) -> np.ndarray:
        """Label of the largest score: (m, r) → (m,)."""
        return self.classes[self.scores(coordinates).argmax(1)]


@dataclass(frozen=True)
class LinearSVM:
    """½ (|w|² + b²) + C Σ max(0, 1 − y (w·x + b))², each class against the rest, as `LinearSVC`."""

    C: float = 1.0
    tol: float = 1e-4  # of the gradient's norm: see `_against_the_rest`

    def fit(self, x: np.ndarray, labels: np.ndarray, start: LinearFit | None = None) -> LinearFit:
        """Fit coordinates (n, r) to labels (n,); `start`: an earlier fit to begin at."""
        classes, is_class = _one_hot(labels)
        loss = _SquaredHinge(np.where(is_class, x.dtype.type(1), x.dtype.type(-1)))
        tol = _against_the_rest(self.tol, is_class, np.ones(is_class.shape))
        return _minimise(x, loss, classes, self.C, tol, start, free_intercept=False)


@dataclass(frozen=True)
class Softmax:
    """½ |W|² + C Σ −log softmax(W x + b)[y], as a multinomial `LogisticRegression`; b is free."""

    C: float = 1.0
    tol: float = 1e-4  # of the gradient's norm, relative to the one at zero weights

    def fit(self, x: np.ndarray, labels: np.ndarray, start: LinearFit | None = None) -> LinearFit:
        """Fit coordinates (n, r) to labels (n,); `start`: an earlier fit to begin at."""
        classes, is_class = _one_hot(labels)
        loss = _CrossEntropy(is_class.astype(x.dtype))
        return _minimise(x, loss, classes, self.C, self.tol, start, free_intercept=True)


@dataclass(frozen=True)
class Sigmoids:
    """½ |w|² + C Σ log(1 + exp(−y (w·x + b))) for each class by itself, b free; for several labels.

    As one binary `LogisticRegression` a class.
    """

    C: float = 1.0
    tol: float = 1e-4  # of the gradient's norm: see `_against_the_rest`

    def fit(self, x: np.ndarray, present: np.ndarray, weight: np.ndarray) -> LinearFit:
        """Fit coordinates (n, r) to `present` (n, K) bool, which classes an image shows.

        weight: (n, K), 0 where an image does not count for a class (difficult objects).
        `classes` of the result is 0..K−1; `predict` then means nothing, `scores` does.
        """
        y = np.where(present, 1.0, -1.0)
        classes = np.arange(y.shape[1])
        tol = _against_the_rest(self.tol, present, weight)
        return _minimise(x, _LogLoss(y, weight), classes, self.C, tol, None, free_intercept=True)


def fit_best(
    classifier: type[LinearSVM] | type[Softmax],
    x: np.ndarray,
    labels: np.ndarray,
    grid: Sequence[float],
    *,
    seed: int,
    inner_folds: int = 3,
) -> LinearFit:
    """Choose C from `grid` on the training images alone, then fit them all with it.

    x: (n, r), labels: (n,). The images of each class are dealt at random over `inner_folds` parts;
    each part is predicted by a fit to the others, and C is scored by the mean per-class accuracy
    over all of them. Equal scores: the smallest C. Where a class has a single image nothing can be
    held out: the middle of the grid.
    """
    values = sorted(grid)
    labels = np.asarray(labels)
    chosen, start = values[len(values) // 2], None
    if len(values) > 1 and np.unique(labels, return_counts=True)[1].min() > 1:
        part = _dealt(labels, inner_folds, np.random.default_rng([seed, len(labels), 31]))
        right = np.zeros((len(values), len(labels)))
        rough = x.astype(np.float32)  # enough to rank values of C, in half the time
        for number in range(inner_folds):
            held, rest = part == number, part != number
            start = None
            for i, value in enumerate(values):
                start = classifier(value, SEARCH_TOL).fit(rough[rest], labels[rest], start)
                right[i, held] = start.predict(rough[held]) == labels[held]
        _, is_class = _one_hot(labels)
        scores = (right @ is_class / is_class.sum(0)).mean(1)
        chosen = values[int(np.argmax(scores))]
        start = None
        for value in values[: values.index(chosen) + 1]:  # the way to a large C is by small ones
            start = classifier(value, SEARCH_TOL).fit(rough, labels, start)
    return classifier(chosen).fit(x, labels, start)


def _dealt(labels: np.ndarray, parts: int, rng: np.random.Generator) -> np.ndarray:
    """A part 0..parts−1 for each image (n,), spread evenly within each class."""
    part = np.empty(len(labels), np.int64)
    for turn, label in enumerate(np.unique(labels)):
        own = rng.permutation(np.flatnonzero(labels == label))
        part[own] = (np.arange(len(own)) + turn) % parts
    return part


def _one_hot(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes (K,) and whether each image is of each, (n, K)."""
    classes = np.unique(labels)
    if len(classes) < 2:
        raise UserError("a classifier needs at least two classes of training images")
    return classes, np.asarray(labels)[:, None] == classes


def _against_the_rest(tol: float, is_class: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Tolerance (K,) of each class's gradient, relative to the one at zero weights, as liblinear's.

    is_class: (n, K) bool; weight: (n, K), 0 where an image does not count for a class. At zero
    weights the many images of the other classes all pull the same way, along what features have in
    common, and that is done with after a step or two: what tells a rare class from them is smaller
    by the share that it has of the images.
    """
    images = np.count_nonzero(weight, axis=0)
    own = np.count_nonzero(is_class & (weight > 0), axis=0)
    return tol * np.maximum(np.minimum(own, images - own), 1) / np.maximum(images, 1)


# ---------------------------------------------------------------------------------------- losses
# Each is a function of the scores (n, K). `at` returns its value (a column each, or one number if
# `joint`), its gradient (n, K), and the weights that `curve` needs to apply its second derivative;
# `only` is the same for some of the columns.


class _SquaredHinge:
    joint = False

    def __init__(self, y: np.ndarray) -> None:
        self.y = y

    def only(self, columns: np.ndarray) -> _SquaredHinge:
        return _SquaredHinge(self.y[:, columns])

    def at(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        short = np.maximum(1 - self.y * scores, 0)
        return (short * short).sum(0), -2 * self.y * short, 2 * (short > 0).astype(short.dtype)

    def curve(self, weights: np.ndarray, z: np.ndarray) -> np.ndarray:
        return weights * z


class _LogLoss(_SquaredHinge):
    def __init__(self, y: np.ndarray, weight: np.ndarray) -> None:
        self.y, self.weight = y, weight

    def only(self, columns: np.ndarray) -> _LogLoss:
        return _LogLoss(self.y[:, columns], self.weight[:, columns])

    def at(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from scipy.special import expit

        margin = self.y * scores
        wrong = expit(-margin)
        value = (self.weight * np.logaddexp(0, -margin)).sum(0)
        return value, -self.weight * self.y * wrong, self.weight * wrong * (1 - wrong)


class _CrossEntropy:
    joint = True

    def __init__(self, target: np.ndarray) -> None:
        self.target = target

    def at(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shifted = scores - scores.max(1, keepdims=True)
        raised = np.exp(shifted)
        total = raised.sum(1, keepdims=True)
        value = (np.log(total[:, 0]) - (shifted * self.target).sum(1)).sum()
        p = raised / total
        return np.array([value]), p - self.target, p

    def curve(self, weights: np.ndarray, z: np.ndarray) -> np.ndarray:
        pulled = weights * z
        return pulled - weights * pulled.sum(1, keepdims=True)


# ---------------------------------------------------------------------------------------- solver
def _minimise(
    x: np.ndarray,
    loss: Any,
    classes: np.ndarray,
    C: float,
    tol: float | np.ndarray,
    start: LinearFit | None,
    *,
    free_intercept: bool,
) -> LinearFit:
    """½ |W|² + C loss(x W + b) by Newton's method, all classes at once.

    Each step solves for its direction by conjugate gradients and is shortened until the objective
    falls. Classes that do not share a loss have steps of their own and drop out when done.
    Ends when the gradient's norm is `tol` (one number, or one a class) of its norm at zero weights,
    or rounding, or when steps no longer change the objective: features that are all zero, or nearly
    the same for every image, tell the classes hardly apart, and their gradient at zero weights may
    itself be rounding.
    Raises RuntimeError after NEWTON_STEPS that all helped.
    """
    x = np.hstack([x, np.ones((len(x), 1), x.dtype)])
    penalty = np.ones((x.shape[1], 1), x.dtype)
    penalty[-1] = 0.0 if free_intercept else 1.0
    weights = np.zeros((x.shape[1], len(classes)), x.dtype)
    _, slope, _ = loss.at(x @ weights)
    first = _norm(C * (x.T @ slope), loss.joint)
    terms = _norm(C * (np.abs(x).T @ np.abs(slope)), loss.joint)
    goal = np.maximum(tol * first, GRADIENT_ROUNDING * np.finfo(x.dtype).eps * terms)
    if start is not None:
        weights[:-1], weights[-1] = start.weights, start.intercept
    active = np.arange(len(classes))
    still = np.zeros(len(first), np.int64)  # steps in a row that changed nothing
    problem = _Problem(x, loss, C, penalty)
    for _ in range(NEWTON_STEPS):
        own = weights[:, active]
        scores = x @ own
        value, slope, curvature = problem.loss.at(scores)
        gradient = penalty * own + C * (x.T @ slope)
        norm = _norm(gradient, loss.joint)
        going = (norm > goal) & (still < STILL_STEPS)
        if not going.any():
            return LinearFit(classes, weights[:-1].copy(), weights[-1].copy(), C)
        if not loss.joint and not going.all():
            active, goal, first = active[going], goal[going], first[going]
            still = still[going]
            problem = replace(problem, loss=problem.loss.only(going))
            own, scores, gradient = own[:, going], scores[:, going], gradient[:, going]
            value, curvature, norm = value[going], curvature[:, going], norm[going]
        # loosely while far away, closely near the end: Newton then gains digits at every step
        exact = np.minimum(0.1, np.sqrt(norm / np.maximum(first, goal))) * norm
        step = problem.direction(gradient, curvature, np.maximum(exact, 0.3 * goal))
        far, moved = problem.length(own, scores, value, gradient, step)
        weights[:, active] = own + far * step
        still = np.where(moved, 0, still + 1)
    raise RuntimeError(
        f"the classifier did not converge in {NEWTON_STEPS} steps at C={C:g}; try a smaller C"
    )


@dataclass(frozen=True)
class _Problem:
    """What a Newton step needs; x: (n, r + 1) with the intercept's ones."""

    x: np.ndarray
    loss: Any
    C: float
    penalty: np.ndarray

    def direction(
        self, gradient: np.ndarray, curvature: np.ndarray, exact: np.ndarray
    ) -> np.ndarray:
        """Solve (second derivative) step = −gradient until the rest's norm is `exact`."""
        joint = self.loss.joint
        step, rest = np.zeros_like(gradient), -gradient
        search, square = rest.copy(), _dot(rest, rest, joint)
        for _ in range(CG_STEPS):
            going = np.sqrt(square) > exact
            if not going.any():
                break
            bent = self.loss.curve(curvature, self.x @ search)
            applied = self.penalty * search + self.C * (self.x.T @ bent)
            along = _dot(search, applied, joint)
            share = np.where(going & (along > 0), square / np.where(along > 0, along, 1), 0)
            step += share * search
            rest -= share * applied
            before, square = square, _dot(rest, rest, joint)
            search = rest + np.where(going, square / np.where(before > 0, before, 1), 0) * search
        return step

    def length(
        self,
        own: np.ndarray,
        scores: np.ndarray,
        value: np.ndarray,
        gradient: np.ndarray,
        step: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """How far along `step` to go, and whether the objective then falls by more than rounding.

        1, halved until it falls as it should; 0 where it never does.
        """
        joint = self.loss.joint
        change = self.x @ step
        slope = _dot(gradient, step, joint)
        cross = _dot(own, self.penalty * step, joint)
        square = _dot(step, self.penalty * step, joint)
        fixed = 0.5 * _dot(own, self.penalty * own, joint) + self.C * value
        rounding = ROUNDING * np.finfo(fixed.dtype).eps * np.abs(fixed)
        far = np.ones_like(slope)
        for _ in range(50):
            there, _, _ = self.loss.at(scores + far * change)
            rise = far * cross + 0.5 * far**2 * square + self.C * (there - value)
            bad = rise > 1e-4 * far * slope + rounding
            if not bad.any():
                break
            far = np.where(bad, far / 2, far)
        return np.where(bad, 0, far), ~bad & (rise < -rounding)


def _dot(a: np.ndarray, b: np.ndarray, joint: bool) -> np.ndarray:
    """Inner product of each column, or of the whole as an array of one."""
    return np.array([np.vdot(a, b)]) if joint else np.einsum("ij,ij->j", a, b)


def _norm(a: np.ndarray, joint: bool) -> np.ndarray:
    return np.sqrt(_dot(a, a, joint))
