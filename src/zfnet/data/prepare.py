"""From any source to the prepared format: each image decoded once, squared, packed, accounted for.

The result depends on the images, the labels and the parameters alone: repeated, or with another
number of workers, it is the same byte for byte.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from zfnet.data.decode import (
    DecodeError,
    decode_jpeg,
    encode_jpeg,
    fit_square,
    open_upright,
    square_corner,
)
from zfnet.data.prefetch import in_order
from zfnet.data.sample import SPLITS, Sample, Samples, Source
from zfnet.data.scan import FileFacts, file_facts, write_scan
from zfnet.data.sources.files import first_few
from zfnet.data.store import FORMAT, Meta, SplitWriter
from zfnet.errors import UserError
from zfnet.files import write_json, write_text
from zfnet.machine import cores
from zfnet.progress import progress

_CHUNK = 32  # images per piece of work
_NOWHERE = (float("nan"),) * 4
_BOX = ("box_x0", "box_y0", "box_x1", "box_y1")
_KINDS = {
    "label": pa.int32(),
    "id": pa.string(),
    "source_width": pa.int32(),
    "source_height": pa.int32(),
    "upsampled": pa.bool_(),
}


@dataclass
class _Chunk:
    """The outcome of one piece of work, in the source's order; `total`: sum of stored pixels."""

    total: np.ndarray
    images: list[bytes] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    bad: list[tuple[str, int, str]] = field(default_factory=list)
    files: list[FileFacts] = field(default_factory=list)


def prepare(
    source: Source,
    out: Path,
    *,
    size: int,
    store: str = "raw",
    max_bad_fraction: float = 0.01,
    workers: int | None = None,
    scan: Path | None = None,
    section: str = "data",
    val_may_be_empty: bool = False,
) -> Meta:
    """Write the images of a source to the prepared folder `out`; return what meta.json says.

    Images become (size, size) RGB: upright, short side scaled to `size`, centre square. `store` is
    "raw" (uint8) or "jpeg" (quality 95, 4:4:4). Files that cannot be decoded are listed in
    quarantine.csv and left out. `scan` (default: scan.parquet beside `out`) records path, size and
    time of every source file. `workers` processes (default: ZFNET_WORKERS or all cores) share the
    decoding; from a script, call it under `if __name__ == "__main__":`. `out` appears, or is
    replaced, only when complete. `section` of the config holds the keys that errors name;
    `val_may_be_empty` is for sets that are not split.

    Raises `UserError` for impossible parameters, an empty split, more than `max_bad_fraction`
    undecodable files, a class left without images, or a full disk.
    """
    if not 8 <= size <= 4096:
        raise UserError(f"{section}.size: {size} is not between 8 and 4096 pixels.")
    splits = source.splits()
    _check_source(source, splits, SPLITS[:1] if val_may_be_empty else SPLITS)
    job = _Job(splits, getattr(source, "folder", None), size, store)
    if store == "raw":
        _check_disk(out.parent, size, sum(map(len, splits.values())), section)
    with _replacing(out) as folder, _chunks_of(job, workers) as chunks_of:
        books = _Books(source, size, store)
        for split in SPLITS:
            pieces = len(job.pieces(split))
            chunks = progress(chunks_of(split), pieces, f"prepare {split}", f" x {_CHUNK} images")
            with SplitWriter(folder / f"{split}.arrow", size, store) as writer:
                for chunk in chunks:
                    writer.write(chunk.images)
                    books.enter(split, chunk)
        _judge(books, out, max_bad_fraction, section)
        meta = books.write(folder)
        write_scan(scan or out.parent / "scan.parquet", source, books.files)
    return meta


def _check_source(source: Source, splits: Mapping[str, Samples], filled: Sequence[str]) -> None:
    """Raise `UserError` unless both splits exist and those `filled` have images."""
    if len(source.classes) < 2:
        raise UserError(f"{source.name}: one class is not enough to learn from; two are needed.")
    for split in SPLITS:
        if split not in splits or (split in filled and not len(splits[split])):
            raise UserError(f"{source.name}: the split {split} has no images.")


def _check_disk(folder: Path, size: int, images: int, section: str) -> None:
    """Raise `UserError` if a raw store plainly cannot fit on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    need = images * size**2 * 3
    free = shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"{folder}: {images:,} raw images of {size} px need {need / 1e9:.1f} GB and "
            f"{free / 1e9:.1f} GB are free. {section}.store=jpeg takes about a sixth of it."
        )


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Give a fresh folder beside `out` that takes its place if all goes well."""
    folder, old = (out.with_name(f".{out.name}.{kind}") for kind in ("partial", "old"))
    shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
    folder.mkdir(parents=True)
    try:
        yield folder
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.rename(old)
        folder.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- the work on one image -----------------------------------------------------------------------


def _square(sample: Sample, size: int) -> tuple[np.ndarray, int, int]:
    """Return a sample's prepared pixels (S, S, 3) uint8 and its source width and height."""
    if sample.image is not None:
        image = Image.fromarray(np.ascontiguousarray(sample.image))
        return fit_square(image, size), image.width, image.height
    if sample.path is None:
        raise DecodeError("the source gives neither a file nor pixels")
    image, (width, height) = open_upright(sample.path, enough=2 * size)
    return fit_square(image, size), width, height


def to_prepared(x: float, y: float, width: int, height: int, size: int) -> tuple[float, float]:
    """Map a point of a (width, height) source image to pixels of its prepared square."""
    left, top = square_corner(width, height)
    scale = size / min(width, height)
    return (x - left) * scale, (y - top) * scale


def _box(sample: Sample, width: int, height: int, size: int) -> tuple[float, ...]:
    """Return the part of a sample's box inside the prepared square, NaN if there is none."""
    if sample.box is None:
        return _NOWHERE
    x0, y0 = to_prepared(sample.box[0], sample.box[1], width, height, size)
    x1, y1 = to_prepared(sample.box[2], sample.box[3], width, height, size)
    x0, y0, x1, y1 = (min(max(v, 0.0), float(size)) for v in (x0, y0, x1, y1))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else _NOWHERE


def _row(sample: Sample, width: int, height: int, size: int) -> dict[str, Any]:
    """What the index says of one image, by column; parts outside the square are left out."""
    row: dict[str, Any] = {"label": sample.label, "id": sample.id}
    row |= {"source_width": width, "source_height": height, "upsampled": min(width, height) < size}
    row |= zip(_BOX, _box(sample, width, height, size), strict=True)
    for name, at in sample.parts.items():
        x, y = to_prepared(*at, width, height, size)
        if 0 <= x <= size and 0 <= y <= size:
            row |= {f"part_{name}_x": x, f"part_{name}_y": y}
    return row | {f"attr_{name}": value for name, value in sample.attributes.items()}


@dataclass(frozen=True)
class _Job:
    """What is to be done; goes to every worker process. `folder`: where a source's files lie."""

    splits: Mapping[str, Samples]
    folder: Path | None
    size: int
    store: str

    def pieces(self, split: str) -> list[tuple[str, int, int]]:
        """The pieces of work of a split: its name, first index, index behind the last."""
        images = len(self.splits[split])
        return [(split, i, min(i + _CHUNK, images)) for i in range(0, images, _CHUNK)]

    def work(self, piece: tuple[str, int, int]) -> _Chunk:
        """Decode, square and encode the samples of one piece."""
        split, start, stop = piece
        size = self.size
        chunk = _Chunk(np.zeros((size, size, 3), np.uint64))
        for index in range(start, stop):
            sample = self.splits[split][index]
            if sample.path is not None and self.folder is not None:
                chunk.files += file_facts(sample.path, self.folder)
            try:
                pixels, width, height = _square(sample, size)
            except DecodeError as error:
                chunk.bad.append((sample.id, sample.label, error.reason))
                continue
            stored = pixels.tobytes()
            if self.store == "jpeg":
                stored = encode_jpeg(pixels)
                pixels = decode_jpeg(stored)  # the mean is that of what training will read
            chunk.total += pixels
            chunk.images.append(stored)
            chunk.rows.append(_row(sample, width, height, size))
            chunk.digests.append(hashlib.sha256(stored).digest())
        return chunk


# -- many of them, in order ------------------------------------------------------------------------


def default_workers() -> int:
    """Return ZFNET_WORKERS, or the number of cores that this process may use."""
    asked = os.environ.get("ZFNET_WORKERS", "")
    if asked:
        if not asked.isdigit() or not int(asked):
            raise UserError(f"ZFNET_WORKERS: {asked} is not a number of processes.")
        return int(asked)
    return cores()


_job: _Job | None = None  # of a worker process


def _enter_worker(job: _Job) -> None:
    global _job
    _job = job


def _work_here(piece: tuple[str, int, int]) -> _Chunk:
    assert _job is not None
    return _job.work(piece)


@contextmanager
def _chunks_of(job: _Job, workers: int | None) -> Iterator[Callable[[str], Iterable[_Chunk]]]:
    """Give a function that yields a split's outcomes in the source's order.

    They come from `workers` processes, or from this one where a single one would do.
    """
    workers = min(workers or default_workers(), max(len(job.pieces(split)) for split in SPLITS))
    if workers < 2:
        yield lambda split: map(job.work, job.pieces(split))
        return
    # Spawned, not forked: the caller may have threads, and a fork of those can hang.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _enter_worker, (job,))
    try:
        yield lambda split: in_order(pool, _work_here, job.pieces(split), 3 * workers)
    finally:
        pool.shutdown(cancel_futures=True)


# -- what is written down --------------------------------------------------------------------------


class _Books:
    """Collects the index, the mean, the quarantine and the fingerprint while images stream by."""

    def __init__(self, source: Source, size: int, store: str) -> None:
        self.source = source
        self.size = size
        self.store = store
        self.rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        self.bad: list[tuple[str, str, int, str]] = []
        self.files: list[FileFacts] = []
        self.total = np.zeros((size, size, 3), np.uint64)
        classes = [(each.index, each.id, each.name) for each in source.classes]
        self._hash = hashlib.sha256(repr((FORMAT, size, store, classes)).encode())

    def enter(self, split: str, chunk: _Chunk) -> None:
        """Add the outcome of one piece of work."""
        for row, digest in zip(chunk.rows, chunk.digests, strict=True):
            self._hash.update(f"{split}:{row['label']}:{row['id']}:".encode() + digest)
        self.rows[split] += chunk.rows
        self.bad += [(file, split, label, reason) for file, label, reason in chunk.bad]
        self.files += chunk.files
        if split == "train":
            self.total += chunk.total

    def write(self, folder: Path) -> Meta:
        """Write everything but the images; return what went into meta.json."""
        import pyarrow.parquet as pq

        index, attributes = self._index()
        pq.write_table(index, folder / "index.parquet", compression="zstd")
        mean = self.total / len(self.rows["train"])
        np.save(folder / "mean.npy", mean.transpose(2, 0, 1).astype(np.float32))
        write_quarantine(folder / "quarantine.csv", self.bad)
        meta = Meta(
            format=FORMAT,
            size=self.size,
            store=self.store,
            source=self.source.name,
            classes=list(self.source.classes),
            splits={split: len(rows) for split, rows in self.rows.items()},
            part_names=list(self.source.part_names),
            attributes=attributes,
            upsampled={s: sum(r["upsampled"] for r in rows) for s, rows in self.rows.items()},
            quarantined=len(self.bad),
            fingerprint=self._fingerprint(index),
        )
        write_json(folder / "meta.json", asdict(meta), sort_keys=False)
        return meta

    def _index(self) -> tuple[pa.Table, list[str]]:
        """Return index.parquet as a table, and the names of the attributes."""
        rows = [row for split in SPLITS for row in self.rows[split]]
        parts = [f"part_{part}_{axis}" for part in self.source.part_names for axis in "xy"]
        attributes = dict.fromkeys(each for row in rows for each in row if each.startswith("attr_"))
        columns: dict[str, pa.Array] = {
            "split": pa.array([s for s in SPLITS for _ in self.rows[s]], pa.string()),
            "row": pa.array([i for s in SPLITS for i in range(len(self.rows[s]))], pa.int64()),
        }
        for name, kind in {**_KINDS, **dict.fromkeys((*_BOX, *parts), pa.float32())}.items():
            columns[name] = pa.array([row.get(name, float("nan")) for row in rows], kind)
        for name in attributes:
            columns[name] = pa.array([row.get(name) for row in rows])
        return pa.table(columns), [name.removeprefix("attr_") for name in attributes]

    def _fingerprint(self, index: pa.Table) -> str:
        """Return sha256 over images, labels, parameters, and what the index says of them."""
        digest = self._hash.copy()
        for name in index.column_names:
            digest.update(repr((name, index.column(name).to_pylist())).encode())
        return digest.hexdigest()


def write_quarantine(path: Path, bad: Sequence[tuple[str, str, int, str]]) -> None:
    """Write quarantine.csv: file, split, reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "split", "reason"])
    writer.writerows((name, split, reason) for name, split, _, reason in bad)
    write_text(path, text.getvalue())


def _judge(books: _Books, out: Path, max_bad_fraction: float, section: str) -> None:
    """Raise `UserError` for too many bad files or a class left empty; keep their list then."""
    kept = out.parent / "quarantine.csv"
    kept.unlink(missing_ok=True)
    images = sum(map(len, books.rows.values()))
    bad = len(books.bad)
    complaint = ""
    if bad > max_bad_fraction * (images + bad):
        complaint = (
            f"{bad:,} of {images + bad:,} files cannot be decoded, more than "
            f"{section}.max_bad_fraction={max_bad_fraction:g} allows. Mend or remove them, or "
            "allow more"
        )
    for split in SPLITS:
        there = {row["label"] for row in books.rows[split]}
        lost = sorted({label for _, s, label, _ in books.bad if s == split} - there)
        if lost and not complaint:
            names = first_few([books.source.classes[label].id for label in lost])
            complaint = f"no image of {names} in {split} can be decoded. Mend or remove the class"
    if complaint:
        write_quarantine(kept, books.bad)
        first = "; ".join(f"{file}: {reason}" for file, _, _, reason in books.bad[:3])
        raise UserError(f"{complaint}. All are listed in {kept}; first: {first}.")
