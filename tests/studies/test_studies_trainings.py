"""Several trainings as one: which are measured, on what, and how their numbers are joined."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from answered import sure, write_net
from scipy import stats

from zfnet.errors import UserError
from zfnet.pipeline.paths import Paths
from zfnet.pipeline.studies import STUDIES, Features, Occlusion, Transfer
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import IMAGES, MAPS, TRAININGS, Estimate
from zfnet.studies import trainings
from zfnet.studies.trainings import DEALT, REDRAWN, SAME, joined, run_each, seeds_of

MADE = "made_study"
LABEL = np.arange(24, dtype=np.int64) % 12


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.of(tmp_path, "features", "zfnet", tmp_path / "config.json", tmp_path / "data")


def write(paths: Paths, net: str, seeds: list[int], loss: float | list[float] = 0.5) -> None:
    write_net(paths.root, net, LABEL, [sure(LABEL)] * len(seeds), seeds=seeds, loss=loss)


# ----------------------------------------------------------------------------- which trainings
def test_the_trainings_that_all_nets_share_are_measured(paths: Paths) -> None:
    write(paths, "zfnet", [4, 5, 6])
    assert seeds_of(["zfnet"], paths)[0] == {4: True, 5: False, 6: False}
    assert seeds_of(["zfnet", "alexnet"], paths)[0] == {4: True, 5: False, 6: False}  # not trained
    write(paths, "alexnet", [4, 6])
    assert seeds_of(["zfnet", "alexnet"], paths)[0] == {4: True, 6: False}


def test_trainings_at_chance_are_left_out_where_others_learned(paths: Paths) -> None:
    write(paths, "zfnet", [4, 5, 6], loss=[2.48, 0.5, 0.4])
    assert seeds_of(["zfnet"], paths)[0] == {5: False, 6: False}
    write(paths, "alexnet", [4, 5, 6], loss=[0.4, 0.4, 2.48])
    assert seeds_of(["zfnet", "alexnet"], paths)[0] == {5: False}


def test_a_net_at_chance_throughout_is_measured_all_the_same(paths: Paths) -> None:
    write(paths, "zfnet", [4, 5], loss=2.48)
    assert seeds_of(["zfnet"], paths)[0] == {4: True, 5: False}


def test_each_training_has_its_folders(paths: Paths) -> None:
    first = paths.of_training(4, (0, 2), first=True)
    further = paths.of_training(5, (1, 2), first=False)
    models = paths.root / "models"
    assert first.net == models / "zfnet" / "final"
    assert further.net == models / "zfnet" / "final" / "seed_5"
    assert further.folder_of("alexnet") == models / "alexnet" / "final" / "seed_5"
    assert first.epochs_of_net == models / "zfnet" / "epochs"
    assert further.epochs_of_net == models / "zfnet" / "epochs" / "seed_5"
    assert {first.codes.name, further.codes.name} == {"seed_4", "seed_5"}


# ------------------------------------------------------------------------------------- running
@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Paths]]:
    """A study that records how it is called and measures the training's number."""
    calls: list[tuple[Any, Paths]] = []

    def run(cfg: Any, own: Paths) -> Measurement:
        calls.append((cfg, own))
        value = float(own.share[0])
        estimate = Estimate(value, value - 1, value + 1, covers=(MAPS,))
        return Measurement("zfnet", "out", 1, {"number": estimate}, arrays={"a": np.zeros(3)})

    module = ModuleType(MADE)
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MADE, module)
    monkeypatch.setattr(trainings, "cores", lambda: 1)
    return calls


def test_a_study_runs_once_a_training(paths: Paths, made: list[tuple[Any, Paths]]) -> None:
    write(paths, "zfnet", [4, 5, 6])
    result = run_each(STUDIES["features"], MADE, Features(), paths)
    assert [own.share for _, own in made] == [(0, 3), (1, 3), (2, 3)]
    assert [cfg.seed for cfg, _ in made] == [0, 0, 0]
    assert result.facts["trainings"] == [4, 5, 6]
    assert result.estimates["number"].value == 1
    assert result.estimates["number"].trainings == 3
    assert result.tables["trainings"].column("value") == [0, 1, 2]
    assert result.arrays["a"].shape == (3,)  # the first training's


def test_images_are_drawn_anew_where_the_study_says_so(
    paths: Paths, made: list[tuple[Any, Paths]]
) -> None:
    write(paths, "zfnet", [4, 5])
    run_each(STUDIES["transfer"], MADE, Transfer(seed=7), paths)
    assert [cfg.seed for cfg, _ in made] == [7, 8]


def test_what_measures_nothing_writes_a_folder_a_training(
    paths: Paths, made: list[tuple[Any, Paths]]
) -> None:
    write(paths, "zfnet", [4, 5])
    run_each(replace(STUDIES["features"], measures=False), MADE, Features(), paths)
    assert [own.results.name for _, own in made] == ["seed_4", "seed_5"]


def test_a_single_training_is_as_it_was(paths: Paths, made: list[tuple[Any, Paths]]) -> None:
    write(paths, "zfnet", [4])
    result = run_each(STUDIES["occlusion"], MADE, Occlusion(), paths)
    assert result.estimates["number"] == Estimate(0, -1, 1, covers=(MAPS,))
    assert "trainings" not in result.tables
    assert made[0][1].share == (0, 1)


def test_a_fault_names_its_training(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(cfg: Any, own: Paths) -> Measurement:
        if own.share[0] == 1:
            raise UserError("layer 1 gives values that are no numbers")
        return Measurement("zfnet", "out")

    module = ModuleType(MADE)
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MADE, module)
    monkeypatch.setattr(trainings, "cores", lambda: 1)
    write(paths, "zfnet", [4, 5])
    with pytest.raises(UserError, match=r"no numbers \(training 2 of 2, .*seed_5\)"):
        run_each(STUDIES["features"], MADE, Features(), paths)


SLEEPER = """
import os
import time
from zfnet.errors import UserError
from zfnet.results import Measurement


def run(cfg, paths):
    number = paths.share[0]
    began = paths.root / f"began_{number}"
    began.with_suffix(".part").write_text(str(os.getpid()))
    began.with_suffix(".part").rename(began)
    if number == 0:
        while not (paths.root / "began_1").exists():
            time.sleep(0.05)
        raise KeyboardInterrupt if paths.net.name == "final" and cfg.top_k == 1 else UserError("no")
    time.sleep(60)
    return Measurement("zfnet", "out")
"""


@pytest.mark.parametrize(("top_k", "error"), [(1, KeyboardInterrupt), (2, UserError)])
def test_a_stop_or_a_fault_ends_the_other_processes_too(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, top_k: int, error: type
) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(trainings, "cores", lambda: 2)
    monkeypatch.delitem(sys.modules, "sleeper", raising=False)
    write(paths, "zfnet", [4, 5, 6, 7])
    started = time.monotonic()
    with pytest.raises(error):
        run_each(STUDIES["features"], "sleeper", Features(top_k=top_k), paths)
    worker = int((paths.root / "began_1").read_text())
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() - started < 40  # it would sleep for 60 s
        time.sleep(0.1)
    assert not (paths.root / "began_2").exists()


# ------------------------------------------------------------------------------------- joining
def measurement(value: float, dealt: bool = True, rows: int = 1, **more: Any) -> Measurement:
    one = Estimate(value, value - 0.1, value + 0.1, 50, covers=(IMAGES,))
    columns = ["layer", "name", "x", "x_low", "x_high", "y", "p"]
    table = Table(columns, [[1, "a", value, value - 0.1, value + 0.1, 2 * value, 0.01]] * rows)
    estimates = {"x": one, "x_p": Estimate(0.01), "field": Estimate(67.0, unit="px"), **more}
    return Measurement("n", "t", 0, estimates, {"own": table}, facts={"dealt": dealt})


def test_numbers_of_images_of_their_own_are_joined_by_student() -> None:
    values = [1.0, 2.0, 4.0]
    result = joined([measurement(v) for v in values], [1, 2, 3], DEALT)
    one = result.estimates["x"]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (one.low, one.high) == pytest.approx((low, high))
    assert one.covers == (IMAGES, TRAININGS)
    assert result.estimates["field"] == Estimate(67.0, unit="px", trainings=3)
    assert "x_p" not in result.estimates  # p values have no mean
    row = result.tables["own"].records()[0]
    assert (row["x"], row["x_low"]) == pytest.approx((np.mean(values), low))
    assert (row["layer"], row["name"], row["y"], row["p"]) == (1, "a", 2 * np.mean(values), None)


@pytest.mark.parametrize(("images", "dealt"), [(DEALT, False), (SAME, True), (REDRAWN, True)])
def test_numbers_of_the_same_images_are_wider(images: str, dealt: bool) -> None:
    values = [1.0, 2.0, 4.0]
    own = joined([measurement(v) for v in values], [1, 2, 3], DEALT).estimates["x"]
    same = joined([measurement(v, dealt) for v in values], [1, 2, 3], images).estimates["x"]
    assert own.half is not None
    assert same.half is not None
    assert same.half > own.half


def test_tables_whose_rows_differ_are_those_of_the_first() -> None:
    result = joined([measurement(1.0), measurement(2.0, rows=2)], [1, 2], DEALT)
    assert result.tables["own"] == measurement(1.0).tables["own"]


def test_rows_are_told_apart_by_what_stands_before_their_numbers() -> None:
    def one(layer: int, words: str, flag: bool, extra: float | None) -> Measurement:
        columns = ["layer", "x", "x_low", "x_high", "constants", "at_edge", "sd"]
        table = Table(columns, [[layer, 1.0 * layer, 0.5, 3.5, words, flag, extra]])
        return Measurement("n", "t", 0, {}, {"own": table})

    made = joined([one(2, "1, 10", True, None), one(2, "10", False, 3.0)], [1, 2], DEALT)
    row = made.tables["own"].records()[0]
    assert (row["layer"], row["constants"], row["at_edge"], row["sd"]) == (2, None, None, 3.0)
    other = joined([one(2, "1", True, 1.0), one(3, "1", True, 1.0)], [1, 2], DEALT)
    assert other.tables["own"].records()[0]["x"] == 2.0  # another layer: the first training's row


def test_what_one_training_lacks_is_joined_over_the_others() -> None:
    extra = {"only": Estimate(3.0, 2.9, 3.1)}
    result = joined([measurement(1.0, **extra), measurement(2.0)], [1, 2], DEALT)
    assert (result.estimates["only"].value, result.estimates["only"].trainings) == (3.0, 1)
