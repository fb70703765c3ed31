"""A target's labelled images without those that the source set holds too, and their coordinates.

The paper left such images out of the source set; here they neither train nor test a classifier.
Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.methods.linear import Span, gram
from zfnet.results import Results
from zfnet.stats.folds import Fold

if TYPE_CHECKING:
    from zfnet.pipeline.options import TargetOptions
    from zfnet.pipeline.paths import Paths

LAYER = 7  # on which Tables 4 to 6 rest
GRAM_IMAGES = 11_000  # larger sets would need more than 1 GB for the inner products of all pairs
SPLIT = "train"  # where a target without a split of its own keeps all its images


def excluded_rows(paths: Paths, target: str) -> dict[str, list[int]]:
    """Rows of `target` to leave out, by split; a split without any may be absent.

    Raises UserError if the stage overlap has not looked at the target.
    """
    folder = paths.result_of("overlap")
    duplicates = Results(folder, paths.root).facts.get("duplicates", {})
    if target not in duplicates:
        raise UserError(f"{folder}: says nothing of {target}: run `dvc repro overlap`")
    rows = duplicates[target]  # a list where the target has a split train alone
    return dict(rows) if isinstance(rows, dict) else {SPLIT: list(rows)}


@dataclass(frozen=True)
class LabelledSet:
    """A target with the labels (N,) of its images, its classes' names, the rows to leave out."""

    name: str
    target: TargetOptions
    labels: np.ndarray
    classes: Sequence[str]
    excluded: Sequence[int] = ()

    @staticmethod
    def open(name: str, target: TargetOptions, paths: Paths) -> LabelledSet:
        """Read labels and exclusions."""
        prepared = Prepared.open(paths.targets / name)
        classes = [entry.name for entry in prepared.classes]
        labels = np.asarray(prepared.split(SPLIT).labels)
        excluded = sorted(set(excluded_rows(paths, name).get(SPLIT, ())))
        return LabelledSet(name, target, labels, classes, excluded)

    def facts(self, folds: Sequence[Fold]) -> dict[str, Any]:
        """What the folds are made of; test images as [fewest, most], of a fold and of a class."""
        each = [np.unique(self.labels[fold.test], return_counts=True)[1] for fold in folds]
        images, counts = [len(fold.test) for fold in folds], np.concatenate(each)
        return {
            "protocol": self.target.protocol,
            "paper": self.target.paper,
            "classes": len(np.unique(self.labels)),
            "folds": len(folds),
            "test_images": [min(images), max(images)],
            "test_per_class": [counts.min(), counts.max()],
            "left_out": len(self.excluded),
        }

    def short(self, folds: Sequence[Fold], size: int) -> dict[str, list[int]]:
        """Classes with fewer than `size` training images in a fold: [fewest, most] over the folds.

        By name, those with the fewest first.
        """
        labels = sorted({label for fold in folds for label in fold.short.get(size, {})})
        had = {n: [fold.short.get(size, {}).get(n, size) for fold in folds] for n in labels}
        ordered = sorted(had, key=lambda label: (min(had[label]), label))
        return {self.classes[label]: [min(had[label]), max(had[label])] for label in ordered}


class Basis:
    """Features (N, d) of a set as coordinates from which a softmax learns the same.

    With fewer training images than dimensions these are coordinates in the span of the training
    images, by the inner products of all pairs; else, or with too many images for those, the
    features themselves.
    """

    def __init__(self, features: np.ndarray) -> None:
        self.features = features

    @cached_property
    def gram(self) -> np.ndarray:
        """Inner products of all pairs, (N, N)."""
        return gram(self.features)

    def coordinates(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the rows `train` and `test`: features divided by the training rows' mean norm."""
        images, dimensions = self.features.shape
        if len(train) < dimensions and images <= GRAM_IMAGES:
            span = Span.of(self.gram, train)
            return span.train, span.project(self.gram, test)
        own = self.features[train].astype(np.float64)
        scale = math.sqrt(float(np.square(own).sum(1).mean())) or 1.0
        return own / scale, self.features[test].astype(np.float64) / scale
