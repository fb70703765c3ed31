"""The bundle that every study receives: a model with its input size, normalisation and names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.models.convnet import ConvNet
from zfnet.models.spec import nearest

MEAN_IMAGE, STANDARDISE = "mean_image", "standardise"


class Normalise(nn.Module):
    """Pixels 0..255 → net input, and back.

    "mean_image" (the paper's, section 3): pixels minus the training set's per-pixel mean, itself
    (3, S, S) and cropped and flipped as the images were; the range stays about −128..128.
    "standardise" (torchvision's models): (pixels / 255 − mean) / std per channel.
    Make one with `Normalise.mean_image` or `Normalise.standardise`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kind: str, input_px: int, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.kind = kind
        self.input_px = input_px
        self.register_buffer("mean", mean.to(torch.float32), persistent=False)
        self.register_buffer("std", std.to(torch.float32), persistent=False)

    @classmethod
    def mean_image(cls, mean: np.ndarray | Tensor, input_px: int) -> Normalise:
        """From the per-pixel mean (3, S, S), values 0..255. UserError if S is below `input_px`."""
        mean = torch.as_tensor(mean)
        if mean.ndim != 3 or mean.shape[0] != 3 or mean.shape[1] != mean.shape[2]:
            raise UserError(f"mean image: expected shape (3, S, S), found {tuple(mean.shape)}")
        if mean.shape[1] < input_px:
            raise UserError(
                f"input_px: the net takes {input_px} px but the data was prepared at "
                f"{mean.shape[1]} px; prepare it at {input_px} px or more, or lower input_px"
            )
        return cls(MEAN_IMAGE, input_px, mean, torch.ones(3))

    @classmethod
    def standardise(cls, mean: list[float], std: list[float], input_px: int) -> Normalise:
        """From the mean and standard deviation of each channel, for pixels scaled to 0..1."""
        return cls(STANDARDISE, input_px, torch.tensor(mean), torch.tensor(std))

    def forward(
        self, pixels: Tensor, offset: Tensor | None = None, flip: Tensor | None = None
    ) -> Tensor:
        """Pixels 0..255 (N, 3, input_px, input_px), uint8 or float → float32 net input, same shape.

        offset: (N, 2) whole numbers, top and left of each crop in the prepared image; None: centre.
        flip: (N,) bool, crops mirrored left to right after cropping; None: none.
        Raises UserError for images of another size.
        """
        self._check(pixels)
        if self.kind == STANDARDISE:
            return (pixels.float() / 255 - _per_channel(self.mean)) / _per_channel(self.std)
        return pixels.float() - self._mean_under(offset, flip)

    def inverse(self, x: Tensor) -> Tensor:
        """Net input of centre crops → pixels 0..255, float and not clipped."""
        self._check(x)
        if self.kind == STANDARDISE:
            return (x * _per_channel(self.std) + _per_channel(self.mean)) * 255
        return x + self._mean_under(None, None)

    def _mean_under(self, offset: Tensor | None, flip: Tensor | None) -> Tensor:
        """The part of the mean image under each crop: (N or 1, 3, px, px)."""
        px, size = self.input_px, self.mean.shape[1]
        if offset is None:
            start = (size - px) // 2
            under = self.mean[None, :, start : start + px, start : start + px]
            if flip is None:
                return under
            return torch.where(flip.to(under.device).view(-1, 1, 1, 1), under.flip(3), under)
        y, x = offset.to(self.mean.device, torch.int64).unbind(1)
        if flip is None:
            mirrored = torch.zeros_like(x)
        else:  # a mirrored crop lies on the mirrored mean, counted from its other side
            mirrored = flip.to(x)
            x = torch.where(mirrored.bool(), size - px - x, x)
        both = torch.stack([self.mean, self.mean.flip(2)])
        windows = both.unfold(2, px, 1).unfold(3, px, 1)  # view (2, 3, rows, columns, px, px)
        return windows.permute(0, 2, 3, 1, 4, 5)[mirrored, y, x]

    def _check(self, x: Tensor) -> None:
        px = self.input_px
        if x.ndim != 4 or tuple(x.shape[1:]) != (3, px, px):
            raise UserError(
                f"the net takes images of shape (N, 3, {px}, {px}), found {tuple(x.shape)}; crop "
                "them to its input_px first"
            )


@dataclass
class Net:
    """A model in evaluation mode and everything needed to feed it and read it.

    classes: names of the outputs. class_index: data label → output, −1 where the net does not know
    the class; None where outputs are the data's classes. taps: "5.relu" → module path, by the
    paper's layer numbers. rebuild: how `load_net` makes the model again. provenance: free, plain.
    """

    model: nn.Module
    input_px: int
    normalise: Normalise
    classes: list[str]
    name: str
    arch: str
    taps: dict[str, str]
    class_index: np.ndarray | None = None
    rebuild: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def tap(self, layer: int | str, kind: str = "relu") -> str:
        """Module path of the tap `kind` ("conv", "relu", "out" …) of a layer of the paper.

        `layer` may also be a whole tap ("5.out") or a module path of the model. Raises UserError
        with the taps that there are.
        """
        key = str(layer)
        for candidate in (f"{key}.{kind}", key):
            if candidate in self.taps:
                return self.taps[candidate]
        if key and not key.isdigit() and key in dict(self.model.named_modules()):
            return key
        if key in tuple("12345") and not any(tap[0] in "12345" for tap in self.taps):
            raise UserError(
                f"{self.name} ({self.arch}) has no feature maps to number as layers; name a module "
                'with layers={1: "module.path"}, or use a convolutional net'
            )
        raise UserError(
            f"{self.name} ({self.arch}) has no tap {key}.{kind}"
            f"{nearest(f'{key}.{kind}', self.taps)} It has {', '.join(self.taps)}"
        )

    def to(self, device: str | torch.device) -> Net:
        """Move model and normalisation to `device`, in place; returns itself."""
        self.model.to(device)
        self.normalise.to(device)
        return self

    def outputs_for(self, labels: np.ndarray) -> np.ndarray:
        """Output index (N,) int64 for data labels (N,); −1 where the net has no such class."""
        labels = np.asarray(labels, dtype=np.int64)
        return labels if self.class_index is None else self.class_index[labels]


def convnet_net(
    model: ConvNet,
    mean: np.ndarray | Tensor,
    classes: list[str],
    name: str,
    provenance: dict[str, Any] | None = None,
) -> Net:
    """Bundle one of our nets with the per-pixel mean (3, S, S), 0..255, of its training data."""
    spec = model.spec
    if len(classes) != spec.num_classes:
        raise UserError(
            f"{name}: {len(classes)} class names for the {spec.num_classes} outputs of its spec"
        )
    return Net(
        model=model.eval(),
        input_px=spec.input_px,
        normalise=Normalise.mean_image(mean, spec.input_px),
        classes=list(classes),
        name=name,
        arch=spec.arch,
        taps=dict(model.taps),
        rebuild={"kind": "convnet", "spec": spec.to_dict()},
        provenance=dict(provenance or {}),
    )


def _per_channel(values: Tensor) -> Tensor:
    return values.view(1, 3, 1, 1)
