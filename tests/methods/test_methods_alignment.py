"""Keypoints by feature columns: shifted images, PCK and SIFT by hand, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods import UnsupportedModel, receptive_field
from zfnet.methods.alignment import (
    Columns,
    columns,
    copied,
    dense_sift,
    grey_patches,
    pck,
    relative_errors,
    transfer_keypoints,
)
from zfnet.models.convnet import ConvNet
from zfnet.models.spec import build_spec

NAN = math.nan


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def net(stride: int = 1, padding: int = 0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, stride, padding), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3, 1, padding),
        nn.ReLU(), nn.Flatten(), nn.LazyLinear(4),
    ).double()  # fmt: skip


# --------------------------------------------------------------------------------- the columns
def test_columns_are_the_layers_maps_centred_on_their_fields(unchanged):
    model = net(stride=2, padding=1)
    images = noise(5, 3, 20, 25)
    model(images)
    with unchanged(model):
        found = columns(model, images, "3", batch_size=2)
    torch.testing.assert_close(found.values, model[:4](images).detach())
    assert not found.values.requires_grad
    # 5 px at stride 2 from −1, then 3 of those from −1: 9 px at stride 2 from −3
    assert found.rows.tolist() == [1.5 + 2 * j for j in range(9)]
    assert found.cols.tolist() == [1.5 + 2 * j for j in range(12)]
    field = receptive_field(model, "3", (20, 25))
    y0, x0, y1, x1 = field.box(4, 7)  # inside, so nothing is clipped
    assert (found.rows[4], found.cols[7]) == ((y0 + y1) / 2, (x0 + x1) / 2)


def test_columns_between_places_are_those_of_dilated_convolutions(unchanged):
    model = net(stride=2)
    images = noise(3, 3, 21, 25)
    model(images)
    dense = nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.Conv2d(6, 8, 3, dilation=2), nn.ReLU()
    ).double()  # fmt: skip
    dense.load_state_dict(model[:4].state_dict())
    with unchanged(model):
        fine = columns(model, images, "3", step=1, batch_size=2)
    theirs = columns(dense, images, "3")
    assert fine.values.shape == (3, 8, 14, 18)  # the last row and column see repeated pixels
    torch.testing.assert_close(fine.values[:, :, :13, :17], theirs.values)
    assert torch.equal(fine.rows[:13], theirs.rows)
    assert torch.equal(fine.cols[:17], theirs.cols)
    for step in (0, 3, 4):
        with pytest.raises(UserError, match=f"step {step} does not divide 2 px"):
            columns(model, images, "3", step)


def test_the_column_at_a_point_is_the_nearest():
    grid = Columns(noise(2, 4, 3, 2), torch.tensor([2.0, 6.0, 10.0]), torch.tensor([1.0, 5.0]))
    points = torch.tensor([[[-9.0, 3.1], [4.0, 3.0]], [[8.5, 2.9], [99.0, 99.0]]])
    values, centres = grid.at(points)
    assert centres.tolist() == [[[2, 5], [2, 1]], [[10, 1], [10, 5]]]
    assert torch.equal(values[0, 0], grid.values[0, :, 0, 1])
    assert torch.equal(values[1, 0], grid.values[1, :, 2, 0])
    assert torch.equal(grid[torch.tensor([1])].at(points[1:])[0], values[1:])


def test_the_papers_number_names_a_layer():
    model = ConvNet(build_spec("zfnet", num_classes=3, width=0.1, input_px=64))
    images = noise(1, 3, 64, 64).float()
    by_number, by_path = (columns(model, images, layer) for layer in (3, "layer3.relu"))
    assert torch.equal(by_number.values, by_path.values)
    assert (by_number.rows.diff() == 16).all()


class Everywhere(nn.Module):
    """Each place sees all of the image, by a norm over its places."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.GroupNorm(2, 4)
        self.uneven = nn.AdaptiveAvgPool2d(4)
        self.one = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        self.uneven(self.conv(x))
        return self.one(self.norm(self.conv(x)))


@pytest.mark.parametrize(
    ("layer", "why"),
    [("norm", "no spatial map"), ("one", "no spatial map"), ("uneven", "no.* regular grid")],
)
def test_layers_without_a_spatial_map_are_refused(layer, why):
    with pytest.raises(UnsupportedModel, match=f"'{layer}'.*{why}"):
        columns(Everywhere(), noise(1, 3, 13, 13).float(), layer)


def test_vectors_unknown_layers_and_no_numbers_are_refused():
    model = net()
    model(noise(1, 3, 12, 12))
    with pytest.raises(UnsupportedModel, match="no spatial map: 1 x 1 places"):
        columns(model, noise(1, 3, 12, 12), "5")
    with pytest.raises(UserError, match="no layer '9'"):
        columns(model, noise(1, 3, 12, 12), "9")
    with pytest.raises(UserError, match="no numbers"):
        columns(model, torch.full((1, 3, 12, 12), NAN, dtype=torch.float64), "3")


# -------------------------------------------------------------------------------- the transfer
@pytest.mark.parametrize("distance", ["cosine", "l2"])
@pytest.mark.parametrize(
    ("stride", "step", "shift"),
    [(1, None, (3, -4)), (1, None, (-1, 2)), (2, None, (4, -6)), (2, 1, (3, -5))],
)
def test_a_shifted_image_is_matched_exactly(distance, stride, step, shift):
    big = noise(3, 3, 50, 50)
    model = net(stride)
    a, b = (
        columns(model, big[:, :, y : y + 36, x : x + 36].contiguous(), "3", step)
        for y, x in ((8, 8), (8 - shift[0], 8 - shift[1]))
    )
    keypoints = torch.tensor([[14.5, 17.5], [18.0, 20.25], [21.1, 15.7], [NAN, 3.0]])
    keypoints = keypoints.double().expand(3, -1, -1)
    places, distances = transfer_keypoints(a, b, keypoints, distance=distance)
    expected = keypoints + torch.tensor(shift, dtype=torch.float64)
    assert torch.allclose(places[:, :3], expected[:, :3], rtol=0, atol=1e-12)
    assert (distances[:, :3] < 1e-12).all()
    assert places[:, 3].isnan().all()
    assert distances[:, 3].isnan().all()


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_identical_images_are_at_distance_zero(distance):
    model = net(padding=1)
    images = noise(2, 3, 24, 24)
    found = columns(model, images, "2")
    keypoints = torch.rand(2, 9, 2, dtype=torch.float64) * 24
    places, distances = transfer_keypoints(found, found, keypoints, distance=distance)
    torch.testing.assert_close(places, keypoints)
    assert torch.equal(distances, torch.zeros(2, 9, dtype=torch.float64))


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_the_neighbour_is_that_of_a_plain_search(distance):
    generator = torch.Generator().manual_seed(8)
    rows, cols = torch.arange(5.0).double() * 4 + 2, torch.arange(6.0).double() * 3 + 1
    a, b = (
        Columns(torch.rand(3, 7, 5, 6, generator=generator, dtype=torch.float64), rows, cols)
        for _ in range(2)
    )
    keypoints = torch.rand(3, 4, 2, generator=generator, dtype=torch.float64) * 18
    boxes = torch.tensor([[1, 1, 12, 12], [5, 0, 19, 9], [0, 0, 20, 18]], dtype=torch.float64)
    places, distances = transfer_keypoints(a, b, keypoints, boxes, distance)
    for i in range(3):
        for k, (y, x) in enumerate(keypoints[i].tolist()):
            r, c = int((rows - y).abs().argmin()), int((cols - x).abs().argmin())
            column = a.values[i, :, r, c].numpy()
            best = (math.inf, NAN, NAN)
            for s, row in enumerate(rows.tolist()):
                for t, col in enumerate(cols.tolist()):
                    y0, x0, y1, x1 = boxes[i].tolist()
                    if y0 <= row <= y1 and x0 <= col <= x1:
                        other = b.values[i, :, s, t].numpy()
                        cos = column @ other / np.linalg.norm(column) / np.linalg.norm(other)
                        far = 1 - cos if distance == "cosine" else np.linalg.norm(column - other)
                        best = min(best, (far, row, col))
            assert float(distances[i, k]) == pytest.approx(best[0], abs=1e-12)
            moved = (y + best[1] - float(rows[r]), x + best[2] - float(cols[c]))
            assert places[i, k].tolist() == pytest.approx(moved)


def test_columns_of_zeros_are_far_from_all_and_boxes_between_places_take_the_nearest():
    places = torch.tensor([2.0, 6.0, 10.0]).double()
    values = torch.eye(9).double().reshape(1, 9, 3, 3)
    values[..., 0, 0] = 0
    grid = Columns(values, places, places)
    points = torch.tensor([[[2.0, 2.0], [10.0, 6.0]]])
    moved, distances = transfer_keypoints(grid, grid, points)
    assert distances.tolist() == [[1, 0]]
    assert moved.tolist() == [[[2, 2], [10, 6]]]  # the first of equally far ones, and itself
    box = torch.tensor([[7.0, 0.0, 7.5, 3.0]])  # no row of places inside: 6 is the nearest
    moved, _ = transfer_keypoints(grid, grid, points, box)
    assert moved.tolist() == [[[6, 2], [6, 2]]]
    dead = Columns(torch.ones_like(values), places, places)
    assert transfer_keypoints(grid, dead, points)[1][0, 0] == 1
    assert transfer_keypoints(grid, dead, points)[1][0, 1] == pytest.approx(1 - 1 / 3)


# ------------------------------------------------------------------------------- the measures
def test_pck_by_hand():
    boxes = torch.tensor([[0.0, 0.0, 50.0, 100.0], [10.0, 10.0, 30.0, 20.0]])  # sides 100, 20
    keypoints = torch.tensor([[[10.0, 10.0]] * 4, [[12.0, 12.0]] * 3 + [[NAN, NAN]]])
    away = torch.tensor(
        [[[3.0, 4.0], [0.0, 10.0], [12.0, 16.0], [0.0, 20.5]], [[1, 0], [0, 2], [0, 9], [0, 0]]]
    )
    errors = relative_errors(keypoints + away, keypoints, boxes)
    assert errors[0].tolist() == [0.05, 0.1, 0.2, 0.205]
    assert errors[1, :3].tolist() == [0.05, 0.1, 0.45]
    assert errors[1, 3].isnan()
    shares = pck(keypoints + away, keypoints, boxes)
    expected = torch.tensor([[1 / 4, 2 / 4, 3 / 4], [1 / 3, 2 / 3, 2 / 3]], dtype=torch.float64)
    torch.testing.assert_close(shares, expected)
    unknown = torch.full_like(keypoints, NAN)
    assert pck(unknown, keypoints, boxes).isnan().all()
    assert pck(keypoints, keypoints, boxes, [0.0])[:, 0].tolist() == [1, 1]


def test_copied_coordinates_in_the_image_and_in_the_box():
    points = torch.tensor([[[10.0, 20.0], [NAN, NAN]]])
    assert torch.equal(copied(points)[:, :1], points[:, :1].double())
    a, b = torch.tensor([[0.0, 10.0, 20.0, 30.0]]), torch.tensor([[4.0, 0.0, 8.0, 40.0]])
    assert copied(points, a, b)[0, 0].tolist() == [6, 20]
    assert copied(points, a, b)[0, 1].isnan().all()


# ------------------------------------------------------------------------------- the controls
def test_grey_patches_are_the_pixels_without_their_mean():
    images = noise(2, 3, 14, 11)
    found = grey_patches(images, 4, 3)
    assert found.rows.tolist() == [2, 5, 8, 11]
    assert found.cols.tolist() == [2, 5, 8]
    patch = images[1].mean(0)[6:10, 3:7]
    torch.testing.assert_close(found.values[1, :, 2, 1], (patch - patch.mean()).flatten())
    flat = torch.full((1, 3, 8, 8), 0.1)
    assert not grey_patches(flat, 5, 1).values.any()
    assert not dense_sift(flat, 2, 1).values.any()


def ramp(degrees: float, size: int = 24) -> Tensor:
    """A picture that gets brighter towards `degrees`, clockwise from the right."""
    y, x = np.mgrid[:size, :size]
    angle = math.radians(degrees)
    return torch.tensor(math.cos(angle) * x + math.sin(angle) * y).expand(1, 3, size, size)


@pytest.mark.parametrize("turn", range(8))
def test_sift_of_a_gradient_lies_in_its_orientation(turn):
    values = dense_sift(ramp(45 * turn), 4, 2).values
    energy = values.unflatten(1, (8, 16)).square().sum(2)  # (1, 8, h, w)
    expected = torch.zeros(8, dtype=torch.float64)
    expected[turn] = 1
    expected = expected[None, :, None, None].expand_as(energy)
    torch.testing.assert_close(energy, expected, rtol=0, atol=1e-12)
    # a quarter of a turn: the same two orientations on, rounding aside
    turned = dense_sift(ramp(45 * turn + 90), 4, 2).values.unflatten(1, (8, 16))
    torch.testing.assert_close(turned, values.unflatten(1, (8, 16)).roll(2, 1))


def test_sift_of_a_gradient_between_orientations_is_shared():
    shares = dense_sift(ramp(56.25), 4, 4).values.unflatten(1, (8, 16)).sum(2)[0, :, 0, 0]
    assert shares[1] > shares[2] > 0.3 * shares[1]
    assert shares[[0, 3, 4, 5, 6, 7]].abs().max() < 1e-12
    half = dense_sift(ramp(22.5), 4, 4).values.unflatten(1, (8, 16))
    torch.testing.assert_close(half[:, 0], half[:, 1])


def test_sift_turns_with_the_picture():
    images = noise(2, 3, 26, 26)
    upright, turned = (
        dense_sift(x, 4, 2).values.unflatten(1, (8, 4, 4))
        for x in (images, images.rot90(1, (2, 3)))
    )
    # anticlockwise by 90°: the grid and the cells turn, orientations go back by two
    expected = upright.rot90(1, (4, 5)).rot90(1, (2, 3)).roll(-2, 1)
    torch.testing.assert_close(turned, expected)


@pytest.mark.parametrize("cell", [3, 4])
def test_sift_is_lowes_sum_over_pixels(cell):
    images = noise(1, 3, 20, 23)
    found = dense_sift(images, cell, 3)
    grey = images[0].mean(0).numpy()
    down, across = np.gradient(grey)
    i, j = 1, 2
    centre = float(found.rows[i]), float(found.cols[j])
    assert centre == (2 * cell + 3 * i, 2 * cell + 3 * j)
    histogram = np.zeros((8, 4, 4))
    for y, x in np.ndindex(grey.shape):
        ty, tx = (y + 0.5 - centre[0]) / cell, (x + 0.5 - centre[1]) / cell
        window = math.exp(-(ty**2 + tx**2) / 8) * math.hypot(down[y, x], across[y, x])
        turn = math.atan2(down[y, x], across[y, x]) / (math.pi / 4) % 8
        for o, r, c in np.ndindex(8, 4, 4):
            near = max(0, 1 - abs(ty - r + 1.5)) * max(0, 1 - abs(tx - c + 1.5))
            apart = min(abs(turn - o), 8 - abs(turn - o))
            histogram[o, r, c] += window * near * max(0, 1 - apart)
    histogram /= np.linalg.norm(histogram)
    histogram = histogram.clip(max=0.2)
    histogram /= np.linalg.norm(histogram)
    ours = found.values[0, :, i, j].reshape(8, 4, 4)
    torch.testing.assert_close(ours, torch.tensor(histogram), rtol=1e-10, atol=1e-12)


def test_controls_carry_the_keypoints_of_a_shifted_picture_too():
    big = noise(1, 3, 50, 50)
    a, b = big[:, :, 6:46, 6:46], big[:, :, 4:44, 9:49]
    keypoints = torch.tensor([[[20.0, 20.0], [17.0, 23.0]]])
    for control in (lambda x: grey_patches(x, 9, 1), lambda x: dense_sift(x, 4, 1)):
        places, _ = transfer_keypoints(control(a), control(b), keypoints)
        assert (places - keypoints).tolist() == [[[2, -3], [2, -3]]]


# -------------------------------------------------------------------------------- the mistakes
def test_mistakes_are_named():
    grid = grey_patches(noise(2, 3, 12, 12), 4, 4)
    points, boxes = torch.zeros(2, 3, 2), torch.tensor([[0.0, 0.0, 9.0, 9.0]] * 2)
    one = grid[torch.tensor([0])]
    for told, call in {
        "A has 2 images of 16 maps, B 1 of 16": lambda: transfer_keypoints(grid, one, points),
        "distance=dot": lambda: transfer_keypoints(grid, grid, points, distance="dot"),
        r"keypoints must be \(2, K, 2\)": lambda: transfer_keypoints(grid, grid, points[:1]),
        r"boxes must be \(2, 4\)": lambda: transfer_keypoints(grid, grid, points, boxes[:1]),
        r"\(pair 0\) has no area": lambda: pck(points, points, boxes.flip(1)),
        "no area": lambda: pck(points, points, boxes * NAN),
        r"places and keypoints must .* \(2, 3, 2\), \(2, 2, 2\)": lambda: pck(
            points, points[:, :2], boxes
        ),
        "of both images or of neither": lambda: copied(points, boxes),
        "windows of 13 px": lambda: grey_patches(noise(1, 1, 12, 12), 13, 1),
        "windows of 16 px": lambda: dense_sift(noise(1, 1, 12, 12), 4, 1),
        "every 0 px": lambda: dense_sift(noise(1, 1, 12, 12), 2, 0),
    }.items():
        with pytest.raises(UserError, match=told):
            call()
