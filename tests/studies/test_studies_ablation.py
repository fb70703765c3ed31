"""Table 3 from answers that a test chooses: any subset of rows, several seeds, nets at chance."""

from __future__ import annotations

import json

import numpy as np
import pytest
from answered import config_of, paths_of, sure, write_absent, write_net, wrong_at

from zfnet.errors import UserError
from zfnet.studies import ablation
from zfnet.studies.result import load_result, save_result

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


@pytest.fixture
def place(tmp_path, root):
    """A checkout with the paper's tables and no nets."""
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "tables.yaml").write_bytes((root / "paper/tables.yaml").read_bytes())
    return tmp_path


def write(place, name, wrong=None, *, extra=(0,), **more):
    """A net that errs at its number of images, and at `extra` more, one net an entry."""
    count = WRONG[name] if wrong is None else wrong
    probs = [sure(wrong_at(LABEL, range(count + each))) for each in extra]
    train = (np.where(np.arange(50) < count // 3, (TRAIN + 1) % 12, TRAIN), TRAIN)
    loss = 2.48 if name == "alexnet_no3467" else 0.4
    more = SPECS.get(name, {}) | {"loss": loss} | more
    return write_net(place, name, LABEL, probs, train=train, **more)


def made(place, view="centre", seed=0):
    return ablation.run(config_of("ablation", view=view, seed=seed), paths_of(place))


def cells(result, table):
    """Rows by their first column."""
    found = result.tables[table]
    assert len(set(found.columns)) == len(found.columns)
    return {row[0]: dict(zip(found.columns, row, strict=True)) for row in found.rows}


def test_all_rows_in_the_papers_order(place):
    for name in WRONG:
        write(place, name)
    result = made(place)
    rows = cells(result, "table_3")
    assert len(rows) == 13
    replica, own = "AlexNet replica: ", "ZFNet (Fig. 3): "
    assert list(rows)[:2] == [replica + "full", replica + "without layers 3, 4"]
    assert list(rows)[8] == own + "full"
    row = rows[replica + "without layers 6, 7"]
    assert row["val top-1, %"] == pytest.approx(15.0)
    assert row["train top-1, %"] == pytest.approx(12.0)  # 6 of 50
    assert (row["paper: train"], row["paper: top-1"]) == (27.4, 44.8)
    full = rows[replica + "full"]
    assert row["parameters"] < full["parameters"]
    assert rows[own + "layers 3-5: 512, 1024, 512"]["parameters"] > rows[own + "full"]["parameters"]
    assert result.extra["missing"] == []
    value = {name: measured.value for name, measured in result.metrics.items()}
    assert value["cost_removing_3_4"] == pytest.approx(10.0)
    assert value["cost_removing_6_7"] == pytest.approx(5.0)
    assert value["cost_removing_7"] == 0
    assert value["cost_beyond_sum_slow"] == pytest.approx(30.0 - 10.0 - 5.0)
    assert value["change_zfnet_wide"] == pytest.approx(-2.5)
    assert value["val_top1_zfnet"] == pytest.approx(7.5)
    assert value["change_fc8192_of_wide"] == pytest.approx(100 * 2 / N)


def test_a_net_at_chance_is_kept_marked_and_has_its_remedy_named(place):
    for name in WRONG:
        write(place, name)
    result = made(place)
    row = cells(result, "table_3")["AlexNet replica: without layers 3, 4, 6, 7"]
    assert row["note"] == "stayed at chance"
    assert row["val top-1, %"] == pytest.approx(100 * 110 / 120)
    assert result.extra["at_chance"] == ["alexnet_no3467"]
    assert "stayed at chance" in result.metrics["cost_removing_3_4_6_7"].note
    assert result.text.count("alexnet_no3467 stayed at chance, a failure to train, no evid") == 2
    told = {name for name, each in result.metrics.items() if "stayed at chance" in each.note}
    assert told == {"cost_removing_3_4_6_7", "cost_beyond_sum", "val_top1_alexnet_no3467"}
    assert "The remedy is alexnet_no3467_slow" in result.text
    remedy = cells(result, "table_3")["AlexNet replica: the same, a lower rate"]
    assert "not in the paper" in remedy["note"]
    assert remedy["paper: top-1"] is None


def test_a_full_net_at_chance_is_evidence_against_no_row(place):
    for name in WRONG:
        write(place, name, *([110] if name == "alexnet" else []), loss=2.48 * (name == "alexnet"))
    result = made(place)
    told = {name for name, each in result.metrics.items() if "stayed at chance" in each.note}
    costs = {name for name in result.metrics if name.startswith(("cost_", "change_alexnet"))}
    assert told == costs | {"val_top1_alexnet"}
    words = {
        line.partition(":")[0]: line.partition(": ")[2]
        for line in result.text.replace(". ", ".\n").splitlines()
    }
    lost = "alexnet stayed at chance, a failure to train, no evidence."
    assert words["Without layers 3, 4"].endswith(lost)
    assert lost not in words["Both widenings"]
    rows = cells(result, "against_the_full_net")
    assert rows["AlexNet replica: without layers 6, 7"]["note"] == "alexnet stayed at chance"
    assert rows["ZFNet (Fig. 3): both widenings"]["note"] == ""
    assert cells(result, "table_3")["AlexNet replica: without layers 6, 7"]["note"] == ""
    drawn = next(each for each in result.figures if each.name == "ablation_changes")
    assert "alexnet_no67 \u221276.7 (alexnet stayed at chance)" in drawn.alt
    panels = [[text.get_text() for text in axis.texts] for axis in drawn.draw().axes]
    assert [sum("chance" in text for text in texts) for texts in panels] == [7, 0]


def test_every_term_of_a_sum_counts(place):
    for name in list(WRONG)[:6]:
        write(place, name, loss=2.48 * (name == "alexnet_no67"))
    result = made(place)
    for name in ("cost_beyond_sum", "cost_beyond_sum_slow"):
        assert "alexnet_no67 stayed at chance" in result.metrics[name].note
    assert "chance" not in result.metrics["cost_removing_3_4"].note


def test_only_the_compared_trainings_count_as_stuck(place):
    write(place, "alexnet", extra=(0, 6), seeds=[0, 1], loss=[2.48, 0.3])
    write(place, "alexnet_no34", extra=(6, 0), seeds=[1, 2])
    result = made(place)
    assert "chance" not in result.metrics["cost_removing_3_4"].note
    assert "in 1 of 2 trainings" in result.metrics["val_top1_alexnet"].note


def test_large_layers_of_the_wider_net_are_compared_image_by_image(place):
    write(place, "zfnet_wide", 6, extra=(0, 6, 3))
    write(place, "zfnet_wide_fc8192", 12, extra=(0, 1, 6))
    result = made(place)
    told = result.metrics["change_fc8192_of_wide"]
    gaps = 100 * np.array([6, 1, 9]) / N
    assert told.value == pytest.approx(gaps.mean())
    assert told.low < told.value < told.high
    assert "zfnet_wide_fc8192 minus zfnet_wide, centre crop" in told.note
    assert "images and 3 trainings" in told.note
    assert "degrees of freedom" in told.note
    assert "that of layers 3-5 alone: +4.4 points" in result.text
    assert "the paper +0.8" in result.text


def test_the_remedy_that_is_not_trained_is_said_how_to_get(place):
    write(place, "alexnet")
    write(place, "alexnet_no3467")
    assert "nets.alexnet_no3467_slow.seeds=1" in made(place).text


def test_the_default_runs_subset(place):
    for name in ("zfnet", "alexnet", "alexnet_no34", "alexnet_no67", "alexnet_no3467"):
        write(place, name)
    write_absent(place, "zfnet_wide")
    result = made(place)
    rows = cells(result, "table_3")
    assert len(rows) == 13
    missing = rows["ZFNet (Fig. 3): layers 3-5: 512, 1024, 512"]
    assert missing["note"] == "not trained here (nets.zfnet_wide.seeds=1)"
    assert (missing["val top-1, %"], missing["nets"]) == (None, 0)
    assert missing["paper: top-1"] == 37.5
    assert "scale.row_seeds=1 trains every row" in result.text
    assert "5 of the 12 nets" in result.text
    assert "change_zfnet_wide" not in result.metrics
    assert len(result.tables["against_the_full_net"].rows) == 3


def test_without_the_full_net_there_is_nothing_to_compare(place):
    write(place, "alexnet_no34")
    result = made(place)
    assert list(result.metrics) == ["val_top1_alexnet_no34"]
    assert result.tables["against_the_full_net"].rows == []
    assert [figure.name for figure in result.figures] == ["ablation_errors"]


def test_mcnemar_and_holm_over_the_papers_rows(place):
    for name in WRONG:
        write(place, name)
    rows = cells(made(place), "against_the_full_net")
    assert len(rows) == 11
    six = rows["AlexNet replica: without layers 6, 7"]
    assert (six["wrong only here"], six["wrong only full"]) == (6, 0)
    assert six["p"] == pytest.approx(2 / 2**6)
    # of ten p values 2/2^98, 2/2^12, 2/2^6 are the smallest: the third is times 8
    assert six["p, Holm"] == pytest.approx(8 * 2 / 2**6)
    assert rows["AlexNet replica: without layers 3, 4"]["p, Holm"] == pytest.approx(9 * 2 / 2**12)
    assert rows["AlexNet replica: the same, a lower rate"]["p, Holm"] is None
    assert rows["AlexNet replica: without layer 7"]["p"] == 1.0


def test_several_seeds_are_paired_by_seed(place):
    write(place, "alexnet", extra=(0, 6, 12))
    write(place, "alexnet_no34", extra=(0, 12, 6))
    result = made(place)
    row = cells(result, "against_the_full_net")["AlexNet replica: without layers 3, 4"]
    gaps = 100 * np.array([12, 18, 6]) / N
    assert row["points"] == pytest.approx(gaps.mean())
    half = 4.302653 * gaps.std(ddof=1) / np.sqrt(3)
    assert row["seeds: high"] == pytest.approx(gaps.mean() + half, rel=1e-4)
    assert row["both: low"] <= row["low"]
    assert row["wrong only here"] == 12  # of the first seed
    measured = result.metrics["cost_removing_3_4"]
    assert "3 pairs of trainings" in measured.note
    assert measured.low == row["both: low"]
    top = cells(result, "intervals")["alexnet"]
    assert top["top-1 sd of nets"] == pytest.approx(5.0)
    assert top["val top-1, %"] == pytest.approx(15.0)
    assert top["top-1 low"] < 15.0 < top["top-1 high"]
    assert "over trainings too" in result.text


def test_only_seeds_in_common_are_compared(place):
    write(place, "alexnet", extra=(0, 6), seeds=[0, 1])
    write(place, "alexnet_no34", extra=(6, 0), seeds=[1, 2])
    row = cells(made(place), "against_the_full_net")["AlexNet replica: without layers 3, 4"]
    assert row["points"] == pytest.approx(100 * (30 - 18) / N)
    assert row["seeds: low"] is None


def test_the_sum_is_exceeded_only_where_it_is(place):
    for name, wrong in {
        "alexnet": 10, "alexnet_no34": 20, "alexnet_no67": 30, "alexnet_no3467": 40,
    }.items():  # fmt: skip
        write(place, name, wrong, loss=0.3)
    told = made(place).metrics["cost_beyond_sum"]
    assert told.value == 0.0
    assert told.low == pytest.approx(-told.high, abs=2)


def test_training_errors_without_predictions_are_left_out(place):
    final = write(place, "alexnet")
    (final / "train_predictions.npz").unlink()
    row = cells(made(place), "table_3")["AlexNet replica: full"]
    assert row["train top-1, %"] is None


def test_the_papers_differences_stand_beside(place):
    for name in WRONG:
        write(place, name)
    rows = cells(made(place), "against_the_full_net")
    printed = {key.partition(": ")[2]: row["paper, points"] for key, row in rows.items()}
    assert printed["without layers 3, 4"] == 4.9
    assert printed["without layers 6, 7"] == 4.3
    assert printed["without layers 3, 4, 6, 7"] == 30.8
    assert printed["both widenings"] == -0.1


def test_view_ten_is_read(place):
    write_net(
        place, "alexnet", LABEL, [sure(wrong_at(LABEL, range(60)))],
        ten=[sure(wrong_at(LABEL, range(30)))],
    )  # fmt: skip
    assert made(place, "ten").metrics["val_top1_alexnet"].value == pytest.approx(25.0)


def test_the_result_is_saved_and_its_figures_drawn(place, tmp_path):
    for name in list(WRONG)[:10]:
        write(place, name)
    save_result(made(place), tmp_path / "out", tmp_path / "metrics.json")
    loaded = load_result(tmp_path / "out")
    assert [figure["name"] for figure in loaded["figures"]] == [
        "ablation_errors", "ablation_changes",
    ]  # fmt: skip
    assert loaded["extra"]["card"] == "ablation_errors"
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["cost_removing_3_4"]["unit"] == "points"
    again = tmp_path / "again"
    save_result(made(place), again, tmp_path / "metrics2.json")
    assert (again / "result.json").read_bytes() == (tmp_path / "out/result.json").read_bytes()


def test_headline_names_metrics_that_there_are(place):
    for name in WRONG:
        write(place, name)
    result = made(place)
    assert set(result.extra["headline"]) <= set(result.metrics)


def test_options_and_missing_nets_are_told(place):
    with pytest.raises(UserError, match=r"study\.ablation\.view=all"):
        made(place, "all")
    with pytest.raises(UserError, match="none of alexnet"):
        made(place)
