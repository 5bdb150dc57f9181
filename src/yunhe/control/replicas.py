"""Replicas as people see them, and their logs through the agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yunhe.control.page import Page, page_of
from yunhe.control.state import ControlState
from yunhe.control.supply import CENTRES_MAX, is_online
from yunhe.core.errors import NotFound, Unavailable
from yunhe.core.ids import new_id
from yunhe.serve.model import Replica
from yunhe.serve.sync import LogAnswer, LogAsk
from yunhe.store import pool, serve
from yunhe.store.database import Tx


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """A replica with the names that its ids stand for."""

    replica: Replica
    deployment: str
    project_id: str
    centre: str | None


class Replicas:
    """Replicas of all deployments; who may see them is the caller's to check."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def list(
        self, deployment_id: str | None, project_id: str | None, all: bool, limit: int, after: str | None
    ) -> Page[ReplicaView]:
        """Newest first; of one deployment, of one project, or of everything; ended ones too with ``all``."""
        async with self._state.db.read() as tx:
            wanted: Sequence[str] | None = None
            if deployment_id is not None:
                wanted = (deployment_id,)
            elif project_id is not None:
                own = await serve.all_deployments(tx)
                wanted = [deployment.id for deployment in own if deployment.project_id == project_id]
            found = await serve.list_replicas(tx, limit + 1, after, deployment_ids=wanted, ended=all)
            views = await _views(tx, found)
        return page_of(views, limit, lambda view: view.replica.id)

    async def get(self, replica_id: str) -> ReplicaView:
        """By id. Raises NotFound."""
        async with self._state.db.read() as tx:
            replica = await serve.replica(tx, replica_id)
            views = await _views(tx, [replica]) if replica is not None else []
        if not views:
            raise NotFound(f"there is no replica {replica_id!r}", next_step="List them: yunhe deployment show NAME.")
        return views[0]

    async def logs(self, replica_id: str, offset: int, limit_bytes: int) -> LogAnswer:
        """A piece of its log, fetched from its centre. Raises NotFound, or Unavailable when the centre is away."""
        async with self._state.db.read() as tx:
            replica = await serve.replica(tx, replica_id)
            centre = await pool.centre(tx, replica.centre_id) if replica and replica.centre_id else None
        if replica is None:
            raise NotFound(f"there is no replica {replica_id!r}")
        if centre is None:
            raise NotFound("the replica has no place yet, so it has no log", next_step=f"It says: {replica.reason}")
        if not is_online(centre, self._state.clock.unix_s(), self._state.started_at):
            raise Unavailable(
                f"the agent of centre {centre.name} is away", next_step="Start it; the log is kept in the centre."
            )
        answer = await self._state.logs.ask(centre.id, LogAsk(new_id("wl"), replica_id, offset, limit_bytes))
        if answer.error:
            raise NotFound(
                f"the centre has no such log: {answer.error}",
                next_step="Of ended replicas only the newest logs are kept.",
            )
        return answer


async def _views(tx: Tx, replicas: Sequence[Replica]) -> list[ReplicaView]:
    """Replicas whose deployment is still there."""
    deployments = {deployment.id: deployment for deployment in await serve.all_deployments(tx)} if replicas else {}
    centres = {centre.id: centre.name for centre in await pool.list_centres(tx, CENTRES_MAX)} if replicas else {}
    return [
        ReplicaView(
            replica,
            deployments[replica.deployment_id].name,
            deployments[replica.deployment_id].project_id,
            centres.get(replica.centre_id or ""),
        )
        for replica in replicas
        if replica.deployment_id in deployments
    ]
