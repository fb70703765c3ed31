"""One training as plain values, so that it can be handed to another process."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zfnet.files import read_json, write_json
from zfnet.work import WAITS, WorkFolder


@dataclass(frozen=True)
class Job:
    """One training: its sections of the configuration, and where it reads and works."""

    net: str
    model: dict[str, Any]
    training: dict[str, Any]
    seed: int
    device: str  # auto | cpu | cuda
    prepared: str
    work: str
    key: str = ""  # of all that it depends on: names its work folder
    snapshots: bool = False  # keep the weights of every epoch
    label: str = ""  # begins the lines that it prints, where others print theirs in between

    @property
    def adopted(self) -> bool:
        """Whether the net comes with weights from elsewhere."""
        return bool(self.model["weights"]) or self.foreign

    @property
    def foreign(self) -> bool:
        """Whether the architecture is not one of ours."""
        return str(self.model["arch"]).startswith("torchvision/")

    @property
    def folder(self) -> WorkFolder:
        """Where it works."""
        return WorkFolder(Path(self.work), self.net, self.key)

    @property
    def done(self) -> Path:
        """Where it waits when it is finished: final/, epochs/, metrics.json, timing.json."""
        return Path(self.work) / f"{self.net}-{self.key}{WAITS}"

    @property
    def timing(self) -> dict[str, Any] | None:
        """What a finished training said of its time; None if it has yet to run."""
        return read_json(self.done / "timing.json", missing_ok=True) or None


def write_jobs(file: Path, jobs: Sequence[Job]) -> None:
    """Write jobs for another process; a section's order of keys stays, as it does in net.json."""
    write_json(file, {"jobs": [dataclasses.asdict(job) for job in jobs]}, sort_keys=False)


def read_jobs(file: Path) -> list[Job]:
    """Read what `write_jobs` wrote."""
    return [Job(**each) for each in read_json(file)["jobs"]]
