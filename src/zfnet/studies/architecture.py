"""What two architectures learn in their first two layers, side by side and measured (Fig. 6).

The paper judges the panels by eye: a first layer without the RMS limit in which one filter
dominates; AlexNet's first layer of very high and very low frequencies with dead filters, its second
with artefacts of the sampling in steps of 4 px; and its own layers, clean. How each of these words
is turned into a number is not in the paper: see `Options` and the table `sensitivity`.
"""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from zfnet import MAIN_NET
from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.figures.architecture import (
    Frequencies,
    GridTrace,
    Strength,
    TilePanel,
    frequency_plot,
    grid_plot,
    panel_sheet,
    strength_plot,
)
from zfnet.figures.kit.grid import signed_scale, signed_to_rgb
from zfnet.machine import pick_device
from zfnet.methods.filters import (
    band_areas,
    band_shares,
    filter_rms,
    grid_energy,
    power_spectrum,
    radial_profile,
)
from zfnet.methods.gradients import deconvnet
from zfnet.methods.receptive_field import ReceptiveField, receptive_field
from zfnet.methods.top_activations import TopActivations, top_activations
from zfnet.models.net import Net, load_net
from zfnet.progress import progress
from zfnet.stats.bootstrap import bootstrap_mean
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import wilson
from zfnet.studies.base import Inputs, options_of, when_it_fits
from zfnet.studies.result import Figure, Result, Table

if TYPE_CHECKING:
    from PIL.Image import Image

SPECTRUM = 64  # side of the spectra of filters: bands are read in steps of 1/64 cycles per px
PROFILE_BINS = 22
RING = (1.5, 3.0)  # neighbours of a grid's frequency, in units of the radius that counts as it
MAX_FIELD = 0.75  # of the image side: beyond, a projection is cut by the border at any place
DRAWS = 2000
BANDS = ("low", "mid", "high")
LABELS = {"zfnet": "ZFNet", "alexnet": "AlexNet"}
ONE_TRAINING = "one training of each net: the interval is over its filters or maps, not trainings"


@dataclass(frozen=True)
class Options:
    """The section `study.architecture` of the config, checked.

    `baseline`: folder of models/ to compare with; `unlimited`: that of a net trained without the
    RMS limit, used where it exists. The rest is not in the paper. `bands`: edges of low, mid and
    high, in cycles per pixel; by default what a stride of 4 px can carry (1/8), and what a stride
    of 2 px can (1/4). `alive`: a map is never active if its strongest activation is not above this
    share of the layer's median (0: not above zero). `weak`: share of the median RMS below which a
    filter is called weak. `measured_maps`: a seeded random subset of the second layer's active
    maps; `top_k`: projections measured together for each; `grid_radius`: distance up to which a
    frequency counts as the grid's, in units of 1 / receptive field, the finest that a projection
    can tell apart. `shown_maps`: maps drawn, the first of those measured.
    """

    baseline: str = "alexnet"
    unlimited: str = "zfnet_nolimit"
    split: str = "val"
    batch_size: int = 64
    tap: str = "relu"
    lrn: str = "identity"
    shown_maps: int = 36
    measured_maps: int = 64
    top_k: int = 4
    bands: tuple[float, float] = (0.125, 0.25)
    alive: float = 0.0
    weak: float = 0.1
    grid_radius: float = 1.0
    max_images: int | None = None

    def __post_init__(self) -> None:
        where = "study.architecture."
        for key in ("batch_size", "shown_maps", "measured_maps", "top_k", "max_images"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"{where}{key}={value}: must be at least 1")
        if self.lrn not in ("identity", "jacobian"):
            raise UserError(f"{where}lrn={self.lrn}: choose identity or jacobian")
        if len(self.bands) != 2 or not 0 < self.bands[0] < self.bands[1] < 0.5:
            raise UserError(
                f"{where}bands={list(self.bands)}: two rising frequencies between 0 and 0.5"
            )
        for key in ("alive", "weak"):
            if not 0 <= getattr(self, key) < 1:
                raise UserError(f"{where}{key}={getattr(self, key)}: a share, from 0 to below 1")
        if self.grid_radius <= 0:
            raise UserError(f"{where}grid_radius={self.grid_radius}: must be above 0")
        names = [MAIN_NET, self.baseline, self.unlimited]
        if len(set(names)) < len(names):
            raise UserError(
                f"{where}baseline={self.baseline}, unlimited={self.unlimited}: name two nets, "
                f"both others than {MAIN_NET}"
            )

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section."""
        return options_of(Options, section)


@dataclass(frozen=True)
class Subject:
    """One net under comparison: its folder's name, the images as it takes them, its history.

    history: the rows of history.csv; None for a net that was not trained here.
    """

    key: str
    inputs: Inputs
    history: Sequence[dict[str, str]] | None = None

    @property
    def label(self) -> str:
        """How figures and text call the net."""
        net = self.inputs.net
        return LABELS.get(net.arch, net.name)


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.architecture, seed and device."""
    options = Options.read(cfg.study.architecture)
    device = pick_device(cfg.device)
    prepared = Prepared.open(paths.prepared)

    def subject(key: str, folder: Path) -> Subject:
        inputs = Inputs(
            prepared, options.split, load_net(folder), device,
            max_images=options.max_images, seed=cfg.seed,
        )  # fmt: skip
        return Subject(key, inputs, read_history(folder))

    unlimited = paths.folder_of(options.unlimited)
    return study(
        subject(MAIN_NET, Path(paths.net)),
        subject(options.baseline, paths.folder_of(options.baseline)),
        subject(options.unlimited, unlimited) if (unlimited / "net.json").is_file() else None,
        options,
        seed=cfg.seed,
    )


def read_history(folder: Path) -> list[dict[str, str]] | None:
    """The rows of a net's history.csv; None if it has none."""
    file = folder / "history.csv"
    if not file.is_file():
        return None
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream)) or None


def study(
    ours: Subject,
    baseline: Subject,
    unlimited: Subject | None,
    options: Options,
    *,
    seed: int = 0,
) -> Result:
    """Fig. 6 for two nets, and a third trained without the RMS limit if there is one."""
    banks = [examine(subject, options, seed) for subject in (ours, baseline)]
    without = None if unlimited is None else first_bank(unlimited)
    rule = limit_rule(ours, unlimited)
    metrics = _metrics(banks, options, seed)
    if without is not None and rule.status == "compared":
        metrics.update(_limit_metrics(banks[0], without, seed))
    else:
        metrics["limit_layer1_dominance"] = Estimate(math.nan, note=_no_comparison(rule, unlimited))
    sensitivity = _sensitivity(banks, options, seed)
    return Result(
        study="architecture",
        title="Architecture: first and second layers of two nets",
        paper="Fig. 6",
        text=_text(banks, options, metrics, rule, sensitivity),
        net=f"{ours.label} and {baseline.label}",
        tap=options.tap,
        seed=seed,
        metrics=metrics,
        tables={
            "nets": _nets_table(banks, metrics),
            "sensitivity": sensitivity,
            "filters": _filters_table(banks, options),
            "maps": _maps_table(banks),
        },
        arrays=_arrays(banks),
        figures=_figures(banks, without, unlimited, rule, metrics, options),
        extra=_extra(banks, options, rule),
    )


# ------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Bank:
    """What was measured of one net; NaN or None where it has nothing to measure.

    filters (C, 3, k, k): the first convolution of the pixels, `stride` (down, across) px. rms: of
    the weights of layers 1 and 2, (C,) each. peaks: strongest activation of each map of layers 1
    and 2. power (C, S, S): spectra of the filters. second: the projections of layer 2.
    """

    subject: Subject
    filters: Tensor | None
    stride: tuple[int, int]
    rms: dict[int, np.ndarray]
    peaks: dict[int, np.ndarray]
    power: Tensor | None
    second: Projections | None

    @property
    def key(self) -> str:
        """The prefix of its metrics."""
        return self.subject.key

    @property
    def label(self) -> str:
        """How figures and text call it."""
        return self.subject.label

    def dead(self, layer: int, alive: float) -> np.ndarray:
        """(C,) bool: maps whose strongest activation is not above `alive` x the layer's median."""
        peaks = self.peaks[layer]
        return peaks <= alive * max(0.0, float(np.median(peaks)))

    def weak(self, layer: int, share: float) -> np.ndarray:
        """(C,) bool: filters whose RMS is below `share` of the layer's median, or zero."""
        rms = self.rms[layer]
        return (rms < share * np.median(rms)) | (rms == 0)

    def shares(self, edges: tuple[float, float], luminance: bool = False) -> np.ndarray:
        """(n ≤ C, 3): each filter's energy by band; filters of zeros are left out."""
        if self.filters is None or self.power is None:
            return np.full((0, 3), np.nan)
        power = power_spectrum(self.filters, SPECTRUM, True) if luminance else self.power
        shares = band_shares(power, edges).double().numpy()
        return shares[~np.isnan(shares).any(1)]


@dataclass(frozen=True)
class Projections:
    """Projections of the strongest activations of a subset of the second layer's maps.

    maps (M,): ascending; power (M, S, S): mean of the k projections' spectra, each of unit energy;
    pictures: the strongest one's window of each map to be drawn, (h, w, 3) float; field: side px of
    the receptive field; pooled: stride (down, across) px of the maps that layer 2 reads.
    """

    maps: np.ndarray
    power: Tensor
    pictures: list[np.ndarray]
    shown: tuple[int, ...]
    field: tuple[int, int]
    pooled: tuple[int, int]

    def trace(self, stride: tuple[int, int], units: float) -> tuple[np.ndarray, np.ndarray] | None:
        """Ratio and excess (M,) at the frequencies of a grid; None where it cannot be told."""
        within = units / max(self.field)
        try:
            found = grid_energy(self.power, stride, within, (RING[0] * within, RING[1] * within))
        except UserError:
            return None
        return found.ratio.double().numpy(), found.excess.double().numpy()


def first_convolution(net: Net) -> nn.Conv2d | None:
    """The first convolution of the pixels; None if the net has none."""
    for module in net.model.modules():
        if isinstance(module, nn.Conv2d):
            return module if module.weight.shape[1] == 3 else None
    return None


def first_bank(subject: Subject) -> Tensor | None:
    """The first layer's filters (C, 3, k, k) on the CPU."""
    conv = first_convolution(subject.inputs.net)
    return None if conv is None else conv.weight.detach().cpu().float().contiguous()


def examine(subject: Subject, options: Options, seed: int) -> Bank:
    """Everything that is measured of one net: one pass over the split, then the projections."""
    inputs, net = subject.inputs, subject.inputs.net
    paths = {layer: net.tap(layer, options.tap) for layer in (1, 2)}
    top = _strongest(inputs, list(paths.values()), options, subject.label)
    filters = first_bank(subject)
    conv = first_convolution(net)
    rms = {} if filters is None else {1: filter_rms(filters).double().numpy()}
    second = net.model.get_submodule(net.taps.get("2.conv", paths[2]))
    if isinstance(second, nn.Conv2d):
        rms[2] = filter_rms(second.weight.detach().cpu()).double().numpy()
    stride = (1, 1) if conv is None else (int(conv.stride[0]), int(conv.stride[1]))
    return Bank(
        subject=subject,
        filters=filters,
        stride=stride,
        rms=rms,
        peaks={n: top[path].values[:, 0].double().numpy() for n, path in paths.items()},
        power=None if filters is None else power_spectrum(filters, _side(filters)),
        second=_project(subject, paths[2], top[paths[2]], options, seed),
    )


def _side(filters: Tensor) -> int:
    return max(SPECTRUM, *filters.shape[2:])


def _strongest(
    inputs: Inputs, paths: list[str], options: Options, label: str
) -> dict[str, TopActivations]:
    def whole_pass(size: int) -> dict[str, TopActivations]:
        batches = progress(
            inputs.batches(inputs.rows, size),
            total=math.ceil(len(inputs.rows) / size),
            desc=f"strongest activations of {label}, layers 1 and 2",
            unit="batch",
        )
        return top_activations(inputs.net.model, batches, paths, k=options.top_k)

    return when_it_fits(whole_pass, options.batch_size)


def _project(
    subject: Subject, path: str, top: TopActivations, options: Options, seed: int
) -> Projections | None:
    """Project the strongest activations of a seeded subset of the active maps; None if none is."""
    active = np.flatnonzero(top.values[:, 0].numpy() > 0)
    if not len(active):
        return None
    inputs = subject.inputs
    order = np.random.default_rng([seed, 6]).permutation(active)
    maps, shown = np.sort(order[: options.measured_maps]), set(order[: options.shown_maps].tolist())
    px = inputs.net.input_px
    reach = receptive_field(inputs.net.model, path, px)
    canvas = (min(reach.size[0], px), min(reach.size[1], px))
    # Frequencies are read four times as finely as a field can tell, or twice where it is large.
    size = 2 * max(canvas) * (2 if max(canvas) <= 128 else 1)
    powers, pictures = [], []
    chunk = max(1, options.batch_size // top.values.shape[1])
    parts = [maps[i : i + chunk] for i in range(0, len(maps), chunk)]
    for part in progress(parts, len(parts), f"projections of {subject.label}", "batch"):
        crops = _crops(inputs, path, top, part, reach, canvas, options)
        power = power_spectrum(crops.flatten(0, 1), size).cpu()
        power = power / power.sum((1, 2), keepdim=True).clamp_min(1e-30)
        used = (top.values[part] > 0).float().flatten()[:, None, None]
        mean = (power * used).reshape(*crops.shape[:2], size, size).sum(1)
        powers.append(mean / used.reshape(*crops.shape[:2], 1, 1).sum(1))
        for number, crop in zip(part, crops[:, 0], strict=True):
            if int(number) in shown:
                pictures.append(crop.permute(1, 2, 0).cpu().numpy())
    return Projections(
        maps, torch.cat(powers), pictures, tuple(sorted(shown & set(maps.tolist()))), reach.size,
        _pooled_stride(inputs.net, options.tap),
    )  # fmt: skip


def _crops(
    inputs: Inputs,
    path: str,
    top: TopActivations,
    maps: np.ndarray,
    reach: ReceptiveField,
    canvas: tuple[int, int],
    options: Options,
) -> Tensor:
    """Projections (M, k, 3, h, w), each cut to its field; what lies outside the image is zero."""
    k = top.values.shape[1]
    places = top.places[maps].reshape(-1, 2)
    images = inputs.batch(top.images[maps].reshape(-1).numpy())
    units = torch.from_numpy(np.repeat(maps, k))

    def down(size: int) -> Tensor:
        return deconvnet(
            inputs.net.model,
            images,
            path,
            units,
            places=places,
            lrn=options.lrn,  # type: ignore[arg-type]  # checked by Options
            batch_size=size,
        )

    whole = when_it_fits(down, options.batch_size)
    crops = whole.new_zeros((len(units), 3, *canvas))
    whole_boxes, boxes = reach.boxes(places, clip=False), reach.boxes(places)
    for i, ((y0, x0, y1, x1), corner) in enumerate(
        zip(boxes.tolist(), whole_boxes[:, :2].tolist(), strict=True)
    ):
        top_, left = (
            min(max(start - first, 0), side - (end - start))
            for start, end, first, side in zip((y0, x0), (y1, x1), corner, canvas, strict=True)
        )
        crops[i, :, top_ : top_ + y1 - y0, left : left + x1 - x0] = whole[i, :, y0:y1, x0:x1]
    return crops.reshape(len(maps), k, 3, *canvas)


def _pooled_stride(net: Net, tap: str) -> tuple[int, int]:
    path = net.tap(1, "out") if "1.out" in net.taps else net.tap(1, tap)
    return receptive_field(net.model, path, net.input_px).stride


# ------------------------------------------------------------------------------- the limit's story
@dataclass(frozen=True)
class LimitRule:
    """What can be said about the paper's RMS limit.

    status: "never bound", "compared", "not run", "no limit" or "unknown"; text: the sentence.
    """

    status: str
    text: str


def limit_rule(ours: Subject, unlimited: Subject | None) -> LimitRule:
    """Whether the net under study and one without the limit may be compared, and why not."""
    label, rows = ours.label, ours.history
    if not rows or "filters_rescaled" not in rows[0]:
        return LimitRule(
            "unknown",
            f"{label} was not trained here: whether a limit on the filters' RMS played a part in "
            "its training is not known, and panel (a) stays empty.",
        )
    training = ours.inputs.net.provenance.get("training") or {}
    limit = training.get("max_filter_rms")
    if "max_filter_rms" in training and limit is None:
        return LimitRule(
            "no limit",
            f"{label} itself was trained without the RMS limit: panel (a) would be panel (c), and "
            "nothing can be said about the limit.",
        )
    named = "The RMS limit" if limit is None else f"The RMS limit of {limit:g}"
    count = sum(int(float(row["filters_rescaled"])) for row in rows)
    if count == 0:
        largest = [
            float(row["largest_filter_rms"]) for row in rows if row.get("largest_filter_rms")
        ]
        told = f" (largest RMS of any filter: {max(largest):.3g})" if largest else ""
        return LimitRule(
            "never bound",
            f"{named} never bound in the {len(rows)} epochs of {label}{told}: training without it "
            "would be the very same run, so that nothing can be said about the limit.",
        )
    bound = f"{named} scaled filters of {label} back {count:,} times in {len(rows)} epochs"
    if unlimited is None:
        return LimitRule(
            "not run",
            f"{bound}, but no net was trained without it: the comparison of panel (a) was not run.",
        )
    return LimitRule("compared", f"{bound}; panel (a) is {unlimited.key}, trained without it.")


# --------------------------------------------------------------------------------------- numbers
Statistic = Callable[[np.ndarray], np.ndarray]


def dominance(rms: np.ndarray) -> np.ndarray:
    """Largest over median along the last axis: 1 if all filters are equally strong."""
    return rms.max(-1) / np.median(rms, -1)


def log_mean(values: np.ndarray) -> np.ndarray:
    """Geometric mean along the last axis."""
    return np.exp(np.log(np.maximum(values, 1e-12)).mean(-1))


def arithmetic_mean(values: np.ndarray) -> np.ndarray:
    """Mean along the last axis."""
    return values.mean(-1)


def _draws(values: np.ndarray, statistic: Statistic, seed: int, salt: int) -> np.ndarray:
    rng = np.random.default_rng([seed, len(values), salt, 7])
    return statistic(values[rng.integers(len(values), size=(DRAWS, len(values)))])


def measured(values: np.ndarray, statistic: Statistic, seed: int, note: str = "") -> Estimate:
    """`statistic` of finite `values` (n,) with a percentile bootstrap interval over them."""
    values = _finite(values)
    if len(values) < 2:
        return Estimate(float("nan"), n=len(values), note=_join(note, "too few for an interval"))
    low, high = np.quantile(_draws(values, statistic, seed, 0), [0.025, 0.975])
    return Estimate(float(statistic(values)), float(low), float(high), len(values), note=note)


def compared(
    ours: np.ndarray, theirs: np.ndarray, statistic: Statistic, seed: int, note: str = ""
) -> Estimate:
    """Ours minus theirs with an interval by resampling each bank on its own."""
    ours, theirs = _finite(ours), _finite(theirs)
    note = _join(note, ONE_TRAINING)
    n = len(ours) + len(theirs)
    if min(len(ours), len(theirs)) < 2:
        return Estimate(float("nan"), n=n, note=_join(note, "too few for an interval"))
    draws = _draws(ours, statistic, seed, 1) - _draws(theirs, statistic, seed, 2)
    low, high = np.quantile(draws, [0.025, 0.975])
    value = float(statistic(ours) - statistic(theirs))
    return Estimate(value, float(low), float(high), n, note=note)


def counted(flags: np.ndarray, unit: str, note: str = "") -> Estimate:
    """How many of n are flagged, with Wilson's interval of the rate times n."""
    n, count = len(flags), int(flags.sum())
    low, high = wilson(count, n)
    note = _join(note, "interval: Wilson's of the rate, times n")
    return Estimate(count, low * n, high * n, n, unit, note)


def rate_difference(ours: np.ndarray, theirs: np.ndarray) -> Estimate:
    """Difference of two rates, with Newcombe's interval from the two of Wilson."""
    a, b = float(ours.mean()), float(theirs.mean())
    (la, ua), (lb, ub) = (wilson(int(x.sum()), len(x)) for x in (ours, theirs))
    low = a - b - math.hypot(a - la, ub - b)
    high = a - b + math.hypot(ua - a, b - lb)
    note = f"difference of shares, Newcombe's interval; {ONE_TRAINING}"
    return Estimate(a - b, low, high, len(ours) + len(theirs), "", note)


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    return values[np.isfinite(values)]


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _metrics(banks: Sequence[Bank], options: Options, seed: int) -> dict[str, Estimate]:
    metrics: dict[str, Estimate] = {
        "images": Estimate(len(banks[0].subject.inputs.rows), unit="images", note="counted")
    }
    for bank in banks:
        own = _own_metrics(bank, options, seed)
        metrics.update({f"{bank.key}_{name}": value for name, value in own.items()})
    own = _difference_metrics(banks[0], banks[1], options, seed)
    metrics.update({f"difference_{name}": value for name, value in own.items()})
    return metrics


def _own_metrics(bank: Bank, options: Options, seed: int) -> dict[str, Estimate]:
    metrics: dict[str, Estimate] = {}
    for layer in (1, 2):
        dead = bank.dead(layer, options.alive)
        metrics[f"layer{layer}_never_active"] = counted(
            dead, "maps", f"strongest activation over the {options.split} split"
        )
        if layer in bank.rms:
            weak = bank.weak(layer, options.weak)
            metrics[f"layer{layer}_weak"] = counted(
                weak, "filters", f"RMS below {options.weak:g} of the median"
            )
    if 1 in bank.rms:
        metrics["layer1_dominance"] = measured(
            bank.rms[1], dominance, seed,
            note="largest RMS over the median; bootstrap over filters, which never draws a filter "
            "stronger than the strongest of these",
        )  # fmt: skip
        shares = bank.shares(options.bands)
        for band, values in zip(BANDS, shares.T, strict=True):
            metrics[f"layer1_{band}"] = bootstrap_mean(
                values, seed, note="share of a filter's energy; bootstrap over filters"
            )
    if bank.second is not None:
        metrics.update(_grid_metrics(bank, bank.second, options, seed))
    return metrics


def _grid_metrics(
    bank: Bank, second: Projections, options: Options, seed: int
) -> dict[str, Estimate]:
    share = max(second.field) / bank.subject.inputs.net.input_px
    metrics = {
        "layer2_field_share": Estimate(share, note="field over input side, of the architecture")
    }
    trace = second.trace(bank.stride, options.grid_radius)
    if trace is None:
        why = (
            f"a stride of {max(bank.stride)} px and a field of {max(second.field)} px leave no "
            "frequencies of the grid to tell apart"
        )
        nothing = Estimate(float("nan"), n=0, note=why)
        return {**metrics, "layer2_grid_excess": nothing, "layer2_grid_ratio": nothing}
    note = _join(f"grid of layer 1, {max(bank.stride)} px; bootstrap over maps", _field_note(bank))
    metrics["layer2_grid_excess"] = measured(
        trace[1], arithmetic_mean, seed, _join("share of all energy beyond what is beside", note)
    )
    metrics["layer2_grid_ratio"] = measured(
        trace[0], log_mean, seed,
        _join("geometric mean of the density there over that beside; not for comparing nets: it "
              "has no bound where next to nothing is beside", note),
    )  # fmt: skip
    return metrics


def _field_note(bank: Bank) -> str:
    px = bank.subject.inputs.net.input_px
    if bank.second is None or max(bank.second.field) <= MAX_FIELD * px:
        return ""
    return f"field of {max(bank.second.field)} px above {MAX_FIELD:g} of the image's {px}: no claim"


def _difference_metrics(
    ours: Bank, theirs: Bank, options: Options, seed: int
) -> dict[str, Estimate]:
    metrics: dict[str, Estimate] = {}
    for layer in (1, 2):
        metrics[f"layer{layer}_never_active"] = rate_difference(
            ours.dead(layer, options.alive), theirs.dead(layer, options.alive)
        )
        if layer in ours.rms and layer in theirs.rms:
            metrics[f"layer{layer}_weak"] = rate_difference(
                ours.weak(layer, options.weak), theirs.weak(layer, options.weak)
            )
    if 1 in ours.rms and 1 in theirs.rms:
        metrics["layer1_dominance"] = compared(ours.rms[1], theirs.rms[1], dominance, seed)
        pair = ours.shares(options.bands), theirs.shares(options.bands)
        for number, band in enumerate(BANDS):
            metrics[f"layer1_{band}"] = compared(
                pair[0][:, number], pair[1][:, number], arithmetic_mean, seed
            )
    traces = _traces((ours, theirs), options.grid_radius)
    if traces is not None:
        (_, excess), (_, their_excess) = traces
        notes = dict.fromkeys((_field_note(ours), _field_note(theirs)))
        metrics["layer2_grid_excess"] = compared(
            excess, their_excess, arithmetic_mean, seed, _join(*notes)
        )
    return metrics


def _traces(
    banks: Sequence[Bank], units: float, grid: str = "own"
) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Ratio and excess of each bank's projections; None unless all have them.

    grid: each net's "own" of layer 1, its "pooled" one, or for both that of the "baseline".
    """
    found = []
    for bank in banks:
        if bank.second is None:
            return None
        strides = {"own": bank.stride, "pooled": bank.second.pooled, "baseline": banks[1].stride}
        trace = bank.second.trace(strides[grid], units)
        if trace is None:
            return None
        found.append(trace)
    return found


def _no_comparison(rule: LimitRule, unlimited: Subject | None) -> str:
    """Why nothing is said of the limit, for whoever misses the number."""
    if rule.status == "compared" and unlimited is not None:
        return f"{unlimited.label} has no filters of the pixels"
    return rule.text.rstrip(".")


def _limit_metrics(ours: Bank, without: Tensor, seed: int) -> dict[str, Estimate]:
    rms = filter_rms(without).double().numpy()
    return {
        "unlimited_layer1_dominance": measured(
            rms, dominance, seed, note="largest RMS over the median; bootstrap over filters"
        ),
        "limit_layer1_dominance": compared(ours.rms[1], rms, dominance, seed),
    }


# ---------------------------------------------------------------------------------------- tables
Row = list[str | int | float | bool | None]


def _interval(one: Estimate | None) -> Row:
    return [None, None, None] if one is None else [one.value, one.low, one.high]


def _nets_table(banks: Sequence[Bank], metrics: dict[str, Estimate]) -> Table:
    rows: list[Row] = []
    names = {
        "layer1_never_active": "layer 1: maps never active",
        "layer1_weak": "layer 1: weak filters",
        "layer1_dominance": "layer 1: largest RMS over median",
        "layer1_low": "layer 1: energy in the low band",
        "layer1_mid": "layer 1: energy in the mid band",
        "layer1_high": "layer 1: energy in the high band",
        "layer2_never_active": "layer 2: maps never active",
        "layer2_weak": "layer 2: weak filters",
        "layer2_grid_excess": "layer 2: share of energy at the grid, beyond beside",
        "layer2_grid_ratio": "layer 2: density at the grid over beside",
    }
    for name, told in names.items():
        found = [metrics.get(f"{key}_{name}") for key in (*(b.key for b in banks), "difference")]
        if any(one is not None for one in found):
            rows.append([told, *(value for one in found for value in _interval(one))])
    heads = [*(bank.label for bank in banks), "difference"]
    return Table(
        ["measure", *(f"{head}{end}" for head in heads for end in ("", " low", " high"))],
        rows,
        f"Each measure with its 95 % interval. Difference: {banks[0].label} minus "
        f"{banks[1].label}; of counts, the difference of their shares.",
    )


def _sensitivity(banks: Sequence[Bank], options: Options, seed: int) -> Table:
    rows: list[Row] = [
        [measure, choice, *values, *_interval(difference), _decision(difference)]
        for measure, choice, values, difference in (
            *_band_choices(banks, options, seed),
            *_dead_choices(banks, options),
            *_grid_choices(banks, options, seed),
        )
    ]
    return Table(
        ["measure", "choice", *(bank.label for bank in banks), "difference", "low", "high",
         "finding"],
        rows,
        "The findings under other choices than the configured one, which comes first. Difference: "
        "of the first net minus the second, with its 95 % interval.",
    )  # fmt: skip


Choice = tuple[str, str, list[float], Estimate]


def _band_choices(banks: Sequence[Bank], options: Options, seed: int) -> Iterator[Choice]:
    if not all(1 in bank.rms for bank in banks):
        return
    low, high = options.bands
    for edges, luminance, told in (
        ((low, high), False, "as configured"),
        ((0.8 * low, 0.8 * high), False, "edges 0.8 times"),
        ((1.25 * low, min(0.49, 1.25 * high)), False, "edges 1.25 times"),
        ((low, high), True, "luminance only"),
    ):
        ours, theirs = (bank.shares(edges, luminance)[:, 1] for bank in banks)
        means = [float(ours.mean()), float(theirs.mean())]
        told = f"{told} ({edges[0]:.3g}, {edges[1]:.3g})"
        yield "layer 1: mid band", told, means, compared(ours, theirs, arithmetic_mean, seed)
    for share in dict.fromkeys((options.weak, 0.25, 0.5)):
        ours, theirs = (bank.weak(1, share) for bank in banks)
        rates = [float(ours.mean()), float(theirs.mean())]
        told = f"RMS below {share:g} of the median"
        yield "layer 1: weak filters", told, rates, rate_difference(ours, theirs)


def _dead_choices(banks: Sequence[Bank], options: Options) -> Iterator[Choice]:
    for layer in (1, 2):
        for alive in dict.fromkeys((options.alive, 0.01, 0.1)):
            ours, theirs = (bank.dead(layer, alive) for bank in banks)
            rates = [float(ours.mean()), float(theirs.mean())]
            told = "never above 0" if alive == 0 else f"never above {alive:g} of the median"
            yield f"layer {layer}: never active", told, rates, rate_difference(ours, theirs)


def _grid_choices(banks: Sequence[Bank], options: Options, seed: int) -> Iterator[Choice]:
    own, step = options.grid_radius, max(banks[1].stride)
    for units, grid, told in (
        (own, "own", "as configured"),
        (0.7 * own, "own", "radius 0.7 times"),
        (1.5 * own, "own", "radius 1.5 times"),
        (own, "baseline", f"the grid of {step} px of {banks[1].label} for both"),
        (own, "pooled", "the coarser grids of the pooled layer 1"),
    ):
        if (traces := _traces(banks, units, grid)) is not None:
            ours, theirs = (_finite(excess) for _, excess in traces)
            means = [float(ours.mean()), float(theirs.mean())]
            difference = compared(ours, theirs, arithmetic_mean, seed)
            yield "layer 2: energy at the grid", told, means, difference


def _decision(difference: Estimate) -> str:
    if difference.low is None or difference.high is None:
        return "unknown"
    if difference.low > 0:
        return "higher"
    return "lower" if difference.high < 0 else "not apart"


def _filters_table(banks: Sequence[Bank], options: Options) -> Table:
    rows: list[Row] = []
    for bank in banks:
        if bank.filters is None or bank.power is None:
            continue
        rms, shares = bank.rms[1], band_shares(bank.power, options.bands).double().numpy()
        peaks = bank.peaks[1] if len(bank.peaks[1]) == len(rms) else np.full(len(rms), np.nan)
        for i, (strength, peak, share) in enumerate(zip(rms, peaks, shares, strict=True)):
            rows.append([bank.label, i, float(strength), float(peak), *map(float, share)])
    return Table(
        ["net", "filter", "RMS", "strongest activation", "low", "mid", "high"],
        rows,
        "Every first-layer filter: its strength, and the shares of its energy in three bands.",
    )


def _maps_table(banks: Sequence[Bank]) -> Table:
    rows: list[Row] = []
    for bank in banks:
        if bank.second is None or (trace := bank.second.trace(bank.stride, 1.0)) is None:
            continue
        for i, number in enumerate(bank.second.maps):
            peak = float(bank.peaks[2][number])
            rows.append([bank.label, int(number), peak, float(trace[0][i]), float(trace[1][i])])
    return Table(
        ["net", "map", "strongest activation", "ratio at the grid", "excess at the grid"],
        rows,
        "Every measured map of layer 2: energy of its projections at the frequencies of layer 1's "
        "sampling grid.",
    )


# --------------------------------------------------------------------------------------- showing
def _arrays(banks: Sequence[Bank]) -> dict[str, np.ndarray | Iterable[np.ndarray]]:
    arrays: dict[str, np.ndarray | Iterable[np.ndarray]] = {}
    for bank in banks:
        for layer, peaks in bank.peaks.items():
            arrays[f"{bank.key}_layer{layer}_peaks"] = peaks.astype(np.float32)
        if bank.filters is not None:
            arrays[f"{bank.key}_layer1_filters"] = bank.filters.numpy()
        if bank.second is not None:
            arrays[f"{bank.key}_layer2_spectrum"] = bank.second.power.mean(0).numpy()
    return arrays


def _figures(
    banks: Sequence[Bank],
    without: Tensor | None,
    unlimited: Subject | None,
    rule: LimitRule,
    metrics: dict[str, Estimate],
    options: Options,
) -> list[Figure]:
    ours, theirs = banks
    own, other = ours.label, theirs.label
    figures = [
        Figure(
            "panels",
            f"The paper's Fig. 6: (a) first layer without the RMS limit, (b) {other}, layer 1, "
            f"(c) {own}, layer 1, (d) {other}, layer 2, (e) {own}, layer 2. Filters of one panel "
            "share one symmetric scale (grey = 0, full contrast = the panel's largest weight), so "
            "that a dominating one would leave the others grey; framed red: never active or weak. "
            "Projections of layer 2: the strongest activation of each of a seeded random subset "
            "of the active maps, each on its own symmetric scale.",
            f"Five panels of tiles: first-layer filters of {other} and {own} as small colour "
            "patches, and below them second-layer projections of both nets.",
            functools.partial(_draw_panels, banks, without, unlimited, rule, options),
        )
    ]
    if all(bank.power is not None for bank in banks):
        figures.append(_frequency_figure(banks, metrics, options))
    figures.append(
        Figure(
            "strength",
            "How evenly strength is spread: RMS of every filter's weights (left) and strongest "
            "activation of every map in the split (right), each over the median of its layer, "
            "strongest first. Solid: layer 1, dashed: layer 2. A line that starts high has "
            "dominating filters, one that drops at its end has weak or dead ones.",
            "Two line plots of ranked filter strengths and ranked strongest activations.",
            functools.partial(strength_plot, [_strength(bank) for bank in banks], options.weak),
        )
    )
    traces = [trace for bank in banks if (trace := _grid_trace(bank, metrics, options))]
    if traces:
        figures.append(
            Figure(
                "aliasing",
                "Left: mean energy of layer 2's projections at each frequency (logarithmic), the "
                "frequencies of layer 1's sampling grid ringed; a net that samples too coarsely "
                "has bright spots in the rings. Right: share of the energy that lies in the rings "
                "beyond what is beside them, for each measured map (dots), with the mean and its "
                "95 % interval.",
                "Heat maps of the mean spectrum of second-layer projections with rings at the "
                "sampling grid's frequencies, and dots of the energy there for each map.",
                functools.partial(grid_plot, traces),
            )
        )
    return figures


def _draw_panels(
    banks: Sequence[Bank],
    without: Tensor | None,
    unlimited: Subject | None,
    rule: LimitRule,
    options: Options,
) -> Image:
    ours, theirs = banks
    short = {
        "never bound": "the limit never bound: the same filters as (c)",
        "not run": "not run: no net was trained without the limit",
        "no limit": "the net of (c) was itself trained without the limit",
        "unknown": "not known: the net was not trained here",
        "compared": "the net has no filters of the pixels",
    }[rule.status]
    if without is not None and unlimited is not None:
        first = _filter_panel("(a) No RMS limit, layer 1", without, (1, 1), frozenset())
    else:
        first = TilePanel("(a) No RMS limit, layer 1", "", message=short)
    return panel_sheet(
        [
            [first, _layer1(f"(b) {theirs.label}, layer 1", theirs, options),
             _layer1(f"(c) {ours.label}, layer 1", ours, options)],
            [_layer2(f"(d) {theirs.label}, layer 2", theirs),
             _layer2(f"(e) {ours.label}, layer 2", ours)],
        ]
    )  # fmt: skip


def _layer1(title: str, bank: Bank, options: Options) -> TilePanel:
    if bank.filters is None:
        return TilePanel(title, "", message="no first layer of filters on the pixels")
    bad = bank.weak(1, options.weak)
    if len(bank.peaks[1]) == len(bad):
        bad = bad | bank.dead(1, options.alive)
    return _filter_panel(title, bank.filters, bank.stride, frozenset(np.flatnonzero(bad).tolist()))


def _filter_panel(
    title: str, filters: Tensor, stride: tuple[int, int], framed: frozenset[int]
) -> TilePanel:
    scale = float(filters.abs().max())
    tiles = [signed_to_rgb(one, scale) for one in filters.permute(0, 2, 3, 1).numpy()]
    count, _, height, width = filters.shape
    step = f", step {max(stride)}" if max(stride) > 1 else ""
    told = f"{count} filters {height} x {width} px{step}"
    return TilePanel(title, told, tiles, sharp=True, framed=framed)


def _layer2(title: str, bank: Bank) -> TilePanel:
    if bank.second is None:
        return TilePanel(title, "", message="no map of layer 2 is ever active")
    tiles = [signed_to_rgb(picture, signed_scale(picture)) for picture in bank.second.pictures]
    total = len(bank.peaks[2])
    told = f"{len(tiles)} of {total} maps, fields of {max(bank.second.field)} px"
    return TilePanel(title, told, tiles)


def _frequency_figure(
    banks: Sequence[Bank], metrics: dict[str, Estimate], options: Options
) -> Figure:
    nets = []
    for bank in banks:
        assert bank.power is not None
        kept = bank.power[bank.power.sum((1, 2)) > 0]
        centres, density = radial_profile(kept, PROFILE_BINS)
        rows = density.double().numpy()
        draws = _mean_draws(rows)
        nets.append(
            Frequencies(
                bank.label,
                centres.numpy(),
                rows,
                np.quantile(draws, [0.025, 0.975], axis=0),
                bank.shares(options.bands),
                [_triple(metrics[f"{bank.key}_layer1_{band}"]) for band in BANDS],
            )
        )
    noise = band_areas(SPECTRUM, options.bands).tolist()
    sizes = " and ".join(
        f"{bank.label}'s {max(bank.filters.shape[2:])} px"
        for bank in banks
        if bank.filters is not None
    )
    return Figure(
        "frequencies",
        "Frequency content of the first layer's filters, all colours together. Kernels "
        f"({sizes}) are padded with zeros to one size. Left: mean energy density by "
        "distance from zero frequency with its 95 % interval over filters; grey lines: edges of "
        f"the bands, {options.bands[0]:g} and {options.bands[1]:g} cycles per px. Right: shares of "
        "the three bands for every filter (dots) with mean and interval. Dotted: white noise, "
        "such as weights before training.",
        "Line plot of energy density against frequency for two nets, and dot plot of the shares "
        "in three frequency bands.",
        functools.partial(frequency_plot, nets, options.bands, noise),
    )


def _mean_draws(rows: np.ndarray) -> np.ndarray:
    picked = np.random.default_rng([len(rows), 8]).integers(len(rows), size=(DRAWS, len(rows)))
    return np.stack([rows[one].mean(0) for one in picked])


def _triple(one: Estimate) -> tuple[float, float, float]:
    low = one.value if one.low is None else one.low
    return one.value, low, one.value if one.high is None else one.high


def _percent(shares: tuple[float, float, float]) -> tuple[float, float, float]:
    return 100 * shares[0], 100 * shares[1], 100 * shares[2]


def _strength(bank: Bank) -> Strength:
    def relative(by_layer: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        middle = {layer: float(np.median(values)) for layer, values in by_layer.items()}
        return {n: values / middle[n] for n, values in by_layer.items() if middle[n] > 0}

    return Strength(bank.label, relative(bank.rms), relative(bank.peaks))


def _grid_trace(bank: Bank, metrics: dict[str, Estimate], options: Options) -> GridTrace | None:
    if bank.second is None:
        return None
    trace = bank.second.trace(bank.stride, options.grid_radius)
    if trace is None:
        return None
    spectrum = bank.second.power.mean(0).double().numpy()
    return GridTrace(
        bank.label,
        spectrum / spectrum.mean(),
        bank.stride,
        options.grid_radius / max(bank.second.field),
        100 * _finite(trace[1]),
        _percent(_triple(metrics[f"{bank.key}_layer2_grid_excess"])),
    )


# --------------------------------------------------------------------------------------- telling
def _extra(banks: Sequence[Bank], options: Options, rule: LimitRule) -> dict[str, Any]:
    nets = {}
    for bank in banks:
        net = bank.subject.inputs.net
        nets[bank.key] = {
            "label": bank.label,
            "arch": net.arch,
            "input_px": net.input_px,
            "stride": list(bank.stride),
            "kernel": None if bank.filters is None else list(bank.filters.shape[2:]),
            "flat_filter_shares": _flat_shares(bank, options),
            "never_active": {
                str(n): np.flatnonzero(bank.dead(n, options.alive)).tolist() for n in bank.peaks
            },
            "weak": {str(n): np.flatnonzero(bank.weak(n, options.weak)).tolist() for n in bank.rms},
            "measured_maps": [] if bank.second is None else bank.second.maps.tolist(),
            "shown_maps": [] if bank.second is None else list(bank.second.shown),
            "field_px": None if bank.second is None else list(bank.second.field),
            "pooled_stride": None if bank.second is None else list(bank.second.pooled),
            "field_too_large": bool(_field_note(bank)),
        }
    return {
        "card": "panels",
        "headline": [
            "difference_layer1_dominance",
            "difference_layer1_low",
            "difference_layer2_grid_excess",
        ],
        "split": options.split,
        "bands": list(options.bands),
        "white_noise_shares": band_areas(SPECTRUM, options.bands).tolist(),
        "limit": rule.status,
        "nets": nets,
    }


def _flat_shares(bank: Bank, options: Options) -> list[float] | None:
    """Bands of a filter of equal weights: what the kernel's size alone does to the slowest."""
    if bank.filters is None:
        return None
    flat = torch.ones_like(bank.filters[:1])
    return [float(x) for x in band_shares(power_spectrum(flat, _side(flat)), options.bands)[0]]


def _text(
    banks: Sequence[Bank],
    options: Options,
    metrics: dict[str, Estimate],
    rule: LimitRule,
    sensitivity: Table,
) -> str:
    ours, theirs = banks
    parts = [
        f"The first two layers of {ours.label} and of {theirs.label}, over "
        f"{len(ours.subject.inputs.rows)} images of the {options.split} split. The paper judges "
        "them by eye: without the RMS limit one filter dominates; AlexNet's first layer has dead "
        "filters and mostly very high and very low frequencies, its second artefacts of the "
        "stride of 4 px; its own layers are free of both. The measures of these words are ours.",
        _origin_text(banks, options.split),
        rule.text,
        _limit_text(metrics),
        _dead_text(banks, metrics),
        _first_text(banks, options, metrics),
        _grid_text(banks, options, metrics),
        _choices_text(sensitivity),
        "There is one net of each kind: intervals are over its filters or maps, and say nothing "
        "of other trainings, data or sizes.",
    ]
    return " ".join(part for part in parts if part)


def _origin_text(banks: Sequence[Bank], split: str) -> str:
    adopted = [b.label for b in banks if "adopted" in b.subject.inputs.net.provenance]
    if adopted:
        return (
            f"Whether these images were among the training set of {' and of '.join(adopted)} is "
            "not known."
        )
    told = "These images were" if split == "train" else "None of these images was"
    return f"{told} trained on."


def _limit_text(metrics: dict[str, Estimate]) -> str:
    without = metrics.get("unlimited_layer1_dominance")
    if without is None:
        return ""
    return (
        f"Without it the strongest first-layer filter has {_span(without)} times the median RMS; "
        f"with it minus without: {_verdict(metrics['limit_layer1_dominance'])}."
    )


def _choices_text(sensitivity: Table) -> str:
    """Which of the findings hang on a choice that the paper leaves open."""
    found: dict[str, list[str]] = {}
    for row in sensitivity.rows:
        found.setdefault(str(row[0]), []).append(str(row[-1]))
    moved = [
        f"{name} ({sum(one != each[0] for one in each)} of {len(each) - 1} other choices)"
        for name, each in found.items()
        if len(set(each)) > 1
    ]
    if not moved:
        return "No finding changes under the other choices of the table sensitivity."
    return (
        "Under some choice of the table sensitivity the finding changes for "
        f"{'; '.join(moved)}: it hangs on what the paper leaves open."
    )


def _dead_text(banks: Sequence[Bank], metrics: dict[str, Estimate]) -> str:
    told = []
    for layer in (1, 2):
        counts = [metrics[f"{bank.key}_layer{layer}_never_active"] for bank in banks]
        each = " and ".join(
            f"{one.value:.0f} of {one.n} maps of {bank.label}"
            for one, bank in zip(counts, banks, strict=True)
        )
        verdict = _verdict(metrics[f"difference_layer{layer}_never_active"])
        told.append(f"in layer {layer}, {each} are never active ({verdict})")
    return f"Dead maps: {'; '.join(told)}."


def _verdict(difference: Estimate) -> str:
    told = "not told apart, " if _decision(difference) == "not apart" else ""
    return f"{told}difference {_span(difference)}"


def _span(one: Estimate, factor: float = 1) -> str:
    if one.low is None or one.high is None:
        return "unknown" if math.isnan(one.value) else f"{factor * one.value:.3g}"
    value, low, high = (factor * x for x in (one.value, one.low, one.high))
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"


def _first_text(banks: Sequence[Bank], options: Options, metrics: dict[str, Estimate]) -> str:
    if not all(1 in bank.rms for bank in banks):
        return "One of the nets has no filters of the pixels, so that these are not compared."
    strongest = " and ".join(
        f"{_span(metrics[f'{bank.key}_layer1_dominance'])} in {bank.label}" for bank in banks
    )
    noise = band_areas(SPECTRUM, options.bands).tolist()
    bands = "; ".join(
        f"{band} {_pair(banks, metrics, f'layer1_{band}')} "
        f"({_verdict(metrics[f'difference_layer1_{band}'])})"
        for band in BANDS
    )
    flat = [_flat_shares(bank, options) for bank in banks]
    limits = " and ".join(
        f"{shares[0]:.2f} in {bank.label}"
        for shares, bank in zip(flat, banks, strict=True)
        if shares is not None
    )
    return (
        f"The strongest first-layer filter has {strongest} times the median RMS. A filter's energy "
        f"below {options.bands[0]:g}, between, and above {options.bands[1]:g} cycles per px, mean "
        f"of {banks[0].label} and of {banks[1].label}: {bands}. White noise has "
        f"{', '.join(f'{x:.2f}' for x in noise)} at any kernel size, and the flattest filter that "
        f"the kernel allows a low share of {limits}: smaller kernels cannot be as slow."
    )


def _pair(banks: Sequence[Bank], metrics: dict[str, Estimate], name: str) -> str:
    return " and ".join(f"{metrics[f'{bank.key}_{name}'].value:.2f}" for bank in banks)


def _grid_text(banks: Sequence[Bank], options: Options, metrics: dict[str, Estimate]) -> str:
    told = []
    for bank in banks:
        excess = metrics.get(f"{bank.key}_layer2_grid_excess")
        if excess is None or bank.second is None:
            told.append(f"unknown in {bank.label}, where no map of layer 2 is ever active")
        elif math.isnan(excess.value):
            told.append(f"unknown in {bank.label} ({excess.note})")
        else:
            ratio = metrics[f"{bank.key}_layer2_grid_ratio"]
            told.append(
                f"{_span(excess, 100)} % in {bank.label} (steps of {max(bank.stride)} px, "
                f"{excess.n} maps; {ratio.value:.3g} times as dense there as beside)"
            )
    text = (
        "Aliasing: of the energy of layer 2's projections, what lies at the frequencies of layer "
        "1's sampling grid beyond what their neighbours predict (0: no trace; "
        f"{options.top_k} projections a map) is {'; '.join(told)}."
    )
    difference = metrics.get("difference_layer2_grid_excess")
    if difference is not None:
        apart = "not told apart, " if _decision(difference) == "not apart" else ""
        text += f" {banks[0].label} minus {banks[1].label}: {apart}{_span(difference, 100)} points."
    marked = [f"{bank.label}, {note}" for bank in banks if (note := _field_note(bank))]
    return text + (f" Marked: {'; '.join(marked)}." if marked else "")
