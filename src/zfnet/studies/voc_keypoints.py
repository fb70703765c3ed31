"""Berkeley's keypoints of PASCAL VOC objects (Bourdev & Malik), as pictures of single objects.

A folder of <category>/<image>_<number>.xml, each with the object's visible_bounds and its keypoints
by name, in pixels of the photograph; which lies in a VOC folder's JPEGImages beside or above it. Of
each object a square around its bounds is cut and scaled to the net's view. Objects have different
keypoints: those that a class lacks, that are hidden or that lie outside the square are NaN.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from zfnet.data import datasets
from zfnet.data.decode import DecodeError, fit_array, open_upright
from zfnet.errors import UserError
from zfnet.studies.base import Inputs
from zfnet.studies.faces import Faces

AROUND = 1.2  # side of the square, of the longer side of the bounds
LEAST_PX, LEAST_PARTS = 64, 2  # of the longer side in the photograph; keypoints seen
IMAGES = ("JPEGImages", "VOC2011/JPEGImages", "VOC2012/JPEGImages")


@dataclass(frozen=True)
class VOCObject:
    """One annotated object: y0, x0, y1, x1 and keypoints (y, x) in px of the photograph."""

    name: str
    category: str
    photo: Path
    box: tuple[float, float, float, float]
    parts: dict[str, tuple[float, float]]


def read_objects(folder: Path) -> list[VOCObject]:
    """The objects below `folder` that are large enough and have LEAST_PARTS keypoints in sight.

    Raises UserError naming the file at fault, or what is missing.
    """
    files = sorted(folder.glob("*/*.xml"))
    if not files:
        raise UserError(f"{folder}: no <category>/<image>_<number>.xml in it")
    images = _images_of(folder)
    read = [_object(file, images) for file in files]
    kept = [each for each in read if each is not None]
    if not kept:
        raise UserError(
            f"{folder}: no object of {LEAST_PX} px with {LEAST_PARTS} keypoints in sight"
        )
    return kept


def _images_of(folder: Path) -> Path:
    for above in (folder, *folder.parents[:3], *(p / "VOCdevkit" for p in folder.parents[:3])):
        for name in IMAGES:
            if (above / name).is_dir():
                return above / name
    raise UserError(
        f"{folder}: no {' or '.join(IMAGES)} in it or above it; put VOC's photographs there"
    )


def _object(file: Path, images: Path) -> VOCObject | None:
    try:
        content = file.read_bytes()
        if b"<!DOCTYPE" in content:  # entities that expand without end are no annotation's
            raise ValueError("a document type")
        root = ElementTree.fromstring(content)
        bounds = root.find("visible_bounds")
        if bounds is None:
            return None
        x, y, width, height = (float(bounds.attrib[k]) for k in ("xmin", "ymin", "width", "height"))
        parts = {
            each.attrib["name"].strip(): (float(each.attrib["y"]), float(each.attrib["x"]))
            for each in root.iterfind("keypoints/keypoint")
            if each.get("visible", "1") == "1"
        }
        image = (root.findtext("image") or "").strip()
    except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
        raise UserError(f"{file}: is no keypoint annotation ({error!r})") from error
    numbers = [x, y, width, height, *(v for place in parts.values() for v in place)]
    if not all(map(math.isfinite, numbers)) or not image or "/" in image or "\\" in image:
        raise UserError(f"{file}: is no keypoint annotation (bounds, keypoints or image)")
    if max(width, height) < LEAST_PX or len(parts) < LEAST_PARTS:
        return None
    photo = images / f"{image}.jpg"
    if not photo.is_file():
        raise UserError(f"{file}: its photograph is missing: {photo}")
    name = f"{file.parent.name}/{file.stem}"
    return VOCObject(name, file.parent.name, photo, (y, x, y + height, x + width), parts)


def _cut(each: VOCObject, px: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The square around an object, scaled to `px`; its corner (2,) and side in the photograph.

    Beyond the photograph's border its last pixels go on.
    """
    try:
        pixels = np.asarray(open_upright(each.photo)[0])
    except DecodeError as error:
        raise UserError(f"{each.photo}: {error.reason}") from error
    low, high = np.array(each.box[:2]), np.array(each.box[2:])
    side = math.ceil(AROUND * float((high - low).max()))
    corner = np.round((low + high - side) / 2).astype(np.int64)
    rows, cols = (
        np.clip(np.arange(start, start + side), 0, length - 1)
        for start, length in zip(corner.tolist(), pixels.shape[:2], strict=True)
    )
    return fit_array(pixels[rows][:, cols], px), corner, side


def faces_of_objects(objects: Sequence[VOCObject], inputs: Inputs) -> tuple[Faces, list[str]]:
    """The objects in the net's view, and the names of all their keypoints.

    Whether the photographs were trained on is left unanswered. Raises UserError for one that cannot
    be decoded.
    """
    px = inputs.net.input_px
    names = sorted({part for each in objects for part in each.parts})
    squares = np.empty((len(objects), px, px, 3), np.uint8)
    parts = np.full((len(objects), len(names), 2), np.nan)
    boxes = np.empty((len(objects), 4))
    for i, each in enumerate(objects):
        squares[i], corner, side = _cut(each, px)
        factor = px / side
        boxes[i] = np.clip((np.array(each.box) - np.tile(corner, 2)) * factor, 0, px)
        for part, place in each.parts.items():
            at = (np.array(place) - corner) * factor
            if ((at >= 0) & (at < px)).all():
                parts[i, names.index(part)] = at
    whole = torch.from_numpy(squares).permute(0, 3, 1, 2)
    faces = Faces(
        ids=[each.name for each in objects],
        groups=[each.category for each in objects],
        pixels=datasets.fit_to(whole, px),
        parts=parts,
        boxes=boxes,
        trained=[None] * len(objects),
    )
    return faces, names
