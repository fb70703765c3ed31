"""Slide an occluder over images and watch the class, a feature map and the top label."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods._forward import (
    Layer,
    UnsupportedModel,
    check_images,
    expanded,
    indices,
    layer_path,
    listening,
    undisturbed,
)
from zfnet.progress import progress as progress_bar

Fill = Literal["grey", "mean", "zero", "blur", "noise"] | Tensor


@dataclass(frozen=True)
class OcclusionMaps:
    """What N images gave with the occluder at each of R × C places.

    probability, logit: float (N, R, C), of the asked class; label: int64 (N, R, C), the most
    probable output; activity: float (N, R, C), the sum over the asked map, or None.
    rows (R,), cols (C,): top-left pixel of each place. size: (height, width) of the occluder.
    clean_*: (N,), the same without occluder. unit: int64 (N,), the map watched, or None.
    """

    probability: Tensor
    logit: Tensor
    label: Tensor
    unit: Tensor | None
    rows: Tensor
    cols: Tensor
    size: tuple[int, int]
    image_size: tuple[int, int]
    clean_probability: Tensor
    clean_logit: Tensor
    clean_label: Tensor
    activity: Tensor | None = None
    clean_activity: Tensor | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """What is known of the images and of each place, by its name here; labels as int32."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: v.cpu().numpy() for name, v in named.items() if isinstance(v, Tensor)}
        return {
            name: value.astype(np.int32) if value.dtype.kind == "i" else value
            for name, value in arrays.items()
        }


def occluder_places(length: int, size: int, stride: int) -> Tensor:
    """First pixels of the places along one axis: every `stride` from 0, the last at the border.

    Every pixel is covered as long as stride ≤ size. Raises `UserError` otherwise.
    """
    if not 1 <= size <= length:
        raise UserError(f"an occluder of {size} px does not fit into {length} px")
    if not 1 <= stride <= size:
        raise UserError(f"stride {stride} leaves pixels uncovered: it must lie in 1..{size} (size)")
    starts = list(range(0, length - size + 1, stride))
    if starts[-1] != length - size:
        starts.append(length - size)
    return torch.tensor(starts)


def occlude(
    model: nn.Module,
    images: Tensor,
    *,
    classes: int | Tensor,
    size: int | tuple[int, int],
    stride: int | tuple[int, int],
    fill: Fill = "grey",
    layer: Layer | None = None,
    unit: int | Tensor | Literal["strongest"] | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> OcclusionMaps:
    """Probability, logit, label and map activity for every place of an occluder (Fig. 7).

    images: net input (N, C, H, W), float; model(images) gives logits (N, classes).
    classes: output index whose probability is asked, an int or (N,).
    size, stride: of the occluder in pixels, a number or (down, across). Places lie every `stride`
    from the top-left corner, and a last row and column flush with the border: all is covered.
    fill, in units of the net input: "grey" and "zero": 0, which for a net fed with mean-subtracted
    pixels is the mean; "mean": the image's own mean colour; "blur": the image blurred, sigma =
    size/4; "noise": Gaussian with the image's own mean and deviation per channel, from `seed`; or a
    tensor that broadcasts to (N, C, H, W) (a colour: (C, 1, 1)).
    layer, unit: also sum up the map `unit` (int, (N,)) of `layer` (module path, or the paper's
    number where the model defines it); "strongest" (default where a layer is named): the map
    whose total is largest on the clean image.
    batch_size: occluded images in one pass; None: a size that suits the device.

    Raises `UserError` for impossible sizes, classes or units. The model is left as found.
    """
    check_images(images)
    n, _, height, width = images.shape
    down, across = (size, size) if isinstance(size, int) else size
    step_y, step_x = (stride, stride) if isinstance(stride, int) else stride
    rows = occluder_places(height, down, step_y)
    cols = occluder_places(width, across, step_x)
    classes = expanded(indices(classes, "classes", images.device), (n,), "classes")
    if unit is not None and layer is None:
        raise UserError("occlude: `unit` needs the `layer` whose map it is")
    path = None if layer is None else layer_path(model, layer)
    batch_size = batch_size or (256 if images.is_cuda else 64)

    with torch.inference_mode(), undisturbed(model):
        hearing, run = _passes(model, path)
        with hearing:
            copy = images.clone(memory_format=torch.channels_last)
            started = time.perf_counter()
            clean = [run(part) for part in copy.split(batch_size)]
            seconds = (time.perf_counter() - started) / n
            spoilt = not torch.equal(copy, images)  # a model that writes into its own input
            logits = torch.cat([logits for logits, _ in clean])
            if int(classes.min()) < 0 or int(classes.max()) >= logits.shape[1]:
                raise UserError(
                    f"classes must lie in 0..{logits.shape[1] - 1}, the model's outputs"
                )
            totals = [maps for _, maps in clean if maps is not None]
            maps = torch.cat(totals) if totals else None
            units = _units(unit, maps, path)
            filling = _fill(images, fill, (down, across), seed)
            batches: Iterator[tuple[Tensor, Tensor]] = _occluded(
                images, filling, rows, cols, (down, across), batch_size, spoilt
            )
            if progress:
                count = n * len(rows) * len(cols)
                print(
                    f"occlude: {len(rows)} x {len(cols)} places x {n} images = {count} forward "
                    f"passes, about {count * seconds:.0f} s",
                    file=sys.stderr,
                )
                total = -(-count // batch_size)
                batches = progress_bar(batches, total=total, desc="occlude", unit="batch")
            places = [
                _values(*run(batch), classes[owners], None if units is None else units[owners])
                for owners, batch in batches
            ]
    shape = (n, len(rows), len(cols))
    each = [torch.cat(parts).view(shape) for parts in zip(*places, strict=True)]
    whole = _values(logits, maps, classes, units)
    names = ("probability", "logit", "label", "activity")[: len(each)]
    values = dict(zip(names, each, strict=True))
    values |= {f"clean_{name}": value for name, value in zip(names, whole, strict=True)}
    return OcclusionMaps(
        **values, unit=units, rows=rows, cols=cols, size=(down, across), image_size=(height, width)
    )


def _passes(
    model: nn.Module, layer: str | None
) -> tuple[AbstractContextManager[None], Callable[[Tensor], tuple[Tensor, Tensor | None]]]:
    """A context, and in it a function: images (B, …) → logits (B, classes), map totals (B, maps).

    The totals are those of `layer`; None without one.
    """
    totals: list[Tensor] = []

    def hear(layer: str, output: Tensor) -> None:
        if output.ndim not in (2, 4):
            raise UnsupportedModel(
                f"layer {layer!r} gives {tuple(output.shape)}: occlude watches maps "
                "(N, C, H, W) or units (N, C); leave out layer for the probabilities alone"
            )
        # Summed here and now: the next operation may work in place.
        totals.append(output.sum(dim=(2, 3)) if output.ndim == 4 else output.clone())

    def run(batch: Tensor) -> tuple[Tensor, Tensor | None]:
        totals.clear()
        logits = model(batch)
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise UserError("occlude needs a model that gives logits (N, classes) in one tensor")
        if layer is not None and not totals:
            raise UserError(f"the forward pass did not run layer {layer!r}")
        return logits, totals[0] if totals else None

    hearing = nullcontext() if layer is None else listening(model, [layer], hear, stop=False)
    return hearing, run


def _values(
    logits: Tensor, maps: Tensor | None, classes: Tensor, units: Tensor | None
) -> list[Tensor]:
    """Of each image: its class's probability and logit, its label, and the total of its unit."""
    row, logits = torch.arange(len(logits), device=logits.device), logits.float()
    values = [logits.softmax(dim=1)[row, classes], logits[row, classes], logits.argmax(dim=1)]
    return values if maps is None or units is None else [*values, maps[row, units].float()]


def _units(
    unit: int | Tensor | str | None, maps: Tensor | None, layer: str | None
) -> Tensor | None:
    if maps is None:
        return None
    if unit is None or isinstance(unit, str):
        if unit not in (None, "strongest"):
            raise UserError(f'unit must be a number, integers (N,) or "strongest", not {unit!r}')
        return maps.argmax(dim=1)
    units = expanded(indices(unit, "unit", maps.device), maps.shape[:1], "unit")
    if int(units.min()) < 0 or int(units.max()) >= maps.shape[1]:
        raise UserError(f"layer {layer!r} has maps 0..{maps.shape[1] - 1}")
    return units


def _fill(images: Tensor, fill: Fill, size: tuple[int, int], seed: int) -> Tensor:
    """What the occluder shows, as a picture (N, C, H, W) of which each place shows its window."""
    if isinstance(fill, Tensor):
        try:
            return fill.to(images).expand_as(images)
        except RuntimeError:
            raise UserError(
                f"fill of shape {tuple(fill.shape)} does not fit images {tuple(images.shape)}; "
                "a colour has shape (C, 1, 1)"
            ) from None
    if fill in ("grey", "zero"):
        return images.new_zeros(()).expand_as(images)
    mean = images.mean(dim=(2, 3), keepdim=True)
    if fill == "mean":
        return mean.expand_as(images)
    if fill == "blur":
        return _blur(images, sigma=max(size) / 4)
    if fill == "noise":
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(images.shape, generator=generator).to(images)
        return mean + images.std(dim=(2, 3), keepdim=True) * noise
    raise UserError(f"unknown fill {fill!r}; choose grey, mean, zero, blur, noise or give a tensor")


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, borders replicated."""
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = (-0.5 * (offsets / sigma) ** 2).exp()
    kernel = kernel / kernel.sum()
    flat = images.flatten(0, 1)[:, None]
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), kernel.view(1, 1, -1, 1))
    return flat.view_as(images)


def _occluded(
    images: Tensor,
    fill: Tensor,
    rows: Tensor,
    cols: Tensor,
    size: tuple[int, int],
    batch_size: int,
    spoilt: bool,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (owner images (B,), occluded images (B, C, H, W)); the buffer is reused.

    Only windows are written: each slot of the buffer keeps its image, and before it shows another
    place its last window is put back; all is written anew where the model has `spoilt` its input.
    """
    down, across = size
    places = [(y, x) for y in rows.tolist() for x in cols.tolist()]
    buffer: Tensor | None = None
    shown: list[tuple[int, int, int] | None] = [None] * batch_size
    for index in torch.arange(len(images) * len(places)).split(batch_size):
        if buffer is None:
            buffer = images.new_empty((len(index), *images.shape[1:]))
            buffer = buffer.to(memory_format=torch.channels_last)
        owners = []
        for slot, number in enumerate(index.tolist()):
            owner, place = divmod(number, len(places))
            y, x = places[place]
            before = shown[slot]
            if before is None or before[0] != owner or spoilt:
                buffer[slot].copy_(images[owner])
            else:
                old = (slice(None), slice(before[1], before[1] + down),
                       slice(before[2], before[2] + across))  # fmt: skip
                buffer[slot][old] = images[owner][old]
            new = (slice(None), slice(y, y + down), slice(x, x + across))
            buffer[slot][new] = fill[owner][new]
            shown[slot] = (owner, y, x)
            owners.append(owner)
        yield torch.tensor(owners, device=images.device), buffer[: len(index)]
