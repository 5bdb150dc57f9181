"""`yunhe down`: stop an instance, also one whose supervisor was killed."""

from __future__ import annotations

from dataclasses import dataclass
from signal import SIGTERM
from typing import Final

from yunhe.core.home import Home
from yunhe.launcher.errors import StopFailed
from yunhe.launcher.leftovers import find, stop_leftovers, stop_workloads
from yunhe.launcher.processes import is_alive, stop
from yunhe.launcher.progress import Progress, Watcher
from yunhe.launcher.run_files import clear, read_up

#: The sum of the supervisor's own bounds for gateways, agent, control and stray workloads.
SUPERVISOR_GRACE_S: Final = 170.0


@dataclass(frozen=True, slots=True)
class DownReport:
    """What was stopped: names of parts; empty when nothing ran."""

    data_dir: str
    was_running: bool
    stopped: tuple[str, ...]


def down(home: Home, watch: Watcher) -> DownReport:
    """Stop everything of ``home``: supervisor, gateways, agent, workloads, control. Blocking, bounded.

    Raises StopFailed when something could not be stopped.
    """
    if not home.root.is_dir():
        return DownReport(str(home.root), was_running=False, stopped=())
    record = read_up(home)
    names: list[str] = []
    if record is not None and is_alive(record.process):
        names += ["launcher", *(process.name for process in find(home))]
        watch(Progress("launcher", "stopping", f"pid {record.process.pid}"))
        if stop([record.process], SIGTERM, SUPERVISOR_GRACE_S):
            raise StopFailed(f"the supervisor (pid {record.process.pid}) does not end")
    left = stop_leftovers(home, workloads=False)
    names += [name for name in left.names if name not in names]
    if left.remaining:
        raise StopFailed(f"these processes do not end: {', '.join(str(process.pid) for process in left.remaining)}")
    if not stop_workloads(home):
        raise StopFailed("not every workload could be stopped", next_step="Look at `yunhe logs agent`.")
    if home.run.is_dir():
        clear(home)
    return DownReport(str(home.root), was_running=bool(names), stopped=tuple(names))
