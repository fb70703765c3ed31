"""Nets as files: net.json, weights.pt and, for a mean image, mean.npy in one folder."""

from __future__ import annotations

import importlib
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.files import read_json, write_json, write_whole
from zfnet.models.convnet import ConvNet, init_weights
from zfnet.models.net import MEAN_IMAGE, STANDARDISE, Net, Normalise
from zfnet.models.spec import Linear, NetSpec

NET_FORMAT = 1
DAMAGED = (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile)
FOREIGN = "zfnet.models.foreign"
UNKNOWN_INIT = "scaled"  # the paper's, whose deviation grows in nets narrower than the paper's


def save_net(net: Net, folder: str | Path) -> None:
    """Write net.json, weights.pt (a state dict) and, for a mean image, mean.npy into `folder`.

    The same net gives the same bytes, whatever its device, memory format or folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    normalise: dict[str, Any] = {"kind": net.normalise.kind}
    if net.normalise.kind == MEAN_IMAGE:
        mean = net.normalise.mean.cpu().numpy()
        write_whole(folder / "mean.npy", lambda file: np.save(file, mean))
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
    write_json(folder / "net.json", record, sort_keys=False)
    save_weights(net.model, folder / "weights.pt")
    with (folder / "weights.pt").open("rb") as file:
        os.fsync(file.fileno())  # a training's checkpoints are deleted next


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
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (*DAMAGED, OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: cannot be read as weights, it is damaged or holds more than tensors; give a "
            f"state dict saved by torch.save ({type(error).__name__}: {str(error)[:80]!r})"
        ) from error
    if isinstance(held, Mapping) and isinstance(held.get("state_dict"), Mapping):
        held = held["state_dict"]
    tensors = held.values() if isinstance(held, Mapping) else ()
    if not tensors or not all(isinstance(value, Tensor) for value in tensors):
        raise UserError(f"{path}: holds no state dict (a mapping of names to tensors)")
    state = OrderedDict((str(key).removeprefix("module."), each) for key, each in held.items())
    if state.keys() == held.keys() and hasattr(held, "_metadata"):
        state._metadata = held._metadata  # type: ignore[attr-defined]
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


def draw_anew(
    rebuild: Mapping[str, Any], init: str, seed: int, classes: int | None = None
) -> nn.Module:
    """The architecture of a net's `rebuild` with first weights, which depend on `seed` alone.

    One of ours begins by the initialisation `init`, a foreign net as its library draws it.
    classes: another number of outputs.
    """
    if rebuild["kind"] != "convnet":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn: nn.Module = foreign().build_model(
                rebuild["name"], classes or rebuild["num_classes"]
            )
            return drawn
    spec = NetSpec.from_dict(rebuild["spec"])
    number, last = spec.layers[-1]
    assert isinstance(last, Linear)
    last = replace(last, units=classes or last.units)
    model = ConvNet(replace(spec, layers=(*spec.layers[:-1], (number, last))))
    init_weights(model, init, width=spec.width, seed=seed)
    return model


def first_model(net: Net, seed: int) -> nn.Module:
    """The weights that a net's training began with; by `seed` where its record does not tell.

    One of ours without a record begins as the paper says, a foreign net as its library draws it.
    Raises UserError for a model that cannot be built anew.
    """
    if "kind" not in net.rebuild:
        raise UserError(f"{net.name} ({net.arch}) cannot be built anew")
    begun = net.provenance if net.rebuild["kind"] == "convnet" else {}
    init = (begun.get("training") or {}).get("init", UNKNOWN_INIT)
    return draw_anew(net.rebuild, init, int(begun.get("seed", seed)))


def foreign() -> Any:
    """The module of foreign nets, imported by name.

    No import leads there: whoever trains or studies our own nets does not depend on its code. A
    foreign net's record holds its hash instead (`zfnet.training.adopt`).
    """
    return importlib.import_module(FOREIGN)


def _rebuilt(rebuild: Mapping[str, Any]) -> nn.Module:
    """The model with weights as they lie in memory: those of a file are about to fill it."""
    if rebuild["kind"] == "convnet":
        with torch.device("meta"):
            return ConvNet(NetSpec.from_dict(rebuild["spec"]))
    model: nn.Module = foreign().build_model(rebuild["name"], rebuild["num_classes"], draw=False)
    return model


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(
            f"{path}: not found; train the net first, or give the folder of a saved one"
        )
    record = read_json(path)
    if record.get("format") != NET_FORMAT:
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
