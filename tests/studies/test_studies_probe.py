"""Probe: Table 7 on made features whose answer is known, in both directions."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from adopted import as_section, carried_over, write_overlap
from sklearn.svm import LinearSVC

from zfnet.errors import UserError
from zfnet.methods.linear import Span, gram
from zfnet.paper import tables
from zfnet.stats.folds import draw_folds
from zfnet.studies import over_folds, probe
from zfnet.studies.code_files import Codes
from zfnet.studies.over_folds import percent
from zfnet.studies.probe import Options, Target, measure, rank_trend, right, study
from zfnet.studies.result import load_result, save_result

CLASSES, EACH = 5, 18
LABELS = np.repeat(np.arange(CLASSES), EACH)
QUICK = Options(svm_grid=(0.1, 1.0), softmax_grid=(0.1, 1.0), sensitivity_folds=1)
RISING = {1: 0.0, 2: 0.05, 3: 0.1, 4: 0.2, 5: 0.5, 7: 3.0}  # how far apart classes lie, by layer


def write_codes(
    folder: Path, signal: dict[str, dict[int, float]], target: str = "made", dims: int = 40
) -> Codes:
    """Codes of noise around one direction a class; `signal` by net and layer."""
    rng = np.random.default_rng(0)
    for net, layers in signal.items():
        place = folder / target / "train" / net
        place.mkdir(parents=True)
        for layer, strength in layers.items():
            centres = rng.normal(size=(CLASSES, dims)) * strength
            values = centres[LABELS] + rng.normal(size=(len(LABELS), dims))
            np.save(place / f"{layer}.npy", values.astype(np.float32))
    layers = next(iter(signal.values()))
    entry = {
        "images": len(LABELS),
        "layers": {str(layer): dims for layer in layers},
        "nets": list(signal),
    }
    record = {"format": 1, "net": "made net", "taps": {str(i): f"layer{i}" for i in layers}}
    record["targets"] = {target: {"train": entry}}
    (folder / "codes.json").write_text(json.dumps(record), encoding="utf-8")
    return Codes.open(folder)


def target(name: str = "made", **changes) -> Target:
    names = [f"class {i}" for i in range(CLASSES)]
    return Target(**{
        "name": name, "labels": LABELS, "classes": names, "train_per_class": 10,
        "test_per_class": None, "folds": 3, "excluded": (), **changes,
    })  # fmt: skip


@pytest.fixture(scope="module")
def rising(tmp_path_factory) -> Codes:
    """The trained net's layers know more and more, the untrained net's nothing."""
    nothing = dict.fromkeys(RISING, 0.0)
    return write_codes(tmp_path_factory.mktemp("rising"), {"trained": RISING, "untrained": nothing})


@pytest.fixture(scope="module")
def result(rising):
    return study(rising, [target()], QUICK, seed=0)


def test_what_rises_is_found_to_rise_and_learning_to_matter(result) -> None:
    metrics = result.metrics
    assert metrics["made_svm_7"].value > 95
    assert metrics["made_svm_1"].value < 45
    assert metrics["made_trend"].value > 0.8
    assert metrics["made_gain_7"].low > 50
    rise = metrics["made_rise"]
    assert rise.value == pytest.approx(metrics["made_svm_7"].value - metrics["made_svm_1"].value)
    assert 30 < rise.low < rise.value < rise.high
    assert (rise.unit, rise.n) == ("points", metrics["made_svm_7"].n)
    assert "layer 7 minus layer 1" in rise.note
    assert f"changes by {rise.value:+.1f} points" in result.text
    assert metrics["made_gain_1"].low < 0 < metrics["made_gain_1"].high
    assert "it rises with depth" in result.text
    assert "chance is 20.0 %" in result.text
    helped = result.text.split("learning helps at layers ")[1].split(".")[0].split(", ")
    assert "7" in helped
    assert "1" not in helped
    assert result.extra["headline"] == ["made_svm_7", "made_trend", "made_gain_7"]
    assert result.extra["card"] == result.figures[0].name == "probe_made"


def test_what_falls_is_found_to_fall(tmp_path) -> None:
    falling = dict(zip(RISING, reversed(RISING.values()), strict=True))
    codes = write_codes(tmp_path, {"trained": falling, "untrained": RISING})
    found = study(codes, [target()], QUICK)
    assert found.metrics["made_trend"].value < -0.8
    assert found.metrics["made_rise"].high < -30
    assert found.metrics["made_trend_untrained"].value > 0.8
    assert found.metrics["made_gain_7"].high < -50
    assert "it falls with depth" in found.text
    assert "and harms at" in found.text


def found_of(codes):
    return measure(codes, target(), QUICK, 0)


def replace_answers(found):
    """With the first layer's answers at the last."""
    answers = dict(found.answers)
    first, last = ("trained", "svm", 1), ("trained", "svm", 7)
    answers[last] = answers[first]
    rows = [fold.test for fold in found.folds]
    values = {key: right(each, rows, LABELS) for key, each in answers.items()}
    draws = over_folds.resampled(values, rows, LABELS, 0)
    return replace(found, answers=answers, draws=draws)


def test_layers_that_know_the_same_show_no_rise(tmp_path) -> None:
    codes = write_codes(tmp_path, {"trained": dict.fromkeys(RISING, 0.3)})
    found = study(codes, [target()], QUICK)
    assert "no rise with depth is shown" in found.text
    rise = found.metrics["made_rise"]
    assert rise.low < 0 < rise.high
    same = replace_answers(found_of(codes))
    assert (same.rise("trained").low, same.rise("trained").high) == (0, 0)  # the same draws
    assert not [name for name in found.metrics if "gain" in name]


def test_accuracies_are_those_of_linear_svc_on_the_raw_features(rising) -> None:
    options = Options(svm_grid=(1.0,), sensitivity_folds=0)
    found = measure(rising, target(), options, seed=3)
    folds = draw_folds(LABELS, [10], None, 3, 3)
    for layer in (4, 7):
        features = rising.layer("made", "train", "trained", layer).astype(np.float64)
        own, hits, rows = [], [], []
        for fold in folds:
            train = fold.train[10]
            scale = Span.of(gram(features), train).scale
            svc = LinearSVC(C=1.0, tol=1e-8, max_iter=100_000, random_state=0)
            svc.fit(features[train] / scale, LABELS[train])
            hit = svc.predict(features[fold.test] / scale) == LABELS[fold.test]
            own.append(100 * hit.mean())  # classes are of one size here
            hits.append(hit.astype(float))
            rows.append(fold.test)
        key = ("trained", "svm", layer)
        np.testing.assert_allclose(found.accuracies(key), own, atol=1e-9)
        assert found.accuracy(key).value == pytest.approx(np.mean(own))
        # the same answers in study transfer: the same interval
        interval = percent(hits, rows, LABELS, 3)
        ours = found.accuracy(key)
        assert (ours.low, ours.high, ours.n) == (interval.low, interval.high, interval.n)


def test_the_table_has_the_papers_rows_and_says_how_many_were_tested(result) -> None:
    table = result.tables["made_table7"]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    names = [(row["classifier"], row["layer"]) for row in rows]
    svm = [("linear SVM", layer) for layer in (1, 2, 3, 4, 5, 7)]
    assert names == [*svm, ("softmax", 5), ("softmax", 7)]
    for row in rows:
        assert row["test images a fold"] == 5 * 8
        assert row["features"] == 40
        assert row["paper, %"] is None
        assert row["low"] <= row["trained, %"] <= row["high"]
        gap = row["trained, %"] - row["untrained, %"]
        assert row["gain, points"] == pytest.approx(gap)
        assert row["low (gain)"] <= gap <= row["high (gain)"]
    folds = result.tables["made_folds"]
    assert len(folds.rows) == 2 * 8 * 3
    own = [r for r in folds.rows if tuple(r[:3]) == ("trained", "linear SVM", 5)]
    values = [row[4] for row in own]
    assert rows[4]["trained, %"] == pytest.approx(np.mean(values))
    assert rows[4]["± over folds"] == pytest.approx(np.std(values, ddof=1))
    assert {row[5] for row in folds.rows} <= {0.1, 1.0}
    assert {row[6] for row in folds.rows} == {50}


def test_the_papers_figures_stand_beside_their_own_set_alone(rising, root: Path) -> None:
    paper = tables(root)["table7"]
    beside = study(rising, [target(paper="caltech101")], QUICK, paper=paper)
    table = beside.tables["made_table7"]
    columns = list(table.columns)
    assert [row[columns.index("paper, %")] for row in table.rows] == [
        44.8, 66.2, 72.3, 76.6, 86.2, 85.5, 82.9, 85.4,
    ]  # fmt: skip
    assert table.rows[0][columns.index("paper, ±")] == 0.7
    assert "Beside the paper's Caltech-101" in beside.text
    alone = study(rising, [target()], QUICK, paper=paper)
    assert "Beside the paper's" not in alone.text
    assert {row[-2] for row in alone.tables["made_table7"].rows} == {None}


def test_other_choices_are_tried_on_the_first_folds(result) -> None:
    table = result.tables["made_sensitivity"]
    names = [row[0] for row in table.rows]
    assert names == [probe.AS_TABLED, *probe.VARIANTS]
    folds = result.tables["made_folds"].rows
    first = [
        row[4] for row in folds if row[0] == "trained" and row[1] == "linear SVM" and row[3] == 1
    ]
    assert list(table.rows[0][1:-1]) == pytest.approx(first)
    assert "mean of the first 1 folds" in table.caption


def test_images_that_the_net_has_seen_are_left_out(rising) -> None:
    seen = [0, 1, 2, EACH, EACH + 1]
    found = measure(rising, target(excluded=seen), QUICK, 0)
    for fold in found.folds:
        assert not set(seen) & {*fold.train[10], *fold.test}
    told = study(rising, [target(excluded=seen)], QUICK).text
    assert "5 images that are in the net's own data as well are left out" in told
    none = study(rising, [target(excluded=())], QUICK)
    assert "left out" not in none.text
    assert none.extra["targets"]["made"]["left_out"] == 0


def test_classes_with_too_few_images_are_told(rising) -> None:
    told = study(rising, [target(train_per_class=18)], QUICK).text
    assert "5 classes have too few images and keep one for the test" in told
    assert "class 0 trains on 17" in told


def test_a_net_without_some_layers_is_probed_at_those_it_has(tmp_path) -> None:
    signal = {layer: RISING[layer] for layer in (1, 5)}
    codes = write_codes(tmp_path, {"trained": signal, "untrained": dict.fromkeys(signal, 0.0)})
    found = study(codes, [target()], QUICK)
    assert "The net has no layer 2, 3, 4, 7, or no codes of it were made" in found.text
    assert "made_trend" not in found.metrics
    assert found.extra["headline"] == ["made_svm_5", "made_gain_5"]
    with pytest.raises(UserError, match=r"study\.probe\.svm_layers"):
        study(codes, [target()], Options(svm_layers=(3,)))


def test_codes_of_other_images_are_refused(rising) -> None:
    with pytest.raises(UserError, match=r"90 images.*holds 80"):
        study(rising, [target(labels=LABELS[:80])], QUICK)


def test_nothing_to_measure_is_said(rising, capsys) -> None:
    found = study(None, [], QUICK)
    assert found.text.startswith("No target is run")
    assert "targets.<name>.run" in capsys.readouterr().err
    assert not found.metrics


# ------------------------------------------------------------------------------------ statistics
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
    """What the stage is called with: config and paths, with the prepared set in memory."""
    section = yaml.safe_load((root / "conf" / "study" / "probe.yaml").read_text(encoding="utf-8"))
    section |= {"svm_grid": [1.0], "softmax_grid": [1.0], "sensitivity_folds": 0}
    made = {"run": True, "protocol": "per_class", "probe_per_class": 10, "test_per_class": 5}
    made |= {"folds": 2, "paper": None}
    voc, off = {**made, "protocol": "voc"}, {**made, "run": False}

    class Targets(dict):
        pass

    targets = Targets(
        made=SimpleNamespace(**made), voc=SimpleNamespace(**voc), off=SimpleNamespace(**off)
    )
    study_section = SimpleNamespace(probe=SimpleNamespace(**section))
    cfg = SimpleNamespace(study=study_section, targets=targets, seed=0)
    names = [SimpleNamespace(name=f"class {i}") for i in range(CLASSES)]
    split = SimpleNamespace(labels=LABELS)
    prepared = SimpleNamespace(split=lambda name: split, classes=names)
    monkeypatch.setattr(probe.Prepared, "open", lambda path: prepared)
    paths = SimpleNamespace(
        codes=rising.path,
        targets=tmp_path,
        root=root,
        work=tmp_path / "work",
        result_of=lambda name: tmp_path / name,
    )
    return cfg, paths


def test_the_stage_measures_the_targets_that_are_on(stage, tmp_path) -> None:
    cfg, paths = stage
    write_overlap(tmp_path, {"made": []})
    found = probe.run(cfg, paths)
    assert list(found.extra["targets"]) == ["made"]
    assert found.extra["targets"]["made"]["test_images"] == 25
    assert "left out" not in found.text


def test_a_stopped_study_goes_on_with_the_next_layer(stage, tmp_path, monkeypatch, capsys) -> None:
    cfg, paths = stage
    write_overlap(tmp_path, {"made": []})
    cfg.study.probe.sensitivity_folds = 1
    whole = probe.run(cfg, paths)
    save_result(replace(whole, figures=[]), tmp_path / "out", tmp_path / "probe.json")
    layer, begun = probe.Bench.layer, []

    def stopping(bench, *given):
        begun.append(given)
        if len(begun) == 4:
            raise KeyboardInterrupt
        return layer(bench, *given)

    monkeypatch.setattr(probe.Bench, "layer", stopping)
    with pytest.raises(KeyboardInterrupt):
        probe.run(cfg, paths)
    again = probe.run(cfg, paths)
    assert len(begun) == 4 + 2 * len(RISING) - 3
    assert again.metrics == whole.metrics
    assert again.tables == whole.tables
    # a stop before the result is on disk loses nothing either
    before = len(begun)
    again = probe.run(cfg, paths)
    assert again.tables == whole.tables
    assert len(begun) == before
    save_result(replace(again, figures=[]), tmp_path / "out", tmp_path / "probe.json")
    assert not any(paths.work.iterdir())
    # what another seed needs is not what was kept
    begun.clear()
    with pytest.raises(KeyboardInterrupt):
        probe.run(cfg, paths)
    begun[:] = [()] * 4
    cfg.seed = 1
    (old,) = paths.work.glob("probe-*")
    other = probe.run(cfg, paths)
    save_result(replace(other, figures=[]), tmp_path / "out", tmp_path / "probe.json")
    assert len(begun) == 4 + 2 * len(RISING)
    assert list(paths.work.iterdir()) == [old]
    assert f"kept: {old}, 3 layers probed" in capsys.readouterr().err


def test_without_a_target_nothing_is_read_and_that_is_said(stage, capsys) -> None:
    cfg, paths = stage
    cfg.targets["made"].run = False
    paths.codes = Path("nowhere")
    found = probe.run(cfg, paths)
    assert found.text.startswith("No target is run")
    assert "No target is run" in capsys.readouterr().err
    assert not found.metrics


@pytest.mark.parametrize("rows", [[3, 30], {"train": [3, 30], "val": [1]}])
def test_the_stage_leaves_out_what_overlap_found(stage, tmp_path, rows) -> None:
    cfg, paths = stage
    with pytest.raises(UserError, match=r"dvc repro overlap.*study\.probe\.leave_out_overlap"):
        probe.run(cfg, paths)
    write_overlap(tmp_path, {"voc": {"train": [1], "val": []}})
    with pytest.raises(UserError, match="says nothing of made"):
        probe.run(cfg, paths)
    write_overlap(tmp_path, {"made": rows, "voc": {"train": [1], "val": []}})
    assert probe.run(cfg, paths).extra["targets"]["made"]["left_out"] == 2
    cfg.study.probe.leave_out_overlap = False
    kept = probe.run(cfg, paths)
    assert kept.extra["targets"]["made"]["left_out"] == 0
    assert "left out" not in kept.text


@pytest.mark.parametrize("name", ["caltech101", "caltech256", "unseen"])
def test_the_papers_figures_stand_beside_the_sets_of_the_real_config(
    stage, tmp_path, root, name
) -> None:
    """The config names Table 4 or 5; the figures are those of Table 7's column for the set."""
    from zfnet.pipeline import compose as config

    small = {"run": "true", "probe_per_class": 10, "test_per_class": 5, "folds": 2}
    few = [f"targets.{name}.{key}={value}" for key, value in small.items()]
    off = [] if name == "unseen" else ["targets.unseen.run=false"]
    quick = ["study.probe.svm_grid=[1.0]", "study.probe.softmax_grid=[1.0]"]
    cfg = as_section(config.compose(root, [*off, *few, *quick]))
    _, paths = stage
    nothing = dict.fromkeys(RISING, 0.0)
    paths.codes = write_codes(tmp_path, {"trained": nothing}, name).path
    write_overlap(tmp_path, {name: []})
    found = probe.run(cfg, paths)
    table = found.tables[f"{name}_table7"]
    printed = [row[table.columns.index("paper, %")] for row in table.rows]
    assert (
        printed
        == {
            "caltech101": [44.8, 66.2, 72.3, 76.6, 86.2, 85.5, 82.9, 85.4],
            "caltech256": [24.6, 39.6, 46.0, 51.3, 65.6, 71.7, 65.7, 72.6],
            "unseen": [None] * 8,
        }[name]
    )
    assert ("Beside the paper's" in found.text) == (name != "unseen")
    assert ("Hollow: the paper's" in found.figures[0].caption) == (name != "unseen")


def test_the_result_can_be_saved_with_its_figure(result, tmp_path) -> None:
    save_result(result, tmp_path / "probe", tmp_path / "probe.json")
    loaded = load_result(tmp_path / "probe")
    assert loaded["figures"][0]["path"].is_file()
    assert loaded["metrics"]["made_svm_7"]["n"] > 0
    assert "standard deviation" in loaded["metrics"]["made_svm_7"]["note"]


def test_a_torchvision_net_with_its_weights_file_is_probed_at_its_own_layers(
    root: Path, tmp_path: Path
) -> None:
    import torch

    cfg, paths, net = carried_over(root, tmp_path)
    found = probe.run(cfg, paths)
    layers = [layer for layer in (1, 2, 3, 4, 5, 7) if f"{layer}.out" in net.taps]
    assert len(layers) > 3
    assert found.net == net.name
    table = found.tables["tints_table7"]
    svm = [row for row in table.rows if row[0] == "linear SVM"]
    assert [row[1] for row in svm] == layers
    heard: dict[int, int] = {}
    for layer in layers:
        module = net.model.get_submodule(net.taps[f"{layer}.out"])
        module.register_forward_hook(
            lambda m, a, output, layer=layer: heard.__setitem__(layer, output[0].numel())
        )
    with torch.no_grad():
        net.model(torch.zeros(1, 3, 64, 64))
    assert {row[1]: row[2] for row in svm} == heard
    for layer in layers:  # colours are told apart even by random filters
        assert found.metrics[f"tints_svm_{layer}"].value > 60
    assert found.metrics["tints_svm_7"].n == len(
        np.unique(
            np.concatenate([f.test for f in draw_folds(np.arange(30) % 3, [4], 5, 2, cfg.seed)])
        )
    )
    assert all(np.isfinite(row[table.columns.index("untrained, %")]) for row in svm)
    missing = [str(layer) for layer in (1, 2, 3, 4, 5, 7) if layer not in layers]
    assert ("The net has no layer" in found.text) == bool(missing)
    save_result(found, tmp_path / "probe", tmp_path / "probe.json")
    assert load_result(tmp_path / "probe")["figures"][0]["path"].is_file()


def test_the_options_are_those_of_conf(root: Path) -> None:
    conf = yaml.safe_load((root / "conf" / "study" / "probe.yaml").read_text(encoding="utf-8"))
    assert set(conf) == {field.name for field in fields(Options)}
    assert Options.read(SimpleNamespace(**conf)) == Options()
    wrong: list[dict[str, object]] = [
        {"svm_grid": ()}, {"softmax_grid": (0.0,)}, {"inner_folds": 1},
        {"svm_layers": ()}, {"sensitivity_folds": -1},
    ]  # fmt: skip
    for values in wrong:
        with pytest.raises(UserError, match=r"study\.probe"):
            Options(**values)  # type: ignore[arg-type]
