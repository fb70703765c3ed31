"""Data of the feature explorer: every map's strongest patches and projections, on sprite sheets.

A layer's maps come in pages of `MAPS_A_SHEET`; each page is one sheet and one script, read when a
map of it is chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfnet.data.store import Prepared
from zfnet.figures.kit.grid import cut, pale_outside, signed_thumbnail
from zfnet.report.explore_sheets import (
    Sheets,
    View,
    check_rows,
    image_sheets,
    load_array,
    older,
    pages,
    rounded,
    square,
    told,
)
from zfnet.report.scripts import write_call

MAPS_A_SHEET = 64
FOLLOWED_A_SHEET = 32
IMAGES_A_SHEET = 64
TILE_PX = 80  # at most; a desk shows tiles a little larger
EPOCH_PX = 72
IMAGE_PX = 160
FOLDER = "explore/features"
CALL = "zfnetFeatures"  # the function that data scripts call


@dataclass(frozen=True)
class Layer:
    """One layer of the study: arrays by name, sizes from the result's own account."""

    number: str
    study: dict[str, Any]

    def array(self, name: str) -> np.ndarray:
        """Array `layer<number>_<name>`."""
        return load_array(self.study, f"layer{self.number}_{name}")

    def has(self, name: str) -> bool:
        """Whether the result holds that array."""
        return f"layer{self.number}_{name}" in self.study["arrays"]

    def told(self, name: str) -> Any:
        """What `extra.layers` says of it under `name`."""
        return told(self.study, "layers", self.number, name)


def write(
    study: dict[str, Any], evolution: dict[str, Any] | None, prepared: Prepared, site: Path
) -> dict[str, Any]:
    """Write all sheets and scripts below `site`/explore/features; what the template shows.

    study, evolution: results as `load_result` gives them. UserError where an array is missing.
    """
    split, px, top_k = (told(study, name) for name in ("split", "input_px", "top_k"))
    view = View(prepared, split, px)
    layers = [Layer(number, study) for number in told(study, "layers")]
    for layer in layers:
        check_rows(layer.array("images"), view, "features")
    rows = {int(row) for layer in layers for row in np.unique(layer.array("images"))}
    with Sheets(site) as sheets:
        places, images = image_sheets(
            sheets, view, rows, FOLDER, px=IMAGE_PX, a_sheet=IMAGES_A_SHEET
        )
        shown = {}
        for layer in layers:
            followed = _followed(evolution, layer.number)
            told_maps: list[dict[str, Any]] = []
            for number, maps in pages(range(layer.told("maps")), MAPS_A_SHEET):
                data = _page(sheets, layer, list(maps), number, view, places)
                write_call(site / _script(layer.number, number), CALL, f"{layer.number}/{number}",
                           data)  # fmt: skip
                told_maps += data["maps"]
            shown[layer.number] = {
                "maps": layer.told("maps"),
                "field": layer.told("field")[0],
                "dead": layer.told("dead"),
                "followed": followed,
                "strongest": [one["values"][0] for one in told_maps],
                "purity": [_purity(one) for one in told_maps],
            }
            if followed and evolution is not None:
                _write_evolution(sheets, evolution, layer.number, prepared, site)
    meta = {
        "px": px,
        "k": top_k,
        "classes": [item.name for item in prepared.classes],
        "layers": shown,
        "images": images,
        "maps_a_sheet": MAPS_A_SHEET,
        "followed_a_sheet": FOLLOWED_A_SHEET,
        "epochs": _account(evolution).get("epochs", []),
        "threshold": _account(evolution).get("threshold"),
    }
    write_call(site / FOLDER / "meta.js", CALL, "meta", meta)
    return {
        "net": study["net"],
        "split": split,
        "top_k": top_k,
        "maps": sum(layer["maps"] for layer in shown.values()),
        "images": len(places),
        "layers": [{"number": number, "maps": one["maps"]} for number, one in shown.items()],
        "meta": f"{FOLDER}/meta.js",
    }


def _script(layer: str, page: int) -> str:
    return f"{FOLDER}/layer{layer}_{page}.js"


def _page(
    sheets: Sheets, layer: Layer, maps: list[int], number: int, view: View, places: dict[int, int]
) -> dict[str, Any]:
    """One page of maps: its sheet, and for each map its pairs, strongest first."""
    values, images = layer.array("values")[maps], layer.array("images")[maps]
    corners, boxes = layer.array("corners")[maps], layer.array("boxes")[maps]
    projections = layer.array("projections")
    canvas = tuple(projections.shape[2:4])
    tiles, listed = [], []
    for i, m in enumerate(maps):
        crops = np.asarray(projections[m])
        for rank in range(values.shape[1]):
            active = bool(values[i, rank] > 0)
            patch = _patch(view, images[i, rank], corners[i, rank], boxes[i, rank], canvas, active)
            tiles += [signed_thumbnail(crops[rank], TILE_PX), square(patch, TILE_PX)]
        listed.append(_map(layer, m, values[i], images[i], boxes[i], view, places))
    k = values.shape[1]
    sheet = sheets.add(f"{FOLDER}/layer{layer.number}_{number}.webp", tiles, columns=2 * k)
    data = {"first": maps[0], "sheet": sheet.plain(), "maps": listed}
    if layer.has("filters"):
        filters = [np.asarray(layer.array("filters")[m]) for m in maps]
        side = sheets.add(f"{FOLDER}/layer{layer.number}_filters_{number}.webp", filters, columns=8)
        data["filters"] = side.plain()
        data["filter_scales"] = rounded(layer.array("filter_scales")[maps])
    return data


def _patch(
    view: View, row: int, corner: np.ndarray, box: np.ndarray, canvas: tuple[int, ...], active: bool
) -> np.ndarray:
    """The image's window under a projection, pale where the field does not reach."""
    top, left = int(corner[0]), int(corner[1])
    tile = cut(view.image(int(row)), (top, left), (canvas[0], canvas[1]))
    y0, x0, y1, x1 = (int(v) for v in box)
    inside = (y0 - top, x0 - left, y1 - top, x1 - left) if active else (0, 0, 0, 0)
    return tile if inside == (0, 0, *tile.shape[:2]) else pale_outside(tile, inside)


def _map(
    layer: Layer,
    number: int,
    values: np.ndarray,
    images: np.ndarray,
    boxes: np.ndarray,
    view: View,
    places: Mapping[int, int],
) -> dict[str, Any]:
    """A map's pairs and the share of the most common class among the images that excite it."""
    labels = view.split.labels[images].tolist()
    exciting = [label for label, value in zip(labels, values, strict=True) if value > 0]
    common = Counter(exciting).most_common(1)
    return {
        "values": rounded(values),
        "images": [places[int(row)] for row in images],
        "ids": [view.split.ids[int(row)] for row in images],
        "labels": labels,
        "boxes": np.asarray(boxes).tolist(),
        "common": list(common[0]) if common else None,
        "exciting": len(exciting),
    }


def _purity(one: Mapping[str, Any]) -> float | None:
    """The share of the most common class among the images that excite the map, 0..1."""
    return rounded([one["common"][1] / one["exciting"]])[0] if one["common"] else None


# ------------------------------------------------------------------------------------- evolution
def _account(evolution: dict[str, Any] | None) -> dict[str, Any]:
    """The study's own account; empty without the study, or where the net had no snapshots."""
    extra: dict[str, Any] = evolution["extra"] if evolution else {}
    return extra if extra.get("epochs") else {}


def _followed(evolution: dict[str, Any] | None, layer: str) -> list[int]:
    """Maps of the layer whose pictures the evolution study kept."""
    if evolution is None or layer not in _account(evolution).get("layers", {}):
        return []
    kept = Layer(layer, evolution)
    return kept.array("pictured").tolist() if kept.has("pictured") else []


def _write_evolution(
    sheets: Sheets, evolution: dict[str, Any], number: str, prepared: Prepared, site: Path
) -> None:
    """Sheets and scripts of a layer's followed maps: one row a map, two tiles an epoch."""
    layer = Layer(number, evolution)
    view = View(prepared, told(evolution, "split"), told(evolution, "input_px"))
    check_rows(layer.array("images"), view, "evolution")
    members = {int(m): i for i, m in enumerate(layer.array("maps"))}
    settled = _settled(evolution, number)
    pictured = layer.array("pictured").tolist()
    for page, maps in pages(list(enumerate(pictured)), FOLLOWED_A_SHEET):
        tiles, by_map = [], {}
        for kept, m in maps:
            tiles += epoch_tiles(layer, kept, members[m], view)
            by_map[str(m)] = _epochs_of(layer, members[m], view) | {"settled": settled.get(m)}
        epochs = len(tiles) // (2 * len(maps))
        name = f"{FOLDER}/layer{number}_epochs_{page}"
        sheet = sheets.add(f"{name}.webp", tiles, columns=2 * epochs)
        order = [m for _, m in maps]
        data = {"sheet": sheet.plain(), "order": order, "maps": by_map}
        write_call(site / f"{name}.js", CALL, f"{number}/epochs/{page}", data)


def epoch_tiles(layer: Layer, kept: int, member: int, view: View) -> list[np.ndarray]:
    """For each epoch the projection and the patch of the map's strongest activation."""
    crops = np.asarray(layer.array("projections")[kept])
    values, images = layer.array("values")[member], layer.array("images")[member]
    corners, boxes = layer.array("corners")[member], layer.array("boxes")[member]
    tiles = []
    for e, crop in enumerate(crops):
        size, active = crop.shape[:2], bool(values[e] > 0)
        patch = _patch(view, images[e], corners[e], boxes[e], size, active)
        tiles += [signed_thumbnail(crop, EPOCH_PX), square(patch, EPOCH_PX)]
    return tiles


def _epochs_of(layer: Layer, member: int, view: View) -> dict[str, Any]:
    rows = layer.array("images")[member].tolist()
    return {
        "values": rounded(layer.array("values")[member]),
        "fixed": rounded(layer.array("fixed")[member], 3),
        "own": rounded(layer.array("own")[member], 3),
        "labels": view.split.labels[rows].tolist(),
        "ids": [view.split.ids[row] for row in rows],
    }


def _settled(evolution: dict[str, Any], layer: str) -> dict[int, list[Any]]:
    """Map: (epoch of settling or None, whether before the last), from the study's own table."""
    table = evolution["tables"].get("maps", {"columns": [], "rows": []})
    at = {name: i for i, name in enumerate(table["columns"])}
    for name in ("layer", "map", "settled from epoch", "settled before the end"):
        if name not in at:
            raise older(evolution, f"has no table maps with the column “{name}”")
    return {
        int(row[at["map"]]): [row[at["settled from epoch"]], row[at["settled before the end"]]]
        for row in table["rows"]
        if str(row[at["layer"]]) == layer
    }
