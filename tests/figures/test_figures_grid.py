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


def test_a_window_across_the_border_is_filled_outside():
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    window = cut(image, (-1, 3), (3, 4))
    assert np.array_equal(window[1:, :2], image[:2, 3:])
    assert (window[0] == OUTSIDE).all()
    assert (window[:, 2:] == OUTSIDE).all()
    assert (cut(image, (10, 10), (2, 2)) == OUTSIDE).all()


def test_thumbnails_of_signed_pictures_keep_their_contrast_and_their_zero():
    tile = np.full((64, 64, 3), ZERO, np.uint8)
    tile[::2, 20:40], tile[1::2, 20:40] = 255, 61  # brighter than zero on the average, and striped
    plain, signed = thumbnail(tile, 16), signed_thumbnail(tile, 16)
    assert plain.shape == signed.shape == (16, 16, 3)
    assert plain.max() < 180
    assert signed.max() == 255
    assert abs(int(signed[8, 0, 0]) - ZERO) <= 1
    assert thumbnail(tile, 64) is signed_thumbnail(tile, 64) is tile


def cells(count, side=9):
    tile = [np.full((20, 20, 3), 90, np.uint8)] * side
    return [MapCell(f"map {i}", tile, tile, "9/9 tench") for i in range(count)]


@pytest.mark.parametrize(("count", "columns", "rows"), [(16, 4, 4), (10, 2, 5), (3, 4, 1)])
def test_sheet_has_the_papers_arrangement(count, columns, rows):
    def height(count):
        sheet = feature_sheet(cells(count), columns, title="Layer 2", subtitle="some", width=900)
        assert sheet.width <= 900
        return sheet.height - HEAD + 10  # between the rows

    one = height(min(count, columns))
    assert height(count) == rows * one


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
