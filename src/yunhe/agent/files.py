"""What the agent keeps on disk: its identity and what it was last told to run. Written whole or not at all, 0600."""

from __future__ import annotations

import os
import threading
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


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie below the agent's directory."""

    root: Path

    @property
    def identity(self) -> Path:
        """Who this agent is."""
        return self.root / "identity.json"

    @property
    def join_token(self) -> Path:
        """Written by whoever lets the agent in; removed once it has joined."""
        return self.root / "join_token"

    @property
    def nonce(self) -> Path:
        """Makes a repeated joining the same joining."""
        return self.root / "join-nonce"

    @property
    def desired(self) -> Path:
        """What control wanted last."""
        return self.root / "desired.json"

    @property
    def launches(self) -> Path:
        """One JSON file a replica: how it was started and whether it proved sane."""
        return self.root / "launches"

    @property
    def workloads(self) -> Path:
        """The centre driver's own directory."""
        return self.root / "workloads"

    @property
    def tunings(self) -> Path:
        """One directory an adaptation: its journal, and what fidelity was measured with."""
        return self.root / "tunings"

    @property
    def speeds(self) -> Path:
        """Measured speeds of cards."""
        return self.root / "speeds"

    @property
    def verified_weights(self) -> Path:
        """Which files had which digest."""
        return self.root / "verified-weights.json"

    @property
    def lock(self) -> Path:
        """Held by the agent that runs."""
        return self.root / "agent.lock"

    def make(self) -> None:
        """Create the directories. Raises OSError."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.launches.mkdir(mode=0o700, exist_ok=True)


def save(path: Path, value: object) -> None:
    """Replace the file by the value's JSON, durably. Raises OSError, and then the old file is whole."""
    waiting = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    descriptor = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(value))
            file.flush()
            os.fsync(file.fileno())
        waiting.rename(path)
    except OSError:
        waiting.unlink(missing_ok=True)
        raise


def load(path: Path, kind: type[T]) -> T | None:
    """The value, or None when there is none (or a damaged one, which is then as good as none)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def text(path: Path) -> str:
    """The file's text without white space around; empty when there is none."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
