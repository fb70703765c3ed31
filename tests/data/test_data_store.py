"""The reader gives back exactly what was stored, in any order, from any process, without torch."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from data_trees import drawn, picture

from zfnet.data import store as module
from zfnet.data.decode import decode_jpeg, encode_jpeg
from zfnet.data.prepare import prepare
from zfnet.data.store import Prepared, SplitWriter
from zfnet.errors import UserError


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A raw store of three record batches (64, 64 and 22 images)."""
    out = tmp_path_factory.mktemp("raw") / "prepared"
    prepare(drawn(train=150), out, size=16, workers=1)
    return Prepared.open(out)


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A JPEG store in several record batches."""
    out = tmp_path_factory.mktemp("jpeg") / "prepared"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module._BATCH, "jpeg", 40)
        prepare(drawn(train=150), out, size=16, store="jpeg", workers=1)
    return Prepared.open(str(out))


def test_any_order_and_repeats(raw: Prepared) -> None:
    split = raw.split("train")
    assert len(split) == 150
    order = [149, 0, 63, 64, 64, 127, 128, 0]
    got = split.images(order)
    assert got.dtype == np.uint8
    assert np.array_equal(got, [picture(i, 16, 16) for i in order])
    assert np.array_equal(split.images(np.array(order)), got)
    assert split.images([]).shape == (0, 16, 16, 3)
    assert not split.image(70).flags.writeable
    assert not split.image(70).flags.owndata  # a view of the file
    assert np.array_equal(raw.split("val").image(5), picture(1005, 16, 16))


def test_jpegs_come_back_decoded(jpeg: Prepared) -> None:
    split = jpeg.split("train")
    order = [149, 0, 39, 40, 41]  # batches end at 40, 80 and 120
    for i, image in zip(order, split.images(order), strict=True):
        assert np.array_equal(image, decode_jpeg(encode_jpeg(picture(i, 16, 16))))


@pytest.mark.parametrize("index", [-1, 150])
def test_out_of_range(raw: Prepared, jpeg: Prepared, index: int) -> None:
    for prepared in (raw, jpeg):
        with pytest.raises(IndexError):
            prepared.split("train").image(index)


def test_index_columns(raw: Prepared) -> None:
    split = raw.split("val")
    assert split.labels.dtype == np.int64
    assert split.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert split.ids == [f"val/{i}" for i in range(6)]
    assert split.boxes is not None
    assert split.boxes.dtype == np.float32
    assert split.boxes[4].tolist() == [1, 2, 9, 10]
    nose = split.parts["nose"]
    assert nose.dtype == np.float32
    assert nose[0].tolist() == [5, 6]
    assert np.isnan(nose[1]).all()
    assert split.attributes["scale"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert split.attributes["texture"].tolist() == ["dots"] * 6
    assert [c.name for c in raw.classes] == ["class 0", "class 1", "class 2"]
    assert raw.size == 16


def test_missing_boxes_and_attributes(tmp_path: Path) -> None:
    source = drawn()
    for samples in source.samples.values():
        for sample in samples:
            sample.box = None
    source.samples["train"][0].attributes = {"count": 3}
    source.samples["train"][1].attributes = {"scale": 0.5}
    prepare(source, tmp_path / "p", size=16, workers=1)
    split = Prepared.open(tmp_path / "p").split("train")
    assert split.boxes is None
    attributes = split.attributes
    assert attributes["count"][0] == 3
    assert np.isnan(attributes["count"][1:]).all()
    assert np.isnan(attributes["scale"][0])
    assert attributes["scale"][1] == 0.5
    assert attributes["texture"][:3].tolist() == ["", "", "dots"]


def test_pickling_is_cheap_and_survives_use(raw: Prepared, jpeg: Prepared) -> None:
    for prepared in (raw, jpeg):
        split = prepared.split("train")
        before = split.images([3, 100])
        assert len(split.labels) == 150
        sent = pickle.dumps(split)
        assert len(sent) < 2000
        assert np.array_equal(pickle.loads(sent).images([3, 100]), before)


def test_threads_may_share_a_split(raw: Prepared, jpeg: Prepared) -> None:
    order = np.random.default_rng(0).integers(0, 150, (8, 50))
    for prepared in (raw, jpeg):
        expected = [prepared.split("train").images(rows) for rows in order]
        shared = prepared.split("train")
        with ThreadPoolExecutor(4) as pool:
            got = list(pool.map(shared.images, order))
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def test_file_is_plain_arrow(raw: Prepared) -> None:
    with pa.memory_map(str(raw.path / "train.arrow")) as file:
        reader = pa.ipc.open_file(file)
        assert reader.num_record_batches == 3
        table = reader.read_all()
        assert table.schema.field("image").type == pa.binary(16 * 16 * 3)
        assert table["image"][100].as_py() == picture(100, 16, 16).tobytes()


def test_reading_needs_no_torch(raw: Prepared) -> None:
    code = (
        "import sys\n"
        "from zfnet.data.store import Prepared\n"
        f"split = Prepared.open({str(raw.path)!r}).split('val')\n"
        "split.labels; split.parts\n"
        "assert not split.__dict__.get('_file')\n"  # no pixels are opened for these
        "split.images([0, 1])\n"
        "assert not {'torch', 'torchvision', 'pandas', 'matplotlib'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_or_foreign(tmp_path: Path, raw: Prepared) -> None:
    with pytest.raises(UserError, match=r"no prepared data here\. Run `dvc repro prepare`"):
        Prepared.open(tmp_path / "nowhere")
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(UserError, match=r"meta\.json is damaged"):
        Prepared.open(tmp_path)
    facts = json.loads((raw.path / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps({**facts, "format": 99}))
    with pytest.raises(UserError, match="format 99; this version reads format 1"):
        Prepared.open(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=r"train\.arrow is missing"):
        Prepared.open(tmp_path)
    with pytest.raises(UserError, match="has no split test; it has train, val"):
        raw.split("test")


def test_writer_refuses_images_of_another_size(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "a.arrow", 4, "raw")
    with writer, pytest.raises(ValueError, match="size"):
        writer.write([b"short"] * 64)
