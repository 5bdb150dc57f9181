"""Roll-outs of recipes to a deployment."""

from __future__ import annotations

from fastapi import APIRouter

from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.parameters import DeploymentPath, IdPath
from yunhe.api.schemas.fields import Page
from yunhe.api.schemas.rollouts import NewRollout, Rollout
from yunhe.api.services import Svc

router = APIRouter(prefix="/deployments/{deployment}/rollouts", tags=["rollout"])


@router.get("", operation_id="rollout_list", responses=documented(404))
async def list_all(deployment: DeploymentPath, caller: Caller, svc: Svc, page: Wanted) -> Page[Rollout]:
    """The deployment's roll-outs, newest first (member of its project)."""
    found = await svc.access.deployment(caller, deployment)
    views = await svc.rollouts.list(found.deployment.id, page.limit, page.after("rollouts"))
    return page_of("rollouts", views, Rollout.of_view)


@router.post("", status_code=201, operation_id="rollout_start", responses=documented(404, 409, 413, 415))
async def start(deployment: DeploymentPath, body: NewRollout, caller: Caller, svc: Svc) -> Rollout:
    """Give a recipe a canary, then make it the deployment's, or take it back (owner)."""
    found = await svc.access.owned_deployment(caller, deployment)
    return Rollout.of_view(await svc.rollouts.start(found.deployment.id, body.ask()))


@router.get("/{rollout}", operation_id="rollout_get", responses=documented(404))
async def get(deployment: DeploymentPath, rollout: IdPath, caller: Caller, svc: Svc) -> Rollout:
    """A roll-out, and what it waits for (member of the project)."""
    found = await svc.access.deployment(caller, deployment)
    return Rollout.of_view(await svc.rollouts.get(found.deployment.id, rollout))


@router.post("/{rollout}/abort", operation_id="rollout_abort", responses=documented(404, 409))
async def abort(deployment: DeploymentPath, rollout: IdPath, caller: Caller, svc: Svc) -> Rollout:
    """Take it back: the canary drains, the deployment keeps what it had (owner)."""
    found = await svc.access.owned_deployment(caller, deployment)
    return Rollout.of_view(await svc.rollouts.abort(found.deployment.id, rollout))


@router.post("/{rollout}/promote", operation_id="rollout_promote", responses=documented(404, 409))
async def promote(deployment: DeploymentPath, rollout: IdPath, caller: Caller, svc: Svc) -> Rollout:
    """Make the recipe the default now, whatever was seen so far (owner)."""
    found = await svc.access.owned_deployment(caller, deployment)
    return Rollout.of_view(await svc.rollouts.promote(found.deployment.id, rollout))
