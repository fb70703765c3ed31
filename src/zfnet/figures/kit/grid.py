"""Grids of small images: signed maps as colours, tiles with thin gaps, the paper's Fig. 2 sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from zfnet.data.signed import ZERO, signed_scale, signed_to_rgb
from zfnet.figures.kit.style import FAINT, GAP, INK, OUTSIDE, sheet, text_width, write

__all__ = ["ZERO", "signed_scale", "signed_to_rgb"]  # of zfnet.data.signed, for whoever draws


def cut(
    image: np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int],
    fill: tuple[int, int, int] = OUTSIDE,
) -> np.ndarray:
    """The window of `size` (h, w) whose top-left pixel is `corner` (y, x); outside is `fill`.

    image: (H, W, 3) uint8. The corner may be negative and the window may leave the image.
    """
    height, width = size
    window = np.empty((height, width, 3), np.uint8)
    window[:] = fill
    y0, x0 = max(corner[0], 0), max(corner[1], 0)
    y1 = min(corner[0] + height, image.shape[0])
    x1 = min(corner[1] + width, image.shape[1])
    if y1 > y0 and x1 > x0:
        top, left = y0 - corner[0], x0 - corner[1]
        window[top : top + y1 - y0, left : left + x1 - x0] = image[y0:y1, x0:x1]
    return window


def pale_outside(tile: np.ndarray, box: tuple[int, int, int, int], rest: float = 0.3) -> np.ndarray:
    """The tile (h, w, 3) uint8 with all but the box (y0, x0, y1, x1) faded to `rest` of itself."""
    faded = np.rint(rest * tile + (1 - rest) * np.array(OUTSIDE)).astype(np.uint8)
    y0, x0, y1, x1 = box
    faded[y0:y1, x0:x1] = tile[y0:y1, x0:x1]
    return faded


def patch(
    image: np.ndarray, corner: Sequence[int], size: Sequence[int], box: Sequence[int], active: bool
) -> np.ndarray:
    """The window (h, w, 3) of an image that an activation saw, pale where its field ends.

    corner: the window's top left (y, x); size: its (h, w); box: the field (y0, x0, y1, x1) in the
    image's pixels. All of it is pale if the image does not excite the map (`active`).
    """
    top, left = int(corner[0]), int(corner[1])
    tile = cut(image, (top, left), (int(size[0]), int(size[1])))
    y0, x0, y1, x1 = (int(v) for v in box)
    inside = (y0 - top, x0 - left, y1 - top, x1 - left) if active else (0, 0, 0, 0)
    return tile if inside == (0, 0, *tile.shape[:2]) else pale_outside(tile, inside)


def even_columns(count: int, aspect: float) -> int:
    """Columns for `count` tiles, about `aspect` times as many as rows, without a ragged last row.

    A divisor of `count` near that is taken, if there is one.
    """
    wanted = math.sqrt(aspect * count)
    near = [c for c in range(1, count + 1) if count % c == 0 and 0.65 < c / wanted < 1.55]
    return min(near, key=lambda c: abs(c - wanted)) if near else max(1, math.ceil(wanted))


def resize(tile: np.ndarray, px: int, sharp: bool = False) -> Image.Image:
    """A tile (h, w, 3) uint8 as a picture whose longer side is `px`; sharp keeps pixels square."""
    height, width = tile.shape[:2]
    factor = px / max(height, width)
    shape = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = Image.Resampling.NEAREST if sharp else Image.Resampling.BICUBIC
    return Image.fromarray(np.ascontiguousarray(tile)).resize(shape, method)


def thumbnail(tile: np.ndarray, px: int) -> np.ndarray:
    """A tile (h, w, 3) uint8 with its longer side brought down to `px`; smaller ones unchanged."""
    return tile if max(tile.shape[:2]) <= px else np.asarray(resize(tile, px))


def signed_thumbnail(tile: np.ndarray, px: int) -> np.ndarray:
    """The same for a grey-centred tile; its contrast, which shrinking takes, is stretched again."""
    if max(tile.shape[:2]) <= px:
        return tile
    return signed_to_rgb(thumbnail(tile, px).astype(np.float32) - ZERO)


def block(tiles: Sequence[np.ndarray], px: int, gap: int = 2, sharp: bool = False) -> Image.Image:
    """Tiles as a square block (1, 4, 9, … of them), row by row, each `px` wide."""
    side = max(1, math.ceil(math.sqrt(len(tiles))))
    # Not white: white patches would run into each other and into the page.
    picture = Image.new("RGB", (side * px + (side - 1) * gap,) * 2, GAP)
    for position, tile in enumerate(tiles):
        row, column = divmod(position, side)
        drawn = resize(tile, px, sharp)
        left, top = (px - drawn.width) // 2, (px - drawn.height) // 2
        picture.paste(drawn, (column * (px + gap) + left, row * (px + gap) + top))
    return picture


@dataclass(frozen=True)
class MapCell:
    """One map of a Fig. 2 sheet: its name, its pictures (left) and its image patches (right).

    `left`: one filter or k projections, `patches`: k patches; each (h, w, 3) uint8.
    """

    name: str
    left: Sequence[np.ndarray]
    patches: Sequence[np.ndarray]
    note: str = ""


def feature_sheet(
    cells: Sequence[MapCell],
    columns: int,
    *,
    title: str,
    subtitle: str = "",
    width: int = 1800,
    max_tile: int = 150,
    sharp_left: bool = False,
) -> Image.Image:
    """The paper's Fig. 2: per map a block of projections and beside it the block of patches.

    cells are laid row by row in `columns` columns; the tile size follows from `width` px, at most
    `max_tile`. Returns an RGB picture at most `width` px wide.
    """
    side = max(1, max(math.ceil(math.sqrt(len(cell.patches))) for cell in cells))
    columns = min(columns, len(cells))
    gap, mid, apart = 2, 6, 26
    spare = width - (columns - 1) * apart - columns * (2 * (side - 1) * gap + mid)
    tile = max(8, min(max_tile, spare // (columns * 2 * side)))
    span = side * tile + (side - 1) * gap
    cell_width = 2 * span + mid
    letters = 23 if cell_width >= 300 else 18
    label = letters + 11
    head = _head_height(subtitle)
    rows = math.ceil(len(cells) / columns)
    total = columns * cell_width + (columns - 1) * apart
    picture, draw = sheet(total, head + rows * (span + label) + (rows - 1) * 10)
    _write_head(draw, title, subtitle, total)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        x, y = column * (cell_width + apart), head + row * (span + label + 10)
        write(draw, (x, y + label // 2 - 2), cell.name, letters, bold=True)
        used = text_width(cell.name + " ", letters, bold=True)
        room = cell_width - used
        if cell.note and text_width(cell.note, letters) <= room:
            write(draw, (x + cell_width, y + label // 2 - 2), cell.note, letters, anchor="rm",
                  fill=FAINT)  # fmt: skip
        left_px = span if len(cell.left) == 1 else tile
        picture.paste(block(cell.left, left_px, gap, sharp_left), (x, y + label))
        picture.paste(block(cell.patches, tile, gap), (x + span + mid, y + label))
    return picture


def image_grid(
    tiles: Sequence[np.ndarray],
    columns: int,
    px: int,
    *,
    gap: int = 2,
    sharp: bool = False,
) -> Image.Image:
    """Tiles (h, w, 3) uint8 in `columns` columns, each at most `px` wide."""
    columns = max(1, min(columns, len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    width = columns * px + (columns - 1) * gap
    picture, _ = sheet(width, rows * px + (rows - 1) * gap)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        x, y = column * (px + gap), row * (px + gap)
        drawn = resize(tile, px, sharp)
        picture.paste(drawn, (x + (px - drawn.width) // 2, y + (px - drawn.height) // 2))
    return picture


def _head_height(subtitle: str) -> int:
    return 88 if subtitle else 54


def _write_head(draw: ImageDraw.ImageDraw, title: str, subtitle: str, width: int) -> None:
    for y, text, size, bold, fill in ((20, title, 34, True, INK), (62, subtitle, 25, False, FAINT)):
        while size > 11 and text_width(text, size, bold) > width:
            size -= 1
        write(draw, (0, y), text, size, bold=bold, fill=fill)
