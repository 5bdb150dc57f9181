"""Centres, nodes, cards and engines."""

from __future__ import annotations

from fastapi import APIRouter

from yunhe.accounts import permissions
from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.schemas.catalogue import Engine
from yunhe.api.schemas.fields import Page
from yunhe.api.schemas.pool import Card, Centre, CentreWithToken, NewCentre, Node
from yunhe.api.services import Svc
from yunhe.control.page import Page as Found

router = APIRouter(tags=["pool"])


@router.get("/centres", operation_id="centre_list")
async def centres(_caller: Caller, svc: Svc, page: Wanted) -> Page[Centre]:
    """All centres."""
    return page_of("centres", await svc.pool.centres(page.limit, page.after("centres")), Centre.of_view)


@router.post("/centres", status_code=201, operation_id="centre_create", responses=documented(409, 413, 415))
async def create_centre(body: NewCentre, caller: Caller, svc: Svc) -> CentreWithToken:
    """Expect an agent (centre operator): `join_token` is good for 24 hours and one agent, and shown only here."""
    permissions.require_operator(caller)
    view, join_token = await svc.pool.create_centre(body.name, body.driver)
    return CentreWithToken.of_new(view, join_token)


@router.get("/nodes", operation_id="node_list")
async def nodes(_caller: Caller, svc: Svc, page: Wanted) -> Page[Node]:
    """All nodes of all centres."""
    return page_of("nodes", await svc.pool.nodes(page.limit, page.after("nodes")), Node.of_view)


@router.get("/cards", operation_id="card_list")
async def cards(_caller: Caller, svc: Svc, page: Wanted) -> Page[Card]:
    """All cards of all centres."""
    return page_of("cards", await svc.pool.cards(page.limit, page.after("cards")), Card.of_view)


@router.get("/engines", operation_id="engine_list")
async def engines(_caller: Caller, svc: Svc) -> Page[Engine]:
    """The inference engines that the centres' agents have loaded, or failed to load."""
    return page_of("engines", Found(await svc.pool.engines(), None), Engine.of)
