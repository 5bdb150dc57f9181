"""Fidelity certificates of the recipes that models are served with."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from yunhe.serve.model import Deployment
from yunhe.serve.rollout import Rollout, RolloutStage
from yunhe.serve.snapshot import CertificateEntry
from yunhe.store.schema import unpack
from yunhe.store.tables_serve import deployments, rollouts
from yunhe.store.tx import Tx


async def certificates(tx: Tx, names: Collection[str] | None = None) -> dict[str, tuple[CertificateEntry, ...]]:
    """model name -> those of its deployments' recipes, each once; models without one are left out.

    A certificate comes with the roll-out that made its recipe a deployment's, and counts while that recipe is.
    """
    query = (
        select(deployments.c.record.label("deployment"), rollouts.c.record.label("rollout"))
        .join_from(deployments, rollouts, rollouts.c.deployment_id == deployments.c.id)
        .where(deployments.c.deleted_at.is_(None), rollouts.c.stage == RolloutStage.DEFAULT.value)
        .order_by(rollouts.c.id)
    )
    if names is not None:
        query = query.where(deployments.c.model.in_(names))
    found: dict[str, dict[str, CertificateEntry]] = {}
    for row in await tx.execute(query):
        deployment, rollout = unpack(row.deployment, Deployment), unpack(row.rollout, Rollout)
        if rollout.certificate is not None and rollout.recipe_id == deployment.recipe.id:
            found.setdefault(deployment.model, {})[deployment.recipe.id] = rollout.certificate
    return {model: tuple(entries.values()) for model, entries in found.items()}
