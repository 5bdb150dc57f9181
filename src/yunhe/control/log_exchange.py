"""Pieces of replicas' logs, asked for through the agents' syncs.

In the memory of one process: an agent whose long poll is held by another control process is not reached (the caller
gets a clear error and may try again). Bounded in number and time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from yunhe.control.hub import Hub, centre_topic
from yunhe.core.errors import Unavailable
from yunhe.serve.sync import LogAnswer, LogAsk

#: Questions open at once for one centre.
ASKS_MAX: Final = 32
#: How long a question waits for its answer.
ANSWER_LIMIT_S: Final = 8.0


@dataclass(slots=True)
class _Open:
    ask: LogAsk
    answer: asyncio.Future[LogAnswer]
    given: bool = False


class LogExchange:
    """Open questions by centre. Used from one event loop only."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._open: dict[str, dict[str, _Open]] = {}

    async def ask(self, centre_id: str, ask: LogAsk, limit_s: float = ANSWER_LIMIT_S) -> LogAnswer:
        """The answer to one question. Raises Unavailable when too many are open or none came in time."""
        asks = self._open.setdefault(centre_id, {})
        if len(asks) >= ASKS_MAX:
            raise Unavailable("too many log requests are open for this centre", retry_after_s=1.0)
        waiting = _Open(ask, asyncio.get_running_loop().create_future())
        asks[ask.ask_id] = waiting
        self._hub.wake(centre_topic(centre_id))
        try:
            return await asyncio.wait_for(waiting.answer, limit_s)
        except TimeoutError:
            raise Unavailable(
                f"the centre's agent did not answer within {limit_s:.0f} s",
                next_step="Check that the agent runs and reaches control, then try again.",
                retry_after_s=2.0,
            ) from None
        finally:
            asks.pop(ask.ask_id, None)
            if not asks:
                self._open.pop(centre_id, None)

    def has_new(self, centre_id: str) -> bool:
        """Whether a question waits that was not given to the agent yet."""
        return any(not waiting.given for waiting in self._open.get(centre_id, {}).values())

    def give(self, centre_id: str) -> tuple[LogAsk, ...]:
        """All open questions of a centre, to be sent to its agent; repeated until answered."""
        asks = self._open.get(centre_id, {})
        for waiting in asks.values():
            waiting.given = True
        return tuple(waiting.ask for waiting in asks.values())

    def take(self, centre_id: str, answers: tuple[LogAnswer, ...]) -> None:
        """Hand an agent's answers to those who asked; unknown or late ones are dropped."""
        asks = self._open.get(centre_id, {})
        for answer in answers:
            waiting = asks.get(answer.ask_id)
            if waiting is not None and not waiting.answer.done():
                waiting.answer.set_result(answer)
