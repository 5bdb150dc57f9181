"""Routes of the agent protocol (serve/sync.py)."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from yunhe.control.agent_desk import AgentDesk
from yunhe.control.state import ControlState
from yunhe.control.wire import answer, bearer, guarded, read
from yunhe.core.units import MIB
from yunhe.serve.sync import JoinRequest, SyncRequest

#: An inventory of ten thousand cards takes about 10 MiB.
SYNC_BYTES_MAX: Final = 32 * MIB


def agent_routes(state: ControlState) -> list[Route]:
    """Join and sync."""
    desk = AgentDesk(state)

    async def join(request: Request) -> Response:
        return answer(await desk.join(await read(request, JoinRequest)))

    async def sync(request: Request) -> Response:
        agent = await desk.authenticate(bearer(request))
        return answer(await desk.sync(agent, await read(request, SyncRequest, SYNC_BYTES_MAX)))

    return [
        Route("/api/v1/agent/join", guarded(join), methods=["POST"]),
        Route("/api/v1/agent/sync", guarded(sync), methods=["POST"]),
    ]
