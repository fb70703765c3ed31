"""A made-up, plausible run of the pipeline on disk: what every stage writes, in seconds."""

from __future__ import annotations

import atexit
import csv
import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zfnet.stats.estimate import Estimate
from zfnet.studies.result import Figure, Result, Table, save_result

CLASSES = ["cat", "dog", "cup", "boat"]
CONFIG = """\
name: quick
seed: 0
device: auto
data: {source: synthetic, size: 144, store: raw, seed: 0, version: 1}
nets:
  zfnet: {arch: zfnet, width: 0.25, input_px: 128}
  alexnet: {arch: alexnet, width: 0.25, input_px: 128}
training: {epochs: 6, lr: 0.01, init: scaled}
tracking: {mode: offline, project: zfnet, entity: null}
study:
  features: {top_k: 9}
  occlusion: {size: 32}
  evolution: {maps: 5}
"""
HOST = {
    "processor": "Some CPU @ 2.5 GHz",
    "cores": 2,
    "memory_gib": 15.6,
    "gpus": [],
    "platform": "Linux x86_64",
    "versions": {"python": "3.11.9", "torch": "2.15.0"},
}


def write_json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")


def picture(width: int = 640, height: int = 400, seed: int = 0) -> Image.Image:
    """Smooth noise, so that files stay small."""
    noise = np.random.default_rng(seed).integers(0, 255, (height // 40, width // 40, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def tree(root: Path) -> Path:
    """Write a whole made-up run under `root` and return it."""
    shutil.copytree(_tree(), root)
    return root


@functools.cache
def _tree() -> Path:
    """One made-up run, drawn once a process and then copied."""
    root = Path(tempfile.mkdtemp(prefix="zfnet-report-")) / "run"
    atexit.register(shutil.rmtree, root.parent, ignore_errors=True)
    (root / "build").mkdir(parents=True)
    (root / "build" / "config.yaml").write_text(CONFIG, encoding="utf-8")
    prepared(root)
    for index, name in enumerate(("zfnet", "alexnet")):
        net(root, name, epochs=6, final=20.0 + 5 * index)
    features(root)
    occlusion(root)
    return root


def timing(root: Path, name: str, seconds: float, clock: str, **more: Any) -> None:
    value = {"stage": name.replace("train_", "train@"), "seconds": seconds, "host": HOST, **more}
    write_json(root / "timing" / f"{name}.json", value | {"started": f"2026-11-20T10:{clock}Z"})


def prepared(root: Path) -> None:
    meta = {
        "format": 1,
        "size": 144,
        "store": "raw",
        "source": "synthetic",
        "classes": [{"index": i, "id": f"c{i}", "name": n} for i, n in enumerate(CLASSES)],
        "splits": {"train": 2400, "val": 600},
        "part_names": [],
        "attributes": [],
        "upsampled": {"train": 31, "val": 4},
        "quarantined": 2,
        "fingerprint": "5f" * 32,
    }
    write_json(root / "data" / "prepared" / "meta.json", meta)
    rows = [["cat/a.jpg", "train", "cannot identify image file"], ["dog/b.png", "val", "empty"]]
    with (root / "data" / "prepared" / "quarantine.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "split", "reason"], *rows])
    timing(root, "prepare", 41.3, "00:05")


def net(root: Path, name: str, epochs: int, final: float) -> None:
    """A trained net whose validation error falls to `final` percent; epochs=0: an adopted one."""
    folder = root / "models" / name / "final"
    info = {"format": 1, "name": name, "arch": name, "input_px": 128, "classes": CLASSES}
    write_json(folder / "net.json", info | {"taps": {}, "provenance": {}})
    metrics = {
        "val_top1_error": measured(final, final - 3.1, final + 3.3, 600, "%", "centre crop"),
        "val_ten_crop_top1_error": measured(final - 1, final - 4, final + 2.3, 600, "%"),
        "parameters": measured(4_012_345),
        "status": measured("trained" if epochs else "adopted"),
    }
    write_json(root / "metrics" / f"train_{name}.json", metrics)
    times = [{"epoch": e, "images_per_second": 600.0 + e} for e in range(1, epochs + 1)]
    rate = {"images_per_second": 612.4} if epochs else {}
    timing(root, f"train_{name}", 97.0 + final, "01:10", epochs=times, **rate)
    if not epochs:
        return
    departures = [
        ["departure", "width", "1", "0.25", "less to compute"],
        ["departure", "first weights", "10^-2", "N(0, 0.02^2)", "learns at this width"],
        ["open", "weight decay", "not stated", "0", "none is stated, none is used"],
    ]
    if name == "alexnet":
        departures.append(["row", "layers left out", "none", "3, 4", "an ablation of Table 3"])
    keys = ["kind", "what", "paper", "here", "why"]
    entries = [dict(zip(keys, entry, strict=True)) for entry in departures]
    write_json(folder / "departures.json", entries)
    columns = ["epoch", "lr", "train_loss", "train_top1_error", "val_loss", "val_top1_error"]
    columns += ["val_top5_error", "filters_rescaled", "largest_filter_rms"]
    with (folder / "history.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for epoch in range(1, epochs + 1):
            fall = float(np.exp(-4.0 * epoch / epochs))
            error_now = final + (75 - final) * fall
            lr = 0.01 if epoch < 0.7 * epochs else 0.001
            row = [epoch, lr, 0.5 + 2 * fall, error_now + 4, 0.6 + 1.9 * fall, error_now, ""]
            writer.writerow([*row, max(0, 40 - 3 * epoch), round(0.1 - 0.02 * fall, 4)])


def measured(
    value: Any, low: float | None = None, high: float | None = None, n: int | None = None,
    unit: str = "", note: str = "",
) -> dict[str, Any]:  # fmt: skip
    """One entry of a metrics file."""
    return {"value": value, "low": low, "high": high, "n": n, "unit": unit, "note": note}


def features(root: Path) -> None:
    figures = [
        Figure(
            "layer_1_filters", "Filters of layer 1.", "Oriented edges and colour blobs.", picture
        ),
        *(
            Figure(
                f"layer_{layer}",
                f"Layer {layer}: projections (left) and patches (right).",
                f"Nine strongest activations of four maps of layer {layer}.",
                lambda layer=layer: picture(1200, 600, layer),
                format="webp",
            )
            for layer in range(2, 6)
        ),
    ]
    result = Result(
        study="features",
        title="What excites each map",
        paper="Fig. 2",
        text="The nine strongest activations of each map, projected back one by one.\n\nPlaces "
        "are those of the ReLU's output.",
        net="zfnet",
        tap="relu",
        seed=0,
        metrics={
            "layer_5_class_purity": Estimate(0.512, 0.47, 0.553, n=64),
            "purity_slope": Estimate(0.104, 0.085, 0.122, n=64, note="per layer"),
            "dead_maps": Estimate(1, n=344, note="a count: no interval"),
        },
        tables={"purity": Table(["Layer", "Maps", "Purity"], [["1", 24, 0.21], ["2", 64, 0.3]])},
        arrays={"layer_1_filters": np.zeros((24, 3, 7, 7), np.float32)},
        figures=figures,
    )
    save_result(result, root / "results" / "features", root / "metrics" / "features.json")
    timing(root, "features", 33.0, "05:00")


def occlusion(root: Path) -> None:
    rows = [[f"val/{i:04d}", CLASSES[i % 4], 0.91 - i / 100, 0.2 + i / 100] for i in range(60)]
    result = Result(
        study="occlusion",
        title="Where the evidence lies",
        paper="Fig. 7",
        text="A grey square is slid over the image.",
        net="zfnet",
        tap="5.relu",
        seed=0,
        metrics={"inside_minus_outside": Estimate(0.41, 0.33, 0.49, n=60)},
        tables={"images": Table(["Image", "Class", "Clean", "Lowest"], rows, "Every image.")},
        figures=[Figure("maps", "Heat maps.", "Probability falls where the face is.", picture)],
    )
    save_result(result, root / "results" / "occlusion", root / "metrics" / "occlusion.json")
    timing(root, "occlusion", 12.5, "06:00")


def write_result(root: Path, name: str, paper: str, **more: Any) -> None:
    """A study with next to nothing in it."""
    fields = {"title": name, "text": "What was done.", "net": "zfnet", "tap": "5.out"} | more
    result = Result(study=name, paper=paper, **fields)
    save_result(result, root / "results" / name, root / "metrics" / f"{name}.json")
