"""What `zfnet doctor` says of trainings and source files."""

from __future__ import annotations

from pathlib import Path

import pytest

from zfnet import doctor
from zfnet.work import WorkFolder

KEYS = ("0123456789ab", "ba9876543210")


@pytest.fixture(autouse=True)
def no_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)


def test_a_training_in_use_is_not_offered_for_deletion(tmp_path: Path) -> None:
    assert doctor._work(tmp_path) == []
    running, stopped = (WorkFolder(tmp_path / "work", "zfnet", key) for key in KEYS)
    (tmp_path / "work" / "notes-mine").mkdir(parents=True)
    with stopped.locked():
        (stopped.path / "some.ckpt").write_bytes(bytes(3 << 20))
    with running.locked():
        first, second = doctor._work(tmp_path)
    assert first[:2] == (doctor.GOOD, "under way")
    assert str(running.path) in first[2]
    assert "delete" not in first[2]
    assert second[:2] == (doctor.NOTE, "unfinished")
    assert f"{stopped.path} (3 MiB)" in second[2]
    assert "delete" in second[2]


def test_files_may_vanish_while_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = WorkFolder(tmp_path / "work", "zfnet", KEYS[0])
    with work.locked():
        pass
    real = Path.stat

    def gone(self: Path, *, follow_symlinks: bool = True) -> object:
        if self.name == "lock":
            raise FileNotFoundError(self)
        return real(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", gone)
    (found,) = doctor._work(tmp_path)
    assert "(0 MiB)" in found[2]

    def vanish(folder: Path) -> int:
        work.remove()
        return 0

    monkeypatch.undo()
    monkeypatch.setattr(doctor, "_size", vanish)
    assert doctor._work(tmp_path) == []


def _scan(root: Path, folder: str, files: list[tuple[str, int, int]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"path": pa.string(), "size": pa.int64(), "mtime_ns": pa.int64()}
    columns = list(zip(*files, strict=True)) or [(), (), ()]
    schema = pa.schema(list(types.items()), {"zfnet.folder": folder, "zfnet.watched": "."})
    (root / "data").mkdir(exist_ok=True)
    table = pa.table([list(column) for column in columns], schema=schema)
    pq.write_table(table, root / "data" / "scan.parquet")


def test_source_files_are_spoken_of_only_where_there_are_any(tmp_path: Path) -> None:
    assert doctor._scan(tmp_path) == []
    _scan(tmp_path, "", [])
    assert doctor._scan(tmp_path) == [
        (doctor.GOOD, "source files", "rendered source, no files to compare")
    ]
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(b"x")
    facts = (photos / "a.png").stat()
    _scan(tmp_path, str(photos), [("a.png", facts.st_size, facts.st_mtime_ns)])
    ((mark, _, text),) = doctor._scan(tmp_path)
    assert (mark, text) == (doctor.GOOD, "1 source file as prepared")
    (photos / "a.png").unlink()
    ((mark, _, text),) = doctor._scan(tmp_path)
    assert mark == doctor.NOTE
    assert "missing" in text
    assert "dvc repro" in text


def test_a_broken_scan_is_a_finding_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "scan.parquet").write_bytes(b"no parquet")
    ((mark, _, text),) = doctor._scan(tmp_path)
    assert mark == doctor.BAD
    assert "scan.parquet cannot be read" in text


def test_the_photos_of_targets_are_watched_too(tmp_path: Path) -> None:
    scans = tmp_path / "data" / "target_scans"
    scans.mkdir(parents=True)
    photos = tmp_path / "photos"
    photos.mkdir()
    _scan(tmp_path, str(photos), [("gone.png", 1, 1)])
    (tmp_path / "data" / "scan.parquet").rename(scans / "caltech101.parquet")
    ((mark, _, text),) = doctor._scan(tmp_path)
    assert mark == doctor.NOTE
    assert text.startswith("of caltech101: ")
    assert text.endswith("dvc repro -f targets`")
