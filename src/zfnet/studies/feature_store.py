"""The feature store: what the stage codes writes and transfer and probe read. Needs no torch.

<target>/<split>/<net>/<layer>.npy, (images, dimensions) float32 in the order of the split, each
image's maps flattened as (C, H, W), read as memory maps; codes.json lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfnet.errors import UserError
from zfnet.files import read_json

FORMAT = 1
INDEX = "codes.json"
TRAINED, UNTRAINED = "trained", "untrained"  # whose features
REDO = "run `dvc repro codes`"


@dataclass(frozen=True)
class FeatureStore:
    """Reader of a folder of features.

    net: the trained net's name. taps: module paths by layer. targets: by target and split, what
    the index says of it.
    """

    path: Path
    net: str
    taps: dict[int, str]
    targets: dict[str, dict[str, Any]]

    @classmethod
    def open(cls, path: Path) -> FeatureStore:
        """Read the index alone. Raises UserError if it is missing or of another format."""
        file = path / INDEX
        if not file.is_file():
            raise UserError(f"{file}: no features here: {REDO}")
        record = read_json(file)
        if record.get("format") != FORMAT:
            raise UserError(f"{file}: not of format {FORMAT}, the one this version reads: {REDO}")
        taps = {int(layer): str(tap) for layer, tap in record["taps"].items()}
        return cls(path, record["net"], taps, record["targets"])

    def layers(self, target: str, split: str) -> list[int]:
        """The layers that a split of a target has features of, ascending."""
        return sorted(int(layer) for layer in self._split(target, split)["layers"])

    def nets(self, target: str, split: str) -> list[str]:
        """Whose features there are: TRAINED, UNTRAINED."""
        return list(self._split(target, split)["nets"])

    def layer(
        self, target: str, split: str, net: str, layer: int, images: int | None = None
    ) -> np.memmap:
        """The features (images, dimensions) float32 as a read-only memory map.

        `images`: how many there must be. Raises UserError, naming what there is, for an unknown
        target, split, net or layer, and for another number of images.
        """
        entry = self._split(target, split)
        if str(layer) not in entry["layers"] or net not in entry["nets"]:
            raise UserError(
                f"{self.path / INDEX}: no features of layer {layer} of the {net} net on {target} "
                f"({split}); layers: {', '.join(entry['layers'])}; nets: "
                f"{', '.join(entry['nets'])}. study.codes.layers says which are made"
            )
        file = self.path / target / split / net / f"{layer}.npy"
        try:
            features = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: cannot be read ({error}); {REDO}") from error
        shape = entry["images"] if images is None else images, entry["layers"][str(layer)]
        if features.shape != shape:
            raise UserError(f"{file}: has shape {features.shape}, not {shape}; {REDO}")
        return features

    def _split(self, target: str, split: str) -> Mapping[str, Any]:
        splits = self.targets.get(target, {})
        if split not in splits:
            there = [f"{t} ({s})" for t, entry in self.targets.items() for s in entry]
            raise UserError(
                f"{self.path / INDEX}: no features of {target} ({split}); there are those of "
                f"{', '.join(there) or 'nothing'}. Set targets.{target}.run=true and run the "
                "stages targets and codes"
            )
        return splits[split]
