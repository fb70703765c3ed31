"""What a net's training left in models/<net>/final: the one reader of it. Needs no torch.

The folder holds the first seed's weights, history and predictions; further seeds lie in seed_<n>.
All nets of an experiment predict the same validation images, so that they are compared image by
image.
"""

from __future__ import annotations

import csv
import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from zfnet.errors import UserError
from zfnet.files import read_json
from zfnet.models.spec import Conv, NetSpec, inputs_of
from zfnet.stats.chance import TRAINED, ended
from zfnet.stats.estimate import AT_CHANCE, STILL_LEARNING

VIEWS = {"centre": "centre crop", "ten": "ten crops"}  # of an image; of ten the mean softmax
TOP = 5  # guesses an image that the paper's second error rate allows
ENOUGH_CLASSES = 10  # below, five guesses say little


def read_history(folder: Path) -> list[dict[str, float]]:
    """The epochs of a training, from history.csv: {column: number}, NaN where nothing was measured.

    Empty for a net without a history: adopted, or not trained here. Raises UserError naming a
    damaged file.
    """
    file = folder / "history.csv"
    if not file.is_file():
        return []
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
            if any(None in (*row, *row.values()) for row in rows):
                raise ValueError("a row with too few or too many values")
            return [
                {column: float(value) if value else math.nan for column, value in row.items()}
                for row in rows
            ]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file} is damaged ({error}); train the net again") from error


@dataclass(frozen=True)
class Training:
    """One training of a net: its predictions of the validation images, read when asked for.

    `classes`: how many outputs the net has. `arch`: its architecture; trainings of one net differ
    in the seed alone, but nets from elsewhere may stand side by side. Reading raises UserError
    naming a file that is missing or damaged.
    """

    net: str
    seed: int
    folder: Path
    classes: int
    arch: str = ""

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """The rows of its epochs, as `read_history`."""
        return read_history(self.folder)

    @cached_property
    def ended(self) -> str:
        """How it ended, by the rules of `stats.chance`; TRAINED for adopted weights too."""
        if not self.history:
            return TRAINED
        if "train_loss" not in self.history[-1]:
            raise UserError(f"{self.folder / 'history.csv'} has no train_loss; train the net again")
        losses, rates = (
            [row.get(key, math.nan) for row in self.history] for key in ("train_loss", "lr")
        )
        return ended(losses, rates, self.classes)

    @property
    def at_chance(self) -> bool:
        """Whether it never learned to do better than guessing."""
        return self.ended == AT_CHANCE

    @property
    def still_learning(self) -> bool:
        """Whether it ended before it had learned."""
        return self.ended == STILL_LEARNING

    @cached_property
    def label(self) -> np.ndarray:
        """(N,): output index of each image's true class, -1 where the net does not know it."""
        return self._predictions("label")

    def top(self, view: str) -> np.ndarray:
        """(N, 5): output indices, best first."""
        return self._predictions(f"{view}_top")

    def probabilities(self, view: str) -> np.ndarray:
        """(N, C) float32: softmax over all classes."""
        return self._predictions(f"{view}_probs")

    @cached_property
    def wrong_in_training(self) -> np.ndarray | None:
        """(M,) bool: top-1 errors on training images (centre crop, no dropout); None if unknown."""
        file = self.folder / "train_predictions.npz"
        if not file.is_file():
            return None
        return missed(_array(file, "centre_top"), _array(file, "label"))

    def _predictions(self, name: str) -> np.ndarray:
        return _array(self.folder / "val_predictions.npz", name)


@dataclass(frozen=True)
class TrainedNet:
    """All trainings of one net, by seed, and what they share.

    `parameters`: number of weights and biases, None for a model that is not one of ours. `data`:
    fingerprint of the prepared set. `adopted`: weights from elsewhere. `left_out`: seeds of
    trainings that are no longer among them, as they stayed at chance.
    """

    name: str
    trainings: Sequence[Training]
    classes: Sequence[str]
    arch: str
    parameters: int | None
    data: str | None
    adopted: bool
    left_out: Sequence[int] = ()

    @staticmethod
    def open(name: str, folder: Path) -> TrainedNet | None:
        """The net in `folder`, its final weights' place; None if it was not trained.

        Raises UserError naming a file that is missing or damaged.
        """
        if not (folder / "net.json").is_file():
            return None
        record = read_json(folder / "net.json")
        seeds = _seeds(folder / "seeds.json")
        folders = [folder, *(folder / f"seed_{seed}" for seed in seeds[1:])]
        records = [
            record,
            *(read_json(each / "net.json", missing_ok=True) or record for each in folders[1:]),
        ]
        classes = list(record["classes"])
        rebuild, provenance = record.get("rebuild", {}), record.get("provenance", {})
        ours = rebuild.get("kind") == "convnet"
        return TrainedNet(
            name=name,
            trainings=[
                Training(name, int(seed), place, len(each["classes"]), str(each["arch"]))
                for seed, place, each in zip(seeds, folders, records, strict=True)
            ],
            classes=classes,
            arch=str(record["arch"]),
            parameters=count_parameters(NetSpec.from_dict(rebuild["spec"])) if ours else None,
            data=(provenance.get("data") or {}).get("fingerprint"),
            adopted="adopted" in provenance,
        )

    @property
    def seeds(self) -> list[int]:
        """The trainings' seeds."""
        return [training.seed for training in self.trainings]

    @property
    def tags(self) -> list[int | str]:
        """What tells the trainings apart: their seeds, or nets from elsewhere by architecture."""
        names = [training.arch.rpartition("/")[2] for training in self.trainings]
        return list(names) if len(set(names)) == len(names) > 1 else list(self.seeds)

    @property
    def label(self) -> np.ndarray:
        """(N,): output index of each validation image's true class, -1 where unknown."""
        return self.trainings[0].label

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader must know of it, as plain JSON: arch, adopted, seeds, those at chance."""
        return {
            "arch": self.arch,
            "adopted": self.adopted,
            "seeds": self.seeds,
            "trained": len(self.trainings) + len(self.left_out),
            "at_chance": [*self.left_out, *(t.seed for t in self.trainings if t.at_chance)],
            "still_learning": [each.seed for each in self.trainings if each.still_learning],
        }

    @property
    def learned(self) -> TrainedNet:
        """The same without the trainings that stayed at chance, where others did not."""
        stuck = [each.seed for each in self.trainings if each.at_chance]
        if not stuck or len(stuck) == len(self.trainings):
            return self
        learned = [each for each in self.trainings if each.seed not in stuck]
        return replace(self, trainings=learned, left_out=stuck)

    def wrong(self, view: str, guesses: int = 1) -> np.ndarray:
        """(S, N) bool, a row a training: whether the true class is not among `guesses`."""
        return np.stack([missed(each.top(view), each.label, guesses) for each in self.trainings])


def read_nets(names: Sequence[str], folder_of: Callable[[str], Path]) -> dict[str, TrainedNet]:
    """Those of `names` that were trained, in order; all must have predicted the same images.

    Trainings that stayed at chance are left out of a net of which others learned. `folder_of`:
    where a net's final weights lie. Raises UserError if they did not, or if there is none.
    """
    opened = {name: TrainedNet.open(name, folder_of(name)) for name in names}
    nets = {name: net for name, net in opened.items() if net is not None}
    if not nets:
        raise UserError(
            f"none of {', '.join(names)} is trained: run `dvc repro` (or `zfnet train`) first"
        )
    first = next(iter(nets.values()))
    for net in nets.values():
        if (net.data, len(net.label)) != (first.data, len(first.label)):
            raise UserError(
                f"{folder_of(net.name)}: predicts other images than {folder_of(first.name)}, the "
                "prepared data changed in between; train both on the same data (`dvc repro`)"
            )
        for training in net.trainings[1:]:
            if not np.array_equal(training.label, net.label):
                raise UserError(
                    f"{training.folder}: predicts other images than {folder_of(net.name)}; train "
                    f"{net.name} again"
                )
    return {name: net.learned for name, net in nets.items()}


def missed(top: np.ndarray, label: np.ndarray, guesses: int = 1) -> np.ndarray:
    """(N,) bool: whether `label` (N,) is not among the first `guesses` of `top` (N, K)."""
    return ~(top[:, :guesses] == label[:, None]).any(1)


def count_parameters(spec: NetSpec) -> int:
    """Weights and biases of all layers."""
    received, total = inputs_of(spec), 0
    for number, layer in spec.layers:
        if isinstance(layer, Conv):
            fan_in = received[number] // layer.groups * layer.kernel**2
            total += layer.maps * (fan_in + 1)
        else:
            total += layer.units * (received[number] + 1)
    return total


def _seeds(file: Path) -> list[int]:
    """A net's seeds, the first training's first; 0 for a net without the file."""
    record = read_json(file, missing_ok=True) or {"seeds": [0]}
    seeds = record.get("seeds") if isinstance(record, dict) else None
    whole = isinstance(seeds, list) and all(type(seed) is int for seed in seeds)
    if not whole or not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"{file} is damaged (no list of different seeds); train the net again")
    return list(seeds)


def _array(file: Path, name: str) -> Any:
    if not file.is_file():
        raise UserError(f"{file} is missing; train the net again (`dvc repro`)")
    try:
        with np.load(file, allow_pickle=False) as stored:
            return np.asarray(stored[name])
    except KeyError:
        raise UserError(
            f"{file} has no '{name}': an older version wrote it; train the net again"
        ) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is damaged ({error}); train the net again") from error
