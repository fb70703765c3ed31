"""What training left, read back: predictions, history, facts, and what is refused."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from answered import paths_of, sure, write_absent, write_net, wrong_at

from zfnet.errors import UserError
from zfnet.models.spec import build_spec
from zfnet.models.trained import (
    TrainedNet,
    count_parameters,
    read_history,
    read_nets,
)
from zfnet.stats.estimate import Estimate
from zfnet.studies.error_rates import in_common, marked

LABEL = np.arange(60, dtype=np.int64) % 12


def test_a_net_is_read_with_all_its_seeds(tmp_path):
    one, two = sure(wrong_at(LABEL, [0, 1, 2])), sure(wrong_at(LABEL, [5]))
    train = (np.array([0, 1, 2, 2]), np.array([0, 1, 2, 3]))
    final = write_net(tmp_path, "zfnet", LABEL, [one, two], seeds=[4, 5], train=train)
    net = TrainedNet.open("zfnet", final)
    assert net.seeds == [4, 5]
    assert net.wrong("centre").sum(1).tolist() == [3, 1]
    assert net.trainings[1].folder == final / "seed_5"
    assert net.trainings[0].wrong_in_training.tolist() == [False, False, False, True]
    assert np.array_equal(net.trainings[1].probabilities("ten"), two)
    assert net.facts == {
        "arch": "zfnet", "adopted": False, "seeds": [4, 5], "trained": 2,
        "at_chance": [], "still_learning": [],
    }  # fmt: skip
    assert net.data == "f"


def test_history_is_numbers_and_nan_where_nothing_was_measured(tmp_path):
    assert read_history(tmp_path) == []
    file = tmp_path / "history.csv"
    file.write_text("epoch,train_loss,val_top5_error\n1,2,\n2,1,3.5\n", encoding="utf-8")
    first, second = read_history(tmp_path)
    assert first["epoch"] == 1
    assert math.isnan(first["val_top5_error"])
    assert second == {"epoch": 2.0, "train_loss": 1.0, "val_top5_error": 3.5}
    file.write_text("epoch,lr\n1,many\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"history\.csv is damaged"):
        read_history(tmp_path)


def test_top5_asks_whether_the_class_is_among_five(tmp_path):
    probs = sure(wrong_at(LABEL, [0, 1, 2]))
    probs[0, LABEL[0]] = 0  # the true class comes last: not among five
    net = TrainedNet.open("zfnet", write_net(tmp_path, "zfnet", LABEL, [probs]))
    # true classes 1 and 2 are second and third of the falling rest
    assert np.flatnonzero(net.wrong("centre", 5)[0]).tolist() == [0]


def test_an_unknown_class_is_always_wrong_and_an_adopted_net_not_trained(tmp_path):
    label = LABEL.copy()
    label[7] = -1
    arch = "torchvision/resnet18"
    final = write_net(tmp_path, "zfnet", label, [sure(LABEL)], adopted=True, arch=arch)
    net = TrainedNet.open("zfnet", final)
    assert net.wrong("centre").sum() == 1
    assert (net.adopted, net.parameters, net.trainings[0].at_chance) == (True, None, False)


def test_nets_that_were_not_trained_are_left_out(tmp_path):
    write_net(tmp_path, "zfnet", LABEL, [sure(LABEL)])
    write_absent(tmp_path, "zfnet_wide")
    folder_of = paths_of(tmp_path).folder_of
    assert list(read_nets(["alexnet", "zfnet", "zfnet_wide"], folder_of)) == ["zfnet"]
    with pytest.raises(UserError, match="none of alexnet, zfnet_wide is trained"):
        read_nets(["alexnet", "zfnet_wide"], folder_of)


def test_nets_on_other_data_are_refused(tmp_path):
    write_net(tmp_path, "zfnet", LABEL, [sure(LABEL)] * 2)
    write_net(tmp_path, "alexnet", LABEL, [sure(LABEL)], fingerprint="g")
    folder_of = paths_of(tmp_path).folder_of
    with pytest.raises(UserError, match="alexnet/final: predicts other images"):
        read_nets(["zfnet", "alexnet"], folder_of)
    other = tmp_path / "models/zfnet/final/seed_1/val_predictions.npz"
    np.savez(other, label=LABEL[::-1])
    with pytest.raises(UserError, match="seed_1: predicts other images"):
        read_nets(["zfnet"], folder_of)


@pytest.mark.parametrize(
    ("content", "fault"),
    [({}, "has no 'centre_top'"), (b"PK\x03\x04 nothing", "is damaged"), (None, "is missing")],
)
def test_missing_and_old_files_are_named(tmp_path, content, fault):
    final = write_net(tmp_path, "zfnet", LABEL, [sure(LABEL)])
    file = final / "val_predictions.npz"
    file.unlink()
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.savez(file, label=LABEL)
    with pytest.raises(UserError, match=rf"val_predictions\.npz {fault}"):
        TrainedNet.open("zfnet", final).wrong("centre")


def test_a_net_at_chance_is_marked_by_the_rule_of_training(tmp_path):
    limit = 0.95 * math.log(12)
    loss = [limit - 0.01, limit + 0.01, 0.2]
    net = TrainedNet.open(
        "zfnet", write_net(tmp_path, "zfnet", LABEL, [sure(LABEL)] * 3, loss=loss)
    )
    assert net.facts["at_chance"] == [1]
    estimate = Estimate(3.0, note="a")
    assert marked(estimate, net.trainings[::2], compared=False) == estimate
    assert marked(estimate, net.trainings[::2]).invalid == "still learning"  # stuck near guessing
    found = marked(estimate, net.trainings)
    assert found.invalid == "at chance"
    assert "zfnet" in found.note


@pytest.mark.parametrize("record", ["[]", '{"seeds": []}', '{"seeds": [1, 1]}', '{"seeds": "a"}'])
def test_damaged_seeds_are_named(tmp_path, record):
    final = write_net(tmp_path, "zfnet", LABEL, [sure(LABEL)])
    (final / "seeds.json").write_text(record, encoding="utf-8")
    with pytest.raises(UserError, match=r"seeds\.json (is damaged|holds no JSON object)"):
        TrainedNet.open("zfnet", final)


def test_a_history_cut_within_a_row_is_named(tmp_path):
    final = write_net(tmp_path, "zfnet", LABEL, [sure(LABEL)])
    text = (final / "history.csv").read_text(encoding="utf-8")
    (final / "history.csv").write_text(text.rstrip().rpartition(",")[0], encoding="utf-8")
    net = TrainedNet.open("zfnet", final)
    with pytest.raises(UserError, match=r"history\.csv is damaged"):
        assert net.trainings[0].ended


def test_seeds_in_common_or_the_first_of_each(tmp_path):
    nets = [
        TrainedNet.open(name, write_net(tmp_path, name, LABEL, [sure(LABEL)] * 3, seeds=seeds))
        for name, seeds in (("a", [0, 1, 2]), ("b", [1, 2, 5]), ("c", [7, 8, 9]))
    ]
    assert [net.seeds for net in in_common(*nets[:2])] == [[1, 2], [1, 2]]
    assert [net.seeds for net in in_common(*nets)] == [[0], [1], [7]]


@pytest.mark.parametrize("change", [{}, {"without": [3, 4]}, {"without": [6, 7]}, {"fc_units": 99}])
@pytest.mark.parametrize("arch", ["zfnet", "alexnet"])
def test_parameters_are_those_of_the_module(arch, change):
    from zfnet.models.convnet import ConvNet

    spec = build_spec(arch, num_classes=7, width=0.125, input_px=128, **change)
    with torch.device("meta"):
        model = ConvNet(spec)
    assert count_parameters(spec) == sum(p.numel() for p in model.parameters())


def test_neither_the_reader_nor_the_two_studies_need_torch():
    code = (
        "import sys, zfnet.studies.classification, zfnet.studies.ablation\n"
        "sys.exit(', '.join({'torch', 'scipy', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
