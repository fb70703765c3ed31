"""Inversion of codes of nets whose answers follow from their weights; what likeness is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from zfnet.errors import UserError
from zfnet.figures import inversion as telling
from zfnet.methods.class_models import edge_energy
from zfnet.models.net import Net, Normalise
from zfnet.pipeline.studies import quantity_of
from zfnet.pipeline.survey import Inversion
from zfnet.report.study import page
from zfnet.results import Results, save
from zfnet.stats.estimate import Estimate, text
from zfnet.studies import inversion
from zfnet.studies.base import Inputs
from zfnet.studies.inversion import Correlation, Yardstick, own_part, study

PX = 16
SMALL = Inversion(layers=(1, 2), images=3, steps=60)


@pytest.fixture(scope="module")
def photos(set_of):
    """Thirty blurred pictures, each alike to no other."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (30, 3, 6, 6)))
    images = nn.functional.interpolate(coarse, (PX, PX), mode="bilinear").permute(0, 2, 3, 1)
    return set_of(images.numpy().astype(np.uint8), [i % 3 for i in range(30)])


def net_of(*modules, mean=100.0, **taps):
    """Layer 1 tells all of the picture unless given otherwise."""
    model = nn.Sequential(*modules).eval()
    names = taps or {"1.out": "0", "2.out": "1"}
    pixels = Normalise.mean_image(np.full((3, PX, PX), mean, np.float32), PX)
    named = {key.replace("_", "."): value for key, value in names.items()}
    return Net(model, PX, pixels, ["red", "green", "blue"], "made", "made", named)


def telling_net():
    """Layer 1 hands on the pixels themselves, layer 2 their mean over the picture."""
    return net_of(nn.Identity(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))


def inputs_of(photos, net, images=3):
    return Inputs(photos, "val", net, torch.device("cpu"), max_images=images)


def test_a_layer_that_tells_all_gives_the_image_and_one_that_tells_a_tint_does_not(photos):
    found = study(inputs_of(photos, telling_net()), SMALL)
    e = found.estimates
    assert e["layer1_pixel_error"].value < 0.2 < 0.5 < e["layer2_pixel_error"].value
    assert e["layer1_own"].value > 0.95
    assert e["layer1_own_minus_other"].low > 0.5
    assert e["layer1_own_minus_prior"].low > 0
    assert e["layer1_edges"].value > 0.5
    assert e["layer1_found"].value == 1
    # the negative control: a tint is no likeness, though the code is met
    assert abs(e["layer2_own"].value) < 0.3
    assert e["layer2_own_minus_prior"].low < 0
    assert e["layer2_code_error"].value < 0.1
    assert e["layer1_late_fall"].value <= inversion.TOLERANCE
    assert e["layer1_starts_apart"].value < 0.1
    assert "layer1_pixel_error_untrained" not in e  # this net cannot be built anew
    assert (e["images"].value, e["steps"].value) == (3, 60)


def test_every_number_is_declared(photos):
    for key in study(inputs_of(photos, telling_net()), SMALL).estimates:
        assert quantity_of("inversion", key), key


def test_errors_are_in_units_of_the_distance_between_images(photos):
    inputs = inputs_of(photos, telling_net())
    yard = Yardstick.of(inputs, 0)
    assert len(yard.rows) == 30
    pixels = inputs.pixels(yard.rows).double().numpy()
    pairs = [np.sqrt(((a - b) ** 2).mean()) for i, a in enumerate(pixels) for b in pixels[:i]]
    assert yard.unit == pytest.approx(np.mean(pairs), rel=1e-5)
    one, other = torch.zeros(2, 3, PX, PX), torch.zeros(2, 3, PX, PX)
    other[1] = yard.unit
    assert yard.apart(one, other) == pytest.approx([0, 1])
    found = study(inputs, SMALL)
    made = torch.from_numpy(found.arrays["pictures"]).double()  # layers, images, H, W, 3
    own = torch.from_numpy(found.arrays["originals"]).double()
    rms = (made[0] - own).square().mean((1, 2, 3)).sqrt() / yard.unit
    # what is drawn is what was measured, but for rounding
    assert found.estimates["layer1_pixel_error"].value == pytest.approx(float(rms.mean()), abs=0.01)


def test_likeness_is_pearson_s_of_what_is_beyond_the_mean_and_a_tint():
    rng = torch.Generator().manual_seed(0)
    images, made = (torch.rand(5, 3, 4, 4, generator=rng).double() for _ in range(2))
    like = Correlation.of(images)
    own = like.own(made, images)
    none = np.zeros((5, 5), bool)
    table = like.others(made, none)
    for i in range(5):
        for j in range(5):
            a, b = (x - images.mean(0) for x in (made[i], images[j]))
            a, b = (x - x.mean((1, 2), keepdim=True) for x in (a, b))
            want = float((a * b).sum() / (a.norm() * b.norm()))
            assert table[i, j] == pytest.approx(want)
            if i == j:
                assert own[i] == pytest.approx(want)
    tint = torch.tensor([40.0, -10, 5]).view(3, 1, 1)
    assert like.own(images + tint, images) == pytest.approx(np.ones(5))
    assert like.own(2 * like.mean - images, images) == pytest.approx(-np.ones(5))


def test_what_has_nothing_of_its_own_correlates_with_nothing():
    images = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    like = Correlation.of(images)
    pictures = torch.stack([like.mean, like.mean + 7, torch.full((3, 4, 4), torch.nan)])
    own = like.own(pictures, images[:3])
    assert own[:2].tolist() == [0, 0]
    assert np.isnan(own[2])
    assert not own_part(pictures[:2], like.mean).any()
    assert like.others(pictures, np.zeros((3, 4), bool)).mask.tolist()[2] == [True] * 4


def test_an_image_is_not_among_the_others_that_it_is_held_against(photos):
    inputs = inputs_of(photos, telling_net())
    yard = Yardstick.of(inputs, 0)
    images = inputs.pixels(inputs.rows).float()
    found = yard.alike(images, inputs.rows, images)
    assert found["own"] == pytest.approx(np.ones(3), abs=1e-5)
    assert found["found"].tolist() == [1, 1, 1]
    table = (yard.colours.parts @ yard.colours.parts.T).numpy()
    for i, row in enumerate(inputs.rows.tolist()):
        place = yard.rows.tolist().index(row)
        assert found["other"][i] == pytest.approx(np.delete(table[place], place).mean(), abs=1e-5)
    swapped = yard.alike(images.flip(0), inputs.rows, images)  # pictures of others' codes
    assert swapped["found"][0] == swapped["found"][2] == 0
    edges = edge_energy(images)[:, None]
    assert yard.edges.own(edges, edges) == pytest.approx(np.ones(3), abs=1e-5)


def test_codes_that_say_nothing_are_left_out(photos):
    """One image whose code is all zero, then all: a layer's numbers go, the others stay."""

    class Bright(nn.Module):
        def __init__(self, least):
            super().__init__()
            self.least = least

        def forward(self, x):
            return torch.relu(x) * (x.mean((1, 2, 3), keepdim=True) > self.least)

    inputs = inputs_of(photos, telling_net())
    means = (inputs.pixels(inputs.rows).float() - 100).mean((1, 2, 3)).sort().values
    inputs.net = net_of(nn.Identity(), Bright(float(means[:2].mean())))
    found = study(inputs, SMALL)
    assert found.facts["silent"] == {"1": 0, "2": 1}
    assert found.estimates["layer2_pixel_error"].n == 2
    assert found.estimates["layer1_pixel_error"].n == 3
    inputs.net = net_of(nn.Identity(), Bright(1e9))
    found = study(inputs, SMALL)
    assert "layer2_pixel_error" not in found.estimates
    assert found.facts["silent"]["2"] == 3
    # without a code the first layer asked for need not tell anything
    only = study(inputs, SMALL.model_copy(update={"layers": (2, 1)}))
    assert only.estimates["prior_pixel_error"].n == 3


def test_layers_that_a_net_lacks_are_named_and_none_is_refused(photos):
    inputs = inputs_of(photos, telling_net())
    found = study(inputs, SMALL.model_copy(update={"layers": (1, 7)}))
    assert (found.facts["layers"], found.facts["missing"]) == ([1], [7])
    with pytest.raises(UserError, match=r"no tap 6\.out"):
        study(inputs, SMALL.model_copy(update={"layers": (6, 7)}))


def test_grey_levels_are_those_of_a_standardising_net(photos):
    """The same pixels under another normalisation: the same pictures."""
    levels = torch.tensor([50.0, 60, 70])
    whole = telling_net()
    other = telling_net()
    other.normalise = Normalise.standardise([100 / 255] * 3, (levels / 255).tolist(), PX)
    other.model[0] = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        other.model[0].weight.copy_(levels.diag()[:, :, None, None])
    one, two = (
        study(inputs_of(photos, net), SMALL.model_copy(update={"layers": (1,)})).estimates
        for net in (whole, other)
    )
    for key in ("layer1_pixel_error", "layer1_own", "layer1_code_error", "prior_pixel_error"):
        assert one[key].value == pytest.approx(two[key].value, rel=0.02), key


@pytest.fixture(scope="module")
def convnet(photos):
    from zfnet.models.convnet import ConvNet, init_weights
    from zfnet.models.net import convnet_net
    from zfnet.models.spec import build_spec

    torch.manual_seed(0)
    model = ConvNet(build_spec("zfnet", num_classes=3, width=0.05, input_px=64))
    init_weights(model, "he")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (8, 64, 64, 3)).astype(np.uint8)
    net = convnet_net(model, np.full((3, 64, 64), 128.0, np.float32), ["a", "b", "c"], "zfnet")
    return images, net


@pytest.fixture(scope="module")
def measured(convnet, set_of):
    images, net = convnet
    inputs = Inputs(set_of(images, [i % 3 for i in range(8)]), "val", net, max_images=2)
    return study(inputs, Inversion(layers=(1, 3, 5, 7), images=2, steps=8))


def test_a_net_of_this_library_has_its_untrained_control_and_its_bytes_repeat(
    measured, convnet, set_of, tmp_path
):
    images, net = convnet
    inputs = Inputs(set_of(images, [i % 3 for i in range(8)]), "val", net, max_images=2)
    again = study(inputs, Inversion(layers=(1, 3, 5, 7), images=2, steps=8))
    for name, one in (("one", measured), ("two", again)):
        save(one, tmp_path / name, tmp_path / f"{name}.json")
    for path in (tmp_path / "one").rglob("*.*"):
        assert (
            path.read_bytes()
            == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
        )
    for layer in (1, 3, 5, 7):
        assert measured.estimates[f"layer{layer}_pixel_error_untrained"].n == 1
    assert measured.arrays["pictures"].shape == (4, 2, 64, 64, 3)
    assert measured.arrays["again"].shape == (4, 1, 64, 64, 3)
    assert not study(inputs, SMALL.model_copy(update={"steps": 2}), leads=False).arrays


# --------------------------------------------------------------------------------------- telling
@pytest.fixture
def saved(measured, root, tmp_path):
    def results(measurement=measured, **estimates):
        changed = replace(measurement, estimates={**measurement.estimates, **estimates})
        save(changed, tmp_path / "inversion", tmp_path / "inversion.json")
        return Results(tmp_path / "inversion", root)

    return results


def test_figures_and_tables(saved, photos):
    results = saved()
    pictures, by_layer = telling.figures(results)
    assert pictures.name == telling.CARD
    drawn = pictures.draw()
    tile, gap = telling.TILE, telling.GAP
    assert drawn.height > 4 * (tile + gap)  # two images, another start, the untrained net
    axes = by_layer.draw().axes
    assert len(axes) == 3
    error = {line.get_label(): line for line in axes[0].lines}
    assert any(results["layer7_pixel_error"].value in line.get_ydata() for line in error.values())
    for name, shown in telling.tables(results).items():
        assert all(len(row) == len(shown.headings) for row in shown.rows(results.tables[name]))
    bare = saved(study(inputs_of(photos, telling_net()), SMALL))
    for figure in telling.figures(bare):
        assert figure.draw()
    assert "before training" not in telling.figures(bare)[0].caption


def test_grey_levels_are_drawn_as_they_are(saved, measured):
    drawn = np.asarray(telling.figures(saved())[0].draw())
    grey = measured.arrays["alone"][0]
    corner = drawn[-(2 * telling.TILE) : -telling.TILE - telling.GAP, -telling.TILE // 2 :]
    assert corner.mean() >= grey.mean() - 1
    last = drawn[-telling.TILE :, -telling.TILE :]
    assert last.mean() == pytest.approx(measured.arrays["alone"][1].mean(), abs=1.5)


@pytest.mark.parametrize(("other", "prior", "told"), [(0.1, 0.1, True), (0.1, -0.1, False)])
def test_the_page_answers_by_both_intervals(saved, other, prior, told):
    numbers = {f"layer{n}_own_minus_{k}": Estimate(0.2, -0.1, 0.4, 2)
               for n in (1, 3, 5, 7) for k in ("other", "prior")}  # fmt: skip
    numbers |= {"layer3_own_minus_other": Estimate(0.2, other, 0.3, 2)}
    numbers |= {"layer3_own_minus_prior": Estimate(0.2, prior, 0.3, 2)}
    words = page("inversion", saved(**numbers))
    assert ("made from layer 3 are shown" in words) == told
    assert ("shown for no layer" in words) != told
    assert text(saved()["prior_pixel_error"]) in words
    assert not {"None", "nan", "not measured"} & {*words.split()}


def test_the_page_of_a_net_with_little_to_tell(saved, photos):
    inputs = inputs_of(photos, telling_net())
    words = page("inversion", saved(study(inputs, SMALL.model_copy(update={"layers": (1, 7)}))))
    assert "no layer 7" in words
    assert "no untrained control" in words
    assert "None" not in words
