"""Which of several control processes on one database runs the controllers: the one that holds a short lease."""

from __future__ import annotations

import logging
from typing import Final

from yunhe.control.hub import CONTROLLER
from yunhe.control.state import ControlState
from yunhe.core.errors import YunheError
from yunhe.store import serve

LEASE: Final = "controllers"
LEASE_S: Final = 15.0
RENEW_S: Final = 4.0
#: The topic that nobody wakes: a wait that ends early only when the process stops.
_TIME: Final = "time"
_LOG: Final = logging.getLogger(__name__)


class Leadership:
    """This process's part in the election. Correctness does not hang on it: controllers' writes are safe anyway."""

    def __init__(self, state: ControlState) -> None:
        self._state = state
        self._until = 0.0

    @property
    def held(self) -> bool:
        """Whether this process may run controllers now, by its own monotonic clock."""
        return self._state.clock.monotonic_s() < self._until

    async def run(self) -> None:
        """Take the lease and keep it, until cancelled."""
        while not self._state.hub.closed:
            try:
                await self.renew()
            except YunheError as error:
                _LOG.warning("cannot renew the controllers' lease: %s", error.message)
            except Exception:  # noqa: BLE001 - a process edge: the election goes on
                _LOG.exception("renewing the controllers' lease failed")
            await self._state.hub.wait(_TIME, 0, RENEW_S)

    async def renew(self) -> bool:
        """Take or keep the lease; whether it is held."""
        asked_at = self._state.clock.monotonic_s()
        held_before = self.held
        async with self._state.db.write() as tx:
            got = await serve.lead(tx, LEASE, self._state.instance, self._state.clock.unix_s(), LEASE_S)
        # Counted from before the question, so that the holder stops before anybody else may start.
        self._until = asked_at + LEASE_S - 1.0 if got else 0.0
        if got and not held_before:
            _LOG.info("this process runs the controllers now")
            self._state.hub.wake(CONTROLLER)
        return got

    async def resign(self) -> None:
        """Give the lease back so that another process takes over at once."""
        self._until = 0.0
        try:
            async with self._state.db.write() as tx:
                await serve.stop_leading(tx, LEASE, self._state.instance)
        except YunheError as error:
            _LOG.warning("could not give the controllers' lease back: %s", error.message)
