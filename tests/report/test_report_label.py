"""`zfnet label`: what its page holds and hides, what it does in a browser, and the way back."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re

import browser
import numpy as np
import pytest
from PIL import Image

from zfnet import cli, label
from zfnet.data.answers import COLUMNS, opaque, picture_order, read_answers
from zfnet.data.prepare import prepare
from zfnet.data.sources.folder import folder_source
from zfnet.data.store import Prepared
from zfnet.data.views import NetView
from zfnet.errors import UserError

CLASSES = ("ape", "b<i>rd", "cow")
PX, N = 40, 34
NEEDS_BROWSER = pytest.mark.skipif(
    browser.find_chromium() is None and not os.environ.get("CI"), reason="no chromium here"
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("label")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        for split, count in (("train", 10), ("val", 14)):
            (root / "raw" / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / "raw" / split / name / f"secret{name}{k}.png")
    prepare(folder_source(root / "raw"), root / "data" / "prepared", size=48)
    return Prepared.open(root / "data" / "prepared")


@pytest.fixture(scope="module")
def document(prepared):
    return label.page(prepared, PX, N, seed=3)


@pytest.fixture(scope="module")
def out(document, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "label.html"
    assert label.write(document, file) == file.stat().st_size
    return file


def picture(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_pictures_are_the_nets_pixels_in_the_seeds_order(prepared, document):
    view = NetView(prepared, "val", PX)
    order = picture_order(len(view), 3)[:N]
    mark = prepared.meta.fingerprint
    assert [each["id"] for each in document["test"]] == [
        opaque(mark, view.split.ids[row]) for row in order
    ]
    for each, row in zip(document["test"], order, strict=True):
        assert (picture(each["src"]) == view.image(int(row))).all()
    other = label.page(prepared, PX, N, seed=4)
    assert [e["id"] for e in other["test"]] != [e["id"] for e in document["test"]]
    assert label.page(prepared, PX, N, seed=3) == document


def test_examples_and_practice_are_of_the_training_split_and_differ(prepared, document):
    train = NetView(prepared, "train", PX)
    ids = {opaque(prepared.meta.fingerprint, name): row for row, name in enumerate(train.split.ids)}
    assert len(document["practice"]) == 10
    for each in document["practice"]:
        row = ids[each["id"]]
        assert (picture(each["src"]) == train.image(row)).all()
        assert each["class"] == prepared.classes[train.split.labels[row]].id
    shown = [src for each in document["classes"] for src in each["examples"]]
    assert len(set(shown)) == 5 * 3
    assert [each["key"] for each in document["classes"]] == ["1", "2", "3"]


def test_the_page_holds_no_answer_and_needs_no_network(prepared, document, out):
    text = out.read_text(encoding="utf-8")
    assert "secret" not in text  # names of files and folders tell the class
    assert all(set(each) == {"id", "src"} for each in document["test"])
    data = json.loads(re.search(r'id="label-data">(.*?)</script>', text, re.S)[1])
    assert all(set(each) == {"id", "src"} for each in data["test"])
    assert "<i>" not in text  # a class' name is shown, not obeyed
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(each.startswith("data:") for each in links)
    assert len(text) < label.MOST_BYTES
    for each in document["test"]:
        assert b"EXIF" not in base64.b64decode(each["src"].partition(",")[2])


def test_a_page_that_browsers_could_not_open_is_refused(document, tmp_path, monkeypatch):
    monkeypatch.setattr(label, "MOST_BYTES", 100_000)
    with pytest.raises(UserError, match=f"--n {N // 2}"):
        label.write(document, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["label", "--n", "29"], "--n 29"),
        (["label", "--seed", "-1"], "--seed -1"),
        (["label", "--out", "page.pdf"], "page.pdf"),
        (["label", "--out", "/dev/null/page.html"], "cannot be written"),
        (["humans", "add", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_cannot_be_done_is_named(arguments, named, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert named in capsys.readouterr().err


def rows_of(document, name="Ann B."):
    mark, picked = document["fingerprint"], document["test"]
    return [
        [each["id"], name, "ape", "", "2.00", "", "test", i, PX, "", "1", mark]
        for i, each in enumerate(picked, 1)
    ]


def test_answers_are_taken_once_under_their_persons_name(prepared, document, tmp_path):
    file, folder = tmp_path / "answers (1).csv", tmp_path / "humans"
    rows = [COLUMNS, *rows_of(document), rows_of(document)[0]]
    file.write_text("\n".join(",".join(map(str, row)) for row in rows), encoding="utf-8")
    lines = label.take(file, prepared, PX, folder)
    assert (folder / "ann-b.csv").read_bytes() == file.read_bytes()
    assert "34 pictures by Ann B." in lines[0]
    assert "1 answers repeat" in lines[1]
    assert label.take(file, prepared, PX, folder) == lines  # the same again
    file.write_text(file.read_text().replace("ape", "cow"))
    with pytest.raises(UserError, match=r"ann-b\.csv holds other answers"):
        label.take(file, prepared, PX, folder)
    with pytest.raises(UserError, match="shown_px"):
        label.take(file, prepared, PX + 1, tmp_path / "other")
    assert not (tmp_path / "other").exists()


# ------------------------------------------------------------------------------------- in a browser
@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as running:
        yield running


def begin(page, name="Ann B."):
    page.fill("#name", name)
    page.click("#who button")


def saved(page, button):
    with page.expect_download() as download:
        page.click(button)
    return download.value.path().read_text(encoding="utf-8"), download.value.suggested_filename


@NEEDS_BROWSER
@pytest.mark.parametrize(("width", "scheme"), [(browser.DESK, "light"), (browser.PHONE, "dark")])
def test_the_page_is_whole_at_every_step(chromium, out, width, scheme):
    with browser.opened(chromium, out, width, scheme) as (page, wrong):
        assert page.evaluate(browser.INSPECT) == []
        begin(page)
        assert page.evaluate(browser.INSPECT) == []
        page.click(".class >> nth=1")
        page.click("#next")
        assert page.locator("#feedback").is_visible()
        assert page.evaluate(browser.INSPECT) == []
        assert wrong == []


@NEEDS_BROWSER
def test_a_person_labels_leaves_comes_back_and_is_read(chromium, out, prepared, document, tmp_path):
    keys = {each["id"]: each["key"] for each in document["classes"]}
    with browser.opened(chromium, out) as (page, wrong):
        begin(page)
        for i, each in enumerate(document["practice"]):
            told = keys[each["class"]] if i else "0"  # the first wrongly, of purpose
            page.keyboard.press(told)
            page.keyboard.press("Enter")
            shown = page.locator("#feedback").text_content()
            assert shown.startswith("Right" if i else "It is labelled")
            page.keyboard.press("3")  # too late to change it
            page.keyboard.press("Enter")
        for i in range(20):
            assert f"Picture {i + 1} of {N}" in page.locator("#count").text_content()
            assert page.locator("#picture").get_attribute("src") == document["test"][i]["src"]
            page.keyboard.press("2")
            page.keyboard.press(str(i % 3 + 1))  # a slip is mended before Enter
            if i == 0:
                page.click("#more summary")
                page.select_option("#confidence", "1")
                page.select_option("#reason", "alike")
                page.click("#next")
            else:
                page.keyboard.press("Enter")
            assert not page.locator("#feedback").is_visible()
        text, _ = saved(page, "#so-far")
        assert len(text.splitlines()) == 1 + 10 + 20
        page.reload()
        assert page.locator("#name").input_value() == "Ann B."
        page.click("#who button")
        assert f"Picture 21 of {N}" in page.locator("#count").text_content()
        page.keyboard.press("Enter")  # nothing chosen: nothing happens
        assert f"Picture 21 of {N}" in page.locator("#count").text_content()
        page.keyboard.press("/")
        page.keyboard.type("co1")  # digits are letters in the search
        assert page.locator(".class:visible").count() == 0
        page.keyboard.press("Backspace")
        assert page.locator(".class:visible").count() == 1
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        for _ in range(21, N):
            page.keyboard.press("0")
            page.keyboard.press("Enter")
        text, name = saved(page, "#download")
        assert name == "zfnet-answers-ann-b.csv"
        page.reload()
        assert page.locator("#done").is_visible()
        page.once("dialog", lambda dialog: dialog.accept())
        page.click("#afresh")
        page.wait_for_selector("#start", state="visible")
        assert page.locator("#name").input_value() == ""
        assert wrong == []
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["image_id"] for row in rows[10:]] == [each["id"] for each in document["test"]]
    assert (rows[10]["confidence"], rows[10]["reason"]) == ("1", "alike")
    assert rows[0]["answer"] == ""  # as first given, not as after the feedback
    one = read_answers(file, prepared, PX)
    assert one.name == "Ann B."
    assert one.rows.tolist() == picture_order(42, 3)[:N].tolist()
    assert one.labels.tolist() == [*([0, 1, 2] * 7)[:20], 2, *[-1] * (N - 21)]
    assert one.practice == 10
    assert (one.seconds >= 0).all()


@NEEDS_BROWSER
@pytest.mark.parametrize("name", ["=1+1", "<b>x</b>", " ", "-ann"])
def test_a_name_that_would_be_refused_later_does_not_begin(chromium, out, name):
    with browser.opened(chromium, out) as (page, wrong):
        begin(page, name)
        assert not page.locator("#work").is_visible()
        assert [each for each in wrong if "script" in each] == []
