"""The FastAPI app of /api/v1 and the console's files."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import compile_path

import yunhe
from yunhe.api import console_files, errors
from yunhe.api.border import Border
from yunhe.api.errors import documented
from yunhe.api.routes import (
    adaptations,
    deployments,
    keys,
    metrics,
    models,
    money,
    organisations,
    pool,
    projects,
    recipes,
    replicas,
    rollouts,
    sessions,
    status,
    users,
)
from yunhe.api.services import Services
from yunhe.control.state import ControlState

PREFIX = "/api/v1"
_NOUNS: tuple[APIRouter, ...] = (
    sessions.router,
    status.router,
    organisations.router,
    projects.router,
    users.router,
    keys.router,
    models.router,
    deployments.router,
    rollouts.router,
    replicas.router,
    pool.router,
    adaptations.router,
    recipes.router,
    money.router,
    metrics.router,
)


def routes() -> FastAPI:
    """The app with its routes and nothing behind them: enough for the OpenAPI document."""
    app = FastAPI(
        title="Yunhe",
        version=yunhe.__version__,
        description="The REST API of Yunhe, an open AI-compute network.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    errors.install(app)
    for router in _NOUNS:
        app.include_router(router, prefix=PREFIX, responses=documented(400, 401, 403, 503))
    app.state.methods = [
        (compile_path(PREFIX + route.path)[0], route.methods)
        for router in _NOUNS
        for route in router.routes
        if isinstance(route, APIRoute)
    ]
    console_files.install(app)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    app.add_middleware(Border)
    return app


def build_app(state: ControlState) -> FastAPI:
    """The whole app over one control process's state; control adds its machine routes to it."""
    app = routes()
    app.state.services = Services.over(state)
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document; invalid input is 400 here, never the framework's 422."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(unused, None)
        # The framework calls a page of keys Page_Key_; a typed client reads KeyPage better.
        app.openapi_schema = json.loads(re.sub(r"\bPage_(\w+?)_(?=\")", r"\1Page", json.dumps(document)))
    return app.openapi_schema
