"""Faces with known eyes and noses: from a prepared split, or from anyone's own photos.

The JSON format for photos of your own (x to the right and y down, in pixels of the upright image;
left and right as seen in the picture, so left_eye is the eye with the smaller x):

    {"note": "placed by eye",
     "images": [
      {"file": "dogs/rex.jpg", "group": "dog",
       "left_eye": [90, 77], "right_eye": [135, 75], "nose": [112, 141]}
    ]}

"file" is relative to the JSON file's folder. "group" (what the faces have in common, such as the
species) and "note" (quoted in the result) may be left out; further keys are ignored. Of each photo
the net sees the centre square, as of any prepared image: crop the photo beforehand where the face
is small or off centre.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zfnet.data import datasets
from zfnet.data.decode import DecodeError, fit_square, open_upright, square_corner
from zfnet.data.prefetch import prefetch
from zfnet.data.store import PreparedSplit
from zfnet.errors import UserError
from zfnet.methods.duplicates import similar_pairs, vectors
from zfnet.studies.base import Inputs

KEY = "study.correspondence.photos"
SIDE = 32  # cells a side at which photos and training images are compared
SAME = 0.95  # normalised correlation from which they count as one picture
NAMES_ABOVE = 100_000  # training images; larger sets are compared by file name alone, for time
OUTSIDE, SMALL = "outside", "small"


@dataclass(frozen=True)
class Faces:
    """N faces as the net sees them.

    ids, groups: N names, of the images and of what they have in common; pixels (N, 3, px, px)
    uint8; parts (N, P, 2) float, y and x of each named part in the same px; boxes (N, 4) y0, x0,
    y1, x1 of the object, NaN where unknown; trained: N answers to whether the image is in the
    training set, None: not known.
    """

    ids: list[str]
    groups: list[str]
    pixels: Tensor
    parts: np.ndarray
    boxes: np.ndarray
    trained: list[bool | None]

    def __len__(self) -> int:
        return len(self.ids)


def faces_of_split(
    inputs: Inputs, parts: Sequence[str], classes: Sequence[str] | None, trained: bool | None
) -> Faces:
    """The images of a prepared split that have all `parts`, of the named classes or of any.

    trained: what is known of all of them. Raises UserError for a class that the data do not have.
    """
    for name in classes or ():
        if name not in inputs.class_names:
            raise UserError(
                f"study.correspondence.classes: the data have no class {name!r}; they have "
                f"{', '.join(inputs.class_names[:12])}"
            )
    known = inputs.split.parts
    rows = inputs.rows if all(name in known for name in parts) else inputs.rows[:0]
    places = np.full((len(rows), len(parts), 2), np.nan)
    for number, name in enumerate(parts if len(rows) else ()):
        places[:, number] = np.asarray(known[name], np.float64)[rows][:, ::-1]
    names = np.array(inputs.class_names)[inputs.labels[rows]]
    whole = ~np.isnan(places).any((1, 2))
    if classes is not None:
        whole &= np.isin(names, classes)
    rows, places = rows[whole], places[whole]
    boxes = inputs.boxes(rows)
    return Faces(
        ids=[inputs.split.ids[row] for row in rows],
        groups=names[whole].tolist(),
        pixels=inputs.pixels(rows),
        parts=(places - inputs.view.start) * inputs.view.factor,
        boxes=np.full((len(rows), 4), np.nan) if boxes is None else boxes,
        trained=[trained] * len(rows),
    )


# ----------------------------------------------------------------------------------- own photos
@dataclass(frozen=True)
class Photo:
    """One entry of the JSON file: places are (y, x) px of the upright file."""

    name: str
    path: Path
    group: str
    places: tuple[tuple[float, float], ...]


def find_photos(data_root: Path, name: str, option: str = KEY, *, folders: bool = False) -> Path:
    """The JSON file `name`: absolute, or under the data folder's raw/, or under the data folder.

    folders: a folder will do too. Raises UserError that names the `option` where there is none.
    """
    given = Path(name).expanduser()
    places = [given] if given.is_absolute() else [data_root / "raw" / given, data_root / given]
    for place in places:
        if place.is_file() or (folders and place.is_dir()):
            return place
    raise UserError(f"{option}={name}: no such file; looked for {' and '.join(map(str, places))}")


def read_photos(file: Path, parts: Sequence[str]) -> tuple[list[Photo], str]:
    """Photos of the JSON file and its note; see the module's own text for the format.

    Raises UserError that names the file, the entry and what is wrong with it.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as JSON ({error})") from error
    entries = found.get("images") if isinstance(found, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UserError(f'{file}: expected {{"images": [ … ]}} with one entry a photo')
    photos = [_photo(file, number, entry, parts) for number, entry in enumerate(entries)]
    paths = [photo.path.resolve() for photo in photos]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise UserError(f"{file}: images[{number}]: {photos[number].name} is listed twice")
    note = found.get("note", "")
    return photos, note if isinstance(note, str) else ""


def _photo(file: Path, number: int, entry: Any, parts: Sequence[str]) -> Photo:
    where = f"{file}: images[{number}]"
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        raise UserError(f'{where}: needs "file", the photo\'s name relative to {file.parent}')
    where = f"{where} ({entry['file']})"
    path = file.parent / entry["file"]
    if not path.is_file():
        raise UserError(f"{where}: no such file: {path}")
    group = entry.get("group", "")
    if not isinstance(group, str):
        raise UserError(f'{where}: "group" must be a name, not {group!r}')
    at = {}
    for part in parts:
        if part not in entry:
            raise UserError(f'{where}: "{part}" is missing; give [x, y] in pixels')
        at[part] = _place(f'{where}: "{part}"', entry[part])
    if {"left_eye", "right_eye"} <= set(at) and at["left_eye"][1] >= at["right_eye"][1]:
        raise UserError(
            f"{where}: left_eye lies to the right of right_eye; left and right are as seen in the "
            "picture"
        )
    return Photo(entry["file"], path, group, tuple(at.values()))


def _place(where: str, value: Any) -> tuple[float, float]:
    numbers = isinstance(value, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in value
    )
    if not numbers or len(value) != 2:
        raise UserError(f"{where} must be [x, y] in pixels, not {value!r}")
    return float(value[1]), float(value[0])


def faces_of_photos(file: Path, photos: Sequence[Photo], inputs: Inputs) -> Faces:
    """The photos that `file` lists, as a prepared image would be, in the net's view.

    Whether they are in the training set is left unanswered. Raises UserError for a photo that
    cannot be decoded or a part outside it.
    """
    size = inputs.split.size
    squares = np.empty((len(photos), size, size, 3), np.uint8)
    places = np.empty((len(photos), len(photos[0].places) if photos else 0, 2))
    for number, photo in enumerate(photos):
        try:
            image, _ = open_upright(photo.path)
        except DecodeError as error:
            raise UserError(f"{photo.path}: {error.reason}") from error
        width, height = image.size
        for y, x in photo.places:
            if not (0 <= x < width and 0 <= y < height):
                raise UserError(
                    f"{file}: images[{number}] ({photo.name}): the part at [{x:g}, {y:g}] lies "
                    f"outside the photo of {width} x {height} px"
                )
        left, top = square_corner(width, height)
        squares[number] = fit_square(image, size)
        places[number] = (np.array(photo.places) - (top, left)) * size / min(width, height)
    whole = torch.from_numpy(squares).permute(0, 3, 1, 2)
    return Faces(
        ids=[photo.name for photo in photos],
        groups=[photo.group for photo in photos],
        pixels=datasets.fit_to(whole, inputs.net.input_px),
        parts=(places - inputs.view.start) * inputs.view.factor,
        boxes=np.full((len(photos), 4), np.nan),
        trained=[None] * len(photos),
    )


def in_training(faces: Faces, train: PreparedSplit, px: int) -> list[bool | None]:
    """Whether each face is a training image, plain or mirrored, in the net's view of `px`.

    Of a training set of more than NAMES_ABOVE images only the names are compared; a name that it
    does not hold then answers nothing.
    """
    if len(train) > NAMES_ABOVE:
        stems = {Path(name).stem for name in train.ids}
        return [True if Path(name).stem in stems else None for name in faces.ids]
    parts = [np.arange(i, min(i + 256, len(train))) for i in range(0, len(train), 256)]

    def reduced(rows: np.ndarray) -> np.ndarray:
        return _vectors(datasets.fit_to(datasets.pixels(train, rows), px))

    pairs = similar_pairs(_vectors(faces.pixels), prefetch(reduced, parts), SAME)
    same = set(pairs.first.tolist())
    return [row in same for row in range(len(faces))]


def _vectors(pixels: Tensor) -> np.ndarray:
    images = np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())
    return vectors(images, min(SIDE, images.shape[1]))


# -------------------------------------------------------------------------------------- geometry
def unfit(places: np.ndarray, px: int, size: int) -> str:
    """Why squares of `size` px cannot hide the parts (P, 2) of a face one by one; "" if they can.

    OUTSIDE: a part lies outside the net's view of `px`. SMALL: a square covers the middle of
    another part.
    """
    if not ((places >= 0) & (places < px)).all():
        return OUTSIDE
    for number, corner in enumerate(squares(places, px, size)):
        rest = np.delete(places, number, axis=0)
        if ((rest >= corner) & (rest < corner + size)).all(1).any():
            return SMALL
    return ""


def squares(places: np.ndarray, px: int, size: int) -> np.ndarray:
    """Top-left corners (…, 2) of squares centred at `places`, moved inwards at the border."""
    return np.clip(np.rint(places - size / 2), 0, px - size).astype(np.int64)


def free_places(corners: np.ndarray, px: int, size: int, box: np.ndarray | None) -> np.ndarray:
    """Where a square of `size` overlaps none of `corners` (P, 2): (px − size + 1,)² bool.

    box: y0, x0, y1, x1 that must hold the square's centre; None: the whole image.
    """
    free = np.ones((px - size + 1,) * 2, bool)
    for y, x in corners.tolist():
        free[max(0, y - size + 1) : y + size, max(0, x - size + 1) : x + size] = False
    if box is not None:
        centre = np.arange(px - size + 1) + size / 2
        rows = (centre >= box[0]) & (centre < box[2])
        cols = (centre >= box[1]) & (centre < box[3])
        free &= np.outer(rows, cols)
    return free


def draw_places(free: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` random corners (count, 2) of the free ones, without repeating while they last."""
    open_places = np.argwhere(free)
    if not len(open_places):
        raise UserError("no place is left for a random square; choose a smaller size")
    chosen = rng.choice(len(open_places), count, replace=count > len(open_places))
    return open_places[chosen]


def draw_shared(
    free: Sequence[np.ndarray], anchors: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Random corners that several images share, up to each image's own anchor: (n, count, 2).

    free: n masks of equal shape; anchors (n, 2) whole px: corner i = common vector + anchors[i].
    """
    by, shape = anchors - anchors[0], free[0].shape
    common = np.ones(shape, bool)
    for mask, (dy, dx) in zip(free, by.tolist(), strict=True):
        room = max(abs(dy), abs(dx))
        y, x = room + dy, room + dx
        common &= np.pad(mask, room)[y : y + shape[0], x : x + shape[1]]
    return draw_places(common, count, rng) + by[:, None]
