import copy
import json
import math

import numpy as np
import pytest
import torch
from answered import read_back

from zfnet.data.signed import ZERO, signed_scale, signed_to_rgb
from zfnet.errors import UserError
from zfnet.methods.gradients import deconvnet
from zfnet.methods.receptive_field import receptive_field
from zfnet.models import checkpoint
from zfnet.models.checkpoint import load_weights, save_weights
from zfnet.pipeline.paths import Paths
from zfnet.pipeline.studies import Evolution
from zfnet.report.study import est
from zfnet.studies import base, convergence, evolution
from zfnet.studies.base import Inputs
from zfnet.studies.convergence import (
    CONTRAST,
    Trace,
    convergence_index,
    cosine,
    follow,
    read_snapshots,
    shifted_cosine,
)
from zfnet.studies.evolution import (
    CHOSEN,
    PAPER_EPOCHS,
    RULES,
    difference,
    measure,
    scaled_epochs,
)

ONE = Evolution(layers=(1,), figure_maps=4, max_maps=0, device="cpu")
TWO = ONE.model_copy(update={"layers": (1, 2)})


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
        return read_snapshots(folder)

    return written


@pytest.fixture
def two_sides(monkeypatch):
    """Layer 1 is the lower side, layer 2 the upper one."""
    monkeypatch.setattr(evolution, "LOWER", (1,))
    monkeypatch.setattr(evolution, "UPPER", (2,))


def turned(*shares):
    """Make filter i, of colour i, one whose cosine with [1, 0] is the share; None leaves it.

    Its weights: the share in the centre, the rest negative at the left, so that the place stays.
    """

    def change(model):
        for number, share in enumerate(shares):
            if share is not None:
                model.conv.weight[number].zero_()
                model.conv.weight[number, number, 1, 1] = share
                model.conv.weight[number, number, 1, 0] = -math.sqrt(1 - share**2)

    return change


def silent(model):
    """No map of the net is ever active."""
    model.conv.bias[:3] = -1000.0


def inputs_of(marks, net):
    return Inputs(marks, "train", net, torch.device("cpu"))


def zeros(net):
    """First weights whose projections are empty, and so similar to nothing."""
    return {key: torch.zeros_like(value) for key, value in net.model.state_dict().items()}


def trace_of(net, marks, snapshots, cfg=ONE):
    (trace,) = follow(inputs_of(marks, net), zeros(net), snapshots, cfg)
    return trace


@pytest.mark.parametrize(
    ("length", "columns"),
    [
        (70, (*PAPER_EPOCHS, 70)),
        (10, (1, 2, 3, 5, 6, 10)),
        (2, (1, 2)),
        (1, (1,)),
    ],
)
def test_the_papers_epochs_are_scaled_to_the_run(length, columns):
    assert scaled_epochs(range(1, length + 1)) == columns
    assert scaled_epochs((4, 8, 10)) == (4, 10)  # the nearest ones kept, and the last


def test_long_runs_are_measured_at_evenly_spaced_epochs_and_the_columns(monkeypatch):
    kept = tuple(range(1, 71))
    assert convergence.measured_epochs(kept[:24], (1, 2, 24)) == kept[:24]
    monkeypatch.setattr(convergence, "MAX_EPOCHS", 4)
    assert convergence.measured_epochs(kept, (1, 2, 70)) == (1, 2, 24, 47, 70)


def test_snapshots_are_read_and_faults_named(tmp_path):
    assert read_snapshots(tmp_path / "none") == {}
    (tmp_path / "epochs.json").write_text('{"kept": [2, 1]}')
    with pytest.raises(UserError, match=r"epoch_001\.pt: missing"):
        read_snapshots(tmp_path)
    for epoch in (1, 2):
        (tmp_path / f"epoch_{epoch:03d}.pt").touch()
    assert list(read_snapshots(tmp_path)) == [1, 2]
    for damaged in ("{", "[]", "{}", '{"kept": ["x"]}'):
        (tmp_path / "epochs.json").write_text(damaged)
        with pytest.raises(UserError, match=r"epochs\.json"):
            read_snapshots(tmp_path)


def test_cosine_is_that_of_the_pixels_and_of_no_contrast():
    a = torch.tensor([3.0, 4.0, 0.0]).view(1, 3, 1, 1)
    b = torch.tensor([4.0, 3.0, 0.0]).view(1, 3, 1, 1)
    assert cosine(a, b).item() == pytest.approx(24 / 25)
    assert cosine(100 * a, -b / 100).item() == pytest.approx(-24 / 25)
    assert cosine(torch.zeros_like(a), torch.zeros_like(a)).item() == 0


def test_shifts_are_allowed_up_to_the_limit_and_nothing_comes_round():
    torch.manual_seed(0)
    a = torch.zeros(2, 3, 9, 8)
    a[:, :, 3:6, 2:5] = torch.randn(2, 3, 3, 3)
    for dy, dx in ((2, 0), (0, -2), (-2, 2), (1, -1)):
        b = a.roll((dy, dx), (2, 3))
        assert shifted_cosine(a, b, 2).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (shifted_cosine(a, a.roll(2, 3), 1) < 0.9).all()
    assert torch.equal(shifted_cosine(a, b, 0), cosine(a, b))
    left, right = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    left[..., 0], right[..., 7] = 1, 1
    assert shifted_cosine(left, right, 4).item() == pytest.approx(0, abs=1e-6)


def test_a_map_has_converged_from_where_it_stays():
    similarity = np.array(
        [
            [0.9, 0.9, 0.9, 1.0],  # from the first
            [0.1, 0.8, 0.9, 1.0],
            [0.9, 0.1, 0.9, 1.0],  # was similar before, fell back
            [0.9, 0.9, 0.6, 1.0],  # not before the last
            [0.1, 0.1, 0.7, 0.9],  # the last is what it is compared with
        ]
    )
    assert convergence_index(similarity, np.full(5, 0.7)).tolist() == [0, 1, 2, 3, 2]
    assert convergence_index(similarity[:2], np.array([0.95, 0.85])).tolist() == [3, 2]


def test_similarities_are_the_filters_and_maps_settle_where_they_must(marks, probe, keep):
    """A first layer's projection is its filter: cosines are those chosen here."""
    same = None
    changes = [(1.0, 0.6, 0.5), (same, 0.8), (same, 1.0), (same, same, 1.0)]
    snapshots = keep(probe, [turned(*shares) for shares in changes])
    trace = trace_of(probe, marks, snapshots)
    assert trace.live.tolist() == [True, True, True, False]
    expected = [[1, 1, 1, 1], [0.6, 0.8, 1, 1], [0.5, 0.5, 0.5, 1]]
    assert trace.fixed[:3] == pytest.approx(np.array(expected))
    assert np.isnan(trace.fixed[3]).all()
    assert trace.own[:3] == pytest.approx(np.array(expected))  # no other image, no shift
    assert trace.changed[:3].tolist() == [[0, 0, 0]] * 3
    assert CHOSEN.epochs(trace).tolist() == [1, 2, 4]
    found = measure(inputs_of(marks, probe), zeros(probe), snapshots, ONE)
    e = found.estimates
    assert (e["layer1_left_start"].value, e["layer1_left_start"].n) == (1, 3)
    assert e["layer1_start"].value == 0
    assert (e["layer1_settled"].value, e["layer1_settled"].n) == (2, 3)
    assert e["layer1_settled"].covers == ("maps",)
    assert e["layer1_settled_share"].value == 0.5
    assert e["layer1_unsettled"].value == pytest.approx(1 / 3)
    assert 0 < e["layer1_unsettled"].low < 1 / 3 < e["layer1_unsettled"].high < 1
    assert e["layer1_dead_maps"].value == 1
    assert e["layer1_image_changes"].value == 0
    assert e["layer1_floor"].value == pytest.approx(0, abs=1e-6)  # three colours
    assert found.tables["maps"].column("settled") == [1, 2, 4, None]
    assert found.tables["maps"].column("before_end") == [True, True, False, None]
    steps = found.tables["steps"]
    assert steps.column("epoch") == [0, 1, 2, 3, 4]
    assert steps.column("settled") == pytest.approx([None, 1 / 3, 2 / 3, 2 / 3, 1])
    assert steps.column("fixed") == pytest.approx([0, 0.7, 2.3 / 3, 2.5 / 3, 1])
    assert steps.column("changed") == [None, None, 0, 0, 0]


def test_a_map_settles_by_its_way_from_the_start_and_one_that_never_left_it_has_no_epoch(
    marks, probe, keep
):
    """Of the first weights, filter 0 is nearly the last, 1 half way, 2 points elsewhere."""
    with torch.no_grad():
        turned(0.75, 0.5, -0.3)(probe.model)
    first = copy.deepcopy(probe.model.state_dict())
    first["conv.bias"][0] = -1000.0  # silence is no distance
    snapshots = keep(probe, [turned(0.9, 0.8, 0.8), turned(0.9, 0.9, 0.9), turned(1.0, 1.0, 1.0)])
    found = measure(inputs_of(marks, probe), first, snapshots, ONE)
    table, e = found.tables["maps"], found.estimates
    assert table.column("start") == pytest.approx([0.75, 0.5, -0.3, None], abs=1e-6)
    assert table.column("settled") == [None, 2, 1, None]  # from 0.5, 0.85 is wanted; from 0, 0.7
    assert (e["layer1_left_start"].value, e["layer1_left_start"].n) == (pytest.approx(2 / 3), 3)
    assert e["layer1_left_start"].covers == ("maps",)
    assert (e["layer1_settled"].value, e["layer1_settled"].n) == (1.5, 2)
    assert e["layer1_start"].value == pytest.approx(0.95 / 3)


def test_a_map_silent_at_the_final_image_is_not_similar_there(marks, probe, keep):
    """Map 0 saw green first: the red image's projection is empty, the green one's another."""

    def green(model):
        model.conv.weight[0].zero_()
        model.conv.weight[0, 1, 1, 1] = 1

    trace = trace_of(probe, marks, keep(probe, [green, turned(1.0)]))
    assert trace.rows[0].tolist() == [28, 27]
    assert trace.fixed[0].tolist() == [0, 1]
    assert trace.own[0, 0] == pytest.approx(0, abs=1e-6)


def test_a_map_dead_at_first_has_no_change_of_image_but_settles_later(marks, probe, keep):
    def born(model):
        model.conv.bias[:3] = 0.0

    trace = trace_of(probe, marks, keep(probe, [silent, born, born]))
    assert trace.values[0, 0] == 0
    assert np.isnan(trace.changed[0, 0])
    assert trace.changed[0, 1] == 0
    assert trace.fixed[0] == pytest.approx(np.array([0, 1, 1]))
    assert CHOSEN.epochs(trace)[0] == 2
    assert (trace.pictures[0, 0] == ZERO).all()


def test_the_floor_is_the_similarity_of_another_map_at_the_same_place(marks, probe, keep):
    """All maps alike: 1. Silent ones count with the picture that they would give."""

    def alike(model):
        model.conv.weight[:] = model.conv.weight[0].clone()
        model.conv.bias[:] = torch.tensor([0.0, -60.0, -80.0, 0.0])

    trace = trace_of(probe, marks, keep(probe, [alike, alike]))
    assert trace.live.all()
    assert trace.floor == pytest.approx(np.ones(4))
    trace.floor[:], trace.fixed[:, 0] = 0.5, 0.8  # a threshold of 0.7 counted from 0.5 is 0.85
    assert CHOSEN.epochs(trace).tolist() == [1, 1, 1, 1]
    assert RULES[-1].counted_from == "floor"
    assert RULES[-1].epochs(trace).tolist() == [2, 2, 2, 2]


def test_a_subset_of_maps_is_seeded_and_drawn_maps_are_of_it(marks, probe, keep):
    snapshots = keep(probe, [turned(1.0), turned(None, 1.0)])
    cfg = ONE.model_copy(update={"max_maps": 2, "figure_maps": 1})
    one, again, *others = (
        trace_of(probe, marks, snapshots, cfg.model_copy(update={"seed": seed}))
        for seed in (0, 0, 1, 2)
    )
    assert one.maps.tolist() == again.maps.tolist()
    assert any(trace.maps.tolist() != one.maps.tolist() for trace in others)
    assert len(one.shown) == 1
    assert one.shown[0] in one.maps
    whole = trace_of(probe, marks, snapshots)
    assert np.array_equal(one.fixed, whole.fixed[one.maps], equal_nan=True)


def test_the_weights_come_back_also_after_a_fault(marks, probe, keep):
    snapshots = keep(probe, [turned(0.6), turned(1.0)])
    with torch.no_grad():
        turned(0.3)(probe.model)
    before = probe.model.conv.weight.clone()
    measure(inputs_of(marks, probe), zeros(probe), snapshots, ONE)
    assert torch.equal(probe.model.conv.weight, before)
    snapshots[1].unlink()
    with pytest.raises(UserError, match=r"epoch_001\.pt"):
        measure(inputs_of(marks, probe), zeros(probe), snapshots, ONE)
    assert torch.equal(probe.model.conv.weight, before)


def test_small_batches_change_nothing(marks, deeper, keep, monkeypatch):
    def moved(model):
        model[2].weight.add_(0.05 * torch.randn_like(model[2].weight))

    snapshots = keep(deeper, [moved, moved, moved])
    first = {key: torch.randn_like(value) for key, value in deeper.model.state_dict().items()}
    big = follow(inputs_of(marks, deeper), first, snapshots, TWO)
    for module in (base, convergence):
        monkeypatch.setattr(module, "BATCH", 3)
    small = follow(inputs_of(marks, deeper), first, snapshots, TWO)
    for a, b in zip(big, small, strict=True):
        for name in ("fixed", "own", "values", "floor", "start"):
            assert getattr(b, name) == pytest.approx(getattr(a, name), abs=1e-5, nan_ok=True)
    # the first layer's filters never moved, the second's did
    assert big[0].fixed == pytest.approx(np.ones((4, 3)), abs=1e-5)
    assert (big[1].fixed[big[1].live, 0] < 0.9999).all()


def test_kept_pictures_are_each_epochs_own_projections(marks, probe, keep, monkeypatch):
    snapshots = keep(probe, [turned(0.5), turned(1.0)])
    inputs = inputs_of(marks, probe)
    (trace,) = follow(inputs, zeros(probe), snapshots, ONE)
    assert trace.pictured.tolist() == [0, 1, 2, 3]
    cfg = ONE.model_copy(update={"figure_maps": 2})
    for limit, count in ((216, 4), (215, 2)):  # 4 maps, 2 epochs, a field of 3 x 3, 3 colours
        monkeypatch.setattr(convergence, "KEPT_BYTES", limit)
        (less,) = follow(inputs, zeros(probe), snapshots, cfg)
        assert less.pictures.shape == (count, 2, 3, 3, 3)
    for e, file in enumerate(snapshots.values()):
        load_weights(probe.model, file)
        for m in range(3):
            place = torch.from_numpy(trace.places[m : m + 1, e])
            image = inputs.batch(trace.rows[m : m + 1, e])
            down = deconvnet(probe.model, image, "relu", m, places=place)[0].permute(1, 2, 0)
            y, x = trace.windows(trace.places[m, e]).corners
            part = down[y : y + 3, x : x + 3].numpy()
            picture = signed_to_rgb(part, signed_scale(part, CONTRAST)).astype(int)
            assert trace.pictures[m, e] == pytest.approx(picture, abs=1)


def test_difference_of_layers_weighs_layers_the_same_and_has_a_sign():
    ones, fives = np.ones(10), np.full(40, 5.0)
    later = difference([ones, ones[:3]], [fives], 0)
    assert (later.value, later.low, later.high, later.n) == (4, 4, 4, 53)
    assert later.covers == ("maps",)
    assert difference([fives], [ones], 0).value == -4
    assert difference([np.ones(1), np.full(9, 3.0)], [np.full(2, 2.0)], 0).value == 0
    assert math.isnan(difference([ones], [np.zeros(0)], 0).value)
    assert difference([ones], [], 0).low is None


def made(net, number, similarity, start=0.0):
    """A trace whose live maps have these similarities (C, E), and one before training."""
    similarity = np.array(similarity, float)
    count, epochs = similarity.shape
    reach = receptive_field(net.model, "1", 16)
    trace = Trace(number, str(number), reach, count, range(1, epochs + 1), ONE)
    trace.values[:] = 1
    trace.fixed[:] = trace.own[:] = similarity
    trace.start[:], trace.floor[:] = start, 0
    return trace


@pytest.mark.usefixtures("two_sides")
@pytest.mark.parametrize(
    ("lower", "upper", "sign"),
    [
        ([[1, 1, 1, 1]] * 6, [[0, 0, 1, 1]] * 6, 1),
        ([[0, 0, 1, 1]] * 6, [[1, 1, 1, 1]] * 6, -1),
    ],
)
def test_upper_and_lower_layers_are_compared_by_every_rule(
    marks, deeper, monkeypatch, lower, upper, sign
):
    traces = [made(deeper, 1, lower), made(deeper, 2, upper)]
    monkeypatch.setattr(evolution, "follow", lambda *given: traces)
    found = measure(inputs_of(marks, deeper), {}, dict.fromkeys((1, 2, 3, 4)), TWO)
    between = found.estimates["upper_minus_lower"]
    assert between.value == 2 * sign
    assert found.facts["left_out"] == []
    table = found.tables["sensitivity"]
    assert table.column("counted_from") == ["start"] * 3 + ["zero", "floor"]
    assert table.column("threshold") == [0.7, 0.5, 0.9, 0.7, 0.7]
    assert table.column("difference") == [between.value] * 5
    assert table.column("difference_low")[0] == between.low


LATE = [[0.1, 0.2, 0.8, 1.0]] * 6  # settles at epoch 3
ALIKE = [[0.75, 0.8, 0.95, 1.0]] * 6  # similar from the first, and from 0.6 as late as LATE


@pytest.mark.parametrize(
    ("first_layer", "out"),
    [([0.9] * 6, [1]), ([0.9] * 4 + [0.6] * 2, [1]), ([0.9] * 3 + [0.6] * 3, []), ([0.6] * 6, [])],
)
def test_a_first_layer_that_began_near_its_end_makes_no_upper_layer_later(
    marks, deeper, place, monkeypatch, first_layer, out
):
    """By the cosine alone it settles at epoch 1 and carries the comparison: 3 − (1 + 3) / 2."""
    traces = [made(deeper, 1, ALIKE, first_layer), *(made(deeper, n, LATE) for n in (2, 4, 5))]
    monkeypatch.setattr(evolution, "follow", lambda *given: traces)
    found = measure(inputs_of(marks, deeper), {}, dict.fromkeys((1, 2, 3, 4)), TWO)
    between = found.estimates["upper_minus_lower"]
    assert (between.value, between.low, between.high) == (0, 0, 0)
    assert found.tables["sensitivity"].column("difference")[3] == (0 if out else 1)
    assert found.facts["left_out"] == out
    assert ("without layer 1" in between.note) == bool(out)
    *_, words = read_back("evolution", found, place)
    assert ("Layer 1 took no part" in words) == bool(out)


def test_a_side_without_a_layer_that_left_its_start_is_not_compared(
    marks, deeper, place, monkeypatch
):
    traces = [made(deeper, n, ALIKE, 0.9) for n in (1, 2)] + [made(deeper, 5, LATE)]
    monkeypatch.setattr(evolution, "follow", lambda *given: traces)
    found = measure(inputs_of(marks, deeper), {}, dict.fromkeys((1, 2, 3, 4)), TWO)
    between = found.estimates["upper_minus_lower"]
    assert math.isnan(between.value)
    assert between.low is None
    assert "without layers 1 and 2" in between.note
    assert found.estimates["layer1_left_start"].value == 0
    assert math.isnan(found.estimates["layer1_settled"].value)
    *_, words = read_back("evolution", found, place)
    assert "cannot be compared" in words
    assert "took no part" not in words
    assert not {"None", "nan"} & set(words.replace(",", " ").split())


def test_the_stage_reads_the_snapshots_and_draws_the_first_weights_of_the_record(
    marks, probe, keep, place, monkeypatch
):
    drawn = []

    def draw(rebuild, init, seed):
        drawn.append((init, seed))
        return copy.deepcopy(probe.model)

    keep(probe, [turned(0.5), turned(1.0)])
    probe.provenance, probe.rebuild = {"training": {"init": "he"}, "seed": 3}, {"kind": "convnet"}
    monkeypatch.setattr(checkpoint, "draw_anew", draw)
    monkeypatch.setattr(base, "load_net", lambda folder: probe)
    monkeypatch.setattr(base.Prepared, "open", lambda folder: marks)
    paths = Paths.of(place, "evolution", "zfnet", place / "params.yaml", place)
    found = evolution.run(ONE, paths)
    assert (found.facts["epochs"], drawn) == ([1, 2], [("he", 3)])
    assert found.estimates["layer1_left_start"].value == 0  # what was drawn is the last net
    none = evolution.run(ONE, paths.of_training(1, (1, 2), first=False))
    assert (none.facts["measured"], none.estimates) == (False, {})
    results, module, words = read_back("evolution", none, place)
    assert (module.figures(results), module.tables(results)) == ([], {})
    assert "None" not in words


@pytest.mark.usefixtures("two_sides")
def test_a_measurement_is_drawn_and_told(marks, deeper, keep, place, monkeypatch):
    monkeypatch.setattr(evolution, "FIELD_LIMIT", 4 / 16)  # fields of 3 and 5 px in 16

    def other(model):
        model[2].weight.add_(0.05 * torch.randn_like(model[2].weight))

    snapshots = keep(deeper, [other] * 3)
    found = measure(inputs_of(marks, deeper), zeros(deeper), snapshots, TWO)
    assert found.facts["beyond_field_limit"] == [2]
    results, module, words = read_back("evolution", found, place)
    sheet, curves = module.figures(results)
    assert sheet.draw().width <= module.WIDTH
    assert len(curves.draw().axes) == 4
    for name, shown in module.tables(results).items():
        assert all(len(row) == len(shown.headings) for row in shown.rows(results.tables[name]))
    assert est(results["upper_minus_lower"], 2) in words
    assert not {"None", "nan"} & set(words.replace(",", " ").split())
