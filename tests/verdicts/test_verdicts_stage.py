"""What a checkout holds, what the stage writes, and the few numbers of `dvc metrics`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from verdicts_made import document, evidence

from zfnet.errors import UserError
from zfnet.stats.estimate import Estimate
from zfnet.verdicts import stage
from zfnet.verdicts.evidence import gather
from zfnet.verdicts.judge import headline, judge

CONFIG = {"name": "quick", "seed": 3, "data": {"source": "synthetic"}}
SLOPE = {
    "value": 0.1, "low": 0.08, "high": 0.12, "n": 342, "unit": "", "df": 3.0, "trainings": 4,
    "covers": ["images", "trainings"],
}  # fmt: skip
TRAINED = {
    "epochs": 10, "status": "trained", "classes": 12, "images": 2300, "input_px": 112,
    "source": "synthetic", "val_top1_error": None,
}  # fmt: skip


def put(root: Path, name: str, value: Any) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(value) if name.endswith("yaml") else json.dumps(value)
    file.write_text(value if isinstance(value, str) else text, encoding="utf-8")


def training(**changes: Any) -> dict[str, Any]:
    """metrics/train_<net>.json; a change to ... leaves its key out."""
    return {k: {"value": v} for k, v in (TRAINED | changes).items() if v is not ...}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh clone of a run on rendered images with one study: what is in git, nothing else."""
    put(tmp_path, "build/config.json", CONFIG)
    put(tmp_path, "paper/claims.yaml", document())
    put(tmp_path, "metrics/features.json", {"purity_slope": SLOPE})
    put(tmp_path, "metrics/train_zfnet.json", training())
    put(tmp_path, "metrics/train_alexnet.json", {})
    put(tmp_path, "metrics/claims.json", {"counts": {}})
    return tmp_path


def test_gather(checkout: Path) -> None:
    run = gather(checkout)
    assert (run.rendered, run.experiment, run.seed) == (True, "quick", 3)
    wanted = {"classes": 12, "images": 2300, "epochs": 10, "input_px": 112, "status": "trained"}
    assert {name: run.fact(name) for name in wanted} == wanted
    assert run.fact("epochs", "alexnet") is None
    assert set(run.numbers) == {"features", "train_zfnet", "train_alexnet"}
    assert run.numbers["features"]["purity_slope"].freedom == 3
    assert "status" not in run.numbers["train_zfnet"]
    value = run.numbers["train_zfnet"]["val_top1_error"].value
    assert value != value
    put(checkout, "metrics/train_zfnet.json", training(status="adopted", epochs=...))
    run = gather(checkout)
    assert (run.fact("classes"), run.fact("images"), run.fact("epochs")) == (None, None, None)
    for source, drawn in (("unseen", True), ("folder", False)):
        put(checkout, "metrics/train_zfnet.json", training(source=source))
        assert gather(checkout).rendered == drawn


@pytest.mark.parametrize(
    ("main", "other", "word"),
    [
        (training(), training(), "holds here"),
        (training(), {}, "holds here"),  # a row that was left out; its numbers would be missing
        (training(), training(status=...), "not measured"),
        (training(), training(status=None), "not measured"),
        (training(), None, "not measured"),
        (training(status="done"), training(), "not measured"),
        ({}, training(), "not measured"),
        (None, training(), "not measured"),
    ],
)
def test_a_training_that_does_not_say_how_it_ended_is_no_pass(
    checkout: Path, main: Any, other: Any, word: str
) -> None:
    put(checkout, "paper/claims.yaml", document(it={"nets": ["zfnet", "alexnet"]}))
    for name, entries in (("zfnet", main), ("alexnet", other)):
        put(checkout, f"metrics/train_{name}.json", entries)
        if entries is None:
            (checkout / "metrics" / f"train_{name}.json").unlink()
    (found,) = judge(checkout).verdicts
    assert found.word == word
    net = "zfnet" if other == training() else "alexnet"
    assert (f"metrics/train_{net}.json" in found.why) == (word == "not measured")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics/features.json", "", "run the stage"),
        ("metrics/features.json", "{", "run the stage"),
        ("metrics/features.json", "[]", "run the stage"),
        ("metrics/features.json", '{"purity_slope": {"value": [1]}}', "purity_slope: .*run the"),
        ("metrics/features.json", '{"purity_slope": 3}', "purity_slope: .*run the stage"),
        ("metrics/train_zfnet.json", "", "run the stage"),
        ("metrics/train_zfnet.json", '{"status": {"value": "trained"}}', "classes.*older version"),
        ("metrics/train_zfnet.json", training(epochs=[1]), "epochs: .*run the stage"),
        ("metrics/train_zfnet.json", {**training(), "images": "many"}, "images: .*run the stage"),
        ("metrics/train_zfnet.json", {**training(), "status": {}}, "status: .*run the stage"),
        ("build/config.json", None, "run the stage"),
    ],
)
def test_a_damaged_file_is_named_with_its_remedy(
    checkout: Path, name: str, text: Any, message: str
) -> None:
    if text is None:
        (checkout / name).unlink()
    else:
        put(checkout, name, text)
    with pytest.raises(UserError, match=f"{Path(name).name}.*{message}"):
        gather(checkout)


def test_the_stage_writes_all_of_its_files(checkout: Path) -> None:
    paths: Any = SimpleNamespace(
        root=checkout,
        results=checkout / "results" / "verdicts",
        metrics=checkout / "metrics" / "verdicts.json",
    )
    put(checkout, "metrics/train_zfnet.json", training(seeds="3; 4; 5; 6"))
    stage.run(None, paths)
    whole = json.loads((checkout / "results" / "claims.json").read_text(encoding="utf-8"))
    entry = whole["claims"]["hierarchy"]
    assert (entry["verdict"], entry["value"], entry["seeds"]) == ("holds here", 0.1, [3, 4, 5, 6])
    assert entry["numbers"][0]["key"] == "purity_slope"
    assert entry["needs"][0]["met"] is True
    assert whole["run"]["rendered"] is True
    written = {
        name: (checkout / "metrics" / f"{name}.json").read_bytes()
        for name in ("claims", "verdicts", "headline", "run")
    }
    short = json.loads(written["claims"])
    number = {"value": 0.1, "low": 0.08, "high": 0.12, "unit": "", "trainings": 4}
    assert short["claims"] == {"hierarchy": {"verdict": "holds here", **number}}
    assert (short["judged"]["paper"], short["counts"]["paper"]["holds_here"]) == (1, 1)
    assert json.loads(written["verdicts"]) == {"hierarchy": "holds here"}
    assert json.loads(written["headline"]) == {"claims": {"holds_here": 1}}
    stage.run(None, paths)  # its own numbers are no evidence
    for name, before in written.items():
        assert (checkout / "metrics" / f"{name}.json").read_bytes() == before


def test_run_json_lists_each_place_of_training_with_its_nets(checkout: Path) -> None:
    here = {"processor": "Xeon", "versions": "torch 2", "commit": "abc1234"}
    for net, changes in {
        "zfnet": {**here, "trainings": 5},
        "alexnet": {**here, "processor": "EPYC"},
        "alexnet_no7": here,
        "zfnet_wide": {},  # an older version wrote no place
    }.items():
        put(checkout, f"metrics/train_{net}.json", training(**changes))
    put(checkout, "metrics/train_alexnet_no34.json", {})
    put(checkout, "build/config.json", {**CONFIG, "data": {"source": "synthetic", "seed": 8}})
    found = stage.origins(gather(checkout), checkout)
    assert [(place["processor"], place["nets"]) for place in found["places"]] == [
        ("Xeon", {"zfnet": 5, "alexnet_no7": 1}),
        ("EPYC", {"alexnet": 1}),
        ("not known", {"zfnet_wide": 1}),
    ]
    assert (found["experiment"], found["seed"], found["data_seed"]) == ("quick", 3, 8)
    put(checkout, "metrics/train_zfnet.json", training(source="imagenette"))
    assert stage.origins(gather(checkout), checkout)["data_seed"] is None


# ------------------------------------------------------------------------------------- headline
ERROR = {"val_top1_error": Estimate(18.33333, 15.442, 21.6276)}
MEAN = {"val_top1_error_over_seeds": Estimate(20.0, 17, 23)}
UNKNOWN = {"val_top1_error_over_seeds": Estimate(float("nan"))}
TRANSFER = {
    "unseen_scratch_5": Estimate(16.25, 12.0, 20.5),
    "unseen_pretrained_minus_scratch_5": Estimate(18.0, 12.0, 25.0),  # has no value of its own
}
DEAD = {"alexnet_layer2_never_active": Estimate(2), "difference_layer2_never_active": Estimate(0)}
WIDE = {"val_top1_error": Estimate(41.6, 10.0, 90.0)}
GAP = {"inside_minus_outside": Estimate(0.0917165, 0.07, 0.11)}


@pytest.mark.parametrize(
    ("source", "numbers", "shown"),
    [
        ("transfer", TRANSFER, {"scratch": {"unseen_5": 16.2}}),
        ("architecture", DEAD, {"dead_filters": {"alexnet_layer2": 2}}),
        ("train_zfnet", ERROR, {"top1_error": {"zfnet": 18.3}}),
        ("train_alexnet_no34", WIDE, {"top1_error": {"alexnet_no34": 42}}),
        ("occlusion", GAP, {"occlusion": {"object_minus_elsewhere": 0.092}}),
        ("train_zfnet", ERROR | MEAN, {"top1_error": {"zfnet": 20.0}}),
        ("train_zfnet", ERROR | UNKNOWN, {"top1_error": {"zfnet": 18.3}}),
        ("train_zfnet", {"val_top1_error": Estimate(float("nan"))}, {}),
    ],
)
def test_headlines_are_rounded_as_far_as_their_interval_tells(
    source: str, numbers: dict[str, Estimate], shown: dict[str, Any]
) -> None:
    found = headline(evidence({source: numbers}), {"paper": {"holds here": 2}})
    assert found == {"claims": {"holds_here": 2}, **shown}
