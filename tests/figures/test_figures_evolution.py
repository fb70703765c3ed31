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


EPOCHS = (1, 2, 3, 4, 5)
STEPS = [[1, e, 0.2 * e, 0.25 * (e - 1), 0.1 * e, None if e == 1 else 0.5] for e in EPOCHS]


def measured(tmp_path, root, columns=(1, 4, 5), settled=2, before_end=True, snapshots=True):
    """A run of five epochs: map 2 of one layer, its strongest image 5, 6, 6, 6, 5, once dead."""
    facts = {"arch": "zfnet", "adopted": False, "measured": snapshots, "epochs": []}
    if not snapshots:
        save(Measurement("zfnet", "relu", facts=facts), tmp_path / "evolution", tmp_path / "m.json")
        return Results(tmp_path / "evolution", root)
    facts |= {
        "split": "train", "split_images": 30, "input_px": 16,
        "columns": columns, "measure": "fixed",
        "threshold": 0.7, "lower": (1,), "upper": (2,), "field_limit": 0.75,
        "beyond_field_limit": [1], "epochs": EPOCHS,
        "layers": {"1": {"field": (3, 3), "shown": [2]}},
    }  # fmt: skip
    between = Estimate(2.5, 1.5, 3.5, 9, "epochs", covers=("maps",))
    names = ("settled", "settled_share", "unsettled", "image_changes", "floor")
    layer = {"layer": 1, "module": "relu", "maps": 4, "measured": 1, "dead_maps": 0, "field_px": 3}
    layer |= {f"{name}{end}": 0.5 for name in names for end in ("", "_low", "_high")}
    rule = {"measure": "fixed", "threshold": 0.7, "above_floor": False, "lower": 1.0, "upper": 3.5}
    rule |= {"difference": 2.5, "difference_low": 1.5, "difference_high": 3.5}
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
    assert len(curves.draw().axes) == 4
    for name, shown in tables(results).items():
        assert all(len(row) == len(shown.headings) for row in shown.rows(results.tables[name]))
    text = page("evolution", results)
    assert "2.50 [1.50, 3.50] epochs" in text
    assert "None" not in text
    none = measured(tmp_path / "none", root, snapshots=False)
    assert (figures(none), tables(none)) == ([], {})
    assert "None" not in page("evolution", none)
