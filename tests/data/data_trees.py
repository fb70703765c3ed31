"""Small image trees and sources for the tests of the data floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zfnet.data.sample import ClassInfo, Sample, Source
from zfnet.pipeline.options import DataOptions


def picture(seed: int, height: int = 20, width: int = 30) -> np.ndarray:
    """A random (height, width, 3) picture."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write(path: Path, seed: int, height: int = 20, width: int = 30) -> None:
    """Write a random picture in the format that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, height, width)).save(path)


def labelled(source: Source, split: str = "train") -> list[tuple[str, int]]:
    """Id and label of each sample of a split."""
    return [(sample.id, sample.label) for sample in source.splits()[split]]


def split_tree(root: Path, classes: Sequence[str] = ("cat", "dog"), each: int = 4) -> Path:
    """Write root/{train,val}/<class>/ with `each` pictures in train and half as many in val."""
    seed = 0
    for split, n in (("train", each), ("val", max(1, each // 2))):
        for name in classes:
            for i in range(n):
                write(root / split / name / f"{name}_{i}.png", seed)
                seed += 1
    return root


@dataclass
class Drawn:
    """A source of pictures in memory; `samples` as {"train": […], "val": […]}."""

    samples: dict[str, list[Sample]]
    classes: list[ClassInfo]
    part_names: list[str]
    name: str = "drawn"

    def splits(self) -> dict[str, list[Sample]]:
        return self.samples


def drawn(train: int = 12, val: int = 6, size: int = 16, classes: int = 3) -> Drawn:
    """A source of random square pictures, with a box, a part and two attributes each."""

    def sample(split: str, i: int) -> Sample:
        return Sample(
            f"{split}/{i}",
            i % classes,
            image=picture(1000 * (split == "val") + i, size, size),
            box=(1.0, 2.0, 9.0, 10.0),
            parts={"nose": (5.0, 6.0)} if i % 2 == 0 else {},
            attributes={"scale": i / 2, "texture": "dots"},
        )

    infos = [ClassInfo(i, f"c{i}", f"class {i}") for i in range(classes)]
    samples = {s: [sample(s, i) for i in range(n)] for s, n in (("train", train), ("val", val))}
    return Drawn(samples, infos, ["nose"])


def data_config(**changes: Any) -> DataOptions:
    """A data section of the config, as stages receive it."""
    small = {"root": "", "size": 16, "max_bad_fraction": 0.01, "train_images": 12, "val_images": 12}
    return DataOptions(**{"source": "folder", **small, **changes})
