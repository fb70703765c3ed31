"""What a study measured, and the one writer and reader of it. Needs no torch.

A study hands back a `Measurement`: estimates, tables of plain values under keys, arrays, facts. It
lies in results/<study>/ (measured.json, tables/<name>.csv, arrays/<name>.npy) and its estimates in
metrics/<study>.json besides, which is in git. Whoever tells of it reads `Results`.
"""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from zfnet.errors import UserError
from zfnet.files import read_json, write_json, write_text, write_whole
from zfnet.stats.estimate import Estimate, from_dict, to_dict

FORMAT = 2
SIGNIFICANT_DIGITS = 6
FILE = "measured.json"
Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Table:
    """Rows of plain values under keys; headings are the figures' business."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def column(self, key: str) -> list[Any]:
        """The values under one key. Raises KeyError naming the keys that there are."""
        if key not in self.columns:
            raise KeyError(f"no column {key!r}; there are {', '.join(self.columns)}")
        place = list(self.columns).index(key)
        return [row[place] for row in self.rows]

    def records(self) -> list[dict[str, Any]]:
        """Every row as a mapping from key to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    @staticmethod
    def of(records: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> Table:
        """From mappings with the same keys; `columns` where there may be none."""
        keys = list(columns) or (list(records[0]) if records else [])
        return Table(keys, [[record[key] for key in keys] for record in records])


TRAINING_COLUMNS = ("key", "seed", "value", "value_low", "value_high", "invalid")


def training_row(key: str, seed: int | str, one: Estimate) -> dict[str, Cell]:
    """A row of a study's table "trainings": one number of one training, or of a pair of them."""
    values = (key, seed, one.value, one.low, one.high, one.invalid)
    return dict(zip(TRAINING_COLUMNS, values, strict=True))


@dataclass(frozen=True)
class Measurement:
    """Everything that one study measured; no sentence, caption, colour or heading.

    `net`, `tap`: the net's name and the module or tap it was read at. `arrays`: an array, or an
    iterable of blocks that are joined along the first axis while they are written, so that the
    whole never needs to fit in memory. `facts`: plain JSON that figures and pages need beside the
    numbers. `on_saved`: called when all of it is on disk, so that what was kept on the way can go.
    """

    net: str
    tap: str
    seed: int | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray | Iterable[np.ndarray]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    on_saved: Callable[[], None] | None = None


def save(measurement: Measurement, folder: Path, metrics_file: Path) -> None:
    """Write `measurement` into `folder` and its estimates to `metrics_file`.

    measured.json comes last: its presence means a whole result. The bytes depend on nothing but the
    measurement: no dates, no wall times, no host.
    """
    for part in ("tables", "arrays"):
        shutil.rmtree(folder / part, ignore_errors=True)
    (folder / FILE).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in [*measurement.tables, *measurement.arrays]:
        if not name or set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789_-."):
            raise ValueError(f"{name!r} is no file name (a-z, 0-9, _, -, .)")
    arrays = {name: _save_array(folder, name, each) for name, each in measurement.arrays.items()}
    tables = {name: _save_table(folder, name, each) for name, each in measurement.tables.items()}
    estimates = {name: plain(to_dict(each)) for name, each in measurement.estimates.items()}
    write_json(metrics_file, estimates, sort_keys=False)
    document = {
        "format": FORMAT,
        "net": measurement.net,
        "tap": measurement.tap,
        "seed": measurement.seed,
        "estimates": estimates,
        "tables": tables,
        "arrays": arrays,
        "facts": plain(dict(measurement.facts)),
    }
    write_json(folder / FILE, document, sort_keys=False)
    if measurement.on_saved is not None:
        measurement.on_saved()


class Results:
    """What a study wrote, read back. `root`: the checkout, for the images that it speaks of."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder, root
        self._document = _document(folder)
        self.net: str = self._document["net"]
        self.tap: str = self._document["tap"]
        self.seed: int | None = self._document["seed"]
        self.facts: dict[str, Any] = self._document["facts"]
        self.estimates: dict[str, Estimate] = {
            key: from_dict(entry) for key, entry in self._document["estimates"].items()
        }
        self.arrays: dict[str, dict[str, Any]] = self._document["arrays"]  # shape, dtype, file
        self._mapped: dict[str, np.ndarray] = {}

    @cached_property
    def tables(self) -> dict[str, Table]:
        """Every table by name."""
        return {
            name: Table(entry["columns"], entry["rows"])
            for name, entry in self._document["tables"].items()
        }

    def array(self, name: str) -> np.ndarray:
        """An array, mapped from its file. Raises UserError for a missing or damaged one."""
        if name in self._mapped:
            return self._mapped[name]
        if name not in self.arrays:
            raise UserError(f"{self.folder} has no array {name}: run the stage that writes it")
        file = self.folder / self.arrays[name]["file"]
        try:
            self._mapped[name] = np.load(file, mmap_mode="r", allow_pickle=False)
            return self._mapped[name]
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{file} is damaged ({error}): run the stage that writes it") from error

    def has(self, name: str) -> bool:
        """Whether there is such an array."""
        return name in self.arrays

    def __getitem__(self, key: str) -> Estimate:
        """One estimate by its key."""
        return self.estimates[key]

    def get(self, key: str) -> Estimate | None:
        """One estimate; None where it was not measured."""
        return self.estimates.get(key)


def read_metrics(file: Path) -> tuple[dict[str, Estimate], dict[str, str]]:
    """The estimates of a metrics file, and its values that are words, such as a net's status.

    Raises UserError naming the file and the entry at fault.
    """
    numbers: dict[str, Estimate] = {}
    words: dict[str, str] = {}
    for key, entry in read_json(file).items():
        try:
            if isinstance(entry["value"], str):
                words[key] = entry["value"]
            else:
                numbers[key] = from_dict(entry)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise UserError(f"{file}: {key}: {error}; run the stage that writes it") from error
    return numbers, words


def plain(value: Any) -> Any:
    """`value` as plain JSON: numpy scalars and arrays converted, NaN and infinity to None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        # Six digits say more than any interval here, and hide the last-bit noise of thread counts.
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise TypeError(f"{type(value).__name__} is not plain JSON: {value!r}")


def _document(folder: Path) -> dict[str, Any]:
    file = folder / FILE
    if not file.is_file():
        raise UserError(f"{file} is missing: run the stage that writes it, or `dvc repro`")
    document = read_json(file)
    if document.get("format") != FORMAT:
        raise UserError(
            f"{file} has format {document.get('format')}, this version reads {FORMAT}: run the "
            f"stage {folder.name} again"
        )
    return document


def _save_table(folder: Path, name: str, table: Table) -> dict[str, Any]:
    rows = [plain(list(row)) for row in table.rows]
    for row in rows:
        if len(row) != len(table.columns):
            raise ValueError(f"table {name}: {len(row)} values under {len(table.columns)} columns")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(rows)
    write_text(folder / "tables" / f"{name}.csv", text.getvalue())
    return {"columns": list(table.columns), "rows": rows}


def _save_array(
    folder: Path, name: str, value: np.ndarray | Iterable[np.ndarray]
) -> dict[str, Any]:
    blocks: Iterator[np.ndarray] = iter([value] if isinstance(value, np.ndarray) else value)
    file = folder / "arrays" / f"{name}.npy"
    shape: tuple[int, ...] = ()
    dtype = np.dtype(float)

    def write(stream: IO[bytes]) -> None:
        nonlocal shape, dtype
        shape, dtype = _write_blocks(stream, blocks, name)

    write_whole(file, write)
    return {"file": f"arrays/{file.name}", "shape": list(shape), "dtype": dtype.name}


def _write_blocks(
    stream: IO[bytes], blocks: Iterator[np.ndarray], name: str
) -> tuple[tuple[int, ...], np.dtype]:
    """Write blocks as one .npy; the header is written again once the length is known."""
    try:
        first = next(blocks)
    except StopIteration:
        raise ValueError(f"array {name}: the iterable gave no block") from None
    dtype, shape = first.dtype, first.shape
    _write_header(stream, dtype, shape)
    start = stream.tell()
    stream.write(np.ascontiguousarray(first).tobytes())
    rows = shape[0] if shape else 0
    more = False
    for block in blocks:
        more = True
        if block.dtype != dtype or block.shape[1:] != shape[1:]:
            raise ValueError(
                f"array {name}: a block of {block.dtype} {block.shape} "
                f"after one of {dtype} {shape}; all but the first axis must agree"
            )
        stream.write(np.ascontiguousarray(block).tobytes())
        rows += block.shape[0]
    if more:
        shape = (rows, *shape[1:])
        stream.seek(0)
        _write_header(stream, dtype, shape)
        if stream.tell() != start:
            raise RuntimeError(f"array {name}: numpy left no room in the header for {shape}")
    return shape, dtype


def _write_header(stream: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(stream, header)
