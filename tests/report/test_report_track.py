import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import fabricate
import fabricate_claims
import fabricate_explorers
import no_network
import numpy as np
import pytest

from zfnet.errors import UserError
from zfnet.report import evolution_panels, records, track
from zfnet.report.gather import gather
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate

pytestmark = pytest.mark.usefixtures("no_account")


def paths_of(root):
    return SimpleNamespace(
        root=root,
        main=root,
        results=root / "results" / "track",
        config=root / "build" / "config.json",
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
    assert training["summary"]["status"] == "trained"
    assert training["summary"]["tables/departures"]["ncols"] == 5
    assert training["summary"]["numbers"]["nrows"] == 3
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


REPLAY = """
import sys
from pathlib import Path
from types import SimpleNamespace as N
sys.path.insert(0, sys.argv[2])
import fabricate
from zfnet.report import track
fabricate.stub_telling()
root = Path(sys.argv[1])
cfg = N(tracking=N(mode="offline", project="zfnet", entity=None))
track.run(cfg, N(root=root, main=root, results=root / "results/track"))
"""


def test_offline_calls_no_other_machine(tmp_path):
    """W&B is Python and a program in Go (wandb-core), which only the kernel's watch sees."""
    root = fabricate_explorers.tree(tmp_path / "run")
    command = [sys.executable, "-c", REPLAY, str(root), str(Path(__file__).parent)]
    done = no_network.run_watched(command, tmp_path)
    assert done.returncode == 0, done.output
    assert done.calls == []
    assert len(list((root / "wandb").glob("offline-run-*"))) == 4
    if not no_network.can_isolate():
        pytest.skip("no network namespace can be made here: the kernel's watch is missing")


def test_a_call_is_seen(tmp_path):
    """Without these the test before proves nothing. 192.0.2.1 is nobody's (RFC 5737)."""
    call = "import socket; socket.create_connection(('192.0.2.1', 443), 1)"
    found = no_network.run_watched([sys.executable, "-c", call], tmp_path)
    assert any(call.startswith("socket.connect 192.0.2.1") for call in found.calls)
    if no_network.can_isolate():
        bash = ["bash", "-c", "echo > /dev/tcp/192.0.2.1/443"]
        assert no_network.run_watched(bash, tmp_path).calls == ["kernel Ip:OutNoRoutes 1"]
    local = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(s.getsockname())"
    )
    assert no_network.run_watched([sys.executable, "-c", local], tmp_path).calls == []


def test_disabled_imports_no_wandb(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    code = f"""
import sys
from pathlib import Path
from types import SimpleNamespace as N
import zfnet.report.stage
from zfnet.report.track import run, live_logger
root = Path({str(root)!r})
cfg = N(tracking=N(mode="disabled", project="zfnet", entity=None))
paths = N(root=root, main=root, results=root / "results/track", config=root / "build/config.json")
run(cfg, paths)
assert live_logger(cfg, paths, "zfnet") is None
print({{"torch", "wandb", "plotly", "lightning", "matplotlib"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
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


def test_a_refused_key_says_what_to_do(monkeypatch):
    import wandb

    def refuse(prompt):
        raise wandb.errors.AuthenticationError("invalid key")

    monkeypatch.setattr("wandb.login", refuse)
    with pytest.raises(
        UserError, match=r"failed \(invalid key\): run `uv run wandb login`, or wait"
    ):
        track.need_login("publishing", "wait")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("wandb.login", lambda prompt: False)
    with pytest.raises(UserError, match="WANDB_MODE=offline is set"):
        track.need_login("publishing", "wait")


# --------------------------------------------------------------------------------- what is logged
def history_of(folder):
    lines = [json.loads(line) for line in inspect(folder).splitlines()]
    return [line["history"]["item"] for line in lines if line["type"] == "history"]


def folder_of(root, name):
    runs = json.loads((root / "results" / "track.json").read_text())["runs"]
    (run,) = [run["id"] for run in runs if run["name"] == name]
    (folder,) = (root / "wandb").glob(f"offline-run-*-{run}")
    return folder


def test_the_layers_pictures_are_logged_at_the_step_that_is_their_epoch(tmp_path, capsys):
    root = fabricate_explorers.tree(tmp_path / "run")
    shutil.rmtree(root / "models")
    shutil.rmtree(root / "results" / "occlusion")
    shutil.rmtree(root / "results" / "features")
    track.run(config_of("offline"), paths_of(root))
    assert capsys.readouterr().err == ""
    folder = folder_of(root, "evolution")
    rows = history_of(folder)
    assert [row["_step"] for row in rows] == fabricate_explorers.EPOCHS == [1, 2, 4]
    for row in rows:
        for layer, maps in fabricate_explorers.FOLLOWED.items():
            key = f"evolution/layer_{layer}"
            told = f"Layer {layer}, epoch {row['_step']}:"
            assert row[f"{key}.caption"].startswith(told)
            assert f"maps {', '.join(map(str, maps))}, row by row" in row[f"{key}.caption"]
            assert (folder / "files" / row[f"{key}.path"]).suffix == ".webp"
            assert (folder / "files" / row[f"{key}.path"]).is_file()
    assert "tables/maps.nrows" not in rows[0]
    assert rows[-1]["tables/maps.nrows"] == 5


def test_each_picture_shows_its_own_epoch(tmp_path):
    root = fabricate_explorers.tree(tmp_path / "run")
    study = gather(root).studies["evolution"]
    found = {(key, step): panel for step, key, panel in evolution_panels.panels(study, root)}
    assert len(found) == 6
    side = evolution_panels.EPOCH_PX
    for index, epoch in enumerate(fabricate_explorers.EPOCHS):
        pixels = np.asarray(found["evolution/layer_2", epoch].picture)
        assert pixels.shape[:2] == (side, 4 * side + 6)  # two maps, a pair each
        assert pixels[side // 2, side // 2, 0] == 10 * index  # the study's projection of that epoch
        patch = pixels[side // 2, side + 2 + side // 2, 2]
        assert patch == fabricate_explorers.pixels(index)[0, 0, 2]
        other = pixels[side // 2, 3 * side + 6 + side // 2, 2]  # of map 66, silent at first: pale
        assert (other == patch) == (epoch != 1)


def test_a_wide_layer_shows_the_paper_figures_maps_first_and_no_more_than_a_few():
    chosen = evolution_panels.chosen_maps(list(range(10, 60)), shown=[58, 3, 40])
    assert len(chosen) == evolution_panels.MAPS
    assert {40, 58} < set(chosen)
    assert 3 not in chosen
    assert chosen == sorted(chosen)


def test_numbers_by_epoch_come_from_the_studys_own_table():
    columns = ["layer", "epoch", evolution_panels.CURVES["similarity"], "settled", "more"]
    rows = [[1, 2, 0.5, 0.25, 9], [1, 1, None, 0.0, 9], [4, 2, 0.1, 0.0, 9]]
    results = SimpleNamespace(tables={"steps": Table(columns, rows)})
    assert evolution_panels.settling({"results": results}) == {
        1: {"evolution/layer_1_settled": 0.0},
        2: {
            "evolution/layer_1_similarity": 0.5, "evolution/layer_1_settled": 0.25,
            "evolution/layer_4_similarity": 0.1, "evolution/layer_4_settled": 0.0,
        },
    }  # fmt: skip
    assert evolution_panels.settling({"results": SimpleNamespace(tables={})}) == {}


def test_without_the_images_the_numbers_are_logged_and_the_reason_is_told(tmp_path, capsys):
    root = fabricate_explorers.tree(tmp_path / "run")
    for name in ("models", "data/prepared", "results/occlusion", "results/features"):
        shutil.rmtree(root / name)
    track.run(config_of("offline"), paths_of(root))
    assert "no pictures by epoch" in capsys.readouterr().err
    (row,) = history_of(folder_of(root, "evolution"))
    assert row["tables/maps.nrows"] == 5
    assert not [key for key in row if key.startswith("evolution/")]


def test_verdicts_are_a_table_and_final_values(tmp_path):
    fabricate_claims.write(tmp_path)
    (record,) = records.records_of(gather(tmp_path), "g")
    assert record.summary["verdict/hierarchy"] == "holds here"
    assert (record.summary["hierarchy"], record.summary["hierarchy/low"]) == (0.104, 0.085)
    assert record.summary["verdict/wider"] == "not measured"
    assert "wider" not in record.summary
    assert record.summary["count/holds here"] == 1
    row, *others = record.tables["claims"].records()
    assert (row["id"], row["paper"], row["place"]) == ("hierarchy", "rises", "Fig. 2")
    assert len(others) == 3


def test_every_number_stands_in_a_table_with_its_unit(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    unknown = {"purity_slope": Estimate(float("nan"))}
    fabricate.result(root, "probe", Measurement("zfnet", "out", estimates=unknown))
    found = {r.key: r for r in records.records_of(gather(root), "g")}
    assert set(found) == {"train zfnet", "train alexnet", "features", "occlusion", "probe"}
    rows = found["train zfnet"].tables["numbers"].rows
    (error,) = [row for row in rows if row[0] == "val_top1_error"]
    assert error == ["val_top1_error", 20.0, pytest.approx(16.9), 23.3, 600, "%", "centre crop"]
    assert found["probe"].tables["numbers"].rows == [["purity_slope", *[None] * 4, "", ""]]
    assert found["probe"].summary == {}
    table = found["features"].tables["tables/purity"]  # as measured, to be computed with
    assert table.rows[0] == ["1", 24, 0.21]


def test_what_an_older_replay_of_the_same_group_left_goes_and_other_groups_stay(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    for name in ("models", "results/occlusion"):
        shutil.rmtree(root / name)
    track.run(config_of("offline"), paths_of(root))
    before = folder_of(root, "features")
    other = root / "wandb" / "offline-run-20260101_000000-0123456789abcdef0123"
    other.mkdir()
    file = root / "results" / "features" / "measured.json"
    file.write_text(file.read_text().replace("0.512", "0.513"))
    track.run(config_of("offline"), paths_of(root))
    after = folder_of(root, "features")
    assert after.name[-20:] != before.name[-20:]
    assert not before.exists()
    assert other.is_dir()


# ----------------------------------------------------------------------------------------- names
def test_ids_follow_the_group_and_what_a_run_is_about(tmp_path):
    root = fabricate.tree(tmp_path / "run")

    def ids(group):
        return {record.key: record.id for record in records.records_of(gather(root), group)}

    before = ids("g")
    assert not set(before.values()) & set(ids("h").values())
    assert all(run.startswith(records.group_prefix("g")) for run in before.values())
    config = json.loads((root / "build" / "config.json").read_text())
    fingerprint = records.fingerprint_of(root)
    assert records.net_id("g", config, fingerprint, "zfnet") == before["train zfnet"]  # as if live
    config["training"]["lr"] = 0.02
    assert records.net_id("g", config, fingerprint, "zfnet") != before["train zfnet"]
    fabricate.features(root)
    assert ids("g") == before
    fabricate.features(root, more=1)
    assert {key for key, run in ids("g").items() if run != before[key]} == {"features"}
