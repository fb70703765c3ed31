"""Run a model up to a named layer and leave it exactly as it was found."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.models.hooks import After, hooked

# A module path, `path#1` for its second call, or the paper's number where the model defines it.
Layer = str | int
# Called with (layer name, output) each time an asked layer has run.
Callback = Callable[[str, Tensor], None]


class UnsupportedModel(UserError):  # noqa: N818 (what is wrong is the model)
    """The method is not defined on this model; the message names what stands in the way."""


class _Stop(BaseException):
    """Ends a forward pass at the layer asked for; no `except Exception` in a model catches it."""


def layer_path(model: nn.Module, layer: Layer) -> str:
    """The module path of `layer`: itself, or what the model's own `taps` say of a number.

    A model defines the paper's numbers by an attribute `taps`, a mapping of "5.relu" (also "5.out",
    …) to module paths; 5 stands for "5.relu". Raises `UserError` for a number without a tap.
    """
    taps = getattr(model, "taps", None)
    taps = taps if isinstance(taps, Mapping) else {}
    tap = f"{layer}.relu" if isinstance(layer, int) else layer
    if tap in taps:
        return str(taps[tap])
    if isinstance(layer, str):
        return layer
    known = sorted({name.partition(".")[0] for name in taps if name.endswith(".relu")})
    told = f"it has {', '.join(known)}" if known else "it defines none; give a module path"
    raise UserError(f"{type(model).__name__} has no layer of the paper's number {layer}: {told}")


def split_layer(layer: str) -> tuple[str, int]:
    """Split `"layer1.0.relu#1"` into the module path and the call counted from 0 (default 0)."""
    path, mark, call = layer.partition("#")
    if mark and not call.isdigit():
        raise UserError(f"layer {layer!r}: after '#' comes the number of the call, counted from 0")
    return path, int(call) if mark else 0


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """The module at the path `layer`.

    Raises `UserError`, naming the nearest paths, if there is none.
    """
    path, _ = split_layer(layer)
    modules = dict(model.named_modules(remove_duplicate=False))
    if path in modules:
        return modules[path]
    names = [name for name in modules if name]
    near = difflib.get_close_matches(path, names, n=5, cutoff=0.4) or names[:8]
    raise UserError(
        f"no layer {path!r} in {type(model).__name__}; give a module path such as {', '.join(near)}"
    )


def refuse_compiled(model: nn.Module) -> None:
    """Raise `UnsupportedModel` naming the first module that is scripted or compiled."""
    for name, module in model.named_modules():
        where = name or "the model itself"
        if isinstance(module, torch.jit.ScriptModule):
            raise UnsupportedModel(
                f"{where} is a TorchScript module, whose operations cannot be watched; "
                "pass the original Python model"
            )
        if type(module).__module__.startswith("torch._dynamo"):
            raise UnsupportedModel(
                f"{where} is compiled by torch.compile, which hides its operations; "
                "pass the model from before torch.compile"
            )


class Channels:
    """Refuses a layer whose maps are (N, H, W, C), as inside Swin or ConvNeXt blocks.

    Shape and strides cannot tell. A layer norm in or around the layer can, with the linear layers
    beside it: they work on the last dimension, which then has one of their sizes, while
    dimension 1 has not. So can the layer itself if it is linear.
    """

    def __init__(self, model: nn.Module, path: str) -> None:
        self.path = path
        self.sizes: set[int] = set()
        own = model.get_submodule(path)
        if isinstance(own, nn.Linear):
            self.sizes = {own.out_features}
        names = path.split(".") if path else []
        for end in range(len(names), -1, -1):  # the layer itself, then what encloses it
            inside = list(model.get_submodule(".".join(names[:end])).modules())
            norms = [m.normalized_shape[-1] for m in inside if isinstance(m, nn.LayerNorm)]
            if norms:
                linear = [m for m in inside if isinstance(m, nn.Linear)]
                self.sizes |= {*norms}
                self.sizes |= {n for m in linear for n in (m.in_features, m.out_features)}
                return

    def check(self, output: Tensor) -> None:
        """Raise `UnsupportedModel` where `output` has its channels last."""
        if output.ndim == 4 and output.shape[3] in self.sizes and output.shape[1] not in self.sizes:
            raise UnsupportedModel(
                f"layer {self.path!r} gives {tuple(output.shape)} with the channels last; "
                "only maps (N, C, H, W) can be read; choose a layer behind the next permutation"
            )


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and frozen parameters inside; every flag as before outside.

    Flags are kept per module and per parameter, so a model of which only a part was training comes
    back the same, also after an exception.
    """
    training = [module for module in model.modules() if module.training]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for module in training:
            module.training = False
        for parameter in learning:
            parameter.requires_grad = False
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad = True


@contextmanager
def listening(
    model: nn.Module, layers: Sequence[str], callback: Callback, stop: bool = True
) -> Iterator[None]:
    """Call `callback(layer, output)` right after each of `layers` has run.

    "Right after" matters: a later operation may overwrite the output in place. A module that runs
    several times in one pass is heard at the call named by `#`, the first by default. With `stop`
    the pass ends by itself once all layers have been heard; run it through `run_until_heard`.
    Raises `UserError` for an unknown layer, `UnsupportedModel` if an output is not a tensor.
    """
    wanted: dict[str, dict[int, list[str]]] = {}
    for layer in layers:
        find_layer(model, layer)
        path, call = split_layer(layer)
        wanted.setdefault(path, {}).setdefault(call, []).append(layer)
    total = len(layers)
    calls: dict[str, int] = {}
    heard = 0

    def begin(module: nn.Module, args: object) -> None:
        nonlocal heard
        heard = 0
        calls.clear()

    def make(path: str) -> After:
        channels = Channels(model, path)

        def hook(module: nn.Module, args: object, output: object) -> None:
            nonlocal heard
            call = calls.get(path, 0)
            calls[path] = call + 1
            for layer in wanted[path].get(call, ()):
                if not isinstance(output, Tensor):
                    raise UnsupportedModel(
                        f"layer {layer!r} gives {type(output).__name__}, not one tensor; "
                        "choose a layer inside it or after it"
                    )
                channels.check(output)
                callback(layer, output)
                heard += 1
            if stop and heard == total:
                raise _Stop

        return hook

    after = [(find_layer(model, path), make(path)) for path in wanted]
    with hooked([(model, begin)], after):
        yield


def run_until_heard(model: nn.Module, images: Tensor, layers: Sequence[str]) -> None:
    """Run `model(images)` inside `listening`, expecting it to end at the last of `layers`.

    Raises `UserError` if the pass ran to its end without reaching all of them.
    """
    try:
        model(images)
    except _Stop:
        return
    raise UserError(
        f"the forward pass of {type(model).__name__} did not run all of: {', '.join(layers)} "
        "(or ran one of them less often than '#' asks)"
    )


def output_of(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """The output of `layer` for `images` (N, C, H, W); nothing behind the layer is computed.

    Gradient mode and model flags are the caller's.
    """
    outputs: list[Tensor] = []
    with listening(model, [layer], lambda _, output: outputs.append(output)):
        run_until_heard(model, images, [layer])
    return outputs[0]


def check_images(images: Tensor) -> None:
    """Raise `UserError` unless `images` is a float tensor (N, C, H, W) with N ≥ 1."""
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        shape = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else "none"
        raise UserError(f"images must be a float tensor (N, C, H, W), the net's input; got {shape}")
    if images.shape[0] == 0:
        raise UserError("images holds no image")


def indices(values: Any, what: str, device: torch.device) -> Tensor:
    """Classes, units or maps as int64 on `device`. Raises `UserError` for anything but integers.

    torch takes bytes for a mask: an index of theirs would choose others than those asked for.
    """
    found = torch.as_tensor(values, device=device)
    whole = not found.dtype.is_floating_point and not found.dtype.is_complex
    if found.numel() and (not whole or found.dtype == torch.bool):  # none at all is float
        raise UserError(f"{what} must be an int or integers, got {found.dtype}")
    return found.long()


def expanded(values: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
    """`values` as a view of `shape` (N, …). Raises `UserError` unless there is one or N of them."""
    try:
        return values.expand(shape)
    except RuntimeError:
        raise UserError(
            f"{what} must be one or {shape[0]}, one per image; got shape {tuple(values.shape)}"
        ) from None
