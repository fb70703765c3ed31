"""The second embedded set: other classes, other random numbers, the first set untouched."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest

from zfnet.data.sample import Source
from zfnet.data.synthetic import SyntheticSource, UnseenSource
from zfnet.data.synthetic.textures import TEXTURES
from zfnet.errors import UserError

# Version 1 is frozen, as that of the first set.
DIGESTS: dict[tuple[int, int, int], str] = {
    (144, 0, 0): "8cf74af5f8e0d9c6e57e21a9deed23dfeb31229352918742bddb4d68c11ff799",
    (144, 0, 1): "98fe6cc78cb58afb06ec5c20a5fd112625a0fc43ad0758849baa73e1bc18a743",
    (144, 0, 2): "70640ddf9473517ab605df261a2b385c0dc4b4a14f69dfad1fc734d8c2388653",
    (144, 0, 3): "28e2db9d7b6b8b4be48183f4240b6e2dadbb9291afd7cee6e3b4648c1235a1e6",
    (144, 0, 4): "2764763e9ab0dff1bfa7fcd506774a1d5520b18fa2535e25bb9b832a2d79f204",
    (144, 0, 5): "c0cfce75b83c32fa443907ad47c19a6f160e599959d8780ee906ff1aa5b14104",
    (144, 0, 6): "50d24b4ca3eb2145ccbd0a24866877891e82c81cf76ae3e2f42ebdc88d072205",
    (144, 0, 7): "fbe54ba2c4c06e523cbbf0f1a73058d348635bc6de013429b2e5d7eb07bc9642",
    (144, 0, 8): "158b62ac1e9d11184391bd48c687ff157c82788a919f031e8823702860220dee",
    (144, 0, 9): "62f47dd136bdf7e0c55c6cf7a01db4e162ee29d5f45c6e14da157d42fa833d67",
    (144, 0, 10): "1024ceafaeca9e9731e03d0739f4964c589bc5471887b3a6e3ee6a174e6248b5",
    (144, 0, 11): "6f0b559c1bd6e5138aa094a4e4dd72e7fea9cf12234d0cf77c6b6c33ae9152e7",
    (144, 7, 594): "588c2335cd9e9d0fdfd0ddf08ec3e975a69d04dc5380d9d65ca57584e610429e",
    (96, 0, 8): "5241efbfb453bcbde233957c6423c84ea2995c7e9f845f90f20d271356597d4b",
    (288, 1, 10): "ae5523e0ca0f4328713a25b9f4a7ed9d238802d3cd256eb763a0a12f7650a43d",
    (144, 123456789, 300): "8385cc01311719bd57006f61867a159a82532ee64e59116088ed62689e52c8a6",
}


def test_it_shares_no_class_with_the_first_set() -> None:
    source = UnseenSource()
    assert isinstance(source, Source)
    assert len(source.classes) == 12
    assert [info.index for info in source.classes] == list(range(12))
    first = SyntheticSource().classes
    assert not {c.id for c in source.classes} & {c.id for c in first}
    assert not {c.name for c in source.classes} & {c.name for c in first}
    assert source.part_names == []


def test_all_images_lie_in_train_and_classes_are_balanced() -> None:
    splits = UnseenSource(images=600).splits()
    assert {split: len(samples) for split, samples in splits.items()} == {"train": 600, "val": 0}
    few = UnseenSource(images=26).splits()["train"]
    labels = [few[i].label for i in range(26)]
    assert np.bincount(labels, minlength=12).tolist() == [3, 3, *[2] * 10]


def test_samples_hold_what_they_promise() -> None:
    for index, sample in enumerate(UnseenSource(images=24).splits()["train"]):
        assert sample.id == f"unseen-v1/train/{index:06d}"
        assert sample.label == index % 12
        assert sample.image is not None
        assert sample.image.shape == (144, 144, 3)
        assert sample.image.std() > 5
        assert sample.box is not None
        x0, y0, x1, y1 = sample.box
        assert 0 <= x0 < x1 <= 144
        assert 0 <= y0 < y1 <= 144
        assert min(x1 - x0, y1 - y0) > 15
        assert sample.parts == {}
        assert sample.attributes.keys() == {"scale", "rotation", "clutter", "texture", "light"}
        assert sample.attributes["texture"] in TEXTURES


def test_no_ground_pose_or_picture_of_the_first_set_comes_again() -> None:
    """Another set with the same keys would put other things on the same grounds."""
    first = SyntheticSource(train_images=24, val_images=24).splits()
    theirs = [sample for split in first.values() for sample in split]
    ours = list(UnseenSource(images=24).splits()["train"])
    pictures = [sample.image.tobytes() for sample in [*theirs, *ours] if sample.image is not None]
    assert len(set(pictures)) == 72
    told = [tuple(sample.attributes.items()) for sample in [*theirs, *ours]]
    assert len(set(told)) == 72
    corners = [sample.image[:6, :6].tobytes() for sample in [*theirs, *ours]]  # type: ignore[index]
    assert len(set(corners)) == 72


@pytest.mark.parametrize("key", list(DIGESTS), ids=str)
def test_version_1_renders_these_bytes(key: tuple[int, int, int]) -> None:
    size, seed, index = key
    image = UnseenSource(size=size, seed=seed).splits()["train"][index].image
    assert image is not None
    assert hashlib.sha256(image.tobytes()).hexdigest() == DIGESTS[key]


def test_a_sample_depends_on_its_own_index_alone() -> None:
    many = UnseenSource(images=600).splits()["train"]
    few = pickle.loads(pickle.dumps(UnseenSource(images=24).splits()["train"]))
    for index in (17, 3):
        assert np.array_equal(many[index].image, few[index].image)
    other = UnseenSource(images=24, seed=1).splits()["train"]
    assert not np.array_equal(other[3].image, few[3].image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 2}, r"targets\.unseen\.version: unseen has only version 1, not 2"),
        ({"size": 8}, r"targets\.unseen\.size"),
        ({"seed": -1}, r"targets\.unseen\.seed"),
        ({"images": 5}, r"targets\.unseen\.images: 5 leaves a class empty; set at least 12"),
        ({"images": 5, "section": "targets.mine"}, r"targets\.mine\.images"),
    ],
)
def test_what_cannot_be_rendered_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        UnseenSource(**options)  # type: ignore[arg-type]
