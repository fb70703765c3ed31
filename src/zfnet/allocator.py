"""Keeps freed memory with the process, so that a step on a CPU does not fault it in anew."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
TRIM_THRESHOLD, MMAP_MAX = 2**31 - 1, 0


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks instead of handing them back; True if it did.

    A step allocates the same large buffers again and again; handed back to the kernel each time,
    they are zeroed and mapped page by page, a sixth or more of the step. A torch that is not yet
    imported is also asked to use huge pages. Processes started from this one do the same: they find
    it in their environment, unless that says otherwise. With another C library nothing happens.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if not sys.platform.startswith("linux"):
        return False
    os.environ.setdefault("MALLOC_MMAP_MAX_", str(MMAP_MAX))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(TRIM_THRESHOLD))
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, MMAP_MAX) and mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD))
