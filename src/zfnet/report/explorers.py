"""The explorers of the site: which can be built, and their pages' contents.

An explorer needs its study's result and the prepared images it speaks of. Where one is missing the
site has no such page, and the study's page says why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.figures.kit import trainings
from zfnet.report import explore_embedding, explore_features, explore_occlusion
from zfnet.report.gather import Evidence


@dataclass(frozen=True)
class Explorer:
    """One explorer page: `href` relative to the site's root, "" where it cannot be built.

    `offers`: what can be done there, by study whose results it shows; `why`: where there is no
    page, what is missing; `shown`: values of its template.
    """

    title: str
    offers: Mapping[str, str]
    href: str
    why: str = ""
    shown: dict[str, Any] = field(default_factory=dict)


def build_all(evidence: Evidence, site: Path) -> list[Explorer]:
    """Write the data of every explorer whose study has a result; see `Explorer`."""
    features, evolution, occlusion, embedding = map(
        evidence.studies.get, ("features", "evolution", "occlusion", "embedding")
    )
    made = []
    if features is not None:
        offers = {"features": "every map, its patches and projections, and how it came about"}
        if evolution is not None:
            offers["evolution"] = "how each map that was followed came about, epoch by epoch"
        write = partial(explore_features.write, features, evolution)
        made.append(_explorer(evidence, site, "Feature explorer", offers, write))
    if occlusion is not None:
        offers = {"occlusion": "hide any place and see what the net says"}
        write = partial(explore_occlusion.write, occlusion)
        made.append(_explorer(evidence, site, "Occlusion explorer", offers, write))
    if embedding is not None:
        offers = {"embedding": "point at any image of the map and see it beside its neighbours"}
        write = partial(explore_embedding.write, embedding)
        made.append(_explorer(evidence, site, "Embedding explorer", offers, write))
    return made


def _explorer(
    evidence: Evidence,
    site: Path,
    title: str,
    offers: Mapping[str, str],
    write: Callable[[Prepared, Path], dict[str, Any]],
) -> Explorer:
    try:
        shown = write(Prepared.open(evidence.root / "data" / "prepared"), site)
    except UserError as error:
        why = str(error).replace(f"{evidence.root}{os.sep}", "")  # a page names no machine's folder
        return Explorer(title, offers, "", why)
    shown["net"] = evidence.title(shown["net"])
    if seeds := trainings.seeds_of(evidence.studies[next(iter(offers))]["results"]):
        shown["net"] += f" ({trainings.which(seeds[0])})"
    shown["split"] = {"train": "training", "val": "validation"}.get(shown["split"], shown["split"])
    return Explorer(title, offers, f"{next(iter(offers))}_explorer.html", shown=shown)
