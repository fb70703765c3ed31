"""What `zfnet doctor` says of trainings and source files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from zfnet import doctor
from zfnet.data.scan import file_facts, write_scan
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


@pytest.mark.parametrize("stage", ["prepare", "targets"])
def test_source_files_are_compared_where_there_are_any(tmp_path: Path, stage: str) -> None:
    scan = tmp_path / "data" / ("scan.parquet" if stage == "prepare" else "target_scans/c.parquet")
    scan.parent.mkdir(parents=True)
    assert doctor._scan(tmp_path) == []
    write_scan(scan, SimpleNamespace(), [])
    ((mark, _, text),) = doctor._scan(tmp_path)
    assert (mark, text.endswith("no files to compare")) == (doctor.GOOD, True)
    photo = tmp_path / "photos" / "a.png"
    photo.parent.mkdir()
    photo.touch()
    source = SimpleNamespace(folder=photo.parent, watched=["."])
    write_scan(scan, source, file_facts(photo, photo.parent))
    ((mark, _, text),) = doctor._scan(tmp_path)
    assert (mark, text.endswith("1 source file as prepared")) == (doctor.GOOD, True)
    photo.unlink()
    ((mark, _, text),) = doctor._scan(tmp_path)
    assert mark == doctor.NOTE
    assert text.startswith("of c: ") == (stage == "targets")
    assert text.endswith(f"1 missing (a.png); run `dvc repro -f {stage}`")
    scan.write_bytes(b"no parquet")  # a finding and no crash
    ((mark, _, text),) = doctor._scan(tmp_path)
    assert (mark, "cannot be read" in text) == (doctor.BAD, True)
