import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from answered import read_back
from torch import nn

from zfnet.figures import architecture as telling
from zfnet.methods.filters import SMOOTH, relative_roughness, roughness
from zfnet.models.checkpoint import draw_anew
from zfnet.models.net import Net, Normalise
from zfnet.models.spec import build_spec
from zfnet.pipeline.studies import Architecture
from zfnet.report.study import est, page
from zfnet.stats.bootstrap import mean
from zfnet.studies import architecture
from zfnet.studies.architecture import (
    NOISE,
    BankSample,
    compared,
    dominance,
    examine,
    finding,
    first_weights,
    limit_of,
    log_mean,
    measure,
    noise,
)
from zfnet.studies.base import Inputs, first_filters

PX = 64
CFG = Architecture(measured_maps=6, device="cpu")
ROW = {"epoch": 1.0, "filters_rescaled": 0.0, "largest_filter_rms": 0.05}


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


def stripes_net():
    """Waves of 6 px: all energy in the middle band."""
    model = two_layers(7, 2, spread=2.0)
    with torch.no_grad():
        model[0].weight *= torch.cos(2 * math.pi * torch.arange(7) / 6)
    return net_of(model, arch="zfnet")


def noisy_net(arch="alexnet", dead=0):
    """Blobs whose place noise takes, as after a training that has hardly begun; some dead."""
    model = two_layers(7, 2, spread=2.0)
    with torch.no_grad():
        model[0].weight.copy_(torch.randn_like(model[0].weight))
        model[0].bias[:dead] = -1e6
    return net_of(model, arch=arch)


def bad_net(dead=2, dominant=20.0):
    """Spikes on a 4 px grid with gaps between them; some dead, one dominating."""
    model = two_layers(11, 4, spread=0.7)
    with torch.no_grad():
        model[0].weight[:dead] *= 1e-4
        model[0].bias[:dead] = -1e6
        model[0].weight[-1] *= dominant
        model[2].bias[0] = -1e9
    return net_of(model, arch="alexnet")


@pytest.fixture(scope="module")
def images(set_of):
    """Twenty-four smooth coloured pictures, like a prepared set in memory."""
    small = np.random.default_rng(0).uniform(0, 255, (24, 8, 8, 3))
    pictures = np.kron(small, np.ones((1, 8, 8, 1))).astype(np.uint8)
    return set_of(pictures, np.arange(24) % 3)


def nets_of(images, ours, theirs):
    return {"zfnet": Inputs(images, "val", ours), "alexnet": Inputs(images, "val", theirs)}


@pytest.fixture(scope="module")
def pair(images):
    return nets_of(images, good_net(), bad_net())


@pytest.fixture(scope="module")
def found(pair):
    return measure(pair, None, [ROW, ROW], CFG)


def test_dead_and_weak_filters_are_counted(found):
    e = found.estimates
    for name, bad in (("layer1_never_active", 2), ("layer2_never_active", 1), ("layer1_weak", 2)):
        assert (e[f"alexnet_{name}"].value, e[f"zfnet_{name}"].value) == (bad, 0)
        assert e[f"alexnet_{name}"].covers == ("maps",)
    assert e["difference_layer1_never_active"].value == -0.25


def test_a_dominating_filter_is_measured(found):
    ours, theirs = (found.estimates[f"{key}_layer1_dominance"] for key in ("zfnet", "alexnet"))
    assert ours.value == pytest.approx(1.0, abs=1e-5)
    assert theirs.value == pytest.approx(20.0, rel=1e-4)


def test_spikes_are_of_high_and_blobs_of_low_frequency(found):
    e = found.estimates
    assert e["zfnet_layer1_low"].value > 0.8
    assert e["alexnet_layer1_high"].value > 0.3 > 0.01 > e["zfnet_layer1_high"].value
    assert e["difference_layer1_low"].low > 0
    for key in ("zfnet", "alexnet"):
        total = sum(e[f"{key}_layer1_{band}"].value for band in ("low", "mid", "high"))
        assert total == pytest.approx(1.0)


def test_the_aliased_second_layer_stands_out_from_the_clean_one(found):
    bad, good = (found.estimates[f"{key}_layer2_grid_excess"] for key in ("alexnet", "zfnet"))
    assert bad.value > 0.3
    assert abs(good.value) < 0.01
    assert found.estimates["alexnet_layer2_grid_ratio"].value > 10
    assert found.estimates["difference_layer2_grid_excess"].high < 0
    assert bad.n == 5  # the dead map has no projection
    rows = found.tables["sensitivity"].records()
    grid = [row["finding"] for row in rows if row["measure"] == "layer2_grid_excess"]
    assert grid == ["lower"] * 3


def test_it_is_the_gaps_that_alias_not_the_stride(images):
    """The same grid of 4 px under blobs that overlap leaves next to no trace."""
    bank = examine("smooth", Inputs(images, "val", net_of(two_layers(11, 4, spread=3.0))), CFG)
    assert bank.stride == (4, 4)
    assert float(bank.grid(bank.stride).excess.abs().max()) < 0.02


def test_what_the_history_says_of_the_limit():
    def story(history, limit=0.1, trained_without=False):
        net = good_net()
        net.provenance = {"training": {"max_filter_rms": limit}}
        return limit_of(net, history, trained_without)

    bound = [ROW, {**ROW, "filters_rescaled": 1200.0, "largest_filter_rms": math.nan}]
    never = story([ROW, {**ROW, "largest_filter_rms": 0.0952}])
    assert (never["status"], never["largest_rms"], never["epochs"]) == ("never bound", 0.0952, 2)
    assert (story(bound)["status"], story(bound)["rescaled"]) == ("not run", 1200)
    assert story(bound, trained_without=True)["status"] == "compared"
    assert story([ROW], limit=None)["status"] == "no limit"
    assert story([])["status"] == story([{"epoch": 1.0}])["status"] == "unknown"


def test_the_limit_has_a_value_only_where_it_bound_and_a_net_without_it_is_there(
    found, pair, place
):
    free = bad_net(dead=0, dominant=30.0)
    bound = measure(pair, free, [{**ROW, "filters_rescaled": 3.0}], CFG)
    assert bound.estimates["unlimited_layer1_dominance"].value == pytest.approx(30, rel=1e-3)
    assert bound.estimates["limit_layer1_dominance"].value == pytest.approx(-29, rel=1e-3)
    results, _, words = read_back("architecture", bound, place)
    assert est(results["limit_layer1_dominance"]) in words
    for one in (found, measure(pair, free, [ROW, ROW], CFG)):
        assert [name for name in one.estimates if "limit" in name] == ["limit_layer1_dominance"]
        assert math.isnan(one.estimates["limit_layer1_dominance"].value)


def test_a_net_of_stride_one_has_no_grid(images, place, monkeypatch):
    """As VGG: nothing is sampled, so that there are no frequencies of a grid."""
    monkeypatch.setattr(telling, "WIDTH", 600)
    plain = net_of(two_layers(3, 1, spread=1.0), arch="vgg")
    found = measure(nets_of(images, plain, bad_net()), None, [ROW], CFG)
    assert math.isnan(found.estimates["zfnet_layer2_grid_ratio"].value)
    assert "difference_layer2_grid_excess" not in found.estimates
    assert set(found.tables["maps"].column("net")) == {"alexnet"}
    results, module, _ = read_back("architecture", found, place)
    for figure in module.figures(results):
        figure.draw()


def test_a_measurement_is_drawn_and_told(found, place, monkeypatch):
    monkeypatch.setattr(telling, "WIDTH", 600)
    results, module, words = read_back("architecture", found, place)
    figures = module.figures(results)
    assert [one.name for one in figures] == ["panels", "frequencies", "strength", "aliasing"]
    for figure in figures:
        figure.draw()
    for name, shown in module.tables(results).items():
        assert all(len(row) == len(shown.headings) for row in shown.rows(results.tables[name]))
    assert est(results["zfnet_layer1_low"]) in words
    story = {"limit": 0.1, "epochs": 3, "rescaled": 1200, "largest_rms": 0.09}
    for status in ("no limit", "never bound", "not run"):
        results.facts["limit"] = {"status": status, **story}
        assert "None" not in page("architecture", results)


def test_the_page_of_a_net_without_a_history(pair, place):
    _, _, words = read_back("architecture", measure(pair, None, [], CFG), place)
    assert "None" not in words


def test_a_second_layer_that_never_fires_is_measured(images):
    model = two_layers(7, 2, 2.0)
    nn.init.constant_(model[2].bias, -1e9)
    found = measure(nets_of(images, net_of(model), bad_net()), None, [], CFG)
    assert found.estimates["zfnet_layer2_never_active"].value == 6
    assert math.isnan(found.estimates["zfnet_layer2_grid_excess"].value)
    assert math.isnan(found.estimates["difference_layer2_grid_excess"].value)


def test_fields_too_large_for_a_claim_are_marked(images):
    model = nn.Sequential(*two_layers(7, 2, 2.0)[:2], nn.Conv2d(8, 6, 23), nn.ReLU())
    found = measure(nets_of(images, net_of(model), bad_net()), None, [], CFG)
    assert [net["field_too_large"] for net in found.facts["nets"].values()] == [True, False]
    keys = ("zfnet", "difference", "alexnet")
    invalid = [bool(found.estimates[f"{key}_layer2_grid_excess"].invalid) for key in keys]
    assert invalid == [True, True, False]


def test_roughness_by_hand():
    white = torch.randn(1, 3, 100, 100, generator=torch.Generator().manual_seed(0))
    board = (-1.0) ** (torch.arange(8)[:, None] + torch.arange(8))
    assert roughness(white) == pytest.approx(1, abs=0.02)
    assert roughness(torch.ones(1, 3, 8, 8)) == 0
    assert roughness(board.expand(1, 3, 8, 8)) == 2
    both = torch.stack([torch.zeros(3, 8, 8), 0.01 * board.expand(3, 8, 8)])
    assert roughness(both).tolist() == pytest.approx([math.nan, 2], nan_ok=True)
    third = white + 2**0.5  # of the energy is noise
    assert roughness(third) == pytest.approx(1 / 3, abs=0.02)


def test_a_net_at_its_first_weights_is_as_rough_as_they_are():
    spec = build_spec("zfnet", input_px=PX, width=0.1, num_classes=3)
    rebuild = {"kind": "convnet", "spec": spec.to_dict()}
    training = {"training": {"init": "he"}, "seed": 5}
    begun = net_of(draw_anew(rebuild, "he", 5), rebuild=rebuild, provenance=training)
    filters, _ = first_filters(begun)
    assert torch.equal(first_weights(begun, 0), filters)
    assert relative_roughness(filters, filters).mean() == pytest.approx(1)
    assert noise(relative_roughness(filters, filters)) == NOISE
    for elsewhere in (net_of(begun.model, rebuild=rebuild), good_net()):
        one, again, other = (first_weights(elsewhere, seed) for seed in (0, 0, 1))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
        assert one.shape == first_filters(elsewhere)[0].shape


JUDGED = ("layer1_mid", "layer2_grid_excess", "layer1_never_active", "layer1_dominance")


def test_smooth_filters_are_judged(found):
    for key in ("zfnet", "alexnet"):
        assert found.estimates[f"{key}_layer1_roughness"].value < SMOOTH
    assert not any(found.estimates[f"difference_{name}"].invalid for name in JUDGED)


@pytest.mark.parametrize("noisy", ["zfnet", "alexnet"])
def test_a_first_layer_of_noise_speaks_for_neither_net(images, place, noisy):
    """It would: noise has less at middle frequencies than a bank of them, and dies in no map."""
    nets = {"zfnet": stripes_net(), "alexnet": bad_net(dead=5)} | {noisy: noisy_net(noisy)}
    found = measure(nets_of(images, *nets.values()), None, [], CFG)
    e = found.estimates
    if noisy == "alexnet":
        assert e["difference_layer1_mid"].low > 0
    else:
        assert e["difference_layer1_never_active"].high < 0
    assert e[f"{noisy}_layer1_roughness"].value == pytest.approx(1, abs=0.1)
    for name in JUDGED:
        assert e[f"difference_{name}"].invalid == e[f"{noisy}_{name}"].invalid == NOISE
    (other,) = nets.keys() - {noisy}
    assert not any(e[f"{other}_{name}"].invalid for name in JUDGED)
    assert not e["difference_layer1_roughness"].invalid
    *_, words = read_back("architecture", found, place)
    assert words.count(f"cannot be judged ({NOISE})") == 3


def test_filters_that_died_as_noise_are_no_noise_of_the_others(images):
    """Six of eight never left their noise, as no gradient reached them; the others are smooth."""
    model = two_layers(7, 2, spread=2.0)
    with torch.no_grad():
        model[0].weight[:6] = torch.randn_like(model[0].weight[:6])
        model[0].bias[:6] = -1e6
    found = measure(nets_of(images, good_net(), net_of(model, "alexnet")), None, [], CFG)
    e = found.estimates
    assert e["alexnet_layer1_roughness"].value < 0.1
    assert e["alexnet_layer1_low"].value > 0.8
    assert (e["alexnet_layer1_low"].n, e["alexnet_layer1_never_active"].value) == (2, 6)
    assert not any(e[f"difference_{name}"].invalid for name in JUDGED)


def test_a_net_of_noise_without_the_limit_shows_no_effect_of_it(pair):
    bound = [{**ROW, "filters_rescaled": 3.0}]
    e = measure(pair, noisy_net("zfnet_nolimit"), bound, CFG).estimates
    assert e["unlimited_layer1_roughness"].value == pytest.approx(1, abs=0.1)
    assert e["limit_layer1_dominance"].invalid == NOISE
    assert not measure(pair, bad_net(), bound, CFG).estimates["limit_layer1_dominance"].invalid


def test_statistics_by_hand():
    assert dominance(np.array([1.0, 2.0, 3.0, 8.0])) == 3.2
    assert dominance(np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 6.0]])).tolist() == [1.0, 3.0]
    assert log_mean(np.array([1.0, 4.0, 16.0])) == pytest.approx(4.0)


def test_differences_tell_equal_from_unequal():
    x, y = np.random.default_rng(1).normal(0, 1, (2, 200))
    same, apart = (compared(BankSample(x + by, mean), BankSample(y, mean), 0) for by in (0, 1))
    assert (finding(same), finding(apart)) == ("not apart", "higher")
    assert finding(compared(BankSample(y), BankSample(x + 1), 0)) == "lower"
    assert finding(compared(BankSample(x[:1]), BankSample(y), 0)) == "unknown"
    assert BankSample(np.array([1.0, math.nan])).estimate(0).low is None


def test_rates_have_intervals_where_nothing_was_counted():
    none = BankSample(np.zeros(20, bool), unit="maps").estimate(0)
    assert (none.value, none.low) == (0, 0)
    assert 2 < none.high < 5  # Wilson: 0 of 20 still allows 16 %


def test_the_stage_reads_both_nets_and_the_third_where_it_is(tmp_path, monkeypatch, images):
    nets = {"zfnet": good_net(), "alexnet": bad_net(), "zfnet_nolimit": bad_net(dead=0)}
    monkeypatch.setattr(architecture, "load_net", lambda folder: nets[folder.parent.name])
    monkeypatch.setattr(architecture.Prepared, "open", lambda path: images)
    for name in nets:
        (tmp_path / name / "final").mkdir(parents=True)
        text = "epoch,filters_rescaled,largest_filter_rms\n1,7,0.1\n"
        (tmp_path / name / "final" / "history.csv").write_text(text, encoding="utf-8")
    paths = SimpleNamespace(
        prepared=tmp_path,
        net=tmp_path / "zfnet" / "final",
        folder_of=lambda name: tmp_path / name / "final",
    )
    assert architecture.run(CFG, paths).facts["limit"]["status"] == "not run"
    (tmp_path / "zfnet_nolimit" / "final" / "net.json").write_text("{}", encoding="utf-8")
    assert architecture.run(CFG, paths).facts["limit"]["status"] == "compared"
