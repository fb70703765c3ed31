"""Pairs of pictures of one class with keypoints, the second of each enlarged and shifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zfnet.methods.alignment import THRESHOLDS, copied, pck, relative_errors
from zfnet.studies.base import turns
from zfnet.studies.faces import Faces

WINDOW = (0.7, 0.9)  # of the picture's side: what is cut from the second of a pair and enlarged
MARGIN = 0.1  # of the box's longer side that the cut leaves around the keypoints
# Photographs come without boxes. A face's box is that of its keypoints, so many times as large
# about its middle: rendered ones, whose boxes are known, have 3.1 times in the median (2.2 to 4.2).
BOX_OF_PARTS = 3.0


def some(faces: Faces, rows: np.ndarray) -> Faces:
    """Those of `faces` at `rows`."""
    return Faces(
        [faces.ids[i] for i in rows],
        [faces.groups[i] for i in rows],
        faces.pixels[rows],
        faces.parts[rows],
        faces.boxes[rows],
        [faces.trained[i] for i in rows],
    )


def couple(faces: Faces, px: int, seed: int) -> np.ndarray:
    """Disjoint pairs (n, 2) of faces of one class with a keypoint in common.

    All known keypoints lie in the net's view of `px`. In a seeded random order, classes taking
    turns.
    """
    known = ~np.isnan(faces.parts)
    whole = (~known | ((faces.parts >= 0) & (faces.parts < px))).all((1, 2)) & known.any((1, 2))
    groups, rng = np.array(faces.groups), np.random.default_rng([seed, 17])
    found = []
    for name in np.unique(groups):
        own = rng.permutation(np.flatnonzero(whole & (groups == name)))
        found.append(own[: len(own) // 2 * 2].reshape(-1, 2))
    every = np.concatenate([*found, np.zeros((0, 2), np.int64)]).astype(np.int64)
    every = every[(known[every[:, 0]] & known[every[:, 1]]).any((1, 2))]
    every = every[rng.permutation(len(every))]
    return every[np.argsort(turns(groups[every[:, 0]]), kind="stable")]


@dataclass(frozen=True)
class FacePairs:
    """n pairs of pictures, the first as it is, the second cut and enlarged.

    ids (n) pairs, groups n names; of the first and of the second: pixels (n, 3, px, px) uint8,
    parts (n, K, 2), NaN for keypoints that a picture lacks, and boxes (n, 4), float64, in their own
    px. factor (n,): of the enlargement.
    """

    ids: list[tuple[str, str]]
    groups: list[str]
    pixels: tuple[Tensor, Tensor]
    parts: tuple[Tensor, Tensor]
    boxes: tuple[Tensor, Tensor]
    factor: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def of(faces: Faces, couples: np.ndarray, px: int, seed: int) -> FacePairs:
        """Those of `couples` (n, 2)."""
        boxes = faces.boxes
        if np.isnan(boxes).any():
            around = boxes_of_parts(faces.parts)
            boxes = np.where(np.isnan(boxes).any(1, keepdims=True), around, boxes)
        a, b = (some(replace(faces, boxes=boxes), each) for each in couples.T)
        rng = np.random.default_rng([seed, 19])
        pictures, parts, moved, factors = [], [], [], []
        for i in range(len(b)):
            corner, side = cut_of(b.parts[i], b.boxes[i], px, rng)
            factors.append(px / side)
            pictures.append(enlarged(b.pixels[i], corner, side))
            parts.append((b.parts[i] - corner) * factors[-1])
            moved.append((b.boxes[i] - np.tile(corner, 2)) * factors[-1])
        return FacePairs(
            list(zip(a.ids, b.ids, strict=True)),
            a.groups,
            (a.pixels, torch.stack(pictures)),
            (torch.from_numpy(a.parts), torch.from_numpy(np.stack(parts))),
            (torch.from_numpy(a.boxes), torch.from_numpy(np.stack(moved))),
            np.array(factors),
        )

    def copies(self, boxes: bool = False) -> Tensor:
        """Places (2, n, K, 2) by `copied`; boxes: within the objects' boxes."""
        (a, b), own = self.parts, self.boxes
        if not boxes:
            return torch.stack([copied(a), copied(b)])
        return torch.stack([copied(a, own[0], own[1]), copied(b, own[1], own[0])])

    def moved(self) -> np.ndarray:
        """How far a keypoint of the second lies from the first's, in sides of its box: (n, K)."""
        moved: np.ndarray = relative_errors(self.parts[0], self.parts[1], self.boxes[1]).numpy()
        return moved

    def limits(self) -> np.ndarray:
        """How near is found in the second of each pair, px: (n,)."""
        box = self.boxes[1].numpy()
        longer: np.ndarray = (box[:, 2:] - box[:, :2]).max(1)
        return THRESHOLDS[1] * longer

    def hits(self, places: Tensor) -> np.ndarray:
        """Shares (n, T) of keypoints within THRESHOLDS, of places (2, n, K, 2), both ways."""
        both = [
            pck(places[way], self.parts[1 - way], self.boxes[1 - way]).numpy() for way in (0, 1)
        ]
        mean: np.ndarray = np.mean(both, 0)
        return mean

    def at_mirrored(self, places: Tensor, mirror: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Shares (n,) within 0.1 of the part or its mirror image, and of the latter alone.

        mirror (K,): which part is each one's mirror image, by `mirrored`.
        """
        either: list[np.ndarray] = []
        other: list[np.ndarray] = []
        for way in (0, 1):
            true, boxes = self.parts[1 - way], self.boxes[1 - way]
            errors = relative_errors(places[way], true, boxes).numpy()
            own, unknown = errors <= THRESHOLDS[1], np.isnan(errors)
            there = relative_errors(places[way], true[:, list(mirror)], boxes).numpy()
            swapped = (there <= THRESHOLDS[1]) & ~own
            for found, each in ((either, own | swapped), (other, swapped)):
                found.append(np.ma.MaskedArray(each, unknown).mean(1).filled(np.nan))
        return np.mean(either, 0), np.mean(other, 0)


def boxes_of_parts(parts: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) about the keypoints (n, K, 2), BOX_OF_PARTS times their extent, square."""
    low, high = np.nanmin(parts, 1), np.nanmax(parts, 1)
    half = BOX_OF_PARTS / 2 * np.maximum((high - low).max(1, keepdims=True), 1.0)
    return np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half], 1)


def cut_of(
    parts: np.ndarray, box: np.ndarray, px: int, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Corner (2,) and side of a random square cut that holds the keypoints (K, 2), in whole px.

    Its side is drawn from WINDOW, and larger where the keypoints need more; its place is drawn
    among those that leave MARGIN around them, as far as the picture goes.
    """
    margin = MARGIN * max(box[2] - box[0], box[3] - box[1])
    low = np.clip(np.floor(np.nanmin(parts, 0) - margin), 0, px)
    high = np.clip(np.ceil(np.nanmax(parts, 0) + margin), 0, px)
    drawn = round(px * rng.uniform(*WINDOW))
    side = int(max(drawn, *(high - low)))
    first, last = np.maximum(high - side, 0), np.minimum(low, px - side)
    return rng.integers(first.astype(np.int64), last.astype(np.int64) + 1), side


def enlarged(picture: Tensor, corner: np.ndarray, side: int) -> Tensor:
    """The square of a picture (3, px, px) uint8, as large as the picture."""
    (y, x), px = corner.tolist(), picture.shape[-1]
    part = picture[None, :, y : y + side, x : x + side].float()
    large = F.interpolate(part, (px, px), mode="bicubic", align_corners=False)
    return large.round().clamp(0, 255).to(torch.uint8)[0]


def mirrored(parts: Sequence[str]) -> list[int]:
    """Which part is each one's mirror image: left and right changed, else itself."""
    other = {"left": "right", "right": "left"}
    names = ["_".join(other.get(word, word) for word in part.split("_")) for part in parts]
    return [parts.index(name) if name in parts else i for i, name in enumerate(names)]
