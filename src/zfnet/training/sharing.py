"""How trainings that run at the same time share one machine."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zfnet.errors import UserError
from zfnet.machine import cores

if TYPE_CHECKING:
    import torch

AT_MOST = 4  # trainings at the same time; each holds about 1.5 GB at the sizes meant for a CPU
LOOK_SECONDS = 1.0
TERMINATED = 143  # 128 + SIGTERM, the shell's custom


def at_once(training: Mapping[str, Any], device: torch.device) -> int:
    """How many trainings by this section fit beside each other on this machine's cores.

    The environment's ZFNET_AT_ONCE lowers or raises the largest number, AT_MOST; 1: one at a time.
    It is no key of the config, since it changes no net. Raises UserError if it is no number.
    """
    most = os.environ.get("ZFNET_AT_ONCE") or str(AT_MOST)
    if not most.isdecimal() or not int(most):
        raise UserError(
            f"ZFNET_AT_ONCE={most}: give a number of trainings at the same time, from 1"
        )
    if device.type != "cpu" or not training["threads"]:
        return 1
    return max(1, min(int(most), cores() // training["threads"]))


def use_threads(device: torch.device, threads: int | None) -> None:
    """Let this process compute on `threads` threads of a CPU; None: on as many as it began with."""
    import torch

    began_with = _threads_at_first()
    if device.type == "cpu":
        torch.set_num_threads(min(threads, cores()) if threads else began_with)


@functools.cache
def _threads_at_first() -> int:
    import torch

    return torch.get_num_threads()


def end_with(parent: int) -> None:
    """Have this process leave when its parent, of that number, is gone.

    It leaves at any moment, so whatever it writes to disk must be whole at every moment.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os._exit(TERMINATED)

    threading.Thread(target=watch, daemon=True).start()
