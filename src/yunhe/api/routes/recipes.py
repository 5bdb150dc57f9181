"""Signed recipes, and the keys that are believed."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from yunhe.accounts import permissions
from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.parameters import ChipQuery, EngineQuery, ModelQuery, RecipeKeyPath, RecipePath
from yunhe.api.schemas.fields import Page
from yunhe.api.schemas.recipes import (
    Change,
    NewTrustedKey,
    Recipe,
    RecipeDetail,
    RecipeDiff,
    Revocation,
    TrustedKey,
)
from yunhe.api.services import Svc
from yunhe.control.page import Page as Found

router = APIRouter(tags=["recipe"])

RecipeQuery = Annotated[str, Query(max_length=68, pattern=r"^rcp_[0-9a-f]{8,64}$", description="Id, or its beginning.")]
#: Bytes, because a parsed and written document is no longer the signed one.
_ENVELOPE: Final[dict[str, Any]] = {
    "description": "A signed recipe, byte for byte.",
    "content": {"application/json": {"schema": {"type": "object"}}},
}


@router.get("/recipes", operation_id="recipe_list")
async def list_all(
    _caller: Caller,
    svc: Svc,
    page: Wanted,
    model: ModelQuery = None,
    chip: ChipQuery = None,
    engine: EngineQuery = None,
) -> Page[Recipe]:
    """Signed recipes, newest first; those of one model, chip and engine."""
    found = await svc.recipes.list(page.limit, page.after("recipes"), model=model, chip=chip, engine=engine)
    return page_of("recipes", found, Recipe.of_view)


@router.get("/recipes/diff", operation_id="recipe_diff", responses=documented(404, 409))
async def diff(_caller: Caller, svc: Svc, a: RecipeQuery, b: RecipeQuery) -> RecipeDiff:
    """How two recipes differ."""
    left, right, changes = await svc.recipes.diff(a, b)
    return RecipeDiff(a=left, b=right, changes=[Change.of_change(change) for change in changes])


@router.post(
    "/recipes/import",
    status_code=201,
    operation_id="recipe_import",
    responses=documented(409, 413, 415),
    openapi_extra={"requestBody": _ENVELOPE | {"required": True}},
)
async def take_in(request: Request, caller: Caller, svc: Svc) -> Recipe:
    """Keep a signed recipe of somebody who is trusted; the body is the exported file as it is (centre operator)."""
    permissions.require_operator(caller)
    return Recipe.of_view(await svc.recipes.take_in(await request.body()))


@router.get("/recipes/{recipe}", operation_id="recipe_get", responses=documented(404, 409))
async def get(recipe: RecipePath, _caller: Caller, svc: Svc) -> RecipeDetail:
    """A recipe with its evidence, whether it is believed, and where it may be used."""
    return RecipeDetail.of_checked(await svc.recipes.get(recipe))


@router.get(
    "/recipes/{recipe}/envelope",
    operation_id="recipe_export",
    response_class=Response,
    responses=documented(404, 409) | {200: _ENVELOPE},
)
async def envelope(recipe: RecipePath, _caller: Caller, svc: Svc) -> Response:
    """The signed recipe, byte for byte, for others to import."""
    name, data = await svc.recipes.envelope(recipe)
    headers = {"content-disposition": f'attachment; filename="{name}.json"'}
    return Response(data, media_type="application/json", headers=headers)


@router.post("/recipes/{recipe}/revoke", operation_id="recipe_revoke", responses=documented(404, 409, 413, 415))
async def revoke(recipe: RecipePath, body: Revocation, caller: Caller, svc: Svc) -> Recipe:
    """Refuse it from now on (centre operator)."""
    permissions.require_operator(caller)
    return Recipe.of_view(await svc.recipes.revoke(recipe, body.why))


@router.get("/recipe-keys", operation_id="recipe_key_list")
async def keys(_caller: Caller, svc: Svc) -> Page[TrustedKey]:
    """The trust list: whose recipes are believed here."""
    return page_of("recipe-keys", Found(await svc.recipe_keys.list(), None), TrustedKey.of_view)


@router.post("/recipe-keys", status_code=201, operation_id="recipe_key_add", responses=documented(409, 413, 415))
async def add_key(body: NewTrustedKey, caller: Caller, svc: Svc) -> TrustedKey:
    """Believe what a key signs (centre operator)."""
    permissions.require_operator(caller)
    view = await svc.recipe_keys.add(body.name, body.public_key, body.since(), body.until())
    return TrustedKey.of_view(view)


@router.delete(
    "/recipe-keys/{key_id}", status_code=204, operation_id="recipe_key_remove", responses=documented(404, 409)
)
async def remove_key(key_id: RecipeKeyPath, caller: Caller, svc: Svc) -> None:
    """Believe a key no longer (centre operator)."""
    permissions.require_operator(caller)
    await svc.recipe_keys.remove(key_id)


@router.post("/recipe-keys/{key_id}/revoke", operation_id="recipe_key_revoke", responses=documented(404, 409, 413, 415))
async def revoke_key(key_id: RecipeKeyPath, body: Revocation, caller: Caller, svc: Svc) -> TrustedKey:
    """Refuse whatever a key signed, also before (centre operator)."""
    permissions.require_operator(caller)
    return TrustedKey.of_view(await svc.recipe_keys.revoke(key_id, body.why))
