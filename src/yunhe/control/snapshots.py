"""What gateway workers follow: answers their long polls with what changed (serve/snapshot.py)."""

from __future__ import annotations

from typing import Final

from yunhe.control.hub import SNAPSHOT
from yunhe.control.state import ControlState
from yunhe.serve.snapshot import SnapshotDelta
from yunhe.store import changes, snapshot

#: Longest wait for a change; workers that ask for more get this.
WAIT_MAX_S: Final = 20.0
#: Changes by other control processes (a revoked key must reach every worker within 2 s) are noticed by asking the
#: database so often.
POLL_S: Final = 0.5


class SnapshotDesk:
    """Answers one worker's question at a time."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def read(self, since: int, wait_s: float) -> SnapshotDelta:
        """Everything after revision ``since``: at once when there is anything, else empty after ``wait_s``."""
        hub, clock = self._state.hub, self._state.clock
        deadline = clock.monotonic_s() + min(wait_s, WAIT_MAX_S)
        while True:
            seen = hub.count(SNAPSHOT)
            async with self._state.db.read() as tx:
                revision = await changes.current(tx)
                if revision != since or since <= 0:
                    return await snapshot.snapshot(tx, since, clock.unix_s())
            left_s = deadline - clock.monotonic_s()
            if left_s <= 0 or hub.closed:
                return SnapshotDelta(revision=revision, full=False, server_time=clock.unix_s())
            with self._state.followers.waiting_at(since):
                await hub.wait(SNAPSHOT, seen, min(left_s, POLL_S))
