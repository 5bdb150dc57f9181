"""Deployments, replicas, events, and the controllers' leader lease."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, insert, or_, select, update

from yunhe.serve.model import ENDED_STATES, Deployment, Event, Replica
from yunhe.store import changes
from yunhe.store.gateway_entries import replica_entry
from yunhe.store.rows import newest, upsert
from yunhe.store.schema import pack, unpack
from yunhe.store.tables_serve import deployments, events, leaders, replicas
from yunhe.store.tx import Tx


def _deployment_columns(deployment: Deployment) -> dict[str, Any]:
    plain = ("id", "project_id", "name", "model", "created_at", "deleted_at")
    return {name: getattr(deployment, name) for name in plain} | {"record": pack(deployment)}


async def add_deployment(tx: Tx, deployment: Deployment) -> None:
    """Store a new deployment; the caller has checked that its name is free in the project."""
    await tx.execute(insert(deployments).values(_deployment_columns(deployment)))


async def deployment(tx: Tx, ref: str, project_id: str | None = None) -> Deployment | None:
    """By id or name, deleted ones too; of several with one name the newest."""
    query = select(deployments.c.record).where(or_(deployments.c.id == ref, deployments.c.name == ref))
    if project_id is not None:
        query = query.where(deployments.c.project_id == project_id)
    row = (await tx.execute(query.order_by(deployments.c.id.desc()))).first()
    return unpack(row.record, Deployment) if row else None


async def list_deployments(
    tx: Tx, limit: int, after: str | None = None, project_ids: Collection[str] | None = None
) -> list[Deployment]:
    """Newest first; those being deleted too."""
    query = select(deployments.c.record)
    if project_ids is not None:
        query = query.where(deployments.c.project_id.in_(project_ids))
    rows = await tx.execute(newest(query, deployments.c.id, limit, after))
    return [unpack(row.record, Deployment) for row in rows]


async def all_deployments(tx: Tx) -> list[Deployment]:
    """Every deployment, oldest first."""
    rows = await tx.execute(select(deployments.c.record).order_by(deployments.c.id))
    return [unpack(row.record, Deployment) for row in rows]


async def save_deployment(tx: Tx, deployment: Deployment) -> None:
    """Write a changed deployment; gateways learn of its model when other recipes serve that now."""
    row = (await tx.execute(select(deployments.c.record).where(deployments.c.id == deployment.id))).first()
    old = unpack(row.record, Deployment) if row else None
    if old is None or (old.recipe.id, old.deleted_at) != (deployment.recipe.id, deployment.deleted_at):
        await changes.note(tx, "model", deployment.model)
    await tx.execute(
        update(deployments).where(deployments.c.id == deployment.id).values(_deployment_columns(deployment))
    )


async def remove_deployment(tx: Tx, deployment_id: str) -> None:
    """Forget a deleted deployment and its ended replicas."""
    await tx.execute(delete(replicas).where(replicas.c.deployment_id == deployment_id))
    await tx.execute(delete(deployments).where(deployments.c.id == deployment_id))


def _replica_columns(replica: Replica) -> dict[str, Any]:
    plain = ("id", "deployment_id", "model", "state", "centre_id", "state_since")
    return {name: getattr(replica, name) for name in plain} | {"record": pack(replica)}


async def add_replica(tx: Tx, replica: Replica) -> None:
    """Store a new replica; gateways learn of it when it can be called already."""
    await tx.execute(insert(replicas).values(_replica_columns(replica)))
    if replica_entry(replica, "") is not None:
        await changes.note(tx, "replica", replica.id)


async def save_replica(tx: Tx, replica: Replica) -> None:
    """Write a changed replica; gateways learn of it when what they know of it has changed."""
    row = (await tx.execute(select(replicas.c.record).where(replicas.c.id == replica.id))).first()
    await tx.execute(update(replicas).where(replicas.c.id == replica.id).values(_replica_columns(replica)))
    old = replica_entry(unpack(row.record, Replica), "") if row else None
    if old != replica_entry(replica, ""):
        await changes.note(tx, "replica", replica.id)


async def replica(tx: Tx, replica_id: str) -> Replica | None:
    """By id."""
    row = (await tx.execute(select(replicas.c.record).where(replicas.c.id == replica_id))).first()
    return unpack(row.record, Replica) if row else None


async def list_replicas(
    tx: Tx,
    limit: int,
    after: str | None = None,
    *,
    deployment_ids: Collection[str] | None = None,
    ended: bool = False,
) -> list[Replica]:
    """Newest first; without the ended ones unless asked for."""
    query = select(replicas.c.record)
    if deployment_ids is not None:
        query = query.where(replicas.c.deployment_id.in_(deployment_ids))
    if not ended:
        query = query.where(replicas.c.state.not_in(sorted(ENDED_STATES)))
    return [unpack(row.record, Replica) for row in await tx.execute(newest(query, replicas.c.id, limit, after))]


async def replicas_of(
    tx: Tx, *, deployment_id: str | None = None, centre_id: str | None = None, ended: bool = False
) -> list[Replica]:
    """All replicas of a deployment, of a centre, or of everything; oldest first."""
    query = select(replicas.c.record)
    if deployment_id is not None:
        query = query.where(replicas.c.deployment_id == deployment_id)
    if centre_id is not None:
        query = query.where(replicas.c.centre_id == centre_id)
    if not ended:
        query = query.where(replicas.c.state.not_in(sorted(ENDED_STATES)))
    return [unpack(row.record, Replica) for row in await tx.execute(query.order_by(replicas.c.id))]


async def purge_ended(tx: Tx, before: float) -> None:
    """Forget replicas that ended before then."""
    where = replicas.c.state.in_(sorted(ENDED_STATES)) & (replicas.c.state_since < before)
    await tx.execute(delete(replicas).where(where))


async def add_events(tx: Tx, new: Iterable[Event]) -> None:
    """Append events."""
    rows = [asdict(event) for event in new]
    if rows:
        await tx.execute(insert(events), rows)


async def list_events(tx: Tx, limit: int, after: str | None = None, subject: str | None = None) -> list[Event]:
    """Newest first; of one subject's id, or of one kind of subject, when given."""
    query = select(events)
    if subject is not None:
        query = query.where(or_(events.c.subject_id == subject, events.c.subject_kind == subject))
    return [Event(**row._mapping) for row in await tx.execute(newest(query, events.c.id, limit, after))]


async def purge_events(tx: Tx, before: float) -> None:
    """Forget events older than that."""
    await tx.execute(delete(events).where(events.c.at < before))


async def lead(tx: Tx, name: str, holder: str, now: float, for_s: float) -> bool:
    """Take or keep the lease ``name``; False while somebody else holds it."""
    statement = upsert(tx, leaders).values(name=name, holder=holder, expires_at=now + for_s)
    statement = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": holder, "expires_at": now + for_s},
        where=(leaders.c.holder == holder) | (leaders.c.expires_at < now),
    )
    return (await tx.execute(statement.returning(leaders.c.holder))).scalar() == holder


async def stop_leading(tx: Tx, name: str, holder: str) -> None:
    """Give the lease back."""
    await tx.execute(delete(leaders).where((leaders.c.name == name) & (leaders.c.holder == holder)))
