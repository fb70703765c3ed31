"""Which part of an image the net's answer rests on: a square slid over it (Fig. 7).

The paper's five panels for a few images, and two measurements over many: whether the probability
falls more where the object is hidden, and whether a map's activity falls where its projection lies.

The paper states neither the square's size, step and grey level, nor whether one activation of the
map is projected or all of it, nor how its "strong drop" would be measured. These are options, and
the table `sensitivity` repeats the numbers under other choices. Contrast normalisation passes down
unchanged.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from zfnet.errors import UserError
from zfnet.figures.kit.grid import cut, signed_scale, signed_to_rgb
from zfnet.figures.kit.maps import (
    Box,
    HeatPanel,
    ImagePanel,
    LabelPanel,
    Panel,
    Strip,
    panel_sheet,
    shorten,
)
from zfnet.figures.kit.pairs import Pairs, paired_dots
from zfnet.methods import UnsupportedModel
from zfnet.methods.gradients import deconvnet
from zfnet.methods.occlusion import OcclusionMaps, occlude
from zfnet.methods.receptive_field import ReceptiveField, receptive_field
from zfnet.methods.top_activations import TopActivations, top_activations
from zfnet.progress import progress
from zfnet.stats.bootstrap import student_mean
from zfnet.stats.estimate import Estimate
from zfnet.studies.agreement import PERMUTATIONS, Agreement, correlations, ranks, window_energy
from zfnet.studies.base import Inputs, options_of, when_it_fits
from zfnet.studies.result import Figure, Result, Table

FILLS = ("grey", "zero", "mean", "blur", "noise")
PROJECTED = ("strongest", "all")
GREY = 128
SURE = 0.5
FIELD_LIMIT = 0.75  # of the image side: a larger field says little about places


@dataclass(frozen=True)
class Options:
    """The section `study.occlusion` of the config, checked.

    `images`: how many images are drawn; `measured`: how many the numbers rest on (the drawn ones
    are the first of them). `ids`: these images instead, drawn and measured. `size`, `stride`: px of
    a `reference_px` input, scaled to the net's; `measured_stride`: the step for those measured,
    wider, so that they can be more. `layer`: whose strongest map is watched. `projected`: of that
    map the "strongest" activation (as in Fig. 2) or "all". `others`: how many of the map's
    strongest other images stand beside each drawn one. `varied_*`: the choices of the table
    `sensitivity`, on the first `varied_images` of those measured (0: no table); a layer that the
    net does not have gives no row.
    """

    images: int = 4
    measured: int = 32
    ids: Sequence[str] = ()
    size: int = 48
    stride: int = 8
    measured_stride: int = 16
    reference_px: int = 224
    fill: str = "grey"
    layer: int = 5
    projected: str = "strongest"
    others: int = 3
    varied_images: int = 8
    varied_strides: Sequence[int] = (8,)
    varied_sizes: Sequence[int] = (32, 64)
    varied_fills: Sequence[str] = ("mean", "blur")
    varied_layers: Sequence[int] = (3,)
    batch_size: int = 64
    split: str = "val"

    def __post_init__(self) -> None:
        for key in ("images", "size", "stride", "measured_stride", "reference_px", "batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"study.occlusion.{key}={getattr(self, key)}: must be at least 1")
        for key in ("others", "varied_images"):
            if getattr(self, key) < 0:
                raise UserError(f"study.occlusion.{key}={getattr(self, key)}: must be at least 0")
        for key in ("varied_sizes", "varied_strides"):
            if any(value < 1 for value in getattr(self, key)):
                raise UserError(f"study.occlusion.{key}={list(getattr(self, key))}: at least 1")
        for key in ("stride", "measured_stride"):
            if getattr(self, key) > self.size:
                raise UserError(
                    f"study.occlusion.{key}={getattr(self, key)} is larger than size={self.size}: "
                    "some pixels would never be covered"
                )
        for key, fills in (("fill", [self.fill]), ("varied_fills", self.varied_fills)):
            for fill in fills:
                if fill not in FILLS:
                    raise UserError(
                        f"study.occlusion.{key}={fill}: choose one of {', '.join(FILLS)}"
                    )
        if self.projected not in PROJECTED:
            raise UserError(f"study.occlusion.projected={self.projected}: choose strongest or all")

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section."""
        return options_of(Options, section)

    def measuring(self) -> Options:
        """The same with the step of the images that are measured."""
        return replace(self, stride=self.measured_stride)

    def pixels(self, px: int) -> tuple[int, int]:
        """(size, stride) of the occluder in a net input of `px`; at least 2 and 1."""
        factor = px / self.reference_px
        size = min(px, max(2, round(self.size * factor)))
        return size, min(size, max(1, round(self.stride * factor)))


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.occlusion, seed and device."""
    options = Options.read(cfg.study.occlusion)
    inputs = Inputs.of_stage(cfg, paths, options.split)
    return study(inputs, options, seed=cfg.seed)


def study(inputs: Inputs, options: Options, *, seed: int = 0) -> Result:
    """Fig. 7 for one net: a few images of `inputs` drawn, more of them measured."""
    net = inputs.net
    chosen = choose_images(inputs, options, seed)
    drawn = len(options.ids) or min(options.images, len(chosen.rows))
    seen = look(inputs, chosen, options.measuring(), seed)
    shown = look(inputs, chosen.first(drawn), options, seed)
    strips = strongest_others(inputs, shown, options)
    rows = sensitivity(inputs, seen, options.measuring(), seed)
    metrics = _metrics(seen, options.measuring(), seed)
    tables = {"images": _table(inputs, seen)}
    if rows:
        tables["sensitivity"] = _sensitivity_table(rows)
    figures = [_figure(inputs, shown, i, strips, options) for i in range(drawn)]
    if len(chosen.rows) > 1:
        figures += _summary(seen, metrics)
    return Result(
        study="occlusion",
        title="Occlusion: what the answer rests on",
        paper="Fig. 7",
        text=_text(inputs, seen, options, drawn, metrics, rows),
        net=net.name,
        tap=f"{options.layer}.relu",
        seed=seed,
        metrics=metrics,
        tables=tables,
        arrays=_arrays(seen) | _drawn_arrays(shown),
        figures=figures,
        extra=_extra(inputs, seen, options, drawn),
    )


# -------------------------------------------------------------------------------------- choosing
@dataclass(frozen=True)
class Chosen:
    """Images under study: rows of the split (n,), the output watched (n,), its name's origin.

    known (n,) bool: the output is the image's true class; else it is the net's own top label.
    """

    rows: np.ndarray
    outputs: np.ndarray
    known: np.ndarray
    how: str

    def first(self, count: int) -> Chosen:
        """The first `count` of them."""
        return replace(
            self, rows=self.rows[:count], outputs=self.outputs[:count], known=self.known[:count]
        )

    def name(self, inputs: Inputs, i: int) -> str:
        """The image's true class in the data's words."""
        return inputs.class_names[int(inputs.labels[self.rows[i]])]


def choose_images(inputs: Inputs, options: Options, seed: int) -> Chosen:
    """The images of `options.ids`, or a seeded choice; see `how` of the result.

    In a seeded random order the first correctly classified image (p ≥ 0.5) of each class is taken,
    class after class, then second ones. Where too few are found, less sure ones follow, then any.
    Raises UserError for an id that the split does not hold.
    """
    if options.ids:
        rows = _rows_of(inputs, options)
        how = "the images that the config names"
        probability = predict(inputs, rows, options.batch_size)
    else:
        count = min(max(options.images, options.measured), len(inputs.rows))
        rows, probability, how = _search(inputs, options, count, seed)
    outputs = inputs.outputs(rows)
    known = outputs >= 0
    return Chosen(rows, np.where(known, outputs, probability.argmax(1)), known, how)


def predict(inputs: Inputs, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Probabilities (n, outputs) of the net for `rows`."""
    with torch.inference_mode():
        parts = [
            inputs.net.model(batch).float().softmax(1).cpu()
            for batch, _ in inputs.batches(rows, batch_size)
        ]
    return torch.cat(parts).numpy()


def _rows_of(inputs: Inputs, options: Options) -> np.ndarray:
    row_of = {name: row for row, name in enumerate(inputs.split.ids)}
    missing = [name for name in options.ids if name not in row_of]
    if missing:
        raise UserError(
            f"study.occlusion.ids: the split {options.split} holds no image {missing[0]!r}; "
            f"ids look like {inputs.split.ids[0]!r} (data/prepared/index.parquet lists them)"
        )
    return np.array([row_of[name] for name in options.ids], dtype=np.int64)


def _search(
    inputs: Inputs, options: Options, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, str]:
    order = np.random.default_rng([seed, 5]).permutation(inputs.rows)
    seen: list[np.ndarray] = []
    rows = order[:0]
    # Most nets satisfy the choice after a few hundred images: no need to classify them all.
    for start in range(0, len(order), 512):
        part = order[start : start + 512]
        seen.append(predict(inputs, part, options.batch_size))
        rows = order[: start + len(part)]
        probability = np.concatenate(seen)
        turns = _turns(inputs, rows, probability)
        if (turns < len(inputs.class_names)).sum() >= count:
            break
    picked = np.argsort(turns, kind="stable")[:count]
    sure = int((turns[picked] < 1e6).sum())
    how = (
        f"{count} images in a seeded random order, classes taking turns, each classified correctly "
        f"with p of at least {SURE}"
    )
    if sure < count:
        how += f" ({count - sure} of them less surely or wrongly, for want of better ones)"
    return rows[picked], probability[picked], how


def _turns(inputs: Inputs, rows: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Order of choice (n,): turn of the image within its class, worse grades a million later."""
    outputs = inputs.outputs(rows)
    top = probability.argmax(1)
    right = (top == outputs) | (outputs < 0)
    sure = right & (probability.max(1) >= SURE)
    grade = np.where(sure, 0, np.where(right, 1, 2))
    taken: dict[tuple[int, int], int] = {}
    turns = np.zeros(len(rows))
    for i, label in enumerate(inputs.labels[rows].tolist()):
        key = (label, int(grade[i]))
        turns[i] = taken.get(key, 0) + 1e6 * grade[i]
        taken[key] = taken.get(key, 0) + 1
    return turns


# ------------------------------------------------------------------------------------- measuring
def occluded(inputs: Inputs, chosen: Chosen, options: Options, seed: int) -> OcclusionMaps:
    """Slide the occluder over the chosen images."""
    net = inputs.net
    size, stride = options.pixels(net.input_px)
    images = inputs.batch(chosen.rows)

    def attempt(batch_size: int) -> OcclusionMaps:
        return occlude(
            net.model,
            images,
            classes=torch.from_numpy(chosen.outputs).to(images.device),
            size=size,
            stride=stride,
            fill=_fill(inputs, options),
            layer=net.tap(options.layer, "relu"),
            unit="strongest",
            batch_size=batch_size,
            seed=seed,
        )

    return when_it_fits(attempt, options.batch_size)


def _fill(inputs: Inputs, options: Options) -> Any:
    """Grey is grey in the picture, raw value 128, whatever the net's normalisation makes of it."""
    if options.fill != "grey":
        return options.fill
    px = inputs.net.input_px
    return inputs.normalised(torch.full((1, 3, px, px), GREY, dtype=torch.uint8))


@dataclass(frozen=True)
class Told:
    """Per image (n,): numbers that the maps give. NaN where they cannot be had.

    worst_drop: clean probability minus the least one; changed: share of places at which the most
    likely class is another one than on the clean image; inside, outside: mean drop at places whose
    centre lies in the object's box, or out of it.
    """

    worst_drop: np.ndarray
    changed: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    activity_drop: np.ndarray


def tell(inputs: Inputs, chosen: Chosen, maps: OcclusionMaps) -> Told:
    """Numbers of each image; the object's box comes from the data, where it knows one."""
    drop = kept(maps.clean_probability[:, None, None] - maps.probability)
    changed = kept(maps.label != maps.clean_label[:, None, None]).mean((1, 2))
    boxes = inputs.boxes(chosen.rows)
    ys, xs = centres(maps)
    inside = np.full(len(drop), np.nan)
    outside = np.full(len(drop), np.nan)
    for i in range(len(drop)):
        if boxes is None or np.isnan(boxes[i]).any():
            continue
        y0, x0, y1, x1 = boxes[i]
        covered = np.outer((ys >= y0) & (ys < y1), (xs >= x0) & (xs < x1))
        if covered.any():
            inside[i] = drop[i][covered].mean()
        if not covered.all():
            outside[i] = drop[i][~covered].mean()
    least, clean = kept(maps.activity).min((1, 2)), kept(maps.clean_activity)
    fall = np.divide(clean - least, clean, out=np.full(len(clean), np.nan), where=clean > 0)
    return Told(drop.max((1, 2)), changed, inside, outside, fall)


@dataclass(frozen=True)
class Seen:
    """All that was measured of some images under one setting of the occluder.

    own: their maps' projections (n, H, W, 3) in units of the net input, None where the deconvnet is
    not defined for the net: `why` then says what stands in the way.
    """

    chosen: Chosen
    maps: OcclusionMaps
    told: Told
    own: np.ndarray | None
    energy: np.ndarray | None
    agreement: Agreement | None
    field: ReceptiveField | None
    why: str

    @property
    def field_share(self) -> float:
        """The watched layer's receptive field over the image side; NaN if it is not known."""
        if self.field is None:
            return math.nan
        return max(self.field.size) / max(self.maps.image_size)


def look(inputs: Inputs, chosen: Chosen, options: Options, seed: int) -> Seen:
    """Slide the occluder over the chosen images, project their maps, compare the two."""
    maps = occluded(inputs, chosen, options, seed)
    told = tell(inputs, chosen, maps)
    path = inputs.net.tap(options.layer, "relu")
    units = kept(maps.unit)
    try:
        field = receptive_field(inputs.net.model, path, inputs.net.input_px)
        own = project(inputs, chosen.rows, path, units, options.projected, options.batch_size)
    except UnsupportedModel as error:
        return Seen(chosen, maps, told, None, None, None, None, str(error))
    energy = energy_under(own, maps)
    agreement = Agreement(correlations(activity_loss(maps), energy))
    return Seen(chosen, maps, told, own, energy, agreement, field, "")


def project(
    inputs: Inputs,
    rows: np.ndarray,
    path: str,
    units: np.ndarray,
    places: str | np.ndarray,
    batch_size: int,
) -> np.ndarray:
    """Projections (n, H, W, 3) of map `units[i]` of image `rows[i]`, by the deconvnet.

    places: "strongest", "all" (the whole map) or rows and columns (n, 2).
    """
    start: Tensor | Literal["all"] | None
    if isinstance(places, np.ndarray):
        start = torch.from_numpy(places)
    else:
        start = "all" if places == "all" else None
    images = inputs.batch(rows)

    def attempt(size: int) -> np.ndarray:
        down = deconvnet(
            inputs.net.model, images, path, torch.from_numpy(units), places=start, batch_size=size
        )
        return down.permute(0, 2, 3, 1).cpu().float().numpy()

    return when_it_fits(attempt, min(32, batch_size))


def activity_loss(maps: OcclusionMaps) -> np.ndarray:
    """Clean activity of the watched map less that at each place: (n, R, C)."""
    return kept(maps.clean_activity)[:, None, None] - kept(maps.activity)


def energy_under(pictures: np.ndarray, maps: OcclusionMaps) -> np.ndarray:
    """Sum of squares of pictures (n, H, W, 3) under the occluder at each place: (n, R, C)."""
    return window_energy(pictures, kept(maps.rows), kept(maps.cols), maps.size)


def strongest_others(inputs: Inputs, shown: Seen, options: Options) -> list[Strip]:
    """For each image of `shown` its map's strongest other images: projections and patches.

    One pass over the split for all of them. Pictures are cut to the activation's receptive field,
    moved inwards at the border; projections have a symmetric scale each.
    """
    if not options.others or shown.own is None or shown.field is None:
        return []
    model, px = inputs.net.model, inputs.net.input_px
    path = inputs.net.tap(options.layer, "relu")
    k = min(options.others + 1, len(inputs.rows))

    def whole_pass(size: int) -> TopActivations:
        batches = progress(
            inputs.batches(inputs.rows, size),
            total=math.ceil(len(inputs.rows) / size),
            desc=f"strongest images of layer {options.layer}",
            unit="batch",
        )
        return top_activations(model, batches, [path], k=k)[path]

    top = when_it_fits(whole_pass, options.batch_size)
    units = kept(shown.maps.unit)
    found = list(_others(top, units, shown.chosen.rows, options.others))
    if not found:
        return [Strip("", [], []) for _ in units]
    owners, rows, places, values = (np.array(column) for column in zip(*found, strict=True))
    pictures = project(inputs, rows, path, units[owners], places, options.batch_size)
    patches = inputs.display(rows)
    canvas = (min(shown.field.size[0], px), min(shown.field.size[1], px))
    corners = shown.field.boxes(torch.from_numpy(places), clip=False).numpy()[:, :2]
    corners = np.clip(corners, 0, px - np.array(canvas))
    strips = []
    for i, unit in enumerate(units.tolist()):
        pairs, names = [], []
        for j in np.flatnonzero(owners == i):
            corner = (int(corners[j, 0]), int(corners[j, 1]))
            part = pictures[j, corner[0] : corner[0] + canvas[0], corner[1] : corner[1] + canvas[1]]
            pairs.append((signed_to_rgb(part, signed_scale(part)), cut(patches[j], corner, canvas)))
            name = shorten(inputs.class_names[int(inputs.labels[rows[j]])], 20)
            names.append(f"{name}, activation {values[j]:.3g}")
        title = f"(c) map {unit} in its strongest other images: projection, image patch"
        strips.append(Strip(title, pairs, names))
    return strips


def _others(
    top: TopActivations, units: np.ndarray, rows: np.ndarray, count: int
) -> Iterator[tuple[int, int, tuple[int, int], float]]:
    """(number of the image, row, place, activation) of its map's strongest other images."""
    for i, (unit, own) in enumerate(zip(units.tolist(), rows.tolist(), strict=True)):
        taken = 0
        for value, row, place in zip(
            top.values[unit].tolist(),
            top.images[unit].tolist(),
            top.places[unit].tolist(),
            strict=True,
        ):
            if row != own and value > 0 and taken < count:
                taken += 1
                yield i, row, (place[0], place[1]), value


# ------------------------------------------------------------------------------------- sensitivity
@dataclass(frozen=True)
class Choice:
    """One row of the sensitivity table: what was chosen, and the numbers under it."""

    name: str
    size: int
    stride: int
    seen: Seen
    agreement: Agreement | None


def sensitivity(inputs: Inputs, seen: Seen, options: Options, seed: int) -> list[Choice]:
    """The numbers under other choices, on the first `varied_images` of those measured."""
    count = min(options.varied_images, len(seen.chosen.rows))
    if not count:
        return []
    first = _first(seen, count)
    px = inputs.net.input_px
    rows = [Choice("as measured", *options.pixels(px), first, first.agreement)]
    if first.own is not None and first.energy is not None:
        loss = activity_loss(first.maps)
        by_rank = Agreement(correlations(ranks(loss), ranks(first.energy)))
        rows.append(Choice("correlation of ranks", *options.pixels(px), first, by_rank))
        rest = "all" if options.projected == "strongest" else "strongest"
        path = inputs.net.tap(options.layer, "relu")
        pictures = project(
            inputs, first.chosen.rows, path, kept(first.maps.unit), rest, options.batch_size
        )
        another = Agreement(correlations(loss, energy_under(pictures, first.maps)))
        name = "the whole map projected" if rest == "all" else "the strongest activation projected"
        rows.append(Choice(name, *options.pixels(px), first, another))
    for name, varied in _variants(inputs, options):
        there = look(inputs, first.chosen, varied, seed)
        rows.append(Choice(name, *varied.pixels(px), there, there.agreement))
    return rows


def _variants(inputs: Inputs, options: Options) -> Iterator[tuple[str, Options]]:
    """(name, options) of each choice that needs the occluder moved anew."""
    for stride in options.varied_strides:
        stride = min(stride, options.size)
        yield f"step {stride}", replace(options, stride=stride, measured_stride=stride)
    for size in options.varied_sizes:
        stride = min(options.stride, size)
        yield (
            f"size {size}" if stride == options.stride else f"size {size}, step {stride}",
            replace(options, size=size, stride=stride, measured_stride=stride),
        )
    for fill in options.varied_fills:
        yield f"fill {fill}", replace(options, fill=fill)
    for layer in options.varied_layers:
        if layer != options.layer and f"{layer}.relu" in inputs.net.taps:
            yield f"layer {layer}", replace(options, layer=layer)


def _first(seen: Seen, count: int) -> Seen:
    """The first `count` images of what was measured."""
    maps, told = seen.maps, seen.told
    part = slice(count)
    table = None if seen.agreement is None else Agreement(seen.agreement.table[part, part])
    return replace(
        seen,
        chosen=seen.chosen.first(count),
        maps=replace(
            maps,
            probability=maps.probability[part],
            logit=maps.logit[part],
            label=maps.label[part],
            activity=None if maps.activity is None else maps.activity[part],
            unit=None if maps.unit is None else maps.unit[part],
            clean_probability=maps.clean_probability[part],
            clean_logit=maps.clean_logit[part],
            clean_label=maps.clean_label[part],
            clean_activity=None if maps.clean_activity is None else maps.clean_activity[part],
        ),
        told=Told(*(getattr(told, name)[part] for name in Told.__dataclass_fields__)),
        own=None if seen.own is None else seen.own[part],
        energy=None if seen.energy is None else seen.energy[part],
        agreement=table,
    )


def kept(values: Tensor | None) -> np.ndarray:
    """A tensor of the maps as an array; the study always watches a layer, so it is there."""
    if values is None:
        raise RuntimeError("occlude was called without a layer")
    return values.cpu().numpy()


def centres(maps: OcclusionMaps) -> tuple[np.ndarray, np.ndarray]:
    """The occluder's centre of each row and each column of places, px."""
    height, width = maps.size
    return kept(maps.rows) + height / 2, kept(maps.cols) + width / 2


# --------------------------------------------------------------------------------------- telling
def _metrics(seen: Seen, options: Options, seed: int) -> dict[str, Estimate]:
    told = seen.told
    over = "Student's interval over images"
    metrics = {
        "images": Estimate(len(told.changed), unit="images", note="counted"),
        "worst_drop": student_mean(
            told.worst_drop, note=f"p(class) lost at the worst place; {over}", limits=(-1, 1)
        ),
        "label_changed": student_mean(
            told.changed, note=f"share of places with another top label; {over}", limits=(0, 1)
        ),
        "activity_drop": student_mean(
            told.activity_drop,
            note=f"share of the strongest map's activity lost at the worst place; {over}",
            limits=(-1, 1),
        ),
        "size_px": Estimate(seen.maps.size[0], unit="px", note="setting"),
        "stride_px": Estimate(
            options.pixels(max(seen.maps.image_size))[1], unit="px", note="setting, images measured"
        ),
    }
    boxed = ~np.isnan(told.inside - told.outside)
    if boxed.any():
        metrics["drop_inside_box"] = student_mean(
            told.inside[boxed], note=f"mean drop, occluder's centre in the box; {over}",
            limits=(-1, 1),
        )  # fmt: skip
        metrics["drop_outside_box"] = student_mean(
            told.outside[boxed], note=f"mean drop, occluder's centre out of the box; {over}",
            limits=(-1, 1),
        )  # fmt: skip
        metrics["inside_minus_outside"] = student_mean(
            (told.inside - told.outside)[boxed], note=f"paired by image; {over}", limits=(-2, 2)
        )
    return metrics | _agreement_metrics(seen, options, seed)


def _agreement_metrics(seen: Seen, options: Options, seed: int) -> dict[str, Estimate]:
    if seen.agreement is None:
        return {}
    own, other = seen.agreement.own, seen.agreement.other
    over = "Student's interval over images"
    if seen.field_share > FIELD_LIMIT:
        over += f"; field {seen.field_share:.2f} of the image side, beyond {FIELD_LIMIT}: see text"
    metrics = {
        "projection_correlation": student_mean(
            own, limits=(-1, 1),
            note=f"over places: activity lost with the projection's energy hidden; {over}",
        ),
        "field_share": Estimate(
            seen.field_share, note=f"of layer {options.layer}: field over input side; may pass 1"
        ),
    }  # fmt: skip
    if (~np.isnan(own - other)).sum() > 1:
        metrics["projection_correlation_other"] = student_mean(
            other, limits=(-1, 1),
            note=f"null: the same activity with the other images' projections; {over}",
        )  # fmt: skip
        metrics["projection_correlation_gain"] = student_mean(
            own - other, limits=(-2, 2), note=f"own less others', paired by image; {over}"
        )
        metrics["projection_correlation_p"] = Estimate(
            seen.agreement.chance(seed), n=int((~np.isnan(own)).sum()),
            note=f"one-sided, {PERMUTATIONS} seeded permutations of the projections among the "
            "images; a probability, no interval",
        )  # fmt: skip
    return metrics


def _table(inputs: Inputs, seen: Seen) -> Table:
    chosen, maps, told = seen.chosen, seen.maps, seen.told
    units = kept(maps.unit)
    own, other = _own_and_other(seen)
    rows = [
        [
            inputs.split.ids[row],
            chosen.name(inputs, i),
            inputs.net.classes[int(chosen.outputs[i])],
            float(maps.clean_probability[i]),
            float(told.worst_drop[i]),
            float(told.changed[i]),
            float(told.inside[i]),
            float(told.outside[i]),
            int(units[i]),
            float(told.activity_drop[i]),
            float(own[i]),
            float(other[i]),
        ]
        for i, row in enumerate(chosen.rows.tolist())
    ]
    columns = [
        "image", "class", "output watched", "p clean", "worst drop", "label changed",
        "drop inside box", "drop outside box", "map", "activity drop",
        "correlation with own projection", "with other images'",
    ]  # fmt: skip
    return Table(columns, rows, "Every image measured; those drawn come first.")


def _own_and_other(seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    if seen.agreement is None:
        nothing = np.full(len(seen.chosen.rows), np.nan)
        return nothing, nothing
    return seen.agreement.own, seen.agreement.other


def _sensitivity_table(choices: Sequence[Choice]) -> Table:
    rows: list[list[str | int | float | None]] = []
    for choice in choices:
        told = choice.seen.told
        boxed = told.inside - told.outside
        gain: np.ndarray = np.array([])
        own = other = gain
        if choice.agreement is not None:
            own, other = choice.agreement.own, choice.agreement.other
            gain = own - other
        paired = student_mean(gain)
        rows.append(
            [
                choice.name, choice.size, choice.stride, student_mean(told.worst_drop).value,
                student_mean(boxed).value, student_mean(own).value, student_mean(other).value,
                paired.value, paired.low, paired.high,
            ]
        )  # fmt: skip
    count = len(choices[0].seen.chosen.rows)
    return Table(
        ["choice", "size px", "step px", "worst drop", "inside − outside box", "correlation",
         "with other images'", "difference", "low", "high"],
        rows,
        f"The same numbers under other choices, means over the first {count} images: sizes and "
        "steps of the first column at the reference input, of the next two in the net's; low and "
        "high: Student's 95 % interval of the difference over images.",
    )  # fmt: skip


def _arrays(seen: Seen) -> dict[str, Any]:
    chosen, maps = seen.chosen, seen.maps
    arrays: dict[str, Any] = {
        "images": chosen.rows.astype(np.int32),
        "outputs": chosen.outputs.astype(np.int32),
        "probability": kept(maps.probability),
        "label": kept(maps.label).astype(np.int32),
        "activity": kept(maps.activity),
        "unit": kept(maps.unit).astype(np.int32),
        "rows": kept(maps.rows).astype(np.int32),
        "cols": kept(maps.cols).astype(np.int32),
        "clean_probability": kept(maps.clean_probability),
        "clean_label": kept(maps.clean_label).astype(np.int32),
        "clean_activity": kept(maps.clean_activity),
    }
    if seen.energy is not None:
        arrays["energy"] = seen.energy.astype(np.float32)
    if seen.own is not None:
        scales = [signed_scale(one) for one in seen.own]
        pairs = zip(seen.own, scales, strict=True)
        arrays["projections"] = np.stack([signed_to_rgb(one, scale) for one, scale in pairs])
        arrays["scales"] = np.array(scales, np.float32)
    return arrays


def _drawn_arrays(shown: Seen) -> dict[str, Any]:
    """The maps of the drawn images, at their finer step."""
    maps = shown.maps
    return {
        "drawn_probability": kept(maps.probability),
        "drawn_label": kept(maps.label).astype(np.int32),
        "drawn_activity": kept(maps.activity),
        "drawn_rows": kept(maps.rows).astype(np.int32),
        "drawn_cols": kept(maps.cols).astype(np.int32),
    }


def _extra(inputs: Inputs, seen: Seen, options: Options, drawn: int) -> dict[str, Any]:
    px = inputs.net.input_px
    size, stride = options.measuring().pixels(px)
    beyond = seen.field_share > FIELD_LIMIT
    named = ("", "_other", "_gain", "_p")
    return {
        "headline": ["worst_drop", "inside_minus_outside", "projection_correlation_gain"],
        "size_px": size,
        "stride_px": stride,
        "drawn_stride_px": options.pixels(px)[1],
        "fill": options.fill,
        "fill_rgb": _colour(inputs, options),
        "projected": options.projected,
        "input_px": inputs.net.input_px,
        "module": inputs.net.tap(options.layer, "relu"),
        "split": options.split,
        "ids": [inputs.split.ids[row] for row in seen.chosen.rows],
        "drawn": drawn,
        "field_share": seen.field_share,
        "field_limit": FIELD_LIMIT,
        "beyond_field_limit": [f"projection_correlation{end}" for end in named] if beyond else [],
        "no_projection": seen.why,
    }


# --------------------------------------------------------------------------------------- showing
def _figure(
    inputs: Inputs, seen: Seen, i: int, strips: Sequence[Strip], options: Options
) -> Figure:
    strip = strips[i] if strips else None
    projected = "" if seen.own is None else ", the map's projection"
    if strip is not None and strip.pairs:
        projected += " beside those of other images"
    return Figure(
        f"occlusion_{i + 1}",
        _caption(inputs, seen, i, strip, options),
        f"Occlusion maps of an image of class {seen.chosen.name(inputs, i)}: image with the "
        f"occluder, activity of a feature map{projected}, class probability and most likely class.",
        functools.partial(_draw, inputs, seen, i, strip, options),
    )


def _draw(inputs: Inputs, seen: Seen, i: int, strip: Strip | None, options: Options) -> Any:
    chosen = seen.chosen
    boxes = inputs.boxes(chosen.rows[i : i + 1])
    box = None
    if boxes is not None and not np.isnan(boxes[0]).any():
        y0, x0, y1, x1 = (float(v) for v in boxes[0])
        box = (y0, x0, y1, x1)
    panels = row_panels(
        seen.maps, i,
        image=inputs.display(chosen.rows[i : i + 1])[0],
        classes=inputs.net.classes,
        output=int(chosen.outputs[i]),
        layer=options.layer,
        fill=_colour(inputs, options),
        box=box,
        projection=None if seen.own is None else seen.own[i],
    )  # fmt: skip
    return panel_sheet([panels[:-2], panels[-2:]], strip)


def _summary(seen: Seen, metrics: dict[str, Estimate]) -> list[Figure]:
    """One figure: what every image gave, for the two measurements; none if neither could be had."""

    def interval(name: str) -> tuple[float, float, float] | None:
        one = metrics[name]
        return None if one.low is None or one.high is None else (one.value, one.low, one.high)

    panels, said = [], []
    if "inside_minus_outside" in metrics:
        panels.append(
            Pairs(
                "Where the object is hidden",
                np.stack([seen.told.inside, seen.told.outside], 1),
                ("inside the box", "outside"),
                (interval("drop_inside_box"), interval("drop_outside_box")),
                "mean drop of p(class)",
            )
        )
        said.append(
            "mean drop of the class's probability with the occluder's centre in the object's box, "
            "and out of it"
        )
    if "projection_correlation_gain" in metrics:
        panels.append(
            Pairs(
                "Where the projection is hidden",
                np.stack(_own_and_other(seen), 1),
                ("own projection", "other images'"),
                (interval("projection_correlation"), interval("projection_correlation_other")),
                "correlation over places",
            )
        )
        said.append(
            "correlation, over the occluder's places, of the activity that the watched map loses "
            "with the energy of a projection under the occluder: the image's own, and the mean "
            "over other images'"
        )
    if not panels:
        return []
    caption = (
        f"Every image measured is a line. {'; '.join(said).capitalize()}. Red: mean over images "
        "and its 95 % interval."
    )
    alt = "Paired dots of every image: " + "; ".join(said) + "."
    return [Figure("per_image", caption, alt, functools.partial(paired_dots, panels))]


def row_panels(
    maps: OcclusionMaps,
    i: int,
    *,
    image: np.ndarray,
    classes: Sequence[str],
    output: int,
    layer: int | str,
    fill: tuple[int, int, int] | None = (GREY, GREY, GREY),
    box: Box | None = None,
    projection: np.ndarray | None = None,
) -> list[Panel]:
    """Fig. 7 (a) to (e) for image `i` of `maps`: image, a map's activity, p(class), top class.

    Third of five, where a projection (H, W, 3) of the map to the image is given: that, as it is
    placed in the image, on its own symmetric scale.

    image: (H, W, 3) uint8, the view that was occluded; classes: names by output index; output: the
    index whose probability was recorded; layer: whose map was watched; fill: the occluder's colour
    (None: outline alone); box: the object's, y0, x0, y1, x1 px.
    """
    ys, xs = centres(maps)
    probability = kept(maps.probability)[i]
    row, col = np.unravel_index(int(probability.argmin()), probability.shape)
    y, x = int(maps.rows[row]), int(maps.cols[col])
    common: dict[str, Any] = {"ys": ys, "xs": xs, "extent": image.shape[:2], "box": box}
    unit = int(kept(maps.unit)[i])
    down: list[Panel] = []
    if projection is not None:
        shown = signed_to_rgb(projection, signed_scale(projection))
        down = [ImagePanel(f"(c) map {unit}, projected", shown, frame=True)]
    return [
        ImagePanel(
            "(a) input, worst place",
            image,
            occluder=(y, x, y + maps.size[0], x + maps.size[1]),
            fill=fill,
            box=box,
        ),
        HeatPanel(
            f"(b) layer {layer}, map {unit}",
            kept(maps.activity)[i],
            low=None,
            unit="summed activity",
            clean=float(kept(maps.clean_activity)[i]),
            **common,
        ),
        *down,
        HeatPanel(
            f"(d) p({shorten(classes[output], 18)})",
            probability,
            high=1.0,
            unit="probability",
            clean=float(maps.clean_probability[i]),
            **common,
        ),
        LabelPanel(
            "(e) most likely class",
            kept(maps.label)[i],
            names=classes,
            first=int(maps.clean_label[i]),
            **common,
        ),
    ]


def _colour(inputs: Inputs, options: Options) -> tuple[int, int, int] | None:
    """The occluder's colour in the picture; None where it shows no single colour."""
    if options.fill == "grey":
        return (GREY, GREY, GREY)
    if options.fill == "zero":
        px = inputs.net.input_px
        zero = torch.zeros((1, 3, px, px), device=inputs.device)
        red, green, blue = inputs.net.normalise.inverse(zero).mean((0, 2, 3)).round().int().tolist()
        return (red, green, blue)
    return None


def _caption(inputs: Inputs, seen: Seen, i: int, strip: Strip | None, options: Options) -> str:
    chosen, maps = seen.chosen, seen.maps
    size, stride = options.pixels(inputs.net.input_px)
    clean = float(maps.clean_probability[i])
    watched = inputs.net.classes[int(chosen.outputs[i])]
    top = inputs.net.classes[int(maps.clean_label[i])]
    who = (
        f"True class: {watched}, p = {clean:.2f} without occluder"
        if chosen.known[i]
        else f"The net does not know the image's class ({chosen.name(inputs, i)}): its own top "
        f"label is watched, {watched}, p = {clean:.2f} without occluder"
    )
    wrong = f" (the net says {top})" if int(maps.clean_label[i]) != chosen.outputs[i] else ""
    boxed = " The red outline is the object's box." if inputs.boxes(chosen.rows) is not None else ""
    projected = ""
    if seen.own is not None:
        what = {"strongest": "strongest activation", "all": "activations"}[options.projected]
        projected = (
            f" (c) the deconvnet's projection of that map's {what} in this image, framed, on a "
            "symmetric scale (grey = 0)"
        )
        if strip is not None and strip.pairs:
            projected += (
                ", and below it of its strongest activations in other images of the split, cut to "
                "the receptive field, each beside its image patch and with its class"
            )
        projected += ";"
    return (
        f"{who}{wrong}. A square of {size} px ({_FILL_WORDS[options.fill]}) is moved in steps of "
        f"{stride} px over the image of {inputs.net.input_px} px; each place is drawn at the "
        "square's centre. (a) the image with the square where the probability falls most; "
        f"(b) summed activity of the map of layer {options.layer} that responds most to the clean "
        f"image (colour scale from its least to its largest value);{projected} (d) probability of "
        "the class; (e) most likely class. The red mark on a colour bar is the value without "
        f"occluder.{boxed}"
    )


_FILL_WORDS = {
    "grey": "grey, raw value 128",
    "zero": "0 in the net's input, the mean of its training data",
    "mean": "the image's own mean colour",
    "blur": "the image blurred",
    "noise": "noise of the image's own mean and deviation",
}


def _text(
    inputs: Inputs,
    seen: Seen,
    options: Options,
    drawn: int,
    metrics: dict[str, Estimate],
    choices: Sequence[Choice],
) -> str:
    chosen = seen.chosen
    px = inputs.net.input_px
    size, stride = options.measuring().pixels(px)
    unknown = int((~chosen.known).sum())
    unsure = (
        f" {unknown} of them belong to classes that the net does not know; for these its own top "
        "label is watched."
        if unknown
        else ""
    )
    return (
        f"A square of {size} px, {_FILL_WORDS[options.fill]}, was moved over {len(chosen.rows)} "
        f"images of the {options.split} split in steps of {stride} px, over the {drawn} that are "
        f"drawn in steps of {options.pixels(px)[1]} px ({options.size}, {options.measured_stride} "
        f"and {options.stride} px at {options.reference_px}, scaled to {px}; the paper states "
        "neither size nor step nor grey level). The last row and column of places "
        "lie flush with the border, so that every pixel is covered. At each place the probability "
        "of the true class, the most likely class, and the summed activity of the map of layer "
        f"{options.layer} that responds most to the clean image were recorded. Images: "
        f"{chosen.how}.{unsure} Choosing images that the net is sure of raises "
        "the drops: they describe such images, not all."
        f"{_found_in_boxes(metrics)}{_found_in_projections(seen, options, metrics)}"
        f"{_found_under_choices(choices)}"
    )


def _said(measured: Estimate) -> str:
    """A number with its interval, as prose has it."""
    if math.isnan(measured.value):
        return "unknown"
    if measured.low is None or measured.high is None:
        return f"{measured.value:.3g}"
    return f"{measured.value:.3g} [{measured.low:.3g}, {measured.high:.3g}]"


def _above(measured: Estimate) -> bool:
    return measured.low is not None and measured.low > 0


def _found_in_boxes(metrics: dict[str, Estimate]) -> str:
    start = (
        f" At the worst place the probability falls by {_said(metrics['worst_drop'])} and the "
        f"map's activity by {_said(metrics['activity_drop'])} of itself (means over images)."
    )
    if "inside_minus_outside" not in metrics:
        return f"{start} The data knows no boxes: nothing is said of inside and outside the object."
    gap = metrics["inside_minus_outside"]
    verdict = (
        "the answer rests on the object more than on its surroundings"
        if _above(gap)
        else "these images do not show that the answer rests on the object"
    )
    return (
        f"{start} With the occluder's centre in the object's box the mean drop is "
        f"{_said(metrics['drop_inside_box'])}, outside {_said(metrics['drop_outside_box'])}, "
        f"paired difference {_said(gap)}, {gap.n} images: {verdict}."
    )


def _found_in_projections(seen: Seen, options: Options, metrics: dict[str, Estimate]) -> str:
    if seen.agreement is None:
        return f" Panel (c) and its measurement are missing: {seen.why}"
    what = {"strongest": "the map's strongest activation", "all": "the whole map"}
    told = (
        f" For each image {what[options.projected]} was projected back, and over the occluder's "
        "places the loss of the map's activity correlated (Pearson) with the projection's energy, "
        "its sum of squares under the occluder; the paper says that the activity drops where the "
        f"projection lies, and gives no number. Mean correlation over images: "
        f"{_said(metrics['projection_correlation'])}."
    )
    gain = metrics.get("projection_correlation_gain")
    if gain is not None:
        verdict = (
            "the projection shows the place that this image's activity comes from, beyond what any "
            "projection would do by lying in the middle"
            if _above(gain)
            else "these images do not show more than any image's projection would"
        )
        told += (
            " With the projections of the other images instead (each of its own map) it is "
            f"{_said(metrics['projection_correlation_other'])}, paired difference {_said(gain)}, "
            f"p = {metrics['projection_correlation_p'].value:.2g} by permutation: {verdict}."
        )
    lost = int(np.isnan(seen.agreement.own).sum())
    if lost:
        told += f" {lost} images could not be compared: their activity or energy does not vary."
    if seen.field_share > FIELD_LIMIT:
        told += (
            f" The field of layer {options.layer} is {seen.field_share:.2f} of the image side, "
            f"more than {FIELD_LIMIT}: a projection may then spread over the whole image, and the "
            "number says less of the paper's claim than one of a smaller field would."
        )
    return told


def _found_under_choices(choices: Sequence[Choice]) -> str:
    if not choices:
        return ""
    boxed = [student_mean(c.seen.told.inside - c.seen.told.outside).value for c in choices]
    gains = [
        student_mean(c.agreement.own - c.agreement.other).value
        for c in choices
        if c.agreement is not None
    ]
    ranges = [
        f"{what} lies between {min(values):.3g} and {max(values):.3g}"
        for what, values in (("inside less outside", boxed), ("the correlation's gain", gains))
        if values and not any(map(math.isnan, values))
    ]
    if not ranges:
        return ""
    count = len(choices[0].seen.chosen.rows)
    fits = ""
    if choices[0].seen.field_share > FIELD_LIMIT:
        lower = [
            f"{c.name} (gain {_said(student_mean(c.agreement.own - c.agreement.other))})"
            for c in choices
            if c.agreement is not None and c.seen.field_share <= FIELD_LIMIT
        ]
        fits = f" Within the limit of the field: {', '.join(lower) or 'none of them'}."
    return (
        f" Under the {len(choices)} choices of the sensitivity table ({count} images) "
        f"{' and '.join(ranges)}.{fits}"
    )
