import pytest

from zfnet.figures.kit.dots import DotPanel, Dots, dot_chart, points


@pytest.mark.parametrize("value", [2.0, 70.0, 90.0])
def test_a_note_stays_inside_the_figure_and_off_the_marks(value):
    note = "stayed at chance in 1 of 3 trainings"
    rows = [
        {"x": value, "x_low": value - 2, "x_high": value + 2, "paper": 71.3, "train": value - 1},
        {"x": 7.0, "x_low": 6.0, "x_high": 8.0, "paper": 40.5, "train": None},
    ]
    dots = [
        Dots(key, "o", "blue", points(rows, key), 0.2 * (key == "paper"))
        for key in ("x", "paper", "train")
    ]
    panel = DotPanel("AlexNet", ["without layers 3, 4, 6, 7", "full"], dots, [note, ""])
    drawn = dot_chart([panel], "top-1 error, %", (91.7, "guessing"))
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


def test_where_nothing_was_measured_the_note_stands_off_the_level():
    dots = [Dots("ours", "o", "blue", [(1, -4.0), (1, 30.0)], 0.0)]
    drawn = dot_chart([DotPanel("", ["one", "two"], dots, ["none", ""])], "points", (0.0, ""))
    drawn.canvas.draw()
    (axis,) = drawn.axes
    note = next(text for text in axis.texts if text.get_text() == "none")
    assert note.get_window_extent().x0 > axis.transData.transform((0, 0))[0]
    assert axis.get_xlim()[0] < -4
