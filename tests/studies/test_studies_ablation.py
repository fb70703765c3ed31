"""Table 3 from predictions that a test chooses: any subset of rows, several seeds, chance."""

from __future__ import annotations

import numpy as np
import pytest
from answered import paths_of, read_back, sure, write_absent, write_net, wrong_at

from zfnet.errors import UserError
from zfnet.figures.stage import draw
from zfnet.pipeline.studies import Ablation
from zfnet.studies.ablation import run

N = 120
LABEL = np.arange(N, dtype=np.int64) % 12
TRAIN = np.arange(50) % 12
WRONG = {  # validation images that each net gets wrong
    "alexnet": 12, "alexnet_no34": 24, "alexnet_no7": 12, "alexnet_no67": 18,
    "alexnet_no3467": 110, "alexnet_no3467_slow": 48, "alexnet_fc2048": 14, "alexnet_fc8192": 10,
    "zfnet": 9, "zfnet_fc2048": 12, "zfnet_fc8192": 9, "zfnet_wide": 6, "zfnet_wide_fc8192": 8,
}  # fmt: skip
SPECS = {
    "alexnet_no34": {"without": [3, 4]},
    "alexnet_no67": {"without": [6, 7]},
    "zfnet_wide": {"middle_maps": [512, 1024, 512]},
}


def write(place, name, wrong=None, *, extra=(0,), missed=None, **more):
    """A net that errs at its number of images, and at `extra` more, one net an entry.

    missed: training images that it gets wrong.
    """
    count = WRONG[name] if wrong is None else wrong
    probs = [sure(wrong_at(LABEL, range(count + each))) for each in extra]
    missed = count // 3 if missed is None else missed
    train = (np.where(np.arange(50) < missed, (TRAIN + 1) % 12, TRAIN), TRAIN)
    loss = 2.48 if name == "alexnet_no3467" else 0.4
    more = SPECS.get(name, {}) | {"loss": loss} | more
    return write_net(place, name, LABEL, probs, train=train, **more)


def made(place, **options):
    return run(Ablation(**options), paths_of(place))


def rows_of(result, table):
    """Rows by their net."""
    return {row["net"]: row for row in result.tables[table].records()}


def invalid(result):
    return {name for name, each in result.estimates.items() if each.invalid == "at chance"}


def test_all_rows(place):
    for name in WRONG:
        write(place, name)
    result = made(place)
    rows = rows_of(result, "table_3")
    assert set(rows) == set(WRONG)
    assert rows["alexnet_no67"]["val_top1"] == pytest.approx(15.0)
    assert rows["alexnet_no67"]["train_top1"] == pytest.approx(12.0)  # 6 of 50
    assert rows["alexnet_no67"]["parameters"] < rows["alexnet"]["parameters"]
    assert rows["zfnet_wide"]["parameters"] > rows["zfnet"]["parameters"]
    value = {name: estimate.value for name, estimate in result.estimates.items()}
    assert value["cost_removing_3_4"] == pytest.approx(10.0)
    assert value["cost_removing_6_7"] == pytest.approx(5.0)
    assert value["cost_removing_7"] == 0
    assert value["cost_beyond_sum_slow"] == pytest.approx(30.0 - 10.0 - 5.0)
    assert value["cost_beyond_3_4_slow"] == pytest.approx(40.0 - 20.0)
    assert value["cost_beyond_6_7_slow"] == pytest.approx(40.0 - 15.0)
    assert value["training_gain_fc8192_of_wide"] == pytest.approx(100 * (2 - 2) / 50)
    assert value["change_zfnet_wide"] == pytest.approx(-2.5)
    assert value["val_top1_zfnet"] == pytest.approx(7.5)
    assert value["change_fc8192_of_wide"] == pytest.approx(100 * 2 / N)
    assert invalid(result) == {
        "cost_removing_3_4_6_7", "cost_beyond_sum", "cost_beyond_3_4", "cost_beyond_6_7",
        "val_top1_alexnet_no3467",
    }  # fmt: skip


def test_the_papers_rows_stand_beside(place, tmp_path):
    for name in WRONG:
        write(place, name)
    results, module, words = read_back("ablation", made(place), place)
    rows = {row["net"]: row for row in module.joined(results)}
    printed = ("paper_train_top1", "paper_val_top1")
    assert [rows["alexnet_no67"][key] for key in printed] == [27.4, 44.8]
    assert rows["alexnet_no3467_slow"]["paper_val_top1"] is None
    changes = {
        row["net"]: row for row in module.tables(results)["against_the_full_net"].table.records()
    }
    printed = {net: row["paper"] for net, row in changes.items()}
    assert printed["alexnet_no34"] == 4.9
    assert printed["alexnet_no3467"] == printed["alexnet_no3467_slow"] == 30.8
    assert printed["zfnet_wide_fc8192"] == -0.1
    assert not {"None", "nan"} & set(words.split())
    assert "(the paper: 21.6)" in words
    assert draw("ablation", results.folder, tmp_path / "figures", place)
    assert {file.stem for file in (tmp_path / "figures").glob("*.png")} == {
        "ablation_errors", "ablation_changes",
    }  # fmt: skip


def test_a_full_net_at_chance_is_evidence_against_no_row(place):
    for name in WRONG:
        write(place, name, *([110] if name == "alexnet" else []), loss=2.48 * (name == "alexnet"))
    result = made(place)
    costs = {name for name in result.estimates if name.startswith(("cost_", "change_alexnet"))}
    costs -= {key for key in costs if key.startswith(("cost_beyond_3", "cost_beyond_6"))}
    assert invalid(result) == costs | {"val_top1_alexnet"}
    results, module, _ = read_back("ablation", result, place)
    nets = [row["net"] for row in module.changes(results) if row["change"] is None]
    assert [net.partition("_")[0] for net in nets] == ["alexnet"] * 7


def test_only_the_compared_trainings_count_as_stuck(place):
    write(place, "alexnet", extra=(0, 6), seeds=[0, 1], loss=[2.48, 0.3])
    write(place, "alexnet_no34", extra=(6, 0), seeds=[1, 2])
    result = made(place)
    assert invalid(result) == set()  # the one at chance is left out, as another learned
    row = rows_of(result, "against_the_full_net")["alexnet_no34"]
    assert row["images"] == pytest.approx(100 * (30 - 18) / N)


def test_a_subset_has_what_is_there(place):
    for name in ("zfnet", "alexnet_no34"):
        write(place, name)
    write_absent(place, "zfnet_wide")
    result = made(place)
    assert set(result.estimates) == {"val_top1_zfnet", "val_top1_alexnet_no34"}
    assert result.tables["against_the_full_net"].rows == []
    results, module, words = read_back("ablation", result, place)
    missing = next(row for row in module.joined(results) if row["net"] == "zfnet_wide")
    assert (missing["val_top1"], missing["trainings"]) == (None, 0)
    assert missing["paper_val_top1"] == 37.5
    assert [figure.name for figure in module.figures(results)] == ["ablation_errors"]
    assert not {"None", "nan"} & set(words.split())


def test_mcnemar_and_holm_over_the_papers_rows(place):
    for name in WRONG:
        write(place, name)
    rows = rows_of(made(place), "against_the_full_net")
    assert len(rows) == 11
    six = rows["alexnet_no67"]
    assert (six["only_first"], six["only_second"]) == (6, 0)
    assert six["p"] == pytest.approx(2 / 2**6)
    # of ten p values 2/2^98, 2/2^12, 2/2^6 are the smallest: the third is times 8
    assert six["p_holm"] == pytest.approx(8 * 2 / 2**6)
    assert rows["alexnet_no34"]["p_holm"] == pytest.approx(9 * 2 / 2**12)
    assert rows["alexnet_no3467_slow"]["p_holm"] is None


def test_several_seeds_are_paired_by_seed(place):
    write(place, "alexnet", extra=(0, 6, 12))
    write(place, "alexnet_no34", extra=(0, 12, 6))
    result = made(place)
    row = rows_of(result, "against_the_full_net")["alexnet_no34"]
    gaps = 100 * np.array([12, 18, 6]) / N
    assert row["images"] == pytest.approx(gaps.mean())
    half = 4.302653 * gaps.std(ddof=1) / np.sqrt(3)
    assert row["trainings_high"] == pytest.approx(gaps.mean() + half, rel=1e-4)
    assert row["both_low"] <= row["images_low"]
    cost = result.estimates["cost_removing_3_4"]
    assert (cost.low, cost.trainings) == (row["both_low"], 3)
    full = rows_of(result, "table_3")["alexnet"]
    assert full["val_top1_sd"] == pytest.approx(5.0)
    assert full["val_top1"] == pytest.approx(15.0)


def test_training_errors_without_predictions_are_left_out(place):
    final = write(place, "alexnet")
    (final / "train_predictions.npz").unlink()
    result = made(place)
    assert rows_of(result, "table_3")["alexnet"]["train_top1"] is None
    assert result.facts["training_images"] is None


def test_overfitting_is_a_gain_on_training_images_and_a_loss_on_others(place):
    write(place, "zfnet_wide", 30)
    final = write(place, "zfnet_wide_fc8192", 33, missed=4)
    result = made(place)
    assert result.estimates["change_fc8192_of_wide"].value == pytest.approx(100 * 3 / N)
    gain = result.estimates["training_gain_fc8192_of_wide"]
    assert (gain.value, gain.n) == (pytest.approx(100 * (10 - 4) / 50), 50)
    assert 0 < gain.low < gain.value < gain.high
    (final / "train_predictions.npz").unlink()
    assert "training_gain_fc8192_of_wide" not in made(place).estimates


def test_no_net_at_all_says_what_to_run(place):
    with pytest.raises(UserError, match="none of alexnet"):
        made(place)
