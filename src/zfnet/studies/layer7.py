"""Layer 7's features as coordinates for a new softmax, on which Tables 4 to 6 rest."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from zfnet.methods.linear import Span, gram
from zfnet.studies.feature_store import TRAINED
from zfnet.studies.feature_store import UNTRAINED as UNTRAINED_NET

LAYER = 7
PRETRAINED, SCRATCH, UNTRAINED = "pretrained", "scratch", "untrained"  # the methods compared
NETS = {PRETRAINED: TRAINED, UNTRAINED: UNTRAINED_NET}  # whose features a method rests on
GRAM_IMAGES = 11_000  # larger sets would need more than 1 GB for the inner products of all pairs


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
