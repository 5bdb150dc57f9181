"""Entries, and the balances that are kept beside them in the same transactions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update

from yunhe.ledger.account import project_account, project_of
from yunhe.ledger.lease import is_worth_telling
from yunhe.ledger.model import Entry
from yunhe.ledger.settle import USAGE
from yunhe.store import changes
from yunhe.store.audit import audit
from yunhe.store.entry_rows import entry_of, row_of
from yunhe.store.rows import newest, upsert
from yunhe.store.tables_ledger import balances, leases, transfers
from yunhe.store.tx import Tx

__all__ = [
    "Balance",
    "append",
    "audit",
    "balance",
    "balances_of",
    "entry_by_reference",
    "hold",
    "list_entries",
    "post",
    "tell",
]


@dataclass(frozen=True, slots=True)
class Balance:
    """A project's money, micro-credits. Leases that outlived their time count until housekeeping ends them."""

    project_id: str
    balance_micro: int
    leased_micro: int
    spent_micro: int
    credited_micro: int

    @property
    def available_micro(self) -> int:
        """What may still be leased; negative when more was used than there was."""
        return self.balance_micro - self.leased_micro


async def post(tx: Tx, new: Sequence[Entry]) -> None:
    """Append entries, move the balances, and let gateways know of projects whose credit has changed noticeably."""
    await append(tx, new)
    await tell(tx, {project for entry in new for one in entry.postings if (project := project_of(one.account))})


async def append(tx: Tx, new: Sequence[Entry]) -> None:
    """Append entries and move the balances."""
    if not new:
        return
    await tx.execute(insert(transfers), [row_of(entry) for entry in new])
    moved: defaultdict[str, int] = defaultdict(int)
    credited: defaultdict[str, int] = defaultdict(int)
    for entry in new:
        for posting in entry.postings:
            moved[posting.account] += posting.amount_micro
            if entry.kind != USAGE:
                credited[posting.account] += posting.amount_micro
    statement = upsert(tx, balances)
    statement = statement.on_conflict_do_update(
        index_elements=["account"],
        set_={
            name: getattr(balances.c, name) + statement.excluded[name] for name in ("amount_micro", "credited_micro")
        },
    )
    # In one order, so that two transactions never wait for each other in a circle.
    rows = [
        {"account": account, "amount_micro": moved[account], "credited_micro": credited[account], "told_micro": 0}
        for account in sorted(moved)
    ]
    await tx.execute(statement, rows)


async def tell(tx: Tx, project_ids: Collection[str]) -> None:
    """Let gateways know of these projects' available credit, where it differs noticeably from what they were told."""
    if not project_ids:
        return
    accounts = [project_account(project_id) for project_id in project_ids]
    query = select(balances.c.account, balances.c.told_micro).where(balances.c.account.in_(accounts))
    told = {row.account: int(row.told_micro) for row in await tx.execute(query)}
    now = await balances_of(tx, project_ids)
    for project_id in sorted(project_ids):
        account, available = project_account(project_id), now[project_id].available_micro
        if is_worth_telling(told.get(account, 0), available):
            await tx.execute(update(balances).where(balances.c.account == account).values(told_micro=available))
            await changes.note(tx, "project", project_id)


async def hold(tx: Tx, project_ids: Iterable[str]) -> None:
    """Lock these projects' balances until the transaction ends; they are made when missing.

    Whoever changes what projects may spend comes one after another, always in the same order.
    """
    statement = upsert(tx, balances)
    statement = statement.on_conflict_do_update(
        index_elements=["account"], set_={"amount_micro": balances.c.amount_micro}
    )
    empty = {"amount_micro": 0, "credited_micro": 0, "told_micro": 0}
    rows = [{"account": project_account(project_id)} | empty for project_id in sorted(set(project_ids))]
    if rows:
        await tx.execute(statement, rows)


async def entry_by_reference(tx: Tx, kind: str, reference: str) -> Entry | None:
    """The entry of that kind and reference."""
    query = select(transfers).where(transfers.c.kind == kind, transfers.c.reference == reference)
    row = (await tx.execute(query)).first()
    return entry_of(row) if row else None


async def list_entries(tx: Tx, limit: int, after: str | None = None, account: str | None = None) -> list[Entry]:
    """Newest first; only those that touch the account when given."""
    if account is None:
        return [entry_of(row) for row in await tx.execute(newest(select(transfers), transfers.c.id, limit, after))]
    # Each side's page by its own index: an OR of both would sort everything that the account ever had.
    found: list[Entry] = []
    for side in (transfers.c.from_account, transfers.c.to_account):
        query = newest(select(transfers).where(side == account), transfers.c.id, limit, after)
        found += [entry_of(row) for row in await tx.execute(query)]
    return sorted(found, key=lambda entry: entry.id, reverse=True)[:limit]


async def balance(tx: Tx, project_id: str) -> Balance:
    """A project's money now."""
    return (await balances_of(tx, [project_id]))[project_id]


async def balances_of(tx: Tx, project_ids: Collection[str]) -> dict[str, Balance]:
    """The money of these projects; zeros for one that never had any."""
    accounts = {project_account(project_id): project_id for project_id in project_ids}
    query = select(balances).where(balances.c.account.in_(accounts))
    kept = {accounts[row.account]: (int(row.amount_micro), int(row.credited_micro)) for row in await tx.execute(query)}
    held = select(leases.c.project_id, func.sum(leases.c.remaining_micro).label("micro"))
    held = held.where(leases.c.project_id.in_(project_ids), leases.c.released_at.is_(None))
    leased = {row.project_id: int(row.micro) for row in await tx.execute(held.group_by(leases.c.project_id))}
    found = {}
    for project_id in project_ids:
        amount, credited = kept.get(project_id, (0, 0))
        found[project_id] = Balance(project_id, amount, leased.get(project_id, 0), credited - amount, credited)
    return found
