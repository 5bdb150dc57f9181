"""Projects, their credit and their members."""

from __future__ import annotations

from fastapi import APIRouter

from yunhe.accounts import permissions
from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.parameters import IdPath, ProjectPath
from yunhe.api.schemas.fields import Page
from yunhe.api.schemas.money import Balance
from yunhe.api.schemas.people import Membership, NewMembership
from yunhe.api.schemas.projects import NewCredit, NewProject, Project, ProjectChange
from yunhe.api.services import Svc
from yunhe.control.directory import ProjectAsk
from yunhe.control.money import CreditAsk

router = APIRouter(tags=["project"])


@router.get("/projects", operation_id="project_list")
async def list_all(caller: Caller, svc: Svc, page: Wanted) -> Page[Project]:
    """The caller's projects; a platform admin sees all."""
    found = await svc.directory.projects(caller, page.limit, page.after("projects"))
    return page_of("projects", found, Project.of_view)


@router.post("/projects", status_code=201, operation_id="project_create", responses=documented(404, 409, 413, 415))
async def create(body: NewProject, caller: Caller, svc: Svc) -> Project:
    """Make a project (platform admin)."""
    permissions.require_admin(caller)
    ask = ProjectAsk(body.name, body.organisation_id, body.rpm_limit, body.tpm_limit)
    return Project.of_view(await svc.directory.create_project(ask))


@router.get("/projects/{project}", operation_id="project_get", responses=documented(404))
async def get(project: ProjectPath, caller: Caller, svc: Svc) -> Project:
    """A project (member)."""
    found = await svc.access.project(caller, project)
    return Project.of_view(await svc.directory.project(found))


@router.patch("/projects/{project}", operation_id="project_update", responses=documented(404, 409, 413, 415))
async def update(project: ProjectPath, body: ProjectChange, caller: Caller, svc: Svc) -> Project:
    """Change a project: its name (owner), its limits or suspension (platform admin)."""
    found = await svc.access.owned_project(caller, project)
    if body.model_fields_set - {"name"}:
        permissions.require_admin(caller)
    return Project.of_view(await svc.directory.change_project(found, body.change()))


@router.post("/projects/{project}/credit", operation_id="credit_add", responses=documented(404, 409, 413, 415))
async def add_credit(project: ProjectPath, body: NewCredit, caller: Caller, svc: Svc) -> Balance:
    """Add credit, or take it with a negative amount (platform admin). The same reference twice posts once."""
    permissions.require_admin(caller)
    found = await svc.access.project(caller, project)
    ask = CreditAsk(amount_micro=body.amount_micro, memo=body.memo, reference=body.reference)
    return Balance.of(await svc.money.add_credit(found, ask))


@router.get("/projects/{project}/members", operation_id="member_list", responses=documented(404), tags=["member"])
async def list_members(project: ProjectPath, caller: Caller, svc: Svc, page: Wanted) -> Page[Membership]:
    """Who belongs to the project (member)."""
    found = await svc.access.project(caller, project)
    members = await svc.people.members(found, page.limit, page.after("members"))
    return page_of("members", members, Membership.of_view)


@router.post(
    "/projects/{project}/members",
    status_code=201,
    operation_id="member_add",
    responses=documented(404, 409, 413, 415),
    tags=["member"],
)
async def add_member(project: ProjectPath, body: NewMembership, caller: Caller, svc: Svc) -> Membership:
    """Make a user a member or an owner of the project (owner); the role of a member is changed by this too."""
    found = await svc.access.owned_project(caller, project)
    return Membership.of_view(await svc.people.add_member(found, body.user, body.role))


@router.delete(
    "/projects/{project}/members/{id}",
    status_code=204,
    operation_id="member_remove",
    responses=documented(404),
    tags=["member"],
)
async def remove_member(project: ProjectPath, id: IdPath, caller: Caller, svc: Svc) -> None:
    """Take a membership away (owner)."""
    found = await svc.access.owned_project(caller, project)
    await svc.people.remove_member(found, id)
