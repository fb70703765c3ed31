"""Do feature columns find the same point in another picture? Keypoints carried between faces.

Long, Zhang & Darrell 2014, "Do Convnets Learn Correspondence?": two objects of one class, and each
keypoint of one moves to where the other's feature column is nearest. Both ways, over the whole
picture, each keypoint by itself: the smoothness term of the source's flow is left out. Beside a
net's layers stand the same net before training, patches of grey pixels, dense SIFT, and copies of
the coordinates, which need not look at the picture. Rendered faces lie much alike in theirs, so
the second of each pair is enlarged and shifted.

FacePairs are disjoint, so that they are independent: the pair is the unit of inference.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.methods import UnsupportedModel
from zfnet.methods.alignment import (
    Columns,
    columns,
    dense_sift,
    grey_patches,
    transfer_keypoints,
)
from zfnet.methods.linear import LinearSVM, Span, gram
from zfnet.methods.receptive_field import receptive_field
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate
from zfnet.stats.intervals import student_mean
from zfnet.studies.alignment_pairs import (
    BOX_OF_PARTS,
    WINDOW,
    FacePairs,
    couple,
    mirrored,
    some,
)
from zfnet.studies.base import BATCH, Inputs, turns, untrained, when_it_fits, with_ends
from zfnet.studies.faces import (
    Faces,
    faces_of_photos,
    faces_of_split,
    find_photos,
    in_training,
    read_photos,
)
from zfnet.studies.voc_keypoints import faces_of_objects, read_objects

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.survey import Alignment

SPLIT = "val"
JUDGED = 4  # the source's layer, fixed in advance; else the nearest that was measured
PHOTO_PARTS = ("left_eye", "right_eye", "nose")
LEAST_DEALT = 6  # pairs a training, below which all trainings get the same ones
STEP = 0.04  # of the input's side at most between places: less than half of what PCK allows
# Sides of patches and of SIFT's windows, of the input's; the first is judged, fixed in advance.
SIDES = (1 / 4, 1 / 8, 3 / 8)
BLOCK = 8  # pairs at a time: the columns of all at once may not fit
PENALTY = 10.0  # C of the linear classifiers, on columns of length 1
FOLDS = 5  # parts of the images that are held out in turn where there is one class
DRAWN = 4  # pairs
SHARE, GAP = (0.0, 1.0), (-1.0, 1.0)  # where means lie
SUFFIXES = ("_005", "", "_02")  # of keys, by THRESHOLDS
PATCHES, SIFT, COPIED, COPIED_BOX = "patches", "sift", "copied", "copied_box"
UNTRAINED = "untrained"
Reader = Callable[[Tensor], Columns]  # of pixels (n, 3, px, px) uint8


def run(cfg: Alignment, paths: Paths) -> Measurement:
    """The stage: on validation images whose parts the data know, photos listed, or VOC objects."""
    inputs = Inputs.of_stage(cfg, paths, SPLIT)
    if cfg.photos is None:
        parts = tuple(inputs.split.parts)
        trained = False if inputs.origin["unseen"] else None
        faces = faces_of_split(inputs, parts, None, trained) if parts else None
        return study(cfg, inputs, faces, parts, paths.share)
    file = find_photos(paths.data_root, cfg.photos, "study.alignment.photos", folders=True)
    if file.is_dir():
        faces, names = faces_of_objects(read_objects(file), inputs)
        return study(cfg, inputs, faces, names, paths.share, {"photos": f"{file.name}/"})
    photos, note = read_photos(file, PHOTO_PARTS)
    faces = faces_of_photos(file, photos, inputs)
    train = Prepared.open(paths.prepared).split("train")
    own = [answer is True for answer in in_training(faces, train, inputs.net.input_px)]
    faces = some(faces, np.flatnonzero(~np.array(own)))
    source = {"photos": file.name, "photos_note": note, "of_training": sum(own)}
    return study(cfg, inputs, faces, PHOTO_PARTS, paths.share, source)


def study(
    cfg: Alignment,
    inputs: Inputs,
    faces: Faces | None,
    parts: Sequence[str],
    share: tuple[int, int] = (0, 1),
    source: Mapping[str, Any] | None = None,
) -> Measurement:
    """One net on pairs of `faces`. Without shares where the data know of no two that make a pair.

    share (i, k): the i-th of k parts into which the pairs are dealt, where they are enough.
    """
    px = inputs.net.input_px
    couples = couple(faces, px, cfg.seed) if faces is not None else np.zeros((0, 2), np.int64)
    dealt = len(couples) >= LEAST_DEALT * share[1]
    couples = couples[share[0] :: share[1]] if dealt else couples
    couples = couples[: cfg.max_pairs]
    boxed = faces is not None and not np.isnan(faces.boxes[couples]).any()
    facts: dict[str, Any] = {
        **(source or {}),
        "split": SPLIT,
        "parts": list(parts),
        **inputs.origin,
        "dealt": dealt,
        "pairs": len(couples),
        "boxed": boxed,
        "input_px": px,
        "window": list(WINDOW),
        "box_of_parts": BOX_OF_PARTS,
        "least_dealt": LEAST_DEALT,
    }
    estimates = {"pairs": Estimate(len(couples), note="counted")}
    if faces is None or not len(couples):
        return Measurement(inputs.net.name, "", cfg.seed, estimates, facts=facts)
    pairs = FacePairs.of(faces, couples, px, cfg.seed)
    readers, refused, grids = net_readers(cfg, inputs)
    layers = [int(name[5:]) for name in readers if name.startswith("layer") and "_" not in name]
    judged = min(layers, key=lambda n: (abs(n - JUDGED), n), default=None)
    step = max(1, int(STEP * px))
    for side in SIDES:
        readers |= pixel_readers(side, px, step)
    found = {name: carry(reader, pairs) for name, reader in readers.items()}
    found[COPIED] = Carried(pairs.copies())
    if boxed:  # boxes made of the keypoints would tell where these are
        found[COPIED_BOX] = Carried(pairs.copies(boxes=True))
    named = {name: found[name] for name in found if "@" not in name}
    known = torch.stack(pairs.parts).isfinite().all(-1).numpy()
    read = {
        name: readout(each.values, pairs.groups, known)
        for name, each in named.items()
        if each.values is not None
    }
    estimates |= _estimates(named, pairs, judged, read)
    facts |= {
        "layer": judged,
        "asked_layer": JUDGED,
        "layers": layers,
        "refused": refused,
        "grids": grids,
        "step_px": step,
        "classes": dict(sorted(Counter(pairs.groups).items())),
        "held_out": "classes" if by_class(pairs.groups, known) else "images",
        "moved": float(np.nanmean(pairs.moved())),
        "enlarged": [float(f(pairs.factor)) for f in (np.min, np.mean, np.max)],
        "mirrored": mirrored(parts) != list(range(len(parts))),
    }
    tables = {
        "methods": _methods_table(named, pairs, read, parts),
        "sides": _sides_table(found, pairs, px),
        "pairs": _pairs_table(named, pairs, judged),
    }
    arrays: dict[str, np.ndarray] = {}
    if share[0] == 0:
        shown = np.argsort(turns(np.array(pairs.groups)), kind="stable")[:DRAWN]
        facts["drawn"] = [pairs.groups[i] for i in shown]
        arrays = _arrays(named, pairs, shown, judged)
    tap = inputs.net.tap(judged, "relu") if judged is not None else ""
    return Measurement(inputs.net.name, tap, cfg.seed, estimates, tables, arrays, facts)


# ---------------------------------------------------------------------------------------- carrying
@dataclass(frozen=True)
class Carried:
    """Where the keypoints of n pairs went both ways, and the columns that they were read at.

    places (2, n, K, 2): those of the first in the second, and back; values (2, n, K, C), of the
    first and of the second, where columns were used.
    """

    places: Tensor
    values: Tensor | None = None


def carry(reader: Reader, pairs: FacePairs) -> Carried:
    """All keypoints, by the nearest of the columns that `reader` gives of pictures."""
    places, values = [], []
    for start in range(0, len(pairs), BLOCK):
        part = slice(start, start + BLOCK)
        grids = [reader(pixels[part]) for pixels in pairs.pixels]
        points = [parts[part].to(grids[0].rows) for parts in pairs.parts]
        there = [transfer_keypoints(grids[i], grids[1 - i], points[i])[0] for i in (0, 1)]
        places.append(torch.stack(there).cpu())
        read = [grid.at(own.nan_to_num())[0] for grid, own in zip(grids, points, strict=True)]
        values.append(torch.stack(read).cpu().float())
    return Carried(torch.cat(places, 1), torch.cat(values, 1))


def net_readers(
    cfg: Alignment, inputs: Inputs
) -> tuple[dict[str, Reader], dict[str, str], dict[str, list[float]]]:
    """Readers of the layers, trained and not; why a layer has none; [step, first place, last], px.

    Names are layer4 and layer4_untrained. A net that cannot be built anew has no untrained ones.
    """
    net, px = inputs.net, inputs.net.input_px
    models = {"": net.model}
    if "kind" in net.rebuild:
        models["_untrained"] = untrained(net, cfg.seed).model
    readers: dict[str, Reader] = {}
    refused: dict[str, str] = {}
    grids: dict[str, list[float]] = {}
    blank = torch.zeros(1, 3, px, px, dtype=torch.uint8)
    for layer in cfg.layers:
        try:
            path = net.tap(layer, "relu")
        except UserError as error:
            refused[str(layer)] = str(error)
            continue
        try:
            step = step_of(receptive_field(net.model, path, px).stride, px)
            rows = columns(net.model, inputs.normalised(blank), path, step).rows
        except UnsupportedModel as error:
            refused[str(layer)] = str(error)
            continue
        grids[str(layer)] = [step, float(rows[0]), float(rows[-1])]
        for suffix, model in models.items():
            readers[f"layer{layer}{suffix}"] = _reader(inputs, model, path, step)
    return readers, refused, grids


def step_of(stride: tuple[int, int], px: int) -> int:
    """The largest divisor of a layer's strides (rows, columns) that is at most STEP of `px`."""
    common = math.gcd(*stride)
    most = max(1, int(STEP * px))
    return max(step for step in range(1, most + 1) if common % step == 0)


def _reader(inputs: Inputs, model: nn.Module, path: str, step: int) -> Reader:
    def read(pixels: Tensor) -> Columns:
        images = inputs.normalised(pixels)
        return when_it_fits(lambda size: columns(model, images, path, step, size), BATCH)

    return read


def pixel_readers(side: float, px: int, step: int) -> dict[str, Reader]:
    """Readers of patches and SIFT in windows of `side` of the picture; "@" unless it is judged.

    Pictures are continued at their border, so that any of their places may be found.
    """
    size, cell = size_of(side, px), cell_of(side, px)

    def patches(pixels: Tensor) -> Columns:
        return _centred(grey_patches(_padded(pixels, size // 2), size, step), size // 2)

    def sift(pixels: Tensor) -> Columns:
        return _centred(dense_sift(_padded(pixels, 2 * cell), cell, step), 2 * cell)

    tag = "" if side == SIDES[0] else f"@{side}"
    return {f"{PATCHES}{tag}": patches, f"{SIFT}{tag}": sift}


def size_of(side: float, px: int) -> int:
    """Side of a patch, px."""
    return max(3, round(side * px))


def cell_of(side: float, px: int) -> int:
    """Side of one of SIFT's 4 x 4 cells, px."""
    return max(1, round(side * px / 4))


def _padded(pixels: Tensor, edge: int) -> Tensor:
    return F.pad(pixels.float(), (edge,) * 4, mode="replicate")


def _centred(grid: Columns, edge: int) -> Columns:
    return Columns(grid.values, grid.rows - edge, grid.cols - edge)


# -------------------------------------------------------------------------------- which part is it
def by_class(groups: Sequence[str], known: np.ndarray) -> bool:
    """Whether classes can be held out: there are two or more, and all have the same keypoints."""
    return len(set(groups)) > 1 and bool(known.all())


def readout(values: Tensor, groups: Sequence[str], known: np.ndarray | None = None) -> np.ndarray:
    """Share of each image's keypoints (2 · n,) that a linear classifier names from one column.

    values (2, n, K, C), of the first and second of n pairs of the classes `groups`; known (2, n, K)
    bool: which keypoints there are. Each class is held out in turn, or, of one class or of classes
    with other keypoints, each of FOLDS parts of the pairs; with too few, NaN.
    """
    kinds, n, count = values.shape[:3]
    there = np.ones((kinds, n, count), bool) if known is None else known
    part = np.unique(np.array(groups), return_inverse=True)[1]
    if not by_class(groups, there):
        part = np.arange(n) % FOLDS
    kept = there.ravel()
    flat = values.reshape(kinds * n * count, -1)[torch.from_numpy(kept)].double()
    products = gram(F.normalize(flat, dim=1).numpy())
    part = np.broadcast_to(part[None, :, None], (kinds, n, count)).ravel()[kept]
    labels = np.broadcast_to(np.arange(count), (kinds, n, count)).ravel()[kept]
    right = np.full(len(labels), np.nan)
    for number in np.unique(part) if len(np.unique(part)) > 1 and count > 1 else ():
        train, test = np.flatnonzero(part != number), np.flatnonzero(part == number)
        span = Span.of(products, train)
        if len(np.unique(labels[train])) < 2:
            continue
        if span.train.shape[1]:  # else no column says anything
            fit = LinearSVM(PENALTY).fit(span.train, labels[train])
            right[test] = fit.predict(span.project(products, test)) == labels[test]
        else:
            right[test] = 1 / count
    every = np.full(kinds * n * count, np.nan)
    every[kept] = right
    shares: np.ndarray = np.ma.masked_invalid(every.reshape(kinds * n, count)).mean(1)
    return np.ma.filled(shares, np.nan)


# ------------------------------------------------------------------------------------- summing up
def _estimates(
    found: Mapping[str, Carried],
    pairs: FacePairs,
    judged: int | None,
    read: Mapping[str, np.ndarray],
) -> dict[str, Estimate]:
    """The numbers of every method, and what sets the judged layer apart."""
    hits = {name: pairs.hits(each.places) for name, each in found.items()}
    estimates: dict[str, Estimate] = {}
    for name, shares in hits.items():
        layer, blank, _ = name.partition(f"_{UNTRAINED}")
        for column, suffix in enumerate(SUFFIXES):
            if suffix and blank:
                continue
            one = student_mean(shares[:, column], limits=SHARE)
            estimates[f"{layer}_pck{blank}{suffix}"] = one
        if name.startswith("layer"):
            one = student_mean(read[name], note="image by image", limits=SHARE)
            estimates[f"{layer}_keypoint{blank}"] = one
    count = int(torch.stack(pairs.parts).isfinite().all(-1).any((0, 1)).sum())
    estimates["keypoint_chance"] = Estimate(1 / count, note="one of so many parts")
    if judged is None:
        return estimates
    estimates |= {
        "layer": Estimate(judged, note="setting"),
        "conv_pck": estimates[f"layer{judged}_pck"],
    }
    for name in (PATCHES, COPIED, SIFT, UNTRAINED):
        key = f"layer{judged}_{name}" if name == UNTRAINED else name
        if key in hits:
            gap = hits[f"layer{judged}"][:, 1] - hits[key][:, 1]
            one = student_mean(gap, note="paired by pairs of images", limits=GAP)
            estimates[f"conv_minus_{name}"] = one
    return estimates


def _methods_table(
    found: Mapping[str, Carried],
    pairs: FacePairs,
    read: Mapping[str, np.ndarray],
    parts: Sequence[str],
) -> Table:
    """All methods: shares of keypoints found by either reading, and named from one column."""
    mirror, records = mirrored(parts), []
    for name, each in found.items():
        hits = pairs.hits(each.places)
        either, other = pairs.at_mirrored(each.places, mirror)
        keypoint = student_mean(read.get(name, np.full(1, np.nan)), limits=SHARE)
        method, blank, _ = name.partition(f"_{UNTRAINED}")
        record: dict[str, Any] = {"method": method, "untrained": bool(blank)}
        for suffix, column in zip(SUFFIXES, hits.T, strict=True):
            record |= with_ends(f"pck{suffix}", student_mean(column, limits=SHARE))
        record |= with_ends("either", student_mean(either, limits=SHARE))
        record |= with_ends("other", student_mean(other, limits=SHARE))
        records.append(record | with_ends("keypoint", keypoint))
    return Table.of(records)


def _sides_table(found: Mapping[str, Carried], pairs: FacePairs, px: int) -> Table:
    """Patches and SIFT in windows of other sizes."""
    records = []
    for method in (PATCHES, SIFT):
        for side in sorted(SIDES):
            places = found[method if side == SIDES[0] else f"{method}@{side}"].places
            share = student_mean(pairs.hits(places)[:, 1], limits=SHARE)
            size = 4 * cell_of(side, px) if method == SIFT else size_of(side, px)
            records.append({"method": method, "size_px": size} | with_ends("pck", share))
    return Table.of(records)


def _pairs_table(found: Mapping[str, Carried], pairs: FacePairs, judged: int | None) -> Table:
    """What each pair gave, within 0.1."""
    names = _judged(judged)
    shares = {key: pairs.hits(found[name].places)[:, 1] for key, name in names.items()}
    return Table.of(
        [
            {
                "class": pairs.groups[i],
                "first": pairs.ids[i][0],
                "second": pairs.ids[i][1],
                "enlarged": float(pairs.factor[i]),
                **{key: float(share[i]) for key, share in shares.items()},
            }
            for i in range(len(pairs))
        ]
    )


def _judged(judged: int | None) -> dict[str, str]:
    """The methods that are drawn and listed pair by pair, by their columns' keys."""
    conv = {} if judged is None else {"conv": f"layer{judged}"}
    return conv | {name: name for name in (SIFT, PATCHES, COPIED)}


def _arrays(
    found: Mapping[str, Carried], pairs: FacePairs, shown: np.ndarray, judged: int | None
) -> dict[str, np.ndarray]:
    """Of pairs `shown`: pictures (d, 2, px, px, 3), keypoints (d, 2, K, 2), places (d, K, 2)."""
    pictures = torch.stack([pixels[shown] for pixels in pairs.pixels], 1)
    places = {key: found[name].places[0] for key, name in _judged(judged).items()}
    return {
        "pictures": pictures.permute(0, 1, 3, 4, 2).numpy(),
        "keypoints": torch.stack([parts[shown] for parts in pairs.parts], 1).numpy(),
        "limits": pairs.limits()[shown],
        **{f"places_{key}": each[shown].numpy() for key, each in places.items()},
    }
