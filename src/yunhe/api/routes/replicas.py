"""Replicas, their logs, and events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.parameters import DeploymentQuery, IdPath, SubjectQuery
from yunhe.api.schemas.deployments import Event, Log, Replica
from yunhe.api.schemas.fields import Page
from yunhe.api.services import Svc

LOG_BYTES_DEFAULT = 64 * 1024
LOG_BYTES_MAX = 512 * 1024

router = APIRouter()


@router.get("/replicas", operation_id="replica_list", responses=documented(404), tags=["replica"])
async def list_all(
    caller: Caller,
    svc: Svc,
    page: Wanted,
    deployment: DeploymentQuery = None,
    all: Annotated[bool, Query(description="Ended ones too.")] = False,
) -> Page[Replica]:
    """The replicas of a deployment, else of the caller's project; a platform admin sees all (member)."""
    scope = await svc.access.replica_scope(caller, deployment)
    views = await svc.replicas.list(scope.deployment_id, scope.project_id, all, page.limit, page.after("replicas"))
    return page_of("replicas", views, Replica.of_view)


@router.get("/replicas/{id}/logs", operation_id="replica_logs", responses=documented(404), tags=["replica"])
async def logs(
    id: IdPath,
    caller: Caller,
    svc: Svc,
    offset: Annotated[int, Query(ge=0, le=2**53, description="Byte to begin at.")] = 0,
    limit_bytes: Annotated[int, Query(ge=1, le=LOG_BYTES_MAX)] = LOG_BYTES_DEFAULT,
) -> Log:
    """A piece of the replica's joined stdout and stderr (owner); 503 when its centre is away."""
    await svc.access.owned_replica(caller, id)
    return Log.of(await svc.replicas.logs(id, offset, limit_bytes))


@router.get("/events", operation_id="event_list", tags=["event"])
async def events(caller: Caller, svc: Svc, page: Wanted, subject: SubjectQuery = None) -> Page[Event]:
    """State changes with their reasons, newest first, of what the caller may see."""
    found = await svc.access.events(caller, subject, page.limit, page.after("events"))
    return page_of("events", found, Event.of)
