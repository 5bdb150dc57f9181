"""Centre driver for a bare host: workloads are process groups, each under a keeper process of its own.

Everything that the driver must remember lies in one directory per workload, so a new instance over the same state
directory adopts what runs. Limits: CPU affinity is set by the kernel; the memory limit is a watch on resident
anonymous memory twice a second, because hosts without a writable cgroup have nothing better.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from yunhe.drivers.centres.local import host
from yunhe.drivers.centres.local.processes import ProcessIdentity, identify, is_alive, send
from yunhe.pool.errors import CentreUnavailable, WorkloadRejected
from yunhe.pool.model import Inventory, Node
from yunhe.pool.workload import LogChunk, Workload, WorkloadStatus

_SHIM: Final = Path(__file__).with_name("shim.py")
#: What a workload inherits of the agent's environment; nothing secret is among it.
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "PYTHONPATH")


class LocalCentre:
    """Workloads on this host."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        #: Keepers that this instance started and must reap.
        self._keepers: dict[str, subprocess.Popen[bytes]] = {}

    def inventory(self) -> Inventory:
        """This host as one node; its cards are found by the chip drivers."""
        node = Node(host.node_name(), host.memory_bytes(), len(host.usable_cpus()), host.system_name(), ())
        return Inventory((node,), time.time())

    def start(self, workload: Workload) -> None:
        """Write the workload down, then start its keeper; a second start of the same id changes nothing."""
        directory = self._root / workload.id
        if not workload.argv:
            raise WorkloadRejected("A workload needs a command.", fields=["argv: is empty"])
        if (directory / "keeper.json").exists():
            return
        cpus = host.usable_cpus()
        if workload.cpu_cores is not None and workload.cpu_cores > len(cpus):
            raise WorkloadRejected(
                f"It asks for {workload.cpu_cores} cores, this host offers {len(cpus)}.", fields=["cpu_cores"]
            )
        try:
            self._write_down(directory, workload, cpus[: workload.cpu_cores] if workload.cpu_cores else [])
            keeper = self._start_keeper(directory)
        except OSError as error:
            raise CentreUnavailable(f"This host cannot start it: {error}.") from error
        self._keepers[workload.id] = keeper
        identity = identify(keeper.pid)
        if identity is not None:
            _write_json(directory / "keeper.json", asdict(identity))

    def _write_down(self, directory: Path, workload: Workload, cpus: Sequence[int]) -> None:
        work = directory / "work"
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in workload.files.items():
            target = (work / name).resolve()
            if work.resolve() not in target.parents:
                raise WorkloadRejected("A file lies outside the working directory.", fields=[f"files.{name}"])
            target.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
                out.write(text)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        spec = {
            "argv": list(workload.argv),
            "env": inherited | workload.env,
            "cpus": list(cpus),
            "memory_bytes": workload.memory_bytes,
        }
        _write_json(directory / "spec.json", spec)

    def _start_keeper(self, directory: Path) -> subprocess.Popen[bytes]:
        with (directory / "keeper.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-I", str(_SHIM), str(directory)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def observe(self) -> Sequence[WorkloadStatus]:
        """Every workload below the state directory."""
        return [self._status(directory) for directory in sorted(self._root.iterdir()) if directory.is_dir()]

    def _status(self, directory: Path) -> WorkloadStatus:
        keeper = self._keepers.get(directory.name)
        if keeper is not None and keeper.poll() is not None:
            del self._keepers[directory.name]
        name = host.node_name()
        running = _read_json(directory / "running.json")
        pid, started_at = running.get("pid"), running.get("started_at")
        ended = _read_json(directory / "exit.json")
        if ended:
            code, reason = ended["exit_code"], ended["reason"]
            return WorkloadStatus(directory.name, "exited", pid, name, code, reason, started_at)
        if not self._keeper_lives(directory):
            reason = "its keeper process was killed" if running else "it was never started"
            return WorkloadStatus(directory.name, "lost", pid, name, None, reason, started_at)
        if (directory / "stop.json").exists():
            return WorkloadStatus(directory.name, "stopping", pid, name, None, "stopping", started_at)
        return WorkloadStatus(directory.name, "running" if running else "starting", pid, name, None, "", started_at)

    def _keeper_lives(self, directory: Path) -> bool:
        identity = _identity(directory)
        return identity is not None and is_alive(identity)

    def stop(self, workload_id: str, grace_s: float) -> None:
        """Tell the keeper; it kills the whole group after the grace."""
        directory = self._root / workload_id
        identity = _identity(directory)
        if identity is None or (directory / "exit.json").exists():
            return
        _write_json(directory / "stop.json", {"grace_s": grace_s})
        send(identity, signal.SIGTERM)

    def logs(self, workload_id: str, offset: int, limit_bytes: int) -> LogChunk:
        """From the segments; what was rotated away is skipped."""
        directory = self._root / workload_id / "log"
        if not (self._root / workload_id).is_dir():
            raise KeyError(workload_id)
        segments = [(int(path.name), path) for path in sorted(directory.glob("[0-9]*"))] if directory.is_dir() else []
        begin = max(offset, segments[0][0]) if segments else 0
        data = b""
        for start, path in segments:
            if start + path.stat().st_size <= begin + len(data):
                continue
            with path.open("rb") as file:
                file.seek(begin + len(data) - start)
                data += file.read(limit_bytes - len(data))
            if len(data) >= limit_bytes:
                break
        size = segments[-1][0] + segments[-1][1].stat().st_size if segments else 0
        after = begin + len(data)
        return LogChunk(data.decode("utf-8", errors="replace"), begin, after, after >= size)

    def read_file(self, workload_id: str, name: str) -> str | None:
        """A file in the working directory; None while there is none."""
        try:
            return (self._root / workload_id / "work" / name).read_text(encoding="utf-8")
        except OSError:
            return None

    def forget(self, workload_id: str) -> None:
        """Remove an ended workload's directory."""
        directory = self._root / workload_id
        if not directory.is_dir() or self._keeper_lives(directory):
            return
        self._keepers.pop(workload_id, None)
        shutil.rmtree(directory, ignore_errors=True)


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
