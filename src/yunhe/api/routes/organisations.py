"""Organisations."""

from __future__ import annotations

from fastapi import APIRouter

from yunhe.accounts import permissions
from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.schemas.fields import Page
from yunhe.api.schemas.projects import NewOrganisation, Organisation
from yunhe.api.services import Svc

router = APIRouter(tags=["organisation"])


@router.get("/organisations", operation_id="organisation_list")
async def list_all(caller: Caller, svc: Svc, page: Wanted) -> Page[Organisation]:
    """The organisations of the caller's projects; a platform admin sees all."""
    found = await svc.directory.organisations(caller, page.limit, page.after("organisations"))
    return page_of("organisations", found, Organisation.of)


@router.post("/organisations", status_code=201, operation_id="organisation_create", responses=documented(409, 413, 415))
async def create(body: NewOrganisation, caller: Caller, svc: Svc) -> Organisation:
    """Make an organisation (platform admin)."""
    permissions.require_admin(caller)
    return Organisation.of(await svc.directory.create_organisation(body.name))
