"""A tiny data set and a tiny net: a whole training takes a second or two."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from zfnet.data.prepare import prepare
from zfnet.data.sample import ClassInfo, Sample
from zfnet.pipeline.options import ModelOptions, PlateauOptions, StepsOptions, TrainingOptions

CLASSES = 6
SIZE = 40
# a net for images of 33 px
EARLY = {"1": {"kernel": 5, "stride": 1, "pad": 2}, "2": {"kernel": 3, "stride": 1, "pad": 1}}
MODEL = ModelOptions(width=0.05, input_px=33, fc_units=320, changes=EARLY).model_dump(mode="json")
TRAINING = TrainingOptions(
    epochs=4,
    batch_size=16,
    plateau=PlateauOptions(patience=1),
    steps=StepsOptions(at=(0.5,)),
    init="scaled",
).model_dump(mode="json")


class Blots:
    """Noise with a blot whose colour and place give the class away."""

    name = "blots"
    part_names: ClassVar[list[str]] = []
    folder = None

    def __init__(self, images: dict[str, int], size: int = SIZE) -> None:
        self.images, self.size = images, size
        self.classes = [ClassInfo(i, f"c{i}", f"class {i}") for i in range(CLASSES)]

    def splits(self) -> dict[str, list[Sample]]:
        return {name: self._samples(name, n) for name, n in self.images.items()}

    def _samples(self, split: str, n: int) -> list[Sample]:
        samples = []
        for i in range(n):
            draw = np.random.default_rng([split == "val", i])
            image = draw.integers(0, 120, (self.size, self.size, 3), dtype=np.uint8)
            label = i % CLASSES
            y, x = draw.integers(8, self.size - 20, 2)
            image[y : y + 12, x : x + 12, label % 3] = 250 if label < 3 else 10
            samples.append(Sample(f"{split}/{i}", label, image=image))
        return samples


def make_prepared(folder: Path, train: int = 44, val: int = 18, size: int = SIZE) -> Path:
    prepare(Blots({"train": train, "val": val}, size), folder, size=size, workers=1)
    return folder
