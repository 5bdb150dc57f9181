"""What the agent keeps on disk: its identity and what it was last told to run. Written whole or not at all, 0600."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from yunhe.serve.sync import DesiredReplica

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this agent is, once it has joined."""

    centre_id: str
    centre_name: str
    agent_id: str
    agent_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Desired:
    """The newest that control wanted of this centre."""

    revision: int
    replicas: tuple[DesiredReplica, ...]


def save(path: Path, value: object) -> None:
    """Replace the file by the value's JSON, durably."""
    waiting = path.with_suffix(".new")
    descriptor = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(value))
        file.flush()
        os.fsync(file.fileno())
    waiting.rename(path)


def load(path: Path, kind: type[T]) -> T | None:
    """The value, or None when there is none (or a damaged one, which is then as good as none)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
