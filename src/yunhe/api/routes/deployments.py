"""Deployments."""

from __future__ import annotations

from fastapi import APIRouter

from yunhe.accounts import permissions
from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.parameters import DeploymentPath, ProjectQuery
from yunhe.api.schemas.deployments import Deployment, DeploymentChange, NewDeployment
from yunhe.api.schemas.fields import Page
from yunhe.api.services import Svc

router = APIRouter(tags=["deployment"])


@router.get("/deployments", operation_id="deployment_list", responses=documented(404))
async def list_all(caller: Caller, svc: Svc, page: Wanted, project: ProjectQuery = None) -> Page[Deployment]:
    """The project's deployments (member)."""
    found = await svc.access.project(caller, project)
    views = await svc.deployments.list(found.id, page.limit, page.after("deployments"))
    return page_of("deployments", views, Deployment.of_view)


@router.post(
    "/deployments", status_code=201, operation_id="deployment_create", responses=documented(404, 409, 413, 415)
)
async def create(body: NewDeployment, caller: Caller, svc: Svc) -> Deployment:
    """Keep a model service running (owner; an ``external`` server also needs a centre operator).

    Whoever attaches a server to a public model is sent other projects' prompts, so owning a project is not enough.
    """
    project = await svc.access.owned_project(caller, body.project)
    if body.external is not None:
        permissions.require_operator(caller)
    return Deployment.of_view(await svc.deployments.create(project.id, body.ask()))


@router.get("/deployments/{deployment}", operation_id="deployment_get", responses=documented(404))
async def get(deployment: DeploymentPath, caller: Caller, svc: Svc) -> Deployment:
    """A deployment (member of its project)."""
    return Deployment.of_view(await svc.access.deployment(caller, deployment))


@router.patch("/deployments/{deployment}", operation_id="deployment_update", responses=documented(404, 409, 413, 415))
async def update(deployment: DeploymentPath, body: DeploymentChange, caller: Caller, svc: Svc) -> Deployment:
    """Scale it, move it, or change its settings (owner); changed settings are rolled out replica by replica."""
    found = await svc.access.owned_deployment(caller, deployment)
    return Deployment.of_view(await svc.deployments.change(found.deployment.id, body.change()))


@router.delete(
    "/deployments/{deployment}", status_code=202, operation_id="deployment_delete", responses=documented(404, 409)
)
async def delete(deployment: DeploymentPath, caller: Caller, svc: Svc) -> Deployment:
    """Drain its replicas and let it vanish with the last (owner)."""
    found = await svc.access.owned_deployment(caller, deployment)
    return Deployment.of_view(await svc.deployments.delete(found.deployment.id))


@router.post(
    "/deployments/{deployment}/restart",
    status_code=202,
    operation_id="deployment_restart",
    responses=documented(404, 409),
)
async def restart(deployment: DeploymentPath, caller: Caller, svc: Svc) -> Deployment:
    """Replace its replicas one by one (owner)."""
    found = await svc.access.owned_deployment(caller, deployment)
    return Deployment.of_view(await svc.deployments.restart(found.deployment.id))
