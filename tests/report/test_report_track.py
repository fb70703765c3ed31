import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import fabricate
import pytest
import yaml

from zfnet.errors import UserError
from zfnet.report import track
from zfnet.report.gather import gather


def paths_of(root):
    return SimpleNamespace(
        root=root,
        main=root,
        results=root / "results" / "track",
        config=root / "build" / "config.yaml",
    )


def config_of(mode):
    return SimpleNamespace(tracking=SimpleNamespace(mode=mode, project="zfnet", entity=None))


def inspect(folder, *arguments):
    program = Path(sys.executable).with_name("wandb")
    done = subprocess.run(
        [program, "leet", "inspect", "--json", *arguments, folder],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))


def test_offline_runs_can_be_read_back(tmp_path, capfd):
    root = fabricate.tree(tmp_path / "run")
    shutil.rmtree(root / "models" / "alexnet")
    shutil.rmtree(root / "results" / "occlusion")
    track.run(config_of("offline"), paths_of(root))
    track.run(config_of("offline"), paths_of(root))  # the same ids: replaced, not doubled
    said = capfd.readouterr()
    assert "wandb" not in said.out + said.err

    written = json.loads((root / "results" / "track.json").read_text())
    assert [run["name"] for run in written["runs"]] == ["train zfnet", "features"]
    folders = {run["name"]: list((root / "wandb").glob(f"*{run['id']}")) for run in written["runs"]}
    assert all(len(found) == 1 for found in folders.values())

    training = json.loads(inspect(folders["train zfnet"][0], "--summary"))
    assert training["state"] == "finished"
    assert training["config"]["nets"]["zfnet"]["width"] == 0.25
    assert training["step"] == 6
    assert training["summary"]["val_top1_error"] == 20.0
    assert training["summary"]["val_top1_error/low"] == pytest.approx(16.9)
    assert training["summary"]["tables/departures"]["nrows"] == 3
    assert set(training["tags"]) == {"quick", "train", "zfnet"}
    records = inspect(folders["train zfnet"][0])
    assert written["group"] in records
    assert records.count('"type":"history"') == 6

    features = json.loads(inspect(folders["features"][0], "--summary"))
    figure = features["summary"]["figures/layer_3"]
    assert (figure["width"], figure["format"]) == (1200, "webp")
    assert (folders["features"][0] / "files" / figure["path"]).is_file()
    assert features["summary"]["layer_5_class_purity"] == 0.512
    assert not (tmp_path / "wandb").exists()
    assert not list(tmp_path.glob(".cache/wandb*"))


def test_disabled_imports_no_wandb(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    code = f"""
import sys
from pathlib import Path
from types import SimpleNamespace as N
from zfnet.report.track import run, live_logger
root = Path({str(root)!r})
cfg = N(tracking=N(mode="disabled", project="zfnet", entity=None))
paths = N(root=root, main=root, results=root / "results/track", config=root / "build/config.yaml")
run(cfg, paths)
assert live_logger(cfg, paths, "zfnet") is None
print(sorted({{"wandb", "torch"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    written = json.loads((root / "results" / "track.json").read_text())
    assert written == {"mode": "disabled", "group": None, "runs": []}
    assert not (root / "wandb").exists()


def test_online_without_login_says_what_to_do(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    with pytest.raises(UserError, match=r"wandb login.*tracking=offline"):
        track.run(config_of("online"), paths_of(root))
    with pytest.raises(UserError, match="wandb login"):
        track.live_logger(config_of("online"), paths_of(root), "zfnet")


class Run:
    """Stands for a W&B run."""

    def __init__(self, **options):
        self.options, self.rows, self.step = options, [], 0

    def log(self, row, step):
        self.rows.append(row)
        self.step = step


def test_a_live_run_begins_with_its_first_row_and_ends_the_one_before(tmp_path, monkeypatch):
    root = fabricate.tree(tmp_path / "run")
    logins, runs = [], []
    monkeypatch.setattr("wandb.login", lambda **_: logins.append(1) or True)
    monkeypatch.setattr("wandb.init", lambda **options: runs.append(Run(**options)) or runs[-1])
    logs = [
        track.live_logger(config_of("online"), paths_of(root), net) for net in ("zfnet", "alexnet")
    ]
    assert len(logins) == 2  # who is not logged in hears it before any training
    assert not runs  # an adopted net, or a rank that logs nothing, opens none
    for epoch in (1, 2):
        logs[0]({"epoch": epoch, "lr": 0.1, "val_top5_error": None})
    logs[1]({"epoch": 1, "lr": 0.1})
    assert [run.rows for run in runs] == [
        [{"epoch": 1, "lr": 0.1}, {"epoch": 2, "lr": 0.1}],
        [{"epoch": 1, "lr": 0.1}],
    ]
    assert len({run.options["id"] for run in runs}) == 2
    assert {run.options["reinit"] for run in runs} == {"finish_previous"}


def test_a_net_has_the_same_id_live_and_replayed(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    config = yaml.safe_load((root / "build" / "config.yaml").read_text())
    evidence = gather(root)
    replayed = {record.name: record.id for record in track.records_of(evidence)}
    fingerprint = evidence.data.meta["fingerprint"]
    assert track.net_id(config, fingerprint, "zfnet") == replayed["train zfnet"]
    assert track.net_id(config, fingerprint, "alexnet") != replayed["train zfnet"]
    config["training"]["lr"] = 0.02
    assert track.net_id(config, fingerprint, "zfnet") != replayed["train zfnet"]


def test_a_studys_id_follows_its_inputs_in_dvc_lock(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    lone = track.study_id(root, "features")

    def locked(md5):
        entry = {
            "cmd": "zfnet features",
            "deps": [{"path": "models/zfnet/final", "md5": md5}],
            "outs": [{"path": "results/features", "md5": "whatever"}],
        }
        (root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"features": entry}}))
        return track.study_id(root, "features")

    assert len({lone, locked("a"), locked("b")}) == 3
    assert locked("a") == locked("a")
    assert track.study_id(root, "occlusion") != lone


def test_the_group_is_the_experiment_or_the_configuration(monkeypatch):
    assert track.group_of("a: 1") == track.group_of("a: 1") != track.group_of("a: 2")
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-daks")
    assert track.group_of("a: 1") == "puffy-daks"
