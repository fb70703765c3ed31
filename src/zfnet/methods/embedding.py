"""Codes in two dimensions: t-SNE, the same points on a grid, and how far neighbours stay together.

Spaces are arrays (N, D), one row an image: codes, pixels, or an embedding. What is compared must
be embedded alike: same images, perplexity and seeds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zfnet.errors import UserError
from zfnet.methods.linear import gram

COMPONENTS = 50  # principal components that t-SNE is given, as van der Maaten & Hinton (2008)
LEAST_PERPLEXITY = 5.0  # the lower end of the range for which the method is recommended there
START = 1e-4  # standard deviation of the start along the first component
JITTER = 1e-5
BLOCK_MIB = 24  # of each of the about five arrays that a block of distances needs


def perplexity_for(images: int, perplexity: float = 30.0) -> float:
    """The perplexity asked for, or less where the images are few: at most (N - 1) / 3.

    The similarities of an image reach over its 3 x perplexity nearest. Raises UserError below 5,
    which takes 16 images.
    """
    fits = min(perplexity, (images - 1) / 3)
    if fits < LEAST_PERPLEXITY:
        raise UserError(
            f"t-SNE of {images} images at perplexity {perplexity:g}: it needs a perplexity of at "
            f"least {LEAST_PERPLEXITY:g} and {3 * LEAST_PERPLEXITY + 1:g} images"
        )
    return fits


def principal_components(codes: np.ndarray, components: int = COMPONENTS) -> np.ndarray:
    """Coordinates on the first principal components: (N, D) → (N, min(components, N)) float64.

    Exact, from the inner products (N, N); distances stay as they are where D ≤ components.
    Columns beyond the rank are 0; the largest coordinate of each column is positive. Raises
    UserError where codes are not finite, or the same for all images.
    """
    from scipy.linalg import eigh

    if codes.ndim != 2 or len(codes) < 2:
        raise UserError(f"codes must be (N, D) with N of at least 2, not {codes.shape}")
    n = len(codes)
    products = gram(codes)
    rounding = 1e-12 * float(np.trace(products))
    mean = products.mean(0)
    products -= mean[:, None] + mean - mean.mean()
    values, vectors = eigh(products, subset_by_index=[max(n - components, 0), n - 1])
    if values[-1] <= rounding:
        raise UserError(f"the codes of all {n} images are the same: nothing to embed")
    result = (vectors * np.sqrt(np.where(values > rounding, values, 0)))[:, ::-1]
    largest = result[np.abs(result).argmax(0), np.arange(result.shape[1])]
    return np.ascontiguousarray(result * np.where(largest < 0, -1, 1))


def embed(codes: np.ndarray, *, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """Barnes-Hut t-SNE of the first 50 principal components: (N, D) → (N, 2) float32.

    The start is the first two components (Kobak & Berens 2019) with a tenth of their size in noise
    from `seed`. Without it scikit-learn's `random_state` changes nothing from this start, and
    several seeds would be one result several times; equal codes would never part. One thread: the
    order of sums changes the result. perplexity: as `perplexity_for`, which also raises.
    Distances between clusters, their sizes and the direction of the axes mean nothing.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # scikit-learn's own way to set threads

    fits = perplexity_for(len(codes), perplexity)
    with threadpool_limits(1):
        space = principal_components(codes)
        start = space[:, :2] / space[:, 0].std() * START
        start += JITTER * np.random.default_rng([seed, len(codes), 47]).normal(size=start.shape)
        tsne = TSNE(perplexity=fits, init=start.astype(np.float32), random_state=seed, n_jobs=1)
        return np.asarray(tsne.fit_transform(space), np.float32)


def grid(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A cell of its own for each point, at the smallest sum of squared distances.

    points: (N, 2), x to the right and y up. shape: rows and columns, at least N cells; the rest
    stay empty. Each axis of the points is scaled to 0..1, as are the cells' centres: outermost
    points meet outermost cells. Returns integers (N, 2): row, from the top, and column. No other
    assignment is better (`linear_sum_assignment`); N x cells float64 in memory.
    """
    from scipy.optimize import linear_sum_assignment

    points = np.asarray(points, np.float64)
    rows, columns = shape
    if points.shape != (len(points), 2) or not points.size or not np.isfinite(points).all():
        raise UserError(f"points must be finite numbers (N, 2), not of shape {points.shape}")
    if min(shape) < 1 or rows * columns < len(points):
        raise UserError(
            f"a grid of {rows} x {columns} has no cell for each of {len(points)} points"
        )
    low, extent = points.min(0), np.ptp(points, axis=0)
    unit = np.where(extent > 0, (points - low) / np.where(extent > 0, extent, 1), 0.5)
    x = (unit[:, :1] - np.linspace(0, 1, columns)) ** 2
    y = (unit[:, 1:] - np.linspace(1, 0, rows)) ** 2
    cost = (y[:, :, None] + x[:, None, :]).reshape(len(points), -1)
    _, cell = linear_sum_assignment(cost)  # the points come in order: there are not fewer cells
    return np.stack(np.divmod(cell, columns), 1)


def neighbour_agreement(points: np.ndarray, labels: np.ndarray, *, k: int = 10) -> np.ndarray:
    """Share of the k nearest other images that have an image's own label: (N, D), (N,) → (N,).

    Euclidean distance in any space. Images at the same distance as the k-th nearest, but for
    rounding, share the places that the nearer ones leave: what a random order among them gives on
    average, so that the order of the images, often by class, does not count. Chance is
    (m - 1) / (N - 1) for a class of m images. Memory beside the points is bounded for any N and D.
    """
    points, labels = np.asarray(points), np.asarray(labels)
    n = len(points)
    if points.ndim != 2 or labels.shape != (n,):
        raise UserError(f"{labels.shape} labels do not pair up with points {points.shape}")
    if not 1 <= k < n:
        raise UserError(f"{k} nearest neighbours: {n} images have 1..{n - 1}")
    agreement = np.empty(n)
    for rows, distance, slack in _distances(points):
        same = labels[rows, None] == labels
        edge = np.partition(distance, k - 1, axis=1)[:, k - 1, None]
        slack = slack + 1e-11 * edge
        nearer = distance < edge - slack
        tied = (distance <= edge + slack) & ~nearer
        places = k - nearer.sum(1)
        sure, shared = (nearer & same).sum(1), (tied & same).sum(1) / tied.sum(1)
        agreement[rows] = (sure + places * shared) / k
    return agreement


def _distances(points: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Blocks of rows: which, their squared distances to all (b, N), and the rounding's (b, 1).

    An image's distance to itself is infinite. By products of matrices in float64, about the mean.
    """
    n, d = points.shape
    mean = points.mean(0, dtype=np.float64)
    size = max(1, (BLOCK_MIB << 20) // (8 * max(n, d)))
    parts = [slice(low, min(low + size, n)) for low in range(0, n, size)]
    for rows in parts:
        own = points[rows] - mean
        norm = np.einsum("nd,nd->n", own, own)[:, None]
        if not np.isfinite(norm).all():
            raise UserError("neighbours: points are not finite numbers")
        distance = np.empty((len(own), n))
        for columns in parts:
            other = own if columns == rows else points[columns] - mean
            distance[:, columns] = own @ other.T
            distance[:, columns] *= -2
            distance[:, columns] += norm + np.einsum("nd,nd->n", other, other)
        distance[np.arange(len(own)), np.arange(rows.start, rows.stop)] = np.inf
        yield rows, distance, 1e-11 * norm


def trustworthiness(space: np.ndarray, embedding: np.ndarray, *, k: int = 10) -> float:
    """How few false neighbours an embedding has: 1 for none (Venna & Kaski 2001).

    space: (N, D), embedding: (N, 2). Of the k nearest in the embedding, those that are not among
    the k nearest in the space count by how far down its ranks they come. With the two exchanged it
    is the continuity. scikit-learn's; 24 N² bytes. Raises UserError for k ≥ N / 2.
    """
    from sklearn.manifold import trustworthiness as measure

    n = len(space)
    if len(embedding) != n:
        raise UserError(f"{n} points of the space and {len(embedding)} of the embedding")
    if not 1 <= k < n / 2:
        raise UserError(
            f"trustworthiness of {k} neighbours needs more than {2 * k} images, not {n}"
        )
    return float(measure(space, embedding, n_neighbors=k))
