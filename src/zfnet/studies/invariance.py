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
those of other images: 1 means as far away as another picture. Raw distances cannot be compared:
they grow with the number and the scale of a layer's features.

Numbers and bands are over all images of the split, or as many as `max_images` says, each seen at
every second step of the range and at all near zero and around quarter turns; the images drawn and
those of the table `sensitivity` are seen at every step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from zfnet.errors import UserError
from zfnet.figures.invariance import Curve, Row, all_layers, panels, turned
from zfnet.figures.kit.maps import shorten
from zfnet.methods.transforms import INTERPOLATIONS
from zfnet.models.net import Net
from zfnet.studies.base import Inputs
from zfnet.studies.invariance_numbers import (
    FILL_WORDS,
    LEAST_OF_CLASS,
    UNIT_WORDS,
    WORDS,
    Layers,
    Told,
    account,
    class_table,
    classes_of,
    layer_table,
    spaced,
    step_table,
    unfilled_table,
)
from zfnet.studies.invariance_sweeps import (
    FILLS,
    NORMALISATIONS,
    Curves,
    Options,
    Sweep,
    Views,
    coarse_steps,
    measure,
    sweeps,
    thinned,
    whole_pixels,
    whole_side,
)
from zfnet.studies.result import Figure, Result, Table

CLASSIFIER = 8


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.invariance, seed and device."""
    options = Options.read(cfg.study.invariance)
    inputs = Inputs.of_stage(cfg, paths, options.split)
    return study(inputs, options, seed=cfg.seed)


def study(inputs: Inputs, options: Options, *, seed: int = 0) -> Result:
    """Fig. 5 for one net on the images of `inputs`, or a seeded sample of them."""
    layers = chosen_layers(inputs.net, options)
    rows = chosen_rows(inputs, options, seed)
    fine = sweeps(options, inputs.net.input_px, whole_side(inputs))
    kept = {name: coarse_steps(sweep, options) for name, sweep in fine.items()}
    coarse = {name: thinned(sweep, kept[name]) for name, sweep in fine.items()}
    curves = measure(inputs, rows, coarse, layers.paths, options, announce=True)
    told = Told(options, layers, curves, seed)
    drawn = chosen_examples(inputs, options, rows, curves["translation"])
    sample = np.arange(min(options.sensitivity_images, len(rows)))
    closer = np.unique(np.concatenate([np.array(drawn.places, np.int64), sample]))
    close = refined(inputs, rows[closer], fine, kept, pick(curves, closer), layers.paths, options)
    lines = pick(close, np.searchsorted(closer, drawn.places))
    tables = _tables(inputs, rows, told, drawn)
    if options.sensitivity_images:
        tables["sensitivity"] = _sensitivity(inputs, rows[sample], told, pick(close, sample), kept)
    return Result(
        study="invariance",
        title="Invariance: what shifting, enlarging and turning an image changes",
        paper="Fig. 5",
        text=account(inputs, options, rows, told),
        net=inputs.net.name,
        tap=options.tap,
        seed=seed,
        metrics=told.metrics,
        tables=tables,
        arrays=_arrays(rows, curves, drawn, lines),
        figures=_figures(inputs, options, rows, told, drawn, lines),
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


def pick(curves: dict[str, Curves], places: np.ndarray) -> dict[str, Curves]:
    """The curves of the images at `places`."""
    return {name: each.of(places) for name, each in curves.items()}


def refined(
    inputs: Inputs,
    rows: np.ndarray,
    fine: dict[str, Sweep],
    kept: dict[str, np.ndarray],
    coarse: dict[str, Curves],
    paths: Sequence[str],
    options: Options,
) -> dict[str, Curves]:
    """Curves of `rows` at all steps of `fine`, whose steps `kept` are in `coarse` already."""
    rest = {n: np.setdiff1d(np.arange(len(s.x)), kept[n]) for n, s in fine.items()}
    lacking = {name: fine[name].steps(steps) for name, steps in rest.items() if len(steps)}
    found = measure(inputs, rows, lacking, paths, options, like=coarse) if lacking else {}
    curves = {}
    for name, sweep in fine.items():
        if name not in found:
            curves[name] = coarse[name]
            continue
        order = np.argsort(np.concatenate([kept[name], rest[name]]))
        both = {
            key: np.concatenate([getattr(each[name], key) for each in (coarse, found)], 1)[:, order]
            for key in ("distance", "probability", "right")
        }
        curves[name] = replace(coarse[name], sweep=sweep, **both)
    return curves


# -------------------------------------------------------------------------------------- choosing
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
    """Rows measured: those of `ids` first, then the others by seed, classes taking turns.

    All are of classes that the net knows, `max_images` at most.

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
    rows = rows[inputs.outputs(rows) >= 0]
    if options.max_images is not None:
        rows = rows[: max(options.max_images, len(named))]
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


# --------------------------------------------------------------------------------------- telling
def _tables(inputs: Inputs, rows: np.ndarray, told: Told, drawn: Examples) -> dict[str, Table]:
    clean = told.curves["translation"]
    tables = {
        "layers": layer_table(told),
        "unfilled": unfilled_table(told),
        "steps": step_table(told),
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
    classes = class_table(inputs, rows, told)
    if classes.rows:
        tables["classes"] = classes
    return tables


def _sensitivity(
    inputs: Inputs,
    rows: np.ndarray,
    told: Told,
    curves: dict[str, Curves],
    kept: dict[str, np.ndarray],
) -> Table:
    """The headline numbers of `rows` under other choices of what the paper leaves out.

    curves: of these rows at every step.
    """
    options, paths = told.options, told.layers.paths
    base = {name: curves[name] for name in WORDS if name != "disc"}
    table = [_headline("as configured, every step", options, base, told)]
    if options.coarse > 1:
        thin = {
            name: replace(each.steps(kept[name]), sweep=thinned(each.sweep, kept[name]))
            for name, each in base.items()
        }
        table.append(_headline("the steps of all images", options, thin, told))
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
    for what, same, changed in others:
        made = {name: each.sweep for name, each in base.items() if name != same}
        found = base | measure(inputs, rows, made, paths, changed, like=base)
        table.append(_headline(what, changed, found, told))
    half = {
        name: each.steps(np.arange(each.sweep.clean % 2, len(each.sweep.x), 2))
        for name, each in base.items()
    }
    table.append(_headline("every second step", options, half, told))
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
        f"The same {len(rows)} images under other choices: slope near zero of {low} over {high}, "
        f"how much of the mean curve of {high} a line through 0 explains, p(true class) at the "
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
    rows: np.ndarray, curves: dict[str, Curves], drawn: Examples, lines: dict[str, Curves]
) -> dict[str, np.ndarray | Iterable[np.ndarray]]:
    arrays: dict[str, np.ndarray | Iterable[np.ndarray]] = {
        "images": rows.astype(np.int32),
        "drawn": rows[drawn.places].astype(np.int32),
    }
    for start, found in (("", curves), ("drawn_", lines)):
        for name, each in found.items():
            arrays[f"{start}{name}_x"] = each.sweep.x.astype(np.float32)
            arrays[f"{start}{name}_distance"] = each.distance.astype(np.float32)
            arrays[f"{start}{name}_between"] = each.between.astype(np.float32)
            arrays[f"{start}{name}_probability"] = each.probability.astype(np.float32)
    return arrays


# --------------------------------------------------------------------------------------- showing
LABELS = {
    "translation": "shift, px of {} (positive: down)",
    "scale": "times enlarged",
    "rotation": "degrees counterclockwise",
    "disc": "degrees counterclockwise",
}


def _row(told: Told, name: str, fine: Sweep, curves: Sequence[Curve]) -> Row:
    ticks = {
        "translation": np.linspace(-1, 1, 5) * told.options.translation,
        "scale": np.linspace(1, told.options.scale, 5),
    }.get(name, np.arange(0, 360, 90))
    return Row(
        WORDS[name].removeprefix("vertical "),
        fine.x,
        LABELS[name].format(told.options.reference_px),
        [float(f"{tick:.3g}") for tick in ticks],
        # the share that turning fills, beyond what a disc leaves out in every step
        fine.filled - (fine.filled[fine.clean] if fine.disc else 0),
        curves,
    )


def _example_tiles(
    inputs: Inputs, options: Options, rows: np.ndarray, sweep: Sweep
) -> tuple[np.ndarray, list[str]]:
    """Views of `rows` at five steps (n, 5, px, px, 3) uint8 and the steps' names."""
    wanted: np.ndarray = np.linspace(sweep.x[0], sweep.x[-1], 5)
    if sweep.name == "rotation":
        wanted = np.array([0, 45, 90, 180, 270])
    steps = np.array([int(np.abs(sweep.x - value).argmin()) for value in wanted])
    views = Views(inputs, [sweep.steps(np.unique(steps))], options.fill, options.interpolation)
    places = views.places[sweep.name][np.searchsorted(np.unique(steps), steps)]
    with torch.inference_mode():
        made = views(whole_pixels(inputs, rows).to(inputs.device)).flatten(0, 1)
        pixels = inputs.net.normalise.inverse(made).round().clamp(0, 255).to(torch.uint8)
    tiles = pixels.permute(0, 2, 3, 1).unflatten(0, (len(rows), -1)).cpu().numpy()[:, places]
    return tiles, [f"{sweep.x[step]:.3g}" for step in steps]


def _draw_panels(
    inputs: Inputs,
    options: Options,
    rows: np.ndarray,
    told: Told,
    drawn: Examples,
    lines: dict[str, Curves],
) -> Any:
    (low, a), (high, b) = told.layers.pair()
    columns = [f"distance, {spaced(low)}", f"distance, {spaced(high)}", "p(true class)"]
    table = []
    for name in ("translation", "scale", "rotation"):
        means = [told.curve(name, "", values) for values in _columns(told.curves[name], a, b)]
        curves = [
            replace(mean, lines=values)
            for mean, values in zip(means, _columns(lines[name], a, b), strict=True)
        ]
        row = _row(told, name, lines[name].sweep, curves)
        tiles, marks = _example_tiles(inputs, options, rows[drawn.places], lines[name].sweep)
        table.append(replace(row, tiles=tiles, marks=marks))
    names = [shorten(inputs.class_names[int(inputs.labels[rows[i]])], 22) for i in drawn.places]
    return panels(table, columns, names)


def _columns(curves: Curves, low: int, high: int) -> list[np.ndarray]:
    return [curves.distance[:, :, low], curves.distance[:, :, high], curves.probability]


def _draw_layers(told: Told, fine: dict[str, Sweep]) -> Any:
    rows = []
    for name in WORDS:
        values = told.relative[name]
        curves = [
            told.curve(name, f"layer {number}", values[:, :, k])
            for k, number in enumerate(told.layers.numbers)
        ]
        rows.append(_row(told, name, fine[name], curves))
    unit = {"others": "distance / mean distance to others", "norm": "distance / norm of features"}
    return all_layers(rows, unit.get(told.options.normalise, "distance"))


def _draw_turned(inputs: Inputs, rows: np.ndarray, told: Told, fine: dict[str, Sweep]) -> Any:
    word, high = told.layers.pair()[1]
    both = []
    for name, label in (("rotation", "whole view"), ("disc", "disc only")):
        chance = told.curves[name].probability
        curves = [told.curve(name, label, v) for v in (chance, told.relative[name][:, :, high])]
        both.append(_row(told, name, fine[name], curves))
    found = classes_of(inputs, rows)[:24]
    disc = told.curves["disc"]
    heat = np.array([disc.probability[places].mean(0) for _, places in found])
    titles = ["p(true class)", f"distance, {spaced(word)}"]
    names = [shorten(name, 16) for name, _ in found]
    return turned(both[0], both[1], titles, disc.sweep.x, heat, names)


def _figures(
    inputs: Inputs,
    options: Options,
    rows: np.ndarray,
    told: Told,
    drawn: Examples,
    lines: dict[str, Curves],
) -> list[Figure]:
    (low, _), (high, _) = ((spaced(word), k) for word, k in told.layers.pair())
    fine = {name: each.sweep for name, each in lines.items()}
    fill = FILL_WORDS[options.fill]
    return [
        Figure(
            "invariance",
            f"Rows: vertical translation, scale, rotation. Left: the images drawn, {drawn.how}; "
            f"where the picture ends, the view is filled ({fill}). Then the Euclidean distance of "
            f"the features of {low} and of {high} to those of the unchanged image, in the layer's "
            "own units, and the probability of the true class. Thin: one image each; black with "
            f"band: mean of {told.n} images and its 95 % interval, at the points. The grey hill is "
            "the share of filled pixels, the panel's height being all of them.",
            f"Three rows of panels for translation, scale and rotation: example images, distances "
            f"at {low} and {high} and the true class's probability, with the mean of {told.n} "
            "images.",
            functools.partial(_draw_panels, inputs, options, rows, told, drawn, lines),
        ),
        Figure(
            "invariance_layers",
            f"All layers: mean over {told.n} images of the distance to the unchanged image's "
            f"features, in {UNIT_WORDS[options.normalise]}, with 95 % bands. Grey: share of "
            "filled pixels. In the last panel only the view's largest disc turns: fill and blur "
            "stay the same.",
            "Mean feature distance of every layer against translation, scale and rotation.",
            functools.partial(_draw_layers, told, fine),
        ),
        Figure(
            "invariance_rotation",
            "Rotation of the whole view, which fills corners except at quarter turns, and of its "
            "largest disc, where fill and blur are the same in all steps: mean probability "
            f"of the true class and distance of {high} ({UNIT_WORDS[options.normalise]}) with 95 "
            "% bands; the probability by class for the disc, where the sample holds at least "
            f"{LEAST_OF_CLASS} images of it.",
            "Probability of the true class against the angle, for the whole view, for a disc, and "
            "by class as a heat map.",
            functools.partial(_draw_turned, inputs, rows, told, fine),
        ),
    ]
