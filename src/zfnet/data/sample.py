"""What a source hands to the prepare step: classes, samples, and the protocol that ties them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

SPLITS = ("train", "val")

Box = tuple[float, float, float, float]
Point = tuple[float, float]
Attribute = float | str | int


@dataclass(frozen=True)
class ClassInfo:
    """One class: its label (0, 1, …), its id (folder name or wnid), its readable name."""

    index: int
    id: str
    name: str


@dataclass
class Sample:
    """One labelled image of a source, as a file or as pixels.

    Exactly one of `path` and `image` is set. `image` is (H, W, 3) uint8 RGB. `box` (x0, y0, x1, y1)
    and `parts` {name: (x, y)} are in pixels of the upright source image, x to the right, y down,
    the top left corner of the image at (0, 0) and the centre of its first pixel at (0.5, 0.5).
    """

    id: str
    label: int
    path: Path | None = None
    image: np.ndarray | None = None
    box: Box | None = None
    parts: dict[str, Point] = field(default_factory=dict)
    attributes: dict[str, Attribute] = field(default_factory=dict)


class Samples(Protocol):
    """The samples of one split, read or rendered when they are asked for.

    Picklable, so that a worker process makes only those that it is given; the same index gives the
    same sample.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


@runtime_checkable
class Source(Protocol):
    """A set of labelled images with a train and a val split.

    A source that reads files also has `folder`, where they lie, and `watched`, the subfolders that
    it lists ("." for all).
    """

    name: str
    classes: list[ClassInfo]
    part_names: list[str]

    def splits(self) -> Mapping[str, Samples]:
        """Return the samples of {"train": …, "val": …}, in storage order."""
        ...
