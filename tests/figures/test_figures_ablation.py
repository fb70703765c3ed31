import pytest

from zfnet.figures.ablation import Dot, dot_plot


@pytest.mark.parametrize("value", [2.0, 70.0, 90.0])
def test_a_note_stays_inside_the_figure_and_off_the_marks(value):
    note = "stayed at chance in 1 of 3 trainings"
    dots = [
        Dot("without layers 3, 4, 6, 7", value, value - 2, value + 2, 71.3, value - 1, note=note),
        Dot("full", 7.0, 6.0, 8.0, 40.5),
    ]
    drawn = dot_plot({"AlexNet": dots}, "top-1 error, %", 91.7, "guessing")
    drawn.canvas.draw()
    (axis,) = drawn.axes
    (words,) = [text for text in axis.texts if text.get_text() == note]
    box = words.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= drawn.bbox.x1
    marks = [axis.transData.transform((value + side, 0))[0] for side in (-2, 2)]
    assert box.x0 > max(marks) or box.x1 < min(marks)
    level = axis.transData.transform((91.7, 0))[0]
    assert not box.x0 < level < box.x1
