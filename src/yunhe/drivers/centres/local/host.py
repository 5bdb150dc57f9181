"""This host as a node: what the process may use of it, cgroup limits and affinity included."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path

from yunhe.drivers.centres.local import cgroups


def node_name() -> str:
    """The host's name."""
    return socket.gethostname() or "localhost"


def memory_bytes() -> int | None:
    """The machine's memory, or the control group's limit where it is smaller."""
    sizes = [
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        if line.startswith("MemTotal:")
    ]
    limit = cgroups.memory_limit_bytes()
    return min(sizes if limit is None else [*sizes, limit], default=None)


def usable_cpus() -> list[int]:
    """Processors that this process may run on."""
    return sorted(os.sched_getaffinity(0))


def usable_cores() -> int:
    """How many cores' worth of time this process may use: its affinity, or a smaller CPU quota."""
    quota = cgroups.cpu_limit_cores()
    cores = len(usable_cpus())
    return cores if quota is None else min(cores, quota)


def system_name() -> str:
    """The operating system in words."""
    try:
        release = platform.freedesktop_os_release()
        return f"{release.get('PRETTY_NAME', 'Linux')}, kernel {platform.release()}"
    except OSError:
        return f"{platform.system()} {platform.release()}"
