import json
import math
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from zfnet.errors import UserError
from zfnet.methods.gradients import deconvnet
from zfnet.methods.receptive_field import receptive_field
from zfnet.models.net import load_weights, save_weights
from zfnet.studies import evolution, settling
from zfnet.studies.evolution import (
    Options,
    bootstrap_median,
    difference,
    rules,
    study,
)
from zfnet.studies.base import Inputs
from zfnet.studies.result import Table, load_result, save_result
from zfnet.studies.settling import (
    Run,
    Snapshots,
    Trace,
    cosine,
    cut_windows,
    field_corners,
    follow,
    measured_epochs,
    scaled_epochs,
    settled_index,
    shifted_cosine,
)

PAPER = (1, 2, 5, 10, 20, 30, 40, 64)
ONE = Options(layers=(1,), batch_size=8, figure_maps=4, lower=(1,), upper=(), max_maps=0)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("ZFNET_PROGRESS", "0")


@pytest.fixture
def keep(tmp_path):
    """Write the model's weights as the snapshots of epochs 1, 2 …, after each of some changes."""

    def written(net, changes):
        folder = tmp_path / "models" / "zfnet" / "epochs"
        folder.mkdir(parents=True)
        for epoch, change in enumerate(changes, 1):
            with torch.no_grad():
                change(net.model)
            save_weights(net.model, folder / f"epoch_{epoch:03d}.pt")
        kept = list(range(1, len(changes) + 1))
        (folder / "epochs.json").write_text(json.dumps({"kept": kept}))
        return Snapshots.open(folder)

    return written


def turned(number, share):
    """Make the filter of map `number`, of colour `number`, one whose cosine with [1, 0] is `share`.

    Its weights: `share` in the centre, the rest negative at the left, so that the place stays.
    """

    def change(model):
        model.conv.weight[number].zero_()
        model.conv.weight[number, number, 1, 1] = share
        model.conv.weight[number, number, 1, 0] = -math.sqrt(1 - share**2)

    return change


def all_of(*changes):
    def change(model):
        for one in changes:
            one(model)

    return change


def trace_of(net, marks, snapshots, options=ONE):
    inputs = Inputs(marks, "train", net, torch.device("cpu"))
    (trace,) = follow(inputs, snapshots, snapshots.epochs, options, 0)
    return trace


# ----------------------------------------------------------------------------------------- epochs
@pytest.mark.parametrize(
    ("length", "columns"),
    [
        (70, (*PAPER, 70)),
        (10, (1, 2, 3, 5, 6, 10)),
        (20, (1, 2, 3, 6, 9, 12, 19, 20)),
        (2, (1, 2)),
        (1, (1,)),
    ],
)
def test_the_papers_epochs_are_scaled_to_the_run(length, columns):
    assert scaled_epochs(range(1, length + 1), PAPER, 70) == columns


def test_the_nearest_snapshot_kept_is_shown_and_the_last_always():
    assert scaled_epochs((4, 8, 10), PAPER, 70) == (4, 10)
    assert scaled_epochs((4, 7, 10), PAPER, 70) == (4, 7, 10)
    assert scaled_epochs((2, 7), (1, 70), 70) == (2, 7)


def test_long_runs_are_measured_at_evenly_spaced_epochs_and_the_columns():
    kept = tuple(range(1, 71))
    assert measured_epochs(kept, (1, 2, 70), 70) == kept
    assert measured_epochs(kept, (1, 2, 70), 4) == (1, 2, 24, 47, 70)


def test_snapshots_are_read_and_faults_named(tmp_path):
    assert Snapshots.open(tmp_path / "none").epochs == ()
    (tmp_path / "epochs.json").write_text('{"kept": [2, 1]}')
    with pytest.raises(UserError, match=r"epoch_001\.pt: missing"):
        Snapshots.open(tmp_path)
    for epoch in (1, 2):
        (tmp_path / f"epoch_{epoch:03d}.pt").touch()
    assert Snapshots.open(tmp_path).epochs == (1, 2)
    for damaged in ("{", "[]", "{}", '{"kept": ["x"]}'):
        (tmp_path / "epochs.json").write_text(damaged)
        with pytest.raises(UserError, match=r"epochs\.json: damaged"):
            Snapshots.open(tmp_path)


# ------------------------------------------------------------------------------------- similarity
def test_cosine_is_that_of_the_pixels_and_of_no_contrast():
    a = torch.tensor([3.0, 4.0, 0.0]).view(1, 3, 1, 1)
    b = torch.tensor([4.0, 3.0, 0.0]).view(1, 3, 1, 1)
    assert cosine(a, b).item() == pytest.approx(24 / 25)
    assert cosine(100 * a, b / 100).item() == pytest.approx(24 / 25)
    assert cosine(a, -a).item() == pytest.approx(-1)
    assert cosine(a, torch.zeros_like(a)).item() == 0
    assert cosine(torch.zeros_like(a), torch.zeros_like(a)).item() == 0


def test_shifts_are_forgiven_up_to_the_limit_and_nothing_comes_round():
    torch.manual_seed(0)
    a = torch.zeros(2, 3, 9, 8)
    a[:, :, 3:6, 2:5] = torch.randn(2, 3, 3, 3)
    for dy, dx in ((2, 0), (0, -2), (-2, 2), (1, -1)):
        b = a.roll((dy, dx), (2, 3))
        assert shifted_cosine(a, b, 2).tolist() == pytest.approx([1, 1], abs=1e-5)
        assert shifted_cosine(b, a, 2).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (shifted_cosine(a, a.roll(2, 3), 1) < 0.9).all()
    assert torch.equal(shifted_cosine(a, b, 0), cosine(a, b))
    left, right = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    left[..., 0], right[..., 7] = 1, 1
    assert shifted_cosine(left, right, 4).item() == pytest.approx(0, abs=1e-6)
    assert shifted_cosine(left, torch.zeros_like(left), 2).item() == 0


def test_windows_reach_beyond_the_image_as_zeros():
    image = torch.arange(16.0).view(1, 1, 4, 4).repeat(3, 1, 1, 1)
    windows = cut_windows(image, [(-1, -1), (1, 2), (5, 0)], (3, 3))
    assert windows[0, 0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 4, 5]]
    assert windows[1, 0].tolist() == [[6, 7, 0], [10, 11, 0], [14, 15, 0]]
    assert (windows[2] == 0).all()


def test_settled_is_from_where_it_stays():
    similarity = np.array(
        [
            [0.9, 0.9, 0.9, 1.0],  # from the first
            [0.1, 0.8, 0.9, 1.0],
            [0.9, 0.1, 0.9, 1.0],  # was similar before, fell back
            [0.9, 0.9, 0.6, 1.0],  # not before the last
            [0.1, 0.1, 0.7, 0.9],  # the last is what it is compared with
        ]
    )
    assert settled_index(similarity, 0.7).tolist() == [0, 1, 2, 3, 2]
    assert settled_index(similarity, 0.95).tolist() == [3, 3, 3, 3, 3]
    assert settled_index(similarity, 0.05).tolist() == [0, 0, 0, 0, 0]


# -------------------------------------------------------------------------------------- following
def test_similarities_are_the_filters_and_maps_settle_where_they_must(marks, probe, keep):
    """A first layer's projection is its filter: cosines are those chosen here."""
    snapshots = keep(
        probe,
        [
            all_of(turned(0, 1.0), turned(1, 0.6), turned(2, 0.5)),
            turned(1, 0.8),
            turned(1, 1.0),
            turned(2, 1.0),
        ],
    )
    trace = trace_of(probe, marks, snapshots)
    assert trace.live.tolist() == [True, True, True, False]
    expected = [[1, 1, 1, 1], [0.6, 0.8, 1, 1], [0.5, 0.5, 0.5, 1]]
    assert trace.fixed[:3] == pytest.approx(np.array(expected))
    assert np.isnan(trace.fixed[3]).all()
    assert trace.own[:3] == pytest.approx(np.array(expected))  # no other image, no shift
    assert trace.changed[:3].tolist() == [[0, 0, 0]] * 3
    assert np.isnan(trace.changed[3]).all()
    rule = rules(ONE)[0]
    assert rule.epochs(trace, snapshots.epochs).tolist() == [1, 2, 4]
    metrics = study(Inputs(marks, "train", probe), snapshots, ONE).metrics
    assert metrics["layer1_settled"].value == 2
    assert metrics["layer1_settled"].n == 3
    assert metrics["layer1_settled_share"].value == 0.5
    assert metrics["layer1_unsettled"].value == pytest.approx(1 / 3)
    assert 0 < metrics["layer1_unsettled"].low < 1 / 3 < metrics["layer1_unsettled"].high < 1
    assert metrics["layer1_dead_maps"].value == 1
    assert metrics["layer1_image_changes"].value == 0
    assert metrics["layer1_floor"].value == pytest.approx(0, abs=1e-6)  # three colours


def test_another_image_alone_unsettles_nothing(marks, probe, keep):
    """Map 0 sees red and green; the image that it likes best goes from green to red."""

    def likes(red, green):
        def change(model):
            model.conv.weight[0].zero_()
            model.conv.weight[0, 0, 1, 1], model.conv.weight[0, 1, 1, 1] = red, green

        return change

    snapshots = keep(probe, [likes(0.9, 1.0), likes(1.0, 0.9)])
    trace = trace_of(probe, marks, snapshots)
    assert trace.rows[0].tolist() == [28, 27]
    assert trace.changed[0].tolist() == [1]
    assert trace.fixed[0, 0] == pytest.approx(1.8 / 1.81)
    result = study(Inputs(marks, "train", probe), snapshots, ONE)
    assert result.metrics["layer1_image_changes"].value == pytest.approx(1 / 3)
    assert result.metrics["layer1_settled"].value == 1


def test_a_map_silent_at_the_final_image_is_not_similar_there(marks, probe, keep):
    """Map 0 saw green first: the red image's projection is empty, the green one's another."""

    def green(model):
        model.conv.weight[0].zero_()
        model.conv.weight[0, 1, 1, 1] = 1

    trace = trace_of(probe, marks, keep(probe, [green, turned(0, 1.0)]))
    assert trace.rows[0].tolist() == [28, 27]
    assert trace.fixed[0].tolist() == [0, 1]
    assert trace.own[0, 0] == pytest.approx(0, abs=1e-6)


def test_a_map_dead_at_first_has_no_change_of_image_but_settles_later(marks, probe, keep):
    def dead(model):
        model.conv.bias[0] = -1000.0

    def born(model):
        model.conv.bias[0] = 0.0

    trace = trace_of(probe, marks, keep(probe, [dead, born, born]))
    assert trace.values[0, 0] == 0
    assert np.isnan(trace.changed[0, 0])
    assert trace.changed[0, 1] == 0
    assert trace.fixed[0] == pytest.approx(np.array([0, 1, 1]))
    assert rules(ONE)[0].index(trace)[0] == 1
    assert (trace.tiles[0, 1] == 128).all()
    assert not (trace.tiles[0, 2] == 128).all()


def test_the_floor_is_the_likeness_of_another_map_at_the_same_place(marks, probe, keep):
    """All maps alike: 1. Silent ones count with the picture that they would give."""

    def alike(model):
        model.conv.weight[:] = model.conv.weight[0].clone()
        model.conv.bias[:] = torch.tensor([0.0, -60.0, -80.0, 0.0])

    trace = trace_of(probe, marks, keep(probe, [alike, alike]))
    assert trace.live.all()
    assert trace.floor == pytest.approx(np.ones(4))
    above = rules(ONE)[-2]
    assert above.above_floor
    assert above.index(trace).tolist() == settled_index(trace.fixed, 1.0).tolist()


def test_a_subset_of_maps_is_seeded_and_drawn_maps_are_of_it(marks, probe, keep):
    snapshots = keep(probe, [turned(0, 1.0), turned(1, 1.0)])
    options = replace(ONE, max_maps=2, figure_maps=1)
    inputs = Inputs(marks, "train", probe, torch.device("cpu"))
    found = [follow(inputs, snapshots, (1, 2), options, seed)[0] for seed in (0, 0, 1, 2, 3)]
    assert found[0].maps.tolist() == found[1].maps.tolist()
    assert len({tuple(trace.maps) for trace in found}) > 1
    assert all(set(trace.shown) <= set(trace.maps) for trace in found)
    whole = follow(inputs, snapshots, (1, 2), ONE, 0)[0]
    assert np.array_equal(found[0].fixed, whole.fixed[found[0].maps], equal_nan=True)
    active = replace(ONE, choose="active", figure_maps=9)
    assert follow(inputs, snapshots, (1, 2), active, 0)[0].shown == (0, 1, 2)


def test_the_weights_come_back_also_after_a_fault(marks, probe, keep):
    snapshots = keep(probe, [turned(0, 0.6), turned(0, 1.0)])
    with torch.no_grad():
        turned(0, 0.3)(probe.model)
    before = probe.model.conv.weight.clone()
    inputs = Inputs(marks, "train", probe)
    study(inputs, snapshots, ONE)
    assert torch.equal(probe.model.conv.weight, before)
    snapshots.file(1).unlink()
    with pytest.raises(UserError, match=r"epoch_001\.pt"):
        study(inputs, snapshots, ONE)
    assert torch.equal(probe.model.conv.weight, before)


def test_small_batches_change_nothing(marks, deeper, keep):
    def moved(model):
        model[2].weight.add_(0.05 * torch.randn_like(model[2].weight))

    snapshots = keep(deeper, [moved, moved, moved])
    inputs = Inputs(marks, "train", deeper)
    two = Options(layers=(1, 2), figure_maps=2, lower=(1,), upper=(2,))
    big = follow(inputs, snapshots, (1, 2, 3), two, 0)
    small = follow(inputs, snapshots, (1, 2, 3), replace(two, batch_size=3), 0)
    for a, b in zip(big, small, strict=True):
        for name in ("fixed", "own", "values", "floor"):
            assert getattr(b, name) == pytest.approx(getattr(a, name), abs=1e-5, nan_ok=True)
        assert a.tiles.keys() == {(m, e) for m in a.maps for e in (1, 2, 3)} == a.scales.keys()
    # the first layer's filters never moved, the second's did
    assert big[0].fixed == pytest.approx(np.ones((4, 3)), abs=1e-5)
    assert (big[1].fixed[big[1].live, 0] < 0.9999).all()


def test_kept_pictures_are_each_epochs_own_projections_in_their_windows(marks, probe, keep):
    """The picture times its scale is the projection of that epoch's net, from its own place."""
    snapshots = keep(probe, [turned(0, 0.5), turned(0, 1.0)])
    inputs = Inputs(marks, "train", probe)
    (trace,) = follow(inputs, snapshots, (1, 2), ONE, 0)
    assert trace.pictured == (0, 1, 2, 3)
    for e, epoch in enumerate((1, 2)):
        load_weights(probe.model, snapshots.file(epoch))
        for m in range(3):
            place = torch.from_numpy(trace.places[m : m + 1, e])
            image = inputs.batch(trace.rows[m : m + 1, e])
            down = deconvnet(probe.model, image, "relu", m, places=place)[0].permute(1, 2, 0)
            y, x = field_corners(trace, np.array([m]), e, 16)[0].tolist()
            part = down[y : y + 3, x : x + 3].numpy()
            picture = (trace.tiles[m, epoch].astype(float) - 128) / 127 * trace.scales[m, epoch]
            # what passes the quantile saturates
            limit = trace.scales[m, epoch]
            assert picture == pytest.approx(np.clip(part, -limit, limit), abs=limit / 250)
    assert (trace.tiles[3, 2] == 128).all()  # dead
    assert trace.scales[3, 2] == 0


def test_too_many_pictures_are_not_kept(marks, probe, keep, monkeypatch):
    snapshots = keep(probe, [turned(0, 0.5), turned(0, 1.0)])
    inputs = Inputs(marks, "train", probe)
    options = replace(ONE, figure_maps=2)
    size = 4 * 2 * 3 * 3 * 3  # maps, epochs, field, colours
    for limit, count in ((size, 4), (size - 1, 2)):
        monkeypatch.setattr(settling, "KEPT_BYTES", limit)
        result = study(inputs, snapshots, options)
        assert len(result.arrays["layer1_pictured"]) == count
        assert len(list(result.arrays["layer1_projections"])) == count
        assert result.arrays["layer1_fixed"].shape == (4, 2)


# ------------------------------------------------------------------------------------- statistics
def test_difference_of_layers_weighs_layers_the_same_and_has_a_sign():
    ones, fives = np.ones(10), np.full(40, 5.0)
    later = difference([ones, ones[:3]], [fives], 0)
    assert (later.value, later.low, later.high, later.n) == (4, 4, 4, 53)
    assert difference([fives], [ones], 0).value == -4
    assert difference([np.array([1.0]), np.array([3.0] * 9)], [np.array([2.0, 2.0])], 0).value == 0
    rng = np.random.default_rng(0)
    same = difference([rng.normal(5, 1, 50)], [rng.normal(5, 1, 50)], 0)
    assert same.low < 0 < same.high
    assert math.isnan(difference([ones], [np.zeros(0)], 0).value)
    assert difference([ones], [], 0).low is None


def test_median_with_its_interval():
    told = bootstrap_median(np.array([1.0] * 10 + [9.0] * 30), 0, note="x")
    assert (told.value, told.high, told.n) == (9, 9, 40)
    assert bootstrap_median(np.array([3.0]), 0, note="x").low is None
    assert math.isnan(bootstrap_median(np.zeros(0), 0, note="x").value)


def made(net, number, similarity):
    """A trace whose live maps have these similarities (C, E)."""
    similarity = np.array(similarity, float)
    count, epochs = similarity.shape
    return Trace(
        number, str(number), receptive_field(net.model, "1", 16), count, np.arange(count),
        np.ones((count, epochs), np.float32), np.zeros((count, epochs), np.int64),
        np.zeros((count, epochs, 2), np.int64), similarity, similarity, np.zeros(count),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lower", "upper", "said", "sign"),
    [
        ([[1, 1, 1, 1]] * 6, [[0, 0, 1, 1]] * 6, "later than the lower ones, as the paper says", 1),
        ([[0, 0, 1, 1]] * 6, [[1, 1, 1, 1]] * 6, "earlier than the lower ones, against", -1),
        ([[0, 1, 1, 1], [0, 0, 1, 1]] * 3, [[0, 1, 1, 1], [0, 0, 1, 1]] * 3, "neither", 0),
    ],
)
def test_the_finding_goes_with_the_numbers(marks, deeper, monkeypatch, lower, upper, said, sign):
    traces = [made(deeper, 1, lower), made(deeper, 2, upper)]
    monkeypatch.setattr(evolution, "follow", lambda *given: traces)
    options = Options(layers=(1, 2), lower=(1,), upper=(2,))
    snapshots = Snapshots(None, (1, 2, 3, 4))
    result = study(Inputs(marks, "train", deeper), snapshots, options)
    assert said in result.text
    assert np.sign(result.metrics["upper_minus_lower"].value) == sign
    assert result.metrics["upper_minus_lower_share"].value == pytest.approx(
        result.metrics["upper_minus_lower"].value / 4
    )
    table = result.tables["sensitivity"]
    assert [row[0].split(",")[0] for row in table.rows] == [
        "last epoch's image"] * 4 + ["each epoch's own image"]  # fmt: skip
    assert table.rows[0][3] == result.metrics["upper_minus_lower"].value
    assert len(result.text.split("\n\n")) == 3
    all_of_them = {1: "the intervals all above 0", -1: "all below 0", 0: "all holding 0"}[sign]
    assert all_of_them in result.text


def test_choices_that_disagree_are_told():
    rows = [["a", 1, 2, 1, 0.5, 1.5], ["b", 1, 2, 1, 0.5, 1.5], ["c", 2, 1, -1, -2, 0.5]]
    columns = ["", "", "", "", "", ""]
    said = evolution._robust(Table(columns, rows))
    assert "-1.00 and +1.00 epochs, the intervals not all on one side of 0" in said
    assert evolution._robust(Table(columns, [*rows[:1], ["c", 2, 1, None, None, None]])) == ""


def test_censoring_is_told(marks, deeper, monkeypatch):
    """Half of the maps or more settled at neither end have no median but a bound."""
    traces = [made(deeper, 1, [[1, 1, 1]] * 4), made(deeper, 2, [[0, 0, 1]] * 3 + [[0, 1, 1]])]
    monkeypatch.setattr(evolution, "follow", lambda *given: traces)
    options = Options(layers=(1, 2), lower=(1,), upper=(2,))
    inputs = Inputs(marks, "train", deeper)
    metrics = study(inputs, Snapshots(None, (1, 2, 3)), options).metrics
    assert "at most this" in metrics["layer1_settled"].note
    assert "at least" not in metrics["layer1_settled"].note
    assert "at least this" in metrics["layer2_settled"].note
    assert metrics["layer2_unsettled"].value == 0.75
    assert metrics["layer1_unsettled"].value == 0


# ----------------------------------------------------------------------------------------- result
def test_without_snapshots_it_says_so_and_is_a_result(marks, probe, keep, tmp_path):
    inputs = Inputs(marks, "train", probe)
    none = study(inputs, Snapshots(tmp_path, ()), ONE)
    assert "no snapshots of its training were kept" in none.text
    assert none.metrics == {}
    save_result(none, tmp_path / "none", tmp_path / "none.json")
    assert load_result(tmp_path / "none")["figures"] == []
    assert json.loads((tmp_path / "none.json").read_text()) == {}
    probe.provenance = {"adopted": "yes"}
    assert "weights were adopted" in study(inputs, Snapshots(tmp_path, ()), ONE).text
    probe.provenance = {}
    assert "one snapshot alone" in study(inputs, keep(probe, [turned(0, 1.0)]), ONE).text


def test_a_net_whose_maps_are_all_dead_is_told_and_saved(marks, probe, keep, tmp_path):
    def dead(model):
        model.conv.bias[:] = -1000.0

    snapshots = keep(probe, [turned(0, 1.0), dead])
    result = study(Inputs(marks, "train", probe), snapshots, ONE)
    save_result(result, tmp_path / "out", tmp_path / "out.json")
    told = load_result(tmp_path / "out")["metrics"]
    assert told["layer1_dead_maps"]["value"] == 4
    assert told["layer1_settled"]["value"] is None
    assert "unknown" in result.text


def test_result_is_whole_and_its_bytes_repeat(marks, probe, keep, tmp_path):
    snapshots = keep(probe, [turned(0, 0.5), turned(0, 0.8), turned(1, 1.0), turned(2, 1.0)])
    for name in ("one", "two"):
        result = study(Inputs(marks, "train", probe), snapshots, ONE, seed=1)
        save_result(result, tmp_path / name, tmp_path / f"{name}.json")
    told = load_result(tmp_path / "one")
    assert told["paper"] == "Fig. 4"
    assert [figure["name"] for figure in told["figures"]] == ["evolution", "settling"]
    assert all(figure["alt"] and figure["caption"] for figure in told["figures"])
    assert set(told["tables"]) == {"layers", "sensitivity", "steps", "maps"}
    assert told["arrays"]["layer1_fixed"]["shape"] == [4, 4]
    assert told["arrays"]["layer1_projections"]["shape"] == [4, 4, 3, 3, 3]
    assert told["arrays"]["layer1_scales"]["shape"] == [4, 4]
    assert all(value["note"] or value["low"] is not None for value in told["metrics"].values())
    assert "cannot be compared" in told["text"]  # no upper layer was asked for
    files = [p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*")]
    assert len(files) > 10
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_wide_fields_are_marked(marks, deeper, keep):
    snapshots = keep(deeper, [lambda model: None] * 2)
    options = Options(layers=(1, 2), lower=(1,), upper=(2,))
    inputs = Inputs(marks, "train", deeper)
    assert study(inputs, snapshots, options).extra["beyond_field_limit"] == []
    evolution_limit = evolution.FIELD_LIMIT
    try:
        evolution.FIELD_LIMIT = 4 / 16  # fields of 3 and 5 px in 16
        result = study(inputs, snapshots, options)
    finally:
        evolution.FIELD_LIMIT = evolution_limit
    assert result.extra["beyond_field_limit"] == [2]
    assert "beyond" in result.metrics["layer2_settled"].note
    assert "beyond" not in result.metrics["layer1_settled"].note
    assert "layers 2 pass" in result.metrics["upper_minus_lower"].note
    assert "receptive fields of layers 2" in result.text


def test_jumps_are_marked_between_the_columns_drawn(marks, probe):
    trace = Trace(
        1, "relu", receptive_field(probe.model, "relu", 16), 4, np.array([2]),
        np.array([[1, 1, 0, 1, 1]], np.float32), np.array([[5, 6, 6, 6, 5]]),
        np.zeros((1, 5, 2), np.int64), np.ones((1, 5)), np.ones((1, 5)), np.zeros(1), (2,),
        {(2, e): np.zeros((3, 3, 3), np.uint8) for e in range(1, 6)},
    )  # fmt: skip
    every = Run((1, 2, 3, 4, 5), (1, 2, 3, 4, 5), 5, (trace,))
    assert evolution._track(trace, 2, every, 1).jumps == [False, True, False, False, True]
    assert evolution._track(trace, 2, every, 1).settled == [False, True, True, True, True]
    few = replace(every, columns=(1, 4, 5))
    assert evolution._track(trace, 2, few, 2).jumps == [False, True, True]
    assert evolution._track(trace, 2, few, 2).settled == [False, True, True]
    assert evolution._track(trace, 2, few, 4).settled == [False] * 3  # not before the last
    assert evolution._track(trace, 2, few, None).settled == [False] * 3


def test_faulty_options_are_named():
    for wrong, message in (
        ({"choose": "best"}, "study.evolution.choose=best"),
        ({"measure": "both"}, "study.evolution.measure=both"),
        ({"lrn": "none"}, "study.evolution.lrn=none"),
        ({"max_images": -1}, "study.evolution.max_images=-1"),
        ({"max_epochs": 0}, "study.evolution.max_epochs=0"),
        ({"threshold": 1.0}, "threshold 1.0"),
        ({"thresholds": (0.5, 0.0)}, "threshold 0.0"),
        ({"shift": 0.6}, "study.evolution.shift=0.6"),
        ({"layers": ()}, "study.evolution.layers"),
        ({"paper_epochs": (0, 1)}, "study.evolution.paper_epochs"),
    ):
        with pytest.raises(UserError, match=message):
            Options(**wrong)


def test_the_config_holds_the_defaults(root):
    section = yaml.safe_load((root / "conf/study/evolution.yaml").read_text())
    assert list(section) == [entry.name for entry in fields(Options)]
    assert Options.read(SimpleNamespace(**section)) == Options()


def test_the_stage_reads_only_what_it_declares(marks, probe, keep, root, tmp_path, monkeypatch):
    from zfnet.pipeline.compose import StageConfig
    from zfnet.studies import base as inputs

    keep(probe, [turned(0, 0.5), turned(0, 1.0)])
    section = yaml.safe_load((root / "conf/study/evolution.yaml").read_text())
    section |= {"layers": [1], "batch_size": 8}
    whole = {"seed": 7, "device": "cpu", "data": {}, "study": {"evolution": section}}
    monkeypatch.setattr(inputs, "load_net", lambda folder: probe)
    monkeypatch.setattr(inputs.Prepared, "open", lambda folder: marks)
    cfg = StageConfig(whole, ["study.evolution", "seed", "device"], "evolution")
    net = tmp_path / "models" / "zfnet" / "final"
    result = evolution.run(cfg, SimpleNamespace(net=net, prepared=tmp_path))
    assert result.seed == 7
    assert result.extra["epochs"] == [1, 2]
    assert evolution.run(cfg, SimpleNamespace(net=tmp_path, prepared=tmp_path)).metrics == {}
