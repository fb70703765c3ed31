"""Occlusion maps against one plain forward pass per place."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from zfnet.errors import UserError
from zfnet.methods import occlude, occluder_places

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(3, 3, 17, 20, generator=GENERATOR, dtype=torch.float64)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, 2), nn.ReLU(inplace=True), nn.Conv2d(6, 5, 3), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 4),
    ).double()  # fmt: skip


MODEL = net()
CLASSES = torch.tensor([0, 3, 1])


def run(**changes):
    options = {"classes": CLASSES, "size": 6, "stride": 4, "progress": False} | changes
    model = options.pop("model", MODEL)
    images = options.pop("images", IMAGES)
    return occlude(model, images, **options)


@settings(max_examples=200, deadline=None)
@given(length=st.integers(1, 60), size=st.integers(1, 60), stride=st.integers(1, 60))
def test_places_cover_every_pixel_and_stay_inside(length, size, stride):
    if size > length or stride > size:
        with pytest.raises(UserError):
            occluder_places(length, size, stride)
        return
    places = occluder_places(length, size, stride).tolist()
    covered = {p for start in places for p in range(start, start + size)}
    assert covered == set(range(length))
    assert places == sorted(set(places))
    assert len(places) == -(-(length - size) // stride) + 1


def one_by_one(i: int, window: tuple[slice, slice] | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (4,) and map totals (5,) of one image with one window zeroed."""
    image = IMAGES[i : i + 1].clone()
    if window is not None:
        image[:, :, window[0], window[1]] = 0
    maps = MODEL[:4](image)
    return MODEL[4:](maps)[0].detach(), maps[0].sum((1, 2)).detach()


@pytest.mark.parametrize("size", [6, (3, 7)])
def test_equals_one_pass_per_place(size):
    found = run(layer="3", batch_size=5, size=size, stride=3)
    down, across = found.size
    close = {"rtol": 1e-5, "atol": 1e-6}
    for i, chosen in enumerate(CLASSES.tolist()):
        logits, totals = one_by_one(i, None)
        unit = int(totals.argmax())
        assert int(found.unit[i]) == unit
        assert found.clean_logit[i].item() == pytest.approx(logits[chosen].item(), 1e-5)
        assert found.clean_label[i] == logits.argmax()
        clean = logits.softmax(0)[chosen].item()
        assert found.clean_probability[i].item() == pytest.approx(clean, 1e-5)
        assert found.clean_activity[i].item() == pytest.approx(totals[unit].item(), 1e-5)
        for r, y in enumerate(found.rows.tolist()):
            for c, x in enumerate(found.cols.tolist()):
                logits, totals = one_by_one(i, (slice(y, y + down), slice(x, x + across)))
                assert found.label[i, r, c] == logits.argmax()
                ours = torch.stack(
                    [m[i, r, c] for m in (found.logit, found.probability, found.activity)]
                )
                theirs = torch.stack([logits[chosen], logits.softmax(0)[chosen], totals[unit]])
                assert torch.allclose(ours.double(), theirs, **close)


def test_batch_size_does_not_matter():
    expected = run(layer="3")
    for batch_size in (1, 7, 1000):
        found = run(layer="3", batch_size=batch_size)
        for name in ("probability", "logit", "activity"):
            assert torch.allclose(getattr(found, name), getattr(expected, name), atol=1e-6)
        assert torch.equal(found.label, expected.label)


def seen_by_model(**changes) -> torch.Tensor:
    """The occluded pictures as the model gets them, places in order."""

    class Keep(nn.Module):
        def __init__(self):
            super().__init__()
            self.got = []

        def forward(self, x):
            self.got.append(x.clone())
            return x.flatten(1)[:, :4]

    keep = Keep()
    run(model=keep, **changes)
    return torch.cat(keep.got)[len(changes.get("images", IMAGES)) :]


@pytest.mark.parametrize("fill", ["grey", "zero", "mean", "blur", "noise", "colour"])
def test_fills_change_the_window_alone(fill):
    given = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1) if fill == "colour" else fill
    pictures = seen_by_model(fill=given, batch_size=7).view(3, 4, 5, 3, 17, 20)
    rows, cols = occluder_places(17, 6, 4).tolist(), occluder_places(20, 6, 4).tolist()
    for r, y in enumerate(rows):
        for c, x in enumerate(cols):
            picture = pictures[:, r, c]
            inside = torch.zeros(17, 20, dtype=torch.bool)
            inside[y : y + 6, x : x + 6] = True
            assert torch.equal(picture[..., ~inside], IMAGES[..., ~inside])
            window = picture[..., inside]
            if fill in ("grey", "zero"):
                assert torch.count_nonzero(window) == 0
            elif fill == "mean":
                mean = IMAGES.mean((2, 3))[:, :, None]
                assert torch.allclose(window, mean.expand_as(window))
            elif fill == "colour":
                assert torch.equal(window, given.flatten(1).expand_as(window).double())
            else:
                assert not torch.isclose(window, IMAGES[..., inside]).any()
                if fill == "blur":
                    assert window.std() < IMAGES.std() / 2


def test_noise_comes_from_the_seed():
    a, b, c = (run(fill="noise", seed=seed).logit for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.dtype is torch.float32  # of a net in double precision


def test_a_unit_may_be_named():
    found = run(layer="3", unit=torch.tensor([1, 0, 2]))
    assert found.unit.tolist() == [1, 0, 2]
    total = MODEL[:4](IMAGES).sum((2, 3))
    assert torch.allclose(found.clean_activity.double(), total[range(3), [1, 0, 2]])
    assert run().activity is None


def test_a_model_that_writes_into_its_input():
    class Rude(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = MODEL

        def forward(self, x):
            x *= 2
            return self.body(x)

    images = IMAGES.clone()
    rude = run(model=Rude(), images=images, batch_size=7)
    assert torch.equal(images, IMAGES)
    assert torch.allclose(rude.logit, run(images=IMAGES * 2).logit)


@pytest.mark.parametrize("fail", [False, True])
def test_the_model_is_left_as_it_was(fail, unchanged):
    model = net().train()
    model[2].weight.requires_grad_(False)
    model[6].eval()
    calls = []

    def breaks(*_):
        calls.append(1)
        if fail and len(calls) > 2:
            raise RuntimeError("on purpose")

    model[4].register_forward_hook(breaks)
    expected = pytest.raises(RuntimeError, match="on purpose") if fail else nullcontext()
    with unchanged(model), expected:
        run(model=model, layer="3", batch_size=4)


def test_cost_is_told_beforehand_and_a_bar_runs(capfd, monkeypatch):
    monkeypatch.setenv("ZFNET_PROGRESS", "1")
    run(progress=True)
    printed = capfd.readouterr().err
    assert printed.index("4 x 5 places x 3 images = 60 forward") < printed.index("batch")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"size": 18}, "does not fit"),
        ({"stride": 7}, "uncovered"),
        ({"classes": 4}, r"0\.\.3"),
        ({"classes": -1}, r"0\.\.3"),
        ({"classes": torch.tensor([0, 1])}, "classes must be one or 3"),
        ({"layer": "3", "unit": torch.tensor([0, 1])}, "unit must be one or 3"),
        ({"fill": "black"}, "black"),
        ({"fill": torch.zeros(3)}, r"\(C, 1, 1\)"),
        ({"layer": "9"}, "no layer"),
        ({"layer": "3", "unit": 5}, r"0\.\.4"),
        ({"layer": "3", "unit": "weakest"}, "weakest"),
        ({"unit": 5}, "needs the `layer`"),
        ({"model": nn.Sequential(nn.Conv2d(3, 4, 3)).double()}, "logits"),
    ],
)
def test_mistakes_are_named(change, told):
    with pytest.raises(UserError, match=told):
        run(**change)


class Pair(nn.Module):
    """A layer that gives two tensors."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class Tokens(nn.Module):
    """A net with a layer of tokens (N, tokens, channels), as transformers have."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.tokens = nn.Flatten(2)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(3 * 17 * 20, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.tokens(self.pair(x)[0]))


def test_a_layer_without_maps_is_refused_by_name():
    model = Tokens().double()
    with pytest.raises(UserError, match=r"'tokens' gives \(3, 3, 340\)"):
        run(model=model, layer="tokens", unit="strongest")
    with pytest.raises(UserError, match="'pair' gives tuple, not one tensor"):
        run(model=model, layer="pair")
    assert run(model=model).probability.shape[0] == 3
