"""Several trainings at the same time on one CPU, each on a few threads of its own.

Two trainings of a small net on one thread each get further together than one after the other on two
(benchmarks/beside.py prints by how much). DVC runs one stage after another; so a train stage that
leaves cores idle (training.threads) lets helper processes train its other seeds and the nets of the
stages to come. What they finish waits in the work folder, named after all that it depends on, and
is published by its own stage. A training's result is the same with and without others beside it.

A helper takes from the list of trainings, in order, whatever is neither finished nor locked by
another process; it ends with the process that started it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from zfnet.training.launch import Job, stopped_by_sigterm
from zfnet.training.sharing import TERMINATED, end_with


def published(timing: Path, final: Path) -> set[str]:
    """Keys of the trainings whose net stands in the folder `final`, by its stage's timing file."""
    if not (timing.is_file() and final.is_dir()):
        return set()
    try:
        facts = json.loads(timing.read_text(encoding="utf-8"))
    except ValueError:
        return set()
    return {each["key"] for each in facts.get("seeds", [facts]) if "key" in each}


@contextmanager
def helpers(jobs: Sequence[Job], count: int) -> Iterator[None]:
    """Have `jobs` done by this process and as many more as make `count`; wait for those at the end.

    With fewer than two jobs nobody is started. An error or a signal here stops the helpers, which
    lose the epoch under way. What a helper could not do is told by it, and undone.
    """
    wanted = min(count, len(jobs)) - 1
    if wanted < 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="zfnet-beside-") as folder:
        file = Path(folder) / "jobs.json"
        file.write_text(json.dumps([dataclasses.asdict(job) for job in jobs]), encoding="utf-8")
        command = [sys.executable, "-m", __name__, str(file), str(os.getpid())]
        running = [subprocess.Popen(command) for _ in range(wanted)]
        try:
            yield
        except BaseException:
            for process in running:
                process.send_signal(signal.SIGTERM)
            raise
        finally:
            for process in running:
                process.wait()


def main(arguments: list[str]) -> None:
    """Do what is left of the jobs in the file `arguments[0]`, for the process `arguments[1]`."""
    from zfnet.training.stage import finish_free

    jobs = [Job(**each) for each in json.loads(Path(arguments[0]).read_text(encoding="utf-8"))]
    end_with(int(arguments[1]))
    try:
        with stopped_by_sigterm():
            finish_free(jobs, None, None)
    except KeyboardInterrupt:  # whoever started this process says so
        raise SystemExit(TERMINATED) from None


if __name__ == "__main__":
    main(sys.argv[1:])
