"""Roll-outs of recipes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update

from yunhe.serve.rollout import OPEN_STAGES, Rollout
from yunhe.store.rows import newest
from yunhe.store.schema import pack, unpack
from yunhe.store.tables_serve import rollouts
from yunhe.store.tx import Tx


def _columns(rollout: Rollout) -> dict[str, Any]:
    plain = ("id", "deployment_id", "created_at")
    return {name: getattr(rollout, name) for name in plain} | {"stage": rollout.stage.value, "record": pack(rollout)}


async def add_rollout(tx: Tx, rollout: Rollout) -> None:
    """Store a new roll-out; the caller holds the serve lock and has checked that no other is open."""
    await tx.execute(insert(rollouts).values(_columns(rollout)))


async def save_rollout(tx: Tx, rollout: Rollout) -> None:
    """Write a changed roll-out."""
    await tx.execute(update(rollouts).where(rollouts.c.id == rollout.id).values(_columns(rollout)))


async def rollout(tx: Tx, rollout_id: str) -> Rollout | None:
    """By id."""
    row = (await tx.execute(select(rollouts.c.record).where(rollouts.c.id == rollout_id))).first()
    return unpack(row.record, Rollout) if row else None


async def list_rollouts(tx: Tx, deployment_id: str, limit: int, after: str | None = None) -> list[Rollout]:
    """A deployment's, newest first."""
    query = select(rollouts.c.record).where(rollouts.c.deployment_id == deployment_id)
    return [unpack(row.record, Rollout) for row in await tx.execute(newest(query, rollouts.c.id, limit, after))]


async def open_rollouts(tx: Tx) -> dict[str, Rollout]:
    """deployment id -> its roll-out that is under way; a deployment has one at most."""
    query = select(rollouts.c.record).where(rollouts.c.stage.in_(sorted(OPEN_STAGES))).order_by(rollouts.c.id)
    found = [unpack(row.record, Rollout) for row in await tx.execute(query)]
    return {one.deployment_id: one for one in found}


async def forget_rollouts(tx: Tx, deployment_id: str) -> None:
    """Forget those of a deployment that is gone."""
    await tx.execute(delete(rollouts).where(rollouts.c.deployment_id == deployment_id))
