"""Effects of attributes on the probability of the true class, sweeps, one scene's pictures."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from zfnet.figures.kit import trainings
from zfnet.figures.kit.dots import TEXT_POINTS, DotPanel, Dots, dot_chart, tidy
from zfnet.figures.kit.grid import paste
from zfnet.figures.kit.show import Figure, Shown, all_columns
from zfnet.figures.kit.style import (
    CATEGORICAL,
    FAINT,
    HEAD,
    INK,
    figure,
    heading,
    sheet,
    whisker,
    write,
)
from zfnet.results import Results, Table
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import critical, holm, two_sided_p

CARD = "effects"
LEVEL = 0.05
INTERVENED = ("scale", "rotation", "clutter", "light", "texture")
OBSERVED = (
    "box_size", "aspect", "brightness", "contrast", "sharpness",
    "scale", "rotation", "clutter", "light",
)  # fmt: skip
CONTRASTS = {
    "scale": "larger object",
    "rotation": "turned more",
    "clutter": "more clutter",
    "light": "more light",
    "texture": "patterned, not plain",
}
KNOWN = {
    "box_size": "size of the object's box",
    "aspect": "long side over short side",
    "brightness": "brightness",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "scale": "scale, as drawn",
    "rotation": "rotation, as drawn",
    "clutter": "clutter, as drawn",
    "light": "light, as drawn",
}
LOOKS = {
    "effect": ("set by intervention", CATEGORICAL[0]),
    "correlation": ("observed", CATEGORICAL[5]),
}
AXES = {
    "scale": "object's side over the picture's",
    "rotation": "degrees from upright",
    "clutter": "shapes behind the object",
    "light": "gain",
}
HEADINGS = {
    "effect": "change of p(true)",
    "within": "within the training range",
    "error_effect": "change of error, points",
    "p_value": "p",
    "holm": "p, Holm",
    "correlation": "rank correlation with p(true)",
    "least": "2.5 % lie below",
    "middle": "median",
    "most": "97.5 % lie below",
    "p": "p(true)",
    "gap": "less the scene's mean",
    "error": "error, %",
    "setting": "value",
    "trained": "trained on",
    "dimmed": "p(true), dimmed as much",
    "change": "change, grey levels",
    "dimmed_change": "dimmed, grey levels",
}


# ------------------------------------------------------------------------------- many tests at once
def tested(results: Results, names: Sequence[str], end: str) -> dict[str, tuple[Estimate, float]]:
    """Numbers <name>_<end> that were measured, and their p values."""
    found = {name: results.get(f"{name}_{end}") for name in names}
    return {name: (one, two_sided_p(one)) for name, one in found.items() if one is not None}


def together(tests: Mapping[str, tuple[Estimate, float]]) -> dict[str, Estimate]:
    """The same with intervals that exclude 0 where Holm's procedure does, all at once.

    The i-th smallest of m p values is held against 0.05 / (m - i + 1); once one fails, so do all
    that are larger, whose intervals keep that level.
    """
    order = sorted(tests, key=lambda name: tests[name][1])
    found, level, failed = {}, LEVEL, False
    for i, name in enumerate(order):
        one, p = tests[name]
        level = level if failed else LEVEL / (len(order) - i)
        failed = failed or p > level
        factor = critical(level, one.freedom) / critical(LEVEL, one.freedom)
        found[name] = one
        if one.low is not None and one.high is not None:
            low, high = ((end - one.value) * factor + one.value for end in (one.low, one.high))
            found[name] = replace(one, low=low, high=high)
    return {name: found[name] for name in tests}


# ----------------------------------------------------------------------------------------- figures
def figures(results: Results) -> list[Figure]:
    """All effects; where scenes were rendered again, p by every value and one scene's pictures."""
    found = []
    if any(f"{name}_correlation" in results.estimates for name in OBSERVED):
        found.append(_effects(results))
    if "sweeps" in results.tables:
        found.append(_sweeps(results))
    return found + ([_scene(results)] if results.has("pictures") else [])


def _effects(results: Results) -> Figure:
    parts = [
        ("Change of p(true class)", CONTRASTS, "effect", INTERVENED),
        ("Rank correlation with p(true class)", KNOWN, "correlation", OBSERVED),
    ]
    panels = []
    for title, names, end, every in parts:
        found = together(tested(results, every, end))
        if not found:
            continue
        rows = list(found.values())
        points = [(i, one.value, one.low, one.high) for i, one in enumerate(rows)]
        label, colour = LOOKS[end]
        dots = Dots(label, "o", colour, points, 0.0)
        panels.append(DotPanel(title, [names[name] for name in found], [dots], [""] * len(rows)))
    over = "trainings" if trainings.seeds_of(results) else "images"
    caption = (
        f"Intervals over {over}, widened so that in each panel all hold at once with 95 % (Holm). "
        "Right of the dashed line: the net is surer of the true class."
    )
    if len(panels) > 1:
        caption += (
            " Above: the same scenes rendered again, mean over the larger half of the values minus "
            "the smaller half, beyond the training range too; below: pictures as they are."
        )
    alt = f"Dots with intervals: {'; '.join(panel.title for panel in panels)}."
    measure = "effect or correlation" if len(panels) > 1 else "rank correlation"
    return Figure(CARD, caption, alt, functools.partial(dot_chart, panels, measure, (0.0, "")))


def _sweeps(results: Results) -> Figure:
    many = trainings.seeds_of(results)
    over = f"{len(many)} trainings" if many else "scenes"
    return Figure(
        "sweeps",
        f"Probability of the true class when one attribute of a scene is set and all else stays "
        f"the same. Bands and bars: 95 % over {over}. Shaded: values that the net was trained on. "
        "Textures: less the mean of the same scenes over all textures.",
        "Curves of p(true class) by scale, rotation, clutter and light; dots by texture.",
        functools.partial(_draw_sweeps, results),
    )


def _draw_sweeps(results: Results) -> Any:
    rows = results.tables["sweeps"].records()
    drawn = figure(9.2, 9.6)
    grid = drawn.add_gridspec(3, 2, height_ratios=(1, 1, 0.9))
    for i, (name, label) in enumerate(AXES.items()):
        axis = drawn.add_subplot(grid[i // 2, i % 2])
        axis.axvspan(*results.facts["trained"][name], color="#e9eef2", zorder=0)
        own = [row for row in rows if row["attribute"] == name]
        x, p, low, high = (
            [np.nan if row[key] is None else row[key] for row in own]
            for key in ("value", "p", "p_low", "p_high")
        )
        axis.fill_between(x, low, high, color=CATEGORICAL[0], alpha=0.22, linewidth=0)
        axis.plot(x, p, "o-", color=CATEGORICAL[0], linewidth=1.8, markersize=6)
        axis.set_ylim(-0.02, 1.02)
        axis.text(
            *(np.mean(results.facts["trained"][name]), 0.02, "trained on"), ha="center",
            va="bottom", fontsize=TEXT_POINTS - 1.5, color="#555555",
        )  # fmt: skip
        axis.set_title(name.capitalize(), fontsize=TEXT_POINTS + 1, loc="left")
        axis.set_xlabel(label, fontsize=TEXT_POINTS)
        axis.set_ylabel("p(true class)", fontsize=TEXT_POINTS)
        tidy(axis, "y")
    axis = drawn.add_subplot(grid[2, :])
    own = [row for row in rows if row["attribute"] == "texture"]
    for i, row in enumerate(own):
        one = Estimate(row["gap"], row["gap_low"], row["gap_high"])
        whisker(axis, i, one, color=CATEGORICAL[0])
    axis.axhline(0, color="#777777", linewidth=1.1, linestyle="--", zorder=1)
    axis.set_xticks(range(len(own)), [row["name"] for row in own])
    axis.set_title("Texture of the body", fontsize=TEXT_POINTS + 1, loc="left")
    axis.set_ylabel("p(true) less\nthe scene's mean", fontsize=TEXT_POINTS)
    tidy(axis, "y")
    drawn.tight_layout(h_pad=1.4, w_pad=1.6)
    return drawn


# ----------------------------------------------------------------------------- one scene's pictures
def _scene(results: Results) -> Figure:
    facts = results.facts
    chosen = (
        "the first scene drawn, none of which the net knows as it was prepared"
        if facts["shown_wrong"]
        else "the first scene that the net knows as it was prepared"
    )
    return Figure(
        "scene",
        f"One scene of class {facts['shown_class']}, {chosen}, with one attribute set at a time. "
        "Below each picture: the value, and p(true class). Orange frames: beyond the training "
        "range.",
        f"Pictures of one {facts['shown_class']} by scale, rotation, clutter, light and texture.",
        functools.partial(_draw_scene, results),
        format="webp",
    )


def _draw_scene(results: Results) -> Image.Image:
    pictures, chances = results.array("pictures"), results.array("chances")
    rows = results.tables["sweeps"].records()
    px, apart, line, left, columns = 178, 12, 44, 110, 6
    lines: list[tuple[str, list[int]]] = []
    for name in INTERVENED:
        places = [i + 1 for i, row in enumerate(rows) if row["attribute"] == name]
        for start in range(0, len(places), columns):
            lines.append((name if not start else "", places[start : start + columns]))
    lines[-1][1].append(0)
    width = left + columns * (px + apart)
    picture, draw = sheet(width, HEAD + len(lines) * (px + line))
    told = "below each: the value, p(true class)"
    heading(
        draw, f"One scene ({results.facts['shown_class']}), one attribute at a time", told, width
    )
    frame = tuple(int(CATEGORICAL[5][i : i + 2], 16) for i in (1, 3, 5))
    for number, (name, places) in enumerate(lines):
        y = HEAD + number * (px + line)
        write(draw, (0, y + px / 2), name, 20, bold=True)
        for column, place in enumerate(places):
            x = left + (column if place else columns - 1) * (px + apart)
            paste(picture, pictures[place], (x, y), px)
            row = rows[place - 1] if place else {"within": True, "name": "unchanged"}
            if not row["within"]:
                draw.rectangle((x, y, x + px - 1, y + px - 1), outline=frame, width=5)
            value = setting(row)
            write(draw, (x + 2, y + px + 16), value, 19, fill=FAINT)
            write(
                draw,
                (x + px - 2, y + px + 16),
                f"p {chances[place]:.2f}",
                19,
                anchor="rm",
                fill=INK,
            )
    return picture


def _cut(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the intervals of what cannot lie farther out cut at 0 and 1, or 100 %."""
    found = dict(row)
    for key, most in (("p", 1.0), ("error", 100.0)):
        for end in (f"{key}_low", f"{key}_high"):
            found[end] = None if row[end] is None else min(max(row[end], 0.0), most)
    return found


def setting(row: Mapping[str, Any]) -> str:
    """A value of a sweep as people write it."""
    if row["name"]:
        return str(row["name"])
    return f"{row['value']:g}" + "°" * (row["attribute"] == "rotation")


# ------------------------------------------------------------------------------------------ tables
def tables(results: Results) -> dict[str, Shown]:
    """Effects and correlations with their tests, every value of every sweep, the light control."""
    over = "trainings" if trainings.seeds_of(results) else "images"
    found = {}
    parts = {
        "effects": ("effect", CONTRASTS, "Change of p(true) and of the error by intervention."),
        "correlations": ("correlation", KNOWN, "Ranks within each class, classes pooled."),
    }
    for name, (end, words, caption) in parts.items():
        rows = results.tables[name].records() if name in results.tables else []
        tests = tested(results, [row["attribute"] for row in rows], end)
        adjusted = dict(zip(tests, holm([p for _, p in tests.values()]), strict=True))
        for row in rows:
            of = row["attribute"]
            row |= {"p_value": tests[of][1] if of in tests else None, "holm": adjusted.get(of)}
        if rows:
            caption += f" Intervals: 95 % over {over}, each alone; p two-sided, then by Holm."
            found[name] = all_columns(Table.of(rows), caption, HEADINGS, {"attribute": words})
    if "sweeps" in results.tables:
        rows = [_cut(row) for row in results.tables["sweeps"].records()]
        told = [
            {"attribute": row["attribute"], "setting": setting(row)}
            | {"trained": row["within"]}
            | {key: row[key] for key in row if key.startswith(("p", "gap", "error"))}
            for row in rows
        ]
        caption = f"Every value of every sweep. Intervals: 95 % over {over}."
        yes = {"trained": {True: "yes", False: "no"}}
        found["sweeps"] = all_columns(Table.of(told), caption, HEADINGS, yes)
        found["light_control"] = all_columns(
            results.tables["light_control"],
            "The same scenes with a smaller object, and in light dimmed until the pixels have "
            "changed as much.",
            HEADINGS,
            hide=("level",),
        )
    return found
