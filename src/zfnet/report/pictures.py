"""Copies figures into the site, with their sizes, and makes the small ones for the first page."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LARGE_PNG = 1_500_000  # bytes; above, a page is better served by WebP
CARD = (720, 450)
WIDE = 2.2


@dataclass(frozen=True)
class Picture:
    """A picture in the site: `href` relative to the site's root, size in pixels."""

    href: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether a phone must scroll it sideways to show anything."""
        return self.width > WIDE * self.height


def place(source: Path, site: Path, folder: str) -> Picture:
    """Copy `source` to `site`/`folder`; a large PNG becomes a WebP if that is smaller.

    WebP ends at 16,383 pixels a side; what is larger stays as it is. The original remains in
    results/.
    """
    from PIL import Image

    target = site / folder / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with Image.open(source) as image:
        width, height = image.size
        if (
            source.suffix == ".png"
            and target.stat().st_size > LARGE_PNG
            and max(width, height) < 16384
        ):
            smaller = target.with_suffix(".webp")
            image.convert("RGB").save(smaller, "WEBP", quality=90, method=4)
            loser = smaller if smaller.stat().st_size >= target.stat().st_size else target
            loser.unlink()
            target = target if loser is smaller else smaller
    return Picture(target.relative_to(site).as_posix(), width, height)


def card(sources: Sequence[Path], site: Path, folder: str) -> Picture:
    """Write the picture of a card as WebP: the first source, cut at the card's lower edge.

    A picture wider than the card leaves room: those after it are put below while they fit whole.
    """
    from PIL import Image

    target = site / folder / "card.webp"
    target.parent.mkdir(parents=True, exist_ok=True)
    width, height = CARD
    rows: list[Image.Image] = []
    for source in sources:
        with Image.open(source) as image:
            picture = image.convert("RGB")
        picture = picture.crop((0, 0, picture.width, min(picture.height, _cut(picture.width))))
        scaled = max(1, round(picture.height * width / picture.width))
        if rows and sum(row.height for row in rows) + scaled > height:
            break
        rows.append(picture.resize((width, scaled), Image.Resampling.LANCZOS))
    sheet = Image.new("RGB", CARD, "white")
    spare = height - sum(row.height for row in rows)
    gap = top = spare // (len(rows) + 1)
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + gap
    sheet.save(target, "WEBP", quality=84, method=4)
    return Picture(target.relative_to(site).as_posix(), width, height)


def _cut(width: int) -> int:
    return round(width * CARD[1] / CARD[0])
