"""Leases of credit: granted in guarded transactions, so that their sum never exceeds a balance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, insert, select, update

from yunhe.core.ids import new_id
from yunhe.ledger.lease import LEASE_S, decide
from yunhe.ledger.model import LeaseAsk, LeaseGrant
from yunhe.store import entries
from yunhe.store.tables_accounts import projects
from yunhe.store.tables_ledger import leases
from yunhe.store.tx import Tx

#: Ended leases are kept for so long, for those who look into what happened.
KEPT_S: Final = 24 * 3600.0


async def grant(tx: Tx, worker: str, ask: LeaseAsk, now: float) -> LeaseGrant:
    """Answer one ask, as ``exchange`` does."""
    return (await exchange(tx, worker, [ask], [], now))[0]


async def exchange(
    tx: Tx, worker: str, asks: Sequence[LeaseAsk], given_back: Sequence[str], now: float
) -> list[LeaseGrant]:
    """Take a worker's leases back, then answer its asks, in their order.

    Holds the balances of all projects concerned, so that grants for one come one by one and nobody waits for anybody
    in a circle. Ended or unknown leases are no error. Suspended projects are refused.
    """
    replaced = [ask.lease_id for ask in asks if ask.lease_id is not None]
    ends = leases.c.id.in_([*given_back, *replaced]) & (leases.c.worker == worker) & leases.c.released_at.is_(None)
    ending = (await tx.execute(select(leases.c.project_id).where(ends).distinct())).scalars()
    concerned = {ask.project_id for ask in asks} | set(ending)
    await entries.hold(tx, concerned)
    await tx.execute(update(leases).where(ends).values(released_at=now))
    query = select(projects.c.id, projects.c.suspended_reason).where(projects.c.id.in_(concerned))
    barred = {row.id: row.suspended_reason for row in await tx.execute(query)}
    grants = [await _grant(tx, worker, ask, barred.get(ask.project_id), now) for ask in asks]
    await entries.tell(tx, concerned)
    return grants


async def _grant(tx: Tx, worker: str, ask: LeaseAsk, barred: str | None, now: float) -> LeaseGrant:
    money = await entries.balance(tx, ask.project_id)
    if barred is not None:
        return LeaseGrant(ask.project_id, None, 0, now, money.balance_micro, barred)
    verdict = decide(ask.want_micro, ask.need_micro, money.available_micro)
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


async def expire(tx: Tx, now: float) -> int:
    """End the leases whose time is over; returns how many. Forgets those that ended long ago."""
    await tx.execute(delete(leases).where(leases.c.released_at < now - KEPT_S))
    over = (leases.c.expires_at < now) & leases.c.released_at.is_(None)
    concerned = set((await tx.execute(select(leases.c.project_id).where(over).distinct())).scalars())
    if not concerned:
        return 0
    await entries.hold(tx, concerned)
    ended = await tx.execute(update(leases).where(over).values(released_at=now))
    await entries.tell(tx, concerned)
    return int(ended.rowcount)
