"""What a caller means by a name, and whether it is the caller's to see or to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from yunhe.accounts import permissions
from yunhe.accounts.model import Principal, Project
from yunhe.control.deployments import Deployments, DeploymentView
from yunhe.control.events import Events
from yunhe.control.page import Page, page_of
from yunhe.control.replicas import Replicas, ReplicaView
from yunhe.control.state import ControlState
from yunhe.core.errors import NotFound
from yunhe.core.ids import is_id
from yunhe.serve.model import Event
from yunhe.store import keys, projects, serve
from yunhe.store.database import Tx

#: Events about these are everybody's; all others belong to a project.
OPEN_KINDS: Final = frozenset({"centre", "node", "card", "agent", "model", "engine", "adaptation", "recipe"})
#: How far one page of events looks for what the caller may see.
EVENT_BATCH: Final = 500
EVENT_BATCHES_MAX: Final = 10
SUBJECTS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class ReplicaScope:
    """Which replicas to list: of one deployment, of one project, or (both None) all."""

    deployment_id: str | None
    project_id: str | None


class Access:
    """Finds what a caller names. What the caller may not see is not found."""

    def __init__(self, state: ControlState, deployments: Deployments, replicas: Replicas, events: Events) -> None:
        self._state = state
        self._events = events
        self._deployments = deployments
        self._replicas = replicas

    async def project(self, caller: Principal, ref: str | None) -> Project:
        """The project of that id or name; without one the key's own, else the caller's only or first. NotFound."""
        async with self._state.db.read() as tx:
            found = await _default(tx, caller) if ref is None else await projects.project(tx, ref)
        if found is None or not permissions.sees_project(caller, found.id):
            raise NotFound(
                "You belong to no project." if ref is None else f"There is no project {ref!r} that you may see.",
                next_step="List yours: yunhe project list.",
            )
        return found

    async def owned_project(self, caller: Principal, ref: str | None) -> Project:
        """The same, when the caller may change it. NotFound, Forbidden."""
        found = await self.project(caller, ref)
        permissions.require_owner(caller, found.id)
        return found

    async def deployment(self, caller: Principal, ref: str) -> DeploymentView:
        """The deployment of that id, or of that name in the caller's projects (the default one first). NotFound."""
        if is_id(ref, "dep"):
            view = await self._deployments.get(ref)
            if permissions.sees_project(caller, view.deployment.project_id):
                return view
            raise _no_deployment(ref)
        for project_id in await self._places(caller):
            try:
                return await self._deployments.get(ref, project_id)
            except NotFound:
                continue
        raise _no_deployment(ref)

    async def owned_deployment(self, caller: Principal, ref: str) -> DeploymentView:
        """The same, when the caller may change it. NotFound, Forbidden."""
        view = await self.deployment(caller, ref)
        permissions.require_owner(caller, view.deployment.project_id)
        return view

    async def replica_scope(self, caller: Principal, deployment: str | None) -> ReplicaScope:
        """Which replicas the caller means: of the named deployment, else the project's, else (admin) all. NotFound."""
        if deployment is not None:
            return ReplicaScope((await self.deployment(caller, deployment)).deployment.id, None)
        if permissions.is_admin(caller):
            return ReplicaScope(None, None)
        return ReplicaScope(None, (await self.project(caller, None)).id)

    async def owned_replica(self, caller: Principal, replica_id: str) -> ReplicaView:
        """The replica, when the caller may change its deployment. NotFound, Forbidden."""
        view = await self._replicas.get(replica_id)
        permissions.require_owner(caller, view.project_id)
        return view

    async def events(self, caller: Principal, subject: str | None, limit: int, after: str | None) -> Page[Event]:
        """Events newest first; of other projects' deployments, replicas and keys only an admin is told.

        A page may be short, or even empty, and still have a next one: what is not shown is skipped.
        """
        if permissions.is_admin(caller):
            found: Page[Event] = await self._events.list(subject, limit, after)
            return found
        mine = await self._my_subjects(caller)
        shown: list[Event] = []
        for _ in range(EVENT_BATCHES_MAX):
            batch = await self._events.list(subject, EVENT_BATCH, after)
            shown += [event for event in batch.items if event.subject_kind in OPEN_KINDS or event.subject_id in mine]
            if len(shown) > limit or batch.next is None:
                return page_of(shown, limit, lambda event: event.id)
            after = batch.next
        return Page(tuple(shown[:limit]), after if len(shown) <= limit else shown[limit - 1].id)

    async def _my_subjects(self, caller: Principal) -> set[str]:
        """Ids of the deployments, replicas and keys (also by prefix) of the caller's projects."""
        project_ids = [id for id in await self._places(caller) if id is not None]
        async with self._state.db.read() as tx:
            mine = await serve.list_deployments(tx, SUBJECTS_MAX, project_ids=project_ids)
            ids = {deployment.id for deployment in mine}
            copies = await serve.list_replicas(tx, SUBJECTS_MAX, deployment_ids=ids, ended=True)
            made = await keys.list_keys(tx, SUBJECTS_MAX, project_ids=project_ids)
        return ids | {r.id for r in copies} | {k.id for k in made} | {k.prefix for k in made} | set(project_ids)

    async def _places(self, caller: Principal) -> list[str | None]:
        """Where to look for a name: the default project, the caller's others, and for an admin everywhere."""
        async with self._state.db.read() as tx:
            default = await _default(tx, caller)
        places: list[str | None] = [] if default is None else [default.id]
        places += sorted(id for id in caller.project_roles if permissions.sees_project(caller, id) and id not in places)
        return [*places, None] if permissions.is_admin(caller) else places


def _no_deployment(ref: str) -> NotFound:
    return NotFound(f"There is no deployment {ref!r} that you may see.", next_step="List them: yunhe deployment list.")


async def _default(tx: Tx, caller: Principal) -> Project | None:
    if caller.key_project_id is not None:
        return await projects.project(tx, caller.key_project_id)
    if caller.project_roles:
        # Ids sort by time: the first is the project made first.
        return await projects.project(tx, min(caller.project_roles))
    if not permissions.is_admin(caller):
        return None
    newest = await projects.list_projects(tx, 1)
    return await projects.project(tx, "default") or (newest[0] if newest else None)
