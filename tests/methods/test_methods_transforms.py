import pytest
import torch
from torch.nn import functional as F

from zfnet.errors import UserError
from zfnet.methods.transforms import Resampler, beyond, rotations, scalings, shifts


def noise(side=13, count=2):
    return torch.rand(count, 3, side, side + 2, generator=torch.Generator().manual_seed(0)) * 255


def resample(images, matrices, size, interpolation="bilinear"):
    """Views (T, N, C, size, size) and which of their pixels lie beyond the images."""
    sides = tuple(images.shape[2:])
    views = Resampler(matrices, size, sides, interpolation=interpolation)(images)
    return views.transpose(0, 1), beyond(matrices, size, sides)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [8, 9, 13])
def test_identity_is_the_centre_crop_bit_for_bit(size, interpolation):
    images = noise()
    y, x = (13 - size) // 2, (15 - size) // 2
    same = torch.cat([shifts([0]), scalings([1]), rotations([0]), rotations([360])])
    views, outside = resample(images, same, size, interpolation=interpolation)
    for view in views:
        assert torch.equal(view, images[:, :, y : y + size, x : x + size])
    assert not outside.any()


@pytest.mark.parametrize("size", [7, 8])
def test_quarter_turns_and_whole_shifts_only_move_pixels(size):
    images = noise(12)[:, :, :, :12]
    start = (12 - size) // 2
    crop = images[:, :, start : start + size, start : start + size]
    views, outside = resample(images, rotations([90, 180, 270]), size)
    for turns, view in enumerate(views, 1):
        assert torch.equal(view, crop.rot90(turns, (2, 3)))  # counterclockwise
    assert not outside.any()
    views, outside = resample(images, shifts([2, -1]), size)
    assert torch.equal(views[0], images[:, :, start - 2 : start - 2 + size, start : start + size])
    assert torch.equal(views[1], images[:, :, start + 1 : start + 1 + size, start : start + size])
    assert not outside.any()


def test_beyond_the_image_is_told_and_shows_the_border():
    images = noise(10)[:, :, :, :10]
    moved = shifts([3, -1, -4])
    views, outside = resample(images, moved, 8)
    assert outside.sum((1, 2)).tolist() == [16, 0, 24]  # one px of margin on either side
    assert outside[0, :2].all()
    assert outside[2, 5:].all()
    assert torch.equal(views[0][:, :, 2:], images[:, :, :6, 1:9])
    assert torch.equal(views[0][:, :, :2], images[:, :, :1, 1:9].expand(2, 3, 2, 8))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_agrees_with_torchs_own_sampler(interpolation):
    images = noise(16)[:, :, :, :16]
    matrices = torch.cat([scalings([1.3]), rotations([25])])
    views, outside = resample(images, matrices, 8, interpolation=interpolation)
    assert not outside.any()
    for view, matrix in zip(views, matrices, strict=True):
        theta = matrix[:, [1, 0, 2]][[1, 0]] * 8 / 16  # x before y, in half sides of the image
        grid = F.affine_grid(theta[None].float(), (1, 3, 8, 8), align_corners=False)
        other = F.grid_sample(
            images, grid.expand(2, -1, -1, -1), interpolation, "border", align_corners=False
        )
        torch.testing.assert_close(view, other, atol=1e-2, rtol=0)


def test_blank_pixels_are_zero_and_the_others_unchanged():
    images, blank = noise() + 1, torch.zeros(1, 8, 8, dtype=torch.bool)
    blank[0, 2, 5] = True
    plain = Resampler(rotations([10]), 8, (13, 15))(images)
    cut = Resampler(rotations([10]), 8, (13, 15), blank=blank)(images)
    assert (cut[..., 2, 5] == 0).all()
    assert torch.equal(cut[..., ~blank[0]], plain[..., ~blank[0]])


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(UserError, match="nearest: choose one of bilinear, bicubic"):
        resample(noise(), shifts([0]), 8, interpolation="nearest")
