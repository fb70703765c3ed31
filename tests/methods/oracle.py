"""An explicit deconvnet, layer by layer, for nets that are one chain of modules.

Written for the tests alone and sharing nothing with the library: unpooling is a scatter-add of the
recorded positions, filtering is `conv_transpose2d`, the rest is spelled out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def chain(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """(path, module) of the leaves, in order, with the flattening that torchvision's nets do."""
    steps = [(name, m) for name, m in model.named_modules() if not list(m.children())]
    if not any(isinstance(m, nn.Flatten) for _, m in steps):
        first = next(i for i, (name, _) in enumerate(steps) if name.startswith("classifier"))
        steps.insert(first, ("flatten", nn.Flatten()))
    return steps


def explicit_deconvnet(
    steps: list[nn.Module],
    images: Tensor,
    units: list[int],
    *,
    rule: str = "deconvnet",
    place: tuple[int, int] | None = None,
    value: float | None = None,
) -> Tensor:
    """Up through `steps`, keep one activation of unit `units[i]` per image, and down again."""
    steps = [nn.ReLU() if isinstance(step, nn.ReLU) else step for step in steps]  # out of place
    inputs, switches, x = [], [], images
    for step in steps:
        inputs.append(x)
        indices = None
        if isinstance(step, nn.MaxPool2d):
            x, indices = F.max_pool2d(
                x, step.kernel_size, step.stride, step.padding, step.dilation,
                ceil_mode=step.ceil_mode, return_indices=True,
            )  # fmt: skip
        elif not isinstance(step, nn.Dropout):
            x = step(x)
        switches.append(indices)
    down = torch.zeros_like(x)
    for i, unit in enumerate(units):
        chosen = x[i, unit].reshape(-1)
        at = int(chosen.argmax()) if place is None else place[0] * x.shape[3] + place[1]
        down[i, unit].view(-1)[at] = chosen[at] if value is None else value
    for step, before, indices in zip(
        reversed(steps), reversed(inputs), reversed(switches), strict=True
    ):
        down = one_down(step, before, indices, down, rule)
    return down


def one_down(
    step: nn.Module, before: Tensor, indices: Tensor | None, down: Tensor, rule: str
) -> Tensor:
    """One step of the way down; `before` is what the step was given on the way up."""
    if isinstance(step, nn.Conv2d):
        extra = [
            (n + 2 * p - (d * (k - 1) + 1)) % s
            for n, p, d, k, s in zip(
                before.shape[2:], step.padding, step.dilation, step.kernel_size, step.stride,
                strict=True,
            )
        ]  # fmt: skip
        return F.conv_transpose2d(
            down, step.weight, None, step.stride, step.padding, extra, step.groups, step.dilation
        )
    if isinstance(step, nn.ReLU):
        if rule in ("deconvnet", "guided"):
            down = torch.where(down > 0, down, torch.zeros_like(down))
        if rule in ("plain", "guided"):
            down = torch.where(before > 0, down, torch.zeros_like(down))
        return down
    if isinstance(step, nn.MaxPool2d):
        up = torch.zeros_like(before).flatten(2)
        return up.scatter_add(2, indices.flatten(2), down.flatten(2)).view_as(before)
    if isinstance(step, nn.AdaptiveAvgPool2d):
        up = torch.zeros_like(before)
        rows, cols = down.shape[2:]
        h, w = before.shape[2:]
        for r in range(rows):
            y0, y1 = r * h // rows, -(-(r + 1) * h // rows)
            for c in range(cols):
                x0, x1 = c * w // cols, -(-(c + 1) * w // cols)
                share = down[:, :, r, c] / ((y1 - y0) * (x1 - x0))
                up[:, :, y0:y1, x0:x1] += share[:, :, None, None]
        return up
    if isinstance(step, nn.Flatten):
        return down.view_as(before)
    if isinstance(step, nn.Linear):
        return down @ step.weight
    if isinstance(step, (nn.Dropout, nn.Identity, nn.LocalResponseNorm)):
        return down
    raise AssertionError(f"the oracle does not know {step}")
