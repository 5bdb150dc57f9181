"""Telling processes apart: a pid alone is not an identity, with its start time and the machine's boot it is."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

#: Rounds of killing; each ends what the one before has let slip.
SWEEPS_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that can be recognised again."""

    pid: int
    #: Clock ticks after boot, as the kernel counts.
    start_ticks: int
    boot_id: str


@cache
def boot_id() -> str:
    """Changes with every start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int | None:
    """When a live process started; None when there is none (or only its remains)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a live process."""
    ticks = start_ticks(pid)
    return None if ticks is None else ProcessIdentity(pid, ticks, boot_id())


def is_alive(process: ProcessIdentity) -> bool:
    """Whether that very process lives."""
    return process.boot_id == boot_id() and start_ticks(process.pid) == process.start_ticks


def send(process: ProcessIdentity, number: signal.Signals) -> None:
    """Signal that very process; no error when it is gone."""
    if is_alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def has_ended(child: int) -> bool:
    """Whether a child of this process has ended; collects what is left of it."""
    try:
        return os.waitpid(child, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def wait_for_end(child: int) -> None:
    """Wait until a child of this process has ended, and collect what is left of it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)


def marked(marker: str) -> list[int]:
    """Live processes whose environment has the entry ``NAME=value``, as far as this user may look."""
    wanted = marker.encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            entries = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in entries and start_ticks(int(path.parent.name)) is not None:
            found.append(int(path.parent.name))
    return found


def kill_marked(marker: str) -> int:
    """Kill all of them, and what they start meanwhile; returns how many. Bounded in rounds."""
    killed = 0
    for _ in range(SWEEPS_MAX):
        left = marked(marker)
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed += len(left)
    return killed
