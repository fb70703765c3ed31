"""Images with several labels: how a prepared set holds them, and how they are read back."""

from __future__ import annotations

import numpy as np

from zfnet.data.store import Prepared
from zfnet.errors import UserError

# An image's attributes: ids of classes in one string, spaces between them.
PRESENT, DIFFICULT = "present", "difficult"


def labels_of(prepared: Prepared, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which classes each image shows, and which only doubtfully: (N, C) bool, twice.

    The second marks classes of which the image shows nothing but objects marked as difficult: in
    neither positives nor negatives when scoring. Raises `UserError` for a set without such labels.
    """
    missing = {PRESENT, DIFFICULT} - set(prepared.meta.attributes)
    if missing:
        raise UserError(
            f"{prepared.path}: has no attributes {' and '.join(sorted(missing))}; only the source "
            "voc gives an image several labels."
        )
    column = {info.id: info.index for info in prepared.classes}
    attributes = prepared.split(split).attributes
    present, difficult = (
        _matrix([str(text) for text in attributes[name]], column) for name in (PRESENT, DIFFICULT)
    )
    return present, difficult


def _matrix(texts: list[str], column: dict[str, int]) -> np.ndarray:
    marks = np.zeros((len(texts), len(column)), bool)
    for row, text in enumerate(texts):
        for id in text.split():
            marks[row, column[id]] = True
    return marks
