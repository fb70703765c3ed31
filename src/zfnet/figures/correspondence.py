"""Fig. 8: faces with their parts hidden; Table 1, with the paper's, as a table and as a chart."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from zfnet import paper
from zfnet.figures.kit import trainings
from zfnet.figures.kit.dots import FAINT_HEX
from zfnet.figures.kit.grid import resize
from zfnet.figures.kit.show import NOTHING, Figure, Shown, all_columns
from zfnet.figures.kit.style import (
    CATEGORICAL,
    MARK,
    figure,
    fitting,
    sheet,
    tidy,
    whisker,
    write,
)
from zfnet.results import Results, Table
from zfnet.stats.estimate import Estimate, in_words

CARD = "correspondence_faces"
GREY = 128  # raw value of the squares
WIDTH = 1200  # px of the sheet of faces, at most
WORDS: dict[str, dict[Any, str]] = {
    "choice": {
        "measured": "as measured",
        "size": "side of the squares, px",
        "zeros": "features that do not change",
        "places": "random places",
        "tap": "layer read at",
    },
    "setting": {
        "both": "left out: only features that change in both faces count",
        "chance": "relative to unrelated changes with as many signs of each kind (1: unrelated)",
        "shared": "shared by the faces of a group",
        "face": "shared, relative to the middle of the parts",
        "box": "within the object's box",
        None: NOTHING,
    },
    "excluded": {
        "": NOTHING,
        "training": "in the training set",
        "outside": "a part lies outside the net's view",
        "small": "the face is too small: one square would hide two parts",
        "few": "fewer than five faces of its class",
        "left_over": "left over when groups were full",
    },
    "trained": {True: "yes", False: "no", None: "not known"},
}
HEADINGS = {
    "delta": "Δ, 95 % interval",
    "spread": "± over pairs",
    "minus_random": "Δ − random, 95 % interval",
    "unchanged": "features unchanged",
    "paper": "the paper's Δ ±",
    "setting": "changed to",
    "gap": "parts − random, 95 % interval",
    "excluded": "left out because",
    "trained": "in the training set",
}


def figures(results: Results) -> list[Figure]:
    """The first group's faces and the chart; none where nothing was measured."""
    facts = results.facts
    if not facts["measured"]:
        return []
    parts, count = in_words([words(part) for part in facts["parts"]]), len(facts["drawn"])
    pooled = "Pairs overlap; images were resampled. " if facts["pooled"] else ""
    means = "; ".join(
        f"layer {layer}: parts {results[f'layer{layer}_parts'].value:.3f}, random places "
        f"{results[f'layer{layer}_random'].value:.3f}"
        for layer in facts["layers"]
    )
    return [
        Figure(
            "correspondence_faces",
            f"{count} faces as the net sees them ({facts['input_px']} px), with {parts} hidden by "
            f"a square of {facts['size_px']} px (grey, raw value {GREY}), and two of the "
            f"{facts['draws']} random places; the red outline is drawn for the reader only. "
            f"Images: {', '.join(facts['drawn'])}.",
            f"Grid of {count} faces. Columns: the original, then {parts} covered by a square, then "
            "two random places covered.",
            functools.partial(_faces, results),
        ),
        Figure(
            "correspondence_delta",
            "Δ by what is hidden (dots: mean with its 95 % interval) and Table 1 of the paper "
            "(crosses: its mean ±). Lower: hiding it changes the features of all faces more alike. "
            f"{pooled}Compare the order of the rows, not the levels.",
            f"Mean sign change by hidden part: {means}.",
            functools.partial(_chart, results),
        ),
    ]


def tables(results: Results) -> dict[str, Shown]:
    """Table 1 with the paper's, the other choices and every face, as far as they were measured."""
    test = " p: one-sided permutation test of Δ being lower."
    shuffled = " Where the faces share their random places, p shuffles them all the same."
    if several := trainings.seeds_of(results):  # of several tests there is no mean
        test = shuffled = ""
    captions = {
        "table1": "Δ: share of features whose change has another sign in another face (lower: more "
        "alike). ± over pairs: standard deviation over a group's pairs, mean over groups; the "
        f"paper does not say what its ± spans.{test}",
        "sensitivity": "One choice changed at a time, the same faces throughout. Below 0: hiding a "
        "part changes the features of all faces more alike than hiding random places does."
        f"{shuffled}",
        "images": "Every face with known parts, and the group that it was compared in.",
    }
    measured = dict(results.tables)
    if "table1" in measured:
        measured["table1"] = _with_paper(results)
    return {
        name: all_columns(measured[name], caption, HEADINGS, WORDS, ("p",) if several else ())
        for name, caption in captions.items()
        if name in measured
    }


def _with_paper(results: Results) -> Table:
    printed = paper.tables(results.root)["table1"]
    records = []
    for record in results.tables["table1"].records():
        cell = printed.get(record["hidden"], f"layer{record['layer']}")
        named = words(record["hidden"]) if record["hidden"] != "parts" else "mean over the parts"
        records.append({**record, "hidden": named, "paper": str(cell) if cell else NOTHING})
    return Table.of(records)


def words(name: str) -> str:
    """A part's name in words."""
    return name.replace("_", " ")


# ------------------------------------------------------------------------------------------ faces
def _faces(results: Results) -> Image.Image:
    """Rows of faces under headings: the original, then each hidden place, its square outlined."""
    faces, corners = results.array("faces"), results.array("faces_corners")
    side, heads = results.facts["size_px"], [words(part) for part in results.facts["parts"]]
    heads = ["original", *heads, *["random"] * (corners.shape[1] - len(heads))]
    columns, gap, split, head = len(heads), 6, 16, 44
    tile = min(220, (WIDTH - split - (columns - 1) * gap) // columns)
    total = columns * tile + (columns - 1) * gap + split
    picture, draw = sheet(total, head + len(faces) * tile + (len(faces) - 1) * gap)
    letters, scale = fitting(heads, 26, tile, bold=True), tile / faces.shape[1]
    lefts = [column * (tile + gap) + (split if column else 0) for column in range(columns)]
    for x, text in zip(lefts, heads, strict=True):
        write(draw, (x + tile / 2, head / 2), text, letters, bold=True, anchor="mm")
    for row, (face, own) in enumerate(zip(faces, corners.tolist(), strict=True)):
        y = head + row * (tile + gap)
        picture.paste(resize(face, tile), (lefts[0], y))
        for x, (top, left) in zip(lefts[1:], own, strict=True):
            image = np.array(face)
            image[top : top + side, left : left + side] = GREY
            picture.paste(resize(image, tile), (x, y))
            box = (x + left * scale, y + top * scale,
                   x + (left + side) * scale - 1, y + (top + side) * scale - 1)  # fmt: skip
            draw.rectangle(box, outline=ImageColor.getrgb(MARK), width=2)
    return picture


# ------------------------------------------------------------------------------------------ chart
def _chart(results: Results) -> Any:
    """Δ by what is hidden, one panel a layer with a scale of its own, as one matplotlib figure."""
    from matplotlib.lines import Line2D

    printed, names = paper.tables(results.root)["table1"], [*results.facts["parts"], "random"]
    layers = results.facts["layers"]
    drawn = figure(8.0, 3.5)
    axes = drawn.subplots(1, len(layers), squeeze=False)[0]
    for axis, layer in zip(axes, layers, strict=True):
        for place, name in enumerate(names):
            colour = FAINT_HEX if name == "random" else CATEGORICAL[0]
            whisker(axis, place - 0.13, results[f"layer{layer}_{name}"], color=colour)
            theirs = printed.get(name, f"layer{layer}")
            if theirs is not None:
                ends = theirs.value - (theirs.spread or 0), theirs.value + (theirs.spread or 0)
                mark: dict[str, Any] = {
                    "fmt": "x",
                    "color": CATEGORICAL[1],
                    "capsize": 3,
                    "linewidth": 1.3,
                }
                whisker(axis, place + 0.17, Estimate(theirs.value, *ends), **mark)
        axis.set_title(f"layer {layer}", fontsize=13)
        axis.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
        axis.set_xlim(-0.5, len(names) - 0.5)
        axis.set_ylim(bottom=0)
        tidy(axis, 11, "y")
    axes[0].set_ylabel("Δ, share of features\nthat change otherwise", fontsize=11.5)
    look: dict[str, Any] = {"linestyle": "none", "markersize": 8}
    entries = [
        Line2D([], [], marker="o", color=CATEGORICAL[0], label="part hidden", **look),
        Line2D([], [], marker="o", color=FAINT_HEX, label="random place hidden", **look),
        Line2D([], [], marker="x", color=CATEGORICAL[1], label="the paper's Table 1", **look),
    ]
    drawn.legend(handles=entries, loc="lower center", ncols=3, frameon=False, fontsize=11)
    drawn.tight_layout(rect=(0, 0.09, 1, 1))
    return drawn
