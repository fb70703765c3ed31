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
SHARED = (
    "target", "images", "shared", "percent", "most_in_a_class", "class_most", "pairs",
    "flipped_pairs",
)  # fmt: skip
SENSITIVITY = ("target", "images", "threshold", "shared", "most_in_a_class")
REPEATS = ("set", "images", "repeated", "pairs", "val_in_train", "strongest")


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

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images (n, S, S, 3) uint8."""
        out = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        for target, index in zip(out, np.asarray(indices).tolist(), strict=True):
            which = int(index >= self.trained)
            target[...] = self._splits[which].image(index - which * self.trained)
        return out

    def vectors(self, side: int) -> Iterator[np.ndarray]:
        """Blocks of vectors in order, prefetched by threads."""
        parts = [np.arange(i, min(i + READ, len(self))) for i in range(0, len(self), READ)]
        read = prefetch(lambda rows: vectors(self.images(rows), side), parts)
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
    held = [np.concatenate([*target.vectors(side)]) for target in targets]
    own = np.concatenate([*source.vectors(side)]) if len(source) <= REPEATS_LIMIT else None
    shared = compare(held, source.vectors(side) if own is None else [own], cfg.threshold, multiply)
    repeats = {
        one.name: similar_pairs(block, [block], cfg.threshold, within=True, multiply=multiply)
        for one, block in zip([source, *targets], [own, *held], strict=True)
        if block is not None and len(one) <= REPEATS_LIMIT
    }
    each = list(zip(targets, shared, strict=True))
    return Measurement(
        net="none",
        tap="images",
        estimates=_estimates(each, repeats),
        tables=_tables(source, each, repeats, cfg.threshold),
        arrays=_arrays(each, repeats),
        facts={
            # rows that transfer and probe leave out, by target
            "duplicates": {target.name: _rows(target, found) for target, found in each},
            "threshold": cfg.threshold,
            "side": side,
            "source_images": len(source),
            "repeats_limit": REPEATS_LIMIT,
            "pairs": sum(len(found.first) for found in shared),
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


def compare(
    held: Sequence[np.ndarray],
    streamed: Iterable[np.ndarray],
    threshold: float,
    multiply: Multiply = np.matmul,
) -> list[SimilarPairs]:
    """What each set of vectors in `held` shares with `streamed`, which is read once."""
    if not held:
        return []
    found = similar_pairs(np.concatenate(held), streamed, threshold, multiply=multiply)
    results, start = [], 0
    for block in held:
        stop = start + len(block)
        pairs = slice(*np.searchsorted(found.first, [start, stop]))
        results.append(
            SimilarPairs(
                found.first[pairs] - start,
                found.second[pairs],
                found.correlation[pairs],
                found.flipped[pairs],
                found.nearest[start:stop],
                found.nearest_correlation[start:stop],
                found.nearest_flipped[start:stop],
            )
        )
        start = stop
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
Each = Sequence[tuple[WholeSet, SimilarPairs]]


def _repeated(found: SimilarPairs) -> np.ndarray:
    return np.unique(np.concatenate([found.first, found.second]))


def _estimates(each: Each, repeats: dict[str, SimilarPairs]) -> dict[str, Estimate]:
    made = {}
    for target, found in each:
        name, shared = target.name, np.unique(found.first)
        for key, value, unit in (
            ("shared", len(shared), "images"),
            ("most_in_a_class", target.most_in_a_class(shared)[0], "images"),
            ("strongest", float(found.nearest_correlation.max()), ""),
        ):
            made[f"{name}_{key}"] = Estimate(value, n=len(target), unit=unit, note=COUNTED)
    for name, found in repeats.items():
        images, count = len(found.nearest), len(_repeated(found))
        made[f"{name}_repeated"] = Estimate(count, n=images, unit="images", note=COUNTED)
    return made


def _tables(
    source: WholeSet, each: Each, repeats: dict[str, SimilarPairs], threshold: float
) -> dict[str, Table]:
    shared: list[list[Any]] = []
    sensitivity: list[list[Any]] = []
    nearest: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for target, found in each:
        counted, rows = [target.name, len(target)], np.unique(found.first)
        percent, mirrored = 100 * len(rows) / len(target), int(found.flipped.sum())
        most = target.most_in_a_class(rows)
        shared.append([*counted, len(rows), percent, *most, len(found.first), mirrored])
        for level in sorted({*THRESHOLDS, threshold}):
            over = np.flatnonzero(found.nearest_correlation >= level)
            sensitivity.append([*counted, level, len(over), target.most_in_a_class(over)[0]])
        strongest = np.argsort(-found.nearest_correlation, kind="stable")[:DRAWN]
        columns = found.nearest, found.nearest_correlation, found.nearest_flipped
        nearest += _pairs(target, source, strongest, *(column[strongest] for column in columns))
        columns = found.second, found.correlation, found.flipped
        pairs += _pairs(target, source, found.first, *columns)
    pairs.sort(key=lambda pair: -pair["correlation"])
    return {
        "shared": Table(SHARED, shared),
        "sensitivity": Table(SENSITIVITY, sensitivity),
        "nearest": Table.of(nearest, PAIR),
        "pairs": Table.of(pairs[:LISTED], PAIR),
        "repeats": _repeats_table([source, *(target for target, _ in each)], repeats),
    }


def _pairs(target: WholeSet, source: WholeSet, *columns: np.ndarray) -> list[dict[str, Any]]:
    """Pairs as rows with the keys PAIR; columns: images of both, correlations, whether mirrored."""
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        dict(zip(PAIR, (target.name, *target.place(i), *source.place(j), value, flipped),
                 strict=True))
        for i, j, value, flipped in rows
    ]  # fmt: skip


def _repeats_table(sets: Sequence[WholeSet], repeats: dict[str, SimilarPairs]) -> Table:
    """A row a set; without numbers where it was not searched."""
    rows: list[list[Any]] = []
    for one in sets:
        found = repeats.get(one.name)
        if found is None:
            rows.append([one.name, len(one), None, None, None, None])
            continue
        across = (found.first < one.trained) & (found.second >= one.trained)
        val, strongest = len(np.unique(found.second[across])), found.nearest_correlation.max()
        count = len(_repeated(found))
        rows.append([one.name, len(one), count, len(found.first), val, float(strongest)])
    return Table(REPEATS, rows)


def _arrays(each: Each, repeats: dict[str, SimilarPairs]) -> dict[str, np.ndarray]:
    arrays = {}
    for target, found in each:
        arrays[f"{target.name.lower()}_best"] = found.nearest_correlation.astype(np.float32)
        arrays[f"{target.name.lower()}_pairs"] = np.stack([found.first, found.second], 1)
    for name, found in repeats.items():
        arrays[f"{name.lower()}_repeats"] = np.stack([found.first, found.second], 1)
    return arrays
