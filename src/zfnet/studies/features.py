"""What each map responds to: its nine strongest images, projected by the deconvnet (Fig. 2)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zfnet.data.prefetch import prefetch
from zfnet.data.signed import signed_scale, signed_to_rgb
from zfnet.errors import UserError
from zfnet.methods.top_activations import top_activations
from zfnet.models.net import Net
from zfnet.progress import progress
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate
from zfnet.studies import feature_numbers
from zfnet.studies.base import (
    BATCH,
    FIELD_LIMIT,
    Inputs,
    Windows,
    first_filters,
    project,
    strongest,
    with_ends,
)
from zfnet.studies.feature_numbers import (
    ENERGY,
    JUDGED,
    LayerNumbers,
    directions_minus_units,
    mean_of_maps,
    mean_overlap,
    purity_slope,
)
from zfnet.studies.similarity import MEASURES, Pictures, moved, overlay, spreads, support_side

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Features

SPLIT = "val"  # images that the net was not trained on
CHANCE_DRAWS = 4000
MIN_OVERLAP = 0.25  # of the field (of the input, if smaller): pairs at the border share less
UNRELATED_RANKS = 3  # groups of different maps' pictures, one of each rank, that are compared


def run(cfg: Features, paths: Paths) -> Measurement:
    """The stage."""
    return study(Inputs.of_stage(cfg, paths, SPLIT, max_images=cfg.max_images), cfg)


def study(inputs: Inputs, cfg: Features) -> Measurement:
    """Fig. 2 for one net on the images of `inputs`: one pass, then each projection once."""
    if len(inputs.rows) < cfg.top_k:
        raise UserError(
            f"study.features.top_k={cfg.top_k}: the split {SPLIT} has {len(inputs.rows)} images"
        )
    layers = scan(inputs, cfg)
    first = min(layers, key=lambda layer: layer.number)
    filters = filters_of(first, inputs.net)
    numbers: list[LayerNumbers] = []
    arrays: dict[str, np.ndarray | Sequence[np.ndarray]] = {}
    for layer in layers:
        measured, projections = project_layer(inputs, layer, layer is first and filters is not None)
        numbers.append(measured)
        own: dict[str, np.ndarray | Sequence[np.ndarray]] = {
            "values": layer.values.astype(np.float32),
            "images": layer.rows.astype(np.int32),
            "boxes": layer.windows.boxes.astype(np.int16),
            "corners": layer.windows.corners.astype(np.int16),
            # Written map by map: they may be larger than the memory.
            "projections": np.array_split(projections, len(projections)),
        }
        arrays |= {f"layer{layer.number}_{key}": array for key, array in own.items()}
    if filters is not None:
        scales = np.abs(filters).max((1, 2, 3)).astype(np.float32)
        pictures = [signed_to_rgb(*one) for one in zip(filters, scales.tolist(), strict=True)]
        arrays[f"layer{first.number}_filters"] = np.stack(pictures)
        arrays[f"layer{first.number}_filter_scales"] = scales
    estimates = _counts(layers, inputs, cfg) | feature_numbers.estimates(numbers, cfg.seed)
    tables = {
        "layers": _layers_table(layers, estimates),
        "maps": _maps_table(layers, numbers, inputs),
        "measures": feature_numbers.measures_table(numbers, cfg.seed),
    }
    facts = _facts(layers, numbers, inputs, cfg)
    return Measurement(inputs.net.name, cfg.tap, cfg.seed, estimates, tables, arrays, facts)


# -------------------------------------------------------------------------------------- the pass
@dataclass(frozen=True)
class LayerScan:
    """One layer's strongest activations and where they lie.

    values (C, k) float32, strongest first; rows (C, k) int64, rows of the split; places (C, k, 2)
    int64, y and x in the map; windows: what they see; purity (C,): share of the most common class
    among each map's k images; directions (n,), direction_rows (n, k): purity and rows of those n of
    the C random directions that have k images with a projection above 0; shown: the maps to be
    drawn.
    """

    number: int
    path: str
    values: np.ndarray
    rows: np.ndarray
    places: Tensor
    windows: Windows
    purity: np.ndarray
    directions: np.ndarray
    direction_rows: np.ndarray
    shown: tuple[int, ...]

    @property
    def full(self) -> np.ndarray:
        """(C,) bool: maps with all k strongest activations above 0."""
        return self.values[:, -1] > 0

    @property
    def dead(self) -> np.ndarray:
        """(C,) bool: maps without an activation above 0 anywhere in the split."""
        return ~(self.values[:, 0] > 0)


def scan(inputs: Inputs, cfg: Features) -> list[LayerScan]:
    """One forward pass over the split: maps, and random directions, by their strongest images."""
    net = inputs.net
    paths = {number: net.tap(number, cfg.tap) for number in cfg.layers}
    directions = rotations(inputs, paths, cfg)
    what = f"layers {', '.join(map(str, paths))}"
    found = strongest(inputs, list(paths.values()), cfg.top_k, directions, what)
    classes, layers = torch.tensor(inputs.labels), []
    for number, path in paths.items():
        maps = directions[path].shape[1]
        top, along = found[path].rows(slice(maps)), found[path].rows(slice(maps, None))
        along = along.rows(along.values[:, -1] > 0)
        values, purity = top.values.float().numpy(), top.purity(classes).numpy()
        layers.append(
            LayerScan(
                number=number,
                path=path,
                values=values,
                rows=top.images.numpy(),
                places=top.places,
                windows=Windows.of(net, path, top.places),
                purity=purity,
                directions=along.purity(classes).numpy(),
                direction_rows=along.images.numpy(),
                shown=choose_maps(number, values, purity, cfg),
            )
        )
    return layers


def rotations(inputs: Inputs, paths: dict[int, str], cfg: Features) -> dict[str, Tensor]:
    """For each module path, a random orthogonal matrix (C, C): its maps, rotated, are its rows."""
    # One image shows how many channels each layer has.
    one = (inputs.batch(inputs.rows[:1]), torch.tensor([0]))
    sizes = top_activations(inputs.net.model, [one], list(paths.values()), k=1)
    vectors = {}
    for number, path in paths.items():
        rng = np.random.default_rng([cfg.seed, number, 6])
        vectors[path] = torch.from_numpy(rotation(len(sizes[path].values), rng).astype(np.float32))
    return vectors


def rotation(size: int, rng: np.random.Generator) -> np.ndarray:
    """An orthogonal matrix (size, size) float64, each as likely as any other (Mezzadri 2007).

    The sign of each column is that which QR leaves open, so that the matrix is the same everywhere
    but for rounding.
    """
    columns, triangle = np.linalg.qr(rng.standard_normal((size, size)))
    return np.asarray(columns * np.where(np.diag(triangle) < 0, -1, 1))


def choose_maps(
    number: int, values: np.ndarray, purity: np.ndarray, cfg: Features
) -> tuple[int, ...]:
    """Which maps of a layer are drawn, ascending; all of layer 1 (the paper shows its filters).

    values (C, k), purity (C,): see `LayerScan`. "random" takes dead maps as they come, as a random
    subset must; "active" and "strongest" leave them out, "specific" all without k activations above
    0. Named maps keep their order; UserError for one that the layer does not have.
    """
    maps = len(values)
    if named := cfg.maps.get(number):
        if max(named) >= maps:
            raise UserError(
                f"study.features.maps: layer {number} has no map {max(named)}; it has {maps}, "
                "numbered from 0"
            )
        return tuple(dict.fromkeys(named))
    count = cfg.figure_maps.get(number, maps if number == 1 else 10)
    order = np.random.default_rng([cfg.seed, number, 3]).permutation(maps)
    if cfg.choose == "strongest":
        order = np.argsort(-values[:, 0], kind="stable")
    elif cfg.choose == "specific":
        order = order[values[order, -1] > 0]
        order = order[np.argsort(-purity[order], kind="stable")]
    if cfg.choose in ("active", "strongest"):
        order = order[values[order, 0] > 0]
    return tuple(sorted(int(i) for i in order[:count]))


def chance_purity(labels: np.ndarray, k: int, seed: int) -> float:
    """Mean share of the most common class among k images drawn at random, without replacement."""
    rng = np.random.default_rng([seed, k, 4])
    drawn = rng.multivariate_hypergeometric(
        np.bincount(labels), k, size=CHANCE_DRAWS, method="marginals"
    )
    return float(drawn.max(1).mean() / k)


def filters_of(layer: LayerScan, net: Net) -> np.ndarray | None:
    """The maps' filters (C, k, k, 3), if `layer` is the first convolution of the pixels.

    None where the layer lies deeper: then its maps are shown by projections, as other layers' are.
    """
    filters, _ = first_filters(net)
    if (len(filters), *filters.shape[2:]) != (len(layer.values), *layer.windows.reach.size):
        return None
    return filters.permute(0, 2, 3, 1).contiguous().numpy()


# ------------------------------------------------------------------------------------ projecting
def project_layer(inputs: Inputs, layer: LayerScan, fixed: bool) -> tuple[LayerNumbers, np.ndarray]:
    """Project one layer's strongest activations, each alone, and measure them.

    fixed: the projections are the maps' filters. Returns the layer's numbers and the projections
    (C, k, h, w, 3) uint8, cut to their windows: 128 is zero, 255 and 1 are plus and minus the
    99.5 % quantile of each one's absolute values in its field. Maps without k activations above 0
    are not measured.
    """
    windows, (maps, k) = layer.windows, layer.values.shape
    numbers = LayerNumbers.blank(
        maps, number=layer.number, share=max(windows.reach.size) / inputs.net.input_px,
        fixed=fixed, purity=layer.purity[layer.full], directions=layer.directions,
    )  # fmt: skip
    # In a file without a name: those of a wide net may be larger than the memory.
    with tempfile.TemporaryFile() as file:
        crops = np.memmap(file, np.uint8, "w+", shape=(maps, k, *windows.canvas, 3))
    groups = np.array_split(np.arange(maps), range(max(1, BATCH // k), maps, max(1, BATCH // k)))
    read = prefetch(lambda group: inputs.pixels(layer.rows[group].reshape(-1)), groups)
    for group, pixels in progress(
        zip(groups, read, strict=True),
        total=len(groups),
        desc=f"layer {layer.number}: {maps * k} projections",
        unit="batch",
    ):
        x, places = inputs.normalised(pixels), layer.places[group].reshape(-1, 2)
        down, images = (
            each.permute(0, 2, 3, 1).cpu().numpy().reshape(len(group), k, *each.shape[2:], 3)
            for each in (project(inputs, layer.path, x, np.repeat(group, k), places), pixels)
        )
        for m, projections in zip(group.tolist(), down, strict=True):
            crops[m] = _encoded(projections, windows, m)
        full = layer.full[group]
        _measure(numbers, windows, group[full], down[full], images[full])
    return numbers, crops


def _encoded(projections: np.ndarray, windows: Windows, m: int) -> np.ndarray:
    """Projections (k, H, W, 3) of map `m` as bytes in their windows."""
    (height, width), crops = windows.canvas, []
    for one, (y0, x0, y1, x1), (top, left) in zip(
        projections, windows.boxes[m], windows.corners[m], strict=True
    ):
        scale = signed_scale(one[y0:y1, x0:x1])
        crops.append(signed_to_rgb(one[top : top + height, left : left + width], scale))
    return np.stack(crops)


def _measure(
    numbers: LayerNumbers, windows: Windows, maps: np.ndarray, down: np.ndarray, images: np.ndarray
) -> None:
    """Measure some maps' projections and images, both (m, k, H, W, 3)."""
    least = MIN_OVERLAP * windows.canvas[0] * windows.canvas[1]

    def laid(pictures: np.ndarray, at: Any) -> Pictures:
        return overlay(pictures, windows.boxes[at], windows.fields[at], windows.reach.size)

    def one_map(place: int) -> None:
        m = int(maps[place])
        one, two = laid(down[place], m), laid(images[place], m)
        for measure in MEASURES:
            numbers.spread[measure][m] = spreads(one, two, least, measure)
            numbers.moved[measure][m] = moved(one, measure), moved(two, measure)
        energies = [
            (picture[y0:y1, x0:x1].astype(np.float64) ** 2).sum(2)
            for picture, (y0, x0, y1, x1) in zip(down[place], windows.boxes[m], strict=True)
        ]
        sides = [(support_side(e, ENERGY), max(e.shape)) for e in energies if e.any()]
        if sides:
            numbers.support_px[m] = np.mean([side for side, _ in sides])
            numbers.support_share[m] = np.mean([side / field for side, field in sides])

    for _ in prefetch(one_map, range(len(maps))):  # each writes its own rows
        pass
    # Pictures of several maps at one rank: no more in common than the layer's field.
    if len(maps) > 1:
        for rank in range(min(UNRELATED_RANKS, down.shape[1], len(maps))):
            one, two = (laid(given[:, rank], (maps, rank)) for given in (down, images))
            for measure in MEASURES:
                numbers.unrelated[measure][maps[rank]] = spreads(one, two, least, measure)


# ------------------------------------------------------------------------------------ as a result
def _counts(layers: Sequence[LayerScan], inputs: Inputs, cfg: Features) -> dict[str, Estimate]:
    chance = chance_purity(inputs.labels[inputs.rows], cfg.top_k, cfg.seed)
    found = {
        "images": Estimate(len(inputs.rows), unit="images", note="counted"),
        "purity_chance": Estimate(chance, note=f"{CHANCE_DRAWS} draws of {cfg.top_k} images"),
    }
    for layer in layers:
        maps, dead, field = len(layer.values), int(layer.dead.sum()), layer.windows.reach.size[0]
        share, counted = field / inputs.net.input_px, f"all with {cfg.top_k} activations above 0"
        own = {
            "maps": Estimate(maps, unit="maps", note="counted"),
            "dead_maps": Estimate(dead, n=maps, unit="maps", note="counted"),
            "purity": mean_of_maps(layer.purity[layer.full], cfg.seed, counted),
            "field_px": Estimate(field, unit="px", note="of the architecture"),
            "field_share": Estimate(share, note="field over input side; may pass 1"),
        }
        units, note = layer.purity[layer.full], f"of {maps}, {counted}"
        own |= {
            "purity_directions": mean_of_maps(layer.directions, cfg.seed, note),
            "directions_minus_units": directions_minus_units(layer.directions, units, cfg.seed),
            "overlap_units": mean_overlap(layer.rows[layer.full]),
            "overlap_directions": mean_overlap(layer.direction_rows),
        }
        found |= {f"layer{layer.number}_{key}": one for key, one in own.items()}
    return found


def _layers_table(layers: Sequence[LayerScan], found: Mapping[str, Estimate]) -> Table:
    """Every layer with all of its estimates."""
    rows = []
    for layer in layers:
        name = f"layer{layer.number}_"
        row: dict[str, Any] = {"layer": layer.number, "module": layer.path}
        for key in [key.removeprefix(name) for key in found if key.startswith(name)]:
            row |= with_ends(key, found[name + key])
        rows.append(row)
    return Table.of(rows)


def _maps_table(
    layers: Sequence[LayerScan], numbers: Sequence[LayerNumbers], inputs: Inputs
) -> Table:
    rows = []
    for layer, measured in zip(layers, numbers, strict=True):
        for m, values in enumerate(layer.values):
            counts = np.bincount(inputs.labels[layer.rows[m]][values > 0], minlength=1)
            spread = measured.spread[JUDGED][m].tolist()
            rows.append({
                "layer": layer.number, "map": m, "strongest": values[0],
                "class": inputs.class_names[int(counts.argmax())] if counts.any() else None,
                "of_class": int(counts.max()), "active": int(counts.sum()),
                "spread_projections": spread[0], "spread_patches": spread[1],
                "support_px": measured.support_px[m],
            })  # fmt: skip
    return Table.of(rows)


def _facts(
    layers: Sequence[LayerScan], numbers: Sequence[LayerNumbers], inputs: Inputs, cfg: Features
) -> dict[str, Any]:
    return {
        "split": SPLIT,
        "input_px": inputs.net.input_px,
        "enlarged": inputs.view.factor,
        **inputs.origin,
        "top_k": cfg.top_k,
        "choose": cfg.choose,
        "energy": ENERGY,
        "field_limit": FIELD_LIMIT,
        "no_claims": [one.number for one in numbers if not one.claims],
        "judged": [one.number for one in feature_numbers.judged(numbers)],
        "directions_slope": with_ends("slope", purity_slope(numbers, "directions", cfg.seed)),
        "layers": {
            str(layer.number): {
                "maps": len(layer.values),
                "field": list(layer.windows.reach.size),
                "shown": list(layer.shown),
                "named": layer.number in cfg.maps,
                "dead": np.flatnonzero(layer.dead).tolist(),
            }
            for layer in layers
        },
    }
