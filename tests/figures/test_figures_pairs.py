import numpy as np

from zfnet.figures.kit.pairs import Pairs, paired_dots
from zfnet.stats.estimate import Estimate


def test_every_complete_image_is_a_line_and_means_carry_intervals():
    values = np.array([[0.5, 0.1], [0.4, -0.1], [np.nan, 0.3]])
    means = (Estimate(0.45, 0.2, 0.7), Estimate(0.0))
    pairs = Pairs("title", values, ("in", "out"), means, "drop")
    figure = paired_dots([pairs, pairs])
    axis = figure.axes[0]
    lines = [line.get_ydata() for line in axis.lines if list(line.get_xdata()) == [0, 1]]
    drawn = [list(line) for line in lines if list(line) != [0, 0]]
    assert drawn == [[0.5, 0.1], [0.4, -0.1]]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["in", "out"]
    assert axis.get_ylabel() == "drop"
    assert len(axis.containers) == 1  # one interval is known
