"""From any source to the prepared format: each image decoded once, squared, packed, accounted for.

The result depends on the images, the labels and the parameters alone: repeated, or with another
number of workers, it is the same byte for byte.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

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
from zfnet.data.sample import SPLITS, Attribute, Sample, Source
from zfnet.data.sources.files import count, first_few, printable, walk_files
from zfnet.data.store import FORMAT, STORES, Meta, SplitWriter
from zfnet.errors import UserError
from zfnet.machine import cores
from zfnet.progress import progress

_CHUNK = 32  # images per piece of work
_NOWHERE = (float("nan"),) * 4


@dataclass(frozen=True)
class Parameters:
    """What decides the stored bytes besides the images: side in pixels, "raw" or "jpeg"."""

    size: int
    store: str


@dataclass
class _Row:
    """One stored image in the index."""

    label: int
    id: str
    width: int
    height: int
    upsampled: bool
    box: tuple[float, ...]
    parts: dict[str, tuple[float, float]]
    attributes: dict[str, Attribute]
    digest: bytes


@dataclass
class _Chunk:
    """The outcome of one piece of work, in the source's order."""

    images: list[bytes] = field(default_factory=list)
    rows: list[_Row] = field(default_factory=list)
    bad: list[tuple[str, int, str]] = field(default_factory=list)
    files: list[tuple[str, int, int]] = field(default_factory=list)
    total: np.ndarray | None = None
    done: int = 0


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
    if store not in STORES:
        raise UserError(f"{section}.store: {store} is none of {', '.join(STORES)}.")
    if not 8 <= size <= 4096:
        raise UserError(f"{section}.size: {size} is not between 8 and 4096 pixels.")
    splits = source.splits()
    _check_source(source, splits, SPLITS[:1] if val_may_be_empty else SPLITS)
    parameters = Parameters(size, store)
    _check_disk(out.parent, parameters, sum(map(len, splits.values())), section)
    place: Path | None = getattr(source, "folder", None)
    with _replacing(out) as folder, _Workshop(splits, place, parameters, workers) as workshop:
        books = _Books(source, parameters)
        for split in SPLITS:
            _pack(folder, split, books, workshop)
        _judge(books, out, max_bad_fraction, section)
        meta = books.write(folder)
        _write_scan(scan or out.parent / "scan.parquet", source, books.files)
    return meta


def _check_source(
    source: Source, splits: Mapping[str, Sequence[Sample]], filled: Sequence[str]
) -> None:
    """Raise `UserError` unless both splits exist and those `filled` have images."""
    if len(source.classes) < 2:
        raise UserError(f"{source.name}: one class is not enough to learn from; two are needed.")
    for split in SPLITS:
        if split not in splits or (split in filled and not len(splits[split])):
            raise UserError(f"{source.name}: the split {split} has no images.")


def _check_disk(folder: Path, parameters: Parameters, images: int, section: str) -> None:
    """Raise `UserError` if a raw store plainly cannot fit on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    need = images * parameters.size**2 * 3
    free = shutil.disk_usage(folder).free
    if parameters.store == "raw" and need > free:
        raise UserError(
            f"{folder}: {images:,} raw images of {parameters.size} px need {need / 1e9:.1f} GB and "
            f"{free / 1e9:.1f} GB are free. {section}.store=jpeg takes about a sixth of it."
        )


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Give a fresh folder beside `out` that takes its place if all goes well."""
    folder = out.with_name(f".{out.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
    folder.mkdir(parents=True)
    try:
        yield folder
        if out.exists():
            old = out.with_name(f".{out.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
            folder.rename(out)
            shutil.rmtree(old)
        else:
            folder.rename(out)
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


def _parts(sample: Sample, width: int, height: int, size: int) -> dict[str, tuple[float, float]]:
    """Return the places of a sample's parts that lie inside the prepared square."""
    places = {n: to_prepared(x, y, width, height, size) for n, (x, y) in sample.parts.items()}
    return {n: (x, y) for n, (x, y) in places.items() if 0 <= x <= size and 0 <= y <= size}


def _work(
    samples: Sequence[Sample], start: int, stop: int, folder: Path | None, parameters: Parameters
) -> _Chunk:
    """Decode, square and encode samples start..stop; the sum of their stored pixels goes along."""
    size = parameters.size
    chunk = _Chunk(done=stop - start)
    total = np.zeros((size, size, 3), np.uint64)
    for index in range(start, stop):
        sample = samples[index]
        if sample.path is not None and folder is not None:
            chunk.files += _stat(sample.path, folder)
        try:
            pixels, width, height = _square(sample, size)
        except DecodeError as error:
            chunk.bad.append((sample.id, sample.label, error.reason))
            continue
        stored = pixels.tobytes()
        if parameters.store == "jpeg":
            stored = encode_jpeg(pixels)
            pixels = decode_jpeg(stored)  # the mean is that of what training will read
        total += pixels
        chunk.images.append(stored)
        chunk.rows.append(
            _Row(
                sample.label,
                sample.id,
                width,
                height,
                min(width, height) < size,
                _box(sample, width, height, size),
                _parts(sample, width, height, size),
                sample.attributes,
                hashlib.sha256(stored).digest(),
            )
        )
    chunk.total = total
    return chunk


def _stat(path: Path, folder: Path) -> list[tuple[str, int, int]]:
    """Return [(path below folder, bytes, mtime in ns)], [] if the file has gone."""
    try:
        facts = path.stat()
    except OSError:
        return []
    return [(printable(os.path.relpath(path, folder)), facts.st_size, facts.st_mtime_ns)]


# -- many of them, in order ------------------------------------------------------------------------


def default_workers() -> int:
    """Return ZFNET_WORKERS, or the number of cores that this process may use."""
    asked = os.environ.get("ZFNET_WORKERS", "")
    if asked:
        if not asked.isdigit() or not int(asked):
            raise UserError(f"ZFNET_WORKERS: {asked} is not a number of processes.")
        return int(asked)
    return cores()


_here: _Workshop | None = None  # in a worker process: what to work on


def _enter_worker(workshop: _Workshop) -> None:
    global _here
    _here = workshop


def _work_here(split: str, start: int, stop: int) -> _Chunk:
    assert _here is not None
    return _here.work(split, start, stop)


class _Workshop:
    """Does pieces of work in processes of its own, or in this one if that is quicker."""

    def __init__(
        self,
        splits: Mapping[str, Sequence[Sample]],
        folder: Path | None,
        parameters: Parameters,
        workers: int | None = None,
    ) -> None:
        self.splits = splits
        self.folder = folder
        self.parameters = parameters
        pieces = -(-max(map(len, splits.values())) // _CHUNK)
        self.workers = min(workers or default_workers(), pieces)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> _Workshop:
        if self.workers > 1:
            # Spawned, not forked: the caller may have threads, and a fork of those can hang.
            outfit = _Workshop(self.splits, self.folder, self.parameters, 1)
            self._pool = ProcessPoolExecutor(
                self.workers, get_context("spawn"), _enter_worker, (outfit,)
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def work(self, split: str, start: int, stop: int) -> _Chunk:
        """Do one piece of work in this process."""
        return _work(self.splits[split], start, stop, self.folder, self.parameters)

    def chunks(self, split: str) -> Iterator[_Chunk]:
        """Yield a split's outcomes in the source's order, a bounded number of them in flight."""
        images = len(self.splits[split])
        pieces = [(i, min(i + _CHUNK, images)) for i in range(0, images, _CHUNK)]
        flying: deque[Future[_Chunk]] = deque()
        for start, stop in pieces:
            if self._pool is None:
                yield self.work(split, start, stop)
                continue
            flying.append(self._pool.submit(_work_here, split, start, stop))
            if len(flying) >= 3 * self.workers:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()


def _pack(folder: Path, split: str, books: _Books, workshop: _Workshop) -> None:
    """Stream one split to its Arrow file, entering it in the books."""
    size, store = workshop.parameters.size, workshop.parameters.store

    def one_by_one() -> Iterator[_Chunk | None]:
        for chunk in workshop.chunks(split):
            yield chunk
            yield from [None] * (chunk.done - 1)  # the bar counts images

    with SplitWriter(folder / f"{split}.arrow", size, store) as writer:
        images = len(workshop.splits[split])
        for chunk in progress(one_by_one(), images, f"prepare {split}", "img"):
            if chunk is not None:
                writer.write(chunk.images)
                books.enter(split, chunk)


# -- what is written down --------------------------------------------------------------------------


class _Books:
    """Collects the index, the mean, the quarantine and the fingerprint while images stream by."""

    def __init__(self, source: Source, parameters: Parameters) -> None:
        self.source = source
        self.parameters = parameters
        self.rows: dict[str, list[_Row]] = {split: [] for split in SPLITS}
        self.bad: list[tuple[str, str, int, str]] = []
        self.files: list[tuple[str, int, int]] = []
        self.total = np.zeros((parameters.size, parameters.size, 3), np.uint64)
        self._hash = hashlib.sha256(
            repr(
                (
                    FORMAT,
                    parameters.size,
                    parameters.store,
                    [(c.index, c.id, c.name) for c in source.classes],
                )
            ).encode()
        )

    def enter(self, split: str, chunk: _Chunk) -> None:
        """Add the outcome of one piece of work."""
        for row in chunk.rows:
            self._hash.update(f"{split}:{row.label}:{row.id}:".encode() + row.digest)
        self.rows[split] += chunk.rows
        self.bad += [(file, split, label, reason) for file, label, reason in chunk.bad]
        self.files += chunk.files
        if split == "train" and chunk.total is not None:
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
            size=self.parameters.size,
            store=self.parameters.store,
            source=self.source.name,
            classes=list(self.source.classes),
            splits={split: len(rows) for split, rows in self.rows.items()},
            part_names=list(self.source.part_names),
            attributes=attributes,
            upsampled={s: sum(r.upsampled for r in rows) for s, rows in self.rows.items()},
            quarantined=len(self.bad),
            fingerprint=self._fingerprint(index),
        )
        (folder / "meta.json").write_text(meta.to_json(), encoding="utf-8")
        return meta

    def _index(self) -> tuple[pa.Table, list[str]]:
        """Return index.parquet as a table, and the names of the attributes."""
        rows = [row for split in SPLITS for row in self.rows[split]]
        attributes = list(dict.fromkeys(name for row in rows for name in row.attributes))
        columns: dict[str, pa.Array] = {
            "split": pa.array([s for s in SPLITS for _ in self.rows[s]], pa.string()),
            "row": pa.array([i for s in SPLITS for i in range(len(self.rows[s]))], pa.int64()),
            "label": pa.array([row.label for row in rows], pa.int32()),
            "id": pa.array([row.id for row in rows], pa.string()),
            "source_width": pa.array([row.width for row in rows], pa.int32()),
            "source_height": pa.array([row.height for row in rows], pa.int32()),
            "upsampled": pa.array([row.upsampled for row in rows], pa.bool_()),
        }
        for i, name in enumerate(("x0", "y0", "x1", "y1")):
            columns[f"box_{name}"] = pa.array([row.box[i] for row in rows], pa.float32())
        for part in self.source.part_names:
            for i, axis in enumerate("xy"):
                places = [row.parts.get(part, _NOWHERE)[i] for row in rows]
                columns[f"part_{part}_{axis}"] = pa.array(places, pa.float32())
        for name in attributes:
            columns[f"attr_{name}"] = pa.array([row.attributes.get(name) for row in rows])
        return pa.table(columns), attributes

    def _fingerprint(self, index: pa.Table) -> str:
        """Return sha256 over images, labels, parameters, and what the index says of them."""
        digest = self._hash.copy()
        for name in index.column_names:
            digest.update(repr((name, index.column(name).to_pylist())).encode())
        return digest.hexdigest()


def write_quarantine(path: Path, bad: Sequence[tuple[str, str, int, str]]) -> None:
    """Write quarantine.csv: file, split, reason."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "split", "reason"])
        writer.writerows((name, split, reason) for name, split, _, reason in bad)


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
        there = {row.label for row in books.rows[split]}
        lost = sorted({label for _, s, label, _ in books.bad if s == split} - there)
        if lost and not complaint:
            names = first_few([books.source.classes[label].id for label in lost])
            complaint = f"no image of {names} in {split} can be decoded. Mend or remove the class"
    if complaint:
        write_quarantine(kept, books.bad)
        first = "; ".join(f"{file}: {reason}" for file, _, _, reason in books.bad[:3])
        raise UserError(f"{complaint}. All are listed in {kept}; first: {first}.")


# -- has the source changed since? -----------------------------------------------------------------


@dataclass(frozen=True)
class ScanChanges:
    """How the source files differ from when they were prepared; paths below `folder`."""

    folder: Path | None
    files: int
    changed: list[str]
    missing: list[str]
    new: list[str]

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.new)

    def describe(self, stage: str = "prepare") -> str:
        """Say it in one line, with what to do about it; `stage` prepared them."""
        if self.folder is None:
            return "rendered source, no files to compare"
        if not self:
            return f"{count(self.files, 'source file', 'source files')} as prepared"
        kinds = (("changed", self.changed), ("missing", self.missing), ("new", self.new))
        parts = [f"{len(p):,} {kind} ({first_few(p, 2)})" for kind, p in kinds if p]
        return f"{self.folder}: {', '.join(parts)}; run `dvc repro -f {stage}`"


def _write_scan(path: Path, source: Source, files: list[tuple[str, int, int]]) -> None:
    """Write scan.parquet (path, size, mtime_ns); its metadata say where the source lies."""
    import pyarrow.parquet as pq

    folder: Path | None = getattr(source, "folder", None)
    paths, sizes, times = zip(*files, strict=True) if files else ((), (), ())
    schema = pa.schema(
        [("path", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64())],
        {
            "zfnet.folder": str(folder.absolute()) if folder else "",
            "zfnet.watched": "\n".join(getattr(source, "watched", [])),
        },
    )
    table = pa.table([list(paths), list(sizes), list(times)], schema=schema)
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)


def check_scan(scan: Path) -> ScanChanges:
    """Compare the source files with scan.parquet by size and modification time.

    Files beside the class folders, where no image was taken from (a README, the archives), are not
    new. A source folder that has gone makes all files missing.

    Raises `UserError` if there is no scan.
    """
    import pyarrow.parquet as pq

    if not scan.is_file():
        raise UserError(f"{scan}: no record of the source files. Run `dvc repro prepare`.")
    with pq.ParquetFile(scan) as file:  # pq.read_table would import pandas
        table = file.read()
    known = {
        path: (size, time)
        for path, size, time in zip(*(c.to_pylist() for c in table.columns), strict=True)
    }
    metadata = table.schema.metadata
    where = metadata[b"zfnet.folder"].decode()
    if not where:
        return ScanChanges(None, 0, [], [], [])
    folder = Path(where)
    watched = metadata[b"zfnet.watched"].decode().splitlines()
    now: dict[str, tuple[int, int]] = {}
    for below in watched:
        for file in walk_files(folder / below):
            for path, size, time in _stat(folder / below / file, folder):
                now[path] = (size, time)
    changed = [path for path in known if path in now and now[path] != known[path]]
    missing = [path for path in known if path not in now]
    unread = set(watched) - {_parent(path) for path in known}
    new = [path for path in now if path not in known and _parent(path) not in unread]
    return ScanChanges(folder, len(known), changed, missing, new)


def _parent(path: str) -> str:
    """Return the folder of a path below the source's folder, "." for that folder itself."""
    return path.rpartition("/")[0] or "."
