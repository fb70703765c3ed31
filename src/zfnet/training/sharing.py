"""How trainings that run at the same time share one machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zfnet.machine import cores

if TYPE_CHECKING:
    import torch

AT_MOST = 4  # trainings at the same time; each holds about 1.5 GB at the sizes meant for a CPU
LOOK_SECONDS = 1.0
TERMINATED = 143  # 128 + SIGTERM, the shell's custom


def at_once(training: Mapping[str, Any], device: torch.device) -> int:
    """How many trainings by this section fit beside each other on this machine's cores."""
    if device.type != "cpu" or not training["threads"]:
        return 1
    return max(1, min(AT_MOST, cores() // training["threads"]))


def use_threads(device: torch.device, threads: int | None) -> None:
    """Let this process compute on `threads` threads of a CPU, or on all cores."""
    import torch

    if device.type == "cpu" and threads:
        torch.set_num_threads(min(threads, cores()))


def end_with(parent: int) -> None:
    """Have this process leave when its parent, of that number, is gone.

    It leaves at any moment, so whatever it writes to disk must be whole at every moment.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os._exit(TERMINATED)

    threading.Thread(target=watch, daemon=True).start()
