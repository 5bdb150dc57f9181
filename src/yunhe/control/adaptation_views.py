"""Adaptations as people look at them: one view of the whole journal, and the report that is made of it."""

from __future__ import annotations

import asyncio

from yunhe.adapt.adaptation import TuningOrder, read_entry
from yunhe.adapt.report_html import Language, report_html
from yunhe.adapt.report_records import AdaptationView
from yunhe.adapt.report_view import adaptation_view
from yunhe.control.state import ControlState
from yunhe.core.errors import NotFound
from yunhe.store import adaptations, pool
from yunhe.store.adaptations import Adaptation

#: A journal of a day at six seconds a window.
ENTRIES_MAX = 20_000


class AdaptationViews:
    """Views of adaptations; who may see them is the caller's to check."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def view(self, adaptation_id: str) -> AdaptationView:
        """Everything that is known by now. Raises NotFound."""
        async with self._state.db.read() as tx:
            one = await adaptations.adaptation(tx, adaptation_id)
            if one is None:
                raise NotFound(
                    f"there is no adaptation {adaptation_id!r}", next_step="List them: yunhe adaptation list."
                )
            stored = await adaptations.entries(tx, one.id, 0, ENTRIES_MAX)
            placed = await pool.cards_of(tx, (one.centre_id,))
            cards = [found.card for found in placed if found.card.uid in one.assignment.cards]
        # A long journal takes a good part of a second, in which others want their answers.
        return await asyncio.to_thread(
            lambda: adaptation_view(
                _order(one),
                [read_entry(entry.document) for entry in stored],
                cards=cards,
                phase=one.state,
                activity=one.activity,
                used_s=one.used_s,
            )
        )

    async def report(self, adaptation_id: str, language: Language) -> str:
        """The view as one self-contained HTML page. Raises NotFound."""
        return await asyncio.to_thread(report_html, await self.view(adaptation_id), language)


def _order(one: Adaptation) -> TuningOrder:
    given = one.assignment
    return TuningOrder(one.id, one.spec, given.model, given.cards, given.baseline)
