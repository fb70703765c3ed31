import numpy as np
import pytest

from zfnet.figures import evolution
from zfnet.figures.evolution import (
    JUMP,
    SIMILAR,
    Track,
    evolution_sheet,
    figures,
    tables,
    tracks_of,
)
from zfnet.report.study import page
from zfnet.results import Measurement, Results, Table, save
from zfnet.stats.estimate import Estimate


def _tiles(count):
    return [np.full((7, 7, 3), 128, np.uint8)] * count


def _pixels(picture, colour):
    return int((np.asarray(picture) == np.array(colour)).all(2).sum())


def _sheet(jumps, similar):
    return evolution_sheet({"Layer 1": [Track("0", _tiles(3), jumps, similar)]}, (1, 2, 5))


def test_a_jump_and_a_settled_picture_leave_their_marks_and_others_none():
    no = [False] * 3
    plain = _sheet(no, no)
    key_jump, key_similar = _pixels(plain, JUMP), _pixels(plain, SIMILAR)
    jumped, once = _sheet([False, True, True], no), _sheet([False, True, False], no)
    assert _pixels(jumped, JUMP) - key_jump == 2 * (_pixels(once, JUMP) - key_jump) > 0
    assert _pixels(jumped, SIMILAR) == key_similar
    settled = _sheet(no, [False, False, True])
    assert _pixels(settled, SIMILAR) > key_similar
    assert _pixels(settled, JUMP) == key_jump


def test_the_sheet_keeps_its_width_whatever_the_columns():
    for epochs in ((1, 2), tuple(range(1, 10))):
        tracks = [Track(str(i), _tiles(len(epochs)), [False] * 9, [False] * 9) for i in range(3)]
        picture = evolution_sheet({f"Layer {n}": tracks for n in range(1, 6)}, epochs)
        assert picture.width <= evolution.WIDTH


EPOCHS = (1, 2, 3, 4, 5)
STEPS = [[1, e, 0.2 * e, 0.25 * (e - 1), 0.1 * e, None if e == 1 else 0.5] for e in EPOCHS]


def measured(
    tmp_path, root, low=1.5, columns=(1, 4, 5), settled=2, before_end=True, snapshots=True
):
    """A run of five epochs: map 2 of one layer, its strongest image 5, 6, 6, 6, 5, once dead."""
    facts = {
        "arch": "zfnet",
        "adopted": False,
        "measured": snapshots,
        "epochs": [],
        "split": "train",
    }
    if not snapshots:
        save(Measurement("zfnet", "relu", facts=facts), tmp_path / "evolution", tmp_path / "m.json")
        return Results(tmp_path / "evolution", root)
    facts |= {
        "split_images": 30, "input_px": 16, "columns": columns, "measure": "fixed",
        "threshold": 0.7, "lower": (1,), "upper": (2,), "field_limit": 0.75,
        "beyond_field_limit": [1], "epochs": EPOCHS,
        "layers": {"1": {"field": (3, 3), "shown": [2]}},
    }  # fmt: skip
    between = Estimate(2.5, low, 3.5, 9, "epochs", covers=("maps",))
    names = ("settled", "settled_share", "unsettled", "image_changes", "floor")
    layer = {"layer": 1, "module": "relu", "maps": 4, "measured": 1, "dead_maps": 0, "field_px": 3}
    layer |= {f"{name}{end}": 0.5 for name in names for end in ("", "_low", "_high")}
    rule = {"measure": "fixed", "threshold": 0.7, "above_floor": False, "lower": 1.0, "upper": 3.5}
    rule |= {"difference": 2.5, "difference_low": low, "difference_high": 3.5}
    found = Measurement(
        "zfnet",
        "relu",
        estimates={
            "images": Estimate(20), "run_epochs": Estimate(5), "upper_minus_lower": between,
            "upper_minus_lower_share": Estimate(0.5),
        },
        tables={
            "layers": Table.of([layer]),
            "sensitivity": Table.of([rule] * 2),
            "steps": Table(["layer", "epoch", "fixed", "settled", "own", "changed"], STEPS),
            "maps": Table(["layer", "map", "settled", "before_end"], [[1, 2, settled, before_end]]),
        },
        arrays={
            "layer1_maps": np.array([2]), "layer1_pictured": np.array([2]),
            "layer1_values": np.array([[1, 1, 0, 1, 1]]),
            "layer1_images": np.array([[5, 6, 6, 6, 5]]),
            "layer1_projections": np.full((1, 5, 3, 3, 3), 128, np.uint8),
        },
        facts=facts,
    )  # fmt: skip
    save(found, tmp_path / "evolution", tmp_path / "m.json")
    return Results(tmp_path / "evolution", root)


@pytest.mark.parametrize(
    ("more", "jumps", "similar"),
    [
        ({"columns": EPOCHS}, [0, 1, 0, 0, 1], [0, 1, 1, 1, 1]),
        ({"settled": 3}, [0, 1, 1], [0, 1, 1]),
        ({"settled": 5, "before_end": False}, [0, 1, 1], [0, 0, 0]),
        ({"settled": None, "before_end": None}, [0, 1, 1], [0, 0, 0]),
    ],
)
def test_marks_are_those_between_the_columns_drawn(tmp_path, root, more, jumps, similar):
    (track,) = tracks_of(measured(tmp_path, root, **more), "1")
    assert track.jumps == [bool(jump) for jump in jumps]
    assert track.similar == [bool(one) for one in similar]


def test_figures_tables_and_page_of_one_result(tmp_path, root):
    results = measured(tmp_path, root)
    sheet, curves = figures(results)
    assert sheet.draw().width <= evolution.WIDTH
    drawn = curves.draw()
    assert len(drawn.axes) == 4
    assert all(axis.get_xlabel() == "epoch" and axis.get_ylabel() for axis in drawn.axes)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["layer 1"]
    for name, shown in tables(results).items():
        assert all(len(row) == len(shown.headings) for row in shown.rows(results.tables[name]))
    text = page("evolution", results)
    assert "settle later" in text
    assert "2.50 [1.50, 3.50] epochs" in text
    assert "None" not in text
    assert "settle neither" in page("evolution", measured(tmp_path, root, low=-1))


def test_a_net_without_snapshots_has_a_page_and_no_figures(tmp_path, root):
    results = measured(tmp_path, root, snapshots=False)
    assert (figures(results), tables(results)) == ([], {})
    assert "Nothing was measured" in page("evolution", results)
