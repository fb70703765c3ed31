import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from zfnet.errors import UserError
from zfnet.models.net import Net, Normalise
from zfnet.studies import architecture
from zfnet.studies.architecture import (
    Options,
    Subject,
    _choices_text,
    arithmetic_mean,
    compared,
    counted,
    dominance,
    examine,
    first_convolution,
    limit_rule,
    measured,
    rate_difference,
    read_history,
    study,
)
from zfnet.studies.base import Inputs
from zfnet.studies.result import Table, load_result, save_result

PX = 64
OPTIONS = Options(batch_size=16, shown_maps=4, measured_maps=6, top_k=2)
ROW = {"epoch": "1", "filters_rescaled": "0", "largest_filter_rms": "0.05"}


class Images:
    """Twenty-four smooth coloured pictures, like a prepared set in memory."""

    def __init__(self):
        rng = np.random.default_rng(0)
        small = rng.uniform(0, 255, (24, 8, 8, 3))
        self._images = np.kron(small, np.ones((1, 8, 8, 1))).astype(np.uint8)
        self.labels = np.arange(24) % 3
        self.size = PX
        self.classes = [SimpleNamespace(index=i, id=c, name=c) for i, c in enumerate("abc")]
        self.boxes = None

    def __len__(self):
        return 24

    def split(self, name):
        return self

    def images(self, rows):
        return self._images[np.asarray(rows)]


def blob(px, spread):
    at = torch.arange(px) - (px - 1) / 2
    line = torch.exp(-(at**2) / (2 * spread**2))
    return line[:, None] * line[None, :]


def net_of(model, arch="made", taps=None, **more):
    return Net(
        model=model.eval(),
        input_px=PX,
        normalise=Normalise.mean_image(np.full((3, PX, PX), 100, np.float32), PX),
        classes=["a", "b", "c"],
        name=arch,
        arch=arch,
        taps=taps or {"1.conv": "0", "1.relu": "1", "2.conv": "2", "2.relu": "3"},
        **more,
    )


def two_layers(kernel, stride, spread, maps=8, second=6):
    """Blobs of random colour on a grid, then weighted means of their 5 x 5 neighbours."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, maps, kernel, stride), nn.ReLU(), nn.Conv2d(maps, second, 5), nn.ReLU()
    )
    with torch.no_grad():
        colours = torch.randn(maps, 3, 1, 1)
        colours /= colours.square().mean((1, 2, 3), keepdim=True).sqrt()
        model[0].weight.copy_(colours * blob(kernel, spread))
        model[0].bias.fill_(5.0)
        model[2].weight.copy_(torch.rand(second, maps, 1, 1) * blob(5, 3.0))
        model[2].bias.zero_()
    return model


def good_net():
    return net_of(two_layers(7, 2, spread=2.0), arch="zfnet")


def bad_net(dead=2, dominant=20.0):
    """Spikes on a 4 px grid with gaps between them; some dead, one dominating."""
    model = two_layers(11, 4, spread=0.5)
    with torch.no_grad():
        model[0].weight[:dead] *= 1e-4
        model[0].bias[:dead] = -1e6
        model[0].weight[-1] *= dominant
        model[2].bias[0] = -1e9
    return net_of(model, arch="alexnet")


@pytest.fixture(scope="module")
def images():
    return Images()


def subject(images, net, key, history=None):
    return Subject(key, Inputs(images, "val", net), history)


@pytest.fixture(scope="module")
def pair(images):
    return subject(images, good_net(), "zfnet", [ROW, ROW]), subject(images, bad_net(), "alexnet")


@pytest.fixture(scope="module")
def result(pair):
    return study(*pair, None, OPTIONS)


# ------------------------------------------------------------------- a bad net told from a good one
def test_dead_and_weak_filters_are_counted(result):
    values = {name: one.value for name, one in result.metrics.items()}
    assert (values["alexnet_layer1_never_active"], values["zfnet_layer1_never_active"]) == (2, 0)
    assert (values["alexnet_layer2_never_active"], values["zfnet_layer2_never_active"]) == (1, 0)
    assert (values["alexnet_layer1_weak"], values["zfnet_layer1_weak"]) == (2, 0)
    assert values["difference_layer1_never_active"] == -0.25
    assert result.extra["nets"]["alexnet"]["never_active"]["1"] == [0, 1]
    assert "2 of 8 maps of AlexNet are never active" in result.text


def test_a_dominating_filter_is_told(result):
    ours, theirs = (result.metrics[f"{key}_layer1_dominance"] for key in ("zfnet", "alexnet"))
    assert ours.value == pytest.approx(1.0, abs=1e-5)
    assert theirs.value == pytest.approx(20.0, rel=1e-4)
    assert result.metrics["difference_layer1_dominance"].value == pytest.approx(-19.0, rel=1e-4)


def test_spikes_are_of_high_and_blobs_of_low_frequency(result):
    metrics = result.metrics
    assert metrics["zfnet_layer1_low"].value > 0.8
    assert metrics["alexnet_layer1_high"].value > 0.5
    assert metrics["difference_layer1_low"].low > 0
    assert metrics["difference_layer1_high"].high < 0
    for key in ("zfnet", "alexnet"):
        total = sum(metrics[f"{key}_layer1_{band}"].value for band in ("low", "mid", "high"))
        assert total == pytest.approx(1.0)


def test_the_aliased_second_layer_is_told_from_the_clean_one(result):
    bad, good = (result.metrics[f"{key}_layer2_grid_excess"] for key in ("alexnet", "zfnet"))
    assert bad.value > 0.3
    assert abs(good.value) < 0.01
    assert result.metrics["alexnet_layer2_grid_ratio"].value > 10
    assert result.metrics["difference_layer2_grid_excess"].high < 0
    assert bad.n == 5  # the dead map has no projection


def test_it_is_the_gaps_that_alias_not_the_stride(images):
    """The same grid of 4 px under blobs that overlap leaves next to no trace."""
    smooth = subject(images, net_of(two_layers(11, 4, spread=3.0)), "smooth")
    bank = examine(smooth, OPTIONS, 0)
    assert bank.stride == (4, 4)
    _, excess = bank.second.trace(bank.stride, 1.0)
    assert float(np.abs(excess).max()) < 0.02


def test_every_number_has_an_interval_or_says_why_not(result):
    for name, one in result.metrics.items():
        assert (one.low is not None and one.high is not None) or one.note, name
        if one.low is not None and not math.isnan(one.value):
            assert one.low <= one.value + 1e-9, name
            assert one.value <= one.high + 1e-9, name


def test_findings_under_other_choices_are_listed(result):
    table = result.tables["sensitivity"]
    measures = [row[0] for row in table.rows]
    assert measures.count("layer 1: mid band") == 4
    grid = [row for row in table.rows if row[0] == "layer 2: energy at the grid"]
    assert [row[-1] for row in grid] == ["lower"] * 5
    row = next(row for row in table.rows if row[1] == "never above 0")
    assert row[2:5] == [0.0, 0.25, -0.25]


def test_findings_that_hang_on_a_choice_are_named():
    columns = ["measure", "finding"]
    firm = [["x", "lower"], ["x", "lower"], ["y", "not apart"], ["y", "not apart"]]
    assert "No finding changes" in _choices_text(Table(columns, firm))
    moved = _choices_text(Table(columns, [*firm, ["y", "higher"]]))
    assert "changes for y (1 of 2 other choices): it hangs" in moved


# ------------------------------------------------------------------------------------ the RMS limit
def trained(images, rows, limit=0.1, net=None):
    net = net or good_net()
    net.provenance = {"training": {"max_filter_rms": limit}}
    return subject(images, net, "zfnet", rows)


def test_where_the_limit_never_bound_nothing_is_said(images):
    rule = limit_rule(trained(images, [ROW, {**ROW, "largest_filter_rms": "0.0952"}]), None)
    assert rule.status == "never bound"
    assert "0.1 never bound in the 2 epochs of ZFNet (largest RMS of any filter: 0.0952)" in (
        rule.text
    )
    assert "the very same run" in rule.text


def test_where_it_bound_the_comparison_is_run_or_said_not_to_be(images, pair):
    bound = [ROW, {**ROW, "filters_rescaled": "1200"}]
    ours = trained(images, bound)
    assert limit_rule(ours, None).status == "not run"
    assert "1,200 times in 2 epochs" in limit_rule(ours, None).text
    free = subject(images, bad_net(dead=0, dominant=30.0), "zfnet_nolimit")
    assert limit_rule(ours, free).status == "compared"
    found = study(ours, pair[1], free, OPTIONS)
    assert found.metrics["unlimited_layer1_dominance"].value == pytest.approx(30, rel=1e-3)
    assert found.metrics["limit_layer1_dominance"].value == pytest.approx(-29, rel=1e-3)
    assert "zfnet_nolimit, trained without it" in found.text
    assert "Without it the strongest first-layer filter has 30 [" in found.text


def test_nets_without_a_limit_or_a_history_are_told(images):
    assert limit_rule(trained(images, [ROW], limit=None), None).status == "no limit"
    assert limit_rule(subject(images, good_net(), "zfnet"), None).status == "unknown"
    assert limit_rule(subject(images, good_net(), "zfnet", [{"epoch": "1"}]), None).status == (
        "unknown"
    )


def test_the_limit_has_no_value_but_a_reason_unless_it_was_compared(result, pair):
    free = subject(pair[1].inputs.split, bad_net(), "zfnet_nolimit")
    for found in (result, study(*pair, free, OPTIONS)):
        assert [name for name in found.metrics if "limit" in name] == ["limit_layer1_dominance"]
        one = found.metrics["limit_layer1_dominance"]
        assert math.isnan(one.value)
        assert one.low is None
        assert "never bound in the 2 epochs of ZFNet" in one.note
        assert not one.note.endswith(".")  # a part of a sentence where a verdict says it
        assert f"{one.note}." in found.text


# ------------------------------------------------------------------------------------- adopted nets
def test_a_net_of_stride_one_has_no_grid_and_says_so(images, pair):
    """As VGG: nothing is sampled, so that there are no frequencies of a grid."""
    plain = subject(images, net_of(two_layers(3, 1, spread=1.0), arch="vgg"), "zfnet")
    found = study(plain, pair[1], None, OPTIONS)
    ratio = found.metrics["zfnet_layer2_grid_ratio"]
    assert math.isnan(ratio.value)
    assert "stride of 1 px" in ratio.note
    assert "difference_layer2_grid_excess" not in found.metrics
    assert "not trained here" in found.text
    assert [figure.name for figure in found.figures] == [
        "panels", "frequencies", "strength", "aliasing",
    ]  # fmt: skip
    found.figures[-1].draw()


def test_layers_without_a_convolution_of_their_own_are_left_out(images):
    taps = {"1.relu": "1", "2.relu": "3"}
    bank = examine(subject(images, net_of(two_layers(7, 2, 2.0), taps=taps), "zfnet"), OPTIONS, 0)
    assert set(bank.rms) == {1}
    assert set(bank.peaks) == {1, 2}


def test_the_first_convolution_must_read_the_pixels():
    grey = net_of(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()))
    assert first_convolution(grey) is None
    assert first_convolution(net_of(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))) is None


def test_a_second_layer_that_never_fires_is_told(images, pair):
    model = two_layers(7, 2, 2.0)
    nn.init.constant_(model[2].bias, -1e9)
    found = study(subject(images, net_of(model), "zfnet"), pair[1], None, OPTIONS)
    assert found.metrics["zfnet_layer2_never_active"].value == 6
    assert "unknown in made, where no map of layer 2 is ever active" in found.text
    for figure in found.figures:
        figure.draw()


def test_fields_too_large_for_a_claim_are_marked(images, pair):
    model = nn.Sequential(*two_layers(7, 2, 2.0)[:2], nn.Conv2d(8, 6, 23), nn.ReLU())
    found = study(subject(images, net_of(model), "zfnet"), pair[1], None, OPTIONS)
    assert found.extra["nets"]["zfnet"]["field_too_large"]
    assert not found.extra["nets"]["alexnet"]["field_too_large"]
    assert "no claim" in found.metrics["zfnet_layer2_grid_excess"].note
    assert "no claim" in found.metrics["difference_layer2_grid_excess"].note
    assert "no claim" not in found.metrics["alexnet_layer2_grid_excess"].note


# --------------------------------------------------------------------------------------- statistics
def test_dominance_by_hand():
    assert dominance(np.array([1.0, 2.0, 3.0, 8.0])) == 3.2
    assert dominance(np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 6.0]])).tolist() == [1.0, 3.0]


def test_intervals_shrink_with_the_number_and_hold_the_truth():
    rng = np.random.default_rng(0)
    few, many = rng.normal(3, 1, 20), rng.normal(3, 1, 2000)
    a, b = measured(few, arithmetic_mean, 0), measured(many, arithmetic_mean, 0)
    assert a.low < 3 < a.high
    assert b.low < 3 < b.high
    assert b.high - b.low < (a.high - a.low) / 4
    assert measured(few, arithmetic_mean, 0) == a
    assert math.isnan(measured(np.array([1.0, math.nan]), arithmetic_mean, 0).value)


def test_differences_tell_equal_from_unequal():
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 1, 200), rng.normal(0, 1, 200)
    same, apart = compared(x, y, arithmetic_mean, 0), compared(x + 1, y, arithmetic_mean, 0)
    assert same.low < 0 < same.high
    assert apart.low > 0
    assert "not trainings" in apart.note


def test_rates_have_intervals_where_nothing_was_counted():
    none = counted(np.zeros(20, bool), "maps")
    assert (none.value, none.low) == (0, 0)
    assert 2 < none.high < 5  # Wilson: 0 of 20 still allows 16 %
    # Newcombe (1998), method 10, example (a): 56/70 - 48/80 is 0.2 [0.0524, 0.3339]
    found = rate_difference(np.arange(70) < 56, np.arange(80) < 48)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


# -------------------------------------------------------------------------------- options and stage
@pytest.mark.parametrize(
    "change",
    [
        {"bands": (0.3, 0.2)},
        {"bands": (0.1, 0.5)},
        {"alive": 1.0},
        {"weak": -0.1},
        {"top_k": 0},
        {"lrn": "none"},
        {"grid_radius": 0.0},
        {"baseline": "zfnet"},
        {"unlimited": "alexnet"},
    ],
)
def test_bad_options_are_named(change):
    with pytest.raises(UserError, match=next(iter(change))):
        replace(OPTIONS, **change)


def test_the_config_file_holds_the_defaults(root):
    import yaml

    section = yaml.safe_load((root / "conf/study/architecture.yaml").read_text(encoding="utf-8"))
    assert Options.read(SimpleNamespace(**section)) == Options()


def test_the_stage_reads_both_nets_and_the_third_where_it_is(tmp_path, monkeypatch, images):
    nets = {"zfnet": good_net(), "alexnet": bad_net(), "zfnet_nolimit": bad_net(dead=0)}
    monkeypatch.setattr(architecture, "load_net", lambda folder: nets[folder.parent.name])
    monkeypatch.setattr(architecture.Prepared, "open", lambda path: images)
    for name in nets:
        (tmp_path / name / "final").mkdir(parents=True)
        text = "epoch,filters_rescaled,largest_filter_rms\n1,7,0.1\n"
        (tmp_path / name / "final" / "history.csv").write_text(text, encoding="utf-8")
    section = SimpleNamespace(**{**vars(OPTIONS), "bands": list(OPTIONS.bands)})
    cfg = SimpleNamespace(study=SimpleNamespace(architecture=section), seed=0, device="cpu")
    paths = SimpleNamespace(
        prepared=tmp_path,
        net=tmp_path / "zfnet" / "final",
        folder_of=lambda name: tmp_path / name / "final",
    )
    found = architecture.run(cfg, paths)
    assert found.extra["limit"] == "not run"
    (tmp_path / "zfnet_nolimit" / "final" / "net.json").write_text("{}", encoding="utf-8")
    assert architecture.run(cfg, paths).extra["limit"] == "compared"


def test_no_history_is_no_error(tmp_path):
    assert read_history(tmp_path) is None
    (tmp_path / "history.csv").write_text("epoch,lr\n", encoding="utf-8")
    assert read_history(tmp_path) is None


def test_it_is_saved_whole_and_found_the_same_twice(pair, result, tmp_path):
    save_result(result, tmp_path / "a", tmp_path / "a.json")
    document = load_result(tmp_path / "a")
    assert [figure["name"] for figure in document["figures"]] == [
        "panels", "frequencies", "strength", "aliasing",
    ]  # fmt: skip
    assert all(figure["alt"] and figure["path"].is_file() for figure in document["figures"])
    again = study(*pair, None, OPTIONS)
    assert again.metrics == result.metrics
    assert again.tables == result.tables
    assert all(np.array_equal(again.arrays[name], result.arrays[name]) for name in result.arrays)
