"""Do features know where things are? Carries keypoints from one image to another by its columns.

Long, Zhang & Darrell 2014, "Do Convnets Learn Correspondence?": a feature column is what all maps
of a layer say at one place. A keypoint of image A moves to image B with its column's nearest
neighbour; the share that lands within a fraction of the object's size is the PCK. Each keypoint is
matched by itself, without the smoothness term of the paper's flow.

Places are rows and columns in pixels of the images, edges counted from 0: pixel i spans i to i + 1.
Boxes are (y0, x0, y1, x1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods._forward import (
    Layer,
    UnsupportedModel,
    check_images,
    layer_path,
    output_of,
    undisturbed,
)
from zfnet.methods.receptive_field import receptive_field

Distance = Literal["cosine", "l2"]
THRESHOLDS = (0.05, 0.1, 0.2)
CELLS, ORIENTATIONS, CLIP = 4, 8, 0.2  # Lowe 2004, section 6
SIFT_BATCH = 32  # images; each takes 8 maps of its own size


@dataclass(frozen=True)
class Columns:
    """Feature columns of N images on a grid of h x w places.

    values: (N, C, h, w); rows (h,), cols (w,): float64, the pixels on which the places are centred.
    """

    values: Tensor
    rows: Tensor
    cols: Tensor

    def __getitem__(self, images: Tensor | list[int]) -> Columns:
        """The columns of some images, by integers (M,) or a mask (N,)."""
        return Columns(self.values[images], self.rows, self.cols)

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The column nearest to each point (N, K, 2): columns (N, K, C), their centres (N, K, 2).

        Halfway between two places the upper or left one is taken; points must be numbers.
        """
        y, x = (
            (points[..., axis, None].to(centres) - centres).abs().argmin(-1)
            for axis, centres in enumerate((self.rows, self.cols))
        )
        images = torch.arange(len(self.values), device=y.device)[:, None]
        return self.values[images, :, y, x], torch.stack([self.rows[y], self.cols[x]], -1)


def columns(
    model: nn.Module,
    images: Tensor,
    layer: Layer,
    step: int | None = None,
    batch_size: int = 64,
) -> Columns:
    """The feature columns of `layer`, centred where their receptive fields are.

    images: net input (N, C, H, W), float. layer: module path, or the paper's number where the model
    defines it. The centre is that of the whole field, with what lies in the padding.
    step: px between places, a divisor of the layer's stride; None: the stride. Places in between
    come from copies of the images shifted up and left, their last pixels repeated: (stride/step)²
    passes. Without them the grid of a deep layer is coarser than the errors that PCK counts.

    Raises `UnsupportedModel` where the layer has no spatial map (vectors, one place, places that
    all see the whole image) or its places lie on no regular grid, `UserError` for unknown layers,
    steps that do not divide the stride, features that are no numbers. The model is left as found.
    """
    check_images(images)
    path = layer_path(model, layer)
    field = receptive_field(model, path, (images.shape[2], images.shape[3]))
    if field.places == (1, 1) or any(
        n > 1 and stride == 0 for n, stride in zip(field.places, field.stride, strict=True)
    ):
        raise UnsupportedModel(
            f"layer {path!r} has no spatial map: {field.places[0]} x {field.places[1]} places, "
            f"{field.stride[0]} x {field.stride[1]} px apart, on images of {field.image[0]} x "
            f"{field.image[1]} px"
        )
    shifts, centres = [], []
    for axis, (n, stride) in enumerate(zip(field.places, field.stride, strict=True)):
        if step is not None and (step < 1 or stride % step):
            raise UserError(f"step {step} does not divide {stride} px, the stride of {path!r}")
        place = torch.zeros(n, 2, dtype=torch.int64)
        place[:, axis] = torch.arange(n)
        exact, whole = (field.boxes(place, clip)[:, [axis, axis + 2]] for clip in (True, False))
        if (exact[:, 0] < whole[:, 0]).any() or (exact[:, 1] > whole[:, 1]).any():
            raise UnsupportedModel(f"the places of layer {path!r} do not lie on a regular grid")
        shifts.append(range(0, stride, step or stride) if stride else range(1))
        centre = whole.double().mean(1)[:, None] + torch.tensor(shifts[-1])
        centres.append(centre.flatten().to(images.device))
    values = _stitched(model, images, path, shifts, batch_size)
    if not values.isfinite().all():
        raise UserError(f"layer {path!r} gives values that are no numbers")
    return Columns(values, centres[0], centres[1])


def transfer_keypoints(
    a: Columns,
    b: Columns,
    keypoints: Tensor,
    boxes: Tensor | None = None,
    distance: Distance = "cosine",
) -> tuple[Tensor, Tensor]:
    """Carry the keypoints of N images A to N images B by the nearest neighbour of their columns.

    keypoints: (N, K, 2) in A, NaN where unknown. boxes: (N, 4) of the objects in B: only columns
    centred inside are searched, along an axis without any those nearest to the box; None: all.
    distance: "cosine": 1 − cos, by which a column of zeros is at 1 from every other; or "l2".

    A keypoint is read at the column nearest to it and moves as that column does, to
    keypoint + (centre in B − centre in A), as by a flow: what the grid rounds off is not lost.
    Of equal neighbours the first in reading order is taken.
    Returns places in B (N, K, 2), float64, and distances (N, K), NaN where a keypoint is unknown.
    Raises `UserError` for shapes that do not belong together, and for boxes without an area.
    """
    n, channels = a.values.shape[:2]
    if b.values.shape[:2] != (n, channels):
        raise UserError(
            f"A has {n} images of {channels} maps, B {len(b.values)} of {b.values.shape[1]}: "
            "give pairs, from the same layer"
        )
    if distance not in ("cosine", "l2"):
        raise UserError(f"distance={distance}: choose cosine or l2")
    _check(n, keypoints=keypoints)
    if boxes is not None:
        _longer_side(boxes, n)
    points = keypoints.to(a.rows)
    known = points.isfinite().all(-1)
    asked, start = a.at(points.nan_to_num())
    places = torch.full_like(points, math.nan)
    distances = torch.full(known.shape, math.nan, dtype=a.values.dtype, device=points.device)
    for i in range(n):  # one pair at a time: all distances at once may not fit
        apart = _distances(asked[i], b.values[i].flatten(1).mT, distance)  # (K, h·w)
        if boxes is not None:
            box = boxes[i].to(b.rows)
            inside = _nearest(b.rows, box[0], box[2])[:, None] & _nearest(b.cols, box[1], box[3])
            apart = apart.masked_fill(~inside.flatten(), math.inf)
        nearest = apart.argmin(1)
        width = len(b.cols)
        end = torch.stack([b.rows[nearest // width], b.cols[nearest % width]], -1)
        places[i] = points[i] + (end - start[i])
        distances[i] = apart.gather(1, nearest[:, None])[:, 0]
    unknown = ~known
    return places.masked_fill(unknown[..., None], math.nan), distances.masked_fill(
        unknown, math.nan
    )


def relative_errors(places: Tensor, keypoints: Tensor, boxes: Tensor) -> Tensor:
    """How far each place lies from its keypoint, in longer sides of the object's box: (N, K).

    places, keypoints: (N, K, 2) in B; boxes: (N, 4) of the objects in B. NaN where either is
    unknown. Raises `UserError` for shapes that do not belong together, boxes without an area.
    """
    _check(len(keypoints), places=places, keypoints=keypoints)
    side = _longer_side(boxes, len(keypoints))
    away = places.double() - keypoints.to(places.device).double()
    return away.square().sum(-1).sqrt() / side.to(away)[:, None]


def pck(
    places: Tensor, keypoints: Tensor, boxes: Tensor, thresholds: Sequence[float] = THRESHOLDS
) -> Tensor:
    """Percentage of correct keypoints as a share: (N, T) float64, 0..1, of each pair's known ones.

    Correct is a place at most `threshold` longer sides of B's object box from the true one (not
    sides of the image, which others take). NaN for pairs of which no keypoint is known. Arguments
    and errors are those of `relative_errors`.
    """
    errors = relative_errors(places, keypoints, boxes)[..., None]
    limits = torch.tensor(thresholds, dtype=errors.dtype, device=errors.device)
    return (errors <= limits).double().where(errors.isfinite(), math.nan).nanmean(1)


def copied(
    keypoints: Tensor, boxes_a: Tensor | None = None, boxes_b: Tensor | None = None
) -> Tensor:
    """What is known without looking: the coordinates (N, K, 2) of A, unchanged, as places in B.

    With the objects' boxes (N, 4) in A and B: the same place relative to the box, which is the
    control for a search inside B's box.
    """
    if boxes_a is None or boxes_b is None:
        if boxes_a is not None or boxes_b is not None:
            raise UserError("copied: give the boxes of both images or of neither")
        return keypoints.double()
    for boxes in (boxes_a, boxes_b):
        _longer_side(boxes, len(keypoints))
    a, b = (boxes.to(keypoints.device).double()[:, None] for boxes in (boxes_a, boxes_b))
    share = (keypoints.double() - a[..., :2]) / (a[..., 2:] - a[..., :2])
    return b[..., :2] + share * (b[..., 2:] - b[..., :2])


def grey_patches(images: Tensor, size: int, stride: int) -> Columns:
    """Columns of grey pixels: the patches of size x size px, every `stride`, that fit.

    images: (N, C, H, W), float; grey is the mean of the channels. Each patch has its mean removed,
    so that the cosine of two is their correlation; one of a single grey is zeros.
    """
    check_images(images)
    rows, cols = (_grid(length, size, stride, images) for length in images.shape[2:])
    patches = F.unfold(images.mean(1, keepdim=True), size, stride=stride)  # (N, size², h·w)
    patches = patches - patches[:, :1]  # first, so that one grey gives exact zeros
    patches = patches - patches.mean(1, keepdim=True)
    return Columns(patches.unflatten(2, (len(rows), len(cols))), rows, cols)


def dense_sift(images: Tensor, cell: int, stride: int) -> Columns:
    """Columns of SIFT descriptors (Lowe 2004), upright and of one scale, every `stride` px.

    images: (N, C, H, W), float; grey is the mean of the channels. Give the picture, not one with a
    mean image subtracted. Each descriptor has 4 x 4 cells of `cell` px and lies inside the image.
    Gradients are central differences, not smoothed before; they are shared out linearly among the
    8 orientations (0: brighter to the right, then clockwise by 45°) and the cells, under a Gaussian
    of 2 cells; then normalised, clipped at 0.2, normalised again. Flat ground is zeros.
    values: (N, 8 · 4 · 4, h, w): orientation, row, column of the cell.
    """
    check_images(images)
    rows, cols = (_grid(length, CELLS * cell, stride, images) for length in images.shape[2:])
    edge = (cell + 1) // 2  # cells reach half a cell beyond the square of 4 x 4
    pixels = torch.arange(-edge, CELLS * cell + edge, device=images.device)
    t = (pixels.to(images) + 0.5) / cell - CELLS / 2  # in cells from the centre
    middles = torch.arange(CELLS).to(images)[:, None] - (CELLS - 1) / 2
    taps = (1 - (t - middles).abs()).clamp(min=0) * (-(t**2) / (2 * (CELLS / 2) ** 2)).exp()
    bins = torch.arange(ORIENTATIONS).to(images)[:, None, None]
    half = ORIENTATIONS / 2
    parts = []
    for part in images.split(SIFT_BATCH):
        down, across = torch.gradient(part.mean(1), dim=(1, 2))
        angle = torch.atan2(down, across)[:, None] * half / math.pi  # in bins
        shares = (1 - ((angle - bins + half) % ORIENTATIONS - half).abs()).clamp(min=0)
        maps = (torch.hypot(down, across)[:, None] * shares).flatten(0, 1)[:, None]
        maps = F.conv2d(maps, taps[:, None, :, None], stride=(stride, 1), padding=(edge, 0))
        maps = maps.flatten(0, 1)[:, None]
        maps = F.conv2d(maps, taps[:, None, None, :], stride=(1, stride), padding=(0, edge))
        maps = F.normalize(maps.reshape(len(part), -1, *maps.shape[2:]), dim=1)
        parts.append(F.normalize(maps.clamp(max=CLIP), dim=1))
    return Columns(torch.cat(parts), rows, cols)


def _stitched(
    model: nn.Module, images: Tensor, path: str, shifts: Sequence[range], batch_size: int
) -> Tensor:
    """The maps of a layer on images shifted up and left by each of `shifts`, interleaved."""
    height, width = images.shape[2:]
    padded = F.pad(images, (0, shifts[1][-1], 0, shifts[0][-1]), mode="replicate")
    rows = []
    with torch.no_grad(), undisturbed(model):
        for y in shifts[0]:
            cols = []
            for x in shifts[1]:
                moved = padded[:, :, y : y + height, x : x + width]
                # Copies, since a model may write into its input.
                parts = [output_of(model, path, part.clone()) for part in moved.split(batch_size)]
                cols.append(torch.cat(parts))
            rows.append(torch.stack(cols, 4).flatten(3))
    values = torch.stack(rows, 3).flatten(2, 3)
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _distances(a: Tensor, b: Tensor, distance: Distance) -> Tensor:
    """Distances (K, M) of columns (K, C) and (M, C), exactly 0 between equal ones."""
    exact = "donot_use_mm_for_euclid_dist"
    a, b = a.contiguous(), b.contiguous()  # one layout, so that norms round alike
    if distance == "l2":
        return torch.cdist(a, b, compute_mode=exact)
    norms = [x.norm(dim=1, keepdim=True) for x in (a, b)]
    u, v = (
        x / norm.where(norm > 0, torch.ones_like(norm))
        for x, norm in zip((a, b), norms, strict=True)
    )
    zeros = (norms[0] == 0) | (norms[1] == 0).mT
    # 1 − cos of unit vectors; the product itself would leave rounding between equal columns.
    return (torch.cdist(u, v, compute_mode=exact).square() / 2).masked_fill(zeros, 1.0)


def _nearest(centres: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Which of the centres (n,) lie in start..end, or nearest to it where none does."""
    gap = torch.maximum(start - centres, centres - end).clamp(min=0)
    return gap == gap.min()


def _grid(length: int, size: int, stride: int, like: Tensor) -> Tensor:
    """Centres of the windows of `size` px, every `stride` px, that fit into `length` px."""
    if not 1 <= size <= length or stride < 1:
        raise UserError(f"windows of {size} px, every {stride} px, do not fit into {length} px")
    starts = torch.arange(0, length - size + 1, stride, device=like.device)
    return starts.double() + size / 2


def _check(n: int, **points: Tensor) -> None:
    """Raise `UserError` unless each of `points` is (n, K, 2), K the same."""
    shapes = {tuple(value.shape) for value in points.values()}
    if len(shapes) > 1 or len(shape := shapes.pop()) != 3 or (shape[0], shape[2]) != (n, 2):
        raise UserError(
            f"{' and '.join(points)} must be ({n}, K, 2): row and column in px of each keypoint of "
            f"each pair; got {', '.join(str(tuple(value.shape)) for value in points.values())}"
        )


def _longer_side(boxes: Tensor, n: int) -> Tensor:
    """The longer side of each box (n, 4), in px: (n,) float64."""
    if boxes.shape != (n, 4):
        raise UserError(f"boxes must be ({n}, 4): y0, x0, y1, x1 in px; got {tuple(boxes.shape)}")
    sides = boxes[:, 2:].double() - boxes[:, :2].double()
    if not (boxes.isfinite().all() and (sides > 0).all()):
        bad = int((~(boxes.isfinite().all(1) & (sides > 0).all(1))).nonzero()[0])
        raise UserError(f"boxes: {boxes[bad].tolist()} (pair {bad}) has no area; y0, x0, y1, x1")
    return sides.amax(1)
