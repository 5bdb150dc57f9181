"""The machine routes: what agents and gateway workers call. Not part of the public OpenAPI document."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route

from yunhe.control.agent_routes import agent_routes
from yunhe.control.internal_routes import internal_routes
from yunhe.control.state import ControlState


def machine_app(state: ControlState) -> Starlette:
    """The app of the machine routes over one process's state."""
    routes: list[Route] = [*internal_routes(state), *agent_routes(state)]
    return Starlette(routes=routes)
