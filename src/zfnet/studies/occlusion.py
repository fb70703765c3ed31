"""Which part of an image the net's answer rests on: a square slid over it (Fig. 7 b, d, e)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zfnet.drawing.maps import (
    Box,
    HeatPanel,
    ImagePanel,
    LabelPanel,
    Panel,
    panel_row,
    shorten,
)
from zfnet.errors import UserError
from zfnet.methods.occlusion import OcclusionMaps, occlude
from zfnet.studies.inputs import Inputs, when_it_fits
from zfnet.studies.result import Figure, Measured, Result, Table
from zfnet.studies.statistics import student_mean

FILLS = ("grey", "zero", "mean", "blur", "noise")
GREY = 128
SURE = 0.5


@dataclass(frozen=True)
class Options:
    """The section `study.occlusion` of the config, checked.

    `images`: how many images are drawn; `measured`: how many the numbers rest on (the drawn ones
    are the first of them). `ids`: these images instead, drawn and measured. `size`, `stride`: px of
    a `reference_px` input, scaled to the net's. `layer`: whose strongest map is watched.
    """

    images: int = 4
    measured: int = 12
    ids: Sequence[str] = ()
    size: int = 32
    stride: int = 8
    reference_px: int = 224
    fill: str = "grey"
    layer: int = 5
    batch_size: int = 64
    split: str = "val"

    def __post_init__(self) -> None:
        for key in ("images", "size", "stride", "reference_px", "batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"study.occlusion.{key}={getattr(self, key)}: must be at least 1")
        if self.stride > self.size:
            raise UserError(
                f"study.occlusion.stride={self.stride} is larger than size={self.size}: "
                "some pixels would never be covered"
            )
        if self.fill not in FILLS:
            raise UserError(f"study.occlusion.fill={self.fill}: choose one of {', '.join(FILLS)}")

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section."""
        return Options(
            images=section.images,
            measured=section.measured,
            ids=tuple(section.ids or ()),
            size=section.size,
            stride=section.stride,
            reference_px=section.reference_px,
            fill=section.fill,
            layer=section.layer,
            batch_size=section.batch_size,
            split=section.split,
        )

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
    """Fig. 7 (b, d, e) for one net on a few images of `inputs`."""
    net = inputs.net
    chosen = choose_images(inputs, options, seed)
    size, stride = options.pixels(net.input_px)
    maps = occluded(inputs, chosen, options, seed)
    told = tell(inputs, chosen, maps)
    drawn = len(options.ids) or min(options.images, len(chosen.rows))
    path = net.tap(options.layer, "relu")
    return Result(
        study="occlusion",
        title="Occlusion: what the answer rests on",
        paper="Fig. 7",
        text=_text(inputs, chosen, options, size, stride, drawn),
        net=net.name,
        tap=f"{options.layer}.relu",
        seed=seed,
        metrics=_metrics(told, size, stride),
        tables={"images": _table(inputs, chosen, maps, told)},
        arrays=_arrays(chosen, maps),
        figures=[
            Figure(
                f"occlusion_{i + 1}",
                _caption(inputs, chosen, maps, i, options, size, stride),
                f"Occlusion maps of an image of class {chosen.name(inputs, i)}: image with the "
                "occluder, activity of a feature map, class probability and most likely class.",
                functools.partial(_draw, inputs, chosen, maps, i, options),
            )
            for i in range(drawn)
        ],
        extra={
            "size_px": size,
            "stride_px": stride,
            "fill": options.fill,
            "input_px": net.input_px,
            "module": path,
            "split": options.split,
            "ids": [inputs.split.ids[row] for row in chosen.rows],
            "drawn": drawn,
        },
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
        ranks = _ranks(inputs, rows, probability)
        if (ranks < len(inputs.class_names)).sum() >= count:
            break
    picked = np.argsort(ranks, kind="stable")[:count]
    sure = int((ranks[picked] < 1e6).sum())
    how = (
        f"{count} images in a seeded random order, classes taking turns, each classified correctly "
        f"with p of at least {SURE}"
    )
    if sure < count:
        how += f" ({count - sure} of them less surely or wrongly, for want of better ones)"
    return rows[picked], probability[picked], how


def _ranks(inputs: Inputs, rows: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Order of choice (n,): turn of the image within its class, worse grades a million later."""
    outputs = inputs.outputs(rows)
    top = probability.argmax(1)
    right = (top == outputs) | (outputs < 0)
    sure = right & (probability.max(1) >= SURE)
    grade = np.where(sure, 0, np.where(right, 1, 2))
    turns: dict[tuple[int, int], int] = {}
    ranks = np.zeros(len(rows))
    for i, label in enumerate(inputs.labels[rows].tolist()):
        key = (label, int(grade[i]))
        ranks[i] = turns.get(key, 0) + 1e6 * grade[i]
        turns[key] = turns.get(key, 0) + 1
    return ranks


# ------------------------------------------------------------------------------------- measuring
def occluded(inputs: Inputs, chosen: Chosen, options: Options, seed: int) -> OcclusionMaps:
    """Slide the occluder over the chosen images; results on the CPU."""
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
def _metrics(told: Told, size: int, stride: int) -> dict[str, Measured]:
    over = "Student's interval over images"
    metrics = {
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
        "size_px": Measured(size, unit="px", note="setting"),
        "stride_px": Measured(stride, unit="px", note="setting"),
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
    return metrics


def _table(inputs: Inputs, chosen: Chosen, maps: OcclusionMaps, told: Told) -> Table:
    units = kept(maps.unit)
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
        ]
        for i, row in enumerate(chosen.rows.tolist())
    ]
    columns = [
        "image", "class", "output watched", "p clean", "worst drop", "label changed",
        "drop inside box", "drop outside box", "map", "activity drop",
    ]  # fmt: skip
    return Table(columns, rows, "Every image measured; those drawn come first.")


def _arrays(chosen: Chosen, maps: OcclusionMaps) -> dict[str, Any]:
    return {
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


def _draw(inputs: Inputs, chosen: Chosen, maps: OcclusionMaps, i: int, options: Options) -> Any:
    boxes = inputs.boxes(chosen.rows[i : i + 1])
    box = None
    if boxes is not None and not np.isnan(boxes[0]).any():
        y0, x0, y1, x1 = (float(v) for v in boxes[0])
        box = (y0, x0, y1, x1)
    return panel_row(
        row_panels(
            maps, i,
            image=inputs.display(chosen.rows[i : i + 1])[0],
            classes=inputs.net.classes,
            output=int(chosen.outputs[i]),
            layer=options.layer,
            fill=_colour(inputs, options),
            box=box,
        )
    )  # fmt: skip


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
) -> list[Panel]:
    """The row of Fig. 7 for image `i` of `maps`: image, a map's activity, p(class), top class.

    image: (H, W, 3) uint8, the view that was occluded; classes: names by output index; output: the
    index whose probability was recorded; layer: whose map was watched; fill: the occluder's colour
    (None: outline alone); box: the object's, y0, x0, y1, x1 px.
    """
    ys, xs = centres(maps)
    probability = kept(maps.probability)[i]
    row, col = np.unravel_index(int(probability.argmin()), probability.shape)
    y, x = int(maps.rows[row]), int(maps.cols[col])
    common: dict[str, Any] = {"ys": ys, "xs": xs, "extent": image.shape[:2], "box": box}
    return [
        ImagePanel(
            "where it hurts most",
            image,
            occluder=(y, x, y + maps.size[0], x + maps.size[1]),
            fill=fill,
            box=box,
        ),
        HeatPanel(
            f"layer {layer}, map {int(kept(maps.unit)[i])}",
            kept(maps.activity)[i],
            low=None,
            unit="summed activity",
            clean=float(kept(maps.clean_activity)[i]),
            **common,
        ),
        HeatPanel(
            f"p({shorten(classes[output], 18)})",
            probability,
            high=1.0,
            unit="probability",
            clean=float(maps.clean_probability[i]),
            **common,
        ),
        LabelPanel(
            "most likely class",
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


def _caption(
    inputs: Inputs, chosen: Chosen, maps: OcclusionMaps, i: int, options: Options,
    size: int, stride: int,
) -> str:  # fmt: skip
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
    boxed = " The outline is the object's box." if inputs.boxes(chosen.rows) is not None else ""
    return (
        f"{who}{wrong}. A square of {size} px ({_FILL_WORDS[options.fill]}) is moved in steps of "
        f"{stride} px over the image of {inputs.net.input_px} px; each place is drawn at the "
        "square's centre. From left: the image with the square where the probability falls most; "
        f"summed activity of the map of layer {options.layer} that responds most to the clean "
        "image (colour scale from its least to its largest value); probability of the class; most "
        "likely class. The red mark on a colour bar is the "
        f"value without occluder.{boxed}"
    )


_FILL_WORDS = {
    "grey": "grey, raw value 128",
    "zero": "0 in the net's input, the mean of its training data",
    "mean": "the image's own mean colour",
    "blur": "the image blurred",
    "noise": "noise of the image's own mean and deviation",
}


def _text(
    inputs: Inputs, chosen: Chosen, options: Options, size: int, stride: int, drawn: int
) -> str:
    unknown = int((~chosen.known).sum())
    unsure = (
        f" {unknown} of them belong to classes that the net does not know; for these its own top "
        "label is watched."
        if unknown
        else ""
    )
    return (
        f"A square of {size} px, {_FILL_WORDS[options.fill]}, was moved over {len(chosen.rows)} "
        f"images of the {options.split} split in steps of {stride} px ({options.size} and "
        f"{options.stride} px at {options.reference_px}, scaled to {inputs.net.input_px}; "
        "the paper states neither size nor step nor grey level). The last row and column of places "
        "lie flush with the border, so that every pixel is covered. At each place the probability "
        "of the true class, the most likely class, and the summed activity of the map of layer "
        f"{options.layer} that responds most to the clean image were recorded. Images: "
        f"{chosen.how}; {drawn} are drawn.{unsure} Choosing images that the net is sure of raises "
        "the drops: they describe such images, not all."
    )
