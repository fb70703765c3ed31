"""Which part of an image the net's answer rests on: a square slid over it (Fig. 7).

The paper's five panels for a few images, and two measurements over many: whether the probability
falls more where the object is hidden, and whether a map's activity falls where its projection lies.

The paper states neither the square's size, step and grey level, nor whether one activation of the
map is projected or all of it, nor how its "strong drop" would be measured. The table `sensitivity`
repeats the numbers under other choices. Contrast normalisation passes down unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from zfnet.data.signed import signed_to_rgb
from zfnet.methods import UnsupportedModel
from zfnet.methods.occlusion import OcclusionMaps, occlude
from zfnet.methods.receptive_field import receptive_field
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import student_mean
from zfnet.stats.permutation import pairing_p
from zfnet.studies.agreement import correlations, others, ranks, window_energy
from zfnet.studies.base import (
    BATCH,
    FIELD_LIMIT,
    SURE,
    Inputs,
    Windows,
    cut_windows,
    named_rows,
    project,
    strongest,
    turns,
    when_it_fits,
    with_ends,
)

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Occlusion

SPLIT = "val"
REFERENCE_PX = 224  # the paper's input: sizes and steps are px of it, scaled to the net's
GREY = 128  # raw value, grey in the picture whatever the net's normalisation makes of it
STRETCH = 512  # images classified at a time: most nets need no more to find enough of them
PLACES = ("probability", "label", "activity", "rows", "cols")  # drawn at a finer step too
OTHERS = 3  # strongest other images of a map, drawn below its own; the paper shows several
# The sensitivity table: each of these choices alone, on the first VARIED_IMAGES of those measured.
VARIED_IMAGES = 8
VARIED: tuple[tuple[str, Any], ...] = (
    ("stride", 8), ("size", 32), ("size", 64), ("fill", "mean"), ("fill", "blur"),
    ("layer", 3),  # at about 112 px the deepest whose field is at most FIELD_LIMIT of the image
)  # fmt: skip
SHARE, SIGNED, GAP = (0, 1), (-1, 1), (-2, 2)  # where a mean lies
# Numbers of an image: limits of their mean, what they are. Not a number where unknown.
MEANS = {
    "worst_drop": (SIGNED, "p(class) lost at the worst place"),
    "label_changed": (SHARE, "share of places with another most likely class"),
    "activity_drop": (SIGNED, "share of its activity lost at the worst place"),
    "drop_inside_box": (SIGNED, "mean loss of p, square's centre in the box"),
    "drop_outside_box": (SIGNED, "mean loss of p, square's centre out of the box"),
    "inside_minus_outside": (GAP, "paired by image"),
    "projection_correlation": (
        SIGNED, "over places: activity lost with the projection's energy under the square"),
    "projection_correlation_other": (
        SIGNED, "null: the same activity with the other images' projections"),
    "projection_correlation_gain": (GAP, "own less others', paired by image"),
}  # fmt: skip


def run(cfg: Occlusion, paths: Paths) -> Measurement:
    """Fig. 7 for one net: a few validation images to draw, more of them measured."""
    inputs = Inputs.of_stage(cfg, paths, SPLIT, dealt=True)
    px = inputs.net.input_px
    rows, outputs, less_sure = choose_images(cfg, inputs)
    drawn = len(cfg.ids) or min(cfg.images, len(rows))
    hidden = hide(inputs, rows, outputs, cfg.model_copy(update={"stride": cfg.measured_stride}))
    tables, arrays = {"images": _images(inputs, hidden)}, {}
    if paths.leads:
        shown = slide(inputs, rows[:drawn], outputs[:drawn], cfg)
        tables["sensitivity"], arrays = sensitivity(inputs, hidden), _arrays(inputs, hidden, shown)
    if paths.leads and hidden.projections is not None:
        tables["others"], pictures = other_images(inputs, hidden, drawn)
        arrays |= pictures
    size_px, stride_px = pixels(hidden.square, px)
    facts = {
        "split": SPLIT,
        "input_px": px,
        "size_px": size_px,
        "stride_px": stride_px,
        "drawn_stride_px": pixels(cfg, px)[1],
        "fill": cfg.fill,
        "fill_rgb": [GREY] * 3 if cfg.fill == "grey" else None,
        "layer": cfg.layer,
        "drawn": drawn,
        "named": bool(cfg.ids),
        "dealt": not cfg.ids,
        "sure": SURE,
        "less_sure": less_sure,
        "unknown_class": int((inputs.outputs(rows) < 0).sum()),
        "classes": list(inputs.net.classes),
        "field_limit": FIELD_LIMIT,
        "no_projection": hidden.refusal,
    }
    estimates = {
        "images": Estimate(len(rows), unit="images", note="counted"),
        "size_px": Estimate(size_px, unit="px", note="setting"),
        "stride_px": Estimate(stride_px, unit="px", note="setting, images measured"),
        **_estimates(hidden),
    }
    tap = f"{cfg.layer}.relu"
    return Measurement(inputs.net.name, tap, cfg.seed, estimates, tables, arrays, facts)


def pixels(square: Occlusion, px: int) -> tuple[int, int]:
    """(size, stride) of a square in a net input of `px`; at least 2 and 1."""
    factor = px / REFERENCE_PX
    size = min(px, max(2, round(square.size * factor)))
    return size, min(size, max(1, round(square.stride * factor)))


# -------------------------------------------------------------------------------------- choosing
def choose_images(cfg: Occlusion, inputs: Inputs) -> tuple[np.ndarray, np.ndarray, int]:
    """The images of `ids`, or a seeded choice: rows (n,), outputs watched (n,), how many less sure.

    Watched is the true class or, where the net does not know it, the net's own top label.

    In a seeded random order the first correctly classified image (p ≥ SURE) of each class is taken,
    class after class, then second ones. Where there are too few, less sure ones follow, then any.
    Raises UserError for an id that the split does not hold.
    """
    order = np.random.default_rng([cfg.seed, 5]).permutation(inputs.rows)
    count = min(max(cfg.images, cfg.measured), len(order))
    if cfg.ids:
        order = named_rows(inputs, cfg.ids, "study.occlusion.ids")
        count = len(order)
    parts: list[np.ndarray] = []
    for start in range(0, len(order), STRETCH):
        parts.append(predict(inputs, order[start : start + STRETCH]))
        rows, probability = order[: start + STRETCH], np.concatenate(parts)
        outputs, top = inputs.outputs(rows), probability.argmax(1)
        right = (top == outputs) | (outputs < 0)
        sure = right & (probability.max(1) >= SURE)
        if sure.sum() >= count:
            break
    watched = np.where(outputs >= 0, outputs, top)
    if cfg.ids:
        return rows, watched, 0
    grade = np.select([sure, right], [0, 1], 2)
    picked = np.lexsort((turns(inputs.labels[rows], grade), grade))[:count]
    return rows[picked], watched[picked], int((~sure[picked]).sum())


def predict(inputs: Inputs, rows: np.ndarray) -> np.ndarray:
    """Probabilities (n, outputs) of the net for `rows`."""
    with torch.inference_mode():
        parts = [
            inputs.net.model(batch).float().softmax(1).cpu()
            for batch, _ in inputs.batches(rows, BATCH)
        ]
    return torch.cat(parts).numpy()


# ------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Hidden:
    """All that was measured of n images under one square: its size, stride, fill and layer watched.

    maps: of `OcclusionMaps.arrays`. numbers: (n,) by name, see MEANS. projections: of the maps,
    (n, H, W, 3) in units of the net input; table (n, n): correlation of i's loss of activity with
    the energy of j's projection; both None where the net has no deconvnet: `refusal`.
    """

    rows: np.ndarray
    outputs: np.ndarray
    square: Occlusion
    maps: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    projections: np.ndarray | None = None
    table: np.ndarray | None = None
    field_share: float = np.nan
    refusal: str = ""

    def energy(self, pictures: np.ndarray) -> np.ndarray:
        """Energy of pictures (n, H, W, 3) under the square at each place: (n, R, C)."""
        size = pixels(self.square, pictures.shape[1])[0]
        return window_energy(pictures, self.maps["rows"], self.maps["cols"], (size, size))


def loss(maps: dict[str, np.ndarray], what: str = "activity") -> np.ndarray:
    """The clean "activity" or "probability" less that at each place: (n, R, C)."""
    lost: np.ndarray = maps[f"clean_{what}"][:, None, None] - maps[what]
    return lost


def slide(
    inputs: Inputs, rows: np.ndarray, outputs: np.ndarray, square: Occlusion
) -> OcclusionMaps:
    """Slide the square over the images `rows`, of which `outputs` are watched."""
    net = inputs.net
    size, stride = pixels(square, net.input_px)
    images = inputs.batch(rows)
    grey = torch.full((1, 3, net.input_px, net.input_px), GREY, dtype=torch.uint8)

    def attempt(batch_size: int) -> OcclusionMaps:
        return occlude(
            net.model,
            images,
            classes=torch.from_numpy(outputs).to(images.device),
            size=size,
            stride=stride,
            fill=inputs.normalised(grey) if square.fill == "grey" else square.fill,
            layer=net.tap(square.layer, "relu"),
            unit="strongest",
            batch_size=batch_size,
            seed=square.seed,
        )

    return when_it_fits(attempt, BATCH)


def hide(inputs: Inputs, rows: np.ndarray, outputs: np.ndarray, square: Occlusion) -> Hidden:
    """Slide the square over the images, project their maps, compare the two."""
    maps, px = slide(inputs, rows, outputs, square).arrays(), inputs.net.input_px
    numbers = _numbers(inputs.boxes(rows), maps, pixels(square, px)[0])
    hidden = Hidden(rows, outputs, square, maps, numbers)
    try:
        field = receptive_field(inputs.net.model, inputs.net.tap(square.layer, "relu"), px)
        own = projections(inputs, rows, square.layer, maps["unit"])
    except UnsupportedModel as error:
        return replace(hidden, refusal=str(error))
    table = correlations(loss(maps), hidden.energy(own))
    return replace(
        hidden,
        projections=own,
        table=table,
        numbers=numbers | _compared(table),
        field_share=max(field.size) / px,
    )


def _numbers(
    boxes: np.ndarray | None, maps: dict[str, np.ndarray], size_px: int
) -> dict[str, np.ndarray]:
    """Numbers of each image; its object's box (n, 4) comes from the data, where it knows one."""
    drop, clean = loss(maps, "probability"), maps["clean_activity"]
    unknown = np.full(len(drop), np.nan)
    inside, outside = unknown.copy(), unknown.copy()
    ys, xs = maps["rows"] + size_px / 2, maps["cols"] + size_px / 2
    for i, (y0, x0, y1, x1) in enumerate(boxes if boxes is not None else ()):
        covered = np.outer((ys >= y0) & (ys < y1), (xs >= x0) & (xs < x1))  # none if NaN
        if covered.any() and not covered.all():
            inside[i], outside[i] = drop[i][covered].mean(), drop[i][~covered].mean()
    lost = loss(maps).max((1, 2))
    return {
        **dict.fromkeys(MEANS, unknown),
        "worst_drop": drop.max((1, 2)),
        "label_changed": (maps["label"] != maps["clean_label"][:, None, None]).mean((1, 2)),
        "activity_drop": np.divide(lost, clean, out=unknown.copy(), where=clean > 0),
        "drop_inside_box": inside,
        "drop_outside_box": outside,
        "inside_minus_outside": inside - outside,
    }


def _compared(table: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers that follow from a table (n, n) of correlations."""
    own, other = table.diagonal(), others(table)
    return {
        "projection_correlation": own,
        "projection_correlation_other": other,
        "projection_correlation_gain": own - other,
    }


def projections(
    inputs: Inputs,
    rows: np.ndarray,
    layer: int,
    units: np.ndarray,
    places: Tensor | Literal["all"] | None = None,
) -> np.ndarray:
    """Projections (n, H, W, 3) of map `units[i]` of image `rows[i]`; places as in `project`."""
    path, maps = inputs.net.tap(layer, "relu"), units.astype(np.int64)
    down = project(inputs, path, inputs.batch(rows), maps, places)
    return down.permute(0, 2, 3, 1).cpu().float().numpy()


def other_images(inputs: Inputs, hidden: Hidden, drawn: int) -> tuple[Table, dict[str, np.ndarray]]:
    """The strongest images of each drawn image's map besides itself: a table, and its arrays.

    Projections (uint8, grey 0) and patches are cut to the activation's receptive field, moved
    inwards at the border. No arrays where nothing else excites the maps.
    """
    layer = hidden.square.layer
    path = inputs.net.tap(layer, "relu")
    top = strongest(inputs, [path], min(OTHERS + 1, len(inputs.rows)), what=f"layer {layer}")[path]
    found = []
    for i, own in enumerate(hidden.rows[:drawn].tolist()):
        unit = int(hidden.maps["unit"][i])
        active = (top.images[unit] != own) & (top.values[unit] > 0)
        found += [(i, unit, k) for k in active.nonzero()[:OTHERS, 0].tolist()]
    records = [
        {
            "drawn": i,
            "map": unit,
            "class": inputs.class_names[inputs.labels[int(top.images[unit, k])]],
            "activation": float(top.values[unit, k]),
        }
        for i, unit, k in found
    ]
    table = Table.of(records, ["drawn", "map", "class", "activation"])
    if not found:
        return table, {}
    _, units, order = np.array(found).T
    rows, places = top.images[units, order].numpy(), top.places[units, order]
    windows = Windows.of(inputs.net, path, places)
    projected, patches = (
        cut_windows(whole, windows.corners, windows.canvas).permute(0, 2, 3, 1).numpy()
        for whole in (
            project(inputs, path, inputs.batch(rows), units, places).cpu().float(),
            inputs.pixels(rows),
        )
    )
    return table, {
        "others_projections": np.stack([signed_to_rgb(part) for part in projected]),
        "others_patches": patches,
    }


# ------------------------------------------------------------------------------------ summing up
def sensitivity(inputs: Inputs, hidden: Hidden) -> Table:
    """The numbers under other choices, on the first VARIED_IMAGES of those measured.

    Rows are also a correlation of "ranks", and "whole_map": all of the map projected.
    """
    n, base = VARIED_IMAGES, hidden.square
    rows, outputs = hidden.rows[:n], hidden.outputs[:n]
    records = [_record("measured", None, hidden, hidden.table, inputs)]
    if hidden.projections is not None:
        lost, energy = loss(hidden.maps)[:n], hidden.energy(hidden.projections)[:n]
        by_rank = correlations(ranks(lost), ranks(energy))
        records.append(_record("ranks", None, hidden, by_rank, inputs))
        whole = projections(inputs, rows, base.layer, hidden.maps["unit"][:n], "all")
        by_map = correlations(lost, hidden.energy(whole))
        records.append(_record("whole_map", None, hidden, by_map, inputs))
    for what, setting in VARIED:
        square = base.model_copy(update={what: setting})
        if square != base and f"{square.layer}.relu" in inputs.net.taps:
            varied = hide(inputs, rows, outputs, square)
            records.append(_record(what, setting, varied, varied.table, inputs))
    return Table.of(records)


def _record(
    what: str, setting: Any, hidden: Hidden, table: np.ndarray | None, inputs: Inputs
) -> dict[str, Any]:
    part = slice(VARIED_IMAGES)
    numbers = {name: values[part] for name, values in hidden.numbers.items()}
    numbers |= {} if table is None else _compared(table[part, part])
    means = {name: student_mean(values) for name, values in numbers.items()}
    size_px, stride_px = pixels(hidden.square, inputs.net.input_px)
    named = ("worst_drop", "inside_minus_outside", "projection_correlation",
             "projection_correlation_other")  # fmt: skip
    return {
        "choice": what,
        "setting": setting,
        "images": len(numbers["worst_drop"]),
        "size_px": size_px,
        "stride_px": stride_px,
        **{name: means[name].value for name in named},
        **with_ends("projection_correlation_gain", means["projection_correlation_gain"]),
        "field_share": hidden.field_share,
    }


def _estimates(hidden: Hidden) -> dict[str, Estimate]:
    means = {
        name: student_mean(hidden.numbers[name], note=note, limits=limits)
        for name, (limits, note) in MEANS.items()
    }
    estimates = {name: mean for name, mean in means.items() if mean.n}
    if hidden.table is not None:
        note = "field of the watched layer over the input's side; may pass 1"
        estimates["field_share"] = Estimate(hidden.field_share, note=note)
        n = int((~np.isnan(hidden.table.diagonal())).sum())
        if n > 1:
            note = "one-sided, projections permuted among the images; a probability, no interval"
            p = Estimate(pairing_p(hidden.table, hidden.square.seed), n=n, note=note)
            estimates["projection_correlation_p"] = p
    return estimates


def _images(inputs: Inputs, hidden: Hidden) -> Table:
    known, p = inputs.outputs(hidden.rows) >= 0, hidden.maps["clean_probability"]
    return Table.of(
        [
            {
                "image": inputs.split.ids[row],
                "class": inputs.class_names[int(inputs.labels[row])],
                "output": inputs.net.classes[int(hidden.outputs[i])],
                "known": bool(known[i]),
                "p_clean": float(p[i]),
                "map": int(hidden.maps["unit"][i]),
                **{name: float(values[i]) for name, values in hidden.numbers.items()},
            }
            for i, row in enumerate(hidden.rows.tolist())
        ]
    )


def _arrays(inputs: Inputs, hidden: Hidden, shown: OcclusionMaps) -> dict[str, np.ndarray]:
    """Every image's maps; of those drawn also the finer ones, the pictures and the boxes, px."""
    fine = shown.arrays()
    rows = hidden.rows[: len(fine["unit"])]
    boxes = inputs.boxes(rows)
    arrays = {
        "images": hidden.rows.astype(np.int32),
        "outputs": hidden.outputs.astype(np.int32),
        **{name: value for name, value in hidden.maps.items() if "logit" not in name},
        **{f"drawn_{name}": fine[name] for name in PLACES},
        "drawn_boxes": np.full((len(rows), 4), np.nan) if boxes is None else boxes,
        "drawn_pictures": inputs.display(rows),
    }
    if hidden.projections is not None:
        arrays["projections"] = np.stack([signed_to_rgb(one) for one in hidden.projections])
    return arrays
