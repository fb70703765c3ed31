from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from zfnet.errors import UserError
from zfnet.files import publish_folder, write_json, write_text, write_whole
from zfnet.work import WAITS, TakenError, WorkFolder, key_of, name_others

FACTS = {"model": {"width": 0.25}, "seed": 0, "data": "abc"}


def test_the_key_follows_the_facts_and_not_their_order() -> None:
    assert key_of(FACTS) == key_of(dict(reversed(FACTS.items())))
    assert key_of(FACTS) != key_of(FACTS | {"seed": 1})
    assert key_of(FACTS) != key_of(FACTS | {"model": {"width": 0.5}})


def test_one_folder_serves_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (WorkFolder(tmp_path, "zfnet", key_of(FACTS)) for _ in range(2))
    with first.locked():
        with (
            pytest.raises(UserError, match="works here on the very same"),
            second.locked(),
        ):
            pass
        other_key = WorkFolder(tmp_path, "zfnet", key_of({}))
        assert other_key.others() == []  # in use: not an abandoned one
    removed: list[str] = []

    def meanwhile(path: Path) -> None:
        with pytest.raises(TakenError), first.locked():  # not before all is gone
            pass
        removed.append(path.name)
        rmtree(path)

    rmtree = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", meanwhile)
    write_text(second.checkpoint(1), "weights")
    with second.locked():
        second.remove()
    assert removed == ["checkpoints"]
    assert not second.path.exists()
    assert tmp_path.is_dir()  # another training may be about to make its folder there
    with first.locked():
        assert first.path.is_dir()


def test_trainings_with_another_key_are_named_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = WorkFolder(tmp_path, "zfnet", key_of({"seed": 9}))
    other_net = WorkFolder(tmp_path, "alexnet", key_of({"seed": 9}))
    for work in (old, other_net):
        write_text(work.checkpoint(7), "weights")
    now = WorkFolder(tmp_path, "zfnet", key_of(FACTS))
    done, ours = tmp_path / f"{old.path.name}{WAITS}", tmp_path / f"{now.path.name}{WAITS}"
    for folder in (done, ours):
        folder.mkdir()
    with now.locked():
        name_others([now])
        now.remove()
    message = capsys.readouterr().err
    assert str(old.path) in message
    assert "after epoch 7" in message
    assert f"{done}, zfnet with other settings, finished" in message
    assert str(ours) not in message
    assert "alexnet" not in message
    assert old.checkpoint(7).read_text() == "weights"


def test_looking_at_a_folder_that_is_being_removed_leaves_nothing_in_it(tmp_path: Path) -> None:
    going = WorkFolder(tmp_path, "zfnet", key_of({"seed": 9}))
    going.path.mkdir(parents=True)  # its lock is already deleted
    now = WorkFolder(tmp_path, "zfnet", key_of(FACTS))
    assert now.others() == [going.path]
    assert not any(going.path.iterdir())


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path, "zfnet", "0" * 12)
    for epoch in (1, 2, 9, 10, 11):
        write_text(work.checkpoint(epoch), str(epoch))
    work.prune()
    assert [p.name for p in sorted(work.checkpoints.iterdir())] == [
        "epoch_010.ckpt",
        "epoch_011.ckpt",
    ]
    last = work.last_checkpoint()
    assert last is not None
    assert last.read_text() == "11"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "facts.json"
    write_json(path, {"b": 1, "a": [None, 2.5]})
    before = path.read_bytes()

    def fail(file: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    assert path.read_bytes() == before


def test_publishing_replaces_a_folder_in_one_step_and_links_its_files(tmp_path: Path) -> None:
    built, target = tmp_path / "work" / "final", tmp_path / "models" / "final"
    write_text(built / "weights.pt", "new")
    write_text(target / "weights.pt", "old")
    write_text(target / "stale.txt", "old")
    write_text(target.with_name(".final.partial") / "leftover", "of a stop")
    publish_folder(built, target)
    assert [p.name for p in target.parent.iterdir()] == ["final"]
    assert {p.name: p.read_text() for p in target.iterdir()} == {"weights.pt": "new"}
    assert (target / "weights.pt").stat().st_ino == (built / "weights.pt").stat().st_ino


def test_publishing_copies_where_links_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr("os.link", refuse)
    write_text(tmp_path / "built" / "weights.pt", "new")
    publish_folder(tmp_path / "built", tmp_path / "out" / "final")
    assert (tmp_path / "out" / "final" / "weights.pt").read_text() == "new"
