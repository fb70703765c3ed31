"""The embedded sources: rendered pictures with known parts, boxes and attributes; no download."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from zfnet.data.sample import ClassInfo, Sample
from zfnet.data.synthetic.classes import CLASS_SETS, PART_NAMES
from zfnet.data.synthetic.scene import render
from zfnet.errors import UserError

VERSION = 1
UNSEEN_VERSION = 1

# What a picture's random numbers start from beside version, seed and index: no two are alike, so
# that no picture of one split has the ground, the pose or the colours of another's.
_KEYS = {("default", "train"): 0, ("default", "val"): 1, ("unseen", "train"): 2}
_NAMES = {"default": "synthetic", "unseen": "unseen"}


@dataclass(frozen=True)
class SyntheticSplit(Sequence[Sample]):
    """Samples of one split, rendered when they are asked for; cheap to pickle.

    Sample i depends on (version, seed, class set, split, i) alone: neither on the number of images
    nor on the order of access. Its label is i modulo the number of classes.
    """

    split: str
    images: int
    size: int
    seed: int
    version: int
    class_set: str

    def __len__(self) -> int:
        return self.images

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.images))]
        if not -self.images <= index < self.images:
            raise IndexError(f"{self.split} has {self.images} images, no index {index}")
        index %= self.images
        subjects = CLASS_SETS[self.class_set]
        label = index % len(subjects)
        keys = (self.version, self.seed, _KEYS[self.class_set, self.split], index)
        picture = render(subjects[label], self.size, *keys)
        return Sample(
            id=f"{_NAMES[self.class_set]}-v{self.version}/{self.split}/{index:06d}",
            label=label,
            path=None,
            image=picture.pixels,
            box=picture.box,
            parts=picture.parts,
            attributes=picture.attributes,
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(self.images))


class SyntheticSource:
    """Rendered animal faces and everyday objects, the same bytes on every machine.

    Images are (size, size, 3) uint8 RGB. Faces carry the parts left_eye and right_eye (as seen in
    the picture: left_eye has the smaller x) and nose. Attributes: scale (side of the object's unit
    square over the picture's side), rotation (degrees, clockwise), clutter (number of distractors),
    texture (the body's, by name), light (gain, 1 = none).

    Raises UserError for a version, size, seed or number of images that cannot be rendered.
    """

    name = "synthetic"

    def __init__(
        self,
        size: int = 144,
        train_images: int = 2400,
        val_images: int = 600,
        seed: int = 0,
        version: int = VERSION,
    ) -> None:
        _check("data", self.name, version, VERSION, size, seed)
        _check_images("data.train_images", train_images, "default")
        _check_images("data.val_images", val_images, "default")
        self.size = size
        self.seed = seed
        self.version = version
        self.class_set = "default"
        self.classes = _classes(self.class_set)
        self.part_names = list(PART_NAMES)
        self._images = {"train": train_images, "val": val_images}

    def splits(self) -> Mapping[str, Sequence[Sample]]:
        """Return the train and val splits; nothing is rendered before a sample is asked for."""
        return {
            split: SyntheticSplit(split, images, self.size, self.seed, self.version, self.class_set)
            for split, images in self._images.items()
        }


class UnseenSource:
    """Rendered objects of twelve classes that `SyntheticSource` does not have, in one split.

    The same kind of pictures (paints, textures, grounds, clutter, light) and the same attributes,
    but other things. All lie in the split train, val is empty: whoever uses it draws folds. Classes
    are balanced to one image.

    Raises UserError, naming the key below `section`, for values that cannot be rendered.
    """

    name = "unseen"

    def __init__(
        self,
        size: int = 144,
        images: int = 600,
        seed: int = 0,
        version: int = UNSEEN_VERSION,
        section: str = "targets.unseen",
    ) -> None:
        _check(section, self.name, version, UNSEEN_VERSION, size, seed)
        _check_images(f"{section}.images", images, "unseen")
        self.size = size
        self.seed = seed
        self.version = version
        self.classes = _classes("unseen")
        self.part_names: list[str] = []
        self._images = images

    def splits(self) -> Mapping[str, Sequence[Sample]]:
        """Return the train split and an empty val; nothing is rendered before it is asked for."""
        train = SyntheticSplit("train", self._images, self.size, self.seed, self.version, "unseen")
        return {"train": train, "val": []}


def _classes(class_set: str) -> list[ClassInfo]:
    return [
        ClassInfo(index=i, id=subject.id, name=subject.name)
        for i, subject in enumerate(CLASS_SETS[class_set])
    ]


def _check(section: str, name: str, version: int, known: int, size: int, seed: int) -> None:
    """Raise UserError for what cannot be rendered; `section` holds the keys at fault."""
    if version != known:
        raise UserError(
            f"{section}.version: {name} has only version {known}, not {version}; "
            f"set {section}.version={known}"
        )
    if not 32 <= size <= 2048:
        raise UserError(f"{section}.size: {name} renders 32 to 2048 pixels, not {size}")
    if seed < 0:
        raise UserError(f"{section}.seed: must be 0 or more, not {seed}")


def _check_images(key: str, images: int, class_set: str) -> None:
    """Raise UserError unless every class gets an image."""
    least = len(CLASS_SETS[class_set])
    if images < least:
        raise UserError(
            f"{key}: {images} leaves a class empty; set at least {least}, one image a class"
        )
