"""Nets' answers read from disk; rates, differences and tests against cases worked out by hand."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from answered import paths_of, sure, write_absent, write_net, wrong_at
from scipy.special import stdtrit

from zfnet.errors import UserError
from zfnet.models.spec import build_spec
from zfnet.stats.chance import at_chance
from zfnet.stats.estimate import Estimate
from zfnet.studies import paired
from zfnet.studies.paired import (
    agreement,
    combination,
    common,
    count_parameters,
    difference,
    error_rate,
    mcnemar,
    mean_softmax,
    read_net,
    read_nets,
    signed,
    spread,
    stayed_at_chance,
)
from zfnet.verdicts import rules

LABEL = np.arange(60, dtype=np.int64) % 12


def errors(n, *places):
    """bool (S, N): wrong at the given places, one list a net."""
    found = np.zeros((len(places), n), bool)
    for row, where in zip(found, places, strict=True):
        row[where] = True
    return found


# ------------------------------------------------------------------------------------ reading
def test_a_net_is_read_with_all_its_seeds(tmp_path):
    one, two = sure(wrong_at(LABEL, [0, 1, 2])), sure(wrong_at(LABEL, [5]))
    train = (np.array([0, 1, 2, 2]), np.array([0, 1, 2, 3]))
    final = write_net(tmp_path, "zfnet", LABEL, [one, two], seeds=[4, 5], train=train)
    net = read_net("zfnet", final)
    assert net.seeds == [4, 5]
    assert net.images == 60
    assert net.wrong("centre").sum(1).tolist() == [3, 1]
    assert net.trainings[1].folder == final / "seed_5"
    assert net.trainings[0].wrong_in_training.tolist() == [False, False, False, True]
    assert np.array_equal(net.trainings[1].probabilities("ten"), two)
    assert (net.chance, net.adopted, net.data) == ("", False, "f")


def test_top5_asks_whether_the_class_is_among_five(tmp_path):
    probs = sure(wrong_at(LABEL, [0, 1, 2]))
    probs[0, LABEL[0]] = 0  # the true class comes last: not among five
    net = read_net("zfnet", write_net(tmp_path, "zfnet", LABEL, [probs]))
    top5 = net.trainings[0].wrong("centre", 5)
    assert top5[0]
    # true classes 1 and 2 are second and third of the falling rest
    assert not top5[1:].any()


def test_an_unknown_class_is_always_wrong(tmp_path):
    label = LABEL.copy()
    label[7] = -1
    net = read_net("zfnet", write_net(tmp_path, "zfnet", label, [sure(LABEL)]))
    assert net.wrong("centre").sum() == 1
    assert mean_softmax(net.trainings, "centre").p[7] == 0


def test_nets_that_were_not_trained_are_left_out(tmp_path):
    write_net(tmp_path, "zfnet", LABEL, [sure(LABEL)])
    write_absent(tmp_path, "zfnet_wide")
    found = read_nets(["alexnet", "zfnet", "zfnet_wide"], paths_of(tmp_path))
    assert list(found) == ["zfnet"]
    with pytest.raises(UserError, match="none of alexnet, zfnet_wide is trained"):
        read_nets(["alexnet", "zfnet_wide"], paths_of(tmp_path))


def test_nets_on_other_data_are_refused(tmp_path):
    write_net(tmp_path, "zfnet", LABEL, [sure(LABEL)])
    write_net(tmp_path, "alexnet", LABEL, [sure(LABEL)], fingerprint="g")
    with pytest.raises(UserError, match="alexnet/final: answers other images"):
        read_nets(["zfnet", "alexnet"], paths_of(tmp_path))


def test_missing_and_old_files_are_named(tmp_path):
    final = write_net(tmp_path, "zfnet", LABEL, [sure(LABEL)])
    file = final / "val_predictions.npz"
    np.savez(file, label=LABEL)
    with pytest.raises(UserError, match=r"val_predictions\.npz has no 'centre_top'"):
        read_net("zfnet", final)
    file.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match=r"val_predictions\.npz is damaged"):
        read_net("zfnet", final)
    file.unlink()
    with pytest.raises(UserError, match=r"val_predictions\.npz is missing"):
        read_net("zfnet", final)


def test_a_net_at_chance_is_marked_by_the_rule_of_training(tmp_path):
    limit = 0.95 * math.log(12)
    for name, loss in (("zfnet", limit - 0.01), ("alexnet", limit + 0.01)):
        net = read_net(name, write_net(tmp_path, name, LABEL, [sure(LABEL)], loss=loss))
        assert net.trainings[0].at_chance == at_chance(loss, 12)
    assert net.chance == "stayed at chance"
    some = write_net(tmp_path, "zfnet_wide", LABEL, [sure(LABEL)] * 3, loss=[0.1, 2.48, 0.2])
    wide = read_net("zfnet_wide", some)
    assert wide.chance == "stayed at chance in 1 of 3 trainings"
    assert wide.only([0, 2]).chance == ""
    assert wide.only([1]).chance == "stayed at chance"


def test_nets_at_chance_are_named_and_each_training_counts_once(tmp_path):
    good = read_net("zfnet", write_net(tmp_path, "zfnet", LABEL, [sure(LABEL)] * 2))
    some = write_net(tmp_path, "zfnet_wide", LABEL, [sure(LABEL)] * 3, loss=[0.1, 2.48, 0.2])
    lost = write_net(tmp_path, "alexnet", LABEL, [sure(LABEL)], loss=2.48)
    wide, alexnet = read_net("zfnet_wide", some), read_net("alexnet", lost)
    assert stayed_at_chance(good.trainings) == ""
    every = [*good.trainings, *wide.trainings, *alexnet.trainings, *wide.trainings]
    assert stayed_at_chance(every) == (
        "zfnet_wide stayed at chance in 1 of 3 trainings and alexnet stayed at chance"
    )


def test_an_adopted_net_is_neither_trained_nor_counted(tmp_path):
    final = write_net(
        tmp_path, "zfnet", LABEL, [sure(LABEL)], adopted=True, arch="torchvision/resnet18"
    )
    net = read_net("zfnet", final)
    assert (net.adopted, net.parameters, net.trainings[0].at_chance) == (True, None, None)


@pytest.mark.parametrize("change", [{}, {"without": [3, 4]}, {"without": [6, 7]}, {"fc_units": 99}])
@pytest.mark.parametrize("arch", ["zfnet", "alexnet"])
def test_parameters_are_those_of_the_module(arch, change):
    from zfnet.models.convnet import ConvNet

    spec = build_spec(arch, num_classes=7, width=0.125, input_px=128, **change)
    assert count_parameters(spec) == sum(p.numel() for p in ConvNet(spec).parameters())


# ---------------------------------------------------------------------------------- ensembles
def test_an_ensemble_outvotes_a_net_that_is_alone(tmp_path):
    # each net errs at a place of its own: together they are right everywhere
    answers = [sure(wrong_at(LABEL, [k]), p=0.6) for k in range(3)]
    net = read_net("zfnet", write_net(tmp_path, "zfnet", LABEL, answers))
    together = mean_softmax(net.trainings, "centre")
    assert net.wrong("centre").sum() == 3
    assert not together.wrong().any()
    expected = (0.6 + 0.6 + answers[0][0, LABEL[0]]) / 3
    assert together.p[0] == pytest.approx(expected, rel=1e-6)
    assert together.top.shape == (60, 5)


def test_one_net_averaged_is_itself(tmp_path):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(12), size=60).astype(np.float32)
    net = read_net("zfnet", write_net(tmp_path, "zfnet", LABEL, [probs]))
    together = mean_softmax(net.trainings, "ten")
    assert np.array_equal(together.top, net.trainings[0].top["ten"])
    assert np.array_equal(together.p, net.trainings[0].p["ten"])


def test_the_ensemble_is_the_mean_of_the_probabilities_not_of_the_votes(tmp_path):
    label = np.zeros(1, np.int64)
    # two nets lean to class 1 by a little, one is sure of class 0
    rows = [[0.45, 0.55, 0.0], [0.45, 0.55, 0.0], [0.9, 0.1, 0.0]]
    answers = [np.array([row], np.float32) for row in rows]
    final = write_net(tmp_path, "zfnet", label, answers, classes=3)
    together = mean_softmax(read_net("zfnet", final).trainings, "centre")
    assert together.top[0].tolist() == [0, 1, 2]
    assert together.p[0] == pytest.approx(0.6)


def test_nets_with_other_outputs_are_not_averaged(tmp_path):
    one = write_net(tmp_path, "zfnet", LABEL, [sure(LABEL)])
    other = write_net(tmp_path, "zfnet_wide", LABEL, [sure(LABEL, 13)], classes=13)
    nets = [read_net("a", one), read_net("b", other)]
    with pytest.raises(UserError, match="other classes"):
        mean_softmax([net.trainings[0] for net in nets], "centre")


# ----------------------------------------------------------------------------------- measures
def test_one_nets_rate_has_wilsons_interval():
    told = error_rate(errors(100, range(10)), seed=0)
    assert (told.value, told.n, told.unit) == (pytest.approx(10.0), 100, "%")
    # the textbook's interval of 10 in 100: 5.52 to 17.44 %
    assert told.low == pytest.approx(5.52, abs=0.01)
    assert told.high == pytest.approx(17.44, abs=0.01)


def test_several_nets_rate_is_their_mean_over_the_same_images():
    wrong = errors(100, range(10), range(30))
    told = error_rate(wrong, seed=0)
    assert told.value == pytest.approx(20.0)
    # per image: 10 of 1, 20 of 1/2, 70 of 0: standard error of the mean
    se = 100 * np.std([1] * 10 + [0.5] * 20 + [0] * 70) / 10
    assert (told.high - told.low) / (2 * 1.96 * se) == pytest.approx(1, abs=0.06)
    assert spread(wrong) == pytest.approx(np.std([10, 30], ddof=1))
    assert spread(wrong[:1]) is None


def test_a_paired_difference_counts_only_the_images_that_differ():
    first, second = errors(200, range(50)), errors(200, range(20, 80))
    told = difference(first, second, seed=0)
    assert told.images.value == pytest.approx(-5.0)
    assert (told.only_first, told.only_second) == (20, 30)
    # variance of the mean of (20 times +1, 30 times -1, 150 times 0)
    se = 100 * np.sqrt((50 / 200 - 0.05**2) / 200)
    assert (told.images.high - told.images.low) / (2 * 1.96 * se) == pytest.approx(1, abs=0.06)
    assert told.seeds is None
    assert told.widest is told.images


def test_pairing_is_narrower_than_two_separate_samples():
    both = np.arange(60)
    paired_ones = difference(errors(400, both), errors(400, both[5:]), seed=0).images
    apart = difference(errors(400, both), errors(400, both[5:] + 200), seed=0).images
    assert paired_ones.value == apart.value
    assert paired_ones.high - paired_ones.low < 0.4 * (apart.high - apart.low)


def test_grouping_equal_images_is_the_plain_bootstrap():
    rng = np.random.default_rng(3)
    first, second = rng.random((3, 150)) < 0.4, rng.random((3, 150)) < 0.3
    told = difference(first, second, seed=0).images
    change = (first.astype(float) - second).mean(0)
    means = 100 * change[rng.integers(150, size=(20000, 150))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    assert told.low == pytest.approx(low, abs=0.5)
    assert told.high == pytest.approx(high, abs=0.5)


def test_over_seeds_student_and_both():
    rng = np.random.default_rng(1)
    first = np.stack([rng.random(300) < p for p in (0.30, 0.36, 0.33)])
    second = np.stack([rng.random(300) < p for p in (0.20, 0.20, 0.20)])
    told = difference(first, second, seed=0)
    gaps = 100 * (first.mean(1) - second.mean(1))
    assert told.seeds.n == 3
    assert told.seeds.value == pytest.approx(gaps.mean())
    half = 4.302653 * gaps.std(ddof=1) / np.sqrt(3)  # t(2, 0.975)
    assert told.seeds.high - told.seeds.value == pytest.approx(half, rel=1e-4)
    assert told.both.value == told.images.value
    assert told.both.high - told.both.low > told.images.high - told.images.low


def test_the_interval_over_both_is_the_analysis_of_variance_by_hand():
    change = np.array([[0, 1, 0, 1], [1, 0, 1, 1]])
    low, high, degrees = paired._over_both(change)
    mean = 5 / 8
    # means of the nets 4/8 and 6/8, of the images 1/2, 1/2, 1/2, 1
    net, image = 4 * (1 / 8) ** 2 * 2 / 1, 2 * (3 * (1 / 8) ** 2 + (3 / 8) ** 2) / 3
    total = 5 * (3 / 8) ** 2 + 3 * (5 / 8) ** 2
    rest = (total - net - 3 * image) / 3
    assert net < rest  # the nets' spread is no more than the rest explains
    assert degrees == 3
    half = stdtrit(3, 0.975) * np.sqrt(image / 8)
    assert (low, high) == pytest.approx((100 * (mean - half), 100 * (mean + half)))
    low, high, degrees = paired._over_both(change + np.array([[0], [2]]))
    net = 4 * (9 / 8) ** 2 * 2
    square = net + image - rest
    assert degrees == pytest.approx(square**2 / (net**2 + (image**2 + rest**2) / 3))
    half = stdtrit(degrees, 0.975) * np.sqrt(square / 8)
    assert (low, high) == pytest.approx((100 * (1 + mean - half), 100 * (1 + mean + half)))


@pytest.mark.parametrize(("nets", "images", "rest"), [(0.02, 0.3, 0.3), (0.0, 0.2, 0.4)])
def test_the_interval_over_both_covers_what_it_should(nets, images, rest):
    rng = np.random.default_rng(7)
    within = 0
    for _ in range(400):
        values = (
            nets * rng.normal(size=(3, 1))
            + images * rng.normal(size=(1, 80))
            + rest * rng.normal(size=(3, 80))
        )
        low, high, _ = paired._over_both(values)
        within += low < 0 < high
    assert 0.92 <= within / 400 <= 0.995


@pytest.mark.parametrize("spread_of_nets", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("images", [40, 3000])
def test_verdicts_read_the_degrees_of_freedom_behind_an_interval(spread_of_nets, images):
    rng = np.random.default_rng(images)
    rates = 0.3 + spread_of_nets * np.array([[-1], [0], [1]])
    hard = rng.random(images)  # which images are, for all nets alike
    first = hard + rng.normal(0, 0.002, (3, images)) < rates
    second = np.repeat(rng.random((1, images)) < 0.2, 3, 0)
    change = first.astype(float) - second
    low, high, degrees = paired._over_both(change)
    for told in (
        difference(first, second, seed=0).both,
        combination([(1.0, first), (-1.0, second)], seed=0),
    ):
        assert (told.low, told.high) == pytest.approx((low, high))
        assert rules.freedom(told) == pytest.approx(max(1.0, degrees), rel=0.006)
        assert rules.trainings(told)[0] == 3
    if spread_of_nets == 0.2:
        assert degrees < 3
    if spread_of_nets == 0.0:
        assert degrees > 30  # far from the 2 that the number of trainings would give


@pytest.mark.parametrize(
    ("degrees", "told"),
    [(1.98765, 1.99), (2.0, 2), (99.96, 100), (617.4, 617), (1999.6, 2000), (3e6, 3e6)],
)
def test_degrees_of_freedom_are_written_without_an_exponent(degrees, told):
    assert rules.freedom(Estimate(0.0, n=5, note=paired._freedom(degrees))) == told


def test_one_ensemble_has_no_interval_over_trainings():
    rng = np.random.default_rng(4)
    members = rng.random((3, 400)) < np.array([[0.2], [0.3], [0.4]])
    ensemble = (members.sum(0) > 1)[None]
    told = difference(ensemble, members, seed=0, tested=5)
    assert (told.seeds, told.both, told.widest) == (None, None, told.images)
    mean = 100 * (ensemble.mean() - members.mean())
    assert told.images.value == pytest.approx(mean)
    # images resampled, the nets as they are: 1.96 standard errors of the mean over them
    se = 100 * (ensemble - members.mean(0)).std() / 20
    assert (told.images.high - told.images.low) / (2 * 1.96 * se) == pytest.approx(1, abs=0.06)
    assert "for these very nets: one ensemble against the mean of 3 nets" in told.images.note
    assert rules.trainings(told.images)[0] == 3
    assert rules.freedom(told.images) == 399
    assert (told.only_first, told.tested) == (int((ensemble & ~members)[0].sum()), 5)
    back = difference(members, ensemble, seed=0)
    assert (back.both, back.images.value) == (None, pytest.approx(-mean))
    # the same rows as pairs of trainings are far less sure
    assert difference(np.repeat(ensemble, 3, 0), members, seed=0).both is not None


def test_nets_that_do_not_differ_leave_images_as_the_only_source():
    one = errors(100, range(20))
    told = difference(np.repeat(one, 3, 0), np.repeat(errors(100, range(5)), 3, 0), seed=0)
    assert told.both.low == pytest.approx(told.images.low, abs=0.8)
    assert told.seeds.low == told.seeds.high == pytest.approx(15.0)


def test_equal_answers_have_no_interval():
    wrong = errors(50, [1, 2])
    told = difference(wrong, wrong, seed=0)
    assert (told.images.value, told.images.low, told.p) == (0.0, None, 1.0)
    assert "tells them apart" in told.images.note
    assert agreement(told.images, 2.0) == "no image tells the two apart"


def test_mcnemar_is_the_exact_coin():
    # 2 of 10: (1 + 10 + 45) / 1024, twice
    assert mcnemar(2, 8) == pytest.approx(2 * 56 / 1024)
    assert mcnemar(8, 2) == mcnemar(2, 8)
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 0) == 1.0


@pytest.mark.parametrize("counts", [(0, 6), (3, 11), (7, 8), (1, 1)])
def test_mcnemar_against_counting_every_outcome(counts):
    n = sum(counts)
    extreme = abs(counts[0] - n / 2)
    as_far = sum(abs(sum(coins) - n / 2) >= extreme for coins in product((0, 1), repeat=n))
    assert mcnemar(*counts) == pytest.approx(as_far / 2**n)


def test_a_combination_of_four_nets():
    full, one, other = errors(100, range(10)), errors(100, range(20)), errors(100, range(15))
    both = errors(100, range(60))
    parts = [(1.0, both), (-1.0, one), (-1.0, other), (1.0, full)]
    told = combination(parts, seed=0)
    assert told.value == pytest.approx(60 - 20 - 15 + 10)
    assert told.low < told.value < told.high
    # images 10 to 14: all but the full net are wrong; 20 to 59: `both` alone; else they cancel
    se = 100 * np.std([0] * 15 + [-1] * 5 + [1] * 40 + [0] * 40) / 10
    assert (told.high - told.low) / (2 * 1.96 * se) == pytest.approx(1, abs=0.06)


def test_a_combination_that_no_image_tells_from_zero_has_no_interval():
    wrong = errors(50, [1, 2])
    told = combination([(1.0, wrong), (-1.0, wrong)], seed=0)
    assert (told.value, told.low, told.high) == (0.0, None, None)
    assert "no image tells them apart" in told.note


def test_a_difference_from_a_net_at_chance_says_so_in_all_its_notes():
    first, second = errors(60, range(9), range(30)), errors(60, [1], [2])
    told = difference(first, second, seed=0, note="a minus b", chance="b stayed at chance")
    assert told.chance == "b stayed at chance"
    for measured in (told.images, told.seeds, told.both):
        assert measured.note.startswith("a minus b; b stayed at chance; ")
    assert "stayed at chance" in difference(first, first, 0, chance=told.chance).images.note
    assert "chance" not in difference(first, second, seed=0).images.note


def test_seeds_in_common_or_the_first_of_each():
    assert common([0, 1, 2], [1, 2, 5]) == ([1, 2], [1, 2], [0, 1])
    assert common([3], [4, 5]) == ([3], [0], [0])


def test_the_same_seed_gives_the_same_interval():
    first, second = errors(100, range(30)), errors(100, range(10, 50))
    assert difference(first, second, seed=5) == difference(first, second, seed=5)
    assert difference(first, second, seed=5) != difference(first, second, seed=6)


def test_agreement_in_words():
    worse = Estimate(5.0, 2.0, 8.0, 100)
    assert agreement(worse, 3.0) == "more than chance, with the paper's sign"
    assert agreement(worse, -3.0) == "more than chance, against the paper's sign"
    assert agreement(worse, None) == "more than chance"
    unsure = Estimate(1.0, -2.0, 4.0, 100)
    assert agreement(unsure, 2.0) == "may be chance; the paper's lies within"
    assert agreement(unsure, 7.0) == "may be chance"
    lost = paired.in_words(worse, 3.0, "alexnet stayed at chance")
    assert lost == (
        "+5.0 points (+2.0 to +8.0; the paper +3.0): alexnet stayed at chance, "
        "a failure to train, no evidence"
    )
    told = paired.in_words(unsure, 7.0)
    assert told == "+1.0 points (\u22122.0 to +4.0; the paper +7.0): may be chance"


def test_signs_are_written_as_printed():
    assert (signed(1.26), signed(-0.04), signed(-2.0)) == ("+1.3", "0.0", "\u22122.0")
