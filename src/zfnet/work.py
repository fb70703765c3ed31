"""Where long work lives until it is finished: a folder named after all that it depends on."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from zfnet.errors import UserError

KEY_DIGITS = 12
KEYS = "[0-9a-f]" * KEY_DIGITS  # as a glob
LOCK = "lock"
WAITS = "-done"  # ends the name of a finished training that waits to be published


class TakenError(UserError):
    """Another process works in this folder."""


def key_of(facts: Mapping[str, Any]) -> str:
    """Return a short key of `facts` (plain JSON types): equal facts, equal key."""
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


class WorkFolder:
    """`<root>/<net>-<key>/`: checkpoints, snapshots and history of one unfinished training, or what
    another long stage has finished of its work; `net` is then that stage's name.

    A change of anything in the key gives another folder, so that a changed model never goes on
    from the weights of the one before it, and nothing is lost either.
    """

    def __init__(self, root: Path, net: str, key: str) -> None:
        self.root = root
        self.net = net
        self.path = root / f"{net}-{key}"
        self.checkpoints = self.path / "checkpoints"
        self.results = self.path / "results"  # what is published, in the end
        self.final = self.results / "final"
        self.snapshots = self.results / "epochs"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process. Raises TakenError if another process has it."""
        lock = self._lock()
        try:
            yield
        finally:
            lock.close()

    def others(self) -> list[Path]:
        """Return the folders of the same net with another key, those in use left out."""
        folders = sorted(self.root.glob(f"{self.net}-{KEYS}"))
        return [folder for folder in folders if folder != self.path and not _in_use(folder)]

    def last_checkpoint(self) -> Path | None:
        """Return the newest full checkpoint, or None."""
        return max(self.checkpoints.glob("epoch_*.ckpt"), key=_epoch, default=None)

    def checkpoint(self, epoch: int) -> Path:
        """Return the path of the full checkpoint written after `epoch` (from 1)."""
        return self.checkpoints / f"epoch_{epoch:03d}.ckpt"

    def snapshot(self, epoch: int) -> Path:
        """Return the path of the weights after `epoch` (from 1)."""
        return self.snapshots / f"epoch_{epoch:03d}.pt"

    def prune(self, keep: int = 2) -> None:
        """Delete all full checkpoints but the newest `keep`."""
        for path in sorted(self.checkpoints.glob("epoch_*.ckpt"), key=_epoch)[:-keep]:
            path.unlink()

    def remove(self) -> None:
        """Delete the folder, after its results were published; `root` stays, others may use it.

        The lock goes last: until then nobody else begins here, on what is half deleted.
        """
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != LOCK:
                entry.unlink()
        (self.path / LOCK).unlink(missing_ok=True)
        with suppress(OSError):  # another process has just begun anew
            self.path.rmdir()

    def _lock(self) -> IO[str]:
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            path = self.path / LOCK
            try:
                file = path.open("a", encoding="utf-8")
            except FileNotFoundError:  # removed in between by the process that had it
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.close()
                raise TakenError(
                    f"{self.path}: another process works here on the very same; wait for it, or "
                    "stop it"
                ) from error
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                    return file
            file.close()  # locked a file that its last holder had already removed


def name_others(works: Sequence[WorkFolder]) -> None:
    """Say on stderr, a line each, which work of the same name but other settings is kept.

    It is unfinished, or finished and not yet published. works: those of one name that are wanted.
    """
    first, ours = works[0], {work.path.name for work in works}
    for folder in (*first.others(), *sorted(first.root.glob(f"{first.net}-{KEYS}{WAITS}"))):
        if folder.name.removesuffix(WAITS) in ours:
            continue
        epoch = max(map(_epoch, folder.glob("checkpoints/epoch_*.ckpt")), default=0)
        state = f"stopped after epoch {epoch}" if epoch else "unfinished"
        state = "finished" if folder.name.endswith(WAITS) else state
        print(
            f"kept: {folder}, {first.net} with other settings, {state}; delete it when no longer "
            "wanted (`zfnet doctor` says how large it is)",
            file=sys.stderr,
        )


def _epoch(checkpoint: Path) -> int:
    return int(checkpoint.stem.removeprefix("epoch_"))


def _in_use(folder: Path) -> bool:
    try:
        # "r+" makes no file in a folder that its owner may be removing at this moment
        with (folder / LOCK).open("r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False
