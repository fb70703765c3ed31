"""Probe: Table 7 on made features whose answer is known, in both directions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.svm import LinearSVC
from target_places import paths_in, saved, write_overlap, write_store

from zfnet.errors import UserError
from zfnet.figures import probe as telling
from zfnet.methods.linear import Span, gram
from zfnet.pipeline.options import TargetOptions
from zfnet.pipeline.studies import Probe
from zfnet.report import study as page
from zfnet.stats.accuracy import accuracies
from zfnet.stats.folds import draw_folds
from zfnet.studies import probe, target_sets
from zfnet.studies.probe import rank_trend
from zfnet.studies.target_sets import LabelledSet

CLASSES, EACH, DIMS = 5, 18, 40
LABELS = np.repeat(np.arange(CLASSES), EACH)
QUICK = Probe(svm_grid=(0.1, 1.0), softmax_grid=(0.1, 1.0), sensitivity_folds=1)
FEW = QUICK.model_copy(update={"sensitivity_folds": 0, "softmax_grid": (1.0,)})
RISING = {1: 0.0, 2: 0.05, 3: 0.1, 4: 0.2, 5: 0.5, 7: 3.0}  # how far apart classes lie, by layer
NOTHING = dict.fromkeys(RISING, 0.0)
TARGET = TargetOptions(run=True, probe_per_class=10, test_per_class=None, folds=3)


def write_features(folder: Path, signal: dict[str, dict[int, float]], target: str = "made"):
    """Features of noise around one direction a class; `signal` by net and layer."""
    rng = np.random.default_rng(0)

    def values(strength):
        centres = rng.normal(size=(CLASSES, DIMS)) * strength
        return centres[LABELS] + rng.normal(size=(len(LABELS), DIMS))

    nets = {net: {i: values(own) for i, own in layers.items()} for net, layers in signal.items()}
    return write_store(folder, target, {"train": nets}, "made net")


def probed(store, folder, cfg=QUICK, target=TARGET, labels=LABELS, excluded=(), name="made"):
    """One set probed; what is finished lies in `folder`."""
    own = LabelledSet(name, target, labels, [f"class {i}" for i in range(CLASSES)], excluded)
    folder.mkdir(exist_ok=True)
    return probe.probe(store, own, cfg, folder)


@pytest.fixture(scope="module")
def rising(tmp_path_factory):
    """The trained net's layers know more and more, the untrained net's nothing."""
    folder = tmp_path_factory.mktemp("rising")
    return write_features(folder, {"trained": RISING, "untrained": NOTHING})


@pytest.fixture(scope="module")
def found(rising, tmp_path_factory):
    return probed(rising, tmp_path_factory.mktemp("found"))


def test_what_rises_is_found_to_rise_and_learning_to_matter(found) -> None:
    estimates = found.estimates()
    assert estimates["made_svm_7"].value > 95
    assert estimates["made_svm_1"].value < 45
    assert estimates["made_trend"].value > 0.8
    assert estimates["made_gain_7"].low > 50
    rise = estimates["made_rise"]
    steps = estimates["made_svm_7"].value - estimates["made_svm_1"].value
    assert rise.value == pytest.approx(steps)
    assert 30 < rise.low < rise.value < rise.high
    upper = estimates["made_svm_7"].value - estimates["made_svm_2"].value
    assert estimates["made_rise_upper"].value == pytest.approx(upper)
    assert estimates["made_gain_1"].low < 0 < estimates["made_gain_1"].high


def test_what_falls_is_found_to_fall(tmp_path) -> None:
    falling = dict(zip(RISING, reversed(RISING.values()), strict=True))
    store = write_features(tmp_path, {"trained": falling, "untrained": RISING})
    estimates = probed(store, tmp_path / "kept", FEW).estimates()
    assert estimates["made_trend"].value < -0.8
    assert estimates["made_rise"].high < -30
    assert estimates["made_trend_untrained"].value > 0.8
    assert estimates["made_gain_7"].high < -50


def test_a_rise_that_the_first_layer_carries_is_none_beyond_it(tmp_path) -> None:
    """As in 39.5, 62.1, 61.2, 61.9, 62.9, 60.2 %: above layer 1, and no higher with depth."""
    store = write_features(tmp_path, {"trained": dict.fromkeys(RISING, 0.5) | {1: 0.0}})
    estimates = probed(store, tmp_path / "kept", FEW).estimates()
    assert estimates["made_rise"].low > 20
    assert estimates["made_rise_upper"].low < 0


def test_layers_that_know_the_same_show_no_rise(tmp_path) -> None:
    store = write_features(tmp_path, {"trained": dict.fromkeys(RISING, 0.3)})
    same = probed(store, tmp_path / "kept")
    rise = same.rise()
    assert rise.low < 0 < rise.high
    assert not [name for name in same.estimates() if "gain" in name or "untrained" in name]
    assert {row["untrained"] for row in same.table7().records()} == {None}


def test_accuracies_are_those_of_linear_svc_on_the_raw_features(rising, tmp_path) -> None:
    cfg = Probe(svm_grid=(1.0,), sensitivity_folds=0, seed=3)
    found = probed(rising, tmp_path, cfg)
    folds = draw_folds(LABELS, [10], None, 3, 3)
    for layer in (4, 7):
        features = rising.layer("made", "train", "trained", layer).astype(np.float64)
        predicted, rows = [], []
        for fold in folds:
            train = fold.train[10]
            scale = Span.of(gram(features), train).scale
            svc = LinearSVC(C=1.0, tol=1e-8, max_iter=100_000, random_state=0)
            svc.fit(features[train] / scale, LABELS[train])
            predicted.append(svc.predict(features[fold.test] / scale))
            rows.append(fold.test)
        # the same answers in study transfer: the same interval
        theirs = accuracies({"": predicted}, rows, LABELS, 3)[""].estimate()
        assert found.accuracies["trained", "svm", layer].estimate() == theirs


def test_the_table_has_the_papers_rows(found) -> None:
    rows = found.table7().records()
    names = [(row["classifier"], row["layer"]) for row in rows]
    assert names == [*(("svm", layer) for layer in RISING), ("softmax", 5), ("softmax", 7)]
    for row in rows:
        assert row["gain"] == pytest.approx(row["trained"] - row["untrained"])
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
        chosen = row["constants"].split(", ")
        assert len(chosen) == 3
        assert set(chosen) <= {"0.1", "1"}
        assert row["at_edge"] == (chosen.count("1") > 1)
        own = found.accuracies["trained", row["classifier"], row["layer"]]
        assert row["trained_deviation"] == own.deviation
    assert found.facts()["test_images"] == [40, 40]


def test_other_choices_are_tried_on_the_first_folds(found) -> None:
    rows = found.sensitivity().records()
    assert [row["choice"] for row in rows] == ["svm", *probe.VARIANTS]
    for layer in RISING:
        first = found.accuracies["trained", "svm", layer].folds[0]
        assert rows[0][f"layer{layer}"] == pytest.approx(first)
    assert ("untrained", "fixed", 5) not in found.answers


def test_images_left_out_and_classes_with_too_few_are_named(rising, tmp_path) -> None:
    known, many = [0, 1, 2, EACH, EACH + 1], TARGET.model_copy(update={"probe_per_class": 14})
    found = probed(rising, tmp_path, FEW, many, excluded=known)
    for fold in found.folds:
        assert not set(known) & {*fold.train[14], *fold.test}
    facts = found.facts()
    assert (facts["left_out"], facts["short"]) == (5, {})
    most = TARGET.model_copy(update={"probe_per_class": 18})
    (tmp_path / "most").mkdir()
    short = probed(rising, tmp_path / "most", FEW, most).facts()["short"]
    assert short == {f"class {i}": [17, 17] for i in range(CLASSES)}


def test_a_net_without_some_layers_is_probed_at_those_it_has(tmp_path) -> None:
    signal = {layer: RISING[layer] for layer in (1, 5)}
    store = write_features(tmp_path, {"trained": signal, "untrained": dict.fromkeys(signal, 0.0)})
    found = probed(store, tmp_path / "kept", FEW)
    assert found.facts()["lacking"] == [2, 3, 4, 7]
    assert not {"made_trend", "made_rise_upper"} & set(found.estimates())
    assert {"made_svm_5", "made_gain_5", "made_rise"} <= set(found.estimates())
    with pytest.raises(UserError, match=r"study\.probe\.svm_layers"):
        probed(store, tmp_path / "none", Probe(svm_layers=(3,)))


def test_rank_trend_is_spearmans() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, (40, 6)).astype(float)  # with ties
    expected = [spearmanr(np.arange(6), row).statistic for row in values]
    np.testing.assert_allclose(rank_trend(values), expected, atol=1e-12)
    assert rank_trend(np.array([[1.0, 2, 3], [3, 2, 1], [4, 4, 4]])).tolist() == [1, -1, 0]


# ----------------------------------------------------------------------------------------- stage
@pytest.fixture
def stage(rising, tmp_path, root, monkeypatch):
    """The stage, with the prepared set in memory, and its paths."""
    names = [SimpleNamespace(name=f"class {i}") for i in range(CLASSES)]
    split = SimpleNamespace(labels=LABELS)
    prepared = SimpleNamespace(split=lambda name: split, classes=names)
    monkeypatch.setattr(target_sets.Prepared, "open", lambda path: prepared)
    paths = paths_in(tmp_path, root)
    paths.codes = rising.path
    write_overlap(tmp_path, {"made": []})

    def run(name="made", seed=0, **changes):
        small = {"test_per_class": 5, "folds": 2, **changes}
        made = TARGET.model_copy(update=small)
        targets = {
            name: made,
            "voc": made.model_copy(update={"protocol": "voc"}),
            "off": made.model_copy(update={"run": False}),
        }
        return probe.run(QUICK.model_copy(update={"targets": targets, "seed": seed}), paths)

    return run, paths


def test_a_stopped_study_goes_on_with_the_next_layer(
    stage, tmp_path, root, monkeypatch, capsys
) -> None:
    run, paths = stage
    whole = run()
    assert list(whole.facts["targets"]) == ["made"]
    saved("probe", whole, tmp_path, root)
    layer, begun = probe.probe_layer, []

    def stopping(*given):
        begun.append(given)
        if len(begun) == 4:
            raise KeyboardInterrupt
        return layer(*given)

    monkeypatch.setattr(probe, "probe_layer", stopping)
    with pytest.raises(KeyboardInterrupt):
        run()
    again = run()
    assert len(begun) == 4 + 2 * len(RISING) - 3
    assert (again.estimates, again.tables) == (whole.estimates, whole.tables)
    # a stop before the result is on disk loses nothing either
    before = len(begun)
    assert run().tables == whole.tables
    assert len(begun) == before
    saved("probe", again, tmp_path, root)
    assert not any(paths.work.iterdir())
    # what another seed needs is not what was kept
    begun.clear()
    with pytest.raises(KeyboardInterrupt):
        run()
    (old,) = paths.work.glob("probe-*")
    saved("probe", run(seed=1), tmp_path, root)
    assert len(begun) == 4 + 2 * len(RISING)
    assert list(paths.work.iterdir()) == [old]
    assert f"kept: {old}, 3 layers probed" in capsys.readouterr().err


@pytest.mark.parametrize("rows", [[3, 30], {"train": [3, 30], "val": [1]}])
def test_the_stage_leaves_out_what_overlap_found(stage, tmp_path, rows) -> None:
    run, _ = stage
    write_overlap(tmp_path, {"voc": {"train": [1], "val": []}})
    with pytest.raises(UserError, match="says nothing of made"):
        run(folds=1)
    write_overlap(tmp_path, {"made": rows})
    assert run(folds=1).facts["targets"]["made"]["left_out"] == 2


@pytest.mark.parametrize(
    ("name", "printed"),
    [("caltech101", [44.8, 66.2, 72.3, 76.6, 86.2, 85.5, 82.9, 85.4]), ("mine", None)],
)
def test_the_papers_figures_stand_beside_their_own_set_alone(stage, tmp_path, root, name, printed):
    """The config names Table 4 or 5; the figures are those of Table 7's column for the set."""
    run, paths = stage
    paths.codes = write_features(tmp_path, {"trained": RISING, "untrained": NOTHING}, name).path
    write_overlap(tmp_path, {name: []})
    results = saved("probe", run(name, paper="table4"), tmp_path, root)
    shown = telling.tables(results)[f"{name}_table7"]
    rows = shown.rows(results.tables[f"{name}_table7"])
    if printed:
        assert [float(row[-1].split()[0]) for row in rows] == printed
    (figure,) = telling.figures(results)
    axis = figure.draw().axes[0]
    lines = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
    assert lines["trained net, linear SVM"] == [
        results[f"{name}_svm_{layer}"].value for layer in RISING
    ]
    assert ("the paper, softmax" in lines) == bool(printed)
    text = page.page("probe", results)
    assert page.est(results[f"{name}_rise"]) in text.partition(page.PARTED)[0]
    assert ("44.8 ± 0.7" in text) == bool(printed)
    assert not {"None", "nan"} & set(text.replace(",", " ").split())


def test_without_a_target_nothing_is_read(stage, tmp_path, root) -> None:
    run, paths = stage
    paths.codes = Path("nowhere")
    found = run(run=False)
    assert not found.estimates
    results = saved("probe", found, tmp_path, root)
    assert (telling.figures(results), telling.tables(results)) == ([], {})
    assert "None" not in page.page("probe", results)
