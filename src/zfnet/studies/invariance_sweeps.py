"""The transforms of the study `invariance`, and what they do to features and answers, measured.

Every image is read once, all its views are one batch of the net, and distances are taken while the
batch runs: no features are kept but those of the images that distances are compared with.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from zfnet.data import datasets
from zfnet.errors import UserError
from zfnet.methods.transforms import (
    INTERPOLATIONS,
    Resampler,
    beyond,
    rotations,
    scalings,
    shifts,
)
from zfnet.models.net import STANDARDISE
from zfnet.progress import progress
from zfnet.studies.base import Inputs, ahead, options_of, when_it_fits

FILLS = ("mean", "grey", "replicate")
NORMALISATIONS = ("others", "norm", "none")
GREY = 128.0
QUARTERS = (90, 180, 270)
# A place f px beyond a pixel's centre is blurred by bilinear interpolation with variance f (1 - f):
# on average over all f 1/6, and so at this f.
OFF_GRID = 0.5 - 12**-0.5
BLOCK = 16  # images read, and compared with others, at a time
PACK = 4  # images resampled together


@dataclass(frozen=True)
class Options:
    """The section `study.invariance` of the config, checked; conf/study/invariance.yaml explains.

    `translation`, its step and `near_translation`: px of a `reference_px` input, scaled to the
    net's. `layers` empty: every layer before the classifier.
    """

    images: int = 5
    max_images: int | None = None
    ids: Sequence[str] = ()
    layers: Sequence[int] = ()
    low: int = 1
    high: int = 7
    tap: str = "out"
    translation: float = 60
    translation_step: float = 5
    scale: float = 1.8
    scale_step: float = 0.05
    rotation_step: int = 10
    coarse: int = 2
    reference_px: int = 224
    fill: str = "mean"
    interpolation: str = "bilinear"
    normalise: str = "others"
    others: int = 200
    near_translation: float = 11
    near_scale: float = 0.1
    near_rotation: float = 20
    neighbour: int = 40
    straight: float = 0.95
    sensitivity_images: int = 16
    batch_size: int = 128
    split: str = "val"

    def __post_init__(self) -> None:
        choices = {"fill": FILLS, "interpolation": INTERPOLATIONS, "normalise": NORMALISATIONS}
        for key, allowed in choices.items():
            if getattr(self, key) not in allowed:
                self._fail(key, f"choose one of {', '.join(allowed)}")
        for key in ("images", "reference_px", "batch_size", "neighbour", "coarse"):
            if getattr(self, key) < 1:
                self._fail(key, "must be at least 1")
        for key in ("translation", "translation_step", "scale_step", "near_translation"):
            if getattr(self, key) <= 0:
                self._fail(key, "must be above 0")
        if self.images > 10:
            self._fail("images", "at most 10 can be told apart in one figure")
        if self.max_images is not None and self.max_images < 2:
            self._fail("max_images", "at least 2 images are needed to compare distances")
        if self.others < 2:
            self._fail("others", "must be at least 2")
        if self.scale <= 1:
            self._fail("scale", "must be above 1 (shrinking would need a low-pass filter)")
        if self.rotation_step < 1 or 90 % self.rotation_step:
            self._fail("rotation_step", "must divide 90 degrees")
        if self.neighbour % self.rotation_step or self.neighbour >= 90:
            self._fail("neighbour", "must be a multiple of rotation_step below 90")
        if not 0 < self.straight < 1:
            self._fail("straight", "a share between 0 and 1")
        if self.sensitivity_images < 0 or self.sensitivity_images == 1:
            self._fail("sensitivity_images", "0 (no table) or at least 2")

    def _fail(self, key: str, why: str) -> None:
        raise UserError(f"study.invariance.{key}={getattr(self, key)}: {why}")

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section."""
        return options_of(Options, section)


# ---------------------------------------------------------------------------------- transforming
@dataclass(frozen=True)
class Sweep:
    """One transform over its range.

    x: (T,) as drawn; matrices (T, 2, 3) for `Resampler`; away: (T,) how far from what changes
    nothing, in the same unit, turns the shorter way round; filled: (T,) share of the view that
    shows no picture; weight: (T,) for how many steps of an even grid each stands; near: up to where
    slopes are fitted. disc: only the view's largest disc is kept, also of the image that is not
    turned.
    """

    name: str
    unit: str
    x: np.ndarray
    matrices: Tensor
    away: np.ndarray
    filled: np.ndarray
    weight: np.ndarray
    near: float
    disc: bool = False

    @property
    def clean(self) -> int:
        """The step that changes nothing."""
        return int(self.away.argmin())

    @property
    def unchanged(self) -> Tensor:
        """The matrix (2, 3) of the view that all steps are compared with."""
        matrix = rotations([0])[0]
        if self.disc:
            matrix[:, 2] = OFF_GRID
        return matrix

    def steps(self, kept: np.ndarray) -> Sweep:
        """Of the steps `kept` (indices, ascending) alone."""
        arrays = {name: getattr(self, name)[kept] for name in ("x", "away", "filled", "weight")}
        return replace(self, matrices=self.matrices[torch.from_numpy(kept)], **arrays)


def sweeps(options: Options, px: int, side: int) -> dict[str, Sweep]:
    """The transforms for a net with input `px`: translation, scale, rotation, and a disc's.

    side: of the whole pictures, px of the net's resolution.
    """
    factor = px / options.reference_px
    count = int(options.translation / options.translation_step + 1e-9)
    steps = np.arange(-count, count + 1) * options.translation_step * factor
    down = np.unique(np.sign(steps) * np.floor(np.abs(steps) + 0.5)) + 0.0
    shifted = down / factor
    count = int((options.scale - 1) / options.scale_step + 1e-9)
    scaled = 1 + np.arange(count + 1) * options.scale_step
    angles = np.arange(0, 360, options.rotation_step).astype(np.float64)
    round_way = np.minimum(angles, 360 - angles)
    aside = rotations(angles.tolist())
    aside[:, :, 2] = OFF_GRID
    shifting = shifts(down.tolist()), np.abs(shifted), options.near_translation
    unit = f"px of {options.reference_px}"
    made = {
        "translation": (unit, shifted, *shifting),
        "scale": ("of scale", scaled, scalings(scaled.tolist()), scaled - 1, options.near_scale),
        "rotation": (
            "degrees", angles, rotations(angles.tolist()), round_way, options.near_rotation
        ),
        "disc": ("degrees", angles, aside, round_way, options.near_rotation),
    }  # fmt: skip
    found = {}
    for name, (unit, x, matrices, away, near) in made.items():
        filled = hidden(matrices, px, side, name == "disc").double().mean((1, 2)).numpy()
        ones = np.ones(len(x))
        found[name] = Sweep(name, unit, x, matrices, away, filled, ones, near, name == "disc")
    return found


def hidden(matrices: Tensor, px: int, side: int, disc: bool) -> Tensor:
    """Which pixels of the views show no picture, bool (T, px, px): beyond it, or outside a disc."""
    outside = beyond(matrices, px, (side, side))
    if disc:
        offset = torch.arange(px) - (px - 1) / 2
        outside |= offset[:, None] ** 2 + offset[None, :] ** 2 > ((px - 1) / 2) ** 2
    return outside


def coarse_steps(sweep: Sweep, options: Options) -> np.ndarray:
    """Steps of a fine sweep that are measured on all images: indices, ascending.

    Every `coarse`-th, counted from the clean one or, of turns, from the nearest quarter turn; all
    that slopes are fitted to; the ends of the range; the farthest without filled pixels; the
    neighbours of quarter turns.
    """
    index = np.arange(len(sweep.x))
    kept = (index - sweep.clean) % options.coarse == 0
    if sweep.unit == "degrees":
        aside = sweep.x % 90
        kept = np.rint(np.minimum(aside, 90 - aside) / options.rotation_step) % options.coarse == 0
        for turn in QUARTERS:
            kept |= np.isin(sweep.x, [turn - options.neighbour, turn + options.neighbour])
    else:
        kept |= sweep.away == sweep.away.max()
        free = np.where(sweep.filled == 0, sweep.away, 0)
        kept |= (free > 0) & (free == free.max())
        kept[[0, -1]] = True
    kept |= sweep.away <= max(sweep.near, sweep.away[sweep.away > 0].min()) + 1e-9
    return np.flatnonzero(kept)


def thinned(sweep: Sweep, kept: np.ndarray) -> Sweep:
    """A fine sweep's steps `kept`, each with the weight of the steps that it is nearest to."""
    apart = np.abs(np.arange(len(sweep.x))[:, None] - kept)
    if sweep.unit == "degrees":
        apart = np.minimum(apart, len(sweep.x) - apart)
    nearest = apart == apart.min(1, keepdims=True)
    return replace(sweep.steps(kept), weight=(nearest / nearest.sum(1, keepdims=True)).sum(0))


# -------------------------------------------------------------------------------------- looking
def whole_pixels(inputs: Inputs, rows: np.ndarray) -> Tensor:
    """All prepared pixels of `rows`, uint8 (n, 3, side, side), at the net's resolution.

    Where the prepared image is smaller than the input, the enlarged view is all there is.
    """
    if inputs.view.factor != 1:
        return inputs.pixels(rows)
    return datasets.pixels(inputs.split, rows)


def whole_side(inputs: Inputs) -> int:
    """The side of `whole_pixels`."""
    return whole_pixels(inputs, np.zeros(1, np.int64)).shape[-1]


class Views:
    """The net's input for all steps of some sweeps.

    Views are numbered: first the unchanged view that several sweeps share, then their other steps,
    then the same for a disc. `places`: of each sweep, its steps' views (T,). `groups`: [start,
    stop) of the views that are compared with the view `start`; `group`: which of them, by sweep.
    """

    def __init__(
        self, inputs: Inputs, made: Sequence[Sweep], fill: str, interpolation: str
    ) -> None:
        self.px, side, device = inputs.net.input_px, whole_side(inputs), inputs.device
        matrices: list[Tensor] = []
        self.places: dict[str, np.ndarray] = {}
        self.group: dict[str, int] = {}
        self.groups: list[tuple[int, int]] = []
        blank, beneath = [], []
        for disc in (False, True):
            start = len(matrices)
            for sweep in (each for each in made if each.disc == disc):
                if len(matrices) == start:
                    matrices.append(sweep.unchanged)
                self.group[sweep.name] = len(self.groups)
                moved = sweep.away > 0
                self.places[sweep.name] = np.where(moved, moved.cumsum() + len(matrices) - 1, start)
                matrices += [sweep.matrices[step] for step in np.flatnonzero(moved)]
            if len(matrices) == start:
                continue
            self.groups.append((start, len(matrices)))
            mask = hidden(torch.stack(matrices[start:]), self.px, side, disc)
            # A repeated border would turn with the image: a disc needs a surround that stays.
            surround = "mean" if disc and fill == "replicate" else fill
            blank.append(mask & (surround != "replicate"))
            beneath.append(_beneath(inputs, surround, blank[-1].to(device)))
        self.count = len(matrices)
        self._resampler = Resampler(
            torch.stack(matrices), self.px, (side, side),
            interpolation=interpolation, blank=torch.cat(blank), device=device,
        )  # fmt: skip
        self._beneath = torch.cat(beneath)
        per_level = torch.ones(3, device=device)
        if inputs.net.normalise.kind == STANDARDISE:
            per_level = 1 / (255 * inputs.net.normalise.std.to(device))
        self._per_level = per_level
        self._clamp = interpolation == "bicubic"

    def __call__(self, images: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Views `start` to `stop` of `whole_pixels` (n, 3, side, side) as net input.

        (n, views, 3, px, px), each view channels-last. What bicubic interpolation makes of pixels
        is clamped to 0..255.
        """
        stop = self.count if stop is None else stop
        made = torch.empty(len(images), stop - start, self.px, self.px, 3, device=images.device)
        for i in range(0, len(images), PACK):
            levels = images[i : i + PACK].float() * self._per_level[:, None, None]
            views = self._resampler(levels, start, stop).permute(0, 1, 3, 4, 2)
            if self._clamp:
                views = views.clamp(torch.zeros_like(self._per_level), 255 * self._per_level)
            torch.add(views, self._beneath[start:stop], out=made[i : i + PACK])
        return made.permute(0, 1, 4, 2, 3)


def _beneath(inputs: Inputs, fill: str, blank: Tensor) -> Tensor:
    """What is added to views that are 0 in the pixels `blank`: (T, px, px, 3), net input.

    The net's input of black, and in `blank` that of the surround.
    """
    px, normalise = inputs.net.input_px, inputs.net.normalise
    black = normalise(torch.zeros(1, 3, px, px, device=inputs.device))[0].permute(1, 2, 0)
    surround = torch.zeros_like(black)  # the mean of the training data
    if fill == "grey":
        grey = torch.full((1, 3, px, px), GREY, device=inputs.device)
        surround = normalise(grey)[0].permute(1, 2, 0)
    return torch.where(blank[..., None], surround, black)


# ------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Curves:
    """What one sweep did to N images: T steps, L layers.

    distance: (N, T, L), Euclidean, to the features of the same image unchanged; probability (N, T)
    of the true class; right (N, T): the true class is the most likely; between (N, L): mean
    distance of the unchanged image's features to other images'; norm (N, L): of the unchanged
    image's features.
    """

    sweep: Sweep
    distance: np.ndarray
    probability: np.ndarray
    right: np.ndarray
    between: np.ndarray
    norm: np.ndarray

    def of(self, places: np.ndarray | slice) -> Curves:
        """Of the images at `places`; what they are compared with stays."""
        cut = {
            name: getattr(self, name)[places]
            for name in ("distance", "probability", "right", "between", "norm")
        }
        return replace(self, **cut)

    def steps(self, kept: np.ndarray) -> Curves:
        """Of the steps `kept` (indices, ascending) alone."""
        cut = {name: getattr(self, name)[:, kept] for name in ("distance", "probability", "right")}
        return replace(self, sweep=self.sweep.steps(kept), **cut)

    def relative(self, how: str) -> np.ndarray:
        """Distances (N, T, L) as `study.invariance.normalise` has them; NaN where the unit is 0."""
        if how == "none":
            return self.distance
        unit = (self.between if how == "others" else self.norm)[:, None]
        empty = np.full(self.distance.shape, np.nan, self.distance.dtype)
        return np.divide(self.distance, unit, out=empty, where=unit > 0, casting="same_kind")


def measure(
    inputs: Inputs,
    rows: np.ndarray,
    made: Mapping[str, Sweep],
    paths: Sequence[str],
    options: Options,
    *,
    like: Mapping[str, Curves] | None = None,
    announce: bool = False,
) -> dict[str, Curves]:
    """All sweeps of `rows` (n,) and all layers in `paths` in one pass: every view runs once.

    Distances are in units of those to the first `options.others` of `rows`. like: curves of the
    same images whose units are taken instead. announce: tell the cost on stderr before it starts.
    Memory does not grow with n but by the numbers found.
    """
    views = Views(inputs, list(made.values()), options.fill, options.interpolation)
    units = [[Units(options.others) for _ in paths] for _ in views.groups]
    parts = [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]
    found: list[Found] = []
    size = options.batch_size
    with torch.inference_mode():
        if announce:
            _announce(inputs, views, rows, paths, size)
        read = ahead(lambda part: whole_pixels(inputs, part), parts)
        told = progress(read, len(parts), "invariance", f"x {BLOCK} images")
        for part, images in zip(parts, told, strict=True):

            def attempt(size: int, part: np.ndarray = part, images: Tensor = images) -> Looked:
                return look(inputs, views, part, images, paths, size)

            looked = when_it_fits(attempt, size)
            size = looked.size  # what fitted once fits again
            found.append(looked.found)
            if like is None:
                for group, layers in zip(units, looked.clean, strict=True):
                    for unit, features in zip(group, layers, strict=True):
                        unit.add(features)
    joined = Found(*(np.concatenate(each) for each in zip(*found, strict=True)))
    curves = {}
    for name, sweep in made.items():
        if like is None:
            told_units = [unit.told() for unit in units[views.group[name]]]
            between, norm = (np.stack(each, 1) for each in zip(*told_units, strict=True))
        else:
            between, norm = like[name].between, like[name].norm
        distance, probability, right = (each[:, views.places[name]] for each in joined)
        curves[name] = Curves(sweep, distance, probability, right, between, norm)
    return curves


def _announce(
    inputs: Inputs, views: Views, rows: np.ndarray, paths: Sequence[str], size: int
) -> None:
    """Say on stderr what the pass over `rows` will cost, judged by the first few."""
    few = rows[:PACK]
    images = whole_pixels(inputs, few)
    look(inputs, views, few[:1], images[:1], paths, size)  # the first also sets things up
    start = time.perf_counter()
    look(inputs, views, few, images, paths, size)
    expected = (time.perf_counter() - start) * len(rows) / len(few)
    print(
        f"invariance: {len(rows)} images x {views.count} views = {len(rows) * views.count:,} "
        f"forward passes on {inputs.device.type}, about "
        f"{f'{expected:.0f} s' if expected < 120 else f'{expected / 60:.0f} min'} "
        "(study.invariance.max_images limits them)",
        file=sys.stderr,
        flush=True,
    )


class Found(NamedTuple):
    """Distances (n, V, L) float32, probabilities (n, V) float32 and rightness (n, V) of V views."""

    distance: np.ndarray
    probability: np.ndarray
    right: np.ndarray


Batch = tuple[Tensor, Tensor, Tensor]  # as in Found, on the device


class Looked(NamedTuple):
    """What `look` found, the unchanged views' features by group and layer (n, D), and its batch."""

    found: Found
    clean: list[list[Tensor]]
    size: int


def look(
    inputs: Inputs,
    views: Views,
    rows: np.ndarray,
    images: Tensor,
    paths: Sequence[str],
    size: int,
) -> Looked:
    """All views of `rows`, whose `whole_pixels` are `images`, at most `size` in a batch."""
    at_once, long = max(1, size // views.count), min(size, views.count)
    found: list[list[Tensor]] = []
    features: list[list[list[Tensor]]] = []
    for i in range(0, len(rows), max(at_once, PACK)):
        some = images[i : i + max(at_once, PACK)].to(inputs.device)
        outputs = torch.from_numpy(inputs.outputs(rows[i : i + len(some)])).to(inputs.device)
        parts = [slice(j, j + at_once) for j in range(0, len(some), at_once)]
        clean: list[dict[tuple[int, str], Tensor]] = [{} for _ in parts]
        batches: list[list[Batch]] = [[] for _ in parts]
        for start in range(0, views.count, long):
            made = views(some, start, min(start + long, views.count))
            for part, known, done in zip(parts, clean, batches, strict=True):
                done.append(
                    _batch(inputs, views.groups, made[part], outputs[part], paths, start, known)
                )
        found += [[torch.cat(each, 1) for each in zip(*done, strict=True)] for done in batches]
        for known in clean:
            groups = range(len(views.groups))
            features.append([[known[group, path] for path in paths] for group in groups])
    joined = [torch.cat(each).cpu().numpy() for each in zip(*found, strict=True)]
    kept = [
        [torch.cat(layer) for layer in zip(*group, strict=True)]
        for group in zip(*features, strict=True)
    ]
    return Looked(Found(*joined), kept, size)


def _batch(
    inputs: Inputs,
    groups: Sequence[tuple[int, int]],
    made: Tensor,
    outputs: Tensor,
    paths: Sequence[str],
    start: int,
    clean: dict[tuple[int, str], Tensor],
) -> Batch:
    """What the net makes of the views `made` (n, V, 3, px, px), numbered from `start`.

    clean: features of the unchanged views, by group and layer; put there as they come by.
    """
    stop = start + made.shape[1]
    gone: dict[str, Tensor] = {}

    def compare(path: str, features: Tensor) -> None:
        seen, apart = _flat(features).view(*made.shape[:2], -1), []
        for group, (first, last) in enumerate(groups):
            low, high = max(first, start), min(last, stop)
            if low >= high:
                continue
            if low == first:
                clean[group, path] = seen[:, low - start].clone()
            moved = seen[:, low - start : high - start] - clean[group, path][:, None]
            apart.append(torch.linalg.vector_norm(moved, dim=2))
        gone[path] = torch.cat(apart, 1)

    logits = answers(inputs.net.model, made.flatten(0, 1), paths, compare)
    distance = torch.stack([gone[path] for path in paths], 2)
    chances = logits.float().softmax(1).view(*made.shape[:2], -1)
    index = outputs[:, None].expand(made.shape[:2])
    probability = chances.gather(2, index[..., None])[..., 0]
    return distance, probability, chances.argmax(2) == index


def _flat(features: Tensor) -> Tensor:
    """Features (n, D) float, in one order whatever their memory format; without a copy if NHWC."""
    if features.ndim == 4:
        features = features.permute(0, 2, 3, 1)
    return features.flatten(1).float()


def answers(
    model: nn.Module, x: Tensor, paths: Sequence[str], use: Callable[[str, Tensor], None]
) -> Tensor:
    """The logits for `x`; `use` gets each path's output (n, …) as soon as it is there.

    At once, because a later operation may overwrite the output in place.
    """

    def heard(path: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            use(path, output)

        return hook

    handles = [model.get_submodule(path).register_forward_hook(heard(path)) for path in {*paths}]
    try:
        logits: Tensor = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return logits


class Units:
    """Mean distance of each image's features to those of the first `most` other images.

    Images come in blocks; the features of the first `most` are kept, on their device.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: Tensor | None = None
        self.known = 0
        self.sums: list[Tensor] = []
        self.norms: list[Tensor] = []

    def add(self, features: Tensor) -> None:
        """Compare the next block (n, D) with those that were kept, and keep of it what is wanted.

        A kept image is also compared with those that are kept after it.
        """
        if self.kept is None:
            self.kept = features.new_empty(0, features.shape[1])
        new = features[: max(0, self.most - self.known)]
        apart = torch.cdist(features, self.kept[: self.known])
        self.sums.append(apart.double().sum(1))
        self.norms.append(features.norm(dim=1))
        if len(new):
            among = torch.cdist(features, new).fill_diagonal_(0)
            self.sums[-1] += among.double().sum(1)
            earlier = apart[: len(new)].double().sum(0)
            done = 0
            for block in self.sums[:-1]:
                block[: len(earlier[done : done + len(block)])] += earlier[done : done + len(block)]
                done += len(block)
            self._keep(new)

    def _keep(self, new: Tensor) -> None:
        """Append to what is kept, in memory that doubles when it is full."""
        assert self.kept is not None
        if self.known + len(new) > len(self.kept):
            size = min(self.most, max(2 * len(self.kept), self.known + len(new)))
            larger = new.new_empty(size, new.shape[1])
            larger[: self.known] = self.kept[: self.known]
            self.kept = larger
        self.kept[self.known : self.known + len(new)] = new
        self.known += len(new)

    def told(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean distance to the others and norm, of all images so far: (n,), (n,)."""
        sums, norm = torch.cat(self.sums).cpu().numpy(), torch.cat(self.norms).double()
        number = np.where(np.arange(len(sums)) < self.known, self.known - 1, self.known)
        return sums / np.maximum(number, 1), norm.cpu().numpy()
