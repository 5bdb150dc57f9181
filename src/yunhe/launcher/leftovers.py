"""What a supervisor that was killed has left behind, found and stopped."""

from __future__ import annotations

import logging
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Final

from yunhe.core.home import Home
from yunhe.launcher.commands import MODULES, stop_all_command
from yunhe.launcher.processes import NamedProcess, ProcessId, all_pids, command_line, identify, is_alive, stop
from yunhe.launcher.run_files import read_processes

log = logging.getLogger(__name__)

GATEWAY_GRACE_S: Final = 40.0
AGENT_GRACE_S: Final = 40.0
CONTROL_GRACE_S: Final = 15.0
STOP_ALL_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """What was stopped, by name, and what would not go."""

    names: tuple[str, ...]
    remaining: tuple[ProcessId, ...]


def find(home: Home) -> list[NamedProcess]:
    """Living control, agent and gateway processes of ``home``: by run file, and by command line for the moment
    between a process's start and the run file's."""
    found = {process.id: process for process in read_processes(home) if is_alive(process.id)}
    for pid in all_pids():
        name = _part(command_line(pid), home.root)
        if name is None or pid == os.getpid():
            continue
        identity = identify(pid)
        if identity is not None:
            found.setdefault(identity, NamedProcess(name, identity))
    return sorted(found.values(), key=lambda process: (process.name, process.id.pid))


def _part(argv: tuple[str, ...], root: Path) -> str | None:
    for part, module in MODULES.items():
        if "-m" in argv and module in argv and "--home" in argv:
            given = argv[argv.index("--home") + 1 :][:1]
            if given == (str(root),):
                return f"{part}-{argv[argv.index('--worker') + 1]}" if "--worker" in argv[:-1] else part
    return None


def stop_leftovers(home: Home, *, workloads: bool) -> Stopped:
    """Stop them in the order in which they need each other: gateways, agent, control.

    With ``workloads`` the agent takes its workloads along and whatever is still recorded is stopped after it; without,
    they run on and the next agent adopts them. Blocking; bounded by the graces above.
    """
    processes = find(home)
    remaining: list[ProcessId] = []

    def stop_part(part: str, number: Signals, grace_s: float) -> None:
        ids = [process.id for process in processes if process.name.partition("-")[0] == part]
        remaining.extend(stop(ids, number, grace_s))

    stop_part("gateway", SIGTERM, GATEWAY_GRACE_S)
    stop_part("agent", SIGINT if workloads else SIGTERM, AGENT_GRACE_S)
    stop_part("control", SIGTERM, CONTROL_GRACE_S)
    if workloads:
        stop_workloads(home)
    return Stopped(tuple(process.name for process in processes), tuple(remaining))


def stop_workloads(home: Home) -> bool:
    """Stop every workload recorded under ``home.agent``; False when some are left. Blocking, bounded."""
    if not home.agent.is_dir() or not any(home.agent.iterdir()):
        return True
    try:
        done = subprocess.run(
            stop_all_command(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=STOP_ALL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        log.error("stopping the workloads took longer than %.0f s", STOP_ALL_TIMEOUT_S)
        return False
    if done.returncode != 0:
        log.error("stopping the workloads failed: %s", done.stderr.decode("utf-8", "replace")[-2000:])
    return done.returncode == 0
