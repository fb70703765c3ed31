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
from zfnet.data.views import NetView
from zfnet.figures.kit.grid import image_grid
from zfnet.report.explore_features import EPOCH_PX, epoch_tiles
from zfnet.report.explore_sheets import check_rows
from zfnet.results import Results

SECTION = "evolution"  # the study, and what the names of its panels begin with
MAPS = 16  # of a layer in one picture: files stay small however wide the net is
PAIRS_A_ROW = 4
CURVES = {"similarity": "fixed", "settled": "settled"}  # W&B's name: column of the table "steps"


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
    return [panel_key(number) for number in study["results"].facts.get("layers", {})]


def panels(study: Mapping[str, Any], root: Path) -> Iterator[tuple[int, str, Panel]]:
    """(epoch, name, panel) of every followed layer, epochs ascending within a layer.

    study: the evolution study as `load_study` gives it; nothing where the net had no snapshots.
    Raises UserError where the prepared images below `root` are missing or are others.
    """
    results: Results = study["results"]
    facts = results.facts
    if not panel_keys(study):
        return
    view = NetView(Prepared.open(root / "data" / "prepared"), facts["split"], facts["input_px"])
    for number in facts["layers"]:
        check_rows(results.array(f"layer{number}_images"), view, SECTION)
        members = results.array(f"layer{number}_maps").tolist()
        pictured = results.array(f"layer{number}_pictured").tolist()
        maps = chosen_maps(pictured, facts["layers"][number].get("shown", []))
        places = [(pictured.index(m), members.index(m)) for m in maps]
        tiles = [epoch_tiles(results, number, *place, view) for place in places]
        for index, epoch in enumerate(facts["epochs"]):
            caption = (
                f"Layer {number}, epoch {epoch}: projection (left) and image patch (right) of the "
                f"strongest activation of maps {', '.join(map(str, maps))}, row by row"
            )
            pairs = [tile for one in tiles for tile in one[2 * index : 2 * index + 2]]
            small = max(pairs[0].shape[:2]) < EPOCH_PX
            picture = image_grid(pairs, 2 * PAIRS_A_ROW, EPOCH_PX, sharp=small)
            yield epoch, panel_key(number), Panel(picture, caption)


def settling(study: Mapping[str, Any]) -> dict[int, dict[str, float]]:
    """The study's numbers by epoch, 0 before training: {epoch: {name: value}}; {} without any."""
    results: Results = study["results"]
    history: dict[int, dict[str, float]] = {}
    for step in results.tables["steps"].records() if "steps" in results.tables else []:
        own = history.setdefault(step["epoch"], {})
        for name, key in CURVES.items():
            if step[key] is not None:
                own[f"{panel_key(step['layer'])}_{name}"] = step[key]
    return dict(sorted(history.items()))


def chosen_maps(pictured: list[int], shown: list[int]) -> list[int]:
    """At most MAPS of the maps whose pictures were kept: those of the paper's figure first."""
    first = [m for m in shown if m in pictured]
    return sorted([*first, *(m for m in pictured if m not in first)][:MAPS])
