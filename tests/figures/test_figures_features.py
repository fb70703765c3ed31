"""Fig. 2's figures, tables and page from a small measurement that is made here."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from zfnet.figures import features
from zfnet.figures.kit.show import to_image
from zfnet.report.study import page
from zfnet.results import Measurement, Results, Table, save
from zfnet.stats.estimate import Estimate

PX, K, CLASSES = 16, 4, ["owl", "gas pump, petrol pump"]


@pytest.fixture
def prepared(monkeypatch):
    images = np.random.default_rng(0).integers(0, 255, (9, 20, 20, 3), dtype=np.uint8)
    split = SimpleNamespace(image=lambda row: images[row], boxes=None)
    made = SimpleNamespace(size=20, split=lambda name: split)
    monkeypatch.setattr(features.Prepared, "open", lambda folder: made)
    return images


def measured(folder, *, maps=8, shown=(1, 5), directions=3, difference=(0.2, 0.1, 0.3)):
    """Layer 1 with filters of 3 px, all drawn; layer 2 of 5 px with some drawn; map 0 is dead."""
    rng = np.random.default_rng(1)
    arrays, layers, rows, found = {}, {}, [], {}
    for number, field in (("1", 3), ("2", 5)):
        values = np.ones((maps, K), np.float32)
        values[0] = 0
        corners = np.full((maps, K, 2), 4, np.int16)
        own = {
            "values": values,
            "images": rng.integers(0, 9, (maps, K)).astype(np.int32),
            "corners": corners,
            "boxes": np.concatenate([corners, corners + field], -1).astype(np.int16),
            "projections": rng.integers(0, 255, (maps, K, field, field, 3), dtype=np.uint8),
        }
        if number == "1":
            own["filters"] = np.full((maps, 3, 3, 3), 255, np.uint8)
            own["filter_scales"] = np.linspace(0.1, 0.8, maps).astype(np.float32)
        arrays |= {f"layer{number}_{name}": array for name, array in own.items()}
        layers[number] = {
            "maps": maps, "field": [field] * 2, "canvas": [field] * 2, "named": False,
            "shown": list(range(maps)) if number == "1" else list(shown), "dead": [0],
        }  # fmt: skip
        rows += [
            {"layer": int(number), "map": m, "strongest": 1.0,
             "class": CLASSES[1] if m else None, "of_class": 3 * bool(m), "active": 4 * bool(m),
             "spread_projections": 0.3, "spread_patches": 0.5, "support_px": 2.0}
            for m in range(maps)
        ]  # fmt: skip
        for key in ("purity", "spread_patches", "spread_projections", "support_share"):
            found[f"layer{number}_{key}"] = Estimate(0.4, 0.3, 0.5, maps)
    ends = dict(zip(("difference", "difference_low", "difference_high"), difference, strict=True))
    kinds = {f"{kind}_{what}": 0.5 for kind in ("spread", "unrelated", "moved")
             for what in ("projections", "patches")}  # fmt: skip
    per_layer = {
        "module": "relu", "maps": maps, "dead_maps": 1, "field_px": 5, "purity": 0.4,
        "purity_low": 0.3, "purity_high": 0.5, "spread_patches": 0.5, "spread_projections": 0.3,
        "spread_difference": 0.2, "spread_difference_low": None, "spread_difference_high": None,
        "support_px": 2.0, "support_share": 0.4,
    }  # fmt: skip
    if directions:
        per_layer |= {f"purity_directions{end}": 0.35 for end in ("", "_low", "_high")}
    found |= {
        "images": Estimate(9, unit="images"),
        "purity_chance": Estimate(0.26),
        "purity_slope": Estimate(0.123, 0.101, 0.145, 16),
        "spread_difference": Estimate(*difference, 8),
    }
    made = Measurement(
        "zfnet", "relu", 0, found,
        {
            "layers": Table.of([{"layer": n} | per_layer for n in (1, 2)]),
            "maps": Table.of(rows),
            "measures": Table.of([{"measure": m} | kinds | ends for m in ("coarse", "colour")]),
        },
        arrays,
        {
            "split": "val", "input_px": PX, "enlarged": 1.0, "adopted": False, "top_k": K,
            "directions": directions, "choose": "random", "energy": 0.9, "field_limit": 0.75,
            "no_claims": [], "judged": [2], "layers": layers,
            "directions_slope": {"slope": 0.11, "slope_low": 0.1, "slope_high": 0.12},
        },
    )  # fmt: skip
    save(made, folder / "results" / "features", folder / "features.json")
    return Results(folder / "results" / "features", Path(__file__).parents[2])


def test_every_layer_has_its_figure_and_sheets_of_all_maps_where_some_are_drawn(
    tmp_path, prepared, monkeypatch
):
    monkeypatch.setattr(features, "SHEET_MAPS", 3)
    figures = features.figures(measured(tmp_path))
    names = ["layer1", "layer2", "layer1_filters", "by_layer"]
    sheets = ["all_layer2_1", "all_layer2_2", "all_layer2_3"]
    assert [figure.name for figure in figures if not figure.folded] == names
    assert [figure.name for figure in figures if figure.folded] == sheets
    for figure in figures[:5]:
        assert to_image(figure.draw()).width < 1900


def test_patches_show_what_the_field_sees_and_dead_maps_are_pale(tmp_path, prepared):
    layer = features.LayerPictures(measured(tmp_path), "2")
    row = int(layer.array("images")[3, 1])
    assert np.array_equal(layer.patches(3)[1], prepared[row][6:11, 6:11])  # 2 px cut, then 4
    assert min(tile.min() for tile in layer.patches(0)) > 100


def test_filters_stand_on_one_scale(tmp_path, prepared):
    figure = next(f for f in features.figures(measured(tmp_path)) if f.name == "layer1_filters")
    picture = np.asarray(figure.draw())
    assert picture.max() == 255
    tiles = picture[10, 10 :: picture.shape[1] // 4]
    assert tiles[0, 0] == round(127 * 0.1 / 0.8 + 128)  # the weakest filter stays faint


def test_the_papers_arrangement():
    counts = {2: 16, 3: 12, 4: 10, 5: 10}
    columns = {number: features.sheet_columns(number, count) for number, count in counts.items()}
    assert [(columns[n], -(-counts[n] // columns[n])) for n in counts] == [
        (4, 4), (4, 3), (2, 5), (2, 5),
    ]  # fmt: skip


def test_tables_and_page_hold_the_deciding_numbers(tmp_path):
    results = measured(tmp_path)
    for name, shown in features.tables(results).items():
        rows = shown.rows(results.tables[name])
        assert rows
        assert all(len(row) == len(shown.headings) for row in rows)
    text = page("features", results)
    assert "0.123 [0.101, 0.145]" in text
    assert "0.20 [0.10, 0.30]" in text
    unjudged = measured(tmp_path / "none", directions=0, difference=(float("nan"), None, None))
    unjudged.facts["judged"] = []
    for words in (text, page("features", unjudged)):
        assert "None" not in words
        assert "nan" not in words


def test_numbers_by_layer_have_intervals_and_grey_ground(tmp_path):
    results = measured(tmp_path)
    results.facts["no_claims"] = [2]
    spread, *_ = features.figures(results)[3].draw().axes
    assert list(spread.lines[0].get_ydata()) == [0.4, 0.4]
    assert [bar.get_segments()[0][:, 1].tolist() for bar in spread.collections] == [[0.3, 0.5]] * 4
    assert len(spread.patches) == 1  # the ground of layer 2
