"""Pictures made for the classes, saliency beside its controls, maps of two classes and two nets."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from zfnet.figures.kit import trainings
from zfnet.figures.kit.grid import paste
from zfnet.figures.kit.maps import shorten
from zfnet.figures.kit.pairs import Pairs, paired_dots
from zfnet.figures.kit.show import Figure, Shown, all_columns
from zfnet.figures.kit.style import FAINT, HEAD, INK, fitting, heading, sheet, write
from zfnet.pipeline.registry import title_of
from zfnet.results import Results
from zfnet.stats.estimate import Estimate

CARD = "pictures"
BRIGHT = 0.99  # the quantile of a map that is drawn white
LETTERS, GAP = 22, 10  # px
RED = (0xE8, 0x38, 0x4F)  # MARK
RULES = {"gradient": "gradient", "guided": "guided backprop", "deconvnet": "deconvnet"}
VERSUS = {"own": "own class", "other_class": "another class", "untrained": "untrained net"}
CHOICES = {
    "ranks": "ranks of the largest magnitude over colours (as measured)",
    "values": "the largest magnitude over colours",
    "signed": "signed values of all colours",
}
MAPS = {
    "in_box": "saliency",
    "area": "the box's share of the area",
    "centre": "Gaussian at the centre",
    "edges": "edges (Sobel)",
    "untrained": "saliency, untrained net",
}
BOXES = {"component": "largest component", "all": "all salient pixels"}
HEADINGS = {
    "score": "score of the picture",
    "best_image": "highest score of a validation image",
    "rms": "RMS from the mean image, grey levels",
    "outside": "share of values beyond 0 or 255",
    "second_says": "second net says",
    "second_sure": "its probability",
    "agrees": "same class",
    "noise": "noise given this class, share",
    "other": "other class",
    "right": "answered right",
    "in_box": "saliency in the box",
    "area": "area of the box",
    "centre": "centre prior in the box",
    "edges": "edges in the box",
    "untrained": "untrained net",
    "iou": "overlap of the salient box",
    "centre_iou": "of the centred box",
    "other_class": "another class",
    "smoothed": "saliency smoothed, % of the side",
    "own": "salient box finds the object",
    "choice": "compared",
    "share": "share in the box",
}


def figures(results: Results) -> list[Figure]:
    """What the net has: class models, saliency, maps by rule, every image's numbers."""
    drawn = [_pictures(results)] if results.has("pictures") else []
    if results.has("drawn_gradient_own"):
        drawn += [_saliency(results), _rules(results)]
    return drawn + _per_image(results)


def tables(results: Results) -> dict[str, Shown]:
    """Classes and images one by one, and the numbers under other choices."""
    over = "trainings" if trainings.seeds_of(results) else "images"
    captions = {
        "classes": "Every picture that was made.",
        "controls": f"Share of a map in the object's box. Intervals: over {over}.",
        "images": "Every image measured; shares of the whole map, correlations of ranks.",
        "choices": "Correlation of an image's maps: own class with another, trained with untrained "
        f"net. Intervals: over {over}.",
        "localisation": "Share of objects found by a box, first as measured. Intervals: over "
        f"{over}.",
    }
    words: dict[str, dict[Any, str]] = {
        "rule": RULES, "choice": CHOICES, "box": BOXES, "map": MAPS,
        "agrees": {True: "yes", False: "no"}, "right": {True: "yes", False: "no"},
    }  # fmt: skip
    headings = {name: dict(HEADINGS) for name in captions}
    headings["localisation"]["centre"] = "centred box of that size finds it"
    return {
        name: all_columns(results.tables[name], captions[name], headings[name], words)
        for name in captions
        if name in results.tables
    }


# ---------------------------------------------------------------------------------- class models
def _pictures(results: Results) -> Figure:
    facts, rows = results.facts, results.tables["classes"].records()
    shown = rows[: len(results.array("pictures"))]
    left = len(rows) - len(shown)
    asked = f", and what {title_of(facts['second'])} says of it" if "agrees" in shown[0] else ""
    caption = (
        f"Pictures made by {facts['steps']} steps of gradient ascent from the mean image, as both "
        f"nets see them. Below each: its score and the highest of any validation image of the "
        f"class{asked}. Red: another class than the picture was made for."
        + f" {left} more classes are not drawn."
        * bool(left)
    )
    alt = f"Class model images of {len(shown)} classes: {', '.join(r['class'] for r in shown)}."
    draw = functools.partial(_draw_pictures, results, shown)
    return Figure(CARD, caption, alt, draw, format="webp")


def _draw_pictures(results: Results, shown: Sequence[dict[str, Any]]) -> Image.Image:
    columns, px, line, apart = min(4, len(shown)), 300, LETTERS + 8, 24
    count = 2 + ("agrees" in shown[0])
    height = px + count * line + 18
    rows = -(-len(shown) // columns)
    width = max(620, columns * (px + apart) - apart)
    picture, draw = sheet(width, HEAD + rows * height)
    told_of = f"made for {title_of(results.net)}"
    heading(draw, "Pictures that raise a class's score", told_of, width)
    for i, row in enumerate(shown):
        y, x = HEAD + i // columns * height, i % columns * (px + apart)
        paste(picture, results.array("pictures")[i], (x, y), px)
        best = "none" if row["best_image"] is None else f"{row['best_image']:.3g}"
        told = [(shorten(row["class"], 24), True, False)]
        told.append((f"score {row['score']:.3g}, best image {best}", False, False))
        if count > 2:
            said = "the same" if row["agrees"] else shorten(row["second_says"], 14)
            second = title_of(results.facts["second"])
            sure = f"{second}: {said}, {100 * row['second_sure']:.0f} %"
            told.append((sure, False, not row["agrees"]))
        for number, (text, bold, odd) in enumerate(told):
            fill = RED if odd else INK
            size = fitting([text], LETTERS, px, bold)
            at = x, y + px + 6 + line * number + line // 2
            write(draw, at, text, size, bold=bold, fill=fill)
    return picture


# ------------------------------------------------------------------------------------- maps beside
def bright(values: np.ndarray) -> np.ndarray:
    """A map (H, W), ≥ 0, as grey (H, W, 3) uint8: black is 0, white its BRIGHT quantile."""
    most = float(np.quantile(values, BRIGHT)) or float(values.max()) or 1.0
    grey = np.rint(255 * np.clip(values / most, 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _drawn_images(results: Results) -> list[dict[str, Any]]:
    rows = results.tables["images"].records()
    return [rows[i] for i in results.array("drawn").tolist()]


def _saliency(results: Results) -> Figure:
    heads, tiles, notes = ["image", "saliency"], [], []
    names = {"own": "gradient_own", "edges": "edges", "untrained": "gradient_untrained"}
    if not results.has("drawn_gradient_untrained"):
        names.pop("untrained")
    heads += ["edges", "untrained net"][: len(names) - 1]
    rows = _drawn_images(results)
    for i, row in enumerate(rows):
        maps = [bright(results.array(f"drawn_{name}")[i]) for name in names.values()]
        tiles.append([results.array("drawn_pictures")[i], *maps])
        known = row["area"] is not None
        shares = [row["in_box" if name == "own" else name] for name in names]
        area = f"box: {100 * row['area']:.0f} % of area" if known else "no box"
        notes.append(
            [
                f"{shorten(row['watched'], 20)}\n{area}",
                *("" if s is None else f"{100 * s:.0f} % in the box" for s in shares),
            ]
        )
    caption = (
        "Saliency of the class's score beside maps that no training made. Red: the object's box; "
        "below each map the share that lies in it. White is the 99th percentile of each map."
    )
    alt = f"Saliency maps of {len(rows)} images beside their edges and an untrained net's maps."
    boxes = results.array("drawn_boxes")
    draw = functools.partial(
        _sheet, "Saliency: pixels that change the score", heads, tiles, notes, boxes
    )
    return Figure("saliency", caption, alt, draw)


def _rules(results: Results) -> Figure:
    pairs = [
        (rule, versus)
        for rule in ("gradient", "guided")
        for versus in VERSUS
        if results.has(f"drawn_{rule}_{versus}")
    ]
    heads = ["image", *(RULES[rule] for rule, _ in pairs)]
    rows, tiles, notes = _drawn_images(results), [], []
    for i, row in enumerate(rows):
        maps = [bright(results.array(f"drawn_{rule}_{versus}")[i]) for rule, versus in pairs]
        tiles.append([results.array("drawn_pictures")[i], *maps])
        told = [shorten(row["watched"], 20)]
        for rule, versus in pairs:
            alike = row.get(f"{rule}_{versus}")
            name = f"for {shorten(row['other'], 12)}" if versus == "other_class" else VERSUS[versus]
            told.append(name + (f"\n{alike:.2f}" if alike is not None else "\n"))
        notes.append(told)
    guided = "and guided backprop " if ("guided", "own") in pairs else ""
    caption = (
        f"The gradient {guided}from the score of the image's class, of another class, and of the "
        "image's class in the untrained net. Below: correlation of ranks with the map of the "
        "image's own class. White is the 99th percentile of each map."
    )
    alt = f"Maps of {len(rows)} images for two classes and for a trained and an untrained net."
    title = "The class asked for, and the weights"
    draw = functools.partial(_sheet, title, heads, tiles, notes)
    return Figure("rules", caption, alt, draw)


def _sheet(
    title: str,
    heads: Sequence[str],
    tiles: Sequence[Sequence[np.ndarray]],
    notes: Sequence[Sequence[str]],
    boxes: np.ndarray | None = None,
) -> Image.Image:
    """Rows of pictures in common columns, heads above, notes below each, boxes (n, 4) on them."""
    px = min(260, (1400 - GAP * len(heads)) // len(heads))
    lines = max(note.count("\n") for row in notes for note in row) + 1
    line = LETTERS + 6
    height, top = px + line * lines + 16, 56 + line
    width = len(heads) * (px + GAP) - GAP
    picture, draw = sheet(width, top + height * len(tiles))
    write(draw, (0, 20), title, 30, bold=True)
    size = fitting(heads, LETTERS, px, True)
    for column, head in enumerate(heads):
        write(draw, (column * (px + GAP) + px / 2, 52 + line / 2), head, size, anchor="mm")
    for i, row in enumerate(tiles):
        y = top + i * height
        for column, tile in enumerate(row):
            x = column * (px + GAP)
            paste(picture, tile, (x, y), px)
            if boxes is not None and not np.isnan(boxes[i]).any():
                _outline(draw, boxes[i] * (px / max(tile.shape[:2])), (x, y))
            for number, text in enumerate(notes[i][column].split("\n")):
                at = x + px / 2, y + px + 4 + line * number + line / 2
                bold = not column and not number
                size = fitting([text], LETTERS, px, bold)
                fill = INK if bold else FAINT
                write(draw, at, text, size, anchor="mm", bold=bold, fill=fill)
    return picture


def _outline(draw: ImageDraw.ImageDraw, box: np.ndarray, at: tuple[int, int]) -> None:
    y0, x0, y1, x1 = box.tolist()
    corners = (at[0] + x0, at[1] + y0, at[0] + x1 - 1, at[1] + y1 - 1)
    draw.rectangle(corners, outline=RED, width=3)


# ------------------------------------------------------------------------------- all images at once
def _per_image(results: Results) -> list[Figure]:
    share, alike = "share in the object's box", "correlation of ranks"
    groups = (
        ("in_box", "share of a map in the object's box", (
            ("Saliency and edges", ("edges", "in_box"), ("edges", "saliency"), share),
            ("Saliency without training", ("untrained", "in_box"),
             ("untrained net", "saliency"), share),
        )),
        ("alike", "correlation of two maps of an image", tuple(
            (f"Own class and {VERSUS[versus]}", (f"gradient_{versus}", f"guided_{versus}"),
             ("gradient", "guided backprop"), alike)
            for versus in ("other_class", "untrained"))),
    )  # fmt: skip
    columns = results.tables["images"].columns
    found = []
    for name, what, wanted in groups:
        panels = []
        for title, keys, names, unit in wanted:
            if not set(keys) <= set(columns):
                continue
            values = np.array([results.tables["images"].column(key) for key in keys], float).T
            if (~np.isnan(values).any(1)).sum() > 1:
                panels.append(Pairs(title, values, names, _means(results, keys), unit))
        if panels:
            several = trainings.seeds_of(results)
            of = f" of the training with seed {several[0]}" if several else ""
            caption = f"Each line is an image{of}: {what}."
            if any(mean.low is not None for panel in panels for mean in panel.means):
                over = f" and {len(several)} trainings" if several else ""
                caption += f" Red: mean over images{over} with its 95 % interval."
            alt = f"Paired dots of every image: {what}."
            found.append(Figure(name, caption, alt, functools.partial(paired_dots, panels)))
    return found


def _means(results: Results, keys: Sequence[str]) -> list[Estimate]:
    """The means of two columns of the table of images."""
    shares = results.tables["controls"].records() if "controls" in results.tables else []
    found = {r["map"]: Estimate(r["share"], r["share_low"], r["share_high"]) for r in shares}
    return [found.get(key) or results.get(key) or Estimate(float("nan")) for key in keys]
