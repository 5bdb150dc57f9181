"""Time, passed in so that policies can be replayed and tests never wait.

Wall time is for records (aware UTC, or float unix seconds on wires); monotonic time is for durations and deadlines.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def unix_s(self) -> float:
        """Wall time in seconds since 1970; may step."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment; never steps back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def unix_s(self) -> float:
        """Wall time in seconds since 1970."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told to; for tests, replays and the twin."""

    def __init__(self, unix_s: float = 1_790_000_000.0) -> None:
        self._unix_s = unix_s
        self._monotonic_s = 0.0

    def unix_s(self) -> float:
        """Wall time in seconds since 1970."""
        return self._unix_s

    def monotonic_s(self) -> float:
        """Seconds since this clock was made."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both times forward."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._unix_s += seconds
        self._monotonic_s += seconds


def utc(unix_s: float) -> datetime:
    """Aware UTC datetime of float unix seconds."""
    return datetime.fromtimestamp(unix_s, UTC)
