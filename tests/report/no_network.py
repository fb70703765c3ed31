"""Runs a command and lists every attempt that it or a child of it made to call another machine.

Two watches:

- the kernel: the command runs in a network namespace of its own, which has this machine's loopback
  and no way out. The namespace's own counters start at 0 and count what any process tried, in
  whatever language: a destination without a route (`OutNoRoutes`), a look-up of a name by UDP
  (`OutDatagrams`; nothing here speaks UDP with itself). That is the proof, and needs the right to
  make such a namespace (root, or unprivileged user namespaces).
- Python's audit hook, in every Python process: says who was called and from which line. It works
  where no namespace can be made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

LOCAL = ("127.", "::1", "localhost")
HOOK = f"""
import os, sys, traceback
LOCAL = {LOCAL!r}
def watch(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
        target = address[0] if isinstance(address, tuple) else ""  # else a file's name
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        target = arguments[0]
    elif event == "socket.sendto":
        target = arguments[1][0] if isinstance(arguments[1], tuple) else ""
    else:
        return
    target = target.decode() if isinstance(target, bytes) else str(target or "")
    if target and target not in ("0.0.0.0", "::") and not target.startswith(LOCAL):
        where = " < ".join(f"{{f.filename}}:{{f.lineno}}" for f in traceback.extract_stack()[-5:-1])
        with open(os.environ["WATCHED_CALLS"], "a") as file:
            file.write(f"{{event}} {{target}} by {{' '.join(sys.argv)[:80]}} at {{where}}\\n")
sys.addaudithook(watch)
"""
# Brings the loopback up, runs the command, then writes the namespace's counters.
INSIDE = """
import fcntl, os, socket, struct, subprocess, sys
with socket.socket() as s:
    name = b"lo".ljust(16, b"\\0")
    flags = struct.unpack("16sh", fcntl.ioctl(s, 0x8913, name + b"\\0" * 2))[1]
    fcntl.ioctl(s, 0x8914, name + struct.pack("h", flags | 1))
def counters():
    found = {}
    lines = [line.split() for line in open("/proc/net/snmp")]
    for names, values in zip(lines[::2], lines[1::2]):
        found.update({names[0] + n: int(v) for n, v in zip(names[1:], values[1:])})
    found.update({n: int(v) for n, v in (line.split() for line in open("/proc/net/snmp6"))})
    return found
WATCHED = ("Ip:OutNoRoutes", "Ip6OutNoRoutes", "Udp:OutDatagrams", "Udp6OutDatagrams")
before = counters()
code = subprocess.run(sys.argv[1:]).returncode
after = counters()
with open(os.environ["WATCHED_CALLS"], "a") as file:
    for name in WATCHED:
        if after[name] > before[name]:
            file.write(f"kernel {name} {after[name] - before[name]}\\n")
sys.exit(code)
"""


@dataclass(frozen=True)
class Watched:
    """A command that ended: its exit status, what it printed, and its calls to other machines."""

    returncode: int
    output: str
    calls: list[str]


def can_isolate() -> bool:
    """Whether a network namespace can be made here."""
    program = shutil.which("unshare")
    command = [program or "", "--user", "--map-root-user", "--net", "true"]
    return bool(program) and subprocess.run(command, capture_output=True).returncode == 0


def run_watched(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> Watched:
    """Run `command`, by the kernel's watch where it is possible; see the module.

    env: in place of this process's environment.
    """
    env = os.environ if env is None else env
    with TemporaryDirectory() as folder:
        log = Path(folder) / "calls"
        log.touch()
        # Imported by every Python at its start.
        (Path(folder) / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
        path = os.pathsep.join(filter(None, [folder, env.get("PYTHONPATH")]))
        whole = list(command)
        if can_isolate():
            inside = [sys.executable, "-S", "-c", INSIDE]
            whole = ["unshare", "--user", "--map-root-user", "--net", *inside, *whole]
        done = subprocess.run(
            whole, cwd=cwd, env={**env, "PYTHONPATH": path, "WATCHED_CALLS": str(log)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return Watched(done.returncode, done.stdout, log.read_text(encoding="utf-8").splitlines())
