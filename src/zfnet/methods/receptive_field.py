"""Which pixels a unit sees: size, stride, offset and exact box, derived from the model itself.

The model runs once while a `TorchFunctionMode` carries along, beside every tensor, the range of
image rows and columns that each row and column of it depends on. A convolution or pool joins the
ranges in its window, a sum or concatenation joins those of its branches. Because the ranges are
kept for every place, not as one formula, padding, ceil mode and unused border rows come out right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zfnet.errors import UserError
from zfnet.methods._forward import (
    Layer,
    UnsupportedModel,
    layer_path,
    output_of,
    refuse_compiled,
    undisturbed,
)

Pair = tuple[int, int]


@dataclass(frozen=True)
class Axis:
    """Along one axis of the image: what each place j of a layer depends on.

    first, last: int64 (places,), half-open range of pixels inside the image.
    size, stride, offset: of the range offset + j·stride … + size before clipping to the image;
    None where the places do not lie on one grid (adaptive pools that do not divide evenly).
    whole: every place sees the whole axis by construction (linear layers, global pools).
    """

    first: np.ndarray
    last: np.ndarray
    grid: tuple[int, int, int] | None
    whole: bool = False

    @property
    def places(self) -> int:
        """Number of places along this axis."""
        return len(self.first)


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of the units of a layer; pairs are (down, across), in pixels.

    size: of the unclipped field; for layers that see everything, of the image.
    stride: distance between the fields of neighbours; 0 where there is one place.
    offset: first pixel of the unclipped field of place (0, 0), negative inside the padding.
    places: rows and columns of the layer's maps, (1, 1) for a linear layer.
    """

    size: Pair
    stride: Pair
    offset: Pair
    places: Pair
    image: Pair
    _first: tuple[np.ndarray, np.ndarray]
    _last: tuple[np.ndarray, np.ndarray]

    def box(self, y: int, x: int, clip: bool = True) -> tuple[int, int, int, int]:
        """Pixels (y0, x0, y1, x1), half-open, that the unit at row y, column x sees.

        With `clip` exactly those inside the image that it depends on; without, the full field, of
        which parts may lie in the padding. Raises `UserError` for a place that does not exist.
        """
        y0, y1 = self._range(0, y, clip)
        x0, x1 = self._range(1, x, clip)
        return y0, x0, y1, x1

    def boxes(self, places: Tensor, clip: bool = True) -> Tensor:
        """`box` for many: int64 (…, 2) → int64 (…, 4)."""
        flat = places.reshape(-1, 2).tolist()
        found = [self.box(y, x, clip) for y, x in flat]
        return torch.tensor(found, dtype=torch.int64).reshape(*places.shape[:-1], 4)

    def _range(self, axis: int, place: int, clip: bool) -> Pair:
        if not 0 <= place < self.places[axis]:
            name = ("row", "column")[axis]
            raise UserError(f"{name} {place} does not exist: the layer has {self.places[axis]}")
        if clip:
            return int(self._first[axis][place]), int(self._last[axis][place])
        start = self.offset[axis] + place * self.stride[axis]
        return start, start + self.size[axis]


def receptive_field(model: nn.Module, layer: Layer, input_px: int | Pair) -> ReceptiveField:
    """The receptive field of `layer` for images of `input_px` (or (height, width)) pixels.

    Works for any graph of convolutions, pools, pointwise operations, sums, concatenations and
    linear layers. Raises `UnsupportedModel`, naming it, at an operation whose reach in the image
    is not known (attention, shifted windows, …), `UserError` for unknown layers.
    """
    refuse_compiled(model)
    layer = layer_path(model, layer)
    height, width = (input_px, input_px) if isinstance(input_px, int) else input_px
    reference = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    image = torch.zeros(
        (1, channels, height, width), dtype=reference.dtype, device=reference.device
    )
    axes = [Axis(np.arange(n), np.arange(1, n + 1), (1, 1, 0)) for n in (height, width)]
    image.__dict__[_KEY] = _Field((axes[0], axes[1]), (2, 3))
    with torch.no_grad(), undisturbed(model), _FieldMode():
        output = output_of(model, layer, image)
        field = _get(output)
    if field is None:
        raise UnsupportedModel(f"layer {layer!r} does not depend on the image")
    if output.ndim not in (2, 4):
        raise UnsupportedModel(
            f"layer {layer!r} gives a tensor of shape {tuple(output.shape)}, not maps (N, C, H, W)"
        )
    if output.ndim == 4 and field.dims != (2, 3):
        raise UnsupportedModel(f"layer {layer!r} does not keep rows and columns in dims 2 and 3")
    y, x = field.axes
    sizes, strides, offsets = zip(_grid(y), _grid(x), strict=True)
    return ReceptiveField(
        sizes, strides, offsets, (y.places, x.places), (height, width),
        (y.first, x.first), (y.last, x.last),
    )  # fmt: skip


def _grid(axis: Axis) -> tuple[int, int, int]:
    if axis.grid is not None and not axis.whole:
        return axis.grid
    if axis.places == 1 or axis.whole:
        first, last = int(axis.first.min()), int(axis.last.max())
        return last - first, 0, first
    size = int((axis.last - axis.first).max())
    stride = round((axis.first[-1] - axis.first[0]) / (axis.places - 1))
    return size, stride, int(axis.first[0])


@dataclass(frozen=True)
class _Field:
    """The ranges of a tensor's rows and columns, and which of its dims those are."""

    axes: tuple[Axis, Axis]
    dims: Pair | None  # None: a vector; its two axes have one place each

    @property
    def shape(self) -> Pair:
        return self.axes[0].places, self.axes[1].places

    def collapsed(self, dims: Pair | None) -> _Field:
        """One place that sees all that any place saw."""
        y, x = (
            a
            if a.places == 1
            else Axis(a.first.min(keepdims=True), a.last.max(keepdims=True), None, True)
            for a in self.axes
        )
        return _Field((y, x), dims)


_KEY = "_zfnet_field"


def _get(value: Any) -> _Field | None:
    return value.__dict__.get(_KEY) if isinstance(value, Tensor) else None


def _join(a: Axis, b: Axis) -> Axis:
    """The union of two branches; a single place is spread over the other's places."""
    n = max(a.places, b.places)
    first = np.minimum(np.broadcast_to(a.first, n), np.broadcast_to(b.first, n))
    last = np.maximum(np.broadcast_to(a.last, n), np.broadcast_to(b.last, n))
    whole = (a.whole or b.whole) or a.places != b.places
    grid = None
    if a.grid is not None and b.grid is not None and a.grid[1] == b.grid[1] and not whole:
        start = min(a.grid[2], b.grid[2])
        end = max(a.grid[2] + a.grid[0], b.grid[2] + b.grid[0])
        grid = (end - start, a.grid[1], start)
    return Axis(first, last, grid, whole)


def _window(axis: Axis, out: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
    """What a sliding window makes of an axis; taps in the padding see nothing."""
    taps = np.arange(out)[:, None] * stride - padding + np.arange(kernel)[None, :] * dilation
    grid = None
    if axis.grid is not None:
        size, step, offset = axis.grid
        reach = (kernel - 1) * dilation
        grid = (size + reach * step, step * stride, offset - padding * step)
    return _gathered(axis, taps, grid)


def _gathered(axis: Axis, taps: np.ndarray, grid: tuple[int, int, int] | None) -> Axis:
    """Places of which each joins the places `taps` (places, n) of an axis, if inside."""
    inside = (taps >= 0) & (taps < axis.places)
    held = np.clip(taps, 0, axis.places - 1)
    first = np.where(inside, axis.first[held], np.iinfo(np.int64).max).min(axis=1)
    last = np.where(inside, axis.last[held], -1).max(axis=1)
    return Axis(first, last, grid, axis.whole)


def _adaptive(axis: Axis, out: int) -> Axis:
    """Adaptive pooling: place j joins places floor(j·n/out) … ceil((j+1)·n/out)."""
    n = axis.places
    if n % out == 0:
        return _window(axis, out, n // out, n // out, 0, 1)
    starts = [j * n // out for j in range(out)]
    ends = [-(-(j + 1) * n // out) for j in range(out)]
    first = np.array([axis.first[s:e].min() for s, e in zip(starts, ends, strict=True)])
    last = np.array([axis.last[s:e].max() for s, e in zip(starts, ends, strict=True)])
    return Axis(first, last, None, axis.whole)


def _pair(value: Any, default: Any = None) -> Pair:
    value = default if value is None or value == [] else value
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[-1]))


def _windows(field: _Field, result: Tensor, k: Pair, s: Pair, p: Pair, d: Pair) -> _Field:
    y = _window(field.axes[0], result.shape[-2], k[0], s[0], p[0], d[0])
    x = _window(field.axes[1], result.shape[-1], k[1], s[1], p[1], d[1])
    return _Field((y, x), (result.ndim - 2, result.ndim - 1))


def _conv(x: Tensor, result: Tensor, field: _Field, given: dict[str, Any]) -> _Field:
    kernel = (given["weight"].shape[-2], given["weight"].shape[-1])
    dilation = _pair(given.get("dilation"), 1)
    padding = given.get("padding", 0)
    if padding == "valid":
        padding = 0
    elif padding == "same":  # torch puts the odd pixel at the end
        padding = [d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True)]
    return _windows(field, result, kernel, _pair(given.get("stride"), 1), _pair(padding), dilation)


def _pool(x: Tensor, result: Tensor, field: _Field, given: dict[str, Any]) -> _Field:
    kernel = _pair(given["kernel_size"])
    stride, padding = _pair(given.get("stride"), kernel), _pair(given.get("padding"), 0)
    return _windows(field, result, kernel, stride, padding, _pair(given.get("dilation"), 1))


def _adaptive_pool(x: Tensor, result: Tensor, field: _Field, given: dict[str, Any]) -> _Field:
    axes = tuple(_adaptive(a, out) for a, out in zip(field.axes, result.shape[-2:], strict=True))
    return _Field((axes[0], axes[1]), field.dims)


def _pad(x: Tensor, result: Tensor, field: _Field, given: dict[str, Any]) -> _Field | None:
    """Padding: constant rows see nothing, others what the row they repeat sees."""
    pads = [*given["pad"], 0, 0, 0, 0][:4]
    if len(given["pad"]) > 4 and any(given["pad"][4:]):
        return None
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    axes = []
    for axis, (before, after) in zip(field.axes, (pads[2:4], pads[0:2]), strict=True):
        if before < 0 or after < 0:
            return None
        kind = modes[given.get("mode", "constant")]
        extra = {"constant_values": -1} if kind == "constant" else {}
        index = np.pad(np.arange(axis.places), (before, after), kind, **extra)  # type: ignore[call-overload]
        grid = axis.grid and (axis.grid[0], axis.grid[1], axis.grid[2] - before * axis.grid[1])
        axes.append(_gathered(axis, index[:, None], grid))
    return _Field((axes[0], axes[1]), field.dims)


def _permute(x: Tensor, result: Tensor, field: _Field, given: dict[str, Any]) -> _Field | None:
    if field.dims is None:
        return field
    dims = list(range(x.ndim))
    if "dim0" in given:  # transpose
        a, b = given["dim0"] % x.ndim, given["dim1"] % x.ndim
        dims[a], dims[b] = b, a
    else:
        order = given["dims"]
        dims = [d % x.ndim for d in (order[0] if isinstance(order[0], (tuple, list)) else order)]
    return _Field(field.axes, (dims.index(field.dims[0]), dims.index(field.dims[1])))


def _linear(x: Tensor, result: Tensor, field: _Field, given: dict[str, Any]) -> _Field | None:
    """Acts on the last dim: on channels it is pointwise, else it joins places."""
    if field.dims is None or x.ndim - 1 not in field.dims:
        return field
    return None


def _everything(x: Tensor, result: Tensor, field: _Field, given: dict[str, Any]) -> _Field | None:
    """Statistics over all places: each place then sees what any saw."""
    if field.dims is None:
        return field
    y, x_ = (
        Axis(np.full_like(a.first, a.first.min()), np.full_like(a.last, a.last.max()), None, True)
        for a in field.axes
    )
    return _Field((y, x_), field.dims)


def _layer_norm(x: Tensor, result: Tensor, field: _Field, given: dict[str, Any]) -> _Field | None:
    normalised = range(x.ndim - len(given["normalized_shape"]), x.ndim)
    if field.dims is None or not set(field.dims) & set(normalised):
        return field
    return _everything(x, result, field, given)


def _softmax(x: Tensor, result: Tensor, field: _Field, given: dict[str, Any]) -> _Field | None:
    dim = given.get("dim")
    if field.dims is None or (dim is not None and dim % x.ndim not in field.dims):
        return field
    return None


Handler = Callable[[Tensor, Tensor, _Field, dict[str, Any]], "_Field | None"]

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_POOL = ("input", "kernel_size", "stride", "padding")

# Operations that mix places in ways not followed here; others that change rows or columns are
# refused by their shapes.
_UNKNOWN = (
    "roll", "flip", "rot90", "matmul", "__matmul__", "bmm", "einsum", "cumsum", "sort", "argsort",
    "scaled_dot_product_attention", "multi_head_attention_forward", "conv_transpose2d",
    "interpolate", "fold", "unfold", "grid_sample", "affine_grid",
)  # fmt: skip

# Name of the torch function → (names of its arguments, what it does to a field).
_HANDLERS: dict[str, tuple[tuple[str, ...], Handler]] = {
    "conv2d": (_CONV, _conv),
    "max_pool2d": ((*_POOL, "dilation", "ceil_mode"), _pool),
    "max_pool2d_with_indices": ((*_POOL, "dilation", "ceil_mode"), _pool),
    "avg_pool2d": (_POOL, _pool),
    "lp_pool2d": (("input", "norm_type", "kernel_size", "stride"), _pool),
    **{
        f"adaptive_{kind}": (("input", "output_size"), _adaptive_pool)
        for kind in ("avg_pool2d", "max_pool2d", "max_pool2d_with_indices")
    },
    "pad": (("input", "pad", "mode", "value"), _pad),
    "permute": (("input", "dims"), _permute),
    "transpose": (("input", "dim0", "dim1"), _permute),
    "linear": (("input", "weight", "bias"), _linear),
    "group_norm": (("input",), _everything),
    "instance_norm": (("input",), _everything),
    "layer_norm": (("input", "normalized_shape"), _layer_norm),
    "softmax": (("input", "dim"), _softmax),
    "log_softmax": (("input", "dim"), _softmax),
    **dict.fromkeys(_UNKNOWN, (("input",), lambda x, result, field, given: None)),
}


class _FieldMode(TorchFunctionMode):
    """Carries a `_Field` from the arguments of every torch call to its results."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name == "__setitem__":
            self._carry_setitem(args)
            return result
        for item in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(item, Tensor):
                self._carry(name, args, kwargs, item)
        return result

    def _carry(self, name: str, args: tuple[Any, ...], kwargs: Any, result: Tensor) -> None:
        sources = [t for t in _tensors([*args, *kwargs.values()]) if _get(t) is not None]
        if not sources:
            return
        x = sources[0]
        field = _get(x)
        assert field is not None
        if name in _HANDLERS:
            names, handler = _HANDLERS[name]
            given = dict(zip(names, args, strict=False)) | kwargs
            if name == "permute" and len(args) > 2:
                given["dims"] = args[1:]
            new = handler(x, result, field, given)
        else:
            new = field if len(sources) == 1 else _merge(sources)
            new = new and _reshaped(new, x, result)
        if new is None:
            raise UnsupportedModel(
                f"receptive field: what {name!r} makes of {tuple(x.shape)} "
                f"(a result {tuple(result.shape)}) cannot be followed back to the image"
            )
        result.__dict__[_KEY] = new

    def _carry_setitem(self, args: tuple[Any, ...]) -> None:
        target, _, value = args
        old, new = _get(target), _get(value)
        if new is None:
            return
        if (old is not None and old.shape != new.shape) or target.shape[-2:] != value.shape[-2:]:
            raise UnsupportedModel("receptive field: assignment to a part of a map is not known")
        target.__dict__[_KEY] = new if old is None else _merge([target, value])


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += _tensors(value)
    return found


def _merge(sources: list[Tensor]) -> _Field | None:
    """Join the fields of the operands of a pointwise operation or a concatenation."""
    merged: _Field | None = None
    for tensor in sources:
        field = _get(tensor)
        assert field is not None
        if merged is None:
            merged = field
            continue
        if None not in (merged.dims, field.dims) and merged.dims != field.dims:
            return None
        for a, b in zip(merged.shape, field.shape, strict=True):
            if a != b and 1 not in (a, b):
                return None
        y = _join(merged.axes[0], field.axes[0])
        x = _join(merged.axes[1], field.axes[1])
        merged = _Field((y, x), merged.dims or field.dims)
    return merged


def _reshaped(field: _Field, x: Tensor, result: Tensor) -> _Field | None:
    """The field of a result that keeps rows and columns, or joins them all; else None."""
    if field.dims is None:
        return field
    shape = tuple(result.shape)
    if result.ndim == x.ndim or (result.ndim > 0 and len(field.dims) == 2):
        if result.ndim == x.ndim and tuple(shape[d] for d in field.dims) == field.shape:
            return field
        behind = x.ndim - field.dims[0], x.ndim - field.dims[1]
        if max(behind) == 2 and result.ndim >= 2 and shape[-2:] == field.shape:
            return _Field(field.axes, (result.ndim - 2, result.ndim - 1))
    if result.ndim == x.ndim and all(shape[d] == 1 for d in field.dims):
        return field.collapsed(field.dims)
    if result.ndim <= 2:
        return field.collapsed(None)
    return None
