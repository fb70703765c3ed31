"""What two architectures learn in their first two layers, measured side by side (Fig. 6).

The paper judges the panels by eye: a first layer without the RMS limit in which one filter
dominates; AlexNet's first layer of very high and very low frequencies with dead filters, its second
with artefacts of the sampling in steps of 4 px; and its own layers, clean. How each of these words
becomes a number is not in the paper: the constants below say how, and the table "sensitivity" what
other choices would give.

Training begins with noise, and a short one leaves most of it. Filters that are mostly noise say
nothing of what an architecture learns: their numbers, and those of what layer 2 makes of them, are
shown and marked invalid (`SMOOTH`). Dead filters are left out there. They keep the weights they
died with, as no gradient reaches them, and are counted by themselves; but that one layer has fewer
of them is no finding either before the other filters have left their noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from zfnet import MAIN_NET
from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.machine import pick_device
from zfnet.methods.filters import (
    SMOOTH,
    GridEnergy,
    band_areas,
    band_shares,
    filter_rms,
    grid_energy,
    power_spectrum,
    radial_profile,
    relative_roughness,
)
from zfnet.methods.top_activations import TopActivations
from zfnet.models.checkpoint import first_model, load_net
from zfnet.models.net import Net
from zfnet.models.trained import read_history
from zfnet.results import Measurement, Table
from zfnet.stats import bootstrap
from zfnet.stats.estimate import MAPS, Estimate
from zfnet.stats.intervals import rate, rate_difference
from zfnet.studies.base import (
    FIELD_LIMIT,
    Inputs,
    Windows,
    cut_windows,
    first_filters,
    project,
    strongest,
    with_ends,
)

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Architecture

SPLIT, TAP = "val", "relu"
BASELINE = "alexnet"
UNLIMITED = "zfnet_nolimit"  # trained without the RMS limit; used where it exists
LABELS = {"zfnet": "ZFNet", "alexnet": "AlexNet"}
SHOWN_MAPS = 36  # of layer 2; the paper does not say how it chose its maps
TOP_K = 4  # strongest activations a map, projected and measured together
BANDS = (0.125, 0.25)  # edges of low, mid, high, cycles per px: what strides 4 and 2 can carry
WEAK = 0.1  # filters below this share of the layer's median RMS are called weak
NOISE = "first-layer filters are mostly noise"
# Distance up to which a frequency counts as the grid's, in units of 1 / receptive field, the finest
# that a projection can resolve; and where its neighbours lie, in units of that distance.
RADIUS, RING = 1.0, (1.5, 3.0)
SPECTRUM = 64  # side of the spectra of filters: bands are read in steps of 1/64 cycles per px
PROFILE_BINS = 22


def run(cfg: Architecture, paths: Paths) -> Measurement:
    """Fig. 6 for the net under study and the baseline, and a third net without the limit."""
    device, prepared = pick_device(cfg.device), Prepared.open(paths.prepared)
    folders = {MAIN_NET: paths.net, BASELINE: paths.folder_of(BASELINE)}
    nets = {
        key: Inputs(
            prepared, SPLIT, load_net(folder), device, max_images=cfg.max_images, seed=cfg.seed
        )
        for key, folder in folders.items()
    }
    other = paths.folder_of(UNLIMITED)
    unlimited = load_net(other) if (other / "net.json").is_file() else None
    return measure(nets, unlimited, read_history(paths.net), cfg)


def measure(
    nets: Mapping[str, Inputs],
    unlimited: Net | None,
    history: Sequence[Mapping[str, float]],
    cfg: Architecture,
) -> Measurement:
    """The same for two nets by name, ours first, and one trained without the limit if there is one.

    history: of our training, as `read_history` gives it.
    """
    ours, theirs = banks = [examine(key, inputs, cfg) for key, inputs in nets.items()]
    estimates = {"images": Estimate(len(ours.inputs.rows), unit="images", note="a count")}
    for bank in banks:
        own = _nothing(bank) | {name: one.estimate(cfg.seed) for name, one in samples(bank).items()}
        estimates |= {f"{bank.key}_{name}": one for name, one in own.items()}
    others = samples(theirs)
    for name, sample in samples(ours).items():
        if name in others and name != "layer2_grid_ratio":  # which has no bound
            estimates[f"difference_{name}"] = compared(sample, others[name], cfg.seed)
    arrays = _arrays(ours) | _arrays(theirs)
    limit = limit_of(ours.inputs.net, history, unlimited is not None)
    nothing = Estimate(math.nan, note=f"not measured: {limit['status']}")
    estimates["limit_layer1_dominance"] = nothing
    if unlimited is not None:
        without, _ = first_filters(unlimited)
        arrays["unlimited_layer1_filters"] = without.numpy()
        if limit["status"] == "compared" and len(without) and len(ours.filters):
            rough = relative_roughness(without, first_weights(unlimited, cfg.seed))
            free = BankSample(filter_rms(without).double().numpy(), dominance, invalid=noise(rough))
            estimates["unlimited_layer1_roughness"] = BankSample(rough).estimate(cfg.seed)
            estimates["unlimited_layer1_dominance"] = free.estimate(cfg.seed)
            bound = samples(ours)["layer1_dominance"]
            estimates["limit_layer1_dominance"] = compared(bound, free, cfg.seed)
    tables = {
        "nets": _nets_table(banks, estimates),
        "sensitivity": _sensitivity_table(ours, theirs, cfg.seed),
        "filters": _filters_table(banks),
        "maps": _maps_table(banks),
        "profile": _profile_table(banks, cfg.seed),
    }
    findings: dict[str, set[str]] = {}
    for record in tables["sensitivity"].records():
        findings.setdefault(record["measure"], set()).add(record["finding"])
    facts = {
        "split": SPLIT,
        "bands": BANDS,
        "weak": WEAK,
        "smooth": SMOOTH,
        "top_k": TOP_K,
        "radius": RADIUS,
        "white_noise_shares": band_areas(SPECTRUM, BANDS).tolist(),
        "limit": limit,
        "sensitive": [measure for measure, each in findings.items() if len(each) > 1],
        "nets": {bank.key: _facts(bank) for bank in banks},
    }
    net = f"{ours.label} and {theirs.label}"
    return Measurement(net, TAP, cfg.seed, estimates, tables, arrays, facts)


# -------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Bank:
    """What was measured of one net; no rows where it has nothing to measure.

    filters (C, 3, k, k): the first convolution of the pixels, `stride` (down, across) px; power
    (C, S, S): their spectra; roughness (C,): as `relative_roughness`. rms: of the weights of layers
    1 and 2, (C,) each, where they are convolutions. peaks: strongest activation of each map of
    layers 1 and 2. maps (M,): those of layer 2 that are projected, ascending; spectra (M, S, S):
    mean over each one's k projections, each of unit energy; pictures (n, h, w, 3) float: the
    strongest projection of those drawn, in its window. field: side px of layer 2's receptive field.
    """

    key: str
    inputs: Inputs
    filters: Tensor
    stride: tuple[int, int]
    power: Tensor
    roughness: np.ndarray
    rms: dict[int, np.ndarray]
    peaks: dict[int, np.ndarray]
    maps: np.ndarray
    spectra: Tensor
    pictures: np.ndarray
    field: tuple[int, int]

    @property
    def label(self) -> str:
        """How people call it."""
        return LABELS.get(self.inputs.net.arch, self.inputs.net.name)

    @property
    def field_too_large(self) -> bool:
        """Whether every projection of layer 2 is cut by the image's border: no claim then."""
        return max(self.field) > FIELD_LIMIT * self.inputs.net.input_px

    def dead(self, layer: int, share: float = 0.0) -> np.ndarray:
        """(C,) bool: maps whose strongest activation is not above `share` of the layer's median."""
        return np.asarray(self.peaks[layer] <= share * max(0.0, np.median(self.peaks[layer])))

    def weak(self, layer: int, share: float = WEAK) -> np.ndarray:
        """(C,) bool: filters whose RMS is below `share` of the layer's median, or zero."""
        rms = self.rms[layer]
        return np.asarray((rms < share * np.median(rms)) | (rms == 0))

    @property
    def live(self) -> np.ndarray:
        """(C,) bool: filters that some image activates; all where their maps were not measured."""
        dead = self.dead(1)
        return ~dead if len(dead) == len(self.filters) else np.ones(len(self.filters), bool)

    def shares(self, edges: tuple[float, float] = BANDS) -> np.ndarray:
        """(n, 3): each live filter's energy by band; filters of zeros are left out."""
        shares = band_shares(self.power[self.live], edges).double().numpy()
        return np.asarray(shares[~np.isnan(shares).any(1)])

    def grid(self, stride: tuple[int, int], radius: float = RADIUS) -> GridEnergy | None:
        """Energy of `spectra` at the frequencies of a grid; None where they are not resolved."""
        within = radius / max(self.field)
        try:
            return grid_energy(self.spectra, stride, within, (RING[0] * within, RING[1] * within))
        except UserError:
            return None


def examine(key: str, inputs: Inputs, cfg: Architecture) -> Bank:
    """Everything that is measured of one net: one pass over the split, then the projections."""
    net = inputs.net
    paths = {layer: net.tap(layer, TAP) for layer in (1, 2)}
    top = strongest(inputs, list(paths.values()), TOP_K, what=f"layers 1 and 2 of {net.name}")
    filters, stride = first_filters(net)
    rms = {1: filter_rms(filters).double().numpy()} if len(filters) else {}
    second = net.model.get_submodule(net.taps.get("2.conv", paths[2]))
    if isinstance(second, nn.Conv2d):
        rms[2] = filter_rms(second.weight.detach().cpu()).double().numpy()
    windows = Windows.of(net, paths[2], top[paths[2]].places)
    maps, spectra, pictures = _project(inputs, paths[2], top[paths[2]], windows, cfg)
    return Bank(
        key=key,
        inputs=inputs,
        filters=filters,
        stride=stride,
        power=power_spectrum(filters, max(SPECTRUM, *filters.shape[2:])),
        roughness=relative_roughness(filters, first_weights(net, cfg.seed)),
        rms=rms,
        peaks={n: top[path].values[:, 0].double().numpy() for n, path in paths.items()},
        maps=maps,
        spectra=spectra,
        pictures=pictures,
        field=windows.reach.size,
    )


def _project(
    inputs: Inputs, path: str, top: TopActivations, windows: Windows, cfg: Architecture
) -> tuple[np.ndarray, Tensor, np.ndarray]:
    """A seeded subset of the active maps of `path`: their numbers, spectra and pictures."""
    active = np.flatnonzero(top.values[:, 0].numpy() > 0)
    order = np.random.default_rng([cfg.seed, 6]).permutation(active)
    maps, shown = np.sort(order[: cfg.measured_maps]), order[:SHOWN_MAPS]
    canvas, k = windows.canvas, top.values.shape[1]
    # Frequencies are read four times as finely as a field can resolve, or twice where it is large.
    size = 2 * max(canvas) * (2 if max(canvas) <= 128 else 1)
    spectra = torch.zeros(len(maps), size, size)
    if not len(maps):
        return maps, spectra, np.zeros((0, *canvas, 3), np.float32)
    images = inputs.batch(top.images[maps].flatten().numpy())
    down = project(inputs, path, images, maps.repeat(k), top.places[maps].flatten(0, 1))
    cut = cut_windows(down, windows.corners[maps].reshape(-1, 2), canvas).split(k)
    for i, (m, projections) in enumerate(zip(maps, cut, strict=True)):
        power = power_spectrum(projections, size).cpu()
        power = power / power.sum((1, 2), keepdim=True).clamp_min(1e-30)
        spectra[i] = power[top.values[m] > 0].mean(0)
    drawn = [cut[i][0].permute(1, 2, 0) for i in np.flatnonzero(np.isin(maps, shown))]
    return maps, spectra, torch.stack(drawn).cpu().numpy()


# ----------------------------------------------------------------------------------------- noise
def first_weights(net: Net, seed: int) -> Tensor:
    """The first filters (C, 3, k, k) before training; by `seed` where its record tells no more.

    These are then white noise, as any initialisation's are.
    """
    if "kind" not in net.rebuild:
        shape = first_filters(net)[0].shape
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return first_filters(replace(net, model=first_model(net, seed)))[0]


def noise(rough: np.ndarray) -> str:
    """Why filters of such relative roughness (n,) are no evidence; "" if they are."""
    known = rough[np.isfinite(rough)]
    return NOISE if len(known) and known.mean() > SMOOTH else ""


# --------------------------------------------------------------------------------- the RMS limit
def limit_of(
    net: Net, history: Sequence[Mapping[str, float]], trained_without: bool
) -> dict[str, Any]:
    """What our net's training says of the limit.

    history: as `read_history` gives it. `trained_without`: whether there is a net to compare with.
    status: "unknown" (not trained here), "no limit", "never bound" (training without it is the very
    same run), "not run" (it bound, but there is no such net) or "compared".
    """
    if not history or "filters_rescaled" not in history[0]:
        return {"status": "unknown"}
    training = net.provenance.get("training") or {}
    limit = training.get("max_filter_rms")
    rescaled = int(sum(row["filters_rescaled"] for row in history))
    largest = [row.get("largest_filter_rms", math.nan) for row in history]
    if "max_filter_rms" in training and limit is None:
        status = "no limit"
    elif not rescaled:
        status = "never bound"
    else:
        status = "compared" if trained_without else "not run"
    return {
        "status": status,
        "limit": limit,
        "rescaled": rescaled,
        "epochs": len(history),
        "largest_rms": max((rms for rms in largest if not math.isnan(rms)), default=None),
    }


# -------------------------------------------------------------------------------------- estimates
def dominance(rms: np.ndarray) -> np.ndarray:
    """Largest over median along the last axis: 1 if all filters are equally strong."""
    return np.asarray(rms.max(-1) / np.median(rms, -1))


def log_mean(values: np.ndarray) -> np.ndarray:
    """Geometric mean along the last axis."""
    return np.asarray(np.exp(np.log(np.maximum(values, 1e-12)).mean(-1)))


@dataclass(frozen=True)
class BankSample:
    """One quantity of a net's filters or maps: values (n,), and the statistic taken of them.

    values of bool are counted. `salt`: ends the key of the bootstrap's generator. `invalid`: as in
    `Estimate`.
    """

    values: np.ndarray
    statistic: bootstrap.Statistic = bootstrap.mean
    note: str = ""
    unit: str = ""
    salt: tuple[int, ...] = (0, 7)
    invalid: str = ""

    @property
    def finite(self) -> np.ndarray:
        """The values that are numbers."""
        return np.asarray(self.values[np.isfinite(self.values)], np.float64)

    def estimate(self, seed: int) -> Estimate:
        """Of all of them, with a bootstrap over them, or Wilson's interval of a count."""
        if self.values.dtype == bool:
            n, count = len(self.values), int(self.values.sum())
            one = rate(count, n, n, self.unit, self.note, covers=(MAPS,))
        else:
            key = (seed, len(self.finite), *self.salt)
            one = bootstrap.bootstrap(
                [self.finite], key, statistic=self.statistic, note=self.note, covers=(MAPS,)
            )
        return replace(one, invalid=self.invalid)


def compared(ours: BankSample, theirs: BankSample, seed: int) -> Estimate:
    """Ours minus theirs: of means, each bank resampled by itself, or of shares of those counted."""
    invalid = ours.invalid or theirs.invalid
    if ours.values.dtype == bool:
        shares = (rate(int(x.values.sum()), len(x.values), covers=(MAPS,)) for x in (ours, theirs))
        return replace(rate_difference(*shares), invalid=invalid)
    sides = ours.finite, theirs.finite
    n = len(sides[0]) + len(sides[1])
    if min(map(len, sides)) < 2:
        return Estimate(math.nan, n=n, note=bootstrap.TOO_FEW, covers=(MAPS,))
    draws = [
        bootstrap.drawn(side, np.random.default_rng([seed, len(side), salt, 7]), ours.statistic)
        for salt, side in enumerate(sides, 1)
    ]
    low, high = bootstrap.percentiles(draws[0] - draws[1])
    value = float(ours.statistic(sides[0]) - ours.statistic(sides[1]))
    return Estimate(
        value, float(low), float(high), n, note=ours.note, covers=(MAPS,), invalid=invalid
    )


def samples(bank: Bank) -> dict[str, BankSample]:
    """Every quantity that the net has, by name."""
    by_name, rough = {}, bank.roughness[bank.live]
    noisy = noise(rough)
    for layer, why in ((1, noisy), (2, "")):
        dead = BankSample(bank.dead(layer), unit="maps", invalid=why)
        by_name[f"layer{layer}_never_active"] = dead
        if layer in bank.rms:
            weak = BankSample(bank.weak(layer), unit="filters", invalid=why)
            by_name[f"layer{layer}_weak"] = weak
    if 1 in bank.rms:
        note = "over that of the weights before training; of white noise: 1"
        by_name["layer1_roughness"] = BankSample(rough, note=note)
        note = "largest RMS over median"
        by_name["layer1_dominance"] = BankSample(bank.rms[1], dominance, note, invalid=noisy)
        note = "share of a filter's energy"
        for band, values in zip(("low", "mid", "high"), bank.shares().T, strict=True):
            by_name[f"layer1_{band}"] = BankSample(values, note=note, salt=(2,), invalid=noisy)
    if (grid := bank.grid(bank.stride)) is not None:
        why = f"field above {FIELD_LIMIT:g} of the input's side" * bank.field_too_large or noisy
        note = "share of all energy beyond what the grid's neighbours predict"
        excess, ratio = grid.excess.double().numpy(), grid.ratio.double().numpy()
        by_name["layer2_grid_excess"] = BankSample(excess, note=note, invalid=why)
        note = "density at the grid over that of its neighbours"
        by_name["layer2_grid_ratio"] = BankSample(ratio, log_mean, note, invalid=why)
    return by_name


def _nothing(bank: Bank) -> dict[str, Estimate]:
    """What is known of a net's second layer without its activations."""
    note = (
        f"a stride of {max(bank.stride)} px and a field of {max(bank.field)} px leave no "
        "frequencies of the grid to tell apart"
    )
    grid = Estimate(math.nan, n=0, note=note, covers=(MAPS,))
    share = max(bank.field) / bank.inputs.net.input_px
    return {
        "layer2_field_share": Estimate(share, note="of the architecture: no interval"),
        "layer2_grid_excess": grid,
        "layer2_grid_ratio": grid,
    }


# ------------------------------------------------------------------------ tables, arrays and facts
def _nets_table(banks: Sequence[Bank], estimates: Mapping[str, Estimate]) -> Table:
    """Each measure of both nets and their difference, None where there is none."""
    keys = {"ours": banks[0].key, "theirs": banks[1].key, "difference": "difference"}
    records = []
    names = dict.fromkeys(name for bank in banks for name in samples(bank))
    for name in sorted(names, key=lambda name: name[: len("layer1")]):
        record: dict[str, Any] = {"measure": name}
        for side, key in keys.items():
            record |= with_ends(side, estimates.get(f"{key}_{name}", Estimate(math.nan)))
        records.append(record)
    return Table.of(records)


def _sensitivity_table(ours: Bank, theirs: Bank, seed: int) -> Table:
    """The comparisons under other choices than the chosen one, which comes first."""
    banks = ours, theirs
    choices: list[tuple[str, str, list[np.ndarray]]] = []
    if all(1 in bank.rms for bank in banks):
        for name, factor in (("chosen", 1), ("edges_0.8", 0.8), ("edges_1.25", 1.25)):
            edges = factor * BANDS[0], factor * BANDS[1]
            choices.append(("layer1_mid", name, [bank.shares(edges)[:, 1] for bank in banks]))
        for share in (WEAK, 0.5):
            weak = [bank.weak(1, share) for bank in banks]
            choices.append(("layer1_weak", f"below_{share:g}", weak))
    for layer in (1, 2):
        for share in (0.0, 0.1):
            dead = [bank.dead(layer, share) for bank in banks]
            choices.append((f"layer{layer}_never_active", f"below_{share:g}", dead))
    for name, radius, strides in (
        ("chosen", RADIUS, (ours.stride, theirs.stride)),
        ("radius_1.5", 1.5 * RADIUS, (ours.stride, theirs.stride)),
        ("baseline_grid", RADIUS, (theirs.stride, theirs.stride)),
    ):
        grids = [bank.grid(stride, radius) for bank, stride in zip(banks, strides, strict=True)]
        excess = [grid.excess.double().numpy() for grid in grids if grid is not None]
        if len(excess) == 2 and all(map(len, excess)):
            choices.append(("layer2_grid_excess", name, excess))
    records = []
    for measure, choice, (a, b) in choices:
        between = compared(BankSample(a), BankSample(b), seed)
        means = {side: np.nanmean(values) for side, values in (("ours", a), ("theirs", b))}
        record = {"measure": measure, "choice": choice, **means, **with_ends("difference", between)}
        records.append(record | {"finding": finding(between)})
    return Table.of(records)


def finding(difference: Estimate) -> str:
    """Whether ours is "higher", "lower" or "not apart" by the interval; "unknown" without one."""
    if difference.low is None or difference.high is None:
        return "unknown"
    if difference.low > 0:
        return "higher"
    return "lower" if difference.high < 0 else "not apart"


def _filters_table(banks: Sequence[Bank]) -> Table:
    """Every first-layer filter: whether it lives, its strength, roughness and energy by band."""
    rows: list[list[Any]] = []
    for bank in banks:
        shares = band_shares(bank.power, BANDS).double().numpy()
        columns = bank.live.tolist(), bank.rms.get(1, np.zeros(0)), bank.roughness, shares
        for i, (live, rms, rough, own) in enumerate(zip(*columns, strict=True)):
            rows.append([bank.key, i, live, rms, rough, *own])
    return Table(["net", "filter", "live", "rms", "roughness", "low", "mid", "high"], rows)


def _maps_table(banks: Sequence[Bank]) -> Table:
    """Every measured map of layer 2: what its projections hold at the grid's frequencies."""
    rows: list[list[Any]] = []
    for bank in banks:
        if (grid := bank.grid(bank.stride)) is not None:
            columns = grid.ratio.numpy(), grid.excess.numpy()
            rows += [[bank.key, *row] for row in zip(bank.maps, *columns, strict=True)]
    return Table(["net", "map", "ratio", "excess"], rows)


def _profile_table(banks: Sequence[Bank], seed: int) -> Table:
    """Mean energy density of the live filters of layer 1 by frequency, white noise being 1."""
    rows: list[list[Any]] = []
    for bank in banks:
        power = bank.power[bank.live]
        centres, density = radial_profile(power[power.sum((1, 2)) > 0], PROFILE_BINS)
        values = density.double().numpy()
        if len(values):
            times = bootstrap.counts(len(values), np.random.default_rng([seed, len(values), 8]))
            low, high = bootstrap.percentiles(bootstrap.counted_means(values, times))
            columns = centres.numpy(), values.mean(0), low, high
            rows += [[bank.key, *row] for row in zip(*columns, strict=True)]
    return Table(["net", "frequency", "density", "density_low", "density_high"], rows)


def _arrays(bank: Bank) -> dict[str, np.ndarray]:
    arrays = {f"layer{n}_peaks": peaks.astype(np.float32) for n, peaks in bank.peaks.items()}
    arrays |= {f"layer{n}_rms": rms.astype(np.float32) for n, rms in bank.rms.items()}
    arrays["layer1_filters"] = bank.filters.numpy()
    arrays["layer2_spectrum"] = bank.spectra.mean(0).numpy()
    arrays["layer2_projections"] = bank.pictures
    return {f"{bank.key}_{name}": array for name, array in arrays.items()}


def _facts(bank: Bank) -> dict[str, Any]:
    ones = torch.ones(1, *bank.filters.shape[1:])
    flat = band_shares(power_spectrum(ones, bank.power.shape[-1]), BANDS)[0].tolist()
    return {
        "label": bank.label,
        "adopted": bank.inputs.adopted,
        "stride": bank.stride,
        "flat_filter_shares": flat,  # what the kernel's size alone allows the slowest filter
        "maps": {n: len(peaks) for n, peaks in bank.peaks.items()},
        "never_active": {n: np.flatnonzero(bank.dead(n)) for n in bank.peaks},
        "weak": {n: np.flatnonzero(bank.weak(n)) for n in bank.rms},
        "field_px": bank.field,
        "field_too_large": bank.field_too_large,
    }
