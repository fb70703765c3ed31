"""Near-duplicates: the measure by hand, and every pair found whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest

from zfnet.methods.duplicates import (
    MEANS,
    Best,
    cost,
    mirrored,
    near_duplicates,
    on_device,
    timed,
    vectors,
)


def photos(n: int, size: int = 24, seed: int = 0) -> np.ndarray:
    """Smooth random pictures (n, size, size, 3): blobs of 6 px, so that shrinking keeps them."""
    small = np.random.default_rng(seed).integers(0, 256, (n, size // 6, size // 6, 3), np.uint8)
    return small.repeat(6, 1).repeat(6, 2)


def by_hand(image: np.ndarray, side: int, mean: str) -> np.ndarray:
    """Area averages by counting: each pixel is cut into side x side bits, each bit is dealt out."""
    size = len(image)
    fine = image.astype(np.float64).repeat(side, 0).repeat(side, 1)
    cells = fine.reshape(side, size, side, size, 3).mean((1, 3))
    if mean == "colour":
        cells = np.stack([cells[..., c] - cells[..., c].mean() for c in range(3)], 2)
    flat = cells.transpose(0, 2, 1).ravel()
    flat = flat - flat.mean()
    return flat / np.linalg.norm(flat)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize(("size", "side"), [(24, 8), (24, 9), (10, 7), (300, 16), (8, 8)])
def test_vectors_are_area_averages_of_mean_0_and_length_1(size: int, side: int, mean: str) -> None:
    images = np.random.default_rng(size).integers(0, 256, (3, size, size, 3), np.uint8)
    found = vectors(images, side, mean)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [by_hand(image, side, mean) for image in images], atol=2e-7)


def test_correlation_of_a_case_worked_out_by_hand() -> None:
    """Left half white against top half white: half of the pixels agree, correlation 0."""
    left, top = np.zeros((2, 4, 4, 3), np.uint8)
    left[:, :2] = 200
    top[:2] = 100
    one, other, negative = vectors(np.stack([left, top, 200 - left]), 4)
    assert float(one @ one) == pytest.approx(1)
    assert float(one @ other) == pytest.approx(0, abs=1e-7)
    assert float(one @ negative) == pytest.approx(-1)
    # Three of four quarters: means 1/2 and 3/4, covariance 1/8, deviations 1/2 and √3/4.
    most = np.zeros((1, 4, 4, 3), np.uint8)
    most[:, :, :2] = most[:, :2] = 80
    assert float(one @ vectors(most, 4)[0]) == pytest.approx(1 / 8 / (0.5 * 3**0.5 / 4))


def test_brightness_and_contrast_do_not_count_and_flat_images_match_nothing() -> None:
    image = photos(1)[0] // 2
    brighter = image + 100
    flat = np.full_like(image, 90)
    one, other, nothing = vectors(np.stack([image, brighter, flat]), 8)
    assert float(one @ other) == pytest.approx(1, abs=1e-6)
    assert not nothing.any()


def test_two_skies_are_alike_only_where_all_colours_share_one_mean() -> None:
    skies = np.zeros((2, 24, 24, 3), np.uint8)
    skies[...] = (30, 90, 200)
    skies[0, 4:8, 4:8] = 255
    skies[1, 14:18, 16:20] = 0
    one, other = vectors(skies, 8, "image")
    assert float(one @ other) > 0.8
    one, other = vectors(skies, 8, "colour")
    assert abs(float(one @ other)) < 0.2


def test_an_image_smaller_than_the_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="8 px have no 9 x 9"):
        vectors(np.zeros((1, 8, 8, 3), np.uint8), 9)


def test_mirrored_vectors_are_those_of_mirrored_images() -> None:
    images = photos(4, seed=3)
    flipped = vectors(np.ascontiguousarray(images[:, :, ::-1]), 8)
    np.testing.assert_array_equal(mirrored(vectors(images, 8), 8), flipped)


def all_pairs(one: np.ndarray, other: np.ndarray, threshold: float) -> set[tuple[int, int]]:
    full = np.round(one.astype(np.float64) @ other.astype(np.float64).T, 6)
    return {(int(i), int(j)) for i, j in np.argwhere(full >= threshold)}


def found_pairs(*args: object, **options: object) -> dict[tuple[int, int], float]:
    pairs = {}
    for part in near_duplicates(*args, **options):  # type: ignore[arg-type]
        for i, j, value in zip(part.streamed, part.held, part.correlation, strict=True):
            assert (i, j) not in pairs
            pairs[int(i), int(j)] = float(value)
    return pairs


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.999])
@pytest.mark.parametrize("block", [1, 5, 1000])
def test_the_search_finds_what_the_whole_matrix_holds(threshold: float, block: int) -> None:
    held, streamed = vectors(photos(23, seed=1), 4), vectors(photos(31, seed=2), 4)
    streamed[[4, 30]] = held[[22, 0]]
    best = Best.none(23)
    parts = [streamed[:7], streamed[7:8], streamed[8:]]
    pairs = found_pairs(held, parts, threshold, best=best, block=block)
    assert set(pairs) == all_pairs(streamed, held, threshold)
    assert {(4, 22), (30, 0)} <= set(pairs)
    full = streamed.astype(np.float64) @ held.T.astype(np.float64)
    np.testing.assert_allclose(best.correlation, full.max(0), atol=1e-6)
    np.testing.assert_array_equal(best.streamed, full.argmax(0))
    for (i, j), value in pairs.items():
        assert value == pytest.approx(full[i, j], abs=1e-6)


@pytest.mark.parametrize("block", [2, 6, 100])
def test_inside_one_set_each_pair_comes_once_and_nothing_with_itself(block: int) -> None:
    own = vectors(photos(17, seed=5), 4)
    own[13] = own[2]
    pairs = found_pairs(own, [own[:5], own[5:]], 0.4, within=True, block=block)
    assert set(pairs) == {(i, j) for i, j in all_pairs(own, own, 0.4) if i < j}
    assert pairs[2, 13] == 1


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

    pairs = found_pairs(base[None], [angled], 0.95, multiply=sloppy)
    assert pairs == {(0, 0): 0.950002}


def test_a_low_threshold_does_not_need_all_pairs_at_once() -> None:
    own = vectors(photos(40, seed=6), 4)
    sizes = [len(part.held) for part in near_duplicates(own, [own], -1.0, block=8)]
    assert sum(sizes) == 1600
    assert max(sizes) == 64


def test_products_on_a_torch_device_find_the_same() -> None:
    torch = pytest.importorskip("torch")
    held, streamed = vectors(photos(9, seed=7), 4), vectors(photos(12, seed=8), 4)
    multiply = on_device(torch.device("cpu"))
    assert found_pairs(held, [streamed], 0.2, multiply=multiply, block=4) == found_pairs(
        held, [streamed], 0.2
    )


def test_cost_counts_products_and_bytes() -> None:
    paper = cost(30_607, 1_281_167, 3072, times=2)
    assert paper.operations == 2 * 2 * 30_607 * 1_281_167 * 3072
    assert paper.held_bytes == 2 * 4 * 30_607 * 3072
    assert "752 MB of vectors held" in str(paper)
    assert "about" not in str(paper)
    told = timed(cost(64, 64, 12), 12, block=64)
    assert told.seconds is not None
    assert told.seconds > 0
    assert "about 1 s" in str(told)
