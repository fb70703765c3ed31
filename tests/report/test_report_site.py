import hashlib
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import fabricate
import numpy as np
import pytest
from PIL import Image

from zfnet.errors import UserError
from zfnet.report import facts, pictures, stage
from zfnet.report.gather import gather
from zfnet.report.site import build, powers
from zfnet.studies.result import Figure


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    root = fabricate.tree(folder / "run")
    fabricate.net(root, "resnet18", epochs=0, final=5.0)
    build(gather(root), folder / "reports")
    return folder / "reports"


def page(site, name):
    return (site / name).read_text(encoding="utf-8")


class Words(HTMLParser):
    """The text of a page, without its markup."""

    def __init__(self, html):
        super().__init__()
        self.parts = []
        self.feed(html)

    def handle_data(self, data):
        self.parts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.parts))


def test_the_first_page_says_what_ran(site):
    text = Words(page(site, "index.html")).text
    assert "ZFNet and AlexNet were trained on 2,400 rendered images of 4 classes." in text
    assert "resnet18 was adopted" in text
    assert "20.0 % (16.9 to 23.3)" in text
    assert "chance is 75 %" in text
    assert "Where the evidence lies" in text
    assert "Not run. uv run dvc repro evolution" in text


def test_the_run_page_says_how_it_was_made(site):
    text = Words(page(site, "run.html")).text
    for said in (
        "N(0, 0.02 2 )", "Where the paper is silent", "Weight decay", "Layers left out",
        "5f5f5f", "2026-11-20 10:00 UTC", "cat/a.jpg", "Some CPU @ 2.5 GHz", "train@alexnet",
        "features: {top_k: 9}", "Adopted, not trained here: resnet18.", "1.2 % were smaller",
    ):  # fmt: skip
        assert said in text, said
    assert "Nothing was replayed to W&B" in text


def test_a_study_gets_its_page_from_its_result_alone(tmp_path):
    figures = [
        Figure("big_grid", "A caption.", "An alt text.", fabricate.picture),
        Figure("all_layer3", "Every map.", "Grid of all maps.", fabricate.picture),
    ]
    fabricate.write_result(tmp_path, "brand_new", "Fig. 9", title="<Brand> & new", figures=figures)
    build(gather(tmp_path), tmp_path / "reports")
    html = page(tmp_path / "reports", "studies/brand_new.html")
    assert "&lt;Brand&gt; &amp; new" in html
    assert 'alt="An alt text."' in html
    assert 'width="640" height="400"' in html
    assert (tmp_path / "reports/studies/brand_new/big_grid.png").is_file()
    folded = html[html.index("<details><summary>All layer 3") :]  # sheets to look things up in
    assert 'alt="Grid of all maps."' in folded[: folded.index("</details>")]
    assert html.index('alt="An alt text."') < html.index("<details>")
    assert "studies/brand_new.html" in page(tmp_path / "reports", "index.html")


def test_long_tables_are_cut_and_linked(site):
    html = page(site, "studies/occlusion.html")
    assert "val/0039" in html
    assert "val/0040" not in html
    assert "The first 40 of 60 rows." in html
    rows = (site / "studies/occlusion/images.csv").read_text().splitlines()
    assert len(rows) == 61


def test_nothing_points_off_the_disk(site):
    for file in site.rglob("*.html"):
        html = file.read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', html)
        assert not re.search(r'type="module"|fetch\(', html)
        assert not re.findall(r'(?:src|href)="/', html)


def test_equal_evidence_gives_equal_bytes(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    sums = []
    for name in ("one", "two"):
        build(gather(root), tmp_path / name)
        files = sorted(file for file in (tmp_path / name).rglob("*") if file.is_file())
        sums.append(
            {
                str(file.relative_to(tmp_path / name)): hashlib.sha256(file.read_bytes()).digest()
                for file in files
            }
        )
    assert sums[0] == sums[1]
    assert "assets/plotly.min.js" in sums[0]


def test_an_empty_checkout_says_not_run_everywhere(tmp_path, capsys):
    paths = SimpleNamespace(root=tmp_path / "empty", reports=tmp_path / "reports")
    paths.root.mkdir()
    assert stage.run(None, paths) is None
    assert "index.html" in capsys.readouterr().err
    assert page(paths.reports, "index.html").count("Not run.") == 2
    assert page(paths.reports, "run.html").count("Not run.") == 6
    assert "Not run." in page(paths.reports, "training.html")
    assert not (paths.reports / "assets" / "plotly.min.js").exists()


def test_an_older_site_is_replaced_but_no_other_folder(tmp_path):
    root, out = fabricate.tree(tmp_path / "run"), tmp_path / "reports"
    build(gather(root), out)
    (out / "stale.html").write_text("old")
    build(gather(root), out)
    assert not (out / "stale.html").exists()
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("mine")
    with pytest.raises(UserError, match="thesis"):
        build(gather(root), other)
    assert (other / "chapter.tex").is_file()


def test_a_net_at_chance_is_named_on_the_first_page(tmp_path):
    fabricate.net(tmp_path, "zfnet", epochs=3, final=75.0)
    metrics = {"val_top1_error": fabricate.measured(75.0, 71, 78, 600, "%")}
    metrics["status"] = fabricate.measured("at chance")
    fabricate.write_json(tmp_path / "metrics" / "train_zfnet.json", metrics)
    build(gather(tmp_path), tmp_path / "reports")
    assert "ended at chance" in page(tmp_path / "reports", "index.html")


def test_many_studies_share_one_entry_in_the_head(tmp_path):
    for number in range(1, 8):
        fabricate.write_result(tmp_path, f"study_{number}", f"Fig. {number}", title=f"S{number}: x")
    build(gather(tmp_path), tmp_path / "reports")
    head = page(tmp_path / "reports", "studies/study_4.html").partition("<main")[0]
    assert "../index.html#studies" in head
    assert "S3" not in head


def test_a_large_png_becomes_a_smaller_webp(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    placed = pictures.place(tmp_path / "noise.png", tmp_path / "site", "figures")
    assert placed.href == "figures/noise.webp"
    assert (placed.width, placed.height) == (900, 900)
    (written,) = (tmp_path / "site/figures").iterdir()
    assert written.name == "noise.webp"
    assert written.stat().st_size < (tmp_path / "noise.png").stat().st_size


def test_a_card_shows_the_top_of_a_tall_picture(tmp_path):
    tall = Image.new("RGB", (320, 800), "red")
    tall.paste("blue", (0, 200, 320, 800))
    tall.save(tmp_path / "tall.png")
    placed = pictures.card([tmp_path / "tall.png"] * 2, tmp_path / "site", "a")
    assert (placed.width, placed.height) == pictures.CARD
    card = Image.open(tmp_path / "site" / placed.href)
    assert card.getpixel((360, 440))[0] > 200 > card.getpixel((360, 440))[2]


def test_a_card_stacks_wide_pictures_that_fit_whole(tmp_path):
    for name in ("red", "green", "blue"):
        Image.new("RGB", (1440, 400), name).save(tmp_path / f"{name}.png")  # 200 px high each
    sources = [tmp_path / f"{name}.png" for name in ("red", "green", "blue")]
    placed = pictures.card(sources, tmp_path / "site", "a")
    card = np.asarray(Image.open(tmp_path / "site" / placed.href)).astype(int)
    middle = card[:, 360]
    strongest = [int(middle[y].argmax()) for y in (100, 300)]
    assert strongest == [0, 1]
    assert middle[[5, 225, 445]].min() > 240  # white between and around


def test_powers_are_raised_and_text_is_escaped():
    assert powers("N(0, 0.01^2), 10^-2 <b>") == (
        "N(0, 0.01<sup>2</sup>), 10<sup>−2</sup> &lt;b&gt;"
    )


def test_a_card_shows_the_numbers_that_the_study_calls_its_headline() -> None:
    metrics = {name: {"value": 1.0, "low": 0.5, "high": 1.5} for name in "abcde"}
    told = facts.telling_metrics(metrics, 3, ["e", "missing", "b"])
    assert [item["name"] for item in told] == ["E", "B"]
    spread = facts.telling_metrics(metrics, 3)
    assert [item["name"] for item in spread] == ["A", "C", "E"]


def test_a_net_trained_beside_others_shows_its_own_time(tmp_path):
    stage_took = {"seconds": 3.0, "device": "cpu"}
    own = {"training_seconds": 100.0, "evaluation_seconds": 5.5}
    assert facts.own_seconds(stage_took | own) == 105.5
    seeds = {"seeds": [own, {"training_seconds": 60.0, "evaluation_seconds": None}]}
    assert facts.own_seconds(stage_took | own | seeds) == 165.5
    assert facts.own_seconds(stage_took | {"evaluation_seconds": 2.0}) == 3.0  # adopted
    assert facts.own_seconds({}) is None


def test_the_run_page_says_that_a_stage_trained_for_later_ones(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    ahead = "Trainings ran beside each other"
    file = root / "timing" / "train_zfnet.json"
    timing = json.loads(file.read_text())
    for count in (0, 2):
        file.write_text(json.dumps(timing | {"trained_for_later_stages": count}))
        build(gather(root), tmp_path / "reports")
        assert (ahead in page(tmp_path / "reports", "run.html")) == bool(count)
