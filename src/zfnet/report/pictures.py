"""Copies figures into the site, and makes the small ones for the first page."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CARD = (720, 450)
WIDE = 2.2


@dataclass(frozen=True)
class Placed:
    """A picture in the site: `href` relative to the site's root, size in pixels."""

    href: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether a phone must scroll it sideways to show anything."""
        return self.width > WIDE * self.height


def place(figure: Mapping[str, Any], site: Path, folder: str) -> Placed:
    """Copy a figure, as the stage figures lists it, to `site`/`folder`."""
    target = site / folder / figure["file"]
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(figure["path"], target)
    return Placed(target.relative_to(site).as_posix(), figure["width"], figure["height"])


def card(source: Path, site: Path, folder: str) -> Placed:
    """Write a figure as a card's WebP into a folder of the site: as wide, cut at its lower edge."""
    from PIL import Image

    width, height = CARD
    with Image.open(source) as image:
        lower = min(image.height, round(image.width * height / width))
        picture = image.convert("RGB").crop((0, 0, image.width, lower))
    scaled = max(1, round(picture.height * width / picture.width))
    picture = picture.resize((width, scaled), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", CARD, "white")
    sheet.paste(picture, (0, (height - scaled) // 2))
    target = site / folder / "card.webp"
    sheet.save(target, "WEBP", quality=84, method=4)
    return Placed(target.relative_to(site).as_posix(), width, height)
