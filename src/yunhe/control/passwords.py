"""Passwords are hashed off the event loop, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Final

from yunhe.accounts import passwords
from yunhe.core.errors import Unavailable

#: Hashes computed at once: each takes a core and 64 MiB.
AT_ONCE: Final = 2
#: Callers that may wait for their turn; more are turned away, so that sign-ins cannot pile up.
WAITING_MAX: Final = 64


async def hash_password(password: str) -> str:
    """The encoded hash, computed off the event loop. Raises InvalidRequest for a password too short or too long."""
    return await asyncio.to_thread(passwords.hash_password, password)


class Passwords:
    """Hashes and checks passwords. One per control process."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The encoded hash. Raises InvalidRequest for a password too short or long, Unavailable when too many wait."""
        async with self._my_turn():
            return await hash_password(password)

    async def matches(self, encoded: str | None, password: str) -> bool:
        """Whether this is the password; None (no such user) takes as long and is False. Raises Unavailable."""
        async with self._my_turn():
            return await asyncio.to_thread(_matches, encoded, password)

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("Too many people sign in at this moment.", retry_after_s=5.0)
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turn.release()


@cache
def _nobody() -> str:
    """Checked when there is no such user, so that the time does not tell who exists."""
    return passwords.hash_password("nobody has this password")


def _matches(encoded: str | None, password: str) -> bool:
    return passwords.verify_password(encoded or _nobody(), password) and encoded is not None
