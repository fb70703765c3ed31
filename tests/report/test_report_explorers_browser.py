"""The explorers' pages in a real browser; needs chromium, which CI must have."""

import json
import os
import shutil

import browser
import fabricate_explorers as made
import pytest

from zfnet.report.gather import gather
from zfnet.report.site import build

pytestmark = pytest.mark.skipif(
    browser.find_chromium() is None and not os.environ.get("CI"), reason="no chromium here"
)
DRAWN = "() => !document.querySelector('canvas[data-drawn=\"\"]')"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = made.tree(tmp_path_factory.mktemp("explorers") / "run")
    return build(gather(root), root.parent / "reports").parent


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as running:
        yield running


@pytest.mark.parametrize("name", ["features", "occlusion"])
@pytest.mark.parametrize(("width", "scheme"), [(browser.DESK, "light"), (360, "dark")])
def test_explorer_pages_are_whole(chromium, site, name, width, scheme):
    file = site / f"{name}_explorer.html"
    with browser.opened(chromium, file, width, scheme) as (page, problems):
        page.wait_for_function(DRAWN)
        page.locator(".js-plotly-plot .trace").first.wait_for(state="attached")
        assert page.evaluate(browser.INSPECT) == []
        # every canvas holds a tile, and says what it shows or is left to the text beside it
        assert page.locator("canvas:visible:not([data-drawn=yes])").count() == 0
        unsaid = "canvas:not([aria-label]):not([aria-hidden=true])"
        assert page.locator(f"{unsaid}, button:not([aria-label]):empty").count() == 0
        assert problems == []


def test_features_answer_clicks(chromium, site):
    with browser.opened(chromium, site / "features_explorer.html") as (page, problems):
        assert page.locator("#title").text_content() == "Layer 2, map 3"  # the first followed
        page.locator("#layers [role=radio]").first.click()
        page.locator("#maps [aria-label='Map 2, followed']").click()
        assert page.locator("#title").text_content() == "Layer 1, map 2"
        assert "3 of 9 images are of class" in page.locator("#facts").text_content()
        assert page.locator("#filter").is_visible()
        assert "±0.3" in page.locator("#filter-scale").text_content()
        page.locator("#pairs [role=radio]").nth(4).click()
        row = made.image_of(2, 4)
        told = page.locator("#pick").text_content()
        assert f"val/{row:03d}.png" in told
        assert made.CLASSES[made.label(row)] in told
        assert "rows 4 to 9, columns 3 to 8" in told
        field = page.locator("#field").bounding_box()
        whole = page.locator("#whole").bounding_box()
        assert field["height"] / whole["height"] == pytest.approx(5 / 32, abs=0.01)
        assert (field["y"] - whole["y"]) / whole["height"] == pytest.approx(4 / 32, abs=0.01)
        page.wait_for_function(DRAWN)
        assert problems == []


def test_features_answer_keys(chromium, site):
    with browser.opened(chromium, site / "features_explorer.html") as (page, problems):
        page.wait_for_function(DRAWN)
        page.locator("#maps [aria-checked=true]").focus()
        focused = "document.activeElement.getAttribute('aria-label')"
        keys = (("Home", 0), ("ArrowRight", 1), ("End", 63), ("ArrowRight", 64), ("ArrowLeft", 63))
        for key, number in keys:  # 64 is on the next page
            page.keyboard.press(key)
            page.wait_for_function(f"{focused}.startsWith('Map {number}')")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.locator("#pairs [aria-checked=true]").focus()
        page.keyboard.press("ArrowDown")  # three columns
        assert page.locator("#pick dd").first.text_content() == "4 of 9"
        page.locator("#layers [aria-checked=true]").focus()
        page.keyboard.press("ArrowLeft")
        page.wait_for_function("document.querySelector('#title').textContent.includes('Layer 1')")
        page.locator("#epoch").focus()
        page.keyboard.press("Home")
        assert "Epoch 1 of 4" in page.locator("#epoch-now").text_content()
        assert problems == []


def test_maps_are_sorted_over_all_pages_and_dead_ones_marked(chromium, site, tmp_path):
    other = tmp_path / "site"
    shutil.copytree(site, other)
    file = other / "explore/features/meta.js"
    _, meta = made.handed(other, "features/meta")
    two = meta["layers"]["2"]
    two["purity"] = [0.5] * 70
    two["purity"][66], two["purity"][2], two["purity"][1] = 1, 0.9, None
    two["strongest"][5] = 20
    file.write_text(f'window.zfnetFeatures("meta", {json.dumps(meta)});\n')
    with browser.opened(chromium, other / "features_explorer.html") as (page, problems):
        numbers = "[...document.querySelectorAll('#maps [role=radio]')].map((b) => b.dataset.value)"
        assert page.evaluate(numbers)[:3] == ["0", "1", "2"]
        dead = page.locator("#maps .dead").get_attribute("aria-label")
        assert dead == "Map 1, dead: never active"
        assert page.locator("#dead-key").is_visible()
        page.locator("#sort").select_option("purity")
        page.wait_for_function("document.querySelector('#title').textContent.endsWith('map 66')")
        assert page.evaluate(numbers)[:3] == ["66", "2", "0"]
        assert page.locator("#maps").get_attribute("aria-label") == "Maps, places 1 to 64"
        page.wait_for_function(DRAWN)
        tiles = "[...document.querySelectorAll('#maps canvas')].map((c) => c.dataset.tile)"
        assert "layer2_1.webp#36" in page.evaluate(tiles)[0]  # of the second sheet
        assert page.locator("#back").is_disabled()
        page.locator("#on").click()
        page.wait_for_function("document.querySelector('#title').textContent.endsWith('map 2')")
        page.locator("#page").select_option("1")
        page.wait_for_function("document.querySelectorAll('#maps [role=radio]').length === 6")
        assert page.evaluate(numbers)[-1] == "1"  # of no purity: last
        assert "is not among them" in page.locator("#unfollowed").text_content()
        page.locator("#others button", has_text="66").click()
        page.locator("#followed").wait_for()
        page.locator("#sort").select_option("strongest")
        page.wait_for_function("document.querySelector('#title').textContent.endsWith('map 5')")
        page.locator("#layers [role=radio]").first.click()
        page.wait_for_function("document.querySelector('#title').textContent.includes('Layer 1')")
        assert not page.locator("#dead-key").is_visible()
        assert problems == []


# Holds back the script whose name ends so until window.release() is called.
HELD = """(name) => {
  const append = document.head.append.bind(document.head);
  document.head.append = (tag) => {
    if (tag.src && tag.src.endsWith(name)) window.release = () => append(tag);
    else append(tag);
  };
}"""


def test_what_is_read_late_is_not_shown_for_what_was_chosen_meanwhile(chromium, site):
    with browser.opened(chromium, site / "features_explorer.html") as (page, problems):
        page.evaluate(HELD, "layer2_1.js")
        page.locator("#page").select_option("1")  # waits
        page.locator("#layers [role=radio]").first.click()
        page.wait_for_function("document.querySelector('#title').textContent.includes('Layer 1')")
        page.evaluate("window.release()")
        page.wait_for_timeout(200)
        assert page.locator("#title").text_content() == "Layer 1, map 2"
        assert page.locator("#maps [role=radio]").count() == 3
        assert "5 px" in page.locator("#facts").text_content()
        assert not page.locator("#trouble").is_visible()
        assert problems == []


def test_an_image_that_is_still_read_bears_pointer_keys_and_resize(chromium, site):
    with browser.opened(chromium, site / "occlusion_explorer.html") as (page, problems):
        page.locator("#heat-label .hm image").wait_for(state="attached")
        page.evaluate(HELD, "image_2.js")
        page.locator("#images [role=radio]").nth(2).click()
        page.locator("#stage").hover()
        page.locator("#stage").press("ArrowRight")
        page.locator("#worst").click()
        page.set_viewport_size({"width": 700, "height": 800})
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(100)
        page.evaluate("window.release()")
        page.wait_for_function("document.querySelector('#title').textContent.includes('3 of 4')")
        assert "p(true class), kettle & pot" in page.locator("#p-name").text_content()
        assert problems == []


def test_the_epoch_slider_changes_picture_numbers_and_chart(chromium, site):
    with browser.opened(chromium, site / "features_explorer.html") as (page, problems):
        page.locator("#similarity .trace").first.wait_for(state="attached")
        slider = page.locator("#epoch")
        colours = []
        for key in ("Home", "ArrowRight", "ArrowRight"):
            slider.press(key)
            page.wait_for_function(DRAWN)
            # a page from disk may not read its canvases, but a screenshot may
            colours.append(page.locator("#epoch-projection").screenshot())
        assert len(set(colours)) == 3
        told = page.locator("#epoch-facts").text_content()
        assert "from epoch 2" in told
        assert page.locator("#strip > .on").text_content() == "4"
        slider.press("ArrowLeft")
        assert "0.5 as shown, 0.8 on the last" in page.locator("#epoch-facts").text_content()
        assert problems == []


def test_a_link_opens_the_map_and_pair_that_it_names(chromium, site):
    with browser.opened(chromium, site / "features_explorer.html") as (page, problems):
        page.evaluate("location.hash = '#1.2.5'")
        page.wait_for_function("document.querySelector('#title').textContent === 'Layer 1, map 2'")
        assert page.locator("#pick dd").first.text_content() == "6 of 9"
        page.evaluate("location.hash = '#9.x.y'")
        page.wait_for_function("document.querySelector('#title').textContent === 'Layer 2, map 3'")
        assert problems == []


def test_the_occluder_follows_pointer_and_keys(chromium, site):
    with browser.opened(chromium, site / "occlusion_explorer.html") as (page, problems):
        told = page.locator(".told")
        assert page.locator("#p").text_content() == "0.000"  # starts where p is least
        assert "rows 24 to 32, columns 24 to 32" in told.text_content()
        assert page.locator("#label").text_content() == "kettle & pot"
        assert "lion without" in told.text_content()
        box = page.locator("#stage").bounding_box()
        page.mouse.move(box["x"] + 2, box["y"] + 2)
        assert page.locator("#p").text_content() == "0.900"
        assert page.locator("#label-clean").text_content() == "as without"
        assert "100 % of it left" in page.locator("#activity-clean").text_content()
        page.locator("#stage").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        assert "rows 4 to 12, columns 4 to 12" in told.text_content()
        assert page.locator("#p").text_content() == "0.750"
        square = page.locator("#stage .occluder").bounding_box()
        assert (square["x"] - box["x"]) / box["width"] == pytest.approx(4 / 32, abs=0.02)
        page.keyboard.press("End")
        assert "columns 24 to 32" in told.text_content()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "worst"
        assert problems == []


def test_heat_maps_are_drawn_and_move_the_occluder(chromium, site):
    with browser.opened(chromium, site / "occlusion_explorer.html") as (page, problems):
        for name in ("activity", "p", "label"):
            page.locator(f"#heat-{name} .hm image").wait_for(state="attached")
        page.locator("#heat-p").scroll_into_view_if_needed()
        heat = page.locator("#heat-p .hm image").bounding_box()
        page.mouse.move(heat["x"] + 3, heat["y"] + 3)
        page.wait_for_function("document.querySelector('#p').textContent === '0.900'")
        assert page.locator("#heat-label .shapelayer path").count() == 2
        legend = page.locator("#legend").text_content()
        assert "lion" in legend
        assert "kettle & pot" in legend
        page.locator("#images [role=radio]").nth(1).click()
        page.wait_for_function("document.querySelector('#title').textContent.includes('2 of 4')")
        assert not page.locator("#stage .object").is_visible()  # no box is known of this one
        assert "Activity of map 1" in page.locator("#map-head").text_content()
        page.wait_for_function(DRAWN)
        assert problems == []


def test_what_cannot_be_read_is_told(chromium, site, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(site, broken)
    (broken / "explore/features/layer1_0.webp").unlink()
    (broken / "explore/occlusion/meta.js").unlink()
    with browser.opened(chromium, broken / "features_explorer.html") as (page, problems):
        page.locator("#layers [role=radio]").first.click()
        page.locator("#trouble", has_text="layer1_0.webp could not be read").wait_for()
        page.locator("#layers [role=radio]").last.click()
        page.locator("#trouble").wait_for(state="hidden")
        assert any("layer1_0.webp" in problem for problem in problems)
    with browser.opened(chromium, broken / "occlusion_explorer.html") as (page, _):
        page.locator("#trouble", has_text="meta.js could not be read").wait_for()
        assert not page.locator("#explorer").is_visible()
