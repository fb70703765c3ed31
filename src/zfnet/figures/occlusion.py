"""Fig. 7: what each image gave with a square at every place, and all images together."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zfnet.figures.kit import trainings
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
from zfnet.figures.kit.show import Figure, Shown, all_columns
from zfnet.results import Results

CARD = "occlusion_1"
FILLS = {
    "grey": "grey, raw value 128",
    "zero": "0 in the net's input, the mean of its training data",
    "mean": "the image's own mean colour",
    "blur": "the image blurred",
    "noise": "noise of the image's own mean and deviation",
}
CHOICES = {
    "measured": "as measured",
    "ranks": "correlation of ranks",
    "whole_map": "whole map projected",
    "stride": "step, px at 224 px input",
    "size": "size, px at 224 px input",
    "fill": "fill",
    "layer": "layer watched",
}
HEADINGS = {
    "output": "output watched",
    "setting": "changed to",
    "size_px": "square, px",
    "stride_px": "step, px",
    "inside_minus_outside": "inside − outside box",
    "projection_correlation": "correlation with own projection",
    "projection_correlation_other": "with other images'",
    "projection_correlation_gain": "difference, 95 % interval",
    "field_share": "field / image side",
}


def figures(results: Results) -> list[Figure]:
    """Each drawn image's sheet, then every image measured in one figure."""
    sheets = [_sheet(results, i) for i in range(results.facts["drawn"])]
    return sheets + _per_image(results)


def tables(results: Results) -> dict[str, Shown]:
    """The images measured, and the numbers under other choices."""
    first = f"The first {results.facts['drawn']} are drawn."
    unshown = ("known", "inside_minus_outside", "projection_correlation_gain")
    images = f"Every image measured. Drops are of p(class). {first}"
    varied = (
        "Means over the first images measured, one choice changed at a time. Interval: Student's, "
        f"over {'trainings' if trainings.seeds_of(results) else 'images'}."
    )
    return {
        "images": all_columns(results.tables["images"], images, HEADINGS, hide=unshown),
        "sensitivity": all_columns(
            results.tables["sensitivity"], varied, HEADINGS, {"choice": CHOICES}
        ),
    }


def row_panels(
    maps: Mapping[str, np.ndarray],
    i: int,
    size: int,
    *,
    image: np.ndarray,
    classes: Sequence[str],
    output: int,
    layer: int | str,
    fill: tuple[int, int, int] | None = (128, 128, 128),
    box: Box | None = None,
    projection: np.ndarray | None = None,
) -> list[Panel]:
    """Fig. 7 (a) to (e) for one image: image, a map's activity, p(class), top class.

    Third of five, where the map's projection (H, W, 3) uint8 is given: that, as it lies in the
    image. maps: arrays of `OcclusionMaps`, of which image `i` is drawn; size: of the square, px;
    image: (H, W, 3) uint8, the view that was occluded; classes: names by output index; output: the
    index whose probability was recorded; layer: whose map was watched; fill: the square's colour
    (None: outline alone); box: the object's, y0, x0, y1, x1 px.
    """
    probability, unit = maps["probability"][i], int(maps["unit"][i])
    row, col = np.unravel_index(int(probability.argmin()), probability.shape)
    y, x = int(maps["rows"][row]), int(maps["cols"][col])
    common: dict[str, Any] = {
        "ys": maps["rows"] + size / 2,
        "xs": maps["cols"] + size / 2,
        "extent": image.shape[:2],
        "box": box,
    }
    worst = (y, x, y + size, x + size)
    down: list[Panel] = []
    if projection is not None:
        down = [ImagePanel(f"(c) map {unit}, projected", projection, frame=True)]
    return [
        ImagePanel("(a) input, worst place", image, occluder=worst, fill=fill, box=box),
        HeatPanel(
            f"(b) layer {layer}, map {unit}",
            maps["activity"][i],
            low=None,
            unit="summed activity",
            clean=float(maps["clean_activity"][i]),
            **common,
        ),
        *down,
        HeatPanel(
            f"(d) p({shorten(classes[output], 18)})",
            probability,
            high=1.0,
            unit="probability",
            clean=float(maps["clean_probability"][i]),
            **common,
        ),
        LabelPanel(
            "(e) most likely class",
            maps["label"][i],
            names=classes,
            first=int(maps["clean_label"][i]),
            **common,
        ),
    ]


# ------------------------------------------------------------------------------- one image's sheet
def _sheet(results: Results, i: int) -> Figure:
    name = results.tables["images"].column("class")[i]
    projected = ", the map's projection" if results.has("projections") else ""
    if _others(results, i):
        projected += " with those of other images"
    return Figure(
        f"occlusion_{i + 1}",
        _caption(results, i),
        f"Occlusion maps of an image of class {name}: image with the square, activity of a feature "
        f"map{projected}, class probability and most likely class.",
        functools.partial(_draw, results, i),
    )


def _caption(results: Results, i: int) -> str:
    facts, one = results.facts, results.tables["images"].records()[i]
    watched = f"{one['output']}, p = {one['p_clean']:.2f} without the square"
    who = f"True class: {watched}"
    if not one["known"]:
        who = f"The net does not know the class {one['class']}; watched is its top label: {watched}"
    elif int(results.array("clean_label")[i]) != int(results.array("outputs")[i]):
        top = facts["classes"][int(results.array("clean_label")[i])]
        who += f" (the net says {top})"
    projected = ""
    if results.has("projections"):
        projected = (
            " (c) the deconvnet's projection of that map's strongest activation in this image, "
            "framed, grey = 0"
        )
        if _others(results, i):
            projected += (
                "; below it, of the map's strongest activations in other images, each cut to the "
                "receptive field with its image patch"
            )
        projected += ";"
    boxed = "" if np.isnan(results.array("drawn_boxes")[i]).any() else " Red outline: object's box."
    return (
        f"{who}. A square of {facts['size_px']} px ({FILLS[facts['fill']]}) is moved in steps of "
        f"{facts['drawn_stride_px']} px over {facts['input_px']} px; each value is drawn at the "
        "square's centre. (a) the image with the square where the probability falls most; (b) "
        f"summed activity of the map of layer {facts['layer']} that responds most to the whole "
        f"image;{projected} (d) probability of the class; (e) most likely class. Red mark on a "
        f"colour bar: the value without the square.{boxed}"
    )


def _others(results: Results, i: int) -> list[int]:
    """Rows of the arrays of other images that belong to drawn image `i`."""
    if "others" not in results.tables:
        return []
    return [row for row, of in enumerate(results.tables["others"].column("drawn")) if of == i]


def _draw(results: Results, i: int) -> Any:
    facts = results.facts
    finer = ("probability", "label", "activity", "rows", "cols")
    clean = ("unit", "clean_probability", "clean_label", "clean_activity")
    arrays = {name: results.array(f"drawn_{name}") for name in finer}
    arrays |= {name: results.array(name) for name in clean}
    y0, x0, y1, x1 = (float(v) for v in results.array("drawn_boxes")[i])
    panels = row_panels(
        arrays,
        i,
        facts["size_px"],
        image=np.asarray(results.array("drawn_pictures")[i]),
        classes=facts["classes"],
        output=int(results.array("outputs")[i]),
        layer=facts["layer"],
        fill=facts["fill_rgb"] and tuple(facts["fill_rgb"]),
        box=None if np.isnan(y0) else (y0, x0, y1, x1),
        projection=results.array("projections")[i] if results.has("projections") else None,
    )
    return panel_sheet([panels[:-2], panels[-2:]], _strip(results, i))


def _strip(results: Results, i: int) -> Strip | None:
    rows = _others(results, i)
    if not rows:
        return None
    listed = results.tables["others"].records()
    return Strip(
        f"(c) map {listed[rows[0]]['map']} in its strongest other images: projection, image patch",
        [tuple(results.array(f"others_{k}")[r] for k in ("projections", "patches")) for r in rows],
        [
            f"{shorten(listed[r]['class'], 20)}, activation {listed[r]['activation']:.3g}"
            for r in rows
        ],
    )


# ------------------------------------------------------------------------------- all images at once
def _per_image(results: Results) -> list[Figure]:
    """What every image gave, for the two measurements; none if neither could be had."""
    measurements = (
        ("inside_minus_outside", "Where the object is hidden", "mean drop of p(class)",
         {"drop_inside_box": "inside the box", "drop_outside_box": "outside"},
         "mean drop of p(class) with the square's centre in the object's box, and outside it"),
        ("projection_correlation_gain", "Where the projection is hidden", "correlation over places",
         {"projection_correlation": "own projection",
          "projection_correlation_other": "other images'"},
         "correlation over places between the activity that the map loses and the energy of a "
         "projection under the square: the image's own, and the mean over other images'"),
    )  # fmt: skip
    panels, described = [], []
    for key, title, unit, names, words in measurements:
        if key in results.estimates:
            values = np.array([results.tables["images"].column(n) for n in names], np.float64).T
            means = [results[name] for name in names]
            panels.append(Pairs(title, values, list(names.values()), means, unit))
            described.append(words)
    if not panels or len(results.tables["images"].rows) < 2:
        return []
    listed = "; ".join(described)
    line, mean = "Each line is an image", "mean over images"
    if several := trainings.seeds_of(results):
        line += f" of the training with seed {several[0]}"
        mean += f" and {len(several)} trainings"
    caption = f"{line}. {listed[0].upper()}{listed[1:]}. Red: {mean} with its 95 % interval."
    draw = functools.partial(paired_dots, panels)
    return [Figure("per_image", caption, f"Paired dots of every image: {listed}.", draw)]
