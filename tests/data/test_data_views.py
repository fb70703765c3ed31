from types import SimpleNamespace

import numpy as np

from zfnet.data.views import NetView, View

SIZE = 40


def view(px):
    split = SimpleNamespace(
        image=lambda row: np.full((SIZE, SIZE, 3), row, np.uint8) + RAMP,
        boxes=np.array([[8.0, 10, 30, 60], [np.nan] * 4]),
    )
    return NetView(SimpleNamespace(size=SIZE, split=lambda name: split), "val", px)


RAMP = np.broadcast_to(np.arange(SIZE, dtype=np.uint8)[:, None, None], (SIZE, SIZE, 3))


def test_a_net_sees_the_centre_or_the_whole_enlarged():
    assert View.of(40, 32) == View(4, 32, 1.0)
    assert View.of(40, 60) == View(0, 40, 1.5)
    assert np.array_equal(view(32).image(5), (RAMP + 5)[4:36, 4:36])
    enlarged = view(60).image(5)
    assert enlarged.shape == (60, 60, 3)
    assert enlarged[0, 0].tolist() == [5, 5, 5]


def test_boxes_follow_the_view_and_end_at_its_border():
    assert view(32).box(0) == [6, 4, 32, 26]
    assert view(60).box(0) == [15, 12, 60, 45]
    assert view(60).box(1) is None
