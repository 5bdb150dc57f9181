"""The whole ledger read for an audit, page by page, in one consistent state."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, select

from yunhe.ledger.model import Price
from yunhe.ledger.settle import USAGE
from yunhe.ledger.verify import Audit, KeptBalance
from yunhe.store.entry_rows import entry_of
from yunhe.store.tables_ledger import balances, prices, transfers, usage_records
from yunhe.store.tx import Tx
from yunhe.store.usage_rows import priced

#: Small enough that the event loop is not held for long between two pages.
PAGE: Final = 1000
_PAIRED: Final[ColumnElement[bool]] = (transfers.c.kind == USAGE) & (
    transfers.c.reference == usage_records.c.request_id
)


async def audit(tx: Tx) -> Audit:
    """Recompute everything; the audit's ``problems`` are what does not add up."""
    found = Audit({row.id: Price(**row._mapping) for row in await tx.execute(select(prices))})
    await _read_usage(tx, found)
    await _read_entries(tx, found)
    rows = await tx.execute(select(balances.c.account, balances.c.amount_micro, balances.c.credited_micro))
    found.finish(KeptBalance(*row) for row in rows)
    return found


async def _read_usage(tx: Tx, found: Audit) -> None:
    last = ""
    while True:
        query = select(usage_records, transfers).outerjoin_from(usage_records, transfers, _PAIRED)
        query = query.where(usage_records.c.request_id > last).order_by(usage_records.c.request_id).limit(PAGE)
        rows = (await tx.execute(query)).all()
        for row in rows:
            usage = priced(row)
            found.usage(usage.record, usage.cost_micro, None if row.id is None else entry_of(row))
        if len(rows) < PAGE:
            return
        last = rows[-1].request_id


async def _read_entries(tx: Tx, found: Audit) -> None:
    last = ""
    while True:
        query = select(transfers, usage_records.c.request_id).outerjoin_from(transfers, usage_records, _PAIRED)
        query = query.where(transfers.c.id > last).order_by(transfers.c.id).limit(PAGE)
        rows: Any = (await tx.execute(query)).all()
        for row in rows:
            found.entry(entry_of(row), has_usage=row.request_id is not None)
        if len(rows) < PAGE:
            return
        last = rows[-1].id
