"""Near-duplicates: the measure by hand, and every pair found whatever the blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zfnet.methods.duplicates import mirrored, on_device, similar_pairs, vectors


def photos(n: int, size: int = 24, seed: int = 0) -> np.ndarray:
    """Smooth random pictures (n, size, size, 3): blobs of 6 px, so that shrinking keeps them."""
    small = np.random.default_rng(seed).integers(0, 256, (n, size // 6, size // 6, 3), np.uint8)
    return small.repeat(6, 1).repeat(6, 2)


def by_hand(image: np.ndarray, side: int) -> np.ndarray:
    """Area averages by counting: each pixel is cut into side x side bits, each bit is dealt out."""
    size = len(image)
    fine = image.astype(np.float64).repeat(side, 0).repeat(side, 1)
    cells = fine.reshape(side, size, side, size, 3).mean((1, 3))
    cells = np.stack([cells[..., c] - cells[..., c].mean() for c in range(3)], 2)
    flat = cells.transpose(0, 2, 1).ravel()
    return flat / np.linalg.norm(flat)


@pytest.mark.parametrize(("size", "side"), [(24, 8), (24, 9), (10, 7), (300, 16), (8, 8)])
def test_vectors_are_area_averages_of_mean_0_and_length_1(size: int, side: int) -> None:
    images = np.random.default_rng(size).integers(0, 256, (3, size, size, 3), np.uint8)
    found = vectors(images, side)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [by_hand(image, side) for image in images], atol=2e-7)


def test_brightness_and_contrast_do_not_count_and_flat_images_match_nothing() -> None:
    image = photos(1)[0] // 2
    brighter = image + 100
    flat = np.full_like(image, 90)
    one, other, nothing = vectors(np.stack([image, brighter, flat]), 8)
    assert float(one @ other) == pytest.approx(1, abs=1e-6)
    assert not nothing.any()


def test_an_image_smaller_than_the_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="8 px have no 9 x 9"):
        vectors(np.zeros((1, 8, 8, 3), np.uint8), 9)


def test_mirrored_vectors_are_those_of_mirrored_images() -> None:
    images = photos(4, seed=3)
    flipped = vectors(np.ascontiguousarray(images[:, :, ::-1]), 8)
    np.testing.assert_array_equal(mirrored(vectors(images, 8)), flipped)


def all_pairs(one: np.ndarray, other: np.ndarray, threshold: float) -> set[tuple[int, int]]:
    full = np.round(one.astype(np.float64) @ other.astype(np.float64).T, 6)
    return {(int(i), int(j)) for i, j in np.argwhere(full >= threshold)}


def pairs_of(*args: Any, **options: Any) -> dict[tuple[int, int], float]:
    found = similar_pairs(*args, **options)
    keys = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert keys == sorted(set(keys))
    return dict(zip(keys, found.correlation.tolist(), strict=True))


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.999])
@pytest.mark.parametrize("block", [1, 5, 1000])
def test_the_search_finds_what_the_whole_matrix_holds(threshold: float, block: int) -> None:
    first, second = vectors(photos(23, seed=1), 4), vectors(photos(31, seed=2), 4)
    second[[4, 30]] = first[[22, 0]]
    parts = [second[:7], second[7:8], second[8:]]
    found = similar_pairs(first, parts, threshold, mirror=False, block=block)
    pairs = pairs_of(first, parts, threshold, mirror=False, block=block)
    assert set(pairs) == all_pairs(first, second, threshold)
    assert {(22, 4), (0, 30)} <= set(pairs)
    full = first.astype(np.float64) @ second.T.astype(np.float64)
    np.testing.assert_allclose(found.nearest_correlation, full.max(1), atol=1e-6)
    np.testing.assert_array_equal(found.nearest, full.argmax(1))
    assert not found.flipped.any()
    assert not found.nearest_flipped.any()
    for place, value in pairs.items():
        assert value == pytest.approx(full[place], abs=1e-6)


@pytest.mark.parametrize("block", [3, 100])
def test_mirror_images_are_searched_too_and_the_stronger_match_counts(block: int) -> None:
    first, second = vectors(photos(9, seed=3), 4), vectors(photos(14, seed=4), 4)
    second[5] = mirrored(first[[2]])[0]
    found = similar_pairs(first, [second], 0.3, block=block)
    plain = np.round(first.astype(np.float64) @ second.T.astype(np.float64), 6)
    flipped = np.round(mirrored(first).astype(np.float64) @ second.T.astype(np.float64), 6)
    strongest = np.maximum(plain, flipped)
    assert [*zip(found.first, found.second, strict=True)] == [
        (i, j) for i, j in np.argwhere(strongest >= 0.3).tolist()
    ]
    at = found.first, found.second
    np.testing.assert_allclose(found.correlation, strongest[at], atol=1e-6)
    np.testing.assert_array_equal(found.flipped, (flipped > plain)[at])
    np.testing.assert_array_equal(found.nearest, strongest.argmax(1))
    assert (found.nearest[2], found.nearest_flipped[2]) == (5, True)


@pytest.mark.parametrize("block", [2, 6, 100])
def test_inside_one_set_each_pair_comes_once_and_nothing_with_itself(block: int) -> None:
    own = vectors(photos(17, seed=5), 4)
    own[13] = own[2]
    found = pairs_of(own, [own[:5], own[5:]], 0.4, within=True, mirror=False, block=block)
    assert set(found) == {(i, j) for i, j in all_pairs(own, own, 0.4) if i < j}
    assert found[2, 13] == 1
    both = pairs_of(own, [own], 0.4, within=True, block=block)
    flipped = all_pairs(own, mirrored(own), 0.4)
    assert set(both) == set(found) | {(i, j) for i, j in flipped if i < j}
    last = similar_pairs(own, [own], 0.4, within=True, block=block)
    assert (last.nearest[-1], last.nearest_correlation[-1]) == (-1, -1)


def test_a_pair_just_at_the_threshold_is_decided_in_float64() -> None:
    """float32 products are off by more than what separates these two."""
    d = 3072
    base = np.zeros(d, np.float32)
    base[0] = 1
    angled = np.zeros((2, d), np.float32)
    angled[:, 0] = 0.950002, 0.949998
    angled[:, 1] = np.sqrt(1 - angled[:, 0].astype(np.float64) ** 2)

    def sloppy(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b - np.float32(5e-4)).astype(np.float32)

    pairs = pairs_of(base[None], [angled], 0.95, multiply=sloppy, mirror=False)
    assert pairs == {(0, 0): 0.950002}


def test_nothing_to_compare_with_gives_no_pair() -> None:
    own = vectors(photos(3), 4)
    found = similar_pairs(own, [], 0.5)
    assert len(found.first) == 0
    assert found.nearest.tolist() == [-1, -1, -1]
    assert len(similar_pairs(own[:0], [own], 0.5).nearest) == 0


def test_products_on_a_torch_device_find_the_same() -> None:
    torch = pytest.importorskip("torch")
    first, second = vectors(photos(9, seed=7), 4), vectors(photos(12, seed=8), 4)
    multiply = on_device(torch.device("cpu"))
    assert pairs_of(first, [second], 0.2, multiply=multiply, block=4) == pairs_of(
        first, [second], 0.2
    )
