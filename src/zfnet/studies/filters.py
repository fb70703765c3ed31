"""The weights of every layer as filters, and how smooth they are.

The course notes take smooth filters without noise for the sign of a net trained well, and noise for
one trained too briefly or with too little regularisation; they give no measure. Here a filter's
total variation is compared with that of the same taps in random order. As each kernel is shuffled
within itself, its mean and its strength do not count: a colour blob is as smooth as its edges are.
That number with and without the kernels' means is therefore one and the same.
Kernels of one tap and layers without space have no smoothness.

First weights are noise, and stand beside the last. A filter that no gradient reaches keeps its
noise, and is left out: see `dead`. Whether layer 1 is mostly noise is asked by the roughness of the
study `architecture`, the noise's share of the energy or more.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.methods._forward import find_layer
from zfnet.methods.filters import (
    SMOOTH,
    changed_shape,
    filter_rms,
    relative_roughness,
    smoothness,
)
from zfnet.models.checkpoint import first_model, load_net, read_state
from zfnet.models.hooks import hooked
from zfnet.models.net import Net
from zfnet.results import Measurement, Table
from zfnet.stats.bootstrap import bootstrap_mean
from zfnet.stats.estimate import MAPS, Estimate
from zfnet.studies.base import with_ends
from zfnet.studies.convergence import measured_epochs, read_snapshots

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.survey import Filters

LAYERS = (1, 2, 3, 4, 5, 6, 7)
SHOWN_FILTERS, SHOWN_PLANES = 6, 16  # above layer 1, the strongest of the layer and of the filter
# A filter is dead if its shape moved less than this share of the layer's moving ones, between the
# last two snapshots: rounding alone moves it by 1e-6 or so, an epoch's gradients by 1e-2. Where all
# of a layer moved so little, as before any training, nothing tells which are dead.
STILL, MOVING, LEAST = 1e-3, 0.9, 1e-5


def run(cfg: Filters, paths: Paths) -> Measurement:
    """The filters of one training."""
    net = load_net(paths.net)
    return measure(net, read_snapshots(paths.epochs_of_net), cfg, leads=paths.leads)


def measure(
    net: Net, snapshots: Mapping[int, Path], cfg: Filters, *, leads: bool = True
) -> Measurement:
    """The same for any net. snapshots: {epoch: file}, ascending; the last is the net's own.

    leads: with pictures, and a curve where there are two snapshots or more.
    """
    weights = layers_of(net)
    last = filters_of(weights, net.model.state_dict())
    first: dict[int, Tensor] = {}
    with contextlib.suppress(UserError):
        first = filters_of(weights, first_model(net, cfg.seed).state_dict())
    known = net.rebuild.get("kind") == "convnet" and "adopted" not in net.provenance
    before = first if known else {}
    if len(snapshots) > 1:
        before = filters_of(weights, read_state(snapshots[list(snapshots)[-2]]))
    banks = {
        n: FilterBank(n, weights[n], last[n], first.get(n), dead(last[n], before.get(n)), cfg.seed)
        for n in weights
    }
    estimates: dict[str, Estimate] = {}
    for bank in banks.values():
        own = _estimates(bank, cfg.seed)
        estimates |= {f"layer{bank.number}_{key}": one for key, one in own.items()}
    tables = {"layers": _layer_table(banks.values(), estimates)}
    facts: dict[str, Any] = {
        "adopted": "adopted" in net.provenance,
        "first": bool(first),
        "dead_since": "epoch" if len(snapshots) > 1 else "start" if before else "",
        "layers": {n: bank.facts() for n, bank in banks.items()},
        "no_space": [n for n, bank in banks.items() if not bank.spatial],
        "noise_from": SMOOTH,
        "epochs": list(snapshots),
    }
    arrays: dict[str, np.ndarray] = {}
    if leads:
        tables["filters"] = _filter_table(banks.values())
        tables["epochs"] = _trend(weights, banks, snapshots)
        for bank in banks.values():
            arrays |= _arrays(bank)
    return Measurement(net.name, "weights", cfg.seed, estimates, tables, arrays, facts)


# ---------------------------------------------------------------------------------------- weights
@dataclass(frozen=True)
class Weights:
    """Where a layer's weights lie: the module `path`; (maps, h, w) of what a linear layer reads."""

    path: str
    reads: tuple[int, int, int] | None = None


def layers_of(net: Net) -> dict[int, Weights]:
    """The convolutions and linear layers that feed the net's numbered layers.

    Own nets name them; of others it is the last convolution with space, or linear layer, inside the
    layer's module or before it.
    """
    modules = dict(net.model.named_modules())
    order, found = list(modules), dict[int, Weights]()
    for number in (n for n in LAYERS if f"{n}.relu" in net.taps):
        path = net.taps.get(f"{number}.conv", net.taps.get(f"{number}.linear"))
        if path is None:
            tap = net.tap(number, "relu")
            find_layer(net.model, tap)
            inside = [name for name in order if name == tap or name.startswith(f"{tap}.")]
            upto = order[: order.index((inside or [tap])[-1]) + 1]
            wanted = [name for name in upto if _fits(modules[name], number)]
            if not wanted:
                continue
            path = wanted[-1]
        reads = _what_reads(net, path) if isinstance(modules[path], nn.Linear) else None
        found[number] = Weights(path, reads)
    return found


def _fits(module: nn.Module, number: int) -> bool:
    if number > 5:
        return isinstance(module, nn.Linear)
    return isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1


@torch.no_grad()
def _what_reads(net: Net, path: str) -> tuple[int, int, int] | None:
    """(maps, h, w) of the maps whose numbers a linear layer reads; None if it reads units."""
    layer = find_layer(net.model, path)
    assert isinstance(layer, nn.Linear)
    passed: list[tuple[bool, tuple[int, ...]]] = []
    before: list[tuple[bool, tuple[int, ...]]] = []

    def leave(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor):
            passed.append((isinstance(module, nn.Linear), tuple(output.shape[1:])))

    image = torch.zeros(1, 3, net.input_px, net.input_px, device=layer.weight.device)
    every = [(module, leave) for name, module in net.model.named_modules() if name]
    with hooked([(layer, lambda *_: before.extend(passed))], every):
        net.model(image)
    for linear, shape in reversed(before):  # flatten and dropout, then the maps, or a linear layer
        if linear:
            return None
        if len(shape) == 3 and math.prod(shape) == layer.in_features:
            return shape
    return None


def filters_of(weights: Mapping[int, Weights], state: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """The filters (C, I, h, w) float of each layer, from a state dict."""
    found = {}
    for number, of in weights.items():
        weight = state[f"{of.path}.weight"].detach().cpu().float()
        shape = weight.shape if weight.ndim == 4 else (len(weight), *(of.reads or (-1, 1, 1)))
        found[number] = weight.contiguous().view(shape)
    return found


# -------------------------------------------------------------------------------------- measuring
def dead(filters: Tensor, before: Tensor | None) -> np.ndarray:
    """(C,) bool: filters of zeros, and those that no gradient has reached since `before`.

    Such a filter has at most changed its size, by decay or a limit. See STILL.
    """
    found = (filter_rms(filters) == 0).numpy()
    if before is None:
        return found
    moved = changed_shape(filters, before).numpy()
    usual = float(np.quantile(moved, MOVING))
    return np.asarray(found | (moved <= STILL * usual)) if usual > LEAST else found


@dataclass(frozen=True)
class FilterBank:
    """One layer's filters (C, I, h, w) and what training began with; dead (C,)."""

    number: int
    weights: Weights
    filters: Tensor
    first: Tensor | None
    dead: np.ndarray
    seed: int = 0

    @cached_property
    def smoothness(self) -> np.ndarray:
        """(C,) of the filters; NaN where it is not defined."""
        return smoothness(self.filters, self.seed).numpy()

    @cached_property
    def smoothness_start(self) -> np.ndarray:
        """(C,) of the first weights; NaN where they are not known."""
        if self.first is None:
            return np.full(len(self.filters), np.nan)
        return smoothness(self.first, self.seed).numpy()

    @property
    def spatial(self) -> bool:
        """Whether kernels have more than one tap."""
        return self.filters.shape[2] * self.filters.shape[3] > 1

    def facts(self) -> dict[str, Any]:
        """Plain facts of the layer."""
        return {
            "module": self.weights.path,
            "filters": self.filters.shape[0],
            "planes": self.filters.shape[1],
            "kernel": list(self.filters.shape[2:]),
            "linear": self.weights.reads is not None,
        }


def _estimates(bank: FilterBank, seed: int) -> dict[str, Estimate]:
    """Smoothness over the live filters, at the end, at the start and its gain; dead ones."""
    n = len(bank.dead)
    note = "a count of those that no gradient reaches"
    count = Estimate(int(bank.dead.sum()), n=n, unit="maps", note=note, covers=(MAPS,))
    found = {"dead": count}
    live = ~bank.dead
    if not bank.spatial or not live.any():
        return found
    numbers = {"smoothness": bank.smoothness[live]}
    if bank.first is not None:
        numbers["smoothness_start"] = bank.smoothness_start[live]
        numbers["smoothness_gain"] = numbers["smoothness"] - numbers["smoothness_start"]
        if bank.number == 1:
            numbers["roughness"] = relative_roughness(bank.filters[live], bank.first)
    for key, values in numbers.items():
        found[key] = bootstrap_mean(values[np.isfinite(values)], seed, covers=(MAPS,))
    return found


def _layer_table(banks: Iterable[FilterBank], estimates: Mapping[str, Estimate]) -> Table:
    """A row a layer; without smoothness where there is no space."""
    records = []
    for bank in banks:
        shape = "x".join(str(side) for side in bank.filters.shape[2:])
        record: dict[str, Any] = {
            "layer": bank.number,
            "module": bank.weights.path,
            "kernel": shape,
            "filters": len(bank.filters),
        }
        for key in ("smoothness", "smoothness_start", "smoothness_gain"):
            one = estimates.get(f"layer{bank.number}_{key}", Estimate(float("nan")))
            record |= with_ends(key, one)
        record["dead"] = int(bank.dead.sum())
        records.append(record)
    return Table.of(records)


def _filter_table(banks: Iterable[FilterBank]) -> Table:
    """Every filter of a layer with space."""
    columns = ["layer", "filter", "rms", "smoothness", "smoothness_start", "dead"]
    rows: list[list[Any]] = []
    for bank in (bank for bank in banks if bank.spatial):
        end, start = bank.smoothness.tolist(), bank.smoothness_start.tolist()
        rms = filter_rms(bank.filters).tolist()
        for i, values in enumerate(zip(rms, end, start, bank.dead.tolist(), strict=True)):
            rows.append([bank.number, i, *values])
    return Table(columns, rows)


def _trend(
    weights: Mapping[int, Weights], banks: Mapping[int, FilterBank], snapshots: Mapping[int, Path]
) -> Table:
    """Mean smoothness after every measured epoch, 0 before training, of filters live at the end."""
    rows: list[list[Any]] = []

    def add(epoch: int, filters: Mapping[int, Tensor]) -> None:
        for number, bank in banks.items():
            if bank.spatial and not bank.dead.all() and number in filters:
                values = smoothness(filters[number], bank.seed).numpy()[~bank.dead]
                rows.append([number, epoch, float(np.nanmean(values))])

    if len(snapshots) > 1:
        add(0, {n: bank.first for n, bank in banks.items() if bank.first is not None})
        for epoch in measured_epochs(list(snapshots), ()):
            add(epoch, filters_of(weights, read_state(snapshots[epoch])))
    return Table(["layer", "epoch", "smoothness"], rows)


# --------------------------------------------------------------------------------------- pictures
def _arrays(bank: FilterBank) -> dict[str, np.ndarray]:
    """Layer 1 of colours whole; of others the strongest live filters, their strongest planes."""
    name = f"layer{bank.number}"
    if not bank.spatial:
        return {}
    if bank.number == 1 and bank.filters.shape[1] == 3:
        found = {f"{name}_filters": bank.filters.numpy(), f"{name}_dead": bank.dead}
        return found | ({} if bank.first is None else {f"{name}_first": bank.first.numpy()})
    which = _strongest(filter_rms(bank.filters).where(torch.from_numpy(~bank.dead), -1.0))
    which = which[: min(SHOWN_FILTERS, int((~bank.dead).sum()))]
    planes = [_strongest(filter_rms(one)).numpy()[:SHOWN_PLANES] for one in bank.filters[which]]
    if not planes:
        return {}
    drawn = [bank.filters[i][own] for i, own in zip(which.tolist(), planes, strict=True)]
    return {
        f"{name}_planes": torch.stack(drawn).numpy(),
        f"{name}_numbers": which.int().numpy(),
        f"{name}_inputs": np.array(planes, np.int32),
    }


def _strongest(values: Tensor) -> Tensor:
    """Places (n,) of values in falling order, equal ones in their own."""
    order: Tensor = values.sort(descending=True, stable=True).indices
    return order
