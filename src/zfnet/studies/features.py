"""What each map responds to: its nine strongest images, projected by the deconvnet (Fig. 2)."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from zfnet.errors import UserError
from zfnet.figures.kit.by_layer import layer_panels
from zfnet.figures.kit.grid import (
    ZERO,
    MapCell,
    cut,
    even_columns,
    feature_sheet,
    image_grid,
    pale_outside,
    signed_scale,
    signed_thumbnail,
    signed_to_rgb,
    thumbnail,
)
from zfnet.figures.kit.maps import shorten
from zfnet.methods.gradients import deconvnet
from zfnet.methods.receptive_field import receptive_field
from zfnet.methods.top_activations import TopActivations, top_activations
from zfnet.models.net import Net
from zfnet.progress import progress
from zfnet.stats.bootstrap import bootstrap_mean
from zfnet.stats.estimate import Estimate
from zfnet.studies import feature_numbers
from zfnet.studies.feature_numbers import LayerNumbers, Told, support_choices, support_shares
from zfnet.studies.base import Inputs, ahead, when_it_fits
from zfnet.studies.likeness import MEASURES, Pictures, moved, overlay, spreads
from zfnet.studies.result import Figure, Result, Table

if TYPE_CHECKING:
    from PIL.Image import Image

CHOICES = ("random", "active", "strongest", "specific", "named")
CHANCE_DRAWS = 4000
KEPT_BYTES = 2**30  # projections kept until they are written; beyond, they are computed twice
THUMB_PX = 32
UNRELATED_RANKS = 3
SHEET_COLUMNS = 6
SHEET_MAPS = 384  # on one sheet: WebP ends at 16,383 px a side


@dataclass(frozen=True)
class Options:
    """The section `study.features` of the config, checked.

    `figure_maps`: how many maps a layer's figure shows (the paper: 16, 12, 10, 10 for layers 2 to
    5). `choose`: a seeded "random" subset as in the paper, the same among "active" maps only, the
    "strongest", the most class-"specific" (purest; ties in seeded order), or those "named" by
    `maps`, layer by layer (a layer without names keeps its random subset). `all_maps`: small
    sheets of every map besides. `directions`: how many random directions of each layer's channel
    space have their class purity compared with that of the maps (0: none). `max_images`: a seeded
    sample of the split; None = all of it.

    The paper says that patches vary more than projections, without a measure: `spread` is one of
    `likeness.MEASURES`, over pairs that share at least `min_overlap` of the field (of the input,
    where that is smaller). `energy`: what part of a projection's energy its support holds.
    `field_limit`: layers whose field is a larger part of the input's side are told, not claimed.
    """

    layers: Sequence[int] = (1, 2, 3, 4, 5)
    top_k: int = 9
    tap: str = "relu"
    figure_maps: dict[int, int] = field(default_factory=lambda: {2: 16, 3: 12, 4: 10, 5: 10})
    choose: str = "random"
    split: str = "val"
    batch_size: int = 64
    lrn: str = "identity"
    directions: int = 32
    max_images: int | None = None
    maps: dict[int, tuple[int, ...]] = field(default_factory=dict)
    all_maps: bool = True
    spread: str = "coarse"
    min_overlap: float = 0.25
    energy: float = 0.9
    field_limit: float = 0.75

    def __post_init__(self) -> None:
        if self.choose not in CHOICES:
            raise UserError(
                f"study.features.choose={self.choose}: choose one of {', '.join(CHOICES)}"
            )
        if self.lrn not in ("identity", "jacobian"):
            raise UserError(f"study.features.lrn={self.lrn}: choose identity or jacobian")
        for key in ("top_k", "batch_size", "max_images"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"study.features.{key}={value}: must be at least 1")
        if self.directions < 0:
            raise UserError(f"study.features.directions={self.directions}: 0 or more (0: none)")
        if not self.layers:
            raise UserError("study.features.layers is empty: name at least one layer, e.g. [1, 2]")
        if self.spread not in MEASURES:
            raise UserError(
                f"study.features.spread={self.spread}: choose one of {', '.join(MEASURES)}"
            )
        for key in ("min_overlap", "energy", "field_limit"):
            if not 0 < getattr(self, key) <= 1:
                raise UserError(
                    f"study.features.{key}={getattr(self, key)}: must be above 0 and at most 1"
                )
        self._check_named()

    def _check_named(self) -> None:
        if (self.choose == "named") != bool(self.maps):
            raise UserError(
                f"study.features.choose={self.choose} with maps={self.maps}: give both "
                "choose=named and the maps of at least one layer, e.g. "
                "+study.features.maps={3:[1,7]}, or neither"
            )
        unknown = sorted(set(self.maps) - set(self.layers))
        if unknown:
            raise UserError(
                f"study.features.maps names layer {unknown[0]}, which study.features.layers="
                f"{list(self.layers)} leaves out"
            )

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section; the keys of `figure_maps` may be strings, as YAML gives."""
        maps = section.figure_maps
        counts = {int(key): int(maps[key]) for key in maps.keys()} if maps else {}  # noqa: SIM118
        given = section.maps
        named = (
            {int(key): tuple(given[key] or ()) for key in given.keys()}  # noqa: SIM118
            if given
            else {}
        )
        return Options(
            layers=tuple(int(layer) for layer in section.layers),
            top_k=section.top_k,
            tap=section.tap,
            figure_maps=counts,
            choose=section.choose,
            split=section.split,
            batch_size=section.batch_size,
            lrn=section.lrn,
            directions=section.directions,
            max_images=section.max_images,
            maps={layer: numbers for layer, numbers in named.items() if numbers},
            all_maps=section.all_maps,
            spread=section.spread,
            min_overlap=section.min_overlap,
            energy=section.energy,
            field_limit=section.field_limit,
        )


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.features, seed and device."""
    options = Options.read(cfg.study.features)
    inputs = Inputs.of_stage(cfg, paths, options.split, max_images=options.max_images)
    return study(inputs, options, seed=cfg.seed)


def study(inputs: Inputs, options: Options, *, seed: int = 0) -> Result:
    """Fig. 2 for one net on the images of `inputs`.

    The forward pass over the split is done here and every projection is measured once, batch by
    batch. Projections wait in memory for the writer if they are no more than `KEPT_BYTES`; else
    they are computed again while the result is written.
    """
    net = inputs.net
    if len(inputs.rows) < options.top_k:
        raise UserError(
            f"study.features.top_k={options.top_k}: the split {options.split} holds only "
            f"{len(inputs.rows)} images"
        )
    layers = scan(inputs, options, seed)
    announce(layers, inputs, options)
    projectors = [Projector(inputs, layer, options) for layer in layers]
    first = min(layers, key=lambda layer: layer.number)
    filters = first_filters(net, first)
    told = measure(projectors, first if filters is not None else None, options, seed)
    metrics = _metrics(layers, inputs, options, seed)
    metrics |= feature_numbers.metrics(told)
    result = Result(
        study="features",
        title="Feature visualisation: what excites each map",
        paper="Fig. 2",
        text=f"{_text(layers, inputs, options, metrics)}\n\n{feature_numbers.words(told, metrics)}",
        net=net.name,
        tap=options.tap,
        seed=seed,
        metrics=metrics,
        tables=_tables(layers, inputs, options, metrics, told)
        | feature_numbers.tables(told, metrics),
        extra=_extra(layers, inputs, options, told),
    )
    for projector in projectors:
        result.arrays.update(_arrays(projector))
    if filters is not None:
        result.arrays.update(_filter_arrays(filters, first))
    for projector in projectors:
        show_filters = filters if projector.layer is first else None
        result.figures.append(_figure(projector, options, show_filters))
    if filters is not None:
        result.figures.append(_filter_figure(filters, first, net))
    result.figures.append(_numbers_figure(told, metrics))
    sheets = [
        sheet
        for projector in projectors
        if projector.browsable
        for sheet in _all_maps(projector, options)
    ]
    result.figures.extend(sheets)
    if sheets:
        names = [sheet.name for sheet in sheets]
        result.extra["groups"] = [{"title": "All maps", "figures": names, "folded": True}]
    return result


# ------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Layer:
    """One layer's strongest activations and where they lie.

    values (C, k) float32, strongest first; rows (C, k) int64, rows of the split; places (C, k, 2)
    int64, y and x in the map; boxes (C, k, 4) int64, half-open receptive fields y0, x0, y1, x1 in
    net input px, cut at the border; canvas (h, w): size of the window drawn, a whole receptive
    field or the image where that is smaller; corners (C, k, 2): its top left in the same px, moved
    inwards at the border; fields (C, k, 2): the field's own top left, also outside the image;
    labels (C, k); purity (C,): share of the most common class among each
    map's k images; direction_purity (n ≤ directions,): the same of the random directions that have
    k images with a projection above 0; shown: the maps that the figure draws.
    """

    number: int
    path: str
    size: tuple[int, int]
    stride: tuple[int, int]
    offset: tuple[int, int]
    values: np.ndarray
    rows: np.ndarray
    places: np.ndarray
    boxes: np.ndarray
    corners: np.ndarray
    fields: np.ndarray
    canvas: tuple[int, int]
    labels: np.ndarray
    purity: np.ndarray
    direction_purity: np.ndarray
    shown: tuple[int, ...]

    @property
    def maps(self) -> int:
        """Number of maps."""
        return len(self.values)

    @property
    def active(self) -> np.ndarray:
        """(C,) bool: maps with an activation above 0 anywhere in the split."""
        return self.values[:, 0] > 0

    @property
    def full(self) -> np.ndarray:
        """(C,) bool: maps with all k strongest activations above 0."""
        return self.values[:, -1] > 0

    def exciting(self, number: int) -> np.ndarray:
        """Labels (n ≤ k,) of the images that excite a map: those with an activation above 0."""
        return self.labels[number][self.values[number] > 0]


def scan(inputs: Inputs, options: Options, seed: int) -> list[Layer]:
    """One forward pass over the split: the strongest activations of every map of every layer.

    In the same pass the random directions of `Options.directions` are ranked as maps are.
    """
    net = inputs.net
    paths = {number: net.tap(number, options.tap) for number in options.layers}
    directions = _directions(inputs, paths, options, seed)

    def whole_pass(size: int) -> dict[str, TopActivations]:
        batches = progress(
            inputs.batches(inputs.rows, size),
            total=math.ceil(len(inputs.rows) / size),
            desc=f"strongest activations, layers {_listed(paths)}",
            unit="batch",
        )
        return top_activations(
            net.model,
            batches,
            list(paths.values()),
            k=options.top_k,
            directions=directions,
        )

    found = when_it_fits(whole_pass, options.batch_size)
    layers = []
    for number, path in paths.items():
        maps = directions[path].shape[1] if directions else len(found[path].values)
        top, along = found[path].rows(slice(maps)), found[path].rows(slice(maps, None))
        layers.append(_layer(number, path, top, along, inputs, options, seed))
    return layers


def _directions(
    inputs: Inputs, paths: dict[int, str], options: Options, seed: int
) -> dict[str, Tensor]:
    """For each module path, Gaussian unit vectors (directions, C) in its channel space."""
    if not options.directions:
        return {}
    # One image tells how many channels each layer has.
    one = (inputs.batch(inputs.rows[:1]), torch.tensor([0]))
    sizes = top_activations(inputs.net.model, [one], list(paths.values()), k=1)
    vectors = {}
    for number, path in paths.items():
        rng = np.random.default_rng([seed, number, 6])
        drawn = rng.standard_normal((options.directions, len(sizes[path].values)))
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        vectors[path] = torch.from_numpy(drawn.astype(np.float32))
    return vectors


def _layer(
    number: int,
    path: str,
    top: TopActivations,
    along: TopActivations,
    inputs: Inputs,
    options: Options,
    seed: int,
) -> Layer:
    px = inputs.net.input_px
    classes = torch.tensor(inputs.labels)
    values = top.values.cpu().float().numpy()
    rows = top.images.cpu().numpy()
    places = top.places.cpu()
    reach = receptive_field(inputs.net.model, path, px)
    boxes = reach.boxes(places).numpy()
    canvas = (min(reach.size[0], px), min(reach.size[1], px))
    # At the border the window moves inwards: it is always full of image, and holds the box.
    fields = reach.boxes(places, clip=False).numpy()[..., :2]
    corners = np.clip(fields, boxes[..., 2:] - np.array(canvas), boxes[..., :2])
    corners = np.clip(corners, 0, px - np.array(canvas))
    draft = Layer(
        number=number,
        path=path,
        size=reach.size,
        stride=reach.stride,
        offset=reach.offset,
        values=values,
        rows=rows,
        places=places.numpy(),
        boxes=boxes,
        corners=corners,
        fields=fields,
        canvas=canvas,
        labels=inputs.labels[rows],
        purity=top.purity(classes).numpy(),
        direction_purity=along.rows(along.values[:, -1] > 0).purity(classes).numpy(),
        shown=(),
    )
    return replace(draft, shown=choose_maps(draft, options, seed))


def choose_maps(layer: Layer, options: Options, seed: int) -> tuple[int, ...]:
    """Which maps the layer's figure draws, ascending; all of layer 1 (the paper shows its filters).

    "random" takes dead maps as they come, as a random subset must; "active" and "strongest" leave
    them out, "specific" all without k activations above 0. Named maps keep their order; UserError
    for one that the layer does not have.
    """
    if layer.number in options.maps:
        return _named(layer, options.maps[layer.number])
    count = options.figure_maps.get(layer.number)
    if count is None:
        count = layer.maps if layer.number == 1 else 10
    order = np.random.default_rng([seed, layer.number, 3]).permutation(layer.maps)
    if options.choose == "strongest":
        order = np.argsort(-layer.values[:, 0], kind="stable")
    elif options.choose == "specific":
        order = order[layer.full[order]]
        order = order[np.argsort(-layer.purity[order], kind="stable")]
    if options.choose in ("active", "strongest"):
        order = order[layer.active[order]]
    return tuple(sorted(int(i) for i in order[:count]))


def _named(layer: Layer, numbers: Sequence[int]) -> tuple[int, ...]:
    for number in numbers:
        if not 0 <= number < layer.maps:
            raise UserError(
                f"study.features.maps: layer {layer.number} has no map {number}; it has "
                f"{layer.maps}, numbered from 0"
            )
    return tuple(dict.fromkeys(numbers))


def chance_purity(labels: np.ndarray, k: int, seed: int) -> float:
    """Mean share of the most common class among k images drawn at random, without replacement."""
    rng = np.random.default_rng([seed, k, 4])
    drawn = rng.multivariate_hypergeometric(
        np.bincount(labels), k, size=CHANCE_DRAWS, method="marginals"
    )
    return float(drawn.max(1).mean() / k)


def announce(layers: Sequence[Layer], inputs: Inputs, options: Options) -> None:
    """Say on stderr what is about to be computed."""
    maps = sum(layer.maps for layer in layers)
    print(
        f"features: {len(inputs.rows)} images scanned; {maps} maps x {options.top_k} = "
        f"{maps * options.top_k} projections of {inputs.net.input_px} px to compute on "
        f"{inputs.device.type}",
        file=sys.stderr,
    )


# ------------------------------------------------------------------------------------ projecting
class Projector:
    """Projects one layer's strongest activations, each alone, and cuts them to their fields."""

    def __init__(self, inputs: Inputs, layer: Layer, options: Options) -> None:
        self.inputs = inputs
        self.layer = layer
        self.options = options
        self.scales: list[np.ndarray] = []
        self.thumbs: dict[int, tuple[list[np.ndarray], list[np.ndarray]]] = {}
        self._kept: dict[int, np.ndarray] = {}
        self._whole = False

    def blocks(self) -> Iterator[np.ndarray]:
        """Crops of all maps in order, in blocks (m, k, h, w, 3) uint8; see `crops`.

        Keeps the scales of all, and the crops of the maps that the figure shows. Where `measure`
        kept all crops, nothing is computed.
        """
        if self._whole:
            for maps in self._parts(np.arange(self.layer.maps)):
                yield np.stack([self._kept[number] for number in maps.tolist()])
            return
        self.scales = []
        for maps, batch in self._walk():
            crops, scales = self.crops(maps, self.project(maps, batch))
            self._keep(maps, crops, scales)
            yield crops

    def measure(self, fixed: bool, whole: bool) -> LayerNumbers:
        """Project every map's activations once and measure them beside their patches.

        fixed: the projections are the maps' filters. whole: keep all crops for `blocks`. Maps
        without k activations above 0 are not measured.
        """
        layer = self.layer
        share = max(layer.size) / self.inputs.net.input_px
        # Where nothing will be claimed, one measure is enough.
        measures = MEASURES if share <= self.options.field_limit else [self.options.spread]

        def blank() -> dict[str, np.ndarray]:
            return {name: np.full((layer.maps, 2), np.nan) for name in measures}

        numbers = LayerNumbers(
            number=layer.number,
            field=max(layer.size),
            share=share,
            fixed=fixed,
            spread=blank(),
            unrelated=blank(),
            moved=blank(),
            support_px=np.full(layer.maps, np.nan),
            support={
                name: np.full(layer.maps, np.nan) for name in support_choices(self.options.energy)
            },
            purity=layer.purity[layer.full],
            directions=layer.direction_purity,
        )
        self.scales = []
        for maps, pixels in self._walk():
            projected = self.project(maps, pixels)
            crops, scales = self.crops(maps, projected)
            self._keep(maps, crops, scales, whole)
            down = projected.reshape(*crops.shape[:2], *projected.shape[1:])
            images = pixels.permute(0, 2, 3, 1).numpy().reshape(down.shape)
            if self.browsable:
                for number, crop, seen in zip(maps.tolist(), crops, images, strict=True):
                    self._thumb(number, crop, seen)
            self._fill(numbers, maps, down, images)
        self._whole = whole
        return numbers

    def _fill(
        self, numbers: LayerNumbers, maps: np.ndarray, down: np.ndarray, images: np.ndarray
    ) -> None:
        """Measure some maps' projections and images, both (m, k, H, W, 3)."""
        full = np.flatnonzero(self.layer.full[maps])
        measures = list(numbers.spread)

        def one_map(place: np.ndarray) -> None:
            i = int(place)
            self._fill_map(numbers, int(maps[i]), down[i], images[i])

        for _ in ahead(one_map, list(full)):  # each writes its own rows
            pass
        # Pictures of several maps at one rank: no more in common than the layer's field.
        if len(full) > 1:
            others = maps[full]
            for rank in range(min(UNRELATED_RANKS, self.options.top_k, len(others))):
                level = [rank] * len(others)
                one, two = (
                    self._overlay(given[full, rank], others, level) for given in (down, images)
                )
                for name, both in spreads(one, two, self._least, measures).items():
                    numbers.unrelated[name][others[rank]] = both

    def _fill_map(
        self, numbers: LayerNumbers, number: int, down: np.ndarray, images: np.ndarray
    ) -> None:
        """Measure one map's projections and images, both (k, H, W, 3)."""
        measures, ranks = list(numbers.spread), range(self.options.top_k)
        same = [number] * len(ranks)
        one, two = (self._overlay(given, same, ranks) for given in (down, images))
        for name, both in spreads(one, two, self._least, measures).items():
            numbers.spread[name][number] = both
        if numbers.share <= self.options.field_limit:
            one, two = one.some(1), two.some(1)
            for name in measures:
                numbers.moved[name][number] = moved(one, name), moved(two, name)
        numbers.support_px[number], shares = self._support(down, number)
        for name, share in zip(numbers.support, shares, strict=True):
            numbers.support[name][number] = share

    def _support(self, down: np.ndarray, number: int) -> tuple[float, np.ndarray]:
        """Mean support px and shares of a map's projections (k, H, W, 3), dark ones left out."""
        found = []
        for picture, (y0, x0, y1, x1) in zip(down, self.layer.boxes[number].tolist(), strict=True):
            energy = (picture[y0:y1, x0:x1].astype(np.float64) ** 2).sum(2)
            if energy.sum() > 0:
                px, shares = support_shares(energy, self.options.energy)
                found.append([px, *shares])
        if not found:
            return math.nan, np.full(len(support_choices(self.options.energy)), np.nan)
        means = np.mean(found, axis=0)
        return float(means[0]), means[1:]

    def _thumb(self, number: int, crop: np.ndarray, images: np.ndarray) -> None:
        self.thumbs[number] = (
            [signed_thumbnail(tile, THUMB_PX) for tile in crop],
            [thumbnail(tile, THUMB_PX) for tile in self._tiles(number, images)],
        )

    @property
    def browsable(self) -> bool:
        """Whether sheets of all maps are wanted besides the figure, which may show them all."""
        return self.options.all_maps and len(self.layer.shown) < self.layer.maps

    @property
    def _least(self) -> float:
        """Pixels that two pictures must share."""
        height, width = self.layer.canvas
        return self.options.min_overlap * height * width

    def _overlay(
        self, pictures: np.ndarray, maps: Sequence[int] | np.ndarray, ranks: Iterable[int]
    ) -> Pictures:
        """The fields of pictures (n, H, W, 3), each of one activation, laid over each other."""
        chosen = (np.asarray(maps, np.int64), np.asarray(list(ranks), np.int64))
        layer = self.layer
        return overlay(pictures, layer.boxes[chosen], layer.fields[chosen], layer.size)

    def _walk(self) -> Iterator[tuple[np.ndarray, Tensor]]:
        """(maps, their images' pixels) in groups, all maps in order, read ahead."""
        parts = self._parts(np.arange(self.layer.maps))
        pixels = ahead(self._pixels, parts)
        return progress(
            zip(parts, pixels, strict=True),
            total=len(parts),
            desc=f"layer {self.layer.number}: {self.layer.maps * self.options.top_k} projections",
            unit="batch",
        )

    def _keep(
        self, maps: np.ndarray, crops: np.ndarray, scales: np.ndarray, whole: bool = False
    ) -> None:
        self.scales.append(scales)
        for number, crop in zip(maps.tolist(), crops, strict=True):
            if whole or number in self.layer.shown:
                self._kept[number] = crop

    @property
    def bytes(self) -> int:
        """Size of all crops."""
        height, width = self.layer.canvas
        return self.layer.maps * self.options.top_k * height * width * 3

    def all_scales(self) -> Iterator[np.ndarray]:
        """Scales (C, k) float32 of `blocks`, which must have been used up before."""
        yield np.concatenate(self.scales)

    def shown(self) -> dict[int, np.ndarray]:
        """Crops (k, h, w, 3) of the maps that the figure shows."""
        missing = np.array([m for m in self.layer.shown if m not in self._kept], dtype=np.int64)
        for maps in self._parts(missing):
            crops, _ = self.crops(maps, self.project(maps, self._pixels(maps)))
            self._kept.update(zip(maps.tolist(), crops, strict=True))
        return {number: self._kept[number] for number in self.layer.shown}

    def patches(self, number: int) -> list[np.ndarray]:
        """The k image windows (h, w, 3) uint8 of a map, pale where its field does not reach.

        Images that do not excite the map at all, of a map active on fewer than k, are all pale.
        """
        return self._tiles(number, self.inputs.display(self.layer.rows[number]))

    def _tiles(self, number: int, images: np.ndarray) -> list[np.ndarray]:
        """The same from the map's k images (k, H, W, 3)."""
        boxes, corners = self.layer.boxes[number], self.layer.corners[number]
        tiles = []
        for rank, image in enumerate(images):
            (y0, x0, y1, x1), (top, left) = boxes[rank].tolist(), corners[rank].tolist()
            tile = cut(image, (top, left), self.layer.canvas)
            seen = self.layer.values[number, rank] > 0
            box = (y0 - top, x0 - left, y1 - top, x1 - left) if seen else (0, 0, 0, 0)
            tiles.append(pale_outside(tile, box))
        return tiles

    def project(self, maps: np.ndarray, pixels: Tensor) -> np.ndarray:
        """Projections (m·k, H, W, 3) float of `maps`, whole, each activation alone.

        All m·k images are on the device at once: `_parts` keeps them to about a batch.
        """
        units = torch.from_numpy(np.repeat(maps, self.options.top_k))
        places = torch.from_numpy(self.layer.places[maps].reshape(-1, 2))
        images = self.inputs.normalised(pixels)

        def project(size: int) -> np.ndarray:
            down = deconvnet(
                self.inputs.net.model,
                images,
                self.layer.path,
                units,
                places=places,
                lrn=self.options.lrn,  # type: ignore[arg-type]  # checked by Options
                batch_size=size,
            )
            return down.permute(0, 2, 3, 1).cpu().numpy()

        return when_it_fits(project, self.options.batch_size)

    def crops(self, maps: np.ndarray, projected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Projections of `maps` cut to their windows: (m, k, h, w, 3) uint8, scales (m, k).

        128 is zero, 255 is +scale, 1 is -scale (input units); the scale is each projection's own
        and symmetric, the 99.5 % quantile of its absolute values in the receptive field.
        """
        k = self.options.top_k
        crops = np.full((len(projected), *self.layer.canvas, 3), ZERO, np.uint8)
        scales = np.zeros(len(projected), np.float32)
        corners = self.layer.corners[maps].reshape(-1, 2)
        boxes = self.layer.boxes[maps].reshape(-1, 4)
        for i, ((y0, x0, y1, x1), (top, left)) in enumerate(zip(boxes, corners, strict=True)):
            part = projected[i, y0:y1, x0:x1]
            scales[i] = signed_scale(part)
            crops[i, y0 - top : y1 - top, x0 - left : x1 - left] = signed_to_rgb(part, scales[i])
        shape = (len(maps), k)
        return crops.reshape(*shape, *crops.shape[1:]), scales.reshape(shape)

    def _parts(self, maps: np.ndarray) -> list[np.ndarray]:
        """Maps in groups whose images make one batch (those of one map, if k is larger)."""
        size = max(1, self.options.batch_size // self.options.top_k)
        return [maps[i : i + size] for i in range(0, len(maps), size)]

    def _pixels(self, maps: np.ndarray) -> Tensor:
        return self.inputs.pixels(self.layer.rows[maps].reshape(-1))


def measure(
    projectors: Sequence[Projector], fixed: Layer | None, options: Options, seed: int
) -> Told:
    """Measure every layer; `fixed` is the one whose projections are its filters, if any."""
    whole = sum(projector.bytes for projector in projectors) <= KEPT_BYTES
    layers = [projector.measure(projector.layer is fixed, whole) for projector in projectors]
    return Told(layers, options.spread, options.energy, options.field_limit, seed)


def first_filters(net: Net, layer: Layer) -> np.ndarray | None:
    """The first layer's filters (C, k, k, 3), if `layer` is the first convolution of the pixels.

    None where the layer lies deeper: then its maps are shown by projections, as other layers' are.
    """
    first = next((m for m in net.model.modules() if isinstance(m, nn.Conv2d)), None)
    if (
        first is None
        or first.weight.shape[1] != 3
        or first.weight.shape[0] != layer.maps
        or tuple(first.kernel_size) != layer.size
    ):
        return None
    return first.weight.detach().cpu().float().permute(0, 2, 3, 1).contiguous().numpy()


# --------------------------------------------------------------------------------------- showing
def _figure(projector: Projector, options: Options, filters: np.ndarray | None) -> Figure:
    layer = projector.layer
    name = f"layer{layer.number}"
    what = "filters" if filters is not None else "projections"
    share = f"{len(layer.shown)} of {layer.maps} maps"
    chosen = {
        "random": "a seeded random subset, as in the paper",
        "active": "a seeded random subset of the maps that are ever active",
        "strongest": "those with the strongest activations",
        "specific": "those whose images are most of one class",
        "named": "those that the config names",
    }[
        "random"
        if options.choose == "named" and layer.number not in options.maps
        else options.choose
    ]
    which = "all maps" if len(layer.shown) == layer.maps else f"{share}: {chosen}"
    if filters is not None:
        left = (
            "the map's filter, drawn on its own symmetric scale (grey = 0, contrast stretched to "
            "each filter's largest weight)"
        )
    else:
        left = (
            f"the deconvnet's projections of the {options.top_k} strongest activations, one a "
            "place, each on its own symmetric scale (grey = 0, contrast stretched to the "
            "projection's 99.5 % quantile)"
        )
    above = (
        " Above each map: how many of these images belong to the most common class."
        if filters is None
        else ""
    )
    caption = (
        f"Layer {layer.number} ({which}). Left of each pair: {left}. Right: the image patches "
        f"that caused them, the receptive field of {layer.size[0]} px in a "
        f"{projector.inputs.net.input_px} px input, pale where the field ends at the "
        f"border.{above}"
    )
    alt = (
        f"Grid of {share} of layer {layer.number}: {what} beside the {options.top_k} image patches "
        "that excite each map most."
    )
    draw = functools.partial(_draw_layer, projector, options, filters)
    return Figure(name, caption, alt, draw, format="webp")


def _draw_layer(projector: Projector, options: Options, filters: np.ndarray | None) -> Image:
    layer = projector.layer
    crops = {} if filters is not None else projector.shown()
    cells = []
    for number in layer.shown:
        if filters is not None:
            weights = filters[number]
            left = [signed_to_rgb(weights, float(np.abs(weights).max()))]
        else:
            left = list(crops[number])
        cells.append(
            MapCell(
                f"{number}" if filters is not None else f"map {number}",
                left,
                projector.patches(number),
                "" if filters is not None else _note(projector, number),
            )
        )
    share = (
        f"All {layer.maps} maps"
        if len(layer.shown) == layer.maps
        else f"{len(layer.shown)} of {layer.maps} maps"
    )
    subject = "filters" if filters is not None else "deconvnet projections"
    title = f"Layer {layer.number}"
    subtitle = (
        f"{share}. Left: {subject}; right: the image patches of "
        f"the {options.top_k} strongest activations, fields of {layer.size[0]} px"
    )
    columns = sheet_columns(layer.number, len(cells))
    return feature_sheet(
        cells, columns, title=title, subtitle=subtitle, sharp_left=filters is not None
    )


def sheet_columns(number: int, cells: int) -> int:
    """Columns of a layer's figure: the paper's 4, 4, 2, 2 for layers 2 to 5."""
    if number == 1:
        return even_columns(cells, 1.5)
    return 4 if number in (2, 3) else 2


def _note(projector: Projector, number: int, letters: int = 16) -> str:
    labels = projector.layer.exciting(number)
    if not len(labels):
        return "never active"
    counts = np.bincount(labels)
    name = shorten(projector.inputs.class_names[int(counts.argmax())], letters)
    return f"{counts.max()}/{len(labels)} {name}"


def _numbers_figure(told: Told, metrics: dict[str, Estimate]) -> Figure:
    beyond = [layer.number for layer in told.beyond]
    ground = (
        f" Grey ground: layers whose field is more than {told.limit:g} of the input's side; "
        "nothing is claimed about them."
        if beyond
        else ""
    )
    caption = (
        "By layer, means over maps with 95 % bootstrap intervals over maps. Left: spread among a "
        f"map's patches and among its projections (1 − correlation, measure: {told.measure}) as a "
        "share of that among pictures of different maps. Middle: side of the smallest "
        f"square with {100 * told.energy:g} % of a projection's energy, as a share of the field's "
        f"side. Right: share of the commonest class among a map's images.{ground}"
    )
    alt = (
        "Three charts by layer: spread of patches and projections, support against the receptive "
        "field, class purity of maps, of random directions and of chance."
    )

    def draw() -> Any:
        panels = feature_numbers.panels(told, metrics, metrics["purity_chance"].value)
        return layer_panels(panels, [layer.number for layer in told.layers], beyond)

    return Figure("by_layer", caption, alt, draw)


def _all_maps(projector: Projector, options: Options) -> Iterator[Figure]:
    """Small sheets of every map of a layer."""
    layer = projector.layer
    starts = range(0, layer.maps, SHEET_MAPS)
    for page, start in enumerate(starts, 1):
        numbers = range(start, min(start + SHEET_MAPS, layer.maps))
        span = (
            f"all {layer.maps} maps"
            if len(starts) == 1
            else f"maps {numbers[0]} to {numbers[-1]} of {layer.maps}"
        )
        yield Figure(
            f"all_layer{layer.number}" + (f"_{page}" if len(starts) > 1 else ""),
            f"Layer {layer.number}, {span}: projections (left) and patches (right) of the "
            f"{options.top_k} strongest activations of each, as in the figure of this layer. The "
            "full pictures are in the arrays.",
            f"Grid of {span} of layer {layer.number}: projections beside image patches.",
            functools.partial(_draw_all, projector, numbers, span),
            format="webp",
        )


def _draw_all(projector: Projector, numbers: Sequence[int], span: str) -> Image:
    cells = [
        MapCell(f"{number}", *projector.thumbs[number], _note(projector, number, 10))
        for number in numbers
    ]
    side = math.ceil(math.sqrt(projector.options.top_k))
    tile = max(12, 3 * THUMB_PX // side)
    return feature_sheet(
        cells,
        SHEET_COLUMNS,
        title=f"Layer {projector.layer.number}: {span}",
        width=SHEET_COLUMNS * (2 * side * (tile + 2) + 32),
        max_tile=tile,
    )


def _filter_figure(filters: np.ndarray, layer: Layer, net: Net) -> Figure:
    scale = float(np.abs(filters).max())
    caption = (
        f"All {len(filters)} filters of layer {layer.number} of {net.name} "
        f"({layer.size[0]} x {layer.size[1]} px) on one common symmetric scale: grey = 0, full "
        f"contrast = ±{scale:.3g}. Filters that dominate stand out, dead ones stay grey."
    )
    alt = f"Grid of the {len(filters)} first-layer filters on one common colour scale."

    def draw() -> Image:
        tiles = [signed_to_rgb(weights, scale) for weights in filters]
        columns = even_columns(len(tiles), 2.5)
        px = max(24, min(120, 1400 // columns))
        return image_grid(tiles, columns, px, gap=4, sharp=True)

    return Figure("layer1_filters", caption, alt, draw)


# --------------------------------------------------------------------------------------- telling
def _arrays(projector: Projector) -> dict[str, np.ndarray | Iterator[np.ndarray]]:
    layer, name = projector.layer, f"layer{projector.layer.number}"
    return {
        f"{name}_values": layer.values.astype(np.float32),
        f"{name}_images": layer.rows.astype(np.int32),
        f"{name}_places": layer.places.astype(np.int16),
        f"{name}_boxes": layer.boxes.astype(np.int16),
        f"{name}_corners": layer.corners.astype(np.int16),
        f"{name}_projections": projector.blocks(),
        f"{name}_scales": projector.all_scales(),
    }


def _filter_arrays(filters: np.ndarray, layer: Layer) -> dict[str, np.ndarray]:
    """The filters (C, k, k, 3) as uint8, 128 is zero, and the scale (C,) of each."""
    scales = np.abs(filters).max((1, 2, 3)).astype(np.float32)
    pictures = [signed_to_rgb(*one) for one in zip(filters, scales.tolist(), strict=True)]
    return {
        f"layer{layer.number}_filters": np.stack(pictures),
        f"layer{layer.number}_filter_scales": scales,
    }


def _metrics(
    layers: Sequence[Layer], inputs: Inputs, options: Options, seed: int
) -> dict[str, Estimate]:
    counted = "counted over all maps: no interval"
    chance = chance_purity(inputs.labels[inputs.rows], options.top_k, seed)
    metrics = {
        "images": Estimate(len(inputs.rows), unit="images", note="counted"),
        "purity_chance": Estimate(
            chance, note=f"{options.top_k} images drawn at random, {CHANCE_DRAWS} seeded draws"
        ),
    }
    for layer in layers:
        name = f"layer{layer.number}"
        dead = int((~layer.active).sum())
        metrics[f"{name}_maps"] = Estimate(layer.maps, unit="maps", note=counted)
        metrics[f"{name}_dead_maps"] = Estimate(dead, n=layer.maps, unit="maps", note=counted)
        metrics[f"{name}_purity"] = bootstrap_mean(
            layer.purity[layer.full], seed,
            note=f"maps with all {options.top_k} activations above 0; bootstrap over maps",
        )  # fmt: skip
        if options.directions:
            metrics[f"{name}_purity_directions"] = bootstrap_mean(
                layer.direction_purity, seed,
                note=f"of {options.directions} seeded random directions, those with all "
                f"{options.top_k} projections above 0; bootstrap over directions",
            )  # fmt: skip
        metrics[f"{name}_field_px"] = Estimate(layer.size[0], unit="px", note="of the architecture")
        metrics[f"{name}_field_share"] = Estimate(
            layer.size[0] / inputs.net.input_px, note="field over input side; may pass 1"
        )
    return metrics


def _tables(
    layers: Sequence[Layer],
    inputs: Inputs,
    options: Options,
    metrics: dict[str, Estimate],
    told: Told,
) -> dict[str, Table]:
    measures = ["purity", "purity_directions"] if options.directions else ["purity"]
    summary: list[list[str | int | float | None]] = []
    rows: list[list[str | int | float | None]] = []
    for layer, numbers in zip(layers, told.layers, strict=True):
        found = [metrics[f"layer{layer.number}_{measure}"] for measure in measures]
        summary.append(
            [layer.number, layer.path, layer.maps, int((~layer.active).sum()), layer.size[0],
             layer.stride[0], *(v for one in found for v in (one.value, one.low, one.high))]
        )  # fmt: skip
        for number in range(layer.maps):
            labels = layer.exciting(number)
            common = int(np.bincount(labels).argmax()) if len(labels) else None
            rows.append(
                [
                    layer.number,
                    number,
                    float(layer.values[number, 0]),
                    float(layer.values[number, -1]),
                    float(layer.purity[number]) if layer.full[number] else None,
                    None if common is None else inputs.class_names[common],
                    *numbers.spread[options.spread][number].tolist(),
                    float(numbers.support_px[number]),
                ]
            )
    return {
        "layers": Table(
            ["layer", "module", "maps", "dead maps", "field px", "stride px",
             *(m.replace("_", " ") + end for m in measures for end in ("", " low", " high"))],
            summary,
            "Layers: maps, receptive fields, and the mean share of the most common class among "
            f"the strongest images of a map{' or random direction' if options.directions else ''} "
            f"(chance {metrics['purity_chance'].value:.3g}).",
        ),
        "maps": Table(
            ["layer", "map", "strongest", "weakest kept", "purity", "most common class",
             "spread of projections", "spread of patches", "support px"],
            rows,
            "Every map: its strongest and its weakest kept activation, the most common class "
            "among the images that cause them, how far its projections and its patches differ, "
            "and how large its projections are.",
        ),
    }  # fmt: skip


def _extra(layers: Sequence[Layer], inputs: Inputs, options: Options, told: Told) -> dict[str, Any]:
    return {
        "split": options.split,
        "input_px": inputs.net.input_px,
        "view": {
            "start": inputs.view.start,
            "side": inputs.view.side,
            "factor": inputs.view.factor,
        },
        "top_k": options.top_k,
        "lrn": options.lrn,
        "directions": options.directions,
        "choose": options.choose,
        "spread": options.spread,
        "min_overlap": options.min_overlap,
        "energy": options.energy,
        "field_limit": options.field_limit,
        "no_claims": [layer.number for layer in told.beyond],
        "layers": {
            str(layer.number): {
                "module": layer.path,
                "maps": layer.maps,
                "field": list(layer.size),
                "stride": list(layer.stride),
                "offset": list(layer.offset),
                "canvas": list(layer.canvas),
                "shown": list(layer.shown),
                "dead": np.flatnonzero(~layer.active).tolist(),
            }
            for layer in layers
        },
    }


def _compared(layers: Sequence[Layer], options: Options, metrics: dict[str, Estimate]) -> str:
    """The sentence that sets random directions beside single maps and chance."""
    if not options.directions:
        return ""

    def means(measure: str) -> str:
        values = [metrics[f"layer{layer.number}_{measure}"].value for layer in layers]
        return _listed("unknown" if math.isnan(value) else f"{value:.2f}" for value in values)

    return (
        f" In layers {_listed(layer.number for layer in layers)} its mean is {means('purity')} for "
        f"single maps and {means('purity_directions')} for {options.directions} random directions "
        "of the layer's channel space, each scored by the maximum of its projected map (Szegedy et "
        f"al. 2014, section 3.1), where images drawn at random give "
        f"{metrics['purity_chance'].value:.2f}."
    )


def _text(
    layers: Sequence[Layer], inputs: Inputs, options: Options, metrics: dict[str, Estimate]
) -> str:
    down = {"identity": "passed through unchanged", "jacobian": "passed by its true Jacobian"}
    enlarged = (
        f" Prepared images are enlarged {inputs.view.factor:.2f} times to the net's input."
        if inputs.view.factor != 1
        else ""
    )
    return (
        f"One pass over {len(inputs.rows)} images of the {options.split} split (centre view of "
        f"{inputs.net.input_px} px) found the {options.top_k} strongest activations of every map "
        f"of layers {_listed(layer.number for layer in layers)} (tap: {options.tap}), at most one "
        "an image. Each was then projected alone to the pixels: all other activations set to zero, "
        "max pools undone by the switches of the same image (overlapping windows add up), every "
        "rectifier passing only positive values, filters transposed; contrast normalisation is "
        f"{down[options.lrn]} on the way down, which the paper does not describe. Projections are "
        "cut to the activation's receptive field and drawn on a symmetric scale of their own."
        f"{enlarged} {inputs.origin} Purity is the share of the most common "
        f"class among a map's {options.top_k} images.{_compared(layers, options, metrics)}"
    )


def _listed(items: Iterable[int | str]) -> str:
    return ", ".join(str(item) for item in items)
