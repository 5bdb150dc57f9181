"""Centre driver for a bare host: workloads are process groups, each under a keeper process of its own.

Everything that the driver must remember lies in one directory per workload, so a new instance over the same state
directory adopts what runs. Limits: CPU affinity is set by the kernel. Memory is limited by a control group where this
user may make one; else the keeper looks at resident memory twice a second, which a quick workload can overshoot.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from yunhe.drivers.centres.local import cgroups, host, log_segments
from yunhe.drivers.centres.local.processes import (
    ProcessIdentity,
    has_ended,
    is_alive,
    kill_marked,
    send,
    wait_for_end,
)
from yunhe.pool.errors import CentreUnavailable, WorkloadRejected
from yunhe.pool.model import Inventory, Node
from yunhe.pool.workload import LogChunk, Workload, WorkloadStatus

_SHIM: Final = Path(__file__).with_name("shim.py")
#: What a workload inherits of the agent's environment; nothing secret is among it.
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "PYTHONPATH")
#: In the environment of every process of a workload, so that what a killed keeper leaves behind can be found.
_MARK: Final = "YUNHE_WORKLOAD"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
#: A keeper has introduced itself by then; measured: 0.05 s on a quiet machine.
_KEEPER_LIMIT_S: Final = 10.0
READ_MAX_BYTES: Final = 64 * 1024


class LocalCentre:
    """Workloads on this host."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        #: Pids of the keepers that this instance started and must reap.
        self._keepers: dict[str, int] = {}
        #: Calls come from several threads; one that is starting must not be seen half made.
        self._lock = threading.RLock()

    def inventory(self) -> Inventory:
        """This host as one node; its cards are found by the chip drivers."""
        node = Node(host.node_name(), host.memory_bytes(), host.usable_cores(), host.system_name(), ())
        return Inventory((node,), time.time())

    def start(self, workload: Workload) -> None:
        """Write the workload down, then start its keeper; a second start of the same id changes nothing."""
        _check(workload)
        directory = self._root / workload.id
        with self._lock:
            if (directory / "keeper.json").exists() or workload.id in self._keepers:
                return
            try:
                if not directory.exists():
                    self._write_down(directory, workload)
                self._keepers[workload.id] = _start_keeper(directory)
            except OSError as error:
                raise CentreUnavailable(f"This host cannot start it: {error}.") from error

    def _write_down(self, directory: Path, workload: Workload) -> None:
        """All of it beside, then renamed, so that a directory with an id is always whole."""
        waiting = self._root / f".new-{workload.id}"
        shutil.rmtree(waiting, ignore_errors=True)
        work = waiting / "work"
        work.mkdir(mode=0o700, parents=True)
        for name, text in workload.files.items():
            target = work / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as out:
                out.write(text)
        limit, group = workload.memory_bytes, None
        if limit is not None:
            group = cgroups.make_memory_group(f"yunhe-{sha256(os.fsencode(directory)).hexdigest()[:16]}", limit)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        spec = {
            "argv": list(workload.argv),
            "env": inherited | workload.env | {_MARK: str(directory)},
            "cpus": self._choose_cpus(workload.cpu_cores),
            "memory_bytes": limit,
            "cgroup": str(group) if group is not None else None,
        }
        _write_json(waiting / "spec.json", spec)
        waiting.rename(directory)

    def _choose_cpus(self, cores: int | None) -> list[int]:
        """The processors that the fewest living workloads are pinned to; empty for no pinning."""
        if cores is None:
            return []
        usage: Counter[int] = Counter()
        for directory in self._directories():
            if not (directory / "exit.json").exists():
                usage.update(_read_json(directory / "spec.json").get("cpus", ()))
        return sorted(sorted(host.usable_cpus(), key=lambda cpu: (usage[cpu], cpu))[:cores])

    def observe(self) -> Sequence[WorkloadStatus]:
        """Every workload below the state directory."""
        with self._lock:
            return [self._status(directory) for directory in self._directories()]

    def _directories(self) -> list[Path]:
        return sorted(path for path in self._root.iterdir() if path.is_dir() and not path.name.startswith("."))

    def _status(self, directory: Path) -> WorkloadStatus:
        alive = self._keeper_lives(directory)
        name = host.node_name()
        running = _read_json(directory / "running.json")
        pid, started_at = running.get("pid"), running.get("started_at")
        ended = _read_json(directory / "exit.json")
        if not ended and not alive:
            ended = self._bury(directory, "its keeper process was killed" if running else "it was never started")
        if ended:
            phase, code = ended.get("phase", "exited"), ended["exit_code"]
            return WorkloadStatus(directory.name, phase, pid, name, code, ended["reason"], started_at)
        if (directory / "stop.json").exists():
            return WorkloadStatus(directory.name, "stopping", pid, name, None, "stopping", started_at)
        return WorkloadStatus(directory.name, "running" if running else "starting", pid, name, None, "", started_at)

    def _bury(self, directory: Path, reason: str) -> dict[str, Any]:
        """End what a lost keeper left behind, and write down that it was lost."""
        _clear(directory)
        ended = {"phase": "lost", "exit_code": None, "reason": reason}
        with contextlib.suppress(OSError):
            # On a full disk the next look comes to the same conclusion.
            _write_json(directory / "exit.json", ended)
        return ended

    def _keeper_lives(self, directory: Path) -> bool:
        """Also true for a keeper that has only just been started and has not introduced itself yet."""
        child = self._keepers.get(directory.name)
        if child is not None:
            if not has_ended(child):
                return True
            del self._keepers[directory.name]
        identity = _identity(directory)
        if identity is not None:
            return is_alive(identity)
        return child is None and time.time() - (directory / "spec.json").stat().st_mtime < _KEEPER_LIMIT_S

    def stop(self, workload_id: str, grace_s: float) -> None:
        """Tell the keeper; it kills the whole group after the grace, or after a later call's if that ends earlier."""
        directory = self._root / workload_id
        with self._lock:
            if not directory.is_dir() or (directory / "exit.json").exists():
                return
            with contextlib.suppress(OSError):
                # The keeper looks for this before it starts anything, so a stop that comes too early is not lost.
                # Without it, on a full disk, it gives a grace of its own choice.
                _write_json(directory / "stop.json", {"grace_s": grace_s})
            identity = _identity(directory)
            if identity is not None:
                send(identity, signal.SIGTERM)

    def logs(self, workload_id: str, offset: int, limit_bytes: int) -> LogChunk:
        """From the keeper's segments; what was rotated away is skipped."""
        if not (self._root / workload_id).is_dir():
            raise KeyError(workload_id)
        return log_segments.read(self._root / workload_id / "log", offset, limit_bytes)

    def read_file(self, workload_id: str, name: str) -> str | None:
        """The first 64 KiB of a file in the working directory; None while there is none."""
        try:
            with (self._root / workload_id / "work" / name).open(encoding="utf-8", errors="replace") as file:
                return file.read(READ_MAX_BYTES)
        except OSError:
            return None

    def forget(self, workload_id: str) -> None:
        """Remove an ended workload's directory; one that runs is left alone."""
        directory = self._root / workload_id
        with self._lock:
            if not directory.is_dir():
                return
            if (directory / "exit.json").exists():
                # Writing that was the keeper's last deed.
                child = self._keepers.pop(workload_id, None)
                if child is not None:
                    wait_for_end(child)
            elif self._keeper_lives(directory):
                return
            _clear(directory)
            shutil.rmtree(directory, ignore_errors=True)


def _check(workload: Workload) -> None:
    """Raises WorkloadRejected for what can never run on this host."""
    problems = []
    if not _ID.fullmatch(workload.id):
        problems.append("id: letters, digits, dots, dashes and underscores only")
    if not workload.argv:
        problems.append("argv: is empty")
    cpus = len(host.usable_cpus())
    if workload.cpu_cores is not None and not 1 <= workload.cpu_cores <= cpus:
        problems.append(f"cpu_cores: {workload.cpu_cores}, this host offers {cpus}")
    memory = host.memory_bytes()
    if workload.memory_bytes is not None and memory is not None and workload.memory_bytes > memory:
        problems.append(f"memory_bytes: {workload.memory_bytes}, this host has {memory}")
    for name in workload.files:
        if Path(name).is_absolute() or ".." in Path(name).parts or not Path(name).parts:
            problems.append(f"files.{name}: lies outside the working directory")
    if problems:
        raise WorkloadRejected(f"This host can never run it: {'; '.join(problems)}.", fields=problems)


def _clear(directory: Path) -> None:
    """End what a killed keeper left behind, and drop the group that limited it."""
    kill_marked(f"{_MARK}={directory}")
    group = _read_json(directory / "spec.json").get("cgroup")
    if group is not None:
        cgroups.remove(Path(group))


def _start_keeper(directory: Path) -> int:
    log = (os.POSIX_SPAWN_OPEN, 1, str(directory / "keeper.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", str(_SHIM), str(directory)],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), log, (os.POSIX_SPAWN_DUP2, 1, 2)],
        setsid=True,
    )


def _identity(directory: Path) -> ProcessIdentity | None:
    found = _read_json(directory / "keeper.json")
    return ProcessIdentity(**found) if found else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _write_json(path: Path, value: dict[str, Any]) -> None:
    waiting = path.with_suffix(".new")
    with os.fdopen(os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(json.dumps(value))
    waiting.rename(path)
