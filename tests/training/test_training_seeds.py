"""Several seeds of one net, what one net changes of the recipe, and nets that are not trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zfnet.models.absent import is_absent, publish_absent
from zfnet.models.checkpoint import load_net
from zfnet.stats.estimate import from_dict
from zfnet.stats.intervals import student
from zfnet.training import pool, stage
from zfnet.training import run as training_run
from zfnet.training.job import Job
from zfnet.training.metrics import over_seeds
from zfnet.training.stage import merged, run

Config = Callable[..., SimpleNamespace]
Places = Callable[..., SimpleNamespace]


@pytest.fixture(autouse=True)
def same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code is taken not to change between two runs."""
    monkeypatch.setattr(stage, "closure_hash", lambda module: "code")


def test_each_seed_is_the_net_that_it_would_be_alone(
    config: Config, places: Places, tmp_path: Path
) -> None:
    both, alone = places(tmp_path / "both"), places(tmp_path / "alone")
    timing = run(config(model_seeds=2, epochs=2), both)
    run(config(seed=4, epochs=2), alone)
    assert json.loads((both.final / "seeds.json").read_text()) == {"seeds": [3, 4]}
    for name in ("weights.pt", "history.csv", "val_predictions.npz", "train_predictions.npz"):
        assert (both.final / "seed_4" / name).read_bytes() == (alone.final / name).read_bytes()
    assert load_net(both.final).provenance["seed"] == 3
    assert load_net(both.final / "seed_4").provenance["seed"] == 4
    assert len(timing["seeds"]) == 2
    assert not any(both.work.iterdir())
    for folder in (both.epochs, both.epochs / "seed_4"):
        assert len(list(folder.glob("epoch_*.pt"))) == 2
        assert json.loads((folder / "epochs.json").read_text())["kept"] == [1, 2]
    section = config().nets["zfnet"].model_dump(mode="json")
    first, _ = stage.job_of("zfnet", section, config(), both)
    assert [job.snapshots for job in pool.jobs_of(first, 2, "code")] == [True, True]
    metrics = json.loads(both.metrics.read_text())
    second = json.loads(alone.metrics.read_text())["val_top1_error"]["value"]
    values = [metrics["val_top1_error"]["value"], second]
    over = metrics["val_top1_error_over_seeds"]
    assert over["value"] == pytest.approx(np.mean(values))
    assert (over["n"], over["unit"]) == (2, "%")
    assert (from_dict(over).covers, over["trainings"]) == (("trainings",), 2)
    assert metrics["trainings"]["value"] == 2
    low, high = student(values, limits=(0, 100))
    assert (over["low"], over["high"]) == (pytest.approx(low), pytest.approx(high))


def test_a_stop_between_two_seeds_loses_neither(
    config: Config, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, trained = places(tmp_path), []
    train = training_run.train

    def stopping(job: Any, live: Any = None) -> Any:
        trained.append(job.seed)
        if trained == [3, 4]:
            raise SystemExit(143)
        return train(job, live)

    monkeypatch.setattr(training_run, "train", stopping)
    with pytest.raises(SystemExit):
        run(config(model_seeds=2, epochs=1), paths)
    assert not paths.final.exists()
    run(config(model_seeds=2, epochs=1), paths)
    assert trained == [3, 4, 4]
    assert load_net(paths.final / "seed_4").provenance["seed"] == 4


def test_a_finished_seed_of_other_settings_is_kept_and_named(
    config: Config,
    places: Places,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = places(tmp_path)
    train = training_run.train
    monkeypatch.setattr(
        training_run, "train", lambda job, live=None: train(job, live) if job.seed == 3 else 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        run(config(model_seeds=2, epochs=1), paths)
    (kept,) = paths.work.glob("*-done")
    monkeypatch.setattr(training_run, "train", train)
    capsys.readouterr()
    run(config(model_seeds=2, epochs=2), paths)
    said = capsys.readouterr().err
    assert said.count(f"kept: {kept}, zfnet with other settings, finished") == 1
    assert said.count("kept: ") == 1  # what this run itself waits for is unmentioned
    assert [folder.name for folder in paths.work.iterdir()] == [kept.name]


def test_trainings_at_chance_are_left_out_and_one_still_learning_marks_the_net() -> None:
    rate = {"value": 20.0}
    trained = {"status": {"value": "trained"}, "val_top1_error": rate}
    stuck = {"status": {"value": "at chance"}, "val_top1_error": rate}
    both = over_seeds([trained, trained], [4, 5])
    assert both["status"] == {"value": "trained"}
    assert not from_dict(both["val_top1_error_over_seeds"]).invalid
    learning = {"status": {"value": "still learning"}, "val_top1_error": {"value": 40.0}}
    one = over_seeds([trained, stuck, learning], [4, 5, 6])
    assert one["status"]["value"] == "still learning"
    assert "seed 5" in one["status"]["note"]
    mean = from_dict(one["val_top1_error_over_seeds"])
    assert (mean.value, mean.trainings, mean.invalid) == (30.0, 2, "")
    assert one["trainings"]["value"] == 2
    two = over_seeds([trained, stuck, trained], [4, 5, 6])
    assert two["status"]["value"] == "trained"
    none = over_seeds([stuck, stuck], [4, 5])
    assert none["status"]["value"] == "at chance"
    assert from_dict(none["val_top1_error_over_seeds"]).invalid == "at chance"


def test_training_errors_are_those_of_the_trained_net_without_dropout(
    config: Config, places: Places, tmp_path: Path
) -> None:
    paths = places(tmp_path)
    run(config(epochs=1), paths)
    saved = np.load(paths.final / "train_predictions.npz")
    metrics = json.loads(paths.metrics.read_text())["train_top1_error"]
    assert saved["row"].tolist() == list(range(44))
    assert metrics["value"] == pytest.approx(
        100 * (saved["centre_top"][:, 0] != saved["label"]).mean()
    )
    val = np.load(paths.final / "val_predictions.npz")
    assert np.allclose(val["centre_probs"].sum(1), 1, atol=1e-5)
    assert (val["centre_probs"].argmax(1) == val["centre_top"][:, 0]).all()
    assert (val["ten_probs"].argmax(1) == val["ten_top"][:, 0]).all()


def test_one_net_may_change_the_recipe(config: Config, places: Places, tmp_path: Path) -> None:
    paths = places(tmp_path)
    run(config(model_training={"init": "he", "plateau": {"patience": 9}}, epochs=1), paths)
    training = load_net(paths.final).provenance["training"]
    assert training["init"] == "he"
    assert training["plateau"]["patience"] == 9
    assert training["plateau"]["factor"] == 0.1
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


def test_a_net_that_is_not_trained_says_so(tmp_path: Path) -> None:
    final, metrics = tmp_path / "final", tmp_path / "metrics.json"
    assert is_absent(final)
    publish_absent("alexnet_no7", final, tmp_path / "epochs", metrics)
    assert is_absent(final)
    assert "nets.alexnet_no7.seeds" in json.loads((final / "absent.json").read_text())["why"]
    assert json.loads((tmp_path / "epochs" / "epochs.json").read_text())["kept"] == []
    (final / "absent.json").unlink()
    (final / "net.json").write_text("{}")
    assert not is_absent(final)


def test_a_helping_process_publishes_nothing_though_all_seeds_are_finished(
    config: Config, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started by torchrun with training.devices=-1, which stands for the GPUs there are."""
    for key, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(key, value)
    paths = places(tmp_path)
    monkeypatch.setattr(Job, "timing", {"epochs": []})
    with pytest.raises(SystemExit) as stopped:
        run(config(model_seeds=2, epochs=1, devices=-1), paths)
    assert stopped.value.code == 0
    assert not paths.final.exists()
