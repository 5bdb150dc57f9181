"""Keeps deployments as wanted: asks serve what to do and the broker where, and carries it out.

Woken by every change, and by time where a decision waits for it. A pass reads everything, decides purely, writes in
one transaction, and repeats until nothing is left to do; a pass that fails is logged and tried again.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from yunhe.broker.place import Demand, NoFit, Placement, place
from yunhe.control.effects import Effects, lock_serve
from yunhe.control.hub import CONTROLLER
from yunhe.control.leader import Leadership
from yunhe.control.rollout_pass import step_rollouts
from yunhe.control.state import ControlState
from yunhe.control.supply import read_supply, with_uses
from yunhe.control.world import World
from yunhe.core.errors import YunheError
from yunhe.core.ids import new_id
from yunhe.serve.errors import IllegalTransition
from yunhe.serve.model import ENDED_STATES, Deployment, Replica, ReplicaState
from yunhe.serve.reconcile import Create, Plan, reconcile
from yunhe.serve.transitions import move
from yunhe.store import models, rollouts, serve
from yunhe.store.database import Tx

#: Looks again at least so often: other control processes' changes make no wake-up here.
TICK_S: Final = 2.0
#: Rounds of one pass; each round's decisions may call for others.
ROUNDS_MAX: Final = 20
_LOG: Final = logging.getLogger(__name__)


class ServeController:
    """The loop around serve's and the broker's policies."""

    def __init__(self, state: ControlState, leadership: Leadership) -> None:
        self._state = state
        self._leadership = leadership

    async def run(self) -> None:
        """Work until cancelled, while this process leads."""
        hub = self._state.hub
        while not hub.closed:
            seen = hub.count(CONTROLLER)
            wait_s = TICK_S
            if self._leadership.held:
                try:
                    wait_s = min(TICK_S, await self.work())
                except YunheError as error:
                    _LOG.warning("a pass over the deployments failed: %s", error.message)
                except Exception:  # noqa: BLE001 - a process edge: the next pass tries again
                    _LOG.exception("a pass over the deployments failed")
            await hub.wait(CONTROLLER, seen, max(0.05, wait_s))

    async def work(self) -> float:
        """One pass; returns the seconds until time alone calls for the next."""
        now = self._state.clock.unix_s()
        async with self._state.db.read() as tx:
            world = await self._read(tx, now)
        effects = Effects(now)
        due = _decide(world, effects)
        if effects.any or _finished(world):
            effects = Effects(now)
            async with self._state.db.write() as tx:
                await lock_serve(tx)
                world = await self._read(tx, now)
                due = _decide(world, effects)
                await effects.write(tx)
                await _forget_finished(tx, world)
            effects.wake(self._state.hub)
        return TICK_S if due is None else max(0.0, due - now)

    async def _read(self, tx: Tx, now: float) -> World:
        return World(
            now=now,
            deployments={one.id: one for one in await serve.all_deployments(tx)},
            replicas={replica.id: replica for replica in await serve.replicas_of(tx, ended=True)},
            models={model.name: model for model in await models.all_models(tx)},
            centres=await read_supply(tx, now, self._state.started_at),
            stats=self._state.stats,
            rollouts=await rollouts.open_rollouts(tx),
        )


def _decide(world: World, effects: Effects) -> float | None:
    """Make all decisions, until none is left; when time alone makes one due."""
    busy = world.stats.busy(world.now)
    away = frozenset(offer.centre.id for offer in world.centres if not offer.online)
    for _ in range(ROUNDS_MAX):
        no_room = _place_pending(world, effects)
        due: list[float] = []
        again = step_rollouts(world, no_room, effects)
        for deployment in world.deployments.values():
            rollout = world.rollouts.get(deployment.id)
            plan = reconcile(deployment, world.own(deployment.id), world.now, no_room, away, rollout, busy)
            again = _carry_out(plan, deployment, world, effects) or again
            if plan.look_again_at is not None:
                due.append(plan.look_again_at)
        if not again:
            return min(due, default=None)
    _LOG.error("deployments did not come to rest within %d rounds", ROUNDS_MAX)
    return None


def _carry_out(plan: Plan, deployment: Deployment, world: World, effects: Effects) -> bool:
    """Apply a deployment's decisions; whether there were any. One deployment's fault stops no other."""
    try:
        for decision in plan.decisions:
            if isinstance(decision, Create):
                _create(world, deployment, decision, effects)
            else:
                change = move(world.replicas[decision.replica_id], decision.to, decision.reason, world.now)
                world.replicas[change.replica.id] = change.replica
                effects.change(change)
    except IllegalTransition as error:
        _LOG.error("deployment %s: %s", deployment.name, error.message)
        return False
    return bool(plan.decisions)


def _create(world: World, deployment: Deployment, decision: Create, effects: Effects) -> None:
    rollout = world.rollouts[deployment.id] if decision.canary else None
    replica = Replica(
        id=new_id("rep"),
        deployment_id=deployment.id,
        model=deployment.model,
        generation=rollout.generation if rollout else deployment.generation,
        state=ReplicaState.PENDING,
        reason="waits for a place",
        recipe=rollout.recipe if rollout else deployment.recipe,
        created_at=world.now,
        state_since=world.now,
        external=deployment.external,
        share=rollout.share if rollout else None,
    )
    world.replicas[replica.id] = replica
    effects.create(replica, decision.reason)


def _place_pending(world: World, effects: Effects) -> frozenset[str]:
    """Give each pending replica a place where one fits; ids of those that would fit if others left."""
    no_room = set()
    for replica in list(world.replicas.values()):
        deployment = world.deployments.get(replica.deployment_id)
        if replica.state is not ReplicaState.PENDING or replica.centre_id is not None or deployment is None:
            continue
        if deployment.deleted_at is not None:
            continue
        found = _find_place(world, deployment, replica)
        if isinstance(found, Placement):
            placed = replace(
                replica,
                centre_id=found.centre_id,
                node=found.node,
                cards=found.cards,
                chip=found.chip or (replica.external.chip if replica.external else None),
                recipe=replace(replica.recipe, engine=found.engine),
                reason=f"waits for the agent of centre {found.centre}",
            )
            effects.event("replica", replica.id, "replica_placed", found.reason)
            effects.desired(found.centre_id)
        else:
            placed = replace(replica, reason=found.reason)
            if placed != replica:
                effects.event("replica", replica.id, "replica_waits", found.reason, "warning")
            if found.for_room:
                no_room.add(replica.id)
        if placed != replica:
            world.replicas[replica.id] = placed
            effects.save(placed)
    return frozenset(no_room)


def _find_place(world: World, deployment: Deployment, replica: Replica) -> Placement | NoFit:
    demand = Demand(
        model=world.models[replica.model],
        engine=replica.recipe.engine,
        chip=replica.recipe.chip,
        centre=deployment.centre,
        external=replica.external is not None,
        settings=replica.recipe.settings,
    )
    return place(demand, with_uses(world.centres, world.replicas.values(), world.models, deployment.id))


def _finished(world: World) -> list[Deployment]:
    """Deleted deployments whose last replica has ended."""
    busy = {replica.deployment_id for replica in world.replicas.values() if replica.state not in ENDED_STATES}
    return [one for one in world.deployments.values() if one.deleted_at is not None and one.id not in busy]


async def _forget_finished(tx: Tx, world: World) -> None:
    for deployment in _finished(world):
        await rollouts.forget_rollouts(tx, deployment.id)
        await serve.remove_deployment(tx, deployment.id)
