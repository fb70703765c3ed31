"""Transfer: softmaxes on kept features compared with nets from scratch; PASCAL by precision."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from target_places import paths_in, saved, write_overlap, write_store

from zfnet.errors import UserError
from zfnet.figures import transfer as telling
from zfnet.paper import Reported
from zfnet.pipeline.options import TargetOptions
from zfnet.pipeline.studies import Transfer
from zfnet.report import study as page
from zfnet.stats.folds import draw_folds
from zfnet.stats.precision import average_precision
from zfnet.studies import pascal, target_sets, transfer
from zfnet.studies.target_sets import LabelledSet

CLASSES = ["ant", "bee", "cat", "dog"]
TARGET = TargetOptions(
    run=True, train_per_class=(2, 6), curve_per_class=(1, 2, 4), test_per_class=5, folds=3,
    scratch_folds=2,
)  # fmt: skip
CFG = Transfer(grid=(1.0, 100.0))
N = 48
LABELS = np.arange(N) % len(CLASSES)


def features(strength, seed, dimensions=30):
    """Noise, and in it each class's own direction."""
    found = np.random.default_rng(seed).normal(size=(N, dimensions)).astype(np.float32)
    found[np.arange(N), LABELS] += strength
    return np.maximum(found, 0)


def write_scratch(folder, rate, stuck=False, learning=(), error=0.05):
    """Nets from scratch that answer right with probability `rate`; learning: (fold, size)."""
    sizes = {*TARGET.train_per_class, *TARGET.curve_per_class}
    folds = draw_folds(LABELS, sizes, TARGET.test_per_class, TARGET.folds, 0)
    rng = np.random.default_rng(9)
    listed = []
    (folder / "pets").mkdir(parents=True)
    for number in range(TARGET.scratch_folds):
        for size in TARGET.train_per_class:
            rows = folds[number].test
            right = rng.random(len(rows)) < rate
            guess = np.where(right, LABELS[rows], (LABELS[rows] + 1) % len(CLASSES))
            file = f"pets/fold{number}_n{size}.npz"
            np.savez(
                folder / file, test=rows, predicted=guess, true=LABELS[rows], train_error=error
            )
            listed.append({
                "file": file, "fold": number, "size": size, "at_chance": stuck,
                "still_learning": (number, size) in learning,
            })  # fmt: skip
    recipe = {"batch_size": 8, "lr": 0.1, "init": "he", "dropout": 0.5, "normalise": "mean_image"}
    record = {
        "format": 1,
        "net": "mobile",
        "targets": {"pets": listed},
        "steps": 9,
        "recipe": recipe,
    }
    (folder / "scratch.json").write_text(json.dumps(record))
    return transfer.ScratchPredictions.open(folder)


def fake_set(classes, labels, attributes=None):
    """Like a prepared set: classes, labels and attributes by split."""

    class Split(SimpleNamespace):
        def __len__(self):
            return len(self.labels)

    splits = {
        name: Split(labels=np.asarray(own), attributes=(attributes or {}).get(name, {}))
        for name, own in labels.items()
    }
    first = next(iter(splits.values()))
    return SimpleNamespace(
        path="data/targets/fake",
        classes=[SimpleNamespace(index=i, id=c, name=c) for i, c in enumerate(classes)],
        meta=SimpleNamespace(attributes=list(first.attributes)),
        split=splits.__getitem__,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Stages codes and scratch on a user's own net: features transfer, random weights do not."""
    folder = tmp_path_factory.mktemp("finished")
    nets = {"trained": {7: features(6, 1)}, "untrained": {7: features(0, 2)}}
    write_store(folder / "codes", "pets", {"train": nets}, "mobile")
    write_scratch(folder / "scratch", 0.5)
    return folder


@pytest.fixture
def stage(finished, tmp_path, root, monkeypatch):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    write_overlap(tmp_path, {"pets": []})
    data = fake_set(CLASSES, {"train": LABELS})
    monkeypatch.setattr(transfer.Prepared, "open", lambda path: data)

    def run(untrained=False, **changes):
        target = TARGET.model_copy(update=changes)
        cfg = CFG.model_copy(update={"targets": {"pets": target}, "untrained": untrained})
        return transfer.run(cfg, paths_in(tmp_path, root))

    return run


def measured(folder, strength, scratch, out=()):
    """One target with features of `strength`, without a control."""
    nets = {"trained": {7: features(strength, 3)}}
    store = write_store(folder, "pets", {"train": nets}, "mobile")
    own = LabelledSet("pets", TARGET, LABELS, CLASSES, out)
    return transfer.measure_per_class(own, store, scratch, CFG)


# --------------------------------------------------------------------------------------- accuracy
def test_features_that_tell_the_classes_beat_scratch_and_random_weights(stage, monkeypatch):
    counts = []
    whole = transfer.fit_best

    def watched(kind, x, own, grid, **more):
        counts.append(len(own))
        return whole(kind, x, own, grid, **more)

    monkeypatch.setattr(transfer, "fit_best", watched)
    found = stage(untrained=True)
    assert counts[:4] == [4, 8, 16, 24]  # never a test image
    value = {name: estimate.value for name, estimate in found.estimates.items()}
    assert value["pets_pretrained_6"] > 95
    assert value["pets_untrained_6"] < 60
    assert 25 < value["pets_scratch_6"] < 75
    gap = found.estimates["pets_pretrained_minus_scratch_6"]
    assert gap.low > 25
    assert (gap.unit, gap.covers, gap.trainings) == ("points", ("images",), 1)
    assert value["pets_few_images"] in (1, 2, 4)
    assert (found.net, found.facts["module"]) == ("mobile", "layer7")
    records = found.tables["pets_accuracy"].records()
    sizes = [r["train_per_class"] for r in records if r["method"] != "untrained"]
    assert sizes == [1, 2, 4, 6, 2, 6]
    assert {r["method"]: r["folds"] for r in records} == {
        "pretrained": 3, "scratch": 2, "untrained": 3
    }  # fmt: skip


def test_features_that_tell_nothing_do_not_beat_a_good_net_from_scratch(tmp_path):
    found = measured(tmp_path / "a", 0, write_scratch(tmp_path / "scratch", 0.95)).measurement
    assert found.estimates["pets_pretrained_minus_scratch_6"].high < 0
    assert np.isnan(found.estimates["pets_few_images"].value)


def test_nets_from_scratch_that_ended_at_chance_are_no_evidence(tmp_path):
    scratch = write_scratch(tmp_path / "stuck", 0.25, stuck=True)
    found = measured(tmp_path / "b", 6, scratch).measurement
    invalid = {name for name, estimate in found.estimates.items() if estimate.invalid}
    assert invalid == {
        "pets_scratch_2", "pets_scratch_6", "pets_pretrained_minus_scratch_2",
        "pets_pretrained_minus_scratch_6", "pets_few_images",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scratch", "reason"),
    [
        ({"learning": [(1, 6)]}, "still learning"),
        ({"error": 0.4, "learning": [(0, 6), (1, 6)]}, "still learning"),
        ({"error": 0.4}, "did not fit its training images"),
    ],
)
def test_nets_from_scratch_that_had_not_learned_are_compared_with_nothing(
    tmp_path, root, scratch, reason
):
    """One of the folds is enough, and of that number of images alone."""
    nets = write_scratch(tmp_path / "scratch", 0.4, **scratch)
    found = measured(tmp_path / "c", 6, nets)
    invalid = {name: each.invalid for name, each in found.measurement.estimates.items()}
    assert {invalid[f"pets_{name}_6"] for name in ("scratch", "pretrained_minus_scratch")} == {
        reason
    }
    assert invalid["pets_few_images"] == reason
    small = "" if "error" not in scratch else "did not fit its training images"
    assert invalid["pets_scratch_2"] == invalid["pets_pretrained_minus_scratch_2"] == small
    assert {invalid[f"pets_pretrained_{n}"] for n in (2, 6)} == {""}
    failed = found.measurement.facts["scratch"]["failed"][6]
    assert failed.startswith(f"{len(scratch.get('learning', (1, 1)))} of 2 nets from scratch")
    results = saved("transfer", measurement_of(found), tmp_path, root)
    assert failed in page.page("transfer", results)


def measurement_of(found):
    """As the stage hands back the one target."""
    whole = found.measurement
    return replace(whole, facts={"module": "layer7", "targets": {"pets": whole.facts}})


def test_images_of_the_source_set_neither_train_nor_test(stage, tmp_path):
    write_overlap(tmp_path, {"pets": {"train": [0, 5], "val": []}})
    facts = stage().facts["targets"]["pets"]
    assert facts["left_out"] == 2
    folds = draw_folds(LABELS, [1, 2, 4, 6], 5, 3, 0)
    tested = [len(np.setdiff1d(fold.test, [0, 5])) for fold in folds]
    assert facts["test_images"] == [min(tested), max(tested)]
    write_overlap(tmp_path, {"others": []})
    with pytest.raises(UserError, match="says nothing of pets"):
        stage()


def test_both_ways_to_coordinates_give_the_same_answers(monkeypatch):
    values = features(2, 5, dimensions=60)
    train, test = np.arange(32), np.arange(32, N)
    answers = []
    for limit in (N, N - 1):  # by the products of all pairs, and from the features themselves
        monkeypatch.setattr(target_sets, "GRAM_IMAGES", limit)
        x, rest = target_sets.Basis(values).coordinates(train, test)
        assert x.shape[1] == (32 if limit == N else 60)
        found = transfer.fit_best(transfer.Softmax, x, LABELS[train], [10.0], seed=0)
        answers.append(found.scores(rest))
    assert np.allclose(answers[0], answers[1], atol=1e-3)


def test_answers_on_other_images_are_refused(stage, tmp_path):
    with pytest.raises(UserError, match=r"fold0_n2\.npz: tested other images"):
        stage(test_per_class=4)
    file = tmp_path / "scratch" / "scratch.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"net": "other"}))
    with pytest.raises(UserError, match="nets from scratch of other"):
        stage()
    file.unlink()
    with pytest.raises(UserError, match="dvc repro scratch"):
        stage()
    without = stage(scratch_folds=0)
    assert not any("scratch" in name or "few" in name for name in without.estimates)


def test_classes_that_lose_their_images_are_named(tmp_path):
    """What is left out may leave a class fewer training images, or none."""
    folds = draw_folds(LABELS, [1, 2, 4, 6], 5, 3, 0)
    ants = [set(fold.train[6][LABELS[fold.train[6]] == 0]) for fold in folds]
    tests = set(folds[0].test[LABELS[folds[0].test] == 1])
    out = sorted({*ants[0], *tests})  # all of the first fold's ants, all of its bees to test
    found = measured(tmp_path / "some", 6, None, out)
    most = max(len(own - set(out)) for own in ants)
    assert most > 0
    short = found.measurement.facts["short"][6]
    assert next(iter(short.items())) == ("ant", [0, most])
    assert "cat" not in short
    assert found.untested() == ["bee"]


# ---------------------------------------------------------------------------------------- telling


def test_the_papers_rows_stand_above_ours(stage, tmp_path, root, monkeypatch):
    printed = {"scratch": {"train6": (22.8, 1.5)}, "pretrained": {"train2": (83.8, 0.5)}}
    printed["pretrained"]["train6"] = (86.5, None)
    rows = {
        key: SimpleNamespace(
            label=key, cells={n: Reported(value=v, spread=s) for n, (v, s) in own.items()}
        )
        for key, own in printed.items()
    }
    table = SimpleNamespace(
        place="Table 4", rows=rows, value=lambda row, n: n in printed[row] and printed[row][n][0]
    )
    monkeypatch.setattr(telling.paper, "tables", lambda root: {"table4": table})
    results = saved("transfer", stage(paper="table4"), tmp_path, root)
    shown = telling.tables(results)["pets_accuracy"]
    rows = shown.rows(results.tables["pets_accuracy"])
    assert rows[0][1:5] == [None, None, None, "22.8 ± 1.5"]
    assert rows[1][4] == "86.5"
    (axis,) = telling.figures(results)[0].draw().axes
    lines = {line.get_label(): line for line in axis.lines}
    own, theirs = lines[telling.METHODS["pretrained"]], lines["the paper: pretrained"]
    assert (own.get_marker(), own.get_color()) == (theirs.get_marker(), theirs.get_color())
    assert list(theirs.get_ydata()) == [83.8, 86.5]
    assert lines[telling.METHODS["scratch"]].get_linestyle() == "None"
    assert telling.METHODS["untrained"] not in lines
    text = page.page("transfer", results)
    assert page.est(results["pets_pretrained_minus_scratch_6"]) in text.split(page.PARTED)[0]
    assert not {"None", "nan"} & set(text.replace(",", " ").split())


def test_nothing_to_run_is_said(stage, tmp_path, root):
    results = saved("transfer", stage(run=False), tmp_path, root)
    assert not results.estimates
    assert (telling.figures(results), telling.tables(results)) == ([], {})
    assert "None" not in page.page("transfer", results)


# ------------------------------------------------------------------------------------------ PASCAL
IDS = ("aeroplane", "bicycle", "tvmonitor")
VOC = TargetOptions(run=True, protocol="voc", year=2012, paper="table6", scratch_folds=0)


def voc_set(n=60):
    """Photos that show one or two of three things, some of them doubtfully; features tell which."""
    rng = np.random.default_rng(0)
    attributes, values = {}, {}
    first = np.arange(n) % 3
    for split in ("train", "val"):
        shown = np.zeros((n, 3), bool)
        shown[np.arange(n), first] = True
        shown[np.arange(n // 2), rng.integers(3, size=n // 2)] = True
        doubtful = ~shown & (rng.random((n, 3)) < 0.1)
        words = [[" ".join(np.array(IDS)[row]) for row in each] for each in (shown, doubtful)]
        attributes[split] = {
            k: np.array(w) for k, w in zip(("present", "difficult"), words, strict=True)
        }
        own = rng.normal(size=(n, 12))
        own[:, :3] += 3 * (shown | doubtful)
        values[split] = {"trained": {7: own}, "untrained": {7: rng.normal(size=(n, 12))}}
    return fake_set(IDS, {"train": first, "val": first}, attributes), values


def test_pascal_is_scored_by_class_without_the_difficult_images(tmp_path, monkeypatch):
    data, values = voc_set()
    store = write_store(tmp_path, "voc2012", values, "mobile")
    scored = []
    whole = pascal.precisions

    def watched(scores, positive, counts, **how):
        scored.append((scores, positive, counts))
        return whole(scores, positive, counts, **how)

    monkeypatch.setattr(pascal, "precisions", watched)
    out = {"train": [1], "val": [0, 2]}
    found = pascal.measure_pascal("voc2012", VOC, data, store, out, CFG)
    facts = found.facts
    assert (facts["train_images"], facts["test_images"], facts["left_out"]) == (59, 58, 3)
    texts = data.split("val").attributes
    difficult = np.array([[c in t.split() for c in IDS] for t in texts["difficult"]])
    softmax, present, counts = next(each for each in scored if len(each[0]) == 58)
    assert (counts == ~np.delete(difficult, [0, 2], 0)).all()
    assert not (present & ~counts).any()
    assert np.allclose(np.exp(softmax).sum(1), 1)
    sigmoids, own, control = (
        found.estimates[f"voc2012_{row}_map"] for row in ("sigmoids", "softmax", "untrained")
    )
    assert sigmoids.value > max(85, control.value + 20)
    assert own.low < own.value < own.high
    table = found.tables["voc2012_precision"].records()
    keep = counts[:, 1]
    expected = 100 * average_precision(softmax[keep, 1], present[keep, 1])
    assert table[1]["softmax"] == pytest.approx(expected)
    assert table[1]["images"] == (present & counts)[:, 1].sum()
    assert [row["class"] for row in table] == [*IDS, "mean"]
    assert table[-1]["softmax"] == pytest.approx(np.mean([r["softmax"] for r in table[:-1]]))


@pytest.mark.parametrize(
    ("weak", "signal", "noise", "best"), [(100, 0.3, 1, 1e-3), (1, 1.0, 0.3, 1e3)]
)
def test_the_sigmoids_constant_is_that_of_the_best_held_out_precision(weak, signal, noise, best):
    """Many weak features ask for a small one; one that large noise hides, for a large one."""
    rng = np.random.default_rng(0)
    present = rng.random((90, 1)) < 0.5
    x = signal * present + noise * rng.normal(size=(90, weak))
    if weak == 1:
        x = np.hstack([x, 20 * rng.normal(size=(90, 4))])
    cfg = CFG.model_copy(update={"grid": (1e3, 1e-3)})
    assert best == pascal.best_sigmoids(x, present, np.ones_like(present), cfg).C


@pytest.mark.parametrize("year", [2007, 2012])
def test_table_6_has_the_papers_columns_and_each_year_its_measure(
    tmp_path, root, monkeypatch, year
):
    data, values = voc_set()
    name = f"voc{year}"
    write_store(tmp_path / "codes", name, values, "mobile")
    write_overlap(tmp_path, {name: {"train": [], "val": []}})
    monkeypatch.setattr(transfer.Prepared, "open", lambda path: data)
    target = VOC.model_copy(update={"year": year})
    cfg = CFG.model_copy(update={"targets": {name: target}})
    results = saved("transfer", transfer.run(cfg, paths_in(tmp_path, root)), tmp_path, root)
    shown = telling.tables(results)[f"{name}_precision"]
    rows = shown.rows(results.tables[f"{name}_precision"])
    assert [row[3] for row in rows] == [96.0, 77.1, 76.1, 79.0]  # aeroplane, bicycle, TV, mean
    own = results[f"{name}_softmax_map"].value
    assert rows[-1][4] == pytest.approx(own)
    facts = results.facts["targets"][name]
    assert (facts["area"]["softmax"] == pytest.approx(own)) == (year == 2012)
    (figure,) = telling.figures(results)
    assert figure.draw().legends
    text = page.page("transfer", results)
    assert not {"None", "nan"} & set(text.replace(",", " ").split())
