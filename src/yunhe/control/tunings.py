"""Adaptations as agents see them: the orders of a centre, and what its agent reports of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec

from yunhe.adapt.adaptation import Ended, TuningOrder, TuningReport
from yunhe.adapt.recipe_document import Recipe, read_recipe
from yunhe.control.effects import Effects
from yunhe.control.recipes import keep_signed
from yunhe.control.state import ControlState
from yunhe.control.tuning_reports import finished, plain, read_report, take_report
from yunhe.core.errors import Conflict, InvalidRequest
from yunhe.store import adaptations
from yunhe.store.adaptations import Adaptation
from yunhe.store.database import Tx

_LOG: Final = logging.getLogger(__name__)
_SEVERITIES: Final = {"failed": "error", "cancelled": "warning"}


async def orders(tx: Tx, centre_id: str) -> tuple[str, ...]:
    """JSON texts of ``TuningOrder``: all that the centre shall carry out, in this order, or stop."""
    wanted = await adaptations.unfinished(tx, [centre_id])
    if not wanted:
        return ()
    known = await adaptations.entry_counts(tx, [one.id for one in wanted])
    return tuple(
        msgspec.json.encode(
            TuningOrder(
                adaptation_id=one.id,
                spec=one.spec,
                model=one.assignment.model,
                cards=one.assignment.cards,
                baseline=one.assignment.baseline,
                run=not one.cancel_asked,
                entries_known=known.get(one.id, 0),
            )
        ).decode()
        for one in wanted
    )


class TuningIntake:
    """What one sync of a centre's agent says of its adaptations, in one transaction under the serve lock.

    What makes no sense is refused in the log and keeps nothing else from being taken. The caller writes the effects.
    """

    def __init__(self, tx: Tx, state: ControlState, centre_id: str, now: float, effects: Effects) -> None:
        self._tx, self._state, self._centre_id = tx, state, centre_id
        self._now, self._effects = now, effects

    async def take(self, texts: Sequence[str], *, up_to_date: bool) -> bool:
        """Store what is new; whether the agent has yet to learn how much of its journals is stored.

        ``up_to_date``: the agent has taken everything that is desired of it.
        """
        wanted = {one.id: one for one in await adaptations.unfinished(self._tx, [self._centre_id])}
        stored = await adaptations.entry_counts(self._tx, list(wanted)) if wanted else {}
        behind = False
        reports = self._read(texts)
        for report in reports.values():
            before = wanted.get(report.adaptation_id)
            if before is None:
                # Ended here already, or never ordered; the answer tells the agent what is wanted.
                _LOG.debug("centre %s reports %s, which is not wanted", self._centre_id, ascii(report.adaptation_id))
                continue
            known = stored.get(before.id, 0)
            known += await self._take_one(before, known, report)
            behind = behind or report.entries_from != known
        for one in wanted.values():
            if one.cancel_asked and up_to_date and one.id not in reports:
                reason = "somebody cancelled it; the centre had nothing of it"
                await self._save(one, finished(one, "cancelled", reason, self._now))
        return behind

    def _read(self, texts: Sequence[str]) -> dict[str, TuningReport]:
        """adaptation id -> report; the first counts where one adaptation is reported twice."""
        found: dict[str, TuningReport] = {}
        for text in texts:
            try:
                report = read_report(text)
            except InvalidRequest as error:
                _LOG.error("the agent of centre %s: %s", self._centre_id, error.message)
                continue
            found.setdefault(report.adaptation_id, report)
        return found

    async def _take_one(self, before: Adaptation, known: int, report: TuningReport) -> int:
        """Store what a report brings; how many entries that were."""
        taken = take_report(before, known, report, self._now)
        if taken.refused:
            _LOG.error("adaptation %s: of its centre's report was refused: %s", before.id, taken.refused)
        await adaptations.add_entries(self._tx, before.id, taken.entries)
        after = taken.adaptation
        if taken.ended is not None and taken.ended.recipe is not None:
            after = await self._with_recipe(after, taken.ended)
        if after != before:
            await self._save(before, after)
        return len(taken.entries)

    async def _save(self, before: Adaptation, after: Adaptation) -> None:
        await adaptations.save_adaptation(self._tx, after)
        if after.state != before.state:
            tell(after, self._effects)
        if after.finished_at is not None:
            self._effects.desired(after.centre_id)

    async def _with_recipe(self, after: Adaptation, ended: Ended) -> Adaptation:
        """The ended adaptation with its signed recipe; failed when what the centre calls a recipe is none of it."""
        try:
            recipe = read_recipe(ended.recipe)
            _check_asked_for(recipe, after)
            return replace(after, recipe_id=await keep_signed(self._tx, self._state, recipe))
        except (InvalidRequest, Conflict, RecursionError) as error:
            why = plain(error.message if isinstance(error, InvalidRequest | Conflict) else str(error))
            _LOG.error("adaptation %s: its recipe was not signed: %s", after.id, why)
            return replace(
                after, state="failed", activity=plain(f"its recipe was not signed: {why} ({after.activity})")
            )


def tell(adaptation: Adaptation, effects: Effects) -> None:
    """An event for the state that it has reached."""
    severity = _SEVERITIES.get(adaptation.state, "info")
    effects.event("adaptation", adaptation.id, f"adaptation_{adaptation.state}", adaptation.activity, severity)


def _check_asked_for(recipe: Recipe, adaptation: Adaptation) -> None:
    """Whether it is of the model and the chip that were asked for. Raises InvalidRequest."""
    assignment = adaptation.assignment
    if recipe.model.digest != assignment.model.weights.sha256:
        raise InvalidRequest(f"it is of other weights ({recipe.model.digest[:12]}) than those of the order")
    if recipe.chip.chip_id != assignment.chip:
        raise InvalidRequest(f"it is for chip {recipe.chip.chip_id}, the order was for {assignment.chip}")
