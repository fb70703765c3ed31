"""Geometric transforms of pictures, each in one resampling straight to the view that is wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zfnet.errors import UserError

INTERPOLATIONS = ("bilinear", "bicubic")
# Places are rounded to this part of a pixel, so that whole-pixel moves and quarter turns hit pixel
# centres exactly and give the pixels' own values.
GRAIN = 2**20
KEYS = -0.75  # of the cubic kernel (Keys 1981), the value that torch's own bicubic uses


def shifts(down: Sequence[float]) -> Tensor:
    """Matrices (T, 2, 3) that move the content down by `down` px (up where negative)."""
    matrices = scalings([1.0] * len(down))
    matrices[:, 0, 2] = -torch.tensor(list(down), dtype=torch.float64)
    return matrices


def scalings(factors: Sequence[float]) -> Tensor:
    """Matrices (T, 2, 3) that enlarge the content `factors` times about the view's centre."""
    inverse = 1 / torch.tensor(list(factors), dtype=torch.float64)
    matrices = torch.zeros(len(inverse), 2, 3, dtype=torch.float64)
    matrices[:, 0, 0] = matrices[:, 1, 1] = inverse
    return matrices


def rotations(degrees: Sequence[float]) -> Tensor:
    """Matrices (T, 2, 3) that turn the content counterclockwise about the view's centre."""
    angles = [math.radians(each) for each in degrees]
    rows = [[[math.cos(a), math.sin(a), 0], [-math.sin(a), math.cos(a), 0]] for a in angles]
    return torch.tensor(rows, dtype=torch.float64)


def beyond(matrices: Tensor, size: int, sides: tuple[int, int]) -> Tensor:
    """Which pixels of the views of `Resampler` lie beyond the image, bool (T, size, size)."""
    y, x = _places(matrices, size, sides)
    height, width = sides
    outside = (y < -0.5) | (y > height - 0.5) | (x < -0.5) | (x > width - 0.5)
    return outside.view(len(matrices), size, size)


class Resampler:
    """The centre view of an image under each matrix, every view by one resampling of the whole.

    matrices: (T, 2, 3), from a view's pixel (y, x, 1), counted from the view's centre, to its place
    in the image (y, x), counted from the centre of the same view of the image as it is; that view
    starts at (side - size) // 2, as centre crops do. sides: the images' height and width.

    Beyond the image its border is repeated, except in the pixels of `blank` (T, size, size), which
    are 0. Where a place is a pixel's centre, the value is that pixel's, bit for bit. There is no
    low-pass filter: matrices that shrink the content would alias. Where each pixel comes from is
    computed once for all images: 8 bytes a tap, 4 taps a pixel (bicubic: 16).
    Raises UserError for an unknown interpolation.
    """

    def __init__(
        self,
        matrices: Tensor,
        size: int,
        sides: tuple[int, int],
        *,
        interpolation: str = "bilinear",
        blank: Tensor | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.size = size
        pixels = len(matrices) * size * size
        reach = {"bilinear": 2, "bicubic": 4}.get(interpolation, 1) ** 2
        taps = torch.empty(pixels, reach, dtype=torch.int32)
        weights = torch.empty(pixels, reach)
        for t, matrix in enumerate(matrices):  # one by one: the steps between are in float64
            y, x = _places(matrix[None], size, sides)
            tops, down = _taps(y, sides[0], interpolation)
            lefts, across = _taps(x, sides[1], interpolation)
            here = slice(t * size * size, (t + 1) * size * size)
            taps[here] = (tops.unsqueeze(2) * sides[1] + lefts.unsqueeze(1)).flatten(1)
            weights[here] = (down.unsqueeze(2) * across.unsqueeze(1)).flatten(1)
        if blank is not None:
            weights[blank.flatten().cpu()] = 0
        self.taps, self.weights = taps.to(device), weights.to(device)

    def __call__(self, images: Tensor) -> Tensor:
        """The views of images (N, C, H, W), float: (N, T, C, size, size).

        In memory the images lie together at each pixel of a view: few at once are faster than one.
        """
        # One pixel a row, then every view's pixel is a weighted sum of rows.
        table = images.permute(2, 3, 0, 1).reshape(-1, images.shape[0] * images.shape[1])
        mixed = torch.nn.functional.embedding_bag(
            self.taps, table.contiguous(), per_sample_weights=self.weights.to(images.dtype),
            mode="sum",
        )  # fmt: skip
        views = mixed.view(-1, self.size, self.size, *images.shape[:2])
        return views.permute(3, 0, 4, 1, 2)


def _places(matrices: Tensor, size: int, sides: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where each pixel of each view lies in the image: y and x (T size², ), px, float64."""
    half = (size - 1) / 2
    offset = torch.arange(size, dtype=torch.float64, device=matrices.device) - half
    ys, xs = torch.meshgrid(offset, offset, indexing="ij")
    points = torch.stack([ys.flatten(), xs.flatten(), torch.ones_like(ys).flatten()])
    found = matrices.to(torch.float64) @ points  # (T, 2, P)
    found = torch.round(found * GRAIN) / GRAIN
    y, x = found.unbind(1)
    tops, lefts = ((side - size) // 2 + half for side in sides)
    return y.flatten() + tops, x.flatten() + lefts


def _taps(place: Tensor, side: int, interpolation: str) -> tuple[Tensor, Tensor]:
    """The pixels along one axis that a place (M,) mixes, clamped to the image, and their weights.

    Both (M, 2) for bilinear, (M, 4) for bicubic interpolation; weights add up to 1.
    """
    first = place.floor()
    t = place - first
    if interpolation == "bilinear":
        steps, weights = [0, 1], [1 - t, t]
    elif interpolation == "bicubic":
        steps = [-1, 0, 1, 2]
        weights = [_cubic_far(1 + t), _cubic_near(t), _cubic_near(1 - t), _cubic_far(2 - t)]
    else:
        raise UserError(f"interpolation={interpolation}: choose one of {', '.join(INTERPOLATIONS)}")
    pixels = torch.stack([first + step for step in steps], 1).clamp(0, side - 1)
    return pixels.long(), torch.stack(weights, 1)


def _cubic_near(d: Tensor) -> Tensor:
    return ((KEYS + 2) * d - (KEYS + 3)) * d * d + 1


def _cubic_far(d: Tensor) -> Tensor:
    return KEYS * (((d - 5) * d + 8) * d - 4)
