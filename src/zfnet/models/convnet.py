"""Builds the nets of `spec`: blocks named layer1 to layer8, numbered as in the paper."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from zfnet.models import spec as specs
from zfnet.models.spec import Conv, NetSpec, Norm


class ConvNet(nn.Module):
    """The net of `spec`, with torch's default weights until `init_weights` or a state dict.

    Children layer1 … layer8 hold conv or linear, relu, pool, norm, dropout as the spec has them, in
    the order in which they run. `taps` maps "1.relu", "5.out" … to module paths. No ReLU works in
    place, so that hooks see what each module put out.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.taps = specs.taps(spec)
        received = specs.inputs_of(spec)
        for number in spec.numbers:
            self.add_module(f"layer{number}", _block(spec, number, received[number]))

    def forward(self, x: Tensor) -> Tensor:
        """Net input (N, 3, input_px, input_px) → logits (N, classes)."""
        for block in self.children():
            x = block(x)
        return x


def _block(spec: NetSpec, number: int, received: int) -> nn.Sequential:
    layer = spec.layer(number)
    made: OrderedDict[str, nn.Module] = OrderedDict()
    for step in specs.block_steps(spec, number):
        if isinstance(layer, Conv):
            made[step] = _conv_step(step, layer, received, spec.norm)
        elif step == "flatten":
            made[step] = nn.Flatten()
        elif step == "linear":
            made[step] = nn.Linear(received, layer.units)
        else:
            made[step] = nn.ReLU() if step == "relu" else nn.Dropout(layer.dropout)
    return nn.Sequential(made)


def _conv_step(step: str, layer: Conv, received: int, norm: Norm) -> nn.Module:
    if step == "conv":
        return nn.Conv2d(
            received, layer.maps, layer.kernel, layer.stride, layer.pad, groups=layer.groups
        )
    if step == "pool":
        assert layer.pool is not None
        return nn.MaxPool2d(layer.pool.kernel, layer.pool.stride, ceil_mode=layer.pool.ceil)
    if step == "norm":
        return ContrastNorm(norm.size, norm.alpha, norm.beta, norm.k)
    return nn.ReLU()


class ContrastNorm(nn.LocalResponseNorm):
    """torch's LocalResponseNorm, computed faster: the same formula, arguments and values."""

    def forward(self, input: Tensor) -> Tensor:
        """Maps (N, C, H, W) → the same shape."""
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha / size · Σ x²)^beta, the sum over `size` neighbouring maps; (N, C, H, W).

    torch's own takes the sum by a 3-D average pool, which was a third of a training step on a CPU
    and has no deterministic gradient on CUDA. A 1×1 convolution with a band of ones is three to
    four times as fast and deterministic.
    """
    if has_torch_function_unary(input):  # whoever overrides torch's sees this one too
        return handle_torch_function(
            local_response_norm, (input,), input, size, alpha=alpha, beta=beta, k=k
        )
    maps = input.shape[1]
    band = input.new_ones(maps, maps).triu(-(size // 2)).tril((size - 1) // 2)
    total = F.conv2d(input * input, band.view(maps, maps, 1, 1))
    divisor = total.to(torch.promote_types(total.dtype, torch.float32)) * (alpha / size) + k
    if beta == 0.75:  # x^-3/4 by roots: a power costs as much as the rest together
        root = divisor.rsqrt()
        return input * (root * root.sqrt()).to(input.dtype)
    return input * divisor.pow(-beta).to(input.dtype)


@torch.no_grad()
def init_weights(
    model: nn.Module, kind: str = "paper", *, width: float = 1.0, seed: int = 0
) -> None:
    """Draw the weights of every convolution and linear layer; biases become 0.

    "paper": N(0, 0.01²) (section 3 gives 10⁻² without naming the distribution). "scaled":
    N(0, (0.01/√width)²), for nets below paper size, where the constant never leaves chance.
    "he": N(0, 2/fan-in) (He et al. 2015). Depends on `seed` alone, not on the global
    generator or the device.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        weight = module.weight
        deviation = {
            "paper": 0.01,
            "scaled": 0.01 / math.sqrt(width),
            "he": math.sqrt(2 / math.prod(weight.shape[1:])),
        }[kind]
        # drawn contiguous on the CPU: the same numbers for any device or memory format
        weight.copy_(torch.empty(weight.shape).normal_(0, deviation, generator=generator))
        if module.bias is not None:
            module.bias.zero_()


def conv_weights(model: ConvNet) -> list[tuple[int, nn.Parameter]]:
    """(paper's layer number, filters (maps, inputs / groups, k, k)) of each convolution."""
    return [
        (number, model.get_submodule(f"layer{number}.conv").get_parameter("weight"))
        for number, layer in model.spec.layers
        if isinstance(layer, Conv)
    ]
