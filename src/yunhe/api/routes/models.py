"""Models of the catalogue."""

from __future__ import annotations

from fastapi import APIRouter

from yunhe.accounts import permissions
from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.parameters import ModelPath
from yunhe.api.schemas.catalogue import Model, NewExternalModel, NewModel
from yunhe.api.schemas.fields import Page
from yunhe.api.services import Svc

router = APIRouter(tags=["model"])


@router.get("/models", operation_id="model_list")
async def list_all(_caller: Caller, svc: Svc, page: Wanted) -> Page[Model]:
    """All models of the catalogue."""
    return page_of("models", await svc.models.list(page.limit, page.after("models")), Model.of_view)


@router.post("/models", status_code=201, operation_id="model_add", responses=documented(409, 413, 415))
async def add(body: NewModel, caller: Caller, svc: Svc) -> Model:
    """Take a model on the server's machine into the catalogue (platform admin).

    A GGUF file; a directory with config.json, tokenizer and safetensors weights; or a config.json alone, which can be
    planned and not deployed. 400 `bad_weights`, `bad_model_config` and `unknown_model_type` say why not.
    """
    permissions.require_admin(caller)
    return Model.of_view(
        await svc.models.add_file(body.path, body.name, body.licence, body.probe_prompt, body.probe_expect)
    )


@router.post(
    "/models/external", status_code=201, operation_id="model_add_external", responses=documented(409, 413, 415)
)
async def add_external(body: NewExternalModel, caller: Caller, svc: Svc) -> Model:
    """Describe a model that only external servers hold (platform admin)."""
    permissions.require_admin(caller)
    return Model.of_view(
        await svc.models.add_external(
            body.name, body.context_length, tuple(body.capabilities), body.licence, body.owned_by
        )
    )


@router.get("/models/{name:path}", operation_id="model_get", responses=documented(404))
async def get(name: ModelPath, _caller: Caller, svc: Svc) -> Model:
    """A model; its name may hold slashes."""
    return Model.of_view(await svc.models.get(name))


@router.delete("/models/{name:path}", status_code=204, operation_id="model_delete", responses=documented(404, 409))
async def delete(name: ModelPath, caller: Caller, svc: Svc) -> None:
    """Take a model out of the catalogue (platform admin); 409 while it is deployed."""
    permissions.require_admin(caller)
    await svc.models.delete(name)
