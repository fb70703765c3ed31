import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from zfnet.errors import UserError
from zfnet.models.net import Net, Normalise
from zfnet.studies import correspondence, faces, inputs
from zfnet.studies.correspondence import PAPER, Options, choose, hide, measure, study
from zfnet.studies.base import Inputs
from zfnet.studies.pairs import estimate, mean_of, permutation_p, spread_of
from zfnet.studies.result import load_result, save_result

SIZE, PX = 72, 64
PARTS = ("right_eye", "left_eye", "nose")
SMALL = Options(
    size=8, reference_px=PX, sensitivity_sizes=(6,), sensitivity_groups=4, permutations=99,
    random_draws=4, batch_size=64,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("ZFNET_PROGRESS", "0")


class Split:
    """A split in memory; parts in prepared px as x, y."""

    def __init__(self, images, labels, parts):
        self._images = images
        self.labels = np.asarray(labels, np.int64)
        self.ids = [f"{i}.png" for i in range(len(labels))]
        self.parts = parts
        self.boxes = None
        self.size = images.shape[1]

    def __len__(self):
        return len(self._images)

    def images(self, rows):
        return self._images[np.asarray(rows)]


class Set:
    def __init__(self, split, classes=("cat", "dog", "car")):
        self._split = split
        self.size = split.size
        self.classes = [SimpleNamespace(index=i, id=c, name=c) for i, c in enumerate(classes)]

    def split(self, name):
        return self._split


class Sums(nn.Module):
    """Layer 5: the mean of each colour; layer 7: the same."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()

    def forward(self, x):
        return self.flat(self.pool(x))


@pytest.fixture
def net():
    return Net(
        model=Sums().eval(),
        input_px=PX,
        normalise=Normalise.mean_image(np.zeros((3, SIZE, SIZE), np.float32), PX),
        classes=["cat", "dog", "car"],
        name="made",
        arch="made",
        taps={"5.out": "pool", "7.out": "flat"},
    )


def made(count, *, corresponding, seed=0):
    """Faces of two classes, and every third image a car without parts.

    corresponding: each part is a mark of its own colour on noise; else marks are light or dark by
    chance, on even grey.
    """
    rng = np.random.default_rng(seed)
    shape = (count, SIZE, SIZE, 3)
    images = np.full(shape, 128, np.uint8)
    if corresponding:
        images = rng.integers(100, 157, shape).astype(np.uint8)
    places = {name: np.full((count, 2), np.nan, np.float32) for name in PARTS}
    labels = np.arange(count) % 3
    for i in np.flatnonzero(labels < 2):
        shift = rng.integers(-4, 5, 2)
        for colour, (name, at) in enumerate(
            zip(PARTS, ((44, 30), (24, 30), (34, 46)), strict=True)
        ):
            x, y = at + shift
            mark = np.full(3, 128)
            mark[colour] = 250 if corresponding or rng.random() < 0.5 else 6
            images[i, y - 3 : y + 3, x - 3 : x + 3] = mark
            if corresponding:  # what the square hides beside the mark is even grey
                around = np.s_[i, y - 4 : y + 4, x - 4 : x + 4]
                inner = images[i, y - 3 : y + 3, x - 3 : x + 3].copy()
                images[around] = 128
                images[i, y - 3 : y + 3, x - 3 : x + 3] = inner
            places[name][i] = x, y
    return Set(Split(images, labels, places))


# ------------------------------------------------------------------------------- whole findings
def test_marks_that_every_face_shares_score_below_random_places(net):
    result = study(Inputs(made(90, corresponding=True), "val", net), SMALL)
    for layer in (5, 7):
        for name in PARTS:
            assert result.metrics[f"layer{layer}_{name}"].value == 0
        assert 0.3 < result.metrics[f"layer{layer}_random"].value < 0.7
        gap = result.metrics[f"layer{layer}_parts_minus_random"]
        assert gap.high < -0.3
        assert gap.n == 60
        assert "12 disjoint groups" in gap.note
        assert result.metrics[f"layer{layer}_parts_p"].value == pytest.approx(0.01)
    assert result.metrics["gap_first_minus_last_layer"].value == pytest.approx(0)
    assert "lower than" in result.text
    assert "60 faces of the classes dog and cat" in result.text


def test_marks_without_a_common_sign_score_above_random_places(net):
    result = study(Inputs(made(90, corresponding=False), "val", net), SMALL)
    assert result.metrics["layer5_random"].value == 0
    assert result.metrics["layer5_parts_minus_random"].low > 0.1
    assert result.metrics["layer5_parts_p"].value == 1
    assert "higher than the 0.000 of random places" in result.text
    assert result.tables["table1"].rows[-1][1].startswith("0.000")


def test_table_1_stands_beside_the_papers(net):
    result = study(Inputs(made(90, corresponding=True), "val", net), SMALL)
    table = result.tables["table1"]
    assert [row[0] for row in table.rows] == ["right eye", "left eye", "nose", "random"]
    assert [row[2] for row in table.rows] == [
        "0.067 ± 0.007", "0.069 ± 0.007", "0.079 ± 0.017", "0.107 ± 0.017",
    ]  # fmt: skip
    assert [row[4] for row in table.rows][-1] == "0.073 ± 0.014"
    assert PAPER["nose"][7] == (0.069, 0.011)
    choices = [row[0] for row in result.tables["sensitivity"].rows]
    assert choices[0] == "as configured"
    assert len(choices) == 1 + 1 + 2 + 2
    assert all(len(row) == 10 for row in result.tables["sensitivity"].rows)
    # one group of the same faces: what the first row has, counted over these groups
    assert result.tables["sensitivity"].rows[0][-1] == 20


def test_scores_are_those_of_the_formula(net):
    whole = Inputs(made(30, corresponding=True), "val", net)
    found, _ = correspondence._faces_of_split(whole, SMALL)
    chosen = choose(found, net, SMALL, 0)
    one = measure(whole, found, chosen.groups, SMALL, 0)[0]
    rows = one.group.rows
    clean, hidden = hide(whole, found.pixels[rows], one.corners, one.size, "grey")
    signs = (clean.mean((2, 3))[:, None] - hidden.mean((3, 4))).sign()
    for c in range(7):
        differing = [
            float((signs[i, c] != signs[j, c]).float().mean())
            for i in range(5) for j in range(5) if i != j
        ]  # fmt: skip
        assert one.deltas(5, SMALL)[c] == pytest.approx(np.mean(differing))
        pairs = one.pairs((5, "out", "third"))
        spread = np.std([differing[k] for k in (0, 1, 2, 3, 5, 6, 7, 10, 11, 15)], ddof=1)
        assert spread_of(pairs, [c]) == pytest.approx(spread, abs=1e-6)


def test_without_parts_the_result_says_that_nothing_was_measured(net, tmp_path):
    data = made(12, corresponding=True)
    data.split("val").parts = {}
    result = study(Inputs(data, "val", net), SMALL)
    assert result.metrics == {}
    assert "Nothing was measured" in result.text
    assert "study.correspondence.photos" in result.text
    save_result(result, tmp_path / "r", tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text()) == {}


def test_result_is_whole_and_its_bytes_repeat(net, tmp_path):
    for name in ("one", "two"):
        result = study(Inputs(made(60, corresponding=True), "val", net), SMALL, seed=3)
        save_result(result, tmp_path / name, tmp_path / f"{name}.json")
    told = load_result(tmp_path / "one")
    assert [figure["name"] for figure in told["figures"]] == [
        "correspondence_faces", "correspondence_delta",
    ]  # fmt: skip
    assert all(figure["width"] >= 800 and figure["alt"] for figure in told["figures"])
    assert told["arrays"]["layer5_delta"]["shape"] == [8, 7]
    for path in (tmp_path / "one").rglob("*.*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()


# -------------------------------------------------------------------------------------- choosing
def test_groups_are_disjoint_of_one_class_and_start_with_the_one_to_draw(net):
    whole = Inputs(made(90, corresponding=True), "val", net)
    found, _ = correspondence._faces_of_split(whole, SMALL)
    chosen = choose(found, net, SMALL, 0)
    rows = np.concatenate([group.rows for group in chosen.groups])
    assert len(set(rows.tolist())) == len(rows) == 60
    assert not chosen.pooled
    assert [group.name for group in chosen.groups[:3]] == ["dog", "cat", "dog"]
    for group in chosen.groups:
        assert {found.groups[row] for row in group.rows} == {group.name}
    limited = choose(found, net, Options(**{**vars(SMALL), "max_groups": 4}), 0)
    assert len(limited.groups) == 4
    assert limited.why.count("left over when groups were full") == 40


def test_too_few_for_disjoint_groups_are_pooled_and_told(net):
    whole = Inputs(made(27, corresponding=True), "val", net)  # nine of each class
    result = study(whole, SMALL)
    assert result.extra["overlapping"]
    assert [len(group) for group in result.extra["groups"]] == [9, 9]
    assert "images were resampled" in result.text
    assert "bootstrap over images" in result.metrics["layer5_random"].note
    assert result.metrics["layer5_parts_minus_random"].high < 0
    few = study(Inputs(made(12, corresponding=True), "val", net), SMALL)  # four of each
    assert few.metrics == {}
    assert "8: fewer than 5 faces of its class" in few.text
    mixed = Options(**{**vars(SMALL), "by_class": False})
    assert study(Inputs(made(12, corresponding=True), "val", net), mixed).metrics


def test_training_images_are_listed_and_left_out(net):
    options = Options(**{**vars(SMALL), "split": "train"})
    result = study(Inputs(made(60, corresponding=True), "train", net), options)
    assert result.metrics == {}
    assert len(result.extra["in_training_set"]) == 40
    kept = Options(**{**vars(options), "keep_training": True})
    result = study(Inputs(made(60, corresponding=True), "train", net), kept)
    assert result.metrics
    assert "They were trained on." in result.text
    net.provenance = {"adopted": "other.pt"}
    result = study(Inputs(made(60, corresponding=True), "val", net), SMALL)
    assert "trained elsewhere" in result.text
    assert result.tables["images"].rows[0][4] == "not known"


def test_faces_whose_parts_cannot_be_hidden_one_by_one_are_left_out():
    eyes = np.array([[20.0, 30.0], [20.0, 22.0], [40.0, 26.0]])
    assert faces.unfit(eyes, PX, 12) == ""
    assert "too small" in faces.unfit(eyes, PX, 18)
    assert "outside" in faces.unfit(eyes + 30, PX, 12)


def test_classes_can_be_named(net):
    whole = Inputs(made(60, corresponding=True), "val", net)
    only = Options(**{**vars(SMALL), "classes": ("cat",)})
    assert {row[1] for row in study(whole, only).tables["images"].rows} == {"cat"}
    with pytest.raises(UserError, match="no class 'bird'"):
        study(whole, Options(**{**vars(SMALL), "classes": ("bird",)}))


# ------------------------------------------------------------------------------ squares and fills
def test_squares_keep_their_size_at_the_border():
    corners = faces.squares(np.array([[0.0, 63.0], [32.0, 31.4]]), PX, 8)
    assert corners.tolist() == [[0, 56], [28, 27]]


def test_free_places_touch_no_part():
    corners = np.array([[3, 5], [10, 0]])
    free = faces.free_places(corners, 16, 4, None)
    for y in range(13):
        for x in range(13):
            apart = all(abs(y - a) >= 4 or abs(x - b) >= 4 for a, b in corners.tolist())
            assert free[y, x] == apart
    boxed = faces.free_places(corners, 16, 4, np.array([8.0, 4.0, 16.0, 12.0]))
    ys, xs = np.nonzero(boxed)
    assert ys.min() + 2 >= 8
    assert xs.min() + 2 >= 4
    assert xs.max() + 2 < 12
    assert not (boxed & ~free).any()


def test_shared_places_are_free_in_every_image():
    rng = np.random.default_rng(0)
    corners = [np.array([[4, 4]]), np.array([[20, 10]]), np.array([[9, 30]])]
    free = [faces.free_places(own, 40, 6, None) for own in corners]
    zero = np.zeros((3, 2), np.int64)
    anchors = np.array([[0, 0], [5, -3], [-2, 4]])
    for at in (zero, anchors):
        drawn = faces.draw_shared(free, at, 50, rng)
        assert drawn.shape == (3, 50, 2)
        for i in range(3):
            assert free[i][drawn[i, :, 0], drawn[i, :, 1]].all()
            assert np.array_equal(drawn[i] - at[i], drawn[0] - at[0])
    with pytest.raises(UserError, match="no place is left"):
        faces.draw_own(np.zeros((5, 5), bool), 2, rng)


@pytest.mark.parametrize(("fill", "value"), [("grey", 128.0), ("zero", 0.0), ("mean", 50.0)])
def test_only_the_square_is_filled(net, fill, value):
    whole = Inputs(made(3, corresponding=True), "val", net)
    raw = torch.full((1, 3, PX, PX), 50, dtype=torch.uint8)
    clean, hidden = hide(whole, raw, np.array([[[3, 7], [0, 0]]]), 5, fill)
    assert hidden.shape == (1, 2, 3, PX, PX)
    changed = torch.zeros(PX, PX, dtype=torch.bool)
    changed[3:8, 7:12] = True
    assert (hidden[0, 0][:, changed] == value).all()
    assert (hidden[0, 0][:, ~changed] == clean[0][:, ~changed]).all()


# ------------------------------------------------------------------------------------- inference
def matrix(n, value):
    return np.full((n, n), value) - np.eye(n) * value


def test_intervals_rest_on_groups_or_on_images():
    means = [0.1, 0.2, 0.4, 0.3]
    told = estimate([matrix(5, m) for m in means], False, 0, "x")
    assert told.value == pytest.approx(0.25)
    assert told.n == 20
    half = 3.182446 * np.std(means, ddof=1) / 2
    assert told.high == pytest.approx(0.25 + half, rel=1e-5)
    even = estimate([matrix(6, 0.3)], True, 0, "x")
    assert (even.value, even.low, even.high) == pytest.approx((0.3, 0.3, 0.3))
    # one image unlike the others: resampled with itself it would count pairs of distance 0
    odd = matrix(6, 0.2)
    odd[0, 1:] = odd[1:, 0] = 0.8
    told = estimate([odd], True, 0, "x")
    assert told.value == pytest.approx((10 * 0.2 + 5 * 0.8) / 15)
    assert told.low == pytest.approx(0.2)
    assert told.value < told.high < 0.8
    odd[0, 1:] = odd[1:, 0] = np.nan
    assert estimate([odd], True, 0, "x").value == pytest.approx(0.2)


def test_means_over_conditions_skip_what_is_missing():
    pairs = np.stack([matrix(3, 0.2), matrix(3, 0.6)])
    pairs[1, 0, 1] = np.nan
    assert mean_of(pairs, [0, 1])[0, 1] == 0.2
    assert mean_of(pairs, [0, 1])[1, 2] == pytest.approx(0.4)


def distances_of(signs):
    """(n, C, D) signs to (n, C, n, C)."""
    flat = signs.reshape(-1, signs.shape[2])
    n, c = signs.shape[:2]
    return (flat[:, None] != flat[None]).mean(2).reshape(n, c, n, c)


def test_the_permutation_test_tells_both_directions():
    rng = np.random.default_rng(0)
    signs = rng.integers(-1, 2, (4, 5, 6, 60))
    alike = signs.copy()
    alike[:, :, 0] = alike[:, :1, 0]  # the part changes all images of a group alike
    low = permutation_p([distances_of(s) for s in alike], [0], [1, 2, 3, 4, 5], 199, 0)
    assert low == pytest.approx(1 / 200)
    alike = signs.copy()
    alike[:, :, 1:] = alike[:, :1, 1:]  # random places do
    assert permutation_p([distances_of(s) for s in alike], [0], [1, 2, 3, 4, 5], 199, 0) > 0.99


def test_pairs_that_cannot_be_compared_never_help_a_finding():
    distance = np.full((5, 3, 5, 3), 0.5)
    distance[:, 0, :, 0] = 0.1
    assert permutation_p([distance], [0], [1, 2], 99, 0) < 0.1
    distance[:, 0, :, 1:] = distance[:, 1:, :, 0] = np.nan  # shuffled, hardly any pair is left
    assert permutation_p([distance], [0], [1, 2], 99, 0) > 0
    distance[:, 0, :, 0] = np.nan
    assert np.isnan(permutation_p([distance], [0], [1, 2], 99, 0))


def test_the_permutation_test_keeps_its_level():
    # Squares that differ only by chance; images differ in how much they change (more zeros).
    rng = np.random.default_rng(1)
    values = []
    for seed in range(150):
        signs = rng.integers(-1, 2, (5, 4, 30)) * (rng.random((5, 1, 30)) < rng.random((5, 1, 1)))
        values.append(permutation_p([distances_of(signs)], [0], [1, 2, 3], 99, seed))
    values = np.array(values)
    assert 0.02 < (values <= 0.1).mean() < 0.19
    assert 0.4 < values.mean() < 0.6


# ----------------------------------------------------------------------------------- own photos
def photo(path, marks, size=(90, 120), seed=0):
    """A noise photo (height, width) with a white pixel block at each (x, y)."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 120, (*size, 3)).astype(np.uint8)
    for x, y in marks:
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    Image.fromarray(image).save(path)
    return image


@pytest.fixture
def album(tmp_path):
    """Six photos with marked parts, and the JSON list."""
    entries = []
    for i in range(6):
        at = {"left_eye": [40 + i, 30], "right_eye": [70 + i, 30], "nose": [55 + i, 60]}
        photo(tmp_path / f"{i}.png", at.values(), seed=i)
        entries.append({"file": f"{i}.png", "group": "dog", **at})
    file = tmp_path / "parts.json"
    file.write_text(json.dumps({"note": "by eye", "images": entries}))
    return file


def rewrite(file, change):
    found = json.loads(file.read_text())
    change(found["images"])
    file.write_text(json.dumps(found))


def test_places_follow_the_photo_into_the_net_view(album, net):
    whole = Inputs(made(3, corresponding=True), "val", net)
    found = faces.faces_of_photos(album, PARTS, whole, SIZE)
    assert found.groups == ["dog"] * 6
    for i in range(6):
        for y, x in np.floor(found.parts[i]).astype(int).tolist():
            assert (found.pixels[i, :, y, x] > 200).all()
    # 120 x 90 px: the centre square starts at x = 15; 90 px become 72, of which the net sees 64
    right = (np.array([30, 70 - 15]) * 72 / 90) - 4
    assert found.parts[0, 0].tolist() == pytest.approx(right.tolist())


def test_photos_of_the_training_set_are_found_also_mirrored(album, net):
    whole = Inputs(made(3, corresponding=True), "val", net)
    found = faces.faces_of_photos(album, PARTS, whole, SIZE)
    images = np.random.default_rng(9).integers(0, 256, (20, SIZE, SIZE, 3)).astype(np.uint8)
    view = np.s_[4 : 4 + PX, 4 : 4 + PX]
    images[7][view] = found.pixels[2].permute(1, 2, 0).numpy()
    images[11][view] = found.pixels[4].permute(1, 2, 0).numpy()[:, ::-1]
    train = Split(images, [0] * 20, {})
    answers, how = faces.in_training(found, train, PX, 0.95, 1000)
    assert answers == [False, False, True, False, True, False]
    assert "20 training images" in how
    train.ids[3] = "dogs/5.JPEG"
    answers, how = faces.in_training(found, train, PX, 0.95, 10)
    assert answers[5] is True
    assert "renamed copy" in how
    for name in range(20):
        train.ids[name] = f"other{name}.png"
    assert faces.in_training(found, train, PX, 0.95, 10)[0] == [None] * 6

    train.ids[7] = "seven.png"
    options = Options(**{**vars(SMALL), "random_draws": 2})
    result = study(whole, options, photos=album, train=train)
    assert result.extra["in_training_set"] == ["2.png", "4.png"]
    assert result.metrics == {}  # four are left
    result = study(
        whole, Options(**{**vars(options), "keep_training": True}), photos=album, train=train
    )
    assert result.metrics["layer5_random"].n == 6
    assert result.extra["in_training_set"] == ["2.png", "4.png"]
    assert result.extra["photos"] == "parts.json"
    assert 'The list of photos says: "by eye".' in result.text
    unknown = study(whole, options, photos=album)
    assert "is not known" in unknown.text
    assert unknown.metrics["layer5_random"].n == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[1].pop("nose"), r'images\[1\] \(1\.png\): "nose" is missing'),
        (lambda e: e[0].update(nose=[1, "a"]), r'"nose" must be \[x, y\]'),
        (lambda e: e[0].update(nose=[1]), r'"nose" must be \[x, y\]'),
        (lambda e: e[0].update(nose=[float("nan"), 1]), r'"nose" must be \[x, y\]'),
        (lambda e: e[0].update(nose=[120, 5]), r"lies outside the photo of 120 x 90 px"),
        (lambda e: e[0].update(left_eye=[90, 30]), "as seen in the picture"),
        (lambda e: e[0].update(file="no.png"), "no such file"),
        (lambda e: e[0].pop("file"), 'needs "file"'),
        (lambda e: e[0].update(group=3), '"group" must be a name'),
        (lambda e: e[1].update(file="0.png"), "listed twice"),
        (lambda e: e.clear(), "one entry a photo"),
    ],
)
def test_faults_of_the_list_are_named(album, net, change, message):
    rewrite(album, change)
    whole = Inputs(made(3, corresponding=True), "val", net)
    with pytest.raises(UserError, match=message):
        faces.faces_of_photos(album, PARTS, whole, SIZE)


def test_a_broken_photo_and_a_broken_list_are_named(album, net):
    whole = Inputs(made(3, corresponding=True), "val", net)
    (album.parent / "3.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"3\.png: not an image"):
        faces.faces_of_photos(album, PARTS, whole, SIZE)
    album.write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        faces.faces_of_photos(album, PARTS, whole, SIZE)


def test_the_list_is_found_below_the_data_folder(album, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "mine.json").write_text("{}")
    assert faces.find_photos(tmp_path, "mine.json") == tmp_path / "raw" / "mine.json"
    assert faces.find_photos(tmp_path, "parts.json") == album
    assert faces.find_photos(tmp_path, str(album)) == album
    with pytest.raises(UserError, match=r"study\.correspondence\.photos=none\.json"):
        faces.find_photos(tmp_path, "none.json")


# --------------------------------------------------------------------------------------- options
def test_faulty_options_are_named():
    for wrong, message in (
        ({"fill": "green"}, "fill=green"),
        ({"zeros": "none"}, "zeros=none"),
        ({"random": "any"}, "random=any"),
        ({"group_size": 2}, "group_size=2"),
        ({"overlap": 0}, "overlap=0"),
        ({"parts": ("nose", "nose")}, "each part once"),
    ):
        with pytest.raises(UserError, match=message):
            Options(**wrong)


def test_the_square_scales_with_the_input():
    assert Options().pixels(224) == 32
    assert Options().pixels(128) == 18
    assert Options().pixels(128, 40) == 23


def test_the_stage_reads_only_what_it_declares(net, album, tmp_path, monkeypatch):
    import yaml

    from zfnet.pipeline.compose import StageConfig, find_root

    defaults = (find_root() / "conf/study/correspondence.yaml").read_text(encoding="utf-8")
    section = {**yaml.safe_load(defaults), "permutations": 99, "random_draws": 2}
    assert Options.read(StageConfig(section, None, "x")) == Options(permutations=99, random_draws=2)
    data = made(60, corresponding=True)
    monkeypatch.setattr(inputs, "load_net", lambda folder: net)
    monkeypatch.setattr(inputs.Prepared, "open", lambda folder: data)
    section |= {"photos": album.name, "size": 16, "sensitivity_sizes": []}
    paths = SimpleNamespace(net=tmp_path, prepared=tmp_path, data_root=album.parent)
    whole = {"seed": 0, "device": "cpu", "data": {}, "study": {"correspondence": section}}
    cfg = StageConfig(whole, ["study.correspondence", "seed", "device"], "correspondence")
    result = correspondence.run(cfg, paths)
    assert result.extra["photos"] == "parts.json"
    assert result.metrics["layer7_random"].n == 6
