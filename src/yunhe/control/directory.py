"""Organisations and projects, and who the caller is among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Final, Literal

from yunhe.accounts import permissions
from yunhe.accounts.model import Organisation, Principal, Project, Role, Scope
from yunhe.control.hub import SNAPSHOT
from yunhe.control.page import Page, cut, page_of
from yunhe.control.state import ControlState
from yunhe.core.errors import InvalidRequest, NotFound
from yunhe.core.ids import new_id
from yunhe.store import entries, projects
from yunhe.store.database import Tx

#: What the first start makes, and where projects go unless told otherwise.
DEFAULT_ORGANISATION: Final = "default"
#: Projects of one person that are shown.
MY_PROJECTS_MAX: Final = 1000


class Unchanged(Enum):
    """Says that a field of a change was not given; None means: take it away."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
Left = Literal[Unchanged.UNCHANGED]


@dataclass(frozen=True, slots=True)
class MyProject:
    """A project that somebody belongs to."""

    id: str
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class MeView:
    """Who is calling."""

    id: str
    name: str
    roles: frozenset[Role]
    projects: tuple[MyProject, ...]
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class ProjectView:
    """A project with its credit."""

    project: Project
    balance_micro: int
    available_micro: int


@dataclass(frozen=True, slots=True)
class ProjectAsk:
    """A project to make; without an organisation it goes to the oldest one."""

    name: str
    organisation: str | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None


@dataclass(frozen=True, slots=True)
class ProjectChange:
    """Fields to change."""

    name: str | Left | None = UNCHANGED
    rpm_limit: int | Left | None = UNCHANGED
    tpm_limit: int | Left | None = UNCHANGED
    suspended_reason: str | Left | None = UNCHANGED


class Directory:
    """Who and what there is. Whether the caller may is checked before, by the caller of these."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def me(self, caller: Principal) -> MeView:
        """Who is calling, with the projects that the credential reaches."""
        ids = [id for id in caller.project_roles if permissions.sees_project(caller, id)]
        async with self._state.db.read() as tx:
            found = await projects.list_projects(tx, MY_PROJECTS_MAX, ids=ids)
        mine = tuple(MyProject(project.id, project.name, caller.project_roles[project.id]) for project in found[::-1])
        return MeView(caller.user_id, caller.user_name, caller.platform_roles, mine, caller.scopes)

    async def organisations(self, caller: Principal, limit: int, after: str | None) -> Page[Organisation]:
        """All for an admin, else those of the caller's projects; newest first."""
        async with self._state.db.read() as tx:
            if permissions.is_admin(caller):
                listed = await projects.list_organisations(tx, limit + 1, after)
                return page_of(listed, limit, lambda organisation: organisation.id)
            ids = [id for id in caller.project_roles if permissions.sees_project(caller, id)]
            mine = await projects.list_projects(tx, MY_PROJECTS_MAX, ids=ids)
            wanted = sorted({project.organisation_id for project in mine}, reverse=True)
            found = [await projects.organisation(tx, id) for id in wanted]
        return cut([item for item in found if item is not None], limit, after, lambda organisation: organisation.id)

    async def create_organisation(self, name: str) -> Organisation:
        """Raises Conflict when the name is taken."""
        organisation = Organisation(new_id("org"), name, self._state.clock.unix_s())
        async with self._state.db.write() as tx:
            await projects.add_organisation(tx, organisation)
        return organisation

    async def projects(self, caller: Principal, limit: int, after: str | None) -> Page[ProjectView]:
        """All for an admin, else the caller's; newest first."""
        ids = None
        if not permissions.is_admin(caller):
            ids = {id for id in caller.project_roles if permissions.sees_project(caller, id)}
            ids |= {id for id in (caller.key_project_id,) if id is not None and permissions.sees_project(caller, id)}
        async with self._state.db.read() as tx:
            listed = await projects.list_projects(tx, limit + 1, after, ids)
            page = page_of(listed, limit, lambda project: project.id)
            views = await self._views(tx, page.items)
        return Page(views, page.next)

    async def project(self, project: Project) -> ProjectView:
        """The project with its credit."""
        async with self._state.db.read() as tx:
            return (await self._views(tx, (project,)))[0]

    async def create_project(self, ask: ProjectAsk) -> ProjectView:
        """Raises NotFound for an unknown organisation, Conflict when the name is taken."""
        async with self._state.db.write() as tx:
            organisation = await _organisation(tx, ask.organisation)
            project = Project(
                id=new_id("proj"),
                organisation_id=organisation.id,
                name=ask.name,
                created_at=self._state.clock.unix_s(),
                rpm_limit=ask.rpm_limit,
                tpm_limit=ask.tpm_limit,
            )
            await projects.add_project(tx, project)
        self._state.hub.wake(SNAPSHOT)
        return ProjectView(project, 0, 0)

    async def change_project(self, project: Project, change: ProjectChange) -> ProjectView:
        """Raises Conflict when the new name is taken, InvalidRequest when it is taken away."""
        if change.name is None:
            raise InvalidRequest(fields=["body.name: must not be null"])
        async with self._state.db.write() as tx:
            current = await projects.project(tx, project.id)
            if current is None:
                raise NotFound
            changed = _changed(current, change)
            if changed != current:
                await projects.save_project(tx, changed)
            view = (await self._views(tx, (changed,)))[0]
        self._state.hub.wake(SNAPSHOT)
        return view

    async def _views(self, tx: Tx, found: Sequence[Project]) -> tuple[ProjectView, ...]:
        credit = await entries.balances_of(tx, [project.id for project in found])
        return tuple(ProjectView(p, credit[p.id].balance_micro, credit[p.id].available_micro) for p in found)


async def _organisation(tx: Tx, ref: str | None) -> Organisation:
    found = await projects.organisation(tx, DEFAULT_ORGANISATION if ref is None else ref)
    if found is None and ref is None:
        raise InvalidRequest(fields=["body.organisation_id: is needed, for there is no organisation named default"])
    if found is None:
        raise NotFound(f"There is no organisation {ref!r}.")
    return found


def _changed(project: Project, change: ProjectChange) -> Project:
    given = {field.name: getattr(change, field.name) for field in fields(change)}
    return replace(project, **{name: value for name, value in given.items() if value is not UNCHANGED})
