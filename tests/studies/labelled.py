"""A small prepared set of photographs with known names, and files of people's answers to it."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from answered import sure, write_net
from PIL import Image

from zfnet.data.answers import COLUMNS, opaque
from zfnet.data.prepare import prepare
from zfnet.data.sources.folder import folder_source
from zfnet.data.store import Prepared
from zfnet.files import read_json, write_json

WNIDS = (
    "n01440764",
    "n02102040",
    "n02979186",
)  # tench 0, English springer 217, cassette player 482
EACH, PX = 20, 12  # validation images a class; what the net sees of 16 px


def make_set(root: Path) -> Prepared:
    """data/prepared of three classes, 8 training and EACH validation images each.

    The k-th validation image of class c is called ILSVRC2012_val_{EACH c + k + 1}.
    """
    rng = np.random.default_rng(0)
    for c, wnid in enumerate(WNIDS):
        for split, count in (("train", 8), ("val", EACH)):
            folder = root / "raw" / split / wnid
            folder.mkdir(parents=True)
            for k in range(count):
                name = f"ILSVRC2012_val_{EACH * c + k + 1:08d}" if split == "val" else f"own_{k}"
                pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}.png")
    (root / "data").mkdir()
    prepare(
        folder_source(root / "raw"), root / "data" / "prepared", size=16, store="raw",
        max_bad_fraction=0, scan=root / "data" / "scan.parquet",
    )  # fmt: skip
    return Prepared.open(root / "data" / "prepared")


def make_net(root: Path, prepared: Prepared, *wrong: Any) -> SimpleNamespace:
    """models/zfnet with a training for each of `wrong`, rows at which it errs; a study's paths."""
    label = np.asarray(prepared.split("val").labels)
    probs = []
    for rows in wrong:
        guess = label.copy()
        guess[list(rows)] = (guess[list(rows)] + 1) % 3
        probs.append(sure(guess, 3))
    final = write_net(root, "zfnet", label, probs, fingerprint=prepared.meta.fingerprint, classes=3)
    for file in final.rglob("net.json"):
        write_json(file, read_json(file) | {"name": "zfnet", "input_px": PX})
    return SimpleNamespace(
        root=root, net=final, prepared=prepared.path, data_root=root / "elsewhere"
    )


def row(prepared: Prepared, number: int, answer: str, **change: Any) -> dict[str, Any]:
    """One answer to validation image `number`, as the page writes it."""
    mark = prepared.meta.fingerprint
    cells = (
        opaque(mark, prepared.split("val").ids[number]), "Ann", answer, "", "1.50", "", "test",
        number + 1, PX, "", "1", mark,
    )  # fmt: skip
    return dict(zip(COLUMNS, cells, strict=True)) | change


def answers_of(prepared: Prepared, rows: Any, wrong: Any = (), **change: Any) -> list[dict]:
    """Answers to the images `rows`, right but at `wrong`, where the class is the next one."""
    labels, wrong = prepared.split("val").labels, set(wrong)
    return [row(prepared, i, WNIDS[(int(labels[i]) + (i in wrong)) % 3], **change) for i in rows]


def write_csv(file: Path, rows: list[dict], columns: Any = COLUMNS) -> Path:
    """`rows` as a CSV file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return file
