"""Every page in a real browser, at two widths; needs chromium, which CI must have."""

import os

import browser
import fabricate
import fabricate_claims
import pytest

from zfnet.report.gather import gather
from zfnet.report.site import build

pytestmark = pytest.mark.skipif(
    browser.find_chromium() is None and not os.environ.get("CI"), reason="no chromium here"
)


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    root = fabricate.tree(folder / "run")
    fabricate.net(root, "resnet18", epochs=0, final=5.0)
    fabricate_claims.write(root)
    return build(gather(root), root / "reports").parent


def test_every_page_is_whole(chromium, site):
    assert browser.check_site(chromium, site) == []


def test_pages_of_an_empty_checkout_are_whole(chromium, tmp_path):
    (tmp_path / "run").mkdir()
    build(gather(tmp_path / "run"), tmp_path / "reports")
    assert browser.check_site(chromium, tmp_path / "reports", widths=(browser.PHONE,)) == []


def test_the_check_finds_what_is_wrong(chromium, tmp_path):
    (tmp_path / "bad.html").write_text(
        '<html lang="en"><title>x</title><h1>a</h1><h3>b</h3><img src="no.png" alt="">'
        '<a href="gone.html">g</a><div style="width:2000px">w</div>'
        '<script src="https://example.org/x.js"></script><script>boom()</script></html>'
    )
    found = " | ".join(browser.check_site(chromium, tmp_path, widths=(browser.PHONE,)))
    for problem in (
        "outside request: https://example.org", "no.png does not show", "h3 follows h1",
        "gone.html leads nowhere", "scrolls sideways", "boom is not defined",
    ):  # fmt: skip
        assert problem in found


def test_a_curve_tells_its_values_and_follows_the_colour_scheme(chromium, site):
    with browser.opened(chromium, site / "training.html", scheme="dark") as (page, problems):
        chart = page.locator("#chart-error")
        chart.scroll_into_view_if_needed()
        ink = "getComputedStyle(document.querySelector('#chart-error .xtick text')).fill"
        dark = page.evaluate(ink)
        page.emulate_media(color_scheme="light")
        page.wait_for_function(f"{ink} !== {dark!r}")
        box = chart.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.locator("#chart-error .hoverlayer text").first.wait_for()
        assert "ZFNet, training" in chart.locator(".hoverlayer").text_content()
        page.locator("[data-net=alexnet]").click()  # hides its two lines, there and elsewhere
        for name, left in (("error", 3), ("loss", 2)):  # chance is a line too
            lines = f"document.querySelectorAll('#chart-{name} .scatterlayer .trace').length"
            page.wait_for_function(f"{lines} === {left}")
        assert problems == []


def test_the_verdicts_are_whole_with_every_row_open(chromium, site):
    for width, scheme in ((browser.DESK, "light"), (browser.PHONE, "dark")):
        with browser.opened(chromium, site / "index.html", width, scheme) as (page, problems):
            rows = page.locator(".claim-row")
            assert rows.count() == 4
            assert page.locator(".evidence:visible").count() == 0
            for i in range(4):
                rows.nth(i).locator("summary").focus()
                page.keyboard.press("Enter")
            assert page.locator(".evidence:visible").count() == 4
            assert page.evaluate(browser.INSPECT) == []
            assert page.locator(".key-figure img:visible").count() == 3
            assert problems == []


def test_an_address_opens_the_row_and_the_number_that_it_names(chromium, site):
    with browser.opened(chromium, site / "index.html") as (page, problems):
        page.evaluate("location.hash = '#evidence_drops'")
        page.locator("#evidence_drops .evidence").wait_for()
        assert page.locator(".evidence:visible").count() == 1
        page.locator("#evidence_drops a", has_text="purity_slope").click()
        page.wait_for_url("**/features.html#number-purity_slope")
        shown = page.locator("tr:target")
        assert "0.104" in shown.text_content()
        page.go_back()
        page.locator("#nets_learn summary").click()
        page.locator("#nets_learn a", has_text="val_top1_error").click()
        page.locator("#number-zfnet-val_top1_error").wait_for()  # in a table that was folded
        assert page.locator("details[open]").count() == 1
        assert problems == []


def test_a_closed_row_prints_as_a_line_of_the_table(chromium, site):
    with browser.opened(chromium, site / "index.html") as (page, problems):
        page.locator("#hierarchy summary").click()
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.locator(".evidence:visible").count() == 1
        assert problems == []
    with browser.opened(chromium, site / "run.html") as (page, problems):
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.locator("details:not([open])").count() > 0
