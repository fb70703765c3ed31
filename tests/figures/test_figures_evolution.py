"""The marks of Fig. 4; what is drawn of a measurement is tested with the study."""

from types import SimpleNamespace

import numpy as np
import pytest

from zfnet.figures.evolution import JUMP, SIMILAR, Track, evolution_sheet, tracks_of
from zfnet.results import Table


def test_a_jump_and_a_settled_picture_leave_their_marks_and_others_none():
    def marks(jumps, similar):
        tiles = [np.full((7, 7, 3), 128, np.uint8)] * 3
        sheet = evolution_sheet({"Layer 1": [Track("0", tiles, jumps, similar)]}, (1, 2, 5))
        return np.array([(np.asarray(sheet) == c).all(2).sum() for c in (JUMP, SIMILAR)])

    no = [False] * 3
    key = marks(no, no)
    once, twice = marks([False, True, False], no) - key, marks([False, True, True], no) - key
    assert once.tolist() == [twice[0] / 2, 0]
    settled = marks(no, [False, False, True]) - key
    assert settled[0] == 0 < settled[1]


@pytest.mark.parametrize(
    ("columns", "settled", "before_end", "jumps", "similar"),
    [
        ((1, 2, 3, 4, 5), 2, True, [0, 1, 0, 0, 1], [0, 1, 1, 1, 1]),
        ((1, 4, 5), 3, True, [0, 1, 1], [0, 1, 1]),
        ((1, 4, 5), 5, False, [0, 1, 1], [0, 0, 0]),
        ((1, 4, 5), None, None, [0, 1, 1], [0, 0, 0]),
    ],
)
def test_marks_are_those_between_the_columns_drawn(columns, settled, before_end, jumps, similar):
    """A run of five epochs: map 2 of one layer, its strongest image 5, 6, 6, 6, 5, once dead."""
    rows = [[1, 2, settled, before_end]]
    arrays = {
        "layer1_maps": np.array([2]), "layer1_pictured": np.array([2]),
        "layer1_values": np.array([[1, 1, 0, 1, 1]]),
        "layer1_images": np.array([[5, 6, 6, 6, 5]]),
        "layer1_projections": np.full((1, 5, 3, 3, 3), 128, np.uint8),
    }  # fmt: skip
    results = SimpleNamespace(
        facts={"epochs": [1, 2, 3, 4, 5], "columns": columns, "layers": {"1": {"shown": [2]}}},
        tables={"maps": Table(["layer", "map", "settled", "before_end"], rows)},
        array=arrays.__getitem__,
    )
    (track,) = tracks_of(results, "1")
    assert track.jumps == [bool(jump) for jump in jumps]
    assert track.similar == [bool(one) for one in similar]
