"""Several control processes on one database, and cards without room."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from yunhe.accounts import keys as credentials
from yunhe.broker.fit import memory_need_bytes
from yunhe.control.controller import ServeController
from yunhe.control.deployments import DeploymentChange, Deployments
from yunhe.control.leader import Leadership
from yunhe.control.snapshots import SnapshotDesk
from yunhe.control.state import ControlState, build_state
from yunhe.core.clock import ManualClock
from yunhe.core.units import GIB
from yunhe.pool.model import Card, Inventory, Node
from yunhe.serve.model import ReplicaState
from yunhe.store import keys, models, serve
from yunhe.store.database import Database

MODEL = "smollm2-135m-instruct"
CARD = Card("cpu0", "cpu-x", "maker", "cpu", "A CPU", 16 * GIB, cores=8, health="healthy")
S = ReplicaState


def inventory(card: Card = CARD) -> Inventory:
    return Inventory((Node("host", 16 * GIB, 8, "linux", (card,)),), taken_at=1_790_000_000.0)


async def by_state(state: ControlState) -> list[tuple[int, ReplicaState]]:
    async with state.db.read() as tx:
        return [(one.generation, one.state) for one in await serve.replicas_of(tx)]


async def test_controllers_of_several_processes_at_once_make_no_replica_twice(
    state: ControlState, database_url: str, agent: Any, clock: ManualClock
) -> None:
    await agent.sync(inventory())
    deployment = (await Deployments(state).get(MODEL)).deployment
    await Deployments(state).change(deployment.id, DeploymentChange(replicas=5))
    databases = [Database(database_url) for _ in range(3)]
    others = [build_state(state.home, database, clock, state.secrets) for database in databases]
    await asyncio.gather(*(ServeController(one, Leadership(one)).work() for one in [state, *others] for _ in range(2)))
    assert await by_state(state) == [(1, S.PENDING)] * 5
    for database in databases:
        await database.dispose()


async def test_a_key_revoked_by_another_process_reaches_a_waiting_gateway(
    state: ControlState, database_url: str, clock: ManualClock, first_start: dict[str, str], snapshot: Any
) -> None:
    prefix = credentials.prefix_of(first_start["api_key"]) or ""
    waiting = asyncio.create_task(SnapshotDesk(state).read((await snapshot(-1)).revision, 20.0))
    await asyncio.sleep(0)
    other = Database(database_url)
    async with other.write() as tx:
        key = await keys.key(tx, prefix)
        assert key is not None
        await keys.revoke(tx, key.id, clock.unix_s())
    assert (await asyncio.wait_for(waiting, 15)).removed == (f"key:{prefix}",)
    await other.dispose()


async def test_a_restart_makes_room_where_the_card_holds_only_one(
    state: ControlState, agent: Any, controllers: Any, clock: ManualClock
) -> None:
    async with state.db.read() as tx:
        model = await models.model(tx, MODEL)
    assert model is not None
    small = replace(CARD, memory_bytes=int(memory_need_bytes(model) * 1.5))
    await agent.sync(inventory(small))
    await controllers.settle()
    await agent.sync()
    agent.run_all()
    await agent.sync()
    deployments = Deployments(state)
    await deployments.restart((await deployments.get(MODEL)).deployment.id)
    await controllers.settle()
    assert await by_state(state) == [(1, S.DRAINING), (2, S.PENDING)]
    assert "are free beside 1 replica(s)" in (await deployments.get(MODEL)).reason
    clock.advance(31)
    await controllers.settle()
    await agent.sync(inventory(small))
    agent.run_all()
    await agent.sync()
    await controllers.settle()
    await agent.sync()
    agent.run_all()
    await agent.sync()
    assert await by_state(state) == [(2, S.READY)]
