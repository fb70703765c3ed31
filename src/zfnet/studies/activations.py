"""What every layer does with a picture, and over many how sparse and local its maps are.

Read where the course notes show activations, behind the rectifier: contrast normalisation keeps
zeros but max pools hide them. The same images go through the net, through the weights that its
training began with and, for curves, through the weights after each epoch, so that plain grounds in
the images cannot make one of them look sparser.

A map is silent if none of the images activates it anywhere: with n images it may still answer to a
share of 3/n of all images (the rule of three). Dead by its weights is a map that no picture at all
can activate. The bound on what it receives is sound at every layer and far too large at the upper
ones, so that such a count holds at least.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zfnet.errors import UserError
from zfnet.methods._forward import UnsupportedModel, listening, undisturbed
from zfnet.methods.activations import Activity, activity, upper_bounds
from zfnet.models.checkpoint import load_weights
from zfnet.models.convnet import ConvNet
from zfnet.models.net import Net
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import MAPS, Estimate
from zfnet.stats.intervals import student_mean
from zfnet.studies.base import BATCH, Inputs, turns, untrained, when_it_fits, with_ends
from zfnet.studies.convergence import measured_epochs, read_snapshots

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.survey import Activations

SPLIT, TAP = "train", "relu"
LAYERS = (1, 2, 3, 4, 5, 6, 7)
SHOWN_MAPS = 24  # of a layer, the strongest in the picture: two rows that can still be seen
TREND_IMAGES = 200  # of those measured, for the curves: a pass for every epoch
SHARE, GAP = (0, 1), (-1, 1)  # where a mean lies


def run(cfg: Activations, paths: Paths) -> Measurement:
    """The activations of one training's net over its share of the training images."""
    inputs = Inputs.of_stage(cfg, paths, SPLIT, max_images=cfg.max_images, dealt=True)
    snapshots = read_snapshots(paths.epochs_of_net) if paths.leads else {}
    return measure(inputs, snapshots, cfg, leads=paths.leads)


def measure(
    inputs: Inputs, snapshots: Mapping[int, Path], cfg: Activations, *, leads: bool = True
) -> Measurement:
    """The same for any net. snapshots: {epoch: file} of weights for the curves.

    leads: with pictures, and curves where there are two snapshots or more.
    """
    net = inputs.net
    every = {n: net.tap(n, TAP) for n in LAYERS if f"{n}.{TAP}" in net.taps}
    last = watch(inputs, net, list(every.values()), inputs.rows)
    layers = {n: path for n, path in every.items() if last[path].rectified}
    first = begun(net, cfg.seed)
    start: dict[str, Activity] = {}
    if first is not None:
        start = watch(inputs, first, list(layers.values()), inputs.rows)
    dead = dead_by_weights(net)
    estimates = _counts(inputs, [last[path] for path in layers.values()])
    for number, path in layers.items():
        own = _estimates(last[path], start.get(path)) | _silence(last[path], dead.get(path))
        estimates |= {f"layer{number}_{key}": one for key, one in own.items()}
    tables = {"layers": _layer_table(layers, last, estimates)}
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, Any] = {
        "split": SPLIT,
        "input_px": net.input_px,
        **inputs.origin,
        "first": first is not None,
        "bounded": bool(dead),
        "not_rectified": [n for n in every if n not in layers],
        "layers": {n: {"module": p, "places": last[p].places} for n, p in layers.items()},
    }
    if leads:
        tables["epochs"] = _trend(inputs, first, snapshots, layers)
        arrays, facts["drawn"] = draw(inputs, layers, cfg)
    tap = f"{TAP} of layers {', '.join(map(str, layers))}"
    return Measurement(net.name, tap, cfg.seed, estimates, tables, arrays, facts)


def watch(inputs: Inputs, net: Net, paths: Sequence[str], rows: np.ndarray) -> dict[str, Activity]:
    """The activity of the modules `paths` of `net` over the images `rows` of `inputs`."""
    if not paths:
        return {}
    return when_it_fits(lambda size: activity(net.model, inputs.batches(rows, size), paths), BATCH)


def begun(net: Net, seed: int) -> Net | None:
    """The net with its first weights; None where it cannot be built anew."""
    try:
        return untrained(net, seed)
    except UserError:
        return None


def dead_by_weights(net: Net) -> dict[str, Tensor]:
    """Which maps (C,) of each rectifier no picture can activate, by module path.

    {} for a net that is no plain chain: nothing is proved of it.
    """
    if not isinstance(net.model, ConvNet):
        return {}
    shape, device = (1, 3, net.input_px, net.input_px), net.normalise.mean.device
    low = net.normalise(torch.zeros(shape, device=device)).amin((0, 2, 3))
    high = net.normalise(torch.full(shape, 255.0, device=device)).amax((0, 2, 3))
    chain = {path: m for path, m in net.model.named_modules() if not list(m.children())}
    try:
        bounds = upper_bounds(chain, low.clamp(max=0), high.clamp(min=0))
    except UnsupportedModel:
        return {}
    return {path: bound <= 0 for path, bound in bounds.items()}


# --------------------------------------------------------------------------------------- estimates
def _counts(inputs: Inputs, each: Sequence[Activity]) -> dict[str, Estimate]:
    n = len(inputs.rows)
    return {
        "images": Estimate(n, unit="images", note="a count"),
        "maps": Estimate(sum(len(one.highest) for one in each), unit="maps", note="a count"),
        "silent_bound": Estimate(
            min(1.0, 3 / n), unit="of images", note="3/n: what a silent map may answer to, at 95 %"
        ),
    }


def _estimates(last: Activity, start: Activity | None) -> dict[str, Estimate]:
    """Zeros and locality: means over images, with the first weights and the change, paired."""
    found = {}
    for key in ("zeros", "locality"):
        own = getattr(last, key).double().numpy()
        if np.isnan(own).all():  # one place has no others to be compared with
            continue
        found[key] = student_mean(own, limits=SHARE)
        if start is not None:
            before = getattr(start, key).double().numpy()
            found[f"{key}_start"] = student_mean(before, limits=SHARE, note="first weights")
            found[f"{key}_change"] = student_mean(
                own - before, limits=GAP, note="last minus first weights, paired by image"
            )
    return found


def _silence(last: Activity, dead: Tensor | None) -> dict[str, Estimate]:
    """How many maps no image activates, none can, and every place of every image does."""
    maps, n = len(last.highest), len(last.zeros)
    counts: dict[str, tuple[Tensor | None, str]] = {
        "silent": (last.silent, f"none of {n} images activates them"),
        "dead_by_weights": (dead, "no picture at all can activate them; at least so many"),
        "always_on": (last.always_on, f"active at every place of {n} images"),
    }
    return {
        key: Estimate(int(which.sum()), n=maps, unit="maps", note=note, covers=(MAPS,))
        for key, (which, note) in counts.items()
        if which is not None
    }


def _layer_table(
    layers: Mapping[int, str], last: Mapping[str, Activity], estimates: Mapping[str, Estimate]
) -> Table:
    records = []
    for number, path in layers.items():
        side = last[path].places
        record: dict[str, Any] = {"layer": number, "module": path, "maps": len(last[path].highest)}
        record["places"] = side[0] * side[1]
        for key in ("zeros", "locality"):
            for part in ("_start", "", "_change"):
                one = estimates.get(f"layer{number}_{key}{part}")
                record |= with_ends(f"{key}{part}", one or Estimate(math.nan))
        for key in ("silent", "dead_by_weights", "always_on"):
            one = estimates.get(f"layer{number}_{key}")
            record[key] = None if one is None else one.value
        records.append(record)
    return Table.of(records)


# ----------------------------------------------------------------------------- over the epochs
def _trend(
    inputs: Inputs, first: Net | None, snapshots: Mapping[int, Path], layers: Mapping[int, str]
) -> Table:
    """Zeros and locality after every measured epoch, 0 before training; no rows without snapshots.

    The net's weights are afterwards as before.
    """
    rows: list[list[Any]] = []
    some = inputs.rows[:: -(-len(inputs.rows) // TREND_IMAGES)]
    model, paths = inputs.net.model, list(layers.values())

    def add(epoch: int, net: Net) -> None:
        each = watch(inputs, net, paths, some)
        for number, path in layers.items():
            one = each[path]
            means = (float(values.nanmean()) for values in (one.zeros, one.locality))
            rows.append([number, epoch, *means, int(one.silent.sum())])

    if len(snapshots) > 1:
        if first is not None:
            add(0, first)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        try:
            for epoch in measured_epochs(list(snapshots), ()):
                load_weights(model, snapshots[epoch])
                add(epoch, inputs.net)
        finally:
            model.load_state_dict(before)
    return Table(["layer", "epoch", "zeros", "locality", "silent"], rows)


# ------------------------------------------------------------------------------------ the pictures
def draw(
    inputs: Inputs, layers: Mapping[int, str], cfg: Activations
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Some of the images in a seeded order, classes taking turns: maps of every layer, and facts.

    Of a layer with space the SHOWN_MAPS strongest maps of each image, of one without all units.
    uint8, the square root of the activation as a share of the layer's largest in these images.
    """
    net = inputs.net
    order = np.random.default_rng([cfg.seed, 21]).permutation(inputs.rows)
    order = order[np.argsort(turns(inputs.labels[order]), kind="stable")]
    rows = order[: cfg.images]
    maps, (p, says) = _maps_of(net, inputs.batch(rows), list(layers.values()))
    arrays = {"pictures": inputs.display(rows)}
    facts: list[dict[str, Any]] = [
        {"image": inputs.split.ids[row], "class": inputs.class_names[inputs.labels[row]]}
        | {"says": net.classes[int(says[i])], "p": float(p[i]), "active": {}, "scales": {}}
        for i, row in enumerate(rows.tolist())
    ]
    for number, path in layers.items():
        values, scale = maps[path], float(maps[path].max())
        grey = (255 * (values / (scale or 1.0)).sqrt()).round().to(torch.uint8)
        peaks = values.amax((2, 3))
        for own, count in zip(facts, (peaks > 0).sum(1).tolist(), strict=True):
            own["active"][number], own["scales"][number] = count, scale
        if values[0, 0].numel() == 1:
            arrays[f"layer{number}_units"] = grey.flatten(1).numpy()
            continue
        highest, which = (one[:, :SHOWN_MAPS] for one in peaks.sort(descending=True, stable=True))
        chosen = [one[own] for one, own in zip(grey, which, strict=True)]
        arrays[f"layer{number}_maps"] = torch.stack(chosen).numpy()
        arrays[f"layer{number}_numbers"] = which.int().numpy()
        arrays[f"layer{number}_highest"] = highest.numpy()
    return arrays, facts


def _maps_of(
    net: Net, images: Tensor, paths: Sequence[str]
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
    """Maps (n, C, h, w) of each module for net input, and the answers: p (n,), output (n,)."""
    maps: dict[str, Tensor] = {}

    def hear(path: str, output: Tensor) -> None:
        own = output if output.ndim == 4 else output[:, :, None, None]
        maps[path] = own.float().cpu().clone()  # at once: a later operation may work in place

    paths = list(dict.fromkeys(paths))
    with torch.no_grad(), undisturbed(net.model), listening(net.model, paths, hear, stop=False):
        logits = net.model(images)
    p, says = logits.float().softmax(1).cpu().max(1)
    return maps, (p, says)
