"""Events as people see them."""

from __future__ import annotations

from yunhe.control.page import Page, page_of
from yunhe.control.state import ControlState
from yunhe.serve.model import Event
from yunhe.store import serve


class Events:
    """State changes with their reasons."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def list(self, subject: str | None, limit: int, after: str | None) -> Page[Event]:
        """Newest first; of one subject's id, of one kind of subject, or all."""
        async with self._state.db.read() as tx:
            return page_of(await serve.list_events(tx, limit + 1, after, subject), limit, lambda event: event.id)
