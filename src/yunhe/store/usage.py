"""Usage records: taken in exactly once, priced and posted in the same transaction."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, bindparam, case, func, insert, select, update

from yunhe.core.ids import new_id
from yunhe.ledger.model import Price
from yunhe.ledger.settle import bounded, cost_of, usage_entry
from yunhe.ledger.usage import UsageRecord
from yunhe.store import entries
from yunhe.store.rows import newest
from yunhe.store.tables_ledger import leases, prices, usage_records
from yunhe.store.tx import Tx
from yunhe.store.usage_rows import PricedUsage, priced, row_of, storable

__all__ = ["BATCH_MAX", "GroupBy", "PricedUsage", "Totals", "list_usage", "record_usage", "totals"]

GroupBy = Literal["model", "key", "day", "hour"]

_LOG: Final = logging.getLogger(__name__)
BATCH_MAX: Final = 5000
_BUCKET_S: Final = {"day": 86_400, "hour": 3_600}
_SPENT: Final = bindparam("spent", type_=BigInteger)
_LOWER: Final = (
    update(leases)
    .where(leases.c.id == bindparam("lease"))
    .values(remaining_micro=case((leases.c.remaining_micro > _SPENT, leases.c.remaining_micro - _SPENT), else_=0))
)


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


async def record_usage(tx: Tx, records: Sequence[UsageRecord], now: float) -> tuple[int, int]:
    """Store a batch (at most ``BATCH_MAX``); returns (accepted, duplicates). Replaying a batch changes nothing.

    In one transaction: the records, the entries that pay for them, the balances, and what the leases still hold.
    Impossible counts and text are made possible, with a warning in the log.
    """
    if len(records) > BATCH_MAX:
        raise ValueError(f"a batch has at most {BATCH_MAX} records")
    once = {record.request_id: record for record in reversed([_possible(record) for record in records])}
    # A request belongs to one project: whoever stores the same records waits here, and then finds them.
    await entries.hold(tx, {record.project_id for record in once.values()})
    known = usage_records.c.request_id.in_(once)
    stored = set((await tx.execute(select(usage_records.c.request_id).where(known))).scalars())
    taken = await _price(tx, [record for record in reversed(once.values()) if record.request_id not in stored])
    if taken:
        await tx.execute(insert(usage_records), [row_of(usage, now) for usage in taken])
        made = [usage_entry(new_id("entry"), usage.record, usage.cost_micro, now) for usage in taken]
        await entries.append(tx, [entry for entry in made if entry is not None])
        await _lower_leases(tx, taken)
        await entries.tell(tx, {usage.record.project_id for usage in taken if usage.cost_micro})
    return len(taken), len(records) - len(taken)


def _possible(record: UsageRecord) -> UsageRecord:
    changed = storable(bounded(record))
    if changed is not record:
        _LOG.warning("usage record %s of %s was not possible as told", changed.request_id, changed.replica_id)
    return changed


async def _price(tx: Tx, records: Sequence[UsageRecord]) -> list[PricedUsage]:
    """Each record with its cost at the price that it names."""
    ids = {record.price_id for record in records if record.price_id is not None}
    rows = await tx.execute(select(prices).where(prices.c.id.in_(ids)))
    known = {row.id: Price(**row._mapping) for row in rows}
    return [PricedUsage(record, cost_of(record, known.get(record.price_id or ""))) for record in records]


async def _lower_leases(tx: Tx, taken: Sequence[PricedUsage]) -> None:
    """Take the costs from the leases that they were held from."""
    by_lease: defaultdict[str, int] = defaultdict(int)
    for usage in taken:
        if usage.cost_micro and usage.record.lease_id is not None:
            by_lease[usage.record.lease_id] += usage.cost_micro
    if by_lease:
        await tx.execute(_LOWER, [{"lease": lease, "spent": spent} for lease, spent in sorted(by_lease.items())])


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
    return [priced(row) for row in await tx.execute(newest(query, usage_records.c.request_id, limit, after))]


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
