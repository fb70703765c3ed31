"""Table 2 from answers that a test chooses: every row, with and without several seeds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from answered import config_of, paths_of, sure, write_absent, write_net, wrong_at

from zfnet.errors import UserError
from zfnet.studies import classification
from zfnet.studies.result import load_result, save_result

N = 120
LABEL = np.arange(N, dtype=np.int64) % 12


@pytest.fixture
def place(tmp_path, root):
    """A checkout with the paper's tables and no nets."""
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "tables.yaml").write_bytes((root / "paper/tables.yaml").read_bytes())
    return tmp_path


def answers(*wrong, p=0.6):
    """One softmax a net, wrong at the given places."""
    return [sure(wrong_at(LABEL, list(places)), p=p) for places in wrong]


def write_all(place, seeds=3):
    """AlexNet errs at 24 images; each ZFNet at 6 of its own and 6 of all; the wide one at 6."""
    shared = range(6)
    own = [range(10 + 6 * k, 16 + 6 * k) for k in range(seeds)]
    write_net(place, "alexnet", LABEL, answers(*[range(24)] * seeds))
    zfnet = answers(*[[*shared, *each] for each in own])
    write_net(place, "zfnet", LABEL, zfnet, ten=answers(*own))
    write_net(place, "zfnet_wide", LABEL, answers([0, 1, 2, 3, 4, 100]))


def made(place, **section):
    section = {"view": "centre", "confusions": 15} | section
    return classification.run(config_of("classification", **section), paths_of(place))


def cells(result, table="table_2"):
    """Rows as dictionaries."""
    found = result.tables[table]
    assert len(set(found.columns)) == len(found.columns)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_every_row_with_three_seeds(place):
    write_all(place)
    result = made(place)
    value = {name: measured.value for name, measured in result.metrics.items()}
    assert value["top1_alexnet"] == pytest.approx(20.0)
    assert value["top1_zfnet"] == pytest.approx(10.0)
    # the ensemble keeps only what all three get wrong
    assert value["top1_zfnet_ensemble"] == pytest.approx(5.0)
    assert value["top1_zfnet_wide"] == pytest.approx(5.0)
    # four nets: image 5 is wrong by three votes of four, image 100 by one
    assert value["top1_both"] == pytest.approx(5.0)
    assert value["zfnet_minus_alexnet"] == pytest.approx(-10.0)
    assert value["ensemble_minus_one"] == pytest.approx(-5.0)
    assert value["ten_crops_minus_centre"] == pytest.approx(-5.0)
    assert result.metrics["ensemble_minus_one"].low is not None
    assert result.metrics["both_minus_ensemble"].low is None  # the same answers
    assert result.extra["rows"] == ["alexnet", "zfnet", "zfnet_ensemble", "zfnet_wide", "both"]
    assert result.extra["missing"] == {}
    rows = cells(result)
    assert len(rows) == 10
    assert [row["nets"] for row in rows[::2]] == [3, 3, 3, 1, 4]
    assert rows[2]["paper: top-1"] == 38.4
    assert rows[2]["sd of nets"] == 0
    assert rows[4]["sd of nets"] is None
    assert rows[3]["top-1, %"] == pytest.approx(5.0)  # ten crops
    assert rows[3]["paper: top-1"] is None


def test_top5_counts_the_first_five(place):
    write_all(place)
    result = made(place)
    # a wrong net's next guess is class 0, then 1, ...: true classes of 5 and more come later
    wrong = [i for i in range(24) if LABEL[i] >= 5]
    assert result.metrics["top5_alexnet"].value == pytest.approx(100 * len(wrong) / N, abs=2.6)
    direct = classification.read_nets(["alexnet"], paths_of(place))["alexnet"].wrong("centre", 5)
    assert result.metrics["top5_alexnet"].value == pytest.approx(100 * direct.mean())


def test_one_seed_says_what_the_ensembles_need(place):
    write_net(place, "alexnet", LABEL, answers(range(24)))
    write_net(place, "zfnet", LABEL, answers(range(12)))
    write_absent(place, "zfnet_wide")
    result = made(place)
    assert set(result.extra["missing"]) == {"zfnet_ensemble", "zfnet_wide", "both"}
    assert "scale.seeds" in result.extra["missing"]["zfnet_ensemble"]
    assert "nets.zfnet_wide.seeds=1" in result.extra["missing"]["zfnet_wide"]
    rows = cells(result)
    assert [row["nets"] for row in rows] == [1, 1, 1, 1, 0, 0, 0]
    assert rows[4]["paper: top-1"] == 36.7  # the paper's figure stays beside
    assert "Not there: (a) ZFNet: needs more seeds" in result.text
    assert set(result.metrics) == {
        "top1_alexnet", "top5_alexnet", "top1_zfnet", "top5_zfnet",
        "zfnet_minus_alexnet", "ten_crops_minus_centre",
    }  # fmt: skip


def test_seeds_without_the_wide_net_leave_only_both_out(place):
    write_net(place, "zfnet", LABEL, answers(range(12), range(6, 18)))
    result = made(place)
    assert result.extra["rows"] == ["zfnet", "zfnet_ensemble"]
    assert "wider net" in result.extra["missing"]["both"]
    assert "nets.alexnet.seeds=1" in result.extra["missing"]["alexnet"]
    assert result.net == "zfnet"


def test_differences_hold_both_sources_and_the_papers(place):
    write_all(place)
    rows = cells(made(place), "differences")
    assert len(rows) == 8
    first = rows[0]
    assert (first["difference"], first["view"]) == ("ZFNet minus AlexNet", "centre crop")
    assert first["paper, points"] == pytest.approx(-2.1)
    # the first pair: AlexNet alone errs at 6..9 and 16..23, ZFNet alone nowhere
    assert (first["wrong only first"], first["wrong only second"]) == (0, 12)
    assert first["p"] == pytest.approx(2 / 2**12)
    assert first["seeds: low"] is not None
    assert first["both: low"] is not None
    ensembles = [row for row in rows if row["difference"].endswith(("(a)", "one ZFNet"))]
    assert len(ensembles) == 4
    for row in ensembles:
        assert (row["seeds: low"], row["both: low"]) == (None, None)


def test_an_ensembles_difference_holds_for_these_very_nets(place):
    write_all(place)
    result = made(place)
    told = result.metrics["ensemble_minus_one"]
    # 18 images that one of three nets gets wrong alone: −1/3 each; the rest cancels
    se = 100 * np.std([-1 / 3] * 18 + [0] * (N - 18)) / np.sqrt(N)
    assert (told.high - told.low) / (2 * 1.96 * se) == pytest.approx(1, abs=0.08)
    assert "one ensemble against the mean of 3 nets" in told.note
    assert "two ensembles of these very nets" in result.metrics["both_minus_ensemble"].note
    assert "There is one (a)" in result.text
    assert "degrees of freedom" in result.metrics["zfnet_minus_alexnet"].note


def test_the_saved_answers_are_those_of_each_row(place):
    write_all(place)
    result = made(place)
    top, p, label = (result.arrays[name] for name in ("top", "true_p", "label"))
    assert top.shape == (5, 2, N, 5)
    assert p.shape == (5, 2, N)
    for row, key in enumerate(result.extra["rows"]):
        wrong = 100 * (top[row, 0, :, 0] != label).mean()
        assert wrong == pytest.approx(result.metrics[f"top1_{key}"].value)
    assert p[2, 0, 10] == pytest.approx((0.6 + 0.6 + p[1, 0, 10]) / 3, rel=1e-5)


def test_view_ten_is_what_the_numbers_are_of(place):
    write_all(place)
    result = made(place, view="ten")
    assert result.metrics["top1_zfnet"].value == pytest.approx(5.0)
    assert "ten crops" in result.metrics["top1_zfnet"].note
    assert result.metrics["top1_zfnet_ensemble"].value == 0.0


def test_confusions_are_counted_by_class(place):
    guess = LABEL.copy()
    guess[[0, 12, 24]] = 7  # class 0 taken for 7 three times
    guess[1] = 2
    write_net(place, "zfnet", LABEL, [sure(guess)])
    rows = cells(made(place, confusions=5), "confusions")
    assert rows == [
        {"true class": "class 0", "called": "class 7", "times": 3, "images": 10},
        {"true class": "class 1", "called": "class 2", "times": 1, "images": 10},
    ]


def test_a_foreign_net_in_zfnets_place_is_named(place):
    label = LABEL.copy()
    label[5] = -1  # a class that it lacks
    probs = sure(np.where(LABEL == 3, 11, LABEL))
    write_net(
        place, "zfnet", label + (label >= 0) * 0, [probs], adopted=True, arch="torchvision/vgg11"
    )
    result = made(place)
    row = cells(result)[2 - 1]
    assert row["model"] == "torchvision/vgg11 as zfnet, 1 net"
    assert "adopted" in row["note"]
    assert "1 images of classes" in result.tables["confusions"].caption
    assert "adopted" in result.extra["missing"]["zfnet_ensemble"]


def test_classes_that_no_image_has_are_counted_together():
    from zfnet.studies.paired import TrainedNet, Training

    label = np.array([3, 3, 8, 8])
    top = np.array([[3], [9], [8], [3]])
    training = Training("x", 0, None, label, {"centre": top}, {}, None)
    names = [f"c{i}" for i in range(10)]
    net = TrainedNet("x", [training], names, "a", None, None, True)
    found = classification.Confusion.of(net, "centre")
    assert found.columns == ["c3", "c8", "other classes"]
    assert found.counts.tolist() == [[1, 0, 1], [1, 1, 0]]


def test_few_classes_have_no_top5(place):
    label = np.arange(40) % 4
    probs = np.full((40, 4), 0.1, np.float32)
    probs[np.arange(40), (label + (np.arange(40) < 10)) % 4] = 0.7
    write_net(place, "zfnet", label, [probs], classes=4)
    result = made(place)
    assert "top5_zfnet" not in result.metrics
    assert cells(result)[1]["top-5, %"] is None
    assert "Top-5 says nothing among 4 classes" in result.tables["table_2"].caption


def test_a_net_at_chance_is_said_so(place):
    write_net(place, "zfnet", LABEL, answers(range(12)))
    write_net(place, "alexnet", LABEL, answers(range(110)), loss=2.4849)
    result = made(place)
    assert "stayed at chance" in result.text
    assert "stayed at chance" in result.metrics["top1_alexnet"].note
    told = result.metrics["zfnet_minus_alexnet"]
    assert "alexnet stayed at chance" in told.note
    assert "alexnet stayed at chance, a failure to train, no evidence." in result.text
    assert "more than chance" not in result.text
    notes = [row["note"] for row in cells(result, "differences")]
    assert notes == ["alexnet stayed at chance"] * 2
    assert "chance" not in result.metrics["ten_crops_minus_centre"].note


def test_one_of_several_trainings_at_chance_is_in_every_number_it_stands_behind(place):
    write_net(place, "alexnet", LABEL, answers(range(24)))
    wrong = answers(range(12), range(110), range(9))
    write_net(place, "zfnet", LABEL, wrong, loss=[0.4, 2.48, 0.4])
    write_net(place, "zfnet_wide", LABEL, answers(range(6)))
    metrics = made(place).metrics
    told = {name for name, each in metrics.items() if "stayed at chance" in each.note}
    assert told == {
        "top1_zfnet", "top5_zfnet", "top1_zfnet_ensemble", "top5_zfnet_ensemble", "top1_both",
        "top5_both", "ensemble_minus_one", "both_minus_ensemble", "ten_crops_minus_centre",
    }  # fmt: skip
    # the first seed alone has a partner: its training learned
    assert "chance" not in metrics["zfnet_minus_alexnet"].note
    assert "zfnet stayed at chance in 1 of 3 trainings" in metrics["ensemble_minus_one"].note


def test_the_result_is_saved_and_its_figures_drawn(place, tmp_path):
    write_all(place)
    save_result(made(place), tmp_path / "out", tmp_path / "metrics.json")
    loaded = load_result(tmp_path / "out")
    assert [figure["name"] for figure in loaded["figures"]] == [
        "classification_errors", "classification_confusion",
    ]  # fmt: skip
    assert all(figure["width"] > 600 for figure in loaded["figures"])
    first = (tmp_path / "out" / "result.json").read_bytes()
    save_result(made(place), tmp_path / "again", tmp_path / "metrics2.json")
    assert (tmp_path / "again" / "result.json").read_bytes() == first
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["top1_zfnet"]["n"] == N


def test_the_figure_says_which_rows_stayed_at_chance(place):
    write_net(place, "zfnet", LABEL, answers(range(12)))
    write_net(place, "alexnet", LABEL, answers(range(110)), loss=2.4849)
    drawn = next(each for each in made(place).figures if each.name == "classification_errors")
    for axis in drawn.draw().axes:
        words = {text.get_text(): text.get_position()[1] for text in axis.texts}
        assert -0.5 < words["alexnet stayed at chance"] < 0  # above the first row
        assert sum("chance" in text for text in words) == 1


@pytest.mark.parametrize(
    ("section", "word"), [({"view": "nine"}, "view=nine"), ({"confusions": -1}, "confusions=-1")]
)
def test_options_are_checked(place, section, word):
    with pytest.raises(UserError, match=word):
        made(place, **section)


def test_no_net_at_all_says_what_to_run(place):
    with pytest.raises(UserError, match="none of zfnet, alexnet, zfnet_wide is trained"):
        made(place)
