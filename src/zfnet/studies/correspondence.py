"""Do eyes and noses correspond across faces? Parts hidden, feature changes compared (Table 1).

For faces i with features x_i at a layer and x̃_i once a part is hidden, ε_i = x_i − x̃_i. Δ is the
share of features whose sign(ε) differs between two faces, averaged over all ordered pairs of a
group of five (Zeiler & Fergus 2014, Fig. 8; the paper writes a sum of Hamming distances, its
printed values fit this mean). A part with a lower Δ than random places changes the features of all
faces alike.

The paper does not state the square's size and fill, how many random places there are, whether the
five faces share them and whether they may lie beside the object, what the ± spans (here the
deviation over the ten pairs, n − 1), and how the many exact zeros of rectified features count
(sign() has three values: as a sign of their own). The table `sensitivity` tries other choices.

The ten pairs of a group share five images, so the image is the unit of inference. Groups are
disjoint, and intervals are taken over groups; where fewer than MIN_GROUPS fit, all faces of a class
form one group and images are resampled. The test asks how often a part's gap to the random places
would be as large if, within each image, it were left to chance which square is called the part.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.methods.correspondence import ZEROS, change_signs, sign_distance
from zfnet.methods.receptive_field import receptive_field
from zfnet.models.net import Net
from zfnet.progress import progress
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate
from zfnet.stats.permutation import roles_p
from zfnet.studies.base import FIELD_LIMIT, Inputs, when_it_fits, with_ends
from zfnet.studies.faces import (
    NAMES_ABOVE,
    Faces,
    draw_places,
    draw_shared,
    faces_of_photos,
    faces_of_split,
    find_photos,
    free_places,
    in_training,
    read_photos,
    squares,
    unfit,
)
from zfnet.studies.pairs import mean_of, pair_mean, spread_of

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Correspondence

SPLIT = "val"
REFERENCE_PX = 224  # the paper's input: sizes are px of it, scaled to the net's
GREY = 128  # raw value of the square
GROUP_SIZE = 5  # the paper's five dogs
MIN_GROUPS = 4  # disjoint groups below which an interval over groups would say nothing
FIRST_CLASS = "dog"  # its first group is drawn, if there is one; else the first class's
DRAWS = 10  # random places a face
PERMUTATIONS = 999
BATCH = 70  # images a forward pass; a face takes 1 + parts + DRAWS
ZERO = "third"  # features that do not change count as a sign of their own, as in sign()
# The sensitivity table: other squares, on so many groups.
SIZES = (24, 40)
SENSITIVITY_GROUPS = 6
UNKNOWN = Estimate(np.nan, n=0)
TRAINING, FEW, LEFT_OVER = "training", "few", "left_over"  # why a face is in no group

Key = tuple[int, str, str]  # layer, tap, how zeros count


def run(cfg: Correspondence, paths: Paths) -> Measurement:
    """The stage: on the faces of the validation images, or on the photos listed."""
    inputs = Inputs.of_stage(cfg, paths, SPLIT)
    if cfg.photos is None:
        trained = False if inputs.origin["unseen"] else None
        faces = faces_of_split(inputs, cfg.parts, cfg.classes, trained)
        return study(cfg, inputs, faces, {}, paths.share)
    file = find_photos(paths.data_root, cfg.photos)
    photos, note = read_photos(file, cfg.parts)
    photos = [photo for photo in photos if cfg.classes is None or photo.group in cfg.classes]
    faces = faces_of_photos(file, photos, inputs)
    train = Prepared.open(paths.prepared).split("train")
    answers = in_training(faces, train, inputs.net.input_px)
    if inputs.adopted:  # its own training set may hold what this one does not
        answers = [True if answer else None for answer in answers]
    source = {
        "photos": file.name,  # no path
        "photos_note": note,
        "training_images": len(train),
        "by_name": len(train) > NAMES_ABOVE,
    }
    return study(cfg, inputs, replace(faces, trained=answers), source, paths.share)


def study(
    cfg: Correspondence,
    inputs: Inputs,
    faces: Faces,
    source: dict[str, Any],
    share: tuple[int, int] = (0, 1),
) -> Measurement:
    """Fig. 8 and Table 1 for one net. Without estimates where there are too few faces.

    share (i, k): the i-th of k parts into which the groups are dealt, where they are enough.
    """
    net, px = inputs.net, inputs.net.input_px
    chosen, side = choose(cfg, faces, px), pixels(cfg.size, px)
    dealt = not chosen.pooled and len(chosen.groups) >= MIN_GROUPS * share[1]
    if dealt:
        chosen = replace(chosen, groups=chosen.groups[share[0] :: share[1]])
    names = dict.fromkeys(faces.groups[group[0]] for group in chosen.groups)
    facts = {
        **source,
        "measured": bool(chosen.groups),
        **inputs.origin,
        "input_px": px,
        "size_px": side,
        "draws": DRAWS,
        "parts": list(cfg.parts),
        "layers": list(cfg.layers),
        "pooled": chosen.pooled,
        "dealt": dealt,
        "groups": len(chosen.groups),
        "group_size": GROUP_SIZE,
        "min_groups": MIN_GROUPS,
        "faces": sum(map(len, chosen.groups)),
        "classes": [name for name in names if name],
        "excluded": Counter(filter(None, chosen.why)),
        "field_limit": FIELD_LIMIT,
        "large_fields": [layer for layer in cfg.layers if _field(net, cfg, layer) > FIELD_LIMIT],
    }
    tap = ", ".join(f"{layer}.{cfg.tap}" for layer in cfg.layers)
    tables = {"images": _images(faces, chosen)} if len(faces) else {}
    bare = Measurement(net.name, tap, cfg.seed, tables=tables, facts=facts)
    if not chosen.groups:
        print("correspondence: too few faces with known parts to measure", file=sys.stderr)
        return bare
    found = measure(cfg, inputs, faces, chosen.groups, side)
    estimates, table1 = _summed(cfg, found, chosen.pooled)
    estimates["size_px"] = Estimate(side, unit="px", note="setting")
    if share[0] == 0:  # other choices are tried on one training
        tables["sensitivity"] = sensitivity(cfg, inputs, faces, chosen, found)
    shown = chosen.groups[0][:GROUP_SIZE]
    return replace(
        bare,
        estimates=estimates,
        tables={"table1": table1, **tables},
        facts=facts | {"drawn": [faces.ids[row] for row in shown]},
        arrays={
            "faces": np.ascontiguousarray(faces.pixels[shown].permute(0, 2, 3, 1).numpy()),
            "faces_corners": found[0].corners[:GROUP_SIZE, : len(cfg.parts) + 2].astype(np.int32),
        },
    )


def pixels(size: int, px: int) -> int:
    """Side of a square of `size` px of REFERENCE_PX in a net input of `px`; at least 2."""
    return min(px // 2, max(2, round(size * px / REFERENCE_PX)))


# -------------------------------------------------------------------------------------- choosing
@dataclass(frozen=True)
class Chosen:
    """Groups of faces that are compared with each other, as rows (n,); for each face why it is in
    none ("" if it is in one); pooled: a group is all faces of its class, because too few disjoint
    groups were to be had.
    """

    groups: list[np.ndarray]
    why: list[str]
    pooled: bool


def choose(cfg: Correspondence, faces: Faces, px: int) -> Chosen:
    """Disjoint groups of GROUP_SIZE faces of one class in a seeded order, classes taking turns.

    Left out are training images (unless `keep_training`) and faces whose parts cannot be hidden one
    by one, judged at the largest square of the study so that all its rows rest on the same faces.
    """
    size = max(pixels(size, px) for size in (cfg.size, *SIZES))
    why = [
        TRAINING if trained and not cfg.keep_training else unfit(places, px, size)
        for trained, places in zip(faces.trained, faces.parts, strict=True)
    ]
    names = sorted(set(faces.groups), key=lambda n: (n != FIRST_CLASS, faces.groups.index(n)))
    rng = np.random.default_rng([cfg.seed, 11])
    parts: list[list[np.ndarray]] = []
    whole: list[np.ndarray] = []
    for name in names:
        rows = np.array([i for i in range(len(faces)) if faces.groups[i] == name and not why[i]])
        rows = rng.permutation(rows.astype(np.int64))
        count = len(rows) // GROUP_SIZE
        for row in rows if count == 0 else ():
            why[row] = FEW
        if count:
            parts.append(np.split(rows[: count * GROUP_SIZE], count))
            whole.append(rows)
    turns = max((len(part) for part in parts), default=0)
    groups = [part[turn] for turn in range(turns) for part in parts if turn < len(part)]
    if len(groups) < MIN_GROUPS:
        return Chosen(whole, why, True)
    groups = groups[: cfg.max_groups]
    used = set(np.concatenate(groups).tolist())
    why = [w or ("" if row in used else LEFT_OVER) for row, w in enumerate(why)]
    return Chosen(groups, why, False)


# ------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Compared:
    """One group measured: n faces under C conditions, the parts first, then the random places.

    corners (n, C, 2): the squares' top left y, x; distances: by layer, tap and way of counting
    zeros, (n, C, n, C) in 0..1, NaN where nothing can be compared; unchanged: by layer and tap,
    share of features that did not change at all, (C,).
    """

    corners: np.ndarray
    distances: dict[Key, np.ndarray]
    unchanged: dict[tuple[int, str], np.ndarray]

    def pairs(self, key: Key) -> np.ndarray:
        """Distance of each pair of faces under the same condition: (C, n, n)."""
        distance = self.distances[key]
        return np.stack([distance[:, c, :, c] for c in range(distance.shape[1])])


def taps_of(net: Net, cfg: Correspondence) -> dict[tuple[int, str], str]:
    """Module paths by layer and tap: those of the options, and the first layer's other tap."""
    paths: dict[tuple[int, str], str] = {(n, cfg.tap): net.tap(n, cfg.tap) for n in cfg.layers}
    first, other = cfg.layers[0], "relu" if cfg.tap == "out" else "out"
    if f"{first}.{other}" in net.taps:
        paths[first, other] = net.tap(first, other)
    return paths


def measure(
    cfg: Correspondence,
    inputs: Inputs,
    faces: Faces,
    groups: Sequence[np.ndarray],
    side: int,
    shared: Literal["image", "face"] | None = None,
    boxed: bool = False,
) -> list[Compared]:
    """Hide parts and random places of every group's faces and compare the changes' signs.

    side: of the squares, px. shared: the faces of a group have the same random places in the
    "image", or relative to the middle of the "face". boxed: these lie within the object's box.
    Raises UserError where no place is left for the random squares.
    """
    paths, px = taps_of(inputs.net, cfg), inputs.net.input_px
    found = []
    desc = f"faces, squares of {side} px"
    for number, group in enumerate(progress(groups, total=len(groups), desc=desc, unit="group")):
        rng = np.random.default_rng([cfg.seed, number, 12])
        hidden = squares(faces.parts[group], px, side)
        boxes = faces.boxes[group] if boxed else [None] * len(hidden)
        free = [free_places(own, px, side, b) for own, b in zip(hidden, boxes, strict=True)]
        if shared:
            middle = np.rint(faces.parts[group].mean(1)).astype(np.int64)
            drawn = draw_shared(free, middle * (shared == "face"), DRAWS, rng)
        else:
            drawn = np.stack([draw_places(mask, DRAWS, rng) for mask in free])
        corners = np.concatenate([hidden, drawn], 1)
        signs = _signs(inputs, faces.pixels[group], corners, side, paths)
        distances: dict[Key, np.ndarray] = {}
        for (layer, tap), sign in signs.items():
            flat, shape = sign.flatten(0, 1), sign.shape[:2]
            for zeros in ZEROS:
                distance = sign_distance(flat, flat, zeros).cpu().double().numpy()
                distances[layer, tap, zeros] = distance.reshape(*shape, *shape)
        unchanged = {key: (s == 0).float().mean((0, 2)).cpu().numpy() for key, s in signs.items()}
        found.append(Compared(corners, distances, unchanged))
    return found


def _signs(
    inputs: Inputs,
    raw: Tensor,
    corners: np.ndarray,
    side: int,
    paths: dict[tuple[int, str], str],
) -> dict[tuple[int, str], Tensor]:
    """Signs of the changes (n, C, D) int8 of raw faces (n, 3, px, px), by layer and tap."""

    def attempt(batch_size: int) -> dict[tuple[int, str], Tensor]:
        step = max(1, batch_size // (corners.shape[1] + 1))
        parts = []
        for start in range(0, len(raw), step):
            part = slice(start, start + step)
            clean, hidden = hide(inputs, raw[part], corners[part], side)
            parts.append(change_signs(inputs.net.model, clean, hidden, list(paths.values())))
        return {key: torch.cat([part[path] for part in parts]) for key, path in paths.items()}

    return when_it_fits(attempt, BATCH)


def hide(inputs: Inputs, raw: Tensor, corners: np.ndarray, side: int) -> tuple[Tensor, Tensor]:
    """Net inputs of raw pixels (N, 3, px, px) and of their variants with a square at `corners`.

    corners (N, C, 2); returns (N, 3, px, px) and (N, C, 3, px, px). The squares are raw GREY.
    """
    clean, paint = inputs.normalised(raw), inputs.normalised(torch.full_like(raw, GREY))
    hidden = clean[:, None].repeat(1, corners.shape[1], 1, 1, 1)
    for i, own in enumerate(corners.tolist()):
        for c, (y, x) in enumerate(own):
            window = (..., slice(y, y + side), slice(x, x + side))
            hidden[i, c][window] = paint[i][window]
    return clean, hidden


# ------------------------------------------------------------------------------------ summing up
def _roles(cfg: Correspondence) -> dict[str, list[int]]:
    """Which conditions belong to each row of Table 1, and to the mean over the parts."""
    count = len(cfg.parts)
    roles = {name: [number] for number, name in enumerate(cfg.parts)}
    return roles | {"random": [count + k for k in range(DRAWS)], "parts": list(range(count))}


def _summed(
    cfg: Correspondence, found: Sequence[Compared], pooled: bool
) -> tuple[dict[str, Estimate], Table]:
    """All estimates of the faces, and the same by layer and hidden part as a table."""
    estimates: dict[str, Estimate] = {}
    records, gaps = [], {}
    for layer in cfg.layers:
        key, where = (layer, cfg.tap, ZERO), f"layer {layer}, {cfg.tap}"
        pairs = [one.pairs(key) for one in found]
        for name, which in _roles(cfg).items():
            own = [mean_of(pair, which) for pair in pairs]
            delta = pair_mean(own, pooled, cfg.seed, f"mean sign change, {where}")
            estimates[f"layer{layer}_{name}"] = delta
            gap, p = UNKNOWN, np.nan
            if name != "random":
                gaps[layer], gap, p = _gap(cfg, found, which, key, pooled)
                estimates[f"layer{layer}_{name}_minus_random"] = gap
                note = (
                    "one-sided permutation test, roles shuffled within each image; small: below "
                    "random places, near 1: above; not corrected for several tests; no interval"
                )
                estimates[f"layer{layer}_{name}_p"] = Estimate(p, n=delta.n, note=note)
            unchanged = [one.unchanged[layer, cfg.tap][which].mean() for one in found]
            records.append(
                {
                    "layer": layer,
                    "hidden": name,
                    **with_ends("delta", delta),
                    "spread": float(np.mean([spread_of(pair, which) for pair in pairs])),
                    **with_ends("minus_random", gap),
                    "p": p,
                    "unchanged": float(np.mean(unchanged)),
                }
            )
    if len(cfg.layers) > 1:  # `gaps` are of the parts together, the last row of each layer
        first, last = cfg.layers[0], cfg.layers[-1]
        closing = [b - a for a, b in zip(gaps[first], gaps[last], strict=True)]
        note = f"(random − parts) at layer {first} less the same at layer {last}"
        estimates["gap_first_minus_last_layer"] = pair_mean(closing, pooled, cfg.seed, note)
    return estimates, Table.of(records)


def _gap(
    cfg: Correspondence, found: Sequence[Compared], which: Sequence[int], key: Key, pooled: bool
) -> tuple[list[np.ndarray], Estimate, float]:
    """Distances under some parts less those at random places: by group, their mean, and its p."""
    randoms = _roles(cfg)["random"]
    gap = [mean_of(pair, which) - mean_of(pair, randoms) for pair in (o.pairs(key) for o in found)]
    note = f"below 0: a lower score than random places; layer {key[0]}, {key[1]}"
    p = roles_p([one.distances[key] for one in found], which, randoms, PERMUTATIONS, cfg.seed)
    return gap, pair_mean(gap, pooled, cfg.seed, note), p


def sensitivity(
    cfg: Correspondence, inputs: Inputs, faces: Faces, chosen: Chosen, found: Sequence[Compared]
) -> Table:
    """The parts' mean Δ less that of random places under other choices, on the same faces.

    NaN where a choice leaves no place for the random squares.
    """
    groups = chosen.groups if chosen.pooled else chosen.groups[:SENSITIVITY_GROUPS]
    px, images, records = inputs.net.input_px, sum(map(len, groups)), []
    side = pixels(cfg.size, px)
    layers = [(layer, cfg.tap) for layer in cfg.layers]

    def add(choice: str, setting: Any, zeros: str = ZERO, taps: Any = layers, **how: Any) -> None:
        """A row for each of `taps`; `how`: other squares, as in `measure`."""
        try:
            cases = found[: len(groups)]
            if how:
                cases = measure(cfg, inputs, faces, groups, **{"side": side, **how})
        except UserError:
            cases = []
        for layer, tap in taps:
            gap, p = UNKNOWN, np.nan
            if cases:
                parts, key = _roles(cfg)["parts"], (layer, tap, zeros)
                _, gap, p = _gap(cfg, cases, parts, key, chosen.pooled)
            row = {"choice": choice, "setting": setting, "layer": layer, **with_ends("gap", gap)}
            records.append(row | {"p": p, "images": images})

    add("measured", None)
    for size in SIZES:
        add("size", pixels(size, px), side=pixels(size, px))
    for zeros in ZEROS:
        if zeros != ZERO:
            add("zeros", zeros, zeros)
    add("places", "shared", shared="image")
    add("places", "face", shared="face")
    if not np.isnan(faces.boxes[np.concatenate(groups)]).any():
        add("places", "box", boxed=True)
    for other in taps_of(inputs.net, cfg):
        if other not in layers:
            add("tap", other[1], taps=[other])
    return Table.of(records)


def _images(faces: Faces, chosen: Chosen) -> Table:
    number = {row: n for n, group in enumerate(chosen.groups) for row in group.tolist()}
    rows = [
        [name, faces.groups[i], number.get(i), chosen.why[i], faces.trained[i]]
        for i, name in enumerate(faces.ids)
    ]
    return Table(["image", "class", "group", "excluded", "trained"], rows)


def _field(net: Net, cfg: Correspondence, layer: int) -> float:
    """Longer side of a layer's receptive field over the input's; 0 where it is not defined."""
    try:
        reach = receptive_field(net.model, net.tap(layer, cfg.tap), net.input_px)
    except UserError:
        return 0.0
    return max(reach.size) / net.input_px
