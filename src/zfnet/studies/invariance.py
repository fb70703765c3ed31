"""How far features and answer move when an image is shifted, enlarged or turned (Fig. 5).

The paper gives the ranges of the three transforms and draws, for five images, the Euclidean
distance between the features of the transformed and of the original image at layers 1 and 7, and
the probability of the true class. It states neither steps nor what fills the view where the picture
ends, nor the interpolation, nor whether features are normalised: all four are config values here,
and the table `sensitivity` tells what hangs on them.

Every view is made by one resampling of the whole prepared image, so that real pixels from beyond
the centre view come in where there are any. Shifts are whole pixels and therefore blur nothing;
enlarging and turning do, except at quarter turns, which also need no fill: their peaks would be
made by the transform. So a fourth transform, which the paper does not have, turns only the largest
disc of the view, a little off the pixel grid in every step: neither fill nor blur then changes.

Distances are compared between layers in units of the mean distance between an image's features and
those of the other images: 1 means as far away as another picture. Raw distances cannot be compared:
they grow with the number and the scale of a layer's features.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zfnet.data import datasets
from zfnet.drawing.invariance import Curve, Row, all_layers, panels, turned
from zfnet.drawing.maps import shorten
from zfnet.errors import UserError
from zfnet.methods.transforms import INTERPOLATIONS, resample, rotations, scalings, shifts
from zfnet.models.net import Net
from zfnet.progress import progress
from zfnet.studies.inputs import Inputs, options_of, when_it_fits
from zfnet.studies.result import Figure, Measured, Result, Table
from zfnet.studies.statistics import student_mean

FILLS = ("mean", "grey", "replicate")
NORMALISATIONS = ("others", "norm", "none")
GREY = 128.0
CLASSIFIER = 8
DRAWS = 1000
LEAST_OF_CLASS = 5
QUARTERS = (90, 180, 270)
# A place f px beyond a pixel's centre is blurred by bilinear interpolation with variance f (1 - f):
# on average over all f 1/6, and so at this f.
OFF_GRID = 0.5 - 12**-0.5


@dataclass(frozen=True)
class Options:
    """The section `study.invariance` of the config, checked; conf/study/invariance.yaml explains.

    `translation`, its step and `near_translation`: px of a `reference_px` input, scaled to the
    net's. `layers` empty: every layer before the classifier.
    """

    images: int = 5
    measured: int = 60
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
    reference_px: int = 224
    fill: str = "mean"
    interpolation: str = "bilinear"
    normalise: str = "others"
    near_translation: float = 11
    near_scale: float = 0.1
    near_rotation: float = 20
    neighbour: int = 40
    straight: float = 0.95
    sensitivity_images: int = 16
    batch_size: int = 60
    split: str = "val"

    def __post_init__(self) -> None:
        choices = {"fill": FILLS, "interpolation": INTERPOLATIONS, "normalise": NORMALISATIONS}
        for key, allowed in choices.items():
            if getattr(self, key) not in allowed:
                self._fail(key, f"choose one of {', '.join(allowed)}")
        for key in ("images", "reference_px", "batch_size", "neighbour"):
            if getattr(self, key) < 1:
                self._fail(key, "must be at least 1")
        for key in ("translation", "translation_step", "scale_step", "near_translation"):
            if getattr(self, key) <= 0:
                self._fail(key, "must be above 0")
        if self.images > 10:
            self._fail("images", "at most 10 can be told apart in one figure")
        if self.measured < 2:
            self._fail("measured", "at least 2 images are needed to compare distances")
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


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.invariance, seed and device."""
    options = Options.read(cfg.study.invariance)
    inputs = Inputs.of_stage(cfg, paths, options.split)
    return study(inputs, options, seed=cfg.seed)


def study(inputs: Inputs, options: Options, *, seed: int = 0) -> Result:
    """Fig. 5 for one net on a seeded sample of the images of `inputs`."""
    layers = chosen_layers(inputs.net, options)
    rows = chosen_rows(inputs, options, seed)
    transforms = sweeps(options, inputs.net.input_px)
    curves = {
        name: measure(inputs, rows, sweep, layers.paths, options)
        for name, sweep in transforms.items()
    }
    drawn = chosen_examples(inputs, options, rows, curves["translation"])
    told = Told(options, layers, curves, seed)
    return Result(
        study="invariance",
        title="Invariance: what shifting, enlarging and turning an image changes",
        paper="Fig. 5",
        text=_text(inputs, options, rows, told),
        net=inputs.net.name,
        tap=options.tap,
        seed=seed,
        metrics=_metrics(told),
        tables=_tables(inputs, options, rows, told, drawn),
        arrays=_arrays(rows, curves),
        figures=_figures(inputs, options, rows, told, drawn),
        extra={
            "card": "invariance",
            "headline": [f"{name}_slope_ratio" for name in ("translation", "scale", "rotation")],
            "split": options.split,
            "input_px": inputs.net.input_px,
            "margin_px": inputs.view.start,
            "modules": dict(zip(map(str, layers.numbers), layers.paths, strict=True)),
            "fill": options.fill,
            "interpolation": options.interpolation,
            "normalise": options.normalise,
            "ids": [inputs.split.ids[rows[i]] for i in drawn.places],
        },
    )


# -------------------------------------------------------------------------------------- choosing
@dataclass(frozen=True)
class Layers:
    """Layers under study, ascending: the paper's numbers, their modules, and the two compared.

    `low`, `high`: places of those two among the numbers.
    """

    numbers: tuple[int, ...]
    paths: tuple[str, ...]
    low: int
    high: int

    def pair(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """(word, place) of the two layers that are compared."""
        low, high = self.numbers[self.low], self.numbers[self.high]
        return (f"layer{low}", self.low), (f"layer{high}", self.high)


def chosen_layers(net: Net, options: Options) -> Layers:
    """The layers of `options`, or all that the net has before its classifier.

    Raises UserError if the net has no such tap, or fewer than two layers.
    """
    numbers = sorted({*options.layers})
    if not numbers:
        found = [tap.partition(".") for tap in net.taps]
        numbers = sorted({int(n) for n, _, kind in found if kind == options.tap and n.isdigit()})
        numbers = [number for number in numbers if number < CLASSIFIER]
    if len(numbers) < 2:
        raise UserError(
            f"study.invariance.layers={list(numbers)}: two layers are needed to compare them, and "
            f"{net.name} has the taps {', '.join(net.taps)}"
        )
    paths = tuple(net.tap(number, options.tap) for number in numbers)
    low = next((i for i, n in enumerate(numbers) if n >= options.low), 0)
    high = max((i for i, n in enumerate(numbers) if n <= options.high), default=0)
    return Layers(tuple(numbers), paths, low, high if high > low else len(numbers) - 1)


def chosen_rows(inputs: Inputs, options: Options, seed: int) -> np.ndarray:
    """Rows measured: those of `ids` first, then a seeded sample in which classes take turns.

    All are of classes that the net knows.

    Raises UserError for an unknown id, or if fewer than two images are left.
    """
    row_of = {name: row for row, name in enumerate(inputs.split.ids)} if options.ids else {}
    missing = [name for name in options.ids if name not in row_of]
    if missing:
        raise UserError(
            f"study.invariance.ids: the split {options.split} holds no image {missing[0]!r}; "
            f"ids look like {inputs.split.ids[0]!r} (data/prepared/index.parquet lists them)"
        )
    named = np.array([row_of[name] for name in options.ids], np.int64)
    order = np.random.default_rng([seed, 8]).permutation(inputs.rows)
    turn = np.zeros(len(order))  # the how-manieth of its class an image is
    for label in np.unique(inputs.labels[order]):
        places = np.flatnonzero(inputs.labels[order] == label)
        turn[places] = np.arange(len(places))
    order = order[np.argsort(turn, kind="stable")]
    rows = np.concatenate([named, order[~np.isin(order, named)]])
    rows = rows[inputs.outputs(rows) >= 0][: max(options.measured, len(named))]
    if len(rows) < 2:
        raise UserError(
            f"study.invariance: the split {options.split} holds {len(rows)} images of classes that "
            f"{inputs.net.name} knows; at least 2 are needed"
        )
    return rows


@dataclass(frozen=True)
class Examples:
    """Images that are drawn: their places among those measured, and how they were chosen."""

    places: list[int]
    how: str


def chosen_examples(inputs: Inputs, options: Options, rows: np.ndarray, clean: Curves) -> Examples:
    """The named images, or in the sample's order the first right one of each class, the sure first.

    Where too few are found, further right ones and then any follow.
    """
    if options.ids:
        count = min(len(options.ids), options.images, len(rows))
        return Examples(list(range(count)), "named in the config")
    right = clean.right[:, clean.sweep.clean]
    sure = right & (clean.probability[:, clean.sweep.clean] >= 0.5)
    labels = inputs.labels[rows]
    first = np.zeros(len(rows), bool)
    first[[int(np.flatnonzero(sure & (labels == c))[0]) for c in np.unique(labels[sure])]] = True
    grade = np.where(first, 0, np.where(sure, 1, np.where(right, 2, 3)))
    places = np.argsort(grade, kind="stable")[: options.images].tolist()
    how = "chosen by seed among the correctly classified (p of at least 0.5), of different classes"
    lacking = int((grade[places] > 0).sum())
    if lacking:
        how += f" ({lacking} of them are not, for want of such images)"
    return Examples(places, how)


# ---------------------------------------------------------------------------------- transforming
@dataclass(frozen=True)
class Sweep:
    """One transform over its range.

    x: (T,) as drawn; matrices (T, 2, 3) for `resample`; away: (T,) how far from the step that
    changes nothing, in the same unit, turns the shorter way round; near: up to where slopes are
    fitted. disc: only the view's largest disc is kept, also of the image that is not turned.
    """

    name: str
    unit: str
    x: np.ndarray
    matrices: Tensor
    away: np.ndarray
    near: float
    disc: bool = False

    @property
    def clean(self) -> int:
        """The step that changes nothing."""
        return int(self.away.argmin())


def sweeps(options: Options, px: int) -> dict[str, Sweep]:
    """The transforms for a net with input `px`: translation, scale, rotation, and a disc's."""
    factor = px / options.reference_px
    count = int(options.translation / options.translation_step + 1e-9)
    steps = np.arange(-count, count + 1) * options.translation_step * factor
    down = np.unique(np.sign(steps) * np.floor(np.abs(steps) + 0.5)) + 0.0
    shifted = down / factor
    count = int((options.scale - 1) / options.scale_step + 1e-9)
    scaled = 1 + np.arange(count + 1) * options.scale_step
    angles = np.arange(0, 360, options.rotation_step).astype(np.float64)
    round_way = np.minimum(angles, 360 - angles)
    turn = (angles, rotations(angles.tolist()), round_way, options.near_rotation)
    aside = rotations(angles.tolist())
    aside[:, :, 2] = OFF_GRID
    return {
        "translation": Sweep(
            "translation", f"px of {options.reference_px}", shifted, shifts(down.tolist()),
            np.abs(shifted), options.near_translation,
        ),
        "scale": Sweep(
            "scale", "of scale", scaled, scalings(scaled.tolist()), scaled - 1, options.near_scale
        ),
        "rotation": Sweep("rotation", "degrees", *turn),
        "disc": Sweep(
            "disc", "degrees", angles, aside, round_way, options.near_rotation, disc=True
        ),
    }  # fmt: skip


def whole_images(inputs: Inputs, rows: np.ndarray) -> Tensor:
    """All prepared pixels of `rows`, float (n, 3, S, S) on the device, at the net's resolution.

    Where the prepared image is smaller than the input, the enlarged view is all there is.
    """
    enlarged = inputs.view.factor != 1
    pixels = inputs.pixels(rows) if enlarged else datasets.pixels(inputs.split, rows)
    whole = pixels.to(inputs.device).float()
    # In memory as `resample` wants them, pixel after pixel, once for all steps.
    return whole.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)


def filling(inputs: Inputs, fill: str) -> Tensor | None:
    """What a view shows beyond the picture, raw pixels (3, px, px); None: the border repeated."""
    px = inputs.net.input_px
    if fill == "replicate":
        return None
    if fill == "grey":
        return torch.full((3, px, px), GREY, device=inputs.device)
    return inputs.net.normalise.inverse(torch.zeros(1, 3, px, px, device=inputs.device))[0]


def view(
    inputs: Inputs, images: Tensor, sweep: Sweep, step: int, fill: str, interpolation: str
) -> tuple[Tensor, Tensor]:
    """One step's raw pixels (n, 3, px, px), 0..255, and its filled pixels (px, px) bool.

    images: (n, 3, S, S) of `whole_images`. Outside a disc the view is filled in every step.
    """
    px = inputs.net.input_px
    matrix = sweep.matrices[step : step + 1]
    views, outside = resample(images, matrix, px, interpolation=interpolation)
    pixels, filled, surround = views[0], outside[0], filling(inputs, fill)
    if interpolation == "bicubic":
        pixels = pixels.clamp(0, 255)
    if sweep.disc:
        offset = torch.arange(px, device=pixels.device) - (px - 1) / 2
        beyond = offset[:, None] ** 2 + offset[None, :] ** 2 > ((px - 1) / 2) ** 2
        # A repeated border would turn with the image: a disc needs a surround that stays.
        surround = filling(inputs, "mean") if surround is None else surround
        filled = filled | beyond
    if surround is not None:
        pixels.permute(2, 3, 0, 1)[filled] = surround.permute(1, 2, 0)[filled][:, None]
    return pixels, filled


# ------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Curves:
    """What one sweep did to N images: T steps, L layers.

    distance: (N, T, L), Euclidean, to the features of the same image unchanged; probability (N, T)
    of the true class; right (N, T): the true class is the most likely; filled (T,): share of the
    view; between (N, L): mean distance of the unchanged image's features to the other images';
    norm (N, L): of the unchanged image's features.
    """

    sweep: Sweep
    distance: np.ndarray
    probability: np.ndarray
    right: np.ndarray
    filled: np.ndarray
    between: np.ndarray
    norm: np.ndarray

    def first(self, count: int) -> Curves:
        """Of the first `count` images; what they are compared with stays."""
        cut = {
            name: getattr(self, name)[:count]
            for name in ("distance", "probability", "right", "between", "norm")
        }
        return replace(self, **cut)

    def steps(self, kept: np.ndarray) -> Curves:
        """Of the steps `kept` (indices, ascending) alone."""
        sweep = replace(
            self.sweep, x=self.sweep.x[kept], matrices=self.sweep.matrices[torch.from_numpy(kept)],
            away=self.sweep.away[kept],
        )  # fmt: skip
        return replace(
            self, sweep=sweep, distance=self.distance[:, kept], right=self.right[:, kept],
            probability=self.probability[:, kept], filled=self.filled[kept],
        )  # fmt: skip

    def relative(self, how: str) -> np.ndarray:
        """Distances (N, T, L) as `study.invariance.normalise` has them; NaN where the unit is 0."""
        if how == "none":
            return self.distance
        unit = (self.between if how == "others" else self.norm)[:, None]
        empty = np.full(self.distance.shape, np.nan)
        return np.divide(self.distance, unit, out=empty, where=unit > 0)


def measure(
    inputs: Inputs,
    rows: np.ndarray,
    sweep: Sweep,
    paths: Sequence[str],
    options: Options,
    *,
    like: Curves | None = None,
) -> Curves:
    """One forward pass a step over `rows` (n,), all layers in `paths` at once.

    `like`: curves of the same images whose unit of distance is taken instead of measured.
    """

    def attempt(size: int) -> Curves:
        parts = np.array_split(rows, -(-len(rows) // size))
        told = progress(parts, len(parts), f"invariance: {sweep.name}", "batch")
        with torch.inference_mode():
            found = [_measure_part(inputs, part, sweep, paths, options) for part in told]
        joined = [np.concatenate([part[k] for part in found]) for k in range(3)]
        distance, probability, right = joined
        between, norm = (like.between, like.norm) if like else _units([p[4] for p in found])
        return Curves(sweep, distance, probability, right, found[0][3], between, norm)

    return when_it_fits(attempt, options.batch_size)


def _measure_part(
    inputs: Inputs, rows: np.ndarray, sweep: Sweep, paths: Sequence[str], options: Options
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[Tensor]]:
    """Distances, probabilities, rightness, filled shares of one batch, and its clean features."""
    images = whole_images(inputs, rows)
    outputs = torch.from_numpy(inputs.outputs(rows)).to(inputs.device)

    def look(step: int, use: Callable[[str, Tensor], None]) -> tuple[Tensor, Tensor]:
        pixels, filled = view(inputs, images, sweep, step, options.fill, options.interpolation)
        return answers(inputs.net.model, inputs.normalised(pixels), paths, use), filled

    clean: dict[str, Tensor] = {}
    look(sweep.clean, lambda path, features: clean.update({path: features.clone()}))
    shape = (len(rows), len(sweep.x))
    distance = torch.zeros(*shape, len(paths))
    probability, right = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    filled = np.zeros(len(sweep.x))
    for step in range(len(sweep.x)):
        gone: dict[str, Tensor] = {}

        def compare(path: str, features: Tensor, gone: dict[str, Tensor] = gone) -> None:
            apart = (features - clean[path]).square_()
            gone[path] = apart.sum(tuple(range(1, apart.ndim))).sqrt()

        logits, beyond = look(step, compare)
        distance[:, step] = torch.stack([gone[path] for path in paths], 1).cpu()
        chances = logits.float().softmax(1)
        probability[:, step] = chances.gather(1, outputs[:, None])[:, 0].cpu()
        right[:, step] = (chances.argmax(1) == outputs).cpu()
        filled[step] = float(beyond.float().mean())
    arrays = (distance.double().numpy(), probability.double().numpy(), right.numpy())
    return *arrays, filled, [clean[path].flatten(1).cpu() for path in paths]


def answers(
    model: nn.Module, x: Tensor, paths: Sequence[str], use: Callable[[str, Tensor], None]
) -> Tensor:
    """The logits for `x`; `use` gets each path's output (n, …) as soon as it is there.

    At once, because a later operation may overwrite the output in place.
    """

    def heard(path: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            use(path, output.float())

        return hook

    handles = [model.get_submodule(path).register_forward_hook(heard(path)) for path in {*paths}]
    try:
        logits: Tensor = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return logits


def _units(parts: list[list[Tensor]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean distance of each image's features to the other images', and their norm, (N, L) each."""
    between, norm = [], []
    for layer in zip(*parts, strict=True):
        features = torch.cat(layer)
        apart = torch.cdist(features, features).fill_diagonal_(0).double()
        between.append((apart.sum(1) / max(1, len(features) - 1)).numpy())
        norm.append(features.norm(dim=1).double().numpy())
    return np.stack(between, 1), np.stack(norm, 1)


# ------------------------------------------------------------------------------------- concluding
class Bootstrap:
    """Means over n images, and the same over images drawn again with replacement."""

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        counts = np.random.default_rng([seed, n, 9]).multinomial(n, np.full(n, 1 / n), DRAWS)
        self.weights = np.concatenate([np.full((1, n), 1 / n), counts / n])

    def means(self, values: np.ndarray) -> np.ndarray:
        """(n, …) → (1 + draws, …): the mean first, then that of every draw."""
        flat = np.asarray(values, np.float64).reshape(self.n, -1)
        return (self.weights @ flat).reshape(len(self.weights), *values.shape[1:])

    def interval(self, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends (…) of the 95 % percentile interval of a statistic (1 + draws, …) of the means."""
        low, high = np.quantile(found[1:], [0.025, 0.975], axis=0)
        return low, high

    def told(self, found: np.ndarray, unit: str = "", note: str = "") -> Measured:
        """A statistic (1 + draws,) of the means as a number with its interval."""
        note = f"{note}; bootstrap over images" if note else "bootstrap over images"
        if np.isnan(found).any():
            return Measured(
                float(found[0]), n=self.n, unit=unit, note=f"{note}; not always defined"
            )
        low, high = self.interval(found)
        return Measured(float(found[0]), float(low), float(high), self.n, unit, note)


def slopes(away: np.ndarray, near: float, distance: np.ndarray) -> np.ndarray:
    """Least-squares slope through 0 of distances (N, T, …) over the steps with 0 < away ≤ near.

    Where none is that near, the nearest step counts.
    """
    near = max(near, away[away > 0].min())
    kept = (away > 0) & (away <= near + 1e-9)
    return np.tensordot(distance[:, kept], away[kept], axes=(1, 0)) / (away[kept] ** 2).sum()


def folded(away: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of a sweep on one: distances from the clean step (K,), and (N, K, …) means."""
    steps, index = np.unique(np.round(away, 6), return_inverse=True)
    sides = [values[:, index == k].mean(1) for k in range(len(steps))]
    return steps, np.stack(sides, 1)


def straight_range(x: np.ndarray, curves: np.ndarray, share: float) -> np.ndarray:
    """Up to which x curves (M, K, …) are straight: (M, …).

    x: (K,) ascending from 0, where every curve is 0. The answer is the largest x up to which
    `straightness` is at least `share`; at least the first step. NaN for a curve that stays 0.
    """
    reach = np.full((len(curves), *curves.shape[2:]), x[1])
    for k in range(2, len(x)):
        reach[straightness(x[: k + 1], curves[:, : k + 1]) >= share] = x[k]
    return np.where((curves != 0).any(1), reach, np.nan)


def straightness(x: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Share of the variance of curves (M, K, …) that the best line through 0 explains: (M, …).

    1: straight. The variance is about the curve's own mean, the origin included; about 0, even a
    square root would reach 0.96, by this 0.64. Below 0 where the mean alone would explain more. NaN
    for a curve that stays 0.
    """
    slope = np.tensordot(curves, x, axes=(1, 0)) / (x**2).sum()
    rest = ((curves - slope[:, None] * x.reshape(1, -1, *[1] * (curves.ndim - 2))) ** 2).sum(1)
    total = ((curves - curves.mean(1, keepdims=True)) ** 2).sum(1)
    empty = np.full(total.shape, np.nan)
    return 1 - np.divide(rest, total, out=empty, where=total > 0)


def peaks(x: np.ndarray, values: np.ndarray, neighbour: int) -> dict[int, np.ndarray]:
    """Value at each quarter turn minus the mean of those `neighbour` degrees to its sides.

    x: (T,) degrees; values (N, T). Returns {90: (N,), …} of the quarter turns whose neighbours are
    among the steps.
    """
    place = {round(float(angle)) % 360: i for i, angle in enumerate(x)}
    found = {}
    for turn in QUARTERS:
        sides = [(turn + side) % 360 for side in (-neighbour, neighbour)]
        if {turn, *sides} <= place.keys():
            beside = values[:, [place[side] for side in sides]]
            found[turn] = values[:, place[turn]] - beside.mean(1)
    return found


class Told:
    """Curves and what follows from them, computed once for metrics, tables, text and figures."""

    def __init__(
        self, options: Options, layers: Layers, curves: dict[str, Curves], seed: int
    ) -> None:
        self.options, self.layers, self.curves, self.seed = options, layers, curves, seed
        self.n = len(next(iter(curves.values())).probability)
        self.boot = Bootstrap(self.n, seed)
        self.relative = {name: each.relative(options.normalise) for name, each in curves.items()}
        self.slopes = {name: self.slope(name, self.relative[name]) for name in curves}

    def slope(self, name: str, distance: np.ndarray) -> np.ndarray:
        """Means (1 + draws, L) of the slopes near zero of distances (N, T, L)."""
        sweep = self.curves[name].sweep
        return self.boot.means(slopes(sweep.away, sweep.near, distance))

    def ratio(self, name: str) -> np.ndarray:
        """Slope near zero of the lower over that of the higher layer compared (1 + draws,)."""
        found = self.slopes[name]
        return _over(found[:, self.layers.low], found[:, self.layers.high])

    def straight(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Up to where the mean curve is straight, and how straight it is in all, (1 + draws, L).

        Both directions of the transform are averaged first.
        """
        x, sides = folded(self.curves[name].sweep.away, self.relative[name])
        means = self.boot.means(sides)
        return straight_range(x, means, self.options.straight), straightness(x, means)

    def unfilled(self, name: str) -> np.ndarray:
        """Steps other than the clean one at which no pixel was filled: indices."""
        curves = self.curves[name]
        return np.flatnonzero((curves.filled == 0) & (curves.sweep.away > 0))

    def peak(self, name: str, what: str) -> dict[int, np.ndarray]:
        """Peaks (N,) at quarter turns of "p", or of the nearness of the higher layer's features."""
        curves = self.curves[name]
        values = curves.probability if what == "p" else -self.relative[name][:, :, self.layers.high]
        return peaks(curves.sweep.x, values, self.options.neighbour)

    def curve(self, label: str, values: np.ndarray, lines: np.ndarray | None = None) -> Curve:
        """Values (N, T) as a mean with its 95 % band."""
        means = self.boot.means(values)
        low, high = self.boot.interval(means)
        return Curve(label, means[0], low, high, lines)


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


# --------------------------------------------------------------------------------------- telling
UNITS = {
    "translation": "px",
    "scale": "unit of scale",
    "rotation": "degree",
    "disc": "degree",
}
WORDS = {
    "translation": "vertical translation",
    "scale": "scale",
    "rotation": "rotation",
    "disc": "rotation of a disc",
}


def _metrics(told: Told) -> dict[str, Measured]:
    boot, layers, options = told.boot, told.layers, told.options
    metrics = {"images": Measured(told.n, unit="images", note="counted")}
    clean = told.curves["translation"]
    metrics["p_clean"] = boot.told(
        boot.means(clean.probability)[:, clean.sweep.clean], note="p(true class), nothing changed"
    )
    for name, curves in told.curves.items():
        sweep = curves.sweep
        where = f"steps up to {sweep.near:g} {sweep.unit}"
        for place, number in enumerate(layers.numbers):
            metrics[f"{name}_slope_layer{number}"] = boot.told(
                told.slopes[name][:, place], f"per {UNITS[name]}",
                f"distance in {_UNIT_WORDS[options.normalise]}, {where}",
            )  # fmt: skip
        (low, _), (high, _) = layers.pair()
        metrics[f"{name}_slope_ratio"] = boot.told(
            told.ratio(name), note=f"{low} over {high}, {where}"
        )
        changed = sweep.away > 0
        metrics[f"{name}_p_mean"] = boot.told(
            boot.means(curves.probability[:, changed].mean(1)),
            note="p(true class), mean over all steps but the clean one",
        )
    for name in ("translation", "scale"):
        sweep, (reach, share) = told.curves[name].sweep, told.straight(name)
        for word, place in layers.pair():
            metrics[f"{name}_straightness_{word}"] = boot.told(
                share[:, place],
                note="share of the mean curve's variance, over the whole range, that a line "
                "through 0 explains",
            )
            metrics[f"{name}_straight_{word}"] = boot.told(
                reach[:, place], sweep.unit,
                f"of at most {sweep.away.max():.4g}: a line through 0 explains "
                f"{options.straight:.0%} of the mean curve up to here",
            )  # fmt: skip
        ends = sweep.away == sweep.away.max()
        metrics[f"{name}_p_end"] = boot.told(
            boot.means(told.curves[name].probability[:, ends].mean(1)),
            note=f"p(true class) at {sweep.away.max():.4g} {sweep.unit} from the clean step",
        )
    metrics |= _unfilled_metrics(told)
    for name in ("rotation", "disc"):
        for what, word in (("p", "peak"), ("near", "nearer")):
            for turn, found in told.peak(name, what).items():
                metrics[f"{name}_{word}_{turn}"] = boot.told(
                    boot.means(found),
                    note=f"{_PEAK_WORDS[what]} at {turn} degrees, minus the mean of its "
                    f"neighbours {options.neighbour} degrees away",
                )
    return metrics


_UNIT_WORDS = {
    "others": "mean distances to other images",
    "norm": "norms of the unchanged image's features",
    "none": "raw units of each layer",
}
_PEAK_WORDS = {"p": "p(true class)", "near": "minus the higher layer's distance"}


def _unfilled_metrics(told: Told) -> dict[str, Measured]:
    """The ratio of the two layers' mean distances over all steps without a filled pixel."""
    metrics = {}
    (low, a), (high, b) = told.layers.pair()
    for name in ("translation", "scale", "rotation"):
        kept = told.unfilled(name)
        if len(kept):
            means = told.boot.means(told.relative[name][:, kept].mean(1))
            metrics[f"{name}_unfilled_ratio"] = told.boot.told(
                _over(means[:, a], means[:, b]),
                note=f"mean distance of {low} over that of {high}, {len(kept)} steps without a "
                "filled pixel",
            )
    return metrics


def _tables(
    inputs: Inputs, options: Options, rows: np.ndarray, told: Told, drawn: Examples
) -> dict[str, Table]:
    clean = told.curves["translation"]
    tables = {
        "layers": _layer_table(told),
        "unfilled": _unfilled_table(told),
        "steps": _step_table(told),
        "examples": Table(
            ["image", "class", "p clean"],
            [
                [
                    inputs.split.ids[rows[i]],
                    inputs.class_names[int(inputs.labels[rows[i]])],
                    float(clean.probability[i, clean.sweep.clean]),
                ]
                for i in drawn.places
            ],
            f"The images drawn, {drawn.how}.",
        ),
    }
    classes = _class_table(inputs, rows, told)
    if classes.rows:
        tables["classes"] = classes
    if options.sensitivity_images:
        tables["sensitivity"] = _sensitivity(inputs, options, rows, told)
    return tables


def _layer_table(told: Told) -> Table:
    rows: list[list[Any]] = []
    for name, curves in told.curves.items():
        raw, (reach, share) = told.slope(name, curves.distance), told.straight(name)
        slope_ends = told.boot.interval(told.slopes[name])
        reach_ends = told.boot.interval(reach)
        far = told.boot.means(told.relative[name])[0, int(curves.sweep.away.argmax())]
        for k, number in enumerate(told.layers.numbers):
            rows.append(
                [
                    WORDS[name], number, raw[0, k], told.slopes[name][0, k],
                    slope_ends[0][k], slope_ends[1][k],
                    reach[0, k], reach_ends[0][k], reach_ends[1][k], share[0, k], far[k],
                ]
            )  # fmt: skip
    return Table(
        ["transform", "layer", "raw slope", "slope", "slope low", "slope high",
         "straight up to", "straight low", "straight high", "straightness",
         "distance at the far end"],
        rows,
        f"Slopes near zero per px of {told.options.reference_px}, unit of scale or degree: raw, "
        f"and with distances in {_UNIT_WORDS[told.options.normalise]} (95 % intervals over "
        f"{told.n} images). Straight: up to where a line through 0 explains "
        f"{told.options.straight:.0%} of the mean curve, at least the first step; straightness: "
        "what it explains over the whole range.",
    )  # fmt: skip


def _unfilled_table(told: Told) -> Table:
    (low, a), (high, b) = told.layers.pair()
    rows: list[list[Any]] = []
    for name in ("translation", "scale", "rotation"):
        curves = told.curves[name]
        means = told.boot.means(told.relative[name])
        chances = told.boot.means(curves.probability)
        kept = told.unfilled(name)
        far = kept[curves.sweep.away[kept] == curves.sweep.away[kept].max()] if len(kept) else kept
        for step in far:
            ends = told.boot.interval(chances[:, step])
            rows.append(
                [WORDS[name], f"{len(kept) + 1} of {len(curves.sweep.x)}",
                 float(curves.sweep.x[step]), means[0, step, a], means[0, step, b],
                 chances[0, step], float(ends[0]), float(ends[1])]
            )  # fmt: skip
    return Table(
        ["transform", "steps without fill", "farthest of them", f"{low} distance",
         f"{high} distance", "p", "p low", "p high"],
        rows,
        "Without fill: the farthest steps at which every pixel of the view is the picture's own.",
    )  # fmt: skip


def _step_table(told: Told) -> Table:
    (low, a), (high, b) = told.layers.pair()
    rows: list[list[Any]] = []
    for name, curves in told.curves.items():
        raw = told.boot.means(curves.distance)[0]
        one, two = (told.curve("", told.relative[name][:, :, k]) for k in (a, b))
        chance = told.curve("", curves.probability)
        for t, x in enumerate(curves.sweep.x):
            rows.append(
                [WORDS[name], float(x), float(curves.filled[t]), raw[t, a], raw[t, b],
                 one.mean[t], one.low[t], one.high[t], two.mean[t], two.low[t], two.high[t],
                 chance.mean[t], chance.low[t], chance.high[t]]
            )  # fmt: skip
    ends = ("", " low", " high")
    return Table(
        ["transform", "x", "filled share", f"{low} raw", f"{high} raw",
         *(f"{word} distance{end}" for word in (low, high) for end in ends),
         *(f"p{end}" for end in ends)],
        rows,
        "Every step: x in px (positive: down), times or degrees (counterclockwise), the share of "
        "the view that was filled, mean distances and p(true class) with 95 % bands.",
    )  # fmt: skip


def classes_of(inputs: Inputs, rows: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Classes with `LEAST_OF_CLASS` or more images in `rows`: name and places, in label order."""
    labels = inputs.labels[rows]
    found = [(int(label), np.flatnonzero(labels == label)) for label in np.unique(labels)]
    return [
        (inputs.class_names[label], places)
        for label, places in found
        if len(places) >= LEAST_OF_CLASS
    ]


def _class_table(inputs: Inputs, rows: np.ndarray, told: Told) -> Table:
    disc = told.curves["disc"]
    chances, nearness = told.peak("disc", "p"), told.peak("disc", "near")
    table: list[list[Any]] = []
    for name, places in classes_of(inputs, rows):
        row: list[Any] = [name, len(places)]
        row += [float(disc.probability[places, disc.sweep.clean].mean())]
        for turn in chances:
            at = int(np.flatnonzero(disc.sweep.x == turn)[0])
            row.append(float(disc.probability[places, at].mean()))
            for found in (chances[turn][places], nearness[turn][places]):
                one = student_mean(found)
                row += [one.value, one.low, one.high]
        table.append(row)
    columns = ["class", "images", "p clean"]
    for turn in chances:
        columns.append(f"p {turn}")
        columns += [f"{w} {turn}{end}" for w in ("peak", "nearer") for end in ("", " low", " high")]
    return Table(
        columns, table,
        f"Rotation of the disc, by class (at least {LEAST_OF_CLASS} images): p(true class) at "
        "quarter turns, its peak, and by how much nearer the higher layer's features are there "
        f"than {told.options.neighbour} degrees to either side. Student's 95 % intervals over the "
        "class's images; with this many classes one or two may exclude 0 by chance.",
    )  # fmt: skip


def _sensitivity(inputs: Inputs, options: Options, rows: np.ndarray, told: Told) -> Table:
    """The headline numbers of the first images under other choices of what the paper leaves out."""
    count = min(options.sensitivity_images, len(rows))
    base = {name: told.curves[name].first(count) for name in WORDS if name != "disc"}
    table = [_headline("as configured", options, base, told)]
    # No enlargement needs a fill and no shift an interpolation.
    others = [
        (f"fill: {each}", "scale", replace(options, fill=each))
        for each in FILLS
        if each != options.fill
    ]
    others += [
        (f"interpolation: {each}", "translation", replace(options, interpolation=each))
        for each in INTERPOLATIONS
        if each != options.interpolation
    ]
    paths = told.layers.paths
    for what, same, changed in others:
        found = {
            name: each
            if name == same
            else measure(inputs, rows[:count], each.sweep, paths, changed, like=each)
            for name, each in base.items()
        }
        table.append(_headline(what, changed, found, told))
    coarse = {
        name: each.steps(np.arange(each.sweep.clean % 2, len(each.sweep.x), 2))
        for name, each in base.items()
    }
    table.append(_headline("every second step", options, coarse, told))
    for how in NORMALISATIONS:
        if how != options.normalise:
            changed = replace(options, normalise=how)
            table.append(_headline(f"normalise: {how}", changed, base, told))
    (low, _), (high, _) = told.layers.pair()
    return Table(
        ["choice", "translation slope ratio", "scale slope ratio", "rotation slope ratio",
         f"translation straightness {high}", f"scale straightness {high}",
         "p at the largest shifts", "p peak at 180"],
        table,
        f"The same {count} images under other choices: slope near zero of {low} over {high}, how "
        f"much of the mean curve of {high} a line through 0 explains, p(true class) at the "
        "largest shifts, and the peak of p at half a turn of the whole view (none where the "
        "steps miss its neighbours).",
    )  # fmt: skip


def _headline(what: str, options: Options, curves: dict[str, Curves], told: Told) -> list[Any]:
    one = Told(options, told.layers, curves, told.seed)
    high = told.layers.high
    moved = curves["translation"]
    ends = moved.sweep.away == moved.sweep.away.max()
    peak = one.peak("rotation", "p").get(180)
    return [
        what,
        *(float(one.ratio(name)[0]) for name in curves),
        *(float(one.straight(name)[1][0, high]) for name in ("translation", "scale")),
        float(moved.probability[:, ends].mean()),
        None if peak is None else float(peak.mean()),
    ]


def _arrays(
    rows: np.ndarray, curves: dict[str, Curves]
) -> dict[str, np.ndarray | Iterable[np.ndarray]]:
    arrays: dict[str, np.ndarray | Iterable[np.ndarray]] = {"images": rows.astype(np.int32)}
    for name, each in curves.items():
        arrays[f"{name}_x"] = each.sweep.x.astype(np.float32)
        arrays[f"{name}_distance"] = each.distance.astype(np.float32)
        arrays[f"{name}_between"] = each.between.astype(np.float32)
        arrays[f"{name}_probability"] = each.probability.astype(np.float32)
    return arrays


# --------------------------------------------------------------------------------------- showing
LABELS = {
    "translation": "shift, px of {} (positive: down)",
    "scale": "times enlarged",
    "rotation": "degrees counterclockwise",
    "disc": "degrees counterclockwise",
}


def _row(told: Told, name: str, curves: Sequence[Curve]) -> Row:
    sweep = told.curves[name].sweep
    ticks = {
        "translation": np.linspace(-1, 1, 5) * told.options.translation,
        "scale": np.linspace(1, told.options.scale, 5),
    }.get(name, np.arange(0, 360, 90))
    return Row(
        WORDS[name].removeprefix("vertical "),
        sweep.x,
        LABELS[name].format(told.options.reference_px),
        [float(f"{tick:.3g}") for tick in ticks],
        # the share that turning fills, beyond what a disc leaves out in every step
        told.curves[name].filled - (told.curves[name].filled[sweep.clean] if sweep.disc else 0),
        curves,
    )


def _example_tiles(
    inputs: Inputs, options: Options, rows: np.ndarray, sweep: Sweep
) -> tuple[np.ndarray, list[str]]:
    """Views of `rows` at five steps (n, 5, px, px, 3) uint8 and the steps' names."""
    wanted: np.ndarray = np.linspace(sweep.x[0], sweep.x[-1], 5)
    if sweep.name == "rotation":
        wanted = np.array([0, 45, 90, 180, 270])
    steps = [int(np.abs(sweep.x - value).argmin()) for value in wanted]
    images = whole_images(inputs, rows)
    tiles = [
        view(inputs, images, sweep, step, options.fill, options.interpolation)[0] for step in steps
    ]
    pixels = torch.stack(tiles, 1).round().to(torch.uint8).permute(0, 1, 3, 4, 2)
    return pixels.cpu().numpy(), [f"{sweep.x[step]:.3g}" for step in steps]


def _draw_panels(
    inputs: Inputs, options: Options, rows: np.ndarray, told: Told, drawn: Examples
) -> Any:
    (low, a), (high, b) = told.layers.pair()
    columns = [f"distance, {_spaced(low)}", f"distance, {_spaced(high)}", "p(true class)"]
    table = []
    for name in ("translation", "scale", "rotation"):
        curves = told.curves[name]
        values = [curves.distance[:, :, a], curves.distance[:, :, b], curves.probability]
        row = _row(told, name, [told.curve("", v, v[drawn.places]) for v in values])
        tiles, marks = _example_tiles(inputs, options, rows[drawn.places], curves.sweep)
        table.append(replace(row, tiles=tiles, marks=marks))
    names = [shorten(inputs.class_names[int(inputs.labels[rows[i]])], 22) for i in drawn.places]
    return panels(table, columns, names)


def _draw_layers(told: Told) -> Any:
    rows = []
    for name in WORDS:
        values = told.relative[name]
        curves = [
            told.curve(f"layer {number}", values[:, :, k])
            for k, number in enumerate(told.layers.numbers)
        ]
        rows.append(_row(told, name, curves))
    unit = {"others": "distance / mean distance to others", "norm": "distance / norm of features"}
    return all_layers(rows, unit.get(told.options.normalise, "distance"))


def _draw_turned(inputs: Inputs, rows: np.ndarray, told: Told) -> Any:
    word, high = told.layers.pair()[1]
    both = []
    for name, label in (("rotation", "whole view"), ("disc", "disc only")):
        chance = told.curves[name].probability
        curves = [told.curve(label, v) for v in (chance, told.relative[name][:, :, high])]
        both.append(_row(told, name, curves))
    found = classes_of(inputs, rows)[:24]
    disc = told.curves["disc"].probability
    heat = np.array([disc[places].mean(0) for _, places in found])
    titles = ["p(true class)", f"distance, {_spaced(word)}"]
    return turned(both[0], both[1], titles, heat, [shorten(name, 16) for name, _ in found])


def _spaced(word: str) -> str:
    return word.replace("layer", "layer ")


def _figures(
    inputs: Inputs, options: Options, rows: np.ndarray, told: Told, drawn: Examples
) -> list[Figure]:
    (low, _), (high, _) = ((_spaced(word), k) for word, k in told.layers.pair())
    fill = _FILL_WORDS[options.fill]
    return [
        Figure(
            "invariance",
            f"Rows: vertical translation, scale, rotation. Left: the images drawn, {drawn.how}; "
            f"where the picture ends, the view is filled ({fill}). Then the Euclidean distance of "
            f"the features of {low} and of {high} to those of the unchanged image, in the layer's "
            "own units, and the probability of the true class. Thin: one image each; black with "
            f"band: mean of {told.n} images and its 95 % interval. The grey hill is the share of "
            "filled pixels, the panel's height being all of them.",
            f"Three rows of panels for translation, scale and rotation: example images, distances "
            f"at {low} and {high} and the true class's probability, with the mean of {told.n} "
            "images.",
            functools.partial(_draw_panels, inputs, options, rows, told, drawn),
        ),
        Figure(
            "invariance_layers",
            f"All layers: mean over {told.n} images of the distance to the unchanged image's "
            f"features, in {_UNIT_WORDS[options.normalise]}, with 95 % bands. Grey: share of "
            "filled pixels. In the last panel only the view's largest disc turns: fill and blur "
            "stay the same.",
            "Mean feature distance of every layer against translation, scale and rotation.",
            functools.partial(_draw_layers, told),
        ),
        Figure(
            "invariance_rotation",
            "Rotation of the whole view, which fills corners except at quarter turns, and of its "
            "largest disc, where fill and blur are the same in all steps: mean probability "
            f"of the true class and distance of {high} ({_UNIT_WORDS[options.normalise]}) with 95 "
            "% bands; the probability by class for the disc, where the sample holds at least "
            f"{LEAST_OF_CLASS} images of it.",
            "Probability of the true class against the angle, for the whole view, for a disc, and "
            "by class as a heat map.",
            functools.partial(_draw_turned, inputs, rows, told),
        ),
    ]


_FILL_WORDS = {
    "mean": "the mean of the training data, 0 in the net's input",
    "grey": "grey, raw value 128",
    "replicate": "the border's pixels repeated",
}


def _text(inputs: Inputs, options: Options, rows: np.ndarray, told: Told) -> str:
    metrics = _metrics(told)
    (low, _), (high, _) = ((_spaced(word), k) for word, k in told.layers.pair())

    def number(key: str, digits: int = 2) -> str:
        one = metrics[key]
        if one.low is None or one.high is None:
            return f"{one.value:.{digits}f}"
        return f"{one.value:.{digits}f} ({one.low:.{digits}f} to {one.high:.{digits}f})"

    def straight(which: int, name: str) -> str:
        return number(f"{name}_straightness_{told.layers.pair()[which][0]}")

    def upto(which: int, name: str) -> str:
        one = metrics[f"{name}_straight_{told.layers.pair()[which][0]}"]
        return f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g})" if one.low else f"{one.value}"

    reach = float(told.curves["translation"].sweep.away.max())
    margin = inputs.view.start * options.reference_px / inputs.net.input_px
    most = {name: f"{told.curves[name].filled.max():.0%}" for name in ("translation", "rotation")}
    done = (
        f"{told.n} images of the {options.split} split, drawn by seed with classes taking turns, "
        f"were shifted vertically by up to {reach:.3g} px of {options.reference_px}, "
        f"enlarged up to {options.scale:g} times and turned all round, each view by one "
        f"{options.interpolation} resampling of the whole prepared image; shifts "
        f"are whole pixels. The prepared image reaches {margin:.3g} px of "
        f"{options.reference_px} beyond the view on each side; past that the view is filled "
        f"({_FILL_WORDS[options.fill]}), at most {most['translation']} of it under translation "
        f"and {most['rotation']} under rotation, never under scale. "
        f"{inputs.origin}"
    )
    unit = _UNIT_WORDS[options.normalise]
    found = (
        f" Near zero the distance (in {unit}) grows at {low} faster than at {high} by a factor of "
        f"{number('translation_slope_ratio', 1)} for translation, "
        f"{number('scale_slope_ratio', 1)} for scale and {number('rotation_slope_ratio', 1)} for "
        f"rotation (95 % intervals over images; above 1 means that the lower layer reacts more). "
        f"A line through 0 explains {straight(1, 'translation')} of the mean curve of {high} over "
        f"the whole range of shifts and {straight(1, 'scale')} over that of scales; of {low}'s it "
        f"explains {straight(0, 'translation')} and {straight(0, 'scale')} (1: straight; "
        f"below 0: worse than a constant). It explains at least "
        f"{options.straight:.0%} of {high}'s curve up to "
        f"{upto(1, 'translation')} px and {upto(1, 'scale')} of scale, of {low}'s up to "
        f"{upto(0, 'translation')} px and {upto(0, 'scale')}. The true class keeps a mean "
        f"probability of {number('translation_p_mean')} under translation, "
        f"{number('scale_p_mean')} under scale and {number('rotation_p_mean')} under rotation, "
        f"from {number('p_clean')} unchanged."
    )
    return done + found + _symmetry(metrics) + _by_class(inputs, rows, told) + _limits(metrics)


def _symmetry(metrics: dict[str, Measured]) -> str:
    turns = [turn for turn in QUARTERS if f"disc_peak_{turn}" in metrics]
    if not turns:
        return ""

    def listed(kind: str) -> str:
        ones = [metrics[f"{kind}_peak_{turn}"] for turn in turns]
        return ", ".join(f"{one.value:+.3f}" for one in ones)

    clear = [t for t in turns if (metrics[f"disc_peak_{t}"].low or 0) > 0]
    verdict = (
        f"so p peaks at {', '.join(map(str, clear))} degrees beyond what fill and blur make"
        if clear
        else "so no peak of p is sure once fill and blur are the same in all steps"
    )
    return (
        f" At {', '.join(map(str, turns))} degrees p exceeds its neighbours by "
        f"{listed('rotation')} for the whole view, of which only the neighbours have filled "
        f"corners and interpolated pixels, and by {listed('disc')} for the disc, turned off the "
        f"pixel grid: {verdict}."
    )


def _by_class(inputs: Inputs, rows: np.ndarray, told: Told) -> str:
    disc = told.curves["disc"]
    half = np.flatnonzero(disc.sweep.x == 180)
    kept = [(disc.probability[at, half[0]].mean(), n) for n, at in classes_of(inputs, rows)]
    if len(kept) < 2:
        return ""
    (most, best), (least, worst) = max(kept), min(kept)
    return (
        f" Classes differ: after half a turn of the disc p is {most:.2f} for {best} and "
        f"{least:.2f} for {worst} (a handful of images each; table of classes)."
    )


def _limits(metrics: dict[str, Measured]) -> str:
    kept = [name for name in ("translation", "scale") if f"{name}_unfilled_ratio" in metrics]
    ratios = " and ".join(
        f"{metrics[f'{name}_unfilled_ratio'].value:.1f} ({name})" for name in kept
    )
    told = f" Over the steps without any fill the two layers' distances differ by {ratios} times"
    return (
        f"{told if kept else ' No step is free of fill'}. What cannot be said: enlarging and "
        "turning also blur the picture, which bends the curves near zero most where layers see "
        "fine detail (the table of sensitivity has the sharper bicubic); and beyond the margin the "
        "curves show the fill as well as the transform."
    )
