"""The embedded source: rendered pictures with known parts, boxes and attributes; no download."""

from __future__ import annotations

from dataclasses import dataclass

from zfnet.data.sample import SPLITS, ClassInfo, Sample
from zfnet.data.synthetic.classes import CLASS_SETS, PART_NAMES
from zfnet.data.synthetic.scene import UNCHANGED, Change, render
from zfnet.errors import UserError

VERSION = 1

# What a picture's random numbers start from beside version, seed and index: no two are alike, so
# that no picture of one split has the ground, the pose or the colours of another's.
_KEYS = {("default", "train"): 0, ("default", "val"): 1, ("unseen", "train"): 2}
_NAMES = {"default": "synthetic", "unseen": "unseen"}


@dataclass(frozen=True)
class SyntheticSplit:
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

    def __getitem__(self, index: int) -> Sample:
        return self.changed(index, UNCHANGED)

    def changed(self, index: int, change: Change) -> Sample:
        """Sample `index` with something of its scene drawn otherwise, all else alike."""
        if not 0 <= index < self.images:
            raise IndexError(f"{self.split} has {self.images} images, no index {index}")
        subjects = CLASS_SETS[self.class_set]
        label = index % len(subjects)
        keys = (self.version, self.seed, _KEYS[self.class_set, self.split], index)
        id = f"{_NAMES[self.class_set]}-v{self.version}/{self.split}/{index:06d}"
        return render(subjects[label], self.size, *keys, id=id, label=label, change=change)


class SyntheticSource:
    """Rendered pictures of one class set, the same bytes on every machine.

    Images are (size, size, 3) uint8 RGB. Class set "default": animal faces and everyday objects.
    Faces carry the parts left_eye and right_eye (as seen in the picture: left_eye has the smaller
    x) and nose. "unseen": objects of twelve other classes, drawn with the same paints and grounds,
    all in the split train, which `images` counts; whoever uses them draws folds. Attributes of
    both: scale (side of the object's unit square over the picture's side), rotation (degrees,
    clockwise), clutter (number of distractors), texture (the body's, by name), light (gain,
    1 = none). `section` of the config holds the keys that errors name.

    Raises UserError for a version, size or number of images that cannot be rendered.
    """

    def __init__(
        self,
        size: int = 144,
        images: tuple[int, int] = (2400, 600),
        seed: int = 0,
        version: int = VERSION,
        class_set: str = "default",
        section: str = "data",
    ) -> None:
        subjects = CLASS_SETS[class_set]
        self.name = _NAMES[class_set]
        if version != VERSION:
            raise UserError(
                f"{section}.version: {self.name} has only version {VERSION}, not {version}; "
                f"set {section}.version={VERSION}"
            )
        if not 32 <= size <= 2048:
            raise UserError(f"{section}.size: {self.name} renders 32 to 2048 pixels, not {size}")
        self._splits = {
            split: SyntheticSplit(split, number, size, seed, version, class_set)
            for split, number in zip(SPLITS, images, strict=True)
        }
        for split, samples in self._splits.items():
            if len(samples) < len(subjects) and (class_set, split) in _KEYS:
                key = f"{split}_images" if class_set == "default" else "images"
                raise UserError(
                    f"{section}.{key}: {len(samples)} leaves a class empty; set at least "
                    f"{len(subjects)}, one image a class"
                )
        self.classes = [ClassInfo(i, each.name, each.name) for i, each in enumerate(subjects)]
        self.part_names = list(PART_NAMES) if class_set == "default" else []

    def splits(self) -> dict[str, SyntheticSplit]:
        """Return the train and val splits; nothing is rendered before a sample is asked for."""
        return self._splits
