"""Credit that is lent to gateway workers never exceeds what a project has, however many ask at once."""

import asyncio
from dataclasses import replace

from yunhe.ledger.credit import credit_entry
from yunhe.ledger.lease import LEASE_S
from yunhe.ledger.model import LeaseAsk, LeaseGrant
from yunhe.store import changes, entries, leases, projects, usage
from yunhe.store.database import Database
from yunhe.testing import samples
from yunhe.testing.samples import NOW

CREDIT = 1_000_000


async def give(db: Database, micro: int, project_id: str = "proj_sample") -> None:
    async with db.write() as tx:
        made = credit_entry(f"entry_{project_id}_{micro}", project_id, micro, f"{project_id} {micro}", "", NOW)
        await entries.post(tx, [made])


async def ask(db: Database, want: int, *, worker: str = "w0", now: float = NOW, **more: object) -> LeaseGrant:
    async with db.write() as tx:
        return await leases.grant(tx, worker, LeaseAsk("proj_sample", want, **more), now)  # type: ignore[arg-type]


async def give_back(db: Database, *grants: LeaseGrant, worker: str = "w0") -> None:
    async with db.write() as tx:
        await leases.exchange(tx, worker, [], [grant.lease_id or "lease_none" for grant in grants], NOW)


async def money(db: Database) -> entries.Balance:
    async with db.read() as tx:
        return await entries.balance(tx, "proj_sample")


async def test_fifty_parallel_asks_against_credit_for_ten_get_no_more_than_there_is(stocked: Database) -> None:
    await give(stocked, 10 * CREDIT)
    grants = await asyncio.gather(
        *(ask(stocked, CREDIT, worker=f"w{n}", need_micro=CREDIT) for n in range(50)),
    )
    granted = [grant for grant in grants if grant.lease_id is not None]
    refused = [grant for grant in grants if grant.lease_id is None]
    assert len(granted) == 10
    assert all(grant.granted_micro == CREDIT for grant in granted)
    assert all(grant.refused_reason for grant in refused)
    assert (await money(stocked)).available_micro == 0


async def test_asks_usage_and_ends_at_once_never_lend_more_than_the_balance(stocked: Database) -> None:
    await give(stocked, 10 * CREDIT)

    async def worker(number: int) -> None:
        for turn in range(4):
            grant = await ask(stocked, CREDIT, worker=f"w{number}", need_micro=CREDIT // 10)
            if grant.lease_id is None:
                continue
            record = samples.usage_record(
                f"req_{number}_{turn}", prompt_tokens=50_000, completion_tokens=0, lease_id=grant.lease_id
            )
            async with stocked.write() as tx:
                await usage.record_usage(tx, [record], NOW)
            if number % 2:
                await give_back(stocked, grant, worker=f"w{number}")
            seen = await money(stocked)
            assert seen.leased_micro <= seen.balance_micro

    await asyncio.gather(*(worker(number) for number in range(10)))
    async with stocked.read() as tx:
        audit = await entries.audit(tx)
    seen = await money(stocked)
    assert 0 <= seen.leased_micro <= seen.balance_micro
    assert audit.problems == []


async def test_asks_for_many_projects_in_opposite_orders_do_not_block_each_other(stocked: Database) -> None:
    names = [f"proj_{number}" for number in range(6)]
    for name in names:
        await give(stocked, CREDIT, name)

    async def many(turn: int) -> list[LeaseGrant]:
        order = names if turn % 2 else names[::-1]
        async with stocked.write() as tx:
            return await leases.exchange(tx, f"w{turn}", [LeaseAsk(name, 1000) for name in order], [], NOW)

    answers = await asyncio.gather(*(many(turn) for turn in range(12)))
    assert [grant.project_id for grant in answers[0]] == names[::-1]
    assert [grant.project_id for grant in answers[1]] == names
    assert all(grant.lease_id is not None for grants in answers for grant in grants)


async def test_a_replaced_lease_ends_and_what_it_held_can_be_lent_again(stocked: Database) -> None:
    await give(stocked, CREDIT)
    first = await ask(stocked, CREDIT, need_micro=CREDIT)
    second = await ask(stocked, CREDIT, need_micro=CREDIT, lease_id=first.lease_id)
    assert second.granted_micro == CREDIT
    assert (await money(stocked)).leased_micro == CREDIT


async def test_nobody_can_replace_another_workers_lease(stocked: Database) -> None:
    await give(stocked, 10 * CREDIT)
    first = await ask(stocked, CREDIT, worker="w0", need_micro=CREDIT)
    await ask(stocked, CREDIT, worker="w1", need_micro=CREDIT, lease_id=first.lease_id)
    assert (await money(stocked)).leased_micro == 2 * CREDIT


async def test_leases_end_by_being_given_back_by_their_own_worker_and_by_time(stocked: Database) -> None:
    await give(stocked, 100 * CREDIT)
    one = await ask(stocked, CREDIT, worker="w0", need_micro=CREDIT)
    await ask(stocked, CREDIT, worker="w1", need_micro=CREDIT)
    await ask(stocked, CREDIT, worker="w2", need_micro=CREDIT, now=NOW + 50)
    assert one.expires_at == NOW + LEASE_S

    async def leased() -> int:
        return (await money(stocked)).leased_micro // CREDIT

    await give_back(stocked, one, worker="w1")
    assert await leased() == 3
    for _ in range(2):
        await give_back(stocked, one)
        assert await leased() == 2
    async with stocked.write() as tx:
        assert await leases.expire(tx, NOW + LEASE_S + 49) == 1
        assert await leases.expire(tx, NOW + LEASE_S + 51) == 1
    assert await leased() == 0


async def test_without_credit_or_while_suspended_a_project_is_refused_with_the_reason(stocked: Database) -> None:
    assert "no credit" in ((await ask(stocked, 5)).refused_reason or "")
    await give(stocked, CREDIT)
    async with stocked.write() as tx:
        project = await projects.project(tx, "proj_sample")
        assert project is not None
        await projects.save_project(tx, replace(project, suspended_reason="unpaid since May"))
    refused = await ask(stocked, 5)
    assert (refused.lease_id, refused.refused_reason, refused.balance_micro) == (None, "unpaid since May", CREDIT)


async def test_gateways_hear_when_credit_begins_ends_or_moves_much_but_not_of_every_lease(stocked: Database) -> None:
    async def heard(act: object) -> bool:
        async with stocked.read() as tx:
            before = await changes.current(tx)
        await act  # type: ignore[misc]
        async with stocked.read() as tx:
            return await changes.since(tx, before) == [("project", "proj_sample")]

    assert await heard(give(stocked, 100 * CREDIT))
    assert not await heard(ask(stocked, CREDIT // 2))
    much = await ask(stocked, 20 * CREDIT)
    assert (await money(stocked)).available_micro < 90 * CREDIT
    free = (await money(stocked)).available_micro
    assert await heard(ask(stocked, free, need_micro=free))
    assert (await money(stocked)).available_micro == 0

    assert await heard(give_back(stocked, much))
