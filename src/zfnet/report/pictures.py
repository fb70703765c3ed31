"""Copies figures into the site, with their sizes, and makes the small ones for the first page."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

LARGE_PNG = 1_500_000  # bytes; above, a page is better served by WebP
WEBP_SIDE = 16_383  # px: no WebP is larger
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


def place(source: Path, site: Path, folder: str) -> Placed:
    """Copy `source` to `site`/`folder`; a large PNG becomes a WebP if that is smaller.

    The original remains in results/.
    """
    from PIL import Image

    target = site / folder / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with Image.open(source) as image:
        width, height = image.size
        large = source.suffix == ".png" and target.stat().st_size > LARGE_PNG
        if large and max(width, height) <= WEBP_SIDE:
            smaller = target.with_suffix(".webp")
            image.convert("RGB").save(smaller, "WEBP", quality=90, method=4)
            loser = max(smaller, target, key=lambda file: file.stat().st_size)
            loser.unlink()
            target = target if loser is smaller else smaller
    return Placed(target.relative_to(site).as_posix(), width, height)


def card(source: Path, site: Path, folder: str) -> Placed:
    """Write a figure as the WebP of a card: at the card's width, cut at its lower edge."""
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
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, "WEBP", quality=84, method=4)
    return Placed(target.relative_to(site).as_posix(), width, height)
