import numpy as np

from zfnet.figures.kit.maps import (
    HeatPanel,
    ImagePanel,
    LabelPanel,
    Strip,
    cell_edges,
    label_order,
    panel_sheet,
)
from zfnet.figures.kit.show import to_image

CENTRES = np.array([4.0, 8.0, 12.0, 14.0])
COMMON = {"ys": CENTRES, "xs": CENTRES, "extent": (18, 18)}


def row(title):
    values = np.linspace(0, 1, 16).reshape(4, 4)
    labels = np.array([[1] * 4, [1] * 4, [1, 2, 2, 2], [1, 1, 0, 0]])
    panels = [
        ImagePanel("image", np.zeros((18, 18, 3), np.uint8), (2, 2, 8, 8), box=(1, 1, 9, 9)),
        HeatPanel("p", values, unit="probability", high=1.0, clean=0.9, **COMMON),
        HeatPanel("flat", np.zeros((4, 4)), **COMMON),
        LabelPanel("label", labels, names=["cat", "dog", "gas pump"], first=1, **COMMON),
    ]
    return panel_sheet([panels], title=title)


def sheet(strip=None):
    image = np.full((18, 18, 3), 90, np.uint8)
    heat, low = (HeatPanel(t, np.eye(4), unit="activity", **COMMON) for t in "bd")
    label = LabelPanel("e", np.eye(4, dtype=int), names=["cat", "a gas pump"], **COMMON)
    return panel_sheet(
        [[ImagePanel("a", image), heat, ImagePanel("c", image, frame=True)], [low, label]],
        strip,
        title="a title",
    )


def test_a_sheet_keeps_panels_in_columns_and_the_strip_between_the_rows():
    tile = np.full((30, 30, 3), 200, np.uint8)
    figure = sheet(Strip("others", [(tile, tile)] * 3, ["cat", "dog", "cat"]))
    placed = {axis.get_title(): axis.get_position() for axis in figure.axes if axis.get_title()}
    assert placed["a"].x0 < placed["b"].x0 < placed["c"].x0
    assert placed["a"].y0 == placed["c"].y0
    assert placed["d"].x0 == placed["a"].x0
    assert placed["e"].x0 == placed["b"].x0
    assert placed["e"].y1 < placed["a"].y0
    strip = [axis for axis in figure.axes if not axis.get_title() and axis.images]
    assert len(strip) == 6
    for axis in strip:
        assert placed["e"].y1 < axis.get_position().y0
        assert axis.get_position().y1 < placed["a"].y0
    assert max(axis.get_position().x1 for axis in strip) < 1


def test_cells_cover_the_image_and_meet_halfway():
    assert cell_edges(CENTRES, 18).tolist() == [0.0, 6.0, 10.0, 13.0, 18.0]
    assert cell_edges(np.array([5.0]), 10).tolist() == [0.0, 10.0]


def test_legend_starts_with_the_clean_label_then_goes_by_area():
    labels = np.array([[2, 2, 2], [7, 7, 5]])
    assert label_order(labels, first=5) == [5, 2, 7]
    assert label_order(labels, first=9) == [2, 7, 5]
    assert len(label_order(np.arange(20), first=None)) == 7


def test_panels_have_equal_size_and_labelled_axes():
    figure = row("a title")
    images = [axis for axis in figure.axes if axis.get_title()]
    size = figure.get_size_inches()
    assert len({tuple(np.round(axis.get_position().size * size, 6)) for axis in images}) == 1
    assert all(axis.get_xlabel() == "x (px)" for axis in images)
    assert images[0].get_ylabel() == "y (px)"
    assert images[1].collections[0].get_clim() == (0.0, 1.0)
    texts = [text.get_text() for text in images[-1].get_legend().get_texts()]
    assert texts == ["dog", "gas pump", "cat"]
    image = np.asarray(to_image(figure))  # nothing is drawn beyond the figure
    border = np.concatenate([image[:2].ravel(), image[-2:].ravel(), image[:, -2:].ravel()])
    assert (border == 255).all()


def test_a_part_of_an_image_has_its_own_numbers_and_room_for_them():
    image = np.zeros((18, 18, 3), np.uint8)
    whole, same, part = panel_sheet(
        [[ImagePanel("a", image), ImagePanel("b", image), ImagePanel("c", image, origin=(3, 5))]]
    ).axes
    assert part.get_ylim() == (21, 3)
    assert [bool(axis.get_yticklabels()[0].get_text()) for axis in (whole, same)] == [True, False]
    gaps = [b.get_position().x0 - a.get_position().x1 for a, b in ((whole, same), (same, part))]
    assert gaps[1] > gaps[0]
