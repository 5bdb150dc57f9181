"""Takes in what gateway workers have used, and leases them credit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from yunhe.control.hub import SNAPSHOT
from yunhe.control.state import ControlState
from yunhe.core.errors import InvalidRequest, TooLarge
from yunhe.ledger.model import LeaseAsk, LeaseGrant
from yunhe.ledger.usage import UsageRecord
from yunhe.store import leases, usage

ASKS_MAX: Final = 1000
#: Far beyond any request, and exact in every database and JSON reader.
COUNT_MAX: Final = 2**53


class Intake:
    """Usage and leases; every answer is given after the commit that it tells of."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def usage(self, records: Sequence[UsageRecord]) -> tuple[int, int]:
        """Store a batch exactly once: (accepted, duplicates). Raises TooLarge, InvalidRequest."""
        if len(records) > usage.BATCH_MAX:
            raise TooLarge(f"a batch has at most {usage.BATCH_MAX} records", limit=usage.BATCH_MAX)
        for record in records:
            _check(record)
        async with self._state.db.write() as tx:
            taken = await usage.record_usage(tx, records, self._state.clock.unix_s())
        # Costs that no lease covered have changed what a project has left.
        if any(record.lease_id is None for record in records):
            self._state.hub.wake(SNAPSHOT)
        return taken

    async def leases(self, worker: str, asks: Sequence[LeaseAsk], release: Sequence[str]) -> tuple[LeaseGrant, ...]:
        """One grant for each ask, in their order. Raises TooLarge."""
        if len(asks) > ASKS_MAX or len(release) > ASKS_MAX:
            raise TooLarge(f"at most {ASKS_MAX} asks at once", limit=ASKS_MAX)
        now = self._state.clock.unix_s()
        async with self._state.db.write() as tx:
            grants = await leases.exchange(tx, worker, asks, release, now)
        self._state.hub.wake(SNAPSHOT)
        return tuple(grants)


def _check(record: UsageRecord) -> None:
    """Refuse what no database could store: a worker sets such a record aside instead of sending it for ever."""
    counts = (record.prompt_tokens, record.cached_tokens, record.completion_tokens, record.attempts, record.http_status)
    if not all(0 <= count <= COUNT_MAX for count in counts):
        raise InvalidRequest("a count is out of range", fields=["body.records: a count is out of range"])
    if "\0" in "".join((record.request_id, record.project_id, record.key_id, record.model, record.served_by or "")):
        raise InvalidRequest("a text holds NUL", fields=["body.records: a text holds NUL"])
