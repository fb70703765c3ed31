"""Pictures made from codes, layer by layer, and how far they lie from their images."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from PIL import Image

from zfnet.figures.kit import trainings
from zfnet.figures.kit.dots import curve
from zfnet.figures.kit.grid import paste
from zfnet.figures.kit.maps import shorten
from zfnet.figures.kit.show import Figure, Shown, all_columns
from zfnet.figures.kit.style import (
    CATEGORICAL,
    FAINT,
    HEAD,
    INK,
    figure,
    heading,
    sheet,
    tidy,
    write,
)
from zfnet.pipeline.registry import title_of
from zfnet.results import Results

CARD = "pictures"
LETTERS, POINTS = 21, 11
TILE, GAP, APART, LEFT = 190, 6, 22, 190  # px
HEADINGS = {
    "pixel_error": "pixel error",
    "code_error": "code error, by its norm",
    "distance_error": "code error, by the distance of codes",
    "own": "correlation with the image",
    "other": "with others",
    "own_minus_other": "less others",
    "own_minus_prior": "less without a code",
    "edges": "of edges, less others",
    "found": "most alike of all",
    "late_fall": "last tenth of the passes",
    "starts_apart": "two starts apart",
}
HEADINGS |= {f"{key}_untrained": f"{words}, untrained" for key, words in HEADINGS.items()}
# Panels: title, then key and label of what is drawn; "prior_": one level for all layers.
PANELS = (
    ("Error of the pixels", "two different images = 1", (
        ("pixel_error", "from the code"), ("pixel_error_untrained", "untrained net"),
        ("prior_pixel_error", "without a code"), ("starts_apart", "two starts of a code"))),
    ("Correlation of the pixels", "correlation", (
        ("own", "from the code"), ("own_untrained", "untrained net"),
        ("prior_own", "without a code"), ("other", "with other images"))),
    ("Correlation of the edges", "own image less others", (
        ("edges", "from the code"), ("edges_untrained", "untrained net"))),
)  # fmt: skip
LOOKS = {  # colour, marker, line
    "from the code": (CATEGORICAL[0], "o", "-"),
    "untrained net": (CATEGORICAL[5], "s", "--"),
    "with other images": (CATEGORICAL[2], "^", ":"),
    "two starts of a code": (CATEGORICAL[3], "v", ":"),
    "without a code": ("#555555", "", "-."),
}


def figures(results: Results) -> list[Figure]:
    """The pictures, then the errors by layer."""
    return [_pictures(results), _by_layer(results)]


def tables(results: Results) -> dict[str, Shown]:
    """Every layer's numbers, and every picture of the first training."""
    over = "trainings" if trainings.seeds_of(results) else "images"
    layers = f"Means; intervals are over {over}. Errors of pixels: two different images = 1."
    pictures = "Every picture made from a code of the trained net."
    return {
        "layers": all_columns(results.tables["layers"], layers, HEADINGS),
        "pictures": all_columns(results.tables["pictures"], pictures, HEADINGS),
    }


# --------------------------------------------------------------------------------------- pictures
def _pictures(results: Results) -> Figure:
    count = len(results.array("originals"))
    more = ["the same from another start"]
    if results.has("untrained"):
        more.append("the same net before training")
    caption = (
        f"Pictures made from the code that each layer has of an image; left the image, right a "
        f"picture made without any code. Grey levels are as they are, 0 to 255. Below the first "
        f"image: {' and '.join(more)}."
    )
    alt = f"{count} images and the pictures made from their codes, which fade with the layer."
    draw = functools.partial(_draw_pictures, results)
    return Figure(CARD, caption, alt, draw, format="webp")


def _draw_pictures(results: Results) -> Image.Image:
    facts, layers = results.facts, results.facts["layers"]
    originals, alone = results.array("originals"), results.array("alone")
    rows = [
        (shorten(facts["classes"][i], 16), originals[i], results.array("pictures")[:, i], alone[i])
        for i in range(len(originals))
    ]
    rows.insert(1, ("another start", None, results.array("again")[:, 0], None))
    if results.has("untrained"):
        rows.insert(2, ("untrained net", None, results.array("untrained")[:, 0], None))
    columns = len(layers) + 2
    lefts = [
        LEFT + i * (TILE + GAP) + APART * ((i > 0) + (i > len(layers))) for i in range(columns)
    ]
    line = LETTERS + 12
    head = HEAD + line
    picture, draw = sheet(lefts[-1] + TILE, head + len(rows) * (TILE + GAP) - GAP)
    subtitle = f"{title_of(results.net)}, {facts['input_px']} px"
    heading(draw, "Pictures made from a code alone", subtitle, picture.width)
    names = ["image", *(f"layer {layer}" for layer in layers), "no code"]
    for left, name in zip(lefts, names, strict=True):
        write(draw, (left + TILE / 2, HEAD + line / 2 - 3), name, LETTERS, bold=True, anchor="mm")
    for number, (name, image, made, without) in enumerate(rows):
        top = head + number * (TILE + GAP)
        write(draw, (0, top + TILE / 2), name, LETTERS, fill=FAINT if image is None else INK)
        for left, tile in zip(lefts, [image, *made, without], strict=True):
            if tile is not None:
                paste(picture, np.asarray(tile), (left, top), TILE)
    return picture


# --------------------------------------------------------------------------------------- by layer
def _by_layer(results: Results) -> Figure:
    over = "trainings" if trainings.seeds_of(results) else "images"
    caption = (
        "By layer: how far the pictures lie from their images, in units of the mean distance "
        "between two images; their correlation, less what all images share; and that of their "
        f"edges, own image less others. Bars: 95 % intervals over {over}."
    )
    alt = "Three charts by layer: error of the pixels, correlation of pixels and of edges."
    return Figure("by_layer", caption, alt, functools.partial(_draw_by_layer, results))


def _draw_by_layer(results: Results) -> Any:
    layers = results.facts["layers"]
    drawn = figure(10.2, 4.3)
    handles: dict[str, Any] = {}
    for axis, (title, unit, lines) in zip(drawn.subplots(1, 3), PANELS, strict=True):
        for place, (key, label) in enumerate(lines):
            colour, marker, style = LOOKS[label]
            if key.startswith("prior_"):
                if (level := results.get(key)) is not None:
                    look = {"color": colour, "linestyle": style, "linewidth": 1.6}
                    handles[label] = axis.axhline(level.value, **look)
                continue
            found = [(n, one) for n in layers if (one := results.get(f"layer{n}_{key}"))]
            if found:
                shift = 0.09 * (place - 0.5)  # so that bars of two nets stand beside each other
                x = [n + shift for n, _ in found]
                ends = [(one.value, one.low, one.high) for _, one in found]
                points = [[np.nan if value is None else value for value in each] for each in ends]
                curve(axis, x, points, color=colour, marker=marker, linestyle=style)
                handles[label] = axis.lines[-1]
        axis.set_title(title, fontsize=POINTS + 1, fontweight="bold")
        axis.set_ylabel(unit, fontsize=POINTS)
        axis.set_xlabel("layer", fontsize=POINTS)
        axis.set_xticks(layers)
        axis.margins(x=0.08)
        tidy(axis, POINTS - 1, "y")
        if axis.get_ylim()[0] < 0:
            axis.axhline(0, color="#bbbbbb", linewidth=1, zorder=1)
        else:
            axis.set_ylim(bottom=0)
    drawn.legend(
        handles.values(), handles, loc="lower center", ncols=5, frameon=False, fontsize=POINTS,
        columnspacing=1.4,
    )  # fmt: skip
    drawn.tight_layout(rect=(0, 0.08, 1, 1), w_pad=2)
    return drawn
