"""The explorers: their data against arrays with known answers, then the pages in a real browser."""

import json
import os
import re
import shutil

import browser
import fabricate_explorers as made
import numpy as np
import pytest
from PIL import Image

from zfnet.data.store import Prepared
from zfnet.data.views import NetView
from zfnet.errors import UserError
from zfnet.files import write_json
from zfnet.report import explore_features, explore_occlusion
from zfnet.report.explore_occlusion import Outputs
from zfnet.report.explore_sheets import Sheets, rounded
from zfnet.report.gather import gather
from zfnet.report.site import build
from zfnet.report.study import load_study


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made.tree(tmp_path_factory.mktemp("explorers") / "run")


@pytest.fixture(scope="module")
def site(run):
    return build(gather(run), run.parent / "reports").parent


def handed(site, name):
    """What a data script hands to its page: (key, value)."""
    text = (site / "explore" / f"{name}.js").read_text(encoding="utf-8")
    body = re.fullmatch(r"window\.zfnet\w+\((.*)\);\n", text, re.DOTALL).group(1)
    return json.loads(f"[{body}]")


def study_of(root, name):
    results = root / "results"
    return load_study(name, results / name, results / "figures" / name, root)


def tile(site, sheet, index):
    with Image.open(site / sheet["src"]) as image:
        pixels = np.asarray(image.convert("RGB"))
    y, x = index // sheet["columns"] * sheet["h"], index % sheet["columns"] * sheet["w"]
    return pixels[y : y + sheet["h"], x : x + sheet["w"]]


# ------------------------------------------------------------------------------------------ data
def test_every_pair_is_where_the_page_looks_for_it(site):
    key, page = handed(site, "features/layer1_0")
    assert key == "1/0"
    for m, rank in ((0, 0), (1, 4), (2, 8)):
        start = (m * made.K + rank) * 2
        projection = tile(site, page["sheet"], start)
        assert projection[0, 0].tolist() == [m, rank, 128]  # small sheets are lossless
        row, start_y, start_x = made.image_of(m, rank), 4 + rank, 4 + 3
        expected = made.pixels(row)[start_y : start_y + 5, start_x : start_x + 5]
        assert np.array_equal(tile(site, page["sheet"], start + 1), expected)
    one = page["maps"][1]
    assert one["ids"][4] == f"val/{made.image_of(1, 4):03d}.png"
    assert one["labels"] == [made.label(made.image_of(1, rank)) for rank in range(9)]
    assert one["boxes"][4] == [4, 3, 9, 8]
    assert one["common"][1] == 3
    assert one["exciting"] == 9
    assert tile(site, page["filters"], 2)[0, 0].tolist() == [80, 80, 80]
    assert page["filter_scales"] == [0.1, 0.2, 0.3]


def test_layers_of_many_maps_come_in_pages(site):
    _, meta = handed(site, "features/meta")
    first, second = (handed(site, f"features/layer2_{page}")[1] for page in (0, 1))
    assert [len(first["maps"]), len(second["maps"]), second["first"]] == [64, 6, 64]
    assert meta["layers"]["2"] == {
        "maps": 70, "field": 43, "dead": [1], "followed": [3, 66],
        "strongest": [9.25, 0, *[9.25] * 68], "purity": meta["layers"]["2"]["purity"],
    }  # fmt: skip
    assert meta["layers"]["2"]["purity"][:4] == [0.3333, None, 0.3333, 0.3333]
    assert "filters" not in first
    # 70 images, 64 to a sheet
    assert [sheet["src"][-5:] for sheet in meta["images"]["sheets"]] == [".webp"] * 2
    place = second["maps"][0]["images"][3]
    whole = tile(site, meta["images"]["sheets"][place // 64], place % 64)
    row = made.image_of(64, 3)
    expected = made.pixels(row)[4:36, 4:36].astype(int)
    assert np.abs(whole.astype(int) - expected).mean() < 6  # lossy, but this image and no other
    assert np.abs(whole.astype(int) - made.pixels(row + 1)[4:36, 4:36].astype(int)).mean() > 8


def test_patches_are_pale_where_nothing_is_seen_and_dead_maps_say_so(site):
    _, page = handed(site, "features/layer2_0")
    dead, few = page["maps"][1], page["maps"][2]
    assert dead["common"] is None
    assert few["exciting"] == 3
    seen, pale = (tile(site, page["sheet"], (m * 9) * 2 + 1).astype(int) for m in (0, 1))
    assert pale.min() > 110
    assert seen[:, :18].min() < 60
    assert seen[:, 24:].min() > 110  # the field ends at column 20


def test_evolution_is_told_for_the_maps_that_were_followed(site):
    key, page = handed(site, "features/layer2_epochs_0")
    assert key == "2/epochs/0"
    assert page["order"] == [3, 66]
    assert page["maps"]["3"]["settled"] == [2, True]
    assert page["maps"]["66"]["settled"] == [None, None]
    assert page["maps"]["66"]["values"] == [0, 1, 2]
    assert page["maps"]["3"]["own"] == [None, 0.5, 1.0]  # what is not a number is none
    assert page["maps"]["3"]["ids"][1] == "train/001.png"
    third = tile(site, page["sheet"], (1 * 3 + 2) * 2).astype(int)
    assert abs(third[..., 0].mean() - tile(site, page["sheet"], 2)[..., 0].astype(int).mean()) > 5


def test_occlusion_hands_over_the_finer_maps_and_each_images_box(site):
    _, meta = handed(site, "occlusion/meta")
    assert [item["id"] for item in meta["items"]] == [f"val/00{row}.png" for row in (6, 3, 4, 8)]
    assert [item["place"] for item in meta["items"]] == [2, 0, 1, 3]  # sheets are in row order
    assert meta["items"][2]["name"] == "kettle & pot"
    fine, coarse = (handed(site, f"occlusion/image_{i}")[1] for i in (0, 1))
    assert len(fine["rows"]) == 7
    assert len(coarse["rows"]) == 4
    assert fine["p"][0][0] == pytest.approx(0.9)
    assert fine["p"][6][6] == 0
    # prepared 8..30 by 10..60 px, less the 4 px that the net does not see, cut at its border
    assert fine["box"] == [6, 4, 32, 26]
    assert coarse["box"] is None
    assert np.array_equal(tile(site, meta["images"]["sheets"][0], 1), made.pixels(4)[4:36, 4:36])


def test_the_nets_view_is_the_centre_or_the_whole_enlarged(run):
    prepared = Prepared.open(run / "data" / "prepared")
    centre, enlarged = NetView(prepared, "val", 32), NetView(prepared, "val", 60)
    assert np.array_equal(centre.image(5), made.pixels(5)[4:36, 4:36])
    assert enlarged.image(5).shape == (60, 60, 3)
    assert enlarged.image(5)[0, 0].tolist() == made.pixels(5)[0, 0].tolist()
    assert enlarged.box(2) == [15, 12, 60, 45]
    assert enlarged.box(3) is None


def test_the_papers_size_fits_its_sheets(run, tmp_path):
    """1,376 maps x 9, split into pages; every sheet stays a legal picture."""
    root = tmp_path / "run"
    shutil.copytree(run / "data", root / "data")
    made.features(root, {"1": 96, "2": 1280})
    study = study_of(root, "features")
    prepared = Prepared.open(root / "data" / "prepared")
    shown = explore_features.write(study, None, prepared, tmp_path / "site")
    assert shown["maps"] == 1376
    files = sorted(file.name for file in (tmp_path / "site/explore/features").glob("layer2_*.webp"))
    assert len(files) == 20
    assert handed(tmp_path / "site", "features/layer2_19")[1]["first"] == 19 * 64
    with Sheets(tmp_path) as sheets:
        sheet = sheets.add("x.webp", [np.zeros((96, 96, 3), np.uint8)] * (64 * 18), columns=18)
        assert (sheet.columns, sheet.width) == (18, 96)
        wide = sheets.add("y.webp", [np.zeros((96, 96, 3), np.uint8)] * 400, columns=400)
        assert wide.columns * wide.width <= 16383
        with pytest.raises(ValueError, match="make no WebP"):
            sheets.add("z.webp", [np.zeros((9000, 9000, 3), np.uint8)] * 3, columns=1)


def test_a_fault_of_a_thread_is_not_swallowed(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError), Sheets(tmp_path) as sheets:  # noqa: PT011
        sheets.add("file/x.webp", [np.zeros((4, 4, 3), np.uint8)], columns=1)


def test_rounding_keeps_what_can_be_read():
    assert rounded(np.array([1.23456, 0, np.nan, np.inf, 123456])) == [1.235, 0, None, None, 123500]


# ------------------------------------------------------------------------------- what is missing
def test_without_prepared_images_the_studys_page_says_why(run, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(run, root)
    shutil.rmtree(root / "data")
    out = build(gather(root), tmp_path / "site").parent
    assert not (out / "features_explorer.html").exists()
    assert not (out / "occlusion_explorer.html").exists()
    text = (out / "studies" / "features.html").read_text()
    assert "No feature explorer." in text
    assert "dvc repro prepare" in text
    assert str(tmp_path) not in text
    assert "features_explorer.html" not in (out / "index.html").read_text()


@pytest.mark.parametrize(
    ("study", "change", "message"),
    [
        ("features", {"layer2_images": np.full((70, 9), 70, np.int32)}, "names image 70"),
        ("occlusion", {"ids": ["val/000.png"] * 4}, "it belongs to other data"),
    ],
)
def test_results_of_other_data_make_no_explorer(run, tmp_path, study, change, message):
    root = tmp_path / "run"
    shutil.copytree(run, root)
    getattr(made, study)(root, **change)
    out = build(gather(root), tmp_path / "site").parent
    assert not (out / f"{study}_explorer.html").exists()
    assert message in (out / "studies" / f"{study}.html").read_text()


def test_a_result_of_another_version_names_the_stage_to_run(run, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(run, root)
    file = root / "results" / "occlusion" / "measured.json"
    document = json.loads(file.read_text())
    del document["arrays"]["unit"]
    write_json(file, document)
    prepared, outputs = Prepared.open(root / "data" / "prepared"), Outputs(made.CLASSES)
    with pytest.raises(UserError, match=r"no array unit.*dvc repro occlusion"):
        explore_occlusion.write(study_of(root, "occlusion"), outputs, prepared, tmp_path)


@pytest.mark.parametrize(
    ("study", "path"),
    [
        ("occlusion", ("drawn_stride_px",)),
        ("occlusion", ("ids",)),
        ("features", ("top_k",)),
        ("features", ("layers", "2", "dead")),
        ("evolution", ("split",)),
    ],
)
def test_a_result_that_says_too_little_costs_its_explorer_and_not_the_site(
    run, tmp_path, study, path
):
    root = tmp_path / "run"
    shutil.copytree(run, root)
    file = root / "results" / study / "measured.json"
    result = json.loads(file.read_text())
    holder = result["facts"]
    for name in path[:-1]:
        holder = holder[name]
    del holder[path[-1]]
    write_json(file, result)
    out = build(gather(root), tmp_path / "site").parent
    lost = "occlusion" if study == "occlusion" else "features"
    assert not (out / f"{lost}_explorer.html").exists()
    told = (out / "studies" / f"{study}.html").read_text()
    assert f"has no fact {'.'.join(path)}: it was written by another version" in told
    assert f"dvc repro {study}" in told
    assert len(list(out.glob("*_explorer.html"))) == 1


def test_the_studys_pages_lead_to_the_explorer(site):
    for name, href in (
        ("features", "features_explorer.html"),
        ("evolution", "features_explorer.html"),
        ("occlusion", "occlusion_explorer.html"),
    ):
        text = (site / "studies" / f"{name}.html").read_text().partition("<main")[2]
        assert f'href="../{href}"' in text


def test_a_class_that_the_net_does_not_know_is_not_called_the_true_one(run, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(run, root)
    file = root / "models" / "zfnet" / "final" / "net.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"class_index": [0, -1, 2]}))
    _, meta = handed(build(gather(root), tmp_path / "site").parent, "occlusion/meta")
    # images 6, 3, 4, 8 are of classes 0, 0, 1, 2
    assert [item["known"] for item in meta["items"]] == [True, True, False, True]


def test_features_alone_make_an_explorer_without_epochs(run, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(run, root)
    shutil.rmtree(root / "results" / "evolution")
    out = build(gather(root), tmp_path / "site").parent
    _, meta = handed(out, "features/meta")
    assert meta["epochs"] == []
    assert meta["layers"]["2"]["followed"] == []
    assert not list((out / "explore/features").glob("*epochs*"))


def test_equal_results_give_equal_bytes(run, site, tmp_path):
    again = build(gather(run), tmp_path / "reports").parent
    files = [file.relative_to(site) for file in (site / "explore").rglob("*.*")]
    assert len(files) > 15
    for file in files:
        assert (site / file).read_bytes() == (again / file).read_bytes(), file


def test_scripts_use_nothing_that_a_file_may_not(site):
    files = [file for file in (site / "assets").glob("*.*") if "plotly" not in file.name]
    assert len(files) == 8
    for file in files:
        name, text = file.name, file.read_text()
        for word in ("fetch(", "XMLHttpRequest", "import ", "http:", "https:", "localStorage"):
            assert word not in text, f"{name}: {word}"
    for name in ("features_explorer.html", "occlusion_explorer.html"):
        assert 'type="module"' not in (site / name).read_text()


# ---------------------------------------------------------------------------------- in a browser
needs_browser = pytest.mark.skipif(
    browser.find_chromium() is None and not os.environ.get("CI"), reason="no chromium here"
)
DRAWN = "() => !document.querySelector('canvas[data-drawn=\"\"]')"


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as running:
        yield running


@needs_browser
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


@needs_browser
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


@needs_browser
def test_features_answer_keys(chromium, site):
    with browser.opened(chromium, site / "features_explorer.html") as (page, problems):
        page.wait_for_function(DRAWN)
        page.locator("#maps [aria-checked=true]").focus()
        for key, number in (("ArrowRight", 4), ("ArrowLeft", 3), ("End", 63), ("Home", 0)):
            page.keyboard.press(key)
            page.wait_for_function(f"document.querySelector('#map').value === '{number}'")
        focused = "document.activeElement.getAttribute('aria-label')"
        assert page.evaluate(focused).startswith("Map 0")
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


@needs_browser
def test_arrow_keys_go_on_to_the_next_page_and_along_a_single_row(chromium, site):
    with browser.opened(chromium, site / "features_explorer.html") as (page, problems):
        page.locator("#map").fill("63")
        page.locator("#map").press("Enter")
        page.locator("#maps [aria-checked=true]").focus()
        for key, number in (("ArrowRight", 64), ("ArrowLeft", 63)):
            page.keyboard.press(key)
            page.wait_for_function(f"document.querySelector('#map').value === '{number}'")
            focused = "document.activeElement.getAttribute('aria-label')"
            page.wait_for_function(f"{focused} === 'Map {number}'")
        page.locator("#layers [aria-checked=true]").focus()
        page.keyboard.press("ArrowUp")
        page.wait_for_function("document.querySelector('#title').textContent.includes('Layer 1')")
        page.keyboard.press("ArrowDown")
        page.wait_for_function("document.querySelector('#title').textContent.includes('Layer 2')")
        assert problems == []


@needs_browser
def test_maps_are_sorted_over_all_pages_and_dead_ones_marked(chromium, site, tmp_path):
    other = tmp_path / "site"
    shutil.copytree(site, other)
    file = other / "explore/features/meta.js"
    _, meta = handed(other, "features/meta")
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


@needs_browser
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
    with browser.opened(chromium, site / "features_explorer.html") as (page, problems):
        page.evaluate(HELD, "layer1_0.js")
        page.locator("#layers [role=radio]").first.click()  # waits
        page.locator("#layers [role=radio]").last.click()
        page.locator("#map").fill("68")
        page.locator("#map").press("Enter")
        page.evaluate("window.release()")
        page.wait_for_function("document.querySelector('#title').textContent.endsWith('map 68')")
        page.wait_for_timeout(200)
        assert page.locator("#maps [role=radio]").count() == 6
        assert not page.locator("#trouble").is_visible()
        assert problems == []


@needs_browser
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


@needs_browser
def test_maps_of_other_pages_and_dead_maps_are_reached(chromium, site):
    with browser.opened(chromium, site / "features_explorer.html") as (page, problems):
        page.locator("#page").select_option("1")
        page.wait_for_function("document.querySelector('#title').textContent.endsWith('map 64')")
        assert page.locator("#maps [role=radio]").count() == 6
        assert "map 64 is not among them" in page.locator("#unfollowed").text_content()
        page.locator("#others button", has_text="66").click()
        page.locator("#followed").wait_for()
        assert "dead at the last epoch" in page.locator("#epoch-facts").text_content()
        page.locator("#map").fill("1")
        page.locator("#map").press("Enter")
        page.wait_for_function("document.querySelector('#title').textContent.endsWith('map 1')")
        assert "never active" in page.locator("#facts").text_content()
        assert not page.locator("#field").is_visible()
        page.locator("#map").fill("999")
        page.locator("#map").press("Enter")
        page.wait_for_function("document.querySelector('#title').textContent.endsWith('map 69')")
        assert page.locator("#on").is_disabled()
        assert problems == []


@needs_browser
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


@needs_browser
def test_a_link_opens_the_map_and_pair_that_it_names(chromium, site):
    with browser.opened(chromium, site / "features_explorer.html") as (page, problems):
        page.evaluate("location.hash = '#1.2.5'")
        page.wait_for_function("document.querySelector('#title').textContent === 'Layer 1, map 2'")
        assert page.locator("#pick dd").first.text_content() == "6 of 9"
        page.evaluate("location.hash = '#9.x.y'")
        page.wait_for_function("document.querySelector('#title').textContent === 'Layer 2, map 3'")
        assert problems == []


@needs_browser
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


@needs_browser
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


@needs_browser
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
