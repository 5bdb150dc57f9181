"""Passwords: argon2id, computed off the event loop, a bounded number at a time."""

from __future__ import annotations

import asyncio
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from yunhe.core.errors import Unavailable

#: RFC 9106's second recommended setting (64 MiB, 3 passes) with one lane: about 60 ms of one core.
_HASHER: Final = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)
#: Hashes computed at once: each takes 64 MiB and a core.
AT_ONCE: Final = 2
#: Callers that may wait for their turn; more are turned away, so that sign-ins cannot pile up.
WAITING_MAX: Final = 64
#: Checked when there is no such user, so that the time does not tell who exists.
_NOBODY: Final = _HASHER.hash("nobody has this password")


class Passwords:
    """Hashes and checks passwords. One per control process."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The encoded argon2id hash. Raises Unavailable when too many wait already."""
        async with _Turn(self):
            return await asyncio.to_thread(_HASHER.hash, password)

    async def matches(self, encoded: str | None, password: str) -> bool:
        """Whether this is the password; None (no such user) takes as long and is False. Raises Unavailable."""
        async with _Turn(self):
            return await asyncio.to_thread(_matches, encoded, password)


class _Turn:
    """Waits for a free place among few, with few."""

    def __init__(self, passwords: Passwords) -> None:
        self._passwords = passwords

    async def __aenter__(self) -> None:
        passwords = self._passwords
        if passwords._waiting >= WAITING_MAX:
            raise Unavailable("Too many people sign in at this moment.", retry_after_s=5.0)
        passwords._waiting += 1
        try:
            await passwords._turn.acquire()
        finally:
            passwords._waiting -= 1

    async def __aexit__(self, *_exc: object) -> None:
        self._passwords._turn.release()


def _matches(encoded: str | None, password: str) -> bool:
    try:
        return _HASHER.verify(encoded or _NOBODY, password) and encoded is not None
    except (VerifyMismatchError, VerificationError, InvalidHashError):
        return False
