"""API keys."""

from __future__ import annotations

from fastapi import APIRouter

from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.parameters import KeyPath, ProjectQuery
from yunhe.api.schemas.fields import Page
from yunhe.api.schemas.keys import Key, KeyWithSecret, NewKey
from yunhe.api.services import Svc

router = APIRouter(tags=["key"])


@router.get("/keys", operation_id="key_list", responses=documented(404))
async def list_all(caller: Caller, svc: Svc, page: Wanted, project: ProjectQuery = None) -> Page[Key]:
    """The project's keys, revoked ones included (member)."""
    found = await svc.access.project(caller, project)
    return page_of("keys", await svc.keys.list(found, page.limit, page.after("keys")), Key.of_view)


@router.post("/keys", status_code=201, operation_id="key_create", responses=documented(404, 409, 413, 415))
async def create(body: NewKey, caller: Caller, svc: Svc) -> KeyWithSecret:
    """Make a key (member). `secret` is the whole key text; it is shown only here."""
    project = await svc.access.project(caller, body.project)
    view, secret = await svc.keys.create(caller, project, body.ask())
    return KeyWithSecret.of_new(view, secret)


@router.get("/keys/{id}", operation_id="key_get", responses=documented(404))
async def get(id: KeyPath, caller: Caller, svc: Svc) -> Key:
    """A key (member of its project)."""
    return Key.of_view(await svc.keys.get(caller, id))


@router.delete("/keys/{id}", operation_id="key_revoke", responses=documented(404))
async def revoke(id: KeyPath, caller: Caller, svc: Svc) -> Key:
    """Revoke a key for good; its maker, an owner of the project or an admin may. Twice is no error."""
    return Key.of_view(await svc.keys.revoke(caller, id))
