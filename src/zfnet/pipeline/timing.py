"""What a stage took, and on what machine: the only file with facts of the machine."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zfnet.files import write_json
from zfnet.machine import host


def write_timing(path: Path, stage: str, started: float, extra: Mapping[str, Any] | None) -> None:
    """Write how long a stage took and on what.

    `started`: time.time() at the start, seconds. Peak memory is of this process and of its largest
    child, MiB.
    """
    facts = {
        "stage": stage,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 2),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "peak_memory_child_mib": round(
            resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        ),
        "host": host(),
        **(extra or {}),
    }
    write_json(path, facts, sort_keys=False)
