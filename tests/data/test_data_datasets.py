"""Views cut the right pixels, and an epoch is the same in any number of processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from data_trees import drawn, picture

from zfnet.data.datasets import (
    EpochSampler,
    TrainingViews,
    centre_crop,
    pixels,
    ten_crop_offsets,
    ten_views,
)
from zfnet.data.prepare import prepare
from zfnet.data.store import Prepared, PreparedSplit
from zfnet.errors import UserError


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> PreparedSplit:
    out = tmp_path_factory.mktemp("data") / "prepared"
    prepare(drawn(train=101), out, size=16, workers=1)
    return Prepared.open(out).split("train")


def crop(index: int, y: int, x: int, flip: bool, px: int) -> np.ndarray:
    """What a view should be: (3, px, px)."""
    cut = picture(index, 16, 16)[y : y + px, x : x + px]
    return (cut[:, ::-1] if flip else cut).transpose(2, 0, 1)


def channels_last(x: torch.Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def test_ten_crop_offsets_and_centre(split: PreparedSplit) -> None:
    assert ten_crop_offsets(256, 224) == [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]
    assert ten_crop_offsets(11, 8) == [(0, 0), (0, 3), (3, 0), (3, 3), (1, 1)]
    x = torch.arange(2 * 7 * 9).reshape(2, 7, 9)
    assert torch.equal(centre_crop(x, 4), x[:, 1:5, 2:6])
    for too_large in (lambda: centre_crop(x, 8), lambda: TrainingViews(split, 17)):
        with pytest.raises(UserError, match=r"does not fit .* lower model\.input_px"):
            too_large()


def test_ten_views_are_the_papers(split: PreparedSplit) -> None:
    views = TrainingViews(split, 11, "ten")
    assert views.views == 10
    batch = views.__getitems__([(7, v) for v in range(10)])
    for v in range(10):
        y, x = ten_crop_offsets(16, 11)[v % 5]
        assert batch["offset"][v].tolist() == [y, x]
        assert bool(batch["flip"][v]) is (v >= 5)
        assert np.array_equal(batch["pixels"][v], crop(7, y, x, v >= 5, 11))


def test_ten_views_cut_from_whole_images_are_those_that_are_read(split: PreparedSplit) -> None:
    batch = TrainingViews(split, 11).__getitems__([(i, v) for i in (7, 100, 7) for v in range(10)])
    whole = pixels(split, [7, 100, 7])
    assert np.array_equal(whole[1], crop(100, 0, 0, False, 16))
    assert channels_last(whole)
    views, offset, flip = ten_views(whole, 11)
    for name, found in (("pixels", views), ("offset", offset), ("flip", flip)):
        assert torch.equal(found, batch[name])
        assert found.dtype == batch[name].dtype
    assert views.stride() == batch["pixels"].stride()


@pytest.mark.parametrize(
    ("kind", "flip", "views"),
    [
        ("ten", False, 5),
        ("random", True, 72),
        ("random", False, 36),
        ("centre", True, 2),
        ("centre", False, 1),
    ],
)
def test_every_view_is_what_its_batch_says(
    split: PreparedSplit, kind: str, flip: bool, views: int
) -> None:
    dataset = TrainingViews(split, 11, kind, flip)
    assert dataset.views == views
    batch = dataset.__getitems__([(i % 101, i) for i in range(views)])
    for i in range(views):
        y, x = batch["offset"][i].tolist()
        assert np.array_equal(batch["pixels"][i], crop(i % 101, y, x, bool(batch["flip"][i]), 11))
    seen = {(*map(int, o), bool(f)) for o, f in zip(batch["offset"], batch["flip"], strict=True)}
    assert len(seen) == views  # no view twice
    with pytest.raises(IndexError):
        dataset.__getitems__([(0, views)])


def test_batch_layout(split: PreparedSplit) -> None:
    batch = TrainingViews(split, 11).__getitems__([(3, 0), (100, 9), (3, 4)])
    assert {k: (v.dtype, tuple(v.shape)) for k, v in batch.items()} == {
        "pixels": (torch.uint8, (3, 3, 11, 11)),
        "label": (torch.int64, (3,)),
        "offset": (torch.int32, (3, 2)),
        "flip": (torch.bool, (3,)),
        "index": (torch.int64, (3,)),
    }
    assert batch["index"].tolist() == [3, 100, 3]
    assert batch["label"].tolist() == [0, 1, 0]
    assert channels_last(batch["pixels"])


# -- order ---------------------------------------------------------------------------------------


def flat(sampler: EpochSampler) -> list[tuple[int, int]]:
    return [pair for batch in sampler for pair in batch]


def test_epoch_is_a_permutation_drawn_from_seed_and_epoch() -> None:
    sampler = EpochSampler(101, 10, 16, seed=3)
    first = flat(sampler)
    assert sorted(i for i, _ in first) == list(range(101))
    assert {v for _, v in first} == set(range(10))
    assert flat(sampler) == first
    assert [len(b) for b in sampler] == [16] * 6 + [5]
    assert len(sampler) == 7
    sampler.set_epoch(1)
    second = flat(sampler)
    assert second != first
    assert flat(EpochSampler(101, 10, 16, seed=4)) != first
    assert all(type(i) is int and type(v) is int for i, v in first)


def test_order_is_frozen_and_views_are_uniform() -> None:
    """A change of the order would silently change every trained net."""
    frozen = [[3, 0], [2, 1], [5, 8], [4, 6], [0, 9], [1, 5]]
    assert EpochSampler(6, 10, 4, seed=0).order().tolist() == frozen
    assert flat(EpochSampler(6, 10, 4, seed=0)) == [tuple(pair) for pair in frozen]
    counts = np.bincount(EpochSampler(20_000, 10, 128, seed=0).order()[:, 1], minlength=10)
    assert np.abs(counts - 2000).max() < 200


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("images", [96, 101, 97])
def test_ranks_share_the_same_global_batches(world: int, images: int) -> None:
    alone = EpochSampler(images, 10, 12, seed=5)
    ranks = [
        EpochSampler(images, 10, 12 // world, seed=5, rank=r, world_size=world)
        for r in range(world)
    ]
    for sampler in (alone, *ranks):
        sampler.set_epoch(2)
    assert {len(r) for r in ranks} == {len(alone)}
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert len({len(p) for p in parts}) == 1
        joined = [pair for part in parts for pair in part]
        assert joined[: len(whole)] == whole
        assert len(joined) - len(whole) < world
    assert all(len(list(r)) == len(r) for r in ranks)
