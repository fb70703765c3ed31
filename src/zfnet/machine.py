"""What this machine gives a process: cores, a device to compute on, an end. Imports no torch."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfnet.errors import UserError

if TYPE_CHECKING:
    import torch


PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "pyarrow", "zfnet")
LOOK_SECONDS = 1.0
TERMINATED = 143  # 128 + SIGTERM, the shell's custom


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pick_device(name: str) -> torch.device:
    """Resolve the config's `device`: "auto" is the GPU where there is one.

    Raises UserError if a GPU is asked for and none is there.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: no usable GPU here; use device=auto or device=cpu")
    return torch.device(name)


def end_with(parent: int, stop: Any = None) -> None:
    """Have this process leave, at any moment, when its parent, of that number, is gone.

    stop: an event of multiprocessing; it leaves when that is set, too.
    """

    def watch() -> None:
        while os.getppid() == parent and not (stop and stop.is_set()):
            time.sleep(LOOK_SECONDS)
        os._exit(TERMINATED)

    threading.Thread(target=watch, daemon=True).start()


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
