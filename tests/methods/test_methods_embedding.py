"""Embedding: the start and the seeds, an optimal grid, neighbours by hand and by scikit-learn."""

from __future__ import annotations

import ast
import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from zfnet.errors import UserError
from zfnet.methods import embedding
from zfnet.methods.embedding import (
    embed,
    grid,
    neighbour_agreement,
    perplexity_for,
    principal_components,
    trustworthiness,
)


def clusters(n: int, d: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Rectified codes (n, d) float32 around a direction a class, far apart; and their labels."""
    rng = np.random.default_rng(d)
    labels = np.sort(np.arange(n) % classes)
    values = 3 * rng.normal(size=(classes, d))[labels] + 0.5 * rng.normal(size=(n, d))
    return np.maximum(values, 0).astype(np.float32), labels


def squared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return ((one[:, None].astype(np.float64) - other[None]) ** 2).sum(-1)


# --------------------------------------------------------------------------------------- embedding


@pytest.fixture(scope="module")
def embedded() -> dict[int, np.ndarray]:
    return {seed: embed(clusters(90, 120)[0], seed=seed) for seed in (0, 1)}


def test_clusters_that_are_far_apart_stay_apart(embedded: dict[int, np.ndarray]) -> None:
    codes, labels = clusters(90, 120)
    for points in embedded.values():
        assert (points.shape, points.dtype) == ((90, 2), np.float32)
        distance = squared(points, points)
        same = labels[:, None] == labels
        assert distance[same].max() < distance[~same].min()
        assert (neighbour_agreement(points, labels) == 1).all()
        assert trustworthiness(codes, points) > 0.8


def test_one_seed_gives_one_embedding_and_another_seed_another(
    embedded: dict[int, np.ndarray],
) -> None:
    codes, _ = clusters(90, 120)
    assert_array_equal(embed(codes.copy(), seed=0), embedded[0])
    assert np.abs(embedded[0] - embedded[1]).max() > 1e-2  # beyond rounding, also with this start


def test_the_threads_of_the_caller_change_nothing_and_stay_as_they_were(
    embedded: dict[int, np.ndarray],
) -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    with threadpool_limits(2):
        before = [pool["num_threads"] for pool in threadpool_info()]
        assert_array_equal(embed(clusters(90, 120)[0], seed=0), embedded[0])
        assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_equal_images_part_and_one_dimension_will_do() -> None:
    codes = np.repeat(np.arange(20.0)[:, None], 2, 0)
    points = embed(codes)
    assert np.isfinite(points).all()
    assert len(np.unique(points, axis=0)) == 40


@pytest.mark.parametrize(("n", "d"), [(40, 300), (90, 60), (90, 12)])
def test_principal_components_are_those_of_scikit_learn(n: int, d: int) -> None:
    codes, _ = clusters(n, d)
    found = principal_components(codes)
    count = min(n, d, 50)
    expected = PCA(count, svd_solver="full").fit_transform(codes.astype(np.float64))
    assert found.shape == (n, min(n, 50))
    assert_allclose(np.abs(found[:, :count]), np.abs(expected), atol=1e-6)
    assert not found[:, count:].any()
    assert (found.max(0) >= -found.min(0)).all()
    if d < 50:
        assert_allclose(squared(found, found), squared(codes, codes), atol=1e-8)


def test_perplexity_fits_the_images() -> None:
    assert perplexity_for(600) == 30
    assert perplexity_for(600, 50) == 50
    assert perplexity_for(31) == 10
    assert perplexity_for(16) == 5
    for n, asked in ((15, 30.0), (600, 4.0)):
        with pytest.raises(UserError, match=f"{n} images .* at least 5 and 16 images"):
            perplexity_for(n, asked)
    with pytest.raises(UserError, match="15 images"):
        embed(np.eye(15))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.full((20, 7), 0.1), "all 20 images are the same"),
        (np.zeros((20, 7)), "all 20 images are the same"),
        (np.full((20, 7), np.nan), "not finite"),
        (np.zeros((20, 7, 2)), r"\(20, 7, 2\)"),
    ],
)
def test_codes_that_say_nothing_are_refused(codes: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        embed(codes)


def test_scikit_learn_is_imported_where_it_is_needed() -> None:
    source = ast.parse(Path(embedding.__file__).read_text(encoding="utf-8"))
    early = [ast.unparse(node) for node in source.body if isinstance(node, ast.ImportFrom)]
    assert early
    assert not any("sklearn" in line for line in early)


# -------------------------------------------------------------------------------------------- grid


def centres(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The cells of a grid (R·C, 2) and where they lie in the unit square, y up."""
    cells = np.stack(np.meshgrid(range(rows), range(columns), indexing="ij"), -1).reshape(-1, 2)
    return cells, np.stack([cells[:, 1] / (columns - 1), 1 - cells[:, 0] / (rows - 1)], 1)


def cost(points: np.ndarray, cells: np.ndarray, shape: tuple[int, int]) -> float:
    unit = (points - points.min(0)) / np.ptp(points, axis=0)
    at = np.stack([cells[:, 1] / (shape[1] - 1), 1 - cells[:, 0] / (shape[0] - 1)], 1)
    return float(((unit - at) ** 2).sum())


def test_points_of_a_grid_in_any_order_get_their_own_cells() -> None:
    cells, places = centres(5, 8)
    order = np.random.default_rng(3).permutation(40)
    points = places[order] * [300, 7] - [50, 2]  # each axis is scaled
    assert_array_equal(grid(points, (5, 8)), cells[order])
    unused = np.array([3, 17, 30])  # none of them at a corner
    fewer = np.setdiff1d(order, unused)
    assert_array_equal(grid(places[fewer], (5, 8)), cells[fewer])


@pytest.mark.parametrize("shape", [(2, 3), (2, 4), (3, 3)])
def test_no_other_assignment_of_six_points_is_better(shape: tuple[int, int]) -> None:
    points = np.random.default_rng(sum(shape)).normal(size=(6, 2))
    cells, places = centres(*shape)
    chosen = np.array(list(itertools.permutations(range(len(cells)), 6)))
    unit = (points - points.min(0)) / np.ptp(points, axis=0)
    best = squared(unit, places)[np.arange(6), chosen].sum(1).min()
    found = grid(points, shape)
    assert len(np.unique(found, axis=0)) == 6
    assert cost(points, found, shape) == pytest.approx(best, abs=1e-12)


def test_the_assignment_is_no_worse_than_the_greedy_one() -> None:
    for seed in range(5):
        points, (cells, places) = np.random.default_rng(seed).normal(size=(90, 2)), centres(9, 10)
        unit = (points - points.min(0)) / np.ptp(points, axis=0)
        free, greedy = set(range(90)), np.empty(90, np.int64)
        for cell in range(90):  # in the order of the cells the nearest image that is left
            point = min(free, key=lambda i: ((unit[i] - places[cell]) ** 2).sum())
            greedy[point] = cell
            free.remove(point)
        found = grid(points, (9, 10))
        assert_array_equal(np.unique(found, axis=0), cells)
        assert cost(points, found, (9, 10)) < 0.9 * cost(points, cells[greedy], (9, 10))


def test_grids_of_one_row_and_points_in_one_place() -> None:
    points = np.array([[5.0, 1], [2, 1], [9, 1]])
    assert grid(points, (1, 3)).tolist() == [[0, 1], [0, 0], [0, 2]]
    assert grid(points[:, ::-1], (3, 1)).tolist() == [[1, 0], [2, 0], [0, 0]]  # y points up
    assert grid(np.ones((1, 2)), (3, 3)).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("points", "shape", "message"),
    [
        (np.zeros((7, 2)), (2, 3), "2 x 3 has no cell for each of 7"),
        (np.zeros((7, 2)), (0, 9), "0 x 9 has no cell"),
        (np.full((4, 2), np.nan), (2, 2), "finite"),
        (np.zeros((4, 3)), (2, 2), r"\(4, 3\)"),
        (np.zeros((0, 2)), (2, 2), r"\(0, 2\)"),
    ],
)
def test_impossible_grids_are_named(points: np.ndarray, shape: tuple[int, int], message: str):
    with pytest.raises(UserError, match=message):
        grid(points, shape)


# -------------------------------------------------------------------------------------- neighbours


def test_agreement_by_hand() -> None:
    points, labels = np.array([[0.0], [1], [3], [7], [7.5], [20]]), np.array([0, 0, 1, 1, 0, 1])
    # nearest two: 1 3 | 0 3 | 1 0 | 7.5 3 | 7 3 | 7.5 7
    assert neighbour_agreement(points, labels, k=2).tolist() == [0.5, 0.5, 0, 0.5, 0, 0.5]
    assert neighbour_agreement(points, labels, k=5).tolist() == [0.4] * 6  # chance: all others


def test_those_tied_at_the_last_place_share_it_and_an_image_is_not_its_own_neighbour() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    cross = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    assert neighbour_agreement(cross, labels, k=1)[0] == 0.25
    assert neighbour_agreement(cross, labels, k=3)[0] == 0.25
    # from [1, 0]: the centre (own label), then two at sqrt(2) for one place, then the far one
    assert neighbour_agreement(cross, labels, k=2)[1] == 0.5
    # all in one place: whatever k, the share of the label among the others
    same = np.full((5, 3), 0.1)
    assert_allclose(neighbour_agreement(same, labels, k=2), [0.25, 0.25, 0.5, 0.5, 0.5])
    turned = cross @ np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]]) + 1000
    assert_allclose(  # ties that only rounding breaks
        neighbour_agreement(turned, labels, k=1), neighbour_agreement(cross, labels, k=1)
    )


@pytest.mark.parametrize(("d", "k", "dtype"), [(2, 10, "f8"), (300, 1, "f4"), (300, 30, "u1")])
@pytest.mark.parametrize("block_mib", [24, 0])
def test_agreement_is_that_of_scikit_learns_neighbours(
    d: int, k: int, dtype: str, block_mib: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "BLOCK_MIB", block_mib)  # 0: one row at a time
    rng = np.random.default_rng(d + k)
    labels = rng.integers(0, 4, 150)
    points = (100 + 20 * rng.normal(size=(150, d)) + 3 * labels[:, None]).astype(dtype)
    points[10], labels[10] = points[11], labels[11]  # twins are neighbours of each other
    exact = points.astype(np.float64)
    nearest = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(exact).kneighbors()[1]
    expected = (labels[nearest] == labels[:, None]).mean(1)
    found = neighbour_agreement(points, labels, k=k)
    if dtype == "u1":  # whole numbers tie; scikit-learn takes the first
        assert (found != expected).mean() < 0.05
        assert np.abs(found - expected).max() <= 1 / k
    else:
        assert_allclose(found, expected, atol=1e-12)


def test_memory_of_a_block_is_bounded() -> None:
    points = np.random.default_rng(0).normal(size=(700, 9000)).astype(np.float32)
    tracemalloc.start()
    neighbour_agreement(points, np.arange(700) % 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


@pytest.mark.parametrize(
    ("points", "labels", "k", "message"),
    [
        (np.eye(5), np.zeros(4), 1, "do not pair up"),
        (np.eye(5), np.zeros(5), 5, r"5 images have 1\.\.4"),
        (np.eye(5), np.zeros(5), 0, r"1\.\.4"),
        (np.full((5, 2), np.inf), np.zeros(5), 1, "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_impossible_neighbours_are_named(points, labels, k: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        neighbour_agreement(points, labels, k=k)


def by_ranks(space: np.ndarray, points: np.ndarray, k: int) -> float:
    """Venna & Kaski's sum as they write it."""
    n = len(space)
    order = [[np.argsort(row)[1:].tolist() for row in squared(x, x)] for x in (space, points)]
    extra = sum(
        order[0][i].index(j) + 1 - k for i in range(n) for j in order[1][i][:k]
        if j not in order[0][i][:k]
    )  # fmt: skip
    return 1 - 2 * extra / (n * k * (2 * n - 3 * k - 1))


def test_trustworthiness() -> None:
    rng = np.random.default_rng(5)
    space = rng.normal(size=(40, 6))
    turned = 3 * space @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + 2
    assert trustworthiness(space, turned) == 1
    shadow = space[:, :2]
    for k in (1, 5, 19):
        assert trustworthiness(space, shadow, k=k) == pytest.approx(by_ranks(space, shadow, k))
        assert trustworthiness(shadow, space, k=k) == pytest.approx(by_ranks(shadow, space, k))
    with pytest.raises(UserError, match="more than 40 images, not 40"):
        trustworthiness(space, shadow, k=20)
    with pytest.raises(UserError, match="40 points of the space and 39"):
        trustworthiness(space, shadow[1:])
