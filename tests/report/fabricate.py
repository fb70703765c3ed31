"""A made-up, plausible run of the pipeline on disk: what every stage writes, in seconds."""

from __future__ import annotations

import atexit
import csv
import functools
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from zfnet.figures.kit.show import Column, Shown
from zfnet.files import write_json
from zfnet.pipeline.options import ModelOptions, TrainingOptions
from zfnet.report import study
from zfnet.results import Measurement, Results, Table, save
from zfnet.stats.estimate import Estimate, to_dict

CLASSES = ["cat", "dog", "cup", "boat"]
TRAINING = TrainingOptions(epochs=6, init="scaled").model_dump(mode="json")
CONFIG = {
    "name": "quick",
    "seed": 0,
    "data": {"source": "synthetic", "size": 144, "seed": 0, "version": 1},
    "nets": {
        "zfnet": {"arch": "zfnet", "width": 0.25, "input_px": 128},
        "alexnet": {"arch": "alexnet", "width": 0.25, "input_px": 128},
    },
    "training": TRAINING,
    "tracking": {"mode": "offline", "project": "zfnet", "entity": None},
    "study": {"features": {"top_k": 9}},
}
HOST = {
    "processor": "Some CPU @ 2.5 GHz",
    "cores": 2,
    "memory_gib": 15.6,
    "gpus": [],
    "platform": "Linux x86_64",
    "versions": {"python": "3.11.9", "torch": "2.15.0"},
}
CARDS = {"features": "layer_3"}


def stub_telling(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Words and headings of studies, in place of those of the real ones.

    A made-up study's words are its fact `page`; its tables are shown as measured.
    """

    def page(name: str, results: Results) -> str:
        default = f"**The answer** of {name}.\n\n---\n\nHow {name} was measured."
        return str(results.facts.get("page", default))

    def tables(results: Results) -> dict[str, Shown]:
        return {
            name: Shown([Column(key, key.title()) for key in table.columns], f"All {name}.")
            for name, table in results.tables.items()
        }

    put(study, "page", page)
    put(study, "module_of", lambda name: SimpleNamespace(CARD=CARDS.get(name, ""), tables=tables))


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
    write_json(root / "build" / "config.json", CONFIG, sort_keys=False)
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


def net(
    root: Path,
    name: str,
    epochs: int,
    final: float,
    classes: Sequence[str] = CLASSES,
    seeds: Sequence[int] = (0,),
    **model: Any,
) -> None:
    """A trained net whose validation error falls to `final` percent; epochs=0: an adopted one.

    seeds: of its trainings; each errs a point more than the one before.
    """
    folder = root / "models" / name / "final"
    arch = "alexnet" if name.startswith("alexnet") else "zfnet" if epochs else f"torchvision/{name}"
    options = ModelOptions(arch=arch, width=0.25, input_px=128, **model)
    data = {"source": "synthetic", "images": 2400, "size": 144, "upsampled": 31}
    made = {"model": options.model_dump(mode="json"), "training": TRAINING, "data": data}
    info = {"format": 1, "name": name, "arch": arch, "input_px": 128, "classes": list(classes)}
    write_json(folder / "net.json", info | {"provenance": made if epochs else {"adopted": "x.pt"}})
    numbers = {
        "val_top1_error": Estimate(final, final - 3.1, final + 3.3, 600, "%", "centre crop"),
        "val_ten_crop_top1_error": Estimate(final - 1, final - 4, final + 2.3, 600, "%"),
        "parameters": Estimate(4_012_345),
    }
    if len(seeds) > 1:
        mean = final + (len(seeds) - 1) / 2
        over = Estimate(mean, mean - 2, mean + 2, len(seeds), "%", trainings=len(seeds))
        numbers["val_top1_error_over_seeds"] = over
        write_json(folder / "seeds.json", {"seeds": list(seeds)})
    metrics(root, name, numbers, "trained" if epochs else "adopted")
    times = [{"epoch": e, "images_per_second": 600.0 + e} for e in range(1, epochs + 1)]
    rate = {"images_per_second": 612.4} if epochs else {}
    timing(root, f"train_{name}", 97.0 + final, "01:10", epochs=times, **rate)
    for number, seed in enumerate(seeds if epochs else ()):
        place = folder / f"seed_{seed}" if number else folder
        place.mkdir(exist_ok=True)
        history(place / "history.csv", epochs, final + number)


def history(file: Path, epochs: int, final: float) -> None:
    """The epochs of one training, at the end of which it errs on `final` percent."""
    columns = ["epoch", "lr", "train_loss", "train_top1_error", "val_loss", "val_top1_error"]
    columns += ["val_top5_error", "filters_rescaled", "largest_filter_rms"]
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for epoch in range(1, epochs + 1):
            fall = float(np.exp(-4.0 * epoch / epochs))
            error_now = final + (75 - final) * fall
            lr = 0.01 if epoch < 0.7 * epochs else 0.001
            loss = 0.5 + 2 * fall**3  # at rest before the rate drops
            row = [epoch, lr, loss, error_now + 4, 0.6 + 1.9 * fall, error_now, ""]
            writer.writerow([*row, max(0, 40 - 3 * epoch), round(0.1 - 0.02 * fall, 4)])


def metrics(root: Path, name: str, numbers: Mapping[str, Estimate], status: str) -> None:
    entries = {key: to_dict(each) for key, each in numbers.items()}
    write_json(root / "metrics" / f"train_{name}.json", entries | {"status": {"value": status}})


def each_training(means: Mapping[str, Estimate], seeds: Sequence[int]) -> Table:
    """What each training gave, as `zfnet.studies.trainings` writes it: a tenth apart."""
    rows = [
        [key, seed, one.value + (i - (len(seeds) - 1) / 2) / 10, one.low, one.high, ""]
        for key, one in means.items()
        for i, seed in enumerate(seeds)
        if one.low is not None
    ]
    return Table(["key", "seed", "value", "value_low", "value_high", "invalid"], rows)


def features(root: Path, **more: Any) -> None:
    """`more`: facts; trainings among them are the seeds of several."""
    found = {
        "layer_5_class_purity": Estimate(0.512, 0.47, 0.553, n=64),
        "purity_slope": Estimate(0.104, 0.085, 0.122, n=64, note="per layer"),
        "dead_maps": Estimate(1, n=344, note="a count: no interval"),
    }
    tables = {"purity": Table(["layer", "maps", "purity"], [["1", 24, 0.21], ["2", 64, 0.3]])}
    if "trainings" in more:
        tables["trainings"] = each_training(found, more["trainings"])
    arrays = {"layer_1_filters": np.zeros((24, 3, 7, 7), np.float32)}
    result(root, "features", Measurement("zfnet", "relu", 0, found, tables, arrays, more))
    sizes = {"layer_1_filters": (640, 400)} | {f"layer_{n}": (1200, 600) for n in range(2, 6)}
    sizes |= {"all_layer3": (400, 400)}
    if "trainings" in more:
        sizes["trainings"] = (640, 400)
    figures(root, "features", sizes, folded=("all_layer3", "trainings"))
    timing(root, "features", 33.0, "05:00")


def occlusion(root: Path) -> None:
    rows = [[f"val/{i:04d}", CLASSES[i % 4], 0.91 - i / 100, 0.2 + i / 100] for i in range(60)]
    found = {"inside_minus_outside": Estimate(0.41, 0.33, 0.49, n=60)}
    tables = {"images": Table(["image", "class", "clean", "lowest"], rows)}
    result(root, "occlusion", Measurement("zfnet", "5.relu", 0, found, tables))
    figures(root, "occlusion", {"maps": (640, 400)})
    timing(root, "occlusion", 12.5, "06:00")


def result(root: Path, name: str, measurement: Measurement | None = None) -> None:
    """What a study measured; without a measurement next to nothing, and no figure."""
    made = measurement or Measurement("zfnet", "5.out")
    save(made, root / "results" / name, root / "metrics" / f"{name}.json")
    figures(root, name, {})


def figures(
    root: Path, name: str, sizes: Mapping[str, tuple[int, int]], folded: Sequence[str] = ()
) -> None:
    """Pictures of a study, as the stage figures leaves them."""
    folder = root / "results" / "figures" / name
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for figure, (width, height) in sizes.items():
        file = folder / f"{figure}.{'webp' if width > 1000 else 'png'}"
        picture(width, height, len(entries)).save(file)
        entries.append(
            {"name": figure, "file": file.name, "caption": f"Caption of {figure}.",
             "alt": f"What {figure} shows.", "width": width, "height": height,
             "folded": figure in folded}
        )  # fmt: skip
    write_json(folder / "figures.json", {"key": "", "figures": entries})
