"""Which images of the targets are also among the source's? (the paper, section 5.2)

Zeiler & Fergus found 44 images of Caltech-101 and 243 of Caltech-256 in ImageNet, by normalised
correlation, removed them from the training set and trained again. Here every image of every target
is compared with every source image (training and validation); what is found is listed, and the
studies of transfer can leave those target images out, which needs no new training. All sets are
also searched for repeats of their own: a picture that comes twice can be trained on and tested on.

The paper states neither size nor threshold. Choices: zfnet.methods.duplicates has the measure,
conf/study/overlap.yaml the values; the table `sensitivity` tries other thresholds. A high
correlation at 32 px is not a proof: empty grounds and drawings on white are alike too, which is why
the strongest pairs are drawn.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfnet import paper
from zfnet.data.ahead import read_ahead
from zfnet.data.sample import SPLITS
from zfnet.data.store import Prepared
from zfnet.errors import UserError
from zfnet.figures.overlap import Couple, Nearest, couples_sheet, nearest_histograms
from zfnet.machine import cores, pick_device
from zfnet.methods.duplicates import (
    MEANS,
    Best,
    Found,
    Multiply,
    cost,
    mirrored,
    near_duplicates,
    on_device,
    timed,
    vectors,
)
from zfnet.stats.estimate import Estimate
from zfnet.studies.result import Figure, Result, Table

_READ = 256  # images read and reduced at once
LARGE = 2e12  # operations from which the cost is timed and told first, and a GPU is looked for
PAPER_SIZE = (30_607, 1_281_167)  # Caltech-256 with clutter, and ImageNet's training set
COUNTED = "every image was compared with every other: a count, not a sample, so no interval"


@dataclass(frozen=True)
class Options:
    """The section `study.overlap` of the config, checked; see conf/study for each value."""

    side: int = 32
    mean: str = "colour"
    threshold: float = 0.95
    thresholds: Sequence[float] = (0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
    mirror: bool = True
    within: bool = True
    within_limit: int = 20_000
    drawn: int = 8
    listed: int = 1000

    def __post_init__(self) -> None:
        if self.mean not in MEANS:
            raise UserError(f"study.overlap.mean={self.mean}: choose one of {', '.join(MEANS)}")
        for key, low in (("side", 2), ("within_limit", 0), ("drawn", 1), ("listed", 1)):
            if getattr(self, key) < low:
                raise UserError(f"study.overlap.{key}={getattr(self, key)}: must be {low} or more")
        for value in (self.threshold, *self.thresholds):
            if not 0 < value <= 1:
                raise UserError(
                    f"study.overlap: a threshold of {value:g} is none; correlations count from "
                    "above 0 up to 1"
                )

    @staticmethod
    def read(section: Any) -> Options:
        """From the config's section."""
        names = Options.__dataclass_fields__
        values = {name: getattr(section, name) for name in names}
        return Options(**{**values, "thresholds": tuple(values["thresholds"] or ())})


def run(cfg: Any, paths: Any) -> Result:
    """The stage: keys read are study.overlap and device.

    Reads `paths.prepared`, every set below `paths.targets`, and paper/tables.yaml.
    """
    options = Options.read(cfg.study.overlap)
    source = Photos(Prepared.open(paths.prepared), "source")
    targets = [Photos(Prepared.open(folder), folder.name) for folder in _sets(paths.targets)]
    reported = paper.facts(paths.root).get("overlap", {})
    return study(source, targets, options, device=cfg.device, reported=reported)


def _sets(folder: Path) -> list[Path]:
    """Return the prepared folders below `folder`, in the order of their names."""
    return sorted(meta.parent for meta in folder.glob("*/meta.json"))


class Photos:
    """All images of a prepared set as one sequence, train before val."""

    def __init__(self, prepared: Prepared, name: str) -> None:
        self.name = name
        self.title = name if name != "source" else prepared.meta.source
        self.size = prepared.size
        self.classes = [info.name for info in prepared.classes]
        self._splits = [prepared.split(split) for split in SPLITS]
        self.starts = [0, len(self._splits[0])]
        self.labels = np.concatenate([split.labels for split in self._splits])

    def __len__(self) -> int:
        return len(self.labels)

    def place(self, index: int) -> tuple[str, int]:
        """Split and row of an image."""
        which = int(index >= self.starts[1])
        return SPLITS[which], int(index) - self.starts[which]

    def id(self, index: int) -> str:
        """What the source calls an image."""
        split, row = self.place(index)
        return self._splits[SPLITS.index(split)].ids[row]

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images (n, S, S, 3) uint8."""
        out = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        for place, index in zip(out, indices, strict=True):
            split, row = self.place(int(index))
            place[...] = self._splits[SPLITS.index(split)].image(row)
        return out

    def vectors(self, options: Options) -> Iterator[np.ndarray]:
        """Blocks of vectors in order, read ahead by threads."""
        parts = [np.arange(i, min(i + _READ, len(self))) for i in range(0, len(self), _READ)]
        yield from read_ahead(
            lambda rows: vectors(self.images(rows), options.side, options.mean),
            parts,
            min(4, cores()),
        )


@dataclass(frozen=True)
class Overlap:
    """What one target shares with the source.

    pairs: target image, source image, correlation and whether mirrored, (P,) each, sorted by target
    then source image (of a plain and a mirrored match of the same two, the stronger); best (N,):
    the strongest correlation of each target image, with which source image, and whether mirrored.
    """

    target: Photos
    one: np.ndarray
    other: np.ndarray
    correlation: np.ndarray
    flipped: np.ndarray
    best: np.ndarray
    nearest: np.ndarray
    nearest_flipped: np.ndarray

    @property
    def shared(self) -> np.ndarray:
        """Target images with at least one pair, ascending."""
        return np.unique(self.one)

    def count(self, threshold: float) -> tuple[int, int, str]:
        """Images whose nearest is at `threshold` or above; the most in a class, and which."""
        return most_in_a_class(self.target, np.flatnonzero(self.best >= threshold))


def most_in_a_class(photos: Photos, images: np.ndarray) -> tuple[int, int, str]:
    """How many images, how many of them in the class with most, and its name ("" if none)."""
    if not len(images):
        return 0, 0, ""
    per_class = np.bincount(photos.labels[images], minlength=len(photos.classes))
    top = int(per_class.argmax())
    return len(images), int(per_class[top]), photos.classes[top]


@dataclass(frozen=True)
class Repeats:
    """Repeats inside one set: pairs (a before b) with correlations, and the strongest of all.

    images: those that repeat an earlier or later one; across: pairs of a train and a val image;
    None for the arrays if the set was too large to be searched.
    """

    photos: Photos
    searched: bool
    one: np.ndarray
    other: np.ndarray
    correlation: np.ndarray
    strongest: float

    @property
    def images(self) -> np.ndarray:
        """Images that come again, ascending."""
        return np.unique(np.concatenate([self.one, self.other]))

    @property
    def across(self) -> int:
        """Val images that are also among the train images."""
        start = self.photos.starts[1]
        return len(np.unique(self.other[(self.one < start) & (self.other >= start)]))


def study(
    source: Photos,
    targets: Sequence[Photos],
    options: Options,
    *,
    device: str = "cpu",
    reported: Any = None,
) -> Result:
    """Find what `targets` share with `source`; `reported`: the paper's counts by target."""
    for photos in (source, *targets):
        if options.side > photos.size:
            raise UserError(
                f"study.overlap.side={options.side}: images of {photos.name} have {photos.size} px"
            )
    multiply = _choose_products(source, targets, options, device)
    held = _held(targets, options)
    own = None
    if options.within and len(source) <= options.within_limit:
        own = _all_vectors(source, options)
    found = compare(source, targets, held, own, options, multiply)
    repeats = []
    if options.within:
        repeats.append(find_repeats(source, own, options, multiply))
        starts = np.cumsum([0, *map(len, targets)])
        for target, start in zip(targets, starts, strict=False):
            block = held[start : start + len(target)]
            repeats.append(find_repeats(target, block, options, multiply))
    return Result(
        study="overlap",
        title="Overlap: images that the targets share with the source",
        paper="Section 5.2",
        text=_text(source, found, repeats, options),
        net="none",
        tap="images",
        metrics=_metrics(found, repeats),
        tables=_tables(source, found, repeats, options, reported or {}),
        arrays=_arrays(found),
        figures=_figures(source, found, options),
        extra=_extra(source, found, repeats, options),
    )


# ------------------------------------------------------------------------------------- comparing
def _all_vectors(photos: Photos, options: Options, out: np.ndarray | None = None) -> np.ndarray:
    """Vectors of a whole set (N, 3·side²) float32, written to `out` if it is given."""
    out = np.empty((len(photos), 3 * options.side**2), np.float32) if out is None else out
    start = 0
    for block in photos.vectors(options):
        out[start : start + len(block)] = block
        start += len(block)
    return out


def _held(targets: Sequence[Photos], options: Options) -> np.ndarray:
    """Vectors of all targets, one after the other, then of all their mirror images if wanted."""
    images, side = sum(map(len, targets)), options.side
    held = np.empty((images * (1 + options.mirror), 3 * side * side), np.float32)
    start = 0
    for target in targets:
        rows = slice(start, start + len(target))
        _all_vectors(target, options, held[rows])
        if options.mirror:
            held[images + rows.start : images + rows.stop] = mirrored(held[rows], side)
        start = rows.stop
    return held


def _choose_products(
    source: Photos, targets: Sequence[Photos], options: Options, device: str
) -> Multiply:
    """Products by numpy, or by a GPU where there is one and the work is worth starting torch.

    Large work is timed first, and what it will take is told.
    """
    dims, times = 3 * options.side**2, 1 + options.mirror
    images = sum(map(len, targets))
    expected = cost(images, len(source), dims, times=times)
    multiply: Multiply = np.matmul
    large = expected.operations >= LARGE
    if device == "cuda" or (device == "auto" and large):
        found = pick_device(device)
        if found.type == "cuda":
            multiply = on_device(found)
    if large:
        expected = timed(expected, dims, multiply)
        print(
            f"overlap: {images:,} target images{' and their mirror images' * options.mirror} with "
            f"{len(source):,} of the source: {expected}, beside reading them",
            file=sys.stderr,
        )
    return multiply


def compare(
    source: Photos,
    targets: Sequence[Photos],
    held: np.ndarray,
    own: np.ndarray | None,
    options: Options,
    multiply: Multiply = np.matmul,
) -> list[Overlap]:
    """Compare all targets with the source, which is read once.

    held: the targets' vectors, then those of their mirror images if wanted; own: the source's,
    None to read it block by block.
    """
    best = Best.none(len(held))
    streamed = source.vectors(options) if own is None else [own]
    found = _join(near_duplicates(held, streamed, options.threshold, best=best, multiply=multiply))
    results, start, images = [], 0, sum(map(len, targets))
    for target in targets:
        results.append(_overlap_of(target, found, best, start, start + len(target), images))
        start += len(target)
    return results


def _join(found: Iterable[Found]) -> Found:
    """All pairs in one."""
    none = Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    parts = [none, *found]
    return Found(
        np.concatenate([part.streamed for part in parts]),
        np.concatenate([part.held for part in parts]),
        np.concatenate([part.correlation for part in parts]),
    )


def _overlap_of(
    target: Photos, found: Found, best: Best, start: int, stop: int, images: int
) -> Overlap:
    """Take one target's share of what was found; mirrored ones lie `images` rows further on."""
    flipped = found.held >= images
    row = found.held - images * flipped - start
    mine = np.flatnonzero((row >= 0) & (row < stop - start))
    # Strongest first, so that of a plain and a mirrored match of the same two it is the one kept.
    order = np.lexsort((flipped[mine], -found.correlation[mine], found.streamed[mine], row[mine]))
    mine = mine[order]
    both = np.stack([row[mine], found.streamed[mine]], 1)
    fresh = np.ones(len(mine), bool)
    fresh[1:] = (both[1:] != both[:-1]).any(1)
    mine = mine[fresh]
    plain = slice(start, stop)
    strongest, nearest = best.correlation[plain].copy(), best.streamed[plain].copy()
    better = np.zeros(stop - start, bool)
    if len(best.correlation) > images:
        other = slice(images + start, images + stop)
        better = best.correlation[other] > strongest
        strongest[better] = best.correlation[other][better]
        nearest[better] = best.streamed[other][better]
    return Overlap(
        target,
        row[mine],
        found.streamed[mine],
        found.correlation[mine],
        flipped[mine],
        strongest,
        nearest,
        better,
    )


def find_repeats(
    photos: Photos, own: np.ndarray | None, options: Options, multiply: Multiply = np.matmul
) -> Repeats:
    """Find images that come twice in one set; `own`: its vectors."""
    empty = np.zeros(0, np.int64)
    if own is None or len(photos) > options.within_limit:
        return Repeats(photos, False, empty, empty, np.zeros(0), float("nan"))
    found: list[Found] = []
    strongest = -1.0
    for held in (own, mirrored(own, options.side)) if options.mirror else (own,):
        best = Best.none(len(own))
        found += near_duplicates(
            held, [own], options.threshold, best=best, within=True, multiply=multiply
        )
        strongest = max(strongest, float(best.correlation.max(initial=-1.0)))
    joined = _join(found)
    order = np.lexsort((joined.held, joined.streamed))
    pairs = np.stack([joined.streamed[order], joined.held[order]], 1)
    fresh = np.ones(len(order), bool)
    fresh[1:] = (pairs[1:] != pairs[:-1]).any(1)
    pairs = pairs[fresh]
    return Repeats(
        photos, True, pairs[:, 0], pairs[:, 1], joined.correlation[order][fresh], strongest
    )


# --------------------------------------------------------------------------------------- numbers
def _metrics(found: Sequence[Overlap], repeats: Sequence[Repeats]) -> dict[str, Estimate]:
    metrics = {}
    for overlap in found:
        name, images = overlap.target.name, len(overlap.target)
        shared, most, where = most_in_a_class(overlap.target, overlap.shared)
        metrics[f"{name}_shared"] = Estimate(shared, n=images, unit="images", note=COUNTED)
        metrics[f"{name}_most_in_a_class"] = Estimate(
            most, n=images, unit="images", note=f"{COUNTED}; class {where}" if where else COUNTED
        )
        metrics[f"{name}_strongest"] = Estimate(
            float(overlap.best.max()), n=images, note=f"largest correlation of all; {COUNTED}"
        )
    for one in repeats:
        if one.searched:
            metrics[f"{one.photos.name}_repeated"] = Estimate(
                len(one.images), n=len(one.photos), unit="images", note=COUNTED
            )
    return metrics


def _tables(
    source: Photos,
    found: Sequence[Overlap],
    repeats: Sequence[Repeats],
    options: Options,
    reported: Any,
) -> dict[str, Table]:
    tables = {
        "shared": _shared_table(found, options, reported),
        "sensitivity": _sensitivity_table(found, options),
    }
    if any(len(overlap.one) for overlap in found):
        tables["pairs"] = _pairs_table(source, found, options)
    if repeats:
        tables["repeats"] = _repeats_table(repeats, options)
    return tables


def _shared_table(found: Sequence[Overlap], options: Options, reported: Any) -> Table:
    rows: list[list[str | int | float | bool | None]] = []
    for overlap in found:
        shared, most, where = most_in_a_class(overlap.target, overlap.shared)
        images = len(overlap.target)
        theirs = reported.get(overlap.target.name)
        told = [theirs["shared"], theirs["images"], theirs["most_in_a_class"]] if theirs else []
        rows.append(
            [
                overlap.target.name,
                images,
                shared,
                100 * shared / images,
                most,
                where,
                len(overlap.one),
                int(overlap.flipped.sum()),
                *(told or [None] * 3),
            ]
        )
    return Table(
        [
            "target", "images", "shared with the source", "%", "most in a class", "that class",
            "pairs", "of them mirrored", "the paper: shared", "of images", "most in a class, there",
        ],
        rows,
        f"Target images with a source image at a correlation of {options.threshold:g} or above. "
        "Beside them the paper's counts for the same target with all of ImageNet; it states no "
        "threshold, and its totals include the background class.",
    )  # fmt: skip


def _sensitivity_table(found: Sequence[Overlap], options: Options) -> Table:
    thresholds = sorted({*options.thresholds, options.threshold})
    rows: list[list[str | int | float | bool | None]] = []
    for overlap in found:
        for threshold in thresholds:
            shared, most, _ = overlap.count(threshold)
            rows.append([overlap.target.name, threshold, shared, most, len(overlap.target)])
    return Table(
        ["target", "threshold", "shared with the source", "most in a class", "images"],
        rows,
        "How the count depends on the threshold, which the paper does not state.",
    )


def _pairs_table(source: Photos, found: Sequence[Overlap], options: Options) -> Table:
    rows: list[list[str | int | float | bool | None]] = []
    for overlap in found:
        for i in np.argsort(-overlap.correlation, kind="stable").tolist():
            split, row = overlap.target.place(overlap.one[i])
            their_split, their_row = source.place(overlap.other[i])
            rows.append(
                [
                    overlap.target.name,
                    split,
                    row,
                    overlap.target.id(overlap.one[i]),
                    overlap.target.classes[overlap.target.labels[overlap.one[i]]],
                    their_split,
                    their_row,
                    source.id(overlap.other[i]),
                    source.classes[source.labels[overlap.other[i]]],
                    float(overlap.correlation[i]),
                    bool(overlap.flipped[i]),
                ]
            )
    total = len(rows)
    rows.sort(key=lambda row: -float(row[9] or 0))
    more = f" The {options.listed:,} strongest of {total:,}." if total > options.listed else ""
    return Table(
        [
            "target", "split", "row", "image", "class", "source split", "source row",
            "source image", "source class", "correlation", "mirrored",
        ],
        rows[: options.listed],
        f"Pairs at {options.threshold:g} or above, strongest first.{more}",
    )  # fmt: skip


def _repeats_table(repeats: Sequence[Repeats], options: Options) -> Table:
    rows: list[list[str | int | float | bool | None]] = [
        [
            one.photos.name,
            len(one.photos),
            len(one.images),
            len(one.one),
            one.across,
            one.strongest,
        ]
        if one.searched
        else [one.photos.name, len(one.photos), None, None, None, None]
        for one in repeats
    ]
    return Table(
        [
            "set", "images", "images that come again", "pairs", "val images also in train",
            "strongest correlation",
        ],
        rows,
        f"Repeats inside each set at {options.threshold:g} or above. Sets of more than "
        f"{options.within_limit:,} images are not searched.",
    )  # fmt: skip


def _arrays(found: Sequence[Overlap]) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for overlap in found:
        name = overlap.target.name.lower()
        arrays[f"{name}_best"] = overlap.best.astype(np.float32)
        arrays[f"{name}_pairs"] = np.stack([overlap.one, overlap.other], 1)
    return arrays


def _extra(
    source: Photos, found: Sequence[Overlap], repeats: Sequence[Repeats], options: Options
) -> dict[str, Any]:
    dims, times = 3 * options.side**2, 1 + options.mirror
    work = {
        "here": cost(sum(len(o.target) for o in found), len(source), dims, times=times),
        "paper": cost(*PAPER_SIZE, dims, times=times),
    }
    headline = [f"{overlap.target.name}_shared" for overlap in found]
    return {
        "duplicates": {overlap.target.name: _rows(overlap) for overlap in found},
        "repeats": {
            one.photos.name: np.stack([one.one, one.other], 1) for one in repeats if one.searched
        },
        "threshold": options.threshold,
        "side": options.side,
        "mean": options.mean,
        "mirror": options.mirror,
        "cost": {
            name: {"operations": one.operations, "held_bytes": one.held_bytes}
            for name, one in work.items()
        },
        "headline": headline,
        "card": "overlap_pairs" if found else None,
    }


def _rows(overlap: Overlap) -> list[int] | dict[str, list[int]]:
    """Rows to leave out: of the split train, or of both where the target has a val split."""
    start = overlap.target.starts[1]
    train = [int(i) for i in overlap.shared if i < start]
    if len(overlap.target) == start:
        return train
    return {"train": train, "val": [int(i) - start for i in overlap.shared if i >= start]}


# ------------------------------------------------------------------------------------------ words
def _text(
    source: Photos, found: Sequence[Overlap], repeats: Sequence[Repeats], options: Options
) -> str:
    if not found:
        return "No target is run: there is nothing to compare the source with."
    mirror = ", and mirrored" if options.mirror else ""
    told = "; ".join(
        f"{len(overlap.shared):,} of {len(overlap.target):,} images of {overlap.target.name}"
        for overlap in found
    )
    paper_cost = cost(*PAPER_SIZE, 3 * options.side**2, times=1 + options.mirror)
    return (
        f"Every image of each target was compared with all {len(source):,} source images (training "
        f"and validation){mirror}: reduced to {options.side} x {options.side} px by area "
        f"averaging, colours and places as one vector, {_MEANS[options.mean]} taken off; the "
        f"measure is the correlation of two such vectors. At {options.threshold:g} or above, two "
        f"count as the same picture; the paper states neither size nor threshold. Found: {told}. "
        "Studies of transfer can leave these out. The measure is no proof: pictures with the same "
        "borders can reach the threshold, a cropped copy may fall below it; see the pairs drawn. "
        f"{_repeats_text(repeats, options)}The search misses no pair and holds no more than the "
        f"targets' vectors and one block of products: for {PAPER_SIZE[0]:,} images with "
        f"{PAPER_SIZE[1]:,} it would take {paper_cost}."
    )


_MEANS = {"colour": "the mean of each colour", "image": "its mean"}


def _repeats_text(repeats: Sequence[Repeats], options: Options) -> str:
    searched = [one for one in repeats if one.searched]
    if not searched:
        return ""
    told = ", ".join(f"{one.photos.name} {len(one.images):,}" for one in searched)
    return f"Images that come again inside their own set: {told}. "


# --------------------------------------------------------------------------------------- figures
def _figures(source: Photos, found: Sequence[Overlap], options: Options) -> list[Figure]:
    if not found:
        return []
    names = ", ".join(overlap.target.name for overlap in found)
    told = "; ".join(
        f"{overlap.target.name}: {len(overlap.shared)} of {len(overlap.target)} at "
        f"{options.threshold:g} or above, strongest {overlap.best.max():.3f}"
        for overlap in found
    )
    return [
        Figure(
            "overlap_pairs",
            f"The most alike pairs, at most {options.drawn} a target: left the target's image, "
            f"right the source's. Red frames: at {options.threshold:g} or above, counted as the "
            "same picture. Images are as stored; mirrored matches are named.",
            f"Pairs of images side by side with their correlation, for {names}. {told}.",
            functools.partial(_draw_pairs, source, found, options),
            format="webp",
        ),
        Figure(
            "overlap_nearest",
            "How alike each target image's nearest source image is. Dashed: the threshold.",
            f"Histograms of the strongest correlation of each image. {told}.",
            functools.partial(_draw_nearest, found, options),
        ),
    ]


def _draw_nearest(found: Sequence[Overlap], options: Options) -> Any:
    panels = [Nearest(overlap.target.name, overlap.best) for overlap in found]
    return nearest_histograms(panels, options.threshold)


def _draw_pairs(source: Photos, found: Sequence[Overlap], options: Options) -> Any:
    groups = []
    for overlap in found:
        strongest = np.argsort(-overlap.best, kind="stable")[: options.drawn]
        couples = []
        for index in strongest.tolist():
            other = int(overlap.nearest[index])
            couples.append(
                Couple(
                    overlap.target.images([index])[0],
                    source.images([other])[0],
                    f"{overlap.best[index]:.3f}{' mirrored' * int(overlap.nearest_flipped[index])}",
                    f"{overlap.target.classes[overlap.target.labels[index]]} | "
                    f"{source.classes[source.labels[other]]}",
                    bool(overlap.best[index] >= options.threshold),
                )
            )
        groups.append((f"{overlap.target.name} | {source.title}", couples))
    return couples_sheet(groups)
