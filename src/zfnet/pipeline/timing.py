"""What a stage took, and on what machine: the only file with facts of the machine."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from zfnet.files import write_json
from zfnet.machine import cores

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "pyarrow", "zfnet")


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


def host() -> dict[str, Any]:
    """Return what this machine is: processor, cores, memory, GPU, versions. Imports no torch."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    torch = sys.modules.get("torch")
    gpus: list[str] = []
    if torch is not None and torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": gpus,
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
