"""Leases of credit: granted in guarded transactions, so that their sum never exceeds a balance."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import case, insert, select, update

from yunhe.core.ids import new_id
from yunhe.ledger.account import project_account
from yunhe.ledger.lease import LEASE_S, decide
from yunhe.ledger.model import LeaseAsk, LeaseGrant
from yunhe.store import changes
from yunhe.store.database import Tx
from yunhe.store.entries import balance
from yunhe.store.rows import upsert
from yunhe.store.tables_ledger import balances, leases


async def grant(tx: Tx, worker: str, ask: LeaseAsk, now: float) -> LeaseGrant:
    """Answer one ask. Holds the project's balance row meanwhile, so that grants for one project come one by one.

    The lease that it replaces keeps only what the worker has spent from it and control has not yet seen.
    """
    await _hold_balance(tx, ask.project_id)
    if ask.lease_id is not None:
        await _keep(tx, ask.lease_id, ask.unsettled_micro)
    money = await balance(tx, ask.project_id)
    verdict = decide(ask.want_micro, ask.need_micro, money.available_micro)
    await changes.note(tx, "project", ask.project_id)
    if verdict.granted_micro == 0:
        return LeaseGrant(ask.project_id, None, 0, now, money.balance_micro, verdict.refused_reason)
    lease_id = new_id("lease")
    values = {
        "id": lease_id,
        "project_id": ask.project_id,
        "worker": worker,
        "granted_micro": verdict.granted_micro,
        "remaining_micro": verdict.granted_micro,
        "expires_at": now + LEASE_S,
        "released_at": None,
    }
    await tx.execute(insert(leases).values(values))
    return LeaseGrant(ask.project_id, lease_id, verdict.granted_micro, now + LEASE_S, money.balance_micro)


async def _hold_balance(tx: Tx, project_id: str) -> None:
    """Lock the project's balance row, made when missing: grants for one project come one after another."""
    statement = upsert(tx, balances).values(account=project_account(project_id), amount_micro=0)
    statement = statement.on_conflict_do_update(
        index_elements=["account"], set_={"amount_micro": balances.c.amount_micro}
    )
    await tx.execute(statement)


async def _keep(tx: Tx, lease_id: str, unsettled_micro: int) -> None:
    keep = max(0, unsettled_micro)
    left = case((leases.c.remaining_micro > keep, keep), else_=leases.c.remaining_micro)
    await tx.execute(update(leases).where(leases.c.id == lease_id).values(remaining_micro=left))


async def release(tx: Tx, lease_ids: Sequence[str], now: float) -> None:
    """Give leases back; what they still hold is available again. Ended or unknown ones are no error."""
    where = leases.c.id.in_(lease_ids) & leases.c.released_at.is_(None)
    await tx.execute(update(leases).where(where).values(released_at=now))


async def release_worker(tx: Tx, worker: str, now: float) -> None:
    """Give back all leases of a worker that starts anew."""
    await _release_where(tx, (leases.c.worker == worker) & leases.c.released_at.is_(None), now)


async def expire(tx: Tx, now: float) -> int:
    """Release the leases whose time is over; returns how many."""
    return await _release_where(tx, (leases.c.expires_at < now) & leases.c.released_at.is_(None), now)


async def _release_where(tx: Tx, where: object, now: float) -> int:
    query = select(leases.c.id, leases.c.project_id).where(where)  # type: ignore[arg-type]
    found = (await tx.execute(query)).all()
    if found:
        await release(tx, [row.id for row in found], now)
        for project_id in sorted({row.project_id for row in found}):
            await changes.note(tx, "project", project_id)
    return len(found)
