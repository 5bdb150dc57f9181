"""What gateways are told: the whole, and every change after it in order, so that both ways lead to the same state."""

import asyncio
from dataclasses import replace

from yunhe.accounts.model import ApiKey, Project, Scope
from yunhe.catalogue.model import ExternalServer
from yunhe.ledger.credit import credit_entry
from yunhe.pool.model import Centre
from yunhe.serve.model import ReplicaState
from yunhe.serve.snapshot import SnapshotDelta
from yunhe.store import changes, entries, keys, models, pool, projects, serve, snapshot
from yunhe.store.database import Database
from yunhe.testing import samples
from yunhe.testing.samples import NOW


class Held:
    """What a gateway worker holds after the deltas that it took."""

    def __init__(self) -> None:
        self.revision = 0
        self.held: dict[str, object] = {}

    def take(self, delta: SnapshotDelta) -> None:
        if delta.full:
            self.held.clear()
        for name in delta.removed:
            self.held.pop(name, None)
        for key in delta.keys:
            self.held[f"key:{key.prefix}"] = key
        for project in delta.projects:
            self.held[f"project:{project.project_id}"] = project
        for model in delta.models:
            self.held[f"model:{model.name}"] = model
        for replica in delta.replicas:
            self.held[f"replica:{replica.replica_id}"] = replica
        self.revision = delta.revision

    async def follow(self, db: Database, now: float = NOW) -> SnapshotDelta:
        async with db.read() as tx:
            delta = await snapshot.snapshot(tx, self.revision, now)
        self.take(delta)
        return delta


async def whole(db: Database) -> Held:
    fresh = Held()
    await fresh.follow(db)
    return fresh


async def test_the_whole_holds_what_calls_need(stocked: Database) -> None:
    async with stocked.write() as tx:
        await pool.add_centre(tx, Centre("centre_1", "local", "local", NOW))
        await serve.add_replica(tx, samples.replica(1, engine_key="engine-secret"))
        await serve.add_replica(tx, samples.replica(2, state=ReplicaState.STARTING))
        await serve.add_replica(tx, samples.replica(3, state=ReplicaState.DRAINING))
        await entries.post(tx, [credit_entry("entry_1", "proj_sample", 77, "ref", "", NOW)])
    delta = await (await whole(stocked)).follow(stocked)
    assert not delta.full
    async with stocked.read() as tx:
        delta = await snapshot.snapshot(tx, 0, NOW)
    assert delta.full
    assert [(key.prefix, key.scopes) for key in delta.keys] == [("prefix1", ("inference",))]
    assert [(project.name, project.available_micro) for project in delta.projects] == [("sample", 77)]
    assert delta.models[0].price is not None
    assert delta.models[0].price.price_id == "price_sample"
    assert sorted((r.replica_id, r.state, r.api_key) for r in delta.replicas) == [
        ("rep_1", "ready", "engine-secret"),
        ("rep_3", "draining", None),
    ]
    assert delta.replicas[0].served_by == "local; cpu-sample; sample; default"


async def test_an_external_replicas_key_and_speed_come_from_its_server_and_its_names_are_header_safe(
    stocked: Database,
) -> None:
    external = ExternalServer("http://10.0.0.1", "their-key", "theirs", 900.0)
    async with stocked.write() as tx:
        await pool.add_centre(tx, Centre("centre_1", "中心\r\n", "local", NOW))
        await serve.add_replica(
            tx, samples.replica(1, external=external, tokens_per_s=None, chip=None, upstream_model=None)
        )
    async with stocked.read() as tx:
        entry = (await snapshot.snapshot(tx, 0, NOW)).replicas[0]
    assert (entry.api_key, entry.tokens_per_s, entry.upstream_model) == ("their-key", 900.0, "sample")
    assert entry.served_by == "????; external; sample; default"


async def test_following_every_change_leads_to_the_same_as_the_whole(stocked: Database) -> None:
    worker = await whole(stocked)
    key = ApiKey("key_2", "proj_sample", "user_1", "k", "prefix2", "d", frozenset({Scope.INFERENCE}), NOW)
    replica = samples.replica(1)

    async def step(act: object) -> SnapshotDelta:
        async with stocked.write() as tx:
            await act(tx)  # type: ignore[operator]
        return await worker.follow(stocked)

    project = Project("proj_sample", "org_1", "sample", NOW, rpm_limit=7)
    for act in (
        lambda tx: keys.add_key(tx, key),
        lambda tx: projects.save_project(tx, project),
        lambda tx: models.add_model(tx, samples.model("another")),
        lambda tx: serve.add_replica(tx, replica),
        lambda tx: serve.save_replica(tx, replace(replica, slots=9)),
        lambda tx: serve.save_replica(tx, replace(replica, state=ReplicaState.STOPPED)),
        lambda tx: models.add_price(tx, samples.price(id="price_z", effective_from=NOW - 1)),
        lambda tx: keys.revoke(tx, "key_1", NOW),
        lambda tx: models.remove_model(tx, "another"),
    ):
        delta = await step(act)
        assert not delta.full
        assert worker.held == (await whole(stocked)).held
    assert delta.removed == ("model:another",)


async def test_a_worker_with_a_revision_that_is_not_ours_or_long_gone_gets_the_whole(stocked: Database) -> None:
    for revision in (-1, 10**9):
        async with stocked.read() as tx:
            assert (await snapshot.snapshot(tx, revision, NOW)).full
    async with stocked.write() as tx:
        for number in range(changes.KEPT_CHANGES + 1):
            await changes.note(tx, "key", f"gone{number}")
    async with stocked.write() as tx:
        await changes.trim(tx)
    async with stocked.read() as tx:
        revision = await changes.current(tx)
        assert (await snapshot.snapshot(tx, 2, NOW)).full
        assert (await snapshot.snapshot(tx, revision - changes.KEPT_CHANGES, NOW)).full
        near = await snapshot.snapshot(tx, revision - 5, NOW)
    assert (near.full, len(near.removed)) == (False, 5)


async def test_whoever_has_seen_a_revision_has_seen_everything_up_to_it(stocked: Database) -> None:
    """Writers finish in any order; a reader that follows must never skip one."""
    worker = await whole(stocked)
    writers = 40

    async def write(number: int) -> None:
        async with stocked.write() as tx:
            await projects.add_project(tx, Project(f"proj_{number:03d}", "org_1", f"p{number}", NOW))
            if number % 3 == 0:
                await asyncio.sleep(0)

    async def follow() -> None:
        while len([name for name in worker.held if name.startswith("project:")]) < writers + 1:
            await worker.follow(stocked)

    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        group.create_task(follow())
        for number in range(writers):
            group.create_task(write(number))
    assert worker.held == (await whole(stocked)).held


async def test_a_readers_statements_all_see_one_state(stocked: Database) -> None:
    async with stocked.read() as tx:
        before = await changes.current(tx)
        async with stocked.write() as other:
            await keys.revoke(other, "key_1", NOW)
        assert await changes.current(tx) == before
        assert len(await keys.good_keys(tx, NOW)) == 1
    async with stocked.read() as tx:
        assert await keys.good_keys(tx, NOW) == []
