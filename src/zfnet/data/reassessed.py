"""The labels that several people gave the ILSVRC-2012 validation photographs (Beyer et al. 2020).

real.json of google-research/reassessed-imagenet: a list of 50,000 lists of classes, 0 to 999 in the
order of sorted WordNet ids; the place is the number in the photograph's name minus 1 (its README
says plus 1). Empty lists are photographs on which nobody agreed; they are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zfnet.data.sample import ClassInfo
from zfnet.data.sources.files import read_class_names
from zfnet.errors import UserError

FILE = "real.json"
SYNSETS = "LOC_synset_mapping.txt"  # Kaggle's: a line a class, its WordNet id first
PHOTOS, CLASSES = 50_000, 1000
WNID = re.compile(r"n\d{8}")
PHOTO = re.compile(r"ILSVRC2012_val_(\d{8})(?!\d)")
IMAGENETTE = {  # places of Imagenette's ten classes among the sorted WordNet ids
    "n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497,
    "n03394916": 566, "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701,
}  # fmt: skip


def find_reassessed(folders: Sequence[Path]) -> Path | None:
    """The file, in the first of the folders that has it."""
    return next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)


def read_reassessed(file: Path) -> list[list[int]]:
    """The labels of all 50,000 photographs. Raises UserError for a file of another form."""
    try:
        labels = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({error}): download it again") from error
    form = isinstance(labels, list) and len(labels) == PHOTOS
    if not form or not all(
        isinstance(each, list) and all(type(c) is int and 0 <= c < CLASSES for c in each)
        for each in labels
    ):
        raise UserError(
            f"{file} is not {PHOTOS:,} lists of classes from 0 to {CLASSES - 1}: download "
            "real.json of google-research/reassessed-imagenet again"
        )
    return labels


def photo_numbers(ids: Sequence[str]) -> dict[int, int]:
    """The number (from 1) of each ILSVRC-2012 validation photograph among `ids`, by its place."""
    numbers = ((place, PHOTO.search(name)) for place, name in enumerate(ids))
    return {
        place: int(match[1]) for place, match in numbers if match and 0 < int(match[1]) <= PHOTOS
    }


def places_of(classes: Sequence[ClassInfo], beside: Path) -> list[int] | None:
    """The place of each class among the sorted 1,000; None where nothing tells.

    beside: the folder in which SYNSETS is looked for, where the classes are neither all nor
    Imagenette's.
    """
    wnids = [each.id for each in classes]
    if set(wnids) <= set(IMAGENETTE):
        return [IMAGENETTE[wnid] for wnid in wnids]
    if not all(WNID.fullmatch(wnid) for wnid in wnids):
        return None
    every = sorted(wnids)
    if len(every) < CLASSES and (beside / SYNSETS).is_file():
        every = sorted(read_class_names(beside / SYNSETS, "reassessed labels"))
    if len(every) != CLASSES or not set(wnids) <= set(every):
        return None
    place = {wnid: i for i, wnid in enumerate(every)}
    return [place[wnid] for wnid in wnids]


def outside(
    labels: Sequence[Sequence[int]],
    numbers: dict[int, int],
    given: np.ndarray,
    place: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Which photographs were judged, rows (n,), and whether their given label is none of theirs.

    numbers: of each row's photograph. given (N,): the class of each row. place: of each class.
    """
    judged = [row for row, number in numbers.items() if labels[number - 1]]
    apart = [place[int(given[row])] not in labels[numbers[row] - 1] for row in judged]
    return np.array(judged, np.int64), np.array(apart, bool)
