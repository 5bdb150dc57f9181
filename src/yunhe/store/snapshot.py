"""What gateways hold in memory: the whole of it, or what changed after a revision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select

from yunhe.accounts.model import Project
from yunhe.serve.model import Replica
from yunhe.serve.snapshot import KeyEntry, ModelEntry, ProjectEntry, ReplicaEntry, SnapshotDelta
from yunhe.store import changes, entries, keys, models
from yunhe.store.certificates import certificates
from yunhe.store.gateway_entries import ROUTED_STATES, key_entry, model_entry, project_entry, replica_entry
from yunhe.store.schema import unpack
from yunhe.store.tables_accounts import projects
from yunhe.store.tables_pool import centres
from yunhe.store.tables_serve import replicas
from yunhe.store.tx import Tx

#: Values in one statement; SQLite takes 32,766, PostgreSQL 65,535.
_AT_ONCE = 10_000


async def snapshot(tx: Tx, since: int, now: float) -> SnapshotDelta:
    """Everything after ``since``; the whole when that is 0, or when the log of changes does not reach back."""
    revision = await changes.current(tx)
    changed = await changes.since(tx, since) if since > 0 else None
    if changed is None:
        return await _whole(tx, revision, now)
    return await _delta(tx, revision, changed, now)


async def _whole(tx: Tx, revision: int, now: float) -> SnapshotDelta:
    return SnapshotDelta(
        revision=revision,
        full=True,
        server_time=now,
        keys=await _keys(tx, None, now),
        projects=await _projects(tx, None),
        models=await _models(tx, None, now),
        replicas=await _replicas(tx, None),
    )


async def _delta(tx: Tx, revision: int, changed: Sequence[tuple[str, str]], now: float) -> SnapshotDelta:
    of = {kind: {entity for k, entity in changed if k == kind} for kind in ("key", "project", "model", "replica")}
    found_keys = await _keys(tx, of["key"], now)
    found_projects = await _projects(tx, of["project"])
    found_models = await _models(tx, of["model"], now)
    found_replicas = await _replicas(tx, of["replica"])
    there = {
        "key": {key.prefix for key in found_keys},
        "project": {project.project_id for project in found_projects},
        "model": {model.name for model in found_models},
        "replica": {replica.replica_id for replica in found_replicas},
    }
    gone = sorted(f"{kind}:{entity}" for kind, entities in of.items() for entity in entities - there[kind])
    return SnapshotDelta(
        revision=revision,
        full=False,
        server_time=now,
        keys=found_keys,
        projects=found_projects,
        models=found_models,
        replicas=found_replicas,
        removed=tuple(gone),
    )


async def _keys(tx: Tx, prefixes: Collection[str] | None, now: float) -> tuple[KeyEntry, ...]:
    if prefixes is not None and not prefixes:
        return ()
    return tuple(key_entry(key) for key in await keys.good_keys(tx, now, prefixes))


async def _projects(tx: Tx, ids: Collection[str] | None) -> tuple[ProjectEntry, ...]:
    if ids is not None and not ids:
        return ()
    query: Any = select(projects)
    if ids is not None:
        query = query.where(projects.c.id.in_(ids))
    found = [Project(**row._mapping) for row in await tx.execute(query.order_by(projects.c.id))]
    made: list[ProjectEntry] = []
    for start in range(0, len(found), _AT_ONCE):
        part = found[start : start + _AT_ONCE]
        money = await entries.balances_of(tx, [project.id for project in part])
        made += [project_entry(project, money[project.id].available_micro) for project in part]
    return tuple(made)


async def _models(tx: Tx, names: Collection[str] | None, now: float) -> tuple[ModelEntry, ...]:
    if names is not None and not names:
        return ()
    found = await models.all_models(tx, names)
    prices = await models.prices_in_force(tx, now, names)
    proofs = await certificates(tx, names)
    return tuple(model_entry(model, prices.get(model.name), proofs.get(model.name, ())) for model in found)


async def _replicas(tx: Tx, ids: Collection[str] | None) -> tuple[ReplicaEntry, ...]:
    if ids is not None and not ids:
        return ()
    query = select(replicas.c.record, centres.c.name).outerjoin_from(
        replicas, centres, centres.c.id == replicas.c.centre_id
    )
    query = query.where(replicas.c.state.in_(sorted(ROUTED_STATES)))
    if ids is not None:
        query = query.where(replicas.c.id.in_(ids))
    made = [replica_entry(unpack(row.record, Replica), row.name or "-") for row in await tx.execute(query)]
    return tuple(entry for entry in made if entry is not None)
