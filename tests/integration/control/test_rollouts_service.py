"""Roll-outs over real databases, with a scripted agent and scripted gateways."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
from msgspec import structs

from yunhe.adapt.signing import Envelope, SigningKey, sign
from yunhe.broker.fit import memory_need_bytes
from yunhe.control.deployments import DeploymentAsk, DeploymentChange, Deployments, ExternalAsk
from yunhe.control.models import Models
from yunhe.control.replicas import Replicas
from yunhe.control.rollouts import RecipeAsk, RolloutAsk, Rollouts, RolloutView
from yunhe.control.state import ControlState
from yunhe.core.clock import ManualClock
from yunhe.core.errors import Conflict, InvalidRequest, NotFound
from yunhe.core.units import GIB, MIB
from yunhe.pool.model import Card, Inventory, Node
from yunhe.serve.model import LIVE_STATES, Replica
from yunhe.serve.rollout import Guards, Policy, RolloutStage
from yunhe.serve.snapshot import ReplicaStats, WorkerStats
from yunhe.store import projects, serve
from yunhe.testing.recipes import sample_recipe

MODEL = "smollm2-135m-instruct"
STAGE = RolloutStage
ASK = RolloutAsk(
    RecipeAsk({"slots": 8}, name="eight"), share=0.25, policy=Policy(30.0, 10), guards=Guards(0.5, 0.02, 0.0)
)


def inventory(memory_bytes: int = 16 * GIB, cards: int = 1) -> Inventory:
    made = tuple(
        Card(f"cpu{number}", "cpu-x", "maker", "cpu", "A CPU", memory_bytes, cores=8, health="healthy")
        for number in range(cards)
    )
    return Inventory((Node("host", 16 * GIB, 8, "linux", made),), taken_at=1_790_000_000.0)


class Scene:
    """One deployment that runs, and everybody who talks about it."""

    def __init__(self, state: ControlState, agent: Any, controllers: Any, wire: httpx.AsyncClient, token: Any) -> None:
        self.state, self.agent, self.controllers, self.wire, self.token = state, agent, controllers, wire, token
        self.rollouts, self.deployments = Rollouts(state), Deployments(state)
        self.stock = inventory()
        assert isinstance(state.clock, ManualClock)
        self.clock = state.clock
        self.id = ""

    async def settle(self, rounds: int = 4) -> None:
        """Agent and controllers talk until both are content."""
        for _ in range(rounds):
            await self.controllers.settle()
            await self.agent.sync(self.stock)
            self.agent.run_all()
            await self.agent.sync()
        await self.controllers.settle()

    async def begin(self) -> None:
        await self.settle()
        self.id = (await self.deployments.get(MODEL)).deployment.id

    async def tell(self, replica_id: str, requests: int, errors: int = 0, ttft_ms: float = 100.0) -> None:
        """A gateway worker's report."""
        tpot_ms = ttft_ms / 10
        part = ReplicaStats(requests, errors, requests - errors, ttft_ms, ttft_ms, tpot_ms, tpot_ms)
        stats = WorkerStats(
            "w0", 7, 1.0, 1.0, requests, errors, 0, 0, 0, None, None, None, None, 0, 3, by_replica={replica_id: part}
        )
        reply = await self.wire.post("/internal/v1/stats", content=msgspec.json.encode(stats), headers=self.token)
        assert reply.status_code == 204, reply.text

    async def live(self) -> list[Replica]:
        """Oldest first."""
        async with self.state.db.read() as tx:
            return await serve.replicas_of(tx, deployment_id=self.id)

    async def canary(self) -> Replica:
        (found,) = [one for one in await self.live() if one.share is not None and one.state in LIVE_STATES]
        return found

    async def now(self) -> RolloutView:
        """The newest roll-out."""
        return (await self.rollouts.list(self.id, 1, None)).items[0]

    async def events(self) -> list[str]:
        async with self.state.db.read() as tx:
            found = await serve.list_events(tx, 200, subject=self.id)
        return [event.kind for event in reversed(found) if event.kind.startswith("rollout")]


@pytest.fixture
async def scene(
    state: ControlState, agent: Any, controllers: Any, wire: httpx.AsyncClient, internal: dict[str, str]
) -> Scene:
    made = Scene(state, agent, controllers, wire, internal)
    await made.begin()
    return made


async def test_a_good_canary_becomes_the_default_without_a_restart(
    scene: Scene, clock: ManualClock, snapshot: Any
) -> None:
    (old,) = await scene.live()
    view = await scene.rollouts.start(scene.id, ASK)
    assert (view.rollout.stage, view.progress) == (STAGE.CANARY, "its replica is about to be made")
    await scene.settle()
    canary = await scene.canary()
    assert (canary.state, canary.recipe.name, canary.recipe.settings) == ("ready", "eight", {"slots": 8})
    shares = {entry.replica_id: (entry.share, entry.served_by) for entry in (await snapshot(-1)).replicas}
    assert shares[old.id] == (None, "local; cpu-x; alpha; default")
    assert shares[canary.id] == (0.25, "local; cpu-x; alpha; eight")
    standing = await scene.deployments.get(MODEL)
    assert (standing.ready_replicas, standing.reason) == (1, "1 of 1 replicas ready; a canary of recipe eight is ready")

    await scene.tell(canary.id, 10)
    await scene.settle()
    assert (await scene.now()).progress.endswith("ready for 0 of 30 s, 10 of 10 requests")
    clock.advance(30)
    await scene.controllers.settle()
    assert (await scene.now()).rollout.stage is STAGE.DEFAULT
    states = {one.id: (one.state.value, one.share, one.generation) for one in await scene.live()}
    assert states == {old.id: ("draining", None, 1), canary.id: ("ready", None, 2)}
    clock.advance(31)
    await scene.settle()
    assert [one.id for one in await scene.live()] == [canary.id]
    after = (await scene.deployments.get(MODEL)).deployment
    assert (after.generation, after.recipe.name) == (2, "eight")
    assert await scene.events() == ["rollout_started", "rollout_default"]


@pytest.mark.parametrize(
    ("cards", "errors", "words"),
    [
        (1, 1, "1 of 12 requests failed"),
        (1, 0, "TPOT is 90.0 ms over 12 streams, 9.0 times that of the replicas beside it"),
        (2, 0, "TTFT p95 is 900.0 ms over 12 streams, the bound is 500.0 ms"),
    ],
    ids=["errors", "slower than its neighbour on the card", "slower than promised on a card of its own"],
)
async def test_a_bad_canary_is_drained_at_once_and_nothing_else_changes(
    scene: Scene, snapshot: Any, cards: int, errors: int, words: str
) -> None:
    scene.stock = inventory(cards=cards)
    (old,) = await scene.live()
    await scene.tell(old.id, 500, ttft_ms=2000.0)
    await scene.settle()
    scene.clock.advance(1)
    await scene.rollouts.start(scene.id, ASK)
    await scene.settle()
    canary = await scene.canary()
    assert (canary.cards == old.cards) == (cards == 1)
    await scene.tell(old.id, 12)
    await scene.tell(canary.id, 12, errors, 900.0)
    await scene.controllers.settle()
    view = await scene.now()
    assert view.rollout.stage is STAGE.ROLLED_BACK
    assert words in view.progress
    states = {entry.replica_id: entry.state for entry in (await snapshot(-1)).replicas}
    assert states == {old.id: "ready", canary.id: "draining"}
    after = (await scene.deployments.get(MODEL)).deployment
    assert (after.generation, after.recipe.name) == (1, "default")
    assert await scene.events() == ["rollout_started", "rollout_rolled_back"]


async def test_a_canary_that_crashes_is_not_tried_again(scene: Scene) -> None:
    await scene.rollouts.start(scene.id, ASK)
    await scene.controllers.settle()
    await scene.agent.sync()
    canary = await scene.canary()
    scene.agent.report(canary.id, "exited", "killed by signal 4: illegal instruction", exit_code=-4)
    await scene.agent.sync()
    await scene.settle()
    view = await scene.now()
    assert view.rollout.stage is STAGE.ROLLED_BACK
    assert "illegal instruction" in view.progress
    assert [one.share for one in await scene.live()] == [None]
    again = await scene.rollouts.start(scene.id, ASK)
    assert (view.rollout.generation, again.rollout.generation) == (2, 3)


async def test_without_room_for_a_canary_the_replicas_are_switched(scene: Scene, clock: ManualClock) -> None:
    model = (await Models(scene.state).get(MODEL)).model
    scene.stock = inventory(memory_need_bytes(model, {"slots": 8}) + MIB)
    await scene.settle()
    (old,) = await scene.live()
    await scene.rollouts.start(scene.id, ASK)
    await scene.controllers.settle()
    view = await scene.now()
    assert view.rollout.stage is STAGE.SWITCHING
    assert view.rollout.reason.startswith("no card has room for a canary")
    clock.advance(31)
    await scene.settle()
    (new,) = await scene.live()
    assert (new.id != old.id, new.share, new.recipe.name) == (True, None, "eight")
    await scene.tell(new.id, 10)
    clock.advance(31)
    await scene.controllers.settle()
    assert (await scene.now()).rollout.stage is STAGE.DEFAULT
    assert await scene.events() == ["rollout_started", "rollout_switching", "rollout_default"]


async def test_people_end_a_roll_out_either_way(scene: Scene) -> None:
    first = (await scene.rollouts.start(scene.id, ASK)).rollout
    await scene.settle()
    canary = await scene.canary()
    ended = await scene.rollouts.abort(scene.id, first.id)
    assert ended.rollout.stage is STAGE.ROLLED_BACK
    await scene.controllers.settle()
    assert {one.id: one.state.value for one in await scene.live()}[canary.id] == "draining"
    with pytest.raises(Conflict, match="has ended"):
        await scene.rollouts.promote(scene.id, first.id)

    second = (await scene.rollouts.start(scene.id, ASK)).rollout
    await scene.settle()
    canary = await scene.canary()
    assert (await scene.rollouts.promote(scene.id, second.id)).rollout.stage is STAGE.DEFAULT
    await scene.settle()
    after = await scene.deployments.get(MODEL)
    assert (after.deployment.recipe.name, after.deployment.generation) == ("eight", second.generation)
    assert canary.id in {one.id for one in await scene.live() if one.state == "ready"}
    listed = (await scene.rollouts.list(scene.id, 10, None)).items
    assert [view.rollout.id for view in listed] == [second.id, first.id]


async def test_other_changes_wait_for_the_roll_out_and_scaling_does_not(scene: Scene) -> None:
    rollout = (await scene.rollouts.start(scene.id, ASK)).rollout
    for change in (
        scene.deployments.change(scene.id, DeploymentChange(settings={"slots": 2})),
        scene.deployments.restart(scene.id),
        scene.rollouts.start(scene.id, ASK),
    ):
        with pytest.raises(Conflict, match="being rolled out"):
            await change
    await scene.deployments.change(scene.id, DeploymentChange(replicas=2))
    await scene.settle()
    assert (await scene.deployments.get(MODEL)).ready_replicas == 2
    await scene.rollouts.abort(scene.id, rollout.id)
    changed = await scene.deployments.change(scene.id, DeploymentChange(settings={"slots": 2}))
    assert changed.deployment.generation == rollout.generation + 1


async def test_a_deleted_deployment_takes_its_roll_out_with_it(scene: Scene, clock: ManualClock) -> None:
    await scene.rollouts.start(scene.id, ASK)
    await scene.settle()
    await scene.deployments.delete(scene.id)
    await scene.controllers.settle()
    assert (await scene.now()).rollout.stage is STAGE.ROLLED_BACK
    clock.advance(31)
    await scene.settle()
    with pytest.raises(NotFound):
        await scene.rollouts.list(scene.id, 10, None)


async def test_wrong_wishes_are_refused_with_their_reason(scene: Scene) -> None:
    start = scene.rollouts.start
    with pytest.raises(NotFound, match="no recipe 'rcp_x'"):
        await start(scene.id, RolloutAsk(recipe_id="rcp_x"))
    for ask, error, words in (
        (RolloutAsk(), InvalidRequest, "either recipe_id or recipe"),
        (RolloutAsk(RecipeAsk({"slots": 8}), "rcp_x"), InvalidRequest, "either recipe_id or recipe"),
        (RolloutAsk(RecipeAsk({}, engine="warp")), InvalidRequest, "there is alpha, external"),
        (RolloutAsk(RecipeAsk({})), Conflict, "these settings already"),
    ):
        with pytest.raises(error, match=words):
            await start(scene.id, ask)
    await scene.deployments.change(scene.id, DeploymentChange(replicas=0))
    with pytest.raises(Conflict, match="has no replicas"):
        await start(scene.id, ASK)
    await Models(scene.state).add_external("far/model", 4096, ("chat",), "MIT", "them")
    async with scene.state.db.read() as tx:
        project = await projects.project(tx, "default")
    assert project is not None
    far = await scene.deployments.create(
        project.id, DeploymentAsk("far/model", external=ExternalAsk("http://10.0.0.9"))
    )
    with pytest.raises(InvalidRequest, match="external server"):
        await start(far.deployment.id, ASK)


def signed(**changes: Any) -> Envelope:
    """A recipe for the seeded model on the scripted agent's card and engine."""
    made = sample_recipe()
    digest = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    build = structs.replace(made.engine.build, name="alpha")
    made = structs.replace(
        made,
        model=structs.replace(made.model, name=MODEL, digest=digest),
        chip=structs.replace(made.chip, chip_id="cpu-x"),
        engine=structs.replace(made.engine, build=build),
    )
    return msgspec.json.decode(sign(structs.replace(made, **changes), SigningKey(b"s" * 32)), type=Envelope)


async def test_a_signed_recipe_brings_its_bounds_and_its_name(scene: Scene, snapshot: Any) -> None:
    envelope = signed()
    rollout = (await scene.rollouts.start(scene.id, RolloutAsk(signed=envelope))).rollout
    assert (rollout.recipe_id, rollout.recipe.id) == (envelope.recipe_id, envelope.recipe_id)
    assert rollout.guards == Guards(pytest.approx(0.4725), pytest.approx(0.017325), 0.0, 2.0)
    await scene.settle()
    canary = await scene.canary()
    assert canary.recipe.settings["kv_type"] == "f16"
    (entry,) = [one for one in (await snapshot(-1)).replicas if one.replica_id == canary.id]
    assert entry.served_by == f"local; cpu-x; alpha; {envelope.recipe_id[:16]}"
    before = await snapshot(-1)
    assert [one.certificates for one in before.models] == [()]
    await scene.rollouts.promote(scene.id, rollout.id)
    assert (await scene.deployments.get(MODEL)).deployment.recipe.id == envelope.recipe_id
    (model,) = (await snapshot(before.revision)).models
    (certificate,) = model.certificates
    assert (certificate.recipe_id, certificate.verdict, certificate.key_id) == (
        envelope.recipe_id, "passed", envelope.key_id,
    )  # fmt: skip
    promoted = await snapshot(-1)
    changed = await scene.deployments.change(scene.id, DeploymentChange(settings={"slots": 2}))
    assert (changed.deployment.recipe.name, changed.deployment.recipe.chip) == ("default", "any")
    assert [one.certificates for one in (await snapshot(promoted.revision)).models] == [()]


async def test_a_recipe_for_another_chip_is_not_rolled_out(scene: Scene) -> None:
    for change, words in (
        ({"chip": sample_recipe().chip}, "for chip cpu-test-one, but replicas of .* run on cpu-x"),
        ({"engine": sample_recipe().engine}, "no centre has an engine 'fake'"),
    ):
        with pytest.raises((Conflict, InvalidRequest), match=words):
            await scene.rollouts.start(scene.id, RolloutAsk(signed=signed(**change)))


async def test_a_recipe_without_a_name_is_named_by_its_content(scene: Scene) -> None:
    first = (await scene.rollouts.start(scene.id, RolloutAsk(RecipeAsk({"slots": 8})))).rollout
    await scene.rollouts.abort(scene.id, first.id)
    again = (await scene.rollouts.start(scene.id, RolloutAsk(RecipeAsk({"slots": 8})))).rollout
    assert first.recipe.name == again.recipe.name
    assert first.recipe.name.startswith("rcp_")
    assert len(first.recipe.name) == 16
    assert [
        view.replica.recipe.name for view in (await Replicas(scene.state).list(scene.id, None, False, 9, None)).items
    ]
