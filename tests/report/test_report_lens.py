"""`zfnet lens`: what its page holds, against the net itself, and what it does in a browser."""

import base64
import io
import json
import os
import re
from types import SimpleNamespace

import browser
import fabricate_explorers as made
import numpy as np
import pytest
import torch
from PIL import Image

from zfnet import lens
from zfnet.data.sample import ClassInfo
from zfnet.errors import UserError
from zfnet.figures.features import LayerPictures
from zfnet.models.checkpoint import save_net
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.foreign import torchvision_net
from zfnet.models.net import convnet_net
from zfnet.models.spec import build_spec
from zfnet.results import Results

CLASSES = ["cat", "dog", "gas pump"]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("ZFNET_PROGRESS", "0")
    monkeypatch.setitem(lens.STEPS, True, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("net")
    torch.manual_seed(0)
    model = ConvNet(build_spec("zfnet", width=1 / 16, input_px=64, num_classes=3))
    init_weights(model, "he")
    mean = torch.full((3, 72, 72), 120.0)
    save_net(convnet_net(model, mean, CLASSES, "tiny"), path)
    return path


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "a <b> photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def net(folder):
    return lens.find_net(str(folder), None, "cpu")


@pytest.fixture(scope="module")
def document(photo, net, folder):
    return lens.look(photo, net, str(folder))


def picture(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_the_answers_are_the_nets(document, photo, net):
    pixels = lens.read_pixels(photo, net)
    with torch.inference_mode():
        p = net.model(net.normalise(pixels)).softmax(1)[0]
    order = p.argsort(descending=True).tolist()
    assert [each["label"] for each in document["answers"]] == [CLASSES[i] for i in order]
    assert document["answers"][0]["p"] == pytest.approx(float(p.max()), abs=1e-4)
    assert (picture(document["picture"]) == pixels[0].permute(1, 2, 0).numpy()).all()


def test_maps_are_drawn_on_one_scale_a_layer(document, photo, net):
    x = net.normalise(lens.read_pixels(photo, net))
    for one in document["activations"]["layers"][:5]:
        maps = lens._outputs(net, [path := net.tap(one["layer"], "relu")], x)[path][0].numpy()
        most = maps.max((1, 2))
        shown = [each["map"] for each in one["maps"]]
        assert one["silent"] == (most == 0).sum()
        assert [each["max"] for each in one["maps"]] == pytest.approx(
            sorted(most)[::-1][: len(shown)]
        )
        sheet = picture(one["sheet"]["src"])[..., 0]
        height, width = maps.shape[1:]
        for i, number in enumerate(shown):
            y, column = divmod(i, one["sheet"]["columns"])
            tile = sheet[y * height :, column * width :][:height, :width]
            assert np.abs(tile - 255 * maps[number] / most.max()).max() <= 0.5 + 1e-3


def test_the_slider_shows_what_the_net_was_asked(document, photo, net):
    clean = lens.read_pixels(photo, net)
    told = document["fooling"]
    way = np.rint(picture(told["sign"]) / 127.5).astype(int) - 1
    for epsilon in (1, 5, lens.LARGEST):
        shown = np.clip(clean[0].permute(1, 2, 0).numpy() + epsilon * way, 0, 255)
        pixels = torch.from_numpy(shown.astype(np.uint8)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            p = net.model(net.normalise(pixels)).softmax(1)[0]
        assert told["changed"][epsilon]["label"] == CLASSES[int(p.argmax())]
        assert told["changed"][epsilon]["p"] == pytest.approx(float(p.max()), abs=2e-4)


def test_projections_are_of_the_classes_and_of_the_strongest_maps(document):
    items = document["projections"]["items"]
    first = {layer: [i["unit"] for i in items if i["layer"] == layer] for layer in "12345"}
    for one in document["activations"]["layers"][:5]:
        strongest = [each["map"] for each in one["maps"][: lens.PROJECTED]]
        assert first[str(one["layer"])][: len(strongest)] == strongest
    assert {i["title"] for i in items if i["layer"] == "8"} == {f"class {name}" for name in CLASSES}
    assert {name for i in items for name in i["pictures"]} == {
        "deconvnet", "guided", "gradient", "saliency"
    }  # fmt: skip


def test_parts_that_cannot_be_made_say_why_and_others_stand(document, photo, net, monkeypatch):
    def refuse(*_: object) -> None:
        raise UserError("no such thing")

    monkeypatch.setattr(lens, "_inversion", refuse)
    monkeypatch.setattr(lens, "_of_the_run", lambda *_: (None, None))
    found = lens.look(photo, net, "w", ["inversion", "neighbours", "occlusion"])
    assert found["inversion"] == {"why": "no such thing"}
    assert "prepared" in found["neighbours"]["why"]
    assert found["occlusion"]["why"] == ""
    assert found["fooling"] is None
    assert document["inversion"]["items"]


def test_a_net_of_the_library_which_numbers_no_layer_8_has_every_part(photo, monkeypatch):
    infos = [ClassInfo(i, name, name) for i, name in enumerate(CLASSES)]
    foreign = torchvision_net("torchvision/resnet18", "random", infos, input_px=64)
    pixels = lens.read_pixels(photo, foreign)
    inputs = SimpleNamespace(
        rows=np.arange(2),
        labels=np.array([0, 1]),
        class_names=CLASSES,
        batches=lambda rows, size: [(foreign.normalise(pixels.expand(2, -1, -1, -1)), rows)],
        outputs=lambda rows: rows,
        display=lambda rows: pixels.expand(len(rows), -1, -1, -1).permute(0, 2, 3, 1).numpy(),
    )
    monkeypatch.setattr(lens, "_of_the_run", lambda *_: (inputs, None))
    found = lens.look(photo, foreign, "random", ["projections", "neighbours"])
    titles = {each["title"] for each in found["projections"]["items"] if each["layer"] == "8"}
    assert titles == {f"class {name}" for name in CLASSES}
    assert found["neighbours"]["items"][0]["alike"] == pytest.approx(1, abs=1e-4)
    assert found["neighbours"]["lower"] is not None


def test_a_map_leads_to_its_strongest_images_of_the_run(tmp_path, net, monkeypatch):
    root = made.tree(tmp_path / "run")
    monkeypatch.setattr(LayerPictures, "note", lambda _, number, letters: f"{number} owls")
    seen = lens.Look(net, None, None, None, features=Results(root / "results/features", root))
    found = lens._strongest(seen, 2, [3, 0])
    height, width = picture(found["sheet"]["src"]).shape[:2]
    assert height / 2 == width / 9 <= lens.STRONGEST_PX  # two maps of nine images
    assert found["notes"] == ["3 owls", "0 owls"]
    assert lens._strongest(lens.Look(net, None, None, None), 2, [3]) is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["missing.jpg"], "missing.jpg"),
        (["{photo}", "--steps", "occlusion,inverse"], "inverse"),
        (["{photo}", "--steps", ","], "nothing"),
        (["{photo}", "--out", "page.pdf"], "page.pdf"),
        (["{photo}", "--out", "{photo}/page.html"], "cannot be written"),
        (["{photo}", "--model", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_done_is_named(arguments, named, photo):
    with pytest.raises(UserError, match=named):
        lens.main([each.format(photo=photo) for each in arguments])


def test_the_page_stands_alone(document, tmp_path, folder):
    out = tmp_path / "page.html"
    size = lens.write(document, out)
    text = out.read_text()
    assert size == out.stat().st_size < 15e6
    assert "a &lt;b&gt; photo.png" in text
    assert "<b> photo" not in text
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(each.startswith(("data:", "#")) for each in links)
    assert text.count(str(folder)) > 20  # weights are named on every picture
    data = json.loads(re.search(r'id="lens-data">(.*?)</script>', text, re.S)[1])
    assert data["px"] == 64


@pytest.mark.skipif(
    browser.find_chromium() is None and not os.environ.get("CI"), reason="no chromium here"
)
@pytest.mark.parametrize(("width", "scheme"), [(browser.DESK, "light"), (360, "dark")])
def test_the_page_answers_pointer_and_keys(document, tmp_path, width, scheme):
    out = tmp_path / "page.html"
    shown = json.loads(json.dumps(document))
    layer = shown["activations"]["layers"][0]
    tiles = [np.full((8, 8, 3), 9 * i, np.uint8) for i in range(3 * len(layer["maps"]))]
    layer["top"] = {"sheet": lens._sheet(tiles, 3), "notes": ["2/3 owl"] * len(layer["maps"])}
    lens.write(shown, out)
    with (
        browser.chromium() as running,
        browser.opened(running, out, width, scheme) as (page, wrong),
    ):
        assert page.evaluate(browser.INSPECT) == []
        page.locator("button.tile").nth(1).press("Enter")
        assert page.locator(".strongest .row > span").count() == 3
        assert "2/3 owl" in page.locator(".strongest p").text_content()
        page.locator('input[name="unit"]').first.press("ArrowRight")
        assert [
            each.get_attribute("data-unit")
            for each in page.locator(".four[data-unit]:visible").all()
        ] == ["1"]
        stage, told = page.locator("#stage"), document["occlusion"]
        for _ in range(40):
            stage.press("ArrowUp")
            stage.press("ArrowLeft")
        assert page.locator("#hidden-p").text_content() == f"{told['p'][0][0]:.3f}"
        page.locator("#epsilon").press("End")
        page.wait_for_function("() => document.getElementById('fooled').dataset.drawn === '16'")
        assert (
            document["fooling"]["changed"][16]["label"]
            in page.locator("#fooled-said").text_content()
        )
        assert wrong == []
