"""One training's snapshots in turn: each map's strongest activation, projected and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zfnet.data.signed import ZERO, signed_scale, signed_to_rgb
from zfnet.errors import UserError
from zfnet.files import read_json
from zfnet.methods.receptive_field import ReceptiveField, receptive_field
from zfnet.models.checkpoint import load_weights
from zfnet.studies.base import BATCH, Inputs, Windows, cut_windows, project, strongest

if TYPE_CHECKING:
    from zfnet.pipeline.studies import Evolution

CONTRAST = 0.98  # quantile at which pictures saturate; the paper boosts the contrast here as well
KEPT_BYTES = 2**28  # of a layer's pictures; where all would take more, only those drawn are kept
SHIFT = 0.1  # share of the field's side by which an epoch's own projection may be displaced
MAX_EPOCHS = 24  # about so many snapshots are measured: a pass over the images each
THRESHOLD = 0.7  # cosine from which a projection is similar; its square is the energy in common


def measured_epochs(kept: Sequence[int], columns: Sequence[int]) -> tuple[int, ...]:
    """Which snapshots are measured: all, or about MAX_EPOCHS evenly spaced ones and the columns."""
    if len(kept) <= MAX_EPOCHS:
        return tuple(kept)
    spaced = np.linspace(0, len(kept) - 1, MAX_EPOCHS).round().astype(int)
    return tuple(sorted({kept[i] for i in spaced} | set(columns)))


def read_snapshots(folder: Path) -> dict[int, Path]:
    """The weights after each epoch (from 1) that a training kept, ascending; {} without a folder.

    Raises UserError if epochs.json is damaged or names a file that is missing.
    """
    index = folder / "epochs.json"
    if not index.is_file():
        return {}
    try:
        epochs = sorted(int(epoch) for epoch in read_json(index)["kept"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{index}: damaged ({error!r}); train the net again") from error
    files = {epoch: folder / f"epoch_{epoch:03d}.pt" for epoch in epochs}
    for file in files.values():
        if not file.is_file():
            raise UserError(f"{file}: missing, though {index.name} names its epoch")
    return files


class Trace:
    """One layer through E epochs; C measured maps, a seeded subset of its `total`.

    maps (C,): their numbers, ascending; shown: those that are drawn. values (C, E): strongest
    activation over the images; rows (C, E): its row of the split; places (C, E, 2): y, x in the
    map. fixed, own (C, E): cosine with the last epoch's projection, -1..1, NaN for maps that are
    dead at the last epoch. start (C,): that of the projection by the weights that training began
    with, as if the map were active there. floor (C,): that of another map's projection from the
    same place.
    pictured (P,): maps whose pictures are kept; pictures (P, E, h, w, 3) uint8: the projection at
    each epoch's own place, cut to the field's window; 128 is zero. final (C, 3, h, w): the last
    epoch's projections.
    """

    def __init__(
        self,
        number: int,
        path: str,
        reach: ReceptiveField,
        total: int,
        epochs: Sequence[int],
        cfg: Evolution,
    ) -> None:
        self.number, self.path, self.reach, self.total = number, path, reach, total
        self.epochs = tuple(epochs)
        drawn = np.random.default_rng([cfg.seed, number, 7]).permutation(total)
        drawn = drawn[: cfg.max_maps or total]
        self.maps, self.shown = np.sort(drawn), np.sort(drawn[: cfg.figure_maps])
        size = len(drawn), len(epochs)
        self.values = np.zeros(size, np.float32)
        self.rows = np.zeros(size, np.int64)
        self.places = np.zeros((*size, 2), np.int64)
        self.fixed, self.own = np.full(size, np.nan), np.full(size, np.nan)
        self.start, self.floor = np.full((2, len(drawn)), np.nan)
        canvas = self.windows(self.places[:0, 0]).canvas
        self.pictured = self.maps if 3 * np.prod([*size, *canvas]) <= KEPT_BYTES else self.shown
        self.pictures = np.full((len(self.pictured), len(epochs), *canvas, 3), ZERO, np.uint8)
        self.final = torch.zeros((0, 3, *reach.size))

    @property
    def live(self) -> np.ndarray:
        """(C,) bool: maps with an activation above 0 at the last epoch."""
        return np.asarray(self.values[:, -1] > 0)

    @property
    def left(self) -> np.ndarray:
        """(C,) bool: live maps whose projection was not similar to the last before training."""
        return np.asarray(self.live & (self.start < THRESHOLD))

    @property
    def changed(self) -> np.ndarray:
        """(C, E - 1): 1 where the strongest image is another than at the epoch measured before.

        NaN where the map is dead at one of the two.
        """
        alive = (self.values[:, 1:] > 0) & (self.values[:, :-1] > 0)
        return np.where(alive, self.rows[:, 1:] != self.rows[:, :-1], np.nan)

    def windows(self, places: np.ndarray) -> Windows:
        """What activations at places (…, 2) of this layer see."""
        return Windows.at(self.reach, torch.from_numpy(places))

    def keep_pictures(self, members: np.ndarray, down: Tensor, e: int) -> None:
        """Keep those of `members` (n,) that are pictured; `down` (n, 3, h, w): their fields."""
        windows = self.windows(self.places[members, e])
        cut = cut_windows(down, windows.corners - windows.fields, windows.canvas)
        for number, window in zip(self.maps[members], cut, strict=True):
            if number in self.pictured:
                part = window.permute(1, 2, 0).float().cpu().numpy()
                place = np.searchsorted(self.pictured, number)
                self.pictures[place, e] = signed_to_rgb(part, signed_scale(part, CONTRAST))


def follow(
    inputs: Inputs, first: Mapping[str, Tensor], snapshots: Mapping[int, Path], cfg: Evolution
) -> list[Trace]:
    """A trace of each layer: for every snapshot a pass over the images, two projections a map.

    first: the state dict that training began with. The net's weights are afterwards as before.
    """
    net, epochs = inputs.net, list(snapshots)
    before = {key: value.clone() for key, value in net.model.state_dict().items()}
    paths = {number: net.tap(number, cfg.tap) for number in cfg.layers}
    traces: list[Trace] = []
    try:
        for e in [-1, *range(len(epochs) - 1)]:  # the last first: the others are compared with it
            load_weights(net.model, snapshots[epochs[e]])
            what = f"epoch {epochs[e]} of {epochs[-1]}"
            top = strongest(inputs, list(paths.values()), 1, what=what)
            if not traces:
                for number, path in paths.items():
                    reach = receptive_field(net.model, path, net.input_px)
                    traces.append(Trace(number, path, reach, len(top[path].values), epochs, cfg))
            for trace in traces:
                of = top[trace.path]
                trace.values[:, e] = of.values[:, 0].float().numpy()[trace.maps]
                trace.rows[:, e] = of.images[:, 0].numpy()[trace.maps]
                trace.places[:, e] = of.places[:, 0].numpy()[trace.maps]
                if e == -1:
                    _measure_last(trace, inputs, cfg.seed)
                else:
                    _measure(trace, e, inputs)
        net.model.load_state_dict(first)
        for trace in traces:
            live = np.flatnonzero(trace.live)
            # silence there is no distance: a bias alone may cause it
            down = _projections(trace, live, -1, inputs, units=trace.maps[live])
            trace.start[live] = cosine(down, trace.final[live]).cpu().numpy()
    finally:
        net.model.load_state_dict(before)
    return traces


def _measure_last(trace: Trace, inputs: Inputs, seed: int) -> None:
    """The last epoch: what the others are compared with, and the floor."""
    everyone, live = np.arange(len(trace.maps)), np.flatnonzero(trace.live)
    trace.final = _projections(trace, everyone, -1, inputs)
    trace.keep_pictures(everyone, trace.final, -1)
    trace.fixed[live, -1] = trace.own[live, -1] = 1.0
    if len(live) > 1:
        # each map with another: neighbours in a seeded circle
        circle = np.random.default_rng([seed, trace.number, 8]).permutation(live)
        other = np.zeros(len(trace.maps), np.int64)
        other[circle] = np.roll(circle, 1)
        others = _projections(trace, live, -1, inputs, units=trace.maps[other[live]])
        trace.floor[live] = cosine(others, trace.final[live]).cpu().numpy()


def _measure(trace: Trace, e: int, inputs: Inputs) -> None:
    """One epoch before the last: both similarities of the live maps, pictures of all."""
    live, pictured = np.flatnonzero(trace.live), np.isin(trace.maps, trace.pictured)
    if len(live):
        own = _projections(trace, live, -1, inputs)
        trace.fixed[live, e] = cosine(own, trace.final[live]).cpu().numpy()
        same_place = (trace.places[live, e] == trace.places[live, -1]).all(1)
        moved = ~(same_place & (trace.rows[live, e] == trace.rows[live, -1]))
        own[moved] = _projections(trace, live[moved], e, inputs)
        shift = round(SHIFT * min(trace.reach.size))
        for part in np.array_split(np.arange(len(live)), -(-len(live) // BATCH)):
            near = shifted_cosine(own[part], trace.final[live[part]], shift)
            trace.own[live[part], e] = near.cpu().numpy()
        trace.keep_pictures(live, own, e)
    dead = np.flatnonzero(~trace.live & pictured)
    trace.keep_pictures(dead, _projections(trace, dead, e, inputs), e)


def _projections(
    trace: Trace, members: np.ndarray, e: int, inputs: Inputs, units: np.ndarray | None = None
) -> Tensor:
    """Projections of the measured maps `members` (n,) from where they are strongest at index `e`.

    The weights are whatever is loaded now. Returns (n, 3, h, w), the whole receptive field, 0
    outside the image. `units`: these maps instead, at the same places, starting from 1 where they
    are silent too.
    """
    if not len(members):
        return torch.zeros((0, 3, *trace.reach.size), device=inputs.device)
    images, places = inputs.batch(trace.rows[members, e]), trace.places[members, e]
    maps, start = (trace.maps[members], {}) if units is None else (units, {"values": 1.0})
    down = project(inputs, trace.path, images, maps, torch.from_numpy(places), **start)
    return cut_windows(down, trace.windows(places).fields, trace.reach.size)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of each picture of a (n, …) with that of b: (n,), -1..1; 0 if one is empty."""
    return (_unit(a) * _unit(b)).flatten(1).sum(1).clamp(-1, 1)


def shifted_cosine(a: Tensor, b: Tensor, most: int) -> Tensor:
    """The largest `cosine` of a with b over shifts by at most `most` whole px down and across.

    a, b: (n, C, h, w); what leaves the window counts as lost. Returns (n,).
    """
    if most == 0:
        return cosine(a, b)
    size = (a.shape[2] + most, a.shape[3] + most)  # zeros in between: nothing comes round
    a, b = torch.fft.rfft2(_unit(a), s=size), torch.fft.rfft2(_unit(b), s=size)
    products = torch.fft.irfft2((a * b.conj()).sum(1), s=size)
    near = torch.cat([products[:, : most + 1], products[:, -most:]], 1)
    near = torch.cat([near[:, :, : most + 1], near[:, :, -most:]], 2)
    return near.amax((1, 2)).clamp(-1, 1)


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.flatten(1).float(), dim=1, eps=1e-30).view(x.shape)


def convergence_index(similarity: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Index (n,) from which similarity (n, E) to the last epoch stays at or above `threshold` (n,).

    E - 1 means: at no epoch before the last; the last is similar to itself by construction.
    """
    good = similarity >= threshold[:, None]
    good[:, -1] = True
    stays = np.logical_and.accumulate(good[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(stays.argmax(1))
