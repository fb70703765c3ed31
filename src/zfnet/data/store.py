"""The prepared format on disk: packed splits in Arrow files, an index, a mean, and their reader.

A split is one Arrow IPC file with a single column "image", in record batches of equal length (the
last may be shorter), uncompressed: a memory map of it gives any image without touching the others.
Torch is not needed to read it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from zfnet.data.decode import decode_jpeg
from zfnet.data.sample import SPLITS, ClassInfo
from zfnet.errors import UserError

FORMAT = 1
_HOW_TO = "Run `dvc repro prepare` (or `zfnet prepare`) to make it."

# Images per record batch. A batch costs its writer this much memory and its reader a few bytes.
_BATCH = {"raw": 64, "jpeg": 512}


@dataclass(frozen=True)
class Meta:
    """What meta.json holds: the facts about a prepared set, no paths and no dates."""

    format: int
    size: int
    store: str
    source: str
    classes: list[ClassInfo]
    splits: dict[str, int]
    part_names: list[str]
    attributes: list[str]
    upsampled: dict[str, int]
    quarantined: int
    fingerprint: str


class SplitWriter:
    """Streams the images of one split into an Arrow file; holds one record batch in memory.

    Used as a context manager; the file is complete only after leaving it without an exception.
    """

    def __init__(self, path: Path, size: int, store: str) -> None:
        kind = pa.binary(size * size * 3) if store == "raw" else pa.large_binary()
        self._schema = pa.schema(
            [pa.field("image", kind, nullable=False)],
            {"zfnet.size": str(size), "zfnet.store": store, "zfnet.batch": str(_BATCH[store])},
        )
        self._batch = _BATCH[store]
        self._waiting: list[bytes | memoryview] = []
        self._writer = pa.ipc.new_file(str(path), self._schema)

    def write(self, images: Sequence[bytes | memoryview]) -> None:
        """Append images: raw (S·S·3 bytes, row by row, RGB) or JPEG bytes."""
        self._waiting += images
        while len(self._waiting) >= self._batch:
            self._flush(self._batch)

    def _flush(self, n: int) -> None:
        images, self._waiting = self._waiting[:n], self._waiting[n:]
        kind = self._schema.field("image").type
        body = pa.py_buffer(b"".join(images))
        if pa.types.is_fixed_size_binary(kind):
            column = pa.Array.from_buffers(kind, n, [None, body])
        else:
            ends = np.cumsum([0, *map(len, images)], dtype=np.int64)
            column = pa.Array.from_buffers(kind, n, [None, pa.py_buffer(ends), body])
        self._writer.write_batch(pa.record_batch([column], schema=self._schema))

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if error is None and self._waiting:
            self._flush(len(self._waiting))
        self._writer.close()


@dataclass(eq=False)
class Prepared:
    """A prepared folder, as stage prepare writes it. Opening reads meta.json only."""

    path: Path
    meta: Meta

    @classmethod
    def open(cls, path: Path | str) -> Prepared:
        """Open a prepared folder.

        Raises `UserError` if it is missing, incomplete or of another format.
        """
        path = Path(path)
        try:
            text = (path / "meta.json").read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: no prepared data here. {_HOW_TO}") from error
        try:
            facts = json.loads(text)
            form = facts["format"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(f"{path / 'meta.json'} is damaged. {_HOW_TO}") from error
        if form != FORMAT:
            raise UserError(
                f"{path} holds prepared data of format {form}; this version reads format "
                f"{FORMAT}. {_HOW_TO}"
            )
        for name in (*(f"{split}.arrow" for split in SPLITS), "index.parquet", "mean.npy"):
            if not (path / name).is_file():
                raise UserError(f"{path}: {name} is missing. {_HOW_TO}")
        classes = [ClassInfo(**info) for info in facts.pop("classes")]
        return cls(path, Meta(classes=classes, **facts))

    @property
    def size(self) -> int:
        """Side of the stored square images in pixels."""
        return self.meta.size

    @property
    def classes(self) -> list[ClassInfo]:
        """The classes; the label of an image is an index into this list."""
        return self.meta.classes

    @cached_property
    def mean(self) -> np.ndarray:
        """Per-pixel mean of the stored training images: (3, S, S) float32, 0..255."""
        return np.load(self.path / "mean.npy")

    def split(self, name: str) -> PreparedSplit:
        """Return the split "train" or "val"; `UserError` for another name."""
        if name not in self.meta.splits:
            raise UserError(f"{self.path} has no split {name}; it has {', '.join(SPLITS)}.")
        return PreparedSplit(self.path, self.meta, name)


class PreparedSplit:
    """One split of a prepared folder: pixels from a memory map, the rest from the index.

    Cheap to pickle: each process opens its own memory map at the first read.
    """

    def __init__(self, path: Path, meta: Meta, name: str) -> None:
        self.path = path
        self.meta = meta
        self.name = name
        self.size = meta.size
        self._batches: dict[int, list[Any]] = {}
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return self.meta.splits[self.name]

    def __reduce__(self) -> tuple[Any, ...]:
        return PreparedSplit, (self.path, self.meta, self.name)

    # -- pixels ------------------------------------------------------------------------------

    def image(self, index: int) -> np.ndarray:
        """Return image `index`: (S, S, 3) uint8, read-only. Raw store: a view of the file."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)} in split {self.name}")
        batch, row = divmod(index, self._rows_per_batch)
        _, *buffers = self._buffers(batch)
        if self.meta.store == "raw":
            length = self.size**2 * 3
            flat = np.frombuffer(buffers[0], np.uint8, length, row * length)
            return flat.reshape(self.size, self.size, 3)
        ends, body = buffers
        start, stop = np.frombuffer(ends, np.int64, 2, row * 8).tolist()
        return decode_jpeg(memoryview(body).cast("B")[start:stop])

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return images (n, S, S, 3) uint8 in the order asked for; indices may repeat."""
        out = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        for place, index in zip(out, indices, strict=True):
            place[...] = self.image(int(index))
        return out

    @cached_property
    def _file(self) -> pa.ipc.RecordBatchFileReader:
        return pa.ipc.open_file(pa.memory_map(str(self.path / f"{self.name}.arrow")))

    @cached_property
    def _rows_per_batch(self) -> int:
        return int(self._file.schema.metadata[b"zfnet.batch"])

    def _buffers(self, batch: int) -> list[Any]:
        """Return the buffers of a record batch, which point into the memory map."""
        held = self._batches.get(batch)
        if held is None:
            with self._lock:  # threads prefetch; an Arrow reader is for one
                held = self._file.get_batch(batch).column(0).buffers()
            self._batches[batch] = held
        return held

    # -- what is known about the images --------------------------------------------------------

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels (N,) int64."""
        return self._column("label").astype(np.int64)

    @cached_property
    def ids(self) -> list[str]:
        """What the source calls each image; for files the path below the source's folder."""
        return [str(id) for id in self._column("id")]

    @cached_property
    def source_sizes(self) -> np.ndarray:
        """Width and height (N, 2) of the source images in px, before they were made square."""
        return np.stack([self._column(f"source_{side}") for side in ("width", "height")], 1)

    @cached_property
    def boxes(self) -> np.ndarray | None:
        """Boxes (N, 4) float32 as x0, y0, x1, y1 in prepared pixels, NaN where unknown, or None."""
        names = ["box_x0", "box_y0", "box_x1", "box_y1"]
        boxes = np.stack([self._column(name) for name in names], 1).astype(np.float32)
        return None if np.isnan(boxes).all() else boxes

    @cached_property
    def parts(self) -> dict[str, np.ndarray]:
        """Places of the named parts: (N, 2) float32 as x, y in prepared pixels, NaN if absent."""
        return {
            name: np.stack([self._column(f"part_{name}_{axis}") for axis in "xy"], 1)
            for name in self.meta.part_names
        }

    @cached_property
    def attributes(self) -> dict[str, np.ndarray]:
        """Further facts about each image by name, (N,) arrays of numbers or strings."""
        return {name: self._column(f"attr_{name}") for name in self.meta.attributes}

    def _column(self, name: str) -> np.ndarray:
        """Return a column of the index for this split; the splits lie one after the other."""
        import pyarrow.parquet as pq

        before = SPLITS[: SPLITS.index(self.name)]
        start = sum(self.meta.splits[split] for split in before)
        # Not pq.read_table, nor pyarrow's to_numpy: they import pandas, which takes longer.
        with pq.ParquetFile(self.path / "index.parquet") as file:
            column = file.read(columns=[name]).column(name)
        return _to_numpy(column.slice(start, len(self)))


_KINDS = {"int32": "i4", "int64": "i8", "float": "f4", "double": "f8"}


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Turn a column into (N,) numbers (NaN for null) or strings ("" for null)."""
    values = column.to_pylist()
    if pa.types.is_string(column.type):
        return np.array([value or "" for value in values], np.str_)
    if column.null_count:
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array(values, _KINDS[str(column.type)])
