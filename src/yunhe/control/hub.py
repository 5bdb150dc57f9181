"""Wake-ups inside one control process: what waits in a long poll learns at once that something was committed.

A wake-up carries nothing: the waiter reads the database again. Losing one costs a poll interval, never correctness;
other control processes on the same database notice by polling its revision.
"""

from __future__ import annotations

import asyncio
from typing import Final

#: Topics without a parameter.
SNAPSHOT: Final = "snapshot"
CONTROLLER: Final = "controller"


def centre_topic(centre_id: str) -> str:
    """What the agent of a centre waits for."""
    return f"centre:{centre_id}"


class Hub:
    """Counters by topic, and who waits for them to move. Used from one event loop only."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._closed = False

    def count(self, topic: str) -> int:
        """How often the topic was woken; take it before reading the database, then wait from it."""
        return self._counts.get(topic, 0)

    def wake(self, *topics: str) -> None:
        """Say that something changed; call it after the commit."""
        for topic in topics:
            self._counts[topic] = self._counts.get(topic, 0) + 1
            for waiter in self._waiters.pop(topic, ()):
                if not waiter.done():
                    waiter.set_result(None)

    @property
    def closed(self) -> bool:
        """Whether the process is stopping: nobody should wait any more."""
        return self._closed

    def close(self) -> None:
        """End every wait, now and from now on, so that the process can stop at once."""
        self._closed = True
        self.wake(*self._waiters)

    async def wait(self, topic: str, seen: int, timeout_s: float) -> bool:
        """Wait until the topic's count differs from ``seen``; False when ``timeout_s`` passed first, or at the end."""
        if self.count(topic) != seen:
            return True
        if self._closed:
            return False
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(topic, set())
        waiters.add(waiter)
        try:
            await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            return False
        finally:
            waiters.discard(waiter)
            if not waiters and self._waiters.get(topic) is waiters:
                del self._waiters[topic]
        return True
