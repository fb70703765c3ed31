"""What this machine gives a process: its cores, and the device to compute on. Imports no torch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from zfnet.errors import UserError

if TYPE_CHECKING:
    import torch


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
