"""What an instance writes into ``home/run`` so that others find it: ``up.json`` and ``processes.json``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from yunhe.core.home import Home
from yunhe.launcher.processes import NamedProcess, ProcessId

T = TypeVar("T")
State = Literal["starting", "ready", "stopping"]


@dataclass(frozen=True, slots=True)
class UpRecord:
    """The supervisor and its addresses. True only while ``process`` is alive."""

    process: ProcessId
    version: str
    state: State
    #: Unix seconds.
    started_at: float
    host: str
    port: int
    control_port: int
    workers: int
    #: What people and programs open: the root, ending in a slash, and the API's base URL, ending in /v1.
    console_url: str
    base_url: str


def up_path(home: Home) -> Path:
    """Where the supervisor says who it is."""
    return home.run / "up.json"


def processes_path(home: Home) -> Path:
    """Where the supervisor says what it started."""
    return home.run / "processes.json"


def gateway_path(home: Home, worker: int) -> Path:
    """Where gateway worker ``worker`` says that it accepts."""
    return home.run / f"gateway-{worker}.json"


def write_up(home: Home, record: UpRecord) -> None:
    """Replace up.json. Raises OSError."""
    write_private(up_path(home), msgspec.json.encode(record))


def read_up(home: Home) -> UpRecord | None:
    """The record of the last supervisor; None when there is none that can be read."""
    return _read(up_path(home), UpRecord)


def write_processes(home: Home, processes: Sequence[NamedProcess]) -> None:
    """Replace processes.json. Raises OSError."""
    write_private(processes_path(home), msgspec.json.encode(list(processes)))


def read_processes(home: Home) -> list[NamedProcess]:
    """What the last supervisor started; empty when that cannot be read."""
    return _read(processes_path(home), list[NamedProcess]) or []


def clear(home: Home) -> None:
    """Forget the run: nothing of it is left. Raises OSError."""
    of_parts = (home.run / "control.json", *home.run.glob("gateway-*.json"))
    for path in (up_path(home), processes_path(home), *of_parts):
        path.unlink(missing_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step, readable by its owner only. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
