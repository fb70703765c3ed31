"""Curves against a transform: the panels of Fig. 5, all layers at once, turned classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zfnet.figures.kit import trainings
from zfnet.figures.kit.maps import shorten
from zfnet.figures.kit.show import Figure, Shown, all_columns
from zfnet.figures.kit.style import CATEGORICAL, figure, tidy
from zfnet.results import Results, Table

CARD = "invariance"
TITLE_POINTS, TEXT_POINTS = 12, 10.5
FILLED, BAND, BLACK = "#d9d9d9", "#9a9a9a", "black"
MOST_CLASSES = 24  # in the heat map
TITLES = {"translation": "translation", "scale": "scale", "rotation": "rotation",
          "disc": "rotation of a disc"}  # fmt: skip
DEGREES = "degrees counterclockwise"
LABELS = {"translation": "shift, px of 224 (positive: down)", "scale": "times enlarged",
          "rotation": DEGREES, "disc": DEGREES}  # fmt: skip
QUARTERS = (0, 90, 180, 270)
TICKS = {"translation": (-60, -30, 0, 30, 60), "scale": (1, 1.2, 1.4, 1.6, 1.8),
         "rotation": QUARTERS, "disc": QUARTERS}  # fmt: skip
UNIT = "mean distances to other images"
WORDS = {
    "transform": TITLES,
    "choice": {
        "measured": "as measured (fill: training mean; bilinear)",
        "replicate": "fill: border repeated",
        "bicubic": "interpolation: bicubic",
    },
}
HEADINGS = {
    "raw_slope": "slope, layer's own units",
    "slope": "slope, relative",
    "straight": "straight up to",
    "p_clean": "p(true class), unchanged",
    **{f"p_{turn}": f"p at {turn}°" for turn in QUARTERS},
}


def figures(results: Results) -> list[Figure]:
    """Fig. 5 itself, all layers, and rotation of a disc with its classes."""
    low, high = _compared(results)
    n, facts = f"{results['images'].value:.0f} images", results.facts
    if several := trainings.seeds_of(results):
        n += f" for each of {len(several)} trainings"
    how = "named in the config" if facts["examples_named"] else (
        "chosen by seed, of different classes, classified correctly with p of at least 0.5"
    )  # fmt: skip
    if facts["examples_unsure"]:
        how += f" ({facts['examples_unsure']} of them are not, for want of such images)"
    return [
        Figure(
            "invariance",
            f"Rows: vertical translation, scale, rotation. Left: the images drawn, {how}; where "
            "the picture ends, the view is filled with the mean of the training data. Then the "
            f"Euclidean distance between the features of the transformed and of the unchanged "
            f"image at layer {low} and at layer {high}, in each layer's own units, and the "
            f"probability of the true class. Thin: one image each. Black: mean of {n} with its "
            "95 % interval, at the points. Grey hill: share of filled pixels, of the panel's "
            "height.",
            "A row each for translation, scale and rotation: example images, then distances at "
            f"layers {low} and {high} and the true class's probability, single images and mean.",
            lambda: panels(results),
        ),
        Figure(
            "invariance_layers",
            f"All layers: distance to the unchanged image's features, in {UNIT}, mean over {n}, "
            f"with 95 % bands. Grey: share of filled pixels. In the last panel only "
            "the view's largest disc turns: fill and blur stay the same.",
            "Mean feature distance of every layer against translation, scale and rotation.",
            lambda: all_layers(results),
        ),
        Figure(
            "invariance_rotation",
            "Rotation of the whole view, which fills corners except at quarter turns, and of its "
            "largest disc, where fill and blur are the same in all steps: mean probability of the "
            f"true class and distance of layer {high} ({UNIT}) with 95 % bands. Right: the "
            "probability by class for the disc, of classes with 5 images or more.",
            "Probability of the true class against the angle, for the whole view and for a disc, "
            "and by class as a heat map.",
            lambda: turned(results),
        ),
    ]  # fmt: skip


def tables(results: Results) -> dict[str, Shown]:
    """Slopes by layer, other choices, classes at quarter turns, the images drawn."""
    low, high = _compared(results)
    few = results.tables["sensitivity"].column("images")[0]
    over = "trainings" if trainings.seeds_of(results) else "images"
    captions = {
        "layers": "Slopes near zero per px of 224, unit of scale or degree: in the layer's own "
        f"units, and relative, in {UNIT} (95 % intervals over {over}). Straight up to: where a "
        "line through 0 still explains 95 % of the mean curve's variance, at least the first step. "
        "Straightness: the share it explains over the whole range.",
        "sensitivity": f"The same {few} images under other choices of what the paper leaves out: "
        f"slope near zero of layer {low} over layer {high}, straightness of layer {high}, p(true "
        "class) at the ends of the range.",
        "classes": "p(true class) after quarter turns of the disc, by class with 5 images or more.",
        "examples": "The images drawn.",
    }
    measured = {**results.tables, "classes": _quarters(results)}
    return {
        name: all_columns(measured[name], caption, HEADINGS, WORDS)
        for name, caption in captions.items()
    }


def _compared(results: Results) -> tuple[int, int]:
    layers = results.tables["layers"].column("layer")
    return min(layers), max(layers)


def _classes(results: Results) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in results.tables["classes"].records():
        found.setdefault(row["class"], []).append(row)
    return found


def _quarters(results: Results) -> Table:
    rows = []
    for name, steps in _classes(results).items():
        p = {step["x"]: step["p"] for step in steps}
        rows.append([name, steps[0]["images"], *(p[turn] for turn in QUARTERS)])
    return Table(["class", "images", *(f"p_{turn}" for turn in QUARTERS)], rows)


def _steps(results: Results, transform: str, layer: int) -> dict[str, np.ndarray]:
    """Columns of the table `steps` of one transform and layer."""
    table = results.tables["steps"]
    kept = [
        row for row in table.records() if (row["transform"], row["layer"]) == (transform, layer)
    ]
    return {
        key: np.array([row[key] for row in kept]) for key in table.columns if key != "transform"
    }


# --------------------------------------------------------------------------------------- drawing
def _curve(axis: Any, steps: dict[str, np.ndarray], key: str, colour: Any, label: str = "") -> None:
    """A mean with its band."""
    black = colour == BLACK
    ends = steps[f"{key}_low"], steps[f"{key}_high"]
    band = {"color": BAND, "alpha": 0.55} if black else {"color": colour, "alpha": 0.2}
    axis.fill_between(steps["x"], *ends, linewidth=0, zorder=2, **band)
    axis.plot(
        steps["x"], steps[key], color=colour, linewidth=1.9, marker="o" * black or None,
        markersize=3.2, label=label, zorder=4,
    )  # fmt: skip


def _frame(axis: Any, results: Results, name: str, title: str = "") -> None:
    """Axes of a transform, over a grey hill whose height is the share of filled pixels."""
    x, filled = (np.asarray(results.array(f"drawn_{name}_{key}")) for key in ("x", "filled"))
    if name == "disc":  # what it leaves out in every step is not filled by turning
        filled = filled - filled.min()
    hill = axis.get_xaxis_transform()
    axis.fill_between(x, 0, filled, color=FILLED, transform=hill, linewidth=0, zorder=0)
    axis.set_xlim(float(x.min()), float(x.max()))
    axis.set_ylim(bottom=0)
    axis.set_xticks(TICKS[name])
    axis.set_xlabel(LABELS[name], fontsize=TEXT_POINTS, labelpad=2)
    tidy(axis, TEXT_POINTS - 1)
    axis.set_title(title, fontsize=TITLE_POINTS)


def panels(results: Results) -> Any:
    """Fig. 5: a row per transform; example images, then distances at two layers and p."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    low, high = _compared(results)
    columns = {f"distance, layer {low}": (low, "raw"), f"distance, layer {high}": (high, "raw"),
               "p(true class)": (low, "p")}  # fmt: skip
    place = {int(number): k for k, number in enumerate(results.facts["modules"])}
    drawn = figure(11.2, 9.2)
    grid = drawn.add_gridspec(
        3, 4, width_ratios=[1.12, 1, 1, 1], left=0.055, right=0.985,
        top=0.96, bottom=0.135, wspace=0.3, hspace=0.4,
    )  # fmt: skip
    for r, name in enumerate(("translation", "scale", "rotation")):
        axis = drawn.add_subplot(grid[r, 0])
        _mosaic(axis, np.asarray(results.array(f"views_{name}")), results.facts["views"][name])
        axis.set_ylabel(name, fontsize=TITLE_POINTS, fontweight="bold", labelpad=10)
        axis.set_xlabel(LABELS[name], fontsize=TEXT_POINTS, labelpad=2)
        axis.set_title("images" * (r == 0), fontsize=TITLE_POINTS)
        x = np.asarray(results.array(f"drawn_{name}_x"))
        for c, (title, (layer, key)) in enumerate(columns.items(), 1):
            axis = drawn.add_subplot(grid[r, c])
            lines = results.array(f"drawn_{name}_probability")
            if key == "raw":
                lines = results.array(f"drawn_{name}_distance")[:, :, place[layer]]
            for i, line in enumerate(lines):
                axis.plot(x, line, color=CATEGORICAL[i], linewidth=1.0, zorder=3)
            _curve(axis, _steps(results, name, layer), key, BLACK)
            _frame(axis, results, name, title * (r == 0))
            if key == "p":
                axis.set_ylim(0, 1.02)
    names = [shorten(name, 22) for name in results.tables["examples"].column("class")]
    entries: list[Any] = [
        *(Line2D([], [], color=CATEGORICAL[i], label=name) for i, name in enumerate(names)),
        Line2D([], [], color=BLACK, linewidth=2, label="mean of the measured images"),
        Patch(facecolor=BAND, alpha=0.55, label="95 % band of the mean"),
        Patch(facecolor=FILLED, label="share of filled pixels (axis height = all)"),
    ]
    _legend(drawn, entries, 4)
    return drawn


def _mosaic(axis: Any, tiles: np.ndarray, marks: Sequence[float]) -> None:
    """Tiles (K, M, h, w, 3): an image a row behind a bar in its colour, steps side by side."""
    from matplotlib.patches import Rectangle

    count, steps, height, width = tiles.shape[:4]
    gap = max(1, height // 24)
    sheet = np.full((count, height + gap, steps, width + gap, 3), 255, np.uint8)
    sheet[:, :height, :, :width] = tiles.transpose(0, 2, 1, 3, 4)
    sheet = sheet.reshape(count * (height + gap), steps * (width + gap), 3)
    axis.imshow(sheet, interpolation="antialiased", aspect="equal")
    for i in range(count):
        at = (-4 * gap, i * (height + gap))
        bar = Rectangle(at, 2.5 * gap, height, color=CATEGORICAL[i], clip_on=False)
        axis.add_patch(bar)
    centres = [j * (width + gap) + width / 2 for j in range(steps)]
    axis.set_xticks(centres, [f"{mark:.3g}" for mark in marks])
    axis.set_yticks([])
    axis.tick_params(labelsize=TEXT_POINTS - 1, length=0)
    axis.spines[:].set_visible(False)


def _legend(drawn: Any, entries: Sequence[Any], columns: int) -> None:
    drawn.legend(
        handles=entries, loc="lower center", ncols=columns, frameon=False, fontsize=TEXT_POINTS,
        handlelength=1.5, columnspacing=1.5, bbox_to_anchor=(0.5, 0.005),
    )  # fmt: skip


def all_layers(results: Results) -> Any:
    """A panel per transform with one curve per layer, dark (first) to light (last)."""
    import matplotlib

    layers = sorted(set(results.tables["layers"].column("layer")))
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(layers)))
    drawn = figure(11.2, 4.3)
    axes = drawn.subplots(1, len(TITLES), sharey=True)
    for axis, (name, title) in zip(axes, TITLES.items(), strict=True):
        for layer, shade in zip(layers, map(tuple, shades.tolist()), strict=True):
            _curve(axis, _steps(results, name, layer), "distance", shade, f"layer {layer}")
        _frame(axis, results, name, title)
    axes[0].set_ylabel(f"distance, {UNIT}", fontsize=TEXT_POINTS)
    _legend(drawn, axes[0].get_legend_handles_labels()[0], len(layers))
    drawn.subplots_adjust(left=0.07, right=0.985, top=0.92, bottom=0.225, wspace=0.1)
    return drawn


def turned(results: Results) -> Any:
    """Rotation: whole view against disc, and classes as a heat map where there are any."""
    high = _compared(results)[1]
    classes = dict(list(_classes(results).items())[:MOST_CLASSES])
    drawn = figure(11.2, max(4.2, 1.9 + 0.23 * len(classes)))
    grid = drawn.add_gridspec(
        1, 3, left=0.06, right=0.94, top=0.9, bottom=0.23, wspace=0.45, width_ratios=[1, 1, 1.6]
    )
    titles = {"p": "p(true class)", "distance": f"distance, layer {high}"}
    for c, (key, title) in enumerate(titles.items()):
        axis = drawn.add_subplot(grid[0, c])
        _curve(axis, _steps(results, "rotation", high), key, CATEGORICAL[0], "whole view")
        _curve(axis, _steps(results, "disc", high), key, CATEGORICAL[5], "disc only")
        _frame(axis, results, "rotation", title)
        if key == "p":
            axis.set_ylim(0, 1.02)
    _legend(drawn, axis.get_legend_handles_labels()[0], 2)
    if classes:
        _heat(drawn, drawn.add_subplot(grid[0, 2]), classes)
    return drawn


def _heat(drawn: Any, axis: Any, classes: dict[str, list[dict[str, Any]]]) -> None:
    """p(true class) of the disc by class and angle."""
    angles = np.array([step["x"] for step in next(iter(classes.values()))])
    middle = (angles[1:] + angles[:-1]) / 2  # the outer cells are as wide as their neighbours
    edges = np.concatenate([[2 * angles[0] - middle[0]], middle, [2 * angles[-1] - middle[-1]]])
    heat, count = [[step["p"] for step in steps] for steps in classes.values()], len(classes)
    mesh = axis.pcolormesh(edges, np.arange(count + 1), heat, cmap="viridis", vmin=0, vmax=1)
    axis.set_ylim(count, 0)
    axis.set_yticks(np.arange(count) + 0.5, [shorten(name, 16) for name in classes])
    axis.set_xticks(QUARTERS)
    axis.set_xlabel(DEGREES, fontsize=TEXT_POINTS, labelpad=2)
    axis.tick_params(labelsize=TEXT_POINTS - 1.5, length=3)
    axis.set_title("p(true class) by class, disc", fontsize=TITLE_POINTS)
    bar = drawn.colorbar(mesh, ax=axis, fraction=0.05, pad=0.03)
    bar.set_label("mean probability", fontsize=TEXT_POINTS)
    bar.ax.tick_params(labelsize=TEXT_POINTS - 1.5, length=3)
    bar.outline.set_linewidth(0.6)
