"""Fig. 4: pictures that change from epoch to epoch, and curves of them by layer."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from zfnet.data.signed import ZERO
from zfnet.figures.kit.grid import paste
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import (
    CATEGORICAL,
    FAINT,
    HEAD,
    MARK,
    figure,
    fitting,
    heading,
    sheet,
    text_width,
    tidy,
    write,
)
from zfnet.results import Results
from zfnet.stats.estimate import in_words

CARD = "evolution"
JUMP, SIMILAR = ImageColor.getrgb(MARK), ImageColor.getrgb(CATEGORICAL[2])
WIDTH, COLUMNS, APART = 1800, 2, 48  # of the sheet, its columns of blocks, px between them
LETTERS, GAP, UNDER, BLOCK_HEAD, BETWEEN = 24, 12, 16, 76, 24
MAX_TILE, SHARP_PX = 120, 15  # the pixels of smaller pictures stay square
MARKERS = "osD^vPX*"
BASES = {"start": "each map's start", "floor": "the layer's floor", "zero": "0"}


def figures(results: Results) -> list[Figure]:
    """The paper's sheet, and curves of the similarity; nothing for a net without snapshots."""
    facts = results.facts
    if not facts["measured"]:
        return []
    layers, columns = in_words(list(facts["layers"])), in_words([str(e) for e in facts["columns"]])
    rule = f"{facts['threshold']:g} of the way from its similarity before training to 1"
    return [
        Figure(
            "evolution",
            f"Fig. 4: a seeded random subset of the maps of each layer (rows) after epochs "
            f"{columns} (columns). Each tile is the map's strongest activation over "
            f"{results['images'].value:,.0f} images of the {facts['split']} split, projected to "
            "the pixels by the deconvnet of that epoch and cut to its receptive field, on its own "
            "symmetric scale (grey = 0, the strongest 2 % of the pixels saturate). Red bar: the "
            "strongest image differs from that of the column before. Green line: from this column "
            "on the last epoch's image gives a projection that stays similar to the last epoch's "
            f"({rule}); a map that has not left its start has none. Plain grey: no image excites "
            "the map.",
            f"Rows of maps of layers {layers}; columns are epochs {columns}; each tile is the "
            "projection of the map's strongest activation.",
            functools.partial(_sheet, results),
            format="webp",
        ),
        Figure(
            "settling",
            "Means over the live maps of each layer, by epoch; epoch 0 is before training, as if "
            "every map were active there. Left: "
            "cosine of the projection to that of the last epoch, of the last epoch's strongest "
            "image (top) and of each epoch's own (bottom, small shifts allowed). A map whose own "
            "cosine is above the dashed line at epoch 0 has not left its start. Top right: of the "
            "maps that "
            f"left it, the share that has settled ({rule}). Bottom right: share of maps whose "
            "strongest image differs from that of the epoch measured before.",
            "Four panels of curves over the epochs, one curve a layer: similarity to the last "
            "epoch by two measures, share of settled maps, share of maps whose strongest image "
            "changed.",
            functools.partial(_curves, results),
        ),
    ]


def tables(results: Results) -> dict[str, Shown]:
    """The study's tables as people see them."""
    if not results.facts["measured"]:
        return {}
    sides = {side: in_words([str(n) for n in results.facts[side]]) for side in ("lower", "upper")}
    return {
        "layers": Shown(
            [Column("layer", "layer"), Column("module", "module"), Column("maps", "maps"),
             Column("measured", "measured"), Column("dead_maps", "dead at the end"),
             Column("field_px", "field, px"),
             Column("start", "similarity at the start", interval=True),
             Column("left_start", "share that left it", interval=True),
             Column("settled", "settled from epoch (median)", interval=True),
             Column("settled_share", "share of the run", interval=True),
             Column("unsettled", "share not settled before the end", interval=True),
             Column("image_changes", "image changes a step", interval=True),
             Column("floor", "floor: cosine of two maps", interval=True)],
            "When the projections of each layer's maps settle, of "
            f"{results['run_epochs'].value:g} epochs: of the maps that left their start.",
        ),
        "sensitivity": Shown(
            [Column("threshold", "share of the way to 1"),
             Column("counted_from", "counted from", words=BASES),
             Column("lower", f"layers {sides['lower']}: mean epoch"),
             Column("upper", f"layers {sides['upper']}: mean epoch"),
             Column("difference", "difference, epochs", interval=True)],
            "Lower against upper layers by the chosen rule (first row) and by others, with 95 % "
            "intervals over maps, and over trainings where there are several.",
        ),
        "steps": Shown(
            [Column("layer", "layer"), Column("epoch", "epoch"),
             Column("fixed", "similarity, last epoch's image"),
             Column("settled", "share settled, of maps that left their start"),
             Column("own", "similarity, own image"), Column("changed", "strongest image changed")],
            "Means over each layer's live maps at every measured epoch; 0 is before training.",
        ),
        "maps": Shown(
            [Column("layer", "layer"), Column("map", "map"),
             Column("start", "similarity at the start"),
             Column("settled", "settled from epoch"),
             Column("before_end", "settled before the end")],
            "Every measured map. Those without an epoch have not left their start; those without "
            "a similarity are dead at the last epoch.",
        ),
    }  # fmt: skip


# --------------------------------------------------------------------------------------- the sheet
@dataclass(frozen=True)
class Track:
    """One map through the epochs: a picture (h, w, 3) uint8 for each column.

    `jumps`: whether its image is another than in the column before; `similar`: whether the map
    stays similar to its last picture from there on. Both one bool a column.
    """

    name: str
    tiles: Sequence[np.ndarray]
    jumps: Sequence[bool]
    similar: Sequence[bool]


def _sheet(results: Results) -> Image.Image:
    facts, px = results.facts, results.facts["input_px"]
    blocks = {}
    for number, layer in facts["layers"].items():
        size = f"{layer['field'][0]} px" if max(layer["field"]) < px else "whole image"
        blocks[f"Layer {number} ({size})"] = tracks_of(results, number)
    return evolution_sheet(blocks, facts["columns"])


def tracks_of(results: Results, number: str) -> list[Track]:
    """The tracks of the maps that the figure shows of a layer."""
    facts = results.facts
    at = [facts["epochs"].index(epoch) for epoch in facts["columns"]]
    settled = {
        record["map"]: record["settled"]
        for record in results.tables["maps"].records()
        if str(record["layer"]) == number and record["before_end"]
    }
    maps, pictured, values, rows, pictures = (
        results.array(f"layer{number}_{name}")
        for name in ("maps", "pictured", "values", "images", "projections")
    )
    tracks = []
    for shown in facts["layers"][number]["shown"]:
        member = maps.tolist().index(shown)
        live, row = values[member, at] > 0, rows[member, at]
        jumps = [False, *(live[1:] & live[:-1] & (row[1:] != row[:-1])).tolist()]
        similar = [epoch >= settled.get(shown, math.inf) for epoch in facts["columns"]]
        tiles = list(pictures[pictured.tolist().index(shown)][at])
        tracks.append(Track(str(shown), tiles, jumps, similar))
    return tracks


def evolution_sheet(blocks: Mapping[str, Sequence[Track]], epochs: Sequence[int]) -> Image.Image:
    """The paper's Fig. 4: a block a layer, a row a map, a column an epoch; and what marks mean."""
    names = ["epoch", *(track.name for tracks in blocks.values() for track in tracks)]
    label = 8 + max(text_width(name, LETTERS) for name in names)
    span = (WIDTH - (COLUMNS - 1) * APART) // COLUMNS
    tile = max(8, min(MAX_TILE, (span - label) // len(epochs) - GAP))
    used = label + len(epochs) * (tile + GAP)
    height = BLOCK_HEAD + max(len(tracks) for tracks in blocks.values()) * (tile + UNDER)
    lines = math.ceil((len(blocks) + 1) / COLUMNS)  # and the key, as if it were a block
    total = COLUMNS * used + (COLUMNS - 1) * APART
    picture, draw = sheet(total, HEAD + lines * height + (lines - 1) * BETWEEN)
    subtitle = "Each row: one map's strongest activation after each epoch, projected"
    heading(draw, "Evolution of features", subtitle, total)
    corners = [
        (place % COLUMNS * (used + APART), HEAD + place // COLUMNS * (height + BETWEEN))
        for place in range(len(blocks) + 1)
    ]
    for (title, tracks), (left, top) in zip(blocks.items(), corners[:-1], strict=True):
        write(draw, (left, top + 16), title, LETTERS + 4, bold=True)
        write(draw, (left, top + 54), "epoch", LETTERS, fill=FAINT)
        starts = [left + label + GAP + i * (tile + GAP) for i in range(len(epochs))]
        for x, epoch in zip(starts, epochs, strict=True):
            write(draw, (x + tile // 2, top + 54), str(epoch), LETTERS, anchor="mm", fill=FAINT)
        for row, track in enumerate(tracks):
            y = top + BLOCK_HEAD + row * (tile + UNDER)
            write(draw, (left, y + tile // 2), track.name, LETTERS)
            for i, x in enumerate(starts):
                small = max(track.tiles[i].shape[:2]) <= SHARP_PX
                paste(picture, track.tiles[i], (x, y), tile, small)
                if track.jumps[i]:
                    draw.rectangle((x - GAP + 2, y, x - 4, y + tile - 1), fill=JUMP)
                if track.similar[i]:
                    end = x + tile - 1 + (GAP if i + 1 < len(starts) else 0)
                    draw.rectangle((x, y + tile + 3, end, y + tile + 9), fill=SIMILAR)
    _draw_key(draw, corners[-1], used)
    return picture


def _draw_key(draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int) -> None:
    """What the marks mean, each drawn as in the blocks: a bar, a line, a square."""
    left, top = corner
    entries = (
        ("another image has become the strongest", JUMP, (20, -24, 26, 24)),
        ("from here on similar to the last epoch", SIMILAR, (0, -3, 48, 3)),
        ("no image excites the map", (ZERO,) * 3, (0, -24, 48, 24)),
    )
    size = fitting([text for text, *_ in entries], LETTERS, width - 72)
    for line, (text, colour, (x0, y0, x1, y1)) in enumerate(entries):
        y = top + BLOCK_HEAD + 28 + line * 64
        draw.rectangle((left + x0, y + y0, left + x1, y + y1), fill=colour)
        write(draw, (left + 68, y), text, size)


# -------------------------------------------------------------------------------------- the curves
def _curves(results: Results) -> Any:
    """Four panels over the same epochs, a curve a layer, one legend for all."""
    cosine = "cosine to the last epoch"
    panels = (
        ("fixed", "Similarity, last epoch's image", cosine, 1),
        ("settled", "Settled", "% of maps that left their start", 100),
        ("own", "Similarity, each epoch's own image", cosine, 1),
        ("changed", "Strongest image changed", "% of live maps", 100),
    )
    facts, steps = results.facts, results.tables["steps"].records()
    drawn = figure(9.6, 7.15)
    axes = drawn.subplots(2, 2).flat
    for axis, (key, title, unit, scale) in zip(axes, panels, strict=True):
        for rank, number in enumerate(facts["layers"]):
            own = [step for step in steps if str(step["layer"]) == number]
            y = [math.nan if step[key] is None else scale * step[key] for step in own]
            axis.plot(
                [step["epoch"] for step in own], y, label=f"layer {number}", markersize=5,
                color=CATEGORICAL[rank % 6], marker=MARKERS[rank % len(MARKERS)], linewidth=1.6,
                clip_on=False,
            )  # fmt: skip
        if key == "fixed":
            axis.axhline(facts["threshold"], color="#555555", linestyle="--", linewidth=1.1)
            axis.annotate(
                "threshold", (0.99, facts["threshold"]), xycoords=("axes fraction", "data"),
                xytext=(0, -3), textcoords="offset points", ha="right", va="top", fontsize=10,
            )  # fmt: skip
        lowest = min([0.0, *(v for line in axis.lines for v in line.get_ydata() if v == v)])
        axis.set_title(title, fontsize=12, loc="left")
        axis.set_xlabel("epoch", fontsize=11, labelpad=2)
        axis.set_ylabel(unit, fontsize=11)
        axis.set(xlim=(0, facts["epochs"][-1] * 1.02), ylim=(lowest, scale * 1.02))
        axis.xaxis.get_major_locator().set_params(integer=True)
        tidy(axis, 10, "both")
    drawn.legend(
        *axis.get_legend_handles_labels(), loc="upper left", ncols=len(facts["layers"]),
        frameon=False, fontsize=11, columnspacing=1.4, handlelength=1.8,
    )  # fmt: skip
    drawn.tight_layout(rect=(0, 0, 1, 0.95), h_pad=1.5, w_pad=2)
    return drawn
