"""Table 2 from predictions that a test chooses: every row, with and without several seeds."""

from __future__ import annotations

import numpy as np
import pytest
from answered import paths_of, read_back, sure, write_absent, write_net, wrong_at

from zfnet.errors import UserError
from zfnet.figures.stage import draw
from zfnet.pipeline.studies import Classification
from zfnet.studies.classification import confusions, run

N = 120
LABEL = np.arange(N, dtype=np.int64) % 12


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


def made(place, **options):
    return run(Classification(**options), paths_of(place))


def test_every_row_with_three_seeds(place):
    write_all(place)
    result = made(place)
    value = {name: estimate.value for name, estimate in result.estimates.items()}
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
    assert result.estimates["both_minus_ensemble"].low is None  # the same predictions
    pairs, ensemble = (
        result.estimates[name] for name in ("zfnet_minus_alexnet", "ensemble_minus_one")
    )
    assert (pairs.trainings, pairs.covers) == (3, ("images", "trainings"))
    assert (ensemble.trainings, ensemble.covers) == (3, ("images", "trainings"))
    # 18 images that one of three nets gets wrong alone: −1/3 each; the rest cancels
    se = 100 * np.std([-1 / 3] * 18 + [0] * (N - 18)) / np.sqrt(N)
    # leaving one out: two of three ensembles of two nets err where neither errs surely
    assert 1.2 < ensemble.half / (1.96 * se) < 1.8
    of_ten = made(place, view="ten").estimates
    assert of_ten["top1_zfnet"].value == pytest.approx(5.0)
    assert of_ten["top1_zfnet_ensemble"].value == 0.0
    each = {(row["row"], row["view"], row["top"]): row for row in result.tables["errors"].records()}
    assert each["alexnet", "centre", 1]["error"] == pytest.approx(20.0)
    assert each["zfnet", "ten", 1]["error"] == pytest.approx(5.0)
    rows = result.tables["table_2"].records()
    assert [row["row"] for row in rows[::2]] == [
        "alexnet", "zfnet", "zfnet_ensemble", "zfnet_wide", "both",
    ]  # fmt: skip
    assert [row["nets"] for row in rows[::2]] == [3, 3, 3, 1, 4]
    assert (rows[2]["top1_sd"], rows[4]["top1_sd"]) == (0, None)
    assert (rows[3]["view"], rows[3]["top1"]) == ("ten", pytest.approx(5.0))


def test_one_seed_has_no_ensembles(place):
    write_net(place, "alexnet", LABEL, answers(range(24)))
    write_net(place, "zfnet", LABEL, answers(range(12)))
    write_absent(place, "zfnet_wide")
    result = made(place)
    assert set(result.estimates) == {
        "top1_alexnet", "top5_alexnet", "top1_zfnet", "top5_zfnet",
        "zfnet_minus_alexnet", "ten_crops_minus_centre",
    }  # fmt: skip
    results, module, _ = read_back("classification", result, place)
    rows = module.tables(results)["table_2"].table.records()
    assert [row["nets"] for row in rows] == [1, 1, 1, 1, 0, 0, 0]
    assert rows[4]["val_top1"] == 36.7  # the paper's figure stays beside


def test_differences_hold_both_sources_and_the_papers(place):
    write_all(place)
    results, module, _ = read_back("classification", made(place), place)
    rows = module.tables(results)["differences"].table.records()
    assert len(rows) == 8
    first = rows[0]
    assert (first["difference"], first["view"]) == ("zfnet_minus_alexnet", "centre")
    assert first["paper"] == pytest.approx(-2.1)
    # the first pair: AlexNet alone errs at 6..9 and 16..23, ZFNet alone nowhere
    assert (first["only_first"], first["only_second"]) == (0, 12)
    assert first["p"] == pytest.approx(2 / 2**12, rel=1e-5)
    assert first["both_low"] is not None
    assert all(row["both_low"] is None for row in rows if "ensemble" in row["difference"])


def test_confusions_are_counted_by_class(place):
    guess = LABEL.copy()
    guess[[0, 12, 24]] = 7  # class 0 taken for 7 three times
    guess[1] = 2
    write_net(place, "zfnet", LABEL, [sure(guess)])
    assert made(place).tables["confusions"].rows == [
        ["class 0", "class 7", 3, 10],
        ["class 1", "class 2", 1, 10],
    ]


def test_classes_that_no_image_has_are_counted_together():
    label, guess = np.array([3, 3, 8, 8, -1]), np.array([3, 9, 8, 3, 3])
    assert confusions(label, guess).tolist() == [[1, 0, 1], [1, 1, 0]]


def test_a_foreign_net_in_zfnets_place_is_named(place):
    label = LABEL.copy()
    label[5] = -1  # a class that it lacks
    arch = "torchvision/vgg11"
    write_net(place, "zfnet", label, [sure(LABEL)], adopted=True, arch=arch)
    results, module, words = read_back("classification", made(place), place)
    assert results.facts["unknown"] == 1
    assert arch in module.joined(results)[2]["label"]
    assert words.startswith(arch)


def test_nets_with_other_outputs_are_not_averaged(place):
    write_net(place, "zfnet", LABEL, answers(range(6), range(3)))
    write_net(place, "zfnet_wide", LABEL, [sure(LABEL, 13)], classes=13)
    with pytest.raises(UserError, match="other classes"):
        made(place)


def test_few_classes_have_no_top5(place):
    label = np.arange(40) % 4
    probs = np.full((40, 4), 0.1, np.float32)
    probs[np.arange(40), (label + (np.arange(40) < 10)) % 4] = 0.7
    write_net(place, "zfnet", label, [probs], classes=4)
    result = made(place)
    assert "top5_zfnet" not in result.estimates
    assert result.tables["table_2"].column("top5") == [None, None]


def test_every_number_of_a_net_at_chance_is_invalid(place):
    write_net(place, "alexnet", LABEL, answers(range(24)))
    wrong = answers(range(12), range(110), range(9))
    write_net(place, "zfnet", LABEL, wrong, loss=2.48)
    write_net(place, "zfnet_wide", LABEL, answers(range(6)))
    result = made(place)
    invalid = {name for name, each in result.estimates.items() if each.invalid == "at chance"}
    assert invalid == {
        "top1_zfnet", "top5_zfnet", "top1_zfnet_ensemble", "top5_zfnet_ensemble", "top1_both",
        "top5_both", "zfnet_minus_alexnet", "ensemble_minus_one", "wide_minus_zfnet",
        "both_minus_ensemble", "ten_crops_minus_centre",
    }  # fmt: skip


def test_a_training_at_chance_is_left_out_where_others_learned(place):
    write_net(
        place, "zfnet", LABEL, answers(range(12), range(110), range(9)), loss=[0.4, 2.48, 0.4]
    )
    result = made(place)
    assert result.estimates["top1_zfnet"].trainings == 2
    assert not result.estimates["top1_zfnet"].invalid
    assert result.facts["nets"]["zfnet"]["at_chance"] == [1]


def test_errors_of_nets_that_were_still_learning_are_not_compared(place):
    write_net(place, "alexnet", LABEL, answers(range(24)), learning=True)
    write_net(place, "zfnet", LABEL, answers(range(12)))
    estimates = made(place).estimates
    assert estimates["zfnet_minus_alexnet"].invalid == "still learning"
    assert not estimates["top1_alexnet"].invalid  # the error itself is what it is
    assert not estimates["ten_crops_minus_centre"].invalid  # of ZFNet alone


def test_the_result_is_saved_the_same_each_time_drawn_and_told(place, tmp_path):
    write_all(place)
    results, module, words = read_back("classification", made(place), place)
    first = (results.folder / "measured.json").read_bytes()
    read_back("classification", made(place), place)
    assert (results.folder / "measured.json").read_bytes() == first
    assert draw("classification", results.folder, tmp_path / "figures", place)
    assert {file.stem for file in (tmp_path / "figures").glob("*.png")} == {
        module.CARD, "classification_confusion", "trainings",
    }  # fmt: skip
    assert not {"None", "nan"} & set(words.split())
    assert "−10.0" in words


def test_no_net_at_all_says_what_to_run(place):
    with pytest.raises(UserError, match="none of zfnet, alexnet, zfnet_wide is trained"):
        made(place)
