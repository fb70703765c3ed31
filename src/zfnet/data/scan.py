"""What the source files were when they were prepared, and whether they have changed since."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from zfnet.data.sample import Source
from zfnet.data.sources.files import count, first_few, printable, walk_files
from zfnet.errors import UserError
from zfnet.files import write_whole

FileFacts = tuple[str, int, int]  # path below the source's folder, bytes, mtime in ns


def file_facts(path: Path, folder: Path) -> list[FileFacts]:
    """Return [(path below folder, bytes, mtime in ns)], [] if the file has gone."""
    try:
        facts = path.stat()
    except OSError:
        return []
    return [(printable(os.path.relpath(path, folder)), facts.st_size, facts.st_mtime_ns)]


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


def write_scan(path: Path, source: Source, files: Sequence[FileFacts]) -> None:
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
    write_whole(path, lambda file: pq.write_table(table, file, compression="zstd"))


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
            for path, size, time in file_facts(folder / below / file, folder):
                now[path] = (size, time)
    changed = [path for path in known if path in now and now[path] != known[path]]
    missing = [path for path in known if path not in now]
    unread = set(watched) - {_parent(path) for path in known}
    new = [path for path in now if path not in known and _parent(path) not in unread]
    return ScanChanges(folder, len(known), changed, missing, new)


def _parent(path: str) -> str:
    """Return the folder of a path below the source's folder, "." for that folder itself."""
    return path.rpartition("/")[0] or "."
