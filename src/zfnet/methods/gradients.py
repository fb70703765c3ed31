"""From a unit back to the pixels: gradient, deconvnet, guided backprop.

The three differ in the rule on the rectifiers alone (`rules.py`) and share one call shape. Pools
pass down by their adjoint, which for a max pool is the recorded switch, exact also where windows
overlap; convolutions and linear layers by their transpose; biases play no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict, Unpack

import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods._forward import (
    Layer,
    UnsupportedModel,
    check_images,
    expanded,
    indices,
    layer_path,
    output_of,
)
from zfnet.methods.rules import (
    Lrn,
    Rule,
    Unsupported,
    inspect_graph,
    rectifier_rule,
    refuse_unsupported,
)

Layers = Layer | Sequence[Layer]
Units = int | Tensor
Places = Tensor | Literal["all"] | None


class Projection(TypedDict, total=False):
    """What every projection may be asked, by keyword; `project` says what each means."""

    places: Places
    values: float | Tensor | None
    lrn: Lrn
    unsupported: Unsupported
    batch_size: int


def deconvnet(
    model: nn.Module, images: Tensor, layer: Layers, units: Units, **options: Unpack[Projection]
) -> Tensor:
    """Project one unit per image back to the pixels (Zeiler & Fergus 2014, section 2.1).

    All activations of `layer` but the chosen one are set to zero; then down: unpool by the
    switches, rectify, filter with the transposed weights. Arguments, result and errors are those
    of `project`.
    """
    return project(model, images, layer, units, rule="deconvnet", **options)


def guided_backprop(
    model: nn.Module, images: Tensor, layer: Layers, units: Units, **options: Unpack[Projection]
) -> Tensor:
    """As `deconvnet`, but the rectifiers keep their forward mask too (Springenberg et al. 2015)."""
    return project(model, images, layer, units, rule="guided", **options)


def gradient(
    model: nn.Module, images: Tensor, layer: Layers, units: Units, **options: Unpack[Projection]
) -> Tensor:
    """The derivative of a unit with respect to the pixels (Simonyan et al. 2014, section 3).

    The call is that of `deconvnet`, starting from 1 and with LRN's true derivative by default;
    defined for any model. With the last layer and a class as unit, `saliency` of the result is the
    paper's class saliency map.
    """
    given: Projection = {"values": 1.0, "lrn": "jacobian", "unsupported": "plain"}
    given.update(options)
    return project(model, images, layer, units, rule="plain", **given)


def saliency(gradients: Tensor) -> Tensor:
    """The largest magnitude over the channels: (N, C, H, W) → (N, H, W), ≥ 0 (Simonyan et al.)."""
    return gradients.abs().amax(dim=1)


def project(
    model: nn.Module,
    images: Tensor,
    layer: Layers,
    units: Units,
    *,
    rule: Rule,
    places: Places = None,
    values: float | Tensor | None = None,
    lrn: Lrn = "identity",
    unsupported: Unsupported = "error",
    batch_size: int = 32,
) -> Tensor:
    """Project one unit per image back to the pixels by any `rule` of `rules.py`.

    images: net input (N, C, H, W), float. One image with several `units` stands for each of them.
    layer: module path (`path#1`: the second time that module runs in a pass), or the paper's number
    where the model defines it; or a sequence (N,) of these, one for each unit.
    units: map (or unit of a linear layer) for each image: an int or integers (N,).
    places: None: the strongest place of the map; integers (N, 2): row and column; "all": the whole
    map. values: what to start from, a number or (N,); None: the activation itself.
    lrn: how local response normalisation passes down: "identity" or its true "jacobian".
    batch_size: images that are projected together.

    Returns (N, C, H, W) in units of the net input. A map that is dead gives exact zeros.
    Raises `UnsupportedModel` where the rule is not defined; `unsupported="plain"` passes such
    operations as plain gradient.
    """
    check_images(images)
    units = indices(units, "units", images.device)
    if units.ndim > 1:
        raise UserError("units must be an int or integers (N,), one per image")
    layers = [layer] if isinstance(layer, str | int) else list(layer)
    paths = [layer_path(model, one) for one in layers]
    n = max(images.shape[0], units.numel(), len(paths))
    if images.shape[0] not in (1, n) or units.numel() not in (1, n) or len(paths) not in (1, n):
        told = f" and {len(paths)} layers" if len(paths) != 1 else ""
        raise UserError(f"{images.shape[0]} images, {units.numel()} units{told} do not pair up")
    images = images.expand(n, -1, -1, -1)
    units = units.expand(n)
    place = _places(places, n, images.device)
    value = None
    if values is not None:
        value = expanded(torch.as_tensor(values, dtype=images.dtype).to(images), (n,), "values")
    format_ = torch.channels_last  # faster than contiguous on CPUs and GPUs alike
    result = torch.empty_like(images, memory_format=format_)
    for path in dict.fromkeys(paths):
        rows = torch.tensor([i for i in range(n) if paths[i % len(paths)] == path])
        for part in rows.to(images.device).split(batch_size):
            # Out of inference mode: tensors made there cannot take part in a gradient.
            with torch.inference_mode(False), torch.enable_grad():
                leaf = images[part].detach().clone(memory_format=format_).requires_grad_()
                with rectifier_rule(model, rule, lrn=lrn, unsupported="plain") as found:
                    # A copy, so that a model whose first act is in place does not meet a leaf.
                    output = output_of(model, path, leaf.clone())
                if rule != "plain":
                    inspect_graph(output, found)
                    if unsupported == "error":
                        refuse_unsupported(model, found)
                if not output.requires_grad:
                    raise UnsupportedModel(
                        f"layer {path!r} is not connected to the image by autograd: the model "
                        "detaches its tensors or turns gradients off before it"
                    )
                at = place[part] if isinstance(place, Tensor) else place
                start = None if value is None else value[part]
                seed = _seed(output.detach(), path, units[part], at, start)
                # Not autograd.grad(output, leaf, seed): it imports sympy, seconds on first use.
                (down,) = torch.autograd.grad((output * seed).sum(), leaf)
            result[part] = down
    return result


def _places(places: Places, n: int, device: torch.device) -> Places:
    if places is None or (isinstance(places, str) and places == "all"):
        return places
    if not isinstance(places, Tensor) or places.shape[-1:] != (2,) or places.is_floating_point():
        raise UserError('places must be None, "all" or integers (N, 2): row and column')
    return expanded(places.to(device), (n, 2), "places")


def _seed(
    output: Tensor, layer: str, units: Tensor, places: Places, values: Tensor | None
) -> Tensor:
    """What to start from at the layer: `output` (n, C, …) with all but the chosen units zeroed."""
    if output.ndim not in (2, 4):
        raise UnsupportedModel(
            f"layer {layer!r} gives a tensor of shape {tuple(output.shape)}; "
            "only maps (N, C, H, W) and vectors (N, C) have units to project"
        )
    n, channels = output.shape[:2]
    low, high = int(units.min()), int(units.max())
    if low < 0 or high >= channels:
        raise UserError(f"layer {layer!r} has units 0..{channels - 1}; asked for {low}..{high}")
    rows = torch.arange(n, device=output.device)
    grid = output if output.ndim == 4 else output[:, :, None, None]
    maps = grid[rows, units]  # (n, H, W)
    seed = torch.zeros_like(grid)
    if isinstance(places, str):
        seed[rows, units] = (
            maps if values is None else values.to(maps)[:, None, None].expand_as(maps)
        )
    else:
        y, x = _strongest(maps) if places is None else places.unbind(1)
        inside = (y >= 0) & (y < maps.shape[1]) & (x >= 0) & (x < maps.shape[2])
        if not inside.all():
            raise UserError(f"the maps of layer {layer!r} are {maps.shape[1]} x {maps.shape[2]}")
        seed[rows, units, y, x] = maps[rows, y, x] if values is None else values.to(maps)
    return seed.reshape(output.shape)


def _strongest(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of the largest value of each map (n, H, W); the first where tied."""
    flat = maps.flatten(1).argmax(dim=1)
    return flat // maps.shape[2], flat % maps.shape[2]
