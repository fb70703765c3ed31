"""The bundle that every study receives: a model with its input size, normalisation and names."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.models.convnet import ConvNet
from zfnet.models.spec import NetSpec, nearest

NET_FORMAT = 1
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

    def inverse(
        self, x: Tensor, offset: Tensor | None = None, flip: Tensor | None = None
    ) -> Tensor:
        """Net input → pixels 0..255, float and not clipped; offset and flip as in `forward`."""
        self._check(x)
        if self.kind == STANDARDISE:
            return (x * _per_channel(self.std) + _per_channel(self.mean)) * 255
        return x + self._mean_under(offset, flip)

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

    def extra_repr(self) -> str:
        """Kind and size, for `print`."""
        return f"{self.kind}, input_px={self.input_px}"


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


def save_net(net: Net, folder: str | Path) -> None:
    """Write net.json, weights.pt (a state dict) and, for a mean image, mean.npy into `folder`.

    The same net gives the same bytes, whatever its device, memory format or folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    normalise: dict[str, Any] = {"kind": net.normalise.kind}
    if net.normalise.kind == MEAN_IMAGE:
        np.save(folder / "mean.npy", net.normalise.mean.cpu().numpy())
    else:
        normalise["mean"] = net.normalise.mean.tolist()
        normalise["std"] = net.normalise.std.tolist()
    record = {
        "format": NET_FORMAT,
        "name": net.name,
        "arch": net.arch,
        "input_px": net.input_px,
        "normalise": normalise,
        "classes": net.classes,
        "class_index": None if net.class_index is None else net.class_index.tolist(),
        "taps": net.taps,
        "rebuild": net.rebuild,
        "provenance": net.provenance,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "net.json").write_text(text + "\n", encoding="utf-8")
    save_weights(net.model, folder / "weights.pt")


def load_net(folder: str | Path, device: str | torch.device = "cpu") -> Net:
    """Read what `save_net` wrote; the model is in evaluation mode.

    Raises UserError if a file is missing, damaged or does not belong to the others.
    """
    folder = Path(folder)
    record = _read_record(folder / "net.json")
    try:
        model = _rebuilt(record["rebuild"])
        net = Net(
            model=model,
            input_px=record["input_px"],
            normalise=_read_normalise(record, folder),
            classes=record["classes"],
            name=record["name"],
            arch=record["arch"],
            taps=record["taps"],
            class_index=None
            if record["class_index"] is None
            else np.array(record["class_index"], dtype=np.int64),
            rebuild=record["rebuild"],
            provenance=record["provenance"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder / 'net.json'}: not a complete description of a net ({error!r}); train or "
            "fetch it again"
        ) from error
    load_weights(model, folder / "weights.pt")
    model.eval()
    return net.to(device)


def save_weights(model: nn.Module, file: str | Path | IO[bytes]) -> None:
    """Write the model's state dict alone, in CPU order, to `file`; equal weights give equal bytes.

    torch stores a path's stem inside the file: compare files of the same name.
    """
    state = {
        key: value.detach().to("cpu", memory_format=torch.contiguous_format).clone()
        for key, value in model.state_dict().items()
    }
    torch.save(state, file)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a state dict from `path` into `model`, which may be on the meta device.

    Raises UserError if the file is missing or damaged, or naming the first keys that do not fit.
    """
    fit_state(model, read_state(path), Path(path))


def read_state(path: str | Path) -> OrderedDict[str, Tensor]:
    """The state dict in a file, on the CPU; also one under "state_dict" or with "module." prefixes.

    Loads tensors only (`weights_only=True`): a file that wants to run code is refused by UserError.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path}: cannot be read as weights, it is damaged or holds more than tensors; give a "
            f"state dict saved by torch.save ({type(error).__name__}: {str(error)[:80]!r})"
        ) from error
    except (KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: is not a file of weights ({error!r})") from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if (
        not isinstance(found, Mapping)
        or not found
        or not all(isinstance(value, Tensor) for value in found.values())
    ):
        raise UserError(f"{path}: holds no state dict (a mapping of names to tensors)")
    state = OrderedDict((str(key).removeprefix("module."), each) for key, each in found.items())
    if state.keys() == found.keys() and hasattr(found, "_metadata"):
        state._metadata = found._metadata  # type: ignore[attr-defined]
    return state


def fit_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load `state`, read from `path`, into `model`.

    Raises UserError with the first missing, unknown or misshapen keys if it does not fit; the model
    may then hold part of it.
    """
    wanted = model.state_dict()
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    missing, unknown = [], []
    if not shapes:
        # a model built on the meta device has no memory to copy into
        on_meta = any(parameter.is_meta for parameter in model.parameters())
        # modules rename the keys of files of an older version, which the metadata tells
        whole = OrderedDict(state)
        whole._metadata = getattr(state, "_metadata", wanted._metadata)  # type: ignore
        result = model.load_state_dict(whole, strict=False, assign=on_meta)
        # files older than torch 0.4.1 lack this count, which nothing reads in evaluation
        missing = [key for key in result.missing_keys if not key.endswith("num_batches_tracked")]
        unknown = result.unexpected_keys
    faults = [
        f"{what}: {', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}"
        for what, keys in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
        if keys
    ]
    if faults:
        raise UserError(f"{path}: these weights belong to another net; {'; '.join(faults)}")


def _rebuilt(rebuild: Mapping[str, Any]) -> nn.Module:
    if rebuild["kind"] == "convnet":
        with torch.device("meta"):  # the weights come from the file: spare drawing them
            return ConvNet(NetSpec.from_dict(rebuild["spec"]))
    if rebuild["kind"] == "torchvision":
        from zfnet.models.external import build_model

        return build_model(rebuild["name"], rebuild["num_classes"], draw=False)
    raise ValueError(f"rebuild.kind {rebuild['kind']!r}")


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(
            f"{path}: not found; train the net first, or give the folder of a saved one"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged, not JSON ({error}); train or fetch it again") from error
    if not isinstance(record, dict) or record.get("format") != NET_FORMAT:
        raise UserError(f"{path}: not a net of format {NET_FORMAT}, the one this version reads")
    return record


def _read_normalise(record: Mapping[str, Any], folder: Path) -> Normalise:
    how, px = record["normalise"], record["input_px"]
    if how["kind"] == STANDARDISE:
        return Normalise.standardise(how["mean"], how["std"], px)
    path = folder / "mean.npy"
    if not path.is_file():
        raise UserError(f"{path}: not found; the net's mean image belongs beside its weights")
    try:
        return Normalise.mean_image(np.load(path, allow_pickle=False), px)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); train or fetch the net again") from error


def _per_channel(values: Tensor) -> Tensor:
    return values.view(1, 3, 1, 1)
