import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from zfnet.errors import UserError
from zfnet.figures import correspondence as telling
from zfnet.models.net import Net, Normalise
from zfnet.pipeline.options import checked
from zfnet.pipeline.studies import Correspondence
from zfnet.report.study import page
from zfnet.results import Results, save
from zfnet.stats.estimate import Estimate, text
from zfnet.studies import base, correspondence, faces
from zfnet.studies.base import Inputs
from zfnet.studies.correspondence import choose, hide, measure, pixels
from zfnet.studies.pairs import mean_of, pair_mean, spread_of

SIZE, PX = 72, 64
PARTS = ("right_eye", "left_eye", "nose")
SMALL = Correspondence(size=28)  # 8 of 64 px
DRAWS = 4


def small(**changes):
    return SMALL.model_copy(update=changes)


def inputs_of(data, net, split="val"):
    return Inputs(data, split, net, torch.device("cpu"))


def study(cfg, inputs):
    """The study on the faces of the split, none of them trained on."""
    trained = None if inputs.adopted else inputs.split_name == "train"
    found = faces.faces_of_split(inputs, cfg.parts, cfg.classes, trained)
    return correspondence.study(cfg, inputs, found, {})


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(correspondence, "PERMUTATIONS", 99)
    monkeypatch.setattr(correspondence, "DRAWS", DRAWS)


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


# -------------------------------------------------------------------------------- whole results
def test_marks_that_every_face_shares_score_below_random_places(net):
    result = study(SMALL, inputs_of(made(90, corresponding=True), net))
    for layer in (5, 7):
        for name in PARTS:
            assert result.estimates[f"layer{layer}_{name}"].value == 0
        assert 0.3 < result.estimates[f"layer{layer}_random"].value < 0.7
        gap = result.estimates[f"layer{layer}_parts_minus_random"]
        assert gap.high < -0.3
        assert (gap.n, gap.freedom) == (60, 11)  # 12 disjoint groups
        assert result.estimates[f"layer{layer}_parts_p"].value == pytest.approx(0.01)
    assert result.estimates["gap_first_minus_last_layer"].value == pytest.approx(0)
    assert result.facts["classes"] == ["dog", "cat"]
    rows = result.tables["table1"].records()
    assert [row["hidden"] for row in rows[:5]] == [*PARTS, "random", "parts"]
    assert rows[4]["minus_random"] == result.estimates["layer5_parts_minus_random"].value


def test_marks_without_a_common_sign_score_above_random_places(net):
    result = study(SMALL, inputs_of(made(90, corresponding=False), net))
    assert result.estimates["layer5_random"].value == 0
    assert result.estimates["layer5_parts_minus_random"].low > 0.1
    assert result.estimates["layer5_parts_p"].value == 1


def test_one_choice_is_changed_at_a_time_on_the_same_faces(net):
    result = study(SMALL, inputs_of(made(90, corresponding=True), net))
    rows = result.tables["sensitivity"].records()
    assert [(row["choice"], row["setting"], row["layer"]) for row in rows] == [
        (choice, setting, layer)
        for choice, setting in (
            ("measured", None), ("size", 7), ("size", 11), ("zeros", "both"), ("zeros", "chance"),
            ("places", "shared"), ("places", "face"),
        )
        for layer in (5, 7)
    ]  # fmt: skip
    assert {row["images"] for row in rows} == {30}


def test_scores_are_those_of_the_formula(net):
    whole = inputs_of(made(30, corresponding=True), net)
    found = faces.faces_of_split(whole, PARTS, None, False)
    chosen = choose(SMALL, found, PX)
    one = measure(SMALL, whole, found, chosen.groups, 8)[0]
    rows = chosen.groups[0]
    clean, hidden = hide(whole, found.pixels[rows], one.corners, 8)
    signs = (clean.mean((2, 3))[:, None] - hidden.mean((3, 4))).sign()
    pairs = one.pairs((5, "out", "third"))
    for c in range(3 + DRAWS):
        differing = [
            float((signs[i, c] != signs[j, c]).float().mean())
            for i in range(5) for j in range(5) if i != j
        ]  # fmt: skip
        delta = pair_mean([mean_of(pairs, [c])] * 2, False, 0, "").value
        assert delta == pytest.approx(np.mean(differing))
        spread = np.std([differing[k] for k in (0, 1, 2, 3, 5, 6, 7, 10, 11, 15)], ddof=1)
        assert spread_of(pairs, [c]) == pytest.approx(spread, abs=1e-6)


def test_without_parts_nothing_is_measured(net):
    data = made(12, corresponding=True)
    data.split("val").parts = {}
    result = study(SMALL, inputs_of(data, net))
    assert not result.estimates
    assert not result.facts["measured"]


def test_result_is_whole_and_its_bytes_repeat(net, tmp_path):
    for name in ("one", "two"):
        result = study(small(seed=3), inputs_of(made(60, corresponding=True), net))
        save(result, tmp_path / name, tmp_path / f"{name}.json")
    found = Results(tmp_path / "one", tmp_path)
    assert found.array("faces").shape == (5, PX, PX, 3)
    assert found.array("faces_corners").shape == (5, 5, 2)
    for path in (tmp_path / "one").rglob("*.*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()


# -------------------------------------------------------------------------------------- choosing
def test_groups_are_disjoint_of_one_class_and_start_with_the_one_to_draw(net):
    whole = inputs_of(made(90, corresponding=True), net)
    found = faces.faces_of_split(whole, PARTS, None, False)
    chosen = choose(SMALL, found, PX)
    rows = np.concatenate(chosen.groups)
    assert len(set(rows.tolist())) == len(rows) == 60
    assert not chosen.pooled
    assert [found.groups[group[0]] for group in chosen.groups[:3]] == ["dog", "cat", "dog"]
    for group in chosen.groups:
        assert len({found.groups[row] for row in group}) == 1
    limited = choose(small(max_groups=4), found, PX)
    assert len(limited.groups) == 4
    assert limited.why.count("left_over") == 40


def test_too_few_for_disjoint_groups_are_pooled(net):
    result = study(SMALL, inputs_of(made(27, corresponding=True), net))  # nine of each class
    assert result.facts["pooled"]
    groups = result.tables["images"].column("group")
    assert (groups.count(0), groups.count(1)) == (9, 9)
    assert result.estimates["layer5_parts_minus_random"].high < 0
    assert result.estimates["layer5_parts_minus_random"].df is None
    few = study(SMALL, inputs_of(made(12, corresponding=True), net))  # four of each
    assert not few.estimates
    assert few.facts["excluded"] == {"few": 8}


def test_training_images_are_listed_and_left_out(net):
    trained = inputs_of(made(60, corresponding=True), net, "train")
    result = study(SMALL, trained)
    assert not result.estimates
    assert result.facts["excluded"] == {"training": 40}
    assert result.tables["images"].column("trained") == [True] * 40
    assert study(small(keep_training=True), trained).estimates
    net.provenance = {"adopted": "other.pt"}
    result = study(SMALL, inputs_of(made(60, corresponding=True), net))
    assert result.facts["adopted"]
    assert set(result.tables["images"].column("trained")) == {None}


def test_faces_whose_parts_cannot_be_hidden_one_by_one_are_left_out():
    eyes = np.array([[20.0, 30.0], [20.0, 22.0], [40.0, 26.0]])
    assert faces.unfit(eyes, PX, 12) == ""
    assert faces.unfit(eyes, PX, 18) == "small"
    assert faces.unfit(eyes + 30, PX, 12) == "outside"


def test_classes_can_be_named(net):
    whole = inputs_of(made(60, corresponding=True), net)
    only = study(small(classes=("cat",)), whole)
    assert set(only.tables["images"].column("class")) == {"cat"}
    with pytest.raises(UserError, match="no class 'bird'"):
        study(small(classes=("bird",)), whole)


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
        faces.draw_places(np.zeros((5, 5), bool), 2, rng)


def test_only_the_square_is_filled(net):
    whole = inputs_of(made(3, corresponding=True), net)
    raw = torch.full((1, 3, PX, PX), 50, dtype=torch.uint8)
    clean, hidden = hide(whole, raw, np.array([[[3, 7], [0, 0]]]), 5)
    assert hidden.shape == (1, 2, 3, PX, PX)
    changed = torch.zeros(PX, PX, dtype=torch.bool)
    changed[3:8, 7:12] = True
    assert (hidden[0, 0][:, changed] == 128).all()
    assert (hidden[0, 0][:, ~changed] == clean[0][:, ~changed]).all()


# ------------------------------------------------------------------------------------- inference
def matrix(n, value):
    return np.full((n, n), value) - np.eye(n) * value


def test_intervals_rest_on_groups_or_on_images():
    means = [0.1, 0.2, 0.4, 0.3]
    mean = pair_mean([matrix(5, m) for m in means], False, 0, "x")
    assert mean.value == pytest.approx(0.25)
    assert (mean.n, mean.freedom) == (20, 3)
    half = 3.182446 * np.std(means, ddof=1) / 2
    assert mean.high == pytest.approx(0.25 + half, rel=1e-5)
    even = pair_mean([matrix(6, 0.3)], True, 0, "x")
    assert (even.value, even.low, even.high) == pytest.approx((0.3, 0.3, 0.3))
    # one image unlike the others: resampled with itself it would count pairs of distance 0
    odd = matrix(6, 0.2)
    odd[0, 1:] = odd[1:, 0] = 0.8
    mean = pair_mean([odd], True, 0, "x")
    assert mean.value == pytest.approx((10 * 0.2 + 5 * 0.8) / 15)
    assert mean.low == pytest.approx(0.2)
    assert mean.value < mean.high < 0.8
    assert mean_of(np.stack([odd, matrix(6, 0.6)]), [0, 1])[0, 1:3] == pytest.approx([0.7, 0.7])
    odd[0, 1:] = odd[1:, 0] = np.nan
    assert mean_of(np.stack([odd, matrix(6, 0.6)]), [0, 1])[0, 1] == 0.6
    assert pair_mean([odd], True, 0, "x").value == pytest.approx(0.2)


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


def faces_of(file, net):
    photos, _ = faces.read_photos(file, PARTS)
    return faces.faces_of_photos(file, photos, inputs_of(made(3, corresponding=True), net))


def with_copies(found, plain, mirrored):
    """Twenty random prepared images, of which two are views of faces, one in a mirror."""
    images = np.random.default_rng(9).integers(0, 256, (20, SIZE, SIZE, 3)).astype(np.uint8)
    view = np.s_[4 : 4 + PX, 4 : 4 + PX]
    images[7][view] = found.pixels[plain].permute(1, 2, 0).numpy()
    images[11][view] = found.pixels[mirrored].permute(1, 2, 0).numpy()[:, ::-1]
    return images


def test_places_follow_the_photo_into_the_net_view(album, net):
    found = faces_of(album, net)
    assert found.groups == ["dog"] * 6
    for i in range(6):
        for y, x in np.floor(found.parts[i]).astype(int).tolist():
            assert (found.pixels[i, :, y, x] > 200).all()
    # 120 x 90 px: the centre square starts at x = 15; 90 px become 72, of which the net sees 64
    right = (np.array([30, 70 - 15]) * 72 / 90) - 4
    assert found.parts[0, 0].tolist() == pytest.approx(right.tolist())


def test_photos_of_the_training_set_are_found_also_mirrored(album, net, monkeypatch):
    found = faces_of(album, net)
    train = Split(with_copies(found, 2, 4), [0] * 20, {})
    assert faces.in_training(found, train, PX) == [False, False, True, False, True, False]
    monkeypatch.setattr(faces, "NAMES_ABOVE", 10)
    train.ids = [f"other{name}.png" for name in range(20)]
    assert faces.in_training(found, train, PX) == [None] * 6
    train.ids[3] = "dogs/5.JPEG"
    assert faces.in_training(found, train, PX) == [None] * 5 + [True]


def test_the_stage_reads_the_photos_and_compares_them_with_the_training_set(
    album, net, tmp_path, monkeypatch
):
    data = Set(Split(with_copies(faces_of(album, net), 2, 4), [0] * 20, {}))
    monkeypatch.setattr(base, "load_net", lambda folder: net)
    monkeypatch.setattr(base.Prepared, "open", lambda folder: data)
    paths = SimpleNamespace(net=tmp_path, prepared=tmp_path, data_root=album.parent, share=(0, 1))
    cfg = small(photos=album.name, device="cpu")
    result = correspondence.run(cfg, paths)
    assert result.tables["images"].column("trained") == [i in (2, 4) for i in range(6)]
    assert not result.estimates  # four are left
    result = correspondence.run(cfg.model_copy(update={"keep_training": True}), paths)
    assert result.estimates["layer7_random"].n == 6
    assert result.facts["photos"] == "parts.json"
    assert result.facts["photos_note"] == "by eye"


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
    listed = json.loads(album.read_text())
    change(listed["images"])
    album.write_text(json.dumps(listed))
    with pytest.raises(UserError, match=message):
        faces_of(album, net)


def test_a_broken_photo_and_a_broken_list_are_named(album, net):
    (album.parent / "3.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"3\.png: not an image"):
        faces_of(album, net)
    album.write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        faces_of(album, net)


def test_the_list_is_found_below_the_data_folder(album, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "mine.json").write_text("{}")
    assert faces.find_photos(tmp_path, "mine.json") == tmp_path / "raw" / "mine.json"
    assert faces.find_photos(tmp_path, "parts.json") == album
    assert faces.find_photos(tmp_path, str(album)) == album
    with pytest.raises(UserError, match=r"study\.correspondence\.photos=none\.json"):
        faces.find_photos(tmp_path, "none.json")


@pytest.mark.parametrize("parts", [["nose", "nose"], ["random"]])
def test_parts_have_rows_of_their_own(parts):
    with pytest.raises(UserError, match="name each once"):
        checked(Correspondence, {"parts": parts}, "study.correspondence")


def test_the_square_scales_with_the_input():
    assert [pixels(32, 224), pixels(32, 128), pixels(40, 128)] == [32, 18, 23]


# --------------------------------------------------------------------------------------- telling
@pytest.fixture
def saved(net, root, tmp_path):
    """Saves a measurement with other estimates and facts; by default that of shared marks."""
    measured = study(SMALL, inputs_of(made(60, corresponding=True), net))

    def results(measurement=measured, estimates=(), **facts):
        changed = replace(
            measurement,
            estimates={**measurement.estimates, **dict(estimates)},
            facts={**measurement.facts, **facts},
        )
        save(changed, tmp_path / "correspondence", tmp_path / "correspondence.json")
        return Results(tmp_path / "correspondence", root)

    return results


def test_table_1_stands_with_the_papers_and_faces_are_drawn(saved):
    results = saved()
    shown = telling.tables(results)
    rows = shown["table1"].rows(results.tables["table1"])
    assert [row[-1] for row in rows[:5]] == [
        "0.067 ± 0.007", "0.069 ± 0.007", "0.079 ± 0.017", "0.107 ± 0.017", "–",
    ]  # fmt: skip
    assert rows[8][-1] == "0.073 ± 0.014"
    figures = {figure.name: figure.draw() for figure in telling.figures(results)}
    assert figures[telling.CARD].width <= 1200
    axes = figures["correspondence_delta"].axes
    assert [axis.get_title() for axis in axes] == ["layer 5", "layer 7"]


def test_each_hidden_square_is_outlined(net, saved):
    one = study(small(parts=("nose",)), inputs_of(made(60, corresponding=True), net))
    corners = np.full((1, 1, 2), (8, 16))
    faces = np.zeros((1, PX, PX, 3), np.uint8)
    results = saved(replace(one, arrays={"faces": faces, "faces_corners": corners}))
    sheet = np.asarray(telling.figures(results)[0].draw())
    ys, xs = np.nonzero((sheet[..., 0] > 200) & (sheet[..., 1] < 100))
    assert ys.min() - 44 == pytest.approx(220 * 8 / PX, abs=1)
    assert xs.min() - (220 + 6 + 16) == pytest.approx(220 * 16 / PX, abs=1)
    assert xs.max() - xs.min() == pytest.approx(220 * 8 / PX, abs=2)


@pytest.mark.parametrize(
    ("gap", "answer"), [(-0.03, "more alike"), (0.03, "less alike"), (0.0, "as much alike")]
)
def test_the_page_answers_by_the_interval(saved, gap, answer):
    found = Estimate(gap, gap - 0.01, gap + 0.01)
    changed = {f"layer{layer}_parts_minus_random": found for layer in (5, 7)}
    words = page("correspondence", saved(estimates=changed))
    assert words.count(answer) == 2
    assert text(found, places=3) in words
    assert "6 of 6 at layer 5 and 6 of 6 at layer 7" in words
    assert "0.067, 0.069, 0.079 against 0.107" in words
    assert "None" not in words.replace("None of them was trained on", "")


def test_the_page_names_the_photos_or_why_nothing_was_measured(net, saved):
    more = {"photos": "mine.json", "photos_note": "by eye", "training_images": 90, "by_name": True}
    words = page("correspondence", saved(pooled=True, **more))
    assert "“by eye”" in words
    assert "90 training images" in words
    few = study(SMALL, inputs_of(made(12, corresponding=True), net))
    assert "8 of classes" in page("correspondence", saved(few))
    results = saved(replace(few, tables={}), excluded={})
    assert "study.correspondence.photos" in page("correspondence", results)
    assert not telling.figures(results)
    assert not telling.tables(results)
