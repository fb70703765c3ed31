from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr, ttest_1samp
from torch import nn

from zfnet.data.prepare import prepare
from zfnet.data.store import Prepared
from zfnet.data.synthetic import SyntheticSource
from zfnet.figures import attributes as telling
from zfnet.models.net import Net, Normalise
from zfnet.pipeline.options import DataOptions
from zfnet.pipeline.studies import quantity_of
from zfnet.pipeline.survey import Attributes
from zfnet.report.study import page
from zfnet.results import Results, save
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import holm, student_mean, two_sided_p
from zfnet.studies import attributes
from zfnet.studies.attributes import (
    SWEEPS,
    TEXTURES,
    answers,
    contrast,
    facts_of,
    run,
    scenes_of,
    within,
)
from zfnet.studies.base import Inputs
from zfnet.studies.looks import darkened, look, rank_correlation
from zfnet.studies.trainings import joined

SIZE, PX = 40, 36
CFG = Attributes(
    data=DataOptions(source="synthetic", size=SIZE, train_images=12, val_images=60, seed=4),
    scenes=12,
)


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def rendered(request, tmp_path_factory):
    return _prepared(tmp_path_factory, request.param)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return _prepared(tmp_path_factory, "raw")


def _prepared(places, store):
    folder = places.mktemp(store) / "prepared"
    prepare(SyntheticSource(SIZE, (12, 60), 4), folder, size=SIZE, store=store, workers=1)
    return Prepared.open(folder)


class Logits(nn.Module):
    """`of` images (n, 3, H, W): the log odds of every image's class; the net's classes are two."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x):
        odds = self.of(x)
        return torch.stack([odds, torch.zeros_like(odds)], 1)


def inputs_of(prepared, of, known=range(12), px=PX):
    index = np.full(12, -1)
    index[list(known)] = 0
    net = Net(
        model=Logits(of).eval(),
        input_px=px,
        normalise=Normalise.mean_image(np.zeros((3, px, px), np.float32), px),
        classes=["known", "other"],
        name="zfnet",
        arch="made",
        taps={},
        class_index=index,
    )
    return Inputs(prepared, "val", net, torch.device("cpu"))


def study(inputs, cfg=CFG, leads=True):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inputs, "of_stage", classmethod(lambda *_, **__: inputs))
        return run(cfg, SimpleNamespace(leads=leads))


def bright(x):
    red, green, blue = x.mean((2, 3)).T
    return (0.299 * red + 0.587 * green + 0.114 * blue - 100) / 20


def nothing(x):
    return 0 * x.mean((1, 2, 3))


@pytest.fixture(scope="module")
def lit(raw):
    """What the study finds of a net that sees light alone."""
    return study(inputs_of(raw, bright))


# ------------------------------------------------------------------------------------ the scenes
def test_scenes_come_back_as_they_were_prepared(rendered):
    inputs = inputs_of(rendered, nothing)
    cfg = CFG.model_copy(
        update={"data": CFG.data.model_copy(update={"store": rendered.meta.store})}
    )
    scenes, why = scenes_of(cfg, inputs)
    assert why == ""
    assert len(scenes.indices) == 12
    assert set(inputs.labels[scenes.rows].tolist()) == set(range(12))  # classes take turns
    degrees = SWEEPS["rotation"][2]
    turned = scenes.sweep("rotation")[2]
    leaning = inputs.split.attributes["rotation"][scenes.rows]
    for index, own in zip(scenes.indices, leaning, strict=True):
        assert abs(turned[index].turns) * 360 == pytest.approx(degrees)
        assert turned[index].turns * own >= 0


@pytest.mark.parametrize(
    ("change", "word"),
    [({"seed": 5}, "prepared"), ({"source": "folder"}, "photographs"), ({"size": 44}, "prepared")],
)
def test_other_pictures_are_no_scenes(raw, change, word):
    data = CFG.data.model_copy(update=change)
    inputs = inputs_of(raw, bright)
    scenes, why = scenes_of(CFG.model_copy(update={"data": data}), inputs)
    assert scenes is None
    assert word in why


def test_a_net_with_larger_input_sees_the_scenes_enlarged(raw):
    scenes, why = scenes_of(CFG, inputs_of(raw, nothing, px=64))
    assert why == ""
    assert scenes.px == 64


# ------------------------------------------------------------------------------------ the numbers
def test_what_depends_on_light_alone_shows_light(lit):
    found = lit.estimates
    assert found["light_effect"].low > 0.2
    assert found["light_within"].low > 0
    assert found["light_p"].value < 1e-4
    assert found["brightness_correlation"].value > 0.999
    assert abs(found["rotation_effect"].value) < 0.1
    assert found["light_effect"].n == 12
    assert found["images"].value == 60
    # dimming by as many grey levels as a smaller object costs this net more
    assert found["scale_minus_light"].high < 0
    for key, one in found.items():
        quantity, _ = quantity_of("attributes", key)
        assert quantity.unit in ("", one.unit), key


def test_a_net_without_an_answer_shows_nothing(raw):
    found = study(inputs_of(raw, nothing)).estimates
    for name in (*SWEEPS, "texture"):
        assert found[f"{name}_effect"].value == 0
        assert found[f"{name}_p"].value == 1
    assert found["scale_minus_light"].value == 0
    assert not any(key.endswith("_correlation") for key in found)


def test_the_effect_is_that_of_the_table(raw, lit):
    result = lit
    rows = [r for r in result.tables["sweeps"].records() if r["attribute"] == "light"]
    p = [row["p"] for row in rows]
    assert result.estimates["light_effect"].value == pytest.approx(np.mean(p[3:]) - np.mean(p[:3]))
    assert result.estimates["light_within"].value == pytest.approx(p[4] - p[2])
    assert [row["within"] for row in rows] == [False, False, True, True, True, False]
    assert sum(row["gap"] for row in rows) == pytest.approx(0)
    errors = [row["error"] for row in rows]
    gap = np.mean(errors[3:]) - np.mean(errors[:3])
    assert result.estimates["light_error_effect"].value == pytest.approx(gap)
    assert study(inputs_of(raw, bright)).estimates == result.estimates  # the same bits again


def test_contrasts_by_hand():
    values = np.arange(12.0).reshape(6, 2) ** 2
    expected = (values[3] + values[4] + values[5] - values[0] - values[1] - values[2]) / 3
    assert contrast("scale", values) == pytest.approx(expected)
    textures = np.zeros((9, 1))
    textures[TEXTURES.index("plain")] = 0.9
    assert contrast("texture", textures) == pytest.approx(-0.9)
    assert within("scale", 0.62)
    assert not within("scale", 0.61)


def test_classes_that_the_net_does_not_know_are_left_out(raw):
    found = study(inputs_of(raw, bright, known=(0, 3)))
    assert found.estimates["images"].value == 10
    assert found.estimates["scenes"].value == 10
    nobody = study(inputs_of(raw, bright, known=()))
    assert nobody.estimates["images"].value == 0
    assert nobody.facts["no_scenes"]
    assert "scale_effect" not in nobody.estimates


def test_answers_keep_the_odds_of_sure_images(raw):
    inputs = inputs_of(raw, lambda x: x.mean((1, 2, 3)))
    pixels = torch.full((3, 3, PX, PX), 200, dtype=torch.uint8)
    pixels[1], pixels[2] = 201, 0
    p, wrong, odds = answers(inputs, pixels, np.zeros(3, np.int64), inputs.net.model)
    assert p.tolist() == pytest.approx([1, 1, 0.5])
    assert odds.tolist() == pytest.approx([200, 201, 0])
    assert wrong.tolist() == [0, 0, 0]
    assert answers(inputs, pixels, np.ones(3, np.int64), inputs.net.model)[1].tolist() == [1, 1, 1]


# ---------------------------------------------------------------------------------------- looks
def test_ranks_within_one_class_are_spearmans():
    rng = np.random.default_rng(0)
    a = rng.normal(size=40).round(1)
    b = a + rng.normal(size=40)
    b[3] = b[4]
    one = rank_correlation(a, b, np.zeros(40))
    assert one.value == pytest.approx(spearmanr(a, b).statistic)
    assert one.low < one.value < one.high


def test_classes_that_differ_are_no_correlation():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(10), 40)
    size, odds = labels + rng.normal(0, 0.1, 400), labels + rng.normal(0, 0.1, 400)
    assert spearmanr(size, odds).statistic > 0.9
    assert abs(rank_correlation(size, odds, labels).value) < 0.15
    turned = size - 5 * (odds - labels)  # the other way within every class
    assert rank_correlation(turned, odds, labels).high < 0


def test_intervals_hold_and_what_does_not_vary_has_none():
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(6), 10)
    missed = 0
    for _ in range(400):
        one = rank_correlation(rng.normal(size=60), rng.normal(size=60), labels)
        missed += not one.low <= 0 <= one.high
    assert 6 <= missed <= 34  # 5 % of 400 is 20
    assert rank_correlation(np.ones(60), rng.normal(size=60), labels) is None
    assert rank_correlation(labels.astype(float), rng.normal(size=60), labels) is None
    values = rng.normal(size=60)
    values[:20] = np.nan
    assert rank_correlation(values, rng.normal(size=60), labels).n == 40


def test_dimmed_pictures_have_changed_as_much():
    own = torch.randint(0, 256, (4, 3, 20, 20), generator=torch.Generator().manual_seed(0))
    own = own.to(torch.uint8)
    other = own.clone()
    other[0] = (own[0].int() - 30).clamp(0, 255).to(torch.uint8)
    other[1] = (own[1].int() + 7).clamp(0, 255).to(torch.uint8)
    other[3] = 255 - own[3]  # a black picture changes no more
    dim = darkened(own, other)
    for i in range(3):
        wanted = (own[i].int() - other[i].int()).abs().double().mean()
        got = (own[i].int() - dim[i].int()).abs().double().mean()
        assert float(got) == pytest.approx(float(wanted), abs=0.5)
        assert (dim[i] <= own[i]).all()
    assert torch.equal(dim[2], own[2])
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    assert not darkened(white, 255 - white).any()


def test_looks_by_hand():
    flat = torch.full((3, 16, 16), 80)
    fine = torch.from_numpy(np.indices((16, 16)).sum(0) % 2 * 100 + 50).expand(3, 16, 16)
    coarse = torch.from_numpy(np.indices((16, 16))[1] // 8 * 100 + 50).expand(3, 16, 16)
    brightness, contrasts, sharpness = look(torch.stack([flat, fine, coarse]).to(torch.uint8))
    assert brightness.tolist() == pytest.approx([80, 100, 100])
    assert contrasts[0] == pytest.approx(0, abs=1e-3)
    assert contrasts[1] == pytest.approx(50, rel=0.01)
    assert sharpness[0] == pytest.approx(0, abs=1e-3)
    assert sharpness[1] == pytest.approx(8, rel=0.02)  # Laplacian ±400 over ±50
    assert 0 < sharpness[2] < 2


def test_facts_of_photographs(tmp_path):
    from zfnet.data.sources.folder import folder_source

    for split in ("train", "val"):
        for label, size in (("a", (60, 40)), ("b", (40, 80))):
            (tmp_path / "raw" / split / label).mkdir(parents=True)
            for i in range(2):
                image = Image.new("RGB", size, (50 * i, 90, 90))
                image.save(tmp_path / "raw" / split / label / f"{i}.png")
    source = folder_source(tmp_path / "raw", val_fraction=None, seed=0, class_names=None)
    prepare(source, tmp_path / "prepared", size=SIZE, workers=1)
    inputs = inputs_of(Prepared.open(tmp_path / "prepared"), bright)
    assert facts_of(inputs).keys() == {"aspect"}
    assert facts_of(inputs)["aspect"].tolist() == pytest.approx([1.5, 1.5, 2, 2])
    found = study(inputs, CFG.model_copy(update={"data": DataOptions(source="folder")}))
    assert "scale_effect" not in found.estimates
    assert found.arrays == {}


# ------------------------------------------------------------------------------------ many at once
def test_p_is_that_of_students_test():
    rng = np.random.default_rng(3)
    for shift in (-0.4, 0.0, 0.3):
        values = rng.normal(shift, 1, 15)
        assert two_sided_p(student_mean(values)) == pytest.approx(ttest_1samp(values, 0).pvalue)
    assert two_sided_p(Estimate(0.5)) == 1
    assert two_sided_p(Estimate(0.5, 0.5, 0.5)) == 1


def test_holms_intervals_exclude_nothing_that_holm_keeps():
    rng = np.random.default_rng(4)
    decided = 0
    for _ in range(200):
        every = [student_mean(rng.normal(shift, 1, 12)) for shift in (0, 0.5, 0.8, 1.2, 0.7)]
        tests = {str(i): (one, two_sided_p(one)) for i, one in enumerate(every)}
        wide = telling.together(tests)
        adjusted = holm([p for _, p in tests.values()])
        for p, one in zip(adjusted, wide.values(), strict=True):
            assert (p <= 0.05) == (not one.low <= 0 <= one.high)
            decided += p <= 0.05
        assert list(wide) == list(tests)
    assert 200 < decided < 800


# ----------------------------------------------------------------------------------------- told
def test_one_training_and_several_are_told(raw, lit, tmp_path, root):
    each = [lit, study(inputs_of(raw, bright, range(8)), leads=False), lit]
    several = joined(each, [0, 1, 2], "dealt")
    assert several.estimates["scale_effect"].trainings == 3
    assert "scale_p" not in several.estimates
    for number, measured in enumerate((each[0], several)):
        folder = tmp_path / str(number)
        save(measured, folder / "results", folder / "metrics.json")
        results = Results(folder / "results", root)
        names = [each.name for each in telling.figures(results)]
        assert names == ["effects", "sweeps", "scene"]
        assert telling.CARD in names
        for figure in telling.figures(results):
            figure.draw()
        told = telling.tables(results)
        assert list(told) == ["effects", "correlations", "sweeps", "light_control"]
        for name, shown in told.items():
            assert shown.rows(results.tables[name])
        light = told["effects"].table.records()[3]
        assert light["attribute"] == "light"
        assert light["p_value"] <= light["holm"] <= 1
        assert "\n---\n" in page("attributes", results)


@pytest.mark.parametrize("known", [(), range(12)])
def test_photographs_are_told_without_scenes(raw, tmp_path, root, known):
    cfg = CFG.model_copy(update={"data": DataOptions(source="folder")})
    save(study(inputs_of(raw, bright, known), cfg), tmp_path / "results", tmp_path / "m.json")
    results = Results(tmp_path / "results", root)
    names = [each.name for each in telling.figures(results)]
    assert names == (["effects"] if known else [])
    for name, shown in telling.tables(results).items():
        assert shown.rows(results.tables[name])
    assert attributes.SPLIT in page("attributes", results) or not known
