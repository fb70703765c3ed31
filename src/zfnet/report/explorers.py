"""The two explorers of the site: which can be built, and their pages' contents.

An explorer needs its study's result and the prepared images it speaks of. Where one is missing the
site has no such page, and the study's page says why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.report import explore_features, explore_occlusion
from zfnet.report.gather import Evidence


@dataclass(frozen=True)
class Explorer:
    """One explorer page: `href` relative to the site's root, None where it cannot be built.

    `told`: what can be done there, by study whose results it shows; `why`: where there is no page,
    what is missing; `shown`: values of its template.
    """

    told: Mapping[str, str]
    title: str
    template: str
    href: str | None
    why: str = ""
    shown: dict[str, Any] = field(default_factory=dict)


def build_all(evidence: Evidence, site: Path) -> list[Explorer]:
    """Write the data of every explorer whose study has a result; see `Explorer`."""
    made = {"features": _features, "occlusion": _occlusion}
    return [make(evidence, site) for name, make in made.items() if name in evidence.studies]


def _features(evidence: Evidence, site: Path) -> Explorer:
    evolution = evidence.studies.get("evolution")

    def write(prepared: Prepared) -> dict[str, Any]:
        return explore_features.write(evidence.studies["features"], evolution, prepared, site)

    told = {"features": "every map, its patches and projections, and how it came about"}
    if evolution is not None:
        told["evolution"] = "how each map that was followed came about, epoch by epoch"
    return _explorer(evidence, "features", "Feature explorer", told, write)


def _occlusion(evidence: Evidence, site: Path) -> Explorer:
    study = evidence.studies["occlusion"]

    def write(prepared: Prepared) -> dict[str, Any]:
        outputs = _outputs(evidence, study["net"])
        return explore_occlusion.write(study, outputs, prepared, site)

    told = {"occlusion": "hide any place and see what the net says"}
    return _explorer(evidence, "occlusion", "Occlusion explorer", told, write)


def _outputs(evidence: Evidence, net: str) -> explore_occlusion.Outputs:
    for found in evidence.nets:
        if net in (found.name, found.info.get("name")):
            names = [str(name) for name in found.info["classes"]]
            return explore_occlusion.Outputs(names, found.info.get("class_index"))
    raise UserError(
        f"models/{net}/final/net.json is missing: it names the classes. Run `uv run dvc repro`."
    )


def _explorer(
    evidence: Evidence,
    study: str,
    title: str,
    told: Mapping[str, str],
    write: Callable[[Prepared], dict[str, Any]],
) -> Explorer:
    name = f"{study}_explorer.html"
    try:
        shown = write(Prepared.open(evidence.root / "data" / "prepared"))
    except UserError as error:
        why = str(error).replace(f"{evidence.root}{os.sep}", "")  # a page names no machine's folder
        return Explorer(told, title, f"{name}.j2", None, why)
    return Explorer(told, title, f"{name}.j2", name, shown=shown)
