"""Which images of the targets are also among the source's? (the paper, section 5.2)

Zeiler & Fergus found 44 images of Caltech-101 and 243 of Caltech-256 in ImageNet, by normalised
correlation, removed them from the training set and trained again. Here every image of every target
is compared with every source image (training and validation); the studies of transfer leave out
the target images that are found, which needs no new training. All sets are also searched for
repeats of their own: a picture that comes twice can be trained on and tested on.

The paper states neither size nor threshold: zfnet.methods.duplicates has the measure, the table
`sensitivity` tries other thresholds. A high correlation is not a proof: empty grounds and drawings
on white are alike too, which is why the strongest pairs are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from zfnet.data.prefetch import prefetch
from zfnet.data.sample import SPLITS
from zfnet.data.store import Prepared
from zfnet.machine import pick_device
from zfnet.methods.duplicates import Multiply, SimilarPairs, on_device, similar_pairs, vectors
from zfnet.progress import progress
from zfnet.results import Measurement, Table
from zfnet.stats.estimate import Estimate

if TYPE_CHECKING:
    from zfnet.pipeline.paths import Paths
    from zfnet.pipeline.studies import Overlap

SIDE = 32  # px at which pictures are compared: finer than any copy's resampling, 12 kB an image
THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 0.98, 0.99)  # at which images are counted too
REPEATS_LIMIT = 20_000  # larger sets are not searched for repeats: their vectors take over 250 MB
DRAWN = 8  # strongest pairs of a target
LISTED = 1000  # strongest pairs of all
LARGE = 2e12  # operations for which starting torch on a GPU pays
READ = 256  # images read and reduced at once
COUNTED = "every image was compared with every other: a count, not a sample, so no interval"

PAIR = (
    "target", "split", "row", "image", "class",
    "source_split", "source_row", "source_image", "source_class", "correlation", "flipped",
)  # fmt: skip


class WholeSet:
    """All N images of a prepared set as one sequence, train before val."""

    def __init__(self, prepared: Prepared, name: str) -> None:
        self.name, self.size = name, prepared.size
        self.classes = [info.name for info in prepared.classes]
        self._splits = [prepared.split(split) for split in SPLITS]
        self.trained = len(self._splits[0])  # images of the split train
        self.labels = np.concatenate([split.labels for split in self._splits])

    def __len__(self) -> int:
        return len(self.labels)

    def place(self, index: int) -> tuple[str, int, str, str]:
        """Split and row of an image, what its source calls it, its class."""
        which = int(index >= self.trained)
        row = int(index) - which * self.trained
        split, label = self._splits[which], self.classes[self.labels[index]]
        return SPLITS[which], row, split.ids[row], label

    def vectors(self, side: int) -> Iterator[np.ndarray]:
        """Blocks of vectors in order, prefetched by threads."""
        parts = [
            (split, np.arange(i, min(i + READ, len(split))))
            for split in self._splits
            for i in range(0, len(split), READ)
        ]
        read = prefetch(lambda part: vectors(part[0].images(part[1]), side), parts)
        yield from progress(read, len(parts), f"overlap, {self.name}", f"x {READ} images")

    def most_in_a_class(self, images: np.ndarray) -> tuple[int, str]:
        """How many of `images` the class with most of them has, and its name ("" if none)."""
        if not len(images):
            return 0, ""
        per_class = np.bincount(self.labels[images], minlength=len(self.classes))
        return int(per_class.max()), self.classes[int(per_class.argmax())]


def run(cfg: Overlap, paths: Paths) -> Measurement:
    """Section 5.2: compare every set below `paths.targets` with `paths.prepared`."""
    source = WholeSet(Prepared.open(paths.prepared), "source")
    folders = sorted(meta.parent for meta in paths.targets.glob("*/meta.json"))
    targets = [WholeSet(Prepared.open(folder), folder.name) for folder in folders]
    side = min([SIDE, source.size, *(target.size for target in targets)])
    multiply = _products(source, targets, side, cfg.device)
    held, ends = in_memory(targets, side), np.cumsum([0, *map(len, targets)])
    own = in_memory([source], side) if len(source) <= REPEATS_LIMIT else None
    streamed = source.vectors(side) if own is None else [own]
    shared = compare(held, ends, streamed, cfg.threshold, multiply)
    each = list(zip(targets, shared, strict=True))
    counts = [_shared(target, found) for target, found in each]
    repeats = []
    for one, block in zip([source, *targets], [own, *np.split(held, ends[1:])[:-1]], strict=True):
        found = None
        if block is not None and len(one) <= REPEATS_LIMIT:
            found = similar_pairs(block, [block], cfg.threshold, within=True, multiply=multiply)
        repeats.append(_repeats(one, found))
    pairs = [pair for target, found in each for pair in _pairs(target, source, found)]
    pairs.sort(key=lambda pair: -pair["correlation"])
    nearest = [pair for target, found in each for pair in _nearest(target, source, found)]
    return Measurement(
        net="none",
        tap="images",
        estimates=_estimates(counts, repeats),
        tables={
            "shared": Table.of(counts),
            "sensitivity": Table.of([*_other_thresholds(each, cfg.threshold)]),
            "nearest": Table.of(nearest, PAIR),
            "pairs": Table.of(pairs[:LISTED], PAIR),
            "repeats": Table.of(repeats),
        },
        arrays={
            f"{target.name.lower()}_best": found.nearest_correlation.astype(np.float32)
            for target, found in each
        },
        facts={
            # rows that transfer and probe leave out, by target
            "duplicates": {target.name: _rows(target, found) for target, found in each},
            "threshold": cfg.threshold,
            "side": side,
            "source_images": len(source),
            "repeats_limit": REPEATS_LIMIT,
            "pairs": len(pairs),
            "listed": LISTED,
        },
    )


# ------------------------------------------------------------------------------------- comparing
def _products(source: WholeSet, targets: Sequence[WholeSet], side: int, device: str) -> Multiply:
    """Products by numpy, or by a GPU where there is one and the work is worth starting torch."""
    operations = 2 * 2 * sum(map(len, targets)) * len(source) * 3 * side**2  # mirrored too
    if device == "cuda" or (device == "auto" and operations >= LARGE):
        chosen = pick_device(device)
        if chosen.type == "cuda":
            return on_device(chosen)
    return np.matmul


def in_memory(sets: Sequence[WholeSet], side: int) -> np.ndarray:
    """The vectors (n, 3·side²) of all `sets`, one set behind the other."""
    whole = np.empty((sum(map(len, sets)), 3 * side**2), np.float32)
    start = 0
    for block in chain.from_iterable(one.vectors(side) for one in sets):
        whole[start : start + len(block)] = block
        start += len(block)
    return whole


def compare(
    held: np.ndarray,
    ends: np.ndarray,
    streamed: Iterable[np.ndarray],
    threshold: float,
    multiply: Multiply,
) -> list[SimilarPairs]:
    """What each set of vectors shares with `streamed`, which is read once.

    held: of `in_memory`; ends: 0 and where each of its sets ends.
    """
    if not len(held):
        return []
    found = similar_pairs(held, streamed, threshold, multiply=multiply)
    pairs = found.first, found.second, found.correlation, found.flipped
    nearest = found.nearest, found.nearest_correlation, found.nearest_flipped
    results = []
    for start, stop in pairwise(ends.tolist()):
        own = slice(*np.searchsorted(found.first, [start, stop]))
        one = SimilarPairs(*(part[own] for part in pairs), *(part[start:stop] for part in nearest))
        results.append(replace(one, first=one.first - start))
    return results


def _rows(target: WholeSet, found: SimilarPairs) -> list[int] | dict[str, list[int]]:
    """Rows to leave out: of the split train, or of both where the target has a val split."""
    shared: list[int] = np.unique(found.first).tolist()
    train = [row for row in shared if row < target.trained]
    if len(target) == target.trained:
        return train
    return {
        "train": train,
        "val": [row - target.trained for row in shared if row >= target.trained],
    }


# --------------------------------------------------------------------------------------- numbers
def _estimates(
    counts: Sequence[dict[str, Any]], repeats: Sequence[dict[str, Any]]
) -> dict[str, Estimate]:
    """The counts of every target, and the repeats of every set that was searched."""
    units = {"shared": "images", "most_in_a_class": "images", "strongest": ""}
    made = {
        f"{row['target']}_{key}": Estimate(row[key], n=row["images"], unit=unit, note=COUNTED)
        for row in counts
        for key, unit in units.items()
    }
    for row in repeats:
        if row["repeated"] is not None:
            count = Estimate(row["repeated"], n=row["images"], unit="images", note=COUNTED)
            made[f"{row['set']}_repeated"] = count
    return made


def _shared(target: WholeSet, found: SimilarPairs) -> dict[str, Any]:
    """What a target shares with the source."""
    rows = np.unique(found.first)
    most, name = target.most_in_a_class(rows)
    return {
        "target": target.name,
        "images": len(target),
        "shared": len(rows),
        "percent": 100 * len(rows) / len(target),
        "most_in_a_class": most,
        "class_most": name,
        "pairs": len(found.first),
        "flipped_pairs": int(found.flipped.sum()),
        "strongest": float(found.nearest_correlation.max()),
    }


def _other_thresholds(
    each: Sequence[tuple[WholeSet, SimilarPairs]], threshold: float
) -> Iterator[dict[str, Any]]:
    for target, found in each:
        for level in sorted({*THRESHOLDS, threshold}):
            over = np.flatnonzero(found.nearest_correlation >= level)
            yield {
                "target": target.name,
                "images": len(target),
                "threshold": level,
                "shared": len(over),
                "most_in_a_class": target.most_in_a_class(over)[0],
            }


def _repeats(one: WholeSet, found: SimilarPairs | None) -> dict[str, Any]:
    """Pictures that come again in a set; without numbers where it was not searched."""
    row = {"set": one.name, "images": len(one)}
    if found is None:
        return row | dict.fromkeys(("repeated", "pairs", "val_in_train", "strongest"))
    across = (found.first < one.trained) & (found.second >= one.trained)
    return row | {
        "repeated": len(np.unique([found.first, found.second])),
        "pairs": len(found.first),
        "val_in_train": len(np.unique(found.second[across])),
        "strongest": float(found.nearest_correlation.max()),
    }


def _pairs(target: WholeSet, source: WholeSet, found: SimilarPairs) -> Iterator[dict[str, Any]]:
    """Pairs at the threshold or above as rows with the keys PAIR."""
    columns = found.first, found.second, found.correlation, found.flipped
    for i, j, value, flipped in zip(*(column.tolist() for column in columns), strict=True):
        cells = (target.name, *target.place(i), *source.place(j), value, flipped)
        yield dict(zip(PAIR, cells, strict=True))


def _nearest(target: WholeSet, source: WholeSet, found: SimilarPairs) -> Iterator[dict[str, Any]]:
    """The DRAWN images of a target with the most similar nearest, likewise."""
    rows = np.argsort(-found.nearest_correlation, kind="stable")[:DRAWN]
    strongest = replace(
        found,
        first=rows,
        second=found.nearest[rows],
        correlation=found.nearest_correlation[rows],
        flipped=found.nearest_flipped[rows],
    )
    return _pairs(target, source, strongest)
