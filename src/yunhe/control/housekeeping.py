"""What must happen as time passes: leases end, prices take effect, centres fall silent, old rows go."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from yunhe.control.effects import Effects
from yunhe.control.hub import CONTROLLER, SNAPSHOT
from yunhe.control.leader import Leadership
from yunhe.control.state import ControlState
from yunhe.control.supply import CENTRES_MAX, is_online
from yunhe.core.errors import YunheError
from yunhe.store import changes, leases, models, pool, serve, users

#: The topic that nobody wakes: a wait that ends early only when the process stops.
_TIME: Final = "time"
ROUND_S: Final = 5.0
#: Rounds between clearing out old rows.
PURGE_EVERY: Final = 60
REPLICAS_KEPT_S: Final = 24 * 3600.0
EVENTS_KEPT_S: Final = 30 * 24 * 3600.0
_LOG: Final = logging.getLogger(__name__)


class Housekeeping:
    """One loop over small chores; one that fails is logged and does not keep the others from their turn."""

    def __init__(self, state: ControlState, leadership: Leadership) -> None:
        self._state = state
        self._leadership = leadership
        self._prices_seen_until = state.started_at
        self._away: set[str] = set()
        self._rounds = 0

    async def run(self) -> None:
        """Work until cancelled, while this process leads."""
        hub = self._state.hub
        while not hub.closed:
            if self._leadership.held:
                await self.work()
            await hub.wait(_TIME, 0, ROUND_S)

    async def work(self) -> None:
        """One round."""
        chores: list[Callable[[float], Awaitable[None]]] = [self._leases, self._prices, self._centres]
        if self._rounds % PURGE_EVERY == 0:
            chores.append(self._purge)
        self._rounds += 1
        for chore in chores:
            try:
                await chore(self._state.clock.unix_s())
            except YunheError as error:
                _LOG.warning("housekeeping: %s", error.message)
            except Exception:  # noqa: BLE001 - a process edge: the next round tries again
                _LOG.exception("housekeeping failed")

    async def _leases(self, now: float) -> None:
        async with self._state.db.write() as tx:
            ended = await leases.expire(tx, now)
        if ended:
            self._state.hub.wake(SNAPSHOT)

    async def _prices(self, now: float) -> None:
        async with self._state.db.write() as tx:
            due = await models.note_prices_taking_effect(tx, self._prices_seen_until, now)
        self._prices_seen_until = now
        if due:
            self._state.hub.wake(SNAPSHOT)

    async def _centres(self, now: float) -> None:
        """Tell of centres that fell silent or came back. Their replicas stay routed until requests to them fail."""
        async with self._state.db.read() as tx:
            centres = await pool.list_centres(tx, CENTRES_MAX)
        away = {
            centre.id: centre
            for centre in centres
            if centre.last_sync_at is not None and not is_online(centre, now, self._state.started_at)
        }
        effects = Effects(now)
        for centre_id in away.keys() - self._away:
            silent_s = now - (away[centre_id].last_sync_at or now)
            words = f"its agent has not synced for {silent_s:.0f} s; what runs there goes on and stays routed"
            effects.event("centre", centre_id, "centre_away", words, "warning")
        for centre_id in self._away - away.keys():
            effects.event("centre", centre_id, "centre_online", "its agent syncs again")
        if effects.any:
            async with self._state.db.write() as tx:
                await effects.write(tx)
            self._state.hub.wake(CONTROLLER)
        self._away = set(away)

    async def _purge(self, now: float) -> None:
        async with self._state.db.write() as tx:
            await serve.purge_ended(tx, now - REPLICAS_KEPT_S)
            await serve.purge_events(tx, now - EVENTS_KEPT_S)
            await users.purge_sessions(tx, now)
            await changes.trim(tx)
