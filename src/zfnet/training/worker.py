"""The one entry of every process that a training starts: `python -m zfnet.training.worker`.

    rank JOB ROWS      one of the processes of a distributed training, started by torchrun
    share JOBS PARENT  does what is left of several trainings, and ends with the process PARENT

Nothing is decided here that a net depends on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from zfnet.errors import UserError
from zfnet.files import write_json
from zfnet.machine import TERMINATED, end_with
from zfnet.training.job import read_jobs
from zfnet.training.pool import finish_free
from zfnet.training.processes import RANK, stopped_by_sigterm
from zfnet.training.run import train


def rank(file: Path, rows: Path) -> None:
    """Train the job in `file`; the first rank appends each epoch's row to `rows`."""

    def append(row: dict[str, Any]) -> None:
        with rows.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")

    (job,) = read_jobs(file)
    try:
        with stopped_by_sigterm():
            timing = train(job, append)
    except UserError as error:
        print(f"zfnet: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    if timing is not None:
        write_json(file.with_name("timing.json"), timing, sort_keys=False)


def share(file: Path, parent: int) -> None:
    """Do those of the jobs in `file` that are neither finished nor under way elsewhere."""
    end_with(parent)
    try:
        with stopped_by_sigterm():
            finish_free(read_jobs(file))
    except KeyboardInterrupt:  # whoever started this process says so
        raise SystemExit(TERMINATED) from None


if __name__ == "__main__":
    task, first, second = sys.argv[1:]
    if task == RANK:
        rank(Path(first), Path(second))
    else:
        share(Path(first), int(second))
