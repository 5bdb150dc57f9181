"""Models, their prices, and what is desired and observed of them."""

from dataclasses import replace

import pytest

from yunhe.catalogue.model import ExternalServer
from yunhe.catalogue.ports import UsageProbe
from yunhe.core.errors import Conflict
from yunhe.serve.model import Event, ReplicaState
from yunhe.store import changes, models, serve
from yunhe.store.database import Database
from yunhe.testing import samples
from yunhe.testing.samples import NOW


async def test_a_model_is_read_back_whole_and_its_name_is_unique(stocked: Database) -> None:
    odd = samples.model("org/big", chat_template=None, parameters=None, shape={}, capabilities=("embeddings",))
    async with stocked.write() as tx:
        await models.add_model(tx, odd)
        with pytest.raises(Conflict):
            await models.add_model(tx, replace(odd, id="model_other"))
    async with stocked.read() as tx:
        assert await models.model(tx, "org/big") == odd
        assert [model.name for model in await models.list_models(tx, 10)] == ["org/big", "sample"]
        assert [model.name for model in await models.list_models(tx, 10, "org/big")] == ["sample"]
        assert [model.name for model in await models.all_models(tx, ["org/big"])] == ["org/big"]


async def test_the_price_in_force_is_the_last_to_take_effect(stocked: Database) -> None:
    later = samples.price(id="price_z", effective_from=NOW + 100, input_micro_per_mtok=9)
    async with stocked.write() as tx:
        await models.add_price(tx, later)
    async with stocked.read() as tx:
        assert (await models.prices_in_force(tx, NOW + 99))["sample"] == samples.price()
        assert (await models.prices_in_force(tx, NOW + 100))["sample"] == later
        assert await models.prices_in_force(tx, NOW, ["other"]) == {}
        assert [price.id for price in await models.list_prices(tx, 10, model_name="sample")] == [
            "price_z",
            "price_sample",
        ]


async def test_gateways_hear_of_a_price_when_it_takes_effect(stocked: Database) -> None:
    async with stocked.write() as tx:
        await models.add_price(tx, samples.price(id="price_z", effective_from=NOW + 100))
        await models.add_price(tx, samples.price(id="price_y", model="other", effective_from=NOW + 200))
    async with stocked.read() as tx:
        before = await changes.current(tx)
    async with stocked.write() as tx:
        assert await models.note_prices_taking_effect(tx, NOW, NOW + 100) == 1
    async with stocked.read() as tx:
        assert await changes.since(tx, before) == [("model", "sample")]


async def test_a_replica_and_a_deployment_are_read_back_whole(stocked: Database) -> None:
    probe = UsageProbe({"timings_per_token": True}, "timings", ("prompt_n", "cache_n"), "cache_n", "predicted_n")
    external = ExternalServer("http://10.0.0.1:8000", "secret", "up/stream", None)
    deployment = samples.deployment(1, external=external, centre="local", deleted_at=NOW)
    replica = samples.replica(1, usage_probe=probe, external=external, engine_key="k", tokens_per_s=None)
    async with stocked.write() as tx:
        await serve.add_deployment(tx, deployment)
        await serve.add_replica(tx, replica)
    async with stocked.read() as tx:
        assert await serve.deployment(tx, "sample-1") == await serve.deployment(tx, "dep_1") == deployment
        assert await serve.deployment(tx, "sample-1", "proj_other") is None
        assert await serve.replica(tx, "rep_1") == replica


async def test_gateways_hear_of_a_replica_only_when_its_route_changes(stocked: Database) -> None:
    replica = samples.replica(1, state=ReplicaState.STARTING, url=None)
    async with stocked.write() as tx:
        await serve.add_replica(tx, replica)

    async def noted(changed: object) -> bool:
        async with stocked.read() as tx:
            before = await changes.current(tx)
        async with stocked.write() as tx:
            await serve.save_replica(tx, changed)  # type: ignore[arg-type]
        async with stocked.read() as tx:
            return await changes.since(tx, before) == [("replica", "rep_1")]

    ready = samples.replica(1)
    assert not await noted(replace(replica, state=ReplicaState.PROBING))
    assert await noted(ready)
    assert not await noted(replace(ready, pid=1, reason="another word"))
    assert await noted(replace(ready, tokens_per_s=70.0))
    assert await noted(replace(ready, state=ReplicaState.DRAINING))
    assert await noted(replace(ready, state=ReplicaState.STOPPING))
    assert not await noted(replace(ready, state=ReplicaState.STOPPED))


async def test_ended_replicas_are_left_out_unless_asked_for_and_purged_by_age(stocked: Database) -> None:
    async with stocked.write() as tx:
        await serve.add_replica(tx, samples.replica(1))
        await serve.add_replica(tx, samples.replica(2, state=ReplicaState.FAILED, state_since=NOW - 100))
        await serve.add_replica(tx, samples.replica(3, state=ReplicaState.STOPPED, state_since=NOW))
        await serve.add_replica(tx, samples.replica(4, deployment_id="dep_2", centre_id="centre_2"))

    async def ids(**which: object) -> list[str]:
        async with stocked.read() as tx:
            return [replica.id for replica in await serve.replicas_of(tx, **which)]  # type: ignore[arg-type]

    assert await ids() == ["rep_1", "rep_4"]
    assert await ids(deployment_id="dep_1", ended=True) == ["rep_1", "rep_2", "rep_3"]
    assert await ids(centre_id="centre_2") == ["rep_4"]
    async with stocked.write() as tx:
        await serve.purge_ended(tx, NOW - 50)
    assert await ids(ended=True) == ["rep_1", "rep_3", "rep_4"]
    async with stocked.write() as tx:
        await serve.remove_deployment(tx, "dep_1")
    assert await ids(ended=True) == ["rep_4"]


async def test_events_are_listed_newest_first_by_subject_and_by_kind_of_subject(stocked: Database) -> None:
    async with stocked.write() as tx:
        await serve.add_events(
            tx,
            [
                Event(f"evt_{n}", NOW + n, "replica" if n % 2 else "centre", f"s{n % 3}", "happened", "why")
                for n in range(6)
            ],
        )
    async with stocked.read() as tx:
        assert [e.id for e in await serve.list_events(tx, 3)] == ["evt_5", "evt_4", "evt_3"]
        assert [e.id for e in await serve.list_events(tx, 3, "evt_3")] == ["evt_2", "evt_1", "evt_0"]
        assert [e.id for e in await serve.list_events(tx, 9, subject="s0")] == ["evt_3", "evt_0"]
        assert [e.id for e in await serve.list_events(tx, 9, subject="replica")] == ["evt_5", "evt_3", "evt_1"]
    async with stocked.write() as tx:
        await serve.purge_events(tx, NOW + 4)
    async with stocked.read() as tx:
        assert [e.id for e in await serve.list_events(tx, 9)] == ["evt_5", "evt_4"]


async def test_one_process_leads_until_it_stops_or_falls_silent(stocked: Database) -> None:
    async def lead(holder: str, now: float) -> bool:
        async with stocked.write() as tx:
            return await serve.lead(tx, "controllers", holder, now, 10.0)

    assert await lead("a", NOW)
    assert not await lead("b", NOW + 9)
    assert await lead("a", NOW + 9)
    assert not await lead("b", NOW + 18)
    assert await lead("b", NOW + 20)
    assert not await lead("a", NOW + 21)
    async with stocked.write() as tx:
        await serve.stop_leading(tx, "controllers", "a")
        await serve.stop_leading(tx, "controllers", "b")
    assert await lead("a", NOW + 22)
