"""Data of the occlusion explorer: images, the occluder's places and what the net said at each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.report.explore_sheets import (
    Sheets,
    View,
    check_rows,
    image_sheets,
    load_array,
    pages,
    rounded,
    square,
    write_call,
)

IMAGES_A_SHEET = 16
IMAGE_PX = 320
FOLDER = "explore/occlusion"
CALL = "zfnetOcclusion"


def write(
    study: dict[str, Any], outputs: list[str], prepared: Prepared, site: Path
) -> dict[str, Any]:
    """Write sheets and scripts below `site`/explore/occlusion; what the template shows.

    outputs: the net's classes by output index. UserError where an array is missing.
    """
    extra = study["extra"]
    view = View(prepared, extra["split"], extra["input_px"])
    rows = load_array(study, "images")
    check_rows(rows, view, "occlusion")
    _check_ids(extra["ids"], rows, view)
    with Sheets(site) as sheets:
        places, images = image_sheets(
            sheets, view, rows.tolist(), FOLDER, px=IMAGE_PX, a_sheet=IMAGES_A_SHEET
        )
        projections = _projection_sheets(sheets, study) if "projections" in study["arrays"] else []
    items = []
    for i, row in enumerate(rows.tolist()):
        data = _one(study, i) | {"box": view.box(row)}
        write_call(site / FOLDER / f"image_{i}.js", CALL, str(i), data)
        items.append(_listed(study, i, places[row], view, row, outputs))
    meta = {
        "px": extra["input_px"],
        "size": extra["size_px"],
        "layer": str(study["tap"]).partition(".")[0],
        "fill": extra["fill"],
        "fill_rgb": extra.get("fill_rgb"),
        "outputs": outputs,
        "images": images,
        "projections": projections,
        "items": items,
    }
    write_call(site / FOLDER / "meta.js", CALL, "meta", meta)
    return {
        "net": study["net"],
        "split": extra["split"],
        "px": extra["input_px"],
        "size": extra["size_px"],
        "layer": meta["layer"],
        "count": len(items),
        "drawn": min(extra["drawn"], len(items)),
        "items": items,
        "stride": extra["stride_px"],
        "drawn_stride": extra["drawn_stride_px"],
        "projected": bool(projections),
        "meta": f"{FOLDER}/meta.js",
    }


def _check_ids(ids: list[str], rows: np.ndarray, view: View) -> None:
    for name, row in zip(ids, rows.tolist(), strict=True):
        if view.split.ids[row] != name:
            raise UserError(
                f"results/occlusion calls image {row} {name}, the prepared split "
                f"{view.split.name} calls it {view.split.ids[row]}: it belongs to other data. Run "
                "`uv run dvc repro occlusion`."
            )


def _projection_sheets(sheets: Sheets, study: dict[str, Any]) -> list[dict[str, Any]]:
    pictures = load_array(study, "projections")
    found = []
    for number, part in pages(range(len(pictures)), IMAGES_A_SHEET):
        tiles = [square(np.asarray(pictures[i]), IMAGE_PX) for i in part]
        found.append(sheets.add(f"{FOLDER}/projections_{number}.webp", tiles, columns=8).plain())
    return found


def _one(study: dict[str, Any], i: int) -> dict[str, Any]:
    """One image's maps, at the finer step where the study drew it: lists over places, row-wise."""
    fine = "drawn_" if i < study["extra"]["drawn"] and "drawn_rows" in study["arrays"] else ""

    def array(name: str) -> np.ndarray:
        return np.asarray(load_array(study, f"{fine}{name}"))

    return {
        "rows": array("rows").tolist(),
        "cols": array("cols").tolist(),
        "p": [rounded(row) for row in array("probability")[i]],
        "label": array("label")[i].tolist(),
        "activity": [rounded(row) for row in array("activity")[i]],
    }


def _listed(
    study: dict[str, Any], i: int, place: int, view: View, row: int, outputs: list[str]
) -> dict[str, Any]:
    def value(name: str) -> Any:
        return load_array(study, name)[i].item()

    return {
        "id": view.split.ids[row],
        "place": place,
        "true": view.split.meta.classes[int(view.split.labels[row])].name,
        "watched": int(value("outputs")),
        "p": rounded([value("clean_probability")])[0],
        "label": int(value("clean_label")),
        "name": outputs[int(value("outputs"))],
        "activity": rounded([value("clean_activity")])[0],
        "map": int(value("unit")),
    }
