"""Which revisions the gateways' workers wait behind, so that a caller can be answered once they have caught up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Nobody is kept waiting longer for a worker that is slow, or dead and not yet noticed.
CATCH_UP_S_MAX: Final = 1.0


class Followers:
    """Counts long polls by the revision that they have seen. Used from one event loop only."""

    def __init__(self) -> None:
        self._waiting: Counter[int] = Counter()
        self._arrived = asyncio.Event()

    @contextmanager
    def waiting_at(self, revision: int) -> Iterator[None]:
        """A worker has everything up to ``revision`` and waits for more."""
        self._waiting[revision] += 1
        self._arrived.set()
        try:
            yield
        finally:
            self._waiting[revision] -= 1
            if not self._waiting[revision]:
                del self._waiting[revision]

    async def caught_up(self, revision: int, workers: int) -> bool:
        """Wait until so many workers have everything up to ``revision``; False when they took too long."""
        try:
            async with asyncio.timeout(CATCH_UP_S_MAX):
                while sum(count for seen, count in self._waiting.items() if seen >= revision) < workers:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True
