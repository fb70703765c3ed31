"""Features of the target sets at every layer, by one pass a net: what transfer and probe read.

The nets are the trained one and, as a control, the same architecture with random weights: the very
weights its training began with, where the net's record tells them. `feature_store` says what is
written. It is large: layer 1 of ZFNet alone has 290,400 numbers an image. How large is said before
anything is made, and too little free space is refused then.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from zfnet.data.multilabel import PRESENT
from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.files import write_json
from zfnet.machine import pick_device
from zfnet.methods._forward import listening, run_until_heard, undisturbed
from zfnet.models.checkpoint import load_net
from zfnet.models.net import Net
from zfnet.progress import progress
from zfnet.studies.base import Inputs, untrained
from zfnet.studies.feature_store import FORMAT, INDEX, TRAINED, UNTRAINED

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Codes

LAYERS = (1, 2, 3, 4, 5, 7)  # those of Table 7
MULTI_LABEL_LAYERS = (7,)  # sets with several labels an image have no place in Table 7
TAP = "out"  # what the next layer receives: behind the layer's pool and normalisation
NUMBER = np.dtype(np.float32)
BATCH = 64  # images


def run(cfg: Codes, paths: Paths) -> dict[str, Any]:
    """Write the features of every target; returns how many images and bytes, for the timing."""
    device = pick_device(cfg.device)
    net = load_net(paths.net)
    folders = sorted(meta.parent for meta in paths.targets.glob("*/meta.json"))
    targets = {folder.name: Prepared.open(folder) for folder in folders}
    return write_features(net, targets, paths.results, cfg, device)


def write_features(
    net: Net, targets: Mapping[str, Prepared], folder: Path, cfg: Codes, device: torch.device
) -> dict[str, Any]:
    """Write the features of `targets` below `folder`, which is replaced whole at the end.

    Without targets the index lists none, and no net is run. Raises UserError if the net lacks a
    layer that `cfg` names, or if the features are larger than what is free on the disk.
    """
    nets, layers, dims = {TRAINED: net}, [], {}
    if not targets:
        print("codes: no target is run: set targets.<name>.run=true", file=sys.stderr)
    else:
        layers = layers_of(net, cfg.layers)
        dims = dimensions(net, layers, device)
        nets |= {UNTRAINED: _control(net, cfg.seed)} if cfg.untrained else {}
    folder.parent.mkdir(parents=True, exist_ok=True)
    size = check_disk(targets, dims, len(nets), folder.parent)
    draft = folder.parent / f".{folder.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)  # left by a run that was killed
    listed: dict[str, Any] = {}
    images = 0
    try:
        for target, prepared in targets.items():
            wanted = wanted_layers(prepared, layers)
            own = {str(layer): dims[layer] for layer in wanted}
            listed[target] = {}
            for split, count in prepared.meta.splits.items():
                if count:
                    listed[target][split] = {"images": count, "layers": own, "nets": list(nets)}
                for name, each in nets.items() if count else ():
                    inputs = Inputs(prepared, split, each, device)
                    _write_split(each, inputs, wanted, dims, draft / target / split / name)
                    images += count
        taps = {str(layer): net.tap(layer, TAP) for layer in layers}
        index = {"format": FORMAT, "net": net.name, "targets": listed, "taps": taps}
        write_json(draft / INDEX, index, sort_keys=False)
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return {"images_passed": images, "megabytes": round(size / 1e6, 1)}


def layers_of(net: Net, asked: Sequence[int] | None) -> list[int]:
    """The layers to read, ascending: those asked for, else those of LAYERS that the net has.

    Raises UserError for a layer asked for that the net has not, or if it has none of LAYERS.
    """
    if asked is not None:
        for layer in asked:
            net.tap(layer, TAP)
        return sorted(set(asked))
    there = [layer for layer in LAYERS if f"{layer}.{TAP}" in net.taps]
    lacking = ", ".join(str(layer) for layer in LAYERS if layer not in there)
    if not there:
        raise UserError(
            f"{net.name} ({net.arch}) has none of the layers {lacking}; name modules for them with "
            'model.layers={7: "module.path"}'
        )
    if lacking:
        print(f"codes: {net.name} has no layer {lacking}; left out", file=sys.stderr)
    return there


def wanted_layers(prepared: Prepared, layers: Sequence[int]) -> list[int]:
    """The layers whose features a target needs."""
    if PRESENT in prepared.meta.attributes:
        return [layer for layer in layers if layer in MULTI_LABEL_LAYERS] or list(layers[-1:])
    return list(layers)


def outputs_of(net: Net, images: torch.Tensor, layers: Sequence[int]) -> dict[int, torch.Tensor]:
    """What each of `layers` gives for net input (n, 3, px, px): (n, C·H·W) float32, in one pass."""
    paths = {layer: net.tap(layer, TAP) for layer in layers}
    modules = list(dict.fromkeys(paths.values()))
    outputs: dict[str, torch.Tensor] = {}

    def keep(path: str, output: torch.Tensor) -> None:
        # copied at once: a later operation may work in place
        outputs[path] = output.flatten(1).to(torch.float32, copy=True)

    with torch.inference_mode(), undisturbed(net.model), listening(net.model, modules, keep):
        run_until_heard(net.model, images, modules)
    return {layer: outputs[path] for layer, path in paths.items()}


def dimensions(net: Net, layers: Sequence[int], device: torch.device) -> dict[int, int]:
    """How many numbers an image has at each of `layers`."""
    black = torch.zeros(1, 3, net.input_px, net.input_px, device=device)
    net.model.to(device)
    return {layer: out.shape[1] for layer, out in outputs_of(net, black, layers).items()}


def amount(size: int) -> str:
    """Bytes in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def check_disk(
    targets: Mapping[str, Prepared], dims: Mapping[int, int], nets: int, folder: Path
) -> int:
    """Say on stderr what the features will take, and return it in bytes, files' headers aside.

    dims: numbers an image by layer, ascending. Raises UserError if it is more than is free.
    """
    sizes = {}
    for name, prepared in targets.items():
        images = sum(prepared.meta.splits.values())
        numbers = sum(dims[layer] for layer in wanted_layers(prepared, list(dims)))
        sizes[name] = images * numbers * nets * NUMBER.itemsize
        told = f"{images:,} images x {numbers:,} numbers x {nets} nets: {amount(sizes[name])}"
        print(f"codes: {name}: {told}", file=sys.stderr)
    need, free = sum(sizes.values()), shutil.disk_usage(folder).free
    if need <= free:
        return need
    each = ", ".join(f"targets.{name}.run=false saves {amount(n)}" for name, n in sizes.items())
    half = "study.codes.untrained=false (no control) halves it, " if nets > 1 else ""
    raise UserError(
        f"{folder}: features of the targets take {amount(need)}, and {amount(free)} are free. "
        f"{each}; {half}study.codes.layers=[7] (with study.probe.svm_layers=[7] and "
        "study.probe.softmax_layers=[7]) leaves the smallest layer; or make room"
    )


def _write_split(
    net: Net, inputs: Inputs, layers: Sequence[int], dims: Mapping[int, int], folder: Path
) -> None:
    """Write <layer>.npy of each layer into `folder`.

    Centre crops, or whole images enlarged for a net that takes more pixels than are stored.
    """
    folder.mkdir(parents=True)
    count = len(inputs.rows)
    files = {
        n: np.lib.format.open_memmap(folder / f"{n}.npy", "w+", NUMBER, (count, dims[n]))
        for n in layers
    }
    batches = inputs.batches(inputs.rows, BATCH)
    for images, rows in progress(batches, -(-count // BATCH), f"{net.name}: features", "batch"):
        for layer, values in outputs_of(net, images, layers).items():
            files[layer][rows.numpy()] = values.cpu().numpy()
    for file in files.values():
        file.flush()


def _control(net: Net, seed: int) -> Net:
    try:
        return untrained(net, seed)
    except UserError as error:
        raise UserError(f"{error}; set study.codes.untrained=false") from error
