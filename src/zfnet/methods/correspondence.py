"""Do parts correspond across images? Compares how features change when a part is hidden (Table 1).

Zeiler & Fergus 2014, Fig. 8 and Table 1: ε_i = x_i − x̃_i is the change of image i's features when
a part is hidden, and Δ = Σ_{i≠j} H(sign ε_i, sign ε_j) with the Hamming distance H. The paper's
printed values fit the mean share of differing signs, so that is what these functions give: a low Δ
says that hiding the part changes the features of all images alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods._forward import check_images, listening, run_until_heard, undisturbed

ZEROS = ("third", "both", "chance")
# Changes below this share of the image's largest feature are the arithmetic's, not the picture's.
TOLERANCE = 1e-6


def change_signs(
    model: nn.Module, clean: Tensor, hidden: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Sign of the change of every feature: sign(x − x̃), int8 in {−1, 0, 1}, (N, K, D) by layer.

    clean: net inputs (N, C, H, W); hidden: K variants of each, (N, K, C, H, W); layers: module
    paths. D is the layer's number of features, maps laid out flat. An image and its variants pass
    in one batch, so that features which the hidden part cannot reach change by exactly 0; changes
    below 1e-6 of the image's largest feature count as 0.
    Raises UserError for shapes that do not belong together.
    """
    check_images(clean)
    if hidden.ndim != 5 or hidden.shape[0] != len(clean) or hidden.shape[2:] != clean.shape[1:]:
        raise UserError(
            f"hidden must be (N, K, C, H, W) variants of the images {tuple(clean.shape)}; "
            f"got {tuple(hidden.shape)}"
        )
    batch = torch.cat([clean[:, None], hidden], 1).flatten(0, 1)
    if clean.is_contiguous(memory_format=torch.channels_last):
        batch = batch.contiguous(memory_format=torch.channels_last)
    wanted = list(dict.fromkeys(layers))
    signs: dict[str, Tensor] = {}

    def keep(layer: str, output: Tensor) -> None:
        features = output.float().reshape(len(clean), hidden.shape[1] + 1, -1)
        change = features[:, :1] - features[:, 1:]
        floor = TOLERANCE * features.abs().amax((1, 2))[:, None, None]
        signs[layer] = (change.sign() * (change.abs() > floor)).to(torch.int8)

    with torch.inference_mode(), undisturbed(model), listening(model, wanted, keep):
        run_until_heard(model, batch, wanted)
    return signs


def sign_distance(a: Tensor, b: Tensor, zeros: str = "third") -> Tensor:
    """Normalised Hamming distance between sign vectors a (A, D) and b (B, D): (A, B), in 0..1.

    zeros "third": 0 is a sign of its own, as in the paper's sign(); two zeros agree, a zero and a
    non-zero differ. "both": only features that are non-zero in both are compared; NaN where there
    are none. "chance": "third" over its value for unrelated vectors with as many −1, 0 and 1 each,
    so that 1 means unrelated whatever the number of zeros; NaN where that value is 0.
    """
    if zeros not in ZEROS:
        raise UserError(f"zeros={zeros}: choose one of {', '.join(ZEROS)}")
    same = sum(_together(a == sign, b == sign) for sign in (-1, 1))
    if zeros != "both":
        distance = 1 - (same + _together(a == 0, b == 0)) / a.shape[1]
        return distance if zeros == "third" else distance / (1 - _rates(a) @ _rates(b).T)
    compared = _together(a != 0, b != 0)
    return (compared - same) / compared  # 0 / 0 is NaN


def _rates(a: Tensor) -> Tensor:
    """Shares of −1, 0 and 1 of each vector: (A, 3) float."""
    return torch.stack([(a == sign).float().mean(1) for sign in (-1, 0, 1)], 1)


def _together(a: Tensor, b: Tensor) -> Tensor:
    """How often both hold: (A, D) and (B, D) bool to (A, B) float."""
    return a.float() @ b.float().T
