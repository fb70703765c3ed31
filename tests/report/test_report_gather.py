import subprocess

import fabricate
import pytest

from zfnet.errors import UserError
from zfnet.report.gather import gather


def test_reads_what_the_stages_left(tmp_path):
    evidence = gather(fabricate.tree(tmp_path / "run"))
    assert [net.name for net in evidence.nets] == ["zfnet", "alexnet"]  # as the config has them
    net = evidence.nets[0]
    assert net.epochs == 6
    assert net.history["epoch"] == [1, 2, 3, 4, 5, 6]
    assert net.history["val_top5_error"] == [None] * 6  # not measured: never 0
    assert net.estimates["val_top1_error"].n == 600
    assert net.words == {"status": "trained"}
    assert {entry["kind"] for entry in net.departures} == {"departure", "open"}
    assert list(evidence.studies) == ["features", "occlusion"]
    assert evidence.data.quarantine[1] == ["dog/b.png", "val", "empty"]
    assert evidence.tracking is None


def test_an_empty_checkout_is_no_error(tmp_path):
    evidence = gather(tmp_path)
    assert (evidence.nets, evidence.studies, evidence.data) == ([], {}, None)
    assert (evidence.config, evidence.config_text, evidence.code.commit) == ({}, None, None)
    assert evidence.code.packages["numpy"]
    assert "wandb-workspaces" not in evidence.code.packages  # an extra


def test_an_adopted_net_has_no_history_and_its_own_title(tmp_path):
    fabricate.net(tmp_path, "resnet18", epochs=0, final=5.0)
    fabricate.net(tmp_path, "zfnet", epochs=0, final=5.0)
    header = "epoch,lr,train_loss\n"  # what training writes for it
    (tmp_path / "models" / "resnet18" / "final" / "history.csv").write_text(header)
    nets = {net.name: net for net in gather(tmp_path).nets}
    assert nets["resnet18"].history == {}
    assert nets["resnet18"].epochs == 0
    assert [entry["what"] for entry in nets["resnet18"].departures] == ["training"]
    assert nets["resnet18"].title == "resnet18"
    assert gather(tmp_path).title("zfnet") == "zfnet"  # of the architecture torchvision/zfnet


def test_times_are_of_stages_that_still_write_them(tmp_path):
    for name in ("features", "report", "track", "train_zfnet", "renamed_since"):
        fabricate.timing(tmp_path, name, 3.0, "00:00")
    assert list(gather(tmp_path).timings) == ["features", "train_zfnet"]


@pytest.mark.parametrize("text", ["{", '{"parameters": {"value": []}}', '{"parameters": 1}'])
def test_a_broken_file_is_named(tmp_path, text):
    fabricate.tree(tmp_path / "run")
    (tmp_path / "run" / "metrics" / "train_zfnet.json").write_text(text)
    with pytest.raises(UserError, match=r"train_zfnet\.json"):
        gather(tmp_path / "run")


def test_commit_and_changed_sources(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    (root / "src").mkdir()
    (root / "src" / "a.py").write_text("1\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)
    assert len(gather(root).code.commit) == 40
    assert gather(root).code.changed == []
    (root / "metrics" / "new.json").write_text("{}")  # the pipeline's own outputs do not count
    (root / "src" / "a.py").write_text("2\n")
    assert gather(root).code.changed == ["src/a.py"]
