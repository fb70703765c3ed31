"""Top activations against sorting everything."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods import TopActivations, top_activations

LAYERS = ["0", "1", "4", "6"]


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3),
        nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 9, 5), nn.ReLU(),
    )  # fmt: skip


MODEL = model()
IMAGES = torch.randn(37, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def batches(images: Tensor, size: int, first: int = 0):
    for start in range(0, len(images), size):
        part = images[start : start + size]
        yield part, torch.arange(first + start, first + start + len(part))


def outputs(images: Tensor) -> dict[str, Tensor]:
    x, kept = images, {}
    for name, step in MODEL.named_children():
        x = step(x)
        kept[name] = x.detach().clone()
    return kept


def by_sorting(maps: Tensor, k: int) -> TopActivations:
    maps = maps if maps.ndim == 4 else maps[:, :, None, None]
    scores = maps.flatten(2).max(2)[0]
    values, images, places = [], [], []
    for c in range(maps.shape[1]):
        order = sorted(range(len(maps)), key=lambda i: (-float(scores[i, c]), i))[:k]
        values.append(scores[order, c])
        images.append(torch.tensor(order))
        flat = [maps[i, c].flatten().tolist() for i in order]
        at = [row.index(max(row)) for row in flat]
        places.append(torch.tensor([[a // maps.shape[3], a % maps.shape[3]] for a in at]))
    return TopActivations(torch.stack(values), torch.stack(images), torch.stack(places))


def assert_same(a: TopActivations, b: TopActivations) -> None:
    assert torch.allclose(a.values, b.values, atol=1e-6)
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.places, b.places)


@pytest.mark.parametrize("lookup", [False, True], ids=["as on a CPU", "as on a GPU"])
def test_equals_sorting_everything(lookup, monkeypatch):
    if lookup:
        module = sys.modules["zfnet.methods.top_activations"]
        scores = module._scores
        monkeypatch.setattr(module, "_scores", lambda maps: (scores(maps)[0], None))
    found = top_activations(MODEL, batches(IMAGES, 8), LAYERS, k=9)
    assert list(found) == LAYERS
    for layer, maps in outputs(IMAGES).items():
        if layer in LAYERS:
            assert_same(found[layer], by_sorting(maps, 9))


def test_layers_before_an_in_place_rectifier_keep_their_negative_values():
    images = -IMAGES.abs()
    raw = MODEL[0](images).detach()
    assert raw.amin() < 0
    found = top_activations(MODEL, batches(images, 8), ["0"], k=37)["0"]
    assert torch.allclose(found.values, raw.flatten(2).amax(2).t().sort(1, descending=True)[0])


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 37), k=st.integers(1, 40), flat=st.booleans())
def test_batch_size_does_not_matter_also_with_ties(size, k, flat):
    images = IMAGES.round() if not flat else torch.zeros_like(IMAGES)
    images[5] = images[3]
    images[20:30] = images[10:20]
    found = top_activations(MODEL, batches(images, size), ["4"], k=k)["4"]
    assert found.values.shape == (4, min(k, 37))
    # identical images give identical scores in any batch, so ties must come by image index
    expected = top_activations(MODEL, batches(images, 37), ["4"], k=k)["4"]
    assert torch.allclose(found.values, expected.values, atol=1e-5)
    tied = found.values[:, :-1] == found.values[:, 1:]
    assert (found.images[:, :-1] < found.images[:, 1:])[tied].all()


def test_ties_go_to_the_lower_image_and_the_first_place():
    identity = nn.Sequential(nn.Identity())
    images = torch.zeros(5, 2, 3, 3)
    images[1, 0, 1, 2] = images[1, 0, 2, 0] = images[4, 0, 0, 0] = 1
    shuffled = torch.tensor([4, 2, 1, 3, 0])
    found = top_activations(identity, [(images[shuffled], shuffled)], ["0"], k=3)["0"]
    assert found.images.tolist() == [[1, 4, 0], [0, 1, 2]]
    assert found.places[0].tolist() == [[1, 2], [0, 0], [0, 0]]


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 36), k=st.integers(1, 12), swap=st.booleans())
def test_parts_merge_to_the_whole(cut, k, swap):
    whole = top_activations(MODEL, batches(IMAGES, 37), LAYERS, k=k)
    a = top_activations(MODEL, batches(IMAGES[:cut], 16), LAYERS, k=k)
    b = top_activations(MODEL, batches(IMAGES[cut:], 16, first=cut), LAYERS, k=k)
    for layer in LAYERS:
        merged = b[layer].merge(a[layer], k) if swap else a[layer].merge(b[layer], k)
        assert_same(merged, whole[layer])


@pytest.mark.parametrize("format_", [torch.contiguous_format, torch.channels_last])
def test_directions_follow_the_channels_in_the_same_pass(format_):
    images = IMAGES.contiguous(memory_format=format_)
    draw = torch.Generator().manual_seed(2)
    vectors = {"4": torch.randn(7, 4, generator=draw), "6": torch.randn(2, 5, generator=draw)}
    found = top_activations(MODEL, batches(images, 9), ["1", "4", "6"], directions=vectors)
    single = top_activations(MODEL, batches(images, 9), ["1", "4", "6"])
    assert_same(found["1"], single["1"])
    for layer, rows in vectors.items():
        channels = len(single[layer].values)
        assert len(found[layer].values) == channels + len(rows)
        assert torch.equal(found[layer].values[:channels], single[layer].values)
        assert_same(found[layer].rows(slice(channels)), single[layer])
        maps = outputs(IMAGES)[layer]
        maps = maps if maps.ndim == 4 else maps[:, :, None, None]
        mixed = torch.einsum("nchw,dc->ndhw", maps, rows)
        assert_same(found[layer].rows(slice(channels, None)), by_sorting(mixed, 9))


def test_purity():
    images = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    top = TopActivations(torch.zeros(2, 4), images, torch.zeros(2, 4, 2, dtype=torch.int64))
    labels = torch.tensor([1, 1, 0, 1, 3, 2, 1, 0])
    assert top.purity(labels).tolist() == [0.75, 0.25]


def test_nothing_behind_the_last_layer_runs_and_the_model_is_left_as_it_was(unchanged):
    net, ran = model().train(), []
    net[3].register_forward_hook(lambda *_: ran.append(1))

    def broken():
        yield IMAGES[:4], torch.arange(4)
        raise OSError("disk gone")

    with unchanged(net):
        top_activations(net, batches(IMAGES, 8), ["1"], k=2)
    assert ran == []
    with unchanged(net), pytest.raises(OSError, match="disk gone"):
        top_activations(net, broken(), ["1"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": ["x"]}, "no layer 'x'"),
        ({"batches": []}, "no images"),
        ({"layers": []}, "at least one layer"),
        ({"k": 0}, "k must"),
        ({"batches": [(IMAGES[:3], torch.arange(2))]}, "indices"),
        ({"directions": {"1": torch.eye(6)}}, "directions are given for '1', .* not among"),
        ({"directions": {"4": torch.eye(6)}}, r"layer '4' must be \(D, 4\).* got \(6, 6\)"),
        ({"batches": [(IMAGES[:2] * float("nan"), torch.tensor([7, 11]))]}, r"no numbers.*\[7, 11"),
    ],
)
def test_mistakes_are_named(change, message):
    call = {"batches": batches(IMAGES, 8), "layers": ["4"]} | change
    with pytest.raises(UserError, match=message):
        top_activations(MODEL, **call)
