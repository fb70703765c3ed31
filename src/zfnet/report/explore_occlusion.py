"""Data of the occlusion explorer: images, the occluder's places and what the net said at each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zfnet.data.store import Prepared
from zfnet.data.views import NetView
from zfnet.report.explore_sheets import (
    Sheets,
    check_rows,
    fact,
    image_sheets,
    lacking,
    load_array,
    pages,
    rounded,
    square,
)
from zfnet.report.scripts import write_call
from zfnet.results import Results

IMAGES_A_SHEET = 16
IMAGE_PX = 320
FOLDER = "explore/occlusion"
CALL = "zfnetOcclusion"


def write(study: dict[str, Any], prepared: Prepared, site: Path) -> dict[str, Any]:
    """Write sheets and scripts below `site`/explore/occlusion; what the template shows.

    study: as `load_study` gives it. UserError where the result lacks something.
    """
    results: Results = study["results"]
    split, px, size = (fact(results, name) for name in ("split", "input_px", "size_px"))
    layer, drawn = results.tap.partition(".")[0], fact(results, "drawn")
    view = NetView(prepared, split, px)
    rows = load_array(study, "images")
    if "images" not in results.tables:
        raise lacking(results, "table images")
    listed = results.tables["images"].records()
    check_rows(rows, view, "occlusion", [own["image"] for own in listed])
    with Sheets(site) as sheets:
        places, images = image_sheets(
            sheets, view, rows.tolist(), FOLDER, px=IMAGE_PX, a_sheet=IMAGES_A_SHEET
        )
        projections = _projection_sheets(sheets, study) if results.has("projections") else []
    items = []
    for i, row in enumerate(rows.tolist()):
        data = _one(study, i, i < drawn) | {"box": view.box(row)}
        write_call(site / FOLDER / f"image_{i}.js", CALL, str(i), data)
        items.append(_listed(study, i, listed[i]) | {"place": places[row]})
    common = {"px": px, "size": size, "layer": layer}
    meta = {
        **common,
        "fill_rgb": results.facts.get("fill_rgb"),
        "outputs": fact(results, "classes"),
        "images": images,
        "projections": projections,
        "items": items,
    }
    write_call(site / FOLDER / "meta.js", CALL, "meta", meta)
    return {
        **common,
        "net": results.net,
        "split": split,
        "count": len(items),
        "drawn": min(drawn, len(items)),
        "stride": fact(results, "stride_px"),
        "drawn_stride": fact(results, "drawn_stride_px"),
        "projected": bool(projections),
        "meta": f"{FOLDER}/meta.js",
    }


def _projection_sheets(sheets: Sheets, study: dict[str, Any]) -> list[dict[str, Any]]:
    pictures = load_array(study, "projections")
    found = []
    for number, part in pages(range(len(pictures)), IMAGES_A_SHEET):
        tiles = [square(np.asarray(pictures[i]), IMAGE_PX) for i in part]
        found.append(sheets.add(f"{FOLDER}/projections_{number}.webp", tiles, columns=8).plain())
    return found


def _one(study: dict[str, Any], i: int, drawn: bool) -> dict[str, Any]:
    """One image's maps, at the finer step where it is drawn: lists over places, row-wise."""

    def array(name: str) -> np.ndarray:
        return np.asarray(load_array(study, f"drawn_{name}" if drawn else name))

    return {
        "rows": array("rows").tolist(),
        "cols": array("cols").tolist(),
        "p": [rounded(row) for row in array("probability")[i]],
        "label": array("label")[i].tolist(),
        "activity": [rounded(row) for row in array("activity")[i]],
    }


def _listed(study: dict[str, Any], i: int, own: dict[str, Any]) -> dict[str, Any]:
    """An image's entry in the list, from its row in the study's table of images."""
    activity, label = (load_array(study, f"clean_{name}")[i] for name in ("activity", "label"))
    return {
        "id": own["image"],
        "true": own["class"],
        "p": rounded([own["p_clean"]])[0],
        "label": int(label),
        "name": own["output"],
        "known": own["known"],
        "activity": rounded([activity])[0],
        "map": own["map"],
    }
