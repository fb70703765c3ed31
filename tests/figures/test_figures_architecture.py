import math

import numpy as np
import pytest

from zfnet.figures import architecture
from zfnet.figures.architecture import TilePanel, figures, grid_points, panel_sheet, tables
from zfnet.report.study import page
from zfnet.results import Measurement, Results, Table, save
from zfnet.stats.estimate import Estimate

MEASURES = (
    "layer1_low", "layer1_mid", "layer1_high", "layer1_dominance", "layer2_grid_excess",
    "layer1_never_active", "layer2_never_active",
)  # fmt: skip
NET = {
    "adopted": False, "stride": (2, 2), "flat_filter_shares": [0.8, 0.1, 0.1],
    "never_active": {"1": [1], "2": []}, "weak": {"1": [0]}, "field_px": (9, 9),
    "field_too_large": False,
}  # fmt: skip


def made(folder, root, limit="not run", grid=True, filters=2):
    """Two nets with two filters and two maps of layer 2."""
    keys, maps = ("zfnet", "alexnet"), (0, 1)
    estimates = {"images": Estimate(48)}
    for key in (*keys, "difference"):
        one = Estimate(0.25, 0.125, 0.375, 24) if grid else Estimate(math.nan, n=0, note="no grid")
        estimates |= {f"{key}_{name}": Estimate(0.25, 0.125, 0.375, 24) for name in MEASURES}
        estimates[f"{key}_layer2_grid_excess"] = one
    estimates["limit_layer1_dominance"] = Estimate(math.nan, note="none")
    if limit == "compared":
        estimates["limit_layer1_dominance"] = Estimate(-2.5, -3.5, -1.5, 4)
        estimates["unlimited_layer1_dominance"] = Estimate(4.5, 3.5, 5.5, 2)
    story = {"status": limit, "limit": 0.1, "epochs": 3, "rescaled": 1200, "largest_rms": 0.09}
    arrays = {}
    for key in keys:
        arrays |= {f"{key}_layer{n}_peaks": np.array([2.0, 0.0, 4.0][: 1 + n]) for n in (1, 2)}
        arrays[f"{key}_layer1_rms"] = np.array([0.1, 0.01])
        arrays[f"{key}_layer1_filters"] = np.ones((filters, 3, 3, 3), np.float32)
        arrays[f"{key}_layer2_spectrum"] = np.ones((8, 8), np.float32)
        arrays[f"{key}_layer2_projections"] = np.ones((2 * grid, 9, 9, 3), np.float32)
    sides = {f"{s}{end}": 0.2 for s in ("ours", "theirs") for end in ("", "_low", "_high")}
    sides |= {"difference": 0.1, "difference_low": -0.1, "difference_high": None}
    rows = [[key, i, 0.1, 0.2, 0.3, 0.5] for key in keys for i in range(filters)]
    profile = [[key, f, 2.0, 1.0, 3.0] for key in keys[: 2 * bool(filters)] for f in (0.1, 0.2)]
    measured = Measurement(
        "ZFNet and AlexNet",
        "relu",
        estimates=estimates,
        tables={
            "nets": Table.of([{"measure": "layer1_mid", **sides}]),
            "sensitivity": Table.of(
                [{"measure": "layer1_mid", "choice": "edges_0.8", "finding": "higher", **sides}]
            ),
            "filters": Table(["net", "filter", "rms", "low", "mid", "high"], rows),
            "maps": Table(
                ["net", "map", "ratio", "excess"],
                [[key, m, 2.0, 0.01 * m] for key in keys[: 2 * grid] for m in maps],
            ),
            "profile": Table(
                ["net", "frequency", "density", "density_low", "density_high"], profile
            ),
        },
        arrays=arrays,
        facts={
            "split": "val", "bands": (0.125, 0.25), "weak": 0.1, "top_k": 4, "radius": 1.0,
            "white_noise_shares": [0.05, 0.15, 0.8], "limit": story, "sensitive": ["layer1_mid"],
            "nets": {"zfnet": {"label": "ZFNet", **NET}, "alexnet": {"label": "AlexNet", **NET}},
        },
    )  # fmt: skip
    save(measured, folder / "architecture", folder / "m.json")
    return Results(folder / "architecture", root)


def test_a_grid_has_its_multiples_without_zero():
    assert set(grid_points((2, 2))) == {
        (y, x) for y in (-0.5, 0, 0.5) for x in (-0.5, 0, 0.5) if (y, x) != (0, 0)
    }
    assert grid_points((1, 2)) == [(0.0, -0.5), (0.0, 0.5)]
    assert grid_points((1, 1)) == []


def test_framed_tiles_are_drawn():
    tiles = [np.full((3, 3, 3), 128, np.uint8)] * 4

    def red(framed):
        sheet = np.asarray(panel_sheet([[TilePanel("a", "b", tiles, framed=frozenset(framed))]]))
        return int((np.abs(sheet[..., 0].astype(np.int16) - 0xE8) < 3).sum())

    none = red([])
    assert red([0, 1]) - none == 2 * (red([1]) - none) > 0


@pytest.mark.parametrize(
    ("lacks", "names"),
    [
        ({}, ["panels", "frequencies", "strength", "aliasing"]),
        ({"grid": False, "filters": 0}, ["panels", "strength"]),
    ],
)
def test_figures_of_what_there_is_are_drawn_and_tables_fit(
    tmp_path, root, monkeypatch, lacks, names
):
    monkeypatch.setattr(architecture, "WIDTH", 600)
    results = made(tmp_path, root, **lacks)
    assert [one.name for one in figures(results)] == names
    for one in figures(results):
        one.draw()
    for name, shown in tables(results).items():
        assert all(len(row) == len(shown.headings) for row in shown.rows(results.tables[name]))


@pytest.mark.parametrize("limit", ["unknown", "no limit", "never bound", "not run", "compared"])
def test_the_page_says_what_was_found(tmp_path, root, limit):
    text = page("architecture", made(tmp_path, root, limit))
    assert "0.25 [0.12, 0.38]" in text
    assert "None" not in text
    assert ("−2.5" in text) == (limit == "compared")
