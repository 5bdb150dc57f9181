"""Adaptations: models fitted to the cards of a centre."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse

from yunhe.accounts import permissions
from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.parameters import CentreQuery, IdPath, ModelQuery
from yunhe.api.schemas.adaptations import Adaptation, Journal, NewAdaptation
from yunhe.api.schemas.fields import Page
from yunhe.api.services import Svc

router = APIRouter(prefix="/adaptations", tags=["adaptation"])

Since = Annotated[int, Query(ge=0, le=2**53, description="Number of the first entry wanted.")]
Language = Annotated[Literal["en", "zh-CN"], Query(description="Of the page.")]
Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]


@router.get("", operation_id="adaptation_list", responses=documented(404))
async def list_all(
    _caller: Caller, svc: Svc, page: Wanted, model: ModelQuery = None, centre: CentreQuery = None
) -> Page[Adaptation]:
    """Adaptations, newest first."""
    found = await svc.adaptations.list(page.limit, page.after("adaptations"), model, centre)
    return page_of("adaptations", found, Adaptation.of_view)


@router.post("", status_code=201, operation_id="adaptation_create", responses=documented(404, 409, 413, 415))
async def create(body: NewAdaptation, caller: Caller, svc: Svc) -> Adaptation:
    """Have a centre find, measure and prove the best way to run a model on its cards (centre operator)."""
    permissions.require_operator(caller)
    return Adaptation.of_view(await svc.adaptations.create(body.ask()))


@router.get("/{adaptation}", operation_id="adaptation_get", responses=documented(404))
async def get(adaptation: IdPath, _caller: Caller, svc: Svc) -> Adaptation:
    """An adaptation, and what is under way."""
    return Adaptation.of_view(await svc.adaptations.get(adaptation))


@router.get("/{adaptation}/entries", operation_id="adaptation_entries", responses=documented(404))
async def entries(adaptation: IdPath, _caller: Caller, svc: Svc, since: Since = 0, limit: Limit = 100) -> Journal:
    """Its journal from an entry on: ask again with `next` to follow it."""
    return Journal.of_page(await svc.adaptations.entries(adaptation, since, limit))


@router.get("/{adaptation}/view", operation_id="adaptation_view", responses=documented(404))
async def view(adaptation: IdPath, _caller: Caller, svc: Svc) -> dict[str, Any]:
    """Everything that is known by now, summed up: candidates, frontier, before and after, fidelity, findings, log."""
    found: dict[str, Any] = msgspec.to_builtins(await svc.adaptation_views.view(adaptation))
    return found


@router.get(
    "/{adaptation}/report",
    operation_id="adaptation_report",
    # Not HTMLResponse: the document would then say that errors are pages too.
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **documented(404)},
)
async def report(adaptation: IdPath, _caller: Caller, svc: Svc, language: Language = "en") -> HTMLResponse:
    """The view as one self-contained page."""
    return HTMLResponse(await svc.adaptation_views.report(adaptation, language))


@router.post("/{adaptation}/cancel", operation_id="adaptation_cancel", responses=documented(404, 409))
async def cancel(adaptation: IdPath, caller: Caller, svc: Svc) -> Adaptation:
    """Stop it; what was measured stays (centre operator)."""
    permissions.require_operator(caller)
    return Adaptation.of_view(await svc.adaptations.cancel(adaptation))
