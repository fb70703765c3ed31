"""What this machine gives a process: cores, a device to compute on, an end. Imports no torch."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from zfnet.errors import UserError

if TYPE_CHECKING:
    import torch


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


def end_with(parent: int) -> None:
    """Have this process leave, at any moment, when its parent, of that number, is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os._exit(TERMINATED)

    threading.Thread(target=watch, daemon=True).start()
