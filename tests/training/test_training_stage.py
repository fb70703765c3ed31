from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from blots import CLASSES, MODEL, TRAINING

from zfnet.errors import UserError
from zfnet.models.checkpoint import FOREIGN, load_net
from zfnet.models.foreign import build_model
from zfnet.models.net import Net, Normalise
from zfnet.pipeline.closure import import_closure
from zfnet.stats.estimate import from_dict
from zfnet.training import adopt, stage
from zfnet.training import run as training_run
from zfnet.training.callbacks import Logbook
from zfnet.training.module import Classifier
from zfnet.training.stage import run
from zfnet.training.step import step_seed

Config = Callable[..., SimpleNamespace]
Places = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module", autouse=True)
def same_code() -> Iterator[None]:
    """The code is taken not to change between two runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "closure_hash", lambda module: "code")
        yield


@pytest.fixture(scope="module")
def unbroken(
    tmp_path_factory: pytest.TempPathFactory, config: Config, places: Places
) -> SimpleNamespace:
    """A training that nothing interrupts: its paths, with `timing` and `rows` as they came."""
    rows: list[dict[str, Any]] = []
    paths = places(tmp_path_factory.mktemp("unbroken"), live_logger=rows.append)
    timing = run(config(max_filter_rms=0.035), paths)
    return SimpleNamespace(**vars(paths), timing=timing, rows=rows)


def files(paths: SimpleNamespace) -> dict[str, bytes]:
    """Everything that a training published, by name."""
    found = [*paths.final.iterdir(), *paths.epochs.iterdir(), paths.metrics]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in found}


def test_it_publishes_all_and_leaves_nothing_behind(unbroken: SimpleNamespace) -> None:
    assert sorted(p.name for p in unbroken.final.iterdir()) == [
        "history.csv",
        "mean.npy",
        "net.json",
        "seeds.json",
        "train_predictions.npz",
        "val_predictions.npz",
        "weights.pt",
    ]
    record = json.loads((unbroken.epochs / "epochs.json").read_text())
    assert record["kept"] == [1, 2, 3, 4]
    assert sorted(p.name for p in unbroken.epochs.iterdir()) == [*record["files"], "epochs.json"]
    assert not any(unbroken.work.iterdir())
    assert [row["epoch"] for row in unbroken.rows] == [1, 2, 3, 4]
    assert [entry["epoch"] for entry in unbroken.timing["epochs"]] == [1, 2, 3, 4]


def test_snapshots_hold_weights_alone_and_the_last_is_the_final_net(
    unbroken: SimpleNamespace,
) -> None:
    net = load_net(unbroken.final)
    last = torch.load(unbroken.epochs / "epoch_004.pt", weights_only=True)
    first = torch.load(unbroken.epochs / "epoch_001.pt", weights_only=True)
    state = net.model.state_dict()
    assert list(last) == list(state)
    assert all(torch.equal(last[name], state[name]) for name in state)
    assert not all(torch.equal(first[name], state[name]) for name in state)
    assert net.provenance["seed"] == 3
    assert net.provenance["training"] == TRAINING | {"max_filter_rms": 0.035}
    assert net.provenance["model"]["changes"] == MODEL["changes"]
    assert {"source", "size", "images", "upsampled"} <= set(net.provenance["data"])


def test_the_filter_rule_holds_and_history_counts_it(unbroken: SimpleNamespace) -> None:
    lines = (unbroken.final / "history.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    assert sum(int(row["filters_rescaled"]) for row in rows) > 0
    assert all(float(row["largest_filter_rms"]) > 0.035 for row in rows)
    weights = torch.load(unbroken.final / "weights.pt", weights_only=True)
    for name, weight in weights.items():
        if weight.ndim == 4:
            assert weight.square().mean((1, 2, 3)).sqrt().max() <= 0.035 * (1 + 1e-5), name
    metrics = json.loads(unbroken.metrics.read_text())
    assert metrics["filters_rescaled"]["value"] == sum(int(r["filters_rescaled"]) for r in rows)


def test_metrics_carry_intervals_and_agree_with_the_saved_predictions(
    unbroken: SimpleNamespace,
) -> None:
    metrics = json.loads(unbroken.metrics.read_text())
    saved = np.load(unbroken.final / "val_predictions.npz")
    wrong = 100 * (saved["centre_top"][:, 0] != saved["label"]).mean()
    entry = metrics["val_top1_error"]
    assert entry["value"] == pytest.approx(wrong)
    assert entry["low"] <= wrong <= entry["high"]
    assert (entry["n"], entry["unit"]) == (18, "%")
    last = (unbroken.final / "history.csv").read_text().splitlines()[-1].split(",")
    assert float(last[5]) == pytest.approx(wrong)  # validated after the last epoch, same crops
    assert metrics["epochs"]["value"] == 4
    assert metrics["status"]["value"] in ("trained", "at chance")
    assert metrics["train_top1_error"]["n"] == 44
    facts = {"classes": CLASSES, "images": 44, "input_px": 33, "trainings": 1, "source": "blots"}
    assert {key: metrics[key]["value"] for key in facts} == facts


@pytest.mark.parametrize("moment", ["between epochs", "amid an epoch", "before the checkpoint"])
def test_interrupted_and_run_again_it_ends_with_the_same_bytes(
    unbroken: SimpleNamespace,
    config: Config,
    places: Places,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    paths = places(tmp_path)
    cfg = config(max_filter_rms=0.035)

    class PowerCutError(Exception):
        pass

    def cut(when: Callable[[Any], bool], owner: type, name: str) -> None:
        whole = getattr(owner, name)

        def broken(self: Any, *args: Any) -> Any:
            if when(self):
                raise PowerCutError
            return whole(self, *args)

        monkeypatch.setattr(owner, name, broken)

    if moment == "between epochs":
        cut(lambda book: len(book.rows) == 2, Logbook, "on_train_epoch_start")
    elif moment == "amid an epoch":
        cut(lambda module: module.global_step == 7, Classifier, "training_step")
    else:  # snapshot and history are written, the checkpoint is not
        cut(lambda book: len(book.rows) == 3, Logbook, "_announce")
    with pytest.raises(PowerCutError):
        run(cfg, paths)
    assert not paths.final.exists()
    assert not paths.metrics.exists()
    monkeypatch.undo()
    monkeypatch.setattr(stage, "closure_hash", lambda module: "code")
    torch.manual_seed(12345)  # another process, another state of the global generator
    timing = run(cfg, paths)
    assert timing["resumed_after_epoch"] == 2
    assert files(paths) == files(unbroken)
    assert not any(paths.work.iterdir())


def test_sigterm_ends_with_143_and_publishes_nothing(
    config: Config,
    places: Places,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = places(tmp_path)
    whole = Classifier.training_step

    def struck(self: Classifier, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", struck)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        run(config(), paths)
    assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert not paths.final.exists()
    assert not paths.epochs.exists()
    (folder,) = paths.work.iterdir()
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["epoch_001.ckpt"]


def test_a_checkpoint_holds_plain_values_alone(
    config: Config, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = places(tmp_path)
    monkeypatch.setattr(training_run, "finish", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(config(epochs=3), paths)
    kept = sorted(paths.work.rglob("*.ckpt"))
    assert [p.name for p in kept] == ["epoch_002.ckpt", "epoch_003.ckpt"]
    checkpoint = torch.load(kept[-1], weights_only=True)
    assert checkpoint["global_step"] == 9
    assert checkpoint["optimizer_states"]


def test_changed_settings_never_go_on_from_the_old_ones(
    config: Config,
    places: Places,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = places(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(training_run, "finish", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(config(epochs=1), paths)
    (old,) = paths.work.iterdir()
    timing = run(config(epochs=1, lr=0.02), paths)
    assert timing["resumed_after_epoch"] is None
    assert f"kept: {old}" in capsys.readouterr().err
    assert list(paths.work.iterdir()) == [old]


def test_other_nets_keep_their_final_weights_only(
    config: Config, places: Places, tmp_path: Path
) -> None:
    paths = places(tmp_path)
    cfg = config(net="without_34", epochs=1, model_without=[3, 4], batch_size=44)
    run(cfg, paths, "without_34")
    assert [p.name for p in paths.epochs.iterdir()] == ["epochs.json"]
    assert json.loads((paths.epochs / "epochs.json").read_text())["kept"] == []
    net = load_net(paths.final)
    assert net.name == "without_34"
    assert "3.relu" not in net.taps


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16-mixed", "crop": "random"},
        {"channels_last": False, "crop": "centre", "flip": False, "schedule": "steps"},
        {"model_arch": "alexnet", "model_grouped": True, "model_changes": {"1": {"stride": 1}}},
    ],
    ids=["bf16", "contiguous", "alexnet"],
)
def test_other_settings_train_too(
    config: Config, places: Places, tmp_path: Path, changes: dict[str, Any]
) -> None:
    paths = places(tmp_path)
    run(config(epochs=1, **changes), paths)
    weights = torch.load(paths.final / "weights.pt", weights_only=True)
    assert all(weight.dtype == torch.float32 for weight in weights.values())
    assert json.loads(paths.metrics.read_text())["epochs"]["value"] == 1


def test_a_loss_that_is_no_number_stops_it_at_once(
    config: Config, places: Places, tmp_path: Path
) -> None:
    paths = places(tmp_path)
    with pytest.raises(UserError, match=r"epoch 1, step [1-3]\).*lower training\.lr"):
        run(config(lr=1e12, max_filter_rms=None, init="he"), paths)
    assert not paths.final.exists()


def test_a_net_that_only_guesses_is_named_and_still_a_result(
    config: Config, places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = places(tmp_path)
    run(config(epochs=1, init="paper"), paths)
    assert "has not begun to learn" in capsys.readouterr().err
    metrics = json.loads(paths.metrics.read_text())
    assert metrics["status"]["value"] == "at chance"
    assert from_dict(metrics["val_top1_error"]).invalid == "at chance"
    assert not from_dict(metrics["epochs"]).invalid


def test_impossible_requests_are_refused_before_any_work(
    config: Config, places: Places, tmp_path: Path
) -> None:
    paths = places(tmp_path)
    with pytest.raises(UserError, match="input_px"):
        run(config(model_input_px=64, model_changes={}), paths)
    with pytest.raises(UserError, match="no prepared data here"):
        run(config(), SimpleNamespace(**{**vars(paths), "prepared": tmp_path / "none"}))
    with pytest.raises(UserError, match=r"training\.nodes=2"):
        run(config(nodes=2), paths)
    with pytest.raises(UserError, match="batch_size=15 is not divisible by the 2 processes"):
        run(config(devices=2, batch_size=15), paths)
    assert not paths.final.exists()


def test_weights_from_elsewhere_are_adopted_not_trained(
    unbroken: SimpleNamespace, config: Config, places: Places, tmp_path: Path
) -> None:
    paths = places(tmp_path)
    given = unbroken.final / "weights.pt"
    timing = run(config(model_weights=str(given)), paths)
    assert timing["epochs"] == []
    published = files(paths)
    assert published["final/weights.pt"] == given.read_bytes()
    assert len(published["final/history.csv"].splitlines()) == 1
    assert json.loads(published["epochs/epochs.json"]) == {"files": [], "kept": []}
    assert str(tmp_path) not in published["final/net.json"].decode()
    theirs = load_net(unbroken.final).provenance
    assert load_net(paths.final).provenance == {  # nothing of a training that was not done here
        "net": "zfnet",
        "data": theirs["data"],
        "adopted": "weights.pt",
        "sha256": hashlib.sha256(given.read_bytes()).hexdigest(),
    }
    mine, theirs = (json.loads(p.metrics.read_text()) for p in (paths, unbroken))
    assert mine["status"]["value"] == "adopted"
    mine, theirs = (from_dict(each["val_ten_crop_top1_error"]) for each in (mine, theirs))
    assert (mine.value, mine.low, mine.high) == (theirs.value, theirs.low, theirs.high)


def test_an_adopted_net_keeps_what_its_maker_told_of_its_weights(
    config: Config, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(name: str, weights: str, classes: list[Any], *, layers: Any) -> Net:
        model = build_model("squeezenet1_1", len(classes))
        normalise = Normalise.standardise([0.5] * 3, [0.2] * 3, 33)
        rebuild = {"kind": "torchvision", "name": "squeezenet1_1", "num_classes": len(classes)}
        names, told = [c.name for c in classes], {"weights": f"Some_Weights.{weights}_V1"}
        return Net(model, 33, normalise, names, name, name, {}, None, rebuild, told)

    monkeypatch.setattr(adopt, "torchvision_net", made)
    paths = places(tmp_path)
    run(config(model_arch="torchvision/squeezenet1_1", model_weights="DEFAULT"), paths)
    found = load_net(paths.final).provenance
    assert set(found) == {"weights", "code", "net", "data", "adopted"}  # no local file: no sha256
    assert (found["weights"], found["adopted"]) == ("Some_Weights.DEFAULT_V1", "DEFAULT")
    # an edited module of foreign nets gives another record, so that its studies run anew
    monkeypatch.setattr(adopt, "closure_hash", lambda module: f"edited {module}")
    run(config(model_arch="torchvision/squeezenet1_1", model_weights="DEFAULT"), paths)
    assert load_net(paths.final).provenance["code"] == f"edited {FOREIGN}"


def test_our_own_nets_do_not_depend_on_the_code_of_foreign_ones_or_on_words() -> None:
    trained = {path.as_posix() for path in import_closure("zfnet.training.stage")}
    assert {"zfnet/training/fit.py", "zfnet/models/checkpoint.py"} <= trained
    others = ("zfnet/models/foreign.py", "zfnet/training/adopt.py", "zfnet/figures/")
    assert not [path for path in trained if path.startswith(others)]
    scratch = {path.as_posix() for path in import_closure("zfnet.training.scratch")}
    assert "zfnet/models/foreign.py" not in scratch
    adopted = {path.as_posix() for path in import_closure(training_run.ADOPT)}
    assert {"zfnet/models/foreign.py", "zfnet/training/run.py"} <= adopted


def test_an_adopted_nets_key_follows_its_weights_and_the_code_that_adopts(
    config: Config, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(stage.pool, "train_all", lambda jobs, *more: {"key": jobs[0].key})
    monkeypatch.setattr(stage, "closure_hash", lambda module: asked.append(module) or module)
    file, keys = tmp_path / "w.pt", set()
    for content in ("one", "another", "another"):
        file.write_text(content)
        keys.add(run(config(model_weights=str(file)), places(tmp_path))["key"])
    assert len(keys) == 2
    assert asked == ["zfnet.training.stage", "zfnet.training.adopt"] * 3
    asked.clear()
    run(config(), places(tmp_path))
    assert asked == ["zfnet.training.stage"]


def test_steps_and_processes_have_seeds_of_their_own() -> None:
    seeds = {step_seed(s, step, rank) for s in (0, 1) for step in range(50) for rank in range(4)}
    assert len(seeds) == 2 * 50 * 4
    assert step_seed(7, 3, 1) == step_seed(7, 3, 1)
    assert all(0 <= seed < 2**63 for seed in seeds)
