from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zfnet.data.datasets import centre_crop, fit_to, pixels, ten_crop_offsets
from zfnet.data.store import Prepared, PreparedSplit
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.net import Net, Normalise, convnet_net
from zfnet.models.spec import build_spec
from zfnet.training import evaluate
from zfnet.training.evaluate import predict
from zfnet.training.metrics import entries, validation_errors

PX = 33


@pytest.fixture(scope="module")
def net(prepared: Path) -> Net:
    data = Prepared.open(prepared)
    spec = build_spec(
        num_classes=len(data.classes),
        input_px=PX,
        width=0.05,
        changes={"1": {"kernel": 5, "stride": 1, "pad": 2}, "2": {"stride": 1, "pad": 1}},
    )
    model = ConvNet(spec)
    init_weights(model, "he", seed=1)
    torch.nn.init.normal_(model.layer8.linear.weight, 0, 0.001)  # no softmax of 0 and 1
    return convnet_net(model, data.mean, [c.name for c in data.classes], "tiny")


def test_centre_and_ten_crops_are_what_the_paper_says(
    net: Net, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "IMAGES_A_BATCH", 7)  # the last batch is smaller
    data = Prepared.open(prepared)
    split = data.split("val")
    found = predict(net, split, torch.device("cpu"))
    # by hand: take the mean off the whole image, then cut
    x = pixels(split, range(len(split))).float() - torch.from_numpy(data.mean)
    crops = [x[..., y : y + PX, z : z + PX] for y, z in ten_crop_offsets(data.size, PX)]
    with torch.no_grad():
        ten = sum(net.model(v).softmax(1) for c in crops for v in (c, c.flip(-1))) / 10
        centre = net.model(centre_crop(x, PX)).softmax(1)
    labels = torch.from_numpy(split.labels)
    for name, p in (("centre", centre), ("ten", ten)):
        true = p.gather(1, labels[:, None])[:, 0].numpy()
        np.testing.assert_allclose(found[f"{name}_p"], true, atol=1e-5)
        np.testing.assert_allclose(found[f"{name}_top_p"], p.topk(5).values, atol=1e-5)
    metrics = entries(validation_errors(found))
    wrong = 100 * (centre.argmax(1) != labels).double().mean().item()
    assert metrics["val_top1_error"]["value"] == pytest.approx(wrong)
    assert set(metrics) == {
        "val_top1_error",
        "val_top5_error",
        "val_ten_crop_top1_error",
        "val_ten_crop_top5_error",
    }


def test_every_image_is_read_once(
    net: Net, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    image = PreparedSplit.image

    def counted(self: PreparedSplit, index: int) -> np.ndarray:
        read.append(index)
        return image(self, index)

    monkeypatch.setattr(PreparedSplit, "image", counted)
    monkeypatch.setattr(evaluate, "IMAGES_A_BATCH", 7)
    split = Prepared.open(prepared).split("val")
    predict(net, split, torch.device("cpu"))
    assert read == list(range(len(split)))
    # decoded ahead by threads the results are the same bits
    alone = predict(net, split, torch.device("cpu"))
    monkeypatch.setattr(evaluate, "reading_threads", lambda store, device: 3)
    ahead = predict(net, split, torch.device("cpu"))
    assert all(np.array_equal(alone[name], ahead[name]) for name in alone)


def test_images_below_the_nets_input_are_enlarged(prepared: Path) -> None:
    data = Prepared.open(prepared)
    split = data.split("val")
    large = data.size + 15
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    channels = len(data.classes)
    model.append(torch.nn.Linear(3, channels))
    normalise = Normalise.standardise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), large)
    net = Net(model.eval(), large, normalise, [c.name for c in data.classes], "own", "own", {})
    found = predict(net, split, torch.device("cpu"))
    x = fit_to(pixels(split, range(len(split))), large)
    assert x.shape[-2:] == (large, large)
    with torch.no_grad():
        p = model(normalise(x)).softmax(1)  # its mirror image has the same averages
    for name in ("centre", "ten"):
        np.testing.assert_allclose(found[f"{name}_top_p"], p.topk(5).values, atol=1e-5)


def test_a_class_that_the_net_does_not_know_counts_as_an_error(net: Net, prepared: Path) -> None:
    split = Prepared.open(prepared).split("val")
    known = np.arange(6)
    known[2] = -1
    foreign = Net(**{**vars(net), "class_index": known})
    found = predict(foreign, split, torch.device("cpu"))
    unknown = split.labels == 2
    assert (found["label"][unknown] == -1).all()
    assert (found["centre_p"][unknown] == 0).all()
    wrong = (found["centre_top"][:, 0] != found["label"]).mean() * 100
    assert entries(validation_errors(found))["val_top1_error"]["value"] == pytest.approx(wrong)


def test_few_classes_have_no_top_5() -> None:
    columns = {"label": np.array([0, 1, 2, 0])}
    for name in ("centre", "ten"):
        columns[f"{name}_top"] = np.array([[0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 0, 1]])
    metrics = entries(validation_errors(columns))
    assert set(metrics) == {"val_top1_error", "val_ten_crop_top1_error"}
    entry = metrics["val_top1_error"]
    assert (entry["value"], entry["n"], entry["unit"]) == (50.0, 4, "%")
    assert entry["low"] < 50 < entry["high"]
