"""What a centre runs, whatever its engine: a replica of a model or a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["starting", "running", "stopping", "exited", "lost"]


@dataclass(frozen=True, slots=True)
class Workload:
    """A command to run on some cards. ``id`` makes start idempotent."""

    id: str
    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    #: Card uids that it may use.
    cards: tuple[str, ...]
    #: Whole cores to pin it to; None leaves the choice to the driver.
    cpu_cores: int | None
    #: Hard limit; None is none.
    memory_bytes: int | None
    #: Relative path -> text, written into the working directory before the start.
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """What the centre's engine says of a workload, as observed."""

    id: str
    phase: Phase
    pid: int | None = None
    node: str | None = None
    exit_code: int | None = None
    #: e.g. "killed by signal 9", "out of memory", "time limit": empty while all is well.
    reason: str = ""
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of a workload's log. ``next_offset`` continues it; ``end`` says that nothing more was there."""

    text: str
    offset: int
    next_offset: int
    end: bool
