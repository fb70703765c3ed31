from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from blots import CLASSES, MODEL, TRAINING, make_prepared

from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.models.checkpoint import load_net, save_net
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.net import convnet_net
from zfnet.models.spec import build_spec
from zfnet.pipeline.options import checked
from zfnet.pipeline.studies import Scratch
from zfnet.stats.folds import draw_folds
from zfnet.training import processes, scratch

TARGET = {
    "run": True,
    "protocol": "per_class",
    "train_per_class": [2, 5],
    "curve_per_class": [1],
    "test_per_class": 4,
    "folds": 3,
    "scratch_folds": 2,
}
LEARNS = {"init": "he", "normalise": "standardise", "dropout": 0.0}


@pytest.fixture(scope="module", autouse=True)
def same_code() -> Iterator[None]:
    """The code is taken not to change between two runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "closure_hash", lambda module: "code")
        yield


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("targets")
    make_prepared(folder / "blots", train=66, val=6)
    return folder


def save_small_net(folder: Path, seed: int, mean: float, threads: int | None = None) -> None:
    """A net of other classes than the target's, with weights of `seed`."""
    keys = ("input_px", "width", "fc_units", "lrn", "changes")
    spec = build_spec("zfnet", num_classes=3, **{key: MODEL[key] for key in keys})
    model = ConvNet(spec)
    init_weights(model, "he", width=spec.width, seed=seed)
    image = np.full((3, 40, 40), mean, np.float32)
    facts = {"training": TRAINING | {"threads": threads}, "seed": 0}
    save_net(convnet_net(model, image, ["a", "b", "c"], "zfnet", facts), folder)


@pytest.fixture(scope="module")
def places(targets: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    net = tmp_path_factory.mktemp("net")
    save_small_net(net, 1, 100.0)

    def make(root: Path, **more: Any) -> SimpleNamespace:
        given = {"net": net, "targets": targets, "work": root / "work", "results": root / "scratch"}
        given |= {"further": ""}
        return SimpleNamespace(**given | more)

    return make


def config(target: dict[str, Any] | None = None, **options: Any) -> Scratch:
    """Options with the set blots, as `target` changes it."""
    section = {
        "steps": 6,
        "targets": {"blots": TARGET | (target or {})},
        "training": TRAINING | {"lr": 0.5},  # the net's own recipe goes before the config's
        "seed": 4,
        "device": "cpu",
    }
    return checked(Scratch, section | options, "study.scratch")


@pytest.fixture(scope="module")
def unbroken(
    places: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> SimpleNamespace:
    paths = places(tmp_path_factory.mktemp("unbroken"))
    paths.timing = scratch.run(config(), paths)
    return paths


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_every_fold_and_size_is_tested_on_its_own_images(
    unbroken: SimpleNamespace, targets: Path
) -> None:
    record = json.loads((unbroken.results / "scratch.json").read_text())
    listed = record["targets"]["blots"]
    assert [(each["fold"], each["size"]) for each in listed] == [(0, 2), (0, 5), (1, 2), (1, 5)]
    labels = Prepared.open(targets / "blots").split("train").labels
    folds = draw_folds(labels, [1, 2, 5], 4, 3, 4)
    for each in listed:
        saved = np.load(unbroken.results / each["file"])
        assert each["file"] == f"blots/fold{each['fold']}_n{each['size']}.npz"
        assert saved["test"].tolist() == folds[each["fold"]].test.tolist()
        assert saved["true"].tolist() == labels[saved["test"]].tolist()
        assert saved["predicted"].shape == saved["test"].shape
        assert set(saved["predicted"]) <= set(range(CLASSES))
        assert each["images"] == CLASSES * each["size"]
        assert each["train_error"] == pytest.approx(float(saved["train_error"]), rel=1e-5)
    assert record["recipe"]["lr"] == TRAINING["lr"]
    assert record["steps"] == 6
    assert not any(unbroken.work.iterdir())
    assert len(unbroken.timing["trainings"]) == 4


def test_stopped_and_run_again_it_keeps_what_was_finished(
    unbroken: SimpleNamespace,
    places: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = places(tmp_path)
    whole, seen = scratch.fit, []

    def broken(*args: Any) -> float:
        seen.append(args)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(scratch, "fit", broken)
        with pytest.raises(KeyboardInterrupt):
            scratch.run(config(), paths)
    assert not paths.results.exists()
    torch.manual_seed(999)  # another process, another state of the global generator
    timing = scratch.run(config(), paths)
    assert timing["found_finished"] == 2
    assert len(timing["trainings"]) == 2
    assert files(paths.results) == files(unbroken.results)
    assert "(1 of 4): finished before" in capsys.readouterr().err


def test_trainings_at_the_same_time_find_what_they_find_alone(
    places: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    alone, beside = places(tmp_path / "alone"), places(tmp_path / "beside")
    save_small_net(tmp_path / "net", 1, 100.0, threads=1)
    alone.net = beside.net = tmp_path / "net"
    cfg = config()
    monkeypatch.setattr(processes, "cores", lambda: 1)
    scratch.run(cfg, alone)
    monkeypatch.setattr(processes, "cores", lambda: 2)
    in_this_process = []
    monkeypatch.setattr(scratch, "fit", lambda *args: in_this_process.append(args))
    timing = scratch.run(cfg, beside)
    assert not in_this_process
    assert files(beside.results) == files(alone.results)
    assert [each["file"] for each in timing["trainings"]] == [
        f"blots/fold{fold}_n{size}.npz" for fold in (0, 1) for size in (2, 5)
    ]
    # a fault of one is told as ever, and those that were finished are kept
    monkeypatch.undo()
    monkeypatch.setattr(scratch, "closure_hash", lambda module: "code")
    monkeypatch.setattr(processes, "cores", lambda: 2)
    with pytest.raises(UserError, match=r"lower study\.scratch\.lr"):
        scratch.run(config(lr=1e30), places(tmp_path / "bad", net=tmp_path / "net"))


def test_a_net_whose_loss_still_falls_is_still_learning() -> None:
    """At the rate before its last drop, over the last quarter of its steps."""
    recipe = {"schedule": "steps", "lr": 0.1, "steps": {"at": [0.8], "factor": 0.1}, "epochs": 400}
    guessing = np.log(12)
    falling = np.linspace(guessing, 0.3 * guessing, 400)
    assert scratch.not_done(falling, recipe, 12)
    rested = np.maximum(0.05, guessing - 0.03 * np.arange(400))
    assert not scratch.not_done(rested, recipe, 12)
    noisy = rested + np.random.default_rng(0).normal(0, 0.2, 400)
    assert not scratch.not_done(noisy, recipe, 12)
    assert scratch.not_done(falling[:1], recipe | {"epochs": 1}, 12) in (True, False)
    dropped = np.where(np.arange(400) < 320, 1.0, 0.2)  # what the drop itself gains
    assert not scratch.not_done(dropped, recipe, 12)


def stopped_before_publishing(cfg: Any, paths: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "publish", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            scratch.run(cfg, paths)


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"paper": "table4", "probe_per_class": 3, "folds": 4, "curve_per_class": [1, 3]}, 4),
        ({"scratch_folds": 1}, 2),
        ({"scratch_folds": 3}, 4),
        ({"train_per_class": [5]}, 2),
        ({"test_per_class": 3}, 0),
        ({"curve_per_class": [6]}, 0),
    ],
)
def test_a_finished_training_is_kept_while_nothing_it_depends_on_changes(
    changed: dict[str, Any],
    kept: int,
    places: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And what is kept is what the changed section would train itself."""
    paths = places(tmp_path)
    cfg = config({"paper": None, "probe_per_class": 2}, steps=1)
    stopped_before_publishing(cfg, paths)
    cfg = config({"paper": None, "probe_per_class": 2} | changed, steps=1)
    assert scratch.run(cfg, paths)["found_finished"] == kept
    anew = places(tmp_path / "anew")
    assert scratch.run(cfg, anew)["found_finished"] == 0
    assert files(paths.results) == files(anew.results)
    assert len(files(paths.results)) > 1


def test_another_target_switched_on_leaves_the_first_ones_trainings(
    targets: Path, places: Callable[..., Any], tmp_path: Path
) -> None:
    import shutil

    for name in ("blots", "blots-2"):
        shutil.copytree(targets / "blots", tmp_path / "targets" / name)
    paths = places(tmp_path, targets=tmp_path / "targets")
    cfg = config(steps=1)
    stopped_before_publishing(cfg, paths)
    both = {"blots": TARGET, "blots-2": TARGET | {"scratch_folds": 1}}
    timing = scratch.run(config(steps=1, targets=both), paths)
    assert (timing["found_finished"], len(timing["trainings"])) == (4, 2)
    record = json.loads((paths.results / "scratch.json").read_text())
    assert {name: len(each) for name, each in record["targets"].items()} == {
        "blots": 4, "blots-2": 2,
    }  # fmt: skip
    assert all((paths.results / e["file"]).is_file() for o in record["targets"].values() for e in o)
    assert not any(paths.work.iterdir())


def test_nothing_of_the_trained_net_but_its_architecture_is_used(
    unbroken: SimpleNamespace, places: Callable[..., Any], tmp_path: Path
) -> None:
    save_small_net(tmp_path / "other", 7, 3.0)
    paths = places(tmp_path, net=tmp_path / "other")
    scratch.run(config(), paths)
    assert files(paths.results) == files(unbroken.results)


def test_a_training_is_bit_for_bit_that_of_the_train_stage(
    tmp_path: Path, config: Callable[..., SimpleNamespace], places: Callable[..., SimpleNamespace],
    prepared: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """On all images of a set at a constant rate, two epochs give the same weights by either way."""
    from zfnet.training import stage

    monkeypatch.setattr(stage, "closure_hash", lambda module: "code")
    cfg = config(epochs=2, schedule="steps", steps={"at": [], "factor": 0.5}, max_filter_rms=0.035)
    paths = SimpleNamespace(
        prepared=prepared,
        work=tmp_path / "work",
        final=tmp_path / "final",
        epochs=tmp_path / "epochs",
        metrics=tmp_path / "metrics.json",
    )
    stage.run(cfg, paths)
    net = load_net(paths.final)
    split = Prepared.open(prepared).split("train")
    steps = 2 * 3  # 44 images in batches of 16
    training = cfg.training.model_dump() | {"epochs": steps, "normalise": "mean_image"}
    rows = np.arange(len(split))
    drawn = scratch.first_net(net, split, rows, net.classes, training, cfg.seed)
    assert torch.allclose(drawn.normalise.mean, net.normalise.mean, atol=1e-4)
    drawn.normalise.mean.copy_(net.normalise.mean)  # one sums whole numbers, the other float64
    drawn.model.to(memory_format=torch.channels_last)
    losses = scratch.fit(drawn, split, rows, training, cfg.seed, torch.device("cpu"), "test")
    assert losses.shape == (steps,)
    state = net.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in drawn.model.state_dict().items())
    history = (paths.final / "history.csv").read_text().splitlines()
    loss = losses[-3:].mean()
    assert loss == pytest.approx(float(history[-1].split(",")[2]), rel=0.05)  # batches weigh alike


def test_enough_steps_learn_the_training_images(
    places: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = {"scratch_folds": 1, "train_per_class": [5], "curve_per_class": []}
    scratch.run(config(once, steps=1), places(tmp_path / "few"))
    few = json.loads((tmp_path / "few" / "scratch" / "scratch.json").read_text())
    assert few["targets"]["blots"][0]["at_chance"]
    assert not few["targets"]["blots"][0]["still_learning"]  # one word is enough
    assert "init=he" in capsys.readouterr().err
    paths = places(tmp_path / "many")
    scratch.run(config(once, steps=150, lr=0.002, **LEARNS), paths)
    (record,) = json.loads((paths.results / "scratch.json").read_text())["targets"]["blots"]
    assert not record["at_chance"]
    assert record["train_error"] < 0.6  # 0.83: guessing
    saved = np.load(paths.results / record["file"])
    assert (saved["predicted"] == saved["true"]).mean() > 2 / CLASSES


def test_options_go_before_the_nets_recipe(targets: Path, places: Callable[..., Any]) -> None:
    net = load_net(places(targets).net)
    split, rows = Prepared.open(targets / "blots").split("train"), np.arange(9)
    for dropout, normalise, p, kind in (
        (None, None, 0.5, "mean_image"),
        (0.1, "standardise", 0.1, "standardise"),
    ):
        training = scratch.recipe_of(net, config(dropout=dropout, normalise=normalise))
        drawn = scratch.first_net(net, split, rows, list("abcdef"), training, 0)
        found = {m.p for m in drawn.model.modules() if isinstance(m, torch.nn.Dropout)}
        assert (training["lr"], training["schedule"]) == (TRAINING["lr"], "steps")
        assert (found, drawn.normalise.kind) == ({p}, kind)
        pixels = split.images(rows)[:, 3:36, 3:36].astype(np.float32)
        x = drawn.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        assert abs(float(x.mean())) < (0.3 if kind == "standardise" else 1e-3)


def test_a_torchvision_net_learns_with_its_own_kind_of_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from zfnet.models.foreign import torchvision_net

    prepared = Prepared.open(make_prepared(tmp_path / "targets" / "blots", 24, 6, size=64))
    net = torchvision_net("resnet18", "random", prepared.classes, input_px=64)
    save_net(net, tmp_path / "net")
    paths = SimpleNamespace(
        further="",
        net=tmp_path / "net",
        targets=tmp_path / "targets",
        work=tmp_path / "work",
        results=tmp_path / "scratch",
    )
    small = {"scratch_folds": 1, "train_per_class": [2], "curve_per_class": []}
    cfg = config(small, steps=2, batch_size=11, lr=0.01)  # 12 images: the last batch has one
    scratch.run(cfg, paths)
    record = json.loads((paths.results / "scratch.json").read_text())
    assert record["arch"] == "torchvision/resnet18"
    assert (record["recipe"]["init"], record["recipe"]["dropout"]) == (None, None)
    wished = scratch.recipe_of(load_net(paths.net), config(init="he"))
    assert wished["init"] is None  # there is no choice
    # a net that ended at chance is given advice that it can follow
    scratch.run(config(small, steps=2, batch_size=11, lr=1e-9), paths)
    assert "init=he" not in capsys.readouterr().err.split("WARNING")[-1]
    assert np.load(paths.results / "blots" / "fold0_n2.npz")["predicted"].shape == (12,)
    rows = np.array([0, 3, 5])
    split = prepared.split("train")
    training = {**TRAINING, "normalise": "standardise"}
    drawn = scratch.first_net(load_net(paths.net), split, rows, list("abcdef"), training, 0)
    normalise = drawn.normalise
    pixels = split.images(rows) / 255
    assert torch.allclose(normalise.mean, torch.tensor(pixels.mean((0, 1, 2))).float(), atol=1e-5)
    assert torch.allclose(normalise.std, torch.tensor(pixels.std((0, 1, 2))).float(), atol=1e-5)


def test_as_many_batches_as_steps_and_none_of_a_single_image(targets: Path) -> None:
    split = Prepared.open(targets / "blots").split("train")
    rows = np.arange(10, 27)
    training = {**TRAINING, "epochs": 5}
    loader = scratch.batches(split, rows, 33, training, 0, torch.device("cpu"))
    found = [batch["index"].tolist() for batch in loader]
    assert [len(batch) for batch in found] == [16] * 5  # the 17th of each epoch stays out
    assert {row for batch in found for row in batch} == set(rows.tolist())
    training = {**TRAINING, "epochs": 4, "batch_size": 8}
    found = [b["index"].tolist() for b in scratch.batches(
        split, rows[:12], 33, training, 0, torch.device("cpu"))]  # fmt: skip
    assert [len(batch) for batch in found] == [8, 4, 8, 4]
    assert sorted(found[0] + found[1]) == rows[:12].tolist()


def test_only_targets_that_run_by_classes_are_trained(
    places: Callable[..., Any], tmp_path: Path
) -> None:
    for name, target in {
        "off": {"run": False},
        "voc": {"protocol": "voc"},
        "none": {"scratch_folds": 0},
    }.items():
        paths = places(tmp_path / name)
        assert scratch.run(config(target), paths)["trainings"] == []
        assert json.loads((paths.results / "scratch.json").read_text())["targets"] == {}


def test_targets_smaller_than_the_nets_input_are_named(
    places: Callable[..., Any], tmp_path: Path
) -> None:
    make_prepared(tmp_path / "targets" / "blots", 66, 6, size=32)
    with pytest.raises(UserError, match=r"targets\.blots\.size=32"):
        scratch.run(config(), places(tmp_path, targets=tmp_path / "targets"))
