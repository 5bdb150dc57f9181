"""Organisations, projects and memberships."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, delete, or_, select, update

from yunhe.accounts.model import Membership, Organisation, Project, Role
from yunhe.core.errors import Conflict
from yunhe.store import changes
from yunhe.store.keys import note_keys_of
from yunhe.store.rows import add, newest
from yunhe.store.tables_accounts import memberships, organisations, projects
from yunhe.store.tx import Tx


def _project(row: Row[Any]) -> Project:
    return Project(**row._mapping)


def _membership(row: Row[Any]) -> Membership:
    return Membership(row.id, row.user_id, row.project_id, Role(row.role))


async def add_organisation(tx: Tx, organisation: Organisation) -> None:
    """Raises Conflict when the name is taken."""
    await add(tx, organisations, asdict(organisation), f"There is an organisation {organisation.name!r} already.")


async def organisation(tx: Tx, ref: str) -> Organisation | None:
    """By id or name."""
    query = select(organisations).where(or_(organisations.c.id == ref, organisations.c.name == ref))
    row = (await tx.execute(query)).first()
    return Organisation(**row._mapping) if row else None


async def list_organisations(tx: Tx, limit: int, after: str | None = None) -> list[Organisation]:
    """Newest first."""
    rows = await tx.execute(newest(select(organisations), organisations.c.id, limit, after))
    return [Organisation(**row._mapping) for row in rows]


async def add_project(tx: Tx, project: Project) -> None:
    """Raises Conflict when the name is taken."""
    await add(tx, projects, asdict(project), f"There is a project {project.name!r} already.")
    await changes.note(tx, "project", project.id)


async def project(tx: Tx, ref: str) -> Project | None:
    """By id or name."""
    query = select(projects).where(or_(projects.c.id == ref, projects.c.name == ref))
    row = (await tx.execute(query)).first()
    return _project(row) if row else None


async def list_projects(
    tx: Tx, limit: int, after: str | None = None, ids: Collection[str] | None = None
) -> list[Project]:
    """Newest first; only these ids when given."""
    query = select(projects)
    if ids is not None:
        query = query.where(projects.c.id.in_(ids))
    return [_project(row) for row in await tx.execute(newest(query, projects.c.id, limit, after))]


async def save_project(tx: Tx, project: Project) -> None:
    """Write a changed project; its id stays. Raises Conflict when its new name is taken."""
    values = {k: v for k, v in asdict(project).items() if k not in ("id", "organisation_id", "created_at")}
    clash = select(projects.c.id).where(projects.c.name == project.name, projects.c.id != project.id)
    if (await tx.execute(clash)).first():
        raise Conflict(f"There is a project {project.name!r} already.")
    await tx.execute(update(projects).where(projects.c.id == project.id).values(values))
    await changes.note(tx, "project", project.id)


async def add_member(tx: Tx, membership: Membership) -> None:
    """Gateways look again at the user's keys. Raises Conflict when the user is a member already."""
    await add(tx, memberships, asdict(membership), "That user is a member of the project already.")
    await note_keys_of(tx, membership.user_id, membership.project_id)


async def memberships_of(tx: Tx, user_id: str) -> list[Membership]:
    """All of a user's memberships."""
    return [_membership(row) for row in await tx.execute(select(memberships).where(memberships.c.user_id == user_id))]


async def list_members(tx: Tx, project_id: str, limit: int, after: str | None = None) -> list[Membership]:
    """A project's members, newest first."""
    query = select(memberships).where(memberships.c.project_id == project_id)
    return [_membership(row) for row in await tx.execute(newest(query, memberships.c.id, limit, after))]


async def remove_member(tx: Tx, project_id: str, membership_id: str) -> bool:
    """Whether there was such a membership; without it the user's keys of the project are good for nothing."""
    where = (memberships.c.project_id == project_id) & (memberships.c.id == membership_id)
    gone = (await tx.execute(delete(memberships).where(where).returning(memberships.c.user_id))).scalar()
    if gone is not None:
        await note_keys_of(tx, gone, project_id)
    return gone is not None
