"""This host as a node: what the process may use of it, cgroup limits and affinity included."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path

_UNLIMITED_BYTES = 1 << 60
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def node_name() -> str:
    """The host's name."""
    return socket.gethostname() or "localhost"


def memory_bytes() -> int | None:
    """The machine's memory, or the container's limit where it is smaller."""
    sizes = []
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            sizes.append(int(line.split()[1]) * 1024)
    for path in _CGROUP_LIMITS:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _UNLIMITED_BYTES:
            sizes.append(int(text))
    return min(sizes, default=None)


def usable_cpus() -> list[int]:
    """Processors that this process may run on."""
    return sorted(os.sched_getaffinity(0))


def system_name() -> str:
    """The operating system in words."""
    try:
        release = platform.freedesktop_os_release()
        return f"{release.get('PRETTY_NAME', 'Linux')}, kernel {platform.release()}"
    except OSError:
        return f"{platform.system()} {platform.release()}"
