"""How often somebody may fail: a sliding window of failures by name, in memory, bounded."""

from __future__ import annotations

from collections import deque
from typing import Final

from yunhe.core.clock import Clock
from yunhe.core.errors import QuotaExceeded

FAILURES_MAX: Final = 10
WINDOW_S: Final = 300.0
#: Names remembered; the one that failed longest ago is forgotten first.
NAMES_MAX: Final = 10_000


class TooManyAttempts(QuotaExceeded):
    """There were too many failed attempts to sign in with this user name."""

    code = "too_many_attempts"
    default_next_step = "Wait for the time given in retry-after; an admin can set a new password meanwhile."


class Throttle:
    """Counts failures by name. An attempt counts as failed until it is known to have succeeded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}

    def attempt(self, name: str) -> None:
        """Count an attempt in advance, so that many at once are no way round. Raises TooManyAttempts."""
        now = self._clock.monotonic_s()
        failures = self._failures.pop(name, None) or deque(maxlen=FAILURES_MAX)
        self._failures[name] = failures
        while failures and failures[0] <= now - WINDOW_S:
            failures.popleft()
        if len(failures) >= FAILURES_MAX:
            raise TooManyAttempts(retry_after_s=failures[0] + WINDOW_S - now)
        failures.append(now)
        while len(self._failures) > NAMES_MAX:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, name: str) -> None:
        """Forget the name's failures."""
        self._failures.pop(name, None)
