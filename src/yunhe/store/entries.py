"""Entries, balances, and the recomputation of both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, func, insert, or_, select

from yunhe.ledger.account import ISSUED, project_account
from yunhe.ledger.model import Entry, Posting, Price
from yunhe.ledger.verify import Audit
from yunhe.store.database import Tx
from yunhe.store.rows import newest, upsert
from yunhe.store.tables_ledger import balances, leases, prices, transfers

READ_BATCH: Final = 5000


@dataclass(frozen=True, slots=True)
class Balance:
    """A project's money, micro-credits: available = balance - leased."""

    project_id: str
    balance_micro: int
    leased_micro: int
    spent_micro: int
    credited_micro: int

    @property
    def available_micro(self) -> int:
        """What may still be leased."""
        return self.balance_micro - self.leased_micro


def _row(entry: Entry) -> dict[str, Any]:
    """An entry of two postings as one transfer. Raises ValueError when it is not balanced."""
    payer, payee = sorted(entry.postings, key=lambda posting: posting.amount_micro)
    if payer.amount_micro + payee.amount_micro != 0 or payee.amount_micro <= 0:
        raise ValueError(f"entry {entry.reference} is not balanced")
    return {
        "id": entry.id,
        "kind": entry.kind,
        "reference": entry.reference,
        "created_at": entry.created_at,
        "memo": entry.memo,
        "from_account": payer.account,
        "to_account": payee.account,
        "amount_micro": payee.amount_micro,
    }


def _entry(row: Row[Any]) -> Entry:
    postings = (Posting(row.from_account, -row.amount_micro), Posting(row.to_account, row.amount_micro))
    return Entry(row.id, row.kind, row.reference, row.created_at, postings, row.memo)


async def post(tx: Tx, new: Sequence[Entry]) -> None:
    """Append entries and move the balances."""
    if not new:
        return
    await tx.execute(insert(transfers), [_row(entry) for entry in new])
    moved: dict[str, int] = {}
    for entry in new:
        for posting in entry.postings:
            moved[posting.account] = moved.get(posting.account, 0) + posting.amount_micro
    statement = upsert(tx, balances)
    statement = statement.on_conflict_do_update(
        index_elements=["account"], set_={"amount_micro": balances.c.amount_micro + statement.excluded.amount_micro}
    )
    # In one order, so that two transactions never wait for each other in a circle.
    await tx.execute(statement, [{"account": account, "amount_micro": moved[account]} for account in sorted(moved)])


async def entry_by_reference(tx: Tx, kind: str, reference: str) -> Entry | None:
    """The entry of that kind and reference."""
    query = select(transfers).where(transfers.c.kind == kind, transfers.c.reference == reference)
    row = (await tx.execute(query)).first()
    return _entry(row) if row else None


async def list_entries(tx: Tx, limit: int, after: str | None = None, account: str | None = None) -> list[Entry]:
    """Newest first; only those that touch the account when given."""
    query = select(transfers)
    if account is not None:
        query = query.where(or_(transfers.c.from_account == account, transfers.c.to_account == account))
    return [_entry(row) for row in await tx.execute(newest(query, transfers.c.id, limit, after))]


async def balance(tx: Tx, project_id: str) -> Balance:
    """A project's money now."""
    account = project_account(project_id)
    amount = (await tx.execute(select(balances.c.amount_micro).where(balances.c.account == account))).scalar()
    held = select(func.sum(leases.c.remaining_micro)).where(
        leases.c.project_id == project_id, leases.c.released_at.is_(None)
    )
    leased = (await tx.execute(held)).scalar()
    given = await _sum(tx, (transfers.c.to_account == account) & (transfers.c.from_account == ISSUED))
    back = await _sum(tx, (transfers.c.from_account == account) & (transfers.c.to_account == ISSUED))
    credited = given - back
    total = int(amount or 0)
    return Balance(project_id, total, int(leased or 0), credited - total, credited)


async def _sum(tx: Tx, where: Any) -> int:
    return int((await tx.execute(select(func.sum(transfers.c.amount_micro)).where(where))).scalar() or 0)


async def every_entry(tx: Tx) -> AsyncIterator[Entry]:
    """All entries, streamed in the order of their ids."""
    last = ""
    while True:
        query = select(transfers).where(transfers.c.id > last).order_by(transfers.c.id).limit(READ_BATCH)
        rows = (await tx.execute(query)).all()
        for row in rows:
            yield _entry(row)
        if len(rows) < READ_BATCH:
            return
        last = rows[-1].id


async def audit(tx: Tx) -> Audit:
    """Recompute everything; the audit's ``problems`` are what does not add up."""
    from yunhe.store.usage import every_usage

    rows = await tx.execute(select(prices))
    found = Audit({row.id: Price(**row._mapping) for row in rows})
    async for usage in every_usage(tx):
        found.usage(usage.record, usage.cost_micro)
    async for entry in every_entry(tx):
        found.entry(entry)
    stored = await tx.execute(select(balances.c.account, balances.c.amount_micro))
    found.finish((row.account, row.amount_micro) for row in stored)
    return found
