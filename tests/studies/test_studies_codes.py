"""Features: what a forward pass gives at each layer, for our nets and torchvision's."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zfnet.data.prepare import prepare
from zfnet.data.sample import ClassInfo, Sample
from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.models.checkpoint import save_net
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.net import Net, convnet_net
from zfnet.models.spec import build_spec
from zfnet.pipeline.studies import Codes
from zfnet.studies import codes as stage
from zfnet.studies.codes import LAYERS, layers_of, untrained, write_features
from zfnet.studies.feature_store import FeatureStore

SIZE, PX = 72, 64
CPU = torch.device("cpu")
TRAINING = {"init": "he"}


class Noise:
    """A source of noise pictures: `count` by split; `attributes` of every sample."""

    name = "noise"
    classes = [ClassInfo(i, f"class{i}", f"class {i}") for i in range(3)]  # noqa: RUF012
    part_names: list[str] = []  # noqa: RUF012

    def __init__(self, count, **attributes):
        self.count = count
        self.attributes = attributes

    def splits(self):
        return {
            split: [
                Sample(
                    f"{split}{i}",
                    i % 3,
                    image=np.random.default_rng(i).integers(0, 256, (SIZE, SIZE, 3), np.uint8),
                    attributes=dict(self.attributes),
                )
                for i in range(count)
            ]
            for split, count in self.count.items()
        }


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two prepared targets: one as Caltech's, with one split, one as PASCAL's, with labels."""
    root = tmp_path_factory.mktemp("targets")
    source = Noise({"train": 11, "val": 0})
    prepare(source, root / "plain", size=SIZE, workers=1, val_may_be_empty=True)
    labelled = Noise({"train": 4, "val": 3}, present="0 2", difficult="")
    prepare(labelled, root / "voc", size=SIZE, workers=1)
    return root


@pytest.fixture(scope="module")
def targets(folder) -> dict[str, Prepared]:
    return {name: Prepared.open(folder / name) for name in ("plain", "voc")}


def made_net(**changes) -> Net:
    """A small ZFNet away from its first weights, which its record tells."""
    spec = build_spec("zfnet", width=1 / 16, input_px=PX, num_classes=3, **changes)
    model = ConvNet(spec)
    init_weights(model, "he", width=spec.width, seed=7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    mean = np.full((3, SIZE, SIZE), 120, np.float32)
    record = {"seed": 7, "training": TRAINING}
    return convnet_net(model, mean, ["a", "b", "c"], "small", record)


@pytest.fixture(scope="module")
def net() -> Net:
    return made_net()


@pytest.fixture(scope="module")
def written(net, targets, tmp_path_factory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("out") / "codes"
    write_features(net, targets, folder, Codes(seed=1), CPU)
    return FeatureStore.open(folder)


@torch.no_grad()
def expected(net: Net, prepared: Prepared, split: str) -> dict[int, np.ndarray]:
    """Layer outputs by running the net's blocks one after the other, no hooks."""
    whole = prepared.split(split).images(range(prepared.meta.splits[split]))
    cut = (SIZE - PX) // 2
    crop = torch.from_numpy(whole[:, cut : cut + PX, cut : cut + PX]).permute(0, 3, 1, 2)
    x = net.normalise(crop)
    found = {}
    for number, block in zip(net.model.spec.numbers, net.model.children(), strict=True):
        x = block(x)
        found[number] = x.flatten(1).numpy()
    return found


def test_features_are_the_outputs_of_the_layers(written: FeatureStore, net: Net, targets) -> None:
    assert written.net == "small"
    assert written.taps == {layer: net.taps[f"{layer}.out"] for layer in LAYERS}
    assert written.layers("plain", "train") == [1, 2, 3, 4, 5, 7]
    assert written.nets("plain", "train") == ["trained", "untrained"]
    for name, each in {"trained": net, "untrained": untrained(net, 1)}.items():
        truth = expected(each, targets["plain"], "train")
        for layer in LAYERS:
            found = written.layer("plain", "train", name, layer)
            assert isinstance(found, np.memmap)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, truth[layer], rtol=1e-4, atol=1e-4)
            assert np.abs(found).max() > 0


def test_empty_splits_and_layers_without_use_are_not_written(written: FeatureStore) -> None:
    assert list(written.targets["plain"]) == ["train"]
    assert list(written.targets["voc"]) == ["train", "val"]
    assert written.layers("voc", "val") == [7]
    assert written.layer("voc", "val", "trained", 7).shape == (3, 256)
    files = {str(p.relative_to(written.path)) for p in written.path.rglob("*.npy")}
    assert "voc/val/untrained/7.npy" in files
    assert len(files) == 2 * 6 + 2 * 2


def test_the_same_features_give_the_same_bytes_and_old_ones_go(
    net, targets, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(stage, "BATCH", 5)
    one = {"plain": targets["plain"]}
    first = write_features(net, one, tmp_path / "codes", Codes(), CPU)
    before = {p.name: p.read_bytes() for p in (tmp_path / "codes").rglob("*.npy")}
    (tmp_path / "codes" / "old.npy").write_bytes(b"old")
    again = write_features(net, one, tmp_path / "codes", Codes(), CPU)
    assert {p.name: p.read_bytes() for p in (tmp_path / "codes").rglob("*.npy")} == before
    assert first == again
    assert first["images_passed"] == 22
    assert [p.name for p in tmp_path.iterdir()] == ["codes"]


def test_a_broken_pass_leaves_the_old_features_and_no_draft(
    net, targets, tmp_path, monkeypatch
) -> None:
    write_features(net, targets, tmp_path / "codes", Codes(layers=(7,), untrained=False), CPU)
    kept = (tmp_path / "codes" / "codes.json").read_bytes()

    def tear(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "_write_split", tear)
    with pytest.raises(KeyboardInterrupt):
        write_features(net, targets, tmp_path / "codes", Codes(layers=(1, 5)), CPU)
    assert (tmp_path / "codes" / "codes.json").read_bytes() == kept
    assert [p.name for p in tmp_path.iterdir()] == ["codes"]


def test_the_untrained_net_is_the_one_that_training_began_with(net: Net) -> None:
    control = untrained(net, seed=99)  # the record's seed 7 counts
    begun = ConvNet(net.model.spec)
    init_weights(begun, "he", width=net.model.spec.width, seed=7)
    for key, value in begun.state_dict().items():
        assert torch.equal(control.model.state_dict()[key], value), key
    assert not control.model.training
    assert control.taps == net.taps


def test_a_net_trained_elsewhere_gets_the_papers_weights_by_the_seed() -> None:
    net = made_net()
    net.provenance = {"adopted": "mine.pth"}
    deviation = untrained(net, 0).model.layer3.conv.weight.detach().std()
    assert float(deviation) == pytest.approx(0.04, rel=0.02)  # 0.01 / sqrt(1/16)
    same, other = (untrained(net, seed).model.layer1.conv.weight for seed in (0, 1))
    assert torch.equal(same, untrained(net, 0).model.layer1.conv.weight)
    assert not torch.equal(same, other)


def test_layers_that_the_net_lacks(capsys) -> None:
    without = made_net(without=[3, 4])
    assert layers_of(without, None) == [1, 2, 5, 7]
    assert "has no layer 3, 4; left out" in capsys.readouterr().err
    assert layers_of(without, (7, 1)) == [1, 7]
    with pytest.raises(UserError, match=r"no tap 3\.out"):
        layers_of(without, (1, 3))
    without.taps = {"8.out": "layer8"}
    with pytest.raises(UserError, match="none of the layers 1, 2, 3, 4, 5, 7"):
        layers_of(without, None)


def test_any_torchvision_net_with_its_weights_file(targets, tmp_path) -> None:
    from zfnet.models.foreign import build_model, torchvision_net

    torch.manual_seed(0)
    torch.save(build_model("squeezenet1_1", 1000).state_dict(), tmp_path / "mine.pth")
    classes = targets["plain"].classes
    net = torchvision_net("squeezenet1_1", tmp_path / "mine.pth", classes, input_px=PX)
    write_features(net, {"plain": targets["plain"]}, tmp_path / "codes", Codes(seed=3), CPU)
    codes = FeatureStore.open(tmp_path / "codes")
    there = [layer for layer in LAYERS if f"{layer}.out" in net.taps]
    assert codes.layers("plain", "train") == there
    assert 5 in there
    cut = (SIZE - PX) // 2
    whole = torch.from_numpy(targets["plain"].split("train").images(range(11)))
    x = net.normalise(whole[:, cut : cut + PX, cut : cut + PX].permute(0, 3, 1, 2))
    heard = []
    module = net.model.get_submodule(net.taps["5.out"])
    handle = module.register_forward_hook(lambda m, a, output: heard.append(output.clone()))
    with torch.no_grad():
        net.model(x)
    handle.remove()
    trained = codes.layer("plain", "train", "trained", 5)
    np.testing.assert_allclose(trained, heard[0].flatten(1).numpy(), rtol=1e-4, atol=1e-5)
    control = codes.layer("plain", "train", "untrained", 5)
    assert not np.allclose(trained, control, atol=1e-3)


def test_a_net_that_cannot_be_built_anew_is_told(net: Net) -> None:
    alien = Net(torch.nn.Linear(2, 2), PX, net.normalise, ["a"], "alien", "alien", {"7.out": ""})
    with pytest.raises(UserError, match=r"study\.codes\.untrained=false"):
        untrained(alien, 0)


def test_the_stage_writes_every_target(net: Net, folder: Path, tmp_path: Path) -> None:
    save_net(net, tmp_path / "net")
    out = tmp_path / "codes"
    paths = SimpleNamespace(net=tmp_path / "net", targets=folder, results=out)
    facts = stage.run(Codes(layers=(7,), device="cpu"), paths)
    assert facts["images_passed"] == 2 * (11 + 4 + 3)
    assert FeatureStore.open(out).layer("plain", "train", "untrained", 7).shape == (11, 256)


def test_without_a_target_no_features_are_listed_and_that_is_said(
    net: Net, tmp_path: Path, capsys
) -> None:
    """Every target may be off: the pipeline goes on."""
    (tmp_path / "codes").mkdir()
    (tmp_path / "codes" / "old.npy").write_bytes(b"old")
    facts = write_features(net, {}, tmp_path / "codes", Codes(layers=(8,)), CPU)
    assert facts == {"images_passed": 0, "megabytes": 0}
    assert "codes: no target is run" in capsys.readouterr().err
    found = FeatureStore.open(tmp_path / "codes")
    assert (found.net, found.targets, found.taps) == ("small", {}, {})
    assert [p.name for p in (tmp_path / "codes").iterdir()] == ["codes.json"]
    with pytest.raises(UserError, match="there are those of nothing"):
        found.layer("plain", "train", "trained", 7)


def test_the_size_is_told_before_and_is_that_of_the_files(
    net: Net, targets, tmp_path: Path, capsys
) -> None:
    facts = write_features(net, targets, tmp_path / "codes", Codes(), CPU)
    files = [np.load(f, mmap_mode="r") for f in (tmp_path / "codes").rglob("*.npy")]
    size = sum(each.nbytes for each in files)
    assert facts["megabytes"] == round(size / 1e6, 1)
    dims = stage.dimensions(net, LAYERS, CPU)
    told = capsys.readouterr().err
    assert f"plain: 11 images x {sum(dims.values()):,} numbers x 2 nets: " in told
    assert stage.check_disk(targets, dims, 2, tmp_path) == size
    assert stage.check_disk({"voc": targets["voc"]}, dims, 1, tmp_path) == 7 * dims[7] * 4


@pytest.mark.parametrize("missing", [0, 1])
def test_more_than_the_disk_holds_is_refused_before_anything_is_made(
    net: Net, targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    need = stage.check_disk(targets, {7: 256}, 2, tmp_path)
    usage = SimpleNamespace(free=need - missing)
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda folder: usage)
    if not missing:
        write_features(net, targets, tmp_path / "codes", Codes(layers=(7,)), CPU)
        return
    with pytest.raises(UserError, match=r"targets\.plain\.run=false saves .*study\.codes\.layers"):
        write_features(net, targets, tmp_path / "codes", Codes(layers=(7,)), CPU)
    assert not any(tmp_path.iterdir())
    usage.free = need // 2
    write_features(net, targets, tmp_path / "codes", Codes(layers=(7,), untrained=False), CPU)


def test_the_sizes_that_the_experiments_state_are_those_of_the_nets(root: Path) -> None:
    """ZFNet at 224 px on Caltech-101 and -256, without the images that are in no class."""
    net = made_net_of_paper_size()
    dims = stage.dimensions(net, LAYERS, torch.device("meta"))
    assert dims == {1: 290_400, 2: 43_264, 3: 64_896, 4: 64_896, 5: 9_216, 7: 4_096}
    for name, images in {"caltech256": 29_780, "caltech101": 8_677}.items():
        told = stage.amount(2 * 4 * images * sum(dims.values()))
        for file in ("imagenet", "imagenette"):
            head = (root / "conf" / "experiment" / f"{file}.yaml").read_text(encoding="utf-8")
            if f"  {name}:" in head:
                assert f"{told.split('.')[0]}" in head.split("defaults:")[0], (file, name, told)


def made_net_of_paper_size() -> Net:
    spec = build_spec("zfnet", num_classes=2)
    mean = np.zeros((3, 256, 256), np.float32)
    with torch.device("meta"):
        model = ConvNet(spec)
    return convnet_net(model, mean, ["a", "b"], "paper", {})


def test_what_is_not_there_is_named(written: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no features here.*dvc repro codes"):
        FeatureStore.open(tmp_path)
    (tmp_path / "codes.json").write_text('{"format": 0}', encoding="utf-8")
    with pytest.raises(UserError, match="not of format 1"):
        FeatureStore.open(tmp_path)
    (tmp_path / "codes.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read"):
        FeatureStore.open(tmp_path)
    with pytest.raises(UserError, match=r"no features of moon \(train\).*plain \(train\)"):
        written.layer("moon", "train", "trained", 1)
    with pytest.raises(UserError, match="no features of layer 6 of the trained net on plain"):
        written.layer("plain", "train", "trained", 6)
    with pytest.raises(UserError, match="no features of layer 1 of the tired net"):
        written.layer("plain", "train", "tired", 1)


def test_a_file_of_another_length_is_told(net, targets, tmp_path) -> None:
    write_features(net, {"plain": targets["plain"]}, tmp_path / "codes", Codes(layers=(7,)), CPU)
    file = tmp_path / "codes" / "codes.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["targets"]["plain"]["train"]["images"] = 12
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UserError, match=r"7\.npy.*shape"):
        FeatureStore.open(tmp_path / "codes").layer("plain", "train", "trained", 7)
    (tmp_path / "codes" / "plain" / "train" / "trained" / "7.npy").unlink()
    with pytest.raises(UserError, match=r"7\.npy: cannot be read"):
        FeatureStore.open(tmp_path / "codes").layer("plain", "train", "trained", 7)
