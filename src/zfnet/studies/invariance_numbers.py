"""Numbers, tables and text of the study `invariance`, from the curves that were measured.

Means are over images, and their intervals come from drawing the images again (bootstrap). Where the
grid of steps is uneven, means and fits over steps weigh each step by how many it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from zfnet.figures.invariance import Curve
from zfnet.stats.bootstrap import student_mean
from zfnet.stats.estimate import Estimate
from zfnet.studies.base import Inputs
from zfnet.studies.invariance_sweeps import QUARTERS, Curves, Options
from zfnet.studies.result import Table

DRAWS = 1000
LEAST_OF_CLASS = 5
STRETCH = 2048  # images weighed at a time


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


# ------------------------------------------------------------------------------------- concluding
class Bootstrap:
    """Means over n images, and the same over images drawn again with replacement."""

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        rng = np.random.default_rng([seed, n, 9])
        even = np.full(n, 1 / n)
        # How often each image was drawn: a byte is enough, and 50,000 images are 50 MB.
        self.counts = np.empty((DRAWS, n), np.uint8)
        for draw in self.counts:
            draw[:] = rng.multinomial(n, even)

    def means(self, values: np.ndarray) -> np.ndarray:
        """(n, …) → (1 + draws, …): the mean first, then that of every draw."""
        flat = values.reshape(self.n, -1)
        total = np.zeros((1 + DRAWS, flat.shape[1]))
        for i in range(0, self.n, STRETCH):
            stretch = flat[i : i + STRETCH].astype(np.float64)
            total[0] += stretch.sum(0)
            total[1:] += self.counts[:, i : i + STRETCH].astype(np.float64) @ stretch
        return (total / self.n).reshape(len(total), *values.shape[1:])

    def interval(self, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends (…) of the 95 % percentile interval of a statistic (1 + draws, …) of the means."""
        low, high = np.quantile(found[1:], [0.025, 0.975], axis=0)
        return low, high

    def told(self, found: np.ndarray, unit: str = "", note: str = "") -> Estimate:
        """A statistic (1 + draws,) of the means as a number with its interval."""
        note = f"{note}; bootstrap over images" if note else "bootstrap over images"
        if np.isnan(found).any():
            return Estimate(
                float(found[0]), n=self.n, unit=unit, note=f"{note}; not always defined"
            )
        low, high = self.interval(found)
        return Estimate(float(found[0]), float(low), float(high), self.n, unit, note)


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


def straight_range(
    x: np.ndarray, curves: np.ndarray, share: float, weight: np.ndarray | None = None
) -> np.ndarray:
    """Up to which x curves (M, K, …) are straight: (M, …).

    x: (K,) ascending from 0, where every curve is 0. The answer is the largest x up to which
    `straightness` is at least `share`; at least the first step. NaN for a curve that stays 0.
    """
    weight = np.ones(len(x)) if weight is None else weight
    reach = np.full((len(curves), *curves.shape[2:]), x[1])
    for k in range(2, len(x)):
        kept = slice(k + 1)
        reach[straightness(x[kept], curves[:, kept], weight[kept]) >= share] = x[k]
    return np.where((curves != 0).any(1), reach, np.nan)


def straightness(x: np.ndarray, curves: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Share of the variance of curves (M, K, …) that the best line through 0 explains: (M, …).

    1: straight. The variance is about the curve's own mean, the origin included; about 0, even a
    square root would reach 0.96, by this 0.64. Below 0 where the mean alone would explain more. NaN
    for a curve that stays 0. weight: (K,) of the steps, all the same if not given.
    """
    weight = np.ones(len(x)) if weight is None else weight
    shape = (1, -1, *[1] * (curves.ndim - 2))
    slope = np.tensordot(curves, weight * x, axes=(1, 0)) / (weight * x**2).sum()
    mean = np.tensordot(curves, weight, axes=(1, 0)) / weight.sum()
    weight = weight.reshape(shape)
    rest = (weight * (curves - slope[:, None] * x.reshape(shape)) ** 2).sum(1)
    total = (weight * (curves - mean[:, None]) ** 2).sum(1)
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
    """Curves and what follows from them, computed once for metrics, tables, text and figures.

    curves: of all images, by transform.
    """

    def __init__(
        self, options: Options, layers: Layers, curves: Mapping[str, Curves], seed: int
    ) -> None:
        self.options, self.layers, self.curves, self.seed = options, layers, curves, seed
        self.n = len(next(iter(curves.values())).probability)
        self.boot = Bootstrap(self.n, seed)
        self.relative = {name: each.relative(options.normalise) for name, each in curves.items()}
        self.slopes = {name: self.slope(name, self.relative[name]) for name in curves}
        self._straight: dict[str, tuple[np.ndarray, np.ndarray]] = {}

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
        if name not in self._straight:
            sweep = self.curves[name].sweep
            x, weight = folded(sweep.away, sweep.weight[None])
            means = self.boot.means(folded(sweep.away, self.relative[name])[1])
            share = self.options.straight
            self._straight[name] = (
                straight_range(x, means, share, weight[0]),
                straightness(x, means, weight[0]),
            )
        return self._straight[name]

    def unfilled(self, name: str) -> np.ndarray:
        """Steps other than the clean one at which no pixel was filled: indices."""
        curves = self.curves[name]
        return np.flatnonzero((curves.sweep.filled == 0) & (curves.sweep.away > 0))

    def over_steps(self, name: str, values: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Mean (N, …) of values (N, T, …) over the steps `kept`, each with its weight."""
        weight = self.curves[name].sweep.weight[kept]
        return np.tensordot(values[:, kept], weight / weight.sum(), axes=(1, 0))

    def peak(self, name: str, what: str) -> dict[int, np.ndarray]:
        """Peaks (N,) at quarter turns of "p", or of the nearness of the higher layer's features."""
        curves = self.curves[name]
        values = curves.probability if what == "p" else -self.relative[name][:, :, self.layers.high]
        return peaks(curves.sweep.x, values, self.options.neighbour)

    def curve(self, name: str, label: str, values: np.ndarray) -> Curve:
        """Values (N, T) of a transform as a mean with its 95 % band."""
        means = self.boot.means(values)
        low, high = self.boot.interval(means)
        return Curve(label, self.curves[name].sweep.x, means[0], low, high)

    @cached_property
    def metrics(self) -> dict[str, Estimate]:
        """All numbers, by name."""
        return _metrics(self)


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


def _metrics(told: Told) -> dict[str, Estimate]:
    boot, layers, options = told.boot, told.layers, told.options
    metrics = {"images": Estimate(told.n, unit="images", note="counted")}
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
                f"distance in {UNIT_WORDS[options.normalise]}, {where}",
            )  # fmt: skip
        (low, _), (high, _) = layers.pair()
        metrics[f"{name}_slope_ratio"] = boot.told(
            told.ratio(name), note=f"{low} over {high}, {where}"
        )
        changed = np.flatnonzero(sweep.away > 0)
        metrics[f"{name}_p_mean"] = boot.told(
            boot.means(told.over_steps(name, curves.probability, changed)),
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


UNIT_WORDS = {
    "others": "mean distances to other images",
    "norm": "norms of the unchanged image's features",
    "none": "raw units of each layer",
}
_PEAK_WORDS = {"p": "p(true class)", "near": "minus the higher layer's distance"}


def _unfilled_metrics(told: Told) -> dict[str, Estimate]:
    """The ratio of the two layers' mean distances over all steps without a filled pixel."""
    metrics = {}
    (low, a), (high, b) = told.layers.pair()
    for name in ("translation", "scale", "rotation"):
        kept = told.unfilled(name)
        if len(kept):
            means = told.boot.means(told.over_steps(name, told.relative[name], kept))
            metrics[f"{name}_unfilled_ratio"] = told.boot.told(
                _over(means[:, a], means[:, b]),
                note=f"mean distance of {low} over that of {high}, {len(kept)} steps without a "
                "filled pixel",
            )
    return metrics


def layer_table(told: Told) -> Table:
    """Slopes, straight ranges and far ends of all transforms and layers."""
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
        f"and with distances in {UNIT_WORDS[told.options.normalise]} (95 % intervals over "
        f"{told.n} images). Straight: up to where a line through 0 explains "
        f"{told.options.straight:.0%} of the mean curve, at least the first step; straightness: "
        "what it explains over the whole range.",
    )  # fmt: skip


def unfilled_table(told: Told) -> Table:
    """The farthest steps at which every pixel is the picture's own."""
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


def step_table(told: Told) -> Table:
    """Every step of every transform, means with bands."""
    (low, a), (high, b) = told.layers.pair()
    rows: list[list[Any]] = []
    for name, curves in told.curves.items():
        raw = told.boot.means(curves.distance)[0]
        one, two = (told.curve(name, "", told.relative[name][:, :, k]) for k in (a, b))
        chance = told.curve(name, "", curves.probability)
        for t, x in enumerate(curves.sweep.x):
            rows.append(
                [WORDS[name], float(x), float(curves.sweep.filled[t]), raw[t, a], raw[t, b],
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


def class_table(inputs: Inputs, rows: np.ndarray, told: Told) -> Table:
    """Rotation of the disc by class; no rows where no class has enough images."""
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


# --------------------------------------------------------------------------------------- wording
FILL_WORDS = {
    "mean": "the mean of the training data, 0 in the net's input",
    "grey": "grey, raw value 128",
    "replicate": "the border's pixels repeated",
}


def spaced(word: str) -> str:
    """A layer's name in the metrics, as in "layer7", with a space: "layer 7"."""
    return word.replace("layer", "layer ")


def account(inputs: Inputs, options: Options, rows: np.ndarray, told: Told) -> str:
    """What was done and found, in a paragraph."""
    metrics = told.metrics
    (low, _), (high, _) = ((spaced(word), k) for word, k in told.layers.pair())

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
    most = {
        name: f"{told.curves[name].sweep.filled.max():.0%}" for name in ("translation", "rotation")
    }
    done = (
        f"{_which(inputs, options, rows)} were shifted vertically by up to {reach:.3g} px of "
        f"{options.reference_px}, enlarged up to {options.scale:g} times and turned all round, "
        f"each view by one {options.interpolation} resampling of the whole prepared image; shifts "
        f"are whole pixels. The prepared image reaches {margin:.3g} px of "
        f"{options.reference_px} beyond the view on each side; past that the view is filled "
        f"({FILL_WORDS[options.fill]}), at most {most['translation']} of it under translation "
        f"and {most['rotation']} under rotation, never under scale. "
        f"{inputs.origin}"
    )
    unit = UNIT_WORDS[options.normalise]
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


def _which(inputs: Inputs, options: Options, rows: np.ndarray) -> str:
    """The images measured, as the subject of a sentence."""
    known = int((inputs.outputs(inputs.rows) >= 0).sum())
    if len(rows) < known:
        return (
            f"{len(rows)} of {known} images of the {options.split} split, drawn by seed with "
            "classes taking turns,"
        )
    which = "" if known == len(inputs.rows) else " of classes that the net knows"
    return f"All {len(rows)} images of the {options.split} split{which}"


def _symmetry(metrics: dict[str, Estimate]) -> str:
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
    few = min(len(at) for _, at in classes_of(inputs, rows))
    return (
        f" Classes differ: after half a turn of the disc p is {most:.2f} for {best} and "
        f"{least:.2f} for {worst} (classes of {few} images or more; table of classes)."
    )


def _limits(metrics: dict[str, Estimate]) -> str:
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
