"""When a child that ended is started again."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S = 0.1
CAP_S = 15.0
#: A child that ran so long counts as sound: its next end starts from the first delay again.
SOUND_S = 30.0


@dataclass(slots=True)
class Backoff:
    """Delays that double from 0.1 s to 15 s while a child keeps ending soon after its start."""

    #: Ends in a row, each less than ``SOUND_S`` after its start.
    failures: int = 0

    def after(self, ran_s: float) -> float:
        """Seconds to wait before the next start, given how long it ran."""
        if ran_s >= SOUND_S:
            self.failures = 0
        self.failures += 1
        return float(min(CAP_S, FIRST_S * 2 ** min(self.failures - 1, 30)))
