"""The embedded sources: what their samples hold, and that they are the same bytes everywhere."""

import ast
import hashlib
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

import zfnet.data.synthetic
from zfnet.data.sample import Source
from zfnet.data.synthetic import SyntheticSource
from zfnet.data.synthetic.joins import cut, placed, union
from zfnet.data.synthetic.raster import Canvas, Paint, Pose, blurred
from zfnet.data.synthetic.shapes import arc, box, disc, ellipse, limb, polygon
from zfnet.data.synthetic.stream import Stream, cos_sin
from zfnet.data.synthetic.textures import TEXTURES, texture
from zfnet.errors import UserError

# Version 1 is frozen: a change of these digests is a change of the data set, and needs a new
# version number instead.
ALL = tuple(range(12))  # one picture of each class
DIGESTS = {
    ("default", 144, 0, "train", ALL): (
        "a4b7ab81ae84 abece124d4c0 fb6a9ea45f9c ce6de9b8362a 5f24aea94f12 e24402bd6094 "
        "237e5105bb84 db1d433a67c3 3d61b26267af eefe402e989f 6abea5c0e02a 6f0cf9b7132e"
    ),
    ("default", 144, 0, "val", (5, 597)): "4f61fc1c063d a218a4efe87f",
    ("default", 144, 7, "train", (2394,)): "da0948cb0be6",
    ("default", 144, 123456789, "val", (300,)): "3ecd53ec293d",
    ("default", 96, 0, "train", (8,)): "983696bb097b",
    ("default", 288, 1, "val", (10,)): "b4d250a4068b",
    ("unseen", 144, 0, "train", ALL): (
        "8cf74af5f8e0 98fe6cc78cb5 70640ddf9473 28e2db9d7b6b 2764763e9ab0 c0cfce75b83c "
        "50d24b4ca3eb fbe54ba2c4c0 158b62ac1e9d 62f47dd136bd 1024ceafaeca 6f0b559c1bd6"
    ),
    ("unseen", 144, 7, "train", (594,)): "588c2335cd9e",
    ("unseen", 96, 0, "train", (8,)): "5241efbfb453",
    ("unseen", 288, 1, "train", (10,)): "ae5523e0ca0f",
    ("unseen", 144, 123456789, "train", (300,)): "8385cc013117",
}


@pytest.mark.parametrize("key", list(DIGESTS), ids=str)
def test_version_1_renders_these_bytes(key):
    class_set, size, seed, split, rows = key
    samples = SyntheticSource(size, seed=seed, class_set=class_set).splits()[split]
    found = [hashlib.sha256(samples[row].image.tobytes()).hexdigest()[:12] for row in rows]
    assert found == DIGESTS[key].split()


def test_only_arithmetic_that_is_the_same_on_every_machine():
    """No libm, no numpy generator, no reduction whose order depends on the processor."""
    banned_modules = {"math", "cmath", "random", "secrets", "time", "scipy", "torch", "PIL"}
    banned_names = {"sin", "cos", "tan", "arctan", "arctan2", "exp", "exp2", "log", "log2", "power"}
    banned_names |= {"hypot", "cbrt", "random", "dot", "matmul", "einsum", "inner", "sum", "mean"}
    banned_names |= {"std", "var", "interp", "linspace", "linalg", "fft", "pow"}
    folder = Path(zfnet.data.synthetic.__file__).parent
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not {a.name.split(".")[0] for a in node.names} & banned_modules, path.name
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in banned_modules, path.name
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner_is_numpy = node.value.id in {"np", "numpy"}
                assert not (owner_is_numpy and node.attr in banned_names), (path.name, node.attr)
            elif isinstance(node, ast.BinOp):
                assert not isinstance(node.op, ast.Pow | ast.MatMult), (path.name, node.lineno)


def listed(samples):
    return [samples[index] for index in range(len(samples))]


@pytest.mark.parametrize("class_set", ["default", "unseen"])
def test_samples_hold_what_they_promise(class_set):
    source = SyntheticSource(144, (24, 0 if class_set == "unseen" else 12), class_set=class_set)
    assert isinstance(source, Source)
    assert [info.index for info in source.classes] == list(range(12))
    faces = set()
    for index, sample in enumerate(listed(source.splits()["train"])):
        assert sample.id == f"{source.name}-v1/train/{index:06d}"
        assert sample.label == index % 12
        assert sample.image.shape == (144, 144, 3)
        assert sample.image.dtype == np.uint8
        assert sample.image.std() > 5
        x0, y0, x1, y1 = sample.box
        assert 0 <= x0 < x1 <= 144
        assert 0 <= y0 < y1 <= 144
        assert min(x1 - x0, y1 - y0) > 15
        assert sample.attributes.keys() == {"scale", "rotation", "clutter", "texture", "light"}
        assert 0.5 < sample.attributes["scale"] < 0.9
        assert abs(sample.attributes["rotation"]) <= 20
        assert sample.attributes["texture"] in TEXTURES
        if sample.parts:
            faces.add(sample.label)
            assert list(sample.parts) == source.part_names == ["left_eye", "right_eye", "nose"]
            assert sample.parts["left_eye"][0] < sample.parts["right_eye"][0]
            for x, y in sample.parts.values():
                assert x0 < x < x1
                assert y0 < y < y1
    assert len(faces) == (6 if class_set == "default" else 0)


def test_eyes_lie_where_the_parts_say():
    """The pixels around an eye vary more than those around the middle of the face nearby."""
    faces = 0
    for sample in listed(SyntheticSource(images=(36, 12)).splits()["train"]):
        if not sample.parts:
            continue
        spans = []
        for part in ("left_eye", "right_eye"):
            x, y = (int(value) for value in sample.parts[part])
            window = sample.image[y - 4 : y + 5, x - 4 : x + 5].astype(float).mean(axis=2)
            spans.append(window.max() - window.min())
        assert min(spans) > 50, sample.id
        faces += 1
    assert faces == 18


@pytest.mark.parametrize("class_set", ["default", "unseen"])
def test_a_sample_depends_on_its_own_index_alone(class_set):
    many = SyntheticSource(class_set=class_set).splits()["train"]
    few = SyntheticSource(images=(24, 12), class_set=class_set).splits()["train"]
    few = pickle.loads(pickle.dumps(few))
    for index in (17, 3, 11):
        one, other = many[index], few[index]
        assert np.array_equal(one.image, other.image)
        assert (one.box, one.parts, one.attributes) == (other.box, other.parts, other.attributes)
    with pytest.raises(IndexError):
        few[24]


def test_neither_splits_nor_seeds_nor_sets_repeat_each_other():
    """Another set with the same keys would put other things on the same grounds."""
    sources = [SyntheticSource(images=(12, 12), seed=seed) for seed in (0, 1)]
    sources.append(SyntheticSource(images=(24, 0), class_set="unseen"))
    samples = [each for source in sources for split in source.splits().values()
               for each in listed(split)]  # fmt: skip
    assert len(samples) == 72
    assert len({sample.image.tobytes() for sample in samples}) == 72
    assert len({tuple(sample.attributes.items()) for sample in samples}) == 72
    assert len({sample.image[:6, :6].tobytes() for sample in samples}) == 72
    names = [{info.id for info in source.classes} for source in sources]
    assert not names[0] & names[2]


def test_size_changes_the_resolution_and_not_the_scene():
    small = SyntheticSource(96).splits()["val"]
    large = SyntheticSource(288).splits()["val"]
    for index in (2, 4, 7, 10):
        a, b = small[index], large[index]
        assert a.attributes == b.attributes
        np.testing.assert_allclose(np.multiply(a.box, 3), b.box, atol=6)
        for name, place in a.parts.items():
            np.testing.assert_allclose(np.multiply(place, 3), b.parts[name], atol=1e-6)
        shrunk = b.image.reshape(96, 3, 96, 3, 3).mean(axis=(1, 3))
        assert np.abs(shrunk - a.image).mean() < 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 2}, r"data\.version.*only version 1"),
        ({"size": 8}, r"data\.size"),
        ({"images": (12, 5)}, r"data\.val_images: 5 leaves a class empty; set at least 12"),
        ({"images": (5, 0), "class_set": "unseen", "section": "t.mine"}, r"t\.mine\.images: 5"),
    ],
)
def test_what_cannot_be_rendered_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        SyntheticSource(**options)


def test_cos_sin_agrees_with_the_library():
    for step in range(-40, 80):
        turns = step / 37.0
        cosine, sine = cos_sin(turns)
        assert cosine == pytest.approx(math.cos(2 * math.pi * turns), abs=1e-10)
        assert sine == pytest.approx(math.sin(2 * math.pi * turns), abs=1e-10)


def test_stream_is_uniform_and_a_function_of_its_keys():
    stream = Stream(1, 2)
    values = np.array([stream.unit() for _ in range(4000)])
    assert values.min() >= 0
    assert values.max() < 1
    counts = np.histogram(values, bins=10, range=(0, 1))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 28  # chi-square, 9 degrees of freedom, p = 0.001
    assert Stream(1, 2).bits() == Stream(1, 2).bits()
    assert len({Stream(*keys).bits() for keys in [(1, 2), (2, 1), (1,), (1, 2, 0), (0, 2)]}) == 5
    table = Stream(3).table(4096)
    assert table.dtype == np.float32
    assert table.mean() == pytest.approx(0.5, abs=0.02)
    assert {Stream(5, i).integer(3) for i in range(40)} == {0, 1, 2}


def covered(shape, size=200):
    """Area of a shape, in units², as the layer covers it."""
    layer = Canvas(size, Pose(0.5, 0.5, 1.0), reach=0.5)
    layer.draw(shape, Paint((255.0, 0.0, 0.0)))
    np.testing.assert_allclose(layer.rgb[0], layer.alpha * 255.0, rtol=1e-5)
    return float(layer.alpha.sum()) / size**2


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (disc(0.0, 0.0, 0.3), math.pi * 0.09),
        (ellipse(0.05, 0.0, 0.4, 0.2, 0.1), math.pi * 0.08),
        (box(0.0, 0.1, 0.2, 0.3), 0.24),
        (limb((-0.2, 0.0), (0.2, 0.1), 0.05), math.pi * 0.0025 + 0.1 * math.sqrt(0.17)),
        (polygon((-0.3, 0.3), (0.3, 0.3), (0.0, -0.3)), 0.18),
        (polygon((0.0, 0.0), (0.4, 0.4), (0.0, -0.4), (-0.4, 0.4)), 0.16),
        (placed(box(0.0, 0.0, 1.0, 0.5), 0.1, 0.0, 0.2, 0.13), 0.08),
        (union(box(-0.2, 0.0, 0.1, 0.1), box(0.2, 0.0, 0.1, 0.1)), 0.08),
        (cut(box(0.0, 0.0, 0.3, 0.3), disc(0.0, 0.0, 0.2)), 0.36 - math.pi * 0.04),
        (arc(0.0, 0.0, 0.3, 0.02, 0.3, 0.125), 0.04 * math.pi * 0.15 + math.pi * 0.0004),
    ],
)
def test_shapes_cover_their_area(shape, area):
    assert covered(shape) == pytest.approx(area, rel=0.02)


def test_pose_moves_shapes_and_points_alike():
    pose = Pose(0.4, 0.55, 0.6, turns=0.05, width=1.1, mirror=-1.0)
    layer = Canvas(300, pose)
    layer.draw(disc(3.0, 3.0, 0.2), Paint((1.0, 1.0, 1.0)))
    assert not layer.alpha.any()  # outside the picture
    layer.draw(disc(0.2, -0.1, 0.03), Paint((1.0, 1.0, 1.0)))
    rows, columns = np.nonzero(layer.alpha > 0.5)
    x, y = pose.to_picture(0.2, -0.1)
    assert columns.mean() + 0.5 + layer.x0 == pytest.approx(x * 300, abs=0.2)
    assert rows.mean() + 0.5 + layer.y0 == pytest.approx(y * 300, abs=0.2)


def test_blur_keeps_the_total_away_from_borders():
    cover = np.zeros((40, 50), dtype=np.float32)
    cover[18:22, 20:26] = 1.0
    soft = blurred(cover, 3)
    assert soft.max() < 1.0
    assert float(soft.sum()) == pytest.approx(24.0, rel=0.02)


@pytest.mark.parametrize("name", TEXTURES)
def test_textures_mix_between_nothing_and_everything(name):
    axis = np.linspace(-0.5, 0.5, 80, dtype=np.float32)
    u, v = np.meshgrid(axis, axis)
    share = texture(name, Stream(7), 80.0)(u, v)
    assert share.shape == (80, 80)
    assert share.dtype == np.float32
    assert share.min() >= 0.0
    assert share.max() <= 1.0
    assert name == "plain" or share.std() > 0.1
