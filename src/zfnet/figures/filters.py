"""The filters of every layer as pictures, and their smoothness by layer and over the epochs."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from zfnet.data.signed import signed_to_rgb
from zfnet.figures.kit import trainings
from zfnet.figures.kit.dots import DotPanel, Dots, dot_chart, epoch_curves, points
from zfnet.figures.kit.grid import even_columns, image_grid, paste
from zfnet.figures.kit.show import Figure, Shown, all_columns
from zfnet.figures.kit.style import CATEGORICAL, FAINT, figure, heading, sheet, write
from zfnet.results import Results, Table
from zfnet.stats.estimate import in_words

CARD = "layer1"
WIDTH, APART, HEAD = 1584, 48, 92
LABEL, HEAD_ROW = 92, 46  # px for a filter's number, and above a layer
TEXT, TITLE = 10.5, 12
HEADINGS = {
    "smoothness_start": "first weights",
    "smoothness_gain": "gain",
    "rms": "RMS",
}
WORDS = {"dead": {True: "dead", False: ""}}


def figures(results: Results) -> list[Figure]:
    """Layer 1 in colour, the layers above as planes, smoothness by layer and epoch."""
    found = [_layer1(results)] if results.has("layer1_filters") else []
    if drawn := _drawn(results):
        found.append(_planes(results, drawn))
    rows = [r for r in results.tables["layers"].records() if r["smoothness"] is not None]
    if rows:
        found.append(_smoothness(results, rows))
    if results.tables["epochs"].rows:
        found.append(_epochs(results))
    return found


def tables(results: Results) -> dict[str, Shown]:
    """The layers, every filter, every epoch."""
    over = "trainings" if trainings.seeds_of(results) else "filters"
    captions = {
        "layers": "Total variation of shuffled taps over the filter's own, mean over the filters "
        f"that are not dead; in brackets 95 % intervals, over {over}. – : not defined.",
        "filters": "Every filter of the layers with space.",
        "epochs": "Mean smoothness after each epoch, 0 being the first weights.",
    }
    return {
        name: all_columns(
            results.tables[name], caption, HEADINGS, WORDS if name == "filters" else None
        )
        for name, caption in captions.items()
        if results.tables[name].rows
    }


# ---------------------------------------------------------------------------------------- pictures
def _layer1(results: Results) -> Figure:
    layer = results.facts["layers"]["1"]
    start = results.has("layer1_first")
    framed = (
        " Framed: no gradient reaches it." if np.asarray(results.array("layer1_dead")).any() else ""
    )
    beside = " Right: the weights that its training began with, on a scale of their own." * start
    return Figure(
        "layer1",
        f"The {layer['filters']} filters of layer 1 in colour: red, green and blue weights, grey "
        f"is 0, one scale for all, symmetric about 0.{beside}{framed}",
        f"Tiles of {layer['filters']} colour filters of {layer['kernel'][0]} px.",
        functools.partial(_draw_layer1, results),
    )


def _draw_layer1(results: Results) -> Image.Image:
    banks = [
        ("Layer 1", results.array("layer1_filters"), np.flatnonzero(results.array("layer1_dead")))
    ]
    if results.has("layer1_first"):
        banks.append(("Its first weights", results.array("layer1_first"), np.zeros(0, int)))
    side = (WIDTH - APART * (len(banks) - 1)) // len(banks)
    drawn = []
    for title, filters, framed in banks:
        scale = float(np.abs(filters).max())
        tiles = [signed_to_rgb(one, scale) for one in filters.transpose(0, 2, 3, 1)]
        columns = even_columns(len(tiles), 1.3)
        px = (side - 4 * (columns - 1)) // columns
        drawn.append(
            (
                title,
                scale,
                image_grid(tiles, columns, px, gap=4, sharp=True, framed=framed.tolist()),
            )
        )
    picture, _ = sheet(WIDTH, HEAD + max(grid.height for _, _, grid in drawn))
    for i, (title, scale, grid) in enumerate(drawn):
        panel, pen = sheet(side, HEAD + grid.height)
        heading(pen, title, f"scale −{scale:.2g} … {scale:.2g}", side)
        panel.paste(grid, (0, HEAD))
        picture.paste(panel, (i * (side + APART), 0))
    return picture


def _drawn(results: Results) -> list[str]:
    """Numbers of the layers whose planes are there."""
    return [n for n in results.facts["layers"] if results.has(f"layer{n}_planes")]


def _planes(results: Results, drawn: Sequence[str]) -> Figure:
    linear = [n for n in drawn if results.facts["layers"][n]["linear"]]
    told = (
        f" Layer {linear[0]} is fully connected: a plane is what a unit reads of one map below."
        if linear
        else ""
    )
    return Figure(
        "planes",
        "Filters of the layers above: a row a filter, a tile what it reads of one map below. The "
        "layer's strongest filters are drawn and of each its strongest planes, which are not "
        "typical. Grey is 0, one symmetric scale a layer: the strongest 1 % of the taps drawn "
        f"saturate.{told}",
        f"Rows of grey planes of the strongest filters of layers {in_words(list(drawn))}.",
        functools.partial(_draw_planes, results, drawn),
        folded=True,
    )


def _draw_planes(results: Results, drawn: Sequence[str]) -> Image.Image:
    blocks = [_block(results, number) for number in drawn]
    picture, draw = sheet(WIDTH, sum(HEAD_ROW + block.height + 20 for block in blocks))
    y = 0
    for number, block in zip(drawn, blocks, strict=True):
        layer = results.facts["layers"][number]
        shown = results.array(f"layer{number}_planes").shape
        kind = "units" if layer["linear"] else "filters"
        told = (
            f"{shown[0]} strongest of {layer['filters']} {kind}, "
            f"{shown[1]} strongest of {layer['planes']} planes of {shown[2]} x {shown[3]}"
        )
        write(draw, (0, y + HEAD_ROW // 2), f"Layer {number}", 28, bold=True)
        write(draw, (WIDTH, y + HEAD_ROW // 2), told, 24, anchor="rm", fill=FAINT)
        picture.paste(block, (0, y + HEAD_ROW))
        y += HEAD_ROW + block.height + 20
    return picture


def _block(results: Results, number: str) -> Image.Image:
    """A row a filter, its number before it."""
    planes = np.asarray(results.array(f"layer{number}_planes"))
    numbers = results.array(f"layer{number}_numbers")
    scale = float(np.quantile(np.abs(planes), 0.99)) or 1.0
    gap, columns = 6, planes.shape[1]
    px = min(88, (WIDTH - LABEL - gap * (columns - 1)) // columns)
    picture, draw = sheet(WIDTH, len(planes) * (px + gap) - gap)
    for row, filters in enumerate(planes):
        y = row * (px + gap)
        write(draw, (LABEL - 14, y + px // 2), str(numbers[row]), 22, anchor="rm", fill=FAINT)
        for column, plane in enumerate(filters):
            tile = signed_to_rgb(np.repeat(plane[..., None], 3, axis=-1), scale)
            paste(picture, tile, (LABEL + column * (px + gap), y), px, sharp=True)
    return picture


# ------------------------------------------------------------------------------------------ charts
def _smoothness(results: Results, rows: Sequence[Mapping[str, Any]]) -> Figure:
    over = "trainings" if trainings.seeds_of(results) else "filters"
    told = "; ".join(f"layer {row['layer']} {row['smoothness']:.3g}" for row in rows)
    return Figure(
        "smoothness",
        "Total variation of the taps in random order over that of the filter's own, mean over the "
        f"filters that are not dead. 1 is noise. Bars: 95 % intervals, over {over}.",
        f"Dots by layer. Smoothness of the last weights: {told}.",
        functools.partial(_draw_smoothness, rows),
    )


def _draw_smoothness(rows: Sequence[Mapping[str, Any]]) -> Any:
    dots = [
        Dots("last weights", "o", CATEGORICAL[0], points(rows, "smoothness"), -0.12),
        Dots("first weights", "o", CATEGORICAL[5], points(rows, "smoothness_start"), 0.12, True),
    ]
    names = [f"layer {row['layer']}, {row['kernel'].replace('x', ' x ')}" for row in rows]
    panel = DotPanel("", names, dots, [""] * len(rows))
    drawn = dot_chart([panel], "smoothness: shuffled taps over own", level=(1.0, "noise"))
    shown = [value for each in dots for point in each.points for value in point[1:] if value]
    low, high = min([*shown, 1.0]), max([*shown, 1.0])
    room = 0.06 * (high - low) or 0.05
    drawn.axes[0].set_xlim(low - room, high + room)  # 0 is far from any filter
    return drawn


def _epochs(results: Results) -> Figure:
    seeds = trainings.seeds_of(results)
    of = f" of the training with seed {seeds[0]}" if seeds else ""
    return Figure(
        "epochs",
        f"Mean smoothness after each epoch{of}, 0 being the first weights; filters that are dead "
        "at the end are left out. Dashed: noise.",
        "Curves of smoothness over the epochs, one a layer.",
        functools.partial(_draw_epochs, results.tables["epochs"]),
    )


def _draw_epochs(table: Table) -> Any:
    drawn = figure(7.2, 3.9)
    axis = drawn.subplots()
    epoch_curves(axis, table, "smoothness", "Smoothness of the filters")
    axis.axhline(1, color="#777777", linewidth=1.1, linestyle="--", zorder=1)
    axis.set_ylabel("shuffled taps over own", fontsize=TEXT)
    axis.legend(frameon=False, fontsize=TEXT - 0.5, loc="center left", bbox_to_anchor=(1, 0.5))
    drawn.tight_layout()
    return drawn
