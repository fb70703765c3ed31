"""How features form, epoch by epoch, for W&B: one picture a layer and epoch under one name a layer.

Logged at the step that is the epoch, so that the slider of W&B's own panels shows a layer learning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from zfnet.data.store import Prepared
from zfnet.figures.kit.grid import image_grid
from zfnet.report.explore_features import EPOCH_PX, Layer, epoch_tiles
from zfnet.report.explore_sheets import View, check_rows

SECTION = "evolution"  # the study, and what the names of its panels begin with
MAPS = 16  # of a layer in one picture: files stay small however wide the net is
PAIRS_A_ROW = 4
CURVES = {"similarity": "similarity, last epoch's image", "settled": "settled"}


@dataclass(frozen=True)
class Panel:
    """One picture and what stands below it."""

    picture: Image.Image
    caption: str


def panel_key(layer: str) -> str:
    """The name of a layer's picture, the same at every epoch."""
    return f"{SECTION}/layer_{layer}"


def panel_keys(study: Mapping[str, Any]) -> list[str]:
    """The names of all pictures that `panels` gives for the evolution study."""
    return [panel_key(layer.number) for layer in _layers(study)]


def panels(study: Mapping[str, Any], root: Path) -> Iterator[tuple[int, str, Panel]]:
    """(epoch, name, panel) of every followed layer, epochs ascending within a layer.

    study: the evolution study's result as `load_result` gives it; nothing where the net had no
    snapshots. Raises UserError where the prepared images below `root` are missing or are others.
    """
    layers = _layers(study)
    if not layers:
        return
    extra = study["extra"]
    view = View(Prepared.open(root / "data" / "prepared"), extra["split"], extra["input_px"])
    for layer in layers:
        check_rows(layer.array("images"), view, SECTION)
        maps = _chosen(layer)
        told = ", ".join(map(str, maps))
        kept, members = layer.array("pictured").tolist(), layer.array("maps").tolist()
        tiles = [epoch_tiles(layer, kept.index(m), members.index(m), view) for m in maps]
        for index, epoch in enumerate(extra["epochs"]):
            caption = (
                f"Layer {layer.number}, epoch {epoch}: projection (left) and image patch (right) "
                f"of the strongest activation of maps {told}, row by row"
            )
            pairs = [tile for one in tiles for tile in one[2 * index : 2 * index + 2]]
            small = max(pairs[0].shape[:2]) < EPOCH_PX
            picture = image_grid(pairs, 2 * PAIRS_A_ROW, EPOCH_PX, sharp=small)
            yield epoch, panel_key(layer.number), Panel(picture, caption)


def settling(study: Mapping[str, Any]) -> dict[int, dict[str, float]]:
    """The study's numbers by epoch, from its table of steps: {epoch: {name: value}}."""
    table = study["tables"].get("steps")
    if table is None:
        return {}
    at = {name: index for index, name in enumerate(table["columns"])}
    found: dict[int, dict[str, float]] = {}
    for row in table["rows"]:
        for name, column in CURVES.items():
            value = row[at[column]] if column in at else None
            if value is not None:
                key = f"{panel_key(row[at['layer']])}_{name}"
                found.setdefault(int(row[at["epoch"]]), {})[key] = float(value)
    return dict(sorted(found.items()))


def _layers(study: Mapping[str, Any]) -> list[Layer]:
    """Layers of which the study kept pictures."""
    extra = study["extra"]
    layers = [Layer(number, dict(study)) for number in extra.get("layers", {})]
    return [layer for layer in layers if extra.get("epochs") and layer.has("pictured")]


def _chosen(layer: Layer) -> list[int]:
    """At most MAPS of the maps whose pictures were kept: those of the paper's figure first."""
    kept = layer.array("pictured").tolist()
    shown = [m for m in layer.study["extra"]["layers"][layer.number].get("shown", []) if m in kept]
    return sorted([*shown, *(m for m in kept if m not in shown)][:MAPS])
