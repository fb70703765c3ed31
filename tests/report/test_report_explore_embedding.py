"""The embedding explorer: its data, and its page in a real browser where there is one."""

import os

import browser
import fabricate
import fabricate_explorers as made
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from zfnet.data.store import Prepared
from zfnet.models.net import Net, Normalise
from zfnet.pipeline.survey import Embedding
from zfnet.report.gather import gather
from zfnet.report.site import build
from zfnet.results import Results
from zfnet.studies.base import Inputs
from zfnet.studies.embedding import study

in_browser = pytest.mark.skipif(
    browser.find_chromium() is None and not os.environ.get("CI"), reason="no chromium here"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("embedding") / "run"
    fabricate.write_json(root / "build" / "config.json", fabricate.CONFIG, sort_keys=False)
    prepared = Prepared.open(made.prepared(root))
    fabricate.net(root, "zfnet", epochs=4, final=20.0, classes=made.CLASSES)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * made.PX**2, 8), nn.ReLU(), nn.Linear(8, 3))
    net = Net(
        model=model.eval(), input_px=made.PX, arch="made", name="zfnet", classes=made.CLASSES,
        normalise=Normalise.mean_image(np.zeros((3, made.PX, made.PX), np.float32), made.PX),
        taps={"7.relu": "2"},
    )  # fmt: skip
    measured = study(Inputs(prepared, "val", net, torch.device("cpu")), Embedding(max_images=40))
    fabricate.result(root, "embedding", measured)
    return root


@pytest.fixture(scope="module")
def site(run):
    return build(gather(run), run.parent / "reports").parent


def test_every_image_stands_at_its_place_with_its_picture(run, site):
    key, meta = made.handed(site, "embedding/meta")
    results = Results(run / "results" / "embedding", run)
    rows, labels = results.array("images"), results.array("labels")
    assert key == "meta"
    assert [one["id"] for one in meta["items"]] == [f"val/{row:03d}.png" for row in rows]
    assert [meta["classes"][one["class"]] for one in meta["items"]] == [
        made.CLASSES[label] for label in labels
    ]
    for space in meta["spaces"]:
        points = np.array(space["points"])
        assert points.min() >= 0
        assert points.max() <= 1
        assert np.ptp(points, axis=0).max() == pytest.approx(1, abs=1e-3)
    drawn, measured = np.array(meta["spaces"][0]["points"]), results.array("points_codes")
    factor = np.polyfit(measured[:, 0], drawn[:, 0], 1)[0]
    assert np.polyfit(measured[:, 1], drawn[:, 1], 1)[0] == pytest.approx(-factor, rel=1e-3)
    place, row = meta["items"][7]["place"], int(rows[7])
    sheet = meta["images"]["sheets"][place // 64]
    with Image.open(site / sheet["src"]) as image:
        pixels = np.asarray(image.convert("RGB"))
    y, x = place // sheet["columns"] * sheet["h"], place % sheet["columns"] * sheet["w"]
    tile = pixels[y : y + sheet["h"], x : x + sheet["w"]].astype(int)
    assert np.abs(tile - made.pixels(row)[4:36, 4:36]).mean() < 6  # lossy, but this image


def test_a_result_of_other_images_has_no_explorer_and_says_why(run, tmp_path):
    root = tmp_path / "run"
    root.symlink_to(run)
    evidence = gather(root)
    table = evidence.studies["embedding"]["results"].tables["images"]
    table.rows[0][list(table.columns).index("image")] = "val/other.png"
    other = build(evidence, tmp_path / "reports").parent
    assert not (other / "embedding_explorer.html").exists()
    assert "belongs to other data" in (other / "studies" / "embedding.html").read_text("utf-8")


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as running:
        yield running


@in_browser
@pytest.mark.parametrize(("width", "scheme"), [(browser.DESK, "light"), (360, "dark")])
def test_the_page_is_whole(chromium, site, width, scheme):
    with browser.opened(chromium, site / "embedding_explorer.html", width, scheme) as (page, found):
        page.locator("#pictures").click()
        page.wait_for_function("() => !document.querySelector('canvas[data-drawn=\"\"]')")
        assert page.evaluate(browser.INSPECT) == []
        assert page.locator("canvas:visible:not([data-drawn=yes])").count() == 0
        assert page.locator("#spaces [role=radio]").count() == 3  # no untrained net
        assert page.locator("#pictures").get_attribute("aria-pressed") == "true"
        assert found == []


@in_browser
def test_pointer_keys_and_spaces_choose_images(chromium, site):
    _, meta = made.handed(site, "embedding/meta")

    def near(space, image):
        points = np.array(meta["spaces"][space]["points"])
        away = np.hypot(*(points - points[image]).T)
        return np.argsort(np.where(np.arange(len(away)) == image, np.inf, away), kind="stable")

    def shown(page):
        return page.locator("#title").text_content()

    with browser.opened(chromium, site / "embedding_explorer.html") as (page, found):
        page.wait_for_function("() => document.querySelector('#plot').dataset.drawn === 'yes'")
        box = page.locator("#plot").bounding_box()
        left, top = meta["spaces"][0]["points"][5]
        at = [box[k] + box["width"] * (0.06 + 0.88 * v) for k, v in (("x", left), ("y", top))]
        page.mouse.move(*at)
        assert shown(page).startswith("Image 6 of 40")
        k = meta["neighbours"]
        told = page.locator("#near button").evaluate_all("all => all.map(b => b.ariaLabel)")
        assert [int(text.split()[1][:-1]) - 1 for text in told] == near(0, 5)[:k].tolist()
        assert meta["items"][5]["id"] in page.locator("#facts").text_content()
        page.locator("#spaces [role=radio]").nth(1).click()
        told = page.locator("#near button").evaluate_all("all => all.map(b => b.ariaLabel)")
        assert [int(text.split()[1][:-1]) - 1 for text in told] == near(1, 5)[:k].tolist()
        page.locator("#near button").first.click()
        assert shown(page).startswith(f"Image {near(1, 5)[0] + 1} of 40")
        page.mouse.move(0, 0)
        page.locator("#stage").focus()
        page.keyboard.press("Home")
        assert shown(page).startswith("Image 1 of 40")
        page.keyboard.press("PageDown")
        assert shown(page).startswith("Image 2 of 40")
        here = meta["spaces"][1]["points"]
        before = 1
        for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowUp", 1, -1)):
            page.keyboard.press(key)
            now = int(shown(page).split()[1]) - 1
            if now != before:  # at the border there is none
                assert sign * (here[now][axis] - here[before][axis]) > 0
            before = now
        assert "neighbours of its class" in page.locator("#spoken").text_content()
        assert found == []
