"""The transforms of the study `invariance`, and what they do to features and answers, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zfnet.data import datasets
from zfnet.data.prefetch import prefetch
from zfnet.methods.transforms import Resampler, beyond, rotations, scalings, shifts
from zfnet.models.hooks import hooked
from zfnet.models.net import STANDARDISE
from zfnet.progress import progress
from zfnet.studies.base import Inputs, when_it_fits

# The paper's ranges; it states no steps. Shifts are px of its input of 224, scaled to the net's.
REFERENCE_PX = 224
SHIFT, SHIFT_STEP = 60, 5
SCALE, SCALE_STEP = 1.8, 0.05  # enlarging only: shrinking would need a low-pass filter
ANGLE_STEP = 10  # degrees
NEAR_SHIFT, NEAR_SCALE, NEAR_ANGLE = 11, 0.1, 20  # up to where slopes are fitted: the first steps
QUARTERS = (90, 180, 270)
NEIGHBOUR = 40  # degrees to either side of a quarter turn, with which it is compared
COARSE = 2  # all images are measured at every second step, those drawn at all

OTHERS = 200  # images in the mean distance that is the unit: its error is far below the curves'
# A place f px beyond a pixel's centre is blurred by bilinear interpolation with variance f (1 - f):
# on average over all f 1/6, and so at this f.
OFF_GRID = 0.5 - 12**-0.5
PACK = 4  # images read and resampled together
CLEAN_PACK = 32  # likewise, where each has its clean view alone
BATCH = 128  # views in one forward pass, if an image has no more
SHOWN = 50  # images from which a pass shows its progress


# ---------------------------------------------------------------------------------- transforming
@dataclass(frozen=True)
class Sweep:
    """One transform over its range of T steps.

    x: (T,) as drawn; matrices (T, 2, 3) for `Resampler`; away: (T,) how far from what changes
    nothing, in the same unit, turns the shorter way round; near: up to where slopes are fitted;
    filled: (T,) share of the view that shows no picture; weight: (T,) for how many steps of the
    even grid each stands.
    """

    name: str
    x: np.ndarray
    matrices: Tensor
    away: np.ndarray
    near: float
    filled: np.ndarray
    weight: np.ndarray

    @property
    def clean(self) -> int:
        """The step that changes nothing."""
        return int(self.away.argmin())

    @property
    def fitted(self) -> np.ndarray:
        """Which steps (T,) slopes are fitted to: those up to `near`, at least the nearest."""
        near = max(self.near, self.away[self.away > 0].min()) + 1e-9
        return (self.away > 0) & (self.away <= near)

    def steps(self, kept: np.ndarray) -> Sweep:
        """Of the steps `kept` (indices, ascending) alone."""
        arrays = {name: getattr(self, name)[kept] for name in ("x", "away", "filled", "weight")}
        return replace(self, matrices=self.matrices[torch.from_numpy(kept)], **arrays)


def sweeps(px: int, side: int) -> dict[str, Sweep]:
    """The transforms for a net with input `px`: translation, scale, rotation, and a disc's.

    side: of the whole pictures, px of the net's resolution.
    """
    factor = px / REFERENCE_PX
    steps = np.arange(0, SHIFT + 1, SHIFT_STEP)
    whole = np.unique(np.floor(steps * factor + 0.5))
    down = np.concatenate([-whole[:0:-1], whole])
    shifted = down / factor
    scaled = 1 + np.arange(round((SCALE - 1) / SCALE_STEP) + 1) * SCALE_STEP
    angles = np.arange(0.0, 360, ANGLE_STEP)
    round_way = np.minimum(angles, 360 - angles)
    aside = rotations(angles.tolist())
    aside[:, :, 2] = OFF_GRID
    made = {
        "translation": (shifted, shifts(down.tolist()), np.abs(shifted), NEAR_SHIFT),
        "scale": (scaled, scalings(scaled.tolist()), scaled - 1, NEAR_SCALE),
        "rotation": (angles, rotations(angles.tolist()), round_way, NEAR_ANGLE),
        "disc": (angles, aside, round_way, NEAR_ANGLE),
    }
    found = {}
    for name, (x, matrices, away, near) in made.items():
        filled = hidden(name, matrices, px, side).double().mean((1, 2)).numpy()
        found[name] = Sweep(name, x, matrices, away, near, filled, np.ones(len(x)))
    return found


def hidden(name: str, matrices: Tensor, px: int, side: int) -> Tensor:
    """Which pixels of the views show no picture, bool (T, px, px).

    They lie beyond it or, of the sweep "disc", outside the view's largest disc.
    """
    outside = beyond(matrices, px, (side, side))
    if name == "disc":
        offset = torch.arange(px) - (px - 1) / 2
        outside |= offset[:, None] ** 2 + offset[None, :] ** 2 > ((px - 1) / 2) ** 2
    return outside


def coarse(sweep: Sweep) -> Sweep:
    """The steps that are measured on all images, each with the weight of those it is nearest to.

    Every `COARSE`-th, counted from the clean one or, of turns, from the nearest quarter turn; all
    that slopes are fitted to; the ends of the range; the farthest without filled pixels; the
    neighbours of quarter turns.
    """
    index = np.arange(len(sweep.x))
    turning = sweep.name in ("rotation", "disc")
    if turning:
        aside = np.minimum(sweep.x % 90, -sweep.x % 90)
        neighbours = [turn + side for turn in QUARTERS for side in (-NEIGHBOUR, NEIGHBOUR)]
        kept = (np.rint(aside / ANGLE_STEP) % COARSE == 0) | np.isin(sweep.x, neighbours)
    else:
        free = np.where(sweep.filled == 0, sweep.away, 0)
        kept = ((index - sweep.clean) % COARSE == 0) | ((free > 0) & (free == free.max()))
        kept[[0, -1]] = True
    chosen = np.flatnonzero(kept | sweep.fitted)
    apart = np.abs(index[:, None] - chosen)
    if turning:
        apart = np.minimum(apart, len(index) - apart)
    nearest = apart == apart.min(1, keepdims=True)
    return replace(sweep.steps(chosen), weight=(nearest / nearest.sum(1, keepdims=True)).sum(0))


# --------------------------------------------------------------------------------------- viewing
def whole_pixels(inputs: Inputs, rows: np.ndarray) -> Tensor:
    """All prepared pixels of `rows`, uint8 (n, 3, side, side), at the net's resolution.

    Where the prepared image is smaller than the input, the enlarged view is all there is.
    """
    if inputs.view.factor != 1:
        return inputs.pixels(rows)
    return datasets.pixels(inputs.split, rows)


class Views:
    """The net's input for all steps of a sweep.

    Where the picture ends, the view is filled with the mean of the training data or, with
    `repeat`, with the border's pixels. interpolation: as in `Resampler`.
    """

    def __init__(
        self,
        inputs: Inputs,
        sweep: Sweep,
        *,
        repeat: bool = False,
        interpolation: str = "bilinear",
    ) -> None:
        px, device, normalise = inputs.net.input_px, inputs.device, inputs.net.normalise
        side = whole_pixels(inputs, np.zeros(1, np.int64)).shape[-1]
        blank = hidden(sweep.name, sweep.matrices, px, side) & (not repeat)
        self._resampler = Resampler(
            sweep.matrices, px, (side, side), interpolation=interpolation, blank=blank,
            device=device,
        )  # fmt: skip
        self._per_level = torch.ones(3, device=device)  # net input per grey level
        if normalise.kind == STANDARDISE:
            self._per_level = 1 / (255 * normalise.std.to(device))
        # Added to views that are 0 where they are blank: the input of black, there of the mean.
        black = normalise(torch.zeros(1, 3, px, px, device=device))[0].permute(1, 2, 0)
        self._beneath = torch.where(blank.to(device)[..., None], 0.0, black)
        self._clamp = interpolation == "bicubic"

    def __call__(self, images: Tensor) -> Tensor:
        """The views of `whole_pixels` (n, 3, side, side) as net input: (n, T, 3, px, px).

        Each is channels-last. What bicubic interpolation makes of pixels is clamped to 0..255.
        """
        levels = images.to(self._beneath.device).float() * self._per_level[:, None, None]
        views = self._resampler(levels).permute(0, 1, 3, 4, 2)
        if self._clamp:
            views = views.clamp(torch.zeros_like(self._per_level), 255 * self._per_level)
        made = torch.empty_like(views, memory_format=torch.contiguous_format)
        return torch.add(views, self._beneath, out=made).permute(0, 1, 4, 2, 3)


# ------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Curves:
    """What one sweep did to N images: T steps, L layers.

    distance: (N, T, L), Euclidean, to the features of the same image unchanged; probability (N, T)
    of the true class; right (N,): the unchanged image is classified correctly; between (N, L): mean
    distance of the unchanged image's features to other images'.
    """

    sweep: Sweep
    distance: np.ndarray
    probability: np.ndarray
    right: np.ndarray
    between: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """Distances (N, T, L) in units of `between`; NaN where that is 0."""
        unit = self.between[:, None]
        empty = np.full(self.distance.shape, np.nan, self.distance.dtype)
        return np.divide(self.distance, unit, out=empty, where=unit > 0, casting="same_kind")

    def first(self, n: int) -> Curves:
        """Of the first `n` images alone."""
        arrays = (self.distance, self.probability, self.right, self.between)
        return Curves(self.sweep, *(each[:n] for each in arrays))


def measure(
    inputs: Inputs,
    rows: np.ndarray,
    sweep: Sweep,
    paths: Sequence[str],
    between: np.ndarray,
    **how: Any,
) -> Curves:
    """A sweep of `rows` (n,) at the modules `paths`; `how`: of `Views`.

    Memory grows with n by the numbers alone.
    """
    views, model = Views(inputs, sweep, **how), inputs.net.model

    def whole_pass(size: int) -> list[np.ndarray]:
        found = []
        for part, made in _views_of(inputs, views, rows, PACK, sweep.name):
            outputs = torch.from_numpy(inputs.outputs(part)).to(inputs.device)
            at_once = max(1, size // len(sweep.x))
            for some in zip(made.split(at_once), outputs.split(at_once), strict=True):
                found.append(_compare(model, *some, sweep.clean, paths))
        return [torch.cat(column).cpu().numpy() for column in zip(*found, strict=True)]

    with torch.inference_mode():
        distance, probability, right = when_it_fits(whole_pass, BATCH)
    return Curves(sweep, distance, probability, right, between)


def between_images(
    inputs: Inputs, rows: np.ndarray, sweep: Sweep, paths: Sequence[str]
) -> np.ndarray:
    """`between` (n, L) of `Curves`: of each image's clean view to the first `OTHERS` others."""
    views = Views(inputs, sweep.steps(np.array([sweep.clean])))

    def features(some: np.ndarray) -> Iterator[list[Tensor]]:
        for _, made in _views_of(inputs, views, some, CLEAN_PACK, "unchanged"):
            yield read_at(inputs.net.model, made[:, 0], paths, Tensor.clone)[0]

    with torch.inference_mode():
        others = [torch.cat(layer) for layer in zip(*features(rows[:OTHERS]), strict=True)]
        found = [
            torch.stack([mean_distance(*pair) for pair in zip(part, others, strict=True)], 1)
            for part in chain([others], features(rows[OTHERS:]))
        ]
        return torch.cat(found).cpu().numpy()


def mean_distance(features: Tensor, others: Tensor) -> Tensor:
    """Mean distance of features (n, D) to `others` (R, D): (n,) float64.

    Of `others` themselves, each to all but itself.
    """
    apart = torch.cdist(features, others).double()
    if features is not others:
        return apart.mean(1)
    return apart.fill_diagonal_(0).sum(1) / (len(others) - 1)


def _views_of(
    inputs: Inputs, views: Views, rows: np.ndarray, pack: int, what: str
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """`pack` of `rows` at a time and their views, read ahead."""
    parts = [rows[i : i + pack] for i in range(0, len(rows), pack)]
    read = prefetch(lambda part: whole_pixels(inputs, part), parts)
    if len(rows) >= SHOWN:
        read = progress(read, len(parts), f"invariance, {what}", f"x {pack} images")
    for part, images in zip(parts, read, strict=True):
        yield part, views(images)


def _compare(
    model: nn.Module, made: Tensor, outputs: Tensor, clean: int, paths: Sequence[str]
) -> tuple[Tensor, Tensor, Tensor]:
    """Distance (n, T, L), probability (n, T) and right (n,) of `Curves`.

    made: (n, T, 3, px, px); outputs (n,): of the true classes.
    """

    def distance(features: Tensor) -> Tensor:
        each = features.view(*made.shape[:2], -1)
        return torch.linalg.vector_norm(each - each[:, [clean]], dim=2)

    apart, logits = read_at(model, made.flatten(0, 1), paths, distance)
    chances = logits.float().softmax(1).view(*made.shape[:2], -1)
    index = outputs[:, None, None].expand(*made.shape[:2], 1)
    right = chances[:, clean].argmax(1) == outputs
    return torch.stack(apart, 2), chances.gather(2, index)[..., 0], right


def read_at(
    model: nn.Module, x: Tensor, paths: Sequence[str], read: Callable[[Tensor], Tensor]
) -> tuple[list[Tensor], Tensor]:
    """What `read` makes of the features (n, D) float of each module in `paths`; logits for `x`.

    It reads at once: a later operation may overwrite the features.
    """
    found: dict[str, Tensor] = {}

    def hook_of(path: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            nhwc = output.permute(0, 2, 3, 1) if output.ndim == 4 else output  # in any format
            found[path] = read(nhwc.flatten(1).float())

        return hook

    with hooked(after=[(model.get_submodule(path), hook_of(path)) for path in {*paths}]):
        logits: Tensor = model(x)
    return [found[path] for path in paths], logits
