"""What maps do over many images: how often they are zero, in how few places they are active.

Measures of a rectifier's output. Images stream by: of each two numbers a layer are kept, of each
map its extremes. `upper_bounds` asks the weights alone, for every picture that there can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods._forward import UnsupportedModel, listening, run_until_heard, undisturbed

STRETCH = 4  # images whose entropies are taken at a time, in double precision


@dataclass(frozen=True)
class Activity:
    """One layer of C maps, of (h, w) places each, over N images.

    zeros (N,): share of an image's activations that are exactly 0. locality (N,): mean over the
    maps active in the image, see `locality`; NaN where none is, or maps have one place. highest,
    lowest (C,): over all images and places.
    """

    zeros: Tensor
    locality: Tensor
    highest: Tensor
    lowest: Tensor
    places: tuple[int, int]

    @property
    def rectified(self) -> bool:
        """Whether nothing was below 0: elsewhere no zero means silence."""
        return bool((self.lowest >= 0).all())

    @property
    def silent(self) -> Tensor:
        """(C,) bool: maps that none of the images activates anywhere."""
        return self.highest <= 0

    @property
    def always_on(self) -> Tensor:
        """(C,) bool: maps active at every place of every image: linear, as far as one can see."""
        return self.lowest > 0


def zeros(maps: Tensor) -> Tensor:
    """Share of activations (N, C, …) that are exactly 0, of each image: (N,)."""
    flat = maps.flatten(1)
    return 1 - flat.count_nonzero(1) / flat.shape[1]


def locality(maps: Tensor) -> Tensor:
    """How few places hold the activity of maps (N, C, h, w) ≥ 0: (N, C), 0..1.

    One minus the entropy of a map's activity over its places as a share of the largest possible: 0
    where all places are equally active, 1 where one is. NaN where none is, and for a single place.
    """
    flat = maps.flatten(2).double()
    share = flat / flat.sum(2, keepdim=True)
    count = torch.tensor(float(flat.shape[2]), dtype=torch.float64, device=maps.device)
    return 1 - torch.special.entr(share).sum(2) / count.log()


@torch.no_grad()
def activity(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], layers: Sequence[str]
) -> dict[str, Activity]:
    """The activity of `layers` over all images of `batches`, in one pass.

    batches: (net input (n, 3, H, W), anything), as a study's inputs come. Raises UserError without
    images, UnsupportedModel for a layer whose output is neither (N, C) nor (N, C, h, w).
    """
    paths = list(dict.fromkeys(layers))
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {path: [] for path in paths}
    ends: dict[str, tuple[Tensor, Tensor]] = {}
    places: dict[str, tuple[int, int]] = {}

    def hear(path: str, output: Tensor) -> None:
        if output.ndim not in (2, 4):
            raise UnsupportedModel(f"layer {path!r} gives {tuple(output.shape)}, no maps or units")
        maps = output if output.ndim == 4 else output[:, :, None, None]
        places[path] = int(maps.shape[2]), int(maps.shape[3])
        local = torch.full((len(maps),), torch.nan)
        if maps[0, 0].numel() > 1:
            few = maps.split(STRETCH)
            local = torch.cat([locality(part.clamp(min=0)).nanmean(1).float() for part in few])
        parts[path].append((zeros(maps).cpu(), local.cpu()))
        high, low = maps.amax((0, 2, 3)).float().cpu(), maps.amin((0, 2, 3)).float().cpu()
        if path in ends:
            high, low = high.maximum(ends[path][0]), low.minimum(ends[path][1])
        ends[path] = high, low

    with undisturbed(model), listening(model, paths, hear):
        for images, _ in batches:
            run_until_heard(model, images, paths)
    if not ends:
        raise UserError("no images to measure activations of")
    found = {}
    for path in paths:
        share, local = (torch.cat(part) for part in zip(*parts[path], strict=True))
        found[path] = Activity(share, local, *ends[path], places[path])
    return found


# -------------------------------------------------------------------------- by the weights alone
@torch.no_grad()
def upper_bounds(modules: Mapping[str, nn.Module], low: Tensor, high: Tensor) -> dict[str, Tensor]:
    """What each rectifier of a chain receives at most, whatever the picture: (C,) float64 each.

    modules: one after another, as the input passes them, by name. low, high (3,): limits of the net
    input, low ≤ 0 ≤ high, as convolutions may be padded with zeros. The bound is interval
    arithmetic: the first layer's is nearly reached, those above grow, so that a bound ≤ 0 proves a
    map dead and a larger one proves nothing. Raises UnsupportedModel for a module that is none of
    convolution, linear layer, ReLU, max pool, contrast normalisation, flatten and dropout.
    """
    low, high = low.double().cpu(), high.double().cpu()
    found = {}
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d | nn.Linear):
            low, high = _through(module, low, high)
        elif isinstance(module, nn.ReLU):
            found[name] = high
            low, high = low.clamp(min=0), high.clamp(min=0)
        elif isinstance(module, nn.LocalResponseNorm) and module.k > 0:
            # the divisor is at least k^beta
            low, high = low.clamp(max=0) / module.k**module.beta, high / module.k**module.beta
        elif not isinstance(module, nn.MaxPool2d | nn.Flatten | nn.Dropout):
            raise UnsupportedModel(
                f"{name} is a {type(module).__name__}, for which no bound is known"
            )
    return found


def _through(module: nn.Conv2d | nn.Linear, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The limits (C,) behind a layer of weights from those before it."""
    weight = module.weight.detach().double().cpu()
    if isinstance(module, nn.Conv2d):
        taps = weight.flatten(2)  # (C, I / groups, k·k)
        own = taps.shape[1]
        group = torch.arange(len(taps)) // (len(taps) // module.groups)
        inputs = group[:, None] * own + torch.arange(own)
    else:  # columns of one map lie side by side
        taps = weight.view(len(weight), len(low), -1)
        inputs = torch.arange(len(low)).expand(len(weight), -1)
    plus, minus = taps.clamp(min=0).sum(2), taps.clamp(max=0).sum(2)
    bias = torch.zeros(len(taps)) if module.bias is None else module.bias.detach().cpu()
    upper = (plus * high[inputs] + minus * low[inputs]).sum(1) + bias.double()
    lower = (plus * low[inputs] + minus * high[inputs]).sum(1) + bias.double()
    return lower, upper
