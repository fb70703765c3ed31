"""Slide an occluder over images and watch the class, a feature map and the top label."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods._forward import (
    Channels,
    Layer,
    UnsupportedModel,
    check_images,
    find_layer,
    layer_path,
    split_layer,
    undisturbed,
)
from zfnet.models.hooks import hooked
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
    activity: Tensor | None
    unit: Tensor | None
    rows: Tensor
    cols: Tensor
    size: tuple[int, int]
    image_size: tuple[int, int]
    clean_probability: Tensor
    clean_logit: Tensor
    clean_label: Tensor
    clean_activity: Tensor | None

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
    channels_last: bool = True,
    dtype: torch.dtype | None = None,
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
    dtype: run the model under autocast of that type; None: as it is.

    Raises `UserError` for impossible sizes, classes or units. The model is left as found.
    """
    check_images(images)
    n, _, height, width = images.shape
    down, across = (size, size) if isinstance(size, int) else size
    step_y, step_x = (stride, stride) if isinstance(stride, int) else stride
    rows = occluder_places(height, down, step_y)
    cols = occluder_places(width, across, step_x)
    classes = torch.as_tensor(classes, device=images.device).expand(n)
    if unit is not None and layer is None:
        raise UserError("occlude: `unit` needs the `layer` whose map it is")
    path = None if layer is None else layer_path(model, layer)
    batch_size = batch_size or (256 if images.is_cuda else 64)
    format_ = torch.channels_last if channels_last else torch.contiguous_format
    shape = (n, len(rows), len(cols))

    with torch.inference_mode(), undisturbed(model):
        watcher = _Watcher(model, path, dtype)
        with watcher.hearing():
            copy = images.clone(memory_format=format_)
            started = time.perf_counter()
            clean = [watcher.run(part) for part in copy.split(batch_size)]
            seconds = (time.perf_counter() - started) / n
            spoilt = not torch.equal(copy, images)  # a model that writes into its own input
            clean_logits = torch.cat([logits for logits, _ in clean])
            _check_classes(classes, clean_logits)
            totals = [maps for _, maps in clean if maps is not None]
            clean_maps = torch.cat(totals) if totals else None
            units = _units(unit, clean_maps, path)
            if progress:
                _announce(n, len(rows), len(cols), seconds)
            filling = _fill(images, fill, (down, across), seed)
            out = _Collected(shape, images.device, units is not None)
            batches: Iterator[tuple[Tensor, Tensor]] = _occluded(
                images, filling, rows, cols, (down, across), batch_size, format_, spoilt
            )
            if progress:
                total = -(-n * len(rows) * len(cols) // batch_size)
                batches = progress_bar(batches, total=total, desc="occlude", unit="batch")
            for owners, batch in batches:
                out.add(owners, *watcher.run(batch), classes, units)
            index = torch.arange(n, device=images.device)
            activity = None
            if clean_maps is not None and units is not None:
                activity = clean_maps[index, units].float()

    return OcclusionMaps(
        probability=out.probability,
        logit=out.logit,
        label=out.label,
        activity=out.activity,
        unit=units,
        rows=rows,
        cols=cols,
        size=(down, across),
        image_size=(height, width),
        clean_probability=clean_logits.float().softmax(dim=1)[index, classes],
        clean_logit=clean_logits.float()[index, classes],
        clean_label=clean_logits.argmax(dim=1),
        clean_activity=activity,
    )


class _Watcher:
    """Runs the model and keeps the totals of a layer's maps."""

    def __init__(self, model: nn.Module, layer: str | None, dtype: torch.dtype | None) -> None:
        self.model = model
        self.layer = layer
        self.dtype = dtype
        self.totals: list[Tensor] = []
        self.call = split_layer(layer)[1] if layer else 0

    def hearing(self) -> AbstractContextManager[None]:
        """Hear the layer inside the block; without a layer nothing is heard."""
        if self.layer is None:
            return nullcontext()
        module = find_layer(self.model, self.layer)
        self.channels = Channels(self.model, split_layer(self.layer)[0])
        return hooked(after=[(module, self._hear)])

    def _hear(self, module: nn.Module, args: object, output: Tensor) -> None:
        if output.ndim not in (2, 4):
            raise UnsupportedModel(
                f"layer {self.layer!r} gives {tuple(output.shape)}: occlude watches maps "
                "(N, C, H, W) or units (N, C); leave out layer for the probabilities alone"
            )
        self.channels.check(output)
        # Summed here and now: the next operation may work in place.
        self.totals.append(output.sum(dim=(2, 3)) if output.ndim == 4 else output.clone())

    def run(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, classes) and, where a layer is watched, map totals (B, maps)."""
        self.totals.clear()
        with torch.autocast(batch.device.type, self.dtype, enabled=self.dtype is not None):
            logits = self.model(batch)
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise UserError("occlude needs a model that gives logits (N, classes) in one tensor")
        if self.layer is not None and len(self.totals) <= self.call:
            raise UserError(f"the forward pass did not run layer {self.layer!r}")
        return logits, self.totals[self.call] if self.layer is not None else None


class _Collected:
    """Results of every place, (N, R, C) each, filled in their order."""

    def __init__(self, shape: tuple[int, int, int], device: torch.device, activity: bool) -> None:
        self.done = 0
        self.probability = torch.empty(shape, device=device, dtype=torch.float32)
        self.logit = torch.empty(shape, device=device, dtype=torch.float32)
        self.label = torch.empty(shape, dtype=torch.int64, device=device)
        self.activity = torch.empty(shape, device=device, dtype=torch.float32) if activity else None

    def add(
        self,
        owners: Tensor,
        logits: Tensor,
        maps: Tensor | None,
        classes: Tensor,
        units: Tensor | None,
    ) -> None:
        """Results of the next places (B,), which belong to the images `owners`."""
        logits = logits.float()
        at = slice(self.done, self.done + len(owners))
        self.done = at.stop
        row = torch.arange(len(owners), device=logits.device)
        chosen = classes[owners]
        self.logit.view(-1)[at] = logits[row, chosen]
        self.probability.view(-1)[at] = logits.softmax(dim=1)[row, chosen]
        self.label.view(-1)[at] = logits.argmax(dim=1)
        if self.activity is not None and maps is not None and units is not None:
            self.activity.view(-1)[at] = maps[row, units[owners]].float()


def _check_classes(classes: Tensor, logits: Tensor) -> None:
    if int(classes.min()) < 0 or int(classes.max()) >= logits.shape[1]:
        raise UserError(f"classes must lie in 0..{logits.shape[1] - 1}, the model's outputs")


def _units(
    unit: int | Tensor | str | None, maps: Tensor | None, layer: str | None
) -> Tensor | None:
    if maps is None:
        return None
    if unit is None or isinstance(unit, str):
        if unit not in (None, "strongest"):
            raise UserError(f'unit must be a number, integers (N,) or "strongest", not {unit!r}')
        return maps.argmax(dim=1)
    units = torch.as_tensor(unit, device=maps.device).expand(maps.shape[0])
    if int(units.min()) < 0 or int(units.max()) >= maps.shape[1]:
        raise UserError(f"layer {layer!r} has maps 0..{maps.shape[1] - 1}")
    return units


def _announce(images: int, rows: int, cols: int, seconds: float) -> None:
    jobs = images * rows * cols
    print(
        f"occlude: {rows} x {cols} places x {images} images = {jobs} forward passes, "
        f"about {jobs * seconds:.0f} s",
        file=sys.stderr,
    )


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
    format_: torch.memory_format,
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
            buffer = images.new_empty((len(index), *images.shape[1:])).to(memory_format=format_)
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
