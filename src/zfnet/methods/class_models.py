"""Class model images and image saliency, with the maps that saliency must beat.

Simonyan, Vedaldi & Zisserman 2014, "Deep Inside Convolutional Networks", sections 2 and 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods._forward import UnsupportedModel, check_images, expanded, indices, undisturbed
from zfnet.methods.gradients import gradient, saliency


@dataclass(frozen=True)
class ClassModels:
    """The class model images of K classes and the way to them.

    images: (K, C, H, W), pixels in grey levels, not clipped: `outside` says how much leaves 0..255.
    scores, rms: (steps + 1, K), the class score and the root mean square distance from the mean
    image in grey levels, from the start to the image returned. penalty: as asked for.
    """

    images: Tensor
    scores: Tensor
    rms: Tensor
    penalty: float

    @property
    def objective(self) -> Tensor:
        """What the ascent raises, (steps + 1, K): score − penalty · rms²."""
        return self.scores - self.penalty * self.rms**2

    @property
    def outside(self) -> Tensor:
        """Share (K,) of each image's values that lie below 0 or above 255."""
        return ((self.images < 0) | (self.images > 255)).flatten(1).double().mean(dim=1)


def class_model(
    model: nn.Module,
    classes: int | Sequence[int] | Tensor,
    mean: Tensor,
    *,
    scale: float | Tensor = 1.0,
    penalty: float = 0.01,
    steps: int = 100,
    rate: float = 0.01,
    momentum: float = 0.9,
    noise: float = 0.0,
    seed: int = 0,
    batch_size: int = 32,
) -> ClassModels:
    """For each class the image that raises its score most, by gradient ascent from the zero image.

    The objective is S_c − penalty · mean(g²): the score before the softmax, and the image's
    distance g from the mean image in grey levels. The paper's λ, for the sum of squares, is penalty
    divided by the number of values C · H · W. What λ, rate and steps it used is not stated.

    classes: K output indices; model(images) gives scores (N, outputs). mean: (C, H, W), float, the
    pixels 0..255 that the net input 0 stands for. scale: grey levels to one unit of net input, a
    number or a tensor that broadcasts to (C, H, W): 1 for a net fed with pixels minus their mean.
    rate: how far a step goes towards the best image were the score linear; 1 reaches it. With
    `momentum` 0 the ascent is plain. noise: deviation in grey levels of a Gaussian added to the
    zero image, from `seed`, the same for every class. batch_size: classes optimised together.

    Raises `UserError` for impossible arguments, where the score does not change around the start
    (rectifiers that are all off, as with biases of 0), and where it stops being a number.
    The model is left as found.
    """
    classes = indices(classes, "classes", mean.device)
    if classes.ndim > 1 or not classes.numel():
        raise UserError("classes must be an int or integers (K,), with at least one")
    if mean.ndim != 3 or not mean.is_floating_point():
        raise UserError(f"mean must be float (C, H, W); got {mean.dtype} {tuple(mean.shape)}")
    positive = all(math.isfinite(x) and x > 0 for x in (penalty, rate))
    if not positive or not 0 <= momentum < 1 or steps < 1 or not noise >= 0:
        raise UserError(
            "penalty and rate must be above 0, momentum in [0, 1), steps 1 or more, noise 0 or "
            f"more; got {penalty}, {rate}, {momentum}, {steps}, {noise}"
        )
    unit = expanded(torch.as_tensor(scale).to(mean), tuple(mean.shape), "scale")
    # Drawn on the CPU, so that all devices start from the same image.
    draw = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
    start = noise * draw.to(mean)
    best = mean.numel() / (2 * penalty)  # times the gradient: the optimum were the score linear
    parts = []
    # Out of inference mode: tensors made there cannot take part in a gradient.
    with torch.inference_mode(False), torch.enable_grad(), undisturbed(model):
        for part in classes.reshape(-1).clone().split(batch_size):
            grey = start.expand(len(part), *mean.shape).clone(memory_format=torch.channels_last)
            velocity = torch.zeros_like(grey)
            scores, rms = [], []
            for step in range(steps + 1):
                leaf = (grey / unit).requires_grad_()
                score = _scores(model, leaf, part)
                scores.append(score.detach())
                rms.append(grey.square().mean(dim=(1, 2, 3)).sqrt())
                if step == steps:
                    break
                (slope,) = torch.autograd.grad(score.sum(), leaf)
                if step == 0:
                    _refuse_flat(slope, part)
                velocity.mul_(momentum).add_(slope / unit, alpha=best).sub_(grey)
                grey.add_(velocity, alpha=rate)
            parts.append((grey + mean, torch.stack(scores), torch.stack(rms)))
    images, scores_of, rms_of = zip(*parts, strict=True)
    made = ClassModels(torch.cat(images), torch.cat(scores_of, 1), torch.cat(rms_of, 1), penalty)
    if not (made.scores.isfinite().all() and made.images.isfinite().all()):
        raise UserError("class_model: the score ran away; lower rate or momentum, or raise penalty")
    return made


def _scores(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """The score (n,) of each image's class."""
    # A copy, so that a model whose first act is in place does not meet a leaf.
    logits = model(images.clone())
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise UserError("class_model needs a model that gives scores (N, classes) in one tensor")
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= logits.shape[1]:
        raise UserError(f"classes must lie in 0..{logits.shape[1] - 1}, the model's outputs")
    if not logits.requires_grad:
        raise UnsupportedModel("the scores are not connected to the image by autograd")
    return logits[torch.arange(len(classes), device=logits.device), classes]


def _refuse_flat(slope: Tensor, classes: Tensor) -> None:
    flat = classes[(slope == 0).flatten(1).all(dim=1)].tolist()
    if flat:
        raise UserError(
            f"the score of classes {flat} does not change around the start image, so that there is "
            "no way up; start beside it with noise, in grey levels"
        )


def class_saliency(
    model: nn.Module, images: Tensor, classes: int | Tensor, *, batch_size: int = 32
) -> Tensor:
    """How much each pixel can change the class score: (N, H, W), ≥ 0 (section 3 of the paper).

    The largest magnitude over the colours of the score's gradient at the image, in units of net
    input. images: net input (N, C, H, W). classes: output index, an int or (N,); model(images)
    gives scores before the softmax. Raises as `gradient`.
    """
    return saliency(gradient(model, images, "", classes, batch_size=batch_size))


def share_in_box(maps: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Share of each map that lies in its image's box, and the box's share of the area.

    maps: (N, H, W), ≥ 0; one map stands for all boxes. boxes: (N, 4), top, left, bottom, right in
    px, half-open; a pixel that a border cuts counts in part. Returns two float64 (N,), 0..1; both
    are NaN where the box is, and the first where the map is zero everywhere.
    Raises `UserError` for maps with values below 0 or not finite, and boxes that hold no pixel.
    """
    if maps.ndim != 3 or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise UserError(
            f"maps must be (N, H, W) and boxes (N, 4); got {tuple(maps.shape)} and "
            f"{tuple(boxes.shape)}"
        )
    if not (maps.isfinite() & (maps >= 0)).all():
        raise UserError("maps must hold finite values of 0 or more")
    height, width = maps.shape[1:]
    maps = expanded(maps.double(), (len(boxes), height, width), "maps")
    top, left, bottom, right = boxes.to(maps).unbind(dim=1)
    down, across = _covered(top, bottom, height), _covered(left, right, width)
    area = down.sum(dim=1) * across.sum(dim=1) / (height * width)
    if (area == 0).any():
        bad = (area == 0).nonzero().flatten()[:5].tolist()
        raise UserError(f"boxes {bad} hold no pixel of an image of {height} x {width} px")
    inside = torch.einsum("nhw,nh,nw->n", maps, down, across)
    return inside / maps.sum(dim=(1, 2)), area


def _covered(start: Tensor, end: Tensor, length: int) -> Tensor:
    """How much (N, length) of each pixel lies between `start` and `end` (N,), 0..1."""
    pixel = torch.arange(length, dtype=start.dtype, device=start.device)
    inside = torch.minimum(pixel + 1, end[:, None]) - torch.maximum(pixel, start[:, None])
    return inside.clamp(min=0)


def centre_prior(height: int, width: int) -> Tensor:
    """A map (1, H, W), float64, that knows nothing but that objects are in the middle.

    A Gaussian around the image's centre with a deviation of a quarter of each side; its peak is 1.
    """
    down, across = (
        torch.exp(-8 * ((torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5) ** 2)
        for n in (height, width)
    )
    return (down[:, None] * across)[None]


def edge_energy(images: Tensor) -> Tensor:
    """A map (N, H, W) that knows nothing but edges: the Sobel magnitude of images (N, C, H, W).

    Of the colours the largest, as in saliency. Scaled so that a ramp of 1 a pixel gives 1; give it
    pixels, as net input may hold the edges of a mean image. The image's border is no edge.
    """
    check_images(images)
    smooth, slope = torch.tensor([0.25, 0.5, 0.25]), torch.tensor([-0.5, 0.0, 0.5])
    across = smooth[:, None] * slope
    kernels = torch.stack([across, across.T])[:, None].to(images)
    n, colours, height, width = images.shape
    planes = F.pad(images.reshape(n * colours, 1, height, width), (1, 1, 1, 1), mode="replicate")
    magnitude = torch.linalg.vector_norm(F.conv2d(planes, kernels), dim=1)
    return magnitude.view(n, colours, height, width).amax(dim=1)
