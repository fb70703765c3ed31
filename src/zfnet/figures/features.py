"""Fig. 2: every map's projections beside the patches that caused them; numbers by layer."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL.Image import Image

from zfnet.data.signed import ZERO, signed_to_rgb
from zfnet.data.store import Prepared
from zfnet.data.views import NetView
from zfnet.figures.kit import trainings
from zfnet.figures.kit.grid import (
    MapCell,
    even_columns,
    feature_sheet,
    image_grid,
    patch,
    signed_thumbnail,
    thumbnail,
)
from zfnet.figures.kit.maps import shorten
from zfnet.figures.kit.show import Column, Figure, Shown
from zfnet.figures.kit.style import CATEGORICAL, figure, tidy
from zfnet.pipeline.registry import title_of
from zfnet.results import Results

CARD = "layer5"
THUMB_PX = 32
POINTS = 11.5
SHEET_COLUMNS = 6
SHEET_MAPS = 384  # on one sheet: WebP ends at 16,383 px a side
CHOSEN = {
    "random": "a random subset, as in the paper",
    "active": "a random subset of the maps that are ever active",
    "strongest": "those with the strongest activations",
    "specific": "those whose images agree most in class",
}


def figures(results: Results) -> list[Figure]:
    """A sheet a layer, the first layer's filters, numbers by layer, and small sheets of all maps.

    Photographs are read when a figure is drawn. The paper has 16, 12, 10, 10 maps of layers 2 to 5.
    """
    layers = [LayerPictures(results, number) for number in results.facts["layers"]]
    return [
        *(_sheet(layer) for layer in layers),
        *(_filters(layer) for layer in layers if layer.has_filters),
        _by_layer(results),
        *(sheet for layer in layers for sheet in _all_maps(layer)),
    ]


# ---------------------------------------------------------------------------------------- sheets
class LayerPictures:
    """One layer's maps as pictures: its arrays, and patches cut from the prepared images."""

    def __init__(self, results: Results, number: str, view: NetView | None = None) -> None:
        self.results, self.number = results, int(number)
        if view is not None:
            self.view = view
        self.facts: dict[str, Any] = results.facts["layers"][number]
        self.maps: int = self.facts["maps"]
        self.shown: list[int] = self.facts["shown"]
        self.field: int = self.facts["field"][0]
        self.has_filters = results.has(f"layer{number}_filters")

    def array(self, name: str) -> np.ndarray:
        """The array layer<number>_<name>."""
        return self.results.array(f"layer{self.number}_{name}")

    @functools.cached_property
    def view(self) -> NetView:
        """The images as the net saw them."""
        prepared = Prepared.open(self.results.root / "data" / "prepared")
        return NetView(prepared, self.results.facts["split"], self.results.facts["input_px"])

    @functools.cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The layer's rows of the table of maps."""
        records = self.results.tables["maps"].records()
        return [row for row in records if row["layer"] == self.number]

    def note(self, number: int, letters: int = 16) -> str:
        """How many of a map's images are of their commonest class: "7/9 owl"."""
        row = self.rows[number]
        if row["class"] is None:
            return "never active"
        return f"{row['of_class']}/{row['active']} {shorten(row['class'], letters)}"

    def patches(self, number: int) -> list[np.ndarray]:
        """The k image windows (h, w, 3) uint8 of a map, pale where its field does not reach."""
        size, values = self.array("projections").shape[2:4], self.array("values")[number]
        rows, corners, boxes = (self.array(n)[number] for n in ("images", "corners", "boxes"))
        return [
            patch(self.view.image(int(row)), corner, size, box, bool(value > 0))
            for row, corner, box, value in zip(rows, corners, boxes, values, strict=True)
        ]


def _sheet(layer: LayerPictures) -> Figure:
    facts = layer.results.facts
    k, whole = facts["top_k"], len(layer.shown) == layer.maps
    how = "named in the configuration" if layer.facts["named"] else CHOSEN[facts["choose"]]
    share = f"{len(layer.shown)} of {layer.maps} maps"
    left = "the map's filter on a symmetric scale of its own, grey = 0"
    if not layer.has_filters:
        left = (
            f"the deconvnet's projections of the {k} strongest activations, each on a symmetric "
            "scale of its own, grey = 0, full contrast at the 99.5 % quantile of its values"
        )
    caption = (
        f"Layer {layer.number} ({'all maps' if whole else f'{share}: {how}'}). Left of each pair: "
        f"{left}. Right: the image patches that caused these activations, {layer.field} px wide in "
        f"an input of {facts['input_px']} px, pale where the receptive field ends at the border."
    )
    if not layer.has_filters:
        caption += " Above each map: how many of its images are of their commonest class."
    alt = (
        f"Grid of {'all maps' if whole else share} of layer {layer.number}: the "
        f"{'filter' if layer.has_filters else 'projections'} beside the {k} image patches that "
        "excite each map most."
    )
    draw = functools.partial(_draw_sheet, layer)
    return Figure(f"layer{layer.number}", caption, alt, draw, format="webp")


def _draw_sheet(layer: LayerPictures) -> Image:
    k = layer.results.facts["top_k"]
    subject = "filter" if layer.has_filters else "deconvnet projections"
    share = f"{len(layer.shown)} of {layer.maps}" if len(layer.shown) < layer.maps else "All"
    cells = []
    for m in layer.shown:
        if layer.has_filters:
            cells.append(MapCell(f"{m}", [layer.array("filters")[m]], layer.patches(m)))
        else:
            left = list(layer.array("projections")[m])
            cells.append(MapCell(f"map {m}", left, layer.patches(m), layer.note(m)))
    return feature_sheet(
        cells,
        sheet_columns(layer.number, len(cells)),
        title=f"Layer {layer.number}",
        subtitle=f"{share} maps. Left: {subject}; right: image patches of the {k} strongest "
        f"activations, fields of {layer.field} px",
        sharp_left=layer.has_filters,
    )


def sheet_columns(number: int, cells: int) -> int:
    """Columns of a layer's figure: the paper's 4, 4, 2, 2 for layers 2 to 5."""
    return even_columns(cells, 1.5) if number == 1 else {2: 4, 3: 4}.get(number, 2)


def _all_maps(layer: LayerPictures) -> Iterator[Figure]:
    """Small sheets of every map of a layer whose figure shows some of them only."""
    if len(layer.shown) == layer.maps:
        return
    starts = range(0, layer.maps, SHEET_MAPS)
    for page, start in enumerate(starts, 1):
        numbers = range(start, min(start + SHEET_MAPS, layer.maps))
        span = f"all {layer.maps} maps"
        if len(starts) > 1:
            span = f"maps {numbers[0]} to {numbers[-1]} of {layer.maps}"
        yield Figure(
            f"all_layer{layer.number}" + (f"_{page}" if len(starts) > 1 else ""),
            f"Layer {layer.number}, {span}: projections (left) and patches (right), small, as in "
            "the figure of this layer. The full pictures are in the arrays.",
            f"Grid of {span} of layer {layer.number}: projections beside image patches.",
            functools.partial(_draw_all, layer, numbers, span),
            format="webp",
            folded=True,
        )


def _draw_all(layer: LayerPictures, numbers: Sequence[int], span: str) -> Image:
    cells = [
        MapCell(
            f"{m}",
            [signed_thumbnail(tile, THUMB_PX) for tile in layer.array("projections")[m]],
            [thumbnail(tile, THUMB_PX) for tile in layer.patches(m)],
            layer.note(m, 10),
        )
        for m in numbers
    ]
    side = math.ceil(math.sqrt(layer.results.facts["top_k"]))
    tile = max(12, 3 * THUMB_PX // side)
    return feature_sheet(
        cells,
        SHEET_COLUMNS,
        title=f"Layer {layer.number}: {span}",
        width=SHEET_COLUMNS * (2 * side * (tile + 2) + 32),
        max_tile=tile,
    )


def _filters(layer: LayerPictures) -> Figure:
    """The first layer's filters on one scale: the study keeps each on its own."""
    scale = float(layer.array("filter_scales").max())
    caption = (
        f"All {layer.maps} filters of layer {layer.number} of {title_of(layer.results.net)} "
        f"({layer.field} x {layer.field} px) on one common symmetric scale: grey = 0, "
        f"full contrast = ±{scale:.3g}. Filters that dominate stand out, dead ones stay grey."
    )
    alt = f"Grid of the {layer.maps} first-layer filters on one common colour scale."

    def draw() -> Image:
        scales = layer.array("filter_scales")[:, None, None, None]
        filters = (layer.array("filters").astype(np.float32) - ZERO) / 127 * scales
        columns = even_columns(layer.maps, 2.5)
        px = max(24, min(120, 1400 // columns))
        return image_grid(list(signed_to_rgb(filters, scale)), columns, px, gap=4, sharp=True)

    return Figure(f"layer{layer.number}_filters", caption, alt, draw)


# ------------------------------------------------------------------------------- numbers by layer
def _by_layer(results: Results) -> Figure:
    facts, energy = results.facts, 100 * results.facts["energy"]
    units = "trainings" if trainings.seeds_of(results) else "maps"
    caption = (
        f"By layer, means over maps with 95 % intervals over {units}. Left: spread among a map's "
        "patches and among its projections (1 − correlation of coarse edges) as a share of that "
        f"among pictures of different maps. Middle: side of the smallest square with {energy:g} % "
        "of a projection's energy, as a share of the receptive field's side. Right: share of the "
        "commonest class among a map's images, and among those of a random direction."
    )
    if facts["no_claims"]:
        caption += (
            f" Grey ground: the field is more than {facts['field_limit']:g} of the input's side; "
            "these layers are not judged."
        )
    alt = (
        "Three charts by layer: spread of patches and projections, support against the receptive "
        "field, class purity of maps, of random directions and of chance."
    )
    return Figure("by_layer", caption, alt, functools.partial(_draw_by_layer, results))


def _draw_by_layer(results: Results) -> Any:
    layers, places = [int(n) for n in results.facts["layers"]], range(len(results.facts["layers"]))
    panels: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("Spread within a map", "0 the same, 1 as between maps",
         {"spread_patches": "patches", "spread_projections": "projections"}),
        ("Support of a projection",
         f"side with {100 * results.facts['energy']:g} % of energy / field",
         {"support_share": "support / field"}),
        ("Class purity", "share of the commonest class",
         {"purity": "maps", "purity_directions": "random directions"}),
    )  # fmt: skip
    drawn = figure(3.75 * len(panels), 3.7)
    axes = drawn.subplots(1, len(panels))
    for axis, (title, measure, series) in zip(axes, panels, strict=True):
        for place in (place for place in places if layers[place] in results.facts["no_claims"]):
            axis.axvspan(place - 0.5, place + 0.5, color="#ececec", linewidth=0, zorder=0)
        for colour, marker, (key, label) in zip(CATEGORICAL, "os", series.items(), strict=False):
            found = [results.get(f"layer{layer}_{key}") for layer in layers]
            axis.plot(
                places, [one.value for one in found if one], color=colour, marker=marker,
                markersize=6, linewidth=1.6, label=label,
            )  # fmt: skip
            for place, one in zip(places, found, strict=True):
                if one and one.low is not None and one.high is not None:
                    axis.vlines(place, one.low, one.high, color=colour, linewidth=3.2, alpha=0.55)
        if "purity" in series:
            chance = results["purity_chance"].value
            axis.axhline(chance, color="#555555", linewidth=1.2, linestyle="--", label="chance")
        axis.set_title(title, fontsize=13, fontweight="bold")
        axis.set_xlabel("layer", fontsize=POINTS)
        axis.set_ylabel(measure, fontsize=POINTS)
        axis.set_xticks(places, [str(layer) for layer in layers])
        axis.set_xlim(-0.5, len(layers) - 0.5)
        axis.set_ylim(0, max(1.0, axis.get_ylim()[1]) * 1.08)
        tidy(axis, POINTS - 1)
        if len(axis.get_legend_handles_labels()[0]) > 1:
            axis.legend(fontsize=POINTS - 1, frameon=False, loc="best")
    drawn.tight_layout(w_pad=1.5)
    return drawn


# ---------------------------------------------------------------------------------------- tables
def tables(results: Results) -> dict[str, Shown]:
    """Layers, measures of spread, and every map."""
    layers = {
        "layer": "layer",
        "module": "module",
        "maps": "maps",
        "dead_maps": "never active",
        "field_px": "field (px)",
        "purity": "purity",
        "purity_directions": "purity, random directions",
        "directions_minus_units": "directions − maps",
        "overlap_units": "overlap, maps",
        "overlap_directions": "overlap, directions",
        "spread_patches": "spread of patches",
        "spread_projections": "spread of projections",
        "spread_difference": "difference",
        "support_px": "support (px)",
        "support_share": "support / field",
    }
    measures = {
        "measure": "what is compared",
        "spread_projections": "projections",
        "spread_patches": "patches",
        "unrelated_projections": "projections of different maps",
        "unrelated_patches": "patches of different maps",
        "moved_projections": "projection 1 px off",
        "moved_patches": "patch 1 px off",
        "difference": "patches − projections",
    }
    maps = {
        "layer": "layer",
        "map": "map",
        "strongest": "strongest activation",
        "class": "commonest class",
        "of_class": "images of it",
        "active": "images that excite the map",
        "spread_projections": "spread of projections",
        "spread_patches": "spread of patches",
        "support_px": "support (px)",
    }
    captions = {
        "layers": "Every layer. Purity: mean share of the commonest class among the strongest "
        "images of a map or random direction; overlap: share of images in both of two lists, mean "
        "over pairs of maps or of directions. Spread: 0 the same, 1 as among pictures of different "
        f"maps. Support: side of the smallest square with {100 * results.facts['energy']:g} % of a "
        "projection's energy.",
        "measures": "Mean 1 − correlation over the judged layers, by what is compared: within a "
        "map, among different maps, and of a picture against itself. The difference is of shares "
        "of that among different maps.",
        "maps": "Every map. Spread: mean 1 − correlation of coarse edges.",
    }
    words = {"measure": {"coarse": "coarse edges (judged)", "colour": "colour, pixel by pixel"}}
    wide = (
        "purity", "purity_directions", "directions_minus_units", "overlap_units",
        "overlap_directions", "spread_difference", "difference",
    )  # fmt: skip
    return {
        name: Shown(
            [Column(key, head, key in wide, words.get(key)) for key, head in heads.items()],
            captions[name],
        )
        for name, heads in (("layers", layers), ("measures", measures), ("maps", maps))
    }
