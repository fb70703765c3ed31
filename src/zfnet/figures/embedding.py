"""Codes in two dimensions: the embeddings by class, the images on a grid, shares of neighbours."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from zfnet.data.store import Prepared
from zfnet.data.views import NetView
from zfnet.figures.kit import trainings
from zfnet.figures.kit.grid import paste
from zfnet.figures.kit.maps import shorten
from zfnet.figures.kit.show import Figure, Shown, all_columns
from zfnet.figures.kit.style import (
    CATEGORICAL,
    HEAD,
    MARK,
    NEUTRAL,
    figure,
    heading,
    sheet,
    tidy,
    whisker,
)
from zfnet.pipeline.registry import title_of
from zfnet.results import Results

CARD = "scatter"
POINTS = 11.5
MARKERS = "os^Dv"
WIDTH = 1500  # px of the grid
REST = "other classes"
MOST_MARKED = 0.3  # share of the images
SPACES = {
    "codes": "codes",
    "pixels": "pixels",
    "untrained": "codes, untrained net",
    "before_relu": "before the rectifier",
}
BROKEN = {"untrained": "codes,\nuntrained net", "before_relu": "before the\nrectifier"}
HEADINGS = {
    "agreement": "neighbours of the class, in the space",
    "agreement_2d": "in two dimensions",
    "trustworthiness": "trustworthiness",
    "setting": "set to",
    "difference": "codes − pixels",
    **SPACES,
}
CHOICES = {"measured": "as measured", "neighbours": "number of neighbours"}


def figures(results: Results) -> list[Figure]:
    """Scatter plots of every space, the grid of images, and what was counted."""
    found = []
    if any(results.has(f"points_{space}") for space in SPACES):
        found.append(_scatter(results))
    if results.has("cells"):
        found.append(_grid(results))
    return [*found, _shares(results)]


def tables(results: Results) -> dict[str, Shown]:
    """Spaces, other choices, classes, images."""
    facts = results.facts
    near = f"of its {facts['neighbours']} nearest images" if facts["neighbours"] > 1 else "nearest"
    shares = f"Share of an image's neighbours ({near}) that have its class, in two dimensions"
    captions = {
        "spaces": f"{shares}, and in the space itself. Trustworthiness: 1 where no neighbour in "
        "two dimensions is none in the space.",
        "choices": f"{shares}, one choice changed at a time; from one start of t-SNE. Interval: "
        "over images or trainings.",
        "classes": f"{shares}, by class.",
        "images": f"{shares}, and what the net answers.",
    }
    return {
        name: all_columns(
            results.tables[name], caption, HEADINGS, {"choice": CHOICES, "space": SPACES}
        )
        for name, caption in captions.items()
        if name in results.tables
    }


# ------------------------------------------------------------------------------------ the classes
def _looks(results: Results) -> dict[int, tuple[str, str]]:
    """Colour and marker by label; of more classes than there are colours the largest have one."""
    labels, times = np.unique(results.array("labels"), return_counts=True)
    named = labels[np.argsort(-times, kind="stable")][: len(CATEGORICAL)]
    chosen = sorted(named.tolist())
    return {label: (CATEGORICAL[i], MARKERS[i % len(MARKERS)]) for i, label in enumerate(chosen)}


def _names(results: Results) -> dict[int, str]:
    """Names of the classes that are there, by label."""
    labels = np.unique(results.array("labels")).tolist()
    return dict(zip(labels, results.facts["classes"], strict=True))


def _marked(results: Results) -> np.ndarray:
    """Images (N,) to be marked as errors: none where so many are wrong that marks tell nothing."""
    wrong = np.asarray(results.array("wrong"))
    return wrong if wrong.mean() <= MOST_MARKED else np.zeros_like(wrong)


def _of_many(results: Results) -> str:
    classes, looks = len(results.facts["classes"]), len(_looks(results))
    return "" if classes == looks else f" Of {classes} classes the {looks} largest have a colour."


# ---------------------------------------------------------------------------------------- scatter
def _scatter(results: Results) -> Figure:
    facts, n = results.facts, len(results.array("labels"))
    spaces = [name for name in SPACES if results.has(f"points_{name}")]
    listed = "; ".join(_titled(results, name) for name in spaces)
    wrong = " Ringed: images that the net gets wrong." if _marked(results).any() else ""
    over = "trainings and starts" if trainings.seeds_of(results) else "starts"
    caption = (
        f"t-SNE of {n} {facts['split']} images: {listed}. Colour: the class.{wrong} Below: share "
        f"of the {facts['neighbours']} nearest that have an image's class, over all {over}. All "
        f"are embedded alike, at a perplexity of {facts['perplexity']:.3g}. Distances between "
        f"groups, their sizes and the directions mean nothing.{_of_many(results)}"
    )
    alt = f"Scatter plots of {n} images in two dimensions, coloured by class: {listed}."
    return Figure("scatter", caption, alt, functools.partial(_draw_scatter, results, spaces))


def _titled(results: Results, space: str) -> str:
    count = results.facts["numbers"][space]
    layer = "" if space == "pixels" else f" of layer {results.facts['layer']}"
    return f"{SPACES[space]}{layer if space == 'codes' else ''} ({count:,} numbers)"


def _draw_scatter(results: Results, spaces: list[str]) -> Any:
    from matplotlib.lines import Line2D

    labels, wrong = results.array("labels"), _marked(results)
    looks, names = _looks(results), _names(results)
    across = min(2, len(spaces))
    down = -(-len(spaces) // across)
    columns, entries = 4, len(looks) + (len(names) > len(looks)) + bool(wrong.any())
    below = 0.1 + 0.235 * -(-entries // columns)
    drawn = figure(4.6 * across, 4.3 * down + below)
    size = float(np.clip(2600 / len(labels), 7, 26))
    for axis, space in zip(drawn.subplots(down, across, squeeze=False).flat, spaces, strict=False):
        points = results.array(f"points_{space}")
        rest = ~np.isin(labels, list(looks))
        axis.scatter(*points[rest].T, s=0.6 * size, color="#bbbbbb", linewidth=0)
        for label, (colour, marker) in looks.items():
            own = points[labels == label]
            look = {"color": colour, "marker": marker, "linewidth": 0.4, "edgecolor": "white"}
            axis.scatter(*own.T, s=size, **look)
        axis.scatter(
            *points[wrong].T, s=3.5 * size, facecolor="none", edgecolor="#222222", linewidth=1.1
        )
        axis.set_title(_titled(results, space), fontsize=POINTS + 1, fontweight="bold")
        share = results.get(f"agreement_{space}_2d")
        if share is not None:
            axis.set_xlabel(f"neighbours of the class: {share.value:.2f}", fontsize=POINTS)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_aspect("equal", adjustable="datalim")
        axis.spines[:].set_color("#bbbbbb")
    for axis in drawn.axes[len(spaces) :]:
        axis.set_axis_off()
    common: dict[str, Any] = {"linestyle": "none", "markersize": 7}
    handles = [
        Line2D([], [], marker=m, color=c, label=shorten(names[label], 20), **common)
        for label, (c, m) in looks.items()
    ]
    if len(names) > len(looks):
        handles.append(Line2D([], [], marker="o", color="#bbbbbb", label=REST, **common))
    if wrong.any():
        ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": "#222222"}
        handles.append(Line2D([], [], marker="o", label="the net errs", **common, **ring))
    drawn.legend(
        handles=handles, loc="lower center", ncols=columns, frameon=False, fontsize=POINTS,
        columnspacing=1.2, handletextpad=0.2,
    )  # fmt: skip
    drawn.tight_layout(rect=(0, below / drawn.get_figheight(), 1, 1), h_pad=1.2, w_pad=1.2)
    return drawn


# ------------------------------------------------------------------------------------------- grid
def _grid(results: Results) -> Figure:
    rows, columns = results.facts["grid"]
    n, crosses = len(results.array("labels")), _marked(results).any()
    caption = (
        f"{n} {results.facts['split']} images on a grid of {rows} x {columns}, as near to their "
        "places in the embedding of codes as is possible when each has a cell of its own (least "
        f"sum of squared distances). Frame: the class, in the colours of the scatter plot."
        f"{' Crossed: the net errs.' if crosses else ''}{_of_many(results)}"
    )
    alt = f"{n} images on a grid; alike ones lie together where the net's codes are alike."
    return Figure("grid", caption, alt, functools.partial(_draw_grid, results), format="webp")


def _draw_grid(results: Results) -> Image.Image:
    facts, looks = results.facts, _looks(results)
    rows, columns = facts["grid"]
    view = NetView(
        Prepared.open(results.root / "data" / "prepared"), facts["split"], facts["input_px"]
    )
    labels, cells, images = (results.array(name) for name in ("labels", "cells", "images"))
    tile = max(30, min(128, WIDTH // columns - 2))
    frame = max(2, tile // 24)
    step = tile + 2
    picture, draw = sheet(columns * step - 2, HEAD + rows * step - 2)
    subtitle = f"codes of layer {facts['layer']} of {title_of(results.net)}, t-SNE, best assignment"
    heading(draw, "Images by their codes", subtitle, picture.width)
    for label, error, (row, column), image in zip(
        labels, _marked(results), cells, images, strict=True
    ):
        x, y = int(column) * step, HEAD + int(row) * step
        colour = looks.get(int(label), (NEUTRAL, ""))[0]
        draw.rectangle((x, y, x + tile - 1, y + tile - 1), fill=ImageColor.getrgb(colour))
        paste(picture, view.image(int(image)), (x + frame, y + frame), tile - 2 * frame)
        if error:
            _cross(draw, x + tile - frame, y + frame, max(8, tile // 5))
    return picture


def _cross(draw: ImageDraw.ImageDraw, right: int, top: int, side: int) -> None:
    """A red cross on white in a tile's upper right corner."""
    draw.rectangle((right - side, top, right - 1, top + side - 1), fill="white")
    inner = (right - side + 2, top + 2, right - 3, top + side - 3)
    draw.line(inner, fill=MARK, width=3)
    draw.line((inner[0], inner[3], inner[2], inner[1]), fill=MARK, width=3)


# ----------------------------------------------------------------------------------------- shares
def _shares(results: Results) -> Figure:
    caption = (
        f"Left: share of an image's nearest images ({results.facts['neighbours']}) that have its "
        "class, in each space itself and in two dimensions (mean of "
        f"{results.facts['starts']} starts); dashed: with the classes permuted. Right: share of "
        "adjacent pairs on the grid that are of one class; greedy: cells filled row by row by the "
        "nearest image left. Bars with 95 % intervals."
    )
    alt = "Bars: neighbours of one class by space, and adjacent images of one class on the grid."
    return Figure("shares", caption, alt, functools.partial(_draw_shares, results))


def _draw_shares(results: Results) -> Any:
    drawn = figure(9.2, 4.2)
    left, right = drawn.subplots(1, 2, width_ratios=(1.9, 1))
    spaces = [name for name in SPACES if results.get(f"agreement_{name}") is not None]
    series = ((-0.19, "", "in the space", 4), (0.19, "_2d", "in two dimensions", 0))
    for shift, end, label, number in series:
        keys = {i + shift: f"agreement_{name}{end}" for i, name in enumerate(spaces)}
        _bars(left, results, keys, CATEGORICAL[number], 0.36, label)
    if (chance := results.get("agreement_chance")) is not None:
        look = {"color": "#555555", "linewidth": 1.4, "linestyle": "--"}
        left.axhline(chance.value, label="classes permuted", **look)
    left.set_xticks(range(len(spaces)), [BROKEN.get(name, SPACES[name]) for name in spaces])
    left.set_title("Neighbours of the same class", fontsize=POINTS + 1.5, fontweight="bold")
    grids = {"grid_same": "best", "grid_greedy": "greedy", "grid_permuted": "random"}
    keys = {i: key for i, key in enumerate(grids) if results.get(key) is not None}
    _bars(right, results, keys, CATEGORICAL[0], 0.6)
    right.set_xticks(list(keys), [grids[key] for key in keys.values()])
    right.set_title("Adjacent on the grid", fontsize=POINTS + 1.5, fontweight="bold")
    for axis in (left, right):
        axis.set_ylim(0, 1)
        tidy(axis, POINTS, "y")
        axis.set_axisbelow(True)
    left.set_ylabel("share", fontsize=POINTS)
    drawn.legend(
        *left.get_legend_handles_labels(),
        fontsize=POINTS, frameon=False, loc="lower center", ncols=3,
    )  # fmt: skip
    drawn.tight_layout(rect=(0, 0.07, 1, 1), w_pad=2)
    return drawn


def _bars(
    axis: Any, results: Results, keys: dict[Any, str], colour: str, width: float, label: str = ""
) -> None:
    values = [results[key].value for key in keys.values()]
    axis.bar(list(keys), values, width, color=colour, label=label or None)
    for x, key in keys.items():
        whisker(axis, x, results[key], color="#222222", markersize=0, linewidth=1.6)
