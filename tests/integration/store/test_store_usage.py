"""Usage is stored, priced, posted and taken from leases exactly once."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import delete, insert, text, update
from sqlalchemy.exc import DBAPIError

from yunhe.ledger.account import project_account
from yunhe.ledger.credit import correction_of, credit_entry
from yunhe.ledger.model import LeaseAsk
from yunhe.ledger.usage import UsageRecord
from yunhe.store import changes, entries, leases, usage
from yunhe.store.database import Database
from yunhe.store.tables_ledger import balances, transfers, usage_records
from yunhe.testing import samples
from yunhe.testing.samples import NOW

COST = 50


async def record(db: Database, *records: UsageRecord, now: float = NOW) -> tuple[int, int]:
    async with db.write() as tx:
        return await usage.record_usage(tx, records, now)


async def credit(db: Database, micro: int, reference: str = "first") -> None:
    async with db.write() as tx:
        await entries.post(tx, [credit_entry(f"entry_{reference}", "proj_sample", micro, reference, "gift", NOW)])


async def balance(db: Database) -> entries.Balance:
    async with db.read() as tx:
        return await entries.balance(tx, "proj_sample")


async def problems(db: Database) -> list[str]:
    async with db.read() as tx:
        audit = await entries.audit(tx)
    assert audit.sum_micro == 0
    return [problem.reference for problem in audit.problems]


async def test_a_record_is_stored_whole_priced_and_posted(stocked: Database) -> None:
    await credit(stocked, 1000)
    sent = samples.usage_record("req_1", ttft_s=None, replica_id=None, served_by="中心; 芯片", stream=True)
    assert await record(stocked, sent) == (1, 0)
    async with stocked.read() as tx:
        assert await usage.list_usage(tx, 10) == [usage.PricedUsage(sent, COST)]
        entry = (await entries.list_entries(tx, 10, account="revenue:sample"))[0]
    assert (entry.kind, entry.reference, entry.created_at) == ("usage", "req_1", NOW)
    assert {posting.account: posting.amount_micro for posting in entry.postings} == {
        project_account("proj_sample"): -COST,
        "revenue:sample": COST,
    }
    assert await balance(stocked) == entries.Balance("proj_sample", 1000 - COST, 0, COST, 1000)
    assert await problems(stocked) == []


async def test_replaying_a_batch_in_whole_or_in_part_changes_nothing(stocked: Database) -> None:
    records = [samples.usage_record(f"req_{number}") for number in range(20)]
    assert await record(stocked, *records) == (20, 0)
    assert await record(stocked, *records) == (0, 20)
    fresh = samples.usage_record("req_new")
    assert await record(stocked, *records[5:9], fresh, fresh) == (1, 5)
    assert (await balance(stocked)).spent_micro == 21 * COST
    assert await problems(stocked) == []


async def test_the_same_records_sent_by_many_at_once_are_billed_once(stocked: Database) -> None:
    records = [samples.usage_record(f"req_{number}") for number in range(30)]
    answers = await asyncio.gather(
        *(record(stocked, *(records if turn % 2 else reversed(records))) for turn in range(8))
    )
    assert sum(accepted for accepted, _ in answers) == 30
    assert (await balance(stocked)).spent_micro == 30 * COST
    assert await problems(stocked) == []


async def test_many_projects_billed_at_once_from_many_sides_add_up(stocked: Database) -> None:
    async def send(turn: int) -> None:
        projects = [f"proj_{(turn + step) % 5}" for step in range(5)]
        await record(
            stocked, *(samples.usage_record(f"req_{turn}_{name}", project_id=name) for name in projects), now=NOW
        )

    await asyncio.gather(*(send(turn) for turn in range(20)))
    async with stocked.read() as tx:
        found = await entries.balances_of(tx, [f"proj_{number}" for number in range(5)])
    assert {money.spent_micro for money in found.values()} == {20 * COST}
    assert await problems(stocked) == []


async def test_a_failed_transaction_leaves_nothing_behind(stocked: Database) -> None:
    async with stocked.read() as tx:
        before = await changes.current(tx)
    with pytest.raises(ZeroDivisionError):
        async with stocked.write() as tx:
            await usage.record_usage(tx, [samples.usage_record("req_1")], NOW)
            await changes.note(tx, "key", "ghost")
            raise ZeroDivisionError
    async with stocked.write() as tx:
        await changes.note(tx, "key", "real")
    async with stocked.read() as tx:
        assert await usage.list_usage(tx, 10) == []
        assert await changes.since(tx, before) == [("key", "real")]
    assert await record(stocked, samples.usage_record("req_1")) == (1, 0)


async def test_a_record_without_price_or_with_an_unknown_one_costs_nothing_and_the_latter_is_found(
    stocked: Database,
) -> None:
    await record(
        stocked, samples.usage_record("req_1", price_id=None), samples.usage_record("req_2", price_id="price_gone")
    )
    assert (await balance(stocked)).spent_micro == 0
    assert await problems(stocked) == ["req_2"]


async def test_impossible_counts_and_text_neither_create_credit_nor_block_others(stocked: Database) -> None:
    bad = samples.usage_record(
        "req_bad", prompt_tokens=-(10**30), completion_tokens=10**30, served_by="a\0b\ud800", cached_tokens=7
    )
    assert await record(stocked, bad, samples.usage_record("req_good")) == (2, 0)
    assert await record(stocked, bad) == (0, 1)
    async with stocked.read() as tx:
        stored = {priced.record.request_id: priced.record for priced in await usage.list_usage(tx, 10)}
    assert stored["req_bad"].prompt_tokens == stored["req_bad"].cached_tokens == 0
    assert stored["req_bad"].served_by == "a\ufffdb?"
    assert (await balance(stocked)).balance_micro < 0
    assert await problems(stocked) == []


async def test_costs_are_taken_from_the_lease_that_held_them(stocked: Database) -> None:
    await credit(stocked, 1000)
    async with stocked.write() as tx:
        grant = await leases.grant(tx, "w", LeaseAsk("proj_sample", 200, need_micro=200), NOW)
    assert grant.granted_micro == 200
    before = await balance(stocked)
    await record(stocked, *(samples.usage_record(f"req_{n}", lease_id=grant.lease_id) for n in range(3)))
    after = await balance(stocked)
    assert after.leased_micro == before.leased_micro - 3 * COST
    assert after.available_micro == before.available_micro
    await record(stocked, *(samples.usage_record(f"req_x{n}", lease_id=grant.lease_id) for n in range(5)))
    assert (await balance(stocked)).leased_micro == 0


async def test_a_credit_is_posted_and_taken_back_by_a_correction(stocked: Database) -> None:
    await credit(stocked, 700)
    await credit(stocked, -200, "second")
    async with stocked.write() as tx:
        wrong = await entries.entry_by_reference(tx, "credit", "first")
        assert wrong is not None
        await entries.post(tx, [correction_of(wrong, "entry_back", "typed wrong", NOW)])
    money = await balance(stocked)
    assert (money.balance_micro, money.credited_micro, money.spent_micro) == (-200, -200, 0)
    assert await problems(stocked) == []


async def test_an_unbalanced_entry_is_refused(stocked: Database) -> None:
    entry = credit_entry("entry_1", "proj_sample", 5, "ref", "", NOW)
    lopsided = replace(entry, postings=(entry.postings[0], replace(entry.postings[1], amount_micro=-4)))
    with pytest.raises(ValueError, match="balanced"):
        async with stocked.write() as tx:
            await entries.post(tx, [lopsided])


@pytest.mark.parametrize(
    "statement",
    [
        update(usage_records).values(prompt_tokens=0),
        delete(usage_records),
        update(transfers).values(amount_micro=1),
        delete(transfers),
    ],
    ids=["update-usage", "delete-usage", "update-transfer", "delete-transfer"],
)
async def test_usage_and_entries_can_only_be_appended_to(stocked: Database, statement: object) -> None:
    await record(stocked, samples.usage_record("req_1"))
    with pytest.raises(DBAPIError, match="append-only"):
        async with stocked.write() as tx:
            await tx.execute(statement)  # type: ignore[call-overload]
    assert await problems(stocked) == []


async def test_replacing_a_row_does_not_get_around_append_only(stocked: Database) -> None:
    await record(stocked, samples.usage_record("req_1"))
    if stocked.dialect == "postgresql":
        sneak = text("TRUNCATE usage_records")
    else:
        columns = ", ".join(f"'{c.name}'" if c.name == "model" else c.name for c in usage_records.c)
        sneak = text(f"INSERT OR REPLACE INTO usage_records SELECT {columns} FROM usage_records")
    with pytest.raises(DBAPIError, match="append-only"):
        async with stocked.write() as tx:
            await tx.execute(sneak)


async def test_a_second_posting_for_one_request_is_refused(stocked: Database) -> None:
    await record(stocked, samples.usage_record("req_1"))
    row = {
        "id": "entry_z", "kind": "usage", "reference": "req_1", "created_at": NOW, "memo": "",
        "from_account": "project:x", "to_account": "revenue:x", "amount_micro": 1,
    }  # fmt: skip
    with pytest.raises(DBAPIError):
        async with stocked.write() as tx:
            await tx.execute(insert(transfers).values(row))
    assert await problems(stocked) == []


async def test_the_audit_finds_a_tampered_balance(stocked: Database) -> None:
    await credit(stocked, 500)
    async with stocked.write() as tx:
        await tx.execute(update(balances).where(balances.c.account == "issued").values(amount_micro=0))
    assert await problems(stocked) == ["issued"]


async def test_totals_group_by_model_key_day_and_hour(stocked: Database) -> None:
    day = 1_790_035_200.0
    assert day % 86_400 == 0
    await record(
        stocked,
        samples.usage_record("req_1", started_at=day - 1, cached_tokens=4),
        samples.usage_record("req_2", started_at=day, model="b", key_id="k2", outcome="upstream_error"),
        samples.usage_record("req_3", started_at=day + 3600, outcome="client_disconnected"),
        samples.usage_record("req_4", started_at=day + 7200, project_id="proj_other"),
    )

    async def totals(**which: object) -> list[usage.Totals]:
        async with stocked.read() as tx:
            return await usage.totals(tx, project_ids=["proj_sample"], since=day - 10, until=day + 9000, **which)  # type: ignore[arg-type]

    assert await totals() == [usage.Totals("", 3, 30, 4, 15, 3 * COST, 1)]
    assert [(t.key, t.requests) for t in await totals(group_by="model")] == [("b", 1), ("sample", 2)]
    assert [(t.key, t.requests) for t in await totals(group_by="key")] == [("k2", 1), ("key_sample", 2)]
    assert [(t.key, t.requests) for t in await totals(group_by="day")] == [("1789948800", 1), ("1790035200", 2)]
    assert [t.key for t in await totals(group_by="hour")] == ["1790031600", "1790035200", "1790038800"]
    async with stocked.read() as tx:
        nothing = await usage.totals(tx, project_ids=["proj_none"], since=0, until=NOW)
        assert nothing == [usage.Totals("", 0, 0, 0, 0, 0, 0)]
        listed = await usage.list_usage(tx, 2, project_ids=["proj_sample"], outcome="ok")
        assert [priced.record.request_id for priced in listed] == ["req_1"]
