"""Reader of what the stage codes wrote. Needs numpy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfnet.errors import UserError

FORMAT = 1


@dataclass(frozen=True)
class Codes:
    """Reader of what the stage wrote; opening reads codes.json alone and needs no torch.

    net: the trained net's name. taps: module paths by layer. targets: by target and split, what
    codes.json says of it.
    """

    path: Path
    net: str
    taps: dict[int, str]
    targets: dict[str, dict[str, Any]]

    @classmethod
    def open(cls, path: str | Path) -> Codes:
        """Open a folder of codes. Raises UserError if it is missing or of another format."""
        path = Path(path)
        file = path / "codes.json"
        again = "Run `dvc repro codes` (or `zfnet codes`) to make it."
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{file}: no features here. {again}") from error
        except ValueError as error:
            raise UserError(f"{file} is damaged ({error}). {again}") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise UserError(f"{file}: not of format {FORMAT}, the one this version reads. {again}")
        taps = {int(layer): str(tap) for layer, tap in record["taps"].items()}
        return cls(path, record["net"], taps, record["targets"])

    def layers(self, target: str, split: str) -> list[int]:
        """The layers that a split of a target has codes of, ascending."""
        return sorted(int(layer) for layer in self._split(target, split)["layers"])

    def nets(self, target: str, split: str) -> list[str]:
        """Whose codes there are: of "trained" and "untrained"."""
        return list(self._split(target, split)["nets"])

    def layer(self, target: str, split: str, net: str, layer: int) -> np.memmap:
        """The codes (images, dimensions) float32 as a read-only memory map.

        Raises UserError, naming what there is, for an unknown target, split, net or layer.
        """
        entry = self._split(target, split)
        if str(layer) not in entry["layers"] or net not in entry["nets"]:
            raise UserError(
                f"{self.path / 'codes.json'}: no codes of layer {layer} of the {net} net on "
                f"{target} ({split}); layers: {', '.join(entry['layers'])}; nets: "
                f"{', '.join(entry['nets'])}. study.codes.layers says which are made."
            )
        file = self.path / target / split / net / f"{layer}.npy"
        try:
            found = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: cannot be read ({error}); run `dvc repro codes`.") from error
        if found.shape != (entry["images"], entry["layers"][str(layer)]):
            raise UserError(f"{file}: has shape {found.shape}, codes.json tells another; run codes")
        return found

    def _split(self, target: str, split: str) -> Mapping[str, Any]:
        splits = self.targets.get(target, {})
        if split not in splits:
            there = [f"{t} ({s})" for t, entry in self.targets.items() for s in entry]
            raise UserError(
                f"{self.path / 'codes.json'}: no codes of {target} ({split}); there are those of "
                f"{', '.join(there) or 'nothing'}. Set targets.{target}.run=true and run the "
                "stages targets and codes."
            )
        return splits[split]
