"""Usage records: taken in exactly once, priced and posted in the same transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from sqlalchemy import Row, case, func, select, update

from yunhe.core.ids import new_id
from yunhe.ledger.model import Entry, Price
from yunhe.ledger.settle import cost_of, usage_entry
from yunhe.ledger.usage import UsageRecord
from yunhe.store import changes, entries
from yunhe.store.database import Tx
from yunhe.store.rows import newest, upsert
from yunhe.store.tables_ledger import leases, prices, usage_records

GroupBy = Literal["model", "key", "day", "hour"]

BATCH_MAX: Final = 5000
_FIELDS: Final = tuple(field.name for field in fields(UsageRecord))
_BUCKET_S: Final = {"day": 86_400, "hour": 3_600}


@dataclass(frozen=True, slots=True)
class PricedUsage:
    """A usage record as stored."""

    record: UsageRecord
    cost_micro: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over usage records; ``key`` is the group's name, id or start (unix seconds as text), empty for all."""

    key: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_micro: int
    errors: int


def _priced(row: Row[Any]) -> PricedUsage:
    values = {name: getattr(row, name) for name in _FIELDS}
    values["stream"] = bool(values["stream"])
    return PricedUsage(UsageRecord(**values), row.cost_micro)


async def record_usage(tx: Tx, records: Sequence[UsageRecord], now: float) -> tuple[int, int]:
    """Store a batch (at most ``BATCH_MAX``); returns (accepted, duplicates). Replaying a batch changes nothing.

    In one transaction: the records, the entries that pay for them, the balances, and what the leases still hold.
    """
    if len(records) > BATCH_MAX:
        raise ValueError(f"a batch has at most {BATCH_MAX} records")
    priced = await _price(tx, records)
    rows = [asdict(usage.record) | {"cost_micro": usage.cost_micro, "recorded_at": now} for usage in priced]
    if not rows:
        return 0, 0
    statement = upsert(tx, usage_records).on_conflict_do_nothing().returning(usage_records.c.request_id)
    new_ids = {row.request_id for row in await tx.execute(statement, rows)}
    taken = {usage.record.request_id: usage for usage in priced if usage.record.request_id in new_ids}
    found: list[Entry] = []
    for usage in taken.values():
        entry = usage_entry(new_id("entry"), usage.record, usage.cost_micro, now)
        if entry is not None:
            found.append(entry)
    await entries.post(tx, found)
    await _lower_leases(tx, list(taken.values()))
    return len(taken), len(records) - len(taken)


async def _price(tx: Tx, records: Sequence[UsageRecord]) -> list[PricedUsage]:
    """Each request once, with its cost; of two records of one request in a batch the first counts."""
    ids = {record.price_id for record in records if record.price_id is not None}
    rows = await tx.execute(select(prices).where(prices.c.id.in_(ids)))
    known = {row.id: Price(**row._mapping) for row in rows}
    once = {record.request_id: record for record in reversed(records)}
    return [
        PricedUsage(record, cost_of(record, known.get(record.price_id) if record.price_id else None))
        for record in reversed(once.values())
    ]


async def _lower_leases(tx: Tx, taken: Sequence[PricedUsage]) -> None:
    """Take the costs from the leases that they were held from; what no lease covers changes the project's credit."""
    by_lease: dict[str, int] = {}
    uncovered: set[str] = set()
    for usage in taken:
        if usage.cost_micro == 0:
            continue
        if usage.record.lease_id is None:
            uncovered.add(usage.record.project_id)
        else:
            by_lease[usage.record.lease_id] = by_lease.get(usage.record.lease_id, 0) + usage.cost_micro
    for lease_id, spent in by_lease.items():
        left = case((leases.c.remaining_micro > spent, leases.c.remaining_micro - spent), else_=0)
        await tx.execute(update(leases).where(leases.c.id == lease_id).values(remaining_micro=left))
    for project_id in sorted(uncovered):
        await changes.note(tx, "project", project_id)


async def list_usage(
    tx: Tx,
    limit: int,
    after: str | None = None,
    *,
    project_ids: Collection[str] | None = None,
    request_id: str | None = None,
    outcome: str | None = None,
) -> list[PricedUsage]:
    """Newest first."""
    query = select(usage_records)
    if project_ids is not None:
        query = query.where(usage_records.c.project_id.in_(project_ids))
    if request_id is not None:
        query = query.where(usage_records.c.request_id == request_id)
    if outcome is not None:
        query = query.where(usage_records.c.outcome == outcome)
    return [_priced(row) for row in await tx.execute(newest(query, usage_records.c.request_id, limit, after))]


async def totals(
    tx: Tx, *, project_ids: Collection[str] | None, since: float, until: float, group_by: GroupBy | None = None
) -> list[Totals]:
    """Sums of the records that started in [since, until): one without ``group_by``, else one a group, by its key."""
    group: Any = None
    if group_by in ("model", "key"):
        group = usage_records.c.model if group_by == "model" else usage_records.c.key_id
    elif group_by is not None:
        size = _BUCKET_S[group_by]
        group = func.floor(usage_records.c.started_at / size) * size
    errors = func.sum(case((usage_records.c.outcome.in_(("ok", "client_disconnected")), 0), else_=1))
    sums = [
        func.sum(usage_records.c[name])
        for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "cost_micro")
    ]
    shown = [func.count(), *sums, errors]
    query = select(*([group, *shown] if group is not None else shown))
    query = query.where(usage_records.c.started_at >= since, usage_records.c.started_at < until)
    if project_ids is not None:
        query = query.where(usage_records.c.project_id.in_(project_ids))
    if group is not None:
        query = query.group_by(group).order_by(group)
    rows = (await tx.execute(query)).all()
    if group is None:
        return [Totals("", *(int(value or 0) for value in row)) for row in rows]
    return [Totals(_group_key(row[0]), *(int(value or 0) for value in row[1:])) for row in rows]


def _group_key(value: object) -> str:
    return str(int(value)) if isinstance(value, float) else str(value)


async def every_usage(tx: Tx) -> AsyncIterator[PricedUsage]:
    """All records, streamed in the order of their ids."""
    last = ""
    while True:
        query = select(usage_records).where(usage_records.c.request_id > last)
        rows = (await tx.execute(query.order_by(usage_records.c.request_id).limit(BATCH_MAX))).all()
        for row in rows:
            yield _priced(row)
        if len(rows) < BATCH_MAX:
            return
        last = rows[-1].request_id
