"""Folders of trained nets as the train stage leaves them, with answers that a test chooses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from zfnet.models.spec import build_spec

CLASSES = 12


def sure(guess: np.ndarray, classes: int = CLASSES, p: float = 0.9) -> np.ndarray:
    """Softmax (N, C) float32 that gives class `guess` p, and the rest in falling order."""
    rest = np.linspace(2, 1, classes - 1)
    probs = np.empty((len(guess), classes))
    for row, best in zip(probs, guess, strict=True):
        row[np.arange(classes) != best] = (1 - p) * rest / rest.sum()
        row[best] = p
    return probs.astype(np.float32)


def wrong_at(label: np.ndarray, places: Any, shift: int = 1) -> np.ndarray:
    """Guesses that are right but at `places`, where the class is `shift` further."""
    guess = label.copy()
    guess[places] = (label[places] + shift) % CLASSES
    return guess


def write_net(
    root: Path,
    name: str,
    label: np.ndarray,
    centre: list[np.ndarray],
    *,
    ten: list[np.ndarray] | None = None,
    train: tuple[np.ndarray, np.ndarray] | None = None,
    seeds: list[int] | None = None,
    loss: float | list[float] = 0.5,
    fingerprint: str = "f",
    adopted: bool = False,
    arch: str | None = None,
    classes: int = CLASSES,
    learning: bool = False,
    **spec: Any,
) -> Path:
    """Write models/<name>/final: one softmax (N, C) a seed in `centre` and `ten`.

    train: (guesses, labels) of training images, the same for every seed. loss: of the last epoch;
    learning: it fell to that in the last quarter of the run.
    """
    final = root / "models" / name / "final"
    seeds = seeds or list(range(len(centre)))
    losses = loss if isinstance(loss, list) else [loss] * len(seeds)
    arch = arch or ("alexnet" if name.startswith("alexnet") else "zfnet")
    for k, seed in enumerate(seeds):
        folder = final / f"seed_{seed}" if k else final
        folder.mkdir(parents=True)
        saved: dict[str, np.ndarray] = {"label": label.astype(np.int32)}
        for view, probs in (("centre", centre[k]), ("ten", (ten or centre)[k])):
            top = np.argsort(-probs, axis=1, kind="stable")[:, :5].astype(np.int32)
            saved[f"{view}_top"] = top
            saved[f"{view}_top_p"] = np.take_along_axis(probs, top, 1)
            true = np.take_along_axis(probs, np.maximum(label, 0)[:, None], 1)[:, 0]
            saved[f"{view}_p"] = (true * (label >= 0)).astype(np.float32)
            saved[f"{view}_probs"] = probs
        np.savez(folder / "val_predictions.npz", **saved)
        if train is not None:
            rows = np.arange(len(train[0]), dtype=np.int32)
            top = train[0][:, None].astype(np.int32)
            np.savez(folder / "train_predictions.npz", row=rows, label=train[1], centre_top=top)
        fell = losses[k] + (1.5 if learning else 0.0)
        history = [] if adopted else [fell, fell, fell, losses[k]]
        lines = [f"{epoch},0.01,{each}\n" for epoch, each in enumerate(history, 1)]
        (folder / "history.csv").write_text("epoch,lr,train_loss\n" + "".join(lines), "utf-8")
        provenance: dict[str, Any] = {"net": name, "data": {"fingerprint": fingerprint}}
        if adopted:
            provenance["adopted"] = "weights.pth"
        rebuild: dict[str, Any] = {"kind": "torchvision", "name": arch}
        if not arch.startswith("torchvision"):
            small = build_spec(arch, num_classes=classes, width=0.25, input_px=128, **spec)
            rebuild = {"kind": "convnet", "spec": small.to_dict()}
        record = {
            "arch": arch,
            "classes": [f"class {i}" for i in range(classes)],
            "rebuild": rebuild,
            "provenance": provenance,
        }
        (folder / "net.json").write_text(json.dumps(record), encoding="utf-8")
    (final / "seeds.json").write_text(json.dumps({"seeds": seeds}), encoding="utf-8")
    return final


def write_absent(root: Path, name: str) -> None:
    """What the train stage leaves of a net that the experiment does not train."""
    final = root / "models" / name / "final"
    final.mkdir(parents=True)
    (final / "absent.json").write_text('{"net": "x"}', encoding="utf-8")


def paths_of(root: Path) -> Any:
    """What a study asks of `Paths`."""
    return SimpleNamespace(root=root, folder_of=lambda net: root / "models" / net / "final")


def read_back(study: str, measurement: Any, root: Path) -> tuple[Any, Any, str]:
    """A measurement saved below `root`: its results, its figures' module, the words of its page."""
    from zfnet.figures.stage import module_of
    from zfnet.report.study import page
    from zfnet.results import Results, save

    save(measurement, root / "results" / study, root / "metrics" / f"{study}.json")
    results = Results(root / "results" / study, root)
    return results, module_of(study), page(study, results)
