"""What the kernel knows of processes and cores: CPU time of process trees, foreign load, resident memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on, or None when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_s(pids: list[int]) -> float:
    """User and system CPU seconds of the processes, and of those of their children that were waited for."""
    ticks = 0
    for pid in pids:
        if fields := _stat(pid):
            ticks += sum(int(fields[i]) for i in (11, 12, 13, 14))
    return ticks * TICK_S


def rss_bytes(pid: int) -> int:
    """Resident memory of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def core_busy_s(core: int) -> tuple[float, float]:
    """Seconds that a core was busy since boot, and seconds that the hypervisor took from it."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(x) for x in line.split()[1:9])
            return (user + nice + system + irq + softirq) * TICK_S, steal * TICK_S
    raise ValueError(f"no core {core} on this machine")


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where: only the gateway under test on ``gateway``, all else of the bench on ``rest``."""

    gateway: int
    rest: int

    @classmethod
    def choose(cls) -> Cores:
        """The first two cores that we may use. Raises SystemExit when there is only one."""
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            raise SystemExit("the bench needs two cores: one for the gateway, one for the upstream and the load")
        return cls(allowed[0], allowed[1])


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU time at one moment."""

    measured_s: float
    own_s: float
    busy_s: float
    steal_s: float


class Meter:
    """Reads the CPU time of one tree, and of everything that is ours on the measured core."""

    def __init__(self, core: int, measured_root: int, own_roots: list[int]) -> None:
        self._core = core
        self._measured = tree(measured_root)
        self._own = sorted({pid for root in own_roots for pid in tree(root)} | set(self._measured))

    def read(self) -> Reading:
        """Now."""
        busy, steal = core_busy_s(self._core)
        return Reading(cpu_s(self._measured), cpu_s(self._own), busy, steal)
