"""Prices, usage, balances and the ledger."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from yunhe.accounts import permissions
from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.parameters import ModelQuery, ProjectQuery
from yunhe.api.schemas.fields import GivenTime, Page, unix_s
from yunhe.api.schemas.money import Balance, Entry, NewPrice, Price, Usage, UsageRecord, Verification
from yunhe.api.services import Svc
from yunhe.ledger.usage import Outcome

router = APIRouter()


@router.get("/prices", operation_id="price_list", tags=["price"])
async def prices(_caller: Caller, svc: Svc, page: Wanted, model: ModelQuery = None) -> Page[Price]:
    """All prices, later ones first."""
    return page_of("prices", await svc.money.prices(model, page.limit, page.after("prices")), Price.of)


@router.post(
    "/prices", status_code=201, operation_id="price_set", responses=documented(404, 409, 413, 415), tags=["price"]
)
async def set_price(body: NewPrice, caller: Caller, svc: Svc) -> Price:
    """Set what a model costs from now or a later date on (platform admin)."""
    permissions.require_admin(caller)
    return Price.of(
        await svc.money.set_price(
            body.model, body.input_micro_per_mtok, body.output_micro_per_mtok, unix_s(body.effective_from)
        )
    )


@router.get("/usage", operation_id="usage_get", responses=documented(404), tags=["usage"])
async def usage(
    caller: Caller,
    svc: Svc,
    project: ProjectQuery = None,
    from_: Annotated[GivenTime | None, Query(alias="from", description="Default: 30 days before `to`.")] = None,
    to: Annotated[GivenTime | None, Query(description="Default: now.")] = None,
    group_by: Literal["model", "key", "day", "hour"] = "model",
) -> Usage:
    """What the project used in [from, to), in total and by group (member)."""
    found = await svc.access.project(caller, project)
    return Usage.of_view(await svc.money.usage(found, unix_s(from_), unix_s(to), group_by))


@router.get("/usage/records", operation_id="usage_records", responses=documented(404), tags=["usage"])
async def records(
    caller: Caller,
    svc: Svc,
    page: Wanted,
    project: ProjectQuery = None,
    request_id: Annotated[str | None, Query(max_length=80, pattern=r"^[A-Za-z0-9_.-]+$")] = None,
    outcome: Outcome | None = None,
) -> Page[UsageRecord]:
    """The project's requests one by one, newest first (member)."""
    found = await svc.access.project(caller, project)
    listed = await svc.money.records(found, request_id, outcome, page.limit, page.after("usage"))
    return page_of("usage", listed, UsageRecord.of_view)


@router.get("/balance", operation_id="balance_get", responses=documented(404), tags=["balance"])
async def balance(caller: Caller, svc: Svc, project: ProjectQuery = None) -> Balance:
    """The project's credit (member)."""
    return Balance.of(await svc.money.balance(await svc.access.project(caller, project)))


@router.get("/ledger/entries", operation_id="ledger_entries", responses=documented(404), tags=["ledger"])
async def entries(caller: Caller, svc: Svc, page: Wanted, project: ProjectQuery = None) -> Page[Entry]:
    """The entries that touch the project's account, newest first (member)."""
    found = await svc.access.project(caller, project)
    return page_of("entries", await svc.money.entries(found, page.limit, page.after("entries")), Entry.of)


@router.post("/ledger/verify", operation_id="ledger_verify", tags=["ledger"])
async def verify(caller: Caller, svc: Svc) -> Verification:
    """Recompute every posting from usage and prices, and compare (platform admin)."""
    permissions.require_admin(caller)
    return Verification.of(await svc.money.verify())
