import numpy as np
import pytest

from zfnet.data.signed import ZERO
from zfnet.figures.kit.grid import (
    MapCell,
    cut,
    even_columns,
    feature_sheet,
    image_grid,
    patch,
    signed_thumbnail,
    thumbnail,
)
from zfnet.figures.kit.style import GAP, HEAD, MARK, OUTSIDE, fitting, text_width


def test_cut_inside_and_across_the_border():
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(cut(image, (1, 2), (2, 2)), image[1:3, 2:4])
    window = cut(image, (-1, 3), (3, 4))
    assert np.array_equal(window[1:, :2], image[:2, 3:])
    assert (window[0] == OUTSIDE).all()
    assert (window[:, 2:] == OUTSIDE).all()
    assert (cut(image, (10, 10), (2, 2)) == OUTSIDE).all()


def test_thumbnails_are_brought_down_and_never_up():
    tile = np.full((60, 90, 3), 77, np.uint8)
    assert thumbnail(tile, 30).shape == (20, 30, 3)
    assert (thumbnail(tile, 30) == 77).all()
    assert thumbnail(tile, 90) is tile


def test_thumbnails_of_signed_pictures_keep_their_contrast_and_their_zero():
    tile = np.full((64, 64, 3), ZERO, np.uint8)
    tile[::2, 20:40], tile[1::2, 20:40] = 255, 61  # brighter than zero on the average, and striped
    plain, signed = thumbnail(tile, 16), signed_thumbnail(tile, 16)
    assert plain.max() < 180
    assert signed.max() == 255
    assert abs(int(signed[8, 0, 0]) - ZERO) <= 1
    assert (signed_thumbnail(np.full((64, 64, 3), ZERO, np.uint8), 16) == ZERO).all()
    assert signed_thumbnail(tile, 64) is tile


def cells(count, side=9):
    rng = np.random.default_rng(0)
    tile = [rng.integers(0, 255, (20, 20, 3), dtype=np.uint8) for _ in range(side)]
    return [MapCell(f"map {i}", tile, tile, "9/9 tench") for i in range(count)]


@pytest.mark.parametrize(("count", "columns"), [(16, 4), (10, 2), (3, 4)])
def test_sheet_has_the_papers_arrangement(count, columns):
    sheet = feature_sheet(cells(count), columns, title="Layer 2", subtitle="some maps", width=900)
    assert sheet.width <= 900
    columns = min(columns, count)
    rows = -(-count // columns)
    cell = (sheet.width - (columns - 1) * 26) / columns
    assert cell == int(cell)
    span = (int(cell) - 6) // 2
    label = 34 if cell >= 300 else 29
    assert sheet.height == HEAD + rows * (span + label) + (rows - 1) * 10


def test_sheet_of_single_filters_scales_them_to_the_block():
    given = [MapCell("0", [np.zeros((7, 7, 3), np.uint8)], cells(1)[0].patches)]
    sheet = np.asarray(feature_sheet(given, 1, title="Layer 1", width=400, sharp_left=True))
    black = (sheet == 0).all(2)
    assert black[:, : sheet.shape[1] // 2 - 4].any(0).sum() > 150  # wider than a patch


def test_image_grid_lays_tiles_row_by_row_on_its_ground_and_frames_some():
    tiles = [np.full((10, 10, 3), 10 * i, np.uint8) for i in range(5)]
    grid = np.asarray(image_grid(tiles, 3, 20, ground=GAP, framed=[1]))
    assert grid.shape == (42, 64, 3)
    places = [int(grid[y, x, 0]) for y in (10, 32) for x in (10, 32, 54)]
    assert places == [0, 10, 20, 30, 40, GAP[0]]
    assert tuple(grid[5, 20]) == GAP
    assert "#{:02x}{:02x}{:02x}".format(*grid[0, 22]) == MARK


def test_letters_shrink_until_every_line_fits():
    lines = ["short", "a rather long line of words"]
    size = fitting(lines, 40, 200)
    assert text_width(lines[1], size) <= 200 < text_width(lines[1], size + 1)
    assert fitting(lines, 40, 10) == 11


def test_columns_leave_no_ragged_row_where_they_can():
    assert [even_columns(n, 1.5) for n in (24, 64, 96)] == [6, 8, 12]
    assert even_columns(13, 1.5) == 5  # a prime: no help
    assert even_columns(1, 2) == 1


def test_a_patch_is_the_window_pale_beyond_its_field_and_wholly_pale_if_it_excites_nothing():
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    corner, size = np.array([2, 3], np.int16), [4, 4]
    assert np.array_equal(patch(image, corner, size, [2, 3, 6, 7], True), image[2:6, 3:7])
    pale = np.rint(0.3 * image[2:6, 3:7] + 0.7 * OUTSIDE[0])
    cut_off = patch(image, corner, size, np.array([2, 3, 4, 7]), True)
    assert np.array_equal(cut_off[:2], image[2:4, 3:7])
    assert np.array_equal(cut_off[2:], pale[2:])
    assert np.array_equal(patch(image, corner, size, [2, 3, 6, 7], False), pale)
