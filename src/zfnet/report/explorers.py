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

    `offers`: what can be done there, by study whose results it shows; `why`: where there is no
    page, what is missing; `shown`: values of its template.
    """

    title: str
    template: str
    offers: Mapping[str, str]
    href: str | None
    why: str = ""
    shown: dict[str, Any] = field(default_factory=dict)


def build_all(evidence: Evidence, site: Path) -> list[Explorer]:
    """Write the data of every explorer whose study has a result; see `Explorer`."""
    made = {"features": _features, "occlusion": _occlusion}
    return [make(evidence, site) for name, make in made.items() if name in evidence.studies]


def _features(evidence: Evidence, site: Path) -> Explorer:
    evolution = evidence.studies.get("evolution")
    offers = {"features": "every map, its patches and projections, and how it came about"}
    if evolution is not None:
        offers["evolution"] = "how each map that was followed came about, epoch by epoch"
    return _explorer(
        evidence,
        "features",
        "Feature explorer",
        offers,
        lambda images: explore_features.write(
            evidence.studies["features"], evolution, images, site
        ),
    )


def _occlusion(evidence: Evidence, site: Path) -> Explorer:
    return _explorer(
        evidence,
        "occlusion",
        "Occlusion explorer",
        {"occlusion": "hide any place and see what the net says"},
        lambda images: explore_occlusion.write(evidence.studies["occlusion"], images, site),
    )


def _explorer(
    evidence: Evidence,
    study: str,
    title: str,
    offers: Mapping[str, str],
    write: Callable[[Prepared], dict[str, Any]],
) -> Explorer:
    page = f"{study}_explorer.html"
    try:
        shown = write(Prepared.open(evidence.root / "data" / "prepared"))
    except UserError as error:
        why = str(error).replace(f"{evidence.root}{os.sep}", "")  # a page names no machine's folder
        return Explorer(title, f"{page}.j2", offers, None, why)
    return Explorer(title, f"{page}.j2", offers, page, shown=shown)
