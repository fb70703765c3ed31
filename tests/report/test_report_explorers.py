"""The explorers' data against arrays with known answers."""

import json
import shutil

import fabricate_explorers as made
import numpy as np
import pytest
from PIL import Image

from zfnet.data.store import Prepared
from zfnet.files import write_json
from zfnet.report import explore_features
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


def tile(site, sheet, index):
    with Image.open(site / sheet["src"]) as image:
        pixels = np.asarray(image.convert("RGB"))
    y, x = index // sheet["columns"] * sheet["h"], index % sheet["columns"] * sheet["w"]
    return pixels[y : y + sheet["h"], x : x + sheet["w"]]


# ------------------------------------------------------------------------------------------ data
def test_every_pair_is_where_the_page_looks_for_it(site):
    key, page = made.handed(site, "features/layer1_0")
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
    _, meta = made.handed(site, "features/meta")
    first, second = (made.handed(site, f"features/layer2_{page}")[1] for page in (0, 1))
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
    _, page = made.handed(site, "features/layer2_0")
    dead, few = page["maps"][1], page["maps"][2]
    assert dead["common"] is None
    assert few["exciting"] == 3
    seen, pale = (tile(site, page["sheet"], (m * 9) * 2 + 1).astype(int) for m in (0, 1))
    assert pale.min() > 110
    assert seen[:, :18].min() < 60
    assert seen[:, 24:].min() > 110  # the field ends at column 20


def test_evolution_is_told_for_the_maps_that_were_followed(site):
    key, page = made.handed(site, "features/layer2_epochs_0")
    assert key == "2/epochs/0"
    assert page["order"] == [3, 66]
    assert page["maps"]["3"]["settled"] == [2, True, 0.1]
    assert page["maps"]["66"]["settled"] == [None, None, None]
    assert page["maps"]["66"]["values"] == [0, 1, 2]
    assert page["maps"]["3"]["own"] == [None, 0.5, 1.0]  # what is not a number is none
    assert page["maps"]["3"]["ids"][1] == "train/001.png"
    third = tile(site, page["sheet"], (1 * 3 + 2) * 2).astype(int)
    assert abs(third[..., 0].mean() - tile(site, page["sheet"], 2)[..., 0].astype(int).mean()) > 5


def test_the_papers_size_fits_its_sheets(run, tmp_path):
    """1,376 maps x 9, split into pages; every sheet stays a legal picture."""
    root = tmp_path / "run"
    shutil.copytree(run / "data", root / "data")
    made.features(root, {"1": 96, "2": 1280})
    study = load_study("features", root)
    prepared = Prepared.open(root / "data" / "prepared")
    shown = explore_features.write(study, None, prepared, tmp_path / "site")
    assert shown["maps"] == 1376
    files = sorted(file.name for file in (tmp_path / "site/explore/features").glob("layer2_*.webp"))
    assert len(files) == 20
    assert made.handed(tmp_path / "site", "features/layer2_19")[1]["first"] == 19 * 64
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
    root = shutil.copytree(run, tmp_path / "run")
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
    ("study", "path"),
    [
        ("occlusion", ("drawn_stride_px",)),
        ("occlusion", ("classes",)),
        ("features", ("top_k",)),
        ("features", ("layers", "2", "dead")),
        ("evolution", ("split",)),
    ],
)
def test_a_result_that_says_too_little_costs_its_explorer_and_not_the_site(
    run, tmp_path, study, path
):
    root = shutil.copytree(run, tmp_path / "run")
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


def test_features_alone_make_an_explorer_without_epochs(run, tmp_path):
    root = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(root / "results" / "evolution")
    out = build(gather(root), tmp_path / "site").parent
    _, meta = made.handed(out, "features/meta")
    assert meta["epochs"] == []
    assert meta["layers"]["2"]["followed"] == []
    assert not list((out / "explore/features").glob("*epochs*"))


def test_equal_results_give_equal_bytes(run, site, tmp_path):
    again = build(gather(run), tmp_path / "reports").parent
    files = [file.relative_to(site) for file in site.rglob("*.*") if file.is_file()]
    assert len(files) > 30
    for file in files:
        assert (site / file).read_bytes() == (again / file).read_bytes(), file
