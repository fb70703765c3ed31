"""Freed memory stays with the process, and with the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# prints how many blocks malloc has mapped by themselves while a large one is held
CHILD = (
    "import ctypes\n"
    "libc = ctypes.CDLL(None)\n"
    "class Info(ctypes.Structure):\n"
    "    _fields_ = [(n, ctypes.c_size_t) for n in 'arena ordblks smblks hblks'.split()]\n"
    "    _fields_ += [(f'rest{i}', ctypes.c_size_t) for i in range(6)]\n"
    "libc.mallinfo2.restype, libc.malloc.restype = Info, ctypes.c_void_p\n"
    "libc.malloc.argtypes = [ctypes.c_size_t]\n"
    "before = libc.mallinfo2().hblks\n"
    "assert libc.malloc(2**26)\n"
    "print(libc.mallinfo2().hblks - before)\n"
)
PARENT = (
    "import subprocess, sys\n"
    "from zfnet.allocator import keep_freed_memory\n"
    "if {asked}: assert keep_freed_memory()\n"
    "subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)\n"
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
@pytest.mark.parametrize(("asked", "mapped"), [(False, "1"), (True, "0")])
def test_started_processes_keep_freed_memory_too(asked: bool, mapped: str) -> None:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    command = [sys.executable, "-c", PARENT.format(asked=asked), CHILD]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=plain)
    assert done.stdout.strip() == mapped
