"""Features of the target sets at every layer, by one pass a net: what transfer and probe read.

The nets are the trained one and, as a control, the same architecture with random weights: the very
weights its training began with, where the net's record tells them.

Written below the stage's folder: <target>/<split>/<net>/<layer>.npy, (images, dimensions) float32
in the order of the split, each image's maps flattened as (C, H, W), to be read as memory maps; and
codes.json, which lists them. `zfnet.studies.code_files` reads them.

They are large: layer 1 of ZFNet alone has 290,400 numbers an image. How large is said before they
are made, and too little free space is refused then.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.errors import UserError
from zfnet.studies.code_files import FORMAT

if TYPE_CHECKING:
    import torch

    from zfnet.data.store import Prepared
    from zfnet.models.net import Net

LAYERS = (1, 2, 3, 4, 5, 7)  # those of Table 7
TAP = "out"  # what the next layer receives: behind the layer's pool and normalisation
NETS = ("trained", "untrained")
NUMBER = np.dtype(np.float32)
UNKNOWN_INIT = "scaled"  # the paper's, whose deviation grows in nets narrower than the paper's


@dataclass(frozen=True)
class Options:
    """The section `study.codes` of the config, checked; see conf/study/codes.yaml."""

    layers: Sequence[int] | None = None
    multi_label_layers: Sequence[int] = (7,)
    untrained: bool = True
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"study.codes.batch_size={self.batch_size}: must be at least 1")
        if self.layers is not None and not self.layers:
            raise UserError("study.codes.layers: name at least one layer, or null for all")


def run(cfg: Any, paths: Any) -> dict[str, Any]:
    """The stage: keys read are study.codes, seed and device. Returns facts for the timing."""
    from zfnet.data.store import Prepared
    from zfnet.machine import pick_device
    from zfnet.models.net import load_net

    section = cfg.study.codes
    options = Options(
        layers=None if section.layers is None else list(section.layers),
        multi_label_layers=list(section.multi_label_layers or ()),
        untrained=section.untrained,
        batch_size=section.batch_size,
    )
    device = pick_device(cfg.device)
    net = load_net(paths.net)
    folders = sorted(meta.parent for meta in Path(paths.targets).glob("*/meta.json"))
    targets = {folder.name: Prepared.open(folder) for folder in folders}
    return write_codes(net, targets, Path(paths.codes), options, seed=cfg.seed, device=device)


def write_codes(
    net: Net,
    targets: Mapping[str, Prepared],
    folder: Path,
    options: Options,
    *,
    seed: int = 0,
    device: torch.device | None = None,
) -> dict[str, Any]:
    """Write the codes of `targets` below `folder`, which is replaced whole at the end.

    Returns how many images and bytes. Without targets codes.json lists none, and no net is run.
    Raises UserError if the net lacks a layer that the options name, or if the codes are larger than
    what is free on the disk.
    """
    if not targets:
        print(
            "codes: No target is run: there is nothing to make features of. Set "
            "targets.<name>.run=true.",
            file=sys.stderr,
        )
    layers = layers_of(net, options) if targets else []
    nets = {"trained": net}
    if options.untrained and targets:
        nets["untrained"] = untrained(net, seed)
    draft = folder.parent / f".{folder.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)  # left by a run that was killed
    folder.parent.mkdir(parents=True, exist_ok=True)
    if targets:
        dims = dimensions(net, layers, device)
        sizes = {
            target: size_of(prepared, dims, layers, options) for target, prepared in targets.items()
        }
        check_disk(sizes, folder.parent, options)
    draft.mkdir(parents=True)
    record: dict[str, Any] = {"format": FORMAT, "net": net.name, "targets": {}, "taps": {}}
    record["taps"] = {str(layer): net.tap(layer, TAP) for layer in layers}
    images = 0
    try:
        for target, prepared in targets.items():
            record["targets"][target] = {}
            wanted = _wanted(prepared, layers, options)
            for split, count in prepared.meta.splits.items():
                if not count:
                    continue
                for name, each in nets.items():
                    place = draft / target / split / name
                    place.mkdir(parents=True)
                    written = _write_split(each, prepared, split, wanted, place, options, device)
                    images += count
                record["targets"][target][split] = {
                    "images": count,
                    "layers": {str(layer): written[layer] for layer in wanted},
                    "nets": list(nets),
                }
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        (draft / "codes.json").write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    size = sum(file.stat().st_size for file in folder.rglob("*.npy"))
    return {"images_passed": images, "megabytes": round(size / 1e6, 1)}


def layers_of(net: Net, options: Options) -> list[int]:
    """The layers to read, ascending: those asked for, else those of LAYERS that the net has.

    Raises UserError for a layer asked for that the net has not, or if it has none of LAYERS.
    """
    if options.layers is not None:
        for layer in options.layers:
            net.tap(layer, TAP)
        return sorted(set(options.layers))
    found = [layer for layer in LAYERS if f"{layer}.{TAP}" in net.taps]
    lacking = [str(layer) for layer in LAYERS if layer not in found]
    if not found:
        raise UserError(
            f"{net.name} ({net.arch}) has none of the layers {', '.join(lacking)}; name modules "
            'for them with model.layers={7: "module.path"}'
        )
    if lacking:
        print(f"codes: {net.name} has no layer {', '.join(lacking)}; left out", file=sys.stderr)
    return found


def _wanted(prepared: Prepared, layers: list[int], options: Options) -> list[int]:
    """Sets with several labels an image have no place in Table 7: fewer layers are needed."""
    if "present" in prepared.meta.attributes:
        return [layer for layer in layers if layer in options.multi_label_layers] or layers[-1:]
    return layers


def dimensions(
    net: Net, layers: Sequence[int], device: torch.device | None = None
) -> dict[int, int]:
    """How many numbers an image has at each of `layers`, by one forward pass of a black image."""
    import torch

    from zfnet.methods._forward import listening, run_until_heard, undisturbed

    taps = {layer: net.tap(layer, TAP) for layer in layers}
    modules = list(dict.fromkeys(taps.values()))
    heard: dict[str, int] = {}

    def count(path: str, output: torch.Tensor) -> None:
        heard[path] = output[0].numel()

    if device is not None:
        net.model.to(device)
    black = torch.zeros(1, 3, net.input_px, net.input_px, device=device)
    with torch.inference_mode(), undisturbed(net.model), listening(net.model, modules, count):
        run_until_heard(net.model, black, modules)
    return {layer: heard[path] for layer, path in taps.items()}


@dataclass(frozen=True)
class Size:
    """What the codes of one target take: images, numbers an image in all layers, nets."""

    images: int
    numbers: int
    nets: int

    @property
    def bytes(self) -> int:
        """On the disk, without the files' headers."""
        return self.images * self.numbers * self.nets * NUMBER.itemsize

    def __str__(self) -> str:
        nets = f"{self.nets} net{'s' * (self.nets > 1)}"
        return f"{self.images:,} images x {self.numbers:,} numbers x {nets}: {amount(self.bytes)}"


def size_of(
    prepared: Prepared, dims: Mapping[int, int], layers: list[int], options: Options
) -> Size:
    """What the codes of one target will take; dims: numbers an image by layer."""
    numbers = sum(dims[layer] for layer in _wanted(prepared, layers, options))
    return Size(sum(prepared.meta.splits.values()), numbers, 1 + options.untrained)


def amount(size: int) -> str:
    """Bytes in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def check_disk(sizes: Mapping[str, Size], folder: Path, options: Options) -> None:
    """Say on stderr what the codes will take. Raises UserError if it is more than is free."""
    for name, size in sizes.items():
        print(f"codes: {name}: {size}", file=sys.stderr)
    need = sum(size.bytes for size in sizes.values())
    free = shutil.disk_usage(folder).free
    if need <= free:
        return
    each = ", ".join(f"targets.{name}.run=false saves {amount(size.bytes)}"
                     for name, size in sizes.items())  # fmt: skip
    half = "study.codes.untrained=false (no control) halves it, " if options.untrained else ""
    raise UserError(
        f"{folder}: features of the targets take {amount(need)}, and {amount(free)} are free. "
        f"{each}; {half}study.codes.layers=[7] (with study.probe.svm_layers=[7] and "
        "study.probe.softmax_layers=[7]) leaves the smallest layer; or make room"
    )


def untrained(net: Net, seed: int) -> Net:
    """A net of the same architecture with random weights, in evaluation mode on the CPU.

    One of ours gets the weights its training began with, by the initialisation and seed that its
    record tells; where it tells none (a net trained elsewhere), the paper's and `seed`. Another
    gets torchvision's own random weights by `seed`.
    """
    import copy
    from dataclasses import replace

    import torch

    from zfnet.models.convnet import ConvNet, init_weights

    training = net.provenance.get("training") or {}
    model: torch.nn.Module
    if isinstance(net.model, ConvNet):
        model = ConvNet(net.model.spec)
        drawn = int(net.provenance.get("seed", seed))
        kind = training.get("init", UNKNOWN_INIT)
        init_weights(model, kind, width=net.model.spec.width, seed=drawn)
    elif net.rebuild.get("kind") == "torchvision":
        from zfnet.models.external import build_model

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_model(net.rebuild["name"], net.rebuild["num_classes"])
    else:
        raise UserError(
            f"{net.name} ({net.arch}) cannot be built anew, which the untrained control needs; "
            "set study.codes.untrained=false"
        )
    normalise = copy.deepcopy(net.normalise).cpu()
    return replace(net, model=model.eval(), normalise=normalise, name=f"{net.name}, untrained")


def _write_split(
    net: Net,
    prepared: Prepared,
    split: str,
    layers: list[int],
    folder: Path,
    options: Options,
    device: torch.device | None,
) -> dict[int, int]:
    """Write <layer>.npy of each of `layers` into `folder`; returns their dimensions."""
    files: dict[int, np.memmap] = {}
    count = prepared.meta.splits[split]

    def receive(start: int, codes: dict[int, np.ndarray]) -> None:
        for layer, values in codes.items():
            if layer not in files:
                files[layer] = np.lib.format.open_memmap(
                    folder / f"{layer}.npy", "w+", NUMBER, (count, values.shape[1])
                )
            files[layer][start : start + len(values)] = values

    pass_through(net, prepared, split, layers, receive, options.batch_size, device)
    for file in files.values():
        file.flush()
    return {layer: int(file.shape[1]) for layer, file in files.items()}


def pass_through(
    net: Net,
    prepared: Prepared,
    split: str,
    layers: Sequence[int],
    receive: Callable[[int, dict[int, np.ndarray]], None],
    batch_size: int,
    device: torch.device | None = None,
) -> None:
    """Call `receive(first row, {layer: codes (n, dimensions) float32})` for each batch of a split.

    All layers come from one forward pass. Centre crops, or whole images enlarged for a net that
    takes more pixels than are stored; maps flattened as (C, H, W).
    """
    import torch

    from zfnet.methods._forward import listening, run_until_heard, undisturbed
    from zfnet.progress import progress
    from zfnet.studies.base import Inputs

    inputs = Inputs(prepared, split, net, device)
    taps = {layer: net.tap(layer, TAP) for layer in layers}
    modules = list(dict.fromkeys(taps.values()))
    heard: dict[str, np.ndarray] = {}

    def keep(path: str, output: torch.Tensor) -> None:
        # copied at once: a later operation may work in place
        heard[path] = np.array(output.float().flatten(1).cpu().numpy())

    batches = inputs.batches(inputs.rows, batch_size)
    total = -(-len(inputs.rows) // batch_size)
    with torch.inference_mode(), undisturbed(net.model), listening(net.model, modules, keep):
        for images, rows in progress(batches, total, f"{net.name}: codes", "batch"):
            run_until_heard(net.model, images, modules)
            receive(int(rows[0]), {layer: heard[path] for layer, path in taps.items()})
