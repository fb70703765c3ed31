"""Many small pictures as few files: sprite sheets, and images of a split as a net saw them.

A page shows one tile of a sheet at a time, so a large run costs files, not requests at first view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zfnet.data.views import NetView
from zfnet.errors import UserError
from zfnet.figures.kit.grid import thumbnail
from zfnet.machine import cores
from zfnet.results import Results

WEBP_SIDE = 16_383  # px: no WebP is larger
QUALITY = 72


@dataclass(frozen=True)
class Sheet:
    """One file of equal tiles (height, width) px, `columns` a row, filled row by row."""

    href: str
    width: int
    height: int
    columns: int

    def plain(self) -> dict[str, Any]:
        """For the page's script."""
        return {"src": self.href, "w": self.width, "h": self.height, "columns": self.columns}


class Sheets:
    """Writes sheets below `site` on a few threads; leaving the context waits for all of them."""

    def __init__(self, site: Path) -> None:
        self.site = site
        self._pool = ThreadPoolExecutor(cores())
        self._waiting: list[Any] = []

    def __enter__(self) -> Sheets:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        for one in self._waiting:
            one.result()  # raises what its thread raised

    def add(self, href: str, tiles: Sequence[np.ndarray], columns: int) -> Sheet:
        """A sheet of tiles (h, w, 3) uint8, all of one size; `href` is relative to the site."""
        height, width = tiles[0].shape[:2]
        columns = max(1, min(columns, len(tiles), WEBP_SIDE // width))
        rows = -(-len(tiles) // columns)
        if rows * height > WEBP_SIDE:
            raise ValueError(f"{href}: {len(tiles)} tiles of {height} px make no WebP")
        canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
        for index, tile in enumerate(tiles):
            y, x = index // columns * height, index % columns * width
            canvas[y : y + height, x : x + width] = tile
        # A few sheets wait at a time: each may take tens of megabytes.
        while len(self._waiting) > 2 * cores():
            self._waiting.pop(0).result()
        self._waiting.append(self._pool.submit(self._save, href, canvas))
        return Sheet(href, width, height, columns)

    def _save(self, href: str, canvas: np.ndarray) -> None:
        file = self.site / href
        file.parent.mkdir(parents=True, exist_ok=True)
        # Tiles of few pixels are shown enlarged: there, what lossy coding smears would be seen.
        small = canvas.size < 600_000
        Image.fromarray(canvas).save(file, "WEBP", quality=QUALITY, method=2, lossless=small)


def square(tile: np.ndarray, px: int) -> np.ndarray:
    """`thumbnail` of a square tile: exactly px x px, or the tile itself where it is smaller."""
    return np.ascontiguousarray(thumbnail(tile, px))


def pages(items: Sequence[Any], size: int) -> Iterator[tuple[int, Sequence[Any]]]:
    """(number, items) of pages of `size` items."""
    for start in range(0, len(items), size):
        yield start // size, items[start : start + size]


def image_sheets(
    sheets: Sheets, view: NetView, rows: Iterable[int], folder: str, *, px: int, a_sheet: int
) -> tuple[dict[int, int], dict[str, Any]]:
    """Whole images of `rows` on sheets of `a_sheet` tiles of at most `px`.

    Returns each row's place among them and what the page's script needs to find it.
    """
    ordered = sorted(set(rows))
    made = []
    for number, part in pages(ordered, a_sheet):
        tiles = [square(view.image(row), px) for row in part]
        made.append(sheets.add(f"{folder}/images_{number}.webp", tiles, columns=8))
    places = {row: place for place, row in enumerate(ordered)}
    return places, {"a_sheet": a_sheet, "sheets": [sheet.plain() for sheet in made]}


def fact(results: Results, *path: str) -> Any:
    """What the facts of a result say under `path`. UserError if the result lacks it."""
    value: Any = results.facts
    for name in path:
        if not isinstance(value, dict) or name not in value:
            raise lacking(results, f"fact {'.'.join(path)}")
        value = value[name]
    return value


def lacking(results: Results, what: str) -> UserError:
    """The error of a result that lacks something, to be raised."""
    study = results.folder.name
    return UserError(
        f"results/{study} has no {what}: it was written by another version. Run "
        f"`uv run dvc repro {study}`."
    )


def load_array(study: dict[str, Any], name: str) -> np.ndarray:
    """An array of a study as `load_study` gives it. UserError if the result lacks it."""
    if not study["results"].has(name):
        raise lacking(study["results"], f"array {name}")
    loaded: np.ndarray = study["results"].array(name)
    return loaded


def check_rows(
    rows: np.ndarray, view: NetView, study: str, ids: Sequence[str] | None = None
) -> None:
    """UserError where a study speaks of images that the prepared split does not hold.

    ids: what the study calls each, where it says so.
    """
    if rows.size and int(rows.max()) >= len(view):
        raise UserError(
            f"results/{study} names image {int(rows.max())} of the split {view.split.name}, which "
            f"holds {len(view)}: it belongs to other data. Run `uv run dvc repro {study}`."
        )
    for name, row in zip(ids, rows.tolist(), strict=True) if ids is not None else ():
        if view.split.ids[row] != name:
            raise UserError(
                f"results/{study} calls image {row} {name}, the prepared split {view.split.name} "
                f"calls it {view.split.ids[row]}: it belongs to other data. Run `uv run dvc repro "
                f"{study}`."
            )


def rounded(values: np.ndarray | Iterable[float], digits: int = 4) -> list[float | None]:
    """Floats of `digits` significant digits; None for what is not a number."""
    flat = np.asarray(values, np.float64).ravel().tolist()
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in flat]
