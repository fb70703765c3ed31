import math

import pytest
import torch
from torch import nn

from zfnet.errors import UserError
from zfnet.methods.correspondence import change_signs, sign_distance

A = torch.tensor([[1, 1, -1, 0, 0, 0, 0, 0]], dtype=torch.int8)
B = torch.tensor([[1, -1, 0, 1, 0, 0, 0, 0]], dtype=torch.int8)


@pytest.mark.parametrize(
    ("zeros", "expected"),
    [
        ("third", 3 / 8),  # the second, third and fourth feature differ
        ("both", 1 / 2),  # only the first two changed in both
        # unrelated: 2·2 + 1·1 + 5·5 = 30 of 64 pairs agree
        ("chance", (3 / 8) / (1 - 30 / 64)),
    ],
)
def test_the_three_ways_to_count_zeros(zeros, expected):
    assert float(sign_distance(A, B, zeros)) == pytest.approx(expected)
    assert float(sign_distance(B, A, zeros)) == pytest.approx(expected)
    assert float(sign_distance(A, A, zeros)) == 0


def test_vectors_without_a_change_compare_only_with_zeros_counted():
    none = torch.zeros_like(A)
    assert float(sign_distance(none, none)) == 0
    assert math.isnan(float(sign_distance(none, A, "both")))
    assert math.isnan(float(sign_distance(none, none, "chance")))
    with pytest.raises(UserError, match="zeros=half"):
        sign_distance(A, B, "half")


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.second = nn.Linear(2 * 36, 3)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)).flatten(1))


def test_only_features_within_reach_change_and_their_signs_are_those_of_the_difference():
    torch.manual_seed(1)
    model = Twice().train()
    clean = torch.rand(2, 1, 6, 6)
    hidden = clean[:, None].repeat(1, 3, 1, 1, 1)
    hidden[:, 1, :, 2, 2] = 5.0
    hidden[:, 2] = 0.0
    signs = change_signs(model, clean, hidden, ["first", "second"])
    assert signs["first"].shape == (2, 3, 72)
    assert signs["second"].shape == (2, 3, 3)
    assert not signs["first"][:, 0].any()  # nothing was hidden
    assert not signs["second"][:, 0].any()
    reached = signs["first"][:, 1].view(2, 2, 6, 6) != 0
    assert reached[:, :, 1:4, 1:4].all()
    assert reached.sum() == 2 * 2 * 9
    with torch.no_grad():
        change = (model.first(clean) - model.first(hidden[:, 2])).flatten(1)
    assert torch.equal(signs["first"][:, 2], change.sign().to(torch.int8))
    assert model.training  # left as it was
    assert not model._forward_pre_hooks


def test_noise_of_the_arithmetic_is_no_change():
    model = nn.Sequential(nn.Identity())
    clean = torch.ones(1, 1, 4, 4)
    hidden = torch.stack([clean + 3e-7, clean + 1e-4], 1)
    signs = change_signs(model, clean, hidden, ["0"])["0"]
    assert not signs[0, 0].any()
    assert (signs[0, 1] == -1).all()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="variants of the images"):
        change_signs(nn.Identity(), torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8), [""])
