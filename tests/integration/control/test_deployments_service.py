from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from yunhe.control.deployments import DeploymentAsk, DeploymentChange, Deployments, ExternalAsk
from yunhe.control.housekeeping import Housekeeping
from yunhe.control.leader import Leadership
from yunhe.control.models import Models
from yunhe.control.pool import Pool
from yunhe.control.replicas import Replicas
from yunhe.control.state import ControlState, build_state
from yunhe.control.status import StatusBoard
from yunhe.core.clock import ManualClock
from yunhe.core.errors import Conflict, InvalidRequest, NotFound, Unavailable
from yunhe.core.home import Home
from yunhe.core.units import GIB
from yunhe.pool.model import Card, Inventory, Node
from yunhe.store import projects, serve

MODEL = "smollm2-135m-instruct"
CARD = Card("cpu0", "cpu-x", "maker", "cpu", "A CPU", 16 * GIB, cores=8, health="healthy")
INVENTORY = Inventory((Node("host", 16 * GIB, 8, "linux", (CARD,)),), taken_at=1_790_000_000.0)


@pytest.fixture
async def project(state: ControlState) -> str:
    async with state.db.read() as tx:
        found = await projects.project(tx, "default")
    assert found is not None
    return found.id


async def first(state: ControlState) -> str:
    return (await Deployments(state).get(MODEL)).deployment.id


async def settle(agent: Any, controllers: Any) -> None:
    """Agent and controllers talk until both are content."""
    for _ in range(4):
        await controllers.settle()
        await agent.sync(INVENTORY)
        agent.run_all()
        await agent.sync()
    await controllers.settle()


async def test_scaling_up_and_down_ends_at_the_wanted_number(
    state: ControlState, agent: Any, controllers: Any, clock: ManualClock
) -> None:
    deployments = Deployments(state)
    await settle(agent, controllers)
    await deployments.change(await first(state), DeploymentChange(replicas=3))
    await settle(agent, controllers)
    assert (await deployments.get(MODEL)).ready_replicas == 3
    view = await deployments.change(await first(state), DeploymentChange(replicas=1))
    assert view.deployment.generation == 1
    await controllers.settle()
    clock.advance(31)
    await settle(agent, controllers)
    view = await deployments.get(MODEL)
    assert (view.ready_replicas, view.state, view.engine) == (1, "ready", "alpha")
    assert len(agent.desired) == 1


async def test_changed_settings_roll_without_losing_the_ready_replica(
    state: ControlState, agent: Any, controllers: Any
) -> None:
    deployments = Deployments(state)
    await settle(agent, controllers)
    (old,) = agent.desired
    view = await deployments.change(await first(state), DeploymentChange(settings={"slots": 2}))
    assert view.deployment.generation == 2
    await controllers.settle()
    await agent.sync()
    assert len(agent.desired) == 2
    assert agent.desired[old].run
    agent.run_all()
    await agent.sync()
    await controllers.settle()
    replicas = await Replicas(state).list(await first(state), None, False, 10, None)
    assert {(one.replica.generation, one.replica.state.value) for one in replicas.items} == {
        (1, "draining"),
        (2, "ready"),
    }
    assert dict(replicas.items[0].replica.recipe.settings) == {"slots": 2}


async def test_the_same_settings_again_do_not_roll(state: ControlState) -> None:
    view = await Deployments(state).change(await first(state), DeploymentChange(settings={}, replicas=1))
    assert view.deployment.generation == 1


async def test_wrong_wishes_are_refused_with_their_reason(state: ControlState, project: str, agent: Any) -> None:
    await agent.sync(INVENTORY)
    deployments = Deployments(state)
    with pytest.raises(NotFound, match="no model 'nothing'"):
        await deployments.create(project, DeploymentAsk("nothing"))
    with pytest.raises(Conflict, match="there is a deployment"):
        await deployments.create(project, DeploymentAsk(MODEL))
    for ask, words in (
        (DeploymentAsk(MODEL, name="Bad Name"), "not a name"),
        (DeploymentAsk(MODEL, "x", replicas=65), "0 to 64"),
        (DeploymentAsk(MODEL, "x", engine="warp"), "there is alpha, external"),
        (DeploymentAsk(MODEL, "x", centre="atlantis"), "no centre named"),
        (DeploymentAsk(MODEL, "x", external=ExternalAsk("ftp://h")), "must be http"),
        (DeploymentAsk(MODEL, "x", external=ExternalAsk("http://user:pw@h")), "without credentials"),
        (DeploymentAsk(MODEL, "x", external=ExternalAsk("http://h", slots=0)), "1 to 4096"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            await deployments.create(project, ask)
    assert len((await deployments.list(None, 10, None)).items) == 1


async def test_an_external_server_becomes_a_replica_without_a_card(
    state: ControlState, project: str, agent: Any, controllers: Any, snapshot: Any
) -> None:
    await settle(agent, controllers)
    await Models(state).add_external("far/model", 4096, ("chat",), "MIT", "them")
    ask = DeploymentAsk("far/model", external=ExternalAsk("http://10.0.0.9:8000/v1/", "key", "their-name", 500.0, 32))
    view = await Deployments(state).create(project, ask)
    assert (view.deployment.name, view.engine) == ("far-model", "external")
    await settle(agent, controllers)
    (wanted,) = [one for one in agent.desired.values() if one.model.name == "far/model"]
    assert wanted.cards == ()
    assert wanted.external is not None
    assert (wanted.external.base_url, wanted.external.upstream_model) == ("http://10.0.0.9:8000", "their-name")
    (entry,) = [one for one in (await snapshot(-1)).replicas if one.model == "far/model"]
    assert entry.served_by == "local; external; external; default"


async def test_a_deployment_being_deleted_refuses_changes(state: ControlState) -> None:
    deployments = Deployments(state)
    id = await first(state)
    await deployments.delete(id)
    assert (await deployments.delete(id)).state == "deleting"
    for change in (deployments.change(id, DeploymentChange(replicas=2)), deployments.restart(id)):
        with pytest.raises(Conflict, match="being deleted"):
            await change


async def test_a_crash_loop_backs_off_and_says_so(
    state: ControlState, agent: Any, controllers: Any, clock: ManualClock
) -> None:
    await agent.sync(INVENTORY)
    for _ in range(4):
        await controllers.settle()
        await agent.sync()
        for id in agent.desired:
            agent.report(id, "exited", "exit code 1: bad model", exit_code=1)
        await agent.sync()
        clock.advance(1)
    await controllers.settle()
    view = await Deployments(state).get(MODEL)
    assert view.state == "down"
    assert "exit code 1: bad model" in view.reason
    assert "next try in" in view.reason
    async with state.db.read() as tx:
        kinds = [event.kind for event in await serve.list_events(tx, 100)]
    assert kinds.count("replica_failed") <= 3


async def test_a_silent_centre_is_told_but_its_replicas_stay_routed(
    state: ControlState, agent: Any, controllers: Any, clock: ManualClock, snapshot: Any
) -> None:
    await settle(agent, controllers)
    housekeeping = Housekeeping(state, Leadership(state))
    await housekeeping.work()
    clock.advance(40)
    await housekeeping.work()
    await controllers.settle()
    (centre,) = (await Pool(state).centres(10, None)).items
    assert (centre.state, centre.cards, centre.healthy_cards) == ("away", 1, 1)
    assert len((await snapshot(-1)).replicas) == 1
    status = await StatusBoard(state).read()
    assert not status.healthy
    (part,) = [part for part in status.parts if part.kind == "agent"]
    assert part.state == "down"
    assert "stays routed" in part.detail
    assert part.next_step
    (view,) = (await Replicas(state).list(None, None, False, 10, None)).items
    with pytest.raises(Unavailable, match="away"):
        await Replicas(state).logs(view.replica.id, 0, 100)
    await agent.sync()
    await housekeeping.work()
    async with state.db.read() as tx:
        kinds = [event.kind for event in await serve.list_events(tx, 10, subject="centre")]
    assert kinds == ["centre_online", "centre_away"]


async def test_one_of_several_control_processes_leads_and_another_takes_over(
    state: ControlState, clock: ManualClock
) -> None:
    successor = Leadership(build_state(state.home, state.db, clock, state.secrets))
    other_state = build_state(Home(Path("/elsewhere")), state.db, clock, state.secrets)
    one, other = Leadership(state), Leadership(other_state)
    assert await one.renew()
    assert not await other.renew()
    assert (one.held, other.held) == (True, False)
    assert await successor.renew(), "a process over the same data directory does not wait for its predecessor's lease"
    await one.resign()
    assert await other.renew()
    clock.advance(60)
    assert not other.held
    assert await one.renew()


async def test_a_new_centre_gets_a_token_that_lets_one_agent_in(state: ControlState, wire: Any) -> None:
    pool = Pool(state)
    view, token = await pool.create_centre("harbin", "local")
    assert view.state == "never_joined"
    with pytest.raises(Conflict):
        await pool.create_centre("harbin", "local")
    content = b'{"token": "%s", "driver": "local", "host": "h"}' % token.encode()
    reply = await wire.post("/api/v1/agent/join", content=content)
    assert (reply.status_code, reply.json()["centre_name"]) == (200, "harbin")
    assert (await wire.post("/api/v1/agent/join", content=content)).status_code == 401
