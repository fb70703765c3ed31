import math

import numpy as np

from zfnet.figures.kit.by_layer import LayerPanel, Series, layer_panels

POINTS = [(0.2, 0.1, 0.3), (math.nan, None, None), (0.6, None, None)]


def test_every_panel_has_its_layers_intervals_and_levels():
    panel = LayerPanel("Purity", "share", [Series("maps", POINTS)], {"chance": 0.25})
    drawn = layer_panels([panel, panel], [1, 3, 5], beyond=[5])
    assert len(drawn.axes) == 2
    axis = drawn.axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1", "3", "5"]
    assert axis.get_ylabel() == "share"
    assert axis.get_ylim()[0] == 0
    line, bar, level = axis.lines
    assert np.array_equal(line.get_ydata(), [0.2, math.nan, 0.6], equal_nan=True)
    assert list(bar.get_ydata()) == [0.1, 0.3]
    assert set(level.get_ydata()) == {0.25}
    assert len(axis.patches) == 1  # the ground of layer 5
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["maps", "chance"]


def test_a_single_series_needs_no_legend():
    panel = LayerPanel("Support", "share", [Series("s", POINTS)])
    assert layer_panels([panel], [1, 2, 3]).axes[0].get_legend() is None
