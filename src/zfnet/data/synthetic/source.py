"""The embedded source: rendered pictures with known parts, boxes and attributes; no download."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from zfnet.data.sample import ClassInfo, Sample
from zfnet.data.synthetic.classes import CLASS_SETS, PART_NAMES
from zfnet.data.synthetic.scene import render
from zfnet.errors import UserError

VERSION = 1
_SPLIT_KEYS = {"train": 0, "val": 1}


@dataclass(frozen=True)
class SyntheticSplit(Sequence[Sample]):
    """Samples of one split, rendered when they are asked for; cheap to pickle.

    Sample i depends on (version, seed, split, i) alone: neither on the number of images nor on the
    order of access. Its label is i modulo the number of classes.
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
        keys = (self.version, self.seed, _SPLIT_KEYS[self.split], index)
        picture = render(subjects[label], self.size, *keys)
        return Sample(
            id=f"synthetic-v{self.version}/{self.split}/{index:06d}",
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
        if version != VERSION:
            raise UserError(
                f"data.version: synthetic has only version {VERSION}, not {version}; "
                f"set data.version={VERSION}"
            )
        if not 32 <= size <= 2048:
            raise UserError(f"data.size: synthetic renders 32 to 2048 pixels, not {size}")
        if seed < 0:
            raise UserError(f"data.seed: must be 0 or more, not {seed}")
        least = len(CLASS_SETS["default"])
        for key, images in (("train_images", train_images), ("val_images", val_images)):
            if images < least:
                raise UserError(
                    f"data.{key}: {images} leaves a class empty; set at least {least}, "
                    "one image a class"
                )
        self.size = size
        self.seed = seed
        self.version = version
        self.class_set = "default"
        self.classes = [
            ClassInfo(index=i, id=subject.id, name=subject.name)
            for i, subject in enumerate(CLASS_SETS[self.class_set])
        ]
        self.part_names = list(PART_NAMES)
        self._images = {"train": train_images, "val": val_images}

    def splits(self) -> Mapping[str, Sequence[Sample]]:
        """Return the train and val splits; nothing is rendered before a sample is asked for."""
        return {
            split: SyntheticSplit(split, images, self.size, self.seed, self.version, self.class_set)
            for split, images in self._images.items()
        }
