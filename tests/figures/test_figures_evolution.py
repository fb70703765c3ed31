import numpy as np

from zfnet.figures.evolution import (
    JUMP,
    SETTLED,
    Block,
    CurvePanel,
    Track,
    curve_panels,
    evolution_sheet,
)


def _tiles(count):
    return [np.full((7, 7, 3), 128, np.uint8)] * count


def _pixels(picture, colour):
    return int((np.asarray(picture) == np.array(colour)).all(2).sum())


def _sheet(tracks, epochs=(1, 2, 5)):
    return evolution_sheet([Block("Layer 1", tracks)], epochs, title="A", subtitle="B", width=900)


def test_a_jump_and_a_settled_picture_leave_their_marks_and_others_none():
    plain = _sheet([Track("0", _tiles(3), [False] * 3, [False] * 3)])
    key_jump, key_settled = _pixels(plain, JUMP), _pixels(plain, SETTLED)
    jumped = _sheet([Track("0", _tiles(3), [False, True, True], [False] * 3)])
    once = _sheet([Track("0", _tiles(3), [False, True, False], [False] * 3)])
    assert _pixels(jumped, JUMP) - key_jump == 2 * (_pixels(once, JUMP) - key_jump) > 0
    assert _pixels(jumped, SETTLED) == key_settled
    settled = _sheet([Track("0", _tiles(3), [False] * 3, [False, False, True])])
    assert _pixels(settled, SETTLED) > key_settled
    assert _pixels(settled, JUMP) == key_jump


def test_the_sheet_keeps_its_width_whatever_the_columns():
    for epochs in ((1, 2), tuple(range(1, 10))):
        tracks = [Track(str(i), _tiles(len(epochs)), [False] * 9, [False] * 9) for i in range(3)]
        blocks = [Block(f"Layer {n}", tracks) for n in range(1, 6)]
        picture = evolution_sheet(blocks, epochs, title="A")
        assert picture.width <= 1800
        assert picture.height < 2400


def test_curves_have_axes_with_names_and_one_legend():
    values = {"layer 1": np.array([0.5, 1.0]), "layer 2": np.array([np.nan, 1.0])}
    panel = CurvePanel("Similarity", "cosine", values, (0, 1), 0.7, "threshold")
    drawn = curve_panels([panel] * 4, (1, 2), "Title")
    assert len(drawn.axes) == 4
    assert all(axis.get_xlabel() == "epoch" and axis.get_ylabel() for axis in drawn.axes)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == list(values)
