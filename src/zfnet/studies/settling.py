"""A net's epochs one after the other: each map's strongest activation, projected and compared."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zfnet.errors import UserError
from zfnet.figures.kit.grid import signed_scale, signed_to_rgb
from zfnet.methods.gradients import deconvnet
from zfnet.methods.receptive_field import ReceptiveField, receptive_field
from zfnet.methods.top_activations import TopActivations, top_activations
from zfnet.models.net import load_weights
from zfnet.progress import progress
from zfnet.studies.base import Inputs, ahead, when_it_fits

if TYPE_CHECKING:
    from zfnet.studies.evolution import Options

CONTRAST = 0.98  # quantile at which pictures saturate; the paper boosts the contrast here as well
KEPT_BYTES = 2**28  # of a layer's pictures; where all would take more, those drawn are kept


# ------------------------------------------------------------------------------------- snapshots
@dataclass(frozen=True)
class Snapshots:
    """The folder of a training's snapshots, and their epochs (from 1), ascending."""

    folder: Path
    epochs: tuple[int, ...]

    @staticmethod
    def open(folder: str | Path) -> Snapshots:
        """Read epochs.json; a folder that does not exist holds no snapshots.

        Raises UserError if epochs.json is damaged or names a file that is missing.
        """
        folder = Path(folder)
        file = folder / "epochs.json"
        if not file.is_file():
            return Snapshots(folder, ())
        try:
            kept = tuple(sorted(int(epoch) for epoch in json.loads(file.read_bytes())["kept"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: damaged ({error!r}); train the net again") from error
        found = Snapshots(folder, kept)
        for epoch in kept:
            if not found.file(epoch).is_file():
                raise UserError(f"{found.file(epoch)}: missing, though {file.name} names its epoch")
        return found

    def file(self, epoch: int) -> Path:
        """Where the weights after `epoch` lie."""
        return self.folder / f"epoch_{epoch:03d}.pt"


def scaled_epochs(kept: Sequence[int], wanted: Sequence[int], length: int) -> tuple[int, ...]:
    """The figure's columns: `wanted` epochs of a run of `length`, scaled to this run's length.

    An epoch is rounded up: the first by whose end that share of the run had passed. The nearest
    snapshot kept is taken; each once, ascending, the last always.
    """
    last = max(kept)
    scaled = [min(last, max(1, -(-epoch * last // length))) for epoch in wanted]
    nearest = {min(kept, key=lambda have: (abs(have - epoch), have)) for epoch in scaled}
    return tuple(sorted(nearest | {last}))


def measured_epochs(kept: Sequence[int], columns: Sequence[int], most: int) -> tuple[int, ...]:
    """Which snapshots are measured: all, or about `most` evenly spaced ones and the columns."""
    if len(kept) <= most:
        return tuple(kept)
    spaced = np.linspace(0, len(kept) - 1, most).round().astype(int)
    return tuple(sorted({kept[i] for i in spaced} | set(columns)))


# ------------------------------------------------------------------------------------- measuring
@dataclass
class Trace:
    """One layer through E epochs; C measured maps.

    maps (C,): their numbers; values (C, E): strongest activation over the images; rows (C, E): its
    row of the split; places (C, E, 2): y, x in the map; fixed, own (C, E): similarity to the last
    epoch, -1..1, NaN for maps that are dead at the last epoch; floor (C,): similarity of the
    projection of another map from the same place; shown: numbers of the maps drawn; pictured: of
    those whose pictures are kept, all measured ones unless they pass `KEPT_BYTES`; tiles: these,
    each epoch's own projections (h, w, 3) uint8 by (map, epoch), cut to the field's window, which
    is moved inwards at the border; 128 is zero, 255 and 1 are plus and minus the one in `scales`.
    """

    number: int
    path: str
    reach: ReceptiveField
    total: int
    maps: np.ndarray
    values: np.ndarray
    rows: np.ndarray
    places: np.ndarray
    fixed: np.ndarray
    own: np.ndarray
    floor: np.ndarray
    shown: tuple[int, ...] = ()
    tiles: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    pictured: tuple[int, ...] = ()
    scales: dict[tuple[int, int], float] = field(default_factory=dict)

    @property
    def live(self) -> np.ndarray:
        """(C,) bool: maps with an activation above 0 at the last epoch."""
        return self.values[:, -1] > 0

    def similarity(self, measure: str) -> np.ndarray:
        """The live maps' similarity (live, E) by "fixed" or "own"."""
        return (self.fixed if measure == "fixed" else self.own)[self.live]

    @property
    def changed(self) -> np.ndarray:
        """(C, E - 1): 1 where the strongest image is another than at the epoch measured before.

        NaN where the map is dead at one of the two.
        """
        alive = (self.values[:, 1:] > 0) & (self.values[:, :-1] > 0)
        return np.where(alive, self.rows[:, 1:] != self.rows[:, :-1], np.nan)


@dataclass(frozen=True)
class Run:
    """What was measured: epochs (E,), the figure's columns, the run's length, a trace a layer."""

    epochs: tuple[int, ...]
    columns: tuple[int, ...]
    length: int
    traces: tuple[Trace, ...]


def follow(
    inputs: Inputs,
    snapshots: Snapshots,
    epochs: Sequence[int],
    options: Options,
    seed: int,
) -> list[Trace]:
    """One pass over the images an epoch, and two projections a map; the last epoch comes first."""
    net = inputs.net
    before = {key: value.clone() for key, value in net.model.state_dict().items()}
    traces: list[Trace] = []
    finals: list[Tensor] = []
    order = [len(epochs) - 1, *range(len(epochs) - 1)]
    print(
        f"evolution: {len(epochs)} epochs x {len(inputs.rows)} images, layers "
        f"{', '.join(map(str, options.layers))} on {inputs.device.type}",
        file=sys.stderr,
    )
    try:
        for e in progress(order, total=len(order), desc="epochs", unit="epoch"):
            load_weights(net.model, snapshots.file(epochs[e]))
            top = _strongest(inputs, options)
            if not traces:
                traces = [_start(n, top, inputs, len(epochs), options, seed)
                          for n in options.layers]  # fmt: skip
                finals = [_finish(trace, top[trace.path], inputs, options, seed, epochs[-1])
                          for trace in traces]  # fmt: skip
            else:
                for trace, final in zip(traces, finals, strict=True):
                    _measure(trace, final, top[trace.path], e, inputs, options, epochs[e])
    finally:
        net.model.load_state_dict(before)
    return traces


def _strongest(inputs: Inputs, options: Options) -> dict[str, TopActivations]:
    """The strongest image and place of every map of every layer, by module path."""
    paths = [inputs.net.tap(number, options.tap) for number in options.layers]

    def whole_pass(size: int) -> dict[str, TopActivations]:
        return top_activations(inputs.net.model, inputs.batches(inputs.rows, size), paths, k=1)

    return when_it_fits(whole_pass, options.batch_size)


def _start(
    number: int,
    top: dict[str, TopActivations],
    inputs: Inputs,
    epochs: int,
    options: Options,
    seed: int,
) -> Trace:
    """An empty trace of the layer's measured maps."""
    path = inputs.net.tap(number, options.tap)
    total = len(top[path].values)
    drawn = np.random.default_rng([seed, number, 7]).permutation(total)
    drawn = drawn[: options.max_maps or total]
    alive = top[path].values[:, 0].cpu().numpy() > 0
    among = drawn[alive[drawn]] if options.choose == "active" else drawn
    count, shown = len(drawn), tuple(sorted(among[: options.figure_maps].tolist()))
    reach = receptive_field(inputs.net.model, path, inputs.net.input_px)
    height, width = (min(side, inputs.net.input_px) for side in reach.size)
    fits = count * epochs * height * width * 3 <= KEPT_BYTES
    return Trace(
        number=number,
        path=path,
        reach=reach,
        total=total,
        maps=np.sort(drawn),
        values=np.zeros((count, epochs), np.float32),
        rows=np.zeros((count, epochs), np.int64),
        places=np.zeros((count, epochs, 2), np.int64),
        fixed=np.full((count, epochs), np.nan),
        own=np.full((count, epochs), np.nan),
        floor=np.full(count, np.nan),
        shown=shown,
        pictured=tuple(sorted(drawn.tolist())) if fits else shown,
    )


def _note_strongest(trace: Trace, top: TopActivations, e: int) -> None:
    trace.values[:, e] = top.values[:, 0].cpu().float().numpy()[trace.maps]
    trace.rows[:, e] = top.images[:, 0].cpu().numpy()[trace.maps]
    trace.places[:, e] = top.places[:, 0].cpu().numpy()[trace.maps]


def _finish(
    trace: Trace, top: TopActivations, inputs: Inputs, options: Options, seed: int, epoch: int
) -> Tensor:
    """The last epoch: what the others are compared with, and the floor. Returns windows (C, …)."""
    e = trace.values.shape[1] - 1
    _note_strongest(trace, top, e)
    everyone = np.arange(len(trace.maps))
    final = _windows(trace, everyone, e, inputs, options)
    _keep_tiles(trace, everyone, final, e, inputs.net.input_px, epoch)
    live = np.flatnonzero(trace.live)
    trace.fixed[live, e] = trace.own[live, e] = 1.0
    if len(live) > 1:
        # each map with another: neighbours in a seeded circle
        circle = np.random.default_rng([seed, trace.number, 8]).permutation(live)
        other = np.zeros(len(trace.maps), np.int64)
        other[circle] = np.roll(circle, 1)
        windows = _windows(trace, live, e, inputs, options, units=trace.maps[other[live]])
        trace.floor[live] = cosine(windows, final[live]).cpu().numpy()
    return final


def _measure(
    trace: Trace,
    final: Tensor,
    top: TopActivations,
    e: int,
    inputs: Inputs,
    options: Options,
    epoch: int,
) -> None:
    """One epoch before the last: both similarities of the live maps, pictures of all."""
    _note_strongest(trace, top, e)
    last = trace.values.shape[1] - 1
    live = np.flatnonzero(trace.live)
    shift = round(options.shift * min(trace.reach.size))
    if len(live):
        fixed = _windows(trace, live, last, inputs, options)
        trace.fixed[live, e] = cosine(fixed, final[live]).cpu().numpy()
        same = (trace.rows[live, e] == trace.rows[live, last]) & (
            trace.places[live, e] == trace.places[live, last]
        ).all(1)
        own = fixed  # the same image and place: the same projection
        other = live[~same]
        if len(other):
            own[~same] = _windows(trace, other, e, inputs, options)
        trace.own[live, e] = np.concatenate(
            [shifted_cosine(own[part], final[live[part]], shift).cpu().numpy()
             for part in np.array_split(np.arange(len(live)), -(-len(live) // options.batch_size))]
        )  # fmt: skip
        _keep_tiles(trace, live, own, e, inputs.net.input_px, epoch)
    dead = np.flatnonzero(~trace.live & np.isin(trace.maps, trace.pictured))
    _keep_tiles(trace, dead, _windows(trace, dead, e, inputs, options), e,
                inputs.net.input_px, epoch)  # fmt: skip


def _windows(
    trace: Trace,
    members: np.ndarray,
    e: int,
    inputs: Inputs,
    options: Options,
    units: np.ndarray | None = None,
) -> Tensor:
    """Projections of the measured maps `members` (n,) from where they are strongest at index `e`.

    The model is whatever is loaded now. Returns (n, 3, h, w), the whole receptive field, 0 outside
    the image. `units`: these maps instead, at the same places, starting from 1 where they are
    silent too. `draw`: keep the pictures of the maps to be drawn under this epoch.
    """
    if not len(members):
        return torch.zeros((0, 3, *trace.reach.size), device=inputs.device)
    parts = np.array_split(members, -(-len(members) // options.batch_size))
    numbers = trace.maps[members] if units is None else units
    windows, start = [], 0
    for part, pixels in zip(
        parts, ahead(inputs.pixels, [trace.rows[p, e] for p in parts]), strict=True
    ):
        places = torch.from_numpy(trace.places[part, e])
        images = inputs.normalised(pixels)
        chosen = torch.from_numpy(numbers[start : start + len(part)])
        start += len(part)

        def project(
            size: int, images: Tensor = images, chosen: Tensor = chosen, places: Tensor = places
        ) -> Tensor:
            return deconvnet(
                inputs.net.model,
                images,
                trace.path,
                chosen,
                places=places,
                values=None if units is None else 1.0,
                lrn=options.lrn,  # type: ignore[arg-type]  # checked by Options
                batch_size=size,
            )

        down = when_it_fits(project, options.batch_size)
        corners = trace.reach.boxes(places, clip=False)[:, :2].tolist()
        windows.append(cut_windows(down, corners, trace.reach.size))
    return torch.cat(windows)


def cut_windows(down: Tensor, corners: Sequence[Sequence[int]], size: tuple[int, int]) -> Tensor:
    """Windows of `size` (h, w) of images (N, C, H, W), top left at `corners` (y, x); 0 outside."""
    windows = down.new_zeros((len(down), down.shape[1], *size))
    height, width = down.shape[2:]
    for window, image, (y, x) in zip(windows, down, corners, strict=True):
        y0, x0 = max(y, 0), max(x, 0)
        y1, x1 = min(y + size[0], height), min(x + size[1], width)
        if y1 > y0 and x1 > x0:
            window[:, y0 - y : y1 - y, x0 - x : x1 - x] = image[:, y0:y1, x0:x1]
    return windows


def field_corners(trace: Trace, members: np.ndarray, e: int, px: int) -> np.ndarray:
    """Top left y, x (n, 2) of the windows that pictures of `members` at index `e` are cut to."""
    boxes = trace.reach.boxes(torch.from_numpy(trace.places[members, e]), clip=False).numpy()
    return np.clip(boxes[:, :2], 0, px - np.minimum(trace.reach.size, px))


def _keep_tiles(
    trace: Trace, members: np.ndarray, windows: Tensor, e: int, px: int, epoch: int
) -> None:
    """Pictures of `members` from their `windows` (n, 3, h, w), the whole receptive fields."""
    if not len(members):
        return
    height, width = (min(side, px) for side in trace.reach.size)
    fields = trace.reach.boxes(torch.from_numpy(trace.places[members, e]), clip=False).numpy()
    inwards = (field_corners(trace, members, e, px) - fields[:, :2]).tolist()
    for i, number in enumerate(trace.maps[members].tolist()):
        if number in trace.pictured:
            down = cut_windows(windows[i : i + 1], inwards[i : i + 1], (height, width))[0]
            part = down.permute(1, 2, 0).float().cpu().numpy()
            trace.scales[number, epoch] = signed_scale(part, CONTRAST)
            trace.tiles[number, epoch] = signed_to_rgb(part, trace.scales[number, epoch])


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of pictures (n, …) with their fellows of `b`: (n,), -1..1; 0 if one is empty."""
    a, b = _unit(a), _unit(b)
    return (a.flatten(1) * b.flatten(1)).sum(1).clamp(-1, 1)


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


def settled_index(similarity: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Index (n,) from which similarity (n, E) to the last epoch stays at or above `threshold`.

    E - 1 means: at no epoch before the last; the last is similar to itself by construction.
    """
    good = similarity >= threshold
    good[:, -1] = True
    stays = np.logical_and.accumulate(good[:, ::-1], axis=1)[:, ::-1]
    return stays.argmax(1)
