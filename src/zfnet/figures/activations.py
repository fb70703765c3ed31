"""Every layer's maps of a few pictures; how sparse and local they are, by layer and over epochs."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from zfnet.figures.kit import trainings
from zfnet.figures.kit.dots import DotPanel, Dots, dot_chart, epoch_curves, points
from zfnet.figures.kit.grid import image_grid, paste
from zfnet.figures.kit.maps import shorten
from zfnet.figures.kit.show import Figure, Shown, all_columns
from zfnet.figures.kit.style import CATEGORICAL, FAINT, INK, figure, sheet, write
from zfnet.results import Results, Table

CARD = "activations_1"
WIDTH, COLUMNS, TILE_GAP, LETTERS, HEAD_ROW = 1584, 12, 8, 22, 46
PICTURE = 260  # px of the picture itself
TEXT, TITLE = 10.5, 12
SHARES = {"zeros": "Share of zeros", "locality": "Locality"}
HEADINGS = {
    "places": "places a map",
    "zeros_start": "zeros, first weights",
    "zeros_change": "zeros, change",
    "locality_start": "locality, first weights",
    "locality_change": "locality, change",
    "dead_by_weights": "dead by weights, at least",
    "always_on": "always on",
}


def figures(results: Results) -> list[Figure]:
    """A sheet a picture, shares by layer, curves over the epochs where there are any."""
    found = [_sheet(results, i) for i in range(len(results.facts["drawn"]))]
    if results.tables["layers"].rows:
        found.append(_layers(results))
    if results.tables["epochs"].rows:
        found.append(_epochs(results))
    return found


def tables(results: Results) -> dict[str, Shown]:
    """The layers' numbers, and those after each epoch."""
    over = "trainings" if trainings.seeds_of(results) else "images"
    layers = (
        "Share of activations that are 0, locality of active maps, and maps that no image "
        "activates, that no picture can, and that are never 0 anywhere"
        f"{', means over trainings' * (over == 'trainings')}. In brackets 95 % intervals, over "
        f"{over}. – : not defined or not known."
    )
    epochs = "Shares after each epoch, 0 being the first weights; silent: on these images."
    shown = {"layers": all_columns(results.tables["layers"], layers, HEADINGS)}
    if results.tables["epochs"].rows:
        shown["epochs"] = all_columns(results.tables["epochs"], epochs, {})
    return shown


# ------------------------------------------------------------------------------ one picture's maps
def _sheet(results: Results, i: int) -> Figure:
    one = results.facts["drawn"][i]
    active = "; ".join(f"layer {n} {count}" for n, count in one["active"].items())
    caption = (
        f"What each layer's maps do with a picture of class {one['class']}, behind the rectifier. "
        "Black is 0, white the layer's largest activation in any of the pictures drawn: one scale "
        "for all maps of a layer, brightness by the square root. Maps are sorted by their largest "
        "activation; below each its number and that activation. Squares are the maps' own places. "
        "Of layers without space every unit is a square, in their order."
    )
    alt = f"Sheets of activation maps of a picture of class {one['class']}. Active maps: {active}."
    draw = functools.partial(_draw_sheet, results, i)
    return Figure(f"activations_{i + 1}", caption, alt, draw)


def _draw_sheet(results: Results, i: int) -> Image.Image:
    one = results.facts["drawn"][i]
    blocks = [(number, _block(results, i, number)) for number in one["active"]]
    height = PICTURE + 24 + sum(HEAD_ROW + block.height + 16 for _, block in blocks)
    picture, draw = sheet(WIDTH, height)
    paste(picture, np.asarray(results.array("pictures")[i]), (0, 0), PICTURE)
    px, x = results.facts["input_px"], PICTURE + 30
    says = f"the net says {one['says']}, p = {one['p']:.2f}"
    write(draw, (x, 40), f"Class {shorten(one['class'], 40)}", 34, bold=True)
    write(draw, (x, 90), says, 26)
    write(draw, (x, 134), f"net input of {px} px, {results.facts['split']} image", 26, fill=FAINT)
    y = PICTURE + 24
    for number, block in blocks:
        bold, faint = _heading(results, i, number)
        write(draw, (0, y + HEAD_ROW // 2), bold, 28, bold=True)
        write(draw, (WIDTH, y + HEAD_ROW // 2), faint, 24, anchor="rm", fill=FAINT)
        picture.paste(block, (0, y + HEAD_ROW))
        y += HEAD_ROW + block.height + 16
    return picture


def _heading(results: Results, i: int, number: str) -> tuple[str, str]:
    """Left: the layer. Right: its size, how many are active, how many left out, the scale."""
    one = results.facts["drawn"][i]
    name, active, scale = f"layer{number}", one["active"][number], one["scales"][number]
    if not results.has(f"{name}_maps"):
        units = results.arrays[f"{name}_units"]["shape"][1]
        return f"Layer {number}", f"{units} units, {active} active; white = {scale:.3g}"
    total = int(results.tables["layers"].column("maps")[_row(results, number)])
    shown = results.arrays[f"{name}_maps"]["shape"][1]
    height, width = results.facts["layers"][number]["places"]
    left_out = f", {total - shown} weakest left out" if total > shown else ""
    told = f"{total} maps of {height} x {width}, {active} active{left_out}; white = {scale:.3g}"
    return f"Layer {number}", told


def _row(results: Results, number: str) -> int:
    return results.tables["layers"].column("layer").index(int(number))


def _block(results: Results, i: int, number: str) -> Image.Image:
    if results.has(f"layer{number}_units"):
        return _units(np.asarray(results.array(f"layer{number}_units")[i]))
    maps = results.array(f"layer{number}_maps")[i]
    numbers, highest = (results.array(f"layer{number}_{k}")[i] for k in ("numbers", "highest"))
    px = (WIDTH - (COLUMNS - 1) * TILE_GAP) // COLUMNS
    step = px + LETTERS + 14
    picture, draw = sheet(WIDTH, math.ceil(len(maps) / COLUMNS) * step - 4)
    for place, one in enumerate(maps):
        row, column = divmod(place, COLUMNS)
        x, y = column * (px + TILE_GAP), row * step
        paste(picture, _grey(one), (x, y), px, sharp=True)
        middle = y + px + 4 + LETTERS // 2
        write(draw, (x, middle), str(numbers[place]), LETTERS - 2, fill=FAINT)
        value = f"{highest[place]:.3g}"
        write(draw, (x + px, middle), value, LETTERS - 2, anchor="rm", fill=INK)
    return picture


def _units(values: np.ndarray) -> Image.Image:
    """Every unit (U,) as a square, row by row, about four times as wide as high."""
    columns = max(1, min(len(values), 8 * round(math.sqrt(4 * len(values)) / 8) or len(values)))
    px = max(4, min(40, WIDTH // columns - 1))
    tiles = [_grey(value.reshape(1, 1)) for value in values]
    return image_grid(tiles, columns, px, gap=1, sharp=True, ground=FAINT)


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values)[..., None], 3, axis=-1)


# ------------------------------------------------------------------------------------ all pictures
def _layers(results: Results) -> Figure:
    records = results.tables["layers"].records()
    told = "; ".join(
        f"layer {row['layer']} {row['zeros_start']:.2f} to {row['zeros']:.2f}"
        for row in records
        if row["zeros"] is not None and row["zeros_start"] is not None
    )
    over = "trainings" if trainings.seeds_of(results) else "images"
    return Figure(
        "layers",
        "Top: share of activations that are exactly 0, mean over images. Bottom: locality of the "
        "maps that an image activates: 0 where all places are equally active, 1 where one place "
        f"alone is. The same images with the first and the last weights. Bars: 95 %, over {over}.",
        f"Two dot charts by layer. Share of zeros, first weights to last: {told}.",
        functools.partial(_draw_layers, records),
    )


def _draw_layers(records: Sequence[Mapping[str, Any]]) -> Any:
    panels = []
    for key, title in SHARES.items():
        rows = [row for row in records if row[key] is not None]
        if not rows:
            continue
        dots = [
            Dots("last weights", "o", CATEGORICAL[0], points(rows, key), -0.1),
            Dots("first weights", "o", CATEGORICAL[5], points(rows, f"{key}_start"), 0.1, True),
        ]
        names = [f"layer {row['layer']}" for row in rows]
        panels.append(DotPanel(title, names, dots, [""] * len(rows)))
    return dot_chart(panels, "share, or locality", row_inches=0.33)


def _epochs(results: Results) -> Figure:
    seeds = trainings.seeds_of(results)
    of = f" of the training with seed {seeds[0]}" if seeds else ""
    return Figure(
        "epochs",
        f"Zeros and locality after each epoch{of}, 0 being the first weights; the same training "
        "images at every epoch. Layers without space have no locality.",
        "Curves over the epochs, one a layer: share of zeros, and locality.",
        functools.partial(_draw_epochs, results.tables["epochs"]),
    )


def _draw_epochs(table: Table) -> Any:
    drawn = figure(8.6, 3.9)
    axes = drawn.subplots(1, 2, sharex=True)
    for axis, (key, title) in zip(axes, SHARES.items(), strict=True):
        epoch_curves(axis, table, key, title)
        axis.set_ylim(0, 1)
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(
        handles, labels, loc="lower center", ncols=len(labels), frameon=False, fontsize=TEXT - 1,
        handlelength=1.4, columnspacing=1.1,
    )  # fmt: skip
    drawn.tight_layout(rect=(0, 0.08, 1, 1), w_pad=2)
    return drawn
