"""Adaptations as people ask for them; the centre's agent carries them out (``tunings``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from yunhe.adapt.adaptation import AdaptationSpec
from yunhe.broker.place import Demand, Placement, place
from yunhe.catalogue.errors import NoWeights
from yunhe.catalogue.model import ANY, EXTERNAL_ENGINE, NO_WEIGHTS, Model, Recipe
from yunhe.control.effects import Effects, lock_serve
from yunhe.control.page import Page, page_of
from yunhe.control.state import ControlState
from yunhe.control.supply import is_online, read_supply, with_uses
from yunhe.control.tuning_reports import finished
from yunhe.control.tunings import tell
from yunhe.core.errors import Conflict, InvalidRequest, NotFound
from yunhe.core.ids import new_id
from yunhe.pool.model import Centre
from yunhe.serve.model import LIVE_STATES, ReplicaState
from yunhe.serve.rollout import is_canary
from yunhe.store import adaptations, models, pool, serve
from yunhe.store.adaptations import Adaptation, Assignment, StoredEntry
from yunhe.store.database import Tx

#: That have not ended, of one centre.
WAITING_MAX: Final = 16
_LIST: Final = "List adaptations: yunhe adaptation list."


@dataclass(frozen=True, slots=True)
class AdaptationAsk:
    """What somebody asks for, and where."""

    spec: AdaptationSpec
    #: Id or name.
    centre: str
    #: Chip of the cards; ``any`` leaves it to the broker.
    chip: str = ANY
    project_id: str | None = None


@dataclass(frozen=True, slots=True)
class AdaptationView:
    """An adaptation, where it runs, and how much of its journal is here."""

    adaptation: Adaptation
    centre: str
    entries: int
    #: In words for people: what is under way, what it waits for, or why it ended.
    activity: str


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Entries in their order."""

    entries: tuple[StoredEntry, ...]
    #: Number of the entry that follows: what to ask from next.
    next: int
    #: Whether nothing will follow.
    ended: bool


class Adaptations:
    """All adaptations; who may do what is the caller's to check."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def list(
        self, limit: int, after: str | None, model: str | None = None, centre: str | None = None
    ) -> Page[AdaptationView]:
        """Newest first; of one model, and of one centre by id or name. Raises NotFound for the centre."""
        async with self._state.db.read() as tx:
            centre_id = None if centre is None else (await _centre(tx, centre)).id
            found = await adaptations.list_adaptations(tx, limit + 1, after, model, centre_id)
            views = await _views(tx, found)
        return page_of(views, limit, lambda view: view.adaptation.id)

    async def get(self, adaptation_id: str) -> AdaptationView:
        """By id. Raises NotFound."""
        async with self._state.db.read() as tx:
            return (await _views(tx, [await _find(tx, adaptation_id)]))[0]

    async def entries(self, adaptation_id: str, since: int, limit: int) -> JournalPage:
        """The journal from an entry's number on. Raises NotFound."""
        async with self._state.db.read() as tx:
            adaptation = await _find(tx, adaptation_id)
            found = await adaptations.entries(tx, adaptation_id, since, limit)
        after = found[-1].number + 1 if found else since
        return JournalPage(tuple(found), after, adaptation.finished_at is not None and len(found) < limit)

    async def create(self, ask: AdaptationAsk) -> AdaptationView:
        """Order it from the centre, whose agent takes one up after the other.

        Raises NotFound for the model and the centre, Conflict when the centre is away or has no room or too many
        wait there, InvalidRequest for anything else.
        """
        now = self._state.clock.unix_s()
        effects = Effects(now)
        async with self._state.db.write() as tx:
            await lock_serve(tx)
            model = await _model_with_weights(tx, ask.spec.model)
            centre = await _centre(tx, ask.centre)
            self._check_online(centre, now)
            if len(await adaptations.unfinished(tx, [centre.id])) >= WAITING_MAX:
                raise Conflict(f"{WAITING_MAX} adaptations wait in centre {centre.name} already", next_step=_LIST)
            await _check_engines(tx, ask.spec.engines, centre)
            made = Adaptation(
                id=new_id("adp"),
                project_id=ask.project_id,
                centre_id=centre.id,
                # By its name, where it was asked for by its id.
                spec=msgspec.structs.replace(ask.spec, model=model.name),
                assignment=await self._assign(tx, model, centre, ask.chip, now),
                state="waiting",
                activity=f"waits for the agent of centre {centre.name}",
                created_at=now,
                state_since=now,
            )
            await adaptations.add_adaptation(tx, made)
            tell(made, effects)
            effects.desired(centre.id)
            await effects.write(tx)
            view = (await _views(tx, [made]))[0]
        effects.wake(self._state.hub)
        return view

    async def cancel(self, adaptation_id: str) -> AdaptationView:
        """Stop it and keep what was measured. Raises NotFound, Conflict when it has ended."""
        now = self._state.clock.unix_s()
        effects = Effects(now)
        async with self._state.db.write() as tx:
            await lock_serve(tx)
            before = await _find(tx, adaptation_id)
            if before.finished_at is not None:
                raise Conflict(f"the adaptation has ended: {before.state}, {before.activity}", next_step=_LIST)
            centre = await pool.centre(tx, before.centre_id)
            online = centre is not None and is_online(centre, now, self._state.started_at)
            if before.state == "waiting" or not online:
                reason = "somebody cancelled it" if online else "somebody cancelled it while its centre was away"
                after = finished(replace(before, cancel_asked=True), "cancelled", reason, now)
                tell(after, effects)
            else:
                after = replace(before, cancel_asked=True, activity="somebody cancelled it; the centre stops it")
            if after != before:
                await adaptations.save_adaptation(tx, after)
                effects.desired(after.centre_id)
                await effects.write(tx)
            view = (await _views(tx, [after]))[0]
        effects.wake(self._state.hub)
        return view

    def _check_online(self, centre: Centre, now: float) -> None:
        if not is_online(centre, now, self._state.started_at):
            raise Conflict(
                f"the agent of centre {centre.name} is away, so nothing can be measured there",
                next_step="Start its agent, then look at it: yunhe centre list.",
            )

    async def _assign(self, tx: Tx, model: Model, centre: Centre, chip: str, now: float) -> Assignment:
        """Cards as the broker would choose them, and what the gain is over. Raises Conflict."""
        served = await _served_by(tx, model, centre)
        demand = Demand(model, served.engine if served else ANY, chip, centre.name)
        supply = await read_supply(tx, now, self._state.started_at)
        known = {one.name: one for one in await models.all_models(tx)}
        found = place(demand, with_uses(supply, await serve.replicas_of(tx), known, ""))
        if not isinstance(found, Placement) or found.chip is None:
            raise Conflict(
                found.reason,
                next_step="Scale down what runs there: yunhe deployment scale NAME 0."
                if not isinstance(found, Placement) and found.for_room
                else "Look at its cards and engines: yunhe card list, yunhe engine list.",
            )
        baseline = served or Recipe(new_id("recipe"), "default", model.name, ANY, found.engine, {})
        return Assignment(model, found.cards, found.chip, baseline)


async def _served_by(tx: Tx, model: Model, centre: Centre) -> Recipe | None:
    """How a deployment runs the model in the centre now, the newest and ready first; None when none does."""
    plain = {
        one.id
        for one in await serve.all_deployments(tx)
        if one.model == model.name and one.deleted_at is None and one.external is None
    }
    running = [
        one
        for one in await serve.replicas_of(tx, centre_id=centre.id)
        if one.deployment_id in plain and one.state in LIVE_STATES and not is_canary(one)
    ]
    if not running:
        return None
    return max(running, key=lambda one: (one.state is ReplicaState.READY, one.generation, one.id)).recipe


async def _model_with_weights(tx: Tx, ref: str) -> Model:
    """Raises NotFound, InvalidRequest."""
    found = await models.model(tx, ref)
    if found is None:
        raise NotFound(f"there is no model {ref!r}", next_step="List models: yunhe model list.")
    if found.weights.location == NO_WEIGHTS:
        rule = f"no weights of {found.name} are here: it was added from its config.json alone"
        raise NoWeights(rule, fields=["body.model: one with weights"])
    if found.weights.location == EXTERNAL_ENGINE or found.weights.sha256 is None:
        rule = f"{found.name} has no weights here, only external servers hold it"
        raise InvalidRequest(rule, fields=[f"body.model: {rule}"], next_step="Add its weights: yunhe model add FILE.")
    return found


async def _centre(tx: Tx, ref: str) -> Centre:
    found = await pool.centre(tx, ref)
    if found is None:
        raise NotFound(f"there is no centre {ref!r}", next_step="List centres: yunhe centre list.")
    return found


async def _check_engines(tx: Tx, engines: Sequence[str], centre: Centre) -> None:
    """Whether the centre has what is to be searched. Raises InvalidRequest."""
    usable = sorted(one.name for one in (await pool.engines_by_centre(tx)).get(centre.id, ()) if not one.error)
    if missing := [name for name in engines if name not in usable]:
        rule = f"centre {centre.name} has no engine {', '.join(missing)}; it has {', '.join(usable)}"
        raise InvalidRequest(rule, fields=[f"body.engines: {rule}"], next_step="Install it: yunhe engine install NAME.")


async def _find(tx: Tx, adaptation_id: str) -> Adaptation:
    found = await adaptations.adaptation(tx, adaptation_id)
    if found is None:
        raise NotFound(f"there is no adaptation {adaptation_id!r}", next_step=_LIST)
    return found


async def _views(tx: Tx, found: Iterable[Adaptation]) -> list[AdaptationView]:
    found = list(found)
    names = {}
    for centre_id in {one.centre_id for one in found}:
        centre = await pool.centre(tx, centre_id)
        names[centre_id] = centre.name if centre else centre_id
    counts = await adaptations.entry_counts(tx, [one.id for one in found])
    queues = await adaptations.unfinished(tx, {one.centre_id for one in found if one.state == "waiting"})
    return [AdaptationView(one, names[one.centre_id], counts.get(one.id, 0), _activity(one, queues)) for one in found]


def _activity(adaptation: Adaptation, queue: Sequence[Adaptation]) -> str:
    """What it waits for, while it does: a centre takes up one at a time, in the order of their making."""
    if adaptation.state == "waiting":
        for one in queue:
            if one.centre_id == adaptation.centre_id and one.id < adaptation.id:
                return f"waits until {one.id} (of {one.spec.model}) has ended"
    return adaptation.activity
