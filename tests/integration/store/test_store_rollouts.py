"""Roll-outs as they are kept."""

from dataclasses import replace

from yunhe.serve.rollout import Guards, Policy, RolloutStage
from yunhe.serve.snapshot import Bounded, CertificateEntry
from yunhe.store import changes, rollouts, serve, snapshot
from yunhe.store.certificates import certificates
from yunhe.store.database import Database
from yunhe.testing import samples


async def test_a_roll_out_comes_back_as_it_was_written(db: Database) -> None:
    made = samples.rollout(recipe_id="rcp_x", guards=Guards(0.5, 0.02, 0.01), policy=Policy(5.0, 7))
    async with db.write() as tx:
        await rollouts.add_rollout(tx, made)
    async with db.read() as tx:
        assert await rollouts.rollout(tx, "roll_1") == made
        assert await rollouts.rollout(tx, "roll_2") is None


async def test_only_those_under_way_are_open(db: Database) -> None:
    ended = replace(samples.rollout(1), stage=RolloutStage.ROLLED_BACK)
    switching = samples.rollout(3, deployment_id="dep_2", stage=RolloutStage.SWITCHING)
    async with db.write() as tx:
        for one in (ended, samples.rollout(2), switching):
            await rollouts.add_rollout(tx, one)
        assert await rollouts.open_rollouts(tx) == {"dep_1": samples.rollout(2), "dep_2": switching}
        await rollouts.save_rollout(tx, replace(switching, stage=RolloutStage.DEFAULT))
        assert list(await rollouts.open_rollouts(tx)) == ["dep_1"]


async def test_a_deployments_roll_outs_are_listed_newest_first_and_go_with_it(db: Database) -> None:
    async with db.write() as tx:
        for number in (1, 2, 3):
            await rollouts.add_rollout(tx, samples.rollout(number))
        await rollouts.add_rollout(tx, samples.rollout(4, deployment_id="dep_2"))
        assert [one.id for one in await rollouts.list_rollouts(tx, "dep_1", 2)] == ["roll_3", "roll_2"]
        assert [one.id for one in await rollouts.list_rollouts(tx, "dep_1", 9, after="roll_2")] == ["roll_1"]
        await rollouts.forget_rollouts(tx, "dep_1")
        assert await rollouts.list_rollouts(tx, "dep_1", 9) == []
        assert len(await rollouts.list_rollouts(tx, "dep_2", 9)) == 1


async def test_gateways_learn_of_a_canarys_share_and_of_its_end(stocked: Database) -> None:
    canary = samples.replica(1, share=0.2)
    async with stocked.write() as tx:
        await serve.add_replica(tx, canary)
    async with stocked.write() as tx:
        before = await changes.current(tx)
        (entry,) = (await snapshot.snapshot(tx, -1, samples.NOW)).replicas
        assert entry.share == 0.2
        await serve.save_replica(tx, replace(canary, share=None))
    async with stocked.read() as tx:
        (entry,) = (await snapshot.snapshot(tx, before, samples.NOW)).replicas
        assert entry.share is None


async def test_a_certificate_counts_while_its_recipe_is_a_deployments(stocked: Database) -> None:
    proof = CertificateEntry(
        "rcp_x", "fake 1", "cpu-x", "chat", "passed", Bounded(0.01, None, None, None), Bounded(0.9, 0.8, 1.0, 0.95),
        2400, samples.NOW, "k" * 64,
    )  # fmt: skip
    signed = samples.recipe(id="rcp_x")
    ended = samples.rollout(recipe=signed, recipe_id="rcp_x", certificate=proof, stage=RolloutStage.DEFAULT)
    made = samples.deployment(1)
    async with stocked.write() as tx:
        await serve.add_deployment(tx, made)
        await rollouts.add_rollout(tx, ended)
        assert await certificates(tx) == {}
        await serve.save_deployment(tx, replace(made, recipe=signed))
        assert await certificates(tx, ["sample"]) == {"sample": (proof,)}
        assert await certificates(tx, ["other"]) == {}
        await rollouts.save_rollout(tx, replace(ended, stage=RolloutStage.ROLLED_BACK))
        assert await certificates(tx) == {}
        await rollouts.save_rollout(tx, ended)
        await serve.save_deployment(tx, replace(made, recipe=signed, deleted_at=samples.NOW))
        assert await certificates(tx) == {}
