"""Features: what a forward pass gives at each layer, for our nets and torchvision's."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
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
from zfnet.studies.base import untrained
from zfnet.studies.codes import LAYERS, _control, layers_of, write_features
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
        rng = np.random.default_rng(0)

        def sample(split, i):
            image = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
            return Sample(f"{split}{i}", i % 3, image=image, attributes=dict(self.attributes))

        return {split: [sample(split, i) for i in range(n)] for split, n in self.count.items()}


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "BATCH", 5)
        write_features(net, targets, folder, Codes(seed=1), CPU)
    return FeatureStore.open(folder)


@torch.no_grad()
def expected(net: Net, prepared: Prepared, split: str) -> dict[int, np.ndarray]:
    """Layer outputs by running the net's blocks one after the other, no hooks."""
    x = centre_views(net, prepared, split)
    found = {}
    for number, block in zip(net.model.spec.numbers, net.model.children(), strict=True):
        x = block(x)
        found[number] = x.flatten(1).numpy()
    return found


def centre_views(net: Net, prepared: Prepared, split: str) -> torch.Tensor:
    whole = prepared.split(split).images(range(prepared.meta.splits[split]))
    cut = (SIZE - PX) // 2
    crop = torch.from_numpy(whole[:, cut : cut + PX, cut : cut + PX]).permute(0, 3, 1, 2)
    return net.normalise(crop)


def test_features_are_the_outputs_of_the_layers(written: FeatureStore, net: Net, targets) -> None:
    assert (written.net, written.nets("plain", "train")) == ("small", ["trained", "untrained"])
    assert written.layers("plain", "train") == [1, 2, 3, 4, 5, 7]
    for name, each in {"trained": net, "untrained": untrained(net, 1)}.items():
        truth = expected(each, targets["plain"], "train")
        for layer in LAYERS:
            found = written.layer("plain", "train", name, layer)
            assert isinstance(found, np.memmap)
            np.testing.assert_allclose(found, truth[layer], rtol=1e-4, atol=1e-4)
            assert np.abs(found).max() > 0
    # nothing of an empty split, and of PASCAL only the layer that is used
    files = {str(p.relative_to(written.path)) for p in written.path.rglob("*.npy")}
    assert {"voc/val/untrained/7.npy", "voc/train/trained/7.npy"} <= files
    assert len(files) == 2 * 6 + 2 * 2


def test_the_same_features_give_the_same_bytes_and_old_ones_go(
    written, net, targets, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(stage, "BATCH", 5)
    (tmp_path / "codes").mkdir()
    (tmp_path / "codes" / "old.npy").write_bytes(b"old")
    facts = write_features(net, targets, tmp_path / "codes", Codes(seed=1), CPU)
    files = {p.relative_to(written.path): p.read_bytes() for p in written.path.rglob("*.npy")}
    again = {p.relative_to(tmp_path / "codes"): p for p in tmp_path.rglob("*.npy")}
    assert again.keys() == files.keys()
    assert all(again[name].read_bytes() == files[name] for name in files)
    assert facts["images_passed"] == 2 * (11 + 4 + 3)
    assert [p.name for p in tmp_path.iterdir()] == ["codes"]
    size = sum(np.load(file, mmap_mode="r").nbytes for file in again.values())
    assert facts["megabytes"] == round(size / 1e6, 1)
    dims = stage.dimensions(net, LAYERS, CPU)
    assert stage.check_disk(targets, dims, 2, tmp_path) == size


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
    elsewhere = replace(net, provenance={"adopted": "mine.pth"})  # the paper's, by the seed
    one, again, other = (untrained(elsewhere, n).model.layer3.conv.weight for n in (0, 0, 1))
    assert float(one.detach().std()) == pytest.approx(0.04, rel=0.02)  # 0.01 / sqrt(1/16)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    alien = Net(torch.nn.Linear(2, 2), PX, net.normalise, ["a"], "alien", "alien", {"7.out": ""})
    with pytest.raises(UserError, match=r"cannot be built anew.*study\.codes\.untrained=false"):
        _control(alien, 0)


def test_layers_that_the_net_lacks() -> None:
    without = made_net(without=[3, 4])
    assert layers_of(without, None) == [1, 2, 5, 7]
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
    cfg = Codes(layers=(5,), seed=3)
    write_features(net, {"plain": targets["plain"]}, tmp_path / "codes", cfg, CPU)
    codes = FeatureStore.open(tmp_path / "codes")
    heard = []
    module = net.model.get_submodule(net.taps["5.out"])
    handle = module.register_forward_hook(lambda m, a, output: heard.append(output.clone()))
    with torch.no_grad():
        net.model(centre_views(net, targets["plain"], "train"))
    handle.remove()
    trained = codes.layer("plain", "train", "trained", 5)
    np.testing.assert_allclose(trained, heard[0].flatten(1).numpy(), rtol=1e-4, atol=1e-5)
    control = codes.layer("plain", "train", "untrained", 5)
    assert not np.allclose(trained, control, atol=1e-3)


def test_without_a_target_no_features_are_listed(net: Net, tmp_path: Path) -> None:
    """Every target may be off: the pipeline goes on."""
    (tmp_path / "codes").mkdir()
    save_net(net, tmp_path / "net")
    paths = SimpleNamespace(net=tmp_path / "net", targets=tmp_path, results=tmp_path / "codes")
    facts = stage.run(Codes(layers=(7,), device="cpu"), paths)
    assert facts == {"images_passed": 0, "megabytes": 0}
    found = FeatureStore.open(tmp_path / "codes")
    assert (found.net, found.targets, found.taps) == ("small", {}, {})
    with pytest.raises(UserError, match="there are those of nothing"):
        found.layer("plain", "train", "trained", 7)


def test_more_than_the_disk_holds_is_refused_before_anything_is_made(
    net: Net, targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=stage.check_disk(targets, {7: 256}, 2, tmp_path) - 1)
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match=r"targets\.plain\.run=false"):
        write_features(net, targets, tmp_path / "codes", Codes(layers=(7,)), CPU)
    assert not any(tmp_path.iterdir())
    usage.free += 1
    write_features(net, targets, tmp_path / "codes", Codes(layers=(7,)), CPU)


def test_dimensions_of_the_papers_net() -> None:
    with torch.device("meta"):
        model = ConvNet(build_spec("zfnet", num_classes=2))
    paper = convnet_net(model, np.zeros((3, 256, 256), np.float32), ["a", "b"], "paper", {})
    dims = stage.dimensions(paper, LAYERS, torch.device("meta"))
    assert dims == {1: 290_400, 2: 43_264, 3: 64_896, 4: 64_896, 5: 9_216, 7: 4_096}


def test_what_is_not_there_is_named(written: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no features here"):
        FeatureStore.open(tmp_path)
    for text, fault in (('{"format": 0}', "not of format 1"), ("{", "cannot be read")):
        (tmp_path / "codes.json").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=fault):
            FeatureStore.open(tmp_path)
    for where, fault in (
        (("moon", "train", "trained", 1), r"no features of moon \(train\)"),
        (("plain", "train", "trained", 6), "no features of layer 6 of the trained net on plain"),
        (("plain", "train", "tired", 1), "no features of layer 1 of the tired net"),
    ):
        with pytest.raises(UserError, match=fault):
            written.layer(*where)


def test_a_file_of_another_length_is_named(written, tmp_path) -> None:
    shutil.copytree(written.path, tmp_path / "codes")
    file = tmp_path / "codes" / "codes.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["targets"]["plain"]["train"]["images"] = 12
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UserError, match=r"7\.npy.*shape"):
        FeatureStore.open(tmp_path / "codes").layer("plain", "train", "trained", 7)
    (tmp_path / "codes" / "plain" / "train" / "trained" / "7.npy").unlink()
    with pytest.raises(UserError, match=r"7\.npy: cannot be read"):
        FeatureStore.open(tmp_path / "codes").layer("plain", "train", "trained", 7)
