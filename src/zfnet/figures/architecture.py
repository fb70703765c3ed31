"""Fig. 6: panels of filters and features of two nets, and plots of what they are made of."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from zfnet.data.signed import signed_to_rgb
from zfnet.figures.kit.grid import even_columns, image_grid
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import (
    CATEGORICAL,
    HEAD,
    MARK,
    OUTSIDE,
    figure,
    heading,
    sheet,
    tidy,
    whisker,
)
from zfnet.results import Results
from zfnet.stats.estimate import Estimate

CARD = "panels"
WIDTH, APART, GAP = 1800, 40, 4  # of the sheet of panels, px
TITLE, TEXT = 11.0, 9.5
FLOOR = 1e-3  # of the plot of strength: what is 0 is drawn here
GREY = "#555555"
BANDS = ("low", "mid", "high")
MEASURES = {
    "layer1_roughness": "layer 1: roughness of the filters",
    "layer1_never_active": "layer 1: maps never active",
    "layer1_weak": "layer 1: weak filters",
    "layer1_dominance": "layer 1: largest RMS over median",
    "layer1_low": "layer 1: share of energy, low band",
    "layer1_mid": "layer 1: share of energy, mid band",
    "layer1_high": "layer 1: share of energy, high band",
    "layer2_never_active": "layer 2: maps never active",
    "layer2_weak": "layer 2: weak filters",
    "layer2_grid_excess": "layer 2: share of energy at the grid",
    "layer2_grid_ratio": "layer 2: density at the grid over neighbours",
}
CHOICES = {
    "chosen": "as chosen",
    "edges_0.8": "edges of the band 0.8 times",
    "edges_1.25": "edges of the band 1.25 times",
    "below_0": "never above 0",
    "below_0.1": "not above 0.1 of the layer's median",
    "below_0.5": "not above 0.5 of the layer's median",
    "radius_1.5": "radius at the grid 1.5 times",
    "baseline_grid": "the baseline's grid for both nets",
}
NO_PANEL = {
    "never bound": "the limit never bound: the same filters as (c)",
    "not run": "no net was trained without the limit",
    "no limit": "the net of (c) was itself trained without the limit",
    "unknown": "not known: the net was not trained here",
}


def figures(results: Results) -> list[Figure]:
    """The paper's panels; frequencies, strength and the trace of the sampling grid."""
    own, other = (net["label"] for net in results.facts["nets"].values())
    why = NO_PANEL.get(results.facts["limit"]["status"], "")
    first = (
        f"empty, for want of a net without the RMS limit ({why})"
        if why
        else "first layer without the RMS limit"
    )
    found = [
        Figure(
            "panels",
            f"Fig. 6: (a) {first}, (b) {other}, layer 1, (c) {own}, "
            f"layer 1, (d) {other}, layer 2, (e) {own}, layer 2. Filters of one panel share one "
            "symmetric scale (grey = 0, full contrast = the panel's largest weight), so a dominant "
            "filter leaves the others grey. Red frame: never active or weak. Layer 2: projections "
            "of the strongest activation of a seeded random subset of the active maps, each on its "
            "own symmetric scale.",
            f"Five panels of tiles: first-layer filters of {other} and {own} as small colour "
            "patches, and below them second-layer projections of both nets.",
            functools.partial(_panels, results),
        ),
        Figure(
            "strength",
            "RMS of every filter's weights (left) and strongest activation of every map in the "
            f"{results.facts['split']} split (right), each over the median of its layer, strongest "
            "first. Solid: layer 1, dashed: layer 2. A line that starts high has dominant filters, "
            "one that drops at its end has weak or dead ones.",
            "Two line plots of ranked filter strengths and ranked strongest activations.",
            functools.partial(_strength, results),
        ),
    ]
    if {record["net"] for record in results.tables["profile"].records()} == set(_nets(results)):
        low, high = results.facts["bands"]
        found.insert(1, Figure(
            "frequencies",
            "Frequencies of the first layer's filters that some image activates, all colours "
            "together; kernels are padded with zeros to one size. Left: mean energy density by "
            "distance from frequency zero, 95 % interval over filters; grey lines: edges of the "
            f"bands, {low:g} and {high:g} cycles per px. Right: shares of the three bands, for "
            "every filter (dots) and on average (95 % interval). Dotted: white noise, such as "
            "weights before training.",
            "Line plot of energy density against frequency for two nets, and dot plot of the "
            "shares in three frequency bands.",
            functools.partial(_frequencies, results),
        ))  # fmt: skip
    if len(results.tables["maps"].rows):
        found.append(Figure(
            "aliasing",
            "Left: mean energy of layer 2's projections by frequency (logarithmic); rings: "
            "frequencies of layer 1's sampling grid, where too coarse a sampling leaves bright "
            "spots. Right: share of the energy in the rings beyond what their neighbours predict, "
            "for every measured map (dots) and on average (95 % interval).",
            "Heat maps of the mean spectrum of second-layer projections with rings at the "
            "sampling grid's frequencies, and dots of the energy there for each map.",
            functools.partial(_aliasing, results),
        ))  # fmt: skip
    return found


def tables(results: Results) -> dict[str, Shown]:
    """The study's tables as people see them."""
    nets = _nets(results)
    own, other = nets.values()
    sides = [Column("ours", own), Column("theirs", other)]
    net = Column("net", "net", words=nets)
    return {
        "nets": Shown(
            [Column("measure", "measure", words=MEASURES),
             *(Column(side.key, side.heading, interval=True) for side in sides),
             Column("difference", "difference", interval=True)],
            f"Each measure with its 95 % interval. Difference: {own} minus {other}; of counts, the "
            "difference of their shares.",
        ),
        "sensitivity": Shown(
            [Column("measure", "measure", words=MEASURES),
             Column("choice", "choice", words=CHOICES), *sides,
             Column("difference", "difference", interval=True), Column("finding", f"{own} is")],
            "The comparisons under other choices than the chosen one, which comes first.",
        ),
        "filters": Shown(
            [net, Column("filter", "filter"),
             Column("live", "ever active", words={True: "yes", False: "no"}),
             Column("rms", "RMS"), Column("roughness", "roughness"),
             *(Column(band, band) for band in BANDS)],
            "Every first-layer filter: its strength, its roughness over that of the weights before "
            "training, and the shares of its energy in three bands.",
        ),
        "maps": Shown(
            [net, Column("map", "map"), Column("ratio", "density at the grid over neighbours"),
             Column("excess", "share of energy at the grid")],
            "Every measured map of layer 2: its projections at the frequencies of layer 1's "
            "sampling grid.",
        ),
    }  # fmt: skip


def _nets(results: Results) -> dict[str, str]:
    """Labels of the nets by their keys, ours first."""
    return {key: net["label"] for key, net in results.facts["nets"].items()}


# -------------------------------------------------------------------------------------- the panels
@dataclass(frozen=True)
class TilePanel:
    """One lettered panel: tiles (h, w, 3) uint8, or where there are none its second line says why.

    framed: positions of tiles drawn with a red frame.
    """

    title: str
    subtitle: str
    tiles: Sequence[np.ndarray] = ()
    sharp: bool = False
    framed: Collection[int] = ()


def _panels(results: Results) -> Image.Image:
    ours, theirs = _nets(results)
    first = TilePanel(
        "(a) No RMS limit, layer 1", NO_PANEL.get(results.facts["limit"]["status"], "")
    )
    if results.has("unlimited_layer1_filters"):
        first = _filter_panel(first.title, results.array("unlimited_layer1_filters"))
    return panel_sheet(
        [
            [first, _layer1("(b)", theirs, results), _layer1("(c)", ours, results)],
            [_layer2("(d)", theirs, results), _layer2("(e)", ours, results)],
        ]
    )


def _layer1(letter: str, key: str, results: Results) -> TilePanel:
    net, filters = results.facts["nets"][key], results.array(f"{key}_layer1_filters")
    framed = set(net["weak"].get("1", []))
    if results.arrays[f"{key}_layer1_peaks"]["shape"] == [len(filters)]:
        framed |= set(net["never_active"]["1"])
    title = f"{letter} {net['label']}, layer 1"
    return _filter_panel(title, filters, max(net["stride"]), framed)


def _filter_panel(
    title: str, filters: np.ndarray, stride: int = 1, framed: Collection[int] = ()
) -> TilePanel:
    if not len(filters):
        return TilePanel(title, "no first layer of filters on the pixels")
    scale = float(np.abs(filters).max())
    tiles = [signed_to_rgb(one, scale) for one in filters.transpose(0, 2, 3, 1)]
    step = f", step {stride}" if stride > 1 else ""
    size = f"{filters.shape[2]} x {filters.shape[3]} px"
    return TilePanel(title, f"{len(tiles)} filters {size}{step}", tiles, True, framed)


def _layer2(letter: str, key: str, results: Results) -> TilePanel:
    net, pictures = results.facts["nets"][key], results.array(f"{key}_layer2_projections")
    title = f"{letter} {net['label']}, layer 2"
    if not len(pictures):
        return TilePanel(title, "no map of layer 2 is ever active")
    (total,) = results.arrays[f"{key}_layer2_peaks"]["shape"]
    size = f"fields of {max(net['field_px'])} px"
    tiles = [signed_to_rgb(picture) for picture in pictures]
    return TilePanel(title, f"{len(tiles)} of {total} maps, {size}", tiles)


def panel_sheet(rows: Sequence[Sequence[TilePanel]]) -> Image.Image:
    """Rows of panels, each row's panels of equal width; as high as their tiles need."""
    drawn: list[list[Image.Image]] = []
    for row in rows:
        side = (WIDTH - APART * (len(row) - 1)) // len(row)
        drawn.append([_panel(panel, side, 1.6 if len(row) < 3 else 1.15) for panel in row])
    heights = [max(one.height for one in pictures) for pictures in drawn]
    picture, _ = sheet(WIDTH, sum(heights) + APART * (len(rows) - 1))
    y = 0
    for pictures, height in zip(drawn, heights, strict=True):
        for place, one in enumerate(pictures):
            picture.paste(one, (place * (one.width + APART), y))
        y += height + APART
    return picture


def _panel(panel: TilePanel, side: int, aspect: float) -> Image.Image:
    tiles = Image.new("RGB", (side, side // 2), OUTSIDE)
    if panel.tiles:
        columns = even_columns(len(panel.tiles), aspect)
        px = (side - GAP * (columns - 1)) // columns
        tiles = image_grid(
            panel.tiles, columns, px, gap=GAP, sharp=panel.sharp, framed=panel.framed
        )
    picture, draw = sheet(side, HEAD + tiles.height)
    picture.paste(tiles, (0, HEAD))
    heading(draw, panel.title, panel.subtitle, side)
    return picture


# --------------------------------------------------------------------------------------- the plots
def _frequencies(results: Results) -> Any:
    """Left: energy density against frequency; right: shares of the three bands by filter."""
    from matplotlib.ticker import LogLocator, NullFormatter

    drawn = figure(8.6, 3.7)
    left, right = drawn.subplots(1, 2, gridspec_kw={"width_ratios": [1.15, 1]})
    drawn.subplots_adjust(left=0.085, right=0.99, top=0.84, bottom=0.145, wspace=0.24)
    for number, (key, label) in enumerate(_nets(results).items()):
        profile = [row for row in results.tables["profile"].records() if row["net"] == key]
        x, y, low, high = (
            [row[name] for row in profile]
            for name in ("frequency", "density", "density_low", "density_high")
        )
        left.plot(x, y, color=CATEGORICAL[number], linewidth=2, label=label)
        left.fill_between(x, low, high, color=CATEGORICAL[number], alpha=0.2, linewidth=0)
        filters = [
            row for row in results.tables["filters"].records() if row["net"] == key and row["live"]
        ]
        for place, band in enumerate(BANDS):
            values = [row[band] for row in filters if row[band] is not None]
            _strip(right, place + 0.4 * (number - 0.5), 0.28, values,
                   results[f"{key}_layer1_{band}"], number)  # fmt: skip
    left.axhline(1, color=GREY, linestyle=":", linewidth=1.3, label="white noise")
    for edge in results.facts["bands"]:
        left.axvline(edge, color="#aaaaaa", linewidth=1)
    left.set(yscale="log", xlim=(0, 0.7072))
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter(NullFormatter())
    for at, name in zip((0, *results.facts["bands"]), BANDS, strict=True):
        left.text(at + 0.008, 1.015, name, transform=left.get_xaxis_transform(), fontsize=TEXT,
                  va="bottom")  # fmt: skip
    left.set_xlabel("frequency (cycles per px)", fontsize=TEXT)
    left.set_ylabel("energy density (white noise = 1)", fontsize=TEXT)
    left.legend(fontsize=TEXT - 0.5, frameon=False, loc="upper right")
    left.set_title("Layer 1: mean over its filters", fontsize=TITLE, pad=19, loc="left")
    for place, value in enumerate(results.facts["white_noise_shares"]):
        right.hlines(value, place - 0.42, place + 0.42, color=GREY, linestyle=":")
    right.set_xticks(range(len(BANDS)), BANDS)
    right.set(xlim=(-0.5, len(BANDS) - 0.5), ylim=(0, 1))
    right.set_ylabel("share of a filter's energy", fontsize=TEXT)
    right.set_title("Shares of the bands (dots: filters)", fontsize=TITLE, pad=19, loc="left")
    tidy(left, TEXT - 1)
    tidy(right, TEXT - 1)
    return drawn


def _strip(
    axis: Any, x: float, width: float, values: Sequence[float], mean: Estimate, number: int,
    scale: float = 1,
) -> None:  # fmt: skip
    """Values as dots, spread by rank so that none hides another; their mean with its interval."""
    spread, colour = (np.arange(len(values)) * 0.618034) % 1 - 0.5, CATEGORICAL[number]
    axis.plot(
        x + spread * width, scale * np.sort(values), ".", color=colour, alpha=0.6, markersize=4,
        markeredgewidth=0,
    )  # fmt: skip
    whisker(axis, x, mean, scale, color=colour, markeredgecolor="white", zorder=3)


def _strength(results: Results) -> Any:
    """Left: RMS of each filter, right: strongest activation of each map, both over the median."""
    drawn = figure(8.6, 3.5)
    axes = drawn.subplots(1, 2)
    drawn.subplots_adjust(left=0.085, right=0.98, top=0.9, bottom=0.15, wspace=0.22)
    for axis, kind, what in zip(axes, ("rms", "peaks"), ("filters", "maps"), strict=True):
        for number, (key, label) in enumerate(_nets(results).items()):
            for layer, style in ((1, "-"), (2, "--")):
                name = f"{key}_layer{layer}_{kind}"
                values = np.sort(results.array(name))[::-1] if results.has(name) else np.zeros(0)
                if not len(values) or np.median(values) <= 0:
                    continue
                axis.plot(
                    100 * (np.arange(len(values)) + 0.5) / len(values),
                    np.maximum(values / np.median(values), FLOOR), color=CATEGORICAL[number],
                    linewidth=1.8, linestyle=style, label=f"{label}, layer {layer}",
                )  # fmt: skip
        axis.set(yscale="log", xlim=(0, 100))
        axis.set_xlabel(f"{what}, strongest first (%)", fontsize=TEXT)
    weak = results.facts["weak"]
    for axis, level, text in ((axes[0], weak, "weak below"), (axes[1], FLOOR, "never active")):
        axis.axhline(level, color="#777777", linestyle=":", linewidth=1.2)
        axis.text(1, level * 1.08, text, fontsize=TEXT - 1, color=GREY, va="bottom")
    axes[0].set_ylim(min(weak * 0.6, axes[0].get_ylim()[0]), None)
    axes[1].set_ylim(FLOOR * 0.8, None)
    axes[0].set_ylabel("over the layer's median", fontsize=TEXT)
    axes[0].set_title("RMS of the weights", fontsize=TITLE, loc="left")
    axes[1].set_title("Strongest activation in the split", fontsize=TITLE, loc="left")
    axes[0].legend(fontsize=TEXT - 0.5, frameon=False, loc="best")
    for axis in axes:
        tidy(axis, TEXT - 1)
    return drawn


def _aliasing(results: Results) -> Any:
    """Mean spectrum of each net's projections, the grid's frequencies ringed; its trace."""
    from matplotlib.patches import Circle

    maps = results.tables["maps"].records()
    nets = {key: label for key, label in _nets(results).items() if key in {m["net"] for m in maps}}
    logs = {}
    for key in nets:
        spectrum = np.asarray(results.array(f"{key}_layer2_spectrum"), np.float64)
        logs[key] = np.log10(np.maximum(np.fft.fftshift(spectrum / spectrum.mean()), 1e-12))
    low = min(float(np.quantile(log, 0.02)) for log in logs.values())
    high = max(float(np.quantile(log, 0.999)) for log in logs.values())
    drawn = figure(4.2 + 2.75 * len(nets), 3.2)
    drawn.set_layout_engine("constrained")
    *axes, strip = drawn.subplots(1, len(nets) + 1)
    for number, (key, axis) in enumerate(zip(nets, axes, strict=True)):
        net, half = results.facts["nets"][key], 0.5 + 0.5 / len(logs[key])
        mesh = axis.imshow(
            logs[key], extent=(-half, 1 - half, 1 - half, -half), cmap="viridis", vmin=low,
            vmax=high, interpolation="nearest",
        )  # fmt: skip
        radius = max(results.facts["radius"] / max(net["field_px"]), 0.015)
        for y, x in grid_points(net["stride"]):
            axis.add_patch(Circle((x, y), radius, fill=False, edgecolor=MARK, linewidth=1.3))
        axis.set_xticks([-0.25, 0, 0.25])
        axis.set_yticks([-0.5, -0.25, 0, 0.25], None if number == 0 else [""] * 4)
        # After the ticks, which would widen them.
        axis.set(xlim=(-half, 1 - half), ylim=(1 - half, -half))
        axis.set_xlabel("across (cycles per px)", fontsize=TEXT)
        grid = " x ".join(str(step) for step in dict.fromkeys(net["stride"]))
        axis.set_title(f"{nets[key]}: grid of {grid} px", fontsize=TITLE, loc="left")
        axis.tick_params(labelsize=TEXT - 1, length=3)
        excess = [one["excess"] for one in maps if one["net"] == key and one["excess"] is not None]
        _strip(strip, number, 0.55, excess, results[f"{key}_layer2_grid_excess"], number, 100)
    axes[0].set_ylabel("down (cycles per px)", fontsize=TEXT)
    bar = drawn.colorbar(mesh, ax=axes, aspect=18, pad=0.02, shrink=0.84)
    bar.set_label("log₁₀ density (white noise = 0)", fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT - 1)
    strip.axhline(0, color=GREY, linestyle=":", linewidth=1.2)
    strip.set(xlim=(-0.5, len(nets) - 0.5))
    strip.set_xticks(range(len(nets)), list(nets.values()))
    strip.set_box_aspect(1)  # as high as the spectra
    strip.set_ylabel("energy at the grid (%)", fontsize=TEXT)
    strip.set_title("Its trace (dots: maps)", fontsize=TITLE, loc="left")
    tidy(strip, TEXT - 1)
    return drawn


def grid_points(stride: Sequence[int]) -> list[tuple[float, float]]:
    """Every frequency (down, across) of a grid within ±0.5, zero itself left out."""
    along = [
        [m / s for m in range(-s, s + 1) if abs(m / s) <= 0.5] if s > 1 else [0.0] for s in stride
    ]
    return [(y, x) for y in along[0] for x in along[1] if (y, x) != (0.0, 0.0)]
