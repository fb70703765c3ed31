"""Fig. 6's parts; what is drawn of a measurement is tested with the study."""

import numpy as np

from zfnet.figures.architecture import TilePanel, grid_points, panel_sheet


def test_a_grid_has_its_multiples_without_zero():
    assert set(grid_points((2, 2))) == {
        (y, x) for y in (-0.5, 0, 0.5) for x in (-0.5, 0, 0.5) if (y, x) != (0, 0)
    }
    assert grid_points((1, 2)) == [(0.0, -0.5), (0.0, 0.5)]
    assert grid_points((1, 1)) == []


def test_framed_tiles_are_drawn():
    tiles = [np.full((3, 3, 3), 128, np.uint8)] * 4

    def red(framed):
        sheet = np.asarray(panel_sheet([[TilePanel("a", "b", tiles, framed=frozenset(framed))]]))
        return int((np.abs(sheet[..., 0].astype(np.int16) - 0xE8) < 3).sum())

    none = red([])
    assert red([0, 1]) - none == 2 * (red([1]) - none) > 0
