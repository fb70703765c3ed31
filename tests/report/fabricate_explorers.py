"""Small made-up results of the studies behind the explorers, and prepared images to go with them.

Everything follows from the numbers of layer, map, rank and image, so that tests know each answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fabricate
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zfnet.data.sample import ClassInfo
from zfnet.data.store import Meta, SplitWriter
from zfnet.files import write_json
from zfnet.results import Measurement, Table

CLASSES = ["lion", "kettle & pot", "owl"]
SIZE, PX, K = 40, 32, 9
IMAGES = 70  # of each split: one sheet holds 64
EPOCHS = [1, 2, 4]
FIELDS = {"1": 5, "2": 43}  # px; the second is larger than the input
MAPS = {"1": 3, "2": 70}
FOLLOWED = {"1": [0, 1, 2], "2": [3, 66]}


def pixels(row: int, size: int = SIZE) -> np.ndarray:
    """Image `row` (size, size, 3) uint8: two gradients, the third colour tells the row."""
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    third = np.full((size, size), (row * 37) % 256, np.uint8)
    return np.stack([np.tile(ramp, (size, 1)), np.tile(ramp[:, None], (1, size)), third], 2)


def label(row: int) -> int:
    return row % len(CLASSES)


def prepared(root: Path, images: int = IMAGES, size: int = SIZE) -> Path:
    """A prepared set with two splits of `images`; boxes known for even rows only."""
    folder = root / "data" / "prepared"
    folder.mkdir(parents=True, exist_ok=True)
    splits = ("train", "val")
    for split in splits:
        with SplitWriter(folder / f"{split}.arrow", size, "raw") as writer:
            writer.write([pixels(row, size).tobytes() for row in range(images)])
    columns: dict[str, Any] = {
        "split": [split for split in splits for _ in range(images)],
        "row": list(range(images)) * 2,
        "label": [label(row) for row in range(images)] * 2,
        "id": [f"{split}/{row:03d}.png" for split in splits for row in range(images)],
    }
    for name, value in (("x0", 8.0), ("y0", 10.0), ("x1", 30.0), ("y1", 60.0)):
        known = [value if row % 2 == 0 else float("nan") for row in range(images)] * 2
        columns[f"box_{name}"] = np.array(known, np.float32)
    pq.write_table(pa.table(columns), folder / "index.parquet")
    np.save(folder / "mean.npy", np.zeros((3, size, size), np.float32))
    classes = [ClassInfo(i, f"c{i}", name) for i, name in enumerate(CLASSES)]
    meta = Meta(1, size, "raw", "synthetic", classes, dict.fromkeys(splits, images), [], [],
                dict.fromkeys(splits, 0), 0, "5f" * 32)  # fmt: skip
    write_json(folder / "meta.json", asdict(meta))
    return folder


def image_of(m: int, rank: int, images: int = IMAGES) -> int:
    """The row whose activation is number `rank` of map `m`."""
    return (m * K + rank) % images


def features(root: Path, maps: Mapping[str, int] = MAPS, **more: Any) -> None:
    """Two layers; map 1 of layer 2 is dead, map 2 of layer 2 is active on three images only."""
    arrays: dict[str, Any] = {}
    for number, count in maps.items():
        field = FIELDS[number]
        canvas = min(field, PX)
        values = np.tile(np.arange(K, 0, -1, dtype=np.float32), (count, 1)) + 0.25
        if number == "2":
            values[1:2] = 0
            values[2:3, 3:] = 0
        corners = np.zeros((count, K, 2), np.int16)
        boxes = np.zeros((count, K, 4), np.int16)
        if number == "1":
            corners[..., 0] = np.arange(K)
            corners[..., 1] = 3
            boxes[..., :2], boxes[..., 2:] = corners, corners + canvas
        else:
            boxes[..., 2:] = (PX, 20)
        rows = [[image_of(m, rank) for rank in range(K)] for m in range(count)]
        tiles = np.full((count, K, canvas, canvas, 3), 128, np.uint8)
        tiles[:, :, 0, 0, 0] = np.arange(count)[:, None] % 256
        tiles[:, :, 0, 0, 1] = np.arange(K)[None]
        arrays |= {
            f"layer{number}_values": values,
            f"layer{number}_images": np.array(rows, np.int32),
            f"layer{number}_boxes": boxes,
            f"layer{number}_corners": corners,
            f"layer{number}_projections": tiles,
        }
    shades = np.arange(maps.get("1", 0), dtype=np.uint8)[:, None, None, None] * 40
    arrays["layer1_filters"] = shades + np.zeros((1, 5, 5, 3), np.uint8)
    arrays["layer1_filter_scales"] = np.linspace(0.1, 0.3, maps.get("1", 0)).astype(np.float32)
    layers = {
        number: {
            "module": f"layer{number}.relu",
            "maps": count,
            "field": [FIELDS[number]] * 2,
            "dead": [1] if number == "2" else [],
            "shown": [],
            "canvas": [min(FIELDS[number], PX)] * 2,
        }
        for number, count in maps.items()
    }
    facts = {"split": "val", "input_px": PX, "top_k": K, "layers": layers}
    made = Measurement("zfnet", "relu", 0, arrays={**arrays, **more}, facts=facts)
    fabricate.result(root, "features", made)


def evolution(root: Path) -> None:
    """Three epochs; at the first one map 66 of layer 2 is silent."""
    arrays: dict[str, Any] = {"epochs": np.array(EPOCHS)}
    rows: list[list[Any]] = []
    for number, maps in FOLLOWED.items():
        canvas = min(FIELDS[number], PX)
        shape = (len(maps), len(EPOCHS))
        values = np.ones(shape, np.float32) * np.array([0.5, 1, 2], np.float32)
        values[-1, 0] = 0
        tiles = np.full((*shape, canvas, canvas, 3), 128, np.uint8)
        tiles[..., 0] = 10 * np.arange(len(EPOCHS))[:, None, None]
        boxes = np.zeros((*shape, 4), np.int16)
        boxes[..., 2:] = canvas
        arrays |= {
            f"layer{number}_maps": np.array(maps),
            f"layer{number}_pictured": np.array(maps),
            f"layer{number}_values": values,
            f"layer{number}_images": np.tile(np.arange(len(EPOCHS)), (len(maps), 1)),
            f"layer{number}_fixed": np.tile(np.array([0.1, 0.8, 1.0]), (len(maps), 1)),
            f"layer{number}_own": np.tile(np.array([np.nan, 0.5, 1.0]), (len(maps), 1)),
            f"layer{number}_corners": np.zeros((*shape, 2), np.int16),
            f"layer{number}_boxes": boxes,
            f"layer{number}_projections": tiles,
        }
        rows += [[int(number), m, 0.1, 2, True] for m in maps[:-1]]
        rows.append([int(number), maps[-1], None, None, None])
    table = Table(["layer", "map", "start", "settled", "before_end"], rows)
    layers: dict[str, Any] = {number: {} for number in FOLLOWED}
    facts = {"split": "train", "input_px": PX, "epochs": EPOCHS, "threshold": 0.7, "layers": layers}
    made = Measurement("zfnet", "relu", 0, tables={"maps": table}, arrays=arrays, facts=facts)
    fabricate.result(root, "evolution", made)


def occlusion(root: Path) -> None:
    """Four images, the first at a finer step. p falls where rows and columns add up to most."""
    rows = np.array([6, 3, 4, 8], np.int32)
    arrays: dict[str, Any] = {
        "images": rows,
        "outputs": rows % 3,
        "unit": np.array([7, 1, 2, 3]),
        "clean_probability": np.array([0.9, 0.8, 0.95, 0.7], np.float32),
        "clean_label": rows % 3,
        "clean_activity": np.array([50.0, 20, 30, 10], np.float32),
        "projections": np.full((4, PX, PX, 3), 128, np.uint8),
    }
    for prefix, count, starts in (("", 4, [0, 8, 16, 24]), ("drawn_", 1, list(range(0, 25, 4)))):
        places = len(starts)
        down, across = np.mgrid[:places, :places]
        share = (down + across) / (2 * places - 2)
        clean = arrays["clean_probability"][:count, None, None]
        label_here = np.where(share > 0.7, 1, arrays["clean_label"][:count, None, None])
        arrays |= {
            f"{prefix}rows": np.array(starts),
            f"{prefix}cols": np.array(starts),
            f"{prefix}probability": (clean * (1 - share)).astype(np.float32),
            f"{prefix}activity": (10 + 40 * (1 - share) * np.ones((count, 1, 1))),
            f"{prefix}label": label_here,
        }
    facts = {
        "split": "val",
        "layer": 5,
        "input_px": PX,
        "size_px": 8,
        "stride_px": 8,
        "drawn_stride_px": 4,
        "drawn": 1,
        "fill": "grey",
        "fill_rgb": [128, 128, 128],
        "classes": CLASSES,
    }
    images = Table.of(
        [
            {
                "image": f"val/{row:03d}.png",
                "class": CLASSES[label(row)],
                "output": CLASSES[row % 3],
                "known": True,
                "p_clean": arrays["clean_probability"][i],
                "map": arrays["unit"][i],
            }
            for i, row in enumerate(rows.tolist())
        ]
    )
    tables = {"images": images}
    made = Measurement("zfnet", "5.relu", 0, tables=tables, arrays=arrays, facts=facts)
    fabricate.result(root, "occlusion", made)


def tree(root: Path) -> Path:
    """A run with prepared images, one net and the three studies."""
    write_json(root / "build" / "config.json", fabricate.CONFIG, sort_keys=False)
    prepared(root)
    fabricate.net(root, "zfnet", epochs=4, final=20.0, classes=CLASSES)
    features(root)
    evolution(root)
    occlusion(root)
    return root


def handed(site: Path, name: str) -> Any:
    """What a data script hands to its page: (key, value)."""
    text = (site / "explore" / f"{name}.js").read_text(encoding="utf-8")
    body = re.fullmatch(r"window\.zfnet\w+\((.*)\);\n", text, re.DOTALL).group(1)
    return json.loads(f"[{body}]")
