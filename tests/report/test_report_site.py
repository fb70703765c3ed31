from types import SimpleNamespace

import fabricate
import numpy as np
import pytest
from PIL import Image

from zfnet.errors import UserError
from zfnet.report import facts, pictures, stage
from zfnet.report.gather import gather
from zfnet.report.site import build, markdown, powers
from zfnet.results import Measurement
from zfnet.stats.estimate import Estimate


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    root = fabricate.tree(folder / "run")
    fabricate.net(root, "resnet18", epochs=0, final=5.0)
    build(gather(root), folder / "reports")
    return folder / "reports"


def page(site, name):
    return (site / name).read_text(encoding="utf-8")


def test_the_first_pages_hold_the_runs_own_numbers(site):
    for name, said in (
        ("index.html", ("20.0 [16.9, 23.3] %", "75 %", "uv run dvc repro evolution")),
        ("run.html", ("N(0, 0.02<sup>2</sup>)", "5f5f5f", "cat/a.jpg", "1.2 % were smaller",
                      "Some CPU @ 2.5 GHz", "train@alexnet", "top_k: 9", "resnet18")),
        ("training.html", ("4,012,345", 'data-net="alexnet"', "resnet18")),
    ):  # fmt: skip
        html = page(site, name)
        assert [part for part in said if part not in html] == []


def test_several_trainings_are_told_apart(tmp_path):
    root = fabricate.tree(tmp_path / "run")
    fabricate.net(root, "zfnet", epochs=8, final=20.0, seeds=(5, 6, 7))
    fabricate.history(root / "models" / "zfnet" / "final" / "seed_7" / "history.csv", 2, 75.0)
    fabricate.features(root, trainings=[5, 6])
    out = tmp_path / "reports"
    build(gather(root), out)
    html = page(out, "training.html")
    assert "Every epoch of every training of ZFNet and AlexNet." in html
    assert "still learning (1 of 3)" in html
    assert "Training with seed 7" in html
    assert "still learning (1 of 3)" in page(out, "index.html")
    assert "21.0 [19.0, 23.0] %" in page(out, "index.html")
    said = "training with seed 5. Numbers: mean of 2 trainings, 95 % intervals for other trainings."
    html = page(out, "studies/features.html")
    places = [html.index(part) for part in (said, "<summary>Every training", 'id="figures"')]
    assert places == sorted(places)
    assert html.count('id="figure-trainings"') == 1
    assert 'id="table-trainings"' in html
    assert said not in page(out, "studies/occlusion.html")


def test_departures_that_nets_share_are_joined(tmp_path):
    for name, more in (("zfnet", {}), ("alexnet", {}), ("alexnet_no34", {"without": [3, 4]})):
        fabricate.net(tmp_path, name, 2, 20.0, **more)
    groups = {
        group["title"]: group["rows"] for group in facts.departure_groups(gather(tmp_path).nets)
    }
    (row,) = groups["Rows of the paper’s ablation"]
    assert (row[0], row[2], row[4]) == ("Layers left out", "3, 4", "AlexNet without 3, 4")
    (width,) = [row for row in groups["Departures"] if row[0] == "Width"]
    assert width[4] == "all"


def test_a_studys_page_begins_with_the_answer_and_its_picture(site):
    html = page(site, "studies/features.html")
    places = [
        html.index(part)
        for part in (
            "<strong>The answer</strong> of features.", 'id="figure-layer_3"',
            'id="figure-layer_1_filters"', "<summary>All layer 3", 'id="figure-all_layer3"',
            "How features was measured.", 'id="table-purity"', 'id="number-purity_slope"',
            "results/features/",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    assert html.count('id="figure-layer_3"') == 1
    assert 'width="1200" height="600"' in html
    assert 'alt="What layer_3 shows."' in html
    assert (site / "studies/features/layer_3.webp").is_file()


def test_without_a_named_card_the_first_figure_stands_for_the_study(site, tmp_path):
    html = page(site, "studies/occlusion.html")
    assert html.index('id="figure-maps"') < html.index('id="method"')
    fabricate.result(tmp_path, "probe")  # no figure, number or table at all
    build(gather(tmp_path), tmp_path / "reports")
    assert "<img" not in page(tmp_path / "reports", "studies/probe.html")


def test_long_tables_are_folded_cut_and_linked(site):
    html = page(site, "studies/occlusion.html")
    assert "val/0039" in html
    assert "val/0040" not in html
    assert "<details><summary>60 rows" in html
    assert "The first 40 of 60 rows." in html
    rows = (site / "studies/occlusion/images.csv").read_text().splitlines()
    assert rows[0] == "image,class,clean,lowest"
    assert len(rows) == 61


def test_words_are_markdown_and_html_in_them_is_shown():
    assert markdown("*a* <b>\n\n| x |\n|---|\n| 1 |\n") == (
        '<p><em>a</em> &lt;b&gt;</p>\n<div class="scroll"><table>\n<thead>\n'
        "<tr>\n<th>x</th>\n</tr>\n</thead>\n"
        "<tbody>\n<tr>\n<td>1</td>\n</tr>\n</tbody>\n</table></div>\n"
    )
    assert powers("N(0, 0.01^2), 10^-2 <b>") == (
        "N(0, 0.01<sup>2</sup>), 10<sup>−2</sup> &lt;b&gt;"
    )


def test_an_empty_checkout_says_not_run_everywhere(tmp_path, capsys):
    paths = SimpleNamespace(root=tmp_path / "empty", reports=tmp_path / "reports")
    paths.root.mkdir()
    assert stage.run(None, paths) is None
    assert "index.html" in capsys.readouterr().err
    assert page(paths.reports, "run.html").count("Not run.") == 6
    for name in ("index.html", "training.html"):
        assert "No net has been trained or adopted yet" in page(paths.reports, name)
    assert not (paths.reports / "assets" / "plotly.min.js").exists()


def test_an_older_site_is_replaced_but_no_other_folder(tmp_path, monkeypatch):
    root, out = fabricate.tree(tmp_path / "run"), tmp_path / "reports"
    build(gather(root), out)
    (out / "stale.html").write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "place", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(gather(root), out)
    build(gather(root), out)  # over the half that was written
    assert not (out / "stale.html").exists()
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("mine")
    with pytest.raises(UserError, match="thesis"):
        build(gather(root), other)
    assert (other / "chapter.tex").is_file()


@pytest.mark.parametrize(("height", "first"), [(800, 0), (400, 125)])  # px of 320 wide; of 450
def test_a_card_shows_the_top_of_a_tall_picture_and_all_of_a_wide_one(tmp_path, height, first):
    picture = Image.new("RGB", (320 if height > 400 else 1440, height), "red")
    picture.paste("blue", (0, 200, picture.width, height))
    picture.save(tmp_path / "a.png")
    (tmp_path / "site" / "a").mkdir(parents=True)
    placed = pictures.card(tmp_path / "a.png", tmp_path / "site", "a")
    assert (placed.width, placed.height) == pictures.CARD
    column = np.asarray(Image.open(tmp_path / "site" / placed.href)).astype(int)[:, 360]
    red = np.flatnonzero((column[:, 0] > 200) & (column[:, 2] < 60))
    assert red[0] == pytest.approx(first, abs=2)
    assert (column[:, 2] > 200).any() == (height == 400)


def test_a_card_shows_the_headline_numbers_else_the_first_with_an_interval(tmp_path):
    estimates = {
        "images": Estimate(3.0),
        "purity_slope": Estimate(1.0, 0.5, 1.5),
        "inside_minus_outside": Estimate(2.0, 1.0, 3.0),
    }
    for name in ("overlap", "occlusion"):
        fabricate.result(tmp_path, name, Measurement("zfnet", "relu", estimates=estimates))
    studies = gather(tmp_path).studies
    for name, keys in (
        ("overlap", ["purity_slope", "inside_minus_outside"]),  # none of those in the registry
        ("occlusion", ["inside_minus_outside"]),
    ):
        assert [item["key"] for item in facts.card_numbers(studies[name])] == keys


def test_a_net_trained_beside_others_shows_its_own_time():
    stage_took = {"seconds": 3.0, "device": "cpu"}
    own = {"training_seconds": 100.0, "evaluation_seconds": 5.5}
    assert facts.own_seconds(stage_took | own) == 105.5
    seeds = {"seeds": [own, {"training_seconds": 60.0, "evaluation_seconds": None}]}
    assert facts.own_seconds(stage_took | own | seeds) == 165.5
    assert facts.own_seconds(stage_took | {"evaluation_seconds": 2.0}) == 3.0  # adopted
    assert facts.own_seconds({}) is None
