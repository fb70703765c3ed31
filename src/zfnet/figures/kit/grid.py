"""Grids of small images: signed maps as colours, tiles with thin gaps, the paper's Fig. 2 sheet."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from zfnet.data.signed import ZERO, signed_to_rgb
from zfnet.figures.kit.style import (
    FAINT,
    GAP,
    HEAD,
    MARK,
    OUTSIDE,
    PAPER,
    heading,
    sheet,
    text_width,
    write,
)

PALE = 0.3  # of its own colours that a pixel keeps outside the field


def cut(image: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The window of `size` (h, w) whose top-left pixel is `corner` (y, x); grey outside.

    image: (H, W, 3) uint8. The corner may be negative and the window may leave the image.
    """
    height, width = size
    window = np.empty((height, width, 3), np.uint8)
    window[:] = OUTSIDE
    y0, x0 = max(corner[0], 0), max(corner[1], 0)
    y1 = min(corner[0] + height, image.shape[0])
    x1 = min(corner[1] + width, image.shape[1])
    if y1 > y0 and x1 > x0:
        top, left = y0 - corner[0], x0 - corner[1]
        window[top : top + y1 - y0, left : left + x1 - x0] = image[y0:y1, x0:x1]
    return window


def patch(
    image: np.ndarray, corner: Sequence[int], size: Sequence[int], box: Sequence[int], active: bool
) -> np.ndarray:
    """The window (h, w, 3) of an image that an activation saw, pale where its field ends.

    corner: the window's top left (y, x); size: its (h, w); box: the field (y0, x0, y1, x1) in the
    image's pixels. All of it is pale if the image does not excite the map (`active`).
    """
    top, left = int(corner[0]), int(corner[1])
    tile = cut(image, (top, left), (int(size[0]), int(size[1])))
    faded = np.rint(PALE * tile + (1 - PALE) * np.array(OUTSIDE)).astype(np.uint8)
    if active:
        y0, x0, y1, x1 = (int(v) for v in box)
        field = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        faded[field] = tile[field]
    return faded


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


def paste(
    picture: Image.Image, tile: np.ndarray, at: tuple[int, int], px: int, sharp: bool = False
) -> None:
    """A tile (h, w, 3) uint8 in the middle of the square of `px` whose top left is `at` (x, y)."""
    drawn = resize(tile, px, sharp)
    picture.paste(drawn, (at[0] + (px - drawn.width) // 2, at[1] + (px - drawn.height) // 2))


def image_grid(
    tiles: Sequence[np.ndarray],
    columns: int,
    px: int,
    *,
    gap: int = 2,
    sharp: bool = False,
    ground: tuple[int, int, int] = PAPER,
    framed: Collection[int] = (),
) -> Image.Image:
    """Tiles (h, w, 3) uint8 in `columns` columns, row by row, each at most `px` wide.

    ground: the colour of the gaps. framed: positions of tiles with a red frame.
    """
    columns = max(1, min(columns, len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    size = columns * (px + gap) - gap, rows * (px + gap) - gap
    picture = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(picture)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        x, y = column * (px + gap), row * (px + gap)
        paste(picture, tile, (x, y), px, sharp)
        if number in framed:
            frame = (x, y, x + px - 1, y + px - 1)
            draw.rectangle(frame, outline=ImageColor.getrgb(MARK), width=4)
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
    head = HEAD if subtitle else 54
    rows = math.ceil(len(cells) / columns)
    total = columns * cell_width + (columns - 1) * apart
    picture, draw = sheet(total, head + rows * (span + label) + (rows - 1) * 10)
    heading(draw, title, subtitle, total)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        x, y = column * (cell_width + apart), head + row * (span + label + 10)
        middle, used = y + label // 2 - 2, text_width(cell.name + " ", letters, bold=True)
        write(draw, (x, middle), cell.name, letters, bold=True)
        if cell.note and text_width(cell.note, letters) <= cell_width - used:
            write(draw, (x + cell_width, middle), cell.note, letters, anchor="rm", fill=FAINT)
        # The ground is not white: white patches would run into each other and into the page.
        left_px = span if len(cell.left) == 1 else tile
        left = image_grid(cell.left, side, left_px, sharp=sharp_left, ground=GAP)
        picture.paste(left, (x, y + label))
        right = image_grid(cell.patches, side, tile, ground=GAP)
        picture.paste(right, (x + span + mid, y + label))
    return picture
