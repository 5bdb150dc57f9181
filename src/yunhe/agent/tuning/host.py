"""What the machine did while a window ran: whose the CPU time was, whose the port is, how much memory was taken."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_CPUS: Final = os.cpu_count() or 1
#: Columns of the first line of /proc/stat (proc(5)): user nice system idle iowait irq softirq steal.
_IDLE: Final = (3, 4)
_COLUMNS: Final = 8


@dataclass(frozen=True, slots=True)
class CpuClock:
    """CPU time so far, seconds over all cores."""

    #: Everything that was not idle, time stolen by other guests of the same hardware included.
    busy_s: float
    #: Of that, the measured processes' own.
    own_s: float
    total_s: float


def cpu_clock(pids: tuple[int, ...]) -> CpuClock:
    """Read it; ``pids`` are the roots of the measured processes."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        ticks = [int(part) for part in file.readline().split()[1 : 1 + _COLUMNS]]
    idle = sum(ticks[column] for column in _IDLE)
    own_s = sum(_cpu_s(process) for pid in pids for process in family(pid))
    return CpuClock((sum(ticks) - idle) / _TICKS_PER_S, own_s, sum(ticks) / _TICKS_PER_S)


def foreign_share(before: CpuClock, after: CpuClock) -> float:
    """Share of the machine's CPU time between the two that went to processes which are not measured, 0 to 1."""
    total_s = after.total_s - before.total_s
    if total_s <= 0:
        return 0.0
    foreign_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    # The kernel counts the two in different grains, so a little less than nothing may come out.
    return min(1.0, max(0.0, foreign_s / total_s))


async def busy_share(over_s: float = 1.0) -> float:
    """Share of the machine's CPU time that anybody used over the next while, 0 to 1."""
    before = cpu_clock(())
    await asyncio.sleep(over_s)
    return foreign_share(before, cpu_clock(()))


def family(pid: int) -> list[psutil.Process]:
    """The process and its descendants; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def owns_port(pid: int, port: int) -> bool:
    """Whether one of the process's family listens there."""
    return any(_listens(process, port) for process in family(pid))


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        sockets = process.net_connections("tcp")
    except psutil.Error:
        return False
    return any(entry.status == psutil.CONN_LISTEN and entry.laddr and entry.laddr.port == port for entry in sockets)


def memory_peak_bytes(pid: int) -> int | None:
    """Highest resident memory of the family so far; None where the kernel does not say."""
    found = [_high_water_bytes(process.pid) for process in family(pid)]
    known = [size for size in found if size is not None]
    return sum(known) if known else None


def _high_water_bytes(pid: int) -> int | None:
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
