"""What gateways hold in memory: the whole of it, or what changed after a revision."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select

from yunhe.accounts.model import ApiKey, Project
from yunhe.catalogue.model import Model
from yunhe.ledger.model import Price
from yunhe.serve.model import Replica, ReplicaState
from yunhe.serve.snapshot import KeyEntry, ModelEntry, PriceEntry, ProjectEntry, ReplicaEntry, SnapshotDelta
from yunhe.store import changes, keys, models, projects
from yunhe.store.database import Tx
from yunhe.store.entries import balance
from yunhe.store.rows import PAGE_MAX
from yunhe.store.schema import unpack
from yunhe.store.tables_pool import centres
from yunhe.store.tables_serve import replicas

ROUTED = (ReplicaState.READY, ReplicaState.DRAINING)
#: For a replica whose speed nobody has measured or declared; only its ratio to others' matters.
ASSUMED_TOKENS_PER_S = 10.0


async def snapshot(tx: Tx, since: int, now: float) -> SnapshotDelta:
    """Everything after ``since``; the whole when that is 0, or when the log of changes does not reach back."""
    revision = await changes.current(tx)
    changed = await changes.since(tx, since) if since > 0 else None
    if changed is None:
        return await _whole(tx, revision, now)
    return await _delta(tx, revision, changed, now)


async def _whole(tx: Tx, revision: int, now: float) -> SnapshotDelta:
    prices = await models.prices_in_force(tx, now)
    return SnapshotDelta(
        revision=revision,
        full=True,
        server_time=now,
        keys=tuple(_key(key) for key in await keys.all_good_keys(tx, now)),
        projects=tuple([await _project(tx, project) for project in await _every_project(tx)]),
        models=tuple(_model(model, prices.get(model.name)) for model in await models.all_models(tx)),
        replicas=await _replicas(tx, None),
    )


async def _delta(tx: Tx, revision: int, changed: Sequence[tuple[str, str]], now: float) -> SnapshotDelta:
    of = {kind: {entity for k, entity in changed if k == kind} for kind in ("key", "project", "model", "replica")}
    found_keys = [k for k in await keys.keys_by_prefix(tx, of["key"]) if _is_good(k, now)] if of["key"] else []
    found_projects = await projects.list_projects(tx, PAGE_MAX, ids=of["project"]) if of["project"] else []
    found_models = await models.list_models(tx, PAGE_MAX, names=of["model"]) if of["model"] else []
    prices = await models.prices_in_force(tx, now, of["model"]) if of["model"] else {}
    found_replicas = await _replicas(tx, of["replica"]) if of["replica"] else ()
    there = {
        "key": {key.prefix for key in found_keys},
        "project": {project.id for project in found_projects},
        "model": {model.name for model in found_models},
        "replica": {replica.replica_id for replica in found_replicas},
    }
    gone = sorted(f"{kind}:{entity}" for kind, entities in of.items() for entity in entities - there[kind])
    return SnapshotDelta(
        revision=revision,
        full=False,
        server_time=now,
        keys=tuple(_key(key) for key in found_keys),
        projects=tuple([await _project(tx, project) for project in found_projects]),
        models=tuple(_model(model, prices.get(model.name)) for model in found_models),
        replicas=found_replicas,
        removed=tuple(gone),
    )


async def _every_project(tx: Tx) -> list[Project]:
    found: list[Project] = []
    while page := await projects.list_projects(tx, PAGE_MAX, found[-1].id if found else None):
        found.extend(page)
    return found


def _is_good(key: ApiKey, now: float) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def _key(key: ApiKey) -> KeyEntry:
    return KeyEntry(
        prefix=key.prefix,
        key_id=key.id,
        digest=key.digest,
        project_id=key.project_id,
        scopes=tuple(sorted(key.scopes)),
        expires_at=key.expires_at,
        rpm_limit=key.rpm_limit,
        tpm_limit=key.tpm_limit,
        models=key.models,
    )


async def _project(tx: Tx, project: Project) -> ProjectEntry:
    money = await balance(tx, project.id)
    return ProjectEntry(
        project_id=project.id,
        name=project.name,
        rpm_limit=project.rpm_limit,
        tpm_limit=project.tpm_limit,
        suspended_reason=project.suspended_reason,
        available_micro=money.available_micro,
    )


def _model(model: Model, price: Price | None) -> ModelEntry:
    return ModelEntry(
        name=model.name,
        created_at=int(model.created_at),
        owned_by=model.owned_by,
        context_length=model.context_length,
        capabilities=model.capabilities,
        price=PriceEntry(price.id, price.input_micro_per_mtok, price.output_micro_per_mtok) if price else None,
    )


async def _replicas(tx: Tx, ids: Collection[str] | None) -> tuple[ReplicaEntry, ...]:
    query = select(replicas.c.record).where(replicas.c.state.in_([state.value for state in ROUTED]))
    if ids is not None:
        query = query.where(replicas.c.id.in_(ids))
    found = [unpack(row.record, Replica) for row in await tx.execute(query)]
    names = {row.id: row.name for row in await tx.execute(select(centres.c.id, centres.c.name))} if found else {}
    return tuple(_replica(replica, names.get(replica.centre_id or "", "-")) for replica in found if replica.url)


def _replica(replica: Replica, centre: str) -> ReplicaEntry:
    recipe = replica.recipe
    return ReplicaEntry(
        replica_id=replica.id,
        deployment_id=replica.deployment_id,
        model=replica.model,
        url=replica.url or "",
        upstream_model=replica.upstream_model or replica.model,
        api_key=replica.engine_key,
        state=replica.state.value,
        slots=replica.slots,
        tokens_per_s=replica.tokens_per_s or ASSUMED_TOKENS_PER_S,
        served_by=f"{centre}; {replica.chip or 'unknown'}; {recipe.engine}; {recipe.name}",
        usage_probe=replica.usage_probe,
    )
