"""Where the studies of targets read and write, in a test's folder, and features that it chooses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from zfnet.results import Measurement, Results, save
from zfnet.studies.feature_store import FeatureStore


def write_overlap(folder: Path, duplicates: dict[str, Any]) -> None:
    """What stage overlap says of targets, in `folder`/overlap."""
    overlap = Measurement("", "", facts={"duplicates": duplicates})
    save(overlap, folder / "overlap", folder / "overlap.json")


def write_store(folder: Path, target: str, splits: dict[str, Any], net: str) -> FeatureStore:
    """Features of one target: {split: {net: {layer: (n, d)}}}."""
    listed = {}
    for split, nets in splits.items():
        for name, layers in nets.items():
            place = folder / target / split / name
            place.mkdir(parents=True)
            for layer, values in layers.items():
                np.save(place / f"{layer}.npy", values.astype(np.float32))
        sizes = {str(layer): values.shape[1] for layer, values in layers.items()}
        listed[split] = {"images": len(values), "layers": sizes, "nets": list(nets)}
    taps = {layer: f"layer{layer}" for layer in sizes}
    record = {"format": 1, "net": net, "taps": taps, "targets": {target: listed}}
    (folder / "codes.json").write_text(json.dumps(record), encoding="utf-8")
    return FeatureStore.open(folder)


def paths_in(folder: Path, root: Path) -> SimpleNamespace:
    """Where the studies of targets read and write."""
    return SimpleNamespace(
        root=root, net=folder / "net", targets=folder / "targets", codes=folder / "codes",
        scratch=folder / "scratch", work=folder / "work", result_of=lambda name: folder / name,
        further="", share=(0, 1), leads=True,
    )  # fmt: skip


def saved(study: str, measurement: Measurement, folder: Path, root: Path) -> Results:
    """Written and read back."""
    save(measurement, folder / study, folder / f"{study}.json")
    return Results(folder / study, root)
