"""Data of the feature explorer: every map's strongest patches and projections, on sprite sheets.

A layer's maps come in pages of `MAPS_A_SHEET`; each page is one sheet and one script, read when a
map of it is chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zfnet.data.store import Prepared
from zfnet.data.views import NetView
from zfnet.figures.features import LayerPictures
from zfnet.figures.kit.grid import patch, signed_thumbnail
from zfnet.report.explore_sheets import (
    Sheets,
    check_rows,
    fact,
    image_sheets,
    lacking,
    pages,
    rounded,
    square,
)
from zfnet.report.scripts import write_call
from zfnet.results import Results

MAPS_A_SHEET = 64
FOLLOWED_A_SHEET = 32
IMAGES_A_SHEET = 64
TILE_PX = 80  # at most; a desk shows tiles a little larger
EPOCH_PX = 72
IMAGE_PX = 160
FOLDER = "explore/features"
CALL = "zfnetFeatures"  # the function that data scripts call


def write(
    study: dict[str, Any], evolution: dict[str, Any] | None, prepared: Prepared, site: Path
) -> dict[str, Any]:
    """Write all sheets and scripts below `site`/explore/features; what the template shows.

    study, evolution: as `load_study` gives them. UserError where a result lacks something.
    """
    results: Results = study["results"]
    split, px, top_k = (fact(results, name) for name in ("split", "input_px", "top_k"))
    view = NetView(prepared, split, px)
    layers = [LayerPictures(results, number, view) for number in fact(results, "layers")]
    for layer in layers:
        check_rows(layer.array("images"), view, "features")
    rows = {int(row) for layer in layers for row in np.unique(layer.array("images"))}
    with Sheets(site) as sheets:
        places, images = image_sheets(
            sheets, view, rows, FOLDER, px=IMAGE_PX, a_sheet=IMAGES_A_SHEET
        )
        shown = {}
        for layer in layers:
            number = str(layer.number)
            all_maps: list[dict[str, Any]] = []
            for page, maps in pages(range(layer.maps), MAPS_A_SHEET):
                data = _page(sheets, layer, list(maps), page, places)
                script = site / FOLDER / f"layer{number}_{page}.js"
                write_call(script, CALL, f"{number}/{page}", data)
                all_maps += data["maps"]
            followed = _followed(evolution, number)
            shown[number] = {
                "maps": layer.maps,
                "field": layer.field,
                "dead": fact(results, "layers", number, "dead"),
                "followed": followed,
                "strongest": [one["values"][0] for one in all_maps],
                "purity": [_purity(one) for one in all_maps],
            }
            if followed and evolution is not None:
                _write_evolution(sheets, evolution["results"], number, prepared, site)
    followed_by = _account(evolution)
    meta = {
        "px": px,
        "k": top_k,
        "classes": [item.name for item in prepared.classes],
        "layers": shown,
        "images": images,
        "maps_a_sheet": MAPS_A_SHEET,
        "followed_a_sheet": FOLLOWED_A_SHEET,
        "epochs": followed_by.get("epochs", []),
        "threshold": followed_by.get("threshold"),
    }
    write_call(site / FOLDER / "meta.js", CALL, "meta", meta)
    return {
        "net": results.net,
        "split": split,
        "top_k": top_k,
        "maps": sum(layer["maps"] for layer in shown.values()),
        "images": len(places),
        "layers": [{"number": number, "maps": one["maps"]} for number, one in shown.items()],
        "meta": f"{FOLDER}/meta.js",
    }


def _page(
    sheets: Sheets, layer: LayerPictures, maps: list[int], number: int, places: dict[int, int]
) -> dict[str, Any]:
    """One page of maps: its sheet, and for each map its pairs, strongest first."""
    tiles = []
    for m in maps:
        for crop, tile in zip(layer.array("projections")[m], layer.patches(m), strict=True):
            tiles += [signed_thumbnail(np.asarray(crop), TILE_PX), square(tile, TILE_PX)]
    name = f"{FOLDER}/layer{layer.number}"
    columns = 2 * layer.array("values").shape[1]
    sheet = sheets.add(f"{name}_{number}.webp", tiles, columns=columns)
    listed = [_map(layer, m, places) for m in maps]
    data = {"first": maps[0], "sheet": sheet.plain(), "maps": listed}
    if layer.has_filters:
        filters = [np.asarray(layer.array("filters")[m]) for m in maps]
        data["filters"] = sheets.add(f"{name}_filters_{number}.webp", filters, columns=8).plain()
        data["filter_scales"] = rounded(layer.array("filter_scales")[maps])
    return data


def _map(layer: LayerPictures, m: int, places: Mapping[int, int]) -> dict[str, Any]:
    """A map's pairs and the most common class among the images that excite it."""
    values, rows, split = layer.array("values")[m], layer.array("images")[m], layer.view.split
    labels = split.labels[rows].tolist()
    exciting = [label for label, value in zip(labels, values, strict=True) if value > 0]
    common = Counter(exciting).most_common(1)
    return {
        "values": rounded(values),
        "images": [places[int(row)] for row in rows],
        "ids": [split.ids[int(row)] for row in rows],
        "labels": labels,
        "boxes": layer.array("boxes")[m].tolist(),
        "common": list(common[0]) if common else None,
        "exciting": len(exciting),
    }


def _purity(one: Mapping[str, Any]) -> float | None:
    """The share of the most common class among the images that excite the map, 0..1."""
    return rounded([one["common"][1] / one["exciting"]])[0] if one["common"] else None


# ------------------------------------------------------------------------------------- evolution
def _account(evolution: dict[str, Any] | None) -> dict[str, Any]:
    """The study's own account; empty without the study, or where the net had no snapshots."""
    facts: dict[str, Any] = evolution["results"].facts if evolution else {}
    return facts if facts.get("layers") else {}


def _followed(evolution: dict[str, Any] | None, number: str) -> list[int]:
    """Maps of the layer whose pictures the evolution study kept."""
    if evolution is None or number not in _account(evolution).get("layers", {}):
        return []
    name = f"layer{number}_pictured"
    results: Results = evolution["results"]
    return results.array(name).tolist() if results.has(name) else []


def _write_evolution(
    sheets: Sheets, results: Results, number: str, prepared: Prepared, site: Path
) -> None:
    """Sheets and scripts of a layer's followed maps: one row a map, two tiles an epoch."""
    view = NetView(prepared, fact(results, "split"), fact(results, "input_px"))
    check_rows(results.array(f"layer{number}_images"), view, "evolution")
    members = {int(m): i for i, m in enumerate(results.array(f"layer{number}_maps"))}
    settled = _settled(results, number)
    pictured = results.array(f"layer{number}_pictured").tolist()
    for page, maps in pages(list(enumerate(pictured)), FOLLOWED_A_SHEET):
        tiles, by_map = [], {}
        for kept, m in maps:
            tiles += epoch_tiles(results, number, kept, members[m], view)
            epochs = _epochs_of(results, number, members[m], view)
            by_map[str(m)] = epochs | {"settled": settled.get(m)}
        name = f"{FOLDER}/layer{number}_epochs_{page}"
        sheet = sheets.add(f"{name}.webp", tiles, columns=len(tiles) // len(maps))
        order = [m for _, m in maps]
        data = {"sheet": sheet.plain(), "order": order, "maps": by_map}
        write_call(site / f"{name}.js", CALL, f"{number}/epochs/{page}", data)


def epoch_tiles(
    results: Results, number: str, kept: int, member: int, view: NetView
) -> list[np.ndarray]:
    """For each epoch the projection and the patch of the map's strongest activation.

    results: of the evolution study; kept, member: the map's place among those whose pictures were
    kept, and among those that were measured.
    """
    values, rows, corners, boxes = (
        results.array(f"layer{number}_{name}")[member]
        for name in ("values", "images", "corners", "boxes")
    )
    tiles = []
    for e, crop in enumerate(np.asarray(results.array(f"layer{number}_projections")[kept])):
        image, active = view.image(int(rows[e])), bool(values[e] > 0)
        tile = patch(image, corners[e], crop.shape[:2], boxes[e], active)
        tiles += [signed_thumbnail(crop, EPOCH_PX), square(tile, EPOCH_PX)]
    return tiles


def _epochs_of(results: Results, number: str, member: int, view: NetView) -> dict[str, Any]:
    values, rows, fixed, own = (
        results.array(f"layer{number}_{name}")[member]
        for name in ("values", "images", "fixed", "own")
    )
    return {
        "values": rounded(values),
        "fixed": rounded(fixed, 3),
        "own": rounded(own, 3),
        "labels": view.split.labels[rows].tolist(),
        "ids": [view.split.ids[row] for row in rows.tolist()],
    }


def _settled(results: Results, number: str) -> dict[int, list[Any]]:
    """Map: (epoch of convergence or None, whether before the last, start), from the table."""
    if "maps" not in results.tables:
        raise lacking(results, "table maps")
    rows = results.tables["maps"].records()
    for name in ("layer", "map", "settled", "before_end", "start"):
        if rows and name not in rows[0]:
            raise lacking(results, f"table maps with the column {name}")
    return {
        int(row["map"]): [row["settled"], row["before_end"], row["start"]]
        for row in rows
        if str(row["layer"]) == number
    }
