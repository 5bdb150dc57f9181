from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import msgspec

from yunhe.control.agent_desk import AgentDesk
from yunhe.control.state import ControlState
from yunhe.core.clock import ManualClock
from yunhe.pool.model import Card, Inventory, Node
from yunhe.serve.model import ReplicaState
from yunhe.serve.sync import JoinAnswer, JoinRequest, LogAnswer, LogAsk
from yunhe.store import pool, serve

S = ReplicaState
CARD = Card("cpu0", "cpu-x", "maker", "cpu", "A CPU", 16 << 30, cores=8, health="healthy")


def inventory(*cards: Card) -> Inventory:
    return Inventory((Node("host", 16 << 30, 8, "linux", cards or (CARD,)),), taken_at=1_790_000_000.0)


async def states(state: ControlState) -> list[ReplicaState]:
    async with state.db.read() as tx:
        return [replica.state for replica in await serve.replicas_of(tx, ended=True)]


async def join(wire: httpx.AsyncClient, token: str, nonce: str = "", protocol: int = 1) -> httpx.Response:
    ask = JoinRequest(token, "local", "host", protocol, nonce)
    return await wire.post("/api/v1/agent/join", content=msgspec.json.encode(ask))


async def test_from_join_to_ready_the_replica_reaches_the_gateways(
    state: ControlState, agent: Any, controllers: Any, snapshot: Any
) -> None:
    await agent.sync(inventory())
    await controllers.settle()
    answer = await agent.sync()
    (wanted,) = answer.replicas
    assert (wanted.run, wanted.cards, wanted.recipe.engine) == (True, ("cpu0",), "alpha")
    agent.report(wanted.replica_id, "starting")
    await agent.sync()
    assert (await snapshot(-1)).replicas == ()
    agent.report(wanted.replica_id, "ready", "answered the known prompt")
    await agent.sync()
    whole = await snapshot(-1)
    (entry,) = whole.replicas
    assert (entry.replica_id, entry.served_by) == (wanted.replica_id, "local; cpu-x; alpha; default")
    assert (entry.tokens_per_s, entry.slots) == (100.0, 8)
    agent.report(wanted.replica_id, "unhealthy", "health check failed")
    await agent.sync()
    delta = await snapshot(whole.revision)
    assert (delta.full, delta.removed) == (False, (f"replica:{wanted.replica_id}",))


async def test_a_killed_replica_is_replaced_at_once(state: ControlState, agent: Any, controllers: Any) -> None:
    await agent.sync(inventory())
    await controllers.settle()
    await agent.sync()
    agent.run_all()
    await agent.sync()
    (killed,) = agent.desired
    agent.report(killed, "exited", "killed by signal 9", exit_code=-9)
    await agent.sync()
    await controllers.settle()
    await agent.sync()
    assert killed not in agent.desired
    assert len(agent.desired) == 1
    assert await states(state) == [S.FAILED, S.PENDING]


async def test_repeated_and_stale_reports_change_nothing(state: ControlState, agent: Any, controllers: Any) -> None:
    await agent.sync(inventory())
    await controllers.settle()
    await agent.sync()
    agent.run_all("starting")
    await agent.sync()
    agent.run_all("ready")
    await agent.sync()
    agent.run_all("starting")
    await agent.sync(sequence=agent.sequence - 1)
    assert await states(state) == [S.READY]


async def test_a_late_message_of_an_earlier_boot_changes_nothing(
    state: ControlState, agent: Any, controllers: Any
) -> None:
    await agent.sync(inventory())
    await controllers.settle()
    await agent.sync()
    agent.boot_id = "boot-2"
    agent.run_all("ready")
    assert not (await agent.sync()).inventory_known
    assert (await agent.sync(inventory())).inventory_known
    agent.run_all("starting")
    await agent.sync(boot_id="boot-1", sequence=99)
    assert await states(state) == [S.READY]


async def test_a_deleted_deployment_drains_stops_and_vanishes(
    state: ControlState, agent: Any, controllers: Any, clock: ManualClock
) -> None:
    from yunhe.control.deployments import Deployments

    await agent.sync(inventory())
    await controllers.settle()
    await agent.sync()
    agent.run_all()
    await agent.sync()
    deployments = Deployments(state)
    view = (await deployments.list(None, 10, None)).items[0]
    assert (await deployments.delete(view.deployment.id)).state == "deleting"
    await controllers.settle()
    assert await states(state) == [S.DRAINING]
    clock.advance(31)
    await controllers.settle()
    (wanted,) = (await agent.sync()).replicas
    assert not wanted.run
    agent.run_all()
    await agent.sync()
    await controllers.settle()
    assert (await deployments.list(None, 10, None)).items == ()
    assert (await agent.sync()).replicas == ()


async def test_a_replica_that_the_agent_never_took_is_gone_once_the_agent_is_up_to_date(
    state: ControlState, agent: Any, controllers: Any
) -> None:
    from yunhe.control.deployments import DeploymentChange, Deployments

    await agent.sync(inventory())
    await controllers.settle()
    deployments = Deployments(state)
    view = (await deployments.list(None, 10, None)).items[0]
    await deployments.change(view.deployment.id, DeploymentChange(replicas=0))
    await controllers.settle()
    assert await states(state) == [S.STOPPING]
    await agent.sync()
    assert await states(state) == [S.STOPPING]
    await agent.sync()
    assert await states(state) == [S.STOPPED]


async def test_an_agent_that_knows_more_than_a_database_that_was_put_back_is_brought_on(
    state: ControlState, agent: Any, controllers: Any
) -> None:
    await agent.sync(inventory())
    await controllers.settle()
    agent.revision = 1000
    before = await states(state)
    answer = await agent.sync()
    assert answer.desired_revision == agent.revision == 1001
    assert len(answer.replicas) == 1
    # Not having it yet is no reason to call it gone.
    assert await states(state) == before


async def test_a_card_that_is_gone_becomes_missing_with_an_event(state: ControlState, agent: Any) -> None:
    await agent.sync(inventory(CARD, replace(CARD, uid="cpu1")))
    await agent.sync(inventory(CARD))
    async with state.db.read() as tx:
        health = {placed.card.uid: placed.card.health for placed in await pool.cards_of(tx)}
        events = await serve.list_events(tx, 10, subject="card")
    assert health == {"cpu0": "healthy", "cpu1": "missing"}
    assert [event.kind for event in events] == ["card_missing"]


async def test_a_long_poll_ends_as_soon_as_something_is_desired(
    state: ControlState, agent: Any, controllers: Any
) -> None:
    await agent.sync(inventory())
    waiting = asyncio.create_task(agent.sync(wait_s=20.0))
    await asyncio.sleep(0)
    await controllers.settle()
    answer = await asyncio.wait_for(waiting, 15)
    assert len(answer.replicas) == 1


async def test_a_log_is_fetched_through_the_agent(
    state: ControlState, agent: Any, controllers: Any, desk: AgentDesk
) -> None:
    await agent.sync(inventory())
    await controllers.settle()
    asking = asyncio.create_task(state.logs.ask(agent.identity.centre_id, LogAsk("ask-1", "rep", 0, 100), 30))
    await asyncio.sleep(0)
    (ask,) = (await agent.sync()).log_asks
    await agent.sync(logs=(LogAnswer(ask.ask_id, "text", 0, 4, True),))
    assert (await asking).text == "text"


async def test_joining_again_with_the_same_nonce_is_the_same_agent(
    state: ControlState, wire: httpx.AsyncClient
) -> None:
    token = (state.home.agent / "join_token").read_text()
    first = msgspec.json.decode((await join(wire, token, "n1")).content, type=JoinAnswer)
    again = msgspec.json.decode((await join(wire, token, "n1")).content, type=JoinAnswer)
    assert first.agent_id == again.agent_id
    assert first.agent_token != again.agent_token
    other = await join(wire, token, "n2")
    assert (other.status_code, other.json()["error"]["code"]) == (401, "not_signed_in")
    assert "used already" in other.text


async def test_bad_joins_and_syncs_are_refused_with_their_reason(
    state: ControlState, wire: httpx.AsyncClient, agent: Any
) -> None:
    for token in ("", "nonsense", agent.token, "yj_" + "a" * 12 + "_" + "b" * 43):
        assert (await join(wire, token)).status_code == 401
    wrong_version = await join(wire, "x", protocol=2)
    assert (wrong_version.status_code, "version" in wrong_version.text) == (400, True)
    for headers, content, status in (
        ({}, b"{}", 401),
        ({"authorization": "Bearer nonsense"}, b"{}", 401),
        ({"authorization": f"Bearer {agent.token}"}, b"{", 400),
        ({"authorization": f"Bearer {agent.token}"}, b'{"agent_id": 5}', 400),
    ):
        reply = await wire.post("/api/v1/agent/sync", content=content, headers=headers)
        assert reply.status_code == status, reply.text
        assert reply.json()["error"]["next_step"]
