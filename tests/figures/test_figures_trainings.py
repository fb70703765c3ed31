"""Every training of a study's nets in one picture: which numbers, and what is drawn of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from zfnet.figures import stage
from zfnet.figures.kit import trainings
from zfnet.results import Measurement, Results, Table, save
from zfnet.stats.estimate import Estimate

CLAIMS = """
claims:
  one:
    place: Fig. 2
    measured:
      - {study: features, key: [purity_slope_within, purity_slope]}
      - {study: features, key: "layer{layer}_spread_patches"}
  other:
    measured:
      - {study: occlusion, key: worst_drop, minus: {study: features, key: spread_difference}}
"""
KEYS = (
    "purity_slope",
    "layer2_spread_patches",
    "spread_difference",
    "layer3_purity",
    "layer2_maps",
)


def measured(root: Path, seeds: list[int]) -> Results:
    """Features of nets with so many trainings; the last training's numbers are no evidence."""
    (root / "paper").mkdir(exist_ok=True)
    (root / trainings.CLAIMS).write_text(CLAIMS, encoding="utf-8")
    estimates = {key: Estimate(0.2, -0.1, 0.5, 3, trainings=3) for key in KEYS}
    rows = [
        [key, seed, 0.1 * place, 0.0, 0.3, "still learning" * (place == 2)]
        for key in KEYS
        for place, seed in enumerate(seeds)
    ]
    columns = ["key", "seed", "value", "value_low", "value_high", "invalid"]
    tables = {trainings.NAME: Table(columns, rows)}
    folder = root / "results" / "features"
    made = Measurement("zfnet", "", 0, estimates, tables, facts={trainings.NAME: seeds})
    save(made, folder, root / "features.json")
    return Results(folder, root)


def test_drawn_is_what_claims_and_headlines_name(tmp_path: Path) -> None:
    results = measured(tmp_path, [5, 6, 7])
    (figure,) = trainings.figures("features", results)
    assert figure.folded
    assert "seed 5, seed 6 and seed 7" in figure.caption
    axes = figure.draw().axes
    titles = [axis.get_title(loc="left") for axis in axes]
    assert titles == [
        "Purity slope", "Layer 2 spread patches", "Spread difference", "Layer 3 purity",
    ]  # fmt: skip
    dots = [line for line in axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([0, 0.1, 0.2])
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, False, True]
    (mean,) = [line for line in axes[0].lines if line.get_marker() == "D"]
    assert mean.get_xdata()[0] == 0.2
    shown = trainings.tables(results)["trainings"]
    assert shown.rows(results.tables["trainings"])[1] == [
        "Purity slope",
        6,
        "0.10 [0.00, 0.30]",
        "",
    ]


@pytest.mark.parametrize("seeds", [[], [5]])
def test_one_training_has_no_such_picture(tmp_path: Path, seeds: list[int]) -> None:
    results = measured(tmp_path, seeds)
    assert trainings.figures("features", results) == []
    assert trainings.tables(results) == {}


def test_the_stage_draws_it_and_draws_anew_when_claims_change(tmp_path: Path, monkeypatch) -> None:
    class Nothing:
        figures = staticmethod(lambda results: [])

    monkeypatch.setattr(stage, "module_of", lambda study: Nothing)
    measured(tmp_path, [5, 6])
    folders = tmp_path / "results" / "features", tmp_path / "figures"
    assert stage.draw("features", *folders, tmp_path)
    (entry,) = stage.drawn(folders[1])
    assert (entry["name"], entry["folded"]) == ("trainings", True)
    assert not stage.draw("features", *folders, tmp_path)
    (tmp_path / trainings.CLAIMS).write_text("claims: {}", encoding="utf-8")
    assert stage.draw("features", *folders, tmp_path)
