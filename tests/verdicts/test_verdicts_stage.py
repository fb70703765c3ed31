"""What a checkout holds, what the stage writes, and the few numbers of `dvc metrics`."""

from __future__ import annotations

import json
import subprocess
import sys
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

CONFIG = {
    "name": "quick",
    "seed": 3,
    "data": {"source": "synthetic", "train_images": 2400},
    "nets": {"zfnet": {"input_px": 128, "weights": None}},
}
SLOPE = {
    "value": 0.1, "low": 0.08, "high": 0.12, "n": 342, "unit": "", "df": 3.0, "trainings": 4,
    "covers": ["images", "trainings"],
}  # fmt: skip
TRAINED = {
    "epochs": 10, "status": "trained", "classes": 12, "images": 2300, "input_px": 112,
    "source": "synthetic", "val_top1_error": None,
}  # fmt: skip


def put(root: Path, name: str, value: Any) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(value) if name.endswith("yaml") else json.dumps(value)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh clone of a run on rendered images with one study: what is in git, nothing else."""
    put(tmp_path, "build/config.json", CONFIG)
    put(tmp_path, "paper/claims.yaml", document())
    put(tmp_path, "metrics/features.json", {"purity_slope": SLOPE})
    put(tmp_path, "metrics/train_zfnet.json", {k: {"value": v} for k, v in TRAINED.items()})
    put(tmp_path, "metrics/claims.json", {"counts": {}})
    return tmp_path


def test_gather(checkout: Path) -> None:
    run = gather(checkout)
    assert (run.rendered, run.experiment, run.seed) == (True, "quick", 3)
    wanted = {"classes": 12, "images": 2300, "epochs": 10, "input_px": 112, "status": "trained"}
    assert {name: run.fact(name) for name in wanted} == wanted
    assert run.fact("epochs", "alexnet") is None
    assert set(run.numbers) == {"features", "train_zfnet"}
    assert run.numbers["features"]["purity_slope"].freedom == 3
    assert "status" not in run.numbers["train_zfnet"]
    value = run.numbers["train_zfnet"]["val_top1_error"].value
    assert value != value


def test_without_a_training_the_config_says_what_it_can(checkout: Path) -> None:
    (checkout / "metrics" / "train_zfnet.json").unlink()
    run = gather(checkout)
    assert (run.rendered, run.fact("images"), run.fact("classes")) == (True, 2400, None)
    assert (run.fact("input_px"), run.fact("epochs")) == (128, None)
    photos = {**CONFIG, "data": {"source": "folder", "train_images": 2400}}
    put(checkout, "build/config.json", photos)  # the number is of rendered images alone
    assert (gather(checkout).rendered, gather(checkout).fact("images")) == (False, None)
    put(checkout, "build/config.json", {**CONFIG, "nets": {"zfnet": {"weights": "x.pt"}}})
    assert gather(checkout).fact("status") == "adopted"


def test_of_an_adopted_net_the_training_is_not_known(checkout: Path) -> None:
    adopted = {**TRAINED, "status": "adopted"}
    put(checkout, "metrics/train_zfnet.json", {k: {"value": v} for k, v in adopted.items()})
    run = gather(checkout)
    assert (run.fact("classes"), run.fact("images")) == (None, None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics/features.json", "{"),
        ("metrics/features.json", '{"purity_slope": {"value": "high"}}'),
        ("metrics/train_zfnet.json", '{"val_top1_error": {"value": 3, "low": "2"}}'),
        ("metrics/train_zfnet.json", '{"epochs": {}}'),
        ("build/config.json", "[1]"),
    ],
)
def test_a_damaged_file_is_named(checkout: Path, name: str, text: str) -> None:
    (checkout / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=Path(name).name):
        gather(checkout)


def test_a_checkout_without_a_configuration_is_named(checkout: Path) -> None:
    (checkout / "build" / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json"):
        judge(checkout)


def test_the_stage_writes_all_of_its_files(checkout: Path) -> None:
    paths: Any = SimpleNamespace(
        root=checkout,
        results=checkout / "results" / "verdicts",
        metrics=checkout / "metrics" / "verdicts.json",
    )
    stage.run(None, paths)
    whole = json.loads((checkout / "results" / "claims.json").read_text(encoding="utf-8"))
    entry = whole["claims"]["hierarchy"]
    assert (entry["verdict"], entry["value"], entry["seeds"]) == ("holds here", 0.1, [3, 4, 5, 6])
    assert entry["numbers"][0]["key"] == "purity_slope"
    assert entry["needs"][0]["met"] is True
    assert whole["run"]["rendered"] is True
    written = {
        name: (checkout / "metrics" / f"{name}.json").read_bytes()
        for name in ("claims", "verdicts", "headline")
    }
    short = json.loads(written["claims"])
    assert short["claims"] == {"hierarchy": {"verdict": "holds here", "value": 0.1}}
    assert (short["judged"], short["counts"]["holds_here"]) == (1, 1)
    assert json.loads(written["verdicts"]) == {"hierarchy": "holds here"}
    assert json.loads(written["headline"]) == {"claims": {"holds_here": 1}}
    stage.run(None, paths)  # its own numbers are no evidence
    for name, before in written.items():
        assert (checkout / "metrics" / f"{name}.json").read_bytes() == before


def test_no_torch(root: Path) -> None:
    code = (
        "import sys; import zfnet.verdicts.command, zfnet.verdicts.stage; "
        "print([m for m in ('torch', 'wandb', 'hydra', 'omegaconf', 'matplotlib') "
        "if m in sys.modules])"
    )
    environment = {"PYTHONPATH": str(root / "src"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------- headline
def shown(numbers: dict[str, dict[str, Estimate]]) -> dict[str, Any]:
    return headline(evidence(numbers), {"holds here": 2})


def test_a_difference_is_no_value_of_its_own() -> None:
    found = shown(
        {
            "transfer": {
                "unseen_scratch_5": Estimate(16.25, 12.0, 20.5),
                "unseen_pretrained_minus_scratch_5": Estimate(18.0, 12.0, 25.0),
            },
            "architecture": {
                "alexnet_layer2_never_active": Estimate(2.0),
                "difference_layer2_never_active": Estimate(-0.02),
            },
        }
    )
    assert found == {
        "claims": {"holds_here": 2},
        "scratch": {"unseen_5": 16.2},
        "dead_filters": {"alexnet_layer2": 2},
    }


def test_numbers_are_rounded_as_far_as_their_interval_tells() -> None:
    found = shown(
        {
            "train_zfnet": {"val_top1_error": Estimate(18.33333, 15.442, 21.6276)},
            "train_alexnet_no34": {"val_top1_error": Estimate(41.6, 10.0, 90.0)},
            "occlusion": {"inside_minus_outside": Estimate(0.0917165, 0.07, 0.11)},
        }
    )
    assert found["top1_error"] == {"zfnet": 18.3, "alexnet_no34": 42}
    assert found["occlusion"] == {"object_minus_elsewhere": 0.092}


def test_the_mean_over_seeds_goes_before_the_first_seed() -> None:
    first, nan = {"val_top1_error": Estimate(18.0, 15, 21)}, Estimate(float("nan"))
    mean = {**first, "val_top1_error_over_seeds": Estimate(20.0, 17, 23)}
    unknown = {**first, "val_top1_error_over_seeds": nan}
    assert shown({"train_zfnet": first})["top1_error"] == {"zfnet": 18.0}
    assert shown({"train_zfnet": mean})["top1_error"] == {"zfnet": 20.0}
    assert shown({"train_zfnet": unknown})["top1_error"] == {"zfnet": 18.0}
    assert set(shown({"train_zfnet": {"val_top1_error": nan}})) == {"claims"}
