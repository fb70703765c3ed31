"""Keypoints carried between pictures: a few pairs, and shares found by layer and control."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from zfnet.figures.kit import trainings
from zfnet.figures.kit.maps import shorten
from zfnet.figures.kit.show import Figure, Shown, all_columns
from zfnet.figures.kit.style import CATEGORICAL, figure, tidy, whisker
from zfnet.results import Results

CARD = "pairs"
POINTS = 10.5
TILE = 1.72  # inches a picture
MARKERS = "os^Dv*PX"
NAMED = 8  # keypoints that a legend names; the objects of many classes have a hundred
# Of the methods beside the layers: name, colour, line.
CONTROLS = {
    "copied_box": ("place in the box copied", CATEGORICAL[7], (0, (1, 1))),
    "sift": ("SIFT", CATEGORICAL[2], "--"),
    "patches": ("grey patches", CATEGORICAL[3], "-."),
    "copied": ("coordinates copied", "#222222", ":"),
}
TRAINED, UNTRAINED = CATEGORICAL[0], CATEGORICAL[1]
HEADINGS = {
    "pck_005": "found within 0.05",
    "pck": "within 0.1",
    "pck_02": "within 0.2",
    "either": "within 0.1 of the part or its mirror image",
    "other": "at the mirror image alone",
    "keypoint": "parts named from one column",
    "size_px": "window, px",
    "enlarged": "second enlarged by",
    "conv": "layer judged",
    **{key: name for key, (name, *_) in CONTROLS.items()},
}


def figures(results: Results) -> list[Figure]:
    """The drawn pairs, and shares by layer; none where nothing was measured."""
    found = []
    if results.has("pictures"):
        found.append(_pairs(results))
    if "methods" in results.tables:
        found.append(_shares(results))
    return found


def tables(results: Results) -> dict[str, Shown]:
    """Every method, windows of other sizes, every pair."""
    if "methods" not in results.tables:
        return {}
    several = bool(trainings.seeds_of(results))
    who = "trainings" if several else "pairs"
    named = "" if several else ", in the last column over images"
    methods = {key: name for key, (name, *_) in CONTROLS.items()}
    methods |= {f"layer{n}": f"layer {n}" for n in results.facts["layers"]}
    words: dict[str, dict[Any, str]] = {
        "method": methods,
        "untrained": {True: "before training", False: ""},
    }
    limit = "Share of keypoints found within {} of the longer side of the object's box"
    first = limit.format("0.05, 0.1 and 0.2")
    mirror = " A left eye found at the right one is wrong; the next columns count it apart."
    captions = {
        "methods": f"{first}.{mirror if results.facts['mirrored'] else ''} Last: held-out "
        f"keypoints named by a linear classifier. Intervals: over {who}{named}.",
        "sides": f"{limit.format('0.1')}, with windows of other sizes. Interval: over {who}.",
        "pairs": f"{limit.format('0.1')}, pair by pair, both ways.",
    }
    hide = () if results.facts["mirrored"] else ("either", "other")
    headings = HEADINGS | {"untrained": "weights"}
    return {
        name: all_columns(results.tables[name], caption, headings, words, hide)
        for name, caption in captions.items()
    }


# ----------------------------------------------------------------------------------------- pairs
def _pairs(results: Results) -> Figure:
    facts = results.facts
    parts = ", ".join(part.replace("_", " ") for part in facts["parts"])
    named = f" ({parts})" if len(facts["parts"]) <= NAMED else ""
    return Figure(
        "pairs",
        f"Left: the first picture of a pair with its keypoints{named}. Then the second, which "
        "was enlarged and shifted: filled marks are where each method puts them, lines lead from "
        "there to the true place. A circle is what counts as found: 0.1 of the longer side of "
        "the object's box. Below each picture: how many are found.",
        "Pairs of pictures of a class with keypoints, and where each method puts them in the "
        f"second: {', '.join(facts['drawn'])}.",
        functools.partial(_draw_pairs, results),
    )


def _draw_pairs(results: Results) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle

    facts = results.facts
    methods = {"conv": f"layer {facts['layer']}", **{key: CONTROLS[key][0] for key in CONTROLS}}
    methods = {key: name for key, name in methods.items() if results.has(f"places_{key}")}
    pictures, points = results.array("pictures"), results.array("keypoints")
    limits, px = results.array("limits"), pictures.shape[2]
    looks: list[dict[str, Any]] = [
        {"color": CATEGORICAL[(5, 4, 6, 2, 1, 0)[k % 6]], "marker": MARKERS[k % len(MARKERS)]}
        for k in range(points.shape[2])
    ]
    edge: dict[str, Any] = {"markersize": 6.5, "markeredgecolor": "black", "markeredgewidth": 0.9}
    rows, columns = len(pictures), 1 + len(methods)
    height = rows * (TILE + 0.25) + 0.75
    drawn = figure(columns * (TILE + 0.06) + 0.3, height)
    axes = drawn.subplots(rows, columns, squeeze=False)
    for i, line in enumerate(axes):
        for axis, second in zip(line, (0, *[1] * len(methods)), strict=True):
            axis.imshow(pictures[i, second], extent=(0, px, px, 0), interpolation="bilinear")
            axis.set(xticks=[], yticks=[], xlim=(0, px), ylim=(px, 0))
        line[0].set_ylabel(shorten(facts["drawn"][i], 18), fontsize=POINTS)
        for (y, x), look in zip(points[i, 0], looks, strict=True):
            line[0].plot(x, y, linestyle="none", **look, **edge)
        for axis, key in zip(line[1:], methods, strict=True):
            places = results.array(f"places_{key}")[i]
            near = np.hypot(*(places - points[i, 1]).T) <= limits[i]
            for (y, x), (v, u), look in zip(points[i, 1], places, looks, strict=True):
                if np.isnan([y, v]).any():  # not known in both pictures
                    continue
                for width, colour in ((2.6, "black"), (1.5, look["color"])):
                    axis.add_patch(
                        Circle((x, y), limits[i], fill=False, color=colour, linewidth=width)
                    )
                    axis.plot([x, u], [y, v], color=colour, linewidth=width)
                # copies may lie outside the picture: they are drawn where they are, at its border
                axis.plot(u, v, linestyle="none", clip_on=False, zorder=5, **look, **edge)
            sought = int((~np.isnan(places - points[i, 1])).all(1).sum())
            axis.set_xlabel(f"{int(near.sum())} of {sought}", fontsize=POINTS - 0.5, labelpad=3)
    for axis, name in zip(axes[0], ("first picture", *methods.values()), strict=True):
        axis.set_title(name, fontsize=POINTS, pad=5)
    handles = [
        Line2D([], [], linestyle="none", label=part.replace("_", " "), **look, **edge)
        for part, look in zip(facts["parts"], looks, strict=True)
        if len(facts["parts"]) <= NAMED
    ]
    drawn.legend(
        handles=handles, loc="lower center", ncols=4, frameon=False, fontsize=POINTS,
        handletextpad=0.2,
    )  # fmt: skip
    drawn.tight_layout(rect=(0, 0.32 / height, 1, 1), h_pad=0.4, w_pad=0.3)
    return drawn


# ---------------------------------------------------------------------------------------- shares
def _shares(results: Results) -> Figure:
    count = f"{len(seeds)} trainings" if (seeds := trainings.seeds_of(results)) else "pairs"
    return Figure(
        "shares",
        "Left: share of keypoints found within 0.1 of the longer side of the object's box, by "
        "layer; level lines: methods without a net. Right: share of held-out keypoints that a "
        f"linear classifier names from one column. Bars: 95 % intervals over {count}"
        f"{'' if seeds else ' or images'}; those of level lines stand at the right.",
        "Two charts by layer, before and after training: keypoints found in another picture, and "
        "keypoints named from one column.",
        functools.partial(_draw_shares, results),
    )


def _draw_shares(results: Results) -> Any:
    drawn = figure(9.2, 4.5)
    axes = drawn.subplots(1, 2, sharey=True)
    layers = results.facts["layers"]
    for axis, key in zip(axes, ("pck", "keypoint"), strict=True):
        for shift, suffix, label, colour in (
            (-0.05, "", "layer, trained", TRAINED),
            (0.05, "_untrained", "layer, before training", UNTRAINED),
        ):
            known = [n for n in layers if f"layer{n}_{key}{suffix}" in results.estimates]
            look: dict[str, Any] = {"color": colour, "markersize": 6, "fmt": "s" if suffix else "o"}
            for n in known:
                whisker(axis, n + shift, results[f"layer{n}_{key}{suffix}"], **look)
            values = [results[f"layer{n}_{key}{suffix}"].value for n in known]
            axis.plot([n + shift for n in known], values, color=colour, linewidth=1.8, label=label)
        axis.set_xticks(layers, [str(n) for n in layers])
        axis.set_xlabel("layer", fontsize=POINTS)
        axis.set_ylim(0, 1.02)
        tidy(axis, POINTS - 0.5, "y")
    last = max(layers, default=1)
    for i, (key, (name, colour, line)) in enumerate(CONTROLS.items()):
        one = results.get(f"{key}_pck")
        if one is not None:
            axes[0].axhline(one.value, color=colour, linestyle=line, linewidth=1.7, label=name)
            look = {"color": colour, "markersize": 4, "fmt": "D", "capsize": 3}
            whisker(axes[0], last + 0.4 + 0.14 * i, one, **look)
    chance = results["keypoint_chance"].value
    axes[1].axhline(chance, color="#777777", linestyle="--", linewidth=1.2, label="guessing")
    axes[0].set_ylabel("share", fontsize=POINTS)
    axes[0].set_title("found in the other picture", fontsize=POINTS + 1, loc="left")
    axes[1].set_title("named from one column", fontsize=POINTS + 1, loc="left")
    every: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        every |= dict(zip(labels, handles, strict=True))
    drawn.legend(
        every.values(), every, loc="lower center", ncols=4, frameon=False, fontsize=POINTS - 0.5
    )
    drawn.tight_layout(rect=(0, 0.13, 1, 1), w_pad=2)
    return drawn
