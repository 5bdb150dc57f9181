"""Leases of credit: granted in guarded transactions, so that their sum never exceeds a balance."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import ColumnElement, case, delete, insert, select, update

from yunhe.core.ids import new_id
from yunhe.ledger.lease import LEASE_S, decide
from yunhe.ledger.model import Lease, LeaseAsk, LeaseGrant
from yunhe.store import entries
from yunhe.store.tables_accounts import projects
from yunhe.store.tables_ledger import leases
from yunhe.store.tx import Tx

#: Ended leases are kept for so long, for those who look into what happened.
KEPT_S: Final = 24 * 3600.0


async def grant(tx: Tx, worker: str, ask: LeaseAsk, now: float) -> LeaseGrant:
    """Answer one ask, as ``grant_all`` does."""
    return (await grant_all(tx, worker, [ask], now))[0]


async def grant_all(tx: Tx, worker: str, asks: Sequence[LeaseAsk], now: float) -> list[LeaseGrant]:
    """Answer a worker's asks, in their order. Holds the projects' balances, so that grants for one come one by one.

    A lease that is replaced keeps only what the worker has spent from it and control has not yet seen. Suspended
    projects are refused.
    """
    await entries.hold(tx, {ask.project_id for ask in asks})
    wanted = {ask.project_id for ask in asks}
    rows = await tx.execute(select(projects.c.id, projects.c.suspended_reason).where(projects.c.id.in_(wanted)))
    barred = {row.id: row.suspended_reason for row in rows}
    grants = [await _grant(tx, worker, ask, barred.get(ask.project_id), now) for ask in asks]
    await entries.tell(tx, wanted)
    return grants


async def _grant(tx: Tx, worker: str, ask: LeaseAsk, barred: str | None, now: float) -> LeaseGrant:
    if ask.lease_id is not None:
        await _keep_unsettled(tx, worker, ask, now)
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


async def _keep_unsettled(tx: Tx, worker: str, ask: LeaseAsk, now: float) -> None:
    """Lower the worker's replaced lease to what it has yet to report; without such it ends."""
    keep = max(0, ask.unsettled_micro)
    left = case((leases.c.remaining_micro > keep, keep), else_=leases.c.remaining_micro)
    own = (leases.c.id == ask.lease_id) & (leases.c.worker == worker) & (leases.c.project_id == ask.project_id)
    live = own & leases.c.released_at.is_(None)
    await tx.execute(update(leases).where(live).values(remaining_micro=left, released_at=None if keep else now))


async def release(tx: Tx, lease_ids: Sequence[str], now: float) -> None:
    """Give leases back; what they still hold is available again. Ended or unknown ones are no error."""
    await _release_where(tx, leases.c.id.in_(lease_ids), now)


async def release_worker(tx: Tx, worker: str, now: float) -> None:
    """Give back all leases of a worker that starts anew."""
    await _release_where(tx, leases.c.worker == worker, now)


async def expire(tx: Tx, now: float) -> int:
    """End the leases whose time is over; returns how many. Forgets those that ended long ago."""
    await tx.execute(delete(leases).where(leases.c.released_at < now - KEPT_S))
    return await _release_where(tx, leases.c.expires_at < now, now)


async def live_leases(tx: Tx, project_ids: Collection[str] | None = None) -> list[Lease]:
    """The leases that have not ended, of these projects or of all; oldest first."""
    query = select(leases).where(leases.c.released_at.is_(None))
    if project_ids is not None:
        query = query.where(leases.c.project_id.in_(project_ids))
    return [Lease(**row._mapping) for row in await tx.execute(query.order_by(leases.c.id))]


async def _release_where(tx: Tx, where: ColumnElement[bool], now: float) -> int:
    live = where & leases.c.released_at.is_(None)
    concerned = {row.project_id for row in await tx.execute(select(leases.c.project_id).where(live).distinct())}
    if not concerned:
        return 0
    await entries.hold(tx, concerned)
    ended = await tx.execute(update(leases).where(live).values(released_at=now))
    await entries.tell(tx, concerned)
    return int(ended.rowcount)
