"""Transfer: softmaxes on kept features, nets from scratch beside them, average precision."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from adopted import carried_over

from zfnet.errors import UserError
from zfnet.paper import PaperRow, PaperTable, Reported
from zfnet.stats.folds import draw_folds
from zfnet.studies import left_out, over_folds, pascal, transfer, trials
from zfnet.studies.code_files import Codes
from zfnet.studies.over_folds import fold_means, percent, resampled, spread
from zfnet.studies.precision import average_precision, mean_precision_interval
from zfnet.studies.result import save_result

CLASSES = ["ant", "bee", "cat", "dog"]
TARGET = {
    "run": True,
    "protocol": "per_class",
    "train_per_class": [2, 6],
    "curve_per_class": [1, 2, 4],
    "test_per_class": 5,
    "folds": 3,
    "scratch_folds": 2,
    "paper": None,
}
OPTIONS = trials.Options(grid=(1.0, 100.0))
N = 48


def features(labels, strength, seed, dimensions=30):
    """Noise, and in it each class's own direction."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(len(labels), dimensions)).astype(np.float32)
    found[np.arange(len(labels)), labels] += strength
    return np.maximum(found, 0)


def write_codes(folder, sets, net="mobile"):
    """sets: {target: {split: {net: (n, d)}}}, at layer 7."""
    listed = {}
    for target, splits in sets.items():
        for split, nets in splits.items():
            for name, values in nets.items():
                place = folder / target / split / name
                place.mkdir(parents=True)
                np.save(place / "7.npy", values.astype(np.float32))
            entry = {"images": len(values), "layers": {"7": values.shape[1]}, "nets": list(nets)}
            listed.setdefault(target, {})[split] = entry
    record = {"format": 1, "net": net, "targets": listed, "taps": {"7": "avgpool"}}
    (folder / "codes.json").write_text(json.dumps(record))
    return Codes.open(folder)


def write_scratch(folder, labels, rate, net="mobile", target=TARGET, seed=0, stuck=False):
    """Nets from scratch that answer right with probability `rate`."""
    sizes = {*target["train_per_class"], *target["curve_per_class"]}
    folds = draw_folds(labels, sizes, target["test_per_class"], target["folds"], seed)
    rng = np.random.default_rng(9)
    listed = []
    (folder / "pets").mkdir(parents=True)
    for number in range(target["scratch_folds"]):
        for size in target["train_per_class"]:
            rows = folds[number].test
            right = rng.random(len(rows)) < rate
            guess = np.where(right, labels[rows], (labels[rows] + 1) % len(CLASSES))
            file = f"pets/fold{number}_n{size}.npz"
            np.savez(folder / file, test=rows, predicted=guess, true=labels[rows], train_error=0.25)
            listed.append({"file": file, "fold": number, "size": size, "at_chance": stuck})
    recipe = {"batch_size": 8, "lr": 0.1, "init": "he", "dropout": 0.5, "normalise": "mean_image"}
    record = {"format": 1, "net": net, "targets": {"pets": listed}, "steps": 9, "recipe": recipe}
    (folder / "scratch.json").write_text(json.dumps(record))


class FakeSet:
    """Like a prepared set: classes, labels and attributes by split."""

    def __init__(self, labels, classes=tuple(CLASSES), attributes=None):
        self.path = "data/targets/fake"
        self.classes = [SimpleNamespace(index=i, id=c, name=c) for i, c in enumerate(classes)]
        self.labels = {k: np.asarray(v) for k, v in labels.items()}
        self.attributes = attributes or {}
        self.meta = SimpleNamespace(attributes=list(next(iter(self.attributes.values()), {})))

    def split(self, name):
        labels = self.labels[name]
        told = {k: np.array(v) for k, v in self.attributes.get(name, {}).items()}

        class Split:
            def __init__(self):
                self.labels, self.attributes = labels, told

            def __len__(self):
                return len(labels)

        return Split()


@pytest.fixture
def labels():
    return np.arange(N) % len(CLASSES)


@pytest.fixture
def stage(tmp_path, labels, monkeypatch):
    """What the stage reads for a user's own net: features transfer, random weights do not."""
    nets = {"trained": features(labels, 6, 1), "untrained": features(labels, 0, 2)}
    write_codes(tmp_path / "codes", {"pets": {"train": nets}})
    write_scratch(tmp_path / "scratch", labels, 0.5)
    monkeypatch.setattr(transfer.Prepared, "open", lambda path: FakeSet({"train": labels}))
    monkeypatch.setattr(transfer.paper, "tables", lambda root: {})
    doubles = {"pets": [0, 5]}
    monkeypatch.setattr(left_out, "load_result", lambda folder: {"extra": {"duplicates": doubles}})
    paths = SimpleNamespace(
        root=tmp_path,
        targets=tmp_path / "targets",
        codes=tmp_path / "codes",
        scratch=tmp_path / "scratch",
        result_of=lambda name: tmp_path / "results" / name,
    )

    def run(target=TARGET, **options):
        given = {field: getattr(OPTIONS, field) for field in OPTIONS.__dataclass_fields__}
        section = SimpleNamespace(**given | options)
        study = SimpleNamespace(transfer=section)
        return transfer.run(SimpleNamespace(study=study, targets={"pets": target}, seed=0), paths)

    return run


# --------------------------------------------------------------------------------------- accuracy
def test_accuracy_is_the_mean_over_classes_not_over_images():
    labels = np.array([0, 0, 0, 1])
    rows = [np.array([0, 1, 2, 3]), np.array([0, 3])]
    right = [np.array([1, 1, 1, 0.0]), np.array([0, 1.0])]
    assert fold_means(right, rows, labels).tolist() == [0.5, 0.5]
    right[0][0] = 0
    means = fold_means(right, rows, labels)
    assert means.tolist() == pytest.approx([1 / 3, 0.5])
    assert spread(means) == pytest.approx(np.std([1 / 3, 0.5], ddof=1))
    assert spread(means[:1]) is None


def test_the_interval_is_that_of_resampling_the_images_of_every_class(monkeypatch):
    monkeypatch.setattr(over_folds, "DRAWS", 4000)
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 25, 60])
    rows = [np.sort(rng.permutation(125)[:100]) for _ in range(3)]
    values = [(rng.random(100) < 0.7).astype(float) for _ in rows]
    found = percent(values, rows, labels, 1)
    assert found.value == pytest.approx(100 * fold_means(values, rows, labels).mean())
    assert found.n == len(np.unique(np.concatenate(rows)))
    table = {(f, r): v for f in range(3) for r, v in zip(rows[f], values[f], strict=True)}
    images = np.unique(np.concatenate(rows))
    sample = []
    for _ in range(1500):  # the same by loops
        drawn = [
            rng.choice(own, len(own)) for own in (images[labels[images] == c] for c in range(3))
        ]
        folds = [
            np.mean([np.mean([table[f, r] for r in own if (f, r) in table]) for own in drawn])
            for f in range(3)
        ]
        sample.append(100 * np.mean(folds))
    low, high = np.quantile(sample, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.8)
    assert found.high == pytest.approx(high, abs=0.8)
    same = percent([np.ones(100)] * 3, rows, labels, 1)
    assert (same.low, same.value, same.high) == (100, 100, 100)


def test_all_that_are_resampled_together_share_their_draws():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 25, 60])
    rows = [np.sort(rng.permutation(125)[:100]) for _ in range(3)]
    one, other = ([(rng.random(100) < p).astype(float) for _ in rows] for p in (0.7, 0.4))
    gaps = [a - b for a, b in zip(one, other, strict=True)]
    values = {"one": one, "other": other, "gap": gaps, "again": one}
    drawn = resampled(values, rows, labels, 5)
    assert {len(each) for each in drawn.values()} == {over_folds.DRAWS}
    assert np.allclose(drawn["one"] - drawn["other"], drawn["gap"])
    assert np.array_equal(drawn["one"], drawn["again"])
    assert drawn["gap"].std() > 0
    # a key by itself gets the same draws: equal answers, equal intervals, in whatever study
    assert np.allclose(resampled({0: one}, rows, labels, 5)[0], drawn["one"])
    alone = percent(one, rows, labels, 5)
    assert (alone.low, alone.high) == pytest.approx(
        tuple(100 * np.quantile(drawn["one"], [0.025, 0.975]))
    )


def test_resampling_every_image_once_gives_the_mean_over_folds(monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    rows = [fold.test for fold in draw_folds(labels, [1], 2, folds=4, seed=0)]
    values = [rng.random(len(own)) for own in rows]

    class Once:
        def multinomial(self, n, p, size):
            return np.ones((size, n), int)

    monkeypatch.setattr(over_folds.np.random, "default_rng", lambda seed: Once())
    drawn = resampled({"it": values}, rows, labels, 0)["it"]
    assert np.allclose(drawn, fold_means(values, rows, labels).mean())


# --------------------------------------------------------------------------------------- the study
def test_features_that_tell_the_classes_beat_scratch_and_random_weights(stage, tmp_path, labels):
    result = stage(leave_out_overlap=False)
    value = {name: measured.value for name, measured in result.metrics.items()}
    assert value["pets_pretrained_6"] > 95
    assert value["pets_untrained_6"] < 60
    assert 25 < value["pets_scratch_6"] < 75
    assert value["pets_pretrained_minus_scratch_6"] > 25
    gap = result.metrics["pets_pretrained_minus_scratch_6"]
    assert gap.low > 0
    assert gap.unit == "points"
    assert value["pets_few_images"] in (1, 2, 4)
    assert result.net == "mobile"
    assert result.extra["module"] == "avgpool"
    assert result.extra["headline"] == ["pets_pretrained_6", "pets_pretrained_minus_scratch_6"]
    assert set(result.extra["headline"]) <= set(result.metrics)
    columns = list(result.tables["pets"].columns)
    assert columns == ["method", "2 a class", "6 a class", "test images", "folds"]
    methods = [row[0] for row in result.tables["pets"].rows]
    assert len(methods) == 4
    assert methods[-1] == "guessing"
    assert result.tables["pets"].rows[1][-2:] == ["20", "2"]
    assert all(measured.n and measured.n >= 20 for measured in result.metrics.values())
    sizes = [row[2] for row in result.tables["measured"].rows if "random" not in row[1]]
    assert sizes == [1, 2, 4, 6, 2, 6]
    save_result(result, tmp_path / "out", tmp_path / "metrics.json")
    assert (tmp_path / "out" / "figures" / "transfer_curve.png").is_file()
    save_result(stage(leave_out_overlap=False), tmp_path / "again", tmp_path / "metrics2.json")
    assert (tmp_path / "metrics.json").read_bytes() == (tmp_path / "metrics2.json").read_bytes()


def test_features_that_tell_nothing_do_not_beat_a_good_net_from_scratch(tmp_path, labels):
    codes = write_codes(
        tmp_path / "codes", {"pets": {"train": {"trained": features(labels, 0, 3)}}}
    )
    write_scratch(tmp_path / "scratch", labels, 0.95)
    scratch = trials.Scratch.open(tmp_path / "scratch")
    found = trials.measure_per_class(
        "pets", TARGET, labels, CLASSES, codes, scratch, [], OPTIONS, 0
    )
    metrics = found.metrics()
    assert metrics["pets_pretrained_minus_scratch_6"].high < 0
    assert np.isnan(metrics["pets_few_images"].value)
    assert "With no number tried" in transfer.tell(found, {})
    assert not any("untrained" in name for name in metrics)
    write_scratch(tmp_path / "stuck", labels, 0.25, stuck=True)
    scratch = trials.Scratch.open(tmp_path / "stuck")
    found = trials.measure_per_class(
        "pets", TARGET, labels, CLASSES, codes, scratch, [], OPTIONS, 0
    )
    assert "2 of 2 nets ended at chance" in transfer.tell(found, {})
    assert "suffice" not in transfer.tell(found, {})
    assert "ended at chance" in found.metrics()["pets_few_images"].note
    assert "ended at chance" in transfer.per_class_table(found, None, "net").caption


def test_images_of_the_source_set_neither_train_nor_test(stage, labels):
    codes_before = stage(leave_out_overlap=False)
    result = stage()
    assert result.extra["left_out"] == {"pets": 2}
    folds = draw_folds(labels, [1, 2, 4, 6], 5, 3, 0)
    tested = [len(np.setdiff1d(fold.test, [0, 5])) for fold in folds]
    assert result.extra["test_images"]["pets"] == tested
    assert sum(tested) < sum(codes_before.extra["test_images"]["pets"])
    assert "left out" in result.text
    assert "left out" not in codes_before.text


def test_the_softmax_never_sees_a_test_image(stage, labels, monkeypatch):
    seen = []
    whole = trials.fit_best

    def watched(kind, x, own, grid, **more):
        seen.append(len(own))
        return whole(kind, x, own, grid, **more)

    monkeypatch.setattr(trials, "fit_best", watched)
    stage(leave_out_overlap=False, untrained=False)
    assert seen == [4, 8, 16, 24] * 3


def test_both_ways_to_coordinates_give_the_same_answers(labels, monkeypatch):
    values = features(labels, 2, 5, dimensions=60)
    train, test = np.arange(32), np.arange(32, N)
    answers = []
    for limit in (N, N - 1):  # by the products of all pairs, and from the features themselves
        monkeypatch.setattr(trials, "GRAM_IMAGES", limit)
        x, rest = trials.Basis(values).coordinates(train, test)
        assert x.shape[1] == (32 if limit == N else 60)
        found = trials.fit_best(trials.Softmax, x, labels[train], [10.0], seed=0)
        answers.append(found.scores(rest))
    assert np.allclose(answers[0], answers[1], atol=1e-3)


def test_answers_on_other_images_are_refused(stage, tmp_path, labels):
    with pytest.raises(UserError, match=r"fold0_n2\.npz: tested other images"):
        stage({**TARGET, "test_per_class": 4})
    file = tmp_path / "scratch" / "scratch.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"net": "other"}))
    with pytest.raises(UserError, match="nets from scratch of other"):
        stage()
    file.unlink()
    with pytest.raises(UserError, match="dvc repro scratch"):
        stage()
    without = stage({**TARGET, "scratch_folds": 0})
    assert not any("scratch" in name or "few" in name for name in without.metrics)
    assert "No net was trained from scratch" in without.text


def test_the_papers_rows_stand_above_ours(stage, monkeypatch):
    cells = {"train2": None, "train6": Reported(22.8, 1.5)}
    better = {"train2": Reported(83.8, 0.5), "train6": Reported(86.5)}
    rows = {
        "scratch": PaperRow("the net from scratch", cells, 2),
        "pretrained": PaperRow("the net trained on ImageNet", better, 2),
    }
    table = PaperTable("table4", "Table 4", "t", "%", "higher", {}, rows)
    monkeypatch.setattr(transfer.paper, "tables", lambda root: {"table4": table})
    result = stage({**TARGET, "paper": "table4"})
    assert result.tables["pets"].rows[0] == [
        "the net from scratch (paper)",
        "–",
        "22.8 ± 1.5",
        "",
        "",
    ]
    assert result.tables["pets"].rows[1][2] == "86.5"
    assert "22.8 % and 86.5 % at 6 a class" in result.text
    with pytest.raises(UserError, match=r"targets\.pets\.paper=table9"):
        stage({**TARGET, "paper": "table9"})
    other = stage()  # a set that the paper has not: its rows are not ours to compare with
    assert not any("paper" in row[0] for row in other.tables["pets"].rows)


def test_nothing_to_run_is_said_and_options_are_checked(stage, capsys):
    result = stage({**TARGET, "run": False})
    assert not result.metrics
    assert "No target is run" in capsys.readouterr().err
    for options in ({"grid": ()}, {"grid": (0.0,)}, {"inner_folds": 1}, {"precision_draws": 1}):
        with pytest.raises(UserError, match=f"study.transfer.{next(iter(options))}"):
            stage(**options)


def test_a_torchvision_net_with_its_weights_file_is_carried_over(root, tmp_path):
    from zfnet.training import scratch

    cfg, paths, net = carried_over(root, tmp_path)
    scratch.run(cfg, paths)
    result = transfer.run(cfg, paths)
    assert result.net == net.name
    assert result.extra["module"] == net.taps["7.out"]
    assert result.metrics["tints_pretrained_4"].value > 60
    assert {name.rsplit("_", 1)[0] for name in result.metrics} == {
        "tints_pretrained", "tints_scratch", "tints_untrained", "tints_pretrained_minus_scratch",
        "tints_pretrained_minus_untrained", "tints_few",
    }  # fmt: skip
    assert result.tables["tints"].rows[1][0] == f"{net.name}: the same net from scratch"
    caption = result.tables["tints"].caption
    assert "2 steps of" in caption
    assert "first weights as torchvision draws them, dropout 0," in caption
    save_result(result, tmp_path / "out", tmp_path / "metrics.json")
    assert (tmp_path / "out" / "figures" / "transfer_curve.png").is_file()


def test_the_caption_names_the_marks_that_are_drawn(stage, monkeypatch):
    from zfnet.figures.transfer import MARKERS

    def drawn(result):
        figure = result.figures[0].draw()
        (axis,) = figure.axes
        return {line.get_label(): line for line in axis.lines}, result.figures[0].caption

    lines, caption = drawn(stage())
    marks = {label: line.get_marker() for label, line in lines.items()}
    assert marks[trials.WORDS["pretrained"]] == "o" == MARKERS[0]
    assert marks[trials.WORDS["untrained"]] == "^"
    assert marks[trials.WORDS["scratch"]] == "s"
    assert lines[trials.WORDS["scratch"]].get_linestyle() == "None"
    assert "Circles, joined: layers 1-7 kept" in caption
    assert "Triangles, joined: layers 1-7 with random weights" in caption
    assert "Squares: the same net from scratch" in caption
    assert "the paper's" not in caption
    # a method that is not there changes neither the others' marks nor is it named
    lines, caption = drawn(stage(untrained=False))
    assert lines[trials.WORDS["scratch"]].get_marker() == "s"
    assert "Squares: the same net from scratch" in caption
    assert "random weights" not in caption
    lines, caption = drawn(stage({**TARGET, "scratch_folds": 0}))
    assert lines[trials.WORDS["untrained"]].get_marker() == "^"
    assert "from scratch" not in caption
    cells = {"train2": Reported(70.0), "train6": Reported(80.0)}
    for rows, words in (
        (("pretrained",), "; hollow marks: the paper's"),
        (("others",), "; grey marks: the paper's"),
        (("pretrained", "others"), "; hollow marks and grey marks: the paper's"),
    ):
        entries = {row: PaperRow(row, cells, 2) for row in rows}
        table = PaperTable("table4", "Table 4", "t", "%", "higher", {}, entries)
        monkeypatch.setattr(transfer.paper, "tables", lambda root, t=table: {"table4": t})
        lines, caption = drawn(stage({**TARGET, "paper": "table4"}))
        assert words in caption
        assert {f"paper: {row}" for row in rows} <= set(lines)


def test_classes_that_lose_their_images_are_named(tmp_path, labels):
    """What is left out may leave a class fewer training images, or none."""
    codes = write_codes(
        tmp_path / "codes", {"pets": {"train": {"trained": features(labels, 6, 3)}}}
    )
    folds = draw_folds(labels, [1, 2, 4, 6], 5, 3, 0)
    ants = [set(fold.train[6][labels[fold.train[6]] == 0]) for fold in folds]
    tests = set(folds[0].test[labels[folds[0].test] == 1])
    out = sorted({*ants[0], *tests})  # all of the first fold's ants, all of its bees to test
    found = trials.measure_per_class("pets", TARGET, labels, CLASSES, codes, None, out, OPTIONS, 0)
    left = [len(own - set(out)) for own in ants]
    assert min(left) == 0 < max(left)
    assert found.folds[0].short[6][0] == 0
    assert found.short(6)["ant"] == (0, max(left))
    assert next(iter(found.short(6))) == "ant"
    assert "cat" not in found.short(6)
    assert found.untested() == ["bee"]
    caption = transfer.per_class_table(found, None, "net").caption
    assert f"ant on 0–{max(left)}" in caption
    assert "Of bee a fold has no test image left" in caption
    whole = trials.measure_per_class("pets", TARGET, labels, CLASSES, codes, None, [], OPTIONS, 0)
    assert not whole.short(6)
    assert "fewer images" not in transfer.per_class_table(whole, None, "net").caption


# -------------------------------------------------------------------------------------- precision
def test_average_precision_by_hand():
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    # recall 0.5 at precision 1, recall 1 at precision 2/3
    found = average_precision(scores, np.array([1, 0, 1, 0]))
    assert found == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    eleven = average_precision(scores, np.array([1, 0, 1, 0]), eleven_points=True)
    assert eleven == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    # precision is 1/2 then 2/3: the envelope lifts the first to 2/3
    assert average_precision(scores, np.array([0, 1, 1, 0])) == pytest.approx(2 / 3)
    assert np.isnan(average_precision(scores, np.zeros(4)))
    # equal scores have one rank: 2 of 4 at every recall
    assert average_precision(np.ones(4), np.array([1, 0, 1, 0])) == pytest.approx(0.5)


def devkit(scores, positive, eleven_points):
    """VOC's own program in other words: pad the curve, make it fall, sum its steps."""
    order = np.argsort(-scores)
    hits = positive[order]
    recall = np.concatenate([[0], np.cumsum(hits) / hits.sum(), [1]])
    precision = np.concatenate([[0], np.cumsum(hits) / np.arange(1, len(hits) + 1), [0]])
    if eleven_points:
        tops = [precision[recall >= t - 1e-12].max(initial=0) for t in np.linspace(0, 1, 11)]
        return np.mean(tops)
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    steps = np.flatnonzero(recall[1:] != recall[:-1])
    return ((recall[steps + 1] - recall[steps]) * precision[steps + 1]).sum()


@pytest.mark.parametrize("eleven_points", [False, True])
def test_average_precision_is_that_of_vocs_program(eleven_points):
    rng = np.random.default_rng(0)
    for n in (5, 20, 200):
        for _ in range(20):
            scores, positive = rng.random(n), rng.random(n) < 0.4
            positive[rng.integers(n)] = True
            found = average_precision(scores, positive, eleven_points=eleven_points)
            assert found == pytest.approx(devkit(scores, positive, eleven_points))


def test_the_area_is_scikit_learns_where_precision_falls_by_itself():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(1)
    equal = 0
    for _ in range(300):
        positive, scores = rng.random(8) < 0.5, rng.permutation(8).astype(float)
        if not positive.any():
            continue
        found, theirs = (
            average_precision(scores, positive),
            average_precision_score(positive, scores),
        )
        ranked = positive[np.argsort(-scores)]
        at_hits = (np.cumsum(ranked) / np.arange(1, 9))[ranked]
        if (np.diff(at_hits) <= 0).all():
            assert found == pytest.approx(theirs)
            equal += 1
        else:
            assert found > theirs
    assert equal > 50


@pytest.mark.parametrize("eleven_points", [False, True])
def test_the_interval_of_the_mean_precision_holds_its_value(eleven_points):
    rng = np.random.default_rng(2)
    present = rng.random((400, 5)) < 0.3
    counts = rng.random((400, 5)) < 0.9
    scores = present + rng.normal(size=present.shape)
    how = {"eleven_points": eleven_points}
    low, high = mean_precision_interval(scores, present, counts, seed=1, draws=300, **how)
    value = np.mean([
        average_precision(scores[counts[:, k], k], present[counts[:, k], k], **how)
        for k in range(5)
    ])  # fmt: skip
    assert low < value < high
    assert 0.03 < high - low < 0.2
    # a poor ranking's samples lie above its value: the interval holds it all the same
    noise = rng.normal(size=present.shape)
    low, high = mean_precision_interval(noise, present, counts, seed=1, draws=300, **how)
    value = np.mean([
        average_precision(noise[counts[:, k], k], present[counts[:, k], k], **how)
        for k in range(5)
    ])  # fmt: skip
    assert low < value < high
    # a perfect ranking stays perfect in every sample
    perfect = mean_precision_interval(present.astype(float), present, counts, **how)
    assert perfect == pytest.approx((1, 1))


# ------------------------------------------------------------------------------------------ PASCAL
IDS = ("aeroplane", "bicycle", "tvmonitor")
VOC = {
    "run": True, "protocol": "voc", "year": 2012, "paper": "table6", "train_per_class": [],
    "curve_per_class": [], "scratch_folds": 0,
}  # fmt: skip


def voc_set(seed=0, n=60):
    """Photos that show one or two of three things, some of them doubtfully; codes tell which."""
    rng = np.random.default_rng(seed)
    labels, attributes, codes = {}, {}, {}
    for split in ("train", "val"):
        first = np.arange(n) % 3
        shown = np.zeros((n, 3), bool)
        shown[np.arange(n), first] = True
        more = rng.integers(3, size=n)
        shown[np.arange(n)[: n // 2], more[: n // 2]] = True
        doubtful = ~shown & (rng.random((n, 3)) < 0.1)
        labels[split] = first
        words = [[" ".join(np.array(IDS)[row]) for row in each] for each in (shown, doubtful)]
        attributes[split] = dict(zip(("present", "difficult"), words, strict=True))
        values = rng.normal(size=(n, 12)) + 0.0
        values[:, :3] += 3 * (shown | doubtful)
        codes[split] = {"trained": values, "untrained": rng.normal(size=(n, 12))}
    return FakeSet(labels, IDS, attributes), codes


def test_pascal_is_scored_by_class_without_the_difficult_images(tmp_path):
    data, values = voc_set()
    codes = write_codes(tmp_path, {"voc2012": values})
    doubles = {"train": [1], "val": [0, 2]}
    found = pascal.measure_pascal("voc2012", VOC, data, codes, doubles, OPTIONS, 0)
    assert found.trained == 59
    assert found.test_images == 58
    assert (found.left_out, found.eleven) == (3, False)
    texts = data.split("val").attributes
    difficult = np.array([[c in t.split() for c in IDS] for t in texts["difficult"]])
    assert (found.counts == ~np.delete(difficult, [0, 2], 0)).all()
    assert not (found.present & ~found.counts).any()
    metrics = found.metrics()
    assert metrics["voc2012_sigmoids_map"].value > 85
    assert metrics["voc2012_sigmoids_map"].value > metrics["voc2012_untrained_map"].value + 20
    assert metrics["voc2012_softmax_map"].value > metrics["voc2012_untrained_map"].value
    own = metrics["voc2012_softmax_map"]
    assert own.low < own.value < own.high
    by_class = found.precisions("softmax", False)
    keep = found.counts[:, 1]
    assert by_class[1] == pytest.approx(
        100 * devkit(found.scores["softmax"][keep, 1], found.present[keep, 1], False)
    )
    p = np.exp(found.scores["softmax"])
    assert np.allclose(p.sum(1), 1)


def test_table_6_has_the_papers_columns_by_its_own_words(tmp_path):
    data, values = voc_set()
    codes = write_codes(tmp_path, {"voc2012": values})
    rows = {
        name: PaperRow(name, {"yan": Reported(97.3), "pretrained": Reported(96.0)}, 2)
        for name in ("airplane", "tv")
    }
    columns = {"yan": "Yan et al. 2012", "pretrained": "the net trained on ImageNet"}
    printed = {"mean": {"pretrained": 79.0}}
    table = PaperTable("table6", "Table 6", "t", "%", "higher", columns, rows, printed)
    found = pascal.measure_pascal("voc2012", VOC, data, codes, {}, OPTIONS, 0)
    result = transfer.study([found], codes, {"table6": table})
    made = result.tables["voc2012"]
    assert made.columns[:3] == [
        "class",
        "paper: Yan et al. 2012",
        "paper: the net trained on ImageNet",
    ]
    assert made.rows[0][:3] == ["aeroplane", 97.3, 96.0]
    assert made.rows[1][:3] == ["bicycle", None, None]
    assert made.rows[2][:3] == ["tvmonitor", 97.3, 96.0]
    assert made.rows[3][:3] == ["mean", None, 79.0]
    assert made.rows[3][3] == pytest.approx(np.mean(found.precisions("softmax", False)))
    assert "scored on the validation part" in result.text
    assert "79 %" in result.text
    assert result.extra["card"] == "voc2012_precision"
    earlier = pascal.measure_pascal(
        "voc2007", VOC | {"year": 2007}, data, write_codes(tmp_path / "7", {"voc2007": values}), {},
        OPTIONS, 0,
    )  # fmt: skip
    assert earlier.eleven
    made = pascal.pascal_table(earlier, table)
    assert made.rows[-1][0] == "mean, by the area under the curve"
    assert made.rows[-1][3] != made.rows[-2][3]
    assert "eleven recalls" in made.caption
    assert "scored on the test part" in made.caption
