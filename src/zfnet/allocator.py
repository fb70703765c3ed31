"""What a CPU process asks of its C libraries: keep freed memory, and let waiting threads sleep."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def sleep_while_waiting() -> None:
    """Let OpenMP's threads sleep at barriers; has an effect before torch is imported.

    By default they spin, which makes a step several times slower as soon as another process, or
    another machine on the same host, takes a part of one core.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks instead of handing them back; True if it did.

    A step allocates the same large buffers again and again; handed back to the kernel each time,
    they are zeroed and mapped page by page, a sixth or more of the step. A torch that is not yet
    imported is also asked to use huge pages. With another C library nothing happens.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
