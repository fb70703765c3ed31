"""What a study hands back, and the one writer and reader of it. Needs no torch."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from zfnet.errors import UserError

FORMAT = 1
SIGNIFICANT_DIGITS = 6
WEBP_QUALITY = 88


@dataclass(frozen=True)
class Estimate:
    """One number with its interval.

    `low`, `high`: ends of the 95 % interval, None where there is none (`note` then says why).
    `n`: how many units of inference (images, maps, seeds) stand behind it.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of plain values under named columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | float | bool | None]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture that is drawn only when it is saved.

    `draw()` returns a `PIL.Image.Image` or a matplotlib `Figure`. `format` is "png" (lossless; the
    choice for plots) or "webp" (for large grids of photographs; lossy).
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[], Any]
    format: Literal["png", "webp"] = "png"


@dataclass(frozen=True)
class Result:
    """Everything that one study found.

    `paper`: where the paper has it ("Fig. 2"). `text`: what was done and which choices were made.
    `net`, `tap`: the net's name and the module or tap it was read at. `arrays`: an array, or an
    iterable of blocks that are joined along the first axis while they are written, so that the
    whole never needs to fit in memory. `extra`: plain JSON for the report. `on_saved`: called when
    all of it is on disk, so that what was kept on the way can go.
    """

    study: str
    title: str
    paper: str
    text: str
    net: str
    tap: str
    seed: int | None = None
    metrics: dict[str, Estimate] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    arrays: dict[str, np.ndarray | Iterable[np.ndarray]] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    on_saved: Callable[[], None] | None = None


def save_result(result: Result, results_dir: str | Path, metrics_file: str | Path) -> None:
    """Write `result` under `results_dir` and its numbers to `metrics_file`.

    `results_dir` receives result.json (written last: its presence means a whole result),
    figures/<name>.png|webp, tables/<name>.csv and arrays/<name>.npy. The bytes depend on nothing
    but the result: no dates, no wall times, no host.
    """
    folder = Path(results_dir)
    for part in ("figures", "tables", "arrays"):
        shutil.rmtree(folder / part, ignore_errors=True)
    (folder / "result.json").unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    _check_names(result)

    arrays = {name: _save_array(folder, name, value) for name, value in result.arrays.items()}
    tables = {name: _save_table(folder, name, table) for name, table in result.tables.items()}
    figures = [_save_figure(folder, figure) for figure in result.figures]
    metrics = {name: _measured_dict(value) for name, value in result.metrics.items()}
    document = {
        "format": FORMAT,
        "study": result.study,
        "title": result.title,
        "paper": result.paper,
        "text": result.text,
        "net": result.net,
        "tap": result.tap,
        "seed": result.seed,
        "metrics": metrics,
        "tables": tables,
        "arrays": arrays,
        "figures": figures,
        "extra": plain(result.extra),
    }
    flat = {
        name: {key: value[key] for key in ("value", "low", "high", "n", "unit")}
        for name, value in metrics.items()
    }
    _write_json(Path(metrics_file), flat)
    _write_json(folder / "result.json", document)
    if result.on_saved is not None:
        result.on_saved()


def load_result(results_dir: str | Path) -> dict[str, Any]:
    """Read what `save_result` wrote as one plain dict.

    Each entry of "tables", "arrays" and "figures" keeps its "file" (relative to the folder) and
    gains "path" (a `Path`). Raises UserError if the folder holds no result of this format.
    """
    folder = Path(results_dir)
    file = folder / "result.json"
    if not file.is_file():
        raise UserError(f"{file} is missing: run the stage that writes it, or `dvc repro`.")
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if document.get("format") != FORMAT:
        raise UserError(
            f"{file} has format {document.get('format')}, this version reads {FORMAT}: "
            f"run the stage {document.get('study', '')} again."
        )
    entries = [*document["tables"].values(), *document["arrays"].values(), *document["figures"]]
    for entry in entries:
        entry["path"] = folder / entry["file"]
    return document


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
        return _rounded(value)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise TypeError(f"{type(value).__name__} is not plain JSON: {value!r}")


def _rounded(value: float) -> float | None:
    # Six digits say more than any interval here, and hide the last-bit noise of thread counts.
    if not math.isfinite(value):
        return None
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _measured_dict(measured: Estimate) -> dict[str, Any]:
    names = ("value", "low", "high", "n", "unit", "note")
    return {name: plain(getattr(measured, name)) for name in names}


def _check_names(result: Result) -> None:
    names = [figure.name for figure in result.figures]
    if len(set(names)) < len(names):
        raise ValueError(f"two figures of {result.study} share a name: {names}")
    for name in [*names, *result.tables, *result.arrays]:
        if not name or set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789_-."):
            raise ValueError(f"{name!r} of {result.study} is no file name (a-z, 0-9, _, -, .)")


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _save_table(folder: Path, name: str, table: Table) -> dict[str, Any]:
    rows = [plain(list(row)) for row in table.rows]
    for row in rows:
        if len(row) != len(table.columns):
            raise ValueError(f"table {name}: {len(row)} values under {len(table.columns)} columns")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(rows)
    file = folder / "tables" / f"{name}.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text.getvalue(), encoding="utf-8")
    return {
        "file": f"tables/{file.name}",
        "caption": table.caption,
        "columns": list(table.columns),
        "rows": rows,
    }


def _save_array(
    folder: Path, name: str, value: np.ndarray | Iterable[np.ndarray]
) -> dict[str, Any]:
    file = folder / "arrays" / f"{name}.npy"
    file.parent.mkdir(exist_ok=True)
    blocks: Iterator[np.ndarray] = iter([value] if isinstance(value, np.ndarray) else value)
    with file.open("wb") as stream:
        shape, dtype = _write_blocks(stream, blocks, name)
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


def _save_figure(folder: Path, figure: Figure) -> dict[str, Any]:
    image = to_image(figure.draw())
    file = folder / "figures" / f"{figure.name}.{figure.format}"
    file.parent.mkdir(exist_ok=True)
    if figure.format == "webp":
        image.save(file, "WEBP", quality=WEBP_QUALITY, method=4)
    else:
        image.save(file, "PNG", optimize=True)
    return {
        "name": figure.name,
        "file": f"figures/{file.name}",
        "caption": figure.caption,
        "alt": figure.alt,
        "width": image.width,
        "height": image.height,
    }


def to_image(drawn: Any) -> Any:
    """A PIL image without metadata from whatever `draw` returned."""
    from PIL import Image

    if isinstance(drawn, Image.Image):
        return Image.fromarray(np.asarray(drawn.convert("RGB")))
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
