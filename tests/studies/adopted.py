"""A torchvision net from a weights file, and a few tinted pictures of other classes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from zfnet.data.prepare import prepare
from zfnet.data.sample import ClassInfo, Sample
from zfnet.models.checkpoint import save_net
from zfnet.models.foreign import build_model, torchvision_net
from zfnet.models.net import Net
from zfnet.pipeline.options import TargetOptions
from zfnet.pipeline.studies import Codes
from zfnet.results import Measurement, save
from zfnet.studies import codes

ARCH, SIZE, PX = "resnet18", 72, 64
TINTS = ((200, 90, 90), (90, 200, 90), (90, 90, 200))
EACH = 10
TARGETS = {
    "tints": TargetOptions(
        run=True, train_per_class=(2, 4), curve_per_class=(1,), test_per_class=5, folds=2,
        scratch_folds=0, probe_per_class=4,
    ),
}  # fmt: skip


class Tints:
    """Noise about one colour a class."""

    name = "tints"
    classes = [ClassInfo(i, f"tint{i}", f"tint {i}") for i in range(len(TINTS))]  # noqa: RUF012
    part_names: list[str] = []  # noqa: RUF012

    def splits(self):
        def picture(i: int) -> np.ndarray:
            noise = np.random.default_rng(i).normal(0, 50, (SIZE, SIZE, 3))
            return np.clip(TINTS[i % len(TINTS)] + noise, 0, 255).astype(np.uint8)

        count = len(TINTS) * EACH
        samples = [Sample(f"{i}", i % len(TINTS), image=picture(i)) for i in range(count)]
        return {"train": samples, "val": []}


def write_overlap(folder: Path, duplicates: dict[str, Any]) -> None:
    """What stage overlap says of targets, in `folder`/overlap."""
    overlap = Measurement("", "", facts={"duplicates": duplicates})
    save(overlap, folder / "overlap", folder / "overlap.json")


def paths_in(folder: Path, root: Path) -> SimpleNamespace:
    """Where the studies of targets read and write."""
    return SimpleNamespace(
        root=root, net=folder / "net", targets=folder / "targets", codes=folder / "codes",
        scratch=folder / "scratch", work=folder / "work", result_of=lambda name: folder / name,
    )  # fmt: skip


def carried_over(root: Path, folder: Path) -> tuple[SimpleNamespace, Net]:
    """The paths and the net, its features written; the adopted weights are random."""
    prepare(Tints(), folder / "targets" / "tints", size=SIZE, workers=1, val_may_be_empty=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        torch.save(build_model(ARCH, 1000).state_dict(), folder / "mine.pth")
    net = torchvision_net(ARCH, folder / "mine.pth", Tints.classes, input_px=PX)
    save_net(net, folder / "net")
    paths = paths_in(folder, root)
    paths.results = paths.codes
    codes.run(Codes(device="cpu"), paths)
    write_overlap(folder, {"tints": []})
    return paths, net
