"""How long to wait before a failed replica is replaced.

The first failure is replaced at once; failures in a row wait twice as long each time, up to a cap; a replica that was
ready long enough ends the row. Counted in rounds: when n replicas of a deployment fail together, that is one round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from yunhe.serve.model import Deployment, Replica, ReplicaState

#: Wait before the second replacement in a row.
DELAY_FIRST_S: Final = 2.0
DELAY_MAX_S: Final = 300.0
#: Ready for so long: what fails after it starts a new row.
STABLE_S: Final = 60.0
#: Beyond this many rounds the delay is the cap anyway.
_DOUBLINGS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Backoff:
    """Where a deployment stands after failures of its current generation."""

    #: Failures in a row.
    failures: int
    #: No replacement before this moment (unix seconds); 0 when nothing failed.
    not_before: float
    last_reason: str

    def waits(self, now: float) -> bool:
        """Whether a replacement must still wait."""
        return now < self.not_before


def delay_s(rounds: int) -> float:
    """Seconds to wait after that many failed rounds in a row: 0 for the first, then 2, 4, 8 ... 300."""
    if rounds <= 1:
        return 0.0
    return min(DELAY_MAX_S, DELAY_FIRST_S * 2.0 ** min(rounds - 2, _DOUBLINGS_MAX))


def backoff(deployment: Deployment, replicas: Iterable[Replica]) -> Backoff:
    """Where the deployment stands; ``replicas`` must hold the recent failed ones of its current generation."""
    failed = sorted(
        (
            replica
            for replica in replicas
            if replica.state is ReplicaState.FAILED and replica.generation == deployment.generation
        ),
        key=lambda replica: replica.state_since,
        reverse=True,
    )
    row = 0
    for replica in failed:
        row += 1
        if replica.ready_at is not None and replica.state_since - replica.ready_at >= STABLE_S:
            break
    if row == 0:
        return Backoff(0, 0.0, "")
    rounds = math.ceil(row / max(1, deployment.replicas))
    return Backoff(row, failed[0].state_since + delay_s(rounds), failed[0].reason)
