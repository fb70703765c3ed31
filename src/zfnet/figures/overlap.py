"""Near-duplicates: how similar each target image's nearest source image is, and the pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageColor

from zfnet import paper
from zfnet.data.store import Prepared
from zfnet.figures.kit.grid import resize
from zfnet.figures.kit.maps import shorten
from zfnet.figures.kit.show import Figure, Shown, all_columns
from zfnet.figures.kit.style import CATEGORICAL, FAINT, MARK, figure, sheet, tidy, write
from zfnet.pipeline.registry import TARGETS
from zfnet.results import Results, Table

CARD = "overlap_pairs"
BINS = 60
COLUMNS, WIDTH, GAP, APART = 4, 1200, 4, 24  # pairs in a row, and px of the sheet
TITLE, HEAD, FOOT = 44, 28, 30  # px above and below pairs
PAPER = ("shared", "images", "most_in_a_class")
HEADINGS = {
    "shared": "shared with the source",
    "percent": "%",
    "class_most": "that class",
    "flipped": "mirrored",
    "flipped_pairs": "mirrored pairs",
    "paper_shared": "paper: shared",
    "paper_images": "paper: of images",
    "paper_most_in_a_class": "paper: most in a class",
    "repeated": "images that come again",
    "val_in_train": "validation images also in training",
    "strongest": "strongest correlation",
}
UNSHOWN = ("split", "row", "source_split", "source_row")
WORDS = {"flipped": {True: "yes", False: "no"}}


def figures(results: Results) -> list[Figure]:
    """The most similar pairs, and histograms of each target image's strongest correlation."""
    shared = results.tables["shared"].records()
    if not shared:
        return []
    threshold = results.facts["threshold"]
    counts = "; ".join(
        f"{TARGETS.get(row['target'], row['target'])}: {row['shared']:,} of {row['images']:,} at "
        f"{threshold:g} or above, strongest {row['strongest']:.3f}"
        for row in shared
    )
    return [
        Figure(
            "overlap_pairs",
            "The most similar pairs of each target: the target's image on the left, the source's "
            f"on the right, as stored. Red frame: a correlation of {threshold:g} or above, counted "
            "as the same picture.",
            f"Pairs of images side by side with their correlation. {counts}.",
            lambda: pairs_sheet(results),
            format="webp",
        ),
        Figure(
            "overlap_nearest",
            "How similar each target image's nearest source image is. Dashed: the threshold.",
            f"Histograms of the strongest correlation of each target image. {counts}.",
            lambda: nearest_histograms(results),
        ),
    ]


def tables(results: Results) -> dict[str, Shown]:
    """The counts with the paper's, other thresholds, the strongest pairs, repeats in each set."""
    facts = results.facts
    at = f"at a correlation of {facts['threshold']:g} or above"
    cut = f", the {facts['listed']:,} strongest of {facts['pairs']:,}"
    shown = {
        "shared": (
            f"Target images with a source image {at}. The paper's counts are for the same target "
            "and all of ImageNet; it states no threshold, and its numbers of images include the "
            "background class."
        ),
        "sensitivity": "The same counts at other thresholds.",
        "pairs": f"Pairs {at}{cut * (facts['pairs'] > facts['listed'])}.",
        "repeats": (
            f"Repeats inside each set {at}. Sets of more than {facts['repeats_limit']:,} images "
            "are not searched."
        ),
    }
    measured = {**results.tables, "shared": _with_paper(results)}
    return {
        name: all_columns(measured[name], caption, HEADINGS, WORDS, UNSHOWN)
        for name, caption in shown.items()
    }


def _with_paper(results: Results) -> Table:
    """The counts, each with the paper's for the same target or with nothing."""
    reported = paper.facts(results.root)["overlap"]
    measured = results.tables["shared"]
    rows = [
        [*row, *(reported.get(str(row[0]), {}).get(key) for key in PAPER)] for row in measured.rows
    ]
    return Table([*measured.columns, *(f"paper_{key}" for key in PAPER)], rows)


def nearest_histograms(results: Results) -> Any:
    """A panel a target: how many images have their nearest at which correlation, on a log axis."""
    threshold = results.facts["threshold"]
    targets = results.tables["shared"].column("target")
    values = [np.asarray(results.array(f"{name.lower()}_best")) for name in targets]
    low = min(0.0, *(float(each.min()) for each in values))
    drawn = figure(7.6, 0.55 + 2.3 * len(values))
    axes = drawn.subplots(len(values), 1, sharex=True, squeeze=False)[:, 0]
    for axis, name, each in zip(axes, targets, values, strict=True):
        axis.hist(each, bins=np.linspace(low, 1.0, BINS + 1), color=CATEGORICAL[0])
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_ylim(bottom=0.7)
        axis.axvline(threshold, color=MARK, linestyle="--", linewidth=1.6)
        over = f"{int((each >= threshold).sum()):,} of {len(each):,} at {threshold:g} or above"
        axis.set_title(f"{name}: {over}", fontsize=12, loc="left")
        axis.set_ylabel("images", fontsize=11.5)
        tidy(axis, 11, "y")
    axes[-1].set_xlim(low, 1.005)
    axes[-1].set_xlabel("correlation with the nearest source image", fontsize=11.5)
    drawn.tight_layout()
    return drawn


def pairs_sheet(results: Results) -> Image.Image:
    """The strongest pairs side by side, four in a row, under a heading for each target."""
    data, threshold = results.root / "data", results.facts["threshold"]
    source = Prepared.open(data / "prepared")
    tile = (WIDTH - (COLUMNS - 1) * APART - COLUMNS * GAP) // (2 * COLUMNS)
    cell, step = 2 * tile + GAP, HEAD + tile + FOOT
    groups: dict[str, list[dict[str, Any]]] = {}
    for pair in results.tables["nearest"].records():
        groups.setdefault(pair["target"], []).append(pair)
    heights = [TITLE + -(-len(pairs) // COLUMNS) * step for pairs in groups.values()]
    picture, draw = sheet(COLUMNS * cell + (COLUMNS - 1) * APART, sum(heights))
    y = 0
    for (name, pairs), height in zip(groups.items(), heights, strict=True):
        target = Prepared.open(data / "targets" / name)
        write(draw, (0, y + TITLE // 2), f"{name} | {source.meta.source}", 26, bold=True)
        for number, pair in enumerate(pairs):
            x, top = number % COLUMNS * (cell + APART), y + TITLE + number // COLUMNS * step
            head = f"{pair['correlation']:.3f}{' mirrored' * pair['flipped']}"
            write(draw, (x, top + HEAD // 2), head, 21)
            left = target.split(pair["split"]).image(pair["row"])
            right = source.split(pair["source_split"]).image(pair["source_row"])
            picture.paste(resize(left, tile), (x, top + HEAD))
            picture.paste(resize(right, tile), (x + tile + GAP, top + HEAD))
            if pair["correlation"] >= threshold:
                frame = (x, top + HEAD, x + cell - 1, top + HEAD + tile - 1)
                draw.rectangle(frame, outline=ImageColor.getrgb(MARK), width=3)
            foot = " | ".join(shorten(pair[key], 15) for key in ("class", "source_class"))
            write(draw, (x, top + HEAD + tile + 13), foot, 17, fill=FAINT)
        y += height
    return picture
