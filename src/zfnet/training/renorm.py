"""The paper's filter rule (section 3): no convolution filter grows beyond a fixed RMS."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SLACK = 1e-6  # a filter that was just scaled back is not "above" by rounding


@torch.no_grad()
def rescale_filters(weights: Sequence[Tensor], limit: float | None) -> tuple[Tensor, Tensor]:
    """Scale every filter whose RMS is above `limit` back to exactly that RMS, in place.

    A filter is the part of a weight (maps, inputs, k, k) that makes one map; its RMS is taken over
    inputs × k × k (Zeiler & Fergus 2014, section 3, limit 0.1). Filters at or below the limit keep
    their bits. `limit` None only measures. Returns (number of filters scaled back, int64; largest
    RMS before scaling, float32) as 0-d tensors on the weights' device: nothing waits for a GPU.
    """
    counts: list[Tensor] = []
    largest: list[Tensor] = []
    for weight in weights:
        rms = weight.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        largest.append(rms.max())
        if limit is not None:
            above = rms > limit * (1 + SLACK)
            weight.mul_(torch.where(above, limit / rms, torch.ones_like(rms)))
            counts.append(above.sum())
    scaled = torch.stack(counts).sum() if counts else largest[0].new_zeros((), dtype=torch.int64)
    return scaled, torch.stack(largest).max()
