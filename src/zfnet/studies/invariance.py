"""How far features and answer move when an image is shifted, enlarged or turned (Fig. 5).

The paper gives the ranges of the three transforms and draws, for five images, the Euclidean
distance between the features of the transformed and of the original image at layers 1 and 7, and
the probability of the true class. It states neither steps nor what fills the view where the picture
ends, nor the interpolation: the table `sensitivity` has what hangs on the last two.

Every view is made by one resampling of the whole prepared image, so that real pixels from beyond
the centre view come in where there are any. Shifts are whole pixels and therefore blur nothing;
enlarging and turning do, except at quarter turns, which also need no fill: their peaks would be
made by the transform. So a fourth transform, which the paper does not have, turns only the largest
disc of the view, a little off the pixel grid in every step: neither fill nor blur then changes.

Distances are compared between layers in units of the mean distance between an image's features and
those of other images: 1 means as far away as another picture. Raw distances cannot be compared:
they grow with the number and the scale of a layer's features.

Intervals come from drawing the images again (bootstrap). Where the grid of steps is uneven, means
and fits over steps weigh each step by how many it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from zfnet.errors import UserError
from zfnet.models.net import Net
from zfnet.results import Measurement, Table
from zfnet.stats.bootstrap import counted_means, counts, percentiles
from zfnet.stats.estimate import Estimate
from zfnet.studies.base import SURE, Inputs, named_rows, turns
from zfnet.studies.invariance_sweeps import (
    NEIGHBOUR,
    QUARTERS,
    REFERENCE_PX,
    Curves,
    Sweep,
    Views,
    between_images,
    coarse,
    measure,
    sweeps,
    whole_pixels,
)

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Invariance

SPLIT = "val"
CLASSIFIER = 8
DRAWS = 1000
STRAIGHT = 0.95  # share of the variance from which a curve counts as straight
LEAST_OF_CLASS = 5  # images behind the curve of one class
SENSITIVITY_IMAGES = 16  # measured for each choice, for time
SENSITIVITY: dict[str, dict[str, Any]] = {
    "measured": {},
    "replicate": {"repeat": True},
    "bicubic": {"interpolation": "bicubic"},
}
VIEW_PX = 112  # largest side of the views drawn: a figure shows no more
PER = {"translation": "px", "scale": "unit of scale", "rotation": "degree", "disc": "degree"}
UNITS = {"translation": f"px of {REFERENCE_PX}", "scale": "of scale"}
IN_UNITS = "distance in mean distances to other images"


def run(cfg: Invariance, paths: Paths) -> Measurement:
    """Fig. 5 for one net on the validation images, or on a seeded sample of them."""
    inputs = Inputs.of_stage(cfg, paths, SPLIT, dealt=True)
    layers = chosen_layers(inputs.net, cfg)
    rows, modules = chosen_rows(inputs, cfg), list(layers.values())
    fine = sweeps(inputs.net.input_px, whole_pixels(inputs, np.zeros(1, np.int64)).shape[-1])
    units = {name: between_images(inputs, rows, fine[name], modules) for name in ("scale", "disc")}
    units |= dict.fromkeys(("translation", "rotation"), units["scale"])  # of the same clean view
    curves = {
        name: measure(inputs, rows, coarse(sweep), modules, units[name])
        for name, sweep in fine.items()
    }
    summary = Summary(list(layers), curves, cfg.seed)
    tables = {
        "steps": summary.steps(),
        "layers": summary.by_layer(),
        "classes": class_table(inputs, rows, curves["disc"]),
    }
    if not paths.leads:
        return Measurement(inputs.net.name, cfg.tap, cfg.seed, summary.estimates(), tables)
    places, unsure = chosen_examples(inputs.labels[rows], cfg, curves["translation"])
    drawn = rows[places]
    lines = {
        name: measure(inputs, drawn, sweep, modules, units[name][places])
        for name, sweep in fine.items()
    }
    arrays: dict[str, np.ndarray] = {}
    for name, each in lines.items():
        arrays |= {
            f"drawn_{name}_x": each.sweep.x.astype(np.float32),
            f"drawn_{name}_filled": each.sweep.filled.astype(np.float32),
            f"drawn_{name}_distance": each.distance,
            f"drawn_{name}_probability": each.probability,
        }
    marks = {}
    for name in ("translation", "scale", "rotation"):
        arrays[f"views_{name}"], marks[name] = example_views(inputs, drawn, fine[name])
    tables |= {
        "examples": Table(
            ("image", "class", "p_clean"),
            [[inputs.split.ids[row], inputs.class_names[inputs.labels[row]], float(p)]
             for row, p in zip(drawn, summary.clean_p[places], strict=True)],
        ),
        "sensitivity": sensitivity(inputs, rows, curves, layers, cfg.seed),
    }  # fmt: skip
    facts = {
        "modules": {str(number): path for number, path in layers.items()},
        "margin_px": inputs.view.start * REFERENCE_PX / inputs.net.input_px,
        "images_known": int((inputs.outputs(inputs.rows) >= 0).sum()),
        **inputs.origin,
        "dealt": not cfg.ids,
        "examples_named": bool(cfg.ids),
        "examples_unsure": unsure,
        "views": marks,
    }
    estimates = summary.estimates()
    return Measurement(inputs.net.name, cfg.tap, cfg.seed, estimates, tables, arrays, facts)


# -------------------------------------------------------------------------------------- choosing
def chosen_layers(net: Net, cfg: Invariance) -> dict[int, str]:
    """Modules by number of the layers of `cfg`, or of all that the net has before its classifier.

    The first and the last are compared. Raises UserError if the net has no such tap, or fewer than
    two layers.
    """
    numbers = sorted({*cfg.layers})
    if not numbers:
        taps = [tap.partition(".") for tap in net.taps]
        numbers = sorted({int(n) for n, _, kind in taps if kind == cfg.tap and n.isdigit()})
        numbers = [number for number in numbers if number < CLASSIFIER]
    if len(numbers) < 2:
        raise UserError(
            f"study.invariance.layers={numbers}: two layers are needed to compare them, and "
            f"{net.name} has the taps {', '.join(net.taps)}"
        )
    return {number: net.tap(number, cfg.tap) for number in numbers}


def chosen_rows(inputs: Inputs, cfg: Invariance) -> np.ndarray:
    """Rows measured: those of `ids` first, then the others by seed, classes taking turns.

    All are of classes that the net knows, `max_images` at most.
    Raises UserError for an id that the split does not hold or whose class the net does not know,
    or if fewer than two images are left.
    """
    named = named_rows(inputs, cfg.ids, "study.invariance.ids")
    if (unknown := inputs.outputs(named) < 0).any():
        raise UserError(
            f"study.invariance.ids: {inputs.net.name} does not know the class of "
            f"{cfg.ids[unknown.argmax()]}: it has no probability to follow"
        )
    order = np.random.default_rng([cfg.seed, 8]).permutation(inputs.rows)
    order = order[np.argsort(turns(inputs.labels[order]), kind="stable")]
    rows = np.concatenate([named, order[~np.isin(order, named)]])
    rows = rows[inputs.outputs(rows) >= 0]
    if cfg.max_images is not None:
        rows = rows[: max(cfg.max_images, len(named))]
    if len(rows) < 2:
        raise UserError(
            f"study.invariance: the split {inputs.split_name} holds {len(rows)} images of classes "
            f"that {inputs.net.name} knows; at least 2 are needed"
        )
    return rows


def chosen_examples(labels: np.ndarray, cfg: Invariance, clean: Curves) -> tuple[np.ndarray, int]:
    """Places of the images drawn, and how many of them were not classified correctly and surely.

    The named images, or the first right and sure one of each class; where those are too few, then
    further ones, right but unsure ones and any.
    """
    if cfg.ids:
        return np.arange(min(len(cfg.ids), cfg.images, len(labels))), 0
    sure = clean.right & (clean.probability[:, clean.sweep.clean] >= SURE)
    first = sure & (turns(labels, sure) == 0)
    grade = np.select([first, sure, clean.right], [0, 1, 2], 3)
    places = np.argsort(grade, kind="stable")[: cfg.images]
    return places, int((grade[places] > 0).sum())


# ------------------------------------------------------------------------------------ concluding
def slopes(sweep: Sweep, distance: np.ndarray) -> np.ndarray:
    """Least-squares slope through 0 (N, …) of distances (N, T, …) over the steps near the clean."""
    away = sweep.away[sweep.fitted]
    return np.tensordot(distance[:, sweep.fitted], away, axes=(1, 0)) / (away**2).sum()


def folded(away: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of a sweep on one: distances from the clean step (K,), and (N, K, …) means."""
    steps, index = np.unique(np.round(away, 6), return_inverse=True)
    sides = [values[:, index == k].mean(1) for k in range(len(steps))]
    return steps, np.stack(sides, 1)


def straightness(x: np.ndarray, curves: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of the variance of curves (M, K, …) that the best line through 0 explains: (M, …).

    x, weight: (K,). 1: straight. The variance is about the curve's own mean, the origin included;
    about 0, even a square root would reach 0.96, by this 0.64. Below 0 where the mean alone would
    explain more. NaN for a curve that stays 0.
    """
    shape = (1, -1, *[1] * (curves.ndim - 2))
    slope = np.tensordot(curves, weight * x, axes=(1, 0)) / (weight * x**2).sum()
    mean = np.tensordot(curves, weight, axes=(1, 0)) / weight.sum()
    weight = weight.reshape(shape)
    rest = (weight * (curves - slope[:, None] * x.reshape(shape)) ** 2).sum(1)
    total = (weight * (curves - mean[:, None]) ** 2).sum(1)
    return 1 - _over(rest, total)


def straight_range(x: np.ndarray, curves: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The largest x (K,), ascending from 0, up to which curves (M, K, …) are straight: (M, …).

    That is with a `straightness` of at least `STRAIGHT`; at least the first step. NaN for a curve
    that stays 0.
    """
    reach = np.full((len(curves), *curves.shape[2:]), x[1])
    for k in range(2, len(x)):
        kept = slice(k + 1)
        reach[straightness(x[kept], curves[:, kept], weight[kept]) >= STRAIGHT] = x[k]
    return np.where((curves != 0).any(1), reach, np.nan)


def peaks(x: np.ndarray, values: np.ndarray) -> dict[int, np.ndarray]:
    """Values (N, T) at quarter turns minus the mean of those `NEIGHBOUR` degrees to their sides.

    x: (T,) degrees. Returns {90: (N,), 180: …, 270: …}.
    """
    place = {round(float(angle)): i for i, angle in enumerate(x)}
    sides = {turn: [place[turn - NEIGHBOUR], place[turn + NEIGHBOUR]] for turn in QUARTERS}
    return {turn: values[:, place[turn]] - values[:, sides[turn]].mean(1) for turn in QUARTERS}


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


class Summary:
    """Estimates and tables of curves of N images at `layers`; the images are drawn again.

    A statistic (1 + draws, …) is that of the images, then that of every draw.
    """

    def __init__(self, layers: Sequence[int], curves: Mapping[str, Curves], seed: int) -> None:
        self.layers, self.curves = layers, curves
        self.n = len(next(iter(curves.values())).probability)
        self._times = counts(self.n, np.random.default_rng([seed, self.n, 9]), DRAWS)
        self.relative = {name: each.relative for name, each in curves.items()}
        clean = next(iter(curves.values()))
        self.clean_p = clean.probability[:, clean.sweep.clean]

    def means(self, values: np.ndarray) -> np.ndarray:
        """Values (N, …) → means (1 + draws, …)."""
        whole = values.astype(np.float64).mean(0, keepdims=True)
        return np.concatenate([whole, counted_means(values, self._times)])

    def estimate(self, statistic: np.ndarray, unit: str = "", note: str = "") -> Estimate:
        """A statistic (1 + draws,) with its interval; none where it is not always defined."""
        one = Estimate(float(statistic[0]), n=self.n, unit=unit, note=note)
        if np.isnan(statistic).any():
            return one.noting("not always defined")
        low, high = percentiles(statistic[1:])
        return Estimate(one.value, float(low), float(high), self.n, unit, note)

    def slope(self, name: str) -> np.ndarray:
        """Slopes near zero (1 + draws, L) of the relative distances."""
        return self.means(slopes(self.curves[name].sweep, self.relative[name]))

    def ratio(self, name: str) -> np.ndarray:
        """Slope near zero of the first over that of the last layer (1 + draws,)."""
        found = self.slope(name)
        return _over(found[:, 0], found[:, -1])

    def straight(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Up to where the mean curve is straight, and how straight it is in all, (1 + draws, L).

        Both directions of the transform are averaged first.
        """
        sweep = self.curves[name].sweep
        x, weight = folded(sweep.away, sweep.weight[None])
        means = self.means(folded(sweep.away, self.relative[name])[1])
        return straight_range(x, means, weight[0]), straightness(x, means, weight[0])

    def over_steps(self, name: str, values: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Means (1 + draws, …) of values (N, T, …) over the steps `kept` (T,) bool, weighted."""
        weight = self.curves[name].sweep.weight[kept]
        return self.means(np.tensordot(values[:, kept], weight / weight.sum(), axes=(1, 0)))

    def at_end(self, name: str) -> np.ndarray:
        """p(true class) at the ends of the range (1 + draws,)."""
        away = self.curves[name].sweep.away
        return self.means(self.curves[name].probability[:, away == away.max()].mean(1))

    def estimates(self) -> dict[str, Estimate]:
        """All numbers, by name."""
        made = {
            "images": Estimate(self.n, unit="images", note="counted"),
            "p_clean": self.estimate(self.means(self.clean_p)),
        }
        for name, curves in self.curves.items():
            sweep, slope = curves.sweep, self.slope(name)
            near = f"steps up to {sweep.near:g} from the unchanged image"
            for place, number in enumerate(self.layers):
                made[f"{name}_slope_layer{number}"] = self.estimate(
                    slope[:, place], f"per {PER[name]}", f"{IN_UNITS}, {near}"
                )
            made[f"{name}_slope_ratio"] = self.estimate(self.ratio(name), note=near)
            p = self.over_steps(name, curves.probability, sweep.away > 0)
            made[f"{name}_p_mean"] = self.estimate(p, note="over all steps but the clean one")
            free = (sweep.filled == 0) & (sweep.away > 0)
            if free.any():
                both = self.over_steps(name, self.relative[name], free)
                ratio = _over(both[:, 0], both[:, -1])
                note = f"mean distance over {free.sum()} steps without a filled pixel"
                made[f"{name}_unfilled_ratio"] = self.estimate(ratio, note=note)
        for name in ("translation", "scale"):
            reach, share = self.straight(name)
            for place in (0, -1):
                word = f"layer{self.layers[place]}"
                made[f"{name}_straightness_{word}"] = self.estimate(share[:, place])
                made[f"{name}_straight_{word}"] = self.estimate(reach[:, place], UNITS[name])
            made[f"{name}_p_end"] = self.estimate(self.at_end(name))
        for name in ("rotation", "disc"):
            curves, nearness = self.curves[name], -self.relative[name][:, :, -1]
            for word, values in (("peak", curves.probability), ("nearer", nearness)):
                for turn, found in peaks(curves.sweep.x, values).items():
                    note = f"minus the mean {NEIGHBOUR} degrees to either side"
                    made[f"{name}_{word}_{turn}"] = self.estimate(self.means(found), note=note)
        return made

    def steps(self) -> Table:
        """Every step and layer, means with bands.

        Columns: transform (translation, scale, rotation, disc), x, layer, then with _low and _high:
        raw, distance, p. x: px (positive: down), times or degrees (counterclockwise). p is of the
        step: the same in the rows of all its layers.
        """
        records: list[dict[str, Any]] = []
        for name, curves in self.curves.items():
            raw, relative = self.means(curves.distance), self.means(self.relative[name])
            p = self.means(curves.probability)[..., None].repeat(len(self.layers), -1)
            bands = _band("raw", raw) | _band("distance", relative) | _band("p", p)
            for t, x in enumerate(curves.sweep.x.tolist()):
                own = {key: values[t] for key, values in bands.items()}
                records += self._per_layer({"transform": name, "x": x}, own)
        return Table.of(records)

    def by_layer(self) -> Table:
        """Slopes near zero and straight ranges, by transform and layer.

        Columns: transform, layer, raw_slope, slope and straight (_low, _high), straightness.
        """
        records: list[dict[str, Any]] = []
        for name, curves in self.curves.items():
            raw = slopes(curves.sweep, curves.distance).mean(0)
            reach, share = self.straight(name)
            bands = _band("slope", self.slope(name)) | _band("straight", reach)
            columns = {"raw_slope": raw, **bands, "straightness": share[0]}
            records += self._per_layer({"transform": name}, columns)
        return Table.of(records)

    def _per_layer(
        self, common: dict[str, Any], columns: Mapping[str, np.ndarray]
    ) -> list[dict[str, Any]]:
        """A row a layer of columns (L,), each after what is `common` to them."""
        return [
            {**common, "layer": number, **{key: float(each[k]) for key, each in columns.items()}}
            for k, number in enumerate(self.layers)
        ]


def _band(key: str, statistic: np.ndarray) -> dict[str, np.ndarray]:
    """A statistic (1 + draws, …) as columns: its value, <key>_low and <key>_high."""
    low, high = percentiles(statistic[1:])
    return {key: statistic[0], f"{key}_low": low, f"{key}_high": high}


# ------------------------------------------------------------------------------------ more tables
def class_table(inputs: Inputs, rows: np.ndarray, disc: Curves) -> Table:
    """p(true class) at every step of the disc, by class with `LEAST_OF_CLASS` or more images."""
    labels = inputs.labels[rows]
    records: list[dict[str, Any]] = []
    for label in np.unique(labels).tolist():
        places = np.flatnonzero(labels == label)
        if len(places) >= LEAST_OF_CLASS:
            own = {"class": inputs.class_names[label], "images": len(places)}
            means = disc.probability[places].mean(0).tolist()
            steps = zip(disc.sweep.x.tolist(), means, strict=True)
            records += [{**own, "x": x, "p": p} for x, p in steps]
    return Table.of(records, ("class", "images", "x", "p"))


def sensitivity(
    inputs: Inputs,
    rows: np.ndarray,
    curves: Mapping[str, Curves],
    layers: Mapping[int, str],
    seed: int,
) -> Table:
    """Headline numbers of the first images under other choices of what the paper leaves out."""
    records = []
    for choice, how in SENSITIVITY.items():
        few = {name: curves[name].first(SENSITIVITY_IMAGES) for name in UNITS | {"rotation": ""}}
        if how:
            few = {
                name: measure(
                    inputs, rows[:SENSITIVITY_IMAGES], one.sweep, list(layers.values()),
                    one.between, **how,
                )
                for name, one in few.items()
            }  # fmt: skip
        one = Summary(list(layers), few, seed)
        numbers = {f"{name}_slope_ratio": one.ratio(name) for name in few}
        for name in UNITS:
            numbers[f"{name}_straightness"] = one.straight(name)[1][:, -1]
            numbers[f"{name}_p_end"] = one.at_end(name)
        found = {key: float(statistic[0]) for key, statistic in numbers.items()}
        records.append({"choice": choice, "images": one.n, **found})
    return Table.of(records)


def example_views(inputs: Inputs, rows: np.ndarray, sweep: Sweep) -> tuple[np.ndarray, list[float]]:
    """Views of `rows` at a few steps, (n, steps, px, px, 3) uint8, made smaller; and their x."""
    wanted = np.linspace(sweep.x[0], sweep.x[-1], 5)
    if sweep.name == "rotation":
        wanted = np.array([0.0, 45, 90, 180, 270])
    steps = sweep.steps(np.unique([np.abs(sweep.x - x).argmin() for x in wanted]))
    made = Views(inputs, steps)(whole_pixels(inputs, rows)).flatten(0, 1)
    pixels = inputs.net.normalise.inverse(made)
    side = min(VIEW_PX, pixels.shape[-1])
    small = torch.nn.functional.interpolate(pixels, size=side, mode="area")
    tiles = small.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return tiles.unflatten(0, (len(rows), -1)).cpu().numpy(), steps.x.tolist()
