"""Data of the embedding explorer: every image's place in each space, and the images themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zfnet.data.store import Prepared
from zfnet.data.views import NetView
from zfnet.figures.embedding import SPACES
from zfnet.report.explore_sheets import (
    Sheets,
    check_rows,
    fact,
    image_sheets,
    lacking,
    load_array,
    rounded,
)
from zfnet.report.scripts import write_call
from zfnet.results import Results

IMAGES_A_SHEET = 64
IMAGE_PX = 128
FOLDER = "explore/embedding"
CALL = "zfnetEmbedding"


def write(study: dict[str, Any], prepared: Prepared, site: Path) -> dict[str, Any]:
    """Write sheets and a script below `site`/explore/embedding; what the template shows.

    study: as `load_study` gives it. UserError where the result lacks something.
    """
    results: Results = study["results"]
    split, px, layer = (fact(results, name) for name in ("split", "input_px", "layer"))
    view = NetView(prepared, split, px)
    rows, labels = (load_array(study, name) for name in ("images", "labels"))
    if "images" not in results.tables:
        raise lacking(results, "table images")
    listed = results.tables["images"].records()
    check_rows(rows, view, "embedding", [own["image"] for own in listed])
    spaces = [name for name in SPACES if results.has(f"points_{name}")]
    if not spaces:
        raise lacking(results, "embedding")
    with Sheets(site) as sheets:
        places, images = image_sheets(
            sheets, view, rows.tolist(), FOLDER, px=IMAGE_PX, a_sheet=IMAGES_A_SHEET
        )
    there = np.unique(labels).tolist()
    meta = {
        "neighbours": fact(results, "neighbours"),
        "classes": fact(results, "classes"),
        "images": images,
        "spaces": [
            {"name": SPACES[name], "points": _unit(load_array(study, f"points_{name}"))}
            for name in spaces
        ],
        "items": [
            {
                "id": own["image"],
                "class": there.index(label),
                "answer": own["answer"],
                "right": own["right"],
                "place": places[row],
            }
            for own, row, label in zip(listed, rows.tolist(), labels.tolist(), strict=True)
        ],
    }
    write_call(site / FOLDER / "meta.js", CALL, "meta", meta)
    return {
        "net": results.net,
        "split": split,
        "layer": layer,
        "count": len(rows),
        "neighbours": meta["neighbours"],
        "perplexity": fact(results, "perplexity"),
        "meta": f"{FOLDER}/meta.js",
    }


def _unit(points: np.ndarray) -> list[list[float | None]]:
    """Points (N, 2), y up, in the unit square, y down: both axes by the same factor, centred."""
    low, high = points.min(0), points.max(0)
    side = float((high - low).max()) or 1.0
    moved = (points - (low + high) / 2) / side * (1, -1) + 0.5
    return [rounded(point, 4) for point in moved]
