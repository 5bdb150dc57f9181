"""Processes by identity: a pid alone may belong to somebody else by now; with its start time it cannot."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

POLL_S: Final = 0.05
#: What the kernel needs to take a killed process away, at the very most.
KILL_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, for good: pid, start time in clock ticks since boot, and which boot."""

    pid: int
    start_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class NamedProcess:
    """A process and which part of the instance it is: control, agent, gateway-0 ..."""

    name: str
    id: ProcessId


def boot_id() -> str:
    """The kernel's name of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def identify(pid: int) -> ProcessId | None:
    """Who has this pid now; None when nobody, or only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the name in parentheses may hold anything; state is the field after it, start time the 20th after it.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return ProcessId(pid, int(fields[19]), boot_id())


def is_alive(process: ProcessId) -> bool:
    """Whether that very process still runs."""
    return identify(process.pid) == process


def send(process: ProcessId, number: signal.Signals) -> bool:
    """Signal that very process; False when it is gone."""
    try:
        # A pidfd pins the process: between the check and the signal the pid cannot pass to another one.
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_gone(processes: Iterable[ProcessId], timeout_s: float) -> list[ProcessId]:
    """Wait until all are gone; those that are not after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    left = [process for process in processes if is_alive(process)]
    while left and time.monotonic() < deadline:
        time.sleep(POLL_S)
        left = [process for process in left if is_alive(process)]
    return left


def stop(processes: Iterable[ProcessId], number: signal.Signals, grace_s: float) -> list[ProcessId]:
    """Ask all with ``number``, kill what is left after ``grace_s``; those that even outlived that."""
    asked = [process for process in processes if send(process, number)]
    stubborn = wait_gone(asked, grace_s)
    return wait_gone([process for process in stubborn if send(process, signal.SIGKILL)], KILL_WAIT_S)


def command_line(pid: int) -> tuple[str, ...]:
    """A process's arguments; empty when it is gone or not ours to see."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(part.decode("utf-8", "replace") for part in raw.rstrip(b"\0").split(b"\0"))


def all_pids() -> list[int]:
    """Every pid of this machine at this moment."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
