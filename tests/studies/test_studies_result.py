import json

import numpy as np
import pytest
from PIL import Image

from zfnet.errors import UserError
from zfnet.stats.estimate import Estimate
from zfnet.studies.result import Figure, Result, Table, load_result, plain, save_result


def plot():
    from zfnet.figures.kit.style import figure

    drawn = figure(2, 1)
    drawn.add_axes((0.2, 0.2, 0.7, 0.7)).plot([0, 1], [1, 0])
    return drawn


def picture():
    return Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))


def made():
    return Result(
        study="demo",
        title="A demonstration",
        paper="Fig. 0",
        text="What was done.",
        net="zfnet",
        tap="relu",
        seed=3,
        metrics={
            "error": Estimate(0.123456789, 0.1, 0.2, 40, "%"),
            "broken": Estimate(float("nan"), note="no images"),
        },
        tables={"rows": Table(["a", "b"], [[1, "x, y"], [None, np.float32(0.5)]], "A table.")},
        arrays={
            "whole": np.arange(6).reshape(2, 3),
            "streamed": (np.full((n, 2), n, np.uint8) for n in (1, 2, 3)),
        },
        figures=[
            Figure("plot", "A plot.", "line", plot),
            Figure("grid", "A grid.", "grid", picture, format="webp"),
            Figure("exact", "A picture.", "picture", picture),
        ],
        extra={"ids": np.array([1, 2]), "share": np.float64(0.25), "inf": float("inf")},
    )


def saved(folder):
    save_result(made(), folder / "results", folder / "metrics" / "demo.json")
    return folder


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_saves_everything_and_reads_it_back(tmp_path):
    saved(tmp_path)
    result = load_result(tmp_path / "results")
    assert result["title"] == "A demonstration"
    assert result["metrics"]["error"] == {
        "value": 0.123457, "low": 0.1, "high": 0.2, "n": 40, "unit": "%", "note": "",
    }  # fmt: skip
    assert result["metrics"]["broken"]["value"] is None
    assert result["tables"]["rows"]["rows"] == [[1, "x, y"], [None, 0.5]]
    assert result["extra"] == {"ids": [1, 2], "share": 0.25, "inf": None}
    assert [figure["file"] for figure in result["figures"]] == [
        "figures/plot.png", "figures/grid.webp", "figures/exact.png",
    ]  # fmt: skip
    for entry in (*result["figures"], *result["arrays"].values(), *result["tables"].values()):
        assert entry["path"].is_file()
    assert (result["figures"][0]["width"], result["figures"][0]["height"]) == (300, 150)
    assert result["tables"]["rows"]["path"].read_text() == 'a,b\n1,"x, y"\n,0.5\n'


def test_metrics_file_is_flat(tmp_path):
    saved(tmp_path)
    flat = json.loads((tmp_path / "metrics" / "demo.json").read_text())
    assert flat["error"] == {"value": 0.123457, "low": 0.1, "high": 0.2, "n": 40, "unit": "%"}


def test_streamed_blocks_become_one_array(tmp_path):
    saved(tmp_path)
    array = np.load(tmp_path / "results" / "arrays" / "streamed.npy")
    assert array.tolist() == [[1, 1], [2, 2], [2, 2], [3, 3], [3, 3], [3, 3]]
    assert load_result(tmp_path / "results")["arrays"]["streamed"]["shape"] == [6, 2]
    assert np.load(tmp_path / "results" / "arrays" / "whole.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_streaming_holds_one_block_at_a_time(tmp_path):
    alive = []

    def blocks():
        for _ in range(50):
            block = np.zeros((1, 1000), np.float32)
            alive.append(__import__("weakref").ref(block))
            yield block
            del block
            assert sum(ref() is not None for ref in alive) <= 3

    result = Result("s", "t", "p", "x", "n", "tap", arrays={"big": blocks()})
    save_result(result, tmp_path, tmp_path / "m.json")
    assert np.load(tmp_path / "arrays" / "big.npy", mmap_mode="r").shape == (50, 1000)


def test_bytes_are_the_same_each_time_and_old_files_go(tmp_path):
    first = files(saved(tmp_path / "one"))
    stale = tmp_path / "two" / "results" / "figures" / "gone.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"old")
    assert files(saved(tmp_path / "two")) == first
    assert not stale.exists()


def test_pictures_carry_no_metadata_and_keep_their_pixels(tmp_path):
    saved(tmp_path)
    for name in ("plot", "exact"):
        with Image.open(tmp_path / "results" / "figures" / f"{name}.png") as image:
            assert image.info == {}
            assert image.mode == "RGB"
    with Image.open(tmp_path / "results" / "figures" / "exact.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(picture()))


@pytest.mark.parametrize(
    "blocks", [[np.zeros((1, 2)), np.zeros((1, 3))], [np.zeros(1, np.uint8), np.zeros(1)], []]
)
def test_blocks_that_do_not_fit_are_refused(tmp_path, blocks):
    result = Result("s", "t", "p", "x", "n", "tap", arrays={"bad": iter(blocks)})
    with pytest.raises(ValueError, match="array bad"):
        save_result(result, tmp_path, tmp_path / "m.json")
    assert not (tmp_path / "result.json").exists()


def test_names_must_be_unique_file_names(tmp_path):
    twice = [Figure("a", "", "", picture)] * 2
    with pytest.raises(ValueError, match="share a name"):
        save_result(Result("s", "t", "p", "x", "n", "r", figures=twice), tmp_path, tmp_path / "m")
    escape = {"../up": Table(["a"], [[1]])}
    with pytest.raises(ValueError, match="no file name"):
        save_result(Result("s", "t", "p", "x", "n", "r", tables=escape), tmp_path, tmp_path / "m")


def test_table_rows_must_fit_their_columns(tmp_path):
    result = Result("s", "t", "p", "x", "n", "r", tables={"bad": Table(["a", "b"], [[1]])})
    with pytest.raises(ValueError, match="1 values under 2 columns"):
        save_result(result, tmp_path, tmp_path / "m.json")


def test_missing_or_foreign_results_are_named(tmp_path):
    with pytest.raises(UserError, match=r"result\.json is missing"):
        load_result(tmp_path)
    (tmp_path / "result.json").write_text('{"format": 99, "study": "demo"}')
    with pytest.raises(UserError, match="format 99"):
        load_result(tmp_path)


def test_plain_refuses_what_json_cannot_hold():
    with pytest.raises(TypeError, match="set"):
        plain({"a": {1, 2}})
